//! The file `maildirsize`: when it is believed, when it is made anew, and many at work on it.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use postrider_maildir::{Error, FolderName, Layout, Maildir, MaildirSize, Quota, Tree, Usage, Verdict};

const QUOTA: Quota = Quota { octets: Some(1_000), messages: Some(10) };

/// A Maildir with two messages of 100 and 10 octets.
fn maildir_in(scratch: &Path) -> Maildir {
    let maildir = Maildir::create(scratch.join("Maildir")).unwrap();
    put(&maildir, "cur/1.1.host,S=100:2,S", 1);
    put(&maildir, "new/2.2.host", 10);
    maildir
}

fn put(maildir: &Maildir, path: &str, size: usize) {
    fs::write(maildir.path().join(path), vec![b'x'; size]).unwrap();
}

fn usage(octets: u64, messages: u64) -> Usage {
    Usage { octets, messages }
}

fn size_of(maildir: &Maildir) -> MaildirSize {
    MaildirSize::of(maildir, QUOTA).unwrap()
}

/// What the file says, however wrong.
fn write(size: &MaildirSize, content: impl AsRef<[u8]>) {
    fs::write(size.path(), content).unwrap();
}

/// The times of the directories are settled after that.
fn rest() {
    thread::sleep(Duration::from_millis(20));
}

#[test]
fn without_a_file_all_is_counted_and_written() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    rest();
    let size = size_of(&maildir);
    assert_eq!(size.stored_quota().unwrap(), None);
    assert_eq!(size.usage().unwrap(), usage(110, 2));
    assert_eq!(fs::read_to_string(size.path()).unwrap(), "1000S,10C\n         110            2\n");
    assert_eq!(size.stored_quota().unwrap(), Some(QUOTA));
    assert_eq!(fs::read_dir(maildir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn the_size_in_the_name_counts_and_the_files_where_there_is_none() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    put(&maildir, "cur/3.3.host,S=-1:2,", 3);
    put(&maildir, "cur/4.4.host,S=99999999999999999999:2,", 4);
    put(&maildir, "cur/5.5.host,W=7:2,", 5);
    put(&maildir, "cur/.6.6.host", 1_000);
    put(&maildir, "tmp/7.7.host", 1_000);
    fs::create_dir(maildir.path().join("cur/8.8.host")).unwrap();
    assert_eq!(size_of(&maildir).recalculate().unwrap(), usage(122, 5));
    put(&maildir, &format!("cur/9.9.host,S={}:2,", u64::MAX), 1);
    assert_eq!(size_of(&maildir).recalculate().unwrap(), usage(u64::MAX, 6));
}

#[test]
fn folders_count_and_neither_trash_nor_what_is_flagged_for_it() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let tree = Tree::open(maildir.path(), Layout::MaildirPlusPlus).unwrap();
    for (folder, octets) in [("Sent", 1_000), ("Trash", 2_000), ("Trashes", 4_000)] {
        put(&tree.create(&FolderName::new([folder]).unwrap()).unwrap(), "cur/3.3.host:2,", octets);
    }
    put(&tree.create(&FolderName::new(["Trash", "old"]).unwrap()).unwrap(), "cur/3.3.host:2,", 8_000);
    put(&maildir, "cur/4.4.host:2,ST", 500);
    put(&maildir, "new/5.5.host,S=500:2,T", 500);
    assert_eq!(size_of(&maildir).recalculate().unwrap(), usage(110 + 1_000 + 4_000 + 8_000, 5));
}

#[test]
fn a_folder_counts_towards_its_parents_file() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let tree = Tree::open(maildir.path(), Layout::MaildirPlusPlus).unwrap();
    let folder = tree.create(&FolderName::new(["Sent"]).unwrap()).unwrap();
    put(&folder, "cur/3.3.host:2,", 5);
    assert_eq!(size_of(&folder).path(), maildir.path().join("maildirsize"));
    assert_eq!(size_of(&folder).usage().unwrap(), usage(115, 3));
    fs::remove_file(folder.path().join("maildirfolder")).unwrap();
    assert_eq!(size_of(&folder).usage().unwrap(), usage(5, 1), "without the marker it stands by itself");
}

#[test]
fn a_file_that_can_be_believed_is_believed() {
    let scratch = tempfile::tempdir().unwrap();
    let size = size_of(&maildir_in(scratch.path()));
    // Limits in the other order and narrow lines, as some write them.
    write(&size, "10C,1000S\n   500      5\n   -50     -1\n");
    assert_eq!(size.usage().unwrap(), usage(450, 4));
    assert_eq!(size.check(Usage::message(550)).unwrap(), Verdict::Fits(usage(450, 4)));
    assert_eq!(size.check(Usage::message(551)).unwrap(), Verdict::Over(usage(450, 4)));
    assert_eq!(size.check(usage(0, 6)).unwrap(), Verdict::Fits(usage(450, 4)));
    assert_eq!(size.check(usage(0, 7)).unwrap(), Verdict::Over(usage(450, 4)));
}

#[test]
fn a_file_that_cannot_be_believed_is_made_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let size = size_of(&maildir_in(scratch.path()));
    rest();
    let long = ["1000S,10C\n", &"           1            0\n".repeat(200)].concat();
    let huge = ["1000S,10C\n", &"           1            0\n".repeat(200_000)].concat();
    for file in [
        "",
        "1000S,10C\n",
        "1000S,10C\n5 1",
        "1000S,10C\n-5 -1\n",
        "1000S,10C\nfive 1\n",
        "1000S,10C\n5 1 1\n",
        "\0\0\0\0",
        "2000S,10C\n5 1\n",
        "1000S\n5 1\n",
        "0S\n5 1\n",
        "no\n5 1\n",
        &long,
        &huge,
    ] {
        write(&size, file);
        assert_eq!(size.usage().unwrap(), usage(110, 2), "{:?}", file.get(..20));
        assert_eq!(fs::read_to_string(size.path()).unwrap(), "1000S,10C\n         110            2\n");
    }
    write(&size, b"1000S,10C\n\xff\xfe 1\n");
    assert_eq!(size.usage().unwrap(), usage(110, 2));
}

#[test]
fn who_is_over_quota_since_fifteen_minutes_is_counted_again() {
    let scratch = tempfile::tempdir().unwrap();
    let size = size_of(&maildir_in(scratch.path()));
    let age = |seconds| {
        let times = fs::FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(seconds));
        fs::File::options().write(true).open(size.path()).unwrap().set_times(times).unwrap();
    };
    let over = "1000S,10C\n        2000            2\n";
    write(&size, over);
    age(14 * 60);
    assert_eq!(size.check(Usage::message(1)).unwrap(), Verdict::Over(usage(2000, 2)));
    age(15 * 60);
    assert_eq!(size.check(Usage::message(1)).unwrap(), Verdict::Fits(usage(110, 2)));
    write(&size, "1000S,10C\n         500            2\n");
    age(60 * 60);
    assert_eq!(size.usage().unwrap(), usage(500, 2), "who is within is believed for longer");
    assert_eq!(size.check(Usage::message(600)).unwrap(), Verdict::Fits(usage(110, 2)));
}

#[test]
fn what_is_added_and_removed_is_one_line_each_of_one_width() {
    let scratch = tempfile::tempdir().unwrap();
    let size = size_of(&maildir_in(scratch.path()));
    size.add(Usage::message(5)).unwrap();
    assert!(!size.path().exists(), "there is nothing to add to");
    write(&size, "1000S,10C\n         110            2\n");
    size.add(Usage::message(5)).unwrap();
    size.subtract(usage(15, 2)).unwrap();
    size.add(usage(0, 0)).unwrap();
    let file = fs::read_to_string(size.path()).unwrap();
    assert!(file.lines().skip(1).all(|line| line.len() == 25), "{file}");
    assert_eq!(size.usage().unwrap(), usage(100, 1));
    size.subtract(usage(1_000, 5)).unwrap();
    assert_eq!(size.usage().unwrap(), usage(110, 2), "below zero is not believed");
}

#[test]
fn a_file_that_is_long_enough_to_be_made_anew_grows_no_more() {
    let scratch = tempfile::tempdir().unwrap();
    let size = size_of(&maildir_in(scratch.path()));
    write(&size, "1000S,10C\n");
    for _ in 0..400 {
        size.add(usage(1, 0)).unwrap();
    }
    assert!((5_120..5_200).contains(&fs::metadata(size.path()).unwrap().len()));
    rest();
    assert_eq!(size.usage().unwrap(), usage(110, 2));
}

#[test]
fn many_who_add_at_once_lose_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let size = size_of(&maildir_in(scratch.path()));
    write(&size, "1000S,10C\n           0            0\n");
    thread::scope(|scope| {
        for thread in 0..8 {
            let size = size.clone();
            scope.spawn(move || {
                for _ in 0..10 {
                    size.add(Usage::message(thread)).unwrap();
                    size.subtract(usage(0, 1)).unwrap();
                }
            });
        }
    });
    let file = fs::read_to_string(size.path()).unwrap();
    assert!(file.lines().skip(1).all(|line| line.len() == 25), "a torn line");
    assert_eq!(size.usage().unwrap(), usage(10 * 28, 0));
}

#[test]
fn adding_counting_and_checking_at_once_ends_with_a_count_that_is_not_wrong_for_long() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = Maildir::create(scratch.path().join("m")).unwrap();
    let size = MaildirSize::of(&maildir, Quota { octets: Some(1_000_000), messages: None }).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..30 {
                    assert!(matches!(size.check(Usage::message(0)).unwrap(), Verdict::Fits(_)));
                    maildir.delivery().unwrap().commit().unwrap();
                    size.add(Usage::message(0)).unwrap();
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..30 {
                assert!(size.recalculate().unwrap().messages <= 90);
            }
        });
    });
    rest();
    assert_eq!(size.recalculate().unwrap(), usage(0, 90));
    assert_eq!(size.usage().unwrap(), usage(0, 90));
}

#[test]
fn what_is_not_a_regular_file_is_neither_read_nor_written() {
    let scratch = tempfile::tempdir().unwrap();
    let size = size_of(&maildir_in(scratch.path()));
    let elsewhere = scratch.path().join("elsewhere");
    fs::write(&elsewhere, "1000S,10C\n0 0\n").unwrap();
    std::os::unix::fs::symlink(&elsewhere, size.path()).unwrap();
    assert!(matches!(size.usage(), Err(Error::NotRegular { .. })));
    assert!(matches!(size.add(Usage::message(1)), Err(Error::NotRegular { .. })));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "1000S,10C\n0 0\n");
}

#[test]
fn a_count_that_cannot_be_written_is_still_given() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    fs::remove_dir(maildir.path().join("tmp")).unwrap();
    fs::write(maildir.path().join("tmp"), "").unwrap();
    let tree = Tree::open(maildir.path(), Layout::MaildirPlusPlus).unwrap();
    let size = MaildirSize::of_tree(&tree, QUOTA);
    assert_eq!(size.usage().unwrap(), Usage::default(), "no tmp, no Maildir, nothing that counts");
    assert!(size.recalculate().is_err());
}

#[test]
fn nested_folders_have_a_count_too() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = Tree::open(scratch.path(), Layout::FileSystem).unwrap();
    tree.create(&FolderName::ROOT).unwrap();
    put(&tree.create(&FolderName::new(["a", "b"]).unwrap()).unwrap(), "cur/1.1.host,S=7:2,", 1);
    put(&tree.create(&FolderName::new(["Trash"]).unwrap()).unwrap(), "cur/1.1.host,S=9:2,", 1);
    rest();
    let size = MaildirSize::of_tree(&tree, QUOTA);
    assert_eq!(size.usage().unwrap(), usage(7, 1));
    assert!(size.path().exists());
}
