use std::fs::{File, FileTimes};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use crate::calls;
use crate::commit::{Delivered, Prepared};
use crate::crlf::CrlfCounter;
use crate::error::{Error, Operation};
use crate::flags::Flags;
use crate::maildir::Maildir;
use crate::unique::with_free_name;

/// What is gathered before a write. A message of common size is one write; a connection that delivers holds this much.
const BUFFER: usize = 16 * 1024;

/// Where a delivered message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Cur(Flags),
    New,
}

impl Destination {
    pub(crate) fn flags(self) -> Flags {
        match self {
            Self::Cur(flags) => flags,
            Self::New => Flags::EMPTY,
        }
    }
}

/// A message on its way into a Maildir: write it, then [`commit`](Self::commit).
///
/// It grows in `tmp/`, where no mail reader looks. Dropped without a commit, it is removed.
///
/// ```
/// use postrider_maildir::Maildir;
/// use std::io::Write;
///
/// # let scratch = tempfile::tempdir()?;
/// # let path = scratch.path().join("Maildir");
/// let maildir = Maildir::create(path)?;
/// let mut delivery = maildir.delivery()?;
/// delivery.write_all(b"Subject: hello\n\nGood morning.\n")?;
/// let delivered = delivery.commit()?; // on stable storage from here on
/// assert_eq!(delivered.name().size(), Some(30));
/// assert_eq!(delivered.name().crlf_size(), Some(33));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a delivery that is dropped without `commit` is removed"]
pub struct Delivery {
    maildir: Maildir,
    destination: Destination,
    unique: Vec<u8>,
    file: File,
    opened: Instant,
    tmp: TmpFile,
    buffer: Vec<u8>,
    size: u64,
    crlf: Option<CrlfCounter>,
    crlf_given: Option<u64>,
    received: Option<SystemTime>,
    failed: bool,
}

impl Maildir {
    /// Begins a delivery into `new/`.
    ///
    /// # Errors
    /// [`Error::Name`] if the name would become longer than 255 octets; [`Error::Io`] if the file in `tmp/` cannot be
    /// created.
    pub fn delivery(&self) -> Result<Delivery, Error> {
        Delivery::begin(self, Destination::New)
    }

    /// Begins a delivery straight into `cur/`, with flags: what a mail reader does that stores a message (IMAP's APPEND).
    ///
    /// # Errors
    /// As [`delivery`](Self::delivery).
    pub fn delivery_into_cur(&self, flags: Flags) -> Result<Delivery, Error> {
        Delivery::begin(self, Destination::Cur(flags))
    }
}

impl Delivery {
    pub(crate) fn begin(maildir: &Maildir, destination: Destination) -> Result<Self, Error> {
        let mode = maildir.options().file_mode;
        // Before the file is: what fails after this is known to it.
        let opened = Instant::now();
        let (unique, file, tmp) = with_free_name(maildir, maildir.tmp(), destination.flags(), |unique, path| {
            let file = calls::create(&path, mode)?;
            Ok((unique, file, TmpFile(path)))
        })?;
        Ok(Self {
            maildir: maildir.clone(),
            destination,
            unique,
            file,
            opened,
            tmp,
            buffer: Vec::new(),
            size: 0,
            crlf: Some(CrlfCounter::default()),
            crlf_given: None,
            received: None,
            failed: false,
        })
    }

    /// States the size of the message with every line end as CRLF, in octets, for who knows it already; otherwise it is
    /// counted while writing. It goes into the name (`,W=`) unchecked.
    pub fn crlf_size(&mut self, octets: u64) {
        (self.crlf, self.crlf_given) = (None, Some(octets));
    }

    /// States when the message was received, which mail readers take from the time of the file; otherwise it is now.
    pub fn received_at(&mut self, time: SystemTime) {
        self.received = Some(time);
    }

    /// How many octets were written.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Forces the content to stable storage. The message is still in `tmp/`: only [`Prepared::commit`] or
    /// [`commit_all`](crate::commit_all) delivers it.
    ///
    /// # Errors
    /// [`Error::Io`] from the last write or the sync; [`Error::Incomplete`] if a write failed before. Nothing is left of
    /// the message then.
    pub fn prepare(self) -> Result<Prepared, Error> {
        let written = self.written()?;
        calls::sync_file(&written.file, written.path())?;
        Ok(written.into_prepared())
    }

    /// The same with everything handed to the system, and nothing to follow.
    pub(crate) fn written(mut self) -> Result<Self, Error> {
        self.write_buffer()?;
        self.set_time()?;
        Ok(self)
    }

    /// What a delivery is once its file is synced.
    pub(crate) fn into_prepared(self) -> Prepared {
        let crlf_size = self.crlf_given.or(self.crlf.map(|counter| counter.size(self.size)));
        let Self { maildir, destination, unique, tmp, size, .. } = self;
        Prepared { maildir, destination, unique, tmp, size, crlf_size }
    }

    /// The file, and since when it is open.
    pub(crate) fn file(&self) -> (&File, Instant) {
        (&self.file, self.opened)
    }

    pub(crate) fn path(&self) -> &Path {
        self.tmp.path()
    }

    /// Delivers the message. When this returns the receipt, it is on stable storage.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare) and [`Prepared::commit`]. The message was not delivered then, and nothing is left
    /// of it, unless removing it failed too.
    pub fn commit(self) -> Result<Delivered, Error> {
        self.prepare()?.commit()
    }

    pub(crate) fn append(&mut self, octets: &[u8]) -> Result<(), Error> {
        if self.buffer.len() + octets.len() > BUFFER {
            self.write_buffer()?;
        }
        match octets.len() >= BUFFER {
            true => self.write_through(octets)?,
            false => self.buffer.extend_from_slice(octets),
        }
        self.size += octets.len() as u64;
        if let Some(counter) = &mut self.crlf {
            counter.count(octets);
        }
        Ok(())
    }

    /// After the last write, which would set the time again.
    fn set_time(&self) -> Result<(), Error> {
        let Some(received) = self.received else { return Ok(()) };
        let times = FileTimes::new().set_modified(received);
        self.file.set_times(times).map_err(|source| Error::io(Operation::SetTime, self.tmp.path(), source))
    }

    fn write_buffer(&mut self) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Incomplete { path: self.tmp.path().to_owned() });
        }
        let buffer = std::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            self.write_through(&buffer)?;
        }
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    /// After a failed write nobody knows how much of it is in the file, so that no later one may succeed.
    fn write_through(&mut self, octets: &[u8]) -> Result<(), Error> {
        let written = calls::write(&mut self.file, self.tmp.path(), octets);
        self.failed = self.failed || written.is_err();
        written
    }
}

impl Write for Delivery {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.append(octets).map_err(Error::into_io)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_buffer().map_err(Error::into_io)
    }
}

/// A file in `tmp/` that goes when this does.
#[derive(Debug)]
pub(crate) struct TmpFile(PathBuf);

impl TmpFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The file has another name now.
    pub(crate) fn placed(mut self) {
        self.0 = PathBuf::new();
    }
}

impl Drop for TmpFile {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // Nobody is left to tell; the clean-up of tmp/ takes what stays.
            let _ = calls::remove(&self.0);
        }
    }
}
