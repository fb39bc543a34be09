use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::calls;
use crate::delivery::TmpFile;
use crate::error::{Error, Operation};
use crate::flags::Flag;
use crate::folder_name::FolderName;
use crate::folders::{FolderState, MARKER, Tree};
use crate::layout::Layout;
use crate::maildir::{Maildir, Options};
use crate::maildirsize::{self, MAX_LEN};
use crate::stamp::Stamp;
use crate::unique::with_free_name;

/// Who is over quota by a count that is older is counted again. The specification's 15 minutes.
const STALE: Duration = Duration::from_secs(15 * 60);

/// How much a user may store.
///
/// As in the file `maildirsize`, a limit of 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quota {
    /// The sum of all sizes, in octets.
    pub octets: Option<u64>,
    /// How many messages.
    pub messages: Option<u64>,
}

/// How much a user stores, or is about to add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// The sum of all sizes, in octets.
    pub octets: u64,
    /// How many messages.
    pub messages: u64,
}

/// What [`MaildirSize::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is room, beside what is stored.
    Fits(Usage),
    /// There is none, beside what is stored: SMTP's 452 or 552, an exit status of 75 or 77.
    Over(Usage),
}

impl Quota {
    /// The limits from text as in the first line of `maildirsize`: `1000000S,100C`, in any order. Nothing if it is not that.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Option<Self> {
        maildirsize::parse_quota(octets)
    }

    /// Whether so much, with so much more, is within the limits.
    #[must_use]
    pub fn allows(self, usage: Usage, adding: Usage) -> bool {
        let Self { octets, messages } = self.normal();
        let within =
            |limit: Option<u64>, used: u64, more: u64| limit.is_none_or(|limit| used.saturating_add(more) <= limit);
        within(octets, usage.octets, adding.octets) && within(messages, usage.messages, adding.messages)
    }

    pub(crate) fn normal(self) -> Self {
        let limit = |value: Option<u64>| value.filter(|&limit| limit != 0);
        Self { octets: limit(self.octets), messages: limit(self.messages) }
    }
}

/// As in the first line of `maildirsize`.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { octets, messages } = self.normal();
        match (octets, messages) {
            (Some(octets), Some(messages)) => write!(f, "{octets}S,{messages}C"),
            (None, Some(messages)) => write!(f, "{messages}C"),
            (octets, None) => write!(f, "{}S", octets.unwrap_or(0)),
        }
    }
}

impl Usage {
    /// One message of that size, in octets.
    #[must_use]
    pub fn message(octets: u64) -> Self {
        Self { octets, messages: 1 }
    }

    fn plus(self, other: Self) -> Self {
        let Self { octets, messages } = other;
        Self { octets: self.octets.saturating_add(octets), messages: self.messages.saturating_add(messages) }
    }

    pub(crate) fn signed(self) -> (i64, i64) {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        (signed(self.octets), signed(self.messages))
    }
}

/// The file `maildirsize` in the root of a tree, by which the programs that share a Maildir++ keep a common count without a lock.
///
/// Every message in every folder counts, but those in the folder `Trash` itself and those with the flag `T`. The size is the one in the
/// name (`,S=`), and the file's where there is none there.
///
/// Whoever delivers asks first, and says afterwards what was added; whoever removes says so too. What two do at the same time may exceed
/// the quota by what they add. The count is never below zero, and one that went wrong, or that a crash tore, is made anew: when the file is
/// missing, has a line that is not two numbers, was made for other limits, is longer than 5120 octets, or says since 15 minutes that the
/// user is over quota.
///
/// ```
/// use postrider_maildir::{Layout, Maildir, MaildirSize, Quota, Tree, Usage, Verdict};
/// use std::io::Write;
///
/// # let scratch = tempfile::tempdir()?;
/// # let path = scratch.path().join("Maildir");
/// let maildir = Maildir::create(path)?;
/// let quota = Quota { octets: Some(1_000), messages: None };
/// let size = MaildirSize::of(&maildir, quota)?;
///
/// let message = [b'x'; 600];
/// let adding = Usage::message(600);
/// assert!(matches!(size.check(adding)?, Verdict::Fits(_)));
/// let mut delivery = maildir.delivery()?;
/// delivery.write_all(&message)?;
/// delivery.commit()?;
/// size.add(adding)?;
/// assert_eq!(size.check(adding)?, Verdict::Over(Usage { octets: 600, messages: 1 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MaildirSize {
    tree: Tree,
    quota: Quota,
    path: PathBuf,
}

/// A file that was read.
#[derive(Debug)]
struct Stored {
    quota: Quota,
    usage: Usage,
    modified: SystemTime,
}

impl MaildirSize {
    /// The count of all folders of a tree.
    #[must_use]
    pub fn of_tree(tree: &Tree, quota: Quota) -> Self {
        Self { tree: tree.clone(), quota: quota.normal(), path: tree.path().join("maildirsize") }
    }

    /// The count that a Maildir belongs to: its own and that of its Maildir++ folders, or its parent's if it is a folder, which a file
    /// `maildirfolder` in it says.
    ///
    /// # Errors
    /// [`Error::Io`] if a directory cannot be looked at.
    pub fn of(maildir: &Maildir, quota: Quota) -> Result<Self, Error> {
        let marker = std::str::from_utf8(MARKER).unwrap_or_default();
        let root = match calls::metadata(&maildir.path().join(marker)) {
            Ok(_) => maildir.path().parent().unwrap_or(maildir.path()),
            Err(error) if error.is_missing() => maildir.path(),
            Err(error) => return Err(error),
        };
        let tree = Tree::open_with(root, Layout::MaildirPlusPlus, maildir.options().clone())?;
        Ok(Self::of_tree(&tree, quota))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The limits that the file was made for, for programs that are not configured with any. Nothing if it is missing or unusable.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NotRegular`].
    pub fn stored_quota(&self) -> Result<Option<Quota>, Error> {
        Ok(self.read()?.map(|stored| stored.quota))
    }

    /// How much is stored, as far as the file can be believed; else it is counted, which reads all folders.
    ///
    /// That the new count cannot be written is no error: the next call counts again.
    ///
    /// # Errors
    /// [`Error::Io`] if the file or a folder cannot be read; [`Error::NotRegular`] if something else has its name.
    pub fn usage(&self) -> Result<Usage, Error> {
        let nothing = Usage::default();
        self.check(nothing).map(|(Verdict::Fits(usage) | Verdict::Over(usage))| usage)
    }

    /// Whether so much more may be stored.
    ///
    /// # Errors
    /// As [`usage`](Self::usage).
    pub fn check(&self, adding: Usage) -> Result<Verdict, Error> {
        let believed = self
            .read()?
            .filter(|stored| stored.quota == self.quota)
            .filter(|stored| self.quota.allows(stored.usage, adding) || !is_stale(stored.modified, SystemTime::now()));
        let usage = match believed {
            Some(stored) => stored.usage,
            None => {
                let (usage, stamps) = self.count()?;
                let _ = self.store(usage, &stamps);
                usage
            }
        };
        Ok(match self.quota.allows(usage, adding) {
            false => Verdict::Over(usage),
            true => Verdict::Fits(usage),
        })
    }

    /// Counts all messages and writes the file.
    ///
    /// If a folder changed meanwhile the file is removed again: the next one to ask counts once more.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::IoBetween`] if the file cannot be renamed.
    pub fn recalculate(&self) -> Result<Usage, Error> {
        let (usage, stamps) = self.count()?;
        self.store(usage, &stamps).map(|()| usage)
    }

    /// Says that so much was added. Where there is no file nothing is done: the next one to ask counts.
    ///
    /// Not synced: after a crash the count may lack it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NotRegular`].
    pub fn add(&self, usage: Usage) -> Result<(), Error> {
        let (octets, messages) = usage.signed();
        self.append(octets, messages)
    }

    /// Says that so much was removed. As [`add`](Self::add).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn subtract(&self, usage: Usage) -> Result<(), Error> {
        let (octets, messages) = usage.signed();
        self.append(-octets, -messages)
    }

    fn append(&self, octets: i64, messages: i64) -> Result<(), Error> {
        let file = match calls::open_to_append(&self.path) {
            Err(error) if error.is_missing() => return Ok(()),
            opened => opened?,
        };
        // Whoever reads it counts anew.
        if calls::metadata_of(&file, &self.path)?.len() > MAX_LEN {
            return Ok(());
        }
        calls::append(&file, &self.path, maildirsize::entry(octets, messages).as_bytes())
    }

    fn read(&self) -> Result<Option<Stored>, Error> {
        let mut file = match calls::open_message(&self.path) {
            Err(error) if error.is_missing() => return Ok(None),
            opened => opened?,
        };
        let mut octets = Vec::new();
        let read = (&mut file).take(MAX_LEN + 1).read_to_end(&mut octets);
        let read = read.map_err(|source| Error::io(Operation::Read, &self.path, source))?;
        if read as u64 > MAX_LEN {
            return Ok(None);
        }
        let modified = calls::metadata_of(&file, &self.path)?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(maildirsize::parse(&octets).map(|(quota, usage)| Stored { quota, usage, modified }))
    }

    fn count(&self) -> Result<(Usage, Vec<(PathBuf, Stamp)>), Error> {
        let (mut usage, mut stamps) = (Usage::default(), Vec::new());
        for maildir in self.counted()? {
            let listing = maildir.list()?;
            for entry in listing.iter().filter(|entry| !entry.name().flags().contains(Flag::TRASHED)) {
                let size = match entry.name().size() {
                    Some(size) => Some(size),
                    None => match maildir.message(&entry).metadata() {
                        Err(error) if error.is_gone() => None,
                        metadata => Some(metadata?.len()),
                    },
                };
                usage = size.map_or(usage, |size| usage.plus(Usage::message(size)));
            }
            stamps.push((maildir.path().to_owned(), listing.stamp()));
        }
        Ok((usage, stamps))
    }

    /// The folders that count.
    fn counted(&self) -> Result<Vec<Maildir>, Error> {
        let trash = FolderName::new(["Trash"]).unwrap_or_default();
        let counts = |name: &FolderName| *name != trash;
        let folders = self.tree.list()?.into_iter();
        let folders = folders.filter(|folder| folder.state == FolderState::Selectable && counts(&folder.name));
        // One that is gone by now does not count.
        let opened = folders.map(|folder| self.tree.open_folder(&folder.name));
        opened.filter(|opened| !matches!(opened, Err(Error::NoFolder { .. } | Error::NotMaildir { .. }))).collect()
    }

    fn store(&self, usage: Usage, stamps: &[(PathBuf, Stamp)]) -> Result<(), Error> {
        // Without the tree's options: they are for messages.
        let root = Maildir::open_with(self.tree.path(), Options::default())?;
        let no_flags = crate::Flags::EMPTY;
        let (mut file, tmp) = with_free_name(&root, root.tmp(), no_flags, |_, path| {
            let file = calls::create(&path, self.tree.options().file_mode)?;
            Ok((file, TmpFile::new(path)))
        })?;
        calls::write(&mut file, tmp.path(), maildirsize::whole(self.quota, usage).as_bytes())?;
        // A crash leaves the old file or this one, and none that is torn and looks whole.
        calls::sync_file(&file, tmp.path())?;
        calls::replace(tmp.path(), &self.path)?;
        tmp.placed();
        match self.unchanged_since(stamps) {
            Ok(true) => Ok(()),
            unsure => {
                calls::remove(&self.path).or_else(|error| if error.is_missing() { Ok(()) } else { Err(error) })?;
                unsure.map(drop)
            }
        }
    }

    fn unchanged_since(&self, stamps: &[(PathBuf, Stamp)]) -> Result<bool, Error> {
        let now = self.counted()?;
        if now.len() != stamps.len() {
            return Ok(false);
        }
        for (maildir, (path, stamp)) in now.iter().zip(stamps) {
            if maildir.path() != path || !maildir.stamp()?.same_times(stamp) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A time in the future, when the clock was set back, is not believed.
fn is_stale(modified: SystemTime, now: SystemTime) -> bool {
    now.duration_since(modified).map_or(true, |age| age >= STALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_stale_after_fifteen_minutes_and_when_it_is_of_the_future() {
        let now = SystemTime::now();
        assert!(!is_stale(now, now));
        assert!(!is_stale(now - Duration::from_secs(899), now));
        assert!(is_stale(now - Duration::from_secs(900), now));
        assert!(is_stale(now + Duration::from_secs(1), now));
    }

    #[test]
    fn limits_of_zero_are_none() {
        let zero = Quota { octets: Some(0), messages: Some(0) };
        assert!(zero.allows(Usage { octets: u64::MAX, messages: u64::MAX }, Usage::message(1)));
        assert_eq!((zero.to_string().as_str(), Quota::parse(b"0S")), ("0S", Some(Quota::default())));
        let both = Quota { octets: Some(10), messages: Some(2) };
        assert_eq!(Quota::parse(both.to_string().as_bytes()), Some(both));
        assert!(both.allows(Usage::message(4), Usage::message(6)));
        assert!(!both.allows(Usage::message(4), Usage::message(7)));
        assert!(!both.allows(Usage { octets: 0, messages: 2 }, Usage::message(0)));
    }
}
