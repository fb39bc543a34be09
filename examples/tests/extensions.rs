//! What the server does with the extensions of SMTP: chunks, reports, a reply for each recipient, clients that others speak for.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

#[path = "support/server.rs"]
mod server;
use server::{Peer, Site};

const PLAIN: &str = "[auth]\nplaintext = true\n[trust]\nxclient = [\"127.0.0.2\"]\n";

/// The replies to commands that were said at once.
fn said(peer: &mut Peer, octets: &[u8], replies: usize) -> Vec<String> {
    peer.0.get_mut().write_all(octets).unwrap();
    (0..replies).map(|_| peer.hear()[..3].to_owned()).collect()
}

/// What the server lists.
fn hello(peer: &mut Peer) -> String {
    peer.hear();
    listed(peer)
}

fn listed(peer: &mut Peer) -> String {
    peer.0.get_mut().write_all(b"EHLO client.example\r\n").unwrap();
    let mut listed = String::new();
    while !listed.lines().last().is_some_and(|line| line.starts_with("250 ")) {
        listed += &peer.line();
    }
    listed
}

/// The one file in a mailbox, whole.
fn stored(site: &Site, account: &str) -> String {
    let folder = site.data().join("mail").join(account).join("new");
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn a_message_comes_in_chunks_cut_anywhere() {
    let site = Site::new("");
    let server = site.start();
    let mut peer = server.connect("SMTP");
    assert!(hello(&mut peer).contains("CHUNKING"));
    let session = b"MAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nBDAT 9\r\nSubject: BDAT 5\r\n x\r\n\rBDAT 8 LAST\r\n\n.\r\n.\r\nyRSET\r\n";
    assert_eq!(said(&mut peer, session, 6), ["250"; 6]);
    assert_eq!(site.messages("anna"), ["Subject:  x\n\n.\n.\ny"]);
    // A chunk with nobody to have it is consumed, and so is one behind it.
    let session = b"MAIL FROM:<a@b>\r\nRCPT TO:<nobody@localhost>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n";
    assert_eq!(said(&mut peer, session, 5), ["250", "550", "503", "503", "250"]);
}

#[test]
fn a_message_in_chunks_that_is_too_large_leaves_nothing() {
    let site = Site::new("[limits]\nmessage_octets = 20\n");
    let server = site.start();
    let mut peer = server.connect("SMTP");
    hello(&mut peer);
    let session = b"MAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nBDAT 10\r\n0123456789BDAT 11\r\n0123456789aBDAT 2 LAST\r\nx\nRCPT TO:<anna@localhost>\r\n";
    assert_eq!(said(&mut peer, session, 6), ["250", "250", "250", "552", "503", "503"]);
    assert_eq!(said(&mut peer, b"MAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nBDAT 3 LAST\r\nx\r\n", 3), ["250"; 3]);
    assert_eq!(site.messages("anna"), ["x\n"]);
    assert_eq!(std::fs::read_dir(site.data().join("mail/anna/tmp")).unwrap().count(), 0);
}

#[test]
fn a_user_who_asks_is_told_who_has_the_message() {
    let site = Site::new(PLAIN);
    let server = site.start();
    let mut peer = server.connect("submission");
    hello(&mut peer);
    peer.ask("AUTH PLAIN AGFubmEAc2VjcmV0");
    assert!(listed(&mut peer).contains("DSN"));
    assert!(peer.ask("MAIL FROM:<anna@localhost> RET=HDRS ENVID=QQ+20314").starts_with("250"));
    assert!(
        peer.ask("RCPT TO:<bert@localhost> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bert+2Bx@localhost").starts_with("250")
    );
    assert!(peer.ask("DATA").starts_with("354"));
    assert!(peer.ask("Subject: x\r\n\r\nx\r\n.").starts_with("250"));
    assert!(stored(&site, "bert").contains("\nOriginal-Recipient: rfc822;Bert+x@localhost\nSubject: x\n"));
    let report = stored(&site, "anna");
    for field in [
        "Return-Path: <>\n",
        "Content-Type: multipart/report;",
        "Original-Envelope-Id: QQ 314\n",
        "Original-Recipient: rfc822;Bert+x@localhost\nFinal-Recipient: rfc822;bert@localhost\nAction: delivered\n",
    ] {
        assert!(report.contains(field), "{field} is missing in {report}");
    }
    // Nobody else asked, and where reports could not go they are not offered.
    peer.ask("MAIL FROM:<anna@localhost>");
    peer.ask("RCPT TO:<bert@localhost> NOTIFY=NEVER");
    peer.ask("DATA");
    assert!(peer.ask("x\r\n.").starts_with("250"));
    assert_eq!((site.messages("bert").len(), stored(&site, "anna").len()), (2, report.len()));
    let mut relay = server.connect("SMTP");
    assert!(!hello(&mut relay).contains("DSN"));
    assert!(relay.ask("MAIL FROM:<a@b> RET=FULL").starts_with("555"));
}

#[test]
fn a_client_that_can_be_told_learns_of_each_recipient() {
    let site = Site::new("");
    let server = site.start();
    let mut peer = server.connect("SMTP");
    assert!(hello(&mut peer).contains("PRDR"));
    // A mailbox that cannot be written, if we are not root, or one that is a file.
    std::fs::create_dir_all(site.data().join("mail")).unwrap();
    std::fs::write(site.data().join("mail/bert"), "in the way").unwrap();
    std::fs::set_permissions(site.data().join("mail/bert"), PermissionsExt::from_mode(0o400)).unwrap();
    let session = b"MAIL FROM:<a@b> PRDR\r\nRCPT TO:<anna@localhost>\r\nRCPT TO:<bert@localhost>\r\nDATA\r\n";
    assert_eq!(said(&mut peer, session, 4), ["250", "250", "250", "354"]);
    assert_eq!(said(&mut peer, b"x\r\n.\r\n", 4), ["353", "250", "451", "250"]);
    // One reply for all where all fare alike, or the client did not ask.
    let session = b"MAIL FROM:<a@b> PRDR\r\nRCPT TO:<anna@localhost>\r\nDATA\r\n";
    assert_eq!(said(&mut peer, session, 3), ["250", "250", "354"]);
    assert_eq!(said(&mut peer, b"x\r\n.\r\nNOOP\r\n", 2), ["250", "250"]);
    let session = b"MAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nRCPT TO:<bert@localhost>\r\nDATA\r\n";
    assert_eq!(said(&mut peer, session, 4), ["250", "250", "250", "354"]);
    assert_eq!(said(&mut peer, b"x\r\n.\r\nNOOP\r\n", 2), ["451", "250"]);
}

#[test]
fn a_server_in_front_speaks_for_its_clients_if_it_is_believed() {
    let site = Site::new(PLAIN);
    let server = site.start();
    let mut stranger = server.connect("SMTP");
    assert!(!hello(&mut stranger).contains("XCLIENT"));
    assert!(stranger.ask("XCLIENT ADDR=192.0.2.9").starts_with("502"));
    let mut peer = server.connect_from("127.0.0.2", "SMTP");
    assert!(hello(&mut peer).contains("XCLIENT NAME ADDR"));
    assert!(peer.ask("XFORWARD NAME=a ADDR=192.0.2.9").starts_with("250"));
    assert!(peer.ask("XCLIENT ADDR=192.0.2.9 HELO=far.example NAME=[UNAVAILABLE]").starts_with("220 localhost"));
    // It begins anew.
    assert!(peer.ask("MAIL FROM:<a@b>").starts_with("503"));
    peer.ask("HELO far.example");
    peer.ask("MAIL FROM:<a@b>");
    peer.ask("RCPT TO:<anna@localhost>");
    peer.ask("DATA");
    assert!(peer.ask("x\r\n.").starts_with("250"));
    assert!(stored(&site, "anna").contains("Received: from far.example ([192.0.2.9])"), "{}", stored(&site, "anna"));
    assert!(server.logs(&["client named by a proxy", "192.0.2.9", "127.0.0.2"]));
    // Users of its own are none of ours, and need not be, where nobody has to log in.
    let mut peer = server.connect_from("127.0.0.2", "SMTP");
    hello(&mut peer);
    assert!(peer.ask("XCLIENT LOGIN=anna@far.example ADDR=192.0.2.10").starts_with("220"));
    assert!(server.logs(&["client named by a proxy", "192.0.2.10"]));
}

#[test]
fn a_login_that_a_believed_server_has_seen_counts_here_too() {
    let site = Site::new(PLAIN);
    let server = site.start();
    let mut peer = server.connect_from("127.0.0.2", "submission");
    hello(&mut peer);
    assert!(peer.ask("XCLIENT LOGIN=nobody").starts_with("550"));
    assert!(peer.ask("MAIL FROM:<anna@localhost>").starts_with("530"));
    assert!(peer.ask("XCLIENT LOGIN=anna ADDR=IPV6:2001:db8::9").starts_with("220"));
    peer.ask("EHLO c");
    assert!(peer.ask("MAIL FROM:<bert@localhost>").starts_with("553"));
    assert!(peer.ask("MAIL FROM:<anna@localhost>").starts_with("250"));
    // Whoever speaks now may be the client itself: it is not believed.
    peer.ask("RSET");
    assert!(!listed(&mut peer).contains("XCLIENT"));
    assert!(peer.ask("XCLIENT LOGIN=bert").starts_with("502"));
    let mut peer = server.connect_from("127.0.0.2", "submission");
    hello(&mut peer);
    assert!(peer.ask("XCLIENT LOGIN=+FF").starts_with("550"));
}

#[test]
fn tls_can_be_required_where_there_is_tls() {
    let site = Site::new("");
    let server = site.start();
    let mut peer = server.connect("SMTP");
    assert!(!hello(&mut peer).contains("REQUIRETLS"));
    assert!(peer.ask("MAIL FROM:<a@b> REQUIRETLS").starts_with("555"));
}
