//! What comes and goes for every message allocates nothing.
//!
//! The exceptions: a SASL response is decoded into memory of its own, wiped afterwards; a refusal that the connection words itself
//! ([`CommandError::reply`](postrider_smtp_proto::CommandError::reply)) is put together in memory; a client's lists of
//! unanswered commands and of recipients grow with the first group.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use allocation_counter::measure;
use postrider_smtp_proto::{
    ClientName, Code, Command, ForwardPath, LineEndings, Mailbox, Parameters, Path, Reply, ReversePath, Step, Text,
    client, server,
};

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

fn greeted(line_endings: LineEndings, lmtp: bool) -> server::Connection {
    let config = server::Config { extensions: everything(), line_endings, lmtp, ..server::Config::default() };
    let mut connection = server::Connection::new(config);
    connection.send(&Reply::new(Code::READY, ""), &mut Vec::new()).unwrap();
    let hello: &[u8] = if lmtp { b"LHLO c\r\n" } else { b"EHLO c\r\n" };
    assert!(matches!(connection.receive(hello), Ok(Step::Event { .. })));
    connection.send_hello("mail.example", &mut Vec::new()).unwrap();
    connection
}

/// Hears all of `said`, at once or piece by piece, and answers; returns the number of events and octets of messages.
fn hear(connection: &mut server::Connection, said: &[u8], size: usize, out: &mut Vec<u8>) -> (usize, usize) {
    let (mut at, mut seen, mut events, mut content) = (0, 0, 0, 0);
    while at < said.len() {
        match connection.receive(&said[at..seen]) {
            Ok(Step::Event { consumed, event: server::Event::Content(piece) }) => {
                content += piece.len();
                at += consumed;
            }
            Ok(Step::Event { consumed, event }) => {
                let reply = match event {
                    server::Event::Command(Command::Data) => Reply::new(Code::START_MAIL_INPUT, "go on"),
                    server::Event::Command(Command::Vrfy(_)) => {
                        Reply::new(Code::MAILBOX_UNAVAILABLE, "no").with_enhanced(5, 1, 1)
                    }
                    server::Event::Rejected(_) => Reply::new(Code::SYNTAX_ERROR, "what").with_enhanced(5, 5, 2),
                    server::Event::ContentEnd(server::ContentEnd { fault: Some(_), .. }) => {
                        Reply::new(Code::TRANSACTION_FAILED, "no").with_enhanced(5, 6, 0)
                    }
                    _ => Reply::new(Code::OK, "fine").with_enhanced(2, 999, 10),
                };
                while connection.send(&reply, out).is_ok() && connection.receive(b"") == Ok(Step::Paused) {}
                at += consumed;
                events += 1;
            }
            Ok(Step::Skip { consumed }) => at += consumed,
            _ => seen = (seen + size).min(said.len()),
        }
    }
    (events, content)
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![0_u8; 100]))).count_total, 1);
}

#[test]
fn a_server_hears_and_answers_commands_without_allocating() {
    let commands = "NOOP\r\nNOOP any thing\r\nRSET\r\nVRFY \"Joe Smith\"\r\nEXPN list\r\nHELP\r\nhelp mail\r\nHELO client.example\r\n\
        EHLO client.example\r\nMAIL FROM:<> SIZE=1000 BODY=8BITMIME SMTPUTF8 X-FROM=1\r\nRCPT TO:<\"a b\"@[192.0.2.1]> X-TO\r\n\
        RCPT TO:<@a,@b:\u{e9}@c>\r\nRCPT TO:<postmaster>\r\nDATA\r\nx\r\n.\r\nAUTH PLAIN\r\nnonsense\r\nMAIL FROM:<a@b> SIZE=x\r\n\
        RCPT TO:<a@b>\r\nNOOP\r\n";
    for size in [1, 7, 100_000] {
        let (said, mut out) = (commands.repeat(100), Vec::with_capacity(1 << 20));
        let mut connection = greeted(LineEndings::Reject, false);
        // Answered with 250, AUTH succeeds, and is out of place from then on.
        let info = measure(|| assert_eq!(hear(&mut connection, said.as_bytes(), size, &mut out), (2000, 300)));
        assert_eq!(info.count_total, 0, "in pieces of {size}");
    }
}

#[test]
fn a_server_answers_ehlo_and_hears_parameters_without_allocating() {
    let mut extensions = everything();
    (extensions.dsn, extensions.size) = (true, true);
    let mut connection = greeted(LineEndings::Reject, false);
    connection.offer(extensions);
    let said = b"MAIL FROM:<a@b> SIZE=1000 AUTH=a+2Bb@c RET=FULL ENVID=a+20b\r\n\
        RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c\r\n\
        RCPT TO:<a@b> ORCPT=utf-8;a\\x{2B}b@c\r\nRSET\r\n";
    let mut out = Vec::with_capacity(1 << 16);
    let info = measure(|| {
        assert!(matches!(connection.receive(b"EHLO c\r\n"), Ok(Step::Event { .. })));
        connection.send_hello("mail.example", &mut out).unwrap();
        assert_eq!(hear(&mut connection, said, 7, &mut out).0, 4);
    });
    assert_eq!(info.count_total, 0);
    assert!(!out.windows(4).any(|code| code == b"\r\n50"));
}

#[test]
fn a_server_throws_long_and_malformed_lines_away_without_allocating() {
    let said = [&[b'x'; 100_000][..], b"\r\nNOOP\n\r\n\rNOOP\r\nNOOP\r\n"].concat();
    let (mut connection, mut out) = (greeted(LineEndings::Reject, false), Vec::with_capacity(1 << 16));
    let info = measure(|| assert_eq!(hear(&mut connection, &said, 1000, &mut out).0, 4));
    assert_eq!(info.count_total, 0);
}

#[test]
fn a_server_hears_messages_without_allocating_whatever_becomes_of_their_line_ends() {
    let envelope = "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nRCPT TO:<b@b>\r\nDATA\r\n";
    let sound = "a line of a message\r\n..a dot\r\n".repeat(100);
    let stray = "a line of a message\n\r..a dot\r\n".repeat(100);
    for lmtp in [false, true] {
        for line_endings in [LineEndings::Reject, LineEndings::Normalise, LineEndings::Note] {
            for (message, size) in
                [&sound, &stray].into_iter().flat_map(|message| [1, 7, 100_000].map(|size| (message, size)))
            {
                let said = [envelope, message, ".\r\n"].concat().repeat(10);
                let (mut connection, mut out) = (greeted(line_endings, lmtp), Vec::with_capacity(1 << 20));
                let info = measure(|| assert_eq!(hear(&mut connection, said.as_bytes(), size, &mut out).0, 50));
                assert_eq!(info.count_total, 0, "{line_endings:?} in pieces of {size}");
            }
        }
    }
}

#[test]
fn a_server_decodes_a_response_into_one_allocation() {
    let (mut connection, mut out) = (greeted(LineEndings::Reject, false), Vec::with_capacity(1 << 16));
    let info = measure(|| assert_eq!(hear(&mut connection, b"AUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=\r\n", 7, &mut out).0, 1));
    assert!(info.count_total <= 2, "{} allocations", info.count_total);
    assert_eq!(info.count_current, 0);
}

fn commands() -> [Command<'static>; 5] {
    let path = Path::new(Mailbox::new("\"a b\"@[192.0.2.1]").unwrap());
    let parameters = Parameters::new("SIZE=1000 BODY=8BITMIME").unwrap();
    [
        Command::Rset,
        Command::Mail { from: ReversePath::Path(path), parameters },
        Command::Rcpt { to: ForwardPath::Path(path), parameters: Parameters::NONE },
        Command::Rcpt { to: ForwardPath::Path(path), parameters: Parameters::NONE },
        Command::Data,
    ]
}

fn listen(connection: &mut client::Connection, said: &[u8], size: usize) -> usize {
    let (mut at, mut seen, mut replies) = (0, 0, 0);
    while at < said.len() {
        match connection.receive(&said[at..seen]) {
            Ok(Step::Event { consumed, event }) => {
                replies += usize::from(event.reply.lines().count() > 0 && event.reply.enhanced().is_some());
                at += consumed;
            }
            Ok(Step::Skip { consumed }) => at += consumed,
            Ok(Step::NeedInput) => seen = (seen + size).min(said.len()),
            other => panic!("{other:?}"),
        }
    }
    replies
}

/// A client that may pipeline, and has sent one message.
fn ready(line_endings: LineEndings, lmtp: bool) -> client::Connection {
    let mut connection = client::Connection::new(client::Config { line_endings, lmtp, ..client::Config::default() });
    assert!(matches!(connection.receive(b"220 a\r\n"), Ok(Step::Event { .. })));
    let name = ClientName::new("c").unwrap();
    connection.send(&if lmtp { Command::Lhlo(name) } else { Command::Ehlo(name) }, &mut Vec::new()).unwrap();
    assert!(matches!(connection.receive(b"250-a\r\n250 PIPELINING\r\n"), Ok(Step::Event { .. })));
    transact(&mut connection, &[b"x\r\n"], 100, &mut Vec::new());
    connection
}

fn transact(connection: &mut client::Connection, message: &[&[u8]], size: usize, out: &mut Vec<u8>) {
    for command in &commands() {
        connection.send(command, out).unwrap();
    }
    let replies = b"250 2.0.0 ok\r\n250 2.1.0 ok\r\n250-2.1.5 ok\r\n250-2.1.5 ok\r\n250 2.1.5 ok\r\n550 5.1.1 no\r\n354 go on\r\n";
    assert_eq!(listen(connection, replies, size), 4);
    message.iter().for_each(|piece| connection.content(piece, out).unwrap());
    connection.end_of_content(out).unwrap();
    let count = listen(connection, b"250 2.0.0 taken\r\n", size);
    assert!(count == 1 && !connection.is_waiting());
}

/// The most that ten transactions of a client allocate, however line ends are treated and pieces cut.
fn allocations_of_ten_transactions() -> u64 {
    let sound = b"a line of a message\r\n.a dot\r\n".repeat(100);
    let stray = b"a line of a message\n.a dot\r\r\n".repeat(100);
    let messages = [
        (LineEndings::Reject, &sound),
        (LineEndings::Normalise, &sound),
        (LineEndings::Normalise, &stray),
        (LineEndings::Note, &stray),
    ];
    let mut most = 0;
    for (line_endings, message) in messages {
        for (lmtp, size) in [false, true].into_iter().flat_map(|lmtp| [1, 10, 1000].map(|size| (lmtp, size))) {
            let pieces: Vec<_> = message.chunks(size).collect();
            let (mut connection, mut out) = (ready(line_endings, lmtp), Vec::with_capacity(1 << 20));
            let info = measure(|| (0..10).for_each(|_| transact(&mut connection, &pieces, size, &mut out)));
            most = most.max(info.count_total);
        }
    }
    most
}

#[test]
fn a_client_says_commands_and_messages_and_hears_the_replies_without_allocating() {
    assert_eq!(allocations_of_ten_transactions(), 0);
}

#[test]
fn a_client_hears_the_reply_to_ehlo_without_allocating() {
    let said = b"250-mail.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-AUTH PLAIN LOGIN\r\n250 X-NEW a b\r\n";
    for size in [1, 10, 1000] {
        let mut connection = ready(LineEndings::Reject, false);
        connection.send(&Command::Ehlo(ClientName::new("c").unwrap()), &mut Vec::new()).unwrap();
        let info = measure(|| assert_eq!(listen(&mut connection, said, size), 0));
        assert_eq!(info.count_total, 0);
        let info = measure(|| assert_eq!(Reply::parse(said).unwrap().capabilities().count(), 4));
        assert_eq!(info.count_total, 0);
    }
}

#[test]
fn commands_are_read_and_written_into_room_that_is_there_without_allocating() {
    let lines: [&[u8]; 5] = [
        b"MAIL FROM:<\"a b\"@c> SIZE=1",
        b"RCPT TO:<@a:b@[IPv6:::1]>",
        b"VRFY a b",
        b"EHLO [192.0.2.1]",
        b"AUTH PLAIN",
    ];
    let mut out = Vec::with_capacity(1 << 16);
    let info = measure(|| {
        for line in lines {
            Command::parse(line).unwrap().encode(&mut out);
        }
        commands().iter().for_each(|command| command.encode(&mut out));
        Reply::new(Code::OK, "fine").with_enhanced(2, 0, 0).encode(&mut out);
        assert!(Text::new("a\nb").is_err());
    });
    assert_eq!(info.count_total, 0);
}
