//! What mail programs know of messages and of the mailbox, as they keep it in header fields.

use std::collections::HashSet;
use std::fmt;

use crate::fields::{Field, Name};

/// A mark of a message: a letter in its `Status` or `X-Status`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Flag(u64);

impl Flag {
    /// `Status: R`: it was read.
    pub const SEEN: Self = Self::status(b'R');
    /// `Status: O`: a program has shown it in a list before; without it, the message is recent.
    pub const OLD: Self = Self::status(b'O');
    /// `X-Status: A`: it was answered.
    pub const ANSWERED: Self = Self::x_status(b'A');
    /// `X-Status: F`: the user marked it.
    pub const FLAGGED: Self = Self::x_status(b'F');
    /// `X-Status: T`: it is a draft.
    pub const DRAFT: Self = Self::x_status(b'T');
    /// `X-Status: D`: it is to be removed.
    pub const DELETED: Self = Self::x_status(b'D');

    const fn status(letter: u8) -> Self {
        Self(1 << (letter - b'A'))
    }

    const fn x_status(letter: u8) -> Self {
        Self(1 << (letter - b'A') << LETTERS)
    }
}

const LETTERS: u32 = 26;

/// The marks of a message. Letters that have no meaning here are kept and written again; what is no capital letter is not.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Flags(u64);

impl Flags {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// Whether `flag` is among them.
    pub const fn contains(self, flag: Flag) -> bool {
        self.0 & flag.0 != 0
    }

    /// These and `flag`.
    #[must_use]
    pub const fn with(self, flag: Flag) -> Self {
        Self(self.0 | flag.0)
    }

    /// These without `flag`.
    #[must_use]
    pub const fn without(self, flag: Flag) -> Self {
        Self(self.0 & !flag.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn read(&mut self, value: &[u8], shift: u32) {
        for letter in value.iter().filter(|octet| octet.is_ascii_uppercase()) {
            self.0 |= 1 << u32::from(letter - b'A') << shift;
        }
    }

    /// The letters of one of the two fields, in the order in which others write them: `RO` before all others.
    fn letters(self, shift: u32) -> Vec<u8> {
        let set = |letter: &u8| self.0 >> shift & 1 << (letter - b'A') != 0;
        let first = if shift == 0 { &b"RO"[..] } else { &[] };
        let others = (b'A'..=b'Z').filter(|letter| !first.contains(letter));
        first.iter().copied().chain(others).filter(set).collect()
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        flags.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// The letters of `Status`, a slash, and those of `X-Status`.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |shift| String::from_utf8(self.letters(shift)).unwrap_or_default();
        write!(f, "{}/{}", text(0), text(LETTERS))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

/// A word that a user or a program has put on a message: octets without space and control characters.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Keyword(Vec<u8>);

impl Keyword {
    /// `octets`, if they are such a word of 1 to 255 octets.
    pub fn new(octets: &[u8]) -> Option<Self> {
        let fits = (1..=255).contains(&octets.len()) && octets.iter().all(|octet| *octet > b' ' && *octet != 0x7F);
        fits.then(|| Self(octets.to_vec()))
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Those among these words, each once.
    fn all<'w>(words: impl Iterator<Item = &'w [u8]>) -> Vec<Self> {
        let (mut seen, mut all) = (HashSet::new(), Vec::new());
        for word in words.filter(|word| seen.insert(*word)) {
            all.extend(Self::new(word));
        }
        all
    }
}

impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyword({})", self.0.escape_ascii())
    }
}

/// What is known of a message: `X-UID`, `Status`, `X-Status` and `X-Keywords`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Metadata {
    /// Its UID as IMAP has it, 1 to 2³² − 1. It counts only if [`Base`] is there, and then by the rules of [`number`](crate::number()).
    pub uid: Option<u32>,
    /// Its marks.
    pub flags: Flags,
    /// Its keywords, each once.
    pub keywords: Vec<Keyword>,
}

impl Metadata {
    pub(crate) fn read(fields: &[Field]) -> Self {
        let mut metadata = Self::default();
        for field in fields {
            match field.name {
                Name::XUid => metadata.uid = metadata.uid.or_else(|| number(field.value.trim_ascii())),
                Name::Status => metadata.flags.read(&field.value, 0),
                Name::XStatus => metadata.flags.read(&field.value, LETTERS),
                _ => {}
            }
        }
        let keywords = fields.iter().filter(|field| field.name == Name::XKeywords);
        metadata.keywords = Keyword::all(keywords.flat_map(|field| words(&field.value)));
        metadata
    }

    /// The fields as lines. `padding`: octets of space behind the keywords, for what may come later; none, and no keywords: no such field.
    pub(crate) fn write(&self, out: &mut Vec<u8>, line_end: &[u8], padding: usize) {
        if let Some(uid) = self.uid {
            line(out, b"X-UID: ", uid.to_string().as_bytes(), line_end);
        }
        for (name, shift) in [(&b"Status: "[..], 0), (b"X-Status: ", LETTERS)] {
            let letters = self.flags.letters(shift);
            if !letters.is_empty() {
                line(out, name, &letters, line_end);
            }
        }
        if padding > 0 || !self.keywords.is_empty() {
            let mut words: Vec<u8> = self.keywords.iter().map(Keyword::octets).collect::<Vec<_>>().join(&b' ');
            words.resize(words.len() + padding, b' ');
            line(out, b"X-Keywords: ", &words, line_end);
        }
    }
}

/// What is known of the mailbox: `X-IMAPbase` of its first message, or `X-IMAP` of c-client's internal one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Base {
    /// IMAP's UIDVALIDITY, 1 to 2³² − 1.
    pub uid_validity: u32,
    /// The last UID that was given to a message, though that may be gone.
    pub uid_last: u32,
    /// The keywords that are in use, each once.
    pub keywords: Vec<Keyword>,
}

impl Base {
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let mut words = words(value);
        let [uid_validity, uid_last] = [words.next()?, words.next()?];
        let uid_validity = number(uid_validity)?;
        let uid_last = if uid_last.iter().all(|octet| *octet == b'0') { 0 } else { number(uid_last)? };
        Some(Self { uid_validity, uid_last, keywords: Keyword::all(words) })
    }

    /// The field as a line: with numbers of ten digits, so that they can change where they are.
    pub(crate) fn write(&self, out: &mut Vec<u8>, name: &[u8], line_end: &[u8]) {
        let mut value = format!("{:010} {:010}", self.uid_validity, self.uid_last).into_bytes();
        for keyword in &self.keywords {
            value.push(b' ');
            value.extend_from_slice(keyword.octets());
        }
        line(out, name, &value, line_end);
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8], line_end: &[u8]) {
    for octets in [name, value, line_end] {
        out.extend_from_slice(octets);
    }
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// 1 to 2³² − 1, in digits alone.
fn number(digits: &[u8]) -> Option<u32> {
    let digits = core::str::from_utf8(digits).ok()?;
    let number = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())??;
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;

    fn read(header: &[u8]) -> Metadata {
        let mut fields = Fields::default();
        fields.add(header);
        Metadata::read(&fields.found)
    }

    #[test]
    fn what_c_client_and_dovecot_write_is_read_and_written_again() {
        let header = b"X-UID: 12\nStatus: RO\nX-Status: AF\nX-Keywords: $Forwarded Junk                  \n\n";
        let metadata = read(header);
        assert_eq!(metadata.uid, Some(12));
        assert_eq!(metadata.flags, [Flag::SEEN, Flag::OLD, Flag::ANSWERED, Flag::FLAGGED].into_iter().collect());
        assert_eq!(metadata.keywords, [Keyword::new(b"$Forwarded").unwrap(), Keyword::new(b"Junk").unwrap()]);
        let mut out = Vec::new();
        metadata.write(&mut out, b"\n", 18);
        out.extend(b"\n");
        assert_eq!(out.escape_ascii().to_string(), header.escape_ascii().to_string());
    }

    #[test]
    fn letters_that_mean_nothing_here_are_kept() {
        let metadata = read(b"Status: URO\nX-Status: ZFx9\n\n");
        assert_eq!(metadata.flags.to_string(), "ROU/FZ");
        assert_eq!(metadata.flags.without(Flag::FLAGGED).with(Flag::DELETED).to_string(), "ROU/DZ");
    }

    #[test]
    fn keywords_are_kept_once_each_and_read_in_linear_time() {
        let words: String = (0..9_000).map(|n| format!("k{n} ")).collect();
        let header = format!("X-Keywords: a b\nX-Keywords: b a {words}\nX-Keywords: {words}\n\n");
        let start = std::time::Instant::now();
        assert_eq!(read(header.as_bytes()).keywords.len(), 9_002);
        assert!(start.elapsed() < std::time::Duration::from_secs(5));
    }

    #[test]
    fn a_uid_is_digits_alone_and_fits() {
        for value in ["0", "-1", "+1", "1x", "4294967296", "99999999999999999999", "", "1 2", "\u{661}"] {
            assert_eq!(read(format!("X-UID: {value}\n\n").as_bytes()).uid, None, "{value}");
        }
        assert_eq!(read(b"X-UID:0000000004294967295 \r\n\r\n").uid, Some(u32::MAX));
        assert_eq!(read(b"X-UID: x\nX-UID: 3\nX-UID: 4\n\n").uid, Some(3));
    }

    #[test]
    fn a_base_is_two_numbers_and_keywords() {
        let base = Base::read(b" 1234567890 0000000012 a b a\r\n").unwrap();
        assert_eq!((base.uid_validity, base.uid_last, base.keywords.len()), (1_234_567_890, 12, 2));
        let mut out = Vec::new();
        base.write(&mut out, b"X-IMAPbase: ", b"\n");
        assert_eq!(out, b"X-IMAPbase: 1234567890 0000000012 a b\n");
        assert_eq!(Base::read(b"5 0").map(|base| base.uid_last), Some(0));
        for value in ["", "1", "0 1", "x 1", "1 x", "4294967296 1"] {
            assert_eq!(Base::read(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn a_keyword_cannot_end_its_line() {
        for octets in [&b""[..], b"a b", b"a\n", b"a\r", b"\t", b"a\0", b"\x7f", &[b'x'; 256]] {
            assert_eq!(Keyword::new(octets), None);
        }
        assert!(Keyword::new("ümlaut".as_bytes()).is_some());
    }
}
