use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::calls;
use crate::error::{Error, Operation};
use crate::unique;

/// The octet between a message's base name and its info, for writing. All three are understood when reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Separator {
    /// `:`, what everybody writes.
    #[default]
    Colon,
    /// `!`, for file systems that cannot have a colon in a name.
    Exclamation,
    /// `;`, the same.
    Semicolon,
}

impl Separator {
    /// The octet.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Colon => b':',
            Self::Exclamation => b'!',
            Self::Semicolon => b';',
        }
    }
}

/// What may differ from one site to the next. Every value has a usable default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Written between base name and info; the default is a colon.
    pub separator: Separator,
    /// The host's name in unique names; the default is what the system says. Whatever could not stand in a file name is
    /// escaped.
    pub host: Option<String>,
    /// Permissions of new files, before the umask; the default is `0o600`.
    pub file_mode: u32,
    /// Permissions of new directories, before the umask; the default is `0o700`.
    pub directory_mode: u32,
    /// How long to wait for a lock that another program holds on a file beside the mail; the default is 150 s, in which
    /// any lock without a living owner becomes stale.
    pub lock_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            separator: Separator::Colon,
            host: None,
            file_mode: 0o600,
            directory_mode: 0o700,
            lock_timeout: Duration::from_secs(150),
        }
    }
}

/// One of the two directories that hold messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Directory {
    /// `cur/`: messages a mail reader has seen the name of, with flags.
    Cur,
    /// `new/`: messages no mail reader has taken note of yet.
    New,
}

/// One Maildir: a directory that holds `tmp/`, `new/` and `cur/`.
///
/// Cheap to clone; holds no descriptor, no lock and no cache. Any number of these, in any number of processes, may work
/// on the same Maildir at the same time, beside programs that know nothing of this crate.
#[derive(Clone, Debug)]
pub struct Maildir(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    tmp: PathBuf,
    new: PathBuf,
    cur: PathBuf,
    host: Vec<u8>,
    options: Options,
}

/// `cur` is made last: who finds it finds the others.
const DIRECTORIES: [&str; 3] = ["tmp", "new", "cur"];

impl Maildir {
    /// Opens a Maildir that exists.
    ///
    /// # Errors
    /// [`Error::NotMaildir`] if one of the three directories is missing; [`Error::Io`] if one cannot be looked at.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, Options::default())
    }

    /// Opens a Maildir that exists, with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let maildir = Self::at(path.as_ref(), options)?;
        DIRECTORIES.into_iter().try_for_each(|name| maildir.require(name))?;
        Ok(maildir)
    }

    /// Opens a Maildir, making it and the directories above it where they do not exist. All that was made is on stable
    /// storage afterwards. What an interrupted call left half made is completed; directories above the Maildir that are
    /// there already are taken to be stored.
    ///
    /// This syncs directories each time. Where the Maildir is usually there, try [`open`](Self::open) first.
    ///
    /// # Errors
    /// [`Error::Io`] if a directory cannot be made or synced; [`Error::NotMaildir`] if a file stands in its place.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::create_with(path, Options::default())
    }

    /// As [`create`](Self::create), with options.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_with(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let maildir = Self::at(path.as_ref(), options)?;
        let mode = maildir.options().directory_mode;
        create_above(maildir.path(), mode)?;
        for name in DIRECTORIES {
            ensure_directory(&maildir.path().join(name), mode)?;
            maildir.require(name)?;
        }
        calls::sync_directory(maildir.path())?;
        Ok(maildir)
    }

    fn at(path: &Path, options: Options) -> Result<Self, Error> {
        // Made absolute, so that a change of the working directory does not turn this into another Maildir.
        let root = std::path::absolute(path).map_err(|source| Error::io(Operation::Stat, path, source))?;
        let [tmp, new, cur] = DIRECTORIES.map(|name| root.join(name));
        let host = unique::host(options.host.as_deref());
        Ok(Self(Arc::new(Inner { root, tmp, new, cur, host, options })))
    }

    fn require(&self, name: &'static str) -> Result<(), Error> {
        let path = self.path().join(name);
        let missing = || Error::NotMaildir { path: self.path().to_owned(), missing: name };
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(missing()),
            Err(error) if is_absence(&error) => Err(missing()),
            Err(error) => Err(Error::io(Operation::Stat, &path, error)),
        }
    }

    /// Where the Maildir is, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.root
    }

    /// The options it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Forces the names in `new/` and `cur/` to stable storage: changes of flags and removals, which are not synced one
    /// by one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<(), Error> {
        calls::sync_directory(&self.0.new)?;
        calls::sync_directory(&self.0.cur)
    }

    pub(crate) fn directory(&self, directory: Directory) -> &Path {
        match directory {
            Directory::Cur => &self.0.cur,
            Directory::New => &self.0.new,
        }
    }

    pub(crate) fn tmp(&self) -> &Path {
        &self.0.tmp
    }

    pub(crate) fn host(&self) -> &[u8] {
        &self.0.host
    }
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// Makes `path` and what is missing above it. The topmost new name is synced last, so that after a crash nothing
/// hangs in the air.
fn create_above(path: &Path, mode: u32) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(path);
    if !parent.is_dir() {
        create_above(parent, mode)?;
    }
    ensure_directory(path, mode)?;
    calls::sync_directory(parent)
}

fn ensure_directory(path: &Path, mode: u32) -> Result<(), Error> {
    match calls::create_directory(path, mode) {
        Err(error) if error.is_taken() => Ok(()),
        settled => settled,
    }
}
