//! Runs any of the protocol connections over a socket: reads, writes, TLS, time limits, an orderly end.
//!
//! This file and [`pace`](crate::pace) stand on tokio and rustls alone. Take them for a server of your own: implement [`Session`] for what your server does,
//! then call [`Driver::run`].
//!
//! One read buffer and one write buffer belong to each connection. The write buffer goes out when the protocol has no more to decode,
//! which gives pipelined commands one write for many answers, and in between when it has grown large. While nothing is owed to
//! either side both buffers are freed: an idle connection costs its task and little more. One that stops within a
//! message has, after a second, small buffers and what of the message is not on the disk.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use postrider_pop3_proto::Step;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::pace::Pace;

/// A server connection of one of the protocol crates, seen alike.
pub trait Connection: Send {
    /// What the peer did.
    type Event<'b>: Send;
    /// Why the connection cannot go on.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Decodes what stands at the front of `input`.
    ///
    /// # Errors
    ///
    /// When the connection cannot go on.
    fn receive<'b>(&mut self, input: &'b [u8]) -> Result<Step<Self::Event<'b>>, Self::Error>;

    /// TLS is up; `unread` is what came before it.
    ///
    /// # Errors
    ///
    /// When `unread` is not empty.
    fn secured(&mut self, unread: &[u8]) -> Result<(), Self::Error>;

    /// Whether TLS is to be set up once everything is written.
    fn wants_tls(&self) -> bool;

    /// Whether to close once everything is written.
    fn is_closed(&self) -> bool;

    /// How long the peer may take for what comes next.
    fn timeout(&self) -> Duration;

    /// What the peer is sending.
    fn taking(&self) -> Taking;
}

/// What a peer is sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// Commands, between the chunks of a message that has begun.
    Chunks,
    /// Commands, outside a message.
    Commands,
    /// A message: each piece of it, refused ones too, has its own time.
    Message,
}

/// Forwards the common verbs to the methods of the same name.
macro_rules! impl_connection {
    ($protocol:ident, $taking:expr) => {
        impl From<$protocol::Misuse> for Stop {
            fn from(misuse: $protocol::Misuse) -> Self {
                Self::Misuse(misuse.to_string())
            }
        }

        impl Connection for $protocol::server::Connection {
            type Event<'b> = $protocol::server::Event<'b>;
            type Error = $protocol::Error;

            fn receive<'b>(&mut self, input: &'b [u8]) -> Result<Step<Self::Event<'b>>, Self::Error> {
                self.receive(input)
            }

            fn secured(&mut self, unread: &[u8]) -> Result<(), Self::Error> {
                self.secured(unread)
            }

            fn wants_tls(&self) -> bool {
                self.wants_tls()
            }

            fn is_closed(&self) -> bool {
                self.is_closed()
            }

            fn timeout(&self) -> Duration {
                self.timeout()
            }

            fn taking(&self) -> Taking {
                $taking(self.state())
            }
        }
    };
}

use postrider_pop3_proto as pop3;
use postrider_smtp_proto as smtp;
impl_connection!(pop3, |_| Taking::Commands);
impl_connection!(smtp, |state| match state {
    smtp::State::Chunks => Taking::Chunks,
    smtp::State::Content => Taking::Message,
    _ => Taking::Commands,
});

/// What a server does with a peer.
pub trait Session: Send {
    /// The protocol it speaks.
    type Connection: Connection;

    /// The connection itself.
    fn connection(&mut self) -> &mut Self::Connection;

    /// Greets. It is not called again after STARTTLS.
    fn open(&mut self, io: &mut Io) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Deals with an event.
    fn event(&mut self, event: EventOf<'_, Self>, io: &mut Io) -> impl Future<Output = Result<(), Stop>> + Send;

    /// TLS is up, and the peer has shown this certificate, in DER, which has been verified, and that it has its key. Called before
    /// [`secured`](Self::secured), and where the connection begins with TLS, before [`open`](Self::open).
    fn certified(&mut self, certificate: &[u8]) {
        let _ = certificate;
    }

    /// TLS is up.
    fn secured(&mut self) {}

    /// Nothing has come for a second: what is held only to be fast may go.
    fn paused(&mut self) {}

    /// The server stops. Between two commands: says so to the peer, if the protocol can, and answers `true`.
    /// In the midst of something that should be finished first: answers `false`, and is asked again later.
    fn stop(&mut self, io: &mut Io) -> bool {
        let _ = io;
        true
    }

    /// The peer took too long: says so, if the protocol can.
    fn timed_out(&mut self, io: &mut Io) {
        let _ = io;
    }
}

/// The events of a session's connection.
pub type EventOf<'b, S> = <<S as Session>::Connection as Connection>::Event<'b>;

/// The errors of a session's connection.
pub type ErrorOf<S> = <<S as Session>::Connection as Connection>::Error;

/// Why a session ends before its protocol says so.
#[derive(Debug, Error)]
pub enum Stop {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The session said what its protocol does not allow at this point: a defect of the session.
    #[error("{0}")]
    Misuse(String),
    /// The session cannot go on for a reason of its own; it has been logged.
    #[error("{0}")]
    Session(&'static str),
    /// The peer reads too slowly.
    #[error("the peer did not read for {0:?}")]
    WriteTimeout(Duration),
}

/// How a connection ended.
#[derive(Debug, Error)]
pub enum Failure<E> {
    /// The peer closed or broke the connection without leave.
    #[error("connection lost: {0}")]
    Lost(#[source] io::Error),
    /// The peer spoke wrongly beyond repair.
    #[error(transparent)]
    Protocol(E),
    /// The peer took too long.
    #[error("the peer sent nothing complete for {0:?}")]
    ReadTimeout(Duration),
    /// The session gave up.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The peer has fallen too far behind the pace of [`Timeouts::message`].
    #[error("the message came too slowly")]
    TooSlow,
}

/// Time limits that are the server's own.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For the peer's next command or piece of a message; the protocol's own where `None`.
    pub read: Option<Duration>,
    /// For a message in all. Only what is waited for the peer counts, and only octets of the message.
    pub message: Pace,
    /// For the peer to take any of what is written to it.
    pub write: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
}

/// The protocol's own limit for reading, any pace, 5 minutes to write, half a minute for a handshake.
impl Default for Timeouts {
    fn default() -> Self {
        let message = Pace::new(0, Duration::ZERO);
        Self { read: None, message, write: Duration::from_secs(300), handshake: Duration::from_secs(30) }
    }
}

/// A read of this size is enough for any command; it doubles while reads fill it.
const SMALL_READ: usize = 2 * 1024;
/// No gain was measured beyond it.
const LARGE_READ: usize = 64 * 1024;
/// What is owed is written when it reaches this size, even with more to decode.
const FLUSH_AT: usize = 64 * 1024;

/// What a connection keeps to write its next answer into.
const KEPT_OUT: usize = 512;

/// A peer of whom nothing comes for so long will not be slowed down by small buffers.
const PAUSE: Duration = Duration::from_secs(1);

/// For a peer that was too slow to take what is said of it: it fits into the socket's buffer, unless that is full of what the peer does not read.
const GOODBYE: Duration = Duration::from_secs(5);

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Taken for a handshake that failed.
    Gone,
}

/// The sending half of a connection, for the use of a [`Session`].
pub struct Io {
    stream: Stream,
    /// What is owed to the peer.
    pub out: Vec<u8>,
    write_timeout: Duration,
}

impl Io {
    /// Writes out what is owed.
    ///
    /// # Errors
    ///
    /// When the peer is gone or does not read.
    pub async fn flush(&mut self) -> Result<(), Stop> {
        let mut rest = &self.out[..];
        while !rest.is_empty() {
            let written = match timeout(self.write_timeout, self.stream.write(rest)).await {
                Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => written?,
                Err(_) => return Err(Stop::WriteTimeout(self.write_timeout)),
            };
            rest.advance(written);
        }
        match timeout(self.write_timeout, self.stream.flush()).await {
            Ok(flushed) => flushed?,
            Err(_) => return Err(Stop::WriteTimeout(self.write_timeout)),
        }
        self.out.clear();
        self.out.shrink_to(KEPT_OUT);
        Ok(())
    }

    /// Writes out what is owed if it has grown large: call it between the pieces of something long.
    ///
    /// # Errors
    ///
    /// As for [`flush`](Self::flush).
    pub async fn flush_if_large(&mut self) -> Result<(), Stop> {
        if self.out.len() >= FLUSH_AT { self.flush().await } else { Ok(()) }
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

impl Stream {
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_buf(buffer).await,
            Self::Tls(stream) => stream.read_buf(buffer).await,
            Self::Gone => Ok(0),
        }
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(octets).await,
            Self::Tls(stream) => stream.write(octets).await,
            Self::Gone => Ok(0),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(stream) => stream.flush().await,
            Self::Plain(_) | Self::Gone => Ok(()),
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Gone => Ok(()),
        }
    }

    /// Appends what has arrived to `input`, at most about `size` octets, and adapts `size` to what comes.
    ///
    /// The buffer is freed while nothing arrives, but for the few octets in it, where the socket tells without one.
    async fn fill(&mut self, input: &mut BytesMut, size: &mut usize) -> io::Result<usize> {
        if let (Self::Plain(stream), true) = (&*self, input.len() < SMALL_READ) {
            *input = BytesMut::from(&input[..]);
            stream.readable().await?;
        }
        input.reserve(*size);
        let read = self.read(input).await?;
        *size = if read >= *size { LARGE_READ.min(*size * 2) } else { SMALL_READ.max(*size / 2) };
        Ok(read)
    }
}

/// What the driver does next.
enum Next {
    /// The event that took so many octets has been dealt with.
    Dealt(usize),
    /// So many octets carry nothing.
    Skip(usize),
    /// More octets are needed.
    Read,
    /// TLS is to be set up.
    Tls,
}

/// What comes of waiting for the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// Nothing, for as long as was waited.
    Nothing,
    /// Octets.
    Octets,
    /// The server stops, and the session has taken its leave.
    Stop,
}

/// A connection with its socket.
pub struct Driver<S> {
    session: S,
    io: Io,
    input: BytesMut,
    read_size: usize,
    tls: Option<Arc<ServerConfig>>,
    timeouts: Timeouts,
    stop: watch::Receiver<bool>,
}

impl<S: Session> Driver<S> {
    /// A connection just accepted. `tls` is what STARTTLS hands over to; `stop` turns true when the server stops.
    pub fn new(
        session: S,
        stream: TcpStream,
        tls: Option<Arc<ServerConfig>>,
        timeouts: Timeouts,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let io = Io { stream: Stream::Plain(stream), out: Vec::new(), write_timeout: timeouts.write };
        Self { session, io, input: BytesMut::new(), read_size: SMALL_READ, tls, timeouts, stop }
    }

    /// Begins with TLS, then runs as [`run`](Self::run) does.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    pub async fn run_tls(mut self) -> Result<(), Failure<ErrorOf<S>>> {
        self.handshake().await?;
        self.run().await
    }

    /// Runs the connection to its end.
    ///
    /// # Errors
    ///
    /// When it ends otherwise than by the protocol.
    pub async fn run(mut self) -> Result<(), Failure<ErrorOf<S>>> {
        self.session.open(&mut self.io).await?;
        let end = self.converse().await;
        if matches!(end, Err(Failure::ReadTimeout(_) | Failure::TooSlow)) {
            self.io.write_timeout = GOODBYE.min(self.io.write_timeout);
        }
        if !matches!(end, Err(Failure::Lost(_) | Failure::Tls(_) | Failure::Stopped(_))) {
            let written = self.io.flush().await;
            // The peer may have closed first.
            let _ = timeout(self.io.write_timeout, self.io.stream.close()).await;
            return end.and(written.map_err(Failure::Stopped));
        }
        end
    }

    async fn converse(&mut self) -> Result<(), Failure<ErrorOf<S>>> {
        let mut deadline = None;
        while !self.session.connection().is_closed() {
            // A peer that sends without a pause does not keep the others from their turn.
            tokio::task::consume_budget().await;
            let taking = self.session.connection().taking();
            if taking == Taking::Commands {
                self.timeouts.message.restart();
            }
            let next = self.step().await?;
            if let (Taking::Message, Next::Dealt(octets) | Next::Skip(octets)) = (taking, &next) {
                self.timeouts.message.came(*octets);
            }
            match next {
                Next::Dealt(consumed) => {
                    self.input.advance(consumed);
                    self.io.flush_if_large().await?;
                    deadline = None;
                }
                Next::Skip(consumed) => {
                    self.input.advance(consumed);
                    if self.session.connection().taking() == Taking::Message {
                        deadline = None;
                    }
                }
                Next::Read => {
                    self.io.flush().await?;
                    if !self.read(&mut deadline).await? {
                        return Ok(());
                    }
                }
                Next::Tls => {
                    self.io.flush().await?;
                    self.session.connection().secured(&self.input).map_err(Failure::Protocol)?;
                    self.handshake().await?;
                    self.session.secured();
                }
            }
        }
        Ok(())
    }

    /// Decodes what stands at the front of the buffer, and lets the session deal with it.
    async fn step(&mut self) -> Result<Next, Failure<ErrorOf<S>>> {
        let step = self.session.connection().receive(&self.input).map_err(Failure::Protocol)?;
        Ok(match step {
            Step::Event { consumed, event } => {
                self.session.event(event, &mut self.io).await?;
                Next::Dealt(consumed)
            }
            Step::Skip { consumed } => Next::Skip(consumed),
            Step::NeedInput => Next::Read,
            Step::Paused if self.session.connection().wants_tls() => Next::Tls,
            Step::Paused => return Err(Stop::Session("an event was not answered").into()),
        })
    }

    /// Appends octets to the buffer. `false`: the server stops, and the session has taken its leave.
    ///
    /// The deadline stands from the first wait after an event, so that sending octets one by one gains no time.
    async fn read(&mut self, deadline: &mut Option<Instant>) -> Result<bool, Failure<ErrorOf<S>>> {
        let (connection, began) = (self.session.connection(), Instant::now());
        let allowed = self.timeouts.read.unwrap_or_else(|| connection.timeout());
        let next = *deadline.get_or_insert_with(|| began + allowed);
        let left = if connection.taking() == Taking::Commands { None } else { self.timeouts.message.left() };
        let until = left.map_or(next, |left| next.min(began + left));
        let pause = until.min(began + PAUSE);
        let mut arrival = self.arrival(pause).await?;
        if arrival == Arrival::Nothing && pause < until {
            self.release();
            arrival = self.arrival(until).await?;
        }
        self.timeouts.message.waited(began.elapsed());
        match arrival {
            Arrival::Octets => Ok(true),
            Arrival::Stop => Ok(false),
            Arrival::Nothing => {
                self.session.timed_out(&mut self.io);
                Err(if until < next { Failure::TooSlow } else { Failure::ReadTimeout(allowed) })
            }
        }
    }

    /// Frees what only makes a fast peer faster.
    fn release(&mut self) {
        self.read_size = SMALL_READ;
        self.input = BytesMut::from(&self.input[..]);
        self.session.paused();
    }

    async fn arrival(&mut self, deadline: Instant) -> Result<Arrival, Failure<ErrorOf<S>>> {
        let mut read = None;
        if !*self.stop.borrow() {
            let octets = timeout_at(deadline, self.io.stream.fill(&mut self.input, &mut self.read_size));
            tokio::select! {
                biased;
                octets = octets => read = Some(octets),
                _ = self.stop.changed() => {}
            }
        }
        let read = match read {
            Some(read) => read,
            None if self.session.stop(&mut self.io) => return Ok(Arrival::Stop),
            None => timeout_at(deadline, self.io.stream.fill(&mut self.input, &mut self.read_size)).await,
        };
        match read {
            Ok(Ok(0)) => Err(Failure::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(_)) => Ok(Arrival::Octets),
            Ok(Err(error)) => Err(Failure::Lost(error)),
            Err(_) => Ok(Arrival::Nothing),
        }
    }

    async fn handshake(&mut self) -> Result<(), Failure<ErrorOf<S>>> {
        let stream = std::mem::replace(&mut self.io.stream, Stream::Gone);
        let (Stream::Plain(stream), Some(config)) = (stream, self.tls.clone()) else {
            return Err(Failure::Tls(io::ErrorKind::Unsupported.into()));
        };
        let accepted = tokio::select! {
            biased;
            // Nothing has been promised yet to a peer that comes when the server stops.
            _ = self.stop.wait_for(|stop| *stop) => Err(io::ErrorKind::ConnectionAborted.into()),
            accepted = timeout(self.timeouts.handshake, TlsAcceptor::from(config).accept(stream)) => {
                accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        };
        let stream = accepted.map_err(Failure::Tls)?;
        if let Some([certificate, ..]) = stream.get_ref().1.peer_certificates() {
            self.session.certified(certificate);
        }
        self.io.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }
}
