//! What a server says: first a [`Response`], for some commands followed by [`Item`]s and a line of one dot.

use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::{Escaped, Secret, decode, encode};

use crate::command::Verb;
use crate::error::ResponseError;
use crate::extensions::capa::Capability;
use crate::extensions::codes::ResponseCode;
use crate::extensions::lang::LanguageTag;
use crate::grammar;
use crate::types::{MessageNumber, Text, Timestamp, UniqueId};

/// The line that answers a command, or greets.
///
/// ```abnf
/// single-line = status [SP text] CRLF    ; 512 octets maximum
/// status      = "+OK" / "-ERR"
/// text        = *schar / resp-code *CHAR
/// ```
///
/// [RFC 2449 section 3](https://www.rfc-editor.org/rfc/rfc2449#section-3). Where the text of a `+OK` has a form of its own, so has this type.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Response<'b> {
    /// `+`: a challenge within `AUTH`, decoded. [RFC 5034 section 4](https://www.rfc-editor.org/rfc/rfc5034#section-4).
    Challenge(Secret<'b>),
    /// `-ERR`.
    Err {
        /// Why, for programs.
        code: Option<ResponseCode<'b>>,
        /// Why, for people.
        text: Text<'b>,
    },
    /// `+OK` to `STAT`: the drop listing. [RFC 1939 section 5](https://www.rfc-editor.org/rfc/rfc1939#section-5).
    DropListing {
        /// Messages in the maildrop that are not marked as deleted.
        messages: u32,
        /// Their size in octets.
        octets: u64,
    },
    /// `+OK` to the connection. [RFC 1939 section 4](https://www.rfc-editor.org/rfc/rfc1939#section-4).
    Greeting {
        /// Who greets. Behind it, where `APOP` is offered:
        text: Text<'b>,
        /// the challenge for `APOP`.
        timestamp: Option<Timestamp<'b>>,
    },
    /// `+OK` to `LANG` with a range: the language chosen and, in it, a text. [RFC 6856 section 3.2](https://www.rfc-editor.org/rfc/rfc6856#section-3.2).
    Language {
        /// The language.
        tag: LanguageTag<'b>,
        /// A text in that language.
        text: Text<'b>,
    },
    /// `+OK`.
    Ok {
        /// For programs; none is registered for `+OK`.
        code: Option<ResponseCode<'b>>,
        /// For people.
        text: Text<'b>,
    },
    /// `+OK` to `LIST` with a number.
    ScanListing(ScanListing),
    /// `+OK` to `UIDL` with a number.
    UniqueId(UniqueIdListing<'b>),
}

/// The size of a message. [RFC 1939 section 5](https://www.rfc-editor.org/rfc/rfc1939#section-5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ScanListing {
    /// Which message.
    pub message: MessageNumber,
    /// Octets that `RETR` sends: line ends as CRLF, without dot-stuffing and the last line of one dot. [`WireSize`](crate::WireSize) counts them.
    pub octets: u64,
}

/// The unique-id of a message. [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UniqueIdListing<'b> {
    /// Which message.
    pub message: MessageNumber,
    /// Its unique-id.
    pub id: UniqueId<'b>,
}

/// A part of a multi-line response.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// A line that answers `CAPA`.
    Capability(Capability<'b>),
    /// A piece of the message that answers `RETR` or `TOP`: any octets, not stuffed.
    Content(&'b [u8]),
    /// A line that answers `LANG`.
    Language {
        /// The language.
        tag: LanguageTag<'b>,
        /// Its name in itself.
        description: Text<'b>,
    },
    /// A line a client cannot read, without its CRLF.
    Other(&'b [u8]),
    /// A line that answers `LIST`.
    ScanListing(ScanListing),
    /// A line that answers `UIDL`.
    UniqueId(UniqueIdListing<'b>),
}

impl<'b> Response<'b> {
    /// `+OK` with a text for people; octets it must not hold become spaces.
    pub fn ok(text: &'b str) -> Self {
        Self::Ok { code: None, text: Text::lossy(text) }
    }

    /// `-ERR` with a text for people; octets it must not hold become spaces.
    pub fn err(text: &'b str) -> Self {
        Self::Err { code: None, text: Text::lossy(text) }
    }

    /// The same response with a code, where it can have one.
    #[must_use]
    pub fn with_code(mut self, new: ResponseCode<'b>) -> Self {
        if let Self::Ok { code, .. } | Self::Err { code, .. } = &mut self {
            *code = Some(new);
        }
        self
    }

    /// Without its code, and with a text that cannot stand in for it.
    pub(crate) fn without_code(mut self) -> Self {
        if let Self::Ok { code, text } | Self::Err { code, text } = &mut self {
            *code = None;
            text.open_with_no_bracket();
        }
        self
    }

    /// Whether a client reads this greeting as an offer of `APOP` that nobody means.
    pub(crate) fn offers_apop_by_mistake(&self) -> bool {
        let Self::Greeting { text, timestamp: None } = self else { return false };
        matches!(greeting(text.as_bytes()), Response::Greeting { timestamp: Some(_), .. })
    }

    /// Whether it is `-ERR`.
    pub const fn is_err(&self) -> bool {
        matches!(self, Self::Err { .. })
    }

    /// Reads the response to `to`, or the greeting, from the octets before its CRLF.
    ///
    /// A `+OK` whose text lacks the form that `to` asks for is an [`Ok`](Self::Ok) with that text. What stands behind the form is dropped:
    /// [RFC 1939 section 5](https://www.rfc-editor.org/rfc/rfc1939#section-5) discourages it and gives it no meaning.
    ///
    /// # Errors
    ///
    /// When it begins with neither `+OK` nor `-ERR` (in any case), or is a challenge that is not base64.
    pub fn parse(line: &'b [u8], to: Option<Verb>) -> Result<Self, ResponseError> {
        if to == Some(Verb::Auth) && (line == b"+" || line.starts_with(b"+ ")) {
            let text = line.get(2..).unwrap_or_default();
            return decode(text).map(Self::Challenge).map_err(|_| ResponseError::Base64);
        }
        match after_status(line, b"+OK").and_then(|text| Self::in_form(text, to)) {
            Some(response) => Ok(response),
            None => Self::parse_plain(line),
        }
    }

    /// Reads a line whose text has no form of its own, as before a listing.
    pub(crate) fn parse_plain(line: &'b [u8]) -> Result<Self, ResponseError> {
        if let Some(text) = after_status(line, b"+OK") {
            let (code, text) = ResponseCode::split_from(text);
            return Ok(Self::Ok { code, text: Text::received(text) });
        }
        let text = after_status(line, b"-ERR").ok_or(ResponseError::Status)?;
        let (code, text) = ResponseCode::split_from(text);
        Ok(Self::Err { code, text: Text::received(text) })
    }

    fn in_form(text: &'b [u8], to: Option<Verb>) -> Option<Self> {
        match to {
            None => Some(greeting(text)),
            Some(Verb::Stat) => {
                let (messages, octets) = grammar::word(text);
                let (octets, _) = grammar::word(octets?);
                Some(Self::DropListing { messages: grammar::number32(messages)?, octets: grammar::number64(octets)? })
            }
            Some(Verb::List) => ScanListing::parse(text).map(Self::ScanListing),
            Some(Verb::Uidl) => UniqueIdListing::parse(text).map(Self::UniqueId),
            Some(Verb::Lang) => {
                let (tag, text) = grammar::word(text);
                Some(Self::Language { tag: LanguageTag::new(tag).ok()?, text: Text::received(text?) })
            }
            _ => None,
        }
    }

    /// Appends the response with its CRLF to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Challenge(challenge) => {
                out.extend_from_slice(b"+ ");
                encode(challenge.expose(), out);
            }
            Self::Err { code, text } => put_status(b"-ERR", *code, text, out),
            Self::DropListing { messages, octets } => {
                out.extend_from_slice(b"+OK ");
                grammar::put_number(u64::from(*messages), out);
                out.push(b' ');
                grammar::put_number(*octets, out);
            }
            Self::Greeting { text, timestamp } => {
                put_status(b"+OK", None, text, out);
                if let Some(timestamp) = timestamp {
                    out.push(b' ');
                    out.extend_from_slice(timestamp.as_bytes());
                }
            }
            Self::Language { tag, text } => {
                out.extend_from_slice(b"+OK ");
                out.extend_from_slice(tag.as_bytes());
                // Not left out before an empty text: it tells a tag from a text.
                out.push(b' ');
                out.extend_from_slice(text.as_bytes());
            }
            Self::Ok { code, text } => put_status(b"+OK", *code, text, out),
            Self::ScanListing(listing) => {
                out.extend_from_slice(b"+OK ");
                listing.put(out);
            }
            Self::UniqueId(listing) => {
                out.extend_from_slice(b"+OK ");
                listing.put(out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The name of the variant, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Challenge(_) => "a challenge",
            Self::Err { .. } => "-ERR",
            Self::DropListing { .. } => "a drop listing",
            Self::Greeting { .. } => "a greeting",
            Self::Language { .. } => "a language",
            Self::Ok { .. } => "+OK",
            Self::ScanListing(_) => "a scan listing",
            Self::UniqueId(_) => "a unique-id listing",
        }
    }
}

/// The line without its CRLF, what is not printable escaped. A challenge is not shown.
impl fmt::Display for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self, Self::Challenge(_)) {
            return f.write_str("+ ..");
        }
        let mut line = Vec::new();
        self.encode(&mut line);
        Escaped(line.trim_ascii_end()).fmt(f)
    }
}

fn put_status(status: &[u8], code: Option<ResponseCode<'_>>, text: &Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(status);
    if let Some(code) = code {
        out.extend_from_slice(b" [");
        out.extend_from_slice(code.as_bytes());
        out.push(b']');
    }
    if !text.as_bytes().is_empty() {
        out.push(b' ');
        out.extend_from_slice(text.as_bytes());
    }
}

/// ```abnf
/// language-listing = language-tag [SP description]
/// ```
fn put_language(tag: LanguageTag<'_>, text: &Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(tag.as_bytes());
    if !text.as_bytes().is_empty() {
        out.push(b' ');
        out.extend_from_slice(text.as_bytes());
    }
}

fn after_status<'b>(line: &'b [u8], status: &[u8]) -> Option<&'b [u8]> {
    let (start, rest) = line.split_at_checked(status.len())?;
    if !start.eq_ignore_ascii_case(status) {
        return None;
    }
    match rest {
        [] => Some(rest),
        [b' ', text @ ..] => Some(text),
        _ => None,
    }
}

/// ```abnf
/// greeting = "+OK" [resp-code] *gchar [timestamp] *gchar CRLF
/// ```
fn greeting(text: &[u8]) -> Response<'_> {
    let found = memchr::memrchr(b'<', text).and_then(|start| {
        let end = start + memchr::memchr(b'>', text.get(start..)?)? + 1;
        Some((start, Timestamp::new(text.get(start..end)?).ok()?))
    });
    match found {
        Some((start, timestamp)) => {
            let text = text.get(..start).unwrap_or_default();
            let text = Text::received(text.strip_suffix(b" ").unwrap_or(text));
            Response::Greeting { text, timestamp: Some(timestamp) }
        }
        None => Response::Greeting { text: Text::received(text), timestamp: None },
    }
}

impl ScanListing {
    /// ```abnf
    /// scan-listing = msg SP octets
    /// ```
    #[inline]
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let (message, octets) = grammar::two_numbers(line)?;
        Some(Self { message: MessageNumber::from_u64(message)?, octets })
    }

    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        grammar::put_number(u64::from(self.message.as_u32()), out);
        out.push(b' ');
        grammar::put_number(self.octets, out);
    }
}

impl<'b> UniqueIdListing<'b> {
    /// ```abnf
    /// unique-id-listing = msg SP unique-id
    /// ```
    #[inline]
    pub(crate) fn parse(line: &'b [u8]) -> Option<Self> {
        let (message, rest) = grammar::leading_number(line)?;
        let id = rest.strip_prefix(b" ").filter(|id| !id.is_empty() && grammar::is_graphic(id))?;
        Some(Self { message: MessageNumber::from_u64(message)?, id: UniqueId::as_received(id) })
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        grammar::put_number(u64::from(self.message.as_u32()), out);
        out.push(b' ');
        out.extend_from_slice(self.id.as_bytes());
    }
}

impl<'b> Item<'b> {
    /// Reads a line that follows a `+OK` to `to`, without dot-stuffing and CRLF.
    #[inline]
    pub(crate) fn parse(line: &'b [u8], to: Verb) -> Self {
        let listed = match to {
            Verb::Capa => Some(Self::Capability(Capability::parse(line))),
            Verb::List => ScanListing::parse(line).map(Self::ScanListing),
            Verb::Uidl => UniqueIdListing::parse(line).map(Self::UniqueId),
            Verb::Lang => {
                let (tag, description) = grammar::word(line);
                let description = Text::received(description.unwrap_or_default());
                LanguageTag::new(tag).ok().map(|tag| Self::Language { tag, description })
            }
            _ => None,
        };
        listed.unwrap_or(Self::Other(line))
    }

    /// Appends a line with its CRLF. None of the lines begins with a dot, so none needs stuffing.
    #[inline]
    pub(crate) fn encode_line(&self, out: &mut Vec<u8>) {
        match self {
            Self::Capability(capability) => return capability.encode(out),
            Self::Language { tag, description } => put_language(*tag, description, out),
            Self::ScanListing(listing) => listing.put(out),
            Self::UniqueId(listing) => listing.put(out),
            Self::Content(_) | Self::Other(_) => return,
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(line: &str, to: Option<Verb>) -> Response<'_> {
        Response::parse(line.as_bytes(), to).unwrap()
    }

    #[test]
    fn servers_may_say_little_and_in_any_case() {
        assert_eq!(response("+OK", Some(Verb::Noop)), Response::ok(""));
        assert_eq!(response("-ERR", Some(Verb::Stat)), Response::err(""));
        assert_eq!(response("+ok done", Some(Verb::Noop)), Response::ok("done"));
        assert_eq!(response("+OK", Some(Verb::Stat)), Response::ok(""));
        for bad in ["", "+", "OK", "+OKAY", "-ER", "* OK", "+ aGk="] {
            assert_eq!(Response::parse(bad.as_bytes(), Some(Verb::Noop)), Err(ResponseError::Status), "{bad}");
        }
    }

    #[test]
    fn codes_are_told_from_text() {
        let err = response("-ERR [SYS/TEMP] later", Some(Verb::Pass));
        assert_eq!(err, Response::err("later").with_code(ResponseCode::SYS_TEMP));
        let odd = response("-ERR [X-NEW/one] why", Some(Verb::Pass));
        assert!(matches!(odd, Response::Err { code: Some(code), .. } if code.as_bytes() == b"X-NEW/one"));
        let text = response("-ERR [not closed", Some(Verb::Pass));
        assert!(matches!(text, Response::Err { code: None, .. }));
    }

    #[test]
    fn a_greeting_offers_apop_with_an_ascii_timestamp_only() {
        let offers = |line| match response(line, None) {
            Response::Greeting { timestamp, .. } => timestamp.is_some(),
            other => panic!("{other:?}"),
        };
        assert!(offers("+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>"));
        assert!(offers("+OK <a@b> ready"));
        assert!(!offers("+OK ready <a@\u{e9}>"));
        assert!(!offers("+OK ready <nothing>"));
        assert!(!offers("+OK"));
    }

    #[test]
    fn a_listing_with_more_behind_it_is_still_one() {
        assert_eq!(response("+OK 2 320 octets", Some(Verb::Stat)), Response::DropListing { messages: 2, octets: 320 });
        assert_eq!(ScanListing::parse(b"1 120 foo").map(|listing| listing.octets), Some(120));
        for bad in ["0 1", "1", "1 ", " 1 1", "1  1", "x 1", "1 -1", "1 18446744073709551616"] {
            assert_eq!(ScanListing::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
