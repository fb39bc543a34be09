//! Octets as JSON, without loss.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A string, if they are UTF-8; otherwise `{"base64": "…"}`.
#[must_use]
pub fn json(octets: &[u8]) -> Value {
    match std::str::from_utf8(octets) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(octets) }),
    }
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    use std::fmt::Write;
    octets.iter().fold(String::new(), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Octets on one line of a terminal: what could move the cursor is escaped.
#[must_use]
pub fn shown(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets)
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf_8_can_be_told_from_text_and_had_again() {
        assert_eq!(json("ä\\x".as_bytes()), "ä\\x");
        assert_eq!(json(b"\xff\x00"), json!({ "base64": "/wA=" }));
        assert_eq!((hex(b"\x0f\xa0"), shown(b"a\x1b[2J\n")), ("0fa0".to_owned(), "a\\u{1b}[2J\\n".to_owned()));
    }
}
