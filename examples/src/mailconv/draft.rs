//! How a message is to be written into an mbox file.
//!
//! | what is stored | why |
//! |---|---|
//! | the message as it is | its own fields say what is to be said of it, or nothing is to be said |
//! | a marker, fields of the mailbox, and the message with fields of these names renamed | they say something else, or a line end has to be added |
//! | the same, with a blank line before the message | it does not begin with a field: it is all body |

use postrider_mbox::Dialect;

use super::content::{Content, HEADLESS, MARKER, Quote, Sink, UNENDED};
use super::failure::Failure;
use super::header::{Header, Name, Part, Piece, WAS};
use super::notes::{Base, Fields, Mark, Notes};
use super::quotes::Quotes;

/// What a first reading of a message told.
#[derive(Debug, Default)]
pub struct Draft {
    /// Its fields.
    pub fields: Fields,
    /// Its lines that begin with `From `, and those that begin with one `>` and it.
    pub quotes: Quotes,
    len: u64,
    /// Octets of its body, as they would be stored.
    stored_body: u64,
    has_body: bool,
    /// Octets of all of it, as they would be stored.
    stored: u64,
    /// It does not begin with a field or a blank line, as readers of mbox files want it to.
    headless: bool,
    crlf: bool,
    /// The last octet.
    last: Option<u8>,
    marked: bool,
    first: Vec<u8>,
}

/// What is to be said of the mailbox by a message.
#[derive(Clone, Copy, Debug)]
pub enum Says<'b> {
    /// What it says, whatever that is.
    Anything,
    /// This. Nothing, if there is nothing.
    This(Option<&'b Base>),
}

/// What was done to a message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Octets of the file.
    pub octets: u64,
    /// Whether something was put before it.
    pub wrapped: bool,
    /// Whether a field of it was renamed.
    pub renamed: bool,
}

impl Draft {
    /// Reads a message that is to be written in a dialect.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn new(content: &dyn Content, dialect: Dialect) -> Result<Self, Failure> {
        let (mut draft, mut header) = (Self::default(), Header::default());
        let (mut body, mut all) = (Body::new(dialect), Body::new(dialect));
        content.read(&mut |octets| {
            draft.look(octets);
            all.add(octets)?;
            header.add(octets, &mut |piece| draft.piece(piece, &mut body))
        })?;
        header.finish(&mut |piece| draft.piece(piece, &mut body))?;
        draft.headless = !draft.first.is_empty() && !begins_as_message(&draft.first);
        draft.stored = all.finish()?;
        draft.stored_body = if draft.headless { draft.stored } else { body.finish()? };
        draft.has_body |= draft.headless;
        draft.marked = draft.first.starts_with(MARKER);
        draft.crlf = memchr::memchr(b'\n', &draft.first)
            .is_some_and(|at| draft.first.get(..at).is_some_and(|line| line.ends_with(b"\r")));
        Ok(draft)
    }

    /// Octets of the message.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn look(&mut self, octets: &[u8]) {
        self.len += octets.len() as u64;
        self.quotes.add(octets);
        if self.first.len() < MAX_FIRST {
            self.first.extend_from_slice(octets.get(..MAX_FIRST).unwrap_or(octets));
        }
        self.last = octets.last().copied().or(self.last);
    }

    fn piece(&mut self, piece: Piece<'_>, body: &mut Body) -> Result<(), Failure> {
        match piece.part {
            Part::Field(name) => self.fields.add(name, piece.begins, piece.octets),
            Part::Body => body.add(piece.octets)?,
            Part::Blank => self.has_body = true,
            Part::Other | Part::Was => {}
        }
        Ok(())
    }

    /// Writes the message: the second reading. `line`: the `From ` line without its line end.
    ///
    /// # Errors
    ///
    /// When it cannot be read, and what `sink` gives.
    pub fn write(
        &self,
        line: &[u8],
        content: &dyn Content,
        notes: &Notes,
        says: Says<'_>,
        dialect: Dialect,
        sink: Sink<'_>,
    ) -> Result<Written, Failure> {
        let mut written = Written::default();
        let mut sink = |octets: &[u8]| {
            written.octets += octets.len() as u64;
            sink(octets)
        };
        let line_end = if self.crlf { "\r\n" } else { "\n" };
        // Without the blank line behind the header a length would take in the one behind the message.
        let has_length = matches!(dialect, Dialect::Mboxcl | Dialect::Mboxcl2) && self.has_body;
        let length = has_length.then_some(self.stored_body);
        let unended = self.last.is_some_and(|last| last != b'\n');
        // The length says already where the message ends.
        let unended_marker = unended && length.is_none();
        let wrapped = unended_marker || self.headless || self.marked || !self.fits(notes, says, length);
        sink(line)?;
        sink(line_end.as_bytes())?;
        let renamed = if wrapped {
            self.wrapped(content, &self.front(notes, says, length, unended_marker, line_end), dialect, &mut sink)?
        } else {
            quote(content, dialect, &mut sink)?;
            false
        };
        if unended {
            // A CR alone is not to become part of the line end.
            let added = if self.last == Some(b'\r') { "\r\n" } else { line_end };
            sink(added.as_bytes())?;
        }
        sink(line_end.as_bytes())?;
        Ok(Written { wrapped, renamed, ..written })
    }

    /// Whether the fields of the message say what is to be said.
    fn fits(&self, notes: &Notes, says: Says<'_>, length: Option<u64>) -> bool {
        let mut wanted = notes.clone();
        wanted.marks.retain(|mark| !matches!(mark, Mark::Letter(_)));
        let found = self.fields.content_length();
        let length_fits = match length {
            Some(length) => found == Some(length),
            None => !self.fields.has(Name::ContentLength) || (self.has_body && found == Some(self.stored_body)),
        };
        let base_fits = match says {
            Says::Anything => true,
            Says::This(None) => !self.fields.has(Name::XImapBase) && !self.fields.has(Name::XImap),
            Says::This(Some(base)) => {
                !self.fields.has(Name::XImap) && self.fields.base().is_some_and(|found| found.numbers_as(base))
            }
        };
        length_fits && base_fits && self.fields.notes() == wanted
    }

    /// The marker and the fields behind it.
    fn front(&self, notes: &Notes, says: Says<'_>, length: Option<u64>, unended: bool, line_end: &str) -> Vec<u8> {
        let own = self.fields.base();
        let base = match says {
            Says::Anything => own.as_ref(),
            Says::This(base) => base,
        };
        let lines = notes.lines(base, length, line_end);
        let mut front = [MARKER, lines.len().to_string().as_bytes()].concat();
        for (word, holds) in [(HEADLESS, self.headless), (UNENDED, unended)] {
            front.extend_from_slice(if holds { word } else { b"" });
        }
        front.extend_from_slice(line_end.as_bytes());
        front.extend(lines.concat());
        if self.headless {
            front.extend_from_slice(line_end.as_bytes());
        }
        front
    }

    /// Writes the message with something before it. Whether a field of it was renamed.
    fn wrapped(&self, content: &dyn Content, front: &[u8], dialect: Dialect, sink: Sink<'_>) -> Result<bool, Failure> {
        sink(front)?;
        if self.headless {
            return quote(content, dialect, sink).map(|()| false);
        }
        let (mut header, mut quote, mut renamed) = (Header::default(), Quote::new(dialect), false);
        let mut piece = |piece: Piece<'_>, quote: &mut Quote| {
            let of_the_mailbox = match piece.part {
                Part::Field(name) => name.is_of_the_mailbox(),
                part => part == Part::Was,
            };
            if of_the_mailbox && piece.begins {
                renamed = true;
                quote.add(WAS, sink)?;
            }
            quote.add(piece.octets, sink)
        };
        content.read(&mut |octets| header.add(octets, &mut |found| piece(found, &mut quote)))?;
        header.finish(&mut |found| piece(found, &mut quote))?;
        quote.finish(sink)?;
        Ok(renamed)
    }
}

/// Octets at the front of a message that are looked at.
const MAX_FIRST: usize = 998;

/// Whether a message begins with a field or a blank line.
fn begins_as_message(first: &[u8]) -> bool {
    let name = first.iter().take_while(|octet| matches!(octet, b'!'..=b'9' | b';'..=b'~')).count();
    let is_field = name > 0 && first.get(name) == Some(&b':');
    is_field || first.starts_with(b"\n") || first.starts_with(b"\r\n")
}

/// Writes a message and nothing else.
fn quote(content: &dyn Content, dialect: Dialect, sink: Sink<'_>) -> Result<(), Failure> {
    let mut quote = Quote::new(dialect);
    content.read(&mut |octets| quote.add(octets, sink))?;
    quote.finish(sink)
}

/// Counts the octets of a body as they would be stored.
struct Body {
    quote: Quote,
    len: u64,
}

impl Body {
    fn new(dialect: Dialect) -> Self {
        Self { quote: Quote::new(dialect), len: 0 }
    }

    fn add(&mut self, octets: &[u8]) -> Result<(), Failure> {
        let len = &mut self.len;
        self.quote.add(octets, &mut |octets| {
            *len += octets.len() as u64;
            Ok(())
        })
    }

    fn finish(mut self) -> Result<u64, Failure> {
        let len = &mut self.len;
        self.quote.finish(&mut |octets| {
            *len += octets.len() as u64;
            Ok(())
        })?;
        Ok(self.len)
    }
}
