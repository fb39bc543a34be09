//! The octet rules, read off their definitions: slow, one octet after the other, the whole content at hand.

use postrider_text_proto::{LineError, Stray};

const CRLF: &[u8] = b"\r\n";

/// Whether the octet at `at` stands at the start of a line.
fn begins_line(octets: &[u8], at: usize) -> bool {
    at == 0 || octets[..at].ends_with(CRLF)
}

/// The CR or LF at `at`, if it is not part of a CRLF.
fn stray_at(octets: &[u8], at: usize) -> Option<Stray> {
    match octets[at] {
        b'\r' if octets.get(at + 1) != Some(&b'\n') => Some(Stray::Cr),
        b'\n' if !octets[..at].ends_with(b"\r") => Some(Stray::Lf),
        _ => None,
    }
}

/// The first CR or LF that is not part of a CRLF, and how many octets are before it.
pub fn stray(octets: &[u8]) -> Option<(u64, Stray)> {
    (0..octets.len()).find_map(|at| Some((at as u64, stray_at(octets, at)?)))
}

/// The lines that CRLF ends, without it; a line may have `limit` octets with it.
pub fn lines(octets: &[u8], limit: usize) -> Vec<Result<Vec<u8>, LineError>> {
    let mut lines = Vec::new();
    let mut left = octets;
    while let Some(end) = left.windows(2).position(|pair| pair == CRLF) {
        lines.push(line(&left[..end], limit));
        left = &left[end + 2..];
    }
    lines
}

fn line(line: &[u8], limit: usize) -> Result<Vec<u8>, LineError> {
    let len = line.len() + 2;
    if len > limit {
        return Err(LineError::TooLong { len: len as u64, limit });
    }
    match stray(line) {
        Some((_, Stray::Cr)) => Err(LineError::BareCr),
        Some((_, Stray::Lf)) => Err(LineError::BareLf),
        None => Ok(line.to_vec()),
    }
}

/// The content at the front of `wire`, and how many octets it took with its end, if that has come.
///
/// Without the end, the last octets are left out where the next one decides what they are.
pub fn unstuff(wire: &[u8]) -> (Vec<u8>, Option<usize>) {
    let mut content = Vec::new();
    for (at, octet) in wire.iter().enumerate() {
        let left = &wire[at..];
        match octet {
            b'.' if begins_line(wire, at) && left.starts_with(b".\r\n") => return (content, Some(at + 3)),
            b'.' if begins_line(wire, at) && b".\r\n".starts_with(left) => break,
            b'.' if begins_line(wire, at) => {}
            b'\r' if left.len() == 1 => break,
            octet => content.push(*octet),
        }
    }
    (content, None)
}

/// Content with every LF as CRLF, the last line's too.
pub fn with_crlf(content: &[u8]) -> Vec<u8> {
    with_last_crlf(without_bare_lf(content))
}

/// Content with every LF that stands alone as CRLF.
pub fn without_bare_lf(content: &[u8]) -> Vec<u8> {
    replaced(content, |stray| stray == Stray::Lf)
}

/// Content with every CR and every LF that stands alone as CRLF.
pub fn normalised(content: &[u8]) -> Vec<u8> {
    replaced(content, |_| true)
}

fn replaced(content: &[u8], becomes_crlf: impl Fn(Stray) -> bool) -> Vec<u8> {
    let octets = content.iter().enumerate();
    let octets = octets.map(|(at, octet)| match stray_at(content, at) {
        Some(stray) if becomes_crlf(stray) => CRLF,
        _ => std::slice::from_ref(octet),
    });
    octets.flatten().copied().collect()
}

/// Content with a CRLF at its end, unless it is empty.
pub fn with_last_crlf(mut content: Vec<u8>) -> Vec<u8> {
    if !content.is_empty() && !content.ends_with(CRLF) {
        content.extend_from_slice(CRLF);
    }
    content
}

/// What is sent for content whose lines end as they shall: a dot before each that begins with one, and the line of one dot.
pub fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (at, octet) in content.iter().enumerate() {
        if *octet == b'.' && begins_line(content, at) {
            wire.push(b'.');
        }
        wire.push(*octet);
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// A message's header, the blank line and so many lines of its body; all of it where no line is blank. A line ends in LF and is blank
/// with nothing but CR before it.
pub fn top(message: &[u8], lines: u32) -> &[u8] {
    let mut at = 0;
    let mut left = None;
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        at += line.len();
        let ended = line.ends_with(b"\n");
        left = match left {
            None if ended && line.iter().all(|octet| b"\r\n".contains(octet)) => Some(lines),
            Some(left) if ended => Some(left - 1),
            left => left,
        };
        if left == Some(0) {
            return &message[..at];
        }
    }
    message
}
