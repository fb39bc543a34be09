//! The productions of [RFC 5321 section 4.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.1) that more than one module reads.
//!
//! A parser takes the front of its input and gives what is left. UTF-8 is taken wherever
//! [RFC 6531 section 3.3](https://www.rfc-editor.org/rfc/rfc6531#section-3.3) allows it; whether it was announced is the session's business.

mod mailbox;
mod octets;

use core::net::Ipv6Addr;

pub(crate) use self::mailbox::is_plain_mailbox;
pub(crate) use self::octets::{Class, all, find, is_name, run, short_name};
use crate::limits::Quirks;

/// The keyword and what follows its space.
#[inline(always)]
pub(crate) fn word(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    split_once(line, b' ')
}

/// What stands before the first such octet, and what after it.
#[inline(always)]
pub(crate) fn split_once(input: &[u8], octet: u8) -> (&[u8], Option<&[u8]>) {
    match find(input, octet).and_then(|at| input.split_at_checked(at)) {
        Some((before, rest)) => (before, rest.get(1..)),
        None => (input, None),
    }
}

/// Digits only: no sign, no wrapping.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if matches!(digits.len(), 1..=19) {
        // They cannot come to more than 64 bits, if all are digits.
        let (number, sound) = digits.iter().fold((0_u64, true), |(number, sound), octet| {
            let digit = octet.wrapping_sub(b'0');
            (number.wrapping_mul(10).wrapping_add(u64::from(digit)), sound & (digit <= 9))
        });
        return sound.then_some(number);
    }
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

/// ```abnf
/// Local-part = Dot-string / Quoted-string
/// ```
#[inline]
pub(crate) fn local_part(input: &[u8]) -> Option<(&[u8], &[u8])> {
    if input.first() == Some(&b'"') { quoted_string(input) } else { dot_string(input) }
}

/// ```abnf
/// Dot-string = Atom *("." Atom)
/// Atom       = 1*atext
/// atext      =/ UTF8-non-ascii
/// ```
#[inline]
fn dot_string(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        let len = run(input.get(at..)?, Class::ATEXT);
        at += len;
        match input.get(at) {
            Some(0x80..) => return dotted_utf8(input, Class::ATEXT, |atom| !atom.is_empty()),
            _ if len == 0 => return None,
            Some(b'.') => at += 1,
            _ => return input.split_at_checked(at),
        }
    }
}

/// Parts with a dot between each and the next, of a class and UTF-8.
#[cold]
fn dotted_utf8(input: &[u8], class: Class, is: impl Fn(&[u8]) -> bool) -> Option<(&[u8], &[u8])> {
    let ends = |octet: &u8| !class.has(*octet) && !matches!(octet, b'.' | 0x80..);
    let (all, rest) = input.split_at_checked(input.iter().position(ends).unwrap_or(input.len()))?;
    (all.split(|octet| *octet == b'.').all(is) && is_utf8(all)).then_some((all, rest))
}

/// ```abnf
/// Quoted-string    = DQUOTE *QcontentSMTP DQUOTE
/// QcontentSMTP     = qtextSMTP / quoted-pairSMTP
/// quoted-pairSMTP  = %d92 %d32-126
/// qtextSMTP        = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
/// ```
fn quoted_string(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 1;
    loop {
        match *input.get(at)? {
            b'"' => break,
            b'\\' if matches!(input.get(at + 1)?, 32..=126) => at += 2,
            b'\\' | 0..=31 | 127 => return None,
            _ => at += 1,
        }
    }
    let (string, rest) = input.split_at_checked(at + 1)?;
    is_utf8(string).then_some((string, rest))
}

/// ```abnf
/// Domain      = sub-domain *("." sub-domain)
/// sub-domain  = Let-dig [Ldh-str] / U-label
/// ```
#[inline]
pub(crate) fn domain(input: &[u8], quirks: Quirks) -> Option<(&[u8], &[u8])> {
    let class = if quirks.underscore_in_domain { Class::LET_DIG_HYPHEN_UNDERSCORE } else { Class::LET_DIG_HYPHEN };
    let mut at = 0;
    loop {
        let rest = input.get(at..)?;
        let len = run(rest, class);
        at += len;
        match input.get(at) {
            Some(0x80..) => return dotted_utf8(input, class, is_label),
            _ if !is_label(rest.get(..len)?) => return None,
            Some(b'.') => at += 1,
            _ => return input.split_at_checked(at),
        }
    }
}

/// A label has at most 63 octets ([RFC 1035 section 2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)), and letters and digits at its ends.
#[inline]
fn is_label(label: &[u8]) -> bool {
    matches!(label.len(), 1..=63) && !label.starts_with(b"-") && !label.ends_with(b"-")
}

/// ```abnf
/// address-literal         = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"
/// General-address-literal = Standardized-tag ":" 1*dcontent
/// dcontent                = %d33-90 / %d94-126
/// ```
pub(crate) fn address_literal(input: &[u8]) -> Option<(&[u8], &[u8])> {
    if input.first() != Some(&b'[') {
        return None;
    }
    let (literal, rest) = input.split_at_checked(find(input, b']')? + 1)?;
    let inner = literal.get(1..literal.len() - 1)?;
    let sound = ipv4(inner).is_some() || ipv6(inner).is_some() || is_general(inner);
    sound.then_some((literal, rest))
}

/// ```abnf
/// IPv4-address-literal = Snum 3("." Snum)
/// Snum                 = 1*3DIGIT    ; 0 through 255
/// ```
pub(crate) fn ipv4(inner: &[u8]) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let mut parts = inner.split(|octet| *octet == b'.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() <= 3)?;
        *octet = u8::try_from(number(part)?).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

/// ```abnf
/// IPv6-address-literal = "IPv6:" IPv6-addr
/// ```
pub(crate) fn ipv6(inner: &[u8]) -> Option<Ipv6Addr> {
    let (tag, address) = inner.split_at_checked(5)?;
    if !tag.eq_ignore_ascii_case(b"IPv6:") {
        return None;
    }
    core::str::from_utf8(address).ok()?.parse().ok()
}

fn is_general(inner: &[u8]) -> bool {
    let (tag, Some(content)) = split_once(inner, b':') else { return false };
    let is_tag = all(tag, Class::LET_DIG_HYPHEN) && tag.last().is_some_and(u8::is_ascii_alphanumeric);
    is_tag
        && !tag.eq_ignore_ascii_case(b"IPv6")
        && !content.is_empty()
        && content.iter().all(|octet| matches!(octet, 33..=90 | 94..=126))
}

/// ```abnf
/// A-d-l     = At-domain *( "," At-domain )
/// At-domain = "@" Domain
/// ```
///
/// With the colon that follows it in a path; empty when there is none.
pub(crate) fn source_route(input: &[u8], quirks: Quirks) -> Option<(&[u8], &[u8])> {
    if input.first() != Some(&b'@') {
        return Some((b"", input));
    }
    let mut rest = input;
    loop {
        (_, rest) = domain(rest.strip_prefix(b"@")?, quirks)?;
        match rest.split_first()? {
            (b',', after) => rest = after,
            (b':', after) => return input.split_at_checked(input.len() - after.len()),
            _ => return None,
        }
    }
}

/// ```abnf
/// esmtp-param   = esmtp-keyword ["=" esmtp-value]
/// ```
pub(crate) fn is_parameter(keyword: &[u8], value: Option<&[u8]>) -> bool {
    is_keyword(keyword) && value.is_none_or(is_value)
}

/// ```abnf
/// esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
/// ```
pub(crate) fn is_keyword(keyword: &[u8]) -> bool {
    keyword.first().is_some_and(u8::is_ascii_alphanumeric) && all(keyword, Class::LET_DIG_HYPHEN)
}

/// ```abnf
/// esmtp-value   = 1*(%d33-60 / %d62-126 / UTF8-non-ascii)
/// ```
fn is_value(value: &[u8]) -> bool {
    !value.is_empty() && all_or_utf8(value, Class::VALUE)
}

/// Whether all octets are of the class, or UTF-8 that is not ASCII.
#[inline]
pub(crate) fn all_or_utf8(octets: &[u8], class: Class) -> bool {
    all(octets, class)
        || octets.iter().all(|octet| class.has(*octet) || *octet >= 0x80) && core::str::from_utf8(octets).is_ok()
}

fn is_utf8(octets: &[u8]) -> bool {
    octets.is_ascii() || core::str::from_utf8(octets).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The grammar read once more: the longest front of these octets, parted at its dots.
    fn dotted(input: &[u8], is: impl Fn(u8) -> bool, is_part: impl Fn(&[u8]) -> bool) -> Option<(&[u8], &[u8])> {
        let len = input.iter().take_while(|octet| is(**octet) || **octet == b'.' || **octet >= 0x80).count();
        let (front, rest) = input.split_at(len);
        (front.split(|octet| *octet == b'.').all(is_part) && core::str::from_utf8(front).is_ok())
            .then_some((front, rest))
    }

    fn is_atext(octet: u8) -> bool {
        octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet)
    }

    fn is_naive_label(label: &[u8]) -> bool {
        (1..=63).contains(&label.len()) && label.first() != Some(&b'-') && label.last() != Some(&b'-')
    }

    fn naive_domain(input: &[u8], underscore: bool) -> Option<(&[u8], &[u8])> {
        let is = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || underscore && octet == b'_';
        dotted(input, is, is_naive_label)
    }

    fn naive_dot_string(input: &[u8]) -> Option<(&[u8], &[u8])> {
        dotted(input, is_atext, |atom| !atom.is_empty())
    }

    proptest! {
        #[test]
        fn domains_and_dot_strings_are_read_as_the_grammar_says(
            input in "[a-c.@_>-]{0,12}|[a-z]{60,66}(\\.[a-z]{60,66})?|[a.\u{e9}@-]{0,8}", cut: usize, underscore: bool
        ) {
            let mut octets = input.as_bytes();
            // A character may be cut in two.
            octets = octets.get(..octets.len() - cut % (octets.len() + 1)).unwrap_or(octets);
            let quirks = Quirks { underscore_in_domain: underscore, ..Quirks::default() };
            prop_assert_eq!(domain(octets, quirks), naive_domain(octets, underscore));
            prop_assert_eq!(dot_string(octets), naive_dot_string(octets));
        }

        #[test]
        fn the_automaton_takes_what_the_productions_take(input in "[a-c+.@-]{0,12}|[a-z.]{1,6}@[a-z.-]{1,8}|[ -~\u{e9}]{0,10}") {
            let productions = |input: &[u8]| {
                let (_, rest) = naive_dot_string(input)?;
                let (_, rest) = naive_domain(rest.strip_prefix(b"@")?, false)?;
                rest.is_empty().then_some(())
            };
            let expected = input.is_ascii() && productions(input.as_bytes()).is_some();
            prop_assert_eq!(is_plain_mailbox(input.as_bytes()), expected);
        }
    }
}
