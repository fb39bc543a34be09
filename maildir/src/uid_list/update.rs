use std::fs::Metadata;
use std::path::{Path, PathBuf};

use crate::calls;
use crate::dotlock::Dotlock;
use crate::error::{Error, Operation};
use crate::listing::Listing;
use crate::maildir::Maildir;
use crate::replacement::{Replacement, make_later, read_if_there};
use crate::uid_list::parse::claimed_validity;
use crate::uid_list::{UidList, UidListError};

/// In per cent. Where fewer of a list's entries count, it is rewritten instead of appended to. Dovecot's number.
const MIN_LIVE: usize = 75;

const DOVECOT: &str = "dovecot-uidlist";
const COURIER: &str = "courierimapuiddb";

impl Maildir {
    /// Reads `dovecot-uidlist`, without a lock. `None` if there is none.
    ///
    /// # Errors
    /// [`Error::UidList`] if it breaks its own rules, [`Error::NotRegular`], [`Error::Io`].
    pub fn uid_list(&self) -> Result<Option<UidList>, Error> {
        read_list(&self.path().join(DOVECOT))
    }

    /// Reads `courierimapuiddb`, in which Courier keeps the UIDs. `None` if there is none. [`UidUpdate::adopt`] makes them
    /// Dovecot's and ours.
    ///
    /// # Errors
    /// As [`uid_list`](Self::uid_list).
    pub fn courier_uid_list(&self) -> Result<Option<UidList>, Error> {
        read_list(&self.path().join(COURIER))
    }

    /// Writes `courierimapuiddb`, whole, onto stable storage: for a Maildir that Courier will go on with. Courier must
    /// not be at work on it: its lock is its own affair.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::IoBetween`].
    pub fn write_courier_uid_list(&self, list: &UidList) -> Result<(), Error> {
        let mut replacement = Replacement::begin(self)?;
        replacement.write(&list.to_courier())?;
        replacement.replace(&self.path().join(COURIER), || Ok(()))
    }

    /// Locks `dovecot-uidlist`, as Dovecot does, and reads it. Where there is none, or it breaks its own rules, this
    /// begins a new one, with a UIDVALIDITY greater than any before; see [`UidUpdate::broken`].
    ///
    /// ```
    /// use postrider_maildir::Maildir;
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let path = scratch.path().join("Maildir");
    /// let maildir = Maildir::create(path)?;
    /// let delivered = maildir.delivery()?.commit()?;
    ///
    /// let mut update = maildir.update_uids()?;
    /// let listing = maildir.list()?; // after the lock, so that it may be trusted about what is gone
    /// update.forget_missing(&listing);
    /// update.assign(&listing)?;
    /// let list = update.commit()?; // only now may a client hear of the new UIDs
    /// assert_eq!(list.find(delivered.name().base()).map(|entry| entry.uid()), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`] if another program holds the lock for longer than [`Options::lock_timeout`](crate::Options);
    /// [`Error::NotRegular`]; [`Error::Io`] and [`Error::IoBetween`].
    pub fn update_uids(&self) -> Result<UidUpdate, Error> {
        let path = self.path().join(DOVECOT);
        let lock = Dotlock::acquire(self, &path)?;
        let Some(octets) = read_if_there(&path)? else {
            let list = UidList::new(self.next_uid_validity()?);
            return Ok(UidUpdate { maildir: self.clone(), path, lock, list, is_new: true, broken: None });
        };
        let claimed = claimed_validity(&octets);
        let (list, broken) = match UidList::parse(octets) {
            Ok(list) => (list, None),
            Err(error) => (UidList::new(self.uid_validity_above(claimed)?), Some(error)),
        };
        Ok(UidUpdate { maildir: self.clone(), path, lock, list, is_new: false, broken })
    }
}

fn read_list(path: &Path) -> Result<Option<UidList>, Error> {
    let Some(octets) = read_if_there(path)? else { return Ok(None) };
    UidList::parse(octets).map(Some).map_err(|source| Error::UidList { path: path.to_owned(), source })
}

/// A list of UIDs under its lock. Dropped, it changes nothing.
#[derive(Debug)]
#[must_use = "an update that is dropped changes nothing; `commit` writes it"]
pub struct UidUpdate {
    maildir: Maildir,
    path: PathBuf,
    lock: Dotlock,
    list: UidList,
    is_new: bool,
    broken: Option<UidListError>,
}

impl UidUpdate {
    /// The list as it will be written.
    #[must_use]
    pub fn list(&self) -> &UidList {
        &self.list
    }

    /// Why the list that was there could not be used, if it could not: all messages get new UIDs.
    #[must_use]
    pub fn broken(&self) -> Option<UidListError> {
        self.broken
    }

    /// See [`UidList::assign`].
    ///
    /// # Errors
    /// [`Error::UidList`] if no UID is left.
    pub fn assign(&mut self, listing: &Listing) -> Result<usize, Error> {
        self.list.assign(listing).map_err(|source| Error::UidList { path: self.path.clone(), source })
    }

    /// See [`UidList::forget_missing`]. The listing must have been made since the list was locked.
    pub fn forget_missing(&mut self, listing: &Listing) -> usize {
        self.list.forget_missing(listing)
    }

    /// See [`UidList::set_field`].
    pub fn set_field(&mut self, uid: u32, letter: u8, value: &[u8]) -> bool {
        self.list.set_field(uid, letter, value)
    }

    /// Takes another program's UIDs over, UIDVALIDITY included, if there has been no list here. Returns whether it did.
    pub fn adopt(&mut self, list: UidList) -> bool {
        if self.is_new {
            self.list = UidList { rewrite: true, ..list };
        }
        self.is_new
    }

    /// Begins anew with a greater UIDVALIDITY: all that clients know by UID is void.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::IoBetween`].
    pub fn renumber(&mut self) -> Result<(), Error> {
        self.list = UidList::new(self.maildir.uid_validity_above(self.list.uid_validity())?);
        Ok(())
    }

    /// Writes the list and releases the lock. What this returns is on stable storage, even if there was nothing to write.
    ///
    /// New messages are appended to the file. It is rewritten where it was new, broken, incomplete, of version 1 or
    /// without GUID; where fields changed; and where less than three quarters of its entries are of messages still there.
    ///
    /// # Errors
    /// [`Error::LockLost`] if the lock was taken away, with nothing changed. [`Error::Io`] and [`Error::IoBetween`]: the
    /// file is as it was, or has the new UIDs too, never anything else; another update makes sure.
    pub fn commit(mut self) -> Result<UidList, Error> {
        self.lock.assert_held()?;
        if self.list.wants_rewrite() {
            self.rewrite()?;
        } else {
            self.append()?;
        }
        Ok(self.list)
    }

    fn rewrite(&mut self) -> Result<(), Error> {
        if self.list.header.guid.is_none() {
            self.list.header.guid = Some(random_guid(&self.path)?);
        }
        let mut replacement = Replacement::begin(&self.maildir)?;
        let (list, lock) = (&self.list, &mut self.lock);
        list.each_piece(|piece| {
            lock.assert_held()?;
            replacement.write(piece)
        })?;
        replacement.replace(&self.path, || lock.assert_held())
    }

    fn append(&mut self) -> Result<(), Error> {
        let mut file = calls::open_to_append(&self.path)?;
        let old = calls::metadata_of(&file, &self.path)?;
        if old.len() != self.list.stored as u64 {
            // Somebody wrote to the list we hold locked.
            return Err(Error::LockLost { path: self.path.clone() });
        }
        let new = self.list.octets.get(self.list.stored..).unwrap_or_default();
        if !new.is_empty() {
            calls::write(&mut file, &self.path, new).map_err(|error| self.take_back(&file, &old, error))?;
            make_later(&file, &self.path, &old)?;
        }
        calls::sync_file(&file, &self.path)?;
        calls::sync_directory(self.maildir.path())
    }

    /// Leaves no line half written, where others might write on. What is whole stays: somebody may have read it.
    fn take_back(&self, file: &std::fs::File, old: &Metadata, error: Error) -> Error {
        let Ok(now) = calls::metadata_of(file, &self.path) else { return error };
        let written = usize::try_from(now.len() - old.len().min(now.len())).unwrap_or_default();
        let new = self.list.octets.get(self.list.stored..).unwrap_or_default();
        let whole = new.iter().take(written).rposition(|&octet| octet == b'\n').map_or(0, |last| last + 1);
        if whole < written {
            // An incomplete line is understood, if it must stay.
            let _ = calls::truncate(file, &self.path, old.len() + whole as u64);
        }
        error
    }
}

impl UidList {
    fn wants_rewrite(&self) -> bool {
        self.rewrite || self.live * 100 < self.rows.len() * MIN_LIVE
    }
}

fn random_guid(path: &Path) -> Result<[u8; 32], Error> {
    let random = || {
        getrandom::u64().map_err(|error| Error::io(Operation::Random, path, std::io::Error::other(error.to_string())))
    };
    let digits = format!("{:016x}{:016x}", random()?, random()?);
    Ok(digits.as_bytes().try_into().unwrap_or([b'0'; 32]))
}
