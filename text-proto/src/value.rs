//! What the values of the protocols have in common.

use core::fmt;

use thiserror::Error;

/// A value that does not follow its grammar.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected {expected}")]
pub struct ValueError {
    /// What is allowed.
    pub expected: &'static str,
}

/// Octets from a peer, shown: UTF-8 as it is, anything else and control characters escaped, so that they are harmless in a log and on a terminal.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for part in chunk.valid().split_inclusive(char::is_control) {
                let text = part.trim_end_matches(char::is_control);
                f.write_str(text)?;
                write!(f, "{}", part.get(text.len()..).unwrap_or_default().escape_default())?;
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

/// In quotes.
impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn what_a_peer_says_cannot_move_the_cursor() {
        assert_eq!(
            Escaped("gr\u{fc}n \x1b[31m\r\n\u{85}".as_bytes()).to_string(),
            "gr\u{fc}n \\u{1b}[31m\\r\\n\\u{85}"
        );
        assert_eq!(Escaped(b"\xff\0").to_string(), "\\xff\\u{0}");
    }
}
