//! The messages of a file that is read piece by piece.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::splitter::{Doubt, End, Event, Policy, Splitter, Step, Why};

/// Where a [`Reader`] reads from.
pub trait Source: Read {
    /// Reads octets from `at` on, counted from the file's start, without moving the place where [`Read`] reads on; how many there are, fewer than the
    /// buffer takes only at the end. `None`: that is not possible.
    ///
    /// # Errors
    ///
    /// When reading fails.
    fn look(&self, at: u64, buffer: &mut [u8]) -> io::Result<Option<usize>>;
}

impl Source for File {
    fn look(&self, at: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut len = 0;
        while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, at.saturating_add(len as u64)) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Behind the largest offset there is nothing.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Some(len))
    }
}

/// A source that comes once and in order, as from a pipe or a decompressor: a `Content-Length` cannot be believed there before all of it was read, and is
/// not.
#[derive(Debug)]
pub struct Stream<R>(pub R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Source for Stream<R> {
    fn look(&self, _: u64, _: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(None)
    }
}

/// A file from one offset to another, read without moving the file's own place, so that many can read it at once. What is written behind its end while
/// it is read is not seen.
#[derive(Clone, Debug)]
pub struct Section<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl<'f> Section<'f> {
    /// The file from `at` to before `end`, or to where it ends now.
    ///
    /// # Errors
    ///
    /// When the file's length cannot be found out.
    pub fn new(file: &'f File, at: u64, end: Option<u64>) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, at, end: end.map_or(len, |end| end.min(len)) })
    }

    /// Where it ends.
    pub const fn end(&self) -> u64 {
        self.end
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let len = self.file.read_at(buffer.get_mut(..left).unwrap_or_default(), self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl Source for Section<'_> {
    fn look(&self, at: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX).min(buffer.len());
        self.file.look(at, buffer.get_mut(..left).unwrap_or_default())
    }
}

/// Reads a file of any size in constant memory: 64 KiB.
///
/// ```
/// use postrider_mbox::{Event, Policy, Reader, Stream};
///
/// let file = &b"From a@b Thu Jan  1 00:00:00 1970\nSubject: 1\n\nHello.\n"[..];
/// let mut reader = Reader::new(Stream(file), Policy::default());
/// let mut len = 0;
/// while let Some(event) = reader.next()? {
///     if let Event::Content(octets) = event {
///         len += octets.len();
///     }
/// }
/// assert_eq!(len, 19);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader<S> {
    source: S,
    splitter: Splitter,
    buffer: Box<[u8]>,
    /// The octets of the buffer that are not dealt with.
    filled: std::ops::Range<usize>,
    /// Octets of the last event: they are dropped when the next is asked for.
    given: usize,
    /// The source has ended.
    last: bool,
}

const BUFFER: usize = 64 * 1024;

/// An [`Event`] without its octets, which are those at the front of the buffer.
enum Kind {
    Junk,
    Start(Why),
    Content,
    End(End),
    Doubt(Doubt),
}

impl<S: Source> Reader<S> {
    /// Reads from the start.
    pub fn new(source: S, policy: Policy) -> Self {
        Self::with(source, Splitter::new(policy))
    }

    /// Reads on from where `splitter` is. The source has to give the octets from [`Splitter::position`] on.
    pub fn with(source: S, splitter: Splitter) -> Self {
        Self { source, splitter, buffer: vec![0; BUFFER].into(), filled: 0..0, given: 0, last: false }
    }

    /// Offset of the next event's first octet, from the start of the file.
    pub fn position(&self) -> u64 {
        self.splitter.position()
    }

    pub(crate) const fn splitter(&self) -> &Splitter {
        &self.splitter
    }

    /// What comes next, or `None` at the end. Content comes in pieces of any length.
    ///
    /// # Errors
    ///
    /// When reading fails. Calling again tries again.
    #[allow(
        clippy::should_implement_trait,
        reason = "what it gives borrows from the reader, as no iterator's items can"
    )]
    pub fn next(&mut self) -> io::Result<Option<Event<'_>>> {
        self.filled.start += std::mem::take(&mut self.given);
        let kind = loop {
            let input = self.buffer.get(self.filled.clone()).unwrap_or_default();
            match self.splitter.next(input, self.last) {
                Step::Event { consumed, event } => {
                    self.given = consumed;
                    break match event {
                        Event::Junk(_) => Kind::Junk,
                        Event::Start { why, .. } => Kind::Start(why),
                        Event::Content(_) => Kind::Content,
                        Event::End(end) => Kind::End(end),
                        Event::Doubt(doubt) => Kind::Doubt(doubt),
                    };
                }
                Step::NeedInput => self.fill()?,
                Step::Look { at } => self.look(at)?,
                Step::End => return Ok(None),
            }
        };
        let octets = self.buffer.get(self.filled.start..self.filled.start + self.given).unwrap_or_default();
        Ok(Some(match kind {
            Kind::Junk => Event::Junk(octets),
            Kind::Start(why) => Event::Start { line: octets, why },
            Kind::Content => Event::Content(octets),
            Kind::End(end) => Event::End(end),
            Kind::Doubt(doubt) => Event::Doubt(doubt),
        }))
    }

    fn fill(&mut self) -> io::Result<()> {
        // What is kept is a line at most.
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        let room = self.buffer.get_mut(self.filled.end..).unwrap_or_default();
        let more = loop {
            match self.source.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.filled.end += more;
        self.last = more == 0;
        Ok(())
    }

    fn look(&mut self, at: u64) -> io::Result<()> {
        let mut octets = [0; Splitter::LOOK];
        let len = self.source.look(at, &mut octets)?;
        self.splitter.looked(len.and_then(|len| octets.get(..len)), len.is_some_and(|len| len < octets.len()));
        Ok(())
    }
}
