use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::calls;
use crate::error::Error;
use crate::flags::{Flag, Flags};
use crate::listing::Entry;
use crate::maildir::{Directory, Maildir};
use crate::name::{Name, NameError};
use crate::unique::unique;

/// How often a message is followed to where somebody else has moved it meanwhile.
pub(crate) const CHASES: u32 = 64;

/// What mail readers set most, tried by name before the directory is read.
const COMMON_FLAGS: [&[u8]; 8] = [b"S", b"", b"RS", b"FS", b"F", b"ST", b"PS", b"RST"];

/// One message of a Maildir, followed when other programs rename it.
///
/// A message is its base name. Where it was last seen is tried first, then the names it most likely has got, then the
/// directories are read.
#[derive(Clone, Debug)]
pub struct Message {
    maildir: Maildir,
    name: Name<'static>,
    directory: Directory,
}

impl Maildir {
    /// The message of a listing's entry, or of a receipt's name and directory. Looks at no file.
    #[must_use]
    pub fn message(&self, entry: &Entry<'_>) -> Message {
        Message { maildir: self.clone(), name: entry.name().clone().into_owned(), directory: entry.directory() }
    }

    /// The message with that base name (or whole file name), wherever it is.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is none, [`Error::Name`] if there cannot be one, [`Error::Io`] if a directory cannot be
    /// read.
    pub fn find(&self, name: &[u8]) -> Result<Message, Error> {
        let name = Name::parse(name).map_err(|source| self.name_error(source))?.into_owned();
        let mut message = Message { maildir: self.clone(), name, directory: Directory::New };
        message.locate()?;
        Ok(message)
    }

    fn name_error(&self, source: NameError) -> Error {
        Error::Name { path: self.path().to_owned(), source }
    }
}

impl Message {
    /// The name under which the message was last seen.
    #[must_use]
    pub fn name(&self) -> &Name<'static> {
        &self.name
    }

    /// The directory in which it was last seen.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.directory
    }

    /// Where it was last seen.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.path_of(self.directory, &self.name)
    }

    /// The Maildir it is in.
    #[must_use]
    pub fn maildir(&self) -> &Maildir {
        &self.maildir
    }

    /// Opens the message for reading. It can be read to the end even if somebody removes it meanwhile.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::NotRegular`], or [`Error::Io`].
    pub fn open(&mut self) -> Result<File, Error> {
        self.chase(|message| calls::open_message(&message.path()))
    }

    /// The metadata of the file: its true size, and in the time of its last modification when it was received.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Io`].
    pub fn metadata(&mut self) -> Result<Metadata, Error> {
        self.chase(|message| calls::metadata(&message.path()))
    }

    /// Sets these flags in place of those it has, and moves the message to `cur/` if it is in `new/`. One rename. Letters
    /// that only another program knows ([`Flags::unknown`]) stay; [`change_flags`](Self::change_flags) can take them too.
    ///
    /// # Errors
    /// [`Error::Gone`]; [`Error::Name`] if the name became longer than 255 octets; [`Error::ExperimentalInfo`];
    /// [`Error::Io`] and [`Error::IoBetween`].
    pub fn set_flags(&mut self, flags: Flags) -> Result<(), Error> {
        self.change_flags(|present| flags.with(present.unknown())).map(drop)
    }

    /// Adds flags to whatever the message has by now. As [`set_flags`](Self::set_flags). Returns all it has.
    ///
    /// # Errors
    /// As [`set_flags`](Self::set_flags).
    pub fn add_flags(&mut self, flags: Flags) -> Result<Flags, Error> {
        self.change_flags(|present| present.with(flags))
    }

    /// Takes flags from whatever the message has by now. As [`set_flags`](Self::set_flags). Returns what it has left.
    ///
    /// # Errors
    /// As [`set_flags`](Self::set_flags).
    pub fn remove_flags(&mut self, flags: Flags) -> Result<Flags, Error> {
        self.change_flags(|present| present.without(flags))
    }

    /// Moves a message from `new/` to `cur/`, which tells others that a mail reader has taken note of it. Its flags stay.
    ///
    /// # Errors
    /// As [`set_flags`](Self::set_flags).
    pub fn take_note(&mut self) -> Result<(), Error> {
        self.change_flags(|present| present).map(drop)
    }

    /// Sets the flags that `change` makes of those the message has, and moves it to `cur/`. If somebody else changes them
    /// at the same time, `change` is asked again, so that nobody's change is lost. Returns the flags set.
    ///
    /// Not synced: after a crash the message has the flags from before or from after. [`Maildir::sync`] makes sure.
    ///
    /// # Errors
    /// As [`set_flags`](Self::set_flags).
    pub fn change_flags(&mut self, change: impl Fn(Flags) -> Flags) -> Result<Flags, Error> {
        self.chase(|message| {
            let flags = change(message.name.flags());
            message.rename_for(flags).map(|()| flags)
        })
    }

    /// Removes the message. Not synced: after a crash it may be back.
    ///
    /// # Errors
    /// [`Error::Gone`] if somebody else did; [`Error::Io`].
    pub fn remove(mut self) -> Result<(), Error> {
        self.chase(|message| calls::remove(&message.path()))
    }

    /// Attempts something by name; as long as the name is not there, finds the message's new one and attempts again.
    pub(crate) fn chase<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        for _ in 1..CHASES {
            match attempt(self) {
                Err(error) if error.is_missing() => self.locate()?,
                settled => return settled,
            }
        }
        attempt(self)
    }

    fn rename_for(&mut self, flags: Flags) -> Result<(), Error> {
        let separator = self.maildir.options().separator;
        let name = self.name.with_flags(flags, separator).map_err(|source| self.maildir.name_error(source))?;
        let name = name.ok_or_else(|| Error::ExperimentalInfo { path: self.path() })?;
        if self.directory == Directory::Cur && name == self.name {
            // Nothing to do, if this is still its name.
            return calls::metadata(&self.path()).map(drop);
        }
        let (from, to) = (self.path(), self.path_of(Directory::Cur, &name));
        match calls::rename_message(&from, &to) {
            Err(error) if error.is_taken() => return self.part_from_double(name, flags),
            settled => settled?,
        }
        self.is_now(name, Directory::Cur);
        Ok(())
    }

    /// Another file has the name this one should get. The same file under two names, which a crash of another program
    /// may leave, loses the old one; two messages get two base names.
    fn part_from_double(&mut self, name: Name<'static>, flags: Flags) -> Result<(), Error> {
        let (mine, theirs) = (self.path(), self.path_of(Directory::Cur, &name));
        let (my_file, their_file) = (calls::metadata(&mine)?, calls::metadata(&theirs)?);
        if (my_file.dev(), my_file.ino()) == (their_file.dev(), their_file.ino()) {
            calls::remove(&mine)?;
            self.is_now(name, Directory::Cur);
            return Ok(());
        }
        let fresh = self.fresh_name(my_file.len(), flags)?;
        calls::rename_message(&mine, &self.path_of(Directory::Cur, &fresh))?;
        self.is_now(fresh, Directory::Cur);
        Ok(())
    }

    fn fresh_name(&self, size: u64, flags: Flags) -> Result<Name<'static>, Error> {
        let mut name = unique(&self.maildir, flags)?;
        name.extend_from_slice(format!(",S={size}").as_bytes());
        name.extend([self.maildir.options().separator.octet(), b'2', b',']);
        name.extend(flags.iter().map(Flag::octet));
        Name::parse(name).map_err(|source| self.maildir.name_error(source))
    }

    fn is_now(&mut self, name: Name<'static>, directory: Directory) {
        (self.name, self.directory) = (name, directory);
    }

    /// Finds out where the message is now.
    fn locate(&mut self) -> Result<(), Error> {
        for (name, directory) in self.likely_names() {
            match calls::metadata(&self.path_of(directory, &name)) {
                Ok(_) => {
                    self.is_now(name, directory);
                    return Ok(());
                }
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        let listing = self.maildir.list()?;
        let entry = listing.find(self.name.base()).ok_or_else(|| self.gone())?;
        self.is_now(entry.name().clone().into_owned(), entry.directory());
        Ok(())
    }

    fn likely_names(&self) -> Vec<(Name<'static>, Directory)> {
        let separator = self.maildir.options().separator;
        let Ok(bare) = Name::parse(self.name.base().to_vec()) else { return Vec::new() };
        let toggled = [self.name.flags().with(Flag::SEEN.into()), self.name.flags().without(Flag::SEEN.into())];
        let common = COMMON_FLAGS.into_iter().map(|flags| Flags::parse(flags).0);
        let flagged = toggled.into_iter().chain(common).filter_map(|flags| bare.with_flags(flags, separator).ok()?);
        let in_cur: Vec<_> = flagged.map(|name| (name, Directory::Cur)).collect();
        let same = [Directory::Cur, Directory::New].map(|directory| (self.name.clone(), directory));
        let bare = [Directory::New, Directory::Cur].map(|directory| (bare.clone(), directory));
        same.into_iter().chain(in_cur).chain(bare).collect()
    }

    fn path_of(&self, directory: Directory, name: &Name<'_>) -> PathBuf {
        self.maildir.directory(directory).join(name.as_os_str())
    }

    pub(crate) fn gone(&self) -> Error {
        let base = self.name.base().escape_ascii().to_string();
        Error::Gone { path: self.maildir.path().to_owned(), base }
    }
}
