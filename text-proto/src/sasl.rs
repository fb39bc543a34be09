//! What SMTP, POP3 and IMAP say alike around SASL ([RFC 4422](https://www.rfc-editor.org/rfc/rfc4422)): mechanisms, initial responses, and the lines
//! that follow.

use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::base64::{Base64Error, decode, encode};
use crate::secret::Secret;
use crate::value::ValueError;

/// A line the client sends while authentication goes on.
///
/// [RFC 4954 section 4](https://www.rfc-editor.org/rfc/rfc4954#section-4),
/// [RFC 5034 section 4](https://www.rfc-editor.org/rfc/rfc5034#section-4) and
/// [RFC 9051 section 6.2.2](https://www.rfc-editor.org/rfc/rfc9051#section-6.2.2) define it alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslLine {
    /// `*`: the client gives up.
    Cancel,
    /// A response, decoded. An empty line is an empty response.
    Response(Secret<'static>),
}

impl SaslLine {
    /// Reads the octets before the CRLF.
    ///
    /// # Errors
    ///
    /// When they are neither `*` nor base64.
    pub fn parse(line: &[u8]) -> Result<Self, Base64Error> {
        match line {
            b"*" => Ok(Self::Cancel),
            _ => decode(line).map(Self::Response),
        }
    }

    /// Appends the line with its CRLF to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Cancel => out.push(b'*'),
            Self::Response(response) => encode(response.expose(), out),
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The name of a SASL mechanism.
///
/// ```abnf
/// sasl-mech  = 1*20mech-char
/// mech-char  = UPPER-ALPHA / DIGIT / HYPHEN / UNDERSCORE
/// ```
///
/// [RFC 4422 section 3.1](https://www.rfc-editor.org/rfc/rfc4422#section-3.1). Lower case is taken too, as clients send it; two names are equal
/// when they differ in case alone.
#[derive(Clone, Copy, Eq)]
pub struct Mechanism<'b>(&'b [u8]);

impl Mechanism<'static> {
    /// [RFC 7628](https://www.rfc-editor.org/rfc/rfc7628).
    pub const OAUTHBEARER: Self = Self(b"OAUTHBEARER");
    /// [RFC 4616](https://www.rfc-editor.org/rfc/rfc4616).
    pub const PLAIN: Self = Self(b"PLAIN");
    /// The name, then the password; described nowhere, used everywhere.
    pub const LOGIN: Self = Self(b"LOGIN");
    /// [RFC 5802](https://www.rfc-editor.org/rfc/rfc5802).
    pub const SCRAM_SHA_1: Self = Self(b"SCRAM-SHA-1");
    /// [RFC 7677](https://www.rfc-editor.org/rfc/rfc7677).
    pub const SCRAM_SHA_256: Self = Self(b"SCRAM-SHA-256");
}

impl<'b> Mechanism<'b> {
    /// Takes `name` as it is.
    ///
    /// # Errors
    ///
    /// When it does not follow the grammar.
    pub fn new(name: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let name = name.as_ref();
        match name.len() {
            1..=20 if mech_chars(name) == name.len() => Ok(Self(name)),
            _ => Err(ValueError {
                expected: "a mechanism of 1 to 20 letters, digits, '-' and '_' (RFC 4422 section 3.1)",
            }),
        }
    }

    /// The name as it stands on the wire.
    pub const fn as_bytes(&self) -> &'b [u8] {
        self.0
    }

    /// The name as text: it is ASCII.
    pub fn as_str(&self) -> &'b str {
        core::str::from_utf8(self.0).unwrap_or_default()
    }
}

impl Hash for Mechanism<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|octet| state.write_u8(octet.to_ascii_uppercase()));
        state.write_u8(0xFF);
    }
}

impl PartialEq for Mechanism<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl fmt::Display for Mechanism<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Mechanism<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mechanism({self})")
    }
}

/// Reads the initial response of an `AUTH` command.
///
/// ```abnf
/// initial-response = base64 / "="
/// ```
///
/// # Errors
///
/// When it is neither.
pub fn parse_initial(text: &[u8]) -> Result<Secret<'static>, Base64Error> {
    match text {
        b"" => Err(Base64Error),
        b"=" => Ok(Secret::from(Vec::new())),
        _ => decode(text),
    }
}

/// Appends an initial response to `out`: an empty one is `=`.
pub fn put_initial(initial: &Secret<'_>, out: &mut Vec<u8>) {
    match initial.expose() {
        b"" => out.push(b'='),
        octets => encode(octets, out),
    }
}

/// The mechanisms a server offers.
#[derive(Clone, Copy, Debug)]
pub struct Mechanisms<'b>(Source<'b>);

#[derive(Clone, Copy, Debug)]
enum Source<'b> {
    Offered(&'b [Mechanism<'static>]),
    Wire(&'b [u8]),
}

impl<'b> Mechanisms<'b> {
    /// A list to be sent.
    pub const fn offered(mechanisms: &'b [Mechanism<'static>]) -> Self {
        Self(Source::Offered(mechanisms))
    }

    /// What stands behind the keyword of a capability: words parted by spaces.
    pub const fn received(words: &'b [u8]) -> Self {
        Self(Source::Wire(words))
    }

    /// The mechanisms, in the server's order. Words that cannot name one are passed over.
    pub fn iter(&self) -> impl Iterator<Item = Mechanism<'b>> + use<'b> {
        match self.0 {
            Source::Offered(offered) => Names { offered: offered.iter(), wire: b"" },
            Source::Wire(wire) => Names { offered: [].iter(), wire },
        }
    }

    /// Whether `mechanism` is among them.
    pub fn contains(&self, mechanism: Mechanism<'_>) -> bool {
        self.iter().any(|offered| offered == mechanism)
    }
}

/// The mechanisms that are left of a list.
struct Names<'b> {
    offered: core::slice::Iter<'b, Mechanism<'static>>,
    wire: &'b [u8],
}

impl<'b> Iterator for Names<'b> {
    type Item = Mechanism<'b>;

    #[inline]
    fn next(&mut self) -> Option<Mechanism<'b>> {
        while !self.wire.is_empty() {
            let (name, rest) = self.wire.split_at_checked(mech_chars(self.wire))?;
            // What follows a name is its space, or the end; else the word names none.
            let word_ends = rest.first().is_none_or(|octet| *octet == b' ');
            let end = if word_ends { 0 } else { rest.iter().position(|octet| *octet == b' ').unwrap_or(rest.len()) };
            self.wire = rest.get(end + 1..).unwrap_or_default();
            if word_ends && matches!(name.len(), 1..=20) {
                return Some(Mechanism(name));
            }
        }
        self.offered.next().copied()
    }
}

/// How many octets at the front are of those that names are made of.
#[inline]
fn mech_chars(octets: &[u8]) -> usize {
    #[expect(clippy::indexing_slicing, reason = "the table has a place for every octet")]
    let end = octets.iter().position(|octet| !MECH_CHAR[usize::from(*octet)]);
    end.unwrap_or(octets.len())
}

static MECH_CHAR: [bool; 256] = {
    let (mut table, mut octet) = ([false; 256], 0);
    while octet < 256 {
        #[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "it is below 256")]
        (table[octet] = (octet as u8).is_ascii_alphanumeric() || matches!(octet as u8, b'-' | b'_'));
        octet += 1;
    }
    table
};

impl PartialEq for Mechanisms<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Mechanisms<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_canonical_base64_is_refused() {
        for bad in ["A", "AA", "AAA", "AA=A", "AAAA=", "AB==", "A A=", "AAAA\n", "=", "====", "AA-_", "*x"] {
            assert_eq!(SaslLine::parse(bad.as_bytes()), Err(Base64Error), "{bad}");
        }
    }

    #[test]
    fn a_star_cancels_and_an_empty_line_is_an_empty_response() {
        assert_eq!(SaslLine::parse(b"*"), Ok(SaslLine::Cancel));
        assert_eq!(SaslLine::parse(b""), Ok(SaslLine::Response(Secret::borrowed(b""))));
    }

    #[test]
    fn mechanisms_are_known_in_any_case_and_words_that_name_none_are_passed_over() {
        let received = Mechanisms::received(b"plain  SCRAM-SHA-256 gr\xfcn");
        assert_eq!(received, Mechanisms::offered(&[Mechanism::PLAIN, Mechanism::SCRAM_SHA_256]));
        assert!(received.contains(Mechanism::PLAIN) && !received.contains(Mechanism::LOGIN));
    }
}
