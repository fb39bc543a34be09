//! `TOP`: [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7).

use memchr::memchr_iter;

/// Cuts a message after its header, the blank line and a number of lines of its body.
///
/// It works on stored messages, with LF or CRLF, piece by piece. A header that no blank line ends is all there is.
///
/// ```
/// use postrider_pop3_proto::Top;
///
/// let mut top = Top::new(1);
/// assert_eq!(top.take(b"Subject: x\n\none\nt"), b"Subject: x\n\none\n");
/// assert!(top.is_done());
/// ```
#[derive(Clone, Debug)]
pub struct Top {
    lines: u32,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// In the header; whether the present line has an octet other than CR.
    Header {
        blank: bool,
    },
    Body,
    Done,
}

impl Top {
    /// For `lines` lines of the body.
    pub const fn new(lines: u32) -> Self {
        Self { lines, part: Part::Header { blank: true } }
    }

    /// The front of the next piece of the message that belongs to the answer.
    pub fn take<'d>(&mut self, piece: &'d [u8]) -> &'d [u8] {
        if self.part == Part::Done {
            return &[];
        }
        let mut at = 0;
        for end in memchr_iter(b'\n', piece).map(|lf| lf + 1) {
            let line = piece.get(at..end).unwrap_or_default();
            at = end;
            self.line(line);
            if self.part == Part::Done {
                return piece.get(..end).unwrap_or_default();
            }
        }
        self.open_line(piece.get(at..).unwrap_or_default());
        piece
    }

    /// Whether nothing more belongs to the answer.
    pub fn is_done(&self) -> bool {
        self.part == Part::Done
    }

    /// The end of a line, with its LF.
    fn line(&mut self, line: &[u8]) {
        self.part = match self.part {
            Part::Header { blank } if blank && is_blank(line) => {
                if self.lines == 0 {
                    Part::Done
                } else {
                    Part::Body
                }
            }
            Part::Header { .. } => Part::Header { blank: true },
            Part::Body => {
                self.lines -= 1;
                if self.lines == 0 { Part::Done } else { Part::Body }
            }
            Part::Done => Part::Done,
        };
    }

    /// The start of a line whose end is in another piece.
    fn open_line(&mut self, start: &[u8]) {
        if let Part::Header { blank } = &mut self.part {
            *blank &= is_blank(start);
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|octet| matches!(octet, b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn top(message: &[u8], lines: u32, size: usize) -> Vec<u8> {
        let mut top = Top::new(lines);
        message.chunks(size).flat_map(|piece| top.take(piece).to_vec()).collect()
    }

    fn at_every_cut(message: &[u8], lines: u32, expected: &[u8]) {
        for size in 1..=message.len() {
            assert_eq!(top(message, lines, size), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn exactly_the_lines_asked_for_follow_the_header() {
        at_every_cut(b"A: b\r\nC: d\r\n\r\n1\r\n\r\n3\r\n", 0, b"A: b\r\nC: d\r\n\r\n");
        at_every_cut(b"A: b\r\nC: d\r\n\r\n1\r\n\r\n3\r\n", 2, b"A: b\r\nC: d\r\n\r\n1\r\n\r\n");
        at_every_cut(b"A: b\n\n1\n2", 1, b"A: b\n\n1\n");
        at_every_cut(b"A: b\n\n1\n2", u32::MAX, b"A: b\n\n1\n2");
    }

    #[test]
    fn a_message_may_lack_its_header_or_its_body() {
        at_every_cut(b"\n1\n2\n", 1, b"\n1\n");
        at_every_cut(b"A: b\nC: d", 5, b"A: b\nC: d");
        at_every_cut(b"A: b\n", 0, b"A: b\n");
    }
}
