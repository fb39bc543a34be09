//! The octets of a message as its writer meant them, in pieces: without the `>` of its dialect, and without what this program has put before it.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use postrider_mbox::{Dialect, Quoter, Section, Unquoter};

use super::failure::{At, Failure};
use super::header::{Header, Part, Piece, WAS};

/// Where octets go.
pub type Sink<'s> = &'s mut dyn FnMut(&[u8]) -> Result<(), Failure>;

/// A message that can be read more than once.
pub trait Content {
    /// Gives all its octets to `sink`, in pieces.
    ///
    /// # Errors
    ///
    /// When it cannot be read, and what `sink` gives.
    fn read(&self, sink: Sink<'_>) -> Result<(), Failure>;
}

/// A part of a file, as it is.
#[derive(Clone, Debug)]
pub struct Stored<'f> {
    /// The file.
    pub file: &'f File,
    /// Its path, for errors.
    pub path: &'f Path,
    /// Which part.
    pub range: Range<u64>,
}

impl Content for Stored<'_> {
    fn read(&self, sink: Sink<'_>) -> Result<(), Failure> {
        let mut section = Section::new(self.file, self.range.start, Some(self.range.end)).at("read", self.path)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut left = self.range.end - self.range.start;
        while left > 0 {
            let len = match section.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.at("read", self.path)?,
            };
            if len == 0 {
                return Err(Failure::Changed { path: self.path.to_owned() });
            }
            left -= len as u64;
            sink(buffer.get(..len).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// A message of an mbox file, unquoted.
#[derive(Clone, Debug)]
pub struct Unquoted<'f> {
    /// As it is stored.
    pub stored: Stored<'f>,
    /// How it is quoted.
    pub dialect: Dialect,
}

impl Content for Unquoted<'_> {
    fn read(&self, sink: Sink<'_>) -> Result<(), Failure> {
        let mut unquote = Unquote::new(self.dialect);
        self.stored.read(&mut |octets| unquote.add(octets, sink))?;
        unquote.finish(sink)
    }
}

/// A message without what this program put before it.
#[derive(Clone, Debug)]
pub struct Meant<C>(pub C);

impl<C: Content> Content for Meant<C> {
    fn read(&self, sink: Sink<'_>) -> Result<(), Failure> {
        let mut unwrap = Unwrap::default();
        self.0.read(&mut |octets| unwrap.add(octets, sink))?;
        unwrap.finish(sink)
    }
}

/// What both directions of quoting do with pieces.
macro_rules! quoting {
    ($name:ident, $inner:ident, $what:literal) => {
        #[doc = $what]
        #[derive(Clone, Debug)]
        pub struct $name {
            inner: $inner,
            /// Some octets that cannot be judged without more.
            held: Vec<u8>,
        }

        impl $name {
            /// At the start of a message.
            #[must_use]
            pub fn new(dialect: Dialect) -> Self {
                Self { inner: $inner::new(dialect), held: Vec::new() }
            }

            /// Takes octets and gives what comes out.
            ///
            /// # Errors
            ///
            /// What `sink` gives.
            pub fn add(&mut self, octets: &[u8], sink: Sink<'_>) -> Result<(), Failure> {
                if self.held.is_empty() {
                    return self.run(octets, false, sink);
                }
                let mut all = std::mem::take(&mut self.held);
                all.extend_from_slice(octets);
                self.run(&all, false, sink)
            }

            /// Gives what was held back.
            ///
            /// # Errors
            ///
            /// What `sink` gives.
            pub fn finish(&mut self, sink: Sink<'_>) -> Result<(), Failure> {
                let held = std::mem::take(&mut self.held);
                self.run(&held, true, sink)
            }

            fn run(&mut self, mut octets: &[u8], last: bool, sink: Sink<'_>) -> Result<(), Failure> {
                while let Some(piece) = self.inner.next(octets, last) {
                    sink(piece.octets)?;
                    octets = octets.get(piece.consumed..).unwrap_or_default();
                }
                self.held = octets.to_vec();
                Ok(())
            }
        }
    };
}

quoting!(Quote, Quoter, "Puts the `>` of a dialect in.");
quoting!(Unquote, Unquoter, "Takes the `>` of a dialect away.");

/// The first words of a message that this program has put something before. How many lines of the mailbox follow, and [`HEADLESS`] and [`UNENDED`], in this
/// order, where they hold.
pub const MARKER: &[u8] = b"X-Mailconv: ";

/// The message does not begin with a field, so that a blank line was put before it: it is all body.
pub const HEADLESS: &[u8] = b" headless";

/// The line end at the message's end was added.
pub const UNENDED: &[u8] = b" unended";

/// Octets of a marker with its line end, at most.
const MAX_MARKER: usize = 48;

/// Takes away what this program has put before a message, and nothing from any other.
#[derive(Clone, Debug, Default)]
pub struct Unwrap {
    first: Vec<u8>,
    state: State,
    header: Header,
    headless: bool,
    unended: bool,
    /// The last line end, if it may be one to leave out.
    held: Vec<u8>,
}

/// How far an [`Unwrap`] is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// The first line has not come.
    #[default]
    First,
    /// There was a marker: so many fields are still to be left out.
    Wrapped(u64),
    /// Nothing was put before the message.
    Plain,
}

impl Unwrap {
    /// Takes octets and gives what comes out.
    ///
    /// # Errors
    ///
    /// What `sink` gives.
    pub fn add(&mut self, octets: &[u8], sink: Sink<'_>) -> Result<(), Failure> {
        match self.state {
            State::Plain => sink(octets),
            State::Wrapped(_) => self.unwrap(octets, sink),
            State::First => {
                self.first.extend_from_slice(octets);
                let line = memchr::memchr(b'\n', &self.first);
                if line.is_some() || self.first.len() >= MAX_MARKER { self.begin(line, sink) } else { Ok(()) }
            }
        }
    }

    /// Gives what was held back.
    ///
    /// # Errors
    ///
    /// What `sink` gives.
    pub fn finish(&mut self, sink: Sink<'_>) -> Result<(), Failure> {
        if self.state == State::First {
            return sink(&std::mem::take(&mut self.first));
        }
        let mut header = std::mem::take(&mut self.header);
        header.finish(&mut |piece| self.piece(piece, sink))
    }

    fn begin(&mut self, line: Option<usize>, sink: Sink<'_>) -> Result<(), Failure> {
        let first = std::mem::take(&mut self.first);
        let (line, rest) = first.split_at_checked(line.map_or(0, |end| end + 1)).unwrap_or_default();
        let Some((lines, headless, unended)) = marker(line) else {
            self.state = State::Plain;
            return sink(&first);
        };
        (self.state, self.headless, self.unended) = (State::Wrapped(lines), headless, unended);
        self.unwrap(rest, sink)
    }

    fn unwrap(&mut self, octets: &[u8], sink: Sink<'_>) -> Result<(), Failure> {
        let mut header = std::mem::take(&mut self.header);
        let result = header.add(octets, &mut |piece| self.piece(piece, sink));
        self.header = header;
        result
    }

    fn piece(&mut self, piece: Piece<'_>, sink: Sink<'_>) -> Result<(), Failure> {
        let State::Wrapped(left) = self.state else { return Ok(()) };
        match piece.part {
            Part::Field(name) if left > 0 && name.is_of_the_mailbox() => {
                // The line's end may be in another piece.
                self.state = State::Wrapped(left - u64::from(piece.octets.ends_with(b"\n")));
                Ok(())
            }
            Part::Blank if std::mem::take(&mut self.headless) => Ok(()),
            part => {
                self.state = State::Wrapped(0);
                let octets = if part == Part::Was && piece.begins { piece.octets.get(WAS.len()..) } else { None };
                self.give(octets.unwrap_or(piece.octets), sink)
            }
        }
    }

    /// Holds back a line end that may be the last.
    fn give(&mut self, octets: &[u8], sink: Sink<'_>) -> Result<(), Failure> {
        if !self.unended {
            return sink(octets);
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(octets);
        let kept = if all.ends_with(b"\r\n") { 2 } else { usize::from(matches!(all.last(), Some(b'\n' | b'\r'))) };
        self.held = all.split_off(all.len() - kept);
        sink(&all)
    }
}

/// What a marker says: lines, whether there is a blank line behind them, and whether the line end at the end was added.
fn marker(line: &[u8]) -> Option<(u64, bool, bool)> {
    let text = line.strip_prefix(MARKER)?.strip_suffix(b"\n")?;
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let (text, unended) = without(text, UNENDED);
    let (number, headless) = without(text, HEADLESS);
    let digits = (1..=3).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(number).ok().filter(|_| digits)?.parse().ok()?;
    Some((number, headless, unended))
}

/// What stands before `word`, and whether it was there.
fn without<'t>(text: &'t [u8], word: &[u8]) -> (&'t [u8], bool) {
    text.strip_suffix(word).map_or((text, false), |before| (before, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrap(message: &[u8], size: usize) -> String {
        let (mut unwrap, mut out) = (Unwrap::default(), Vec::new());
        let mut sink = |octets: &[u8]| {
            out.extend_from_slice(octets);
            Ok(())
        };
        for piece in message.chunks(size) {
            unwrap.add(piece, &mut sink).unwrap();
        }
        unwrap.finish(&mut sink).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_was_put_before_a_message_is_taken_away_and_nothing_else() {
        for (stored, meant) in [
            ("", ""),
            ("X-Mailconv", "X-Mailconv"),
            ("Status: RO\n\nx\n", "Status: RO\n\nx\n"),
            ("X-Mailconv: 1\nStatus: RO\nStatus: U\n\nX-Mailconv-Was-a\n", "Status: U\n\nX-Mailconv-Was-a\n"),
            ("X-Mailconv: 2\nX-Keywords: a\nSubject: x\n\n", "Subject: x\n\n"),
            ("X-Mailconv: 0\nX-Mailconv-Was-Status: R\n folded\nA: b\n\n\n", "Status: R\n folded\nA: b\n\n\n"),
            ("X-Mailconv: 1 unended\r\nStatus: O\r\n\r\nx\r\n", "\r\nx"),
            ("X-Mailconv: 0 unended\n", ""),
            ("X-Mailconv: 1 headless unended\nStatus: O\n\n X-Mailconv-Was-a:\n\n", " X-Mailconv-Was-a:\n"),
            ("X-Mailconv: many\n\n", "X-Mailconv: many\n\n"),
        ] {
            for size in [1, 2, 5, 999] {
                assert_eq!(unwrap(stored.as_bytes(), size), meant, "{stored:?} {size}");
            }
        }
    }
}
