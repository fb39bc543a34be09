use rustix::fs::FileType;
use rustix::io::Errno;

use crate::beneath::Beneath;
use crate::error::Error;
use crate::folder_name::{FolderName, FolderNameError};
use crate::folders::{Tree, sync_upwards};
use crate::layout::Layout;
use crate::maildir::DIRECTORIES;
use crate::trash;

impl Tree {
    /// Gives a folder another name; the folders below it go along. When this returns, that is on stable storage.
    ///
    /// In the layout `FileSystem` it is one rename, before or after which a crash comes; directories above the new name are made. In
    /// Maildir++ each folder is renamed by itself, those below first: what interrupts that leaves every folder whole, some under the new
    /// name, and `from` itself under the old. The same call again renames the rest; [`Error::NoFolder`] from it says that nothing was
    /// left to do. Folders that are below `to` already stay beside those that come; none is ever replaced.
    ///
    /// A delivery under way into one of the folders fails, and its sender tries again; a receipt given before holds.
    ///
    /// # Errors
    /// [`Error::NoFolder`]; [`Error::FolderExists`] if `to`, or one of the new names, is taken, before anything was changed;
    /// [`Error::FolderName`] if one of the new names cannot be, the root is concerned, or `to` is below `from`; [`Error::Io`] and
    /// [`Error::IoBetween`].
    pub fn rename(&self, from: &FolderName, to: &FolderName) -> Result<(), Error> {
        if from.is_root() || to.is_root() {
            return Err(self.unusable(FolderNameError::Root));
        }
        if to.is_below(from) {
            return Err(self.unusable(FolderNameError::Under));
        }
        self.check(from)?;
        self.check_new(to)?;
        match self.layout() {
            Layout::FileSystem => self.rename_directory(from, to),
            Layout::MaildirPlusPlus => self.rename_each(from, to),
        }
    }

    fn rename_each(&self, from: &FolderName, to: &FolderName) -> Result<(), Error> {
        let root = self.directory()?;
        let mut folders = self.dotted(&root)?;
        folders.retain(|(name, _)| name == from || name.is_below(from));
        if folders.is_empty() {
            return Err(self.no_folder(from));
        }
        self.require_free(&root, to)?;
        // A folder sorts before those below it.
        folders.sort_by(|(one, _), (other, _)| other.cmp(one));
        let mut renames = Vec::new();
        for (name, directory) in folders {
            let moved = name.moved(from, to).map_err(|source| self.unusable(source))?;
            self.check(&moved)?;
            renames.push((directory, self.require_free(&root, &moved)?));
        }
        let rename = |(directory, moved): &(Vec<u8>, Vec<u8>)| root.rename(directory, &root, moved);
        if let Some((last, below @ [_, ..])) = renames.split_last() {
            below.iter().try_for_each(rename)?;
            // As long as the last is under its old name, also after a crash, the same call finds what is left.
            root.sync()?;
            rename(last)?;
        } else {
            renames.iter().try_for_each(rename)?;
        }
        root.sync()
    }

    /// The name of the directory of a Maildir++ folder that is not there.
    fn require_free(&self, root: &Beneath, name: &FolderName) -> Result<Vec<u8>, Error> {
        let directory = self.layout().steps(name).concat();
        match root.kind(&directory)? {
            None => Ok(directory),
            Some(_) => Err(Error::FolderExists { path: self.path_of(name) }),
        }
    }

    fn rename_directory(&self, from: &FolderName, to: &FolderName) -> Result<(), Error> {
        let (above, component) = self.place_of(from)?;
        let to_parent = to.parent().unwrap_or_default();
        let way = self.make_way(&to_parent)?;
        let (Some(new_above), Some(new_component)) = (way.last(), to.components().next_back()) else {
            return Err(self.unusable(FolderNameError::Root));
        };
        // A folder that is renamed into a directory which is not stored would be lost with it.
        sync_upwards(&way)?;
        above.rename(&component, new_above, new_component).map_err(|error| match error.is_taken() {
            true => Error::FolderExists { path: self.path_of(to) },
            false => error,
        })?;
        new_above.sync()?;
        match new_above.path() == above.path() {
            true => Ok(()),
            false => above.sync(),
        }
    }

    /// The directory that holds a folder's directory, and the name of that.
    fn place_of(&self, name: &FolderName) -> Result<(Beneath, Vec<u8>), Error> {
        let missing = || self.no_folder(name);
        let component = self.layout().steps(name).pop().ok_or_else(missing)?;
        let parent = match self.layout() {
            Layout::FileSystem => name.parent().unwrap_or_default(),
            Layout::MaildirPlusPlus => FolderName::ROOT,
        };
        let above = self.descend(&self.directory()?, &parent)?.ok_or_else(missing)?;
        match above.kind(&component)? {
            Some(FileType::Directory) => Ok((above, component)),
            _ => Err(missing()),
        }
    }

    /// Deletes a folder with its messages; folders below it stay. When this returns, that is on stable storage.
    ///
    /// It is renamed away first, to a name that no folder has, `..postrider-deleted-` and random digits in the root, so that nobody finds
    /// half of it; then that is removed, which may be interrupted: [`clean_deleted`](Self::clean_deleted). A reader that has a message
    /// open can read it to the end. Symbolic links are removed, never followed.
    ///
    /// In the layout `FileSystem` the directories `cur/`, `new/` and `tmp/` are renamed away, `cur/` first, and the files beside them are
    /// removed; the directory goes if no folder is below it, and else is not selectable. What an interruption leaves is not selectable,
    /// and the same call completes it.
    ///
    /// # Errors
    /// [`Error::NoFolder`]; [`Error::HasFolders`] if it held no messages and has folders below it; [`Error::Remains`] if it is deleted, but
    /// its files could not all be removed; [`Error::FolderName`] for the root or a name that cannot be; [`Error::Io`] and
    /// [`Error::IoBetween`].
    pub fn delete(&self, name: &FolderName) -> Result<(), Error> {
        if name.is_root() {
            return Err(self.unusable(FolderNameError::Root));
        }
        self.check(name)?;
        let root = self.directory()?;
        let deleted = match self.layout() {
            Layout::FileSystem => self.delete_contents(&root, name)?,
            Layout::MaildirPlusPlus => {
                let (above, component) = self.place_of(name)?;
                let deleted = trash::take(&above, &component, &root)?;
                root.sync()?;
                vec![deleted]
            }
        };
        trash::remove(&root, deleted)
            .map_err(|source| Error::Remains { path: self.path().to_owned(), source: Box::new(source) })
    }

    /// Removes what deletions that were interrupted have left. Returns how many directories that were.
    ///
    /// # Errors
    /// [`Error::Io`] if something cannot be removed; the rest is then left for the next time.
    pub fn clean_deleted(&self) -> Result<usize, Error> {
        let root = self.directory()?;
        let left = trash::left(&root)?;
        let count = left.len();
        trash::remove(&root, left).map(|()| count)
    }

    fn delete_contents(&self, root: &Beneath, name: &FolderName) -> Result<Vec<Vec<u8>>, Error> {
        let (above, component) = self.place_of(name)?;
        let Some(folder) = above.find(&component)? else { return Err(self.no_folder(name)) };
        let mut deleted = Vec::new();
        for directory in DIRECTORIES.into_iter().rev() {
            match trash::take(&folder, directory.as_bytes(), root) {
                Err(error) if error.is_missing() => {}
                taken => deleted.push(taken?),
            }
        }
        root.sync()?;
        trash::remove_files(&folder)?;
        folder.sync()?;
        match above.remove_directory(&component) {
            Err(error) if is_not_empty(&error) && deleted.is_empty() => {
                return Err(Error::HasFolders { path: self.path_of(name) });
            }
            Err(error) if is_not_empty(&error) => return Ok(deleted),
            removed => removed?,
        }
        above.sync().map(|()| deleted)
    }
}

pub(crate) fn is_not_empty(error: &Error) -> bool {
    [Errno::NOTEMPTY, Errno::EXIST].into_iter().any(|errno| error.is(errno))
}
