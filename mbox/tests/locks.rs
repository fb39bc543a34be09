//! Who may have a mailbox, and when.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::fs::{self, File, FileTimes, TryLockError};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use postrider_mbox::{Access, Dialect, Envelope, Error, Mbox, Method, Options, Policy, messages};

const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

fn options(write: &[Method], timeout: Duration) -> Options {
    let mut options = Options::default();
    options.locking.write = write.to_vec();
    options.locking.timeout = timeout;
    options
}

fn create(directory: &Path, write: &[Method], timeout: Duration) -> Mbox {
    Mbox::create_with(directory.join("mbox"), options(write, timeout)).unwrap()
}

fn dotlock(mbox: &Mbox) -> PathBuf {
    mbox.path().with_file_name("mbox.lock")
}

fn this_host() -> String {
    nix::unistd::gethostname().unwrap().into_string().unwrap()
}

/// The number of a process that has ended.
fn dead_process() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

/// Runs one of the tests below that are ignored in a process of its own.
fn child(test: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored"])
        .env("MBOX_TEST_DIRECTORY", directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn given_directory() -> Option<PathBuf> {
    std::env::var_os("MBOX_TEST_DIRECTORY").map(PathBuf::from)
}

fn wait_for(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "it does not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "a child process of another test"]
fn child_that_holds_the_lock() {
    let Some(directory) = given_directory() else { return };
    let mbox = create(&directory, &[Method::Fcntl, Method::Flock, Method::Dotlock], LONG);
    let _locked = mbox.lock(Access::Write).unwrap();
    fs::write(directory.join("ready"), "").unwrap();
    thread::sleep(LONG);
}

#[test]
#[ignore = "a child process of another test"]
fn child_that_delivers() {
    let Some(directory) = given_directory() else { return };
    thread::scope(|scope| {
        for thread in 0..DELIVERIES.1 {
            let mbox = create(&directory, &[Method::Fcntl, Method::Dotlock], LONG);
            scope.spawn(move || {
                for number in 0..DELIVERIES.2 {
                    let content = format!("S: {} {thread} {number}\n\nFrom here\n", std::process::id());
                    let envelope = Envelope::new("a@b", SystemTime::now());
                    let mut locked = mbox.lock(Access::Write).unwrap();
                    locked.append(&envelope, Dialect::Mboxrd, content.as_bytes()).unwrap();
                }
            });
        }
    });
}

/// Processes, threads in each, messages of each thread.
const DELIVERIES: (usize, usize, usize) = (8, 4, 12);

#[test]
fn what_processes_and_threads_deliver_at_once_is_there_whole_and_once() {
    let scratch = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..DELIVERIES.0).map(|_| child("child_that_delivers", scratch.path())).collect();
    let processes: Vec<_> = children.iter().map(Child::id).collect();
    assert!(children.into_iter().all(|mut child| child.wait().unwrap().success()));
    let file = fs::read(scratch.path().join("mbox")).unwrap();
    let mut found: Vec<_> = messages(&file, Policy::Evidence).map(|message| message.content.to_vec()).collect();
    found.sort();
    let mut expected = Vec::new();
    for process in processes {
        for (thread, number) in
            (0..DELIVERIES.1).flat_map(|thread| (0..DELIVERIES.2).map(move |number| (thread, number)))
        {
            expected.push(format!("S: {process} {thread} {number}\n\n>From here\n").into_bytes());
        }
    }
    expected.sort();
    assert_eq!(found.len(), expected.len());
    assert_eq!(found, expected);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "no lock is left");
}

#[test]
fn each_kind_keeps_out_another_process_and_ends_with_it() {
    let scratch = tempfile::tempdir().unwrap();
    let mut holder = child("child_that_holds_the_lock", scratch.path());
    wait_for(|| scratch.path().join("ready").exists());
    for method in [Method::Fcntl, Method::Flock, Method::Dotlock] {
        let error = create(scratch.path(), &[method], SOON).lock(Access::Write).unwrap_err();
        let Error::Locked { method: by, holder: who, waited, .. } = error else { panic!("{error}") };
        assert_eq!(by, method);
        assert!(waited >= SOON && waited < LONG);
        if method == Method::Dotlock {
            let who = who.unwrap();
            assert_eq!((who.process(), who.host()), (holder.id(), Some(&*this_host())));
        }
    }
    assert!(create(scratch.path(), &[Method::Fcntl], SOON).lock(Access::Read).is_err_and(|error| error.is_locked()));
    holder.kill().unwrap();
    holder.wait().unwrap();
    // What the process has left is known to be nobody's.
    let mbox = create(scratch.path(), &[Method::Fcntl, Method::Flock, Method::Dotlock], SOON);
    mbox.lock(Access::Write).unwrap();
    assert!(!dotlock(&mbox).exists());
}

#[test]
fn threads_keep_each_other_out_by_each_kind() {
    for method in [Method::Fcntl, Method::Flock, Method::Dotlock] {
        let scratch = tempfile::tempdir().unwrap();
        let mbox = create(scratch.path(), &[method], Duration::ZERO);
        let locked = mbox.lock(Access::Write).unwrap();
        assert!(mbox.lock(Access::Write).is_err_and(|error| error.is_locked()), "{method}");
        drop(locked);
        drop(mbox.lock(Access::Write).unwrap());
    }
}

#[test]
fn readers_share_and_keep_writers_out() {
    for method in [Method::Fcntl, Method::Flock] {
        let scratch = tempfile::tempdir().unwrap();
        let mut options = options(&[method], Duration::ZERO);
        options.locking.read = vec![method];
        let mbox = Mbox::create_with(scratch.path().join("mbox"), options).unwrap();
        let readers = [(); 3].map(|()| mbox.lock(Access::Read).unwrap());
        assert!(mbox.lock(Access::Write).is_err());
        drop(readers);
        let writer = mbox.lock(Access::Write).unwrap();
        assert!(mbox.lock(Access::Read).is_err());
        drop(writer);
    }
}

#[test]
fn nothing_is_held_when_one_lock_is_not_free() {
    let scratch = tempfile::tempdir().unwrap();
    let mbox = create(scratch.path(), &[Method::Flock, Method::Fcntl, Method::Dotlock], SOON);
    fs::write(dotlock(&mbox), "1").unwrap();
    assert!(mbox.lock(Access::Write).is_err());
    let file = File::open(mbox.path()).unwrap();
    assert!(!matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
    drop(file);
    create(scratch.path(), &[Method::Fcntl], Duration::ZERO).lock(Access::Write).unwrap();
}

#[test]
fn who_locks_in_the_reverse_order_is_no_deadlock() {
    let scratch = tempfile::tempdir().unwrap();
    let inside = AtomicUsize::new(0);
    let (mut order, begun) = ([Method::Fcntl, Method::Dotlock, Method::Flock], Instant::now());
    thread::scope(|scope| {
        for _ in 0..6 {
            order.rotate_left(1);
            let mut order = order;
            for _ in 0..2 {
                order.reverse();
                let mbox = create(scratch.path(), &order, LONG);
                let inside = &inside;
                scope.spawn(move || {
                    for _ in 0..10 {
                        let _locked = mbox.lock(Access::Write).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are in");
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        }
    });
    assert!(begun.elapsed() < LONG);
}

#[test]
fn a_dotlock_of_a_dead_process_is_broken_by_one_of_many() {
    let dead = format!("{}:{}", dead_process(), this_host());
    for _ in 0..20 {
        let scratch = tempfile::tempdir().unwrap();
        let inside = AtomicUsize::new(0);
        fs::write(scratch.path().join("mbox.lock"), &dead).unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                let mbox = create(scratch.path(), &[Method::Dotlock], LONG);
                let inside = &inside;
                scope.spawn(move || {
                    let _locked = mbox.lock(Access::Write).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are in");
                    thread::sleep(Duration::from_millis(1));
                    inside.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(!scratch.path().join("mbox.lock").exists());
    }
}

#[test]
fn a_dotlock_of_who_knows_whom_is_broken_when_it_has_not_changed_for_long() {
    let foreign = format!("{}:elsewhere.example", dead_process());
    for content in ["0", "", &foreign, &dead_process().to_string(), &format!("{}:{}", std::process::id(), this_host())]
    {
        let scratch = tempfile::tempdir().unwrap();
        let lock = scratch.path().join("mbox.lock");
        fs::write(&lock, content).unwrap();
        // Its time says nothing: clocks differ.
        let old = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(100_000));
        File::options().write(true).open(&lock).unwrap().set_times(old).unwrap();
        let mut options = options(&[Method::Fcntl, Method::Dotlock], SOON);
        let at = |options: &Options| Mbox::create_with(scratch.path().join("mbox"), options.clone()).unwrap();
        assert!(at(&options).lock(Access::Write).is_err_and(|error| error.is_locked()), "{content}");
        options.locking.stale.unchanged = None;
        assert!(at(&options).lock(Access::Write).is_err(), "{content}");
        options.locking.stale.unchanged = Some(SOON / 3);
        let begun = Instant::now();
        let locked = at(&options).lock(Access::Write).unwrap();
        assert!(begun.elapsed() >= SOON / 3);
        drop(locked);
        assert!(!lock.exists());
    }
}

#[test]
fn a_dead_process_is_not_asked_for_where_that_is_switched_off() {
    let scratch = tempfile::tempdir().unwrap();
    let mut options = options(&[Method::Dotlock], SOON);
    options.locking.stale.dead = false;
    let mbox = Mbox::create_with(scratch.path().join("mbox"), options).unwrap();
    fs::write(dotlock(&mbox), format!("{}:{}", dead_process(), this_host())).unwrap();
    assert!(mbox.lock(Access::Write).is_err_and(|error| error.is_locked()));
}

#[test]
fn a_dotlock_that_is_touched_is_not_broken() {
    let scratch = tempfile::tempdir().unwrap();
    let mut options = options(&[Method::Dotlock], SOON * 3);
    options.locking.stale.unchanged = Some(SOON);
    let mbox = Mbox::create_with(scratch.path().join("mbox"), options).unwrap();
    let (locked, done) = (mbox.lock(Access::Write).unwrap(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                locked.touch().unwrap();
                thread::sleep(Duration::from_millis(20));
            }
        });
        let refused = mbox.lock(Access::Write);
        done.store(true, Ordering::SeqCst);
        assert!(refused.is_err_and(|error| error.is_locked()));
    });
    locked.touch().unwrap();
}

#[test]
fn a_dotlock_that_is_another_s_by_now_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let mbox = create(scratch.path(), &[Method::Dotlock], SOON);
    let locked = mbox.lock(Access::Write).unwrap();
    fs::remove_file(dotlock(&mbox)).unwrap();
    assert!(matches!(locked.touch(), Err(Error::LockLost { .. })));
    fs::write(dotlock(&mbox), "another").unwrap();
    assert!(matches!(locked.touch(), Err(Error::LockLost { .. })));
    drop(locked);
    assert_eq!(fs::read_to_string(dotlock(&mbox)).unwrap(), "another");
}

#[test]
fn what_is_locked_is_the_file_that_has_the_name() {
    let scratch = tempfile::tempdir().unwrap();
    let mbox = create(scratch.path(), &[Method::Fcntl], LONG);
    let locked = mbox.lock(Access::Write).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let envelope = Envelope::new("a@b", SystemTime::now());
            mbox.lock(Access::Write).unwrap().append(&envelope, Dialect::Mboxrd, &b"S: x\n\ny\n"[..]).unwrap();
        });
        thread::sleep(SOON);
        // As Python rewrites mailboxes; and as mutt removes those that are empty.
        fs::write(scratch.path().join("new"), "From a@b Thu Jan  1 00:00:00 1970\nS: new\n\n").unwrap();
        fs::rename(scratch.path().join("new"), mbox.path()).unwrap();
        drop(locked);
        waiting.join().unwrap();
    });
    let file = fs::read(mbox.path()).unwrap();
    assert_eq!(messages(&file, Policy::Evidence).count(), 2);
    fs::remove_file(mbox.path()).unwrap();
    drop(mbox.lock(Access::Write).unwrap());
    assert!(mbox.path().exists(), "it was to be created");
    let opened = Mbox::open(mbox.path()).unwrap();
    fs::remove_file(mbox.path()).unwrap();
    assert!(opened.lock(Access::Write).is_err_and(|error| error.io_kind() == Some(std::io::ErrorKind::NotFound)));
}

#[test]
fn a_dotlock_stands_beside_the_name_that_was_given() {
    let scratch = tempfile::tempdir().unwrap();
    let [real, names] = ["real", "names"].map(|name| scratch.path().join(name));
    fs::create_dir(&real).unwrap();
    fs::create_dir(&names).unwrap();
    fs::write(real.join("file"), "").unwrap();
    symlink(real.join("file"), names.join("mbox")).unwrap();
    let mbox = create(&names, &[Method::Fcntl, Method::Dotlock], SOON);
    let mut locked = mbox.lock(Access::Write).unwrap();
    assert!(names.join("mbox.lock").exists() && !real.join("file.lock").exists());
    locked.append(&Envelope::new("a@b", SystemTime::now()), Dialect::Mboxrd, &b"S: x\n\n"[..]).unwrap();
    drop(locked);
    assert!(fs::symlink_metadata(names.join("mbox")).unwrap().is_symlink());
    assert!(fs::metadata(real.join("file")).unwrap().len() > 0);
}

#[test]
fn nothing_but_a_regular_file_is_opened() {
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink(&fifo, scratch.path().join("link")).unwrap();
    for path in [scratch.path(), &fifo, &scratch.path().join("link"), Path::new("/dev/null"), Path::new("/dev/zero")] {
        assert!(matches!(Mbox::open(path), Err(Error::NotRegular { .. })), "{path:?}");
        assert!(matches!(Mbox::create(path), Err(Error::NotRegular { .. })), "{path:?}");
    }
    let mbox = create(scratch.path(), &[Method::Fcntl], SOON);
    fs::remove_file(mbox.path()).unwrap();
    fs::rename(&fifo, mbox.path()).unwrap();
    assert!(matches!(mbox.lock(Access::Write), Err(Error::NotRegular { .. })));
    assert!(matches!(mbox.lock(Access::Read), Err(Error::NotRegular { .. })));
}

#[test]
fn errors_say_who_has_what() {
    let scratch = tempfile::tempdir().unwrap();
    let mbox = create(scratch.path(), &[Method::Dotlock], Duration::ZERO);
    fs::write(dotlock(&mbox), format!("{}:{}", std::process::id(), this_host())).unwrap();
    let error = mbox.lock(Access::Write).unwrap_err().to_string();
    let expected = format!("is locked by process {} on {} (dotlock), waited ", std::process::id(), this_host());
    assert!(error.contains(&expected), "{error}");
    fs::write(dotlock(&mbox), "\x1b[2J").unwrap();
    let error = mbox.lock(Access::Write).unwrap_err().to_string();
    assert!(error.contains("is locked by another program (dotlock)"), "{error}");
}
