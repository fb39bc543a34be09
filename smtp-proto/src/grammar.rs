//! The productions of [RFC 5321 section 4.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.1) that more than one module reads.
//!
//! A parser takes the front of its input and gives what is left. UTF-8 is taken wherever
//! [RFC 6531 section 3.3](https://www.rfc-editor.org/rfc/rfc6531#section-3.3) allows it; whether it was announced is the session's business.

use core::net::Ipv6Addr;

use memchr::memchr;

use crate::limits::Quirks;

/// The keyword and what follows its space.
pub(crate) fn word(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b' ', line).and_then(|at| line.split_at_checked(at)) {
        Some((word, rest)) => (word, rest.get(1..)),
        None => (line, None),
    }
}

/// Digits only: no sign, no wrapping.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
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

/// The front of `input` of which `is` holds, and the rest.
fn while_octets(input: &[u8], is: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let len = input.iter().position(|octet| !is(*octet)).unwrap_or(input.len());
    input.split_at_checked(len).unwrap_or((input, b""))
}

/// ```abnf
/// atext = ALPHA / DIGIT / "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "/" / "=" / "?" / "^" / "_" / "`" /
///         "{" / "|" / "}" / "~" / UTF8-non-ascii
/// ```
///
/// [RFC 5322 section 3.2.3](https://www.rfc-editor.org/rfc/rfc5322#section-3.2.3), [RFC 6531 section 3.3](https://www.rfc-editor.org/rfc/rfc6531#section-3.3).
const fn is_atext(octet: u8) -> bool {
    match octet {
        b'"' | b'(' | b')' | b',' | b'.' | b':' | b';' | b'<' | b'>' | b'@' | b'[' | b'\\' | b']' | 0x7F => false,
        _ => octet > b' ',
    }
}

/// ```abnf
/// Local-part = Dot-string / Quoted-string
/// ```
pub(crate) fn local_part(input: &[u8]) -> Option<(&[u8], &[u8])> {
    if input.first() == Some(&b'"') { quoted_string(input) } else { dot_string(input) }
}

/// ```abnf
/// Dot-string = Atom *("." Atom)
/// ```
fn dot_string(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (string, rest) = while_octets(input, |octet| is_atext(octet) || octet == b'.');
    let atoms = !string.is_empty() && !string.starts_with(b".") && !string.ends_with(b".");
    let doubled = string.windows(2).any(|pair| pair == b"..");
    (atoms && !doubled && is_utf8(string)).then_some((string, rest))
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
///
/// A label has at most 63 octets ([RFC 1035 section 2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)).
pub(crate) fn domain(input: &[u8], quirks: Quirks) -> Option<(&[u8], &[u8])> {
    let underscore = quirks.underscore_in_domain;
    let (domain, rest) = while_octets(input, |octet| {
        octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.') || octet >= 0x80 || underscore && octet == b'_'
    });
    let label = |label: &[u8]| matches!(label.len(), 1..=63) && !label.starts_with(b"-") && !label.ends_with(b"-");
    let sound = domain.split(|octet| *octet == b'.').all(label) && is_utf8(domain);
    sound.then_some((domain, rest))
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
    let (literal, rest) = input.split_at_checked(memchr(b']', input)? + 1)?;
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
    let Some(at) = memchr(b':', inner) else { return false };
    let (tag, content) = (inner.get(..at).unwrap_or_default(), inner.get(at + 1..).unwrap_or_default());
    let is_tag = tag.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
        && tag.last().is_some_and(u8::is_ascii_alphanumeric);
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
/// esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
/// esmtp-value   = 1*(%d33-60 / %d62-126 / UTF8-non-ascii)
/// ```
pub(crate) fn is_parameter(keyword: &[u8], value: Option<&[u8]>) -> bool {
    let is_value = |value: &[u8]| {
        !value.is_empty() && value.iter().all(|octet| matches!(octet, 33..=60 | 62..=126 | 128..)) && is_utf8(value)
    };
    is_keyword(keyword) && value.is_none_or(is_value)
}

/// ```abnf
/// esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
/// ```
pub(crate) fn is_keyword(keyword: &[u8]) -> bool {
    keyword.first().is_some_and(u8::is_ascii_alphanumeric)
        && keyword.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
}

pub(crate) fn is_utf8(octets: &[u8]) -> bool {
    octets.is_ascii() || core::str::from_utf8(octets).is_ok()
}
