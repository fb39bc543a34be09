//! Logins with a client's certificate.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

#[path = "support/server.rs"]
mod server;
use server::{Peer, Server, Site};

type Tls = Peer<StreamOwned<ClientConnection, TcpStream>>;

struct Authority(Issuer<'static, KeyPair>);

type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    /// Its certificate goes to `path`.
    fn new(path: &Path) -> Self {
        let (mut params, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(path, params.self_signed(&key).unwrap().pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    fn identity(&self, address: &str) -> Identity {
        let (mut params, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
        params.subject_alt_names = vec![SanType::Rfc822Name(address.try_into().unwrap())];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

/// A server that lets users log in with certificates of the first authority.
fn site() -> (Site, Authority, Authority) {
    let site = Site::new("");
    let folder = site.folder.path();
    let [ours, other] = ["ours.pem", "other.pem"].map(|name| Authority::new(&folder.join(name)));
    let mut config = std::fs::OpenOptions::new().append(true).open(site.config()).unwrap();
    writeln!(config, "[tls]\nclient_ca = {:?}", folder.join("ours.pem")).unwrap();
    (site, ours, other)
}

fn client(site: &Site, identity: Option<Identity>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(site.data().join("tls/cert.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(match identity {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => builder.with_no_client_auth(),
    })
}

fn secure(peer: Peer, config: &Arc<ClientConfig>) -> Tls {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    Peer(BufReader::new(StreamOwned::new(connection, peer.0.into_inner())))
}

/// A session that has heard what is offered, and that.
fn submission(server: &Server, config: &Arc<ClientConfig>, starttls: bool) -> (Tls, String) {
    let mut tls = if starttls {
        let mut plain = server.connect("submission");
        plain.hear();
        assert!(!offered(&mut plain).contains("AUTH"));
        assert!(plain.ask("STARTTLS").starts_with("220"));
        secure(plain, config)
    } else {
        let mut tls = secure(server.connect("submission over TLS"), config);
        assert!(tls.hear().starts_with("220"));
        tls
    };
    let offered = offered(&mut tls);
    (tls, offered)
}

fn offered<S: Read + Write>(peer: &mut Peer<S>) -> String {
    peer.say("EHLO c\r\n");
    let mut lines = String::new();
    while !lines.lines().last().is_some_and(|line| line.starts_with("250 ")) {
        lines += &peer.line();
    }
    lines
}

#[test]
fn a_certificate_of_an_account_is_a_login() {
    let (site, ours, _) = site();
    let server = site.start();
    let config = client(&site, Some(ours.identity("anna@localhost")));
    for starttls in [false, true, false] {
        // The later ones resume TLS, without a certificate on the wire.
        for (initial, code) in [("=", "235"), ("YW5uYQ==", "235"), ("YmVydA==", "535")] {
            let (mut smtp, offered) = submission(&server, &config, starttls);
            assert!(offered.contains("AUTH EXTERNAL "), "{offered}");
            assert!(smtp.ask("MAIL FROM:<anna@localhost>").starts_with("530"));
            assert!(smtp.ask(&format!("AUTH EXTERNAL {initial}")).starts_with(code), "{initial}");
            let (own, other) = if code == "235" { ("250", "553") } else { ("530", "530") };
            assert!(smtp.ask("MAIL FROM:<bert@localhost>").starts_with(other));
            assert!(smtp.ask("MAIL FROM:<anna@localhost>").starts_with(own));
        }
    }
    assert!(server.logs(&["logged in", "anna", "EXTERNAL"]));
    assert!(server.logs(&["login refused", "EXTERNAL"]));
    let (mut smtp, _) = submission(&server, &config, false);
    assert!(smtp.ask("AUTH EXTERNAL").starts_with("334 "));
    assert!(smtp.ask("").starts_with("235"));
    let mut pop3 = secure(server.connect("POP3 over TLS"), &config);
    pop3.line();
    assert!(pop3.ask("AUTH EXTERNAL =").starts_with("+OK"));
    assert!(pop3.ask("STAT").starts_with("+OK 0 0"));
}

#[test]
fn without_a_certificate_of_an_account_external_is_not_there() {
    let (site, ours, _) = site();
    let server = site.start();
    for identity in [None, Some(ours.identity("anna@example.org")), Some(ours.identity("nobody@localhost"))] {
        let config = client(&site, identity);
        let (mut smtp, offered) = submission(&server, &config, false);
        assert!(offered.contains("AUTH SCRAM") && !offered.contains("EXTERNAL"), "{offered}");
        assert!(smtp.ask("AUTH EXTERNAL =").starts_with("504"));
        assert!(smtp.ask("AUTH PLAIN AGFubmEAc2VjcmV0").starts_with("235"));
        let mut pop3 = secure(server.connect("POP3 over TLS"), &config);
        pop3.line();
        assert!(pop3.ask("AUTH EXTERNAL =").starts_with("-ERR"));
    }
}

#[test]
fn a_certificate_of_another_authority_ends_a_users_connection_and_no_other_servers() {
    let (site, _, other) = site();
    let server = site.start();
    let config = client(&site, Some(other.identity("anna@localhost")));
    let mut smtp = secure(server.connect("submission over TLS"), &config);
    assert!(smtp.0.read(&mut [0]).is_err());
    let mut relay = server.connect("SMTP");
    relay.hear();
    relay.ask("EHLO c");
    relay.ask("STARTTLS");
    let mut relay = secure(relay, &config);
    assert!(!offered(&mut relay).contains("AUTH"));
    assert!(relay.ask("MAIL FROM:<a@b>").starts_with("250"));
}
