//! `flock(2)`.

use std::fs::{File, TryLockError};
use std::io;

use crate::calls::{Call, run};
use crate::error::Error;
use crate::lock::{Access, Target};

/// Whether the lock was free, and is ours now.
pub(super) fn acquire(target: Target<'_>) -> Result<bool, Error> {
    run(Call::Lock(target.path), || match target.access {
        Access::Read => settled(target.file.try_lock_shared()),
        Access::Write => settled(target.file.try_lock()),
    })
}

fn settled(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

pub(super) fn release(file: &File) {
    let _ = file.unlock();
}
