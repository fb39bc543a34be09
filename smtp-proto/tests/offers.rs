//! What a server offers: what it announces, what it refuses, which codes it writes.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use postrider_smtp_proto::{Code, Command, Extensions, Limits, Mechanism, Quirks, Reply, State, Step, client, server};

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

fn greeted(config: server::Config) -> server::Connection {
    let mut connection = server::Connection::new(config);
    connection.send(&Reply::new(Code::READY, "ready"), &mut Vec::new()).unwrap();
    connection
}

fn offering(extensions: Extensions) -> server::Config {
    server::Config { extensions, ..server::Config::default() }
}

fn nothing() -> Extensions {
    let mut nothing = Extensions::default();
    (nothing.eight_bit_mime, nothing.enhanced_status_codes) = (false, false);
    (nothing.pipelining, nothing.size) = (false, false);
    nothing
}

/// Says a line, which the program gets, and answers it.
fn ask(connection: &mut server::Connection, line: &str, reply: &Reply<'_>) -> String {
    let (line, mut out) = (format!("{line}\r\n"), Vec::new());
    let step = connection.receive(line.as_bytes());
    assert!(matches!(step, Ok(Step::Event { event: server::Event::Command(_), .. })), "{step:?}");
    connection.send(reply, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn ok() -> Reply<'static> {
    Reply::new(Code::OK, "ok").with_enhanced(2, 0, 0)
}

/// What a line is refused with, if it is.
fn refusal(connection: &server::Connection, line: &str) -> Option<u16> {
    let line = format!("{line}\r\n");
    match connection.clone().receive(line.as_bytes()).unwrap() {
        Step::Event { event: server::Event::Rejected(error), .. } => Some(error.reply().code().as_u16()),
        Step::Event { event: server::Event::Command(_), .. } => None,
        step => panic!("{step:?}"),
    }
}

fn hello(connection: &mut server::Connection, verb: &str) -> String {
    let mut out = Vec::new();
    let line = format!("{verb} c\r\n");
    assert!(matches!(connection.receive(line.as_bytes()), Ok(Step::Event { .. })));
    connection.send_hello("mail.example", &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What is not offered is refused, and no command that RFC 5321 section 4.5.1 requires can be left out.
#[test]
fn what_is_not_offered_is_refused() {
    let mut connection = greeted(offering(nothing()));
    assert_eq!(hello(&mut connection, "EHLO"), "250 mail.example\r\n");
    for line in ["STARTTLS", "AUTH PLAIN", "EXPN a", "HELP"] {
        assert_eq!(refusal(&connection, line), Some(502), "{line}");
    }
    for line in ["EHLO a", "HELO a", "MAIL FROM:<>", "RSET", "VRFY a", "NOOP", "QUIT"] {
        assert_eq!(refusal(&connection, line), None, "{line}");
    }
    for parameter in ["SIZE=1", "BODY=7BIT", "SMTPUTF8", "AUTH=<>", "X-FROM"] {
        assert_eq!(refusal(&connection, &format!("MAIL FROM:<> {parameter}")), Some(555), "{parameter}");
    }
    connection.offer(everything());
    for line in
        ["STARTTLS", "AUTH PLAIN", "AUTH scram-sha-256", "EXPN a", "HELP", "MAIL FROM:<> x-from=1 AUTH=<> smtputf8"]
    {
        assert_eq!(refusal(&connection, line), None, "{line}");
    }
    assert_eq!(refusal(&connection, "AUTH OAUTHBEARER"), Some(504));
    assert_eq!(refusal(&connection, "MAIL FROM:<> X-TO=1"), Some(555), "a parameter of RCPT");
    ask(&mut connection, "MAIL FROM:<>", &ok());
    assert_eq!(refusal(&connection, "RCPT TO:<a@b> X-TO=1"), None);
    for parameter in ["X-FROM", "SIZE=1", "BODY=7BIT", "SMTPUTF8", "AUTH=<>"] {
        assert_eq!(
            refusal(&connection, &format!("RCPT TO:<a@b> {parameter}")),
            Some(555),
            "{parameter} belongs to MAIL"
        );
    }
}

/// RFC 5321 section 4.1.1.1.
#[test]
fn each_extension_is_announced_where_it_is_offered() {
    let announced = hello(&mut greeted(offering(everything())), "EHLO");
    let lines: Vec<_> = announced.lines().collect();
    assert_eq!(lines[0], "250-mail.example");
    assert!(lines[1..lines.len() - 1].iter().all(|line| line.starts_with("250-")));
    assert!(lines.last().unwrap().starts_with("250 "));
    let mut listed: Vec<_> = lines[1..].iter().map(|line| &line[4..]).collect();
    listed.sort_unstable();
    let expected = [
        "8BITMIME",
        "ATRN",
        "AUTH PLAIN LOGIN SCRAM-SHA-256",
        "BINARYMIME",
        "BURL imap",
        "CHUNKING",
        "CONNEG",
        "CONPERM",
        "DELIVERBY 120",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "ETRN",
        "EXPN",
        "FUTURERELEASE 86400 2038-01-19T03:14:07Z",
        "HELP",
        "LIMITS RCPTMAX=1000",
        "MT-PRIORITY MIXER",
        "MTRK",
        "NO-SOLICITING org.example:ADV",
        "PIPELINING",
        "PRDR",
        "RRVS",
        "SIZE 52428800",
        "SMTPUTF8",
        "STARTTLS",
        "SUBMITTER",
        "X-OWN one two",
        "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT",
        "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
        "XVERP",
    ];
    assert_eq!(listed, expected);
    assert_eq!(hello(&mut greeted(offering(everything())), "HELO"), "250 mail.example\r\n");
    let within_tls = server::Config { tls: true, ..offering(everything()) };
    let secured = announced.replace("250-STARTTLS\r\n", "").replace("250-LIMITS", "250-REQUIRETLS\r\n250-LIMITS");
    assert_eq!(hello(&mut greeted(within_tls), "EHLO"), secured);
    let lmtp = server::Config { lmtp: true, ..offering(everything()) };
    // RFC 4468 section 3.1: BURL is for submission.
    assert_eq!(hello(&mut greeted(lmtp), "LHLO"), announced.replace("250-BURL imap\r\n", ""));
}

/// RFC 2034 section 4: not in the greeting, not in replies to EHLO and HELO, not in 3yz.
#[test]
fn an_enhanced_code_is_written_only_where_it_is_offered_and_belongs() {
    for offered in [false, true] {
        let mut extensions = everything();
        extensions.enhanced_status_codes = offered;
        let mut connection = server::Connection::new(offering(extensions));
        let mut out = Vec::new();
        connection.send(&Reply::new(Code::READY, "ready").with_enhanced(2, 0, 0), &mut out).unwrap();
        assert_eq!(out, b"220 ready\r\n");
        assert_eq!(ask(&mut connection, "EHLO c", &ok()), "250 ok\r\n");
        let written = if offered { "250 2.0.0 ok\r\n" } else { "250 ok\r\n" };
        assert_eq!(ask(&mut connection, "EHLO c", &ok()), "250 ok\r\n");
        for line in ["NOOP", "RSET", "VRFY a", "MAIL FROM:<>", "RCPT TO:<a@b>"] {
            assert_eq!(ask(&mut connection, line, &ok()), written, "{line}");
        }
        let go_on = Reply::new(Code::START_MAIL_INPUT, "go on").with_enhanced(2, 0, 0);
        assert_eq!(ask(&mut connection, "DATA", &go_on), "354 go on\r\n");
    }
}

/// RFC 2034 sections 4 and 5: "regardless of whether or not EHLO is employed by the client".
#[test]
fn an_enhanced_code_is_written_to_a_client_that_said_helo_too() {
    let mut connection = greeted(offering(everything()));
    assert_eq!(ask(&mut connection, "NOOP", &ok()), "250 2.0.0 ok\r\n");
    assert_eq!(ask(&mut connection, "HELO c", &ok()), "250 ok\r\n");
    assert_eq!(ask(&mut connection, "NOOP", &ok()), "250 2.0.0 ok\r\n");
}

#[test]
fn a_reply_passed_on_from_another_server_loses_the_code_that_is_not_offered() {
    let mut connection = greeted(offering(nothing()));
    ask(&mut connection, "EHLO c", &ok());
    let upstream = Reply::parse(b"550-5.1.1 no such user\r\n550 5.1.1 here\r\n").unwrap();
    assert_eq!(ask(&mut connection, "VRFY a", &upstream), "550-no such user\r\n550 here\r\n");
}

/// RFC 3207 section 4, RFC 6409 section 4.3, RFC 4954 section 6.
#[test]
fn mail_needs_tls_and_a_login_where_the_server_says_so() {
    let config = server::Config { require_auth: true, require_tls: true, ..offering(everything()) };
    let mut connection = greeted(config);
    ask(&mut connection, "EHLO c", &ok());
    for line in ["MAIL FROM:<>", "AUTH PLAIN", "AUTH PLAIN ="] {
        assert_eq!(refusal(&connection, line), Some(530), "{line}");
    }
    for line in ["NOOP", "EHLO a", "STARTTLS", "QUIT"] {
        assert_eq!(refusal(&connection, line), None, "{line}");
    }
    ask(&mut connection, "STARTTLS", &Reply::new(Code::READY, "go ahead"));
    connection.secured(b"").unwrap();
    ask(&mut connection, "EHLO c", &ok());
    assert_eq!((refusal(&connection, "MAIL FROM:<>"), refusal(&connection, "AUTH PLAIN")), (Some(530), None));
    ask(&mut connection, "AUTH PLAIN =", &Reply::new(Code::AUTHENTICATION_FAILED, "no"));
    assert_eq!(refusal(&connection, "MAIL FROM:<>"), Some(530));
    ask(&mut connection, "AUTH PLAIN =", &Reply::new(Code::AUTHENTICATED, "in"));
    ask(&mut connection, "MAIL FROM:<>", &ok());
    assert_eq!((refusal(&connection, "RCPT TO:<a@b>"), connection.state()), (None, State::Mail));
}

#[test]
fn a_login_is_remembered_beyond_ehlo_and_forgotten_with_tls() {
    let mut connection = greeted(offering(everything()));
    ask(&mut connection, "EHLO c", &ok());
    ask(&mut connection, "AUTH PLAIN =", &Reply::new(Code::AUTHENTICATED, "in"));
    ask(&mut connection, "EHLO c", &ok());
    assert!(connection.is_authenticated());
    assert_eq!(refusal(&connection, "AUTH PLAIN ="), Some(503));
    ask(&mut connection, "STARTTLS", &Reply::new(Code::READY, "go ahead"));
    connection.secured(b"").unwrap();
    assert!(!connection.is_authenticated());
}

/// RFC 4954 section 4: both MUST be answered with 503.
#[test]
fn auth_after_a_login_and_within_a_transaction_is_out_of_place_whatever_else_it_is() {
    let mut connection = greeted(offering(everything()));
    ask(&mut connection, "HELO c", &ok());
    ask(&mut connection, "MAIL FROM:<>", &ok());
    assert_eq!(refusal(&connection, "AUTH PLAIN ="), Some(503), "within a transaction");
    ask(&mut connection, "EHLO c", &ok());
    ask(&mut connection, "AUTH PLAIN =", &Reply::new(Code::AUTHENTICATED, "in"));
    ask(&mut connection, "HELO c", &ok());
    assert_eq!(refusal(&connection, "AUTH PLAIN ="), Some(503), "after a login and HELO");
    ask(&mut connection, "EHLO c", &ok());
    connection.offer(nothing());
    assert_eq!(refusal(&connection, "AUTH PLAIN ="), Some(503), "after a login, and not offered");
}

/// RFC 6531 section 3.5.
#[test]
fn an_address_in_utf_8_needs_smtputf8() {
    let mut connection = greeted(offering(everything()));
    ask(&mut connection, "EHLO c", &ok());
    ask(&mut connection, "MAIL FROM:<> SMTPUTF8", &ok());
    assert_eq!(refusal(&connection, "RCPT TO:<\u{e9}@b>"), None);
    ask(&mut connection, "RSET", &ok());
    ask(&mut connection, "MAIL FROM:<>", &ok());
    for path in ["\u{e9}@b", "a@\u{e9}", "\"\u{e9}\"@b"] {
        assert_eq!(refusal(&connection, &format!("RCPT TO:<{path}>")), Some(553), "{path}");
    }
    assert_eq!(refusal(&connection, "RCPT TO:<a@b>"), None);
}

#[test]
fn a_sender_in_utf_8_without_smtputf8_is_refused_with_550() {
    let mut connection = greeted(offering(everything()));
    ask(&mut connection, "EHLO c", &ok());
    assert_eq!(refusal(&connection, "MAIL FROM:<\u{e9}@b>"), Some(550));
}

/// RFC 5321 section 3.1: the server waits for QUIT, and refuses all else with 503.
#[test]
fn after_a_greeting_of_554_a_client_may_still_quit() {
    let greeting = Reply::new(Code::TRANSACTION_FAILED, "no SMTP service here");
    let mut connection = server::Connection::new(offering(everything()));
    let mut out = Vec::new();
    connection.send(&greeting, &mut out).unwrap();
    assert!(!connection.is_closed());
    for line in ["EHLO c", "MAIL FROM:<>", "NOOP", "RSET"] {
        assert_eq!(refusal(&connection, line), Some(503), "{line}");
    }
    ask(&mut connection, "QUIT", &Reply::new(Code::CLOSING, "bye"));
    assert!(connection.is_closed());
    let mut client = client::Connection::new(client::Config::default());
    assert!(matches!(client.receive(&out), Ok(Step::Event { .. })));
    assert_eq!(client.send(&Command::Quit, &mut Vec::new()), Ok(()));
}

/// RFC 2033 section 4.1.
#[test]
fn smtp_and_lmtp_are_told_apart_by_their_hello() {
    let lmtp = greeted(server::Config { lmtp: true, ..offering(everything()) });
    let smtp = greeted(offering(everything()));
    for line in ["EHLO a", "HELO a"] {
        assert!(refusal(&lmtp, line).is_some_and(|code| code >= 500) && refusal(&smtp, line).is_none(), "{line}");
    }
    assert!(refusal(&smtp, "LHLO a").is_some_and(|code| code >= 500) && refusal(&lmtp, "LHLO a").is_none());
}

#[test]
fn quirks_forgive_what_they_name_and_nothing_else() {
    let mut forgiving = Quirks::default();
    (forgiving.space_before_path, forgiving.underscore_in_domain) = (true, true);
    for (line, forgiven) in [
        ("MAIL FROM: <a@b>", true),
        ("MAIL FROM:   <a_b@c_d> SIZE=1", true),
        ("RCPT TO: <a@_dmarc.example>", true),
        ("MAIL FROM : <a@b>", false),
        ("MAIL FROM: a@b", false),
        ("MAIL FROM:<a@b >", false),
        ("MAIL FROM:<a@-b>", false),
        ("RCPT TO:<a@b*c>", false),
        ("EHLO a b", false),
    ] {
        assert!(Command::parse(line.as_bytes()).is_err(), "{line}");
        assert_eq!(Command::parse_with(line.as_bytes(), forgiving).is_ok(), forgiven, "{line}");
    }
    let mut connection = greeted(server::Config { quirks: forgiving, ..offering(everything()) });
    ask(&mut connection, "EHLO c", &ok());
    ask(&mut connection, "MAIL FROM: <a@b_c>", &ok());
}

/// RFC 5321 section 4.1.1: white space at the end is space and tab, and nothing else.
#[test]
fn only_spaces_and_tabs_at_the_end_of_a_command_mean_nothing() {
    for sound in ["QUIT ", "QUIT\t", "QUIT \t \t"] {
        assert_eq!(Command::parse(sound.as_bytes()), Ok(Command::Quit), "{sound:?}");
    }
    let forgiving = Quirks { space_before_path: true, ..Quirks::default() };
    assert!(Command::parse_with(b"RCPT TO: \t<a@b>", forgiving).is_ok());
    for broken in ["QUIT\r\n", "QUIT\n", "QUIT\r", "QUIT\x0c", "NOOP a\x0c", "RCPT TO:<a@b>\r\n", "RCPT TO:\x0c<a@b>"] {
        assert!(Command::parse_with(broken.as_bytes(), forgiving).is_err(), "{broken:?}");
    }
}

/// RFC 1870 section 4: what is announced is what is kept to.
#[test]
fn the_size_announced_is_the_size_that_is_taken() {
    let limits = Limits { message: 1000, ..Limits::default() };
    let mut connection = greeted(server::Config { limits, ..offering(everything()) });
    assert!(hello(&mut connection, "EHLO").contains("SIZE 1000\r\n"));
    assert_eq!(refusal(&connection, "MAIL FROM:<> SIZE=1000"), None);
    assert_eq!(refusal(&connection, "MAIL FROM:<> SIZE=1001"), Some(552));
    assert_eq!(refusal(&connection, "MAIL FROM:<> SIZE=0"), None);
}

#[test]
fn timeouts_are_those_of_rfc_5321() {
    let mut client = client::Connection::new(client::Config::default());
    let minutes = |connection: &client::Connection| connection.timeout().as_secs() / 60;
    assert_eq!(minutes(&client), 5);
    assert!(matches!(client.receive(b"220 a\r\n"), Ok(Step::Event { .. })));
    for (line, wait, reply) in [
        ("HELO c", 5, "250 a\r\n"),
        ("MAIL FROM:<>", 5, "250 a\r\n"),
        ("RCPT TO:<a@b>", 5, "250 a\r\n"),
        ("DATA", 2, "354 a\r\n"),
    ] {
        client.send(&Command::parse(line.as_bytes()).unwrap(), &mut Vec::new()).unwrap();
        assert_eq!(minutes(&client), wait, "{line}");
        assert!(matches!(client.receive(reply.as_bytes()), Ok(Step::Event { .. })));
    }
    assert_eq!(minutes(&client), 3, "for each write of the message");
    client.end_of_content(&mut Vec::new()).unwrap();
    assert_eq!(minutes(&client), 10);
    assert_eq!(greeted(offering(everything())).timeout().as_secs(), 300);
    assert!(everything().auth.contains(&Mechanism::PLAIN));
}
