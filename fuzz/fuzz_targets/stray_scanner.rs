//! [`StrayScanner`] finds the first CR or LF that stands alone where a naive search finds it, wherever content is cut.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::Cuts;
use postrider_fuzz::naive;
use postrider_text_proto::{Stray, StrayScanner};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: Cuts,
    /// The content is repeated, so that small inputs reach beyond the scanner's blocks.
    times: u8,
    content: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let content = input.content.repeat(usize::from(input.times % 64) + 1);
    for cuts in [Cuts::NOWHERE, input.cuts, Cuts::EVERYWHERE] {
        assert_eq!(stray(&content, cuts), naive::stray(&content), "cut at {cuts:?}");
    }
});

fn stray(content: &[u8], cuts: Cuts) -> Option<(u64, Stray)> {
    let mut scanner = StrayScanner::new();
    let found = cuts.pieces(content).find_map(|piece| scanner.scan(piece));
    found.or_else(|| scanner.finish())
}
