//! Lists of UIDs: what Dovecot and Courier keep is read, kept and continued.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use postrider_maildir::{Error, Maildir, Options, UidList, UidListError};
use proptest::prelude::*;

const GUID: &str = "0123456789abcdef0123456789abcdef";

fn list(text: &str) -> UidList {
    UidList::parse(text).unwrap()
}

fn text(list: &UidList) -> String {
    String::from_utf8(list.to_dovecot()).unwrap()
}

fn uids(list: &UidList) -> Vec<(u32, String)> {
    list.iter().map(|entry| (entry.uid(), entry.name().escape_ascii().to_string())).collect()
}

fn pairs<'a>(expected: &'a [(u32, &'a str)]) -> Vec<(u32, String)> {
    expected.iter().map(|&(uid, name)| (uid, name.to_owned())).collect()
}

fn maildir(scratch: &tempfile::TempDir) -> Maildir {
    Maildir::create(scratch.path().join("m")).unwrap()
}

fn beside(maildir: &Maildir, name: &str) -> PathBuf {
    maildir.path().join(name)
}

fn put(maildir: &Maildir, names: &[&str]) {
    names.iter().for_each(|name| fs::write(maildir.path().join(name), "x").unwrap());
}

/// Gives UIDs as a server does, and returns the list.
fn update(maildir: &Maildir) -> UidList {
    let mut update = maildir.update_uids().unwrap();
    let listing = maildir.list().unwrap();
    update.forget_missing(&listing);
    update.assign(&listing).unwrap();
    update.commit().unwrap()
}

#[test]
fn version_3_is_read_and_written_with_all_the_letters_nobody_knows() {
    let octets =
        format!("3 V7 N24 G{GUID} P%08Xu%08Xv Zz\n3 S710 W720 Pold/uidl O4 Gabc Xx9 :a,S=710\n17 :b: c\n18 Zq Z :d\n");
    let list = list(&octets);
    assert_eq!((list.uid_validity(), list.next_uid(), list.guid()), (7, 24, Some(GUID)));
    assert_eq!((list.header_field(b'P'), list.header_field(b'Z')), (Some(&b"%08Xu%08Xv"[..]), Some(&b"z"[..])));
    assert_eq!(uids(&list), pairs(&[(3, "a,S=710"), (17, "b"), (18, "d")]));
    let first = list.find(b"a,S=710").unwrap();
    assert_eq!(
        (first.field(b'P'), first.field(b'X'), first.field(b'Y')),
        (Some(&b"old/uidl"[..]), Some(&b"x9"[..]), None)
    );
    assert_eq!(text(&list), octets.replace(":b: c", ":b"));
}

#[test]
fn version_1_is_read_and_becomes_version_3_with_the_same_uids() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    put(&maildir, &["cur/1.a.h:2,S", "cur/2.b.h:2,", "new/3.c.h"]);
    fs::write(beside(&maildir, "dovecot-uidlist"), "1 1275660208 10\n4 1.a.h\n9 2.b.h\n").unwrap();
    let list = update(&maildir);
    assert_eq!(uids(&list), pairs(&[(4, "1.a.h"), (9, "2.b.h"), (10, "3.c.h")]));
    let octets = fs::read_to_string(beside(&maildir, "dovecot-uidlist")).unwrap();
    let guid = UidList::parse(octets.as_str()).unwrap().guid().unwrap().to_owned();
    assert_eq!(octets, format!("3 V1275660208 N11 G{guid}\n4 :1.a.h\n9 :2.b.h\n10 :3.c.h\n"));
}

#[test]
fn courier_s_uids_are_adopted_where_there_are_none_and_written_for_it() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    put(&maildir, &["cur/1.a.h:2,S", "new/2.b.h"]);
    let courier = "1 77 10\n4 1.a.h\n9 gone\n";
    fs::write(beside(&maildir, "courierimapuiddb"), courier).unwrap();
    let mut update = maildir.update_uids().unwrap();
    assert!(update.adopt(maildir.courier_uid_list().unwrap().unwrap()));
    update.assign(&maildir.list().unwrap()).unwrap();
    let list = update.commit().unwrap();
    assert_eq!((list.uid_validity(), uids(&list)), (77, pairs(&[(4, "1.a.h"), (9, "gone"), (10, "2.b.h")])));
    assert!(!maildir.update_uids().unwrap().adopt(UidList::new(1)), "there is a list now");

    maildir.write_courier_uid_list(&list).unwrap();
    let written = fs::read_to_string(beside(&maildir, "courierimapuiddb")).unwrap();
    assert_eq!(written, "1 77 11\n4 1.a.h\n9 gone\n10 2.b.h\n");
}

#[test]
fn a_list_that_breaks_its_rules_is_refused_with_the_line() {
    use UidListError::{Entry, Header, Order};
    let head = format!("3 V7 N3 G{GUID}\n");
    for (octets, error) in [
        (String::new(), Header),
        ("3 V7 N3".to_owned(), Header),
        ("\n".to_owned(), Header),
        ("2 V7 N3\n".to_owned(), Header),
        ("3 N3\n".to_owned(), Header),
        ("3 V0 N3\n".to_owned(), Header),
        ("3 V7 N0\n".to_owned(), Header),
        ("3 V7 N4294967296\n".to_owned(), Header),
        ("3 V-7 N3\n".to_owned(), Header),
        ("3 V7 N3 Gshort\n".to_owned(), Header),
        ("3 V7 N3 \0\n".to_owned(), Header),
        ("1 7\n".to_owned(), Header),
        ("1 0 1\n".to_owned(), Header),
        (format!("{head}x :a\n"), Entry { line: 2 }),
        (format!("{head}1 :a\n2\n"), Entry { line: 3 }),
        (format!("{head}1 :a\n\n"), Entry { line: 3 }),
        (format!("{head}1:a\n"), Entry { line: 2 }),
        (format!("{head}1 S5\n"), Entry { line: 2 }),
        (format!("{head}1 S5 :\n"), Entry { line: 2 }),
        (format!("{head}1 ::2,S\n"), Entry { line: 2 }),
        (format!("{head}1 :a/b\n"), Entry { line: 2 }),
        (format!("{head}1 S\0 :a\n"), Entry { line: 2 }),
        (format!("{head}-1 :a\n"), Entry { line: 2 }),
        (format!("{head}0 :a\n"), Order { line: 2 }),
        (format!("{head}2 :a\n2 :b\n"), Order { line: 3 }),
        (format!("{head}2 :a\n1 :b\n"), Order { line: 3 }),
        (format!("{head}4294967295 :a\n"), Order { line: 2 }),
        (format!("{head}4294967297 :a\n"), Order { line: 2 }),
        (format!("{head}18446744073709551617 :a\n"), Entry { line: 2 }),
        ("1 7 3\n3 a\n".to_owned(), Order { line: 2 }),
    ] {
        assert_eq!(UidList::parse(octets.as_str()).unwrap_err(), error, "{octets:?}");
    }
    assert_eq!(list(&format!("{head}4294967294 :a\n")).len(), 1);
}

#[test]
fn the_next_uid_is_above_all_in_the_list_whatever_its_first_line_says() {
    assert_eq!(list(&format!("3 V7 N3 G{GUID}\n9 :a\n")).next_uid(), 10);
    assert_eq!(list(&format!("3 V7 N30 G{GUID}\n9 :a\n")).next_uid(), 30);
}

#[test]
fn a_name_that_comes_twice_has_the_greater_uid() {
    let list = list(&format!("3 V7 N9 G{GUID}\n1 :a\n2 :b\n3 :a\n"));
    assert_eq!(uids(&list), pairs(&[(2, "b"), (3, "a")]));
    assert_eq!((list.len(), list.get(1), list.find(b"a").map(|entry| entry.uid())), (2, None, Some(3)));
}

#[test]
fn an_incomplete_last_line_is_not_read_and_written_over() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    put(&maildir, &["cur/1.a.h:2,", "cur/2.b.h:2,"]);
    fs::write(beside(&maildir, "dovecot-uidlist"), format!("3 V7 N2 G{GUID}\n1 :1.a.h\n2 :2.b")).unwrap();
    assert_eq!(uids(&maildir.uid_list().unwrap().unwrap()), pairs(&[(1, "1.a.h")]));
    update(&maildir);
    let octets = fs::read_to_string(beside(&maildir, "dovecot-uidlist")).unwrap();
    assert_eq!(octets, format!("3 V7 N3 G{GUID}\n1 :1.a.h\n2 :2.b.h\n"));
}

#[test]
fn new_messages_get_uids_in_the_order_of_their_delivery_by_appending() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    let before = format!("3 V7 N5 G{GUID}\n4 Zz :9.M1.h\n");
    fs::write(beside(&maildir, "dovecot-uidlist"), &before).unwrap();
    put(
        &maildir,
        &["cur/9.M1.h:2,", "new/12.M5P1.h", "cur/12.M40P1.h:2,S", "new/11.M999999.h", "new/odd", "new/line\nend"],
    );
    let list = update(&maildir);
    let expected = [(4, "9.M1.h"), (5, "odd"), (6, "11.M999999.h"), (7, "12.M5P1.h"), (8, "12.M40P1.h")];
    assert_eq!(uids(&list), pairs(&expected));
    let octets = fs::read_to_string(beside(&maildir, "dovecot-uidlist")).unwrap();
    assert_eq!(octets, format!("{before}5 :odd\n6 :11.M999999.h\n7 :12.M5P1.h\n8 :12.M40P1.h\n"));
    assert_eq!(maildir.uid_list().unwrap().unwrap().next_uid(), 9);
}

#[test]
fn nothing_new_writes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    put(&maildir, &["new/1.a.h"]);
    update(&maildir);
    let seen = |maildir: &Maildir| fs::metadata(beside(maildir, "dovecot-uidlist")).unwrap().modified().unwrap();
    let before = seen(&maildir);
    assert_eq!(update(&maildir).len(), 1);
    assert_eq!(seen(&maildir), before);
    assert!(!beside(&maildir, "dovecot-uidlist.lock").exists());
}

#[test]
fn the_time_of_the_file_grows_with_each_change_even_if_it_lies_in_the_future() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    put(&maildir, &["new/1.a.h"]);
    update(&maildir);
    let path = beside(&maildir, "dovecot-uidlist");
    let later = SystemTime::now() + Duration::from_secs(1000);
    let set = || fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    set();
    put(&maildir, &["new/2.b.h"]);
    update(&maildir);
    assert!(fs::metadata(&path).unwrap().modified().unwrap() > later, "appended");
    set();
    fs::write(&path, fs::read(&path).unwrap().strip_suffix(b"\n").unwrap()).unwrap();
    set();
    update(&maildir);
    assert!(fs::metadata(&path).unwrap().modified().unwrap() > later, "rewritten");
}

#[test]
fn the_list_is_rewritten_when_less_than_three_quarters_of_it_count() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    let names: Vec<_> = (1..=8).map(|n| format!("new/{n}.a.h")).collect();
    names.iter().for_each(|name| put(&maildir, &[name]));
    update(&maildir);
    let lines = || fs::read_to_string(beside(&maildir, "dovecot-uidlist")).unwrap().lines().count() - 1;
    for (gone, left) in [(0..2, 8), (2..3, 5)] {
        names[gone].iter().for_each(|name| fs::remove_file(maildir.path().join(name)).unwrap());
        update(&maildir);
        assert_eq!(lines(), 8, "nothing is forgotten by a listing that is not settled");
        std::thread::sleep(Duration::from_millis(2100));
        update(&maildir);
        assert_eq!(lines(), left);
    }
    let list = maildir.uid_list().unwrap().unwrap();
    assert_eq!((list.next_uid(), list.iter().map(|entry| entry.uid()).collect::<Vec<_>>()), (9, vec![4, 5, 6, 7, 8]));
}

#[test]
fn a_broken_list_gets_a_greater_uidvalidity_and_a_sound_one_keeps_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    put(&maildir, &["new/1.a.h"]);
    let path = beside(&maildir, "dovecot-uidlist");
    fs::write(&path, format!("3 V4000000000 N3 G{GUID}\n2 :x\n1 :1.a.h\n")).unwrap();
    assert!(matches!(maildir.uid_list(), Err(Error::UidList { source: UidListError::Order { line: 3 }, .. })));
    assert_eq!(maildir.update_uids().unwrap().broken(), Some(UidListError::Order { line: 3 }));
    assert!(fs::read(&path).unwrap().starts_with(b"3 V4000000000"), "not committed");
    let first = update(&maildir).uid_validity();
    assert!(first > 4_000_000_000, "{first}");
    assert_eq!(update(&maildir).uid_validity(), first);
    fs::remove_file(&path).unwrap();
    let second = update(&maildir).uid_validity();
    assert!(second > first);
    let mut update = maildir.update_uids().unwrap();
    update.renumber().unwrap();
    assert!(update.commit().unwrap().uid_validity() > second);
}

#[test]
fn a_list_without_uids_left_says_so_and_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    put(&maildir, &["new/1.a.h", "new/2.b.h"]);
    fs::write(beside(&maildir, "dovecot-uidlist"), format!("3 V7 N4294967294 G{GUID}\n")).unwrap();
    let mut update = maildir.update_uids().unwrap();
    let error = update.assign(&maildir.list().unwrap()).unwrap_err();
    assert!(matches!(error, Error::UidList { source: UidListError::Exhausted, .. }), "{error}");
    assert_eq!(uids(update.list()), pairs(&[(4_294_967_294, "1.a.h")]));
}

#[test]
fn names_that_dovecot_holds_for_the_same_get_one_uid() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    put(&maildir, &["cur/1.a:x:2,S", "cur/1.a:y:2,S"]);
    let list = update(&maildir);
    assert_eq!(uids(&list), pairs(&[(1, "1.a")]));
    assert_eq!(list.find(b"1.a:x"), list.find(b"1.a:y"));
}

#[test]
fn a_field_is_set_and_the_others_stay() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    fs::write(beside(&maildir, "dovecot-uidlist"), format!("3 V7 N3 G{GUID}\n1 S5 Zz :a\n2 :b\n")).unwrap();
    let mut update = maildir.update_uids().unwrap();
    assert!(update.set_field(1, b'S', b"6") && update.set_field(2, b'P', b"UID2-7"));
    for (uid, letter, value) in
        [(3, b'P', &b"x"[..]), (1, b':', b"x"), (1, b' ', b"x"), (1, b'P', b"x y"), (1, b'P', b"x\n")]
    {
        assert!(!update.set_field(uid, letter, value));
    }
    update.commit().unwrap();
    let octets = fs::read_to_string(beside(&maildir, "dovecot-uidlist")).unwrap();
    assert_eq!(octets, format!("3 V7 N3 G{GUID}\n1 Zz S6 :a\n2 PUID2-7 :b\n"));
}

#[test]
fn a_held_lock_is_waited_for_and_a_stale_one_taken_away() {
    let scratch = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.lock_timeout = Duration::from_millis(50);
    Maildir::create(scratch.path().join("m")).unwrap();
    let maildir = Maildir::open_with(scratch.path().join("m"), options).unwrap();
    let lock = beside(&maildir, "dovecot-uidlist.lock");
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    let dead = "2147483647";
    let mine = std::process::id();
    for (owner, age, stale) in [
        (format!("{mine}:{host}"), 0, false),
        (format!("{mine}:{host}"), 110, false),
        (format!("{mine}:{host}"), 130, true),
        (format!("{dead}:{host}"), 5, false),
        (format!("{dead}:{host}"), 15, true),
        (format!("{dead}:elsewhere.example"), 110, false),
        (format!("{dead}:elsewhere.example"), 130, true),
        (String::new(), 110, false),
        ("garbage\0".repeat(1000), 130, true),
    ] {
        fs::write(&lock, &owner).unwrap();
        let time = SystemTime::now() - Duration::from_secs(age);
        fs::File::options().write(true).open(&lock).unwrap().set_modified(time).unwrap();
        match maildir.update_uids() {
            Ok(update) => {
                assert!(stale, "{owner} {age}");
                assert_eq!(fs::read_to_string(&lock).unwrap(), format!("{mine}:{host}"));
                drop(update);
                assert!(!lock.exists());
            }
            Err(error) => assert!(!stale && matches!(error, Error::Locked { .. }), "{owner} {age}: {error}"),
        }
    }
}

#[test]
fn what_was_locked_and_is_no_more_is_not_written_nor_unlocked() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    put(&maildir, &["new/1.a.h"]);
    let lock = beside(&maildir, "dovecot-uidlist.lock");
    let mut update = maildir.update_uids().unwrap();
    update.assign(&maildir.list().unwrap()).unwrap();
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, "1:somebody").unwrap();
    assert!(matches!(update.commit(), Err(Error::LockLost { .. })));
    assert_eq!(fs::read(&lock).unwrap(), b"1:somebody");
    assert!(!beside(&maildir, "dovecot-uidlist").exists());
}

#[test]
fn eight_threads_that_deliver_and_number_at_once_agree() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let delivered = maildir.delivery().unwrap().commit().unwrap();
                    let list = update(&maildir);
                    let uid = list.find(delivered.name().base()).unwrap().uid();
                    let again = maildir.uid_list().unwrap().unwrap();
                    assert_eq!(again.find(delivered.name().base()).map(|entry| entry.uid()), Some(uid));
                }
            });
        }
    });
    let list = update(&maildir);
    assert_eq!(list.iter().map(|entry| entry.uid()).collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
}

#[test]
fn only_a_regular_file_is_taken_for_a_list() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    let path = beside(&maildir, "dovecot-uidlist");
    std::os::unix::fs::symlink(Path::new("/dev/zero"), &path).unwrap();
    assert!(matches!(maildir.uid_list(), Err(Error::NotRegular { .. })));
    assert!(matches!(maildir.update_uids(), Err(Error::NotRegular { .. })));
}

#[test]
fn ten_million_lines_of_garbage_take_no_longer_than_it_takes_to_look_at_them() {
    let start = std::time::Instant::now();
    let head = format!("3 V7 N3 G{GUID}\n").into_bytes();
    for line in [&b"\n"[..], b" \n", b"9 \n", b"1 :a\n", b":::\n"] {
        assert!(UidList::parse([head.clone(), line.repeat(10_000_000)].concat()).is_err());
    }
    // One line, all of it fields; and one without end.
    let fields = [head.clone(), b"1 ".to_vec(), b"x ".repeat(10_000_000), b":a\n".to_vec()].concat();
    assert_eq!(UidList::parse(fields).unwrap().len(), 1);
    assert_eq!(UidList::parse([head, b"9".repeat(20_000_000)].concat()).unwrap().len(), 0);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

fn entries() -> impl Strategy<Value = Vec<(u32, String, String)>> {
    prop::collection::vec((1..1000_u32, "([A-Z][!-9;-~]{0,5} ){0,3}", "[a-z0-9,=. ]{1,20}(:2,S)?"), 0..30)
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(validity in 1..u32::MAX, entries in entries()) {
        let mut octets = format!("3 V{validity} N1 G{GUID} Xx\n");
        let mut uid = 0;
        for (step, fields, name) in entries {
            uid += step;
            octets.push_str(&format!("{uid} {fields}:{name}\n"));
        }
        let read = list(&octets);
        let written = read.to_dovecot();
        let again = UidList::parse(written.clone()).unwrap();
        prop_assert_eq!(again.to_dovecot(), written);
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), again.iter().collect::<Vec<_>>());
        for entry in read.iter() {
            prop_assert_eq!(read.find(entry.name()), Some(entry));
            prop_assert_eq!(read.get(entry.uid()), Some(entry));
        }
    }

    #[test]
    fn any_octets_are_a_list_or_an_error(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = UidList::parse([&b"3 V1 N1\n"[..], &octets].concat());
        let _ = UidList::parse(octets);
    }
}

/// How long this thread has been at work, waiting left out: the machine may have other things to do.
#[cfg(target_os = "linux")]
fn worked() -> Duration {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap())
}

/// What the process has in memory.
#[cfg(target_os = "linux")]
fn kilobytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "a speed, which only an optimised build on a quiet machine has"]
fn a_list_of_94_mb_is_read_in_less_than_a_third_of_a_second() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    let mut octets = format!("3 V1275660208 N1 G{GUID}\n");
    let mut uid = 0_u32;
    while octets.len() < 94_000_000 {
        uid += 1;
        let (seconds, micros) = (1_275_660_208 + uid / 3, u64::from(uid) * 7919 % 1_000_000);
        octets.push_str(&format!(
            "{uid} W{} :{seconds}.M{micros}P{uid}Q1R00000000.mail.example.org,S={uid},W={uid}\n",
            uid + 9
        ));
    }
    fs::write(beside(&maildir, "dovecot-uidlist"), &octets).unwrap();
    drop(octets);
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let (before, start) = (kilobytes(), worked());
        let list = maildir.uid_list().unwrap().unwrap();
        let took = worked() - start;
        let memory = (kilobytes() - before) * 1024;
        println!("{} entries, {took:?}, {} octets each", list.len(), memory / list.len());
        assert_eq!(list.len(), uid as usize);
        best = best.min(took);
        let start = worked();
        assert!(list.iter().all(|entry| list.find(entry.name()) == Some(entry)));
        println!("all looked up in {:?}", worked() - start);
    }
    assert!(best < Duration::from_millis(300), "{best:?}");
}
