//! What lies at a path: an mbox file, a Maildir, or folders of them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postrider_mbox::{Access, Base, Detected, Dialect, Entries, Entry, Evidence, Locked, Options, Policy, Section};

use super::content::{Stored, Unquoted};
use super::failure::{At, Failure};

/// What lies at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Directories that hold mailboxes.
    Folders,
    /// A directory with `cur` or `new` in it.
    Maildir,
    /// A file.
    Mbox,
}

/// Finds out.
///
/// # Errors
///
/// When there is nothing, or neither a file nor a directory.
pub fn kind(path: &Path) -> Result<Kind, Failure> {
    let metadata = fs::metadata(path).at("open", path)?;
    if metadata.is_file() {
        return Ok(Kind::Mbox);
    }
    if !metadata.is_dir() {
        return Err(Failure::NotMailbox { path: path.to_owned(), what: "neither a file nor a directory" });
    }
    let has = |name| fs::metadata(path.join(name)).is_ok_and(|metadata| metadata.is_dir());
    Ok(if has("cur") || has("new") { Kind::Maildir } else { Kind::Folders })
}

/// An mbox file.
#[derive(Debug)]
pub struct Mbox {
    /// Its path.
    pub path: PathBuf,
    /// The file.
    pub file: File,
    /// Its octets when it was opened: what comes later is not looked at.
    pub len: u64,
    /// How its messages are found.
    pub policy: Policy,
    modified: (i64, i64),
    /// Held until this goes.
    _lock: Option<Locked>,
}

/// What a first reading finds.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Messages, c-client's internal one aside.
    pub messages: u64,
    /// Whether there is an internal one.
    pub internal: bool,
    /// Octets before the first message.
    pub junk: u64,
    /// What it is written in.
    pub detected: Detected,
    /// What speaks for that.
    pub evidence: Evidence,
    /// What it says of itself.
    pub base: Option<Base>,
    /// So many messages say a UID.
    pub said: u64,
    /// So many messages at the front have a UID that counts.
    pub numbered: u64,
}

impl Mbox {
    /// Opens a file and looks at its first octets.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is no file, or holds UTF-16.
    pub fn open(path: &Path, policy: Policy) -> Result<Self, Failure> {
        if kind(path)? != Kind::Mbox {
            return Err(Failure::NotMailbox { path: path.to_owned(), what: "a directory, not an mbox file" });
        }
        let mut file = File::open(path).at("open", path)?;
        let metadata = file.metadata().at("look at", path)?;
        let mut front = Vec::new();
        file.by_ref().take(8).read_to_end(&mut front).at("read", path)?;
        if let Some(what) = foreign(&front) {
            return Err(Failure::NotMailbox { path: path.to_owned(), what });
        }
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Self { path: path.to_owned(), file, len: metadata.len(), policy, modified, _lock: None })
    }

    /// The same under a lock that keeps writers out, for up to 30 s of waiting.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and when another program holds the lock.
    pub fn open_locked(path: &Path, policy: Policy) -> Result<Self, Failure> {
        // What is no mailbox is told before anybody waits.
        drop(Self::open(path, policy)?);
        let mut options = Options::default();
        options.locking.timeout = Duration::from_secs(30);
        let locked = postrider_mbox::Mbox::open_with(path, options)?.lock(Access::Read)?;
        let metadata = locked.file().metadata().at("look at", path)?;
        let file = locked.file().try_clone().at("open", path)?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Self { path: path.to_owned(), file, len: metadata.len(), policy, modified, _lock: Some(locked) })
    }

    /// Its messages, from the first.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn entries(&self) -> Result<Entries<Section<'_>>, Failure> {
        let section = Section::new(&self.file, 0, Some(self.len)).at("read", &self.path)?;
        Ok(Entries::new(section, self.policy))
    }

    /// The next of its messages.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn next(&self, entries: &mut Entries<Section<'_>>) -> Result<Option<Entry>, Failure> {
        entries.next().at("read", &self.path)
    }

    /// Reads all of it once.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or no message is in it and it is not empty.
    pub fn survey(&self) -> Result<Survey, Failure> {
        let mut entries = self.entries()?;
        let (mut all, mut messages, mut internal, mut base) = (0, 0_u64, false, None);
        let (mut last_uid, mut said, mut numbered, mut missing, mut rises) = (0, 0, 0, false, true);
        while let Some(entry) = self.next(&mut entries)? {
            let is_first = all == 0;
            all += 1;
            if is_first {
                base.clone_from(&entry.base);
                internal = entry.is_internal();
                if internal {
                    continue;
                }
            }
            messages += 1;
            match entry.metadata.uid {
                Some(uid) => {
                    rises &= uid > last_uid;
                    last_uid = uid;
                    said += 1;
                    numbered += u64::from(!missing);
                }
                None => missing = true,
            }
        }
        if all == 0 && self.len > 0 {
            return Err(Failure::NotMailbox {
                path: self.path.clone(),
                what: "no mbox file: no line in it begins a message",
            });
        }
        let base = base.filter(|_| rises);
        let numbered = if base.is_some() { numbered } else { 0 };
        let (evidence, junk) = (*entries.evidence(), entries.junk());
        Ok(Survey { messages, internal, junk, detected: evidence.detect(), evidence, base, said, numbered })
    }

    /// The content of one of its messages, unquoted.
    #[must_use]
    pub fn content(&self, entry: &Entry, dialect: Dialect) -> Unquoted<'_> {
        Unquoted { stored: self.stored(entry), dialect }
    }

    /// The same as it is stored.
    #[must_use]
    pub fn stored(&self, entry: &Entry) -> Stored<'_> {
        Stored { file: &self.file, path: &self.path, range: entry.content() }
    }

    /// When it was last changed, in seconds since 1970.
    #[must_use]
    pub fn modified(&self) -> i64 {
        self.modified.0
    }

    /// What tells this state of the file from others.
    #[must_use]
    pub fn stamp(&self) -> String {
        format!("{} octets, changed at {}.{:09}", self.len, self.modified.0, self.modified.1)
    }

    /// Makes sure that nobody has changed the file since it was opened, but for what was appended.
    ///
    /// # Errors
    ///
    /// When somebody has.
    pub fn is_unchanged(&self) -> Result<(), Failure> {
        let now = fs::metadata(&self.path).at("look at", &self.path)?;
        let same = (now.len(), (now.mtime(), now.mtime_nsec())) == (self.len, self.modified);
        if same { Ok(()) } else { Err(Failure::Changed { path: self.path.clone() }) }
    }
}

/// What a file is that begins so, if it is certainly no mbox.
fn foreign(front: &[u8]) -> Option<&'static str> {
    match front {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some("UTF-16 text, and no mbox file: convert it to UTF-8 first"),
        [b'F', 0, b'r', 0, ..] | [0, b'F', 0, b'r', ..] => {
            Some("UTF-16 text, and no mbox file: convert it to UTF-8 first")
        }
        [0x1F, 0x8B, ..] => Some("compressed with gzip: decompress it first"),
        [b'B', b'Z', b'h', ..] => Some("compressed with bzip2: decompress it first"),
        [0xFD, b'7', b'z', b'X', b'Z', ..] => Some("compressed with xz: decompress it first"),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Some("compressed with zstd: decompress it first"),
        [b'S', b'Q', b'L', b'i', b't', b'e', ..] => Some("an SQLite database, and no mbox file"),
        _ => None,
    }
}

/// Whether a directory entry is to be passed over when mailboxes are looked for: hidden files, and what other programs keep beside their mail.
#[must_use]
pub fn is_beside(name: &[u8]) -> bool {
    let others = [
        &b".msf"[..],
        b".dat",
        b".lock",
        b".mailconv",
        b".mailconv-part",
        b".mailconv-lock",
        b".lost",
        b".html",
        b".json",
    ];
    name.starts_with(b".") || name == b"dovecot.index" || others.iter().any(|end| name.ends_with(end))
}

/// Reads a directory, sorted by name.
///
/// # Errors
///
/// When it cannot be read.
pub fn directory(path: &Path) -> Result<Vec<(Vec<u8>, PathBuf)>, Failure> {
    use std::os::unix::ffi::OsStrExt;
    let read =
        |entry: io::Result<fs::DirEntry>| entry.map(|entry| (entry.file_name().as_bytes().to_vec(), entry.path()));
    let mut all = fs::read_dir(path).at("open", path)?.map(read).collect::<io::Result<Vec<_>>>().at("read", path)?;
    all.sort();
    Ok(all)
}
