//! What came of the cases.

use std::collections::BTreeMap;
use std::fmt;

use super::session::Failure;

/// What came of a case.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Passed,
    Failed(Failure),
    /// What is missing for it.
    Skipped(String),
}

/// A case and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    pub(crate) group: String,
    pub(crate) title: String,
    pub(crate) source: String,
    pub(crate) verdict: Verdict,
}

impl Scored {
    fn is(&self, level: &str) -> bool {
        self.source.starts_with(level)
    }
}

/// What came of all of them.
#[derive(Debug, Default)]
pub(crate) struct Score {
    pub(crate) cases: Vec<Scored>,
    /// What is wrong with the form of replies, whatever they answered.
    pub(crate) faults: Vec<String>,
}

impl Score {
    pub(crate) fn add(&mut self, scored: Scored) {
        self.cases.push(scored);
    }

    /// Those that failed at that level: `MUST`, `SHOULD`, `CHOICE`, or any for an empty one.
    pub(crate) fn failed(&self, level: &str) -> Vec<&Scored> {
        self.cases.iter().filter(|case| case.is(level) && matches!(case.verdict, Verdict::Failed(_))).collect()
    }
}

/// Passed of those that were run, by level, and how many were not run.
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: BTreeMap<&str, Vec<&Scored>> = BTreeMap::new();
        self.cases.iter().for_each(|case| groups.entry(&case.group).or_default().push(case));
        writeln!(f, "{:<18} {:>9} {:>9} {:>9} {:>8}", "", "MUST", "SHOULD", "CHOICE", "skipped")?;
        for (group, cases) in groups {
            row(f, group, &cases)?;
        }
        row(f, "all", &self.cases.iter().collect::<Vec<_>>())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, cases: &[&Scored]) -> fmt::Result {
    let skipped = cases.iter().filter(|case| matches!(case.verdict, Verdict::Skipped(_))).count();
    let share = |level: &str| {
        let run = cases.iter().filter(|case| case.is(level) && !matches!(case.verdict, Verdict::Skipped(_)));
        let passed = run.clone().filter(|case| matches!(case.verdict, Verdict::Passed)).count();
        match run.count() {
            0 => "-".to_owned(),
            count => format!("{passed}/{count}"),
        }
    };
    writeln!(f, "{name:<18} {:>9} {:>9} {:>9} {skipped:>8}", share("MUST"), share("SHOULD"), share("CHOICE"))
}

impl fmt::Display for Scored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, title, source, verdict } = self;
        match verdict {
            Verdict::Passed => writeln!(f, "passed  {group}: {title}"),
            Verdict::Skipped(missing) => writeln!(f, "skipped {group}: {title} (needs {missing})"),
            Verdict::Failed(failure) => {
                writeln!(f, "FAILED  {group}: {title}\n        {source}")?;
                failure.transcript.iter().try_for_each(|line| writeln!(f, "          {line}"))?;
                writeln!(f, "        expected {}, heard {}", failure.expected, failure.heard)
            }
        }
    }
}
