//! Locks that other mail programs respect.

mod dotlock;
mod fcntl;
mod flock;
mod holder;
mod patience;
mod stale;

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use crate::error::Error;
use crate::lock::dotlock::{Dotlock, Tried};
pub use crate::lock::holder::Holder;
pub(crate) use crate::lock::patience::Patience;
pub use crate::lock::stale::Stale;
pub(crate) use crate::lock::stale::Watch;

/// What a mailbox is locked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Access {
    /// Reading; others may read too.
    Read,
    /// Reading and changing; nobody else may do either.
    Write,
}

/// A kind of lock. They know nothing of each other: programs agree on a list of them, or do not keep each other out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// A file `NAME.lock` beside the mailbox. Keeps out everybody, for reading too; all mail programs know it; works over NFS.
    Dotlock,
    /// `fcntl(2)` on all of the file. On Linux the lock belongs to the open file (`F_OFD_SETLK`), so that threads keep each other out as processes
    /// do, and other programs' classic locks are respected and respect it. Elsewhere it is the classic lock, which belongs to the process: its threads
    /// do not keep each other out by it, and it is gone as soon as the process closes any descriptor of the file.
    Fcntl,
    /// `flock(2)`.
    Flock,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dotlock => "dotlock",
            Self::Fcntl => "fcntl",
            Self::Flock => "flock",
        })
    }
}

/// Which locks are taken, in what order, and how long one waits for them.
///
/// No lock is waited for while another is held: each is tried, and if one is not free, all are released, and after a pause all are tried again. So the
/// order, which programs do not agree on, cannot lead to a deadlock.
///
/// ```
/// use postrider_mbox::{Locking, Method};
/// use std::time::Duration;
///
/// let mut locking = Locking::default();
/// locking.write = vec![Method::Dotlock, Method::Fcntl, Method::Flock];
/// locking.timeout = Duration::from_secs(30);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Locking {
    /// For [`Access::Read`]; the default is fcntl, as Dovecot has it. A reader who takes a dotlock keeps out other readers, and has to be allowed to write
    /// to the directory.
    pub read: Vec<Method>,
    /// For [`Access::Write`]; the default is fcntl, then a dotlock, as Debian has it.
    pub write: Vec<Method>,
    /// How long one waits at most for all of them; with zero they are tried once. The default is 5 minutes. A dotlock that was left behind by another host
    /// or by nobody known is broken only by who waits longer than [`Stale::unchanged`].
    pub timeout: Duration,
    /// When a dotlock counts as left behind.
    pub stale: Stale,
    /// Go on without a dotlock where the directory does not let us make one (`EACCES`, `EPERM`, `EROFS`), if another lock is held. Programs that lock with
    /// nothing else are not kept out then; [`Locked::forgone`](crate::Locked::forgone) tells. The default is not to.
    pub dotlock_try: bool,
}

impl Default for Locking {
    fn default() -> Self {
        Self {
            read: vec![Method::Fcntl],
            write: vec![Method::Fcntl, Method::Dotlock],
            timeout: Duration::from_secs(5 * 60),
            stale: Stale::default(),
            dotlock_try: false,
        }
    }
}

impl Locking {
    fn methods(&self, access: Access) -> &[Method] {
        match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
        }
    }
}

/// The locks that are held on one mailbox.
#[derive(Debug, Default)]
pub(crate) struct Lock {
    held: Vec<Held>,
    forgone: Option<Error>,
}

#[derive(Debug)]
enum Held {
    Dotlock(Dotlock),
    Fcntl,
    Flock,
}

/// A lock that is not free.
#[derive(Debug)]
pub(crate) struct Busy {
    pub(crate) method: Method,
    pub(crate) holder: Option<Holder>,
}

/// What is to be locked, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) file: &'a File,
    pub(crate) path: &'a Path,
    pub(crate) access: Access,
}

impl Lock {
    /// Tries to take all locks. If one is not free, none is held. `watch` remembers what was seen of the dotlock at earlier attempts.
    pub(crate) fn attempt(
        target: Target<'_>,
        locking: &Locking,
        watch: &mut Watch,
    ) -> Result<Result<Self, Busy>, Error> {
        let mut lock = Self::default();
        for method in locking.methods(target.access) {
            match lock.take(*method, target, locking, watch) {
                Ok(None) => {}
                Ok(Some(busy)) => {
                    lock.release(target.file);
                    return Ok(Err(busy));
                }
                Err(error) => {
                    lock.release(target.file);
                    return Err(error);
                }
            }
        }
        match lock.forgone {
            Some(error) if lock.held.is_empty() => Err(error),
            _ => Ok(Ok(lock)),
        }
    }

    fn take(
        &mut self,
        method: Method,
        target: Target<'_>,
        locking: &Locking,
        watch: &mut Watch,
    ) -> Result<Option<Busy>, Error> {
        let (held, holder) = match method {
            Method::Dotlock => match dotlock::acquire(target.path, &locking.stale, watch) {
                Ok(Tried::Held(dotlock)) => (Some(Held::Dotlock(dotlock)), None),
                Ok(Tried::Busy(holder)) => (None, holder),
                Err(error) if locking.dotlock_try && error.is_forbidden() => {
                    self.forgone = Some(error);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            },
            Method::Fcntl => match fcntl::acquire(target)? {
                true => (Some(Held::Fcntl), None),
                false => (None, fcntl::holder(target)),
            },
            Method::Flock => (flock::acquire(target)?.then_some(Held::Flock), None),
        };
        match held {
            Some(held) => self.held.push(held),
            None => return Ok(Some(Busy { method, holder })),
        }
        Ok(None)
    }

    /// Takes the locks that belong to an open file for another one too, which nobody else knows of yet.
    pub(crate) fn take_too(&self, target: Target<'_>) -> Result<bool, Error> {
        self.held.iter().try_fold(true, |all, held| {
            let taken = match held {
                Held::Dotlock(_) => true,
                Held::Fcntl => fcntl::acquire(target)?,
                Held::Flock => flock::acquire(target)?,
            };
            Ok(all && taken)
        })
    }

    /// Why there is no dotlock, where one was to be tried.
    pub(crate) fn forgone(&self) -> Option<&Error> {
        self.forgone.as_ref()
    }

    /// Says that the lock is still in use, and looks whether it is still held.
    pub(crate) fn touch(&self) -> Result<(), Error> {
        self.held.iter().try_for_each(|held| match held {
            Held::Dotlock(dotlock) => dotlock.touch(),
            Held::Fcntl | Held::Flock => Ok(()),
        })
    }

    /// Releases what was taken, the last first. There is nothing to be done about failures: what belongs to the open file ends with it.
    pub(crate) fn release(&mut self, file: &File) {
        while let Some(held) = self.held.pop() {
            match held {
                Held::Dotlock(dotlock) => dotlock.release(),
                Held::Fcntl => fcntl::release(file),
                Held::Flock => flock::release(file),
            }
        }
    }
}
