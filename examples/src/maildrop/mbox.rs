//! An mbox file as a maildrop.
//!
//! It is locked while it is listed, while a message is copied out of it, and while `QUIT` changes it, and never while a client is waited for: other programs
//! deliver and read meanwhile. A program that rewrites it moves the messages; they are found again by what they are.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Cursor, Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_mbox::{Access, Dialect, Edit, Entry, Flag, Followed, Index, Locked, Mbox, Options, Policy, Text};
use sha2::{Digest, Sha256};

use super::{Content, MaildropError, Mark, Message, hash, hex, wire_size};

/// How long one waits for other programs.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);

/// A message of up to so many octets is copied into memory, a larger one into a file without a name.
const IN_MEMORY: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Snapshot {
    file: Arc<Indexed>,
    /// All messages but c-client's internal one.
    pub(super) messages: Vec<Message>,
}

/// A file, and where its messages are.
#[derive(Debug)]
struct Indexed {
    mbox: Mbox,
    dialect: Dialect,
    index: Index,
    /// What another program has made of it since.
    now: Mutex<Option<Arc<Snapshot>>>,
}

/// Where a message is.
#[derive(Clone, Debug)]
pub struct Place {
    file: Arc<Indexed>,
    /// The unique-id, by which it is found if it has been moved.
    id: String,
    /// Where its `From ` line begins.
    at: u64,
    text: Vec<Range<u64>>,
}

/// The lock of a POP3 session: beside the file, as its dotlock is, but nobody else's business.
pub(super) fn session_lock(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".pop3.lock");
    path.with_file_name(name)
}

impl Snapshot {
    /// What the file holds; of what is known only what was appended is read.
    pub(super) fn take(path: &Path, dialect: Dialect, known: Option<Arc<Self>>) -> Result<Arc<Self>, MaildropError> {
        let known = known.filter(|known| known.file.dialect == dialect);
        let mbox = match &known {
            Some(known) => known.file.mbox.clone(),
            None => {
                let mut options = Options::default();
                options.locking.timeout = LOCK_TIMEOUT;
                Mbox::create_with(path, options)?
            }
        };
        let locked = locked(&mbox, Access::Read)?;
        match &known {
            Some(known) if known.file.is_as_it_was(&locked)? => Ok(Arc::clone(known)),
            known => Self::read(mbox, dialect, &locked, known.as_deref()).map(Arc::new),
        }
    }

    fn read(mbox: Mbox, dialect: Dialect, locked: &Locked, known: Option<&Self>) -> Result<Self, MaildropError> {
        let (index, first) = match known {
            None => (Index::read(locked.file(), Policy::default()).map_err(|error| failed(locked, error))?, 0),
            Some(known) => {
                let mut index = known.file.index.clone();
                let first = match index.follow(locked.file()).map_err(|error| failed(locked, error))? {
                    Followed::Grown { first } => first,
                    // Messages that are where others were need not be those.
                    Followed::Unchanged | Followed::Replaced => 0,
                };
                (index, first)
            }
        };
        if index.places().is_empty() && index.end() > 0 {
            return Err(MaildropError::NotMbox(locked.path().to_owned()));
        }
        let from = index.places().get(first).map_or(u64::MAX, postrider_mbox::Place::at);
        let mut snapshot =
            Self { file: Arc::new(Indexed { mbox, dialect, index, now: Mutex::default() }), messages: Vec::new() };
        let kept = known.into_iter().flat_map(|known| &known.messages);
        for (octets, place) in
            kept.filter_map(|kept| Some((kept.octets, place(kept)?))).take_while(|(_, kept)| kept.at < from)
        {
            snapshot.add(octets, place.id.clone(), place.at, place.text.clone());
        }
        snapshot.read_from(locked, first).map_err(|error| failed(locked, error))?;
        Ok(snapshot)
    }

    fn read_from(&mut self, locked: &Locked, first: usize) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        let mut ids: HashSet<_> = self.messages.iter().map(|message| message.id.clone()).collect();
        let mut copies = HashMap::new();
        let mut entries = file.index.entries(locked.file(), first)?;
        let mut number = first;
        while let Some(entry) = entries.next()? {
            number += 1;
            if number == 1 && entry.is_internal() {
                continue;
            }
            let (text, mut digest) = (entry.identity(), Sha256::new());
            digest.update(&entry.line);
            let read = Text::new(locked.file(), text.clone(), file.dialect);
            let octets = wire_size(read, |octets| digest.update(octets))?;
            let mut id = hex(digest.finalize());
            // The same message twice, delivered in the same second: if the first goes, the next is the first.
            if ids.contains(&id) {
                let copy = copies.entry(id.clone()).or_insert(1_u64);
                while ids.contains(&id) {
                    *copy += 1;
                    id = hash(format!("{id} {copy}").as_bytes());
                }
            }
            ids.insert(id.clone());
            self.add(octets, id, entry.at, text);
        }
        Ok(())
    }

    fn add(&mut self, octets: u64, id: String, at: u64, text: Vec<Range<u64>>) {
        let place = Place { file: Arc::clone(&self.file), id: id.clone(), at, text };
        self.messages.push(Message { octets, id, place: super::Place::Mbox(place) });
    }

    pub(super) fn update(&self, marks: impl Iterator<Item = Mark>) -> Result<(), MaildropError> {
        let places = self.messages.iter().filter_map(place).zip(marks);
        let places: Vec<_> = places.filter(|(_, mark)| *mark != Mark::None).collect();
        if places.is_empty() {
            return Ok(());
        }
        let mut marked: HashMap<_, _> =
            places.iter().map(|(place, mark)| (place.at, (*mark, place.text.clone()))).collect();
        let mut locked = locked(&self.file.mbox, Access::Write)?;
        if !self.file.holds(&locked)? {
            let ids: HashMap<_, _> = places.iter().map(|(place, mark)| (place.id.as_str(), *mark)).collect();
            let now = Self::read(self.file.mbox.clone(), self.file.dialect, &locked, None)?;
            let there = now.messages.iter().filter_map(place);
            let marks = there.filter_map(|place| Some((place.at, (*ids.get(place.id.as_str())?, place.text.clone()))));
            marked = marks.collect();
        }
        locked.rewrite(Policy::default(), None, |entry| match marked.get(&entry.at) {
            // What is read as another message now than it was then is left alone.
            Some((mark, text)) if entry.identity() == *text => edit(entry, *mark),
            _ => Edit::Keep,
        })?;
        Ok(())
    }
}

fn edit(entry: &Entry, mark: Mark) -> Edit {
    match mark {
        Mark::Deleted => Edit::Remove,
        Mark::Seen => {
            let mut metadata = entry.metadata.clone();
            metadata.flags = metadata.flags.with(Flag::SEEN).with(Flag::OLD);
            Edit::Set(metadata)
        }
        Mark::None => Edit::Keep,
    }
}

impl Indexed {
    fn holds(&self, locked: &Locked) -> Result<bool, MaildropError> {
        self.index.holds(locked.file()).map_err(|error| failed(locked, error))
    }

    fn is_as_it_was(&self, locked: &Locked) -> Result<bool, MaildropError> {
        let len = locked.file().metadata().map_err(|error| failed(locked, error))?.len();
        Ok(len == self.index.end() && self.holds(locked)?)
    }
}

impl Indexed {
    /// Reads it once for each time that another program has changed it, not for each message.
    fn read_again(&self, locked: &Locked) -> Result<Arc<Snapshot>, MaildropError> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*now
            && known.file.holds(locked)?
        {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(Snapshot::read(self.mbox.clone(), self.dialect, locked, None)?);
        *now = Some(Arc::clone(&read));
        Ok(read)
    }
}

impl Place {
    pub(super) fn path(&self) -> &Path {
        self.file.mbox.path()
    }

    /// Copies the message, so that no slow client keeps the mailbox locked.
    pub(super) fn open(&self) -> Result<Content, MaildropError> {
        let locked = locked(&self.file.mbox, Access::Read)?;
        if self.file.holds(&locked)? {
            return self.copy(&locked).map_err(|error| failed(&locked, error));
        }
        let now = self.file.read_again(&locked)?;
        let moved = now.messages.iter().filter_map(place).find(|place| place.id == self.id);
        moved.ok_or(MaildropError::Gone)?.copy(&locked).map_err(|error| failed(&locked, error))
    }

    fn copy(&self, locked: &Locked) -> io::Result<Content> {
        let len: u64 = self.text.iter().map(|range| range.end - range.start).sum();
        let mut text = Text::new(locked.file(), self.text.clone(), self.file.dialect);
        if len <= IN_MEMORY {
            let mut octets = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
            text.read_to_end(&mut octets)?;
            return Ok(Content::Memory(Cursor::new(octets)));
        }
        let mut file = tempfile::tempfile_in(self.path().parent().unwrap_or(Path::new("/")))?;
        io::copy(&mut text, &mut file)?;
        file.rewind()?;
        Ok(Content::File(file))
    }
}

fn place(message: &Message) -> Option<&Place> {
    match &message.place {
        super::Place::Mbox(place) => Some(place),
        super::Place::Maildir(_) => None,
    }
}

fn locked(mbox: &Mbox, access: Access) -> Result<Locked, MaildropError> {
    mbox.lock(access).map_err(|error| if error.is_locked() { MaildropError::InUse } else { error.into() })
}

fn failed(locked: &Locked, source: io::Error) -> MaildropError {
    MaildropError::Read { path: locked.path().to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildrop::{Format, Maildrop, Snapshots};
    use postrider_pop3_proto::MessageNumber;

    const ONE: &str = "From a@b Thu Jan  1 00:00:00 1970\nSubject: 1\nStatus: O\n\n>From me.\n\n";
    const TWO: &str = "From a@b Thu Jan  1 00:00:01 1970\nSubject: 2\n\nTwo.\n\n";

    fn open(path: &Path, snapshots: &Snapshots) -> Maildrop {
        Maildrop::open(path, Format::Mbox(Dialect::Mboxrd), snapshots).unwrap()
    }

    fn ids(maildrop: &Maildrop) -> Vec<String> {
        maildrop.messages().map(|(_, message)| message.id.clone()).collect()
    }

    fn number(number: usize) -> MessageNumber {
        MessageNumber::from_index(number).unwrap()
    }

    fn content(maildrop: &Maildrop, index: usize) -> Result<String, MaildropError> {
        let mut content = String::new();
        let mut open = maildrop.message(number(index)).unwrap().place().open()?;
        open.read_to_string(&mut content).unwrap();
        Ok(content)
    }

    #[test]
    fn messages_come_without_marks_and_keep_their_ids() {
        let (scratch, snapshots) = (tempfile::tempdir().unwrap(), Snapshots::default());
        let path = scratch.path().join("mbox");
        std::fs::write(&path, [ONE, TWO, TWO].concat()).unwrap();
        let mut maildrop = open(&path, &snapshots);
        assert_eq!(content(&maildrop, 0).unwrap(), "Subject: 1\n\nFrom me.\n");
        assert_eq!(maildrop.message(number(0)).unwrap().octets, 24);
        let before = ids(&maildrop);
        assert_eq!(before.iter().collect::<HashSet<_>>().len(), 3);
        assert!(matches!(Maildrop::open(&path, Format::Mbox(Dialect::Mboxrd), &snapshots), Err(MaildropError::InUse)));
        maildrop.retrieved(number(0));
        maildrop.delete(number(1)).unwrap();
        maildrop.update().unwrap();
        let file = std::fs::read_to_string(&path).unwrap();
        assert!(file.contains("Status: RO\n") && file.matches("Two.").count() == 1, "{file}");
        // The one that is left of two of a kind is now the first of them.
        assert_eq!(ids(&open(&path, &snapshots)), before[..2]);
        assert_eq!(ids(&open(&path, &Snapshots::default())), before[..2]);
    }

    #[test]
    fn what_other_programs_do_meanwhile_is_noticed() {
        let (scratch, snapshots) = (tempfile::tempdir().unwrap(), Snapshots::default());
        let path = scratch.path().join("mbox");
        std::fs::write(&path, [ONE, TWO].concat()).unwrap();
        let mut maildrop = open(&path, &snapshots);
        let before = ids(&maildrop);
        // One is delivered, and the first removed.
        std::fs::write(&path, [TWO, &TWO.replace("Two", "Three")].concat()).unwrap();
        assert!(matches!(content(&maildrop, 0), Err(error) if error.is_gone()));
        assert_eq!(content(&maildrop, 1).unwrap(), "Subject: 2\n\nTwo.\n");
        maildrop.delete(number(0)).unwrap();
        maildrop.delete(number(1)).unwrap();
        maildrop.update().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), TWO.replace("Two", "Three"));
        let now = open(&path, &snapshots);
        assert!(now.len() == 1 && !before.contains(&ids(&now)[0]));
    }

    #[test]
    fn a_large_message_is_whole_and_what_is_no_mailbox_is_none() {
        let (scratch, snapshots) = (tempfile::tempdir().unwrap(), Snapshots::default());
        let path = scratch.path().join("mbox");
        let large = format!("Subject: large\n\n{}\n", "x\n".repeat(100_000));
        std::fs::write(&path, format!("From a@b Thu Jan  1 00:00:00 1970\n{large}")).unwrap();
        let maildrop = open(&path, &snapshots);
        assert!(content(&maildrop, 0).unwrap() == large.strip_suffix('\n').unwrap());
        drop(maildrop);
        std::fs::write(&path, "no mailbox\n").unwrap();
        let opened = Maildrop::open(&path, Format::Mbox(Dialect::Mboxrd), &snapshots);
        assert!(matches!(opened, Err(MaildropError::NotMbox(_))));
    }
}
