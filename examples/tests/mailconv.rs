//! `mailconv` on files in a temporary directory.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const MAILCONV: &str = env!("CARGO_BIN_EXE_mailconv");

/// What a program left behind.
struct Ran {
    status: i32,
    out: String,
    err: String,
}

/// A directory to work in.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, octets: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, octets).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(MAILCONV);
        command.args(words).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        let output = self.command(words).output().unwrap();
        let text = |octets| String::from_utf8(octets).unwrap();
        Ran { status: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs it: it has to succeed, and to say nothing on standard error.
    fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{words:?}");
        ran.out
    }

    fn list(&self, words: &[&str]) -> Vec<Value> {
        let out = self.ok(&[&["list"], words].concat());
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What has to survive a conversion, of each message.
    fn messages(&self, words: &[&str]) -> Vec<[Value; 5]> {
        let of = |value: &Value| ["sha256", "len", "flags", "keywords", "uid"].map(|key| value[key].clone());
        self.list(words).iter().map(of).collect()
    }

    /// The findings of a check: what and where.
    fn findings(&self, path: &str) -> Vec<(String, Value)> {
        let ran = self.run(&["check", "--json", path]);
        let all: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((ran.status, ran.err.as_str()), (i32::from(!all.is_empty()), ""), "{path}");
        all.iter().map(|finding| (finding["what"].as_str().unwrap().to_owned(), finding["at"].clone())).collect()
    }

    /// The contents of a Maildir's files.
    fn contents(&self, maildir: &str) -> Vec<Vec<u8>> {
        let folders = ["cur", "new"].map(|folder| self.path(maildir).join(folder));
        let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let mut all: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
        all.sort();
        all
    }
}

fn sha256(octets: &[u8]) -> String {
    Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A mailbox with all that is to be kept.
const RICH: &[u8] = b"\
From anna@example.org Thu Jan  1 00:00:01 1970
Return-Path: <anna@example.org>
X-IMAPbase: 1700000000 0000000020 work
X-UID: 7
Status: RO
X-Status: AF
X-Keywords: work $Forwarded
Subject: one

>From me to you.
>>From the other.

From bert@example.org Fri Mar  1 10:11:12 2024
Return-Path: <bert@example.org>
X-UID: 9
Subject: two, new

no line end here: \xff

From - Sat Mar  2 10:11:12 2024
X-UID: 12
X-Status: TD
Status: O
Subject: three

";

#[test]
fn each_dialect_is_listed_as_its_writer_meant_it() {
    let site = Site::new();
    let line = "From a@b Thu Jan  1 00:00:00 1970\n";
    let meant = "Subject: x\n\nFrom me\n>From you\n>>From them\n";
    let rd = "Subject: x\n\n>From me\n>>From you\n>>>From them\n";
    let length = "Content-Length: 30\n";
    site.write("rd", format!("{line}{rd}\n{line}{rd}\n").as_bytes());
    site.write("cl2", format!("{line}{length}{meant}\n{line}{length}{meant}").as_bytes());
    site.write("plain", format!("{line}Subject: x\n\nhello\n").as_bytes());
    for (name, dialect, certainty, content) in [
        ("rd", "mboxrd", "likely", meant.to_owned()),
        ("cl2", "mboxcl2", "certain", format!("{length}{meant}")),
        ("plain", "mboxrd", "certain", "Subject: x\n\nhello\n".to_owned()),
    ] {
        for message in site.list(&[name]) {
            assert_eq!((&message["dialect"], &message["certainty"]), (&dialect.into(), &certainty.into()), "{name}");
            assert_eq!(message["sha256"], sha256(content.as_bytes()), "{name}");
            assert_eq!(message["len"], content.len(), "{name}");
        }
    }
    let given = site.list(&["--from-dialect", "mboxo", "rd"]);
    assert_eq!((&given[0]["dialect"], &given[0]["certainty"]), (&"mboxo".into(), &"given".into()));
    assert_eq!(given[0]["sha256"], sha256(b"Subject: x\n\nFrom me\n>>From you\n>>>From them\n"));
    assert_eq!((&given[1]["at"], &given[1]["why"]), (&(line.len() + rd.len() + 1).into(), &"line".into()));
    assert_eq!(site.ok(&["count", "rd"]), "2\n");
    assert_eq!(site.ok(&["count", "rd", "cl2", "plain"]), "2\trd\n2\tcl2\n1\tplain\n5\ttotal\n");
}

#[test]
fn flags_keywords_and_uids_are_listed_and_the_internal_message_is_not() {
    let site = Site::new();
    site.write("rich", RICH);
    let all = site.messages(&["rich"]);
    let expected = [
        (7, vec!["seen", "old", "answered", "flagged", "passed"], vec!["work"]),
        (9, vec![], vec![]),
        (12, vec!["old", "draft", "deleted"], vec![]),
    ];
    for ([.., flags, keywords, uid], (number, marks, words)) in all.iter().zip(expected) {
        assert_eq!((uid, flags, keywords), (&number.into(), &marks.into(), &words.into()));
    }
    let internal =
        b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\
        X-IMAP: 1700000000 0000000003\nStatus: RO\n\nThis text is part of the internal format.\n\n";
    let mozilla = b"From - Thu Jan  1 00:00:00 1970\nX-Mozilla-Status: 0005\nX-Mozilla-Status2: 00000000\nX-Mozilla-Keys: a\xff b\n\nx\n";
    site.write("odd", &[&internal[..], &mozilla[..]].concat());
    let all = site.list(&["odd"]);
    assert_eq!((all.len(), site.ok(&["count", "odd"]).as_str()), (1, "1\n"));
    assert_eq!(all[0]["flags"], serde_json::json!(["seen", "old", "flagged"]));
    assert_eq!(all[0]["keywords"], serde_json::json!([{ "base64": "Yf8=" }, "b"]));
    assert!(all[0].get("uid").is_none());
}

#[test]
fn a_mailbox_becomes_a_maildir_and_again_a_mailbox_and_nothing_is_lost() {
    let site = Site::new();
    site.write("rich", RICH);
    let report = site.ok(&["convert", "rich", "Maildir"]);
    assert!(report.starts_with("3 messages, "), "{report}");
    assert_eq!(site.messages(&["Maildir"]), site.messages(&["rich"]));
    assert_eq!(site.findings("Maildir"), []);
    let list = fs::read_to_string(site.path("Maildir/dovecot-uidlist")).unwrap();
    assert!(list.starts_with("3 V1700000000 N21 "), "{list}");
    let dates: Vec<_> = site.list(&["Maildir"]).iter().map(|message| message["date"].clone()).collect();
    assert_eq!(dates, [1, 1_709_287_872, 1_709_374_272]);
    assert_eq!(site.path("Maildir/new").read_dir().unwrap().count(), 1, "what nobody has seen is new");

    site.ok(&["convert", "Maildir", "again"]);
    assert_eq!(site.messages(&["again"]), site.messages(&["rich"]));
    let again = fs::read(site.path("again")).unwrap();
    let rich = RICH.escape_ascii().to_string();
    assert_eq!(again.escape_ascii().to_string(), rich.replace("From - ", "From MAILER-DAEMON "), "octet for octet");
    assert!(!site.path("again.mailconv").exists() && !site.path("Maildir.mailconv").exists());
}

#[test]
fn a_maildir_becomes_a_mailbox_of_each_dialect_and_again_a_maildir_octet_for_octet() {
    let site = Site::new();
    let messages: [&[u8]; 14] = [
        b"",
        b"all text\nStatus: R\nFrom me",
        b" From a folded line\nSubject: RO\n\nx\n",
        b">From you: no field\n",
        b"Subject: a\r\n\r\nFrom me\r\n>From you\r\n\r\n\r\n",
        b"Status: RO\nX-UID: 99\nX-IMAPbase: 5 6\nContent-Length: 1\n\nsomebody else's fields\n",
        b"Subject: no end",
        b"Subject: no end\n\nFrom here\nto there",
        b"Subject: a CR at the end\n\nx\r",
        b"X-Mailconv: 3\nStatus: O\n\nlooks like ours\n",
        b"Subject: NUL\n\n\0\xff\0\n\n\n",
        b"\nno header\n",
        b"Subject: header only\n",
        b"X-IMAP: 1 2\nSubject: DON'T DELETE THIS MESSAGE\n\nforged\n",
    ];
    for (number, message) in messages.iter().enumerate() {
        let flags = ["FS", "", "RST", "Sa", "P"][number % 5];
        site.write(&format!("m/cur/17000000{number:02}.M1P1.host:2,{flags}"), message);
    }
    site.write("m/dovecot-keywords", b"0 urgent\n");
    // Nothing has to be said of these, and yet they cannot be stored as they are.
    site.write("m/new/1800000001.M1P1.host", b"all text, and new\n");
    site.write("m/new/1800000002.M1P1.host", b"X-Mailconv: 0\n\nlooks like ours, and is new\n");
    fs::create_dir_all(site.path("m/tmp")).unwrap();
    let before = site.messages(&["m"]);
    for dialect in ["mboxrd", "mboxcl2", "mboxcl", "mboxo"] {
        let (file, back) = (format!("{dialect}.mbox"), format!("{dialect}.back"));
        let report = site.ok(&["convert", "--dialect", dialect, "m", &file]);
        assert_eq!(report.contains("`>From ` that readers"), ["mboxcl", "mboxo"].contains(&dialect), "{report}");
        if ["mboxrd", "mboxcl2"].contains(&dialect) {
            assert_eq!(site.messages(&["--from-dialect", dialect, &file]), before, "{dialect}");
            site.ok(&["convert", "--from-dialect", dialect, &file, &back]);
            assert_eq!(site.contents(&back), site.contents("m"), "{dialect}");
            assert_eq!(site.messages(&[&back]), before, "{dialect}");
            let whats: BTreeSet<_> = site.findings(&file).into_iter().map(|(what, _)| what).collect();
            assert!(whats.is_subset(&["nul", "mixed-line-ends"].map(str::to_owned).into()), "{dialect} {whats:?}");
        }
    }
}

#[test]
fn a_mailbox_of_any_dialect_becomes_one_of_any_other() {
    let site = Site::new();
    site.write("rich", RICH);
    let all = ["mboxrd", "mboxcl2"];
    for from in all {
        for to in all {
            let (one, two) = (format!("{from}-{to}.1"), format!("{from}-{to}.2"));
            site.ok(&["convert", "--from-dialect", "mboxrd", "--dialect", from, "rich", &one]);
            site.ok(&["convert", "--from-dialect", from, "--dialect", to, &one, &two]);
            assert_eq!(site.messages(&["--from-dialect", to, &two]), site.messages(&["rich"]), "{from} {to}");
        }
    }
    assert_eq!(fs::read(site.path("mboxrd-mboxrd.2")).unwrap(), RICH, "nothing to do, and nothing done");
    let lossy = site.run(&["convert", "--json", "--dialect", "mboxo", "rich", "o"]);
    let lines: Vec<Value> = lossy.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ambiguous = lines.iter().find(|line| line["note"] == "ambiguous").unwrap();
    assert_eq!((&ambiguous["at"], &ambiguous["count"]), (&"0".into(), &1.into()));
    assert_eq!(lines.last().unwrap()["lossless"], false);
}

#[test]
fn each_message_goes_into_a_file() {
    let site = Site::new();
    site.write("rich", RICH);
    assert_eq!(site.ok(&["split", "rich", "out"]), "3 messages\n");
    let files: Vec<_> = (1..=3).map(|number| fs::read(site.path(&format!("out/{number:06}.eml"))).unwrap()).collect();
    let hashes: Vec<_> = files.iter().map(|file| sha256(file)).collect();
    assert_eq!(
        hashes,
        site.list(&["rich"]).iter().map(|message| message["sha256"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    );
    let again = site.run(&["split", "rich", "out"]);
    assert_eq!(again.status, 74, "nothing is replaced: {}", again.err);
}

#[test]
fn damage_to_a_mailbox_is_found_where_it_is() {
    let site = Site::new();
    let line = "From a@b Thu Jan  1 00:00:00 1970\n";
    let one = format!("{line}Subject: x\n\nhello\n\n");
    let len = one.len();
    for (name, text, expected) in [
        ("clean", format!("{one}{one}"), vec![]),
        ("empty", String::new(), vec![]),
        ("mark", format!("\u{feff}{one}"), vec![("byte-order-mark", 0.into())]),
        ("junk", format!("junk\n\n{one}"), vec![("junk", 0.into())]),
        (
            "nuls",
            format!("{one}{line}\n\0\0\0x\0\n"),
            vec![("nul", (len + line.len() + 1).into()), ("nul", (len + line.len() + 5).into())],
        ),
        ("blank", format!("{line}Subject: x\n\nhello\n{one}"), vec![("no-blank-line", (len - 1).into())]),
        (
            "text",
            format!("{one}hello\nFrom a@b Thu Jan  1 00:00:00 1970\nhello\n"),
            vec![("taken-as-text", (len + 6).into())],
        ),
        ("length", format!("{line}Content-Length: 3\n\nhello\n\n{one}"), vec![("wrong-length", 0.into())]),
        ("mixed", format!("{one}{}", one.replace('\n', "\r\n")), vec![("mixed-line-ends", (len + line.len()).into())]),
        ("torn", format!("{one}{line}Content-Length: 99\n\nhello\n"), vec![("torn", len.into())]),
        ("cut", format!("{one}{line}Subject: x\n\nhel"), vec![("no-final-line-end", (len + line.len() + 15).into())]),
        (
            "header",
            format!("{one}{line}Subject: x"),
            vec![("torn", len.into()), ("no-final-line-end", (len + line.len() + 10).into())],
        ),
        ("uids", format!("{line}X-IMAPbase: 1 9\nX-UID: 3\n\n\n{line}X-UID: 3\n\n\n"), vec![("uids", Value::Null)]),
        ("other", "hello\n".to_owned(), vec![("no-mbox", Value::Null)]),
    ] {
        site.write(name, text.as_bytes());
        let found = site.findings(name);
        let expected: Vec<_> = expected.into_iter().map(|(what, at): (&str, Value)| (what.to_owned(), at)).collect();
        assert_eq!(found, expected, "{name}");
    }
    site.write("wide", &"\u{feff}From a\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    assert!(site.run(&["check", "wide"]).out.contains("UTF-16"));
    assert_eq!(site.run(&["check", "nowhere"]).status, 2);
    assert_eq!(site.run(&["list", "nowhere"]).status, 66);
    assert_eq!(site.run(&["list", "other"]).status, 65);
}

#[test]
fn damage_to_a_maildir_is_found_where_it_is_and_mended_in_a_copy() {
    let site = Site::new();
    for (name, octets) in [
        ("m/cur/1.M1P1.h,S=3,W=5:2,S", &b"a\nb"[..]),
        ("m/cur/2.M1P1.h,S=3,W=4:2,FS", b"a\nb"),
        ("m/new/2.M1P1.h,S=3,W=4", b"c\nd"),
        ("m/cur/3.M1P1.h:odd", b"odd"),
        ("m/cur/.hidden", b"hidden"),
        ("m/new/4.M1P1.h", b""),
        ("m/tmp/old", b"left"),
        ("m/tmp/young", b"being written"),
    ] {
        site.write(name, octets);
    }
    fs::create_dir(site.path("m/cur/folder")).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(37 * 60 * 60);
    File::options().write(true).open(site.path("m/tmp/old")).unwrap().set_modified(long_ago).unwrap();
    let found: BTreeSet<_> =
        site.findings("m").into_iter().map(|(what, at)| (what, at.as_str().unwrap_or("").to_owned())).collect();
    let expected = [
        ("duplicate", "new/2.M1P1.h,S=3,W=4"),
        ("empty", "new/4.M1P1.h"),
        ("left-in-tmp", "tmp/old"),
        ("not-a-file", "cur/folder"),
        ("odd-info", "cur/3.M1P1.h:odd"),
        ("unreadable-name", "cur/.hidden"),
        ("wrong-size", "cur/1.M1P1.h,S=3,W=5:2,S"),
    ];
    assert_eq!(found, expected.into_iter().map(|(what, at)| (what.to_owned(), at.to_owned())).collect());

    let before = tree(&site.path("m"));
    let ran = site.run(&["check", "--repair", "mended", "m"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, ""), "something was found");
    assert!(ran.out.ends_with("mended: 6 messages; mended.lost: 4 octets that belong to none\n"), "{}", ran.out);
    assert_eq!(tree(&site.path("m")), before, "the original is as it was");
    assert_eq!(site.contents("mended"), [&b""[..], b"a\nb", b"a\nb", b"c\nd", b"hidden", b"odd"]);
    assert_eq!(site.findings("mended").iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>(), ["empty"]);
    assert_eq!(fs::read(site.path("mended.lost/old")).unwrap(), b"left");
    fs::remove_dir_all(site.path("m/tmp")).unwrap();
    assert!(site.findings("m").iter().any(|(what, _)| what == "missing-directory"));
}

/// All files below a directory.
fn tree(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(tree(&path)),
            false => all.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    all.sort();
    all
}

#[test]
fn a_mended_mailbox_has_all_octets_and_nothing_to_find() {
    let site = Site::new();
    let line = "From a@b Thu Jan  1 00:00:00 1970\n";
    let text = format!(
        "\u{feff}junk\n{line}Content-Length: 3\nSubject: 1\n\nhello\n>From me\n{line}Subject: 2\n\nFrom b@c Thu Jan  1 00:00:00 1970\n\nend"
    );
    site.write("broken", text.as_bytes());
    assert!(!site.findings("broken").is_empty());
    let ran = site.run(&["check", "--repair", "mended", "broken"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, ""), "{}", ran.out);
    assert_eq!(fs::read(site.path("broken")).unwrap(), text.as_bytes());
    assert_eq!(fs::read(site.path("mended.lost")).unwrap(), "\u{feff}junk\n".as_bytes());
    assert_eq!(site.findings("mended"), []);
    let parts = |name: &str| site.list(&[name]).iter().map(|message| message["sha256"].clone()).collect::<Vec<_>>();
    assert_eq!(parts("mended"), parts("broken"));
    let again = site.run(&["check", "--repair", "mended", "broken"]);
    assert_eq!(again.status, 2, "nothing is replaced");
}

/// A mailbox of so many messages of about 10 KiB, with UIDs.
fn large(messages: usize) -> Vec<u8> {
    let body = "0123456789 From here on\n>From there\n".repeat(280);
    let mut all = Vec::new();
    for number in 1..=messages {
        let base = if number == 1 { format!("X-IMAPbase: 1700000000 {messages:010}\n") } else { String::new() };
        let header = format!(
            "From a@b Thu Jan  1 00:00:00 1970\nReturn-Path: <a@b>\n{base}X-UID: {number}\nStatus: O\nSubject: {number}\n\n"
        );
        all.extend([header.as_bytes(), body.as_bytes(), b"\n"].concat());
    }
    all
}

/// How many messages the state file says are done.
fn done(state: &Path) -> u64 {
    let state: Option<Value> = fs::read(state).ok().and_then(|octets| serde_json::from_slice(&octets).ok());
    state.and_then(|state| state["folders"][0]["done"].as_u64()).unwrap_or(0)
}

/// Runs a conversion and kills it each time when more is done than the time before. How often.
fn interrupted(site: &Site, words: &[&str], target: &str) -> usize {
    let state = format!("{target}.mailconv");
    for count in 0.. {
        let before = done(&site.path(&state));
        let mut child = site.command(words).stdout(Stdio::null()).spawn().unwrap();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if done(&site.path(&state)) > before {
                // Some more is done, and nobody knows how much.
                std::thread::sleep(Duration::from_millis(count as u64 * 7 % 30));
                child.kill().unwrap();
                child.wait().unwrap();
                if !site.path(&state).exists() {
                    // That was too late: all was done and told.
                    return count;
                }
                // As if more had been written than the state says.
                if let Ok(mut part) = File::options().append(true).open(site.path(&format!("{target}.mailconv-part"))) {
                    part.write_all(b"From nobody Thu Jan  1 00:00:00 1970\ntorn").unwrap();
                }
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        if let Some(status) = status {
            assert!(status.success());
            return count;
        }
    }
    unreachable!("it ends")
}

#[test]
fn what_was_killed_is_gone_on_with_and_nothing_is_doubled_or_lost() {
    let site = Site::new();
    site.write("large", &large(1_200));
    let before = site.messages(&["large"]);
    let times = interrupted(&site, &["convert", "large", "Maildir"], "Maildir");
    assert!(times >= 2, "killed {times} times");
    assert_eq!(site.messages(&["Maildir"]), before);
    assert!(!site.path("Maildir.mailconv").exists());

    let times = interrupted(&site, &["convert", "Maildir", "again"], "again");
    assert!(times >= 1, "killed {times} times");
    assert!(fs::read(site.path("again")).unwrap() == fs::read(site.path("large")).unwrap(), "octet for octet");
    assert_eq!(fs::read_dir(site.0.path()).unwrap().count(), 3, "nothing is left beside");
}

#[test]
fn a_state_that_is_behind_what_was_done_doubles_nothing() {
    let site = Site::new();
    site.write("large", &large(900));
    let state = site.path("m.mailconv");
    let mut child = site.command(&["convert", "large", "m"]).stdout(Stdio::null()).spawn().unwrap();
    while done(&state) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // As if it had been killed after the messages were delivered, and before it could say so.
    let mut behind: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    behind["folders"][0]["done"] = 3.into();
    behind["folders"][0]["totals"]["messages"] = 3.into();
    fs::write(&state, behind.to_string()).unwrap();
    let job = behind["folders"][0]["job"].as_str().unwrap();
    site.write(&format!("m/tmp/1700000000.M1P1.mailconv-{job}-899"), b"half a mess");
    assert!(site.contents("m").len() >= 256);
    assert!(site.ok(&["convert", "large", "m"]).starts_with("900 messages, "));
    assert_eq!(site.messages(&["m"]), site.messages(&["large"]));
    assert_eq!(site.path("m/tmp").read_dir().unwrap().count(), 0, "what was being written is gone");
}

#[test]
fn one_run_at_a_time_is_at_work_on_a_target_and_a_locked_mailbox_is_waited_for() {
    let site = Site::new();
    site.write("large", &large(600));
    let mut child = site.command(&["convert", "large", "m"]).stdout(Stdio::null()).spawn().unwrap();
    while done(&site.path("m.mailconv")) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let other = site.run(&["convert", "large", "m"]);
    assert!(other.status == 75 || !site.path("m.mailconv").exists(), "{} {}", other.status, other.err);
    assert!(child.wait().unwrap().success());

    let lock = postrider_mbox::Mbox::open(site.path("large")).unwrap().lock(postrider_mbox::Access::Write).unwrap();
    let mut waiting = site.command(&["convert", "large", "n"]).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(waiting.try_wait().unwrap(), None);
    assert!(!site.path("n").exists(), "it waits before it makes anything");
    drop(lock);
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn what_changed_meanwhile_is_not_gone_on_with_but_begun_anew() {
    let site = Site::new();
    site.write("large", &large(600));
    let mut child = site.command(&["convert", "large", "m"]).stdout(Stdio::null()).spawn().unwrap();
    while done(&site.path("m.mailconv")) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    site.write("large", &large(601));
    let refused = site.run(&["convert", "large", "m"]);
    assert_eq!(refused.status, 73, "{}", refused.err);
    site.ok(&["convert", "--restart", "large", "m"]);
    assert_eq!(site.messages(&["m"]), site.messages(&["large"]));
    let full = site.run(&["convert", "large", "m"]);
    assert_eq!(full.status, 73, "a Maildir with messages is not added to: {}", full.err);
}

#[test]
fn trees_of_mailboxes_become_trees_of_maildirs_and_again_mailboxes() {
    let site = Site::new();
    for name in ["Inbox", "Inbox.sbd/lists.sbd/rust", "lists/nested/deep", "Tom & J\u{e4}rry", "empty"] {
        site.write(&format!("tree/{name}"), if name == "empty" { b"" } else { RICH });
    }
    site.write("tree/Inbox.msf", b"// <!-- <mdb:mork:z v=\"1.4\"/> -->");
    site.write("tree/notes.txt", b"no mail");
    let ran = site.run(&["convert", "--json", "tree", "mail"]);
    assert_eq!((ran.status, ran.err.as_str()), (65, ""), "a file was left out: {}", ran.out);
    let sum: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    assert_eq!((&sum["messages"], &sum["folders"], &sum["notes"]["skipped"]), (&12.into(), &5.into(), &1.into()));
    for folder in ["", ".Inbox.lists.rust", ".lists.nested.deep", ".Tom &- J&AOQ-rry", ".empty"] {
        let path = format!("mail/{folder}");
        let count = if folder == ".empty" { 0 } else { 3 };
        assert_eq!(site.messages(&[&path]).len(), count, "{folder}");
        assert_eq!(site.path(&path).join("maildirfolder").exists(), !folder.is_empty(), "{folder}");
    }
    site.ok(&["convert", "mail", "back"]);
    for file in ["INBOX", "Inbox/lists/rust", "lists/nested/deep", "Tom & J\u{e4}rry", "empty"] {
        let path = format!("back/{file}");
        assert_eq!(fs::metadata(site.path(&path)).unwrap().len() > 0, file != "empty", "{file}");
    }
    assert_eq!(site.messages(&["back/lists/nested/deep"]), site.messages(&["tree/lists/nested/deep"]));
    assert_eq!(site.ok(&["count", "back"]), "12\n");
    site.run(&["convert", "--layout", "fs", "tree", "plain"]);
    assert_eq!(site.messages(&["plain/lists/nested/deep"]).len(), 3);
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    let site = Site::new();
    site.write("rich", RICH);
    for words in [
        &["list"][..],
        &["list", "a", "b"],
        &["frobnicate", "a"],
        &["list", "--json", "a"],
        &["convert", "a"],
        &[],
        &["convert", "--to", "maildir", "--dialect", "mboxo", "a", "b"],
    ] {
        let ran = site.run(words);
        assert_eq!((ran.status, ran.out.as_str()), (64, ""), "{words:?}");
        assert!(ran.err.starts_with("mailconv: ") && ran.err.ends_with("; try --help\n"), "{}", ran.err);
    }
    site.write("there", b"");
    assert_eq!(site.run(&["convert", "--to", "mbox", "rich", "there"]).status, 73);
    assert_eq!(fs::read(site.path("there")).unwrap(), b"");
    assert!(site.ok(&["--help"]).starts_with("usage: mailconv list"));
}

#[test]
fn names_that_are_no_text_are_listed_without_loss() {
    let site = Site::new();
    site.write("m/new/x", b"");
    for folder in ["m/cur", "m/tmp"] {
        fs::create_dir(site.path(folder)).unwrap();
    }
    fs::rename(site.path("m/new/x"), site.path("m/new").join(std::ffi::OsStr::from_bytes(b"1.\xff.h"))).unwrap();
    assert_eq!(site.list(&["m"])[0]["at"], serde_json::json!({ "base64": "MS7/Lmg=" }));
}

/// Lines that mean something to this program, and parts of lines.
const PIECES: [&[u8]; 18] = [
    b"From a@b Thu Jan  1 00:00:00 1970\n",
    b"From \n",
    b"\n",
    b"\r\n",
    b">From x\n",
    b"From x\n",
    b"Content-Length: 9\n",
    b"Status: RO\n",
    b"X-UID: 3\n",
    b"X-IMAPbase: 1 5\n",
    b"X-IMAP: 1 2\n",
    b"Subject: DON'T DELETE THIS MESSAGE\n",
    b"X-Mailconv: 2 unended\n",
    b"X-Mailconv-Was-Status: R\n",
    b"\0\xff",
    b"\xef\xbb\xbf",
    b"x",
    b"Subject: x\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever a file holds, it is refused or listed, and what is listed survives.
    #[test]
    fn any_octets_are_read_without_harm_and_what_is_found_is_kept(
        pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..24),
    ) {
        let site = Site::new();
        site.write("any", &[b"From a@b Thu Jan  1 00:00:00 1970\n", pieces.concat().as_slice()].concat());
        site.write("odd", &pieces.concat());
        for words in [&["list", "odd"][..], &["check", "odd"], &["count", "odd"]] {
            prop_assert!([0, 1, 65].contains(&site.run(words).status));
        }
        let converted = site.run(&["convert", "any", "m"]);
        prop_assert_eq!(converted.status == 65, converted.out.contains("left out") || !converted.err.is_empty(), "{}", converted.err);
        if !converted.err.is_empty() {
            // No message begins there.
            return Ok(());
        }
        let before = site.messages(&["any"]);
        let kept = |all: Vec<[Value; 5]>| all.into_iter().map(|[sha256, len, ..]| [sha256, len]).collect::<Vec<_>>();
        prop_assert_eq!(kept(site.messages(&["m"])), kept(before.clone()));
        for dialect in ["mboxrd", "mboxcl2"] {
            site.ok(&["convert", "--dialect", dialect, "m", dialect]);
            prop_assert_eq!(kept(site.messages(&["--from-dialect", dialect, dialect])), kept(before.clone()), "{}", dialect);
        }
    }
}
