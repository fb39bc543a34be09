//! The order of commands, against a model written from RFC 5321 section 4.1.4, RFC 3207 section 4, RFC 4954 section 4, RFC 3030 section 2,
//! RFC 4468 section 3.2, RFC 1985 section 5, RFC 2645 section 5 and Postfix's XCLIENT_README alone.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use postrider_smtp_proto::{Code, Command, Limits, Reply, State, Step, client, server};
use proptest::prelude::*;

#[path = "support/everything.rs"]
mod everything;
use everything::everything;
#[path = "support/extended.rs"]
mod extended;
use extended::extended;

/// What the documents have a server remember.
#[derive(Clone, Debug, Default)]
struct Model {
    /// The client has said its name with HELO (`false`) or EHLO.
    hello: Option<bool>,
    tls: bool,
    login: bool,
    /// The reverse path is known.
    mail: bool,
    recipients: usize,
    /// A part of the message has come.
    parts: bool,
    /// A part was refused: a client has to reset before it goes on.
    failed: bool,
    /// The roles are reversed.
    turned: bool,
    closed: bool,
}

/// What the program decides.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Granted,
    Refused,
    /// 354, and the message is refused; as good as refused where there is none.
    RefusedAtTheEnd,
}

/// What `BDAT` carries here.
const CHUNK: &[u8] = b"RSET\r\n";

const LINES: [&str; 24] = [
    "EHLO c",
    "HELO c",
    "MAIL FROM:<>",
    "RCPT TO:<a@b>",
    "DATA",
    "BDAT 6",
    "BDAT 6 LAST",
    "BURL imap:x",
    "BURL imap:x LAST",
    "RSET",
    "NOOP",
    "VRFY a",
    "EXPN a",
    "HELP",
    "STARTTLS",
    "AUTH PLAIN =",
    "ETRN a.example",
    "ATRN a.example",
    "XCLIENT NAME=a",
    "XFORWARD NAME=a",
    "VERB",
    "XYZZY",
    "LHLO c",
    "QUIT",
];

impl Model {
    /// The codes a command may be refused with where it stands; none where it is the program's to decide.
    fn refusals(&self, verb: &str) -> &'static [u16] {
        let named = self.hello.is_some();
        match verb {
            // "MUST first be initialized", "503 failure reply MUST be returned"
            "MAIL" if !named || self.mail => &[503],
            "RCPT" if !self.mail => &[503],
            "DATA" | "BDAT" | "BURL" if !self.mail => &[503],
            // "If there was no RCPT command, or all were rejected, the server MAY return 503 or 554": section 3.3.
            "DATA" | "BDAT" | "BURL" if self.recipients == 0 => &[503, 554],
            // "DATA and BDAT commands cannot be used in the same transaction", and the recipients come before the message.
            "DATA" | "RCPT" if self.parts => &[503],
            // An extension is there for those who asked for it.
            "BDAT" | "BURL" if self.hello != Some(true) => &[500, 502],
            // "this command is illegal between a MAIL FROM: command and the end of the DATA commands"
            "ETRN" | "XCLIENT" | "XFORWARD" if self.mail => &[503],
            "ETRN" | "ATRN" | "XCLIENT" | "XFORWARD" if self.hello != Some(true) => &[500, 502, 503],
            // "MUST be rejected if the session has not been authenticated. Response code 530"
            "ATRN" if self.mail && !self.login => &[503, 530],
            "ATRN" if self.mail => &[503],
            "ATRN" if !self.login => &[530],
            // "500 Syntax error, command unrecognized"
            "XYZZY" => &[500],
            // "MUST reject any further AUTH commands with a 503 reply", "not permitted during a mail transaction"
            "AUTH" if self.login || self.mail => &[503],
            // An extension is there for those who asked for it.
            "STARTTLS" | "AUTH" if self.hello != Some(true) => &[500, 502, 503],
            // "A client MUST NOT attempt to start a TLS session if a TLS session is already active."
            "STARTTLS" if self.tls => &[502, 503],
            "STARTTLS" if self.mail => &[503],
            // RFC 2033 has it, this is not that.
            "LHLO" => &[500, 502, 503],
            // "can be used at any time during a session, or without previously initializing a session"
            _ => &[],
        }
    }

    fn granted(&mut self, verb: &str) {
        match verb {
            "EHLO" | "HELO" => {
                self.hello = Some(verb == "EHLO");
                self.forget();
            }
            "MAIL" => (self.mail, self.recipients) = (true, 0),
            "RCPT" => self.recipients += 1,
            "RSET" => self.forget(),
            "STARTTLS" => *self = Self { tls: true, ..Self::default() },
            "AUTH" => self.login = true,
            "ATRN" => self.turned = true,
            // "resets state to the initial SMTP greeting protocol stage"
            "XCLIENT" => *self = Self { tls: self.tls, ..Self::default() },
            _ => {}
        }
        self.closed |= verb == "QUIT";
    }

    fn forget(&mut self) {
        (self.mail, self.recipients, self.parts, self.failed) = (false, 0, false, false);
    }

    /// A part of the message, or all that was left of it, was answered.
    fn part_answered(&mut self, last: bool, granted: bool) {
        if last || !granted {
            self.forget();
        }
        (self.parts, self.failed) = (granted && !last, !granted);
    }

    /// "A RSET command MUST be issued to clear the transaction before additional commands may be sent."
    fn client_waits_with(&self, verb: &str) -> bool {
        self.failed
            && !["RSET", "EHLO", "HELO", "NOOP", "VRFY", "EXPN", "HELP", "VERB", "XYZZY", "QUIT"].contains(&verb)
    }

    fn state(&self) -> State {
        match (self.closed, self.hello, self.mail, self.recipients) {
            (true, ..) => State::Closed,
            _ if self.turned => State::Turned,
            _ if self.parts => State::Chunks,
            (_, None, ..) => State::Nameless,
            (_, _, false, _) => State::Ready,
            (_, _, true, 0) => State::Mail,
            _ => State::Rcpt,
        }
    }
}

fn success(verb: &str) -> Code {
    match verb {
        "DATA" => Code::START_MAIL_INPUT,
        "STARTTLS" | "XCLIENT" => Code::READY,
        "AUTH" => Code::AUTHENTICATED,
        "QUIT" => Code::CLOSING,
        _ => Code::OK,
    }
}

/// Both roles, side by side.
struct Session {
    server: server::Connection,
    client: client::Connection,
    model: Model,
}

impl Session {
    fn new() -> Self {
        let mut limits = Limits::default();
        (limits.errors, limits.failed_logins) = (u32::MAX, u32::MAX);
        let config = server::Config { extensions: extended(), limits, ..server::Config::default() };
        let mut session = Self {
            server: server::Connection::new(config),
            client: client::Connection::new(client::Config::default()),
            model: Model::default(),
        };
        session.reply(&Reply::new(Code::READY, "ready"), true);
        session
    }

    fn reply(&mut self, reply: &Reply<'_>, heard: bool) {
        let mut out = Vec::new();
        self.server.send(reply, &mut out).unwrap();
        if heard {
            assert!(matches!(self.client.receive(&out), Ok(Step::Event { consumed, .. }) if consumed == out.len()));
        }
    }

    /// Says a line; the model says what has to become of it.
    fn say(&mut self, line: &str, verdict: Verdict) {
        let verb = line.split(' ').next().unwrap();
        if self.model.turned || self.model.closed {
            return;
        }
        if verb == "BDAT" {
            return self.say_chunk(line, verdict);
        }
        let command = Command::parse(line.as_bytes()).unwrap();
        let refusals = self.model.refusals(verb);
        let sent = self.client.send(&command, &mut Vec::new()).is_ok();
        if self.model.client_waits_with(verb) {
            assert!(!sent, "{line} after a refused part");
            return;
        }
        // Whether the server offers an extension, and to whom, is not the client's business here.
        let extension = ["STARTTLS", "AUTH", "BURL", "ETRN", "ATRN", "XCLIENT", "XFORWARD", "XYZZY"].contains(&verb);
        assert!(sent == refusals.is_empty() || sent && extension, "{line}: {:?}", self.model);
        let octets = format!("{line}\r\n");
        let Step::Event { event, .. } = self.server.receive(octets.as_bytes()).unwrap() else { panic!("{line}") };
        match event {
            server::Event::Rejected(error) => {
                let reply = error.reply();
                assert!(refusals.contains(&reply.code().as_u16()), "{line} in {:?}: {reply}", self.model);
                self.reply(&reply, sent);
                // What is left of the transaction is indeterminate: a client resets.
                self.model.failed |= sent && verb == "BURL";
            }
            server::Event::Command(heard) => {
                assert!(heard == command && refusals.is_empty(), "{line} in {:?}", self.model);
                self.decide(verb, line.ends_with(" LAST"), verdict);
            }
            event => panic!("{event:?}"),
        }
        self.compare();
    }

    /// Says `BDAT` with its octets, which are commands.
    fn say_chunk(&mut self, line: &str, verdict: Verdict) {
        let (last, mut out) = (line.ends_with(" LAST"), Vec::new());
        let refusals = self.model.refusals("BDAT");
        let said = self.client.chunk(CHUNK, last, &mut out);
        let octets = [line.as_bytes(), b"\r\n", CHUNK].concat();
        if !refusals.is_empty() || self.model.failed {
            assert!(said.is_err() && out.is_empty(), "{line} in {:?}", self.model);
            return self.refuse_chunk(&octets, refusals);
        }
        assert_eq!(
            (said, out.escape_ascii().to_string()),
            (Ok(()), octets.escape_ascii().to_string()),
            "{:?}",
            self.model
        );
        let (mut at, mut content) = (0, Vec::new());
        loop {
            let Step::Event { consumed, event } = self.server.receive(&octets[at..]).unwrap() else { panic!("{line}") };
            at += consumed;
            match event {
                server::Event::Chunk(chunk) => {
                    assert_eq!((chunk.first, chunk.last, chunk.size), (!self.model.parts, last, CHUNK.len() as u64));
                }
                server::Event::Content(piece) => content.extend_from_slice(piece),
                server::Event::ChunkEnd(_) if !last => break,
                server::Event::ContentEnd(_) if last => break,
                event => panic!("{event:?}"),
            }
        }
        assert_eq!((at, &content[..]), (octets.len(), CHUNK));
        let granted = verdict == Verdict::Granted;
        self.reply(&Reply::new(if granted { Code::OK } else { Code::INSUFFICIENT_STORAGE }, "so be it"), true);
        self.model.part_answered(last, granted);
        self.compare();
    }

    /// "MUST accept and discard the associated message data before sending the appropriate 5XX or 4XX code"; what is left of a transaction is
    /// indeterminate, so that none goes on.
    fn refuse_chunk(&self, octets: &[u8], refusals: &[u16]) {
        let (mut server, mut at) = (self.server.clone(), 0);
        let reply = loop {
            match server.receive(&octets[at..]).unwrap() {
                Step::Skip { consumed } => at += consumed,
                Step::Event { consumed: 0, event: server::Event::Rejected(error) } => break error.reply(),
                step => panic!("{step:?}"),
            }
        };
        let code = reply.code().as_u16();
        assert!(at == octets.len() && (refusals.contains(&code) || self.model.failed && code == 503), "{reply}");
        server.send(&reply, &mut Vec::new()).unwrap();
        let expected = if self.model.hello.is_some() { State::Ready } else { State::Nameless };
        assert_eq!(server.state(), expected, "{:?}", self.model);
    }

    fn decide(&mut self, verb: &str, last: bool, verdict: Verdict) {
        let refused = verdict == Verdict::Refused || verdict == Verdict::RefusedAtTheEnd && verb != "DATA";
        if refused && verb != "QUIT" {
            self.reply(&Reply::new(Code::LOCAL_ERROR, "not now"), true);
            if verb == "BURL" {
                self.model.part_answered(last, false);
            }
            return;
        }
        if verb == "EHLO" {
            let mut out = Vec::new();
            self.server.send_hello("mail.example", &mut out).unwrap();
            assert!(matches!(self.client.receive(&out), Ok(Step::Event { .. })));
        } else {
            self.reply(&Reply::new(success(verb), "granted"), true);
        }
        if verb == "BURL" {
            self.model.part_answered(last, true);
        }
        self.model.granted(verb);
        match verb {
            "DATA" => self.send_message(verdict),
            "STARTTLS" => {
                assert!(self.server.wants_tls() && self.client.wants_tls());
                self.server.secured(b"").unwrap();
                self.client.secured(b"").unwrap();
            }
            _ => {}
        }
    }

    /// Section 4.1.1.4: whatever is said of the message, the buffers are cleared.
    fn send_message(&mut self, verdict: Verdict) {
        assert_eq!((self.server.state(), self.client.wants_content()), (State::Content, true));
        let mut out = Vec::new();
        self.client.content(b"MAIL FROM:<>\r\nRSET\r\n", &mut out).unwrap();
        self.client.end_of_content(&mut out).unwrap();
        let mut at = 0;
        while let Step::Event { consumed, event } = self.server.receive(&out[at..]).unwrap() {
            at += consumed;
            assert!(matches!(event, server::Event::Content(_) | server::Event::ContentEnd(_)), "{event:?}");
        }
        let code = if verdict == Verdict::Granted { Code::OK } else { Code::MAILBOX_UNAVAILABLE };
        self.reply(&Reply::new(code, "so be it"), true);
        self.model.forget();
    }

    fn compare(&self) {
        assert_eq!(self.server.state(), self.model.state(), "{:?}", self.model);
        let of_client = if self.model.failed && !self.model.closed { State::Failed } else { self.model.state() };
        assert_eq!(self.client.state(), of_client, "{:?}", self.model);
        assert_eq!(self.server.is_extended(), self.model.hello == Some(true));
        assert_eq!(self.server.is_authenticated(), self.model.login);
        assert_eq!(self.server.is_secured(), self.model.tls);
    }
}

fn line() -> impl Strategy<Value = &'static str> {
    // Those that lead on, more often than those that lead away.
    let leads_on = LINES[..9].to_vec();
    prop_oneof![3 => prop::sample::select(leads_on), 2 => prop::sample::select(LINES[..LINES.len() - 1].to_vec())]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![6 => Just(Verdict::Granted), 1 => Just(Verdict::Refused), 1 => Just(Verdict::RefusedAtTheEnd)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn commands_in_any_order_are_taken_and_refused_as_the_documents_say(
        lines in proptest::collection::vec((line(), verdict()), 0..40),
    ) {
        let mut session = Session::new();
        session.compare();
        for (line, verdict) in lines {
            session.say(line, verdict);
        }
        session.say("QUIT", Verdict::Granted);
        let turned = session.server.is_turned() && session.client.is_turned();
        prop_assert!(turned || session.server.is_closed() && session.client.is_closed());
    }
}

/// Every command after every way to every state, so that no pair is left to chance.
#[test]
fn every_command_in_every_state_is_taken_or_refused_as_the_documents_say() {
    let ways: [&[&str]; 24] = [
        &[],
        &["HELO c"],
        &["EHLO c"],
        &["EHLO c", "AUTH PLAIN ="],
        &["EHLO c", "STARTTLS"],
        &["EHLO c", "STARTTLS", "EHLO c"],
        &["EHLO c", "AUTH PLAIN =", "STARTTLS", "EHLO c"],
        &["EHLO c", "MAIL FROM:<>"],
        &["HELO c", "MAIL FROM:<>"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "DATA"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "RSET"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "EHLO c"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "RCPT TO:<a@b>", "HELO c"],
        &["HELO c", "MAIL FROM:<>", "RCPT TO:<a@b>"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "BDAT 6"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "BURL imap:x"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "BURL imap:x", "BDAT 6", "NOOP"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "BDAT 6", "BDAT 6 LAST"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "BDAT 6", "BURL imap:x LAST"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "BDAT 6", "RSET"],
        &["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "BDAT 6", "HELO c"],
        &["EHLO c", "AUTH PLAIN =", "XCLIENT NAME=a"],
        &["EHLO c", "AUTH PLAIN =", "ATRN a.example"],
    ];
    for way in ways {
        for line in LINES {
            for verdict in [Verdict::Granted, Verdict::Refused, Verdict::RefusedAtTheEnd] {
                let mut session = Session::new();
                way.iter().for_each(|line| session.say(line, Verdict::Granted));
                session.say(line, verdict);
                // What was refused must not have left anything behind.
                for line in ["MAIL FROM:<>", "RCPT TO:<a@b>", "BDAT 6", "BDAT 6 LAST", "DATA"] {
                    session.say(line, Verdict::Granted);
                }
            }
        }
    }
}

/// A refused part leaves a client with nothing but RSET, EHLO and QUIT, and a server without a transaction.
#[test]
fn every_command_after_a_refused_part_is_taken_or_refused_as_the_documents_say() {
    for part in ["BDAT 6", "BDAT 6 LAST", "BURL imap:x", "BURL imap:x LAST"] {
        for before in [&[][..], &["BDAT 6"]] {
            for line in LINES {
                let mut session = Session::new();
                ["EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>"].iter().for_each(|line| session.say(line, Verdict::Granted));
                before.iter().for_each(|line| session.say(line, Verdict::Granted));
                session.say(part, Verdict::Refused);
                assert!(session.model.failed);
                session.say(line, Verdict::Granted);
                session.say("RSET", Verdict::Granted);
                session.say("MAIL FROM:<>", Verdict::Granted);
            }
        }
    }
}
