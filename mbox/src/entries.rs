//! The messages of a file of any size, with what mail programs know of them and without their text.

use std::io;
use std::ops::Range;

use crate::detect::{Body, Evidence};
use crate::fields::{Field, Fields, Name};
use crate::metadata::{Base, Metadata};
use crate::reader::{Reader, Source};
use crate::splitter::{Doubt, End, Event, Policy, Why};

/// Where a message is, and what its header says of it for mail programs. Offsets are from the start of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Where its `From ` line begins.
    pub at: u64,
    /// The line, with its line end.
    pub line: Vec<u8>,
    /// Why it begins a message.
    pub why: Why,
    /// What was found at its end.
    pub end: End,
    /// Where the blank line ends that parts it from the next message.
    pub next: u64,
    /// What a person might judge differently, from its line to the next.
    pub doubts: Vec<Doubt>,
    /// What its header says of it. Senders can write all of this too: a program that delivers mail takes it away.
    pub metadata: Metadata,
    /// What its header says of the mailbox. That counts in the first message only.
    pub base: Option<Base>,
    /// The fields that hold that, for writing.
    pub(crate) fields: Vec<Field>,
    /// Octets of the blank line behind the header section; 0, if there is none.
    pub(crate) blank_line: u8,
    /// Whether the header section ends with a whole line.
    pub(crate) ends_line: bool,
}

impl Entry {
    /// Its header section and body, as they are stored: quoted.
    pub fn content(&self) -> Range<u64> {
        let start = self.at + self.line.len() as u64;
        start..start + self.end.len
    }

    /// Its header section with the blank line behind.
    pub fn header(&self) -> Range<u64> {
        let start = self.at + self.line.len() as u64;
        start..start + self.end.header_len
    }

    /// Its body.
    pub fn body(&self) -> Range<u64> {
        self.header().end..self.content().end
    }

    /// Whether it is the message in which c-client keeps what it knows of the mailbox: no mail. It counts as the first message of a file only; nobody is to
    /// see it, and it has to stay.
    pub fn is_internal(&self) -> bool {
        let says = |name, value: &[u8]| {
            self.fields.iter().any(|field| field.name == name && field.value.trim_ascii_start().starts_with(value))
        };
        says(Name::XImap, b"") && says(Name::Subject, b"DON'T DELETE THIS MESSAGE")
    }
}

/// The messages of a file, one after the other. Memory is that of a [`Reader`] and of one message's header fields for mail programs.
///
/// ```
/// use postrider_mbox::{Dialect, Entries, Flag, Policy, Stream};
///
/// let file = &b"From a@b Thu Jan  1 00:00:00 1970\nX-IMAPbase: 1700000000 0000000007\nX-UID: 7\nStatus: RO\n\nHello.\n"[..];
/// let mut entries = Entries::new(Stream(file), Policy::default());
/// let entry = entries.next()?.expect("there is one");
/// assert_eq!((entry.metadata.uid, entry.metadata.flags.contains(Flag::SEEN)), (Some(7), true));
/// assert_eq!(entry.base.map(|base| base.uid_validity), Some(1_700_000_000));
/// assert_eq!(entries.next()?, None);
/// assert_eq!(entries.evidence().detect().dialect, Dialect::Mboxrd);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Entries<S> {
    reader: Reader<S>,
    junk: u64,
    evidence: Evidence,
    begun: Option<Begun>,
}

/// A message that has not ended.
#[derive(Debug)]
struct Begun {
    at: u64,
    line: Vec<u8>,
    why: Why,
    doubts: Vec<Doubt>,
    fields: Fields,
    body: Body,
}

impl<S: Source> Entries<S> {
    /// The messages from the start of the file.
    pub fn new(source: S, policy: Policy) -> Self {
        Self::with(Reader::new(source, policy))
    }

    /// The messages that a reader has not read yet. It has to stand where a message begins.
    pub fn with(reader: Reader<S>) -> Self {
        Self { reader, junk: 0, evidence: Evidence::default(), begun: None }
    }

    /// Octets before the first message that belong to none, as far as they were read; all, if there is no message.
    pub const fn junk(&self) -> u64 {
        self.junk
    }

    /// What has been seen so far that speaks for a dialect.
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The next message, or `None` at the end.
    ///
    /// # Errors
    ///
    /// When reading fails. Calling again tries again.
    #[allow(clippy::should_implement_trait, reason = "with a result around, as a reader's `next`")]
    pub fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            let at = self.reader.position();
            let Some(event) = self.reader.next()? else { return Ok(None) };
            match event {
                Event::Junk(octets) => self.junk += octets.len() as u64,
                Event::Start { line, why } => {
                    let (fields, body) = (Fields::default(), Body::default());
                    self.begun = Some(Begun { at, line: line.to_vec(), why, doubts: Vec::new(), fields, body });
                }
                Event::Content(octets) => {
                    let Some(begun) = &mut self.begun else { continue };
                    let header = if begun.fields.is_complete() { 0 } else { begun.fields.add(octets) };
                    begun.body.add(octets.get(header..).unwrap_or_default(), &mut self.evidence);
                }
                Event::Doubt(doubt) => {
                    if let Some(begun) = &mut self.begun {
                        begun.doubts.push(doubt);
                    }
                }
                Event::End(end) => {
                    let Some(Begun { at, line, why, doubts, fields, .. }) = self.begun.take() else { continue };
                    self.evidence.message(end.length);
                    let (blank_line, ends_line) = (fields.blank_line(), fields.ends_line());
                    let (fields, next) = (fields.found, self.reader.position());
                    let metadata = Metadata::read(&fields);
                    let base = fields.iter().find(|field| matches!(field.name, Name::XImap | Name::XImapBase));
                    let base = base.and_then(|field| Base::read(&field.value));
                    return Ok(Some(Entry {
                        at,
                        line,
                        why,
                        end,
                        next,
                        doubts,
                        metadata,
                        base,
                        fields,
                        blank_line,
                        ends_line,
                    }));
                }
            }
        }
    }
}
