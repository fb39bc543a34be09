//! What a client says.

use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::{Mechanism, Secret, ValueError, parse_initial, put_initial};

use crate::error::CommandError;
use crate::extensions::attributes::Attributes;
use crate::extensions::burl::Url;
use crate::extensions::parameters::Parameters;
use crate::extensions::queues::{DomainList, QueueName};
use crate::grammar;
use crate::limits::Quirks;
use crate::types::{Argument, ClientName, ForwardPath, OtherCommand, ReversePath};

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
/// assert_eq!(parameters.size(), Some(1000));
///
/// let mut out = Vec::new();
/// command.encode(&mut out);
/// assert_eq!(out, b"MAIL FROM:<> SIZE=1000 X-NEW=1\r\n");
/// # Ok::<(), postrider_smtp_proto::CommandError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Command<'b> {
    /// Reverse the roles and send the mail of these domains, or of all the client has. [RFC 2645 section 5.2](https://www.rfc-editor.org/rfc/rfc2645#section-5.2).
    Atrn(Option<DomainList<'b>>),
    /// Log in with SASL. [RFC 4954 section 4](https://www.rfc-editor.org/rfc/rfc4954#section-4).
    Auth {
        /// The mechanism asked for.
        mechanism: Mechanism<'b>,
        /// The initial response, decoded; `=` on the wire is an empty one.
        initial: Option<Secret<'static>>,
    },
    /// A part of the message follows, in so many octets. [RFC 3030 section 2](https://www.rfc-editor.org/rfc/rfc3030#section-2).
    ///
    /// A server's connection shows it as [`server::Event::Chunk`](crate::server::Event::Chunk), a client's sends it with its octets:
    /// [`client::Connection::chunk`](crate::client::Connection::chunk).
    Bdat {
        /// Octets that follow the line.
        size: u64,
        /// Whether the message ends with them.
        last: bool,
    },
    /// A part of the message is what an IMAP server has there. [RFC 4468 section 3](https://www.rfc-editor.org/rfc/rfc4468#section-3).
    Burl {
        /// Where the part is, `imap://harry@gryffindor.example.com/outbox;uid=25627` for one.
        url: Url<'b>,
        /// Whether the message ends with it.
        last: bool,
    },
    /// The message follows. [RFC 5321 section 4.1.1.4](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.4).
    Data,
    /// The client's name; asks what the server can do. [RFC 5321 section 4.1.1.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.1).
    Ehlo(ClientName<'b>),
    /// Send what waits for this host. [RFC 1985 section 5](https://www.rfc-editor.org/rfc/rfc1985#section-5).
    Etrn(QueueName<'b>),
    /// Expand a mailing list. [RFC 5321 section 4.1.1.7](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.7).
    Expn(Argument<'b>),
    /// The client's name. [RFC 5321 section 4.1.1.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.1).
    Helo(ClientName<'b>),
    /// Help on a subject, or on anything. [RFC 5321 section 4.1.1.8](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.8).
    Help(Option<Argument<'b>>),
    /// `EHLO` of LMTP. [RFC 2033 section 4.1](https://www.rfc-editor.org/rfc/rfc2033#section-4.1).
    Lhlo(ClientName<'b>),
    /// Begin a mail transaction. [RFC 5321 section 4.1.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.2).
    Mail {
        /// Where reports go.
        from: ReversePath<'b>,
        /// What extensions add, `SIZE=1000` for one.
        parameters: Parameters<'b>,
    },
    /// Nothing; what follows the keyword means nothing. [RFC 5321 section 4.1.1.9](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.9).
    Noop(Option<Argument<'b>>),
    /// A command this crate does not know.
    Other(OtherCommand<'b>),
    /// End the session. [RFC 5321 section 4.1.1.10](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.10).
    Quit,
    /// Add a recipient. [RFC 5321 section 4.1.1.3](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.3).
    Rcpt {
        /// The recipient: `<a@b.example>`, `<postmaster>`.
        to: ForwardPath<'b>,
        /// What extensions add, `NOTIFY=NEVER` for one.
        parameters: Parameters<'b>,
    },
    /// Forget the transaction. [RFC 5321 section 4.1.1.5](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.5).
    Rset,
    /// Start TLS. [RFC 3207 section 4](https://www.rfc-editor.org/rfc/rfc3207#section-4).
    StartTls,
    /// Is there such a user? [RFC 5321 section 4.1.1.6](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.6).
    Vrfy(Argument<'b>),
    /// Take this for the client's address, name and so on, and begin anew. [Postfix](https://www.postfix.org/XCLIENT_README.html).
    Xclient(Attributes<'b>),
    /// For the log: where the message came from. [Postfix](https://www.postfix.org/XFORWARD_README.html).
    Xforward(Attributes<'b>),
}

/// The keyword of a command.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each stands for the command of its name")]
#[repr(u8)]
pub enum Verb {
    Atrn,
    Auth,
    Bdat,
    Burl,
    Data,
    Ehlo,
    Etrn,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Other,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Vrfy,
    Xclient,
    Xforward,
}

impl Verb {
    pub(crate) const ALL: [Self; 21] = {
        use Verb::*;
        [
            Atrn, Auth, Bdat, Burl, Data, Ehlo, Etrn, Expn, Helo, Help, Lhlo, Mail, Noop, Other, Quit, Rcpt, Rset,
            StartTls, Vrfy, Xclient, Xforward,
        ]
    };

    /// The keyword in upper case; of [`Other`](Self::Other), which has many, none of them.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Atrn => "ATRN",
            Self::Auth => "AUTH",
            Self::Bdat => "BDAT",
            Self::Burl => "BURL",
            Self::Data => "DATA",
            Self::Ehlo => "EHLO",
            Self::Etrn => "ETRN",
            Self::Expn => "EXPN",
            Self::Helo => "HELO",
            Self::Help => "HELP",
            Self::Lhlo => "LHLO",
            Self::Mail => "MAIL",
            Self::Noop => "NOOP",
            Self::Other => "another command",
            Self::Quit => "QUIT",
            Self::Rcpt => "RCPT",
            Self::Rset => "RSET",
            Self::StartTls => "STARTTLS",
            Self::Vrfy => "VRFY",
            Self::Xclient => "XCLIENT",
            Self::Xforward => "XFORWARD",
        }
    }

    /// In any case of ASCII letters.
    pub(crate) fn parse(keyword: &[u8]) -> Self {
        if let Ok(four) = <[u8; 4]>::try_from(keyword) {
            return Self::of_four(four);
        }
        let long = [Self::StartTls, Self::Xclient, Self::Xforward];
        long.into_iter().find(|verb| grammar::is_name(keyword, verb.as_str())).unwrap_or(Self::Other)
    }

    #[inline]
    fn of_four(keyword: [u8; 4]) -> Self {
        match four(&keyword) {
            four::ATRN => Self::Atrn,
            four::AUTH => Self::Auth,
            four::BDAT => Self::Bdat,
            four::BURL => Self::Burl,
            four::DATA => Self::Data,
            four::EHLO => Self::Ehlo,
            four::ETRN => Self::Etrn,
            four::EXPN => Self::Expn,
            four::HELO => Self::Helo,
            four::HELP => Self::Help,
            four::LHLO => Self::Lhlo,
            four::MAIL => Self::Mail,
            four::NOOP => Self::Noop,
            four::QUIT => Self::Quit,
            four::RCPT => Self::Rcpt,
            four::RSET => Self::Rset,
            four::VRFY => Self::Vrfy,
            _ => Self::Other,
        }
    }

    /// The verb at the front of `line`, and what follows its space. All but three have four letters; those and unknown ones are looked at closely.
    #[inline]
    fn split_from(line: &[u8]) -> (Self, Option<&[u8]>) {
        let four = line.split_first_chunk().map(|(keyword, rest)| (Self::of_four(*keyword), rest));
        match four {
            Some((Self::Other, _)) | None => {}
            Some((verb, [])) => return (verb, None),
            Some((verb, [b' ', rest @ ..])) => return (verb, Some(rest)),
            Some(_) => {}
        }
        let (keyword, rest) = grammar::word(line);
        (Self::parse(keyword), rest)
    }

    /// Whether `line` begins with the keyword.
    #[inline]
    pub(crate) fn begins(self, line: &[u8]) -> bool {
        line.get(..self.as_str().len()).is_some_and(|start| grammar::is_name(start, self.as_str()))
    }

    /// Whether other commands may follow before its reply: [RFC 2920 section 3.1](https://www.rfc-editor.org/rfc/rfc2920#section-3.1), and for chunks
    /// [RFC 3030 section 4.2](https://www.rfc-editor.org/rfc/rfc3030#section-4.2).
    pub(crate) const fn may_be_followed(self) -> bool {
        use Verb::*;
        matches!(self, Bdat | Burl | Mail | Rcpt | Rset | Xforward)
    }

    /// Whether there is such a command only where `EHLO` says so.
    pub(crate) const fn is_extension(self) -> bool {
        use Verb::*;
        matches!(self, Atrn | Auth | Bdat | Burl | Etrn | StartTls | Xclient | Xforward)
    }
}

/// Four letters as a number, in lower case: setting the bit maps only the two cases of a letter onto it.
const fn four(letters: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*letters) | 0x2020_2020
}

/// The keywords of four letters.
mod four {
    macro_rules! keywords {
        ($($name:ident $letters:literal)*) => { $(pub(super) const $name: u32 = super::four($letters);)* };
    }
    keywords! {
        ATRN b"ATRN" AUTH b"AUTH" BDAT b"BDAT" BURL b"BURL" DATA b"DATA" EHLO b"EHLO" ETRN b"ETRN" EXPN b"EXPN" HELO b"HELO"
        HELP b"HELP" LHLO b"LHLO" MAIL b"MAIL" NOOP b"NOOP" QUIT b"QUIT" RCPT b"RCPT" RSET b"RSET" VRFY b"VRFY"
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

    /// Reads a command, forgiving what `quirks` names. Spaces and tabs at the end mean nothing
    /// ([RFC 5321 section 4.1.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1)).
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    #[inline]
    pub fn parse_with(line: &'b [u8], quirks: Quirks) -> Result<Self, CommandError> {
        let line = without_space_behind(line);
        let (verb, rest) = Verb::split_from(line);
        match verb {
            Verb::Mail => mail(argument(verb, rest)?, quirks),
            Verb::Rcpt => rcpt(argument(verb, rest)?, quirks),
            Verb::Auth => auth(argument(verb, rest)?),
            Verb::Ehlo => client_name(verb, rest).map(Self::Ehlo),
            Verb::Helo => client_name(verb, rest).map(Self::Helo),
            Verb::Lhlo => client_name(verb, rest).map(Self::Lhlo),
            Verb::Expn => value(verb, Argument::new(argument(verb, rest)?)).map(Self::Expn),
            Verb::Vrfy => value(verb, Argument::new(argument(verb, rest)?)).map(Self::Vrfy),
            Verb::Help => rest.map(|rest| value(verb, Argument::new(rest))).transpose().map(Self::Help),
            Verb::Noop => rest.map(|rest| value(verb, Argument::new(rest))).transpose().map(Self::Noop),
            Verb::Data | Verb::Quit | Verb::Rset | Verb::StartTls => match (rest, verb) {
                (Some(_), _) => Err(CommandError::UnexpectedArgument { verb }),
                (None, Verb::Data) => Ok(Self::Data),
                (None, Verb::Quit) => Ok(Self::Quit),
                (None, Verb::Rset) => Ok(Self::Rset),
                (None, _) => Ok(Self::StartTls),
            },
            Verb::Atrn => rest.map(|domains| value(verb, DomainList::new(domains))).transpose().map(Self::Atrn),
            Verb::Bdat => bdat(rest),
            Verb::Burl => burl(argument(verb, rest)?),
            Verb::Etrn => value(verb, QueueName::new(argument(verb, rest)?)).map(Self::Etrn),
            Verb::Xclient => value(verb, Attributes::new(argument(verb, rest)?)).map(Self::Xclient),
            Verb::Xforward => value(verb, Attributes::new(argument(verb, rest)?)).map(Self::Xforward),
            Verb::Other => {
                let (keyword, rest) = grammar::word(line);
                let other = OtherCommand::from_parts(keyword, rest.unwrap_or_default());
                other.map(Self::Other).map_err(|_| CommandError::UnknownCommand)
            }
        }
    }

    /// The keyword.
    #[inline]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Atrn(_) => Verb::Atrn,
            Self::Auth { .. } => Verb::Auth,
            Self::Bdat { .. } => Verb::Bdat,
            Self::Burl { .. } => Verb::Burl,
            Self::Data => Verb::Data,
            Self::Ehlo(_) => Verb::Ehlo,
            Self::Etrn(_) => Verb::Etrn,
            Self::Expn(_) => Verb::Expn,
            Self::Helo(_) => Verb::Helo,
            Self::Help(_) => Verb::Help,
            Self::Lhlo(_) => Verb::Lhlo,
            Self::Mail { .. } => Verb::Mail,
            Self::Noop(_) => Verb::Noop,
            Self::Other(_) => Verb::Other,
            Self::Quit => Verb::Quit,
            Self::Rcpt { .. } => Verb::Rcpt,
            Self::Rset => Verb::Rset,
            Self::StartTls => Verb::StartTls,
            Self::Vrfy(_) => Verb::Vrfy,
            Self::Xclient(_) => Verb::Xclient,
            Self::Xforward(_) => Verb::Xforward,
        }
    }

    /// Appends the command with its CRLF to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let keyword = if let Self::Other(other) = self { other.keyword() } else { self.verb().as_str() };
        out.extend_from_slice(keyword.as_bytes());
        match self {
            Self::Atrn(domains) => domains.iter().for_each(|domains| put(domains.as_bytes(), out)),
            Self::Auth { mechanism, initial } => {
                put(mechanism.as_bytes(), out);
                if let Some(initial) = initial {
                    out.push(b' ');
                    put_initial(initial, out);
                }
            }
            Self::Bdat { size, last } => {
                put(alloc::format!("{size}").as_bytes(), out);
                put_last(*last, out);
            }
            Self::Burl { url, last } => {
                put(url.as_bytes(), out);
                put_last(*last, out);
            }
            Self::Ehlo(name) | Self::Helo(name) | Self::Lhlo(name) => put(name.as_bytes(), out),
            Self::Etrn(queue) => put(queue.as_bytes(), out),
            Self::Other(other) => {
                if !other.argument().is_empty() {
                    put(other.argument(), out);
                }
            }
            Self::Xclient(attributes) | Self::Xforward(attributes) => put(attributes.as_bytes(), out),
            Self::Expn(argument) | Self::Vrfy(argument) => put(argument.as_bytes(), out),
            Self::Help(argument) | Self::Noop(argument) => {
                argument.iter().for_each(|argument| put(argument.as_bytes(), out))
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

/// What `trim_ascii_end` also takes, CR, LF and form feed, is no white space of SMTP.
#[inline]
fn without_space_behind(mut line: &[u8]) -> &[u8] {
    while let [front @ .., b' ' | b'\t'] = line {
        line = front;
    }
    line
}

fn without_space_before(mut path: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = path {
        path = rest;
    }
    path
}

fn put(argument: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(argument);
}

fn put_last(last: bool, out: &mut Vec<u8>) {
    if last {
        put(b"LAST", out);
    }
}

fn argument(verb: Verb, rest: Option<&[u8]>) -> Result<&[u8], CommandError> {
    rest.filter(|rest| !rest.is_empty()).ok_or(CommandError::MissingArgument { verb })
}

/// ```abnf
/// mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
/// ```
#[inline]
fn mail(arguments: &[u8], quirks: Quirks) -> Result<Command<'_>, CommandError> {
    let (verb, expected) = (Verb::Mail, "FROM:<mailbox> or FROM:<> (RFC 5321 section 4.1.1.2)");
    let parsed = after_from(arguments).and_then(|input| ReversePath::parse(unspaced(input, quirks), quirks));
    let (from, rest) = parsed.ok_or(CommandError::BadArgument { verb, expected })?;
    Ok(Command::Mail { from, parameters: Parameters::after_path(rest, verb)? })
}

/// ```abnf
/// rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF
/// ```
#[inline]
fn rcpt(arguments: &[u8], quirks: Quirks) -> Result<Command<'_>, CommandError> {
    let (verb, expected) = (Verb::Rcpt, "TO:<mailbox> (RFC 5321 section 4.1.1.3)");
    let parsed = after_to(arguments).and_then(|input| ForwardPath::parse(unspaced(input, quirks), quirks));
    let (to, rest) = parsed.ok_or(CommandError::BadArgument { verb, expected })?;
    Ok(Command::Rcpt { to, parameters: Parameters::after_path(rest, verb)? })
}

fn after_from(arguments: &[u8]) -> Option<&[u8]> {
    let [b'F' | b'f', b'R' | b'r', b'O' | b'o', b'M' | b'm', b':', path @ ..] = arguments else { return None };
    Some(path)
}

fn after_to(arguments: &[u8]) -> Option<&[u8]> {
    let [b'T' | b't', b'O' | b'o', b':', path @ ..] = arguments else { return None };
    Some(path)
}

fn unspaced(path: &[u8], quirks: Quirks) -> &[u8] {
    if quirks.space_before_path { without_space_before(path) } else { path }
}

/// ```abnf
/// auth-command     = "AUTH" SP sasl-mech [SP initial-response] CRLF
/// initial-response = base64 / "="
/// ```
fn auth(arguments: &[u8]) -> Result<Command<'_>, CommandError> {
    let (mechanism, initial) = grammar::word(arguments);
    let mechanism = value(Verb::Auth, Mechanism::new(mechanism))?;
    let initial = initial.map(parse_initial).transpose().map_err(|_| CommandError::Base64)?;
    Ok(Command::Auth { mechanism, initial })
}

/// ```abnf
/// bdat-cmd   = "BDAT" SP chunk-size [ SP end-marker ] CRLF
/// chunk-size = 1*DIGIT
/// end-marker = "LAST"
/// ```
fn bdat(rest: Option<&[u8]>) -> Result<Command<'static>, CommandError> {
    let (size, last) = end_marker(rest.unwrap_or_default());
    let size = grammar::number(size).ok_or(CommandError::ChunkSize)?;
    Ok(Command::Bdat { size, last })
}

/// ```abnf
/// burl-cmd = "BURL" SP absolute-URI [SP end-marker] CRLF
/// ```
fn burl(arguments: &[u8]) -> Result<Command<'_>, CommandError> {
    let (url, last) = end_marker(arguments);
    value(Verb::Burl, Url::new(url)).map(|url| Command::Burl { url, last })
}

/// What stands before `LAST`, and whether it is there. What does not fit stays in front, to be refused.
fn end_marker(arguments: &[u8]) -> (&[u8], bool) {
    match arguments {
        [before @ .., b' ', b'L' | b'l', b'A' | b'a', b'S' | b's', b'T' | b't'] => (before, true),
        _ => (arguments, false),
    }
}

/// The value, or that the command wants another.
fn value<T>(verb: Verb, value: Result<T, ValueError>) -> Result<T, CommandError> {
    value.map_err(|error| CommandError::BadArgument { verb, expected: error.expected })
}

fn client_name(verb: Verb, rest: Option<&[u8]>) -> Result<ClientName<'_>, CommandError> {
    value(verb, ClientName::new(argument(verb, rest)?))
}
