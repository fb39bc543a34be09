//! What both sides say, on standard error: `>` what we say, `<` what the server says, `*` what else is to be known.
//!
//! A message is a count of octets, a login is not shown, and nothing a server says moves the cursor.

use std::io::{self, Write};

use postrider_smtp_proto::Escaped;

/// Shows a conversation, if it is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Transcript {
    /// Whether it is to be shown.
    pub verbose: bool,
}

impl Transcript {
    /// Whole lines that go to the server.
    pub fn said(self, octets: &[u8]) {
        self.lines('>', octets);
    }

    /// Whole lines that came from the server.
    pub fn heard(self, octets: &[u8]) {
        self.lines('<', octets);
    }

    fn lines(self, side: char, octets: &[u8]) {
        if self.verbose && !octets.is_empty() {
            let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
            for line in octets.split(|octet| *octet == b'\n') {
                self.show(side, &Escaped(line.strip_suffix(b"\r").unwrap_or(line)).to_string());
            }
        }
    }

    /// A line to the server that is not to be shown as it is.
    pub fn said_instead(self, text: &str) {
        self.show('>', text);
    }

    /// The same from the server.
    pub fn heard_instead(self, text: &str) {
        self.show('<', text);
    }

    /// What neither has said.
    pub fn note(self, text: &str) {
        self.show('*', text);
    }

    /// Where nobody can read it, the session goes on.
    fn show(self, side: char, text: &str) {
        if self.verbose {
            let _ = writeln!(io::stderr(), "{side} {text}");
        }
    }
}
