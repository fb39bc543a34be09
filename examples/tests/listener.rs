//! What stands between a connection and its session: proxies, limits, clients that speak too early.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

#[path = "support/server.rs"]
mod server;
use server::{Peer, Server, Site};

const PROXIES: &str = "[auth]\nplaintext = true\n[trust]\nproxies = [\"127.0.0.2\"]\ngreeted_at_once = [\"0.0.0.0/0\", \"::/0\"]\n[limits]\nconnections_per_address = 2\n";

fn v1(source: &str) -> String {
    format!("PROXY TCP4 {source} 198.51.100.2 40000 25\r\n")
}

/// A connection that the proxy passes on.
fn proxied(server: &Server, protocol: &str, header: &[u8]) -> Peer {
    let mut peer = server.connect_from("127.0.0.2", protocol);
    peer.0.get_mut().write_all(header).unwrap();
    peer
}

fn secured(site: &Site, peer: Peer) -> Peer<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(site.data().join("tls/cert.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let config = builder.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    Peer(BufReader::new(StreamOwned::new(connection, peer.0.into_inner())))
}

/// From MAIL to the end of the message. The reply to that.
fn deliver<S: Read + Write>(smtp: &mut Peer<S>, to: &str, message: &str) -> String {
    smtp.ask("EHLO c");
    smtp.ask("MAIL FROM:<a@b>");
    assert!(smtp.ask(&format!("RCPT TO:<{to}>")).starts_with("250"));
    smtp.ask("DATA");
    smtp.ask(message)
}

#[test]
fn the_client_is_who_the_proxy_says() {
    let site = Site::new(PROXIES);
    let server = site.start();
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x9c\x40\0\x19";
    for (header, source, literal) in [
        (v1("192.0.2.7").into_bytes(), "[192.0.2.7]", "198.51.100.2"),
        (v2.to_vec(), "[IPv6:2001:db8::1]", "IPv6:2001:db8::2"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "[127.0.0.2]", "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "[127.0.0.2]", "127.0.0.1"),
    ] {
        let mut smtp = proxied(&server, "SMTP", &header);
        assert!(smtp.hear().starts_with("220"));
        // The trace names the one, and the other is an address of ours.
        assert!(deliver(&mut smtp, &format!("anna@[{literal}]"), "x\r\n.").starts_with("250"));
        let folder = site.data().join("mail/anna/new");
        let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let message = std::fs::read_to_string(&file).unwrap();
        assert!(message.contains(&format!("Received: from c ({source})")), "{message}");
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn limits_and_logins_go_by_the_address_that_the_proxy_says() {
    let site = Site::new(PROXIES);
    let server = site.start();
    let mut of_one: Vec<_> = (0..3).map(|_| proxied(&server, "SMTP", v1("192.0.2.7").as_bytes())).collect();
    let greetings: Vec<_> = of_one.iter_mut().map(|peer| peer.hear()[..3].to_owned()).collect();
    assert_eq!(greetings.iter().filter(|code| *code == "220").count(), 2, "{greetings:?}");
    assert!(server.logs(&["192.0.2.7", "too many connections from your address"]));
    assert!(proxied(&server, "SMTP", v1("192.0.2.8").as_bytes()).hear().starts_with("220"));
    let mut pop3 = proxied(&server, "POP3", v1("192.0.2.9").as_bytes());
    pop3.hear();
    pop3.ask("USER anna");
    assert!(pop3.ask("PASS wrong").starts_with("-ERR"));
    assert!(server.logs(&["login refused", "192.0.2.9"]));
}

#[test]
fn with_tls_from_the_start_the_header_comes_before_the_handshake() {
    let site = Site::new(PROXIES);
    let server = site.start();
    for (protocol, greeting) in [("submission over TLS", "220"), ("POP3 over TLS", "+OK")] {
        let mut peer = secured(&site, proxied(&server, protocol, v1("192.0.2.7").as_bytes()));
        assert!(peer.hear().starts_with(greeting));
    }
}

#[test]
fn a_proxy_must_send_the_header_and_nobody_else_may() {
    let site = Site::new(&format!("{PROXIES}[timeouts]\nproxy_seconds = 1\n"));
    let server = site.start();
    assert_eq!(proxied(&server, "LMTP", b"LHLO c\r\n").rest(), "");
    assert!(server.logs(&["no PROXY header", "127.0.0.2"]));
    assert_eq!(proxied(&server, "LMTP", b"PROXY TCP4 ").rest(), "");
    assert!(server.logs(&["no whole PROXY header"]));
    for protocol in ["SMTP", "submission", "LMTP"] {
        // A second one is a command, which does not exist.
        let header = v1("192.0.2.7");
        let mut twice = proxied(&server, protocol, header.repeat(2).as_bytes());
        assert!(twice.hear().starts_with("220"));
        assert!(twice.hear().starts_with("500"), "{protocol}");
        let mut stranger = server.connect(protocol);
        stranger.hear();
        assert!(stranger.ask(header.trim_end()).starts_with("500"), "{protocol}");
    }
    let mut stranger = server.connect("POP3");
    stranger.hear();
    assert!(stranger.ask(v1("192.0.2.7").trim_end()).starts_with("-ERR"));
}

/// Nobody is exempt.
fn suspicious(pause: u32, limits: &str) -> Site {
    Site::new(&format!(
        "[trust]\ngreeted_at_once = []\nproxies = [\"127.0.0.2\"]\n[early_talkers]\npause_seconds = {pause}\n[limits]\n{limits}\n"
    ))
}

#[test]
fn who_speaks_before_the_greeting_is_refused_and_may_quit() {
    let site = suspicious(1, "");
    let server = site.start();
    for header in ["", &v1("192.0.2.7")] {
        let source = if header.is_empty() { "127.0.0.1" } else { "127.0.0.2" };
        let mut early = server.connect_from(source, "SMTP");
        early.say(&format!("{header}EHLO c\r\nMAIL FROM:<a@b>\r\nQUIT\r\n"));
        assert!(early.hear().starts_with("554 localhost "));
        assert!(early.hear().starts_with("503") && early.hear().starts_with("503"));
        assert!(early.hear().starts_with("221"));
        assert_eq!(early.rest(), "");
    }
    assert!(server.logs(&["spoke before the greeting", "127.0.0.1:"]));
    assert!(server.logs(&["spoke before the greeting", "192.0.2.7:"]));
    // Who has been refused is no better known for it.
    let began = Instant::now();
    assert!(server.connect("SMTP").hear().starts_with("220"));
    assert!(began.elapsed() > Duration::from_millis(900));
}

#[test]
fn who_has_waited_for_the_greeting_once_is_greeted_at_once() {
    let site = suspicious(1, "");
    let server = site.start();
    let greeted_after = |source: &str, protocol: &str| {
        let began = Instant::now();
        assert!(server.connect_from(source, protocol).hear().starts_with("220"));
        began.elapsed()
    };
    let pause = Duration::from_millis(900);
    assert!(greeted_after("127.0.0.1", "SMTP") > pause);
    assert!(greeted_after("127.0.0.1", "SMTP") < pause);
    assert!(greeted_after("127.0.0.3", "SMTP") > pause);
    // Users and servers in front are not looked at.
    assert!(greeted_after("127.0.0.4", "submission") < pause && greeted_after("127.0.0.4", "LMTP") < pause);
}

#[test]
fn who_leaves_before_the_greeting_is_forgotten_at_once() {
    let site = suspicious(60, "connections = 3\nconnections_per_address = 2\n");
    let server = site.start();
    for _ in 0..20 {
        drop(server.connect("SMTP"));
        drop(server.connect("SMTP"));
        // Refused only while the two before have not gone.
        assert!((0..200).any(|_| server.connect("LMTP").hear().starts_with("220")));
    }
    // Nor does one that waits hold up the end.
    let _waits = server.connect("SMTP");
    let began = Instant::now();
    assert!(server.terminate());
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn this_machine_is_greeted_at_once_by_default() {
    let site = Site::new("");
    let server = site.start();
    let mut early = server.connect("SMTP");
    early.say("EHLO c\r\n");
    assert!(early.hear().starts_with("220"));
    assert!(early.hear().starts_with("250"));
}

fn limited(limits: &str, trust: &str) -> Site {
    Site::new(&format!("[auth]\nplaintext = true\n[limits]\n{limits}\n[trust]\n{trust}\n"))
}

#[test]
fn the_addresses_of_a_network_have_so_many_connections_together() {
    let site = limited("connections_per_network = 2\nnetwork_bits_ipv4 = 24", "shared = [\"127.0.9.0/24\"]");
    let server = site.start();
    let mut two = ["127.0.0.3", "127.0.0.4"].map(|source| server.connect_from(source, "SMTP"));
    assert!(two.iter_mut().all(|peer| peer.hear().starts_with("220")));
    for (protocol, says) in [("SMTP", "421 4.7.0 too many connections from your network"), ("POP3", "-ERR [SYS/TEMP]")]
    {
        let mut third = server.connect_from("127.0.0.5", protocol);
        assert!(third.hear().starts_with(says));
        assert_eq!(third.rest(), "");
    }
    assert!(server.logs(&["too many connections from your network", "127.0.0.5"]));
    assert!(server.connect_from("127.0.1.5", "SMTP").hear().starts_with("220"));
    let mut shared = [(); 4].map(|()| server.connect_from("127.0.9.1", "SMTP"));
    assert!(shared.iter_mut().all(|peer| peer.hear().starts_with("220")));
}

#[test]
fn an_address_has_so_many_new_connections_a_minute() {
    let site = limited("connections_per_minute = 3", "");
    let server = site.start();
    for protocol in ["SMTP", "POP3", "submission"] {
        assert!(!server.connect(protocol).hear().starts_with("421"));
    }
    let mut fourth = server.connect("SMTP");
    assert!(fourth.hear().starts_with("421 4.7.0 too many connections a minute"));
    assert_eq!(fourth.rest(), "");
    assert!(server.connect("POP3").hear().starts_with("-ERR [SYS/TEMP]"));
    assert!(server.logs(&["too many connections a minute from your address", "127.0.0.1"]));
    assert!(server.connect("LMTP").hear().starts_with("220"));
    assert!(server.connect_from("127.0.0.3", "SMTP").hear().starts_with("220"));
}

#[test]
fn an_address_has_so_many_messages_a_minute() {
    let site = limited("messages_per_minute = 3", "");
    let server = site.start();
    let mut smtp = server.connect("SMTP");
    smtp.hear();
    for _ in 0..3 {
        assert!(deliver(&mut smtp, "anna@localhost", "x\r\n.").starts_with("250"));
    }
    assert!(smtp.ask("MAIL FROM:<a@b>").starts_with("421 4.7.0 "));
    assert_eq!(smtp.rest(), "");
    assert!(server.logs(&["too many messages", "127.0.0.1"]));
    let mut other = server.connect_from("127.0.0.3", "SMTP");
    other.hear();
    assert!(deliver(&mut other, "anna@localhost", "x\r\n.").starts_with("250"));
    let mut lmtp = server.connect("LMTP");
    lmtp.hear();
    lmtp.ask("LHLO c");
    assert!(lmtp.ask("MAIL FROM:<a@b>").starts_with("250"));
}

#[test]
fn a_client_that_does_not_wait_for_the_reply_is_logged_and_refused_if_so_configured() {
    for (more, code) in [("", "354"), ("[early_talkers]\nrefuse_hasty = true\n", "421")] {
        let site = Site::new(more);
        let server = site.start();
        let mut smtp = server.connect("SMTP");
        smtp.hear();
        smtp.ask("EHLO c");
        smtp.ask("MAIL FROM:<a@b>");
        smtp.ask("RCPT TO:<anna@localhost>");
        smtp.0.get_mut().write_all(b"DATA\r\nx\r\n.\r\n").unwrap();
        assert!(smtp.hear().starts_with(code));
        assert!(server.logs(&["did not wait for the reply", "DATA"]));
        assert_eq!(smtp.hear().starts_with("250"), code == "354");
    }
}

/// In a transaction with a recipient, after `more`.
fn in_transaction(server: &Server, protocol: &str, more: &str) -> Peer {
    let mut peer = server.connect(protocol);
    peer.hear();
    peer.ask(if protocol == "LMTP" { "LHLO c" } else { "EHLO c" });
    peer.ask("MAIL FROM:<a@b>");
    assert!(peer.ask("RCPT TO:<anna@localhost>").starts_with("250"));
    peer.say(more);
    peer
}

/// Says `octets` again and again, ten times a second, until the server closes or `most` has passed. How long that took, and what the server said.
fn drip(peer: &mut Peer, octets: &str, most: Duration) -> (Duration, String) {
    let (began, mut said, mut ended) = (Instant::now(), Vec::new(), false);
    peer.0.get_ref().set_nonblocking(true).unwrap();
    while !ended && began.elapsed() < most {
        let _ = peer.0.get_mut().write_all(octets.as_bytes());
        std::thread::sleep(Duration::from_millis(100));
        ended = peer.0.read_to_end(&mut said).map_err(|error| error.kind()) != Err(ErrorKind::WouldBlock);
    }
    peer.0.get_ref().set_nonblocking(false).unwrap();
    (began.elapsed(), String::from_utf8(said).unwrap())
}

#[test]
fn a_message_that_drips_ends_with_421_and_one_that_keeps_the_pace_is_delivered() {
    let site = Site::new("[timeouts]\nread_seconds = 60\nmessage_lag_seconds = 2\nmessage_octets_per_second = 200\n");
    let server = site.start();
    let most = Duration::from_secs(8);
    // Octets that say what comes, and are none of the message, earn nothing.
    for (protocol, opening, octets) in [
        ("SMTP", "DATA\r\n", "x"),
        ("LMTP", "DATA\r\n", "x"),
        ("SMTP", "BDAT 1000000\r\n", "x"),
        ("SMTP", "BDAT 1\r\nx", "BDAT 00000000000000000000000001\r\nx"),
        ("SMTP", "RSET\r\nBDAT 1000000\r\n", "x"),
    ] {
        let mut peer = in_transaction(&server, protocol, opening);
        let (took, said) = drip(&mut peer, octets, most);
        assert!(said.ends_with("421 4.4.2 you took too long\r\n"), "{protocol} {opening:?}: {said}");
        assert!(took > Duration::from_millis(1900) && took < Duration::from_secs(6), "{opening:?}: {took:?}");
    }
    assert!(server.logs(&["the message came too slowly", "127.0.0.1"]));
    assert!(site.messages("anna").is_empty());
    // 300 octets a second for twice as long.
    let mut peer = in_transaction(&server, "SMTP", "DATA\r\n");
    assert!(peer.hear().starts_with("354"));
    drip(&mut peer, &format!("{}\r\n", "x".repeat(28)), Duration::from_secs(5));
    assert!(peer.ask("\r\n.").starts_with("250"));
}

#[test]
fn who_says_nothing_within_a_message_is_told_so_before_the_end() {
    let site = Site::new("[timeouts]\nread_seconds = 1\n");
    let server = site.start();
    for protocol in ["SMTP", "LMTP"] {
        for more in ["", "RCPT TO:<", "DATA\r\nx", "BDAT 5\r\nx", "BDAT 1\r\nx", "RSET\r\nBDAT 5\r\nx"] {
            let said = in_transaction(&server, protocol, more).rest();
            assert!(said.ends_with("421 4.4.2 you took too long\r\n"), "{protocol} {more:?}: {said}");
        }
    }
    assert!(site.messages("anna").is_empty());
}

/// A hundred are enough to see what it is.
#[test]
fn one_connection_has_so_many_log_lines_for_its_mistakes_and_the_last_says_how_many_are_missing() {
    let site = Site::new("");
    let server = site.start();
    for protocol in ["SMTP", "LMTP"] {
        let mut peer = in_transaction(&server, protocol, "RSET\r\n");
        peer.hear();
        for _ in 0..250 {
            peer.say("MAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nBDAT 1 LAST\r\n\n");
            assert!(peer.hear().starts_with("250") && peer.hear().starts_with("250") && peer.hear().starts_with("554"));
        }
        // What is delivered is logged in any case.
        peer.say("MAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nBDAT 2 LAST\r\nok");
        assert!(peer.hear().starts_with("250") && peer.hear().starts_with("250") && peer.hear().starts_with("250"));
        peer.ask("QUIT");
        assert!(server.logs(&["too many log lines of one connection", "\"left_out\":150"]));
        assert_eq!(server.count_logs(&["message refused"]), 100);
        assert_eq!(server.count_logs(&["delivered"]), 1);
        server.forget_logs();
    }
}

#[test]
fn chunks_of_a_refused_transaction_are_refused_one_by_one_until_it_is_enough() {
    let site = Site::new("[limits]\nmessage_octets = 100000\n");
    let server = site.start();
    // All of a message that was sent before its recipient was refused: in step, and the next is taken.
    let mut peer = in_transaction(&server, "SMTP", "RSET\r\n");
    peer.hear();
    let chunks = format!("BDAT 1000\r\n{}", "x".repeat(1000)).repeat(99);
    peer.say(&format!("MAIL FROM:<a@b>\r\nRCPT TO:<nobody@localhost>\r\n{chunks}BDAT 2 LAST\r\nno"));
    let codes: Vec<_> = (0..102).map(|_| peer.hear()[..3].to_owned()).collect();
    assert!(codes[0] == "250" && codes[1] == "550" && codes[2..].iter().all(|code| code == "503"), "{codes:?}");
    peer.say("MAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nBDAT 3 LAST\r\nyes");
    assert!(peer.hear().starts_with("250") && peer.hear().starts_with("250") && peer.hear().starts_with("250"));
    // Twice the octets of the largest message, or a thousand.
    for (octets, expected) in [(60_000, 3), (1, 1000)] {
        let mut peer = in_transaction(&server, "SMTP", "RSET\r\n");
        peer.hear();
        let mut chunks = 0;
        let last = loop {
            // The last ones may come too late to be read.
            let _ = peer.0.get_mut().write_all(format!("BDAT {octets}\r\n{}", "x".repeat(octets)).as_bytes());
            let reply = peer.hear();
            if !reply.starts_with("503") {
                break reply;
            }
            chunks += 1;
        };
        assert!(last.starts_with("421 4.7.0 "), "{last}");
        assert_eq!((chunks, peer.rest().as_str()), (expected, ""));
    }
    assert_eq!(site.messages("anna"), ["yes"]);
}
