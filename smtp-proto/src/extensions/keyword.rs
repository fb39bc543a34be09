//! The keywords of parameters that this crate knows, and what their values have to be.

use crate::command::Verb;
use crate::extensions::dsn::{Notify, OriginalRecipient, Ret, is_envelope_id};
use crate::extensions::parameters::Body;
use crate::extensions::timing::{DateTime, DeliverBy, ValidSince, hold_seconds, priority};
use crate::extensions::xtext;
use crate::grammar::{self, Class};
use crate::types::Mailbox;

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
pub(crate) const OTHERS: u32 = 1 << 31;

impl Keyword {
    pub(crate) const ALL: [Self; 22] = {
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

    pub(crate) const fn bit(self) -> u32 {
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
    pub(crate) fn takes(self, value: Option<&[u8]>) -> bool {
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

/// What [`AuthParameter::Name`](crate::AuthParameter::Name) holds, in xtext.
pub(crate) fn is_local_name(value: &[u8]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
