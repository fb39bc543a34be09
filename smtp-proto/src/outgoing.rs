//! The message as a client sends it: its line ends, and for `DATA` its dots.

use alloc::vec::Vec;

use memchr::memchr;
use postrider_text_proto::{Stray, StrayScanner, Stuffer};

use crate::error::Misuse;
use crate::limits::LineEndings;

/// A message on its way out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    stuffer: Stuffer,
    crlf: Crlf,
    strays: StrayScanner,
    /// The first line end that is refused.
    fault: Option<(u64, Stray)>,
    /// A CR whose next octet has not come.
    held_cr: bool,
}

impl Outgoing {
    /// Appends a piece for `DATA`.
    pub(crate) fn stuff(&mut self, content: &[u8], endings: LineEndings, out: &mut Vec<u8>) -> Result<(), Misuse> {
        if endings == LineEndings::Reject {
            self.check(content, false)?;
        }
        if endings == LineEndings::Normalise {
            without_cr(content, &mut self.held_cr, |part| self.stuffer.stuff(part, out));
        } else {
            self.stuffer.stuff(content, out);
        }
        Ok(())
    }

    /// Appends the end of `DATA`.
    pub(crate) fn finish(&mut self, endings: LineEndings, out: &mut Vec<u8>) -> Result<(), Misuse> {
        if endings == LineEndings::Reject {
            self.check(b"", true)?;
        }
        if core::mem::take(&mut self.held_cr) {
            self.stuffer.stuff(b"\n", out);
        }
        self.stuffer.finish(out);
        *self = Self::default();
        Ok(())
    }

    /// Whether a piece shows a CR or LF that is not part of a CRLF. A message with such a hole must not end.
    pub(crate) fn check(&mut self, content: &[u8], last: bool) -> Result<(), Misuse> {
        self.fault = self.fault.or(self.strays.scan(content));
        if last {
            self.fault = self.fault.or(self.strays.finish());
        }
        self.fault.map_or(Ok(()), |(at, stray)| Err(Misuse::LineEnding { stray, at }))
    }

    /// Appends a piece for `BDAT`: LF alone becomes CRLF, and, to be normalised, CR alone too.
    pub(crate) fn lines(&mut self, content: &[u8], last: bool, endings: LineEndings, out: &mut Vec<u8>) {
        if endings == LineEndings::Normalise {
            without_cr(content, &mut self.held_cr, |part| self.crlf.put(part, out));
            if last && core::mem::take(&mut self.held_cr) {
                self.crlf.put(b"\n", out);
            }
        } else {
            self.crlf.put(content, out);
        }
    }
}

/// Hands `content` on without its CRs: one goes where an LF follows it, and becomes LF where none does.
fn without_cr(content: &[u8], held_cr: &mut bool, mut put: impl FnMut(&[u8])) {
    let Some(first) = content.first() else { return };
    if core::mem::take(held_cr) && *first != b'\n' {
        put(b"\n");
    }
    let mut rest = content;
    while let Some((line, after)) = memchr(b'\r', rest).and_then(|at| rest.split_at_checked(at)) {
        put(line);
        rest = after.get(1..).unwrap_or_default();
        match rest.first() {
            None => *held_cr = true,
            Some(b'\n') => {}
            Some(_) => put(b"\n"),
        }
    }
    put(rest);
}

/// Makes each LF that follows no CR a CRLF.
#[derive(Clone, Debug, Default)]
struct Crlf {
    after_cr: bool,
}

impl Crlf {
    fn put(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let mut rest = content;
        while let Some((line, after)) = memchr(b'\n', rest).and_then(|at| rest.split_at_checked(at)) {
            self.put_line(line, out);
            if !core::mem::take(&mut self.after_cr) {
                out.push(b'\r');
            }
            out.push(b'\n');
            rest = after.get(1..).unwrap_or_default();
        }
        self.put_line(rest, out);
    }

    fn put_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(line);
        self.after_cr = line.last().map_or(self.after_cr, |last| *last == b'\r');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(content: &[u8], size: usize, endings: LineEndings) -> Vec<u8> {
        let (mut outgoing, mut out) = (Outgoing::default(), Vec::new());
        content.chunks(size).for_each(|piece| outgoing.lines(piece, false, endings, &mut out));
        outgoing.lines(b"", true, endings, &mut out);
        out
    }

    #[test]
    fn line_ends_of_chunks_become_crlf_however_they_are_cut() {
        let content = b"\na\r\n.\rb\r\r\nc\n\nd\r";
        for size in 1..=content.len() {
            assert_eq!(lines(content, size, LineEndings::Normalise), b"\r\na\r\n.\r\nb\r\n\r\nc\r\n\r\nd\r\n");
            assert_eq!(lines(content, size, LineEndings::Note), b"\r\na\r\n.\rb\r\r\nc\r\n\r\nd\r");
        }
    }
}
