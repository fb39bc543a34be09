use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::calls::Call;

/// Names, and the number of the file each stands for.
type Names = BTreeMap<PathBuf, usize>;

/// A file system of which only what was synced is sure to be there after a power failure. What was not synced may be
/// there or not, each change by itself, except that a rename is never half done; a file that was never synced is torn, and
/// one that was appended to since has all, half or nothing of what was appended.
#[derive(Debug, Default)]
pub(super) struct Disk {
    files: Vec<StoredFile>,
    seen: Names,
    stored: Names,
    pending: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
struct StoredFile {
    content: Vec<u8>,
    synced: Option<Vec<u8>>,
}

impl StoredFile {
    fn synced(content: Vec<u8>) -> Self {
        Self { synced: Some(content.clone()), content }
    }

    fn sync(&mut self) {
        self.synced = Some(self.content.clone());
    }

    /// How much of what was not synced is there, in halves.
    fn left(&self, halves: usize) -> Option<Vec<u8>> {
        let synced = self.synced.as_ref()?;
        let appended = self.content.get(synced.len()..).unwrap_or_default();
        let content = if halves == 0 { synced.clone() } else { self.content.clone() };
        let lost = if halves == 1 { appended.len() - appended.len() / 2 } else { 0 };
        Some(content[..content.len() - lost].to_vec())
    }
}

/// A change of names that is not stored yet.
#[derive(Clone, Debug, Default)]
struct Change {
    added: Option<(PathBuf, usize)>,
    taken: Option<PathBuf>,
}

/// What a power failure leaves: the names, with the content if it is whole.
pub(super) type State = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Disk {
    /// What is under `root`, all of it stored.
    pub(super) fn of(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.store_tree(root);
        disk
    }

    fn store_tree(&mut self, directory: &Path) {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            let content = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
            self.files.push(StoredFile::synced(content));
            self.seen.insert(path.clone(), self.files.len() - 1);
            self.stored.insert(path.clone(), self.files.len() - 1);
            if path.is_dir() {
                self.store_tree(&path);
            }
        }
    }

    pub(super) fn note(&mut self, call: Call<'_>) {
        match call {
            Call::Create(path) => self.add(path, StoredFile::default()),
            Call::CreateDirectory(path) => self.add(path, StoredFile::synced(Vec::new())),
            Call::Link(from, to) => self.change(None, Some((to, self.seen[from]))),
            Call::Remove(path) => self.change(Some(path), None),
            Call::Rename(from, to) | Call::RenameNoReplace(from, to) => {
                self.change(Some(from), Some((to, self.seen[from])));
            }
            Call::SyncDirectory(path) => self.sync_directory(path),
            Call::SyncFile(path) => self.file(path).sync(),
            Call::SyncFileSystem(_) => self.sync_all(),
            Call::Truncate(path, len) => self.file(path).content.truncate(usize::try_from(len).unwrap()),
            Call::Write(path, octets) => self.file(path).content.extend_from_slice(octets),
        }
    }

    fn file(&mut self, path: &Path) -> &mut StoredFile {
        let file = self.seen[path];
        &mut self.files[file]
    }

    fn add(&mut self, path: &Path, file: StoredFile) {
        self.files.push(file);
        self.change(None, Some((path, self.files.len() - 1)));
    }

    fn change(&mut self, taken: Option<&Path>, added: Option<(&Path, usize)>) {
        let change =
            Change { added: added.map(|(path, file)| (path.to_owned(), file)), taken: taken.map(Path::to_owned) };
        change.clone().apply(&mut self.seen);
        self.pending.push(change);
    }

    /// Stores what happened in one directory. The other half of a rename may stay behind only where that makes a name
    /// too many, never one too few.
    fn sync_directory(&mut self, directory: &Path) {
        for change in &mut self.pending {
            let takes = change.taken.as_deref().and_then(Path::parent) == Some(directory);
            let adds = change.added.as_ref().and_then(|(path, _)| path.parent()) == Some(directory);
            if takes {
                std::mem::take(change).apply(&mut self.stored);
            } else if adds {
                Change { added: change.added.take(), taken: None }.apply(&mut self.stored);
            }
        }
        self.pending.retain(|change| change.added.is_some() || change.taken.is_some());
    }

    fn sync_all(&mut self) {
        self.files.iter_mut().for_each(StoredFile::sync);
        std::mem::take(&mut self.pending).into_iter().for_each(|change| change.apply(&mut self.stored));
    }

    /// What other processes see, and what is left when the process is killed.
    pub(super) fn seen(&self) -> State {
        // Octets need not be stored to be seen.
        self.seen.iter().map(|(path, &file)| (path.clone(), Some(self.files[file].content.clone()))).collect()
    }

    /// Every state in which a power failure may leave the disk now.
    pub(super) fn states(&self) -> Vec<State> {
        assert!(self.pending.len() <= 14, "{} changes are too many for every combination", self.pending.len());
        let halves = if self.files.iter().any(|file| file.left(0) != file.left(2)) { 0..3 } else { 2..3 };
        let names = 0..1_u32 << self.pending.len();
        names.flat_map(|chosen| halves.clone().map(move |halves| self.state(chosen, halves))).collect()
    }

    fn state(&self, chosen: u32, halves: usize) -> State {
        let mut names = self.stored.clone();
        let kept = self.pending.iter().enumerate().filter(|(index, _)| chosen & (1 << index) != 0);
        kept.for_each(|(_, change)| change.clone().apply(&mut names));
        names.into_iter().map(|(path, file)| (path, self.files[file].left(halves))).collect()
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
