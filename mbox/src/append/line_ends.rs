//! LF, CRLF, and one made from the other.

use std::io::{self, Read};

/// How lines end.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum LineEnd {
    /// CR LF.
    Crlf,
    /// LF.
    #[default]
    Lf,
}

impl LineEnd {
    /// Its octets.
    pub const fn octets(self) -> &'static [u8] {
        match self {
            Self::Crlf => b"\r\n",
            Self::Lf => b"\n",
        }
    }
}

/// Gives what a source gives, with these line ends. A CR that is not before an LF stays.
#[derive(Debug)]
pub(super) struct Converted<R> {
    source: R,
    line_end: LineEnd,
    /// What was read, and is not given yet.
    input: Box<[u8]>,
    filled: std::ops::Range<usize>,
    /// A CR was taken, and not given yet: what comes next decides.
    cr: bool,
    /// An LF has to be given first: its CR was.
    lf: bool,
    ended: bool,
}

impl<R: Read> Converted<R> {
    pub(super) fn new(source: R, line_end: LineEnd) -> Self {
        let input = vec![0; 16 * 1024].into();
        Self { source, line_end, input, filled: 0..0, cr: false, lf: false, ended: false }
    }

    /// Gives octets up to the next CR or LF, as many as there is room for. How many.
    fn run(&mut self, room: &mut [u8]) -> usize {
        let input = self.input.get(self.filled.clone()).filter(|_| !self.cr && !self.lf).unwrap_or_default();
        let len = memchr::memchr2(b'\r', b'\n', input).unwrap_or(input.len()).min(room.len());
        if let (Some(place), Some(octets)) = (room.get_mut(..len), input.get(..len)) {
            place.copy_from_slice(octets);
        }
        self.filled.start += len;
        len
    }

    /// The next octet to give.
    fn octet(&mut self) -> Option<u8> {
        if std::mem::take(&mut self.lf) {
            return Some(b'\n');
        }
        loop {
            let next = self.input.get(self.filled.clone()).and_then(|input| input.first().copied());
            if self.cr && (next.is_some_and(|next| next != b'\n') || (next.is_none() && self.ended)) {
                self.cr = false;
                return Some(b'\r');
            }
            let octet = next?;
            self.filled.start += 1;
            match (octet, self.line_end) {
                (b'\r', _) => self.cr = true,
                (b'\n', LineEnd::Lf) => {
                    self.cr = false;
                    return Some(b'\n');
                }
                (b'\n', LineEnd::Crlf) => {
                    (self.cr, self.lf) = (false, true);
                    return Some(b'\r');
                }
                _ => return Some(octet),
            }
        }
    }
}

impl<R: Read> Read for Converted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut len = 0;
        while let Some(room) = buffer.get_mut(len..).filter(|room| !room.is_empty()) {
            let run = self.run(room);
            len += run;
            if run > 0 {
                continue;
            }
            if let (Some(octet), Some(place)) = (self.octet(), room.first_mut()) {
                *place = octet;
                len += 1;
            } else if len > 0 || self.ended {
                break;
            } else {
                let more = self.source.read(&mut self.input)?;
                (self.filled, self.ended) = (0..more, more == 0);
            }
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(buffer.len()).min(self.0.len());
            let (now, rest) = self.0.split_at(len);
            buffer[..len].copy_from_slice(now);
            self.0 = rest;
            Ok(len)
        }
    }

    proptest! {
        #[test]
        fn line_ends_become_those_wanted_however_octets_come(text in "[a\r\n]{0,20}", size in 1..5_usize, room in 1..5_usize) {
            for (line_end, expected) in [
                (LineEnd::Lf, text.replace("\r\n", "\n")),
                (LineEnd::Crlf, text.replace("\r\n", "\n").replace('\n', "\r\n")),
            ] {
                let mut converted = Converted::new(Pieces(text.as_bytes(), size), line_end);
                let (mut out, mut buffer) = (Vec::new(), vec![0; room]);
                loop {
                    let len = converted.read(&mut buffer).unwrap();
                    if len == 0 {
                        break;
                    }
                    out.extend_from_slice(&buffer[..len]);
                }
                prop_assert_eq!(out, expected.as_bytes());
            }
        }
    }
}
