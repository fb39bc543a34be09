//! The lines of the reply to `EHLO`: [RFC 5321 section 4.1.1.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.1).

use alloc::vec::Vec;

use postrider_text_proto::Mechanisms;

use crate::grammar;

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
    /// [RFC 4954 section 3](https://www.rfc-editor.org/rfc/rfc4954#section-3).
    Auth(Mechanisms<'b>),
    /// [RFC 6152](https://www.rfc-editor.org/rfc/rfc6152).
    EightBitMime,
    /// [RFC 2034](https://www.rfc-editor.org/rfc/rfc2034).
    EnhancedStatusCodes,
    /// [RFC 5321 section 4.1.1.7](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.7).
    Expn,
    /// [RFC 5321 section 4.1.1.8](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.8).
    Help,
    /// A line not known.
    Other {
        /// The keyword as it stands.
        keyword: &'b [u8],
        /// What follows its space.
        parameters: Option<&'b [u8]>,
    },
    /// [RFC 2920](https://www.rfc-editor.org/rfc/rfc2920).
    Pipelining,
    /// [RFC 1870 section 4](https://www.rfc-editor.org/rfc/rfc1870#section-4): the largest message taken, in octets; `None` where no number is given, 0 for no limit.
    Size(Option<u64>),
    /// [RFC 6531](https://www.rfc-editor.org/rfc/rfc6531).
    SmtpUtf8,
    /// [RFC 3207](https://www.rfc-editor.org/rfc/rfc3207).
    StartTls,
}

impl<'b> Capability<'b> {
    /// Reads a capability from the text of a reply's line.
    pub fn parse(line: &'b [u8]) -> Self {
        let (keyword, parameters) = grammar::word(line);
        Self::known(keyword, parameters).unwrap_or(Self::Other { keyword, parameters })
    }

    fn known(keyword: &[u8], parameters: Option<&'b [u8]>) -> Option<Self> {
        let is = |name: &str| keyword.eq_ignore_ascii_case(name.as_bytes());
        match parameters {
            Some(words) if is("AUTH") => {
                let mechanisms = Mechanisms::received(words);
                return mechanisms.iter().next().map(|_| Self::Auth(mechanisms));
            }
            // RFC 6531 section 3.1: parameters that may come one day are passed over.
            Some(_) if is("SMTPUTF8") => return Some(Self::SmtpUtf8),
            Some(octets) if is("SIZE") => return grammar::number(octets).map(|octets| Self::Size(Some(octets))),
            Some(_) => return None,
            None => {}
        }
        let plain = [
            ("8BITMIME", Self::EightBitMime),
            ("ENHANCEDSTATUSCODES", Self::EnhancedStatusCodes),
            ("EXPN", Self::Expn),
            ("HELP", Self::Help),
            ("PIPELINING", Self::Pipelining),
            ("SIZE", Self::Size(None)),
            ("SMTPUTF8", Self::SmtpUtf8),
            ("STARTTLS", Self::StartTls),
        ];
        plain.into_iter().find(|(name, _)| is(name)).map(|(_, capability)| capability)
    }

    /// Appends the text of the line, without code and CRLF.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.keyword());
        match self {
            Self::Auth(mechanisms) => mechanisms.iter().for_each(|mechanism| put(mechanism.as_bytes(), out)),
            Self::Other { parameters: Some(parameters), .. } => put(parameters, out),
            Self::Size(Some(octets)) => put(alloc::format!("{octets}").as_bytes(), out),
            _ => {}
        }
    }

    const fn keyword(&self) -> &'b [u8] {
        match self {
            Self::Auth(_) => b"AUTH",
            Self::EightBitMime => b"8BITMIME",
            Self::EnhancedStatusCodes => b"ENHANCEDSTATUSCODES",
            Self::Expn => b"EXPN",
            Self::Help => b"HELP",
            Self::Other { keyword, .. } => keyword,
            Self::Pipelining => b"PIPELINING",
            Self::Size(_) => b"SIZE",
            Self::SmtpUtf8 => b"SMTPUTF8",
            Self::StartTls => b"STARTTLS",
        }
    }
}

fn put(parameter: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(parameter);
}
