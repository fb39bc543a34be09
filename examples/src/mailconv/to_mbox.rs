//! A folder into an mbox file.
//!
//! The file grows under another name and gets its own when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use postrider_mbox::{Dialect, Envelope};

use super::context::Context;
use super::draft::{Draft, Says};
use super::failure::{At, Failure};
use super::header::Name;
use super::notes::Mark;
use super::origin::{Letter, Next, Origin};
use super::report::Note;
use super::state::{beside, create_directories, sync_above};

/// What the file is called while it grows.
pub const PART: &str = ".mailconv-part";

/// After so many octets what was written is synced, and the state with it.
const STEP: u64 = 8 * 1024 * 1024;

/// A message that is empty of a sender has this one.
const NOBODY: &[u8] = b"MAILER-DAEMON";

/// Converts `from`, and goes on where an earlier run has stopped.
///
/// # Errors
///
/// When something cannot be read or written. What was done stays, for the next run.
pub fn run(from: &mut Origin, to: &Path, dialect: Dialect, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let part = beside(to, PART);
    if context.progress().complete {
        return finish(&part, to, context);
    }
    if to.symlink_metadata().is_ok() {
        return Err(Failure::Exists { path: to.to_owned(), hint: "" });
    }
    if let Some(above) = to.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_directories(above)?;
    }
    let mut target = Target::open(part, context.progress().end)?;
    let mut base = from.base();
    let is_doubtful = from.is_doubtful();
    let from_internal = match from {
        Origin::Mbox { survey, .. } => Some(survey.internal),
        Origin::Maildir(_) => None,
    };
    // An mbox says itself what is known of it, but for an internal message, which goes.
    let keeps = |number| match from_internal {
        None => false,
        Some(internal) => !internal || number > 1,
    };
    let (mut letters, mut number) = (from.letters()?, 0);
    while number < context.progress().done && letters.skip()? {
        number += 1;
    }
    loop {
        let next = letters.next()?;
        number += 1;
        match next {
            Next::End => break,
            Next::Gone { at } => context.note(&at, Note::Skipped, 1, "it was removed while this went on")?,
            Next::Letter(letter) => {
                let base = if number == 1 { base.take() } else { None };
                let says = if keeps(number) { Says::Anything } else { Says::This(base.as_ref()) };
                let written = write(&letter, says, dialect, is_doubtful, &mut target, context)?;
                context.message(written);
            }
        }
        context.bar.at(letters.step());
        if target.at - context.progress().end >= STEP {
            target.sync()?;
            let end = target.at;
            context.save(|progress| (progress.done, progress.end) = (number, end))?;
        }
    }
    target.sync()?;
    let end = target.at;
    let unsaid = u64::from(end == 0 && base.is_some());
    context.note("", Note::Uids, unsaid, "an empty file cannot hold a UIDVALIDITY")?;
    context.source_is_unchanged(from)?;
    context.save(|progress| (progress.done, progress.end, progress.complete) = (number, end, true))?;
    finish(&target.path, to, context)
}

fn finish(part: &Path, to: &Path, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    place(part, to)?;
    context.save(|progress| progress.finished = true)
}

/// Gives a file that is whole its name, onto stable storage. Another that has it is not replaced. What was done in part is completed.
///
/// # Errors
///
/// When there is another, or that fails.
pub fn place(part: &Path, to: &Path) -> Result<(), Failure> {
    if part.symlink_metadata().is_ok() {
        match fs::hard_link(part, to) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && !is_same(part, to) => {
                return Err(Failure::Exists { path: to.to_owned(), hint: "" });
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            // A file system without hard links.
            Err(_) if to.symlink_metadata().is_err() => fs::rename(part, to).at("rename", part)?,
            linked => linked.at("link", to)?,
        }
        sync_above(to)?;
        if part.symlink_metadata().is_ok() {
            fs::remove_file(part).at("remove", part)?;
        }
    }
    sync_above(to)
}

fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |path: &Path| path.symlink_metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    of(one) == of(other)
}

/// Removes what a run has left.
///
/// # Errors
///
/// When it cannot be removed.
pub fn discard(to: &Path) -> Result<(), Failure> {
    let part = beside(to, PART);
    match fs::remove_file(&part) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.at("remove", &part),
    }
}

/// The file that grows.
#[derive(Debug)]
pub struct Target {
    /// Its path.
    pub path: PathBuf,
    file: BufWriter<File>,
    /// Octets so far.
    pub at: u64,
}

impl Target {
    /// Cuts it where it was synced last.
    ///
    /// # Errors
    ///
    /// When it cannot be opened or cut.
    pub fn open(path: PathBuf, end: u64) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).at("create", &path)?;
        file.set_len(end).at("cut", &path)?;
        file.seek(SeekFrom::Start(end)).at("seek in", &path)?;
        Ok(Self { path, file: BufWriter::with_capacity(256 * 1024, file), at: end })
    }

    /// Writes octets at its end.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn add(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.at += octets.len() as u64;
        self.file.write_all(octets).at("write", &self.path)
    }

    /// Brings it onto stable storage.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn sync(&mut self) -> Result<(), Failure> {
        self.file.flush().at("write", &self.path)?;
        self.file.get_ref().sync_all().at("sync", &self.path)
    }
}

/// Writes one message; how many octets it has, as its writer meant them.
fn write(
    letter: &Letter<'_>,
    says: Says<'_>,
    dialect: Dialect,
    is_doubtful: bool,
    target: &mut Target,
    context: &mut Context<'_, '_>,
) -> Result<u64, Failure> {
    let draft = Draft::new(&letter.content, dialect)?;
    let line = letter.line.clone().unwrap_or_else(|| from_line(letter, &draft));
    if matches!(dialect, Dialect::Mboxo | Dialect::Mboxcl) && draft.quotes.single > 0 {
        context.note(&letter.at, Note::Ambiguous, draft.quotes.single, "lines begin with `>From `")?;
    }
    unquoted(is_doubtful, &draft, letter, context)?;
    for mark in letter.notes.marks.iter().filter(|mark| matches!(mark, Mark::Letter(_))) {
        context.note(&letter.at, Note::Mark, 1, &mark.word())?;
    }
    let len = draft.len();
    let written =
        draft.write(&line, &letter.content, &letter.notes, says, dialect, &mut |octets| target.add(octets))?;
    if written.wrapped {
        context.note(&letter.at, Note::Wrapped, 1, "fields were put before it")?;
    }
    if written.renamed {
        context.note(&letter.at, Note::Renamed, 1, "its own fields were renamed")?;
    }
    Ok(len)
}

/// Notes lines whose `>` was taken away though nobody knows whether it was put there.
///
/// # Errors
///
/// When standard output cannot be written to.
pub fn unquoted(
    is_doubtful: bool,
    draft: &Draft,
    letter: &Letter<'_>,
    context: &mut Context<'_, '_>,
) -> Result<(), Failure> {
    let count = if is_doubtful { draft.quotes.bare } else { 0 };
    context.note(&letter.at, Note::Unquoted, count, "lines `From ` were or may have been `>From `")
}

/// The line of a message that has none: who sent it, and when it was received.
fn from_line(letter: &Letter<'_>, draft: &Draft) -> Vec<u8> {
    let seconds = letter.received.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    Envelope::new(sender(draft), UNIX_EPOCH + Duration::from_secs(seconds)).line()
}

/// Who sent a message, as its `Return-Path` says.
#[must_use]
pub fn sender(draft: &Draft) -> &[u8] {
    let path = draft.fields.all(Name::ReturnPath).next().unwrap_or_default();
    let address = path.strip_prefix(b"<").and_then(|path| path.strip_suffix(b">")).unwrap_or(path);
    let fits = (1..=320).contains(&address.len()) && address.iter().all(|octet| *octet > b' ' && *octet != 0x7F);
    if fits { address } else { NOBODY }
}
