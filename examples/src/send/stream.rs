//! A socket to a server, in the clear or in TLS. Each read and each write has a time limit, so that a server that neither reads nor speaks holds nobody up.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::failure::Failure;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host's name or address, and a port.
    Tcp(String, u16),
    /// A socket in the file system, as LMTP servers have it.
    Unix(PathBuf),
}

/// Whom to believe that it is the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Anybody.
    #[default]
    Anybody,
    /// Whose certificate is one of these in a PEM file, or signed by one.
    File(PathBuf),
    /// Whose certificate one of the system's authorities has signed.
    System,
}

/// What TLS needs.
#[derive(Clone, Debug)]
pub struct Security {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A connection to a server.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects to the first of the host's addresses that answers, each within `limit`.
    ///
    /// # Errors
    ///
    /// When none does.
    pub fn connect(address: &Address, limit: Duration) -> Result<Self, Failure> {
        let (to, socket) = match address {
            Address::Tcp(host, port) => (format!("{host} port {port}"), connect_tcp(host, *port, limit)),
            Address::Unix(path) => (path.display().to_string(), UnixStream::connect(path).map(Socket::Unix)),
        };
        match socket {
            Ok(socket) => Ok(Self { socket, tls: None }),
            Err(source) => Err(Failure::Connect { to, source }),
        }
    }

    /// Sets TLS up.
    ///
    /// # Errors
    ///
    /// When the server does not speak it, or is not whom it has to be.
    pub fn secure(&mut self, security: &Security, limit: Duration) -> Result<(), Failure> {
        let tls = |error: &dyn std::fmt::Display| Failure::Tls(error.to_string());
        let config = Arc::clone(&security.config);
        let mut connection =
            ClientConnection::new(config, security.name.clone()).map_err(|error| tls(&error)).map(Box::new)?;
        self.socket.limit_reads(limit).and_then(|()| self.socket.limit_writes(limit)).map_err(|error| tls(&error))?;
        while connection.is_handshaking() {
            match connection.complete_io(&mut self.socket) {
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {
                    return Err(Failure::TimedOut { what: "finish the TLS handshake", after: limit });
                }
                Err(error) => return Err(tls(&error)),
            }
        }
        self.tls = Some(connection);
        Ok(())
    }

    /// Version and cipher suite, within TLS.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        let tls = self.tls.as_ref()?;
        let (version, suite) = (tls.protocol_version()?, tls.negotiated_cipher_suite()?.suite());
        Some(format!("{} {}", version.as_str().unwrap_or("TLS"), suite.as_str().unwrap_or("of an unknown suite")))
    }

    /// Our own address, as an SMTP client calls itself that has no name.
    #[must_use]
    pub fn own_literal(&self) -> Option<String> {
        let Socket::Tcp(socket) = &self.socket else { return None };
        Some(match socket.local_addr().ok()?.ip().to_canonical() {
            IpAddr::V4(address) => format!("[{address}]"),
            IpAddr::V6(address) => format!("[IPv6:{address}]"),
        })
    }

    /// Whether TLS is up.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads what there is, within `limit`. Nothing: the server has closed.
    ///
    /// # Errors
    ///
    /// Of the kind `TimedOut` where nothing came in time.
    pub fn read(&mut self, into: &mut [u8], limit: Duration) -> io::Result<usize> {
        if limit.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.limit_reads(limit)?;
        let read = match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket).read(into),
            None => self.socket.read(into),
        };
        match read {
            // Many servers close without the word for it; an SMTP reply cannot be cut unnoticed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) if is_timeout(&error) => Err(io::ErrorKind::TimedOut.into()),
            read => read,
        }
    }

    /// Writes all, each part within `limit`.
    ///
    /// # Errors
    ///
    /// Of the kind `TimedOut` where the server does not read.
    pub fn write(&mut self, octets: &[u8], limit: Duration) -> io::Result<()> {
        self.socket.limit_writes(limit)?;
        let written = match &mut self.tls {
            Some(tls) => {
                let mut stream = rustls::Stream::new(&mut **tls, &mut self.socket);
                stream.write_all(octets).and_then(|()| stream.flush())
            }
            None => self.socket.write_all(octets),
        };
        written.map_err(|error| if is_timeout(&error) { io::ErrorKind::TimedOut.into() } else { error })
    }

    /// Says that nothing follows, in TLS's own words.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.socket.limit_writes(Duration::from_secs(1));
            let _ = tls.write_tls(&mut self.socket);
        }
    }
}

fn connect_tcp(host: &str, port: u16, limit: Duration) -> io::Result<Socket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(socket) => {
                // Groups of commands are written in one piece: nothing is gained by waiting for more.
                socket.set_nodelay(true)?;
                return Ok(Socket::Tcp(socket));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Socket {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_read_timeout(Some(limit)),
            Self::Unix(socket) => socket.set_read_timeout(Some(limit)),
        }
    }

    fn limit_writes(&self, limit: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_write_timeout(Some(limit)),
            Self::Unix(socket) => socket.set_write_timeout(Some(limit)),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(into),
            Self::Unix(socket) => socket.read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(octets),
            Self::Unix(socket) => socket.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Security {
    /// Reads what there is to be read, before there is a connection.
    ///
    /// # Errors
    ///
    /// When a file or the name cannot be used.
    pub fn new(name: &str, trust: &Trust, identity: Option<(&Path, &Path)>) -> Result<Self, Failure> {
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|_| Failure::Incomplete("--tls-name wants the name or address of a host"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Tls(error.to_string()))?;
        let verifier: Arc<dyn ServerCertVerifier> = match trusted(trust)? {
            Some(trusted) => Arc::new(Trusted::new(trusted, provider)?),
            None => Arc::new(Anybody(provider)),
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let config = match identity {
            Some((certificate, key)) => {
                let chain = pem(certificate, CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect))?;
                let secret = pem(key, PrivateKeyDer::from_pem_file(key))?;
                pem(certificate, builder.with_client_auth_cert(chain, secret))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config), name })
    }
}

fn pem<T, E: ToString>(path: &Path, read: Result<T, E>) -> Result<T, Failure> {
    read.map_err(|error| Failure::Pem { path: path.to_owned(), reason: error.to_string() })
}

fn trusted(trust: &Trust) -> Result<Option<Vec<CertificateDer<'static>>>, Failure> {
    match trust {
        Trust::Anybody => Ok(None),
        Trust::File(path) => pem(path, CertificateDer::pem_file_iter(path).and_then(Iterator::collect)).map(Some),
        Trust::System => Ok(Some(rustls_native_certs::load_native_certs().certs)),
    }
}

/// Takes a certificate that one of these has signed, or that is one of these: what servers sign themselves is often marked as an authority's.
#[derive(Debug)]
struct Trusted {
    certificates: Vec<CertificateDer<'static>>,
    inner: Arc<WebPkiServerVerifier>,
}

impl Trusted {
    fn new(certificates: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        // One that cannot be read does not make the others worse.
        roots.add_parsable_certificates(certificates.iter().cloned());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let inner = inner.map_err(|error| Failure::Tls(format!("what is to be trusted: {error}")))?;
        Ok(Self { certificates, inner })
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // That an authority's certificate is used as a server's has no error of its own.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.certificates.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate, whose key the server must have all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
