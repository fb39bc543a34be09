//! What hostile peers try.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use postrider_pop3_proto::{
    Capability, Command, CommandError, Digest, Error, Item, Limits, LineError, Mechanism, Misuse, Name, Response,
    ResponseCode, ResponseError, SaslLine, Secret, State, Step, Text, Timestamp, Verb, client, server,
};
use proptest::prelude::*;

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

fn greeted(limits: Limits) -> server::Connection {
    let config = server::Config { extensions: everything(), limits, ..server::Config::default() };
    let mut connection = server::Connection::new(config);
    let timestamp = Timestamp::new("<1896.697170952@dbc.mtview.ca.us>").ok();
    connection.send(&Response::Greeting { text: Text::EMPTY, timestamp }, &mut Vec::new()).unwrap();
    connection
}

/// What came of some octets.
#[derive(Debug, Default)]
struct Outcome {
    events: Vec<String>,
    out: Vec<u8>,
    /// The largest the receive buffer became.
    largest: usize,
    /// What was not read.
    unread: Vec<u8>,
}

/// Feeds pieces and answers each event; no login succeeds.
fn feed<'p>(connection: &mut server::Connection, pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    for piece in pieces {
        outcome.unread.extend_from_slice(piece);
        outcome.largest = outcome.largest.max(outcome.unread.len());
        loop {
            let consumed = match connection.receive(&outcome.unread)? {
                Step::Event { consumed, event } => {
                    outcome.events.push(format!("{event:?}"));
                    connection.send(&refuse_logins(&event), &mut outcome.out).unwrap();
                    consumed
                }
                Step::Skip { consumed } => consumed,
                Step::NeedInput | Step::Paused => break,
            };
            outcome.unread.drain(..consumed);
        }
    }
    Ok(outcome)
}

fn refuse_logins(event: &server::Event<'_>) -> Response<'static> {
    match event {
        server::Event::Rejected(error) => error.response(),
        server::Event::Command(Command::Auth { initial: None, .. }) => Response::Challenge(Secret::borrowed(b"")),
        server::Event::Command(Command::Pass(_) | Command::Apop { .. } | Command::Auth { .. } | Command::Capa)
        | server::Event::Sasl(_) => Response::err("no").with_code(ResponseCode::AUTH),
        server::Event::Command(_) => Response::ok(""),
    }
}

fn run(connection: &mut server::Connection, said: &[u8], size: usize) -> Outcome {
    feed(connection, said.chunks(size)).unwrap()
}

/// Every way to cut `octets` in two, and all pieces of one size.
fn cuts(octets: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let in_two = (0..=octets.len()).map(|at| <[&[u8]; 2]>::from(octets.split_at(at)).to_vec());
    in_two.chain((1..=octets.len()).map(|size| octets.chunks(size).collect()))
}

#[test]
fn stls_injection_is_refused_by_a_server_however_it_is_split() {
    for injected in [&b"USER a\r\nPASS b\r\n"[..], b"U", b"\r\n", b"\x16\x03\x01", b"STLS\r\n"] {
        let said = [b"STLS\r\n", injected].concat();
        for pieces in cuts(&said) {
            let mut connection = greeted(Limits::default());
            let outcome = feed(&mut connection, pieces).unwrap();
            assert_eq!((&outcome.events[..], &outcome.out[..]), (&["Command(Stls)".to_owned()][..], &b"+OK\r\n"[..]));
            assert_eq!(outcome.unread, injected, "nothing of it was read");
            let error = Error::PlaintextAfterStls { len: injected.len() };
            assert_eq!(connection.secured(&outcome.unread), Err(error));
            assert!(connection.is_closed() && !connection.wants_tls());
            assert_eq!(connection.receive(b"USER a\r\n"), Ok(Step::Paused));
            assert!(connection.secured(b"").is_err(), "a second try does not help");
        }
    }
}

#[test]
fn stls_injection_is_refused_by_a_client_however_it_is_split() {
    let said = b"+OK ready\r\n+OK begin TLS\r\n+OK injected\r\n";
    for pieces in cuts(said) {
        let (mut connection, mut input) = (client::Connection::new(client::Config::default()), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Step::Event { consumed, .. } = connection.receive(&input).unwrap() {
                input.drain(..consumed);
                if connection.state() == State::Authorization {
                    connection.send(&Command::Stls, &mut Vec::new()).unwrap();
                }
            }
        }
        assert!(connection.wants_tls());
        assert_eq!(connection.secured(&input), Err(Error::PlaintextAfterStls { len: 14 }));
        assert!(connection.is_closed());
        assert!(matches!(connection.send(&Command::Capa, &mut Vec::new()), Err(Misuse::Closed)));
    }
}

#[test]
fn nothing_is_said_between_stls_and_tls() {
    let mut server = greeted(Limits::default());
    run(&mut server, b"STLS\r\n", 6);
    let mut out = Vec::new();
    assert!(server.send(&Response::ok(""), &mut out).is_err());
    let mut client = client::Connection::new(client::Config { pipelining: true, ..client::Config::default() });
    assert!(matches!(client.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
    client.send(&Command::Stls, &mut Vec::new()).unwrap();
    for command in [Command::Capa, Command::Quit, Command::User(Name::new("a").unwrap())] {
        assert!(client.send(&command, &mut out).is_err(), "pipelined behind STLS");
    }
    assert!(out.is_empty());
}

#[test]
fn a_line_without_an_end_costs_no_memory_and_is_told_once() {
    for (size, said) in [1, 7, 254, 255, 256, 4096].into_iter().flat_map(|size| [(size, b'x'), (size, b'\n')]) {
        let mut connection = greeted(Limits::default());
        let outcome = run(&mut connection, &vec![said; 300_000], size);
        assert!(outcome.events.is_empty() && outcome.out.is_empty());
        assert!(outcome.largest <= 255 + size, "{} octets were kept", outcome.largest);
        let outcome = run(&mut connection, b"\r\nNOOP\r\nUSER a\r\n", size);
        assert!(outcome.events[0].contains("TooLong { len: 300002, limit: 255 }"), "{:?}", outcome.events);
        assert_eq!(outcome.events.len(), 3, "the session goes on");
    }
}

#[test]
fn a_line_of_sasl_without_an_end_costs_no_memory_and_ends_the_auth() {
    let mut connection = greeted(Limits::default());
    run(&mut connection, b"AUTH PLAIN\r\n", 100);
    let outcome = run(&mut connection, &[b'A'; 100_000], 1000);
    assert!(outcome.events.is_empty() && outcome.largest <= 12_288 + 1000);
    let outcome = run(&mut connection, b"\r\nUSER a\r\n", 1000);
    assert_eq!(outcome.events.len(), 2, "{:?}", outcome.events);
    assert!(outcome.events[0].starts_with("Rejected") && outcome.events[1].starts_with("Command(User"));
}

#[test]
fn a_client_gives_up_a_response_without_an_end_at_the_limit_however_it_is_cut() {
    let expected = Error::Response { to: None, error: ResponseError::TooLong { limit: 2048 } };
    for size in [1, 1000, 2047, 2048, 2049, 100_000] {
        let (mut connection, mut input) = (client::Connection::new(client::Config::default()), Vec::new());
        let mut pieces = [b'x'; 100_000].chunks(size);
        let error = loop {
            input.extend_from_slice(pieces.next().unwrap());
            match connection.receive(&input) {
                Ok(step) => assert_eq!(step, Step::NeedInput),
                Err(error) => break error,
            }
        };
        assert_eq!(error, expected, "in pieces of {size}");
        assert!(input.len() < 2048 + size);
    }
}

/// RFC 5034 section 4: such a line ends the AUTH; the next one is a command again.
#[test]
fn a_line_of_sasl_that_is_not_base64_ends_the_auth_and_is_no_command() {
    for line in ["USER b", "====", "YQ=", "YR==", "**", " *", "Y Q=", "YQ==\0"] {
        let said = format!("AUTH PLAIN\r\n{line}\r\nUSER a\r\n");
        for pieces in cuts(said.as_bytes()) {
            let outcome = feed(&mut greeted(Limits::default()), pieces).unwrap();
            assert_eq!(outcome.events[1..], ["Rejected(Base64)", "Command(User(Name(\"a\")))"], "{line}");
        }
    }
}

/// RFC 2449 section 4: a command line has at most 255 octets, its CRLF included.
#[test]
fn a_line_as_long_as_allowed_is_taken_and_one_more_is_not() {
    for (name, taken) in [(255 - 7, true), (255 - 6, false)] {
        let said = [b"USER ", &vec![b'x'; name][..], b"\r\n"].concat();
        for pieces in cuts(&said) {
            let outcome = feed(&mut greeted(Limits::default()), pieces).unwrap();
            assert_eq!(outcome.events[0].starts_with("Command"), taken, "{:?}", outcome.events);
        }
    }
}

#[test]
fn bare_cr_and_lf_and_nul_do_not_end_or_hide_a_command() {
    for said in [&b"USER a\nPASS b\r\n"[..], b"USER a\rPASS b\r\n", b"USER a\0\r\n", b"CAPA\n\r\n", b"\nCAPA\r\n"] {
        for pieces in cuts(said) {
            let outcome = feed(&mut greeted(Limits::default()), pieces).unwrap();
            assert_eq!(outcome.events.len(), 1, "{}", said.escape_ascii());
            assert!(outcome.events[0].starts_with("Rejected"), "{:?}", outcome.events);
        }
    }
}

const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\nUSER a\r\nPASS b\r\n";

#[test]
fn tls_and_http_on_the_plain_port_are_refused_however_they_are_split() {
    let peers = [
        (CLIENT_HELLO, "TLS"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
        (b"POST /USER HTTP/1.0\r\n\r\nUSER a\r\nPASS b\r\n", "HTTP"),
        (b"USER a HTTP/1.1\r\nPASS b\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
    ];
    for (said, protocol) in peers {
        for pieces in cuts(said) {
            let error = feed(&mut greeted(Limits::default()), pieces).unwrap_err();
            assert_eq!(error, Error::ForeignProtocol { protocol }, "{}", said.escape_ascii());
        }
    }
}

#[test]
fn an_http_request_is_refused_however_long_its_first_line_is() {
    let long = ["POST /", &"x".repeat(300), " HTTP/1.1\r\n"].concat();
    for request in [&long, "POST /\n HTTP/1.1\r\n"] {
        let said = [request, "Host: a\r\n\r\nUSER a\r\n"].concat();
        for pieces in cuts(said.as_bytes()) {
            let refused = feed(&mut greeted(Limits::default()), pieces);
            assert_eq!(refused.unwrap_err(), Error::ForeignProtocol { protocol: "HTTP" });
        }
    }
}

#[test]
fn errors_in_a_row_close_the_session_after_the_last_is_told() {
    let mut limits = Limits::default();
    for errors in [1, 2, 10] {
        limits.errors = errors;
        let mut connection = greeted(limits.clone());
        let outcome = run(&mut connection, &b"nonsense\r\n".repeat(20), 1000);
        assert_eq!((outcome.events.len(), connection.is_closed()), (errors as usize, true));
        assert_eq!(outcome.out, b"-ERR unknown command\r\n".repeat(errors as usize));
        assert_eq!(connection.receive(b"QUIT\r\n"), Ok(Step::Paused));
    }
    let mut connection = greeted(limits);
    let outcome = run(&mut connection, &b"nonsense\r\nUSER a\r\n".repeat(20), 1000);
    assert_eq!((outcome.events.len(), connection.is_closed()), (40, false), "they are counted in a row");
}

#[test]
fn failed_logins_close_the_session_whatever_they_are_made_with() {
    let ways = [
        &b"USER a\r\nPASS b\r\n"[..],
        b"APOP a c4c9334bac560ecc979e58001b3e22fb\r\n",
        b"AUTH PLAIN AGEAYg==\r\n",
        b"AUTH PLAIN\r\nAGEAYg==\r\n",
        b"AUTH PLAIN\r\n*\r\n",
    ];
    for way in ways {
        let mut connection = greeted(Limits::default());
        let outcome = run(&mut connection, &way.repeat(10), 1000);
        let failed = outcome.out.split(|octet| *octet == b'\n').filter(|line| line.starts_with(b"-ERR")).count();
        assert_eq!((failed, connection.is_closed()), (3, true), "{}", way.escape_ascii());
    }
    let mixed = ways.concat();
    let mut connection = greeted(Limits::default());
    let outcome = run(&mut connection, &mixed, 1000);
    assert!(connection.is_closed() && outcome.unread.starts_with(b"AUTH PLAIN\r\nAGEAYg==\r\n"));
}

proptest! {
    #[test]
    fn a_response_made_from_anything_is_one_line_and_has_no_code_of_its_own(
        text in "(\\[|\\r\\n|\\+OK |\\[IN-USE\\] |\\PC|\\x00|\\n|\\r){0,12}", ok in any::<bool>(),
    ) {
        let mut connection = greeted(Limits::default());
        assert!(matches!(connection.receive(b"USER x\r\n"), Ok(Step::Event { .. })));
        let (response, mut out) = (if ok { Response::ok(&text) } else { Response::err(&text) }, Vec::new());
        connection.send(&response, &mut out).unwrap();
        prop_assert_eq!(out.iter().filter(|octet| b"\r\n\0".contains(octet)).count(), 2);
        let line = out.strip_suffix(b"\r\n").unwrap();
        let read = Response::parse(line, Some(Verb::User)).unwrap();
        let code = matches!(read, Response::Ok { code: Some(_), .. } | Response::Err { code: Some(_), .. });
        prop_assert!(!code && read.is_err() != ok, "{}", line.escape_ascii());
        prop_assert_eq!(read, response);
    }
}

/// RFC 2449 section 8: only what the server itself means may stand in brackets at the front.
#[test]
fn a_text_passed_on_from_another_server_does_not_pass_for_a_code() {
    let upstream = Response::parse(b"-ERR [SYS/TEMP] [IN-USE] text", Some(Verb::Pass)).unwrap();
    let mut extensions = everything();
    extensions.auth_resp_code = false;
    let mut connection = greeted(Limits::default());
    connection.offer(extensions);
    assert!(matches!(connection.receive(b"USER x\r\n"), Ok(Step::Event { .. })));
    let mut out = Vec::new();
    connection.send(&upstream, &mut out).unwrap();
    let read = Response::parse(out.strip_suffix(b"\r\n").unwrap(), Some(Verb::User)).unwrap();
    assert!(matches!(read, Response::Err { code: None, .. }), "{read:?}");
}

/// RFC 1939 section 7: the timestamp offers APOP, and nothing else may look like one.
#[test]
fn a_greeting_without_a_timestamp_does_not_offer_apop() {
    let mut connection = server::Connection::new(server::Config::default());
    let (greeting, mut out) =
        (Response::Greeting { text: Text::new("ask <postmaster@example.org>").unwrap(), timestamp: None }, Vec::new());
    if connection.send(&greeting, &mut out).is_ok() {
        let read = Response::parse(out.strip_suffix(b"\r\n").unwrap(), None).unwrap();
        assert!(matches!(read, Response::Greeting { timestamp: None, .. }), "{read:?}");
    }
}

/// RFC 2449 section 4: the first line of a response has at most 512 octets, its CRLF included.
#[test]
fn a_response_of_512_octets_is_sent_and_a_longer_one_is_not() {
    for (len, fits) in [(512 - 6, true), (512 - 5, false)] {
        let mut connection = greeted(Limits::default());
        assert!(matches!(connection.receive(b"USER x\r\n"), Ok(Step::Event { .. })));
        let (text, mut out) = ("x".repeat(len), b"before".to_vec());
        // "+OK " and CRLF
        assert_eq!(connection.send(&Response::ok(&text), &mut out).is_ok(), fits);
        assert_eq!(out.len(), if fits { 6 + 512 } else { 6 });
        assert_eq!(connection.send(&Response::ok(""), &mut out).is_ok(), !fits, "the answer is still owed");
    }
}

/// RFC 2449 section 3: a capability line has at most 512 octets, its CRLF included.
#[test]
fn a_capability_of_more_than_512_octets_is_not_sent() {
    let mut connection = greeted(Limits::default());
    assert!(matches!(connection.receive(b"CAPA\r\n"), Ok(Step::Event { .. })));
    let mut out = Vec::new();
    connection.send(&Response::ok(""), &mut out).unwrap();
    out.clear();
    let long = "x".repeat(600);
    for capability in [
        Capability::Implementation(Text::new(&long).unwrap()),
        Capability::Other { tag: b"X-NEW", arguments: Some(long.as_bytes()) },
    ] {
        assert!(connection.send_item(&Item::Capability(capability), &mut out).is_err());
    }
    assert!(out.is_empty());
}

#[test]
fn a_capability_made_of_more_than_a_line_is_not_sent() {
    let mut connection = greeted(Limits::default());
    assert!(matches!(connection.receive(b"CAPA\r\n"), Ok(Step::Event { .. })));
    let mut out = Vec::new();
    connection.send(&Response::ok(""), &mut out).unwrap();
    out.clear();
    for (tag, arguments) in [(&b"X\r\nY"[..], None), (b"X", Some(&b"a\r\n."[..])), (b".", None), (b"", None)] {
        let item = Item::Capability(Capability::Other { tag, arguments });
        assert!(connection.send_item(&item, &mut out).is_err(), "{item:?}");
    }
    assert!(out.is_empty());
}

const SECRETS: [&str; 4] = ["hunter2", "aHVudGVyM", "c4c9334bac56", "[104, 117, 110"];

fn is_discreet(shown: &str) {
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_server_shows_no_secret() {
    let sessions: [&[u8]; 7] = [
        b"PASS hunter2\r\nUSER a\r\nPASS hunter2\r\nPASS hunter2\r\nPASS hunter2\n\r\n",
        b"APOP a c4c9334bac560ecc979e58001b3e22fb\r\nAPOP a C4C9334BAC560ECC979E58001B3E22FB0\r\nAPOP c4c9334bac56\r\n",
        b"AUTH PLAIN AGEAaHVudGVyMg==\r\nAUTH PLAIN aHVudGVyM\r\nAUTH hunter2 hunter2\r\nAUTH hunter2!\r\n",
        b"AUTH PLAIN\r\naHVudGVyMg==\r\nAUTH PLAIN\r\naHVudGVyM\r\n",
        b"hunter2\r\nNOOP hunter2\r\nRETR hunter2\r\nTOP 1 hunter2\r\nLANG hunter2.\r\n",
        b"aHVudGVyMg==\r\nCAPA hunter2\r\nSTLS hunter2\r\nQUIT hunter2\r\n",
        b"AUTH PLAIN\r\nhunter2!!\r\nUSER hunter2\t\r\n",
    ];
    for said in sessions {
        for size in [1, 1000] {
            let mut connection = greeted(Limits::default());
            for piece in said.chunks(size) {
                let outcome = run(&mut connection, piece, size);
                outcome.events.iter().for_each(|event| is_discreet(event));
                is_discreet(&outcome.out.escape_ascii().to_string());
                is_discreet(&format!("{connection:?}"));
            }
        }
    }
}

#[test]
fn a_client_and_its_commands_show_no_secret() {
    let secret = || Secret::from(b"hunter2".to_vec());
    let digest = *b"\xc4\xc9\x33\x4b\xac\x56\x0e\xcc\x97\x9e\x58\x00\x1b\x3e\x22\xfb";
    let commands = [
        Command::Apop { name: Name::new("a").unwrap(), digest: Digest(digest) },
        Command::Auth { mechanism: Mechanism::PLAIN, initial: Some(secret()) },
        Command::User(Name::new("a").unwrap()),
        Command::Pass(secret()),
        Command::Pass(Secret::from(b"hunter2\r\n".to_vec())),
        Command::Pass(Secret::from(b"hunter2".repeat(100))),
    ];
    let (mut connection, mut out) =
        (client::Connection::new(client::Config { pipelining: true, ..client::Config::default() }), Vec::new());
    assert!(matches!(connection.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
    for command in &commands {
        is_discreet(&format!("{command:?}"));
        is_discreet(&format!("{:?}", connection.clone().send(command, &mut out)));
    }
    connection.send(&commands[1], &mut out).unwrap();
    is_discreet(&format!("{:?}", connection.clone().receive(b"+ aHVudGVyMg==\r\n")));
    is_discreet(&format!("{:?}", connection.clone().receive(b"+ aHVudGVyM\r\n")));
    is_discreet(&format!("{:?}", connection.clone().receive(b"hunter2\r\n")));
    assert!(matches!(connection.receive(b"+ aHVudGVyMg==\r\n"), Ok(Step::Event { .. })));
    connection.respond(&SaslLine::Response(secret()), &mut out).unwrap();
    is_discreet(&format!("{connection:?} {:?} {:?}", SaslLine::Response(secret()), Digest(digest)));
}

#[test]
fn no_error_quotes_the_peer() {
    let errors = [
        Command::parse(b"hunter2"),
        Command::parse(b"RETR hunter2"),
        Command::parse(b"APOP a hunter2"),
        Command::parse(b"AUTH hunter2 hunter2"),
        Command::parse(b"USER hunter2\x07"),
    ];
    for error in errors.into_iter().map(Result::unwrap_err) {
        is_discreet(&format!("{error:?} {error} {:?}", error.response()));
    }
    let error = CommandError::Line(LineError::BareCr);
    assert_eq!(error.response(), Response::err("bare CR in a line, only CRLF is allowed"));
}

#[test]
fn a_server_that_speaks_unasked_or_says_no_response_is_left() {
    for said in [&b"+OK ready\r\n+OK more\r\n"[..], b"HELLO\r\n", b"+OKAY\r\n", b"+ YQ==\r\n", b"\r\n", b"+OK\n\r\n"] {
        for pieces in cuts(said) {
            let (mut connection, mut input) = (client::Connection::new(client::Config::default()), Vec::new());
            let mut error = None;
            for piece in pieces {
                input.extend_from_slice(piece);
                while let Some(consumed) = match connection.receive(&input) {
                    Ok(Step::Event { consumed, .. } | Step::Skip { consumed }) => Some(consumed),
                    Ok(Step::NeedInput | Step::Paused) => None,
                    Err(found) => {
                        error = Some(found);
                        None
                    }
                } {
                    input.drain(..consumed);
                }
            }
            assert!(matches!(error, Some(Error::Unsolicited { .. } | Error::Response { .. })), "{error:?}");
        }
    }
}

#[test]
fn a_message_holds_no_end_before_its_end_however_its_server_reads_it() {
    let content = b".\r\n.\n\r\n.\r\n..\r.\r\n+OK\r\n.";
    for pieces in cuts(content) {
        let mut connection = greeted(Limits::default());
        let mut out = Vec::new();
        for line in [&b"USER a\r\n"[..], b"PASS b\r\n", b"RETR 1\r\n"] {
            assert!(matches!(connection.receive(line), Ok(Step::Event { .. })));
            connection.send(&Response::ok(""), &mut out).unwrap();
        }
        out.clear();
        pieces.iter().for_each(|piece| connection.send_item(&Item::Content(piece), &mut out).unwrap());
        connection.finish(&mut out).unwrap();
        let end = out.windows(5).position(|octets| octets == b"\r\n.\r\n").unwrap();
        assert!(end + 5 == out.len() && !out.starts_with(b".\r\n"), "{}", out.escape_ascii());
    }
}
