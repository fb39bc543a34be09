//! Names of folders in the modified UTF-7 of [RFC 3501 section 5.1.3](https://www.rfc-editor.org/rfc/rfc3501#section-5.1.3), as Dovecot has them on disk.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// A name of text in modified UTF-7; octets that are no UTF-8 stay as they are.
#[must_use]
pub fn encode(name: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(name) else { return name.to_vec() };
    let (mut out, mut shifted) = (String::new(), Vec::new());
    for c in text.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut shifted, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            shifted.extend(c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut shifted, &mut out);
    out.into_bytes()
}

fn flush(shifted: &mut Vec<u8>, out: &mut String) {
    if !shifted.is_empty() {
        out.push('&');
        out.push_str(&BASE64.encode(std::mem::take(shifted)));
        out.push('-');
    }
}

/// The text of a name, if it is one in modified UTF-7 as [`encode`] would write it; otherwise the name as it is.
#[must_use]
pub fn decode(name: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(name).ok().and_then(decoded);
    text.filter(|text| encode(text.as_bytes()) == name).map_or_else(|| name.to_vec(), String::into_bytes)
}

fn decoded(mut name: &str) -> Option<String> {
    let mut out = String::new();
    while let Some((before, behind)) = name.split_once('&') {
        let (shifted, rest) = behind.split_once('-')?;
        out.push_str(before);
        if shifted.is_empty() {
            out.push('&');
        } else {
            let octets = BASE64.decode(shifted).ok()?;
            let units = octets.chunks(2).map(|pair| <[u8; 2]>::try_from(pair).ok().map(u16::from_be_bytes));
            out.push_str(&String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()?);
        }
        name = rest;
    }
    out.push_str(name);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for (text, name) in [
            ("Tom & Jerry", "Tom &- Jerry"),
            ("日本語", "&ZeVnLIqe-"),
            ("a😀b", "a&2D3eAA-b"),
            ("", ""),
            ("plain", "plain"),
        ] {
            assert_eq!(encode(text.as_bytes()), name.as_bytes());
            assert_eq!(decode(name.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn what_is_none_stays_as_it_is() {
        for name in ["R&D", "a&b-", "日本", "&AGE-", "&ZeU", "&-&"] {
            assert_eq!(decode(name.as_bytes()), name.as_bytes(), "{name}");
        }
        assert_eq!(encode(b"\xff&"), b"\xff&");
    }
}
