//! `mailconv check --repair`: a mended copy of a mailbox. Nothing of the original is lost, and it stays as it is.
//!
//! An mbox file is written anew: each message as it was found, with a blank line behind it, a line end at its end, its own `From ` lines quoted, and a right
//! length or none; where the dialect is a guess, in mboxrd. What is before the first message goes to `OUT.lost`. Octets within messages are not mended.
//!
//! A Maildir is delivered anew, each file of `cur/` and `new/` under a new name that is right, with its flags, time and UID; what was left in `tmp/` goes
//! into the directory `OUT.lost`.

mod maildir;
mod mbox;

use std::path::Path;

use serde_json::{Value, json};

use super::arguments::Reading;
use super::failure::Failure;
use super::source::Kind;
use super::state::beside;

/// What became of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mended {
    /// Messages of the copy.
    pub messages: u64,
    /// Octets in `OUT.lost`.
    pub lost: u64,
}

impl Mended {
    /// For programs.
    #[must_use]
    pub fn as_json(&self) -> Value {
        json!({ "mended": self.messages, "lost": self.lost })
    }

    /// For people.
    #[must_use]
    pub fn as_text(&self, to: &Path) -> String {
        let to = super::octets::shown(to.as_os_str().as_encoded_bytes());
        match self.lost {
            0 => format!("{to}: {} messages, and nothing besides", self.messages),
            lost => format!("{to}: {} messages; {to}.lost: {lost} octets that belong to none", self.messages),
        }
    }
}

/// Writes it.
///
/// # Errors
///
/// When something cannot be read or written, or is there already.
pub fn run(path: &Path, kind: Kind, to: &Path, reading: Reading) -> Result<Mended, Failure> {
    let lost = beside(to, ".lost");
    for new in [to, &lost] {
        if new.symlink_metadata().is_ok() {
            return Err(Failure::Exists { path: new.to_owned(), hint: "" });
        }
    }
    match kind {
        Kind::Mbox => mbox::repair(path, to, &lost, reading),
        Kind::Maildir | Kind::Folders => maildir::repair(path, to, &lost),
    }
}
