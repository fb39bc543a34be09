//! Whatever a POP3 server stores, our client gets it as one message, each LF as CRLF, of the size that was announced.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::{Choices, Cuts};
use postrider_fuzz::naive;
use postrider_fuzz::pop3::{Client, Options, Server, converse};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    pipelining: bool,
    cuts: Cuts,
    pieces: Cuts,
    message: &'a [u8],
}

const SCRIPT: &[u8] = b"USER a\nPASS b\nLIST 1\nRETR 1\nNOOP\nTOP 1 4294967295\nQUIT\n";

fuzz_target!(|input: Input<'_>| {
    let options = if input.pipelining { Options::PIPELINING } else { Options::PLAIN };
    let mut server = Server::new(options, Choices::ZERO, input.message, input.pieces);
    let mut client = Client::new(options, SCRIPT);
    converse(&mut client, &mut server, options, input.cuts);
    let expected = naive::with_crlf(input.message);
    assert_eq!(client.sizes, [expected.len() as u64]);
    assert_eq!(client.messages, [expected.clone(), expected]);
    let verbs = server.heard.len();
    assert_eq!(verbs, SCRIPT.split_inclusive(|octet| *octet == b'\n').count());
    assert_eq!(client.heard.len(), 1 + verbs + 2, "a greeting, the responses and two ends: {:?}", client.heard);
});
