//! CR and LF that are not part of a CRLF.

use fearless_simd::prelude::*;
use fearless_simd::{Simd, mask8x32, u8x32};

use crate::blocks::{Odd, first_odd};
use crate::unstuff::Dotted;

/// One half of a CRLF, alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// A CR that no LF follows.
    Cr,
    /// An LF that follows no CR.
    Lf,
}

/// Looks for CR and LF that stand alone in content that comes in pieces.
///
/// [RFC 5321 section 2.3.8](https://www.rfc-editor.org/rfc/rfc5321#section-2.3.8) allows neither in a message: where two
/// programs read such an octet differently, one of them can be made to see a second message.
///
/// ```
/// use postrider_text_proto::{Stray, StrayScanner};
///
/// let mut scanner = StrayScanner::new();
/// assert_eq!(scanner.scan(b"one\r\ntwo\r"), None);
/// assert_eq!(scanner.scan(b"\nthree\nfour"), Some((15, Stray::Lf)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct StrayScanner {
    /// Octets of the content before the next piece.
    offset: u64,
    after_cr: bool,
}

impl StrayScanner {
    /// A scanner at the start of some content.
    pub const fn new() -> Self {
        Self { offset: 0, after_cr: false }
    }

    /// The first stray octet that this piece shows, with its offset in the content.
    ///
    /// A CR that ends a piece is judged with the piece that follows, or by [`finish`](Self::finish).
    #[inline]
    pub fn scan(&mut self, piece: &[u8]) -> Option<(u64, Stray)> {
        let offset = self.offset;
        self.scan_sound(piece).or_else(|| first_within(piece).map(|(at, stray)| (offset + at as u64, stray)))
    }

    /// [`scan`](Self::scan) of a piece whose neighbours are all known to be sound: what is left is where it meets the last one.
    #[inline]
    pub(crate) fn scan_sound(&mut self, piece: &[u8]) -> Option<(u64, Stray)> {
        let (Some(first), Some(last)) = (piece.first(), piece.last()) else { return None };
        let offset = self.offset;
        let seam = match (self.after_cr, *first == b'\n') {
            (true, false) => Some((offset - 1, Stray::Cr)),
            (false, true) => Some((offset, Stray::Lf)),
            _ => None,
        };
        self.after_cr = *last == b'\r';
        self.offset += piece.len() as u64;
        seam
    }

    /// The content is over: a CR at its very end is stray too.
    pub fn finish(&mut self) -> Option<(u64, Stray)> {
        let found = self.after_cr.then(|| (self.offset - 1, Stray::Cr));
        *self = Self::new();
        found
    }
}

/// A CR without its LF, or an LF without its CR.
struct Unsound;

impl Odd for Unsound {
    #[inline(always)]
    fn among<S: Simd>(octets: u8x32<S>, next: u8x32<S>) -> mask8x32<S> {
        octets.simd_eq(b'\r') ^ next.simd_eq(b'\n')
    }
}

/// What lines that end in CRLF and do not begin with a dot have none of.
pub(crate) struct Disturbed;

impl Odd for Disturbed {
    #[inline(always)]
    fn among<S: Simd>(octets: u8x32<S>, next: u8x32<S>) -> mask8x32<S> {
        Unsound::among(octets, next) | Dotted::among(octets, next)
    }
}

fn first_within(piece: &[u8]) -> Option<(usize, Stray)> {
    let at = first_odd(piece, Unsound)?;
    Some(if piece.get(at) == Some(&b'\r') { (at, Stray::Cr) } else { (at + 1, Stray::Lf) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// One octet at a time, from the definition.
    fn naive(content: &[u8]) -> Option<(u64, Stray)> {
        content.iter().enumerate().find_map(|(at, octet)| match octet {
            b'\r' if content.get(at + 1) != Some(&b'\n') => Some((at as u64, Stray::Cr)),
            b'\n' if at == 0 || content[at - 1] != b'\r' => Some((at as u64, Stray::Lf)),
            _ => None,
        })
    }

    fn in_pieces(content: &[u8], size: usize) -> Option<(u64, Stray)> {
        let mut scanner = StrayScanner::new();
        let found: Vec<_> = content.chunks(size).filter_map(|piece| scanner.scan(piece)).collect();
        found.first().copied().or_else(|| scanner.finish())
    }

    proptest! {
        #[test]
        fn finds_the_first_stray_octet_at_every_cut(content in "[\r\nab]{0,40}") {
            for size in 1..=content.len().max(1) {
                prop_assert_eq!(in_pieces(content.as_bytes(), size), naive(content.as_bytes()));
            }
        }
    }

    #[test]
    fn a_stray_octet_is_found_wherever_it_stands_around_a_block() {
        for at in 0..600 {
            let mut content = [b'x'; 600];
            content[at] = b'\n';
            assert_eq!(in_pieces(&content, content.len()), Some((at as u64, Stray::Lf)));
            content[at] = b'\r';
            assert_eq!(in_pieces(&content, content.len()), Some((at as u64, Stray::Cr)));
        }
    }
}
