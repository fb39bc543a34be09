//! What hostile peers try.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use postrider_smtp_proto::server::ContentEnd;
use postrider_smtp_proto::{
    AddressLiteral, Argument, ClientName, Code, Command, CommandError, ContentFault, Domain, Error, ForwardPath,
    Limits, LineEndings, LineError, Mailbox, Mechanism, Misuse, Parameters, Path, Postmaster, Reply, ReplyError,
    ReversePath, SaslLine, Secret, State, Step, Stray, Text, Verb, client, server,
};
use proptest::prelude::*;

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

fn greeted(config: server::Config) -> server::Connection {
    let mut connection = server::Connection::new(config);
    connection.send(&Reply::new(Code::READY, "ready"), &mut Vec::new()).unwrap();
    connection
}

fn offering(limits: Limits) -> server::Config {
    server::Config { extensions: everything(), limits, ..server::Config::default() }
}

/// What came of some octets.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    events: Vec<String>,
    messages: Vec<Vec<u8>>,
    ends: Vec<ContentEnd>,
    out: Vec<u8>,
    /// The largest the receive buffer became.
    largest: usize,
    /// What was not read.
    unread: Vec<u8>,
}

/// Feeds pieces and answers each event; no login succeeds, and faulty messages are refused.
fn feed<'p>(connection: &mut server::Connection, pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Outcome, Error> {
    let (mut outcome, mut message) = (Outcome::default(), Vec::new());
    for piece in pieces {
        outcome.unread.extend_from_slice(piece);
        outcome.largest = outcome.largest.max(outcome.unread.len());
        loop {
            let consumed = match connection.receive(&outcome.unread)? {
                Step::Event { consumed, event: server::Event::Content(content) } => {
                    message.extend_from_slice(content);
                    consumed
                }
                Step::Event { consumed, event } => {
                    outcome.events.push(format!("{event:?}"));
                    if let server::Event::ContentEnd(end) = event {
                        outcome.ends.push(end);
                        outcome.messages.push(std::mem::take(&mut message));
                    }
                    answer(connection, &event, &mut outcome.out);
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

fn answer(connection: &mut server::Connection, event: &server::Event<'_>, out: &mut Vec<u8>) {
    let reply = match event {
        server::Event::Rejected(error) => error.reply(),
        server::Event::ContentEnd(ContentEnd { fault: Some(fault), .. }) => fault.reply(),
        server::Event::Command(Command::Ehlo(_) | Command::Helo(_) | Command::Lhlo(_)) => {
            return connection.send_hello("mail.example", out).unwrap();
        }
        server::Event::Command(Command::Data) => Reply::new(Code::START_MAIL_INPUT, "go on"),
        server::Event::Command(Command::Quit) => Reply::new(Code::CLOSING, "bye"),
        server::Event::Command(Command::StartTls) => Reply::new(Code::READY, "go ahead"),
        server::Event::Command(Command::Auth { initial: None, .. }) => Reply::challenge_of(b""),
        server::Event::Command(Command::Auth { .. }) | server::Event::Sasl(_) => {
            Reply::new(Code::AUTHENTICATION_FAILED, "no")
        }
        _ => Reply::new(Code::OK, "ok"),
    };
    connection.send(&reply, out).unwrap();
}

fn run(connection: &mut server::Connection, said: &[u8], size: usize) -> Outcome {
    feed(connection, said.chunks(size)).unwrap()
}

/// Every way to cut `octets` in two, and all pieces of one size.
fn cuts(octets: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let in_two = (0..=octets.len()).map(|at| <[&[u8]; 2]>::from(octets.split_at(at)).to_vec());
    in_two.chain((1..=octets.len()).map(|size| octets.chunks(size).collect()))
}

// Smuggling.

const ENVELOPE: &[u8] = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n";
const SMUGGLED: &[u8] = b"MAIL FROM:<fooled@b>\r\nRCPT TO:<fooled@b>\r\nDATA\r\n.fooled\r\n.\r\nQUIT\r\n";
const POLICIES: [LineEndings; 3] = [LineEndings::Reject, LineEndings::Normalise, LineEndings::Note];

/// A connection that waits for a message.
fn receiving(line_endings: LineEndings, limits: Limits) -> server::Connection {
    let mut connection = greeted(server::Config { line_endings, ..offering(limits) });
    let outcome = run(&mut connection, ENVELOPE, usize::MAX);
    assert_eq!((connection.state(), outcome.events.len()), (State::Content, 4));
    connection
}

/// RFC 5321 sections 4.1.1.4 and 4.5.2, line by line: the message without its dot-stuffing, and what follows its end.
fn read(wire: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut content, mut rest) = (Vec::new(), wire);
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
        let (line, after) = rest.split_at(end);
        rest = after;
        match line {
            b".\r\n" => return (content, rest),
            [b'.', line @ ..] | line => content.extend_from_slice(line),
        }
    }
}

fn first_stray(content: &[u8]) -> Option<(u64, Stray)> {
    content.iter().enumerate().find_map(|(at, octet)| match octet {
        b'\r' if content.get(at + 1) != Some(&b'\n') => Some((at as u64, Stray::Cr)),
        b'\n' if at == 0 || content[at - 1] != b'\r' => Some((at as u64, Stray::Lf)),
        _ => None,
    })
}

fn normalised(content: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (at, octet) in content.iter().enumerate() {
        match octet {
            b'\r' => lines.extend_from_slice(b"\r\n"),
            b'\n' if at > 0 && content[at - 1] == b'\r' => {}
            b'\n' => lines.extend_from_slice(b"\r\n"),
            octet => lines.push(*octet),
        }
    }
    lines
}

/// Sends `wire` up to its true end and beyond; there must be one message, judged as the policy says.
fn assert_one_message(wire: &[u8], pieces: &[&[u8]], line_endings: LineEndings) {
    let (content, after) = read(wire);
    let mut connection = receiving(line_endings, Limits::default());
    let outcome = feed(&mut connection, pieces.iter().copied()).unwrap();
    let case = || format!("{} with {line_endings:?} in {} pieces", wire.escape_ascii(), pieces.len());
    let stray = first_stray(&content);
    let (shown, end) = (&outcome.messages[0], outcome.ends[0]);
    match line_endings {
        LineEndings::Reject => {
            let fault = stray.map(|(at, stray)| ContentFault::LineEnding { stray, at });
            assert_eq!((end.fault, end.noted, end.size), (fault, None, content.len() as u64), "{}", case());
            assert!(if fault.is_none() { *shown == content } else { content.starts_with(shown) }, "{}", case());
        }
        LineEndings::Normalise => {
            let normalised = normalised(&content);
            assert_eq!(shown.escape_ascii().to_string(), normalised.escape_ascii().to_string(), "{}", case());
            assert_eq!((end.fault, end.noted, end.size), (None, None, normalised.len() as u64), "{}", case());
        }
        LineEndings::Note => {
            assert_eq!(shown.escape_ascii().to_string(), content.escape_ascii().to_string(), "{}", case());
            assert_eq!((end.fault, end.noted, end.size), (None, stray, content.len() as u64), "{}", case());
        }
    }
    // In step: what follows the true end is read as commands, and nothing before it was.
    let mut fresh = greeted(offering(Limits::default()));
    let expected = run(&mut fresh, &[b"EHLO c\r\n", after].concat(), usize::MAX).events;
    assert_eq!(outcome.events[1..], expected[1..], "{}", case());
    assert_eq!(outcome.messages.len(), 1 + expected.iter().filter(|event| event.starts_with("ContentEnd")).count());
}

/// What some receivers take for the end of a message. None of them is.
const FALSE_ENDS: [&[u8]; 24] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\n.\r\r\r\n",
    b"\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\n.\n",
    b"\n\r.\n\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\0x",
    b"\r\n .\r\n",
    b"\r\n. \r\n",
    b"\r\n.\t\r\n",
    b"\r\n..\r\n",
    b"\r\n.\x0c\r\n",
    b"\r\n.\x85",
    "\u{2028}.\u{2028}".as_bytes(),
    "\r\n.\u{2028}".as_bytes(),
    "\u{2029}.\r\n".as_bytes(),
];

#[test]
fn no_false_end_of_a_message_lets_a_second_one_in_at_any_cut() {
    for end in FALSE_ENDS {
        let wire = [b"Subject: x\r\n\r\nhi", end, SMUGGLED].concat();
        let (content, after) = read(&wire);
        assert!(content.ends_with(b"DATA\r\nfooled\r\n") && after == b"QUIT\r\n", "{}", end.escape_ascii());
        for line_endings in POLICIES {
            for pieces in cuts(&wire) {
                assert_one_message(&wire, &pieces, line_endings);
            }
        }
    }
}

#[test]
fn no_false_end_right_at_the_start_is_taken_for_an_empty_message() {
    for end in FALSE_ENDS {
        let end = end.strip_prefix(b"\r\n").unwrap_or(end);
        let wire = [end, SMUGGLED].concat();
        assert_eq!(read(&wire).1, b"QUIT\r\n", "{}", end.escape_ascii());
        for line_endings in POLICIES {
            for pieces in cuts(&wire) {
                assert_one_message(&wire, &pieces, line_endings);
            }
        }
    }
}

/// The CRLF in front of the dot is a CRLF whatever stands before it: a receiver that takes it for none is the one that is fooled.
#[test]
fn a_true_end_behind_a_bare_cr_or_lf_is_the_end() {
    for end in [&b"\r\r\n.\r\n"[..], b"\n\r\n.\r\n", b"\r\r\r\n.\r\n", b"\0\r\n.\r\n", b"\r\n\r\n.\r\n"] {
        let wire = [b"hi", end, b"RSET\r\nQUIT\r\n"].concat();
        assert_eq!(read(&wire).1, b"RSET\r\nQUIT\r\n", "{}", end.escape_ascii());
        for line_endings in POLICIES {
            for pieces in cuts(&wire) {
                assert_one_message(&wire, &pieces, line_endings);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_message_of_dots_and_line_ends_ends_where_rfc_5321_says(
        parts in proptest::collection::vec(prop::sample::select(vec!["\r\n", "\r", "\n", ".", "a", "\0", "\r\n."]), 0..20),
        size in 1..12_usize,
    ) {
        let wire = [parts.concat().as_bytes(), b"\r\n.\r\nNOOP\r\n.\r\n.\r\nQUIT\r\n"].concat();
        let pieces: Vec<_> = wire.chunks(size).collect();
        for line_endings in POLICIES {
            assert_one_message(&wire, &pieces, line_endings);
        }
    }
}

#[test]
fn a_message_that_is_too_large_is_read_to_its_true_end_whatever_stands_in_it() {
    let limits = Limits { message: 8, ..Limits::default() };
    for end in FALSE_ENDS {
        let wire = [b"123456789", end, SMUGGLED].concat();
        for line_endings in POLICIES {
            for pieces in cuts(&wire) {
                let mut connection = receiving(line_endings, limits.clone());
                let outcome = feed(&mut connection, pieces).unwrap();
                assert_eq!(outcome.events[1..], ["Command(Quit)"], "{}", end.escape_ascii());
                assert!(outcome.ends[0].fault.is_some() && outcome.messages[0].len() <= 8);
                assert!(outcome.out.starts_with(b"55"), "{}", outcome.out.escape_ascii());
            }
        }
    }
}

#[test]
fn a_faulty_message_cannot_be_accepted_by_a_careless_program() {
    let limits = Limits { message: 8, ..Limits::default() };
    for wire in [&b"a\nb\r\n.\r\n"[..], b"a\rb\r\n.\r\n", b"1234567\r\n.\r\n", b"\n.\r\n\r\n.\r\n"] {
        for lmtp in [false, true] {
            let mut connection = greeted(server::Config { lmtp, ..offering(limits.clone()) });
            let envelope = if lmtp { [b"L", &ENVELOPE[1..]].concat() } else { ENVELOPE.to_vec() };
            let envelope = envelope.strip_suffix(b"DATA\r\n").unwrap();
            run(&mut connection, &[envelope, b"RCPT TO:<b@b>\r\nDATA\r\n"].concat(), usize::MAX);
            let mut input = wire;
            let fault = loop {
                match connection.receive(input).unwrap() {
                    Step::Event { event: server::Event::ContentEnd(end), .. } => break end.fault.unwrap(),
                    Step::Event { consumed, .. } | Step::Skip { consumed } => input = &input[consumed..],
                    step => panic!("{step:?}"),
                }
            };
            // In LMTP for neither of the two recipients.
            for _ in 0..1 + usize::from(lmtp) {
                for code in [Code::OK, Code::CANNOT_VERIFY, Code::READY, Code::new(259).unwrap()] {
                    let mut out = Vec::new();
                    let misuse = Misuse::FaultyContent { code, fault };
                    assert_eq!(connection.send(&Reply::new(code, "taken"), &mut out), Err(misuse));
                    assert!(out.is_empty());
                }
                connection.send(&fault.reply(), &mut Vec::new()).unwrap();
            }
            // The fault is that message's, not the next one's.
            let outcome = run(&mut connection, &[&ENVELOPE[8..], b"x\r\n.\r\n"].concat(), usize::MAX);
            assert!(outcome.out.ends_with(b"250 ok\r\n"), "{}", outcome.out.escape_ascii());
        }
    }
}

/// How a message is cut into reads must not decide what its sender is told.
#[test]
fn a_message_with_two_faults_has_the_same_one_at_every_cut() {
    let limits = Limits { message: 8, ..Limits::default() };
    let wire = b"12\n456789\r\n.\r\nQUIT\r\n";
    let whole = feed(&mut receiving(LineEndings::Reject, limits.clone()), [&wire[..]]).unwrap();
    for pieces in cuts(wire) {
        let outcome = feed(&mut receiving(LineEndings::Reject, limits.clone()), pieces).unwrap();
        assert_eq!(outcome.ends, whole.ends);
    }
}

/// `ContentEnd::size` is told of a message, not of its pieces.
#[test]

fn a_message_that_grows_beyond_the_limit_has_the_same_size_at_every_cut() {
    let limits = Limits { message: 8, ..Limits::default() };
    let wire = b"\n\n\n\n\n\n\r\n.\r\nQUIT\r\n";
    let whole = feed(&mut receiving(LineEndings::Normalise, limits.clone()), [&wire[..]]).unwrap();
    for pieces in cuts(wire) {
        let outcome = feed(&mut receiving(LineEndings::Normalise, limits.clone()), pieces).unwrap();
        assert_eq!(outcome.ends, whole.ends);
    }
}

/// `Limits::message` counts the octets that come out of the connection.
#[test]
fn a_message_that_grows_beyond_the_limit_is_too_large_at_every_cut() {
    let limits = Limits { message: 8, ..Limits::default() };
    let wire = b"\n\n\n\n\n\n\r\n.\r\nQUIT\r\n";
    for pieces in cuts(wire) {
        let outcome = feed(&mut receiving(LineEndings::Normalise, limits.clone()), pieces).unwrap();
        assert!(outcome.messages[0].len() <= 8, "{} octets came out", outcome.messages[0].len());
        assert_eq!(outcome.ends[0].fault, Some(ContentFault::TooLarge { limit: 8 }));
    }
}

#[test]
fn a_message_of_exactly_the_limit_passes_and_one_octet_more_does_not() {
    let limits = Limits { message: 8, ..Limits::default() };
    for (wire, fault) in [
        (&b"..2345\r\n.\r\n"[..], None),
        (b"123456\r\n.\r\n", None),
        (b"1234567\r\n.\r\n", Some(ContentFault::TooLarge { limit: 8 })),
    ] {
        for pieces in cuts(wire) {
            let outcome = feed(&mut receiving(LineEndings::Reject, limits.clone()), pieces).unwrap();
            assert_eq!(outcome.ends[0].fault, fault, "{}", wire.escape_ascii());
            let code = if fault.is_none() { b"250" } else { b"552" };
            assert!(outcome.out.starts_with(code), "{}", outcome.out.escape_ascii());
        }
    }
}

#[test]
fn a_message_without_an_end_costs_no_memory_and_no_more_than_the_limit_comes_out() {
    let limits = Limits { message: 10_000, ..Limits::default() };
    for (content, line_endings) in
        [&b"x"[..], b"x\r\n", b"\r\n..", b"\n", b"\r"].into_iter().zip(POLICIES.iter().cycle())
    {
        for size in [1, 7, 4096] {
            let mut connection = receiving(*line_endings, limits.clone());
            let outcome = run(&mut connection, &content.repeat(40_000 / content.len()), size);
            assert!(outcome.events.is_empty() && outcome.out.is_empty(), "{:?}", outcome.events);
            assert!(outcome.largest <= size + 3, "{} octets were kept", outcome.largest);
            let outcome = run(&mut connection, b"\r\n.\r\nNOOP\r\n", size);
            assert!(outcome.out.starts_with(b"552 5.3.4") || outcome.out.starts_with(b"554 5.6.0"));
            assert_eq!(outcome.events.len(), 2, "the session goes on");
        }
    }
}

// TLS.

#[test]
fn starttls_injection_is_refused_by_a_server_however_it_is_split() {
    for injected in [&b"MAIL FROM:<a@b>\r\n"[..], b"E", b"\r\n", b"\x16\x03\x01", b"STARTTLS\r\n", b"EHLO c\r\n"] {
        let said = [b"EHLO c\r\nSTARTTLS\r\n", injected].concat();
        for pieces in cuts(&said) {
            let mut connection = greeted(offering(Limits::default()));
            let outcome = feed(&mut connection, pieces).unwrap();
            assert_eq!(outcome.events[1..], ["Command(StartTls)"]);
            assert!(outcome.out.ends_with(b"220 go ahead\r\n"));
            assert_eq!(outcome.unread, injected, "nothing of it was read");
            let error = Error::PlaintextAfterStartTls { len: injected.len() };
            assert_eq!(connection.secured(&outcome.unread), Err(error));
            assert!(connection.is_closed() && !connection.wants_tls());
            assert_eq!(connection.receive(b"NOOP\r\n"), Ok(Step::Paused));
            assert!(connection.secured(b"").is_err(), "a second try does not help");
        }
    }
}

#[test]
fn starttls_injection_is_refused_by_a_client_however_it_is_split() {
    let said = b"220 ready\r\n250-a\r\n250 STARTTLS\r\n220 go ahead\r\n250-b\r\n250 AUTH PLAIN\r\n";
    for pieces in cuts(said) {
        let (mut connection, mut input) = (client::Connection::new(client::Config::default()), Vec::new());
        let commands = [Command::Ehlo(ClientName::new("c").unwrap()), Command::StartTls];
        let mut commands = commands.iter();
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Step::Event { consumed, .. } = connection.receive(&input).unwrap() {
                input.drain(..consumed);
                if let Some(command) = commands.next() {
                    connection.send(command, &mut Vec::new()).unwrap();
                }
            }
        }
        assert!(connection.wants_tls());
        assert_eq!(connection.secured(&input), Err(Error::PlaintextAfterStartTls { len: 23 }));
        assert!(connection.is_closed());
        assert!(matches!(connection.send(&Command::Noop(None), &mut Vec::new()), Err(Misuse::Closed)));
    }
}

#[test]
fn nothing_is_said_between_starttls_and_tls() {
    let mut server = greeted(offering(Limits::default()));
    run(&mut server, b"EHLO c\r\nSTARTTLS\r\n", 6);
    let mut out = Vec::new();
    assert!(server.send(&Reply::new(Code::OK, ""), &mut out).is_err());
    assert!(server.close("", &mut out).is_err());
    let mut client = ready_client(b"250-a\r\n250-PIPELINING\r\n250 STARTTLS\r\n");
    client.send(&Command::StartTls, &mut Vec::new()).unwrap();
    for command in [Command::Quit, Command::Rset, Command::Noop(None), mail()] {
        assert!(client.send(&command, &mut out).is_err(), "pipelined behind STARTTLS");
    }
    assert!(out.is_empty());
}

fn mail() -> Command<'static> {
    Command::Mail { from: ReversePath::Null, parameters: Parameters::NONE }
}

fn rcpt() -> Command<'static> {
    Command::Rcpt { to: ForwardPath::Path(Path::new(Mailbox::new("a@b").unwrap())), parameters: Parameters::NONE }
}

/// A client whose EHLO was answered with `reply`.
fn ready_client(reply: &[u8]) -> client::Connection {
    let mut connection = client::Connection::new(client::Config::default());
    assert!(matches!(connection.receive(b"220 ready\r\n"), Ok(Step::Event { .. })));
    connection.send(&Command::Ehlo(ClientName::new("c").unwrap()), &mut Vec::new()).unwrap();
    assert!(matches!(connection.receive(reply), Ok(Step::Event { consumed, .. }) if consumed == reply.len()));
    connection
}

/// RFC 3207 section 4.2: what was learnt before TLS is forgotten.
#[test]
fn a_name_a_login_and_extensions_given_before_tls_do_not_count_after_it() {
    let mut connection = greeted(offering(Limits::default()));
    feed(&mut connection, [&b"EHLO c\r\nSTARTTLS\r\n"[..]]).unwrap();
    connection.secured(b"").unwrap();
    assert!(connection.is_secured() && !connection.is_extended());
    let outcome = run(&mut connection, b"MAIL FROM:<>\r\nAUTH PLAIN =\r\nSTARTTLS\r\nRCPT TO:<a@b>\r\n", 100);
    assert!(outcome.events.iter().all(|event| event.starts_with("Rejected")), "{:?}", outcome.events);
    let listed = String::from_utf8(run(&mut connection, b"EHLO c\r\n", 100).out).unwrap();
    assert!(listed.contains("AUTH PLAIN") && !listed.contains("STARTTLS"), "{listed}");
    let outcome = run(&mut connection, b"STARTTLS\r\n", 100);
    assert!(outcome.events[0].starts_with("Rejected"), "{:?}", outcome.events);

    let mut client = ready_client(b"250-a\r\n250-PIPELINING\r\n250 STARTTLS\r\n");
    client.send(&Command::StartTls, &mut Vec::new()).unwrap();
    assert!(matches!(client.receive(b"220 go\r\n"), Ok(Step::Event { .. })));
    client.secured(b"").unwrap();
    assert!(!client.offered().pipelining);
    assert!(matches!(client.send(&mail(), &mut Vec::new()), Err(Misuse::OutOfPlace { .. })));
    assert!(matches!(client.send(&Command::StartTls, &mut Vec::new()), Err(Misuse::OutOfPlace { .. })));
}

const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\nEHLO c\r\nMAIL FROM:<>\r\n";

#[test]
fn tls_and_http_on_the_plain_port_are_refused_however_they_are_split() {
    let peers = [
        (CLIENT_HELLO, "TLS"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
        (b"POST /EHLO HTTP/1.0\r\n\r\nEHLO c\r\nMAIL FROM:<>\r\n", "HTTP"),
        (b"HELO a HTTP/1.1\r\nMAIL FROM:<>\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
    ];
    for (said, protocol) in peers {
        for pieces in cuts(said) {
            let error = feed(&mut greeted(offering(Limits::default())), pieces).unwrap_err();
            assert_eq!(error, Error::ForeignProtocol { protocol }, "{}", said.escape_ascii());
        }
    }
}

#[test]
fn an_http_request_is_refused_however_long_its_first_line_is() {
    let long = ["POST /", &"x".repeat(5000), " HTTP/1.1\r\n"].concat();
    for request in [&long, "POST /\n HTTP/1.1\r\n"] {
        let said = [request, "Host: a\r\n\r\nEHLO c\r\n"].concat();
        for size in [1, 100, 4096, 10_000] {
            let refused = feed(&mut greeted(offering(Limits::default())), said.as_bytes().chunks(size));
            assert_eq!(refused.unwrap_err(), Error::ForeignProtocol { protocol: "HTTP" });
        }
    }
}

// Lines.

#[test]
fn a_line_without_an_end_costs_no_memory_and_is_told_once() {
    for (size, said) in [1, 7, 4095, 4096, 4097].into_iter().flat_map(|size| [(size, b'x'), (size, b'\n')]) {
        let mut connection = greeted(offering(Limits::default()));
        let outcome = run(&mut connection, &vec![said; 60_000], size);
        assert!(outcome.events.is_empty() && outcome.out.is_empty());
        assert!(outcome.largest <= 4096 + size, "{} octets were kept", outcome.largest);
        let outcome = run(&mut connection, b"\r\nNOOP\r\nEHLO c\r\n", size);
        assert!(outcome.events[0].contains("TooLong { len: 60002, limit: 4096 }"), "{:?}", outcome.events);
        assert!(outcome.out.starts_with(b"500 "), "RFC 5321 section 4.5.3.1.9");
        assert_eq!(outcome.events.len(), 3, "the session goes on");
    }
}

/// RFC 4954 section 4: the limit is another within AUTH, and a longer line ends it with 500.
#[test]
fn a_line_of_sasl_without_an_end_costs_no_memory_and_ends_the_auth() {
    let mut connection = greeted(offering(Limits::default()));
    run(&mut connection, b"EHLO c\r\nAUTH PLAIN\r\n", 100);
    let outcome = run(&mut connection, &[b'A'; 100_000], 1000);
    assert!(outcome.events.is_empty() && outcome.largest <= 12_288 + 1000);
    let outcome = run(&mut connection, b"\r\nNOOP\r\n", 1000);
    assert_eq!(outcome.events.len(), 2, "{:?}", outcome.events);
    assert!(outcome.out.starts_with(b"500 5.5.6 "), "{}", outcome.out.escape_ascii());
    assert!(outcome.events[0].starts_with("Rejected") && outcome.events[1].starts_with("Command(Noop"));
}

#[test]
fn a_line_as_long_as_allowed_is_taken_and_one_more_is_not() {
    let lines = [("NOOP ", 4096_usize, ""), ("AUTH PLAIN ", 12_288, "")];
    for (start, limit, end) in lines {
        for (len, taken) in [(limit, true), (limit + 1, false)] {
            // As many octets of base64 as there is room for; a space at the end where that is not a multiple of 4.
            let room = len - start.len() - 2;
            let said = format!("{start}{}{}{end}\r\n", "A".repeat(room / 4 * 4), " ".repeat(room % 4));
            for size in [1, 100, 4095, 4096, 20_000] {
                let mut connection = greeted(offering(Limits::default()));
                run(&mut connection, b"EHLO c\r\n", 100);
                let outcome = run(&mut connection, said.as_bytes(), size);
                assert_eq!(outcome.events[0].starts_with("Command"), taken, "{start} {len} in pieces of {size}");
            }
        }
    }
}

/// RFC 5321 section 4.5.3.1.9. What the client is told must not depend on how its line was cut.
#[test]
fn a_line_that_is_too_long_is_told_in_the_same_words_at_every_cut() {
    for said in
        [["AUTH PLAIN ", &"A".repeat(13_000), "\r\n"].concat(), ["NOOP ", &"AUTH".repeat(2000), "\r\n"].concat()]
    {
        let whole = run(&mut greeted(offering(Limits::default())), said.as_bytes(), usize::MAX);
        for size in [1, 1000, 4097, 4098, 12_289] {
            let outcome = run(&mut greeted(offering(Limits::default())), said.as_bytes(), size);
            assert_eq!(outcome.events, whole.events, "in pieces of {size}");
        }
    }
}

#[test]
fn bare_cr_and_lf_and_nul_do_not_end_or_hide_a_command() {
    for said in [
        &b"HELO a\nMAIL FROM:<>\r\n"[..],
        b"HELO a\rMAIL FROM:<>\r\n",
        b"HELO a\0\r\n",
        b"NOOP\n\r\n",
        b"\nNOOP\r\n",
        b"NOOP\r\r\n",
        b"VRFY a\0b\r\n",
        b"MAIL FROM:<a@b>\nRCPT TO:<a@b>\r\n",
    ] {
        for pieces in cuts(said) {
            let outcome = feed(&mut greeted(offering(Limits::default())), pieces).unwrap();
            assert_eq!(outcome.events.len(), 1, "{}", said.escape_ascii());
            assert!(outcome.events[0].starts_with("Rejected"), "{:?}", outcome.events);
        }
    }
}

/// RFC 4954 section 4: such a line ends the AUTH; the next one is a command again.
#[test]
fn a_line_of_sasl_that_is_not_base64_ends_the_auth_and_is_no_command() {
    for line in ["MAIL FROM:<>", "====", "YQ=", "YR==", "**", " *", "Y Q=", "YQ==\0", "=AAA", "AAA=BBB="] {
        let said = format!("EHLO c\r\nAUTH PLAIN\r\n{line}\r\nNOOP\r\n");
        for pieces in cuts(said.as_bytes()) {
            let outcome = feed(&mut greeted(offering(Limits::default())), pieces).unwrap();
            assert_eq!(outcome.events[2..], ["Rejected(Base64)", "Command(Noop(None))"], "{line}");
            assert!(outcome.out.ends_with(b"\r\n501 5.5.2 response is not base64 (RFC 4648 section 4)\r\n250 ok\r\n"));
        }
    }
}

// Replies.

#[test]
fn a_reply_without_an_end_costs_a_client_no_memory() {
    let line = "250-".to_owned() + &"x".repeat(994) + "\r\n";
    for said in [vec![b'2'; 100_000], b"250-x".repeat(20_000), line.repeat(200).into_bytes()] {
        for size in [1, 1000, 10_000] {
            let (mut connection, mut input, mut error) =
                (client::Connection::new(client::Config::default()), Vec::new(), None);
            for piece in said.chunks(size) {
                input.extend_from_slice(piece);
                match connection.receive(&input) {
                    Ok(step) => assert_eq!(step, Step::NeedInput),
                    Err(found) => {
                        error = Some(found);
                        break;
                    }
                }
                // The last line may begin just below the limit of the reply, and has its own.
                assert!(input.len() <= 64 * 1024 + 4096 + size);
            }
            assert!(matches!(error, Some(Error::Reply(ReplyError::TooLong { .. }))), "{error:?}");
        }
    }
}

#[test]
fn a_server_that_speaks_unasked_or_says_no_reply_is_left() {
    for said in [
        &b"220 ready\r\n250 more\r\n"[..],
        b"HELLO\r\n",
        b"220ready\r\n",
        b"220\tready\r\n",
        b"22 ready\r\n",
        b"\r\n",
        b"220 ready\n\r\n",
        b"220 re\rady\r\n",
        b"120 ready\r\n",
        b"620 ready\r\n",
        b"000 ready\r\n",
        b"220-ready\r\n421 no\r\n",
        b"220-ready\r\n250 ready\r\n",
        b"220-ready\r\n\r\n",
        "\u{662}\u{662}\u{660} ready\r\n".as_bytes(),
    ] {
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
            assert!(
                matches!(error, Some(Error::Unsolicited { .. } | Error::Reply(_))),
                "{error:?}: {}",
                said.escape_ascii()
            );
        }
    }
}

/// A 354 that answers no DATA would make the message that follows a list of commands; a 334 that answers no AUTH asks for a secret.
#[test]
fn a_client_takes_no_354_and_no_334_where_they_do_not_belong() {
    let commands = [mail(), rcpt(), Command::Data, Command::Rset, Command::Noop(None), Command::Quit];
    let auth = Command::Auth { mechanism: Mechanism::PLAIN, initial: Some(Secret::from(b"hunter2".to_vec())) };
    for command in commands.iter().chain([&auth]) {
        for said in [&b"354 go on\r\n"[..], b"334 \r\n", b"300 what\r\n", b"250 taken already\r\n"] {
            let mut connection = ready_client(b"250 a\r\n");
            let (data, needed) = (*command == Command::Data, [mail(), rcpt()]);
            for command in needed.iter().take(if data { 2 } else { usize::from(*command == rcpt()) }) {
                connection.send(command, &mut Vec::new()).unwrap();
                assert!(matches!(connection.receive(b"250 ok\r\n"), Ok(Step::Event { .. })));
            }
            connection.send(command, &mut Vec::new()).unwrap();
            let belongs = match said[..3] {
                [b'2', ..] => !data,
                [_, b'5', b'4'] => data,
                [_, b'3', b'4'] => *command == auth,
                _ => false,
            };
            let heard = connection.receive(said);
            assert_eq!(heard.is_ok(), belongs, "{command:?}: {}", said.escape_ascii());
            assert_eq!(connection.wants_content(), belongs && data);
        }
    }
}

#[test]
fn errors_in_a_row_close_the_session_after_the_last_is_told() {
    let mut limits = Limits::default();
    for errors in [1, 2, 10] {
        limits.errors = errors;
        let mut connection = greeted(offering(limits.clone()));
        let outcome = run(&mut connection, &b"nonsense\r\n".repeat(20), 1000);
        assert_eq!((outcome.events.len(), connection.is_closed()), (errors as usize, true));
        assert_eq!(outcome.out, b"500 5.5.2 unknown command\r\n".repeat(errors as usize));
        assert_eq!(connection.receive(b"QUIT\r\n"), Ok(Step::Paused));
    }
    let mut connection = greeted(offering(limits));
    let outcome = run(&mut connection, &b"nonsense\r\nNOOP\r\n".repeat(20), 1000);
    assert_eq!((outcome.events.len(), connection.is_closed()), (40, false), "they are counted in a row");
}

#[test]
fn a_megabyte_of_noise_costs_little_and_ends_the_session() {
    let alphabets: [&[u8]; 3] = [b"\r\n", b"\r\n. MAILFROM:<>@b\0\xff", &(0..=255).collect::<Vec<_>>()];
    for (alphabet, seed) in alphabets.into_iter().flat_map(|alphabet| (1..3_u64).map(move |seed| (alphabet, seed))) {
        let mut state = seed;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            alphabet[usize::try_from(state >> 33).unwrap() % alphabet.len()]
        };
        let noise: Vec<u8> = (0..1 << 20).map(|_| next()).collect();
        for mut connection in [greeted(offering(Limits::default())), receiving(LineEndings::Reject, Limits::default())]
        {
            // In a message all is well until its end, which noise has somewhere; what follows are commands.
            let Ok(outcome) = feed(&mut connection, noise.chunks(1000)) else { continue };
            assert!(outcome.events.len() <= 11, "{:?}", outcome.events);
            // A closed connection reads no more, and its unread octets are the program's.
            assert!(connection.is_closed() || outcome.largest <= 4096 + 1000, "{}", outcome.largest);
            assert!(connection.is_closed() || connection.state() == State::Content || alphabet.len() == 256);
        }
        let mut client = client::Connection::new(client::Config::default());
        assert!(client.receive(&noise).is_err());
    }
}

/// RFC 5321 section 4.5.3.1.10: too many recipients are told so with 452, each of them, and the others get the message.
#[test]
fn too_many_recipients_are_refused_and_the_rest_gets_the_message() {
    let limits = Limits { recipients: 3, ..Limits::default() };
    let mut connection = greeted(offering(limits));
    let said = [b"EHLO c\r\nMAIL FROM:<>\r\n", &b"RCPT TO:<a@b>\r\n".repeat(30)[..], b"DATA\r\nx\r\n.\r\n"].concat();
    let outcome = run(&mut connection, &said, 100);
    let refused = outcome.events.iter().filter(|event| event.contains("TooManyRecipients")).count();
    assert_eq!((refused, connection.is_closed(), connection.state()), (27, false, State::Ready));
    assert!(String::from_utf8(outcome.out).unwrap().contains("\r\n452 4.5.3 "));
    let outcome = run(&mut connection, b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n", 100);
    assert!(outcome.events[1].starts_with("Command"), "the next transaction has its own");
}

#[test]
fn failed_logins_close_the_session_whatever_they_are_made_with() {
    let ways =
        [&b"AUTH PLAIN AGEAYg==\r\n"[..], b"AUTH PLAIN\r\nAGEAYg==\r\n", b"AUTH PLAIN\r\n*\r\n", b"AUTH LOGIN =\r\n"];
    for way in ways {
        for between in [&b""[..], b"NOOP\r\n", b"EHLO c\r\n", b"RSET\r\n", b"MAIL FROM:<>\r\nRSET\r\n"] {
            let mut connection = greeted(offering(Limits::default()));
            run(&mut connection, b"EHLO c\r\n", 100);
            let outcome = run(&mut connection, &[way, between].concat().repeat(10), 1000);
            let failed = outcome.out.split(|octet| *octet == b'\n').filter(|line| line.starts_with(b"535")).count();
            assert_eq!((failed, connection.is_closed()), (3, true), "{}", way.escape_ascii());
        }
    }
    let mut connection = greeted(offering(Limits::default()));
    run(&mut connection, b"EHLO c\r\n", 100);
    let outcome = run(&mut connection, &ways.concat(), 1000);
    assert!(connection.is_closed() && outcome.unread.starts_with(b"AUTH LOGIN"));
}

// Injection.

/// What would be two lines where one is meant.
const BREAKS: [&str; 6] = ["a\r\nQUIT", "a\nQUIT", "a\rQUIT", "\r\n", "a\n", "a\0b"];

#[test]
fn no_value_holds_what_would_break_a_line() {
    for broken in BREAKS {
        let sound = |octets: &str| !octets.contains(['\r', '\n', '\0']);
        assert!(!sound(broken));
        assert!(Text::new(broken).is_err() && sound(std::str::from_utf8(Text::lossy(broken).as_bytes()).unwrap()));
        assert!(Argument::new(broken).is_err());
        assert!(ClientName::new(broken).is_err() && Domain::new(broken).is_err() && Mechanism::new(broken).is_err());
        for mailbox in
            [format!("{broken}@b"), format!("a@{broken}"), format!("\"{broken}\"@b"), format!("a@[x:{broken}]")]
        {
            assert!(Mailbox::new(&mailbox).is_err(), "{mailbox:?}");
        }
        for parameters in [format!("{broken}=1"), format!("A={broken}"), format!("A=1 {broken}")] {
            assert!(Parameters::new(&parameters).is_err(), "{parameters:?}");
        }
        assert!(AddressLiteral::new(&format!("[x:{broken}]")).is_err());
        for line in ["NOOP ", "VRFY ", "EXPN ", "HELP ", "HELO ", "EHLO ", "LHLO ", "AUTH ", "AUTH PLAIN "] {
            // Spaces at the end of a line mean nothing, and CR and LF are such to a line that was never one.
            let line = format!("{line}{broken}x");
            assert!(Command::parse(line.as_bytes()).is_err(), "{line:?}");
        }
        for line in
            [format!("MAIL FROM:<{broken}@b>"), format!("MAIL FROM:<a@b> A={broken}x"), format!("RCPT TO:<{broken}@b>")]
        {
            assert!(Command::parse(line.as_bytes()).is_err(), "{line:?}");
        }
    }
}

#[test]
fn a_postmaster_cannot_be_made_of_two_lines_or_of_another_word() {
    assert!(Postmaster::new("pOSTMASTER").is_ok());
    for name in ["postmaster>\r\nRCPT TO:<b@c", "postmaster\n", "", "postmaster ", "hostmaster", "\r\n34567890"] {
        assert!(Postmaster::new(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_reply_that_is_passed_on_is_as_many_lines_as_it_was() {
    for broken in BREAKS {
        let octets = format!("250 {broken}x\r\n");
        if let Ok(reply) = Reply::parse(octets.as_bytes()) {
            let mut out = Vec::new();
            reply.encode(&mut out);
            assert_eq!(out.iter().filter(|octet| b"\r\n\0".contains(octet)).count(), 2, "{}", out.escape_ascii());
        }
    }
}

proptest! {
    #[test]
    fn a_reply_made_from_anything_is_as_many_lines_as_it_has(
        lines in proptest::collection::vec("(\\r\\n|250 |250-|5.1.1 |\\PC|\\x00|\\n|\\r){0,12}", 1..4),
        code in prop::sample::select(vec![Code::OK, Code::CANNOT_VERIFY, Code::MAILBOX_TEMPORARILY_UNAVAILABLE, Code::MAILBOX_UNAVAILABLE]),
    ) {
        let mut connection = greeted(offering(Limits::default()));
        run(&mut connection, b"EHLO c\r\n", 100);
        assert!(matches!(connection.receive(b"VRFY x\r\n"), Ok(Step::Event { .. })));
        let (texts, mut out): (Vec<_>, _) = (lines.iter().map(|line| Text::lossy(line)).collect(), Vec::new());
        connection.send(&Reply::lines_of(code, texts), &mut out).unwrap();
        prop_assert_eq!(out.iter().filter(|octet| b"\r\n\0".contains(octet)).count(), 2 * lines.len());
        let read = Reply::parse(&out).unwrap();
        prop_assert_eq!((read.code(), read.lines().count()), (code, lines.len()));
        let mut client = ready_client(b"250 a\r\n");
        client.send(&Command::Vrfy(Argument::new("x").unwrap()), &mut Vec::new()).unwrap();
        let Step::Event { consumed, .. } = client.receive(&out).unwrap() else { panic!("not one reply") };
        prop_assert_eq!(consumed, out.len());
    }
}

/// Our own server would refuse the line, or read another text in it. A terminal would obey it.
#[test]
fn no_text_of_ours_has_control_characters_and_no_argument_is_lost() {
    for text in ["a\x1b[2Jb", "a\x7f", "a\x0cb", "\x08"] {
        assert!(Text::new(text).is_err() && Argument::new(text).is_err(), "{text:?}");
        let (reply, mut out) = (Reply::new(Code::OK, text), Vec::new());
        reply.encode(&mut out);
        assert!(!out[..out.len() - 2].iter().any(u8::is_ascii_control), "{text:?}");
    }
    assert_eq!(Text::new("a\tb").unwrap().as_bytes(), b"a\tb");
    for argument in ["", " ", "a ", "a\tb", "a\x1bb"] {
        assert!(Argument::new(argument).is_err(), "{argument:?}");
    }
    // What a server has said is another matter.
    let reply = Reply::parse(b"250 a\x1bb\r\n").unwrap();
    assert_eq!(reply.into_owned().lines().next(), Some(&b"a\x1bb"[..]));
}

/// RFC 5321 section 4.5.3.1.5: a line of a reply has at most 512 octets, its CRLF included.
#[test]
fn a_reply_line_of_512_octets_is_sent_and_a_longer_one_is_not() {
    for (len, fits) in [(512 - 6, true), (512 - 5, false)] {
        let mut connection = greeted(offering(Limits::default()));
        assert!(matches!(connection.receive(b"NOOP\r\n"), Ok(Step::Event { .. })));
        let (text, mut out) = ("x".repeat(len), b"before".to_vec());
        let lines = vec![Text::new("short").unwrap(), Text::new(&text).unwrap()];
        for reply in [Reply::new(Code::OK, &text), Reply::lines_of(Code::OK, lines)] {
            let (mut connection, mut out) = (connection.clone(), out.clone());
            // "250 " and CRLF
            assert_eq!(connection.send(&reply, &mut out).is_ok(), fits);
            assert!(fits || out == b"before");
        }
        assert_eq!(connection.send(&Reply::new(Code::OK, &text), &mut out).is_ok(), fits);
        assert_eq!(connection.send(&Reply::new(Code::OK, ""), &mut out).is_ok(), !fits, "the answer is still owed");
    }
}

// Secrets.

const SECRETS: [&str; 3] = ["hunter2", "aHVudGVyM", "[104, 117, 110"];

fn is_discreet(shown: &str) {
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_server_shows_no_secret() {
    let sessions: [&[u8]; 4] = [
        b"EHLO c\r\nAUTH PLAIN AGEAaHVudGVyMg==\r\nAUTH PLAIN aHVudGVyM\r\nAUTH hunter2 hunter2\r\nAUTH hunter2!\r\n",
        b"EHLO c\r\nAUTH PLAIN\r\naHVudGVyMg==\r\nAUTH PLAIN\r\naHVudGVyM\r\nAUTH PLAIN\r\nhunter2!!\r\n",
        b"hunter2\r\nMAIL hunter2\r\nRCPT hunter2\r\nSTARTTLS hunter2\r\nDATA hunter2\r\nQUIT hunter2\r\n",
        b"EHLO c\r\nAUTH PLAIN\r\nhunter2!!\n\r\naHVudGVyMg==\r\nMAIL FROM:<hunter2>\r\nMAIL FROM:<> hunter2=\r\n",
    ];
    for said in sessions {
        for size in [1, 1000] {
            let mut connection = greeted(offering(Limits::default()));
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
    let commands = [
        Command::Auth { mechanism: Mechanism::PLAIN, initial: Some(secret()) },
        Command::Auth { mechanism: Mechanism::PLAIN, initial: Some(Secret::from(b"hunter2".repeat(10_000))) },
    ];
    let (mut connection, mut out) = (ready_client(b"250 a\r\n"), Vec::new());
    for command in &commands {
        is_discreet(&format!("{command:?}"));
        is_discreet(&format!("{:?}", connection.clone().send(command, &mut out)));
    }
    connection.send(&commands[0], &mut out).unwrap();
    is_discreet(&format!("{:?}", connection.clone().receive(b"hunter2\r\n")));
    let Ok(Step::Event { event, .. }) = connection.receive(b"334 aHVudGVyMg==\r\n") else { panic!() };
    is_discreet(&format!("{:?} {:?}", event.reply.challenge(), SaslLine::Response(secret())));
    connection.respond(&SaslLine::Response(secret()), &mut out).unwrap();
    is_discreet(&format!("{connection:?}"));
}

#[test]
fn no_error_quotes_the_peer() {
    let errors = [
        Command::parse(b"hunter2!"),
        Command::parse(b"BDAT hunter2"),
        Command::parse(b"MAIL hunter2"),
        Command::parse(b"EHLO hunter2 hunter2"),
        Command::parse(b"AUTH hunter2 hunter2"),
        Command::parse(b"VRFY hunter2\x07x"),
        Command::parse(b"DATA hunter2"),
    ];
    for error in errors.into_iter().map(Result::unwrap_err) {
        is_discreet(&format!("{error:?} {error} {:?} {}", error.reply(), error.reply()));
    }
    for octets in [&b"hunter2\r\n"[..], b"250-a\r\n550 hunter2\r\n", b"250 hunter2"] {
        let error = Reply::parse(octets).unwrap_err();
        is_discreet(&format!("{error:?} {error}"));
    }
    let reply = CommandError::Line(LineError::BareCr).reply();
    assert_eq!(reply.to_string(), "500 5.5.2 bare CR in a line, only CRLF is allowed");
}

// What our client sends.

#[test]
fn a_message_holds_no_end_before_its_end_however_it_is_handed_over() {
    let content = b".\r\n.\n\r\n.\r\n..\r.\r\nMAIL FROM:<>\r\n.\n.\r.\r\n.";
    for line_endings in [LineEndings::Normalise, LineEndings::Note] {
        for pieces in cuts(content) {
            let mut connection = sending(line_endings);
            let mut out = Vec::new();
            pieces.iter().for_each(|piece| connection.content(piece, &mut out).unwrap());
            connection.end_of_content(&mut out).unwrap();
            let end = out.windows(5).position(|octets| octets == b"\r\n.\r\n").unwrap();
            assert!(end + 5 == out.len() && !out.starts_with(b".\r\n"), "{}", out.escape_ascii());
            assert!(!out.windows(3).any(|octets| octets == b"\n.\n"), "{}", out.escape_ascii());
            assert!(line_endings == LineEndings::Note || first_stray(&out).is_none(), "{}", out.escape_ascii());
        }
    }
}

#[test]
fn a_message_with_a_stray_line_end_is_not_sent_on_by_default() {
    for content in [&b"a\nb\r\n"[..], b"a\rb\r\n", b"\n.\n", b"\r\n.\r", b"a\r\r\n", b"\r\n\n.\r\n", b"\r"] {
        let (at, stray) = first_stray(content).unwrap();
        for pieces in cuts(content) {
            let (mut connection, mut out) = (sending(LineEndings::Reject), Vec::new());
            let body = pieces.iter().find_map(|piece| connection.content(piece, &mut out).err());
            let refused = body.or_else(|| connection.end_of_content(&mut out).err());
            assert_eq!(refused, Some(Misuse::LineEnding { stray, at }), "{}", content.escape_ascii());
            assert!(first_stray(&out).is_none_or(|(found, _)| found + 1 == out.len() as u64), "{}", out.escape_ascii());
        }
    }
}

/// A client that was told to send its message.
fn sending(line_endings: LineEndings) -> client::Connection {
    let mut connection = client::Connection::new(client::Config { line_endings, ..client::Config::default() });
    assert!(matches!(connection.receive(b"220 ready\r\n"), Ok(Step::Event { .. })));
    let commands = [Command::Helo(ClientName::new("c").unwrap()), mail(), rcpt(), Command::Data];
    for (command, reply) in commands.iter().zip(["250 a\r\n", "250 a\r\n", "250 a\r\n", "354 a\r\n"]) {
        connection.send(command, &mut Vec::new()).unwrap();
        assert!(matches!(connection.receive(reply.as_bytes()), Ok(Step::Event { .. })));
    }
    assert!(connection.wants_content());
    connection
}

/// RFC 2920 section 3.1.
#[test]
fn a_client_that_does_not_wait_where_it_must_is_known() {
    for (said, hasty) in [
        (&b"EHLO c\r\nMAIL FROM:<a@b>\r\n"[..], Some(Verb::Ehlo)),
        (b"EHLO c\r\n", None),
        (b"NOOP\r\nQ", Some(Verb::Noop)),
    ] {
        let mut connection = greeted(offering(Limits::default()));
        assert!(matches!(connection.receive(said), Ok(Step::Event { .. })));
        assert_eq!(connection.improper_pipelining(), hasty, "{}", said.escape_ascii());
    }
    let mut connection = greeted(offering(Limits::default()));
    run(&mut connection, b"EHLO c\r\n", 100);
    let mut input = &b"MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\n"[..];
    for expected in [None, None, Some(Verb::Data)] {
        let Ok(Step::Event { consumed, .. }) = connection.receive(input) else { panic!("no event") };
        assert_eq!(connection.improper_pipelining(), expected);
        let code = if expected.is_some() { Code::START_MAIL_INPUT } else { Code::OK };
        connection.send(&Reply::new(code, ""), &mut Vec::new()).unwrap();
        input = &input[consumed..];
    }
    // What came too early is the message all the same.
    assert!(matches!(connection.receive(input), Ok(Step::Event { event: server::Event::Content(b"x\r\n"), .. })));
}
