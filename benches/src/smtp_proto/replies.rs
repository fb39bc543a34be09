use postrider_smtp_proto::client::{Config, Connection, Event};
use postrider_smtp_proto::{
    Capability, ClientName, Command, ForwardPath, Limits, Mailbox, Misuse, Parameters, Path, Reply, ReplyScanner,
    ReversePath, Step,
};
use smtp_proto::response::parser::ResponseReceiver;
use smtp_proto::{EXT_8BIT_MIME, EXT_PIPELINING, EXT_SIZE, EXT_SMTP_UTF8, EXT_START_TLS, EhloResponse};

use super::SMTP_PROTO;
use crate::case::{Case, Gate};
use crate::checksum::Checksum;
use crate::inputs::smtp;

/// `ReplyScanner` does what smtp-proto's `ResponseReceiver` does: it frames and parses at once. That owns its text and takes bare LF. The connection does
/// more: it writes the commands, knows which reply answers which, and is made anew for each session, which allocates.
pub(super) fn replies() -> Case {
    Case::new("smtp_proto replies", "reply", smtp::SESSIONS * smtp::REPLIES, smtp::replies())
        .ours(PARSE, |input| {
            let mut sum = Checksum::default();
            each_reply(input, |reply| add(&mut sum, reply));
            sum.value()
        })
        .ours("client::Connection, send and receive", {
            let mut out = Vec::with_capacity(4096);
            move |input| sessions(input, &mut out).unwrap_or_default()
        })
        .peer(SMTP_PROTO, peer)
        .gate(Gate::Instructions { ours: PARSE, other: SMTP_PROTO, at_most: 0.38 })
        .gate(Gate::Time { ours: PARSE, other: SMTP_PROTO, at_most: 0.4 })
        .gate(Gate::NoAllocations(PARSE))
}

const PARSE: &str = "ReplyScanner";

/// A reply of ten lines, read and typed. smtp-proto owns the host's name and makes bits of the capabilities.
pub(super) fn hellos() -> Case {
    Case::new("smtp_proto EHLO reply", "reply", smtp::SESSIONS, smtp::hellos())
        .ours(CAPABILITIES, |input| {
            let mut sum = Checksum::default();
            each_reply(input, |reply| add_capabilities(&mut sum, reply));
            sum.value()
        })
        .peer(SMTP_PROTO, peer_hellos)
        .gate(Gate::Instructions { ours: CAPABILITIES, other: SMTP_PROTO, at_most: 0.45 })
        .gate(Gate::Time { ours: CAPABILITIES, other: SMTP_PROTO, at_most: 0.58 })
        .without_allocations()
}

const CAPABILITIES: &str = "ReplyScanner, capabilities";

fn each_reply(input: &[u8], mut take: impl FnMut(&Reply<'_>)) {
    let (mut scanner, limits, mut rest) = (ReplyScanner::new(), Limits::default(), input);
    while let Ok(Some((consumed, reply))) = scanner.next(rest, &limits) {
        take(&reply);
        rest = &rest[consumed..];
    }
}

/// smtp-proto joins the lines with one octet in between.
fn add(sum: &mut Checksum, reply: &Reply<'_>) {
    sum.add(reply.code().as_u16().into());
    sum.add(reply.enhanced().map_or(0, |code| code.detail().into()));
    sum.add(reply.lines().map(|line| line.len() as u64 + 1).sum::<u64>() - 1);
}

fn add_capabilities(sum: &mut Checksum, reply: &Reply<'_>) {
    let first = reply.lines().next().unwrap_or_default();
    sum.add_len(first.split(|octet| *octet == b' ').next().unwrap_or_default());
    let (mut size, mut mechanisms, mut known) = (0, 0, 0);
    for capability in reply.capabilities() {
        match capability {
            Capability::Auth(offered) => mechanisms = offered.iter().count() as u64,
            Capability::EightBitMime | Capability::Pipelining | Capability::SmtpUtf8 | Capability::StartTls => {
                known += 1
            }
            Capability::Size(Some(octets)) => size = octets,
            _ => {}
        }
    }
    [size, mechanisms, known].into_iter().for_each(|number| sum.add(number));
}

/// Hears the sessions and says what they answer.
fn sessions(input: &[u8], out: &mut Vec<u8>) -> Option<u64> {
    let (mut sum, mut rest) = (Checksum::default(), input);
    let (from, to) = (Path::new(Mailbox::new("a@example.com").ok()?), Path::new(Mailbox::new("b@example.com").ok()?));
    let (from, to, parameters) = (ReversePath::Path(from), ForwardPath::Path(to), Parameters::NONE);
    while !rest.is_empty() {
        let mut connection = Connection::new(Config::default());
        out.clear();
        rest = hear(&mut connection, rest, 1, &mut sum)?;
        connection.send(&Command::Ehlo(ClientName::new("client.example").ok()?), out).ok()?;
        rest = hear(&mut connection, rest, 1, &mut sum)?;
        connection.send(&Command::Mail { from, parameters }, out).ok()?;
        let recipients = (0..10).try_for_each(|_| connection.send(&Command::Rcpt { to, parameters }, out));
        recipients.and_then(|()| connection.send(&Command::Data, out)).ok()?;
        rest = hear(&mut connection, rest, 12, &mut sum)?;
        say(&mut connection, out).ok()?;
        rest = hear(&mut connection, rest, 1, &mut sum)?;
    }
    Some(sum.value())
}

fn say(connection: &mut Connection, out: &mut Vec<u8>) -> Result<(), Misuse> {
    connection.content(b"Subject: x\r\n", out)?;
    connection.end_of_content(out)
}

fn hear<'i>(connection: &mut Connection, input: &'i [u8], replies: usize, sum: &mut Checksum) -> Option<&'i [u8]> {
    let mut rest = input;
    for _ in 0..replies {
        let Ok(Step::Event { consumed, event: Event { reply, .. } }) = connection.receive(rest) else { return None };
        add(sum, &reply);
        rest = &rest[consumed..];
    }
    Some(rest)
}

fn peer(input: &[u8]) -> u64 {
    let (mut receiver, mut sum, mut rest) = (ResponseReceiver::default(), Checksum::default(), input.iter());
    while let Ok(response) = receiver.parse(&mut rest) {
        sum.add(response.code.into());
        sum.add(response.esc[2].into());
        sum.add_len(response.message.as_bytes());
        receiver.reset();
    }
    sum.value()
}

fn peer_hellos(input: &[u8]) -> u64 {
    let (mut sum, mut rest) = (Checksum::default(), input.iter());
    while let Ok(hello) = EhloResponse::parse(&mut rest) {
        let known = hello.capabilities & (EXT_8BIT_MIME | EXT_PIPELINING | EXT_SMTP_UTF8 | EXT_START_TLS);
        let size = if hello.capabilities & EXT_SIZE == 0 { 0 } else { hello.size as u64 };
        sum.add_len(hello.hostname.as_bytes());
        [size, hello.auth_mechanisms.count_ones().into(), known.count_ones().into()]
            .into_iter()
            .for_each(|n| sum.add(n));
    }
    sum.value()
}
