//! What became of a conversion: how much was taken over, what of it was lost on the way, and what was left out.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::failure::Failure;

/// What somebody might want to know of a message that was converted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Note {
    /// The date of its `From ` line is unknown.
    Date,
    /// Lines that the dialect gives back otherwise.
    Ambiguous,
    /// A folder has another name.
    Folder,
    /// c-client's internal message was not taken over.
    Internal,
    /// Octets before the first message.
    Junk,
    /// A keyword that has no place.
    Keyword,
    /// A mark that has no place.
    Mark,
    /// A mark that nobody has shown the message before.
    Recent,
    /// Fields of its own were renamed.
    Renamed,
    /// Who sent it, as its `From ` line says and nothing else.
    Sender,
    /// A file that is no mailbox, or a message that went away.
    Skipped,
    /// UIDs could not be kept.
    Uids,
    /// It may have been so before it was put there.
    Unquoted,
    /// Fields were put before it.
    Wrapped,
}

/// Whether the source can be had again from the target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Worth {
    /// Nothing is lost.
    Kept,
    /// Something is.
    Lost,
    /// Something was not taken over at all.
    LeftOut,
}

impl Note {
    const ALL: [(Self, &'static str, Worth, &'static str); 14] = [
        (Self::Ambiguous, "ambiguous", Worth::Lost, "lines `>From ` that readers of this dialect take for `From `"),
        (
            Self::Date,
            "date",
            Worth::Lost,
            "messages without a date in their `From ` line: their Date field's was taken, or the file's",
        ),
        (Self::Folder, "folder", Worth::Lost, "folders that got another name"),
        (Self::Internal, "internal", Worth::Kept, "internal message of c-client: what it says was taken over"),
        (Self::Junk, "junk", Worth::LeftOut, "octets before the first message, which belong to none"),
        (Self::Keyword, "keyword", Worth::Lost, "keywords that have no place there"),
        (Self::Mark, "mark", Worth::Lost, "marks that have no place there"),
        (
            Self::Recent,
            "recent",
            Worth::Lost,
            "messages with flags that no program had shown before: they count as shown now",
        ),
        (
            Self::Renamed,
            "renamed",
            Worth::Kept,
            "messages with fields renamed to X-Mailconv-Was-…, as they said something else",
        ),
        (Self::Sender, "sender", Worth::Lost, "senders of `From ` lines that the messages themselves do not name"),
        (Self::Skipped, "skipped", Worth::LeftOut, "files left out"),
        (Self::Uids, "uids", Worth::Lost, "mailboxes whose UIDs could not be kept"),
        (
            Self::Unquoted,
            "unquoted",
            Worth::Lost,
            "lines `>From ` taken for `From `, which may have been so from the start",
        ),
        (
            Self::Wrapped,
            "wrapped",
            Worth::Kept,
            "messages with fields put before them; converting back takes them away",
        ),
    ];

    fn row(self) -> (&'static str, Worth, &'static str) {
        let row = Self::ALL.iter().find(|(note, ..)| *note == self);
        row.map_or(("", Worth::Kept, ""), |(_, word, worth, text)| (word, *worth, text))
    }

    /// Its name in JSON and in the state file.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().0
    }
}

/// Sums that go on over an interruption.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Totals {
    /// Messages that are in the target.
    pub messages: u64,
    /// Their octets, as their writers meant them.
    pub octets: u64,
    /// How often each note was taken.
    pub notes: BTreeMap<String, u64>,
}

impl Totals {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.octets += other.octets;
        for (word, count) in &other.notes {
            *self.notes.entry(word.clone()).or_default() += count;
        }
    }

    /// Notes something `count` times.
    pub fn note(&mut self, note: Note, count: u64) {
        if count > 0 {
            *self.notes.entry(note.word().to_owned()).or_default() += count;
        }
    }

    fn count(&self, note: Note) -> u64 {
        self.notes.get(note.word()).copied().unwrap_or(0)
    }

    /// Whether something was left out.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        Note::ALL.iter().any(|(note, _, worth, _)| *worth == Worth::LeftOut && self.count(*note) > 0)
    }
}

/// Says where something was noted, on standard output, while it goes on.
pub struct Details<'w> {
    out: &'w mut dyn Write,
    json: bool,
    verbose: bool,
}

impl<'w> Details<'w> {
    /// Each note is printed only if `json` or `verbose`.
    pub fn new(out: &'w mut dyn Write, json: bool, verbose: bool) -> Self {
        Self { out, json, verbose }
    }

    /// One note. `at`: an offset or a file name.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written to.
    pub fn tell(&mut self, folder: &str, at: &str, note: Note, count: u64, text: &str) -> Result<(), Failure> {
        let (word, ..) = note.row();
        let line = if self.json {
            json!({ "note": word, "folder": folder, "at": at, "count": count, "text": text }).to_string()
        } else if self.verbose {
            format!("{folder}{}{at}: {word}: {text}", if folder.is_empty() { "" } else { " " })
        } else {
            return Ok(());
        };
        writeln!(self.out, "{line}").map_err(Failure::Output)
    }

    /// The sums at the end.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written to.
    pub fn sum(&mut self, folders: usize, totals: &Totals, resumed: bool) -> Result<(), Failure> {
        let text = if self.json {
            let lossless =
                Note::ALL.iter().all(|(note, _, worth, _)| *worth == Worth::Kept || totals.count(*note) == 0);
            format!(
                "{}\n",
                json!({
                    "folders": folders, "messages": totals.messages, "octets": totals.octets, "notes": totals.notes,
                    "lossless": lossless, "resumed": resumed,
                })
            )
        } else {
            human(folders, totals, resumed)
        };
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(Failure::Output)
    }
}

fn human(folders: usize, totals: &Totals, resumed: bool) -> String {
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    let folders_text = if folders == 1 { String::new() } else { format!(" in {folders} folders") };
    let how = if resumed { ", with what an earlier run had done" } else { "" };
    let mut text = format!(
        "{} message{}, {} octets{folders_text}{how}\n",
        totals.messages,
        plural(totals.messages),
        totals.octets
    );
    for (heading, wanted) in [("kept", Worth::Kept), ("lost", Worth::Lost), ("left out", Worth::LeftOut)] {
        for (note, _, worth, what) in Note::ALL {
            let count = totals.count(note);
            if worth == wanted && count > 0 {
                text.push_str(&format!("{heading}: {what}: {count}\n"));
            }
        }
    }
    text
}
