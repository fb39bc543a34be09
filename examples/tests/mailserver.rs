//! The program as a user meets it.

use std::net::TcpListener;
use std::process::Command;

#[path = "support/server.rs"]
mod server;
use server::{MAILSERVER, Peer, Server, Site, run};

const PLAINTEXT: &str = "[auth]\nplaintext = true";

fn send(server: &Server, message: &str) {
    let mut smtp = server.connect("SMTP");
    assert!(smtp.hear().starts_with("220 localhost "));
    smtp.say("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nDATA\r\n");
    let codes: Vec<_> = (0..4).map(|_| smtp.hear()[..3].to_owned()).collect();
    assert_eq!(codes, ["250", "250", "250", "354"]);
    assert!(smtp.ask(message).starts_with("250 "));
    assert!(smtp.ask("QUIT").starts_with("221 "));
    assert_eq!(smtp.rest(), "");
}

/// A POP3 session of anna's, once the server has seen that the one before has gone.
fn log_in(server: &Server) -> Peer {
    let mut sessions = (0..500).map(|_| {
        let mut pop3 = server.connect("POP3");
        pop3.line();
        pop3.ask("USER anna");
        let answer = pop3.ask("PASS secret");
        (pop3, answer)
    });
    sessions.find(|(_, answer)| answer.starts_with("+OK")).expect("the session before has gone").0
}

#[test]
fn a_message_sent_is_read_as_it_was_and_deleted_at_quit_alone() {
    let site = Site::new(PLAINTEXT);
    let server = site.start();
    send(&server, "Subject: dots\r\n\r\n..\r\n...\r\nthe end\r\n.");
    assert_eq!(site.messages("anna"), ["Subject: dots\n\n.\n..\nthe end\n"]);
    for (quit, left) in [(false, 1), (true, 0)] {
        let mut pop3 = log_in(&server);
        pop3.say("RETR 1\r\nDELE 1\r\n");
        assert!(pop3.line().starts_with("+OK"));
        let mut message = String::new();
        while !message.ends_with("\r\n.\r\n") {
            message += &pop3.line();
        }
        assert!(message.ends_with("Subject: dots\r\n\r\n..\r\n...\r\nthe end\r\n.\r\n"), "{message}");
        assert!(pop3.line().starts_with("+OK"));
        if quit {
            assert!(pop3.ask("QUIT").starts_with("+OK"));
        }
        drop(pop3);
        assert_eq!(site.messages("anna").len(), left);
    }
    assert!(server.terminate());
}

#[test]
fn a_second_session_has_to_wait_for_the_first() {
    let site = Site::new(PLAINTEXT);
    let server = site.start();
    let log_in = || {
        let mut pop3 = server.connect("POP3");
        pop3.line();
        pop3.ask("USER anna");
        let answer = pop3.ask("PASS secret");
        (pop3, answer)
    };
    let (first, answer) = log_in();
    assert!(answer.starts_with("+OK"));
    assert!(log_in().1.starts_with("-ERR [IN-USE]"));
    drop(first);
    // The server notices soon.
    assert!((0..100).any(|_| log_in().1.starts_with("+OK")));
}

#[test]
fn logins_in_the_clear_are_refused_unless_configured() {
    let site = Site::new("");
    let server = site.start();
    let mut pop3 = server.connect("POP3");
    pop3.line();
    assert!(pop3.ask("USER anna").starts_with("-ERR"));
    assert!(pop3.ask("AUTH PLAIN AGFubmEAc2VjcmV0").starts_with("-ERR"));
    let mut submission = server.connect("submission");
    submission.hear();
    submission.say("EHLO c\r\n");
    let mut said = String::new();
    while !said.contains("\n250 ") && !said.starts_with("250 ") {
        said += &submission.line();
    }
    assert!(said.contains("STARTTLS") && !said.contains("AUTH"), "{said}");
    assert!(submission.ask("AUTH PLAIN AGFubmEAc2VjcmV0").starts_with("502"));
    assert!(submission.ask("MAIL FROM:<a@b>").starts_with("530"));
}

#[test]
fn a_submission_needs_a_login() {
    let site = Site::new(PLAINTEXT);
    let server = site.start();
    let mut submission = server.connect("submission");
    submission.hear();
    submission.ask("EHLO c");
    assert!(submission.ask("MAIL FROM:<a@b>").starts_with("530"));
    assert!(submission.ask("AUTH PLAIN AGFubmEAd3Jvbmc=").starts_with("535"));
    assert!(submission.ask("AUTH PLAIN").starts_with("334 "));
    assert!(submission.ask("AGFubmEAc2VjcmV0").starts_with("235"));
    assert!(submission.ask("MAIL FROM:<anna@localhost>").starts_with("250"));
    assert!(submission.ask("RCPT TO:<x@elsewhere.example>").starts_with("550"));
    assert!(submission.ask("RCPT TO:<nobody@localhost>").starts_with("550"));
    assert!(submission.ask("RCPT TO:<anna+list@localhost>").starts_with("250"));
    assert!(submission.ask("RCPT TO:<postmaster>").starts_with("250"));
}

/// A session of anna's.
fn submission_of_anna(server: &Server) -> Peer {
    let mut submission = server.connect("submission");
    submission.hear();
    submission.ask("EHLO c");
    assert!(submission.ask("AUTH PLAIN AGFubmEAc2VjcmV0").starts_with("235"));
    submission
}

#[test]
fn a_user_sends_as_the_own_addresses_and_as_others_where_that_is_configured() {
    for (config, foreign) in [("", "553"), ("[submission]\nforeign_senders = true\n", "250")] {
        let site = Site::new(&format!("{PLAINTEXT}\n{config}"));
        let server = site.start();
        let mut submission = submission_of_anna(&server);
        for (sender, code) in [
            ("anna@localhost", "250"),
            ("ANNA+list@LOCALHOST", "250"),
            ("anna@[127.0.0.1]", "250"),
            ("postmaster@localhost", "250"),
            ("", "250"),
            ("bert@localhost", "553"),
            ("nobody@localhost", "553"),
            ("anna@example.org", foreign),
            ("a@b", foreign),
        ] {
            let reply = submission.ask(&format!("MAIL FROM:<{sender}>"));
            assert!(reply.starts_with(code), "{config}: {sender}: {reply}");
            submission.ask("RSET");
        }
    }
    // Other servers may have anything to pass on.
    let site = Site::new("");
    let server = site.start();
    for protocol in ["SMTP", "LMTP"] {
        let mut peer = server.connect(protocol);
        peer.hear();
        peer.ask(if protocol == "LMTP" { "LHLO c" } else { "EHLO c" });
        assert!(peer.ask("MAIL FROM:<a@b>").starts_with("250"));
    }
}

/// MAIL to the end of the message, from anna to both. The reply to that.
fn submit(submission: &mut Peer, message: &str) -> String {
    submission.say("MAIL FROM:<anna@localhost>\r\nRCPT TO:<anna@localhost>\r\nRCPT TO:<bert@localhost>\r\nDATA\r\n");
    let codes: Vec<_> = (0..4).map(|_| submission.hear()[..3].to_owned()).collect();
    assert_eq!(codes, ["250", "250", "250", "354"]);
    submission.ask(message)
}

#[test]
fn a_users_message_is_completed_and_loses_its_bcc() {
    let site = Site::new(&format!("{PLAINTEXT}\n[submission]\nheader_octets = 1000\n"));
    let server = site.start();
    let mut submission = submission_of_anna(&server);
    let long = "x".repeat(200_000);
    let message = format!("Bcc: bert@localhost,\r\n\tcarl@localhost\r\nSubject: s\r\nBCC : d\r\n\r\nBcc: {long}\r\n.");
    assert!(submit(&mut submission, &message).starts_with("250"));
    let found = site.messages("bert");
    assert_eq!(found, site.messages("anna"));
    let (header, body) = found[0].split_once("\n\n").unwrap();
    assert_eq!(body, format!("Bcc: {long}\n"));
    let [subject, date, id] = header.lines().collect::<Vec<_>>()[..] else { panic!("{header}") };
    assert_eq!(subject, "Subject: s");
    assert!(jiff::fmt::rfc2822::parse(date.strip_prefix("Date: ").unwrap()).is_ok(), "{date}");
    assert!(id.starts_with("Message-ID: <") && id.ends_with("@localhost>"), "{id}");
    // What comes from elsewhere is left alone.
    let mut relay = server.connect("SMTP");
    relay.hear();
    relay.ask("EHLO c");
    let plain = "Bcc: a\r\n\r\nbody\r\n.";
    assert!(submit(&mut relay, plain).starts_with("250"));
    assert!(site.messages("bert").contains(&"Bcc: a\n\nbody\n".to_owned()));
    // A message need not have a body.
    assert!(submit(&mut submission, "Subject: alone\r\n.").starts_with("250"));
    assert!(site.messages("bert").iter().any(|message| message.starts_with("Subject: alone\nDate: ")));
    // The limit is one on the header section of a user.
    let large = format!("X: {}\r\n\r\nbody\r\n.", "x".repeat(1000));
    assert!(submit(&mut submission, &large).starts_with("552 5.3.4"));
    assert!(server.logs(&["message refused", "header section of more than 1000 octets"]));
    assert!(submit(&mut relay, &large).starts_with("250"));
    assert_eq!(site.messages("bert").len(), 4);
}

#[test]
fn a_message_that_goes_round_in_a_circle_is_refused() {
    let site = Site::new(&format!("{PLAINTEXT}\n[limits]\nreceived_fields = 3\n"));
    let server = site.start();
    let passed = |times: usize, body: usize| {
        let field = "Received: from a\r\n\tby b; now\r\n";
        format!("{}Subject: s\r\n\r\n{}text {}\r\n.", field.repeat(times), field.repeat(body), "x".repeat(100_000))
    };
    for protocol in ["SMTP", "submission"] {
        let mut peer = if protocol == "SMTP" { server.connect("SMTP") } else { submission_of_anna(&server) };
        if protocol == "SMTP" {
            peer.hear();
            peer.ask("EHLO c");
        }
        assert!(submit(&mut peer, &passed(3, 50)).starts_with("250"));
        assert!(submit(&mut peer, &passed(4, 0)).starts_with("554 5.4.6"), "{protocol}");
        // The session goes on.
        assert!(peer.ask("NOOP").starts_with("250"));
    }
    assert!(server.logs(&["message refused", "more than 3 Received"]));
    let mut lmtp = server.connect("LMTP");
    lmtp.hear();
    lmtp.ask("LHLO c");
    assert!(submit(&mut lmtp, &passed(4, 0)).starts_with("554 5.4.6") && lmtp.hear().starts_with("554 5.4.6"));
    assert_eq!((site.messages("anna").len(), site.messages("bert").len()), (2, 2));
    assert_eq!(std::fs::read_dir(site.data().join("mail/anna/tmp")).unwrap().count(), 0);
}

#[test]
fn a_message_that_does_not_fit_the_disk_is_refused_for_now() {
    let refused = "452 4.3.1 ";
    let most = i64::MAX;
    for (config, plain, small, huge) in [
        (format!("[space]\nreserve_octets = {most}\n[limits]\nmessage_octets = {most}\n"), refused, refused, refused),
        (format!("[space]\nreserve_octets = 0\n[limits]\nmessage_octets = {most}\n"), "250", "250", refused),
        (
            format!("[space]\nreserve_octets = 0\nunsized_octets = {most}\n[limits]\nmessage_octets = {most}\n"),
            refused,
            "250",
            refused,
        ),
    ] {
        let site = Site::new(&config);
        let server = site.start();
        let mut smtp = server.connect("SMTP");
        smtp.hear();
        smtp.ask("EHLO c");
        for (size, code) in [(String::new(), plain), (" SIZE=10".to_owned(), small), (format!(" SIZE={most}"), huge)] {
            let reply = smtp.ask(&format!("MAIL FROM:<a@b>{size}"));
            assert!(reply.starts_with(code), "{config}: {size}: {reply}");
            smtp.ask("RSET");
        }
        assert!(server.logs(&["no space left"]));
    }
}

#[test]
fn lmtp_answers_for_each_recipient_and_delivers_once_to_each() {
    let site = Site::new("");
    let server = site.start();
    let mut lmtp = server.connect("LMTP");
    lmtp.hear();
    lmtp.ask("LHLO c");
    lmtp.ask("MAIL FROM:<>");
    for to in ["anna", "bert", "nobody", "ANNA"] {
        lmtp.ask(&format!("RCPT TO:<{to}@localhost>"));
    }
    assert!(lmtp.ask("DATA").starts_with("354"));
    assert!(lmtp.ask("x\r\n.").starts_with("250"));
    assert!(lmtp.hear().starts_with("250") && lmtp.hear().starts_with("250"));
    assert!(lmtp.ask("NOOP").starts_with("250"));
    assert_eq!((site.messages("anna"), site.messages("bert")), (vec!["x\n".to_owned()], vec!["x\n".to_owned()]));
}

#[test]
fn a_server_that_stops_finishes_the_message_and_says_421() {
    let site = Site::new("");
    let server = site.start();
    let (mut idle, mut busy) = (server.connect("SMTP"), server.connect("SMTP"));
    idle.hear();
    busy.hear();
    busy.say("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nDATA\r\nSubject: late\r\n");
    assert!((0..4).all(|_| !busy.hear().starts_with('5')));
    server.signal_to_stop();
    assert!(idle.hear().starts_with("421 "));
    assert_eq!(idle.rest(), "");
    assert!(busy.ask("\r\n.").starts_with("250 "));
    assert!(busy.hear().starts_with("421 "));
    assert!(server.terminate());
    assert_eq!(site.messages("anna"), ["Subject: late\n\n"]);
}

#[test]
fn accounts_are_added_listed_and_removed_under_a_running_server() {
    let site = Site::new(PLAINTEXT);
    let server = site.start();
    assert_eq!(site.user(&["user", "list"], ""), (true, "anna\nbert\n".to_owned()));
    let (added, said) = site.user(&["user", "add", "../etc"], "x\n");
    assert!(!added && said.contains("begins with a letter or digit"), "{said}");
    let (added, said) = site.user(&["user", "add", "carl"], "\n");
    assert!(!added && said.contains("password"), "{said}");
    assert!(site.user(&["user", "add", "carl"], "pass word\n").0);
    let log_in = || {
        let mut pop3 = server.connect("POP3");
        pop3.line();
        pop3.ask("USER carl");
        pop3.ask("PASS pass word")
    };
    assert!(log_in().starts_with("+OK"));
    assert!(site.user(&["user", "remove", "carl"], "").0);
    assert!(log_in().starts_with("-ERR [AUTH]"));
    assert!(!site.user(&["user", "remove", "carl"], "").0);
}

#[test]
fn what_keeps_it_from_starting_is_said_and_named() {
    let site = Site::new("");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (config, says) in [
        (format!("data = \"{}\"\n[listen]\nsmtp = \"{address}\"\n", site.data().display()), address.to_string()),
        ("hostname = \"a\"\nhostnam = \"b\"\n".to_owned(), "line 2".to_owned()),
        ("data = \"/proc/nowhere\"\n".to_owned(), "/proc/nowhere".to_owned()),
        ("[tls]\ncertificate = \"/no/such.pem\"\nkey = \"/no/such.key\"\n".to_owned(), "/no/such.pem".to_owned()),
    ] {
        std::fs::write(site.config(), &config).unwrap();
        let (started, said) =
            run(Command::new(MAILSERVER).current_dir(&site.folder).arg("--config").arg(site.config()), "");
        assert!(!started && said.contains(&says), "{config}: {said}");
    }
    let (started, said) = run(Command::new(MAILSERVER).args(["--config", "no-such-file"]), "");
    assert!(!started && said.contains("no-such-file"), "{said}");
    let (started, said) = run(Command::new(MAILSERVER).arg("--bogus"), "");
    assert!(!started && said.contains("--bogus") && said.contains("--help"), "{said}");
}
