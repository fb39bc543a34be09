//! A change that is put beside the file before it is made, so that it is made wholly in the end whatever happens meanwhile.
//!
//! The journal is written under another name, synced, and renamed: who finds it finds all of it. Then the file is written, synced, cut, synced, and the
//! journal removed. A crash at any point leaves no journal, and the file as it was or as it is to be; or a journal, by which all of this is done again, to
//! the same end. A program that knows nothing of this may append mail to the half-written file before that happens: it is found by the file's length, and
//! kept. One that has changed the file otherwise or put another in its place has made the journal void: around what is to be written, each octet has to be
//! as it was or as it is to be.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::calls;
use crate::error::{Error, Operation};
use crate::mailbox::Locked;
use crate::reader::Source;
use crate::rewrite::Beside;
use crate::rewrite::output::{Output, piece};
use crate::rewrite::plan::Plan;

pub(crate) const MAGIC: &[u8] = b"postrider-mbox rewrite 1\n";

/// Octets of what is cut off the file that the journal has, by which it is known whether they are there still.
const GUARD: u64 = 4096;

const BUFFER: usize = 64 * 1024;

/// More writes are no journal of ours.
const MAX_WRITES: usize = 1 << 20;

/// What stands at the front of a journal: behind [`MAGIC`] these numbers, then the guard, the octets before the first write, and those that stood from there
/// on; then for each write its offset, its length and its octets. Numbers have 8 octets, the lowest first.
#[derive(Debug)]
struct Journal {
    /// Length of the file before and after.
    old_len: u64,
    new_len: u64,
    /// Which file it is.
    inode: u64,
    guard: Vec<u8>,
    /// Up to [`GUARD`] octets before `start` and behind it.
    before: Vec<u8>,
    behind: Vec<u8>,
    /// Where the first write is.
    start: u64,
    writes: Vec<Write>,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    at: u64,
    len: u64,
    /// Where its octets are in the journal.
    from: u64,
}

/// What is found of a file to which a journal belongs.
#[derive(Debug, Eq, PartialEq)]
enum Found {
    /// Nobody has touched it but us, or has appended behind all that is written. `cut`: what goes at its end is there still.
    Ours { cut: bool },
    /// Others have appended these octets where they would be overwritten.
    Appended(Range<u64>),
    /// Others have changed it otherwise.
    Changed,
}

impl Locked {
    pub(super) fn write_in_place(&mut self, before: &Metadata, plan: &Plan) -> Result<(), Error> {
        let beside = self.beside()?;
        let new_len = plan.len_of(before.len());
        let writing = |journal: &File| {
            let mut output = Output::new(journal, &beside.growing);
            let start = plan.splices.first().map_or(new_len, |first| first.range.start);
            self.start(&mut output, before.len(), new_len, start)?;
            if plan.is_in_place() {
                for splice in &plan.splices {
                    numbers(&mut output, &[splice.range.start, splice.octets.len() as u64])?;
                    output.push(&splice.octets)?;
                }
            } else {
                numbers(&mut output, &[start, new_len - start])?;
                output.copy_planned(self.file(), self.path(), start, before.len(), plan)?;
            }
            output.flush()
        };
        self.commit(&beside, new_len, writing)?;
        self.redo(&beside)?;
        self.set_times(before, plan);
        Ok(())
    }

    /// Whether a change of the file was begun and not brought to its end.
    pub(crate) fn is_interrupted(&self) -> Result<bool, Error> {
        let beside = self.beside()?;
        match calls::metadata_of_name(&beside.journal) {
            Err(error) if error.is_missing() => Ok(false),
            journal => self.is_believed(&journal?),
        }
    }

    /// In a directory where others may make files, theirs are not believed.
    fn is_believed(&self, journal: &Metadata) -> Result<bool, Error> {
        let owner = calls::metadata_of(self.file(), self.path())?.uid();
        let ours = [owner, rustix::process::geteuid().as_raw(), 0].contains(&journal.uid());
        Ok(journal.is_file() && ours)
    }

    /// Brings it to its end.
    pub(crate) fn recover(&self) -> Result<(), Error> {
        self.redo(&self.beside()?)
    }

    /// Writes a journal and gives it its name.
    fn commit(
        &self,
        beside: &Beside,
        new_len: u64,
        writing: impl FnOnce(&File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        calls::remove_leftover(&beside.growing)?;
        let journal = calls::create(&beside.growing, 0o600)?;
        let written = writing(&journal)
            .and_then(|()| calls::sync_file(&journal, &beside.growing))
            .and_then(|()| calls::reserve(self.file(), self.path(), new_len))
            // To write much may have taken long.
            .and_then(|()| self.touch())
            .and_then(|()| calls::rename(&beside.growing, &beside.journal));
        if let Err(error) = written {
            let _ = calls::remove(&beside.growing);
            return Err(error);
        }
        calls::sync_directory(&beside.directory)
    }

    /// Does what the journal says, and removes it.
    fn redo(&self, beside: &Beside) -> Result<(), Error> {
        let (file, path) = (self.file(), self.path());
        loop {
            let source = calls::open_unlinked(&beside.journal)?;
            if !self.is_believed(&calls::metadata_of(&source, &beside.journal)?)? {
                return Err(Error::NotRegular { path: beside.journal.clone() });
            }
            let failed = |source| Error::io(Operation::Read, &beside.journal, source);
            let Some(journal) = Journal::read(&source).map_err(failed)? else { break };
            let now = calls::metadata_of(file, path)?;
            let found = journal.look(&source, file, &now).map_err(|source| Error::io(Operation::Read, path, source))?;
            match found {
                Found::Changed => break,
                Found::Appended(range) => self.keep_appended(beside, &journal, &source, range)?,
                Found::Ours { cut } => {
                    if now.len() < journal.new_len {
                        // So that what others append comes behind it.
                        calls::truncate(file, path, journal.new_len)?;
                        calls::sync_file(file, path)?;
                    }
                    journal.write(&source, &beside.journal, file, path)?;
                    calls::sync_file(file, path)?;
                    if cut {
                        calls::truncate(file, path, journal.new_len)?;
                        calls::sync_file(file, path)?;
                    }
                    break;
                }
            }
        }
        calls::remove(&beside.journal)?;
        calls::sync_directory(&beside.directory)
    }

    /// Puts another journal in the place of this one, with what others have appended behind what is written.
    fn keep_appended(&self, beside: &Beside, journal: &Journal, source: &File, range: Range<u64>) -> Result<(), Error> {
        let appended = range.end - range.start;
        let new_len = journal.new_len + appended;
        self.commit(beside, new_len, |file| {
            let mut output = Output::new(file, &beside.growing);
            self.start(&mut output, range.end, new_len, journal.start)?;
            for write in &journal.writes {
                numbers(&mut output, &[write.at, write.len])?;
                output.copy(source, &beside.journal, write.from..write.from + write.len)?;
            }
            numbers(&mut output, &[journal.new_len, appended])?;
            output.copy(self.file(), self.path(), range)?;
            output.flush()
        })
    }

    /// What stands before the writes.
    fn start(&self, output: &mut Output<'_>, old_len: u64, new_len: u64, start: u64) -> Result<(), Error> {
        let inode = calls::metadata_of(self.file(), self.path())?.ino();
        let guarded = new_len..old_len.min(new_len.saturating_add(GUARD)).max(new_len);
        let before = start.saturating_sub(GUARD)..start;
        let behind = start..old_len.min(start.saturating_add(GUARD)).max(start);
        let len = |range: &Range<u64>| range.end - range.start;
        output.push(MAGIC)?;
        numbers(output, &[old_len, new_len, inode, start, len(&guarded), len(&before), len(&behind)])?;
        [guarded, before, behind].into_iter().try_for_each(|range| output.copy(self.file(), self.path(), range))
    }
}

fn numbers(output: &mut Output<'_>, numbers: &[u64]) -> Result<(), Error> {
    numbers.iter().try_for_each(|number| output.push(&number.to_le_bytes()))
}

impl Journal {
    /// `None`: it is no journal.
    fn read(file: &File) -> io::Result<Option<Self>> {
        let (mut at, end) = (0_u64, file.metadata()?.len());
        let mut take = |len: u64| -> io::Result<Option<Vec<u8>>> {
            let Some(next) = at.checked_add(len).filter(|next| *next <= end) else { return Ok(None) };
            let mut octets = vec![0; usize::try_from(len).unwrap_or_default()];
            file.read_exact_at(&mut octets, at)?;
            at = next;
            Ok(Some(octets))
        };
        if take(MAGIC.len() as u64)?.as_deref() != Some(MAGIC) {
            return Ok(None);
        }
        let Some(numbers) = take(56)?.as_deref().and_then(read_numbers) else { return Ok(None) };
        let [old_len, new_len, inode, start, lens @ ..]: [u64; 7] = numbers;
        let mut read = Vec::new();
        for len in lens {
            let Some(octets) = take(len.min(GUARD))? else { return Ok(None) };
            read.push(octets);
        }
        let Ok([guard, before, behind]) = <[_; 3]>::try_from(read) else { return Ok(None) };
        let mut journal = Self { old_len, new_len, inode, guard, before, behind, start, writes: Vec::new() };
        let mut written = start;
        while at < end {
            let mut head = [0; 16];
            file.read_exact_at(&mut head, at)?;
            let [write_at, len] = read_numbers(&head).unwrap_or_default();
            let from = at + 16;
            match from.checked_add(len).filter(|next| *next <= end) {
                Some(next) => at = next,
                None => return Ok(None),
            }
            let rises = write_at >= written && len > 0 && journal.writes.len() < MAX_WRITES;
            let Some(behind) = write_at.checked_add(len).filter(|behind| rises && *behind <= new_len) else {
                return Ok(None);
            };
            written = behind;
            journal.writes.push(Write { at: write_at, len, from });
        }
        Ok(Some(journal))
    }

    /// What has become of the file.
    fn look(&self, source: &File, file: &File, now: &Metadata) -> io::Result<Found> {
        let (old_len, new_len, len) = (self.old_len, self.new_len, now.len());
        if now.ino() != self.inode || len < old_len.min(new_len) || !self.is_around(source, file)? {
            return Ok(Found::Changed);
        }
        if new_len < old_len {
            let mut there = vec![0; self.guard.len()];
            let read = file.look(new_len, &mut there)?.unwrap_or_default();
            let whole = len >= old_len && there.get(..read) == Some(&self.guard);
            return Ok(match whole {
                true if len > old_len => Found::Appended(old_len..len),
                true => Found::Ours { cut: true },
                // It was cut, and so was written and synced before; or others have made another end of it.
                false => Found::Changed,
            });
        }
        let is_room = len >= new_len && self.is_room(source, file, old_len..new_len)?;
        Ok(if len > old_len && !is_room { Found::Appended(old_len..len) } else { Found::Ours { cut: false } })
    }

    /// Whether what stands before the first write is as it was, and what stands from there on as it was or as it is to be.
    fn is_around(&self, source: &File, file: &File) -> io::Result<bool> {
        let before = self.start.saturating_sub(self.before.len() as u64);
        let (mut there, mut wanted) = (vec![0; self.before.len()], self.behind.clone());
        if file.look(before, &mut there)? != Some(there.len()) || there != self.before {
            return Ok(false);
        }
        let end = self.start + wanted.len() as u64;
        for write in self.writes.iter().take_while(|write| write.at < end) {
            let from = usize::try_from(write.at - self.start).unwrap_or(usize::MAX);
            let room = wanted.get_mut(from..).unwrap_or_default();
            source.read_exact_at(piece(room, write.len), write.from)?;
        }
        let mut there = vec![0; wanted.len()];
        let read = file.look(self.start, &mut there)?.unwrap_or_default();
        let fits = |((there, old), new): ((&u8, &u8), &u8)| there == old || there == new;
        Ok(there.iter().zip(&self.behind).zip(&wanted).take(read).all(fits))
    }

    /// Whether these octets of the file are none yet, or already those that are to be there.
    fn is_room(&self, source: &File, file: &File, range: Range<u64>) -> io::Result<bool> {
        let [mut there, mut wanted] = [vec![0; BUFFER], vec![0; BUFFER]];
        for write in &self.writes {
            let (mut at, end) = (write.at.max(range.start), (write.at + write.len).min(range.end));
            while at < end {
                let there = piece(&mut there, end - at);
                let wanted = piece(&mut wanted, end - at);
                file.read_exact_at(there, at)?;
                source.read_exact_at(wanted, write.from + (at - write.at))?;
                if there.iter().zip(wanted.iter()).any(|(there, wanted)| *there != 0 && there != wanted) {
                    return Ok(false);
                }
                at += there.len() as u64;
            }
        }
        Ok(true)
    }

    fn write(&self, source: &File, source_path: &Path, file: &File, path: &Path) -> Result<(), Error> {
        let mut octets = vec![0; BUFFER];
        for write in &self.writes {
            let mut done = 0;
            while done < write.len {
                let piece = piece(&mut octets, write.len - done);
                let read = source.read_exact_at(piece, write.from + done);
                read.map_err(|source| Error::io(Operation::Read, source_path, source))?;
                calls::write_at(file, path, write.at + done, piece)?;
                done += piece.len() as u64;
            }
        }
        Ok(())
    }
}

fn read_numbers<const N: usize>(octets: &[u8]) -> Option<[u64; N]> {
    let (numbers, _) = octets.as_chunks::<8>();
    numbers.get(..N)?.iter().map(|number| u64::from_le_bytes(*number)).collect::<Vec<_>>().try_into().ok()
}
