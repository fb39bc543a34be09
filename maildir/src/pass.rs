use std::fs::File;
use std::io;

use rustix::fs::FileType;

use crate::error::{Error, Operation};
use crate::maildir::{Directory, Maildir};
use crate::names::{Gathered, Names};
use crate::stamp::{OpenDirectories, Stamp};

/// What one reading of both directories saw.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) names: Names,
    /// Taken before the first name was read.
    pub(crate) stamp: Stamp,
    pub(crate) outcome: Outcome,
}

/// What the times before and after a pass say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The directories changed: names may be missing.
    Changed,
    /// The times are equal, but so recent that equality proves nothing.
    Doubtful,
    /// Nothing changed; what is not in the pass is not in the Maildir.
    Exact,
}

impl Pass {
    /// Reads `new/`, then `cur/`: in that order, a message that moves the usual way is seen twice rather than never.
    pub(crate) fn over(maildir: &Maildir, buffer: &mut Vec<u8>) -> Result<Self, Error> {
        let directories = OpenDirectories::open(maildir)?;
        let stamp = directories.stamp(maildir)?;
        let mut gathered = Gathered::with_room(directories.size());
        for (directory, file) in [(Directory::New, &directories.new), (Directory::Cur, &directories.cur)] {
            read_directory(file, buffer, |name, inode| gathered.note(name, inode, directory))
                .map_err(|source| Error::io(Operation::List, maildir.directory(directory), source))?;
        }
        let outcome = match stamp.same_times(&directories.stamp(maildir)?) {
            false => Outcome::Changed,
            true if stamp.is_settled() => Outcome::Exact,
            true => Outcome::Doubtful,
        };
        Ok(Self { names: gathered.distinct(), stamp, outcome })
    }
}

/// Gives the names and inodes of what may be messages: neither hidden nor known to be anything but a regular file.
///
/// The kernel keeps renames out of the directory for as long as one call reads it. The larger the buffer, the fewer the
/// gaps between calls in which names get lost; a directory that fits is read without any.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn read_directory(directory: &File, buffer: &mut Vec<u8>, mut each: impl FnMut(&[u8], u64)) -> io::Result<()> {
    let mut entries = rustix::fs::RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if may_be_message(name, entry.file_type()) {
            each(name, entry.ino());
        }
    }
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn read_directory(directory: &File, _buffer: &mut Vec<u8>, mut each: impl FnMut(&[u8], u64)) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if may_be_message(name, entry.file_type()) {
            each(name, entry.ino());
        }
    }
    Ok(())
}

fn may_be_message(name: &[u8], kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Unknown) && !name.starts_with(b".")
}
