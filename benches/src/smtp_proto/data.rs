use postrider_smtp_proto::server::{Config, Connection, Event};
use postrider_smtp_proto::{ClientName, Command, ForwardPath, Mailbox, Parameters, Path, ReversePath};
use postrider_smtp_proto::{Code, Reply, Step, client};
use smtp_proto::Request;
use smtp_proto::request::receiver::{BdatReceiver, DataReceiver, RequestReceiver};

use super::SMTP_PROTO;
use crate::case::{Case, Gate};
use crate::inputs::content::{Dots, message, on_the_wire};
use crate::text_proto::{copy, unstuffed};

/// A message after DATA, whole in one buffer. We give slices of that buffer; smtp-proto copies the content into one of the caller's, and so does
/// our third way. smtp-proto takes bare CR and LF; the connection looks for them, the `Unstuffer` alone does not. The connection is copied
/// ready for each message, which matters for the small ones only.
pub(super) fn data(name: &str, size: usize, dots: Dots) -> Case {
    let content = message(size, dots);
    let wire = on_the_wire(&content);
    let (connection, mut ours, mut theirs) = (at_data(), Vec::with_capacity(size), Vec::with_capacity(size));
    assert!(received(&connection, &wire, |piece| ours.extend_from_slice(piece)) > 0 && ours == content, "other octets");
    peer(&wire, &mut theirs);
    assert!(theirs == content, "the peer gives other octets");
    Case::new(format!("smtp_proto DATA {name}"), "message", 1, wire)
        .ours(CONNECTION, move |wire| received(&connection, wire, |_| {}))
        .ours(UNSTUFFER, |wire| unstuffed(wire, |_| {}))
        .ours(COPIED, move |wire| {
            ours.clear();
            unstuffed(wire, |piece| ours.extend_from_slice(piece))
        })
        .peer(SMTP_PROTO, move |wire| peer(wire, &mut theirs))
        .floor("memcpy", copy())
        .gates(gates(size, dots))
        .without_allocations()
}

/// Instructions: what held when it was written, and a twentieth. Time where they mislead: smtp-proto takes lines with dots octet by octet, we by vectors. With
/// 10 MB the memory has its share.
fn gates(size: usize, dots: Dots) -> Vec<Gate> {
    let [connection, unstuffer, copied] = match dots {
        Dots::None => [1.39, 0.57, 0.84],
        Dots::Percent(_) => [1.06, 0.56, 0.8],
        Dots::All => [0.94, 0.27, 0.375],
    };
    let instructions = [(CONNECTION, connection), (UNSTUFFER, unstuffer), (COPIED, copied)];
    let mut gates: Vec<_> =
        instructions.map(|(ours, at_most)| Gate::Instructions { ours, other: SMTP_PROTO, at_most }).into();
    if matches!(dots, Dots::All) && size <= 100 << 10 {
        gates.push(Gate::Time { ours: UNSTUFFER, other: SMTP_PROTO, at_most: 0.3 });
    }
    gates
}

const CONNECTION: &str = "server::Connection";
const UNSTUFFER: &str = "Unstuffer";
const COPIED: &str = "Unstuffer, copied";

/// A message of 100 KB or more in chunks of 64 KiB, `BODY=BINARYMIME`: nothing of it is looked at. smtp-proto reads the commands and copies the octets.
pub(super) fn chunks(name: &str, size: usize) -> Case {
    let content = message(size, Dots::Percent(2));
    let (connection, mut out, mut theirs) = (before_chunks(), Vec::with_capacity(1 << 10), Vec::with_capacity(size));
    let pieces: Vec<_> = content.chunks(64 << 10).collect();
    let mut wire = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let last = if index + 1 == pieces.len() { " LAST" } else { "" };
        wire.extend_from_slice(format!("BDAT {}{last}\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
    }
    Case::new(format!("smtp_proto BDAT {name}"), "message", 1, wire)
        .ours(CONNECTION, move |wire| received_in_chunks(&connection, wire, &mut out))
        .peer(SMTP_PROTO, move |wire| peer_in_chunks(wire, &mut theirs))
        .floor("memcpy", copy())
        .gate(Gate::Instructions { ours: CONNECTION, other: SMTP_PROTO, at_most: 0.5 })
        .gate(Gate::Time { ours: CONNECTION, other: SMTP_PROTO, at_most: 0.5 })
        .without_allocations()
}

fn received_in_chunks(connection: &Connection, wire: &[u8], out: &mut Vec<u8>) -> u64 {
    let (mut connection, mut rest) = (connection.clone(), wire);
    out.clear();
    loop {
        let (consumed, event) = match connection.receive(rest) {
            Ok(Step::Event { consumed, event }) => (consumed, Some(event)),
            Ok(Step::Skip { consumed }) => (consumed, None),
            _ => return 0,
        };
        match event {
            Some(Event::ContentEnd(end)) => return end.size,
            Some(Event::ChunkEnd(_)) if connection.send(&Reply::new(Code::OK, "go on"), out).is_err() => return 0,
            _ => {}
        }
        rest = &rest[consumed..];
    }
}

fn peer_in_chunks(wire: &[u8], content: &mut Vec<u8>) -> u64 {
    let (mut octets, mut requests) = (wire.iter(), RequestReceiver::default());
    content.clear();
    while let Ok(Request::Bdat { chunk_size, is_last }) = requests.ingest(&mut octets) {
        let ended = BdatReceiver::new(chunk_size, is_last).ingest(&mut octets, content);
        if !ended || is_last {
            break;
        }
    }
    content.len() as u64
}

fn before_chunks() -> Connection {
    let mut config = Config::default();
    (config.extensions.chunking, config.extensions.binary_mime) = (true, true);
    after(
        config,
        &[("EHLO x\r\n", Code::OK), ("MAIL FROM:<> BODY=BINARYMIME\r\n", Code::OK), ("RCPT TO:<a@b>\r\n", Code::OK)],
    )
}

/// A connection that has just said 354.
fn at_data() -> Connection {
    let envelope = [("EHLO x\r\n", Code::OK), ("MAIL FROM:<>\r\n", Code::OK), ("RCPT TO:<a@b>\r\n", Code::OK)];
    after(Config::default(), &[&envelope[..], &[("DATA\r\n", Code::START_MAIL_INPUT)]].concat())
}

/// A connection that has heard these commands, and answered with these codes.
fn after(config: Config, commands: &[(&str, Code)]) -> Connection {
    let (mut connection, mut out) = (Connection::new(config), Vec::new());
    let mut sent = connection.send(&Reply::new(Code::READY, "x"), &mut out);
    for (line, code) in commands {
        let heard = connection.receive(line.as_bytes()).is_ok();
        sent = sent.and_then(|()| connection.send(&Reply::new(*code, "x"), &mut out));
        assert!(heard && sent.is_ok(), "{line:?} was not taken");
    }
    connection
}

fn received(connection: &Connection, wire: &[u8], mut take: impl FnMut(&[u8])) -> u64 {
    let (mut connection, mut rest) = (connection.clone(), wire);
    loop {
        let consumed = match connection.receive(rest) {
            Ok(Step::Event { consumed, event: Event::Content(piece) }) => {
                take(piece);
                consumed
            }
            Ok(Step::Skip { consumed }) => consumed,
            Ok(Step::Event { event: Event::ContentEnd(end), .. }) if end.fault.is_none() => return end.size,
            _ => return 0,
        };
        rest = &rest[consumed..];
    }
}

fn peer(wire: &[u8], content: &mut Vec<u8>) -> u64 {
    content.clear();
    let ended = DataReceiver::new().ingest(&mut wire.iter(), content);
    if ended { content.len() as u64 } else { 0 }
}

/// A client's side: 100 KB in pieces of 16 KiB, looked at for bare CR and LF, stuffed into a buffer that is there. No peer's can be called.
pub(super) fn sent() -> Case {
    let content = message(100 << 10, Dots::Percent(2));
    let (connection, mut out) = (asked_for_a_message(), Vec::with_capacity(2 * content.len()));
    Case::new("smtp_proto message sent 100k", "message", 1, content)
        .ours("client::Connection", move |content| {
            let mut connection = connection.clone();
            out.clear();
            let whole = content.chunks(16 << 10).all(|piece| connection.content(piece, &mut out).is_ok());
            if whole && connection.end_of_content(&mut out).is_ok() { out.len() as u64 } else { 0 }
        })
        .floor("memcpy", copy())
}

fn asked_for_a_message() -> client::Connection {
    let mut connection = client::Connection::new(client::Config::default());
    let (Ok(name), Ok(mailbox)) = (ClientName::new("x"), Mailbox::new("a@b")) else { panic!("not a name") };
    let parameters = Parameters::NONE;
    assert!(connection.receive(b"220 x\r\n").is_ok(), "the server did not greet");
    for (command, reply) in [
        (Command::Ehlo(name), "250 x\r\n"),
        (Command::Mail { from: ReversePath::Null, parameters }, "250 x\r\n"),
        (Command::Rcpt { to: ForwardPath::Path(Path::new(mailbox)), parameters }, "250 x\r\n"),
        (Command::Data, "354 x\r\n"),
    ] {
        let said = connection.send(&command, &mut Vec::new()).is_ok();
        assert!(said && connection.receive(reply.as_bytes()).is_ok(), "{command:?} was not taken");
    }
    connection
}
