//! The messages of a Maildir in the order in which they came.

use std::fs::File;
use std::path::{Path, PathBuf};

use postrider_maildir::{Directory, Flag, Maildir, Message};

use super::content::{Content, Sink, Stored};
use super::failure::{At, Failure};
use super::notes::{Base, Mark, Notes};

/// A Maildir, and what there is in it.
#[derive(Debug)]
pub struct Folder {
    /// The Maildir.
    pub maildir: Maildir,
    /// Its messages: by UID, those without one behind, and then by name, which begins with the time.
    pub items: Vec<Item>,
    /// UIDVALIDITY and the last UID, if it has them.
    pub base: Option<Base>,
}

/// A message of a Maildir.
#[derive(Debug)]
pub struct Item {
    /// Where it is.
    pub message: Message,
    /// What its name and the files beside the mail say.
    pub notes: Notes,
}

impl Folder {
    /// Lists a Maildir.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let maildir = Maildir::open(path)?;
        let listing = maildir.list()?;
        let mut items: Vec<_> = listing.iter().map(|entry| Item::new(maildir.message(&entry))).collect();
        items.sort_by_cached_key(|item| {
            let name = item.message.name();
            (item.notes.uid.is_none(), item.notes.uid, name.seconds(), name.octets().to_vec())
        });
        Ok(Self { maildir, items, base: None })
    }
}

impl Item {
    fn new(message: Message) -> Self {
        let mut notes = Notes::default();
        for flag in message.name().flags().iter().filter(|flag| flag.keyword_number().is_none()) {
            notes.marks.insert(Mark::of_maildir(flag.octet()));
        }
        for flag in message.name().flags().iter().filter(|flag| flag.keyword_number().is_some()) {
            notes.marks.insert(Mark::Letter(Flag::octet(flag)));
        }
        if message.directory() == Directory::Cur {
            notes.marks.insert(Mark::Old);
        }
        Self { message, notes }
    }

    /// Opens its file. Others may have renamed it since.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is gone.
    pub fn open(&mut self) -> Result<OpenItem, Failure> {
        let file = self.message.open()?;
        let path = self.message.path();
        let metadata = file.metadata().at("look at", &path)?;
        let modified = metadata.modified().ok().and_then(|time| {
            jiff::Timestamp::try_from(time).ok().map(jiff::Timestamp::as_second)
        });
        Ok(OpenItem { file, path, len: metadata.len(), modified: modified.unwrap_or(0) })
    }
}

/// A message whose file is open.
#[derive(Debug)]
pub struct OpenItem {
    file: File,
    path: PathBuf,
    /// Its octets.
    pub len: u64,
    /// When it was received, in seconds since 1970.
    pub modified: i64,
}

impl Content for OpenItem {
    fn read(&self, sink: Sink<'_>) -> Result<(), Failure> {
        Stored { file: &self.file, path: &self.path, range: 0..self.len }.read(sink)
    }
}
