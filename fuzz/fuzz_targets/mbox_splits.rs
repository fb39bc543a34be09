//! The same messages and doubts wherever a file is cut; each octet once; what is quoted comes back.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_mbox::{Dialect, Doubt, End, Event, Policy, Quoter, Splitter, Step, Unquoter, Why};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    policy: u8,
    /// Octets that come at once.
    size: u8,
    file: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let policy = [Policy::Evidence, Policy::BlankRequired, Policy::DateEnough][usize::from(input.policy % 3)];
    let whole = split(input.file, policy, input.file.len().max(1));
    assert_eq!(split(input.file, policy, usize::from(input.size).max(1)), whole);
    let quoted = quote(input.file, usize::from(input.size).max(1));
    assert_eq!(unquote(&quoted, usize::from(input.size).max(1)), input.file);
    // What was quoted holds no message that begins with a blank line before it, or without one.
    assert!(split(&[b"From a@b Thu Jan  1 00:00:00 1970\nX: y\n\n", &quoted[..]].concat(), policy, 4096).0.len() <= 1);
});

/// Where messages begin and why, what was found at their ends, and the doubts.
type Found = (Vec<(u64, Why)>, Vec<End>, Vec<Doubt>);

fn split(file: &[u8], policy: Policy, size: usize) -> Found {
    let (mut splitter, mut found) = (Splitter::new(policy), Found::default());
    let (mut at, mut end) = (0, file.len().min(size));
    loop {
        match splitter.next(&file[at..end], end == file.len()) {
            Step::Event { consumed, event } => {
                match event {
                    Event::Start { why, .. } => found.0.push((at as u64, why)),
                    Event::End(end) => found.1.push(end),
                    Event::Doubt(doubt) => found.2.push(doubt),
                    Event::Junk(octets) | Event::Content(octets) => assert_eq!(octets, &file[at..at + consumed]),
                }
                at += consumed;
            }
            Step::NeedInput => {
                assert!(end < file.len() && end - at <= 2048, "{} octets are held", end - at);
                end = file.len().min(end + size);
            }
            Step::Look { at } => {
                let octets = usize::try_from(at).ok().and_then(|at| file.get(at..)).unwrap_or_default();
                let octets = &octets[..octets.len().min(Splitter::LOOK)];
                splitter.looked(Some(octets), octets.len() < Splitter::LOOK);
            }
            Step::End => break,
        }
    }
    assert_eq!((at, found.0.len()), (file.len(), found.1.len()));
    found
}

fn quote(content: &[u8], size: usize) -> Vec<u8> {
    let mut quoter = Quoter::new(Dialect::Mboxrd);
    in_pieces(content, size, |input, last, out| {
        let piece = quoter.next(input, last)?;
        out.extend_from_slice(piece.octets);
        Some(piece.consumed)
    })
}

fn unquote(content: &[u8], size: usize) -> Vec<u8> {
    let mut unquoter = Unquoter::new(Dialect::Mboxrd);
    in_pieces(content, size, |input, last, out| {
        let piece = unquoter.next(input, last)?;
        out.extend_from_slice(piece.octets);
        Some(piece.consumed)
    })
}

fn in_pieces(content: &[u8], size: usize, mut next: impl FnMut(&[u8], bool, &mut Vec<u8>) -> Option<usize>) -> Vec<u8> {
    let (mut out, mut at, mut end) = (Vec::new(), 0, content.len().min(size));
    loop {
        match next(&content[at..end], end == content.len(), &mut out) {
            Some(consumed) => at += consumed,
            None if end == content.len() => return out,
            None => end = content.len().min(end + size),
        }
    }
}
