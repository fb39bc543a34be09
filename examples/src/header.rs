//! The header section of a message as it comes in, piece by piece: which field each line belongs to, and where the section ends.

/// Octets up to a field's colon at the most; a line of a message has no more: [RFC 5322 section 2.1.1](https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1).
pub const MAX_NAME: usize = 998;

/// The longest name that is looked for.
const KNOWN: usize = "message-id".len();

/// A field that something here wants to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `Bcc`, and the `Resent-Bcc` of [RFC 5322 section 3.6.6](https://www.rfc-editor.org/rfc/rfc5322#section-3.6.6).
    Bcc,
    /// `Date`.
    Date,
    /// `Message-ID`.
    MessageId,
    /// `Received`.
    Received,
    /// Any other.
    Other,
}

/// What the octets at the front of a piece are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The beginning of a line of which it cannot be told yet what it is. Of a line, at most [`MAX_NAME`] octets and a CR.
    Undecided,
    /// The line that has begun is a field's first.
    Begins(Field),
    /// The line that has begun goes on with the field before it.
    Continues,
    /// More of the line, with its end or up to the end of the piece.
    More,
    /// The empty line that ends the header section.
    Blank,
    /// The line that has begun is no field: the header section has ended without an empty line.
    NoField,
    /// Behind the header section.
    Body,
}

/// Parts a message's header section from its body, and its fields from each other.
///
/// Each LF ends a line. A line that is neither a field, nor folded, nor empty ends the header section; so does the end of the message. Field names are
/// taken generously: octets beyond ASCII, and white space before the colon, are accepted.
///
/// ```abnf
/// fields     = *(field-name *WSP ":" unstructured CRLF)
/// field-name = 1*ftext
/// ftext      = %d33-57 / %d59-126
/// ```
///
/// [RFC 5322 sections 3.6.8 and 4.5](https://www.rfc-editor.org/rfc/rfc5322#section-3.6.8).
#[derive(Clone, Debug, Default)]
pub struct Header {
    place: Place,
    /// Whether there was a field that can be folded.
    field_before: bool,
    name: Name,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    Name,
    /// White space behind a name.
    Gap,
    /// Behind a CR that began a line or broke off a name.
    Cr {
        begins_line: bool,
    },
    Line,
    Body,
}

#[derive(Clone, Debug, Default)]
struct Name {
    octets: [u8; KNOWN],
    /// Octets up to the colon so far, white space included.
    len: usize,
    /// How many of them are the name.
    end: usize,
}

impl Header {
    /// Whether the header section has ended.
    pub fn has_ended(&self) -> bool {
        self.place == Place::Body
    }

    /// What stands at the front of `piece`, and how many octets that are. Call it until nothing is left.
    pub fn next(&mut self, piece: &[u8]) -> (usize, Part) {
        match self.place {
            Place::Body => (piece.len(), Part::Body),
            Place::Line => self.rest_of_line(piece),
            _ => self.start_of_line(piece),
        }
    }

    fn rest_of_line(&mut self, piece: &[u8]) -> (usize, Part) {
        match memchr::memchr(b'\n', piece) {
            Some(at) => {
                self.place = Place::Start;
                (at + 1, Part::More)
            }
            None => (piece.len(), Part::More),
        }
    }

    fn start_of_line(&mut self, piece: &[u8]) -> (usize, Part) {
        for (at, octet) in piece.iter().enumerate() {
            if let Some(part) = self.look_at(*octet) {
                self.place = if matches!(part, Part::Begins(_) | Part::Continues) { Place::Line } else { Place::Body };
                return (at + 1, part);
            }
        }
        (piece.len(), Part::Undecided)
    }

    /// Goes on by an octet, until it can be told what the line is.
    fn look_at(&mut self, octet: u8) -> Option<Part> {
        self.place = match (self.place, octet) {
            (Place::Start, b' ' | b'\t') if self.field_before => return Some(Part::Continues),
            (Place::Start, b'\n') | (Place::Cr { begins_line: true }, b'\n') => return Some(Part::Blank),
            (Place::Start | Place::Name, 33..=57 | 59..=126 | 128..) => {
                if self.place == Place::Start {
                    self.name = Name::default();
                }
                self.name.push(octet);
                Place::Name
            }
            (Place::Name | Place::Gap, b':') => {
                self.field_before = true;
                return Some(Part::Begins(self.name.field()));
            }
            (Place::Name | Place::Gap, b' ' | b'\t') => {
                self.name.len += 1;
                Place::Gap
            }
            // Its LF, if it has one, is not to be parted from it.
            (Place::Start, b'\r') => Place::Cr { begins_line: true },
            (Place::Name | Place::Gap, b'\r') => Place::Cr { begins_line: false },
            _ => return Some(Part::NoField),
        };
        (self.name.len > MAX_NAME).then_some(Part::NoField)
    }
}

impl Name {
    fn push(&mut self, octet: u8) {
        if let Some(place) = self.octets.get_mut(self.end) {
            *place = octet.to_ascii_lowercase();
        }
        self.len += 1;
        self.end = self.len;
    }

    fn field(&self) -> Field {
        match self.octets.get(..self.end) {
            Some(b"bcc" | b"resent-bcc") => Field::Bcc,
            Some(b"date") => Field::Date,
            Some(b"message-id") => Field::MessageId,
            Some(b"received") => Field::Received,
            _ => Field::Other,
        }
    }
}

/// Counts the servers that a message has passed, each of which has put a `Received` before it:
/// [RFC 5321 section 6.3](https://www.rfc-editor.org/rfc/rfc5321#section-6.3).
#[derive(Clone, Debug, Default)]
pub struct Hops {
    header: Header,
    count: usize,
}

impl Hops {
    /// Counts in the next piece of the message.
    pub fn look_at(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() && !self.header.has_ended() {
            let (len, part) = self.header.next(rest);
            rest = rest.get(len..).unwrap_or_default();
            self.count += usize::from(part == Part::Begins(Field::Received));
        }
    }

    /// How many there are so far.
    pub fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(message: &[u8], size: usize) -> usize {
        let mut hops = Hops::default();
        message.chunks(size).for_each(|piece| hops.look_at(piece));
        hops.count()
    }

    #[test]
    fn received_fields_are_counted_in_the_header_section_alone_however_it_is_cut() {
        for (message, count) in [
            (&b"Received: a\r\nRECEIVED: b\r\n\tReceived: folded\r\nreceived : c\r\n\r\nReceived: body\r\n"[..], 3),
            (b"Received-SPF: a\r\nXReceived: b\r\nReceive: c\r\nReceived\r\n", 0),
            (b"Received: a\r\nno field\r\nReceived: body\r\n", 1),
            (b"\r\nReceived: body\r\n", 0),
            (b" Received: nothing to continue\r\nReceived: body\r\n", 0),
            (b"Received:\nReceived:a", 2),
            (b"", 0),
        ] {
            for size in 1..message.len().max(2) {
                assert_eq!(hops(message, size), count, "{} by {size}", message.escape_ascii());
            }
        }
    }

    #[test]
    fn a_line_is_decided_before_it_grows_beyond_what_a_line_may_be() {
        let mut header = Header::default();
        assert_eq!(header.next(&[b'x'; MAX_NAME]), (MAX_NAME, Part::Undecided));
        assert_eq!(header.next(b":"), (1, Part::Begins(Field::Other)));
        let mut header = Header::default();
        assert_eq!(header.next(&[b'x'; 2 * MAX_NAME]), (MAX_NAME + 1, Part::NoField));
        let mut header = Header::default();
        assert_eq!(header.next(&[&b"Bcc"[..], &[b' '; MAX_NAME - 3]].concat()), (MAX_NAME, Part::Undecided));
        assert_eq!(header.next(b" "), (1, Part::NoField));
    }
}
