//! The client's side of a session.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use memchr::memchr;
use postrider_text_proto::{Framed, LineError, LineScanner, SaslLine, Step, Stray, StrayScanner, Stuffer};

use crate::command::{Command, Verb};
use crate::error::{Error, Misuse, ReplyError};
use crate::extensions::ehlo::Capability;
use crate::limits::{Limits, LineEndings};
use crate::reply::{Code, Reply};
use crate::session::{Outcome, Session, State};

/// How a client's connection begins.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What a server may cost.
    pub limits: Limits,
    /// What becomes of a CR or LF alone in a message: refused, made CRLF, or (with [`Note`](LineEndings::Note)) LF made CRLF and CR left.
    pub line_endings: LineEndings,
    /// LMTP instead of SMTP: a reply for each recipient after the message. [RFC 2033](https://www.rfc-editor.org/rfc/rfc2033).
    pub lmtp: bool,
    /// Whether the connection began with TLS ([RFC 8314 section 3.3](https://www.rfc-editor.org/rfc/rfc8314#section-3.3)).
    pub tls: bool,
}

/// What a server did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event<'b> {
    /// What it answered.
    pub to: Subject,
    /// The answer.
    pub reply: Reply<'b>,
}

/// What a reply answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Subject {
    /// The message. In SMTP this is the last word on it.
    Content,
    /// The message, for the recipient whose `RCPT` was the `n`th of the transaction, counted from 0: LMTP.
    ContentFor(usize),
    /// Nothing: 421, after which the server closes.
    Closing,
    /// A command. After a 334 to `AUTH` call [`Connection::respond`], after a 354 to `DATA` send the message.
    Command(Verb),
    /// The connection.
    Greeting,
    /// The `n`th `RCPT` of the transaction, counted from 0.
    Recipient(usize),
}

/// A client's connection: encodes commands and messages, decodes replies, knows which answers which.
///
/// Commands may be sent in groups once the server's reply to `EHLO` lists `PIPELINING`. When a `DATA` sent in a group is answered with 354 although no
/// recipient was accepted ([`accepted`](Self::accepted) is 0), end the body at once: RFC 2920 section 3.1.
#[derive(Clone, Debug)]
pub struct Connection {
    session: Session,
    /// Where the session will be when all that was sent succeeds: what may be sent next depends on it.
    ahead: Session,
    turn: Turn,
    /// Commands without a reply, the oldest first.
    waiting: VecDeque<Verb>,
    scanner: LineScanner,
    /// Octets of the lines of an unfinished reply.
    read: usize,
    stuffer: Stuffer,
    strays: StrayScanner,
    /// The first line end of the message that is refused.
    fault: Option<(u64, Stray)>,
    /// A CR whose next octet has not come.
    held_cr: bool,
    transaction: Transaction,
    /// The transaction has announced it.
    smtputf8: bool,
    pipelining: bool,
    line_endings: LineEndings,
    limits: Limits,
}

/// The recipients of a transaction.
#[derive(Clone, Debug, Default)]
struct Transaction {
    /// Replies to RCPT so far.
    answered: usize,
    /// Those that were accepted.
    accepted: VecDeque<usize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    Greeting,
    Reply,
    /// Nothing: we owe it a line of SASL.
    Challenge,
    /// Nothing: we owe it a message.
    Content,
    ContentReply,
}

/// Octets of an `AUTH` command, CRLF included: [RFC 5321 section 4.5.3.1.4](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.4), which no
/// extension adds to.
const MAX_AUTH: usize = 512;

impl Transaction {
    /// Keeps its memory for the next one.
    fn forget(&mut self) {
        self.answered = 0;
        self.accepted.clear();
    }
}

impl Connection {
    /// A connection before the server's greeting.
    pub fn new(config: Config) -> Self {
        let session = Session::new(config.lmtp, config.tls);
        Self {
            ahead: session.clone(),
            session,
            turn: Turn::Greeting,
            waiting: VecDeque::new(),
            scanner: LineScanner::new(),
            read: 0,
            stuffer: Stuffer::new(),
            strays: StrayScanner::new(),
            fault: None,
            held_cr: false,
            transaction: Transaction::default(),
            smtputf8: false,
            pipelining: false,
            line_endings: config.line_endings,
            limits: config.limits,
        }
    }

    /// Appends `command` to `out`.
    ///
    /// # Errors
    ///
    /// When it does not belong here, does not fit a line, has to wait for the reply to another, or has a path in UTF-8 without `SMTPUTF8`. That its
    /// parameters are among what the server offers is the caller's to see to. An `AUTH` of more than 512 octets has
    /// to go without its initial response, which then answers the server's first, empty challenge
    /// ([RFC 4954 section 4](https://www.rfc-editor.org/rfc/rfc4954#section-4)).
    pub fn send(&mut self, command: &Command<'_>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let verb = command.verb();
        self.may_send(verb)?;
        self.announces_utf8(command)?;
        let start = out.len();
        command.encode(out);
        let len = out.len() - start;
        let limit = if verb == Verb::Auth { MAX_AUTH } else { self.limits.command };
        if len > limit {
            out.truncate(start);
            return Err(Misuse::LineTooLong { len, limit });
        }
        self.ahead.answered(verb, Outcome::Done);
        self.waiting.push_back(verb);
        Ok(())
    }

    fn may_send(&self, verb: Verb) -> Result<(), Misuse> {
        if self.is_closed() {
            return Err(Misuse::Closed);
        }
        if let Some(last) = self.waiting.back()
            && (!self.pipelining || !may_be_followed(*last))
        {
            return Err(Misuse::AwaitingReply { verb: *last });
        }
        if self.turn == Turn::ContentReply && !self.pipelining {
            return Err(Misuse::AwaitingReply { verb: Verb::Data });
        }
        if self.waiting.len() >= self.limits.pipelined {
            return Err(Misuse::QueueFull { limit: self.limits.pipelined });
        }
        self.ahead.permits(verb).map_err(|place| Misuse::OutOfPlace { verb, place })
    }

    /// RFC 6531 section 3.4: a path in UTF-8 is for servers that were told of it.
    fn announces_utf8(&mut self, command: &Command<'_>) -> Result<(), Misuse> {
        let (verb, ascii) = match command {
            Command::Mail { from, parameters } => {
                self.smtputf8 = parameters.smtputf8().unwrap_or(false);
                (Verb::Mail, from.is_ascii())
            }
            Command::Rcpt { to, .. } => (Verb::Rcpt, to.is_ascii()),
            _ => return Ok(()),
        };
        if ascii || self.smtputf8 { Ok(()) } else { Err(Misuse::Utf8NotAnnounced { verb }) }
    }

    /// Appends our line to a 334.
    ///
    /// # Errors
    ///
    /// When none waits.
    pub fn respond(&mut self, line: &SaslLine, out: &mut Vec<u8>) -> Result<(), Misuse> {
        if self.turn != Turn::Challenge {
            return Err(Misuse::NothingToAnswer);
        }
        line.encode(out);
        self.turn = Turn::Reply;
        Ok(())
    }

    /// Appends the next piece of the message to `out`, ready for the wire.
    ///
    /// # Errors
    ///
    /// When no message is asked for, or with [`LineEndings::Reject`] the piece, or one before it, shows a CR or LF that is not part of a CRLF.
    /// What was sent of the message cannot be taken back: close the connection.
    pub fn content(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Misuse> {
        if self.turn != Turn::Content {
            return Err(Misuse::NoContent);
        }
        if self.line_endings == LineEndings::Reject {
            self.fault = self.fault.or(self.strays.scan(content));
            self.without_fault()?;
        }
        if self.line_endings == LineEndings::Normalise {
            self.normalised(content, out);
        } else {
            self.stuffer.stuff(content, out);
        }
        Ok(())
    }

    /// A message with a hole must not end.
    fn without_fault(&self) -> Result<(), Misuse> {
        self.fault.map_or(Ok(()), |(at, stray)| Err(Misuse::LineEnding { stray, at }))
    }

    /// A CR goes where an LF follows it and becomes LF where none does; the stuffer makes each LF a CRLF.
    fn normalised(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let Some(first) = content.first() else { return };
        if core::mem::take(&mut self.held_cr) && *first != b'\n' {
            self.stuffer.stuff(b"\n", out);
        }
        let mut rest = content;
        while let Some((line, after)) = memchr(b'\r', rest).and_then(|at| rest.split_at_checked(at)) {
            self.stuffer.stuff(line, out);
            rest = after.get(1..).unwrap_or_default();
            match rest.first() {
                None => self.held_cr = true,
                Some(b'\n') => {}
                Some(_) => self.stuffer.stuff(b"\n", out),
            }
        }
        self.stuffer.stuff(rest, out);
    }

    /// Ends the message: a CRLF if its last line lacks it, then the line of one dot.
    ///
    /// # Errors
    ///
    /// When no message is asked for, or with [`LineEndings::Reject`] it ends in a CR or has shown a fault before.
    pub fn end_of_content(&mut self, out: &mut Vec<u8>) -> Result<(), Misuse> {
        if self.turn != Turn::Content {
            return Err(Misuse::NoContent);
        }
        if self.line_endings == LineEndings::Reject {
            self.fault = self.fault.or(self.strays.finish());
            self.without_fault()?;
        }
        if core::mem::take(&mut self.held_cr) {
            self.stuffer.stuff(b"\n", out);
        }
        self.strays = StrayScanner::new();
        self.stuffer.finish(out);
        self.ahead.content_answered();
        self.turn = Turn::ContentReply;
        if self.session.is_lmtp() && self.transaction.accepted.is_empty() {
            self.content_answered();
        }
        Ok(())
    }

    /// Decodes what stands at the front of `input`.
    ///
    /// # Errors
    ///
    /// When the server says what is no reply, or speaks unasked. A connection that ends while
    /// [`is_waiting`](Self::is_waiting) ended too early.
    pub fn receive<'b>(&mut self, input: &'b [u8]) -> Result<Step<Event<'b>>, Error> {
        let over = matches!(self.session.state(), State::Tls | State::Closed);
        if over || matches!(self.turn, Turn::Challenge | Turn::Content) {
            return Ok(Step::Paused);
        }
        if !self.whole_reply(input)? {
            return Ok(Step::NeedInput);
        }
        let consumed = core::mem::take(&mut self.read);
        let reply = Reply::parse(input.get(..consumed).unwrap_or_default())?;
        let to = self.replied(&reply, input.len())?;
        if reply.code() == Code::NOT_AVAILABLE {
            self.session.close();
        }
        Ok(Step::Event { consumed, event: Event { to, reply } })
    }

    /// Whether the front of `input` is a reply to its last line. Lines read once are not read again.
    fn whole_reply(&mut self, input: &[u8]) -> Result<bool, ReplyError> {
        let limit = self.limits.reply;
        loop {
            let rest = input.get(self.read..).unwrap_or_default();
            match self.scanner.next(rest, self.limits.reply_line) {
                Framed::Line { consumed, line } => {
                    self.read += consumed;
                    if self.read > limit {
                        return Err(ReplyError::TooLong { limit });
                    }
                    if let (_, false) = Reply::status(line)? {
                        return Ok(true);
                    }
                }
                Framed::Malformed { error: LineError::TooLong { .. }, .. } | Framed::Skip { .. } => {
                    return Err(ReplyError::TooLong { limit: self.limits.reply_line });
                }
                Framed::Malformed { error, .. } => return Err(ReplyError::Line(error)),
                Framed::Incomplete => return Ok(false),
            }
        }
    }

    /// What a reply answers, and what it changes.
    fn replied(&mut self, reply: &Reply<'_>, len: usize) -> Result<Subject, Error> {
        let code = reply.code();
        match (self.turn, self.waiting.front().copied()) {
            (Turn::Greeting, _) => Ok(self.greeted(code)),
            (Turn::ContentReply, _) if code.is_intermediate() => Err(ReplyError::Unexpected(code).into()),
            (Turn::ContentReply, _) => Ok(self.content_replied()),
            (_, Some(verb)) => self.answered(verb, reply),
            (_, None) if code == Code::NOT_AVAILABLE => Ok(Subject::Closing),
            (_, None) => Err(Error::Unsolicited { len }),
        }
    }

    fn greeted(&mut self, code: Code) -> Subject {
        self.session.greeted(outcome(code));
        self.ahead = self.session.clone();
        self.turn = Turn::Reply;
        Subject::Greeting
    }

    fn answered(&mut self, verb: Verb, reply: &Reply<'_>) -> Result<Subject, Error> {
        let code = reply.code();
        match (verb, code) {
            (Verb::Auth, Code::CHALLENGE) => {
                self.turn = Turn::Challenge;
                return Ok(Subject::Command(verb));
            }
            (Verb::Data, Code::START_MAIL_INPUT) => self.turn = Turn::Content,
            (Verb::Data, _) if code.is_success() => return Err(ReplyError::Unexpected(code).into()),
            _ if code.is_intermediate() => return Err(ReplyError::Unexpected(code).into()),
            _ => {}
        }
        self.waiting.pop_front();
        self.session.answered(verb, outcome(code));
        if self.waiting.is_empty() {
            self.ahead = self.session.clone();
        }
        Ok(self.learnt(verb, reply))
    }

    fn learnt(&mut self, verb: Verb, reply: &Reply<'_>) -> Subject {
        let done = reply.code().is_success();
        match verb {
            Verb::Ehlo | Verb::Lhlo if done => {
                self.pipelining = reply.capabilities().any(|capability| capability == Capability::Pipelining);
            }
            Verb::Helo if done => self.pipelining = false,
            _ => {}
        }
        match verb {
            Verb::Mail | Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Rset => self.transaction.forget(),
            Verb::Rcpt => {
                let index = self.transaction.answered;
                self.transaction.answered += 1;
                if done {
                    self.transaction.accepted.push_back(index);
                }
                return Subject::Recipient(index);
            }
            _ => {}
        }
        Subject::Command(verb)
    }

    fn content_replied(&mut self) -> Subject {
        if !self.session.is_lmtp() {
            self.content_answered();
            return Subject::Content;
        }
        let index = self.transaction.accepted.pop_front().unwrap_or_default();
        if self.transaction.accepted.is_empty() {
            self.content_answered();
        }
        Subject::ContentFor(index)
    }

    fn content_answered(&mut self) {
        self.session.content_answered();
        self.transaction.forget();
        self.turn = Turn::Reply;
        if self.waiting.is_empty() {
            self.ahead = self.session.clone();
        }
    }

    /// TLS is up: what the server said before it is forgotten, its capabilities among it.
    ///
    /// `unread` is what your receive buffer holds that came before TLS. It must be empty: those octets were not
    /// protected, and somebody in the middle may have put them there.
    ///
    /// # Errors
    ///
    /// When `unread` is not empty, or no `STARTTLS` was accepted.
    pub fn secured(&mut self, unread: &[u8]) -> Result<(), Error> {
        if !self.wants_tls() {
            return Err(Error::Misuse(Misuse::NotHandedOver));
        }
        if !unread.is_empty() {
            self.session.close();
            return Err(Error::PlaintextAfterStartTls { len: unread.len() });
        }
        self.session.secured();
        self.ahead = self.session.clone();
        self.scanner = LineScanner::new();
        self.pipelining = false;
        Ok(())
    }

    /// Whether TLS is to be set up now.
    pub fn wants_tls(&self) -> bool {
        self.session.state() == State::Tls
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        self.session.state() == State::Closed
    }

    /// Whether the server owes a reply.
    pub fn is_waiting(&self) -> bool {
        matches!(self.turn, Turn::Greeting | Turn::ContentReply) || !self.waiting.is_empty()
    }

    /// Whether the server waits for a message: call [`content`](Self::content) and [`end_of_content`](Self::end_of_content).
    pub fn wants_content(&self) -> bool {
        self.turn == Turn::Content
    }

    /// Whether commands may be sent before earlier ones are answered.
    pub fn is_pipelining(&self) -> bool {
        self.pipelining
    }

    /// Recipients of the present transaction that were accepted and, in LMTP, have not had their reply to the message.
    pub fn accepted(&self) -> usize {
        self.transaction.accepted.len()
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.session.state()
    }

    /// How long the server may take for its next reply.
    ///
    /// [RFC 5321 section 4.5.3.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2): 2 minutes for `DATA`, 10 for a message, 5 for all else.
    pub fn timeout(&self) -> Duration {
        let minutes = match (self.turn, self.waiting.front()) {
            (Turn::ContentReply, _) => 10,
            (_, Some(Verb::Data)) => 2,
            _ => 5,
        };
        Duration::from_secs(60 * minutes)
    }
}

/// [RFC 2920 section 3.1](https://www.rfc-editor.org/rfc/rfc2920#section-3.1): these must be the last of a group.
fn may_be_followed(verb: Verb) -> bool {
    matches!(verb, Verb::Mail | Verb::Rcpt | Verb::Rset)
}

fn outcome(code: Code) -> Outcome {
    if code.is_success() || code.is_intermediate() { Outcome::Done } else { Outcome::Refused }
}
