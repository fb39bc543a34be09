//! Messages that other programs rename, remove and replace.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::thread;

use postrider_maildir::{Directory, Error, Flag, Maildir, Message, Options, Separator};

fn maildir_in(scratch: &Path) -> Maildir {
    Maildir::create(scratch.join("Maildir")).unwrap()
}

fn deliver(maildir: &Maildir, content: &[u8]) -> Message {
    let mut delivery = maildir.delivery().unwrap();
    delivery.write_all(content).unwrap();
    let delivered = delivery.commit().unwrap();
    maildir.find(delivered.name().octets()).unwrap()
}

fn content(message: &mut Message) -> Vec<u8> {
    let mut content = Vec::new();
    message.open().unwrap().read_to_end(&mut content).unwrap();
    content
}

fn names(maildir: &Maildir, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(maildir.path().join(directory)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_handle_follows_a_message_that_others_rename() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let mut message = deliver(&maildir, b"x\n");
    for suffix in [":2,", ":2,S", ":2,DFPRSTabcxyz", ";2,S", ":2,S,foreign", ""] {
        let moved = format!("{}{suffix}", message.name().base().escape_ascii());
        fs::rename(message.path(), maildir.path().join("cur").join(&moved)).unwrap();
        assert_eq!(content(&mut message), b"x\n");
        assert_eq!((message.name().to_string(), message.directory()), (moved, Directory::Cur));
    }
    fs::remove_file(message.path()).unwrap();
    assert!(message.open().unwrap_err().is_gone());
    assert!(message.add_flags(Flag::SEEN.into()).unwrap_err().is_gone());
    assert!(message.remove().unwrap_err().is_gone());
}

#[test]
fn flags_are_one_rename_and_take_the_message_to_cur() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let mut message = deliver(&maildir, b"x\n");
    let base = message.name().base().escape_ascii().to_string();
    message.take_note().unwrap();
    assert_eq!(names(&maildir, "cur"), [format!("{base}:2,")]);
    assert_eq!(message.add_flags([Flag::SEEN, Flag::FLAGGED].into_iter().collect()).unwrap().to_string(), "FS");
    assert_eq!(message.remove_flags(Flag::SEEN.into()).unwrap().to_string(), "F");
    message.set_flags(Flag::DRAFT.into()).unwrap();
    assert_eq!(names(&maildir, "cur"), [format!("{base}:2,D")]);
    assert!(names(&maildir, "new").is_empty());
}

#[test]
fn flags_that_another_program_set_and_letters_nobody_knows_survive() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let mut message = deliver(&maildir, b"x\n");
    message.take_note().unwrap();
    let base = message.name().base().escape_ascii().to_string();
    fs::rename(message.path(), maildir.path().join(format!("cur/{base}:2,RXk,tail"))).unwrap();
    message.add_flags(Flag::SEEN.into()).unwrap();
    assert_eq!(names(&maildir, "cur"), [format!("{base}:2,RSXk,tail")]);
    message.set_flags(Flag::FLAGGED.into()).unwrap();
    assert_eq!(names(&maildir, "cur"), [format!("{base}:2,FX,tail")]);
}

#[test]
fn an_unchanged_flag_is_not_taken_for_set_when_the_message_was_renamed() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let mut message = deliver(&maildir, b"x\n");
    message.set_flags(Flag::SEEN.into()).unwrap();
    let base = message.name().base().escape_ascii().to_string();
    fs::rename(message.path(), maildir.path().join(format!("cur/{base}:2,"))).unwrap();
    message.set_flags(Flag::SEEN.into()).unwrap();
    assert_eq!(names(&maildir, "cur"), [format!("{base}:2,S")]);
}

#[test]
fn two_writers_of_flags_lose_nothing_of_each_other() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let messages: Vec<_> = (0..40).map(|_| deliver(&maildir, b"x\n")).collect();
    let letters = [b"DaTb", b"FcRd"];
    thread::scope(|scope| {
        for letters in letters {
            let messages = messages.clone();
            scope.spawn(move || {
                for mut message in messages {
                    for &letter in letters {
                        message.add_flags(Flag::new(letter).unwrap().into()).unwrap();
                    }
                }
            });
        }
    });
    let listing = maildir.list().unwrap();
    assert_eq!(listing.len(), 40);
    assert!(listing.iter().all(|entry| entry.name().flags().to_string() == "DFRTabcd"));
}

#[test]
fn one_of_two_who_remove_a_message_hears_that_it_is_gone_and_nothing_comes_back() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    for _ in 0..100 {
        let message = deliver(&maildir, b"x\n");
        let mut flagged = message.clone();
        let (removed, flagging) = thread::scope(|scope| {
            let flagging = scope.spawn(move || flagged.add_flags(Flag::SEEN.into()));
            (message.remove(), flagging.join().unwrap())
        });
        removed.unwrap();
        assert!(flagging.map_or_else(|error| error.is_gone(), |_| true));
        assert!(maildir.list().unwrap().is_empty());
    }
}

#[test]
fn two_readers_may_take_note_of_the_same_message() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let messages: Vec<_> = (0..40).map(|_| deliver(&maildir, b"x\n")).collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| messages.clone().iter_mut().for_each(|message| message.take_note().unwrap()));
        }
    });
    assert_eq!((names(&maildir, "new").len(), names(&maildir, "cur").len()), (0, 40));
}

#[test]
fn two_messages_with_one_base_name_part_when_their_flags_become_equal() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    fs::write(maildir.path().join("cur/1.2.double:2,"), "one").unwrap();
    fs::write(maildir.path().join("cur/1.2.double:2,S"), "another").unwrap();
    let mut message = maildir.find(b"1.2.double:2,").unwrap();
    assert_eq!(message.name().to_string(), "1.2.double:2,");
    message.set_flags(Flag::SEEN.into()).unwrap();
    assert_ne!(message.name().base(), b"1.2.double");
    assert_eq!(message.name().flags(), Flag::SEEN.into());
    assert_eq!(content(&mut message), b"one");
    assert_eq!(content(&mut maildir.find(b"1.2.double").unwrap()), b"another");
}

#[test]
fn one_file_under_two_names_keeps_one() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let path = |name: &str| maildir.path().join(name);
    fs::write(path("new/1.2.linked"), "one").unwrap();
    fs::hard_link(path("new/1.2.linked"), path("cur/1.2.linked:2,S")).unwrap();
    let mut message = maildir.find(b"1.2.linked").unwrap();
    message.set_flags(Flag::SEEN.into()).unwrap();
    assert_eq!((names(&maildir, "new").len(), names(&maildir, "cur")), (0, vec!["1.2.linked:2,S".to_owned()]));
    assert_eq!(content(&mut message), b"one");
}

#[test]
fn what_is_not_a_regular_file_is_not_opened_and_nobody_waits_for_it() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    let path = |name: &str| maildir.path().join("cur").join(name);
    std::os::unix::fs::symlink("/etc/passwd", path("1.2.symlink")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path("1.2.fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    fs::create_dir(path("1.2.directory")).unwrap();
    for name in ["1.2.symlink", "1.2.fifo", "1.2.directory"] {
        let error = maildir.find(name.as_bytes()).unwrap().open().unwrap_err();
        assert!(matches!(error, Error::NotRegular { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_copy_gets_its_own_name_and_leaves_the_mbsync_uid_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| Maildir::create(scratch.path().join(name)).unwrap());
    fs::write(from.path().join("cur/1.2.h,U=7,S=4,W=5:2,FX"), "abc\n").unwrap();
    let mut message = from.find(b"1.2.h,U=7,S=4,W=5").unwrap();
    let received = message.metadata().unwrap().modified().unwrap();

    let copy = message.copy_to(&to).unwrap().commit().unwrap();
    assert_eq!((copy.name().size(), copy.name().crlf_size(), copy.name().mbsync_uid()), (Some(4), Some(5), None));
    assert_eq!((copy.name().flags().to_string().as_str(), copy.directory()), ("FX", Directory::Cur));
    let mut copied = to.find(copy.name().octets()).unwrap();
    assert_eq!(copied.metadata().unwrap().modified().unwrap(), received);

    let moved = message.move_to(&to).unwrap();
    assert_ne!(moved.name().base(), copy.name().base());
    assert_eq!((from.list().unwrap().len(), to.list().unwrap().len()), (0, 2));
}

#[test]
fn a_name_that_lies_about_its_size_is_corrected_in_the_copy() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir_in(scratch.path());
    fs::write(maildir.path().join("new/1.2.h,S=99,W=100"), "abc\n").unwrap();
    let copy = maildir.find(b"1.2.h,S=99,W=100").unwrap().copy_to(&maildir).unwrap().commit().unwrap();
    assert_eq!((copy.name().size(), copy.name().crlf_size(), copy.directory()), (Some(4), None, Directory::New));
}

#[test]
fn a_separator_is_written_as_configured_and_kept_where_there_is_one() {
    let scratch = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.separator = Separator::Semicolon;
    let maildir = Maildir::create_with(scratch.path().join("Maildir"), options).unwrap();
    let mut message = deliver(&maildir, b"x\n");
    message.set_flags(Flag::SEEN.into()).unwrap();
    assert!(message.name().to_string().ends_with(";2,S"));
    fs::write(maildir.path().join("cur/1.2.colon:2,"), "x").unwrap();
    let mut message = maildir.find(b"1.2.colon").unwrap();
    message.set_flags(Flag::SEEN.into()).unwrap();
    assert_eq!(message.name().to_string(), "1.2.colon:2,S");
}
