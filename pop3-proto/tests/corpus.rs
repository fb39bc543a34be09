//! What real servers and clients said.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::{Path, PathBuf};

use postrider_pop3_proto::{
    Command, Item, MessageNumber, Name, Response, SaslLine, Secret, State, Step, Verb, client, server,
};

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

/// The files below `folder` with this ending. Without the corpus there is nothing to test, but not where everything is tested.
fn recordings(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/pop3-transcripts").join(folder);
    let Ok(files) = std::fs::read_dir(&folder) else {
        assert!(std::env::var_os("CI").is_none(), "{} is missing", folder.display());
        eprintln!("left out: there is no corpus of recorded sessions here");
        return Vec::new();
    };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths
}

/// What one side said before the other did.
struct Turn {
    by_client: bool,
    lines: Vec<Vec<u8>>,
}

fn turns(path: &Path) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for line in std::fs::read(path).unwrap().split(|octet| *octet == b'\n').filter(|line| line.len() >= 3) {
        let (by_client, said) = (line.starts_with(b"C: "), [&line[3..], b"\r\n"].concat());
        assert!(by_client || line.starts_with(b"S: "), "{}", line.escape_ascii());
        match turns.last_mut() {
            Some(turn) if turn.by_client == by_client => turn.lines.push(said),
            _ => turns.push(Turn { by_client, lines: vec![said] }),
        }
    }
    turns
}

/// Whether our client says such a line here.
fn says(connection: &mut client::Connection, line: &[u8]) -> bool {
    let (line, mut out) = (line.strip_suffix(b"\r\n").unwrap(), Vec::new());
    let sasl = SaslLine::parse(line).is_ok_and(|response| connection.respond(&response, &mut out).is_ok());
    sasl || Command::parse(line).is_ok_and(|command| connection.send(&command, &mut out).is_ok())
}

/// Follows a session; returns what was heard, and how many lines of the client were said.
fn follow(turns: &[Turn], size: usize) -> (Vec<String>, Vec<u8>, usize) {
    let config = client::Config { pipelining: true, ..client::Config::default() };
    let (mut connection, mut input) = (client::Connection::new(config), Vec::new());
    let (mut heard, mut content, mut said) = (Vec::new(), Vec::new(), 0);
    let mut skips = false;
    for turn in turns {
        if turn.by_client {
            let sayable = turn.lines.iter().filter(|line| says(&mut connection, line)).count();
            assert!([0, turn.lines.len()].contains(&sayable));
            skips = sayable == 0;
            said += sayable;
        } else if !skips {
            for piece in turn.lines.concat().chunks(size) {
                input.extend_from_slice(piece);
                while let Step::Event { consumed, event } = connection.receive(&input).unwrap() {
                    match event {
                        client::Event::Item(Item::Content(piece)) => content.extend_from_slice(piece),
                        client::Event::Item(Item::Other(line)) => panic!("{}", line.escape_ascii()),
                        event => heard.push(format!("{event:?}")),
                    }
                    input.drain(..consumed);
                }
            }
            assert!(input.is_empty(), "{}", input.escape_ascii());
        }
    }
    assert!(connection.is_closed(), "{:?}", connection.state());
    (heard, content, said)
}

#[test]
fn every_recorded_session_is_understood_the_same_at_any_size_of_delivery() {
    for path in recordings("dovecot-2.3", ".txt") {
        let turns = turns(&path);
        let whole = follow(&turns, usize::MAX);
        let said_by_client = turns.iter().filter(|turn| turn.by_client).map(|turn| turn.lines.len()).sum::<usize>();
        // Only the sessions about errors hold lines that our client does not say.
        let sound = !["errors", "04-auth"].iter().any(|part| path.to_string_lossy().contains(part));
        assert!(whole.2 >= 2 && (whole.2 == said_by_client || !sound), "{path:?}: {} of {said_by_client}", whole.2);
        for size in (1..20).chain([100, 1000, 4096]) {
            assert_eq!(follow(&turns, size), whole, "{path:?} in pieces of {size}");
        }
    }
}

#[test]
fn every_line_a_client_said_is_heard_as_a_command_or_refused() {
    for path in recordings("dovecot-2.3", ".client.bin") {
        let said = std::fs::read(&path).unwrap();
        let config = server::Config { extensions: everything(), ..server::Config::default() };
        let (mut connection, mut out, mut at) = (server::Connection::new(config), Vec::new(), 0);
        connection.send(&Response::parse(b"+OK ready", None).unwrap(), &mut out).unwrap();
        while let Step::Event { consumed, event } = connection.receive(&said[at..]).unwrap() {
            let response = match event {
                server::Event::Command(Command::Quit | Command::User(_) | Command::Pass(_)) => Response::ok(""),
                server::Event::Command(Command::Auth { initial: None, .. }) => {
                    Response::Challenge(Secret::borrowed(b""))
                }
                server::Event::Command(_) | server::Event::Sasl(_) => Response::err("not now"),
                server::Event::Rejected(error) => error.response(),
            };
            connection.send(&response, &mut out).unwrap();
            at += consumed;
        }
        assert!(connection.is_closed() && at == said.len(), "{path:?} stops at {at} of {}", said.len());
    }
}

/// A client that has said `verb`, with a message where the file is about one.
fn asked(verb: Verb, single: bool) -> client::Connection {
    let config = client::Config { pipelining: true, ..client::Config::default() };
    let mut connection = client::Connection::new(config);
    let one = MessageNumber::new(1).unwrap();
    let command = match verb {
        Verb::Capa => Command::Capa,
        Verb::Lang => Command::Lang(None),
        Verb::List => Command::List(single.then_some(one)),
        Verb::Retr => Command::Retr(one),
        Verb::Stat => Command::Stat,
        Verb::Quit => Command::Quit,
        _ => Command::User(Name::new("a").unwrap()),
    };
    assert!(matches!(connection.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
    let login = [Command::User(Name::new("a").unwrap()), Command::Pass(Secret::borrowed(b"b"))];
    for command in login.iter().filter(|_| verb != Verb::User).chain([&command]) {
        connection.send(command, &mut Vec::new()).unwrap();
    }
    if verb != Verb::User {
        for _ in 0..2 {
            assert!(matches!(connection.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
        }
        assert_eq!(connection.state(), State::Transaction);
    }
    connection
}

/// The files hold an answer each, with LF, named after the command; `-error` marks what a client cannot use.
#[test]
fn answers_of_providers_are_understood_and_broken_ones_kept_apart() {
    for provider in ["mailkit/comcast", "mailkit/lang", "mailkit/common"] {
        for path in recordings(provider, ".txt") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let answer = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n").replace('\n', "\r\n");
            let events = answer_to(&name, answer.as_bytes());
            let other = events.iter().any(|event| event.starts_with("Item(Other("));
            let listed = !other && events.len() > 2 && events.iter().any(|event| event.starts_with("End"));
            let plain = events[0].contains("response: Ok");
            let understood = match name.as_str() {
                "list-error1" | "list-error3" => other,
                // A listing that leaves out a number is sound line by line, and so is one message for another.
                "list" | "list-error2" | "getlang" | "capa1" | "capa2" | "retr1" => listed,
                "list1" | "list1-error2" => events[0].contains("response: ScanListing"),
                "list1-error1" | "list1-error3" | "stat-error1" | "stat-error2" | "stat-error3" => plain,
                "stat" => events[0].contains("response: DropListing"),
                "greeting" | "ok-greeting" | "err-greeting" => events[0].starts_with("Greeting"),
                "err" => events[0].contains("response: Err"),
                "auth" | "ok" | "quit" | "setlang" | "utf8" => plain,
                _ => panic!("{provider}/{name} is new"),
            };
            assert!(understood, "{provider}/{name}: {events:?}");
        }
    }
}

fn answer_to(name: &str, answer: &[u8]) -> Vec<String> {
    let verb = match name.trim_end_matches(|last: char| last.is_ascii_digit()) {
        "greeting" | "ok-greeting" | "err-greeting" => None,
        "capa" => Some(Verb::Capa),
        "getlang" => Some(Verb::Lang),
        "quit" => Some(Verb::Quit),
        "retr" => Some(Verb::Retr),
        name if name.starts_with("list") => Some(Verb::List),
        name if name.starts_with("stat") => Some(Verb::Stat),
        _ => Some(Verb::User),
    };
    let mut connection = match verb {
        Some(verb) => asked(verb, name.starts_with("list1")),
        None => client::Connection::new(client::Config::default()),
    };
    let (mut events, mut at) = (Vec::new(), 0);
    while let Step::Event { consumed, event } = connection.receive(&answer[at..]).unwrap() {
        events.push(format!("{event:?}"));
        at += consumed;
        if at == answer.len() {
            break;
        }
    }
    assert!(at == answer.len() && !connection.is_waiting(), "{name} stops at {at} of {}: {events:?}", answer.len());
    events
}
