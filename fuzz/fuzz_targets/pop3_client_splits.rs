//! A POP3 client hears and says the same wherever a server's octets are cut, and holds no more of them than its limits allow.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::{Cuts, same_at_every_cut};
use postrider_fuzz::pop3::{Options, listen};
use postrider_fuzz::script;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    options: Options,
    cuts: Cuts,
    script_and_wire: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let (script, wire) = script::split(input.script_and_wire);
    same_at_every_cut(input.cuts, |cuts| listen(wire, input.options, script, cuts));
});
