//! Local delivery: a message comes in piece by piece, and is acknowledged when it lies in every mailbox for good.
//!
//! Of Maildirs: one thread does what waits for the disk. It takes all messages that are ready, writes them, and moves those of the round before to
//! their mailboxes; then one sync serves both, and the round before is acknowledged. So the disk is never idle under load, each sync
//! serves many messages, and a message that comes alone waits for two syncs and no more. For mbox files, which other programs may have locked, see
//! [`mbox_queue`](crate::mbox_queue).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use postrider_maildir::{Delivered, Delivery, Error, Maildir, Prepared, advance};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::maildrop::Format;
use crate::mbox_queue::{Content, Queue};
use crate::space::Space;

/// A message up to this size waits in memory until it is complete; a larger one goes to the disk as it comes.
const IN_MEMORY: usize = 64 * 1024;

/// How many messages share a sync at the most: more would make the first wait longer than it gains.
const BATCH: usize = 128;

/// Why a message is not in a mailbox.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The disk or the user's share of it is full. It may be tried again.
    #[error("no space: {0}")]
    Full(String),
    /// Anything else. It may be tried again.
    #[error("{0}")]
    Failed(String),
}

impl From<&Error> for DeliveryError {
    fn from(error: &Error) -> Self {
        if error.is_out_of_space() { Self::Full(error.to_string()) } else { Self::Failed(error.to_string()) }
    }
}

impl From<Error> for DeliveryError {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

/// A failed write to a [`Delivery`].
impl From<io::Error> for DeliveryError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// What became of a message, for each mailbox in order.
pub type Outcomes = Vec<Result<(), DeliveryError>>;

/// Puts messages into mailboxes.
#[derive(Clone, Debug)]
pub struct Deliverer {
    jobs: Sender<Job>,
    maildirs: Arc<Mutex<HashMap<PathBuf, Maildir>>>,
    /// Mailboxes are mbox files.
    mbox: Option<Arc<Queue>>,
    space: Option<Arc<Space>>,
}

/// A message while it comes in. Dropped, nothing remains of it.
#[derive(Debug)]
pub struct Incoming {
    state: State,
    mailboxes: Vec<PathBuf>,
    sender: String,
    deliverer: Deliverer,
}

#[derive(Debug)]
enum State {
    Memory(Vec<u8>),
    Disk {
        delivery: Delivery,
        buffer: Vec<u8>,
        base: usize,
    },
    /// In a file without a name, for an mbox file.
    Spool {
        file: File,
        buffer: Vec<u8>,
    },
    Failed(DeliveryError),
}

struct Job {
    state: State,
    mailboxes: Vec<PathBuf>,
    done: oneshot::Sender<Outcomes>,
}

impl Deliverer {
    /// Starts the thread. It ends when the last clone is gone.
    ///
    /// # Errors
    ///
    /// When the system has no thread to give.
    pub fn start(format: Format) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let mbox = match format {
            Format::Maildir => None,
            Format::Mbox(dialect) => Some(Arc::new(Queue::new(dialect))),
        };
        let deliverer = Self { jobs, maildirs: Arc::default(), mbox, space: None };
        let maildirs = Arc::clone(&deliverer.maildirs);
        thread::Builder::new().name("delivery".to_owned()).spawn(move || deliver_all(&queue, &maildirs))?;
        Ok(deliverer)
    }

    /// Large messages take no more than this has room for.
    #[must_use]
    pub fn within(self, space: Space) -> Self {
        Self { space: Some(Arc::new(space)), ..self }
    }

    /// Begins a message for these mailboxes, with the octets that go before its content: lines that end in LF. `sender` is SMTP's reverse path without
    /// `<>`.
    pub fn begin(&self, mailboxes: Vec<PathBuf>, sender: String, trace: Vec<u8>) -> Incoming {
        Incoming { state: State::Memory(trace), mailboxes, sender, deliverer: self.clone() }
    }
}

impl Incoming {
    /// Takes a piece of the content as it was on the wire. CRLF is stored as LF. No CRLF is parted between two pieces.
    ///
    /// A failure to store it is told by [`deliver`](Self::deliver), once the content is complete.
    pub async fn push(&mut self, content: &[u8]) {
        let Some(buffer) = self.buffer() else { return };
        store_lines(content, buffer);
        if buffer.len() >= IN_MEMORY {
            self.move_to_disk().await;
        }
    }

    /// Nothing more comes for a while: frees the memory in which nothing stands. What stands there is less than is worth a write, for which many
    /// messages that pause at once would want as many threads.
    pub fn paused(&mut self) {
        self.buffer().into_iter().for_each(Vec::shrink_to_fit);
    }

    /// What is not on the disk yet.
    fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.state {
            State::Memory(buffer) | State::Disk { buffer, .. } | State::Spool { buffer, .. } => Some(buffer),
            State::Failed(_) => None,
        }
    }

    /// Writes what is in memory to the file, which begins to exist with the first such call.
    async fn move_to_disk(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Memory(Vec::new()));
        let (mailboxes, maildirs) = (self.mailboxes.clone(), Arc::clone(&self.deliverer.maildirs));
        let (space, mbox) = (self.deliverer.space.clone(), self.deliverer.mbox.is_some());
        let written = spawn_blocking(move || match &state {
            State::Memory(buffer) | State::Disk { buffer, .. } | State::Spool { buffer, .. }
                if space.as_ref().is_some_and(|space| !space.has_room_for(buffer.len() as u64)) =>
            {
                State::Failed(DeliveryError::Full("the rest of the disk is not for mail".to_owned()))
            }
            _ if mbox => spooled(state, &mailboxes),
            _ => written(state, &mailboxes, &maildirs),
        })
        .await;
        self.state = written.unwrap_or_else(|_| State::Failed(DeliveryError::Failed("delivery panicked".to_owned())));
    }

    /// Delivers the message. When a mailbox's outcome is `Ok`, the message is there and stays there if the power goes now.
    pub async fn deliver(self) -> Outcomes {
        if let Some(queue) = self.deliverer.mbox.clone() {
            return self.deliver_to_files(&queue).await;
        }
        let count = self.mailboxes.len();
        let (done, outcomes) = oneshot::channel();
        let job = Job { state: self.state, mailboxes: self.mailboxes, done };
        let lost = || vec![Err(DeliveryError::Failed("no delivery thread".to_owned())); count];
        match self.deliverer.jobs.send(job) {
            Ok(()) => outcomes.await.unwrap_or_else(|_| lost()),
            Err(_) => lost(),
        }
    }
}

impl Incoming {
    async fn deliver_to_files(mut self, queue: &Arc<Queue>) -> Outcomes {
        if let State::Spool { .. } = self.state {
            self.move_to_disk().await;
        }
        let content = match self.state {
            State::Memory(octets) => Content::Memory(Arc::new(octets)),
            State::Spool { file, .. } => Content::File(Arc::new(file)),
            State::Failed(error) => return vec![Err(error); self.mailboxes.len()],
            State::Disk { .. } => return vec![Err(not_written()); self.mailboxes.len()],
        };
        let deliver = |path| queue.deliver(path, &self.sender, content.clone());
        let waiting: Vec<_> = self.mailboxes.into_iter().map(deliver).collect();
        let mut outcomes = Vec::with_capacity(waiting.len());
        for outcome in waiting {
            outcomes.push(outcome.await.unwrap_or_else(|_| Err(DeliveryError::Failed("delivery panicked".to_owned()))));
        }
        outcomes
    }
}

/// `state` with everything it holds in a file without a name, on the disk of the first mailbox.
fn spooled(state: State, mailboxes: &[PathBuf]) -> State {
    let begun = match state {
        State::Failed(error) => return State::Failed(error),
        State::Spool { file, buffer } => Ok((file, buffer)),
        State::Memory(buffer) => {
            let folder = mailboxes.first().and_then(|path| path.parent()).unwrap_or(Path::new("/"));
            tempfile::tempfile_in(folder).map(|file| (file, buffer))
        }
        State::Disk { .. } => return State::Failed(not_written()),
    };
    let written = begun.and_then(|(mut file, mut buffer)| {
        file.write_all(&buffer)?;
        buffer.clear();
        Ok(State::Spool { file, buffer })
    });
    written.unwrap_or_else(|error| State::Failed(error.into()))
}

fn not_written() -> DeliveryError {
    DeliveryError::Failed("not written".to_owned())
}

/// Appends `content` with each CRLF as LF.
fn store_lines(content: &[u8], into: &mut Vec<u8>) {
    let mut rest = content;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at(at);
        into.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        into.push(b'\n');
        rest = &after[1..];
    }
    into.extend_from_slice(rest);
}

type Maildirs = Mutex<HashMap<PathBuf, Maildir>>;

/// A handle on a mailbox, which is made if need be.
fn maildir(path: &Path, maildirs: &Maildirs) -> Result<Maildir, Error> {
    let mut known = maildirs.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(maildir) = known.get(path) {
        return Ok(maildir.clone());
    }
    let maildir = Maildir::open(path).or_else(|_| Maildir::create(path))?;
    known.insert(path.to_owned(), maildir.clone());
    Ok(maildir)
}

/// A file in the first mailbox that can take one.
fn begin(mailboxes: &[PathBuf], maildirs: &Maildirs) -> Result<(Delivery, usize), DeliveryError> {
    let mut last = DeliveryError::Failed("no mailbox".to_owned());
    for (base, path) in mailboxes.iter().enumerate() {
        let begun = maildir(path, maildirs).and_then(|maildir| maildir.delivery()).or_else(|_| {
            forget(path, maildirs);
            maildir(path, maildirs)?.delivery()
        });
        match begun {
            Ok(delivery) => return Ok((delivery, base)),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Somebody may have removed the mailbox since it was opened: it is then made anew.
fn forget(path: &Path, maildirs: &Maildirs) {
    maildirs.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
}

/// `state` with everything it holds in its file.
fn written(state: State, mailboxes: &[PathBuf], maildirs: &Maildirs) -> State {
    let begun = match state {
        State::Failed(error) => return State::Failed(error),
        State::Disk { delivery, buffer, base } => Ok((delivery, buffer, base)),
        State::Memory(buffer) => begin(mailboxes, maildirs).map(|(delivery, base)| (delivery, buffer, base)),
        State::Spool { .. } => Err(not_written()),
    };
    let result = begun.and_then(|(mut delivery, mut buffer, base)| {
        delivery.write_all(&buffer)?;
        buffer.clear();
        Ok(State::Disk { delivery, buffer, base })
    });
    result.unwrap_or_else(State::Failed)
}

/// A message that is being delivered.
struct Waiting {
    mailboxes: Vec<PathBuf>,
    outcomes: Outcomes,
    done: oneshot::Sender<Outcomes>,
}

impl Waiting {
    fn new(mailboxes: Vec<PathBuf>, done: oneshot::Sender<Outcomes>) -> Self {
        Self { outcomes: vec![Ok(()); mailboxes.len()], mailboxes, done }
    }

    /// The session may be gone; what is delivered stays delivered, and the client will send it once more.
    fn answer(self) {
        let _ = self.done.send(self.outcomes);
    }
}

/// Messages whose content is on stable storage.
#[derive(Default)]
struct Round {
    prepared: Vec<Prepared>,
    /// For each of them, which message it is and for which of its mailboxes.
    places: Vec<(usize, usize)>,
    waiting: Vec<Waiting>,
}

fn deliver_all(queue: &Receiver<Job>, maildirs: &Maildirs) {
    let mut round = Round::default();
    loop {
        let first = if round.waiting.is_empty() { queue.recv().ok() } else { queue.try_recv().ok() };
        if first.is_none() && round.waiting.is_empty() {
            return;
        }
        let jobs = first.into_iter().chain(queue.try_iter()).take(BATCH);
        let (deliveries, owners) = write_all(jobs, maildirs);
        let advanced = advance(std::mem::take(&mut round.prepared), deliveries);
        round.acknowledge(advanced.delivered, maildirs);
        round = Round::of(advanced.prepared, owners, maildirs);
    }
}

fn write_all(jobs: impl Iterator<Item = Job>, maildirs: &Maildirs) -> (Vec<Delivery>, Vec<(Waiting, usize)>) {
    let (mut deliveries, mut owners) = (Vec::new(), Vec::new());
    for job in jobs {
        let mut waiting = Waiting::new(job.mailboxes, job.done);
        match written(job.state, &waiting.mailboxes, maildirs) {
            State::Disk { delivery, base, .. } => {
                deliveries.push(delivery);
                owners.push((waiting, base));
                continue;
            }
            State::Failed(error) => waiting.outcomes.fill(Err(error)),
            State::Memory(_) | State::Spool { .. } => waiting.outcomes.fill(Err(not_written())),
        }
        waiting.answer();
    }
    (deliveries, owners)
}

impl Round {
    /// Links each message into its other mailboxes.
    fn of(prepared: Vec<Result<Prepared, Error>>, owners: Vec<(Waiting, usize)>, maildirs: &Maildirs) -> Self {
        let mut round = Self::default();
        for (first, (mut waiting, base)) in prepared.into_iter().zip(owners) {
            match first {
                Ok(first) => round.add(first, base, waiting, maildirs),
                Err(error) => {
                    waiting.outcomes.fill(Err(DeliveryError::from(&error)));
                    waiting.answer();
                }
            }
        }
        round
    }

    fn add(&mut self, first: Prepared, base: usize, mut waiting: Waiting, maildirs: &Maildirs) {
        let number = self.waiting.len();
        for (at, path) in waiting.mailboxes.iter().enumerate().filter(|(at, _)| *at != base) {
            match maildir(path, maildirs).and_then(|maildir| first.link_to(&maildir)) {
                Ok(copy) => {
                    self.prepared.push(copy);
                    self.places.push((number, at));
                }
                Err(error) => {
                    forget(path, maildirs);
                    waiting.outcomes[at] = Err(error.into());
                }
            }
        }
        self.prepared.push(first);
        self.places.push((number, base));
        self.waiting.push(waiting);
    }

    fn acknowledge(&mut self, delivered: Vec<Result<Delivered, Error>>, maildirs: &Maildirs) {
        for (receipt, (number, at)) in delivered.into_iter().zip(self.places.drain(..)) {
            if let Err(error) = receipt {
                let waiting = &mut self.waiting[number];
                forget(&waiting.mailboxes[at], maildirs);
                waiting.outcomes[at] = Err(error.into());
            }
        }
        self.waiting.drain(..).for_each(Waiting::answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(maildir: &Path) -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(maildir.join("new")).unwrap();
        files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_message_of_any_size_is_stored_with_lf_in_each_mailbox() {
        let data = tempfile::tempdir().unwrap();
        let mailboxes = vec![data.path().join("a"), data.path().join("b")];
        let deliverer = Deliverer::start(Format::Maildir).unwrap();
        for lines in [0, 1, 100_000] {
            let mut incoming = deliverer.begin(mailboxes.clone(), String::new(), b"Return-Path: <>\n".to_vec());
            for _ in 0..lines {
                incoming.push(b"a line\r\n").await;
            }
            incoming.push(b"the last").await;
            assert!(incoming.deliver().await.iter().all(Result::is_ok));
            let expected = format!("Return-Path: <>\n{}the last", "a line\n".repeat(lines)).into_bytes();
            assert!(mailboxes.iter().all(|mailbox| contents(mailbox).contains(&expected)), "{lines} lines");
        }
    }

    #[tokio::test]
    async fn a_mailbox_that_cannot_be_written_fails_alone() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("file"), "").unwrap();
        let mailboxes = vec![data.path().join("file/box"), data.path().join("a")];
        let mut incoming =
            Deliverer::start(Format::Maildir).unwrap().begin(mailboxes.clone(), String::new(), Vec::new());
        incoming.push(b"text\r\n").await;
        let outcomes = incoming.deliver().await;
        assert!(outcomes[0].is_err() && outcomes[1].is_ok(), "{outcomes:?}");
        assert_eq!(contents(&mailboxes[1]), [b"text\n"]);
    }

    #[tokio::test]
    async fn a_large_message_stops_where_the_reserve_begins() {
        let data = tempfile::tempdir().unwrap();
        let mailbox = data.path().join("a");
        let full = Space::new(data.path().to_owned(), u64::MAX);
        let mut incoming = Deliverer::start(Format::Maildir).unwrap().within(full).begin(
            vec![mailbox.clone()],
            String::new(),
            Vec::new(),
        );
        incoming.push(&[b'x'; 2 * IN_MEMORY]).await;
        incoming.push(&[b'x'; 2 * IN_MEMORY]).await;
        let outcomes = incoming.deliver().await;
        assert!(matches!(outcomes[..], [Err(DeliveryError::Full(_))]), "{outcomes:?}");
        assert!(!mailbox.exists() || contents(&mailbox).is_empty());
    }

    #[tokio::test]
    async fn a_message_that_pauses_holds_what_it_must_and_loses_nothing() {
        let data = tempfile::tempdir().unwrap();
        let mailbox = data.path().join("a");
        let mut incoming =
            Deliverer::start(Format::Maildir).unwrap().begin(vec![mailbox.clone()], String::new(), Vec::new());
        for size in [100, IN_MEMORY / 2, 3 * IN_MEMORY, IN_MEMORY - 1, 10] {
            incoming.push(&vec![b'x'; size]).await;
            incoming.paused();
            let buffer = incoming.buffer().unwrap();
            assert!(buffer.len() < IN_MEMORY && buffer.capacity() == buffer.len(), "{} held", buffer.capacity());
        }
        assert!(incoming.deliver().await.iter().all(Result::is_ok));
        assert_eq!(contents(&mailbox)[0].len(), 100 + IN_MEMORY / 2 + 4 * IN_MEMORY - 1 + 10);
    }

    #[tokio::test]
    async fn a_message_that_is_dropped_leaves_nothing() {
        let data = tempfile::tempdir().unwrap();
        let mailbox = data.path().join("a");
        let mut incoming =
            Deliverer::start(Format::Maildir).unwrap().begin(vec![mailbox.clone()], String::new(), Vec::new());
        incoming.push(&[b'x'; 2 * IN_MEMORY]).await;
        assert_eq!(std::fs::read_dir(mailbox.join("tmp")).unwrap().count(), 1);
        drop(incoming);
        assert_eq!(std::fs::read_dir(mailbox.join("tmp")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn many_messages_at_once_are_in_each_mbox_file_whole() {
        let data = tempfile::tempdir().unwrap();
        let mailboxes = vec![data.path().join("a"), data.path().join("b")];
        let deliverer = Deliverer::start(Format::Mbox(postrider_mbox::Dialect::Mboxrd)).unwrap();
        let mut waiting = Vec::new();
        for number in 0..300 {
            let mut incoming = deliverer.begin(mailboxes.clone(), "c@d".to_owned(), b"Return-Path: <c@d>\n".to_vec());
            incoming.push(format!("Subject: {number}\r\n\r\nFrom me\r\n").as_bytes()).await;
            if number % 50 == 0 {
                incoming.push(&b"yyyyyyy\r\n".repeat(IN_MEMORY / 4)).await;
            }
            waiting.push(tokio::spawn(incoming.deliver()));
        }
        for outcomes in waiting {
            assert!(outcomes.await.unwrap().iter().all(Result::is_ok));
        }
        for mailbox in mailboxes {
            let file = std::fs::read(mailbox).unwrap();
            let messages: Vec<_> = postrider_mbox::messages(&file, postrider_mbox::Policy::default()).collect();
            assert_eq!(messages.len(), 300);
            assert!(messages.iter().all(|message| message.line.starts_with(b"From c@d ")));
            let large = messages.iter().filter(|message| message.content.len() > 2 * IN_MEMORY).count();
            assert_eq!(large, 6);
        }
        let file = std::fs::File::create(data.path().join("file")).unwrap();
        drop(file);
        let mut incoming = deliverer.begin(vec![data.path().join("file/box")], String::new(), Vec::new());
        incoming.push(b"text\r\n").await;
        assert!(incoming.deliver().await[0].is_err());
    }
}
