//! The arguments of `MAIL FROM` and `RCPT TO`: [RFC 5321 section 4.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2).

use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

use postrider_text_proto::ValueError;

use super::{Domain, Mailbox, octet_string, text};
use crate::grammar;
use crate::limits::Quirks;

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
