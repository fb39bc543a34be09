//! The POP3 server: what the [`driver`](crate::driver) runs for each connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use postrider_pop3_proto::server::{Config, Connection, Event};
use postrider_pop3_proto::{
    Command, CommandError, Expire, Extensions, Item, Mechanism, MessageNumber, Name, Response, ResponseCode, SaslLine,
    ScanListing, Secret, Text, Top, UniqueId, UniqueIdListing, Verb,
};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::accounts::Account;
use crate::certificate;
use crate::driver::{EventOf, Io, Session, Stop};
use crate::login::LoginError;
use crate::maildrop::{Maildrop, MaildropError};
use crate::retrieval::{PANICKED, Retrieval};
use crate::sasl::{self, Conversation, mechanisms};
use crate::server::Site;

/// One POP3 session.
pub struct Pop3 {
    connection: Connection,
    site: Arc<Site>,
    peer: IpAddr,
    /// What `USER` said.
    name: Option<String>,
    /// The account that the client's certificate is of.
    certified: Option<String>,
    conversation: Option<Conversation>,
    maildrop: Option<Maildrop>,
    retrieval: Retrieval,
}

impl Pop3 {
    /// A session with `peer`; `tls` when the connection began with it.
    pub fn new(site: Arc<Site>, peer: SocketAddr, tls: bool) -> Self {
        let extensions = extensions(&site, tls, false);
        let connection = Connection::new(Config { extensions, tls, ..Config::default() });
        let peer = peer.ip().to_canonical();
        let retrieval = Retrieval::default();
        Self { connection, site, peer, name: None, certified: None, conversation: None, maildrop: None, retrieval }
    }

    async fn command(&mut self, command: Command<'_>, io: &mut Io) -> Result<(), Stop> {
        match command {
            Command::Auth { mechanism, initial } => return self.auth(mechanism, initial, io).await,
            Command::Capa => return Ok(self.connection.send_capabilities(&mut io.out)?),
            Command::List(None) => return self.list(io),
            Command::Pass(password) => return self.pass(password, io).await,
            Command::Quit => return self.quit(io).await,
            Command::Retr(number) => return self.message(number, None, io).await,
            Command::Top { message, lines } => return self.message(message, Some(Top::new(lines)), io).await,
            Command::Uidl(None) => return self.unique_ids(io),
            Command::User(name) => return self.user(name, io),
            _ => {}
        }
        let response = match &mut self.maildrop {
            Some(maildrop) => answer_from(maildrop, &command),
            None => Response::ok(""),
        };
        Ok(self.connection.send(&response, &mut io.out)?)
    }

    fn answer(&mut self, response: &Response<'_>, io: &mut Io) -> Result<(), Stop> {
        Ok(self.connection.send(response, &mut io.out)?)
    }

    fn user(&mut self, name: Name<'_>, io: &mut Io) -> Result<(), Stop> {
        // A name that no account can have fails with its password, like any other: it must not be told apart.
        self.name = Some(String::from_utf8_lossy(name.as_bytes()).into_owned());
        self.answer(&Response::ok("password?"), io)
    }

    async fn pass(&mut self, password: Secret<'_>, io: &mut Io) -> Result<(), Stop> {
        let name = self.name.take().unwrap_or_default();
        let verified = self.site.logins.check(self.peer, &name, password.expose()).await;
        self.logged_in(verified, "USER", io).await
    }

    async fn auth(&mut self, mechanism: Mechanism<'_>, initial: Option<Secret<'_>>, io: &mut Io) -> Result<(), Stop> {
        match self.site.sasl.start(mechanism.as_str(), self.certified.as_deref()) {
            Ok(conversation) => self.conversation = Some(conversation),
            Err(error) => {
                warn!(%error, "SASL cannot start");
                return self.answer(&temporary(), io);
            }
        }
        self.sasl_step(initial.as_ref().map(Secret::expose), io).await
    }

    async fn sasl(&mut self, line: SaslLine, io: &mut Io) -> Result<(), Stop> {
        match line {
            SaslLine::Cancel => {
                self.conversation = None;
                self.answer(&Response::err("cancelled"), io)
            }
            SaslLine::Response(response) => self.sasl_step(Some(response.expose()), io).await,
        }
    }

    async fn sasl_step(&mut self, input: Option<&[u8]>, io: &mut Io) -> Result<(), Stop> {
        let Some(mut conversation) = self.conversation.take() else { return self.answer(&temporary(), io) };
        match conversation.step(input, self.peer).await {
            Ok(sasl::Step::Challenge(challenge)) => {
                self.conversation = Some(conversation);
                self.answer(&Response::Challenge(Secret::from(challenge)), io)
            }
            Ok(sasl::Step::Done(account)) => self.logged_in(Ok(account), conversation.mechanism(), io).await,
            Err(error) => self.logged_in(Err(error), conversation.mechanism(), io).await,
        }
    }

    /// Opens the maildrop of whoever has proved to be its owner.
    async fn logged_in(
        &mut self,
        verified: Result<Arc<Account>, LoginError>,
        how: &str,
        io: &mut Io,
    ) -> Result<(), Stop> {
        let account = match verified {
            Ok(account) => account,
            Err(error) => {
                info!(peer = %self.peer, how, %error, "login refused");
                return self.answer(&refusal(&error), io);
            }
        };
        let (path, site) = (self.site.mailbox_of(&account), Arc::clone(&self.site));
        let opened = spawn_blocking(move || Maildrop::open(&path, site.config.mail.format(), &site.snapshots));
        let opened = opened.await.map_err(|_| PANICKED)?;
        let response = match opened {
            Ok(maildrop) => {
                info!(peer = %self.peer, user = %account.name, how, messages = maildrop.len(), "logged in");
                self.maildrop = Some(maildrop);
                Response::ok("maildrop is open")
            }
            Err(MaildropError::InUse) => {
                Response::err("another session has the maildrop").with_code(ResponseCode::IN_USE)
            }
            Err(error) => {
                warn!(user = %account.name, %error, "maildrop does not open");
                temporary()
            }
        };
        self.answer(&response, io)
    }

    fn list(&mut self, io: &mut Io) -> Result<(), Stop> {
        self.answer(&Response::ok("sizes follow"), io)?;
        for (message, of) in self.maildrop.iter().flat_map(Maildrop::messages) {
            let listing = ScanListing { message, octets: of.octets };
            self.connection.send_item(&Item::ScanListing(listing), &mut io.out)?;
        }
        Ok(self.connection.finish(&mut io.out)?)
    }

    fn unique_ids(&mut self, io: &mut Io) -> Result<(), Stop> {
        self.answer(&Response::ok("unique-ids follow"), io)?;
        for (message, of) in self.maildrop.iter().flat_map(Maildrop::messages) {
            let Ok(id) = UniqueId::new(&of.id) else { continue };
            self.connection.send_item(&Item::UniqueId(UniqueIdListing { message, id }), &mut io.out)?;
        }
        Ok(self.connection.finish(&mut io.out)?)
    }

    /// Sends a message, or its top, piece by piece.
    async fn message(&mut self, number: MessageNumber, mut top: Option<Top>, io: &mut Io) -> Result<(), Stop> {
        let maildrop = self.maildrop.as_ref();
        let Some((maildrop, message)) = maildrop.and_then(|maildrop| Some((maildrop, maildrop.message(number)?)))
        else {
            return self.answer(&no_such_message(), io);
        };
        let mut piece = match self.retrieval.begin(maildrop, number, message).await? {
            Ok(piece) => piece,
            Err(error) => {
                info!(peer = %self.peer, %error, "message cannot be sent");
                return self.answer(&gone_or_temporary(&error), io);
            }
        };
        self.answer(&Response::ok("message follows"), io)?;
        loop {
            let wanted = top.as_mut().map_or(&piece.octets[..], |top| top.take(&piece.octets));
            self.connection.send_item(&Item::Content(wanted), &mut io.out)?;
            if top.as_ref().is_some_and(Top::is_done) {
                break;
            }
            io.flush_if_large().await?;
            let Some(next) = piece.next().await? else { break };
            piece = next;
        }
        if let (None, Some(maildrop)) = (top, &mut self.maildrop) {
            maildrop.retrieved(number);
        }
        Ok(self.connection.finish(&mut io.out)?)
    }

    /// UPDATE: removes first, answers then.
    async fn quit(&mut self, io: &mut Io) -> Result<(), Stop> {
        let Some(maildrop) = self.maildrop.take() else { return self.answer(&Response::ok("bye"), io) };
        match spawn_blocking(move || maildrop.update()).await.map_err(|_| PANICKED)? {
            Ok(()) => self.answer(&Response::ok("bye"), io),
            Err(error) => {
                warn!(peer = %self.peer, %error, "some messages were not removed");
                self.answer(&Response::err("some deleted messages not removed").with_code(ResponseCode::SYS_TEMP), io)
            }
        }
    }
}

impl Session for Pop3 {
    type Connection = Connection;

    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    async fn open(&mut self, io: &mut Io) -> Result<(), Stop> {
        let greeting = format!("{} POP3 postrider", self.site.config.hostname);
        self.answer(&Response::Greeting { text: Text::lossy(&greeting), timestamp: None }, io)
    }

    async fn event(&mut self, event: EventOf<'_, Self>, io: &mut Io) -> Result<(), Stop> {
        match event {
            Event::Command(command) => self.command(command, io).await,
            Event::Rejected(CommandError::NotOffered { verb: Verb::Auth | Verb::Pass | Verb::User }) => {
                self.answer(&Response::err("logins need TLS: say STLS first"), io)
            }
            Event::Rejected(error) => self.answer(&error.response(), io),
            Event::Sasl(line) => self.sasl(line, io).await,
        }
    }

    fn certified(&mut self, certificate: &[u8]) {
        let account = certificate::account_of(certificate, &self.site.config, self.site.logins.accounts());
        self.certified = account.map(|account| account.name.clone());
        self.connection.offer(extensions(&self.site, true, self.certified.is_some()));
    }

    fn secured(&mut self) {
        self.connection.offer(extensions(&self.site, true, self.certified.is_some()));
        self.name = None;
    }
}

/// What is offered: logins only where they are safe.
fn extensions(site: &Site, tls: bool, certified: bool) -> Extensions {
    let login = tls || site.config.auth.plaintext;
    let mechanisms = mechanisms(certified).filter(|_| login).filter_map(|name| Mechanism::new(name).ok());
    Extensions {
        expire: Some(Expire::Never),
        implementation: Text::new("postrider").ok(),
        sasl: mechanisms.collect(),
        stls: !tls,
        user: login,
        ..Extensions::default()
    }
}

/// The answer to a command that takes one line.
fn answer_from<'m>(maildrop: &'m mut Maildrop, command: &Command<'_>) -> Response<'m> {
    let response = match *command {
        Command::Dele(number) => maildrop.delete(number).map(|()| Response::ok("deleted")),
        Command::List(Some(message)) => {
            maildrop.message(message).map(|of| Response::ScanListing(ScanListing { message, octets: of.octets }))
        }
        Command::Rset => {
            maildrop.reset();
            Some(Response::ok(""))
        }
        Command::Stat => Some(maildrop.drop_listing()),
        Command::Uidl(Some(message)) => maildrop
            .message(message)
            .and_then(|of| Some(Response::UniqueId(UniqueIdListing { message, id: UniqueId::new(&of.id).ok()? }))),
        _ => Some(Response::ok("")),
    };
    match response {
        Some(response) => response,
        None => no_such_message(),
    }
}

fn no_such_message() -> Response<'static> {
    Response::err("no such message")
}

fn temporary() -> Response<'static> {
    Response::err("not possible at the moment").with_code(ResponseCode::SYS_TEMP)
}

fn gone_or_temporary(error: &MaildropError) -> Response<'static> {
    if error.is_gone() { Response::err("another program has removed the message") } else { temporary() }
}

fn refusal(error: &LoginError) -> Response<'static> {
    match error {
        LoginError::BadCredentials => Response::err("wrong name or password").with_code(ResponseCode::AUTH),
        LoginError::Temporary => temporary(),
        LoginError::TooManyFailures => {
            Response::err("too many failures, try again later").with_code(ResponseCode::SYS_TEMP)
        }
    }
}
