//! Runs the cases of `smtp-conformance/` against a server and keeps the score: in memory for tests, over a socket for any other server.
//!
//! What brings octets to the server is a [`Transport`]; what is known of the server is a [`Target`]; [`run`] gives the [`Score`].

#[path = "conformance/cases.rs"]
mod cases;
#[path = "conformance/score.rs"]
mod score;
#[path = "conformance/seeds.rs"]
pub(crate) mod seeds;
#[path = "conformance/session.rs"]
mod session;
#[path = "conformance/states.rs"]
mod states;
#[path = "conformance/target.rs"]
mod target;

pub(crate) use cases::groups;
pub(crate) use score::{Score, Verdict};
pub(crate) use session::{Received, Transport};
pub(crate) use target::Target;

use cases::{Case, Taken, Turn};
use score::Scored;
use session::{Failure, Heard, Session, fits};
use std::io;

/// Makes a connection to the server for each case.
pub(crate) trait Connect: FnMut() -> io::Result<Self::Transport> {
    type Transport: Transport;
}

impl<F: FnMut() -> io::Result<T>, T: Transport> Connect for F {
    type Transport = T;
}

/// Every case of every file, and every walk through the table of states.
pub(crate) fn run(target: &mut Target, connect: &mut impl Connect) -> Score {
    let mut score = Score::default();
    target.offered = offered(target, connect).unwrap_or_default();
    let wanted = |group: &str| target.only.as_deref().is_none_or(|only| only == group);
    for (group, cases) in groups().into_iter().filter(|(group, _)| wanted(group)) {
        for case in cases {
            let verdict = case.run(target, connect, &mut score);
            score.add(Scored { group: group.clone(), title: case.title, source: case.source, verdict });
        }
    }
    if wanted("states") {
        states::run(target, connect, &mut score);
    }
    score
}

/// What the server lists when it is greeted.
fn offered(target: &Target, connect: &mut impl Connect) -> Result<Vec<String>, Failure> {
    let mut session = begun("greeting", target, connect)?;
    session.say(&target.expand("{hello} {name}\\r\\n").unwrap_or_default());
    match session.hear(target.wait) {
        Heard::Reply { lines, .. } => Ok(lines.into_iter().skip(1).collect()),
        _ => Ok(Vec::new()),
    }
}

/// The steps to where a case begins, each with the reply it needs.
const STEPS: [(&str, &str, &str); 7] = [
    ("connect", "", ""),
    ("greeting", "", "220"),
    ("named", "{hello} {name}\\r\\n", "250"),
    ("hello", "{login}", "235"),
    ("mail", "MAIL FROM:<{from}>\\r\\n", "250"),
    ("rcpt", "RCPT TO:<{to}>\\r\\n", "25."),
    ("data", "DATA\\r\\n", "354"),
];

/// A session that has come as far as `place`.
fn begun<C: Connect>(place: &str, target: &Target, connect: &mut C) -> Result<Session<C::Transport>, Failure> {
    let mut session = Session::new(connect().map_err(|error| Failure::unheard(format!("cannot connect: {error}")))?);
    for (name, line, reply) in STEPS {
        let said = target.expand(line);
        session.say(said.as_deref().unwrap_or_default());
        if !reply.is_empty() && said.is_some() {
            session.expect(reply, target.wait)?;
        }
        if name == place {
            return Ok(session);
        }
    }
    panic!("{place} is no place to begin at")
}

impl Case {
    fn run(&self, target: &Target, connect: &mut impl Connect, score: &mut Score) -> Verdict {
        if let Some(missing) = target.lacks(&self.needs) {
            return Verdict::Skipped(missing);
        }
        let Some(turns) = self.expanded(target) else { return Verdict::Skipped("an address or a limit".to_owned()) };
        match self.play(&turns, target, connect, score) {
            Ok(None) => Verdict::Passed,
            Ok(Some(reason)) => Verdict::Skipped(reason.to_owned()),
            Err(failure) => Verdict::Failed(failure),
        }
    }

    /// What each turn says, in octets.
    fn expanded(&self, target: &Target) -> Option<Vec<(&Turn, Vec<u8>)>> {
        self.turns.iter().map(|turn| Some((turn, target.expand(&turn.say)?))).collect()
    }

    /// `Ok` with a reason when it cannot be played to its end here.
    fn play(
        &self,
        turns: &[(&Turn, Vec<u8>)],
        target: &Target,
        connect: &mut impl Connect,
        score: &mut Score,
    ) -> Result<Option<&'static str>, Failure> {
        let mut session = begun(&self.begin, target, connect)?;
        for (turn, octets) in turns {
            if session.is_over() {
                break;
            }
            if turn.when.as_ref().is_some_and(|when| !fits(when, session.last())) {
                continue;
            }
            if turn.tls && !session.secure() {
                return Ok(Some("TLS"));
            }
            session.say(octets);
            for pattern in &turn.hear {
                session.expect(pattern, target.wait)?;
                if session.is_over() {
                    break;
                }
            }
        }
        if self.probe {
            session.quit(target.wait)?;
        }
        score.faults.append(&mut session.faults);
        self.judge(&session, target)?;
        Ok(None)
    }

    /// Whether what the server took is what was sent, where that can be seen.
    fn judge<T: Transport>(&self, session: &Session<T>, target: &Target) -> Result<(), Failure> {
        let Some(messages) = session.messages() else { return Ok(()) };
        let shown =
            |messages: &[Vec<u8>]| messages.iter().map(|one| one.escape_ascii().to_string()).collect::<Vec<_>>();
        let sound = match &self.taken {
            Taken::Unsaid => true,
            Taken::Exactly(expected) => {
                let expected: Vec<_> = expected.iter().filter_map(|one| target.expand(one)).collect();
                messages == expected
            }
            Taken::AtMost(wire) => {
                let whole = read(&target.expand(wire).unwrap_or_default());
                messages.len() < 2 && messages.iter().all(|one| *one == whole || *one == normalised(&whole))
            }
        };
        if sound {
            Ok(())
        } else {
            Err(session.failure(&format!("messages {:?}", self.taken), shown(messages).join(", ")))
        }
    }
}

/// A message without its end and its dot-stuffing, read as RFC 5321 section 4.5.2 has it: line by line, and only CRLF ends a line.
fn read(wire: &[u8]) -> Vec<u8> {
    let (mut message, mut rest) = (Vec::new(), wire);
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, after) = rest.split_at(end + 2);
        if line == b".\r\n" {
            break;
        }
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        rest = after;
    }
    message
}

/// Each CR and LF that stands alone become CRLF.
fn normalised(message: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut before = 0;
    for (at, &octet) in message.iter().enumerate() {
        match octet {
            b'\n' if before == b'\r' => lines.push(octet),
            b'\n' => lines.extend_from_slice(b"\r\n"),
            b'\r' if message.get(at + 1) != Some(&b'\n') => lines.extend_from_slice(b"\r\n"),
            _ => lines.push(octet),
        }
        before = octet;
    }
    lines
}
