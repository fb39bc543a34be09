//! [`Top`] takes of a message what a naive reading takes, wherever the message is cut.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::Cuts;
use postrider_fuzz::naive;
use postrider_pop3_proto::Top;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    lines: u8,
    cuts: Cuts,
    message: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let lines = if input.lines == u8::MAX { u32::MAX } else { input.lines.into() };
    let expected = naive::top(input.message, lines);
    for cuts in [Cuts::NOWHERE, input.cuts, Cuts::EVERYWHERE] {
        let mut top = Top::new(lines);
        let taken: Vec<u8> = cuts.pieces(input.message).flat_map(|piece| top.take(piece)).copied().collect();
        assert_eq!(taken, expected, "cut at {cuts:?}");
        assert!(top.is_done() || taken == input.message);
    }
});
