//! The system calls that change or sync anything, one function each. Tests stand between these and the file system to
//! let any one of them fail, or to stop the process or the machine there.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::OFlags;

use crate::error::{Error, Operation};

/// One call, as an error or a test wants to know of it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "only the crash tests look at the octets written"))]
pub(crate) enum Call<'a> {
    Create(&'a Path),
    CreateDirectory(&'a Path),
    Link(&'a Path, &'a Path),
    Remove(&'a Path),
    Rename(&'a Path, &'a Path),
    RenameNoReplace(&'a Path, &'a Path),
    SyncDirectory(&'a Path),
    SyncFile(&'a Path),
    SyncFileSystem(&'a Path),
    Truncate(&'a Path, u64),
    Write(&'a Path, &'a [u8]),
}

impl Call<'_> {
    fn error(self, source: io::Error) -> Error {
        let (operation, path) = match self {
            Self::Link(from, to) => return between(Operation::Link, from, to, source),
            Self::Rename(from, to) | Self::RenameNoReplace(from, to) => {
                return between(Operation::Rename, from, to, source);
            }
            Self::Create(path) => (Operation::Create, path),
            Self::CreateDirectory(path) => (Operation::CreateDirectory, path),
            Self::Remove(path) => (Operation::Remove, path),
            Self::SyncDirectory(path) => (Operation::SyncDirectory, path),
            Self::SyncFile(path) => (Operation::SyncFile, path),
            Self::SyncFileSystem(path) => (Operation::SyncFileSystem, path),
            Self::Truncate(path, _) => (Operation::Truncate, path),
            Self::Write(path, _) => (Operation::Write, path),
        };
        Error::io(operation, path, source)
    }
}

fn between(operation: Operation, from: &Path, to: &Path, source: io::Error) -> Error {
    Error::IoBetween { operation, from: from.to_owned(), to: to.to_owned(), source }
}

#[cfg(not(test))]
fn run<T>(call: Call<'_>, perform: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
    perform().map_err(|source| call.error(source))
}

#[cfg(test)]
fn run<T>(call: Call<'_>, perform: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
    crate::crash::intercept(call, perform).map_err(|source| call.error(source))
}

/// `O_EXCL`: never a file that is there already, never through a symbolic link.
pub(crate) fn create(path: &Path, mode: u32) -> Result<File, Error> {
    run(Call::Create(path), || OpenOptions::new().write(true).create_new(true).mode(mode).open(path))
}

pub(crate) fn create_directory(path: &Path, mode: u32) -> Result<(), Error> {
    run(Call::CreateDirectory(path), || fs::DirBuilder::new().mode(mode).create(path))
}

pub(crate) fn write(file: &mut File, path: &Path, octets: &[u8]) -> Result<(), Error> {
    run(Call::Write(path, octets), || file.write_all(octets))
}

/// What is written goes behind what is there. Not through a symbolic link.
pub(crate) fn open_to_append(path: &Path) -> Result<File, Error> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let opened = OpenOptions::new().append(true).custom_flags(flags).open(path);
    opened.map_err(|source| Error::io(Operation::Open, path, source))
}

pub(crate) fn truncate(file: &File, path: &Path, len: u64) -> Result<(), Error> {
    run(Call::Truncate(path, len), || file.set_len(len))
}

pub(crate) fn set_modified(file: &File, path: &Path, time: SystemTime) -> Result<(), Error> {
    let times = FileTimes::new().set_modified(time);
    file.set_times(times).map_err(|source| Error::io(Operation::SetTime, path, source))
}

/// Content, size and time reach stable storage; the name may not. (`fdatasync` may leave out the time, and was
/// measured no faster for a file that is new.)
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<(), Error> {
    run(Call::SyncFile(path), || file.sync_all())
}

/// The names in the directory reach stable storage.
pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    run(Call::SyncDirectory(path), || File::open(path)?.sync_all())
}

/// Whether [`sync_file_system`] exists and reports failures, which Linux does since 5.8.
#[cfg(target_os = "linux")]
pub(crate) fn can_sync_file_system() -> bool {
    static CAN: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        let system = rustix::system::uname();
        let release = system.release().to_str().unwrap_or_default();
        let mut numbers =
            release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 8)
    });
    *CAN
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn can_sync_file_system() -> bool {
    false
}

/// All of the file system that `file` is on reaches stable storage: contents, names and the rest.
#[cfg(target_os = "linux")]
pub(crate) fn sync_file_system(file: &File, path: &Path) -> Result<(), Error> {
    run(Call::SyncFileSystem(path), || Ok(rustix::fs::syncfs(file)?))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_file_system(_file: &File, path: &Path) -> Result<(), Error> {
    run(Call::SyncFileSystem(path), || Err(rustix::io::Errno::NOSYS.into()))
}

/// The same, for who has only the name of a directory.
pub(crate) fn sync_file_system_of(directory: &Path) -> Result<(), Error> {
    let opened = File::open(directory).map_err(|source| Error::io(Operation::Open, directory, source))?;
    sync_file_system(&opened, directory)
}

pub(crate) fn link(from: &Path, to: &Path) -> Result<(), Error> {
    run(Call::Link(from, to), || fs::hard_link(from, to))
}

pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    run(Call::Remove(path), || fs::remove_file(path))
}

/// Whole or not at all, in the place of what had that name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    run(Call::Rename(from, to), || fs::rename(from, to))
}

fn rename_no_replace(from: &Path, to: &Path) -> Result<(), Error> {
    run(Call::RenameNoReplace(from, to), || rename_exclusively(from, to))
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_exclusively(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_exclusively(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(rustix::io::Errno::NOSYS.into())
}

/// Moves a file that nobody else knows of to a name that must be free: a rename that refuses to overwrite, else a link
/// and an unlink, else, where there are no hard links either, a rename after a look.
pub(crate) fn place(from: &Path, to: &Path) -> Result<(), Error> {
    match rename_no_replace(from, to) {
        Err(error) if error.is_rename_unsupported() => {}
        settled => return settled,
    }
    match link(from, to) {
        // A file left in tmp/ is harmless: it goes with the next clean-up.
        Ok(()) => remove(from).or(Ok(())),
        Err(error) if error.is_link_unsupported() => rename_after_look(from, to),
        Err(error) => Err(error),
    }
}

/// Gives a file that others know of another name, which must be free. Never link and unlink: between the two, others
/// would see the message twice, and two that do so at once can lose it.
pub(crate) fn rename_message(from: &Path, to: &Path) -> Result<(), Error> {
    match rename_no_replace(from, to) {
        Err(error) if error.is_rename_unsupported() => rename_after_look(from, to),
        settled => settled,
    }
}

fn rename_after_look(from: &Path, to: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(Call::Rename(from, to).error(rustix::io::Errno::EXIST.into())),
        Err(_) => rename(from, to),
    }
}

/// Opens a message for reading: not through a symbolic link, not waiting for the other end of a FIFO, and nothing but a
/// regular file.
pub(crate) fn open_message(path: &Path) -> Result<File, Error> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|source| {
        match source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            true => Error::NotRegular { path: path.to_owned() },
            false => Error::io(Operation::Open, path, source),
        }
    })?;
    match metadata_of(&file, path)?.is_file() {
        true => Ok(file),
        false => Err(Error::NotRegular { path: path.to_owned() }),
    }
}

pub(crate) fn metadata_of(file: &File, path: &Path) -> Result<fs::Metadata, Error> {
    file.metadata().map_err(|source| Error::io(Operation::Stat, path, source))
}

/// Of the name itself, not of what a symbolic link points at.
pub(crate) fn metadata(path: &Path) -> Result<fs::Metadata, Error> {
    fs::symlink_metadata(path).map_err(|source| Error::io(Operation::Stat, path, source))
}
