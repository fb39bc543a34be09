//! Tests in which any one system call fails, or the process or the machine stops there.
//!
//! The calls are really made, in a scratch directory. Beside them a [`Disk`] keeps account of what has reached stable
//! storage, and so knows every state in which the power may leave the file system.

mod beside;
mod disk;
mod tests;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::io::Errno;

use crate::calls::Call;
use crate::crash::disk::Disk;

thread_local! {
    static MACHINE: RefCell<Option<Machine>> = const { RefCell::new(None) };
}

/// What happens at the call that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It does nothing and fails.
    Fails(Errno),
    /// It is done, but reported as failed.
    FailsAfterwards(Errno),
    /// A write writes half and fails; another call is as if it only failed.
    FailsHalfway(Errno),
    /// The process is killed before it; nothing later happens.
    Kills,
}

/// What the file system cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacking {
    Nothing,
    RenameNoReplace,
    RenameNoReplaceAndLink,
}

#[derive(Debug)]
struct Machine {
    disk: Disk,
    lacking: Lacking,
    cut: Option<(usize, Cut)>,
    calls: usize,
    killed: bool,
}

impl Machine {
    /// Runs `action` on a disk that has `root` as it is now. Returns what it returned, and the machine.
    fn run<T>(root: &Path, lacking: Lacking, cut: Option<(usize, Cut)>, action: impl FnOnce() -> T) -> (T, Self) {
        let machine = Self { disk: Disk::of(root), lacking, cut, calls: 0, killed: false };
        MACHINE.set(Some(machine));
        let returned = action();
        (returned, MACHINE.take().unwrap())
    }

    fn write_half(&mut self, call: Call<'_>) {
        let Call::Write(path, octets) = call else { return };
        let half = &octets[..octets.len() / 2];
        File::options().append(true).open(path).unwrap().write_all(half).unwrap();
        self.disk.note(Call::Write(path, half));
    }

    /// Whether the cut was at the last call of all.
    fn last_is_cut(&self) -> bool {
        self.cut.is_some_and(|(at, _)| at + 1 == self.calls)
    }

    fn lacks(&self, call: Call<'_>) -> Option<Errno> {
        match (call, self.lacking) {
            (Call::RenameNoReplace(..), Lacking::RenameNoReplace | Lacking::RenameNoReplaceAndLink) => {
                Some(Errno::INVAL)
            }
            (Call::Link(..), Lacking::RenameNoReplaceAndLink) => Some(Errno::PERM),
            _ => None,
        }
    }

    fn verdict(&mut self, call: Call<'_>) -> Option<Cut> {
        if self.killed {
            return Some(Cut::Fails(Errno::IO));
        }
        let this = self.calls;
        self.calls += 1;
        let cut = self.cut.filter(|(at, _)| *at == this).map(|(_, cut)| cut);
        self.killed = cut == Some(Cut::Kills);
        cut.or(self.lacks(call).map(Cut::Fails))
    }
}

pub(crate) fn intercept<T>(call: Call<'_>, perform: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    MACHINE.with_borrow_mut(|machine| {
        let Some(machine) = machine else { return perform() };
        let cut = machine.verdict(call);
        match cut {
            Some(Cut::Fails(errno)) => return Err(errno.into()),
            Some(Cut::Kills) => return Err(Errno::IO.into()),
            Some(Cut::FailsHalfway(errno)) => {
                machine.write_half(call);
                return Err(errno.into());
            }
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
