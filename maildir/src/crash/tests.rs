use std::fs;
use std::io::Write;
use std::path::Path;

use rustix::io::Errno;

use super::disk::State;
use super::{Cut, Lacking, Machine};
use crate::calls;
use crate::{Delivered, Delivery, Directory, Error, Flag, Flags, Maildir, advance, commit_all};

const MESSAGE: &[u8] = b"Subject: whole\n\nor not at all\n";

/// No use case here makes more calls. A test that never gets past its last call would not end.
const MANY: usize = 200;

const CUTS: [Cut; 5] = [
    Cut::Fails(Errno::NOSPC),
    Cut::Fails(Errno::DQUOT),
    Cut::Fails(Errno::MFILE),
    Cut::FailsAfterwards(Errno::IO),
    Cut::Kills,
];

const LACKING: [Lacking; 3] = [Lacking::Nothing, Lacking::RenameNoReplace, Lacking::RenameNoReplaceAndLink];

type Receipts = Vec<(Maildir, Result<Delivered, Error>)>;

/// Runs `action` in a fresh directory with each call cut in each way, and hands the outcome to `check`.
pub(super) fn at_every_cut<T>(
    prepare: impl Fn(&Path),
    action: impl Fn(&Path) -> T,
    check: impl Fn(&Path, &T, &Machine, Option<Cut>),
) {
    for lacking in LACKING {
        for cut in CUTS {
            for at in 0.. {
                assert!(at < MANY);
                let scratch = tempfile::tempdir().unwrap();
                prepare(scratch.path());
                let (returned, machine) =
                    Machine::run(scratch.path(), lacking, Some((at, cut)), || action(scratch.path()));
                let reached = machine.calls > at;
                check(scratch.path(), &returned, &machine, reached.then_some(cut));
                if !reached {
                    break;
                }
            }
        }
    }
}

fn two_maildirs(root: &Path) {
    Maildir::create(root.join("a")).unwrap();
    Maildir::create(root.join("b")).unwrap();
}

pub(super) fn open(root: &Path, name: &str) -> Maildir {
    Maildir::open(root.join(name)).unwrap()
}

/// The files that mail readers would see.
fn delivered(state: &State) -> impl Iterator<Item = (&Path, &Option<Vec<u8>>)> {
    let is_message = |path: &Path| {
        let parent = path.parent().and_then(Path::file_name);
        parent == Some("new".as_ref()) || parent == Some("cur".as_ref())
    };
    state.iter().map(|(path, content)| (path.as_path(), content)).filter(move |(path, _)| is_message(path))
}

fn check_table(root: &Path, receipts: &Receipts, machine: &Machine, cut: Option<Cut>) {
    for state in machine.disk.states().iter().chain([&machine.disk.seen()]) {
        for (path, content) in delivered(state) {
            assert_eq!(content.as_deref(), Some(MESSAGE), "torn after {cut:?}: {path:?}");
        }
        for (maildir, receipt) in receipts {
            let Ok(receipt) = receipt else { continue };
            let path = maildir.directory(receipt.directory()).join(receipt.name().as_os_str());
            assert!(state.contains_key(&path), "lost with a receipt after {cut:?}: {path:?}");
        }
    }
    if matches!(cut, Some(Cut::Fails(_))) {
        check_nothing_half_delivered(root, receipts);
    }
    assert!(cut.is_some() || receipts.iter().all(|(_, receipt)| receipt.is_ok()));
}

/// A failed call is not a crash: what has no receipt left nothing behind.
fn check_nothing_half_delivered(root: &Path, receipts: &Receipts) {
    let with_receipt = receipts.iter().filter(|(_, receipt)| receipt.is_ok()).count();
    let count = |directory: &str| {
        ["a", "b"].map(|name| fs::read_dir(root.join(name).join(directory)).unwrap().count()).iter().sum::<usize>()
    };
    assert_eq!(count("new") + count("cur"), with_receipt);
    // The unlink after a link may be the call that failed; the clean-up takes the rest.
    assert!(count("tmp") <= usize::from(with_receipt > 0));
}

fn deliver(root: &Path, flags: Option<Flags>) -> Result<Delivered, Error> {
    let maildir = open(root, "a");
    let mut delivery = match flags {
        Some(flags) => maildir.delivery_into_cur(flags)?,
        None => maildir.delivery()?,
    };
    let (head, tail) = MESSAGE.split_at(9);
    for part in [head, tail] {
        let written = delivery.write_all(part).and_then(|()| delivery.flush());
        if written.is_err() {
            // The writer notices nothing here; the commit must.
            assert!(delivery.write_all(b"more").is_ok());
        }
    }
    delivery.commit()
}

#[test]
fn a_message_with_a_receipt_is_there_whole_and_one_without_is_there_whole_or_not() {
    for flags in [None, Some(Flag::SEEN.into())] {
        let action = |root: &Path| vec![(open(root, "a"), deliver(root, flags))];
        at_every_cut(two_maildirs, action, check_table);
    }
}

#[test]
fn a_batch_to_two_maildirs_keeps_each_receipts_promise() {
    let action = |root: &Path| {
        let [a, b] = ["a", "b"].map(|name| open(root, name));
        let prepare = |to: &Maildir| {
            let mut delivery = to.delivery()?;
            delivery
                .write_all(MESSAGE)
                .map(|()| delivery)
                .map_err(|source| Error::io(crate::Operation::Write, to.path(), source))?
                .prepare()
        };
        let first = prepare(&a).and_then(|first| Ok((first.link_to(&b)?, first)));
        let second = prepare(&b);
        let prepared: Vec<_> = first.into_iter().flat_map(|(link, first)| [first, link]).chain(second).collect();
        let maildirs: Vec<_> = prepared.iter().map(|prepared| prepared.maildir.clone()).collect();
        maildirs.into_iter().zip(commit_all(prepared)).collect::<Receipts>()
    };
    at_every_cut(two_maildirs, action, check_table);
}

fn written(to: &Maildir) -> Option<Delivery> {
    let mut delivery = to.delivery().ok()?;
    delivery.write_all(MESSAGE).ok()?;
    Some(delivery)
}

#[test]
fn batches_that_share_their_syncs_keep_each_receipts_promise() {
    let action = |root: &Path| {
        let [a, b] = ["a", "b"].map(|name| open(root, name));
        let batch = || [&a, &b].into_iter().filter_map(written).collect();
        let (mut receipts, mut prepared) = (Receipts::new(), Vec::new());
        for written in [batch(), batch(), Vec::new()] {
            let maildirs: Vec<_> = prepared.iter().map(|prepared: &crate::Prepared| prepared.maildir.clone()).collect();
            let advanced = advance(prepared, written);
            receipts.extend(maildirs.into_iter().zip(advanced.delivered));
            prepared = advanced.prepared.into_iter().flatten().collect();
        }
        receipts
    };
    at_every_cut(two_maildirs, action, check_table);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_system_is_synced_once_for_two_batches_and_its_failure_fails_them_all() {
    for fails in [false, true] {
        let scratch = tempfile::tempdir().unwrap();
        two_maildirs(scratch.path());
        let [a, b] = ["a", "b"].map(|name| open(scratch.path(), name));
        // Two creates, two writes, two renames; then the sync.
        let cut = fails.then_some((6, Cut::Fails(Errno::IO)));
        let first = [&a, &b].map(|maildir| written(maildir).unwrap().prepare().unwrap());
        let (advanced, machine) = Machine::run(scratch.path(), Lacking::Nothing, cut, || {
            let second = [&a, &b].map(|maildir| written(maildir).unwrap());
            advance(first.into(), second.into())
        });
        assert!(advanced.delivered.iter().all(|delivered| delivered.is_err() == fails));
        assert!(advanced.prepared.iter().all(|prepared| prepared.is_err() == fails));
        let removed = if fails { 4 } else { 0 };
        assert_eq!(machine.calls, 7 + removed, "one sync, and what failed removed");
    }
}

#[test]
fn a_batch_syncs_each_directory_once() {
    let scratch = tempfile::tempdir().unwrap();
    two_maildirs(scratch.path());
    let (calls, _) = Machine::run(scratch.path(), Lacking::Nothing, None, || {
        let [a, b] = ["a", "b"].map(|name| open(scratch.path(), name));
        let prepared = [&a, &b, &a, &b, &a].map(|maildir| maildir.delivery().unwrap().prepare().unwrap());
        let before = super::MACHINE.with_borrow(|machine| machine.as_ref().unwrap().calls);
        assert!(commit_all(prepared.into()).iter().all(Result::is_ok));
        super::MACHINE.with_borrow(|machine| machine.as_ref().unwrap().calls) - before
    });
    assert_eq!(calls, 5 + 2, "five renames and two syncs");
}

#[test]
fn a_move_leaves_the_message_in_one_of_both_at_every_cut() {
    let prepare = |root: &Path| {
        two_maildirs(root);
        deliver(root, Some(Flag::SEEN.into())).unwrap();
    };
    let action = |root: &Path| {
        let [a, b] = ["a", "b"].map(|name| open(root, name));
        let message = a.message(&a.list().unwrap().iter().next().unwrap());
        message.move_to(&b).is_ok()
    };
    at_every_cut(prepare, action, |_, _, machine, cut| {
        for state in machine.disk.states().iter().chain([&machine.disk.seen()]) {
            assert!((1..=2).contains(&delivered(state).count()), "{cut:?}");
            assert!(delivered(state).all(|(_, content)| content.as_deref() == Some(MESSAGE)), "{cut:?}");
        }
        assert!(cut.is_some() || delivered(&machine.disk.seen()).count() == 1);
    });
}

#[test]
fn a_change_of_flags_leaves_the_message_under_one_name_at_every_cut() {
    let prepare = |root: &Path| {
        two_maildirs(root);
        deliver(root, None).unwrap();
    };
    let action = |root: &Path| {
        let a = open(root, "a");
        let mut message = a.message(&a.list().unwrap().iter().next().unwrap());
        message.take_note().and_then(|()| message.add_flags(Flag::SEEN.into())).is_ok()
    };
    at_every_cut(prepare, action, |_, _, machine, cut| {
        assert_eq!(delivered(&machine.disk.seen()).count(), 1, "{cut:?}");
    });
}

#[test]
fn a_maildir_that_was_created_is_there_and_a_half_made_one_can_be_completed() {
    let path = Path::new("mail/user/Maildir");
    at_every_cut(
        |_| {},
        |root| Maildir::create(root.join(path)).is_ok(),
        |root, &created, machine, cut| {
            assert!(created || cut.is_some());
            for state in machine.disk.states().iter().filter(|_| created) {
                for directory in ["mail", "mail/user", "mail/user/Maildir/tmp", "mail/user/Maildir/cur"] {
                    assert!(state.contains_key(&root.join(directory)), "{directory} after {cut:?}");
                }
            }
            assert!(Maildir::open(root.join(path)).is_ok() || !created);
            Maildir::create(root.join(path)).unwrap();
        },
    );
}

#[test]
fn a_directory_that_cannot_be_synced_gives_no_receipt_and_keeps_no_message() {
    let scratch = tempfile::tempdir().unwrap();
    two_maildirs(scratch.path());
    // Create, two writes, sync of the file, rename; then the sync of the directory.
    let cut = Some((5, Cut::Fails(Errno::IO)));
    let (result, _) = Machine::run(scratch.path(), Lacking::Nothing, cut, || deliver(scratch.path(), None));
    let error = result.unwrap_err();
    assert!(error.to_string().starts_with("cannot sync the directory "), "{error}");
    assert!(open(scratch.path(), "a").list().unwrap().is_empty());
}

#[test]
fn a_full_disk_is_told_from_other_failures_with_the_file_it_hit() {
    let scratch = tempfile::tempdir().unwrap();
    two_maildirs(scratch.path());
    let maildir = open(scratch.path(), "a");
    let cut = Some((1, Cut::Fails(Errno::NOSPC)));
    let (error, _) = Machine::run(scratch.path(), Lacking::Nothing, cut, || {
        let mut delivery = maildir.delivery().unwrap();
        let error = delivery.write_all(&[b'x'; 100_000]).unwrap_err();
        assert!(matches!(delivery.commit(), Err(Error::Incomplete { .. })));
        error
    });
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("/a/tmp/"), "{error}");
    let ours = error.into_inner().unwrap().downcast::<Error>().unwrap();
    assert!(ours.is_out_of_space());
    assert_eq!(fs::read_dir(maildir.directory(Directory::New)).unwrap().count(), 0);
}

#[test]
fn a_name_that_is_taken_is_never_overwritten_whatever_the_file_system_lacks() {
    for lacking in LACKING {
        let scratch = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| scratch.path().join(name));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        let (results, _) = Machine::run(scratch.path(), lacking, None, || {
            [calls::place(&from, &to), calls::rename_message(&from, &to)]
        });
        assert!(results.iter().all(|result| result.as_ref().is_err_and(Error::is_taken)), "{lacking:?}");
        assert_eq!((fs::read(&from).unwrap(), fs::read(&to).unwrap()), (b"new".to_vec(), b"old".to_vec()));
    }
}

#[test]
fn a_delivery_that_meets_a_taken_name_tries_another() {
    // The file in tmp/ is created at call 0, renamed at call 4.
    for at in [0, 4] {
        let scratch = tempfile::tempdir().unwrap();
        two_maildirs(scratch.path());
        let cut = Some((at, Cut::Fails(Errno::EXIST)));
        let (result, _) = Machine::run(scratch.path(), Lacking::Nothing, cut, || deliver(scratch.path(), None));
        assert_eq!(result.unwrap().name().size(), Some(MESSAGE.len() as u64));
        assert_eq!(open(scratch.path(), "a").list().unwrap().len(), 1);
    }
}

#[test]
fn where_no_hard_link_can_be_made_a_copy_is_synced() {
    let scratch = tempfile::tempdir().unwrap();
    two_maildirs(scratch.path());
    let ((), machine) = Machine::run(scratch.path(), Lacking::RenameNoReplaceAndLink, None, || {
        let mut delivery = open(scratch.path(), "a").delivery().unwrap();
        delivery.write_all(MESSAGE).unwrap();
        let first = delivery.prepare().unwrap();
        let second = first.link_to(&open(scratch.path(), "b")).unwrap();
        assert!(commit_all(vec![first, second]).iter().all(Result::is_ok));
    });
    for state in machine.disk.states() {
        assert_eq!(delivered(&state).filter(|(_, content)| content.as_deref() == Some(MESSAGE)).count(), 2);
    }
}

#[test]
fn a_copy_of_a_message_that_nobody_synced_is_synced() {
    let scratch = tempfile::tempdir().unwrap();
    two_maildirs(scratch.path());
    let [a, b] = ["a", "b"].map(|name| open(scratch.path(), name));
    let ((), machine) = Machine::run(scratch.path(), Lacking::Nothing, None, || {
        let path = a.directory(Directory::New).join("1.2.careless");
        let mut file = calls::create(&path, 0o600).unwrap();
        calls::write(&mut file, &path, MESSAGE).unwrap();
        a.find(b"1.2.careless").unwrap().move_to(&b).unwrap();
    });
    let in_b = |path: &Path| path.starts_with(b.path());
    for state in machine.disk.states() {
        let copies: Vec<_> =
            delivered(&state).filter(|(path, _)| in_b(path)).map(|(_, content)| content.clone()).collect();
        assert_eq!(copies, [Some(MESSAGE.to_vec())]);
    }
}

#[test]
fn a_file_that_is_there_already_is_not_taken_for_a_new_one() {
    let scratch = tempfile::tempdir().unwrap();
    let [there, link] = ["there", "link"].map(|name| scratch.path().join(name));
    fs::write(&there, "somebody's").unwrap();
    std::os::unix::fs::symlink(scratch.path().join("elsewhere"), &link).unwrap();
    for path in [&there, &link] {
        assert!(calls::create(path, 0o600).is_err_and(|error| error.is_taken()));
    }
    assert_eq!(fs::read(&there).unwrap(), b"somebody's");
}
