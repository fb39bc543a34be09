//! postrider-text-proto beside floors: no crate on crates.io gives these pieces by themselves (lettre's stuffing is private, and done again here).

use memchr::memchr;
use postrider_text_proto::{Framed, LineScanner, StrayScanner, Stuffer, Unstuffed, Unstuffer, WireSize};

use crate::case::{Build, Case, Gate};
use crate::checksum::Checksum;
use crate::inputs::content::{Dots, attachment, message, on_the_wire, with_lf};
use crate::inputs::{pop3, smtp};

/// All cases.
pub const CASES: &[Build] = &[
    || lines("short lines", pop3::SESSIONS * pop3::COMMANDS, pop3::commands()),
    || lines("long lines", smtp::SESSIONS * smtp::COMMANDS, smtp::commands(true)),
    unstuffing,
    || stuffing("text, CRLF, 2 % dots", End::Crlf, message(SIZE, Dots::Percent(2)), 0.03),
    || stuffing("text, CRLF, all dots", End::Crlf, message(SIZE, Dots::All), 0.056),
    || stuffing("text, LF, 2 % dots", End::Lf, message(SIZE, Dots::Percent(2)), 0.053),
    || stuffing("attachment, CRLF, no dots", End::Crlf, attachment(SIZE, Dots::None), 0.027),
    || stuffing("attachment, CRLF, 2 % dots", End::Crlf, attachment(SIZE, Dots::Percent(2)), 0.03),
    || stuffing("attachment, CRLF, all dots", End::Crlf, attachment(SIZE, Dots::All), 0.0535),
    || stuffing("attachment, LF, no dots", End::Lf, attachment(SIZE, Dots::None), 0.05),
    || stuffing("attachment, LF, 2 % dots", End::Lf, attachment(SIZE, Dots::Percent(2)), 0.05),
    || stuffing("attachment, LF, all dots", End::Lf, attachment(SIZE, Dots::All), 0.0575),
    strays,
    wire_size,
];

const SIZE: usize = 100 << 10;
const LINE: usize = 4096;

/// Lines of POP3 commands (12 octets) and of SMTP commands with parameters (60). The floor looks for LF only: it knows neither limits, nor bare CR
/// and LF, nor lines that arrive in pieces.
fn lines(name: &str, units: u32, input: Vec<u8>) -> Case {
    Case::new(format!("text_proto {name}"), "line", units, input)
        .ours("LineScanner", |input| {
            let (mut scanner, mut sum, mut rest) = (LineScanner::new(), Checksum::default(), input);
            while let Framed::Line { consumed, line } = scanner.next(rest, LINE) {
                sum.add_len(line);
                rest = &rest[consumed..];
            }
            sum.value()
        })
        .floor("memchr for LF", |input| {
            let (mut sum, mut rest) = (Checksum::default(), input);
            while let Some(at) = memchr(b'\n', rest) {
                sum.add_len(&rest[..at]);
                rest = &rest[at + 1..];
            }
            sum.value()
        })
        .without_allocations()
}

/// 2 % of the lines begin with a dot. The smtp_proto and pop3_proto cases have the peers.
fn unstuffing() -> Case {
    Case::new("text_proto unstuffing 100k", "message", 1, on_the_wire(&message(SIZE, Dots::Percent(2))))
        .ours("Unstuffer", |wire| unstuffed(wire, |_| {}))
        .floor("memcpy", copy())
        .without_allocations()
}

/// Takes the content of `wire` piece by piece and returns its size.
pub(crate) fn unstuffed(wire: &[u8], mut take: impl FnMut(&[u8])) -> u64 {
    let (mut unstuffer, mut size, mut rest) = (Unstuffer::new(), 0, wire);
    while let Unstuffed::Content { consumed, content } = unstuffer.next(rest) {
        size += content.len() as u64;
        take(content);
        rest = &rest[consumed..];
    }
    size
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Crlf,
    Lf,
}

const STUFFER: &str = "Stuffer";
const LETTRE: &str = "lettre 0.11.23, done again";

/// Into a buffer that is there, in pieces of 16 KiB, as files are read. lettre does not make CRLF of LF, so that it is given CRLF whatever we are
/// given. memcpy copies the same octets without a look at them. The gate: what held when it was written, and a twentieth.
fn stuffing(name: &str, end: End, content: Vec<u8>, at_most: f64) -> Case {
    let given = if end == End::Lf { with_lf(&content) } else { content.clone() };
    let (mut ours, mut theirs) = (Vec::with_capacity(2 * content.len()), Vec::with_capacity(2 * content.len()));
    stuffed(&given, &mut ours);
    stuffed_by_lettre(&content, &mut theirs);
    assert!(ours == theirs, "other octets");
    Case::new(format!("text_proto stuffing 100k, {name}"), "message", 1, given)
        .ours(STUFFER, move |content| stuffed(content, &mut ours))
        .peer(LETTRE, move |_| stuffed_by_lettre(&content, &mut theirs))
        .floor("memcpy", copy())
        .gate(Gate::Instructions { ours: STUFFER, other: LETTRE, at_most })
        .without_allocations()
}

fn stuffed(content: &[u8], out: &mut Vec<u8>) -> u64 {
    let mut stuffer = Stuffer::new();
    out.clear();
    content.chunks(16 << 10).for_each(|piece| stuffer.stuff(piece, out));
    stuffer.finish(out);
    out.len() as u64
}

/// What the codec of lettre 0.11.23 does, which it keeps to itself: a push and a step of a state machine for each octet. lettre ends a message with a
/// CRLF more than the content has.
fn stuffed_by_lettre(content: &[u8], out: &mut Vec<u8>) -> u64 {
    #[derive(Clone, Copy)]
    enum Line {
        Started,
        Within,
        AfterCr,
    }
    let mut line = Line::Started;
    out.clear();
    for octet in content {
        out.push(*octet);
        line = match (line, *octet) {
            (_, b'\r') => Line::AfterCr,
            (Line::AfterCr, b'\n') => Line::Started,
            (Line::Started, b'.') => {
                out.push(b'.');
                Line::Within
            }
            _ => Line::Within,
        };
    }
    out.extend_from_slice(b".\r\n");
    out.len() as u64
}

/// Whether each CR and LF belongs to a CRLF.
fn strays() -> Case {
    Case::new("text_proto strays 100k", "message", 1, message(SIZE, Dots::None))
        .ours("StrayScanner", |content| {
            let mut scanner = StrayScanner::new();
            scanner.scan(content).or_else(|| scanner.finish()).map_or(0, |(at, _)| at)
        })
        .floor("memcpy", copy())
        .without_allocations()
}

/// What a message whose lines end in LF takes on the wire.
fn wire_size() -> Case {
    Case::new("text_proto wire size 100k", "message", 1, with_lf(&message(SIZE, Dots::None)))
        .ours("WireSize", |content| {
            let mut size = WireSize::new();
            size.add(content);
            size.finish()
        })
        .floor("memcpy", copy())
        .without_allocations()
}

/// Copies the input into a buffer that is there: what any program that keeps the octets has to do at least.
pub(crate) fn copy() -> impl FnMut(&[u8]) -> u64 {
    let mut copied = Vec::new();
    move |input| {
        copied.clear();
        copied.extend_from_slice(input);
        std::hint::black_box(&copied).len() as u64
    }
}
