//! Values that commands and replies carry. None can hold what would break a line.

mod mailbox;
mod path;

use alloc::borrow::{Cow, ToOwned};
use core::fmt;

use postrider_text_proto::{Escaped, ValueError};

use crate::command::Verb;
use crate::grammar::{self, Class};

pub use self::mailbox::{AddressLiteral, Domain, Host, LiteralAddress, LocalPart, Mailbox};
pub use self::path::{ForwardPath, Path, Postmaster, ReversePath};

/// Gives a borrowed octet string its accessor, its escaping `Display` and a `Debug` alike.
macro_rules! octet_string {
    ($name:ident) => {
        impl<'b> $name<'b> {
            /// The octets as they stand on the wire.
            pub const fn as_bytes(&self) -> &'b [u8] {
                self.0
            }

            /// The same as text. Its grammar has nothing but UTF-8.
            pub const fn as_str(&self) -> &'b str {
                $crate::types::text(self.0)
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

/// Octets that a grammar has found to be UTF-8. They are looked at once more, which is the price of having no unsafe code.
pub(crate) const fn text(octets: &[u8]) -> &str {
    match core::str::from_utf8(octets) {
        Ok(text) => text,
        Err(_) => "",
    }
}

/// What a client calls itself in `HELO`, `EHLO` or `LHLO`: 1 to 255 octets without spaces and control characters.
///
/// It ought to be a domain or an address literal; many clients say something else, and a server must not refuse
/// them for it ([RFC 5321 section 4.1.4](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.4)). [`host`](Self::host) is the strict reading.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct ClientName<'b>(&'b [u8]);
octet_string!(ClientName);

impl<'b> ClientName<'b> {
    /// Takes `name` as it is.
    ///
    /// # Errors
    ///
    /// When it is empty, too long, or holds a space, a control character or octets that are not UTF-8.
    pub fn new(name: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let name = name.as_ref();
        if matches!(name.len(), 1..=Domain::MAX_LEN) && grammar::all_or_utf8(name, Class::VCHAR) {
            return Ok(Self(name));
        }
        Err(ValueError { expected: "a name of 1 to 255 octets without spaces (RFC 5321 section 4.1.4)" })
    }

    /// The name as a domain or an address literal, if it is one.
    pub fn host(&self) -> Option<Host<'b>> {
        let literal = AddressLiteral::new(self.0).map(Host::Literal);
        literal.or_else(|_| Domain::new(self.0).map(Host::Domain)).ok()
    }
}

/// A command this crate does not know, byte for byte as it came.
#[derive(Clone, Eq, PartialEq)]
pub struct OtherCommand<'b> {
    keyword: &'b str,
    argument: Text<'b>,
}

impl<'b> OtherCommand<'b> {
    /// Takes a keyword of letters, digits and hyphens, and what follows its space; nothing where that is empty.
    ///
    /// # Errors
    ///
    /// When the keyword does not follow the grammar or is that of a [`Command`](crate::Command) with a variant of its own, or the argument has a control
    /// character, or spaces at its end, which would be lost.
    pub fn new(keyword: &'b str, argument: &'b str) -> Result<Self, ValueError> {
        if Verb::parse(keyword.as_bytes()) != Verb::Other {
            return Err(ValueError { expected: "the keyword of a command that is not known" });
        }
        Self::from_parts(keyword.as_bytes(), argument.as_bytes())
    }

    pub(crate) fn from_parts(keyword: &'b [u8], argument: &'b [u8]) -> Result<Self, ValueError> {
        let expected = "a keyword of letters, digits and hyphens, and text without control characters";
        let text = core::str::from_utf8(keyword).ok().filter(|_| grammar::is_keyword(keyword));
        let sound = grammar::all_or_utf8(argument, Class::TEXT) && !argument.ends_with(b" ");
        match text {
            Some(keyword) if sound => Ok(Self { keyword, argument: Text::received(argument) }),
            _ => Err(ValueError { expected }),
        }
    }

    /// The keyword as it stands.
    pub const fn keyword(&self) -> &'b str {
        self.keyword
    }

    /// What follows the keyword and its space; empty where nothing does.
    pub fn argument(&self) -> &[u8] {
        self.argument.as_bytes()
    }

    /// Whether this is its keyword, in any case of ASCII letters.
    pub const fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }
}

impl fmt::Debug for OtherCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OtherCommand(\"{} {}\")", self.keyword, self.argument)
    }
}

/// What `VRFY`, `EXPN`, `HELP` and `NOOP` say behind their keyword: 1 or more octets of printable ASCII and UTF-8, the last of which is no space.
///
/// ```abnf
/// String = Atom / Quoted-string
/// ```
///
/// [RFC 5321 section 4.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2). Taken as any text: what it means is the server's business, and nothing
/// of it is lost.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Argument<'b>(&'b [u8]);
octet_string!(Argument);

impl<'b> Argument<'b> {
    /// Takes `argument` as it is.
    ///
    /// # Errors
    ///
    /// When it is empty, ends in a space, which would be lost, or holds a control character or octets that are not UTF-8.
    pub fn new(argument: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let argument = argument.as_ref();
        if argument.last().is_some_and(|last| *last != b' ') && grammar::all_or_utf8(argument, Class::TEXT) {
            return Ok(Self(argument));
        }
        Err(ValueError {
            expected: "text without control characters, and no space at its end (RFC 5321 section 4.1.2)",
        })
    }
}

/// Text for people: one line of a reply. Whatever a user's name or a file's path contains, a reply made from it stays one line.
///
/// ```abnf
/// textstring = 1*(%d09 / %d32-126 / UTF8-non-ascii)
/// ```
///
/// [RFC 5321 section 4.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.2), [RFC 6531 section 3.7.4](https://www.rfc-editor.org/rfc/rfc6531#section-3.7.4);
/// it may be empty. What a server has said is kept as it came, though it follow no grammar: only CR, LF and NUL are never in it.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Text<'b>(Cow<'b, [u8]>);

impl<'b> Text<'b> {
    /// The text of no octets.
    pub const EMPTY: Self = Self(Cow::Borrowed(b""));

    /// Takes `text` as it is.
    ///
    /// # Errors
    ///
    /// When it holds a control character of ASCII other than a tab.
    pub fn new(text: &'b str) -> Result<Self, ValueError> {
        if text.bytes().any(is_control) {
            return Err(ValueError { expected: "text without control characters but tabs (RFC 5321 section 4.2)" });
        }
        Ok(Self(Cow::Borrowed(text.as_bytes())))
    }

    /// Takes `text` with a space for each octet that must not be there.
    pub fn lossy(text: &'b str) -> Self {
        if let Ok(text) = Self::new(text) {
            return text;
        }
        let mut octets = text.as_bytes().to_owned();
        octets.iter_mut().filter(|octet| is_control(**octet)).for_each(|octet| *octet = b' ');
        Self(Cow::Owned(octets))
    }

    /// Octets from a line, which hold no line end.
    pub(crate) const fn received(octets: &'b [u8]) -> Self {
        Self(Cow::Borrowed(octets))
    }

    /// The octets as they stand on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same text, which borrows nothing.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

const fn is_control(octet: u8) -> bool {
    octet.is_ascii_control() && octet != b'\t'
}

/// What no text holds, wherever it comes from.
pub(crate) const fn breaks_a_line(octet: u8) -> bool {
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
