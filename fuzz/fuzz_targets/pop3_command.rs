//! A POP3 command that is read from any octets is written as one line, which reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_pop3_proto::{Command, Quirks};

fuzz_target!(|line: &[u8]| {
    let forgiving = Quirks { extra_spaces: true, ..Quirks::default() };
    for quirks in [Quirks::default(), forgiving] {
        if let Ok(command) = Command::parse_with(line, quirks) {
            let mut out = Vec::new();
            command.encode(&mut out);
            match out.strip_suffix(b"\r\n") {
                Some(written) => {
                    assert!(!written.iter().any(|octet| b"\r\n\0".contains(octet)), "{}", out.escape_ascii());
                    assert_eq!(Command::parse(written), Ok(command));
                }
                None => assert!(out.is_empty() && cannot_be_written(&command), "{command:?}"),
            }
        }
    }
});

/// A password that no line can carry is not written at all.
fn cannot_be_written(command: &Command<'_>) -> bool {
    let Command::Pass(password) = command else { return false };
    password.expose().iter().any(|octet| b"\r\n\0".contains(octet))
}
