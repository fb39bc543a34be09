//! Both roles of SMTP and LMTP, with programs that do what the fuzzer chooses.

use postrider_smtp_proto::client;
use postrider_smtp_proto::server::{self, ChunkEnd, ContentEnd, Event as Asked};
use postrider_smtp_proto::{
    Code, Command, ContentFault, Error, Extensions, Limits, LineEndings, Mechanism, Misuse, OtherExtension, Quirks,
    Reply, SaslLine, State, Step, Text,
};

use crate::delivery::{Choices, Cuts, Taken, deliver, one_of};
use crate::{naive, script};

/// How both roles begin: one bit for each choice, and what becomes of line ends.
#[derive(arbitrary::Arbitrary, Clone, Copy, Debug)]
pub struct Options {
    bits: u8,
    line_endings: u8,
}

impl Options {
    /// SMTP or LMTP with nothing else chosen but what becomes of line ends.
    pub const fn with(lmtp: bool, line_endings: u8) -> Self {
        Self { bits: if lmtp { 2 } else { 0 }, line_endings }
    }

    const fn has(self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    fn lmtp(self) -> bool {
        self.has(2)
    }

    /// Small enough to be reached, or what connections have without a choice, but never tired of errors.
    fn limits(self) -> Limits {
        let mut limits = Limits::default();
        if self.has(1) {
            (limits.command, limits.sasl_line, limits.message, limits.recipients) = (32, 48, 24, 2);
            (limits.reply_line, limits.reply) = (24, 64);
            (limits.errors, limits.failed_logins, limits.pipelined) = (3, 2, 3);
        } else {
            (limits.errors, limits.failed_logins) = (u32::MAX, u32::MAX);
        }
        limits
    }

    /// What becomes of a CR or LF alone.
    pub fn line_endings(self) -> LineEndings {
        one_of(self.line_endings, [LineEndings::Reject, LineEndings::Normalise, LineEndings::Note])
    }

    fn server(self) -> server::Config {
        let mut quirks = Quirks::default();
        (quirks.space_before_path, quirks.underscore_in_domain) = (self.has(32), self.has(32));
        server::Config {
            extensions: everything(),
            limits: self.limits(),
            quirks,
            line_endings: self.line_endings(),
            lmtp: self.lmtp(),
            require_auth: self.has(4),
            require_tls: self.has(8),
            tls: self.has(16),
        }
    }

    fn client(self) -> client::Config {
        let line_endings = self.line_endings();
        client::Config { limits: self.limits(), line_endings, lmtp: self.lmtp(), tls: self.has(16) }
    }

    /// The most octets that either role holds while it waits for more: a command, or a reply and one line of it.
    fn most(self) -> usize {
        let limits = self.limits();
        limits.command.max(limits.sasl_line).max(limits.reply + limits.reply_line)
    }
}

fn everything() -> Extensions {
    let mut extensions = Extensions { auth: vec![Mechanism::PLAIN, Mechanism::SCRAM_SHA_256], ..Extensions::default() };
    (extensions.expn, extensions.help, extensions.smtputf8, extensions.starttls) = (true, true, true, true);
    (extensions.chunking, extensions.binary_mime, extensions.prdr) = (true, true, true);
    (extensions.dsn, extensions.limits, extensions.require_tls) = (true, true, true);
    (extensions.etrn, extensions.atrn, extensions.xclient, extensions.xforward) = (true, true, true, true);
    (extensions.rrvs, extensions.deliver_by, extensions.burl) = (true, Some(60), Some(Text::lossy("imap")));
    let words = |words: [&str; 1]| words.map(str::to_owned).to_vec();
    let (commands, mail, rcpt) = (words(["VERB"]), words(["X-FROM"]), words(["X-TO"]));
    extensions.other = vec![OtherExtension { line: Text::lossy("X-OWN"), commands, mail, rcpt }];
    extensions
}

/// What a server heard of a client.
#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    /// Every event but the pieces of messages.
    pub events: Vec<String>,
    /// The commands, as they are written.
    pub commands: Vec<u8>,
    /// The messages whose end has come.
    pub messages: Vec<Message>,
}

impl Heard {
    /// The commands of `script` and nothing else came, and one message, which is `sent` with `line_endings` as the server was told.
    pub fn assert_one(&self, script: &[u8], sent: &[u8], line_endings: LineEndings) {
        assert_eq!(self.commands.escape_ascii().to_string(), naive::with_crlf(script).escape_ascii().to_string());
        let [Message { content, end }] = &self.messages[..] else { panic!("{self:?}") };
        let stray = naive::stray(sent);
        match (line_endings, stray) {
            (LineEndings::Reject, Some((at, stray))) => {
                assert_eq!(end.fault, Some(ContentFault::LineEnding { stray, at }));
                return;
            }
            (LineEndings::Normalise, _) => assert_eq!(*content, naive::normalised(sent)),
            _ => assert_eq!(content, sent),
        }
        assert_eq!((end.fault, end.noted), (None, stray.filter(|_| line_endings == LineEndings::Note)));
    }
}

/// A message that a server got.
#[derive(Debug, PartialEq)]
pub struct Message {
    /// Its pieces, joined. Nothing if there is a fault: how much was shown until it was found depends on the network.
    pub content: Vec<u8>,
    /// What was known at its end.
    pub end: ContentEnd,
}

/// A server's connection, and a program that answers as it is told.
pub struct Server {
    connection: server::Connection,
    options: Options,
    choices: Choices,
    recipients: usize,
    /// What has come of a message.
    content: Vec<u8>,
    /// What it heard.
    pub heard: Heard,
    /// What it said and nobody has taken yet.
    pub out: Vec<u8>,
}

impl Server {
    /// A server that has greeted.
    pub fn new(options: Options, choices: Choices) -> Self {
        let connection = server::Connection::new(options.server());
        let (content, heard, out) = (Vec::new(), Heard::default(), Vec::new());
        let mut server = Self { connection, options, choices, recipients: 0, content, heard, out };
        server.send(Code::READY, "ready");
        server
    }

    /// Takes what it can of the front of `input`.
    pub fn look(&mut self, input: &[u8]) -> Taken {
        match self.connection.receive(input) {
            Ok(step) => Taken::by(step, |event| self.answer(&event)),
            Err(error) => {
                self.heard.events.push(error.to_string());
                Taken::Over
            }
        }
    }

    fn send(&mut self, code: Code, text: &str) {
        self.reply(&Reply::new(code, text));
    }

    fn reply(&mut self, reply: &Reply<'_>) {
        self.connection.send(reply, &mut self.out).expect("the reply answers what was asked");
    }

    fn answer(&mut self, event: &Asked<'_>) {
        if let Asked::Content(piece) = event {
            return self.take(piece);
        }
        self.heard.events.push(written(event));
        match event {
            Asked::Command(command) => self.obey(command),
            Asked::Rejected(error) => self.reply(&error.reply()),
            Asked::Sasl(SaslLine::Cancel) => self.send(Code::ARGUMENT_ERROR, "cancelled"),
            Asked::Sasl(SaslLine::Response(_)) => self.authenticate(),
            Asked::ContentEnd(end) => self.judge(*end),
            Asked::ChunkEnd(end) => self.judge_chunk(*end),
            Asked::Chunk(_) | Asked::Content(_) => {}
        }
        if self.connection.wants_tls() {
            assert_eq!(self.connection.receive(b"NOOP\r\n"), Ok(Step::Paused));
            self.connection.secured(b"").expect("nothing came before TLS");
        }
    }

    fn obey(&mut self, command: &Command<'_>) {
        command.encode(&mut self.heard.commands);
        if let Command::Auth { .. } = command {
            return self.authenticate();
        }
        match (self.choices.take(), command) {
            (255, _) => self.send(Code::NOT_AVAILABLE, "not now"),
            (choice, _) if choice % 4 == 3 => self.send(Code::MAILBOX_UNAVAILABLE, "no"),
            (_, Command::Data) => self.send(Code::START_MAIL_INPUT, "go on"),
            (_, Command::Ehlo(_) | Command::Helo(_) | Command::Lhlo(_)) => {
                self.connection.send_hello("mail.example", &mut self.out).expect("a hello is answered");
            }
            (_, Command::Mail { .. }) => {
                self.recipients = 0;
                self.content.clear();
                self.send(Code::OK, "fine");
            }
            (_, Command::Rcpt { .. }) => {
                self.recipients += 1;
                self.send(Code::OK, "fine");
            }
            (_, Command::Quit) => self.send(Code::CLOSING, "bye"),
            (_, Command::StartTls) => self.send(Code::READY, "go on"),
            _ => self.send(Code::OK, "fine"),
        }
    }

    fn authenticate(&mut self) {
        match self.choices.take() % 4 {
            0 => self.send(Code::AUTHENTICATED, "come in"),
            3 => self.send(Code::AUTHENTICATION_FAILED, "no"),
            _ => self.reply(&Reply::challenge_of(b"who?")),
        }
    }

    fn take(&mut self, piece: &[u8]) {
        let parted = self.content.ends_with(b"\r") && piece.starts_with(b"\n");
        assert!(!parted && !piece.is_empty(), "{} after {}", piece.escape_ascii(), self.content.escape_ascii());
        self.content.extend_from_slice(piece);
    }

    /// Says what becomes of a chunk.
    fn judge_chunk(&mut self, end: ChunkEnd) {
        match end.fault {
            Some(fault) => {
                let accepted = self.connection.send(&Reply::new(Code::OK, "go on"), &mut self.out);
                assert_eq!(accepted, Err(acceptance_of(fault)));
                self.reply(&fault.reply());
                self.content.clear();
            }
            None if self.choices.take() % 4 == 3 => {
                self.send(Code::INSUFFICIENT_STORAGE, "full");
                self.content.clear();
            }
            None => self.send(Code::OK, "go on"),
        }
    }

    /// Says what becomes of a message, in LMTP to each recipient.
    fn judge(&mut self, end: ContentEnd) {
        let mut content = std::mem::take(&mut self.content);
        match end.fault {
            Some(_) => content.clear(),
            None => assert_eq!(content.len() as u64, end.size),
        }
        self.heard.messages.push(Message { content, end });
        for _ in 0..if self.options.lmtp() { self.recipients } else { 1 } {
            match end.fault {
                Some(fault) => {
                    let accepted = self.connection.send(&Reply::new(Code::OK, "taken"), &mut self.out);
                    assert_eq!(accepted, Err(acceptance_of(fault)));
                    self.reply(&fault.reply());
                }
                None if self.choices.take() % 4 == 3 => self.send(Code::INSUFFICIENT_STORAGE, "full"),
                None => self.send(Code::OK, "taken"),
            }
        }
    }
}

/// What it is to accept a faulty message.
const fn acceptance_of(fault: ContentFault) -> Misuse {
    Misuse::FaultyContent { code: Code::OK, fault }
}

/// An event as text, with the secrets that its `Debug` does not show.
fn written(event: &Asked<'_>) -> String {
    let mut octets = Vec::new();
    match event {
        Asked::Command(command) => command.encode(&mut octets),
        Asked::Sasl(SaslLine::Response(secret)) => octets.extend_from_slice(secret.expose()),
        _ => {}
    }
    format!("{event:?} {}", octets.escape_ascii())
}

/// A client's connection, and a program that says one line after the other as soon as it may, and a message whenever one is asked for.
pub struct Client<'s> {
    connection: client::Connection,
    script: &'s [u8],
    message: &'s [u8],
    pieces: Cuts,
    /// What it heard.
    pub heard: Vec<String>,
    /// Why it cannot send its message. It must say nothing more then.
    pub lost: Option<Misuse>,
    /// What it said and nobody has taken yet.
    pub out: Vec<u8>,
}

impl<'s> Client<'s> {
    /// A client that waits for its greeting; `message` is handed to its connection in `pieces`.
    pub fn new(options: Options, script: &'s [u8], message: &'s [u8], pieces: Cuts) -> Self {
        let connection = client::Connection::new(options.client());
        Self { connection, script, message, pieces, heard: Vec::new(), lost: None, out: Vec::new() }
    }

    /// Takes what it can of the front of `input`, and then says what it may say.
    pub fn look(&mut self, input: &[u8]) -> Taken {
        if self.lost.is_some() {
            return Taken::Over;
        }
        let taken = match self.connection.receive(input) {
            Ok(step) => Taken::by(step, |event| self.heard.push(spelled(&event))),
            Err(error) => {
                self.heard.push(without_count(&error));
                return Taken::Over;
            }
        };
        if self.connection.wants_tls() {
            assert_eq!(self.connection.receive(b"250 x\r\n"), Ok(Step::Paused));
            self.connection.secured(b"").expect("nothing came before TLS");
        }
        if self.connection.wants_content() {
            self.lost = self.send_message().err();
        }
        if self.lost.is_none() {
            self.speak();
        }
        taken
    }

    fn send_message(&mut self) -> Result<(), Misuse> {
        for piece in self.pieces.pieces(self.message) {
            self.connection.content(piece, &mut self.out)?;
        }
        self.connection.end_of_content(&mut self.out)
    }

    fn speak(&mut self) {
        if matches!(self.connection.state(), State::Greeting | State::Closed) {
            return;
        }
        while let Some((line, rest)) = script::first_line(self.script)
            && self.say(line)
        {
            self.script = rest;
        }
    }

    /// Whether `line` is done with: said, or nothing that could ever be said here.
    fn say(&mut self, line: &[u8]) -> bool {
        let response = SaslLine::parse(line).unwrap_or(SaslLine::Cancel);
        if self.connection.respond(&response, &mut self.out).is_ok() {
            return true;
        }
        let Ok(command) = Command::parse(line) else { return true };
        let said = self.connection.send(&command, &mut self.out);
        !matches!(said, Err(Misuse::AwaitingReply { .. } | Misuse::QueueFull { .. }))
    }
}

fn spelled(event: &client::Event<'_>) -> String {
    let mut octets = Vec::new();
    event.reply.encode(&mut octets);
    format!("{:?} {}", event.to, octets.escape_ascii())
}

/// How many octets wait when a server speaks unasked is the network's choice.
fn without_count(error: &Error) -> String {
    match error {
        Error::Unsolicited { .. } => "octets from the server without a command".to_owned(),
        error => error.to_string(),
    }
}

/// What a server heard of `wire`, and what it said.
pub fn serve(wire: &[u8], options: Options, choices: Choices, cuts: Cuts) -> (Heard, String) {
    let mut server = Server::new(options, choices);
    deliver(wire, cuts, options.most(), |input| server.look(input));
    (server.heard, server.out.escape_ascii().to_string())
}

/// What a client heard of `wire`, and what it said.
pub fn listen(wire: &[u8], options: Options, script: &[u8], cuts: Cuts) -> (Vec<String>, String) {
    let mut client = Client::new(options, script, b"Subject: x\r\n\r\n.\r\n", Cuts::NOWHERE);
    deliver(wire, cuts, options.most(), |input| client.look(input));
    (client.heard, client.out.escape_ascii().to_string())
}

/// Lets both talk to each other until neither has anything to say, or the client cannot go on.
pub fn converse(client: &mut Client<'_>, server: &mut Server, cuts: Cuts) {
    let most = server.options.most();
    while !client.out.is_empty() || !server.out.is_empty() {
        let (said, answered) = (std::mem::take(&mut client.out), std::mem::take(&mut server.out));
        let unheard = deliver(&said, cuts, most, |input| server.look(input));
        let unread = deliver(&answered, cuts, most, |input| client.look(input));
        let whole = client.lost.is_some() || (unheard, unread) == (0, 0);
        assert!(whole, "not heard to the end: {} and {}", said.escape_ascii(), answered.escape_ascii());
    }
}
