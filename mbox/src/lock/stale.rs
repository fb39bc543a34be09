//! Dotlocks that were left behind.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::calls;
use crate::error::Error;
use crate::lock::holder::{Holder, MAX_CONTENT};

/// When a dotlock counts as left behind by a program that ended without removing it, and is removed.
///
/// Clocks of hosts differ; so age is counted by our own, from when the lock was first seen as it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stale {
    /// It did not change while we have waited that long; `None`: never. The default is 2 minutes, as Dovecot has it. Others who hold a lock for longer have
    /// to [touch](crate::Locked::touch) it.
    pub unchanged: Option<Duration>,
    /// It names a process of this host (`PID:HOST`) which does not run. The default is yes. Containers that share the mailbox and the host's name, but not
    /// the processes, have to say no.
    pub dead: bool,
}

impl Default for Stale {
    fn default() -> Self {
        Self { unchanged: Some(Duration::from_secs(2 * 60)), dead: true }
    }
}

/// What a dotlock is known by: another file in its place, or a touch, is another mark.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Mark {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), modified }
    }
}

/// What was seen of a dotlock while one waits for it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    mark: Mark,
    first: Instant,
    holder: Option<Holder>,
}

impl Watch {
    /// Looks at the dotlock. `None`: there is none. `Some(None)`: there is, and nobody knows whose.
    #[allow(clippy::option_option, reason = "there and known are two things")]
    pub(super) fn look(&mut self, path: &Path) -> Result<Option<Option<Holder>>, Error> {
        let metadata = match calls::metadata_of_name(path) {
            Err(error) if error.is_missing() => {
                self.seen = None;
                return Ok(None);
            }
            metadata => metadata?,
        };
        let mark = Mark::of(&metadata);
        let seen = match self.seen.take().filter(|seen| seen.mark == mark) {
            Some(seen) => seen,
            None => Seen { mark, first: Instant::now(), holder: None },
        };
        let seen = self.seen.insert(seen);
        // Where there are no hard links, a lock is there before it says whose it is.
        if seen.holder.is_none() && metadata.is_file() {
            seen.holder = read(path, mark).and_then(|content| Holder::parse(&content));
        }
        Ok(Some(seen.holder.clone()))
    }

    /// Removes the dotlock that was looked at, if it was left behind. Whether it was removed.
    pub(super) fn break_stale(&mut self, path: &Path, stale: &Stale) -> Result<bool, Error> {
        let Some(seen) = &self.seen else { return Ok(false) };
        let is_old = stale.unchanged.is_some_and(|unchanged| seen.first.elapsed() >= unchanged);
        let is_dead = stale.dead && seen.holder.as_ref().is_some_and(Holder::is_dead);
        if !is_old && !is_dead {
            return Ok(false);
        }
        // Of two who find it stale, one is to remove it, not the other the lock that the first has taken next. Who may not read it goes without this.
        let opened = open(path);
        if opened.as_ref().is_some_and(|opened| matches!(opened.try_lock(), Err(TryLockError::WouldBlock))) {
            return Ok(false);
        }
        let is_same = |metadata: &Metadata| metadata.is_file() && Mark::of(metadata) == seen.mark;
        match calls::metadata_of_name(path) {
            Ok(metadata) if is_same(&metadata) => {}
            Ok(_) => return Ok(false),
            Err(error) if error.is_missing() => return Ok(true),
            Err(error) => return Err(error),
        }
        self.seen = None;
        match calls::remove(path) {
            Err(error) if error.is_missing() => Ok(true),
            removed => removed.map(|()| true),
        }
    }
}

fn open(path: &Path) -> Option<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).ok()
}

/// The content of the file with this mark, if it can be read: it only helps.
fn read(path: &Path, mark: Mark) -> Option<Vec<u8>> {
    let file = open(path)?;
    let is_same = file.metadata().is_ok_and(|metadata| Mark::of(&metadata) == mark);
    let mut content = Vec::new();
    file.take(MAX_CONTENT as u64).read_to_end(&mut content).ok().filter(|_| is_same)?;
    Some(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_broken_is_what_was_looked_at() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("mbox.lock");
        let at_once = Stale { unchanged: Some(Duration::ZERO), dead: true };
        fs::write(&path, "0").unwrap();
        let (mut one, mut two) = (Watch::default(), Watch::default());
        assert!(one.look(&path).unwrap().is_some() && two.look(&path).unwrap().is_some());
        assert!(one.break_stale(&path, &at_once).unwrap());
        assert!(!path.exists());
        // One has the lock now, and two comes late.
        fs::write(scratch.path().join("new"), "1").unwrap();
        fs::rename(scratch.path().join("new"), &path).unwrap();
        assert!(!two.break_stale(&path, &at_once).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"1");
        // Nor is one broken that is touched, or that another is about to break.
        assert!(two.look(&path).unwrap().is_some());
        let file = File::open(&path).unwrap();
        file.lock().unwrap();
        assert!(!two.break_stale(&path, &at_once).unwrap());
        file.unlock().unwrap();
        // Clocks of file systems are coarse.
        std::thread::sleep(Duration::from_millis(50));
        fs::write(&path, "2").unwrap();
        assert!(!two.break_stale(&path, &at_once).unwrap());
        assert!(two.look(&path).unwrap().is_some() && two.break_stale(&path, &at_once).unwrap());
        assert!(two.look(&path).unwrap().is_none());
    }
}
