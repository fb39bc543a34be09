//! Which dialect a file is written in, from what its bodies hold.

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
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    /// Of the line at hand so many `>` have come, and so many octets of `From `; `None`, if it is another line.
    line: Option<(u64, usize)>,
    begun: bool,
}

impl Body {
    pub(crate) fn add(&mut self, octets: &[u8], evidence: &mut Evidence) {
        if !std::mem::replace(&mut self.begun, true) {
            self.line = Some((0, 0));
        }
        let mut rest = octets;
        loop {
            while let (Some((quotes, matched)), [first, behind @ ..]) = (self.line, rest) {
                self.line = match (first, matched) {
                    (b'>', 0) => Some((quotes + 1, 0)),
                    _ if FROM.get(matched) == Some(first) => Some((quotes, matched + 1)),
                    (b'\n', _) => Some((0, 0)),
                    _ => None,
                };
                if self.line.is_some_and(|(_, matched)| matched == FROM.len()) {
                    evidence.line(quotes);
                    self.line = None;
                }
                rest = behind;
            }
            let Some(end) = memchr::memchr(b'\n', rest) else { return };
            self.line = Some((0, 0));
            rest = rest.get(end + 1..).unwrap_or_default();
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
