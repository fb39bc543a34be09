use postrider_smtp_proto::server::{Config, Connection, Event};
use postrider_smtp_proto::{ClientName, Command, ForwardPath, Mailbox, Parameters, Path, ReversePath};
use postrider_smtp_proto::{Code, Reply, Step, client};
use smtp_proto::request::receiver::DataReceiver;

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
        Dots::None => [1.49, 0.67, 0.84],
        Dots::Percent(_) => [1.08, 0.57, 0.81],
        Dots::All => [1.02, 0.5, 0.61],
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

/// A connection that has just said 354.
fn at_data() -> Connection {
    let (mut connection, mut out) = (Connection::new(Config::default()), Vec::new());
    let mut sent = connection.send(&Reply::new(Code::READY, "x"), &mut out);
    for (line, code) in [
        ("EHLO x\r\n", Code::OK),
        ("MAIL FROM:<>\r\n", Code::OK),
        ("RCPT TO:<a@b>\r\n", Code::OK),
        ("DATA\r\n", Code::START_MAIL_INPUT),
    ] {
        let heard = connection.receive(line.as_bytes()).is_ok();
        sent = sent.and_then(|()| connection.send(&Reply::new(code, "x"), &mut out));
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
