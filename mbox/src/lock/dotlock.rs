//! The file `NAME.lock` beside a mailbox.

use std::ffi::OsString;
use std::fs::{File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::calls;
use crate::error::Error;
use crate::lock::holder::{Holder, content};
use crate::lock::patience::random;
use crate::lock::stale::{Stale, Watch};

/// Others read whose it is.
const MODE: u32 = 0o644;

/// How many temporary names are tried before the directory is declared broken. One collision takes equal 64-bit random numbers.
const TRIES: u32 = 8;

/// A dotlock that is held. The file stays open, so that no other can have its inode.
#[derive(Debug)]
pub(super) struct Dotlock {
    path: PathBuf,
    file: File,
}

#[derive(Debug)]
pub(super) enum Tried {
    Busy(Option<Holder>),
    Held(Dotlock),
}

/// Takes the dotlock of `mailbox`, if it is free or was left behind.
pub(super) fn acquire(mailbox: &Path, stale: &Stale, watch: &mut Watch) -> Result<Tried, Error> {
    let mut name = OsString::from(mailbox);
    name.push(".lock");
    let path = PathBuf::from(name);
    if let Some(holder) = watch.look(&path)?
        && !watch.break_stale(&path, stale)?
    {
        return Ok(Tried::Busy(holder));
    }
    Ok(place(path)?.map_or(Tried::Busy(None), Tried::Held))
}

/// A file with a unique name is made and then linked to the name that counts, because over NFS of old `O_EXCL` alone is not sure, and because so the lock
/// says from the first moment on whose it is.
fn place(path: PathBuf) -> Result<Option<Dotlock>, Error> {
    let (temporary, file) = create_temporary(&path)?;
    calls::write_at(&file, &temporary.0, 0, content().as_bytes())?;
    let linked = calls::link(&temporary.0, &path);
    // The answer of an NFS server may be lost, and the link be there all the same: the number of names tells.
    let names = calls::metadata_of_name(&temporary.0).map(|metadata| metadata.nlink());
    match linked {
        _ if names.as_ref().is_ok_and(|names| *names == 2) => {
            // In a directory where others may make links, the second name may be another.
            let dotlock = Dotlock { path, file };
            Ok(if dotlock.is_ours()? { Some(dotlock) } else { None })
        }
        Ok(()) if names.is_err() => Ok(Some(Dotlock { path, file })),
        Err(error) if error.is_link_unsupported() => create(path),
        Err(error) if !error.is_taken() => Err(error),
        _ => Ok(None),
    }
}

/// Where there are no hard links, `O_EXCL` has to do.
fn create(path: PathBuf) -> Result<Option<Dotlock>, Error> {
    let file = match calls::create(&path, MODE) {
        Err(error) if error.is_taken() => return Ok(None),
        file => file?,
    };
    let dotlock = Dotlock { path, file };
    match calls::write_at(&dotlock.file, &dotlock.path, 0, content().as_bytes()) {
        Ok(()) => Ok(Some(dotlock)),
        Err(error) => {
            dotlock.release();
            Err(error)
        }
    }
}

/// A file that goes when this does.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nobody is left to tell; what stays is in nobody's way.
        let _ = calls::remove(&self.0);
    }
}

fn create_temporary(lock: &Path) -> Result<(Temporary, File), Error> {
    let mut tries = 0;
    loop {
        // Short, whatever the mailbox is called.
        let path = lock.with_file_name(format!(".lock.{}.{:016x}", std::process::id(), random()));
        tries += 1;
        match calls::create(&path, MODE) {
            Ok(file) => return Ok((Temporary(path), file)),
            Err(error) if error.is_taken() && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

impl Dotlock {
    pub(super) fn touch(&self) -> Result<(), Error> {
        calls::set_times(&self.file, &self.path, FileTimes::new().set_modified(SystemTime::now()))?;
        match self.is_ours()? {
            true => Ok(()),
            false => Err(Error::LockLost { path: self.path.clone() }),
        }
    }

    /// Removes it, unless somebody has taken it for stale and has another in its place.
    pub(super) fn release(self) {
        if self.is_ours().is_ok_and(|ours| ours) {
            let _ = calls::remove(&self.path);
        }
    }

    fn is_ours(&self) -> Result<bool, Error> {
        let ours = calls::metadata_of(&self.file, &self.path)?;
        match calls::metadata_of_name(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
