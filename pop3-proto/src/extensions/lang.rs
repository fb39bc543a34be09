//! `LANG`: [RFC 6856 section 3](https://www.rfc-editor.org/rfc/rfc6856#section-3).

use core::fmt;

use postrider_text_proto::ValueError;

use crate::types::octet_string;

/// What a client asks for: a basic language range, or `*` for what the administrator prefers.
///
/// ```abnf
/// language-range = (1*8ALPHA *("-" 1*8alphanum)) / "*"
/// ```
///
/// [RFC 4647 section 2.1](https://www.rfc-editor.org/rfc/rfc4647#section-2.1).
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct LanguageRange<'b>(&'b [u8]);
octet_string!(LanguageRange);

impl LanguageRange<'static> {
    /// `*`.
    pub const ANY: Self = Self(b"*");
}

impl<'b> LanguageRange<'b> {
    /// Takes `range` as it is.
    ///
    /// # Errors
    ///
    /// When it does not follow the grammar.
    pub fn new(range: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let range = range.as_ref();
        if range == b"*" || is_tag(range) {
            return Ok(Self(range));
        }
        Err(ValueError { expected: "a language range or '*' (RFC 4647 section 2.1)" })
    }
}

/// The tag of a language a server has texts in, [RFC 5646](https://www.rfc-editor.org/rfc/rfc5646).
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct LanguageTag<'b>(&'b [u8]);
octet_string!(LanguageTag);

impl<'b> LanguageTag<'b> {
    /// Takes `tag` as it is.
    ///
    /// # Errors
    ///
    /// When its subtags are not 1 to 8 letters and digits parted by `-`.
    pub fn new(tag: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let tag = tag.as_ref();
        if is_tag(tag) {
            return Ok(Self(tag));
        }
        Err(ValueError { expected: "a language tag (RFC 5646 section 2.1)" })
    }
}

fn is_tag(octets: &[u8]) -> bool {
    let subtag = |part: &[u8]| matches!(part.len(), 1..=8) && part.iter().all(u8::is_ascii_alphanumeric);
    octets.split(|octet| *octet == b'-').all(subtag) && octets.first().is_some_and(u8::is_ascii_alphabetic)
}
