//! The server's side of a session.

use alloc::vec::Vec;
use core::time::Duration;

use postrider_text_proto::{Framed, LineScanner, SaslLine, Step, Stuffer, foreign_line, foreign_start};

use crate::command::{Command, Verb};
use crate::error::{CommandError, Error, Misuse};
use crate::extensions::Extensions;
use crate::extensions::capa::Capability;
use crate::extensions::codes::ResponseCode;
use crate::limits::{Limits, Quirks};
use crate::response::{Item, Response};
use crate::session::{Outcome, Session, State};

/// Octets of the first line of a response and of a capability, CRLF included: [RFC 2449 section 4](https://www.rfc-editor.org/rfc/rfc2449#section-4).
const MAX_LINE: usize = 512;

/// How a server's connection begins.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What is offered at first; [`Connection::offer`] changes it.
    pub extensions: Extensions,
    /// What a client may cost.
    pub limits: Limits,
    /// What is forgiven.
    pub quirks: Quirks,
    /// Whether the connection began with TLS ([RFC 8314 section 3.3](https://www.rfc-editor.org/rfc/rfc8314#section-3.3)), so that there is no `STLS`.
    pub tls: bool,
}

/// What a client did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<'b> {
    /// A command that belongs here and is offered. Answer it.
    Command(Command<'b>),
    /// A line that was refused. [`CommandError::response`] says so to the client.
    Rejected(CommandError),
    /// The next line of an `AUTH`. Answer with another [`Response::Challenge`] or end the `AUTH`; [`SaslLine::Cancel`] wants an `-ERR`.
    Sasl(SaslLine),
}

/// A server's connection: decodes commands, encodes responses, knows what belongs where.
///
/// It is [`Paused`](Step::Paused) until the greeting is sent, and after each event until its answer is complete.
#[derive(Clone, Debug)]
pub struct Connection {
    session: Session,
    turn: Turn,
    scanner: LineScanner,
    stuffer: Stuffer,
    extensions: Extensions,
    limits: Limits,
    quirks: Quirks,
    /// The greeting offered it.
    apop: bool,
    errors: u32,
    failed_logins: u32,
    /// No command has come yet: the peer may turn out to speak something else.
    fresh: bool,
}

/// Who is to say what next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// The client, a command.
    Command,
    /// The client, a line within `AUTH`.
    Sasl,
    /// We, the greeting.
    Greeting,
    /// We, the answer to a command.
    Response { verb: Verb, multi_line: bool },
    /// We, what was wrong with a line.
    Refusal,
    /// We, the rest of a multi-line response.
    Items(Verb),
    /// Nobody in this protocol: TLS is next, or the end.
    Over,
}

impl Connection {
    /// A connection before its greeting.
    pub fn new(config: Config) -> Self {
        Self {
            session: Session::new(config.tls),
            turn: Turn::Greeting,
            scanner: LineScanner::new(),
            stuffer: Stuffer::new(),
            extensions: config.extensions,
            limits: config.limits,
            quirks: config.quirks,
            apop: false,
            errors: 0,
            failed_logins: 0,
            fresh: true,
        }
    }

    /// Changes what is offered from now on, as after TLS or a login.
    pub fn offer(&mut self, extensions: Extensions) {
        self.extensions = extensions;
    }

    /// Decodes what stands at the front of `input`.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignProtocol`] when the client's first words are TLS or HTTP.
    #[inline]
    pub fn receive<'b>(&mut self, input: &'b [u8]) -> Result<Step<Event<'b>>, Error> {
        let limit = match self.turn {
            Turn::Command => self.limits.command,
            Turn::Sasl => self.limits.sasl_line,
            _ => return Ok(Step::Paused),
        };
        if self.fresh && !self.scanner.is_skipping() {
            refuse(foreign_start(input))?;
        }
        let (consumed, line) = match self.scanner.next(input, limit) {
            Framed::Line { consumed, line } => (consumed, Ok(line)),
            Framed::Malformed { consumed, error } => (consumed, Err(CommandError::Line(error))),
            Framed::Skip { consumed } => return Ok(Step::Skip { consumed }),
            Framed::Incomplete => return Ok(Step::NeedInput),
        };
        if self.fresh {
            self.fresh = false;
            refuse(line.as_ref().ok().and_then(|line| foreign_line(line)))?;
        }
        let event = if self.turn == Turn::Sasl { self.sasl(line) } else { self.command(line) };
        Ok(Step::Event { consumed, event })
    }

    #[inline]
    fn command<'b>(&mut self, line: Result<&'b [u8], CommandError>) -> Event<'b> {
        match line.and_then(|line| self.admit(line)) {
            Ok(command) => {
                self.errors = 0;
                self.turn = Turn::Response { verb: command.verb(), multi_line: command.is_multi_line() };
                Event::Command(command)
            }
            Err(error) => {
                self.errors += 1;
                self.turn = Turn::Refusal;
                Event::Rejected(error)
            }
        }
    }

    /// A command that belongs here and is offered.
    #[inline]
    fn admit<'b>(&self, line: &'b [u8]) -> Result<Command<'b>, CommandError> {
        let command = Command::parse_with(line, self.quirks)?;
        let verb = command.verb();
        self.session.permits(verb).map_err(|place| CommandError::OutOfPlace { verb, place })?;
        if !self.extensions.offers(verb) || verb == Verb::Apop && !self.apop {
            return Err(CommandError::NotOffered { verb });
        }
        match command {
            Command::Auth { mechanism, .. } if !self.extensions.sasl.contains(&mechanism) => {
                Err(CommandError::UnknownMechanism)
            }
            command => Ok(command),
        }
    }

    /// A line within `AUTH`. What cannot be read ends it: [RFC 5034 section 4](https://www.rfc-editor.org/rfc/rfc5034#section-4).
    fn sasl<'b>(&mut self, line: Result<&'b [u8], CommandError>) -> Event<'b> {
        let parsed = line.and_then(|line| SaslLine::parse(line).map_err(|_| CommandError::Base64));
        match parsed {
            Ok(line) => {
                self.turn = Turn::Response { verb: Verb::Auth, multi_line: false };
                Event::Sasl(line)
            }
            Err(error) => {
                self.session.answered(Verb::Auth, Outcome::Err);
                // Otherwise each AUTH, a good command by itself, would begin the count of errors anew.
                self.failed_logins += 1;
                self.turn = Turn::Refusal;
                Event::Rejected(error)
            }
        }
    }

    /// Answers the last event, or greets. The state follows what the response says.
    ///
    /// After a `+OK` that begins a multi-line response, go on with [`send_item`](Self::send_item) and [`finish`](Self::finish). A response code that
    /// is not [offered](Extensions) is left out.
    ///
    /// # Errors
    ///
    /// When the response does not answer what was asked, has more than 512 octets, or greets with a text that looks like a [`Timestamp`](crate::Timestamp).
    #[inline]
    pub fn send(&mut self, response: &Response<'_>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let to = match self.turn {
            Turn::Greeting | Turn::Refusal => None,
            Turn::Response { verb, .. } => Some(verb),
            Turn::Command | Turn::Sasl | Turn::Items(_) => return Err(Misuse::NothingToAnswer),
            Turn::Over => return Err(Misuse::Closed),
        };
        if !self.turn.takes(response) {
            return Err(Misuse::DoesNotAnswer { response: response.kind(), to });
        }
        if response.offers_apop_by_mistake() {
            return Err(Misuse::TimestampInText);
        }
        self.write(response, out)?;
        self.sent(response);
        Ok(())
    }

    fn write(&self, response: &Response<'_>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let start = out.len();
        self.without_code_not_offered(response).as_ref().unwrap_or(response).encode(out);
        // A challenge is as long as its mechanism makes it.
        if matches!(response, Response::Challenge(_)) { Ok(()) } else { bounded(start, out) }
    }

    fn without_code_not_offered<'r>(&self, response: &Response<'r>) -> Option<Response<'r>> {
        let (Response::Ok { code: Some(code), .. } | Response::Err { code: Some(code), .. }) = response else {
            return None;
        };
        let of_3206 = [ResponseCode::AUTH, ResponseCode::SYS_PERM, ResponseCode::SYS_TEMP].contains(code);
        let offered = self.extensions.resp_codes && (self.extensions.auth_resp_code || !of_3206);
        (!offered).then(|| response.clone().without_code())
    }

    /// The one place where what we say changes where we are.
    #[inline]
    fn sent(&mut self, response: &Response<'_>) {
        let outcome = if response.is_err() { Outcome::Err } else { Outcome::Ok };
        let turn = core::mem::replace(&mut self.turn, Turn::Command);
        match (turn, response) {
            (Turn::Greeting, _) => {
                self.session.greeted(outcome);
                self.apop = matches!(response, Response::Greeting { timestamp: Some(_), .. });
            }
            (Turn::Response { .. }, Response::Challenge(_)) => self.turn = Turn::Sasl,
            (Turn::Response { verb, multi_line }, _) => {
                self.session.answered(verb, outcome);
                if multi_line && outcome == Outcome::Ok {
                    self.turn = Turn::Items(verb);
                }
                let login = matches!(verb, Verb::Apop | Verb::Auth | Verb::Pass);
                self.failed_logins += u32::from(login && outcome == Outcome::Err);
            }
            _ => {}
        }
        if self.errors >= self.limits.errors || self.failed_logins >= self.limits.failed_logins {
            self.session.close();
        }
        if matches!(self.session.state(), State::Tls | State::Closed) {
            self.turn = Turn::Over;
        }
    }

    /// Appends a part of a multi-line response: a line of a list, or a piece of a message.
    ///
    /// Pieces of a message are cut anywhere; their lines may end in LF or CRLF.
    ///
    /// # Errors
    ///
    /// When no multi-line response is open, it is one of other items, or a capability has more than 512 octets.
    #[inline]
    pub fn send_item(&mut self, item: &Item<'_>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let Turn::Items(verb) = self.turn else { return Err(Misuse::NoMultiLine) };
        match (verb, item) {
            (Verb::Retr | Verb::Top, Item::Content(content)) => self.stuffer.stuff(content, out),
            (Verb::Capa, Item::Capability(capability)) if capability.is_a_line() => return put(capability, out),
            (Verb::Lang, Item::Language { .. })
            | (Verb::List, Item::ScanListing(_))
            | (Verb::Uidl, Item::UniqueId(_)) => item.encode_line(out),
            _ => return Err(Misuse::DoesNotAnswer { response: "the item", to: Some(verb) }),
        }
        Ok(())
    }

    /// Ends a multi-line response: the CRLF that a message's last line may lack, and the line of one dot.
    ///
    /// A message that cannot be read to its end must not be finished: close the connection, so that the client
    /// does not take it for whole.
    ///
    /// # Errors
    ///
    /// When no multi-line response is open.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let Turn::Items(_) = self.turn else { return Err(Misuse::NoMultiLine) };
        self.stuffer.finish(out);
        self.turn = Turn::Command;
        Ok(())
    }

    /// What `CAPA` lists at this point, from what is [offered](Self::offer).
    pub fn capabilities(&self) -> impl Iterator<Item = Capability<'_>> {
        self.extensions.capabilities(&self.session)
    }

    /// Answers `CAPA`, whole.
    ///
    /// # Errors
    ///
    /// When the last event is not `CAPA`, or a line has more than 512 octets.
    pub fn send_capabilities(&mut self, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let Turn::Response { verb: Verb::Capa, .. } = self.turn else { return Err(Misuse::NothingToAnswer) };
        let (start, response) = (out.len(), Response::ok("capabilities follow"));
        self.write(&response, out)?;
        self.capabilities().try_for_each(|capability| put(&capability, out)).inspect_err(|_| out.truncate(start))?;
        self.sent(&response);
        self.finish(out)
    }

    /// TLS is up: everything known before is forgotten.
    ///
    /// `unread` is what your receive buffer holds that came before TLS. It must be empty: those octets were not
    /// protected, and somebody in the middle may have put them there.
    ///
    /// # Errors
    ///
    /// When `unread` is not empty, or no `STLS` was accepted.
    pub fn secured(&mut self, unread: &[u8]) -> Result<(), Error> {
        if !self.wants_tls() {
            return Err(Error::Misuse(Misuse::NotHandedOver));
        }
        if !unread.is_empty() {
            self.session.close();
            return Err(Error::PlaintextAfterStls { len: unread.len() });
        }
        self.session.secured();
        self.scanner = LineScanner::new();
        self.turn = Turn::Command;
        Ok(())
    }

    /// Whether TLS is to be set up now, once `out` is written.
    pub fn wants_tls(&self) -> bool {
        self.session.state() == State::Tls
    }

    /// Whether the session is over: write out what is owed and close.
    pub fn is_closed(&self) -> bool {
        self.session.state() == State::Closed
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.session.state()
    }

    /// How long the client may take for its next command, whole.
    ///
    /// 10 minutes after login, the least that [RFC 1939 section 3](https://www.rfc-editor.org/rfc/rfc1939#section-3) allows. Before it 1 minute, less
    /// than that section asks for, on purpose: a stranger has no claim to more.
    pub fn timeout(&self) -> Duration {
        let minutes = if self.session.state() == State::Transaction { 10 } else { 1 };
        Duration::from_secs(60 * minutes)
    }
}

impl Turn {
    /// Whether `response` has the form that answers here.
    #[inline]
    fn takes(self, response: &Response<'_>) -> bool {
        let plain = matches!(response, Response::Ok { .. } | Response::Err { .. });
        match self {
            Self::Greeting => matches!(response, Response::Greeting { .. } | Response::Err { .. }),
            Self::Refusal => plain,
            Self::Response { verb, multi_line } => match response {
                Response::Err { .. } => true,
                Response::Ok { .. } => multi_line || !Self::has_a_form(verb),
                Response::Challenge(_) => verb == Verb::Auth,
                Response::DropListing { .. } => verb == Verb::Stat,
                Response::Language { .. } => verb == Verb::Lang && !multi_line,
                Response::ScanListing(_) => verb == Verb::List && !multi_line,
                Response::UniqueId(_) => verb == Verb::Uidl && !multi_line,
                Response::Greeting { .. } => false,
            },
            Self::Command | Self::Sasl | Self::Items(_) | Self::Over => false,
        }
    }

    /// Whether a single-line `+OK` to `verb` is more than text.
    const fn has_a_form(verb: Verb) -> bool {
        matches!(verb, Verb::Lang | Verb::List | Verb::Stat | Verb::Uidl)
    }
}

/// Appends a line of `CAPA`.
fn put(capability: &Capability<'_>, out: &mut Vec<u8>) -> Result<(), Misuse> {
    let start = out.len();
    capability.encode(out);
    bounded(start, out)
}

/// Takes back the line that begins at `start` if it is too long.
fn bounded(start: usize, out: &mut Vec<u8>) -> Result<(), Misuse> {
    let len = out.len() - start;
    if len > MAX_LINE {
        out.truncate(start);
        return Err(Misuse::LineTooLong { len, limit: MAX_LINE });
    }
    Ok(())
}

/// Nothing that follows is ours: it may be the body of a request somebody else has written.
fn refuse(foreign: Option<&'static str>) -> Result<(), Error> {
    foreign.map_or(Ok(()), |protocol| Err(Error::ForeignProtocol { protocol }))
}
