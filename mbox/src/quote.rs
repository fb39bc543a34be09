//! The `>` before body lines that begin with `From `, put in and taken away, in content that comes in any pieces.

use memchr::memmem;

/// How a file keeps text apart from the lines that begin messages.
///
/// | | quotes | unquoting | lengths |
/// |---|---|---|---|
/// | [`Mboxo`](Self::Mboxo) | `From ` | loses: `>From ` may have been so | no |
/// | [`Mboxrd`](Self::Mboxrd) | `From `, `>From `, `>>From `, … | gives what was | no |
/// | [`Mboxcl`](Self::Mboxcl) | as mboxo | loses as mboxo does | `Content-Length` |
/// | [`Mboxcl2`](Self::Mboxcl2) | nothing | there is nothing to do | `Content-Length` |
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Dialect {
    /// What procmail, Python and most programs write.
    Mboxo,
    /// What qmail, maildrop and mailutils write.
    Mboxrd,
    /// mboxo with lengths.
    Mboxcl,
    /// What mutt and Dovecot write.
    Mboxcl2,
}

/// Some octets of the input are done with, and these come out for them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Piece<'b> {
    /// Octets to drop from the front of the input.
    pub consumed: usize,
    /// What comes out.
    pub octets: &'b [u8],
}

/// Puts a `>` before lines that would begin a message.
///
/// ```
/// use postrider_mbox::{Dialect, Quoter};
///
/// let (mut quoter, mut input, mut out) = (Quoter::new(Dialect::Mboxrd), &b"Hello\nFrom me\n>From you\n"[..], Vec::new());
/// while let Some(piece) = quoter.next(input, true) {
///     out.extend_from_slice(piece.octets);
///     input = &input[piece.consumed..];
/// }
/// assert_eq!(out, b"Hello\n>From me\n>>From you\n");
/// ```
#[derive(Clone, Debug)]
pub struct Quoter {
    lines: Lines,
    /// The line at the front of the input has its `>` already.
    quoted: bool,
}

/// Takes away the `>` that a [`Quoter`] has put there: of mboxrd's lines one, of those of mboxo and mboxcl that have just one.
#[derive(Clone, Debug)]
pub struct Unquoter {
    lines: Lines,
}

impl Quoter {
    /// A quoter at the start of a message.
    pub fn new(dialect: Dialect) -> Self {
        Self { lines: Lines::new(dialect), quoted: false }
    }

    /// The next piece of `input`; `None`, if there is none, or more of the input is needed. What was not consumed is to be given again, with more
    /// behind it: five octets at most. `last`: the message ends with it.
    pub fn next<'b>(&mut self, input: &'b [u8], last: bool) -> Option<Piece<'b>> {
        let is_quoted = |dialect, quotes| match dialect {
            Dialect::Mboxo | Dialect::Mboxcl => quotes == 0,
            Dialect::Mboxrd => true,
            Dialect::Mboxcl2 => false,
        };
        let skipped = if self.quoted { FROM.len() } else { 0 };
        let end = match self.lines.find(input, skipped, |dialect, quotes, _| is_quoted(dialect, quotes)) {
            Some(0) => {
                self.quoted = true;
                return Some(Piece { consumed: 0, octets: b">" });
            }
            Some(at) => at,
            None => self.lines.settled(input, last).max(skipped),
        };
        self.quoted = false;
        self.lines.take(input, end).map(|octets| Piece { consumed: end, octets })
    }
}

impl Unquoter {
    /// An unquoter at the start of a message.
    pub fn new(dialect: Dialect) -> Self {
        Self { lines: Lines::new(dialect) }
    }

    /// As [`Quoter::next`]. A piece may be empty.
    pub fn next<'b>(&mut self, input: &'b [u8], last: bool) -> Option<Piece<'b>> {
        let is_unquoted = |dialect, quotes, here| match dialect {
            Dialect::Mboxo | Dialect::Mboxcl => quotes == 1 && here,
            Dialect::Mboxrd => here,
            Dialect::Mboxcl2 => false,
        };
        match self.lines.find(input, 0, is_unquoted) {
            Some(at) => {
                let octets = self.lines.take(input, at)?.split_last().map_or(&b""[..], |(_, octets)| octets);
                Some(Piece { consumed: at, octets })
            }
            None => {
                let end = self.lines.settled(input, last);
                self.lines.take(input, end).map(|octets| Piece { consumed: end, octets })
            }
        }
    }
}

const FROM: &[u8] = b"From ";

/// Finds the lines that begin with any number of `>` and `From `.
#[derive(Clone, Debug)]
struct Lines {
    dialect: Dialect,
    finder: memmem::Finder<'static>,
    /// How many `>` were taken of the line at the front, and nothing else; `None`, if something else was.
    quotes: Option<usize>,
}

impl Lines {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, finder: memmem::Finder::new(FROM), quotes: Some(0) }
    }

    /// Where the `From ` of the first line is that `wanted` is true for, by its number of `>` and whether the last of them is in `input`.
    fn find(&self, input: &[u8], from: usize, wanted: impl Fn(Dialect, usize, bool) -> bool) -> Option<usize> {
        if self.dialect == Dialect::Mboxcl2 {
            return None;
        }
        let mut from = from;
        loop {
            let at = from + self.finder.find(input.get(from..)?)?;
            let before = input.get(..at)?;
            let here = before.iter().rev().take_while(|octet| **octet == b'>').count();
            let taken = match before.get(..at - here)?.last() {
                None => self.quotes,
                Some(octet) => (*octet == b'\n').then_some(0),
            };
            if taken.is_some_and(|taken| wanted(self.dialect, taken + here, here > 0)) {
                return Some(at);
            }
            from = at + FROM.len();
        }
    }

    /// Octets at the front of `input` that cannot become part of such a line's start.
    fn settled(&self, input: &[u8], last: bool) -> usize {
        if last || self.dialect == Dialect::Mboxcl2 {
            return input.len();
        }
        let line = match memchr::memrchr(b'\n', input) {
            Some(end) => end + 1,
            None if self.quotes.is_some() => 0,
            None => return input.len(),
        };
        let rest = input.get(line..).unwrap_or_default();
        let quotes = rest.iter().take_while(|octet| **octet == b'>').count();
        if rest.get(quotes..).is_some_and(|rest| rest.len() < FROM.len() && FROM.starts_with(rest)) {
            // One of them may have to go.
            line + quotes.saturating_sub(1)
        } else {
            input.len()
        }
    }

    /// The first `end` octets; `None`, if that is none.
    fn take<'b>(&mut self, input: &'b [u8], end: usize) -> Option<&'b [u8]> {
        let octets = input.get(..end).filter(|octets| !octets.is_empty())?;
        let (before, line) = match memchr::memrchr(b'\n', octets) {
            Some(at) => (Some(0), octets.get(at + 1..)?),
            None => (self.quotes, octets),
        };
        self.quotes = before.filter(|_| line.iter().all(|octet| *octet == b'>')).map(|quotes| quotes + line.len());
        Some(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Dialect; 4] = [Dialect::Mboxo, Dialect::Mboxrd, Dialect::Mboxcl, Dialect::Mboxcl2];

    /// What comes out of `input`, of which `size` octets more come each time.
    fn run(input: &[u8], size: usize, mut next: impl FnMut(&[u8], bool) -> Option<(usize, Vec<u8>)>) -> Vec<u8> {
        let (mut out, mut at, mut end) = (Vec::new(), 0, input.len().min(size));
        loop {
            match next(&input[at..end], end == input.len()) {
                Some((consumed, octets)) => {
                    at += consumed;
                    out.extend(octets);
                }
                None if end == input.len() => break,
                None => {
                    assert!(end - at <= FROM.len());
                    end = input.len().min(end + size);
                }
            }
        }
        assert_eq!(at, input.len());
        out
    }

    fn quote(dialect: Dialect, input: &[u8], size: usize) -> Vec<u8> {
        let mut quoter = Quoter::new(dialect);
        run(input, size, |input, last| quoter.next(input, last).map(|piece| (piece.consumed, piece.octets.to_vec())))
    }

    fn unquote(dialect: Dialect, input: &[u8], size: usize) -> Vec<u8> {
        let mut unquoter = Unquoter::new(dialect);
        run(input, size, |input, last| unquoter.next(input, last).map(|piece| (piece.consumed, piece.octets.to_vec())))
    }

    /// The definition, line by line.
    fn naive(dialect: Dialect, input: &[u8], put: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for line in input.split_inclusive(|octet| *octet == b'\n') {
            let quotes = line.iter().take_while(|octet| **octet == b'>').count();
            let most = if dialect == Dialect::Mboxrd { usize::MAX } else { 1 };
            let begins = line[quotes..].starts_with(b"From ") && dialect != Dialect::Mboxcl2;
            if put && begins && quotes < most {
                out.push(b'>');
            }
            let cut = usize::from(!put && begins && quotes > 0 && quotes <= most);
            out.extend_from_slice(&line[cut..]);
        }
        out
    }

    proptest! {
        #[test]
        fn lines_are_quoted_and_unquoted_as_defined_however_they_are_cut(
            pieces in proptest::collection::vec(prop_oneof![Just("From "), Just(">"), Just(">>"), Just("\n"), Just("From"), Just("F"), Just("x"), Just("\r\n")], 0..40),
            size in 1..20_usize,
        ) {
            let text = pieces.concat();
            for dialect in ALL {
                prop_assert_eq!(quote(dialect, text.as_bytes(), size), naive(dialect, text.as_bytes(), true));
                prop_assert_eq!(unquote(dialect, text.as_bytes(), size), naive(dialect, text.as_bytes(), false));
            }
            prop_assert_eq!(unquote(Dialect::Mboxrd, &quote(Dialect::Mboxrd, text.as_bytes(), size), size), text.as_bytes());
        }
    }

    #[test]
    fn mboxo_loses_what_mboxrd_keeps() {
        let text = b"From a\n>From b\n>>From c\n";
        assert_eq!(unquote(Dialect::Mboxo, &quote(Dialect::Mboxo, text, 99), 99), b"From a\nFrom b\n>>From c\n");
        assert_eq!(quote(Dialect::Mboxrd, text, 99), b">From a\n>>From b\n>>>From c\n");
        assert_eq!(quote(Dialect::Mboxcl2, text, 99), text);
    }
}
