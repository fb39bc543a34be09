//! Listing beside programs that rename.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postrider_maildir::{Directory, Listing, Maildir};

fn maildir_in(scratch: &Path) -> Maildir {
    Maildir::create(scratch.join("Maildir")).unwrap()
}

fn fill(maildir: &Maildir, messages: usize) {
    for n in 0..messages {
        fs::write(maildir.path().join(format!("cur/{n}.M{n}P1.host,S=1:2,")), "x").unwrap();
    }
}

fn bases(listing: &Listing) -> Vec<Vec<u8>> {
    listing.iter().map(|entry| entry.name().base().to_vec()).collect()
}

/// What a foreign mail reader does: change the flags of one message after the other, without end.
fn rename_until(maildir: &Maildir, messages: usize, stop: &AtomicBool, renames: &AtomicU64) {
    let mut seen = vec![false; messages];
    let mut random: usize = 1;
    while !stop.load(Ordering::Relaxed) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = (random >> 33) % messages;
        let path = |seen| maildir.path().join(format!("cur/{n}.M{n}P1.host,S=1:2,{}", if seen { "S" } else { "" }));
        fs::rename(path(seen[n]), path(!seen[n])).unwrap();
        seen[n] = !seen[n];
        renames.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lists beside a renaming thread until that has done `wanted` renames. Returns how many names were missed and doubled.
fn list_in_a_storm(directory: &Path, messages: usize, wanted: u64) -> (usize, usize) {
    let scratch = tempfile::tempdir_in(directory).unwrap();
    let maildir = maildir_in(scratch.path());
    fill(&maildir, messages);
    let (stop, renames) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut missed, mut doubled, mut listings) = (0, 0, 0);
    thread::scope(|scope| {
        scope.spawn(|| rename_until(&maildir, messages, &stop, &renames));
        while renames.load(Ordering::Relaxed) < wanted {
            let listed = bases(&maildir.list().unwrap());
            let distinct: HashSet<_> = listed.iter().collect();
            missed += messages - distinct.len();
            doubled += listed.len() - distinct.len();
            listings += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!(
        "{messages} messages, {} renames, {listings} listings: {missed} missed, {doubled} doubled",
        renames.into_inner()
    );
    (missed, doubled)
}

#[test]
fn nothing_is_missed_or_doubled_while_another_thread_renames() {
    for messages in [1, 30, 1_000, 5_000] {
        assert_eq!(list_in_a_storm(&std::env::temp_dir(), messages, 10_000), (0, 0));
    }
}

#[test]
#[ignore = "ten million renames take minutes"]
fn nothing_is_missed_or_doubled_in_ten_million_renames() {
    let memory = Path::new("/dev/shm");
    let directories = [Some(std::env::temp_dir()), memory.is_dir().then(|| memory.to_owned())];
    for directory in directories.into_iter().flatten() {
        for (messages, renames) in [(1_000, 3_000_000), (20_000, 1_500_000), (100_000, 500_000)] {
            assert_eq!(list_in_a_storm(&directory, messages, renames), (0, 0));
        }
    }
}

#[test]
fn a_message_on_its_way_from_new_to_cur_is_listed_once() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let names: Vec<_> = (0..2000).map(|number| format!("1.M{number}P1.host")).collect();
    names.iter().for_each(|name| fs::write(maildir.path().join("new").join(name), "x").unwrap());
    let moved = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for name in &names {
                let (new, cur) = (maildir.path().join("new").join(name), maildir.path().join("cur").join(name));
                fs::rename(new, cur.with_extension("host:2,S")).unwrap();
            }
            moved.store(true, Ordering::Relaxed);
        });
        while !moved.load(Ordering::Relaxed) {
            assert_eq!(maildir.list().unwrap().len(), names.len());
        }
    });
    assert_eq!(maildir.list().unwrap().len(), names.len());
}

#[test]
fn what_is_not_a_message_is_not_listed() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let cur = maildir.path().join("cur");
    fs::write(cur.join(".hidden"), "x").unwrap();
    fs::create_dir(cur.join("1.2.directory")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", cur.join("1.2.symlink:2,")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, cur.join("1.2.fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    fs::write(maildir.path().join("tmp/1.2.tmp"), "x").unwrap();
    fs::write(cur.join("1.2.message"), "x").unwrap();
    assert_eq!(bases(&maildir.list().unwrap()), [b"1.2.message"]);
}

#[test]
fn two_messages_with_one_base_name_are_both_listed_and_one_under_two_names_once() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let path = |name| maildir.path().join(name);
    fs::write(path("cur/1.2.double:2,"), "one").unwrap();
    fs::write(path("cur/1.2.double:2,S"), "another").unwrap();
    fs::write(path("cur/1.2.linked:2,"), "one").unwrap();
    fs::hard_link(path("cur/1.2.linked:2,"), path("cur/1.2.linked:2,S")).unwrap();
    let mut listed = bases(&maildir.list().unwrap());
    listed.sort();
    assert_eq!(listed, [&b"1.2.double"[..], b"1.2.double", b"1.2.linked"]);
}

#[test]
fn an_entry_is_found_by_its_base_name() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    fill(&maildir, 500);
    let listing = maildir.list().unwrap();
    assert_eq!((listing.len(), listing.iter().len()), (500, 500));
    let entry = listing.find(b"77.M77P1.host,S=1").unwrap();
    assert_eq!((entry.name().octets(), entry.directory()), (&b"77.M77P1.host,S=1:2,"[..], Directory::Cur));
    assert!(listing.find(b"77.M77P1.host").is_none());
}

fn wait_until_settled(maildir: &Maildir) {
    let started = Instant::now();
    while !maildir.list().unwrap().is_settled() {
        assert!(started.elapsed() < Duration::from_secs(20), "the listing never settles");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_poll_without_a_change_reads_nothing_and_every_kind_of_change_is_noticed() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    fill(&maildir, 3);
    assert!(maildir.changed_since(&maildir.list().unwrap().stamp()).unwrap(), "too recent to prove anything");

    wait_until_settled(&maildir);
    let settled = maildir.list().unwrap();
    assert!(settled.is_settled() && settled.stamp().is_settled());
    assert!(!maildir.changed_since(&settled.stamp()).unwrap());

    let stamp = settled.stamp();
    let path = |name| maildir.path().join(name);
    let modified = fs::metadata(path("new")).unwrap().modified().unwrap();
    fs::write(path("new/9.M9P9.host"), "x").unwrap();
    assert!(maildir.changed_since(&stamp).unwrap(), "delivery");
    fs::remove_file(path("new/9.M9P9.host")).unwrap();
    fs::File::open(path("new")).unwrap().set_times(fs::FileTimes::new().set_modified(modified)).unwrap();
    assert!(maildir.changed_since(&stamp).unwrap(), "a time that was set back to what it was");
}
