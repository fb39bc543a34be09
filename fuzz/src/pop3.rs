//! Both roles of POP3, with programs that do what the fuzzer chooses.

use postrider_pop3_proto::client::{self, Event as Heard};
use postrider_pop3_proto::server::{self, Event as Asked};
use postrider_pop3_proto::{
    Command, Error, Expire, Extensions, Item, LanguageTag, Limits, Mechanism, MessageNumber, Misuse, Quirks, Response,
    SaslLine, ScanListing, Secret, State, Step, Text, Timestamp, UniqueId, UniqueIdListing, Verb, WireSize,
};

use crate::delivery::{Choices, Cuts, Taken, deliver};
use crate::script;

/// How both roles begin: one bit for each choice.
#[derive(arbitrary::Arbitrary, Clone, Copy, Debug)]
pub struct Options(u8);

impl Options {
    /// Nothing chosen.
    pub const PLAIN: Self = Self(0);
    /// The client does not wait for responses.
    pub const PIPELINING: Self = Self(4);

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn tls(self) -> bool {
        self.has(2)
    }

    /// Small enough to be reached, or what connections have without a choice, but never tired of errors.
    fn limits(self) -> Limits {
        let mut limits = Limits::default();
        if self.has(1) {
            (limits.command, limits.sasl_line) = (24, 32);
            (limits.response, limits.item) = (32, 24);
            (limits.errors, limits.failed_logins, limits.pipelined) = (3, 2, 3);
        } else {
            (limits.errors, limits.failed_logins) = (u32::MAX, u32::MAX);
        }
        limits
    }

    fn server(self) -> server::Config {
        let quirks = Quirks { extra_spaces: self.has(8), ..Quirks::default() };
        server::Config { extensions: everything(), limits: self.limits(), quirks, tls: self.tls() }
    }

    fn client(self) -> client::Config {
        client::Config { limits: self.limits(), pipelining: self.has(4), tls: self.tls() }
    }

    /// The most octets of a line that either role takes.
    fn longest_line(self) -> usize {
        let limits = self.limits();
        limits.command.max(limits.sasl_line).max(limits.response).max(limits.item)
    }
}

fn everything() -> Extensions {
    let extensions = Extensions {
        expire: Some(Expire::Never),
        implementation: Some(Text::lossy("postrider")),
        lang: true,
        last: true,
        login_delay: Some(60),
        sasl: vec![Mechanism::PLAIN, Mechanism::SCRAM_SHA_256],
        stls: true,
        utf8: Some(true),
        ..Extensions::default()
    };
    extensions
}

/// A server's connection, and a program that answers as it is told, with one message in its maildrop.
pub struct Server<'m> {
    connection: server::Connection,
    choices: Choices,
    message: &'m [u8],
    pieces: Cuts,
    /// What it heard.
    pub heard: Vec<String>,
    /// What it said and nobody has taken yet.
    pub out: Vec<u8>,
}

impl<'m> Server<'m> {
    /// A server that has greeted; `message` is handed to its connection in `pieces`.
    pub fn new(options: Options, choices: Choices, message: &'m [u8], pieces: Cuts) -> Self {
        let connection = server::Connection::new(options.server());
        let mut server = Self { connection, choices, message, pieces, heard: Vec::new(), out: Vec::new() };
        let timestamp = Timestamp::new("<1896.697170952@dbc.mtview.ca.us>").ok();
        server.send(&Response::Greeting { text: Text::lossy("ready"), timestamp });
        server
    }

    /// Takes what it can of the front of `input`.
    pub fn look(&mut self, input: &[u8]) -> Taken {
        match self.connection.receive(input) {
            Ok(step) => Taken::by(step, |event| self.answer(&event)),
            Err(error) => {
                self.heard.push(error.to_string());
                Taken::Over
            }
        }
    }

    fn send(&mut self, response: &Response<'_>) {
        self.connection.send(response, &mut self.out).expect("the response answers what was asked");
    }

    fn answer(&mut self, event: &Asked<'_>) {
        self.heard.push(written(event));
        match event {
            Asked::Command(command) => self.obey(command),
            Asked::Rejected(error) => self.send(&error.response()),
            Asked::Sasl(SaslLine::Cancel) => self.send(&Response::err("cancelled")),
            Asked::Sasl(SaslLine::Response(_)) => self.authenticate(),
        }
        if self.connection.wants_tls() {
            assert_eq!(self.connection.receive(b"NOOP\r\n"), Ok(Step::Paused));
            self.connection.secured(b"").expect("nothing came before TLS");
        }
    }

    fn obey(&mut self, command: &Command<'_>) {
        match command {
            Command::Auth { .. } => self.authenticate(),
            _ if self.choices.take() % 4 == 3 => self.send(&Response::err("no")),
            Command::Capa => self.connection.send_capabilities(&mut self.out).expect("CAPA is answered"),
            command if command.is_multi_line() => self.list(command.verb()),
            Command::Lang(Some(_)) => self.send(&Response::Language { tag: spanish(), text: Text::lossy("vale") }),
            Command::List(Some(_)) => self.send(&Response::ScanListing(self.listing())),
            Command::Stat => self.send(&Response::DropListing { messages: 1, octets: self.size() }),
            Command::Uidl(Some(_)) => self.send(&Response::UniqueId(unique_id())),
            _ => self.send(&Response::ok("done")),
        }
    }

    fn authenticate(&mut self) {
        let response = match self.choices.take() % 4 {
            0 => Response::ok("come in"),
            3 => Response::err("no"),
            _ => Response::Challenge(Secret::borrowed(b"who?")),
        };
        self.send(&response);
    }

    fn list(&mut self, verb: Verb) {
        self.send(&Response::ok("it follows"));
        match verb {
            Verb::Lang => self.send_item(&Item::Language { tag: spanish(), description: Text::lossy("Espa\u{f1}ol") }),
            Verb::List => self.send_item(&Item::ScanListing(self.listing())),
            Verb::Uidl => self.send_item(&Item::UniqueId(unique_id())),
            _ => self.pieces.pieces(self.message).for_each(|piece| self.send_item(&Item::Content(piece))),
        }
        self.connection.finish(&mut self.out).expect("a response of many lines is open");
    }

    fn send_item(&mut self, item: &Item<'_>) {
        self.connection.send_item(item, &mut self.out).expect("the item belongs to the response");
    }

    fn size(&self) -> u64 {
        let mut size = WireSize::new();
        self.pieces.pieces(self.message).for_each(|piece| size.add(piece));
        size.finish()
    }

    fn listing(&self) -> ScanListing {
        ScanListing { message: first(), octets: self.size() }
    }
}

fn first() -> MessageNumber {
    MessageNumber::new(1).expect("1 is a number")
}

fn spanish() -> LanguageTag<'static> {
    LanguageTag::new("es").expect("a tag")
}

fn unique_id() -> UniqueIdListing<'static> {
    UniqueIdListing { message: first(), id: UniqueId::new("~.1").expect("printable") }
}

/// An event as text, with the secrets that its `Debug` does not show.
fn written(event: &Asked<'_>) -> String {
    let mut octets = Vec::new();
    match event {
        Asked::Command(command) => command.encode(&mut octets),
        Asked::Sasl(SaslLine::Response(secret)) => octets.extend_from_slice(secret.expose()),
        Asked::Sasl(SaslLine::Cancel) | Asked::Rejected(_) => {}
    }
    format!("{event:?} {}", octets.escape_ascii())
}

/// A client's connection, and a program that says one line after the other as soon as it may.
pub struct Client<'s> {
    connection: client::Connection,
    script: &'s [u8],
    /// What it heard, but for messages.
    pub heard: Vec<String>,
    /// The sizes that were announced to it.
    pub sizes: Vec<u64>,
    /// The messages it got, the last of them perhaps not whole.
    pub messages: Vec<Vec<u8>>,
    /// What it said and nobody has taken yet.
    pub out: Vec<u8>,
}

impl<'s> Client<'s> {
    /// A client that waits for its greeting.
    pub fn new(options: Options, script: &'s [u8]) -> Self {
        let connection = client::Connection::new(options.client());
        let (heard, sizes, messages, out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { connection, script, heard, sizes, messages, out }
    }

    /// Takes what it can of the front of `input`, and says what it may say before and after.
    pub fn look(&mut self, input: &[u8]) -> Taken {
        let taken = match self.connection.receive(input) {
            Ok(step) => Taken::by(step, |event| self.hear(&event)),
            Err(error) => {
                self.heard.push(without_count(&error));
                return Taken::Over;
            }
        };
        if self.connection.wants_tls() {
            assert_eq!(self.connection.receive(b"+OK\r\n"), Ok(Step::Paused));
            self.connection.secured(b"").expect("nothing came before TLS");
        }
        self.speak();
        taken
    }

    fn hear(&mut self, event: &Heard<'_>) {
        match event {
            Heard::Item(Item::Content(piece)) => {
                self.messages.last_mut().expect("a response came before it").extend_from_slice(piece);
                return;
            }
            Heard::Response { to: Verb::Retr | Verb::Top, .. } => self.messages.push(Vec::new()),
            Heard::Response { response: Response::ScanListing(listing), .. } => self.sizes.push(listing.octets),
            _ => {}
        }
        self.heard.push(format!("{event:?} {}", response(event).escape_ascii()));
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
        !matches!(said, Err(Misuse::AwaitingResponse { .. } | Misuse::QueueFull { .. }))
    }
}

/// How many octets wait when a server speaks unasked is the network's choice.
fn without_count(error: &Error) -> String {
    match error {
        Error::Unsolicited { .. } => "octets from the server without a command".to_owned(),
        error => error.to_string(),
    }
}

/// The octets of a response, a challenge among them, which `Debug` does not show.
fn response(event: &Heard<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    if let Heard::Greeting(response) | Heard::Response { response, .. } = event {
        response.encode(&mut octets);
    }
    octets
}

/// What a server heard of `wire`, and what it said.
pub fn serve(wire: &[u8], options: Options, choices: Choices, cuts: Cuts) -> (Vec<String>, String) {
    let message = b"Subject: x\n\n.\n..\nno end";
    let mut server = Server::new(options, choices, message, Cuts::NOWHERE);
    deliver(wire, cuts, options.longest_line(), |input| server.look(input));
    (server.heard, server.out.escape_ascii().to_string())
}

/// What a client heard of `wire`, the messages it got, and what it said.
pub fn listen(wire: &[u8], options: Options, script: &[u8], cuts: Cuts) -> (Vec<String>, Vec<Vec<u8>>, String) {
    let mut client = Client::new(options, script);
    deliver(wire, cuts, options.longest_line(), |input| client.look(input));
    (client.heard, client.messages, client.out.escape_ascii().to_string())
}

/// Lets both talk to each other until neither has anything to say.
pub fn converse(client: &mut Client<'_>, server: &mut Server<'_>, options: Options, cuts: Cuts) {
    while !client.out.is_empty() || !server.out.is_empty() {
        let (said, answered) = (std::mem::take(&mut client.out), std::mem::take(&mut server.out));
        let unheard = deliver(&said, cuts, options.longest_line(), |input| server.look(input));
        let unread = deliver(&answered, cuts, options.longest_line(), |input| client.look(input));
        assert_eq!((unheard, unread), (0, 0), "of {} and {}", said.escape_ascii(), answered.escape_ascii());
    }
}

/// Roles of one session in which the server is in the middle of its answer to `command`.
#[derive(Clone)]
pub struct Answering {
    server: server::Connection,
    client: client::Connection,
}

impl Answering {
    /// A server that has said `+OK` to `command`, and a client that has heard it.
    pub fn new(command: &Command<'_>) -> Self {
        let (mut server, mut client) =
            (server::Connection::new(Options::PLAIN.server()), client::Connection::new(Options::PLAIN.client()));
        let mut answered = Vec::new();
        server.send(&Response::Greeting { text: Text::EMPTY, timestamp: None }, &mut answered).expect("a greeting");
        assert!(matches!(client.receive(&answered), Ok(Step::Event { .. })));
        let login = [Command::parse(b"USER a"), Command::parse(b"PASS b")].map(|command| command.expect("a command"));
        for command in login.iter().chain([command]) {
            let (mut said, mut answered) = (Vec::new(), Vec::new());
            client.send(command, &mut said).expect("a command in its place");
            assert!(matches!(server.receive(&said), Ok(Step::Event { .. })));
            server.send(&Response::ok(""), &mut answered).expect("an answer");
            assert!(matches!(client.receive(&answered), Ok(Step::Event { .. })));
        }
        Self { server, client }
    }

    /// What the client reads in a line; none where the listing ends.
    pub fn read<'l>(&self, line: &'l [u8]) -> Option<Item<'l>> {
        match self.client.clone().receive(line) {
            Ok(Step::Event { event: Heard::Item(item), consumed }) => {
                assert_eq!(consumed, line.len());
                Some(item)
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// The line in which the server says `item`; none where it refuses to.
    pub fn write(&self, item: &Item<'_>) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        self.server.clone().send_item(item, &mut line).ok().map(|()| line)
    }
}
