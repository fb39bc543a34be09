//! The productions of [RFC 1939](https://www.rfc-editor.org/rfc/rfc1939), [RFC 2449 section 3](https://www.rfc-editor.org/rfc/rfc2449#section-3)
//! and their extensions that more than one module reads.
//!
//! Lines of POP3 are words parted by single spaces; slices and `match` say that more plainly than combinators.

use alloc::vec::Vec;

use memchr::{memchr, memrchr};

/// ```abnf
/// command = keyword *(SP param) CRLF
/// ```
///
/// The keyword and what follows its space.
pub(crate) fn word(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    // Words are short: starting a search with SIMD costs more than it saves.
    match line.iter().position(|octet| *octet == b' ').and_then(|at| line.split_at_checked(at)) {
        Some((word, rest)) => (word, rest.get(1..)),
        None => (line, None),
    }
}

/// The last word and what stands before its space.
pub(crate) fn last_word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, word) = line.split_at_checked(memrchr(b' ', line)?)?;
    Some((before, word.get(1..)?))
}

/// Digits only: no sign, no space, no wrapping.
pub(crate) fn number64(digits: &[u8]) -> Option<u64> {
    match leading_number(digits)? {
        (number, []) => Some(number),
        _ => None,
    }
}

/// The digits at the front of `input`, at least one, and what follows them.
#[inline]
pub(crate) fn leading_number(input: &[u8]) -> Option<(u64, &[u8])> {
    let len = input.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(input.len());
    let (digits, rest) = input.split_at_checked(len).filter(|_| len > 0)?;
    let add = |number: u64, digit: &u8| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
    // Up to 19 digits always fit.
    if len < 20 {
        return Some((digits.iter().fold(0, add), rest));
    }
    let number =
        digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    Some((number?, rest))
}

/// ```abnf
/// scan-listing = msg SP octets
/// ```
///
/// What stands behind a further space is dropped.
#[inline]
pub(crate) fn two_numbers(line: &[u8]) -> Option<(u64, u64)> {
    two_short_numbers(line).or_else(|| {
        let (first, rest) = leading_number(line)?;
        let (second, rest) = leading_number(rest.strip_prefix(b" ")?)?;
        matches!(rest, [] | [b' ', ..]).then_some((first, second))
    })
}

/// The same, eight octets at a time: a listing has a line for each message. None says nothing.
#[inline]
fn two_short_numbers(line: &[u8]) -> Option<(u64, u64)> {
    let (first, last) = (digits_of(*line.first_chunk()?), digits_of(*line.last_chunk()?));
    let at = leading_digits(first);
    let unused = (at as usize + 9).checked_sub(line.len())?;
    if !matches!((at, unused), (1..8, 0..8)) || line.get(at as usize) != Some(&b' ') {
        return None;
    }
    let last = last >> (8 * unused) << (8 * unused);
    if leading_digits(last) < 8 {
        return None;
    }
    Some((number_of(first << (64 - 8 * at)), number_of(last)))
}

/// Eight octets, the first in the lowest place; digits become their values.
#[inline]
const fn digits_of(octets: [u8; 8]) -> u64 {
    u64::from_le_bytes(octets) ^ 0x3030_3030_3030_3030
}

/// How many of the octets are digits before the first that is none.
#[inline]
const fn leading_digits(word: u64) -> u32 {
    // A mark may be wrong above the lowest, never below it.
    let marks = (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
    marks.trailing_zeros() / 8
}

/// The number of eight digits: neighbours are joined, to pairs, to fours, to eight.
#[inline]
const fn number_of(word: u64) -> u64 {
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// Octets from 0x21 to 0x7E only. Without an early end, so that it is compiled to vector code.
pub(crate) fn is_graphic(octets: &[u8]) -> bool {
    octets.iter().fold(true, |all, octet| all & octet.is_ascii_graphic())
}

pub(crate) fn number32(digits: &[u8]) -> Option<u32> {
    u32::try_from(number64(digits)?).ok()
}

/// Appends a number in digits.
#[inline]
pub(crate) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        // A remainder of 10 fits an octet.
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.last_chunk::<20>().and_then(|all| all.get(20 - used..)).unwrap_or_default());
}

/// ```abnf
/// timestamp = "<" *VCHAR ">"    ; MUST conform to RFC-822 msg-id
/// ```
pub(crate) fn is_timestamp(octets: &[u8]) -> bool {
    let [b'<', inner @ .., b'>'] = octets else { return false };
    let Some(at) = memchr(b'@', inner) else { return false };
    let (left, right) = (inner.get(..at).unwrap_or_default(), inner.get(at + 1..).unwrap_or_default());
    let sound = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'<' | b'>' | b'@'))
    };
    sound(left) && sound(right)
}

pub(crate) const fn lower_hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_that_fit() {
        assert_eq!(number64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number32(b"4294967295"), Some(u32::MAX));
        assert_eq!(number32(b"007"), Some(7));
        for bad in ["", "-1", "+1", " 1", "1 ", "1x", "4294967296", "18446744073709551617", "\u{ff11}"] {
            assert_eq!(number32(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(number64(&[b'9'; 10_000]), None);
    }

    #[test]
    fn two_numbers_are_the_same_read_in_words_and_octet_by_octet() {
        for first in (0..9).map(|digits| 10_u64.pow(digits) * 7 / 3) {
            for second in (0..19).map(|digits| 10_u64.pow(digits) * 8 / 3) {
                let line = alloc::format!("{first} {second}");
                assert_eq!(two_numbers(line.as_bytes()), Some((first, second)), "{line}");
                let more = alloc::format!("{line} more");
                assert_eq!(two_numbers(more.as_bytes()), Some((first, second)), "{more}");
                for (at, octet) in
                    (0..line.len()).flat_map(|at| [b'/', b':', b' ', 0, 0x80, 0xff].map(|octet| (at, octet)))
                {
                    let mut bad = line.clone().into_bytes();
                    bad[at] = octet;
                    let slow = leading_number(&bad).and_then(|(first, rest)| {
                        let (second, rest) = leading_number(rest.strip_prefix(b" ")?)?;
                        matches!(rest, [] | [b' ', ..]).then_some((first, second))
                    });
                    assert_eq!(two_numbers(&bad), slow, "{}", bad.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for number in [0, 1, 9, 10, 99, 12_345, u64::MAX] {
            let mut out = Vec::new();
            put_number(number, &mut out);
            assert_eq!(number64(&out), Some(number));
        }
    }
}
