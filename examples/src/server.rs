//! Listens, starts a session for each connection, and ends in order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use postrider_maildir::{MIN_TMP_AGE, Maildir};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::ServerConfig;
use tracing::{debug, error, info, warn};

use crate::accounts::{Account, Accounts, AccountsError};
use crate::admission::{Admission, Admitted, Full};
use crate::config::{Address, Config, Listen};
use crate::delivery::Deliverer;
use crate::driver::{Driver, Failure, Session, Stop};
use crate::early::{Behaviour, EarlyTalkers};
use crate::login::Logins;
use crate::maildrop::{Format, Snapshots};
use crate::pop3::Pop3;
use crate::proxy::{self, ProxyError};
use crate::rate::Rate;
use crate::sasl::Sasl;
use crate::smtp::{Role, Smtp, Welcome};
use crate::space::Space;
use crate::tls::{self, ServerConfigs, TlsError};

/// Why a server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The accounts cannot be read.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The data directory cannot be made.
    #[error("cannot make the data directory {path:?}: {source}")]
    Data {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {protocol}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// For which protocol.
        protocol: Protocol,
        /// Why not.
        source: io::Error,
    },
    /// The system has no thread to give.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// There is no certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the protocol of its name")]
pub enum Protocol {
    Lmtp,
    Pop3,
    Pop3s,
    Smtp,
    Submission,
    Submissions,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lmtp => "LMTP",
            Self::Pop3 => "POP3",
            Self::Pop3s => "POP3 over TLS",
            Self::Smtp => "SMTP",
            Self::Submission => "submission",
            Self::Submissions => "submission over TLS",
        })
    }
}

impl Protocol {
    fn begins_with_tls(self) -> bool {
        matches!(self, Self::Pop3s | Self::Submissions)
    }

    fn is_for_users(self) -> bool {
        !matches!(self, Self::Lmtp | Self::Smtp)
    }

    /// What is said to a connection that is one too many.
    fn refusal(self, why: Full) -> Option<String> {
        match self {
            Self::Pop3 => Some(format!("-ERR [SYS/TEMP] {why}\r\n")),
            Self::Lmtp | Self::Smtp | Self::Submission => Some(format!("421 {} {why}\r\n", why.enhanced_code())),
            Self::Pop3s | Self::Submissions => None,
        }
    }
}

/// What all sessions share.
#[derive(Debug)]
pub struct Site {
    /// What the operator decides.
    pub config: Config,
    /// Who may log in.
    pub logins: Arc<Logins>,
    /// Logins with SASL.
    pub sasl: Sasl,
    /// Puts messages into mailboxes.
    pub deliverer: Deliverer,
    /// What mail may take of the disk.
    pub space: Space,
    /// How often an address may begin a message.
    pub messages: Rate,
    /// What is known of maildrops.
    pub snapshots: Snapshots,
    tls: RwLock<ServerConfigs>,
}

impl Site {
    /// Opens what `config` names, and makes what is not there.
    ///
    /// # Errors
    ///
    /// When something cannot be opened or made.
    pub fn new(config: Config) -> Result<Self, StartError> {
        make_private_directory(&config.data)?;
        let accounts = Arc::new(Accounts::open(&config.data)?);
        if !config.postmaster.is_empty() && accounts.find(&config.postmaster).is_none() {
            warn!(postmaster = config.postmaster, "there is no such account: mail for postmaster is refused");
        }
        let space = Space::new(config.data.clone(), config.space.reserve_octets);
        let logins = Logins::new(accounts, Duration::from_secs(config.auth.remember_seconds))?;
        let logins = Arc::new(logins.sharing(config.trust.shared.clone()));
        Ok(Self {
            sasl: Sasl::new(Arc::clone(&logins)),
            logins,
            deliverer: Deliverer::start(config.mail.format()).map_err(StartError::Thread)?.within(space.clone()),
            space,
            messages: Rate::new(config.limits.messages_per_minute, config.trust.shared.clone()),
            snapshots: Snapshots::default(),
            tls: RwLock::new(tls::server_configs(&config)?),
            config,
        })
    }

    /// Where the mail of an account is. Its name is safe as a file's name.
    pub fn mailbox_of(&self, account: &Account) -> PathBuf {
        self.config.data.join(self.config.mail.path.replace("{user}", &account.name))
    }

    /// Who gets mail for `postmaster`. A name that is none of an account's is nobody's mail.
    pub fn postmaster(&self) -> Option<Arc<Account>> {
        let (accounts, name) = (self.logins.accounts(), &self.config.postmaster);
        if name.is_empty() { accounts.all().values().next().cloned() } else { accounts.find(name) }
    }

    /// Removes what interrupted deliveries left in the mailboxes' `tmp/`.
    fn clean(&self) {
        if self.config.mail.format() != Format::Maildir {
            return;
        }
        for account in self.logins.accounts().all().values() {
            // A mailbox is made with its first message; where there is none, there is nothing to remove.
            let Ok(maildir) = Maildir::open(self.mailbox_of(account)) else { continue };
            match maildir.clean_tmp(MIN_TMP_AGE) {
                Ok(0) => {}
                Ok(removed) => info!(user = %account.name, removed, "remains of interrupted deliveries removed"),
                Err(error) => warn!(user = %account.name, %error, "remains of interrupted deliveries stay"),
            }
        }
    }

    fn tls(&self, protocol: Protocol) -> Arc<ServerConfig> {
        let configs = self.tls.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(if protocol.is_for_users() { &configs.users } else { &configs.servers })
    }

    /// Reads certificate and key anew. Connections that are up keep theirs; so does the server if the new ones do not serve.
    pub fn reload_tls(&self) {
        match tls::server_configs(&self.config) {
            Ok(config) => {
                *self.tls.write().unwrap_or_else(PoisonError::into_inner) = config;
                info!("certificate read anew");
            }
            Err(error) => error!(%error, "the certificate stays as it was"),
        }
    }
}

/// Makes a directory for the server's eyes alone; one that is there stays as it is.
///
/// # Errors
///
/// When it cannot be made.
pub fn make_private_directory(path: &std::path::Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::Data { path: path.to_owned(), source })
}

/// Listening sockets, and what is behind them.
#[derive(Debug)]
pub struct Server {
    site: Arc<Site>,
    listeners: Vec<(Protocol, TcpListener)>,
}

impl Server {
    /// Listens. Nothing is accepted before [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// When an address cannot be had.
    pub async fn listen(site: Site) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        for (protocol, address) in addresses(&site.config.listen) {
            let Address::At(address) = address else { continue };
            let listener = TcpListener::bind(address).await;
            listeners.push((protocol, listener.map_err(|source| StartError::Listen { address, protocol, source })?));
        }
        Ok(Self { site: Arc::new(site), listeners })
    }

    /// What is listened on.
    pub fn addresses(&self) -> impl Iterator<Item = (Protocol, SocketAddr)> {
        self.listeners.iter().filter_map(|(protocol, listener)| Some((*protocol, listener.local_addr().ok()?)))
    }

    /// What all sessions share.
    pub fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// Serves until `stop` is there; then accepts nothing more, lets transactions end, and returns when all have or when their time is up.
    ///
    /// # Errors
    ///
    /// [`ListenerEnded`] when a defect ended a listener: the others have then ended in order too.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ListenerEnded> {
        let (stopping, stopped) = watch::channel(false);
        // Each connection holds a sender: when all are dropped, all have ended.
        let (running, mut all_ended) = mpsc::channel::<()>(1);
        let Config { limits, trust, .. } = &self.site.config;
        let door = Door {
            site: Arc::clone(&self.site),
            admission: Admission::new(limits.most_connections(trust.shared.clone())),
            arrivals: Arc::new(Rate::new(limits.connections_per_minute, trust.shared.clone())),
            early: Arc::new(EarlyTalkers::new(&self.site.config)),
            stopped,
            running,
        };
        let mut accepting: JoinSet<_> =
            self.listeners.into_iter().map(|(protocol, listener)| door.clone().accept(protocol, listener)).collect();
        drop(door);
        let cleaning = tokio::spawn(clean_daily(Arc::clone(&self.site)));
        let outcome = tokio::select! {
            () = stop => Ok(()),
            Some(_) = accepting.join_next() => Err(ListenerEnded),
        };
        info!("stopping");
        cleaning.abort();
        accepting.shutdown().await;
        let _ = stopping.send(true);
        let patience = Duration::from_secs(self.site.config.timeouts.shutdown_seconds);
        if timeout(patience, all_ended.recv()).await.is_err() {
            warn!("connections were cut off");
        }
        outcome
    }
}

/// A listener ended, which none does by itself.
#[derive(Clone, Copy, Debug, Error)]
#[error("a listener ended: this is a defect")]
pub struct ListenerEnded;

async fn clean_daily(site: Arc<Site>) {
    loop {
        let site = Arc::clone(&site);
        // A panic in there has been reported, and ends nothing but this round.
        let _ = spawn_blocking(move || site.clean()).await;
        sleep(Duration::from_secs(24 * 60 * 60)).await;
    }
}

fn addresses(listen: &Listen) -> [(Protocol, Address); 6] {
    [
        (Protocol::Smtp, listen.smtp),
        (Protocol::Submission, listen.submission),
        (Protocol::Submissions, listen.submissions),
        (Protocol::Lmtp, listen.lmtp),
        (Protocol::Pop3, listen.pop3),
        (Protocol::Pop3s, listen.pop3s),
    ]
}

#[derive(Clone)]
struct Door {
    site: Arc<Site>,
    admission: Admission,
    arrivals: Arc<Rate>,
    early: Arc<EarlyTalkers>,
    stopped: watch::Receiver<bool>,
    running: mpsc::Sender<()>,
}

/// A connection before its session.
struct Arrival {
    protocol: Protocol,
    stream: TcpStream,
    peer: SocketAddr,
    /// What the peer connected to.
    local: SocketAddr,
    ticket: Ticket,
}

/// What counts a connection while it lasts.
type Ticket = (Admitted, mpsc::Sender<()>);

impl Door {
    async fn accept(self, protocol: Protocol, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.enter(protocol, stream, peer),
                Err(error) => {
                    // Out of file descriptors, mostly: trying again at once would only burn the processor.
                    error!(%protocol, %error, "cannot accept");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn enter(&self, protocol: Protocol, stream: TcpStream, peer: SocketAddr) {
        let admitted = match self.admission.enter() {
            Ok(admitted) => admitted,
            Err(full) => return send_away(protocol, stream, peer, full),
        };
        // Answers are written whole; none gains from waiting.
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let arrival = Arrival { protocol, stream, peer, local, ticket: (admitted, self.running.clone()) };
        if self.site.config.trust.proxies.contains(peer.ip()) {
            tokio::spawn(self.clone().behind_proxy(arrival));
        } else {
            self.admit(arrival);
        }
    }

    /// A proxy's word counts for whose connection it is: for limits, logins, the log and the trace.
    async fn behind_proxy(mut self, mut arrival: Arrival) {
        let patience = Duration::from_secs(self.site.config.timeouts.proxy_seconds);
        let received = tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stop| *stop) => return,
            received = timeout(patience, proxy::receive(&mut arrival.stream)) => received,
        };
        let (protocol, proxy) = (arrival.protocol, arrival.peer);
        match received {
            Ok(Ok(Some(of))) => (arrival.peer, arrival.local) = (of.source, of.destination),
            Ok(Ok(None)) => {}
            // As when a proxy looks whether somebody is there.
            Ok(Err(error @ ProxyError::Lost(_))) => return debug!(%protocol, %proxy, %error, "ended"),
            Ok(Err(error)) => return warn!(%protocol, %proxy, %error, "ended"),
            Err(_) => return warn!(%protocol, %proxy, "no whole PROXY header for {patience:?}"),
        }
        self.admit(arrival);
    }

    fn admit(&self, mut arrival: Arrival) {
        let address = arrival.peer.ip();
        let mut admitted = arrival.ticket.0.belongs_to(address);
        // A server in front passes on what many have sent.
        if arrival.protocol != Protocol::Lmtp && !self.arrivals.take(address) {
            admitted = admitted.and(Err(Full::Rate));
        }
        if let Err(full) = admitted {
            send_away(arrival.protocol, arrival.stream, arrival.peer, full);
        } else if arrival.protocol == Protocol::Smtp && self.early.suspects(address) {
            tokio::spawn(self.clone().watch(arrival));
        } else {
            self.serve(arrival, Welcome::Warm);
        }
    }

    /// Greets whoever can wait for it.
    async fn watch(mut self, arrival: Arrival) {
        let (protocol, peer) = (arrival.protocol, arrival.peer);
        let behaviour = tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stop| *stop) => return,
            behaviour = self.early.watch(peer.ip(), &arrival.stream) => behaviour,
        };
        match behaviour {
            Behaviour::Left => debug!(%protocol, %peer, "left before the greeting"),
            Behaviour::Spoke => {
                info!(%protocol, %peer, "refused: spoke before the greeting");
                self.serve(arrival, Welcome::Refusal);
            }
            Behaviour::Waited => self.serve(arrival, Welcome::Warm),
        }
    }

    fn serve(&self, arrival: Arrival, welcome: Welcome) {
        let Arrival { protocol, peer, local, .. } = arrival;
        debug!(%protocol, %peer, "connected");
        let tls = protocol.begins_with_tls();
        let smtp = |role| Smtp::new(Arc::clone(&self.site), role, peer, local, tls);
        match protocol {
            Protocol::Lmtp => self.spawn(smtp(Role::Lmtp), arrival),
            Protocol::Smtp => self.spawn(smtp(Role::Relay).with_welcome(welcome), arrival),
            Protocol::Submission | Protocol::Submissions => self.spawn(smtp(Role::Submission), arrival),
            Protocol::Pop3 | Protocol::Pop3s => self.spawn(Pop3::new(Arc::clone(&self.site), peer, tls), arrival),
        }
    }

    fn spawn<S: Session + 'static>(&self, session: S, arrival: Arrival) {
        let Arrival { protocol, stream, peer, ticket, .. } = arrival;
        let timeouts = self.site.config.timeouts.driver();
        let driver = Driver::new(session, stream, Some(self.site.tls(protocol)), timeouts, self.stopped.clone());
        tokio::spawn(async move {
            let ended = if protocol.begins_with_tls() { driver.run_tls().await } else { driver.run().await };
            match ended {
                Ok(()) => debug!(%protocol, %peer, "ended"),
                Err(failure) => report(protocol, peer, &failure),
            }
            drop(ticket);
        });
    }
}

/// A connection that is one too many is told so, where it would understand.
fn send_away(protocol: Protocol, stream: TcpStream, peer: SocketAddr, full: Full) {
    warn!(%protocol, %peer, "{full}");
    if let Some(refusal) = protocol.refusal(full) {
        tokio::spawn(refuse(stream, refusal));
    }
}

/// Peers that vanish are the network's everyday; our own failures are not.
fn report<E: std::error::Error>(protocol: Protocol, peer: SocketAddr, failure: &Failure<E>) {
    match failure {
        Failure::Lost(_) | Failure::Tls(_) => debug!(%protocol, %peer, %failure, "ended"),
        Failure::Stopped(Stop::Misuse(_) | Stop::Session(_)) => error!(%protocol, %peer, %failure, "ended"),
        _ => info!(%protocol, %peer, %failure, "ended"),
    }
}

/// The peer need not take it.
async fn refuse(mut stream: TcpStream, refusal: String) {
    let _ = timeout(Duration::from_secs(1), stream.write_all(refusal.as_bytes())).await;
}
