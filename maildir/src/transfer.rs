use crate::calls;
use crate::commit::{Delivered, Prepared, copy_into, link_into};
use crate::delivery::Destination;
use crate::error::Error;
use crate::maildir::{Directory, Maildir};
use crate::message::Message;

impl Message {
    /// Prepares a copy for another Maildir (or this one), as a hard link where there can be one. It gets a unique name of
    /// its own, goes to `cur/` or `new/` as the original, and keeps flags and time. The UID that mbsync may have put into
    /// the name stays behind. [`Prepared::commit`] or [`commit_all`](crate::commit_all) delivers it.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::NotRegular`], and what a delivery can meet.
    pub fn copy_to(&mut self, maildir: &Maildir) -> Result<Prepared, Error> {
        self.chase(|message| message.link_or_copy(maildir))
    }

    /// Moves the message to another Maildir: a durable copy, then removal here. A crash in between leaves both; it never
    /// leaves none.
    ///
    /// # Errors
    /// As [`copy_to`](Self::copy_to) and [`Prepared::commit`]; the message is then still here. If only its removal fails,
    /// it is in both.
    pub fn move_to(mut self, maildir: &Maildir) -> Result<Delivered, Error> {
        let delivered = self.copy_to(maildir)?.commit()?;
        match self.remove() {
            // Somebody else was faster; it is gone from here, as was asked.
            Err(error) if error.is_gone() => Ok(delivered),
            removed => removed.map(|()| delivered),
        }
    }

    fn link_or_copy(&self, maildir: &Maildir) -> Result<Prepared, Error> {
        let path = self.path();
        let file = calls::open_message(&path)?;
        let size = calls::metadata_of(&file, &path)?.len();
        // Whoever delivered it may not have synced it.
        calls::sync_file(&file, &path)?;
        let destination = self.destination();
        let (unique, tmp) = match link_into(&path, maildir, destination) {
            Err(error) if error.is_link_unsupported() => return copy_into(&path, maildir, destination),
            settled => settled?,
        };
        // A name that is wrong about the one size is not believed about the other.
        let crlf_size = self.name().crlf_size().filter(|_| self.name().size() == Some(size));
        Ok(Prepared { maildir: maildir.clone(), destination, unique, tmp, size, crlf_size })
    }

    fn destination(&self) -> Destination {
        match self.directory() {
            Directory::Cur => Destination::Cur(self.name().flags()),
            Directory::New => Destination::New,
        }
    }
}
