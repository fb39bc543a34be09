//! What is being deleted: under names in the root that no folder has, removed piece by piece.

use rustix::fs::FileType;

use crate::beneath::Beneath;
use crate::error::{Error, Operation};
use crate::relocation::is_not_empty;

/// No folder's name has an empty component, which in Maildir++ two dots would mean.
const PREFIX: &[u8] = b"..postrider-deleted-";

/// How often a directory is read again because others put files into it.
const PASSES: u32 = 64;

/// Renames what is to be deleted to a fresh name in the root, which is returned. Not synced.
pub(crate) fn take(directory: &Beneath, name: &[u8], root: &Beneath) -> Result<Vec<u8>, Error> {
    let random = getrandom::u64()
        .map_err(|error| Error::io(Operation::Random, root.path(), std::io::Error::other(error.to_string())))?;
    let fresh = [PREFIX, format!("{random:016x}").as_bytes()].concat();
    directory.rename(name, root, &fresh).map(|()| fresh)
}

/// What earlier deletions have left in the root.
pub(crate) fn left(root: &Beneath) -> Result<Vec<Vec<u8>>, Error> {
    let mut left = Vec::new();
    root.each(|name, _| {
        left.extend(name.starts_with(PREFIX).then(|| name.to_vec()));
        Ok(())
    })?;
    Ok(left)
}

/// Removes what was taken. A directory within a directory becomes one more that was taken: a tree of any depth needs two descriptors and no
/// recursion, and what an interruption leaves is found by [`left`].
pub(crate) fn remove(root: &Beneath, mut taken: Vec<Vec<u8>>) -> Result<(), Error> {
    while let Some(name) = taken.pop() {
        match root.kind(&name)? {
            Some(FileType::Directory) => remove_directory(root, &name, &mut taken)?,
            Some(_) => unless_missing(root.remove(&name))?,
            None => {}
        }
    }
    Ok(())
}

fn remove_directory(root: &Beneath, name: &[u8], taken: &mut Vec<Vec<u8>>) -> Result<(), Error> {
    for _ in 1..PASSES {
        let Some(directory) = root.find(name)? else { return Ok(()) };
        empty(&directory, root, taken)?;
        match root.remove_directory(name) {
            // Removing names while they are read may hide others.
            Err(error) if is_not_empty(&error) => {}
            settled => return unless_missing(settled),
        }
    }
    unless_missing(root.remove_directory(name))
}

fn empty(directory: &Beneath, root: &Beneath, taken: &mut Vec<Vec<u8>>) -> Result<(), Error> {
    directory.each(|name, kind| {
        if !is_directory(directory, name, kind)? {
            return unless_missing(directory.remove(name));
        }
        match directory.remove_directory(name) {
            Err(error) if is_not_empty(&error) => {}
            settled => return unless_missing(settled),
        }
        match take(directory, name, root) {
            Err(error) if error.is_missing() => {}
            fresh => taken.push(fresh?),
        }
        Ok(())
    })
}

/// Removes all in a directory but the directories.
pub(crate) fn remove_files(directory: &Beneath) -> Result<(), Error> {
    directory.each(|name, kind| match is_directory(directory, name, kind)? {
        true => Ok(()),
        false => unless_missing(directory.remove(name)),
    })
}

fn is_directory(directory: &Beneath, name: &[u8], kind: FileType) -> Result<bool, Error> {
    match kind {
        FileType::Unknown => Ok(directory.kind(name)? == Some(FileType::Directory)),
        known => Ok(known == FileType::Directory),
    }
}

/// Somebody else may clean up at the same time.
fn unless_missing(removed: Result<(), Error>) -> Result<(), Error> {
    match removed {
        Err(error) if error.is_missing() => Ok(()),
        settled => settled,
    }
}
