use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::calls;
use crate::delivery::{Delivery, Destination, TmpFile};
use crate::error::{Error, Operation};
use crate::flags::Flag;
use crate::maildir::{Directory, Maildir};
use crate::name::Name;
use crate::unique::{TRIES, unique, with_free_name};

/// A message whose content is on stable storage, still in `tmp/`. Dropped, it is removed.
#[derive(Debug)]
#[must_use = "a prepared message that is dropped is removed; `commit` delivers it"]
pub struct Prepared {
    pub(crate) maildir: Maildir,
    pub(crate) destination: Destination,
    pub(crate) unique: Vec<u8>,
    pub(crate) tmp: TmpFile,
    pub(crate) size: u64,
    pub(crate) crlf_size: Option<u64>,
}

/// The receipt for a message: it is in the Maildir, and stays there if the power goes now.
#[derive(Clone, Debug)]
pub struct Delivered {
    name: Name<'static>,
    directory: Directory,
}

impl Delivered {
    /// The name of the file.
    #[must_use]
    pub fn name(&self) -> &Name<'static> {
        &self.name
    }

    /// Where it was put. A mail reader may have moved it since.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.directory
    }
}

impl Prepared {
    /// Delivers the message. When this returns the receipt, it is on stable storage.
    ///
    /// # Errors
    /// [`Error::IoBetween`] if it cannot be moved, [`Error::Io`] if the directory cannot be synced. The message was not
    /// delivered then, and nothing is left of it, unless removing it failed too.
    pub fn commit(self) -> Result<Delivered, Error> {
        let placed = self.place()?;
        let synced = calls::sync_directory(placed.directory_path());
        match synced {
            Ok(()) => Ok(placed.delivered),
            Err(error) => Err(placed.withdraw(error)),
        }
    }

    /// The same message for another Maildir, under a name of its own, without writing the octets again: a hard link, or,
    /// where there can be none (another file system, too many links), a copy that is synced.
    ///
    /// The Maildirs then share one file: its owner, its permissions and its time.
    ///
    /// # Errors
    /// As [`Maildir::delivery`] and [`Delivery::prepare`].
    pub fn link_to(&self, maildir: &Maildir) -> Result<Self, Error> {
        let linked = link_into(self.tmp.path(), maildir, self.destination);
        let (unique, tmp) = match linked {
            Err(error) if error.is_link_unsupported() => {
                let copy = copy_into(self.tmp.path(), maildir, self.destination)?;
                return Ok(Self { crlf_size: self.crlf_size, ..copy });
            }
            settled => settled?,
        };
        let Self { destination, size, crlf_size, .. } = *self;
        Ok(Self { maildir: maildir.clone(), destination, unique, tmp, size, crlf_size })
    }

    /// How large the message is, in octets.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Moves the file to its place, without the sync that makes it stay.
    pub(crate) fn place(mut self) -> Result<Placed, Error> {
        for _ in 0..TRIES {
            let name = self.final_name();
            let to = self.maildir.directory(self.directory()).join(OsStr::from_bytes(&name));
            match calls::place(self.tmp.path(), &to) {
                Err(error) if error.is_taken() => self.unique = unique(&self.maildir, self.destination.flags())?,
                Err(error) => return Err(error),
                Ok(()) => return self.placed(name, to),
            }
        }
        Err(Error::NoFreeName { path: self.maildir.directory(self.directory()).to_owned(), tries: TRIES })
    }

    fn placed(self, name: Vec<u8>, path: PathBuf) -> Result<Placed, Error> {
        let directory = self.directory();
        let name = Name::parse(name).map_err(|source| Error::Name { path: path.clone(), source });
        self.tmp.placed();
        Ok(Placed { delivered: Delivered { name: name?, directory }, maildir: self.maildir, path })
    }

    fn directory(&self) -> Directory {
        match self.destination {
            Destination::Cur(_) => Directory::Cur,
            Destination::New => Directory::New,
        }
    }

    fn final_name(&self) -> Vec<u8> {
        let mut name = self.unique.clone();
        name.extend_from_slice(format!(",S={}", self.size).as_bytes());
        if let Some(crlf_size) = self.crlf_size {
            name.extend_from_slice(format!(",W={crlf_size}").as_bytes());
        }
        if let Destination::Cur(flags) = self.destination {
            name.extend([self.maildir.options().separator.octet(), b'2', b',']);
            name.extend(flags.iter().map(Flag::octet));
        }
        name
    }
}

/// A message that others can see already, but that a power failure could still lose.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) delivered: Delivered,
    maildir: Maildir,
    path: PathBuf,
}

impl Placed {
    pub(crate) fn directory_path(&self) -> &Path {
        self.maildir.directory(self.delivered.directory)
    }

    /// Takes the message back: the sender is going to hear that it was not accepted, and will try again. If a mail reader
    /// was faster and moved it, it stays, and comes twice; better than not at all.
    pub(crate) fn withdraw(self, error: Error) -> Error {
        let _ = calls::remove(&self.path);
        error
    }
}

/// Makes a hard link in another Maildir's `tmp/`.
pub(crate) fn link_into(from: &Path, maildir: &Maildir, destination: Destination) -> Result<(Vec<u8>, TmpFile), Error> {
    with_free_name(maildir, maildir.tmp(), destination.flags(), |unique, path| {
        calls::link(from, &path)?;
        Ok((unique, TmpFile::new(path)))
    })
}

/// Copies a file octet by octet into another Maildir, with its time.
pub(crate) fn copy_into(from: &Path, maildir: &Maildir, destination: Destination) -> Result<Prepared, Error> {
    let mut source = calls::open_message(from)?;
    let mut copy = Delivery::begin(maildir, destination)?;
    copy_octets(&mut source, from, &mut copy)?;
    copy.received_at(calls::metadata_of(&source, from)?.modified().unwrap_or_else(|_| SystemTime::now()));
    copy.prepare()
}

fn copy_octets(source: &mut impl Read, from: &Path, copy: &mut Delivery) -> Result<(), Error> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => copy.append(buffer.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(Operation::Read, from, error)),
        }
    }
}
