//! What a client says.

use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::{Mechanism, Secret, parse_initial, put_initial};

use crate::error::CommandError;
use crate::extensions::parameters::Parameters;
use crate::grammar;
use crate::limits::Quirks;
use crate::types::{ClientName, ForwardPath, ReversePath, Text};

/// A command, with its arguments.
///
/// One type for both roles: a server gets it from [`server::Connection`](crate::server::Connection), a client hands it to
/// [`client::Connection`](crate::client::Connection). [`parse`](Self::parse) and [`encode`](Self::encode) also work without either.
///
/// ```
/// use postrider_smtp_proto::{Command, ReversePath};
///
/// let command = Command::parse(b"mail FROM:<> SIZE=1000 X-NEW=1")?;
/// let Command::Mail { from: ReversePath::Null, parameters } = &command else { panic!() };
/// assert_eq!(parameters.size()?, Some(1000));
///
/// let mut out = Vec::new();
/// command.encode(&mut out);
/// assert_eq!(out, b"MAIL FROM:<> SIZE=1000 X-NEW=1\r\n");
/// # Ok::<(), postrider_smtp_proto::CommandError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Command<'b> {
    /// Log in with SASL. [RFC 4954 section 4](https://www.rfc-editor.org/rfc/rfc4954#section-4).
    Auth {
        /// The mechanism asked for.
        mechanism: Mechanism<'b>,
        /// The initial response, decoded; `=` on the wire is an empty one.
        initial: Option<Secret<'static>>,
    },
    /// The message follows. [RFC 5321 section 4.1.1.4](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.4).
    Data,
    /// The client's name; asks what the server can do. [RFC 5321 section 4.1.1.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.1).
    Ehlo(ClientName<'b>),
    /// Expand a mailing list. [RFC 5321 section 4.1.1.7](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.7).
    Expn(Text<'b>),
    /// The client's name. [RFC 5321 section 4.1.1.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.1).
    Helo(ClientName<'b>),
    /// Help on a subject, or on anything. [RFC 5321 section 4.1.1.8](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.8).
    Help(Text<'b>),
    /// `EHLO` of LMTP. [RFC 2033 section 4.1](https://www.rfc-editor.org/rfc/rfc2033#section-4.1).
    Lhlo(ClientName<'b>),
    /// Begin a mail transaction. [RFC 5321 section 4.1.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.2).
    Mail {
        /// Where reports go.
        from: ReversePath<'b>,
        /// What extensions add.
        parameters: Parameters<'b>,
    },
    /// Nothing; what follows the keyword means nothing. [RFC 5321 section 4.1.1.9](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.9).
    Noop(Text<'b>),
    /// End the session. [RFC 5321 section 4.1.1.10](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.10).
    Quit,
    /// Add a recipient. [RFC 5321 section 4.1.1.3](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.3).
    Rcpt {
        /// Who.
        to: ForwardPath<'b>,
        /// What extensions add.
        parameters: Parameters<'b>,
    },
    /// Forget the transaction. [RFC 5321 section 4.1.1.5](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.5).
    Rset,
    /// Start TLS. [RFC 3207 section 4](https://www.rfc-editor.org/rfc/rfc3207#section-4).
    StartTls,
    /// Is there such a user? [RFC 5321 section 4.1.1.6](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.6).
    Vrfy(Text<'b>),
}

/// The keyword of a command.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each stands for the command of its name")]
#[repr(u8)]
pub enum Verb {
    Auth,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Vrfy,
}

impl Verb {
    pub(crate) const ALL: [Self; 14] = {
        use Verb::*;
        [Auth, Data, Ehlo, Expn, Helo, Help, Lhlo, Mail, Noop, Quit, Rcpt, Rset, StartTls, Vrfy]
    };

    /// The keyword in upper case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "AUTH",
            Self::Data => "DATA",
            Self::Ehlo => "EHLO",
            Self::Expn => "EXPN",
            Self::Helo => "HELO",
            Self::Help => "HELP",
            Self::Lhlo => "LHLO",
            Self::Mail => "MAIL",
            Self::Noop => "NOOP",
            Self::Quit => "QUIT",
            Self::Rcpt => "RCPT",
            Self::Rset => "RSET",
            Self::StartTls => "STARTTLS",
            Self::Vrfy => "VRFY",
        }
    }

    /// In any case of ASCII letters. Setting the bit maps only the two cases of a letter onto its lower case.
    fn parse(keyword: &[u8]) -> Option<Self> {
        const LOWER: u32 = 0x2020_2020;
        let four = *keyword.first_chunk::<4>()?;
        if keyword.len() != 4 {
            return keyword.eq_ignore_ascii_case(b"STARTTLS").then_some(Self::StartTls);
        }
        Some(match &(u32::from_be_bytes(four) | LOWER).to_be_bytes() {
            b"auth" => Self::Auth,
            b"data" => Self::Data,
            b"ehlo" => Self::Ehlo,
            b"expn" => Self::Expn,
            b"helo" => Self::Helo,
            b"help" => Self::Help,
            b"lhlo" => Self::Lhlo,
            b"mail" => Self::Mail,
            b"noop" => Self::Noop,
            b"quit" => Self::Quit,
            b"rcpt" => Self::Rcpt,
            b"rset" => Self::Rset,
            b"vrfy" => Self::Vrfy,
            _ => return None,
        })
    }

    /// Whether the line may be as long as a SASL message.
    pub(crate) fn begins(line: &[u8], verb: Self) -> bool {
        let name = verb.as_str().as_bytes();
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
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
    /// When it is no command of SMTP or its arguments do not follow its grammar.
    pub fn parse(line: &'b [u8]) -> Result<Self, CommandError> {
        Self::parse_with(line, Quirks::default())
    }

    /// Reads a command, forgiving what `quirks` names. Spaces at the end mean nothing
    /// ([RFC 5321 section 4.1.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1)).
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    #[inline]
    pub fn parse_with(line: &'b [u8], quirks: Quirks) -> Result<Self, CommandError> {
        let (keyword, rest) = grammar::word(line.trim_ascii_end());
        let verb = Verb::parse(keyword).ok_or(CommandError::UnknownCommand)?;
        match verb {
            Verb::Mail => mail(argument(verb, rest)?, quirks),
            Verb::Rcpt => rcpt(argument(verb, rest)?, quirks),
            Verb::Auth => auth(argument(verb, rest)?),
            Verb::Ehlo => client_name(verb, rest).map(Self::Ehlo),
            Verb::Helo => client_name(verb, rest).map(Self::Helo),
            Verb::Lhlo => client_name(verb, rest).map(Self::Lhlo),
            Verb::Expn => text(verb, argument(verb, rest)?).map(Self::Expn),
            Verb::Vrfy => text(verb, argument(verb, rest)?).map(Self::Vrfy),
            Verb::Help => text(verb, rest.unwrap_or_default()).map(Self::Help),
            Verb::Noop => text(verb, rest.unwrap_or_default()).map(Self::Noop),
            _ if rest.is_some() => Err(CommandError::UnexpectedArgument { verb }),
            Verb::Data => Ok(Self::Data),
            Verb::Quit => Ok(Self::Quit),
            Verb::Rset => Ok(Self::Rset),
            Verb::StartTls => Ok(Self::StartTls),
        }
    }

    /// The keyword.
    #[inline]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Auth { .. } => Verb::Auth,
            Self::Data => Verb::Data,
            Self::Ehlo(_) => Verb::Ehlo,
            Self::Expn(_) => Verb::Expn,
            Self::Helo(_) => Verb::Helo,
            Self::Help(_) => Verb::Help,
            Self::Lhlo(_) => Verb::Lhlo,
            Self::Mail { .. } => Verb::Mail,
            Self::Noop(_) => Verb::Noop,
            Self::Quit => Verb::Quit,
            Self::Rcpt { .. } => Verb::Rcpt,
            Self::Rset => Verb::Rset,
            Self::StartTls => Verb::StartTls,
            Self::Vrfy(_) => Verb::Vrfy,
        }
    }

    /// Appends the command with its CRLF to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.verb().as_str().as_bytes());
        match self {
            Self::Auth { mechanism, initial } => {
                put(mechanism.as_bytes(), out);
                if let Some(initial) = initial {
                    out.push(b' ');
                    put_initial(initial, out);
                }
            }
            Self::Ehlo(name) | Self::Helo(name) | Self::Lhlo(name) => put(name.as_bytes(), out),
            Self::Expn(text) | Self::Help(text) | Self::Noop(text) | Self::Vrfy(text) => {
                if !text.as_bytes().is_empty() {
                    put(text.as_bytes(), out);
                }
            }
            Self::Mail { from, parameters } => {
                out.extend_from_slice(b" FROM:");
                from.encode(out);
                parameters.encode(out);
            }
            Self::Rcpt { to, parameters } => {
                out.extend_from_slice(b" TO:");
                to.encode(out);
                parameters.encode(out);
            }
            Self::Data | Self::Quit | Self::Rset | Self::StartTls => {}
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn put(argument: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(argument);
}

fn argument(verb: Verb, rest: Option<&[u8]>) -> Result<&[u8], CommandError> {
    rest.filter(|rest| !rest.is_empty()).ok_or(CommandError::MissingArgument { verb })
}

/// ```abnf
/// mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
/// ```
fn mail(arguments: &[u8], quirks: Quirks) -> Result<Command<'_>, CommandError> {
    let (verb, expected) = (Verb::Mail, "FROM:<mailbox> or FROM:<> (RFC 5321 section 4.1.1.2)");
    let parsed = path(arguments, b"FROM:", quirks).and_then(|input| ReversePath::parse(input, quirks));
    let (from, rest) = parsed.ok_or(CommandError::BadArgument { verb, expected })?;
    Ok(Command::Mail { from, parameters: Parameters::after_path(rest, verb)? })
}

/// ```abnf
/// rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF
/// ```
fn rcpt(arguments: &[u8], quirks: Quirks) -> Result<Command<'_>, CommandError> {
    let (verb, expected) = (Verb::Rcpt, "TO:<mailbox> (RFC 5321 section 4.1.1.3)");
    let parsed = path(arguments, b"TO:", quirks).and_then(|input| ForwardPath::parse(input, quirks));
    let (to, rest) = parsed.ok_or(CommandError::BadArgument { verb, expected })?;
    Ok(Command::Rcpt { to, parameters: Parameters::after_path(rest, verb)? })
}

/// What follows `FROM:` or `TO:`.
fn path<'b>(arguments: &'b [u8], prefix: &[u8], quirks: Quirks) -> Option<&'b [u8]> {
    let (start, rest) = arguments.split_at_checked(prefix.len())?;
    if !start.eq_ignore_ascii_case(prefix) {
        return None;
    }
    Some(if quirks.space_before_path { rest.trim_ascii_start() } else { rest })
}

/// ```abnf
/// auth-command     = "AUTH" SP sasl-mech [SP initial-response] CRLF
/// initial-response = base64 / "="
/// ```
fn auth(arguments: &[u8]) -> Result<Command<'_>, CommandError> {
    let (mechanism, initial) = grammar::word(arguments);
    let mechanism = Mechanism::new(mechanism)
        .map_err(|error| CommandError::BadArgument { verb: Verb::Auth, expected: error.expected })?;
    let initial = initial.map(parse_initial).transpose().map_err(|_| CommandError::Base64)?;
    Ok(Command::Auth { mechanism, initial })
}

fn client_name(verb: Verb, rest: Option<&[u8]>) -> Result<ClientName<'_>, CommandError> {
    let name = argument(verb, rest)?;
    ClientName::new(name).map_err(|error| CommandError::BadArgument { verb, expected: error.expected })
}

/// ```abnf
/// String = Atom / Quoted-string
/// ```
///
/// Taken as any text: what it means is the server's business, and nothing of it is lost.
fn text(verb: Verb, octets: &[u8]) -> Result<Text<'_>, CommandError> {
    if octets.iter().any(u8::is_ascii_control) || !grammar::is_utf8(octets) {
        return Err(CommandError::BadArgument { verb, expected: "text without control characters" });
    }
    Ok(Text::received(octets))
}
