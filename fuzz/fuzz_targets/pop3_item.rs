//! A line of a POP3 listing that a client reads is said by a server as a line that reads the same.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postrider_fuzz::pop3::Answering;
use postrider_pop3_proto::{Command, Item};

static LISTINGS: LazyLock<[Answering; 4]> = LazyLock::new(|| {
    [Command::Capa, Command::Lang(None), Command::List(None), Command::Uidl(None)]
        .map(|command| Answering::new(&command))
});

fuzz_target!(|octets: &[u8]| {
    if octets.iter().any(|octet| b"\r\n".contains(octet)) {
        return;
    }
    let line = [octets, b"\r\n"].concat();
    for listing in LISTINGS.iter() {
        let Some(item) = listing.read(&line) else { continue };
        match listing.write(&item) {
            Some(written) => assert_eq!(listing.read(&written), Some(item), "{}", written.escape_ascii()),
            None => assert!(matches!(item, Item::Other(_) | Item::Capability(_)), "{item:?}"),
        }
    }
});
