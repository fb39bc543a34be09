//! Our client and our server talk to each other, through a network that delivers pieces of any size.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use postrider_smtp_proto::client::Subject;
use postrider_smtp_proto::{
    Argument, Capability, ClientName, Code, Command, ForwardPath, LineEndings, Mailbox, Mechanism, Misuse, Parameters,
    Path, Postmaster, Reply, ReversePath, SaslLine, Secret, State, Step, Stray, Text, Verb, WireSize, client, server,
};
use proptest::prelude::*;

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

/// Octets on their way, and the receiver's buffer.
#[derive(Default)]
struct Wire {
    sent: Vec<u8>,
    buffer: Vec<u8>,
}

impl Wire {
    /// The next piece arrives; whether there was one.
    fn arrive(&mut self, size: usize) -> bool {
        let size = size.min(self.sent.len());
        self.buffer.extend(self.sent.drain(..size));
        size > 0
    }
}

/// A network and a program: octets per delivery, octets of a message that the client hands over at once.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    delivery: usize,
    piece: usize,
    pipelining: bool,
    lmtp: bool,
    line_endings: LineEndings,
}

const WHOLE: Sizes = Sizes {
    delivery: usize::MAX,
    piece: usize::MAX,
    pipelining: true,
    lmtp: false,
    line_endings: LineEndings::Normalise,
};

struct Pair<'m> {
    /// What the client sends next.
    mail: std::slice::Iter<'m, Vec<u8>>,
    sizes: Sizes,
    server: server::Connection,
    client: client::Connection,
    to_server: Wire,
    to_client: Wire,
    /// Replies as the server sent and as the client heard them.
    said: Vec<String>,
    heard: Vec<String>,
    subjects: Vec<Subject>,
    /// Commands as the client sent and as the server heard them.
    asked: Vec<String>,
    understood: Vec<String>,
    taken: Vec<Vec<u8>>,
    incoming: Vec<u8>,
    ends: Vec<server::ContentEnd>,
}

impl<'m> Pair<'m> {
    fn new(mail: &'m [Vec<u8>], sizes: Sizes) -> Self {
        let mut extensions = everything();
        extensions.pipelining = sizes.pipelining;
        let (lmtp, line_endings) = (sizes.lmtp, sizes.line_endings);
        let config = server::Config { extensions, lmtp, line_endings, ..server::Config::default() };
        let client = client::Config { lmtp, line_endings, ..client::Config::default() };
        let mut pair = Self {
            mail: mail.iter(),
            sizes,
            server: server::Connection::new(config),
            client: client::Connection::new(client),
            to_server: Wire::default(),
            to_client: Wire::default(),
            said: Vec::new(),
            heard: Vec::new(),
            subjects: Vec::new(),
            asked: Vec::new(),
            understood: Vec::new(),
            taken: Vec::new(),
            incoming: Vec::new(),
            ends: Vec::new(),
        };
        pair.reply(&Reply::new(Code::READY, "ready"));
        pair.exchange();
        pair.say(&[hello(lmtp)]);
        assert_eq!(pair.client.offered().pipelining, sizes.pipelining);
        pair
    }

    fn reply(&mut self, reply: &Reply<'_>) {
        let start = self.to_client.sent.len();
        self.server.send(reply, &mut self.to_client.sent).unwrap();
        self.note_said(start);
    }

    /// What came out, read once more.
    fn note_said(&mut self, start: usize) {
        self.said.push(Reply::parse(&self.to_client.sent[start..]).unwrap().to_string());
    }

    /// Says each command as soon as it may be said, and goes on until all are answered.
    fn say(&mut self, commands: &[Command<'_>]) {
        for command in commands {
            let mut result = self.client.send(command, &mut self.to_server.sent);
            if matches!(
                result,
                Err(Misuse::AwaitingReply { .. } | Misuse::QueueFull { .. } | Misuse::OutOfPlace { .. })
            ) {
                self.exchange();
                result = self.client.send(command, &mut self.to_server.sent);
            }
            assert_eq!(result, Ok(()), "{command:?}");
            self.asked.push(format!("{command:?}"));
            // What follows a message may go out with it.
            self.step_until_the_message_is_sent(command.verb());
        }
        self.exchange();
    }

    fn step_until_the_message_is_sent(&mut self, verb: Verb) {
        while verb == Verb::Data && self.step() && !self.send_message() {}
    }

    /// Delivers until nothing is on its way.
    fn exchange(&mut self) {
        while self.step() | self.send_message() {}
    }

    /// Delivers a piece each way; whether anything moved.
    fn step(&mut self) -> bool {
        let moved = self.to_server.arrive(self.sizes.delivery) | self.to_client.arrive(self.sizes.delivery);
        self.serve();
        self.hear();
        moved || !self.to_server.sent.is_empty() || !self.to_client.sent.is_empty()
    }

    fn send_message(&mut self) -> bool {
        if !self.client.wants_content() {
            return false;
        }
        let message = self.mail.next().unwrap();
        for piece in message.chunks(self.sizes.piece) {
            self.client.content(piece, &mut self.to_server.sent).unwrap();
        }
        self.client.end_of_content(&mut self.to_server.sent).unwrap();
        true
    }

    fn serve(&mut self) {
        loop {
            let buffer = std::mem::take(&mut self.to_server.buffer);
            let consumed = match self.server.receive(&buffer).unwrap() {
                Step::Event { consumed, event: server::Event::Content(content) } => {
                    self.incoming.extend_from_slice(content);
                    Some(consumed)
                }
                Step::Event { consumed, event } => {
                    self.answer(&event);
                    Some(consumed)
                }
                Step::Skip { consumed } => Some(consumed),
                Step::NeedInput | Step::Paused => None,
            };
            self.to_server.buffer = buffer;
            let Some(consumed) = consumed else { return };
            self.to_server.buffer.drain(..consumed);
        }
    }

    /// A server's program: takes mail for everybody but those named `nobody`, and logins with the word `last`.
    fn answer(&mut self, event: &server::Event<'_>) {
        if let server::Event::Command(command) = event {
            self.understood.push(format!("{command:?}"));
        }
        let reply = match event {
            server::Event::Rejected(error) => error.reply(),
            server::Event::Command(Command::Ehlo(_) | Command::Lhlo(_) | Command::Helo(_)) => {
                let start = self.to_client.sent.len();
                self.server.send_hello("mail.example", &mut self.to_client.sent).unwrap();
                return self.note_said(start);
            }
            server::Event::Command(Command::Rcpt { to, .. }) if to.to_string().contains("nobody") => {
                Reply::new(Code::MAILBOX_UNAVAILABLE, "no such user").with_enhanced(5, 1, 1)
            }
            server::Event::Command(Command::Data) => Reply::new(Code::START_MAIL_INPUT, "go on"),
            server::Event::Command(Command::StartTls) => Reply::new(Code::READY, "go ahead").with_enhanced(2, 0, 0),
            server::Event::Command(Command::Quit) => Reply::new(Code::CLOSING, "bye").with_enhanced(2, 0, 0),
            server::Event::Command(Command::Auth { initial: None, .. }) => Reply::challenge_of(b""),
            server::Event::Command(Command::Auth { initial: Some(secret), .. }) => Reply::challenge_of(secret.expose()),
            server::Event::Sasl(SaslLine::Cancel) => Reply::new(Code::ARGUMENT_ERROR, "cancelled"),
            server::Event::Sasl(SaslLine::Response(secret)) if secret.expose() == b"last" => {
                Reply::new(Code::AUTHENTICATED, "in").with_enhanced(2, 7, 0)
            }
            server::Event::Sasl(SaslLine::Response(secret)) => Reply::challenge_of(secret.expose()),
            server::Event::Command(Command::Vrfy(_)) => {
                Reply::lines_of(Code::CANNOT_VERIFY, vec![Text::lossy("perhaps"), Text::lossy("not")])
                    .with_enhanced(2, 1, 5)
            }
            server::Event::ContentEnd(end) => {
                self.ends.push(*end);
                self.taken.push(std::mem::take(&mut self.incoming));
                return self.answer_message(end);
            }
            _ => Reply::new(Code::OK, "ok").with_enhanced(2, 0, 0),
        };
        self.reply(&reply);
    }

    fn answer_message(&mut self, end: &server::ContentEnd) {
        for nth in 0.. {
            let text = format!("message {} for recipient {nth}", self.taken.len());
            match end.fault {
                Some(fault) => self.reply(&fault.reply()),
                None => self.reply(&Reply::new(Code::OK, &text).with_enhanced(2, 0, 0)),
            }
            if self.server.receive(b"") != Ok(Step::Paused) {
                return;
            }
        }
    }

    fn hear(&mut self) {
        loop {
            let consumed = match self.client.receive(&self.to_client.buffer).unwrap() {
                Step::Event { consumed, event } => {
                    self.heard.push(event.reply.to_string());
                    self.subjects.push(event.subject);
                    consumed
                }
                Step::Skip { consumed } => consumed,
                Step::NeedInput | Step::Paused => return,
            };
            self.to_client.buffer.drain(..consumed);
        }
    }

    fn assert_understood(&self) {
        assert_eq!(self.heard, self.said);
        assert_eq!(self.understood, self.asked);
    }
}

fn hello(lmtp: bool) -> Command<'static> {
    let name = ClientName::new("client.example").unwrap();
    if lmtp { Command::Lhlo(name) } else { Command::Ehlo(name) }
}

fn mail() -> Command<'static> {
    Command::Mail { from: ReversePath::Null, parameters: Parameters::NONE }
}

fn rcpt(to: &'static str) -> Command<'static> {
    Command::Rcpt { to: ForwardPath::Path(Path::new(Mailbox::new(to).unwrap())), parameters: Parameters::NONE }
}

/// A group: a transaction that is given up, and one with a message.
fn transactions() -> Vec<Command<'static>> {
    let from = ReversePath::Path(Path::new(Mailbox::new("\"a b\"@[192.0.2.1]").unwrap()));
    let parameters = Parameters::new("SIZE=1000 BODY=8BITMIME X-FROM").unwrap();
    vec![
        mail(),
        rcpt("a@b"),
        Command::Rset,
        Command::Mail { from, parameters },
        rcpt("a@b"),
        rcpt("nobody@b"),
        rcpt("a@b"),
        Command::Rcpt {
            to: ForwardPath::Postmaster(Postmaster::new("PostMaster").unwrap()),
            parameters: Parameters::new("X-TO=1").unwrap(),
        },
        Command::Data,
    ]
}

fn others() -> Vec<Command<'static>> {
    vec![
        Command::Noop(None),
        Command::Noop(Argument::new("any thing").ok()),
        Command::Vrfy(Argument::new("\"Joe Smith\"").unwrap()),
        Command::Expn(Argument::new("list").unwrap()),
        Command::Help(None),
        Command::Help(Argument::new("MAIL").ok()),
        Command::Rset,
    ]
}

fn messages() -> Vec<Vec<u8>> {
    vec![
        b"Subject: one\n\n.\n..\nno end".to_vec(),
        b"Subject: two\r\n\r\n1\r\n2\r\n3\r\n".to_vec(),
        Vec::new(),
        b"\r\n.\r\nMAIL FROM:<>\r\n".to_vec(),
    ]
}

/// What a receiver must get of a message, octet by octet: each stray CR or LF as CRLF, and a CRLF at the end.
fn normalised(content: &[u8]) -> Vec<u8> {
    let mut wire: Vec<u8> = Vec::new();
    let mut octets = content.iter().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' => {
                octets.next_if_eq(&&b'\n');
                wire.extend_from_slice(b"\r\n");
            }
            b'\n' => wire.extend_from_slice(b"\r\n"),
            octet => wire.push(*octet),
        }
    }
    if !wire.is_empty() && !wire.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

#[test]
fn a_whole_session_is_heard_as_it_was_said_at_any_size_of_delivery() {
    for delivery in (1..40).chain([100, 1000, 100_000]) {
        for (pipelining, lmtp) in [(false, false), (true, false), (false, true), (true, true)] {
            let messages = messages();
            let mut pair = Pair::new(&messages, Sizes { delivery, piece: delivery, pipelining, lmtp, ..WHOLE });
            for _ in &messages {
                pair.say(&transactions());
                pair.say(&others());
            }
            pair.say(&[Command::Quit]);
            assert!(pair.client.is_closed() && pair.server.is_closed());
            pair.assert_understood();
            let expected: Vec<_> = messages.iter().map(|message| normalised(message)).collect();
            assert_eq!(pair.taken, expected, "in pieces of {delivery}");
            let replies = if lmtp { 3 } else { 1 };
            assert_eq!(pair.heard.len(), 2 + messages.len() * (9 + replies + 7) + 1);
        }
    }
}

/// RFC 2920 section 3.1: the next transaction may go out together with the message before it.
#[test]
fn transactions_follow_each_other_without_a_pause() {
    for lmtp in [false, true] {
        let messages = messages();
        let mut pair = Pair::new(&messages, Sizes { lmtp, ..WHOLE });
        let commands: Vec<_> = (0..messages.len()).flat_map(|_| transactions()).chain([Command::Quit]).collect();
        pair.say(&commands);
        assert!(pair.client.is_closed());
        pair.assert_understood();
        assert_eq!(pair.taken.len(), messages.len());
    }
}

#[test]
fn a_group_of_commands_goes_out_at_once_and_comes_back_in_order() {
    let mut pair = Pair::new(&[], WHOLE);
    let mut expected = Vec::new();
    for command in &transactions() {
        pair.client.send(command, &mut pair.to_server.sent).unwrap();
        command.encode(&mut expected);
        pair.asked.push(format!("{command:?}"));
    }
    assert_eq!(pair.to_server.sent, expected);
    pair.step();
    // The server owes nothing, and has said all of it in one go.
    assert!(pair.to_client.sent.ends_with(b"354 go on\r\n"));
    pair.to_client.arrive(usize::MAX);
    pair.hear();
    pair.assert_understood();
    let recipients: Vec<_> =
        pair.subjects.iter().filter(|subject| matches!(subject, Subject::Recipient(_))).copied().collect();
    assert_eq!(recipients, [0, 0, 1, 2, 3].map(Subject::Recipient), "counted anew for each MAIL");
    assert!(pair.client.wants_content() && pair.client.accepted() == 3);
}

/// RFC 2033 section 4.2: one reply for each recipient that was accepted, in their order, the same one twice too.
#[test]
fn each_reply_of_lmtp_is_told_for_its_recipient() {
    for delivery in [1, 3, 1000] {
        let messages = messages();
        let mut pair = Pair::new(&messages, Sizes { lmtp: true, delivery, ..WHOLE });
        pair.say(&transactions());
        let told: Vec<_> =
            pair.subjects.iter().filter(|subject| matches!(subject, Subject::ContentFor(_))).copied().collect();
        assert_eq!(told, [0, 2, 3].map(Subject::ContentFor));
        assert_eq!((pair.client.accepted(), pair.client.state(), pair.server.state()), (0, State::Ready, State::Ready));
    }
}

#[test]
fn nobody_left_to_write_to_is_told_by_the_reply_to_data() {
    for (lmtp, pipelining) in [(false, false), (false, true), (true, false), (true, true)] {
        let messages = messages();
        let mut pair = Pair::new(&messages, Sizes { lmtp, pipelining, ..WHOLE });
        let count = pair.said.len();
        if pipelining {
            for command in [mail(), rcpt("nobody@b"), Command::Data] {
                pair.client.send(&command, &mut pair.to_server.sent).unwrap();
            }
        } else {
            pair.say(&[mail(), rcpt("nobody@b")]);
            // Known not to belong here, it is not even sent.
            assert!(matches!(
                pair.client.send(&Command::Data, &mut pair.to_server.sent),
                Err(Misuse::OutOfPlace { verb: Verb::Data, .. })
            ));
        }
        pair.exchange();
        let codes: Vec<_> = pair.heard[count..].iter().map(|reply| &reply[..3]).collect();
        assert_eq!(codes, &["250", "550", "503"][..codes.len()]);
        assert_eq!((codes.len(), pair.client.wants_content()), (if pipelining { 3 } else { 2 }, false));
        pair.asked.clear();
        pair.understood.clear();
        pair.say(&[rcpt("a@b"), Command::Data]);
        pair.assert_understood();
        assert_eq!(pair.taken.len(), 1, "the transaction was still there");
    }
}

/// RFC 2920 section 3.1: the client ends the message at once, and is told of it.
#[test]
fn a_client_that_is_let_send_to_nobody_sends_a_single_dot() {
    for lmtp in [false, true] {
        let mut pair = Pair::new(&[], Sizes { lmtp, ..WHOLE });
        let mut out = Vec::new();
        for command in [mail(), rcpt("nobody@b"), Command::Data] {
            pair.client.send(&command, &mut out).unwrap();
        }
        let mut input = &b"250 ok\r\n550 no\r\n354 go on\r\n"[..];
        while let Step::Event { consumed, .. } = pair.client.receive(input).unwrap() {
            input = &input[consumed..];
        }
        assert!(pair.client.wants_content() && pair.client.accepted() == 0);
        out.clear();
        pair.client.end_of_content(&mut out).unwrap();
        pair.client.send(&Command::Quit, &mut out).unwrap();
        assert_eq!(out, b".\r\nQUIT\r\n");
        // LMTP owes no reply to nobody.
        if !lmtp {
            let step = pair.client.receive(b"554 nobody\r\n").unwrap();
            assert!(matches!(step, Step::Event { event: client::Event { subject: Subject::Content, .. }, .. }));
        }
        assert!(matches!(pair.client.receive(b"221 bye\r\n"), Ok(Step::Event { .. })));
        assert!(pair.client.is_closed());
    }
}

/// `Subject::Recipient` counts from 0 in each transaction, and `accepted` those of the present one.
#[test]
fn a_transaction_that_does_not_begin_has_no_recipients_of_the_last_one() {
    let messages = messages();
    let mut pair = Pair::new(&messages, WHOLE);
    pair.say(&[mail(), rcpt("a@b"), rcpt("b@b"), Command::Data]);
    assert_eq!(pair.client.state(), State::Ready);
    for command in [mail(), rcpt("c@b"), Command::Data] {
        pair.client.send(&command, &mut Vec::new()).unwrap();
    }
    let mut input = &b"451 not now\r\n503 MAIL first\r\n503 MAIL first\r\n"[..];
    let mut subjects = Vec::new();
    while let Step::Event { consumed, event } = pair.client.receive(input).unwrap() {
        subjects.push(event.subject);
        input = &input[consumed..];
    }
    let expected = [Subject::Command(Verb::Mail), Subject::Recipient(0), Subject::Command(Verb::Data)];
    assert_eq!(subjects, expected);
    pair.say(&[mail(), rcpt("a@b"), Command::Rset]);
    assert_eq!(pair.client.accepted(), 0, "RSET forgets them");
}

/// In LMTP each reply takes one away; in SMTP the one reply is for all.
#[test]

fn a_message_that_was_answered_leaves_no_recipients() {
    for lmtp in [false, true] {
        let messages = messages();
        let mut pair = Pair::new(&messages, Sizes { lmtp, ..WHOLE });
        pair.say(&[mail(), rcpt("a@b"), rcpt("b@b"), Command::Data]);
        assert_eq!((pair.client.state(), pair.client.accepted()), (State::Ready, 0), "lmtp: {lmtp}");
    }
}

#[test]
fn pipelining_begins_when_the_server_lists_it_and_ends_with_helo() {
    let mut pair = Pair::new(&[], WHOLE);
    let send = |pair: &mut Pair<'_>, command: Command<'_>| pair.client.send(&command, &mut pair.to_server.sent);
    send(&mut pair, mail()).unwrap();
    send(&mut pair, Command::Rset).unwrap();
    pair.exchange();
    send(&mut pair, Command::Helo(ClientName::new("c").unwrap())).unwrap();
    pair.exchange();
    assert!(!pair.client.offered().pipelining);
    send(&mut pair, mail()).unwrap();
    assert!(matches!(send(&mut pair, Command::Rset), Err(Misuse::AwaitingReply { verb: Verb::Mail })));
    pair.exchange();
    send(&mut pair, hello(false)).unwrap();
    assert!(matches!(send(&mut pair, mail()), Err(Misuse::AwaitingReply { verb: Verb::Ehlo })));
    pair.exchange();
    assert!(pair.client.offered().pipelining && !pair.client.is_waiting());
}

#[test]
fn tls_makes_both_sides_forget_what_was_known() {
    let messages = messages();
    let mut pair = Pair::new(&messages, WHOLE);
    pair.say(&[Command::StartTls]);
    assert!(pair.client.wants_tls() && pair.server.wants_tls());
    pair.server.secured(&pair.to_server.buffer).unwrap();
    pair.client.secured(&pair.to_client.buffer).unwrap();
    assert!(!pair.client.offered().pipelining && pair.server.is_secured());
    assert_eq!((pair.client.state(), pair.server.state()), (State::Nameless, State::Nameless));
    assert!(matches!(pair.client.send(&mail(), &mut Vec::new()), Err(Misuse::OutOfPlace { .. })));
    assert!(matches!(pair.client.send(&Command::StartTls, &mut Vec::new()), Err(Misuse::OutOfPlace { .. })));
    pair.say(&[hello(false)]);
    let listed = pair.heard.last().unwrap();
    assert!(listed.contains("AUTH PLAIN") && !listed.contains("STARTTLS"), "{listed}");
    pair.say(&transactions());
    pair.say(&[Command::Quit]);
    pair.assert_understood();
}

#[test]
fn a_mechanism_of_many_steps_passes_its_octets_unchanged_both_ways() {
    let mut challenges = Vec::new();
    let mut pair = Pair::new(&[], WHOLE);
    let auth =
        Command::Auth { mechanism: Mechanism::SCRAM_SHA_256, initial: Some(Secret::from(b"n,,n=user".to_vec())) };
    pair.client.send(&auth, &mut pair.to_server.sent).unwrap();
    let long: Vec<u8> = (0..=255).cycle().take(2000).collect();
    let steps: [&[u8]; 4] = [b"", &[0, 1, 2, 255], &long[..1000], b"last"];
    let mut steps = steps.into_iter();
    while pair.client.is_waiting() {
        pair.to_server.arrive(usize::MAX);
        pair.serve();
        pair.to_client.arrive(usize::MAX);
        let Step::Event { consumed, event } = pair.client.receive(&pair.to_client.buffer).unwrap() else { panic!() };
        if event.reply.code() == Code::CHALLENGE {
            challenges.push(event.reply.challenge().unwrap().expose().to_vec());
            let line = SaslLine::Response(Secret::from(steps.next().unwrap().to_vec()));
            pair.client.respond(&line, &mut pair.to_server.sent).unwrap();
        }
        pair.to_client.buffer.drain(..consumed);
    }
    let expected: [&[u8]; 4] = [b"n,,n=user", b"", &[0, 1, 2, 255], &long[..1000]];
    assert_eq!(challenges, expected);
    assert!(pair.server.is_authenticated());
    assert!(matches!(pair.client.send(&auth, &mut Vec::new()), Err(Misuse::OutOfPlace { .. })));
}

#[test]
fn a_cancelled_login_leaves_both_sides_as_they_were() {
    let messages = messages();
    let mut pair = Pair::new(&messages, WHOLE);
    pair.say(&[Command::Auth { mechanism: Mechanism::PLAIN, initial: None }]);
    assert!(pair.client.is_waiting());
    pair.client.respond(&SaslLine::Cancel, &mut pair.to_server.sent).unwrap();
    pair.exchange();
    assert!(pair.heard.last().unwrap().starts_with("501") && !pair.server.is_authenticated());
    pair.say(&transactions());
    assert_eq!(pair.taken.len(), 1);
    pair.assert_understood();
}

#[test]
fn a_server_that_stops_is_heard_between_commands() {
    let mut pair = Pair::new(&[], WHOLE);
    pair.server.close("shutting down", &mut pair.to_client.sent).unwrap();
    assert_eq!(pair.to_client.sent, b"421 4.3.2 shutting down\r\n");
    pair.exchange();
    assert_eq!(pair.subjects.last(), Some(&Subject::Closing));
    assert!(pair.client.is_closed() && pair.server.is_closed());
}

#[test]
fn what_is_noted_of_a_message_does_not_change_it() {
    let message = vec![b"one\rtwo\r\n.\r\n\r".to_vec()];
    for delivery in 1..30 {
        let mut pair = Pair::new(&message, Sizes { line_endings: LineEndings::Note, delivery, ..WHOLE });
        pair.say(&[mail(), rcpt("a@b"), Command::Data]);
        assert_eq!(pair.taken, [b"one\rtwo\r\n.\r\n\r\r\n"]);
        assert_eq!(pair.ends[0].noted, Some((3, Stray::Cr)));
    }
}

/// What EHLO lists is what was offered, and the client reads it so.
#[test]
fn the_capabilities_a_client_reads_are_those_the_server_offers() {
    let mut connection =
        server::Connection::new(server::Config { extensions: everything(), ..server::Config::default() });
    let mut out = Vec::new();
    connection.send(&Reply::new(Code::READY, ""), &mut out).unwrap();
    assert!(matches!(connection.receive(b"EHLO c\r\n"), Ok(Step::Event { .. })));
    out.clear();
    connection.send_hello("mail.example", &mut out).unwrap();
    let reply = Reply::parse(&out).unwrap();
    let capabilities: Vec<_> = reply.capabilities().collect();
    for capability in [
        Capability::Pipelining,
        Capability::EightBitMime,
        Capability::SmtpUtf8,
        Capability::EnhancedStatusCodes,
        Capability::StartTls,
        Capability::Help,
        Capability::Size(Some(50 * 1024 * 1024)),
        Capability::Expn,
        Capability::Other { keyword: b"X-OWN", parameters: Some(b"one two") },
    ] {
        assert!(capabilities.contains(&capability), "{capability:?} in {capabilities:?}");
    }
    let mechanisms = capabilities.iter().find_map(|capability| match capability {
        Capability::Auth(mechanisms) => Some(mechanisms.iter().collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(mechanisms.unwrap(), everything().auth);
    assert_eq!((capabilities.len(), reply.enhanced()), (30, None));
}

/// Messages made of what can go wrong: dots, CR and LF in any order, line ends split between pieces.
fn stored() -> impl Strategy<Value = Vec<u8>> {
    let octets = proptest::collection::vec(any::<u8>(), 0..4);
    let marks: [&[u8]; 9] = [b"\r", b"\n", b"\r\n", b".", b"..", b"\r\n.\r\n", b"\n.\n", b"a", b"\r\r\n"];
    let part = prop_oneof![4 => prop::sample::select(marks.to_vec()).prop_map(<[u8]>::to_vec), 1 => octets];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (1..60_usize, 1..60_usize, any::<bool>(), any::<bool>()).prop_map(|(delivery, piece, pipelining, lmtp)| Sizes {
        delivery,
        piece,
        pipelining,
        lmtp,
        line_endings: LineEndings::Normalise,
    })
}

proptest! {
    #[test]
    fn a_message_arrives_as_it_was_stored(message in stored(), sizes in sizes()) {
        let messages = [message];
        let mut pair = Pair::new(&messages, sizes);
        pair.say(&transactions());
        pair.say(&[Command::Quit]);
        let received = &pair.taken[0];
        prop_assert_eq!(received, &normalised(&messages[0]));
        prop_assert_eq!(received.len() as u64, pair.ends[0].size);
        prop_assert_eq!(&pair.heard, &pair.said);
        prop_assert!(pair.client.is_closed());
    }

    /// RFC 1870 section 5 counts what RFC 5321 sends, without the dots.
    #[test]
    fn a_message_has_the_size_that_was_to_be_declared(message in stored(), sizes in sizes()) {
        let messages = [message.into_iter().filter(|octet| *octet != b'\r').collect::<Vec<_>>()];
        let mut pair = Pair::new(&messages, Sizes { line_endings: LineEndings::Note, ..sizes });
        pair.say(&[mail(), rcpt("a@b"), Command::Data]);
        let mut size = WireSize::new();
        size.add(&messages[0]);
        prop_assert_eq!(size.finish(), pair.ends[0].size);
        prop_assert_eq!(pair.ends[0].noted, None);
    }

    #[test]
    fn commands_in_any_order_are_answered_in_that_order(
        messages in proptest::collection::vec(stored(), 30),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
        sizes in sizes(),
    ) {
        let mut groups: Vec<Vec<Command<'_>>> = others().into_iter().map(|command| vec![command]).collect();
        groups.extend([transactions(), vec![mail(), rcpt("a@b"), Command::Data], vec![hello(sizes.lmtp)], vec![]]);
        groups.push(vec![mail(), rcpt("nobody@b"), Command::Rset]);
        let mut pair = Pair::new(&messages, sizes);
        let commands: Vec<_> = order.iter().flat_map(|at| at.get(&groups).clone()).collect();
        pair.say(&commands);
        pair.say(&[Command::Quit]);
        pair.assert_understood();
        prop_assert!(pair.client.is_closed() && pair.server.is_closed());
    }
}
