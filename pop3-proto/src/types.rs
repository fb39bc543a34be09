//! Values that commands and responses carry. None can hold what would break a line.

use alloc::borrow::{Cow, ToOwned};
use core::fmt;
use core::num::NonZeroU32;

use postrider_text_proto::{Escaped, ValueError};

use crate::grammar;

/// The number of a message within a session, from 1 on.
///
/// [RFC 1939 section 5](https://www.rfc-editor.org/rfc/rfc1939#section-5). Numbers beyond 4,294,967,295 are refused, never wrapped.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageNumber(NonZeroU32);

impl MessageNumber {
    /// The number, unless it is 0.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number as an integer.
    pub const fn as_u32(self) -> u32 {
        self.0.get()
    }

    /// The position in a list that begins at 0.
    pub const fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// The number of the message at `index` in a list that begins at 0, if a session can number it.
    pub fn from_index(index: usize) -> Option<Self> {
        Self::new(u32::try_from(index).ok()?.checked_add(1)?)
    }

    pub(crate) fn parse(digits: &[u8]) -> Option<Self> {
        Self::from_u64(grammar::number64(digits)?)
    }

    pub(crate) fn from_u64(number: u64) -> Option<Self> {
        Self::new(u32::try_from(number).ok()?)
    }
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Gives a borrowed octet string its accessor, its escaping `Display` and a `Debug` alike.
macro_rules! octet_string {
    ($name:ident) => {
        impl<'b> $name<'b> {
            /// The octets as they stand on the wire.
            pub const fn as_bytes(&self) -> &'b [u8] {
                self.0
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&postrider_text_proto::Escaped(self.0), f)
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(\"{self}\")", stringify!($name))
            }
        }
    };
}
pub(crate) use octet_string;

/// The name of a maildrop, as `USER` and `APOP` give it: at least one octet, no control characters.
///
/// Octets beyond ASCII are kept as they are; whether they are welcome is said by the `UTF8 USER` capability
/// ([RFC 6856 section 2.2](https://www.rfc-editor.org/rfc/rfc6856#section-2.2)).
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Name<'b>(&'b [u8]);
octet_string!(Name);

impl<'b> Name<'b> {
    /// Takes `name` as it is.
    ///
    /// # Errors
    ///
    /// When it is empty or holds a control character.
    pub fn new(name: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let name = name.as_ref();
        if name.is_empty() || name.iter().any(u8::is_ascii_control) {
            return Err(ValueError { expected: "a name without control characters" });
        }
        Ok(Self(name))
    }
}

/// The unique-id of a message: 1 to 70 octets from 0x21 to 0x7E.
///
/// [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7), UIDL.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UniqueId<'b>(&'b [u8]);
octet_string!(UniqueId);

impl<'b> UniqueId<'b> {
    /// The most octets a unique-id may have.
    pub const MAX_LEN: usize = 70;

    /// Takes `id` as it is.
    ///
    /// # Errors
    ///
    /// When it is empty, longer than 70 octets, or holds an octet outside 0x21 to 0x7E.
    pub fn new(id: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let id = id.as_ref();
        match id.len() {
            1..=Self::MAX_LEN if id.iter().all(u8::is_ascii_graphic) => Ok(Self(id)),
            _ => Err(ValueError { expected: "a unique-id of 1 to 70 printable octets (RFC 1939 section 7)" }),
        }
    }

    /// As a client takes it: servers send longer ones. The octets are known to be printable.
    pub(crate) const fn as_received(id: &'b [u8]) -> Self {
        Self(id)
    }
}

/// The challenge in a greeting that offers `APOP`: `<unique@host>`, its brackets included.
///
/// ```abnf
/// timestamp = "<" *VCHAR ">"    ; MUST conform to RFC-822 msg-id
/// ```
///
/// [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7), [RFC 2449 section 3](https://www.rfc-editor.org/rfc/rfc2449#section-3).
/// Octets outside ASCII are refused: with such challenges a server in the middle can compute passwords (CVE-2007-1558).
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Timestamp<'b>(&'b [u8]);
octet_string!(Timestamp);

impl<'b> Timestamp<'b> {
    /// Takes `timestamp`, brackets included, as it is.
    ///
    /// # Errors
    ///
    /// When it is not a msg-id of printable ASCII.
    pub fn new(timestamp: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let timestamp = timestamp.as_ref();
        if grammar::is_timestamp(timestamp) {
            return Ok(Self(timestamp));
        }
        Err(ValueError { expected: "a timestamp <left@right> of printable ASCII (RFC 1939 section 7)" })
    }
}

/// What a client proves its password with in `APOP`: the MD5 of timestamp and shared secret.
///
/// [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7). On the wire 32 lower-case hexadecimal digits. Equality takes the same
/// time wherever two digests differ.
#[derive(Clone, Copy)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    pub(crate) fn parse(hex: &[u8]) -> Option<Self> {
        let mut digest = [0; 16];
        if hex.len() != 2 * digest.len() {
            return None;
        }
        for (octet, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *octet = grammar::lower_hex(*high)? << 4 | grammar::lower_hex(*low)?;
        }
        Some(Self(digest))
    }

    pub(crate) fn hex(self) -> impl Iterator<Item = u8> {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        self.0.into_iter().flat_map(move |octet| [digit(octet >> 4), digit(octet & 15)])
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        use postrider_text_proto::Secret;
        Secret::borrowed(&self.0) == Secret::borrowed(&other.0)
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// Human-readable text behind `+OK` or `-ERR`: one line that cannot be taken for anything else.
///
/// It holds no CR, LF or NUL and does not begin with `[`, which would make it a response code
/// ([RFC 2449 section 8](https://www.rfc-editor.org/rfc/rfc2449#section-8)). Whatever a user's name or a file's path contains,
/// a response made from it stays one response.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Text<'b>(Cow<'b, [u8]>);

impl<'b> Text<'b> {
    /// No text.
    pub const EMPTY: Self = Self(Cow::Borrowed(b""));

    /// Takes `text` as it is.
    ///
    /// # Errors
    ///
    /// When it holds CR, LF or NUL or begins with `[`.
    pub fn new(text: &'b str) -> Result<Self, ValueError> {
        if text.starts_with('[') || text.bytes().any(breaks_a_line) {
            return Err(ValueError { expected: "text without CR, LF and NUL that does not begin with '['" });
        }
        Ok(Self(Cow::Borrowed(text.as_bytes())))
    }

    /// Takes `text` with a space for each octet that must not be there.
    pub fn lossy(text: &'b str) -> Self {
        if let Ok(text) = Self::new(text) {
            return text;
        }
        let mut octets = text.as_bytes().to_owned();
        octets.iter_mut().filter(|octet| breaks_a_line(**octet)).for_each(|octet| *octet = b' ');
        let mut text = Self(Cow::Owned(octets));
        text.open_with_no_bracket();
        text
    }

    /// A response code begins with one.
    pub(crate) fn open_with_no_bracket(&mut self) {
        if self.0.first() == Some(&b'[')
            && let Some(first) = self.0.to_mut().first_mut()
        {
            *first = b'(';
        }
    }

    /// Text a peer sent, found in a line.
    pub(crate) const fn received(octets: &'b [u8]) -> Self {
        Self(Cow::Borrowed(octets))
    }

    /// The octets as they stand on the wire; UTF-8 where the peer keeps to [RFC 6856](https://www.rfc-editor.org/rfc/rfc6856).
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A text of its own.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

const fn breaks_a_line(octet: u8) -> bool {
    matches!(octet, b'\r' | b'\n' | 0)
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text(\"{}\")", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_never_breaks_a_line_nor_passes_for_a_code() {
        assert!(Text::new("two\r\n+OK lines").is_err());
        assert!(Text::new("[IN-USE] no").is_err());
        assert_eq!(Text::lossy("two\r\n+OK\0").as_bytes(), b"two  +OK ");
        assert_eq!(Text::lossy("[IN-USE] no").as_bytes(), b"(IN-USE] no");
        assert_eq!(Text::lossy("gr\u{fc}n").to_string(), "gr\u{fc}n");
    }

    #[test]
    fn a_timestamp_is_an_ascii_message_id() {
        assert!(Timestamp::new("<1896.697170952@dbc.mtview.ca.us>").is_ok());
        for bad in ["", "<>", "<a>", "<@>", "<a@b", "a@b>", "<a@b>c>", "<a b@c>", "<a@b@c>", "<\u{e9}@b>", "<a\x7f@b>"]
        {
            assert!(Timestamp::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_unique_id_has_1_to_70_printable_octets() {
        assert!(UniqueId::new(&[b'~'; 70]).is_ok());
        for bad in [&b""[..], &[b'!'; 71], b"a b", b"\x7f", b"\xff"] {
            assert!(UniqueId::new(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_digest_is_32_lower_case_hexadecimal_digits() {
        let hex = b"c4c9334bac560ecc979e58001b3e22fb";
        let digest = Digest::parse(hex).unwrap();
        assert!(digest.hex().eq(*hex));
        assert_eq!(Digest::parse(b"C4C9334BAC560ECC979E58001B3E22FB"), None);
        assert_eq!(Digest::parse(&hex[..31]), None);
        assert_eq!(Digest::parse(b"c4c9334bac560ecc979e58001b3e22fg"), None);
    }
}
