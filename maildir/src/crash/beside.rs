//! The files beside the mail: what they promised is kept, and what is left can be worked with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::io::Errno;

use super::disk::State;
use super::tests::{at_every_cut, open};
use super::{Cut, Lacking, Machine};
use crate::{Error, Flag, Keywords, Maildir, Options, SubscriptionFile, UidList};

const GUID: &str = "0123456789abcdef0123456789abcdef";
const LIST: &str = "a/dovecot-uidlist";
const KEYWORDS: &str = "a/dovecot-keywords";

fn maildir_with(root: &Path, messages: &[&str], file: &str, content: &str) {
    Maildir::create(root.join("a")).unwrap();
    messages.iter().for_each(|name| fs::write(root.join("a/cur").join(name), "x").unwrap());
    fs::write(root.join(file), content).unwrap();
}

fn assign(root: &Path) -> Result<UidList, Error> {
    let maildir = open(root, "a");
    let mut update = maildir.update_uids()?;
    update.assign(&maildir.list()?)?;
    update.commit()
}

fn by_name(list: &UidList) -> BTreeMap<String, u32> {
    list.iter().map(|entry| (entry.name().escape_ascii().to_string(), entry.uid())).collect()
}

/// Every state that the power, or the kill, may leave.
fn states(machine: &Machine) -> Vec<State> {
    machine.disk.states().into_iter().chain([machine.disk.seen()]).collect()
}

fn octets<'s>(state: &'s State, root: &Path, file: &str) -> Option<&'s [u8]> {
    state.get(&root.join(file)).map(|content| content.as_deref().unwrap_or_else(|| panic!("{file} is torn")))
}

/// What a crash leaves of the list is readable, has what was there before, and all that was promised.
fn check_list(root: &Path, returned: &Result<UidList, Error>, machine: &Machine, before: &BTreeMap<String, u32>) {
    for state in states(machine) {
        let left = octets(&state, root, LIST).map(|octets| UidList::parse(octets).unwrap());
        let left_names = left.as_ref().map(by_name).unwrap_or_default();
        if let Ok(promised) = returned {
            assert_eq!(left_names, by_name(promised), "promised");
        }
        assert!(before.iter().all(|(name, uid)| left_names.get(name) == Some(uid)), "{left_names:?}");
        assert!(left.is_none_or(|left| left.uid_validity() == 7 || before.is_empty()));
    }
}

/// The next program, which waits until the lock is stale.
fn go_on(root: &Path) -> UidList {
    let _ = fs::remove_file(root.join("a/dovecot-uidlist.lock"));
    assign(root).unwrap()
}

fn no_lock_is_left(root: &Path, file: &str, machine: &Machine, cut: Option<Cut>) {
    let released = !root.join(format!("{file}.lock")).exists();
    // If removing it is what failed, or nothing more happened.
    assert!(released || machine.killed || machine.last_is_cut(), "{cut:?}");
}

#[test]
fn uids_that_were_appended_stay_and_those_before_do_whatever_is_cut() {
    let head = format!("3 V7 N3 G{GUID}\n2 Zz :1.a\n");
    let before = BTreeMap::from([("1.a".to_owned(), 2)]);
    at_every_cut(
        |root| maildir_with(root, &["1.a:2,", "2.b:2,", "3.c:2,S"], LIST, &head),
        assign,
        |root, returned, machine, cut| {
            check_list(root, returned, machine, &before);
            no_lock_is_left(root, LIST, machine, cut);
            assert!(cut.is_some() || returned.is_ok());
            let expected = [("1.a", 2), ("2.b", 3), ("3.c", 4)].map(|(name, uid)| (name.to_owned(), uid));
            let list = go_on(root);
            assert_eq!((list.uid_validity(), by_name(&list)), (7, BTreeMap::from(expected)));
            let octets = fs::read_to_string(root.join(LIST)).unwrap();
            assert!(octets.starts_with(&head) && octets.lines().count() == 4, "appended once: {octets}");
        },
    );
}

#[test]
fn a_list_that_is_rewritten_is_the_old_or_the_new_one_whatever_is_cut() {
    let old = format!("3 V7 N5 G{GUID} Zz\n2 Xx :1.a\n4 :2.b");
    let before = BTreeMap::from([("1.a".to_owned(), 2)]);
    at_every_cut(
        |root| maildir_with(root, &["1.a:2,", "2.b:2,"], LIST, &old),
        assign,
        |root, returned, machine, cut| {
            check_list(root, returned, machine, &before);
            no_lock_is_left(root, LIST, machine, cut);
            for state in states(machine) {
                let left = octets(&state, root, LIST).unwrap();
                let new = format!("3 V7 N6 G{GUID} Zz\n2 Xx :1.a\n5 :2.b\n");
                assert!(left == old.as_bytes() || left == new.as_bytes(), "{}", left.escape_ascii());
            }
            assert!(matches!(cut, Some(Cut::Kills)) || tmp_files(root) <= usize::from(cut.is_some()));
            assert_eq!(go_on(root).find(b"2.b").map(|entry| entry.uid()), Some(5));
        },
    );
}

fn tmp_files(root: &Path) -> usize {
    fs::read_dir(root.join("a/tmp")).unwrap().count()
}

#[test]
fn a_new_list_gets_a_uidvalidity_that_no_crash_takes_back() {
    at_every_cut(
        |root| maildir_with(root, &["1.a:2,"], "a/dovecot-uidvalidity.00000007", ""),
        assign,
        |root, returned, machine, _| {
            check_list(root, returned, machine, &BTreeMap::new());
            let Ok(list) = returned else { return };
            for state in states(machine) {
                let marker = format!("a/dovecot-uidvalidity.{:08x}", list.uid_validity());
                assert!(state.contains_key(&root.join(marker)));
                let repeated = octets(&state, root, "a/dovecot-uidvalidity").unwrap();
                assert_eq!(repeated, format!("{:08x}", list.uid_validity()).as_bytes());
            }
        },
    );
}

#[test]
fn a_uidvalidity_that_was_drawn_is_never_drawn_again_whatever_is_cut() {
    at_every_cut(
        |root| maildir_with(root, &[], "a/dovecot-uidvalidity.00000007", ""),
        |root| open(root, "a").next_uid_validity(),
        |root, returned, machine, cut| {
            assert!(cut.is_some() || returned.is_ok());
            for state in states(machine) {
                let marked =
                    |number: u32| state.contains_key(&root.join(format!("a/dovecot-uidvalidity.{number:08x}")));
                assert!(if returned.is_ok() { marked(8) } else { marked(7) || marked(8) });
            }
            let next = open(root, "a").next_uid_validity().unwrap();
            assert!(next > *returned.as_ref().unwrap_or(&7));
        },
    );
}

#[test]
fn a_keyword_that_got_a_letter_keeps_it_whatever_is_cut() {
    let old = "0 $Forwarded\n7 odd\n30 beyond\n";
    at_every_cut(
        |root| maildir_with(root, &[], KEYWORDS, old),
        |root| open(root, "a").add_keyword(b"work"),
        |root, returned, machine, cut| {
            assert!(cut.is_some() || returned.is_ok());
            no_lock_is_left(root, KEYWORDS, machine, cut);
            for state in states(machine) {
                let left = octets(&state, root, KEYWORDS).unwrap();
                let new = "0 $Forwarded\n1 work\n7 odd\n30 beyond\n";
                assert!(left == new.as_bytes() || (left == old.as_bytes() && returned.is_err()));
            }
        },
    );
}

#[test]
fn a_keyword_that_another_program_wrote_and_did_not_sync_is_synced() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    Maildir::create(root.join("a")).unwrap();
    let (letter, machine) = Machine::run(root, Lacking::Nothing, None, || {
        let path = root.join(KEYWORDS);
        let mut file = crate::calls::create(&path, 0o600).unwrap();
        crate::calls::write(&mut file, &path, b"0 careless\n").unwrap();
        open(root, "a").add_keyword(b"Careless").unwrap()
    });
    assert_eq!(Some(letter), Flag::keyword(0));
    for state in machine.disk.states() {
        assert_eq!(Keywords::parse(octets(&state, root, KEYWORDS).unwrap()).flag(b"careless"), Some(letter));
    }
}

#[test]
fn uids_that_another_program_wrote_and_did_not_sync_are_synced() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    maildir_with(root, &["1.a:2,"], LIST, "");
    fs::remove_file(root.join(LIST)).unwrap();
    let (list, machine) = Machine::run(root, Lacking::Nothing, None, || {
        let path = root.join(LIST);
        let mut file = crate::calls::create(&path, 0o600).unwrap();
        crate::calls::write(&mut file, &path, format!("3 V7 N3 G{GUID}\n2 :1.a\n").as_bytes()).unwrap();
        assign(root)
    });
    check_list(root, &list, &machine, &BTreeMap::from([("1.a".to_owned(), 2)]));
}

#[test]
fn a_line_half_written_on_a_full_disk_is_taken_back_and_whole_ones_stay() {
    let head = format!("3 V7 N3 G{GUID}\n");
    for (names, left) in [(&["1.a:2,"][..], ""), (&["1.a:2,", "2.bcdefghijklm:2,"], "3 :1.a\n")] {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        maildir_with(root, names, LIST, &head);
        // The lock is made and written; then come the lines.
        let cut = Some((2, Cut::FailsHalfway(Errno::NOSPC)));
        let (result, machine) = Machine::run(root, Lacking::Nothing, cut, || assign(root));
        assert!(result.as_ref().unwrap_err().is_out_of_space());
        assert_eq!(fs::read_to_string(root.join(LIST)).unwrap(), format!("{head}{left}"));
        check_list(root, &result, &machine, &BTreeMap::new());
        assert_eq!(go_on(root).find(b"1.a").map(|entry| entry.uid()), Some(3));
    }
}

#[test]
fn subscriptions_are_the_old_or_the_new_ones_whatever_is_cut() {
    let file = "a/subscriptions";
    at_every_cut(
        |root| maildir_with(root, &[], file, "Sent\n"),
        |root| open(root, "a").change_subscriptions(SubscriptionFile::Dovecot, |folders| folders.add(&[b"Trash"])),
        |root, returned, machine, cut| {
            assert!(cut.is_some() || returned.is_ok());
            no_lock_is_left(root, file, machine, cut);
            for state in states(machine) {
                let left = octets(&state, root, file).unwrap();
                assert!(left == b"Sent\nTrash\n" || (left == b"Sent\n" && returned.is_err()));
            }
        },
    );
}

#[test]
fn a_lock_that_cannot_be_made_is_an_error_and_one_that_cannot_be_written_is_released() {
    for (at, cut) in [(0, Cut::Fails(Errno::ACCESS)), (1, Cut::Fails(Errno::NOSPC))] {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        maildir_with(root, &[], LIST, &format!("3 V7 N3 G{GUID}\n"));
        let (result, _) = Machine::run(root, Lacking::Nothing, Some((at, cut)), || assign(root).map(drop));
        assert!(result.unwrap_err().to_string().contains("dovecot-uidlist.lock"));
        assert!(!root.join("a/dovecot-uidlist.lock").exists());
    }
}

#[test]
fn a_lock_is_not_waited_for_longer_than_asked() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    maildir_with(root, &[], LIST, &format!("3 V7 N3 G{GUID}\n"));
    let options = Options { lock_timeout: std::time::Duration::ZERO, ..Options::default() };
    let maildir = Maildir::open_with(root.join("a"), options).unwrap();
    let held = maildir.update_uids().unwrap();
    assert!(matches!(maildir.update_uids(), Err(Error::Locked { .. })));
    drop(held);
    assert!(maildir.update_uids().is_ok());
}
