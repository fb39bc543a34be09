//! The free space under the data directory, of which mail leaves a part to others: a file system that is full to the last octet takes
//! more with it than mail.

use std::path::PathBuf;

use rustix::fs::statvfs;

/// A file system, and what of it is to stay free.
#[derive(Clone, Debug)]
pub struct Space {
    path: PathBuf,
    reserve: u64,
}

impl Space {
    /// The file system that holds `path`, of which `reserve` octets stay free.
    pub fn new(path: PathBuf, reserve: u64) -> Self {
        Self { path, reserve }
    }

    /// Whether a message of `octets` leaves the reserve free. Where that cannot be told, storing the message will tell.
    pub fn has_room_for(&self, octets: u64) -> bool {
        // What is free for the superuser alone does not count.
        let free = statvfs(&self.path).map(|found| found.f_bavail.saturating_mul(found.f_frsize));
        free.is_ok_and(|free| octets.saturating_add(self.reserve) <= free) || free.is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_what_is_free_and_not_for_more() {
        let folder = tempfile::tempdir().unwrap();
        let space = |reserve| Space::new(folder.path().to_owned(), reserve);
        assert!(space(0).has_room_for(1));
        assert!(!space(0).has_room_for(u64::MAX));
        assert!(!space(u64::MAX).has_room_for(0));
        assert!(!space(u64::MAX).has_room_for(u64::MAX));
        let found = statvfs(folder.path()).unwrap();
        let free = found.f_bavail * found.f_frsize;
        assert!(space(free / 2).has_room_for(free / 4) && !space(free / 2).has_room_for(free));
        assert!(Space::new("/no/such/folder".into(), 0).has_room_for(u64::MAX));
    }
}
