//! One message to many recipients: against servers that say what a script says, and against our own with a mind of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use postrider_smtp_proto::client::{self, Connection};
use postrider_smtp_proto::server::{self, Event};
use postrider_smtp_proto::transfer::{Carrier, Envelope, Next, Outcome, Recipient, Transfer, Unsuited};
use postrider_smtp_proto::{
    Body, ClientName, Code, Command, Extensions, ForwardPath, Limits, Misuse, ParameterList, Parameters, Reply,
    ReversePath, Step,
};
use proptest::prelude::*;

const MESSAGE: &[u8] = b"Subject: x\r\n\r\n.a line\r\n.\r\n..\r\nthe last\r\n";

fn recipients(paths: &[String]) -> Vec<Recipient<'_>> {
    paths.iter().map(|to| Recipient { to: ForwardPath::new(to).unwrap(), parameters: Parameters::NONE }).collect()
}

fn paths(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("<user{index}@d{}.example>", index % 3)).collect()
}

/// A client that has heard what the server lists.
fn ready(lmtp: bool, listed: &str) -> Connection {
    let mut connection = Connection::new(client::Config { lmtp, ..client::Config::default() });
    assert!(matches!(connection.receive(b"220 x\r\n"), Ok(Step::Event { .. })));
    let name = ClientName::new("client.example").unwrap();
    let hello = if lmtp { Command::Lhlo(name) } else { Command::Ehlo(name) };
    connection.send(&hello, &mut Vec::new()).unwrap();
    let lines: Vec<_> = std::iter::once("x").chain(listed.split(',').filter(|line| !line.is_empty())).collect();
    let reply: String = (1..=lines.len())
        .map(|at| format!("250{}{}\r\n", if at == lines.len() { ' ' } else { '-' }, lines[at - 1]))
        .collect();
    assert!(matches!(connection.receive(reply.as_bytes()), Ok(Step::Event { .. })));
    connection
}

/// A server whose answers are a script: after each of our turns the next entry is what it says; after the last it is gone.
struct Scripted<'s> {
    says: &'s [&'s str],
    said: Vec<String>,
}

fn run(mut transfer: Transfer<'_>, connection: &mut Connection, says: &[&str]) -> (Vec<Outcome>, Vec<String>) {
    let mut server = Scripted { says, said: Vec::new() };
    let (mut input, mut out) = (Vec::new(), Vec::new());
    loop {
        if let Step::Event { consumed, event } = connection.receive(&input).unwrap() {
            transfer.heard(&event, connection);
            input.drain(..consumed);
            continue;
        }
        match transfer.speak(connection, &mut out).unwrap() {
            Next::Content { at } => {
                let rest = &MESSAGE[usize::try_from(at).unwrap()..];
                let piece = &rest[..rest.len().min(16)];
                transfer.content(connection, piece, piece.len() == rest.len(), &mut out).unwrap();
            }
            Next::Over => {
                server.said.push(String::from_utf8(out).unwrap());
                assert_eq!(server.says.len(), 0, "the server was to say more: {:?}", server.said);
                return (transfer.into_outcomes(), server.said);
            }
            Next::Wait => {
                server.said.push(String::from_utf8(std::mem::take(&mut out)).unwrap());
                match server.says.split_first() {
                    Some((first, rest)) => {
                        input.extend_from_slice(first.as_bytes());
                        server.says = rest;
                    }
                    None => transfer.lost(),
                }
            }
        }
    }
}

fn codes(outcomes: &[Outcome]) -> Vec<String> {
    let shown = outcomes.iter().map(|outcome| match outcome {
        Outcome::Refused(reply) | Outcome::Taken(reply) => reply.code().to_string(),
        other => format!("{other:?}").to_lowercase(),
    });
    shown.collect()
}

fn sends(listed: &str, count: usize, carrier: Carrier, says: &[&str]) -> (Vec<String>, Vec<String>) {
    let paths = paths(count);
    let recipients = recipients(&paths);
    let mut connection = ready(false, listed);
    let envelope = Envelope { from: ReversePath::Null, parameters: Parameters::NONE, recipients: &recipients };
    let transfer = Transfer::new(envelope, connection.offered()).unwrap().carried_by(carrier);
    let (outcomes, said) = run(transfer, &mut connection, says);
    (codes(&outcomes), said)
}

#[test]
fn one_refused_recipient_does_not_keep_the_message_from_the_others() {
    let (outcomes, said) = sends(
        "PIPELINING",
        3,
        Carrier::Automatic,
        &["250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n", "250 taken\r\n"],
    );
    assert_eq!(outcomes, ["250", "550", "250"]);
    assert!(said[0].ends_with("RCPT TO:<user2@d2.example>\r\nDATA\r\n"), "{said:?}");
    assert_eq!(said[1], "Subject: x\r\n\r\n..a line\r\n..\r\n...\r\nthe last\r\n.\r\n");
}

#[test]
fn when_all_are_refused_and_the_server_asks_all_the_same_it_gets_an_empty_message() {
    let says = ["250 ok\r\n550 no\r\n550 no\r\n354 go\r\n", "554 nobody\r\n250 ok\r\n"];
    let (outcomes, said) = sends("PIPELINING", 2, Carrier::Automatic, &says);
    assert_eq!(outcomes, ["550", "550"]);
    assert_eq!(said[1], ".\r\nRSET\r\n");
}

#[test]
fn a_refused_sender_is_the_outcome_of_all() {
    let says = ["550 5.7.1 not you\r\n503 mail first\r\n503 mail first\r\n503 mail first\r\n"];
    assert_eq!(sends("PIPELINING", 2, Carrier::Automatic, &says).0, ["550", "550"]);
    assert_eq!(sends("", 2, Carrier::Automatic, &["451 later\r\n"]).0, ["451", "451"]);
}

#[test]
fn data_that_is_refused_is_the_outcome_of_those_accepted() {
    let says = ["250 ok\r\n250 ok\r\n550 no\r\n451 not now\r\n", "250 reset\r\n"];
    let (outcomes, said) = sends("PIPELINING", 2, Carrier::Automatic, &says);
    assert_eq!((outcomes, said[1].as_str()), (vec!["451".to_owned(), "550".to_owned()], "RSET\r\n"));
}

#[test]
fn without_pipelining_each_reply_is_waited_for() {
    let says = ["250 ok\r\n", "250 ok\r\n", "550 no\r\n", "354 go\r\n", "250 taken\r\n"];
    let (outcomes, said) = sends("", 2, Carrier::Automatic, &says);
    assert_eq!((outcomes, said.len()), (vec!["250".to_owned(), "550".to_owned()], 6));
}

#[test]
fn limits_that_are_listed_are_kept() {
    let says =
        ["250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 one\r\n", "250 ok\r\n250 ok\r\n354 go\r\n", "250 two\r\n"];
    let (outcomes, said) = sends("PIPELINING,LIMITS RCPTMAX=2", 3, Carrier::Automatic, &says);
    assert_eq!(outcomes, ["250", "250", "250"]);
    assert_eq!(said[2], "MAIL FROM:<>\r\nRCPT TO:<user2@d2.example>\r\nDATA\r\n");
    let says = ["250 ok\r\n250 ok\r\n354 go\r\n", "250 one\r\n"];
    assert_eq!(sends("PIPELINING,LIMITS RCPTMAX=1 MAILMAX=1", 2, Carrier::Automatic, &says).0, ["250", "unsent"]);
    let says =
        ["250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 one\r\n", "250 ok\r\n250 ok\r\n354 go\r\n", "250 two\r\n"];
    let (outcomes, said) = sends("PIPELINING,LIMITS RCPTDOMAINMAX=2", 3, Carrier::Automatic, &says);
    assert_eq!((outcomes.len(), said.len()), (3, 5));
}

#[test]
fn too_many_recipients_are_learnt_from_the_refusal_and_sent_in_another_transaction() {
    for refusal in ["452 4.5.3 too many", "552 too many", "452 too many"] {
        let first = format!("250 ok\r\n250 ok\r\n250 ok\r\n{refusal}\r\n{refusal}\r\n354 go\r\n");
        let says = [&first, "250 one\r\n", "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 two\r\n"];
        assert_eq!(sends("PIPELINING", 4, Carrier::Automatic, &says).0, ["250"; 4], "{refusal}");
    }
    // A full mailbox is not that, and the first recipient cannot be one too many.
    let says = ["250 ok\r\n250 ok\r\n552 5.2.2 full\r\n354 go\r\n", "250 one\r\n"];
    assert_eq!(sends("PIPELINING", 2, Carrier::Automatic, &says).0, ["250", "552"]);
    let says = ["250 ok\r\n452 4.5.3 too many\r\n452 4.5.3 too many\r\n503 no\r\n", "250 reset\r\n"];
    assert_eq!(sends("PIPELINING", 2, Carrier::Automatic, &says).0, ["452", "452"]);
}

#[test]
fn the_reason_given_before_the_server_leaves_is_kept() {
    let says = ["250 ok\r\n550 5.7.1 go away\r\n421 bye\r\n"];
    assert_eq!(sends("PIPELINING", 3, Carrier::Automatic, &says).0, ["550", "421", "421"]);
    assert_eq!(sends("PIPELINING", 2, Carrier::Automatic, &["250 ok\r\n550 no\r\n"]).0, ["550", "unsent"]);
    let says = ["250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n"];
    assert_eq!(sends("PIPELINING", 2, Carrier::Automatic, &says).0, ["uncertain", "550"]);
}

#[test]
fn chunks_go_to_a_server_that_takes_them_once_somebody_was_accepted() {
    let says = ["250 ok\r\n250 ok\r\n550 no\r\n", "250 16\r\n250 32\r\n250 taken\r\n"];
    let (outcomes, said) = sends("PIPELINING,CHUNKING", 2, Carrier::Chunks, &says);
    assert_eq!(outcomes, ["250", "550"]);
    assert!(
        said[1].starts_with("BDAT 16\r\nSubject: x\r\n\r\n.aBDAT 16\r\n") && said[1].contains(" LAST\r\n"),
        "{said:?}"
    );
    let says = ["250 ok\r\n550 no\r\n550 no\r\n", "250 reset\r\n"];
    assert_eq!(sends("PIPELINING,CHUNKING", 2, Carrier::Chunks, &says).0, ["550", "550"]);
    let says = ["250 ok\r\n250 ok\r\n", "452 4.3.1 full\r\n503 no\r\n503 no\r\n", "250 reset\r\n"];
    assert_eq!(sends("PIPELINING,CHUNKING", 1, Carrier::Chunks, &says).0, ["452"]);
}

#[test]
fn each_recipient_has_a_reply_of_its_own_in_lmtp_and_with_prdr() {
    let (paths, parameters) = (paths(3), ParameterList::new().prdr());
    let recipients = recipients(&paths);
    let envelope =
        Envelope { from: ReversePath::Null, parameters: parameters.as_parameters(), recipients: &recipients };
    let mut connection = ready(true, "PIPELINING");
    let transfer = Transfer::new(envelope, connection.offered()).unwrap();
    let says = ["250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n", "452 full\r\n250 taken\r\n"];
    assert_eq!(codes(&run(transfer, &mut connection, &says).0), ["452", "550", "250"]);
    let mut connection = ready(false, "PIPELINING,PRDR");
    let transfer = Transfer::new(envelope, connection.offered()).unwrap();
    let says =
        ["250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n", "353 each\r\n452 full\r\n250 taken\r\n250 all\r\n"];
    let (outcomes, said) = run(transfer, &mut connection, &says);
    assert_eq!(codes(&outcomes), ["452", "550", "250"]);
    assert!(said[0].starts_with("MAIL FROM:<> PRDR\r\n"));
}

#[test]
fn what_a_server_does_not_take_is_left_out_or_keeps_the_message_from_it() {
    let paths = paths(1);
    let mut recipients = recipients(&paths);
    recipients[0].parameters = Parameters::new("NOTIFY=NEVER X-OWN=1").unwrap();
    let list = ParameterList::new().size(10).body(Body::SevenBit).envelope_id("e").unwrap();
    let envelope = Envelope { from: ReversePath::Null, parameters: list.as_parameters(), recipients: &recipients };
    let mut connection = ready(false, "PIPELINING,SIZE 10");
    let offered = *connection.offered();
    let transfer = Transfer::new(envelope, &offered).unwrap();
    let (_, said) = run(transfer, &mut connection, &["250 ok\r\n250 ok\r\n354 go\r\n", "250 ok\r\n"]);
    let left_out = |parameters| offered.left_out(parameters).map(|parameter| parameter.keyword).collect::<Vec<_>>();
    assert_eq!(left_out(&envelope.parameters), [&b"BODY"[..], b"ENVID"]);
    assert_eq!(left_out(&recipients[0].parameters), [b"NOTIFY"]);
    assert_eq!(said[0], "MAIL FROM:<> SIZE=10\r\nRCPT TO:<user0@d0.example> X-OWN=1\r\nDATA\r\n");

    let unsuited = |list: ParameterList, listed: &str| {
        let envelope = Envelope { from: ReversePath::Null, parameters: list.as_parameters(), recipients: &[] };
        Transfer::new(envelope, ready(false, listed).offered()).err()
    };
    let list = ParameterList::new;
    assert_eq!(unsuited(list().size(11), "SIZE 10"), Some(Unsuited::TooLarge { size: 11, limit: 10 }));
    assert_eq!(unsuited(list().size(11), "SIZE"), None);
    assert_eq!(unsuited(list().body(Body::EightBitMime), ""), Some(Unsuited::Body(Body::EightBitMime)));
    assert_eq!(unsuited(list().body(Body::BinaryMime), "BINARYMIME"), Some(Unsuited::Body(Body::BinaryMime)));
    assert_eq!(unsuited(list().smtputf8(), ""), Some(Unsuited::SmtpUtf8));
    assert_eq!(unsuited(list().require_tls(), "DSN"), Some(Unsuited::RequireTls));
}

/// RFC 2852 section 4.1.4.
#[test]
fn a_message_to_be_returned_when_late_goes_only_where_that_happens() {
    let to_server = |by: &str, listed: &str| {
        let parameters = Parameters::new(by).unwrap();
        let envelope = Envelope { from: ReversePath::Null, parameters, recipients: &[] };
        Transfer::new(envelope, ready(false, listed).offered()).map(drop)
    };
    assert_eq!(to_server("BY=60;R", ""), Err(Unsuited::DeliverBy));
    assert_eq!(to_server("BY=60;RT", "DSN"), Err(Unsuited::DeliverBy));
    let too_soon = Err(Unsuited::DeliverByTooSoon { seconds: 60, minimum: 240 });
    assert_eq!(to_server("BY=60;R", "DELIVERBY 240"), too_soon);
    assert_eq!((to_server("BY=240;R", "DELIVERBY 240"), to_server("BY=1;R", "DELIVERBY")), (Ok(()), Ok(())));
    assert_eq!((to_server("BY=60;N", ""), to_server("BY=-60;N", "DELIVERBY 240")), (Ok(()), Ok(())));
}

/// RFC 7293 section 5.1.1.
#[test]
fn a_recipient_must_have_had_the_mailbox_unless_the_client_says_to_go_on() {
    let paths = paths(1);
    let to_server = |parameters: &str, listed: &str| {
        let mut recipients = recipients(&paths);
        recipients[0].parameters = Parameters::new(parameters).unwrap();
        let envelope = Envelope { from: ReversePath::Null, parameters: Parameters::NONE, recipients: &recipients };
        Transfer::new(envelope, ready(false, listed).offered()).map(drop)
    };
    let since = "RRVS=2014-04-03T23:01:00Z";
    for action in ["", ";R"] {
        let parameters = format!("{since}{action}");
        assert_eq!(to_server(&parameters, ""), Err(Unsuited::ValidSince), "{action}");
        assert_eq!(to_server(&parameters, "RRVS"), Ok(()), "{action}");
    }
    assert_eq!(to_server(&format!("{since};C"), ""), Ok(()));
}

#[test]
fn a_server_that_gives_up_in_the_middle_of_a_message_is_heard() {
    let paths = paths(2);
    let recipients = recipients(&paths);
    let envelope = Envelope { from: ReversePath::Null, parameters: Parameters::NONE, recipients: &recipients };
    let mut connection = ready(false, "PIPELINING");
    let mut transfer = Transfer::new(envelope, connection.offered()).unwrap();
    let (mut out, hear) = (Vec::new(), |transfer: &mut Transfer<'_>, connection: &mut Connection, said: &[u8]| {
        let mut input = said;
        while let Ok(Step::Event { consumed, event }) = connection.receive(input) {
            transfer.heard(&event, connection);
            input = &input[consumed..];
        }
    });
    assert_eq!(transfer.speak(&mut connection, &mut out), Ok(Next::Wait));
    hear(&mut transfer, &mut connection, b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n");
    assert_eq!(transfer.speak(&mut connection, &mut out), Ok(Next::Content { at: 0 }));
    transfer.content(&mut connection, b"Subject: x\r\n", false, &mut out).unwrap();
    assert_eq!(connection.receive(b""), Ok(Step::Paused));
    hear(&mut transfer, &mut connection, b"552 5.3.4 too large\r\n");
    assert!(connection.is_closed());
    assert_eq!(transfer.speak(&mut connection, &mut out), Ok(Next::Over));
    assert_eq!(codes(transfer.outcomes()), ["552", "550"]);
}

#[test]
fn with_prdr_the_last_reply_is_the_last_word() {
    let (paths, parameters) = (paths(2), ParameterList::new().prdr());
    let recipients = recipients(&paths);
    let envelope =
        Envelope { from: ReversePath::Null, parameters: parameters.as_parameters(), recipients: &recipients };
    let begin = "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n";
    for (end, expected) in [
        ("353 each\r\n250 one\r\n250 two\r\n451 not stored\r\n", ["451", "451"]),
        ("353 each\r\n250 one\r\n550 two\r\n250 stored\r\n", ["250", "550"]),
        ("353 each\r\n250 one\r\n", ["uncertain", "uncertain"]),
        ("353 each\r\n250 one\r\n421 bye\r\n", ["uncertain", "uncertain"]),
        ("550 nobody\r\n", ["550", "550"]),
    ] {
        let mut connection = ready(false, "PIPELINING,PRDR");
        let transfer = Transfer::new(envelope, connection.offered()).unwrap();
        assert_eq!(codes(&run(transfer, &mut connection, &[begin, end]).0), expected, "{end}");
    }
}

#[test]
fn in_lmtp_a_421_to_one_says_nothing_of_the_others() {
    let paths = paths(2);
    let recipients = recipients(&paths);
    let envelope = Envelope { from: ReversePath::Null, parameters: Parameters::NONE, recipients: &recipients };
    let mut connection = ready(true, "PIPELINING");
    let transfer = Transfer::new(envelope, connection.offered()).unwrap();
    let says = ["250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "421 bye\r\n"];
    assert_eq!(codes(&run(transfer, &mut connection, &says).0), ["421", "uncertain"]);
}

#[test]
fn nothing_is_sent_for_a_sender_that_was_refused() {
    let (outcomes, said) = sends("PIPELINING", 1, Carrier::Automatic, &["550 no\r\n250 ok\r\n354 go\r\n"]);
    assert_eq!((outcomes, said.len()), (vec!["550".to_owned()], 2));
    assert_eq!(said[1], "");
}

#[test]
fn a_path_in_utf_8_is_announced() {
    let paths = ["<gr\u{fc}n@b>".to_owned()];
    let recipients = recipients(&paths);
    let envelope = Envelope { from: ReversePath::Null, parameters: Parameters::NONE, recipients: &recipients };
    assert_eq!(Transfer::new(envelope, ready(false, "").offered()).err(), Some(Unsuited::SmtpUtf8));
    let mut connection = ready(false, "SMTPUTF8");
    let transfer = Transfer::new(envelope, connection.offered()).unwrap();
    let (_, said) = run(transfer, &mut connection, &["550 no\r\n"]);
    assert_eq!(said[0], "MAIL FROM:<> SMTPUTF8\r\n");
}

#[test]
fn a_connection_that_is_not_ready_says_so() {
    let recipients = [];
    let envelope = Envelope { from: ReversePath::Null, parameters: Parameters::NONE, recipients: &recipients };
    let mut connection = Connection::new(client::Config::default());
    let mut transfer = Transfer::new(envelope, connection.offered()).unwrap();
    assert_eq!(transfer.speak(&mut connection, &mut Vec::new()), Ok(Next::Over));
    assert_eq!(transfer.content(&mut connection, b"x", true, &mut Vec::new()), Err(Misuse::NoContent));
}

/// How our own server behaves.
#[derive(Clone, Debug)]
struct Mood {
    lmtp: bool,
    pipelining: bool,
    chunking: bool,
    prdr: bool,
    listed_limit: bool,
    limit: usize,
    /// What becomes of each command, one after the other and again from the start: 0 to 5 yes, 6 later, 7 never.
    choices: Vec<u8>,
}

/// What a server has taken: the message, and for whom.
type Taken = Vec<(Vec<u8>, Vec<String>)>;

struct Minded {
    connection: server::Connection,
    mood: Mood,
    next: usize,
    named: Vec<String>,
    content: Vec<u8>,
    taken: Taken,
    out: Vec<u8>,
}

impl Minded {
    fn new(mood: Mood) -> Self {
        let extensions = Extensions {
            pipelining: mood.pipelining,
            chunking: mood.chunking,
            prdr: mood.prdr,
            limits: mood.listed_limit,
            ..Extensions::default()
        };
        let limits = Limits { recipients: mood.limit, errors: u32::MAX, ..Limits::default() };
        let config = server::Config { extensions, limits, lmtp: mood.lmtp, ..server::Config::default() };
        let (connection, out) = (server::Connection::new(config), Vec::new());
        let mut server = Self { connection, mood, next: 0, named: vec![], content: vec![], taken: vec![], out };
        server.send(Code::READY);
        server
    }

    fn send(&mut self, code: Code) {
        self.connection.send(&Reply::new(code, "so be it"), &mut self.out).unwrap();
    }

    fn decide(&mut self, yes: Code) -> bool {
        self.next += 1;
        let choice = self.mood.choices[self.next % self.mood.choices.len()];
        self.send(match choice {
            6 => Code::MAILBOX_TEMPORARILY_UNAVAILABLE,
            7 => Code::MAILBOX_UNAVAILABLE,
            _ => yes,
        });
        choice < 6
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Content(piece) => self.content.extend_from_slice(piece),
            Event::Chunk(_) => {}
            Event::ChunkEnd(_) => drop(self.decide(Code::OK)),
            Event::ContentEnd(end) => {
                assert_eq!(end.fault, None);
                self.end();
            }
            Event::Command(Command::Ehlo(_) | Command::Lhlo(_)) => {
                self.connection.send_hello("server.example", &mut self.out).unwrap();
            }
            Event::Command(Command::Mail { .. }) => {
                self.named.clear();
                self.content.clear();
                self.decide(Code::OK);
            }
            Event::Command(Command::Rcpt { to, .. }) => {
                if self.decide(Code::OK) {
                    self.named.push(to.to_string());
                }
            }
            Event::Command(Command::Data) => drop(self.decide(Code::START_MAIL_INPUT)),
            Event::Command(_) => self.send(Code::OK),
            Event::Rejected(error) => self.connection.send(&error.reply(), &mut self.out).unwrap(),
            Event::Sasl(_) => unreachable!(),
        }
    }

    fn end(&mut self) {
        let (message, named) = (std::mem::take(&mut self.content), std::mem::take(&mut self.named));
        let mut taken = Vec::new();
        if self.mood.lmtp {
            taken = named.into_iter().filter(|_| self.decide(Code::OK)).collect();
        } else if self.mood.prdr && self.next.is_multiple_of(2) && self.said_prdr() {
            taken = named.into_iter().filter(|_| self.decide(Code::OK)).collect();
            if !self.decide(Code::OK) {
                taken.clear();
            }
        } else if self.decide(Code::OK) {
            taken = named;
        }
        if !taken.is_empty() {
            self.taken.push((message, taken));
        }
    }

    fn said_prdr(&mut self) -> bool {
        self.connection.send(&Reply::new(Code::PER_RECIPIENT, "each"), &mut self.out).is_ok()
    }
}

fn mood() -> impl Strategy<Value = Mood> {
    let choices = prop_oneof![
        2 => proptest::collection::vec(0..8_u8, 1..12),
        1 => proptest::collection::vec(0..6_u8, 1..4),
    ];
    (any::<[bool; 5]>(), 1..8_usize, choices).prop_map(
        |([lmtp, pipelining, chunking, prdr, listed_limit], limit, choices)| Mood {
            lmtp,
            pipelining,
            chunking,
            prdr,
            listed_limit,
            limit,
            choices,
        },
    )
}

proptest! {
    #[test]
    fn each_recipient_that_was_told_so_has_the_message_once_and_nobody_else(
        mood in mood(),
        count in 0..12_usize,
        chunks: bool,
        piece in 1..60_usize,
        read in 1..200_usize,
    ) {
        let paths = paths(count);
        let recipients = recipients(&paths);
        let list = if mood.prdr { ParameterList::new().prdr() } else { ParameterList::new() };
        let envelope = Envelope { from: ReversePath::Null, parameters: list.as_parameters(), recipients: &recipients };
        let lmtp = mood.lmtp;
        let mut server = Minded::new(mood);
        let mut connection = Connection::new(client::Config { lmtp, ..client::Config::default() });
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        let mut transfer: Option<Transfer<'_>> = None;
        let mut turns = 0;
        loop {
            turns += 1;
            prop_assert!(turns < 10_000, "no end");
            loop {
                let consumed = match server.connection.receive(&to_server).unwrap() {
                    Step::Event { consumed, event } => {
                        server.event(&event);
                        consumed
                    }
                    Step::Skip { consumed } => consumed,
                    Step::NeedInput | Step::Paused => break,
                };
                to_server.drain(..consumed);
            }
            let len = server.out.len().min(read);
            to_client.extend(server.out.drain(..len));
            if let Step::Event { consumed, event } = connection.receive(&to_client).unwrap() {
                match (&mut transfer, event.subject) {
                    (Some(transfer), _) => transfer.heard(&event, &connection),
                    (None, client::Subject::Greeting) => {
                        let name = ClientName::new("c").unwrap();
                        let hello = if lmtp { Command::Lhlo(name) } else { Command::Ehlo(name) };
                        connection.send(&hello, &mut to_server).unwrap();
                    }
                    (None, _) => {
                        let carrier = if chunks { Carrier::Chunks } else { Carrier::Automatic };
                        transfer = Some(Transfer::new(envelope, connection.offered()).unwrap().carried_by(carrier));
                    }
                }
                to_client.drain(..consumed);
                continue;
            }
            let Some(transfer) = &mut transfer else { continue };
            match transfer.speak(&mut connection, &mut to_server).unwrap() {
                Next::Content { at } => {
                    let rest = &MESSAGE[usize::try_from(at).unwrap()..];
                    let piece = &rest[..rest.len().min(piece)];
                    transfer.content(&mut connection, piece, piece.len() == rest.len(), &mut to_server).unwrap();
                }
                Next::Over => break,
                Next::Wait => prop_assert!(!to_server.is_empty() || !server.out.is_empty() || !to_client.is_empty(), "both wait"),
            }
        }
        let mut taken: Vec<String> = server.taken.iter().flat_map(|(_, named)| named.clone()).collect();
        prop_assert!(server.taken.iter().all(|(message, _)| message == MESSAGE));
        let transfer = transfer.unwrap();
        let told = paths.iter().zip(transfer.outcomes()).filter(|(_, outcome)| matches!(outcome, Outcome::Taken(_)));
        let mut told: Vec<String> = told.map(|(path, _)| path.clone()).collect();
        taken.sort();
        told.sort();
        prop_assert_eq!(taken, told);
        prop_assert!(!transfer.outcomes().contains(&Outcome::Pending));
    }
}
