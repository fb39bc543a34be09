//! Mailboxes and what they are made of: [RFC 5321 section 4.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2).

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{Ipv4Addr, Ipv6Addr};

use postrider_text_proto::{Escaped, ValueError};

use super::{octet_string, text};
use crate::grammar;
use crate::limits::Quirks;

/// The name of a host: labels of letters, digits and hyphens, or of UTF-8, at most 255 octets.
///
/// [RFC 5321 section 4.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2), [RFC 6531 section 3.3](https://www.rfc-editor.org/rfc/rfc6531#section-3.3).
/// Two are equal when they differ in the case of ASCII letters alone.
#[derive(Clone, Copy, Eq)]
pub struct Domain<'b>(&'b [u8]);
octet_string!(Domain);

impl<'b> Domain<'b> {
    /// The most octets a domain may have: [RFC 5321 section 4.5.3.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.2).
    pub const MAX_LEN: usize = 255;

    /// The most octets a label may have: [RFC 1035 section 2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4).
    pub(super) const MAX_LABEL: usize = 63;

    /// Takes `domain` as it is.
    ///
    /// # Errors
    ///
    /// When it does not follow the grammar or is too long.
    pub fn new(domain: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let octets = domain.as_ref();
        match grammar::domain(octets, Quirks::default()) {
            Some((domain, b"")) if domain.len() <= Self::MAX_LEN => Ok(Self(domain)),
            _ => Err(ValueError { expected: "a domain of at most 255 octets (RFC 5321 section 4.1.2)" }),
        }
    }
}

impl Hash for Domain<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|octet| state.write_u8(octet.to_ascii_lowercase()));
        state.write_u8(0xFF);
    }
}

impl PartialEq for Domain<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

/// An address in place of a domain, its brackets included: `[192.0.2.1]`, `[IPv6:2001:db8::1]`, `[tag:content]`.
///
/// [RFC 5321 section 4.1.3](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.3).
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct AddressLiteral<'b>(&'b [u8]);
octet_string!(AddressLiteral);

/// What an [`AddressLiteral`] holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LiteralAddress<'b> {
    /// The address in `[192.0.2.1]`.
    V4(Ipv4Addr),
    /// The address in `[IPv6:2001:db8::1]`.
    V6(Ipv6Addr),
    /// The tag in `[tag:content]`, and what follows its colon.
    General(&'b [u8], &'b [u8]),
}

impl<'b> AddressLiteral<'b> {
    /// Takes `literal`, brackets included, as it is.
    ///
    /// # Errors
    ///
    /// When it does not follow the grammar.
    pub fn new(literal: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        match grammar::address_literal(literal.as_ref()) {
            Some((literal, b"")) => Ok(Self(literal)),
            _ => Err(ValueError { expected: "an address literal (RFC 5321 section 4.1.3)" }),
        }
    }

    /// What stands between the brackets.
    pub fn address(&self) -> LiteralAddress<'b> {
        let inner = self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or_default();
        if let Some(octets) = grammar::ipv4(inner) {
            return LiteralAddress::V4(Ipv4Addr::from(octets));
        }
        if let Some(address) = grammar::ipv6(inner) {
            return LiteralAddress::V6(address);
        }
        let (tag, content) = grammar::split_once(inner, b':');
        LiteralAddress::General(tag, content.unwrap_or_default())
    }
}

/// Where a mailbox is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Host<'b> {
    /// The host has a name.
    Domain(Domain<'b>),
    /// The host is named by its address.
    Literal(AddressLiteral<'b>),
}

impl<'b> Host<'b> {
    /// The octets as they stand on the wire.
    pub const fn as_bytes(&self) -> &'b [u8] {
        match self {
            Self::Domain(domain) => domain.0,
            Self::Literal(literal) => literal.0,
        }
    }

    /// The same as text.
    pub const fn as_str(&self) -> &'b str {
        text(self.as_bytes())
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.as_bytes()).fmt(f)
    }
}

/// What stands left of the `@`, quotes included.
///
/// [RFC 5321 section 4.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2). Two are equal when they mean the same: quotes and backslashes
/// are not part of the name, case is.
#[derive(Clone, Copy, Eq)]
pub struct LocalPart<'b>(&'b [u8]);
octet_string!(LocalPart);

impl<'b> LocalPart<'b> {
    /// The most octets a local part may have: [RFC 5321 section 4.5.3.1.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.1).
    pub const MAX_LEN: usize = 64;

    /// The name itself, without quotes and backslashes.
    pub fn unquoted(&self) -> Cow<'b, [u8]> {
        let [b'"', inner @ .., b'"'] = self.0 else { return Cow::Borrowed(self.0) };
        if !inner.contains(&b'\\') {
            return Cow::Borrowed(inner);
        }
        let mut name = Vec::with_capacity(inner.len());
        let mut octets = inner.iter();
        while let Some(octet) = octets.next() {
            name.extend(if *octet == b'\\' { octets.next() } else { Some(octet) });
        }
        Cow::Owned(name)
    }
}

impl Hash for LocalPart<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.unquoted().hash(state);
    }
}

impl PartialEq for LocalPart<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.unquoted() == other.unquoted()
    }
}

/// A mailbox: `local-part@host`, byte for byte as it came. Two are equal when their [local parts](LocalPart) and [hosts](Host) are.
///
/// ```
/// use postrider_smtp_proto::{Host, Mailbox};
///
/// let mailbox = Mailbox::new(r#""a@b"@[192.0.2.1]"#)?;
/// assert_eq!(mailbox.local_part().unquoted(), &b"a@b"[..]);
/// assert!(matches!(mailbox.host(), Host::Literal(_)));
/// # Ok::<(), postrider_smtp_proto::ValueError>(())
/// ```
#[derive(Clone, Copy, Eq)]
pub struct Mailbox<'b> {
    pub(super) octets: &'b [u8],
    /// Where its `@` is; small, because commands carry mailboxes about.
    pub(super) at: u8,
}

impl<'b> Mailbox<'b> {
    /// Takes `mailbox` as it is.
    ///
    /// # Errors
    ///
    /// When it does not follow the grammar, or a part of it is too long.
    pub fn new(mailbox: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let expected = "a mailbox of at most 64 octets '@' 255 octets (RFC 5321 section 4.1.2)";
        match Self::parse(mailbox.as_ref(), Quirks::default()) {
            Some((mailbox, b"")) => Ok(mailbox),
            _ => Err(ValueError { expected }),
        }
    }

    /// ```abnf
    /// Mailbox = Local-part "@" ( Domain / address-literal )
    /// ```
    pub(crate) fn parse(input: &'b [u8], quirks: Quirks) -> Option<(Self, &'b [u8])> {
        let (local_part, rest) = grammar::local_part(input)?;
        let after_at = rest.strip_prefix(b"@")?;
        let (host, rest) = match after_at.first()? {
            b'[' => grammar::address_literal(after_at)?,
            _ => grammar::domain(after_at, quirks)?,
        };
        let octets = input.get(..input.len() - rest.len())?;
        let fits = local_part.len() <= LocalPart::MAX_LEN && host.len() <= Domain::MAX_LEN;
        let at = u8::try_from(local_part.len()).ok().filter(|_| fits)?;
        Some((Self { octets, at }, rest))
    }

    /// What stands left of the `@`.
    pub const fn local_part(&self) -> LocalPart<'b> {
        LocalPart(self.parts().0)
    }

    /// What stands right of the `@`.
    pub const fn host(&self) -> Host<'b> {
        match self.parts().1 {
            literal @ [b'[', ..] => Host::Literal(AddressLiteral(literal)),
            domain => Host::Domain(Domain(domain)),
        }
    }

    /// What stands left and right of the `@`.
    const fn parts(&self) -> (&'b [u8], &'b [u8]) {
        match self.octets.split_at_checked(self.at as usize) {
            Some((local_part, [b'@', host @ ..])) => (local_part, host),
            _ => (self.octets, b""),
        }
    }

    /// The octets as they stand on the wire.
    pub const fn as_bytes(&self) -> &'b [u8] {
        self.octets
    }

    /// The same as text: [`new`](Self::new) reads it, unless a [quirk](Quirks) was needed to take it.
    pub const fn as_str(&self) -> &'b str {
        text(self.octets)
    }
}

impl Hash for Mailbox<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.local_part(), self.host()).hash(state);
    }
}

impl PartialEq for Mailbox<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.local_part() == other.local_part() && self.host() == other.host()
    }
}

impl fmt::Display for Mailbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.octets).fmt(f)
    }
}

impl fmt::Debug for Mailbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox(\"{self}\")")
    }
}
