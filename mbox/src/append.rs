//! Messages are put at the end of a mailbox.

mod content;
mod end;
mod fields;
mod line_ends;
mod quoting;
mod tail;

use std::fs::{FileTimes, Metadata};
use std::io::Read;
use std::time::{Duration, SystemTime};

use crate::append::content::{Content, INPUT};
use crate::append::end::End;
use crate::append::line_ends::Converted;
pub use crate::append::line_ends::LineEnd;
use crate::append::tail::Tail;
use crate::calls;
use crate::envelope::Envelope;
use crate::error::Error;
use crate::mailbox::Locked;
use crate::quote::Dialect;

/// How messages are stored. A [`Dialect`] alone is one: for messages that come from elsewhere, octet for octet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Storing {
    /// How text is kept apart from the lines that begin messages.
    pub dialect: Dialect,
    /// The message comes from a mailbox, and its fields `Status`, `X-Status`, `X-Keywords`, `X-UID`, `X-IMAP` and `X-IMAPbase` are what that says of it.
    /// Otherwise they are removed: they are the sender's, who has no say in what was read here. A `Content-Length` is always removed; what is stored has
    /// another.
    pub keeps_metadata: bool,
    /// Line ends of the content become those of the file: a bare LF becomes CRLF, or CRLF becomes LF. Otherwise they stay as they are.
    pub converts_line_ends: bool,
}

impl From<Dialect> for Storing {
    fn from(dialect: Dialect) -> Self {
        Self { dialect, keeps_metadata: false, converts_line_ends: false }
    }
}

/// A message that is at the end of a mailbox, on stable storage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appended {
    /// Offset of its `From ` line.
    pub at: u64,
    /// Octets of the line and of the content as it is stored, without the blank line behind them.
    pub len: u64,
    /// The content did not begin with a header field or a blank line, and a blank line was added: it is all body.
    pub blank_line_added: bool,
    /// The content did not end with a line end, and one was added.
    pub line_end_added: bool,
}

impl Locked {
    /// Puts a message at the end. It is on stable storage when this returns, together with the name of the file, where the file was empty.
    ///
    /// The content is what comes, header and body, but for what [`Storing`] says; in mboxcl and mboxcl2 a right `Content-Length` is put last into the
    /// header. It is read once, and of any length; it is in memory in pieces of 64 KiB. The mailbox is locked
    /// meanwhile: what comes from a slow peer is better read before. A missing line end at the end of the content is added, in every
    /// dialect: programs that go by a length want exactly one line end behind it. A content that does not begin with a header field gets a blank line before
    /// it, as readers take no text for the start of a message. Lines in the header that begin with `From ` are quoted in every dialect: no message may have
    /// them, and readers split there.
    ///
    /// If the file does not end with a blank line, that is added first, so that a message that a crash has cut does not swallow this one.
    ///
    /// mtime is later than atime afterwards, by which mail readers tell that there is new mail, if the file is ours.
    ///
    /// # Errors
    ///
    /// [`Error::Source`], if the content cannot be read; [`Error::Io`]; [`Error::ReadOnly`]. The file is as it was then, which is not so with
    /// [`Error::NotCutBack`].
    ///
    /// ```
    /// use postrider_mbox::{Access, Dialect, Envelope, Mbox};
    /// use std::time::SystemTime;
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let path = scratch.path().join("mbox");
    /// let mbox = Mbox::create(path)?;
    /// let envelope = Envelope::new("anna@example.org", SystemTime::now());
    /// let content = &b"Subject: hello\n\nFrom me to you.\n"[..];
    /// let appended = mbox.lock(Access::Write)?.append(&envelope, Dialect::Mboxrd, content)?;
    /// assert_eq!(appended.at, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append(
        &mut self,
        envelope: &Envelope,
        storing: impl Into<Storing>,
        content: impl Read,
    ) -> Result<Appended, Error> {
        self.writable()?;
        let mut batch = Batch::begin(self, storing.into())?;
        match batch.add(envelope, content) {
            Ok(appended) => batch.store().map(|()| appended),
            Err(error) => Err(batch.tail.cut_back(error)),
        }
    }

    /// Puts messages at the end, with one sync for all: all of them or none.
    ///
    /// # Errors
    ///
    /// As [`Self::append`].
    pub fn append_all<'e, R: Read>(
        &mut self,
        storing: impl Into<Storing>,
        messages: impl IntoIterator<Item = (&'e Envelope, R)>,
    ) -> Result<Vec<Appended>, Error> {
        self.writable()?;
        let mut batch = Batch::begin(self, storing.into())?;
        let added: Result<Vec<_>, _> =
            messages.into_iter().map(|(envelope, content)| batch.add(envelope, content)).collect();
        match added {
            Ok(all) if all.is_empty() => Ok(all),
            Ok(all) => batch.store().map(|()| all),
            Err(error) => Err(batch.tail.cut_back(error)),
        }
    }
}

/// Messages that are being put at the end.
struct Batch<'l> {
    locked: &'l Locked,
    storing: Storing,
    /// The file before anything was read or written.
    before: Metadata,
    end: End,
    tail: Tail<'l>,
    /// For what is read of contents.
    input: Box<[u8]>,
}

impl<'l> Batch<'l> {
    fn begin(locked: &'l Locked, storing: Storing) -> Result<Self, Error> {
        let before = calls::metadata_of(locked.file(), locked.path())?;
        let end = End::of(locked.file(), locked.path(), before.len(), locked.mbox().options().line_end)?;
        let tail = Tail::new(locked.file(), locked.path(), end.at);
        Ok(Self { locked, storing, before, end, tail, input: vec![0; INPUT].into() })
    }

    fn add(&mut self, envelope: &Envelope, content: impl Read) -> Result<Appended, Error> {
        let line_end = self.end.line_end;
        for _ in 0..std::mem::take(&mut self.end.missing) {
            self.tail.push(line_end.octets())?;
        }
        let at = self.tail.position();
        self.tail.push(&envelope.line())?;
        self.tail.push(line_end.octets())?;
        let storing = Content::new(&mut self.tail, self.storing, line_end);
        let added = match self.storing.converts_line_ends {
            true => storing.copy(Converted::new(content, line_end), &mut self.input),
            false => storing.copy(content, &mut self.input),
        }?;
        let len = self.tail.position() - at;
        self.tail.push(line_end.octets())?;
        Ok(Appended { at, len, blank_line_added: added.blank_line, line_end_added: added.line_end })
    }

    /// What was added reaches stable storage, or is taken away again.
    fn store(mut self) -> Result<(), Error> {
        match self.sync() {
            Ok(()) => {
                self.tail.keep();
                Ok(())
            }
            Err(error) => Err(self.tail.cut_back(error)),
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.tail.flush()?;
        self.show_new_mail()?;
        calls::sync_file(self.locked.file(), self.locked.path())?;
        // Who has made the file may not have cared.
        if self.end.at == 0 { self.locked.sync_name() } else { Ok(()) }
    }

    /// Gives the file an atime that is what it was, and earlier than its mtime by a whole second, as some compare.
    fn show_new_mail(&self) -> Result<(), Error> {
        let (file, path) = (self.locked.file(), self.locked.path());
        let now = calls::metadata_of(file, path)?;
        let times = |metadata: &Metadata| metadata.accessed().and_then(|atime| Ok((atime, metadata.modified()?)));
        let (Ok((before, _)), Ok((accessed, modified))) = (times(&self.before), times(&now)) else { return Ok(()) };
        let wanted = before.min(modified.checked_sub(Duration::from_secs(1)).unwrap_or(SystemTime::UNIX_EPOCH));
        if accessed > wanted {
            // Only the owner may; a message that is not shown as new is better than none.
            let _ = calls::set_times(file, path, FileTimes::new().set_accessed(wanted));
        }
        Ok(())
    }
}
