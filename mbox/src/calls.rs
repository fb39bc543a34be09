//! The system calls that change, lock or sync anything, one function each. Tests stand between these and the file system to let any one of them fail, or
//! to stop the process or the machine there.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::error::{Error, Operation};

/// One call, as an error or a test wants to know of it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "only the crash tests look at what is written, and where"))]
pub(crate) enum Call<'a> {
    Create(&'a Path),
    Link(&'a Path, &'a Path),
    Lock(&'a Path),
    Open(&'a Path),
    Remove(&'a Path),
    Rename(&'a Path, &'a Path),
    Reserve(&'a Path),
    SetAttributes(&'a Path),
    SetTimes(&'a Path),
    SyncDirectory(&'a Path),
    SyncFile(&'a Path),
    Truncate(&'a Path, u64),
    Write(&'a Path, u64, &'a [u8]),
}

impl Call<'_> {
    fn error(self, source: io::Error) -> Error {
        let (operation, path) = match self {
            Self::Create(path) => (Operation::Create, path),
            // The new name is the one that matters; the other is ours and temporary.
            Self::Link(_, path) => (Operation::Link, path),
            Self::Lock(path) => (Operation::Lock, path),
            Self::Open(path) => (Operation::Open, path),
            Self::Remove(path) => (Operation::Remove, path),
            Self::Rename(_, path) => (Operation::Rename, path),
            Self::Reserve(path) => (Operation::Reserve, path),
            Self::SetAttributes(path) => (Operation::SetAttributes, path),
            Self::SetTimes(path) => (Operation::SetTimes, path),
            Self::SyncDirectory(path) => (Operation::SyncDirectory, path),
            Self::SyncFile(path) => (Operation::SyncFile, path),
            Self::Truncate(path, _) => (Operation::Truncate, path),
            Self::Write(path, ..) => (Operation::Write, path),
        };
        Error::io(operation, path, source)
    }
}

#[cfg(not(test))]
pub(crate) fn run<T>(call: Call<'_>, perform: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
    perform().map_err(|source| call.error(source))
}

#[cfg(test)]
pub(crate) fn run<T>(call: Call<'_>, perform: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
    crate::crash::intercept(call, perform).map_err(|source| call.error(source))
}

/// `O_EXCL`: never a file that is there already, never through a symbolic link.
pub(crate) fn create(path: &Path, mode: u32) -> Result<File, Error> {
    run(Call::Create(path), || OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path))
}

/// Neither waits for the other end of a FIFO nor takes a terminal.
pub(crate) fn open(path: &Path, write: bool) -> Result<File, Error> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    run(Call::Open(path), || OpenOptions::new().read(true).write(write).custom_flags(flags.bits()).open(path))
}

/// For reading, and not through a symbolic link.
pub(crate) fn open_unlinked(path: &Path) -> Result<File, Error> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW;
    run(Call::Open(path), || OpenOptions::new().read(true).custom_flags(flags.bits()).open(path))
}

/// All of the octets, at this offset.
pub(crate) fn write_at(file: &File, path: &Path, at: u64, octets: &[u8]) -> Result<(), Error> {
    run(Call::Write(path, at, octets), || file.write_all_at(octets, at))
}

pub(crate) fn truncate(file: &File, path: &Path, len: u64) -> Result<(), Error> {
    run(Call::Truncate(path, len), || file.set_len(len))
}

pub(crate) fn link(from: &Path, to: &Path) -> Result<(), Error> {
    run(Call::Link(from, to), || fs::hard_link(from, to))
}

pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    run(Call::Remove(path), || fs::remove_file(path))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    run(Call::Rename(from, to), || fs::rename(from, to))
}

/// Room for a file of `len` octets, so that writing them cannot fail for want of it; where the file system cannot promise that, nothing.
pub(crate) fn reserve(file: &File, path: &Path, len: u64) -> Result<(), Error> {
    run(Call::Reserve(path), || settle_reserve(file, len))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn settle_reserve(file: &File, len: u64) -> io::Result<()> {
    use nix::fcntl::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, i64::try_from(len).unwrap_or(i64::MAX)) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        settled => Ok(settled?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn settle_reserve(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

/// Gives a file owner, permissions and extended attributes of another, access control lists among them. It fails where it may not.
pub(crate) fn set_attributes(file: &File, path: &Path, like: &File) -> Result<(), Error> {
    run(Call::SetAttributes(path), || {
        let (now, wanted) = (file.metadata()?, like.metadata()?);
        if (now.uid(), now.gid()) != (wanted.uid(), wanted.gid()) {
            std::os::unix::fs::fchown(file, Some(wanted.uid()), Some(wanted.gid()))?;
        }
        file.set_permissions(wanted.permissions())?;
        attributes(like, file)
    })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn attributes(from: &File, to: &File) -> io::Result<()> {
    use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
    let mut names = vec![0; XATTR_MAX];
    let len = match flistxattr(from, &mut names) {
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        len => len?,
    };
    let mut value = vec![0; XATTR_MAX];
    for name in names.get(..len).unwrap_or_default().split(|octet| *octet == 0).filter(|name| !name.is_empty()) {
        let len = fgetxattr(from, name, &mut value)?;
        // A label that the system gives every file by itself need not be ours to set.
        let set = fsetxattr(to, name, value.get(..len).unwrap_or_default(), XattrFlags::empty());
        if !name.starts_with(b"security.") {
            set?;
        }
    }
    Ok(())
}

/// Linux's limit for the names of all attributes, and for the value of one.
#[cfg(any(target_os = "linux", target_os = "android"))]
const XATTR_MAX: usize = 65_536;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn attributes(_: &File, _: &File) -> io::Result<()> {
    Ok(())
}

/// Removes what a crash has left, if it has.
pub(crate) fn remove_leftover(path: &Path) -> Result<(), Error> {
    match remove(path) {
        Err(error) if error.is_missing() => Ok(()),
        settled => settled,
    }
}

pub(crate) fn set_times(file: &File, path: &Path, times: FileTimes) -> Result<(), Error> {
    run(Call::SetTimes(path), || file.set_times(times))
}

/// Content, size and times reach stable storage; the name may not. (`fdatasync` would leave out the times, by which mail readers tell new mail.)
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<(), Error> {
    run(Call::SyncFile(path), || file.sync_all())
}

/// The names in the directory reach stable storage.
pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    run(Call::SyncDirectory(path), || File::open(path)?.sync_all())
}

pub(crate) fn metadata_of(file: &File, path: &Path) -> Result<fs::Metadata, Error> {
    file.metadata().map_err(|source| Error::io(Operation::Stat, path, source))
}

/// Of what a symbolic link points at.
pub(crate) fn metadata(path: &Path) -> Result<fs::Metadata, Error> {
    fs::metadata(path).map_err(|source| Error::io(Operation::Stat, path, source))
}

/// Of the name itself.
pub(crate) fn metadata_of_name(path: &Path) -> Result<fs::Metadata, Error> {
    fs::symlink_metadata(path).map_err(|source| Error::io(Operation::Stat, path, source))
}
