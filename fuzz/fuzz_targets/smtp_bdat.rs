//! A message in chunks is what a naive reading of RFC 3030 makes of it, one octet after the other: the same chunks, faults and content, and a
//! refused chunk takes its octets and no more with it, wherever octets are cut.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::Cuts;
use postrider_fuzz::naive;
use postrider_fuzz::smtp::{Options, Part, read_chunks};
use postrider_smtp_proto::{ContentFault, LineEndings};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    line_endings: u8,
    binary: bool,
    cuts: Cuts,
    wire: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let line_endings = Options::with(false, input.line_endings).line_endings();
    let expected = reference(input.wire, line_endings, input.binary);
    for cuts in [Cuts::NOWHERE, input.cuts, Cuts::EVERYWHERE] {
        let found = read_chunks(input.wire, input.binary, input.line_endings, cuts);
        let found = &found[..found.len().min(expected.len())];
        assert_eq!(found, expected, "{} cut at {cuts:?}", input.wire.escape_ascii());
    }
});

/// What becomes of the chunks at the front of `wire`, up to another command or where it breaks off.
fn reference(wire: &[u8], line_endings: LineEndings, binary: bool) -> Vec<Part> {
    let (mut parts, mut rest) = (Vec::new(), wire);
    let (mut content, mut first, mut over) = (Vec::new(), true, false);
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, after) = (&rest[..end], &rest[end + 2..]);
        let word = line.split(|octet| matches!(octet, b' ' | b'\t')).next().unwrap_or_default();
        if !word.eq_ignore_ascii_case(b"BDAT") {
            return parts;
        }
        let Some((size, last)) = announced(line) else {
            parts.push(Part::Closed);
            return parts;
        };
        if !over {
            parts.push(Part::Chunk(size, first, last));
        }
        let Some((chunk, after)) = usize::try_from(size).ok().and_then(|size| after.split_at_checked(size)) else {
            return parts;
        };
        rest = after;
        if over {
            parts.push(Part::Refused);
            continue;
        }
        content.extend_from_slice(chunk);
        first = false;
        let stray = naive::stray(if last { &content } else { judged(&content) });
        let fault = stray.filter(|_| !binary && line_endings == LineEndings::Reject);
        let fault = fault.map(|(at, stray)| ContentFault::LineEnding { stray, at });
        let normal = if binary || line_endings != LineEndings::Normalise {
            content.clone()
        } else {
            naive::normalised(&content)
        };
        over = last || fault.is_some();
        parts.push(match (last, fault) {
            (true, Some(fault)) => Part::End(Vec::new(), Some(fault), None),
            (true, None) => Part::End(normal, None, stray.filter(|_| !binary && line_endings == LineEndings::Note)),
            // Whether a CR is part of a CRLF is not known yet, and until then it counts as itself.
            (false, fault) => Part::ChunkEnd(
                fault,
                (normal.len() - usize::from(content.ends_with(b"\r")) * added(line_endings, binary)) as u64,
            ),
        });
    }
    parts
}

/// What a chunk that is not the last shows: not yet what a CR at its end is, nor one before that.
fn judged(content: &[u8]) -> &[u8] {
    let before = content.strip_suffix(b"\r").unwrap_or(content);
    before.strip_suffix(b"\r").unwrap_or(before)
}

/// Octets that a CR alone gets to go with it.
fn added(line_endings: LineEndings, binary: bool) -> usize {
    usize::from(line_endings == LineEndings::Normalise && !binary)
}

/// `"BDAT" SP chunk-size [ SP end-marker ]`, with spaces at the end.
fn announced(line: &[u8]) -> Option<(u64, bool)> {
    let text = std::str::from_utf8(line).ok().filter(|line| line.len() + 2 <= 4096 && !line.contains(['\r', '\n']))?;
    let mut words: Vec<_> = text.trim_end_matches([' ', '\t']).split(' ').collect();
    let verb = words[0].to_ascii_uppercase();
    words[0] = &verb;
    let (size, last) = match words[..] {
        ["BDAT", size] => (size, false),
        ["BDAT", size, last] if last.eq_ignore_ascii_case("LAST") => (size, true),
        _ => return None,
    };
    let digits = !size.is_empty() && size.bytes().all(|octet| octet.is_ascii_digit());
    Some((size.parse().ok().filter(|_| digits)?, last))
}
