//! [`Unstuffer`] gives the content, and ends it where a naive reading does, wherever octets are cut: at CRLF, dot, CRLF and nowhere else.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::{Cuts, Taken, deliver};
use postrider_fuzz::naive;
use postrider_text_proto::{Unstuffed, Unstuffer};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: Cuts,
    wire: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    for cuts in [Cuts::NOWHERE, input.cuts, Cuts::EVERYWHERE] {
        assert_eq!(unstuffed(input.wire, cuts), naive::unstuff(input.wire), "cut at {cuts:?}");
    }
});

fn unstuffed(wire: &[u8], cuts: Cuts) -> (Vec<u8>, Option<usize>) {
    let (mut unstuffer, mut content) = (Unstuffer::new(), Vec::new());
    let (mut taken, mut ended) = (0, false);
    deliver(wire, cuts, b".\r".len(), |buffer| {
        if ended {
            return Taken::Over;
        }
        let consumed = match unstuffer.next(buffer) {
            Unstuffed::Content { consumed, content: piece } => {
                content.extend_from_slice(piece);
                consumed
            }
            Unstuffed::End { consumed } => {
                ended = true;
                consumed
            }
            Unstuffed::Incomplete => return Taken::NotYet,
        };
        taken += consumed;
        Taken::Octets(consumed)
    });
    (content, ended.then_some(taken))
}
