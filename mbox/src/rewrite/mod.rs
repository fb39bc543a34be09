//! Messages are removed and their marks changed.

mod journal;
mod output;
mod patch;
mod plan;
mod replace;

use std::fs::{File, FileTimes, Metadata};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::calls;
use crate::entries::{Entries, Entry};
use crate::error::{Error, Operation};
use crate::mailbox::Locked;
use crate::metadata::Base;
use crate::reader::Section;
use crate::splitter::Policy;

#[cfg(test)]
pub(crate) use journal::MAGIC;
pub use plan::Edit;
use plan::{Plan, Planner};

/// How a file is changed where more changes than octets in their places.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Rewriting {
    /// A new file takes its place, with its owner, permissions, access control list and other extended attributes: at any moment any program sees either
    /// the old one or the new one. Where the file has other hard links, or we may not give another file what it has, it is done as with
    /// [`Self::InPlace`]. For files that no other program delivers to: one that has opened the old file, and does not look again once it has its lock,
    /// puts mail where nobody reads it.
    Replace,
    /// The file stays, and is written from the first change on, as by mutt, Dovecot and c-client. What is to be written is put beside it first, so that a
    /// crash is made good when the mailbox is locked the next time; other programs see a half-written file until then.
    #[default]
    InPlace,
}

/// What [`Locked::rewrite`] has done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rewritten {
    /// Messages that are gone.
    pub removed: usize,
    /// Messages with other marks.
    pub changed: usize,
    /// How.
    pub way: Way,
}

/// In which way a file was changed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Way {
    /// There was nothing to change.
    Nothing,
    /// All that went was at its end.
    Truncated,
    /// Octets were changed where they are.
    Patched,
    /// It was written from the first change on.
    InPlace,
    /// Another file is there now.
    Replaced,
}

impl Locked {
    /// Goes through the messages and does with each what `edit` says; all others, and all other octets, stay as they are. c-client's internal message is
    /// not asked about, and stays. All of it is on stable storage afterwards.
    ///
    /// `base`: what the mailbox says of itself from now on; `None`: what it says. It stands in the internal message, or else in the first that stays: if
    /// none stays, it is gone, and with it the last UID that was given.
    ///
    /// New marks are put at the end of a header section, with 64 octets of room behind the keywords, so that most later changes need to write a few octets
    /// only: those within one sector of 512 octets are written as they are, others by way of a journal as with [`Rewriting::InPlace`].
    ///
    /// The file's mtime is that of now; its atime is earlier, if a message stays that is neither [`SEEN`](crate::Flag::SEEN) nor
    /// [`OLD`](crate::Flag::OLD), so that mail readers tell that there is new mail.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::ReadOnly`], [`Error::LockLost`]. The file is as it was, or is made whole when it is locked the next time; of marks that are
    /// changed where they are, some may have been, and where the directory of a new file could not be synced, that file is there.
    ///
    /// ```
    /// use postrider_mbox::{Access, Edit, Flag, Mbox, Policy};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let path = scratch.path().join("mbox");
    /// std::fs::write(&path, "From a@b Thu Jan  1 00:00:00 1970\nSubject: 1\n\nHello.\n\nFrom c@d Thu Jan  1 00:00:00 1970\nSubject: 2\n\nBye.\n")?;
    /// let mut locked = Mbox::open(&path)?.lock(Access::Write)?;
    /// let mut number = 0;
    /// let rewritten = locked.rewrite(Policy::default(), None, |entry| {
    ///     number += 1;
    ///     match number {
    ///         1 => Edit::Remove,
    ///         _ => {
    ///             let mut metadata = entry.metadata.clone();
    ///             metadata.flags = metadata.flags.with(Flag::SEEN);
    ///             Edit::Set(metadata)
    ///         }
    ///     }
    /// })?;
    /// assert_eq!((rewritten.removed, rewritten.changed), (1, 1));
    /// assert!(std::fs::read_to_string(&path)?.starts_with("From c@d Thu Jan  1 00:00:00 1970\nSubject: 2\nStatus: R\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rewrite(
        &mut self,
        policy: Policy,
        base: Option<&Base>,
        edit: impl FnMut(&Entry) -> Edit,
    ) -> Result<Rewritten, Error> {
        self.writable()?;
        let before = calls::metadata_of(self.file(), self.path())?;
        let plan = self.plan(policy, base, edit)?;
        // Reading may have taken long.
        self.touch()?;
        let way = if plan.splices.is_empty() {
            Way::Nothing
        } else if let Some(end) = plan.truncation(before.len()) {
            calls::truncate(self.file(), self.path(), end)?;
            self.set_times(&before, &plan);
            calls::sync_file(self.file(), self.path())?;
            Way::Truncated
        } else if plan.is_in_place() {
            self.patch(&before, &plan)?;
            Way::Patched
        } else if self.mbox().options().rewriting == Rewriting::Replace && self.replace(&before, &plan)? {
            Way::Replaced
        } else {
            self.write_in_place(&before, &plan)?;
            Way::InPlace
        };
        Ok(Rewritten { removed: plan.removed, changed: plan.changed, way })
    }

    fn plan(&self, policy: Policy, base: Option<&Base>, mut edit: impl FnMut(&Entry) -> Edit) -> Result<Plan, Error> {
        let failed = |source| Error::io(Operation::Read, self.path(), source);
        let mut planner = Planner::new(base);
        let mut entries = Entries::new(Section::new(self.file(), 0, None).map_err(failed)?, policy);
        while let Some(entry) = entries.next().map_err(failed)? {
            planner.add(&entry, &mut edit);
        }
        Ok(planner.finish())
    }

    /// By these times mail readers tell whether there is new mail. Only the owner may set them; without, it is as if all had been seen.
    fn set_times(&self, before: &Metadata, plan: &Plan) {
        self.set_times_of(self.file(), before, plan);
    }

    fn set_times_of(&self, file: &File, before: &Metadata, plan: &Plan) {
        let now = SystemTime::now();
        let earlier = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        let accessed = match (plan.leaves_new, before.accessed()) {
            (true, Ok(accessed)) => accessed.min(earlier),
            _ => now,
        };
        let times = FileTimes::new().set_modified(now).set_accessed(accessed);
        let _ = calls::set_times(file, self.path(), times);
    }

    /// The file that is being written beside the mailbox, and the one that is complete.
    fn beside(&self) -> Result<Beside, Error> {
        let (directory, name) = self.real_place()?;
        let named = |end: &str| {
            let mut file = std::ffi::OsString::from(".");
            file.push(&name);
            file.push(end);
            directory.join(file)
        };
        Ok(Beside {
            growing: named(".rewrite-new"),
            journal: named(".rewrite"),
            real: directory.join(&name),
            directory,
        })
    }
}

/// Names beside the mailbox.
struct Beside {
    /// What is being written. Whatever else has that name was left by a crash: only who holds the lock writes it.
    growing: PathBuf,
    /// A journal that is complete.
    journal: PathBuf,
    /// The mailbox itself, whatever links lead there.
    real: PathBuf,
    directory: PathBuf,
}
