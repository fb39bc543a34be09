//! The protocol's connection over the stream: says commands, hears replies, shows both.
//!
//! When writing fails, the server may have said why before it closed. So a failed write is kept, what can still be read is read, and only when there is no more the
//! failure is reported.

use std::io;
use std::time::{Duration, Instant};

use postrider_smtp_proto::client::{Connection, Event};
use postrider_smtp_proto::transfer::{Next, Outcome, Transfer};
use postrider_smtp_proto::{Code, Command, Escaped, Misuse, Reply, SaslLine, State, Step};

use super::failure::Failure;
use super::message::Message;
use super::stream::{Security, Stream};
use super::transcript::Transcript;

/// How long a server that does not read any more may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Octets of it that are kept. A reply has fewer.
const MAX_LAST_WORDS: usize = 64 * 1024;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(10);

/// A session's connection.
#[derive(Debug)]
pub struct Channel {
    stream: Stream,
    connection: Connection,
    input: Vec<u8>,
    out: Vec<u8>,
    transcript: Transcript,
    /// How long the server may take, where the user says so.
    patience: Option<Duration>,
    /// Why nothing can be written any more, and until when it is heard what the server has to say to that.
    broken: Option<(io::Error, Instant)>,
    /// Octets of the message that were written.
    content: u64,
    /// Whether TLS is up with a server whose certificate was verified.
    verified: bool,
}

impl Channel {
    /// A channel on which nothing was said.
    #[must_use]
    pub fn new(stream: Stream, connection: Connection, transcript: Transcript, patience: Option<Duration>) -> Self {
        let (input, out) = (Vec::new(), Vec::new());
        Self { stream, connection, input, out, transcript, patience, broken: None, content: 0, verified: false }
    }

    /// The protocol's side of it.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether TLS is up with a server whose certificate was verified.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// Whether TLS is up.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        self.stream.is_secured()
    }

    /// Says a command and hears its reply.
    ///
    /// # Errors
    ///
    /// When it does not belong here, or the connection is lost.
    pub fn ask(&mut self, command: &Command<'_>) -> Result<Reply<'static>, Failure> {
        self.connection.send(command, &mut self.out)?;
        match command {
            Command::Auth { mechanism, initial } => {
                let hidden = if initial.is_some() { " (hidden)" } else { "" };
                self.transcript.said_instead(&format!("AUTH {mechanism}{hidden}"));
            }
            _ => self.transcript.said(&self.out),
        }
        self.hear()
    }

    /// Answers a challenge and hears what comes of it.
    ///
    /// # Errors
    ///
    /// When there is none, or the connection is lost.
    pub fn respond(&mut self, line: &SaslLine) -> Result<Reply<'static>, Failure> {
        self.connection.respond(line, &mut self.out)?;
        self.transcript.said_instead(if *line == SaslLine::Cancel { "*" } else { "(hidden)" });
        self.hear()
    }

    /// Writes what is owed, and hears a reply.
    ///
    /// # Errors
    ///
    /// When none comes, or none that makes sense.
    pub fn hear(&mut self) -> Result<Reply<'static>, Failure> {
        self.flush();
        let deadline = self.deadline();
        loop {
            if let Some(event) = self.heard()? {
                return Ok(event.reply);
            }
            self.read(deadline, "while a reply was awaited")?;
        }
    }

    /// A reply that is there already.
    fn heard(&mut self) -> Result<Option<Event<'static>>, Failure> {
        loop {
            let consumed = match self.connection.receive(&self.input) {
                Ok(Step::Event { consumed, event }) => {
                    let (subject, reply) = (event.subject, event.reply.into_owned());
                    if reply.code() == Code::CHALLENGE {
                        self.transcript.heard_instead("334 (hidden)");
                    } else {
                        self.transcript.heard(self.input.get(..consumed).unwrap_or_default());
                    }
                    self.input.drain(..consumed);
                    return Ok(Some(Event { subject, reply }));
                }
                Ok(Step::Skip { consumed }) => consumed,
                Ok(Step::NeedInput | Step::Paused) => return Ok(None),
                Err(error) => {
                    self.show_rest("no reply");
                    return Err(error.into());
                }
            };
            self.input.drain(..consumed);
        }
    }

    /// What came and is no reply.
    fn show_rest(&self, as_what: &str) {
        let shown = self.input.get(..self.input.len().min(256)).unwrap_or_default();
        if !shown.is_empty() {
            self.transcript.note(&format!("{as_what}: {}", Escaped(shown)));
        }
    }

    fn patience(&self) -> Duration {
        self.patience.unwrap_or_else(|| self.connection.timeout())
    }

    /// Until when the next reply is waited for.
    fn deadline(&self) -> Instant {
        let deadline = Instant::now() + self.patience();
        self.broken.as_ref().map_or(deadline, |(_, last)| deadline.min(*last))
    }

    /// Writes what is owed. What goes wrong is found out when a reply is wanted.
    fn flush(&mut self) {
        if self.broken.is_none()
            && let Err(error) = self.stream.write(&self.out, self.patience())
        {
            self.broken = Some((error, Instant::now() + LAST_WORDS));
        }
        self.out.clear();
    }

    fn read(&mut self, deadline: Instant, when: &'static str) -> Result<(), Failure> {
        if self.broken.is_some() && self.input.len() > MAX_LAST_WORDS {
            return Err(self.lost(None, when));
        }
        let mut piece = [0; 4096];
        loop {
            let limit = deadline.saturating_duration_since(Instant::now());
            match self.stream.read(&mut piece, limit) {
                Ok(0) => return Err(self.lost(None, when)),
                Ok(len) => {
                    self.input.extend_from_slice(piece.get(..len).unwrap_or_default());
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(Some(error), when)),
            }
        }
    }

    /// What broke first is what is to be told.
    fn lost(&mut self, error: Option<io::Error>, when: &'static str) -> Failure {
        let after = self.patience();
        if !self.connection.wants_content() {
            self.show_rest("an unfinished reply");
        }
        let what = if self.broken.is_some() { "read" } else { "answer" };
        match self.broken.take().map(|(error, _)| error).or(error) {
            None => Failure::Closed { when },
            Some(error) if error.kind() == io::ErrorKind::TimedOut => Failure::TimedOut { what, after },
            Some(source) => Failure::Lost { when, source },
        }
    }

    /// Sets TLS up: after `STARTTLS` was accepted, or before anything was said.
    ///
    /// # Errors
    ///
    /// When somebody has said something in between, or TLS cannot be had.
    pub fn secure(&mut self, security: &Security, verified: bool) -> Result<(), Failure> {
        if self.connection.wants_tls() {
            self.connection.secured(&self.input)?;
        }
        if let Err(failure) = self.stream.secure(security, self.patience()) {
            // What would be said now would be said in the clear, between records of TLS.
            self.broken = Some((io::ErrorKind::InvalidData.into(), Instant::now()));
            return Err(failure);
        }
        self.verified = verified;
        let tls = self.stream.describe().unwrap_or_default();
        let whose = if verified { "the certificate is verified" } else { "the certificate is not verified" };
        self.transcript.note(&format!("{tls}; {whose}"));
        Ok(())
    }

    /// Carries a transfer out. Its outcomes are told in any case, and what ended it early if something did.
    pub fn transfer(
        &mut self,
        mut transfer: Transfer<'_>,
        message: &Message,
        chunk: usize,
    ) -> (Vec<Outcome>, Option<Failure>) {
        let Err(failure) = self.carry(&mut transfer, message, chunk) else { return (transfer.into_outcomes(), None) };
        let concerned = self.connection.accepted();
        transfer.lost();
        let mut outcomes = transfer.into_outcomes();
        let unsent = outcomes.iter().filter(|outcome| **outcome == Outcome::Unsent).count();
        // What a server says before the message's end, to close then, is for those whose message it was.
        match self.early_reply() {
            Some(reply) if unsent == concerned => {
                let unsent = outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Unsent);
                unsent.for_each(|outcome| *outcome = Outcome::Refused(reply.clone()));
                (outcomes, None)
            }
            Some(reply) => (outcomes, Some(Failure::Refused { what: "the message is", reply })),
            None => (outcomes, Some(failure)),
        }
    }

    fn carry(&mut self, transfer: &mut Transfer<'_>, message: &Message, chunk: usize) -> Result<(), Failure> {
        let (mut piece, mut deadline) = (Vec::new(), None);
        loop {
            while let Some(event) = self.heard()? {
                transfer.heard(&event, &self.connection);
                deadline = None;
            }
            let next = transfer.speak(&mut self.connection, &mut self.out)?;
            self.transcript.said(&self.out);
            match next {
                Next::Content { at } if self.broken.is_none() => {
                    let (piece, last) = message.piece(at, chunk, &mut piece)?;
                    self.flush();
                    self.put(transfer, piece, last)?;
                    self.flush();
                    deadline = None;
                }
                Next::Over => {
                    self.flush();
                    return Ok(());
                }
                Next::Content { .. } | Next::Wait => {
                    self.flush();
                    // It runs until a reply is whole: a server cannot stretch it octet by octet.
                    self.read(*deadline.get_or_insert(self.deadline()), "within the transaction")?;
                }
            }
        }
    }

    /// A piece of the message, of which a count is shown.
    fn put(&mut self, transfer: &mut Transfer<'_>, piece: &[u8], last: bool) -> Result<(), Failure> {
        let stuffed = self.connection.wants_content();
        transfer.content(&mut self.connection, piece, last, &mut self.out)?;
        let mut content = &self.out[..];
        if !stuffed && let Some(end) = content.iter().position(|octet| *octet == b'\n') {
            let (command, rest) = content.split_at(end + 1);
            self.transcript.said(command);
            content = rest;
        }
        self.content += content.len() as u64;
        if last || !stuffed {
            let octets = std::mem::take(&mut self.content);
            let end = if stuffed { ", the final dot among them" } else { "" };
            self.transcript.said_instead(&format!("({octets} octets{end})"));
        }
        Ok(())
    }

    /// A refusal that stands where no reply belongs: within a message.
    fn early_reply(&mut self) -> Option<Reply<'static>> {
        let mut end = 0;
        for line in self.input.split_inclusive(|octet| *octet == b'\n') {
            end += line.len();
            if line.get(3) != Some(&b'-') {
                break;
            }
        }
        let reply = Reply::parse(self.input.get(..end)?).ok()?.into_owned();
        self.transcript.heard(self.input.get(..end)?);
        self.input.drain(..end);
        reply.code().is_negative().then_some(reply)
    }

    /// Says `QUIT` where it can be said, and does not mind how it is taken.
    pub fn quit(&mut self) {
        let can = !matches!(self.connection.state(), State::Closed | State::Tls | State::Turned | State::Greeting);
        if can && self.broken.is_none() && !self.connection.is_waiting() {
            self.patience = Some(self.patience().min(GOODBYE));
            let _ = self.ask(&Command::Quit);
        }
        self.stream.close();
    }
}

/// Whether an `AUTH` is too long to go with its initial response.
#[must_use]
pub fn is_too_long(failure: &Failure) -> bool {
    matches!(failure, Failure::Misuse(Misuse::LineTooLong { .. }))
}
