//! The kinds of failure: [`CommandError`] is survived, [`Error`] ends the connection, [`Misuse`] is our own.

use postrider_text_proto::{LineError, Stray};
use thiserror::Error;

use crate::command::Verb;
use crate::reply::{Code, Reply};
use crate::session::Place;

/// Why a command was refused before the server's program saw it. The session goes on.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CommandError {
    /// The client has to log in first.
    #[error("{verb} before AUTH (RFC 4954 section 6)")]
    AuthenticationRequired {
        /// The command.
        verb: Verb,
    },
    /// An argument does not follow its grammar.
    #[error("{verb} needs {expected}")]
    BadArgument {
        /// The command.
        verb: Verb,
        /// What is allowed.
        expected: &'static str,
    },
    /// A parameter's value does not follow its grammar.
    #[error("{keyword} needs {expected}")]
    BadParameter {
        /// The parameter.
        keyword: &'static str,
        /// What is allowed.
        expected: &'static str,
    },
    /// The initial response of `AUTH`, or a response after it, is not base64. It ends the `AUTH`.
    #[error("response is not base64 (RFC 4648 section 4)")]
    Base64,
    /// `BY` with a time in which a message cannot be returned. [RFC 2852 section 3](https://www.rfc-editor.org/rfc/rfc2852#section-3).
    #[error("BY needs {seconds} seconds at least to return a message (RFC 2852 section 3)")]
    ByTooSoon {
        /// What `DELIVERBY` announced.
        seconds: u32,
    },
    /// How many octets follow a `BDAT` cannot be read, nor so where the next command begins: the connection closes once this is answered.
    #[error("BDAT needs a size in octets below 2^64, and LAST or nothing (RFC 3030 section 2)")]
    ChunkSize,
    /// More chunks were refused than a client can have sent in good faith: the connection closes once this is answered.
    #[error("too many chunks that do not belong to a message")]
    ChunksRefused,
    /// What has come of the message before a `BURL` cannot be accepted. The transaction is forgotten.
    #[error(transparent)]
    Content(ContentFault),
    /// The line cannot be used.
    #[error(transparent)]
    Line(#[from] LineError),
    /// An argument is missing.
    #[error("{verb} without an argument")]
    MissingArgument {
        /// The command.
        verb: Verb,
    },
    /// The extension is not among those [offered](crate::Extensions).
    #[error("{verb} is not offered")]
    NotOffered {
        /// The command.
        verb: Verb,
    },
    /// The command does not belong here.
    #[error("{verb} {place}")]
    OutOfPlace {
        /// The command.
        verb: Verb,
        /// Why it does not belong here.
        place: Place,
    },
    /// The parameter belongs to an extension that is not among those [offered](crate::Extensions), or to another command.
    #[error("{parameter} is not offered with {verb}")]
    ParameterNotOffered {
        /// The command.
        verb: Verb,
        /// The parameter's keyword, of `BODY=BINARYMIME` its value too.
        parameter: &'static str,
    },
    /// The declared size is above the limit.
    #[error("message of {size} octets exceeds the limit of {limit}")]
    TooLarge {
        /// Octets declared.
        size: u64,
        /// Octets allowed.
        limit: u64,
    },
    /// The transaction has as many recipients as are taken.
    #[error("more than {limit} recipients")]
    TooManyRecipients {
        /// How many are taken.
        limit: usize,
    },
    /// The client has to start TLS first.
    #[error("{verb} before STARTTLS (RFC 3207 section 4)")]
    TlsRequired {
        /// The command.
        verb: Verb,
    },
    /// The command takes no argument.
    #[error("{verb} takes no argument")]
    UnexpectedArgument {
        /// The command.
        verb: Verb,
    },
    /// No command of SMTP. What it was is not said: it may be a password, behind an `AUTH` that was refused.
    #[error("unknown command")]
    UnknownCommand,
    /// The mechanism is not among those offered. Which it was is not said: it may be a password in the wrong place.
    #[error("mechanism is not offered")]
    UnknownMechanism,
    /// A parameter that nobody knows here.
    #[error("{verb} with a parameter that is not known")]
    UnknownParameter {
        /// The command.
        verb: Verb,
    },
    /// An address or a parameter in UTF-8 without `SMTPUTF8`.
    #[error("{verb} with octets that are not ASCII, without SMTPUTF8 (RFC 6531 section 3.5)")]
    Utf8NotAnnounced {
        /// The command.
        verb: Verb,
    },
}

impl CommandError {
    /// The reply that says so to the client.
    pub fn reply(&self) -> Reply<'static> {
        let (code, class, subject, detail) = match self {
            Self::AuthenticationRequired { .. } | Self::TlsRequired { .. } => (Code::AUTHENTICATION_REQUIRED, 5, 7, 0),
            Self::BadArgument { .. } | Self::BadParameter { .. } => (Code::ARGUMENT_ERROR, 5, 5, 4),
            Self::Base64 => (Code::ARGUMENT_ERROR, 5, 5, 2),
            Self::ByTooSoon { .. } => (Code::TRANSACTION_FAILED, 5, 4, 7),
            Self::ChunkSize => (Code::ARGUMENT_ERROR, 5, 5, 4),
            Self::ChunksRefused => (Code::NOT_AVAILABLE, 4, 7, 0),
            Self::Content(fault) => return fault.reply(),
            Self::Line(LineError::TooLong { .. }) => (Code::SYNTAX_ERROR, 5, 5, 6),
            Self::Line(_) | Self::UnknownCommand => (Code::SYNTAX_ERROR, 5, 5, 2),
            Self::MissingArgument { .. } | Self::UnexpectedArgument { .. } => (Code::ARGUMENT_ERROR, 5, 5, 4),
            Self::NotOffered { .. } => (Code::NOT_IMPLEMENTED, 5, 5, 1),
            // RFC 2033 section 4.1: as any command that does not exist.
            Self::OutOfPlace { place: Place::WithinLmtp | Place::WithinSmtp, .. } => (Code::SYNTAX_ERROR, 5, 5, 1),
            Self::OutOfPlace { .. } => (Code::BAD_SEQUENCE, 5, 5, 1),
            Self::TooLarge { .. } => (Code::TOO_LARGE, 5, 3, 4),
            Self::TooManyRecipients { .. } => (Code::INSUFFICIENT_STORAGE, 4, 5, 3),
            Self::UnknownMechanism => (Code::PARAMETER_NOT_IMPLEMENTED, 5, 5, 4),
            Self::ParameterNotOffered { .. } | Self::UnknownParameter { .. } => (Code::PARAMETERS_UNKNOWN, 5, 5, 4),
            // RFC 6531 section 3.5 has a code for each.
            Self::Utf8NotAnnounced { verb: Verb::Mail } => (Code::MAILBOX_UNAVAILABLE, 5, 6, 7),
            Self::Utf8NotAnnounced { .. } => (Code::MAILBOX_NAME_NOT_ALLOWED, 5, 6, 7),
        };
        Reply::new(code, &alloc::format!("{self}")).with_enhanced(class, subject, detail).into_owned()
    }
}

/// Why a message whose end has come cannot be accepted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ContentFault {
    /// A CR or LF that is not part of a CRLF, with [`LineEndings::Reject`](crate::LineEndings::Reject).
    #[error("bare {} in the message at octet {at}, only CRLF is allowed (RFC 5321 section 2.3.8)", name(*stray))]
    LineEnding {
        /// The octet that stands alone.
        stray: Stray,
        /// Octets of the message before it.
        at: u64,
    },
    /// More octets than are taken.
    #[error("message exceeds the limit of {limit} octets")]
    TooLarge {
        /// Octets taken.
        limit: u64,
    },
}

const fn name(stray: Stray) -> &'static str {
    match stray {
        Stray::Cr => "CR",
        Stray::Lf => "LF",
    }
}

impl ContentFault {
    /// The reply that says so to the client.
    pub fn reply(&self) -> Reply<'static> {
        let text = alloc::format!("{self}");
        let reply = match self {
            Self::LineEnding { .. } => Reply::new(Code::TRANSACTION_FAILED, &text).with_enhanced(5, 6, 0),
            Self::TooLarge { .. } => Reply::new(Code::TOO_LARGE, &text).with_enhanced(5, 3, 4),
        };
        reply.into_owned()
    }
}

/// Why a connection cannot go on: write out what is owed and close it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The peer speaks another protocol: TLS where plain text was expected, or HTTP.
    #[error("the peer speaks {protocol}, not SMTP")]
    ForeignProtocol {
        /// The protocol's name, `TLS` for one.
        protocol: &'static str,
    },
    /// The call was wrong. It alone of these ends nothing.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// Octets arrived in plain text after `STARTTLS` and before TLS: somebody in the middle may have put them there.
    #[error("{len} octets in plain text after STARTTLS (RFC 3207 section 4.2)")]
    PlaintextAfterStartTls {
        /// How many octets.
        len: usize,
    },
    /// The server said something that is no reply.
    #[error("reply: {0}")]
    Reply(#[from] ReplyError),
    /// The server answered a question nobody asked.
    #[error("{len} octets from the server without a command")]
    Unsolicited {
        /// How many octets.
        len: usize,
    },
}

/// Octets that are no reply of SMTP.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ReplyError {
    /// A challenge is not base64.
    #[error("challenge is not base64 (RFC 4954 section 4)")]
    Base64,
    /// A line without a code.
    #[error("expected a code of digits 2-5, 0-9, 0-9 and a space or hyphen (RFC 5321 section 4.2)")]
    Code,
    /// The last line is missing, or something follows it.
    #[error("not one whole reply")]
    Incomplete,
    /// A line cannot be used.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The lines have different codes.
    #[error("reply with the codes {first} and {other} (RFC 5321 section 4.2.1)")]
    Mismatch {
        /// The code of the first line.
        first: Code,
        /// The code of another line.
        other: Code,
    },
    /// A CR, LF or NUL within a line.
    #[error("CR, LF or NUL within a line (RFC 5321 section 4.2)")]
    Octet,
    /// The reply goes on and on.
    #[error("reply exceeds the limit of {limit} octets")]
    TooLong {
        /// Octets allowed.
        limit: usize,
    },
    /// A whole reply that cannot answer what was asked: a 3yz where none may come, or to `DATA` a 2yz or another 3yz than 354.
    #[error("reply {0} is not allowed here")]
    Unexpected(Code),
}

/// A call that is wrong at this point, whatever the peer sent. Nothing was written and no state has changed, but for [`LineEnding`](Self::LineEnding).
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Misuse {
    /// A reply has not come yet, and the command cannot be sent before it.
    #[error("{verb} is not answered yet (RFC 2920 section 3.1)")]
    AwaitingReply {
        /// The command that waits.
        verb: Verb,
    },
    /// `BDAT` goes out with its octets: [`chunk`](crate::client::Connection::chunk) sends both.
    #[error("BDAT without its octets: `chunk` sends both")]
    BareBdat,
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
    /// The reply does not fit what is to be answered.
    #[error("reply {code} is not allowed here")]
    DoesNotAnswer {
        /// What was to be sent.
        code: Code,
    },
    /// A message that has a fault was to be accepted.
    #[error("{code} would accept a message that is faulty: {fault}")]
    FaultyContent {
        /// What was to be sent.
        code: Code,
        /// What is wrong with the message.
        fault: ContentFault,
    },
    /// The message holds a CR or LF that is not part of a CRLF. What was sent of it cannot be taken back: close the connection.
    #[error("message with a bare {} at octet {at}", name(*stray))]
    LineEnding {
        /// The octet that stands alone.
        stray: Stray,
        /// Octets of the message before it.
        at: u64,
    },
    /// The line would be longer than the protocol allows.
    #[error("line of {len} octets exceeds the limit of {limit}")]
    LineTooLong {
        /// Octets, CRLF included.
        len: usize,
        /// Octets allowed.
        limit: usize,
    },
    /// The server has not asked for a message.
    #[error("no message is asked for")]
    NoContent,
    /// The server does not list the extension.
    #[error("{verb} is not offered by the server")]
    NotOffered {
        /// The command.
        verb: Verb,
    },
    /// There is nothing to answer.
    #[error("no command waits for a reply")]
    NothingToAnswer,
    /// The command does not belong here.
    #[error("{verb} {place}")]
    OutOfPlace {
        /// The command.
        verb: Verb,
        /// Why it does not belong here.
        place: Place,
    },
    /// Too many commands are waiting.
    #[error("{limit} commands wait for a reply already")]
    QueueFull {
        /// How many may.
        limit: usize,
    },
    /// No `STARTTLS` was accepted, after which TLS would be set up.
    #[error("TLS was not asked for")]
    TlsNotWanted,
    /// A path in UTF-8 without `SMTPUTF8`.
    #[error("{verb} with a path that is not ASCII, without SMTPUTF8 (RFC 6531 section 3.4)")]
    Utf8NotAnnounced {
        /// The command.
        verb: Verb,
    },
}
