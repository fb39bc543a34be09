//! `mailconv convert`: one mailbox into another, or a tree of folders into another.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use postrider_mbox::{Dialect, Policy};

use super::context::Context;
use super::failure::{At, Failure};
use super::origin::Origin;
use super::progress::Bar;
use super::report::{Details, Note, Totals};
use super::source::Kind;
use super::state::{Lock, State, create_directories};
use super::tree::{self, Found, Layout, Tree};
use super::{failure, list, to_maildir, to_mbox};

/// What a conversion is made into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Maildirs.
    Maildir,
    /// mbox files.
    Mbox,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Task {
    /// The source.
    pub from: PathBuf,
    /// The target.
    pub to: PathBuf,
    /// What is made; by default mboxes of Maildirs and the other way round.
    pub format: Option<Format>,
    /// In which dialect mboxes are written; by default mboxrd.
    pub dialect: Option<Dialect>,
    /// In which dialect mboxes are read; by default what is found out.
    pub from_dialect: Option<Dialect>,
    /// How messages are found.
    pub policy: Policy,
    /// How Maildirs are laid out.
    pub layout: Layout,
    /// Leave out the fields of a mailbox in Maildirs.
    pub strip: bool,
    /// Forget what an earlier run has done.
    pub restart: bool,
    /// JSON.
    pub json: bool,
    /// Each note.
    pub verbose: bool,
    /// No bar.
    pub quiet: bool,
}

/// One folder of it.
#[derive(Clone, Debug)]
struct Pair {
    name: String,
    from: PathBuf,
    to: PathBuf,
    renamed: bool,
}

/// Converts. Gives the exit status: 0, or [`failure::DATA`] where something was left out.
///
/// # Errors
///
/// When something cannot be read or written. The same command goes on where this has stopped.
pub fn run(task: &Task, out: &mut dyn Write) -> Result<u8, Failure> {
    let tree = tree::read(&task.from)?;
    let format = task.format.unwrap_or_else(|| guess(&tree, task.dialect));
    let pairs = pairs(task, format, &tree)?;
    let words = format!(
        "{} to {}: {format:?} {} {} {:?} {:?} {}",
        absolute(&task.from)?,
        absolute(&task.to)?,
        task.dialect.map_or("-", list::dialect),
        task.from_dialect.map_or("-", list::dialect),
        task.policy,
        task.layout,
        task.strip,
    );
    if let Some(above) = task.to.parent() {
        create_directories(above)?;
    }
    let _lock = Lock::new(&task.to)?;
    if task.restart {
        discard(task, &pairs, format)?;
    }
    let found = State::load(&task.to, &words)?.filter(|state| state.folders.len() == pairs.len());
    let resumed = found.is_some();
    let mut state = match found {
        Some(state) => state,
        None => {
            begin(format, &pairs)?;
            State::new(&task.to, &words, pairs.len())?
        }
    };
    let mut details = Details::new(out, task.json, task.verbose);
    let mut totals = Totals::default();
    for (path, why) in &tree.skipped {
        totals.note(Note::Skipped, 1);
        details.tell("", &path.to_string_lossy(), Note::Skipped, 1, why)?;
    }
    for (number, pair) in pairs.iter().enumerate() {
        folder(task, format, pair, number, &mut state, &mut details)?;
        totals.note(Note::Folder, u64::from(pair.renamed));
        totals.add(&state.folders.get(number).map(|progress| progress.totals.clone()).unwrap_or_default());
    }
    // Told first: who is killed before the state is gone is told again.
    details.sum(pairs.len(), &totals, resumed)?;
    state.remove()?;
    Ok(if totals.is_incomplete() { failure::DATA } else { 0 })
}

fn guess(tree: &Tree, dialect: Option<Dialect>) -> Format {
    let maildirs = tree.folders.iter().any(|found| found.kind == Kind::Maildir);
    if maildirs || dialect.is_some() { Format::Mbox } else { Format::Maildir }
}

fn absolute(path: &Path) -> Result<String, Failure> {
    Ok(format!("{:?}", std::path::absolute(path).at("look at", path)?))
}

/// Where each folder goes. No two go to the same place.
fn pairs(task: &Task, format: Format, tree: &Tree) -> Result<Vec<Pair>, Failure> {
    if tree.folders.is_empty() {
        return Err(Failure::NotMailbox { path: task.from.clone(), what: "a directory without any mailbox" });
    }
    let single = matches!(tree.folders.as_slice(), [only] if only.name.is_empty());
    let place = |found: &Found| match format {
        _ if single => (task.to.clone(), false),
        Format::Maildir => tree::maildir_path(&task.to, &found.name, task.layout),
        Format::Mbox => tree::mbox_path(&task.to, &found.name, &tree.folders),
    };
    let mut pairs = Vec::new();
    for found in &tree.folders {
        let (to, renamed) = place(found);
        if pairs.iter().any(|pair: &Pair| pair.to == to) {
            return Err(Failure::Exists { path: to, hint: ": two folders would have this name" });
        }
        pairs.push(Pair { name: tree::shown(&found.name), from: found.path.clone(), to, renamed });
    }
    Ok(pairs)
}

/// Makes sure that nothing is in the way before anything is made.
fn begin(format: Format, pairs: &[Pair]) -> Result<(), Failure> {
    for pair in pairs {
        let there = pair.to.symlink_metadata().is_ok();
        if format == Format::Mbox && there {
            return Err(Failure::Exists { path: pair.to.clone(), hint: "" });
        }
    }
    Ok(())
}

/// Removes what an earlier run has left unfinished.
fn discard(task: &Task, pairs: &[Pair], format: Format) -> Result<(), Failure> {
    let Some(state) = State::load_any(&task.to)? else { return Ok(()) };
    for (pair, progress) in pairs.iter().zip(&state.folders) {
        match format {
            Format::Maildir => to_maildir::discard(&pair.to, &progress.job)?,
            Format::Mbox if progress.complete => fs::remove_file(&pair.to).at("remove", &pair.to)?,
            Format::Mbox => to_mbox::discard(&pair.to)?,
        }
    }
    state.remove()
}

fn folder(
    task: &Task,
    format: Format,
    pair: &Pair,
    number: usize,
    state: &mut State,
    details: &mut Details<'_>,
) -> Result<(), Failure> {
    if state.folders.get(number).is_some_and(|progress| progress.finished) {
        return Ok(());
    }
    let mut origin = Origin::open(&pair.from, task.policy, task.from_dialect)?;
    let bar = Bar::new(&pair.name, origin.len(), task.quiet);
    let modified = match &origin {
        Origin::Mbox { mbox, .. } => Some(mbox.modified()),
        Origin::Maildir(_) => None,
    };
    let is_below = task.layout == Layout::MaildirPlusPlus && pair.to != task.to;
    let mut context = Context { name: &pair.name, number, state, details, bar, strip: task.strip, is_below, modified };
    context.begin(&origin)?;
    match format {
        Format::Maildir => to_maildir::run(&mut origin, &pair.to, &mut context),
        Format::Mbox => to_mbox::run(&mut origin, &pair.to, task.dialect.unwrap_or(Dialect::Mboxrd), &mut context),
    }
}
