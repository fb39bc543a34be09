//! What the conversion of one folder tells others: what is done, what is to be noted.

use super::failure::Failure;
use super::origin::Origin;
use super::progress::Bar;
use super::report::{Details, Note};
use super::state::{Progress, State};

/// The conversion of one folder.
pub struct Context<'c, 'w> {
    /// The folder's name.
    pub name: &'c str,
    /// Which of the state's folders it is.
    pub number: usize,
    /// The state, which is saved when messages are safe.
    pub state: &'c mut State,
    /// Where notes go.
    pub details: &'c mut Details<'w>,
    /// How far it is.
    pub bar: Bar,
    /// Whether the fields of a mailbox are left out in a Maildir.
    pub strip: bool,
    /// Whether it is a Maildir++ folder below the root.
    pub is_below: bool,
    /// When the source was last changed: for messages without a date.
    pub modified: Option<i64>,
}

impl Context<'_, '_> {
    /// Compares the source with what it was when it was begun.
    ///
    /// # Errors
    ///
    /// When it is another now.
    pub fn begin(&mut self, origin: &Origin) -> Result<(), Failure> {
        let (stamp, before) = (origin.stamp(), self.progress());
        if before.stamp.is_empty() {
            if let Origin::Mbox { survey, .. } = origin {
                let internal = u64::from(survey.internal);
                self.note("0", Note::Internal, internal, "internal message of c-client")?;
                self.note("0", Note::Junk, survey.junk, "octets before the first message")?;
                let uids = u64::from(survey.numbered < survey.said);
                self.note("0", Note::Uids, uids, "X-UID fields that do not rise, or without X-IMAPbase")?;
            }
            self.save(|progress| progress.stamp = stamp)
        } else if before.stamp == stamp {
            Ok(())
        } else {
            Err(self.state.strange("the source has changed since; --restart begins anew"))
        }
    }

    /// How far it is on stable storage, but for the sums, which run on.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.state.folders.get(self.number).cloned().unwrap_or_default()
    }

    /// Changes that, and saves it.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn save(&mut self, change: impl FnOnce(&mut Progress)) -> Result<(), Failure> {
        if let Some(progress) = self.state.folders.get_mut(self.number) {
            change(progress);
        }
        self.state.save()
    }

    /// A message of so many octets is in the target, or about to be.
    pub fn message(&mut self, octets: u64) {
        if let Some(progress) = self.state.folders.get_mut(self.number) {
            progress.totals.messages += 1;
            progress.totals.octets += octets;
        }
    }

    /// Something to be noted, `count` times.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written to.
    pub fn note(&mut self, at: &str, note: Note, count: u64, text: &str) -> Result<(), Failure> {
        if count == 0 {
            return Ok(());
        }
        if let Some(progress) = self.state.folders.get_mut(self.number) {
            progress.totals.note(note, count);
        }
        self.details.tell(self.name, at, note, count, text)
    }

    /// Makes sure that nobody has changed an mbox file meanwhile.
    ///
    /// # Errors
    ///
    /// When somebody has.
    pub fn source_is_unchanged(&self, origin: &Origin) -> Result<(), Failure> {
        match origin {
            Origin::Mbox { mbox, .. } => mbox.is_unchanged(),
            Origin::Maildir(_) => Ok(()),
        }
    }
}
