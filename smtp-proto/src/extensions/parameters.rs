//! What may follow the path of `MAIL` and `RCPT`: [RFC 5321 section 4.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2).

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::{Escaped, ValueError};

use crate::command::Verb;
use crate::error::CommandError;
use crate::extensions::dsn::{Notify, OriginalRecipient, Ret};
use crate::extensions::keyword::{Keyword, OTHERS, is_local_name};
use crate::extensions::timing::{DateTime, DeliverBy, Hold, ValidSince, hold_seconds, priority};
use crate::extensions::xtext;
use crate::grammar;

/// The parameters of a command, byte for byte as they came: checked once, read when asked.
///
/// ```abnf
/// Mail-parameters = esmtp-param *(SP esmtp-param)
/// ```
///
/// No keyword stands twice, and the value of each that this crate knows follows its grammar. Others are kept for whoever knows them.
/// [`ParameterList`](crate::ParameterList) makes them.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Parameters<'b> {
    pub(super) octets: &'b [u8],
    /// A bit for each [`Keyword`] among them, and one for all [`OTHERS`].
    pub(super) known: u32,
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
    /// mailbox that could be passed on: [`ParameterList::auth`](crate::ParameterList::auth) writes `<>` for it.
    Name(Cow<'b, [u8]>),
}

/// Of these a message has one at most.
pub(super) const HOLDS: u32 = Keyword::HoldFor.bit() | Keyword::HoldUntil.bit();

pub(super) const EXPECTED: &str = "at most 64 parameters KEYWORD[=VALUE], none twice (RFC 5321 section 4.1.2)";

/// More would be no mail: all registered extensions together define fewer. The check for doubles compares each unknown one with each.
pub(super) const MAX: usize = 64;

/// Why parameters cannot be used.
enum Fault {
    Grammar,
    Value(Keyword),
}

impl Body {
    /// ```abnf
    /// body-value = "7BIT" / "8BITMIME" / "BINARYMIME"
    /// ```
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

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
}
