//! The messages of a Maildir in the order in which they came.

use std::fs::File;
use std::path::{Path, PathBuf};

use postrider_maildir::{Directory, Entry, Error, Keywords, Maildir, Message, Name, UidList};

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
        let (listing, keywords) = (maildir.list()?, maildir.keywords()?);
        let uids = match uids(&maildir) {
            // Nobody can go by it; whoever comes next begins a new one.
            Err(Error::UidList { .. }) => None,
            uids => uids?,
        };
        let item = |entry: Entry<'_>| {
            let mut item = Item::new(maildir.message(&entry), &keywords);
            let uid = uids.as_ref().and_then(|uids| uids.find(entry.name().base()));
            item.notes.uid = uid.map(|entry| entry.uid());
            item
        };
        let mut items: Vec<_> = listing.iter().map(item).collect();
        items.sort_by_cached_key(|item| (item.notes.uid.is_none(), item.notes.uid, age(item.message.name())));
        let base = uids.filter(|_| items.iter().any(|item| item.notes.uid.is_some())).map(|uids| Base {
            uid_validity: uids.uid_validity(),
            uid_last: uids.next_uid().saturating_sub(1),
            keywords: items.iter().flat_map(|item| item.notes.words().map(<[u8]>::to_vec)).collect(),
        });
        Ok(Self { maildir, items, base })
    }
}

/// Dovecot's list of UIDs, or Courier's.
fn uids(maildir: &Maildir) -> Result<Option<UidList>, Error> {
    match maildir.uid_list()? {
        None => maildir.courier_uid_list(),
        found => Ok(found),
    }
}

/// Sorts names by when they were made: seconds, microseconds and number as most programs write them, and the octets.
fn age(name: &Name<'_>) -> (Option<u64>, u64, u64, Vec<u8>) {
    let unique = name.unique();
    let id = unique.split(|octet| *octet == b'.').nth(1).unwrap_or_default();
    let number = |letter: u8| {
        let at = id.iter().position(|octet| *octet == letter)?;
        let digits = id.get(at + 1..)?.iter().take_while(|octet| octet.is_ascii_digit()).take(18);
        Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    };
    (name.seconds(), number(b'M').unwrap_or(0), number(b'Q').unwrap_or(0), name.octets().to_vec())
}

impl Item {
    fn new(message: Message, keywords: &Keywords) -> Self {
        let mut notes = Notes::default();
        for flag in message.name().flags().iter() {
            match keywords.name(flag) {
                Some(name) => notes.keyword(name),
                None => _ = notes.marks.insert(Mark::of_maildir(flag.octet())),
            }
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
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| jiff::Timestamp::try_from(time).ok().map(jiff::Timestamp::as_second));
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
