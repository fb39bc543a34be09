//! The end of a file, and what is missing there.

use std::fs::File;
use std::path::Path;

use crate::append::line_ends::LineEnd;
use crate::error::{Error, Operation};
use crate::reader::Source;

/// Where a file ends, and what has to be put there before a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct End {
    /// Its length.
    pub(super) at: u64,
    /// Line ends up to and with a blank line.
    pub(super) missing: usize,
    /// How its lines end.
    pub(super) line_end: LineEnd,
}

/// A `From ` line is not longer.
const LINE: usize = 1_100;

impl End {
    pub(super) fn of(file: &File, path: &Path, len: u64, empty: LineEnd) -> Result<Self, Error> {
        if len == 0 {
            return Ok(Self { at: 0, missing: 0, line_end: empty });
        }
        let read = |at, buffer: &mut [u8]| {
            let read = file.look(at, buffer).map_err(|source| Error::io(Operation::Read, path, source))?;
            Ok(read.unwrap_or_default())
        };
        let mut first = [0; LINE];
        let read_first = read(0, &mut first)?;
        let mut last = [0; 3];
        let read_last = read(len.saturating_sub(3), &mut last)?;
        Ok(Self {
            at: len,
            missing: missing(last.get(..read_last).unwrap_or_default()),
            line_end: line_end(first.get(..read_first).unwrap_or_default()),
        })
    }
}

/// `last`: the last three octets, or all.
fn missing(last: &[u8]) -> usize {
    match last {
        [.., b'\n', b'\n'] | [b'\n', b'\r', b'\n'] | [b'\n'] | [b'\r', b'\n'] => 0,
        [.., b'\n'] => 1,
        _ => 2,
    }
}

fn line_end(first: &[u8]) -> LineEnd {
    let line = first.split_inclusive(|octet| *octet == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r\n") { LineEnd::Crlf } else { LineEnd::Lf }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_line_is_counted_out_to() {
        for (content, expected) in [
            ("x", 2),
            ("x\r", 2),
            ("x\n", 1),
            ("x\r\n", 1),
            ("x\n\n", 0),
            ("x\r\n\r\n", 0),
            ("x\n\r\n", 0),
            ("x\n\n\n", 0),
            ("\n", 0),
            ("\r\n", 0),
            ("\0\0\0\0", 2),
        ] {
            let last = &content.as_bytes()[content.len().saturating_sub(3)..];
            assert_eq!(missing(last), expected, "{content:?}");
        }
    }

    #[test]
    fn lines_end_as_the_first_does() {
        assert_eq!(line_end(b"From a\r\nx\n"), LineEnd::Crlf);
        for content in [&b"From a\nx\r\n"[..], b"From a", b"\n"] {
            assert_eq!(line_end(content), LineEnd::Lf);
        }
    }
}
