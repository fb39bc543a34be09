use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::calls::Call;

/// The directories and the names in them, with the number of the file each stands for.
type Names = BTreeMap<Place, usize>;

/// A name in the directory of that number.
type Place = (usize, OsString);

/// The number of the directory that the test works in.
const ROOT: usize = 0;

/// A file system of which only what was synced is sure to be there after a power failure. What was not synced may be
/// there or not, each change by itself, except that a rename is never half done; a file that was never synced is torn, and
/// one that was appended to since has all, half or nothing of what was appended.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    files: Vec<StoredFile>,
    seen: Names,
    stored: Names,
    pending: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
struct StoredFile {
    content: Vec<u8>,
    synced: Option<Vec<u8>>,
    is_directory: bool,
}

/// A change of names that is not stored yet.
#[derive(Clone, Debug, Default)]
struct Change {
    added: Option<(Place, usize)>,
    taken: Option<Place>,
    /// The directory it takes from was synced since, or there is none.
    take_synced: bool,
    /// The same of the directory it adds to.
    add_synced: bool,
}

/// What a power failure leaves: the names, with the content if it is whole. Directories have none.
pub(super) type State = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Disk {
    /// What is under `root`, all of it stored.
    pub(super) fn of(root: &Path) -> Self {
        let top = StoredFile::directory();
        let (seen, stored) = (Names::new(), Names::new());
        let mut disk = Self { root: root.to_owned(), files: vec![top], seen, stored, pending: Vec::new() };
        disk.store_tree(ROOT, root);
        disk.stored = disk.seen.clone();
        disk
    }

    fn store_tree(&mut self, number: usize, directory: &Path) {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            let is_directory = path.is_dir();
            let content = if is_directory { Vec::new() } else { fs::read(&path).unwrap() };
            self.files.push(StoredFile { synced: Some(content.clone()), content, is_directory });
            let file = self.files.len() - 1;
            self.seen.insert((number, path.file_name().unwrap().to_owned()), file);
            if is_directory {
                self.store_tree(file, &path);
            }
        }
    }

    pub(super) fn note(&mut self, call: Call<'_>) {
        match call {
            Call::Create(path) => self.add(path, StoredFile::default()),
            Call::CreateDirectory(path) => self.add(path, StoredFile::directory()),
            Call::Link(from, to) => self.change(None, Some((self.place(to), self.number(from)))),
            Call::Remove(path) | Call::RemoveDirectory(path) => self.change(Some(self.place(path)), None),
            Call::Rename(from, to) | Call::RenameNoReplace(from, to) => {
                self.change(Some(self.place(from)), Some((self.place(to), self.number(from))));
            }
            Call::SyncDirectory(path) => self.sync_directory(self.number(path)),
            Call::SyncFile(path) => self.file(path).sync(),
            Call::SyncFileSystem(_) => self.sync_all(),
            Call::Truncate(path, len) => self.file(path).content.truncate(usize::try_from(len).unwrap()),
            Call::Write(path, octets) => self.file(path).content.extend_from_slice(octets),
        }
    }

    /// The file that others see under a path.
    fn number(&self, path: &Path) -> usize {
        let steps = path.strip_prefix(&self.root).unwrap();
        steps.iter().fold(ROOT, |directory, name| self.seen[&(directory, name.to_owned())])
    }

    fn place(&self, path: &Path) -> Place {
        (self.number(path.parent().unwrap()), path.file_name().unwrap().to_owned())
    }

    fn file(&mut self, path: &Path) -> &mut StoredFile {
        let file = self.number(path);
        &mut self.files[file]
    }

    fn add(&mut self, path: &Path, file: StoredFile) {
        let place = self.place(path);
        self.files.push(file);
        self.change(None, Some((place, self.files.len() - 1)));
    }

    fn change(&mut self, taken: Option<Place>, added: Option<(Place, usize)>) {
        let change = Change { added, taken, ..Change::default() };
        change.clone().apply(&mut self.seen);
        self.pending.push(change);
    }

    /// Stores what happened in one directory. The other half of a rename may stay behind only where that makes a name
    /// too many, never one too few; a directory, which has one name, is not stored before both.
    fn sync_directory(&mut self, directory: usize) {
        for change in &mut self.pending {
            change.take_synced |= change.taken.as_ref().is_none_or(|(taken, _)| *taken == directory);
            change.add_synced |= change.added.as_ref().is_none_or(|((added, _), _)| *added == directory);
            let is_directory = change.added.as_ref().is_some_and(|(_, file)| self.files[*file].is_directory);
            match (change.take_synced, change.add_synced) {
                (true, true) => std::mem::take(change).apply(&mut self.stored),
                (false, true) if !is_directory => {
                    Change { added: change.added.take(), ..Change::default() }.apply(&mut self.stored);
                }
                _ => {}
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
        self.reachable(&self.seen)
            .into_iter()
            .map(|(path, file)| (path, Some(self.files[file].content.clone())))
            .collect()
    }

    /// Every state in which a power failure may leave the disk now.
    pub(super) fn states(&self) -> Vec<State> {
        let halves = self.halves();
        self.every_outcome().flat_map(|names| halves.clone().map(move |halves| self.state(&names, halves))).collect()
    }

    /// How much of what was appended and not synced may be there.
    fn halves(&self) -> std::ops::Range<usize> {
        if self.files.iter().any(|file| file.left(0) != file.left(2)) { 0..3 } else { 2..3 }
    }

    /// Writes every such state into a directory of its own below `scratch`, for somebody to recover.
    pub(super) fn lay_out(&self, scratch: &Path) -> Vec<PathBuf> {
        let distinct: HashSet<_> = self.every_outcome().map(|names| self.reachable(&names)).collect();
        let halves = self.halves();
        let states = distinct.iter().flat_map(|files| halves.clone().map(move |halves| (files, halves)));
        let laid_out = states.enumerate().map(|(number, (files, halves))| {
            let root = scratch.join(number.to_string());
            fs::create_dir(&root).unwrap();
            for (path, file) in files {
                self.files[*file].lay_out(&root.join(path.strip_prefix(&self.root).unwrap()), halves);
            }
            root
        });
        laid_out.collect()
    }

    fn every_outcome(&self) -> impl Iterator<Item = Names> {
        assert!(self.pending.len() <= 14, "{} changes are too many for every combination", self.pending.len());
        (0..1_u32 << self.pending.len()).map(|chosen| {
            let mut names = self.stored.clone();
            let kept = self.pending.iter().enumerate().filter(|(index, _)| chosen & (1 << index) != 0);
            kept.for_each(|(_, change)| change.clone().apply(&mut names));
            names
        })
    }

    fn state(&self, names: &Names, halves: usize) -> State {
        self.reachable(names).into_iter().map(|(path, file)| (path, self.files[file].left(halves))).collect()
    }

    /// The paths that lead somewhere: a name in a directory that has none itself is lost. Each directory comes before what it holds.
    fn reachable(&self, names: &Names) -> Vec<(PathBuf, usize)> {
        let mut found = vec![(self.root.clone(), ROOT)];
        for at in 0.. {
            let Some((path, number)) = found.get(at).cloned() else { break };
            let first = (number, OsString::new());
            let inside = names.range(first..).take_while(|((directory, _), _)| *directory == number);
            found.extend(inside.map(|((_, name), &file)| (path.join(name as &OsStr), file)));
        }
        found.split_off(1)
    }
}

impl StoredFile {
    fn directory() -> Self {
        Self { content: Vec::new(), synced: Some(Vec::new()), is_directory: true }
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

    fn lay_out(&self, path: &Path, halves: usize) {
        if self.is_directory {
            return fs::create_dir(path).unwrap();
        }
        // What blocks that were never written hold.
        let content = self.left(halves).unwrap_or_else(|| vec![0; self.content.len()]);
        fs::write(path, content).unwrap();
    }
}

impl Change {
    fn apply(self, names: &mut Names) {
        if let Some(taken) = self.taken {
            names.remove(&taken);
        }
        if let Some((place, file)) = self.added {
            names.insert(place, file);
        }
    }
}
