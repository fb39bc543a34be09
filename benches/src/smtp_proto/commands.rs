use postrider_smtp_proto::server::{Config, Connection, Event};
use postrider_smtp_proto::{
    Body, Code, Command, ForwardPath, Mailbox, Mechanism, Parameters, Reply, ReversePath, Step,
};
use postrider_text_proto::{Framed, LineScanner};
use smtp_proto::request::receiver::RequestReceiver;
use smtp_proto::{MAIL_BODY_8BITMIME, MAIL_SMTPUTF8, Request};

use super::SMTP_PROTO;
use crate::case::{Case, Gate};
use crate::checksum::Checksum;
use crate::inputs::smtp;

/// `Command::parse` behind a `LineScanner` does what smtp-proto's `RequestReceiver` does, and is stricter: line ends, domains, UTF-8, a
/// parameter twice, arguments where there are none. Both check the values of all parameters; SIZE, BODY and SMTPUTF8 are asked for here.
///
/// The connection does more: state, limits, parameters that are not offered, an answer to each command. DATA is answered with 451, because no
/// message follows here.
pub(super) fn commands(name: &str, rich: bool) -> Case {
    let case = Case::new(
        format!("smtp_proto commands, {name}"),
        "command",
        smtp::SESSIONS * smtp::COMMANDS,
        smtp::commands(rich),
    );
    let mut out = Vec::with_capacity(1 << 20);
    let mut connection = greeted();
    case.ours(PARSE, parsed)
        .ours(CONNECTION, move |input| served(&mut connection, input, &mut out))
        .peer(SMTP_PROTO, peer)
        .gate(Gate::Instructions { ours: PARSE, other: SMTP_PROTO, at_most: if rich { 0.48 } else { 0.37 } })
        .gate(Gate::Time { ours: PARSE, other: SMTP_PROTO, at_most: if rich { 0.5 } else { 0.4 } })
        .without_allocations()
}

const PARSE: &str = "LineScanner, Command::parse";
const CONNECTION: &str = "server::Connection, receive and send";

fn parsed(input: &[u8]) -> u64 {
    let (mut scanner, mut sum, mut rest) = (LineScanner::new(), Checksum::default(), input);
    while let Framed::Line { consumed, line } = scanner.next(rest, 4096) {
        let Ok(command) = Command::parse(line) else { break };
        add(&mut sum, &command);
        rest = &rest[consumed..];
    }
    sum.value()
}

fn greeted() -> Connection {
    let mut config = Config::default();
    (config.extensions.smtputf8, config.extensions.dsn) = (true, true);
    config.extensions.auth = vec![Mechanism::PLAIN];
    let mut connection = Connection::new(config);
    let greeted = connection.send(&Reply::new(Code::READY, "mail.example"), &mut Vec::new());
    assert!(greeted.is_ok(), "the session did not begin");
    connection
}

/// One session after the other on one connection: EHLO begins anew.
fn served(connection: &mut Connection, input: &[u8], out: &mut Vec<u8>) -> u64 {
    let (mut sum, mut rest) = (Checksum::default(), input);
    out.clear();
    while let Ok(Step::Event { consumed, event: Event::Command(command) }) = connection.receive(rest) {
        add(&mut sum, &command);
        let reply = match command {
            Command::Mail { .. } => Reply::new(Code::OK, "sender ok").with_enhanced(2, 1, 0),
            Command::Rcpt { .. } => Reply::new(Code::OK, "recipient ok").with_enhanced(2, 1, 5),
            Command::Data => Reply::new(Code::LOCAL_ERROR, "later").with_enhanced(4, 3, 0),
            _ => Reply::new(Code::OK, "mail.example"),
        };
        if connection.send(&reply, out).is_err() {
            break;
        }
        rest = &rest[consumed..];
    }
    sum.value()
}

fn add(sum: &mut Checksum, command: &Command<'_>) {
    match command {
        Command::Ehlo(name) => sum.add_len(name.as_bytes()),
        Command::Mail { from: ReversePath::Path(path), parameters } => {
            add_mailbox(sum, path.mailbox());
            add_parameters(sum, parameters);
        }
        Command::Rcpt { to: ForwardPath::Path(path), .. } => add_mailbox(sum, path.mailbox()),
        Command::Data => sum.add(1),
        _ => sum.add(2),
    }
}

fn add_mailbox(sum: &mut Checksum, mailbox: Mailbox<'_>) {
    sum.add_len(mailbox.as_bytes());
}

// Apart, so that the commands without parameters do not pay for it.
#[inline(never)]
fn add_parameters(sum: &mut Checksum, parameters: &Parameters<'_>) {
    sum.add(parameters.size().unwrap_or(0));
    sum.add(u64::from(matches!(parameters.body(), Some(Body::EightBitMime))));
    sum.add(u64::from(parameters.smtputf8()));
}

fn peer(input: &[u8]) -> u64 {
    let (mut receiver, mut sum, mut rest) = (RequestReceiver::default(), Checksum::default(), input.iter());
    while let Ok(request) = receiver.ingest(&mut rest) {
        match &request {
            Request::Ehlo { host } => sum.add_len(host.as_bytes()),
            Request::Mail { from } => {
                sum.add_len(from.address.as_bytes());
                sum.add(from.size as u64);
                sum.add(u64::from(from.flags & MAIL_BODY_8BITMIME != 0));
                sum.add(u64::from(from.flags & MAIL_SMTPUTF8 != 0));
            }
            Request::Rcpt { to } => sum.add_len(to.address.as_bytes()),
            Request::Data => sum.add(1),
            _ => sum.add(2),
        }
    }
    sum.value()
}
