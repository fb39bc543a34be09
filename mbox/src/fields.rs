//! The header fields in which mail programs keep what they know of a message, found in a header section that comes in pieces.

/// A field that a mail program wrote for itself and others of its kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Name {
    ContentLength,
    Status,
    Subject,
    XImap,
    XImapBase,
    XKeywords,
    XStatus,
    XUid,
}

impl Name {
    const ALL: [(&'static [u8], Self); 8] = [
        (b"Content-Length", Self::ContentLength),
        (b"Status", Self::Status),
        (b"Subject", Self::Subject),
        (b"X-IMAP", Self::XImap),
        (b"X-IMAPbase", Self::XImapBase),
        (b"X-Keywords", Self::XKeywords),
        (b"X-Status", Self::XStatus),
        (b"X-UID", Self::XUid),
    ];

    fn of(name: &[u8]) -> Option<Self> {
        let name = name.trim_ascii_end();
        Self::ALL.into_iter().find_map(|(known, field)| known.eq_ignore_ascii_case(name).then_some(field))
    }
}

/// A field that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: Name,
    /// Its first octet, from the start of the header section.
    pub(crate) at: u64,
    /// Octets to the next field, folded lines and line ends with them.
    pub(crate) len: u64,
    /// What is behind the colon, folds and line end included; of a longer one the first [`MAX_VALUE`] octets.
    pub(crate) value: Vec<u8>,
}

/// Octets of a value that are kept. What programs keep of a mailbox with hundreds of keywords takes some kilobytes.
pub(crate) const MAX_VALUE: usize = 64 * 1024;

/// Octets of a name that is known, with some space behind it.
const MAX_NAME: usize = 24;

/// Finds the fields of one header section.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) found: Vec<Field>,
    /// Octets given so far.
    at: u64,
    line: Line,
    /// Whether a line that begins with space goes on with the last field that was found.
    open: bool,
    /// Octets of the blank line that ended the header section.
    blank_line: u8,
}

/// What the line at hand is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
enum Line {
    /// Nothing of it has come.
    #[default]
    Start,
    /// Its name has come in part.
    Name(Vec<u8>),
    /// One that is kept.
    Kept,
    /// Any other.
    Other,
    /// The header section is over.
    Body,
}

impl Fields {
    /// Takes what is of the header section, with the blank line that ends it, and says how many octets that is; the others are of the body.
    pub(crate) fn add(&mut self, octets: &[u8]) -> usize {
        let mut rest = octets;
        while self.line != Line::Body && !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, b""));
            self.line(line);
            rest = behind;
        }
        octets.len() - rest.len()
    }

    /// Whether the blank line behind the header section has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.line == Line::Body
    }

    /// Octets of the blank line that ended it; 0, if none has.
    pub(crate) fn blank_line(&self) -> u8 {
        self.blank_line
    }

    /// Whether what has come ends with a whole line.
    pub(crate) fn ends_line(&self) -> bool {
        matches!(self.line, Line::Start | Line::Body)
    }

    /// A line, or what has come of it.
    fn line(&mut self, octets: &[u8]) {
        let begins = self.at;
        if self.line == Line::Start {
            let folded = matches!(octets, [b' ' | b'\t', ..]);
            self.open &= folded;
            self.line = match (folded, self.open) {
                (true, true) => Line::Kept,
                (true, false) => Line::Other,
                (false, _) => Line::Name(Vec::new()),
            };
        }
        self.at += octets.len() as u64;
        if let Line::Name(name) = &mut self.line {
            let before = name.len() as u64;
            let colon = octets.iter().take(MAX_NAME).position(|octet| *octet == b':');
            name.extend_from_slice(octets.get(..colon.unwrap_or(octets.len().min(MAX_NAME))).unwrap_or_default());
            if matches!(name.as_slice(), b"\n" | b"\r\n") {
                self.blank_line = if name.len() == 1 { 1 } else { 2 };
                self.line = Line::Body;
                return;
            }
            match (colon, Name::of(name)) {
                (Some(colon), Some(name)) => {
                    let value = octets.get(colon + 1..).unwrap_or_default();
                    self.found.push(Field { name, at: begins - before, len: 0, value: Vec::new() });
                    self.line = Line::Kept;
                    self.open = true;
                    self.keep(value);
                }
                (None, _) if name.len() < MAX_NAME => {}
                _ => self.line = Line::Other,
            }
        } else if self.line == Line::Kept {
            self.keep(octets);
        }
        if octets.ends_with(b"\n") {
            self.line = Line::Start;
        }
    }

    fn keep(&mut self, octets: &[u8]) {
        if let Some(field) = self.found.last_mut() {
            field.len = self.at - field.at;
            let room = MAX_VALUE.saturating_sub(field.value.len());
            field.value.extend_from_slice(octets.get(..room).unwrap_or(octets));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(octets: &[u8], size: usize) -> (Vec<Field>, u64) {
        let (mut fields, mut header) = (Fields::default(), 0);
        for piece in octets.chunks(size) {
            header += fields.add(piece) as u64;
        }
        (fields.found, header)
    }

    #[test]
    fn fields_are_found_with_their_folds_and_places() {
        let octets = b"Subject: one\r\nX-Keywords: a\n\tb\n c\nFrom: x\n y\nSTATUS : RO\n\nX-UID: 7\n";
        let (found, header) = fields(octets, 99);
        let all: Vec<_> = found.iter().map(|field| (field.name, field.at, field.len, field.value.as_slice())).collect();
        assert_eq!(
            all,
            [
                (Name::Subject, 0, 14, &b" one\r\n"[..]),
                (Name::XKeywords, 14, 20, b" a\n\tb\n c\n"),
                (Name::Status, 45, 12, b" RO\n"),
            ]
        );
        assert_eq!(header, 58);
    }

    #[test]
    fn a_value_that_never_ends_costs_64_kibibytes() {
        let octets = [b"X-IMAPbase: ", vec![b'x'; 1_000_000].as_slice(), b"\n\n"].concat();
        let (found, header) = fields(&octets, 4096);
        assert_eq!((found[0].value.len(), found[0].len, header), (MAX_VALUE, 1_000_013, octets.len() as u64));
    }

    proptest! {
        #[test]
        fn the_same_fields_are_found_however_the_octets_are_cut(
            pieces in proptest::collection::vec(prop_oneof![
                Just("X-UID"), Just("Status"), Just("X-IMAPbase"), Just(":"), Just(" "), Just("\t"), Just("\n"), Just("\r\n"), Just("\r"), Just("x"), Just("1"),
            ], 0..40),
            size in 1..9_usize,
        ) {
            let text = pieces.concat();
            prop_assert_eq!(fields(text.as_bytes(), size), fields(text.as_bytes(), usize::MAX));
        }
    }
}
