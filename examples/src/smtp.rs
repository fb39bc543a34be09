//! The SMTP server, for submission and LMTP too: what the [`driver`](crate::driver) runs for each connection.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use postrider_smtp_proto::server::{ChunkEnd, Config, Connection, ContentEnd, Event};
use postrider_smtp_proto::{
    AttributeValue, Attributes, ClientName, Code, Command, Escaped, Extensions, ForwardPath, Host, Limits,
    LiteralAddress, Mailbox, Mechanism, Parameters, Reply, ReversePath, SaslLine, Secret, State,
};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::accounts::Account;
use crate::certificate;
use crate::content::Content;
use crate::delivery::{DeliveryError, Incoming, Outcomes};
use crate::driver::{EventOf, Io, Session, Stop};
use crate::log::Ration;
use crate::login::LoginError;
use crate::report::{Delivered, Report};
use crate::sasl::{self, Conversation, mechanisms};
use crate::server::Site;
use crate::submission::{Submission, message_id};

/// Recipients of one address of late that are refused without a delay; a list with some stale addresses has not many.
const REFUSED_AT_ONCE: u32 = 10;

/// How late each further one is refused.
const REFUSAL_DELAY: Duration = Duration::from_millis(500);

/// After so many its sessions end.
const MOST_REFUSED: u32 = 100;

/// Whom the port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Other servers, with SMTP.
    Relay,
    /// Users, who log in.
    Submission,
    /// A server in front of this one, with LMTP.
    Lmtp,
}

/// How a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// With 554: the client spoke too early. It may say `QUIT`.
    Refusal,
    /// With 220.
    Warm,
}

/// One SMTP session.
pub struct Smtp {
    connection: Connection,
    site: Arc<Site>,
    role: Role,
    welcome: Welcome,
    /// Whether the client may say whose session it is.
    believed: bool,
    /// Whose session it is.
    peer: IpAddr,
    /// Our own address, which a recipient may name in brackets.
    local: IpAddr,
    /// What the client calls itself; empty where that is no name of a host.
    client: String,
    account: Option<Arc<Account>>,
    /// The account that the client's certificate is of.
    certified: Option<String>,
    conversation: Option<Conversation>,
    transaction: Transaction,
    /// Of lines about what goes wrong.
    log: Ration,
}

/// Says what the log does not.
impl Drop for Smtp {
    fn drop(&mut self) {
        let left_out = self.log.left_out();
        if left_out > 0 {
            info!(peer = %self.peer, left_out, "too many log lines of one connection");
        }
    }
}

/// From `MAIL` to the end of the message.
#[derive(Default)]
struct Transaction {
    from: String,
    /// Where reports go, if the sender is one of ours.
    sender: Option<PathBuf>,
    utf8: bool,
    /// The client takes a reply for each recipient.
    prdr: bool,
    /// `ENVID`.
    envelope_id: Option<String>,
    recipients: Vec<Recipient>,
    /// Each once, however many recipients it has.
    mailboxes: Vec<PathBuf>,
    content: Option<Box<Content>>,
}

struct Recipient {
    address: String,
    /// Its place in `mailboxes`.
    mailbox: usize,
    /// `ORCPT`: the address as the sender wrote it, after its type.
    original: Option<String>,
    /// `NOTIFY=SUCCESS`.
    report: bool,
}

impl Smtp {
    /// A session with `peer`, who connected to `local`; `tls` when the connection began with it.
    pub fn new(site: Arc<Site>, role: Role, peer: SocketAddr, local: SocketAddr, tls: bool) -> Self {
        let limits = Limits {
            message: site.config.limits.message_octets,
            refused_octets: site.config.limits.message_octets.saturating_mul(2),
            recipients: site.config.limits.recipients,
            ..Limits::default()
        };
        let submission = role == Role::Submission;
        let believed = site.config.trust.xclient.contains(peer.ip());
        let connection = Connection::new(Config {
            extensions: extensions(&site, role, believed, tls, false),
            limits,
            lmtp: role == Role::Lmtp,
            require_auth: submission,
            require_tls: submission && !site.config.auth.plaintext,
            tls,
            ..Config::default()
        });
        let (peer, local) = (peer.ip().to_canonical(), local.ip().to_canonical());
        let (client, certified, transaction) = (String::new(), None, Transaction::default());
        let welcome = Welcome::Warm;
        Self {
            connection,
            site,
            role,
            welcome,
            believed,
            peer,
            local,
            client,
            account: None,
            certified,
            conversation: None,
            transaction,
            log: Ration::default(),
        }
    }

    /// The session, which begins as `welcome` says.
    #[must_use]
    pub fn with_welcome(mut self, welcome: Welcome) -> Self {
        self.welcome = welcome;
        self
    }

    async fn command(&mut self, command: Command<'_>, io: &mut Io) -> Result<(), Stop> {
        let reply = match command {
            Command::Auth { mechanism, initial } => return self.auth(mechanism, initial, io).await,
            Command::Data => self.data(),
            Command::Ehlo(name) | Command::Helo(name) | Command::Lhlo(name) => {
                // What is neither a domain nor a literal may be made to look like our own words in the trace.
                self.client = name.host().map(|host| host.to_string()).unwrap_or_default();
                self.transaction = Transaction::default();
                return Ok(self.connection.send_hello(&self.site.config.hostname, &mut io.out)?);
            }
            Command::Help(_) => Reply::new(Code::HELP, "see RFC 5321").with_enhanced(2, 0, 0),
            Command::Mail { from, .. } if !self.may_send_as(&from) => {
                Reply::new(Code::MAILBOX_NAME_NOT_ALLOWED, "that is not an address of yours").with_enhanced(5, 7, 1)
            }
            Command::Mail { .. } if self.role != Role::Lmtp && !self.site.messages.take(self.peer) => {
                info!(peer = %self.peer, user = self.user(), "too many messages");
                Reply::new(Code::NOT_AVAILABLE, "too many messages, try again later").with_enhanced(4, 7, 0)
            }
            Command::Mail { from, parameters } => self.mail(&from, &parameters),
            Command::Quit => Reply::new(Code::CLOSING, "bye").with_enhanced(2, 0, 0),
            Command::Rcpt { to, parameters } => match self.rcpt(&to, &parameters) {
                Ok(reply) => reply,
                Err(reply) => self.refuse_recipient(reply, io).await?,
            },
            Command::Rset => {
                self.transaction = Transaction::default();
                Reply::new(Code::OK, "forgotten").with_enhanced(2, 0, 0)
            }
            Command::StartTls => Reply::new(Code::READY, "go ahead").with_enhanced(2, 0, 0),
            // Neither yes nor no: who has a mailbox here is nobody's business.
            Command::Vrfy(_) => Reply::new(Code::CANNOT_VERIFY, "send some mail and see").with_enhanced(2, 5, 2),
            Command::Xclient(attributes) => self.xclient(&attributes),
            Command::Xforward(attributes) => {
                info!(peer = %self.peer, forwarded = %Escaped(attributes.as_bytes()), "for another client");
                Reply::new(Code::OK, "noted").with_enhanced(2, 0, 0)
            }
            _ => Reply::new(Code::OK, "").with_enhanced(2, 0, 0),
        };
        Ok(self.connection.send(&reply, &mut io.out)?)
    }

    fn mail(&mut self, from: &ReversePath<'_>, parameters: &Parameters<'_>) -> Reply<'static> {
        let size = parameters.size().unwrap_or(self.site.config.space.unsized_octets);
        if !self.site.space.has_room_for(size) {
            if self.log.take() {
                warn!(peer = %self.peer, size, "message refused: no space left");
            }
            return Reply::new(Code::INSUFFICIENT_STORAGE, "no space left, try again").with_enhanced(4, 3, 1);
        }
        let ours = from.mailbox().filter(|mailbox| self.is_local(*mailbox));
        self.transaction = Transaction {
            from: from.to_string(),
            sender: ours.and_then(|mailbox| self.account_of(mailbox)).map(|account| self.site.mailbox_of(&account)),
            utf8: parameters.smtputf8(),
            prdr: parameters.prdr(),
            envelope_id: parameters.envelope_id().map(String::from),
            ..Transaction::default()
        };
        Reply::new(Code::OK, "sender taken").with_enhanced(2, 1, 0)
    }

    /// A user has the addresses of the own account: [RFC 6409 section 6.1](https://www.rfc-editor.org/rfc/rfc6409#section-6.1). Notifications are from
    /// nobody.
    fn may_send_as(&self, from: &ReversePath<'_>) -> bool {
        match (from.mailbox(), &self.account) {
            (Some(mailbox), Some(account)) if self.role == Role::Submission && self.is_local(mailbox) => {
                self.account_of(mailbox).is_some_and(|owner| owner.name == account.name)
            }
            (Some(_), _) if self.role == Role::Submission => self.site.config.submission.foreign_senders,
            _ => true,
        }
    }

    /// Who asks for many that are not there is looking for those that are.
    async fn refuse_recipient(&self, reply: Reply<'static>, io: &mut Io) -> Result<Reply<'static>, Stop> {
        if self.role == Role::Lmtp {
            return Ok(reply);
        }
        let refused = self.site.logins.count_stranger(self.peer);
        if refused > MOST_REFUSED {
            info!(peer = %self.peer, "too many recipients refused");
            return Ok(Reply::new(Code::NOT_AVAILABLE, "too many recipients that do not exist").with_enhanced(4, 7, 0));
        }
        if refused > REFUSED_AT_ONCE {
            io.flush().await?;
            sleep(REFUSAL_DELAY).await;
        }
        Ok(reply)
    }

    fn rcpt(&mut self, to: &ForwardPath<'_>, parameters: &Parameters<'_>) -> Result<Reply<'static>, Reply<'static>> {
        let account = match to.mailbox() {
            None => self.site.postmaster(),
            Some(mailbox) if !self.is_local(mailbox) => {
                return Err(
                    Reply::new(Code::MAILBOX_UNAVAILABLE, "mail for other servers is not taken").with_enhanced(5, 7, 1)
                );
            }
            Some(mailbox) => self.account_of(mailbox),
        };
        let Some(account) = account else {
            return Err(Reply::new(Code::MAILBOX_UNAVAILABLE, "no such mailbox here").with_enhanced(5, 1, 1));
        };
        let path = self.site.mailbox_of(&account);
        let mailboxes = &mut self.transaction.mailboxes;
        let mailbox = mailboxes.iter().position(|other| *other == path).unwrap_or(mailboxes.len());
        if mailbox == mailboxes.len() {
            mailboxes.push(path);
        }
        let original = parameters
            .original_recipient()
            .map(|original| format!("{};{}", original.address_type(), Escaped(original.address().as_bytes())));
        let report = parameters.notify().is_some_and(|notify| notify.success);
        self.transaction.recipients.push(Recipient { address: to.to_string(), mailbox, original, report });
        Ok(Reply::new(Code::OK, "recipient taken").with_enhanced(2, 1, 5))
    }

    fn is_local(&self, mailbox: Mailbox<'_>) -> bool {
        match mailbox.host() {
            Host::Domain(domain) => self.site.config.is_local(domain.as_bytes()),
            Host::Literal(literal) => match literal.address() {
                LiteralAddress::V4(address) => self.local == IpAddr::V4(address),
                LiteralAddress::V6(address) => self.local == IpAddr::V6(address),
                _ => false,
            },
        }
    }

    /// The account with that local part, or with what stands before its `+`.
    fn account_of(&self, mailbox: Mailbox<'_>) -> Option<Arc<Account>> {
        let local_part = mailbox.local_part().unquoted();
        let name = std::str::from_utf8(&local_part).ok()?;
        let accounts = self.site.logins.accounts();
        let base = || name.split_once('+').and_then(|(base, _)| accounts.find(base));
        let postmaster = || name.eq_ignore_ascii_case("postmaster").then(|| self.site.postmaster()).flatten();
        accounts.find(name).or_else(base).or_else(postmaster)
    }

    fn data(&mut self) -> Reply<'static> {
        self.begin_message();
        Reply::new(Code::START_MAIL_INPUT, "end with a line of one dot")
    }

    fn begin_message(&mut self) {
        let trace = self.trace().into_bytes();
        let mailboxes = self.transaction.mailboxes.clone();
        let sender = without_brackets(&self.transaction.from).to_owned();
        let (message, config) = (self.site.deliverer.begin(mailboxes, sender, trace), &self.site.config);
        let submission = (self.role == Role::Submission)
            .then(|| Submission::new(config.submission.header_octets, now(), message_id(&config.hostname)));
        self.transaction.content = Some(Box::new(Content::new(message, config.limits.received_fields, submission)));
    }

    fn chunk_end(&mut self, end: ChunkEnd, io: &mut Io) -> Result<(), Stop> {
        let reply = match end.fault {
            Some(fault) => {
                if self.log.take() {
                    info!(peer = %self.peer, from = self.transaction.from, %fault, "message refused");
                }
                self.transaction = Transaction::default();
                fault.reply()
            }
            None => Reply::new(Code::OK, "go on").with_enhanced(2, 0, 0),
        };
        Ok(self.connection.send(&reply, &mut io.out)?)
    }

    /// `Return-Path` and `Received`, [RFC 5321 section 4.4](https://www.rfc-editor.org/rfc/rfc5321#section-4.4), and `Original-Recipient`,
    /// [RFC 8098 section 2.3](https://www.rfc-editor.org/rfc/rfc8098#section-2.3).
    fn trace(&self) -> String {
        let Transaction { from, recipients, .. } = &self.transaction;
        let (client, host, protocol) = (&self.client, &self.site.config.hostname, self.protocol());
        let address = match self.peer {
            IpAddr::V4(address) => format!("[{address}]"),
            IpAddr::V6(address) => format!("[IPv6:{address}]"),
        };
        let client = if client.is_empty() { &address } else { client };
        // More than one would show each who the others are.
        let (recipient, original) = match &recipients[..] {
            [only] => (format!("\n\tfor {}", only.address), only.original.as_ref()),
            _ => (String::new(), None),
        };
        let now = now();
        let original = original.map(|original| format!("Original-Recipient: {original}\n")).unwrap_or_default();
        format!(
            "Return-Path: {from}\nReceived: from {client} ({address})\n\tby {host} with {protocol}{recipient};\n\t{now}\n{original}"
        )
    }

    /// [RFC 3848](https://www.rfc-editor.org/rfc/rfc3848) and [RFC 6531 section 4.3](https://www.rfc-editor.org/rfc/rfc6531#section-4.3).
    fn protocol(&self) -> String {
        let name = match (self.role, self.transaction.utf8, self.connection.is_extended()) {
            (Role::Lmtp, true, _) => "UTF8LMTP",
            (Role::Lmtp, false, _) => "LMTP",
            (_, true, _) => "UTF8SMTP",
            (_, false, true) => "ESMTP",
            (_, false, false) => "SMTP",
        };
        let tls = if self.connection.is_secured() { "S" } else { "" };
        let auth = if self.connection.is_authenticated() { "A" } else { "" };
        format!("{name}{tls}{auth}")
    }

    async fn content_end(&mut self, end: ContentEnd, io: &mut Io) -> Result<(), Stop> {
        let mut transaction = std::mem::take(&mut self.transaction);
        let replies = match (end.fault, transaction.content.take()) {
            (Some(fault), _) => {
                if self.log.take() {
                    info!(peer = %self.peer, from = transaction.from, %fault, "message refused");
                }
                vec![fault.reply()]
            }
            (None, Some(mut content)) => {
                content.end().await;
                match content.into_message() {
                    Ok(message) => self.deliver(message, &transaction, end.size).await,
                    Err(refusal) => {
                        if self.log.take() {
                            let (user, from) = (self.user(), &transaction.from);
                            info!(peer = %self.peer, user, from, %refusal, "message refused");
                        }
                        vec![refusal.reply()]
                    }
                }
            }
            (None, None) => vec![Reply::new(Code::LOCAL_ERROR, "try again").with_enhanced(4, 3, 0)],
        };
        // LMTP: one for each recipient. Where there is one for all of them, it is repeated.
        let count = if self.role == Role::Lmtp { transaction.recipients.len() } else { replies.len() };
        for reply in replies.iter().cycle().take(count) {
            self.connection.send(reply, &mut io.out)?;
        }
        Ok(())
    }

    /// The replies: in LMTP one for each recipient, in SMTP one for all, unless recipients fare differently and the client can be told.
    async fn deliver(&mut self, message: Incoming, transaction: &Transaction, size: u64) -> Vec<Reply<'static>> {
        let Transaction { from, recipients, .. } = transaction;
        let outcomes = message.deliver().await;
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            if self.log.take() {
                warn!(peer = %self.peer, from, %error, "not delivered");
            }
        }
        if outcomes.iter().any(Result::is_ok) {
            info!(peer = %self.peer, user = self.user(), from, recipients = recipients.len(), size, "delivered");
            self.report(transaction, &outcomes).await;
        }
        let each = recipients.iter().map(|recipient| reply_to(outcomes.get(recipient.mailbox)));
        let all_alike = outcomes.iter().all(Result::is_ok) || outcomes.iter().all(Result::is_err);
        match self.role {
            Role::Lmtp => each.collect(),
            Role::Relay | Role::Submission if transaction.prdr && !all_alike => {
                let first = Reply::new(Code::PER_RECIPIENT, "one by one");
                let last = Reply::new(Code::OK, "that was all").with_enhanced(2, 0, 0);
                [first].into_iter().chain(each).chain([last]).collect()
            }
            // One reply for all: the client has to try again for all, and who has the message gets it twice rather than not at all.
            Role::Relay | Role::Submission => vec![reply_to(worst(&outcomes))],
        }
    }

    /// Tells a sender of ours who has the message, where that was asked for.
    async fn report(&mut self, transaction: &Transaction, outcomes: &Outcomes) {
        let (Some(mailbox), site) = (&transaction.sender, Arc::clone(&self.site)) else { return };
        let host = &site.config.hostname;
        let has_it =
            |recipient: &&Recipient| recipient.report && matches!(outcomes.get(recipient.mailbox), Some(Ok(())));
        let delivered: Vec<_> = transaction.recipients.iter().filter(has_it).map(Recipient::delivered).collect();
        if delivered.is_empty() {
            return;
        }
        let (date, id) = (now(), message_id(host));
        let report = Report {
            host,
            to: without_brackets(&transaction.from),
            date: &date,
            id: &id,
            envelope_id: transaction.envelope_id.as_deref(),
            delivered,
        };
        let trace = b"Return-Path: <>\n".to_vec();
        let mut message = site.deliverer.begin(vec![mailbox.clone()], String::new(), trace);
        message.push(&report.message()).await;
        for error in message.deliver().await.iter().filter_map(|outcome| outcome.as_ref().err()) {
            if self.log.take() {
                warn!(peer = %self.peer, from = transaction.from, %error, "report not delivered");
            }
        }
    }

    /// A proxy or a server in front says whose session this is. What it does not say stays as it is.
    fn xclient(&mut self, attributes: &Attributes<'_>) -> Reply<'static> {
        let known = |name| match attributes.find(name) {
            Some(AttributeValue::Known(value)) => String::from_utf8(value.into_owned()).ok(),
            _ => None,
        };
        let named = matches!(attributes.find("LOGIN"), Some(AttributeValue::Known(_)));
        let account = known("LOGIN").and_then(|name| self.site.logins.accounts().find(&name));
        // Where nobody has to be logged in, a server in front may have users that are none of ours.
        if named && account.is_none() && self.role == Role::Submission {
            return Reply::new(Code::MAILBOX_UNAVAILABLE, "no such user").with_enhanced(5, 7, 8);
        }
        let by = self.peer;
        self.peer = attributes.address().unwrap_or(self.peer).to_canonical();
        self.client = known("HELO")
            .filter(|name| ClientName::new(name).is_ok_and(|name| name.host().is_some()))
            .unwrap_or_default();
        self.account = account;
        self.transaction = Transaction::default();
        // Whoever speaks next may be the client itself, through a proxy that does not look.
        self.believed = false;
        self.offer(self.connection.is_secured());
        info!(peer = %self.peer, %by, user = self.user(), "client named by a proxy");
        Reply::new(Code::READY, &self.greeting()).into_owned()
    }

    fn offer(&mut self, tls: bool) {
        self.connection.offer(extensions(&self.site, self.role, self.believed, tls, self.certified.is_some()));
    }

    fn greeting(&self) -> String {
        let protocol = if self.role == Role::Lmtp { "LMTP" } else { "ESMTP" };
        format!("{} {protocol} postrider", self.site.config.hostname)
    }

    fn user(&self) -> Option<&str> {
        self.account.as_ref().map(|account| account.name.as_str())
    }

    async fn auth(&mut self, mechanism: Mechanism<'_>, initial: Option<Secret<'_>>, io: &mut Io) -> Result<(), Stop> {
        match self.site.sasl.start(mechanism.as_str(), self.certified.as_deref()) {
            Ok(conversation) => self.conversation = Some(conversation),
            Err(error) => return self.refuse(mechanism.as_str(), error, io),
        }
        self.sasl_step(initial.as_ref().map(Secret::expose), io).await
    }

    async fn sasl(&mut self, line: SaslLine, io: &mut Io) -> Result<(), Stop> {
        match line {
            SaslLine::Cancel => {
                self.conversation = None;
                let reply = Reply::new(Code::ARGUMENT_ERROR, "cancelled").with_enhanced(5, 7, 0);
                Ok(self.connection.send(&reply, &mut io.out)?)
            }
            SaslLine::Response(response) => self.sasl_step(Some(response.expose()), io).await,
        }
    }

    async fn sasl_step(&mut self, input: Option<&[u8]>, io: &mut Io) -> Result<(), Stop> {
        let Some(mut conversation) = self.conversation.take() else {
            return self.refuse("", LoginError::Temporary, io);
        };
        let reply = match conversation.step(input, self.peer).await {
            Ok(sasl::Step::Challenge(challenge)) => {
                self.conversation = Some(conversation);
                Reply::challenge_of(&challenge)
            }
            Ok(sasl::Step::Done(account)) => {
                info!(peer = %self.peer, user = %account.name, how = conversation.mechanism(), "logged in");
                self.account = Some(account);
                Reply::new(Code::AUTHENTICATED, "welcome").with_enhanced(2, 7, 0)
            }
            Err(error) => return self.refuse(conversation.mechanism(), error, io),
        };
        Ok(self.connection.send(&reply, &mut io.out)?)
    }

    fn refuse(&mut self, how: &str, error: LoginError, io: &mut Io) -> Result<(), Stop> {
        info!(peer = %self.peer, how, %error, "login refused");
        let reply = match error {
            LoginError::BadCredentials => {
                Reply::new(Code::AUTHENTICATION_FAILED, "wrong name or password").with_enhanced(5, 7, 8)
            }
            LoginError::Temporary | LoginError::TooManyFailures => {
                Reply::new(Code::TEMPORARY_AUTHENTICATION_FAILURE, "try again later").with_enhanced(4, 7, 0)
            }
        };
        Ok(self.connection.send(&reply, &mut io.out)?)
    }
}

impl Session for Smtp {
    type Connection = Connection;

    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    async fn open(&mut self, io: &mut Io) -> Result<(), Stop> {
        if self.welcome == Welcome::Refusal {
            let refusal = format!("{} you spoke before you were greeted", self.site.config.hostname);
            return Ok(self.connection.send(&Reply::new(Code::TRANSACTION_FAILED, &refusal), &mut io.out)?);
        }
        Ok(self.connection.send(&Reply::new(Code::READY, &self.greeting()), &mut io.out)?)
    }

    async fn event(&mut self, event: EventOf<'_, Self>, io: &mut Io) -> Result<(), Stop> {
        match event {
            Event::Content(piece) => {
                if let Some(content) = &mut self.transaction.content {
                    content.push(piece).await;
                }
                Ok(())
            }
            Event::Chunk(chunk) => {
                if chunk.first {
                    self.begin_message();
                }
                Ok(())
            }
            Event::ChunkEnd(end) => self.chunk_end(end, io),
            Event::ContentEnd(end) => self.content_end(end, io).await,
            Event::Command(command) => match self.connection.improper_pipelining() {
                Some(verb) if self.role == Role::Relay && verb == command.verb() => {
                    if self.log.take() {
                        info!(peer = %self.peer, %verb, "did not wait for the reply");
                    }
                    if self.site.config.early_talkers.refuse_hasty {
                        let reply = Reply::new(Code::NOT_AVAILABLE, "you did not wait for the reply");
                        return Ok(self.connection.send(&reply.with_enhanced(4, 5, 0), &mut io.out)?);
                    }
                    self.command(command, io).await
                }
                _ => self.command(command, io).await,
            },
            Event::Rejected(error) => {
                if matches!(self.connection.state(), State::Nameless | State::Ready) {
                    // A refused chunk ends the transaction.
                    self.transaction = Transaction::default();
                }
                Ok(self.connection.send(&error.reply(), &mut io.out)?)
            }
            Event::Sasl(line) => self.sasl(line, io).await,
        }
    }

    fn certified(&mut self, certificate: &[u8]) {
        let account = certificate::account_of(certificate, &self.site.config, self.site.logins.accounts());
        self.certified = account.map(|account| account.name.clone());
        self.offer(true);
    }

    fn secured(&mut self) {
        self.offer(true);
        (self.account, self.conversation) = (None, None);
        self.client.clear();
        self.transaction = Transaction::default();
    }

    fn stop(&mut self, io: &mut Io) -> bool {
        // A transaction that has begun may end.
        self.transaction.from.is_empty() && self.connection.close("the server stops", &mut io.out).is_ok()
    }

    fn timed_out(&mut self, io: &mut Io) {
        // The driver waits for the client only while it is its turn.
        let _ = self.connection.time_out("you took too long", &mut io.out);
    }

    fn paused(&mut self) {
        if let Some(content) = &mut self.transaction.content {
            content.paused();
        }
    }
}

/// What is offered: logins where they are safe, to users.
fn extensions(site: &Site, role: Role, believed: bool, tls: bool, certified: bool) -> Extensions {
    // Reports go to users of ours only: there is nobody who would take others out.
    let reports = role == Role::Submission && !site.config.submission.foreign_senders;
    let login = role == Role::Submission && (tls || site.config.auth.plaintext);
    let mechanisms = mechanisms(certified).filter(|_| login).filter_map(|name| Mechanism::new(name).ok());
    Extensions {
        auth: mechanisms.collect(),
        chunking: true,
        dsn: reports,
        help: true,
        limits: true,
        prdr: role != Role::Lmtp,
        require_tls: true,
        smtputf8: true,
        starttls: !tls,
        xclient: believed,
        xforward: believed,
        ..Extensions::default()
    }
}

/// For `Date` and `Received`.
fn now() -> String {
    Zoned::now().strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

impl Recipient {
    fn delivered(&self) -> Delivered<'_> {
        Delivered { recipient: without_brackets(&self.address), original: self.original.as_deref() }
    }
}

fn without_brackets(path: &str) -> &str {
    path.strip_prefix('<').and_then(|path| path.strip_suffix('>')).unwrap_or(path)
}

fn worst(outcomes: &Outcomes) -> Option<&Result<(), DeliveryError>> {
    outcomes.iter().find(|outcome| outcome.is_err()).or(outcomes.first())
}

fn reply_to(outcome: Option<&Result<(), DeliveryError>>) -> Reply<'static> {
    match outcome {
        Some(Ok(())) => Reply::new(Code::OK, "delivered").with_enhanced(2, 0, 0),
        Some(Err(DeliveryError::Full(_))) => {
            Reply::new(Code::INSUFFICIENT_STORAGE, "no space left, try again").with_enhanced(4, 3, 1)
        }
        Some(Err(DeliveryError::Failed(_))) | None => {
            Reply::new(Code::LOCAL_ERROR, "not delivered, try again").with_enhanced(4, 3, 0)
        }
    }
}
