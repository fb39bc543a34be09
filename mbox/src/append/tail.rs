//! What is written behind the end of a file.

use std::fs::File;
use std::path::Path;

use crate::calls;
use crate::error::Error;

/// What is gathered before a write: a message of common size is one. Tests have it smaller, so that there is more to be cut.
const BUFFER: usize = if cfg!(test) { 64 } else { 64 * 1024 };

/// Writes octets from an offset on. `O_APPEND` would be no help under a lock, and is not safe on NFS.
///
/// Dropped before [`Self::keep`], as by a panic of whoever gives the content, it takes away what it has written.
#[derive(Debug)]
pub(super) struct Tail<'f> {
    file: &'f File,
    path: &'f Path,
    /// The end of the file before.
    start: u64,
    /// Offset of the buffer's first octet.
    at: u64,
    buffer: Vec<u8>,
    last: Option<u8>,
    /// Something may be behind the start that must not stay.
    dirty: bool,
}

/// Octets that are to be replaced when it is known by what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    at: u64,
    len: usize,
}

impl<'f> Tail<'f> {
    pub(super) fn new(file: &'f File, path: &'f Path, start: u64) -> Self {
        Self { file, path, start, at: start, buffer: Vec::new(), last: None, dirty: false }
    }

    pub(super) fn path(&self) -> &Path {
        self.path
    }

    /// Offset of what is pushed next.
    pub(super) fn position(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    /// The octet that was pushed last.
    pub(super) fn last(&self) -> Option<u8> {
        self.last
    }

    pub(super) fn push(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.last = octets.last().copied().or(self.last);
        if self.buffer.len() + octets.len() > BUFFER {
            self.flush()?;
        }
        if octets.len() >= BUFFER {
            return self.write(octets);
        }
        self.buffer.extend_from_slice(octets);
        Ok(())
    }

    /// Leaves `len` spaces, to be filled later.
    pub(super) fn leave(&mut self, len: usize) -> Result<Gap, Error> {
        let gap = Gap { at: self.position(), len };
        self.push(&vec![b' '; len])?;
        Ok(gap)
    }

    /// Fills a gap: with just these octets while it is in memory, and otherwise with spaces behind them.
    pub(super) fn fill(&mut self, gap: Gap, octets: &[u8]) -> Result<(), Error> {
        let here = gap.at.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        if let Some(from) = here.filter(|from| from + gap.len <= self.buffer.len()) {
            self.buffer.splice(from..from + gap.len, octets.iter().copied());
            return Ok(());
        }
        calls::write_at(self.file, self.path, gap.at, octets)
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let octets = std::mem::take(&mut self.buffer);
        self.write(&octets)?;
        self.buffer = octets;
        self.buffer.clear();
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.dirty = true;
        calls::write_at(self.file, self.path, self.at, octets)?;
        self.at += octets.len() as u64;
        Ok(())
    }

    /// What was written stays.
    pub(super) fn keep(&mut self) {
        self.dirty = false;
    }

    /// Takes away what was written. The error to give.
    pub(super) fn cut_back(mut self, error: Error) -> Error {
        match self.undo() {
            Ok(()) => error,
            Err(undo) => Error::NotCutBack {
                path: self.path.to_owned(),
                at: self.start,
                source: Box::new(error),
                undo: Box::new(undo),
            },
        }
    }

    fn undo(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.dirty) { calls::truncate(self.file, self.path, self.start) } else { Ok(()) }
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = self.undo();
    }
}
