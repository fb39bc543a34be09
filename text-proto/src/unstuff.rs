//! Content that ends with a line of one dot, as it is received.

use fearless_simd::prelude::*;
use fearless_simd::{Simd, mask8x32, u8x32};

use crate::blocks::{Odd, first_odd, first_odd_soon};
use crate::stray::{Disturbed, Stray, StrayScanner};

/// Takes the dot-stuffing out of content and finds its end.
///
/// [RFC 5321 section 4.5.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.2) and
/// [RFC 1939 section 3](https://www.rfc-editor.org/rfc/rfc1939#section-3) define the same rule: a line that begins
/// with a dot has one more dot in front, and a line of one dot ends the content. Content starts at the start of a
/// line, so the very first octets can be the end.
///
/// What comes out are pieces of what went in: a dot is removed by where a piece is cut. Only `CRLF . CRLF` ends
/// the content; CR and LF that stand alone pass through and are the business of [`StrayScanner`](crate::StrayScanner).
///
/// ```
/// use postrider_text_proto::{Unstuffed, Unstuffer};
///
/// let mut unstuffer = Unstuffer::new();
/// assert_eq!(unstuffer.next(b"..a\r\n.\r\n"), Unstuffed::Content { consumed: 5, content: b".a\r\n" });
/// assert_eq!(unstuffer.next(b".\r\n"), Unstuffed::End { consumed: 3 });
/// ```
#[derive(Clone, Debug)]
pub struct Unstuffer {
    at_line_start: bool,
}

/// What stands at the front of the buffer.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstuffed<'b> {
    /// A piece of the content.
    Content {
        /// Octets to drop from the buffer; one more than `content` where a dot was removed.
        consumed: usize,
        /// The piece; it may be empty when nothing but a dot was removed.
        content: &'b [u8],
    },
    /// The line of one dot. The unstuffer is ready for other content.
    End {
        /// Octets to drop from the buffer.
        consumed: usize,
    },
    /// What is there may be content or the end.
    Incomplete,
}

impl Unstuffer {
    /// An unstuffer before the first octet of some content.
    pub const fn new() -> Self {
        Self { at_line_start: true }
    }

    /// The first piece of content in `input`.
    #[inline]
    pub fn next<'b>(&mut self, input: &'b [u8]) -> Unstuffed<'b> {
        self.next_by(input, dotted_line)
    }

    /// The first piece of content in `input`, with what [`StrayScanner::scan`] says of it: both in one pass over the octets.
    #[inline]
    pub fn next_scanned<'b>(
        &mut self,
        input: &'b [u8],
        strays: &mut StrayScanner,
    ) -> (Unstuffed<'b>, Option<(u64, Stray)>) {
        let mut sound = true;
        let unstuffed = self.next_by(input, |input| {
            let (line, rest) = input.split_at_checked(first_odd(input, Disturbed)? + 1)?;
            sound = line.ends_with(b"\r\n") && rest.starts_with(b".");
            if sound { Some(line.len()) } else { dotted_line(input) }
        });
        let stray = match unstuffed {
            Unstuffed::Content { content, .. } if sound => strays.scan_sound(content),
            Unstuffed::Content { content, .. } => strays.scan(content),
            _ => None,
        };
        (unstuffed, stray)
    }

    #[inline(always)]
    fn next_by<'b>(&mut self, input: &'b [u8], dotted_line: impl FnOnce(&[u8]) -> Option<usize>) -> Unstuffed<'b> {
        if !self.at_line_start {
            return self.content(input, 0, dotted_line);
        }
        match input {
            [] | [b'.'] | [b'.', b'\r'] => Unstuffed::Incomplete,
            [b'.', b'\r', b'\n', ..] => Unstuffed::End { consumed: 3 },
            [b'.', rest @ ..] => self.content(rest, 1, dotted_line),
            _ => self.content(input, 0, dotted_line),
        }
    }

    /// Content up to the next line that begins with a dot, or all of it. A CR at the end is held back, so that
    /// "after CRLF" is never a question of two reads.
    #[inline(always)]
    fn content<'b>(
        &mut self,
        input: &'b [u8],
        dropped: usize,
        dotted_line: impl FnOnce(&[u8]) -> Option<usize>,
    ) -> Unstuffed<'b> {
        let (len, at_line_start) = match dotted_line(input) {
            Some(at) => (at, true),
            None if input.ends_with(b"\r") => (input.len() - 1, false),
            None => (input.len(), input.ends_with(b"\r\n")),
        };
        if len + dropped == 0 {
            return Unstuffed::Incomplete;
        }
        self.at_line_start = at_line_start;
        Unstuffed::Content { consumed: dropped + len, content: input.get(..len).unwrap_or_default() }
    }
}

/// An LF before a dot.
pub(crate) struct Dotted;

impl Odd for Dotted {
    #[inline(always)]
    fn among<S: Simd>(octets: u8x32<S>, next: u8x32<S>) -> mask8x32<S> {
        octets.simd_eq(b'\n') & next.simd_eq(b'.')
    }
}

/// Where the next line that begins with a dot does so.
#[inline(always)]
fn dotted_line(input: &[u8]) -> Option<usize> {
    let at = first_odd_soon(input, Dotted)? + 1;
    if input.get(..at)?.ends_with(b"\r\n") { Some(at) } else { dotted_line_after(input, at) }
}

/// The same behind an LF that stood alone, which no honest peer sends: out of the way of those that do not.
#[cold]
#[inline(never)]
fn dotted_line_after(input: &[u8], mut passed: usize) -> Option<usize> {
    loop {
        passed += first_odd(input.get(passed..)?, Dotted)? + 1;
        if input.get(..passed)?.ends_with(b"\r\n") {
            return Some(passed);
        }
    }
}

impl Default for Unstuffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// The content at the front of `wire` and how many octets it took, read in pieces of `size`.
    fn unstuff(wire: &[u8], size: usize) -> (Vec<u8>, Option<usize>) {
        let (mut unstuffer, mut buffer, mut content, mut taken) = (Unstuffer::new(), Vec::new(), Vec::new(), 0);
        for piece in wire.chunks(size) {
            buffer.extend_from_slice(piece);
            loop {
                let consumed = match unstuffer.next(&buffer) {
                    Unstuffed::Content { consumed, content: piece } => {
                        content.extend_from_slice(piece);
                        consumed
                    }
                    Unstuffed::End { consumed } => return (content, Some(taken + consumed)),
                    Unstuffed::Incomplete => break,
                };
                assert_ne!(consumed, 0, "a step without progress");
                buffer.drain(..consumed);
                taken += consumed;
            }
        }
        (content, None)
    }

    fn at_every_cut(wire: &[u8], content: &[u8], end: Option<usize>) {
        for size in 1..=wire.len() {
            assert_eq!(unstuff(wire, size), (content.to_vec(), end), "{:?} in pieces of {size}", wire.escape_ascii());
        }
    }

    #[test]
    fn a_dot_line_right_at_the_start_is_an_empty_message() {
        at_every_cut(b".\r\nQUIT\r\n", b"", Some(3));
    }

    #[test]
    fn the_dot_of_the_first_line_is_removed_too() {
        at_every_cut(b"..\r\n.\r\n", b".\r\n", Some(7));
        at_every_cut(b".a\r\n.\r\n", b"a\r\n", Some(7));
        at_every_cut(b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n", Some(16));
    }

    #[test]
    fn only_crlf_dot_crlf_is_the_end() {
        for middle in [
            &b"\n.\n"[..],
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r.\r\n",
            b"\r\n.\r",
            b"\r\n.\r\r\n",
            b"\n.\r\r\n",
            b"\r\n\0.\r\n",
            b"\r\n.\0\r\n",
            b"\r\n.\0x",
            b"\r\n .\r\n",
            b"\r\n.\t\r\n",
            "\u{2028}.\u{2028}".as_bytes(),
            b"\r\r.\r\n",
        ] {
            let wire = [b"a", middle, b"b\r\n.\r\nNEXT"].concat();
            for size in 1..=wire.len() {
                let (content, end) = unstuff(&wire, size);
                assert_eq!(end, Some(wire.len() - 4), "{:?} in pieces of {size}", wire.escape_ascii());
                assert!(content.ends_with(b"b\r\n"));
            }
        }
    }

    #[test]
    fn the_end_may_follow_a_stray_cr() {
        at_every_cut(b"a\r\r\n.\r\nNEXT", b"a\r\r\n", Some(7));
    }

    proptest! {
        #[test]
        fn one_pass_says_what_two_say(wire in "(\r\n|\r\n\\.|\n|\r|\\.|a{1,40}){0,40}", size in 1_usize..100) {
            let (mut two, mut one) = ((Unstuffer::new(), StrayScanner::new()), (Unstuffer::new(), StrayScanner::new()));
            let (mut from, mut to) = (0, 0);
            while to < wire.len() {
                to = wire.len().min(to + size);
                loop {
                    let input = &wire.as_bytes()[from..to];
                    let unstuffed = two.0.next(input);
                    let (consumed, stray) = match unstuffed {
                        Unstuffed::Content { consumed, content } => (consumed, two.1.scan(content)),
                        Unstuffed::End { consumed } => (consumed, None),
                        Unstuffed::Incomplete => (0, None),
                    };
                    prop_assert_eq!(one.0.next_scanned(input, &mut one.1), (unstuffed, stray));
                    from += consumed;
                    if consumed == 0 {
                        break;
                    }
                }
            }
            prop_assert_eq!(one.1.finish(), two.1.finish());
        }
    }

    #[test]
    fn content_without_an_end_stays_open() {
        at_every_cut(b"a\r\n.", b"a\r\n", None);
        at_every_cut(b"a\r\n.\r", b"a\r\n", None);
    }
}
