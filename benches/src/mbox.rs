//! postrider-mbox beside mail-parser 0.11.9 and mbox-reader 0.2.0.

use std::io::{Cursor, Write};
use std::path::Path;

use mail_parser::mailbox::mbox::MessageIterator;
use mbox_reader::MboxFile;
use memchr::memmem;
use postrider_mbox::{Entries, Event, Policy, Reader, Stream, messages};

use crate::case::{Build, Case, Gate};
use crate::inputs::Random;
use crate::inputs::content::{Dots, message};

/// All cases.
pub const CASES: &[Build] = &[|| split(16 << 20)];

const PEERS: [&str; 2] = ["mail-parser 0.11.9", "mbox-reader 0.2.0"];
const FLOOR: &str = "memmem";

/// A mailbox of about so many octets: messages of 5 KB on average, as in mailing lists' archives, without a line that programs disagree about.
///
/// mail-parser reads line by line and copies each message. mbox-reader maps a file, looks at each octet, and never gives the last message. Neither
/// looks at what stands before a line `From ` or behind it, nor at lengths. The floor looks for `From ` at the start of lines, and no more.
pub fn split(octets: usize) -> Case {
    let (input, count) = mailbox(octets);
    let file = written(&input);
    Case::new(format!("mbox split, {} MB", octets >> 20), "message", count, input)
        .ours("messages", |file| messages(file, Policy::default()).count() as u64)
        .ours("Reader", |file| {
            let mut reader = Reader::new(Stream(file), Policy::default());
            std::iter::from_fn(|| reader.next().ok().flatten().map(|event| matches!(event, Event::End(_))))
                .map(u64::from)
                .sum()
        })
        .ours("Entries", |file| {
            let mut entries = Entries::new(Stream(file), Policy::default());
            std::iter::from_fn(|| entries.next().ok().flatten()).count() as u64
        })
        .peer(PEERS[0], |file| MessageIterator::new(Cursor::new(file)).flatten().count() as u64)
        .peer(PEERS[1], move |_| entries_of_peer(file.path()))
        .floor(FLOOR, |file| memmem::find_iter(file, b"\nFrom ").count() as u64)
        .gate(Gate::Instructions { ours: "messages", other: PEERS[0], at_most: 0.25 })
}

fn entries_of_peer(path: &Path) -> u64 {
    let Ok(file) = MboxFile::from_file(path) else { return 0 };
    file.iter().count() as u64 + 1
}

fn written(octets: &[u8]) -> tempfile::NamedTempFile {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { panic!("no temporary file can be made") };
    assert!(file.write_all(octets).is_ok(), "the temporary file cannot be written");
    file
}

/// The mailbox, and how many messages it has.
fn mailbox(octets: usize) -> (Vec<u8>, u32) {
    let (mut random, mut file, mut count) = (Random::new(4155), Vec::with_capacity(octets + 20_000), 0);
    while file.len() < octets {
        let (name, host) = (random.first_name(), random.host());
        let header = format!(
            "From {name}@{host} Thu Jan  1 00:00:{:02} 1970\nReturn-Path: <{name}@{host}>\nFrom: {name} <{name}@{host}>\nTo: {}@{}\nSubject: message {count}\nMessage-ID: <{count}@{host}>\nDate: Thu, 1 Jan 1970 00:00:00 +0000\n\n",
            count % 60,
            random.first_name(),
            random.host(),
        );
        file.extend_from_slice(header.as_bytes());
        let text = message(usize::try_from(random.number(200, 10_000)).unwrap_or_default(), Dots::None);
        file.extend(text.into_iter().filter(|octet| *octet != b'\r'));
        file.push(b'\n');
        count += 1;
    }
    (file, count)
}
