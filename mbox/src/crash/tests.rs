use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use super::{Cut, Machine};
use crate::calls;
use crate::{Access, Dialect, Envelope, Error, Event, Locked, Mbox, Method, Options, Policy, Reader, Stream};

/// No use case here makes more calls. A test that never gets past its last call would not end.
const MANY: usize = 100;

const CUTS: [Cut; 5] = [
    Cut::Fails(Errno::ENOSPC),
    Cut::Fails(Errno::EDQUOT),
    Cut::FailsAfterwards(Errno::EIO),
    Cut::FailsFromThenOn(Errno::EIO),
    Cut::Kills,
];

/// Longer than what is written at once, and with a line that is quoted.
const MESSAGE: &str = "Subject: whole\nStatus: R\n\nor, if all goes wrong, cut at the end of the file, but\nFrom now on\nnothing else is harmed.\n";

const OLD: &str = "From a@b Thu Jan  1 00:00:00 1970\nSubject: old\n\nIt was there before.\n";

fn envelope() -> Envelope {
    Envelope::new("a@b", UNIX_EPOCH + Duration::from_secs(7))
}

pub(super) fn path(root: &Path) -> PathBuf {
    root.join("mbox")
}

fn mbox(root: &Path) -> Result<Mbox, Error> {
    let mut options = Options::default();
    options.locking.timeout = Duration::ZERO;
    Mbox::create_with(path(root), options)
}

fn locked(root: &Path) -> Result<Locked, Error> {
    mbox(root)?.lock(Access::Write)
}

fn deliver(root: &Path, dialect: Dialect) -> Result<(), Error> {
    locked(root)?.append(&envelope(), dialect, MESSAGE.as_bytes()).map(drop)
}

/// In memory, where that is possible: what is stored is known by the account that is kept of it.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Runs `action` in a fresh directory with each call cut in each way, and hands the outcome to `check`.
pub(super) fn at_every_cut<T>(
    before: Option<&str>,
    action: impl Fn(&Path) -> T,
    check: impl Fn(&Path, &T, &Machine, Option<Cut>),
) {
    for links in [true, false] {
        for cut in CUTS {
            for at in 0.. {
                assert!(at < MANY);
                let scratch = scratch();
                let root = scratch.path().canonicalize().unwrap();
                if let Some(before) = before {
                    fs::write(path(&root), before).unwrap();
                }
                let (returned, machine) = Machine::run(&root, links, Some((at, cut)), || action(&root));
                let reached = machine.calls > at;
                check(&root, &returned, &machine, reached.then_some(cut));
                if !reached {
                    break;
                }
            }
        }
    }
}

/// What is stored for the message in this dialect behind what was there before.
fn stored(before: &str, dialect: Dialect) -> String {
    let missing = match before {
        "" => "",
        _ if before.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let (header, body) = MESSAGE.split_once("\n\n").unwrap();
    let header = header.replace("\nStatus: R", "");
    let body = if dialect == Dialect::Mboxcl2 { body.to_owned() } else { body.replace("\nFrom ", "\n>From ") };
    let length = match dialect {
        Dialect::Mboxcl | Dialect::Mboxcl2 => format!("\nContent-Length: {:<20}", body.len()),
        Dialect::Mboxo | Dialect::Mboxrd => String::new(),
    };
    format!("{before}{missing}From a@b Thu Jan  1 00:00:07 1970\n{header}{length}\n\n{body}\n")
}

/// The contents of the messages in a file.
fn contents(file: &[u8]) -> Vec<String> {
    let (mut reader, mut all) = (Reader::new(Stream(file), Policy::Evidence), Vec::new());
    while let Some(event) = reader.next().unwrap() {
        match event {
            Event::Start { .. } => all.push(String::new()),
            Event::Content(octets) => all.last_mut().unwrap().push_str(&String::from_utf8_lossy(octets)),
            Event::Junk(_) | Event::Doubt(_) | Event::End(_) => {}
        }
    }
    all
}

const BEFORE: [Option<&str>; 4] =
    [None, Some(""), Some(OLD), Some("From a@b Thu Jan  1 00:00:00 1970\nSubject: cut\n\nhalf a mess")];

const DIALECTS: [Dialect; 2] = [Dialect::Mboxrd, Dialect::Mboxcl2];

fn each_case(check: impl Fn(Option<&str>, &str, Dialect)) {
    for before in BEFORE {
        for dialect in DIALECTS {
            check(before, &stored(before.unwrap_or_default(), dialect), dialect);
        }
    }
}

#[test]
fn what_was_appended_is_there_whole_and_what_was_there_stays() {
    each_case(|before, after, dialect| {
        let old = before.unwrap_or_default();
        at_every_cut(
            before,
            |root| deliver(root, dialect),
            |root, appended, machine, cut| {
                assert!(appended.is_ok() || cut.is_some());
                for state in machine.disk.states(|name| name == path(root)).iter().chain([&machine.disk.seen()]) {
                    let Some(content) = state.get(&path(root)) else {
                        assert!(before.is_none() && appended.is_err(), "the file is gone after {cut:?}");
                        continue;
                    };
                    let content = String::from_utf8_lossy(content);
                    assert!(content.starts_with(old), "{content:?} after {cut:?}");
                    assert!(appended.is_err() || content == after, "{content:?} after {cut:?}");
                }
            },
        );
    });
}

#[test]
fn a_call_that_fails_leaves_the_file_as_it_was_or_says_that_it_does_not() {
    each_case(|before, after, dialect| {
        let old = before.unwrap_or_default();
        at_every_cut(
            before,
            |root| deliver(root, dialect),
            |root, appended, _, cut| {
                if matches!(cut, Some(Cut::Kills)) {
                    return;
                }
                let content = fs::read_to_string(path(root)).unwrap_or_default();
                match appended {
                    Ok(()) => assert_eq!(content, after, "{cut:?}"),
                    Err(Error::NotCutBack { at, .. }) => {
                        assert!(content.starts_with(old), "{cut:?}");
                        assert_eq!(*at, old.len() as u64);
                    }
                    Err(_) => assert_eq!(content, old, "{cut:?}"),
                }
                let fails_once = matches!(cut, Some(Cut::Fails(_)) | None);
                assert!(!(fails_once && matches!(appended, Err(Error::NotCutBack { .. }))), "one failure, not two");
            },
        );
    });
}

#[test]
fn a_message_after_a_crash_is_found_whole_and_so_are_those_before() {
    for before in ["", OLD] {
        for dialect in DIALECTS {
            let left = RefCell::new(BTreeSet::new());
            at_every_cut(
                Some(before),
                |root| deliver(root, dialect),
                |root, _, machine, cut| {
                    if matches!(cut, Some(Cut::Kills)) {
                        let states = machine.disk.states(|name| name == path(root));
                        let all = states.into_iter().chain([machine.disk.seen()]);
                        left.borrow_mut().extend(all.map(|state| state[&path(root)].clone()));
                    }
                },
            );
            let left = left.into_inner();
            assert!(left.len() > 10);
            left.iter().for_each(|content| check_later(before, content, dialect));
        }
    }
}

/// Delivers to what a crash has left.
fn check_later(before: &str, left: &[u8], dialect: Dialect) {
    let scratch = scratch();
    fs::write(path(scratch.path()), left).unwrap();
    let later = "Subject: later\n\nIt came after.\n";
    locked(scratch.path()).unwrap().append(&envelope(), dialect, later.as_bytes()).unwrap();
    let all = contents(&fs::read(path(scratch.path())).unwrap());
    assert_eq!(without_length(all.last().unwrap()), later, "{all:?}");
    assert!(before != OLD || all[0].contains("It was there before.\n"), "{all:?}");
}

fn without_length(content: &str) -> String {
    content.split_inclusive('\n').filter(|line| !line.starts_with("Content-Length:")).collect()
}

#[test]
fn a_lock_is_gone_after_every_failure_but_that_of_its_removal() {
    at_every_cut(
        Some(OLD),
        |root| deliver(root, Dialect::Mboxrd),
        |root, appended, machine, cut| {
            let mut names: Vec<_> =
                fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.retain(|name| name != "mbox");
            match cut {
                None => assert!(names.is_empty(), "{names:?}"),
                Some(Cut::Fails(_) | Cut::FailsAfterwards(_)) => {
                    // What failed may have been the removal of one of them, or a creation that was made all the same.
                    assert!(names.len() <= 1, "{names:?} after {appended:?}");
                }
                Some(_) => assert!(names.len() <= 2, "{names:?}"),
            }
            assert!(cut.is_some() || machine.calls > 10);
        },
    );
}

#[test]
fn a_mailbox_that_was_created_is_there() {
    at_every_cut(
        None,
        |root| mbox(root).is_ok(),
        |root, created, machine, cut| {
            assert!(*created || cut.is_some());
            let states = machine.disk.states(|name| name == path(root));
            assert!(!created || states.iter().all(|state| state.contains_key(&path(root))), "lost after {cut:?}");
        },
    );
}

#[test]
fn a_file_whose_name_nobody_has_stored_is_there_after_a_message_is() {
    for real in ["mbox", "elsewhere/file"] {
        let action = |root: &Path| {
            let real = root.join(real);
            fs::create_dir_all(real.parent().unwrap()).unwrap();
            if real != path(root) {
                symlink(&real, path(root)).unwrap();
            }
            // Another program makes it, and does not care.
            calls::create(&real, 0o600)?;
            deliver(root, Dialect::Mboxrd)
        };
        at_every_cut(None, action, |root, appended, machine, cut| {
            assert!(appended.is_ok() || cut.is_some());
            for state in machine.disk.states(|name| name == root.join(real)) {
                let content = state.get(&root.join(real)).map(|content| String::from_utf8_lossy(content));
                let expected = stored("", Dialect::Mboxrd);
                assert!(appended.is_err() || content.is_some_and(|content| content == expected), "lost after {cut:?}");
            }
        });
    }
}

#[test]
fn a_batch_is_synced_once_and_is_there_whole_or_not_at_all() {
    let small = |sender| Envelope::new(sender, SystemTime::now());
    let (a, b) = (small("a"), small("b"));
    let messages = || [(&a, &b"S: 1\n\nx\n"[..]), (&b, b"S: 2\n\ny\n")];
    at_every_cut(
        Some(OLD),
        |root| locked(root)?.append_all(Dialect::Mboxrd, messages()).map(|all| all.len()),
        |root, appended, machine, cut| {
            for state in machine.disk.states(|name| name == path(root)) {
                let found = contents(&state[&path(root)]).len();
                assert!(appended.as_ref().map_or(found >= 1, |number| found == 1 + number), "{found} after {cut:?}");
            }
            if matches!(cut, Some(Cut::Fails(_))) && appended.is_err() {
                assert_eq!(fs::read_to_string(path(root)).unwrap(), OLD);
            }
        },
    );
    let count = |number: usize| {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(path(scratch.path()), OLD).unwrap();
        let mut locked = locked(scratch.path()).unwrap();
        let all = [(&a, &b"S: 1\n\n"[..]); 9];
        let sent = all.into_iter().take(number);
        let (appended, machine) =
            Machine::run(scratch.path(), true, None, || locked.append_all(Dialect::Mboxrd, sent).unwrap());
        assert_eq!(appended.len(), number);
        machine.syncs
    };
    assert_eq!([0, 1, 9].map(count), [0, 1, 1]);
}

#[test]
fn a_directory_that_allows_no_dotlock_is_gone_without_if_that_is_wanted() {
    for errno in [Errno::EACCES, Errno::EPERM, Errno::EROFS] {
        for (go_on, write) in [
            (true, vec![Method::Fcntl, Method::Dotlock]),
            (true, vec![Method::Dotlock]),
            (false, vec![Method::Dotlock]),
        ] {
            let scratch = scratch();
            fs::write(path(scratch.path()), OLD).unwrap();
            let mut options = Options::default();
            options.locking.dotlock_try = go_on;
            options.locking.write = write.clone();
            let mbox = Mbox::open_with(path(scratch.path()), options).unwrap();
            // The file is opened, and locked; then the dotlock's temporary file is made.
            let cut = Some((write.len(), Cut::Fails(errno)));
            let (locked, _) = Machine::run(scratch.path(), true, cut, || mbox.lock(Access::Write));
            match locked {
                Ok(locked) => {
                    assert!(go_on && write.len() == 2);
                    assert!(locked.forgone().is_some_and(Error::is_forbidden));
                }
                Err(error) => assert!((!go_on || write.len() == 1) && error.is_forbidden(), "{error}"),
            }
        }
    }
    let scratch = scratch();
    assert!(mbox(scratch.path()).unwrap().lock(Access::Write).unwrap().forgone().is_none());
}

#[test]
fn a_file_that_is_put_in_place_between_open_and_lock_is_the_one_that_is_locked() {
    let replace: fn(&Path) = |root| {
        fs::write(root.join("new"), "").unwrap();
        fs::rename(root.join("new"), path(root)).unwrap();
    };
    let remove: fn(&Path) = |root| fs::remove_file(path(root)).unwrap();
    for act in [replace, remove] {
        let scratch = scratch();
        let mut options = Options::default();
        options.locking.write = vec![Method::Fcntl];
        let mbox = Mbox::create_with(path(scratch.path()), options).unwrap();
        let cut = Some((1, Cut::Meanwhile(act)));
        let (locked, machine) = Machine::run(scratch.path(), true, cut, || mbox.lock(Access::Write).unwrap());
        assert_eq!(locked.file().metadata().unwrap().ino(), fs::metadata(mbox.path()).unwrap().ino());
        assert!(machine.calls > 2, "it was opened again");
    }
}
