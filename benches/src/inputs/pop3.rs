use std::fmt::Write;

use super::Random;

/// Sessions of [`commands`].
pub(crate) const SESSIONS: u32 = 1000;
/// Commands of a session.
pub(crate) const COMMANDS: u32 = 12;
/// Lines of [`scan_listings`] and of [`unique_ids`].
pub(crate) const LINES: u32 = 10_000;

/// Sessions that use what mail readers use.
pub(crate) fn commands() -> Vec<u8> {
    let mut random = Random::new(80);
    let mut said = String::new();
    for _ in 0..SESSIONS {
        let (name, n, password) = (random.first_name(), random.number(0, 99), random.bits() >> 16);
        let message = random.number(1, 9999);
        let _ = write!(
            said,
            "USER {name}{n}\r\nPASS p{password:x}\r\nSTAT\r\nUIDL\r\nLIST\r\nTOP {message} 20\r\nRETR {message}\r\n\
             DELE {message}\r\nLIST {message}\r\nUIDL {message}\r\nNOOP\r\nQUIT\r\n"
        );
    }
    said.into_bytes()
}

/// An answer to `LIST`.
pub(crate) fn scan_listings() -> Vec<u8> {
    let mut random = Random::new(81);
    listing(|message| format!("{message} {}", random.number(600, 9_000_000)))
}

/// An answer to `UIDL`.
pub(crate) fn unique_ids() -> Vec<u8> {
    let mut random = Random::new(82);
    listing(|message| format!("{message} {:016x}{message:08x}", random.bits()))
}

fn listing(mut line: impl FnMut(u32) -> String) -> Vec<u8> {
    let lines: Vec<String> = (1..=LINES).map(|message| line(message) + "\r\n").collect();
    format!("+OK {LINES} messages\r\n{}.\r\n", lines.concat()).into_bytes()
}
