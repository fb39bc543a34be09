use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::folders::{Folder, Tree};
use crate::maildir::Maildir;
use crate::stamp::Stamp;
use crate::watch::{Change, Watched, What};

/// Looks at directories from time to time.
#[derive(Debug)]
pub(super) struct Polling {
    interval: Duration,
    subjects: BTreeMap<Watched, Subject>,
}

#[derive(Debug)]
enum Subject {
    Messages(Maildir, Stamp),
    Folders(Tree, Vec<Folder>),
}

impl Polling {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, subjects: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, watched: Watched, maildir: &Maildir) -> Result<(), Error> {
        let stamp = maildir.stamp()?;
        self.subjects.insert(watched, Subject::Messages(maildir.clone(), stamp));
        Ok(())
    }

    pub(super) fn add_tree(&mut self, watched: Watched, tree: &Tree) -> Result<(), Error> {
        let folders = tree.list()?;
        self.subjects.insert(watched, Subject::Folders(tree.clone(), folders));
        Ok(())
    }

    pub(super) fn remove(&mut self, watched: Watched) {
        self.subjects.remove(&watched);
    }

    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> Result<Vec<Change>, Error> {
        loop {
            let changes = self.look()?;
            let left = deadline.map_or(self.interval, |deadline| deadline.saturating_duration_since(Instant::now()));
            if !changes.is_empty() || left.is_zero() {
                return Ok(changes);
            }
            thread::sleep(left.min(self.interval));
        }
    }

    fn look(&mut self) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        for (&watched, subject) in &mut self.subjects {
            let what = match subject.look() {
                Err(error) if error.is_missing() => Some(What::Lost),
                looked => looked?,
            };
            changes.extend(what.map(|what| Change { watched, what }));
        }
        for lost in changes.iter().filter(|change| change.what == What::Lost) {
            self.subjects.remove(&lost.watched);
        }
        Ok(changes)
    }
}

impl Subject {
    fn look(&mut self) -> Result<Option<What>, Error> {
        match self {
            Self::Folders(tree, known) => {
                let now = tree.list()?;
                let changed = now != *known;
                *known = now;
                Ok(changed.then_some(What::Folders))
            }
            Self::Messages(maildir, known) => {
                let now = maildir.stamp()?;
                // A change may hide in the times of the one before; once they are settled, none can.
                let doubtful = !known.is_settled() && now.is_settled();
                let changed = doubtful || !now.same_times(known);
                if changed {
                    *known = now;
                }
                Ok(changed.then_some(What::Rescan))
            }
        }
    }
}
