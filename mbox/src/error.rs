//! What may fail when a file is opened, locked or changed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::lock::{Holder, Method};

/// What was being done to a file when the system refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Creating a file.
    Create,
    /// Making a second name for a file.
    Link,
    /// Locking a file.
    Lock,
    /// Opening a file.
    Open,
    /// Reading a file.
    Read,
    /// Removing a file.
    Remove,
    /// Giving a file another name.
    Rename,
    /// Reserving room for a file.
    Reserve,
    /// Setting owner, permissions and extended attributes of a file.
    SetAttributes,
    /// Setting the times of a file.
    SetTimes,
    /// Reading the metadata of a file.
    Stat,
    /// Forcing a directory to stable storage.
    SyncDirectory,
    /// Forcing a file to stable storage.
    SyncFile,
    /// Shortening a file.
    Truncate,
    /// Writing a file.
    Write,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Link => "link",
            Self::Lock => "lock",
            Self::Open => "open",
            Self::Read => "read",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::Reserve => "reserve room for",
            Self::SetAttributes => "set the attributes of",
            Self::SetTimes => "set the times of",
            Self::Stat => "stat",
            Self::SyncDirectory => "sync the directory",
            Self::SyncFile => "sync",
            Self::Truncate => "truncate",
            Self::Write => "write",
        })
    }
}

/// Why something could not be done, to which file.
///
/// Paths are printed quoted and escaped: a file name made by another program cannot break a log line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused an operation on one file or directory.
    #[error("cannot {operation} {path:?}: {source}")]
    Io {
        /// What was being done.
        operation: Operation,
        /// To which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another program held a lock for as long as one wanted to wait.
    #[error("{path:?} is locked by {} ({method}), waited {waited:?}", holder_text(holder.as_ref()))]
    Locked {
        /// The mailbox.
        path: PathBuf,
        /// The kind of lock that was not free when the time was over.
        method: Method,
        /// Who holds it, where that can be known.
        holder: Option<Holder>,
        /// How long one has waited.
        waited: Duration,
    },
    /// A dotlock that was held is gone, or another's: somebody took it for stale.
    #[error("the lock {path:?} was lost to another program")]
    LockLost {
        /// The dotlock.
        path: PathBuf,
    },
    /// An append failed, and what it had written could not be taken away again: behind `at` the file holds a part of a message.
    #[error("{path:?} holds a part of a message from offset {at} on: {source}; it was not taken away again: {undo}")]
    NotCutBack {
        /// The mailbox.
        path: PathBuf,
        /// The end of the file as it was.
        at: u64,
        /// Why the append failed.
        source: Box<Error>,
        /// Why what was written is still there.
        undo: Box<Error>,
    },
    /// A mailbox must be a regular file; directories, FIFOs, sockets and devices are not opened.
    #[error("{path:?} is not a regular file")]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// The mailbox was locked for reading, and is to be changed.
    #[error("{path:?} is locked for reading only")]
    ReadOnly {
        /// The mailbox.
        path: PathBuf,
    },
    /// The message that is to be appended could not be read.
    #[error("cannot read the message for {path:?}: {source}")]
    Source {
        /// The mailbox.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn holder_text(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another program".to_owned(), Holder::to_string)
}

impl Error {
    pub(crate) fn io(operation: Operation, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { operation, path: path.to_owned(), source: source.into() }
    }

    /// The kind of the system's error, where the system is at fault.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.io_source().map(io::Error::kind)
    }

    /// Whether the file system or the user's quota has no room left (`ENOSPC`, `EDQUOT`).
    pub fn is_out_of_space(&self) -> bool {
        matches!(self.io_kind(), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Whether another program held a lock for as long as one wanted to wait: the same call may succeed later.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    fn io_source(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::NotCutBack { source, .. } => source.io_source(),
            _ => None,
        }
    }

    fn is_any(&self, errnos: &[Errno]) -> bool {
        let code = self.io_source().and_then(io::Error::raw_os_error);
        code.is_some_and(|code| errnos.contains(&Errno::from_raw(code)))
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.is_any(&[Errno::ENOENT])
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.is_any(&[Errno::EEXIST])
    }

    /// The directory is not ours to write to.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.is_any(&[Errno::EACCES, Errno::EPERM, Errno::EROFS])
    }

    /// No hard link can be made here, although files can.
    pub(crate) fn is_link_unsupported(&self) -> bool {
        self.is_any(&[Errno::EPERM, Errno::EMLINK, Errno::ENOSYS, Errno::EOPNOTSUPP])
    }
}
