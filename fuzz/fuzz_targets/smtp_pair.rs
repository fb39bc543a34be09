//! Whatever message our SMTP or LMTP client is given, our server gets that one message and no other, with the line ends that both were
//! told to make; or the client says that it cannot be sent, and the server gets none.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::{Choices, Cuts};
use postrider_fuzz::naive;
use postrider_fuzz::smtp::{Client, Options, Server, converse};
use postrider_smtp_proto::{LineEndings, Misuse};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    lmtp: bool,
    by_client: u8,
    by_server: u8,
    cuts: Cuts,
    pieces: Cuts,
    message: &'a [u8],
}

const SMTP: &[u8] = b"EHLO c\nMAIL FROM:<>\nRCPT TO:<a@b>\nRCPT TO:<c@d>\nDATA\nQUIT\n";
const LMTP: &[u8] = b"LHLO c\nMAIL FROM:<>\nRCPT TO:<a@b>\nRCPT TO:<c@d>\nDATA\nQUIT\n";

fuzz_target!(|input: Input<'_>| {
    let (by_client, by_server) =
        (Options::with(input.lmtp, input.by_client), Options::with(input.lmtp, input.by_server));
    let script = if input.lmtp { LMTP } else { SMTP };
    let mut server = Server::new(by_server, Choices::ZERO);
    let mut client = Client::new(by_client, script, input.message, input.pieces);
    converse(&mut client, &mut server, input.cuts);
    match naive::stray(input.message) {
        Some((at, stray)) if by_client.line_endings() == LineEndings::Reject => {
            assert_eq!(client.lost, Some(Misuse::LineEnding { stray, at }));
            assert!(server.heard.messages.is_empty(), "{:?}", server.heard);
        }
        _ => {
            assert_eq!(client.lost, None);
            server.heard.assert_one(script, &sent(input.message, by_client.line_endings()), by_server.line_endings());
        }
    }
});

/// What a client sends, before dot-stuffing.
fn sent(message: &[u8], line_endings: LineEndings) -> Vec<u8> {
    match line_endings {
        LineEndings::Normalise => naive::with_last_crlf(naive::normalised(message)),
        LineEndings::Note | LineEndings::Reject => naive::with_crlf(message),
    }
}
