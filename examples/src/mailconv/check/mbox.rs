//! What may be wrong with an mbox file.

use std::path::Path;

use postrider_mbox::{Entry, Length, Policy, What};

use super::{Finding, Found};
use crate::mailconv::content::{Content, Stored};
use crate::mailconv::failure::Failure;
use crate::mailconv::source::Mbox;

/// Tells what is wrong with a file.
///
/// # Errors
///
/// When it cannot be read.
pub(super) fn check(path: &Path, policy: Policy, found: Found<'_>) -> Result<(), Failure> {
    let mbox = match Mbox::open(path, policy) {
        Err(Failure::NotMailbox { what, .. }) => return found(Finding::of_all("no-mbox", format!("it is {what}"))),
        mbox => mbox?,
    };
    let lines = Lines::read(&mbox, found)?;
    let survey = match mbox.survey() {
        Err(Failure::NotMailbox { what, .. }) => return found(Finding::of_all("no-mbox", format!("it is {what}"))),
        survey => survey?,
    };
    if lines.marked {
        found(Finding::at(0, "byte-order-mark", "a byte order mark before the first message".to_owned()))?;
    }
    let junk = survey.junk.saturating_sub(if lines.marked { 3 } else { 0 });
    if junk > 0 {
        found(Finding::at(survey.junk - junk, "junk", format!("{junk} octets before the first message")))?;
    }
    if survey.numbered < survey.said {
        let text = format!(
            "{} of {} UIDs do not count: they do not rise, or X-IMAPbase is missing",
            survey.said - survey.numbered,
            survey.said
        );
        found(Finding::of_all("uids", text))?;
    }
    let mut entries = mbox.entries()?;
    while let Some(entry) = mbox.next(&mut entries)? {
        message(&mbox, &entry, found)?;
    }
    lines.tell(&mbox, found)
}

fn message(mbox: &Mbox, entry: &Entry, found: Found<'_>) -> Result<(), Failure> {
    for doubt in &entry.doubts {
        let (what, text) = match doubt.what {
            What::NoBlankLine => ("no-blank-line", "a message begins here without a blank line before it"),
            What::TakenAsText => ("taken-as-text", "a line much like the start of a message was taken for text"),
            What::WithinLength => {
                ("within-length", "what looks like a message is text, by the length of the one it is in")
            }
        };
        found(Finding::at(doubt.at, what, text.to_owned()))?;
    }
    let is_last = entry.next >= mbox.len;
    if entry.end.length == Length::Wrong {
        let (what, text) = if is_last {
            ("torn", "the last message says that it is longer than what is there, or its length is wrong")
        } else {
            ("wrong-length", "no message begins where its Content-Length says that this one ends")
        };
        found(Finding::at(entry.at, what, text.to_owned()))?;
    }
    if is_last && entry.end.header_len == entry.end.len && !ends_header(mbox, entry)? {
        found(Finding::at(entry.at, "torn", "the last message ends within its header".to_owned()))?;
    }
    Ok(())
}

/// Whether the last octets of a message without body are the blank line behind its header.
fn ends_header(mbox: &Mbox, entry: &Entry) -> Result<bool, Failure> {
    let range = entry.content();
    let start = range.end.saturating_sub(4).max(range.start);
    let mut tail = Vec::new();
    Stored { range: start..range.end, ..mbox.stored(entry) }.read(&mut |octets| {
        tail.extend_from_slice(octets);
        Ok(())
    })?;
    // One more blank line was taken for the one behind the message.
    let parted = entry.next > range.end;
    Ok(tail.ends_with(b"\n\n") || tail.ends_with(b"\n\r\n") || matches!(tail.as_slice(), b"\n" | b"\r\n") || parted)
}

/// What a reading of all octets tells.
#[derive(Default)]
struct Lines {
    marked: bool,
    last: Option<u8>,
    /// Lines that end with LF alone, and with CRLF; the first of each.
    lf: (u64, u64),
    crlf: (u64, u64),
    /// Where NULs began that have not ended.
    nuls: Option<u64>,
}

impl Lines {
    fn read(mbox: &Mbox, found: Found<'_>) -> Result<Self, Failure> {
        let (mut lines, mut at) = (Self::default(), 0);
        let all = Stored { file: &mbox.file, path: &mbox.path, range: 0..mbox.len };
        all.read(&mut |octets| {
            if at == 0 {
                lines.marked = octets.starts_with(b"\xEF\xBB\xBF");
            }
            lines.ends(octets, at);
            lines.nuls(octets, at, found)?;
            lines.last = octets.last().copied();
            at += octets.len() as u64;
            Ok(())
        })?;
        if let Some(from) = lines.nuls {
            found(nul(from, at))?;
        }
        Ok(lines)
    }

    fn ends(&mut self, octets: &[u8], at: u64) {
        for end in memchr::memchr_iter(b'\n', octets) {
            let before = end.checked_sub(1).map_or(self.last, |before| octets.get(before).copied());
            let (count, first) = if before == Some(b'\r') { &mut self.crlf } else { &mut self.lf };
            if *count == 0 {
                *first = at + end as u64;
            }
            *count += 1;
        }
    }

    fn nuls(&mut self, octets: &[u8], at: u64, found: Found<'_>) -> Result<(), Failure> {
        let mut from = 0;
        while let Some(rest) = octets.get(from..).filter(|rest| !rest.is_empty()) {
            match self.nuls {
                None => {
                    let Some(start) = memchr::memchr(0, rest) else { return Ok(()) };
                    self.nuls = Some(at + (from + start) as u64);
                    from += start + 1;
                }
                Some(start) => {
                    let run = rest.iter().take_while(|octet| **octet == 0).count();
                    from += run;
                    if run < rest.len() {
                        self.nuls = None;
                        found(nul(start, at + from as u64))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn tell(&self, mbox: &Mbox, found: Found<'_>) -> Result<(), Failure> {
        if self.lf.0 > 0 && self.crlf.0 > 0 {
            let text = format!("{} lines end with LF and {} with CRLF", self.lf.0, self.crlf.0);
            found(Finding::at(self.lf.1.max(self.crlf.1), "mixed-line-ends", text))?;
        }
        if self.last.is_some_and(|last| last != b'\n') {
            found(Finding::at(
                mbox.len,
                "no-final-line-end",
                "the last line is not ended: the last message may be torn".to_owned(),
            ))?;
        }
        Ok(())
    }
}

fn nul(from: u64, to: u64) -> Finding {
    Finding::at(from, "nul", format!("{} NUL octets, as a crash leaves them", to - from))
}
