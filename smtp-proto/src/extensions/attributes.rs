//! What a server in front says of a client: Postfix's [`XCLIENT`](https://www.postfix.org/XCLIENT_README.html) and
//! [`XFORWARD`](https://www.postfix.org/XFORWARD_README.html).

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postrider_text_proto::{Escaped, ValueError};

use crate::extensions::written::put;
use crate::extensions::xtext::{self, Xtext};
use crate::grammar;

/// The attributes of `XCLIENT` or `XFORWARD`, byte for byte as they came.
///
/// ```abnf
/// attributes = attribute *( SP attribute )
/// attribute  = name "=" xtext
/// ```
///
/// No name stands twice; [`ADDR`](Self::address) and `DESTADDR` are addresses, `PORT` and `DESTPORT` numbers up to 65535, each unless it is unavailable.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Attributes<'b>(&'b [u8]);

/// One attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attribute<'b> {
    /// `NAME`, `ADDR`, `PORT`, `PROTO`, `HELO`, `LOGIN`, `DESTADDR`, `DESTPORT`, `IDENT`, `SOURCE`, as it stands: compared without regard to
    /// the case of ASCII letters.
    pub name: &'b [u8],
    /// What the client's address, name and so on is, or that it is not known.
    pub value: AttributeValue<'b>,
}

/// The value of an attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AttributeValue<'b> {
    /// What is known, decoded: `192.0.2.1` for one.
    Known(Cow<'b, [u8]>),
    /// `[TEMPUNAVAIL]`: not known now.
    TemporarilyUnavailable,
    /// `[UNAVAILABLE]`: not known.
    Unavailable,
}

/// Three times as many as there are. The check for doubles compares each with each.
const MAX: usize = 32;

/// Octets of one attribute's value: what Postfix takes.
const MAX_VALUE: usize = 255;

impl<'b> Attributes<'b> {
    /// Takes attributes parted by single spaces, without one in front.
    ///
    /// # Errors
    ///
    /// When one does not follow its grammar, or a name stands twice.
    pub fn new(attributes: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let attributes = Self(attributes.as_ref());
        let words = || attributes.0.split(|octet| *octet == b' ');
        let name_of = |word: &'b [u8]| word.split(|octet| *octet == b'=').next().unwrap_or_default();
        let is_double =
            |index: usize, word| words().take(index).any(|other| name_of(other).eq_ignore_ascii_case(name_of(word)));
        let sound = |(index, word)| {
            index < MAX && attribute_of(word).is_some_and(|attribute| attribute.is_sound()) && !is_double(index, word)
        };
        if words().enumerate().all(sound) {
            return Ok(attributes);
        }
        Err(ValueError { expected: "at most 32 attributes NAME=xtext, none twice, addresses and ports as such" })
    }

    /// The attributes in order.
    pub fn iter(&self) -> impl Iterator<Item = Attribute<'b>> + use<'b> {
        self.0.split(|octet| *octet == b' ').filter_map(attribute_of)
    }

    /// The value of the attribute with that name.
    pub fn find(&self, name: &str) -> Option<AttributeValue<'b>> {
        self.iter().find(|attribute| attribute.is(name.as_bytes())).map(|attribute| attribute.value)
    }

    /// `ADDR`: the client's address, if it is given and known.
    pub fn address(&self) -> Option<IpAddr> {
        match self.find("ADDR")? {
            AttributeValue::Known(text) => address(&text),
            _ => None,
        }
    }

    /// The octets as they stand on the wire.
    pub const fn as_bytes(&self) -> &'b [u8] {
        self.0
    }
}

fn attribute_of(word: &[u8]) -> Option<Attribute<'_>> {
    let (name, value) = word.split_at_checked(memchr::memchr(b'=', word)?)?;
    let value = value.get(1..).filter(|value| value.len() <= MAX_VALUE)?;
    let value = if value.eq_ignore_ascii_case(b"[UNAVAILABLE]") {
        AttributeValue::Unavailable
    } else if value.eq_ignore_ascii_case(b"[TEMPUNAVAIL]") {
        AttributeValue::TemporarilyUnavailable
    } else {
        AttributeValue::Known(xtext::decode(value)?)
    };
    grammar::is_keyword(name).then_some(Attribute { name, value })
}

impl Attribute<'_> {
    fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn is_sound(&self) -> bool {
        let AttributeValue::Known(value) = &self.value else { return true };
        if self.is(b"ADDR") || self.is(b"DESTADDR") {
            return address(value).is_some();
        }
        let is_port = || grammar::number(value).is_some_and(|port| port <= 65_535);
        !(self.is(b"PORT") || self.is(b"DESTPORT")) || is_port()
    }
}

/// An IPv4 address, or an IPv6 address after `IPV6:`.
fn address(text: &[u8]) -> Option<IpAddr> {
    match text.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case(b"IPV6:") => {
            core::str::from_utf8(address).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => core::str::from_utf8(text).ok()?.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

impl fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({:?})", Escaped(self.0))
    }
}

/// Attributes to be sent, each written so that it cannot break the line. One given twice counts as it was given last.
///
/// ```
/// use postrider_smtp_proto::{AttributeList, AttributeValue};
///
/// let list = AttributeList::new().address("2001:db8::1".parse().unwrap()).with("NAME", &AttributeValue::Unavailable)?;
/// assert_eq!(list.as_attributes()?.as_bytes(), b"ADDR=IPV6:2001:db8::1 NAME=[UNAVAILABLE]");
/// # Ok::<(), postrider_smtp_proto::ValueError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AttributeList(Vec<u8>);

impl AttributeList {
    /// A list without attributes.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The attributes, to be sent.
    ///
    /// # Errors
    ///
    /// When there is none, or more than 32.
    pub fn as_attributes(&self) -> Result<Attributes<'_>, ValueError> {
        Attributes::new(&self.0)
    }

    /// All but the one with that name, in any case of ASCII letters.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        let is_other = |word: &&[u8]| !grammar::split_once(word, b'=').0.eq_ignore_ascii_case(name.as_bytes());
        Self(self.0.split(|octet| *octet == b' ').filter(is_other).collect::<Vec<_>>().join(&b' '))
    }

    /// `ADDR`: the client's address.
    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        self.put("ADDR", format_args!("{}{address}", if address.is_ipv6() { "IPV6:" } else { "" }))
    }

    /// Any attribute, `PORT` for one.
    ///
    /// # Errors
    ///
    /// When it does not follow its grammar.
    pub fn with(self, name: &str, value: &AttributeValue<'_>) -> Result<Self, ValueError> {
        if !grammar::is_keyword(name.as_bytes()) {
            return Err(ValueError { expected: "the name of an attribute: letters, digits and hyphens" });
        }
        let list = match value {
            // It is not to be taken for one of the words that stand for no value.
            AttributeValue::Known(value) => match value.split_first() {
                Some((b'[', rest)) => self.put(name, format_args!("+5B{}", Xtext(rest))),
                _ => self.put(name, Xtext(value)),
            },
            AttributeValue::TemporarilyUnavailable => self.put(name, "[TEMPUNAVAIL]"),
            AttributeValue::Unavailable => self.put(name, "[UNAVAILABLE]"),
        };
        let added = list.0.rsplit(|octet| *octet == b' ').next().unwrap_or_default();
        Attributes::new(added).map(drop)?;
        Ok(list)
    }

    fn put(self, name: &str, value: impl fmt::Display) -> Self {
        let Self(mut octets) = self.without(name);
        if !octets.is_empty() {
            octets.push(b' ');
        }
        put(format_args!("{name}={value}"), &mut octets);
        Self(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_decoded() {
        let attributes = Attributes::new("NAME=a+20b ADDR=192.0.2.1 PORT=25 LOGIN=[tempunavail] HELO=").unwrap();
        assert_eq!(attributes.find("name"), Some(AttributeValue::Known(Cow::Borrowed(b"a b"))));
        assert_eq!(attributes.address(), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(attributes.find("LOGIN"), Some(AttributeValue::TemporarilyUnavailable));
        assert_eq!((attributes.iter().count(), attributes.find("PROTO")), (5, None));
    }

    #[test]
    fn malformed_attributes_are_refused() {
        let long = alloc::format!("NAME={}", "a".repeat(256));
        let bad = [
            "",
            "NAME",
            "=a",
            "NAME=a b",
            "NAME=a  PORT=1",
            "NAME=a name=b",
            "ADDR=a",
            "ADDR=2001:db8::1",
            "ADDR=IPV6:192.0.2.1",
            "PORT=65536",
            "PORT=",
            "DESTADDR=x",
            "NAME=a+0Db",
            "NAME=\u{fc}",
            &long,
        ];
        for bad in bad {
            assert!(Attributes::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_sent_stays_on_its_line() {
        let hostile = AttributeValue::Known(Cow::Borrowed(&b"a\r\nQUIT"[..]));
        assert!(AttributeList::new().with("NAME", &hostile).is_err());
        assert!(AttributeList::new().with("NAME=x HELO", &AttributeValue::Unavailable).is_err());
    }
    #[test]
    fn a_list_keeps_the_last_of_each() {
        let known = |text: &'static str| AttributeValue::Known(Cow::Borrowed(text.as_bytes()));
        let list = AttributeList::new().with("NAME", &known("a")).unwrap().with("PORT", &known("1")).unwrap();
        let list = list.with("name", &known("[b")).unwrap().address(IpAddr::from([192, 0, 2, 1]));
        let list = list.address(IpAddr::from([192, 0, 2, 2])).without("port");
        assert_eq!(list.as_attributes().unwrap().as_bytes(), b"name=+5Bb ADDR=192.0.2.2");
        assert!(list.without("NAME").without("ADDR").as_attributes().is_err());
    }
}
