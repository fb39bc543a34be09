//! The states of a session and the one table that says which command belongs where and what its reply changes.
//!
//! Both roles use it: the server to refuse, the client to know what it may say.

use core::fmt;

use crate::command::Verb;

/// Where a session is, by [RFC 5321 section 4.1.4](https://www.rfc-editor.org/rfc/rfc5321#section-4.1.4).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// The server has not greeted yet.
    Greeting,
    /// The server has greeted with a refusal: the client may say `QUIT` and nothing else. [RFC 5321 section 3.1](https://www.rfc-editor.org/rfc/rfc5321#section-3.1).
    Refused,
    /// The client has not said its name.
    Nameless,
    /// The client has said its name, and there is no transaction.
    Ready,
    /// There is a transaction, without a recipient.
    Mail,
    /// There is a transaction, with a recipient or more.
    Rcpt,
    /// A part of the message has come, with `BDAT` or `BURL`, and more is to come.
    Chunks,
    /// A part of the message was refused: nothing but `RSET` and `QUIT` goes on from here. A server's connection forgets the transaction by itself and is
    /// never here. [RFC 3030 section 2](https://www.rfc-editor.org/rfc/rfc3030#section-2).
    Failed,
    /// The message is being sent.
    Content,
    /// `STARTTLS` was accepted: the next octets are those of TLS.
    Tls,
    /// `ATRN` was accepted: on the same stream the server is the client of a new session, and the client its server.
    /// [RFC 2645 section 5.3](https://www.rfc-editor.org/rfc/rfc2645#section-5.3).
    Turned,
    /// `QUIT` was answered, or the server gave up.
    Closed,
}

/// Where a command must not stand.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Place {
    /// The client has not said its name.
    BeforeHello,
    /// There is no transaction.
    BeforeMail,
    /// The transaction has no recipient.
    BeforeRcpt,
    /// A part of the message has come with `BDAT` or `BURL`.
    AfterChunk,
    /// The message is `BODY=BINARYMIME`, which `DATA` cannot carry.
    BinaryMessage,
    /// A transaction is under way.
    WithinTransaction,
    /// The client has logged in.
    AfterAuth,
    /// TLS is up already.
    WithinTls,
    /// LMTP is spoken, which says `LHLO` for `EHLO` and `HELO`.
    WithinLmtp,
    /// SMTP is spoken, which has no `LHLO`.
    WithinSmtp,
    /// The server has refused the session.
    AfterRefusal,
    /// The greeting has not come, a message or TLS is under way, or the session is over.
    OutsideSession,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeHello => "before EHLO or LHLO (RFC 5321 section 4.1.4)",
            Self::BeforeMail => "before MAIL (RFC 5321 section 4.1.4)",
            Self::BeforeRcpt => "without a valid recipient (RFC 5321 section 3.3)",
            Self::AfterChunk => "after BDAT or BURL (RFC 3030 section 2)",
            Self::BinaryMessage => "for a message of BODY=BINARYMIME (RFC 3030 section 3)",
            Self::WithinTransaction => "within a transaction (RFC 5321 section 4.1.4)",
            Self::AfterAuth => "after AUTH (RFC 4954 section 4)",
            Self::WithinTls => "within TLS (RFC 3207 section 4.2)",
            Self::WithinLmtp => "in LMTP, which has LHLO (RFC 2033 section 4.1)",
            Self::WithinSmtp => "in SMTP, which has EHLO (RFC 2033 section 4.1)",
            Self::AfterRefusal => "after a greeting of 554 (RFC 5321 section 3.1)",
            Self::OutsideSession => "outside a session",
        })
    }
}

/// What a final reply says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Done,
    Refused,
}

/// A row of the table: where a command is allowed, and the state after it succeeded; `None` where it leaves it. A refusal never changes
/// the state, but for `QUIT`, after which there is none, and for `BDAT` and `BURL`, after which the transaction is over.
struct Row {
    verb: Verb,
    allowed: &'static [State],
    done: Option<State>,
}

const QUIT: &[State] =
    &[State::Refused, State::Nameless, State::Ready, State::Mail, State::Rcpt, State::Chunks, State::Failed];
const ALWAYS: &[State] = &[State::Nameless, State::Ready, State::Mail, State::Rcpt, State::Chunks, State::Failed];
const READY: &[State] = &[State::Ready];
const TRANSACTION: &[State] = &[State::Mail, State::Rcpt];
const CHUNK: &[State] = &[State::Rcpt, State::Chunks];

/// In the order of [`Verb`].
static TABLE: [Row; Verb::ALL.len()] = [
    Row { verb: Verb::Atrn, allowed: READY, done: Some(State::Turned) },
    Row { verb: Verb::Auth, allowed: READY, done: None },
    Row { verb: Verb::Bdat, allowed: CHUNK, done: Some(State::Chunks) },
    Row { verb: Verb::Burl, allowed: CHUNK, done: Some(State::Chunks) },
    Row { verb: Verb::Data, allowed: &[State::Rcpt], done: Some(State::Content) },
    Row { verb: Verb::Ehlo, allowed: ALWAYS, done: Some(State::Ready) },
    Row { verb: Verb::Etrn, allowed: READY, done: None },
    Row { verb: Verb::Expn, allowed: ALWAYS, done: None },
    Row { verb: Verb::Helo, allowed: ALWAYS, done: Some(State::Ready) },
    Row { verb: Verb::Help, allowed: ALWAYS, done: None },
    Row { verb: Verb::Lhlo, allowed: ALWAYS, done: Some(State::Ready) },
    Row { verb: Verb::Mail, allowed: READY, done: Some(State::Mail) },
    Row { verb: Verb::Noop, allowed: ALWAYS, done: None },
    Row { verb: Verb::Other, allowed: ALWAYS, done: None },
    Row { verb: Verb::Quit, allowed: QUIT, done: Some(State::Closed) },
    Row { verb: Verb::Rcpt, allowed: TRANSACTION, done: Some(State::Rcpt) },
    Row { verb: Verb::Rset, allowed: ALWAYS, done: None },
    Row { verb: Verb::StartTls, allowed: READY, done: Some(State::Tls) },
    Row { verb: Verb::Vrfy, allowed: ALWAYS, done: None },
    Row { verb: Verb::Xclient, allowed: READY, done: Some(State::Nameless) },
    Row { verb: Verb::Xforward, allowed: READY, done: None },
];

fn row(verb: Verb) -> &'static Row {
    #[expect(clippy::indexing_slicing, reason = "the table has a row for every verb, at its place: see the test")]
    let row = &TABLE[verb as usize];
    debug_assert_eq!(row.verb, verb);
    row
}

/// Where a session is.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    state: State,
    lmtp: bool,
    secured: bool,
    /// The client has said `EHLO` or `LHLO`, so that there are extensions.
    extended: bool,
    authenticated: bool,
}

impl Session {
    pub(crate) const fn new(lmtp: bool, secured: bool) -> Self {
        Self { state: State::Greeting, lmtp, secured, extended: false, authenticated: false }
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) const fn is_secured(&self) -> bool {
        self.secured
    }

    pub(crate) const fn is_extended(&self) -> bool {
        self.extended
    }

    pub(crate) const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    pub(crate) const fn is_lmtp(&self) -> bool {
        self.lmtp
    }

    /// Whether `verb` belongs here.
    #[inline]
    pub(crate) fn permits(&self, verb: Verb) -> Result<(), Place> {
        if !row(verb).allowed.contains(&self.state) {
            return Err(self.place(verb));
        }
        match verb {
            Verb::Lhlo if !self.lmtp => Err(Place::WithinSmtp),
            Verb::Ehlo | Verb::Helo if self.lmtp => Err(Place::WithinLmtp),
            Verb::StartTls if self.secured => Err(Place::WithinTls),
            Verb::Auth if self.authenticated => Err(Place::AfterAuth),
            _ => Ok(()),
        }
    }

    fn place(&self, verb: Verb) -> Place {
        match (self.state, verb) {
            (State::Refused, _) => Place::AfterRefusal,
            (State::Nameless, _) => Place::BeforeHello,
            (State::Ready, _) => Place::BeforeMail,
            (State::Mail, Verb::Data | Verb::Bdat | Verb::Burl) => Place::BeforeRcpt,
            (State::Chunks, Verb::Data | Verb::Rcpt) | (State::Failed, _) => Place::AfterChunk,
            (State::Mail | State::Rcpt | State::Chunks, _) => Place::WithinTransaction,
            _ => Place::OutsideSession,
        }
    }

    /// The server has greeted.
    pub(crate) fn greeted(&mut self, outcome: Outcome) {
        self.state = if outcome == Outcome::Done { State::Nameless } else { State::Refused };
    }

    /// `verb` got its final reply; for `DATA` that is 354 or a refusal.
    #[inline]
    pub(crate) fn answered(&mut self, verb: Verb, outcome: Outcome) {
        if verb == Verb::Quit {
            self.state = State::Closed;
        }
        if outcome == Outcome::Refused {
            if matches!(verb, Verb::Bdat | Verb::Burl) {
                self.state = State::Failed;
            }
            return;
        }
        if self.state == State::Failed && matches!(verb, Verb::Bdat | Verb::Burl) {
            return;
        }
        self.state = row(verb).done.unwrap_or(self.state);
        match verb {
            Verb::Ehlo | Verb::Lhlo => self.extended = true,
            Verb::Helo => self.extended = false,
            Verb::Auth => self.authenticated = true,
            Verb::Rset if self.state != State::Nameless => self.state = State::Ready,
            Verb::Xclient => (self.extended, self.authenticated) = (false, false),
            _ => {}
        }
    }

    /// The message got its last reply: whatever it says, the transaction is over.
    pub(crate) fn content_answered(&mut self) {
        self.state = State::Ready;
    }

    /// TLS is up: nothing learnt before it counts.
    pub(crate) fn secured(&mut self) {
        *self = Self { state: State::Nameless, secured: true, ..Self::new(self.lmtp, true) };
    }

    /// Somebody who is believed says whether the client has logged in.
    pub(crate) fn set_authenticated(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
    }

    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::*;

    const STATES: [State; 12] =
        [Greeting, Refused, Nameless, Ready, Mail, Rcpt, Chunks, Failed, Content, Tls, Turned, Closed];

    fn session(state: State) -> Session {
        Session { state, ..Session::new(false, false) }
    }

    #[test]
    fn the_table_has_each_verb_at_its_place() {
        for (index, verb) in Verb::ALL.into_iter().enumerate() {
            assert_eq!((verb as usize, row(verb).verb), (index, verb));
        }
    }

    /// RFC 5321 section 4.1.4, RFC 3207, RFC 4954, read once more.
    fn belongs(verb: Verb, state: State) -> bool {
        let talking = matches!(state, Nameless | Ready | Mail | Rcpt | Chunks | Failed);
        match verb {
            Verb::Lhlo => false,
            Verb::Quit => talking || state == Refused,
            Verb::Mail | Verb::Auth | Verb::StartTls | Verb::Atrn | Verb::Etrn | Verb::Xclient | Verb::Xforward => {
                state == Ready
            }
            Verb::Bdat | Verb::Burl => state == Rcpt || state == Chunks,
            Verb::Rcpt => state == Mail || state == Rcpt,
            Verb::Data => state == Rcpt,
            _ => talking,
        }
    }

    #[test]
    fn every_command_is_refused_in_every_state_where_it_does_not_belong() {
        for state in STATES {
            for verb in Verb::ALL {
                assert_eq!(session(state).permits(verb).is_ok(), belongs(verb, state), "{verb} in {state:?}");
            }
        }
    }

    #[test]
    fn a_refusal_changes_nothing_but_after_quit_and_chunks() {
        for state in STATES {
            for verb in Verb::ALL.into_iter().filter(|verb| !matches!(verb, Verb::Quit | Verb::Bdat | Verb::Burl)) {
                let mut session = session(state);
                session.answered(verb, Outcome::Refused);
                assert_eq!(session.state(), state, "{verb} in {state:?}");
            }
        }
    }

    #[test]
    fn ehlo_and_rset_end_a_transaction() {
        for verb in [Verb::Ehlo, Verb::Helo, Verb::Rset] {
            let mut session = session(Rcpt);
            session.answered(verb, Outcome::Done);
            assert_eq!(session.state(), Ready);
        }
        let mut session = session(Nameless);
        session.answered(Verb::Rset, Outcome::Done);
        assert_eq!(session.state(), Nameless);
    }

    #[test]
    fn tls_forgets_name_and_login() {
        let mut session = session(Ready);
        session.answered(Verb::Ehlo, Outcome::Done);
        session.answered(Verb::Auth, Outcome::Done);
        session.answered(Verb::StartTls, Outcome::Done);
        session.secured();
        assert!(!session.is_authenticated() && !session.is_extended());
        assert_eq!(session.permits(Verb::Mail), Err(Place::BeforeHello));
        session.answered(Verb::Ehlo, Outcome::Done);
        assert_eq!(session.permits(Verb::StartTls), Err(Place::WithinTls));
        assert_eq!(session.permits(Verb::Auth), Ok(()));
    }
}
