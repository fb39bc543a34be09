//! What a sender wants to be told: [RFC 3461](https://www.rfc-editor.org/rfc/rfc3461), for addresses in UTF-8
//! [RFC 6533](https://www.rfc-editor.org/rfc/rfc6533).

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::extensions::xtext;
use crate::grammar;

/// How much of a message its delivery reports bring back. [RFC 3461 section 4.3](https://www.rfc-editor.org/rfc/rfc3461#section-4.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

impl Ret {
    /// ```abnf
    /// ret-value = "FULL" / "HDRS"
    /// ```
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        [Self::Full, Self::Headers].into_iter().find(|ret| grammar::is_name(value, ret.as_str()))
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

/// What a sender wants to be told of a recipient: `SUCCESS,DELAY` for one. [RFC 3461 section 4.1](https://www.rfc-editor.org/rfc/rfc3461#section-4.1).
///
/// None of the three is `NEVER`. Where the sender does not say, a server reports failures, and delays if it likes to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Notify {
    /// That it is late.
    pub delay: bool,
    /// That it could not be delivered.
    pub failure: bool,
    /// That it was delivered.
    pub success: bool,
}

impl Notify {
    /// Of nothing.
    pub const NEVER: Self = Self { delay: false, failure: false, success: false };

    /// ```abnf
    /// notify-esmtp-value  = "NEVER" / (notify-list-element *( "," notify-list-element ))
    /// notify-list-element = "SUCCESS" / "FAILURE" / "DELAY"
    /// ```
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let mut notify = Self::NEVER;
        if grammar::is_name(value, "NEVER") {
            return Some(notify);
        }
        let mut list = value;
        loop {
            let (name, wanted) = match list.first()? | 0x20 {
                b'd' => ("DELAY", &mut notify.delay),
                b'f' => ("FAILURE", &mut notify.failure),
                _ => ("SUCCESS", &mut notify.success),
            };
            let (element, rest) = list.split_at_checked(name.len())?;
            *wanted = grammar::is_name(element, name);
            list = match rest {
                _ if !*wanted => return None,
                [] => return Some(notify),
                [b',', rest @ ..] => rest,
                _ => return None,
            };
        }
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        let all = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let start = out.len();
        for (_, name) in all.into_iter().filter(|(wanted, _)| *wanted) {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(name.as_bytes());
        }
        if out.len() == start {
            out.extend_from_slice(b"NEVER");
        }
    }
}

/// The recipient as the sender wrote it. [RFC 3461 section 4.2](https://www.rfc-editor.org/rfc/rfc3461#section-4.2).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct OriginalRecipient<'b> {
    /// `rfc822`, `utf-8`, `x400` and the like, as it stands: compared without regard to the case of ASCII letters.
    pub address_type: &'b [u8],
    /// The address. Of the type `utf-8` in UTF-8, of others decoded from xtext.
    pub address: Cow<'b, [u8]>,
}

impl<'b> OriginalRecipient<'b> {
    /// The most octets of the whole value: [RFC 3461 section 5.4](https://www.rfc-editor.org/rfc/rfc3461#section-5.4).
    pub const MAX_LEN: usize = 500;

    /// ```abnf
    /// original-recipient-address = addr-type ";" xtext
    /// addr-type                  = atom
    /// ```
    pub(crate) fn parse(value: &'b [u8]) -> Option<Self> {
        let (address_type, text) = split(value)?;
        let address = if is_utf8_type(address_type) { decode_utf8(text)? } else { xtext::decode(text)? };
        Some(Self { address_type, address })
    }

    /// Whether [`parse`](Self::parse) reads it.
    pub(crate) fn is_value(value: &[u8]) -> bool {
        let Some((address_type, text)) = split(value) else { return false };
        if is_utf8_type(address_type) {
            return utf8_chars(text).all(|char| char.is_some());
        }
        xtext::is_ascii(text)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.address_type);
        out.push(b';');
        if is_utf8_type(self.address_type) {
            encode_utf8(&self.address, out)
        } else {
            xtext::encode(&self.address, out)
        }
    }
}

fn split(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (address_type, Some(text)) = grammar::split_once(value, b';') else { return None };
    let is_atom = grammar::is_name(address_type, "RFC822")
        || !address_type.is_empty() && address_type.iter().all(|octet| is_atom_char(*octet));
    (is_atom && !text.is_empty() && value.len() <= OriginalRecipient::MAX_LEN).then_some((address_type, text))
}

const fn is_atom_char(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(octet, b'-' | b'_' | b'.' | b'/' | b'+' | b'!' | b'#' | b'$' | b'%' | b'&')
}

fn is_utf8_type(address_type: &[u8]) -> bool {
    grammar::is_name(address_type, "UTF-8")
}

fn decode_utf8(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'\\') {
        return utf8_chars(text).all(|char| char.is_some()).then_some(Cow::Borrowed(text));
    }
    let decoded: alloc::string::String = utf8_chars(text).collect::<Option<_>>()?;
    Some(Cow::Owned(decoded.into_bytes()))
}

/// The characters an address of the type `utf-8` stands for; `None` where it is none.
///
/// ```abnf
/// utf-8-addr-unitext  = 1*(QUCHAR / EmbeddedUnicodeChar)
/// QUCHAR              = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e / UTF8-2 / UTF8-3 / UTF8-4
/// EmbeddedUnicodeChar = "\x" "{" HEXPOINT "}"
/// ```
///
/// [RFC 6533 section 3](https://www.rfc-editor.org/rfc/rfc6533#section-3). Control characters are refused although HEXPOINT names them: an address has none,
/// and what comes out goes into logs and headers.
fn utf8_chars(text: &[u8]) -> impl Iterator<Item = Option<char>> {
    // What is not UTF-8 has no text, and so is refused as if a character were wrong.
    let (mut rest, mut broken) = match core::str::from_utf8(text) {
        Ok(text) => (text, false),
        Err(_) => ("", true),
    };
    core::iter::from_fn(move || {
        if core::mem::take(&mut broken) {
            return Some(None);
        }
        let char = rest.chars().next()?;
        let (found, len) = match char {
            '\\' => embedded(rest).map_or((None, rest.len()), |(char, len)| (Some(char), len)),
            '!'..='~' if !matches!(char, '+' | '=') => (Some(char), 1),
            _ => ((!char.is_ascii()).then_some(char), char.len_utf8()),
        };
        rest = rest.get(len..).unwrap_or_default();
        Some(found.filter(|char| !char.is_control()))
    })
}

/// `\x{2B}`, at the front of `text`, and its length.
fn embedded(text: &str) -> Option<(char, usize)> {
    let (digits, _) = text.strip_prefix("\\x{")?.split_once('}')?;
    let upper = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    let minimal = digits.len() == 2 || digits.len() <= 6 && !digits.starts_with('0');
    if !upper || !minimal || digits.len() < 2 {
        return None;
    }
    let char = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    // In ASCII, for what cannot stand there as it is.
    (!char.is_ascii_graphic() || matches!(char, '\\' | '+' | '=')).then_some((char, digits.len() + 4))
}

/// In the form that any server takes, those without `SMTPUTF8` too.
fn encode_utf8(address: &[u8], out: &mut Vec<u8>) {
    let Ok(address) = core::str::from_utf8(address) else {
        // It stays wrong, for the check to find.
        return out.extend_from_slice(address);
    };
    for char in address.chars() {
        match char {
            '!'..='~' if !matches!(char, '\\' | '+' | '=') => out.push(char as u8),
            _ => out.extend_from_slice(alloc::format!("\\x{{{:02X}}}", u32::from(char)).as_bytes()),
        }
    }
}

/// ```abnf
/// envid-parameter = "ENVID=" xtext
/// ```
///
/// At most 100 octets, of printable ASCII: [RFC 3461 section 4.4](https://www.rfc-editor.org/rfc/rfc3461#section-4.4).
pub(crate) fn is_envelope_id(value: &[u8]) -> bool {
    matches!(value.len(), 1..=100) && xtext::is_ascii(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(value: &str) -> Option<Vec<u8>> {
        let read = OriginalRecipient::parse(value.as_bytes()).map(|original| original.address.into_owned());
        assert_eq!(OriginalRecipient::is_value(value.as_bytes()), read.is_some(), "{value}");
        read
    }

    #[test]
    fn never_stands_alone() {
        for bad in ["NEVER,SUCCESS", "SUCCESS,NEVER", "", "SUCCESS,", ",DELAY", "ALWAYS", "SUCCESS,,DELAY"] {
            assert_eq!(Notify::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Notify::parse(b"never"), Some(Notify::NEVER));
        let two = Notify { delay: true, success: true, ..Notify::NEVER };
        assert_eq!(Notify::parse(b"Delay,SUCCESS"), Some(two));
    }

    #[test]
    fn addresses_of_each_type_are_decoded() {
        assert_eq!(address("rfc822;a+2Bb+40c@x").as_deref(), Some(&b"a+b@c@x"[..]));
        assert_eq!(address("X400;/C=us").as_deref(), None);
        assert_eq!(address("X400;/C+3Dus").as_deref(), Some(&b"/C=us"[..]));
        assert_eq!(address("utf-8;gr\\x{FC}n\\x{2B}a@x").as_deref(), Some("gr\u{fc}n+a@x".as_bytes()));
        assert_eq!(address("UTF-8;gr\u{fc}n@x").as_deref(), Some("gr\u{fc}n@x".as_bytes()));
    }

    #[test]
    fn malformed_addresses_are_refused() {
        let bad = [
            "",
            ";",
            "rfc822",
            "rfc822;",
            ";a@x",
            "rfc822;a b",
            "rfc822;a+2b",
            "rfc822;a+0D",
            "rfc822;gr\u{fc}n",
            "rf c;a",
            "utf-8;a+2Bb",
            "utf-8;a=b",
            "utf-8;\\x{61}",
            "utf-8;\\x{D800}",
            "utf-8;\\x{00FC}",
            "utf-8;\\x{fc}",
            "utf-8;\\x{A",
            "utf-8;\\xFC",
            "utf-8;\\x{110000}",
            "utf-8;\\x{0A}",
            "utf-8;\\x{}",
        ];
        for bad in bad {
            assert_eq!(address(bad), None, "{bad}");
        }
        assert_eq!(OriginalRecipient::parse(b"utf-8;\xff"), None);
        assert!(!OriginalRecipient::is_value(b"utf-8;\xff"));
    }

    #[test]
    fn an_address_is_written_so_that_it_reads_back() {
        for (address_type, address) in [("rfc822", "a+b=c d@x"), ("utf-8", "gr\u{fc}n \\+=@\u{1f600}.x")] {
            let original =
                OriginalRecipient { address_type: address_type.as_bytes(), address: Cow::Borrowed(address.as_bytes()) };
            let mut value = Vec::new();
            original.encode(&mut value);
            assert!(value.is_ascii());
            assert_eq!(OriginalRecipient::parse(&value), Some(original));
        }
    }
}
