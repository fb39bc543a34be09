//! What a submission server does to a message on its way in: [RFC 6409 section 8](https://www.rfc-editor.org/rfc/rfc6409#section-8).
//!
//! `Date` and `Message-ID` are added at the end of the header section where they are missing, and each `Bcc` is removed: the recipients are
//! not to learn of each other. Every other octet stays as it was. The message passes through in pieces; what is kept of it is the beginning of
//! one line.

use std::fmt::Write;

use jiff::Timestamp;
use thiserror::Error;

use crate::header::{Field, Header, Part};

/// A new `Message-ID` of the server that calls itself `hostname`.
pub fn message_id(hostname: &str) -> String {
    let mut random = [0; 12];
    // Where there is none, the time alone is nearly unique.
    let _ = getrandom::fill(&mut random);
    let mut id = format!("<{:x}.", Timestamp::now().as_nanosecond());
    for octet in random {
        let _ = write!(id, "{octet:02x}");
    }
    id + "@" + hostname + ">"
}

/// The header section is larger than is taken. The message is not to be accepted: a `Bcc` may still have been to come.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("header section of more than {limit} octets")]
pub struct HeaderTooLarge {
    /// What is taken.
    pub limit: usize,
}

/// A message on its way through.
#[derive(Debug)]
pub struct Submission {
    header: Header,
    /// The beginning of a line of which it cannot be told yet whether it stays.
    held: Vec<u8>,
    /// Whether the field that is coming in stays.
    keeps: bool,
    /// The last octet that has passed, if any has.
    last: Option<u8>,
    has_date: bool,
    has_message_id: bool,
    size: usize,
    limit: usize,
    /// What is added where it is missing.
    date: String,
    message_id: String,
}

impl Submission {
    /// A message before its first octet. Its header section may have `limit` octets. `date` and `message_id` are what it gets if it has none.
    pub fn new(limit: usize, date: String, message_id: String) -> Self {
        Self {
            header: Header::default(),
            held: Vec::new(),
            keeps: true,
            last: None,
            has_date: false,
            has_message_id: false,
            size: 0,
            limit,
            date,
            message_id,
        }
    }

    /// Takes the next piece of the message. Appends to `out` what becomes of the header section, and returns what follows it: the end of `piece`,
    /// which is as it was.
    ///
    /// # Errors
    ///
    /// When the header section is too large.
    pub fn pass<'b>(&mut self, piece: &'b [u8], out: &mut Vec<u8>) -> Result<&'b [u8], HeaderTooLarge> {
        let mut rest = piece;
        while !rest.is_empty() && !self.header.has_ended() {
            let (len, part) = self.header.next(rest);
            let (octets, after) = rest.split_at(len);
            rest = after;
            if !matches!(part, Part::Undecided | Part::NoField | Part::Body) {
                self.size += self.held.len() + len;
            }
            if self.size > self.limit {
                return Err(HeaderTooLarge { limit: self.limit });
            }
            self.take(part, octets, out);
        }
        Ok(rest)
    }

    fn take(&mut self, part: Part, octets: &[u8], out: &mut Vec<u8>) {
        match part {
            Part::Undecided => return self.held.extend_from_slice(octets),
            Part::Begins(field) => {
                self.has_date |= field == Field::Date;
                self.has_message_id |= field == Field::MessageId;
                self.keeps = field != Field::Bcc;
            }
            Part::Blank => {
                self.keeps = true;
                self.complete(out);
            }
            Part::NoField => {
                self.keeps = true;
                self.complete(out);
                // Programs differ on whether the header section goes on behind such a line; a Bcc that stands there must be the body's for all of them.
                out.extend_from_slice(b"\r\n");
            }
            Part::Continues | Part::More | Part::Body => {}
        }
        let held = std::mem::take(&mut self.held);
        if self.keeps {
            out.extend_from_slice(&held);
            out.extend_from_slice(octets);
            self.last = octets.last().copied();
        }
    }

    /// The message has ended: appends what is still to come of it.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.header.has_ended() {
            return;
        }
        if self.held.is_empty() {
            if self.last.is_some_and(|last| last != b'\n') && !(self.has_date && self.has_message_id) {
                out.extend_from_slice(b"\r\n");
            }
            self.complete(out);
        } else {
            self.take(Part::NoField, b"", out);
        }
    }

    /// Adds the fields that are missing.
    fn complete(&self, out: &mut Vec<u8>) {
        if !self.has_date {
            out.extend_from_slice(format!("Date: {}\r\n", self.date).as_bytes());
        }
        if !self.has_message_id {
            out.extend_from_slice(format!("Message-ID: {}\r\n", self.message_id).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 4000;
    const DATE: &str = "Date: now\r\n";
    const ID: &str = "Message-ID: <it>\r\n";

    fn passed(message: &[u8], cuts: &[usize]) -> Option<Vec<u8>> {
        let mut submission = Submission::new(LIMIT, "now".to_owned(), "<it>".to_owned());
        let (mut out, mut rest) = (Vec::new(), message);
        for cut in cuts.iter().chain([&usize::MAX]) {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            let body = submission.pass(piece, &mut out).ok()?;
            out.extend_from_slice(body);
            rest = after;
            assert!(submission.held.len() <= crate::header::MAX_NAME + 1);
        }
        submission.finish(&mut out);
        Some(out)
    }

    /// The same with the whole message in memory, line by line.
    fn naive(message: &[u8]) -> Option<Vec<u8>> {
        let (mut kept, mut names, mut size) = (Vec::new(), Vec::new(), 0);
        let mut lines = message.split_inclusive(|octet| *octet == b'\n').peekable();
        while let Some(line) = lines.peek() {
            let folds = matches!(line.first(), Some(b' ' | b'\t')) && !names.is_empty();
            if !folds {
                let Some(name) = name_of(line) else { break };
                names.push(name);
            }
            if ![&b"bcc"[..], b"resent-bcc"].contains(&&names.last().unwrap()[..]) {
                kept.extend_from_slice(line);
            }
            size += line.len();
            lines.next();
        }
        let rest = lines.flatten().copied().collect::<Vec<_>>();
        let blank = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
        let mut added = String::new();
        for (name, field) in [(&b"date"[..], DATE), (b"message-id", ID)] {
            added += if names.iter().any(|is| is == name) { "" } else { field };
        }
        if !added.is_empty() && rest.is_empty() && !kept.is_empty() && !kept.ends_with(b"\n") {
            kept.extend_from_slice(b"\r\n");
        }
        let gap: &[u8] = if rest.is_empty() || blank > 0 { b"" } else { b"\r\n" };
        (size + blank <= LIMIT).then(|| [&kept, added.as_bytes(), gap, &rest].concat())
    }

    /// The name in lower case, if the line is a field.
    fn name_of(line: &[u8]) -> Option<Vec<u8>> {
        let colon = line.iter().position(|octet| *octet == b':')?;
        let name = line[..colon].to_ascii_lowercase();
        let name = name[..name.iter().rposition(|octet| !b" \t".contains(octet))? + 1].to_vec();
        let sound = colon <= crate::header::MAX_NAME && name.iter().all(|octet| *octet > 32 && *octet != 127);
        sound.then_some(name)
    }

    #[test]
    fn what_is_missing_is_added_and_bcc_removed_and_nothing_else_changes() {
        let added = format!("{DATE}{ID}");
        for (message, expected) in [
            ("", added.clone()),
            ("\r\nbody\r\n", format!("{added}\r\nbody\r\n")),
            ("From: a\r\n\r\nbody\r\n", format!("From: a\r\n{added}\r\nbody\r\n")),
            ("From: a\r\n", format!("From: a\r\n{added}")),
            ("From: a", format!("From: a\r\n{added}")),
            ("no header\r\nBcc: body\r\n", format!("{added}\r\nno header\r\nBcc: body\r\n")),
            ("word", format!("{added}\r\nword")),
            ("date: a\r\nMESSAGE-ID : b\r\nno field\r\n", "date: a\r\nMESSAGE-ID : b\r\n\r\nno field\r\n".to_owned()),
            ("Date: a\r\n\r\nMessage-ID: body\r\n", format!("Date: a\r\n{ID}\r\nMessage-ID: body\r\n")),
            (
                "Bcc: a,\r\n\tb,\r\n c\r\nTo: d\r\nbCC : e\r\nResent-Bcc: f\r\nBccc: g\r\n h\r\n\r\nBcc: body",
                format!("To: d\r\nBccc: g\r\n h\r\n{added}\r\nBcc: body"),
            ),
            ("Bcc: a", added.clone()),
            ("To: a\r\nBcc: b\r\nno field\r\n", format!("To: a\r\n{added}\r\nno field\r\n")),
        ] {
            for size in 1..=message.len() + 1 {
                let cuts = vec![size; message.len() / size + 1];
                let found = passed(message.as_bytes(), &cuts).map(|octets| String::from_utf8(octets).unwrap());
                assert_eq!(found.as_ref(), Some(&expected), "{message:?} by {size}");
            }
            assert_eq!(naive(message.as_bytes()), Some(expected.into_bytes()), "{message:?}");
        }
    }

    #[test]
    fn a_header_section_beyond_the_limit_is_refused_and_a_long_body_is_not() {
        let body = format!("Bcc: a\r\n\r\n{}", "x".repeat(2 * LIMIT));
        assert!(passed(body.as_bytes(), &[5]).is_some());
        for message in
            ["To: a\r\n".repeat(LIMIT / 7 + 1), format!("Bcc: {}", "x".repeat(LIMIT)), "a:\r\n".repeat(LIMIT)]
        {
            for cut in [1, 100, LIMIT + 100] {
                assert_eq!(passed(message.as_bytes(), &[cut]), None);
            }
        }
    }

    #[test]
    fn no_two_messages_get_the_same_id() {
        let id = message_id("mail.example.org");
        assert!(id.starts_with('<') && id.ends_with("@mail.example.org>") && id.len() < 80, "{id}");
        assert_ne!(id, message_id("mail.example.org"));
    }

    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            prop::sample::select(vec![
                &b"Bcc"[..],
                b"bcc ",
                b"Resent-BCC",
                b"Date",
                b"date\t",
                b"Message-Id",
                b"Subject",
                b"Received",
                b"S\xc3\xbcb",
                b":",
                b": text",
                b" ",
                b"\t",
                b"\r\n",
                b"\r\n",
                b"\r\n\r\n",
                b"\r",
                b"\n",
                b"x y",
                b"\0",
            ])
            .prop_map(<[u8]>::to_vec),
            prop_oneof![900..1100_usize, 1..3_usize].prop_map(|len| vec![b'n'; len]),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn in_pieces_it_is_as_in_one(message in lines(), cuts in prop::collection::vec(0..40_usize, 0..40)) {
            prop_assert_eq!(passed(&message, &cuts), naive(&message));
            prop_assert_eq!(passed(&message, &vec![1; message.len()]), naive(&message));
        }
    }
}
