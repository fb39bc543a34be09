//! Real mailboxes, and what is in them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use postrider_mbox::{Event, Length, Policy, Reader, messages};

/// The folder of real mailboxes beside the repository. Where it is missing that is said, and in CI it is a failure.
fn corpus() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/mbox");
    if !folder.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "{} is missing", folder.display());
        eprintln!("left out: {} is missing", folder.display());
        return None;
    }
    Some(folder)
}

/// Messages, octets of junk, and doubts. Where Python's `mailbox` counts otherwise, its number and the reason.
const COUNTS: &[(&str, usize, usize, usize)] = &[
    ("comm-central/local/test/unit/data/dot", 0, 198, 0),
    // A message, and no mailbox. Python 1: a line of text after a blank line.
    ("comm-central/local/test/unit/data/message_with_from_line.eml", 0, 285, 0),
    ("comm-central/local/test/unit/data/movemailspool", 3, 0, 0),
    ("comm-central/test/data/mbox_mboxrd", 2, 0, 0),
    ("comm-central/test/data/mbox_modern", 2, 0, 0),
    // Python 3: "From " within a body.
    ("comm-central/test/data/mbox_unquoted", 2, 0, 0),
    // Python 4: "From " in a body with a length.
    ("email-folder/mboxcl2", 3, 0, 0),
    ("email-folder/testmbox", 10, 0, 0),
    ("email-folder/testmbox.dos", 10, 0, 0),
    ("email-folder/testmbox.empty", 0, 0, 0),
    // Lines that end in CR: no mailbox. Python 1: with all of it.
    ("email-folder/testmbox.mac", 0, 28_314, 0),
    ("generated/sample-crlf.mboxcl2.mbox", 14, 0, 0),
    ("generated/sample-crlf.mboxrd.mbox", 14, 0, 0),
    ("generated/sample.mboxcl.mbox", 60, 0, 0),
    // Python 62: "From " in a body with a length.
    ("generated/sample.mboxcl2.mbox", 60, 0, 0),
    ("generated/sample.mboxo.mbox", 60, 0, 0),
    ("generated/sample.mboxrd.mbox", 60, 0, 0),
    ("laminas-mail/INBOX", 7, 0, 3),
    ("laminas-mail/INBOX.unix", 7, 0, 3),
    ("laminas-mail/subfolder/test", 1, 0, 0),
    ("mail-box/mbox.src", 45, 0, 0),
    ("mailarchive/duplicate_tests.mbox", 10, 0, 0),
    ("mailarchive/mailbox_envelope-to", 0, 23_314, 0),
    ("mailarchive/mailbox_mbox", 1, 1, 0),
    ("mailarchive/mailbox_mmdf", 0, 17_369, 0),
    ("mailarchive/windows1252.mbox", 1, 0, 0),
    ("mime4j/mbox.rlug", 5, 0, 0),
    ("mime4j/mbox.rlug-0", 0, 3_384, 0),
    ("mimekit/issue1189.mbox.txt", 4, 0, 0),
    ("mimekit/simple.mbox.txt", 3, 0, 2),
    // Begins with a byte order mark. Python 3: lines of text, and not the first message.
    ("mimekit/unmunged.mbox.txt", 2, 3, 0),
    ("mox/imaptest/imaptest.mbox", 48, 0, 0),
    ("mox/importtest.mbox", 2, 0, 0),
    ("ponymail-foal/users_ponymail_apache_org_2019-09.mbox", 4, 0, 0),
    ("ponymail-foal/users_ponymail_apache_org_2022-01.mbox", 6, 0, 0),
];

#[test]
fn real_mailboxes_have_as_many_messages_as_were_put_into_them() {
    let Some(corpus) = corpus() else { return };
    for (name, count, junk, doubts) in COUNTS {
        let file = fs::read(corpus.join(name)).unwrap();
        let mut found = messages(&file, Policy::default());
        let all: Vec<_> = found.by_ref().collect();
        let doubted: usize = all.iter().map(|message| message.doubts.len()).sum();
        assert_eq!((all.len(), found.junk(), doubted), (*count, *junk as u64, *doubts), "{name}");
        // Read from the disk in pieces, each octet comes once, in order.
        let mut reader = Reader::new(File::open(corpus.join(name)).unwrap(), Policy::default());
        let (mut starts, mut octets) = (Vec::new(), Vec::new());
        loop {
            let at = reader.position();
            match reader.next().unwrap() {
                None => break,
                Some(Event::Start { line, .. }) => {
                    starts.push(octets.len() as u64);
                    octets.extend_from_slice(line);
                }
                Some(Event::Content(piece) | Event::Junk(piece)) => octets.extend_from_slice(piece),
                Some(Event::End(_)) => {
                    // Line ends between messages are the only octets that are not shown.
                    let end = file[octets.len()..].iter().take_while(|octet| b"\r\n".contains(octet)).take(4).count();
                    let next = usize::try_from(reader.position()).unwrap();
                    let next = if next > octets.len() { next } else { octets.len() };
                    assert!(next - octets.len() <= end);
                    octets.extend_from_slice(&file[octets.len()..next]);
                }
                Some(Event::Doubt(doubt)) => assert!(doubt.at >= at),
            }
        }
        assert_eq!(starts, all.iter().map(|message| message.at).collect::<Vec<_>>(), "{name}");
        assert!(octets == file, "{name}");
    }
}

/// The lines of `"name": number` in a JSON file that has each on a line of its own.
fn numbers(json: &str, name: &str) -> Vec<u64> {
    let name = format!("\"{name}\": ");
    json.lines().filter_map(|line| line.trim().strip_prefix(&name)?.trim_end_matches(',').parse().ok()).collect()
}

#[test]
fn each_dialect_is_split_where_its_writer_says() {
    let Some(corpus) = corpus() else { return };
    for name in [
        "sample.mboxo",
        "sample.mboxrd",
        "sample.mboxcl",
        "sample.mboxcl2",
        "sample-crlf.mboxrd",
        "sample-crlf.mboxcl2",
    ] {
        let file = fs::read(corpus.join(format!("generated/{name}.mbox"))).unwrap();
        let truth = fs::read_to_string(corpus.join(format!("generated/{name}.truth.json"))).unwrap();
        let found: Vec<_> = messages(&file, Policy::default()).collect();
        let at: Vec<_> = found.iter().map(|message| message.at).collect();
        let len: Vec<_> = found.iter().map(|message| message.content.len() as u64).collect();
        assert_eq!((at, len), (numbers(&truth, "from_offset"), numbers(&truth, "length")), "{name}");
        let lengths = found.iter().filter(|message| message.end.length == Length::Right).count();
        assert_eq!(lengths, if name.contains("cl") { found.len() } else { 0 }, "{name}");
    }
}
