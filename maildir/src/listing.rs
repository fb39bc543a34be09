use std::fmt;

use crate::error::Error;
use crate::maildir::{Directory, Maildir};
use crate::name::Name;
use crate::names::Names;
use crate::pass::{Outcome, Pass};
use crate::stamp::Stamp;

/// For the first pass: some 700 names a call. More is no faster.
const SMALL_BUFFER: usize = 64 * 1024;

/// For the passes after one that was disturbed: some 200 000 names in one call. Deliveries wait for so long, some 80 ms.
const LARGE_BUFFER: usize = 16 * 1024 * 1024;

/// Passes, however restless the directory is. One pass misses each renamed name with a chance of about one half.
const MAX_PASSES: u32 = 24;

/// Passes in a row that must bring no new name, where the directory kept changing.
const QUIET_PASSES: u32 = 4;

/// The messages of a Maildir at one time.
///
/// A message takes the length of its name and 16 octets, and some 20 more once one was looked for ([`find`](Self::find)). Nothing is read of
/// the files, not even their metadata.
#[derive(Clone)]
pub struct Listing {
    names: Names,
    stamp: Stamp,
    settled: bool,
}

/// One message of a [`Listing`].
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    name: Name<'a>,
    directory: Directory,
}

impl Entry<'_> {
    /// The name of the file.
    #[must_use]
    pub fn name(&self) -> &Name<'_> {
        &self.name
    }

    /// Where the file was seen.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.directory
    }
}

impl Maildir {
    /// Lists the messages in `new/` and `cur/`, each once, even while others rename them.
    ///
    /// Reading a directory that others rename in misses names and gives others twice. So the times of the directories
    /// are compared before and after; if they differ, or are too recent to prove anything, the directories are read
    /// again and the passes united. See [`Listing::is_settled`] for what that means for messages that are gone.
    ///
    /// The order is the file system's. Messages are ordered by [`Name::seconds`], or by UID where there are any.
    ///
    /// # Errors
    /// [`Error::Io`] if a directory cannot be read.
    pub fn list(&self) -> Result<Listing, Error> {
        self.list_through(SMALL_BUFFER, LARGE_BUFFER)
    }

    fn list_through(&self, small: usize, large: usize) -> Result<Listing, Error> {
        let mut buffer = Vec::with_capacity(small);
        let mut union = Pass::over(self, &mut buffer)?;
        let (mut quiet, mut needed) = (0, 1);
        for _ in 1..MAX_PASSES {
            match union.outcome {
                Outcome::Exact => return Ok(Listing::new(union, true)),
                Outcome::Changed => needed = QUIET_PASSES,
                Outcome::Doubtful => {}
            }
            if quiet >= needed {
                break;
            }
            buffer.reserve((union.names.reading_size() * 2).clamp(small, large));
            let mut pass = Pass::over(self, &mut buffer)?;
            if pass.outcome != Outcome::Exact {
                let new = pass.names.unite(&union.names);
                quiet = if new == 0 { quiet + 1 } else { 0 };
            }
            union = pass;
        }
        let settled = union.outcome == Outcome::Exact;
        Ok(Listing::new(union, settled))
    }
}

impl Listing {
    fn new(pass: Pass, settled: bool) -> Self {
        let Pass { mut names, stamp, .. } = pass;
        names.shrink();
        Self { names, stamp, settled }
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The messages, in the file system's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        (0..self.len()).map(|row| self.entry(row))
    }

    /// The message with that base name. In constant time, but for the first time, which makes an index.
    #[must_use]
    pub fn find(&self, base: &[u8]) -> Option<Entry<'_>> {
        self.names.find(base).map(|row| self.entry(row))
    }

    /// Whether the last pass was over directories that provably did not change. Only then does a message that is not in
    /// the listing not exist. Otherwise it lists every message that was there throughout, and may list some that were
    /// removed meanwhile.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// For [`Maildir::changed_since`].
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn entry(&self, row: usize) -> Entry<'_> {
        // Rows come from the index or from a range up to the length; the default is never used.
        let (name, directory) = self.names.row(row).unwrap_or((Name::listed(b"", 0), Directory::New));
        Entry { name, directory }
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stamp, settled, .. } = self;
        f.debug_struct("Listing").field("len", &self.len()).field("stamp", stamp).field("settled", settled).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const MESSAGES: usize = 2_000;

    fn rename_one_after_the_other(maildir: &Maildir, stop: &AtomicBool) {
        for turn in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
            let (n, seen) = (turn % MESSAGES, turn / MESSAGES % 2);
            let path = |seen: usize| maildir.path().join(format!("cur/{n}.M{n}P1.host:2,{}", ["", "S"][seen]));
            fs::rename(path(seen), path(1 - seen)).unwrap();
        }
    }

    #[test]
    fn passes_with_gaps_between_the_calls_make_one_listing_without() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::create(scratch.path().join("m")).unwrap();
        for n in 0..MESSAGES {
            fs::write(maildir.path().join(format!("cur/{n}.M{n}P1.host:2,")), "x").unwrap();
        }
        let stop = AtomicBool::new(false);
        let counts: HashSet<_> = std::thread::scope(|scope| {
            scope.spawn(|| rename_one_after_the_other(&maildir, &stop));
            let counts = (0..10).map(|_| maildir.list_through(1024, 1024).unwrap().len()).collect();
            stop.store(true, Ordering::Relaxed);
            counts
        });
        assert_eq!(counts, HashSet::from([MESSAGES]));
    }
}
