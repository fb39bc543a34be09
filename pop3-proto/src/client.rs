//! The client's side of a session.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use postrider_text_proto::{Framed, LineError, LineScanner, SaslLine, Step, Unstuffed, Unstuffer};

use crate::command::{Command, Verb};
use crate::error::{Error, Misuse, ResponseError};
use crate::extensions::capa::Capability;
use crate::limits::Limits;
use crate::response::{Item, Response};
use crate::session::{Outcome, Session, State};

/// How a client's connection begins.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What a server may cost.
    pub limits: Limits,
    /// Send commands without waiting for responses from the start, as when an earlier session saw `PIPELINING`.
    /// Otherwise it is allowed once the server's answer to `CAPA` lists it.
    pub pipelining: bool,
    /// Whether the connection began with TLS ([RFC 8314 section 3.3](https://www.rfc-editor.org/rfc/rfc8314#section-3.3)).
    pub tls: bool,
}

/// What a server did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<'b> {
    /// It greeted, or refused to with `-ERR`.
    Greeting(Response<'b>),
    /// It answered a command. Where the answer goes on, [`Item`](Self::Item)s and [`End`](Self::End) follow.
    Response {
        /// The command.
        to: Verb,
        /// The answer. After a [`Challenge`](Response::Challenge) call [`Connection::respond`].
        response: Response<'b>,
    },
    /// A part of a multi-line response.
    Item(Item<'b>),
    /// The end of a multi-line response.
    End {
        /// The command.
        to: Verb,
    },
}

/// A client's connection: encodes commands, decodes responses, knows which answers which.
#[derive(Clone, Debug)]
pub struct Connection {
    session: Session,
    /// Where the session will be when all that was sent succeeds: what may be sent next depends on it.
    ahead: Session,
    turn: Turn,
    /// Commands without a complete response, the oldest first.
    waiting: VecDeque<Waiting>,
    scanner: LineScanner,
    unstuffer: Unstuffer,
    pipelining: bool,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    verb: Verb,
    multi_line: bool,
}

/// What the server is to say next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    Greeting,
    Response,
    Items(Verb),
    Content(Verb),
    /// Nothing: we owe it a line of SASL.
    Challenge,
}

impl Connection {
    /// A connection before the server's greeting.
    pub fn new(config: Config) -> Self {
        let session = Session::new(config.tls);
        Self {
            ahead: session.clone(),
            session,
            turn: Turn::Greeting,
            waiting: VecDeque::new(),
            scanner: LineScanner::new(),
            unstuffer: Unstuffer::new(),
            pipelining: config.pipelining,
            limits: config.limits,
        }
    }

    /// Appends `command` to `out`.
    ///
    /// # Errors
    ///
    /// When it does not belong here, does not fit a line, or has to wait for the response to another.
    #[inline]
    pub fn send(&mut self, command: &Command<'_>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let verb = command.verb();
        self.may_send(verb)?;
        if !command.fits_a_line() {
            return Err(Misuse::LineBreak);
        }
        let start = out.len();
        command.encode(out);
        let (len, limit) = (out.len() - start, self.limits.command);
        if len > limit {
            out.truncate(start);
            return Err(Misuse::LineTooLong { len, limit });
        }
        self.ahead.answered(verb, Outcome::Ok);
        self.waiting.push_back(Waiting { verb, multi_line: command.is_multi_line() });
        Ok(())
    }

    fn may_send(&self, verb: Verb) -> Result<(), Misuse> {
        if self.is_closed() {
            return Err(Misuse::Closed);
        }
        if let Some(last) = self.waiting.back() {
            // What follows AUTH is read as its next line.
            if !self.pipelining || last.verb == Verb::Auth {
                return Err(Misuse::AwaitingResponse { verb: last.verb });
            }
        }
        if self.waiting.len() >= self.limits.pipelined {
            return Err(Misuse::QueueFull { limit: self.limits.pipelined });
        }
        self.ahead.permits(verb).map_err(|place| Misuse::OutOfPlace { verb, place })
    }

    /// Appends our line to a [`Challenge`](Response::Challenge).
    ///
    /// # Errors
    ///
    /// When no challenge waits.
    pub fn respond(&mut self, line: &SaslLine, out: &mut Vec<u8>) -> Result<(), Misuse> {
        if self.turn != Turn::Challenge {
            return Err(Misuse::NothingToAnswer);
        }
        line.encode(out);
        self.turn = Turn::Response;
        Ok(())
    }

    /// Decodes what stands at the front of `input`.
    ///
    /// # Errors
    ///
    /// When the server says what is no response, or speaks unasked. A connection that ends while
    /// [`is_waiting`](Self::is_waiting) ended too early.
    #[inline]
    pub fn receive<'b>(&mut self, input: &'b [u8]) -> Result<Step<Event<'b>>, Error> {
        // Most of what comes are items, and no connection is over within a response.
        if let Turn::Items(verb) = self.turn {
            return self.item(input, verb);
        }
        if matches!(self.session.state(), State::Tls | State::Closed) {
            return Ok(Step::Paused);
        }
        match self.turn {
            Turn::Items(verb) => self.item(input, verb),
            Turn::Content(verb) => Ok(self.content(input, verb)),
            Turn::Greeting => self.response(input, None),
            Turn::Challenge => Ok(Step::Paused),
            Turn::Response => match self.waiting.front() {
                Some(waiting) => self.response(input, Some(*waiting)),
                None if input.is_empty() => Ok(Step::NeedInput),
                None => Err(Error::Unsolicited { len: input.len() }),
            },
        }
    }

    fn response<'b>(&mut self, input: &'b [u8], to: Option<Waiting>) -> Result<Step<Event<'b>>, Error> {
        let verb = to.map(|waiting| waiting.verb);
        let failed = |error| Error::Response { to: verb, error };
        let (consumed, line) = match self.scanner.next(input, self.limits.response) {
            Framed::Line { consumed, line } => (consumed, line),
            Framed::Malformed { error: LineError::TooLong { .. }, .. } | Framed::Skip { .. } => {
                return Err(failed(ResponseError::TooLong { limit: self.limits.response }));
            }
            Framed::Malformed { error, .. } => return Err(failed(error.into())),
            Framed::Incomplete => return Ok(Step::NeedInput),
        };
        let response = match to {
            Some(Waiting { multi_line: true, .. }) => Response::parse_plain(line),
            _ => Response::parse(line, verb),
        };
        let response = response.map_err(failed)?;
        let event = match to {
            None => self.greeted(response),
            Some(waiting) => self.answered(waiting, response),
        };
        Ok(Step::Event { consumed, event })
    }

    fn greeted<'b>(&mut self, response: Response<'b>) -> Event<'b> {
        self.session.greeted(outcome(&response));
        self.ahead = self.session.clone();
        self.turn = Turn::Response;
        Event::Greeting(response)
    }

    fn answered<'b>(&mut self, waiting: Waiting, response: Response<'b>) -> Event<'b> {
        let to = waiting.verb;
        match (&response, to) {
            (Response::Challenge(_), _) => self.turn = Turn::Challenge,
            (Response::Err { .. }, _) => self.settle(waiting, Outcome::Err),
            (_, Verb::Retr | Verb::Top) => self.turn = Turn::Content(to),
            _ if waiting.multi_line => self.turn = Turn::Items(to),
            _ => self.settle(waiting, Outcome::Ok),
        }
        Event::Response { to, response }
    }

    /// The oldest command has its complete response.
    fn settle(&mut self, waiting: Waiting, outcome: Outcome) {
        self.session.answered(waiting.verb, outcome);
        self.waiting.pop_front();
        self.turn = Turn::Response;
        if self.waiting.is_empty() {
            self.ahead = self.session.clone();
        }
    }

    #[inline]
    fn item<'b>(&mut self, input: &'b [u8], to: Verb) -> Result<Step<Event<'b>>, Error> {
        let failed = |error: ResponseError| Error::Response { to: Some(to), error };
        let (consumed, line) = match self.scanner.next(input, self.limits.item) {
            Framed::Line { consumed, line } => (consumed, line),
            Framed::Malformed { error: LineError::TooLong { .. }, .. } | Framed::Skip { .. } => {
                return Err(failed(ResponseError::TooLong { limit: self.limits.item }));
            }
            Framed::Malformed { error, .. } => return Err(failed(error.into())),
            Framed::Incomplete => return Ok(Step::NeedInput),
        };
        let line = match line {
            b"." => return Ok(Step::Event { consumed, event: self.end(to) }),
            [b'.', unstuffed @ ..] => unstuffed,
            line => line,
        };
        let item = Item::parse(line, to);
        if to == Verb::Capa {
            self.pipelining |= item == Item::Capability(Capability::Pipelining);
        }
        Ok(Step::Event { consumed, event: Event::Item(item) })
    }

    #[inline]
    fn content<'b>(&mut self, input: &'b [u8], to: Verb) -> Step<Event<'b>> {
        match self.unstuffer.next(input) {
            Unstuffed::Content { consumed, content } => {
                Step::Event { consumed, event: Event::Item(Item::Content(content)) }
            }
            Unstuffed::End { consumed } => Step::Event { consumed, event: self.end(to) },
            Unstuffed::Incomplete => Step::NeedInput,
        }
    }

    fn end<'b>(&mut self, to: Verb) -> Event<'b> {
        self.settle(Waiting { verb: to, multi_line: true }, Outcome::Ok);
        Event::End { to }
    }

    /// TLS is up: what the server said before it is forgotten, its capabilities among it.
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
        self.ahead = self.session.clone();
        self.scanner = LineScanner::new();
        self.pipelining = false;
        Ok(())
    }

    /// Whether TLS is to be set up now.
    pub fn wants_tls(&self) -> bool {
        self.session.state() == State::Tls
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        self.session.state() == State::Closed
    }

    /// Whether the server owes a response, or the rest of one.
    pub fn is_waiting(&self) -> bool {
        self.turn == Turn::Greeting || !self.waiting.is_empty()
    }

    /// Whether commands may be sent before earlier ones are answered.
    pub fn is_pipelining(&self) -> bool {
        self.pipelining
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.session.state()
    }

    /// How long the server may take to go on with what it owes.
    ///
    /// 5 minutes. [RFC 1939](https://www.rfc-editor.org/rfc/rfc1939) names none for a client; it is what
    /// [RFC 5321 section 4.5.3.2](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2) gives a server to answer a command.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(300)
    }
}

fn outcome(response: &Response<'_>) -> Outcome {
    if response.is_err() { Outcome::Err } else { Outcome::Ok }
}
