//! Instructions of a second run of each way, counted by callgrind; and the gates on them.
//!
//! The program runs itself again under valgrind. Callgrind collects in one function only and writes a file each time that function returns.

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

use postrider_benches::measure::{COLLECTED, run_while_callgrind_collects};
use postrider_benches::on_the_processor;
use postrider_benches::report::{Quantity, Report, selected};

/// Set for the program within valgrind.
const WITHIN: &str = "POSTRIDER_WITHIN_CALLGRIND";

/// Otherwise a copy is one instruction an octet, where the processor has a fast `rep movsb`.
const TUNABLES: &str = "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::var_os(WITHIN).is_some() {
        for mut case in selected(on_the_processor()) {
            for way in &mut case.ways {
                run_while_callgrind_collects(way, &case.input);
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: no instructions were counted, and no gate was checked");
        return Ok(ExitCode::FAILURE);
    }
    let scratch = tempfile::tempdir()?;
    count(scratch.path())?;
    let (mut report, mut dumps) = (Report::new(Quantity::Instructions), 1..);
    for case in selected(on_the_processor()) {
        let files = dumps.by_ref().take(case.ways.len());
        let counts: Vec<_> =
            files.map(|n| total(&scratch.path().join(format!("dump.{n}")))).collect::<Result<_, _>>()?;
        report.add(&case, &counts);
    }
    Ok(report.finish())
}

/// Leaves `dump.1`, `dump.2` … in `scratch`, one for each way of each case.
fn count(scratch: &Path) -> Result<(), Box<dyn Error>> {
    let [collected, left] = COLLECTED;
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={collected}"))
        .arg(format!("--dump-after={left}"))
        .arg(format!("--callgrind-out-file={}", scratch.join("dump").display()))
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(WITHIN, "1")
        .env("GLIBC_TUNABLES", TUNABLES)
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("valgrind failed: {status}").into()) }
}

/// The sum of a dump.
fn total(dump: &Path) -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string(dump).map_err(|error| format!("{}: {error}", dump.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("a dump without totals")?;
    Ok(total.trim().parse()?)
}
