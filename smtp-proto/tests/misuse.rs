//! Every call in every state: what is wrong is refused, and nothing is written.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;

use postrider_smtp_proto::{
    Argument, ClientName, Code, Command, Error, Limits, LineEndings, Mechanism, Misuse, OtherExtension, Reply,
    SaslLine, Secret, State, Step, Text, Verb, client, server,
};

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

fn replies() -> Vec<Reply<'static>> {
    vec![
        Reply::new(Code::READY, "ready").with_enhanced(2, 0, 0),
        Reply::new(Code::OK, ""),
        Reply::challenge_of(b"x"),
        Reply::new(Code::START_MAIL_INPUT, "go on").with_enhanced(2, 0, 0),
        Reply::new(Code::NOT_AVAILABLE, "no").with_enhanced(4, 3, 2),
        Reply::new(Code::MAILBOX_TEMPORARILY_UNAVAILABLE, "not now"),
        Reply::lines_of(Code::MAILBOX_UNAVAILABLE, vec![Text::EMPTY; 3]),
        Reply::new(Code::OK, LONG),
    ]
}

static LONG: &str = match std::str::from_utf8(&[b'x'; 600]) {
    Ok(long) => long,
    Err(_) => "",
};

const LINES: &[&str] = &[
    "EHLO a",
    "HELO a",
    "LHLO a",
    "MAIL FROM:<>",
    "MAIL FROM:<> SMTPUTF8",
    "RCPT TO:<a@b>",
    "DATA",
    "RSET",
    "NOOP",
    "VRFY a",
    "EXPN a",
    "HELP",
    "AUTH PLAIN",
    "AUTH PLAIN =",
    "STARTTLS",
    "QUIT",
    "nonsense",
    "*",
    "YQ==",
    ".",
    "a\nb",
];

/// Small, so that each is reached and few states differ in how near to it they are.
fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.errors, limits.failed_logins, limits.recipients, limits.message) = (2, 2, 1, 4);
    limits
}

/// What tells two connections apart; what is offered and allowed is the same for all.
fn shown(connection: &server::Connection) -> String {
    let all = format!("{connection:?}");
    let (start, rest) = all.split_once("unstuffer").unwrap();
    let (_, strays) = rest.split_once("strays").unwrap();
    let (body, rest) = strays.split_once("extensions").unwrap();
    let (_, end) = rest.split_once("smtputf8: ").map_or(("", rest), |_| rest.rsplit_once("require_tls").unwrap());
    format!("{start}{body}{end}")
}

/// Every way to answer every line, to a depth that reaches every state.
fn explore(connection: &server::Connection, depth: usize, seen: &mut BTreeSet<(usize, String)>) {
    // What was probed with at least as many steps to go needs no second visit.
    let shown = shown(connection);
    if (depth..6).any(|depth| seen.contains(&(depth, shown.clone()))) {
        return;
    }
    seen.insert((depth, shown));
    probe(connection);
    for line in LINES.iter().filter(|_| depth > 0) {
        let mut next = connection.clone();
        let line = format!("{line}\r\n");
        match next.receive(line.as_bytes()) {
            Ok(Step::Event { event: server::Event::Content(_), .. } | Step::Skip { .. }) => {
                explore(&next, depth - 1, seen)
            }
            Ok(Step::Event { .. }) => {
                probe(&next);
                for reply in replies() {
                    let mut answered = next.clone();
                    if answered.send(&reply, &mut Vec::new()).is_ok() {
                        explore(&answered, depth - 1, seen);
                    }
                    if answered.secured(b"").is_ok() {
                        explore(&answered, depth - 1, seen);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A call that appends to a buffer.
type Call<'c> = &'c dyn Fn(&mut server::Connection, &mut Vec<u8>) -> Result<(), Misuse>;

/// Whatever is refused leaves no octet behind and changes nothing.
fn probe(connection: &server::Connection) {
    let before = shown(connection);
    let tried = |call: Call<'_>| {
        let (mut tried, mut out) = (connection.clone(), b"owed".to_vec());
        let result = call(&mut tried, &mut out);
        assert!(out.starts_with(b"owed"));
        if result.is_err() {
            assert_eq!(out, b"owed", "{result:?} left something");
            assert_eq!(shown(&tried), before, "{result:?} changed something");
        } else {
            assert!(out.ends_with(b"\r\n"));
        }
    };
    for reply in replies() {
        tried(&|connection, out| connection.send(&reply, out));
    }
    tried(&|connection, out| connection.send_hello("mail.example", out));
    tried(&|connection, out| connection.send_hello(LONG, out));
    tried(&|connection, out| connection.close("", out));
    tried(&|connection, out| connection.close(LONG, out));
    tried(&|connection, out| connection.time_out("", out));
    tried(&|connection, out| connection.time_out(LONG, out));
    let wants_tls = connection.wants_tls();
    assert_eq!(connection.clone().secured(b"").is_ok(), wants_tls);
    assert!(connection.clone().secured(b"x").is_err());
}

#[test]
fn no_call_to_a_server_panics_or_writes_what_it_refuses() {
    for lmtp in [false, true] {
        let config = server::Config { extensions: everything(), limits: limits(), lmtp, ..server::Config::default() };
        let mut connection = server::Connection::new(config);
        probe(&connection);
        connection.send(&replies()[0], &mut Vec::new()).unwrap();
        let mut seen = BTreeSet::new();
        explore(&connection, 5, &mut seen);
        for state in ["Nameless", "Ready", "Mail", "Rcpt", "Content", "Tls", "Closed"] {
            let reached = format!("state: {state}");
            assert!(seen.iter().any(|(_, seen)| seen.contains(&reached)), "{state} was not reached");
        }
        for turn in ["Command", "Sasl", "Content", "Over"] {
            let reached = format!("turn: {turn}");
            assert!(seen.iter().any(|(_, seen)| seen.contains(&reached)), "{turn} was not reached");
        }
    }
}

fn greeted(config: server::Config) -> server::Connection {
    let mut connection = server::Connection::new(config);
    connection.send(&replies()[0], &mut Vec::new()).unwrap();
    connection
}

fn offering() -> server::Config {
    server::Config { extensions: everything(), ..server::Config::default() }
}

/// A server that heard `lines` and said 250 to each, or 354 to `DATA`.
fn after(lines: &[&str]) -> server::Connection {
    let mut connection = greeted(offering());
    for line in lines {
        let line = format!("{line}\r\n");
        assert!(matches!(connection.receive(line.as_bytes()), Ok(Step::Event { .. })), "{line}");
        let reply = if line == "DATA\r\n" { &replies()[3] } else { &replies()[1] };
        connection.send(reply, &mut Vec::new()).unwrap();
    }
    connection
}

#[test]
fn each_reply_answers_only_what_it_belongs_to() {
    let answers = |lines: &[&str], line: &str| -> Vec<u16> {
        let mut connection = after(lines);
        assert!(matches!(connection.receive(format!("{line}\r\n").as_bytes()), Ok(Step::Event { .. })), "{line}");
        let fits = |reply: &&Reply<'_>| connection.clone().send(reply, &mut Vec::new()).is_ok();
        replies().iter().filter(fits).map(|reply| reply.code().as_u16()).collect()
    };
    let final_replies = [220, 250, 421, 450, 550];
    for line in ["NOOP", "RSET", "VRFY a", "HELP", "EXPN a", "QUIT", "EHLO a", "HELO a"] {
        assert_eq!(answers(&[], line), final_replies, "{line}");
    }
    for line in ["MAIL FROM:<>", "STARTTLS"] {
        assert_eq!(answers(&["EHLO a"], line), final_replies, "{line}");
    }
    assert_eq!(answers(&["EHLO a", "MAIL FROM:<>"], "RCPT TO:<a@b>"), final_replies);
    // A 250 would leave open whether the message is to come.
    assert_eq!(answers(&["EHLO a", "MAIL FROM:<>", "RCPT TO:<a@b>"], "DATA"), [354, 421, 450, 550]);
    assert_eq!(answers(&["EHLO a", "MAIL FROM:<>", "RCPT TO:<a@b>", "DATA"], "."), final_replies);
    assert_eq!(answers(&["EHLO a"], "AUTH PLAIN"), [220, 250, 334, 421, 450, 550]);
    // What the connection has refused stays refused.
    for line in ["nonsense", "MAIL FROM:<>", "RSET now", "NOOP\0"] {
        assert_eq!(answers(&[], line), [421, 450, 550], "{line}");
    }
    let greeting = server::Connection::new(offering());
    let fits = |reply: &&Reply<'_>| greeting.clone().send(reply, &mut Vec::new()).is_ok();
    assert_eq!(replies().iter().filter(fits).count(), 5);
}

#[test]
fn a_refusal_says_what_was_found_and_what_is_allowed() {
    let refused = |config: server::Config, line: &str| {
        let (mut connection, mut out) = (greeted(config), Vec::new());
        if line.starts_with("MAIL") {
            assert!(matches!(connection.receive(b"EHLO c\r\n"), Ok(Step::Event { .. })));
            connection.send(&replies()[1], &mut Vec::new()).unwrap();
        }
        let line = format!("{line}\r\n");
        let step = connection.receive(line.as_bytes());
        let Ok(Step::Event { event: server::Event::Rejected(error), .. }) = step else { panic!("{line}") };
        connection.send(&error.reply(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let greeted_only = server::Config::default;
    let lmtp = || server::Config { lmtp: true, ..offering() };
    for (config, line, expected) in [
        (lmtp(), "EHLO c", "500 5.5.1 EHLO in LMTP, which has LHLO (RFC 2033 section 4.1)"),
        (lmtp(), "HELO c", "500 5.5.1 HELO in LMTP, which has LHLO (RFC 2033 section 4.1)"),
        (offering(), "LHLO c", "500 5.5.1 LHLO in SMTP, which has EHLO (RFC 2033 section 4.1)"),
        (
            offering(),
            "EHLO a b",
            "501 5.5.4 EHLO needs a name of 1 to 255 octets without spaces (RFC 5321 section 4.1.4)",
        ),
        (offering(), "RCPT TO:a", "501 5.5.4 RCPT needs TO:<mailbox> (RFC 5321 section 4.1.1.3)"),
        (offering(), "MAIL FROM:<> SIZE=x", "501 5.5.4 SIZE needs "),
        (offering(), "MAIL FROM:<> NOTIFY=NEVER", "555 5.5.4 NOTIFY is not offered with MAIL"),
        (greeted_only(), "MAIL FROM:<> RET=FULL", "555 5.5.4 RET is not offered with MAIL"),
        (greeted_only(), "MAIL FROM:<> BODY=BINARYMIME", "555 5.5.4 BODY=BINARYMIME is not offered with MAIL"),
        (offering(), "MAIL FROM:<> NO=1", "555 5.5.4 MAIL with a parameter that is not known"),
    ] {
        let said = refused(config, line);
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn a_misuse_says_what_was_called_and_what_is_right() {
    let mut connection = after(&["EHLO a"]);
    assert!(matches!(connection.receive(b"NOOP\r\n"), Ok(Step::Event { .. })));
    let refused = connection.send(&replies()[3], &mut Vec::new()).unwrap_err();
    assert_eq!(refused.to_string(), "reply 354 is not allowed here");
    let mut connection = ready(Limits::default());
    let chunk = Command::Bdat { size: 1, last: true };
    let refused = connection.send(&chunk, &mut Vec::new()).unwrap_err();
    assert_eq!(refused.to_string(), "BDAT without its octets: `chunk` sends both");
}

#[test]
fn a_server_knows_how_many_recipients_it_has_and_how_many_replies_it_owes() {
    let counts = |connection: &server::Connection| (connection.accepted(), connection.replies_owed());
    for (lmtp, prdr, expected) in [(true, "", vec![2, 1]), (false, "", vec![1]), (false, " PRDR", vec![1, 3, 2, 1])] {
        let mut connection = server::Connection::new(server::Config { lmtp, ..offering() });
        assert_eq!(counts(&connection), (0, 1), "the greeting");
        connection.send(&replies()[0], &mut Vec::new()).unwrap();
        let hello = if lmtp { "LHLO c" } else { "EHLO c" };
        let mail = format!("MAIL FROM:<>{prdr}");
        let lines =
            [(hello, 0), (&mail, 0), ("RCPT TO:<a@b>", 1), ("RCPT TO:<no@b>", 1), ("RCPT TO:<c@d>", 2), ("DATA", 2)];
        for (line, accepted) in lines {
            assert!(matches!(connection.receive(format!("{line}\r\n").as_bytes()), Ok(Step::Event { .. })), "{line}");
            assert_eq!(connection.replies_owed(), 1, "{line}");
            let reply = if line == "DATA" {
                3
            } else if line.contains("<no@") {
                6
            } else {
                1
            };
            connection.send(&replies()[reply], &mut Vec::new()).unwrap();
            assert_eq!(counts(&connection), (accepted, 0), "{line}");
        }
        assert!(matches!(connection.receive(b".\r\n"), Ok(Step::Event { .. })));
        for (turn, owed) in expected.into_iter().enumerate() {
            assert_eq!(counts(&connection), (2, owed));
            let code = if (turn, prdr) == (0, " PRDR") { Code::PER_RECIPIENT } else { Code::OK };
            connection.send(&Reply::new(code, ""), &mut Vec::new()).unwrap();
        }
        assert_eq!(counts(&connection), (0, 0), "the transaction is over");
    }
}

#[test]
fn a_server_decodes_nothing_before_it_has_answered() {
    let mut connection = server::Connection::new(offering());
    assert_eq!(connection.receive(b"QUIT\r\n"), Ok(Step::Paused), "before the greeting");
    let mut connection = after(&["EHLO a"]);
    for line in [&b"NOOP\r\n"[..], b"nonsense\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<a@b>\r\n", b"DATA\r\n"] {
        assert!(matches!(connection.receive(line), Ok(Step::Event { .. })));
        assert_eq!(connection.receive(b"QUIT\r\n"), Ok(Step::Paused));
        assert_eq!(connection.receive(b""), Ok(Step::Paused));
        let fits = [1, 3, 6].iter().any(|at| connection.send(&replies()[*at], &mut Vec::new()).is_ok());
        assert!(fits, "{}", line.escape_ascii());
    }
    let body = connection.receive(b"QUIT\r\n").unwrap();
    assert_eq!(body, Step::Event { consumed: 6, event: server::Event::Content(b"QUIT\r\n") });
    assert!(matches!(connection.receive(b".\r\nQUIT\r\n"), Ok(Step::Event { consumed: 3, .. })));
    assert_eq!(connection.receive(b"QUIT\r\n"), Ok(Step::Paused), "the message is not answered");
    connection.send(&replies()[6], &mut Vec::new()).unwrap();
    assert!(matches!(connection.receive(b"QUIT\r\n"), Ok(Step::Event { .. })));
    connection.send(&replies()[6], &mut Vec::new()).unwrap();
    assert!(connection.is_closed(), "whatever QUIT is answered with");
    assert_eq!(connection.send(&replies()[1], &mut Vec::new()), Err(Misuse::Closed));
}

#[test]
fn no_limit_however_odd_makes_a_connection_panic() {
    for number in [0, 1, 2, usize::MAX] {
        for line_endings in [LineEndings::Reject, LineEndings::Normalise, LineEndings::Note] {
            let mut limits = Limits::default();
            (limits.command, limits.sasl_line, limits.reply_line, limits.reply) = (number, number, number, number);
            (limits.pipelined, limits.recipients, limits.message) = (number, number, number as u64);
            (limits.errors, limits.failed_logins) = (0, 0);
            let config = server::Config { limits: limits.clone(), line_endings, ..offering() };
            let mut server = greeted(config);
            let mut client = client::Connection::new(client::Config { limits, ..client::Config::default() });
            for octets in
                [&b""[..], b"2", b"220\r\n", b"250-\r\n", b"250 a\r\n", b"\r\n", b"EHLO c\r\n", b"AUTH", b"\n"]
            {
                let _ = server.receive(octets);
                let _ = server.send(&replies()[1], &mut Vec::new());
                let _ = client.receive(octets);
                let _ = client.send(&Command::Quit, &mut Vec::new());
            }
        }
    }
}

#[test]
fn a_reply_to_ehlo_that_does_not_fit_a_line_is_not_sent_and_still_owed() {
    let mut connection = after(&[]);
    let mut extensions = everything();
    let line = Text::lossy(LONG);
    extensions.other = vec![OtherExtension { line, ..OtherExtension::default() }];
    connection.offer(extensions);
    assert!(matches!(connection.receive(b"EHLO a\r\n"), Ok(Step::Event { .. })));
    let mut out = Vec::new();
    let refused = connection.send_hello("mail.example", &mut out);
    assert_eq!(refused, Err(Misuse::LineTooLong { len: 606, limit: 512 }));
    assert!(out.is_empty());
    connection.offer(everything());
    connection.send_hello("mail.example", &mut out).unwrap();
    assert_eq!(connection.send_hello("mail.example", &mut out), Err(Misuse::NothingToAnswer));
}

#[test]
fn a_server_closes_between_commands_only() {
    let mut out = Vec::new();
    let refused = |connection: &mut server::Connection, out: &mut Vec<u8>| connection.close("bye", out);
    assert!(refused(&mut server::Connection::new(offering()), &mut out).is_err(), "before the greeting");
    let mut connection = after(&["EHLO a", "MAIL FROM:<>", "RCPT TO:<a@b>"]);
    assert!(matches!(connection.receive(b"DATA\r\n"), Ok(Step::Event { .. })));
    assert!(refused(&mut connection, &mut out).is_err(), "an event waits");
    connection.send(&replies()[3], &mut Vec::new()).unwrap();
    assert!(refused(&mut connection, &mut out).is_err(), "within a message");
    assert!(out.is_empty());
    assert!(refused(&mut after(&["EHLO a", "MAIL FROM:<>"]), &mut out).is_ok());
    let mut connection = after(&["EHLO a"]);
    assert!(matches!(connection.receive(b"AUTH PLAIN\r\n"), Ok(Step::Event { .. })));
    connection.send(&replies()[2], &mut Vec::new()).unwrap();
    assert!(refused(&mut connection, &mut out).is_ok(), "within AUTH");
    assert_eq!(out, b"421 4.3.2 bye\r\n421 4.3.2 bye\r\n");
}

#[test]
fn a_server_whose_client_takes_too_long_closes_within_a_message_too() {
    let envelope = ["EHLO a", "MAIL FROM:<>", "RCPT TO:<a@b>"];
    let mut waiting = after(&envelope);
    assert!(matches!(waiting.receive(b"DATA\r\n"), Ok(Step::Event { .. })));
    assert!(waiting.time_out("late", &mut Vec::new()).is_err(), "an event waits");
    waiting.send(&replies()[3], &mut Vec::new()).unwrap();
    let mut chunk = after(&envelope);
    assert!(matches!(chunk.receive(b"BDAT 5\r\nab"), Ok(Step::Event { .. })));
    let mut refused = after(&["EHLO a"]);
    assert!(matches!(refused.receive(b"BDAT 5\r\nab"), Ok(Step::Skip { .. })));
    for mut connection in [after(&["EHLO a"]), waiting, chunk, refused] {
        let mut out = Vec::new();
        connection.time_out("late", &mut out).unwrap();
        assert_eq!(out, b"421 4.4.2 late\r\n");
        assert!(connection.is_closed() && connection.receive(b"cd\r\n.\r\n") == Ok(Step::Paused));
        assert_eq!(connection.time_out("late", &mut out), Err(Misuse::Closed));
    }
}

#[test]
fn no_call_to_a_client_panics_or_writes_what_it_refuses() {
    let answers: [&[u8]; 8] = [
        b"220 a\r\n",
        b"250-a\r\n250-STARTTLS\r\n250 PIPELINING\r\n",
        b"250 a\r\n",
        b"334 YQ==\r\n",
        b"354 a\r\n",
        b"421 a\r\n",
        b"550 a\r\n",
        b"2",
    ];
    let mut seen = BTreeSet::new();
    for lmtp in [false, true] {
        let mut limits = limits();
        limits.pipelined = 2;
        let config = client::Config { lmtp, limits, ..client::Config::default() };
        let mut open = vec![client::Connection::new(config)];
        for _ in 0..6 {
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
                    let _ = answered.content(b".", &mut Vec::new());
                    // VRFY, EXPN and HELP are as NOOP is.
                    for line in LINES.iter().filter(|line| !["VRFY a", "EXPN a", "HELP"].contains(*line)) {
                        let mut said = answered.clone();
                        let command = Command::parse(line.as_bytes());
                        let said_it = command.is_ok_and(|command| said.send(&command, &mut Vec::new()).is_ok())
                            || *line == "." && said.end_of_content(&mut Vec::new()).is_ok()
                            || *line == "YQ==" && said.respond(&SaslLine::Cancel, &mut Vec::new()).is_ok();
                        if said_it && seen.insert(format!("{said:?}")) {
                            next.push(said);
                        }
                    }
                }
            }
            open = next;
        }
    }
    for reached in
        ["turn: Content", "turn: ContentReply", "state: Rcpt", "state: Content", "state: Ready", "state: Nameless"]
    {
        assert!(seen.iter().any(|seen| seen.contains(reached)), "{reached} was not reached");
    }
}

/// A call that appends to a buffer.
type ClientCall<'c> = &'c dyn Fn(&mut client::Connection, &mut Vec<u8>) -> Result<(), Misuse>;

fn probe_client(connection: &client::Connection) {
    let before = format!("{connection:?}");
    let tried = |call: ClientCall<'_>| {
        let (mut copy, mut out) = (connection.clone(), b"owed".to_vec());
        let result = call(&mut copy, &mut out);
        assert!(result.is_ok() || out == b"owed" && format!("{copy:?}") == before, "{result:?}");
    };
    for line in LINES {
        if let Ok(command) = Command::parse(line.as_bytes()) {
            tried(&|copy, out| copy.send(&command, out));
        }
    }
    tried(&|copy, out| copy.respond(&SaslLine::Cancel, out));
    tried(&|copy, out| copy.end_of_content(out));
    tried(&|copy, out| copy.content(b"a\r\n", out));
    assert_eq!(connection.clone().content(b"a", &mut Vec::new()).is_ok(), connection.wants_content());
    assert_eq!(connection.clone().secured(b"").is_ok(), connection.wants_tls());
    assert!(connection.clone().secured(b"x").is_err());
}

fn ehlo() -> Command<'static> {
    Command::Ehlo(ClientName::new("c").unwrap())
}

/// A client that may pipeline.
fn ready(limits: Limits) -> client::Connection {
    let mut connection = client::Connection::new(client::Config { limits, ..client::Config::default() });
    assert!(matches!(connection.receive(b"220 a\r\n"), Ok(Step::Event { .. })));
    connection.send(&ehlo(), &mut Vec::new()).unwrap();
    assert!(matches!(connection.receive(b"250-a\r\n250 PIPELINING\r\n"), Ok(Step::Event { .. })));
    connection
}

#[test]
fn a_command_that_does_not_fit_a_line_is_refused() {
    let (mut connection, mut out) = (ready(Limits::default()), Vec::new());
    let long = "x".repeat(5000);
    let refused = connection.send(&Command::Vrfy(Argument::new(&long).unwrap()), &mut out);
    assert_eq!(refused, Err(Misuse::LineTooLong { len: 5007, limit: 4096 }));
    let auth = Command::Auth { mechanism: Mechanism::PLAIN, initial: Some(Secret::from(vec![0; 10_000])) };
    assert!(matches!(connection.send(&auth, &mut out), Err(Misuse::LineTooLong { .. })));
    assert!(out.is_empty() && connection.send(&Command::Quit, &mut out).is_ok());
    assert_eq!(connection.send(&Command::Rset, &mut out), Err(Misuse::AwaitingReply { verb: Verb::Quit }));
}

/// RFC 4954 section 4: such a response goes out in answer to an empty challenge instead.
#[test]
fn an_initial_response_that_does_not_fit_a_command_line_is_not_sent_with_auth() {
    let (mut connection, mut out) = (ready(Limits::default()), Vec::new());
    let auth = |len| Command::Auth { mechanism: Mechanism::PLAIN, initial: Some(Secret::from(vec![0; len])) };
    // "AUTH PLAIN ", 496 octets of base64, CRLF: 509, and with 4 more 513.
    assert!(matches!(connection.send(&auth(375), &mut out), Err(Misuse::LineTooLong { len: 513, limit: 512 })));
    assert!(connection.send(&auth(372), &mut out).is_ok());
}

#[test]
fn more_commands_than_allowed_wait_for_replies() {
    let limits = Limits { pipelined: 2, ..Limits::default() };
    let (mut connection, mut out) = (ready(limits), Vec::new());
    connection.send(&Command::Rset, &mut out).unwrap();
    connection.send(&Command::Rset, &mut out).unwrap();
    assert_eq!(connection.send(&Command::Rset, &mut out), Err(Misuse::QueueFull { limit: 2 }));
    assert_eq!(out, b"RSET\r\nRSET\r\n");
    assert!(matches!(connection.receive(b"250\r\n"), Ok(Step::Event { .. })));
    connection.send(&Command::Rset, &mut out).unwrap();
}

/// RFC 2920 section 3.1: these change what the server is, or what it will read next. RFC 3207 section 4, RFC 4954 section 4.
#[test]
fn nothing_is_pipelined_behind_what_must_be_the_last_of_a_group() {
    let auth = Command::Auth { mechanism: Mechanism::PLAIN, initial: Some(Secret::borrowed(b"x").into_owned()) };
    let argument = Argument::new("a").unwrap();
    let before = Command::Rset;
    for last in [
        auth,
        ehlo(),
        Command::Helo(ClientName::new("c").unwrap()),
        Command::Vrfy(argument),
        Command::Expn(argument),
        Command::Noop(None),
        Command::Help(Some(argument)),
        Command::StartTls,
        Command::Quit,
    ] {
        let (mut connection, mut out) = (ready(Limits::default()), Vec::new());
        connection.send(&before, &mut out).unwrap();
        connection.send(&last, &mut out).unwrap();
        out.clear();
        for next in [Command::Rset, Command::Noop(None), Command::Quit, ehlo()] {
            assert!(connection.send(&next, &mut out).is_err(), "{next:?} behind {last:?}");
        }
        assert!(out.is_empty());
    }
    let (mut connection, mut out) = (ready(Limits::default()), Vec::new());
    for line in ["MAIL FROM:<>", "RCPT TO:<a@b>", "DATA"] {
        connection.send(&Command::parse(line.as_bytes()).unwrap(), &mut out).unwrap();
    }
    assert_eq!(connection.send(&Command::Rset, &mut out), Err(Misuse::AwaitingReply { verb: Verb::Data }));
}

#[test]
fn a_client_without_pipelining_waits_for_each_reply() {
    let mut connection = client::Connection::new(client::Config::default());
    let mut out = Vec::new();
    assert!(connection.send(&ehlo(), &mut out).is_err(), "before the greeting");
    assert!(matches!(connection.receive(b"220 a\r\n"), Ok(Step::Event { .. })));
    connection.send(&ehlo(), &mut out).unwrap();
    assert!(matches!(connection.receive(b"250 a\r\n"), Ok(Step::Event { .. })));
    for line in ["MAIL FROM:<>", "RCPT TO:<a@b>", "DATA"] {
        let command = Command::parse(line.as_bytes()).unwrap();
        connection.send(&command, &mut out).unwrap();
        let refused = connection.send(&Command::Rset, &mut out);
        assert_eq!(refused, Err(Misuse::AwaitingReply { verb: command.verb() }));
        assert!(connection.content(b"x", &mut out).is_err());
        let reply: &[u8] = if line == "DATA" { b"354 a\r\n" } else { b"250 a\r\n" };
        assert!(matches!(connection.receive(reply), Ok(Step::Event { .. })));
    }
    out.clear();
    assert!(connection.send(&Command::Quit, &mut out).is_err(), "within the message");
    assert_eq!(connection.receive(b"250 what\r\n"), Ok(Step::Paused), "nothing is read before the message is sent");
    connection.end_of_content(&mut out).unwrap();
    assert_eq!(connection.send(&Command::Quit, &mut out), Err(Misuse::AwaitingReply { verb: Verb::Data }));
    assert_eq!((out, connection.state()), (b".\r\n".to_vec(), State::Content));
}

#[test]
fn a_misuse_of_tls_ends_nothing() {
    let mut connection = ready(Limits::default());
    assert_eq!(connection.secured(b""), Err(Error::Misuse(Misuse::TlsNotWanted)));
    assert_eq!(connection.secured(b"x"), Err(Error::Misuse(Misuse::TlsNotWanted)));
    connection.send(&Command::Quit, &mut Vec::new()).unwrap();
    let mut connection = after(&["EHLO a"]);
    assert_eq!(connection.secured(b""), Err(Error::Misuse(Misuse::TlsNotWanted)));
    assert_eq!(connection.state(), State::Ready);
}
