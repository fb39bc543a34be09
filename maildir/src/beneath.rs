//! Directories held open, each reached from the one above without following a symbolic link: what is done in one is done below the root,
//! whatever others put in the way meanwhile.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::calls::{self, Call};
use crate::error::{Error, Operation};

/// One directory, and by which path it was reached.
#[derive(Debug)]
pub(crate) struct Beneath {
    descriptor: OwnedFd,
    path: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Beneath {
    /// The root, which may be reached through symbolic links: whoever configured it knows where it is.
    pub(crate) fn root(path: &Path) -> Result<Self, Error> {
        let opened = rustix::fs::open(path, DIRECTORY, Mode::empty());
        let descriptor = opened.map_err(|errno| Error::io(Operation::Open, path, errno))?;
        Ok(Self { descriptor, path: path.to_owned() })
    }

    /// A directory in this one. See [`is_no_directory`] for what the error may mean.
    pub(crate) fn open(&self, name: &[u8]) -> Result<Self, Error> {
        let path = self.path_of(name);
        let opened = rustix::fs::openat(&self.descriptor, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
        let descriptor = opened.map_err(|errno| Error::io(Operation::Open, &path, errno))?;
        Ok(Self { descriptor, path })
    }

    /// The same, where it need not be there.
    pub(crate) fn find(&self, name: &[u8]) -> Result<Option<Self>, Error> {
        match self.open(name) {
            Err(error) if is_no_directory(&error) => Ok(None),
            opened => opened.map(Some),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// What kind of file has that name, if any; a symbolic link is one.
    pub(crate) fn kind(&self, name: &[u8]) -> Result<Option<FileType>, Error> {
        match rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::io(Operation::Stat, &self.path_of(name), errno)),
        }
    }

    /// Whether a directory has that name, be it by a symbolic link, as Maildirs allow for `cur`, `new` and `tmp`.
    pub(crate) fn leads_to_directory(&self, name: &[u8]) -> Result<bool, Error> {
        match rustix::fs::statat(&self.descriptor, name, AtFlags::empty()) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(errno) => Err(Error::io(Operation::Stat, &self.path_of(name), errno)),
        }
    }

    /// Gives each name but `.` and `..`, with its kind as far as the file system says it.
    pub(crate) fn each(&self, mut each: impl FnMut(&[u8], FileType) -> Result<(), Error>) -> Result<(), Error> {
        let list = |errno: Errno| Error::io(Operation::List, &self.path, errno);
        for entry in Dir::read_from(&self.descriptor).map_err(list)? {
            let entry = entry.map_err(list)?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => each(name, entry.file_type())?,
            }
        }
        Ok(())
    }

    /// The names of the directories in this one.
    pub(crate) fn directories(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut names = Vec::new();
        self.each(|name, kind| {
            let is_directory = match kind {
                FileType::Directory => true,
                FileType::Unknown => self.kind(name)? == Some(FileType::Directory),
                _ => false,
            };
            names.extend(is_directory.then(|| name.to_vec()));
            Ok(())
        })?;
        Ok(names)
    }

    /// Makes a directory, unless something has that name. Whether it was made.
    pub(crate) fn ensure_directory(&self, name: &[u8], mode: u32) -> Result<bool, Error> {
        let make = || Ok(rustix::fs::mkdirat(&self.descriptor, name, mode_of(mode))?);
        made(calls::run(Call::CreateDirectory(&self.path_of(name)), make))
    }

    /// Makes an empty file, unless something has that name.
    pub(crate) fn ensure_file(&self, name: &[u8], mode: u32) -> Result<bool, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || Ok(rustix::fs::openat(&self.descriptor, name, flags, mode_of(mode)).map(drop)?);
        made(calls::run(Call::Create(&self.path_of(name)), make))
    }

    /// Gives a file or directory a name that must be free, in this directory or another.
    pub(crate) fn rename(&self, name: &[u8], to: &Self, to_name: &[u8]) -> Result<(), Error> {
        let (from_path, to_path) = (self.path_of(name), to.path_of(to_name));
        match self.rename_no_replace(name, to, to_name) {
            Err(error) if error.is_rename_unsupported() && to.kind(to_name)?.is_none() => {
                let rename = || Ok(rustix::fs::renameat(&self.descriptor, name, &to.descriptor, to_name)?);
                calls::run(Call::Rename(&from_path, &to_path), rename)
            }
            Err(error) if error.is_rename_unsupported() => Err(Error::io(Operation::Rename, &to_path, Errno::EXIST)),
            settled => settled,
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn rename_no_replace(&self, name: &[u8], to: &Self, to_name: &[u8]) -> Result<(), Error> {
        use rustix::fs::{RenameFlags, renameat_with};
        let flags = RenameFlags::NOREPLACE;
        calls::run(Call::RenameNoReplace(&self.path_of(name), &to.path_of(to_name)), || {
            Ok(renameat_with(&self.descriptor, name, &to.descriptor, to_name, flags)?)
        })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    fn rename_no_replace(&self, name: &[u8], to: &Self, to_name: &[u8]) -> Result<(), Error> {
        let call = Call::RenameNoReplace(&self.path_of(name), &to.path_of(to_name));
        calls::run(call, || Err(Errno::NOSYS.into()))
    }

    /// Removes a file, or a symbolic link and not what it leads to.
    pub(crate) fn remove(&self, name: &[u8]) -> Result<(), Error> {
        let remove = || Ok(rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty())?);
        calls::run(Call::Remove(&self.path_of(name)), remove)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, name: &[u8]) -> Result<(), Error> {
        let remove = || Ok(rustix::fs::unlinkat(&self.descriptor, name, AtFlags::REMOVEDIR)?);
        calls::run(Call::RemoveDirectory(&self.path_of(name)), remove)
    }

    /// The names in the directory reach stable storage.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        calls::run(Call::SyncDirectory(&self.path), || Ok(rustix::fs::fsync(&self.descriptor)?))
    }
}

/// Whether the error of [`Beneath::open`] means that no directory has that name: nothing has it, or something else, be it a symbolic link
/// to a directory.
pub(crate) fn is_no_directory(error: &Error) -> bool {
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].into_iter().any(|errno| error.is(errno))
}

fn made(created: Result<(), Error>) -> Result<bool, Error> {
    match created {
        Err(error) if error.is_taken() => Ok(false),
        created => created.map(|()| true),
    }
}

fn mode_of(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode as rustix::fs::RawMode)
}
