//! What may follow the path of `MAIL` and `RCPT`: [RFC 5321 section 4.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2).

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::{Escaped, ValueError};

use crate::command::Verb;
use crate::error::CommandError;
use crate::extensions::dsn::{Notify, OriginalRecipient, Ret, is_envelope_id};
use crate::extensions::timing::{DateTime, DeliverBy, Hold, ValidSince, hold_seconds, priority};
use crate::extensions::written::put;
use crate::extensions::xtext::{self, Xtext};
use crate::grammar::{self, Class};
use crate::types::Mailbox;

/// The parameters of a command, byte for byte as they came: checked once, read when asked.
///
/// ```abnf
/// Mail-parameters = esmtp-param *(SP esmtp-param)
/// ```
///
/// No keyword stands twice, and the value of each that this crate knows follows its grammar. Others are kept for whoever knows them.
/// [`ParameterList`] makes them.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Parameters<'b> {
    octets: &'b [u8],
    /// A bit for each [`Keyword`] among them, and one for all [`OTHERS`].
    known: u32,
}

/// One parameter.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Parameter<'b> {
    /// The keyword as it stands. Keywords are compared without regard to the case of ASCII letters: see [`is`](Self::is).
    pub keyword: &'b [u8],
    /// What follows its `=`; `None` where there is none.
    pub value: Option<&'b [u8]>,
}

/// How the octets of a message are to be taken. [RFC 6152 section 3](https://www.rfc-editor.org/rfc/rfc6152#section-3),
/// [RFC 3030 section 3](https://www.rfc-editor.org/rfc/rfc3030#section-3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Body {
    /// `7BIT`: ASCII in lines.
    SevenBit,
    /// `8BITMIME`: any octets in lines.
    EightBitMime,
    /// `BINARYMIME`: any octets. Sent with `BDAT` only.
    BinaryMime,
}

/// The value of `AUTH=`: who sent a message, as its submission server says. [RFC 4954 section 5](https://www.rfc-editor.org/rfc/rfc4954#section-5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AuthParameter<'b> {
    /// `<>`: not known, or not to be trusted.
    Unknown,
    /// A mailbox, decoded.
    Mailbox(Cow<'b, [u8]>),
    /// A name without a domain, decoded. The standard has no such value, but Dovecot 2.3 relays with the name that its user logged in with. It is no
    /// mailbox that could be passed on: [`ParameterList::auth`] writes `<>` for it.
    Name(Cow<'b, [u8]>),
}

/// The keywords whose values are checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Keyword {
    Auth,
    Body,
    By,
    Conneg,
    Conperm,
    EnvelopeId,
    HoldFor,
    HoldUntil,
    MtPriority,
    Mtrk,
    Notify,
    OriginalRecipient,
    Prdr,
    RequireTls,
    Ret,
    Rrvs,
    Size,
    SmtpUtf8,
    Solicit,
    Submitter,
    Transid,
    Xverp,
}

/// The bit of keywords whose values are not checked.
const OTHERS: u32 = 1 << 31;

/// Of these a message has one at most.
const HOLDS: u32 = Keyword::HoldFor.bit() | Keyword::HoldUntil.bit();

const EXPECTED: &str = "at most 64 parameters KEYWORD[=VALUE], none twice (RFC 5321 section 4.1.2)";

/// More would be no mail: all registered extensions together define fewer. The check for doubles compares each unknown one with each.
const MAX: usize = 64;

/// Why parameters cannot be used.
enum Fault {
    Grammar,
    Value(Keyword),
}

impl Keyword {
    const ALL: [Self; 22] = {
        use Keyword::*;
        [
            Auth,
            Body,
            By,
            Conneg,
            Conperm,
            EnvelopeId,
            HoldFor,
            HoldUntil,
            MtPriority,
            Mtrk,
            Notify,
            OriginalRecipient,
            Prdr,
            RequireTls,
            Ret,
            Rrvs,
            Size,
            SmtpUtf8,
            Solicit,
            Submitter,
            Transid,
            Xverp,
        ]
    };

    /// In any case of ASCII letters.
    pub(crate) fn parse(keyword: &[u8]) -> Option<Self> {
        let candidate = match (keyword.len(), keyword.first()? | 0x20) {
            (2, b'b') => Self::By,
            (3, b'r') => Self::Ret,
            (4, b's') => Self::Size,
            (4, b'b') => Self::Body,
            (4, b'a') => Self::Auth,
            (4, b'm') => Self::Mtrk,
            (4, b'p') => Self::Prdr,
            (4, b'r') => Self::Rrvs,
            (5, b'e') => Self::EnvelopeId,
            (5, b'o') => Self::OriginalRecipient,
            (5, b'x') => Self::Xverp,
            (6, b'n') => Self::Notify,
            (6, b'c') => Self::Conneg,
            (7, b'c') => Self::Conperm,
            (7, b'h') => Self::HoldFor,
            (7, b's') => Self::Solicit,
            (7, b't') => Self::Transid,
            (8, b's') => Self::SmtpUtf8,
            (9, b'h') => Self::HoldUntil,
            (9, b's') => Self::Submitter,
            (10, b'r') => Self::RequireTls,
            (11, b'm') => Self::MtPriority,
            _ => return None,
        };
        grammar::is_name(keyword, candidate.as_str()).then_some(candidate)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "AUTH",
            Self::Body => "BODY",
            Self::By => "BY",
            Self::Conneg => "CONNEG",
            Self::Conperm => "CONPERM",
            Self::EnvelopeId => "ENVID",
            Self::HoldFor => "HOLDFOR",
            Self::HoldUntil => "HOLDUNTIL",
            Self::MtPriority => "MT-PRIORITY",
            Self::Mtrk => "MTRK",
            Self::Notify => "NOTIFY",
            Self::OriginalRecipient => "ORCPT",
            Self::Prdr => "PRDR",
            Self::RequireTls => "REQUIRETLS",
            Self::Ret => "RET",
            Self::Rrvs => "RRVS",
            Self::Size => "SIZE",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::Solicit => "SOLICIT",
            Self::Submitter => "SUBMITTER",
            Self::Transid => "TRANSID",
            Self::Xverp => "XVERP",
        }
    }

    /// The command it belongs to.
    pub(crate) const fn verb(self) -> Verb {
        match self {
            Self::Conneg | Self::Notify | Self::OriginalRecipient | Self::Rrvs => Verb::Rcpt,
            _ => Verb::Mail,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// What its value has to be.
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::Auth => "<> or a mailbox in xtext (RFC 4954 section 5)",
            Self::Body => "7BIT, 8BITMIME or BINARYMIME (RFC 6152 section 3, RFC 3030 section 3)",
            Self::By => "seconds and ;N or ;R, above 0 for R (RFC 2852 section 4)",
            Self::Conneg | Self::Conperm => "no value (RFC 4141)",
            Self::EnvelopeId => "1 to 100 octets of printable ASCII in xtext (RFC 3461 section 4.4)",
            Self::HoldFor => "1 to 999999999 seconds, without HOLDUNTIL (RFC 4865 section 3)",
            Self::HoldUntil => "a date and time, without HOLDFOR (RFC 4865 section 3)",
            Self::MtPriority => "-9 to 9 (RFC 6710 section 7)",
            Self::Mtrk => "base64, and a timeout of 1 to 9 digits (RFC 3885 section 3)",
            Self::Notify => "NEVER, or a list of SUCCESS, FAILURE, DELAY (RFC 3461 section 4.1)",
            Self::OriginalRecipient => OriginalRecipient::EXPECTED,
            Self::Prdr => "no value",
            Self::RequireTls => "no value (RFC 8689 section 2)",
            Self::Ret => "FULL or HDRS (RFC 3461 section 4.3)",
            Self::Rrvs => "a date and time, and ;C or ;R (RFC 7293 section 3.1)",
            Self::Size => "1 to 20 digits (RFC 1870 section 5)",
            Self::SmtpUtf8 => "no value (RFC 6531 section 3.4)",
            Self::Solicit => "keywords parted by commas (RFC 3865 section 2.3)",
            Self::Submitter => "a mailbox in xtext (RFC 4405 section 4)",
            Self::Transid => "<local@domain> of at most 80 octets (RFC 1845 section 3)",
            Self::Xverp => "no value, or two characters",
        }
    }

    /// Whether `value` is one of its values.
    fn takes(self, value: Option<&[u8]>) -> bool {
        let Some(value) = value else {
            return matches!(
                self,
                Self::Conneg | Self::Conperm | Self::Prdr | Self::RequireTls | Self::SmtpUtf8 | Self::Xverp
            );
        };
        match self {
            Self::Auth => value == b"<>" || is_mailbox(value) || is_local_name(value),
            Self::Body => Body::parse(value).is_some(),
            Self::By => DeliverBy::parse(value).is_some(),
            Self::Conneg | Self::Conperm | Self::Prdr | Self::RequireTls | Self::SmtpUtf8 => false,
            Self::EnvelopeId => is_envelope_id(value),
            Self::HoldFor => hold_seconds(value).is_some(),
            Self::HoldUntil => DateTime::parse(value).is_some(),
            Self::MtPriority => priority(value).is_some(),
            Self::Mtrk => is_tracking(value),
            Self::Notify => Notify::parse(value).is_some(),
            Self::OriginalRecipient => OriginalRecipient::is_value(value),
            Self::Ret => Ret::parse(value).is_some(),
            Self::Rrvs => ValidSince::parse(value).is_some(),
            Self::Size => matches!(value.len(), 1..=20) && grammar::all(value, Class::DIGIT),
            Self::Solicit => is_solicitation(value),
            Self::Submitter => is_mailbox(value),
            Self::Transid => is_transaction_id(value),
            Self::Xverp => value.len() == 2 && grammar::all(value, Class::VCHAR),
        }
    }
}

impl Body {
    /// ```abnf
    /// body-value = "7BIT" / "8BITMIME" / "BINARYMIME"
    /// ```
    fn parse(value: &[u8]) -> Option<Self> {
        let body = match value.len() {
            4 => Self::SevenBit,
            8 => Self::EightBitMime,
            _ => Self::BinaryMime,
        };
        grammar::is_name(value, body.as_str()).then_some(body)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }
}

/// As in `BODY=`.
impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A mailbox in xtext. One of 320 octets is the longest: 64, an `@`, and 255.
fn is_mailbox(value: &[u8]) -> bool {
    if grammar::all(value, Class::XCHAR) {
        return Mailbox::new(value).is_ok();
    }
    let (mut mailbox, mut len) = ([0; 320], 0);
    for octet in xtext::octets(value) {
        let (Some(octet), Some(place)) = (octet, mailbox.get_mut(len)) else { return false };
        *place = octet;
        len += 1;
    }
    mailbox.get(..len).is_some_and(|mailbox| Mailbox::new(mailbox).is_ok())
}

/// What [`AuthParameter::Name`] holds, in xtext.
fn is_local_name(value: &[u8]) -> bool {
    matches!(value.len(), 1..=64) && xtext::octets(value).all(|octet| octet.is_some_and(|octet| octet != b'@'))
}

/// ```abnf
/// mtrk-value = base64 [ ":" 1*9DIGIT ]
/// ```
fn is_tracking(value: &[u8]) -> bool {
    let (certifier, timeout) = grammar::split_once(value, b':');
    let is_base64 = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=');
    let is_timeout = |digits: &[u8]| matches!(digits.len(), 1..=9) && grammar::all(digits, Class::DIGIT);
    !certifier.is_empty() && certifier.iter().all(is_base64) && timeout.is_none_or(is_timeout)
}

/// ```abnf
/// Solicitation-keywords = word *("," word)    ; at most 1000 characters
/// word                  = ALPHA *("." / "-" / "_" / ":" / ALPHA / DIGIT)
/// ```
fn is_solicitation(value: &[u8]) -> bool {
    let is_char = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_' | b':');
    let is_word = |word: &[u8]| word.first().is_some_and(u8::is_ascii_alphabetic) && word.iter().all(is_char);
    value.len() <= 1000 && value.split(|octet| *octet == b',').all(is_word)
}

/// ```abnf
/// transid-value = "<" transid-token "@" transid-token ">"    ; at most 80 characters
/// ```
fn is_transaction_id(value: &[u8]) -> bool {
    let [b'<', id @ .., b'>'] = value else { return false };
    let is_token = |token: &[u8]| matches!(grammar::local_part(token), Some((whole, b"")) if whole.is_ascii());
    let (local, domain) = grammar::split_once(id, b'@');
    value.len() <= 80 && is_token(local) && domain.is_some_and(is_token)
}

/// The parameters in `octets`; of words that follow no grammar, too.
#[derive(Clone, Copy)]
struct Words<'b>(Option<&'b [u8]>);

impl<'b> Words<'b> {
    fn of(octets: &'b [u8]) -> Self {
        Self(Some(octets).filter(|octets| !octets.is_empty()))
    }
}

impl<'b> Iterator for Words<'b> {
    type Item = Parameter<'b>;

    #[inline(always)]
    fn next(&mut self) -> Option<Parameter<'b>> {
        let (word, rest) = grammar::split_once(self.0?, b' ');
        self.0 = rest;
        let (keyword, value) = grammar::split_once(word, b'=');
        Some(Parameter { keyword, value })
    }
}

impl<'b> Parameters<'b> {
    /// Parameters where there are none.
    pub const NONE: Self = Self { octets: b"", known: 0 };

    /// Takes parameters parted by single spaces, without one in front.
    ///
    /// # Errors
    ///
    /// When one does not follow its grammar, a keyword stands twice, or there are more than 64.
    pub fn new(parameters: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        Self::parse(parameters.as_ref()).map_err(|fault| match fault {
            Fault::Grammar => ValueError { expected: EXPECTED },
            Fault::Value(keyword) => ValueError { expected: keyword.expected() },
        })
    }

    fn parse(octets: &'b [u8]) -> Result<Self, Fault> {
        let mut known = 0;
        for (index, Parameter { keyword, value }) in Words::of(octets).enumerate() {
            if let Some(keyword) = Keyword::parse(keyword) {
                if known & keyword.bit() != 0 {
                    return Err(Fault::Grammar);
                }
                if !keyword.takes(value) {
                    return Err(Fault::Value(keyword));
                }
                known |= keyword.bit();
            } else {
                let is_double = |other: Parameter<'_>| other.keyword.eq_ignore_ascii_case(keyword);
                let doubled = known & OTHERS != 0 && Words::of(octets).take(index).any(is_double);
                if doubled || index >= MAX || !grammar::is_parameter(keyword, value) {
                    return Err(Fault::Grammar);
                }
                known |= OTHERS;
            }
        }
        if known & HOLDS == HOLDS {
            return Err(Fault::Value(Keyword::HoldUntil));
        }
        Ok(Self { octets, known })
    }

    /// Reads what follows a path: nothing, or a space and parameters.
    #[inline]
    pub(crate) fn after_path(rest: &'b [u8], verb: Verb) -> Result<Self, CommandError> {
        let expected = match rest.split_first() {
            None => return Ok(Self::NONE),
            Some((b' ', parameters)) => match Self::parse(parameters) {
                Ok(parameters) => return Ok(parameters),
                Err(Fault::Value(keyword)) => {
                    return Err(CommandError::BadParameter { keyword: keyword.as_str(), expected: keyword.expected() });
                }
                Err(Fault::Grammar) => EXPECTED,
            },
            Some(_) => "a space between path and parameters",
        };
        Err(CommandError::BadArgument { verb, expected })
    }

    /// The parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = Parameter<'b>> + use<'b> {
        Words::of(self.octets)
    }

    /// The parameter with that keyword.
    pub fn find(&self, keyword: &str) -> Option<Parameter<'b>> {
        self.iter().find(|parameter| parameter.is(keyword))
    }

    /// The octets as they stand on the wire.
    pub const fn as_bytes(&self) -> &'b [u8] {
        self.octets
    }

    /// Whether the keyword is among them.
    pub(crate) const fn has(&self, keyword: Keyword) -> bool {
        self.known & keyword.bit() != 0
    }

    /// Those keywords among them.
    pub(crate) fn keywords(&self) -> impl Iterator<Item = Keyword> + use<> {
        let mut left = self.known;
        core::iter::from_fn(move || {
            // The bit of the others is above them, and without any there are 32 zeros.
            let keyword = Keyword::ALL.get(left.trailing_zeros() as usize)?;
            left &= !keyword.bit();
            Some(*keyword)
        })
    }

    /// The keywords among them whose values are not checked.
    pub(crate) fn others(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let words = if self.known & OTHERS == 0 { Words(None) } else { Words::of(self.octets) };
        words.map(|parameter| parameter.keyword).filter(|keyword| Keyword::parse(keyword).is_none())
    }

    fn value(&self, keyword: Keyword) -> Option<&'b [u8]> {
        if !self.has(keyword) {
            return None;
        }
        Words::of(self.octets).find(|parameter| grammar::is_name(parameter.keyword, keyword.as_str()))?.value
    }

    /// `AUTH`: who sent the message. [RFC 4954 section 5](https://www.rfc-editor.org/rfc/rfc4954#section-5).
    pub fn auth(&self) -> Option<AuthParameter<'b>> {
        match self.value(Keyword::Auth)? {
            b"<>" => Some(AuthParameter::Unknown),
            value => xtext::decode(value).map(if is_local_name(value) {
                AuthParameter::Name
            } else {
                AuthParameter::Mailbox
            }),
        }
    }

    /// `BODY`: how the octets are to be taken. [RFC 6152 section 3](https://www.rfc-editor.org/rfc/rfc6152#section-3),
    /// [RFC 3030 section 3](https://www.rfc-editor.org/rfc/rfc3030#section-3).
    pub fn body(&self) -> Option<Body> {
        Body::parse(self.value(Keyword::Body)?)
    }

    /// `BY`: until when the message is to be delivered. [RFC 2852 section 4](https://www.rfc-editor.org/rfc/rfc2852#section-4).
    pub fn deliver_by(&self) -> Option<DeliverBy> {
        DeliverBy::parse(self.value(Keyword::By)?)
    }

    /// `ENVID`: the sender's name for the transaction, decoded, which reports repeat. [RFC 3461 section 4.4](https://www.rfc-editor.org/rfc/rfc3461#section-4.4).
    pub fn envelope_id(&self) -> Option<Cow<'b, str>> {
        xtext::decode_ascii(self.value(Keyword::EnvelopeId)?)
    }

    /// `HOLDFOR` or `HOLDUNTIL`: how long the message is to be held. [RFC 4865 section 3](https://www.rfc-editor.org/rfc/rfc4865#section-3).
    pub fn hold(&self) -> Option<Hold<'b>> {
        match self.value(Keyword::HoldFor) {
            Some(seconds) => hold_seconds(seconds).map(Hold::For),
            None => DateTime::parse(self.value(Keyword::HoldUntil)?).map(Hold::Until),
        }
    }

    /// `MT-PRIORITY`: -9 to 9, the higher the more urgent. [RFC 6710 section 3](https://www.rfc-editor.org/rfc/rfc6710#section-3).
    pub fn mt_priority(&self) -> Option<i8> {
        priority(self.value(Keyword::MtPriority)?)
    }

    /// `NOTIFY`: what the sender wants to be told of the recipient. [RFC 3461 section 4.1](https://www.rfc-editor.org/rfc/rfc3461#section-4.1).
    pub fn notify(&self) -> Option<Notify> {
        Notify::parse(self.value(Keyword::Notify)?)
    }

    /// `ORCPT`: the recipient as the sender wrote it. [RFC 3461 section 4.2](https://www.rfc-editor.org/rfc/rfc3461#section-4.2).
    pub fn original_recipient(&self) -> Option<OriginalRecipient<'b>> {
        OriginalRecipient::parse(self.value(Keyword::OriginalRecipient)?)
    }

    /// `PRDR`: whether a reply for each recipient is wanted after the message.
    /// [draft-hall-prdr](https://datatracker.ietf.org/doc/html/draft-hall-prdr-00).
    pub const fn prdr(&self) -> bool {
        self.has(Keyword::Prdr)
    }

    /// `REQUIRETLS`: whether the message may only travel encrypted. [RFC 8689](https://www.rfc-editor.org/rfc/rfc8689).
    pub const fn require_tls(&self) -> bool {
        self.has(Keyword::RequireTls)
    }

    /// `RET`: how much of the message reports bring back. [RFC 3461 section 4.3](https://www.rfc-editor.org/rfc/rfc3461#section-4.3).
    pub fn ret(&self) -> Option<Ret> {
        Ret::parse(self.value(Keyword::Ret)?)
    }

    /// `SIZE`: the size of the message as the client estimates it, in octets. [RFC 1870 section 5](https://www.rfc-editor.org/rfc/rfc1870#section-5).
    ///
    /// One above 2^64-1 is taken for that.
    pub fn size(&self) -> Option<u64> {
        let digits = self.value(Keyword::Size)?;
        Some(grammar::number(digits).unwrap_or(u64::MAX))
    }

    /// `SMTPUTF8`: whether paths and header may be UTF-8. [RFC 6531 section 3.4](https://www.rfc-editor.org/rfc/rfc6531#section-3.4).
    pub const fn smtputf8(&self) -> bool {
        self.has(Keyword::SmtpUtf8)
    }

    /// `SUBMITTER`: who is responsible for the message, decoded. [RFC 4405](https://www.rfc-editor.org/rfc/rfc4405).
    pub fn submitter(&self) -> Option<Cow<'b, [u8]>> {
        xtext::decode(self.value(Keyword::Submitter)?)
    }

    /// `RRVS`: since when the recipient must have had the mailbox. [RFC 7293 section 3.1](https://www.rfc-editor.org/rfc/rfc7293#section-3.1).
    pub fn valid_since(&self) -> Option<ValidSince<'b>> {
        ValidSince::parse(self.value(Keyword::Rrvs)?)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        if !self.octets.is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.octets);
        }
    }
}

impl Parameter<'_> {
    /// Whether this is its keyword.
    pub const fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword.as_bytes())
    }
}

/// As it stands, control characters of Unicode aside, which are escaped.
impl fmt::Display for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.keyword).fmt(f)?;
        self.value.map_or(Ok(()), |value| write!(f, "={}", Escaped(value)))
    }
}

impl fmt::Debug for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({self})")
    }
}

/// As they stand, control characters of Unicode aside, which are escaped.
impl fmt::Display for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.octets).fmt(f)
    }
}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters({:?})", Escaped(self.octets))
    }
}

/// Parameters to be sent, each from a value that cannot break the line. One given twice counts as it was given last.
///
/// ```
/// use postrider_smtp_proto::{Body, Command, ParameterList, Ret, ReversePath};
///
/// let parameters = ParameterList::new().size(1000).body(Body::EightBitMime).ret(Ret::Headers).envelope_id("a=1")?;
/// let mut out = Vec::new();
/// Command::Mail { from: ReversePath::Null, parameters: parameters.as_parameters() }.encode(&mut out);
/// assert_eq!(out, b"MAIL FROM:<> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=a+3D1\r\n");
/// # Ok::<(), postrider_smtp_proto::ValueError>(())
/// ```
#[derive(Clone, Default, Eq, PartialEq)]
pub struct ParameterList {
    octets: Vec<u8>,
    /// As in [`Parameters`].
    known: u32,
}

impl From<Parameters<'_>> for ParameterList {
    fn from(Parameters { octets, known }: Parameters<'_>) -> Self {
        Self { octets: octets.to_vec(), known }
    }
}

impl ParameterList {
    /// A list without parameters.
    pub const fn new() -> Self {
        Self { octets: Vec::new(), known: 0 }
    }

    /// Those that `are` so.
    pub(crate) fn those(parameters: Parameters<'_>, are: impl Fn(&Parameter<'_>) -> bool) -> Self {
        let mut list = Self::new();
        parameters.iter().filter(are).for_each(|parameter| list.push(parameter));
        list
    }

    /// The parameters, to be sent.
    pub fn as_parameters(&self) -> Parameters<'_> {
        Parameters { octets: &self.octets, known: self.known }
    }

    /// All but the one with that keyword, in any case of ASCII letters.
    #[must_use]
    pub fn without(self, keyword: &str) -> Self {
        if self.as_parameters().find(keyword).is_none() {
            return self;
        }
        Self::those(self.as_parameters(), |parameter| !parameter.is(keyword))
    }

    /// Adds one that was checked, and is not there yet.
    fn push(&mut self, Parameter { keyword, value }: Parameter<'_>) {
        if !self.octets.is_empty() {
            self.octets.push(b' ');
        }
        self.octets.extend_from_slice(keyword);
        if let Some(value) = value {
            self.octets.push(b'=');
            self.octets.extend_from_slice(value);
        }
        self.known |= Keyword::parse(keyword).map_or(OTHERS, Keyword::bit);
    }

    fn flag(self, keyword: Keyword) -> Self {
        let mut list = self.without(keyword.as_str());
        list.push(Parameter { keyword: keyword.as_str().as_bytes(), value: None });
        list
    }

    fn with(self, keyword: Keyword, value: impl fmt::Display) -> Self {
        let mut list = self.flag(keyword);
        put(format_args!("={value}"), &mut list.octets);
        list
    }

    /// The same of a value whose type does not rule out all that would be wrong.
    fn checked(self, keyword: Keyword, value: impl fmt::Display) -> Result<Self, ValueError> {
        let mut list = self.flag(keyword);
        list.octets.push(b'=');
        let start = list.octets.len();
        put(value, &mut list.octets);
        let sound = keyword.takes(list.octets.get(start..));
        if sound { Ok(list) } else { Err(ValueError { expected: keyword.expected() }) }
    }

    /// `AUTH`: who sent the message.
    ///
    /// # Errors
    ///
    /// When that is no mailbox.
    pub fn auth(self, sender: &AuthParameter<'_>) -> Result<Self, ValueError> {
        match sender {
            AuthParameter::Mailbox(mailbox) if Mailbox::new(mailbox).is_err() => {
                Err(ValueError { expected: Keyword::Auth.expected() })
            }
            AuthParameter::Mailbox(mailbox) => Ok(self.with(Keyword::Auth, Xtext(mailbox))),
            AuthParameter::Unknown | AuthParameter::Name(_) => Ok(self.with(Keyword::Auth, "<>")),
        }
    }

    /// `BODY`: how the octets are to be taken.
    #[must_use]
    pub fn body(self, body: Body) -> Self {
        self.with(Keyword::Body, body)
    }

    /// `BY`: until when the message is to be delivered.
    #[must_use]
    pub fn deliver_by(self, by: DeliverBy) -> Self {
        self.with(Keyword::By, by)
    }

    /// `ENVID`: the sender's name for the transaction, which reports repeat.
    ///
    /// # Errors
    ///
    /// When it is not of printable ASCII, is empty, or has more than 100 octets in xtext.
    pub fn envelope_id(self, id: &(impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        self.checked(Keyword::EnvelopeId, Xtext(id.as_ref()))
    }

    /// `HOLDFOR` or `HOLDUNTIL`: how long the message is to be held. One replaces the other.
    ///
    /// # Errors
    ///
    /// When it is not for 1 to 999,999,999 seconds.
    pub fn hold(self, hold: Hold<'_>) -> Result<Self, ValueError> {
        let list = self.without("HOLDFOR").without("HOLDUNTIL");
        match hold {
            Hold::For(seconds) => list.checked(Keyword::HoldFor, seconds),
            Hold::Until(moment) => Ok(list.with(Keyword::HoldUntil, moment)),
        }
    }

    /// `MT-PRIORITY`: -9 to 9, the higher the more urgent.
    ///
    /// # Errors
    ///
    /// When it is not -9 to 9.
    pub fn mt_priority(self, priority: i8) -> Result<Self, ValueError> {
        self.checked(Keyword::MtPriority, priority)
    }

    /// `NOTIFY`: what the sender wants to be told of the recipient.
    #[must_use]
    pub fn notify(self, notify: Notify) -> Self {
        self.with(Keyword::Notify, notify)
    }

    /// `ORCPT`: the recipient as the sender wrote it. Of the type `utf-8` in the form that every server takes.
    ///
    /// # Errors
    ///
    /// When that form has more than 500 octets, as it may where it was received in UTF-8.
    pub fn original_recipient(self, original: &OriginalRecipient<'_>) -> Result<Self, ValueError> {
        self.checked(Keyword::OriginalRecipient, original)
    }

    /// `PRDR`: a reply for each recipient is wanted after the message.
    #[must_use]
    pub fn prdr(self) -> Self {
        self.flag(Keyword::Prdr)
    }

    /// `REQUIRETLS`: the message may only travel encrypted.
    #[must_use]
    pub fn require_tls(self) -> Self {
        self.flag(Keyword::RequireTls)
    }

    /// `RET`: how much of the message reports bring back.
    #[must_use]
    pub fn ret(self, ret: Ret) -> Self {
        self.with(Keyword::Ret, ret)
    }

    /// `SIZE`: the size of the message, in octets.
    #[must_use]
    pub fn size(self, octets: u64) -> Self {
        self.with(Keyword::Size, octets)
    }

    /// `SMTPUTF8`: paths and header may be UTF-8.
    #[must_use]
    pub fn smtputf8(self) -> Self {
        self.flag(Keyword::SmtpUtf8)
    }

    /// `SUBMITTER`: who is responsible for the message.
    ///
    /// # Errors
    ///
    /// When that is no mailbox.
    pub fn submitter(self, mailbox: &(impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        self.checked(Keyword::Submitter, Xtext(mailbox.as_ref()))
    }

    /// `RRVS`: since when the recipient must have had the mailbox.
    #[must_use]
    pub fn valid_since(self, since: ValidSince<'_>) -> Self {
        self.with(Keyword::Rrvs, since)
    }

    /// Any other, `KEYWORD` or `KEYWORD=VALUE`.
    ///
    /// # Errors
    ///
    /// When it does not follow the grammar, or there are more than 64.
    pub fn other(self, parameter: &(impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let one = Parameters::new(parameter)?;
        let mut parameters = one.iter();
        let (Some(first), None) = (parameters.next(), parameters.next()) else {
            return Err(ValueError { expected: "one parameter KEYWORD[=VALUE] (RFC 5321 section 4.1.2)" });
        };
        let mut list = self.without(core::str::from_utf8(first.keyword).unwrap_or_default());
        if one.known == OTHERS && list.as_parameters().iter().count() >= MAX {
            return Err(ValueError { expected: EXPECTED });
        }
        list.push(first);
        if list.known & HOLDS == HOLDS {
            return Err(ValueError { expected: Keyword::HoldUntil.expected() });
        }
        Ok(list)
    }
}

impl fmt::Debug for ParameterList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParameterList({:?})", Escaped(&self.octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn each_keyword_is_read_by_its_name_in_any_case_and_has_a_bit_of_its_own() {
        let names = "AUTH BODY BY CONNEG CONPERM ENVID HOLDFOR HOLDUNTIL MT-PRIORITY MTRK NOTIFY ORCPT PRDR REQUIRETLS RET RRVS SIZE SMTPUTF8 \
                     SOLICIT SUBMITTER TRANSID XVERP";
        let mut bits = 0;
        for name in names.split(' ') {
            let keyword = Keyword::parse(name.to_ascii_lowercase().as_bytes()).unwrap();
            assert_eq!(keyword.as_str(), name);
            assert_eq!((bits & keyword.bit(), keyword.bit() & OTHERS), (0, 0));
            assert_eq!(Keyword::ALL[keyword as usize], keyword);
            bits |= keyword.bit();
        }
        assert_eq!(Keyword::parse(b"MT\rPRIORITY"), None);
    }

    #[test]
    fn values_of_the_rarer_keywords_are_checked_too() {
        for (good, bad) in [
            ("MTRK=QUJD:3600", "MTRK=QUJD:"),
            ("SOLICIT=net.example:ADV,org.example:ADV:ADLT", "SOLICIT=1a"),
            ("TRANSID=<a.b@c.d>", "TRANSID=a@b"),
            ("XVERP=-=", "XVERP=-"),
            ("XVERP", "XVERP=a b"),
            ("SUBMITTER=a+2Bb@x", "SUBMITTER=<>"),
            ("CONPERM", "CONPERM=1"),
            ("AUTH=<>", "AUTH=a@"),
            ("AUTH=\"a+20b\"@x", "AUTH=a+0Ab@x"),
        ] {
            assert!(Parameters::new(good).is_ok(), "{good}");
            assert!(Parameters::new(bad).is_err(), "{bad}");
        }
        let long = format!("AUTH={}@x", "a".repeat(400));
        assert!(Parameters::new(&long).is_err());
    }

    #[test]
    fn a_list_keeps_the_last_of_each() {
        let list = ParameterList::new().size(1).prdr().other("X-A=1").unwrap().size(2).other("x-a").unwrap();
        assert_eq!(list.as_parameters().as_bytes(), b"PRDR SIZE=2 x-a");
        let held = ParameterList::new().hold(Hold::For(5)).unwrap();
        let held = held.hold(Hold::Until(DateTime::new("2030-01-01T00:00:00Z").unwrap())).unwrap();
        assert_eq!(held.as_parameters().as_bytes(), b"HOLDUNTIL=2030-01-01T00:00:00Z");
    }

    #[test]
    fn a_list_cannot_be_made_to_break_the_line() {
        let list = ParameterList::new;
        assert!(list().envelope_id("a\r\nb").is_err());
        assert!(list().other("X=a\r\nRSET").is_err());
        assert!(list().other("X=a Y=b").is_err());
        assert!(list().other("").is_err());
        assert!(list().submitter("a@b\r\n").is_err());
        assert!(list().mt_priority(10).is_err());
        assert!(list().hold(Hold::For(0)).is_err());
        let wide = format!("utf-8;{}", "\u{fc}".repeat(200));
        let original = OriginalRecipient::parse(wide.as_bytes()).unwrap();
        assert!(list().original_recipient(&original).is_err());
    }

    #[test]
    fn a_list_knows_what_is_in_it() {
        let same =
            |list: &ParameterList| assert_eq!(Parameters::new(&list.octets), Ok(list.as_parameters()), "{list:?}");
        let list = ParameterList::new().size(1).other("X-A").unwrap().prdr().other("X-B=1").unwrap();
        same(&list);
        let list = list.without("size").without("x-a");
        same(&list);
        let list = list.without("X-B").without("X-C");
        same(&list);
        assert_eq!(list.as_parameters().to_string(), "PRDR");
        assert!(list.hold(Hold::For(1)).unwrap().other("HOLDUNTIL=2030-01-01T00:00:00Z").is_err());
        let full = (0..MAX).try_fold(ParameterList::new(), |list, index| list.other(&format!("X-{index}"))).unwrap();
        same(&full);
        assert!(full.clone().other("X-0=1").is_ok() && full.clone().other("X").is_err());
        same(&full.size(1));
    }
}
