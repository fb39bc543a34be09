//! An SMTP or LMTP server hears and says the same wherever a client's octets are cut, messages included, and holds no more of them than its
//! limits allow.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::{Choices, Cuts, same_at_every_cut};
use postrider_fuzz::smtp::{Options, serve};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    options: Options,
    choices: Choices,
    cuts: Cuts,
    wire: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    same_at_every_cut(input.cuts, |cuts| serve(input.wire, input.options, input.choices, cuts));
});
