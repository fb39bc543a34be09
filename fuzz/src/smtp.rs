//! Both roles of SMTP and LMTP, with programs that do what the fuzzer chooses.

use postrider_smtp_proto::client;
use postrider_smtp_proto::server::{self, ChunkEnd, ContentEnd, Event as Asked};
use postrider_smtp_proto::{
    Code, Command, CommandError, ContentFault, Error, Extensions, Limits, LineEndings, Mechanism, Misuse,
    OtherExtension, Quirks, Reply, SaslLine, State, Step, Stray, Text, Verb,
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
            (limits.refused_chunks, limits.refused_octets) = (3, 48);
        } else {
            (limits.errors, limits.failed_logins) = (u32::MAX, u32::MAX);
            (limits.refused_chunks, limits.refused_octets) = (u32::MAX, u64::MAX);
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

/// What a client has been granted of a transaction.
#[derive(Clone, Copy, Debug, Default)]
struct Envelope {
    mail: bool,
    recipients: usize,
}

impl Envelope {
    const NONE: Self = Self { mail: false, recipients: 0 };

    fn granted(&mut self, command: &Command<'_>) {
        match command {
            Command::Mail { .. } => *self = Self { mail: true, recipients: 0 },
            Command::Rcpt { .. } => self.recipients += 1,
            Command::Burl { last: true, .. }
            | Command::Ehlo(_)
            | Command::Helo(_)
            | Command::Lhlo(_)
            | Command::Rset
            | Command::StartTls
            | Command::Xclient(_) => *self = Self::NONE,
            _ => {}
        }
    }

    fn refused(&mut self, command: &Command<'_>) {
        if let Command::Burl { .. } = command {
            *self = Self::NONE;
        }
    }

    /// Nothing of a message, and no word that a message follows, comes to a program without a sender and a recipient.
    ///
    /// In LMTP a last chunk to nobody ends the transaction without a word: RFC 2033 section 4.3.
    fn check(self, event: &Asked<'_>, lmtp: bool) {
        let of_message = match event {
            Asked::Chunk(_) | Asked::ChunkEnd(_) | Asked::Content(_) | Asked::ContentEnd(_) => true,
            Asked::Command(command) => matches!(command, Command::Data | Command::Burl { .. }),
            _ => false,
        };
        assert!(!of_message || self.mail && self.recipients > 0, "{event:?} with {self:?}");
        let recipient = matches!(event, Asked::Command(Command::Rcpt { .. }));
        assert!(!recipient || self.mail, "{event:?} with {self:?}");
        let sender = matches!(event, Asked::Command(Command::Mail { .. }));
        let ended = lmtp && self.recipients == 0;
        assert!(!sender || !self.mail || ended, "{event:?} with {self:?}");
    }
}

/// A server's connection, and a program that answers as it is told.
pub struct Server {
    connection: server::Connection,
    options: Options,
    choices: Choices,
    envelope: Envelope,
    /// What has come of a message.
    content: Vec<u8>,
    /// A CR that is no end of a line unless an LF comes next.
    after_cr: bool,
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
        let envelope = Envelope::NONE;
        let mut server = Self { connection, options, choices, envelope, content, after_cr: false, heard, out };
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
        self.envelope.check(event, self.options.lmtp());
        if let Asked::Content(piece) = event {
            return self.take(piece);
        }
        self.heard.events.push(written(event));
        match event {
            Asked::Command(command) => self.obey(command),
            Asked::Rejected(error) => {
                // A chunk that is out of place or not offered ends what there was of a transaction.
                if self.connection.state() == State::Ready {
                    self.envelope = Envelope::NONE;
                }
                self.reply(&error.reply());
            }
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
            (255, _) => return self.send(Code::NOT_AVAILABLE, "not now"),
            (choice, _) if choice % 4 == 3 => {
                self.envelope.refused(command);
                return self.send(Code::MAILBOX_UNAVAILABLE, "no");
            }
            (_, Command::Data) => self.send(Code::START_MAIL_INPUT, "go on"),
            (_, Command::Burl { .. }) => {
                // What is fetched would stand here.
                self.after_cr = false;
                self.send(Code::OK, "fine");
            }
            (_, Command::Ehlo(_) | Command::Helo(_) | Command::Lhlo(_)) => {
                self.connection.send_hello("mail.example", &mut self.out).expect("a hello is answered");
            }
            (_, Command::Mail { .. }) => {
                self.content.clear();
                self.after_cr = false;
                self.send(Code::OK, "fine");
            }
            (_, Command::Quit) => self.send(Code::CLOSING, "bye"),
            (_, Command::StartTls) => self.send(Code::READY, "go on"),
            _ => self.send(Code::OK, "fine"),
        }
        self.envelope.granted(command);
    }

    fn authenticate(&mut self) {
        match self.choices.take() % 4 {
            0 => self.send(Code::AUTHENTICATED, "come in"),
            3 => self.send(Code::AUTHENTICATION_FAILED, "no"),
            _ => self.reply(&Reply::challenge_of(b"who?")),
        }
    }

    fn take(&mut self, piece: &[u8]) {
        let parted = self.after_cr && piece.starts_with(b"\n");
        assert!(!parted && !piece.is_empty(), "{} after {}", piece.escape_ascii(), self.content.escape_ascii());
        self.content.extend_from_slice(piece);
        self.after_cr = piece.ends_with(b"\r");
    }

    /// Says what becomes of a chunk.
    fn judge_chunk(&mut self, end: ChunkEnd) {
        match end.fault {
            Some(fault) => {
                let accepted = self.connection.send(&Reply::new(Code::OK, "go on"), &mut self.out);
                assert_eq!(accepted, Err(acceptance_of(fault)));
                self.reply(&fault.reply());
            }
            None if self.choices.take() % 4 == 3 => self.send(Code::INSUFFICIENT_STORAGE, "full"),
            None => return self.send(Code::OK, "go on"),
        }
        self.envelope = Envelope::NONE;
        self.content.clear();
        self.after_cr = false;
    }

    /// Says what becomes of a message, in LMTP to each recipient, and with `PRDR` perhaps to each and then to all.
    fn judge(&mut self, end: ContentEnd) {
        let recipients = std::mem::take(&mut self.envelope).recipients;
        let mut content = std::mem::take(&mut self.content);
        self.after_cr = false;
        match end.fault {
            Some(_) => content.clear(),
            None => assert_eq!(content.len() as u64, end.size),
        }
        self.heard.messages.push(Message { content, end });
        let each = Reply::new(Code::PER_RECIPIENT, "for each");
        let prdr = self.choices.take() % 8 == 5 && self.connection.send(&each, &mut self.out).is_ok();
        for _ in 0..if self.options.lmtp() {
            recipients
        } else if prdr {
            recipients + 1
        } else {
            1
        } {
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
    /// What has not gone out in chunks.
    unsent: &'s [u8],
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
        Self { connection, script, message, unsent: message, pieces, heard: Vec::new(), lost: None, out: Vec::new() }
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
        if let Command::Bdat { size, last } = command {
            return self.say_chunk(size, last);
        }
        if let Command::Mail { .. } = command {
            self.unsent = self.message;
        }
        let said = self.connection.send(&command, &mut self.out);
        !matches!(said, Err(Misuse::AwaitingReply { .. } | Misuse::QueueFull { .. }))
    }
}

impl Client<'_> {
    /// The next octets of the message, as many as `size` says and there are.
    fn say_chunk(&mut self, size: u64, last: bool) -> bool {
        let len = usize::try_from(size).unwrap_or(usize::MAX).min(self.unsent.len());
        let (chunk, rest) = self.unsent.split_at(len);
        let start = self.out.len();
        match self.connection.chunk(chunk, last, &mut self.out) {
            Ok(()) => self.unsent = rest,
            Err(misuse) => {
                assert_eq!(self.out.len(), start, "{misuse} and something is sent");
                if let Misuse::LineEnding { .. } = misuse {
                    self.lost = Some(misuse);
                    return false;
                }
                return !matches!(misuse, Misuse::AwaitingReply { .. } | Misuse::QueueFull { .. });
            }
        }
        true
    }
}

fn spelled(event: &client::Event<'_>) -> String {
    let mut octets = Vec::new();
    event.reply.encode(&mut octets);
    format!("{:?} {}", event.subject, octets.escape_ascii())
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

/// What came of a message in chunks.
#[derive(Debug, PartialEq)]
pub enum Part {
    /// `BDAT` was taken: its octets, whether it is the first, and whether it is the last.
    Chunk(u64, bool, bool),
    /// Its end, with what is wrong, and the octets up to it.
    ChunkEnd(Option<ContentFault>, u64),
    /// The end of the message, which is this if nothing is wrong with it.
    End(Vec<u8>, Option<ContentFault>, Option<(u64, Stray)>),
    /// `BDAT` was refused, its octets thrown away.
    Refused,
    /// `BDAT` was refused, and nothing is read any more.
    Closed,
}

/// What a server makes of chunks behind an envelope, up to another command.
pub fn read_chunks(wire: &[u8], binary: bool, line_endings: u8, cuts: Cuts) -> Vec<Part> {
    let options = Options::with(false, line_endings);
    let mut connection = server::Connection::new(options.server());
    let mut out = Vec::new();
    connection.send(&Reply::new(Code::READY, "ready"), &mut out).expect("a greeting");
    let body = if binary { " BODY=BINARYMIME" } else { "" };
    for line in ["EHLO c\r\n", &format!("MAIL FROM:<>{body}\r\n"), "RCPT TO:<a@b>\r\n"] {
        assert!(matches!(connection.receive(line.as_bytes()), Ok(Step::Event { .. })), "{line}");
        connection.send(&Reply::new(Code::OK, "fine"), &mut out).expect("a command waits");
    }
    let (mut parts, mut content) = (Vec::new(), Vec::new());
    deliver(wire, cuts, options.most(), |input| {
        let (consumed, event) = match connection.receive(input) {
            Ok(Step::Event { event: Asked::Command(_) | Asked::Sasl(_), .. }) | Err(_) => return Taken::Over,
            Ok(Step::Event { consumed, event }) => (consumed, event),
            Ok(step) => return Taken::by(step, |_| ()),
        };
        let fault = match &event {
            Asked::Content(piece) => {
                content.extend_from_slice(piece);
                return Taken::Octets(consumed);
            }
            Asked::Chunk(chunk) => {
                parts.push(Part::Chunk(chunk.size, chunk.first, chunk.last));
                return Taken::Octets(consumed);
            }
            Asked::ChunkEnd(end) => {
                parts.push(Part::ChunkEnd(end.fault, end.size));
                end.fault
            }
            Asked::ContentEnd(end) => {
                content.truncate(if end.fault.is_some() { 0 } else { content.len() });
                parts.push(Part::End(std::mem::take(&mut content), end.fault, end.noted));
                end.fault
            }
            Asked::Rejected(CommandError::OutOfPlace { verb: Verb::Bdat, .. }) => {
                parts.push(Part::Refused);
                None
            }
            Asked::Rejected(_) | Asked::Command(_) | Asked::Sasl(_) => None,
        };
        let refused = matches!(event, Asked::Rejected(_));
        let reply = match (fault, refused) {
            (Some(fault), _) => fault.reply(),
            (None, true) => Reply::new(Code::BAD_SEQUENCE, "no"),
            (None, false) => Reply::new(Code::OK, "fine"),
        };
        connection.send(&reply, &mut out).expect("it answers");
        if refused && connection.is_closed() {
            parts.push(Part::Closed);
        }
        match event {
            Asked::Rejected(CommandError::OutOfPlace { verb: Verb::Bdat, .. }) => Taken::Octets(consumed),
            // Another command, of which nothing is said here.
            Asked::Rejected(_) => Taken::Over,
            _ => Taken::Octets(consumed),
        }
    });
    parts
}
