//! Reads the conversations in this folder, for the tests of any protocol: what each side says, where its octets are cut, and what came of it.

use std::path::Path;

/// One side's lines, up to where the other side speaks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Turn {
    Client(Vec<Vec<u8>>),
    Server(Vec<Vec<u8>>),
    Tls,
}

/// Every conversation of a protocol by its name; there are at least so many.
pub(crate) fn conversations_of(protocol: &str, least: usize) -> Vec<(String, Vec<Turn>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(protocol);
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let conversations: Vec<_> = files
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), turns(&text))
        })
        .collect();
    assert!(conversations.len() >= least, "conversations are missing");
    conversations
}

fn turns(text: &str) -> Vec<Turn> {
    let mut turns = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match (line.split_at_checked(3).unwrap_or((line, "")), turns.last_mut()) {
            (("C: ", line), Some(Turn::Client(lines))) => lines.push(octets(line)),
            (("S: ", line), Some(Turn::Server(lines))) => lines.push(octets(line)),
            (("C: ", line), _) => turns.push(Turn::Client(vec![octets(line)])),
            (("S: ", line), _) => turns.push(Turn::Server(vec![octets(line)])),
            (("TLS", ""), _) => turns.push(Turn::Tls),
            _ => panic!("{line}"),
        }
    }
    turns
}

/// A line with its CRLF, `\x..` undone.
fn octets(line: &str) -> Vec<u8> {
    let mut parts = line.split("\\x");
    let mut octets = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        octets.push(u8::from_str_radix(hex, 16).unwrap());
        octets.extend_from_slice(rest.as_bytes());
    }
    octets.extend_from_slice(b"\r\n");
    octets
}

pub(crate) fn text(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").unwrap()
}

/// Where the octets of a turn are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// Once, at this place; not at all where the turn is shorter.
    At(usize),
    /// Into pieces of this size.
    Pieces(usize),
}

impl Cut {
    /// Every cut that makes a difference to a conversation.
    pub(crate) fn all(turns: &[Turn]) -> impl Iterator<Item = Self> {
        let len = |turn: &Turn| match turn {
            Turn::Client(lines) | Turn::Server(lines) => lines.iter().map(Vec::len).sum(),
            Turn::Tls => 0,
        };
        let longest = turns.iter().map(len).max().unwrap_or(0);
        (0..=longest).map(Self::At).chain((1..9).map(Self::Pieces))
    }

    pub(crate) fn apply(self, octets: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::At(at) => <[_; 2]>::from(octets.split_at(at.min(octets.len()))).to_vec(),
            Self::Pieces(size) => octets.chunks(size).collect(),
        }
    }
}

/// What happened, a line each; pieces of a message are joined, because where they end is the network's choice.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) lines: Vec<String>,
    pub(crate) content: Vec<u8>,
}

impl Record {
    pub(crate) fn note(&mut self, event: String) {
        if !self.content.is_empty() {
            self.lines.push(format!("content {}", std::mem::take(&mut self.content).escape_ascii()));
        }
        self.lines.push(event);
    }
}
