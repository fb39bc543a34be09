//! The messages of a file that is in memory or mapped there.

use crate::splitter::{Doubt, End, Event, Policy, Splitter, Step, Why};

/// A message of a file in memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message<'b> {
    /// Offset of its `From ` line from the start of the file.
    pub at: u64,
    /// The line, with its line end.
    pub line: &'b [u8],
    /// Why it begins a message.
    pub why: Why,
    /// What is behind the line, as it is stored: quoted, and without the blank line that parts it from the next message.
    pub content: &'b [u8],
    /// What was found at its end.
    pub end: End,
    /// What a person might judge differently, from its line to the next.
    pub doubts: Vec<Doubt>,
}

/// The messages of `file`, which may be mapped into memory. Nothing is copied.
///
/// ```
/// use postrider_mbox::{Policy, messages};
///
/// let file = b"From a@b Thu Jan  1 00:00:00 1970\nSubject: 1\n\nHello.\n\nFrom c@d Thu Jan  1 00:00:01 1970\nSubject: 2\n\nBye.\n";
/// let contents: Vec<_> = messages(file, Policy::default()).map(|message| message.content).collect();
/// assert_eq!(contents, [&b"Subject: 1\n\nHello.\n"[..], b"Subject: 2\n\nBye.\n"]);
/// ```
pub fn messages(file: &[u8], policy: Policy) -> Messages<'_> {
    Messages { file, at: 0, splitter: Splitter::new(policy) }
}

/// What [`messages`] gives.
#[derive(Clone, Debug)]
pub struct Messages<'b> {
    file: &'b [u8],
    at: usize,
    splitter: Splitter,
}

impl<'b> Messages<'b> {
    /// Octets before the first message that belong to none; all, if there is no message. Known when [`Self::next`] was called.
    pub const fn junk(&self) -> u64 {
        self.splitter.junk()
    }
}

impl<'b> Iterator for Messages<'b> {
    type Item = Message<'b>;

    fn next(&mut self) -> Option<Message<'b>> {
        let (mut at, mut begun, mut from, mut doubts) = (0, None, 0, Vec::new());
        loop {
            let rest = self.file.get(self.at..)?;
            let Step::Event { consumed, event } = self.splitter.next(rest, true) else { return None };
            match event {
                Event::Start { line, why } => {
                    at = self.at as u64;
                    begun = Some((line, why));
                    from = self.at + consumed;
                }
                Event::Doubt(doubt) => doubts.push(doubt),
                Event::Junk(_) | Event::Content(_) => {}
                Event::End(end) => {
                    let (content, (line, why)) = (self.file.get(from..self.at)?, begun?);
                    self.at += consumed;
                    return Some(Message { at, line, why, content, end, doubts });
                }
            }
            self.at += consumed;
        }
    }
}
