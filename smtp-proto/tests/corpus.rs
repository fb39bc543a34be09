//! What real servers and clients said.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::{Path, PathBuf};

use postrider_smtp_proto::{
    Capability, ClientName, Code, Command, Error, LineEndings, Mechanism, Reply, SaslLine, Step, Verb, client, server,
};

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

/// The files below `folder` with this ending. Without the corpus there is nothing to test, but not where everything is tested.
fn recordings(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/smtp-transcripts").join(folder);
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

const SERVERS: [&str; 3] = ["postfix-3.7", "exim-4.96", "dovecot-lmtp-2.3"];

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// The octets of both sides; a recording has them whole, line ends and all.
fn sides(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let side = |side: &str| std::fs::read(path.to_string_lossy().replace(".client.bin", side)).unwrap();
    (side(".client.bin"), side(".server.bin"))
}

/// Every reply of a session, in order.
fn replies(said: &[u8]) -> Vec<Reply<'_>> {
    let (mut replies, mut start, mut at) = (Vec::new(), 0, 0);
    for line in said.split_inclusive(|octet| *octet == b'\n') {
        at += line.len();
        if line.get(3) != Some(&b'-') {
            replies.push(Reply::parse(&said[start..at]).unwrap());
            start = at;
        }
    }
    assert_eq!(start, said.len(), "the last line is missing");
    replies
}

#[test]
fn every_reply_that_was_recorded_is_read_and_written_as_it_was() {
    for path in SERVERS.iter().flat_map(|server| recordings(server, ".client.bin")) {
        let (_, said) = sides(&path);
        let (replies, mut again) = (replies(&said), Vec::new());
        replies.iter().for_each(|reply| reply.encode(&mut again));
        // Octet for octet: what a proxy passes on is what it got.
        assert_eq!(again.escape_ascii().to_string(), said.escape_ascii().to_string(), "{path:?}");
        assert!(replies[0].code() == Code::READY && replies.len() >= 2, "{path:?}");
    }
}

/// How a session looks to a server of ours that answers as the recorded one would like to.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    events: Vec<String>,
    messages: Vec<Vec<u8>>,
    error: Option<Error>,
    unread: usize,
}

fn offered() -> server::Config {
    let mut extensions = everything();
    extensions.auth.push(Mechanism::new("XYZZY").unwrap());
    extensions.dsn = true;
    server::Config { extensions, line_endings: LineEndings::Note, ..server::Config::default() }
}

fn hear(said: &[u8], size: usize, lmtp: bool) -> Heard {
    let mut config = offered();
    (config.lmtp, config.limits.message, config.limits.errors) = (lmtp, 20_480, 1000);
    config.limits.command = 2048;
    let (mut connection, mut out) = (server::Connection::new(config), Vec::new());
    connection.send(&Reply::new(Code::READY, "ready"), &mut out).unwrap();
    let (mut heard, mut input, mut message) = (Heard::default(), Vec::new(), Vec::new());
    for piece in said.chunks(size) {
        input.extend_from_slice(piece);
        loop {
            let (consumed, event) = match connection.receive(&input) {
                Ok(Step::Event { consumed, event }) => (consumed, event),
                Ok(Step::Skip { consumed }) => {
                    input.drain(..consumed);
                    continue;
                }
                Ok(Step::NeedInput | Step::Paused) => break,
                Err(error) => {
                    heard.error = Some(error);
                    return heard;
                }
            };
            match event {
                server::Event::Content(content) => message.extend_from_slice(content),
                event => {
                    heard.events.push(format!("{event:?}"));
                    answer(&mut connection, &event, &mut out);
                    if let server::Event::ContentEnd(end) = event {
                        // How much of one that is too large is shown is the network's choice.
                        message.retain(|_| end.fault.is_none());
                        heard.messages.push(std::mem::take(&mut message));
                    }
                }
            }
            input.drain(..consumed);
        }
    }
    heard.unread = input.len();
    heard
}

fn answer(connection: &mut server::Connection, event: &server::Event<'_>, out: &mut Vec<u8>) {
    let reply = match event {
        server::Event::Rejected(error) => error.reply(),
        server::Event::Command(Command::Data) => Reply::new(Code::START_MAIL_INPUT, "go on"),
        server::Event::Command(Command::Rcpt { to, .. }) if to.to_string().contains("nosuch") => {
            Reply::new(Code::MAILBOX_UNAVAILABLE, "no such user").with_enhanced(5, 1, 1)
        }
        server::Event::Command(Command::Auth { initial: None, .. }) => Reply::challenge_of(b""),
        server::Event::Command(Command::Auth { .. }) | server::Event::Sasl(SaslLine::Cancel) => {
            Reply::new(Code::AUTHENTICATION_FAILED, "no")
        }
        server::Event::Sasl(SaslLine::Response(response)) if response.expose() == b"alice" => Reply::challenge_of(b"x"),
        server::Event::Command(Command::StartTls) => Reply::new(Code::TEMPORARY_AUTHENTICATION_FAILURE, "not now"),
        server::Event::ContentEnd(server::ContentEnd { fault: Some(fault), .. }) => fault.reply(),
        _ => Reply::new(Code::OK, "ok"),
    };
    while connection.send(&reply, out).is_ok() && connection.receive(b"") == Ok(Step::Paused) {}
}

#[test]
fn every_line_a_client_said_is_heard_the_same_at_any_size_of_delivery() {
    for path in SERVERS.iter().flat_map(|server| recordings(server, ".client.bin")) {
        let lmtp = path.to_string_lossy().contains("lmtp");
        let (said, _) = sides(&path);
        let whole = hear(&said, usize::MAX, lmtp);
        for size in (1..20).chain([100, 1000, 4096]) {
            assert_eq!(hear(&said, size, lmtp), whole, "{path:?} in pieces of {size}");
        }
        if name(&path).contains("http") {
            assert_eq!(whole.error, Some(Error::ForeignProtocol { protocol: "HTTP" }), "{path:?}");
        } else if !name(&path).contains("bdat") {
            // Chunks, which we do not offer, are no commands, and what they hold may be some.
            assert_eq!((whole.error, whole.unread), (None, 0), "{path:?}");
            let last = whole.events.last().unwrap();
            assert!(last == "Command(Quit)", "{path:?}: {last}");
        }
    }
}

/// The messages of the sessions that have nothing to do with extensions we lack, line by line as RFC 5321 section 4.5.2 reads them.
#[test]
fn every_message_that_was_recorded_is_taken_as_it_was_meant() {
    for path in SERVERS.iter().flat_map(|server| recordings(server, ".client.bin")) {
        if ["bdat", "too-big", "http"].iter().any(|part| name(&path).contains(part)) {
            continue;
        }
        let (said, _) = sides(&path);
        let heard = hear(&said, usize::MAX, path.to_string_lossy().contains("lmtp"));
        let (mut expected, mut rest) = (Vec::new(), &said[..]);
        // Nothing but a message has a line of one dot here.
        while let Some(end) = rest.windows(5).position(|octets| octets == b"\r\n.\r\n") {
            let start = rest[..end + 2].windows(6).rposition(|octets| octets == b"DATA\r\n").unwrap() + 6;
            let lines = rest[start..end + 2].split_inclusive(|octet| *octet == b'\n');
            let mut after_crlf = true;
            let message = lines.flat_map(|line| {
                let unstuffed = line.strip_prefix(b".").filter(|_| after_crlf).unwrap_or(line);
                after_crlf = line.ends_with(b"\r\n");
                unstuffed
            });
            expected.push(message.copied().collect::<Vec<_>>());
            rest = &rest[end + 5..];
        }
        assert_eq!(heard.messages, expected, "{path:?}");
        assert!(!expected.is_empty() || !name(&path).contains("two-mails"));
    }
}

/// Commands one by one: those that Postfix took for wrong are wrong for us, but for a few that the standard settles.
#[test]
fn what_a_server_refused_for_its_form_is_refused_by_us_too() {
    for path in ["postfix-3.7", "exim-4.96"].iter().flat_map(|server| recordings(server, ".txt")) {
        let name = name(&path);
        if !["06-syntax-mail", "07-parameters", "08-unknown"].iter().any(|part| name.starts_with(part)) {
            continue;
        }
        let text = std::fs::read(&path).unwrap();
        let lines: Vec<_> = text.split(|octet| *octet == b'\n').collect();
        for pair in lines.windows(2).filter(|pair| pair[0].starts_with(b"C: ") && pair[1].starts_with(b"S: ")) {
            let (said, reply) = (&pair[0][3..], &pair[1][3..]);
            if reply.starts_with(b"501 ") && !said.starts_with(b"VRFY") && !said.windows(5).any(|word| word == b"BOGUS")
            {
                // Whether mail from an address is taken is the program's business.
                assert!(Command::parse(said).is_err() || said.contains(&b'['), "{name}: {}", said.escape_ascii());
            }
        }
    }
}

#[test]
fn answers_of_a_provider_are_understood() {
    for path in recordings("mailkit", ".txt") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let answer = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n").replace('\n', "\r\n");
        let reply = Reply::parse(answer.as_bytes()).unwrap();
        let code = reply.code();
        let understood = match name.trim_start_matches("comcast-") {
            "greeting" => code == Code::READY,
            "auth-plain" | "auth-login" => code == Code::AUTHENTICATED && reply.enhanced().is_some(),
            "auth-digest-md5-reset" => code == Code::AUTHENTICATION_FAILED && reply.enhanced().is_none(),
            "auth-digest-md5" | "auth-digest-md5-response" => {
                reply.challenge().is_ok_and(|text| !text.expose().is_empty())
            }
            "auth-login-password" | "auth-login-username" => reply.challenge().is_ok(),
            "data" => code == Code::START_MAIL_INPUT,
            "quit" => code == Code::CLOSING,
            "data-done" | "mail-from" | "noop" | "rcpt-to" | "rset" => code == Code::OK && reply.enhanced().is_some(),
            other if other.starts_with("ehlo") => is_understood(&reply, other.strip_prefix("ehlo+")),
            _ => panic!("{name} is new"),
        };
        assert!(understood, "{name}: {reply}");
        assert_eq!(hears(&name, &answer), code.as_u16(), "{name}");
    }
}

/// Whether a reply to EHLO lists what its file is about.
fn is_understood(reply: &Reply<'_>, about: Option<&str>) -> bool {
    let listed = |wanted: &Capability<'_>| reply.capabilities().any(|capability| capability == *wanted);
    let always = [Capability::Help, Capability::Size(Some(36_700_160)), Capability::EnhancedStatusCodes];
    let mechanism = |mechanism: &str| {
        reply.capabilities().any(|capability| match capability {
            Capability::Auth(mechanisms) => mechanisms.iter().any(|offered| offered.as_str() == mechanism),
            _ => false,
        })
    };
    let about = match about {
        None => mechanism("PLAIN"),
        Some("binarymime") => listed(&Capability::BinaryMime) && listed(&Capability::Chunking),
        Some("digest-md5") => mechanism("DIGEST-MD5"),
        Some("dsn") => listed(&Capability::Dsn),
        Some("pipelining") => listed(&Capability::Pipelining),
        Some("requiretls") => listed(&Capability::RequireTls),
        Some("smtputf8") => listed(&Capability::SmtpUtf8),
        Some("x-exps") => {
            let parameters = Some(&b"LOGIN PLAIN"[..]);
            listed(&Capability::Other { keyword: b"X-EXPS", parameters }) && !mechanism("PLAIN")
        }
        Some(about) => panic!("{about} is new"),
    };
    about && always.iter().all(listed) && listed(&Capability::EightBitMime) && listed(&Capability::StartTls)
}

/// What a client makes of an answer to the command that its file is named after.
fn hears(name: &str, answer: &str) -> u16 {
    let mut connection = client::Connection::new(client::Config::default());
    let mut answers = vec!["220 a\r\n", "250 a\r\n"];
    let name = name.trim_start_matches("comcast-");
    let said: &[&str] = match name {
        "greeting" => &[],
        "mail-from" => &["MAIL FROM:<>"],
        "rcpt-to" => &["MAIL FROM:<>", "RCPT TO:<a@b>"],
        "data" | "data-done" => &["MAIL FROM:<>", "RCPT TO:<a@b>", "DATA"],
        "quit" => &["QUIT"],
        "noop" => &["NOOP"],
        "rset" => &["RSET"],
        name if name.starts_with("auth") => &["AUTH PLAIN"],
        _ => &["EHLO c"],
    };
    answers.truncate(if said.is_empty() { 0 } else { 2 });
    answers.extend(said.iter().skip(1).map(|_| "250 a\r\n"));
    let name_first = Command::Ehlo(ClientName::new("c").unwrap());
    let commands = said.iter().map(|line| Command::parse(line.as_bytes()).unwrap());
    let mut commands = std::iter::once(name_first).chain(commands);
    for known in answers {
        assert!(matches!(connection.receive(known.as_bytes()), Ok(Step::Event { .. })), "{known}");
        connection.send(&commands.next().unwrap(), &mut Vec::new()).unwrap();
    }
    if name == "data-done" {
        assert!(matches!(connection.receive(b"354 a\r\n"), Ok(Step::Event { .. })));
        connection.end_of_content(&mut Vec::new()).unwrap();
    }
    let Step::Event { consumed, event } = connection.receive(answer.as_bytes()).unwrap() else { panic!("{name}") };
    assert_eq!(consumed, answer.len());
    assert_eq!(connection.is_closed(), said == ["QUIT"] && event.subject == client::Subject::Command(Verb::Quit));
    event.reply.code().as_u16()
}

/// A client of ours says what the recorded client said, as far as it can, and hears what the recorded server answered.
#[test]
fn every_recorded_session_without_errors_is_followed_by_our_client() {
    let followed = ["01-", "02-", "03-pipelined", "04-pipelined"];
    let mut count = 0;
    for path in SERVERS.iter().flat_map(|server| recordings(server, ".txt")) {
        let lmtp = path.to_string_lossy().contains("lmtp");
        let name = name(&path);
        if !followed.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
        for size in [1, 7, 100_000] {
            follow(&text, size, lmtp, &name);
        }
        count += 1;
    }
    assert!(count == 0 || count == 10, "{count} sessions");
}

fn follow(text: &str, size: usize, lmtp: bool, name: &str) {
    let mut connection = client::Connection::new(client::Config { lmtp, ..client::Config::default() });
    let (mut input, mut message, mut refused, mut unsaid) = (Vec::new(), None::<Vec<u8>>, false, Vec::new());
    for line in text.lines() {
        let (who, line) = line.split_at(3);
        let line = [line.as_bytes(), b"\r\n"].concat();
        if who == "S: " {
            // The reply to what our client did not say.
            if refused {
                refused = line[3] == b'-';
                continue;
            }
            for piece in line.chunks(size) {
                input.extend_from_slice(piece);
                while let Step::Event { consumed, .. } = connection.receive(&input).unwrap() {
                    input.drain(..consumed);
                }
            }
        } else if connection.wants_content() {
            let message = message.get_or_insert_default();
            if line == b".\r\n" {
                let mut out = Vec::new();
                message.chunks(size).for_each(|piece| connection.content(piece, &mut out).unwrap());
                connection.end_of_content(&mut out).unwrap();
                message.clear();
            } else {
                message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            }
        } else {
            let command = Command::parse(line.strip_suffix(b"\r\n").unwrap());
            let said = command.is_ok_and(|command| connection.send(&command, &mut Vec::new()).is_ok());
            refused = !said;
            unsaid.extend(refused.then_some(line));
        }
    }
    let expected: &[&[u8]] = if name.starts_with("01-two") { &[b"HELO x\r\n", b"DATA\r\n"] } else { &[] };
    assert_eq!(unsaid, expected, "{name}");
    // One recording ends within a message, because the server had taken a recipient that was to be refused.
    let whole = text.lines().last().is_some_and(|line| line.starts_with("S: "));
    assert!(input.is_empty() && connection.is_closed() == whole, "{name}: {:?}", connection.state());
}
