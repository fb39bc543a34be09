//! Messages into mbox files: those that wait for the same file go there under one lock and with one sync.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use postrider_mbox::{Access, Dialect, Envelope, Error, Mbox, Options, Section};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::delivery::DeliveryError;

/// How long one waits for other programs: long enough to find out that a dotlock was left behind, which takes 2 minutes, and less than the 10 minutes that
/// a client waits for the answer to its message.
const LOCK_TIMEOUT: Duration = Duration::from_secs(150);

/// How many messages share a lock at the most: other programs want the file too.
const BATCH: usize = 128;

/// A message that is complete.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Memory(Arc<Vec<u8>>),
    /// In a file without a name.
    File(Arc<File>),
}

/// Reads it from the start.
enum Reading<'c> {
    Memory(&'c [u8]),
    File(Section<'c>),
    Failed(Option<io::Error>),
}

impl Content {
    fn read(&self) -> Reading<'_> {
        match self {
            Self::Memory(octets) => Reading::Memory(octets),
            Self::File(file) => match Section::new(file, 0, None) {
                Ok(section) => Reading::File(section),
                Err(error) => Reading::Failed(Some(error)),
            },
        }
    }
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(octets) => octets.read(buffer),
            Self::File(section) => section.read(buffer),
            Self::Failed(error) => Err(error.take().unwrap_or_else(|| io::ErrorKind::Other.into())),
        }
    }
}

type Outcome = Result<(), DeliveryError>;

#[derive(Debug)]
struct Waiting {
    envelope: Envelope,
    content: Content,
    done: oneshot::Sender<Outcome>,
}

/// What waits for each mailbox. There is an entry for those on which a thread works.
#[derive(Debug)]
pub struct Queue {
    dialect: Dialect,
    waiting: Mutex<HashMap<PathBuf, Vec<Waiting>>>,
}

impl Queue {
    /// An empty queue for messages that are stored in this dialect.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, waiting: Mutex::default() }
    }

    /// Puts a message at the end of a mailbox, which is made if need be. It is on stable storage when the outcome says so.
    pub fn deliver(self: &Arc<Self>, path: PathBuf, sender: &str, content: Content) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        let waiting = Waiting { envelope: Envelope::new(sender, SystemTime::now()), content, done };
        let mut all = self.lock();
        if let Some(others) = all.get_mut(&path) {
            others.push(waiting);
        } else {
            all.insert(path.clone(), vec![waiting]);
            let work = Work { queue: Arc::clone(self), path };
            spawn_blocking(move || while work.next_batch() {});
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Vec<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread does for one mailbox. Who waits there when it ends, as by a defect, learns that nothing was done.
struct Work {
    queue: Arc<Queue>,
    path: PathBuf,
}

impl Work {
    /// `false`: nothing waits any more, and the next message begins anew.
    fn next_batch(&self) -> bool {
        let batch: Vec<_> = {
            let mut all = self.queue.lock();
            let Some(waiting) = all.get_mut(&self.path).filter(|waiting| !waiting.is_empty()) else {
                all.remove(&self.path);
                return false;
            };
            waiting.drain(..waiting.len().min(BATCH)).collect()
        };
        let outcome = append(&self.path, self.queue.dialect, &batch).map_err(|error| failure(&error));
        for waiting in batch {
            // The session may be gone; what is delivered stays delivered.
            let _ = waiting.done.send(outcome.clone());
        }
        true
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Otherwise nothing waits, or somebody else works there already.
        if std::thread::panicking() {
            self.queue.lock().remove(&self.path);
        }
    }
}

/// All of them or none.
fn append(path: &Path, dialect: Dialect, batch: &[Waiting]) -> Result<(), Error> {
    let mut options = Options::default();
    options.locking.timeout = LOCK_TIMEOUT;
    let mut locked = Mbox::create_with(path, options)?.lock(Access::Write)?;
    let messages = batch.iter().map(|waiting| (&waiting.envelope, waiting.content.read()));
    locked.append_all(dialect, messages).map(drop)
}

fn failure(error: &Error) -> DeliveryError {
    if error.is_out_of_space() {
        DeliveryError::Full(error.to_string())
    } else {
        DeliveryError::Failed(error.to_string())
    }
}
