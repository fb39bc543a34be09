//! Delivery on a real file system.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use postrider_maildir::{Directory, Error, Flag, Maildir, NameError, Options, commit_all};

fn count(maildir: &Maildir, directory: &str) -> usize {
    fs::read_dir(maildir.path().join(directory)).unwrap().count()
}

fn path_of(maildir: &Maildir, delivered: &postrider_maildir::Delivered) -> PathBuf {
    let directory = if delivered.directory() == Directory::New { "new" } else { "cur" };
    maildir.path().join(directory).join(delivered.name().as_os_str())
}

#[test]
fn a_message_arrives_whole_in_new_with_both_sizes_in_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = Maildir::create(scratch.path().join("m")).unwrap();
    let message: Vec<u8> = (0..100_000_u32).flat_map(|n| if n % 70 == 0 { vec![b'\n'] } else { vec![b'x'] }).collect();
    let mut delivery = maildir.delivery().unwrap();
    for piece in message.chunks(777) {
        delivery.write_all(piece).unwrap();
    }
    assert_eq!(delivery.size(), 100_000);
    let delivered = delivery.commit().unwrap();
    let path = path_of(&maildir, &delivered);
    assert_eq!(fs::read(&path).unwrap(), message);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!((delivered.name().size(), delivered.name().crlf_size()), (Some(100_000), Some(101_429)));
    assert_eq!((count(&maildir, "tmp"), count(&maildir, "new"), count(&maildir, "cur")), (0, 1, 0));
}

#[test]
fn a_delivery_without_a_commit_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = Maildir::create(scratch.path().join("m")).unwrap();
    let mut delivery = maildir.delivery().unwrap();
    delivery.write_all(b"half").unwrap();
    delivery.flush().unwrap();
    assert_eq!(count(&maildir, "tmp"), 1);
    drop(delivery);
    assert_eq!(count(&maildir, "tmp"), 0);
    drop(maildir.delivery().unwrap().prepare().unwrap());
    assert_eq!((count(&maildir, "tmp"), count(&maildir, "new")), (0, 0));
}

#[test]
fn a_message_stored_by_a_reader_gets_its_flags_and_its_date_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = Maildir::create(scratch.path().join("m")).unwrap();
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let mut delivery = maildir.delivery_into_cur([Flag::SEEN, Flag::DRAFT].into_iter().collect()).unwrap();
    delivery.write_all(b"x\n").unwrap();
    delivery.crlf_size(77);
    delivery.received_at(received);
    delivery.write_all(b"y\n").unwrap();
    let delivered = delivery.commit().unwrap();
    assert!(delivered.name().to_string().ends_with(",S=4,W=77:2,DS"), "{}", delivered.name());
    assert_eq!(fs::metadata(path_of(&maildir, &delivered)).unwrap().modified().unwrap(), received);
}

#[test]
fn one_message_for_many_maildirs_is_on_the_disk_once() {
    let scratch = tempfile::tempdir().unwrap();
    let maildirs: Vec<_> = (0..50).map(|n| Maildir::create(scratch.path().join(n.to_string())).unwrap()).collect();
    let mut delivery = maildirs[0].delivery().unwrap();
    delivery.write_all(b"To: all\n\nhello\n").unwrap();
    let first = delivery.prepare().unwrap();
    let mut all: Vec<_> = maildirs[1..].iter().map(|maildir| first.link_to(maildir).unwrap()).collect();
    all.insert(0, first);
    let receipts: Vec<_> = commit_all(all).into_iter().map(Result::unwrap).collect();
    let files: Vec<_> = maildirs.iter().zip(&receipts).map(|(maildir, receipt)| path_of(maildir, receipt)).collect();
    assert_eq!(files.iter().map(|file| fs::metadata(file).unwrap().ino()).collect::<HashSet<_>>().len(), 1);
    assert_eq!(receipts.iter().map(|receipt| receipt.name().octets()).collect::<HashSet<_>>().len(), 50);
    assert!(maildirs.iter().all(|maildir| count(maildir, "tmp") == 0));
}

#[test]
fn a_maildir_on_another_file_system_gets_a_copy() {
    let Some(elsewhere) = Some(Path::new("/dev/shm")).filter(|path| path.is_dir()) else { return };
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in(elsewhere).unwrap());
    let [here, there] = [here.path(), there.path()].map(|path| Maildir::create(path.join("m")).unwrap());
    let mut delivery = here.delivery().unwrap();
    delivery.write_all(b"across\n").unwrap();
    let first = delivery.prepare().unwrap();
    let second = first.link_to(&there).unwrap();
    for (maildir, receipt) in [&here, &there].into_iter().zip(commit_all(vec![first, second])) {
        let receipt = receipt.unwrap();
        assert_eq!(fs::read(path_of(maildir, &receipt)).unwrap(), b"across\n");
        assert_eq!(receipt.name().crlf_size(), Some(8));
    }
    here.list().unwrap().iter().for_each(|entry| drop(here.message(&entry).move_to(&there).unwrap()));
    assert_eq!((here.list().unwrap().len(), there.list().unwrap().len()), (0, 2));
}

#[test]
fn a_name_that_would_be_too_long_is_refused_before_anything_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.host = Some("h".repeat(200));
    let maildir = Maildir::create_with(scratch.path().join("m"), options).unwrap();
    let error = maildir.delivery().unwrap_err();
    assert!(matches!(error, Error::Name { source: NameError::TooLong { len: 256.. }, .. }), "{error}");
    assert_eq!(count(&maildir, "tmp"), 0);
}

#[test]
fn what_is_not_a_maildir_is_said_to_be_none_and_why() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("m");
    let message = |path: &Path| Maildir::open(path).unwrap_err().to_string();
    assert!(message(&path).ends_with("/m\" is not a Maildir: it has no directory tmp"), "{}", message(&path));
    fs::create_dir_all(path.join("tmp")).unwrap();
    fs::write(path.join("new"), "a file").unwrap();
    assert!(message(&path).ends_with("it has no directory new"));
    assert!(matches!(Maildir::create(&path), Err(Error::NotMaildir { missing: "new", .. })));
    let maildir = Maildir::create(scratch.path().join("gone")).unwrap();
    fs::remove_dir(maildir.path().join("tmp")).unwrap();
    let error = maildir.delivery().unwrap_err();
    assert!(error.to_string().starts_with("cannot create \"/") && error.to_string().contains("/gone/tmp/"), "{error}");
}

#[test]
fn a_new_directory_that_vanished_keeps_nothing_half_delivered() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = Maildir::create(scratch.path().join("m")).unwrap();
    let prepared = maildir.delivery().unwrap().prepare().unwrap();
    fs::remove_dir(maildir.path().join("new")).unwrap();
    assert!(prepared.commit().unwrap_err().to_string().starts_with("cannot rename "));
    assert_eq!(count(&maildir, "tmp"), 0);
}

const CHILD: &str = "POSTRIDER_MAILDIR_TEST_CHILD";

fn deliver_from_ten_threads(maildir: &Maildir) {
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..25 {
                    maildir.delivery().unwrap().commit().unwrap();
                }
            });
        }
    });
}

#[test]
fn ten_threads_in_each_of_four_processes_never_collide() {
    if let Some(path) = std::env::var_os(CHILD) {
        return deliver_from_ten_threads(&Maildir::open(path).unwrap());
    }
    let scratch = tempfile::tempdir().unwrap();
    let maildir = Maildir::create(scratch.path().join("m")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "ten_threads_in_each_of_four_processes_never_collide"]).env(CHILD, maildir.path());
    let children: Vec<_> = (0..4).map(|_| command.spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let listing = maildir.list().unwrap();
    let distinct: HashSet<_> = listing.iter().map(|entry| entry.name().unique().to_vec()).collect();
    assert_eq!((listing.len(), distinct.len(), count(&maildir, "tmp")), (1000, 1000, 0));
}

/// Root only: mounts a file system of 256 KB and fills it.
#[test]
#[ignore = "mounts a file system, which takes root"]
fn a_file_system_that_is_really_full_takes_no_half_messages() {
    let scratch = tempfile::tempdir().unwrap();
    let mount = scratch.path().join("small");
    fs::create_dir(&mount).unwrap();
    let run = |command: &str, arguments: &[&str]| {
        let status = Command::new(command).args(arguments).arg(&mount).status().unwrap();
        assert!(status.success(), "{command}");
    };
    run("mount", &["-t", "tmpfs", "-o", "size=256k", "none"]);
    let outcome = std::panic::catch_unwind(|| fill(&Maildir::create(mount.join("m")).unwrap()));
    run("umount", &[]);
    outcome.unwrap();
}

fn fill(maildir: &Maildir) {
    let message = [b'x'; 10_000];
    let deliver = || -> Result<(), Error> {
        let mut delivery = maildir.delivery()?;
        // What the writer does not notice, the commit must.
        let _ = delivery.write_all(&message);
        delivery.commit().map(drop)
    };
    let results: Vec<_> = (0..40).map(|_| deliver()).collect();
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    assert!((10..40).contains(&accepted), "{accepted} of 40");
    assert!(results.iter().filter_map(|result| result.as_ref().err()).all(Error::is_out_of_space));
    assert_eq!((count(maildir, "new"), count(maildir, "tmp")), (accepted, 0));
    let whole = |path: &Path| fs::read(path).unwrap() == message;
    assert!(fs::read_dir(maildir.path().join("new")).unwrap().all(|entry| whole(&entry.unwrap().path())));
}
