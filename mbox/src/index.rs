//! Where the messages of a file are, kept up to date while others append to it.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use crate::entries::Entries;
use crate::reader::{Reader, Section, Source};
use crate::splitter::{End, Event, Policy, Splitter};

/// Where a message is. Offsets are from the start of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    at: u64,
    len: u64,
    /// Octets of the header section, and above them, in [`LINE_BITS`], those of the `From ` line.
    header_and_line: u64,
}

/// Bits for the length of a `From ` line, which is 1,024 octets at most.
const LINE_BITS: u32 = 16;
const HEADER: u64 = u64::MAX >> LINE_BITS;

impl Place {
    fn new(at: u64, line: usize, end: End) -> Self {
        Self { at, len: end.len, header_and_line: end.header_len.min(HEADER) | (line as u64) << (64 - LINE_BITS) }
    }

    /// Where its `From ` line begins.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// Its header section and body, as they are stored: quoted.
    pub const fn content(&self) -> Range<u64> {
        let start = self.at + (self.header_and_line >> (64 - LINE_BITS));
        start..start + self.len
    }

    /// Its header section with the blank line behind.
    pub const fn header(&self) -> Range<u64> {
        let start = self.content().start;
        start..start + (self.header_and_line & HEADER)
    }

    /// Its body.
    pub const fn body(&self) -> Range<u64> {
        self.header().end..self.content().end
    }
}

/// Where the messages of a file are: 24 octets for each, and 4 KiB of the file, by which it is known again.
///
/// ```
/// use postrider_mbox::{Followed, Index, Policy};
/// use std::io::Write;
///
/// let mut file = tempfile::tempfile()?;
/// file.write_all(b"From a@b Thu Jan  1 00:00:00 1970\n\nOne.\n\n")?;
/// let mut index = Index::read(&file, Policy::default())?;
/// assert_eq!(index.places().len(), 1);
///
/// file.write_all(b"From c@d Thu Jan  1 00:00:01 1970\n\nTwo.\n\n")?;
/// assert_eq!(index.follow(&file)?, Followed::Grown { first: 1 });
/// assert_eq!(index.places()[1].body(), 76..81);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Index {
    places: Vec<Place>,
    junk: u64,
    splitter: Splitter,
    policy: Policy,
    /// Where the file ended.
    end: u64,
    /// Its first octets, and the last before that end.
    head: Vec<u8>,
    tail: Vec<u8>,
    stamp: Stamp,
}

/// What [`Index::follow`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Followed {
    /// The messages are where they were. Others of the same lengths may be in their places.
    Unchanged,
    /// Octets were appended: from this message on, counted from 0, the places are new; those before are as they were.
    Grown {
        /// The first message whose place is new, or longer than it was; their number, if there is none.
        first: usize,
    },
    /// It is another file, or was changed otherwise: all of it was read.
    Replaced,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    file: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Octets of the file that are kept at each of its ends.
const ANCHOR: u64 = 2048;

impl Index {
    /// Reads all of the file.
    ///
    /// # Errors
    ///
    /// When reading fails.
    pub fn read(file: &File, policy: Policy) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let mut index = Self {
            places: Vec::new(),
            junk: 0,
            splitter: Splitter::new(policy),
            policy,
            end: 0,
            head: Vec::new(),
            tail: Vec::new(),
            stamp: Stamp::of(&metadata),
        };
        index.read_from(file, Splitter::new(policy), metadata.len())?;
        Ok(index)
    }

    /// Where the messages are, in the order of the file.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Octets before the first message that belong to none; all, if there is no message.
    pub const fn junk(&self) -> u64 {
        self.junk
    }

    /// Where the file ended when it was read.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Looks what has changed since. Where the file has grown behind octets that are known, what is new is read and the last message before it, since
    /// it may have been half written; otherwise all of it. A program that changes the middle of a file and appends to it at the same time, without moving
    /// what is behind the change, goes unnoticed: that is how marks are changed in place.
    ///
    /// # Errors
    ///
    /// When reading fails; what is known then is what was known before.
    pub fn follow(&mut self, file: &File) -> io::Result<Followed> {
        let metadata = file.metadata()?;
        let (stamp, end) = (Stamp::of(&metadata), metadata.len());
        if stamp == self.stamp && end == self.end {
            return Ok(Followed::Unchanged);
        }
        let known = end > self.end && self.is_known(file)?;
        if let (true, Some(last)) = (known, self.places.last().copied()) {
            let mut grown = self.clone_from_last();
            grown.read_from(file, self.splitter.again_at(last.at), end)?;
            let same = grown.places.first() == Some(&last);
            let first = self.places.len() - usize::from(!same);
            self.places.pop();
            self.places.append(&mut grown.places);
            let places = std::mem::take(&mut self.places);
            *self = Self { places, stamp, ..grown };
            return Ok(Followed::Grown { first });
        }
        let before = std::mem::replace(self, Self::read(file, self.policy)?);
        Ok(if before.places == self.places { Followed::Unchanged } else { Followed::Replaced })
    }

    /// What is known of the file, without places.
    fn clone_from_last(&self) -> Self {
        Self {
            places: Vec::new(),
            splitter: self.splitter.clone(),
            head: Vec::new(),
            tail: Vec::new(),
            junk: self.junk,
            policy: self.policy,
            end: self.end,
            stamp: self.stamp,
        }
    }

    /// Whether the messages of the file are where the index has them; others may have been appended.
    ///
    /// # Errors
    ///
    /// When reading fails.
    pub fn holds(&self, file: &File) -> io::Result<bool> {
        let metadata = file.metadata()?;
        let is_same = Stamp::of(&metadata) == self.stamp && metadata.len() == self.end;
        Ok(is_same || metadata.len() > self.end && self.is_known(file)?)
    }

    /// The messages from this one on, counted from 0, with what their headers say for mail programs.
    ///
    /// # Errors
    ///
    /// When the file's length cannot be found out.
    pub fn entries<'f>(&self, file: &'f File, first: usize) -> io::Result<Entries<Section<'f>>> {
        let at = self.places.get(first).map_or(self.end, Place::at);
        let section = Section::new(file, at, Some(self.end))?;
        Ok(Entries::with(Reader::with(section, self.splitter.again_at(at))))
    }

    /// Whether what stands where the index was made is what stood there.
    fn is_known(&self, file: &File) -> io::Result<bool> {
        let tail = self.tail.len() as u64;
        Ok(octets(file, 0, self.head.len() as u64)? == self.head && octets(file, self.end - tail, tail)? == self.tail)
    }

    /// Reads the messages from where `splitter` is to `end`.
    fn read_from(&mut self, file: &File, splitter: Splitter, end: u64) -> io::Result<()> {
        let section = Section::new(file, splitter.position(), Some(end))?;
        self.end = section.end();
        let mut reader = Reader::with(section, splitter);
        let (mut at, mut line) = (0, 0);
        loop {
            let before = reader.position();
            match reader.next()? {
                None => break,
                Some(Event::Start { line: octets, .. }) => (at, line) = (before, octets.len()),
                Some(Event::Junk(octets)) => self.junk += octets.len() as u64,
                Some(Event::End(end)) => self.places.push(Place::new(at, line, end)),
                Some(Event::Content(_) | Event::Doubt(_)) => {}
            }
        }
        self.splitter = reader.splitter().again_at(self.end);
        self.head = octets(file, 0, ANCHOR.min(self.end))?;
        let tail = ANCHOR.min(self.end);
        self.tail = octets(file, self.end - tail, tail)?;
        Ok(())
    }
}

/// Octets of the file; fewer, where it ends.
fn octets(file: &File, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; usize::try_from(len).unwrap_or_default()];
    let len = file.look(at, &mut octets)?.unwrap_or_default();
    octets.truncate(len);
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use std::time::{Duration, SystemTime};

    const ONE: &[u8] = b"From a@b Thu Jan  1 00:00:00 1970\nSubject: 1\n\nOne.\n\n";
    const TWO: &[u8] = b"From a@b Thu Jan  1 00:00:00 1970\nSubject: 2\n\nTwo.\n\n";

    fn file(octets: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(octets, 0).unwrap();
        file
    }

    fn read(file: &File) -> Index {
        Index::read(file, Policy::default()).unwrap()
    }

    /// What an index says that has followed the file is what one says that has read it.
    fn follow(index: &mut Index, file: &File) -> Followed {
        let followed = index.follow(file).unwrap();
        let fresh = read(file);
        assert_eq!((&index.places, index.junk, index.end), (&fresh.places, fresh.junk, fresh.end));
        followed
    }

    #[test]
    fn a_place_takes_24_octets() {
        assert_eq!(size_of::<Place>(), 24);
    }

    #[test]
    fn what_others_append_is_read_alone() {
        let file = file(&[ONE, TWO].concat());
        let mut index = read(&file);
        assert_eq!(follow(&mut index, &file), Followed::Unchanged);
        file.write_all_at(&[ONE, TWO].concat(), index.end).unwrap();
        // The first message is no longer read: what stands there now would make two of it.
        let first = index.places[0];
        assert_eq!(index.follow(&file).unwrap(), Followed::Grown { first: 2 });
        assert_eq!((index.places.len(), index.places[0]), (4, first));
    }

    #[test]
    fn the_rest_of_a_message_that_was_half_written_is_found() {
        let file = file(&[ONE, &TWO[..43]].concat());
        let mut index = read(&file);
        assert_eq!(index.places.len(), 2);
        file.write_all_at(&[&TWO[43..], ONE].concat(), index.end).unwrap();
        assert_eq!(follow(&mut index, &file), Followed::Grown { first: 1 });
        assert_eq!(index.places.len(), 3);
        // A writer died here, and the next one began a line of its own.
        file.write_all_at(&TWO[..43], index.end).unwrap();
        assert_eq!(follow(&mut index, &file), Followed::Grown { first: 3 });
        file.write_all_at(&[b"\n", ONE].concat(), index.end).unwrap();
        assert_eq!(follow(&mut index, &file), Followed::Grown { first: 3 });
        assert_eq!(index.places.len(), 5);
    }

    #[test]
    fn a_file_that_was_truncated_or_replaced_is_read_again() {
        let file = file(&[ONE, TWO, ONE].concat());
        let mut index = read(&file);
        file.set_len(ONE.len() as u64).unwrap();
        assert_eq!(follow(&mut index, &file), Followed::Replaced);
        file.set_len(0).unwrap();
        assert_eq!(follow(&mut index, &file), Followed::Replaced);
        file.write_all_at(ONE, 0).unwrap();
        assert_eq!(follow(&mut index, &file), Followed::Replaced);
        let other = self::file(&[TWO, ONE, TWO].concat());
        assert_eq!(follow(&mut index, &other), Followed::Replaced);
    }

    #[test]
    fn a_file_that_was_only_touched_is_as_it_was() {
        let file = file(&[ONE, TWO].concat());
        let mut index = read(&file);
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        assert_eq!(follow(&mut index, &file), Followed::Unchanged);
        // The same size, and one message where two were.
        let line = (ONE.len() + 5) as u64;
        file.write_all_at(b"------", line - 6).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(follow(&mut index, &file), Followed::Replaced);
    }

    #[test]
    fn entries_are_read_from_any_message_on() {
        let file = file(&[ONE, TWO, ONE].concat());
        let index = read(&file);
        for first in 0..4 {
            let mut entries = index.entries(&file, first).unwrap();
            let entries: Vec<_> = std::iter::from_fn(|| entries.next().unwrap()).map(|entry| entry.content()).collect();
            assert_eq!(entries, index.places[first..].iter().map(Place::content).collect::<Vec<_>>());
        }
        assert!(index.holds(&file).unwrap());
        file.write_all_at(ONE, index.end).unwrap();
        assert!(index.holds(&file).unwrap());
        file.write_all_at(TWO, 0).unwrap();
        assert!(!index.holds(&file).unwrap());
    }

    #[test]
    fn what_is_beyond_four_gigabytes_is_found_in_little_memory() {
        let (far, size) = (64_u64 << 30, 1 << 20);
        let file = file(ONE);
        file.write_all_at(TWO, far).unwrap();
        // The hole before is NULs, and all of it would be read: only its last megabyte is.
        let splitter = Splitter::at(Policy::default(), far - size);
        let mut reader = Reader::with(Section::new(&file, far - size, None).unwrap(), splitter);
        let mut starts = Vec::new();
        loop {
            let at = reader.position();
            match reader.next().unwrap() {
                None => break,
                Some(Event::Start { .. }) => starts.push(at),
                Some(_) => {}
            }
        }
        assert_eq!(starts, [] as [u64; 0], "behind a NUL no line begins");
        let mut reader = Reader::with(Section::new(&file, far, None).unwrap(), Splitter::at(Policy::default(), far));
        assert!(matches!(reader.next().unwrap(), Some(Event::Start { .. })));
        assert_eq!(reader.position(), far + 34);
    }
}
