//! The client's side of a session.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use postrider_text_proto::{SaslLine, Step};

use crate::command::{Command, Verb};
use crate::error::{Error, Misuse, ReplyError};
use crate::extensions::parameters::Body;
use crate::limits::{Limits, LineEndings};
use crate::offered::Offered;
use crate::outgoing::Outgoing;
use crate::reply::{Code, Reply, ReplyScanner};
use crate::session::{Outcome, Place, Session, State};

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
    /// What the reply answers.
    pub subject: Subject,
    /// The server's words.
    pub reply: Reply<'b>,
}

/// What a reply answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Subject {
    /// A part of the message, sent with [`Connection::chunk`] or `BURL`, that is not the last.
    Chunk,
    /// The message. In SMTP this is the last word on it; a 353 before it says that one for each recipient follows.
    Content,
    /// The message, for the recipient whose `RCPT` was the `n`th of the transaction, counted from 0: LMTP, or `PRDR`.
    ContentFor(usize),
    /// The reply answers nothing: it is a 421, after which the server closes.
    Closing,
    /// A command. After a 334 to `AUTH` call [`Connection::respond`], after a 354 to `DATA` send the message.
    Command(Verb),
    /// The reply greets: it answers the connection itself.
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
    waiting: VecDeque<Sent>,
    replies: ReplyScanner,
    outgoing: Outgoing,
    transaction: Transaction,
    /// What the transaction that is being sent has announced.
    smtputf8: bool,
    binary: bool,
    /// It has a part that `BURL` fetches.
    fetched: bool,
    /// The transaction whose replies come has announced `PRDR`.
    prdr: bool,
    offered: Offered,
    /// Room for a chunk whose line ends change, whose size goes before it.
    scratch: Vec<u8>,
    line_endings: LineEndings,
    limits: Limits,
}

/// A command without its reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Sent {
    verb: Verb,
    /// Whether the message ends with it: `BDAT` and `BURL` with `LAST`.
    last: bool,
    prdr: bool,
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
    /// A reply for each recipient, then one for all: `PRDR`.
    PerRecipient,
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
            replies: ReplyScanner::new(),
            outgoing: Outgoing::default(),
            transaction: Transaction::default(),
            smtputf8: false,
            binary: false,
            fetched: false,
            prdr: false,
            offered: Offered::default(),
            scratch: Vec::new(),
            line_endings: config.line_endings,
            limits: config.limits,
        }
    }

    /// Appends `command` to `out`.
    ///
    /// # Errors
    ///
    /// When it does not belong here, does not fit a line, has to wait for the reply to another, has a path in UTF-8 without `SMTPUTF8`, or is a `BDAT`,
    /// which [`chunk`](Self::chunk) sends. That its
    /// parameters are among what the server offers is the caller's to see to. An `AUTH` of more than 512 octets has
    /// to go without its initial response, which then answers the server's first, empty challenge
    /// ([RFC 4954 section 4](https://www.rfc-editor.org/rfc/rfc4954#section-4)).
    pub fn send(&mut self, command: &Command<'_>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let verb = command.verb();
        if verb == Verb::Bdat {
            return Err(Misuse::BareBdat);
        }
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
        let (mut last, mut prdr) = (false, false);
        match command {
            Command::Burl { last: ends, .. } => (last, self.fetched) = (*ends, true),
            Command::Mail { parameters, .. } => {
                self.binary = parameters.body() == Some(Body::BinaryMime);
                (self.outgoing, self.fetched) = (Outgoing::default(), false);
                prdr = parameters.prdr();
            }
            _ => {}
        }
        self.sent(Sent { verb, last, prdr });
        Ok(())
    }

    fn sent(&mut self, sent: Sent) {
        self.ahead.answered(sent.verb, Outcome::Done);
        if sent.last {
            self.ahead.content_answered();
        }
        self.waiting.push_back(sent);
    }

    /// Appends the next part of the message, ready for the wire, with the `BDAT` that announces it; `last` ends the message.
    ///
    /// In LMTP a last chunk for which nobody was accepted has no reply ([RFC 2033 section 4.3](https://www.rfc-editor.org/rfc/rfc2033#section-4.3)), and servers
    /// have been known to answer it all the same: wait for the replies to `RCPT` first.
    ///
    /// Line ends are treated as in [`content`](Self::content), unless the message is `BODY=BINARYMIME`: then its octets go as they are. A chunk may be
    /// sent before the one before it, and the recipients, are answered, where the server lists `PIPELINING`.
    ///
    /// # Errors
    ///
    /// When the server does not list `CHUNKING`, the transaction has no recipient yet or has had a part of it refused (then only `RSET` goes on), another
    /// reply has to come first, or with [`LineEndings::Reject`] the chunk, or one before it, shows a CR or LF that is not part of a CRLF. Nothing is
    /// appended then.
    pub fn chunk(&mut self, content: &[u8], last: bool, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let verb = Verb::Bdat;
        self.may_send(verb)?;
        if !self.offered.chunking {
            return Err(Misuse::NotOffered { verb });
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.clear();
        let octets = match self.line_endings {
            _ if self.binary => Ok(content),
            LineEndings::Reject => self.outgoing.check(content, last).map(|()| content),
            endings => {
                self.outgoing.lines(content, last, endings, &mut scratch);
                Ok(&scratch[..])
            }
        };
        let sent = octets.map(|octets| {
            Command::Bdat { size: octets.len() as u64, last }.encode(out);
            out.extend_from_slice(octets);
            self.sent(Sent { verb, last, prdr: false });
        });
        self.scratch = scratch;
        sent
    }

    fn may_send(&self, verb: Verb) -> Result<(), Misuse> {
        if self.is_closed() {
            return Err(Misuse::Closed);
        }
        if let Some(last) = self.waiting.back()
            && (!self.offered.pipelining || !last.verb.may_be_followed())
        {
            return Err(Misuse::AwaitingReply { verb: last.verb });
        }
        // RFC 4468 section 3.2.
        if verb == Verb::Mail
            && self.fetched
            && let Some(last) = self.waiting.iter().find(|sent| sent.last)
        {
            return Err(Misuse::AwaitingReply { verb: last.verb });
        }
        if verb == Verb::Data && self.binary {
            return Err(Misuse::OutOfPlace { verb, place: Place::BinaryMessage });
        }
        if matches!(self.turn, Turn::ContentReply | Turn::PerRecipient) && !self.offered.pipelining {
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
                self.smtputf8 = parameters.smtputf8();
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
    /// When no 334 waits for it.
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
        self.outgoing.stuff(content, self.line_endings, out)
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
        self.outgoing.finish(self.line_endings, out)?;
        self.ahead.content_answered();
        self.turn = Turn::ContentReply;
        if self.session.is_lmtp() && self.transaction.accepted.is_empty() {
            self.content_answered();
        }
        Ok(())
    }

    /// Decodes what stands at the front of `input`.
    ///
    /// A server that gives up in the middle of a message says so and closes: look at what it has said when it does not take what is written.
    ///
    /// # Errors
    ///
    /// When the server says what is no reply, or speaks unasked. A connection that ends while
    /// [`is_waiting`](Self::is_waiting) ended too early.
    pub fn receive<'b>(&mut self, input: &'b [u8]) -> Result<Step<Event<'b>>, Error> {
        let over = matches!(self.session.state(), State::Tls | State::Turned | State::Closed);
        if over || self.turn == Turn::Challenge || self.turn == Turn::Content && input.is_empty() {
            return Ok(Step::Paused);
        }
        let Some((consumed, reply)) = self.replies.next(input, &self.limits)? else {
            return Ok(if self.turn == Turn::Content { Step::Paused } else { Step::NeedInput });
        };
        if self.turn == Turn::Content && !reply.code().is_negative() {
            // It is too early to be meant: it is read when the message has been sent.
            return Ok(Step::Paused);
        }
        let subject = self.replied(&reply, input.len())?;
        if reply.code() == Code::NOT_AVAILABLE {
            self.session.close();
        }
        Ok(Step::Event { consumed, event: Event { subject, reply } })
    }

    /// What a reply answers, and what it changes.
    fn replied(&mut self, reply: &Reply<'_>, len: usize) -> Result<Subject, Error> {
        let code = reply.code();
        match (self.turn, self.waiting.front().copied()) {
            (Turn::Greeting, _) => Ok(self.greeted(code)),
            (Turn::Content, _) => {
                // The server does not wait for the end, and what was sent cannot be taken back.
                self.session.close();
                Ok(Subject::Content)
            }
            (Turn::ContentReply, _) if code == Code::PER_RECIPIENT && self.prdr && !self.session.is_lmtp() => {
                self.turn = Turn::PerRecipient;
                Ok(Subject::Content)
            }
            (Turn::ContentReply | Turn::PerRecipient, _) if code.is_intermediate() => {
                Err(ReplyError::Unexpected(code).into())
            }
            (Turn::ContentReply | Turn::PerRecipient, _) => Ok(self.content_replied()),
            (_, Some(sent)) => self.answered(sent, reply),
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

    fn answered(&mut self, sent: Sent, reply: &Reply<'_>) -> Result<Subject, Error> {
        let (verb, code) = (sent.verb, reply.code());
        match (verb, code) {
            (Verb::Auth, Code::CHALLENGE) => {
                self.turn = Turn::Challenge;
                return Ok(Subject::Command(verb));
            }
            (Verb::Bdat | Verb::Burl, Code::PER_RECIPIENT) if sent.last && self.prdr && !self.session.is_lmtp() => {
                self.waiting.pop_front();
                self.turn = Turn::PerRecipient;
                return Ok(Subject::Content);
            }
            (Verb::Data, Code::START_MAIL_INPUT) => self.turn = Turn::Content,
            (Verb::Data, _) if code.is_success() => return Err(ReplyError::Unexpected(code).into()),
            _ if code.is_intermediate() => return Err(ReplyError::Unexpected(code).into()),
            _ => {}
        }
        if sent.last && verb == Verb::Bdat && self.session.is_lmtp() {
            return Ok(self.last_chunk_replied());
        }
        self.waiting.pop_front();
        self.session.answered(verb, outcome(code));
        if matches!(verb, Verb::Bdat | Verb::Burl) {
            return Ok(self.chunk_replied(sent.last, code));
        }
        let subject = self.learnt(sent, reply);
        self.catch_up();
        Ok(subject)
    }

    /// In LMTP the last chunk has a reply for each recipient.
    fn last_chunk_replied(&mut self) -> Subject {
        let index = self.transaction.accepted.pop_front().unwrap_or_default();
        if self.transaction.accepted.is_empty() {
            self.waiting.pop_front();
            self.content_answered();
        }
        Subject::ContentFor(index)
    }

    fn chunk_replied(&mut self, last: bool, code: Code) -> Subject {
        if last && code.is_success() && self.session.state() != State::Failed {
            self.content_answered();
            return Subject::Content;
        }
        // A command that ends the transaction may be under way already.
        let ends = |sent: &Sent| matches!(sent.verb, Verb::Rset | Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Quit);
        if code.is_negative() && !self.waiting.iter().any(ends) {
            self.ahead = self.session.clone();
        }
        self.catch_up();
        if last { Subject::Content } else { Subject::Chunk }
    }

    /// With nothing under way, what may be sent depends on what was answered.
    fn catch_up(&mut self) {
        // RFC 2033 section 4.3: to the last chunk there are as many replies as recipients, and so none for nobody.
        while let Some(Sent { verb: Verb::Bdat, last: true, .. }) = self.waiting.front()
            && self.session.is_lmtp()
            && self.transaction.accepted.is_empty()
        {
            self.waiting.pop_front();
            self.session.content_answered();
        }
        if self.waiting.is_empty() {
            self.ahead = self.session.clone();
        }
    }

    fn learnt(&mut self, sent: Sent, reply: &Reply<'_>) -> Subject {
        let (verb, done) = (sent.verb, reply.code().is_success());
        match verb {
            Verb::Ehlo | Verb::Lhlo | Verb::Helo | Verb::Xclient if done => {
                let extended = matches!(verb, Verb::Ehlo | Verb::Lhlo);
                self.offered = if extended { Offered::from_reply(reply) } else { Offered::default() };
            }
            Verb::Mail => self.prdr = sent.prdr && done,
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
        let per_recipient =
            self.session.is_lmtp() || self.turn == Turn::PerRecipient && !self.transaction.accepted.is_empty();
        if !per_recipient {
            self.content_answered();
            return Subject::Content;
        }
        let index = self.transaction.accepted.pop_front().unwrap_or_default();
        if self.transaction.accepted.is_empty() && self.session.is_lmtp() {
            self.content_answered();
        }
        Subject::ContentFor(index)
    }

    fn content_answered(&mut self) {
        self.session.content_answered();
        self.transaction.forget();
        self.turn = Turn::Reply;
        self.catch_up();
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
            return Err(Error::Misuse(Misuse::TlsNotWanted));
        }
        if !unread.is_empty() {
            self.session.close();
            return Err(Error::PlaintextAfterStartTls { len: unread.len() });
        }
        self.session.secured();
        self.ahead = self.session.clone();
        self.replies = ReplyScanner::new();
        self.offered = Offered::default();
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

    /// Whether the server owes a reply.
    pub fn is_waiting(&self) -> bool {
        matches!(self.turn, Turn::Greeting | Turn::ContentReply | Turn::PerRecipient) || !self.waiting.is_empty()
    }

    /// Whether the server waits for a message: call [`content`](Self::content) and [`end_of_content`](Self::end_of_content).
    pub fn wants_content(&self) -> bool {
        self.turn == Turn::Content
    }

    /// Commands that were sent and have no reply; a message has one more.
    pub fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing more can be said: the server expects what must not be sent.
    pub(crate) fn abandon(&mut self) {
        self.session.close();
    }

    /// What the server has listed since its last `EHLO` or `LHLO`; after `HELO`, `XCLIENT` and TLS nothing.
    pub fn offered(&self) -> &Offered {
        &self.offered
    }

    /// Whether the roles are to be reversed now, once `out` is written: make a [`server::Connection`](crate::server::Connection) on the same stream.
    pub fn is_turned(&self) -> bool {
        self.session.state() == State::Turned
    }

    /// Recipients of the present transaction that were accepted and, in LMTP, have not had their reply to the message.
    pub fn accepted(&self) -> usize {
        self.transaction.accepted.len()
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.session.state()
    }

    /// How long the server may take for its next reply; while the message is sent with [`content`](Self::content), how long it may take to accept each
    /// write.
    ///
    /// [RFC 5321 section 4.5.3.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2): 2 minutes for `DATA`, 3 for a piece of the message, 10 for the
    /// reply to its end, 5 for all else; [RFC 2645 section 5.2.1](https://www.rfc-editor.org/rfc/rfc2645#section-5.2.1): 10 for `ATRN`.
    pub fn timeout(&self) -> Duration {
        let minutes = match (self.turn, self.waiting.front()) {
            (Turn::Content, _) => 3,
            (Turn::ContentReply | Turn::PerRecipient, _) => 10,
            (_, Some(sent)) if sent.last || sent.verb == Verb::Atrn => 10,
            (_, Some(Sent { verb: Verb::Data, .. })) => 2,
            _ => 5,
        };
        Duration::from_secs(60 * minutes)
    }
}

fn outcome(code: Code) -> Outcome {
    if code.is_success() || code.is_intermediate() { Outcome::Done } else { Outcome::Refused }
}
