//! Whatever message our SMTP or LMTP client is given, our server gets that one message and no other, with the line ends that both were
//! told to make; or the client says that it cannot be sent, and the server gets none. So by DATA, and so by BDAT in whatever chunks.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::delivery::{Choices, Cuts};
use postrider_fuzz::naive;
use postrider_fuzz::smtp::{Client, Heard, Options, Server, converse};
use postrider_smtp_proto::{LineEndings, Misuse};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// 1: LMTP. 2: BDAT.
    way: u8,
    by_client: u8,
    by_server: u8,
    cuts: Cuts,
    pieces: Cuts,
    message: &'a [u8],
}

const SMTP: &str = "EHLO c\nMAIL FROM:<>\nRCPT TO:<a@b>\nRCPT TO:<c@d>\n";
const LMTP: &str = "LHLO c\nMAIL FROM:<>\nRCPT TO:<a@b>\nRCPT TO:<c@d>\n";

fuzz_target!(|input: Input<'_>| {
    let (lmtp, by_bdat) = (input.way & 1 != 0, input.way & 2 != 0);
    let (by_client, by_server) = (Options::with(lmtp, input.by_client), Options::with(lmtp, input.by_server));
    let envelope = if lmtp { LMTP } else { SMTP };
    let message = if by_bdat { chunks(&input) } else { "DATA\n".to_owned() };
    let script = format!("{envelope}{message}QUIT\n");
    let mut server = Server::new(by_server, Choices::ZERO);
    let mut client = Client::new(by_client, script.as_bytes(), input.message, input.pieces);
    converse(&mut client, &mut server, input.cuts);
    match naive::stray(input.message) {
        Some((at, stray)) if by_client.line_endings() == LineEndings::Reject => {
            assert_eq!(client.lost, Some(Misuse::LineEnding { stray, at }));
            assert!(server.heard.messages.is_empty(), "{:?}", server.heard);
        }
        _ if by_bdat => {
            assert_eq!(client.lost, None);
            let sent = sent_in_chunks(input.message, by_client.line_endings());
            if !refused(&server.heard, &sent, by_server.line_endings()) {
                let script = format!("{envelope}QUIT\n");
                server.heard.assert_one(script.as_bytes(), &sent, by_server.line_endings());
            }
        }
        _ => {
            assert_eq!(client.lost, None);
            let sent = sent(input.message, by_client.line_endings());
            server.heard.assert_one(script.as_bytes(), &sent, by_server.line_endings());
        }
    }
});

/// A line for each piece, and an empty one at the end.
fn chunks(input: &Input<'_>) -> String {
    let pieces = input.pieces.pieces(input.message);
    let lines: String = pieces.map(|piece| format!("BDAT {}\n", piece.len())).collect();
    lines + "BDAT 0 LAST\n"
}

/// A fault that a chunk shows is told with that chunk, and there is no message then.
fn refused(heard: &Heard, sent: &[u8], line_endings: LineEndings) -> bool {
    let faulty = line_endings == LineEndings::Reject && naive::stray(sent).is_some();
    if faulty {
        assert!(heard.messages.iter().all(|message| message.end.fault.is_some()), "{heard:?}");
        let told = heard.events.iter().filter(|event| event.contains("LineEnding")).count();
        assert_eq!(told, 1, "{heard:?}");
    }
    faulty
}

/// What a client sends, before dot-stuffing.
fn sent(message: &[u8], line_endings: LineEndings) -> Vec<u8> {
    match line_endings {
        LineEndings::Normalise => naive::with_last_crlf(naive::normalised(message)),
        LineEndings::Note | LineEndings::Reject => naive::with_crlf(message),
    }
}

/// A message in chunks ends where it ends.
fn sent_in_chunks(message: &[u8], line_endings: LineEndings) -> Vec<u8> {
    match line_endings {
        LineEndings::Normalise => naive::normalised(message),
        LineEndings::Note | LineEndings::Reject => naive::without_bare_lf(message),
    }
}
