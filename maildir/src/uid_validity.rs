//! Numbers for UIDVALIDITY that never come twice: Dovecot's `dovecot-uidvalidity` and the marker beside it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::calls;
use crate::error::{Error, Operation};
use crate::maildir::Maildir;
use crate::replacement::{Replacement, metadata_if_there, read_if_there};
use crate::uid_list::UidListError;

const FILE: &str = "dovecot-uidvalidity";

/// How often somebody else may be faster.
const TRIES: u32 = 64;

/// How often one looks for a marker that has to be there: a directory that is read while a name in it is changed may show neither the old nor the new.
const LOOKS: u32 = 16;

/// Markers are written by nobody, only renamed.
const MARKER_MODE: u32 = 0o444;

impl Maildir {
    /// Draws a UIDVALIDITY for a new mailbox, greater than any drawn before for a mailbox of this Maildir; the first is
    /// the time in seconds. It is on stable storage.
    ///
    /// The empty file `dovecot-uidvalidity.` and 8 hexadecimal digits is the truth: who renames it to a greater number
    /// owns that number. `dovecot-uidvalidity` repeats it. Both are in the Maildir, or in the one above if this is a
    /// folder, as the file `maildirfolder` says.
    ///
    /// # Errors
    /// [`Error::UidList`] if there is no greater number; [`Error::Io`] and [`Error::IoBetween`].
    pub fn next_uid_validity(&self) -> Result<u32, Error> {
        self.uid_validity_above(0)
    }

    /// The same, greater than `known` too.
    pub(crate) fn uid_validity_above(&self, known: u32) -> Result<u32, Error> {
        let root = self.root_of_folders()?;
        let path = root.join(FILE);
        let open = |source| Error::io(Operation::Open, root, source);
        // Who draws the first number cannot tell whether it was drawn and passed on meanwhile. Where directories cannot be locked, Dovecot's way has to do.
        let alone = fs::File::open(root).map_err(open)?;
        let _ = alone.lock();
        for tried in 0..TRIES {
            let markers = markers(&path)?;
            let repeated = read_if_there(&path)?.and_then(|octets| hexadecimal(octets.get(..8)?));
            if markers.is_empty() && repeated.is_some() && tried < LOOKS {
                continue;
            }
            let last = markers.iter().copied().chain(repeated).max();
            let next = last.map_or_else(now, |last| last.saturating_add(1)).max(known.saturating_add(1));
            if last.max(Some(known)) == Some(u32::MAX) {
                return Err(Error::UidList { path, source: UidListError::Exhausted });
            }
            if draw(&path, &markers, next)? {
                self.repeat(&path, next)?;
                return Ok(next);
            }
        }
        Err(Error::NoFreeName { path, tries: TRIES })
    }

    fn repeat(&self, path: &Path, drawn: u32) -> Result<(), Error> {
        let mut replacement = Replacement::begin(self)?;
        replacement.write(format!("{drawn:08x}").as_bytes())?;
        // The sync of the directory stores the marker's name too.
        replacement.replace(path, || Ok(()))
    }

    fn root_of_folders(&self) -> Result<&Path, Error> {
        let is_folder = metadata_if_there(&self.path().join("maildirfolder"))?.is_some();
        Ok(self.path().parent().filter(|_| is_folder).unwrap_or(self.path()))
    }
}

/// False if somebody else was faster.
fn draw(path: &Path, markers: &[u32], next: u32) -> Result<bool, Error> {
    let Some(&last) = markers.iter().max() else {
        return match calls::create(&marker(path, next), MARKER_MODE) {
            Err(error) if error.is_taken() => Ok(false),
            created => created.map(|_| true),
        };
    };
    // There may be two for a moment: who took the number of the other would own it twice.
    match calls::rename_message(&marker(path, last), &marker(path, next)) {
        Err(error) if error.is_missing() || error.is_taken() => return Ok(false),
        renamed => renamed?,
    }
    for &older in markers.iter().filter(|&&older| older != last) {
        // Two that drew the first number at once left two; one is enough.
        let _ = calls::remove(&marker(path, older));
    }
    Ok(true)
}

fn marker(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:08x}"));
    name.into()
}

fn markers(path: &Path) -> Result<Vec<u32>, Error> {
    let directory = path.parent().unwrap_or(path);
    let list = |source| Error::io(Operation::List, directory, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(list)? {
        found.extend(marked(&entry.map_err(list)?.file_name()));
    }
    Ok(found)
}

fn marked(name: &OsStr) -> Option<u32> {
    hexadecimal(name.as_bytes().strip_prefix(FILE.as_bytes())?.strip_prefix(b".")?)
}

/// Exactly 8 digits in lower case, and not 0, which is no UIDVALIDITY.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 8)?;
    let number = u32::from_str_radix(digits, 16).ok().filter(|&number| number > 0)?;
    (format!("{number:08x}") == digits).then_some(number)
}

fn now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX).max(1)
}
