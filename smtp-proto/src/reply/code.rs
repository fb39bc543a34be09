//! The numbers of a reply, for programs.

use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::ValueError;

/// The three digits of a reply.
///
/// ```abnf
/// Reply-code = %x32-35 %x30-35 %x30-39
/// ```
///
/// [RFC 5321 section 4.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.2). An open set; those below are the ones in common use. Any second digit
/// is taken: servers say 571 and the like, and the first is what a client goes by.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Code(u16);

impl Code {
    /// `211`: system status, or a reply to `HELP`.
    pub const SYSTEM_STATUS: Self = Self(211);
    /// `214`: help.
    pub const HELP: Self = Self(214);
    /// `220`: the service is ready.
    pub const READY: Self = Self(220);
    /// `221`: the server closes the connection.
    pub const CLOSING: Self = Self(221);
    /// `235`: a login succeeded. [RFC 4954 section 6](https://www.rfc-editor.org/rfc/rfc4954#section-6).
    pub const AUTHENTICATED: Self = Self(235);
    /// `250`: done.
    pub const OK: Self = Self(250);
    /// `251`: the user is not local, and the message is forwarded.
    pub const WILL_FORWARD: Self = Self(251);
    /// `252`: the user is not verified, but a message is tried.
    pub const CANNOT_VERIFY: Self = Self(252);
    /// `334`: go on with the SASL exchange.
    pub const CHALLENGE: Self = Self(334);
    /// `353`: a reply for each recipient follows, then one for all: `PRDR`.
    pub const PER_RECIPIENT: Self = Self(353);
    /// `354`: send the message.
    pub const START_MAIL_INPUT: Self = Self(354);
    /// `421`: the service is not available, and the connection closes.
    pub const NOT_AVAILABLE: Self = Self(421);
    /// `450`: the mailbox cannot be used now.
    pub const MAILBOX_TEMPORARILY_UNAVAILABLE: Self = Self(450);
    /// `451`: an error in the server.
    pub const LOCAL_ERROR: Self = Self(451);
    /// `452`: not enough storage, or too many recipients.
    pub const INSUFFICIENT_STORAGE: Self = Self(452);
    /// `454`: the login cannot be decided now.
    pub const TEMPORARY_AUTHENTICATION_FAILURE: Self = Self(454);
    /// `455`: a parameter of `MAIL` or `RCPT` cannot be met now.
    pub const PARAMETERS_NOT_ACCOMMODATED: Self = Self(455);
    /// `500`: no such command.
    pub const SYNTAX_ERROR: Self = Self(500);
    /// `501`: the arguments are wrong.
    pub const ARGUMENT_ERROR: Self = Self(501);
    /// `502`: the command is not implemented.
    pub const NOT_IMPLEMENTED: Self = Self(502);
    /// `503`: the command does not belong here.
    pub const BAD_SEQUENCE: Self = Self(503);
    /// `504`: the parameter is not implemented.
    pub const PARAMETER_NOT_IMPLEMENTED: Self = Self(504);
    /// `521`: the host never accepts mail: a greeting. [RFC 7504 section 3](https://www.rfc-editor.org/rfc/rfc7504#section-3).
    pub const HOST_DOES_NOT_ACCEPT_MAIL: Self = Self(521);
    /// `530`: a login is needed first.
    pub const AUTHENTICATION_REQUIRED: Self = Self(530);
    /// `534`: the mechanism is weaker than the user may log in with. [RFC 4954 section 6](https://www.rfc-editor.org/rfc/rfc4954#section-6).
    pub const MECHANISM_TOO_WEAK: Self = Self(534);
    /// `535`: the credentials are wrong.
    pub const AUTHENTICATION_FAILED: Self = Self(535);
    /// `550`: the mailbox cannot be used.
    pub const MAILBOX_UNAVAILABLE: Self = Self(550);
    /// `551`: the user is not local; the text says where to try.
    pub const USER_NOT_LOCAL: Self = Self(551);
    /// `552`: the message is too large.
    pub const TOO_LARGE: Self = Self(552);
    /// `553`: the name of the mailbox is not allowed.
    pub const MAILBOX_NAME_NOT_ALLOWED: Self = Self(553);
    /// `554`: the transaction failed.
    pub const TRANSACTION_FAILED: Self = Self(554);
    /// `555`: a parameter of `MAIL` or `RCPT` is not known.
    pub const PARAMETERS_UNKNOWN: Self = Self(555);
    /// `556`: the domain of the recipient never accepts mail. [RFC 7504 section 4](https://www.rfc-editor.org/rfc/rfc7504#section-4).
    pub const DOMAIN_DOES_NOT_ACCEPT_MAIL: Self = Self(556);

    /// The code with that number.
    ///
    /// # Errors
    ///
    /// When it is not 200 to 599.
    pub const fn new(code: u16) -> Result<Self, ValueError> {
        match code {
            200..=599 => Ok(Self(code)),
            _ => Err(ValueError { expected: "a reply code from 200 to 599 (RFC 5321 section 4.2)" }),
        }
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// 2yz: done.
    pub const fn is_success(self) -> bool {
        self.0 / 100 == 2
    }

    /// 3yz: more is wanted.
    pub const fn is_intermediate(self) -> bool {
        self.0 / 100 == 3
    }

    /// 4yz: try later.
    pub const fn is_transient(self) -> bool {
        self.0 / 100 == 4
    }

    /// 5yz: do not try the same again.
    pub const fn is_permanent(self) -> bool {
        self.0 / 100 == 5
    }

    /// 4yz or 5yz: not done. RFC 5321 calls it a negative completion.
    pub const fn is_negative(self) -> bool {
        self.is_transient() || self.is_permanent()
    }

    #[inline]
    pub(super) fn parse(digits: &[u8; 3]) -> Option<Self> {
        let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = digits else { return None };
        let digit = |octet: &u8| u16::from(octet - b'0');
        Some(Self(digit(a) * 100 + digit(b) * 10 + digit(c)))
    }

    /// The three digits.
    pub(super) fn digits(self) -> [u8; 3] {
        [self.0 / 100, self.0 / 10, self.0].map(digit)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({})", self.0)
    }
}

/// A status for programs: `5.1.1`.
///
/// ```abnf
/// status-code = ("2"/"4"/"5") "." 1*3digit "." 1*3digit
/// ```
///
/// [RFC 3463 section 2](https://www.rfc-editor.org/rfc/rfc3463#section-2), registry of [RFC 5248](https://www.rfc-editor.org/rfc/rfc5248).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EnhancedCode {
    class: u8,
    subject: u16,
    detail: u16,
}

impl EnhancedCode {
    /// `class.subject.detail`.
    ///
    /// # Errors
    ///
    /// When the class is not 2, 4 or 5, or another number is above 999.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Result<Self, ValueError> {
        if matches!(class, 2 | 4 | 5) && subject <= 999 && detail <= 999 {
            return Ok(Self { class, subject, detail });
        }
        Err(ValueError { expected: "an enhanced code 2, 4 or 5 . 0-999 . 0-999 (RFC 3463 section 2)" })
    }

    /// The first number, 2, 4 or 5: that of the reply's [`Code`].
    pub const fn class(self) -> u8 {
        self.class
    }

    /// The second number says what it is about: 1 addresses, 2 mailboxes, 3 the system, 4 the network, 5 the protocol, 6 content, 7 security.
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// The third number says what of the subject it is: in 5.1.1 that there is no such mailbox.
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// Whether its class is that of the reply.
    #[inline(always)]
    pub(super) const fn is_of(self, code: Code) -> bool {
        self.class as u16 == code.0 / 100
    }

    /// The code at the start of a reply's text, and what follows its space. Its class must be that of the reply.
    #[inline(always)]
    pub(super) fn split_from(text: &[u8], code: Code) -> (Option<Self>, &[u8]) {
        let parsed = Self::parse(text).filter(|(parsed, _)| parsed.is_of(code));
        parsed.map_or((None, text), |(parsed, rest)| (Some(parsed), rest))
    }

    /// The code at the front of `text`, and what follows the space behind it.
    #[inline(always)]
    pub(crate) fn parse(text: &[u8]) -> Option<(Self, &[u8])> {
        let digit = |octet: &u8| u16::from(octet - b'0');
        match text {
            // Nearly all.
            [c @ (b'2' | b'4' | b'5'), b'.', s @ b'0'..=b'9', b'.', d @ b'0'..=b'9', b' ', rest @ ..] => {
                Some((Self { class: c - b'0', subject: digit(s), detail: digit(d) }, rest))
            }
            [b'0'..=b'9', ..] => Self::parse_any(text),
            _ => None,
        }
    }

    #[inline(never)]
    fn parse_any(text: &[u8]) -> Option<(Self, &[u8])> {
        let (class, rest) = number(text)?;
        let (subject, rest) = number(rest.strip_prefix(b".")?)?;
        let (detail, rest) = number(rest.strip_prefix(b".")?)?;
        let rest = match rest {
            [] => rest,
            [b' ', rest @ ..] => rest,
            _ => return None,
        };
        let code = Self::new(u8::try_from(class).ok()?, subject, detail).ok()?;
        Some((code, rest))
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[b'0' + self.class, b'.']);
        put_number(self.subject, out);
        out.push(b'.');
        put_number(self.detail, out);
    }
}

/// ```abnf
/// 1*3digit
/// ```
fn number(text: &[u8]) -> Option<(u16, &[u8])> {
    let (mut number, mut rest) = (0, text);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        if text.len() - after.len() > 3 {
            return None;
        }
        (number, rest) = (number * 10 + u16::from(digit - b'0'), after);
    }
    (rest.len() < text.len()).then_some((number, rest))
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Appends a number below 1000 in digits.
fn put_number(number: u16, out: &mut Vec<u8>) {
    if number >= 100 {
        out.push(digit(number / 100));
    }
    if number >= 10 {
        out.push(digit(number / 10));
    }
    out.push(digit(number));
}

/// The last digit of a number.
fn digit(number: u16) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or_default()
}
