//! A mailbox file, and the same locked.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;

use crate::append::LineEnd;
use crate::calls;
use crate::error::{Error, Operation};
use crate::lock::{Access, Busy, Lock, Locking, Patience, Target, Watch};
use crate::rewrite::Rewriting;

/// What may differ from one site to the next. Every value has a usable default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Permissions of a new file, before the umask; the default is `0o600`.
    pub file_mode: u32,
    /// Line ends of a file that is empty; others go on as they begin. The default is LF.
    pub line_end: LineEnd,
    /// How it is locked.
    pub locking: Locking,
    /// How it is changed where more changes than octets in their places.
    pub rewriting: Rewriting,
}

impl Default for Options {
    fn default() -> Self {
        Self { file_mode: 0o600, line_end: LineEnd::Lf, locking: Locking::default(), rewriting: Rewriting::default() }
    }
}

/// One mailbox file.
///
/// Cheap to clone; holds no descriptor and no lock. Symbolic links are followed to the file. A dotlock stands beside the name that was given, as that of
/// procmail, maildrop and Python does; mutt resolves links first, so that who gives mutt the link and this crate the link too is kept apart from it by the
/// fcntl lock only.
#[derive(Clone, Debug)]
pub struct Mbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    options: Options,
    /// Make it where it is missing.
    create: bool,
}

impl Mbox {
    /// A mailbox that exists.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], if it cannot be looked at; [`Error::NotRegular`], if it is no file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, Options::default())
    }

    /// As [`Self::open`], with options.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let mbox = Self::at(path.as_ref(), options, false)?;
        mbox.look()?;
        Ok(mbox)
    }

    /// A mailbox that is made, empty, where it is missing: now, and later, if another program has removed it when it is locked for writing. Its name is on
    /// stable storage afterwards. The directory has to exist.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], if it cannot be made or synced; [`Error::NotRegular`], if something else stands there.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::create_with(path, Options::default())
    }

    /// As [`Self::create`], with options.
    ///
    /// # Errors
    ///
    /// As [`Self::create`].
    pub fn create_with(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let mbox = Self::at(path.as_ref(), options, true)?;
        mbox.make()?;
        mbox.look()?;
        Ok(mbox)
    }

    fn at(path: &Path, options: Options, create: bool) -> Result<Self, Error> {
        // Made absolute, so that a change of the working directory does not turn this into another mailbox.
        let path = std::path::absolute(path).map_err(|source| Error::io(Operation::Stat, path, source))?;
        Ok(Self(Arc::new(Inner { path, options, create })))
    }

    /// Where it is, as an absolute path; links are not resolved.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The options it was opened with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Opens and locks it. The file is the one that has the name while the locks are held: if another program has put another there meanwhile, that one is
    /// opened and locked.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], if the locks were not free within [`Locking::timeout`]; [`Error::Io`], if the file cannot be opened or locked at all, or a
    /// [rewrite](Locked::rewrite) that was interrupted cannot be completed; [`Error::NotRegular`].
    pub fn lock(&self, access: Access) -> Result<Locked, Error> {
        let locking = &self.options().locking;
        let (mut patience, mut watch) = (Patience::new(locking.timeout), Watch::default());
        loop {
            let file = self.open_file(access)?;
            let target = Target { file: &file, path: self.path(), access };
            let busy = match Lock::attempt(target, locking, &mut watch)? {
                Ok(lock) => {
                    let locked = Locked { mbox: self.clone(), file, access, lock };
                    match locked.is_current()? {
                        true if !locked.is_interrupted()? => return Ok(locked),
                        // Not even a reader may see the file as it is.
                        true if access == Access::Read => {
                            drop(locked);
                            self.lock(Access::Write)?;
                            continue;
                        }
                        true => {
                            locked.recover()?;
                            return Ok(locked);
                        }
                        false => {}
                    }
                    None
                }
                Err(busy) => Some(busy),
            };
            if !patience.pause() {
                return Err(self.timed_out(busy, &patience));
            }
        }
    }

    fn timed_out(&self, busy: Option<Busy>, patience: &Patience) -> Error {
        // Replaced again and again: whoever does that does so under the first lock.
        let first = self.options().locking.write.first().copied().unwrap_or(crate::Method::Fcntl);
        let Busy { method, holder } = busy.unwrap_or(Busy { method: first, holder: None });
        Error::Locked { path: self.path().to_owned(), method, holder, waited: patience.waited() }
    }

    /// Looks before it is opened: to open a device may already do something.
    fn look(&self) -> Result<(), Error> {
        match calls::metadata(self.path())?.is_file() {
            true => Ok(()),
            false => Err(Error::NotRegular { path: self.path().to_owned() }),
        }
    }

    fn open_file(&self, access: Access) -> Result<File, Error> {
        if access == Access::Write && self.0.create {
            self.make()?;
        }
        self.look()?;
        let file = calls::open(self.path(), access == Access::Write)?;
        match calls::metadata_of(&file, self.path())?.is_file() {
            true => Ok(file),
            false => Err(Error::NotRegular { path: self.path().to_owned() }),
        }
    }

    fn make(&self) -> Result<(), Error> {
        // Most times it is there; a link that leads nowhere is an error of whoever opens it.
        if calls::metadata_of_name(self.path()).is_ok() {
            return Ok(());
        }
        match calls::create(self.path(), self.options().file_mode) {
            Ok(_) => calls::sync_directory(self.path().parent().unwrap_or(self.path())),
            Err(error) if error.is_taken() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A mailbox that is locked, until this is dropped. The locks are released in the reverse order of the one they were taken in.
#[derive(Debug)]
pub struct Locked {
    mbox: Mbox,
    file: File,
    access: Access,
    lock: Lock,
}

impl Locked {
    /// The open file. On other systems than Linux, a classic fcntl lock is lost when a duplicate of it is closed.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.mbox.path()
    }

    /// The mailbox that is locked.
    pub fn mbox(&self) -> &Mbox {
        &self.mbox
    }

    /// What it is locked for.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Why there is no dotlock, if the directory did not allow one and [`Locking::dotlock_try`] went on without.
    pub fn forgone(&self) -> Option<&Error> {
        self.lock.forgone()
    }

    /// Says that the lock is in use, so that nobody takes it for stale. Who holds one for longer does so every half minute.
    ///
    /// # Errors
    ///
    /// [`Error::LockLost`], if somebody has done so: the mailbox must not be changed any more.
    pub fn touch(&self) -> Result<(), Error> {
        self.lock.touch()
    }

    /// Whether the name still stands for the file that was opened.
    fn is_current(&self) -> Result<bool, Error> {
        let opened = calls::metadata_of(&self.file, self.path())?;
        match calls::metadata(self.path()) {
            Ok(there) => Ok((there.dev(), there.ino()) == (opened.dev(), opened.ino())),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// An error, unless it is locked for writing.
    pub(crate) fn writable(&self) -> Result<(), Error> {
        match self.access {
            Access::Read => Err(Error::ReadOnly { path: self.path().to_owned() }),
            Access::Write => Ok(()),
        }
    }

    /// Forces the name of the file to stable storage, where it really is.
    pub(crate) fn sync_name(&self) -> Result<(), Error> {
        calls::sync_directory(&self.real_place()?.0)
    }

    /// Directory and name of the file itself, whatever links lead there.
    pub(crate) fn real_place(&self) -> Result<(PathBuf, OsString), Error> {
        let path = self.path();
        let real = path.canonicalize().map_err(|source| Error::io(Operation::Stat, path, source))?;
        match (real.parent(), real.file_name()) {
            (Some(parent), Some(name)) => Ok((parent.to_owned(), name.to_owned())),
            _ => Err(Error::io(Operation::Stat, path, Errno::ENOENT)),
        }
    }

    /// Takes the locks for a file that is to have the name; `false`: somebody else has one.
    pub(crate) fn lock_too(&self, file: &File) -> Result<bool, Error> {
        self.lock.take_too(Target { file, path: self.path(), access: self.access })
    }

    /// The file that has the name now; the locks of the other end with it.
    pub(crate) fn exchange(&mut self, file: File) {
        self.file = file;
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.lock.release(&self.file);
    }
}
