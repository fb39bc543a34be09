//! The content of a message, as it is stored.

use std::io::{self, Read};

use crate::append::Storing;
use crate::append::fields::{Fields, MAX_HELD, Step};
use crate::append::line_ends::LineEnd;
use crate::append::quoting::Quoting;
use crate::append::tail::{Gap, Tail};
use crate::error::Error;
use crate::quote::Dialect;

/// What is read at once; more than is ever held back.
pub(super) const INPUT: usize = if cfg!(test) { 2 * MAX_HELD } else { 64 * 1024 };

/// As many digits as any length has.
const LENGTH_DIGITS: usize = 20;

/// A message on its way to the end of a file.
pub(super) struct Content<'t, 'f> {
    tail: &'t mut Tail<'f>,
    storing: Storing,
    line_end: LineEnd,
    part: Part,
    quoting: Quoting,
    begins: u64,
    added: Added,
}

/// What a content lacked, and has now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Added {
    pub(super) blank_line: bool,
    pub(super) line_end: bool,
}

/// Where one is.
enum Part {
    Header(Fields),
    /// The offset where the body begins, and the place for its length.
    Body(u64, Option<Gap>),
}

impl<'t, 'f> Content<'t, 'f> {
    pub(super) fn new(tail: &'t mut Tail<'f>, storing: Storing, line_end: LineEnd) -> Self {
        // In a header section every dialect has to: a length counts from its end on only.
        let quoted = match storing.dialect {
            Dialect::Mboxcl2 => Dialect::Mboxcl,
            dialect => dialect,
        };
        let part = Part::Header(Fields::new(storing.keeps_metadata));
        let begins = tail.position();
        Self { tail, storing, line_end, part, quoting: Quoting::new(quoted), begins, added: Added::default() }
    }

    /// Stores all that `source` gives. `buffer` has room for [`INPUT`] octets.
    pub(super) fn copy(mut self, mut source: impl Read, buffer: &mut [u8]) -> Result<Added, Error> {
        let (mut filled, mut last) = (0, false);
        while !last {
            let more = read(&mut source, buffer.get_mut(filled..).unwrap_or_default())
                .map_err(|source| Error::Source { path: self.tail.path().to_owned(), source })?;
            last = more == 0;
            filled += more;
            let taken = self.take(buffer.get(..filled).unwrap_or_default(), last)?;
            buffer.copy_within(taken..filled, 0);
            filled -= taken;
        }
        self.finish()
    }

    /// How many octets of `input` were taken.
    fn take(&mut self, input: &[u8], last: bool) -> Result<usize, Error> {
        let mut rest = input;
        while let Part::Header(fields) = &mut self.part {
            let taken = match fields.next(rest, last) {
                Step::Keep(octets) => {
                    self.quoting.push(octets, false, self.tail)?;
                    octets.len()
                }
                Step::Drop(len) => len,
                Step::Blank(line) => {
                    self.begin_body(line)?;
                    line.len()
                }
                Step::Body => {
                    self.added.blank_line = true;
                    self.begin_body(self.line_end.octets())?;
                    0
                }
                Step::NeedInput => return Ok(input.len() - rest.len()),
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.quoting.push(rest, false, self.tail)?;
        Ok(input.len())
    }

    /// The length is the last field, and filled in at the end: the content comes once, and may be longer than what one would hold. Where it was written
    /// before it is known, spaces are left behind it; in front of it, neither mutt nor Dovecot would believe it. What a crash leaves unfilled is no number,
    /// and no length.
    fn begin_body(&mut self, blank: &[u8]) -> Result<(), Error> {
        let has_length = matches!(self.storing.dialect, Dialect::Mboxcl | Dialect::Mboxcl2);
        let gap = match has_length {
            true => {
                self.tail.push(b"Content-Length: ")?;
                let gap = self.tail.leave(LENGTH_DIGITS)?;
                self.tail.push(self.line_end.octets())?;
                Some(gap)
            }
            false => None,
        };
        self.tail.push(blank)?;
        self.part = Part::Body(self.tail.position(), gap);
        self.quoting = Quoting::new(self.storing.dialect);
        Ok(())
    }

    fn finish(mut self) -> Result<Added, Error> {
        self.quoting.push(b"", true, self.tail)?;
        let is_empty = self.tail.position() == self.begins;
        self.added.line_end = !is_empty && self.tail.last() != Some(b'\n');
        if self.added.line_end {
            self.tail.push(self.line_end.octets())?;
        }
        if let Part::Body(begins, Some(gap)) = self.part {
            let len = self.tail.position() - begins;
            self.tail.fill(gap, len.to_string().as_bytes())?;
        }
        Ok(self.added)
    }
}

fn read(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
