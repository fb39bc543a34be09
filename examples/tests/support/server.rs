//! Runs `mailserver` as a user does: as a program, on ports of its own.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const MAILSERVER: &str = env!("CARGO_BIN_EXE_mailserver");

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// By the names the log gives the protocols.
    pub(crate) addresses: HashMap<String, SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
}

/// A data directory with accounts, and a configuration with ports the system chooses.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new(more: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        let any = "\"127.0.0.1:0\"";
        let names = ["smtp", "submission", "submissions", "lmtp", "pop3", "pop3s"];
        let listen: String = names.iter().map(|name| format!("{name} = {any}\n")).collect();
        let data = site.data();
        let data = data.to_str().unwrap();
        std::fs::write(site.config(), format!("data = {data:?}\n{more}\n[listen]\n{listen}")).unwrap();
        site.user(&["user", "add", "anna"], "secret\n");
        site.user(&["user", "add", "bert"], "secret\n");
        site
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("mailserver.toml")
    }

    /// Runs the program to its end with `input`. Returns whether it succeeded, and what it said.
    pub(crate) fn user(&self, arguments: &[&str], input: &str) -> (bool, String) {
        run(Command::new(MAILSERVER).args(arguments).arg("--config").arg(self.config()), input)
    }

    pub(crate) fn start(&self) -> Server {
        let mut command = Command::new(MAILSERVER);
        command.arg("--config").arg(self.config()).args(["--log", "json"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut addresses = HashMap::new();
        while addresses.len() < 6 {
            let line = lines.next().expect("the server ended").unwrap();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "listening" {
                let address = line["address"].as_str().unwrap().parse().unwrap();
                addresses.insert(line["protocol"].as_str().unwrap().to_owned(), address);
            }
        }
        // Nobody may wait for a reader of the log.
        let log = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || lines.for_each(|line| kept.lock().unwrap().extend(line)));
        Server { child, addresses, log }
    }

    /// The files in `new` and `cur` of an account, without what the server puts before them.
    pub(crate) fn messages(&self, account: &str) -> Vec<String> {
        let maildir = self.data().join("mail").join(account);
        let files = ["new", "cur"].into_iter().filter_map(|name| std::fs::read_dir(maildir.join(name)).ok()).flatten();
        files.map(|file| without_trace(&file.unwrap().path())).collect()
    }
}

fn without_trace(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.split_inclusive('\n').peekable();
    assert!(lines.next().unwrap().starts_with("Return-Path: <"), "{text}");
    assert!(lines.next().unwrap().starts_with("Received: from "), "{text}");
    while lines.next_if(|line| line.starts_with('\t')).is_some() {}
    lines.collect()
}

/// Runs a program to its end with `input`. Returns whether it succeeded, and what it said.
pub(crate) fn run(command: &mut Command, input: &str) -> (bool, String) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

impl Server {
    pub(crate) fn connect(&self, protocol: &str) -> Peer {
        self.connect_from("127.0.0.1", protocol)
    }

    /// A connection from an address of this machine.
    pub(crate) fn connect_from(&self, source: &str, protocol: &str) -> Peer {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
            socket.connect(self.addresses[protocol]).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Peer(BufReader::new(stream))
    }

    /// Whether a line with all of these words is logged, soon or already.
    pub(crate) fn logs(&self, words: &[&str]) -> bool {
        let until = Instant::now() + Duration::from_secs(5);
        let is_there = || self.log.lock().unwrap().iter().any(|line| words.iter().all(|word| line.contains(word)));
        while !is_there() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        is_there()
    }

    /// How many lines with all of these words are logged.
    pub(crate) fn count_logs(&self, words: &[&str]) -> usize {
        self.log.lock().unwrap().iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    pub(crate) fn forget_logs(&self) {
        self.log.lock().unwrap().clear();
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and whether it ends in order.
    pub(crate) fn terminate(mut self) -> bool {
        self.signal_to_stop();
        self.child.wait().unwrap().success()
    }

    pub(crate) fn signal_to_stop(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other end of a connection.
pub(crate) struct Peer<S: Read = TcpStream>(pub(crate) BufReader<S>);

impl<S: Read + Write> Peer<S> {
    /// Says `line` and hears the last line of an SMTP reply, or the one line of POP3.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.say(&format!("{line}\r\n"));
        self.hear()
    }

    pub(crate) fn say(&mut self, octets: &str) {
        self.0.get_mut().write_all(octets.as_bytes()).unwrap();
    }

    /// The last line of a reply; empty where the server has closed.
    pub(crate) fn hear(&mut self) -> String {
        loop {
            let line = self.line();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// All that comes before the server closes, or breaks off because it has not read all.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8(rest).unwrap()
    }
}
