//! [`LineScanner`] finds the lines that a naive search finds, wherever octets are cut, and holds no more than the limit.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::{Cuts, Taken, deliver, same_at_every_cut};
use postrider_fuzz::naive;
use postrider_text_proto::{Framed, LineError, LineScanner};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    limit: u8,
    cuts: Cuts,
    wire: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let limit = usize::from(input.limit).max(2);
    let expected = naive::lines(input.wire, limit);
    same_at_every_cut(input.cuts, |cuts| {
        let found = lines(input.wire, limit, cuts);
        assert_eq!(found, expected);
        found
    });
});

fn lines(wire: &[u8], limit: usize, cuts: Cuts) -> Vec<Result<Vec<u8>, LineError>> {
    let (mut scanner, mut lines) = (LineScanner::new(), Vec::new());
    deliver(wire, cuts, limit, |buffer| {
        let (consumed, line) = match scanner.next(buffer, limit) {
            Framed::Line { consumed, line } => (consumed, Ok(line.to_vec())),
            Framed::Malformed { consumed, error } => (consumed, Err(error)),
            Framed::Skip { consumed } => return Taken::Octets(consumed),
            Framed::Incomplete => return Taken::NotYet,
        };
        lines.push(line);
        Taken::Octets(consumed)
    });
    lines
}
