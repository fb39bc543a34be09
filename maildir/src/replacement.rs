//! A file in the place of another, whole.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::calls;
use crate::delivery::TmpFile;
use crate::error::{Error, Operation};
use crate::flags::Flags;
use crate::maildir::Maildir;
use crate::unique::with_free_name;

/// Written at once.
const BUFFER: usize = 256 * 1024;

/// What a time is moved forward by if it has not grown by itself, until the file system shows a later one: clocks tick
/// every 1–10 ms, and some file systems store only seconds.
const STEPS: [Duration; 3] = [Duration::from_millis(1), Duration::from_secs(1), Duration::from_secs(2)];

/// A file in `tmp/` that is to replace one beside the mail. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: File,
    tmp: TmpFile,
    buffer: Vec<u8>,
}

impl Replacement {
    pub(crate) fn begin(maildir: &Maildir) -> Result<Self, Error> {
        let mode = maildir.options().file_mode;
        let (file, tmp) = with_free_name(maildir, maildir.tmp(), Flags::EMPTY, |_, path| {
            let file = calls::create(&path, mode)?;
            Ok((file, TmpFile::new(path)))
        })?;
        Ok(Self { file, tmp, buffer: Vec::new() })
    }

    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(octets);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        calls::write(&mut self.file, self.tmp.path(), &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Puts the file at `path`, with the permissions of the one it replaces and a later time, on stable storage.
    /// `may_go` is asked last.
    ///
    /// After an error from the sync of the directory, the new file is there for all who look.
    pub(crate) fn replace(mut self, path: &Path, may_go: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        self.flush()?;
        if let Some(old) = metadata_if_there(path)? {
            let permitted = self.file.set_permissions(old.permissions());
            permitted.map_err(|source| Error::io(Operation::SetPermissions, self.tmp.path(), source))?;
            make_later(&self.file, self.tmp.path(), &old)?;
        }
        calls::sync_file(&self.file, self.tmp.path())?;
        may_go()?;
        calls::rename(self.tmp.path(), path)?;
        self.tmp.placed();
        calls::sync_directory(path.parent().unwrap_or(path))
    }
}

/// Sees to it that the file's time is later than `old`: others look there whether it has changed.
pub(crate) fn make_later(file: &File, path: &Path, old: &Metadata) -> Result<(), Error> {
    let time = |metadata: &Metadata| metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let old = time(old);
    for step in STEPS {
        if time(&calls::metadata_of(file, path)?) > old {
            break;
        }
        calls::set_modified(file, path, old + step)?;
    }
    Ok(())
}

pub(crate) fn metadata_if_there(path: &Path) -> Result<Option<Metadata>, Error> {
    match calls::metadata(path) {
        Err(error) if error.is_missing() => Ok(None),
        metadata => metadata.map(Some),
    }
}

/// The whole file, if it is there; a regular file only.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut file = match calls::open_message(path) {
        Err(error) if error.is_missing() => return Ok(None),
        opened => opened?,
    };
    let mut octets = Vec::new();
    file.read_to_end(&mut octets).map_err(|source| Error::io(Operation::Read, path, source))?;
    Ok(Some(octets))
}
