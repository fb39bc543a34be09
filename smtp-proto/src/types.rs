//! Values that commands and replies carry. None can hold what would break a line.

use alloc::borrow::{Cow, ToOwned};
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{Ipv4Addr, Ipv6Addr};

use postrider_text_proto::{Escaped, ValueError};

use crate::command::Verb;
use crate::grammar::{self, Class};
use crate::limits::Quirks;

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
                text(self.0)
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

/// Octets that a grammar has found to be UTF-8. They are looked at once more, which is the price of having no unsafe code.
const fn text(octets: &[u8]) -> &str {
    match core::str::from_utf8(octets) {
        Ok(text) => text,
        Err(_) => "",
    }
}

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
    const MAX_LABEL: usize = 63;

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
    octets: &'b [u8],
    /// Where its `@` is; small, because commands carry mailboxes about.
    at: u8,
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

/// A mailbox with the source route that may stand in front of it: `@relay.example:user@host.example`.
///
/// [RFC 5321 appendix C](https://www.rfc-editor.org/rfc/rfc5321#appendix-C): such routes are taken, and ignored by whoever delivers.
#[derive(Clone, Copy, Eq)]
pub struct Path<'b> {
    octets: &'b [u8],
    parts: PathParts,
}

/// Where the parts of a path are. It fits two registers.
#[derive(Clone, Copy, Eq, PartialEq)]
struct PathParts {
    /// Octets of the route, its colon included.
    route: u32,
    /// Where the `@` of the mailbox behind it is.
    at: u8,
}

impl<'b> Path<'b> {
    /// A path without a route.
    pub const fn new(mailbox: Mailbox<'b>) -> Self {
        Self { octets: mailbox.octets, parts: PathParts { route: 0, at: mailbox.at } }
    }

    /// ```abnf
    /// Path = "<" [ A-d-l ":" ] Mailbox ">"
    /// ```
    #[inline(always)]
    fn parse(input: &'b [u8], quirks: Quirks) -> Option<(Self, &'b [u8])> {
        let input = input.strip_prefix(b"<")?;
        Self::parse_plain(input).or_else(|| {
            let (parts, len) = PathParts::of(input, quirks)?;
            let (octets, rest) = input.split_at_checked(len as usize)?;
            Some((Self { octets, parts }, rest.strip_prefix(b">")?))
        })
    }

    /// The same without its first bracket, as nearly all are: no route, no quotes, no literal, no UTF-8, and so short that no part of it is too long.
    #[inline(always)]
    fn parse_plain(input: &'b [u8]) -> Option<(Self, &'b [u8])> {
        let (octets, rest) = match input {
            [octets @ .., b'>'] => (octets, &b""[..]),
            _ => match grammar::split_once(input, b'>') {
                (octets, Some(rest)) => (octets, rest),
                _ => return None,
            },
        };
        let at = grammar::find(octets, b'@').and_then(|at| u8::try_from(at).ok())?;
        let plain = octets.len() <= Domain::MAX_LABEL && grammar::is_plain_mailbox(octets);
        plain.then_some((Self { octets, parts: PathParts { route: 0, at } }, rest))
    }

    /// The source route with its colon; mostly empty.
    pub const fn route(&self) -> &'b [u8] {
        self.split().0
    }

    /// The mailbox behind the route.
    pub const fn mailbox(&self) -> Mailbox<'b> {
        Mailbox { octets: self.split().1, at: self.parts.at }
    }

    /// The route and the mailbox as they stand on the wire, without brackets.
    pub const fn as_bytes(&self) -> &'b [u8] {
        self.octets
    }

    /// The same as text.
    pub const fn as_str(&self) -> &'b str {
        text(self.octets)
    }

    const fn split(&self) -> (&'b [u8], &'b [u8]) {
        match self.octets.split_at_checked(self.parts.route as usize) {
            Some(split) => split,
            None => (b"", self.octets),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.octets);
    }
}

impl PathParts {
    /// The parts and the length of any path: at most 256 octets with its brackets ([RFC 5321 section 4.5.3.1.3](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.3)), the route
    /// not counted.
    #[inline(never)]
    fn of(input: &[u8], quirks: Quirks) -> Option<(Self, u32)> {
        let (route, rest) = grammar::source_route(input, quirks)?;
        let (Mailbox { octets, at }, _) = Mailbox::parse(rest, quirks)?;
        let (route, len) = (u32::try_from(route.len()).ok()?, u32::try_from(route.len() + octets.len()).ok()?);
        (octets.len() <= MAX_PATH - 2).then_some((Self { route, at }, len))
    }
}

impl Hash for Path<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.route(), self.mailbox()).hash(state);
    }
}

impl PartialEq for Path<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.route(), self.mailbox()) == (other.route(), other.mailbox())
    }
}

impl fmt::Debug for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path").field("route", &self.route()).field("mailbox", &self.mailbox()).finish()
    }
}

impl<'b> From<Mailbox<'b>> for ReversePath<'b> {
    fn from(mailbox: Mailbox<'b>) -> Self {
        Self::Path(Path::new(mailbox))
    }
}

impl<'b> From<Mailbox<'b>> for ForwardPath<'b> {
    fn from(mailbox: Mailbox<'b>) -> Self {
        Self::Path(Path::new(mailbox))
    }
}

/// Octets of a path with its brackets.
const MAX_PATH: usize = 256;

/// Where reports about a message go: `MAIL FROM`'s argument.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ReversePath<'b> {
    /// `<>`: nowhere, because this is a report itself. [RFC 5321 section 4.5.5](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.5).
    Null,
    /// `<a@b.example>`: to a mailbox.
    Path(Path<'b>),
}

impl<'b> ReversePath<'b> {
    #[inline(always)]
    pub(crate) fn parse(input: &'b [u8], quirks: Quirks) -> Option<(Self, &'b [u8])> {
        match input.strip_prefix(b"<>") {
            Some(rest) => Some((Self::Null, rest)),
            None => Path::parse(input, quirks).map(|(path, rest)| (Self::Path(path), rest)),
        }
    }

    /// Reads a path with its brackets, as it stands on the wire.
    ///
    /// # Errors
    ///
    /// When it does not follow the grammar.
    pub fn new(path: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        match Self::parse(path.as_ref(), Quirks::default()) {
            Some((path, b"")) => Ok(path),
            _ => Err(ValueError { expected: "<> or <mailbox> (RFC 5321 section 4.1.2)" }),
        }
    }

    /// The mailbox, if there is one.
    pub const fn mailbox(&self) -> Option<Mailbox<'b>> {
        match self {
            Self::Null => None,
            Self::Path(path) => Some(path.mailbox()),
        }
    }

    /// What stands between the brackets, a source route among it; nothing where there is none.
    pub const fn as_bytes(&self) -> &'b [u8] {
        match self {
            Self::Null => b"",
            Self::Path(path) => path.octets,
        }
    }

    /// The same as text.
    pub const fn as_str(&self) -> &'b str {
        text(self.as_bytes())
    }

    pub(crate) fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(|mailbox| mailbox.octets.is_ascii())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'<');
        if let Self::Path(path) = self {
            path.encode(out);
        }
        out.push(b'>');
    }
}

/// For people: the mailbox in its brackets, without a source route, which nobody goes by.
impl fmt::Display for ReversePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Path(path) => write!(f, "<{}>", path.mailbox()),
        }
    }
}

/// The word `postmaster`, in the case it was written in.
#[derive(Clone, Copy, Eq)]
pub struct Postmaster<'b>(&'b [u8]);
octet_string!(Postmaster);

impl<'b> Postmaster<'b> {
    /// Takes `name` as it is.
    ///
    /// # Errors
    ///
    /// When it is another word.
    pub fn new(name: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let name = name.as_ref();
        if name.eq_ignore_ascii_case(b"postmaster") {
            return Ok(Self(name));
        }
        Err(ValueError { expected: "postmaster, in any case (RFC 5321 section 4.5.1)" })
    }
}

/// There is one postmaster.
impl Hash for Postmaster<'_> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl PartialEq for Postmaster<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Where a message goes: `RCPT TO`'s argument.
///
/// It borrows the receive buffer. To keep it beyond the event, keep its text:
///
/// ```
/// use postrider_smtp_proto::{Command, ForwardPath};
///
/// let kept: String = match Command::parse(b"RCPT TO:<@relay:a@b.example>")? {
///     Command::Rcpt { to, .. } => format!("<{}>", to.as_str()),
///     _ => panic!("not a recipient"),
/// };
/// assert_eq!(kept, "<@relay:a@b.example>");
/// let to = ForwardPath::new(&kept).expect("it is what was read");
/// assert_eq!(to.mailbox().map(|mailbox| mailbox.as_str()), Some("a@b.example"));
/// # Ok::<(), postrider_smtp_proto::CommandError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ForwardPath<'b> {
    /// `<Postmaster>` without a domain. [RFC 5321 section 4.5.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.1).
    Postmaster(Postmaster<'b>),
    /// `<a@b.example>`: to a mailbox.
    Path(Path<'b>),
}

impl<'b> ForwardPath<'b> {
    #[inline(always)]
    pub(crate) fn parse(input: &'b [u8], quirks: Quirks) -> Option<(Self, &'b [u8])> {
        if let Some((b"<", rest)) = input.split_at_checked(1)
            && let Some((name, [b'>', rest @ ..])) = rest.split_at_checked(10)
            && let Ok(postmaster) = Postmaster::new(name)
        {
            return Some((Self::Postmaster(postmaster), rest));
        }
        Path::parse(input, quirks).map(|(path, rest)| (Self::Path(path), rest))
    }

    /// Reads a path with its brackets, as it stands on the wire.
    ///
    /// # Errors
    ///
    /// When it does not follow the grammar.
    pub fn new(path: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        match Self::parse(path.as_ref(), Quirks::default()) {
            Some((path, b"")) => Ok(path),
            _ => Err(ValueError { expected: "<postmaster> or <mailbox> (RFC 5321 section 4.1.2)" }),
        }
    }

    /// The mailbox; none for the postmaster.
    pub const fn mailbox(&self) -> Option<Mailbox<'b>> {
        match self {
            Self::Postmaster(_) => None,
            Self::Path(path) => Some(path.mailbox()),
        }
    }

    /// What stands between the brackets, a source route among it.
    pub const fn as_bytes(&self) -> &'b [u8] {
        match self {
            Self::Postmaster(postmaster) => postmaster.0,
            Self::Path(path) => path.octets,
        }
    }

    /// The same as text.
    pub const fn as_str(&self) -> &'b str {
        text(self.as_bytes())
    }

    pub(crate) fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(|mailbox| mailbox.octets.is_ascii())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'<');
        match self {
            Self::Postmaster(postmaster) => out.extend_from_slice(postmaster.0),
            Self::Path(path) => path.encode(out),
        }
        out.push(b'>');
    }
}

/// For people: the mailbox in its brackets, without a source route, which nobody goes by, or `<postmaster>`.
impl fmt::Display for ForwardPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster(_) => f.write_str("<postmaster>"),
            Self::Path(path) => write!(f, "<{}>", path.mailbox()),
        }
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

/// A list of domains, parted by commas: what `ATRN` asks for. [RFC 2645 section 5.2.1](https://www.rfc-editor.org/rfc/rfc2645#section-5.2.1).
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct DomainList<'b>(&'b [u8]);
octet_string!(DomainList);

impl<'b> DomainList<'b> {
    /// Takes `domains` as they are.
    ///
    /// # Errors
    ///
    /// When there is none, or one does not follow the grammar.
    pub fn new(domains: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let list = Self(domains.as_ref());
        if list.0.split(|octet| *octet == b',').all(|domain| Domain::new(domain).is_ok()) {
            return Ok(list);
        }
        Err(ValueError { expected: "domains parted by commas (RFC 2645 section 5.2.1)" })
    }

    /// The domains in order.
    pub fn iter(&self) -> impl Iterator<Item = Domain<'b>> + use<'b> {
        self.0.split(|octet| *octet == b',').filter_map(|domain| Domain::new(domain).ok())
    }
}

/// What `ETRN` asks for, as it stands. [RFC 1985 section 5](https://www.rfc-editor.org/rfc/rfc1985#section-5).
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct QueueName<'b>(&'b [u8]);
octet_string!(QueueName);

/// What a [`QueueName`] names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Queue<'b> {
    /// What waits for a host.
    Host(Domain<'b>),
    /// `#`: a queue the server knows by this name.
    Named(&'b [u8]),
    /// `@`: what waits for a domain and all below it.
    Subdomains(Domain<'b>),
}

impl<'b> QueueName<'b> {
    /// Takes `name` as it is: a domain, `@` and a domain, or `#` and a name of printable ASCII without spaces.
    ///
    /// # Errors
    ///
    /// When it is none of them, or has more than 255 octets.
    pub fn new(name: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let name = Self(name.as_ref());
        if name.0.len() <= Domain::MAX_LEN && name.parsed().is_some() {
            return Ok(name);
        }
        Err(ValueError { expected: "a domain, @domain or #name (RFC 1985 section 5)" })
    }

    fn parsed(&self) -> Option<Queue<'b>> {
        match self.0 {
            [b'#', queue @ ..] => {
                (!queue.is_empty() && queue.iter().all(u8::is_ascii_graphic)).then_some(Queue::Named(queue))
            }
            [b'@', domain @ ..] => Domain::new(domain).ok().map(Queue::Subdomains),
            domain => Domain::new(domain).ok().map(Queue::Host),
        }
    }

    /// What the name means.
    pub fn queue(&self) -> Queue<'b> {
        self.parsed().unwrap_or(Queue::Named(self.0))
    }
}

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
#[cfg(feature = "serde")]
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
