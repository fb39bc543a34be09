//! Whatever line ends a client puts into a message, all sent at once with the commands around it: an SMTP server hears those commands, and
//! gets one message.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::{Choices, Cuts};
use postrider_fuzz::naive;
use postrider_fuzz::smtp::{Options, serve};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    line_endings: u8,
    cuts: Cuts,
    message: &'a [u8],
}

const BEFORE: &[u8] = b"EHLO c\nMAIL FROM:<>\nRCPT TO:<a@b>\nDATA\n";
const AFTER: &[u8] = b"NOOP\nQUIT\n";

fuzz_target!(|input: Input<'_>| {
    let options = Options::with(false, input.line_endings);
    let sent = naive::with_last_crlf(input.message.to_vec());
    let wire = [naive::with_crlf(BEFORE), naive::stuffed(&sent), naive::with_crlf(AFTER)].concat();
    for cuts in [Cuts::NOWHERE, input.cuts, Cuts::EVERYWHERE] {
        let (heard, _) = serve(&wire, options, Choices::ZERO, cuts);
        heard.assert_one(&[BEFORE, AFTER].concat(), &sent, options.line_endings());
    }
});
