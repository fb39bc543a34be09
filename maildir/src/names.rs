use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::maildir::Directory;
use crate::name::{Name, base_len};

/// Many file names in little room: the octets of all in one piece, 16 octets each for where they stand, and an index by
/// base name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    octets: Vec<u8>,
    rows: Vec<Row>,
    index: HashTable<usize>,
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
        self.index.find(hash, |&row| self.base_of(row) == base).copied()
    }

    /// Adds what an earlier pass saw and this one did not. Returns how many this pass saw that the earlier did not.
    pub(crate) fn unite(&mut self, earlier: &Self) -> usize {
        let new = (0..self.rows.len()).filter(|&row| earlier.find(self.base_of(row)).is_none()).count();
        for (index, row) in earlier.rows.iter().enumerate() {
            let base = earlier.base_of(index);
            if self.find(base).is_none() {
                let hash = self.hasher.hash_one(base);
                let at = self.octets.len();
                self.octets.extend_from_slice(earlier.octets_of(row));
                self.rows.push(Row { at, ..*row });
                self.index_row(hash, self.rows.len() - 1);
            }
        }
        new
    }

    pub(crate) fn shrink(&mut self) {
        self.octets.shrink_to_fit();
        self.rows.shrink_to_fit();
    }

    fn index_row(&mut self, hash: u64, row: usize) {
        let Self { octets, rows, index, hasher } = self;
        let _ = index.insert_unique(hash, row, |&row| hasher.hash_one(base_in(octets, rows, row)));
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

impl Gathered {
    /// Notes one name and its inode. Over-long names are not messages.
    pub(crate) fn note(&mut self, name: &[u8], inode: u64, directory: Directory) {
        let (Ok(len), Ok(base)) = (u8::try_from(name.len()), u8::try_from(base_len(name))) else { return };
        self.rows.push(Row { at: self.octets.len(), len, base, directory });
        self.inodes.push(inode);
        self.octets.extend_from_slice(name);
    }

    /// A base name that comes again with the same inode is the same message, renamed while the directory was read: the
    /// later name counts. With another inode it is another message.
    pub(crate) fn indexed(self) -> Names {
        let Self { octets, rows, mut inodes } = self;
        let (gathered, index) = (rows.len(), HashTable::with_capacity(rows.len()));
        let mut names = Names { octets, rows, index, ..Names::default() };
        // In place, since all this is large: rows are kept at the front, and only those are in the index.
        let mut kept = 0;
        for row in 0..gathered {
            let (base, inode) = (names.base_of(row), inodes[row]);
            let hash = names.hasher.hash_one(base);
            let same = |&known: &usize| inodes[known] == inode && names.base_of(known) == base;
            if let Some(known) = names.index.find(hash, same).copied() {
                names.rows[known] = names.rows[row];
                continue;
            }
            (names.rows[kept], inodes[kept]) = (names.rows[row], inode);
            names.index_row(hash, kept);
            kept += 1;
        }
        names.rows.truncate(kept);
        names
    }
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
        gathered.indexed()
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
