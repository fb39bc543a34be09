//! Lines that end in CRLF.

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, u8x16};
use memchr::{memchr2, memchr3};
use thiserror::Error;

/// Finds the CRLF lines at the front of a buffer that grows.
///
/// It keeps the position up to which octets were looked at, so that none is looked at twice however slowly a
/// line arrives, and it holds no octets: a line longer than the limit is thrown away as it comes.
///
/// Only CRLF ends a line. A CR or LF that stands alone makes the line around it [`Framed::Malformed`]; the next line begins
/// after the CRLF all the same, so that two programs cannot disagree on where it does.
///
/// ```
/// use postrider_text_proto::{Framed, LineScanner};
///
/// let mut scanner = LineScanner::new();
/// assert_eq!(scanner.next(b"NOOP\r", 255), Framed::Incomplete);
/// assert_eq!(scanner.next(b"NOOP\r\nQU", 255), Framed::Line { consumed: 6, line: b"NOOP" });
/// assert_eq!(scanner.next(b"QU", 255), Framed::Incomplete);
/// ```
#[derive(Clone, Debug, Default)]
pub struct LineScanner {
    /// Octets at the front of the buffer that hold no CRLF.
    scanned: usize,
    /// Octets of the present line that were thrown away because it is too long.
    dropped: u64,
    stray: Option<LineError>,
}

/// What stands at the front of the buffer.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed<'b> {
    /// A line, without its CRLF.
    Line {
        /// Octets to drop from the buffer, the CRLF included.
        consumed: usize,
        /// The octets before the CRLF; no CR or LF among them.
        line: &'b [u8],
    },
    /// The end of a line that cannot be used.
    Malformed {
        /// Octets to drop from the buffer, the CRLF included.
        consumed: usize,
        /// Why not.
        error: LineError,
    },
    /// A piece of a line that is already too long.
    Skip {
        /// Octets to drop from the buffer; never 0.
        consumed: usize,
    },
    /// The line's end has not arrived.
    Incomplete,
}

/// Why a line cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LineError {
    /// A CR that no LF follows.
    #[error("bare CR in a line, only CRLF is allowed")]
    BareCr,
    /// An LF that follows no CR.
    #[error("bare LF in a line, only CRLF is allowed")]
    BareLf,
    /// The line is longer than allowed, its CRLF counted.
    #[error("line of {len} octets exceeds the limit of {limit}")]
    TooLong {
        /// Octets of the line, CRLF included.
        len: u64,
        /// Octets allowed, CRLF included.
        limit: usize,
    },
}

impl LineScanner {
    /// A scanner at the start of a line.
    pub const fn new() -> Self {
        Self { scanned: 0, dropped: 0, stray: None }
    }

    /// The first line of `input`, which may have `limit` octets, CRLF included.
    ///
    /// `input` begins where the octets of the last answer ended: an [`Framed::Incomplete`] took none.
    #[inline(always)]
    pub fn next<'b>(&mut self, input: &'b [u8], limit: usize) -> Framed<'b> {
        if let Some(at) = self.first_low(input)
            && let Some((line, [b'\r', b'\n', ..])) = input.split_at_checked(at)
            && at + 2 <= limit
            && self.dropped == 0
            && self.stray.is_none()
        {
            self.scanned = 0;
            return Framed::Line { consumed: at + 2, line };
        }
        self.otherwise(input, limit)
    }

    /// The first octet up to CR that was not looked at. There are others than CR and LF, but they are rare.
    #[inline(always)]
    fn first_low(&self, input: &[u8]) -> Option<usize> {
        let rest = input.get(self.scanned..)?;
        Some(self.scanned + first_low(rest)?)
    }

    /// The first CR or LF that was not looked at.
    fn line_end(&self, input: &[u8]) -> Option<usize> {
        let rest = input.get(self.scanned..)?;
        Some(self.scanned + memchr2(b'\r', b'\n', rest)?)
    }

    /// All that is not a sound line in one piece.
    #[inline(never)]
    fn otherwise<'b>(&mut self, input: &'b [u8], limit: usize) -> Framed<'b> {
        let mut found = self.line_end(input);
        while let Some(at) = found {
            match (input.get(at), input.get(at + 1)) {
                (Some(b'\r'), Some(b'\n')) => return self.finished(input, at, limit),
                (Some(b'\r'), None) => {
                    self.scanned = at;
                    return self.unfinished(at, limit);
                }
                (Some(b'\r'), _) => self.stray = self.stray.or(Some(LineError::BareCr)),
                _ => self.stray = self.stray.or(Some(LineError::BareLf)),
            }
            self.scanned = at + 1;
            found = self.line_end(input);
        }
        self.scanned = input.len();
        self.unfinished(input.len(), limit)
    }

    /// Whether the line is already too long: what comes is its rest.
    pub const fn is_skipping(&self) -> bool {
        self.dropped > 0
    }

    #[inline]
    fn finished<'b>(&mut self, input: &'b [u8], at: usize, limit: usize) -> Framed<'b> {
        let consumed = at + 2;
        let Self { dropped, stray, .. } = core::mem::take(self);
        let error = if dropped > 0 || consumed > limit {
            LineError::TooLong { len: dropped.saturating_add(consumed as u64), limit }
        } else if let Some(stray) = stray {
            stray
        } else {
            return Framed::Line { consumed, line: input.get(..at).unwrap_or_default() };
        };
        Framed::Malformed { consumed, error }
    }

    /// `len` octets are known to belong to the line. Two more would be needed for CRLF.
    fn unfinished<'b>(&mut self, len: usize, limit: usize) -> Framed<'b> {
        let too_long = self.dropped > 0 || len.saturating_add(2) > limit;
        if !too_long || len == 0 {
            return Framed::Incomplete;
        }
        self.dropped = self.dropped.saturating_add(len as u64);
        self.scanned = 0;
        Framed::Skip { consumed: len }
    }
}

/// Where the first octet up to CR (13) is: the end of a line, or one of the control characters that are rare in lines.
///
/// Of the first 128 octets, where most lines end, it takes sixteen at a time: to begin a search with SIMD detected at run time costs more.
/// What is beyond them and neither CR, LF nor NUL may be passed over.
#[inline(always)]
pub fn first_low(octets: &[u8]) -> Option<usize> {
    fearless_simd::dispatch!(Level::baseline(), simd => first_low_with(simd, octets))
}

const STEP: usize = 16;

#[inline(always)]
fn first_low_with(simd: impl Simd, octets: &[u8]) -> Option<usize> {
    let near = octets.get(..8 * STEP).unwrap_or(octets);
    let mut at = 0;
    for step in near.as_chunks().0 {
        if let Some(found) = low_of_step(simd, step) {
            return Some(at + found);
        }
        at += STEP;
    }
    if near.len() < octets.len() {
        return memchr3(b'\r', b'\n', 0, octets.get(at..)?).map(|found| at + found);
    }
    match octets.last_chunk() {
        None => octets.iter().position(|octet| *octet <= b'\r'),
        // They overlap with what was looked at.
        Some(last) => low_of_step(simd, last).map(|found| octets.len() - STEP + found),
    }
}

#[inline(always)]
fn low_of_step<S: Simd>(simd: S, step: &[u8; STEP]) -> Option<usize> {
    let octets: u8x16<S> = (*step).simd_into(simd);
    let bits = octets.simd_le(b'\r').to_bitmask();
    (bits != 0).then_some(bits.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Everything `input` holds, handed over in pieces of `size` octets.
    fn frame(input: &[u8], size: usize, limit: usize) -> (Vec<Result<Vec<u8>, LineError>>, usize) {
        let (mut scanner, mut buffer, mut lines, mut most) = (LineScanner::new(), Vec::new(), Vec::new(), 0);
        for piece in input.chunks(size) {
            buffer.extend_from_slice(piece);
            most = most.max(buffer.len());
            loop {
                let consumed = match scanner.next(&buffer, limit) {
                    Framed::Line { consumed, line } => {
                        lines.push(Ok(line.to_vec()));
                        consumed
                    }
                    Framed::Malformed { consumed, error } => {
                        lines.push(Err(error));
                        consumed
                    }
                    Framed::Skip { consumed } => consumed,
                    Framed::Incomplete => break,
                };
                assert_ne!(consumed, 0);
                buffer.drain(..consumed);
            }
        }
        (lines, most)
    }

    #[test]
    fn only_crlf_ends_a_line_however_it_is_cut() {
        let input = b"one\r\n\r\nb\nc\r\nd\re\r\n\r\r\nlast\r\nopen";
        let expected = vec![
            Ok(b"one".to_vec()),
            Ok(vec![]),
            Err(LineError::BareLf),
            Err(LineError::BareCr),
            Err(LineError::BareCr),
            Ok(b"last".to_vec()),
        ];
        for size in 1..=input.len() {
            assert_eq!(frame(input, size, 255).0, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes_and_one_octet_more_does_not() {
        for size in 1..10 {
            assert_eq!(frame(b"12345678\r\n", size, 10).0, [Ok(b"12345678".to_vec())]);
            let (lines, _) = frame(b"123456789\r\nnext\r\n", size, 10);
            assert_eq!(lines, [Err(LineError::TooLong { len: 11, limit: 10 }), Ok(b"next".to_vec())]);
        }
    }

    #[test]
    fn an_endless_line_needs_no_more_memory_than_the_limit_and_one_read() {
        let mut input = vec![b'x'; 1_000_000];
        input.extend_from_slice(b"\r\nQUIT\r\n");
        let (lines, most) = frame(&input, 1000, 512);
        assert_eq!(lines, [Err(LineError::TooLong { len: 1_000_002, limit: 512 }), Ok(b"QUIT".to_vec())]);
        assert!(most <= 512 + 1000, "{most} octets were held");
    }

    #[test]
    fn a_too_long_line_is_told_as_such_even_when_it_holds_stray_line_ends() {
        for size in 1..30 {
            let (lines, _) = frame(b"a\nb\rcdefghijklm\r\n", size, 8);
            assert_eq!(lines, [Err(LineError::TooLong { len: 17, limit: 8 })]);
        }
    }

    #[test]
    fn the_first_low_octet_is_found_wherever_it_is() {
        for len in 0..300 {
            let input = vec![b'x'; len];
            assert_eq!(first_low(&input), None);
            for at in 0..len {
                for low in [b'\r', b'\n', 0] {
                    let mut input = input.clone();
                    input[at] = low;
                    assert_eq!(first_low(&input), Some(at), "of {len}");
                }
            }
        }
    }
}
