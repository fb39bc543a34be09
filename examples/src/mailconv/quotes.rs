//! Lines of a message that a dialect could not keep apart from others.

/// How many there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quotes {
    /// Lines that begin with `From `.
    pub bare: u64,
    /// Lines that begin with one `>` and `From `: mboxo and mboxcl give them back without the `>`.
    pub single: u64,
    /// Of the line at hand, whether it began with a `>`, and so many octets of `From `; `None`, if it is another.
    line: Option<(bool, usize)>,
}

impl Default for Quotes {
    fn default() -> Self {
        Self { bare: 0, single: 0, line: Some((false, 0)) }
    }
}

const FROM: &[u8] = b"From ";

impl Quotes {
    /// Looks at more octets.
    pub fn add(&mut self, octets: &[u8]) {
        let mut rest = octets;
        loop {
            while let (Some((quoted, matched)), [first, behind @ ..]) = (self.line, rest) {
                self.line = match first {
                    b'\n' => Some((false, 0)),
                    b'>' if !quoted && matched == 0 => Some((true, 0)),
                    _ if FROM.get(matched) == Some(first) => Some((quoted, matched + 1)),
                    _ => None,
                };
                if self.line.is_some_and(|(_, matched)| matched == FROM.len()) {
                    *(if quoted { &mut self.single } else { &mut self.bare }) += 1;
                    self.line = None;
                }
                rest = behind;
            }
            let Some(end) = memchr::memchr(b'\n', rest) else { return };
            self.line = Some((false, 0));
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_their_quotes_however_they_are_cut() {
        let text = b"From a\n>From b\n>>From c\n From d\n>Fromm\nFrom \n>Fro\nm \n>From e";
        for size in [1, 3, 99] {
            let mut quotes = Quotes::default();
            text.chunks(size).for_each(|piece| quotes.add(piece));
            assert_eq!((quotes.bare, quotes.single), (2, 2), "{size}");
        }
    }
}
