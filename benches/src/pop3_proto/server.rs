use postrider_pop3_proto::server::{Config, Connection, Event};
use postrider_pop3_proto::{
    Command, Item, MessageNumber, Response, ScanListing, Step, Text, UniqueId, UniqueIdListing,
};
use postrider_text_proto::{Framed, LineScanner};

use super::{POP3_CODEC, SAWP, peers};
use crate::case::{Case, Gate};
use crate::checksum::Checksum;
use crate::inputs::content::{Dots, message, with_lf};
use crate::inputs::pop3;
use crate::text_proto::copy;

const PARSE: &str = "LineScanner, Command::parse";
const CONNECTION: &str = "server::Connection, receive and send";

/// `Command::parse` behind a `LineScanner` does what the peers do: an octet stream becomes commands. The connection does more: it
/// keeps the session's state, refuses what does not belong or is too long, and writes an answer to each command; no peer has the like.
///
/// pop3-codec owns its strings and takes a bare LF. sawp owns a copy of each argument, takes upper case only and leaves numbers as octets; we read
/// them here. rfc1939 has a parser for each command and nothing to tell which to call, so it is left out.
pub(super) fn commands() -> Case {
    Case::new("pop3_proto commands", "command", pop3::SESSIONS * pop3::COMMANDS, pop3::commands())
        .ours(PARSE, parsed)
        .ours(CONNECTION, {
            let mut out = Vec::with_capacity(4096);
            move |input| served(input, &mut out)
        })
        .peer(POP3_CODEC, peers::pop3_codec_commands)
        .peer(SAWP, peers::sawp_commands)
        .gate(Gate::Instructions { ours: PARSE, other: POP3_CODEC, at_most: 0.35 })
        .without_allocations()
}

fn parsed(input: &[u8]) -> u64 {
    let (mut scanner, mut sum, mut rest) = (LineScanner::new(), Checksum::default(), input);
    while let Framed::Line { consumed, line } = scanner.next(rest, 255) {
        let Ok(command) = Command::parse(line) else { break };
        add(&mut sum, &command);
        rest = &rest[consumed..];
    }
    sum.value()
}

/// Each session from its greeting to its end.
fn served(input: &[u8], out: &mut Vec<u8>) -> u64 {
    let (mut sum, mut rest) = (Checksum::default(), input);
    for _ in 0..pop3::SESSIONS {
        let mut connection = Connection::new(Config::default());
        out.clear();
        let mut sent = connection.send(&Response::Greeting { text: Text::EMPTY, timestamp: None }, out);
        while let Ok(Step::Event { consumed, event: Event::Command(command) }) = connection.receive(rest) {
            add(&mut sum, &command);
            sent = sent.and(connection.send(&answer(&command), out));
            if command.is_multi_line() {
                sent = sent.and(connection.finish(out));
            }
            rest = &rest[consumed..];
        }
        if sent.is_err() {
            break;
        }
    }
    sum.value()
}

fn answer<'c>(command: &Command<'c>) -> Response<'c> {
    match *command {
        Command::Stat => Response::DropListing { messages: 10_000, octets: 45_000_000 },
        Command::List(Some(message)) => Response::ScanListing(ScanListing { message, octets: 4711 }),
        Command::Uidl(Some(message)) => match UniqueId::new("1700000000.M1P1.host") {
            Ok(id) => Response::UniqueId(UniqueIdListing { message, id }),
            Err(_) => Response::err("no such message"),
        },
        _ => Response::ok(""),
    }
}

fn add(sum: &mut Checksum, command: &Command<'_>) {
    match command {
        Command::User(name) => sum.add_len(name.as_bytes()),
        Command::Pass(password) => sum.add_len(password.expose()),
        Command::Top { message, lines } => {
            sum.add(message.as_u32().into());
            sum.add((*lines).into());
        }
        Command::Dele(message) => sum.add(message.as_u32().into()),
        Command::List(message) | Command::Uidl(message) => sum.add(message.map_or(0, MessageNumber::as_u32).into()),
        Command::Retr(message) => sum.add(message.as_u32().into()),
        Command::Stat => sum.add(1),
        Command::Noop => sum.add(2),
        Command::Quit => sum.add(3),
        _ => sum.add(4),
    }
}

/// A message of 1 MB whose lines end in LF, 1 % of them with a dot first, in pieces of 16 KiB as files are read: LF becomes CRLF, dots are
/// stuffed. No peer does it; memcpy copies the same octets without a look at them.
pub(super) fn retrieval() -> Case {
    let content = with_lf(&message(1 << 20, Dots::Percent(1)));
    let mut out = Vec::with_capacity(2 * content.len());
    let mut connection = logged_in();
    Case::new("pop3_proto RETR 1 MB, server", "message", 1, content)
        .ours("server::Connection::send_item", move |content| {
            out.clear();
            let asked =
                connection.receive(b"RETR 1\r\n").is_ok() && connection.send(&Response::ok(""), &mut out).is_ok();
            let sent =
                content.chunks(16 << 10).all(|piece| connection.send_item(&Item::Content(piece), &mut out).is_ok());
            let whole = asked && sent && connection.finish(&mut out).is_ok();
            if whole { out.len() as u64 } else { 0 }
        })
        .floor("memcpy", copy())
        .without_allocations()
}

fn logged_in() -> Connection {
    let (mut connection, mut out) = (Connection::new(Config::default()), Vec::new());
    let greeted = connection.send(&Response::Greeting { text: Text::EMPTY, timestamp: None }, &mut out);
    let answered = ["USER a\r\n", "PASS b\r\n"].into_iter().all(|line| {
        connection.receive(line.as_bytes()).is_ok() && connection.send(&Response::ok(""), &mut out).is_ok()
    });
    assert!(greeted.is_ok() && answered, "the session did not begin");
    connection
}
