//! Reads `states.txt` and walks through it: each command in each state, and each command after that.

use std::collections::{BTreeMap, BTreeSet};

use super::cases::{folder, is_pattern};
use super::score::{Score, Scored, Verdict};
use super::session::{Failure, Session, Transport, fits};
use super::{Connect, Target};

/// The table.
#[derive(Debug, Default)]
struct States {
    source: String,
    /// What each command says.
    lines: BTreeMap<String, String>,
    needs: BTreeMap<String, Vec<String>>,
    /// Commands that are only said first: each costs the server something.
    first: Vec<String>,
    /// The commands that lead to a state.
    ways: Vec<(String, Vec<String>)>,
    /// What each command may be answered with in each state, and the state after that.
    cells: BTreeMap<(String, String), String>,
    commands: Vec<String>,
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A reply and the state after it.
fn transition<'c>(alternative: &'c str, state: &'c str) -> (&'c str, &'c str) {
    alternative.split_once('>').unwrap_or((alternative, state))
}

impl States {
    fn read() -> Self {
        let text = std::fs::read_to_string(folder().join("states.txt")).expect("the table of states");
        let (mut states, mut columns) = (Self::default(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once(':').unwrap_or((line, ""));
            match key.split_once(' ') {
                Some(("line", name)) => drop(states.lines.insert(name.to_owned(), format!("{}\\r\\n", value.trim()))),
                Some(("needs", name)) => drop(states.needs.insert(name.to_owned(), words(value))),
                Some(("first", name)) => states.first.push(name.to_owned()),
                Some(("reach", name)) => states.ways.push((name.to_owned(), words(value))),
                Some(("MUST", _)) => line.clone_into(&mut states.source),
                Some(("in", _)) => columns = words(line).split_off(1),
                _ => states.row(line, &columns),
            }
        }
        states
    }

    fn row(&mut self, line: &str, columns: &[String]) {
        let cells = words(line);
        assert!(cells.len() == columns.len() + 1 && self.lines.contains_key(&cells[0]), "{line}");
        for (state, cell) in columns.iter().zip(&cells[1..]) {
            for (reply, next) in cell.split('|').filter(|_| cell != "-").map(|one| transition(one, state)) {
                let is_state = next == "closed" || self.ways.iter().any(|(name, _)| name == next);
                assert!(is_pattern(reply) && is_state, "{line}");
            }
            self.cells.insert((cells[0].clone(), state.clone()), cell.clone());
        }
        self.commands.push(cells[0].clone());
    }

    fn cell(&self, command: &str, state: &str) -> Option<&str> {
        let cell = self.cells.get(&(command.to_owned(), state.to_owned()))?;
        (cell != "-").then_some(cell)
    }

    fn needs_extension(&self, command: &str) -> bool {
        self.needs.get(command).is_some_and(|needs| needs.iter().any(|need| need != "SMTP"))
    }

    /// Whether the server offers what `command` needs.
    fn is_there(&self, command: &str, target: &Target) -> bool {
        self.needs.get(command).is_none_or(|needs| target.lacks(needs).is_none())
            && target.expand(&self.lines[command]).is_some()
    }
}

/// One way through the table.
struct Walk<'w, T> {
    states: &'w States,
    target: &'w Target,
    session: Session<T>,
    state: String,
    /// Those of the transaction.
    recipients: usize,
    logged_in: bool,
    /// It began with `EHLO`: after `HELO` there are no extensions.
    extended: bool,
}

impl<T: Transport> Walk<'_, T> {
    /// Says `command` if it can be said here.
    fn step(&mut self, command: &str) -> Result<(), Failure> {
        let Some(cell) = self.states.cell(command, &self.state) else { return Ok(()) };
        // RFC 5321 section 3.8: 421 may answer anything.
        if self.session.is_over() || !self.extended && self.states.needs_extension(command) {
            return Ok(());
        }
        self.session.say(&self.target.expand(&self.states.lines[command]).unwrap_or_default());
        let heard = self.session.hear(self.target.wait);
        let fitting = cell.split('|').map(|one| transition(one, &self.state)).find(|(reply, _)| fits(reply, &heard));
        let Some(next) = fitting.map(|(_, next)| next.to_owned()) else {
            let asked = format!("{cell} to {command} in {}", self.state);
            return Err(self.session.failure(&asked, format!("{heard:?}")));
        };
        if command == "message" && self.target.lmtp {
            (1..self.recipients).try_for_each(|_| self.session.expect("2..|5..", self.target.wait))?;
        }
        self.recipients += usize::from(command.starts_with("RCPT") && fits("25.", &heard));
        self.state = next;
        if self.state == "hello" && ["EHLO", "HELO"].contains(&command) {
            self.extended = command == "EHLO";
        }
        if command == "EHLO" && self.state == "hello" {
            self.log_in()?;
        }
        if ["hello", "mail"].contains(&self.state.as_str()) {
            self.recipients = 0;
        }
        Ok(())
    }

    /// Once, where the server wants it.
    fn log_in(&mut self) -> Result<(), Failure> {
        match self.target.expand("{login}") {
            Some(login) if !std::mem::replace(&mut self.logged_in, true) => {
                self.session.say(&login);
                self.session.expect("235", self.target.wait)
            }
            _ => Ok(()),
        }
    }

    /// Out of a message, and out of the session.
    fn leave(&mut self) -> Result<(), Failure> {
        if self.state == "data" {
            self.step("message")?;
        }
        // What a server makes of QUIT between chunks is a case of its own.
        if self.state == "chunk" && self.states.is_there("BDAT-last", self.target) {
            self.step("BDAT-last")?;
        }
        if self.state == "closed" && !self.session.is_over() {
            self.session.expect("closed", self.target.wait)
        } else {
            self.session.quit(self.target.wait)
        }
    }
}

impl States {
    fn walk(&self, commands: &[&str], target: &Target, connect: &mut impl Connect) -> Result<(), Failure> {
        let transport = connect().map_err(|error| Failure::unheard(format!("cannot connect: {error}")))?;
        let session = Session::new(transport);
        let mut walk = Walk {
            states: self,
            target,
            session,
            state: "greeting".to_owned(),
            recipients: 0,
            logged_in: false,
            extended: true,
        };
        walk.session.expect("220", target.wait)?;
        commands.iter().try_for_each(|command| walk.step(command))?;
        walk.leave()
    }

    /// Every place of the table that the server can be asked about.
    fn places<'s>(&'s self, target: &Target) -> Vec<Place<'s>> {
        let mut places = Vec::new();
        for (state, way) in &self.ways {
            for command in self.commands.iter().filter(|command| self.cell(command, state).is_some()) {
                let possible = way.iter().chain([command]).all(|command| self.is_there(command, target));
                places.push(Place { state, way, command, possible });
            }
        }
        places
    }

    /// The command of a place, and then each that its own place does not speak against.
    fn after(
        &self,
        place: &Place<'_>,
        failed: &BTreeSet<&str>,
        target: &Target,
        connect: &mut impl Connect,
    ) -> Result<(), Failure> {
        let after = self.commands.iter().filter(|after| !self.first.contains(after) && self.is_there(after, target));
        let start = place.commands();
        for after in after.filter(|after| !failed.contains(after.as_str())) {
            self.walk(&[&start[..], &[after]].concat(), target, connect)?;
        }
        Ok(())
    }
}

/// A command in a state.
struct Place<'s> {
    state: &'s str,
    way: &'s [String],
    command: &'s str,
    /// Whether the server offers what it takes to get there.
    possible: bool,
}

impl<'s> Place<'s> {
    fn commands(&self) -> Vec<&'s str> {
        self.way.iter().map(String::as_str).chain([self.command]).collect()
    }
}

/// Every command in every state by itself, then with each command after it. One that is answered wrongly in some state is not said after others:
/// it would be blamed on them.
pub(crate) fn run(target: &Target, connect: &mut impl Connect, score: &mut Score) {
    let states = States::read();
    let places = states.places(target);
    let alone = |place: &Place<'_>, connect: &mut _| states.walk(&place.commands(), target, connect);
    let results: Vec<_> = places.iter().map(|place| place.possible.then(|| alone(place, connect))).collect();
    let wrong = places.iter().zip(&results).filter(|(_, result)| matches!(result, Some(Err(_))));
    let failed: BTreeSet<&str> = wrong.map(|(place, _)| place.command).collect();
    for (place, result) in places.iter().zip(results) {
        let verdict = match result.map(|result| result.and_then(|()| states.after(place, &failed, target, connect))) {
            None => Verdict::Skipped("an extension or an address".to_owned()),
            Some(Ok(())) => Verdict::Passed,
            Some(Err(failure)) => Verdict::Failed(failure),
        };
        let (group, title) = ("states".to_owned(), format!("{} in {}", place.command, place.state));
        score.add(Scored { group, title, source: states.source.clone(), verdict });
    }
}
