//! A message that was accepted with 250 is there after SIGKILL, whole, whenever it strikes.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

#[path = "support/server.rs"]
mod server;
use server::Site;

const ROUNDS: usize = 8;
const CLIENTS: usize = 8;

/// What the server has accepted.
type Accepted = Mutex<Vec<String>>;

#[test]
fn what_was_accepted_survives_kill_9_at_any_moment() {
    let (site, accepted) = (Site::new(""), Accepted::default());
    for round in 0..ROUNDS {
        let server = site.start();
        let (smtp, lmtp) = (server.addresses["SMTP"], server.addresses["LMTP"]);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (address, hello) = if client % 2 == 0 { (smtp, "EHLO") } else { (lmtp, "LHLO") };
                let name = format!("{round}-{client}");
                let accepted = &accepted;
                scope.spawn(move || send_until_killed(address, hello, &name, accepted));
            }
            // Each round ends at another point of the work.
            std::thread::sleep(Duration::from_millis(150 + 37 * round as u64));
            server.kill();
        });
    }
    let accepted = accepted.into_inner().unwrap();
    let (mut anna, bert) = (site.messages("anna"), site.messages("bert"));
    assert!(accepted.len() > ROUNDS * CLIENTS, "only {} messages were accepted", accepted.len());
    for message in &accepted {
        assert!(anna.contains(message), "lost: {}", &message[..message.len().min(60)]);
        assert!(bert.contains(message), "lost for the second: {}", &message[..message.len().min(60)]);
    }
    // Those that were not accepted are there whole or not at all.
    anna.extend(bert);
    assert!(anna.iter().all(|message| message.ends_with("the end\n")), "a message is torn");
}

/// Sends numbered messages to both accounts, and notes which were accepted.
fn send_until_killed(address: SocketAddr, hello: &str, name: &str, accepted: &Accepted) {
    let Ok(stream) = TcpStream::connect(address) else { return };
    let mut stream = BufReader::new(stream);
    let replies = if hello == "LHLO" { 2 } else { 1 };
    let greeted = say(&mut stream, &format!("{hello} c\r\n"), 2);
    for number in 0.. {
        // Some wait in memory, some are on the disk before their end comes.
        let text = "0123456789\n".repeat(if number % 5 == 4 { 20_000 } else { number });
        let message = format!("Subject: {name}-{number}\n\n{text}the end\n");
        let envelope = "MAIL FROM:<a@b>\r\nRCPT TO:<anna@localhost>\r\nRCPT TO:<bert@localhost>\r\nDATA\r\n";
        if greeted.is_none() || say(&mut stream, envelope, 4).is_none() {
            return;
        }
        let wire = format!("{}.\r\n", message.replace('\n', "\r\n"));
        match say(&mut stream, &wire, replies) {
            Some(answers) if answers.iter().all(|answer| answer.starts_with("250")) => {
                accepted.lock().unwrap().push(message);
            }
            _ => return,
        }
    }
}

/// Says `octets` and hears `count` replies; `None` when the server is gone.
fn say(stream: &mut BufReader<TcpStream>, octets: &str, count: usize) -> Option<Vec<String>> {
    stream.get_mut().write_all(octets.as_bytes()).ok()?;
    let mut replies = Vec::new();
    while replies.len() < count {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.as_bytes().get(3) == Some(&b' ') {
            replies.push(line);
        }
    }
    Some(replies)
}
