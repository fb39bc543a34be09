//! `AUTH`: [RFC 4954](https://www.rfc-editor.org/rfc/rfc4954), [RFC 4422](https://www.rfc-editor.org/rfc/rfc4422).

use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::{Base64Error, Secret, decode, encode};

use crate::types::ValueError;

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
        let sound = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        match name.len() {
            1..=20 if name.iter().all(sound) => Ok(Self(name)),
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

/// ```abnf
/// initial-response = base64 / "="
/// ```
pub(crate) fn parse_initial(text: &[u8]) -> Result<Secret<'static>, Base64Error> {
    match text {
        b"" => Err(Base64Error),
        b"=" => Ok(Secret::from(Vec::new())),
        _ => decode(text),
    }
}

pub(crate) fn put_initial(initial: &Secret<'_>, out: &mut Vec<u8>) {
    match initial.expose() {
        b"" => out.push(b'='),
        octets => encode(octets, out),
    }
}
