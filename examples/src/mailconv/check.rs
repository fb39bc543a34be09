//! `mailconv check`: what is wrong with a mailbox, and where.

mod maildir;
mod mbox;

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::arguments::Reading;
use super::failure::Failure;
use super::octets;
use super::repair;
use super::source::{Kind, kind};
use super::tree;

/// The exit status where something was found.
pub const FOUND: u8 = 1;
/// The exit status where it could not be looked at.
pub const TROUBLE: u8 = 2;

/// Where something was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In the whole.
    All,
    /// In a file of a Maildir: its path from there.
    File(Vec<u8>),
    /// At an offset.
    Offset(u64),
}

/// What was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What: a word.
    pub what: &'static str,
    /// The same for people.
    pub text: String,
}

impl Finding {
    /// A finding at an offset.
    #[must_use]
    pub fn at(offset: u64, what: &'static str, text: String) -> Self {
        Self { place: Place::Offset(offset), what, text }
    }

    /// One of the whole.
    #[must_use]
    pub fn of_all(what: &'static str, text: String) -> Self {
        Self { place: Place::All, what, text }
    }

    /// One of a file.
    #[must_use]
    pub fn of_file(path: Vec<u8>, what: &'static str, text: String) -> Self {
        Self { place: Place::File(path), what, text }
    }
}

/// Where findings go.
pub type Found<'f> = &'f mut dyn FnMut(Finding) -> Result<(), Failure>;

/// Prints what is wrong with the mailbox at `path`, and writes a mended copy to `to`. Gives the exit status.
///
/// # Errors
///
/// When it cannot be looked at, or the copy cannot be written.
pub fn run(path: &Path, to: Option<&Path>, json: bool, reading: Reading, out: &mut dyn Write) -> Result<u8, Failure> {
    let mut count = 0_u64;
    let mut print = |path: &Path, finding: &Finding| {
        count += 1;
        let line = if json { as_json(path, finding) } else { as_text(path, finding) };
        writeln!(out, "{line}").map_err(Failure::Output)
    };
    let kind = kind(path)?;
    if kind == Kind::Folders {
        if to.is_some() {
            return Err(Failure::Usage("--repair takes one mailbox, not a tree"));
        }
        for folder in tree::read(path)?.folders {
            one(&folder.path, folder.kind, reading, &mut |finding| print(&folder.path, &finding))?;
        }
    } else {
        one(path, kind, reading, &mut |finding| print(path, &finding))?;
    }
    if let Some(to) = to {
        let mended = repair::run(path, kind, to, reading)?;
        let line = if json { mended.as_json().to_string() } else { mended.as_text(to) };
        writeln!(out, "{line}").map_err(Failure::Output)?;
    } else if count == 0 && !json {
        writeln!(out, "nothing is wrong").map_err(Failure::Output)?;
    }
    Ok(if count == 0 { 0 } else { FOUND })
}

fn one(path: &Path, kind: Kind, reading: Reading, found: Found<'_>) -> Result<(), Failure> {
    match kind {
        Kind::Mbox => mbox::check(path, reading.policy, found),
        Kind::Maildir | Kind::Folders => maildir::check(path, found),
    }
}

fn as_json(path: &Path, finding: &Finding) -> String {
    let mut object = json!({
        "path": octets::json(path.as_os_str().as_encoded_bytes()), "what": finding.what, "text": finding.text,
    });
    let at = match &finding.place {
        Place::All => Value::Null,
        Place::File(name) => octets::json(name),
        Place::Offset(at) => json!(at),
    };
    if let (Value::Object(object), false) = (&mut object, at.is_null()) {
        object.insert("at".to_owned(), at);
    }
    object.to_string()
}

fn as_text(path: &Path, finding: &Finding) -> String {
    let path = octets::shown(path.as_os_str().as_encoded_bytes());
    let place = match &finding.place {
        Place::All => String::new(),
        Place::File(name) => format!("/{}", octets::shown(name)),
        Place::Offset(at) => format!(" at {at}"),
    };
    format!("{path}{place}: {}: {}", finding.what, finding.text)
}
