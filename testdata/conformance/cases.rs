//! Reads the files of `smtp-conformance/`: dialogs, and the table of messages that must not end early. Its README explains the forms.

use std::path::PathBuf;

/// A case: one connection, and what has to be heard on it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) title: String,
    /// `MUST`, `SHOULD` or `CHOICE` and where that is written.
    pub(crate) source: String,
    pub(crate) needs: Vec<String>,
    /// How far the session has come: see [`STEPS`](super::STEPS).
    pub(crate) begin: String,
    pub(crate) turns: Vec<Turn>,
    pub(crate) taken: Taken,
    /// Whether both sides must agree at the end where they are.
    pub(crate) probe: bool,
}

/// What the client says in one write, and the replies to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// Only if the reply before it fits this.
    pub(crate) when: Option<String>,
    pub(crate) tls: bool,
    pub(crate) say: String,
    pub(crate) hear: Vec<String>,
}

/// The messages that have come of it.
#[derive(Clone, Debug)]
pub(crate) enum Taken {
    Unsaid,
    Exactly(Vec<String>),
    /// None, or the one that stands on the wire like this.
    AtMost(String),
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/smtp-conformance")
}

/// The cases of every file, by the file's name.
pub(crate) fn groups() -> Vec<(String, Vec<Case>)> {
    let files = std::fs::read_dir(folder()).expect("the folder of cases");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file of cases").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    paths.sort();
    let groups = paths.into_iter().map(|path| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("a file of cases"))
    });
    groups.filter(|(name, _)| name != "states").map(|(name, text)| (name, cases(&text))).collect()
}

fn cases(text: &str) -> Vec<Case> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ") && *line != "#");
    let mut cases = Vec::new();
    let (mut source, mut needs) = (String::new(), Vec::new());
    for line in lines {
        if let Some(title) = line.strip_prefix("## ") {
            cases.push(Case::new(title));
            source.clear();
        } else if is_source(line) {
            line.clone_into(&mut source);
            cases.last_mut().into_iter().for_each(|case| case.source.clone_from(&source));
        } else if let Some([name, places, replies, octets]) = row(line) {
            cases.retain(|case| !case.turns.is_empty());
            cases.extend(places.split(' ').map(|place| message(name, place, replies, octets, &source, &needs)));
        } else if let Some(words) = line.strip_prefix("table needs: ") {
            needs = words.split(' ').map(str::to_owned).collect();
        } else {
            cases.last_mut().unwrap_or_else(|| panic!("{line} is in no case")).read(line);
        }
    }
    for case in &cases {
        assert!(is_source(&case.source) && !case.turns.is_empty(), "{} is not whole", case.title);
    }
    cases
}

fn is_source(line: &str) -> bool {
    ["MUST ", "SHOULD ", "CHOICE "].iter().any(|level| line.starts_with(level))
}

impl Case {
    fn new(title: &str) -> Self {
        let (needs, turns) = (Vec::new(), Vec::new());
        let begin = "hello".to_owned();
        Self { title: title.to_owned(), source: String::new(), needs, begin, turns, taken: Taken::Unsaid, probe: true }
    }

    fn read(&mut self, line: &str) {
        let (key, value) = line.split_once([':', '>']).unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let end = if line.get(key.len()..).is_some_and(|rest| rest.starts_with('>')) { "" } else { "\\r\\n" };
        match key.split_once([' ', '*']).unwrap_or((key, "")) {
            ("needs", "") => self.needs = value.split(' ').map(str::to_owned).collect(),
            ("begin", "") => value.clone_into(&mut self.begin),
            ("probe", "") => self.probe = value != "no",
            ("taken", "") => self.take(value),
            ("TLS", "") => self.turns.push(Turn { tls: true, ..Turn::default() }),
            ("C", when) => self.say(when, &format!("{value}{end}")),
            ("S", count) => self.hear(value, if count.is_empty() { 1 } else { count.parse().expect("a count") }),
            _ => panic!("{line} is neither said nor heard"),
        }
    }

    fn take(&mut self, message: &str) {
        match &mut self.taken {
            Taken::Exactly(messages) => messages.push(message.to_owned()),
            taken => *taken = Taken::Exactly((message != "nothing").then(|| message.to_owned()).into_iter().collect()),
        }
    }

    /// Lines one after the other go out in one write.
    fn say(&mut self, when: &str, octets: &str) {
        match self.turns.last_mut() {
            Some(turn) if turn.hear.is_empty() && when.is_empty() => turn.say.push_str(octets),
            _ => {
                let when = (!when.is_empty()).then(|| when.to_owned());
                self.turns.push(Turn { when, say: octets.to_owned(), ..Turn::default() });
            }
        }
    }

    fn hear(&mut self, pattern: &str, count: usize) {
        pattern.split('|').for_each(|alternative| assert!(is_pattern(alternative), "{alternative} is no reply"));
        if self.turns.is_empty() {
            self.turns.push(Turn::default());
        }
        let hear = self.turns.last_mut().map(|turn| &mut turn.hear);
        hear.into_iter().for_each(|hear| hear.extend(std::iter::repeat_n(pattern.to_owned(), count)));
    }
}

pub(crate) fn is_pattern(text: &str) -> bool {
    let code = text.split(' ').next().unwrap_or_default();
    let is_code = code.len() == 3 && code.bytes().all(|octet| octet == b'.' || octet.is_ascii_digit());
    is_code || matches!(text, "closed" | "silence")
}

/// `name | places | reply | octets`.
fn row(line: &str) -> Option<[&str; 4]> {
    let parts: Vec<_> = line.split(" | ").map(str::trim).collect();
    parts.try_into().ok()
}

/// What would be answered if the message ended too early.
const SMUGGLED: &str = "MAIL FROM:<smuggled@client.example>\\r\\nRCPT TO:<{to}>\\r\\nDATA\\r\\nsmuggled";
const HEADER: &str = "Subject: kit\\r\\n\\r\\none";
const END: &str = "\\r\\n.\\r\\n";

/// A message with `octets` at that place.
fn message(name: &str, place: &str, reply: &str, octets: &str, source: &str, needs: &[String]) -> Case {
    let wire = match place {
        "start" => format!("{octets}{SMUGGLED}{END}"),
        "middle" => format!("{HEADER}{octets}{SMUGGLED}{END}"),
        "last" => format!("{HEADER}{octets}{END}"),
        "only" => format!("{octets}{END}"),
        // What ends the message by itself.
        "ends" => format!("{HEADER}{octets}"),
        "whole" => octets.to_owned(),
        _ => panic!("{place} is no place in a message"),
    };
    let say = |say: &str, hear: &str| Turn { say: say.to_owned(), hear: vec![hear.to_owned()], ..Turn::default() };
    assert!(reply.split('|').all(is_pattern), "{reply} is no reply");
    Case {
        title: format!("{name}, {place}"),
        source: source.to_owned(),
        needs: needs.to_vec(),
        begin: "data".to_owned(),
        turns: vec![say(&wire, reply), say("NOOP\\r\\n", "250|closed")],
        taken: Taken::AtMost(wire),
        probe: true,
    }
}
