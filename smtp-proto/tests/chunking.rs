//! Messages in chunks: `BDAT` as RFC 3030 has it, in LMTP as RFC 2033 section 4.3 has it, with `PRDR`, and beside `BURL`.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use allocation_counter::measure;
use postrider_smtp_proto::client::Subject;
use postrider_smtp_proto::server::{Chunk, Event};
use postrider_smtp_proto::{
    Code, Command, ContentFault, Error, Limits, LineEndings, Misuse, Place, Reply, ReplyError, State, Step, Stray,
    Verb, client, server,
};
use proptest::prelude::*;

#[path = "support/everything.rs"]
mod everything;
use everything::everything;
#[path = "support/extended.rs"]
mod extended;
use extended::extended;

const POLICIES: [LineEndings; 3] = [LineEndings::Reject, LineEndings::Normalise, LineEndings::Note];

/// What a program answers, where it is not what a program that likes everything does.
type Decide = fn(&Event<'_>) -> Option<Reply<'static>>;

const AGREE: Decide = |_| None;

fn config() -> server::Config {
    let mut limits = Limits::default();
    (limits.errors, limits.message) = (u32::MAX, 1000);
    server::Config { extensions: extended(), limits, ..server::Config::default() }
}

fn greeted(config: &server::Config) -> server::Connection {
    let mut connection = server::Connection::new(config.clone());
    connection.send(&Reply::new(Code::READY, "ready"), &mut Vec::new()).unwrap();
    connection
}

/// What came of what a client said.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Every event but the pieces of messages, in words.
    events: Vec<String>,
    /// The messages that were accepted.
    messages: Vec<Vec<u8>>,
    /// What has come of one that has not ended.
    begun: Vec<u8>,
    /// The code of each reply.
    codes: Vec<u16>,
    /// The replies.
    said: Vec<u8>,
    /// Octets that were not read.
    unread: usize,
    closed: bool,
}

impl Outcome {
    fn of<'p>(config: &server::Config, pieces: impl IntoIterator<Item = &'p [u8]>, decide: Decide) -> Self {
        let (mut connection, mut outcome) = (greeted(config), Self::default());
        let mut input = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                let consumed = match connection.receive(&input).unwrap() {
                    Step::Event { consumed, event } => {
                        outcome.hear(&mut connection, &event, decide);
                        consumed
                    }
                    Step::Skip { consumed } => consumed,
                    Step::NeedInput | Step::Paused => break,
                };
                input.drain(..consumed);
            }
        }
        (outcome.unread, outcome.closed) = (input.len(), connection.is_closed());
        outcome
    }

    fn hear(&mut self, connection: &mut server::Connection, event: &Event<'_>, decide: Decide) {
        self.events.extend(match event {
            Event::Chunk(Chunk { size, first, last }) => {
                if *first {
                    self.begun.clear();
                }
                Some(format!("chunk {size}{}{}", word(*first, " first"), word(*last, " last")))
            }
            Event::ChunkEnd(end) => Some(format!("chunk end {}{}", end.size, fault(end.fault))),
            Event::Command(command) => Some(command.verb().to_string()),
            Event::Content(content) => {
                assert!(!content.is_empty());
                assert!(!(self.begun.ends_with(b"\r") && content.starts_with(b"\n")), "a CRLF is parted");
                self.begun.extend_from_slice(content);
                return;
            }
            Event::ContentEnd(end) => {
                let begun = std::mem::take(&mut self.begun);
                if end.fault.is_none() {
                    assert_eq!(end.size, begun.len() as u64);
                    self.messages.push(begun);
                }
                let noted = end.noted.map(|(at, stray)| format!(" {stray:?} at {at}")).unwrap_or_default();
                Some(format!("end {}{noted}{}", end.size, fault(end.fault)))
            }
            Event::Rejected(error) => Some(format!("rejected {}", error.reply().code())),
            Event::Sasl(_) => None,
        });
        // How much of a faulty message is shown is the network's choice.
        if matches!(event, Event::ChunkEnd(end) if end.fault.is_some()) {
            self.begun.clear();
        }
        if !matches!(event, Event::Chunk(_)) {
            self.answer(connection, event, decide);
        }
    }

    fn answer(&mut self, connection: &mut server::Connection, event: &Event<'_>, decide: Decide) {
        let hello = matches!(event, Event::Command(Command::Ehlo(_) | Command::Helo(_) | Command::Lhlo(_)));
        if hello {
            self.codes.push(250);
            return connection.send_hello("mail.example", &mut self.said).unwrap();
        }
        let reply = decide(event).unwrap_or_else(|| match event {
            Event::Rejected(error) => error.reply(),
            Event::ChunkEnd(server::ChunkEnd { fault: Some(fault), .. })
            | Event::ContentEnd(server::ContentEnd { fault: Some(fault), .. }) => fault.reply(),
            Event::Command(Command::Data) => Reply::new(Code::START_MAIL_INPUT, "go on"),
            Event::Command(Command::Quit) => Reply::new(Code::CLOSING, "bye"),
            Event::Command(Command::StartTls) => Reply::new(Code::READY, "go ahead"),
            _ => Reply::new(Code::OK, "ok"),
        });
        let is_message = matches!(event, Event::ContentEnd(_));
        if matches!(event, Event::ContentEnd(end) if end.fault.is_none()) && !reply.code().is_success() {
            self.messages.pop();
        }
        loop {
            connection.send(&reply, &mut self.said).unwrap();
            self.codes.push(reply.code().as_u16());
            if !is_message || connection.is_closed() || connection.receive(b"") != Ok(Step::Paused) {
                return;
            }
        }
    }
}

fn word(is: bool, word: &str) -> &str {
    if is { word } else { "" }
}

fn fault(fault: Option<ContentFault>) -> String {
    fault.map(|fault| format!(" {fault:?}")).unwrap_or_default()
}

/// Every way to cut `octets` in two, and small pieces of one size.
fn cuts(octets: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let in_two = (0..=octets.len()).map(|at| <[&[u8]; 2]>::from(octets.split_at(at)).to_vec());
    in_two.chain((1..9).map(|size| octets.chunks(size).collect()))
}

/// What comes of `said`, which is the same at every cut.
fn hear_with(config: &server::Config, said: &[u8], decide: Decide) -> Outcome {
    let whole = Outcome::of(config, [said], decide);
    for pieces in cuts(said) {
        assert_eq!(Outcome::of(config, pieces.iter().copied(), decide), whole, "{pieces:?}");
    }
    whole
}

fn hear(config: &server::Config, said: impl AsRef<[u8]>) -> Outcome {
    hear_with(config, said.as_ref(), AGREE)
}

const ENVELOPE: &[u8] = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";

/// The events and codes of [`ENVELOPE`] are left out.
fn after_envelope(config: &server::Config, said: impl AsRef<[u8]>) -> Outcome {
    let mut outcome = hear(config, [ENVELOPE, said.as_ref()].concat());
    assert_eq!((outcome.events[..3].join(" "), &outcome.codes[..3]), ("EHLO MAIL RCPT".to_owned(), &[250; 3][..]));
    outcome.events.drain(..3);
    outcome.codes.drain(..3);
    outcome
}

/// The content of `parts` as chunks, the last of them the message's last.
fn chunked(parts: &[&[u8]]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let last = word(index + 1 == parts.len(), " LAST");
        wire.extend_from_slice(format!("BDAT {}{last}\r\n", part.len()).as_bytes());
        wire.extend_from_slice(part);
    }
    wire
}

// What belongs: RFC 3030 section 2.

#[test]
fn the_example_of_rfc_3030_has_the_octets_it_says() {
    let message = b"To: Susan@random.com\r\nFrom: Sam@random.com\r\nSubject: This is a bodyless test message\r\n";
    let outcome = after_envelope(&config(), [b"BDAT 86 LAST\r\n", &message[..], b"QUIT\r\n"].concat());
    assert_eq!(outcome.events, ["chunk 86 first last", "end 86", "QUIT"]);
    assert_eq!((outcome.messages, outcome.closed), (vec![message.to_vec()], true));
}

/// "A 250 response MUST be sent to each successful BDAT data block".
#[test]
fn chunks_are_one_message_and_each_has_its_answer() {
    let outcome = after_envelope(&config(), chunked(&[b"a", b"", b"\r\nbc", b"\r\n", b""]));
    let expected = [
        "chunk 1 first",
        "chunk end 1",
        "chunk 0",
        "chunk end 1",
        "chunk 4",
        "chunk end 5",
        "chunk 2",
        "chunk end 7",
        "chunk 0 last",
        "end 7",
    ];
    assert_eq!(outcome.events, expected);
    assert_eq!((outcome.codes, outcome.messages), (vec![250; 5], vec![b"a\r\nbc\r\n".to_vec()]));
}

#[test]
fn an_empty_message_is_a_message() {
    for (said, events) in [
        ("BDAT 0 LAST\r\n", &["chunk 0 first last", "end 0"][..]),
        ("BDAT 0\r\nBDAT 0 LAST\r\n", &["chunk 0 first", "chunk end 0", "chunk 0 last", "end 0"]),
    ] {
        let outcome = after_envelope(&config(), said);
        assert_eq!(outcome.events, events, "{said:?}");
        assert_eq!(outcome.messages, [b""]);
    }
}

/// Keywords are read in any case (RFC 5321 section 2.4), spaces at the end mean nothing, and zeros in front do not make a number larger.
#[test]
fn bdat_is_read_in_any_case_with_zeros_in_front_and_spaces_behind() {
    for line in ["bdat 2 last", "BdAt 002 LaSt", "BDAT 2 LAST  ", "BDAT 00000000000000000000000000000002 LAST"] {
        let outcome = after_envelope(&config(), format!("{line}\r\nab"));
        assert_eq!(outcome.messages, [b"ab"], "{line}");
    }
}

/// What DATA would take for the end, dots at the start of a line, NULs: none of them means anything in a chunk.
#[test]
fn a_chunk_is_what_it_is() {
    let content = b"\r\n.\r\n..\r\n.a\r\n\0\xff\xfe.\r\n.\r\nQUIT\r\n.\r\n";
    for parts in (0..=content.len()).map(|at| <[&[u8]; 2]>::from(content.split_at(at))) {
        let outcome = Outcome::of(&config(), [&[ENVELOPE, &chunked(&parts), b"NOOP\r\n"].concat()[..]], AGREE);
        assert_eq!(outcome.messages, [content], "{parts:?}");
        assert_eq!(outcome.events.last().map(String::as_str), Some("NOOP"));
    }
    let outcome = after_envelope(&config(), [&chunked(&[content])[..], b"NOOP\r\n"].concat());
    assert_eq!((outcome.messages, outcome.codes), (vec![content.to_vec()], vec![250; 2]));
}

#[test]
fn a_line_in_a_chunk_may_be_longer_than_a_command() {
    let (mut config, content) = (config(), vec![b'x'; 20_000]);
    config.limits.message = 20_000;
    let said = [ENVELOPE, &chunked(&[&content[..9_000], &content[9_000..]])].concat();
    for size in [1, 4096, 100_000] {
        assert_eq!(Outcome::of(&config, said.chunks(size), AGREE).messages, [&content[..]]);
    }
}

/// "The RSET command, when issued after the first BDAT and before the BDAT LAST, clears all segments sent during that transaction".
#[test]
fn reset_and_hello_between_chunks_clear_what_was_sent() {
    for verb in ["RSET", "EHLO c", "HELO c"] {
        let said = format!("BDAT 4\r\nold\r{verb}\r\n");
        let outcome = after_envelope(&config(), format!("{said}BDAT 3 LAST\r\nnew"));
        assert_eq!(outcome.events[3..], ["rejected 503"], "there is no transaction after {verb}");
        let again = format!("{said}EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3 LAST\r\nnew");
        let outcome = after_envelope(&config(), again);
        assert_eq!(outcome.events[6..], ["chunk 3 first last", "end 3"]);
        assert_eq!(outcome.messages, [b"new"]);
    }
}

#[test]
fn what_belongs_between_chunks_is_answered_there_and_leaves_them_alone() {
    let outcome = after_envelope(&config(), "BDAT 2\r\na\rNOOP\r\nVRFY x\r\nHELP\r\nVERB\r\nBDAT 2 LAST\r\n\nb");
    assert_eq!(outcome.events[2..6], ["NOOP", "VRFY", "HELP", "another command"]);
    assert_eq!(outcome.messages, [b"a\r\nb"]);
}

/// "There is no prohibition on using DATA and BDAT in the same session, so long as they are not mixed in the same transaction."
#[test]
fn data_and_bdat_take_turns() {
    let mail = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";
    let said = format!("DATA\r\n..\r\n.\r\n{mail}BDAT 3 LAST\r\n.\r\n{mail}DATA\r\n.\r\n{mail}BDAT 0 LAST\r\n");
    let outcome = after_envelope(&config(), said);
    assert_eq!(outcome.messages, [&b".\r\n"[..], b".\r\n", b"", b""]);
}

/// "DATA and BDAT commands cannot be used in the same transaction. If a DATA statement is issued after a BDAT for the current
/// transaction, a 503 "Bad sequence of commands" MUST be issued."
#[test]
fn data_after_bdat_is_out_of_place() {
    let outcome = after_envelope(&config(), "BDAT 1\r\nxDATA\r\nRSET\r\nDATA\r\n");
    assert_eq!(outcome.codes, [250, 503, 250, 503]);
    assert_eq!(outcome.messages, [b""; 0]);
}

/// "BINARYMIME cannot be used with the DATA command. If a DATA command is issued after a MAIL command containing the body-value of
/// "BINARYMIME", a 503 "Bad sequence of commands" response MUST be sent."
#[test]
fn data_for_a_binary_message_is_out_of_place() {
    let said = "EHLO c\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nDATA\r\nRSET\r\n\
                MAIL FROM:<a@b> BODY=8BITMIME\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n";
    assert_eq!(hear(&config(), said).codes, [250, 250, 250, 503, 250, 250, 250, 354, 250]);
}

/// "Any BDAT command sent after the BDAT LAST is illegal and MUST be replied to with a 503".
#[test]
fn bdat_after_the_last_is_out_of_place_and_its_octets_mean_nothing() {
    let outcome = after_envelope(&config(), "BDAT 1 LAST\r\nxBDAT 6\r\nRSET\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
    assert_eq!(outcome.events, ["chunk 1 first last", "end 1", "rejected 503", "rejected 503", "NOOP"]);
}

#[test]
fn recipients_and_another_mail_after_a_chunk_are_out_of_place() {
    let outcome = after_envelope(&config(), "BDAT 1\r\naRCPT TO:<e@f>\r\nMAIL FROM:<g@h>\r\nBDAT 1 LAST\r\nb");
    assert_eq!((outcome.codes, outcome.messages), (vec![250, 503, 503, 250], vec![b"ab".to_vec()]));
}

// Line ends: RFC 5321 section 2.3.8, "text messages sent with the BDAT command MUST be sent in the canonical MIME format with lines
// delimited with a <CR><LF>".

/// The first CR or LF of `content` that is not part of a CRLF.
fn first_stray(content: &[u8]) -> Option<(u64, Stray)> {
    content.iter().enumerate().find_map(|(at, octet)| match octet {
        b'\r' if content.get(at + 1) != Some(&b'\n') => Some((at as u64, Stray::Cr)),
        b'\n' if at == 0 || content[at - 1] != b'\r' => Some((at as u64, Stray::Lf)),
        _ => None,
    })
}

/// `content` with each CR and each LF alone as CRLF.
fn normalised(content: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (at, octet) in content.iter().enumerate() {
        match octet {
            b'\n' if at > 0 && content[at - 1] == b'\r' => {}
            b'\r' | b'\n' => lines.extend_from_slice(b"\r\n"),
            octet => lines.push(*octet),
        }
    }
    lines
}

/// What has to become of a message in chunks.
fn assert_judged(outcome: &Outcome, content: &[u8], policy: LineEndings, case: &dyn std::fmt::Debug) {
    let (stray, normal) = (first_stray(content), normalised(content));
    let end = outcome.events.iter().rfind(|event| event.contains("end ")).unwrap();
    match (policy, stray) {
        (LineEndings::Reject, Some((at, stray))) => {
            assert!(end.ends_with(&fault(Some(ContentFault::LineEnding { stray, at }))), "{end} for {case:?}");
            assert!(outcome.messages.is_empty(), "{case:?}");
            assert!(outcome.codes.contains(&554) && !outcome.closed, "{case:?}");
        }
        (LineEndings::Normalise, _) => assert_eq!(outcome.messages, [normal], "{case:?}"),
        (LineEndings::Note, Some((at, stray))) => {
            assert_eq!(outcome.messages, [content], "{case:?}");
            assert!(end.contains(&format!("{stray:?} at {at}")), "{end} for {case:?}");
        }
        _ => {
            assert_eq!(outcome.messages, [content], "{case:?}");
            assert!(!end.contains(" at "), "{end} for {case:?}");
        }
    }
}

/// Every parting of a text in up to three chunks, each policy, whole and octet by octet.
#[test]
fn a_line_end_may_be_parted_between_chunks() {
    for content in [&b"a\r\nb"[..], b"\r\n", b"a\r", b"\na", b"a\r\rb\n\n", b"\r\r\n\r", b"\r\n\r\n", b"\n\r", b"\r\n."]
    {
        let len = content.len();
        for (one, two) in (0..=len).flat_map(|one| (one..=len).map(move |two| (one, two))) {
            let parts = [&content[..one], &content[one..two], &content[two..]];
            for (policy, size) in POLICIES.into_iter().flat_map(|policy| [1, 1000].map(|size| (policy, size))) {
                let config = server::Config { line_endings: policy, ..config() };
                let said = [ENVELOPE, &chunked(&parts)].concat();
                let outcome = Outcome::of(&config, said.chunks(size), AGREE);
                assert_judged(&outcome, content, policy, &(parts, policy, size));
            }
        }
    }
}

#[test]
fn line_ends_are_judged_the_same_at_every_cut() {
    let parts: [&[u8]; 5] = [b"a\r", b"", b"\nb\r", b"\r", b"\n\n"];
    for policy in POLICIES {
        let outcome = after_envelope(&server::Config { line_endings: policy, ..config() }, chunked(&parts));
        assert_judged(&outcome, &parts.concat(), policy, &policy);
    }
}

/// Section 3: "it agrees to preserve all bits in each octet passed using the BDAT command".
#[test]
fn a_binary_message_is_kept_as_it_is_whatever_becomes_of_line_ends() {
    let parts: [&[u8]; 5] = [b"a\r", b"\n\n\r", b"", b"\0\r\xff", b"\r"];
    let said = [b"EHLO c\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\n", &chunked(&parts)[..]].concat();
    for line_endings in POLICIES {
        let outcome = hear(&server::Config { line_endings, ..config() }, &said);
        assert_eq!(outcome.messages, [parts.concat()], "{line_endings:?}");
        assert_eq!(outcome.events.last().map(String::as_str), Some("end 9"));
    }
}

#[test]
fn a_fault_of_line_ends_is_told_with_the_chunk_that_shows_it() {
    let outcome = after_envelope(&config(), "BDAT 3\r\na\nbBDAT 1 LAST\r\nx");
    assert_eq!(outcome.events, ["chunk 3 first", "chunk end 3 LineEnding { stray: Lf, at: 1 }", "rejected 503"]);
    assert_eq!(outcome.codes, [554, 503]);
}

#[test]
fn a_faulty_chunk_cannot_be_accepted() {
    let mut connection = greeted(&config());
    let said = [ENVELOPE, b"BDAT 2\r\na\n"].concat();
    let mut at = 0;
    loop {
        match connection.receive(&said[at..]).unwrap() {
            Step::Event { event: Event::ChunkEnd(_), .. } => break,
            Step::Event { consumed, event } => {
                at += consumed;
                if matches!(event, Event::Command(_)) {
                    connection.send(&Reply::new(Code::OK, ""), &mut Vec::new()).unwrap();
                }
            }
            Step::Skip { consumed } => at += consumed,
            step => panic!("{step:?}"),
        }
    }
    let refused = connection.send(&Reply::new(Code::OK, ""), &mut Vec::new());
    assert!(matches!(refused, Err(Misuse::FaultyContent { .. })), "{refused:?}");
    connection.send(&Reply::new(Code::TRANSACTION_FAILED, ""), &mut Vec::new()).unwrap();
    assert_eq!(connection.state(), State::Ready);
}

/// "Octets of the message so far": what a program tells the client it has received.
#[test]
fn a_cr_at_the_end_of_a_chunk_is_one_of_its_octets() {
    let outcome = after_envelope(&config(), "BDAT 2\r\na\rBDAT 1 LAST\r\n\n");
    assert_eq!(outcome.events, ["chunk 2 first", "chunk end 2", "chunk 1 last", "end 3"]);
}

// What is refused: "the receiver-SMTP MUST accept and discard the associated message data before sending the appropriate 5XX or 4XX code".

/// A chunk whose octets are commands, and one that is refused too; then a command.
const HOSTILE: &[u8] = b"BDAT 19\r\nMAIL FROM:<x@y>\r\n\r\nBDAT 12 LAST\r\nQUIT\r\nRSET\r\nNOOP\r\n";

#[test]
fn a_refused_chunk_takes_its_octets_and_no_more_with_it() {
    let lines = |config: server::Config, before: &str| (config, before.to_owned());
    let without = |change: fn(&mut postrider_smtp_proto::Extensions)| {
        let mut config = config();
        change(&mut config.extensions);
        config
    };
    let within_tls = server::Config { require_tls: true, ..config() };
    let cases = [
        (lines(config(), ""), [503, 503]),
        (lines(config(), "EHLO c\r\n"), [503, 503]),
        (lines(config(), "HELO c\r\n"), [503, 503]),
        (lines(config(), "EHLO c\r\nMAIL FROM:<a@b>\r\n"), [503, 503]),
        (lines(config(), "EHLO c\r\nMAIL FROM:<a@b> SIZE=1001\r\nRCPT TO:<a@b>\r\n"), [503, 503]),
        (lines(within_tls, "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n"), [503, 503]),
        (lines(config(), "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n"), [502, 503]),
        (lines(without(|all| all.chunking = false), "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n"), [502, 503]),
    ];
    for ((config, before), codes) in cases {
        let outcome = hear(&config, [before.as_bytes(), HOSTILE].concat());
        let end: Vec<_> = outcome.events.iter().rev().take(3).rev().cloned().collect();
        let expected = [format!("rejected {}", codes[0]), format!("rejected {}", codes[1]), "NOOP".to_owned()];
        assert_eq!(end, expected, "after {before:?}");
        assert!(!outcome.closed && outcome.messages.is_empty() && outcome.unread == 0);
    }
}

#[test]
fn a_refused_chunk_of_no_octets_is_answered_at_once() {
    let outcome = hear(&config(), "EHLO c\r\nBDAT 0\r\nBDAT 0 LAST\r\nNOOP\r\n");
    assert_eq!(outcome.codes, [250, 503, 503, 250]);
}

#[test]
fn a_refused_chunk_is_answered_once_its_last_octet_has_come_and_not_before() {
    let mut connection = greeted(&config());
    assert_eq!(connection.receive(b"BDAT 3\r\nab"), Ok(Step::Skip { consumed: 8 }));
    assert_eq!(connection.receive(b"ab"), Ok(Step::Skip { consumed: 2 }));
    assert_eq!(connection.receive(b""), Ok(Step::NeedInput));
    assert_eq!(connection.send(&Reply::new(Code::OK, ""), &mut Vec::new()), Err(Misuse::NothingToAnswer));
    assert_eq!(connection.receive(b"cNOOP\r\n"), Ok(Step::Skip { consumed: 1 }));
    let step = connection.receive(b"NOOP\r\n").unwrap();
    assert!(matches!(step, Step::Event { consumed: 0, event: Event::Rejected(_) }), "{step:?}");
    assert_eq!(connection.receive(b"NOOP\r\n"), Ok(Step::Paused));
}

/// RFC 1870 section 6.3: the limit is told as soon as it is known to be exceeded, and the octets still count.
#[test]
fn a_message_that_is_too_large_is_refused_with_the_chunk_that_makes_it_so() {
    let mut config = config();
    config.limits.message = 10;
    let too_large = " TooLarge { limit: 10 }";
    for (parts, events) in [
        (&[&b"0123456789"[..]][..], vec!["chunk 10 first last".to_owned(), "end 10".to_owned()]),
        (&[b"01234", b"56789", b""], {
            let mut events = vec!["chunk 5 first".to_owned(), "chunk end 5".to_owned()];
            events.extend(["chunk 5", "chunk end 10", "chunk 0 last", "end 10"].map(str::to_owned));
            events
        }),
        (&[b"0123456789a"], vec!["chunk 11 first last".to_owned(), format!("end 11{too_large}")]),
        (&[b"0123456789", b"a"], {
            let mut events = vec!["chunk 10 first".to_owned(), "chunk end 10".to_owned()];
            events.extend(["chunk 1 last".to_owned(), format!("end 11{too_large}")]);
            events
        }),
        (&[b"0123456789a", b"b"], {
            vec!["chunk 11 first".to_owned(), format!("chunk end 11{too_large}"), "rejected 503".to_owned()]
        }),
    ] {
        let outcome = after_envelope(&config, [&chunked(parts)[..], b"NOOP\r\n"].concat());
        assert_eq!(outcome.events.split_last(), Some((&"NOOP".to_owned(), &events[..])));
        assert_eq!(outcome.codes.contains(&552), events.iter().any(|event| event.contains(too_large)));
    }
}

#[test]
fn a_chunk_of_as_many_octets_as_there_can_be_is_too_large_and_does_not_overflow() {
    for size in [u64::MAX, u64::MAX - 1, 1 << 63, 1001] {
        let mut connection = greeted(&config());
        let said = [ENVELOPE, format!("BDAT 1\r\nxBDAT {size} LAST\r\n").as_bytes()].concat();
        let (mut at, mut chunks) = (0, 0);
        while let Step::Event { consumed, event } = connection.receive(&said[at..]).unwrap() {
            at += consumed;
            match event {
                Event::Chunk(_) => chunks += 1,
                Event::Content(content) => assert_eq!(content, b"x"),
                _ => connection.send(&Reply::new(Code::OK, ""), &mut Vec::new()).unwrap(),
            }
        }
        assert_eq!((chunks, at), (2, said.len()));
        for _ in 0..100 {
            assert_eq!(connection.receive(b"0123456789"), Ok(Step::Skip { consumed: 10 }));
        }
        assert_eq!(connection.state(), State::Content);
    }
}

// A size that cannot be read: where the next command begins is not known.

#[test]
fn a_chunk_whose_size_cannot_be_read_is_answered_once_and_ends_the_connection() {
    let digits = "1".repeat(100);
    let long = "0".repeat(5000);
    let sizes = [
        "",
        " ",
        " LAST",
        " -1",
        " +1",
        " 0x10",
        " 5LAST",
        " 5 LAST x",
        " 5 x",
        " 5 5",
        "  5",
        " 5  LAST",
        " 5,LAST",
        " 1e3",
        " 1.0",
        " \u{663}",
        " 5\tLAST",
        "\t5",
        " 18446744073709551616",
        " 99999999999999999999 LAST",
        " 5 LAST\0",
        "\0 5",
        " 5\n",
        " 5\nhello",
        " 5\r LAST",
        " 5\u{e9}",
    ];
    let sizes = sizes.map(str::to_owned).into_iter().chain([format!(" {digits}"), format!(" {long}5 LAST")]);
    for size in sizes {
        for before in [&b"EHLO c\r\n"[..], ENVELOPE, &[ENVELOPE, b"BDAT 1\r\nx"].concat(), b""] {
            let said = [before, b"BDAT", size.as_bytes(), b"\r\nhello\r\nQUIT\r\n"].concat();
            let pieces = [said.len(), 1, 2, 3, 4, 5, 7, 1000];
            let outcomes = pieces.map(|size| Outcome::of(&config(), said.chunks(size), AGREE));
            for outcome in &outcomes {
                let (last, events) = outcome.events.split_last().unwrap();
                assert!(["rejected 500", "rejected 501"].contains(&last.as_str()), "{size:?}: {last}");
                assert!(!events.iter().any(|event| event.starts_with("rejected")), "{size:?}: {events:?}");
                assert!(outcome.closed && outcome.messages.is_empty(), "{size:?}");
                assert_eq!(outcome.events, outcomes[0].events, "{size:?}");
            }
        }
    }
}

/// The octets may be commands: they are not looked at.
#[test]
fn nothing_behind_a_chunk_whose_size_cannot_be_read_is_looked_at() {
    let mut connection = greeted(&config());
    let Step::Event { consumed, event } = connection.receive(b"BDAT x\r\nQUIT\r\n").unwrap() else { panic!() };
    let Event::Rejected(error) = event else { panic!("{event:?}") };
    let mut out = Vec::new();
    connection.send(&error.reply(), &mut out).unwrap();
    assert!(out.starts_with(b"501 5.5.4 "), "{}", out.escape_ascii());
    assert_eq!((consumed, connection.is_closed()), (8, true));
    assert_eq!(connection.receive(b"QUIT\r\n"), Ok(Step::Paused));
    assert_eq!(connection.send(&error.reply(), &mut out), Err(Misuse::Closed));
}

/// A command that merely begins like BDAT has no octets behind it.
#[test]
fn a_command_that_begins_like_bdat_is_an_unknown_command() {
    for line in ["BDATA", "BDATX 5"] {
        let outcome = after_envelope(&config(), format!("{line}\r\nNOOP\r\n"));
        assert_eq!((outcome.codes, outcome.closed), (vec![500, 250], false), "{line}");
    }
}

// Faults that other servers had in 2026: after each failure there is no transaction, and what follows needs one of its own.

/// After `failure`, chunks and DATA are out of place and a new transaction works.
fn assert_reset(config: &server::Config, failure: &[u8], decide: Decide) {
    for attempt in ["DATA\r\n", "BDAT 1 LAST\r\nx", "BDAT 1\r\nx", "RCPT TO:<e@f>\r\n", "BURL imap:x LAST\r\n"] {
        let said = [ENVELOPE, failure, attempt.as_bytes(), b"NOOP\r\n"].concat();
        let outcome = hear_with(config, &said, decide);
        let end = [outcome.codes[outcome.codes.len() - 2], *outcome.codes.last().unwrap()];
        assert_eq!((end, outcome.messages.len()), ([503, 250], 0), "{attempt} after {}", failure.escape_ascii());
    }
    let again = b"MAIL FROM:<e@f>\r\nRCPT TO:<g@h>\r\nRCPT TO:<i@j>\r\nBDAT 2 LAST\r\nok";
    let outcome = hear_with(config, &[ENVELOPE, failure, again].concat(), decide);
    assert_eq!(outcome.messages, [b"ok"], "after {}", failure.escape_ascii());
}

/// Postfix 20260724.
#[test]
fn postfix_20260724_recipients_are_forgotten_after_an_error_in_bdat() {
    let small = server::Config { limits: Limits { message: 4, ..config().limits }, ..config() };
    assert_reset(&small, b"BDAT 5\r\n01234", AGREE);
    assert_reset(&small, b"BDAT 3\r\n012BDAT 2\r\n34", AGREE);
    assert_reset(&config(), b"BDAT 2\r\n\n\r", AGREE);
    let refuse: Decide = |event| match event {
        Event::ChunkEnd(_) => Some(Reply::new(Code::INSUFFICIENT_STORAGE, "disk full")),
        _ => None,
    };
    assert_reset(&config(), b"BDAT 2\r\nab", refuse);
    assert_reset(&config(), b"BDAT 2\r\na\r", refuse);
    let permanently: Decide = |event| match event {
        Event::ChunkEnd(_) => Some(Reply::new(Code::TRANSACTION_FAILED, "no")),
        _ => None,
    };
    assert_reset(&config(), b"BDAT 0\r\n", permanently);
}

/// Postfix 20260803.
#[test]
fn postfix_20260803_sender_and_recipients_are_forgotten_after_a_rejection_at_the_end() {
    let small = server::Config { limits: Limits { message: 4, ..config().limits }, ..config() };
    assert_reset(&small, b"BDAT 5 LAST\r\n01234", AGREE);
    assert_reset(&small, b"DATA\r\n01234\r\n.\r\n", AGREE);
    assert_reset(&config(), b"BDAT 3 LAST\r\na\nb", AGREE);
    assert_reset(&config(), b"BDAT 1 LAST\r\n\r", AGREE);
    let refuse_long: Decide = |event| match event {
        Event::ContentEnd(end) if end.size > 2 => Some(Reply::new(Code::MAILBOX_UNAVAILABLE, "no")),
        _ => None,
    };
    assert_reset(&config(), b"BDAT 3 LAST\r\nabc", refuse_long);
    assert_reset(&config(), b"BDAT 2\r\nabBDAT 1 LAST\r\nc", refuse_long);
    assert_reset(&config(), b"DATA\r\nabc\r\n.\r\n", refuse_long);
}

/// Postfix 20260812.
#[test]
fn postfix_20260812_an_address_in_utf_8_leaves_a_whole_transaction_or_none() {
    let said = "EHLO c\r\nMAIL FROM:<\u{e9}@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nBDAT 1 LAST\r\nxNOOP\r\n";
    assert_eq!(hear(&config(), said).codes, [250, 550, 503, 503, 503, 250]);
    let said = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<\u{e9}@d>\r\nDATA\r\nBDAT 1 LAST\r\nxNOOP\r\n";
    let codes = hear(&config(), said).codes;
    assert_eq!(codes, [250, 250, 553, 503, 503, 250]);
    let said = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<\u{e9}@d>\r\nBDAT 1 LAST\r\nx";
    let outcome = hear(&config(), said);
    assert_eq!((outcome.codes, outcome.messages), (vec![250, 250, 250, 553, 250], vec![b"x".to_vec()]));
}

/// Postfix 20260805.
#[test]
fn postfix_20260805_a_million_chunks_of_one_octet_cost_no_memory() {
    for (before, line_endings) in [(ENVELOPE, LineEndings::Normalise), (b"EHLO c\r\n", LineEndings::Reject)] {
        let mut config = server::Config { line_endings, ..config() };
        (config.limits.message, config.limits.refused_chunks) = (u64::MAX, u32::MAX);
        let mut connection = greeted(&config);
        let mut out = Vec::with_capacity(1 << 20);
        // What refuses a command is put together in memory; here it is made once.
        let (ok, refusal) = (Reply::new(Code::OK, "ok"), Reply::new(Code::BAD_SEQUENCE, "no"));
        let mut say = |said: &[u8]| {
            let (mut at, mut content) = (0, 0);
            while at < said.len() || matches!(connection.state(), State::Content) {
                match connection.receive(&said[at..]).unwrap() {
                    Step::Event { consumed, event } => {
                        at += consumed;
                        let reply = if let Event::Rejected(_) = event { &refusal } else { &ok };
                        match event {
                            Event::Content(piece) => content += piece.len(),
                            Event::Chunk(_) => {}
                            _ => connection.send(reply, &mut out).unwrap(),
                        }
                        out.clear();
                    }
                    Step::Skip { consumed } => at += consumed,
                    step => panic!("{step:?}"),
                }
            }
            content
        };
        say(before);
        let accepted = before == ENVELOPE;
        let info = measure(|| {
            let count = if accepted { 1_000_000 } else { 100_000 };
            let content: usize = (0..count).map(|_| say(b"BDAT 1\r\nx")).sum();
            assert_eq!(content, if accepted { count } else { 0 });
        });
        assert_eq!((info.count_total, info.bytes_max), (0, 0));
        if accepted {
            say(b"BDAT 0 LAST\r\n");
            assert_eq!(connection.state(), State::Ready);
        }
    }
}

/// A client that has sent its chunks before it could know is not taken for one that guesses.
#[test]
fn chunks_in_the_pipeline_behind_a_refused_one_do_not_wear_the_server_out() {
    let mut config = config();
    config.limits.errors = 3;
    let chunks = "BDAT 2\r\nxx".repeat(50);
    let outcome = after_envelope(&config, format!("BDAT 2\r\n\n\n{chunks}BDAT 0 LAST\r\nRSET\r\n"));
    assert_eq!((outcome.codes[0], &outcome.codes[1..52], outcome.closed), (554, &[503; 51][..], false));
    assert_eq!(outcome.codes[52], 250);
}

/// As many as a client may have sent without an answer are refused one by one; then it is no mistake any more.
#[test]
fn refused_chunks_without_end_close_the_connection_with_421() {
    let mut config = config();
    (config.limits.refused_chunks, config.limits.refused_octets) = (5, 100);
    for (chunk, times) in [("BDAT 1\r\nx", 5), ("BDAT 0\r\n", 5), ("BDAT 50 LAST\r\n", 2)] {
        let octets = "x".repeat(if times == 2 { 50 } else { 0 });
        let mut outcome = hear(&config, format!("EHLO c\r\n{}NOOP\r\n", format!("{chunk}{octets}").repeat(9)));
        assert_eq!(outcome.codes.pop(), Some(421), "{chunk}");
        assert_eq!((outcome.codes[1..].to_vec(), outcome.closed), (vec![503; times], true), "{chunk}");
    }
    let huge = hear(&config, "EHLO c\r\nBDAT 18446744073709551615\r\nNOOP\r\n");
    assert_eq!((&huge.codes[1..], huge.closed, huge.unread), (&[421][..], true, 6));
    // A message that is accepted begins the count anew; one that is not begun does not.
    let refused = "BDAT 1\r\nx".repeat(5);
    let message = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2 LAST\r\nok";
    let outcome = hear(&config, format!("EHLO c\r\n{refused}{message}{refused}MAIL FROM:<a@b>\r\nRSET\r\nBDAT 1\r\nx"));
    assert_eq!((outcome.messages.len(), outcome.codes.last(), outcome.closed), (1, Some(&421), true));
    assert_eq!(outcome.codes.iter().filter(|code| **code == 503).count(), 10);
}

/// In LMTP a last chunk for nobody has no reply: such are counted all the same.
#[test]
fn chunks_without_a_reply_close_the_connection_too() {
    let mut config = lmtp();
    config.limits.refused_chunks = 5;
    let outcome = hear(&config, format!("LHLO c\r\n{}", "BDAT 1 LAST\r\nx".repeat(9)));
    assert_eq!((&outcome.codes[1..], outcome.closed), (&[421][..], true));
}

/// RFC 2920 section 3.1, RFC 3030 section 2: the whole transaction in one group, all recipients refused.
#[test]
fn a_group_whose_recipients_are_all_refused_stays_in_step() {
    let refuse: Decide = |event| match event {
        Event::Command(Command::Rcpt { to, .. }) if to.to_string().contains("nobody") => {
            Some(Reply::new(Code::MAILBOX_UNAVAILABLE, "no such user"))
        }
        _ => None,
    };
    let said = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<nobody@b>\r\nRCPT TO:<nobody@c>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n\
                 MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2 LAST\r\nok";
    let outcome = hear_with(&config(), said, refuse);
    assert_eq!(outcome.codes, [250, 250, 550, 550, 503, 503, 250, 250, 250]);
    assert_eq!(outcome.messages, [b"ok"]);
}

#[test]
fn transactions_of_a_group_follow_each_other() {
    let one = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2\r\naaBDAT 2 LAST\r\nbb";
    let outcome = hear(&config(), format!("EHLO c\r\n{}QUIT\r\n", one.repeat(3)));
    assert_eq!((outcome.messages, outcome.codes.len()), (vec![b"aabb".to_vec(); 3], 14));
}

// The connection breaks off.

#[test]
fn a_message_whose_chunks_do_not_come_to_their_end_is_no_message() {
    for said in ["BDAT 10 LAST\r\n01234", "BDAT 5\r\n01234", "BDAT 5\r\n01234BDAT 0 LAS", "BDAT 5 LAST\r\n0123\r"] {
        let outcome = after_envelope(&config(), said);
        if said.ends_with('\r') {
            assert_eq!(outcome.codes, [554], "the CR is the chunk's last octet");
        } else {
            assert!(!outcome.events.iter().any(|event| event.starts_with("end")), "{:?}", outcome.events);
        }
        assert!(outcome.messages.is_empty());
    }
}

/// Whoever stops in mid-chunk has to say so with the answer to it, or close.
#[test]
fn a_server_that_stops_does_not_speak_within_a_chunk() {
    for (before, chunk) in [(ENVELOPE, "BDAT 5\r\nab"), (b"EHLO c\r\n", "BDAT 5\r\nab")] {
        let mut connection = greeted(&config());
        let said = [before, chunk.as_bytes()].concat();
        let mut at = 0;
        loop {
            match connection.receive(&said[at..]).unwrap() {
                Step::Event { consumed, event } => {
                    at += consumed;
                    if let Event::Command(_) = event {
                        connection.send(&Reply::new(Code::OK, ""), &mut Vec::new()).unwrap();
                    }
                }
                Step::Skip { consumed } => at += consumed,
                _ => break,
            }
        }
        assert!(connection.close("stopping", &mut Vec::new()).is_err());
        assert_eq!((connection.state(), connection.is_closed()), (State::Content, false));
    }
}

#[test]
fn a_chunk_answered_with_421_closes() {
    let stop: Decide = |event| match event {
        Event::ChunkEnd(_) | Event::ContentEnd(_) => Some(Reply::new(Code::NOT_AVAILABLE, "stopping")),
        _ => None,
    };
    for said in ["BDAT 1\r\nxQUIT\r\n", "BDAT 1 LAST\r\nxQUIT\r\n"] {
        let outcome = hear_with(&config(), &[ENVELOPE, said.as_bytes()].concat(), stop);
        assert_eq!((outcome.codes.last(), outcome.closed, outcome.unread), (Some(&421), true, 6));
    }
}

// LMTP: RFC 2033 section 4.3.

fn lmtp() -> server::Config {
    server::Config { lmtp: true, ..config() }
}

/// "a BDAT command containing the LAST parameter returns one reply for each previously successful RCPT command", "BDAT commands without
/// the LAST parameter ... still return exactly one reply".
#[test]
fn lmtp_answers_the_last_chunk_for_each_recipient() {
    let refuse: Decide = |event| match event {
        Event::Command(Command::Rcpt { to, .. }) if to.to_string().contains("nobody") => {
            Some(Reply::new(Code::MAILBOX_UNAVAILABLE, "no such user"))
        }
        Event::ContentEnd(_) => Some(Reply::new(Code::AUTHENTICATED, "for each")),
        Event::ChunkEnd(_) => Some(Reply::new(Code::CLOSING, "for all")),
        _ => None,
    };
    let said =
        b"LHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<nobody@d>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@d>\r\n\
                 BDAT 1\r\nxBDAT 1\r\nyBDAT 1 LAST\r\nzNOOP\r\n";
    let outcome = hear_with(&lmtp(), said, refuse);
    assert_eq!(outcome.codes, [250, 250, 250, 550, 250, 250, 221, 221, 235, 235, 235, 250]);
    assert_eq!(outcome.messages, [b"xyz"]);
}

#[test]
fn lmtp_answers_a_faulty_last_chunk_for_each_recipient() {
    let said = "LHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@d>\r\nBDAT 2 LAST\r\n\n\nDATA\r\n";
    assert_eq!(hear(&lmtp(), said).codes, [250, 250, 250, 250, 554, 554, 503]);
}

/// "If there were no previously successful RCPT commands in the mail transaction, then the BDAT LAST command returns zero replies."
#[test]
fn lmtp_does_not_answer_the_last_chunk_for_nobody() {
    let outcome = hear(&lmtp(), "LHLO c\r\nMAIL FROM:<a@b>\r\nBDAT 1 LAST\r\nxNOOP\r\n");
    assert_eq!(outcome.codes, [250, 250, 250]);
}

// PRDR.

const PRDR: &[u8] = b"EHLO c\r\nMAIL FROM:<a@b> PRDR\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n";

/// A server that answers the next message with 353.
fn with_message(said: &[u8]) -> (server::Connection, Vec<u8>) {
    let (mut connection, mut at, mut out) = (greeted(&config()), 0, Vec::new());
    loop {
        match connection.receive(&said[at..]).unwrap() {
            Step::Event { event: Event::ContentEnd(_), .. } => break,
            Step::Event { consumed, event } => {
                at += consumed;
                let code = if let Event::Command(Command::Data) = event { Code::START_MAIL_INPUT } else { Code::OK };
                if !matches!(event, Event::Content(_) | Event::Chunk(_)) {
                    connection.send(&Reply::new(code, "ok"), &mut out).unwrap();
                }
            }
            Step::Skip { consumed } => at += consumed,
            step => panic!("{step:?}"),
        }
    }
    out.clear();
    (connection, out)
}

/// One reply for each recipient, and one for all, after a 353.
#[test]
fn prdr_answers_the_message_for_each_recipient_and_once_more_by_data_and_by_bdat() {
    for message in ["DATA\r\nx\r\n.\r\n", "BDAT 1 LAST\r\nx", "BDAT 1\r\nxBDAT 0 LAST\r\n"] {
        let (mut connection, mut out) = with_message(&[PRDR, message.as_bytes()].concat());
        for code in [Code::PER_RECIPIENT, Code::OK, Code::MAILBOX_UNAVAILABLE, Code::OK] {
            assert_eq!(connection.receive(b"RSET\r\n"), Ok(Step::Paused));
            connection.send(&Reply::new(code, "so"), &mut out).unwrap();
        }
        assert_eq!(out, b"353 so\r\n250 so\r\n550 so\r\n250 so\r\n");
        assert_eq!(connection.state(), State::Ready);
        assert_eq!(connection.send(&Reply::new(Code::OK, ""), &mut out), Err(Misuse::NothingToAnswer));
        let step = connection.receive(b"DATA\r\n").unwrap();
        assert!(matches!(step, Step::Event { event: Event::Rejected(_), .. }), "the transaction is over: {step:?}");
    }
}

#[test]
fn prdr_may_be_answered_for_all_at_once() {
    for code in [Code::OK, Code::TRANSACTION_FAILED] {
        let (mut connection, mut out) = with_message(&[PRDR, b"BDAT 1 LAST\r\nx"].concat());
        connection.send(&Reply::new(code, "all"), &mut out).unwrap();
        assert_eq!(connection.state(), State::Ready);
    }
}

#[test]
fn nothing_is_answered_for_each_recipient_that_did_not_ask_for_it() {
    let (mut connection, mut out) = with_message(&[ENVELOPE, b"BDAT 1 LAST\r\nx"].concat());
    let refused = connection.send(&Reply::new(Code::PER_RECIPIENT, ""), &mut out);
    assert_eq!(refused, Err(Misuse::DoesNotAnswer { code: Code::PER_RECIPIENT }));
    // Nor twice, nor for a message that is faulty.
    let (mut connection, mut out) = with_message(&[PRDR, b"BDAT 1 LAST\r\nx"].concat());
    connection.send(&Reply::new(Code::PER_RECIPIENT, ""), &mut out).unwrap();
    assert!(connection.send(&Reply::new(Code::PER_RECIPIENT, ""), &mut out).is_err());
    let (mut connection, mut out) = with_message(&[PRDR, b"BDAT 1 LAST\r\n\n"].concat());
    for code in [Code::PER_RECIPIENT, Code::OK] {
        assert!(matches!(connection.send(&Reply::new(code, ""), &mut out), Err(Misuse::FaultyContent { .. })));
    }
    connection.send(&Reply::new(Code::TRANSACTION_FAILED, ""), &mut out).unwrap();
}

#[test]
fn prdr_of_one_transaction_is_forgotten_in_the_next() {
    let said = [PRDR, b"RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1 LAST\r\nx"].concat();
    let (mut connection, mut out) = with_message(&said);
    assert!(connection.send(&Reply::new(Code::PER_RECIPIENT, ""), &mut out).is_err());
}

// BURL between chunks: RFC 4468 section 3.2.

#[test]
fn burl_and_bdat_are_interleaved_until_one_of_them_is_the_last() {
    let outcome = after_envelope(&config(), "BDAT 2\r\nabBURL imap:x\r\nBDAT 2 LAST\r\ncdBURL imap:y LAST\r\n");
    assert_eq!(outcome.events, ["chunk 2 first", "chunk end 2", "BURL", "chunk 2 last", "end 4", "rejected 503"]);
    let outcome = after_envelope(&config(), "BURL imap:x\r\nBDAT 1\r\naBURL imap:y LAST\r\nBDAT 1 LAST\r\nx");
    assert_eq!(outcome.events, ["BURL", "chunk 1", "chunk end 1", "BURL", "rejected 503"]);
    assert_eq!(after_envelope(&config(), "BURL imap:x LAST\r\nDATA\r\n").codes, [250, 503]);
}

/// "If the URL fetch fails, the server will fail the entire transaction."
#[test]
fn a_part_that_cannot_be_fetched_ends_the_transaction() {
    let refuse: Decide = |event| match event {
        Event::Command(Command::Burl { .. }) => Some(Reply::new(Code::TRANSACTION_FAILED, "authorization failed")),
        _ => None,
    };
    assert_reset(&config(), b"BURL imap:x LAST\r\n", refuse);
    assert_reset(&config(), b"BURL imap:x\r\n", refuse);
    assert_reset(&config(), b"BDAT 2\r\na\rBURL imap:x\r\n", refuse);
}

/// "554 5.5.0 No recipients have been specified", "503 5.5.0 Valid RCPT TO required before BURL".
#[test]
fn burl_without_a_recipient_is_out_of_place() {
    let outcome = hear(
        &config(),
        "BURL imap:x LAST\r\nEHLO c\r\nBURL imap:x LAST\r\nMAIL FROM:<>\r\nBURL imap:x LAST\r\nNOOP\r\n",
    );
    assert_eq!(outcome.codes, [503, 250, 503, 250, 503, 250]);
}

/// What came before what is fetched is shown before it: the order of events is the order of the message.
#[test]
fn a_cr_at_the_end_of_a_chunk_comes_before_what_is_fetched_after_it() {
    fn shown(said: &[u8]) -> Vec<String> {
        let config = server::Config { line_endings: LineEndings::Note, ..config() };
        let (mut connection, mut at, mut shown) = (greeted(&config), 0, Vec::new());
        loop {
            match connection.receive(&said[at..]).unwrap() {
                Step::Event { consumed, event } => {
                    at += consumed;
                    match event {
                        Event::Content(piece) => shown.push(piece.escape_ascii().to_string()),
                        Event::Command(Command::Burl { .. }) => shown.push("BURL".to_owned()),
                        _ => {}
                    }
                    if !matches!(event, Event::Content(_) | Event::Chunk(_)) {
                        connection.send(&Reply::new(Code::OK, ""), &mut Vec::new()).unwrap();
                    }
                }
                Step::Skip { consumed } => at += consumed,
                _ => return shown,
            }
        }
    }
    let said = [ENVELOPE, b"BDAT 2\r\na\rBURL imap:x\r\nBDAT 1 LAST\r\nb"].concat();
    assert_eq!(shown(&said).concat(), "a\\rBURLb");
    let said = [ENVELOPE, b"BDAT 2\r\na\rBURL imap:x LAST\r\n"].concat();
    assert_eq!(shown(&said).concat(), "a\\rBURL");
}

/// Whatever begins like it, and where it is not offered.
#[test]
fn a_burl_that_is_refused_changes_nothing() {
    for line_endings in POLICIES {
        for refused in ["BURL imap:x", "BURLX", "BURL"] {
            let mut config = server::Config { line_endings, ..config() };
            config.extensions.burl = None;
            let outcome = after_envelope(&config, format!("BDAT 3\r\nab\r{refused}\r\nBDAT 1 LAST\r\n\n"));
            assert_eq!(outcome.messages, [b"ab\r\n"], "{refused} with {line_endings:?}");
        }
    }
}

// The client's side.

const OFFERED: &str =
    "250-mail.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-PRDR\r\n250 BURL imap\r\n";

fn command(line: &str) -> Command<'_> {
    Command::parse(line.as_bytes()).unwrap()
}

/// A client whose server offers what `hello` lists.
fn client_of(config: client::Config, hello: &str) -> client::Connection {
    let line = if config.lmtp { "LHLO c" } else { "EHLO c" };
    let mut connection = client::Connection::new(config);
    assert_eq!(heard(&mut connection, "220 ready\r\n"), [(Subject::Greeting, 220)]);
    say(&mut connection, line).unwrap();
    assert_eq!(heard(&mut connection, hello).len(), 1);
    connection
}

fn client() -> client::Connection {
    client_of(client::Config::default(), OFFERED)
}

fn say(connection: &mut client::Connection, line: &str) -> Result<(), Misuse> {
    connection.send(&command(line), &mut Vec::new())
}

fn chunk(connection: &mut client::Connection, content: &[u8], last: bool) -> Result<Vec<u8>, Misuse> {
    let mut out = Vec::new();
    connection.chunk(content, last, &mut out).map(|()| out)
}

fn heard(connection: &mut client::Connection, said: &str) -> Vec<(Subject, u16)> {
    let (mut at, mut heard) = (0, Vec::new());
    while let Step::Event { consumed, event } = connection.receive(&said.as_bytes()[at..]).unwrap() {
        heard.push((event.subject, event.reply.code().as_u16()));
        at += consumed;
    }
    assert_eq!(at, said.len(), "{}", &said[at..]);
    heard
}

fn with_envelope(mut connection: client::Connection) -> client::Connection {
    for line in ["MAIL FROM:<a@b>", "RCPT TO:<c@d>"] {
        say(&mut connection, line).unwrap();
        heard(&mut connection, "250 ok\r\n");
    }
    connection
}

/// Section 4.2: a transaction in one group, to its last chunk.
#[test]
fn a_client_sends_chunks_with_their_sizes_and_in_one_group() {
    let (mut connection, mut out) = (client(), Vec::new());
    for line in ["MAIL FROM:<a@b>", "RCPT TO:<c@d>"] {
        connection.send(&command(line), &mut out).unwrap();
    }
    for (content, last) in [(&b".\r\n.\r\n"[..], false), (b"", false), (b"x", false), (b"", true)] {
        connection.chunk(content, last, &mut out).unwrap();
    }
    assert_eq!(
        out.escape_ascii().to_string(),
        b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 6\r\n.\r\n.\r\nBDAT 0\r\nBDAT 1\r\nxBDAT 0 LAST\r\n"
            .escape_ascii()
            .to_string()
    );
    let heard = heard(&mut connection, &"250 ok\r\n".repeat(6));
    let subjects: Vec<_> = heard.iter().map(|(subject, _)| *subject).collect();
    let expected =
        [Subject::Command(Verb::Mail), Subject::Recipient(0), Subject::Chunk, Subject::Chunk, Subject::Chunk];
    assert_eq!((&subjects[..5], subjects[5]), (&expected[..], Subject::Content));
    assert_eq!((connection.state(), connection.accepted()), (State::Ready, 0));
}

#[test]
fn a_client_does_not_send_a_chunk_where_it_does_not_belong() {
    let verb = Verb::Bdat;
    let refused = |connection: &mut client::Connection| {
        let before = (connection.state(), connection.is_waiting());
        let mut out = Vec::new();
        let refused = connection.chunk(b"x", true, &mut out).unwrap_err();
        assert_eq!((connection.state(), connection.is_waiting(), &out[..]), (before.0, before.1, &b""[..]));
        refused
    };
    assert_eq!(refused(&mut client()), Misuse::OutOfPlace { verb, place: Place::BeforeMail });
    let mut connection = client();
    say(&mut connection, "MAIL FROM:<a@b>").unwrap();
    assert_eq!(refused(&mut connection), Misuse::OutOfPlace { verb, place: Place::BeforeRcpt });
    let mut connection = with_envelope(client_of(client::Config::default(), "250-a\r\n250 PIPELINING\r\n"));
    assert_eq!((refused(&mut connection), connection.offered().chunking), (Misuse::NotOffered { verb }, false));
    let mut connection = with_envelope(client_of(client::Config::default(), "250-a\r\n250 CHUNKING\r\n"));
    chunk(&mut connection, b"x", false).unwrap();
    assert_eq!(refused(&mut connection), Misuse::AwaitingReply { verb });
    // BDAT is sent with its octets or not at all.
    let mut connection = with_envelope(client());
    assert_eq!(connection.send(&command("BDAT 5"), &mut Vec::new()), Err(Misuse::BareBdat));
    assert_eq!(connection.content(b"x", &mut Vec::new()), Err(Misuse::NoContent));
    say(&mut connection, "DATA").unwrap();
    assert!(matches!(refused(&mut connection), Misuse::AwaitingReply { .. } | Misuse::OutOfPlace { .. }));
}

#[test]
fn what_was_offered_before_helo_and_before_tls_is_forgotten() {
    let mut connection = client();
    say(&mut connection, "HELO c").unwrap();
    heard(&mut connection, "250-CHUNKING\r\n250 CHUNKING\r\n");
    assert!(!connection.offered().chunking);
    let mut connection = client();
    say(&mut connection, "STARTTLS").unwrap();
    heard(&mut connection, "220 go ahead\r\n");
    connection.secured(b"").unwrap();
    assert!(!connection.offered().chunking && !connection.offered().pipelining);
}

/// "DATA and BDAT commands cannot be used in the same transaction."
#[test]
fn a_client_does_not_mix_data_and_chunks() {
    let mut connection = with_envelope(client());
    chunk(&mut connection, b"x", false).unwrap();
    for line in ["DATA", "RCPT TO:<e@f>", "MAIL FROM:<a@b>"] {
        assert!(matches!(say(&mut connection, line), Err(Misuse::OutOfPlace { .. })), "{line}");
    }
    assert_eq!(say(&mut connection, "NOOP"), Ok(()));
}

#[test]
fn a_client_does_not_send_data_for_a_binary_message() {
    let mut connection = client();
    for line in ["MAIL FROM:<a@b> BODY=BINARYMIME", "RCPT TO:<c@d>"] {
        say(&mut connection, line).unwrap();
        heard(&mut connection, "250 ok\r\n");
    }
    assert!(say(&mut connection, "DATA").is_err());
}

/// "the transaction should be considered failed and the sender-SMTP MUST NOT send any additional BDAT segments. ... A RSET command MUST be
/// issued to clear the transaction before additional commands may be sent."
fn assert_failed(connection: &mut client::Connection) {
    assert!(matches!(chunk(connection, b"x", false), Err(Misuse::OutOfPlace { .. })));
    for line in ["DATA", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "BURL imap:x LAST"] {
        assert!(matches!(say(connection, line), Err(Misuse::OutOfPlace { .. })), "{line}");
    }
    assert_eq!(say(connection, "RSET"), Ok(()));
    assert_eq!(heard(connection, "250 ok\r\n"), [(Subject::Command(Verb::Rset), 250)]);
    assert_eq!((connection.state(), connection.accepted()), (State::Ready, 0));
    let mut connection = with_envelope(connection.clone());
    chunk(&mut connection, b"x", true).unwrap();
    assert_eq!(heard(&mut connection, "250 ok\r\n"), [(Subject::Content, 250)]);
}

#[test]
fn after_a_refused_chunk_a_client_has_to_reset() {
    for refusal in ["452 full\r\n", "552 too large\r\n"] {
        let mut connection = with_envelope(client());
        chunk(&mut connection, b"x", false).unwrap();
        assert_eq!(heard(&mut connection, refusal)[0].0, Subject::Chunk);
        assert_failed(&mut connection);
        let mut connection = with_envelope(client());
        chunk(&mut connection, b"x", true).unwrap();
        assert_eq!(heard(&mut connection, refusal)[0].0, Subject::Content);
        assert_failed(&mut connection);
    }
}

#[test]
fn chunks_in_the_pipeline_behind_a_refused_one_are_told_and_then_a_client_has_to_reset() {
    let mut connection = with_envelope(client());
    for last in [false, false, true] {
        chunk(&mut connection, b"x", last).unwrap();
    }
    assert_eq!(heard(&mut connection, "452 full\r\n"), [(Subject::Chunk, 452)]);
    assert!(matches!(chunk(&mut connection, b"x", false), Err(Misuse::OutOfPlace { .. })));
    assert_eq!(heard(&mut connection, "503 no\r\n503 no\r\n"), [(Subject::Chunk, 503), (Subject::Content, 503)]);
    assert_failed(&mut connection);
    // Not one more, though the answers to others are under way.
    let mut connection = with_envelope(client());
    for _ in 0..3 {
        chunk(&mut connection, b"x", false).unwrap();
    }
    assert_eq!(heard(&mut connection, "452 full\r\n"), [(Subject::Chunk, 452)]);
    for last in [false, true] {
        let refused = chunk(&mut connection, b"x", last);
        assert_eq!(refused, Err(Misuse::OutOfPlace { verb: Verb::Bdat, place: Place::AfterChunk }));
    }
    assert_eq!(heard(&mut connection, "503 no\r\n503 no\r\n"), [(Subject::Chunk, 503); 2]);
    assert_failed(&mut connection);
}

#[test]
fn a_chunk_that_is_accepted_behind_a_refused_one_does_not_mend_the_transaction() {
    let mut connection = with_envelope(client());
    for _ in 0..2 {
        chunk(&mut connection, b"x", false).unwrap();
    }
    assert_eq!(heard(&mut connection, "452 full\r\n250 ok\r\n"), [(Subject::Chunk, 452), (Subject::Chunk, 250)]);
    assert_failed(&mut connection);
}

#[test]
fn a_reset_in_the_pipeline_behind_a_refused_chunk_is_enough() {
    for reset in ["RSET", "EHLO c"] {
        let mut connection = with_envelope(client());
        chunk(&mut connection, b"x", false).unwrap();
        say(&mut connection, reset).unwrap();
        heard(&mut connection, "452 full\r\n");
        if reset == "RSET" {
            assert_eq!(say(&mut connection, "MAIL FROM:<a@b>"), Ok(()), "what was reset is behind it");
            heard(&mut connection, "250 ok\r\n");
        } else {
            heard(&mut connection, OFFERED);
            say(&mut connection, "MAIL FROM:<a@b>").unwrap();
        }
        heard(&mut connection, "250 ok\r\n");
        assert_eq!((connection.state(), say(&mut connection, "RCPT TO:<c@d>")), (State::Mail, Ok(())));
    }
}

/// RFC 2920 section 3.1: all recipients are refused, and the chunks are under way.
#[test]
fn a_client_whose_recipients_are_all_refused_hears_what_becomes_of_its_chunks() {
    let mut connection = client();
    for line in ["MAIL FROM:<a@b>", "RCPT TO:<c@d>"] {
        say(&mut connection, line).unwrap();
    }
    chunk(&mut connection, b"x", false).unwrap();
    chunk(&mut connection, b"x", true).unwrap();
    let heard = heard(&mut connection, "250 ok\r\n550 no\r\n503 no\r\n503 no\r\n");
    assert_eq!(heard[1..], [(Subject::Recipient(0), 550), (Subject::Chunk, 503), (Subject::Content, 503)]);
    assert_failed(&mut connection);
}

#[test]
fn a_3yz_to_a_chunk_is_no_answer() {
    for reply in ["354 go on\r\n", "334 \r\n", "353 each\r\n"] {
        for last in [false, true] {
            let mut connection = with_envelope(client());
            chunk(&mut connection, b"x", last).unwrap();
            let refused = connection.receive(reply.as_bytes());
            assert!(matches!(refused, Err(Error::Reply(ReplyError::Unexpected(_)))), "{reply}: {refused:?}");
        }
    }
}

/// RFC 5321 section 4.5.3.2.6.
#[test]
fn the_answer_to_the_last_chunk_may_take_ten_minutes() {
    let mut connection = with_envelope(client());
    chunk(&mut connection, b"x", true).unwrap();
    assert_eq!(connection.timeout().as_secs(), 600);
}

/// RFC 4468 section 3.2: "it MUST wait for the results of the "LAST" BDAT or BURL command prior to initiating a new transaction."
#[test]
fn a_client_waits_for_the_answer_to_the_last_burl() {
    let mut connection = with_envelope(client());
    say(&mut connection, "BURL imap:x LAST").unwrap();
    assert!(matches!(say(&mut connection, "MAIL FROM:<a@b>"), Err(Misuse::AwaitingReply { verb: Verb::Burl })));
    let mut connection = with_envelope(client());
    say(&mut connection, "BURL imap:x").unwrap();
    chunk(&mut connection, b"x", true).unwrap();
    assert!(matches!(say(&mut connection, "MAIL FROM:<a@b>"), Err(Misuse::AwaitingReply { verb: Verb::Bdat })));
}

#[test]
fn a_client_interleaves_burl_and_chunks() {
    let (mut connection, mut out) = (with_envelope(client()), Vec::new());
    connection.chunk(b"a", false, &mut out).unwrap();
    connection.send(&command("BURL imap:x"), &mut out).unwrap();
    connection.chunk(b"b", false, &mut out).unwrap();
    connection.send(&command("BURL imap:y LAST"), &mut out).unwrap();
    assert_eq!(out, b"BDAT 1\r\naBURL imap:x\r\nBDAT 1\r\nbBURL imap:y LAST\r\n");
    let heard = heard(&mut connection, &"250 ok\r\n".repeat(4));
    assert_eq!(
        heard.iter().map(|(subject, _)| *subject).collect::<Vec<_>>(),
        [Subject::Chunk, Subject::Chunk, Subject::Chunk, Subject::Content]
    );
    assert_eq!(connection.state(), State::Ready);
}

/// RFC 2033 section 4.3.
#[test]
fn a_client_of_lmtp_knows_which_recipient_a_reply_to_the_last_chunk_is_for() {
    let config = client::Config { lmtp: true, ..client::Config::default() };
    let mut connection = client_of(config, OFFERED);
    for line in ["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RCPT TO:<nobody@d>", "RCPT TO:<c@d>"] {
        say(&mut connection, line).unwrap();
    }
    chunk(&mut connection, b"x", false).unwrap();
    chunk(&mut connection, b"y", true).unwrap();
    say(&mut connection, "MAIL FROM:<a@b>").unwrap();
    let codes = "250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n250 ok\r\n250 ok\r\n452 full\r\n250 ok\r\n";
    let subjects: Vec<_> = heard(&mut connection, codes).into_iter().skip(4).collect();
    let expected = [Subject::Chunk, Subject::ContentFor(0), Subject::ContentFor(2), Subject::Command(Verb::Mail)];
    assert_eq!(subjects, expected.into_iter().zip([250, 250, 452, 250]).collect::<Vec<_>>());
    assert_eq!((connection.state(), connection.accepted()), (State::Mail, 0));
}

/// A reply for each recipient that was accepted, then one for all.
#[test]
fn a_client_that_asked_for_prdr_hears_of_each_recipient() {
    for by_data in [false, true] {
        let mut connection = client();
        for line in ["MAIL FROM:<a@b> PRDR", "RCPT TO:<c@d>", "RCPT TO:<nobody@d>", "RCPT TO:<e@d>"] {
            say(&mut connection, line).unwrap();
        }
        heard(&mut connection, "250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n");
        if by_data {
            say(&mut connection, "DATA").unwrap();
            heard(&mut connection, "354 go on\r\n");
            connection.end_of_content(&mut Vec::new()).unwrap();
        } else {
            chunk(&mut connection, b"x", false).unwrap();
            chunk(&mut connection, b"", true).unwrap();
            heard(&mut connection, "250 ok\r\n");
        }
        let expected = [
            (Subject::Content, 353),
            (Subject::ContentFor(0), 250),
            (Subject::ContentFor(2), 550),
            (Subject::Content, 250),
        ];
        let mut together = connection.clone();
        assert_eq!(heard(&mut together, "353 each\r\n250 ok\r\n550 no\r\n250 all\r\n"), expected);
        assert_eq!((together.state(), together.is_waiting()), (State::Ready, false));
        // Or all at once.
        assert_eq!(heard(&mut connection, "250 all\r\n"), [(Subject::Content, 250)]);
        assert!(!connection.is_waiting());
    }
}

/// Line ends as for DATA, counted as they go out.
#[test]
fn line_ends_of_chunks_are_made_or_refused_as_for_data() {
    let sent = |line_endings, parts: &[&[u8]]| {
        let mut connection =
            with_envelope(client_of(client::Config { line_endings, ..client::Config::default() }, OFFERED));
        let mut out = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            connection.chunk(part, index + 1 == parts.len(), &mut out)?;
        }
        Ok(out)
    };
    let parts: [&[u8]; 4] = [b"a\nb\r", b"\n\r", b"c\n\n", b"\r"];
    let normal = sent(LineEndings::Normalise, &parts).unwrap();
    let noted = sent(LineEndings::Note, &parts).unwrap();
    let read = |wire: &[u8]| {
        let mut config = config();
        config.line_endings = LineEndings::Note;
        after_envelope(&config, wire).messages.concat().escape_ascii().to_string()
    };
    assert_eq!(read(&normal), "a\\r\\nb\\r\\n\\r\\nc\\r\\n\\r\\n\\r\\n");
    assert_eq!(read(&noted), "a\\r\\nb\\r\\n\\rc\\r\\n\\r\\n\\r");
    assert_eq!(sent(LineEndings::Reject, &[b"a\r", b"", b"\n"]).unwrap(), b"BDAT 2\r\na\rBDAT 0\r\nBDAT 1 LAST\r\n\n");
    for (parts, stray, at) in [
        (&[&b"a\n"[..]][..], Stray::Lf, 1),
        (&[b"a\r", b"b"], Stray::Cr, 1),
        (&[b"a\r"], Stray::Cr, 1),
        (&[b"a\r", b""], Stray::Cr, 1),
        (&[b"a\r\n", b"\n"], Stray::Lf, 3),
    ] {
        assert_eq!(sent(LineEndings::Reject, parts), Err(Misuse::LineEnding { stray, at }));
    }
}

#[test]
fn a_chunk_that_is_refused_for_its_line_ends_is_not_sent_in_part() {
    let mut connection = with_envelope(client());
    let mut out = b"before".to_vec();
    assert!(connection.chunk(b"a\nb", true, &mut out).is_err());
    assert_eq!((&out[..], connection.is_waiting()), (&b"before"[..], false));
    // The message has a hole now: it must not end, and a new one is not touched by it.
    assert!(connection.chunk(b"fine", true, &mut out).is_err());
    say(&mut connection, "RSET").unwrap();
    heard(&mut connection, "250 ok\r\n");
    assert_eq!(chunk(&mut with_envelope(connection), b"fine", true).unwrap(), b"BDAT 4 LAST\r\nfine");
}

#[test]
fn a_client_leaves_a_binary_message_as_it_is() {
    let content = b"\n\r\0\r\n.\n";
    for line_endings in POLICIES {
        let mut connection = client_of(client::Config { line_endings, ..client::Config::default() }, OFFERED);
        for line in ["MAIL FROM:<a@b> BODY=BINARYMIME", "RCPT TO:<c@d>"] {
            say(&mut connection, line).unwrap();
        }
        let out: Vec<_> = content.iter().map(|octet| chunk(&mut connection, &[*octet], false).unwrap()).collect();
        let expected: Vec<_> = content.iter().map(|octet| [b"BDAT 1\r\n", &[*octet][..]].concat()).collect();
        assert_eq!(out, expected);
    }
}

#[test]
fn a_client_sends_no_more_chunks_without_an_answer_than_its_limit() {
    let limits = Limits { pipelined: 5, ..Limits::default() };
    let mut connection = with_envelope(client_of(client::Config { limits, ..client::Config::default() }, OFFERED));
    let sent = (0..100).take_while(|_| chunk(&mut connection, b"x", false).is_ok()).count();
    assert_eq!(sent, 5);
    assert_eq!(chunk(&mut connection, b"x", false), Err(Misuse::QueueFull { limit: 5 }));
}

#[test]
fn a_client_sends_chunks_into_room_that_is_there_without_allocating() {
    let content = b"a line\nanother\r\n".repeat(50);
    let normalise = client::Config { line_endings: LineEndings::Normalise, ..client::Config::default() };
    let mut connection = with_envelope(client_of(normalise, OFFERED));
    let mut out = Vec::with_capacity(1 << 16);
    let mut send = |count: usize| {
        for _ in 0..count {
            out.clear();
            connection.chunk(&content, false, &mut out).unwrap();
            assert_eq!(heard_count(&mut connection, b"250 ok\r\n"), 1);
        }
    };
    send(1);
    let info = measure(|| send(100));
    // The number is written through memory of its own.
    assert!(info.count_total <= 100 && info.count_current == 0, "{} allocations", info.count_total);
}

fn heard_count(connection: &mut client::Connection, said: &[u8]) -> usize {
    usize::from(matches!(connection.receive(said), Ok(Step::Event { consumed, .. }) if consumed == said.len()))
}

// Both roles.

/// What a client says next.
#[derive(Clone, Debug)]
enum Say {
    Line(String),
    Chunk(Vec<u8>, bool),
    /// The message, in such pieces, once it is asked for.
    Message(Vec<Vec<u8>>),
}

/// A client that says all it may as soon as it may; what the server heard, and what the client was told.
fn converse(
    server: &server::Config,
    client: client::Config,
    script: &[Say],
    delivery: usize,
    decide: Decide,
) -> (Outcome, Vec<(Subject, u16)>) {
    let (mut server, mut client) = (greeted(server), client::Connection::new(client));
    let (mut outcome, mut told) = (Outcome { said: b"220 ready\r\n".to_vec(), ..Outcome::default() }, Vec::new());
    let (mut script, mut out) = (script.iter().peekable(), Vec::new());
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    loop {
        while let Some(next) = script.peek() {
            let said = match next {
                Say::Line(line) => client.send(&command(line), &mut out),
                Say::Chunk(content, last) => client.chunk(content, *last, &mut out),
                Say::Message(_) if !client.wants_content() => break,
                Say::Message(pieces) => {
                    pieces.iter().for_each(|piece| client.content(piece, &mut out).unwrap());
                    client.end_of_content(&mut out)
                }
            };
            if matches!(said, Err(Misuse::AwaitingReply { .. } | Misuse::QueueFull { .. }))
                || said.is_err() && client.state() == State::Greeting
            {
                break;
            }
            script.next();
        }
        if out.is_empty() && outcome.said.is_empty() {
            break;
        }
        to_server.extend(out.drain(..delivery.min(out.len())));
        loop {
            let consumed = match server.receive(&to_server).unwrap() {
                Step::Event { consumed, event } => {
                    outcome.hear(&mut server, &event, decide);
                    consumed
                }
                Step::Skip { consumed } => consumed,
                Step::NeedInput | Step::Paused => break,
            };
            to_server.drain(..consumed);
        }
        to_client.extend(outcome.said.drain(..delivery.min(outcome.said.len())));
        while let Step::Event { consumed, event } = client.receive(&to_client).unwrap() {
            told.push((event.subject, event.reply.code().as_u16()));
            to_client.drain(..consumed);
        }
    }
    assert!(script.next().is_none(), "something was never said");
    assert!(!client.is_waiting(), "an answer is missing: {told:?}");
    assert!(to_server.is_empty() && to_client.is_empty());
    (outcome, told)
}

fn lines(text: &str) -> impl Iterator<Item = Say> {
    text.lines().map(|line| Say::Line(line.to_owned()))
}

fn chunks(parts: &[&[u8]]) -> Vec<Say> {
    let count = parts.len();
    parts.iter().enumerate().map(|(index, part)| Say::Chunk(part.to_vec(), index + 1 == count)).collect()
}

#[test]
fn what_our_client_says_in_chunks_our_server_hears_at_every_cut() {
    let refuse: Decide = |event| match event {
        Event::Command(Command::Rcpt { to, .. }) if to.to_string().contains("nobody") => {
            Some(Reply::new(Code::MAILBOX_UNAVAILABLE, "no such user"))
        }
        _ => None,
    };
    for lmtp in [false, true] {
        let server = server::Config { lmtp, ..config() };
        let client = client::Config { lmtp, line_endings: LineEndings::Normalise, ..client::Config::default() };
        let hello = if lmtp { "LHLO c" } else { "EHLO c" };
        let mail = "MAIL FROM:<a@b>\nRCPT TO:<c@d>\nRCPT TO:<nobody@d>\nRCPT TO:<e@d>";
        let mut script: Vec<_> = lines(hello).chain(lines(mail)).collect();
        script.extend(chunks(&[b"one\r", b"", b"\n.\r\n", b".\r\n"]));
        script.extend(lines(mail).chain(chunks(&[b""])).chain(lines(mail)));
        script.extend(lines("DATA").chain([Say::Message(vec![b".".to_vec(), b"\n".to_vec()])]));
        script.extend(lines("MAIL FROM:<a@b> BODY=BINARYMIME\nRCPT TO:<c@d>"));
        script.extend(chunks(&[b"\n\r", b"\0"]).into_iter().chain(lines("QUIT")));
        let (whole, told) = converse(&server, client.clone(), &script, usize::MAX, refuse);
        let expected: [&[u8]; 4] = [b"one\r\n.\r\n.\r\n", b"", b".\r\n", b"\n\r\0"];
        assert_eq!((&whole.messages[..], whole.codes.len() + 1), (&expected.map(<[u8]>::to_vec)[..], told.len()));
        let count = |subject| told.iter().filter(|(to, _)| *to == subject).count();
        assert_eq!(count(Subject::Chunk), 4);
        assert_eq!(count(Subject::Content), if lmtp { 0 } else { 4 });
        assert_eq!((count(Subject::ContentFor(0)), count(Subject::ContentFor(2))), if lmtp { (4, 3) } else { (0, 0) });
        for delivery in 1..80 {
            let cut = converse(&server, client.clone(), &script, delivery, refuse);
            assert_eq!((&cut.0.events, &cut.0.messages, &cut.1), (&whole.events, &whole.messages, &told), "{delivery}");
        }
    }
}

#[test]
fn a_chunk_refused_in_the_middle_of_a_group_leaves_both_sides_in_step() {
    let script: Vec<_> = lines("EHLO c\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nRCPT TO:<e@f>")
        .chain(chunks(&[b"a", &[b'x'; 2000], b"c", b"d"]))
        .chain(lines("RSET\nMAIL FROM:<a@b>\nRCPT TO:<c@d>"))
        .chain(chunks(&[b"ok"]))
        .collect();
    for delivery in [1, 10, 100_000] {
        let (outcome, told) = converse(&config(), client::Config::default(), &script, delivery, AGREE);
        let codes: Vec<_> = told.iter().map(|(_, code)| *code).collect();
        assert!(codes.starts_with(&[220, 250, 250, 250, 250, 250, 552]), "{codes:?}");
        assert_eq!(outcome.messages, [b"ok"], "{codes:?}");
    }
}

#[test]
fn a_chunk_refused_in_the_middle_of_a_group_leaves_both_sides_of_lmtp_in_step() {
    let script: Vec<_> = lines("LHLO c\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nRCPT TO:<e@f>")
        .chain(chunks(&[b"a", &[b'x'; 2000], b"c", b"d"]))
        .chain(lines("RSET\nMAIL FROM:<a@b>\nRCPT TO:<c@d>"))
        .chain(chunks(&[b"ok"]))
        .collect();
    let client = client::Config { lmtp: true, ..client::Config::default() };
    let (outcome, _) = converse(&lmtp(), client, &script, usize::MAX, AGREE);
    assert_eq!(outcome.messages, [b"ok"]);
}

/// A transaction in the pipeline behind a message that is refused is one of its own.
#[test]
fn a_message_refused_at_its_end_does_not_touch_the_transaction_behind_it() {
    let refuse_first: Decide = |event| match event {
        Event::ContentEnd(end) if end.size == 5 => Some(Reply::new(Code::MAILBOX_UNAVAILABLE, "no")),
        _ => None,
    };
    let mail = || lines("MAIL FROM:<a@b>\nRCPT TO:<c@d>\nRCPT TO:<e@f>");
    for lmtp in [false, true] {
        let mut script: Vec<_> = lines(if lmtp { "LHLO c" } else { "EHLO c" }).chain(mail()).collect();
        script.extend(chunks(&[b"no", b"no!"]).into_iter().chain(mail()).chain(chunks(&[b"y", b"es"])));
        script.extend(lines("NOOP\nQUIT"));
        for delivery in [1, 7, 100_000] {
            let (server, client) =
                (server::Config { lmtp, ..config() }, client::Config { lmtp, ..client::Config::default() });
            let (outcome, told) = converse(&server, client, &script, delivery, refuse_first);
            assert_eq!(outcome.messages, [b"yes"]);
            let replies = if lmtp { 2 } else { 1 };
            assert_eq!(
                (told.len(), told.last()),
                (2 + 2 * (4 + replies) + 2, Some(&(Subject::Command(Verb::Quit), 221)))
            );
        }
    }
}

/// As after the last chunk, so after what is fetched last.
#[test]
fn both_sides_of_lmtp_agree_on_how_often_the_last_burl_is_answered() {
    let script: Vec<_> =
        lines("LHLO c\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nRCPT TO:<e@f>\nBURL imap:x LAST\nNOOP\nQUIT").collect();
    let client = client::Config { lmtp: true, ..client::Config::default() };
    let (outcome, told) = converse(&lmtp(), client, &script, usize::MAX, AGREE);
    assert_eq!(outcome.codes.len() + 1, told.len());
}

/// Content made of what can go wrong.
fn stored() -> impl Strategy<Value = Vec<u8>> {
    let marks: [&[u8]; 10] = [b"\r", b"\n", b"\r\n", b".", b"..", b"\r\n.\r\n", b"\n.\n", b"a", b"\r\r\n", b"\0"];
    proptest::collection::vec(prop::sample::select(marks.to_vec()), 0..12).prop_map(|parts| parts.concat())
}

/// `content` in pieces of these sizes, used in turn.
fn pieces(content: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let (mut left, mut pieces) = (content, Vec::new());
    for size in sizes.iter().cycle() {
        let (piece, rest) = left.split_at((*size).min(left.len()));
        pieces.push(piece.to_vec());
        left = rest;
        if left.is_empty() {
            return pieces;
        }
    }
    vec![content.to_vec()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// By DATA a message ends in a line end (RFC 5321 section 4.1.1.4); otherwise both ways carry the same octets, whatever pieces the
    /// content is handed over in.
    #[test]
    fn a_server_gets_the_same_octets_by_data_and_by_bdat(
        content in stored(),
        by_data in proptest::collection::vec(1..9_usize, 1..4),
        by_bdat in proptest::collection::vec(0..9_usize, 0..3),
        delivery in 1..60_usize,
        policy in prop::sample::select(POLICIES[1..].to_vec()),
        lmtp in any::<bool>(),
    ) {
        let server = server::Config { line_endings: LineEndings::Note, lmtp, ..config() };
        let client = client::Config { line_endings: policy, lmtp, ..client::Config::default() };
        let hello = if lmtp { "LHLO c" } else { "EHLO c" };
        let envelope = || lines(hello).chain(lines("MAIL FROM:<a@b>\nRCPT TO:<c@d>"));
        let by_data = envelope().chain(lines("DATA")).chain([Say::Message(pieces(&content, &by_data))]).collect::<Vec<_>>();
        let parts = pieces(&content, &[by_bdat, vec![3]].concat());
        let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        let by_bdat = envelope().chain(chunks(&parts)).collect::<Vec<_>>();
        let (by_data, _) = converse(&server, client.clone(), &by_data, delivery, AGREE);
        let (by_bdat, _) = converse(&server, client, &by_bdat, delivery, AGREE);
        let [data] = &by_data.messages[..] else { panic!("{by_data:?}") };
        let [mut bdat] = <[Vec<u8>; 1]>::try_from(by_bdat.messages).unwrap();
        if !bdat.is_empty() && !bdat.ends_with(b"\r\n") {
            bdat.extend_from_slice(b"\r\n");
        }
        prop_assert_eq!(data.escape_ascii().to_string(), bdat.escape_ascii().to_string());
    }

    /// However the server's policy and the chunks are, a message in chunks is judged as its octets together are.
    #[test]
    fn chunks_are_judged_as_the_message_they_are(
        content in stored(),
        sizes in proptest::collection::vec(0..9_usize, 0..4),
        size in 1..50_usize,
        line_endings in prop::sample::select(POLICIES.to_vec()),
    ) {
        let parts = pieces(&content, &[sizes, vec![2]].concat());
        let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        let said = [ENVELOPE, &chunked(&parts)].concat();
        let outcome = Outcome::of(&server::Config { line_endings, ..config() }, said.chunks(size), AGREE);
        assert_judged(&outcome, &content, line_endings, &(parts, size));
    }

    #[test]
    fn whatever_is_said_around_chunks_no_message_comes_without_a_sender_and_a_recipient(
        said in proptest::collection::vec(prop::sample::select(vec![
            "EHLO c\r\n", "HELO c\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "DATA\r\n", ".\r\n", "RSET\r\n", "BDAT 2\r\n\r\n",
            "BDAT 3 LAST\r\n.\r\n", "BDAT 0\r\n", "BDAT 1001\r\n", "BURL imap:x\r\n", "BURL imap:x LAST\r\n", "BDAT 1 LAST\r\n\n",
        ]), 0..40),
    ) {
        let outcome = Outcome::of(&config(), [said.concat().as_bytes()], AGREE);
        let (mut mail, mut recipients) = (false, 0);
        for (event, code) in outcome.events.iter().filter(|event| !event.starts_with("chunk ") || event.starts_with("chunk end")).zip(&outcome.codes) {
            match (event.split(' ').next().unwrap(), *code < 400) {
                ("MAIL", true) => (mail, recipients) = (true, 0),
                ("RCPT", true) => recipients += 1,
                ("RSET" | "EHLO" | "HELO", true) => (mail, recipients) = (false, 0),
                ("DATA" | "BURL" | "end" | "chunk", accepted) => {
                    prop_assert!(mail && recipients > 0, "{event} in {:?}", outcome.events);
                    if event.starts_with("end") || !accepted {
                        (mail, recipients) = (false, 0);
                    }
                }
                _ => {}
            }
        }
    }
}

// Whatever is called.

const SAID: [&str; 18] = [
    "EHLO c\r\n",
    "LHLO c\r\n",
    "MAIL FROM:<a@b>\r\n",
    "MAIL FROM:<a@b> PRDR BODY=BINARYMIME\r\n",
    "RCPT TO:<c@d>\r\n",
    "DATA\r\n",
    "x\r\n.\r\n",
    "BDAT 0\r\n",
    "BDAT 2\r\na\r",
    "BDAT 1\r\n",
    "\n",
    "BDAT 0 LAST\r\n",
    "BDAT 3 LAST\r\nx\n\n",
    "BDAT 9\r\nQUIT\r\n...",
    "BURL imap:x LAST\r\n",
    "BURL imap:x\r\n",
    "RSET\r\n",
    "XCLIENT NAME=a\r\n",
];

const CODES: [u16; 9] = [250, 353, 354, 220, 334, 452, 554, 503, 421];

/// The command that a line of [`SAID`] is; what is none, or has octets behind it, is not sent as a command.
fn said_command(line: &str) -> Option<Command<'_>> {
    let command = Command::parse(line.strip_suffix("\r\n")?.as_bytes()).ok()?;
    (!matches!(command, Command::Bdat { .. })).then_some(command)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// What a server's connection refuses to send leaves no octet and changes nothing, in whatever state.
    #[test]
    fn no_reply_that_is_refused_around_chunks_changes_anything(
        lmtp in any::<bool>(),
        steps in proptest::collection::vec((0..SAID.len(), 0..CODES.len(), any::<bool>()), 0..60),
    ) {
        let mut limits = Limits::default();
        (limits.errors, limits.message) = (20, 6);
        let mut connection = greeted(&server::Config { lmtp, limits, ..config() });
        let mut input = Vec::new();
        for (line, code, says) in steps {
            if says {
                input.extend_from_slice(SAID[line].as_bytes());
            } else {
                let (before, mut out) = (format!("{connection:?}"), b"owed".to_vec());
                let code = Code::new(CODES[code]).unwrap();
                match connection.send(&Reply::new(code, ""), &mut out) {
                    Ok(()) => prop_assert!(out.starts_with(b"owed") && out.ends_with(b"\r\n")),
                    Err(_) => prop_assert_eq!((format!("{connection:?}"), &out[..]), (before, &b"owed"[..])),
                }
            }
            loop {
                let consumed = match connection.receive(&input).unwrap() {
                    Step::Event { consumed, .. } | Step::Skip { consumed } => consumed,
                    Step::NeedInput | Step::Paused => break,
                };
                input.drain(..consumed);
            }
        }
    }

    /// So does what a client's connection refuses, but for a message that has a hole.
    #[test]
    fn no_call_that_is_refused_around_chunks_changes_anything(
        lmtp in any::<bool>(),
        steps in proptest::collection::vec((0..SAID.len(), 0..CODES.len(), 0..4_u8, any::<bool>()), 0..60),
    ) {
        let mut client = client_of(client::Config { lmtp, ..client::Config::default() }, OFFERED);
        for (line, code, what, last) in steps {
            let (before, mut out) = (format!("{client:?}"), b"owed".to_vec());
            let content = &SAID[line].as_bytes()[..1];
            let said = match what {
                0 => client.chunk(content, last, &mut out),
                1 if client.wants_content() => client.end_of_content(&mut out),
                1 | 2 => match said_command(SAID[line]) {
                    Some(command) => client.send(&command, &mut out),
                    None => continue,
                },
                _ => {
                    let reply = format!("{} \r\n", CODES[code]);
                    let mut answered = client.clone();
                    if answered.receive(reply.as_bytes()).is_ok() {
                        client = answered;
                    }
                    continue;
                }
            };
            match said {
                Ok(()) => prop_assert!(out.starts_with(b"owed") && out.len() > 4),
                Err(Misuse::LineEnding { .. }) => prop_assert_eq!(&out[..], b"owed"),
                Err(_) => prop_assert_eq!((format!("{client:?}"), &out[..]), (before, &b"owed"[..])),
            }
        }
    }
}
