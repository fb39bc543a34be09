//! The header section of a message that comes in, of which some fields must not stay.

use crate::header::is_field;

/// Fields that say what a mailbox knows of a message. In a message that comes from elsewhere they are forged or stale.
const METADATA: [&[u8]; 6] = [b"Status", b"X-IMAP", b"X-IMAPbase", b"X-Keywords", b"X-Status", b"X-UID"];

const LENGTH: &[u8] = b"Content-Length";

/// No name is longer, with white space behind it: programs that read such a field read no more of a line.
pub(super) const MAX_HELD: usize = 1_024;

/// Goes through the lines of a header section, in octets that come in any pieces.
#[derive(Debug)]
pub(super) struct Fields {
    keeps_metadata: bool,
    /// Nothing was kept yet.
    first: bool,
    /// Within a line, or at the start of one.
    within: bool,
    /// The field of the last line stays.
    kept: bool,
}

/// What is at the front of the input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step<'b> {
    /// Octets that stay.
    Keep(&'b [u8]),
    /// As many octets that go.
    Drop(usize),
    /// The blank line that ends the header section.
    Blank(&'b [u8]),
    /// There is no header section: the message begins with a line that is no field, and is all body.
    Body,
    /// More is needed, with the same in front of it: [`MAX_HELD`] octets at most.
    NeedInput,
}

impl Fields {
    pub(super) fn new(keeps_metadata: bool) -> Self {
        Self { keeps_metadata, first: true, within: false, kept: true }
    }

    /// `last`: the message ends with `input`.
    pub(super) fn next<'b>(&mut self, input: &'b [u8], last: bool) -> Step<'b> {
        if !self.within {
            let line = input.split_inclusive(|octet| *octet == b'\n').next().unwrap_or_default();
            match self.judge(line, last) {
                None => return Step::NeedInput,
                Some(Line::Blank) => return Step::Blank(line),
                Some(Line::NoField) => return Step::Body,
                Some(Line::Continued) => {}
                Some(Line::Metadata) => self.kept = false,
                Some(Line::Other) => self.kept = true,
            }
        }
        if input.is_empty() {
            return Step::NeedInput;
        }
        let end = memchr::memchr(b'\n', input).map(|at| at + 1);
        self.within = end.is_none();
        let octets = end.and_then(|end| input.get(..end)).unwrap_or(input);
        self.first &= !self.kept;
        if self.kept { Step::Keep(octets) } else { Step::Drop(octets.len()) }
    }

    /// What this line is; `None`: it has to be longer to tell.
    fn judge(&self, line: &[u8], last: bool) -> Option<Line> {
        let is_whole = last || line.ends_with(b"\n");
        match line {
            b"\n" | b"\r\n" => return Some(Line::Blank),
            b"" | b"\r" if !is_whole => return None,
            b"" => return Some(Line::Other),
            [b' ' | b'\t', ..] if !self.kept || !self.first => return Some(Line::Continued),
            _ => {}
        }
        let names = METADATA.iter().filter(|_| !self.keeps_metadata).chain([&LENGTH]);
        let mut may_be = false;
        for name in names {
            match has_name(line, name) {
                Some(true) => return Some(Line::Metadata),
                Some(false) => {}
                None => may_be = true,
            }
        }
        match may_be && !is_whole {
            true if line.len() < MAX_HELD => return None,
            // A thousand blanks behind such a name are no text that anybody misses.
            true => return Some(Line::Metadata),
            false if self.first => {}
            false => return Some(Line::Other),
        }
        match begins_header(line) {
            None if !is_whole && line.len() < MAX_HELD => None,
            Some(true) => Some(Line::Other),
            _ => Some(Line::NoField),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    Blank,
    Continued,
    Metadata,
    /// The first that stays is none that a header has.
    NoField,
    Other,
}

/// Whether a line is what a header section begins with: a field, or a `From ` line that somebody has left there; `None`: it may become one.
fn begins_header(line: &[u8]) -> Option<bool> {
    if line.starts_with(b"From ") { Some(true) } else { is_field(line) }
}

/// Whether the line is a field of this name; `None`: it is, if a colon comes.
fn has_name(line: &[u8], name: &[u8]) -> Option<bool> {
    let common = line.len().min(name.len());
    let (Some(front), Some(start)) = (line.get(..common), name.get(..common)) else { return Some(false) };
    if !front.eq_ignore_ascii_case(start) {
        return Some(false);
    }
    // RFC 5322 had white space before the colon once, and programs read it.
    let rest = line.get(common..).unwrap_or_default().trim_ascii_start();
    match rest.first() {
        None if line.ends_with(b"\n") => Some(false),
        None => None,
        Some(octet) => Some(*octet == b':'),
    }
}

#[cfg(test)]
mod tests {
    use crate::header::MAX_NAME;
    use proptest::prelude::*;

    use super::*;

    /// What stays of `input`, of which `size` octets more come each time.
    fn kept(input: &[u8], size: usize, keeps_metadata: bool) -> Vec<u8> {
        let (mut fields, mut out) = (Fields::new(keeps_metadata), Vec::new());
        let (mut at, mut end) = (0, input.len().min(size));
        loop {
            match fields.next(&input[at..end], end == input.len()) {
                Step::Keep(octets) => {
                    assert!(!octets.is_empty());
                    out.extend_from_slice(octets);
                    at += octets.len();
                }
                Step::Drop(len) => {
                    assert!(len > 0);
                    at += len;
                }
                Step::Body => {
                    out.push(b'\n');
                    out.extend_from_slice(&input[at..]);
                    return out;
                }
                Step::Blank(_) => {
                    out.extend_from_slice(&input[at..]);
                    return out;
                }
                Step::NeedInput if end == input.len() => {
                    assert_eq!(at, end);
                    return out;
                }
                Step::NeedInput => {
                    assert!(end - at < MAX_HELD);
                    end = input.len().min(end + size);
                }
            }
        }
    }

    #[test]
    fn metadata_of_whoever_sent_it_goes_however_it_is_written() {
        let gone =
            "Status: RO\nX-STATUS: F\nx-keywords: a\n b\n\tc\nX-UID : 7\nX-IMAP\t \t: 1 2\nX-IMAPbase:3\r\n 4\r\n";
        let stays = "Subject: x\n y\nX-UIDL: z\nXStatus: R\nStatus-X: R\nStatus\nStatus quo\n :\nContent-Length-X: 1\n";
        let body = "\nStatus: R\nX-UID: 1\n";
        for size in [1, 2, 3, 1_000] {
            let input = format!("{gone}{stays}content-length: 5\n 6\n{gone}{body}");
            assert_eq!(kept(input.as_bytes(), size, false), format!("{stays}{body}").as_bytes());
            let input = format!("{stays}Content-Length : 5\n{gone}{body}");
            assert_eq!(kept(input.as_bytes(), size, true), format!("{stays}{gone}{body}").as_bytes());
        }
    }

    #[test]
    fn no_run_of_white_space_brings_metadata_through() {
        for len in [0, 1, MAX_HELD - 9, MAX_HELD, 100_000] {
            for size in [1, 4_096] {
                let input = format!("A: b\nStatus{}: RO\nC: d\n\nx\n", " ".repeat(len));
                assert_eq!(kept(input.as_bytes(), size, false), b"A: b\nC: d\n\nx\n", "{len}");
            }
        }
    }

    #[test]
    fn a_message_without_header_is_all_body() {
        for body in ["x", "x y: z\nStatus: R\n", " : x\n", " folded\n", ": x\n", "\r", ">From a\n", "\u{e4}: x\n"] {
            for size in [1, 2, 1_000] {
                assert_eq!(kept(body.as_bytes(), size, false), format!("\n{body}").as_bytes(), "{body:?}");
                let input = format!("Status: R\n folded\n{}", body.trim_start());
                let expected = if body == "\r" { String::new() } else { format!("\n{}", body.trim_start()) };
                assert_eq!(kept(input.as_bytes(), size, false), expected.as_bytes());
            }
        }
        let long = "x".repeat(MAX_NAME);
        assert_eq!(kept(format!("{long}: y\n").as_bytes(), 7, false), format!("\n{long}: y\n").as_bytes());
        for header in ["", "\n", "x:", "x :\n", "From a\n", "From: a\n", &long[1..].replace("xx", "x:x")] {
            for size in [1, 2, 1_000] {
                assert_eq!(kept(header.as_bytes(), size, false), header.as_bytes(), "{header:?}");
            }
        }
    }

    fn naive(input: &str) -> String {
        let (mut out, mut kept, mut header, mut at) = (String::new(), true, true, 0);
        for line in input.split_inclusive('\n') {
            header &= line != "\n" && line != "\r\n";
            if header && !line.starts_with([' ', '\t']) {
                let name = line.split_once(':').map(|(name, _)| name.trim_ascii_end().to_ascii_lowercase());
                let gone = ["status", "x-imap", "x-imapbase", "x-keywords", "x-status", "x-uid", "content-length"];
                kept = name.is_none_or(|name| !gone.contains(&&*name));
            }
            let is_field = line.split_once(':').is_some_and(|(name, _)| {
                let word = name.trim_end_matches([' ', '\t']);
                !word.is_empty() && name.len() < MAX_NAME && word.bytes().all(|octet| octet.is_ascii_graphic())
            });
            if header && kept && out.is_empty() && !is_field {
                return format!("\n{}", &input[at..]);
            }
            at += line.len();
            if kept || !header {
                out.push_str(line);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn what_goes_is_what_is_defined_however_octets_come(
            pieces in proptest::collection::vec(prop_oneof![
                Just("Status"), Just("X-UID"), Just("X-IMAP"), Just("base"), Just("content-LENGTH"), Just(":"), Just(" "), Just("\t"), Just("\n"),
                Just("\r\n"), Just("\r"), Just("x"), Just("Subject: y\n"), Just("Subject: y\n"),
            ], 0..30),
            size in 1..20_usize,
        ) {
            let input = pieces.concat();
            prop_assert_eq!(String::from_utf8(kept(input.as_bytes(), size, false)).unwrap(), naive(&input));
        }
    }
}
