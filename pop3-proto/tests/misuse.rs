//! Every call in every state: what is wrong is refused, and nothing is written.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;

use postrider_pop3_proto::{
    Capability, Command, Item, LanguageTag, Limits, Mechanism, MessageNumber, Misuse, Name, Response, SaslLine,
    ScanListing, Secret, State, Step, Text, UniqueId, UniqueIdListing, Verb, client, server,
};

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

fn responses() -> Vec<Response<'static>> {
    let message = MessageNumber::new(1).unwrap();
    vec![
        Response::Challenge(Secret::borrowed(b"x")),
        Response::err("no"),
        Response::DropListing { messages: 1, octets: 2 },
        Response::Greeting { text: Text::EMPTY, timestamp: None },
        Response::Language { tag: LanguageTag::new("en").unwrap(), text: Text::EMPTY },
        Response::ok(""),
        Response::ScanListing(ScanListing { message, octets: 3 }),
        Response::UniqueId(UniqueIdListing { message, id: UniqueId::new("x").unwrap() }),
        Response::err(LONG),
    ]
}

static LONG: &str = match std::str::from_utf8(&[b'x'; 600]) {
    Ok(long) => long,
    Err(_) => "",
};

fn items() -> Vec<Item<'static>> {
    let message = MessageNumber::new(1).unwrap();
    vec![
        Item::Capability(Capability::Top),
        Item::Capability(Capability::Other { tag: b"X\r\n.", arguments: None }),
        Item::Content(b".\r\n.\r\n"),
        Item::Language { tag: LanguageTag::new("en").unwrap(), description: Text::EMPTY },
        Item::Other(b"x\r\ny"),
        Item::ScanListing(ScanListing { message, octets: 3 }),
        Item::UniqueId(UniqueIdListing { message, id: UniqueId::new("x").unwrap() }),
    ]
}

const LINES: &[&str] = &[
    "USER a",
    "PASS b",
    "AUTH PLAIN",
    "AUTH PLAIN =",
    "CAPA",
    "STLS",
    "UTF8",
    "LANG",
    "LANG en",
    "STAT",
    "LIST",
    "LIST 1",
    "UIDL",
    "UIDL 1",
    "RETR 1",
    "TOP 1 1",
    "DELE 1",
    "RSET",
    "NOOP",
    "QUIT",
    "LAST",
    "nonsense",
    "*",
    "YQ==",
];

/// Every way to answer every line, to a depth that reaches every state.
fn explore(connection: &server::Connection, depth: usize, seen: &mut BTreeSet<String>) {
    // What was probed with at least as many steps to go needs no second visit.
    if !seen.insert(format!("{depth} {connection:?}")) {
        return;
    }
    probe(connection);
    for line in LINES.iter().filter(|_| depth > 0) {
        let mut next = connection.clone();
        let line = format!("{line}\r\n");
        if !matches!(next.receive(line.as_bytes()), Ok(Step::Event { .. })) {
            continue;
        }
        for response in responses() {
            let mut answered = next.clone();
            if answered.send(&response, &mut Vec::new()).is_ok() {
                explore(&answered, depth - 1, seen);
            }
            if answered.finish(&mut Vec::new()).is_ok() || answered.secured(b"").is_ok() {
                explore(&answered, depth - 1, seen);
            }
        }
        probe(&next);
    }
}

/// A call that appends to a buffer.
type Call<'c> = &'c dyn Fn(&mut server::Connection, &mut Vec<u8>) -> Result<(), Misuse>;

/// Whatever is refused leaves no octet behind and changes nothing.
fn probe(connection: &server::Connection) {
    let tried = |call: Call<'_>| {
        let (mut tried, mut out) = (connection.clone(), b"owed".to_vec());
        let result = call(&mut tried, &mut out);
        assert!(out.starts_with(b"owed"));
        if result.is_err() {
            assert_eq!(out, b"owed", "{result:?} left something");
            assert_eq!(format!("{tried:?}"), format!("{connection:?}"), "{result:?} changed something");
        }
    };
    for response in responses() {
        tried(&|connection, out| connection.send(&response, out));
    }
    for item in items() {
        tried(&|connection, out| connection.send_item(&item, out));
    }
    tried(&|connection, out| connection.finish(out));
    tried(&|connection, out| connection.send_capabilities(out));
    let wants_tls = connection.wants_tls();
    assert_eq!(connection.clone().secured(b"").is_ok(), wants_tls);
    assert!(connection.clone().secured(b"x").is_err());
}

#[test]
fn no_call_to_a_server_panics_or_writes_what_it_refuses() {
    let config = server::Config { extensions: everything(), ..server::Config::default() };
    let mut connection = server::Connection::new(config);
    probe(&connection);
    connection.send(&responses()[3], &mut Vec::new()).unwrap();
    let mut seen = BTreeSet::new();
    explore(&connection, 4, &mut seen);
    for state in ["Greeting", "Authorization", "Named", "Tls", "Transaction", "Closed"] {
        let reached = format!("state: {state}");
        assert!(state == "Greeting" || seen.iter().any(|seen| seen.contains(&reached)), "{state} was not reached");
    }
    for turn in ["turn: Sasl", "turn: Items", "turn: Over", "turn: Command"] {
        assert!(seen.iter().any(|seen| seen.contains(turn)), "{turn} was not reached");
    }
}

#[test]
fn each_response_answers_only_what_it_belongs_to() {
    let answers = |line: &str| -> Vec<usize> {
        let mut connection = logged_in();
        assert!(matches!(connection.receive(format!("{line}\r\n").as_bytes()), Ok(Step::Event { .. })));
        let fits = |response: &Response<'_>| connection.clone().send(response, &mut Vec::new()).is_ok();
        responses().iter().enumerate().filter(|(_, response)| fits(response)).map(|(at, _)| at).collect()
    };
    // -ERR answers everything; the last response is too long for anything.
    assert_eq!(answers("STAT"), [1, 2]);
    assert_eq!(answers("LANG en"), [1, 4]);
    assert_eq!(answers("LIST 1"), [1, 6]);
    assert_eq!(answers("UIDL 1"), [1, 7]);
    for line in ["NOOP", "DELE 1", "RSET", "QUIT", "RETR 1", "TOP 1 1", "LIST", "UIDL", "LANG", "CAPA", "nonsense"] {
        assert_eq!(answers(line), [1, 5], "{line}");
    }
}

#[test]
fn each_item_belongs_to_its_listing_and_a_refusal_opens_none() {
    let takes = |line: &str, response: Response<'_>| -> Vec<usize> {
        let mut connection = logged_in();
        assert!(matches!(connection.receive(format!("{line}\r\n").as_bytes()), Ok(Step::Event { .. })));
        connection.send(&response, &mut Vec::new()).unwrap();
        let fits = |item: &Item<'_>| connection.clone().send_item(item, &mut Vec::new()).is_ok();
        items().iter().enumerate().filter(|(_, item)| fits(item)).map(|(at, _)| at).collect()
    };
    for (line, items) in [("CAPA", 0), ("RETR 1", 2), ("TOP 1 1", 2), ("LANG", 3), ("LIST", 5), ("UIDL", 6)] {
        assert_eq!(takes(line, Response::ok("")), [items], "{line}");
        assert!(takes(line, Response::err("")).is_empty(), "{line}");
    }
    assert!(takes("NOOP", Response::ok("")).is_empty());
}

fn logged_in() -> server::Connection {
    let config = server::Config { extensions: everything(), ..server::Config::default() };
    let mut connection = server::Connection::new(config);
    connection.send(&Response::Greeting { text: Text::EMPTY, timestamp: None }, &mut Vec::new()).unwrap();
    for line in [&b"USER a\r\n"[..], b"PASS b\r\n"] {
        assert!(matches!(connection.receive(line), Ok(Step::Event { .. })));
        connection.send(&Response::ok(""), &mut Vec::new()).unwrap();
    }
    assert_eq!(connection.state(), State::Transaction);
    connection
}

#[test]
fn a_server_decodes_nothing_before_it_has_answered() {
    let mut connection = server::Connection::new(server::Config::default());
    assert_eq!(connection.receive(b"QUIT\r\n"), Ok(Step::Paused), "before the greeting");
    let mut connection = logged_in();
    for line in [&b"NOOP\r\n"[..], b"nonsense\r\n", b"RETR 1\r\n"] {
        assert!(matches!(connection.receive(line), Ok(Step::Event { .. })));
        assert_eq!(connection.receive(b"QUIT\r\n"), Ok(Step::Paused));
        assert_eq!(connection.receive(b""), Ok(Step::Paused));
        connection.send(&Response::ok(""), &mut Vec::new()).unwrap();
    }
    assert_eq!(connection.receive(b"QUIT\r\n"), Ok(Step::Paused), "within a message");
    connection.finish(&mut Vec::new()).unwrap();
    assert!(matches!(connection.receive(b"QUIT\r\n"), Ok(Step::Event { .. })));
    connection.send(&Response::err("some were not removed"), &mut Vec::new()).unwrap();
    assert!(connection.is_closed(), "whatever QUIT is answered with");
    assert_eq!(connection.send(&Response::ok(""), &mut Vec::new()), Err(Misuse::Closed));
}

#[test]
fn no_limit_however_odd_makes_a_connection_panic() {
    for number in [0, 1, 2, usize::MAX] {
        let mut limits = Limits::default();
        (limits.command, limits.sasl_line, limits.response, limits.item) = (number, number, number, number);
        (limits.pipelined, limits.errors, limits.failed_logins) = (number, 0, 0);
        let config = server::Config { extensions: everything(), limits: limits.clone(), ..server::Config::default() };
        let mut server = server::Connection::new(config);
        server.send(&responses()[3], &mut Vec::new()).unwrap();
        let mut client = client::Connection::new(client::Config { limits, ..client::Config::default() });
        for octets in [&b""[..], b"+", b"+OK\r\n", b"\r\n", b"CAPA\r\n"] {
            let _ = server.receive(octets);
            let _ = client.receive(octets);
            let _ = client.send(&Command::Capa, &mut Vec::new());
        }
    }
}

#[test]
fn no_call_to_a_client_panics_or_writes_what_it_refuses() {
    let answers: [&[u8]; 6] = [b"+OK\r\n", b"-ERR\r\n", b"+ YQ==\r\n", b"+OK\r\n1 2\r\n.\r\n", b"+OK x\r\n.\r\n", b"."];
    let mut open = vec![client::Connection::new(client::Config::default())];
    for _ in 0..4 {
        let mut next = Vec::new();
        for connection in open {
            probe_client(&connection);
            for answer in answers {
                let (mut answered, mut at) = (connection.clone(), 0);
                while let Ok(Step::Event { consumed, .. }) = answered.receive(&answer[at..]) {
                    at += consumed;
                }
                probe_client(&answered);
                if answered.secured(b"").is_ok() {
                    probe_client(&answered);
                }
                for line in LINES {
                    let mut said = answered.clone();
                    if Command::parse(line.as_bytes()).is_ok_and(|command| said.send(&command, &mut Vec::new()).is_ok())
                    {
                        next.push(said);
                    }
                }
            }
        }
        next.truncate(400);
        open = next;
    }
}

fn probe_client(connection: &client::Connection) {
    for line in LINES {
        let Ok(command) = Command::parse(line.as_bytes()) else { continue };
        let (mut copy, mut out) = (connection.clone(), b"owed".to_vec());
        let result = copy.send(&command, &mut out);
        assert!(result.is_ok() || out == b"owed" && format!("{copy:?}") == format!("{connection:?}"), "{result:?}");
    }
    let (mut copy, mut out) = (connection.clone(), b"owed".to_vec());
    let result = copy.respond(&SaslLine::Cancel, &mut out);
    assert!(result.is_ok() || out == b"owed" && format!("{copy:?}") == format!("{connection:?}"), "{result:?}");
    assert_eq!(connection.clone().secured(b"").is_ok(), connection.wants_tls());
    assert!(connection.clone().secured(b"x").is_err());
}

#[test]
fn a_command_that_would_be_two_is_refused() {
    let mut connection = client::Connection::new(client::Config::default());
    assert!(matches!(connection.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
    connection.send(&Command::User(Name::new("a").unwrap()), &mut Vec::new()).unwrap();
    assert!(matches!(connection.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
    let mut out = Vec::new();
    let command = Command::Pass(Secret::borrowed(b"x\r\nDELE 1"));
    assert_eq!(connection.send(&command, &mut out), Err(Misuse::LineBreak));
    let long = [b'x'; 300];
    let command = Command::Pass(Secret::borrowed(&long));
    assert!(matches!(connection.send(&command, &mut out), Err(Misuse::LineTooLong { .. })));
    assert!(out.is_empty() && connection.send(&Command::Quit, &mut out).is_ok());
    assert_eq!(connection.send(&Command::Noop, &mut out), Err(Misuse::AwaitingResponse { verb: Verb::Quit }));
}

fn greeted(limits: Limits) -> client::Connection {
    let mut connection = client::Connection::new(client::Config { pipelining: true, limits, tls: false });
    assert!(matches!(connection.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
    connection
}

#[test]
fn more_commands_than_allowed_wait_for_answers() {
    let limits = Limits { pipelined: 2, ..Limits::default() };
    let (mut connection, mut out) = (greeted(limits), Vec::new());
    connection.send(&Command::Capa, &mut out).unwrap();
    connection.send(&Command::Capa, &mut out).unwrap();
    assert_eq!(connection.send(&Command::Capa, &mut out), Err(Misuse::QueueFull { limit: 2 }));
    assert_eq!(out, b"CAPA\r\nCAPA\r\n");
    for answer in [&b"+OK\r\n"[..], b".\r\n"] {
        assert!(matches!(connection.receive(answer), Ok(Step::Event { .. })));
    }
    connection.send(&Command::Capa, &mut out).unwrap();
}

/// What follows AUTH would be read as its next line (RFC 5034 section 4), and nothing follows QUIT.
#[test]
fn nothing_is_pipelined_behind_auth_or_quit() {
    let auth = Command::Auth { mechanism: Mechanism::PLAIN, initial: Some(Secret::borrowed(b"x").into_owned()) };
    for last in [auth, Command::Quit] {
        let (mut connection, mut out) = (greeted(Limits::default()), Vec::new());
        connection.send(&Command::Capa, &mut out).unwrap();
        connection.send(&last, &mut out).unwrap();
        out.clear();
        for next in [Command::Capa, Command::Stat, Command::Quit] {
            assert!(connection.send(&next, &mut out).is_err(), "{next:?} behind {last:?}");
        }
        assert!(out.is_empty());
    }
}
