//! Replays the conversations of `testdata/smtp` through either role of a connection.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use postrider_smtp_proto::{
    Capability, Command, DateTime, Extensions, FutureRelease, LineEndings, Mechanism, Reply, SaslLine, State, Step,
    Text, client, server,
};

#[path = "../../../testdata/conversation.rs"]
mod conversation;
pub(crate) use conversation::{Cut, Record, Turn};
use conversation::{conversations_of, text};

/// Every conversation by its name.
pub(crate) fn conversations() -> Vec<(String, Vec<Turn>)> {
    conversations_of("smtp", 58)
}

/// What is left of both sides' lines.
struct Lines<'l> {
    said: std::slice::Iter<'l, Vec<u8>>,
    answers: std::slice::Iter<'l, Vec<u8>>,
}

/// A client's lines, each chunk as one, without a CRLF of its own, behind its `BDAT`. Chunks may end within a line.
fn parted(lines: &[Vec<u8>], within_message: bool) -> Vec<Vec<u8>> {
    let (mut parted, mut rest, mut within_message) = (Vec::new(), &lines.concat()[..], within_message);
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
        let (line, after) = rest.split_at(end);
        rest = after;
        within_message &= line != b".\r\n";
        parted.push(line.to_vec());
        if let Some((size, _)) = chunk(line).filter(|_| !within_message) {
            let (content, after) = rest.split_at(size);
            parted.push(content.to_vec());
            rest = after;
        }
    }
    parted
}

/// The size that `BDAT` says, and whether the chunk is the last.
fn chunk(line: &[u8]) -> Option<(usize, bool)> {
    match Command::parse(text(line)) {
        Ok(Command::Bdat { size, last }) => Some((usize::try_from(size).unwrap(), last)),
        _ => None,
    }
}

/// The next lines up to the last line of a reply.
fn next_reply<'l>(lines: &mut impl Iterator<Item = &'l Vec<u8>>) -> Option<Vec<u8>> {
    let mut reply = Vec::new();
    for line in lines {
        reply.extend_from_slice(line);
        if line.get(3) != Some(&b'-') {
            return Some(reply);
        }
    }
    assert!(reply.is_empty(), "the last line is missing");
    None
}

/// The next lines up to the one of one dot: a message, without its dot-stuffing.
fn next_message<'l>(lines: &mut impl Iterator<Item = &'l Vec<u8>>) -> Vec<u8> {
    let lines = lines.take_while(|line| *line != b".\r\n");
    lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
}

/// A server as the conversation shows it: what it offers is changed with each of its replies to `EHLO`.
fn server(turns: &[Turn]) -> server::Connection {
    let lines = || {
        turns.iter().flat_map(|turn| match turn {
            Turn::Client(lines) | Turn::Server(lines) => lines.as_slice(),
            Turn::Tls => &[],
        })
    };
    let mut config = server::Config { extensions: crate::everything(), ..server::Config::default() };
    config.lmtp = lines().any(|line| line.starts_with(b"LHLO "));
    let size = lines().find_map(|line| match Capability::parse(text(line).get(4..)?) {
        Capability::Size(size) => size,
        _ => None,
    });
    config.limits.message = size.unwrap_or(config.limits.message);
    server::Connection::new(config)
}

/// What a server offers that answers `EHLO` like this.
fn offered(reply: &Reply<'_>, secured: bool) -> Extensions {
    let mut offered = Extensions::default();
    (offered.eight_bit_mime, offered.enhanced_status_codes, offered.pipelining) = (false, false, false);
    offered.size = false;
    // TLS was begun with it.
    offered.starttls = secured;
    for capability in reply.capabilities() {
        match capability {
            Capability::Auth(mechanisms) => offered.auth = mechanisms.iter().filter_map(known).collect(),
            Capability::EightBitMime => offered.eight_bit_mime = true,
            Capability::EnhancedStatusCodes => offered.enhanced_status_codes = true,
            Capability::Help => offered.help = true,
            Capability::Pipelining => offered.pipelining = true,
            Capability::Size(_) => offered.size = true,
            Capability::SmtpUtf8 => offered.smtputf8 = true,
            Capability::StartTls => offered.starttls = true,
            Capability::Expn => offered.expn = true,
            Capability::Atrn => offered.atrn = true,
            Capability::Conneg | Capability::Conperm => offered.conversion = true,
            Capability::FutureRelease(FutureRelease { max_seconds, max_moment }) => {
                // What is offered is there from the start of a program.
                let moment: &'static [u8] = max_moment.as_bytes().to_vec().leak();
                offered.future_release =
                    Some(FutureRelease { max_seconds, max_moment: DateTime::new(moment).unwrap() });
            }
            Capability::BinaryMime => offered.binary_mime = true,
            Capability::Burl(words) => offered.burl = Some(owned(words)),
            Capability::Chunking => offered.chunking = true,
            Capability::DeliverBy(seconds) => offered.deliver_by = Some(seconds.unwrap_or(0)),
            Capability::Dsn => offered.dsn = true,
            Capability::Etrn => offered.etrn = true,
            Capability::Limits(_) => offered.limits = true,
            Capability::MtPriority(words) => offered.mt_priority = Some(owned(words)),
            Capability::Mtrk => offered.mtrk = true,
            Capability::NoSoliciting(words) => offered.no_soliciting = Some(owned(words)),
            Capability::Prdr => offered.prdr = true,
            Capability::RequireTls => offered.require_tls = true,
            Capability::Rrvs => offered.rrvs = true,
            Capability::Submitter => offered.submitter = true,
            Capability::Xclient(_) => offered.xclient = true,
            Capability::Xforward(_) => offered.xforward = true,
            Capability::Xverp => offered.xverp = true,
            _ => {}
        }
    }
    offered
}

fn owned(words: Option<&[u8]>) -> Text<'static> {
    Text::lossy(std::str::from_utf8(words.unwrap_or_default()).unwrap()).into_owned()
}

fn known(mechanism: Mechanism<'_>) -> Option<Mechanism<'static>> {
    let names = ["PLAIN", "LOGIN", "EXTERNAL", "CRAM-MD5", "DIGEST-MD5", "GSSAPI"];
    names.into_iter().find(|name| *name == mechanism.as_str()).and_then(|name| Mechanism::new(name).ok())
}

/// The server's side: hears the client's lines, answers with the server's lines, which must come out as they are written.
pub(crate) fn through_server(turns: &[Turn], cut: Cut) -> Record {
    let (mut connection, mut record) = (server(turns), Record::default());
    let (mut input, mut turns) = (Vec::new(), turns.iter().peekable());
    let Some(Turn::Server(greeting)) = turns.next() else { panic!("no greeting") };
    let mut out = Vec::new();
    connection.send(&Reply::parse(&greeting.concat()).unwrap(), &mut out).unwrap();
    assert_eq!(out, greeting.concat());
    while let Some(turn) = turns.next() {
        let Turn::Client(said) = turn else {
            assert!(connection.wants_tls() && input.is_empty());
            connection.secured(&input).unwrap();
            continue;
        };
        let Some(Turn::Server(answers)) = turns.next() else { panic!("no answer to {said:?}") };
        let parts = parted(said, connection.state() == State::Content);
        let (mut lines, mut out) = (Lines { said: parts.iter(), answers: answers.iter() }, Vec::new());
        for piece in cut.apply(&said.concat()) {
            input.extend_from_slice(piece);
            while let Some(consumed) = serve(&mut connection, &input, &mut lines, &mut out, &mut record) {
                input.drain(..consumed);
            }
        }
        assert_eq!(out.escape_ascii().to_string(), answers.concat().escape_ascii().to_string(), "to {said:?}");
        assert!(input.is_empty() && lines.said.next().is_none(), "an event for each line of {said:?}");
    }
    record.note(format!("{:?}", connection.state()));
    record
}

/// Whether `event` means what `line` says: written again it is that line, the case of keywords and spaces at the end aside.
fn assert_means(event: &server::Event<'_>, line: &[u8]) {
    let mut out = Vec::new();
    match event {
        server::Event::Command(command) => command.encode(&mut out),
        server::Event::Sasl(sasl) => assert_eq!(Ok(sasl), SaslLine::parse(text(line)).as_ref()),
        _ => {}
    }
    let same = out.trim_ascii_end().eq_ignore_ascii_case(line.trim_ascii_end());
    assert!(out.is_empty() || same, "{event:?} for {}", line.escape_ascii());
}

fn serve(
    connection: &mut server::Connection,
    input: &[u8],
    lines: &mut Lines<'_>,
    out: &mut Vec<u8>,
    record: &mut Record,
) -> Option<usize> {
    let (consumed, event) = match connection.receive(input).unwrap() {
        Step::Event { consumed, event } => (consumed, event),
        Step::Skip { consumed } => return Some(consumed),
        Step::NeedInput | Step::Paused => return None,
    };
    if let server::Event::Content(content) = event {
        record.content.extend_from_slice(content);
        return Some(consumed);
    }
    match event {
        server::Event::Chunk(announced) => {
            let (size, last) = chunk(lines.said.next().unwrap()).unwrap();
            assert_eq!((announced.size, announced.last), (size as u64, last));
            record.note(format!("{event:?}"));
            return Some(consumed);
        }
        server::Event::ChunkEnd(end) => {
            assert_shown(record, lines.said.next().unwrap(), end.fault.is_some());
        }
        // Of a message in chunks, the octets of the last one come next, and no line of one dot.
        server::Event::ContentEnd(end) if record.lines.last().is_some_and(|line| line.starts_with("Chunk(")) => {
            assert_shown(record, lines.said.next().unwrap(), end.fault.is_some());
        }
        server::Event::ContentEnd(end) => {
            let message = next_message(&mut lines.said);
            assert_eq!(end.size, message.len() as u64);
            assert_shown(record, &message, end.fault.is_some());
        }
        ref event => {
            let line = lines.said.next().unwrap();
            assert_means(event, line);
            // The octets of a chunk that is refused go with it.
            if chunk(line).is_some() {
                lines.said.next().unwrap();
            }
        }
    }
    record.note(format!("{event:?}"));
    answer(connection, &event, lines, out);
    Some(consumed)
}

/// What was shown of a message or a chunk is `sent`, a CR aside that is held until the next chunk shows what it is. How much of a faulty one
/// is shown is the network's choice.
fn assert_shown(record: &mut Record, sent: &[u8], faulty: bool) {
    record.content.retain(|_| !faulty);
    let is_chunk = record.lines.last().is_some_and(|line| line.starts_with("Chunk("));
    let held = if is_chunk { &b"\r"[..] } else { b"" };
    let shown = [&record.content, held].concat();
    let same = record.content == sent
        || shown == sent
        || is_chunk && record.content.strip_prefix(b"\r").is_some_and(|rest| rest == sent);
    assert!(faulty || same, "{} for {}", record.content.escape_ascii(), sent.escape_ascii());
}

/// One reply, or in LMTP as many as are owed for a message.
fn answer(connection: &mut server::Connection, event: &server::Event<'_>, lines: &mut Lines<'_>, out: &mut Vec<u8>) {
    loop {
        let octets = next_reply(&mut lines.answers).unwrap();
        let reply = Reply::parse(&octets).unwrap();
        if let server::Event::Rejected(error) = event {
            // RFC 5321 section 3.3 has both codes for DATA without a recipient.
            let code = if octets.starts_with(b"554") { "503".to_owned() } else { reply.code().to_string() };
            assert_eq!(error.reply().code().to_string(), code, "{error}");
        }
        if matches!(event, server::Event::Command(Command::Ehlo(_) | Command::Lhlo(_))) && reply.code().is_success() {
            connection.offer(offered(&reply, connection.is_secured()));
        }
        connection.send(&reply, out).unwrap();
        let owed = matches!(event, server::Event::ContentEnd(_)) && connection.receive(b"") == Ok(Step::Paused);
        if !owed || connection.is_closed() {
            return;
        }
    }
}

/// The client's side: says the client's lines, which must come out as they are written, and hears the server's.
pub(crate) fn through_client(turns: &[Turn], cut: Cut) -> Record {
    let says =
        |start: &[u8]| turns.iter().any(|turn| matches!(turn, Turn::Client(lines) if lines[0].starts_with(start)));
    let config = client::Config { lmtp: says(b"LHLO "), line_endings: LineEndings::Note, ..client::Config::default() };
    let (mut connection, mut record) = (client::Connection::new(config), Record::default());
    let mut input = Vec::new();
    let mut unsaid = false;
    for turn in turns {
        match turn {
            Turn::Client(lines) => unsaid = !say_all(&mut connection, lines, cut, &mut record),
            Turn::Server(_) if unsaid => {}
            Turn::Server(lines) => {
                let mut expected = lines.iter();
                for piece in cut.apply(&lines.concat()) {
                    input.extend_from_slice(piece);
                    while let Step::Event { consumed, event } = connection.receive(&input).unwrap() {
                        assert_heard(&event, &mut expected);
                        record.note(format!("{:?} {}", event.subject, event.reply));
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

/// Whether a client says such lines. The conversations show clients that ours is not: what it refuses to say has no answer.
fn say_all(connection: &mut client::Connection, lines: &[Vec<u8>], cut: Cut, record: &mut Record) -> bool {
    let parts = parted(lines, connection.wants_content());
    let mut lines = parts.iter();
    if connection.wants_content() {
        let (wire, mut out) = (lines.as_slice().concat(), Vec::new());
        cut.apply(&next_message(&mut lines)).into_iter().for_each(|piece| connection.content(piece, &mut out).unwrap());
        connection.end_of_content(&mut out).unwrap();
        let expected = &wire[..wire.len() - lines.as_slice().concat().len()];
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
        let (said, unsaid) = say_each(connection, lines.clone());
        assert!(unsaid == 0 && said <= lines.len());
        return true;
    }
    let (said, unsaid) = say_each(connection, lines.clone());
    assert!(said == 0 || unsaid == 0, "{:?} is said in part", lines.as_slice().concat().escape_ascii().to_string());
    if said == 0 {
        lines.for_each(|line| record.note(format!("unsaid {}", line.escape_ascii())));
    }
    said > 0
}

/// How many lines a client says, and how many it does not; a chunk is one with its `BDAT`.
fn say_each<'l>(connection: &mut client::Connection, mut lines: impl Iterator<Item = &'l Vec<u8>>) -> (usize, usize) {
    let (mut said, mut unsaid) = (0, 0);
    while let Some(line) = lines.next() {
        let is_said = match chunk(line) {
            Some((_, last)) => say_chunk(connection, line, lines.next().unwrap(), last),
            None => say(connection, line),
        };
        *(if is_said { &mut said } else { &mut unsaid }) += 1;
    }
    (said, unsaid)
}

fn say_chunk(connection: &mut client::Connection, line: &[u8], content: &[u8], last: bool) -> bool {
    let mut out = Vec::new();
    let said = connection.chunk(content, last, &mut out).is_ok();
    assert!(!said || out == [line, content].concat(), "{} for {}", out.escape_ascii(), line.escape_ascii());
    said
}

/// Whether a client says such a line.
fn say(connection: &mut client::Connection, line: &[u8]) -> bool {
    let mut out = Vec::new();
    let response = SaslLine::parse(text(line));
    // What is no base64 ours does not say: it cancels, and the answer is 501 all the same.
    if connection.respond(response.as_ref().unwrap_or(&SaslLine::Cancel), &mut out).is_ok() {
        assert!(response.is_err() || out == line);
        return true;
    }
    let said = Command::parse(text(line)).is_ok_and(|command| connection.send(&command, &mut out).is_ok());
    let same = out.trim_ascii_end().eq_ignore_ascii_case(line.trim_ascii_end());
    assert!(!said || same, "{} for {}", out.escape_ascii(), line.escape_ascii());
    said
}

/// Whether `event` is the next reply of the server's lines: written again it is those lines.
fn assert_heard<'l>(event: &client::Event<'_>, lines: &mut impl Iterator<Item = &'l Vec<u8>>) {
    let (expected, mut out) = (next_reply(lines).unwrap(), Vec::new());
    event.reply.encode(&mut out);
    assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
}
