//! Octets in ASCII: [RFC 3461 section 4](https://www.rfc-editor.org/rfc/rfc3461#section-4).
//!
//! ```abnf
//! xtext   = *( xchar / hexchar )
//! xchar   = %d33-42 / %d44-60 / %d62-126
//! hexchar = "+" 2(%d48-57 / %d65-70)    ; upper case only
//! ```

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::grammar::{self, Class};

/// Undoes xtext. Encoded control characters are refused: what comes out goes into logs and headers.
pub(crate) fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if grammar::all(text, Class::XCHAR) {
        return Some(Cow::Borrowed(text));
    }
    octets(text).collect::<Option<Vec<u8>>>().map(Cow::Owned)
}

/// Undoes xtext that stands for ASCII.
pub(crate) fn decode_ascii(text: &[u8]) -> Option<Cow<'_, str>> {
    let decoded = match decode(text)? {
        Cow::Borrowed(octets) => Cow::Borrowed(core::str::from_utf8(octets).ok()?),
        Cow::Owned(octets) => Cow::Owned(String::from_utf8(octets).ok()?),
    };
    Some(decoded).filter(|text| text.is_ascii())
}

/// Whether [`decode_ascii`] reads it.
pub(crate) fn is_ascii(text: &[u8]) -> bool {
    let mut rest = text;
    loop {
        match rest.get(grammar::run(rest, Class::XCHAR)..).unwrap_or_default() {
            [] => return true,
            [b'+', high, low, after @ ..] if hex_octet(Some(*high), Some(*low)).is_some_and(is_printable) => {
                rest = after
            }
            _ => return false,
        }
    }
}

const fn is_printable(octet: u8) -> bool {
    matches!(octet, b' '..=b'~')
}

/// What `text` stands for, octet by octet; `None` where it is not xtext.
pub(crate) fn octets(text: &[u8]) -> impl Iterator<Item = Option<u8>> {
    let mut rest = text.iter().copied();
    core::iter::from_fn(move || {
        Some(match rest.next()? {
            b'+' => hex_octet(rest.next(), rest.next()).filter(|octet| !octet.is_ascii_control()),
            octet => Class::XCHAR.has(octet).then_some(octet),
        })
    })
}

fn hex_octet(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    };
    Some(digit(high?)? << 4 | digit(low?)?)
}

/// Octets that are shown in xtext.
pub(crate) struct Xtext<'o>(pub(crate) &'o [u8]);

impl fmt::Display for Xtext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| match octet {
            octet if Class::XCHAR.has(*octet) => f.write_char(char::from(*octet)),
            octet => write!(f, "+{octet:02X}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_xtext_is_refused() {
        for bad in ["a b", "a=b", "a+", "a+2", "a+2b", "a+2G", "gr\u{fc}n", "+0D+0A", "+7F", "\0"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_stands_for_ascii_is_text() {
        for (text, ascii) in
            [("a+2Bb+20", Some("a+b ")), ("ab", Some("ab")), ("+C3+A9", None), ("a+7F", None), ("a+2b", None)]
        {
            assert_eq!(decode_ascii(text.as_bytes()).as_deref(), ascii, "{text}");
            assert_eq!(is_ascii(text.as_bytes()), ascii.is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(octets in proptest::collection::vec(32_u8.., 0..40)) {
            prop_assume!(!octets.contains(&0x7F));
            let text = Xtext(&octets).to_string();
            let decoded = decode(text.as_bytes()).map(Cow::into_owned);
            prop_assert_eq!(decoded, Some(octets));
        }
    }
}
