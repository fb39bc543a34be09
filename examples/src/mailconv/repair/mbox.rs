//! A mended copy of an mbox file.

use std::path::Path;

use postrider_mbox::{Certainty, Dialect};

use super::Mended;
use crate::mailconv::arguments::Reading;
use crate::mailconv::content::{Content, Meant, Stored};
use crate::mailconv::draft::{Draft, Says};
use crate::mailconv::facts;
use crate::mailconv::failure::Failure;
use crate::mailconv::origin::unended;
use crate::mailconv::source::Mbox;
use crate::mailconv::state::beside;
use crate::mailconv::to_mbox::{PART, Target, place};

/// Writes it.
pub(super) fn repair(path: &Path, to: &Path, lost: &Path, reading: Reading) -> Result<Mended, Failure> {
    let mbox = Mbox::open_locked(path, reading.policy)?;
    let survey = mbox.survey()?;
    let from = reading.dialect.unwrap_or(survey.detected.dialect);
    let dialect = if survey.detected.certainty == Certainty::Guess { Dialect::Mboxrd } else { from };
    if survey.junk > 0 {
        let mut target = Target::open(beside(lost, PART), 0)?;
        Stored { file: &mbox.file, path: &mbox.path, range: 0..survey.junk }.read(&mut |octets| target.add(octets))?;
        target.sync()?;
        place(&target.path, lost)?;
    }
    let (mut entries, mut messages) = (mbox.entries()?, 0);
    let mut target = Target::open(beside(to, PART), 0)?;
    while let Some(entry) = mbox.next(&mut entries)? {
        messages += u64::from(messages > 0 || !entry.is_internal());
        let notes = facts::of(&mbox.content(&entry, from), true)?.fields.notes();
        let content = Meant(mbox.content(&entry, from));
        let draft = Draft::new(&content, dialect)?;
        draft
            .write(unended(&entry.line), &content, &notes, Says::Anything, dialect, &mut |octets| target.add(octets))?;
    }
    target.sync()?;
    mbox.is_unchanged()?;
    place(&target.path, to)?;
    Ok(Mended { messages, lost: survey.junk })
}
