//! What a splitter finds, however the octets are cut.

use postrider_mbox::{Doubt, End, Event, Length, Policy, Splitter, Step, What, Why};
use proptest::prelude::*;

/// A message that was found: the offset of its line, and of its content with its length.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Found {
    at: usize,
    why: Why,
    content: std::ops::Range<usize>,
    end: End,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Report {
    junk: usize,
    messages: Vec<Found>,
    doubts: Vec<Doubt>,
}

/// Splits `file`, of which `size` octets more come each time.
fn split(file: &[u8], policy: Policy, size: usize, can_look: bool) -> Report {
    let (mut splitter, mut report) = (Splitter::new(policy), Report::default());
    let (mut at, mut end) = (0, file.len().min(size));
    let mut seen = 0;
    loop {
        let input = &file[at..end];
        match splitter.next(input, end == file.len()) {
            Step::Event { consumed, event } => {
                match event {
                    Event::Junk(octets) => {
                        assert_eq!((octets, report.messages.len()), (&input[..consumed], 0));
                        report.junk += consumed;
                    }
                    Event::Start { line, why } => {
                        assert_eq!(line, &input[..consumed]);
                        seen = at + consumed;
                        let end = End { header_len: 0, len: 0, length: Length::Absent };
                        report.messages.push(Found { at, why, content: seen..seen, end });
                    }
                    Event::Content(octets) => {
                        assert!(octets == &input[..consumed] && !octets.is_empty());
                        seen += consumed;
                    }
                    Event::End(found) => {
                        let message = report.messages.last_mut().expect("it has begun");
                        message.content.end = seen;
                        message.end = found;
                        assert_eq!(found.len, (seen - message.content.start) as u64);
                        assert!(found.header_len <= found.len);
                        assert!(
                            input[..consumed].iter().all(|octet| b"\r\n".contains(octet)),
                            "{:?}",
                            &input[..consumed]
                        );
                    }
                    Event::Doubt(doubt) => {
                        assert_eq!(consumed, 0);
                        report.doubts.push(doubt);
                    }
                }
                at += consumed;
                assert_eq!(splitter.position(), at as u64);
            }
            Step::NeedInput => {
                assert!(end < file.len(), "more is wanted at the end");
                assert!(end - at <= 4096, "{} octets are held", end - at);
                end = file.len().min(end + size);
            }
            Step::Look { at } => {
                let octets = file.get(usize::try_from(at).expect("64 bits")..).unwrap_or_default();
                let octets = &octets[..octets.len().min(Splitter::LOOK)];
                splitter.looked(can_look.then_some(octets), octets.len() < Splitter::LOOK);
            }
            Step::End => {
                assert_eq!(at, file.len());
                return report;
            }
        }
    }
}

fn whole(file: &[u8], policy: Policy) -> Report {
    let report = split(file, policy, file.len().max(1), true);
    let mut at = report.junk;
    for message in &report.messages {
        assert_eq!(message.at, at, "octets are lost");
        at = file[message.content.end..]
            .iter()
            .position(|octet| !b"\r\n".contains(octet))
            .map_or(file.len(), |len| message.content.end + len);
    }
    report
}

fn contents<'f>(file: &'f [u8], report: &Report) -> Vec<&'f str> {
    report.messages.iter().map(|message| std::str::from_utf8(&file[message.content.clone()]).expect("text")).collect()
}

fn found(file: &str) -> Vec<&str> {
    contents(file.as_bytes(), &whole(file.as_bytes(), Policy::Evidence))
}

const A: &str = "From a@b Thu Jan  1 00:00:00 1970\n";

#[test]
fn the_blank_line_parts_messages_and_belongs_to_none() {
    assert_eq!(found(&format!("{A}S: 1\n\nx\n\n{A}S: 2\n\ny\n\n")), ["S: 1\n\nx\n", "S: 2\n\ny\n"]);
    assert_eq!(found(&format!("{A}S: 1\n\nx\n\n\n{A}S: 2\n\ny\n")), ["S: 1\n\nx\n\n", "S: 2\n\ny\n"]);
    let crlf = format!("{A}S: 1\n\nx\n\n{A}S: 2\n\ny\n\n").replace('\n', "\r\n");
    assert_eq!(found(&crlf), ["S: 1\r\n\r\nx\r\n", "S: 2\r\n\r\ny\r\n"]);
    assert_eq!(found(&format!("{A}S: 1\n\nx\n\n{A}S: 2\n\ncut in the mid")), ["S: 1\n\nx\n", "S: 2\n\ncut in the mid"]);
    assert_eq!(found(""), [""; 0]);
}

#[test]
fn entries_may_lack_header_body_and_all() {
    assert_eq!(found(&format!("{A}S: 1\n\n{A}\nbody\n\n{A}\n{A}S: 2\n")), ["S: 1\n", "\nbody\n", "", "S: 2\n"]);
    assert_eq!(found(A), [""]);
    assert_eq!(found(A.trim_end()), [""]);
}

#[test]
fn a_field_may_have_space_before_its_colon() {
    let file = b"From a@b Thu Jan  1 00:00:00 1970\nSubject \t: old\n\nx\n";
    assert_eq!(postrider_mbox::messages(file, Policy::default()).count(), 1);
    let file = b"From a@b Thu Jan  1 00:00:00 1970\n : no name\n\nx\n";
    assert_eq!(postrider_mbox::messages(file, Policy::default()).count(), 0);
}

#[test]
fn text_that_begins_with_from_is_text() {
    for text in [
        "From now on\nall is well",
        "From Russia with love\nBy: bond",
        "From \n",
        "From a@b\nSubject: x",
        ">From a@b Thu Jan  1 00:00:00 1970\nS: x",
    ] {
        let file = format!("{A}S: 1\n\nx\n\n{text}\n\n{A}S: 2\n\ny\n\n");
        assert_eq!(found(&file).len(), 2, "{text}");
    }
    // Nobody writes a message without header fields and a blank line.
    let file = format!("{A}S: 1\n\nThey wrote:\n\n{A}and then text\n\n{A}S: 2\n\ny\n\n");
    let report = whole(file.as_bytes(), Policy::Evidence);
    assert_eq!(report.messages.len(), 2);
    let at = file.find("From a@b Thu Jan  1 00:00:00 1970\nand").unwrap() as u64;
    assert_eq!(report.doubts, [Doubt { at, what: What::TakenAsText }]);
}

#[test]
fn a_line_without_date_counts_where_the_first_has_none_either() {
    assert_eq!(found("From \nS: 1\n\nx\n\nFrom \nS: 2\n\ny\n"), ["S: 1\n\nx\n", "S: 2\n\ny\n"]);
    assert_eq!(
        found("From - \nS: 1\n\nx\n\nFrom nobody\nS: 2\n\nFrom\n\nFrom the hills\n"),
        ["S: 1\n\nx\n", "S: 2\n\nFrom\n\nFrom the hills\n"]
    );
}

#[test]
fn writers_who_leave_out_the_blank_line_are_understood_with_a_doubt() {
    let file = format!("{A}S: 1\n\nx\n{A}S: 2\n\ny\n");
    let report = whole(file.as_bytes(), Policy::Evidence);
    assert_eq!(contents(file.as_bytes(), &report), ["S: 1\n\nx\n", "S: 2\n\ny\n"]);
    assert_eq!(report.doubts, [Doubt { at: 42, what: What::NoBlankLine }]);
    assert_eq!(whole(file.as_bytes(), Policy::BlankRequired).messages.len(), 1);
    assert_eq!(whole(file.as_bytes(), Policy::DateEnough).messages.len(), 2);
}

#[test]
fn a_length_is_believed_where_a_message_begins_or_the_file_ends() {
    let inner = format!("x\n\n{A}S: inner\n\nfrom a forwarded mailbox\n");
    let one = format!("{A}Content-Length: {}\n\n{inner}\n", inner.len());
    let file = format!("{one}{one}");
    let report = whole(file.as_bytes(), Policy::Evidence);
    assert_eq!(report.messages.len(), 2);
    assert!(report.messages.iter().all(|message| message.end.length == Length::Right));
    assert_eq!((report.messages[1].why, report.messages[1].at), (Why::Length, one.len()));
    assert_eq!(report.doubts.len(), 2);
    assert!(report.doubts.iter().all(|doubt| doubt.what == What::WithinLength));
    // Nobody can look ahead, or wants to.
    let blind = split(file.as_bytes(), Policy::Evidence, 1, false);
    assert_eq!((blind.messages.len(), blind.messages[0].end.length), (4, Length::Wrong));
    assert_eq!(whole(file.as_bytes(), Policy::BlankRequired).messages.len(), 4);
}

#[test]
fn a_length_that_is_wrong_costs_nothing() {
    for length in [
        "0",
        "1",
        "9",
        "11",
        "20",
        "70",
        "5000",
        "-1",
        "",
        "18446744073709551615",
        "99999999999999999999",
        "10\nContent-Length: 12",
        "0x10",
        "1 0",
    ] {
        let file = format!("{A}S: 1\nContent-Length: {length}\n\n123456789\n\n{A}S: 2\n\ny\n\n");
        let report = whole(file.as_bytes(), Policy::Evidence);
        assert_eq!(split(file.as_bytes(), Policy::Evidence, 1, true), report, "{length}");
        assert_eq!(report.messages.len(), 2, "{length}");
        // 9 is the body without the line end that every line has.
        let right = if length == "9" || length == "11" { Length::Right } else { Length::Wrong };
        assert_eq!(report.messages[0].end.length, right, "{length}");
    }
    for name in ["X-Content-Length", "Content-Length-X"] {
        let file = format!("{A}{name}: 3\n\n1\n\n{A}S: 2\n\ny\n\n");
        assert_eq!(whole(file.as_bytes(), Policy::Evidence).messages[0].end.length, Length::Absent);
    }
}

#[test]
fn what_stands_before_the_first_message_is_junk() {
    let message = format!("{A}S: 1\n\nx\n");
    for junk in ["\n\n", "\u{feff}", "\u{feff}\n", "Some text.\n", "From here on\nthe: messages\n"] {
        let file = format!("{junk}{message}");
        let report = whole(file.as_bytes(), Policy::Evidence);
        assert_eq!((report.junk, report.messages.len()), (junk.len(), 1), "{junk:?}");
    }
    let none = whole(b"Subject: this is a message\n\nand no mailbox\n", Policy::Evidence);
    assert_eq!((none.junk, none.messages.len()), (43, 0));
}

#[test]
fn nuls_of_a_crash_cost_the_damaged_message_only() {
    let file = format!("{A}S: 1\n\nhalf a mess\0\0\0\0\0\0\n{A}S: 2\n\ny\n\n");
    assert_eq!(found(&file), ["S: 1\n\nhalf a mess\0\0\0\0\0\0\n", "S: 2\n\ny\n"]);
    // Within a line, senders could forge messages with it: nobody quotes there.
    assert_eq!(found(&format!("{A}S: 1\n\n\0{A}S: forged\n\ny\n\n")).len(), 1);
}

#[test]
fn lines_and_headers_of_any_length_are_passed_on() {
    let long = "x".repeat(100_000);
    let file = format!("{A}S: {long}\nT: 1\n\nFrom {long}\n\nFrom {long}");
    let report = split(file.as_bytes(), Policy::Evidence, 100, true);
    assert_eq!(report, whole(file.as_bytes(), Policy::Evidence));
    assert_eq!(report.messages.len(), 1);
}

/// Pieces of which mailboxes are made, whole and broken.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(A.to_owned()),
        Just(A.to_owned()),
        Just("From \n".to_owned()),
        Just("From".to_owned()),
        Just("From a@b\r\n".to_owned()),
        Just("From - Sat 23 Jan 2016 22:06:43 +0200\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\r".to_owned()),
        Just("\0".to_owned()),
        Just("Subject: x\n".to_owned()),
        Just(">From x\n".to_owned()),
        (0..200_u32).prop_map(|len| format!("Content-Length: {len}\n\n")),
        "[ -~]{0,80}\n?",
        Just("y".repeat(1100)),
    ]
}

proptest! {
    #[test]
    fn the_same_is_found_however_octets_are_cut(pieces in proptest::collection::vec(piece(), 0..40), size in 1..300_usize, first in any::<bool>()) {
        let file = format!("{}{}", if first { A } else { "" }, pieces.concat());
        for policy in [Policy::Evidence, Policy::BlankRequired, Policy::DateEnough] {
            let whole = split(file.as_bytes(), policy, file.len().max(1), true);
            prop_assert_eq!(&split(file.as_bytes(), policy, size, true), &whole);
            prop_assert_eq!(&split(file.as_bytes(), policy, 1, true), &whole);
        }
    }
}
