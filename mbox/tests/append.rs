//! What is appended is what is read.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test, also in the functions that the tests share")]

use std::fs::{self, File, FileTimes};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postrider_mbox::{
    Access, Appended, Dialect, Envelope, Error, Event, Length, LineEnd, Mbox, Options, Policy, Reader, Storing,
    Unquoter,
};
use proptest::prelude::*;

const ALL: [Dialect; 4] = [Dialect::Mboxo, Dialect::Mboxrd, Dialect::Mboxcl, Dialect::Mboxcl2];

fn envelope() -> Envelope {
    Envelope::new("a@b", UNIX_EPOCH + Duration::from_secs(7))
}

const LINE: &str = "From a@b Thu Jan  1 00:00:07 1970\n";

fn append(path: &Path, storing: impl Into<Storing>, content: &[u8]) -> Appended {
    Mbox::create(path).unwrap().lock(Access::Write).unwrap().append(&envelope(), storing, content).unwrap()
}

/// The file after `content` was appended to `before`.
fn appended(before: &str, storing: impl Into<Storing>, content: &str) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("mbox");
    fs::write(&path, before).unwrap();
    let appended = append(&path, storing, content.as_bytes());
    let after = fs::read_to_string(&path).unwrap();
    let at = usize::try_from(appended.at).unwrap();
    assert!(after[at..].starts_with("From a@b ") && after[..at].starts_with(before));
    let end = at + usize::try_from(appended.len).unwrap();
    assert!(["\n", "\r\n"].contains(&&after[end..]), "{:?}", &after[end..]);
    after
}

/// The contents of the messages in a file as they were before they were put there, and what their lengths were worth.
fn contents(path: &Path, dialect: Dialect) -> Vec<(Vec<u8>, Length)> {
    let mut reader = Reader::new(File::open(path).unwrap(), Policy::Evidence);
    let mut all: Vec<(Vec<u8>, Length)> = Vec::new();
    while let Some(event) = reader.next().unwrap() {
        match event {
            Event::Start { .. } => all.push((Vec::new(), Length::Absent)),
            Event::Content(octets) => all.last_mut().unwrap().0.extend_from_slice(octets),
            Event::End(end) => all.last_mut().unwrap().1 = end.length,
            Event::Junk(octets) => panic!("junk: {} octets", octets.len()),
            Event::Doubt(_) => {}
        }
    }
    all.into_iter().map(|(content, length)| (unquote(&content, dialect), length)).collect()
}

fn unquote(content: &[u8], dialect: Dialect) -> Vec<u8> {
    let (mut unquoter, mut rest, mut out) = (Unquoter::new(dialect), content, Vec::new());
    while let Some(piece) = unquoter.next(rest, true) {
        out.extend_from_slice(piece.octets);
        rest = &rest[piece.consumed..];
    }
    out
}

/// Length of the header section without the blank line; `None`: there is no blank line.
fn header_len(content: &[u8]) -> Option<usize> {
    let mut at = 0;
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        if line == b"\n" || line == b"\r\n" {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// What is said to be stored of a content: fields that go, `From ` in a header of mboxcl2, a blank line before a text, the line end at the end.
/// And whether it has a body.
fn expected(content: &[u8], dialect: Dialect) -> (Vec<u8>, bool) {
    let header = header_len(content).unwrap_or(content.len());
    let (mut out, mut kept, mut at) = (Vec::new(), true, 0);
    for line in content[..header].split_inclusive(|octet| *octet == b'\n') {
        let name = line.split(|octet| *octet == b':').next().filter(|name| name.len() < line.len());
        let name = name.map(|name| name.trim_ascii_end().to_ascii_lowercase());
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            kept = name.as_ref().is_none_or(|name| name != b"status" && name != b"content-length");
        }
        let is_field = line.starts_with(b"From ")
            || name.is_some_and(|name| (1..78).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic));
        if kept && out.is_empty() && !is_field {
            out.push(b'\n');
            break;
        }
        if kept {
            if dialect == Dialect::Mboxcl2 && line.starts_with(b"From ") {
                out.push(b'>');
            }
            out.extend_from_slice(line);
        }
        at += line.len();
    }
    out.extend_from_slice(&content[at..]);
    let has_body = header_len(&out).is_some();
    if out.last().is_some_and(|octet| *octet != b'\n') {
        out.push(b'\n');
    }
    (out, has_body)
}

/// Without the field that mboxcl2 has put at the end of the header.
fn without_length(content: &[u8]) -> Vec<u8> {
    let mut lines: Vec<_> = content.split_inclusive(|octet| *octet == b'\n').collect();
    let blank = lines.iter().position(|line| *line == b"\n" || *line == b"\r\n");
    if let Some(at) = blank.filter(|at| *at > 0 && lines[at - 1].starts_with(b"Content-Length: ")) {
        lines.remove(at - 1);
    }
    lines.concat()
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"From ".to_vec()),
        Just(b"From a@b Thu Jan  1 00:00:00 1970\n".to_vec()),
        Just(b">From ".to_vec()),
        Just(b">>".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"Subject: x\n".to_vec()),
        Just(b"Status: RO\n".to_vec()),
        Just(b"Content-Length: 3\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..30),
        (0..3_usize).prop_map(|size| vec![b'y'; size * 40_000]),
    ]
}

proptest! {
    #[test]
    fn what_was_appended_is_read_again_octet_for_octet(
        all in proptest::collection::vec(proptest::collection::vec(piece(), 0..12), 1..4),
    ) {
        let all: Vec<_> = all.iter().map(|pieces| pieces.concat()).collect();
        for dialect in [Dialect::Mboxrd, Dialect::Mboxcl2] {
            let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
            let path = scratch.path().join("mbox");
            all.iter().for_each(|content| { append(&path, dialect, content); });
            let found = contents(&path, dialect);
            prop_assert_eq!(found.len(), all.len());
            for ((found, length), content) in found.iter().zip(&all) {
                let (expected, has_body) = expected(content, dialect);
                let has_length = dialect == Dialect::Mboxcl2 && has_body;
                prop_assert_eq!(*length, if has_length { Length::Right } else { Length::Absent });
                let found = if has_length { without_length(found) } else { found.clone() };
                prop_assert!(found == expected, "{:.300?}\n{:.300?}", String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected));
            }
        }
    }
}

#[test]
fn each_dialect_is_written_as_its_readers_want_it() {
    let content = "Subject: x\n\nFrom me\n>From you\n";
    let line = |quoted: &str, length: &str| format!("{LINE}Subject: x\n{length}\n{quoted}\n");
    assert_eq!(appended("", Dialect::Mboxo, content), line(">From me\n>From you\n", ""));
    assert_eq!(appended("", Dialect::Mboxrd, content), line(">From me\n>>From you\n", ""));
    assert_eq!(appended("", Dialect::Mboxcl, content), line(">From me\n>From you\n", "Content-Length: 19\n"));
    assert_eq!(appended("", Dialect::Mboxcl2, content), line("From me\n>From you\n", "Content-Length: 18\n"));
}

#[test]
fn lengths_are_right_whatever_the_length() {
    for size in [0, 1, 60_000, 65_536, 70_000, 1_000_000] {
        for dialect in [Dialect::Mboxcl, Dialect::Mboxcl2] {
            let body = "From x\n".repeat(size / 7);
            let file = appended("", dialect, &format!("A: b\n\n{body}"));
            let (header, stored) = file.split_once("\n\n").unwrap();
            let (_, length) = header.split_once("Content-Length: ").unwrap();
            assert_eq!(length.trim_end().parse(), Ok(stored.len() - 1));
            assert_eq!(
                length.ends_with(' '),
                stored.len() > 65_000,
                "padded only where it was written before it was known"
            );
        }
    }
    // What has no body has no length to say.
    assert_eq!(appended("", Dialect::Mboxcl2, "A: b"), format!("{LINE}A: b\n\n"));
    assert_eq!(appended("", Dialect::Mboxcl2, ""), format!("{LINE}\n"));
}

#[test]
fn a_blank_line_parts_the_message_from_whatever_was_there() {
    for dialect in ALL {
        let message = appended("", dialect, "S: 2\n\ny\n");
        for (before, missing) in [
            (format!("{LINE}S: 1\n\nx\n\n"), ""),
            (format!("{LINE}S: 1\n\nx\n"), "\n"),
            (format!("{LINE}S: 1\n\nhalf a mess"), "\n\n"),
            ("\n".to_owned(), ""),
        ] {
            assert_eq!(appended(&before, dialect, "S: 2\n\ny\n"), format!("{before}{missing}{message}"));
        }
    }
}

#[test]
fn half_a_message_does_not_swallow_the_next() {
    for half in ["S: half", "S: half\n\nhalf a mess", "S: 1\nContent-Length: 500\n\nhalf", "S: 1\n\n\0\0\0\0"] {
        for dialect in ALL {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("mbox");
            fs::write(&path, format!("{LINE}S: 0\n\nfirst\n\n{LINE}{half}")).unwrap();
            append(&path, dialect, b"S: 2\n\nlast\n");
            let all = contents(&path, dialect);
            assert_eq!(all.len(), 3, "{half:?}");
            assert_eq!(without_length(&all[2].0), b"S: 2\n\nlast\n");
        }
    }
}

#[test]
fn what_a_sender_says_of_the_mailbox_is_not_stored() {
    let forged =
        "Status: RO\nX-Status: D\nX-Keywords: a\n b\nX-UID: 99\nX-IMAPbase: 1 99\nX-IMAP: 2 99\nContent-Length: 1\n";
    let content = format!("From: a\n{forged}Subject: x\n\nStatus: text\n");
    for dialect in [Dialect::Mboxo, Dialect::Mboxrd] {
        assert_eq!(appended("", dialect, &content), format!("{LINE}From: a\nSubject: x\n\nStatus: text\n\n"));
        let mut own = Storing::from(dialect);
        own.keeps_metadata = true;
        let kept = forged.replace("Content-Length: 1\n", "");
        assert_eq!(appended("", own, &content), format!("{LINE}From: a\n{kept}Subject: x\n\nStatus: text\n\n"));
    }
    assert_eq!(
        appended("", Dialect::Mboxcl2, &content),
        format!("{LINE}From: a\nSubject: x\nContent-Length: 13\n\nStatus: text\n\n")
    );
}

#[test]
fn no_header_line_forges_a_message() {
    for dialect in ALL {
        let content = format!("S: 1\n{LINE}S: forged\nStatus: R\n\nx\n");
        let file = appended("", dialect, &content);
        assert!(file.contains(&format!("S: 1\n>{LINE}S: forged\n")));
    }
}

#[test]
fn line_ends_are_those_of_the_file() {
    let before = format!("{LINE}S: 1\n\nx\n").replace('\n', "\r\n");
    for (content, converts) in [("S: 2\r\n\r\ny\r\n", false), ("S: 2\n\ny\n", true), ("S: 2\r\n\n\ny\r\n", true)] {
        let mut storing = Storing::from(Dialect::Mboxcl2);
        storing.converts_line_ends = converts;
        let after = appended(&before, storing, content);
        assert!(!after.replace("\r\n", "").contains('\n'), "{after:?}");
        assert!(after.starts_with(&format!("{before}\r\nFrom ")));
    }
    let mut storing = Storing::from(Dialect::Mboxcl2);
    storing.converts_line_ends = true;
    assert_eq!(
        appended("", storing, "S: 2\r\n\r\ny\r\n"),
        format!("{LINE}S: 2\nContent-Length: 2\n\ny\n\n"),
        "the length is that of what is stored"
    );
    let scratch = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.line_end = LineEnd::Crlf;
    let mbox = Mbox::create_with(scratch.path().join("mbox"), options).unwrap();
    mbox.lock(Access::Write).unwrap().append(&envelope(), storing, &b"S: x\n\ny"[..]).unwrap();
    assert_eq!(
        fs::read_to_string(mbox.path()).unwrap(),
        format!("{LINE}S: x\nContent-Length: 3\n\ny\n\n").replace('\n', "\r\n")
    );
}

#[test]
fn a_missing_line_end_is_added_and_said() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("mbox");
    for dialect in ALL {
        assert!(!append(&path, dialect, b"S: x\n").blank_line_added);
        assert!(append(&path, dialect, b"x\n").blank_line_added);
        assert!(append(&path, dialect, b"S: x\n\ny").line_end_added);
        assert!(append(&path, dialect, b"S: x").line_end_added);
        assert!(!append(&path, dialect, b"S: x\n\ny\n").line_end_added);
        assert!(!append(&path, dialect, b"").line_end_added);
        assert!(!append(&path, dialect, b"Status: R").line_end_added);
    }
}

/// Gives some octets, and then fails, or panics.
struct Breaks<'a>(&'a [u8], bool);

impl Read for Breaks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if self.1 => panic!("the source is broken"),
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            len => Ok(len),
        }
    }
}

#[test]
fn a_source_that_fails_leaves_the_file_as_it_was() {
    let content = format!("S: x\n\n{}", "y".repeat(300_000));
    for panics in [false, true] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("mbox");
        let before = format!("{LINE}S: 1\n\nx\n");
        fs::write(&path, &before).unwrap();
        let mbox = Mbox::open(&path).unwrap();
        let result = std::panic::catch_unwind(|| {
            let mut locked = mbox.lock(Access::Write).unwrap();
            locked.append(&envelope(), Dialect::Mboxrd, Breaks(content.as_bytes(), panics))
        });
        match result {
            Ok(appended) => assert!(!panics && matches!(appended, Err(Error::Source { .. }))),
            Err(_) => assert!(panics),
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        assert!(fs::read_dir(scratch.path()).unwrap().count() == 1, "no lock is left");
        let both = [&b"S: 2\n\nz\n"[..], content.as_bytes()].map(|content| Breaks(content, false));
        let envelope = envelope();
        let all = mbox.lock(Access::Write).unwrap().append_all(Dialect::Mboxrd, both.map(|both| (&envelope, both)));
        assert!(all.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }
}

#[test]
fn new_mail_is_told_by_the_times_of_the_file() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("mbox");
    append(&path, Dialect::Mboxrd, b"S: 1\n\nx\n");
    let times = || {
        let metadata = fs::metadata(&path).unwrap();
        (metadata.accessed().unwrap(), metadata.modified().unwrap())
    };
    let second = Duration::from_secs(1);
    let is_new = |(accessed, modified)| accessed + second <= modified;
    assert!(is_new(times()));
    let now = SystemTime::now();
    // Read a moment ago; not read for long; read by somebody whose clock is ahead.
    for accessed in [now, now - Duration::from_secs(9_000), now + Duration::from_secs(9_000)] {
        let times_before = FileTimes::new().set_accessed(accessed).set_modified(now - Duration::from_secs(5_000));
        File::options().write(true).open(&path).unwrap().set_times(times_before).unwrap();
        append(&path, Dialect::Mboxrd, b"S: 2\n\ny\n");
        assert!(is_new(times()), "{:?}", times());
        assert!(times().0 <= accessed, "it was not read meanwhile");
    }
}

#[test]
fn a_mailbox_that_is_locked_for_reading_is_not_changed() {
    let scratch = tempfile::tempdir().unwrap();
    let mbox = Mbox::create(scratch.path().join("mbox")).unwrap();
    let mut locked = mbox.lock(Access::Read).unwrap();
    let error = locked.append(&envelope(), Dialect::Mboxrd, &b"S: x\n\n"[..]).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }));
    assert_eq!(fs::metadata(mbox.path()).unwrap().len(), 0);
}

#[test]
fn many_messages_are_appended_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let mbox = Mbox::create(scratch.path().join("mbox")).unwrap();
    let envelope = envelope();
    let contents_in: Vec<_> = (0..100).map(|number| format!("S: {number}\n\nFrom {number}\n")).collect();
    let messages = contents_in.iter().map(|content| (&envelope, content.as_bytes()));
    let all = mbox.lock(Access::Write).unwrap().append_all(Dialect::Mboxrd, messages).unwrap();
    assert!(all.windows(2).all(|pair| pair[0].at + pair[0].len + 1 == pair[1].at));
    let found = contents(mbox.path(), Dialect::Mboxrd);
    assert!(found.iter().map(|(content, _)| content.as_slice()).eq(contents_in.iter().map(String::as_bytes)));
}
