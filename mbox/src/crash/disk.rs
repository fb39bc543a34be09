use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::calls::Call;

/// Names, and the number of the file each stands for.
type Names = BTreeMap<PathBuf, usize>;

/// A file system of which only what was synced is sure to be there after a power failure. What was not synced may be there or not, each change by itself:
/// of names, and of contents, where a write may also be there in half, or only as the room that it takes.
#[derive(Debug, Default)]
pub(super) struct Disk {
    files: Vec<StoredFile>,
    seen: Names,
    stored: Names,
    pending: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
struct StoredFile {
    stored: Vec<u8>,
    pending: Vec<Edit>,
}

/// A change of a content that is not stored yet.
#[derive(Clone, Debug)]
enum Edit {
    Truncate(usize),
    Write(usize, Vec<u8>),
}

/// A change of names that is not stored yet.
#[derive(Clone, Debug, Default)]
struct Change {
    added: Option<(PathBuf, usize)>,
    taken: Option<PathBuf>,
}

/// What a power failure leaves.
pub(super) type State = BTreeMap<PathBuf, Vec<u8>>;

/// In how many ways a power failure may leave an edit.
const WAYS: usize = 4;

/// Octets that are written as a whole or not at all.
const SECTOR: usize = 512;

/// More states are too many to go through.
const MANY: usize = 1 << 16;

impl Disk {
    /// What is under `root`, all of it stored.
    pub(super) fn of(root: &Path) -> Self {
        let mut disk = Self::default();
        for path in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            disk.files.push(StoredFile { stored: fs::read(&path).unwrap(), pending: Vec::new() });
            disk.seen.insert(path.clone(), disk.files.len() - 1);
            disk.stored.insert(path, disk.files.len() - 1);
        }
        disk
    }

    pub(super) fn note(&mut self, call: Call<'_>) {
        match call {
            Call::Create(path) => {
                self.files.push(StoredFile::default());
                self.change(None, Some((path, self.files.len() - 1)));
            }
            Call::Link(from, to) => self.change(None, Some((to, self.seen[from]))),
            Call::Remove(path) => self.change(Some(path), None),
            Call::Rename(from, to) => self.change(Some(from), Some((to, self.seen[from]))),
            Call::SyncDirectory(path) => self.sync_directory(path),
            Call::SyncFile(path) => self.file(path).sync(),
            Call::Truncate(path, len) => self.edit(path, Edit::Truncate(usize::try_from(len).unwrap())),
            Call::Write(path, at, octets) => {
                self.edit(path, Edit::Write(usize::try_from(at).unwrap(), octets.to_vec()));
            }
            Call::Lock(_) | Call::Open(_) | Call::Reserve(_) | Call::SetAttributes(_) | Call::SetTimes(_) => {}
        }
    }

    fn file(&mut self, path: &Path) -> &mut StoredFile {
        let file = self.seen[&path.canonicalize().unwrap()];
        &mut self.files[file]
    }

    fn edit(&mut self, path: &Path, edit: Edit) {
        self.file(path).pending.push(edit);
    }

    fn change(&mut self, taken: Option<&Path>, added: Option<(&Path, usize)>) {
        let change =
            Change { added: added.map(|(path, file)| (path.to_owned(), file)), taken: taken.map(Path::to_owned) };
        change.clone().apply(&mut self.seen);
        self.pending.push(change);
    }

    fn sync_directory(&mut self, directory: &Path) {
        let directory = directory.canonicalize().unwrap();
        let is_here = |path: &Path| path.parent().is_some_and(|parent| parent.canonicalize().unwrap() == directory);
        for change in std::mem::take(&mut self.pending) {
            let names = change.taken.iter().chain(change.added.iter().map(|(path, _)| path));
            if names.into_iter().any(|path| is_here(path)) {
                change.apply(&mut self.stored);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// What other processes see, and what is left when the process is killed.
    pub(super) fn seen(&self) -> State {
        self.seen.iter().map(|(path, &file)| (path.clone(), self.files[file].seen())).collect()
    }

    /// The states in which a power failure may leave the disk now. Of names that nobody cares for, as those of locks, only those are gone through that
    /// `counts` is true for.
    pub(super) fn states(&self, counts: impl Fn(&Path) -> bool) -> Vec<State> {
        let pending: Vec<_> = self
            .pending
            .iter()
            .filter(|change| {
                change.taken.iter().chain(change.added.iter().map(|(path, _)| path)).any(|path| counts(path))
            })
            .collect();
        let mut states = Vec::new();
        for chosen in 0..1_usize << pending.len() {
            let mut names = self.stored.clone();
            let kept = pending.iter().enumerate().filter(|(index, _)| chosen & (1 << index) != 0);
            kept.for_each(|(_, change)| (*change).clone().apply(&mut names));
            names.retain(|path, _| counts(path));
            let mut some = vec![State::new()];
            for (path, file) in names {
                let contents = self.files[file].states();
                assert!(states.len() + some.len() * contents.len() < MANY, "too many states");
                let with = |state: &State| {
                    let path = path.clone();
                    let with = contents.iter().map(move |content| (path.clone(), content.clone()));
                    let state = state.clone();
                    with.map(move |name| state.clone().into_iter().chain([name]).collect()).collect::<Vec<State>>()
                };
                some = some.iter().flat_map(with).collect();
            }
            states.extend(some);
        }
        states
    }
}

impl StoredFile {
    fn sync(&mut self) {
        self.stored = self.seen();
        self.pending.clear();
    }

    fn seen(&self) -> Vec<u8> {
        let mut content = self.stored.clone();
        self.pending.iter().for_each(|edit| edit.apply(&mut content, 0));
        content
    }

    fn states(&self) -> Vec<Vec<u8>> {
        assert!(self.pending.len() <= 7, "{} edits are too many for every combination", self.pending.len());
        let number = WAYS.pow(u32::try_from(self.pending.len()).unwrap());
        let mut states: Vec<_> = (0..number)
            .map(|mut ways| {
                let mut content = self.stored.clone();
                for edit in &self.pending {
                    edit.apply(&mut content, ways % WAYS);
                    ways /= WAYS;
                }
                content
            })
            .collect();
        states.sort_unstable();
        states.dedup();
        states
    }
}

impl Edit {
    /// 0: it is there; 1: it is not; 2: in half; 3: the file is as long, but has zeros there. Where a file has octets already, sectors are written as a
    /// whole: 2: all but the first is as it was; 3: the first is as it was.
    fn apply(&self, content: &mut Vec<u8>, way: usize) {
        match (self, way) {
            (Self::Truncate(len), 0) => content.resize(*len, 0),
            (Self::Truncate(_), _) | (_, 1) => {}
            (Self::Write(at, octets), 2 | 3) if at + octets.len() <= content.len() => {
                let edge = (at.next_multiple_of(SECTOR) - at).min(octets.len());
                let (first, others) = octets.split_at(edge);
                match way {
                    2 => content[*at..at + edge].copy_from_slice(first),
                    _ => content[at + edge..at + octets.len()].copy_from_slice(others),
                }
            }
            (Self::Write(at, octets), _) => {
                let there = if way == 2 { octets.len() / 2 } else { octets.len() };
                content.resize(content.len().max(at + there), 0);
                if way != 3 {
                    content[*at..at + there].copy_from_slice(&octets[..there]);
                }
            }
        }
    }
}

impl Change {
    fn apply(self, names: &mut Names) {
        if let Some(taken) = self.taken {
            names.remove(&taken);
        }
        if let Some((path, file)) = self.added {
            names.insert(path, file);
        }
    }
}
