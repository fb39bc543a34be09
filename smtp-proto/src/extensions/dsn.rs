//! What a sender wants to be told: [RFC 3461](https://www.rfc-editor.org/rfc/rfc3461), for addresses in UTF-8
//! [RFC 6533](https://www.rfc-editor.org/rfc/rfc6533).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use postrider_text_proto::ValueError;

use crate::extensions::written::put;
use crate::extensions::xtext::{self, Xtext};
use crate::grammar;
use crate::types::Mailbox;

/// How much of a message its delivery reports bring back. [RFC 3461 section 4.3](https://www.rfc-editor.org/rfc/rfc3461#section-4.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ret {
    /// `FULL`: all of it.
    Full,
    /// `HDRS`: its header.
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

/// As in `RET=`.
impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a sender wants to be told of a recipient: `SUCCESS,DELAY` for one. [RFC 3461 section 4.1](https://www.rfc-editor.org/rfc/rfc3461#section-4.1).
///
/// None of the three is `NEVER`. Where the sender does not say, a server reports failures, and delays if it likes to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Notify {
    /// `DELAY`: the message is late.
    pub delay: bool,
    /// `FAILURE`: the message could not be delivered.
    pub failure: bool,
    /// `SUCCESS`: the message was delivered.
    pub success: bool,
}

impl Notify {
    /// The sender wants to be told nothing.
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
}

/// As in `NOTIFY=`.
impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            return f.write_str("NEVER");
        }
        let all = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        for (index, (_, name)) in all.into_iter().filter(|(wanted, _)| *wanted).enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// The recipient as the sender wrote it. [RFC 3461 section 4.2](https://www.rfc-editor.org/rfc/rfc3461#section-4.2).
///
/// ```
/// use postrider_smtp_proto::{Mailbox, OriginalRecipient};
///
/// let original = OriginalRecipient::rfc822(Mailbox::new("a+b@mail.example")?)?;
/// assert_eq!((original.address_type(), original.address()), ("rfc822", "a+b@mail.example"));
/// assert_eq!(original.to_string(), "rfc822;a+2Bb@mail.example");
/// # Ok::<(), postrider_smtp_proto::ValueError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct OriginalRecipient<'b> {
    address_type: &'b str,
    address: Cow<'b, str>,
}

impl<'b> OriginalRecipient<'b> {
    /// The most octets of the whole value: [RFC 3461 section 5.4](https://www.rfc-editor.org/rfc/rfc3461#section-5.4).
    pub const MAX_LEN: usize = 500;

    pub(crate) const EXPECTED: &'static str = "type;address, in xtext, of at most 500 octets (RFC 3461 section 4.2)";

    /// One of any type, `x400` for one.
    ///
    /// # Errors
    ///
    /// When the type is no atom, the address is empty, has control characters, or is not ASCII although its type is not `utf-8`, or all of it has more than
    /// 500 octets as it is sent.
    pub fn new(address_type: &'b str, address: impl Into<Cow<'b, str>>) -> Result<Self, ValueError> {
        let original = Self { address_type, address: address.into() };
        let mut value = Vec::new();
        put(&original, &mut value);
        let whole = split(&value).is_some_and(|(found, _)| found == address_type.as_bytes());
        if whole && Self::is_value(&value) { Ok(original) } else { Err(ValueError { expected: Self::EXPECTED }) }
    }

    /// A mailbox of ASCII.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn rfc822(mailbox: Mailbox<'b>) -> Result<Self, ValueError> {
        Self::new("rfc822", text_of(mailbox))
    }

    /// A mailbox that may be UTF-8. It is sent in ASCII, so that any server takes it.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn utf8(mailbox: Mailbox<'b>) -> Result<Self, ValueError> {
        Self::new("utf-8", text_of(mailbox))
    }

    /// `rfc822`, `utf-8`, `x400` and the like, as it stands: compared without regard to the case of ASCII letters.
    pub const fn address_type(&self) -> &'b str {
        self.address_type
    }

    /// The address, decoded. It is ASCII but for the type `utf-8`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// ```abnf
    /// original-recipient-address = addr-type ";" xtext
    /// addr-type                  = atom
    /// ```
    pub(crate) fn parse(value: &'b [u8]) -> Option<Self> {
        let (address_type, text) = split(value)?;
        let address = if is_utf8_type(address_type) { decode_utf8(text)? } else { xtext::decode_ascii(text)? };
        Some(Self { address_type: core::str::from_utf8(address_type).ok()?, address })
    }

    /// Whether [`parse`](Self::parse) reads it.
    pub(crate) fn is_value(value: &[u8]) -> bool {
        let Some((address_type, text)) = split(value) else { return false };
        if is_utf8_type(address_type) {
            return utf8_chars(text).all(|char| char.is_some());
        }
        xtext::is_ascii(text)
    }
}

/// As in `ORCPT=`, in a form that any server takes, those without `SMTPUTF8` too.
impl fmt::Display for OriginalRecipient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};", self.address_type)?;
        if !is_utf8_type(self.address_type.as_bytes()) {
            return Xtext(self.address.as_bytes()).fmt(f);
        }
        self.address.chars().try_for_each(|char| match char {
            '!'..='~' if !matches!(char, '\\' | '+' | '=') => f.write_char(char),
            _ => write!(f, "\\x{{{:02X}}}", u32::from(char)),
        })
    }
}

fn text_of(mailbox: Mailbox<'_>) -> &str {
    // The grammar has UTF-8 only.
    core::str::from_utf8(mailbox.as_bytes()).unwrap_or_default()
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

fn decode_utf8(text: &[u8]) -> Option<Cow<'_, str>> {
    if !text.contains(&b'\\') {
        let sound = utf8_chars(text).all(|char| char.is_some());
        return core::str::from_utf8(text).ok().filter(|_| sound).map(Cow::Borrowed);
    }
    utf8_chars(text).collect::<Option<String>>().map(Cow::Owned)
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
    use alloc::string::ToString;

    fn address(value: &str) -> Option<String> {
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
        assert_eq!(address("rfc822;a+2Bb+40c@x").as_deref(), Some("a+b@c@x"));
        assert_eq!(address("X400;/C=us").as_deref(), None);
        assert_eq!(address("X400;/C+3Dus").as_deref(), Some("/C=us"));
        assert_eq!(address("utf-8;gr\\x{FC}n\\x{2B}a@x").as_deref(), Some("gr\u{fc}n+a@x"));
        assert_eq!(address("UTF-8;gr\u{fc}n@x").as_deref(), Some("gr\u{fc}n@x"));
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
            let original = OriginalRecipient::new(address_type, address).unwrap();
            let value = original.to_string();
            assert!(value.is_ascii());
            assert_eq!(OriginalRecipient::parse(value.as_bytes()), Some(original));
        }
    }

    #[test]
    fn no_address_is_made_that_does_not_read_back() {
        let long = "a".repeat(494);
        let bad = [
            ("", "a"),
            ("a;b", "c"),
            ("rfc822 X=1", "a"),
            ("rfc822", ""),
            ("rfc822", "gr\u{fc}n@x"),
            ("rfc822", "a\r\nb"),
            ("utf-8", "a\tb"),
        ];
        for (address_type, address) in bad.into_iter().chain([("rfc822", &*long)]) {
            assert!(OriginalRecipient::new(address_type, address).is_err(), "{address_type};{address}");
        }
        let mailbox = Mailbox::new("gr\u{fc}n@x").unwrap();
        assert!(OriginalRecipient::rfc822(mailbox).is_err());
        assert_eq!(OriginalRecipient::utf8(mailbox).unwrap().to_string(), "utf-8;gr\\x{FC}n@x");
    }

    #[test]
    fn a_choice_is_shown_as_it_is_read() {
        for value in ["NEVER", "SUCCESS", "SUCCESS,FAILURE,DELAY", "FAILURE,DELAY"] {
            assert_eq!(Notify::parse(value.as_bytes()).map(|notify| notify.to_string()).as_deref(), Some(value));
        }
        assert_eq!(Ret::parse(b"hdrs").map(|ret| ret.to_string()).as_deref(), Some("HDRS"));
    }
}
