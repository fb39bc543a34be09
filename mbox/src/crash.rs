//! Tests in which any one system call fails, or the process or the machine stops there.
//!
//! The calls are really made, in a scratch directory. Beside them a [`Disk`] keeps account of what has reached stable storage, and so knows the states in
//! which the power may leave the file system.

mod disk;
mod rewriting;
mod tests;

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::calls::Call;
use crate::crash::disk::Disk;

thread_local! {
    static MACHINE: RefCell<Option<Machine>> = const { RefCell::new(None) };
}

/// What happens at the call that is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// It does nothing and fails.
    Fails(Errno),
    /// It is done, but reported as failed.
    FailsAfterwards(Errno),
    /// It fails, and so does every later one of its kind.
    FailsFromThenOn(Errno),
    /// The process is killed before it; nothing later happens.
    Kills,
    /// Another program does something to the scratch directory before it.
    Meanwhile(fn(&Path)),
}

#[derive(Debug)]
struct Machine {
    root: PathBuf,
    disk: Disk,
    /// There are no hard links.
    links: bool,
    cut: Option<(usize, Cut)>,
    calls: usize,
    syncs: usize,
    killed: bool,
}

impl Machine {
    /// Runs `action` on a disk that has `root` as it is now. Returns what it returned, and the machine.
    fn run<T>(root: &Path, links: bool, cut: Option<(usize, Cut)>, action: impl FnOnce() -> T) -> (T, Self) {
        let machine =
            Self { root: root.to_owned(), disk: Disk::of(root), links, cut, calls: 0, syncs: 0, killed: false };
        MACHINE.set(Some(machine));
        let returned = action();
        (returned, MACHINE.take().unwrap())
    }

    fn verdict(&mut self, call: Call<'_>) -> Option<Cut> {
        if self.killed {
            return Some(Cut::Fails(Errno::EIO));
        }
        let this = self.calls;
        self.calls += 1;
        self.syncs += usize::from(matches!(call, Call::SyncFile(_) | Call::SyncDirectory(_)));
        let cut = self.cut.filter(|(at, cut)| match cut {
            Cut::FailsFromThenOn(_) => this >= *at,
            _ => this == *at,
        });
        self.killed = matches!(cut, Some((_, Cut::Kills)));
        let lacks = matches!(call, Call::Link(..)) && !self.links;
        cut.map(|(_, cut)| cut).or(lacks.then_some(Cut::Fails(Errno::EPERM)))
    }
}

pub(crate) fn intercept<T>(call: Call<'_>, perform: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    MACHINE.with_borrow_mut(|machine| {
        let Some(machine) = machine else { return perform() };
        let cut = machine.verdict(call);
        match cut {
            Some(Cut::Fails(errno) | Cut::FailsFromThenOn(errno)) => return Err(errno.into()),
            Some(Cut::Kills) => return Err(Errno::EIO.into()),
            Some(Cut::Meanwhile(act)) => act(&machine.root),
            Some(Cut::FailsAfterwards(_)) | None => {}
        }
        let returned = perform()?;
        machine.disk.note(call);
        match cut {
            Some(Cut::FailsAfterwards(errno)) => Err(errno.into()),
            _ => Ok(returned),
        }
    })
}
