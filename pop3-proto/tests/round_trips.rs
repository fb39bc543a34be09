//! What is written is read as it was meant, and what is read is written as it was.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use postrider_pop3_proto::{
    Capability, Command, Digest, Expire, Item, LanguageRange, LanguageTag, Mechanism, Mechanisms, MessageNumber, Name,
    Response, ResponseCode, ScanListing, Secret, Step, Text, Timestamp, UniqueId, UniqueIdListing, Verb, client,
    server,
};
use proptest::prelude::*;

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

/// What commands, responses and listings are made of.
#[derive(Clone, Debug)]
struct Parts {
    number: u32,
    lines: u32,
    octets: u64,
    name: String,
    text: String,
    secret: Vec<u8>,
    tag: String,
    id: String,
    code: String,
    mechanism: String,
    host: String,
    digest: [u8; 16],
}

fn parts() -> impl Strategy<Value = Parts> {
    let secret =
        proptest::collection::vec(any::<u8>().prop_filter("ends a line", |octet| !b"\r\n\0".contains(octet)), 0..60);
    let numbers = (prop_oneof![Just(1), Just(u32::MAX), 1..=u32::MAX], any::<u32>(), any::<u64>());
    let words = (
        "[ -~\u{e9}\u{4e2d}]{1,40}",
        // Neither a code nor a timestamp, which both have a form of their own.
        "([!-;=-Z\\\\^-~\u{e9}][ -;=-~\u{e9}]{0,60})?",
        "[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8}){0,3}",
        "[!-~]{1,70}",
        "[!-.0-\\\\^-~]{1,10}(/[!-.0-\\\\^-~]{1,10}){0,3}",
        "[A-Z0-9_-]{1,20}",
        "[!-;=?A-~]{1,30}@[!-;=?A-~]{1,30}",
    );
    (numbers, words, secret, any::<[u8; 16]>()).prop_map(|(numbers, words, secret, digest)| {
        let (number, lines, octets) = numbers;
        let (name, text, tag, id, code, mechanism, host) = words;
        Parts { number, lines, octets, name, text, secret, tag, id, code, mechanism, host, digest }
    })
}

impl Parts {
    fn message(&self) -> MessageNumber {
        MessageNumber::new(self.number).unwrap()
    }

    fn commands(&self) -> Vec<Command<'_>> {
        let (message, name) = (self.message(), Name::new(&self.name).unwrap());
        let mechanism = Mechanism::new(&self.mechanism).unwrap();
        let auth = |initial: Option<&[u8]>| Command::Auth {
            mechanism,
            initial: initial.map(|initial| Secret::from(initial.to_vec())),
        };
        vec![
            Command::Apop { name, digest: Digest(self.digest) },
            auth(None),
            auth(Some(&self.secret)),
            auth(Some(b"")),
            Command::Capa,
            Command::Dele(message),
            Command::Lang(None),
            Command::Lang(Some(LanguageRange::ANY)),
            Command::Lang(Some(LanguageRange::new(&self.tag).unwrap())),
            Command::Last,
            Command::List(None),
            Command::List(Some(message)),
            Command::Noop,
            Command::Pass(Secret::borrowed(&self.secret)),
            Command::Quit,
            Command::Retr(message),
            Command::Rset,
            Command::Stat,
            Command::Stls,
            Command::Top { message, lines: self.lines },
            Command::Uidl(None),
            Command::Uidl(Some(message)),
            Command::User(name),
            Command::Utf8,
        ]
    }

    fn text(&self) -> Text<'_> {
        Text::new(&self.text).unwrap()
    }

    fn listing(&self) -> ScanListing {
        ScanListing { message: self.message(), octets: self.octets }
    }

    fn unique_id(&self) -> UniqueIdListing<'_> {
        UniqueIdListing { message: self.message(), id: UniqueId::new(&self.id).unwrap() }
    }

    fn timestamp(&self) -> String {
        format!("<{}>", self.host)
    }

    fn responses<'p>(&'p self, timestamp: &'p str) -> Vec<(Option<Verb>, Response<'p>)> {
        let (text, tag) = (self.text(), LanguageTag::new(&self.tag).unwrap());
        let code = ResponseCode::new(&self.code).unwrap();
        let description = Text::lossy(if self.text.is_empty() { "x" } else { &self.text });
        let timestamp = Timestamp::new(timestamp).unwrap();
        vec![
            (None, Response::Greeting { text: text.clone(), timestamp: None }),
            (None, Response::Greeting { text: text.clone(), timestamp: Some(timestamp) }),
            (None, Response::err(&self.text).with_code(code)),
            (Some(Verb::Auth), Response::Challenge(Secret::borrowed(&self.secret))),
            (Some(Verb::Pass), Response::ok(&self.text)),
            (Some(Verb::Pass), Response::ok(&self.text).with_code(code)),
            (Some(Verb::Auth), Response::err(&self.text)),
            (Some(Verb::Stat), Response::err(&self.text).with_code(ResponseCode::SYS_TEMP)),
            (Some(Verb::Lang), Response::Language { tag, text: description }),
            (Some(Verb::List), Response::ScanListing(self.listing())),
            (Some(Verb::Stat), Response::DropListing { messages: self.lines, octets: self.octets }),
            (Some(Verb::Uidl), Response::UniqueId(self.unique_id())),
        ]
    }

    fn capabilities<'p>(&'p self, mechanisms: &'p [Mechanism<'static>]) -> Vec<Capability<'p>> {
        let per_user = self.number.is_multiple_of(2);
        let text = Text::lossy(if self.text.is_empty() { "x" } else { &self.text });
        vec![
            Capability::AuthRespCode,
            Capability::Expire { expire: Expire::Days(self.lines), per_user },
            Capability::Expire { expire: Expire::Never, per_user },
            Capability::Implementation(text),
            Capability::Lang,
            Capability::LoginDelay { seconds: self.lines, per_user },
            Capability::Other { tag: b"X-NEW", arguments: Some(self.id.as_bytes()) },
            Capability::Other { tag: b"X-NEW", arguments: None },
            Capability::Pipelining,
            Capability::RespCodes,
            Capability::Sasl(Mechanisms::offered(mechanisms)),
            Capability::Stls,
            Capability::Top,
            Capability::Uidl,
            Capability::User,
            Capability::Utf8 { user: per_user },
        ]
    }

    fn items<'p>(&'p self, verb: Verb, mechanisms: &'p [Mechanism<'static>]) -> Vec<Item<'p>> {
        let tag = LanguageTag::new(&self.tag).unwrap();
        match verb {
            Verb::Capa => self.capabilities(mechanisms).into_iter().map(Item::Capability).collect(),
            Verb::Lang => {
                let empty = Item::Language { tag, description: Text::EMPTY };
                vec![Item::Language { tag, description: self.text() }, empty]
            }
            Verb::List => vec![Item::ScanListing(self.listing())],
            _ => vec![Item::UniqueId(self.unique_id())],
        }
    }
}

fn line_of(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut line = Vec::new();
    encode(&mut line);
    let text = line.strip_suffix(b"\r\n").unwrap();
    assert!(!text.iter().any(|octet| b"\r\n".contains(octet)), "{}", line.escape_ascii());
    text.to_vec()
}

/// A server that has just said `+OK` to `command`, and a client that has heard it.
fn open(command: &Command<'_>) -> (server::Connection, client::Connection) {
    let config = server::Config { extensions: everything(), ..server::Config::default() };
    let (mut server, mut client) =
        (server::Connection::new(config), client::Connection::new(client::Config::default()));
    let login = [Command::User(Name::new("a").unwrap()), Command::Pass(Secret::borrowed(b"b"))];
    let (mut said, mut heard) = (Vec::new(), Vec::new());
    server.send(&Response::Greeting { text: Text::EMPTY, timestamp: None }, &mut heard).unwrap();
    assert!(matches!(client.receive(&heard), Ok(Step::Event { .. })));
    for command in login.iter().chain([command]) {
        client.send(command, &mut said).unwrap();
        assert!(matches!(server.receive(&said), Ok(Step::Event { .. })));
        heard.clear();
        said.clear();
        server.send(&Response::ok(""), &mut heard).unwrap();
        assert!(matches!(client.receive(&heard), Ok(Step::Event { .. })));
    }
    (server, client)
}

proptest! {
    #[test]
    fn every_command_is_read_as_it_was_written(parts in parts()) {
        for command in parts.commands() {
            let line = line_of(|out| command.encode(out));
            prop_assert_eq!(Command::parse(&line), Ok(command));
        }
    }

    #[test]
    fn the_keyword_of_a_command_may_be_in_any_case(parts in parts(), lower in any::<u8>()) {
        for command in parts.commands() {
            let mut line = line_of(|out| command.encode(out));
            let keyword = line.iter().take_while(|octet| **octet != b' ').count();
            let flip = |(at, octet): (usize, &mut u8)| if lower >> at & 1 == 1 { octet.make_ascii_lowercase() };
            line[..keyword].iter_mut().enumerate().for_each(flip);
            prop_assert_eq!(Command::parse(&line), Ok(command));
        }
    }

    #[test]
    fn every_response_is_read_as_it_was_written(parts in parts()) {
        let timestamp = parts.timestamp();
        for (to, response) in parts.responses(&timestamp) {
            let line = line_of(|out| response.encode(out));
            prop_assert_eq!(Response::parse(&line, to), Ok(response));
        }
    }

    #[test]
    fn every_line_of_a_listing_is_heard_as_it_was_sent(parts in parts()) {
        let mechanisms = [Mechanism::PLAIN, Mechanism::SCRAM_SHA_256, Mechanism::OAUTHBEARER];
        for command in [Command::Capa, Command::Lang(None), Command::List(None), Command::Uidl(None)] {
            let (mut server, mut client) = open(&command);
            for item in parts.items(command.verb(), &mechanisms) {
                let mut line = Vec::new();
                server.send_item(&item, &mut line).unwrap();
                let expected = Step::Event { consumed: line.len(), event: client::Event::Item(item) };
                prop_assert_eq!(client.receive(&line), Ok(expected));
            }
            let mut end = Vec::new();
            server.finish(&mut end).unwrap();
            let expected = client::Event::End { to: command.verb() };
            prop_assert_eq!(client.receive(&end), Ok(Step::Event { consumed: 3, event: expected }));
        }
    }

    #[test]
    fn whatever_is_read_as_a_command_is_written_as_one_that_reads_the_same(
        line in "([A-Za-z]{3,4}|TOP|APOP|AUTH PLAIN|LANG|UIDL|PASS|\\PC{0,4})( [0-9A-Za-z=*@.-]{0,6}){0,3}",
    ) {
        if let Ok(command) = Command::parse(line.as_bytes()) {
            let written = line_of(|out| command.encode(out));
            prop_assert_eq!(Command::parse(&written), Ok(command));
        }
    }

    #[test]
    fn whatever_octets_come_as_a_line_they_are_read_without_a_panic(
        line in proptest::collection::vec(any::<u8>(), 0..80),
        verb in prop::sample::select(vec![Verb::Auth, Verb::Stat, Verb::List, Verb::Uidl, Verb::Lang, Verb::Retr]),
        status in prop::sample::select(vec![&b""[..], b"+", b"+ ", b"+OK ", b"-ERR [", b"+OK <"]),
    ) {
        let line = [status, &line].concat();
        let _ = Command::parse(&line);
        let _ = Capability::parse(&line);
        let read = [Response::parse(&line, None), Response::parse(&line, Some(verb))];
        prop_assert!(read.iter().all(|response| response.is_ok() || !line.starts_with(b"+OK ")));
    }
}

/// RFC 6856 section 3.2: after the tag comes another space, then the text; the text may be empty.
#[test]
fn a_language_chosen_without_a_text_is_still_a_language() {
    let response = Response::Language { tag: LanguageTag::new("en").unwrap(), text: Text::EMPTY };
    let line = line_of(|out| response.encode(out));
    assert_eq!(Response::parse(&line, Some(Verb::Lang)), Ok(response));
}

#[test]
fn a_name_a_number_or_an_id_out_of_range_cannot_be_made() {
    assert!(MessageNumber::new(0).is_none() && MessageNumber::from_index(u32::MAX as usize).is_none());
    assert_eq!(MessageNumber::from_index(u32::MAX as usize - 1).map(MessageNumber::as_u32), Some(u32::MAX));
    for name in ["", "a\r\nDELE 1", "a\0", "\t"] {
        assert!(Name::new(name).is_err(), "{name:?}");
    }
    for id in ["", "a b", "a\r\n.", &"x".repeat(71)] {
        assert!(UniqueId::new(id).is_err(), "{id:?}");
    }
    for code in ["", "/", "A//B", "A]", "A B", "A\r\n"] {
        assert!(ResponseCode::new(code).is_err(), "{code:?}");
    }
    for mechanism in ["", "A B", "A\r\nB", "ABCDEFGHIJKLMNOPQRSTU"] {
        assert!(Mechanism::new(mechanism).is_err(), "{mechanism:?}");
    }
    for tag in ["", "-", "en-", "en us", "12", "abcdefghi", "en\r\n"] {
        assert!(LanguageTag::new(tag).is_err() && LanguageRange::new(tag).is_err(), "{tag:?}");
    }
    for timestamp in ["<a@b", "<a@b>\r\n", "<a b@c>", "<@>", "<\u{e9}@b>"] {
        assert!(Timestamp::new(timestamp).is_err(), "{timestamp:?}");
    }
    for text in ["a\rb", "a\nb", "a\0b", "[IN-USE] b"] {
        assert!(Text::new(text).is_err(), "{text:?}");
    }
}
