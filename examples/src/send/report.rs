//! What became of each recipient: a line each, and the exit status.

use std::io::{self, Write};

use postrider_smtp_proto::transfer::Outcome;
use postrider_smtp_proto::{Escaped, Reply};
use serde_json::{Value, json};

use super::arguments::Recipient;
use super::failure::{Failure, TEMPORARY, UNAVAILABLE, refusal};

/// What is told at the end.
#[derive(Debug)]
pub struct Report {
    json: bool,
    paths: Vec<String>,
    outcomes: Vec<Outcome>,
    /// Nothing was sent: who is taken is only accepted.
    probe: bool,
    /// Commands of the user's, and what was answered.
    answers: Vec<(String, Reply<'static>)>,
}

impl Report {
    /// Nobody has an outcome yet.
    #[must_use]
    pub fn new(json: bool, recipients: &[Recipient]) -> Self {
        let paths: Vec<_> = recipients.iter().map(|recipient| recipient.path.clone()).collect();
        let outcomes = vec![Outcome::Pending; paths.len()];
        Self { json, paths, outcomes, probe: false, answers: Vec::new() }
    }

    /// What became of them.
    pub fn outcomes(&mut self, outcomes: Vec<Outcome>) {
        self.outcomes = outcomes;
    }

    /// What the server thinks of a recipient, without a message.
    pub fn probed(&mut self, index: usize, reply: Reply<'static>) {
        self.probe = true;
        if let Some(outcome) = self.outcomes.get_mut(index) {
            *outcome = if reply.code().is_success() { Outcome::Taken(reply) } else { Outcome::Refused(reply) };
        }
    }

    /// What the server says to a command of the user's.
    pub fn answered(&mut self, command: &str, reply: Reply<'static>) {
        self.answers.push((command.to_owned(), reply));
    }

    /// The exit status. What was refused for good comes first: it is what somebody has to see to.
    #[must_use]
    pub fn status(&self, failure: Option<&Failure>) -> u8 {
        let refused = self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Refused(reply) => Some(refusal(reply)),
            _ => None,
        });
        let answered = self.answers.iter().map(|(_, reply)| reply).filter(|reply| reply.code().is_negative());
        let replies: Vec<_> = refused.chain(answered.map(refusal)).collect();
        match failure.map(Failure::status) {
            _ if replies.contains(&UNAVAILABLE) => UNAVAILABLE,
            Some(status) => status,
            None if replies.contains(&TEMPORARY) => TEMPORARY,
            None if self.outcomes.contains(&Outcome::Unsent) => TEMPORARY,
            None => 0,
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, failure: Option<&Failure>, out: &mut impl Write) -> io::Result<()> {
        for (command, reply) in &self.answers {
            match self.json {
                true => writeln!(out, "{}", with_reply(json!({ "command": command }), reply))?,
                false => reply.lines().try_for_each(|line| writeln!(out, "{} {}", reply.code(), Escaped(line)))?,
            }
        }
        // Where all went as it should, nothing was to be sent to those who have no outcome.
        let told = |outcome: &Outcome| failure.is_some() || *outcome != Outcome::Pending;
        for (path, outcome) in self.paths.iter().zip(&self.outcomes).filter(|(_, outcome)| told(outcome)) {
            if self.json {
                writeln!(out, "{}", self.object(path, outcome, failure))?;
            } else {
                match outcome {
                    Outcome::Taken(reply) | Outcome::Refused(reply) => {
                        writeln!(out, "{} {path} {reply}", self.word(outcome))?
                    }
                    _ => writeln!(out, "{} {path}", self.word(outcome))?,
                }
            }
        }
        out.flush()
    }

    fn word(&self, outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Taken(_) if self.probe => "accepted",
            Outcome::Taken(_) => "taken",
            Outcome::Refused(_) => "refused",
            Outcome::Uncertain => "uncertain",
            _ => "unsent",
        }
    }

    fn object(&self, path: &str, outcome: &Outcome, failure: Option<&Failure>) -> Value {
        let mut object = json!({ "recipient": path, "outcome": self.word(outcome) });
        match outcome {
            Outcome::Taken(reply) | Outcome::Refused(reply) => return with_reply(object, reply),
            _ => {}
        }
        if let (Some(failure), Some(fields)) = (failure, object.as_object_mut()) {
            fields.insert("error".to_owned(), failure.to_string().into());
        }
        object
    }
}

fn with_reply(mut object: Value, reply: &Reply<'_>) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("code".to_owned(), reply.code().as_u16().into());
        if let Some(enhanced) = reply.enhanced() {
            fields.insert("enhanced".to_owned(), enhanced.to_string().into());
        }
        let lines: Vec<_> = reply.lines().map(|line| Escaped(line).to_string()).collect();
        fields.insert("lines".to_owned(), lines.into());
    }
    object
}
