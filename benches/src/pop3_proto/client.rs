use postrider_pop3_proto::client::{Config, Connection, Event};
use postrider_pop3_proto::{Command, Item, MessageNumber, Name, ScanListing, Secret, Step};

use super::{POP3_CODEC, RFC1939, SAWP, peers};
use crate::case::{Case, Gate};
use crate::checksum::Checksum;
use crate::inputs::content::{Dots, dotted, message, on_the_wire};
use crate::inputs::pop3;
use crate::text_proto::copy;

const CONNECTION: &str = "client::Connection";

/// The peers want the whole answer in one buffer, and get it; our connection is given the same, though it takes pieces. Its command is written within
/// the measurement.
///
/// pop3-codec gives a `Vec` of numbers of 32 bits, rfc1939 one of `usize` (what is no number becomes 0), sawp a copy of each line in which it looks
/// for nothing; we read the numbers for it.
pub(super) fn scan_listings() -> Case {
    let mut client = Client::logged_in();
    Case::new("pop3_proto LIST", "line", pop3::LINES, pop3::scan_listings())
        .ours(CONNECTION, move |input| {
            let mut sum = Checksum::default();
            client.ask(&Command::List(None), input, |item| {
                if let Item::ScanListing(ScanListing { message, octets }) = item {
                    sum.add(message.as_u32().into());
                    sum.add(octets);
                }
            });
            sum.value()
        })
        .peer(POP3_CODEC, peers::pop3_codec_scan_listings)
        .peer(RFC1939, peers::rfc1939_scan_listings)
        .peer(SAWP, peers::sawp_scan_listings)
        .gate(Gate::Instructions { ours: CONNECTION, other: POP3_CODEC, at_most: 0.43 })
        .without_allocations()
}

/// As [`scan_listings`]. pop3-codec owns each unique-id; rfc1939 borrows it and does not look at its octets.
pub(super) fn unique_ids() -> Case {
    let mut client = Client::logged_in();
    Case::new("pop3_proto UIDL", "line", pop3::LINES, pop3::unique_ids())
        .ours(CONNECTION, move |input| {
            let mut sum = Checksum::default();
            client.ask(&Command::Uidl(None), input, |item| {
                if let Item::UniqueId(listing) = item {
                    sum.add(listing.message.as_u32().into());
                    sum.add_len(listing.id.as_bytes());
                }
            });
            sum.value()
        })
        .peer(POP3_CODEC, peers::pop3_codec_unique_ids)
        .peer(RFC1939, peers::rfc1939_unique_ids)
        .peer(SAWP, peers::sawp_unique_ids)
        .gate(Gate::Instructions { ours: CONNECTION, other: POP3_CODEC, at_most: 0.43 })
        .without_allocations()
}

/// A message of 1 MB, 1 % of its lines with a dot first. Our connection gives slices of the buffer, which is what its users write to a file; a second
/// way also copies them into one piece.
///
/// pop3-codec gives a string a line, UTF-8 only, with the stuffed dot; the dot is taken off here by looking at the first octet. sawp gives a copy of
/// each line without it. rfc1939 looks for the end alone and leaves all dots, so that its result is corrected by their known number.
pub(super) fn retrieval() -> Case {
    let content = message(1 << 20, Dots::Percent(1));
    let input = [format!("+OK {} octets\r\n", content.len()).into_bytes(), on_the_wire(&content)].concat();
    let (mut client, mut copying, mut copied) = (Client::logged_in(), Client::logged_in(), Vec::new());
    assert!(
        retrieved(&mut client, &input, |piece| copied.extend_from_slice(piece)) > 0 && copied == content,
        "other octets"
    );
    let stuffed = dotted(&content);
    Case::new("pop3_proto RETR 1 MB, client", "message", 1, input)
        .ours(CONNECTION, move |input| retrieved(&mut client, input, |_| {}))
        .ours("client::Connection, copied", move |input| {
            copied.clear();
            retrieved(&mut copying, input, |piece| copied.extend_from_slice(piece))
        })
        .peer(SAWP, peers::sawp_message)
        .peer(POP3_CODEC, peers::pop3_codec_message)
        .peer(RFC1939, move |input| peers::rfc1939_message(input, stuffed))
        .floor(MEMCPY, copy())
        .gate(Gate::Time { ours: CONNECTION, other: MEMCPY, at_most: 1.5 })
        .gate(Gate::Instructions { ours: CONNECTION, other: SAWP, at_most: 0.05 })
        .without_allocations()
}

const MEMCPY: &str = "memcpy";

fn retrieved(client: &mut Client, input: &[u8], mut take: impl FnMut(&[u8])) -> u64 {
    let mut size = 0;
    client.ask(&Command::Retr(client.first), input, |item| {
        if let Item::Content(content) = item {
            size += content.len() as u64;
            take(content);
        }
    });
    size
}

struct Client {
    connection: Connection,
    out: Vec<u8>,
    first: MessageNumber,
}

impl Client {
    fn logged_in() -> Self {
        let (Ok(name), Some(first)) = (Name::new("a"), MessageNumber::new(1)) else { panic!("not a name or a number") };
        let mut client = Self { connection: Connection::new(Config::default()), out: Vec::new(), first };
        assert!(client.connection.receive(b"+OK\r\n").is_ok(), "the server did not greet");
        client.ask(&Command::User(name), b"+OK\r\n", |_| {});
        client.ask(&Command::Pass(Secret::borrowed(b"b")), b"+OK\r\n", |_| {});
        client
    }

    /// Says `command` and reads its whole answer, `input`.
    #[inline]
    fn ask(&mut self, command: &Command<'_>, input: &[u8], mut take: impl FnMut(Item<'_>)) {
        self.out.clear();
        let asked = self.connection.send(command, &mut self.out);
        assert!(asked.is_ok(), "the command does not belong here");
        let mut rest = input;
        while let Ok(Step::Event { consumed, event }) = self.connection.receive(rest) {
            if let Event::Item(item) = event {
                take(item);
            }
            rest = &rest[consumed..];
        }
    }
}
