//! Keywords and UIDVALIDITY beside the mail.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use postrider_maildir::{Error, Flag, KeywordError, Keywords, Maildir, UidListError};
use proptest::prelude::*;

fn maildir(scratch: &tempfile::TempDir) -> Maildir {
    Maildir::create(scratch.path().join("m")).unwrap()
}

fn letters(keywords: &Keywords) -> Vec<(char, String)> {
    let shown = |(letter, name): (Flag, &[u8])| (char::from(letter.octet()), name.escape_ascii().to_string());
    keywords.iter().map(shown).collect()
}

#[test]
fn lines_give_letters_a_meaning_and_all_others_are_kept() {
    let octets = "2 work\n0 $Forwarded\n0 again\n1 WORK\n26 beyond\n30 \n4294967296 far\n-1 x\nx y\n3\n3 \n\n4 two words\n5 torn";
    let keywords = Keywords::parse(octets.as_bytes());
    assert_eq!(letters(&keywords), [('a', "$Forwarded".to_owned()), ('c', "work".to_owned())]);
    assert_eq!(keywords.flag(b"Work"), Flag::keyword(2));
    assert_eq!((keywords.flag(b"torn"), keywords.flag(b"")), (None, None));
    assert_eq!(keywords.without_letter().collect::<Vec<_>>(), [&b"beyond"[..], b"far"]);
    let kept = "0 again\n1 WORK\n26 beyond\n30 \n4294967296 far\n-1 x\nx y\n3\n3 \n\n4 two words\n";
    assert_eq!(keywords.to_octets(), format!("0 $Forwarded\n2 work\n{kept}").into_bytes());
}

#[test]
fn a_27th_keyword_is_refused_and_those_before_stay() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    for number in 0..26 {
        let letter = maildir.add_keyword(format!("k{number}").as_bytes()).unwrap();
        assert_eq!(letter.keyword_number(), Some(number));
    }
    let before = fs::read(maildir.path().join("dovecot-keywords")).unwrap();
    let error = maildir.add_keyword(b"one too many").unwrap_err();
    assert!(matches!(error, Error::Keyword { source: KeywordError::Name, .. }), "{error}");
    let error = maildir.add_keyword(b"toomany").unwrap_err();
    assert!(matches!(error, Error::Keyword { source: KeywordError::NoLetter, .. }), "{error}");
    assert!(error.to_string().ends_with("/m/dovecot-keywords\": all 26 letters are taken"), "{error}");
    assert_eq!(maildir.add_keyword(b"K7").unwrap(), Flag::keyword(7).unwrap());
    assert_eq!(fs::read(maildir.path().join("dovecot-keywords")).unwrap(), before);
    assert!(!maildir.path().join("dovecot-keywords.lock").exists());
}

#[test]
fn keywords_that_could_break_the_file_are_refused() {
    for name in [&b""[..], b"a b", b"a\nb", b"a\0", b"\t", b"a\x7f"] {
        assert_eq!(Keywords::default().add(name), Err(KeywordError::Name));
    }
    assert_eq!(Keywords::default().add("größe".as_bytes()), Ok(Flag::keyword(0).unwrap()));
}

#[test]
fn a_million_lines_of_garbage_are_kept_in_linear_time() {
    let start = std::time::Instant::now();
    for line in [&b"\n"[..], b"0 a\n", b"99 b\n", b"x\n"] {
        let octets = line.repeat(250_000);
        let keywords = Keywords::parse(&octets);
        assert_eq!(keywords.to_octets().len(), octets.len());
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}

fn markers(path: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("dovecot-uidvalidity")).collect()
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn a_uidvalidity_is_one_more_than_the_greatest_there_was() {
    for (before, drawn) in [
        (&[("dovecot-uidvalidity", "0000000a"), ("dovecot-uidvalidity.0000000a", "")][..], 11),
        (&[("dovecot-uidvalidity", "0000000a"), ("dovecot-uidvalidity.0000000f", "")], 16),
        (&[("dovecot-uidvalidity", "0000000a\n"), ("dovecot-uidvalidity.00000003", "")], 11),
        (
            &[
                ("dovecot-uidvalidity", "garbage!"),
                ("dovecot-uidvalidity.00000003", ""),
                ("dovecot-uidvalidity.00000009", ""),
            ],
            10,
        ),
        (&[("dovecot-uidvalidity", "0000000a")], 11),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = maildir(&scratch);
        before.iter().for_each(|(name, octets)| fs::write(maildir.path().join(name), octets).unwrap());
        assert_eq!(maildir.next_uid_validity().unwrap(), drawn, "{before:?}");
        let marker = format!("dovecot-uidvalidity.{drawn:08x}");
        assert_eq!(markers(maildir.path()), names(&["dovecot-uidvalidity", &marker]), "{before:?}");
        assert_eq!(fs::read_to_string(maildir.path().join("dovecot-uidvalidity")).unwrap(), format!("{drawn:08x}"));
    }
}

#[test]
fn the_first_uidvalidity_is_the_time_and_the_last_one_the_end() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    for name in [
        "dovecot-uidvalidity.00000000",
        "dovecot-uidvalidity.1",
        "dovecot-uidvalidity.+0000001",
        "dovecot-uidvalidity.FFFFFFFF",
        "dovecot-uidvalidity.tmp",
    ] {
        fs::write(maildir.path().join(name), "").unwrap();
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let drawn = maildir.next_uid_validity().unwrap();
    assert!((now..now + 60).contains(&drawn.into()));
    fs::write(maildir.path().join("dovecot-uidvalidity.ffffffff"), "").unwrap();
    let error = maildir.next_uid_validity().unwrap_err();
    assert!(matches!(error, Error::UidList { source: UidListError::Exhausted, .. }), "{error}");
}

#[test]
fn a_folder_draws_from_the_maildir_above() {
    let scratch = tempfile::tempdir().unwrap();
    let inbox = maildir(&scratch);
    let folder = Maildir::create(inbox.path().join(".Sent")).unwrap();
    fs::write(folder.path().join("maildirfolder"), "").unwrap();
    let first = inbox.next_uid_validity().unwrap();
    assert_eq!(folder.next_uid_validity().unwrap(), first + 1);
    assert!(markers(folder.path()).is_empty());
}

#[test]
fn threads_that_draw_at_once_draw_different_numbers() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = maildir(&scratch);
    let drawn = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..20).map(|_| maildir.next_uid_validity().unwrap()).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), drawn.len());
}

proptest! {
    #[test]
    fn keywords_written_read_the_same(octets in "([0-9]{1,2} [a-z$]{1,6}\n|[ -~]{0,8}\n){0,40}") {
        let keywords = Keywords::parse(octets.as_bytes());
        let written = keywords.to_octets();
        prop_assert_eq!(Keywords::parse(&written).to_octets(), written);
        prop_assert_eq!(Keywords::parse(&keywords.to_octets()), keywords);
    }
}
