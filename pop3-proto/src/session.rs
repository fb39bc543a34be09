//! The states of a session and the one table that says which command belongs where and what its response changes.
//!
//! Both roles use it: the server to refuse, the client to know what it may say.

use core::fmt;

use crate::command::Verb;

/// The states of [RFC 1939 section 3](https://www.rfc-editor.org/rfc/rfc1939#section-3), finer where commands depend on it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// The server has not greeted yet.
    Greeting,
    /// AUTHORIZATION: nobody has logged in.
    Authorization,
    /// AUTHORIZATION, and `USER` has just named a maildrop.
    Named,
    /// `STLS` was accepted: the next octets are those of TLS.
    Tls,
    /// TRANSACTION: the maildrop is open.
    Transaction,
    /// `QUIT` was answered, or the server gave up.
    Closed,
}

/// Where a command must not stand.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Place {
    /// It needs a login.
    BeforeLogin,
    /// It is for the time before the login.
    AfterLogin,
    /// It needs a maildrop's name right before it.
    WithoutUser,
    /// TLS is up already.
    WithinTls,
    /// The session has switched to UTF-8.
    AfterUtf8,
    /// The greeting has not come, TLS is being set up, or the session is over.
    OutsideSession,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeLogin => "before login (RFC 1939 section 5)",
            Self::AfterLogin => "after login (RFC 1939 section 4)",
            Self::WithoutUser => "without USER right before it (RFC 1939 section 7)",
            Self::WithinTls => "within TLS (RFC 2595 section 4)",
            Self::AfterUtf8 => "after UTF8 (RFC 6856 section 2.1)",
            Self::OutsideSession => "outside a session",
        })
    }
}

/// What a final response says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Ok,
    Err,
}

/// A row of the table: what both responses make of the state; `None` where they leave it.
struct Row {
    verb: Verb,
    allowed: &'static [State],
    ok: Option<State>,
    err: Option<State>,
}

const ANONYMOUS: &[State] = &[State::Authorization, State::Named];
const LOGGED_IN: &[State] = &[State::Transaction];
const BOTH: &[State] = &[State::Authorization, State::Named, State::Transaction];

const fn login(verb: Verb, allowed: &'static [State]) -> Row {
    Row { verb, allowed, ok: Some(State::Transaction), err: Some(State::Authorization) }
}

const fn steady(verb: Verb, allowed: &'static [State]) -> Row {
    Row { verb, allowed, ok: None, err: None }
}

/// In the order of [`Verb`].
static TABLE: [Row; Verb::ALL.len()] = [
    login(Verb::Apop, ANONYMOUS),
    login(Verb::Auth, ANONYMOUS),
    steady(Verb::Capa, BOTH),
    steady(Verb::Dele, LOGGED_IN),
    steady(Verb::Lang, BOTH),
    steady(Verb::Last, LOGGED_IN),
    steady(Verb::List, LOGGED_IN),
    steady(Verb::Noop, LOGGED_IN),
    login(Verb::Pass, &[State::Named]),
    Row { verb: Verb::Quit, allowed: BOTH, ok: Some(State::Closed), err: Some(State::Closed) },
    steady(Verb::Retr, LOGGED_IN),
    steady(Verb::Rset, LOGGED_IN),
    steady(Verb::Stat, LOGGED_IN),
    Row { verb: Verb::Stls, allowed: ANONYMOUS, ok: Some(State::Tls), err: None },
    steady(Verb::Top, LOGGED_IN),
    steady(Verb::Uidl, LOGGED_IN),
    Row { verb: Verb::User, allowed: ANONYMOUS, ok: Some(State::Named), err: Some(State::Authorization) },
    steady(Verb::Utf8, ANONYMOUS),
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
    secured: bool,
    utf8: bool,
}

impl Session {
    pub(crate) const fn new(secured: bool) -> Self {
        Self { state: State::Greeting, secured, utf8: false }
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) const fn is_secured(&self) -> bool {
        self.secured
    }

    /// Whether `verb` belongs here.
    #[inline]
    pub(crate) fn permits(&self, verb: Verb) -> Result<(), Place> {
        if !row(verb).allowed.contains(&self.state) {
            return Err(self.place(verb));
        }
        match verb {
            Verb::Stls if self.secured => Err(Place::WithinTls),
            Verb::Stls if self.utf8 => Err(Place::AfterUtf8),
            _ => Ok(()),
        }
    }

    fn place(&self, verb: Verb) -> Place {
        match self.state {
            State::Authorization if verb == Verb::Pass => Place::WithoutUser,
            State::Authorization | State::Named => Place::BeforeLogin,
            State::Transaction => Place::AfterLogin,
            State::Greeting | State::Tls | State::Closed => Place::OutsideSession,
        }
    }

    /// The server has greeted.
    pub(crate) fn greeted(&mut self, outcome: Outcome) {
        self.state = if outcome == Outcome::Ok { State::Authorization } else { State::Closed };
    }

    /// `verb` got its final response.
    #[inline]
    pub(crate) fn answered(&mut self, verb: Verb, outcome: Outcome) {
        let next = if outcome == Outcome::Ok { row(verb).ok } else { row(verb).err };
        self.state = next.unwrap_or(self.state);
        self.utf8 |= verb == Verb::Utf8 && outcome == Outcome::Ok;
    }

    /// TLS is up: nothing learnt before it counts.
    pub(crate) fn secured(&mut self) {
        *self = Self { state: State::Authorization, secured: true, utf8: false };
    }

    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_verb_at_its_place() {
        for (index, verb) in Verb::ALL.into_iter().enumerate() {
            assert_eq!((verb as usize, row(verb).verb), (index, verb));
        }
    }

    /// RFC 1939 sections 4 to 7, RFC 2449, RFC 2595, RFC 5034 and RFC 6856, read once more.
    fn belongs(verb: Verb, state: State) -> bool {
        match verb {
            Verb::Quit | Verb::Capa | Verb::Lang => !matches!(state, State::Greeting | State::Tls | State::Closed),
            Verb::Pass => state == State::Named,
            Verb::Apop | Verb::Auth | Verb::Stls | Verb::User | Verb::Utf8 => {
                matches!(state, State::Authorization | State::Named)
            }
            _ => state == State::Transaction,
        }
    }

    #[test]
    fn every_command_is_refused_in_every_state_where_it_does_not_belong() {
        use State::*;
        for state in [Greeting, Authorization, Named, Tls, Transaction, Closed] {
            for verb in Verb::ALL {
                let session = Session { state, secured: false, utf8: false };
                assert_eq!(session.permits(verb).is_ok(), belongs(verb, state), "{verb} in {state:?}");
            }
        }
    }

    #[test]
    fn stls_comes_once_and_not_after_utf8() {
        let mut session = Session { state: State::Authorization, secured: true, utf8: false };
        assert_eq!(session.permits(Verb::Stls), Err(Place::WithinTls));
        session.secured = false;
        session.answered(Verb::Utf8, Outcome::Err);
        assert_eq!(session.permits(Verb::Stls), Ok(()));
        session.answered(Verb::Utf8, Outcome::Ok);
        assert_eq!(session.permits(Verb::Stls), Err(Place::AfterUtf8));
    }

    #[test]
    fn tls_forgets_a_name_given_before_it() {
        let mut session = Session { state: State::Authorization, secured: false, utf8: false };
        session.answered(Verb::User, Outcome::Ok);
        session.answered(Verb::Stls, Outcome::Ok);
        assert_eq!(session.state(), State::Tls);
        session.secured();
        assert_eq!(session.permits(Verb::Pass), Err(Place::WithoutUser));
    }
}
