//! The kinds of failure: [`CommandError`] is survived, [`Error`] ends the connection, [`Misuse`] is our own.

use postrider_text_proto::LineError;
use thiserror::Error;

use crate::command::Verb;
use crate::response::Response;
use crate::session::Place;
use crate::types::Text;

/// Why a command was refused before the server's program saw it. The session goes on.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CommandError {
    /// An argument does not follow its grammar.
    #[error("{verb} wants {expected}")]
    BadArgument {
        /// The command.
        verb: Verb,
        /// What is allowed.
        expected: &'static str,
    },
    /// The initial response of `AUTH`, or a response after it, is not base64. It ends the `AUTH`.
    #[error("response is not base64 (RFC 4648 section 4)")]
    Base64,
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
    /// The command takes no argument.
    #[error("{verb} takes no argument")]
    UnexpectedArgument {
        /// The command.
        verb: Verb,
    },
    /// No command of POP3.
    #[error("unknown command")]
    UnknownCommand,
    /// The mechanism is not among those offered.
    #[error("mechanism is not offered")]
    UnknownMechanism,
    /// The command does not belong here.
    #[error("{verb} {place}")]
    OutOfPlace {
        /// The command.
        verb: Verb,
        /// Why not here.
        place: Place,
    },
}

impl CommandError {
    /// The `-ERR` that says so to the client.
    pub fn response(&self) -> Response<'static> {
        Response::Err { code: None, text: Text::lossy(&alloc::format!("{self}")).into_owned() }
    }
}

/// Why a connection cannot go on: write out what is owed and close it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The peer speaks another protocol: TLS where plain text was expected, or HTTP.
    #[error("the peer speaks {protocol}, not POP3")]
    ForeignProtocol {
        /// Which.
        protocol: &'static str,
    },
    /// The connection was used wrongly.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// Octets arrived in plain text after `STLS` and before TLS: somebody in the middle may have put them there.
    #[error("{len} octets in plain text after STLS (RFC 2595 section 4)")]
    PlaintextAfterStls {
        /// How many octets.
        len: usize,
    },
    /// The server said something that is no response.
    #[error("response to {}: {error}", to.map_or("the connection", Verb::as_str))]
    Response {
        /// The command it should answer; none for the greeting.
        to: Option<Verb>,
        /// What is wrong with it.
        error: ResponseError,
    },
    /// The server answered a question nobody asked.
    #[error("{len} octets from the server without a command")]
    Unsolicited {
        /// How many octets.
        len: usize,
    },
}

/// Octets that are no response of POP3.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ResponseError {
    /// A challenge is not base64.
    #[error("challenge is not base64 (RFC 5034 section 4)")]
    Base64,
    /// The line cannot be used.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The line goes on and on.
    #[error("line exceeds the limit of {limit} octets")]
    TooLong {
        /// Octets allowed, CRLF included.
        limit: usize,
    },
    /// Neither `+OK` nor `-ERR`, nor a challenge where one may come.
    #[error("expected +OK or -ERR (RFC 1939 section 3)")]
    Status,
}

/// A call that is wrong at this point, whatever the peer sent. Nothing was written and no state has changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Misuse {
    /// Another response is not yet complete, and pipelining is not known to be understood or the command changes what comes next.
    #[error("{verb} is not answered yet (RFC 2449 section 6.6)")]
    AwaitingResponse {
        /// The command that waits.
        verb: Verb,
    },
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
    /// The response does not fit the command.
    #[error("{response} does not answer {}", to.map_or("here", Verb::as_str))]
    DoesNotAnswer {
        /// What was to be sent.
        response: &'static str,
        /// The command; none where a greeting or a refusal is due.
        to: Option<Verb>,
    },
    /// The line would be longer than the protocol allows.
    #[error("line of {len} octets exceeds the limit of {limit}")]
    LineTooLong {
        /// Octets, CRLF included.
        len: usize,
        /// Octets allowed.
        limit: usize,
    },
    /// A password with CR, LF or NUL.
    #[error("PASS cannot carry CR, LF or NUL")]
    LineBreak,
    /// There is nothing to answer.
    #[error("no command waits for a response")]
    NothingToAnswer,
    /// No multi-line response is open.
    #[error("no multi-line response is open")]
    NoMultiLine,
    /// A greeting without a timestamp whose text a client takes for one, and so for an offer of `APOP`.
    #[error("greeting offers APOP by its text, without a timestamp (RFC 1939 section 7)")]
    TimestampInText,
    /// TLS was not asked for.
    #[error("TLS was not asked for")]
    NotHandedOver,
    /// Too many commands are waiting.
    #[error("{limit} commands wait for a response already")]
    QueueFull {
        /// How many may.
        limit: usize,
    },
    /// The command does not belong here.
    #[error("{verb} {place}")]
    OutOfPlace {
        /// The command.
        verb: Verb,
        /// Why not here.
        place: Place,
    },
}
