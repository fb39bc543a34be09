//! Maildirs that Dovecot, Courier and others wrote.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postrider_maildir::{Flag, Maildir, Message};

/// The corpus stands beside the checkout. Where tests must be complete, its absence is a failure.
fn unpacked(archive: &str) -> Option<tempfile::TempDir> {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/maildir").join(archive);
    if !archive.is_file() {
        assert!(std::env::var_os("CI").is_none(), "no corpus at {}", archive.display());
        println!("left out: no corpus at {}", archive.display());
        return None;
    }
    let scratch = tempfile::tempdir().unwrap();
    let status = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(scratch.path()).status().unwrap();
    assert!(status.success());
    Some(scratch)
}

/// Every directory that is a Maildir, at any depth. `tmp` is made where the archive left out the empty directory.
fn maildirs(root: &Path) -> Vec<Maildir> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        if path.join("cur").is_dir() {
            found.push(Maildir::create(&path).unwrap());
        }
        waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
    }
    found
}

fn files(maildir: &Maildir) -> Vec<PathBuf> {
    let directories = ["new", "cur"].map(|name| fs::read_dir(maildir.path().join(name)).unwrap());
    directories.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

fn messages(maildir: &Maildir) -> Vec<Message> {
    let listing = maildir.list().unwrap();
    listing.iter().map(|entry| maildir.message(&entry)).collect()
}

#[test]
fn every_message_other_programs_stored_is_listed_and_its_sizes_are_true() {
    for (archive, has_sizes) in [
        ("dovecot/maildirpp-dovecot.tar", true),
        ("courier/maildirpp-courier.tar", true),
        ("email-folder.tar", false),
        ("laminas-mail.tar", false),
        ("mox-importtest.tar", false),
    ] {
        let Some(scratch) = unpacked(archive) else { continue };
        let maildirs = maildirs(scratch.path());
        assert!(!maildirs.is_empty());
        for maildir in &maildirs {
            assert_eq!(messages(maildir).len(), files(maildir).len(), "{archive}");
        }
        let mut sizes = 0;
        for mut message in maildirs.iter().flat_map(messages) {
            let octets = fs::read(message.path()).unwrap();
            assert_eq!(message.metadata().unwrap().len(), octets.len() as u64);
            let crlf =
                octets.iter().zip([b' '].iter().chain(&octets)).filter(|&(&o, &b)| o == b'\n' && b != b'\r').count();
            let name = message.name();
            assert!(name.size().is_none_or(|size| size == octets.len() as u64), "{name}");
            assert!(name.crlf_size().is_none_or(|size| size == (octets.len() + crlf) as u64), "{name}");
            sizes += usize::from(name.size().is_some());
        }
        assert_eq!(sizes > 0, has_sizes, "{archive}");
    }
}

#[test]
fn flags_of_messages_other_programs_stored_change_and_change_back_to_the_same_name() {
    for archive in ["dovecot/maildirpp-dovecot.tar", "courier/maildirpp-courier.tar", "laminas-mail.tar"] {
        let Some(scratch) = unpacked(archive) else { continue };
        let in_cur = |message: &Message| message.path().parent().is_some_and(|parent| parent.ends_with("cur"));
        for mut message in maildirs(scratch.path()).iter().flat_map(messages).filter(in_cur) {
            let before = message.name().clone();
            message.add_flags(Flag::keyword(25).unwrap().into()).unwrap();
            assert_ne!(message.name(), &before);
            message.remove_flags(Flag::keyword(25).unwrap().into()).unwrap();
            assert_eq!(message.name(), &before);
            assert!(message.path().is_file());
        }
    }
}
