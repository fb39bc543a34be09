//! Which dialect a file is written in, from what its bodies hold.

use memchr::memmem;

use crate::quote::Dialect;
use crate::splitter::Length;

/// What speaks for a dialect: how often things were seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Evidence {
    /// Messages.
    pub messages: u64,
    /// Those whose `Content-Length` is right.
    pub lengths: u64,
    /// Body lines that begin with `From `.
    pub bare: u64,
    /// Body lines that begin with `>From `.
    pub quoted: u64,
    /// Body lines that begin with more than one `>` and `From `.
    pub requoted: u64,
}

/// How much speaks for a dialect.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Certainty {
    /// Others explain the file as well, and read other text from it.
    Guess,
    /// Others are possible, and read other text from it.
    Likely,
    /// No other explains the file, or all of them read the same from it.
    Certain,
}

/// A dialect, and how much speaks for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Detected {
    /// The one that fits best.
    pub dialect: Dialect,
    /// How sure that is.
    pub certainty: Certainty,
}

impl Evidence {
    /// What the counts say.
    ///
    /// | lengths are right | body lines | dialect | certainty |
    /// |---|---|---|---|
    /// | for most messages | some begin with `From ` | mboxcl2 | certain |
    /// | for most messages | some begin with `>From `, none with `From ` | mboxcl | likely |
    /// | for most messages | neither | mboxcl2 | certain: both read the same |
    /// | for few or none | some begin with `From ` | mboxo, of a writer who quotes little | guess |
    /// | for few or none | some begin with `>>From `, none with `From ` | mboxrd | likely |
    /// | for few or none | some begin with `>From `, and none of these | mboxrd | likely; mboxo reads the same |
    /// | for few or none | none of these | mboxrd | certain: all read the same |
    pub fn detect(&self) -> Detected {
        let (dialect, certainty) = match (self.lengths * 2 > self.messages, self.bare, self.quoted, self.requoted) {
            (true, 0, 0, 0) => (Dialect::Mboxcl2, Certainty::Certain),
            (true, 0, _, _) => (Dialect::Mboxcl, Certainty::Likely),
            (true, _, _, _) => (Dialect::Mboxcl2, Certainty::Certain),
            (false, 0, 0, 0) => (Dialect::Mboxrd, Certainty::Certain),
            (false, 0, _, _) => (Dialect::Mboxrd, Certainty::Likely),
            (false, _, _, _) => (Dialect::Mboxo, Certainty::Guess),
        };
        Detected { dialect, certainty }
    }

    /// A message has ended.
    pub(crate) fn message(&mut self, length: Length) {
        self.messages += 1;
        self.lengths += u64::from(length == Length::Right);
    }

    fn line(&mut self, quotes: u64) {
        match quotes {
            0 => self.bare += 1,
            1 => self.quoted += 1,
            _ => self.requoted += 1,
        }
    }
}

const FROM: &[u8] = b"From ";

/// Counts the lines of one body that begin with any number of `>` and `From `.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    finder: memmem::Finder<'static>,
    line: Line,
}

/// What has come of a line: so many `>`, and so many octets of `From `; `None`, if it is another.
type Line = Option<(u64, usize)>;

impl Default for Body {
    fn default() -> Self {
        Self { finder: memmem::Finder::new(FROM), line: Some((0, 0)) }
    }
}

impl Body {
    pub(crate) fn add(&mut self, octets: &[u8], evidence: &mut Evidence) {
        // The line that has begun, then all whole lines at once, then the one that is not whole.
        let first = memchr::memchr(b'\n', octets).map_or(octets.len(), |end| end + 1);
        self.begin(octets.get(..first).unwrap_or_default(), evidence);
        let last = memchr::memrchr(b'\n', octets).map_or(first, |end| end + 1);
        let Some(lines) = octets.get(first..last) else { return };
        for at in self.finder.find_iter(lines) {
            let before = lines.get(..at).unwrap_or_default();
            let quotes = before.iter().rev().take_while(|octet| **octet == b'>').count();
            if before.len() == quotes || before.get(before.len() - quotes - 1) == Some(&b'\n') {
                evidence.line(quotes as u64);
            }
        }
        self.begin(octets.get(last..).unwrap_or_default(), evidence);
    }

    /// Octets of one line.
    fn begin(&mut self, octets: &[u8], evidence: &mut Evidence) {
        for octet in octets {
            let Some((quotes, matched)) = self.line else { break };
            self.line = match (octet, matched) {
                (b'>', 0) => Some((quotes + 1, 0)),
                _ if FROM.get(matched) == Some(octet) => Some((quotes, matched + 1)),
                _ => None,
            };
            if matched + 1 == FROM.len() && self.line.take().is_some() {
                evidence.line(quotes);
            }
        }
        if octets.ends_with(b"\n") {
            self.line = Some((0, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(octets: &[u8], size: usize) -> Evidence {
        let (mut body, mut evidence) = (Body::default(), Evidence::default());
        for piece in octets.chunks(size) {
            body.add(piece, &mut evidence);
        }
        evidence
    }

    #[test]
    fn lines_are_told_by_their_number_of_quotes() {
        let evidence = body(b"From a\n>From b\n>>>From c\nFromd\n> From e\n F\nFrom \n>>Fro\n\n>From f", 99);
        assert_eq!((evidence.bare, evidence.quoted, evidence.requoted), (2, 2, 1));
    }

    #[test]
    fn each_row_of_the_table_holds() {
        let detect = |lengths, bare, quoted, requoted| {
            let detected = Evidence { messages: 10, lengths, bare, quoted, requoted }.detect();
            (detected.dialect, detected.certainty)
        };
        assert_eq!(detect(10, 1, 1, 1), (Dialect::Mboxcl2, Certainty::Certain));
        assert_eq!(detect(9, 0, 1, 0), (Dialect::Mboxcl, Certainty::Likely));
        assert_eq!(detect(6, 0, 0, 0), (Dialect::Mboxcl2, Certainty::Certain));
        assert_eq!(detect(5, 1, 0, 9), (Dialect::Mboxo, Certainty::Guess));
        assert_eq!(detect(0, 0, 1, 2), (Dialect::Mboxrd, Certainty::Likely));
        assert_eq!(detect(0, 0, 1, 0), (Dialect::Mboxrd, Certainty::Likely));
        assert_eq!(detect(0, 0, 0, 0), (Dialect::Mboxrd, Certainty::Certain));
    }

    proptest! {
        #[test]
        fn the_same_is_counted_however_the_octets_are_cut(
            pieces in proptest::collection::vec(prop_oneof![Just("From "), Just(">"), Just("\n"), Just("Fro"), Just("F"), Just("x")], 0..40),
            size in 1..9_usize,
        ) {
            let text = pieces.concat();
            let naive = text.split('\n').filter(|line| line.trim_start_matches('>').starts_with("From ")).count() as u64;
            let found = body(text.as_bytes(), size);
            prop_assert_eq!(found, body(text.as_bytes(), usize::MAX));
            prop_assert_eq!(found.bare + found.quoted + found.requoted, naive);
        }
    }
}
