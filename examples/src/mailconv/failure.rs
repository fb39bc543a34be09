//! What went wrong, and its exit status.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The command line is wrong. `EX_USAGE` of `sysexits.h`, as all of these.
pub const USAGE: u8 = 64;
/// What is there is no mailbox, or not all of it could be taken over. `EX_DATAERR`.
pub const DATA: u8 = 65;
/// There is no such file. `EX_NOINPUT`.
pub const NO_INPUT: u8 = 66;
/// What was to be made is there. `EX_CANTCREAT`.
pub const CANNOT_CREATE: u8 = 73;
/// A file. `EX_IOERR`.
pub const IO: u8 = 74;
/// Somebody else is at work there: later it may go well. `EX_TEMPFAIL`.
pub const TEMPORARY: u8 = 75;

/// Why a run ended early.
#[derive(Debug, Error)]
pub enum Failure {
    /// The command line.
    #[error("{0}; try --help")]
    Arguments(#[from] lexopt::Error),
    /// Another run.
    #[error("another mailconv is at work on {path:?}")]
    Busy {
        /// The target.
        path: PathBuf,
    },
    /// The source was written to while it was read.
    #[error("{path:?} has changed while it was read; run it again")]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// What was to be made is there.
    #[error("{path:?} is there already{hint}")]
    Exists {
        /// Where.
        path: PathBuf,
        /// What may be done.
        hint: &'static str,
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
    /// Something with a Maildir.
    #[error("{0}")]
    Maildir(#[from] postrider_maildir::Error),
    /// Something with an mbox file.
    #[error("{0}")]
    Mbox(#[from] postrider_mbox::Error),
    /// What is there is no mailbox.
    #[error("{path:?} is {what}")]
    NotMailbox {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// What an earlier run left is of another conversion.
    #[error("{path:?} was left by a conversion of something else, or of what has changed since: {why}")]
    State {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: &'static str,
    },
    /// An option without another that it needs, and the like.
    #[error("{0}; try --help")]
    Usage(&'static str),
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Arguments(_) | Self::Usage(_) => USAGE,
            Self::Busy { .. } | Self::Changed { .. } => TEMPORARY,
            Self::Exists { .. } | Self::State { .. } => CANNOT_CREATE,
            Self::File { source, operation: "open", .. } if source.kind() == io::ErrorKind::NotFound => NO_INPUT,
            Self::Maildir(postrider_maildir::Error::NotMaildir { .. }) => DATA,
            Self::Maildir(postrider_maildir::Error::Locked { .. }) => TEMPORARY,
            Self::Mbox(error) if error.is_locked() => TEMPORARY,
            Self::File { .. } | Self::Maildir(_) | Self::Mbox(_) | Self::Output(_) => IO,
            Self::NotMailbox { .. } => DATA,
        }
    }

    /// Whether whoever reads standard output has gone: there is nobody to tell.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What could not be done to a file.
pub trait At<T> {
    /// Says to which file, and what was being done: a verb.
    ///
    /// # Errors
    ///
    /// The failure.
    fn at(self, operation: &'static str, path: &Path) -> Result<T, Failure>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, Failure> {
        self.map_err(|source| Failure::File { operation, path: path.to_owned(), source })
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, Failure> {
        self.map_err(io::Error::from).at(operation, path)
    }
}
