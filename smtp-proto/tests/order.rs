//! The order of commands, against a model written from RFC 5321 section 4.1.4, RFC 3207 section 4 and RFC 4954 section 4 alone.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use postrider_smtp_proto::{Code, Command, Limits, Reply, State, Step, client, server};
use proptest::prelude::*;

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

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

const LINES: [&str; 14] = [
    "EHLO c",
    "HELO c",
    "MAIL FROM:<>",
    "RCPT TO:<a@b>",
    "DATA",
    "RSET",
    "NOOP",
    "VRFY a",
    "EXPN a",
    "HELP",
    "STARTTLS",
    "AUTH PLAIN =",
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
            "DATA" if !self.mail => &[503],
            // "If there was no RCPT command, or all were rejected, the server MAY return 503 or 554": section 3.3.
            "DATA" if self.recipients == 0 => &[503, 554],
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
                (self.mail, self.recipients) = (false, 0);
            }
            "MAIL" => (self.mail, self.recipients) = (true, 0),
            "RCPT" => self.recipients += 1,
            "RSET" => (self.mail, self.recipients) = (false, 0),
            "STARTTLS" => *self = Self { tls: true, ..Self::default() },
            "AUTH" => self.login = true,
            _ => {}
        }
        self.closed |= verb == "QUIT";
    }

    fn state(&self) -> State {
        match (self.closed, self.hello, self.mail, self.recipients) {
            (true, ..) => State::Closed,
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
        "STARTTLS" => Code::READY,
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
        let config = server::Config { extensions: everything(), limits, ..server::Config::default() };
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
        let command = Command::parse(line.as_bytes()).unwrap();
        let refusals = self.model.refusals(verb);
        let sent = self.client.send(&command, &mut Vec::new()).is_ok();
        // Whether the server offers an extension is not the client's business here.
        let extension = ["STARTTLS", "AUTH"].contains(&verb);
        assert!(sent == refusals.is_empty() || sent && extension, "{line}: {:?}", self.model);
        let octets = format!("{line}\r\n");
        let Step::Event { event, .. } = self.server.receive(octets.as_bytes()).unwrap() else { panic!("{line}") };
        match event {
            server::Event::Rejected(error) => {
                let reply = error.reply();
                assert!(refusals.contains(&reply.code().as_u16()), "{line} in {:?}: {reply}", self.model);
                self.reply(&reply, sent);
            }
            server::Event::Command(heard) => {
                assert!(heard == command && refusals.is_empty(), "{line} in {:?}", self.model);
                self.decide(verb, verdict);
            }
            event => panic!("{event:?}"),
        }
        self.compare();
    }

    fn decide(&mut self, verb: &str, verdict: Verdict) {
        let refused = verdict == Verdict::Refused || verdict == Verdict::RefusedAtTheEnd && verb != "DATA";
        if refused && verb != "QUIT" {
            return self.reply(&Reply::new(Code::LOCAL_ERROR, "not now"), true);
        }
        self.reply(&Reply::new(success(verb), "granted"), true);
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
        (self.model.mail, self.model.recipients) = (false, 0);
    }

    fn compare(&self) {
        assert_eq!(self.server.state(), self.model.state(), "{:?}", self.model);
        assert_eq!(self.client.state(), self.model.state(), "{:?}", self.model);
        assert_eq!(self.server.is_extended(), self.model.hello == Some(true));
        assert_eq!(self.server.is_authenticated(), self.model.login);
        assert_eq!(self.server.is_secured(), self.model.tls);
    }
}

fn line() -> impl Strategy<Value = &'static str> {
    // Those that lead on, more often than those that lead away.
    let leads_on = LINES[..5].to_vec();
    prop_oneof![3 => prop::sample::select(leads_on), 2 => prop::sample::select(LINES[..13].to_vec())]
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
        prop_assert!(session.server.is_closed() && session.client.is_closed());
    }
}

/// Every command after every way to every state, so that no pair is left to chance.
#[test]
fn every_command_in_every_state_is_taken_or_refused_as_the_documents_say() {
    let ways: [&[&str]; 14] = [
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
    ];
    for way in ways {
        for line in LINES {
            for verdict in [Verdict::Granted, Verdict::Refused, Verdict::RefusedAtTheEnd] {
                let mut session = Session::new();
                way.iter().for_each(|line| session.say(line, Verdict::Granted));
                session.say(line, verdict);
            }
        }
    }
}
