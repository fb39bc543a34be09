use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use crate::calls;
use crate::error::{Error, Operation};
use crate::maildir::{Directory, Maildir};

/// How long after a change another one may get the same time. Linux before 6.13 gives 1–10 ms, old NFS servers and ext3
/// 1 s, FAT 2 s; the worst is taken, since it costs no more than some listings that find nothing new.
const COARSEST: Duration = Duration::from_secs(2);

/// What the times of `new/` and `cur/` were, and whether they prove anything.
///
/// A directory's time shows that it changed, never that it did not: a second change within the resolution of the clock
/// leaves the same time. So a stamp taken within 2 s of a change is *unsettled* and always counts as changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    new: Times,
    cur: Times,
    settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(new: &Metadata, cur: &Metadata) -> Self {
        let (new, cur) = (Times::of(new), Times::of(cur));
        let now = SystemTime::now();
        Self { new, cur, settled: new.settled_at(now) && cur.settled_at(now) }
    }

    /// Whether an equal stamp later proves that nothing changed in between.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    pub(crate) fn same_times(&self, later: &Self) -> bool {
        (self.new, self.cur) == (later.new, later.cur)
    }
}

impl Times {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// A time in the future (the clock was set back) is never settled.
    fn settled_at(self, now: SystemTime) -> bool {
        let Ok(now) = now.duration_since(SystemTime::UNIX_EPOCH) else { return false };
        let Some(now) = now.checked_sub(COARSEST) else { return false };
        let now = (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), i64::from(now.subsec_nanos()));
        self.modified < now && self.changed < now
    }
}

impl Maildir {
    /// Whether a listing made with `stamp` may be out of date. Costs two `stat` calls and reads no directory.
    ///
    /// `false` is a proof, as far as the clock of the file system can give one; `true` may be a false alarm for the first
    /// 2 s after a change. The next listing then brings a stamp that is settled.
    ///
    /// # Errors
    /// [`Error::Io`] if a directory cannot be looked at.
    pub fn changed_since(&self, stamp: &Stamp) -> Result<bool, Error> {
        Ok(!stamp.settled || !stamp.same_times(&self.stamp()?))
    }

    pub(crate) fn stamp(&self) -> Result<Stamp, Error> {
        let [new, cur] = [Directory::New, Directory::Cur].map(|directory| calls::metadata(self.directory(directory)));
        Ok(Stamp::of(&new?, &cur?))
    }
}

/// Both directories, held open over one pass, so that the times and the names are of the same directories.
#[derive(Debug)]
pub(crate) struct OpenDirectories {
    pub(crate) new: File,
    pub(crate) cur: File,
}

impl OpenDirectories {
    pub(crate) fn open(maildir: &Maildir) -> Result<Self, Error> {
        let open = |directory| {
            let path = maildir.directory(directory);
            File::open(path).map_err(|source| Error::io(Operation::Open, path, source))
        };
        Ok(Self { new: open(Directory::New)?, cur: open(Directory::Cur)? })
    }

    /// How large the files are that hold the names, in octets, as far as the file system says it.
    pub(crate) fn size(&self) -> u64 {
        [&self.new, &self.cur].into_iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
    }

    pub(crate) fn stamp(&self, maildir: &Maildir) -> Result<Stamp, Error> {
        let new = calls::metadata_of(&self.new, maildir.directory(Directory::New))?;
        let cur = calls::metadata_of(&self.cur, maildir.directory(Directory::Cur))?;
        Ok(Stamp::of(&new, &cur))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_settled_two_seconds_later_and_not_before() {
        let times = Times { device: 0, inode: 0, modified: (100, 5), changed: (100, 5) };
        let at = |seconds, nanos| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        assert!(!times.settled_at(at(102, 5)));
        assert!(times.settled_at(at(102, 6)));
        assert!(!times.settled_at(at(99, 0)), "the clock was set back");
        assert!(!times.settled_at(SystemTime::UNIX_EPOCH));
    }
}
