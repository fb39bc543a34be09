//! What a server may offer beyond the minimal commands, one file per family.

pub(crate) mod capa;
pub(crate) mod codes;
pub(crate) mod lang;
pub(crate) mod top;

use alloc::vec::Vec;

use postrider_text_proto::{Mechanism, Mechanisms};

use crate::command::Verb;
use crate::extensions::capa::{Capability, Expire};
use crate::session::{Session, State};
use crate::types::Text;

/// What a server offers. `CAPA` is answered from it, and what it lacks is refused.
///
/// `APOP` is not here: a server offers it with a [`Timestamp`](crate::Timestamp) in its greeting.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extensions {
    /// `AUTH` and `SYS` response codes, [RFC 3206](https://www.rfc-editor.org/rfc/rfc3206).
    pub auth_resp_code: bool,
    /// How long the server keeps messages, [RFC 2449 section 6.7](https://www.rfc-editor.org/rfc/rfc2449#section-6.7).
    pub expire: Option<Expire>,
    /// What the server calls itself once a client has logged in, [RFC 2449 section 6.9](https://www.rfc-editor.org/rfc/rfc2449#section-6.9).
    pub implementation: Option<Text<'static>>,
    /// `LANG`, [RFC 6856 section 3](https://www.rfc-editor.org/rfc/rfc6856#section-3).
    pub lang: bool,
    /// `LAST`, [RFC 1460](https://www.rfc-editor.org/rfc/rfc1460). No capability announces it.
    pub last: bool,
    /// Seconds a client has to wait between logins, [RFC 2449 section 6.5](https://www.rfc-editor.org/rfc/rfc2449#section-6.5).
    pub login_delay: Option<u32>,
    /// `PIPELINING`, [RFC 2449 section 6.6](https://www.rfc-editor.org/rfc/rfc2449#section-6.6). A connection takes pipelined commands in any case.
    pub pipelining: bool,
    /// Response codes, [RFC 2449 section 6.4](https://www.rfc-editor.org/rfc/rfc2449#section-6.4). Without it none is written.
    pub resp_codes: bool,
    /// `AUTH` with these mechanisms, [RFC 5034](https://www.rfc-editor.org/rfc/rfc5034). None: no `AUTH`.
    pub sasl: Vec<Mechanism<'static>>,
    /// `STLS`, [RFC 2595 section 4](https://www.rfc-editor.org/rfc/rfc2595#section-4). Not announced once TLS is up.
    pub stls: bool,
    /// `TOP`, [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7).
    pub top: bool,
    /// `UIDL`, [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7).
    pub uidl: bool,
    /// `USER` and `PASS`, [RFC 1939 section 7](https://www.rfc-editor.org/rfc/rfc1939#section-7).
    pub user: bool,
    /// `UTF8`, [RFC 6856 section 2](https://www.rfc-editor.org/rfc/rfc6856#section-2): `Some(true)` takes UTF-8 in names and passwords too.
    pub utf8: Option<bool>,
}

/// What needs nothing from the program: `TOP`, `UIDL`, `USER`, `PIPELINING` and both kinds of response codes.
impl Default for Extensions {
    fn default() -> Self {
        Self {
            auth_resp_code: true,
            expire: None,
            implementation: None,
            lang: false,
            last: false,
            login_delay: None,
            pipelining: true,
            resp_codes: true,
            sasl: Vec::new(),
            stls: false,
            top: true,
            uidl: true,
            user: true,
            utf8: None,
        }
    }
}

impl Extensions {
    pub(crate) fn offers(&self, verb: Verb) -> bool {
        match verb {
            Verb::Auth => !self.sasl.is_empty(),
            Verb::Lang => self.lang,
            Verb::Last => self.last,
            Verb::Stls => self.stls,
            Verb::Top => self.top,
            Verb::Uidl => self.uidl,
            Verb::User | Verb::Pass => self.user,
            Verb::Utf8 => self.utf8.is_some(),
            _ => true,
        }
    }

    /// The lines of `CAPA` at this point of a session.
    pub(crate) fn capabilities<'e>(&'e self, session: &Session) -> impl Iterator<Item = Capability<'e>> {
        let when = |offered: bool, capability| offered.then_some(capability);
        let logged_in = session.state() == State::Transaction;
        [
            when(self.top, Capability::Top),
            when(self.user, Capability::User),
            when(!self.sasl.is_empty(), Capability::Sasl(Mechanisms::offered(&self.sasl))),
            when(self.resp_codes, Capability::RespCodes),
            when(self.auth_resp_code, Capability::AuthRespCode),
            self.login_delay.map(|seconds| Capability::LoginDelay { seconds, per_user: false }),
            when(self.pipelining, Capability::Pipelining),
            self.expire.map(|expire| Capability::Expire { expire, per_user: false }),
            when(self.uidl, Capability::Uidl),
            when(self.stls && !session.is_secured(), Capability::Stls),
            self.utf8.map(|user| Capability::Utf8 { user }),
            when(self.lang, Capability::Lang),
            // Before login it would tell a stranger what to attack.
            self.implementation.as_ref().filter(|_| logged_in).map(|text| Capability::Implementation(text.clone())),
        ]
        .into_iter()
        .flatten()
    }
}
