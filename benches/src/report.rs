//! Tables of figures, and whether the gates hold.

use std::process::ExitCode;

use criterion::Criterion;

use crate::case::{Build, Case, Gate};

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quantity {
    /// Calls of the allocator that gave memory.
    Allocations,
    /// Instructions executed in user space.
    Instructions,
    /// CPU time.
    Nanoseconds,
}

/// Prints a table for each case and remembers the gates that do not hold.
#[derive(Debug)]
pub struct Report {
    quantity: Quantity,
    broken: Vec<String>,
}

impl Report {
    /// An empty report.
    pub fn new(quantity: Quantity) -> Self {
        Self { quantity, broken: Vec::new() }
    }

    /// Adds a case with what was counted for one run of each of its ways.
    pub fn add(&mut self, case: &Case, counts: &[f64]) {
        let baseline = case.baseline();
        let what = match self.quantity {
            Quantity::Allocations => "allocations",
            Quantity::Instructions => "Ir",
            Quantity::Nanoseconds => "ns",
        };
        println!("\n{}: {what} per {}", case.name, case.unit);
        for (way, count) in case.ways.iter().zip(counts) {
            let ratio = match self.quantity {
                Quantity::Allocations => String::new(),
                _ => format!("{:9.3} x {}", count / counts[baseline], case.ways[baseline].name),
            };
            println!("  {:44} {:14.2} {ratio}", way.name, count / f64::from(case.units));
        }
        for gate in &case.gates {
            self.judge(case, gate, |name| {
                case.ways.iter().zip(counts).find(|(way, _)| way.name == name).map_or(f64::NAN, |(_, count)| *count)
            });
        }
    }

    fn judge(&mut self, case: &Case, gate: &Gate, count: impl Fn(&str) -> f64) {
        let (holds, gate) = match (self.quantity, *gate) {
            (Quantity::Allocations, Gate::NoAllocations(ours)) => {
                (count(ours) == 0.0, format!("{ours} allocates nothing"))
            }
            (Quantity::Instructions, Gate::Instructions { ours, other, at_most })
            | (Quantity::Nanoseconds, Gate::Time { ours, other, at_most }) => {
                (count(ours) / count(other) <= at_most, format!("{ours} at most {at_most} x {other}"))
            }
            _ => return,
        };
        println!("  {}: {gate}", if holds { "holds" } else { "BROKEN" });
        if !holds {
            self.broken.push(format!("{}: {gate}", case.name));
        }
    }

    /// The last word: failure when a gate does not hold.
    pub fn finish(self) -> ExitCode {
        if self.broken.is_empty() {
            return ExitCode::SUCCESS;
        }
        println!("\nGates that do not hold:\n  {}", self.broken.join("\n  "));
        ExitCode::FAILURE
    }
}

/// The cases whose names contain one of the words of the command line, or all; made, checked and warm.
pub fn selected(builds: impl Iterator<Item = Build>) -> impl Iterator<Item = Case> {
    // cargo adds options of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = move |case: &Case| words.is_empty() || words.iter().any(|word| case.name.contains(word));
    builds.map(|build| build()).filter(wanted).map(|mut case| {
        case.check();
        case
    })
}

/// Measures cases with criterion: wall time, and the rate of units.
pub fn with_criterion(builds: &[Build]) {
    let mut criterion = Criterion::default().configure_from_args();
    for build in builds {
        let mut case = build();
        case.check();
        let Case { name, units, input, ways, .. } = &mut case;
        let mut group = criterion.benchmark_group(&*name);
        group.throughput(criterion::Throughput::Elements(u64::from(*units)));
        for way in ways {
            group.bench_function(way.name, |bencher| bencher.iter(|| way.run(input)));
        }
        group.finish();
    }
    criterion.final_summary();
}
