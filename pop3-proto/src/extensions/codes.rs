//! Response codes: [RFC 2449 section 8](https://www.rfc-editor.org/rfc/rfc2449#section-8), [RFC 3206](https://www.rfc-editor.org/rfc/rfc3206).

use postrider_text_proto::ValueError;

use crate::types::octet_string;
use core::fmt;

/// Why a command failed, for programs: `[IN-USE]`, `[SYS/TEMP]`. An open set; unknown ones are kept.
///
/// ```abnf
/// resp-code  = "[" resp-level *("/" resp-level) "]"
/// resp-level = 1*rchar
/// ```
///
/// A client must not take a code for another kind of failure: on `[AUTH]` it asks the user for the password again, on
/// `[SYS/TEMP]` it must not. Two codes are equal when they differ in case alone.
#[derive(Clone, Copy, Eq)]
pub struct ResponseCode<'b>(&'b [u8]);
octet_string!(ResponseCode);

impl ResponseCode<'static> {
    /// The user's credentials are wrong, [RFC 3206 section 5](https://www.rfc-editor.org/rfc/rfc3206#section-5).
    pub const AUTH: Self = Self(b"AUTH");
    /// Another session has the maildrop, [RFC 2449 section 8.1.2](https://www.rfc-editor.org/rfc/rfc2449#section-8.1.2).
    pub const IN_USE: Self = Self(b"IN-USE");
    /// The last login was too short ago, [RFC 2449 section 8.1.1](https://www.rfc-editor.org/rfc/rfc2449#section-8.1.1).
    pub const LOGIN_DELAY: Self = Self(b"LOGIN-DELAY");
    /// A failure that needs somebody to act, [RFC 3206 section 4](https://www.rfc-editor.org/rfc/rfc3206#section-4).
    pub const SYS_PERM: Self = Self(b"SYS/PERM");
    /// A failure that will pass, [RFC 3206 section 4](https://www.rfc-editor.org/rfc/rfc3206#section-4).
    pub const SYS_TEMP: Self = Self(b"SYS/TEMP");
    /// The message needs `UTF8`, [RFC 6856 section 5](https://www.rfc-editor.org/rfc/rfc6856#section-5).
    pub const UTF8: Self = Self(b"UTF8");
}

impl<'b> ResponseCode<'b> {
    /// Takes `code`, without brackets, as it is.
    ///
    /// # Errors
    ///
    /// When it does not follow the grammar.
    pub fn new(code: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let code = code.as_ref();
        if code.split(|octet| *octet == b'/').all(|level| !level.is_empty() && level.iter().all(is_rchar)) {
            return Ok(Self(code));
        }
        Err(ValueError { expected: "a response code of printable levels parted by '/' (RFC 2449 section 3)" })
    }

    /// The code at the start of a response's text, and the text behind it and its space.
    pub(crate) fn split_from(text: &'b [u8]) -> (Option<Self>, &'b [u8]) {
        let parsed = text.strip_prefix(b"[").and_then(|rest| {
            let (code, text) = rest.split_at_checked(memchr::memchr(b']', rest)?)?;
            let text = text.get(1..)?;
            Some((Self::new(code).ok()?, text.strip_prefix(b" ").unwrap_or(text)))
        });
        parsed.map_or((None, text), |(code, text)| (Some(code), text))
    }
}

impl PartialEq for ResponseCode<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

/// ```abnf
/// rchar = %x21-2E / %x30-5C / %x5E-7F    ; printable ASCII, excluding "/" and "]"
/// ```
///
/// 0x7F is left out: the text beside the numbers says printable.
fn is_rchar(octet: &u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'/' | b']')
}
