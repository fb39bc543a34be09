use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::keywords::KeywordError;
use crate::name::NameError;
use crate::uid_list::UidListError;

/// What was being done to a file when the system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Creating a file in `tmp/`.
    Create,
    /// Creating a directory.
    CreateDirectory,
    /// Making a second name for a file.
    Link,
    /// Reading a directory.
    List,
    /// Opening a file.
    Open,
    /// Obtaining random octets for a unique name.
    Random,
    /// Reading a file.
    Read,
    /// Removing a file.
    Remove,
    /// Giving a file another name.
    Rename,
    /// Setting the permissions of a file.
    SetPermissions,
    /// Setting the time of a file.
    SetTime,
    /// Reading the metadata of a file.
    Stat,
    /// Forcing a directory to stable storage.
    SyncDirectory,
    /// Forcing a file to stable storage.
    SyncFile,
    /// Forcing all of a file system to stable storage.
    SyncFileSystem,
    /// Making a file shorter.
    Truncate,
    /// Writing a file.
    Write,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::CreateDirectory => "create the directory",
            Self::Link => "link",
            Self::List => "list",
            Self::Open => "open",
            Self::Random => "draw random octets for",
            Self::Read => "read",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::SetPermissions => "set the permissions of",
            Self::SetTime => "set the time of",
            Self::Stat => "stat",
            Self::SyncDirectory => "sync the directory",
            Self::SyncFile => "sync",
            Self::SyncFileSystem => "sync the file system of",
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
    /// The info begins with `1,`, whose meaning is not defined; flags cannot be put there without loss.
    #[error("cannot set flags on {path:?}: its info is of the experimental kind 1")]
    ExperimentalInfo {
        /// The file.
        path: PathBuf,
    },
    /// The message is not in the Maildir any more, under any name: somebody removed it.
    #[error("message {base} is no longer in {path:?}")]
    Gone {
        /// The Maildir.
        path: PathBuf,
        /// The part of the file name that stays, escaped.
        base: String,
    },
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
    /// The system refused an operation that takes two names.
    #[error("cannot {operation} {from:?} to {to:?}: {source}")]
    IoBetween {
        /// What was being done.
        operation: Operation,
        /// The name that exists.
        from: PathBuf,
        /// The name to be made.
        to: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A keyword that can have no letter, or no more letter is free.
    #[error("keyword {keyword} in {path:?}: {source}")]
    Keyword {
        /// The list of keywords.
        path: PathBuf,
        /// The keyword, escaped.
        keyword: String,
        /// What is wrong with it.
        source: KeywordError,
    },
    /// Another program holds the lock and did not let go of it in time.
    #[error("{path:?} is held by another program")]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// Another program has taken our lock away, which it may once we seem to be dead. Nothing was written.
    #[error("{path:?} was taken away by another program")]
    LockLost {
        /// The lock.
        path: PathBuf,
    },
    /// A file name that cannot be a message's, or one that would become too long.
    #[error("unusable file name in {path:?}: {source}")]
    Name {
        /// The Maildir.
        path: PathBuf,
        /// What is wrong with the name.
        source: NameError,
    },
    /// Every unique name that was tried existed already, which means that names are not unique here.
    #[error("no free name in {path:?} after {tries} tries")]
    NoFreeName {
        /// The directory.
        path: PathBuf,
        /// How many names were tried.
        tries: u32,
    },
    /// One of `tmp`, `new` and `cur` is missing or is not a directory.
    #[error("{path:?} is not a Maildir: it has no directory {missing}")]
    NotMaildir {
        /// The path that was opened.
        path: PathBuf,
        /// The first of the three that is missing.
        missing: &'static str,
    },
    /// A message must be a regular file; symbolic links, FIFOs, sockets and devices are not opened.
    #[error("{path:?} is not a regular file")]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// A list of UIDs that breaks its own rules, or cannot grow.
    #[error("unusable list of UIDs {path:?}: {source}")]
    UidList {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        source: UidListError,
    },
    /// A delivery cannot be completed because one of its writes failed before.
    #[error("delivery to {path:?} is incomplete: a write failed")]
    Incomplete {
        /// The file in `tmp/`.
        path: PathBuf,
    },
}

impl Error {
    pub(crate) fn io(operation: Operation, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { operation, path: path.to_owned(), source: source.into() }
    }

    /// The kind of the system's error, where the system is at fault: what a server maps to its reply
    /// (`StorageFull` and `QuotaExceeded` to 452, others to 451).
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.io_source().map(io::Error::kind)
    }

    /// Whether the file system or the user's quota has no room left (`ENOSPC`, `EDQUOT`).
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        matches!(self.io_kind(), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Whether the process or the system has run out of descriptors or memory (`EMFILE`, `ENFILE`, `ENOMEM`): nothing is wrong with the file, and the
    /// same call may succeed later.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        [Errno::MFILE, Errno::NFILE, Errno::NOMEM].into_iter().any(|errno| self.is(errno))
    }

    /// Whether the message was removed by somebody else, which is a normal event in a Maildir.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    fn io_source(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } | Self::IoBetween { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The same failure again, for another path that it concerns.
    pub(crate) fn again(&self, path: &Path) -> Self {
        let (operation, source) = match self {
            Self::Io { operation, source, .. } | Self::IoBetween { operation, source, .. } => (*operation, source),
            _ => return Self::io(Operation::SyncFile, path, Errno::IO),
        };
        let source = match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::from(source.kind()),
        };
        Self::io(operation, path, source)
    }

    /// For a caller that has only `io::Error` to hand on, as `Write` has. The kind is kept.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::new(self.io_kind().unwrap_or(io::ErrorKind::Other), self)
    }

    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.io_source().and_then(io::Error::raw_os_error) == Some(errno.raw_os_error())
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.is(Errno::NOENT)
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.is(Errno::EXIST)
    }

    /// The file system has no rename that refuses to overwrite.
    pub(crate) fn is_rename_unsupported(&self) -> bool {
        [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].into_iter().any(|errno| self.is(errno))
    }

    /// No hard link can be made here, although the file could be copied.
    pub(crate) fn is_link_unsupported(&self) -> bool {
        [Errno::XDEV, Errno::PERM, Errno::MLINK, Errno::NOSYS, Errno::OPNOTSUPP].into_iter().any(|errno| self.is(errno))
    }
}
