//! The lines of the reply to `EHLO`: [RFC 5321 section 4.1.1.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.1).

use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::{Escaped, Mechanisms};

use crate::extensions::timing::{DateTime, hold_seconds};
use crate::grammar;
use crate::types::breaks_a_line;

/// What a server can do, one line of its reply to `EHLO`.
///
/// ```abnf
/// ehlo-line = ehlo-keyword *( SP ehlo-param )
/// ```
///
/// Others than these, and these with parameters that do not fit, are kept as [`Other`](Self::Other).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Capability<'b> {
    /// [RFC 2645](https://www.rfc-editor.org/rfc/rfc2645).
    Atrn,
    /// [RFC 4954 section 3](https://www.rfc-editor.org/rfc/rfc4954#section-3).
    Auth(Mechanisms<'b>),
    /// [RFC 3030](https://www.rfc-editor.org/rfc/rfc3030).
    BinaryMime,
    /// What `BURL` can fetch; `None` may be more after a login. [RFC 4468 section 3.1](https://www.rfc-editor.org/rfc/rfc4468#section-3.1).
    Burl(Option<&'b [u8]>),
    /// [RFC 3030](https://www.rfc-editor.org/rfc/rfc3030).
    Chunking,
    /// [RFC 4141](https://www.rfc-editor.org/rfc/rfc4141).
    Conneg,
    /// [RFC 4141](https://www.rfc-editor.org/rfc/rfc4141).
    Conperm,
    /// The shortest time after which a message can be returned, in seconds, if it is told. [RFC 2852](https://www.rfc-editor.org/rfc/rfc2852).
    DeliverBy(Option<u32>),
    /// [RFC 3461](https://www.rfc-editor.org/rfc/rfc3461).
    Dsn,
    /// [RFC 6152](https://www.rfc-editor.org/rfc/rfc6152).
    EightBitMime,
    /// [RFC 2034](https://www.rfc-editor.org/rfc/rfc2034).
    EnhancedStatusCodes,
    /// [RFC 1985](https://www.rfc-editor.org/rfc/rfc1985).
    Etrn,
    /// [RFC 5321 section 4.1.1.7](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.7).
    Expn,
    /// [RFC 4865](https://www.rfc-editor.org/rfc/rfc4865).
    FutureRelease(FutureRelease<'b>),
    /// [RFC 5321 section 4.1.1.8](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.8).
    Help,
    /// [RFC 9422](https://www.rfc-editor.org/rfc/rfc9422).
    Limits(ServerLimits<'b>),
    /// The name of a profile. [RFC 6710](https://www.rfc-editor.org/rfc/rfc6710).
    MtPriority(Option<&'b [u8]>),
    /// [RFC 3885](https://www.rfc-editor.org/rfc/rfc3885).
    Mtrk,
    /// What is not wanted, keywords parted by commas. [RFC 3865](https://www.rfc-editor.org/rfc/rfc3865).
    NoSoliciting(Option<&'b [u8]>),
    /// A line not known.
    Other {
        /// The keyword as it stands.
        keyword: &'b [u8],
        /// What follows its space.
        parameters: Option<&'b [u8]>,
    },
    /// [RFC 2920](https://www.rfc-editor.org/rfc/rfc2920).
    Pipelining,
    /// [draft-hall-prdr](https://datatracker.ietf.org/doc/html/draft-hall-prdr-00).
    Prdr,
    /// [RFC 8689](https://www.rfc-editor.org/rfc/rfc8689).
    RequireTls,
    /// [RFC 7293](https://www.rfc-editor.org/rfc/rfc7293).
    Rrvs,
    /// [RFC 1870 section 4](https://www.rfc-editor.org/rfc/rfc1870#section-4): the largest message taken, in octets; `None` where no number is given, 0 for no limit.
    Size(Option<u64>),
    /// [RFC 6531](https://www.rfc-editor.org/rfc/rfc6531).
    SmtpUtf8,
    /// [RFC 3207](https://www.rfc-editor.org/rfc/rfc3207).
    StartTls,
    /// [RFC 4405](https://www.rfc-editor.org/rfc/rfc4405).
    Submitter,
    /// [RFC 5321 section 4.1.1.6](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.6); any server has it, and need not say so.
    Vrfy,
    /// The attributes taken. [Postfix](https://www.postfix.org/XCLIENT_README.html).
    Xclient(Option<&'b [u8]>),
    /// The attributes taken. [Postfix](https://www.postfix.org/XFORWARD_README.html).
    Xforward(Option<&'b [u8]>),
    /// [Postfix](https://www.postfix.org/VERP_README.html).
    Xverp,
}

/// How long a server holds messages at most. [RFC 4865 section 3](https://www.rfc-editor.org/rfc/rfc4865#section-3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FutureRelease<'b> {
    /// Seconds, 1 to 999,999,999.
    pub max_seconds: u32,
    /// The last moment.
    pub max_moment: DateTime<'b>,
}

/// What a server takes at most: [RFC 9422](https://www.rfc-editor.org/rfc/rfc9422).
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct ServerLimits<'b>(LimitsSource<'b>);

#[derive(Clone, Copy, Eq, PartialEq)]
enum LimitsSource<'b> {
    Recipients(u32),
    Wire(&'b [u8]),
}

impl<'b> ServerLimits<'b> {
    pub(crate) fn of_recipients(recipients: u32) -> Self {
        Self(LimitsSource::Recipients(recipients.clamp(1, 999_999)))
    }

    /// `MAILMAX`: transactions in a session.
    pub fn transactions(&self) -> Option<u32> {
        self.find("MAILMAX")
    }

    /// `RCPTMAX`: recipients in a transaction.
    pub fn recipients(&self) -> Option<u32> {
        self.find("RCPTMAX")
    }

    /// `RCPTDOMAINMAX`: domains among the recipients of a transaction.
    pub fn recipient_domains(&self) -> Option<u32> {
        self.find("RCPTDOMAINMAX")
    }

    /// ```abnf
    /// limit-param = limit-name-value 0*[SP limit-name-value]
    /// limit-value = %x31-39 0*5DIGIT    ; of the limits that are numbers: 0 is none
    /// ```
    ///
    /// What does not follow it says nothing.
    fn find(&self, name: &str) -> Option<u32> {
        let words = match self.0 {
            LimitsSource::Recipients(recipients) => return (name == "RCPTMAX").then_some(recipients),
            LimitsSource::Wire(words) => words,
        };
        let value_of = |word: &'b [u8]| {
            let (found, value) = grammar::split_once(word, b'=');
            value.filter(|_| grammar::is_name(found, name))
        };
        let value = words.split(|octet| *octet == b' ').find_map(value_of)?;
        let number = grammar::number(value).filter(|_| value.len() <= 6 && !value.starts_with(b"0"))?;
        u32::try_from(number).ok()
    }
}

impl fmt::Debug for ServerLimits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LimitsSource::Recipients(recipients) => write!(f, "ServerLimits(RCPTMAX={recipients})"),
            LimitsSource::Wire(words) => write!(f, "ServerLimits({})", Escaped(words)),
        }
    }
}

impl<'b> Capability<'b> {
    /// Reads a capability from the text of a reply's line.
    pub fn parse(line: &'b [u8]) -> Self {
        let (keyword, parameters) = grammar::word(line);
        Self::known(keyword, parameters).unwrap_or(Self::Other { keyword, parameters })
    }

    fn known(keyword: &[u8], parameters: Option<&'b [u8]>) -> Option<Self> {
        let capability = Self::named(keyword)?;
        let Some(words) = parameters else {
            return match capability {
                // They say nothing without.
                Self::Auth(_) | Self::FutureRelease(_) | Self::Limits(_) => None,
                capability => Some(capability),
            };
        };
        match capability {
            Self::Auth(_) => {
                let mechanisms = Mechanisms::received(words);
                mechanisms.iter().next().map(|_| Self::Auth(mechanisms))
            }
            Self::Burl(_) => Some(Self::Burl(Some(words))),
            Self::DeliverBy(_) => {
                let seconds = words.split(|octet| *octet == b',').next().unwrap_or_default();
                if seconds.is_empty() {
                    return Some(Self::DeliverBy(None));
                }
                let seconds = grammar::number(seconds).filter(|_| seconds.len() <= 9)?;
                u32::try_from(seconds).ok().map(|seconds| Self::DeliverBy(Some(seconds)))
            }
            Self::FutureRelease(_) => {
                let (seconds, moment) = grammar::word(words);
                let (max_seconds, max_moment) = (hold_seconds(seconds)?, DateTime::parse(moment?)?);
                Some(Self::FutureRelease(FutureRelease { max_seconds, max_moment }))
            }
            Self::Limits(_) => Some(Self::Limits(ServerLimits(LimitsSource::Wire(words)))),
            Self::MtPriority(_) => Some(Self::MtPriority(Some(words))),
            Self::NoSoliciting(_) => Some(Self::NoSoliciting(Some(words))),
            Self::Size(_) => grammar::number(words).map(|octets| Self::Size(Some(octets))),
            // RFC 6531 section 3.1: parameters that may come one day are passed over.
            Self::SmtpUtf8 => Some(Self::SmtpUtf8),
            Self::Xclient(_) => Some(Self::Xclient(Some(words))),
            Self::Xforward(_) => Some(Self::Xforward(Some(words))),
            _ => None,
        }
    }

    /// The capability of that name, without parameters, in any case of ASCII letters.
    fn named(keyword: &[u8]) -> Option<Self> {
        macro_rules! named {
            ($name:literal, $capability:expr) => {
                if grammar::is_name(keyword, $name) { Some($capability) } else { None }
            };
        }
        match (keyword.len(), keyword.first()? | 0x20) {
            (3, b'd') => named!("DSN", Self::Dsn),
            (4, b'a') if keyword.get(1)? | 0x20 == b't' => named!("ATRN", Self::Atrn),
            (4, b'a') => named!("AUTH", Self::Auth(Mechanisms::received(b""))),
            (4, b'b') => named!("BURL", Self::Burl(None)),
            (4, b'e') if keyword.get(1)? | 0x20 == b't' => named!("ETRN", Self::Etrn),
            (4, b'e') => named!("EXPN", Self::Expn),
            (4, b'h') => named!("HELP", Self::Help),
            (4, b'm') => named!("MTRK", Self::Mtrk),
            (4, b'p') => named!("PRDR", Self::Prdr),
            (4, b'r') => named!("RRVS", Self::Rrvs),
            (4, b's') => named!("SIZE", Self::Size(None)),
            (4, b'v') => named!("VRFY", Self::Vrfy),
            (5, b'x') => named!("XVERP", Self::Xverp),
            (6, b'c') => named!("CONNEG", Self::Conneg),
            (6, b'l') => named!("LIMITS", Self::Limits(ServerLimits(LimitsSource::Wire(b"")))),
            (7, b'c') => named!("CONPERM", Self::Conperm),
            (7, b'x') => named!("XCLIENT", Self::Xclient(None)),
            (8, b'8') => named!("8BITMIME", Self::EightBitMime),
            (8, b'c') => named!("CHUNKING", Self::Chunking),
            (8, b's') if keyword.get(1)? | 0x20 == b't' => named!("STARTTLS", Self::StartTls),
            (8, b's') => named!("SMTPUTF8", Self::SmtpUtf8),
            (8, b'x') => named!("XFORWARD", Self::Xforward(None)),
            (9, b'd') => named!("DELIVERBY", Self::DeliverBy(None)),
            (9, b's') => named!("SUBMITTER", Self::Submitter),
            (10, b'b') => named!("BINARYMIME", Self::BinaryMime),
            (10, b'p') => named!("PIPELINING", Self::Pipelining),
            (10, b'r') => named!("REQUIRETLS", Self::RequireTls),
            (11, b'm') => named!("MT-PRIORITY", Self::MtPriority(None)),
            (13, b'f') => named!(
                "FUTURERELEASE",
                Self::FutureRelease(FutureRelease {
                    max_seconds: 1,
                    max_moment: DateTime::parse(b"1970-01-01T00:00:00Z")?
                })
            ),
            (13, b'n') => named!("NO-SOLICITING", Self::NoSoliciting(None)),
            (19, b'e') => named!("ENHANCEDSTATUSCODES", Self::EnhancedStatusCodes),
            _ => None,
        }
    }

    /// Appends the text of the line, without code and CRLF. What would break the line becomes a space.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.put(out);
        let written = out.get_mut(start..).unwrap_or_default();
        written.iter_mut().filter(|octet| breaks_a_line(**octet)).for_each(|octet| *octet = b' ');
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.keyword().as_bytes());
        match self {
            Self::Other { keyword, parameters } => {
                out.extend_from_slice(keyword);
                parameters.iter().for_each(|words| put(words, out));
            }
            Self::Auth(mechanisms) => mechanisms.iter().for_each(|mechanism| put(mechanism.as_bytes(), out)),
            Self::Burl(Some(words))
            | Self::MtPriority(Some(words))
            | Self::NoSoliciting(Some(words))
            | Self::Xclient(Some(words))
            | Self::Xforward(Some(words)) => put(words, out),
            Self::DeliverBy(Some(seconds)) => put_number(u64::from(*seconds), out),
            Self::FutureRelease(release) => {
                put_number(u64::from(release.max_seconds), out);
                put(release.max_moment.as_bytes(), out);
            }
            Self::Limits(ServerLimits(LimitsSource::Recipients(recipients))) => {
                out.extend_from_slice(b" RCPTMAX=");
                put_digits(u64::from(*recipients), out);
            }
            Self::Limits(ServerLimits(LimitsSource::Wire(words))) => put(words, out),
            Self::Size(Some(octets)) => put_number(*octets, out),
            _ => {}
        }
    }

    /// Of one that is known; empty of others.
    const fn keyword(&self) -> &'static str {
        match self {
            Self::Atrn => "ATRN",
            Self::Auth(_) => "AUTH",
            Self::BinaryMime => "BINARYMIME",
            Self::Burl(_) => "BURL",
            Self::Chunking => "CHUNKING",
            Self::Conneg => "CONNEG",
            Self::Conperm => "CONPERM",
            Self::DeliverBy(_) => "DELIVERBY",
            Self::Dsn => "DSN",
            Self::EightBitMime => "8BITMIME",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::Etrn => "ETRN",
            Self::Expn => "EXPN",
            Self::FutureRelease(_) => "FUTURERELEASE",
            Self::Help => "HELP",
            Self::Limits(_) => "LIMITS",
            Self::MtPriority(_) => "MT-PRIORITY",
            Self::Mtrk => "MTRK",
            Self::NoSoliciting(_) => "NO-SOLICITING",
            Self::Other { .. } => "",
            Self::Pipelining => "PIPELINING",
            Self::Prdr => "PRDR",
            Self::RequireTls => "REQUIRETLS",
            Self::Rrvs => "RRVS",
            Self::Size(_) => "SIZE",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::StartTls => "STARTTLS",
            Self::Submitter => "SUBMITTER",
            Self::Vrfy => "VRFY",
            Self::Xclient(_) => "XCLIENT",
            Self::Xforward(_) => "XFORWARD",
            Self::Xverp => "XVERP",
        }
    }
}

fn put(parameter: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(parameter);
}

fn put_number(number: u64, out: &mut Vec<u8>) {
    out.push(b' ');
    put_digits(number, out);
}

/// Without memory of its own.
fn put_digits(number: u64, out: &mut Vec<u8>) {
    let (start, mut left) = (out.len(), number);
    loop {
        out.push(b'0' + u8::try_from(left % 10).unwrap_or_default());
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.get_mut(start..).unwrap_or_default().reverse();
}
