//! What may follow the path of `MAIL` and `RCPT`: [RFC 5321 section 4.1.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2).

use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::ValueError;

use crate::command::Verb;
use crate::error::CommandError;
use crate::grammar;
use crate::types::Mailbox;

/// The parameters of a command, byte for byte as they came: checked once, read when asked.
///
/// ```abnf
/// Mail-parameters = esmtp-param *(SP esmtp-param)
/// ```
///
/// No keyword stands twice.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Parameters<'b>(&'b [u8]);

/// One parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Parameter<'b> {
    /// The keyword as it stands. Keywords are compared without regard to the case of ASCII letters: see [`is`](Self::is).
    pub keyword: &'b [u8],
    /// What follows its `=`.
    pub value: Option<&'b [u8]>,
}

/// How the octets of a message's body are to be taken. [RFC 6152 section 3](https://www.rfc-editor.org/rfc/rfc6152#section-3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// ASCII in lines.
    SevenBit,
    /// Any octets in lines.
    EightBitMime,
}

/// Who sent a message, as its submission server says. [RFC 4954 section 5](https://www.rfc-editor.org/rfc/rfc4954#section-5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Submitter {
    /// `<>`: not known, or not to be trusted.
    Unknown,
    /// A mailbox, decoded.
    Mailbox(Vec<u8>),
}

/// More would be no mail: all registered extensions together define fewer. The check for doubles compares each with each.
const MAX: usize = 64;

impl<'b> Parameters<'b> {
    /// No parameter.
    pub const NONE: Self = Self(b"");

    /// Takes parameters parted by single spaces, without one in front.
    ///
    /// # Errors
    ///
    /// When one does not follow the grammar, a keyword stands twice, or there are more than 64.
    pub fn new(parameters: &'b (impl AsRef<[u8]> + ?Sized)) -> Result<Self, ValueError> {
        let parameters = Self(parameters.as_ref());
        let sound = parameters.words().all(|word| grammar::parameter(word).is_some());
        if sound && parameters.words().nth(MAX).is_none() && !parameters.has_a_double() {
            return Ok(parameters);
        }
        Err(ValueError { expected: "at most 64 parameters KEYWORD[=VALUE], none twice (RFC 5321 section 4.1.2)" })
    }

    fn words(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let all = (!self.0.is_empty()).then_some(self.0);
        all.into_iter().flat_map(|all| all.split(|octet| *octet == b' '))
    }

    fn has_a_double(&self) -> bool {
        self.iter().enumerate().any(|(index, one)| self.iter().take(index).any(|other| other.is_same(one)))
    }

    /// The parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = Parameter<'b>> + use<'b> {
        self.words().filter_map(|word| {
            let (keyword, value) = grammar::parameter(word)?;
            Some(Parameter { keyword, value })
        })
    }

    /// The parameter with that keyword.
    pub fn find(&self, keyword: &str) -> Option<Parameter<'b>> {
        self.iter().find(|parameter| parameter.is(keyword))
    }

    /// The octets as they stand on the wire.
    pub const fn as_bytes(&self) -> &'b [u8] {
        self.0
    }

    /// `SIZE`: the size of the message as the client estimates it, in octets. [RFC 1870 section 5](https://www.rfc-editor.org/rfc/rfc1870#section-5).
    ///
    /// # Errors
    ///
    /// When the value is not 1 to 20 digits. One above 2^64-1 is taken for that.
    pub fn size(&self) -> Result<Option<u64>, CommandError> {
        self.typed("SIZE", "1 to 20 digits (RFC 1870 section 5)", |value| {
            let digits = value.filter(|digits| digits.len() <= 20 && digits.iter().all(u8::is_ascii_digit))?;
            (!digits.is_empty()).then(|| grammar::number(digits).unwrap_or(u64::MAX))
        })
    }

    /// `BODY`: [RFC 6152 section 3](https://www.rfc-editor.org/rfc/rfc6152#section-3).
    ///
    /// # Errors
    ///
    /// When the value is neither `7BIT` nor `8BITMIME`.
    pub fn body(&self) -> Result<Option<Body>, CommandError> {
        self.typed("BODY", "7BIT or 8BITMIME (RFC 6152 section 3)", |value| {
            let value = value?;
            let eight_bit = value.eq_ignore_ascii_case(b"8BITMIME").then_some(Body::EightBitMime);
            eight_bit.or_else(|| value.eq_ignore_ascii_case(b"7BIT").then_some(Body::SevenBit))
        })
    }

    /// `SMTPUTF8`: [RFC 6531 section 3.4](https://www.rfc-editor.org/rfc/rfc6531#section-3.4).
    ///
    /// # Errors
    ///
    /// When it has a value.
    pub fn smtputf8(&self) -> Result<bool, CommandError> {
        let found = self.typed("SMTPUTF8", "no value (RFC 6531 section 3.4)", |value| value.is_none().then_some(()));
        found.map(|found| found.is_some())
    }

    /// `AUTH`: [RFC 4954 section 5](https://www.rfc-editor.org/rfc/rfc4954#section-5).
    ///
    /// # Errors
    ///
    /// When the value is neither `<>` nor a mailbox in xtext.
    pub fn auth(&self) -> Result<Option<Submitter>, CommandError> {
        self.typed("AUTH", "<> or a mailbox in xtext (RFC 4954 section 5)", |value| {
            if value? == b"<>" {
                return Some(Submitter::Unknown);
            }
            let mailbox = decode_xtext(value?)?;
            Mailbox::new(&mailbox).ok()?;
            Some(Submitter::Mailbox(mailbox))
        })
    }

    fn typed<T>(
        &self,
        keyword: &'static str,
        expected: &'static str,
        read: impl FnOnce(Option<&'b [u8]>) -> Option<T>,
    ) -> Result<Option<T>, CommandError> {
        let Some(parameter) = self.find(keyword) else { return Ok(None) };
        read(parameter.value).map(Some).ok_or(CommandError::BadParameter { keyword, expected })
    }

    /// Reads what follows a path: nothing, or a space and parameters.
    pub(crate) fn after_path(rest: &'b [u8], verb: Verb) -> Result<Self, CommandError> {
        match rest.split_first() {
            None => Ok(Self::NONE),
            Some((b' ', parameters)) => {
                Self::new(parameters).map_err(|error| CommandError::BadArgument { verb, expected: error.expected })
            }
            Some(_) => Err(CommandError::BadArgument { verb, expected: "a space between path and parameters" }),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.0);
        }
    }
}

impl Parameter<'_> {
    /// Whether this is its keyword.
    pub const fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword.as_bytes())
    }

    const fn is_same(&self, other: Self) -> bool {
        self.keyword.eq_ignore_ascii_case(other.keyword)
    }
}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters(\"{}\")", self.0.escape_ascii())
    }
}

/// ```abnf
/// xtext   = *( xchar / hexchar )
/// xchar   = %d33-42 / %d44-60 / %d62-126
/// hexchar = "+" 2(%d48-57 / %d65-70)    ; upper case only
/// ```
///
/// [RFC 3461 section 4](https://www.rfc-editor.org/rfc/rfc3461#section-4). Encoded control characters are refused: what comes out goes into logs and headers.
pub(crate) fn decode_xtext(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.iter().copied();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'+' => digit(octets.next()?)? << 4 | digit(octets.next()?)?,
            33..=60 | 62..=126 => octet,
            _ => return None,
        });
    }
    decoded.iter().all(|octet| !octet.is_ascii_control()).then_some(decoded)
}
