//! One message to many recipients over a client's connection: groups of commands, chunks or dots, and what became of each recipient.
//!
//! A [`Transfer`] says what a [`client::Connection`](crate::client::Connection) lets it say, as early as `PIPELINING` allows, and hears the replies. A recipient
//! that is refused never keeps the message from the others. Where the server takes fewer recipients in a transaction than there are, by `LIMITS`
//! ([RFC 9422](https://www.rfc-editor.org/rfc/rfc9422)) or by refusing one too many ([RFC 5321 section 4.5.3.1.10](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.10)),
//! further transactions follow, and the message is asked for again.
//!
//! ```
//! use postrider_smtp_proto::client::{Config, Connection, Subject};
//! use postrider_smtp_proto::transfer::{Envelope, Next, Outcome, Recipient, Transfer};
//! use postrider_smtp_proto::{ClientName, Command, ForwardPath, Parameters, ReversePath, Step};
//! use std::io::{Error, ErrorKind, Read, Write};
//!
//! /// Sends `message` over a connection that was just opened. Where an error ends it, `transfer` knows what became of the recipients by then.
//! fn send<'m>(
//!     server: &mut (impl Read + Write),
//!     envelope: Envelope<'m>,
//!     message: &[u8],
//!     transfer: &mut Option<Transfer<'m>>,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let (mut connection, mut input, mut out) = (Connection::new(Config::default()), Vec::new(), Vec::new());
//!     loop {
//!         if let Step::Event { consumed, event } = connection.receive(&input)? {
//!             match (event.subject, &mut *transfer) {
//!                 (_, Some(transfer)) => transfer.heard(&event, &connection),
//!                 _ if event.reply.code().is_negative() => return Err(event.reply.to_string().into()),
//!                 (Subject::Greeting, _) => connection.send(&Command::Ehlo(ClientName::new("client.example")?), &mut out)?,
//!                 (_, transfer) => *transfer = Some(Transfer::new(envelope, connection.offered())?),
//!             }
//!             input.drain(..consumed);
//!             continue;
//!         }
//!         let Some(transfer) = transfer else {
//!             exchange(server, &mut out, &mut input)?;
//!             continue;
//!         };
//!         match transfer.speak(&mut connection, &mut out)? {
//!             Next::Content { at } => {
//!                 let rest = &message[at as usize..];
//!                 let piece = &rest[..rest.len().min(64 * 1024)];
//!                 transfer.content(&mut connection, piece, piece.len() == rest.len(), &mut out)?;
//!                 server.write_all(&std::mem::take(&mut out))?;
//!             }
//!             Next::Over => return Ok(()),
//!             Next::Wait => exchange(server, &mut out, &mut input)?,
//!         }
//!     }
//! }
//!
//! /// Writes what there is to say, and reads on.
//! fn exchange(server: &mut (impl Read + Write), out: &mut Vec<u8>, input: &mut Vec<u8>) -> Result<(), Error> {
//!     server.write_all(&std::mem::take(out))?;
//!     let mut read = [0; 4096];
//!     match server.read(&mut read)? {
//!         0 => Err(Error::new(ErrorKind::UnexpectedEof, "the server closed")),
//!         len => Ok(input.extend_from_slice(&read[..len])),
//!     }
//! }
//!
//! # struct Server(Vec<&'static [u8]>, Vec<u8>);
//! # impl Read for Server { fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> { self.0.remove(0).read(into) } }
//! # impl Write for Server {
//! #     fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> { self.1.write(octets) }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # let says: [&[u8]; 4] = [b"220 x\r\n", b"250-x\r\n250 PIPELINING\r\n", b"250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n", b"250 taken\r\n"];
//! # let mut server = Server(says.to_vec(), Vec::new());
//! let recipients = ["<a@b>", "<c@d>"].map(|to| Recipient { to: ForwardPath::new(to).unwrap(), parameters: Parameters::NONE });
//! let envelope = Envelope { from: ReversePath::Null, parameters: Parameters::NONE, recipients: &recipients };
//! let mut transfer = None;
//! let sent = send(&mut server, envelope, b"Subject: x\r\n\r\n.\r\n", &mut transfer);
//! let mut transfer = transfer.ok_or("the server did not get as far as EHLO")?;
//! // Those who have no outcome yet, because of an error, get one.
//! transfer.lost();
//! assert!(matches!(transfer.outcomes(), [Outcome::Refused(_), Outcome::Taken(_)]));
//! sent?;
//! # let said = "EHLO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\n";
//! # assert_eq!(String::from_utf8(server.1)?, said);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A CR or LF alone in the message breaks off the transfer, since it cannot be taken back: [`LineEndings::Reject`](crate::LineEndings::Reject) is the default of
//! [`Config::line_endings`](crate::client::Config::line_endings), and `Normalise` makes it a CRLF.
//!
//! # What is left out
//!
//! The message goes without those of its parameters that the server does not offer, unless that would do harm: then it is [`Unsuited`] for the server.
//! `AUTH`, `BY` in the mode `N`, `CONNEG`, `CONPERM`, `ENVID`, `MT-PRIORITY`, `MTRK`, `NOTIFY`, `ORCPT`, `PRDR`, `RET`, `RRVS` with `C`, `SIZE`, `SOLICIT`,
//! `SUBMITTER`, `TRANSID`, `XVERP` and a `BODY` of `7BIT` may be left out; [`Offered::left_out`] says which are. Two of them leave the sender a duty, for each
//! recipient that is [`Taken`](Outcome::Taken): without `NOTIFY=SUCCESS` a "relayed" report is to be sent
//! ([RFC 3461 section 5.2.2](https://www.rfc-editor.org/rfc/rfc3461#section-5.2.2)), and without `BY` in the mode `N` too, where `NOTIFY` is not `NEVER`
//! ([RFC 2852 section 4.1.4.2](https://www.rfc-editor.org/rfc/rfc2852#section-4.1.4.2)).

use alloc::vec;
use alloc::vec::Vec;

use thiserror::Error;

use crate::client::{Connection, Event, Subject};
use crate::command::{Command, Verb};
use crate::error::Misuse;
use crate::extensions::parameter_list::ParameterList;
use crate::extensions::parameters::{Body, Parameters};
use crate::extensions::timing::{ByMode, Otherwise};
use crate::offered::Offered;
use crate::reply::{Code, Reply};
use crate::session::State;
use crate::types::{ForwardPath, ReversePath};

/// Whom a message is from and to.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'m> {
    /// Where reports go: `<>` for nowhere.
    pub from: ReversePath<'m>,
    /// What is said with `MAIL`, but for [what is left out](self#what-is-left-out). `SMTPUTF8` is added where a path needs it.
    pub parameters: Parameters<'m>,
    /// To whom the message goes. What became of each is at the same place of [`Transfer::outcomes`].
    pub recipients: &'m [Recipient<'m>],
}

impl Envelope<'_> {
    /// Whether its paths or its header are UTF-8.
    fn needs_utf8(&self) -> bool {
        let ascii = self.from.is_ascii() && self.recipients.iter().all(|recipient| recipient.to.is_ascii());
        self.parameters.smtputf8() || !ascii
    }
}

/// One to whom a message goes.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'m> {
    /// Where the recipient's mail goes, `<a@mail.example>` for one.
    pub to: ForwardPath<'m>,
    /// What is said with `RCPT`, but for [what is left out](self#what-is-left-out).
    pub parameters: Parameters<'m>,
}

/// Why a message cannot go to a server, whatever it would answer.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Unsuited {
    /// The message has octets the server does not take: it would have to be converted. [RFC 6152 section 3](https://www.rfc-editor.org/rfc/rfc6152#section-3).
    #[error("the server does not take messages of this kind: BODY={0} (RFC 6152, RFC 3030)")]
    Body(Body),
    /// The message is to be returned when it is late, and the server would not do that.
    /// [RFC 2852 section 4.1.4.1](https://www.rfc-editor.org/rfc/rfc2852#section-4.1.4.1).
    #[error("the server does not offer DELIVERBY (RFC 2852)")]
    DeliverBy,
    /// The message is to be returned when it is late, and the server does not take a time as short.
    /// [RFC 2852 section 4.1.4.1](https://www.rfc-editor.org/rfc/rfc2852#section-4.1.4.1).
    #[error("delivery within {seconds} seconds is below the server's minimum of {minimum} (RFC 2852)")]
    DeliverByTooSoon {
        /// Seconds the message has.
        seconds: i32,
        /// The fewest that the server takes.
        minimum: u32,
    },
    /// The message is to be held, and the server would send it on at once. [RFC 4865](https://www.rfc-editor.org/rfc/rfc4865).
    #[error("the server does not hold messages (RFC 4865)")]
    Hold,
    /// The message may only go to servers that go on to use TLS. [RFC 8689 section 4.2](https://www.rfc-editor.org/rfc/rfc8689#section-4.2).
    #[error("the server does not offer REQUIRETLS (RFC 8689)")]
    RequireTls,
    /// The message has addresses or a header in UTF-8. [RFC 6531 section 3.2](https://www.rfc-editor.org/rfc/rfc6531#section-3.2).
    #[error("the server does not offer SMTPUTF8 (RFC 6531)")]
    SmtpUtf8,
    /// The message is larger than the server takes.
    #[error("message of {size} octets exceeds the server's limit of {limit}")]
    TooLarge {
        /// Octets of the message.
        size: u64,
        /// The most octets that the server takes.
        limit: u64,
    },
    /// A recipient must have had the mailbox for long, which the server does not look at, and the client has not said to go on without that.
    /// [RFC 7293 section 5.1.1](https://www.rfc-editor.org/rfc/rfc7293#section-5.1.1).
    #[error("the server does not offer RRVS (RFC 7293)")]
    ValidSince,
}

/// How the message travels.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Carrier {
    /// The message goes with `BDAT` where it must, because it is `BODY=BINARYMIME`; else with `DATA`, which every server has been tried with.
    #[default]
    Automatic,
    /// The message goes with `BDAT` where it is offered, else with `DATA`.
    Chunks,
}

/// What became of a recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server has not said what becomes of it yet.
    Pending,
    /// The server refused, for now (4yz) or for good (5yz), and said this.
    Refused(Reply<'static>),
    /// The server has the message for this recipient, and said this.
    Taken(Reply<'static>),
    /// The connection was lost after the message's end had been sent and before its reply: the server may have it or not.
    Uncertain,
    /// The server was not given the whole message for it, and does not have it: the connection was lost, or takes no further transaction. Try again on
    /// another.
    Unsent,
}

/// What a [`Transfer`] needs next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Next {
    /// A piece of the message, to be handed to [`Transfer::content`].
    Content {
        /// Octets of the message before it; 0 anew where another transaction begins.
        at: u64,
    },
    /// Nothing: each recipient has its outcome. The connection is ready for another transaction, or closed.
    Over,
    /// A reply: write out what there is, and read.
    Wait,
}

/// Commands without a reply: the server's replies to so many fit the smallest buffers in use, of 32 KiB, so that both sides cannot be waiting
/// for the other to read. [RFC 2920 section 3.1](https://www.rfc-editor.org/rfc/rfc2920#section-3.1).
const WINDOW: usize = 64;

/// One message on its way to many recipients.
#[derive(Clone, Debug)]
pub struct Transfer<'m> {
    envelope: Envelope<'m>,
    carrier: Carrier,
    outcomes: Vec<Outcome>,
    stage: Stage,
    /// Recipients of the present transaction, in the order of their RCPTs.
    group: Vec<usize>,
    /// How many of them were named to the server.
    named: usize,
    /// Those of them the server has accepted so far.
    accepted: Vec<usize>,
    /// What the server has said of each recipient after the 353 of `PRDR`: it counts once the reply for all is a good one.
    each: Vec<(usize, Reply<'static>)>,
    /// `MAIL` was refused: what answers the commands behind it means nothing.
    refused: bool,
    /// The server answers the message for each recipient, and then for all: `PRDR`.
    per_recipient: bool,
    /// How many recipients a transaction has been seen to take.
    most: usize,
    transactions: u32,
    /// Octets of the message that were sent in the present transaction.
    at: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// A transaction is to begin, if anybody is left.
    Begin,
    /// Recipients are being named.
    Naming,
    /// All of them are named.
    Named,
    /// `DATA` waits for its reply.
    Asked,
    /// The message is being sent.
    Content,
    /// Its end was sent.
    Sent,
    /// The transaction is over; where the server may not have forgotten it, it is to be reset.
    Ended,
    /// `RSET` waits for its reply.
    Reset,
    Over,
}

impl<'m> Transfer<'m> {
    /// A message for a server that offers this.
    ///
    /// # Errors
    ///
    /// When the message cannot go there.
    pub fn new(envelope: Envelope<'m>, offered: &Offered) -> Result<Self, Unsuited> {
        suits(&envelope, offered)?;
        let outcomes = vec![Outcome::Pending; envelope.recipients.len()];
        Ok(Self {
            envelope,
            carrier: Carrier::Automatic,
            outcomes,
            stage: Stage::Begin,
            group: Vec::new(),
            named: 0,
            accepted: Vec::new(),
            each: Vec::new(),
            refused: false,
            per_recipient: false,
            most: usize::MAX,
            transactions: 0,
            at: 0,
        })
    }

    /// The same, carried otherwise than [automatically](Carrier::Automatic).
    #[must_use]
    pub const fn carried_by(mut self, carrier: Carrier) -> Self {
        self.carrier = carrier;
        self
    }

    /// What became of each recipient, in the order of the envelope.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// What became of each recipient, without the transfer.
    pub fn into_outcomes(self) -> Vec<Outcome> {
        self.outcomes
    }

    /// Appends to `out` what can be said now.
    ///
    /// # Errors
    ///
    /// When the connection has not said `EHLO`, is in a transaction of somebody else's, or a command does not fit a line.
    pub fn speak(&mut self, connection: &mut Connection, out: &mut Vec<u8>) -> Result<Next, Misuse> {
        loop {
            if connection.is_closed() {
                self.lost();
            }
            if connection.wants_content() && self.refused && connection.accepted() > 0 && !connection.is_closed() {
                // A server that has refused the sender and takes the message all the same: there is no way to send nothing.
                connection.abandon();
                self.lost();
            }
            if connection.wants_content() && connection.accepted() == 0 {
                // RFC 2920 section 3.1: nobody is left to send to, and the server wants the message all the same.
                connection.end_of_content(out)?;
                self.stage = Stage::Ended;
            }
            let said = match self.stage {
                Stage::Over => return Ok(Next::Over),
                Stage::Begin => self.begin(connection, out),
                Stage::Naming => self.name(connection, out),
                Stage::Named => self.ask(connection, out),
                Stage::Content if self.may_send(connection) => return Ok(Next::Content { at: self.at }),
                Stage::Ended => self.reset(connection, out),
                Stage::Asked | Stage::Content | Stage::Sent | Stage::Reset => return Ok(Next::Wait),
            };
            match said {
                Ok(true) => {}
                Ok(false) | Err(Misuse::AwaitingReply { .. } | Misuse::QueueFull { .. }) => return Ok(Next::Wait),
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins a transaction for those who have no outcome. Whether there is more to say.
    fn begin(&mut self, connection: &mut Connection, out: &mut Vec<u8>) -> Result<bool, Misuse> {
        self.group = self.next_group(connection.offered());
        if self.group.is_empty() {
            self.settle(&Outcome::Unsent);
            self.stage = Stage::Over;
            return Ok(true);
        }
        let mut fitting = ParameterList::new();
        let parameters = fitting_of(self.envelope.parameters, connection.offered(), &mut fitting);
        let mut list = ParameterList::from(parameters);
        if self.envelope.needs_utf8() {
            list = list.smtputf8();
        }
        let parameters = list.as_parameters();
        connection.send(&Command::Mail { from: self.envelope.from, parameters }, out)?;
        (self.named, self.at, self.refused, self.per_recipient) = (0, 0, false, false);
        self.accepted.clear();
        self.each.clear();
        self.transactions += 1;
        self.stage = Stage::Naming;
        Ok(true)
    }

    /// Those without an outcome, as many as a transaction takes.
    fn next_group(&self, offered: &Offered) -> Vec<usize> {
        if offered.max_transactions.is_some_and(|most| self.transactions >= most) {
            return Vec::new();
        }
        let limit = |limit: Option<u32>| limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let (most, most_domains) = (self.most.min(limit(offered.max_recipients)), limit(offered.max_domains));
        let (mut group, mut hosts) = (Vec::new(), Vec::new());
        for (index, recipient) in self.envelope.recipients.iter().enumerate() {
            if group.len() >= most {
                break;
            }
            if self.outcomes.get(index) != Some(&Outcome::Pending) {
                continue;
            }
            if most_domains < usize::MAX {
                let host = recipient.to.mailbox().map(|mailbox| mailbox.host());
                if !hosts.contains(&host) && hosts.len() >= most_domains {
                    continue;
                }
                if !hosts.contains(&host) {
                    hosts.push(host);
                }
            }
            group.push(index);
        }
        group
    }

    fn name(&mut self, connection: &mut Connection, out: &mut Vec<u8>) -> Result<bool, Misuse> {
        while let Some(recipient) = self.group.get(self.named).and_then(|index| self.envelope.recipients.get(*index)) {
            if self.refused {
                break;
            }
            if connection.unanswered() >= WINDOW {
                return Ok(false);
            }
            let mut fitting = ParameterList::new();
            let parameters = fitting_of(recipient.parameters, connection.offered(), &mut fitting);
            connection.send(&Command::Rcpt { to: recipient.to, parameters }, out)?;
            self.named += 1;
        }
        self.stage = Stage::Named;
        Ok(true)
    }

    /// Asks for the message to be taken: `DATA`, in the group of the recipients where there is one; chunks only once it is known that somebody gets them.
    fn ask(&mut self, connection: &mut Connection, out: &mut Vec<u8>) -> Result<bool, Misuse> {
        let grouped = connection.offered().pipelining && !self.in_chunks(connection) && !self.refused;
        if connection.is_waiting() && !grouped {
            return Ok(false);
        }
        if !connection.is_waiting() && self.accepted.is_empty() {
            self.stage = Stage::Ended;
            return Ok(true);
        }
        if self.in_chunks(connection) {
            self.stage = Stage::Content;
            return Ok(true);
        }
        connection.send(&Command::Data, out)?;
        self.stage = Stage::Asked;
        Ok(true)
    }

    fn in_chunks(&self, connection: &Connection) -> bool {
        let binary = self.envelope.parameters.body() == Some(Body::BinaryMime);
        connection.offered().chunking && (binary || self.carrier == Carrier::Chunks)
    }

    /// Whether a piece of the message may go out now.
    fn may_send(&self, connection: &Connection) -> bool {
        let most = if connection.offered().pipelining { WINDOW } else { 1 };
        connection.wants_content() || connection.unanswered() < most
    }

    fn reset(&mut self, connection: &mut Connection, out: &mut Vec<u8>) -> Result<bool, Misuse> {
        if connection.is_waiting() && !connection.offered().pipelining {
            return Ok(false);
        }
        if connection.state() == State::Ready && !connection.is_waiting() {
            self.stage = Stage::Begin;
            return Ok(true);
        }
        connection.send(&Command::Rset, out)?;
        self.stage = Stage::Reset;
        Ok(true)
    }

    /// Appends the next piece of the message to `out`; `last` ends it. With `BDAT` each piece is a chunk: 64 KiB is a good size.
    ///
    /// # Errors
    ///
    /// When none is [asked for](Next::Content), or its line ends are refused: see [`Connection::content`].
    pub fn content(
        &mut self,
        connection: &mut Connection,
        piece: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Misuse> {
        if self.stage != Stage::Content {
            return Err(Misuse::NoContent);
        }
        if connection.wants_content() {
            connection.content(piece, out)?;
            if last {
                connection.end_of_content(out)?;
            }
        } else if last || !piece.is_empty() {
            connection.chunk(piece, last, out)?;
        }
        self.at += piece.len() as u64;
        if last {
            self.stage = Stage::Sent;
        }
        Ok(())
    }

    /// Hears a reply: the event that `connection` has just given.
    pub fn heard(&mut self, event: &Event<'_>, connection: &Connection) {
        let (reply, negative) = (&event.reply, event.reply.code().is_negative());
        if let (Code::NOT_AVAILABLE, Subject::ContentFor(index)) = (reply.code(), event.subject) {
            // What it says of one says nothing of the others, which may have the message.
            if let Some(index) = self.group.get(index).copied().filter(|_| !self.per_recipient) {
                self.decide(index, reply);
            }
            self.lost();
        } else if reply.code() == Code::NOT_AVAILABLE {
            self.settle(&Outcome::Refused(reply.clone().into_owned()));
            self.stage = Stage::Over;
        }
        match event.subject {
            _ if self.stage == Stage::Over => {}
            Subject::Command(Verb::Mail) if negative => {
                // The sender is no better in another transaction.
                self.settle(&Outcome::Refused(reply.clone().into_owned()));
                self.refused = true;
            }
            Subject::Recipient(index) => self.named(index, reply),
            Subject::Command(Verb::Data) if negative => self.ended(reply),
            Subject::Command(Verb::Data) => self.stage = Stage::Content,
            Subject::Chunk if negative => self.ended(reply),
            Subject::ContentFor(index) if self.per_recipient => {
                let index = self.group.get(index).copied();
                self.each.extend(index.map(|index| (index, reply.clone().into_owned())));
            }
            Subject::ContentFor(index) => {
                let index = self.group.get(index).copied();
                index.into_iter().for_each(|index| self.decide(index, reply));
                if connection.state() == State::Ready && self.stage == Stage::Sent {
                    self.stage = Stage::Begin;
                }
            }
            Subject::Content if reply.code() == Code::PER_RECIPIENT => self.per_recipient = true,
            Subject::Content => self.ended(reply),
            Subject::Command(Verb::Rset) => {
                self.stage = if negative { Stage::Over } else { Stage::Begin };
                if negative {
                    self.settle(&Outcome::Unsent);
                }
            }
            _ => {}
        }
    }

    /// What was said of a recipient.
    fn named(&mut self, index: usize, reply: &Reply<'_>) {
        let Some(index) = self.group.get(index).copied() else { return };
        if self.refused {
            // No transaction began that it could belong to.
        } else if reply.code().is_success() {
            self.accepted.push(index);
        } else if is_too_many(reply) && !self.accepted.is_empty() {
            self.most = self.most.min(self.accepted.len());
        } else {
            self.decide(index, reply);
        }
    }

    /// The transaction is over, and this is the last word on it.
    fn ended(&mut self, reply: &Reply<'_>) {
        let each = core::mem::take(&mut self.each);
        each.iter().filter(|_| !reply.code().is_negative()).for_each(|(index, reply)| self.decide(*index, reply));
        for index in core::mem::take(&mut self.accepted) {
            self.decide(index, reply);
        }
        // Chunks behind a refused one are refused too, when the reset is under way.
        if self.stage != Stage::Reset {
            self.stage = Stage::Ended;
        }
    }

    fn decide(&mut self, index: usize, reply: &Reply<'_>) {
        if let Some(outcome @ Outcome::Pending) = self.outcomes.get_mut(index) {
            let reply = reply.clone().into_owned();
            *outcome = if reply.code().is_success() { Outcome::Taken(reply) } else { Outcome::Refused(reply) };
        }
    }

    /// The same for all who have no outcome yet.
    fn settle(&mut self, last: &Outcome) {
        self.outcomes
            .iter_mut()
            .filter(|outcome| **outcome == Outcome::Pending)
            .for_each(|outcome| *outcome = last.clone());
    }

    /// The connection is lost: nothing more will be heard. What the server has said before it went is for [`Connection::receive`] first, so that its reason
    /// is kept.
    pub fn lost(&mut self) {
        if self.stage == Stage::Sent {
            for index in core::mem::take(&mut self.accepted) {
                if let Some(outcome @ Outcome::Pending) = self.outcomes.get_mut(index) {
                    *outcome = Outcome::Uncertain;
                }
            }
        }
        self.settle(&Outcome::Unsent);
        self.stage = Stage::Over;
    }
}

/// [RFC 5321 section 4.5.3.1.10](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.10): 452, or 552 from older servers; other enhanced codes than x.5.3
/// say that it is something else.
fn is_too_many(reply: &Reply<'_>) -> bool {
    let about_that = reply.enhanced().is_none_or(|code| (code.subject(), code.detail()) == (5, 3));
    matches!(reply.code(), Code::INSUFFICIENT_STORAGE | Code::TOO_LARGE) && about_that
}

/// Whether the message can go where this is offered.
fn suits(envelope: &Envelope<'_>, offered: &Offered) -> Result<(), Unsuited> {
    let parameters = &envelope.parameters;
    returns_in_time(parameters, offered)?;
    let strict = |recipient: &Recipient<'_>| {
        // RFC 7293 section 3.1: where the client does not say, it is to be refused.
        recipient.parameters.valid_since().is_some_and(|since| since.otherwise != Some(Otherwise::Continue))
    };
    match (parameters.body(), parameters.size(), offered.max_size) {
        (Some(body @ Body::EightBitMime), ..) if !offered.eight_bit_mime => Err(Unsuited::Body(body)),
        (Some(body @ Body::BinaryMime), ..) if !(offered.binary_mime && offered.chunking) => Err(Unsuited::Body(body)),
        (_, Some(size), Some(limit)) if size > limit => Err(Unsuited::TooLarge { size, limit }),
        _ if envelope.needs_utf8() && !offered.smtputf8 => Err(Unsuited::SmtpUtf8),
        _ if parameters.require_tls() && !offered.require_tls => Err(Unsuited::RequireTls),
        _ if parameters.hold().is_some() && !offered.future_release => Err(Unsuited::Hold),
        _ if !offered.rrvs && envelope.recipients.iter().any(strict) => Err(Unsuited::ValidSince),
        _ => Ok(()),
    }
}

/// Whether a message that is to be returned when it is late would be: `BY` in the mode `N` may be left out.
fn returns_in_time(parameters: &Parameters<'_>, offered: &Offered) -> Result<(), Unsuited> {
    let Some(by) = parameters.deliver_by().filter(|by| by.mode() == ByMode::Return) else { return Ok(()) };
    let (seconds, minimum) = (by.seconds(), offered.deliver_by.ok_or(Unsuited::DeliverBy)?);
    let late = i64::from(seconds) < i64::from(minimum);
    if late { Err(Unsuited::DeliverByTooSoon { seconds, minimum }) } else { Ok(()) }
}

/// Those of `parameters` that the server takes, and those that nobody here knows.
fn fitting_of<'p>(parameters: Parameters<'p>, offered: &Offered, fitting: &'p mut ParameterList) -> Parameters<'p> {
    if parameters.iter().all(|parameter| offered.takes_word(&parameter)) {
        return parameters;
    }
    *fitting = ParameterList::those(parameters, |parameter| offered.takes_word(parameter));
    fitting.as_parameters()
}
