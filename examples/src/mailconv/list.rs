//! `mailconv list`: a line of JSON for each message.

use std::io::Write;
use std::path::Path;

use postrider_maildir::Directory;
use postrider_mbox::{Certainty, Dialect, Entry, FromLine, Length, Policy, What, Why};
use serde_json::{Map, Value, json};

use super::facts::{self, Facts};
use super::failure::Failure;
use super::folder::{Folder, Item};
use super::notes::Notes;
use super::octets;
use super::source::{Kind, Mbox, kind};

/// Lists what is at `path`.
///
/// # Errors
///
/// When that is no mailbox, or cannot be read, or standard output cannot be written to.
pub fn run(path: &Path, policy: Policy, dialect: Option<Dialect>, out: &mut dyn Write) -> Result<(), Failure> {
    match kind(path)? {
        Kind::Mbox => mbox(&Mbox::open(path, policy)?, dialect, out),
        Kind::Maildir => maildir(Folder::open(path)?, out),
        Kind::Folders => {
            Err(Failure::NotMailbox { path: path.to_owned(), what: "a directory of folders: list them one by one" })
        }
    }
}

/// A line of JSON.
///
/// # Errors
///
/// When standard output cannot be written to.
pub fn line(out: &mut dyn Write, value: &Value) -> Result<(), Failure> {
    writeln!(out, "{value}").map_err(Failure::Output)
}

fn mbox(mbox: &Mbox, dialect: Option<Dialect>, out: &mut dyn Write) -> Result<(), Failure> {
    let survey = mbox.survey()?;
    let (dialect, sure) = match dialect {
        Some(dialect) => (dialect, "given"),
        None => (survey.detected.dialect, certainty(survey.detected.certainty)),
    };
    let (mut entries, mut number, mut is_first) = (mbox.entries()?, 0, true);
    while let Some(entry) = mbox.next(&mut entries)? {
        if std::mem::take(&mut is_first) && entry.is_internal() {
            continue;
        }
        let facts = facts::of(&mbox.content(&entry, dialect), true)?;
        let mut notes = facts.fields.notes();
        notes.uid = notes.uid.filter(|_| number < survey.numbered);
        number += 1;
        let mut object = described(&facts, &notes);
        object.insert("at".to_owned(), json!(entry.at));
        object.insert("dialect".to_owned(), json!(self::dialect(dialect)));
        object.insert("certainty".to_owned(), json!(sure));
        evidence(&entry, &mut object);
        line(out, &Value::Object(object))?;
    }
    Ok(())
}

fn evidence(entry: &Entry, object: &mut Map<String, Value>) {
    object.insert("why".to_owned(), json!(why(entry.why)));
    if entry.end.length == Length::Wrong {
        object.insert("length".to_owned(), json!("wrong"));
    }
    let doubts: Vec<_> = entry.doubts.iter().map(|doubt| json!({ "at": doubt.at, "what": what(doubt.what) })).collect();
    if !doubts.is_empty() {
        object.insert("doubts".to_owned(), Value::Array(doubts));
    }
    if let Some(from) = FromLine::new(&entry.line) {
        object.insert("sender".to_owned(), octets::json(from.sender()));
        if let Some(date) = from.date() {
            object.insert("date".to_owned(), json!(date.unix_seconds()));
        }
    }
}

fn maildir(folder: Folder, out: &mut dyn Write) -> Result<(), Failure> {
    for mut item in folder.items {
        let open = match item.open() {
            // Somebody else has removed it since the listing.
            Err(Failure::Maildir(error)) if error.is_gone() => continue,
            open => open?,
        };
        let mut object = described(&facts::of(&open, false)?, &item.notes);
        object.insert("date".to_owned(), json!(open.modified));
        place(&item, &mut object);
        line(out, &Value::Object(object))?;
    }
    Ok(())
}

fn place(item: &Item, object: &mut Map<String, Value>) {
    object.insert("at".to_owned(), octets::json(item.message.name().octets()));
    let directory = if item.message.directory() == Directory::Cur { "cur" } else { "new" };
    object.insert("directory".to_owned(), json!(directory));
}

fn described(facts: &Facts, notes: &Notes) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("len".to_owned(), json!(facts.len));
    object.insert("sha256".to_owned(), json!(octets::hex(&facts.sha256)));
    object.insert("flags".to_owned(), notes.marks.iter().map(|mark| mark.word()).collect());
    object.insert("keywords".to_owned(), notes.keywords.iter().map(|keyword| octets::json(keyword)).collect());
    if let Some(uid) = notes.uid {
        object.insert("uid".to_owned(), json!(uid));
    }
    object
}

/// The word for a dialect.
#[must_use]
pub const fn dialect(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Mboxo => "mboxo",
        Dialect::Mboxrd => "mboxrd",
        Dialect::Mboxcl => "mboxcl",
        Dialect::Mboxcl2 => "mboxcl2",
    }
}

/// The word for a certainty.
#[must_use]
pub const fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Guess => "guess",
        Certainty::Likely => "likely",
        Certainty::Certain => "certain",
    }
}

/// The word for the reason of a split.
#[must_use]
pub const fn why(why: Why) -> &'static str {
    match why {
        Why::First => "first",
        Why::Length => "length",
        Why::Line => "line",
    }
}

/// The word for a doubt.
#[must_use]
pub const fn what(what: What) -> &'static str {
    match what {
        What::NoBlankLine => "no-blank-line",
        What::TakenAsText => "taken-as-text",
        What::WithinLength => "within-length",
    }
}
