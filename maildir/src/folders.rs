use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::beneath::Beneath;
use crate::error::{Error, Operation};
use crate::folder_name::{FolderName, FolderNameError};
use crate::layout::Layout;
use crate::maildir::{DIRECTORIES, Maildir, Options};

/// Says, in a Maildir++ folder, that it is one and its quota is its parent's.
pub(crate) const MARKER: &[u8] = b"maildirfolder";

/// Folders below a root.
///
/// Cheap to clone; holds no descriptor, no lock and no cache. Other programs may make, rename and delete folders at the same time.
///
/// Below the root no symbolic link is followed: one is no folder, and whatever is put in the place of a directory while a folder is made,
/// renamed or deleted, nothing outside the root changes. (A [`Maildir`] that was opened goes by its path; who can write to the root can
/// lead that elsewhere.)
///
/// ```
/// use postrider_maildir::{FolderName, Layout, Tree};
///
/// # let scratch = tempfile::tempdir()?;
/// # let path = scratch.path();
/// let tree = Tree::open(path, Layout::MaildirPlusPlus)?;
/// tree.create(&FolderName::ROOT)?; // the inbox
/// let (drafts, old) = (FolderName::new(["Drafts"])?, FolderName::new(["Old", "Drafts"])?);
/// tree.create(&drafts)?.delivery()?.commit()?;
/// tree.rename(&drafts, &old)?;
/// assert_eq!(tree.open_folder(&old)?.list()?.len(), 1);
/// let names: Vec<_> = tree.list()?.iter().map(|folder| folder.name.to_string()).collect();
/// assert_eq!(names, ["", "Old", "Old/Drafts"]);
/// tree.delete(&old)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
    layout: Layout,
    options: Options,
}

/// One entry of [`Tree::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its name.
    pub name: FolderName,
    /// Whether it holds messages.
    pub state: FolderState,
}

/// What there is under the name of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FolderState {
    /// Nothing: in Maildir++ `.A.B` can be there without `.A`. It can be created.
    Absent,
    /// A directory that lacks `cur/`, `new/` or `tmp/`. [`Tree::create`] makes it a mailbox.
    NotSelectable,
    /// A mailbox.
    Selectable,
}

impl Tree {
    /// The folders below a directory that is there.
    ///
    /// # Errors
    /// [`Error::Io`] if `root` is not a directory that can be read.
    pub fn open(root: impl AsRef<Path>, layout: Layout) -> Result<Self, Error> {
        Self::open_with(root, layout, Options::default())
    }

    /// The same, with options for the folders it opens and makes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(root: impl AsRef<Path>, layout: Layout, options: Options) -> Result<Self, Error> {
        let root = root.as_ref();
        // Made absolute, so that a change of the working directory does not turn this into another tree.
        let root = std::path::absolute(root).map_err(|source| Error::io(Operation::Stat, root, source))?;
        let tree = Self { root, layout, options };
        tree.directory().map(|_| tree)
    }

    /// Where the root is, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// How the folders lie below it.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Where a folder is or would be.
    #[must_use]
    pub fn path_of(&self, name: &FolderName) -> PathBuf {
        self.layout.path(&self.root, name)
    }

    /// All folders, sorted by name, the root first. Directories that cannot be the name of a folder, as `..x` and `.a..b`, are left out.
    ///
    /// A folder that was there throughout, under one name, is in the list. One that is made, renamed or deleted meanwhile may be or not.
    ///
    /// # Errors
    /// [`Error::Io`] if a directory cannot be read.
    pub fn list(&self) -> Result<Vec<Folder>, Error> {
        let mut folders = BTreeMap::new();
        let root = self.directory()?;
        folders.insert(FolderName::ROOT, state_of(&root)?);
        match self.layout {
            Layout::FileSystem => self.gather_nested(&root, &mut folders)?,
            Layout::MaildirPlusPlus => self.gather_dotted(&root, &mut folders)?,
        }
        Ok(folders.into_iter().map(|(name, state)| Folder { name, state }).collect())
    }

    fn gather_dotted(&self, root: &Beneath, folders: &mut BTreeMap<FolderName, FolderState>) -> Result<(), Error> {
        for (name, directory) in self.dotted(root)? {
            // What is gone by now was renamed or deleted since.
            let Some(directory) = root.find(&directory)? else { continue };
            folders.insert(name, state_of(&directory)?);
        }
        let names: Vec<_> = folders.keys().cloned().collect();
        for name in names {
            let above = std::iter::successors(name.parent(), FolderName::parent);
            for above in above {
                folders.entry(above).or_insert(FolderState::Absent);
            }
        }
        Ok(())
    }

    /// The Maildir++ folders in the root, with the names of their directories.
    pub(crate) fn dotted(&self, root: &Beneath) -> Result<Vec<(FolderName, Vec<u8>)>, Error> {
        let named = |directory: Vec<u8>| Some((self.layout.name_in(&FolderName::ROOT, &directory)?, directory));
        Ok(root.directories()?.into_iter().filter_map(named).collect())
    }

    /// Goes down from the root for each directory, so that a tree of any depth takes two descriptors.
    fn gather_nested(&self, root: &Beneath, folders: &mut BTreeMap<FolderName, FolderState>) -> Result<(), Error> {
        let mut left = vec![FolderName::ROOT];
        while let Some(above) = left.pop() {
            let Some(directory) = self.descend(root, &above)? else { continue };
            folders.insert(above.clone(), state_of(&directory)?);
            let names = directory.directories()?;
            left.extend(names.iter().filter_map(|name| self.layout.name_in(&above, name)));
        }
        Ok(())
    }

    /// Opens a folder as a Maildir.
    ///
    /// # Errors
    /// [`Error::FolderName`]; [`Error::NoFolder`]; [`Error::NotMaildir`] if it is not selectable; [`Error::Io`].
    pub fn open_folder(&self, name: &FolderName) -> Result<Maildir, Error> {
        self.check(name)?;
        self.descend(&self.directory()?, name)?.ok_or_else(|| self.no_folder(name))?;
        Maildir::open_with(self.path_of(name), self.options.clone())
    }

    /// Makes a folder, and in the layout `FileSystem` the directories above it; for [`FolderName::ROOT`] the root's own `cur/`, `new/` and
    /// `tmp/`. When this returns the folder, it is on stable storage.
    ///
    /// `cur/` is made last. What a crash leaves is not selectable, and the same call completes it. Of two who create a folder at the same
    /// time, one may hear that it exists.
    ///
    /// # Errors
    /// [`Error::FolderName`]; [`Error::FolderExists`] if it was there and whole, in which case it is on stable storage too;
    /// [`Error::NotMaildir`] if a file stands in the way; [`Error::Io`].
    pub fn create(&self, name: &FolderName) -> Result<Maildir, Error> {
        self.check_new(name)?;
        let way = self.make_way(name)?;
        let Some(folder) = way.last() else { return Err(self.no_folder(name)) };
        let made = match state_of(folder)? {
            FolderState::Selectable => false,
            _ => self.complete(folder, name)?,
        };
        sync_upwards(&way)?;
        match made {
            true => Maildir::open_with(self.path_of(name), self.options.clone()),
            false => Err(Error::FolderExists { path: self.path_of(name) }),
        }
    }

    /// Makes what a folder lacks. Whether that was anything.
    fn complete(&self, folder: &Beneath, name: &FolderName) -> Result<bool, Error> {
        if self.layout == Layout::MaildirPlusPlus && !name.is_root() {
            folder.ensure_file(MARKER, self.options.file_mode)?;
        }
        let mut made = false;
        for missing in DIRECTORIES {
            made |= folder.ensure_directory(missing.as_bytes(), self.options.directory_mode)?;
            if !folder.leads_to_directory(missing.as_bytes())? {
                return Err(Error::NotMaildir { path: folder.path().to_owned(), missing });
            }
        }
        Ok(made)
    }

    /// The directories from the root to the folder; those that are missing are made.
    pub(crate) fn make_way(&self, name: &FolderName) -> Result<Vec<Beneath>, Error> {
        let mut way = Vec::new();
        let mut last = self.directory()?;
        for step in self.layout.steps(name) {
            last.ensure_directory(&step, self.options.directory_mode)?;
            let next = last.find(&step)?.ok_or_else(|| Error::FolderExists { path: last.path_of(&step) })?;
            way.push(std::mem::replace(&mut last, next));
        }
        way.push(last);
        Ok(way)
    }

    pub(crate) fn directory(&self) -> Result<Beneath, Error> {
        Beneath::root(&self.root)
    }

    /// Opens the directory of a folder, if it is there.
    pub(crate) fn descend(&self, root: &Beneath, name: &FolderName) -> Result<Option<Beneath>, Error> {
        let mut last = Some(root.open(b".")?);
        for step in self.layout.steps(name) {
            let Some(above) = last else { break };
            last = above.find(&step)?;
        }
        Ok(last)
    }

    pub(crate) fn check(&self, name: &FolderName) -> Result<(), Error> {
        self.layout.check(name).map_err(|source| self.unusable(source))
    }

    pub(crate) fn check_new(&self, name: &FolderName) -> Result<(), Error> {
        match name.is_inbox() {
            true => Err(self.unusable(FolderNameError::Inbox)),
            false => self.check(name),
        }
    }

    pub(crate) fn unusable(&self, source: FolderNameError) -> Error {
        Error::FolderName { path: self.root.clone(), source }
    }

    pub(crate) fn no_folder(&self, name: &FolderName) -> Error {
        Error::NoFolder { path: self.path_of(name) }
    }
}

/// The topmost name is stored last, so that after a crash nothing hangs in the air.
pub(crate) fn sync_upwards(way: &[Beneath]) -> Result<(), Error> {
    way.iter().rev().try_for_each(Beneath::sync)
}

fn state_of(directory: &Beneath) -> Result<FolderState, Error> {
    for name in DIRECTORIES {
        if !directory.leads_to_directory(name.as_bytes())? {
            return Ok(FolderState::NotSelectable);
        }
    }
    Ok(FolderState::Selectable)
}
