//! What went wrong, and its exit status.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use postrider_smtp_proto::transfer::Unsuited;
use postrider_smtp_proto::{Error, Misuse, Reply, Stray, ValueError};
use thiserror::Error;

/// The command line is wrong. `EX_USAGE` of `sysexits.h`, as all of these.
pub const USAGE: u8 = 64;
/// The message cannot go there. `EX_DATAERR`.
pub const DATA: u8 = 65;
/// Refused for good. `EX_UNAVAILABLE`.
pub const UNAVAILABLE: u8 = 69;
/// A mistake of this program. `EX_SOFTWARE`.
pub const SOFTWARE: u8 = 70;
/// A file or the network. `EX_IOERR`.
pub const IO: u8 = 74;
/// Refused for now. `EX_TEMPFAIL`.
pub const TEMPORARY: u8 = 75;
/// The server does not keep to the protocol, or TLS failed. `EX_PROTOCOL`.
pub const PROTOCOL: u8 = 76;
/// The login was refused. `EX_NOPERM`.
pub const LOGIN: u8 = 77;

/// Why a run ended early.
#[derive(Debug, Error)]
pub enum Failure {
    /// The command line.
    #[error("{0}; try --help")]
    Arguments(#[from] lexopt::Error),
    /// The server went away without a word.
    #[error("the server closed the connection {when}")]
    Closed {
        /// What was under way.
        when: &'static str,
    },
    /// No connection.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// Where.
        to: String,
        /// Why not.
        source: io::Error,
    },
    /// A file.
    #[error("cannot {operation} {path:?}: {source}")]
    File {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An option without another that it needs, and the like.
    #[error("{0}; try --help")]
    Incomplete(&'static str),
    /// The message has a line end that is to be refused.
    #[error("bare {} in the message at octet {at}, only CRLF is allowed with --line-endings reject", match stray { Stray::Cr => "CR", Stray::Lf => "LF" })]
    LineEnding {
        /// Which.
        stray: Stray,
        /// Octets of the message before it.
        at: u64,
    },
    /// The login could not be made.
    #[error("cannot log in: {0}")]
    Login(&'static str),
    /// The login was refused.
    #[error("login refused: {0}")]
    LoginRefused(Reply<'static>),
    /// The connection was used wrongly.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// A server without what was asked for.
    #[error("the server does not offer {0}")]
    NotOffered(&'static str),
    /// Certificates or a key.
    #[error("cannot use the certificates or key in {path:?}: {reason}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The server does not keep to the protocol.
    #[error("the server does not keep to the protocol: {0}")]
    Protocol(Error),
    /// Reading or writing failed.
    #[error("connection lost {when}: {source}")]
    Lost {
        /// What was under way.
        when: &'static str,
        /// How.
        source: io::Error,
    },
    /// The server refused something that all else needs.
    #[error("{what} refused: {reply}")]
    Refused {
        /// What.
        what: &'static str,
        /// What it said.
        reply: Reply<'static>,
    },
    /// Time ran out.
    #[error("the server did not {what} within {} s", .after.as_secs_f32())]
    TimedOut {
        /// What it did not do.
        what: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// TLS.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The message cannot go to this server.
    #[error(transparent)]
    Unsuited(#[from] Unsuited),
    /// An option's value.
    #[error("--{option}: {source}; try --help")]
    Value {
        /// The option.
        option: String,
        /// What is allowed.
        source: ValueError,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Misuse(misuse) => Self::Misuse(misuse),
            error => Self::Protocol(error),
        }
    }
}

impl Failure {
    /// The exit status, where no recipient's reply says more.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Arguments(_) | Self::Incomplete(_) | Self::Value { .. } => USAGE,
            Self::LineEnding { .. }
            | Self::Misuse(Misuse::LineEnding { .. } | Misuse::Utf8NotAnnounced { .. })
            | Self::Unsuited(_) => DATA,
            Self::NotOffered(_) => UNAVAILABLE,
            Self::Misuse(_) => SOFTWARE,
            Self::Closed { .. }
            | Self::Connect { .. }
            | Self::File { .. }
            | Self::Lost { .. }
            | Self::Pem { .. }
            | Self::TimedOut { .. } => IO,
            Self::Protocol(_) | Self::Tls(_) => PROTOCOL,
            Self::LoginRefused(reply) if reply.code().is_transient() => TEMPORARY,
            Self::Login(_) | Self::LoginRefused(_) => LOGIN,
            Self::Refused { reply, .. } => refusal(reply),
        }
    }
}

/// The exit status of a reply.
#[must_use]
pub fn refusal(reply: &Reply<'_>) -> u8 {
    if reply.code().is_permanent() { UNAVAILABLE } else { TEMPORARY }
}
