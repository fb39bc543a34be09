//! One connection to the server under test: what is said, what is heard, and whether it may be heard.

use std::time::Duration;

/// How long nothing must come where nothing may.
const SILENCE: Duration = Duration::from_millis(300);

/// What came from the server.
pub(crate) enum Received {
    Octets(Vec<u8>),
    Closed,
    Silence,
}

/// What brings octets to a server and back.
pub(crate) trait Transport {
    /// What cannot be sent because the server has closed is lost.
    fn send(&mut self, octets: &[u8]);

    fn receive(&mut self, wait: Duration) -> Received;

    /// Starts TLS, where that can be done; octets that the server had not read are its own affair.
    fn secure(&mut self) -> bool {
        false
    }

    /// The messages taken on this connection, where they can be seen.
    fn messages(&self) -> Option<&[Vec<u8>]> {
        None
    }
}

/// What the server said, as a client understands it.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Reply {
        code: String,
        lines: Vec<String>,
    },
    Closed,
    Silence,
    /// Octets that are no reply.
    Garbage,
}

/// Why a case failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) expected: String,
    pub(crate) heard: String,
    pub(crate) transcript: Vec<String>,
}

impl Failure {
    pub(crate) fn unheard(heard: String) -> Self {
        Self { expected: "a session".to_owned(), heard, transcript: Vec::new() }
    }
}

/// A session, and what was said in it.
pub(crate) struct Session<T> {
    transport: T,
    unread: Vec<u8>,
    last: Heard,
    transcript: Vec<String>,
    /// What is wrong with the form of a reply that can be understood all the same.
    pub(crate) faults: Vec<String>,
}

impl<T: Transport> Session<T> {
    pub(crate) fn new(transport: T) -> Self {
        Self { transport, unread: Vec::new(), last: Heard::Silence, transcript: Vec::new(), faults: Vec::new() }
    }

    pub(crate) fn say(&mut self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        self.note("C: ", &octets.escape_ascii().to_string());
        self.transport.send(octets);
    }

    pub(crate) fn last(&self) -> &Heard {
        &self.last
    }

    pub(crate) fn messages(&self) -> Option<&[Vec<u8>]> {
        self.transport.messages()
    }

    pub(crate) fn secure(&mut self) -> bool {
        self.note("TLS", "");
        self.transport.secure()
    }

    /// Whether the server has closed, or has said that it does.
    pub(crate) fn is_over(&self) -> bool {
        fits("closed", &self.last)
    }

    /// The next reply, or why there is none.
    pub(crate) fn hear(&mut self, wait: Duration) -> Heard {
        let mut lines = Vec::new();
        let heard = loop {
            match self.line(wait) {
                Ok(line) => match self.reply_line(&line, &mut lines) {
                    Some(heard) => break heard,
                    None => continue,
                },
                Err(heard) => break heard,
            }
        };
        match &heard {
            Heard::Closed => self.note("S: ", "(closed)"),
            Heard::Silence => self.note("S: ", "(nothing)"),
            _ => {}
        }
        self.last = heard.clone();
        heard
    }

    /// A line with its CRLF.
    fn line(&mut self, wait: Duration) -> Result<Vec<u8>, Heard> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                return Ok(self.unread.drain(..end + 2).collect());
            }
            match self.transport.receive(wait) {
                Received::Octets(octets) => self.unread.extend_from_slice(&octets),
                _ if !self.unread.is_empty() => {
                    let rest = std::mem::take(&mut self.unread);
                    self.note("S: ", &rest.escape_ascii().to_string());
                    return Err(Heard::Garbage);
                }
                Received::Closed => return Err(Heard::Closed),
                Received::Silence => return Err(Heard::Silence),
            }
        }
    }

    /// The reply that ends with `line`, if one does.
    fn reply_line(&mut self, line: &[u8], lines: &mut Vec<(String, String)>) -> Option<Heard> {
        let shown = line.strip_suffix(b"\r\n").unwrap_or(line).escape_ascii().to_string();
        self.note("S: ", &shown);
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r\n").unwrap_or(line)).into_owned();
        let (code, rest) = text.split_at_checked(3).unwrap_or(("", ""));
        let is_code =
            code.chars().all(|digit| digit.is_ascii_digit()) && matches!(code.chars().next(), Some('2'..='5'));
        let same = lines.iter().all(|(other, _)| other == code);
        if !is_code || !same || !matches!(rest.chars().next(), None | Some(' ' | '-')) {
            return Some(Heard::Garbage);
        }
        if line.len() > 512 {
            self.faults.push(format!("line of {} octets (RFC 5321 section 4.5.3.1.5): {shown}", line.len()));
        }
        if rest.bytes().any(|octet| !matches!(octet, b'\t' | 32..=126)) {
            self.faults.push(format!("not text of printable ASCII (RFC 5321 section 4.2): {shown}"));
        }
        if is_enhanced(rest) && rest.chars().nth(1) != code.chars().next() {
            self.faults.push(format!("enhanced code of another class (RFC 2034 section 4): {shown}"));
        }
        lines.push((code.to_owned(), rest.get(1..).unwrap_or_default().to_owned()));
        let code = code.to_owned();
        (!rest.starts_with('-')).then(|| Heard::Reply { code, lines: lines.drain(..).map(|(_, text)| text).collect() })
    }

    /// The next reply has to fit one of the alternatives.
    pub(crate) fn expect(&mut self, pattern: &str, wait: Duration) -> Result<(), Failure> {
        let wait = if pattern.starts_with("silence") { SILENCE } else { wait };
        let heard = self.hear(wait);
        if fits(pattern, &heard) { Ok(()) } else { Err(self.failure(pattern, format!("{heard:?}"))) }
    }

    /// Nothing is left to be heard but the answer to `QUIT`: both sides agree where they are.
    pub(crate) fn quit(&mut self, wait: Duration) -> Result<(), Failure> {
        if self.is_over() {
            return Ok(());
        }
        self.say(b"QUIT\r\n");
        self.expect("221|closed", wait)?;
        if matches!(self.last, Heard::Closed) { Ok(()) } else { self.expect("closed", wait) }
    }

    pub(crate) fn failure(&self, expected: &str, heard: String) -> Failure {
        Failure { expected: expected.to_owned(), heard, transcript: self.transcript.clone() }
    }

    /// Long lines are cut: they are long for the server's sake.
    fn note(&mut self, who: &str, line: &str) {
        const MOST: usize = 400;
        let cut = line.char_indices().nth(MOST).map_or(line, |(at, _)| &line[..at]);
        let more = if cut.len() < line.len() { format!("... ({} octets)", line.len()) } else { String::new() };
        self.transcript.push(format!("{who}{cut}{more}"));
    }
}

/// Whether the text of a reply begins with an enhanced code; `text` has the octet after the code in front.
fn is_enhanced(text: &str) -> bool {
    let word = text.get(1..).and_then(|text| text.split(' ').next()).unwrap_or_default();
    let parts: Vec<_> = word.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit()))
}

/// Whether what was heard is one of the alternatives: `250`, `5..`, `250 2.` (with the start of its text), `closed` (or 421), `silence`.
pub(crate) fn fits(pattern: &str, heard: &Heard) -> bool {
    pattern.split('|').any(|alternative| match (alternative, heard) {
        ("closed", Heard::Reply { code, .. }) => code == "421",
        ("closed", Heard::Closed) | ("silence", Heard::Silence) => true,
        (alternative, Heard::Reply { code, lines }) => {
            let (digits, start) = alternative.split_once(' ').unwrap_or((alternative, ""));
            let same = digits.chars().zip(code.chars()).all(|(digit, other)| digit == '.' || digit == other);
            digits.len() == 3 && same && lines.last().is_some_and(|line| line.starts_with(start))
        }
        _ => false,
    })
}
