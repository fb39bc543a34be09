//! `fcntl(2)` locks on all of a file: those of the open file on Linux, those of the process elsewhere.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::calls::{Call, run};
use crate::error::Error;
use crate::lock::{Access, Holder, Target};

/// Whether the lock was free, and is ours now.
pub(super) fn acquire(target: Target<'_>) -> Result<bool, Error> {
    let wanted = all_of_the_file(kind(target.access));
    run(Call::Lock(target.path), || match fcntl(target.file, set(&wanted)) {
        Ok(_) => Ok(true),
        // POSIX has either for a lock that another holds.
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(io::Error::from(errno)),
    })
}

/// Who has the lock that is in our way, if it is one of a process. A lock of an open file names nobody.
pub(super) fn holder(target: Target<'_>) -> Option<Holder> {
    let mut found = all_of_the_file(kind(target.access));
    fcntl(target.file, get(&mut found)).ok()?;
    let is_locked = i32::from(found.l_type) != i32::from(UNLOCKED);
    u32::try_from(found.l_pid).ok().filter(|process| is_locked && *process > 0).map(Holder::of_process)
}

pub(super) fn release(file: &File) {
    let _ = fcntl(file, set(&all_of_the_file(UNLOCKED)));
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set(lock: &libc::flock) -> FcntlArg<'_> {
    FcntlArg::F_OFD_SETLK(lock)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn get(lock: &mut libc::flock) -> FcntlArg<'_> {
    FcntlArg::F_OFD_GETLK(lock)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set(lock: &libc::flock) -> FcntlArg<'_> {
    FcntlArg::F_SETLK(lock)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn get(lock: &mut libc::flock) -> FcntlArg<'_> {
    FcntlArg::F_GETLK(lock)
}

const SHARED: libc::c_short = short(libc::F_RDLCK as libc::c_int);
const EXCLUSIVE: libc::c_short = short(libc::F_WRLCK as libc::c_int);
const UNLOCKED: libc::c_short = short(libc::F_UNLCK as libc::c_int);

#[allow(clippy::cast_possible_truncation, reason = "constants from 0 to 3, of types that differ from system to system")]
const fn short(constant: libc::c_int) -> libc::c_short {
    constant as libc::c_short
}

fn kind(access: Access) -> libc::c_short {
    match access {
        Access::Read => SHARED,
        Access::Write => EXCLUSIVE,
    }
}

fn all_of_the_file(kind: libc::c_short) -> libc::flock {
    libc::flock {
        l_type: kind,
        l_whence: short(libc::SEEK_SET),
        l_start: 0,
        // To the end, wherever that will be.
        l_len: 0,
        // The kernel insists on 0 for a lock of the open file.
        l_pid: 0,
        #[cfg(target_os = "freebsd")]
        l_sysid: 0,
    }
}
