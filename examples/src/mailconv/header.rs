//! The header section of a message in pieces: which lines are of the mailbox, and where the body begins.
//!
//! Programs that keep mail in mbox files write into each message's header what they know of it. Here is which fields those are. A message that this
//! program puts into an mbox file begins with such fields, and before them stands `X-Mailconv: N`, which says how many lines they are, so that they can
//! be taken away again and nothing else. Fields of these names that the message had before are kept under another name, `X-Mailconv-Was-…`.

use super::failure::Failure;

/// A field that mail programs write for themselves, or that this program wants to know of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Name {
    /// `Content-Length`.
    ContentLength,
    /// `Date`.
    Date,
    /// `X-Mozilla-Keys`: keywords.
    MozillaKeys,
    /// `X-Mozilla-Status`: four hexadecimal digits.
    MozillaStatus,
    /// `X-Mozilla-Status2`: eight.
    MozillaStatus2,
    /// `Return-Path`.
    ReturnPath,
    /// `Status`.
    Status,
    /// `X-IMAP`, of c-client's internal message.
    XImap,
    /// `X-IMAPbase`.
    XImapBase,
    /// `X-Keywords`.
    XKeywords,
    /// `X-Status`.
    XStatus,
    /// `X-UID`.
    XUid,
}

impl Name {
    const ALL: [(&'static str, Self); 12] = [
        ("Content-Length", Self::ContentLength),
        ("Date", Self::Date),
        ("X-Mozilla-Keys", Self::MozillaKeys),
        ("X-Mozilla-Status", Self::MozillaStatus),
        ("X-Mozilla-Status2", Self::MozillaStatus2),
        ("Return-Path", Self::ReturnPath),
        ("Status", Self::Status),
        ("X-IMAP", Self::XImap),
        ("X-IMAPbase", Self::XImapBase),
        ("X-Keywords", Self::XKeywords),
        ("X-Status", Self::XStatus),
        ("X-UID", Self::XUid),
    ];

    /// The field of this name, in any case and with space behind it.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        let name = name.trim_ascii_end();
        Self::ALL.into_iter().find_map(|(known, field)| known.as_bytes().eq_ignore_ascii_case(name).then_some(field))
    }

    /// Whether it says something of the mailbox, not of the message.
    #[must_use]
    pub const fn is_of_the_mailbox(self) -> bool {
        !matches!(self, Self::Date | Self::ReturnPath)
    }
}

/// What stands before the name of a field that was there before.
pub const WAS: &[u8] = b"X-Mailconv-Was-";

/// What some octets are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// A field that is known.
    Field(Name),
    /// One that was renamed. The first octets of its line are [`WAS`].
    Was,
    /// Another line.
    Other,
    /// The blank line behind the header section.
    Blank,
    /// The body.
    Body,
}

/// Octets in the order of the message.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'b> {
    /// What they are.
    pub part: Part,
    /// Whether a field, line or body begins with them. A folded line begins nothing.
    pub begins: bool,
    /// The octets. All that it takes to tell what a line is comes in one piece.
    pub octets: &'b [u8],
}

/// Parts the lines of a header section. Of a line that is not decided it holds a few octets.
#[derive(Clone, Debug, Default)]
pub struct Header {
    held: Vec<u8>,
    /// What the line at hand is, if its beginning has been decided.
    line: Option<Part>,
    /// What a folded line would go on with.
    before: Option<Part>,
    /// Whether anything of the body has come.
    body: bool,
}

/// Octets of the longest name with what stands before it, and some space behind.
const MAX_NAME: usize = 48;

impl Header {
    /// Whether the blank line has come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.line == Some(Part::Body)
    }

    /// Gives the pieces of `octets`, and of what is held, to `each`.
    ///
    /// # Errors
    ///
    /// What `each` gives.
    pub fn add(
        &mut self,
        octets: &[u8],
        each: &mut dyn FnMut(Piece<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut rest = octets;
        while !rest.is_empty() {
            match self.line {
                Some(Part::Body) => {
                    let begins = !std::mem::replace(&mut self.body, true);
                    return each(Piece { part: Part::Body, begins, octets: rest });
                }
                Some(part) => {
                    let (line, behind) = line(rest);
                    each(Piece { part, begins: false, octets: line })?;
                    self.ended(part, line);
                    rest = behind;
                }
                None => {
                    let (line, behind) = line(rest.get(..MAX_NAME).unwrap_or(rest));
                    self.held.extend_from_slice(line);
                    rest = rest.get(line.len()..).unwrap_or(behind);
                    self.decide(false, each)?;
                }
            }
        }
        Ok(())
    }

    /// The message has ended: gives what is held.
    ///
    /// # Errors
    ///
    /// What `each` gives.
    pub fn finish(&mut self, each: &mut dyn FnMut(Piece<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        if self.held.is_empty() { Ok(()) } else { self.decide(true, each) }
    }

    fn decide(&mut self, last: bool, each: &mut dyn FnMut(Piece<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        let Some((part, begins)) = self.part(last) else { return Ok(()) };
        let held = std::mem::take(&mut self.held);
        self.line = Some(part);
        each(Piece { part, begins, octets: &held })?;
        self.ended(part, &held);
        Ok(())
    }

    /// What the held line is, if that can be told.
    fn part(&self, last: bool) -> Option<(Part, bool)> {
        let held = self.held.as_slice();
        if matches!(held, b"\n" | b"\r\n") {
            return Some((Part::Blank, true));
        }
        if let ([b' ' | b'\t', ..], Some(before)) = (held, self.before) {
            return Some((before, false));
        }
        let colon = memchr::memchr(b':', held);
        let part = match colon.and_then(|colon| held.get(..colon)) {
            Some(name) if name.get(..WAS.len()).is_some_and(|front| front.eq_ignore_ascii_case(WAS)) => Part::Was,
            Some(name) => Name::of(name).map_or(Part::Other, Part::Field),
            None => Part::Other,
        };
        (colon.is_some() || held.ends_with(b"\n") || held.len() >= MAX_NAME || last).then_some((part, true))
    }

    fn ended(&mut self, part: Part, octets: &[u8]) {
        if octets.ends_with(b"\n") {
            self.before = Some(part);
            self.line = (part == Part::Blank).then_some(Part::Body);
        }
    }
}

fn line(octets: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', octets).map_or(octets.len(), |at| at + 1);
    octets.split_at_checked(end).unwrap_or((octets, b""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The parts, each with its octets, neighbours of the same part put together unless one begins.
    fn parts(message: &[u8], size: usize) -> Vec<(Part, Vec<u8>)> {
        let (mut header, mut all) = (Header::default(), Vec::<(Part, Vec<u8>)>::new());
        let mut each = |piece: Piece<'_>| {
            match all.last_mut() {
                Some((part, octets)) if !piece.begins && *part == piece.part => octets.extend(piece.octets),
                _ => all.push((piece.part, piece.octets.to_vec())),
            }
            Ok(())
        };
        for piece in message.chunks(size) {
            header.add(piece, &mut each).unwrap();
        }
        header.finish(&mut each).unwrap();
        all
    }

    #[test]
    fn fields_with_their_folded_lines_the_blank_line_and_the_body_are_told_apart() {
        let message = b"Subject: x\nstatus : RO\nX-Keywords: a\n b\nX-Mailconv-Was-Status: R\n\nStatus: O\n";
        let expected = [
            (Part::Other, "Subject: x\n"),
            (Part::Field(Name::Status), "status : RO\n"),
            (Part::Field(Name::XKeywords), "X-Keywords: a\n b\n"),
            (Part::Was, "X-Mailconv-Was-Status: R\n"),
            (Part::Blank, "\n"),
            (Part::Body, "Status: O\n"),
        ];
        for size in [1, 2, 7, 999] {
            let found = parts(message, size);
            let found: Vec<_> =
                found.iter().map(|(part, octets)| (*part, std::str::from_utf8(octets).unwrap())).collect();
            assert_eq!(found, expected, "{size}");
        }
    }

    proptest! {
        #[test]
        fn no_octet_is_lost_and_cuts_change_nothing(
            pieces in proptest::collection::vec(prop_oneof![Just("Status"), Just(":"), Just(" "), Just("\n"), Just("\r\n"), Just("X-UID"), Just("x")], 0..30),
            size in 1..9_usize,
        ) {
            let text = pieces.concat();
            let found = parts(text.as_bytes(), size);
            prop_assert_eq!(found.iter().flat_map(|(_, octets)| octets.clone()).collect::<Vec<_>>(), text.as_bytes());
            prop_assert_eq!(found, parts(text.as_bytes(), usize::MAX));
        }
    }
}
