//! Our server passes the conformance kit, however its input is cut and whatever it makes of line ends.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use postrider_smtp_proto::{Code, Command, LineEndings, Reply, SaslLine, Step, server};

#[path = "../../testdata/conformance.rs"]
mod conformance;
#[path = "support/everything.rs"]
mod everything;

use conformance::{Received, Score, Target, Transport, Verdict, groups, run, seeds};
use everything::everything;

const TO: &str = "user@mail.example";
const BAD: &str = "nobody@mail.example";

/// A server in memory: it takes mail for everybody but [`BAD`], and no login succeeds.
struct Memory {
    connection: server::Connection,
    lmtp: bool,
    /// How many octets come at a time.
    size: usize,
    input: Vec<u8>,
    out: Vec<u8>,
    message: Vec<u8>,
    messages: Vec<Vec<u8>>,
    recipients: usize,
    closed: bool,
    /// Takes an LF for the end of a line, as programs do that read lines with their language's own function.
    careless: bool,
    /// The most octets that waited to be understood.
    largest: Rc<RefCell<usize>>,
}

impl Memory {
    fn new(config: server::Config, size: usize, largest: &Rc<RefCell<usize>>) -> Self {
        let lmtp = config.lmtp;
        let mut memory = Self {
            connection: server::Connection::new(config),
            lmtp,
            size,
            input: Vec::new(),
            out: Vec::new(),
            message: Vec::new(),
            messages: Vec::new(),
            recipients: 0,
            closed: false,
            careless: false,
            largest: Rc::clone(largest),
        };
        memory.reply(&Reply::new(Code::READY, "mail.example ready"));
        memory
    }

    fn reply(&mut self, reply: &Reply<'_>) {
        self.connection.send(reply, &mut self.out).unwrap();
    }

    /// Deals with what has come, as far as it goes.
    fn serve(&mut self) {
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        while !self.closed {
            match self.connection.receive(&input[at..]) {
                Ok(Step::Event { consumed, event }) => {
                    self.answer(&event);
                    at += consumed;
                }
                Ok(Step::Skip { consumed }) => at += consumed,
                Ok(Step::NeedInput | Step::Paused) => break,
                Err(_) => self.closed = true,
            }
            self.closed |= self.connection.is_closed();
        }
        input.drain(..at);
        self.input = input;
        let mut largest = self.largest.borrow_mut();
        *largest = self.input.len().max(*largest);
    }

    fn answer(&mut self, event: &server::Event<'_>) {
        match event {
            server::Event::Chunk(chunk) => {
                if chunk.first {
                    self.message.clear();
                }
            }
            server::Event::ChunkEnd(end) => {
                let taken = Reply::new(Code::OK, "go on").with_enhanced(2, 0, 0);
                self.reply(&end.fault.map_or(taken, |fault| fault.reply()));
            }
            server::Event::Content(content) => self.message.extend_from_slice(content),
            server::Event::ContentEnd(end) => self.take(*end),
            server::Event::Command(command) => self.obey(command),
            server::Event::Rejected(error) => self.reply(&error.reply()),
            server::Event::Sasl(SaslLine::Cancel) => {
                self.reply(&Reply::new(Code::ARGUMENT_ERROR, "cancelled").with_enhanced(5, 7, 0));
            }
            server::Event::Sasl(SaslLine::Response(_)) => self.refuse_login(),
        }
    }

    fn take(&mut self, end: server::ContentEnd) {
        let message = std::mem::take(&mut self.message);
        let reply = end.fault.map(|fault| fault.reply());
        if reply.is_none() {
            self.messages.push(message);
        }
        let reply = reply.unwrap_or(Reply::new(Code::OK, "taken").with_enhanced(2, 0, 0));
        let count = if self.lmtp { self.recipients } else { 1 };
        (0..count).for_each(|_| self.reply(&reply));
        self.recipients = 0;
    }

    fn obey(&mut self, command: &Command<'_>) {
        let reply = match command {
            Command::Ehlo(_) | Command::Helo(_) | Command::Lhlo(_) => {
                self.recipients = 0;
                return self.connection.send_hello("mail.example", &mut self.out).unwrap();
            }
            Command::Auth { initial: None, .. } => Reply::challenge_of(b""),
            Command::Auth { .. } => return self.refuse_login(),
            Command::Data => {
                self.message.clear();
                Reply::new(Code::START_MAIL_INPUT, "go on")
            }
            Command::Mail { .. } | Command::Xclient(_) => {
                self.recipients = 0;
                Reply::new(Code::OK, "fine").with_enhanced(2, 0, 0)
            }
            Command::Quit => Reply::new(Code::CLOSING, "bye").with_enhanced(2, 0, 0),
            Command::Rcpt { to, .. } if to.to_string() == format!("<{BAD}>") => {
                Reply::new(Code::MAILBOX_UNAVAILABLE, "no such user").with_enhanced(5, 1, 1)
            }
            Command::Rcpt { .. } => {
                self.recipients += 1;
                Reply::new(Code::OK, "taken").with_enhanced(2, 1, 5)
            }
            Command::Rset => {
                self.recipients = 0;
                Reply::new(Code::OK, "forgotten").with_enhanced(2, 0, 0)
            }
            Command::StartTls => Reply::new(Code::READY, "go ahead").with_enhanced(2, 0, 0),
            Command::Vrfy(_) => Reply::new(Code::CANNOT_VERIFY, "perhaps").with_enhanced(2, 5, 2),
            _ => Reply::new(Code::OK, "fine").with_enhanced(2, 0, 0),
        };
        self.reply(&reply);
    }

    fn refuse_login(&mut self) {
        self.reply(&Reply::new(Code::AUTHENTICATION_FAILED, "no").with_enhanced(5, 7, 8));
    }
}

impl Transport for Memory {
    fn send(&mut self, octets: &[u8]) {
        let careless =
            self.careless.then(|| String::from_utf8_lossy(octets).replace("\r\n", "\n").replace('\n', "\r\n"));
        let octets = careless.as_ref().map_or(octets, |text| text.as_bytes());
        for piece in octets.chunks(self.size) {
            if !self.closed {
                self.input.extend_from_slice(piece);
                self.serve();
            }
        }
    }

    fn receive(&mut self, _: Duration) -> Received {
        match (std::mem::take(&mut self.out), self.closed) {
            (out, true) if out.is_empty() => Received::Closed,
            (out, false) if out.is_empty() => Received::Silence,
            (out, _) => Received::Octets(out),
        }
    }

    fn secure(&mut self) -> bool {
        self.closed |= !self.connection.wants_tls() || self.connection.secured(&self.input).is_err();
        true
    }

    fn messages(&self) -> Option<&[Vec<u8>]> {
        Some(&self.messages)
    }
}

/// What a server of ours makes of the kit, and the most octets it held.
fn score(config: &server::Config, size: usize) -> (Score, usize) {
    let largest = Rc::default();
    let mut target = Target::new(TO);
    (target.bad, target.lmtp) = (Some(BAD.to_owned()), config.lmtp);
    let score = run(&mut target, &mut || Ok(Memory::new(config.clone(), size, &largest)));
    let largest = *largest.borrow();
    (score, largest)
}

fn offering_everything() -> server::Config {
    server::Config { extensions: everything(), ..server::Config::default() }
}

fn assert_all_pass(config: &server::Config, sizes: &[usize]) {
    for size in sizes {
        let (score, largest) = score(config, *size);
        let failed: String = score.failed("").into_iter().map(ToString::to_string).collect();
        assert!(failed.is_empty(), "in pieces of {size}\n{failed}{score}");
        assert_eq!(score.faults, Vec::<String>::new());
        // A long line is let go piece by piece.
        assert!(largest <= config.limits.sasl_line, "{largest} octets were held in pieces of {size}");
    }
}

const SIZES: [usize; 3] = [1, 7, usize::MAX];

#[test]
fn our_server_passes_the_kit() {
    assert_all_pass(&offering_everything(), &SIZES);
}

#[test]
fn our_server_passes_the_kit_with_every_policy_on_line_ends() {
    for line_endings in [LineEndings::Normalise, LineEndings::Note] {
        assert_all_pass(&server::Config { line_endings, ..offering_everything() }, &SIZES[1..]);
    }
}

#[test]
fn our_server_passes_the_kit_with_few_extensions() {
    assert_all_pass(&server::Config::default(), &SIZES[1..]);
}

#[test]
fn our_server_passes_the_kit_with_a_small_limit() {
    for line_endings in [LineEndings::Reject, LineEndings::Normalise] {
        let mut config = server::Config { line_endings, ..offering_everything() };
        config.limits.message = 110_000;
        assert_all_pass(&config, &SIZES[1..]);
    }
}

#[test]
fn our_server_passes_the_kit_in_lmtp() {
    assert_all_pass(&server::Config { lmtp: true, ..offering_everything() }, &SIZES);
}

#[test]
fn a_server_that_takes_an_lf_for_the_end_of_a_line_fails() {
    let connect = || {
        let mut memory = Memory::new(offering_everything(), usize::MAX, &Rc::default());
        memory.careless = true;
        Ok(memory)
    };
    let score = run(&mut Target::new(TO), &mut { connect });
    let failed: Vec<_> = score.failed("MUST").into_iter().map(|case| case.title.as_str()).collect();
    for name in ["LF.LF, start", "LF.CRLF, middle", "CRLF.LF, last"] {
        assert!(failed.contains(&name), "{name} is not among {failed:?}");
    }
    // What it does not read differently it still passes.
    assert!(!failed.contains(&"CR.CR, middle") && failed.len() < 60, "{failed:?}");
}

#[test]
fn what_is_left_out_is_what_is_not_offered() {
    let mut config = offering_everything();
    config.limits.message = 110_000;
    let (score, _) = score(&config, usize::MAX);
    let missing: std::collections::BTreeSet<_> = score
        .cases
        .iter()
        .filter_map(|case| match &case.verdict {
            Verdict::Skipped(missing) => Some(missing.as_str()),
            _ => None,
        })
        .collect();
    // It is asked for within TLS only.
    let known = ["LMTP", "REQUIRETLS", "an extension or an address"];
    let unknown: Vec<_> = missing.iter().filter(|one| !one.starts_with('-') && !known.contains(*one)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_case_has_a_title_of_its_own() {
    let mut titles: Vec<_> = groups()
        .into_iter()
        .flat_map(|(group, cases)| cases.into_iter().map(move |case| (group.clone(), case.title)))
        .collect();
    let count = titles.len();
    titles.sort();
    titles.dedup();
    assert!(count > 300 && titles.len() == count, "{count} cases, {} titles", titles.len());
}

#[test]
fn most_cases_are_inputs_of_the_fuzz_targets() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-seeds");
    let _ = std::fs::remove_dir_all(&folder);
    let count = seeds::write(&folder).unwrap();
    let written = |target: &str| std::fs::read_dir(folder.join(target)).unwrap().count();
    assert!(count > 300 && written("smtp_server_splits") + written("smtp_smuggling") == count, "{count}");
    std::fs::remove_dir_all(&folder).unwrap();
}
