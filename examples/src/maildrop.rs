//! A mailbox as POP3 sees it: a snapshot of numbered messages, and marks that mean nothing before `QUIT`.

mod maildir;
mod mbox;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Cursor, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postrider_mbox::Dialect;
use postrider_pop3_proto::{MessageNumber, Response, WireSize};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

/// Why a maildrop cannot be opened, or not all of it be changed.
#[derive(Debug, thiserror::Error)]
pub enum MaildropError {
    /// Another session has it.
    #[error("another session has the maildrop")]
    InUse,
    /// The lock file cannot be used.
    #[error("cannot lock {path:?}: {source}")]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The Maildir cannot be read or changed.
    #[error(transparent)]
    Maildir(#[from] postrider_maildir::Error),
    /// The mbox file cannot be locked, read or changed.
    #[error(transparent)]
    Mbox(#[from] postrider_mbox::Error),
    /// The mbox file is no mailbox: nothing in it is a message.
    #[error("{0:?} is no mbox file")]
    NotMbox(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another program has removed the message.
    #[error("another program has removed the message")]
    Gone,
    /// Some messages are still there.
    #[error("{failed} messages were not removed, the last because: {last}")]
    NotRemoved {
        /// How many.
        failed: usize,
        /// Why the last of them was not.
        last: postrider_maildir::Error,
    },
}

impl MaildropError {
    fn is_missing(&self) -> bool {
        let kind = match self {
            Self::Lock { source, .. } | Self::Read { source, .. } => Some(source.kind()),
            Self::Maildir(error) => error.io_kind(),
            Self::Mbox(error) => error.io_kind(),
            Self::Gone | Self::InUse | Self::NotMbox(_) | Self::NotRemoved { .. } => None,
        };
        kind == Some(io::ErrorKind::NotFound)
    }

    /// Whether there is no such message any more.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Gone => true,
            Self::Maildir(error) => error.is_gone(),
            _ => false,
        }
    }
}

/// How a site's mail is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// A Maildir for each user.
    Maildir,
    /// An mbox file for each user, in this dialect.
    Mbox(Dialect),
}

/// What is known of a message.
#[derive(Debug)]
pub struct Message {
    /// Octets that `RETR` sends.
    pub octets: u64,
    /// The unique-id.
    pub id: String,
    place: Place,
}

/// Where a message is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file of its own, which is followed when others rename it.
    Maildir(postrider_maildir::Message),
    /// A part of an mbox file.
    Mbox(mbox::Place),
}

/// The octets of a message.
#[derive(Debug)]
pub enum Content {
    /// In a file, from its beginning.
    File(File),
    /// In memory.
    Memory(Cursor<Vec<u8>>),
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Memory(memory) => memory.read(buffer),
        }
    }
}

impl Message {
    /// Where it is, to be [opened](Place::open) elsewhere.
    pub fn place(&self) -> Place {
        self.place.clone()
    }
}

impl Place {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is gone.
    pub fn open(&mut self) -> Result<Content, MaildropError> {
        match self {
            Self::Maildir(message) => Ok(Content::File(message.open()?)),
            Self::Mbox(place) => place.open(),
        }
    }

    /// The file that it is in.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Maildir(message) => message.path(),
            Self::Mbox(place) => place.path().to_owned(),
        }
    }
}

/// What a maildrop holds.
#[derive(Clone, Debug)]
enum Snapshot {
    Maildir(Arc<maildir::Snapshot>),
    Mbox(Arc<mbox::Snapshot>),
}

impl Snapshot {
    fn messages(&self) -> &[Message] {
        match self {
            Self::Maildir(snapshot) => &snapshot.messages,
            Self::Mbox(snapshot) => &snapshot.messages,
        }
    }
}

/// The last snapshot of each maildrop: a client that polls and finds nothing new costs two `stat`s or three, and no message's size is determined twice.
#[derive(Debug, Default)]
pub struct Snapshots(Mutex<HashMap<PathBuf, Snapshot>>);

/// Snapshots kept before all are forgotten; what is still of use comes back with the next poll.
const KEPT: usize = 10_000;

/// A maildrop that a session has to itself.
#[derive(Debug)]
pub struct Maildrop {
    snapshot: Snapshot,
    deleted: Vec<bool>,
    retrieved: Vec<bool>,
    /// Held open: the lock ends with it, however the process ends.
    _lock: File,
}

/// In a Maildir, beside `new` and `cur`.
const LOCK: &str = "postrider-pop3.lock";

impl Maildrop {
    /// Opens the mailbox at `path`, which is made if need be, for this session alone.
    ///
    /// # Errors
    ///
    /// [`MaildropError::InUse`] while another session has it, in this process or another, and while another program has an mbox file locked.
    pub fn open(path: &Path, format: Format, snapshots: &Snapshots) -> Result<Self, MaildropError> {
        match Self::open_as_known(path, format, snapshots) {
            // Somebody has removed the mailbox since: it is made anew.
            Err(error) if error.is_missing() => {
                snapshots.lock().remove(path);
                Self::open_as_known(path, format, snapshots)
            }
            settled => settled,
        }
    }

    fn open_as_known(path: &Path, format: Format, snapshots: &Snapshots) -> Result<Self, MaildropError> {
        let known = snapshots.lock().get(path).cloned();
        let (snapshot, lock) = match format {
            Format::Maildir => {
                let known =
                    known.and_then(|known| if let Snapshot::Maildir(known) = known { Some(known) } else { None });
                let maildir = maildir::open(path, known.as_deref())?;
                let lock = lock(&path.join(LOCK))?;
                (Snapshot::Maildir(maildir::Snapshot::take(maildir, known)?), lock)
            }
            Format::Mbox(dialect) => {
                let known = known.and_then(|known| if let Snapshot::Mbox(known) = known { Some(known) } else { None });
                let lock = lock(&mbox::session_lock(path))?;
                (Snapshot::Mbox(mbox::Snapshot::take(path, dialect, known)?), lock)
            }
        };
        snapshots.keep(path, &snapshot);
        let len = snapshot.messages().len();
        Ok(Self { snapshot, deleted: vec![false; len], retrieved: vec![false; len], _lock: lock })
    }

    /// How many messages the session began with.
    pub fn len(&self) -> usize {
        self.deleted.len()
    }

    /// Whether the session began with none.
    pub fn is_empty(&self) -> bool {
        self.deleted.is_empty()
    }

    /// A message that is not marked as deleted.
    pub fn message(&self, number: MessageNumber) -> Option<&Message> {
        let marked = *self.deleted.get(number.index())?;
        self.snapshot.messages().get(number.index()).filter(|_| !marked)
    }

    /// The messages that are not marked as deleted, with their numbers.
    pub fn messages(&self) -> impl Iterator<Item = (MessageNumber, &Message)> {
        let numbers = (0..self.len()).filter_map(MessageNumber::from_index);
        numbers.filter_map(|number| Some((number, self.message(number)?)))
    }

    /// What `STAT` answers.
    pub fn drop_listing(&self) -> Response<'static> {
        let (messages, octets) =
            self.messages().fold((0, 0), |(count, octets), (_, message)| (count + 1, octets + message.octets));
        Response::DropListing { messages, octets }
    }

    /// Marks a message as deleted.
    pub fn delete(&mut self, number: MessageNumber) -> Option<()> {
        self.message(number)?;
        *self.deleted.get_mut(number.index())? = true;
        Some(())
    }

    /// Notes that a message was sent whole.
    pub fn retrieved(&mut self, number: MessageNumber) {
        if let Some(retrieved) = self.retrieved.get_mut(number.index()) {
            *retrieved = true;
        }
    }

    /// Takes the marks back.
    pub fn reset(&mut self) {
        self.deleted.fill(false);
    }

    /// What `QUIT` means: removes the marked messages, and marks as seen what was sent and stays.
    ///
    /// # Errors
    ///
    /// When messages could not be removed. Of a Maildir the others are; of an mbox file none is. One that somebody else has removed is no error.
    pub fn update(self) -> Result<(), MaildropError> {
        let marks = self.deleted.iter().zip(&self.retrieved).map(|(deleted, retrieved)| match (deleted, retrieved) {
            (true, _) => Mark::Deleted,
            (false, true) => Mark::Seen,
            (false, false) => Mark::None,
        });
        match &self.snapshot {
            Snapshot::Maildir(snapshot) => snapshot.update(marks),
            Snapshot::Mbox(snapshot) => snapshot.update(marks),
        }
    }
}

/// What becomes of a message at the end of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mark {
    None,
    Seen,
    Deleted,
}

fn lock(path: &Path) -> Result<File, MaildropError> {
    // In a directory where others may make files: neither through a link of theirs nor waiting at their FIFO.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).custom_flags(flags).open(path);
    let failed = |source| MaildropError::Lock { path: path.to_owned(), source };
    let file = opened.map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, "it is another's file")));
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(MaildropError::InUse),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

impl Snapshots {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Snapshot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, path: &Path, snapshot: &Snapshot) {
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(path.to_owned(), snapshot.clone());
    }
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, octet| {
        let _ = write!(hex, "{octet:02x}");
        hex
    })
}

fn hash(octets: &[u8]) -> String {
    hex(Sha256::digest(octets))
}

/// Octets that `RETR` will send of what is read, of which `look` is shown each piece.
fn wire_size(mut source: impl Read, mut look: impl FnMut(&[u8])) -> io::Result<u64> {
    let (mut size, mut buffer) = (WireSize::new(), vec![0; 64 * 1024]);
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(size.finish()),
            read => {
                let piece = buffer.get(..read).unwrap_or_default();
                look(piece);
                size.add(piece);
            }
        }
    }
}
