//! Whatever is appended to a mailbox and whatever is changed there then: each message is there that should be, with its body, its other header fields and
//! the marks that were set, and what mail programs keep comes back as it was set.

#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_mbox::{
    Access, Base, Dialect, Edit, Entries, Entry, Envelope, Flag, Flags, Keyword, LineEnd, Mbox, Metadata, Options, Policy, Rewriting, Section,
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    in_place: bool,
    crlf: bool,
    lengths: bool,
    base: Option<(u32, u32)>,
    messages: Vec<(&'a [u8], Change)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Change {
    Keep,
    Remove,
    Set { uid: Option<u32>, flags: u8, keywords: u8 },
}

impl Change {
    fn edit(self) -> Edit {
        let Self::Set { uid, flags, keywords } = self else {
            return if matches!(self, Self::Keep) { Edit::Keep } else { Edit::Remove };
        };
        let all = [Flag::SEEN, Flag::OLD, Flag::ANSWERED, Flag::FLAGGED, Flag::DRAFT, Flag::DELETED];
        let flags: Flags = all.into_iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, flag)| flag).collect();
        let keywords = (0..keywords % 8).filter_map(|n| Keyword::new(format!("$Word{n}").as_bytes())).collect();
        Edit::Set(Metadata { uid: uid.filter(|uid| *uid > 0), flags, keywords })
    }
}

fuzz_target!(|input: Input<'_>| {
    let scratch = std::env::temp_dir().join(format!("mbox_changes.{}", std::process::id()));
    let _ = std::fs::remove_file(&scratch);
    let mut options = Options::default();
    options.rewriting = if input.in_place { Rewriting::InPlace } else { Rewriting::Replace };
    options.line_end = if input.crlf { LineEnd::Crlf } else { LineEnd::Lf };
    let mbox = Mbox::create_with(&scratch, options).expect("it can be made");
    let dialect = if input.lengths { Dialect::Mboxcl2 } else { Dialect::Mboxrd };
    let mut locked = mbox.lock(Access::Write).expect("nobody else knows of it");
    for (content, _) in &input.messages {
        locked.append(&Envelope::new("a@b", SystemTime::UNIX_EPOCH), dialect, *content).expect("there is room");
    }
    let before = read(locked.file());
    assert_eq!(before.len(), input.messages.len());
    let base = input.base.map(|(validity, uid_last)| Base { uid_validity: validity.max(1), uid_last, keywords: Vec::new() });
    let mut edits = input.messages.iter().map(|(_, change)| change.edit());
    locked.rewrite(Policy::default(), base.as_ref(), |_| edits.next().expect("one for each")).expect("there is room");

    let kept = before.iter().zip(&input.messages).filter(|(_, (_, change))| !matches!(change, Change::Remove));
    let after = read(locked.file());
    assert_eq!(after.len(), kept.clone().count());
    for ((now, then), number) in after.iter().zip(kept).zip(0..) {
        let (then, (_, change)) = then;
        match change.edit() {
            Edit::Set(metadata) => assert_eq!(now.entry.metadata, metadata),
            _ => assert_eq!(now.entry.metadata, then.entry.metadata),
        }
        assert_eq!(now.entry.base, base.clone().filter(|_| number == 0));
        assert_eq!((&now.body, &now.header), (&then.body, &then.header));
        assert_eq!((&now.entry.line, now.entry.end.length), (&then.entry.line, then.entry.end.length));
    }
    // And once more: there is nothing to do.
    let len = locked.file().metadata().expect("it is there").len();
    let mut again = after.iter().map(|message| Edit::Set(message.entry.metadata.clone()));
    let rewritten = locked.rewrite(Policy::default(), None, |_| again.next().expect("one for each")).expect("there is room");
    assert_eq!((rewritten.changed, rewritten.removed), (0, 0));
    assert_eq!(locked.file().metadata().expect("it is there").len(), len);
});

struct Message {
    entry: Entry,
    /// Lines of the header section but those that mail programs write.
    header: Vec<Vec<u8>>,
    body: Vec<u8>,
}

fn read(file: &File) -> Vec<Message> {
    let octets = |range: std::ops::Range<u64>| {
        let mut octets = vec![0; usize::try_from(range.end - range.start).expect("it fits")];
        file.read_exact_at(&mut octets, range.start).expect("it is there");
        octets
    };
    let mut entries = Entries::new(Section::new(file, 0, None).expect("it is there"), Policy::default());
    let entries = std::iter::from_fn(|| entries.next().expect("it can be read"));
    let message = |entry: Entry| {
        let (mut header, mut ours) = (Vec::new(), false);
        for line in octets(entry.header()).split_inclusive(|octet| *octet == b'\n') {
            let name = line.split(|octet| *octet == b':').next().unwrap_or_default().trim_ascii_end();
            let folded = matches!(line.first(), Some(b' ' | b'\t'));
            ours = if folded { ours } else { OURS.iter().any(|known| known.eq_ignore_ascii_case(name)) };
            if !ours {
                header.push(line.to_vec());
            }
        }
        let body = octets(entry.body());
        Message { entry, header, body }
    };
    entries.map(message).collect()
}

const OURS: [&[u8]; 6] = [b"X-UID", b"Status", b"X-Status", b"X-Keywords", b"X-IMAP", b"X-IMAPbase"];
