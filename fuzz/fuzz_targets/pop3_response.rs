//! A POP3 response that is read from any line, as the answer to any command, is written as one line, which reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_pop3_proto::{Response, Verb};

/// The greeting, and the commands whose responses have a form, and one without.
const SUBJECTS: [Option<Verb>; 7] =
    [None, Some(Verb::Auth), Some(Verb::Lang), Some(Verb::List), Some(Verb::Noop), Some(Verb::Stat), Some(Verb::Uidl)];

fuzz_target!(|line: &[u8]| {
    if line.iter().any(|octet| b"\r\n".contains(octet)) {
        return;
    }
    for to in SUBJECTS {
        if let Ok(response) = Response::parse(line, to) {
            let mut out = Vec::new();
            response.encode(&mut out);
            let written = out.strip_suffix(b"\r\n").expect("a response ends in CRLF");
            assert!(!written.iter().any(|octet| b"\r\n".contains(octet)), "{}", out.escape_ascii());
            assert_eq!(Response::parse(written, to), Ok(response), "{} to {to:?}", out.escape_ascii());
        }
    }
});
