//! [`Stuffer`] writes what a naive one writes, wherever content is cut; [`WireSize`] counts it; a peer reads exactly that content back.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::Cuts;
use postrider_fuzz::naive;
use postrider_text_proto::{Stuffer, WireSize};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: Cuts,
    content: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let sent = naive::with_crlf(input.content);
    let wire = naive::stuffed(&sent);
    for cuts in [Cuts::NOWHERE, input.cuts, Cuts::EVERYWHERE] {
        assert_eq!(stuffed(input.content, cuts), wire, "cut at {cuts:?}");
        assert_eq!(size(input.content, cuts), sent.len() as u64, "cut at {cuts:?}");
    }
    assert_eq!(naive::unstuff(&wire), (sent, Some(wire.len())));
});

/// Two messages by the same stuffer: the first must leave no trace.
fn stuffed(content: &[u8], cuts: Cuts) -> Vec<u8> {
    let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
    stuffer.stuff(b"no end\r", &mut out);
    stuffer.finish(&mut out);
    out.clear();
    cuts.pieces(content).for_each(|piece| stuffer.stuff(piece, &mut out));
    stuffer.finish(&mut out);
    out
}

fn size(content: &[u8], cuts: Cuts) -> u64 {
    let mut size = WireSize::new();
    cuts.pieces(content).for_each(|piece| size.add(piece));
    size.finish()
}
