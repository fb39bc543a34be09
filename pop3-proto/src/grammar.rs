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
    match memchr(b' ', line).and_then(|at| line.split_at_checked(at)) {
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
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, octet| {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
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
    fn numbers_are_written_as_they_are_read() {
        for number in [0, 1, 9, 10, 99, 12_345, u64::MAX] {
            let mut out = Vec::new();
            put_number(number, &mut out);
            assert_eq!(number64(&out), Some(number));
        }
    }
}
