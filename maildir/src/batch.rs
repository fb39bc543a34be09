//! Many messages, few syncs.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::calls;
use crate::commit::{Delivered, Prepared};
use crate::delivery::Delivery;
use crate::error::Error;

/// So many files and directories of one file system are synced together, by one sync of the file system: it was
/// measured to cost about as much as the syncs of two files, and writes out what others have written too.
const TOGETHER: usize = 4;

/// Takes two batches of messages one step further with the same syncs: those prepared before are delivered, those
/// written since are prepared.
///
/// A server under load calls it in a loop with what came back as prepared and what has arrived meanwhile; each message is
/// then delivered by its second call, and one sync of the file system serves a whole batch in both steps. See
/// [`commit_all`] and [`prepare_all`] for each step by itself. The results stand in the order of the arguments.
///
/// On Linux 5.8 and later four files or more of one file system are synced by `syncfs`; elsewhere one by one.
#[must_use]
pub fn advance(prepared: Vec<Prepared>, written: Vec<Delivery>) -> Advanced {
    let placed: Vec<_> = prepared.into_iter().map(Prepared::place).collect();
    let written: Vec<_> = written.into_iter().map(Delivery::written).collect();
    // Every rename and write comes before the first sync: a journal then takes them all at once.
    let directories = placed.iter().flatten().map(|placed| Sync::directory(placed.directory_path()));
    let files = written.iter().flatten().map(Sync::file);
    let synced = sync_all(directories.chain(files).collect());
    let delivered = placed.into_iter().map(|placed| {
        let placed = placed?;
        match failure(&synced, placed.directory_path()) {
            Some(error) => Err(placed.withdraw(error)),
            None => Ok(placed.delivered),
        }
    });
    let prepared = written.into_iter().map(|written| {
        let written = written?;
        failure(&synced, written.path()).map_or_else(|| Ok(written.into_prepared()), Err)
    });
    Advanced { delivered: delivered.collect(), prepared: prepared.collect() }
}

/// What [`advance`] made of its two batches.
#[derive(Debug)]
pub struct Advanced {
    /// The receipts for what was prepared.
    pub delivered: Vec<Result<Delivered, Error>>,
    /// What was written, prepared.
    pub prepared: Vec<Result<Prepared, Error>>,
}

/// Delivers many messages, to one Maildir or to many, for one sync of each directory or of the file system instead of one
/// each message.
///
/// The results stand in the order of `prepared`. One that fails does not keep the others from being delivered; every
/// receipt is given after the sync of its directory.
///
/// ```
/// use postrider_maildir::{Maildir, commit_all};
/// use std::io::Write;
///
/// # let scratch = tempfile::tempdir()?;
/// let (anna, bert) = (Maildir::create(scratch.path().join("anna"))?, Maildir::create(scratch.path().join("bert"))?);
/// let mut delivery = anna.delivery()?;
/// delivery.write_all(b"Subject: to both\r\n\r\n")?;
/// let for_anna = delivery.prepare()?;
/// let for_bert = for_anna.link_to(&bert)?; // the octets are on the disk once
/// for receipt in commit_all(vec![for_anna, for_bert]) {
///     assert_eq!(receipt?.name().size(), Some(20));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn commit_all(prepared: Vec<Prepared>) -> Vec<Result<Delivered, Error>> {
    advance(prepared, Vec::new()).delivered
}

/// Forces the content of many messages to stable storage, as [`Delivery::prepare`] does with one.
///
/// The results stand in the order of `written`. One that fails does not keep the others from being prepared, unless the
/// file system as a whole reports a failure.
#[must_use]
pub fn prepare_all(written: Vec<Delivery>) -> Vec<Result<Prepared, Error>> {
    advance(Vec::new(), written).prepared
}

/// What is to reach stable storage.
struct Sync<'a> {
    path: &'a Path,
    /// The file, and since when it is open.
    file: Option<(&'a File, Instant)>,
    device: Option<u64>,
}

impl<'a> Sync<'a> {
    fn directory(path: &'a Path) -> Self {
        Self { path, file: None, device: fs::metadata(path).ok().map(|metadata| metadata.dev()) }
    }

    fn file(delivery: &'a Delivery) -> Self {
        let (file, opened) = delivery.file();
        let device = file.metadata().ok().map(|metadata| metadata.dev());
        Self { path: delivery.path(), file: Some((file, opened)), device }
    }

    fn run(&self) -> Result<(), Error> {
        match self.file {
            Some((file, _)) => calls::sync_file(file, self.path),
            None => calls::sync_directory(self.path),
        }
    }
}

/// What became of each path.
type Synced = HashMap<PathBuf, Result<(), Error>>;

fn sync_all(syncs: Vec<Sync<'_>>) -> Synced {
    let mut by_device = HashMap::<_, HashMap<_, _>>::new();
    for sync in syncs {
        // Many messages go to one directory.
        by_device.entry(sync.device).or_default().insert(sync.path, sync);
    }
    let mut synced = Synced::new();
    for (device, syncs) in by_device {
        let together = device.is_some() && syncs.len() >= TOGETHER && calls::can_sync_file_system();
        let result = together.then(|| sync_file_system(syncs.values()));
        let of = |sync: &Sync<'_>| result.as_ref().map_or_else(|| sync.run(), |result| again(result, sync.path));
        synced.extend(syncs.values().map(|sync| (sync.path.to_owned(), of(sync))));
    }
    synced
}

/// The kernel reports each failure to write to every file that was open when it happened, once. So the file that
/// has been open the longest knows of all failures that concern the others.
fn sync_file_system<'a>(syncs: impl Iterator<Item = &'a Sync<'a>>) -> Result<(), Error> {
    // Directories, which are not open, come last.
    let oldest = syncs.min_by_key(|sync| (sync.file.is_none(), sync.file.map(|(_, opened)| opened)));
    match oldest {
        Some(Sync { path, file: Some((file, _)), .. }) => calls::sync_file_system(file, path),
        Some(Sync { path, file: None, .. }) => calls::sync_file_system_of(path),
        None => Ok(()),
    }
}

fn failure(synced: &Synced, path: &Path) -> Option<Error> {
    match synced.get(path) {
        Some(result) => again(result, path).err(),
        None => None,
    }
}

/// The same outcome once more: one failed sync fails every message that waited for it.
fn again(result: &Result<(), Error>, path: &Path) -> Result<(), Error> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(error.again(path)),
    }
}
