//! `smtp-send` against servers that follow a script, and against `mailserver`.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/server.rs"]
mod server;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls_pki_types::PrivateKeyDer;
use server::Site;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

const SMTP_SEND: &str = env!("CARGO_BIN_EXE_smtp-send");
const MESSAGE: &str = "Subject: hello\n\n.\n..dots\nthe end\n";
const ENVELOPE: [&str; 4] = ["--from", "me@example.org", "--to", "anna@example.org"];
const FULL: &str = "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000000000\r\n250-8BITMIME\r\n250-DSN\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n";

/// A server for one connection.
struct Script {
    port: u16,
    done: JoinHandle<()>,
}

/// The other end of a connection.
struct Peer(BufReader<TcpStream>);

/// What a program left behind.
struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl Script {
    fn new(plays: impl FnOnce(&mut Peer) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let done = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            plays(&mut Peer(BufReader::new(stream)));
        });
        Self { port, done }
    }

    /// Runs the program against it, with `input` as its standard input.
    fn run(self, options: &[&str], input: &str) -> Ran {
        let ran = finish(start(self.port, options), input);
        self.done.join().unwrap();
        ran
    }
}

fn start(port: u16, options: &[&str]) -> Child {
    let mut command = Command::new(SMTP_SEND);
    command.args(["--helo", "client.example"]).args(options).arg(format!("127.0.0.1:{port}"));
    command.env("SMTP_PASSWORD", "hunter2 secret");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(mut child: Child, input: &str) -> Ran {
    let mut stdin = child.stdin.take().unwrap();
    // A program that gives up early does not read it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    Ran { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

impl Peer {
    fn say(&mut self, octets: &str) {
        self.0.get_mut().write_all(octets.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Hears a line that has to be this, and answers.
    fn answer(&mut self, line: &str, reply: &str) {
        assert_eq!(self.line(), format!("{line}\r\n"));
        self.say(reply);
    }

    fn greet(&mut self, capabilities: &str) {
        self.say("220 mx.example\r\n");
        self.answer("EHLO client.example", capabilities);
    }

    /// What comes before the line of one dot.
    fn content(&mut self) -> String {
        let mut content = String::new();
        loop {
            match self.line() {
                line if line == ".\r\n" => return content,
                line if line.is_empty() => panic!("{content}"),
                line => content += &line,
            }
        }
    }

    fn bye(&mut self) {
        self.answer("QUIT", "221 bye\r\n");
        assert_eq!(self.line(), "");
    }
}

/// Takes a message from a client that pipelines, without a look at its parameters.
fn take(peer: &mut Peer, rcpt: &str, end: &str) -> String {
    peer.greet(FULL);
    assert!(peer.line().starts_with("MAIL FROM:<me@example.org>"));
    assert!(peer.line().starts_with("RCPT TO:<anna@example.org>"));
    peer.answer("DATA", &format!("250 ok\r\n{rcpt}354 go\r\n"));
    let content = peer.content();
    peer.say(end);
    content
}

fn join(options: &[&'static str]) -> Vec<&'static str> {
    [&ENVELOPE[..], options].concat()
}

#[test]
fn each_recipient_has_a_line_and_the_exit_status_tells_the_worst() {
    for (second, end, status, says) in [
        ("250 fine", "250 2.0.0 queued", 0, "taken <bert@example.org> 250 2.0.0 queued\n"),
        ("450 4.2.1 busy", "250 ok", 75, "refused <bert@example.org> 450 4.2.1 busy\n"),
        ("550 5.1.1 nobody", "250 ok", 69, "refused <bert@example.org> 550 5.1.1 nobody\n"),
        ("550 nobody", "451 later", 69, "refused <bert@example.org> 550 nobody\n"),
        ("250 fine", "451 later", 75, "refused <bert@example.org> 451 later\n"),
        ("250 fine", "554 no", 69, "refused <bert@example.org> 554 no\n"),
    ] {
        let script = Script::new(move |peer| {
            peer.greet(FULL);
            peer.answer("MAIL FROM:<me@example.org> SIZE=38", "");
            peer.answer("RCPT TO:<anna@example.org>", "");
            peer.answer("RCPT TO:<bert@example.org>", "");
            peer.answer("DATA", &format!("250 ok\r\n250 ok\r\n{second}\r\n354 go\r\n"));
            assert_eq!(peer.content(), "Subject: hello\r\n\r\n..\r\n...dots\r\nthe end\r\n");
            peer.say(&format!("{end}\r\n"));
            peer.bye();
        });
        let ran = script.run(&join(&["--to", "bert@example.org"]), MESSAGE);
        assert_eq!((ran.status, ran.err.as_str()), (status, ""), "{}", ran.out);
        assert!(ran.out.ends_with(says) && ran.out.lines().count() == 2, "{}", ran.out);
    }
}

#[test]
fn json_has_an_object_for_each_recipient() {
    let script = Script::new(|peer| {
        take(peer, "250 ok\r\n", "250-2.0.0 taken\r\n250 2.0.0 as 1\r\n");
        peer.bye();
    });
    let ran = script.run(&join(&["--json"]), MESSAGE);
    let object: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let lines = ["taken", "as 1"];
    let all = serde_json::json!({ "recipient": "<anna@example.org>", "outcome": "taken", "code": 250, "enhanced": "2.0.0", "lines": lines });
    assert_eq!(object, all);
}

#[test]
fn the_transcript_shows_neither_password_nor_content() {
    let auth = "250-mx.example\r\n250 AUTH LOGIN PLAIN\r\n";
    for (mechanism, plays) in [
        ("PLAIN", [("AUTH PLAIN AGFubmEAaHVudGVyMiBzZWNyZXQ=", "235 in\r\n")].as_slice()),
        (
            "LOGIN",
            &[
                ("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n"),
                ("YW5uYQ==", "334 UGFzc3dvcmQ6\r\n"),
                ("aHVudGVyMiBzZWNyZXQ=", "235 in\r\n"),
            ],
        ),
    ] {
        let script = Script::new(move |peer| {
            peer.greet(auth);
            plays.iter().for_each(|(line, reply)| peer.answer(line, reply));
            peer.answer("MAIL FROM:<me@example.org>", "250 ok\r\n");
            peer.answer("RCPT TO:<anna@example.org>", "250 ok\r\n");
            peer.answer("DATA", "354 go\r\n");
            peer.content();
            peer.say("250 taken\r\n");
            peer.bye();
        });
        let ran = script.run(&join(&["-v", "--user", "anna", "--mechanism", mechanism, "--allow-plaintext"]), MESSAGE);
        assert_eq!(ran.status, 0, "{}", ran.err);
        for secret in ["hunter2", "aHVudGVy", "YW5uYQ", "AGFubmE", "VXNlcm5", "the end", "dots"] {
            assert!(!ran.err.contains(secret), "{}", ran.err);
        }
        for shown in [
            "< 220 mx.example\n> EHLO client.example\n< 250-mx.example\n",
            &format!("> AUTH {mechanism}"),
            "(hidden)\n",
            "< 235 in\n> MAIL FROM:<me@example.org>\n< 250 ok\n",
            "< 354 go\n> (43 octets, the final dot among them)\n< 250 taken\n> QUIT\n< 221 bye\n",
        ] {
            assert!(ran.err.contains(shown), "{shown} {}", ran.err);
        }
    }
}

#[test]
fn nothing_a_server_says_moves_the_cursor() {
    let script = Script::new(|peer| {
        peer.say("220 \x1b[2J\x07mx\r\n");
        peer.answer("EHLO client.example", FULL);
        peer.line();
        peer.line();
        peer.answer("DATA", "250 ok\r\n550 \x1b]0;owned\x07 \u{9b}31m no\r\n503 no\r\n");
        peer.answer("RSET", "250 ok\r\n");
        peer.bye();
    });
    let ran = script.run(&join(&["-v"]), MESSAGE);
    let controls = |text: &str| text.chars().any(|char| char.is_control() && char != '\n');
    assert!(!controls(&ran.out) && !controls(&ran.err), "{:?} {:?}", ran.out, ran.err);
    assert_eq!(ran.status, 69);
    assert!(ran.out.contains("refused <anna@example.org> 550 \\u{1b}]0;owned\\u{7} \\u{9b}31m no"), "{}", ran.out);
}

#[test]
fn what_a_server_says_before_it_closes_within_a_message_is_kept() {
    let script = Script::new(|peer| {
        peer.greet(FULL);
        peer.line();
        peer.line();
        peer.answer("DATA", "250 ok\r\n250 ok\r\n354 go\r\n");
        let mut piece = [0; 65536];
        peer.0.read_exact(&mut piece).unwrap();
        peer.say("552 5.3.4 enough\r\n");
    });
    let ran = script.run(&ENVELOPE, &"0123456789abcdef\n".repeat(1 << 20));
    assert_eq!(ran.out, "refused <anna@example.org> 552 5.3.4 enough\n");
    assert_eq!((ran.status, ran.err.as_str()), (69, ""));
}

#[test]
fn a_refused_chunk_is_kept_too() {
    let script = Script::new(|peer| {
        peer.greet(FULL);
        peer.line();
        peer.answer("RCPT TO:<anna@example.org>", "250 ok\r\n250 ok\r\n");
        // 65,536 octets of the file, whose line ends become longer.
        assert_eq!(peer.line(), "BDAT 69905\r\n");
        peer.say("552 5.3.4 enough\r\n");
    });
    let ran = script.run(&join(&["--bdat"]), &"0123456789abcd\n".repeat(1 << 20));
    assert_eq!(ran.out, "refused <anna@example.org> 552 5.3.4 enough\n");
    assert_eq!(ran.status, 69, "{}", ran.err);
}

#[test]
fn a_server_that_goes_away_leaves_nobody_in_doubt_but_after_the_end() {
    let within = Script::new(|peer| {
        peer.greet(FULL);
        peer.line();
    });
    let ran = within.run(&ENVELOPE, MESSAGE);
    assert_eq!((ran.status, ran.out.as_str()), (74, "unsent <anna@example.org>\n"), "{}", ran.err);
    assert!(ran.err.starts_with("smtp-send: "), "{}", ran.err);
    let after = Script::new(|peer| drop(take(peer, "250 ok\r\n", "")));
    let ran = after.run(&ENVELOPE, MESSAGE);
    assert_eq!((ran.status, ran.out.as_str()), (74, "uncertain <anna@example.org>\n"), "{}", ran.err);
    assert!(ran.err.contains("closed the connection within the transaction"), "{}", ran.err);
}

#[test]
fn a_server_that_neither_speaks_nor_reads_holds_nobody_up() {
    let (release, waits) = channel::<()>();
    let silent = Script::new(move |_| {
        let _ = waits.recv();
    });
    let began = Instant::now();
    let ran = finish(start(silent.port, &join(&["--timeout", "0.5"])), MESSAGE);
    assert!(ran.err.contains("the server did not answer within 0.5 s"), "{}", ran.err);
    assert_eq!(ran.status, 74);
    drop(release);

    let slow = Script::new(|peer| {
        peer.greet(FULL);
        peer.line();
        for _ in 0..100 {
            // A reply that never becomes whole.
            if peer.0.get_mut().write_all(b"2").is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    let ran = finish(start(slow.port, &join(&["--timeout", "0.5"])), MESSAGE);
    assert_eq!((ran.status, ran.out.as_str()), (74, "unsent <anna@example.org>\n"), "{}", ran.err);
    assert!(ran.err.contains("did not answer within 0.5 s"), "{}", ran.err);
    assert!(began.elapsed() < Duration::from_secs(6));

    let (release, waits) = channel::<()>();
    let deaf = Script::new(move |peer| {
        peer.greet(FULL);
        peer.line();
        peer.line();
        peer.answer("DATA", "250 ok\r\n250 ok\r\n354 go\r\n");
        let _ = waits.recv();
    });
    let ran = finish(start(deaf.port, &join(&["--timeout", "0.5"])), &"0123456789abcdef\n".repeat(1 << 21));
    assert!(ran.err.contains("the server did not read within 0.5 s"), "{}", ran.err);
    assert_eq!((ran.status, ran.out.as_str()), (74, "unsent <anna@example.org>\n"));
    assert!(began.elapsed() < Duration::from_secs(30));
    drop(release);
}

#[test]
fn octets_behind_the_220_of_starttls_are_refused() {
    for injected in ["250 hello\r\n", "x"] {
        let script = Script::new(move |peer| {
            peer.greet("250-mx\r\n250 STARTTLS\r\n");
            peer.answer("STARTTLS", &format!("220 go\r\n{injected}"));
            assert_eq!(peer.line(), "", "neither TLS nor anything else follows");
        });
        let ran = script.run(&join(&["-v"]), MESSAGE);
        assert!(ran.err.contains("in plain text after STARTTLS (RFC 3207 section 4.2)"), "{}", ran.err);
        assert_eq!((ran.status, ran.out.as_str()), (76, "unsent <anna@example.org>\n"));
    }
}

#[test]
fn nothing_is_said_in_the_clear_once_tls_has_failed() {
    let script = Script::new(|peer| {
        peer.greet("250-mx\r\n250 STARTTLS\r\n");
        peer.answer("STARTTLS", "220 go\r\n");
        // The beginning of a handshake, which no server of TLS answers so.
        peer.0.read_exact(&mut [0; 64]).unwrap();
        peer.say("250 no TLS here\r\n");
        let mut rest = Vec::new();
        let _ = peer.0.read_to_end(&mut rest);
        assert!(!rest.windows(4).any(|word| word == b"QUIT"));
    });
    let ran = script.run(&join(&["-v"]), MESSAGE);
    assert_eq!((ran.status, ran.out.as_str()), (76, "unsent <anna@example.org>\n"), "{}", ran.err);
    assert!(ran.err.contains("no TLS: ") && !ran.err.contains("QUIT"), "{}", ran.err);
}

#[test]
fn starttls_is_tried_required_or_not_said() {
    let refused = || {
        Script::new(|peer| {
            peer.greet("250-mx\r\n250 STARTTLS\r\n");
            peer.answer("STARTTLS", "454 4.7.0 not now\r\n");
            peer.answer("QUIT", "221 bye\r\n");
        })
    };
    assert_eq!(refused().run(&["--quit-after", "ehlo"], "").status, 0);
    let ran = refused().run(&["--quit-after", "ehlo", "--starttls", "require"], "");
    assert_eq!((ran.status, ran.err.as_str()), (75, "smtp-send: STARTTLS is refused: 454 4.7.0 not now\n"));
    let without = Script::new(|peer| {
        peer.greet("250 mx\r\n");
        peer.bye();
    });
    let ran = without.run(&["--quit-after", "ehlo", "--starttls", "require"], "");
    assert_eq!((ran.status, ran.err.as_str()), (69, "smtp-send: the server does not offer STARTTLS\n"));
    let never = Script::new(|peer| {
        peer.greet("250-mx\r\n250 STARTTLS\r\n");
        peer.bye();
    });
    assert_eq!(never.run(&["--quit-after", "ehlo", "--starttls", "never"], "").status, 0);
}

#[test]
fn helo_follows_where_ehlo_is_not_known_and_only_there() {
    for (reply, falls_back, status) in [
        ("500 what", true, 0),
        ("502 what", true, 0),
        ("550 go away", false, 69),
        ("554 go away", false, 69),
        ("450 later", false, 75),
        ("421 later", false, 75),
    ] {
        let script = Script::new(move |peer| {
            peer.greet(&format!("{reply}\r\n"));
            if falls_back {
                peer.answer("HELO client.example", "250 mx\r\n");
            }
            if !reply.starts_with("421") {
                peer.bye();
            }
        });
        let ran = script.run(&["--quit-after", "ehlo"], "");
        assert_eq!(ran.status, status, "{reply}: {}", ran.err);
    }
}

#[test]
fn a_refused_session_leaves_all_unsent() {
    for (greeting, status) in [("421 too busy", 75), ("450 later", 75), ("554 5.7.1 not you", 69)] {
        let script = Script::new(move |peer| {
            peer.say(&format!("{greeting}\r\n"));
            let _ = peer.line();
        });
        let ran = script.run(&ENVELOPE, MESSAGE);
        assert_eq!((ran.status, ran.out.as_str()), (status, "unsent <anna@example.org>\n"));
        assert_eq!(ran.err, format!("smtp-send: the session is refused: {greeting}\n"));
    }
    let closing = Script::new(|peer| {
        peer.greet(FULL);
        peer.line();
        peer.line();
        peer.answer("DATA", "421 4.3.2 shutting down\r\n");
    });
    let ran = closing.run(&ENVELOPE, MESSAGE);
    assert_eq!((ran.status, ran.out.as_str()), (75, "refused <anna@example.org> 421 4.3.2 shutting down\n"));
}

#[test]
fn what_is_no_smtp_is_a_protocol_error() {
    for said in ["SSH-2.0-OpenSSH_9.2\r\n", "220-mx\r\n250 mx\r\n", "\x16\x03\x01\x00\x01\x01\r\n"] {
        let ran = Script::new(move |peer| peer.say(said)).run(&ENVELOPE, MESSAGE);
        assert_eq!(ran.status, 76, "{}", ran.err);
    }
    let ran = Script::new(|peer| peer.say("220 LF\n")).run(&["-v", "--quit-after", "ehlo"], "");
    assert!(ran.status == 74 && ran.err.contains("* an unfinished reply: 220 LF\\n\n"), "{}", ran.err);
}

#[test]
fn the_message_decides_about_its_parameters_and_the_server_whether_it_can_go() {
    let german = "Subject: gr\u{fc}n\n\ngr\u{fc}n\n";
    for (message, options, mail) in [
        ("a\nb\n", &[][..], "SIZE=6"),
        ("Subject: x\n\ngr\u{fc}n\n", &[], "BODY=8BITMIME SIZE=21"),
        (german, &[], "BODY=8BITMIME SIZE=25 SMTPUTF8"),
        (german, &["--no-smtputf8", "--no-size", "--body", "7bit"], "BODY=7BIT"),
        ("a\n", &["--mail-parameter", "SIZE=99", "--ret", "hdrs", "--envid", "a=b"], "SIZE=99 RET=hdrs ENVID=a+3Db"),
        ("a\n", &["--priority", "5", "--by", "100;N", "--prdr", "--mail-parameter", "X-Y=1"], "X-Y=1 SIZE=3"),
    ] {
        let script = Script::new(move |peer| {
            peer.greet(FULL);
            let said = peer.line();
            let said = said.trim_end().strip_prefix("MAIL FROM:<me@example.org> ").unwrap();
            assert_eq!(sorted(said), sorted(mail));
            peer.line();
            peer.answer("DATA", "250 ok\r\n250 ok\r\n354 go\r\n");
            peer.content();
            peer.say("250 ok\r\n");
            peer.bye();
        });
        let ran = script.run(&join(options), message);
        assert_eq!(ran.status, 0, "{}", ran.err);
        let left_out = "smtp-send: left out, since the server does not offer it: BY, MT-PRIORITY, PRDR\n";
        assert_eq!(ran.err, if options.contains(&"--prdr") { left_out } else { "" });
    }
    for (message, capabilities, options, says) in [
        ("gr\u{fc}n\n", "250 mx\r\n", &["--no-smtputf8"][..], "BODY=8BITMIME"),
        (german, "250-mx\r\n250 8BITMIME\r\n", &[], "SMTPUTF8"),
        ("a long message\n", "250-mx\r\n250 SIZE 10\r\n", &[], "16 octets exceeds the server's limit of 10"),
        ("a\0b\n", FULL, &[], "BODY=BINARYMIME"),
        ("a\n", FULL, &["--hold-for", "60"], "does not hold"),
        ("a\n", FULL, &["--requiretls"], "REQUIRETLS"),
        ("a\n", FULL, &["--by", "100;R"], "DELIVERBY"),
        ("a\n", "250-mx\r\n250 8BITMIME\r\n", &["--to", "b\u{fc}cher@example.org"], "SMTPUTF8"),
    ] {
        let script = Script::new(move |peer| {
            peer.greet(capabilities);
            let _ = peer.line();
        });
        let ran = script.run(&join(options), message);
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
        assert_eq!(ran.status, 65, "{}", ran.err);
    }
}

fn sorted(words: &str) -> Vec<&str> {
    let mut words: Vec<_> = words.split(' ').collect();
    words.sort_unstable();
    words
}

#[test]
fn stray_line_ends_are_made_crlf_or_refused_before_anything_is_said() {
    let script = Script::new(|peer| {
        assert_eq!(take(peer, "250 ok\r\n", "250 ok\r\n"), "a\r\nb\r\n\r\nc\r\n");
        peer.bye();
    });
    assert_eq!(script.run(&ENVELOPE, "a\rb\n\rc").status, 0);
    let ran = finish(start(1, &join(&["--line-endings", "reject"])), "a\r\nb\n");
    assert_eq!(ran.status, 65);
    assert!(ran.err.contains("bare LF in the message at octet 4"), "{}", ran.err);
}

#[test]
fn chunks_are_of_the_size_that_is_wanted_and_follow_each_other() {
    let script = Script::new(|peer| {
        peer.greet(FULL);
        peer.line();
        peer.answer("RCPT TO:<anna@example.org>", "250 ok\r\n250 ok\r\n");
        let mut all = String::new();
        for _ in 0..4 {
            all += &peer.line();
        }
        // Without an end of its own: the size says where it is.
        assert_eq!(all, "BDAT 5\r\n.\r\n\r\nBDAT 4 LAST\r\n");
        let mut last = [0; 4];
        peer.0.read_exact(&mut last).unwrap();
        assert_eq!(&last, b"\r\n.x");
        peer.say("250 ok\r\n250 taken\r\n");
        peer.bye();
    });
    let ran = script.run(&join(&["--bdat", "--chunk", "3", "-v"]), ".\n\n\n.x");
    assert_eq!((ran.status, ran.out.as_str()), (0, "taken <anna@example.org> 250 taken\n"), "{}", ran.err);
    assert!(ran.err.contains("> BDAT 4 LAST\n> (4 octets)\n"), "{}", ran.err);
}

#[test]
fn lmtp_tells_of_each_recipient_after_the_message() {
    let script = Script::new(|peer| {
        peer.say("220 mx LMTP\r\n");
        peer.answer("LHLO client.example", "250-mx\r\n250 PIPELINING\r\n");
        peer.line();
        peer.line();
        peer.line();
        peer.answer("DATA", "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
        peer.content();
        peer.say("250 2.0.0 anna has it\r\n452 4.2.2 bert is full\r\n");
        peer.bye();
    });
    let ran = script.run(&join(&["--lmtp", "--to", "bert@example.org"]), MESSAGE);
    let says = "taken <anna@example.org> 250 2.0.0 anna has it\nrefused <bert@example.org> 452 4.2.2 bert is full\n";
    assert_eq!((ran.status, ran.out.as_str()), (75, says));
}

#[test]
fn a_probe_says_what_the_server_thinks_and_sends_nothing() {
    let script = Script::new(|peer| {
        peer.greet(FULL);
        peer.answer("VRFY anna", "252 2.5.0 try\r\n");
        peer.answer("ETRN example.org", "502 no\r\n");
        peer.answer("MAIL FROM:<> RET=full", "250 ok\r\n");
        peer.answer("RCPT TO:<a@b> NOTIFY=never", "250 2.1.5 fine\r\n");
        peer.answer("RCPT TO:<c@d> NOTIFY=never ORCPT=rfc822;x@y", "550 5.1.1 nobody\r\n");
        peer.bye();
    });
    let command = "--command|VRFY anna|--command|ETRN example.org";
    let words =
        format!("{command}|--quit-after|rcpt|--ret|full|--from|<>|--notify|never|--to|a@b|--to|c@d|--orcpt|x@y");
    let ran = script.run(&words.split('|').collect::<Vec<_>>(), "");
    assert_eq!(ran.out, "252 try\n502 no\naccepted <a@b> 250 2.1.5 fine\nrefused <c@d> 550 5.1.1 nobody\n");
    assert_eq!(ran.status, 69, "{}", ran.err);
    let greeting = Script::new(|peer| {
        peer.say("220 mx\r\n");
        peer.bye();
    });
    assert_eq!(greeting.run(&["--quit-after", "connect"], "").status, 0);
}

#[test]
fn after_xclient_the_session_begins_anew() {
    let script = Script::new(|peer| {
        peer.greet("250-mx\r\n250-XFORWARD NAME ADDR\r\n250 XCLIENT NAME ADDR\r\n");
        peer.answer("XCLIENT NAME=spike.example ADDR=192.0.2.1", "220 mx\r\n");
        peer.answer("EHLO client.example", "250-mx\r\n250 XFORWARD NAME ADDR\r\n");
        peer.answer("XFORWARD NAME=far.example", "250 ok\r\n");
        peer.bye();
    });
    let xclient = "NAME=spike.example ADDR=192.0.2.1";
    let options = ["--quit-after", "ehlo", "--xclient", xclient, "--xforward", "NAME=far.example"];
    let ran = script.run(&options, "");
    assert_eq!(ran.status, 0, "{}", ran.err);
}

#[test]
fn a_login_that_is_refused_says_so_and_no_password_goes_where_all_can_read_it() {
    for (reply, status) in [("535 5.7.8 no", 77), ("454 4.7.0 later", 75)] {
        let script = Script::new(move |peer| {
            peer.greet("250-mx\r\n250 AUTH PLAIN\r\n");
            peer.answer("AUTH PLAIN AGFubmEAaHVudGVyMiBzZWNyZXQ=", &format!("{reply}\r\n"));
            peer.bye();
        });
        let ran = script.run(&join(&["--user", "anna", "--allow-plaintext"]), MESSAGE);
        assert_eq!((ran.status, ran.err), (status, format!("smtp-send: login refused: {reply}\n")));
        assert_eq!(ran.out, "unsent <anna@example.org>\n");
    }
    for options in [&["--user", "anna"][..], &["--user", "anna", "--mechanism", "LOGIN"]] {
        let script = Script::new(move |peer| {
            peer.greet("250-mx\r\n250 AUTH PLAIN LOGIN\r\n");
            peer.bye();
        });
        let ran = script.run(&join(options), MESSAGE);
        assert!(ran.status == 77 && ran.err.contains("there is no TLS"), "{}", ran.err);
    }
}

#[test]
fn no_password_goes_to_a_server_whose_certificate_is_not_verified() {
    let site = Site::new("");
    let server = site.start();
    let (submission, submissions) = (server.addresses["submission"], server.addresses["submission over TLS"]);
    let ca = site.data().join("tls/cert.pem");
    let ca = ["--ca", ca.to_str().unwrap()];
    let send = |address: SocketAddr, options: &[&str]| {
        let mut command = Command::new(SMTP_SEND);
        command.args(["--from", "anna@localhost", "--to", "bert@localhost", "--user", "anna"]).args(options);
        server::run(command.arg(address.to_string()).env("SMTP_PASSWORD", "secret"), MESSAGE)
    };
    let cannot = "cannot log in: the certificate is not verified";
    for mechanism in ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"] {
        for (address, tls) in [(submission, &["--starttls", "require"][..]), (submissions, &["--tls"])] {
            let (sent, said) = send(address, &[tls, &["--mechanism", mechanism]].concat());
            assert!(!sent && said.contains(cannot), "{mechanism}: {said}");
        }
    }
    for options in [&["--allow-unverified"][..], &["--allow-plaintext"], &ca] {
        let (sent, said) = send(submissions, &[&["--tls", "--mechanism", "PLAIN"], options].concat());
        assert!(sent, "{options:?}: {said}");
    }
    // It does not stand for no TLS at all; and what shows no password needs no leave.
    let (sent, said) = send(submission, &["--starttls", "never", "--mechanism", "PLAIN", "--allow-unverified"]);
    assert!(!sent && said.contains("there is no TLS"), "{said}");
    assert!(send(submissions, &["--tls"]).0);
}

/// A server that does not know the password cannot go on by saying 235.
#[test]
fn scram_wants_the_server_to_prove_itself() {
    let script = Script::new(|peer| {
        peer.greet("250-mx\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n");
        assert!(peer.line().starts_with("AUTH SCRAM-SHA-256 biws"));
        peer.say("235 in\r\n");
        peer.bye();
    });
    let ran = script.run(&join(&["--user", "anna"]), MESSAGE);
    assert!(ran.status == 77 && ran.err.contains("has not proved"), "{}", ran.err);
    // "r", "r=a,s": rsasl would look for what is behind them. And more iterations than anybody has time for.
    for challenge in ["cg==", "cj1hLHM=", "cj1hLHM9UVE9PSxpPTQyOTQ5NjcyOTU="] {
        let broken = Script::new(move |peer| {
            peer.greet("250-mx\r\n250 AUTH SCRAM-SHA-1\r\n");
            peer.line();
            peer.say(&format!("334 {challenge}\r\n"));
            peer.answer("*", "501 cancelled\r\n");
            peer.bye();
        });
        assert_eq!(broken.run(&join(&["--user", "anna"]), MESSAGE).status, 77);
    }
}

#[test]
fn tokens_and_certificates_log_in_too() {
    for (mechanism, line) in [
        ("XOAUTH2", "AUTH XOAUTH2 dXNlcj1hbm5hAWF1dGg9QmVhcmVyIGh1bnRlcjIgc2VjcmV0AQE="),
        ("OAUTHBEARER", "AUTH OAUTHBEARER bixhPWFubmEsAWF1dGg9QmVhcmVyIGh1bnRlcjIgc2VjcmV0AQE="),
        ("EXTERNAL", "AUTH EXTERNAL YW5uYQ=="),
    ] {
        let script = Script::new(move |peer| {
            peer.greet("250-mx\r\n250 AUTH XOAUTH2 OAUTHBEARER EXTERNAL\r\n");
            peer.answer(line, "334 eyJzdGF0dXMiOiI0MDEifQ==\r\n");
            peer.answer("", "535 5.7.8 no\r\n");
            peer.bye();
        });
        let options = ["--user", "anna", "--mechanism", mechanism, "--allow-plaintext", "--quit-after", "ehlo"];
        let ran = script.run(&options, "");
        assert_eq!((ran.status, ran.err.as_str()), (77, "smtp-send: login refused: 535 5.7.8 no\n"));
    }
}

#[test]
fn a_file_and_what_a_shell_left_of_standard_input_are_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("message");
    std::fs::write(&path, "skipped\nSubject: x\n\nbody\n").unwrap();
    let expects = |content: &'static str| {
        Script::new(move |peer| {
            assert_eq!(take(peer, "250 ok\r\n", "250 ok\r\n"), content);
            peer.bye();
        })
    };
    let script = expects("skipped\r\nSubject: x\r\n\r\nbody\r\n");
    let mut command = Command::new(SMTP_SEND);
    command.args(["--helo", "client.example"]).args(ENVELOPE).arg(format!("127.0.0.1:{}", script.port)).arg(&path);
    assert!(command.status().unwrap().success());
    script.done.join().unwrap();

    let script = expects("Subject: x\r\n\r\nbody\r\n");
    let mut file = File::open(&path).unwrap();
    let mut skipped = [0; 8];
    file.read_exact(&mut skipped).unwrap();
    let mut command = Command::new(SMTP_SEND);
    command.args(["--helo", "client.example"]).args(ENVELOPE).arg(format!("127.0.0.1:{}", script.port)).arg("-");
    assert!(command.stdin(file).status().unwrap().success());
    script.done.join().unwrap();

    let ran = finish(start(1, &join(&["--lmtp", "/no/such/server", "/no/such/message"])), "");
    assert_eq!(ran.status, 64, "three words are one too many: {}", ran.err);
    let mut command = Command::new(SMTP_SEND);
    let output = command.args(ENVELOPE).args(["127.0.0.1:1", "/no/such/message"]).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert_eq!(output.stderr, b"smtp-send: cannot open \"/no/such/message\": No such file or directory (os error 2)\n");
}

/// The most memory a process has had, in octets.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
#[cfg(target_os = "linux")]
fn a_message_of_any_size_takes_the_same_memory() {
    const LINES: usize = 768 << 10;
    for options in [&[][..], &["--bdat"]] {
        let (tell, pid) = channel();
        let script = Script::new(move |peer| swallow(peer, &pid));
        let mut child = start(script.port, &join(options));
        tell.send(child.id()).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let block = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\n".repeat(LINES / 1024);
        stdin.write_all(b"\n").unwrap();
        (0..1024).for_each(|_| stdin.write_all(block.as_bytes()).unwrap());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"taken <anna@example.org> 250 ok\n");
        script.done.join().unwrap();
    }
}

/// Takes a message of 48 MiB, and looks at the sender while it waits for the answer.
fn swallow(peer: &mut Peer, pid: &Receiver<u32>) {
    peer.greet(FULL);
    peer.line();
    peer.line();
    peer.say("250 ok\r\n250 ok\r\n");
    let mut line = peer.line();
    if line == "DATA\r\n" {
        peer.say("354 go\r\n");
        while line != ".\r\n" {
            line.clear();
            peer.0.read_line(&mut line).unwrap();
        }
    } else {
        while !line.contains("LAST") {
            line = bdat(peer, &line);
            peer.say("250 ok\r\n");
        }
        bdat(peer, &line);
    }
    let peak = peak(pid.recv().unwrap());
    assert!(peak < 16 << 20, "{peak} octets");
    peer.say("250 ok\r\n");
    peer.bye();
}

/// Takes a chunk. Returns the line behind it, if one is to follow.
fn bdat(peer: &mut Peer, line: &str) -> String {
    let size: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    std::io::copy(&mut peer.0.by_ref().take(size), &mut std::io::sink()).unwrap();
    if line.contains("LAST") { String::new() } else { peer.line() }
}

#[test]
fn a_submission_with_starttls_and_a_login_arrives() {
    let site = Site::new("");
    let server = site.start();
    let (submission, submissions) = (server.addresses["submission"], server.addresses["submission over TLS"]);
    let ca = site.data().join("tls/cert.pem");
    let ca = ca.to_str().unwrap();
    for (address, mechanism, tls) in [
        (submission, "SCRAM-SHA-256", &["--starttls", "require"][..]),
        (submission, "SCRAM-SHA-1", &[]),
        (submissions, "PLAIN", &["--tls"]),
        (submissions, "LOGIN", &["--tls"]),
    ] {
        let mut command = Command::new(SMTP_SEND);
        command.args([
            "--from",
            "anna@localhost",
            "--to",
            "bert@localhost",
            "--user",
            "anna",
            "--mechanism",
            mechanism,
        ]);
        command.args(["--ca", ca, &address.to_string()]).args(tls).env("SMTP_PASSWORD", "secret");
        let (ok, said) = server::run(&mut command, MESSAGE);
        assert!(ok && said.starts_with("taken <bert@localhost> 250 "), "{mechanism}: {said}");
    }
    // What a user leaves out is added.
    let is_added = |line: &&str| line.starts_with("Date: ") || line.starts_with("Message-ID: ");
    let without_added = |message: String| message.split_inclusive('\n').filter(|line| !is_added(line)).collect();
    let stored: Vec<String> = site.messages("bert").into_iter().map(without_added).collect();
    assert_eq!(stored, vec![MESSAGE.to_owned(); 4]);
    let mut command = Command::new(SMTP_SEND);
    command.args(["--tls", "--quit-after", "ehlo", "--ca", ca, "--tls-name", "elsewhere.example"]);
    let output = command.arg(submissions.to_string()).output().unwrap();
    assert_eq!(output.status.code(), Some(76));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not valid for name"), "{output:?}");
    let output = Command::new(SMTP_SEND).args(["--tls", "--quit-after", "ehlo"]).arg(submissions.to_string()).output();
    let output = output.unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("is not verified"));
}

/// Says one `EHLO` and one `AUTH EXTERNAL` over TLS, to a client whose certificate it wants. Returns that certificate.
fn wants_certificate(config: ServerConfig, stream: TcpStream) -> Vec<u8> {
    let connection = ServerConnection::new(Arc::new(config)).unwrap();
    let mut tls = BufReader::new(StreamOwned::new(connection, stream));
    let mut line = String::new();
    tls.get_mut().write_all(b"220 mx\r\n").unwrap();
    for (says, reply) in [
        ("EHLO client.example\r\n", "250-mx\r\n250 AUTH EXTERNAL\r\n"),
        ("AUTH EXTERNAL =\r\n", "235 welcome\r\n"),
        ("QUIT\r\n", "221 bye\r\n"),
    ] {
        line.clear();
        tls.read_line(&mut line).unwrap();
        assert_eq!(line, says);
        tls.get_mut().write_all(reply.as_bytes()).unwrap();
    }
    tls.get_ref().conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn our_own_certificate_is_shown_and_external_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let der = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let secret = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier).with_single_cert(vec![der.clone()], secret).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let shown = thread::spawn(move || wants_certificate(config, listener.accept().unwrap().0));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let identity = ["--cert", certificate, "--key", key, "--ca", certificate, "--mechanism", "EXTERNAL"];
    let ran = finish(start(port, &[&identity[..], &["--tls", "--quit-after", "ehlo"]].concat()), "");
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert_eq!(shown.join().unwrap(), der.to_vec());
}
