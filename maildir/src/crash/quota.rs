//! Counts of which any one system call fails, or is the last.

use std::fs;
use std::path::Path;

use super::tests::at_every_cut;
use super::{Cut, Machine, scratch};
use crate::{Maildir, MaildirSize, Quota, Usage};

const OLD: &str = "1S\n           0            0\n";
const NEW: &str = "9S\n           5            1\n";

fn prepare(root: &Path) {
    let maildir = Maildir::create(root.join("m")).unwrap();
    fs::write(maildir.path().join("cur/1.1.host,S=5:2,"), "x").unwrap();
    fs::write(maildir.path().join("maildirsize"), OLD).unwrap();
}

fn size_in(root: &Path) -> MaildirSize {
    let maildir = Maildir::open(root.join("m")).unwrap();
    MaildirSize::of(&maildir, Quota { octets: Some(9), messages: None }).unwrap()
}

#[test]
fn a_count_is_the_old_one_or_the_new_one_and_never_torn() {
    at_every_cut(
        prepare,
        |root| size_in(root).usage(),
        |root, usage, machine, cut| {
            // That it cannot be written does not keep it from being known.
            assert_eq!(usage.as_ref().unwrap(), &Usage { octets: 5, messages: 1 });
            for state in machine.disk.states().iter().chain([&machine.disk.seen()]) {
                let Some(content) = state.get(&root.join("m/maildirsize")) else { continue };
                let content = content.as_ref().unwrap_or_else(|| panic!("torn after {cut:?}"));
                assert!([OLD, NEW].contains(&std::str::from_utf8(content).unwrap()), "{cut:?}: {content:?}");
            }
            if matches!(cut, Some(Cut::Fails(_))) {
                assert_eq!(fs::read_dir(root.join("m/tmp")).unwrap().count(), 0);
            }
        },
    );
}

#[test]
fn a_count_during_which_something_was_delivered_is_removed() {
    let scratch = scratch();
    prepare(scratch.path());
    // Create, write, sync, rename: somebody delivers after the count and before the last.
    let meanwhile = Some((3, scratch.path().join("m/new/2.2.host")));
    let machine = Machine { meanwhile, ..Machine::of(scratch.path()) };
    let (usage, _) = machine.go(|| size_in(scratch.path()).usage().unwrap());
    assert_eq!(usage, Usage { octets: 5, messages: 1 });
    assert!(!scratch.path().join("m/maildirsize").exists());
    assert_eq!(size_in(scratch.path()).usage().unwrap(), Usage { octets: 6, messages: 2 });
}
