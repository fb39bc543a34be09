//! SASL in the client's role, through rsasl: SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN, EXTERNAL, XOAUTH2 and OAUTHBEARER.

use postrider_smtp_proto::{Capability, Code, Command, Mechanism, Reply, SaslLine, Secret};
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::prelude::{Mechname, MessageSent, SASLClient, SASLConfig, Session, SessionError, State};
use rsasl::property::{AuthId, AuthzId, OAuthBearerToken, Password};

use super::channel::{Channel, is_too_long};
use super::failure::Failure;

/// What is chosen from, the best first: those that do not show the password.
const BY_PREFERENCE: [&str; 4] = ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"];

/// Iterations of SCRAM that are gone along with: a server must not keep us busy for hours.
const MAX_ITERATIONS: u32 = 5_000_000;

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user; with EXTERNAL, whom to act for, if anybody.
    pub user: Option<String>,
    /// The password, or the token of OAuth.
    pub password: Secret<'static>,
    /// The mechanism, where the user wants a certain one.
    pub mechanism: Option<String>,
    /// Whether the password may be shown to who listens, or stands in the middle.
    pub plaintext: bool,
    /// Whether it may be shown, within TLS, to a server whose certificate is not verified.
    pub unverified: bool,
}

impl Credentials {
    /// # Errors
    ///
    /// Why the password must not be shown.
    fn may_be_shown(&self, channel: &Channel) -> Result<(), Failure> {
        match (channel.is_secured(), channel.is_verified()) {
            _ if self.plaintext => Ok(()),
            (false, _) => {
                Err(Failure::Login("there is no TLS, and the password would be shown: see --allow-plaintext"))
            }
            (true, false) if !self.unverified => Err(Failure::Login(
                "the certificate is not verified, and the password would be shown: see --verify, --ca and --allow-unverified",
            )),
            (true, _) => Ok(()),
        }
    }
}

struct Answers(Credentials);

impl SessionCallback for Answers {
    fn callback(&self, session: &SessionData, _: &Context<'_>, request: &mut Request<'_>) -> Result<(), SessionError> {
        let (mechanism, user) = (session.mechanism().mechanism.as_str(), self.0.user.as_deref());
        let password = self.0.password.expose();
        match (mechanism, user) {
            ("EXTERNAL" | "OAUTHBEARER", Some(user)) => drop(request.satisfy::<AuthzId>(user)?),
            (_, Some(user)) => drop(request.satisfy::<AuthId>(user)?),
            (_, None) => {}
        }
        request.satisfy::<Password>(password)?;
        if let Ok(token) = std::str::from_utf8(password) {
            request.satisfy::<OAuthBearerToken>(token)?;
        }
        Ok(())
    }
}

/// A conversation under way.
struct Conversation {
    session: Session,
    scram: bool,
    finished: bool,
}

/// Logs in over a channel whose server has answered `EHLO` with `hello`.
///
/// # Errors
///
/// When the server refuses, offers nothing that fits, or does not prove that it knows the password where the mechanism wants it.
pub fn log_in(channel: &mut Channel, hello: &Reply<'_>, credentials: &Credentials) -> Result<(), Failure> {
    let name = choose(hello, credentials, credentials.may_be_shown(channel))?;
    let mechanism = Mechanism::new(&name).map_err(|_| Failure::Login("that is no name of a mechanism"))?;
    let mut conversation = Conversation::start(&name, credentials)?;
    let initial = if conversation.session.are_we_first() { Some(conversation.step(None)?) } else { None };
    let command = Command::Auth { mechanism, initial: initial.clone() };
    let (mut reply, mut owed) = match channel.ask(&command) {
        // RFC 4954 section 4: then it answers the first, empty challenge.
        Err(failure) if is_too_long(&failure) => (channel.ask(&Command::Auth { mechanism, initial: None })?, initial),
        reply => (reply?, None),
    };
    while reply.code() == Code::CHALLENGE {
        reply = match conversation.answer(&reply, owed.take()) {
            Ok(response) => channel.respond(&SaslLine::Response(response))?,
            Err(failure) => {
                channel.respond(&SaslLine::Cancel)?;
                return Err(failure);
            }
        };
    }
    match reply.code().is_success() {
        false => Err(Failure::LoginRefused(reply)),
        true if conversation.scram && !conversation.finished => {
            Err(Failure::Login("the server has not proved that it knows the password"))
        }
        true => Ok(()),
    }
}

/// `shown`: whether it may be one that shows the password.
fn choose(hello: &Reply<'_>, credentials: &Credentials, shown: Result<(), Failure>) -> Result<String, Failure> {
    let hides = |name: &str| name.starts_with("SCRAM-") || name == "EXTERNAL";
    if let Some(mechanism) = &credentials.mechanism {
        return if hides(mechanism) { Ok(mechanism.clone()) } else { shown.map(|()| mechanism.clone()) };
    }
    let offered = hello.capabilities().find_map(|capability| match capability {
        Capability::Auth(mechanisms) => Some(mechanisms),
        _ => None,
    });
    let offered = offered.ok_or(Failure::NotOffered("AUTH"))?;
    let fits = |name: &&str| Mechanism::new(*name).is_ok_and(|name| offered.contains(name));
    let mut known = BY_PREFERENCE.into_iter().filter(fits);
    // The first shows no password if any does not.
    let best = known.next().ok_or(Failure::Login("the server offers no mechanism that is known here"))?;
    if hides(best) { Ok(best.to_owned()) } else { shown.map(|()| best.to_owned()) }
}

impl Conversation {
    fn start(name: &str, credentials: &Credentials) -> Result<Self, Failure> {
        let unknown = || Failure::Login("the mechanism is not known here");
        let config = SASLConfig::builder().with_default_mechanisms().with_callback(Answers(credentials.clone()));
        let config = config.map_err(|_| unknown())?;
        let mechanism = Mechname::parse(name.as_bytes()).map_err(|_| unknown())?;
        let session = SASLClient::new(config).start_suggested(&[mechanism]).map_err(|_| unknown())?;
        Ok(Self { session, scram: name.starts_with("SCRAM-"), finished: false })
    }

    /// What answers a challenge: `owed`, where that did not fit into the command.
    fn answer(&mut self, reply: &Reply<'_>, owed: Option<Secret<'static>>) -> Result<Secret<'static>, Failure> {
        let challenge = reply.challenge().map_err(|error| Failure::Protocol(error.into()))?;
        match owed {
            Some(owed) => Ok(owed),
            // All is said: an empty line lets the server go on.
            None if self.finished => Ok(Secret::borrowed(b"")),
            None if self.scram && !is_scram(challenge.expose()) => {
                Err(Failure::Login("the server does not keep to the mechanism"))
            }
            None => self.step(Some(challenge.expose())),
        }
    }

    fn step(&mut self, challenge: Option<&[u8]>) -> Result<Secret<'static>, Failure> {
        let mut response = Vec::new();
        let stepped = self.session.step(challenge, &mut response);
        match stepped {
            Ok(State::Running) => Ok(Secret::from(response)),
            Ok(State::Finished(sent)) => {
                self.finished = true;
                Ok(Secret::from(if matches!(sent, MessageSent::Yes) { response } else { Vec::new() }))
            }
            Err(_) if challenge.is_none() => {
                Err(Failure::Login("the mechanism wants a user, and a password it can use"))
            }
            // The token was refused, and the challenge says why: an empty answer ends it, and the refusal follows.
            Err(_) if !self.scram => {
                self.finished = true;
                Ok(Secret::borrowed(b""))
            }
            Err(_) => Err(Failure::Login("the server does not keep to the mechanism, or does not know the password")),
        }
    }
}

/// Whether rsasl can parse a server's message: it takes for granted that each attribute has its two first octets. And whether it is not made to work for hours.
///
/// ```abnf
/// server-first-message = "r=" c-nonce s-nonce "," "s=" base64 "," "i=" posit-number *("," attr-val)
/// server-final-message = ("e=" server-error-value / "v=" base64) *("," attr-val)
/// ```
///
/// [RFC 5802 section 7](https://www.rfc-editor.org/rfc/rfc5802#section-7).
fn is_scram(message: &[u8]) -> bool {
    message.split(|octet| *octet == b',').all(|part| match part {
        [b'i', b'=', count @ ..] => {
            std::str::from_utf8(count).is_ok_and(|count| count.parse().is_ok_and(|count: u32| count <= MAX_ITERATIONS))
        }
        [name, b'=', ..] => name.is_ascii_alphabetic(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_server_that_scram_cannot_take_are_found() {
        assert!(is_scram(b"r=abc,s=QUJD,i=4096") && is_scram(b"v=QUJD") && is_scram(b"e=other-error"));
        for message in ["", "r", "r=a,,s=b", "r=a,s=b,i=4294967295", "r=a,s=b,i=", ",", "r=a,s=b,i=5000001"] {
            assert!(!is_scram(message.as_bytes()), "{message}");
        }
    }
}
