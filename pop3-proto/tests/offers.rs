//! What a server offers: what it announces, what it refuses, which codes it writes.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use postrider_pop3_proto::{
    Capability, Command, Extensions, Item, Name, Response, ResponseCode, State, Step, Text, client, server,
};

#[path = "support/everything.rs"]
mod everything;
use everything::everything;

fn greeting() -> Response<'static> {
    Response::Greeting { text: Text::EMPTY, timestamp: None }
}

fn greeted(extensions: Extensions) -> server::Connection {
    let mut connection = server::Connection::new(server::Config { extensions, ..server::Config::default() });
    connection.send(&greeting(), &mut Vec::new()).unwrap();
    connection
}

fn ask(connection: &mut server::Connection, line: &str, response: &Response<'_>) -> Vec<u8> {
    let (line, mut out) = (format!("{line}\r\n"), Vec::new());
    let step = connection.receive(line.as_bytes());
    assert!(matches!(step, Ok(Step::Event { event: server::Event::Command(_), .. })), "{step:?}");
    connection.send(response, &mut out).unwrap();
    out
}

fn logged_in() -> server::Connection {
    let mut connection = greeted(everything());
    ask(&mut connection, "USER a", &Response::ok(""));
    ask(&mut connection, "PASS b", &Response::ok(""));
    assert_eq!(connection.state(), State::Transaction);
    connection
}

/// What is not offered is refused, and no command that RFC 1939 requires can be left out.
#[test]
fn what_is_not_offered_is_refused() {
    let mut nothing = Extensions::default();
    (nothing.top, nothing.uidl, nothing.user) = (false, false, false);
    let mut connection = logged_in();
    connection.offer(nothing.clone());
    for line in ["TOP 1 1", "UIDL", "UIDL 1", "LANG", "LAST"] {
        assert!(is_refused(&connection, line), "{line}");
    }
    for line in ["STAT", "LIST", "RETR 1", "DELE 1", "NOOP", "RSET", "QUIT", "CAPA"] {
        assert!(!is_refused(&connection, line), "{line}");
    }
    let mut connection = server::Connection::new(server::Config { extensions: nothing, ..server::Config::default() });
    connection.send(&greeting(), &mut Vec::new()).unwrap();
    for line in ["USER a", "AUTH PLAIN", "STLS", "UTF8", "LANG", "APOP a c4c9334bac560ecc979e58001b3e22fb"] {
        assert!(is_refused(&connection, line), "{line}");
    }
    assert!(!is_refused(&connection, "QUIT") && !is_refused(&connection, "CAPA"));
    connection.offer(everything());
    for (line, refused) in [("AUTH PLAIN", false), ("AUTH scram-sha-256", false), ("AUTH LOGIN", true)] {
        assert_eq!(is_refused(&connection, line), refused, "{line}");
    }
}

fn is_refused(connection: &server::Connection, line: &str) -> bool {
    let line = format!("{line}\r\n");
    let step = connection.clone().receive(line.as_bytes());
    matches!(step, Ok(Step::Event { event: server::Event::Rejected(_), .. }))
}

/// RFC 2449 section 5: what is available before the login is announced after it too.
#[test]
fn a_server_announces_after_the_login_what_it_announced_before() {
    let config = server::Config { extensions: everything(), ..server::Config::default() };
    let mut before = server::Connection::new(config);
    before.send(&greeting(), &mut Vec::new()).unwrap();
    let after = logged_in();
    for capability in before.capabilities() {
        assert!(after.capabilities().any(|announced| announced == capability), "{capability:?}");
    }
    assert_eq!(before.capabilities().count(), after.capabilities().count());
}

#[test]
fn a_stranger_is_not_told_what_the_server_runs() {
    let mut extensions = everything();
    extensions.implementation = Some(Text::new("BlurdyBlurp").unwrap());
    let tells = |connection: &server::Connection| {
        connection.capabilities().any(|capability| matches!(capability, Capability::Implementation(_)))
    };
    let mut connection = greeted(extensions.clone());
    assert!(!tells(&connection));
    ask(&mut connection, "USER a", &Response::ok(""));
    assert!(!tells(&connection));
    ask(&mut connection, "PASS b", &Response::ok(""));
    assert!(tells(&connection));
}

/// RFC 2449 section 6.4 and RFC 3206 section 6: a code means something only where its capability is announced.
#[test]
fn a_code_is_written_only_where_it_is_offered() {
    let codes = [ResponseCode::AUTH, ResponseCode::SYS_PERM, ResponseCode::SYS_TEMP, ResponseCode::IN_USE];
    for (resp_codes, auth_resp_code) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut extensions = everything();
        (extensions.resp_codes, extensions.auth_resp_code) = (resp_codes, auth_resp_code);
        for code in codes {
            let mut connection = greeted(extensions.clone());
            let out = ask(&mut connection, "USER a", &Response::err("no").with_code(code));
            let offered = resp_codes && (auth_resp_code || code == ResponseCode::IN_USE);
            let expected = if offered { format!("-ERR [{code}] no\r\n") } else { "-ERR no\r\n".to_owned() };
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

/// RFC 6856 section 2.1.
#[test]
fn stls_is_refused_after_utf8_and_within_tls() {
    let mut connection = greeted(everything());
    ask(&mut connection, "UTF8", &Response::err(""));
    assert!(!is_refused(&connection, "STLS"), "UTF8 failed");
    ask(&mut connection, "UTF8", &Response::ok(""));
    assert!(is_refused(&connection, "STLS"));
    let config = server::Config { extensions: everything(), tls: true, ..server::Config::default() };
    let mut connection = server::Connection::new(config);
    connection.send(&greeting(), &mut Vec::new()).unwrap();
    assert!(is_refused(&connection, "STLS") && connection.capabilities().all(|listed| listed != Capability::Stls));
}

/// RFC 1939 section 3: a line of a multi-line response that begins with a dot has one more in front, in listings too.
#[test]
fn a_line_of_a_listing_that_begins_with_a_dot_is_unstuffed() {
    let mut connection = client::Connection::new(client::Config::default());
    assert!(matches!(connection.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
    connection.send(&Command::Capa, &mut Vec::new()).unwrap();
    assert!(matches!(connection.receive(b"+OK\r\n"), Ok(Step::Event { .. })));
    for (line, tag) in [(&b"..X-NEW\r\n"[..], &b".X-NEW"[..]), (b"..\r\n", b"."), (b"...\r\n", b"..")] {
        let event = client::Event::Item(Item::Capability(Capability::Other { tag, arguments: None }));
        assert_eq!(connection.receive(line), Ok(Step::Event { consumed: line.len(), event }));
    }
    assert!(matches!(connection.receive(b".\r\n"), Ok(Step::Event { event: client::Event::End { .. }, .. })));
    connection.send(&Command::User(Name::new("a").unwrap()), &mut Vec::new()).unwrap();
}
