//! `mailconv split`: each message of an mbox file into a file of its own.

use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use postrider_mbox::{Dialect, Policy};

use super::content::{Content, Meant};
use super::failure::{At, Failure};
use super::source::Mbox;
use super::state::sync_above;

/// Writes `DIR/000001.eml` and so on: the messages as their writers meant them. Nothing that is there is replaced. Gives how many.
///
/// # Errors
///
/// When the file is no mbox or cannot be read, or `to` holds a file of that name, or cannot be written to.
pub fn run(from: &Path, to: &Path, policy: Policy, dialect: Option<Dialect>) -> Result<u64, Failure> {
    let mbox = Mbox::open_locked(from, policy)?;
    let survey = mbox.survey()?;
    let dialect = dialect.unwrap_or(survey.detected.dialect);
    fs::create_dir_all(to).at("create", to)?;
    let (mut entries, mut number, mut is_first) = (mbox.entries()?, 0, true);
    let digits = survey.messages.to_string().len().max(6);
    while let Some(entry) = mbox.next(&mut entries)? {
        if std::mem::take(&mut is_first) && entry.is_internal() {
            continue;
        }
        number += 1;
        let path = to.join(format!("{number:0digits$}.eml"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).at("create", &path)?;
        let mut file = BufWriter::new(file);
        Meant(mbox.content(&entry, dialect)).read(&mut |octets| file.write_all(octets).at("write", &path))?;
        file.flush().at("write", &path)?;
        file.get_ref().sync_data().at("sync", &path)?;
    }
    sync_above(&to.join("x"))?;
    mbox.is_unchanged()?;
    Ok(number)
}
