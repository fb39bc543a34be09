//! SASL through rsasl: PLAIN, LOGIN, SCRAM-SHA-1, SCRAM-SHA-256 and, with a client's certificate, EXTERNAL, for any protocol.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::prelude::{
    Mechname, MessageSent, SASLConfig, SASLError, SASLServer, Session, SessionError, State, Validation,
};
use rsasl::property::{AuthId, AuthzId, Password};
use rsasl::validate::{Validate, ValidationError};

use crate::accounts::{Account, Verifier};
use crate::login::{LoginError, Logins};

/// The mechanisms, best first. Those that show the password come last.
const MECHANISMS: [&str; 5] = [EXTERNAL, "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"];

/// Who it is was shown by other means, here by a certificate: [RFC 4422 appendix A](https://www.rfc-editor.org/rfc/rfc4422#appendix-A).
const EXTERNAL: &str = "EXTERNAL";

/// What there is for a client, best first; `certified` where its certificate is an account's.
pub fn mechanisms(certified: bool) -> impl Iterator<Item = &'static str> {
    MECHANISMS.into_iter().filter(move |name| certified || *name != EXTERNAL)
}

/// Starts conversations.
#[derive(Clone, Debug)]
pub struct Sasl {
    logins: Arc<Logins>,
}

/// What a client claims, once its mechanism is through.
enum Claim {
    /// A name and a password, to be checked.
    Password(String, Vec<u8>),
    /// A name, by a proof that was checked.
    Proven(String),
    /// To act for somebody else, which nobody may.
    SomebodyElse(String),
}

struct Claimed;

impl Validation for Claimed {
    type Value = Claim;
}

/// One authentication. The octets that go in and come out are those of SASL; the protocol puts them into base64.
pub struct Conversation {
    session: Session<Claimed>,
    logins: Arc<Logins>,
    mechanism: &'static str,
    state: Progress,
    /// Whom SCRAM was asked about, to count its failure.
    user: Arc<Mutex<String>>,
}

enum Progress {
    Fresh,
    Running,
    /// Proven. What the server has to prove in turn is with the client, which answers with nothing.
    Proven(Arc<Account>),
}

/// What a conversation wants next.
pub enum Step {
    /// The client's answer to this.
    Challenge(Vec<u8>),
    /// Nothing: this is who it is.
    Done(Arc<Account>),
}

impl Sasl {
    /// Conversations about these logins.
    pub fn new(logins: Arc<Logins>) -> Self {
        Self { logins }
    }

    /// Begins one, with one of the [`mechanisms`] in any case. `certified` is the account of the client's certificate.
    ///
    /// # Errors
    ///
    /// When it is none of them.
    pub fn start(&self, mechanism: &str, certified: Option<&str>) -> Result<Conversation, LoginError> {
        let known = mechanisms(certified.is_some()).find(|known| known.eq_ignore_ascii_case(mechanism));
        let mechanism = known.ok_or(LoginError::Temporary)?;
        let user = Arc::<Mutex<String>>::default();
        let certified = certified.map(ToOwned::to_owned);
        let callback = Callback { logins: Arc::clone(&self.logins), user: Arc::clone(&user), certified };
        let session = session(callback, mechanism).map_err(|_| LoginError::Temporary)?;
        Ok(Conversation { session, logins: Arc::clone(&self.logins), mechanism, state: Progress::Fresh, user })
    }
}

fn session(callback: Callback, mechanism: &str) -> Result<Session<Claimed>, SASLError> {
    let config = SASLConfig::builder().with_default_mechanisms().with_callback(callback)?;
    let name = Mechname::parse(mechanism.as_bytes()).map_err(|_| SASLError::NoSharedMechanism)?;
    SASLServer::<Claimed>::new(config).start_suggested(name)
}

impl Conversation {
    /// The mechanism's name.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// Goes on with what the client said; `None` where it has said nothing but the mechanism's name.
    ///
    /// # Errors
    ///
    /// When the login failed, or the client does not keep to the mechanism. The conversation is over then.
    pub async fn step(&mut self, input: Option<&[u8]>, peer: IpAddr) -> Result<Step, LoginError> {
        if self.mechanism.starts_with("SCRAM-") {
            // The others show a password, which is checked behind this gate.
            self.logins.admit(peer)?;
        }
        let fresh = matches!(self.state, Progress::Fresh);
        match (std::mem::replace(&mut self.state, Progress::Running), input) {
            (Progress::Proven(account), _) => return Ok(Step::Done(account)),
            // It speaks second: the server asks for its first message with nothing.
            (Progress::Fresh, None) if self.mechanism != "LOGIN" => return Ok(Step::Challenge(Vec::new())),
            _ => {}
        }
        let mut challenge = Vec::new();
        if fresh && self.mechanism == "LOGIN" && input.is_some() {
            // The initial response is the name: what asks for it is left unsaid.
            self.session.step(None, &mut Vec::new()).map_err(|_| LoginError::Temporary)?;
        }
        if let Some(message) = input.filter(|_| self.mechanism.starts_with("SCRAM-"))
            && !is_scram(message)
        {
            return Err(self.logins.failed(peer, "").await);
        }
        let stepped = self.session.step(input, &mut challenge);
        let user = self.user.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match stepped {
            Ok(State::Running) => Ok(Step::Challenge(challenge)),
            Ok(State::Finished(sent)) => {
                let account = self.judge(peer, &user).await?;
                if matches!(sent, MessageSent::No) {
                    return Ok(Step::Done(account));
                }
                self.state = Progress::Proven(account);
                Ok(Step::Challenge(challenge))
            }
            Err(_) => Err(self.logins.failed(peer, &user).await),
        }
    }

    async fn judge(&mut self, peer: IpAddr, user: &str) -> Result<Arc<Account>, LoginError> {
        match self.session.validation() {
            Some(Claim::Password(name, password)) => self.logins.check(peer, &name, &password).await,
            Some(Claim::Proven(name)) => match self.logins.accounts().find(&name) {
                Some(account) => Ok(account),
                None => Err(self.logins.failed(peer, &name).await),
            },
            Some(Claim::SomebodyElse(name)) => Err(self.logins.failed(peer, &name).await),
            None => Err(self.logins.failed(peer, user).await),
        }
    }
}

/// Whether rsasl can parse a client's message: it takes for granted that each attribute has its two first octets, and panics where one has not.
///
/// ```abnf
/// gs2-header           = gs2-cbind-flag "," [ authzid ] ","
/// client-first-message = gs2-header "n=" saslname ",r=" c-nonce *("," attr-val)
/// client-final-message = "c=" base64 ",r=" c-nonce s-nonce *("," attr-val) ",p=" base64
/// ```
///
/// [RFC 5802 section 7](https://www.rfc-editor.org/rfc/rfc5802#section-7).
fn is_scram(message: &[u8]) -> bool {
    let is_attribute = |part: &&[u8]| matches!(part, [name, b'=', ..] if name.is_ascii_alphabetic());
    let mut parts = message.split(|octet| *octet == b',');
    match parts.next() {
        Some(b"n" | b"y" | [b'p', b'=', ..]) => {
            let authzid = parts.next().unwrap_or_default();
            (authzid.is_empty() || authzid.starts_with(b"a=")) && parts.all(|part| is_attribute(&part))
        }
        Some(first) => is_attribute(&first) && parts.all(|part| is_attribute(&part)),
        None => false,
    }
}

struct Callback {
    logins: Arc<Logins>,
    user: Arc<Mutex<String>>,
    certified: Option<String>,
}

impl Callback {
    /// What EXTERNAL says: to act as `name`, or as whoever the certificate is of.
    fn external(&self, name: &str) -> Claim {
        match &self.certified {
            Some(account) if name.is_empty() || name.eq_ignore_ascii_case(account) => Claim::Proven(account.clone()),
            _ => Claim::SomebodyElse(name.to_owned()),
        }
    }
}

impl SessionCallback for Callback {
    /// SCRAM asks what is kept of the user's password.
    fn callback(
        &self,
        session: &SessionData,
        context: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        let Some(name) = context.get_ref::<AuthId>() else { return Ok(()) };
        name.clone_into(&mut self.user.lock().unwrap_or_else(PoisonError::into_inner));
        let sha_1 = session.mechanism().mechanism.as_str() == "SCRAM-SHA-1";
        let verifier = match self.logins.accounts().find(name) {
            Some(account) if sha_1 => account.scram_sha_1.clone(),
            Some(account) => account.scram_sha_256.clone(),
            None => Verifier::fake(self.logins.secret(), name, if sha_1 { 20 } else { 32 }),
        };
        let Verifier { iterations, salt, stored_key, server_key } = &verifier;
        request.satisfy::<ScramStoredPassword<'_>>(&ScramStoredPassword::new(
            *iterations,
            salt,
            stored_key,
            server_key,
        ))?;
        Ok(())
    }

    fn validate(
        &self,
        session: &SessionData,
        context: &Context<'_>,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        if session.mechanism().mechanism.as_str() == EXTERNAL {
            validate.finalize::<Claimed>(self.external(context.get_ref::<AuthzId>().unwrap_or_default()));
            return Ok(());
        }
        let Some(name) = context.get_ref::<AuthId>() else { return Ok(()) };
        let for_another = context.get_ref::<AuthzId>().is_some_and(|other| !other.is_empty() && other != name);
        let claim = match context.get_ref::<Password>() {
            _ if for_another => Claim::SomebodyElse(name.to_owned()),
            Some(password) => Claim::Password(name.to_owned(), password.to_vec()),
            None => Claim::Proven(name.to_owned()),
        };
        validate.finalize::<Claimed>(claim);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::accounts::Accounts;

    /// What makes the parsers look at every attribute, whole and cut short.
    const MESSAGES: [&[u8]; 6] = [
        b"n,,n=anna,r=rOprNGfwEbeRWgbNEkqO",
        b"y,a=anna,n=anna,r=rOprNGfwEbeRWgbNEkqO,x=1",
        b"p=tls-exporter,,n=anna,r=abc",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"\0anna\0secret",
        b"",
    ];

    /// Whatever a stranger says, the session goes on: no message ends it by a panic.
    #[tokio::test(start_paused = true)]
    async fn no_message_of_a_client_is_more_than_a_failed_login() {
        let data = tempfile::tempdir().unwrap();
        let accounts = Arc::new(Accounts::open(data.path()).unwrap());
        accounts.add("anna", "secret").unwrap();
        let sasl = Sasl::new(Arc::new(Logins::new(accounts, Duration::ZERO).unwrap()));
        let mut peer = 0;
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
            for first in cut_and_damaged() {
                for second in [&b"c"[..], b"", b"c=biws,r", b"c=biws,r=x,p", b"c=biws,r=x,p=", b"\xff\xff"] {
                    let mut conversation = sasl.start(mechanism, None).unwrap();
                    peer += 1;
                    let peer = Ipv4Addr::from_bits(0x0A00_0000 + peer).into();
                    if let Ok(Step::Challenge(_)) = conversation.step(Some(&first), peer).await {
                        assert!(conversation.step(Some(second), peer).await.is_err(), "{}", second.escape_ascii());
                    }
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_good_for_its_own_account_alone() {
        let data = tempfile::tempdir().unwrap();
        let accounts = Arc::new(Accounts::open(data.path()).unwrap());
        accounts.add("anna", "secret").unwrap();
        accounts.add("bert", "secret").unwrap();
        let logins = Arc::new(Logins::new(accounts, Duration::ZERO).unwrap());
        let sasl = Sasl::new(Arc::clone(&logins));
        let peer = Ipv4Addr::LOCALHOST.into();
        assert!(sasl.start("EXTERNAL", None).is_err());
        for (authzid, ok) in [(&b""[..], true), (b"anna", true), (b"Anna", true), (b"bert", false), (b"\xff", false)] {
            let stepped = sasl.start("external", Some("anna")).unwrap().step(Some(authzid), peer).await;
            match stepped {
                Ok(Step::Done(account)) => assert!(ok && account.name == "anna", "{}", authzid.escape_ascii()),
                Ok(Step::Challenge(_)) => panic!("{}", authzid.escape_ascii()),
                Err(error) => assert!(!ok && error == LoginError::BadCredentials, "{}", authzid.escape_ascii()),
            }
        }
        // What a client says second.
        let mut conversation = sasl.start("EXTERNAL", Some("anna")).unwrap();
        assert!(matches!(conversation.step(None, peer).await, Ok(Step::Challenge(challenge)) if challenge.is_empty()));
        assert!(matches!(conversation.step(Some(b""), peer).await, Ok(Step::Done(_))));
        logins.accounts().remove("anna").unwrap();
        let gone = sasl.start("EXTERNAL", Some("anna")).unwrap().step(Some(b""), peer).await;
        assert!(matches!(gone, Err(LoginError::BadCredentials)));
        // All of them have counted.
        for _ in 0..47 {
            let mut conversation = sasl.start("EXTERNAL", Some("anna")).unwrap();
            assert!(conversation.step(Some(b"bert"), peer).await.is_err());
        }
        assert!(logins.check(peer, "bert", b"wrong").await == Err(LoginError::TooManyFailures));
    }

    fn cut_and_damaged() -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for message in MESSAGES {
            all.extend((0..=message.len()).map(|end| message[..end].to_vec()));
            for at in 0..message.len() {
                for octet in [b',', b'=', 0, 0xE9] {
                    let mut damaged = message.to_vec();
                    damaged[at] = octet;
                    all.push(damaged);
                }
            }
        }
        all
    }
}
