//! CPU time, the ways of a case in turn; and the gates on it.

use std::process::ExitCode;

use postrider_benches::measure::nanoseconds;
use postrider_benches::on_the_processor;
use postrider_benches::report::{Quantity, Report, selected};

fn main() -> ExitCode {
    let mut report = Report::new(Quantity::Nanoseconds);
    for mut case in selected(on_the_processor()) {
        let counts = nanoseconds(&mut case);
        report.add(&case, &counts);
    }
    report.finish()
}
