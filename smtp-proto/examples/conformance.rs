//! Scores any SMTP or LMTP server by the cases of `testdata/smtp-conformance`.
//!
//! ```sh
//! cargo run -p postrider-smtp-proto --example conformance -- 127.0.0.1:2525 --to user@domain --bad-to nobody@domain
//! ```
//!
//! It sends messages to the `--to` address. It ends with 0 if no MUST failed, 1 if one did, 2 if it could not be run.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[path = "../../testdata/conformance.rs"]
mod conformance;

use postrider_smtp_proto::{Command, Mechanism, Secret};

use conformance::{Connect, Received, Score, Target, Transport, Verdict, run, seeds};

const USAGE: &str = "conformance HOST:PORT --to USER@DOMAIN [options]
  --bad-to NOBODY@DOMAIN  an address that is refused; without it some cases are skipped
  --from USER@DOMAIN      the sender
  --ehlo NAME             what the client calls itself
  --lmtp                  speak LMTP
  --login NAME:PASSWORD   log in with PLAIN before each transaction
  --only GROUP            the cases of one file
  --wait SECONDS          how long an answer may take (10)
  --verbose               show what failed at SHOULD and CHOICE too, and what was skipped
conformance --seeds FOLDER  writes what clients say in the cases as inputs of the fuzz targets";

/// A server at the other end of a socket.
struct Socket(TcpStream);

impl Transport for Socket {
    fn send(&mut self, octets: &[u8]) {
        // A server that has closed is heard to have.
        let _ = self.0.write_all(octets);
    }

    fn receive(&mut self, wait: Duration) -> Received {
        let mut octets = [0; 4096];
        let read = self.0.set_read_timeout(Some(wait)).and_then(|()| self.0.read(&mut octets));
        match read {
            Ok(0) => Received::Closed,
            Ok(len) => Received::Octets(octets[..len].to_vec()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Received::Silence
            }
            Err(_) => Received::Closed,
        }
    }
}

fn connect(address: SocketAddr, wait: Duration) -> impl Connect {
    move || {
        let stream = TcpStream::connect_timeout(&address, wait)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(wait))?;
        Ok(Socket(stream))
    }
}

/// What the arguments ask for.
enum Task {
    Score { target: Box<Target>, address: SocketAddr, verbose: bool },
    Seeds(PathBuf),
}

fn arguments(mut words: impl Iterator<Item = String>) -> Option<Task> {
    let (mut address, mut target, mut to, mut verbose) = (None, Target::new(""), None, false);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--to" => to = Some(words.next()?),
            "--bad-to" => target.bad = Some(words.next()?),
            "--from" => target.from = words.next()?,
            "--ehlo" => target.name = words.next()?,
            "--wait" => target.wait = Duration::from_secs(words.next()?.parse().ok()?),
            "--login" => target.login = Some(login(&words.next()?)?),
            "--only" => target.only = Some(words.next()?),
            "--lmtp" => target.lmtp = true,
            "--verbose" => verbose = true,
            "--seeds" => return Some(Task::Seeds(words.next()?.into())),
            place => address = Some(place.to_socket_addrs().ok()?.next()?),
        }
    }
    target.to = to?;
    Some(Task::Score { target: Box::new(target), address: address?, verbose })
}

/// `NAME:PASSWORD` as an `AUTH PLAIN`.
fn login(words: &str) -> Option<String> {
    let (name, password) = words.split_once(':')?;
    let initial = Some(Secret::from(format!("\0{name}\0{password}").into_bytes()));
    let mut line = Vec::new();
    Command::Auth { mechanism: Mechanism::PLAIN, initial }.encode(&mut line);
    String::from_utf8(line).ok()
}

fn main() -> ExitCode {
    match arguments(std::env::args().skip(1)) {
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Some(Task::Seeds(folder)) => match seeds::write(&folder) {
            Ok(count) => {
                println!("{count} inputs below {}", folder.display());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{}: {error}", folder.display());
                ExitCode::from(2)
            }
        },
        Some(Task::Score { mut target, address, verbose }) => {
            let mut connect = connect(address, target.wait);
            let score = run(&mut target, &mut connect);
            report(&score, verbose);
            ExitCode::from(u8::from(!score.failed("MUST").is_empty()))
        }
    }
}

fn report(score: &Score, verbose: bool) {
    let wanted = if verbose { "" } else { "MUST" };
    score.failed(wanted).into_iter().for_each(|case| println!("{case}"));
    if verbose {
        score.cases.iter().filter(|case| matches!(case.verdict, Verdict::Skipped(_))).for_each(|case| print!("{case}"));
    }
    score.faults.iter().for_each(|fault| println!("reply: {fault:.160}"));
    println!("{score}");
}
