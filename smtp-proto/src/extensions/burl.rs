//! What `BURL` fetches.

use core::fmt;

use postrider_text_proto::ValueError;

use crate::grammar::{self, Class};
use crate::types::octet_string;

/// Where a part of a message is to be fetched: what `BURL` names, as it stands.
///
/// ```abnf
/// absolute-URI = scheme ":" 1*VCHAR
/// scheme       = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
/// ```
///
/// [RFC 3986 section 4.3](https://www.rfc-editor.org/rfc/rfc3986#section-4.3), of which no more is checked than keeps the command in one piece.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Url<'b>(&'b [u8]);
octet_string!(Url);

impl<'b> Url<'b> {
    /// Takes `url` as it is.
    ///
    /// # Errors
    ///
    /// When it has no scheme, or a space, a control character or an octet outside ASCII.
    pub fn new(url: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let url = url.as_ref();
        let (scheme, rest) = url.split_at_checked(grammar::find(url, b':').unwrap_or_default()).unwrap_or_default();
        let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'));
        if is_scheme && rest.len() > 1 && grammar::all(rest, Class::VCHAR) {
            return Ok(Self(url));
        }
        Err(ValueError { expected: "an absolute URI (RFC 3986 section 4.3)" })
    }
}
