//! What a server says.

mod code;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use postrider_text_proto::{Escaped, Framed, LineError, LineScanner, Secret, decode, encode, first_low};

pub use self::code::{Code, EnhancedCode};

use crate::error::ReplyError;
use crate::extensions::ehlo::Capability;
use crate::limits::Limits;
use crate::types::Text;

/// A reply: a code, perhaps an enhanced code, and one or more lines of text.
///
/// ```abnf
/// Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
/// ```
///
/// [RFC 5321 section 4.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.2). Its lines are [`Text`]: nothing a program puts in can make two replies of it.
///
/// ```
/// use postrider_smtp_proto::{Code, EnhancedCode, Reply};
///
/// let reply = Reply::new(Code::MAILBOX_UNAVAILABLE, "no such user\r\n250 fooled").with_enhanced(5, 1, 1);
/// let mut out = Vec::new();
/// reply.encode(&mut out);
/// assert_eq!(out, b"550 5.1.1 no such user  250 fooled\r\n");
/// assert_eq!(Reply::parse(&out)?.enhanced(), EnhancedCode::new(5, 1, 1).ok());
/// # Ok::<(), postrider_smtp_proto::ReplyError>(())
/// ```
///
/// Two are equal when they say the same, wherever they come from.
#[derive(Clone)]
pub struct Reply<'b> {
    code: Code,
    enhanced: Option<EnhancedCode>,
    text: ReplyText<'b>,
}

#[derive(Clone)]
enum ReplyText<'b> {
    One(Text<'b>),
    Many(Cow<'b, [Text<'b>]>),
    /// As received: whole lines with codes and CRLFs, all checked.
    Wire {
        octets: &'b [u8],
        /// Whether enhanced codes stand before the texts.
        enhanced: bool,
        lens: TextLens,
    },
}

/// Octets of the texts of a reply's first eight lines, and one: what was found when they were checked is not sought again. 0 is not known, or more than fit.
///
/// The first line's are the lowest eight bits. As an array they would be written one by one and moved all at once, for which a CPU waits.
#[derive(Clone, Copy, Default)]
struct TextLens(u64);

impl TextLens {
    #[inline(always)]
    fn note(&mut self, line: usize, len: usize) {
        if let (0..8, Ok(len)) = (line, u8::try_from(len + 1)) {
            self.0 |= u64::from(len) << (8 * line);
        }
    }

    /// The next line's.
    #[inline(always)]
    fn take(&mut self) -> usize {
        let [len, ..] = self.0.to_le_bytes();
        self.0 >>= 8;
        len.into()
    }
}

impl Eq for Reply<'_> {}

impl PartialEq for Reply<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.code, self.enhanced) == (other.code, other.enhanced) && self.lines().eq(other.lines())
    }
}

impl<'b> Reply<'b> {
    /// A reply of one line; octets it must not hold become spaces.
    pub fn new(code: Code, text: &'b str) -> Self {
        Self { code, enhanced: None, text: ReplyText::One(Text::lossy(text)) }
    }

    /// A reply of several lines. None at all is one empty line.
    pub fn lines_of(code: Code, lines: impl Into<Cow<'b, [Text<'b>]>>) -> Self {
        Self { code, enhanced: None, text: ReplyText::Many(lines.into()) }
    }

    /// The same reply with the enhanced code `class.subject.detail`; with none, if that is not one, or not of the reply's class
    /// ([RFC 2034 section 4](https://www.rfc-editor.org/rfc/rfc2034#section-4)).
    ///
    /// A text that itself begins with such a code is read as if it had been given here.
    #[must_use]
    pub fn with_enhanced(mut self, class: u8, subject: u16, detail: u16) -> Self {
        let enhanced = EnhancedCode::new(class, subject, detail).ok();
        self.enhanced = enhanced.filter(|enhanced| enhanced.is_of(self.code));
        self
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The enhanced code, where the server gives one of the reply's class.
    pub const fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// The lines, without codes and enhanced code.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        match &self.text {
            ReplyText::One(text) => Lines::Texts(core::slice::from_ref(text).iter()),
            ReplyText::Many(lines) => Lines::Texts(lines.iter()),
            ReplyText::Wire { octets, enhanced, lens } => Lines::Wire {
                left: octets,
                enhanced: Some(self.code).filter(|_| *enhanced),
                usual: octets.get(4..).and_then(|text| text.first_chunk()),
                lens: *lens,
            },
        }
    }

    /// What the reply to `EHLO` lists: its lines but the first.
    pub fn capabilities(&self) -> impl Iterator<Item = Capability<'_>> {
        let mut lines = self.lines();
        lines.next();
        lines.map(Capability::parse)
    }

    /// A challenge within `AUTH`: the text of a 334, decoded.
    ///
    /// # Errors
    ///
    /// When it is not base64.
    pub fn challenge(&self) -> Result<Secret<'static>, ReplyError> {
        decode(self.lines().next().unwrap_or_default()).map_err(|_| ReplyError::Base64)
    }

    /// Reads a whole reply, its CRLFs included.
    ///
    /// # Errors
    ///
    /// When a line has no code or another than the first, or a CR, LF or NUL within, the last line is missing, or something follows it.
    pub fn parse(octets: &'b [u8]) -> Result<Self, ReplyError> {
        match Self::front(octets, usize::MAX) {
            Some((consumed, reply)) if consumed == octets.len() => Ok(reply),
            _ => Self::parse_any(octets),
        }
    }

    /// The reply at the front of `input`, if it is all there and has no fault, and its octets. In one pass.
    #[inline(always)]
    fn front(input: &'b [u8], line_limit: usize) -> Option<(usize, Self)> {
        let first: [u8; 4] = *input.first_chunk()?;
        let [a, b, c, _] = first;
        let code = Code::parse(&[a, b, c])?;
        let (mut lens, mut lines, mut rest, mut first_end) = (TextLens::default(), 0, input, 0);
        loop {
            let (start, text): (&[u8; 4], _) = rest.split_first_chunk()?;
            let end = first_low(text)?.checked_add(2)?;
            let (line, after) = text.split_at_checked(end)?;
            if !line.ends_with(b"\r\n") || end + 4 > line_limit {
                return None;
            }
            lens.note(lines, end - 2);
            if lines == 0 {
                first_end = end + 2;
            }
            rest = after;
            // Each begins as the first, with code and hyphen, but the last.
            if *start == [a, b, c, b' '] {
                break;
            }
            if *start != [a, b, c, b'-'] {
                return None;
            }
            lines += 1;
        }
        let consumed = input.len() - rest.len();
        let octets = input.get(..consumed)?;
        let (enhanced, _) = EnhancedCode::split_from(octets.get(4..first_end)?, code);
        Some((consumed, Self { code, enhanced, text: ReplyText::Wire { octets, enhanced: enhanced.is_some(), lens } }))
    }

    /// Any reply, or what is wrong with it.
    #[inline(never)]
    fn parse_any(octets: &'b [u8]) -> Result<Self, ReplyError> {
        let (first, mut left) = split_line(octets)?;
        let (code, mut more) = Self::status(first)?;
        while more {
            let line;
            (line, left) = split_line(left)?;
            let other;
            (other, more) = Self::status(line)?;
            if other != code {
                return Err(ReplyError::Mismatch { first: code, other });
            }
        }
        if !left.is_empty() {
            return Err(ReplyError::Incomplete);
        }
        let (enhanced, _) = EnhancedCode::split_from(first.get(4..).unwrap_or_default(), code);
        let lens = TextLens::default();
        Ok(Self { code, enhanced, text: ReplyText::Wire { octets, enhanced: enhanced.is_some(), lens } })
    }

    /// The code of a line, and whether more lines follow.
    fn status(line: &[u8]) -> Result<(Code, bool), ReplyError> {
        let (digits, rest) = line.split_first_chunk().ok_or(ReplyError::Code)?;
        let code = Code::parse(digits).ok_or(ReplyError::Code)?;
        match rest.first() {
            None | Some(b' ') => Ok((code, false)),
            Some(b'-') => Ok((code, true)),
            Some(_) => Err(ReplyError::Code),
        }
    }

    /// Appends the reply with its CRLFs to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.put(self.enhanced, out);
    }

    /// Appends the reply with its CRLFs and another enhanced code or none, and tells how long its longest line is.
    pub(crate) fn put(&self, enhanced: Option<EnhancedCode>, out: &mut Vec<u8>) -> usize {
        let (mut longest, mut last, mut lines) = (0, out.len(), self.lines());
        let mut next = lines.next().or(Some(b""));
        while let Some(text) = next {
            last = out.len();
            put_line(self.code, enhanced, text, out);
            longest = longest.max(out.len() - last);
            next = lines.next();
        }
        end_reply(last, out);
        longest
    }

    /// A 334 with a challenge.
    pub fn challenge_of(challenge: &[u8]) -> Reply<'static> {
        let mut text = Vec::new();
        encode(challenge, &mut text);
        let text = Text::received(&text).into_owned();
        Reply { code: Code::CHALLENGE, enhanced: None, text: ReplyText::One(text) }
    }

    /// The same reply, which borrows nothing.
    pub fn into_owned(self) -> Reply<'static> {
        let lines: Vec<_> = self.lines().map(|line| Text::received(line).into_owned()).collect();
        Reply { code: self.code, enhanced: self.enhanced, text: ReplyText::Many(Cow::Owned(lines)) }
    }
}

/// Finds and reads the replies at the front of a buffer that grows.
///
/// One that is all there is looked at once. Of one that comes in pieces it keeps the position up to which octets were looked at, so that however slowly
/// it comes the work grows with its octets alone. It holds no octets.
///
/// ```
/// use postrider_smtp_proto::{Code, Limits, ReplyScanner};
///
/// let (mut scanner, limits) = (ReplyScanner::new(), Limits::default());
/// assert!(scanner.next(b"250-mx.exam", &limits)?.is_none());
/// let Some((consumed, reply)) = scanner.next(b"250-mx.example\r\n250 DSN\r\n250 OK", &limits)? else { panic!("it is all there") };
/// assert_eq!((consumed, reply.code(), reply.lines().count()), (25, Code::OK, 2));
/// # Ok::<(), postrider_smtp_proto::ReplyError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReplyScanner {
    lines: LineScanner,
    /// Octets of the lines of an unfinished reply.
    read: usize,
    /// The reply at the front did not come in one piece, or has a fault: it is read line by line.
    piecemeal: bool,
}

impl ReplyScanner {
    /// A scanner at the start of a reply.
    pub const fn new() -> Self {
        Self { lines: LineScanner::new(), read: 0, piecemeal: false }
    }

    /// The first reply of `input` and its octets; `None` when its end has not come.
    ///
    /// `input` begins where the octets of the last reply ended: a `None` took none. Of the limits it goes by
    /// [`reply_line`](Limits::reply_line) and [`reply`](Limits::reply).
    ///
    /// # Errors
    ///
    /// When it is no reply, or longer than allowed.
    #[inline(always)]
    pub fn next<'b>(&mut self, input: &'b [u8], limits: &Limits) -> Result<Option<(usize, Reply<'b>)>, ReplyError> {
        if !self.piecemeal
            && let Some((consumed, reply)) = Reply::front(input, limits.reply_line)
            && consumed <= limits.reply
        {
            return Ok(Some((consumed, reply)));
        }
        self.next_piecemeal(input, limits)
    }

    #[inline(never)]
    fn next_piecemeal<'b>(
        &mut self,
        input: &'b [u8],
        limits: &Limits,
    ) -> Result<Option<(usize, Reply<'b>)>, ReplyError> {
        self.piecemeal = true;
        if !self.is_whole(input, limits)? {
            return Ok(None);
        }
        let consumed = core::mem::take(&mut self.read);
        self.piecemeal = false;
        let reply = Reply::parse_any(input.get(..consumed).unwrap_or_default())?;
        Ok(Some((consumed, reply)))
    }

    /// Whether the front of `input` is a reply to its last line. Lines read once are not read again.
    fn is_whole(&mut self, input: &[u8], limits: &Limits) -> Result<bool, ReplyError> {
        let limit = limits.reply;
        loop {
            let rest = input.get(self.read..).unwrap_or_default();
            match self.lines.next(rest, limits.reply_line) {
                Framed::Line { consumed, line } => {
                    self.read += consumed;
                    if self.read > limit {
                        return Err(ReplyError::TooLong { limit });
                    }
                    if let (_, false) = Reply::status(line)? {
                        return Ok(true);
                    }
                }
                Framed::Malformed { error: LineError::TooLong { .. }, .. } | Framed::Skip { .. } => {
                    return Err(ReplyError::TooLong { limit: limits.reply_line });
                }
                Framed::Malformed { error, .. } => return Err(ReplyError::Line(error)),
                Framed::Incomplete => return Ok(false),
            }
        }
    }
}

/// On one line: code, enhanced code and the lines of text, each behind a space, and what is not printable escaped. A challenge is not shown.
impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        if self.code == Code::CHALLENGE {
            return f.write_str(" ..");
        }
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        self.lines().try_for_each(|line| {
            f.write_str(" ")?;
            Escaped(line).fmt(f)
        })
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply(\"{self}\")")
    }
}

/// Appends a line that is not the reply's last.
fn put_line(code: Code, enhanced: Option<EnhancedCode>, text: &[u8], out: &mut Vec<u8>) {
    let [a, b, c] = code.digits();
    out.extend_from_slice(&[a, b, c, b'-']);
    if let Some(enhanced) = enhanced {
        enhanced.encode(out);
        out.push(b' ');
    }
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// Appends the reply to `EHLO`, and tells how long its longest line is.
pub(crate) fn put_hello<'c>(name: &[u8], can: impl Iterator<Item = Capability<'c>>, out: &mut Vec<u8>) -> usize {
    let mut last = out.len();
    put_line(Code::OK, None, name, out);
    let mut longest = out.len() - last;
    for capability in can {
        last = out.len();
        out.extend_from_slice(b"250-");
        capability.encode(out);
        out.extend_from_slice(b"\r\n");
        longest = longest.max(out.len() - last);
    }
    end_reply(last, out);
    longest
}

/// Makes the line that begins there the last of its reply.
fn end_reply(start: usize, out: &mut [u8]) {
    if let Some(more) = out.get_mut(start + 3) {
        *more = b' ';
    }
}

/// The lines of a reply, without codes.
enum Lines<'r, 'b> {
    Texts(core::slice::Iter<'r, Text<'b>>),
    /// Whole lines that were checked.
    Wire {
        left: &'r [u8],
        /// The code of the reply if enhanced codes stand before the texts.
        enhanced: Option<Code>,
        /// What the first text begins with, which the others repeat: all of its enhanced code, if the last is the space behind it.
        usual: Option<&'r [u8; 6]>,
        /// Of those left.
        lens: TextLens,
    },
}

impl<'r> Iterator for Lines<'r, '_> {
    type Item = &'r [u8];

    #[inline(always)]
    fn next(&mut self) -> Option<&'r [u8]> {
        let (left, enhanced, usual, lens) = match self {
            Self::Texts(texts) => return texts.next().map(Text::as_bytes),
            Self::Wire { left, enhanced, usual, lens } => (left, *enhanced, *usual, lens),
        };
        let text;
        (text, *left) = match lens.take() {
            len @ 1.. => {
                let (line, after) = left.split_at_checked(5 + len)?;
                (line.get(4..3 + len)?, after)
            }
            _ if left.is_empty() => return None,
            _ => split_text(left)?,
        };
        let Some(code) = enhanced else { return Some(text) };
        match text.split_first_chunk() {
            Some((start, rest)) if start.last() == Some(&b' ') && Some(start) == usual => Some(rest),
            _ => Some(EnhancedCode::split_from(text, code).1),
        }
    }
}

/// The text of the first of these lines, which were checked, and the other lines.
#[inline(never)]
fn split_text(lines: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, after) = match lines {
        [_, _, _, b'-', ..] => split_line(lines).ok()?,
        // What ends the reply needs no search.
        _ => (lines.strip_suffix(b"\r\n")?, &b""[..]),
    };
    Some((line.get(4..).unwrap_or_default(), after))
}

/// The line at the front of `octets`, and what follows its CRLF.
#[inline(always)]
fn split_line(octets: &[u8]) -> Result<(&[u8], &[u8]), ReplyError> {
    match first_low(octets).and_then(|at| octets.split_at_checked(at)) {
        Some((line, [b'\r', b'\n', rest @ ..])) => Ok((line, rest)),
        _ => split_odd_line(octets),
    }
}

/// The same of a line with control characters, or without its end.
#[inline(never)]
fn split_odd_line(octets: &[u8]) -> Result<(&[u8], &[u8]), ReplyError> {
    let end = memchr::memchr3(b'\r', b'\n', 0, octets).and_then(|at| octets.split_at_checked(at));
    match end.ok_or(ReplyError::Incomplete)? {
        (line, [b'\r', b'\n', rest @ ..]) => Ok((line, rest)),
        (_, b"\r") => Err(ReplyError::Incomplete),
        _ => Err(ReplyError::Octet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first reply of `input`, which comes in pieces of `size` octets.
    fn scan(input: &[u8], size: usize, limits: &Limits) -> Result<Option<(usize, Reply<'static>)>, ReplyError> {
        let mut scanner = ReplyScanner::new();
        for end in (size..input.len()).step_by(size).chain([input.len()]) {
            if let Some((consumed, reply)) = scanner.next(&input[..end], limits)? {
                return Ok(Some((consumed, reply.into_owned())));
            }
        }
        Ok(None)
    }

    proptest! {
        #[test]
        fn a_reply_is_the_same_in_one_piece_and_in_many(
            lines in proptest::collection::vec("(250|550)[ -](5\\.1\\.1|2\\.0\\.0|2\\.10\\.1)?( ?[a-z\u{e9}]{0,20}){1,4}[\r\n\0]?|250|[0-9a ]{0,5}", 1..20),
            long in 0..400_usize,
        ) {
            let (mut input, limits) = (lines.join("\r\n"), Limits { reply_line: 300, reply: 600, ..Limits::default() });
            input.push_str(&"x".repeat(long));
            input.push_str("\r\n");
            let octets = input.as_bytes();
            let whole = scan(octets, octets.len(), &limits);
            prop_assert_eq!(&whole, &scan(octets, 1, &limits));
            if let Ok(Some((consumed, reply))) = whole {
                let expected = Reply::parse_any(&octets[..consumed]).map(Reply::into_owned);
                prop_assert_eq!(expected, Ok(reply));
            }
        }

        #[test]
        fn sound_replies_are_read_in_one_pass_as_line_by_line(
            texts in proptest::collection::vec("(2\\.0\\.0 ?|2\\.10\\.1 )?[a-z ]{0,40}|[a-z]{250,260}", 1..20),
        ) {
            let (last, more) = texts.split_last().unwrap();
            let mut input: alloc::string::String = more.iter().map(|text| alloc::format!("250-{text}\r\n")).collect();
            input.push_str(&alloc::format!("250 {last}\r\n"));
            let (consumed, reply) = Reply::front(input.as_bytes(), usize::MAX).unwrap();
            let expected = Reply::parse_any(input.as_bytes()).unwrap();
            prop_assert_eq!((consumed, reply.enhanced()), (input.len(), expected.enhanced()));
            prop_assert!(reply.lines().eq(expected.lines()));
        }
    }
}
