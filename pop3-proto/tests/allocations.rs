//! What comes and goes for every message allocates nothing.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use allocation_counter::measure;
use postrider_pop3_proto::{
    Capability, Command, Digest, Item, LanguageTag, MessageNumber, Name, Response, ResponseCode, ScanListing, Secret,
    Step, Text, Timestamp, Top, UniqueId, UniqueIdListing, client, server,
};

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

fn greeted() -> server::Connection {
    let config = server::Config { extensions: everything(), ..server::Config::default() };
    let mut connection = server::Connection::new(config);
    let timestamp = Timestamp::new("<1@b>").ok();
    connection.send(&Response::Greeting { text: Text::EMPTY, timestamp }, &mut Vec::new()).unwrap();
    connection
}

fn ask(connection: &mut server::Connection, line: &[u8], out: &mut Vec<u8>) {
    assert!(matches!(connection.receive(line), Ok(Step::Event { consumed, .. }) if consumed == line.len()));
    connection.send(&Response::ok(""), out).unwrap();
}

fn logged_in() -> server::Connection {
    let mut connection = greeted();
    ask(&mut connection, b"USER a\r\n", &mut Vec::new());
    ask(&mut connection, b"PASS b\r\n", &mut Vec::new());
    connection
}

/// Hears all of `said`, at once or piece by piece, and answers; returns the number of events.
fn hear(connection: &mut server::Connection, said: &[u8], size: usize, out: &mut Vec<u8>) -> usize {
    let (mut at, mut seen, mut events) = (0, 0, 0);
    while at < said.len() {
        match connection.receive(&said[at..seen]) {
            Ok(Step::Event { consumed, event }) => {
                connection.send(&response(&event), out).unwrap();
                let _ = connection.finish(out);
                at += consumed;
                events += 1;
            }
            Ok(Step::Skip { consumed }) => at += consumed,
            _ => seen = (seen + size).min(said.len()),
        }
    }
    events
}

fn response<'e>(event: &server::Event<'e>) -> Response<'e> {
    let server::Event::Command(command) = event else { return Response::err("no") };
    match command {
        Command::Stat => Response::DropListing { messages: u32::MAX, octets: u64::MAX },
        Command::List(Some(message)) => Response::ScanListing(ScanListing { message: *message, octets: 1 }),
        Command::Uidl(Some(message)) => {
            Response::UniqueId(UniqueIdListing { message: *message, id: UniqueId::new("x").unwrap() })
        }
        Command::Lang(Some(_)) => {
            Response::Language { tag: LanguageTag::new("en").unwrap(), text: Text::new("x").unwrap() }
        }
        Command::Apop { .. } | Command::Pass(_) => Response::err("fine").with_code(ResponseCode::IN_USE),
        _ => Response::ok("fine"),
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![0_u8; 100]))).count_total, 1);
}

#[test]
fn a_server_hears_and_answers_commands_without_allocating() {
    let commands =
        b"STAT\r\nLIST\r\nLIST 1\r\nNOOP\r\nDELE 4294967295\r\nRSET\r\nUIDL\r\nUIDL 3\r\nRETR 7\r\nTOP 1 10\r\n\
        LANG\r\nLANG en\r\nLAST\r\nCAPA\r\nnonsense\r\nRETR 0\r\nUSER a\r\nnoop\r\n";
    for size in [1, 7, 100_000] {
        let (said, mut out) = (commands.repeat(100), Vec::with_capacity(1 << 20));
        let mut connection = logged_in();
        let info = measure(|| assert_eq!(hear(&mut connection, &said, size, &mut out), 1800));
        assert_eq!(info.count_total, 0, "in pieces of {size}");
    }
}

#[test]
fn a_server_hears_names_and_passwords_without_allocating() {
    let said =
        b"USER mrose\r\nPASS  tan staaf \r\nAPOP mrose c4c9334bac560ecc979e58001b3e22fb\r\nUTF8\r\nPASS early\r\n";
    let (mut connection, mut out) = (greeted(), Vec::with_capacity(1 << 16));
    let info = measure(|| assert_eq!(hear(&mut connection, said, 5, &mut out), 5));
    assert_eq!(info.count_total, 0);
}

#[test]
fn a_server_throws_long_and_malformed_lines_away_without_allocating() {
    let said = [&[b'x'; 100_000][..], b"\r\nNOOP\n\r\n\rNOOP\r\nNOOP\r\n"].concat();
    let (mut connection, mut out) = (logged_in(), Vec::with_capacity(1 << 16));
    let info = measure(|| assert_eq!(hear(&mut connection, &said, 1000, &mut out), 4));
    assert_eq!(info.count_total, 0);
}

#[test]
fn a_server_sends_listings_and_messages_without_allocating() {
    let (mut connection, mut out) = (logged_in(), Vec::with_capacity(1 << 20));
    let content = b"a line of a message\n.a dot\r\n".repeat(1000);
    let info = measure(|| {
        ask(&mut connection, b"LIST\r\n", &mut out);
        for message in (0..1000).filter_map(MessageNumber::from_index) {
            let item = Item::ScanListing(ScanListing { message, octets: u64::MAX });
            connection.send_item(&item, &mut out).unwrap();
        }
        connection.finish(&mut out).unwrap();
        ask(&mut connection, b"UIDL\r\n", &mut out);
        for message in (0..1000).filter_map(MessageNumber::from_index) {
            let id = UniqueId::new("1700000000.M1P1.host").unwrap();
            connection.send_item(&Item::UniqueId(UniqueIdListing { message, id }), &mut out).unwrap();
        }
        connection.finish(&mut out).unwrap();
        ask(&mut connection, b"RETR 1\r\n", &mut out);
        content.chunks(4096).for_each(|piece| connection.send_item(&Item::Content(piece), &mut out).unwrap());
        connection.finish(&mut out).unwrap();
        ask(&mut connection, b"TOP 1 10\r\n", &mut out);
        connection.send_item(&Item::Content(Top::new(10).take(&content)), &mut out).unwrap();
        connection.finish(&mut out).unwrap();
        assert!(matches!(connection.receive(b"CAPA\r\n"), Ok(Step::Event { .. })));
        connection.send_capabilities(&mut out).unwrap();
    });
    assert_eq!(info.count_total, 0);
}

/// A client in the middle of the answer to `command`.
fn asked(command: &Command<'_>) -> client::Connection {
    let mut connection = client::Connection::new(client::Config { pipelining: true, ..client::Config::default() });
    assert!(matches!(connection.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
    let login = [Command::User(Name::new("a").unwrap()), Command::Pass(Secret::borrowed(b"b"))];
    for command in login.iter().chain([command]) {
        connection.send(command, &mut Vec::new()).unwrap();
        assert!(matches!(connection.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
    }
    connection
}

#[test]
fn a_client_hears_listings_and_messages_without_allocating() {
    let message = MessageNumber::new(1).unwrap();
    let answers = [
        (Command::Uidl(None), "7 1700000000.M1P1.host\r\n..\r\nnonsense\r\n"),
        (Command::List(None), "7 18446744073709551615\r\n8 9 10\r\nnonsense\r\n"),
        (Command::Capa, "TOP\r\nEXPIRE 30 USER\r\nSASL PLAIN LOGIN\r\nX-NEW a\r\nPIPELINING\r\nIMPLEMENTATION a b\r\n"),
        (Command::Lang(None), "en English\r\nde\r\n"),
        (Command::Retr(message), "a line of a message\r\n..a dot\r\n"),
        (Command::Top { message, lines: 1 }, "..\r\n\r\n"),
    ];
    for (command, line) in answers {
        let said = [line.repeat(1000), ".\r\n".to_owned()].concat();
        for size in [3, 100, 1 << 20] {
            let mut connection = asked(&command);
            let info = measure(|| listen(&mut connection, said.as_bytes(), size));
            assert_eq!(info.count_total, 0, "{command:?} in pieces of {size}");
            assert!(!connection.is_waiting());
        }
    }
}

fn listen(connection: &mut client::Connection, said: &[u8], size: usize) {
    let (mut at, mut seen) = (0, 0);
    while at < said.len() {
        match connection.receive(&said[at..seen]) {
            Ok(Step::Event { consumed, .. } | Step::Skip { consumed }) => at += consumed,
            Ok(Step::NeedInput) => seen = (seen + size).min(said.len()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_client_says_commands_and_hears_their_answers_without_allocating() {
    let mut connection = asked(&Command::Noop);
    let message = MessageNumber::new(4_294_967_295).unwrap();
    let answers = [
        (Command::Noop, &b"+OK [X/Y] done\r\n"[..]),
        (Command::Stat, b"+OK 1 2\r\n"),
        (Command::List(Some(message)), b"+OK 1 2\r\n"),
        (Command::Uidl(Some(message)), b"-ERR [SYS/TEMP] no\r\n"),
        (Command::Dele(message), b"-ERR\r\n"),
    ];
    let mut out = Vec::with_capacity(1 << 16);
    let info = measure(|| {
        for (command, answer) in answers.iter().cycle().take(1000) {
            connection.send(command, &mut out).unwrap();
            listen(&mut connection, answer, 1000);
        }
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn commands_are_written_into_room_that_is_there_without_allocating() {
    let message = MessageNumber::new(1).unwrap();
    let name = Name::new("mrose").unwrap();
    let commands = [
        Command::Apop { name, digest: Digest([0xc4; 16]) },
        Command::User(name),
        Command::Pass(Secret::borrowed(b"tanstaaf")),
        Command::Top { message, lines: u32::MAX },
        Command::Retr(message),
    ];
    let mut out = Vec::with_capacity(1 << 16);
    let info = measure(|| commands.iter().for_each(|command| command.encode(&mut out)));
    assert_eq!(info.count_total, 0);
    assert!(measure(|| assert_eq!(Capability::parse(b"X-NEW a"), Capability::parse(b"X-NEW a"))).count_total == 0);
}
