use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;

use super::tests::{at_every_cut, path, scratch};
use super::{Cut, Machine};
use crate::rewrite::MAGIC;
use crate::{Access, Edit, Error, Flag, Mbox, Options, Policy, Rewriting, Way};

const ONE: &str = "From a Thu Jan  1 00:00:00 1970\nX-IMAPbase: 0000000007 0000000002\nX-UID: 1\nX-Keywords:                                  \n\nOne.\n\n";
const TWO: &str = "From a Thu Jan  1 00:00:00 1970\nX-UID: 2\nStatus: O\n\nTwo, which is longer.\n\n";
const THREE: &str = "From a Thu Jan  1 00:00:00 1970\nSubject: 3\n\nThree.\n\n";

/// What is done to the message of this number, counted from 0.
#[derive(Clone, Copy)]
enum Do {
    Mark(usize),
    Remove(usize),
}

fn rewrite(root: &Path, rewriting: Rewriting, what: Do) -> Result<Way, Error> {
    let mut options = Options { rewriting, ..Options::default() };
    options.locking.timeout = std::time::Duration::ZERO;
    let mut locked = Mbox::open_with(path(root), options)?.lock(Access::Write)?;
    let mut number = 0;
    let rewritten = locked.rewrite(Policy::default(), None, |entry| {
        number += 1;
        match what {
            Do::Remove(at) if at + 1 == number => Edit::Remove,
            Do::Mark(at) if at + 1 == number => {
                let mut metadata = entry.metadata.clone();
                metadata.flags = metadata.flags.with(Flag::SEEN).with(Flag::FLAGGED);
                Edit::Set(metadata)
            }
            _ => Edit::Keep,
        }
    })?;
    Ok(rewritten.way)
}

/// What a program finds that locks the mailbox after a crash.
fn found(root: &Path) -> String {
    let mut options = Options::default();
    options.locking.timeout = std::time::Duration::ZERO;
    let _ = fs::remove_file(root.join("mbox.lock"));
    drop(Mbox::open_with(path(root), options).unwrap().lock(Access::Read).unwrap());
    assert!(!root.join(".mbox.rewrite").exists());
    fs::read_to_string(path(root)).unwrap()
}

/// All the ways to change a file, each with what was there.
fn cases() -> Vec<(String, Rewriting, Do, Way)> {
    // The marks of the second message lie on both sides of a sector's edge.
    let torn = format!("{ONE}{}", TWO.replace("X-UID", &format!("Subject: {}\nX-UID", "x".repeat(329))));
    let torn = torn.replace("Status: O\n", "Status: O\nX-Keywords:                    \n");
    let three = format!("{ONE}{TWO}{THREE}");
    vec![
        (ONE.to_owned(), Rewriting::Replace, Do::Mark(0), Way::Patched),
        (torn, Rewriting::Replace, Do::Mark(1), Way::Patched),
        (three.clone(), Rewriting::Replace, Do::Remove(0), Way::Replaced),
        (three.clone(), Rewriting::Replace, Do::Mark(2), Way::Replaced),
        (three.clone(), Rewriting::Replace, Do::Remove(2), Way::Truncated),
        (three.clone(), Rewriting::InPlace, Do::Remove(0), Way::InPlace),
        (three.clone(), Rewriting::InPlace, Do::Remove(1), Way::InPlace),
        (three.clone(), Rewriting::InPlace, Do::Mark(1), Way::InPlace),
        (three, Rewriting::InPlace, Do::Mark(2), Way::InPlace),
    ]
}

fn after(before: &str, rewriting: Rewriting, what: Do, way: Way) -> String {
    let scratch = scratch();
    fs::write(path(scratch.path()), before).unwrap();
    assert_eq!(rewrite(scratch.path(), rewriting, what).unwrap(), way);
    found(scratch.path())
}

/// A crash leaves what was or what is to be, and what was reported is.
#[test]
fn a_change_is_made_wholly_or_not_at_all() {
    for (before, rewriting, what, way) in cases() {
        let after = after(&before, rewriting, what, way);
        assert_ne!(before, after);
        at_every_cut(
            Some(&before),
            |root| rewrite(root, rewriting, what),
            |root, rewritten, machine, cut| {
                let check = |content: &str| {
                    assert!(content == after || rewritten.is_err() && content == before, "{content:?} after {cut:?}");
                };
                assert!(rewritten.is_ok() || cut.is_some());
                for state in machine.disk.states(|name| !name.to_string_lossy().contains("lock")) {
                    let scratch = scratch();
                    for (name, content) in &state {
                        fs::write(scratch.path().join(name.file_name().unwrap()), content).unwrap();
                    }
                    same_file(scratch.path());
                    check(&found(scratch.path()));
                }
                check(&found(root));
            },
        );
    }
}

/// Else it would undo what was done later.
#[test]
fn a_journal_that_was_done_does_not_come_back() {
    let scratch = scratch();
    let root = scratch.path().canonicalize().unwrap();
    fs::write(path(&root), format!("{ONE}{TWO}")).unwrap();
    let (ways, machine) = Machine::run(&root, true, None, || {
        rewrite(&root, Rewriting::InPlace, Do::Mark(1)).unwrap();
        rewrite(&root, Rewriting::InPlace, Do::Mark(1)).unwrap();
        let mut locked = Mbox::open(path(&root)).unwrap().lock(Access::Write).unwrap();
        locked
            .rewrite(Policy::default(), None, |entry| {
                Edit::Set(crate::Metadata { uid: Some(9), ..entry.metadata.clone() })
            })
            .unwrap()
            .way
    });
    assert_eq!(ways, Way::Patched);
    let wanted = fs::read_to_string(path(&root)).unwrap();
    for state in machine.disk.states(|name| !name.to_string_lossy().contains("lock")) {
        let scratch = super::tests::scratch();
        for (name, content) in &state {
            fs::write(scratch.path().join(name.file_name().unwrap()), content).unwrap();
        }
        same_file(scratch.path());
        assert_eq!(found(scratch.path()), wanted);
    }
}

/// A journal belongs to one file, and the copy that a test has made of it is another.
fn same_file(root: &Path) {
    let journal = root.join(".mbox.rewrite");
    if fs::read(&journal).is_ok_and(|journal| journal.starts_with(MAGIC)) {
        let inode = fs::metadata(path(root)).unwrap().ino();
        let file = fs::OpenOptions::new().write(true).open(journal).unwrap();
        file.write_all_at(&inode.to_le_bytes(), MAGIC.len() as u64 + 16).unwrap();
    }
}

/// A program that knows nothing of the journal delivers mail between a crash and the next lock.
#[test]
fn mail_that_comes_to_a_half_written_file_is_kept() {
    let mail = "From z Thu Jan  1 00:00:00 1970\nSubject: foreign\n\nIt came meanwhile.\n\n";
    for mail in [mail.to_owned(), mail.repeat(9)] {
        for (before, rewriting, what, way) in cases() {
            let after = after(&before, rewriting, what, way);
            for at in 0.. {
                let scratch = scratch();
                let root = scratch.path().canonicalize().unwrap();
                fs::write(path(&root), &before).unwrap();
                let (_, machine) =
                    Machine::run(&root, true, Some((at, Cut::Kills)), || rewrite(&root, rewriting, what));
                let half = fs::read_to_string(path(&root)).unwrap();
                fs::write(path(&root), format!("{half}{mail}")).unwrap();
                let content = found(&root);
                assert!([&before, &after].into_iter().any(|whole| content == format!("{whole}{mail}")), "{content}");
                if machine.calls <= at {
                    break;
                }
            }
        }
    }
}

/// A program that knows nothing of the journal rewrites a half-written file: what it has made of it stands.
#[test]
fn what_others_have_made_of_a_half_written_file_is_theirs() {
    let foreign = format!("{THREE}{}", TWO.replace("Two", "Another").repeat(9));
    for (before, rewriting, what, _) in cases() {
        let mut journals = 0;
        for at in 0..40 {
            let scratch = scratch();
            let root = scratch.path().canonicalize().unwrap();
            fs::write(path(&root), &before).unwrap();
            let _ = Machine::run(&root, true, Some((at, Cut::Kills)), || rewrite(&root, rewriting, what));
            journals += usize::from(root.join(".mbox.rewrite").exists());
            // In place: it is the same file.
            fs::write(path(&root), &foreign).unwrap();
            assert_eq!(found(&root), foreign, "killed before call {at}");
        }
        assert!(journals > 0 || !matches!(rewriting, Rewriting::InPlace));
    }
}

/// And a crash while that is made good.
#[test]
fn a_crash_while_a_crash_is_made_good_is_made_good() {
    let mail = "From z Thu Jan  1 00:00:00 1970\nSubject: foreign\n\nIt came meanwhile.\n\n";
    for (before, rewriting, what, way) in cases().into_iter().filter(|(.., way)| *way == Way::InPlace) {
        let after = after(&before, rewriting, what, way);
        let wanted = [format!("{before}{mail}"), format!("{after}{mail}")];
        for first in 0..40 {
            for second in 0.. {
                let scratch = scratch();
                let root = scratch.path().canonicalize().unwrap();
                fs::write(path(&root), &before).unwrap();
                let cut = Some((first, Cut::Kills));
                let (_, _) = Machine::run(&root, true, cut, || rewrite(&root, rewriting, what));
                let half = fs::read_to_string(path(&root)).unwrap();
                fs::write(path(&root), format!("{half}{mail}")).unwrap();
                let _ = fs::remove_file(root.join("mbox.lock"));
                let mbox = Mbox::open(path(&root)).unwrap();
                let (_, machine) = Machine::run(&root, true, Some((second, Cut::Kills)), || mbox.lock(Access::Write));
                let _ = fs::remove_file(root.join("mbox.lock"));
                let content = found(&root);
                assert!(wanted.contains(&content), "{content}");
                if machine.calls <= second {
                    break;
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_replaced_is_written_where_it_is() {
    let scratch = scratch();
    let (root, other) = (scratch.path(), scratch.path().join("other"));
    let three = format!("{ONE}{TWO}{THREE}");
    fs::write(path(root), &three).unwrap();
    fs::hard_link(path(root), &other).unwrap();
    assert_eq!(rewrite(root, Rewriting::Replace, Do::Remove(0)).unwrap(), Way::InPlace);
    assert_eq!(fs::read(path(root)).unwrap(), fs::read(other).unwrap());
    let errnos = [Errno::EACCES, Errno::EPERM];
    // Where attributes cannot be set, and where no file can be made.
    for (errno, calls) in errnos.into_iter().flat_map(|errno| [(errno, "SetAttributes"), (errno, "Create")]) {
        let scratch = super::tests::scratch();
        let root = scratch.path();
        fs::write(path(root), &three).unwrap();
        let (mut at, mut done) = (0, None);
        while done.is_none() && at < 30 {
            let cut = Some((at, Cut::Fails(errno)));
            let (way, _) = Machine::run(root, true, cut, || rewrite(root, Rewriting::Replace, Do::Mark(2)));
            done = way.ok().filter(|way| *way == Way::InPlace);
            at += 1;
            fs::write(path(root), &three).unwrap();
        }
        assert!(done.is_some(), "{calls}");
    }
}

#[test]
fn a_new_file_has_what_the_old_one_had() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    use std::os::unix::fs::{PermissionsExt, symlink};
    let scratch = tempfile::tempdir().unwrap();
    let real = scratch.path().join("real");
    fs::write(&real, format!("{ONE}{TWO}")).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    let has_attributes = setxattr(&real, "user.note", b"mine", XattrFlags::empty()).is_ok();
    let root = scratch.path().join("links");
    fs::create_dir(&root).unwrap();
    symlink(&real, path(&root)).unwrap();
    let inode = fs::metadata(&real).unwrap().ino();
    assert_eq!(rewrite(&root, Rewriting::Replace, Do::Remove(0)).unwrap(), Way::Replaced);
    let now = fs::metadata(&real).unwrap();
    assert_ne!(now.ino(), inode);
    assert_eq!(now.permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(path(&root)).unwrap().is_symlink());
    if has_attributes {
        let mut value = [0; 9];
        assert_eq!(getxattr(&real, "user.note", &mut value).map(|len| value[..len].to_vec()), Ok(b"mine".to_vec()));
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn a_file_without_messages_keeps_what_it_is() {
    let scratch = scratch();
    fs::write(path(scratch.path()), ONE).unwrap();
    let inode = fs::metadata(path(scratch.path())).unwrap().ino();
    assert_eq!(rewrite(scratch.path(), Rewriting::Replace, Do::Remove(0)).unwrap(), Way::Truncated);
    let now = fs::metadata(path(scratch.path())).unwrap();
    assert_eq!((now.len(), now.ino()), (0, inode));
}
