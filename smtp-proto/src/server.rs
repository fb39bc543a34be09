//! The server's side of a session.

mod admission;

use alloc::vec::Vec;
use core::time::Duration;

use postrider_text_proto::{Framed, LineScanner, SaslLine, Step, Stray, foreign_line, foreign_start};

use self::admission::Transaction;
use crate::command::{Command, Verb};
use crate::error::{CommandError, ContentFault, Error, Misuse};
use crate::extensions::Extensions;
use crate::extensions::ehlo::Capability;
use crate::incoming::{Incoming, Piece};
use crate::limits::{Limits, LineEndings, Quirks};
use crate::reply::{Code, Reply, put_hello};
use crate::session::{Outcome, Place, Session, State};
use crate::types::Text;

/// Octets of a reply line, CRLF included: [RFC 5321 section 4.5.3.1.5](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.5).
const MAX_REPLY_LINE: usize = 512;

/// How a server's connection begins.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What is offered at first; [`Connection::offer`] changes it.
    pub extensions: Extensions,
    /// What a client may cost.
    pub limits: Limits,
    /// Which mistakes of clients are forgiven.
    pub quirks: Quirks,
    /// What becomes of a CR or LF alone in a message.
    pub line_endings: LineEndings,
    /// LMTP instead of SMTP: `LHLO`, and a reply for each recipient after the message. [RFC 2033](https://www.rfc-editor.org/rfc/rfc2033).
    pub lmtp: bool,
    /// Whether `MAIL` needs a login, as on a submission port. [RFC 6409 section 4.3](https://www.rfc-editor.org/rfc/rfc6409#section-4.3).
    pub require_auth: bool,
    /// Whether `MAIL` and `AUTH` need TLS. Without [`Extensions::starttls`] a client in plain text then has no way to go on.
    pub require_tls: bool,
    /// Whether the connection began with TLS ([RFC 8314 section 3.3](https://www.rfc-editor.org/rfc/rfc8314#section-3.3)), so that there is no `STARTTLS`.
    pub tls: bool,
}

/// What a client did.
///
/// What a program keeps of a transaction, its envelope and what has come of the message, it has to begin or forget as the connection does. Which codes
/// may answer, and what they do; with others [`Connection::send`] gives [`Misuse::DoesNotAnswer`]:
///
/// | event | answer | the transaction |
/// |---|---|---|
/// | [`Command`](Self::Command): `EHLO`, `HELO`, `LHLO`, `RSET`, `XCLIENT` | 2yz, 4yz, 5yz | 2yz: forgotten |
/// | `MAIL` | 2yz, 4yz, 5yz | 2yz: begins |
/// | `RCPT` | 2yz, 4yz, 5yz | 2yz: has one more recipient |
/// | `DATA` | 354, 4yz, 5yz | 354: the message comes; else as it was |
/// | `BURL` | 2yz, 4yz, 5yz | 2yz: has a part more, or with `LAST` is over; else forgotten |
/// | `AUTH`, and [`Sasl`](Self::Sasl) | 334, 2yz, 4yz, 5yz | there is none |
/// | `QUIT`, and `STARTTLS`, `ATRN` with 2yz | 2yz, 4yz, 5yz | forgotten, with the session |
/// | any other command | 2yz, 4yz, 5yz | as it was |
/// | [`Chunk`](Self::Chunk), [`Content`](Self::Content) | none | |
/// | [`ChunkEnd`](Self::ChunkEnd) | 2yz if there is no fault, 4yz, 5yz | 2yz: goes on; else forgotten |
/// | [`ContentEnd`](Self::ContentEnd) | 2yz if there is no fault, 4yz, 5yz; 353 with `PRDR` | forgotten after the last reply, whatever it is |
/// | [`Rejected`](Self::Rejected) | 4yz, 5yz | as it was; of `BDAT` and of [`CommandError::Content`] forgotten |
///
/// 421 may answer anything that is answered, and closes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<'b> {
    /// The message, or a part of it, comes without having been asked for: `BDAT`. It needs no answer, [`ChunkEnd`](Self::ChunkEnd) or
    /// [`ContentEnd`](Self::ContentEnd) does.
    Chunk(Chunk),
    /// The end of a chunk that is not the last. Answer it. After another reply than 2yz the transaction is forgotten.
    ChunkEnd(ChunkEnd),
    /// A piece of the message, without dot-stuffing. It needs no answer. No CRLF is parted between two pieces.
    Content(&'b [u8]),
    /// The end of the message. Answer it; in LMTP, once for each recipient that was accepted, in order. The transaction is forgotten, whatever the
    /// answer.
    ContentEnd(ContentEnd),
    /// A command that belongs here and is offered. Answer it.
    Command(Command<'b>),
    /// A line that was refused. It is what is consumed of the input: of a line that is too long only its end, of a chunk nothing.
    /// [`CommandError::reply`] says so to the client; to the last chunk in LMTP it is repeated for each recipient, and where there is
    /// none, that ends the transaction without an event ([RFC 2033 section 4.3](https://www.rfc-editor.org/rfc/rfc2033#section-4.3)).
    Rejected(CommandError),
    /// The next line of an `AUTH`. Answer with another 334 or end the `AUTH`; [`SaslLine::Cancel`] wants a 501.
    Sasl(SaslLine),
}

/// What a `BDAT` announces. [RFC 3030 section 2](https://www.rfc-editor.org/rfc/rfc3030#section-2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Octets of the chunk.
    pub size: u64,
    /// Whether it is the message's first.
    pub first: bool,
    /// Whether it is the message's last.
    pub last: bool,
}

/// What is known of a message at the end of a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChunkEnd {
    /// Octets of the message so far. When there is a fault, some of them were not shown.
    pub size: u64,
    /// Why it cannot be accepted. [`ContentFault::reply`] says so to the client.
    pub fault: Option<ContentFault>,
}

/// What is known of a message at its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ContentEnd {
    /// Octets of the message. When there is a fault, some of them were not shown.
    pub size: u64,
    /// Why it cannot be accepted. [`ContentFault::reply`] says so to the client.
    pub fault: Option<ContentFault>,
    /// The first CR or LF that was not part of a CRLF, and how many octets were before it, with [`LineEndings::Note`].
    pub noted: Option<(u64, Stray)>,
}

/// A server's connection: decodes commands and messages, encodes replies, knows what belongs where.
///
/// It is [`Paused`](Step::Paused) until the greeting is sent, and after each event but [`Event::Content`] and [`Event::Chunk`] until it is answered.
#[derive(Clone, Debug)]
pub struct Connection {
    session: Session,
    turn: Turn,
    scanner: LineScanner,
    incoming: Incoming,
    extensions: Extensions,
    limits: Limits,
    quirks: Quirks,
    line_endings: LineEndings,
    require_auth: bool,
    require_tls: bool,
    transaction: Transaction,
    errors: u32,
    failed_logins: u32,
    /// Chunks refused since a message was accepted, and their octets.
    refused_chunks: (u32, u64),
    /// No command has come yet: the peer may turn out to speak something else.
    fresh: bool,
    /// What the command that is coming in begins with, where its whole line may not be seen.
    coming: Option<Verb>,
    /// Why the chunk that is being skipped was refused.
    refused: Option<CommandError>,
    /// Where the next command begins is not known: the next reply is the last.
    lost: bool,
    /// See [`Connection::improper_pipelining`].
    improper_pipelining: Option<Verb>,
}

/// Who is to say what next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// The client, a command.
    Command,
    /// The client, a line within `AUTH`.
    Sasl,
    /// The client, the message.
    Content,
    /// The client, so many octets of the message.
    Chunk { left: u64, last: bool },
    /// The client, so many octets of a chunk that was refused.
    Discard { left: u64, replies: usize },
    /// We, the greeting.
    Greeting,
    /// We, the answer to a command.
    Reply(Verb),
    /// We, what was wrong with a line, so many times.
    Refusal(usize),
    /// We, what became of a chunk.
    ChunkReply,
    /// We, what became of the message: so many replies.
    ContentReply(usize),
    /// The same, after the 353 of `PRDR`.
    PerRecipient(usize),
    /// Nobody in this protocol: TLS is next, or the end.
    Over,
}

impl Connection {
    /// A connection before its greeting.
    pub fn new(config: Config) -> Self {
        Self {
            session: Session::new(config.lmtp, config.tls),
            turn: Turn::Greeting,
            scanner: LineScanner::new(),
            incoming: Incoming::new(Some(config.line_endings), config.limits.message),
            extensions: config.extensions,
            limits: config.limits,
            quirks: config.quirks,
            line_endings: config.line_endings,
            require_auth: config.require_auth,
            require_tls: config.require_tls,
            transaction: Transaction::default(),
            errors: 0,
            failed_logins: 0,
            refused_chunks: (0, 0),
            fresh: true,
            coming: None,
            refused: None,
            lost: false,
            improper_pipelining: None,
        }
    }

    /// Changes what is offered from now on, as after TLS or a login.
    pub fn offer(&mut self, extensions: Extensions) {
        self.extensions = extensions;
    }

    /// Decodes what stands at the front of `input`.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignProtocol`] when the client's first words are TLS or HTTP.
    #[inline]
    pub fn receive<'b>(&mut self, input: &'b [u8]) -> Result<Step<Event<'b>>, Error> {
        let limit = match self.turn {
            Turn::Content | Turn::Chunk { .. } => return Ok(self.message(input)),
            Turn::Discard { left, replies } => return Ok(self.discard(input, left, replies)),
            Turn::Command => self.command_limit(input),
            Turn::Sasl => self.limits.sasl_line,
            _ => return Ok(Step::Paused),
        };
        if self.fresh && !self.scanner.is_skipping() {
            refuse(foreign_start(input))?;
        }
        let (consumed, line) = match self.scanner.next(input, limit) {
            Framed::Line { consumed, line } => (consumed, Ok(line)),
            Framed::Malformed { consumed, error } => (consumed, Err(CommandError::Line(error))),
            Framed::Skip { consumed } => return Ok(Step::Skip { consumed }),
            Framed::Incomplete => return Ok(Step::NeedInput),
        };
        if self.fresh {
            self.fresh = false;
            refuse(line.as_ref().ok().and_then(|line| foreign_line(line)))?;
        }
        if self.turn == Turn::Sasl {
            return Ok(Step::Event { consumed, event: self.sasl(line) });
        }
        let step = self.command(line, consumed);
        if let Turn::Reply(verb) = self.turn {
            self.improper_pipelining = Some(verb).filter(|verb| input.len() > consumed && !verb.may_be_followed());
        }
        Ok(step)
    }

    /// The last command, if it must be the last of a group ([RFC 2920 section 3.1](https://www.rfc-editor.org/rfc/rfc2920#section-3.1)), as `DATA`, `EHLO`,
    /// `AUTH` and the like must, and the client has sent octets behind it without waiting for its reply.
    ///
    /// Programs that send spam do, and so do attempts to slip commands into the stream of another. Nothing is lost by it here: what came too early is
    /// decoded once the reply is sent: behind `DATA` it is the message, behind `NOOP` the next command. Whether it is seen depends on how the octets come, which is why it is no event. What comes
    /// before the greeting is the program's to see: it is there when [`receive`](Self::receive) is [`Paused`](Step::Paused) for the first time.
    pub fn improper_pipelining(&self) -> Option<Verb> {
        self.improper_pipelining
    }

    /// How long the command at the front of `input` may be: decided by how the line begins, which pieces of its rest do not show.
    #[inline]
    fn command_limit(&mut self, input: &[u8]) -> usize {
        if !self.scanner.is_skipping() {
            self.coming = [Verb::Auth, Verb::Bdat].into_iter().find(|verb| verb.begins(input));
        }
        if self.coming == Some(Verb::Auth) { self.limits.sasl_line } else { self.limits.command }
    }

    #[inline]
    fn command<'b>(&mut self, line: Result<&'b [u8], CommandError>, consumed: usize) -> Step<Event<'b>> {
        let command = match line.and_then(|line| Command::parse_with(line, self.quirks)) {
            Ok(Command::Bdat { size, last }) => return self.bdat(size, last, consumed),
            Ok(command) => command,
            Err(error) => {
                self.lost = self.coming == Some(Verb::Bdat) || error == CommandError::ChunkSize;
                return Step::Event { consumed, event: self.reject(error, 1) };
            }
        };
        let mut admitted = self.admit(&command);
        if admitted.is_ok() && command.verb() == Verb::Burl && self.incoming.holds_cr() {
            // It comes before what is fetched; then the command is looked at once more.
            if let Piece::Content { content, .. } = self.incoming.parted() {
                return Step::Event { consumed: 0, event: Event::Content(content) };
            }
            admitted = self.admit(&command);
        }
        let event = match admitted {
            Ok(()) => {
                self.errors = 0;
                self.turn = Turn::Reply(command.verb());
                Event::Command(command)
            }
            Err(error) => {
                if let CommandError::Content(_) = error {
                    self.forget();
                }
                self.reject(error, 1)
            }
        };
        Step::Event { consumed, event }
    }

    fn reject<'b>(&mut self, error: CommandError, replies: usize) -> Event<'b> {
        // A client that offers one recipient too many is told so each time, and is no worse for it; nor is one that has sent its chunks
        // before it could know that they are not wanted.
        let innocent =
            matches!(error, CommandError::TooManyRecipients { .. } | CommandError::OutOfPlace { verb: Verb::Bdat, .. });
        self.errors += u32::from(!innocent);
        self.turn = Turn::Refusal(replies);
        Event::Rejected(error)
    }

    /// A chunk that belongs here, or one whose octets are thrown away before it is refused.
    fn bdat<'b>(&mut self, size: u64, last: bool, consumed: usize) -> Step<Event<'b>> {
        if let Err(error) = self.admit_verb(Verb::Bdat) {
            if self.has_had_enough(size) {
                self.lost = true;
                return Step::Event { consumed, event: self.reject(CommandError::ChunksRefused, 1) };
            }
            let owed = self.transaction.owed;
            let nobody = matches!(error, CommandError::OutOfPlace { place: Place::BeforeMail | Place::BeforeRcpt, .. });
            let replies = if self.session.is_lmtp() && last && nobody { owed } else { 1 };
            self.forget();
            self.transaction.owed = if last { 0 } else { owed };
            self.refused = Some(error);
            self.turn = if (size, replies) == (0, 0) { Turn::Command } else { Turn::Discard { left: size, replies } };
            return Step::Skip { consumed };
        }
        self.errors = 0;
        let first = self.session.state() == State::Rcpt;
        self.incoming.expect(size);
        self.turn = Turn::Chunk { left: size, last };
        Step::Event { consumed, event: Event::Chunk(Chunk { size, first, last }) }
    }

    /// Counts a refused chunk, which is none of the errors that [`reject`](Self::reject) counts, and says whether it is one too many.
    fn has_had_enough(&mut self, size: u64) -> bool {
        let (chunks, octets) = self.refused_chunks;
        self.refused_chunks = (chunks.saturating_add(1), octets.saturating_add(size));
        self.refused_chunks.0 > self.limits.refused_chunks || self.refused_chunks.1 > self.limits.refused_octets
    }

    fn discard<'b>(&mut self, input: &'b [u8], left: u64, replies: usize) -> Step<Event<'b>> {
        let consumed = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let after = left - consumed as u64;
        match (left, consumed, &self.refused) {
            (0, _, Some(error)) => Step::Event { consumed: 0, event: self.reject(error.clone(), replies) },
            (_, 0, _) => Step::NeedInput,
            _ => {
                self.turn =
                    if (after, replies) == (0, 0) { Turn::Command } else { Turn::Discard { left: after, replies } };
                Step::Skip { consumed }
            }
        }
    }

    /// There is no transaction any more.
    fn forget(&mut self) {
        if matches!(self.session.state(), State::Mail | State::Rcpt | State::Content | State::Chunks | State::Failed) {
            self.session.content_answered();
        }
        self.incoming = Incoming::new(Some(self.line_endings), self.limits.message);
        self.transaction = Transaction::default();
        self.refused = None;
    }

    /// A line within `AUTH`. What cannot be read ends it: [RFC 4954 section 4](https://www.rfc-editor.org/rfc/rfc4954#section-4).
    fn sasl<'b>(&mut self, line: Result<&'b [u8], CommandError>) -> Event<'b> {
        match line.and_then(|line| SaslLine::parse(line).map_err(|_| CommandError::Base64)) {
            Ok(line) => {
                self.turn = Turn::Reply(Verb::Auth);
                Event::Sasl(line)
            }
            Err(error) => {
                // Otherwise each AUTH, a good command by itself, would begin the count of errors anew.
                self.failed_logins += 1;
                self.turn = Turn::Refusal(1);
                Event::Rejected(error)
            }
        }
    }

    #[inline]
    fn message<'b>(&mut self, input: &'b [u8]) -> Step<Event<'b>> {
        let piece = match &mut self.turn {
            Turn::Chunk { left, last } => self.incoming.chunk(input, left, *last),
            _ => self.incoming.data(input),
        };
        match piece {
            Piece::Content { consumed, content } => Step::Event { consumed, event: Event::Content(content) },
            Piece::End { consumed } => Step::Event { consumed, event: self.end() },
            Piece::Incomplete => Step::NeedInput,
            Piece::Skip { consumed } => Step::Skip { consumed },
        }
    }

    /// The end of the message, or of a chunk.
    fn end<'b>(&mut self) -> Event<'b> {
        if let Turn::Chunk { last: false, .. } = self.turn {
            self.turn = Turn::ChunkReply;
            return Event::ChunkEnd(ChunkEnd { size: self.incoming.size(), fault: self.incoming.fault() });
        }
        let (size, fault, noted) = self.incoming.finish();
        self.turn = Turn::ContentReply(if self.session.is_lmtp() { self.transaction.recipients } else { 1 });
        Event::ContentEnd(ContentEnd { size, fault, noted })
    }

    /// Answers the last event, or greets. The state follows the reply's code.
    ///
    /// An enhanced code is left out where it is not [offered](Extensions). 421 may answer anything, and closes.
    ///
    /// # Errors
    ///
    /// When the reply cannot answer what was asked, is a 334 that is not base64, would accept a faulty message, or has a line of more than 512 octets.
    #[inline]
    pub fn send(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let code = reply.code();
        match self.turn {
            Turn::Command | Turn::Sasl | Turn::Content | Turn::Chunk { .. } | Turn::Discard { .. } => {
                return Err(Misuse::NothingToAnswer);
            }
            Turn::Over => return Err(Misuse::Closed),
            Turn::ContentReply(_) | Turn::ChunkReply if !code.is_negative() => {
                if let Some(fault) = self.incoming.fault() {
                    return Err(Misuse::FaultyContent { code, fault });
                }
            }
            _ => {}
        }
        let prdr = matches!(self.turn, Turn::ContentReply(_)) && code == Code::PER_RECIPIENT;
        if prdr && (self.session.is_lmtp() || !self.transaction.prdr) {
            return Err(Misuse::DoesNotAnswer { code });
        }
        if !self.turn.takes(code) || code == Code::CHALLENGE && reply.challenge().is_err() {
            return Err(Misuse::DoesNotAnswer { code });
        }
        let times = if let Turn::Refusal(times) = self.turn { times } else { 1 };
        for _ in 0..times {
            self.write(reply, out)?;
        }
        self.sent(code);
        Ok(())
    }

    /// Greetings, replies to `EHLO` and challenges have no enhanced code: [RFC 2034 section 4](https://www.rfc-editor.org/rfc/rfc2034#section-4).
    fn write(&self, reply: &Reply<'_>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let offered = self.extensions.enhanced_status_codes;
        let hello = matches!(self.turn, Turn::Greeting | Turn::Reply(Verb::Ehlo | Verb::Helo | Verb::Lhlo));
        let start = out.len();
        let wanted = offered && !hello && !reply.code().is_intermediate();
        let longest = reply.put(reply.enhanced().filter(|_| wanted), out);
        if longest > MAX_REPLY_LINE && reply.code() != Code::CHALLENGE {
            out.truncate(start);
            return Err(Misuse::LineTooLong { len: longest, limit: MAX_REPLY_LINE });
        }
        Ok(())
    }

    /// The one place where what we say changes where we are.
    #[inline]
    fn sent(&mut self, code: Code) {
        let outcome = if code.is_success() || code.is_intermediate() { Outcome::Done } else { Outcome::Refused };
        let turn = core::mem::replace(&mut self.turn, Turn::Command);
        if let (Turn::ContentReply(_), Outcome::Done) = (turn, outcome) {
            self.refused_chunks = (0, 0);
        }
        match turn {
            Turn::Greeting => self.session.greeted(outcome),
            Turn::Reply(Verb::Auth) if code == Code::CHALLENGE => self.turn = Turn::Sasl,
            Turn::Reply(Verb::Burl) => self.chunk_answered(Verb::Burl, outcome),
            Turn::Reply(verb) => {
                self.session.answered(verb, outcome);
                self.counted(verb, outcome);
            }
            Turn::ChunkReply => self.chunk_answered(Verb::Bdat, outcome),
            Turn::ContentReply(_) if code == Code::PER_RECIPIENT => {
                self.turn = Turn::PerRecipient(self.transaction.recipients + 1);
            }
            Turn::ContentReply(left) if left > 1 => self.turn = Turn::ContentReply(left - 1),
            Turn::PerRecipient(left) if left > 1 => self.turn = Turn::PerRecipient(left - 1),
            Turn::ContentReply(_) | Turn::PerRecipient(_) => self.forget(),
            _ => {}
        }
        let spent = self.errors >= self.limits.errors || self.failed_logins >= self.limits.failed_logins;
        if code == Code::NOT_AVAILABLE || spent || self.lost {
            self.session.close();
        }
        match self.session.state() {
            State::Tls | State::Turned | State::Closed => self.turn = Turn::Over,
            State::Content if self.turn == Turn::Command => self.turn = Turn::Content,
            _ => {}
        }
    }

    /// A part of the message got its reply: unless more of it may follow, the transaction is over.
    fn chunk_answered(&mut self, verb: Verb, outcome: Outcome) {
        self.session.answered(verb, outcome);
        let owed = if outcome == Outcome::Refused { self.transaction.recipients } else { 0 };
        if outcome == Outcome::Refused || core::mem::take(&mut self.transaction.last) {
            self.forget();
            self.transaction.owed = owed;
        }
    }

    fn counted(&mut self, verb: Verb, outcome: Outcome) {
        match (verb, outcome) {
            (Verb::Auth, Outcome::Refused) => self.failed_logins += 1,
            (Verb::Rcpt, Outcome::Done) => self.transaction.recipients += 1,
            (Verb::Xclient, Outcome::Done) => {
                self.session.set_authenticated(self.transaction.login);
                self.forget();
            }
            (Verb::Mail, Outcome::Refused) | (Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Rset, Outcome::Done) => {
                self.forget();
            }
            _ => {}
        }
    }

    /// Answers `EHLO` or `LHLO` with what is [offered](Self::offer), and `HELO` with the name alone.
    ///
    /// # Errors
    ///
    /// When the last event is none of them, or a line has more than 512 octets.
    pub fn send_hello(&mut self, name: &str, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let Turn::Reply(verb @ (Verb::Ehlo | Verb::Helo | Verb::Lhlo)) = self.turn else {
            return Err(Misuse::NothingToAnswer);
        };
        let start = out.len();
        let listed = self.capabilities().filter(|_| verb != Verb::Helo);
        let longest = put_hello(Text::lossy(name).as_bytes(), listed, out);
        if longest > MAX_REPLY_LINE {
            out.truncate(start);
            return Err(Misuse::LineTooLong { len: longest, limit: MAX_REPLY_LINE });
        }
        self.sent(Code::OK);
        Ok(())
    }

    /// What `EHLO` lists at this point, from what is [offered](Self::offer).
    pub fn capabilities(&self) -> impl Iterator<Item = Capability<'_>> {
        self.extensions.capabilities(&self.session, &self.limits)
    }

    /// Says 421 4.3.2 between two commands, because the server stops, and closes.
    ///
    /// # Errors
    ///
    /// When an event waits for its answer (answer it with 421), the message is under way, or the connection is closed.
    pub fn close(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let within = matches!(self.turn, Turn::Content | Turn::Chunk { .. } | Turn::Discard { .. });
        if within {
            return Err(Misuse::DoesNotAnswer { code: Code::NOT_AVAILABLE });
        }
        self.leave(&Reply::new(Code::NOT_AVAILABLE, text).with_enhanced(4, 3, 2), out)
    }

    /// Says 421 4.4.2 because the client takes too long, within a message too, and closes. The message is none.
    ///
    /// A client that sends reads it in place of the reply to the message, or not at all.
    ///
    /// # Errors
    ///
    /// When an event waits for its answer (answer it with 421), or the connection is closed.
    pub fn time_out(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), Misuse> {
        self.leave(&Reply::new(Code::NOT_AVAILABLE, text).with_enhanced(4, 4, 2), out)
    }

    /// Speaks where it is the client's turn.
    fn leave(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        match self.turn {
            Turn::Command | Turn::Sasl | Turn::Content | Turn::Chunk { .. } | Turn::Discard { .. } => {}
            Turn::Over => return Err(Misuse::Closed),
            _ => return Err(Misuse::DoesNotAnswer { code: reply.code() }),
        }
        self.write(reply, out)?;
        self.session.close();
        self.turn = Turn::Over;
        Ok(())
    }

    /// TLS is up: everything known before is forgotten.
    ///
    /// `unread` is what your receive buffer holds that came before TLS. It must be empty: those octets were not
    /// protected, and somebody in the middle may have put them there.
    ///
    /// # Errors
    ///
    /// When `unread` is not empty, or no `STARTTLS` was accepted.
    pub fn secured(&mut self, unread: &[u8]) -> Result<(), Error> {
        if !self.wants_tls() {
            return Err(Error::Misuse(Misuse::TlsNotWanted));
        }
        if !unread.is_empty() {
            self.session.close();
            return Err(Error::PlaintextAfterStartTls { len: unread.len() });
        }
        self.session.secured();
        self.improper_pipelining = None;
        self.scanner = LineScanner::new();
        self.turn = Turn::Command;
        Ok(())
    }

    /// Whether TLS is to be set up now, once `out` is written.
    pub fn wants_tls(&self) -> bool {
        self.session.state() == State::Tls
    }

    /// Whether the session is over: write out what is owed and close.
    pub fn is_closed(&self) -> bool {
        self.session.state() == State::Closed
    }

    /// Whether the roles are to be reversed now, once `out` is written: make a [`client::Connection`](crate::client::Connection) on the same stream.
    pub fn is_turned(&self) -> bool {
        self.session.state() == State::Turned
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        match self.turn {
            Turn::Chunk { .. } | Turn::Discard { .. } => State::Content,
            _ => self.session.state(),
        }
    }

    /// Recipients of the present transaction that were accepted.
    pub fn accepted(&self) -> usize {
        self.transaction.recipients
    }

    /// How many times [`send`](Self::send) is to be called before the next event is shown: mostly once for an event, for the message in LMTP once for each
    /// recipient that was accepted, and after the 353 of `PRDR` once for each and once for all.
    ///
    /// A server of LMTP that answers all recipients alike:
    ///
    /// ```
    /// use postrider_smtp_proto::server::{Config, Connection, Event};
    /// use postrider_smtp_proto::{Code, Reply, Step};
    ///
    /// let (mut connection, mut out) = (Connection::new(Config { lmtp: true, ..Config::default() }), Vec::new());
    /// connection.send(&Reply::new(Code::READY, "ready"), &mut out)?;
    /// for line in ["LHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "RCPT TO:<c@d>", "DATA", "."] {
    ///     let line = format!("{line}\r\n");
    ///     let Step::Event { event, .. } = connection.receive(line.as_bytes())? else { panic!("no event") };
    ///     let code = if line == "DATA\r\n" { Code::START_MAIL_INPUT } else { Code::OK };
    ///     if let Event::ContentEnd(_) = event {
    ///         assert_eq!((connection.accepted(), connection.replies_owed()), (2, 2));
    ///         out.clear();
    ///     }
    ///     for _ in 0..connection.replies_owed() {
    ///         connection.send(&Reply::new(code, "fine"), &mut out)?;
    ///     }
    /// }
    /// assert_eq!(out, b"250 fine\r\n250 fine\r\n");
    /// # Ok::<(), postrider_smtp_proto::Error>(())
    /// ```
    pub fn replies_owed(&self) -> usize {
        match self.turn {
            Turn::Greeting | Turn::Reply(_) | Turn::Refusal(_) | Turn::ChunkReply => 1,
            Turn::ContentReply(left) | Turn::PerRecipient(left) => left,
            Turn::Command | Turn::Sasl | Turn::Content | Turn::Chunk { .. } | Turn::Discard { .. } | Turn::Over => 0,
        }
    }

    /// Whether TLS is up.
    pub fn is_secured(&self) -> bool {
        self.session.is_secured()
    }

    /// Whether a client has logged in.
    pub fn is_authenticated(&self) -> bool {
        self.session.is_authenticated()
    }

    /// Whether the client said `EHLO` or `LHLO`, so that the transfer is ESMTP or LMTP and not SMTP.
    pub fn is_extended(&self) -> bool {
        self.session.is_extended()
    }

    /// How long the client may take for what comes next: its next command whole, or the next octets of a message.
    ///
    /// 5 minutes, [RFC 5321 section 4.5.3.2.7](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2.7).
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(300)
    }
}

impl Turn {
    /// Whether a reply with this code can answer here.
    fn takes(self, code: Code) -> bool {
        match self {
            Self::Reply(Verb::Auth) => code == Code::CHALLENGE || !code.is_intermediate(),
            Self::Reply(Verb::Data) => code == Code::START_MAIL_INPUT || code.is_negative(),
            Self::Refusal(_) => code.is_negative(),
            Self::ContentReply(_) if code == Code::PER_RECIPIENT => true,
            Self::Greeting | Self::Reply(_) | Self::ChunkReply | Self::ContentReply(_) | Self::PerRecipient(_) => {
                !code.is_intermediate()
            }
            Self::Command | Self::Sasl | Self::Content | Self::Chunk { .. } | Self::Discard { .. } | Self::Over => {
                false
            }
        }
    }
}

/// Nothing that follows is ours: it may be the body of a request somebody else has written.
fn refuse(foreign: Option<&'static str>) -> Result<(), Error> {
    foreign.map_or(Ok(()), |protocol| Err(Error::ForeignProtocol { protocol }))
}
