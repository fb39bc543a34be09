use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::calls;
use crate::error::{Error, Operation};
use crate::maildir::Maildir;

/// A delivery may take this long; a file in `tmp/` that is younger may still be written. The specification's 36 hours.
pub const MIN_TMP_AGE: Duration = Duration::from_secs(36 * 60 * 60);

impl Maildir {
    /// Removes what interrupted deliveries left in `tmp/`: regular files that were neither read, written, renamed nor
    /// linked for `age`, which counts as [`MIN_TMP_AGE`] if it is less. Returns how many.
    ///
    /// # Errors
    /// [`Error::Io`] if `tmp/` cannot be read or a file cannot be removed; those after it are then left for the next time.
    pub fn clean_tmp(&self, age: Duration) -> Result<usize, Error> {
        self.clean_tmp_at(SystemTime::now(), age)
    }

    fn clean_tmp_at(&self, now: SystemTime, age: Duration) -> Result<usize, Error> {
        let list = |source| Error::io(Operation::List, self.tmp(), source);
        let mut removed = 0;
        for entry in fs::read_dir(self.tmp()).map_err(list)? {
            let path = entry.map_err(list)?.path();
            match calls::metadata(&path) {
                Ok(metadata) if is_stale(&metadata, now, age.max(MIN_TMP_AGE)) => {}
                Err(error) if !error.is_missing() => return Err(error),
                _ => continue,
            }
            match calls::remove(&path) {
                Err(error) if error.is_missing() => {}
                settled => {
                    settled?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

fn is_stale(metadata: &Metadata, now: SystemTime, age: Duration) -> bool {
    let latest = metadata.atime().max(metadata.mtime()).max(metadata.ctime());
    let latest = UNIX_EPOCH + Duration::from_secs(u64::try_from(latest).unwrap_or_default());
    metadata.is_file() && now.duration_since(latest).is_ok_and(|quiet| quiet >= age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_tmp_goes_after_36_hours_and_never_before() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::create(scratch.path().join("m")).unwrap();
        fs::write(maildir.tmp().join("left"), "half a mess").unwrap();
        fs::create_dir(maildir.tmp().join("directory")).unwrap();
        let at = |hours: u64| SystemTime::now() + Duration::from_secs(hours * 3600);

        assert_eq!(maildir.clean_tmp(Duration::ZERO).unwrap(), 0);
        assert_eq!(maildir.clean_tmp_at(at(35), Duration::ZERO).unwrap(), 0);
        assert_eq!(maildir.clean_tmp_at(at(40), Duration::from_secs(48 * 3600)).unwrap(), 0);
        assert_eq!(maildir.clean_tmp_at(at(37), Duration::ZERO).unwrap(), 1);
        assert_eq!(maildir.clean_tmp_at(at(37), Duration::ZERO).unwrap(), 0);
        assert!(maildir.tmp().join("directory").is_dir());
    }

    #[test]
    fn a_file_that_is_read_counts_as_in_use() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::create(scratch.path().join("m")).unwrap();
        let path = maildir.tmp().join("read");
        fs::write(&path, "x").unwrap();
        let later = SystemTime::now() + Duration::from_secs(30 * 3600);
        let times = fs::FileTimes::new().set_accessed(later);
        fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        let at = |hours: u64| SystemTime::now() + Duration::from_secs(hours * 3600);
        assert_eq!(maildir.clean_tmp_at(at(40), Duration::ZERO).unwrap(), 0);
        assert_eq!(maildir.clean_tmp_at(at(67), Duration::ZERO).unwrap(), 1);
    }
}
