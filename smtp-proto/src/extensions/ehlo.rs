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
    /// `ATRN`: a user who has logged in may turn the session round and fetch mail. [RFC 2645](https://www.rfc-editor.org/rfc/rfc2645).
    Atrn,
    /// `AUTH`: a client may log in with one of these mechanisms. [RFC 4954 section 3](https://www.rfc-editor.org/rfc/rfc4954#section-3).
    Auth(Mechanisms<'b>),
    /// `BINARYMIME`: a message may be any octets, in chunks. [RFC 3030 section 3](https://www.rfc-editor.org/rfc/rfc3030#section-3).
    BinaryMime,
    /// `BURL`: the server fetches parts of a message, from where these words say, `imap` for one; with `None` it may say more after a login.
    /// [RFC 4468 section 3.1](https://www.rfc-editor.org/rfc/rfc4468#section-3.1).
    Burl(Option<&'b [u8]>),
    /// `CHUNKING`: a message may be sent with `BDAT`. [RFC 3030 section 2](https://www.rfc-editor.org/rfc/rfc3030#section-2).
    Chunking,
    /// `CONNEG`: the server says what a recipient can show. [RFC 4141](https://www.rfc-editor.org/rfc/rfc4141).
    Conneg,
    /// `CONPERM`: the sender may permit to convert a message. [RFC 4141](https://www.rfc-editor.org/rfc/rfc4141).
    Conperm,
    /// `DELIVERBY`: a message may have a time by which it is to be delivered, to be returned after no less than so many seconds, if it is told.
    /// [RFC 2852](https://www.rfc-editor.org/rfc/rfc2852).
    DeliverBy(Option<u32>),
    /// `DSN`: the sender may say which reports it wants. [RFC 3461](https://www.rfc-editor.org/rfc/rfc3461).
    Dsn,
    /// `8BITMIME`: a message may be lines of any octets. [RFC 6152](https://www.rfc-editor.org/rfc/rfc6152).
    EightBitMime,
    /// `ENHANCEDSTATUSCODES`: replies have codes like 5.1.1. [RFC 2034](https://www.rfc-editor.org/rfc/rfc2034).
    EnhancedStatusCodes,
    /// `ETRN`: a client may have what waits for a host sent to it. [RFC 1985](https://www.rfc-editor.org/rfc/rfc1985).
    Etrn,
    /// `EXPN`: mailing lists are expanded. [RFC 5321 section 4.1.1.7](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.7).
    Expn,
    /// `FUTURERELEASE`: a message may be held, this long at most. [RFC 4865](https://www.rfc-editor.org/rfc/rfc4865).
    FutureRelease(FutureRelease<'b>),
    /// `HELP`: help is given. [RFC 5321 section 4.1.1.8](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.8).
    Help,
    /// `LIMITS`: the server takes no more than this. [RFC 9422](https://www.rfc-editor.org/rfc/rfc9422).
    Limits(ServerLimits<'b>),
    /// `MT-PRIORITY`: a message may have a priority, as the profile of this name says what it means. [RFC 6710](https://www.rfc-editor.org/rfc/rfc6710).
    MtPriority(Option<&'b [u8]>),
    /// `MTRK`: a message may be tracked. [RFC 3885](https://www.rfc-editor.org/rfc/rfc3885).
    Mtrk,
    /// `NO-SOLICITING`: messages of these kinds are not wanted, keywords parted by commas. [RFC 3865](https://www.rfc-editor.org/rfc/rfc3865).
    NoSoliciting(Option<&'b [u8]>),
    /// A line that is not known, or whose parameters do not fit.
    Other {
        /// The keyword as it stands.
        keyword: &'b [u8],
        /// What follows its space.
        parameters: Option<&'b [u8]>,
    },
    /// `PIPELINING`: commands may be sent before earlier ones are answered. [RFC 2920](https://www.rfc-editor.org/rfc/rfc2920).
    Pipelining,
    /// `PRDR`: a message may be answered for each recipient. [draft-hall-prdr](https://datatracker.ietf.org/doc/html/draft-hall-prdr-00).
    Prdr,
    /// `REQUIRETLS`: a message may be kept from servers without TLS. [RFC 8689](https://www.rfc-editor.org/rfc/rfc8689).
    RequireTls,
    /// `RRVS`: a message may be kept from who has got the mailbox since. [RFC 7293](https://www.rfc-editor.org/rfc/rfc7293).
    Rrvs,
    /// `SIZE`: the largest message taken, in octets; `None` where no number is given, 0 for no limit.
    /// [RFC 1870 section 4](https://www.rfc-editor.org/rfc/rfc1870#section-4).
    Size(Option<u64>),
    /// `SMTPUTF8`: paths and header may be UTF-8. [RFC 6531](https://www.rfc-editor.org/rfc/rfc6531).
    SmtpUtf8,
    /// `STARTTLS`: TLS may be set up. [RFC 3207](https://www.rfc-editor.org/rfc/rfc3207).
    StartTls,
    /// `SUBMITTER`: who is responsible for a message may be named. [RFC 4405](https://www.rfc-editor.org/rfc/rfc4405).
    Submitter,
    /// `VRFY`, which any server has, and need not list. [RFC 5321 section 4.1.1.6](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.6).
    Vrfy,
    /// `XCLIENT`: another client's address and name may be told, in these attributes. [Postfix](https://www.postfix.org/XCLIENT_README.html).
    Xclient(Option<&'b [u8]>),
    /// `XFORWARD`: where a message came from may be told for the log, in these attributes. [Postfix](https://www.postfix.org/XFORWARD_README.html).
    Xforward(Option<&'b [u8]>),
    /// `XVERP`: each recipient may get a return path of its own. [Postfix](https://www.postfix.org/VERP_README.html).
    Xverp,
}

// The keywords of 4 to 8 octets.
const ATRN: Option<u64> = grammar::short_name(b"ATRN");
const AUTH: Option<u64> = grammar::short_name(b"AUTH");
const BURL: Option<u64> = grammar::short_name(b"BURL");
const CHUNKING: Option<u64> = grammar::short_name(b"CHUNKING");
const CONNEG: Option<u64> = grammar::short_name(b"CONNEG");
const CONPERM: Option<u64> = grammar::short_name(b"CONPERM");
const EIGHT_BIT_MIME: Option<u64> = grammar::short_name(b"8BITMIME");
const ETRN: Option<u64> = grammar::short_name(b"ETRN");
const EXPN: Option<u64> = grammar::short_name(b"EXPN");
const HELP: Option<u64> = grammar::short_name(b"HELP");
const LIMITS: Option<u64> = grammar::short_name(b"LIMITS");
const MTRK: Option<u64> = grammar::short_name(b"MTRK");
const PRDR: Option<u64> = grammar::short_name(b"PRDR");
const RRVS: Option<u64> = grammar::short_name(b"RRVS");
const SIZE: Option<u64> = grammar::short_name(b"SIZE");
const SMTPUTF8: Option<u64> = grammar::short_name(b"SMTPUTF8");
const STARTTLS: Option<u64> = grammar::short_name(b"STARTTLS");
const VRFY: Option<u64> = grammar::short_name(b"VRFY");
const XCLIENT: Option<u64> = grammar::short_name(b"XCLIENT");
const XFORWARD: Option<u64> = grammar::short_name(b"XFORWARD");
const XVERP: Option<u64> = grammar::short_name(b"XVERP");

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
    #[inline]
    pub fn parse(line: &'b [u8]) -> Self {
        // Most are a keyword alone, and no keyword that is known has a space.
        Self::bare(line).unwrap_or_else(|| Self::parse_words(line))
    }

    #[inline(never)]
    fn parse_words(line: &'b [u8]) -> Self {
        let (keyword, parameters) = grammar::word(line);
        let known = parameters.and_then(|words| Self::with(keyword, words));
        known.unwrap_or(Self::Other { keyword, parameters })
    }

    /// The capability of that name, in any case of ASCII letters, that says something without parameters.
    #[inline(always)]
    fn bare(keyword: &[u8]) -> Option<Self> {
        let named = |name, capability| grammar::is_name(keyword, name).then_some(capability);
        match (keyword.len(), grammar::short_name(keyword)) {
            (4, ATRN) => Some(Self::Atrn),
            (4, BURL) => Some(Self::Burl(None)),
            (4, ETRN) => Some(Self::Etrn),
            (4, EXPN) => Some(Self::Expn),
            (4, HELP) => Some(Self::Help),
            (4, MTRK) => Some(Self::Mtrk),
            (4, PRDR) => Some(Self::Prdr),
            (4, RRVS) => Some(Self::Rrvs),
            (4, SIZE) => Some(Self::Size(None)),
            (4, VRFY) => Some(Self::Vrfy),
            (5, XVERP) => Some(Self::Xverp),
            (6, CONNEG) => Some(Self::Conneg),
            (7, CONPERM) => Some(Self::Conperm),
            (7, XCLIENT) => Some(Self::Xclient(None)),
            (8, CHUNKING) => Some(Self::Chunking),
            (8, EIGHT_BIT_MIME) => Some(Self::EightBitMime),
            (8, SMTPUTF8) => Some(Self::SmtpUtf8),
            (8, STARTTLS) => Some(Self::StartTls),
            (8, XFORWARD) => Some(Self::Xforward(None)),
            (3, _) => named("DSN", Self::Dsn),
            (9, _) => named("DELIVERBY", Self::DeliverBy(None)).or_else(|| named("SUBMITTER", Self::Submitter)),
            (10, _) => named("PIPELINING", Self::Pipelining)
                .or_else(|| named("BINARYMIME", Self::BinaryMime))
                .or_else(|| named("REQUIRETLS", Self::RequireTls)),
            (11, _) => named("MT-PRIORITY", Self::MtPriority(None)),
            (13, _) => named("NO-SOLICITING", Self::NoSoliciting(None)),
            (19, _) => named("ENHANCEDSTATUSCODES", Self::EnhancedStatusCodes),
            _ => None,
        }
    }

    /// The capability of that name, in any case of ASCII letters, with these parameters.
    #[inline(always)]
    fn with(keyword: &[u8], words: &'b [u8]) -> Option<Self> {
        match (keyword.len(), grammar::short_name(keyword)) {
            (4, AUTH) => {
                let mechanisms = Mechanisms::received(words);
                mechanisms.iter().next().map(|_| Self::Auth(mechanisms))
            }
            (4, SIZE) => grammar::number(words).map(|octets| Self::Size(Some(octets))),
            // RFC 6531 section 3.1: parameters that may come one day are passed over.
            (8, SMTPUTF8) => Some(Self::SmtpUtf8),
            _ => Self::rare(keyword, words),
        }
    }

    #[inline(never)]
    fn rare(keyword: &[u8], words: &'b [u8]) -> Option<Self> {
        match (keyword.len(), grammar::short_name(keyword)) {
            (4, BURL) => Some(Self::Burl(Some(words))),
            (6, LIMITS) => Some(Self::Limits(ServerLimits(LimitsSource::Wire(words)))),
            (7, XCLIENT) => Some(Self::Xclient(Some(words))),
            (8, XFORWARD) => Some(Self::Xforward(Some(words))),
            (9, _) if grammar::is_name(keyword, "DELIVERBY") => deliver_by(words),
            (11, _) if grammar::is_name(keyword, "MT-PRIORITY") => Some(Self::MtPriority(Some(words))),
            (13, _) if grammar::is_name(keyword, "NO-SOLICITING") => Some(Self::NoSoliciting(Some(words))),
            (13, _) if grammar::is_name(keyword, "FUTURERELEASE") => {
                let (seconds, moment) = grammar::word(words);
                let (max_seconds, max_moment) = (hold_seconds(seconds)?, DateTime::parse(moment?)?);
                Some(Self::FutureRelease(FutureRelease { max_seconds, max_moment }))
            }
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

/// ```abnf
/// deliverby-param = min-by-time *( "," extension-token )
/// min-by-time     = [1*9DIGIT]
/// ```
fn deliver_by<'b>(words: &[u8]) -> Option<Capability<'b>> {
    let (seconds, _) = grammar::split_once(words, b',');
    if seconds.is_empty() {
        return Some(Capability::DeliverBy(None));
    }
    let seconds = grammar::number(seconds).filter(|_| seconds.len() <= 9)?;
    u32::try_from(seconds).ok().map(|seconds| Capability::DeliverBy(Some(seconds)))
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
