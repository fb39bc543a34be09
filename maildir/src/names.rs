use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::OnceLock;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::maildir::Directory;
use crate::name::{Name, base_len};

/// Many file names in little room: the octets of all in one piece, 16 octets each for where they stand, and, once one was looked for, an
/// index by base name. Making that takes a good part of the time in which a directory is read, and who only walks through needs none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    octets: Vec<u8>,
    rows: Vec<Row>,
    index: OnceLock<HashTable<usize>>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    at: usize,
    // A file name has at most 255 octets.
    len: u8,
    base: u8,
    directory: Directory,
}

impl Names {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many octets a directory with these names takes to read, about.
    pub(crate) fn reading_size(&self) -> usize {
        self.octets.len() + self.rows.len() * 32
    }

    pub(crate) fn row(&self, row: usize) -> Option<(Name<'_>, Directory)> {
        let row = self.rows.get(row)?;
        Some((Name::listed(self.octets_of(row), row.base.into()), row.directory))
    }

    pub(crate) fn find(&self, base: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(base);
        self.index().find(hash, |&row| self.base_of(row) == base).copied()
    }

    /// Adds what an earlier pass saw and this one did not. Returns how many this pass saw that the earlier did not.
    pub(crate) fn unite(&mut self, earlier: &Self) -> usize {
        self.index();
        let new = (0..self.rows.len()).filter(|&row| earlier.find(self.base_of(row)).is_none()).count();
        for (index, row) in earlier.rows.iter().enumerate() {
            let base = earlier.base_of(index);
            if self.find(base).is_none() {
                let at = self.octets.len();
                self.octets.extend_from_slice(earlier.octets_of(row));
                self.rows.push(Row { at, ..*row });
                self.index_row(self.rows.len() - 1);
            }
        }
        new
    }

    pub(crate) fn shrink(&mut self) {
        self.octets.shrink_to_fit();
        self.rows.shrink_to_fit();
    }

    fn index(&self) -> &HashTable<usize> {
        let Self { octets, rows, hasher, .. } = self;
        self.index.get_or_init(|| {
            let mut index = HashTable::with_capacity(rows.len());
            for row in 0..rows.len() {
                insert(&mut index, octets, rows, hasher, row);
            }
            index
        })
    }

    fn index_row(&mut self, row: usize) {
        let Self { octets, rows, index, hasher } = self;
        if let Some(index) = index.get_mut() {
            insert(index, octets, rows, hasher, row);
        }
    }

    fn base_of(&self, row: usize) -> &[u8] {
        base_in(&self.octets, &self.rows, row)
    }

    fn octets_of(&self, row: &Row) -> &[u8] {
        self.octets.get(row.at..row.at + usize::from(row.len)).unwrap_or_default()
    }
}

/// Names as a directory gives them, before it is known which of them are the same message.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    octets: Vec<u8>,
    rows: Vec<Row>,
    inodes: Vec<u64>,
}

/// The most room that is set aside at first, in octets. Some directories stay large when they are emptied.
const MAX_ROOM: usize = 128 * 1024 * 1024;

/// What a name of common length takes in a directory, in octets.
const COMMON_ENTRY: usize = 96;

impl Gathered {
    /// With room for what a directory file of that size, in octets, can hold, about. Growing would copy everything several times.
    pub(crate) fn with_room(size: u64) -> Self {
        let room = usize::try_from(size).unwrap_or(MAX_ROOM).min(MAX_ROOM);
        let names = room / COMMON_ENTRY;
        Self { octets: Vec::with_capacity(room), rows: Vec::with_capacity(names), inodes: Vec::with_capacity(names) }
    }

    /// Notes one name and its inode. Over-long names are not messages.
    pub(crate) fn note(&mut self, name: &[u8], inode: u64, directory: Directory) {
        let (Ok(len), Ok(base)) = (u8::try_from(name.len()), u8::try_from(base_len(name))) else { return };
        self.rows.push(Row { at: self.octets.len(), len, base, directory });
        self.inodes.push(inode);
        self.octets.extend_from_slice(name);
    }

    /// A base name that comes again with the same inode is the same message, renamed while the directory was read: the
    /// later name counts. With another inode it is another message.
    pub(crate) fn distinct(self) -> Names {
        let suspects = Suspects::of(&self.inodes);
        let Self { octets, mut rows, mut inodes } = self;
        let hasher = DefaultHashBuilder::default();
        let mut seen = HashTable::new();
        // In place, since all this is large: rows are kept at the front.
        let mut kept = 0;
        for row in 0..rows.len() {
            let inode = inodes[row];
            if suspects.contain(inode) {
                let base = base_in(&octets, &rows, row);
                let same = |&known: &usize| inodes[known] == inode && base_in(&octets, &rows, known) == base;
                let hash = hasher.hash_one(base);
                if let Some(&known) = seen.find(hash, same) {
                    rows[known] = rows[row];
                    continue;
                }
                // Rows before `kept` do not move any more.
                let base_of = |&known: &usize| hasher.hash_one(base_in(&octets, &rows, known));
                let _ = seen.insert_unique(hash, kept, base_of);
            }
            (rows[kept], inodes[kept]) = (rows[row], inode);
            kept += 1;
        }
        rows.truncate(kept);
        Names { octets, rows, ..Names::default() }
    }
}

/// The inodes that may be there twice: those whose low bits are. Inodes that were made one after the other differ in them, so that nearly
/// always there are none, and a set of so few bits is much quicker than one of the names.
struct Suspects {
    mask: u64,
    slots: HashSet<u64>,
}

impl Suspects {
    fn of(inodes: &[u64]) -> Self {
        let bits = (inodes.len() * 16).next_power_of_two().max(64);
        let mask = bits as u64 - 1;
        let (mut seen, mut slots) = (vec![0_u64; bits / 64], HashSet::new());
        for inode in inodes {
            let slot = inode & mask;
            let Some(word) = usize::try_from(slot / 64).ok().and_then(|word| seen.get_mut(word)) else { continue };
            let bit = 1 << (slot % 64);
            if *word & bit != 0 {
                slots.insert(slot);
            }
            *word |= bit;
        }
        Self { mask, slots }
    }

    fn contain(&self, inode: u64) -> bool {
        !self.slots.is_empty() && self.slots.contains(&(inode & self.mask))
    }
}

fn insert(index: &mut HashTable<usize>, octets: &[u8], rows: &[Row], hasher: &DefaultHashBuilder, row: usize) {
    let hash = |&row: &usize| hasher.hash_one(base_in(octets, rows, row));
    let _ = index.insert_unique(hash(&row), row, hash);
}

fn base_in<'a>(octets: &'a [u8], rows: &[Row], row: usize) -> &'a [u8] {
    rows.get(row).and_then(|row| octets.get(row.at..row.at + usize::from(row.base))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[(&str, u64)]) -> Names {
        let mut gathered = Gathered::default();
        list.iter().for_each(|&(name, inode)| gathered.note(name.as_bytes(), inode, Directory::Cur));
        gathered.distinct()
    }

    fn sorted(names: &Names) -> Vec<String> {
        let mut all: Vec<_> = (0..names.len()).map(|row| names.row(row).unwrap().0.to_string()).collect();
        all.sort();
        all
    }

    #[test]
    fn the_later_of_two_names_of_one_file_counts() {
        assert_eq!(sorted(&names(&[("a:2,", 1), ("b:2,", 2), ("a:2,S", 1)])), ["a:2,S", "b:2,"]);
        assert_eq!(sorted(&names(&[("a:2,", 1), ("a:2,S", 2)])), ["a:2,", "a:2,S"]);
    }

    #[test]
    fn inodes_that_agree_in_their_low_bits_only_are_told_apart() {
        let many: Vec<_> = (0..500_u64).map(|n| (format!("{n}:2,"), n << 40)).collect();
        let again = (0..500_u64).step_by(5).map(|n| (format!("{n}:2,S"), n << 40));
        let all: Vec<_> = many.iter().cloned().chain(again).collect();
        let listed = names(&all.iter().map(|(name, inode)| (name.as_str(), *inode)).collect::<Vec<_>>());
        assert_eq!(listed.len(), 500);
        let seen =
            |n: u64| listed.find(n.to_string().as_bytes()).and_then(|row| listed.row(row)).unwrap().0.to_string();
        assert_eq!((seen(10), seen(11)), ("10:2,S".to_owned(), "11:2,".to_owned()));
    }

    #[test]
    fn united_passes_have_what_either_saw_under_the_later_name() {
        let mut later = names(&[("a:2,S", 1), ("c:2,", 3)]);
        assert_eq!(later.unite(&names(&[("a:2,", 1), ("b:2,", 2)])), 1, "c is new");
        assert_eq!(sorted(&later), ["a:2,S", "b:2,", "c:2,"]);
        assert_eq!(later.find(b"b").and_then(|row| later.row(row)).unwrap().0.octets(), b"b:2,");
        assert_eq!(later.find(b"d"), None);
    }

    #[test]
    fn a_name_longer_than_any_file_system_takes_is_left_out() {
        assert_eq!(names(&[(&"x".repeat(256), 1), (&"x".repeat(255), 2)]).len(), 1);
    }
}
