//! postrider-maildir beside maildir 0.6.6.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postrider_maildir::{Delivered, Delivery, Directory, Error, Flag, Flags, Maildir, commit_all, prepare_all};
use tempfile::TempDir;

use crate::case::{Build, Case};
use crate::inputs::Random;

/// The cases in which the processor does the work, that of the kernel included.
pub const CASES: &[Build] = &[list, flags];

/// The cases that wait for the disk.
pub const DELIVERIES: &[Build] = &[|| deliver("one by one", 1), || deliver("16 together", TOGETHER)];

const PEER: &str = "maildir 0.6.6";
const MESSAGES: u32 = 10_000;
const TOGETHER: u32 = 16;

/// Names of 70 octets, nine in ten in `cur/` with flags. The peer makes three strings and a path of each entry and reads once;
/// we read again when the directory changes meanwhile, which it does not here, and leave names as octets.
fn list() -> Case {
    let scratch = filled();
    let (maildir, peer) = opened(scratch.path());
    // A directory that changed within the last 2 s would be read twice.
    std::thread::sleep(Duration::from_millis(2100));
    Case::new("maildir list", "message", MESSAGES, Vec::new())
        .ours("Maildir::list", move |_| {
            let _kept = &scratch;
            let Ok(listing) = maildir.list() else { return 0 };
            listing.iter().map(|entry| (entry.name().base().len() + 8 * entry.name().flags().len()) as u64).sum()
        })
        .peer(PEER, move |_| {
            let entries = peer.list_new().chain(peer.list_cur());
            entries.flatten().map(|entry| (entry.id().len() + 8 * entry.flags().len()) as u64).sum()
        })
}

/// Seen and flagged, then seen, of one message among 10 000. The peer reads the directory to find it. Neither syncs.
fn flags() -> Case {
    let scratch = filled();
    let (maildir, peer) = opened(scratch.path());
    let Ok(listing) = maildir.list() else { panic!("the Maildir cannot be listed") };
    let mut current = listing.iter().filter(|entry| entry.directory() == Directory::Cur);
    let (Some(ours), Some(theirs)) = (current.next(), current.last()) else { panic!("no message has flags") };
    let mut message = maildir.message(&ours);
    let id = String::from_utf8_lossy(theirs.name().base()).into_owned();
    let seen = Flags::from(Flag::SEEN);
    Case::new("maildir set flags", "change", 2, Vec::new())
        .ours("Message::set_flags", move |_| {
            let _kept = &scratch;
            let changed = [seen.with(Flag::FLAGGED.into()), seen].map(|flags| message.set_flags(flags).is_ok());
            u64::from(changed == [true; 2])
        })
        .peer(PEER, move |_| u64::from(["FS", "S"].map(|flags| peer.set_flags(&id, flags).is_ok()) == [true; 2]))
}

/// Messages of 4 KB, removed again. Ours are on stable storage with their names, and a batch shares the syncs; the peer syncs each file and never
/// the directory, so that its messages may be gone after a power failure.
fn deliver(name: &str, messages: u32) -> Case {
    let scratch = empty();
    let (maildir, peer) = opened(scratch.path());
    let message = [&b"x".repeat(76)[..], b"\r\n"].concat().repeat(4096 / 78);
    let new = scratch.path().join("new");
    let of_the_peer = new.clone();
    Case::new(format!("maildir deliver, {name}"), "message", messages, message)
        .ours("Maildir::delivery", move |message| {
            let _kept = &scratch;
            let delivered = if messages == 1 { one(&maildir, message) } else { batch(&maildir, message, messages) };
            delivered.map_or(0, |delivered| {
                delivered.iter().filter(|delivered| fs::remove_file(path(&new, delivered)).is_ok()).count() as u64
            })
        })
        .peer(PEER, move |message| {
            let stored = (0..messages).filter_map(|_| peer.store_new(message).ok());
            stored.filter(|id| fs::remove_file(of_the_peer.join(id)).is_ok()).count() as u64
        })
}

fn one(maildir: &Maildir, message: &[u8]) -> Result<Vec<Delivered>, Error> {
    Ok(vec![written(maildir, message)?.commit()?])
}

fn batch(maildir: &Maildir, message: &[u8], messages: u32) -> Result<Vec<Delivered>, Error> {
    let written = (0..messages).map(|_| written(maildir, message)).collect::<Result<_, _>>()?;
    commit_all(prepare_all(written).into_iter().collect::<Result<_, _>>()?).into_iter().collect()
}

fn written(maildir: &Maildir, message: &[u8]) -> Result<Delivery, Error> {
    let mut delivery = maildir.delivery()?;
    // A write that failed fails the commit.
    let _ = delivery.write_all(message);
    Ok(delivery)
}

fn path(new: &Path, delivered: &Delivered) -> PathBuf {
    new.join(delivered.name().as_os_str())
}

fn opened(path: &Path) -> (Maildir, maildir::Maildir) {
    let Ok(ours) = Maildir::create(path) else { panic!("{} cannot be made a Maildir", path.display()) };
    (ours, maildir::Maildir::from(path.to_owned()))
}

/// In the place for temporary files; `TMPDIR` says where that is.
fn empty() -> TempDir {
    let Ok(scratch) = tempfile::tempdir() else { panic!("no directory for temporary files") };
    opened(scratch.path());
    scratch
}

fn filled() -> TempDir {
    let (scratch, mut random) = (empty(), Random::new(120));
    for n in 0..MESSAGES {
        let (seconds, micros, size) = (1_700_000_000 + n / 3, random.number(0, 1_000_000), random.number(400, 99_999));
        let base = format!("{seconds}.M{micros}P4711Q{n}.mx1.example.com,S={size}");
        let name = match n % 10 {
            9 => format!("new/{base}"),
            _ => format!("cur/{base}:2,{}", random.one_of(&["", "S", "S", "RS", "FS", "RST"])),
        };
        assert!(fs::write(scratch.path().join(name), "").is_ok(), "a message cannot be written");
    }
    scratch
}
