//! Reports of what others change.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postrider_maildir::{Directory, Flag, FolderName, Layout, Maildir, Tree, Watch, Watched, What};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const SOON: Option<Duration> = Some(Duration::from_secs(10));
const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

fn maildir_in(scratch: &Path, name: &str) -> Maildir {
    Maildir::create(scratch.join(name)).unwrap()
}

fn watched(maildir: &Maildir) -> (Watch, Watched) {
    let mut watch = Watch::new().unwrap();
    let watched = watch.add(maildir).unwrap();
    (watch, watched)
}

fn put(maildir: &Maildir, path: &str) {
    fs::write(maildir.path().join(path), "x").unwrap();
}

fn rename(maildir: &Maildir, from: &str, to: &str) {
    fs::rename(maildir.path().join(from), maildir.path().join(to)).unwrap();
}

/// What there is to report, as text: `+cur/name`, `-base`, and words for the rest.
fn reports(watch: &mut Watch) -> Vec<String> {
    let text = |what| match what {
        What::Absent { base } => format!("-{}", base.escape_ascii()),
        What::Folders => "folders".to_owned(),
        What::Lost => "lost".to_owned(),
        What::Present { name, directory: Directory::Cur } => format!("+cur/{name}"),
        What::Present { name, directory: Directory::New } => format!("+new/{name}"),
        What::Rescan => "rescan".to_owned(),
        _ => unreachable!(),
    };
    watch.wait(AT_ONCE).unwrap().into_iter().map(|change| text(change.what)).collect()
}

#[test]
fn what_others_do_to_a_message_is_reported_with_its_name_and_place() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path(), "m");
    let (mut watch, _) = watched(&maildir);
    assert!(reports(&mut watch).is_empty());
    put(&maildir, "tmp/1.1.host");
    assert!(reports(&mut watch).is_empty(), "nobody looks into tmp");
    rename(&maildir, "tmp/1.1.host", "new/1.1.host,S=1");
    assert_eq!(reports(&mut watch), ["+new/1.1.host,S=1"]);
    rename(&maildir, "new/1.1.host,S=1", "cur/1.1.host,S=1:2,");
    assert_eq!(reports(&mut watch), ["+cur/1.1.host,S=1:2,"]);
    rename(&maildir, "cur/1.1.host,S=1:2,", "cur/1.1.host,S=1:2,S");
    assert_eq!(reports(&mut watch), ["+cur/1.1.host,S=1:2,S"]);
    fs::remove_file(maildir.path().join("cur/1.1.host,S=1:2,S")).unwrap();
    assert_eq!(reports(&mut watch), ["-1.1.host,S=1"]);
    put(&maildir, "new/.hidden");
    fs::create_dir(maildir.path().join("new/directory")).unwrap();
    assert!(reports(&mut watch).is_empty());
}

#[test]
fn many_changes_of_one_message_are_one_report_of_how_it_is_now() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path(), "m");
    let (mut watch, _) = watched(&maildir);
    put(&maildir, "new/1.1.host");
    rename(&maildir, "new/1.1.host", "cur/1.1.host:2,");
    rename(&maildir, "cur/1.1.host:2,", "cur/1.1.host:2,S");
    put(&maildir, "new/2.2.host");
    fs::remove_file(maildir.path().join("new/2.2.host")).unwrap();
    // A rename by a second link and the removal of the first.
    put(&maildir, "cur/3.3.host:2,");
    fs::hard_link(maildir.path().join("cur/3.3.host:2,"), maildir.path().join("cur/3.3.host:2,F")).unwrap();
    fs::remove_file(maildir.path().join("cur/3.3.host:2,")).unwrap();
    assert_eq!(reports(&mut watch), ["+cur/1.1.host:2,S", "-2.2.host", "+cur/3.3.host:2,F"]);
}

#[test]
fn own_changes_are_not_reported_and_those_of_others_to_the_same_message_are() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path(), "m");
    let (mut watch, watched) = watched(&maildir);

    let delivered = maildir.delivery().unwrap().commit().unwrap();
    watch.own(watched, delivered.name(), delivered.directory());
    assert!(reports(&mut watch).is_empty(), "own delivery");

    let mut message = maildir.find(delivered.name().octets()).unwrap();
    message.add_flags(Flag::SEEN.into()).unwrap();
    watch.own(watched, message.name(), message.directory());
    assert!(reports(&mut watch).is_empty(), "own flags");

    // Theirs after ours.
    message.add_flags(Flag::FLAGGED.into()).unwrap();
    watch.own(watched, message.name(), message.directory());
    maildir.find(delivered.name().octets()).unwrap().add_flags(Flag::REPLIED.into()).unwrap();
    assert_eq!(reports(&mut watch), [format!("+cur/{}:2,FRS", delivered.name())]);

    // Ours after theirs: we know what came of both.
    maildir.find(delivered.name().octets()).unwrap().add_flags(Flag::DRAFT.into()).unwrap();
    message.add_flags(Flag::PASSED.into()).unwrap();
    assert_eq!(message.name().flags().to_string(), "DFPRS");
    watch.own(watched, message.name(), message.directory());
    assert!(reports(&mut watch).is_empty());

    // What was said holds for what happened before, not for what happens later.
    watch.own(watched, message.name(), message.directory());
    assert!(reports(&mut watch).is_empty());
    message.remove_flags(Flag::PASSED.into()).unwrap();
    message.add_flags(Flag::PASSED.into()).unwrap();
    assert_eq!(reports(&mut watch).len(), 1);

    let name = message.name().clone();
    message.remove().unwrap();
    watch.own_removal(watched, &name);
    assert!(reports(&mut watch).is_empty(), "own removal");
}

#[test]
fn maildirs_are_told_apart_and_a_message_between_them_is_reported_by_both() {
    let scratch = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| maildir_in(scratch.path(), name));
    let (mut watch, in_a) = watched(&a);
    let in_b = watch.add(&b).unwrap();
    put(&a, "cur/1.1.host:2,");
    assert_eq!(watch.wait(SOON).unwrap()[0].watched, in_a);
    fs::rename(a.path().join("cur/1.1.host:2,"), b.path().join("cur/1.1.host:2,")).unwrap();
    let changes = watch.wait(SOON).unwrap();
    assert_eq!(changes.iter().map(|change| change.watched).collect::<Vec<_>>(), [in_a, in_b]);
    assert!(matches!(changes[0].what, What::Absent { .. }) && matches!(changes[1].what, What::Present { .. }));
    watch.remove(in_a);
    put(&a, "cur/2.2.host:2,");
    put(&b, "cur/2.2.host:2,");
    assert_eq!(watch.wait(SOON).unwrap().iter().map(|change| change.watched).collect::<Vec<_>>(), [in_b]);
}

#[test]
fn one_maildir_can_be_watched_twice() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path(), "m");
    let (mut watch, first) = watched(&maildir);
    watch.add(&maildir).unwrap();
    put(&maildir, "new/1.1.host");
    assert_eq!(reports(&mut watch).len(), 2);
    watch.remove(first);
    put(&maildir, "new/2.2.host");
    assert_eq!(reports(&mut watch).len(), 1);
}

#[test]
fn when_the_kernel_drops_reports_the_caller_is_told_to_list() {
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let [busy, quiet] = ["busy", "quiet"].map(|name| maildir_in(scratch.path(), name));
    let (mut watch, in_busy) = watched(&busy);
    let in_quiet = watch.add(&quiet).unwrap();
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    put(&busy, "cur/1.1.host:2,");
    for _ in 0..limit / 4 + 100 {
        rename(&busy, "cur/1.1.host:2,", "cur/1.1.host:2,S");
        rename(&busy, "cur/1.1.host:2,S", "cur/1.1.host:2,");
    }
    let name = busy.list().unwrap().iter().next().unwrap().name().clone().into_owned();
    watch.own(in_busy, &name, Directory::Cur);
    let changes = watch.wait(AT_ONCE).unwrap();
    assert_eq!(changes.iter().map(|change| change.watched).collect::<Vec<_>>(), [in_busy, in_quiet]);
    assert!(changes.iter().all(|change| change.what == What::Rescan));
    rename(&busy, "cur/1.1.host:2,", "cur/1.1.host:2,S");
    assert_eq!(reports(&mut watch), ["+cur/1.1.host:2,S"], "and it goes on");
}

#[test]
fn a_maildir_that_goes_away_is_reported_once() {
    let gone: [fn(&Maildir); 4] = [
        |maildir| fs::remove_dir_all(maildir.path()).unwrap(),
        |maildir| fs::rename(maildir.path(), maildir.path().with_extension("moved")).unwrap(),
        |maildir| fs::remove_dir_all(maildir.path().join("cur")).unwrap(),
        |maildir| rename(maildir, "new", "old"),
    ];
    for go in gone {
        let scratch = tempfile::tempdir().unwrap();
        let [stays, goes] = ["stays", "goes"].map(|name| maildir_in(scratch.path(), name));
        let (mut watch, _) = watched(&goes);
        watch.add(&stays).unwrap();
        put(&goes, "cur/1.1.host:2,");
        go(&goes);
        assert_eq!(reports(&mut watch), ["lost"]);
        put(&stays, "new/2.2.host");
        assert_eq!(reports(&mut watch), ["+new/2.2.host"]);
    }
}

#[test]
fn the_folders_of_a_tree_that_come_and_go_are_reported() {
    for layout in [Layout::FileSystem, Layout::MaildirPlusPlus] {
        let scratch = tempfile::tempdir().unwrap();
        let tree = Tree::open(scratch.path(), layout).unwrap();
        let name = |path: &str| FolderName::new(path.split('/')).unwrap();
        tree.create(&FolderName::ROOT).unwrap();
        let mut watch = Watch::new().unwrap();
        watch.add_tree(&tree).unwrap();
        let inbox = Maildir::open(tree.path()).unwrap();
        watch.add(&inbox).unwrap();
        tree.create(&name("a/b")).unwrap();
        assert_eq!(reports(&mut watch), ["folders"]);
        tree.create(&name("a/b/c")).unwrap();
        assert_eq!(reports(&mut watch), ["folders"]);
        tree.rename(&name("a/b/c"), &name("d")).unwrap();
        assert_eq!(reports(&mut watch), ["folders"]);
        tree.delete(&name("d")).unwrap();
        assert_eq!(reports(&mut watch), ["folders"]);
        put(&inbox, "new/1.1.host");
        put(&tree.open_folder(&name("a/b")).unwrap(), "new/1.1.host");
        fs::write(tree.path().join("maildirsize"), "").unwrap();
        assert_eq!(reports(&mut watch), ["+new/1.1.host"], "of the inbox");
        // Made by somebody who is slow.
        fs::create_dir(tree.path_of(&name("slow"))).unwrap();
        assert_eq!(reports(&mut watch), ["folders"]);
        fs::create_dir(tree.path_of(&name("slow")).join("cur")).unwrap();
        assert_eq!(reports(&mut watch), ["folders"]);
        fs::remove_dir_all(tree.path()).unwrap();
        let mut lost = reports(&mut watch);
        lost.retain(|report| report != "folders");
        assert_eq!(lost, ["lost", "lost"]);
    }
}

#[test]
fn ten_thousand_folders_are_watched_at_once() {
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let tree = Tree::open(scratch.path(), Layout::MaildirPlusPlus).unwrap();
    let mut watch = Watch::new().unwrap();
    let mut folders = HashMap::new();
    for number in 0..10_000 {
        let folder = scratch.path().join(format!(".f{number}"));
        fs::create_dir(&folder).unwrap();
        ["tmp", "new", "cur"].iter().for_each(|name| fs::create_dir(folder.join(name)).unwrap());
        let maildir = tree.open_folder(&FolderName::new([format!("f{number}")]).unwrap()).unwrap();
        match watch.add(&maildir) {
            Err(error) => {
                assert!(error.is_watch_limit(), "{error}");
                break;
            }
            Ok(watched) => folders.insert(watched, maildir),
        };
    }
    let some: Vec<_> = folders.keys().copied().take(100).collect();
    some.iter().for_each(|watched| put(&folders[watched], "new/1.1.host"));
    let mut reported: Vec<_> = watch.wait(SOON).unwrap().iter().map(|change| change.watched).collect();
    reported.sort_unstable();
    let mut expected = some;
    expected.sort_unstable();
    assert_eq!(reported, expected);
}

#[test]
fn waiting_ends_with_a_change_or_with_the_time() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path(), "m");
    let (mut watch, _) = watched(&maildir);
    let began = Instant::now();
    assert!(watch.wait(Some(Duration::from_millis(50))).unwrap().is_empty());
    assert!(began.elapsed() >= Duration::from_millis(50));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            put(&maildir, "new/1.1.host");
        });
        assert_eq!(watch.wait(None).unwrap().len(), 1);
    });
}

#[test]
fn the_descriptor_says_when_there_is_something_to_fetch() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path(), "m");
    let (mut watch, _) = watched(&maildir);
    let readable = |watch: &Watch| {
        let descriptor = watch.descriptor().unwrap();
        poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    };
    assert!(!readable(&watch));
    put(&maildir, "new/1.1.host");
    assert!(readable(&watch));
    assert_eq!(reports(&mut watch).len(), 1);
    assert!(!readable(&watch));
}

/// What a foreign mail reader does, with its own pace and without end.
fn disturb(maildir: &Maildir, stop: &AtomicBool) {
    let mut there = BTreeMap::<usize, String>::new();
    let mut random: usize = 7;
    while !stop.load(Ordering::Relaxed) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = (random >> 33) % 50;
        let next =
            ["new/N", "cur/N:2,", "cur/N:2,S", "cur/N:2,FS"][(random >> 40) % 4].replace('N', &format!("{n}.{n}.host"));
        match there.remove(&n) {
            Some(now) if (random >> 50).is_multiple_of(5) => fs::remove_file(maildir.path().join(now)).unwrap(),
            Some(now) => {
                rename(maildir, &now, &next);
                there.insert(n, next);
            }
            None => {
                put(maildir, &next);
                there.insert(n, next);
            }
        }
    }
}

#[test]
fn who_follows_the_reports_knows_in_the_end_what_a_listing_shows() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path(), "m");
    let (mut watch, _) = watched(&maildir);
    let mut known = BTreeMap::new();
    let list = |maildir: &Maildir| {
        let listing = maildir.list().unwrap();
        let entries = listing.iter().map(|entry| {
            (entry.name().base().to_vec(), (entry.name().to_string(), entry.directory() == Directory::Cur))
        });
        entries.collect::<BTreeMap<_, _>>()
    };
    let mut follow = |watch: &mut Watch| {
        for change in watch.wait(AT_ONCE).unwrap() {
            match change.what {
                What::Present { name, directory } => {
                    drop(known.insert(name.base().to_vec(), (name.to_string(), directory == Directory::Cur)))
                }
                What::Absent { base } => drop(known.remove(&base)),
                What::Rescan => known = list(&maildir),
                other => panic!("{other:?}"),
            }
        }
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| disturb(&maildir, &stop));
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1_500) {
            follow(&mut watch);
        }
        stop.store(true, Ordering::Relaxed);
    });
    follow(&mut watch);
    assert_eq!(known, list(&maildir));
}

#[test]
fn a_rename_is_not_taken_for_a_removal_when_its_two_halves_are_read_apart() {
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let maildir = maildir_in(scratch.path(), "m");
    put(&maildir, "cur/1.1.host:2,");
    let (mut watch, _) = watched(&maildir);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                rename(&maildir, "cur/1.1.host:2,", "cur/1.1.host:2,S");
                rename(&maildir, "cur/1.1.host:2,S", "cur/1.1.host:2,");
            }
        });
        let began = Instant::now();
        let mut absent = false;
        while began.elapsed() < Duration::from_millis(1_500) {
            absent |= watch.wait(AT_ONCE).unwrap().iter().any(|change| matches!(change.what, What::Absent { .. }));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(!absent);
    });
}

#[test]
fn polling_reports_that_something_changed_and_again_when_the_clock_is_sure() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path(), "m");
    let tree = Tree::open(scratch.path(), Layout::FileSystem).unwrap();
    let mut watch = Watch::polling(Duration::from_millis(20));
    watch.add(&maildir).unwrap();
    watch.add_tree(&tree).unwrap();
    assert!(watch.descriptor().is_none());
    assert!(reports(&mut watch).is_empty());
    put(&maildir, "new/1.1.host");
    assert_eq!(watch.wait(SOON).unwrap()[0].what, What::Rescan);
    assert!(reports(&mut watch).is_empty());
    assert_eq!(watch.wait(SOON).unwrap()[0].what, What::Rescan, "once the time proves something");
    assert!(watch.wait(Some(Duration::from_millis(100))).unwrap().is_empty());
    tree.create(&FolderName::new(["other"]).unwrap()).unwrap();
    assert_eq!(reports(&mut watch), ["folders"]);
    fs::remove_dir_all(maildir.path()).unwrap();
    assert_eq!(reports(&mut watch), ["lost", "folders"]);
    assert!(reports(&mut watch).is_empty());
}

#[test]
fn what_is_not_there_cannot_be_watched() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path(), "m");
    fs::remove_dir(maildir.path().join("cur")).unwrap();
    let mut watch = Watch::new().unwrap();
    let error = watch.add(&maildir).unwrap_err();
    assert!(error.to_string().starts_with("cannot watch ") && !error.is_watch_limit(), "{error}");
    put(&maildir, "new/1.1.host");
    assert!(reports(&mut watch).is_empty(), "all or nothing");
}
