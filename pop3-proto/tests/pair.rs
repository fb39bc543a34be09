//! Our client and our server talk to each other, through a network that delivers pieces of any size.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::cell::RefCell;

use postrider_pop3_proto::{
    Capability, Command, Item, LanguageRange, LanguageTag, Mechanism, MessageNumber, Misuse, Name, Response, SaslLine,
    ScanListing, Secret, State, Step, Text, Top, UniqueId, UniqueIdListing, WireSize, client, server,
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

/// A network: octets per delivery, and octets of a message that the server reads at once.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    delivery: usize,
    piece: usize,
    pipelining: bool,
}

const WHOLE: Sizes = Sizes { delivery: usize::MAX, piece: usize::MAX, pipelining: false };

/// What one side said or heard after the greeting, in order; a message is one entry.
#[derive(Debug, Default, PartialEq)]
struct Log {
    entries: Vec<String>,
    messages: Vec<Vec<u8>>,
}

struct Pair<'m> {
    mail: &'m [Vec<u8>],
    sizes: Sizes,
    server: server::Connection,
    client: client::Connection,
    to_server: Wire,
    to_client: Wire,
    said: Log,
    heard: Log,
}

impl<'m> Pair<'m> {
    fn new(mail: &'m [Vec<u8>], sizes: Sizes) -> Self {
        let config = server::Config { extensions: everything(), ..server::Config::default() };
        let client = client::Config { pipelining: sizes.pipelining, ..client::Config::default() };
        let mut pair = Self {
            mail,
            sizes,
            server: server::Connection::new(config),
            client: client::Connection::new(client),
            to_server: Wire::default(),
            to_client: Wire::default(),
            said: Log::default(),
            heard: Log::default(),
        };
        let greeting = Response::Greeting { text: Text::new("ready").unwrap(), timestamp: None };
        pair.server.send(&greeting, &mut pair.to_client.sent).unwrap();
        pair.exchange();
        pair
    }

    /// Says each command as soon as it may be said, and goes on until all are answered.
    fn say(&mut self, commands: &[Command<'_>]) {
        for command in commands {
            let mut result = self.client.send(command, &mut self.to_server.sent);
            if matches!(result, Err(Misuse::AwaitingResponse { .. } | Misuse::QueueFull { .. })) {
                self.exchange();
                result = self.client.send(command, &mut self.to_server.sent);
            }
            assert_eq!(result, Ok(()), "{command:?}");
        }
        self.exchange();
    }

    /// Delivers until nothing is on its way.
    fn exchange(&mut self) {
        loop {
            let moved = self.to_server.arrive(self.sizes.delivery) | self.to_client.arrive(self.sizes.delivery);
            self.serve();
            self.hear();
            if !moved && self.to_server.sent.is_empty() && self.to_client.sent.is_empty() {
                return;
            }
        }
    }

    fn serve(&mut self) {
        loop {
            let (out, said) = (&mut self.to_client.sent, &mut self.said);
            let consumed = match self.server.receive(&self.to_server.buffer).unwrap() {
                Step::Event { consumed, event } => {
                    answer(&mut self.server, &event, self.mail, self.sizes.piece, out, said);
                    consumed
                }
                Step::Skip { consumed } => consumed,
                Step::NeedInput | Step::Paused => return,
            };
            self.to_server.buffer.drain(..consumed);
        }
    }

    fn hear(&mut self) {
        loop {
            let consumed = match self.client.receive(&self.to_client.buffer).unwrap() {
                Step::Event { consumed, event } => {
                    self.heard.hear(event);
                    consumed
                }
                Step::Skip { consumed } => consumed,
                Step::NeedInput | Step::Paused => return,
            };
            self.to_client.buffer.drain(..consumed);
        }
    }
}

impl Log {
    fn hear(&mut self, event: client::Event<'_>) {
        match event {
            client::Event::Response { response, .. } => {
                self.entries.push(format!("{response:?}"));
                self.messages.push(Vec::new());
            }
            client::Event::Item(Item::Content(content)) => {
                self.messages.last_mut().unwrap().extend_from_slice(content);
            }
            client::Event::Item(item) => self.entries.push(entry(&item)),
            client::Event::End { .. } => self.entries.push("End".to_owned()),
            client::Event::Greeting(_) => {}
        }
    }
}

/// Mechanisms look different where they are offered and where they are received.
fn entry(item: &Item<'_>) -> String {
    match item {
        Item::Capability(Capability::Sasl(mechanisms)) => format!("{:?}", mechanisms.iter().collect::<Vec<_>>()),
        item => format!("{item:?}"),
    }
}

/// A server's program: one maildrop, open to everybody.
fn answer(
    server: &mut server::Connection,
    event: &server::Event<'_>,
    mail: &[Vec<u8>],
    piece: usize,
    out: &mut Vec<u8>,
    said: &mut Log,
) {
    let response = response(event, mail);
    said.entries.push(format!("{response:?}"));
    said.messages.push(Vec::new());
    server.send(&response, out).unwrap();
    let server::Event::Command(command) = event else { return };
    if !command.is_multi_line() || response.is_err() {
        return;
    }
    if *command == Command::Capa {
        for capability in server.clone().capabilities() {
            let item = Item::Capability(capability);
            said.entries.push(entry(&item));
            server.send_item(&item, out).unwrap();
        }
    }
    let content = content(command, mail);
    for piece in content.chunks(piece) {
        server.send_item(&Item::Content(piece), out).unwrap();
    }
    said.messages.last_mut().unwrap().extend(on_the_wire(&content));
    for item in items(command, mail) {
        said.entries.push(entry(&item));
        server.send_item(&item, out).unwrap();
    }
    server.finish(out).unwrap();
    said.entries.push("End".to_owned());
}

fn response<'e>(event: &'e server::Event<'_>, mail: &[Vec<u8>]) -> Response<'e> {
    let command = match event {
        server::Event::Rejected(error) => return error.response(),
        server::Event::Sasl(SaslLine::Cancel) => return Response::err("cancelled"),
        server::Event::Sasl(SaslLine::Response(secret)) if secret.expose() == b"last" => return Response::ok("in"),
        server::Event::Sasl(SaslLine::Response(secret)) => return Response::Challenge(secret.clone()),
        server::Event::Command(command) => command,
    };
    let exists = |message: &MessageNumber| message.index() < mail.len();
    match command {
        Command::Auth { initial: Some(secret), .. } => Response::Challenge(secret.clone()),
        Command::Auth { initial: None, .. } => Response::Challenge(Secret::borrowed(b"")),
        Command::Stat => {
            let octets = mail.iter().map(|message| size(message)).sum();
            Response::DropListing { messages: u32::try_from(mail.len()).unwrap(), octets }
        }
        Command::Retr(message) | Command::Dele(message) | Command::Top { message, .. } if !exists(message) => {
            Response::err("no such message")
        }
        Command::List(Some(message)) | Command::Uidl(Some(message)) if !exists(message) => {
            Response::err("no such message")
        }
        Command::List(Some(message)) => Response::ScanListing(listing(message.index(), mail)),
        Command::Uidl(Some(message)) => Response::UniqueId(unique_id(message.index())),
        Command::Lang(Some(_)) => {
            Response::Language { tag: LanguageTag::new("es").unwrap(), text: Text::lossy("vale") }
        }
        _ => Response::ok("done, as you say"),
    }
}

fn items(command: &Command<'_>, mail: &[Vec<u8>]) -> Vec<Item<'static>> {
    match command {
        Command::List(None) => (0..mail.len()).map(|index| Item::ScanListing(listing(index, mail))).collect(),
        Command::Uidl(None) => (0..mail.len()).map(|index| Item::UniqueId(unique_id(index))).collect(),
        Command::Lang(None) => {
            vec![Item::Language { tag: LanguageTag::new("es").unwrap(), description: Text::lossy("Espa\u{f1}ol") }]
        }
        _ => Vec::new(),
    }
}

fn content(command: &Command<'_>, mail: &[Vec<u8>]) -> Vec<u8> {
    match command {
        Command::Retr(message) => mail[message.index()].clone(),
        Command::Top { message, lines } => Top::new(*lines).take(&mail[message.index()]).to_vec(),
        _ => Vec::new(),
    }
}

fn listing(index: usize, mail: &[Vec<u8>]) -> ScanListing {
    ScanListing { message: MessageNumber::from_index(index).unwrap(), octets: size(&mail[index]) }
}

fn unique_id(index: usize) -> UniqueIdListing<'static> {
    let id = ["whqtswO00WBw418f9t5JxYwZ", ".", "~!"][index % 3];
    UniqueIdListing { message: MessageNumber::from_index(index).unwrap(), id: UniqueId::new(id).unwrap() }
}

fn size(message: &[u8]) -> u64 {
    let mut size = WireSize::new();
    size.add(message);
    size.finish()
}

/// What a client must get of a stored message, octet by octet: each LF as CRLF, and a CRLF at the end.
fn on_the_wire(stored: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for octet in stored {
        if *octet == b'\n' && wire.last() != Some(&b'\r') {
            wire.push(b'\r');
        }
        wire.push(*octet);
    }
    if !wire.is_empty() && !wire.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

fn number(number: u32) -> MessageNumber {
    MessageNumber::new(number).unwrap()
}

fn login() -> [Command<'static>; 2] {
    [Command::User(Name::new("mrose").unwrap()), Command::Pass(Secret::borrowed(b" tan staaf "))]
}

/// Every command of a session after the login.
fn everything_once() -> Vec<Command<'static>> {
    vec![
        Command::Capa,
        Command::Stat,
        Command::List(None),
        Command::List(Some(number(1))),
        Command::List(Some(number(99))),
        Command::Uidl(None),
        Command::Uidl(Some(number(2))),
        Command::Uidl(Some(number(99))),
        Command::Lang(None),
        Command::Lang(Some(LanguageRange::new("es").unwrap())),
        Command::Last,
        Command::Noop,
        Command::Top { message: number(1), lines: 0 },
        Command::Top { message: number(2), lines: 1 },
        Command::Top { message: number(99), lines: 1 },
        Command::Retr(number(1)),
        Command::Retr(number(2)),
        Command::Retr(number(3)),
        Command::Retr(number(99)),
        Command::Dele(number(1)),
        Command::Rset,
    ]
}

fn mail() -> Vec<Vec<u8>> {
    vec![b"Subject: one\n\n.\n..\nno end".to_vec(), b"Subject: two\r\n\r\n1\r\n2\r\n3\r\n".to_vec(), Vec::new()]
}

#[test]
fn a_whole_session_is_heard_as_it_was_said_at_any_size_of_delivery() {
    for delivery in (1..40).chain([100, 1000, 100_000]) {
        for pipelining in [false, true] {
            let mail = mail();
            let mut pair = Pair::new(&mail, Sizes { delivery, piece: delivery, pipelining });
            pair.say(&login());
            assert_eq!(pair.client.state(), State::Transaction);
            pair.say(&everything_once());
            pair.say(&[Command::Quit]);
            assert!(pair.client.is_closed() && pair.server.is_closed());
            assert_eq!(pair.heard, pair.said, "in pieces of {delivery}");
            assert_eq!(pair.heard.messages.len(), 2 + everything_once().len() + 1);
        }
    }
}

/// RFC 6856 section 3.3, RFC 1939 section 5: the text before a listing is text, whatever it looks like.
#[test]
fn the_text_before_a_listing_is_not_taken_for_what_it_lists() {
    let said = [
        (Command::Lang(None), "Language listing follows:"),
        (Command::Uidl(None), "2 messages"),
        (Command::List(None), "2 320"),
    ];
    for (command, text) in said {
        let mut pair = Pair::new(&[], WHOLE);
        pair.say(&login());
        pair.client.send(&command, &mut pair.to_server.sent).unwrap();
        let line = format!("+OK {text}\r\n");
        let Step::Event { event, .. } = pair.client.receive(line.as_bytes()).unwrap() else { panic!("{command:?}") };
        assert_eq!(event, client::Event::Response { to: command.verb(), response: Response::ok(text) });
    }
}

#[test]
fn a_group_of_commands_goes_out_at_once_and_comes_back_in_order() {
    let mail = mail();
    let mut pair = Pair::new(&mail, Sizes { pipelining: true, ..WHOLE });
    let commands: Vec<_> = login().into_iter().chain(everything_once()).chain([Command::Quit]).collect();
    let mut expected = Vec::new();
    for command in &commands {
        pair.client.send(command, &mut pair.to_server.sent).unwrap();
        command.encode(&mut expected);
    }
    assert_eq!(pair.to_server.sent, expected);
    pair.exchange();
    assert!(pair.client.is_closed());
    assert_eq!(pair.heard, pair.said);
}

#[test]
fn pipelining_begins_when_the_server_lists_it() {
    let mail = mail();
    let mut pair = Pair::new(&mail, WHOLE);
    let send = |pair: &mut Pair<'_>, command: Command<'_>| pair.client.send(&command, &mut pair.to_server.sent);
    send(&mut pair, Command::Capa).unwrap();
    assert!(matches!(send(&mut pair, Command::Capa), Err(Misuse::AwaitingResponse { .. })));
    pair.exchange();
    assert!(pair.client.is_pipelining());
    send(&mut pair, Command::Capa).unwrap();
    send(&mut pair, Command::Capa).unwrap();
    pair.exchange();
    assert!(pair.heard == pair.said && !pair.client.is_waiting());
}

#[test]
fn tls_makes_both_sides_forget_what_was_known() {
    let mail = mail();
    let mut pair = Pair::new(&mail, WHOLE);
    pair.say(&[Command::Capa, Command::User(Name::new("early").unwrap()), Command::Stls]);
    assert!(pair.client.wants_tls() && pair.server.wants_tls());
    pair.server.secured(&pair.to_server.buffer).unwrap();
    pair.client.secured(&pair.to_client.buffer).unwrap();
    assert!(!pair.client.is_pipelining());
    let pass = Command::Pass(Secret::borrowed(b"b"));
    assert!(matches!(pair.client.send(&pass, &mut Vec::new()), Err(Misuse::OutOfPlace { .. })));
    assert!(matches!(pair.client.send(&Command::Stls, &mut Vec::new()), Err(Misuse::OutOfPlace { .. })));
    let offers = |pair: &Pair<'_>| pair.server.capabilities().any(|capability| capability == Capability::Stls);
    assert!(!offers(&pair));
    pair.say(&login());
    pair.say(&[Command::Capa, Command::Quit]);
    assert_eq!(pair.heard, pair.said);
}

#[test]
fn a_mechanism_of_many_steps_passes_its_octets_unchanged_both_ways() {
    let challenges = RefCell::new(Vec::new());
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
        if let client::Event::Response { response: Response::Challenge(challenge), .. } = event {
            challenges.borrow_mut().push(challenge.expose().to_vec());
            let line = SaslLine::Response(Secret::from(steps.next().unwrap().to_vec()));
            pair.client.respond(&line, &mut pair.to_server.sent).unwrap();
        }
        pair.to_client.buffer.drain(..consumed);
    }
    let expected: [&[u8]; 4] = [b"n,,n=user", b"", &[0, 1, 2, 255], &long[..1000]];
    assert_eq!(*challenges.borrow(), expected);
    assert_eq!((pair.client.state(), pair.server.state()), (State::Transaction, State::Transaction));
}

#[test]
fn a_cancelled_login_leaves_both_sides_before_the_login() {
    let mut pair = Pair::new(&[], WHOLE);
    pair.say(&[Command::Auth { mechanism: Mechanism::PLAIN, initial: None }]);
    assert!(pair.client.is_waiting());
    pair.client.respond(&SaslLine::Cancel, &mut pair.to_server.sent).unwrap();
    pair.exchange();
    assert_eq!((pair.client.state(), pair.server.state()), (State::Authorization, State::Authorization));
    pair.say(&login());
    assert_eq!(pair.client.state(), State::Transaction);
}

/// Messages made of what can go wrong: dots, CR and LF in any order, line ends split between pieces.
fn stored() -> impl Strategy<Value = Vec<u8>> {
    let octets = proptest::collection::vec(any::<u8>(), 0..4);
    let marks: [&[u8]; 9] = [b"\r", b"\n", b"\r\n", b".", b"..", b"\r\n.\r\n", b"\n.\n", b"a", b"\r\r\n"];
    let part = prop_oneof![4 => prop::sample::select(marks.to_vec()).prop_map(<[u8]>::to_vec), 1 => octets];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (1..60_usize, 1..60_usize, any::<bool>()).prop_map(|(delivery, piece, pipelining)| Sizes {
        delivery,
        piece,
        pipelining,
    })
}

proptest! {
    #[test]
    fn a_message_arrives_as_it_was_stored(message in stored(), sizes in sizes()) {
        let mail = [message];
        let mut pair = Pair::new(&mail, sizes);
        pair.say(&login());
        pair.say(&[Command::List(Some(number(1))), Command::Retr(number(1)), Command::Noop, Command::Quit]);
        let received = &pair.heard.messages[3];
        prop_assert_eq!(received, &on_the_wire(&mail[0]));
        prop_assert_eq!(received.len() as u64, size(&mail[0]));
        prop_assert_eq!(&pair.heard, &pair.said);
        prop_assert!(pair.client.is_closed());
    }

    #[test]
    fn commands_in_any_order_are_answered_in_that_order(
        mail in proptest::collection::vec(stored(), 0..5),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
        sizes in sizes(),
    ) {
        let all = everything_once();
        let mut pair = Pair::new(&mail, sizes);
        pair.say(&login());
        let commands: Vec<_> = order.iter().map(|at| at.get(&all).clone()).collect();
        pair.say(&commands);
        pair.say(&[Command::Quit]);
        prop_assert_eq!(&pair.heard, &pair.said);
        prop_assert!(pair.client.is_closed() && pair.server.is_closed());
    }
}
