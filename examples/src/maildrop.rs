//! A Maildir as POP3 sees it: a snapshot of numbered messages, and marks that mean nothing before `QUIT`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use postrider_maildir::{Entry, Error, Flag, Maildir, Name, Stamp};
use postrider_pop3_proto::{MessageNumber, Response, UniqueId, WireSize};
use sha2::{Digest, Sha256};
use tracing::warn;

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
    Maildir(#[from] Error),
    /// Some messages are still there.
    #[error("{failed} messages were not removed, the last because: {last}")]
    NotRemoved {
        /// How many.
        failed: usize,
        /// Why the last of them was not.
        last: Error,
    },
}

impl MaildropError {
    fn is_missing(&self) -> bool {
        let kind = match self {
            Self::Lock { source, .. } => Some(source.kind()),
            Self::Maildir(error) => error.io_kind(),
            Self::InUse | Self::NotRemoved { .. } => None,
        };
        kind == Some(io::ErrorKind::NotFound)
    }
}

/// What is known of a message.
#[derive(Debug)]
pub struct Message {
    /// Octets that `RETR` sends.
    pub octets: u64,
    /// The unique-id: what stays of the file's name, or a hash of it.
    pub id: String,
    file: postrider_maildir::Message,
}

impl Message {
    /// A handle on its file, which follows when others rename it.
    pub fn file(&self) -> postrider_maildir::Message {
        self.file.clone()
    }
}

#[derive(Debug)]
struct Snapshot {
    maildir: Maildir,
    stamp: Stamp,
    messages: Vec<Message>,
}

/// The last snapshot of each maildrop: a client that polls and finds nothing new costs two `stat`s, and no message's size is determined twice.
#[derive(Debug, Default)]
pub struct Snapshots(Mutex<HashMap<PathBuf, Arc<Snapshot>>>);

/// Snapshots kept before all are forgotten; what is still of use comes back with the next poll.
const KEPT: usize = 10_000;

/// A maildrop that a session has to itself.
#[derive(Debug)]
pub struct Maildrop {
    snapshot: Arc<Snapshot>,
    deleted: Vec<bool>,
    retrieved: Vec<bool>,
    /// Held open: the lock ends with it, however the process ends.
    _lock: File,
}

/// In the Maildir, beside `new` and `cur`.
const LOCK: &str = "postrider-pop3.lock";

impl Maildrop {
    /// Opens the Maildir at `path`, which is made if need be, for this session alone.
    ///
    /// # Errors
    ///
    /// [`MaildropError::InUse`] while another session has it, in this process or another.
    pub fn open(path: &Path, snapshots: &Snapshots) -> Result<Self, MaildropError> {
        match Self::open_as_known(path, snapshots) {
            // Somebody has removed the mailbox since: it is made anew.
            Err(error) if error.is_missing() => {
                snapshots.lock().remove(path);
                Self::open_as_known(path, snapshots)
            }
            settled => settled,
        }
    }

    fn open_as_known(path: &Path, snapshots: &Snapshots) -> Result<Self, MaildropError> {
        let known = snapshots.lock().get(path).cloned();
        let maildir = match &known {
            Some(known) => known.maildir.clone(),
            None => Maildir::open(path).or_else(|_| Maildir::create(path))?,
        };
        let lock = lock(&path.join(LOCK))?;
        let snapshot = match known {
            Some(known) if !maildir.changed_since(&known.stamp)? => known,
            known => snapshots.renew(path, Snapshot::take(maildir, known.as_deref())?),
        };
        let len = snapshot.messages.len();
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
        self.snapshot.messages.get(number.index()).filter(|_| !marked)
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
    /// When messages could not be removed. The others are. One that somebody else has removed is no error.
    pub fn update(self) -> Result<(), MaildropError> {
        let marked = self.snapshot.messages.iter().zip(self.deleted.iter().zip(&self.retrieved));
        let mut deleted = Vec::new();
        for (message, (is_deleted, is_retrieved)) in marked {
            if *is_deleted {
                deleted.push(message.file());
            } else if *is_retrieved {
                mark_as_seen(message.file());
            }
        }
        let removed = self.snapshot.maildir.remove_all(deleted).into_iter();
        let mut failures: Vec<_> = removed.filter_map(Result::err).filter(|error| !error.is_gone()).collect();
        let failed = failures.len();
        failures.pop().map_or(Ok(()), |last| Err(MaildropError::NotRemoved { failed, last }))
    }
}

/// Only a courtesy to other programs: RETR has kept its promise already. Where one of them has renamed the message, it has marked it as it likes.
fn mark_as_seen(mut file: postrider_maildir::Message) {
    if !file.name().flags().contains(Flag::SEEN) && file.path().symlink_metadata().is_ok() {
        let _ = file.add_flags(Flag::SEEN.into());
    }
}

fn lock(path: &Path) -> Result<File, MaildropError> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let failed = |source| MaildropError::Lock { path: path.to_owned(), source };
    let file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(MaildropError::InUse),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

impl Snapshots {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Arc<Snapshot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew(&self, path: &Path, snapshot: Snapshot) -> Arc<Snapshot> {
        let snapshot = Arc::new(snapshot);
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(path.to_owned(), Arc::clone(&snapshot));
        snapshot
    }
}

impl Snapshot {
    /// Lists a Maildir, oldest message first. Sizes are taken from `before` where it has them.
    fn take(maildir: Maildir, before: Option<&Self>) -> Result<Self, Error> {
        let listing = maildir.list()?;
        let mut entries: Vec<_> = listing.iter().collect();
        entries.sort_by(|a, b| order(a).cmp(&order(b)));
        let before = before.iter().flat_map(|before| &before.messages);
        let sizes: HashMap<_, _> = before.map(|message| (message.file.name().base(), message.octets)).collect();
        let (mut messages, mut ids) = (Vec::with_capacity(entries.len()), HashSet::new());
        for entry in &entries {
            let mut file = maildir.message(entry);
            let octets = match sizes.get(entry.name().base()) {
                Some(octets) => *octets,
                None => match wire_size(&mut file) {
                    Ok(octets) => octets,
                    // Removed since, or a directory or a FIFO in the place of a message: nothing to offer.
                    Err(error) if error.is_gone() || matches!(error, Error::NotRegular { .. }) => continue,
                    Err(error) if error.is_shortage() => return Err(error),
                    // One that cannot be read must not keep its owner from the others.
                    Err(error) => {
                        warn!(%error, "message left out");
                        continue;
                    }
                },
            };
            let mut id = unique_id(entry.name().unique());
            if !ids.insert(id.clone()) {
                id = hash(entry.name().base());
                ids.insert(id.clone());
            }
            messages.push(Message { octets, id, file });
        }
        let stamp = listing.stamp();
        Ok(Self { maildir, stamp, messages })
    }
}

fn order<'e>(entry: &'e Entry<'_>) -> (u64, &'e [u8]) {
    (entry.name().seconds().unwrap_or(0), entry.name().base())
}

fn unique_id(unique: &[u8]) -> String {
    match UniqueId::new(unique) {
        Ok(id) => id.to_string(),
        Err(_) => hash(unique),
    }
}

fn hash(octets: &[u8]) -> String {
    Sha256::digest(octets).iter().fold(String::with_capacity(64), |mut hex, octet| {
        let _ = write!(hex, "{octet:02x}");
        hex
    })
}

/// Octets that `RETR` will send. A name's `,W=` is believed where its `,S=` is the size of the file; only the last octet is read then.
fn wire_size(message: &mut postrider_maildir::Message) -> Result<u64, Error> {
    let mut file = message.open()?;
    let path = message.path();
    let failed = |source| Error::Io { operation: postrider_maildir::Operation::Read, path: path.clone(), source };
    let len = file.metadata().map_err(failed)?.len();
    match stated(message.name(), len) {
        Some(0) => Ok(0),
        Some(octets) => {
            let mut last = [0];
            file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(failed)?;
            Ok(if last == *b"\n" { octets } else { octets + 2 })
        }
        None => count(file).map_err(failed),
    }
}

fn stated(name: &Name<'_>, len: u64) -> Option<u64> {
    let crlf_size = name.crlf_size()?;
    (name.size() == Some(len) && crlf_size >= len && crlf_size <= len.saturating_mul(2)).then_some(crlf_size)
}

fn count(mut file: File) -> io::Result<u64> {
    let (mut size, mut buffer) = (WireSize::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(size.finish()),
            read => size.add(buffer.get(..read).unwrap_or_default()),
        }
    }
}
