//! A file that is written from its start.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::calls;
use crate::error::{Error, Operation};
use crate::rewrite::plan::Plan;

/// What is gathered before a write.
const BUFFER: usize = 64 * 1024;

/// Gathers what is written to a file that is ours alone.
pub(super) struct Output<'f> {
    file: &'f File,
    path: &'f Path,
    at: u64,
    buffer: Vec<u8>,
}

impl<'f> Output<'f> {
    pub(super) fn new(file: &'f File, path: &'f Path) -> Self {
        Self { file, path, at: 0, buffer: Vec::new() }
    }

    pub(super) fn push(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(octets);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Octets of another file.
    pub(super) fn copy(&mut self, from: &File, path: &Path, range: std::ops::Range<u64>) -> Result<(), Error> {
        let mut octets = vec![0; BUFFER];
        let mut at = range.start;
        while at < range.end {
            let piece = piece(&mut octets, range.end - at);
            from.read_exact_at(piece, at).map_err(|source| Error::io(Operation::Read, path, source))?;
            at += piece.len() as u64;
            self.push(piece)?;
        }
        Ok(())
    }

    /// What a plan makes of another file, from `start` on, which has `len` octets.
    pub(super) fn copy_planned(
        &mut self,
        from: &File,
        path: &Path,
        start: u64,
        len: u64,
        plan: &Plan,
    ) -> Result<(), Error> {
        let mut at = start;
        for splice in &plan.splices {
            self.copy(from, path, at..splice.range.start)?;
            self.push(&splice.octets)?;
            at = splice.range.end;
        }
        self.copy(from, path, at..len)
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            calls::write_at(self.file, self.path, self.at, &self.buffer)?;
            self.at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// The front of a buffer, of `left` octets at most.
pub(super) fn piece(buffer: &mut [u8], left: u64) -> &mut [u8] {
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    buffer.get_mut(..len).unwrap_or_default()
}
