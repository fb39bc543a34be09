//! What is kept beside the target while a conversion goes on, so that it can be gone on with after it was interrupted at any point.
//!
//! The file is replaced as a whole, and only after what it says is on stable storage. What was done after that is recognised: an mbox file is cut where
//! the state says that it ended, and messages in a Maildir bear the number of their job and their own in their names.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::failure::{At, Failure};
use super::report::Totals;

/// The state of a conversion.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct State {
    /// What is converted, and how: an interrupted run is gone on with only by the same.
    pub task: String,
    /// The folders, in their order.
    pub folders: Vec<Progress>,
    /// Where this is kept.
    #[serde(skip)]
    path: PathBuf,
}

/// How far one folder is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Progress {
    /// What the source was like when it was begun.
    pub stamp: String,
    /// In the names of a Maildir's messages: this job's.
    pub job: String,
    /// So many messages of the source are dealt with.
    pub done: u64,
    /// Octets of an mbox file that are done.
    pub end: u64,
    /// All is in the target, though the last steps may be missing.
    pub complete: bool,
    /// All is done.
    pub finished: bool,
    /// What was counted so far.
    pub totals: Totals,
}

/// Behind the target's name.
const SUFFIX: &str = ".mailconv";

/// Locked while a run is at work.
const LOCK: &str = ".mailconv-lock";

/// Keeps other runs away from a target. Goes with this.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks a target.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`], if another run is at work there.
    pub fn new(target: &Path) -> Result<Self, Failure> {
        let path = beside(target, LOCK);
        loop {
            let file = File::options().write(true).create(true).truncate(false).open(&path).at("create", &path)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Err(Failure::Busy { path: target.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
                Ok(()) => {}
            }
            // Whoever had it before may have removed the name.
            let of = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
            let named = fs::metadata(&path).ok().map(of);
            if named == Some(of(file.metadata().at("look at", &path)?)) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If it stays, it is locked by nobody, and used again.
        let _ = fs::remove_file(&self.path);
    }
}

/// A path with something behind its last component.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.components().as_path().as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl State {
    /// What an earlier run has left beside `target`, if anything.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is of another conversion.
    pub fn load(target: &Path, task: &str) -> Result<Option<Self>, Failure> {
        match Self::load_any(target)? {
            Some(state) if state.task != task => {
                Err(Failure::State { path: state.path, why: "source or options differ; --restart begins anew" })
            }
            state => Ok(state),
        }
    }

    /// The same of any conversion.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn load_any(target: &Path) -> Result<Option<Self>, Failure> {
        let path = beside(target, SUFFIX);
        let octets = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.at("read", &path)?,
        };
        let state: Self = serde_json::from_slice(&octets)
            .map_err(|_| Failure::State { path: path.clone(), why: "it cannot be understood" })?;
        Ok(Some(Self { path, ..state }))
    }

    /// Begins one.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn new(target: &Path, task: &str, folders: usize) -> Result<Self, Failure> {
        let folders = vec![Progress::default(); folders];
        let state = Self { task: task.to_owned(), folders, path: beside(target, SUFFIX) };
        state.save()?;
        Ok(state)
    }

    /// Writes it onto stable storage.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn save(&self) -> Result<(), Failure> {
        let next = beside(&self.path, "-next");
        let octets = serde_json::to_vec(self).map_err(std::io::Error::from).at("write", &next)?;
        let mut file = File::create(&next).at("create", &next)?;
        file.write_all(&octets).at("write", &next)?;
        file.sync_all().at("sync", &next)?;
        fs::rename(&next, &self.path).at("rename", &next)?;
        sync_above(&self.path)
    }

    /// What is in it does not fit.
    #[must_use]
    pub fn strange(&self, why: &'static str) -> Failure {
        Failure::State { path: self.path.clone(), why }
    }

    /// Removes it: there is nothing left to do.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn remove(self) -> Result<(), Failure> {
        fs::remove_file(&self.path).at("remove", &self.path)?;
        sync_above(&self.path)
    }
}

/// Syncs the directory that holds `path`.
///
/// # Errors
///
/// When that fails.
pub fn sync_above(path: &Path) -> Result<(), Failure> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above).and_then(|directory| directory.sync_all()).at("sync", above)
}

/// Makes a directory and those above it, onto stable storage.
///
/// # Errors
///
/// When that fails.
pub fn create_directories(path: &Path) -> Result<(), Failure> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        create_directories(above)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        created => created.at("create", path)?,
    }
    sync_above(path)
}
