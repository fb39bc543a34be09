//! Messages as those who wrote them meant them.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

use crate::entries::Entry;
use crate::fields::Name;
use crate::quote::{Dialect, Unquoter};
use crate::reader::Source;

impl Entry {
    /// Where its text is: its header section and body without the fields that mail programs keep there for themselves, [`Metadata`](crate::Metadata),
    /// [`Base`](crate::Base) and `Content-Length`.
    pub fn text(&self) -> Vec<Range<u64>> {
        let (mut ranges, mut at) = (Vec::new(), self.content().start);
        for field in self.fields.iter().filter(|field| field.name != Name::Subject) {
            let start = self.content().start + field.at;
            ranges.push(at..start);
            at = start + field.len;
        }
        ranges.push(at..self.content().end);
        ranges.retain(|range| !range.is_empty());
        ranges
    }
}

/// Reads parts of a file one after the other, and takes away the quoting. The file's own place is not moved.
///
/// ```
/// use postrider_mbox::{Dialect, Entries, Policy, Section, Text};
/// use std::io::{Read, Write};
///
/// let mut file = tempfile::tempfile()?;
/// file.write_all(b"From a@b Thu Jan  1 00:00:00 1970\nSubject: hello\nStatus: RO\nX-UID: 7\n\n>From me to you.\n")?;
/// let mut entries = Entries::new(Section::new(&file, 0, None)?, Policy::default());
/// let entry = entries.next()?.expect("there is one");
/// let mut text = String::new();
/// Text::new(&file, entry.text(), Dialect::Mboxrd).read_to_string(&mut text)?;
/// assert_eq!(text, "Subject: hello\n\nFrom me to you.\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Text<'f> {
    file: &'f File,
    /// What is still to be read.
    ranges: Vec<Range<u64>>,
    unquoter: Unquoter,
    buffer: Box<[u8]>,
    /// What of the buffer is not dealt with.
    filled: Range<usize>,
    /// What of its front came out of the unquoter and is not given yet.
    ready: Range<usize>,
}

const BUFFER: usize = 64 * 1024;

impl<'f> Text<'f> {
    /// The parts of `file`, in this order; quoting may go from one to the next.
    pub fn new(file: &'f File, ranges: Vec<Range<u64>>, dialect: Dialect) -> Self {
        let mut ranges = ranges;
        ranges.reverse();
        let len = ranges.iter().fold(0_u64, |len, range| len.saturating_add(range.end.saturating_sub(range.start)));
        let buffer = vec![0; usize::try_from(len).unwrap_or(BUFFER).min(BUFFER)].into();
        Self { file, ranges, unquoter: Unquoter::new(dialect), buffer, filled: 0..0, ready: 0..0 }
    }

    /// Reads more into the buffer, behind what is kept of it.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        while let Some(range) = self.ranges.last_mut() {
            let room = self.buffer.get_mut(self.filled.end..).unwrap_or_default();
            let left = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX).min(room.len());
            let read = self.file.look(range.start, room.get_mut(..left).unwrap_or_default())?.unwrap_or_default();
            if read < left {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the mailbox ends within the message"));
            }
            (self.filled.end, range.start) = (self.filled.end + read, range.start + read as u64);
            if range.start < range.end {
                break;
            }
            self.ranges.pop();
        }
        Ok(())
    }
}

impl Read for Text<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() {
            let last = self.ranges.is_empty();
            let input = self.buffer.get(self.filled.clone()).unwrap_or_default();
            match self.unquoter.next(input, last) {
                Some(piece) => {
                    // What comes out is the front of what went in.
                    self.ready = self.filled.start..self.filled.start + piece.octets.len();
                    self.filled.start += piece.consumed;
                }
                None if last => return Ok(0),
                None => self.fill()?,
            }
        }
        let ready = self.buffer.get(self.ready.clone()).unwrap_or_default();
        let len = ready.len().min(out.len());
        if let (Some(out), Some(ready)) = (out.get_mut(..len), ready.get(..len)) {
            out.copy_from_slice(ready);
        }
        self.ready.start += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entries, Policy, Section};
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_mail_programs_wrote_is_left_out_and_all_else_is_there() {
        let file = tempfile::tempfile().unwrap();
        let long = "y".repeat(200_000);
        let body = format!(">>From a\n{long}\n>From b\nContent-Length: text\n");
        let header = "X-UID: 3\nSubject: x\nContent-Length: 9\nstatus : R\n O\nTo: a\n\n";
        file.write_all_at(format!("From a Thu Jan  1 00:00:00 1970\n{header}{body}").as_bytes(), 0).unwrap();
        let entry = Entries::new(Section::new(&file, 0, None).unwrap(), Policy::default()).next().unwrap().unwrap();
        let read = |dialect| {
            let mut text = String::new();
            Text::new(&file, entry.text(), dialect).read_to_string(&mut text).unwrap();
            text
        };
        assert!(read(Dialect::Mboxcl2) == format!("Subject: x\nTo: a\n\n{body}"));
        let unquoted = body.replace(">From", "From");
        assert!(read(Dialect::Mboxrd) == format!("Subject: x\nTo: a\n\n{unquoted}"));
        file.set_len(100_000).unwrap();
        let mut text = Text::new(&file, entry.text(), Dialect::Mboxrd);
        assert_eq!(io::copy(&mut text, &mut io::sink()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
