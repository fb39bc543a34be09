//! Replays the conversations of `testdata/pop3` through either role of a connection.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use postrider_pop3_proto::{
    Capability, Command, Item, LanguageTag, MessageNumber, Response, SaslLine, ScanListing, Step, Text, UniqueId,
    UniqueIdListing, Verb, client, server,
};

#[path = "../../../testdata/conversation.rs"]
mod conversation;
pub(crate) use conversation::{Cut, Record, Turn};
use conversation::{conversations_of, text};

/// Every conversation by its name.
pub(crate) fn conversations() -> Vec<(String, Vec<Turn>)> {
    conversations_of("pop3", 20)
}

/// The server's side: hears the client's lines, answers with the server's lines, which must come out as they are written.
pub(crate) fn through_server(turns: &[Turn], cut: Cut) -> Record {
    let config = server::Config { extensions: crate::everything(), ..server::Config::default() };
    let (mut connection, mut record) = (server::Connection::new(config), Record::default());
    let (mut input, mut turns) = (Vec::new(), turns.iter().peekable());
    let Some(Turn::Server(greeting)) = turns.next() else { panic!("no greeting") };
    let mut out = Vec::new();
    connection.send(&Response::parse(text(&greeting[0]), None).unwrap(), &mut out).unwrap();
    assert_eq!(out, greeting.concat());
    while let Some(turn) = turns.next() {
        let Turn::Client(said) = turn else {
            assert!(connection.wants_tls() && input.is_empty());
            connection.secured(&input).unwrap();
            continue;
        };
        let Some(Turn::Server(answers)) = turns.next() else { panic!("no answer to {said:?}") };
        let (mut lines, mut out) = (Lines { said: said.iter(), answers: answers.iter() }, Vec::new());
        for piece in cut.apply(&said.concat()) {
            input.extend_from_slice(piece);
            while let Some(consumed) = serve(&mut connection, &input, &mut lines, &mut out, &mut record) {
                input.drain(..consumed);
            }
        }
        assert_eq!(out.escape_ascii().to_string(), answers.concat().escape_ascii().to_string(), "to {said:?}");
        assert!(input.is_empty() && lines.said.next().is_none(), "an event for each line of {said:?}");
    }
    record
}

/// What is left of both sides' lines.
struct Lines<'l> {
    said: std::slice::Iter<'l, Vec<u8>>,
    answers: std::slice::Iter<'l, Vec<u8>>,
}

/// Whether `event` means what `line` says: written again it is that line, the case of keywords aside.
fn assert_means(event: &server::Event<'_>, line: &[u8]) {
    let mut out = Vec::new();
    match event {
        server::Event::Command(command) => command.encode(&mut out),
        server::Event::Sasl(sasl) => assert_eq!(Ok(sasl), SaslLine::parse(text(line)).as_ref()),
        server::Event::Rejected(_) => {}
    }
    assert!(out.is_empty() || out.eq_ignore_ascii_case(line), "{event:?} for {}", line.escape_ascii());
}

fn serve(
    connection: &mut server::Connection,
    input: &[u8],
    lines: &mut Lines<'_>,
    out: &mut Vec<u8>,
    record: &mut Record,
) -> Option<usize> {
    match connection.receive(input).unwrap() {
        Step::Event { consumed, event } => {
            record.note(format!("{event:?}"));
            assert_means(&event, lines.said.next().unwrap());
            let line = text(lines.answers.next().unwrap());
            let to = match &event {
                server::Event::Command(command) => Some((command.verb(), command.is_multi_line())),
                server::Event::Sasl(_) => Some((Verb::Auth, false)),
                server::Event::Rejected(error) => {
                    assert_eq!(error.response(), Response::parse(line, None).unwrap());
                    None
                }
            };
            let verb = to.map(|(verb, _)| verb);
            let response = Response::parse(line, verb).unwrap();
            connection.send(&response, out).unwrap();
            if let Some((verb, true)) = to
                && !response.is_err()
            {
                send_items(connection, verb, &mut lines.answers, out);
            }
            Some(consumed)
        }
        Step::Skip { consumed } => Some(consumed),
        Step::NeedInput | Step::Paused => None,
    }
}

fn send_items<'l>(
    connection: &mut server::Connection,
    verb: Verb,
    lines: &mut impl Iterator<Item = &'l Vec<u8>>,
    out: &mut Vec<u8>,
) {
    for line in lines.take_while(|line| *line != b".\r\n") {
        let unstuffed = line.strip_prefix(b".").unwrap_or(line);
        connection.send_item(&item(verb, unstuffed), out).unwrap();
    }
    connection.finish(out).unwrap();
}

fn item(verb: Verb, line: &[u8]) -> Item<'_> {
    if matches!(verb, Verb::Retr | Verb::Top) {
        return Item::Content(line);
    }
    let line = text(line);
    let words = || std::str::from_utf8(line).unwrap().split_once(' ').unwrap();
    let message = || words().0.parse().ok().and_then(MessageNumber::new).unwrap();
    match verb {
        Verb::Capa => Item::Capability(Capability::parse(line)),
        Verb::Lang => {
            Item::Language { tag: LanguageTag::new(words().0).unwrap(), description: Text::new(words().1).unwrap() }
        }
        Verb::List => Item::ScanListing(ScanListing { message: message(), octets: words().1.parse().unwrap() }),
        Verb::Uidl => Item::UniqueId(UniqueIdListing { message: message(), id: UniqueId::new(words().1).unwrap() }),
        verb => panic!("{verb} has no items"),
    }
}

/// The client's side: says the client's lines, which must come out as they are written, and hears the server's.
pub(crate) fn through_client(turns: &[Turn], cut: Cut) -> Record {
    let (mut connection, mut record) = (client::Connection::new(client::Config::default()), Record::default());
    let mut input = Vec::new();
    let mut unsaid = false;
    for turn in turns {
        match turn {
            Turn::Client(lines) => {
                let said = lines.iter().filter(|line| say(&mut connection, line)).count();
                // The conversations show clients that ours is not: what it refuses to say has no answer.
                unsaid = said == 0;
                assert!(unsaid || said == lines.len());
            }
            Turn::Server(_) if unsaid => {}
            Turn::Server(lines) => {
                let mut expected = lines.iter();
                for piece in cut.apply(&lines.concat()) {
                    input.extend_from_slice(piece);
                    while let Some(consumed) = hear(&mut connection, &input, &mut expected, &mut record) {
                        input.drain(..consumed);
                    }
                }
                assert!(input.is_empty() && expected.next().is_none(), "{}", input.escape_ascii());
            }
            Turn::Tls => {
                assert!(connection.wants_tls());
                connection.secured(&input).unwrap();
            }
        }
    }
    record.note(format!("{:?}", connection.state()));
    record
}

/// Whether a client says such a line.
fn say(connection: &mut client::Connection, line: &[u8]) -> bool {
    let mut out = Vec::new();
    let response = SaslLine::parse(text(line));
    if response.is_ok_and(|response| connection.respond(&response, &mut out).is_ok()) {
        assert_eq!(out, line);
        return true;
    }
    let said = Command::parse(text(line)).is_ok_and(|command| connection.send(&command, &mut out).is_ok());
    assert!(!said || out.eq_ignore_ascii_case(line), "{} for {}", out.escape_ascii(), line.escape_ascii());
    said
}

fn hear<'l>(
    connection: &mut client::Connection,
    input: &[u8],
    expected: &mut impl Iterator<Item = &'l Vec<u8>>,
    record: &mut Record,
) -> Option<usize> {
    match connection.receive(input).unwrap() {
        Step::Event { consumed, event } => {
            match event {
                client::Event::Item(Item::Content(content)) => record.content.extend_from_slice(content),
                event => {
                    assert_heard(&event, expected, record);
                    record.note(format!("{event:?}"));
                }
            }
            Some(consumed)
        }
        Step::Skip { consumed } => Some(consumed),
        Step::NeedInput | Step::Paused => None,
    }
}

/// Whether `event` means what the next of the server's lines say.
fn assert_heard<'l>(event: &client::Event<'_>, lines: &mut impl Iterator<Item = &'l Vec<u8>>, record: &mut Record) {
    match event {
        client::Event::Greeting(response) | client::Event::Response { response, .. } => {
            let (line, mut out) = (lines.next().unwrap(), Vec::new());
            response.encode(&mut out);
            assert_eq!(out.escape_ascii().to_string(), line.escape_ascii().to_string());
        }
        client::Event::Item(heard) => {
            let line = lines.next().unwrap();
            let unstuffed = line.strip_prefix(b".").unwrap_or(line);
            let verb = match heard {
                Item::Capability(_) => Verb::Capa,
                Item::Language { .. } => Verb::Lang,
                Item::ScanListing(_) => Verb::List,
                _ => Verb::Uidl,
            };
            assert_eq!(*heard, item(verb, unstuffed));
        }
        client::Event::End { .. } => {
            let content = lines.take_while(|line| *line != b".\r\n");
            let unstuffed = content.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied();
            assert_eq!(unstuffed.collect::<Vec<_>>(), record.content);
        }
    }
}
