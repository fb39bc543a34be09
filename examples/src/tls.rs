//! The server's certificate: read from PEM files, or made once and kept.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::rustls;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::config::Config;

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// There is no authority to verify clients by.
    #[error("client_ca {path:?}: {source}")]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: VerifierBuilderError,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// A file cannot be used.
    #[error("cannot {operation} {path:?}: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A certificate without a key, or a key without a certificate.
    #[error("[tls] wants certificate and key together, or neither")]
    Half,
    /// A file cannot be read, is not PEM, or holds no certificate or key.
    #[error("cannot read the certificate or key {path:?}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate and key do not serve.
    #[error("certificate {certificate:?}: {source}")]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// Where certificate and key are.
pub fn paths(config: &Config) -> (PathBuf, PathBuf) {
    if config.tls.certificate.as_os_str().is_empty() && config.tls.key.as_os_str().is_empty() {
        (config.data.join("tls/cert.pem"), config.data.join("tls/key.pem"))
    } else {
        (config.tls.certificate.clone(), config.tls.key.clone())
    }
}

/// What connections get to set up TLS with.
#[derive(Clone, Debug)]
pub struct ServerConfigs {
    /// For other servers: they are not asked for certificates, since those they have would be refused.
    pub servers: Arc<ServerConfig>,
    /// For users: they are asked for certificates where an authority for them is configured, and need not have one.
    pub users: Arc<ServerConfig>,
}

/// What the listeners hand to each connection. Certificate and key are made if they are to be generated and are not there.
///
/// # Errors
///
/// When a file cannot be read or made, or does not serve.
pub fn server_configs(config: &Config) -> Result<ServerConfigs, TlsError> {
    if config.tls.certificate.as_os_str().is_empty() != config.tls.key.as_os_str().is_empty() {
        return Err(TlsError::Half);
    }
    let (certificate, key) = paths(config);
    if certificate == config.data.join("tls/cert.pem") && !certificate.exists() {
        generate(config, &certificate, &key)?;
    }
    let pem = |path: &Path, source| TlsError::Pem { path: path.to_owned(), source };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(&certificate).and_then(Iterator::collect).map_err(|e| pem(&certificate, e))?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| pem(&key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |source| TlsError::Unusable { certificate: certificate.clone(), source };
    let builder = || {
        ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)
    };
    let servers = builder()?.with_no_client_auth().with_single_cert(chain.clone(), key.clone_key());
    let servers = with_few_tickets(servers.map_err(unusable)?);
    let ca = &config.tls.client_ca;
    if ca.as_os_str().is_empty() {
        return Ok(ServerConfigs { users: Arc::clone(&servers), servers });
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(authorities(ca)?, Arc::clone(&provider));
    let verifier = verifier.allow_unauthenticated().build();
    let verifier = verifier.map_err(|source| TlsError::ClientCa { path: ca.clone(), source })?;
    let users = builder()?.with_client_cert_verifier(verifier).with_single_cert(chain, key);
    Ok(ServerConfigs { servers, users: with_few_tickets(users.map_err(unusable)?) })
}

/// One ticket is enough for clients that open one connection at a time.
fn with_few_tickets(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.send_tls13_tickets = 1;
    Arc::new(config)
}

fn authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let unreadable = |source| TlsError::Pem { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let added = roots.add(certificate.map_err(unreadable)?);
        added.map_err(|source| TlsError::Unusable { certificate: path.to_owned(), source })?;
    }
    Ok(Arc::new(roots))
}

/// Only one of the programs that start at the same time makes them: a certificate and a key of two would not fit.
fn generate(config: &Config, certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let folder = certificate.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    let path = folder.join("lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let _lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(failed(&path))?;
    if certificate.exists() { Ok(()) } else { generate_alone(config, certificate, key) }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::Io { operation: "write", path, source }
}

fn generate_alone(config: &Config, certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let mut names = vec![config.hostname.clone(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.dedup();
    let made = rcgen::generate_simple_self_signed(names)?;
    write(key, made.signing_key.serialize_pem().as_bytes(), 0o600).map_err(failed(key))?;
    // The certificate comes last: where it is, the key is.
    write(certificate, made.cert.pem().as_bytes(), 0o644).map_err(failed(certificate))
}

fn write(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        let data = tempfile::tempdir().unwrap();
        let config = Config { data: data.path().to_owned(), ..Config::default() };
        server_configs(&config).unwrap();
        let (certificate, key) = paths(&config);
        let made = fs::read(&certificate).unwrap();
        assert_eq!(fs::metadata(key).unwrap().mode() & 0o777, 0o600);
        server_configs(&config).unwrap();
        assert_eq!(fs::read(certificate).unwrap(), made);
    }

    #[test]
    fn authorities_that_are_none_are_named() {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config { data: data.path().to_owned(), ..Config::default() };
        server_configs(&config).unwrap();
        let path = data.path().join("ca.pem");
        config.tls.client_ca = path.clone();
        let refused = |content: Option<&str>| {
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            server_configs(&config).unwrap_err().to_string()
        };
        for content in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
            let error = refused(content);
            assert!(error.contains("ca.pem"), "{content:?}: {error}");
        }
        // The server's own is as good as any.
        config.tls.client_ca = paths(&config).0;
        server_configs(&config).unwrap();
    }

    #[test]
    fn a_missing_or_empty_file_is_named() {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config { data: data.path().to_owned(), ..Config::default() };
        config.tls.certificate = data.path().join("mine.pem");
        config.tls.key = data.path().join("mine.key");
        assert!(server_configs(&config).unwrap_err().to_string().contains("mine.pem"));
        fs::write(&config.tls.certificate, "").unwrap();
        assert!(server_configs(&config).unwrap_err().to_string().contains("mine.key"));
    }
}
