//! Locks as files: `NAME.lock` beside `NAME`, as Dovecot and others make them.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, test_kill_process};

use crate::calls;
use crate::error::Error;
use crate::maildir::Maildir;
use crate::name::number;

/// A lock that nobody has touched for so long has no owner any more. Dovecot's 2 minutes.
const STALE: Duration = Duration::from_secs(120);

/// The same where the lock names a process of this host that does not exist. Dovecot takes such a lock away at once; but
/// two containers may share the host's name and not the processes, and nobody holds a lock for so long without touching it.
const STALE_WITHOUT_OWNER: Duration = Duration::from_secs(10);

/// A lock that is held for longer is touched.
const TOUCH: Duration = Duration::from_secs(5);

const SHORTEST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// A lock that is held. Dropped, it is released.
///
/// Made with `O_EXCL`, and holding `process:host`. It is stale when it was not touched for 2 minutes, or for 10 s if its
/// process does not exist on this host.
#[derive(Debug)]
pub(crate) struct Dotlock {
    path: PathBuf,
    file: File,
    touched: Instant,
}

impl Dotlock {
    /// Locks the file at `path`, which need not exist, by waiting for as long as the options of the Maildir say.
    pub(crate) fn acquire(maildir: &Maildir, path: &Path) -> Result<Self, Error> {
        let path = beside(path);
        let until = Instant::now() + maildir.options().lock_timeout;
        let mut wait = SHORTEST_WAIT;
        loop {
            match calls::create(&path, maildir.options().file_mode) {
                Err(error) if error.is_taken() => {}
                created => return Self { path, file: created?, touched: Instant::now() }.named(maildir),
            }
            if let Some(lock) = stale(&path, maildir)? {
                take_away(&lock, &path)?;
            } else if Instant::now() >= until {
                return Err(Error::Locked { path });
            } else {
                std::thread::sleep(wait);
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }

    fn named(mut self, maildir: &Maildir) -> Result<Self, Error> {
        let owner = [std::process::id().to_string().as_bytes(), b":", maildir.host()].concat();
        calls::write(&mut self.file, &self.path, &owner)?;
        Ok(self)
    }

    /// Shows that the owner lives, where the lock has been held for a while, and makes sure that it is still held. To be
    /// called before what the lock protects is changed.
    pub(crate) fn assert_held(&mut self) -> Result<(), Error> {
        if !self.is_held() {
            return Err(Error::LockLost { path: self.path.clone() });
        }
        if self.touched.elapsed() >= TOUCH {
            calls::set_modified(&self.file, &self.path, SystemTime::now())?;
            self.touched = Instant::now();
        }
        Ok(())
    }

    fn is_held(&self) -> bool {
        same_file(&self.file, &self.path)
    }
}

impl Drop for Dotlock {
    fn drop(&mut self) {
        if self.is_held() {
            // Nobody is left to tell; the lock becomes stale.
            let _ = calls::remove(&self.path);
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn same_file(file: &File, path: &Path) -> bool {
    let at = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (calls::metadata_of(file, path), calls::metadata(path)) {
        (Ok(opened), Ok(named)) => at(opened) == at(named),
        _ => false,
    }
}

/// The lock, opened, if it is stale.
fn stale(path: &Path, maildir: &Maildir) -> Result<Option<File>, Error> {
    let file = match calls::open_message(path) {
        Err(error) if error.is_missing() => return Ok(None),
        opened => opened?,
    };
    let modified = calls::metadata_of(&file, path)?.modified();
    let age =
        modified.map(|modified| SystemTime::now().duration_since(modified).unwrap_or_else(|later| later.duration()));
    let limit = if owner_is_dead(&file, maildir) { STALE_WITHOUT_OWNER } else { STALE };
    Ok(age.is_ok_and(|age| age >= limit).then_some(file))
}

/// Whether the lock names a process of this host that does not exist.
fn owner_is_dead(file: &File, maildir: &Maildir) -> bool {
    let mut owner = Vec::new();
    if file.take(1024).read_to_end(&mut owner).is_err() {
        return false;
    }
    let mut parts = owner.trim_ascii().splitn(2, |&octet| octet == b':');
    let process = parts.next().and_then(number).and_then(|process| i32::try_from(process).ok()).and_then(Pid::from_raw);
    let system = rustix::system::uname();
    let here = [maildir.host(), system.nodename().to_bytes()];
    match (process, parts.next()) {
        (Some(process), Some(host)) if here.contains(&host) => {
            test_kill_process(process) == Err(rustix::io::Errno::SRCH)
        }
        _ => false,
    }
}

/// Removes a stale lock, unless another process of ours does so right now, or a new lock has its name already.
fn take_away(lock: &File, path: &Path) -> Result<(), Error> {
    if lock.try_lock().is_err() || !same_file(lock, path) {
        return Ok(());
    }
    match calls::remove(path) {
        Err(error) if error.is_missing() => Ok(()),
        removed => removed,
    }
}
