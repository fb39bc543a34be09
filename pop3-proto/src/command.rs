//! What a client says.

use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::{Base64Error, Mechanism, Secret, parse_initial, put_initial};

use crate::error::CommandError;
use crate::extensions::lang::LanguageRange;
use crate::grammar;
use crate::limits::Quirks;
use crate::types::{Digest, MessageNumber, Name};

/// A command, with its arguments.
///
/// One type for both roles: a server gets it from [`server::Connection`](crate::server::Connection), a client hands it to
/// [`client::Connection`](crate::client::Connection). [`parse`](Self::parse) and [`encode`](Self::encode) also work without either.
///
/// ```
/// use postrider_pop3_proto::{Command, MessageNumber};
///
/// let command = Command::parse(b"retr 7")?;
/// assert_eq!(command, Command::Retr(MessageNumber::new(7).unwrap()));
///
/// let mut out = Vec::new();
/// command.encode(&mut out);
/// assert_eq!(out, b"RETR 7\r\n");
/// # Ok::<(), postrider_pop3_proto::CommandError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Command<'b> {
    /// Log in with a digest of the greeting's timestamp and a shared secret. [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7).
    Apop {
        /// Whose maildrop.
        name: Name<'b>,
        /// MD5 of the timestamp, brackets included, followed by the secret.
        digest: Digest,
    },
    /// Log in with SASL. [RFC 5034 section 4](https://www.rfc-editor.org/rfc/rfc5034#section-4).
    Auth {
        /// The mechanism asked for.
        mechanism: Mechanism<'b>,
        /// The initial response, decoded; `=` on the wire is an empty one.
        initial: Option<Secret<'static>>,
    },
    /// List the capabilities. [RFC 2449 section 5](https://www.rfc-editor.org/rfc/rfc2449#section-5).
    Capa,
    /// Mark a message as deleted. [RFC 1939 section 5](https://www.rfc-editor.org/rfc/rfc1939#section-5).
    Dele(MessageNumber),
    /// Choose the language of texts, or list them all. [RFC 6856 section 3](https://www.rfc-editor.org/rfc/rfc6856#section-3).
    Lang(Option<LanguageRange<'b>>),
    /// The highest message number accessed. [RFC 1460](https://www.rfc-editor.org/rfc/rfc1460); gone from later ones.
    Last,
    /// The size of one message or of each. [RFC 1939 section 5](https://www.rfc-editor.org/rfc/rfc1939#section-5).
    List(Option<MessageNumber>),
    /// Nothing. [RFC 1939 section 5](https://www.rfc-editor.org/rfc/rfc1939#section-5).
    Noop,
    /// The password for the name given with `USER`: the rest of the line, octet by octet. [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7).
    Pass(Secret<'b>),
    /// End the session and, after a login, remove what is marked. [RFC 1939 section 6](https://www.rfc-editor.org/rfc/rfc1939#section-6).
    Quit,
    /// Send a message. [RFC 1939 section 5](https://www.rfc-editor.org/rfc/rfc1939#section-5).
    Retr(MessageNumber),
    /// Unmark what is marked as deleted. [RFC 1939 section 5](https://www.rfc-editor.org/rfc/rfc1939#section-5).
    Rset,
    /// The number of messages and their size. [RFC 1939 section 5](https://www.rfc-editor.org/rfc/rfc1939#section-5).
    Stat,
    /// Start TLS. [RFC 2595 section 4](https://www.rfc-editor.org/rfc/rfc2595#section-4).
    Stls,
    /// Send a message's header and the first lines of its body. [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7).
    Top {
        /// Which message.
        message: MessageNumber,
        /// How many lines of the body.
        lines: u32,
    },
    /// The unique-id of one message or of each. [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7).
    Uidl(Option<MessageNumber>),
    /// Whose maildrop. [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7).
    User(Name<'b>),
    /// Switch to UTF-8. [RFC 6856 section 2.1](https://www.rfc-editor.org/rfc/rfc6856#section-2.1).
    Utf8,
}

/// The keyword of a command.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each stands for the command of its name")]
#[repr(u8)]
pub enum Verb {
    Apop,
    Auth,
    Capa,
    Dele,
    Lang,
    Last,
    List,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
    Utf8,
}

impl Verb {
    pub(crate) const ALL: [Self; 18] = {
        use Verb::*;
        [Apop, Auth, Capa, Dele, Lang, Last, List, Noop, Pass, Quit, Retr, Rset, Stat, Stls, Top, Uidl, User, Utf8]
    };

    /// The keyword in upper case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Apop => "APOP",
            Self::Auth => "AUTH",
            Self::Capa => "CAPA",
            Self::Dele => "DELE",
            Self::Lang => "LANG",
            Self::Last => "LAST",
            Self::List => "LIST",
            Self::Noop => "NOOP",
            Self::Pass => "PASS",
            Self::Quit => "QUIT",
            Self::Retr => "RETR",
            Self::Rset => "RSET",
            Self::Stat => "STAT",
            Self::Stls => "STLS",
            Self::Top => "TOP",
            Self::Uidl => "UIDL",
            Self::User => "USER",
            Self::Utf8 => "UTF8",
        }
    }

    /// ```abnf
    /// keyword = 3*4VCHAR
    /// ```
    ///
    /// In any case of ASCII letters.
    fn parse(keyword: &[u8]) -> Option<Self> {
        // Setting this bit maps only the two cases of a letter onto its lower case; 0x18 would become '8'.
        const LOWER: u32 = 0x2020_2020;
        let Some(&four) = keyword.first_chunk::<4>() else {
            return keyword.eq_ignore_ascii_case(b"TOP").then_some(Self::Top);
        };
        if keyword.len() != 4 {
            return None;
        }
        Some(match &(u32::from_be_bytes(four) | LOWER).to_be_bytes() {
            b"apop" => Self::Apop,
            b"auth" => Self::Auth,
            b"capa" => Self::Capa,
            b"dele" => Self::Dele,
            b"lang" => Self::Lang,
            b"last" => Self::Last,
            b"list" => Self::List,
            b"noop" => Self::Noop,
            b"pass" => Self::Pass,
            b"quit" => Self::Quit,
            b"retr" => Self::Retr,
            b"rset" => Self::Rset,
            b"stat" => Self::Stat,
            b"stls" => Self::Stls,
            b"uidl" => Self::Uidl,
            b"user" => Self::User,
            b"utf8" if four.ends_with(b"8") => Self::Utf8,
            _ => return None,
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'b> Command<'b> {
    /// Reads a command from the octets before its CRLF.
    ///
    /// # Errors
    ///
    /// When it is no command of POP3 or its arguments do not follow its grammar.
    pub fn parse(line: &'b [u8]) -> Result<Self, CommandError> {
        Self::parse_with(line, Quirks::default())
    }

    /// Reads a command, forgiving what `quirks` names.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    #[inline]
    pub fn parse_with(line: &'b [u8], quirks: Quirks) -> Result<Self, CommandError> {
        let (keyword, rest) = grammar::word(line);
        let verb = Verb::parse(keyword).ok_or(CommandError::UnknownCommand)?;
        let rest = if quirks.extra_spaces && verb != Verb::Pass { without_extra_spaces(rest) } else { rest };
        match verb {
            Verb::Apop => apop(argument(verb, rest)?),
            Verb::Auth => auth(argument(verb, rest)?),
            Verb::Lang => lang(rest),
            Verb::Pass => Ok(Self::Pass(Secret::borrowed(argument(verb, rest)?))),
            Verb::Top => top(argument(verb, rest)?, quirks),
            Verb::User => match Name::new(argument(verb, rest)?) {
                Ok(name) => Ok(Self::User(name)),
                Err(error) => Err(CommandError::BadArgument { verb, expected: error.expected }),
            },
            Verb::Dele => message(verb, argument(verb, rest)?).map(Self::Dele),
            Verb::Retr => message(verb, argument(verb, rest)?).map(Self::Retr),
            Verb::List => rest.map(|number| message(verb, number)).transpose().map(Self::List),
            Verb::Uidl => rest.map(|number| message(verb, number)).transpose().map(Self::Uidl),
            _ if rest.is_some() => Err(CommandError::UnexpectedArgument { verb }),
            Verb::Capa => Ok(Self::Capa),
            Verb::Last => Ok(Self::Last),
            Verb::Noop => Ok(Self::Noop),
            Verb::Quit => Ok(Self::Quit),
            Verb::Rset => Ok(Self::Rset),
            Verb::Stat => Ok(Self::Stat),
            Verb::Stls => Ok(Self::Stls),
            Verb::Utf8 => Ok(Self::Utf8),
        }
    }

    /// The keyword.
    #[inline]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Apop { .. } => Verb::Apop,
            Self::Auth { .. } => Verb::Auth,
            Self::Capa => Verb::Capa,
            Self::Dele(_) => Verb::Dele,
            Self::Lang(_) => Verb::Lang,
            Self::Last => Verb::Last,
            Self::List(_) => Verb::List,
            Self::Noop => Verb::Noop,
            Self::Pass(_) => Verb::Pass,
            Self::Quit => Verb::Quit,
            Self::Retr(_) => Verb::Retr,
            Self::Rset => Verb::Rset,
            Self::Stat => Verb::Stat,
            Self::Stls => Verb::Stls,
            Self::Top { .. } => Verb::Top,
            Self::Uidl(_) => Verb::Uidl,
            Self::User(_) => Verb::User,
            Self::Utf8 => Verb::Utf8,
        }
    }

    /// Whether a positive response is followed by lines and a line of one dot.
    #[inline]
    pub const fn is_multi_line(&self) -> bool {
        matches!(
            self,
            Self::Capa | Self::Lang(None) | Self::List(None) | Self::Retr(_) | Self::Top { .. } | Self::Uidl(None)
        )
    }

    /// Appends the command with its CRLF to `out`.
    ///
    /// A password may hold any octet but CR, LF and NUL: [`client::Connection`](crate::client::Connection) refuses others, this writes
    /// nothing at all for them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if !self.fits_a_line() {
            return;
        }
        out.extend_from_slice(self.verb().as_str().as_bytes());
        self.encode_arguments(out);
        out.extend_from_slice(b"\r\n");
    }

    /// All arguments but a password are of types that cannot break a line.
    pub(crate) fn fits_a_line(&self) -> bool {
        !matches!(self, Self::Pass(secret) if secret.expose().iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)))
    }

    fn encode_arguments(&self, out: &mut Vec<u8>) {
        match self {
            Self::Apop { name, digest } => {
                put(name.as_bytes(), out);
                out.push(b' ');
                out.extend(digest.hex());
            }
            Self::Auth { mechanism, initial } => {
                put(mechanism.as_bytes(), out);
                if let Some(initial) = initial {
                    out.push(b' ');
                    put_initial(initial, out);
                }
            }
            Self::Lang(Some(range)) => put(range.as_bytes(), out),
            Self::Pass(password) => put(password.expose(), out),
            Self::Top { message, lines } => {
                put_message(*message, out);
                out.push(b' ');
                grammar::put_number(u64::from(*lines), out);
            }
            Self::User(name) => put(name.as_bytes(), out),
            Self::Dele(message) | Self::Retr(message) | Self::List(Some(message)) | Self::Uidl(Some(message)) => {
                put_message(*message, out);
            }
            _ => {}
        }
    }
}

fn put(argument: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(argument);
}

fn put_message(message: MessageNumber, out: &mut Vec<u8>) {
    out.push(b' ');
    grammar::put_number(u64::from(message.as_u32()), out);
}

fn argument(verb: Verb, rest: Option<&[u8]>) -> Result<&[u8], CommandError> {
    rest.ok_or(CommandError::MissingArgument { verb })
}

fn without_extra_spaces(rest: Option<&[u8]>) -> Option<&[u8]> {
    rest.map(<[u8]>::trim_ascii).filter(|rest| !rest.is_empty())
}

/// ```abnf
/// msg = nz-number
/// ```
fn message(verb: Verb, digits: &[u8]) -> Result<MessageNumber, CommandError> {
    MessageNumber::parse(digits)
        .ok_or(CommandError::BadArgument { verb, expected: "a message number from 1 to 4294967295" })
}

/// ```abnf
/// apop = "APOP" SP name SP digest
/// ```
///
/// The digest has no space, a name may.
fn apop(arguments: &[u8]) -> Result<Command<'_>, CommandError> {
    let parsed = grammar::last_word(arguments)
        .and_then(|(name, digest)| Some(Command::Apop { name: Name::new(name).ok()?, digest: Digest::parse(digest)? }));
    parsed.ok_or(CommandError::BadArgument {
        verb: Verb::Apop,
        expected: "a name and 32 lower-case hexadecimal digits (RFC 1939 section 7)",
    })
}

/// ```abnf
/// auth-command = "AUTH" SP sasl-mech [SP initial-response] CRLF
/// initial-response = base64 / "="
/// ```
fn auth(arguments: &[u8]) -> Result<Command<'_>, CommandError> {
    let (mechanism, initial) = grammar::word(arguments);
    let mechanism = Mechanism::new(mechanism)
        .map_err(|error| CommandError::BadArgument { verb: Verb::Auth, expected: error.expected })?;
    let initial = initial.map(parse_initial).transpose().map_err(|Base64Error| CommandError::Base64)?;
    Ok(Command::Auth { mechanism, initial })
}

/// ```abnf
/// lang-command = "LANG" [SP (language-range / "*")] CRLF
/// ```
fn lang(rest: Option<&[u8]>) -> Result<Command<'_>, CommandError> {
    match rest.map(LanguageRange::new).transpose() {
        Ok(range) => Ok(Command::Lang(range)),
        Err(error) => Err(CommandError::BadArgument { verb: Verb::Lang, expected: error.expected }),
    }
}

/// ```abnf
/// top = "TOP" SP msg SP n    ; n is a non-negative number
/// ```
fn top(arguments: &[u8], quirks: Quirks) -> Result<Command<'_>, CommandError> {
    let (number, lines) = grammar::word(arguments);
    let lines = lines.ok_or(CommandError::MissingArgument { verb: Verb::Top })?;
    let lines = if quirks.extra_spaces { lines.trim_ascii_start() } else { lines };
    let expected = "a number of lines from 0 to 4294967295";
    let lines = grammar::number32(lines).ok_or(CommandError::BadArgument { verb: Verb::Top, expected })?;
    Ok(Command::Top { message: message(Verb::Top, number)?, lines })
}
