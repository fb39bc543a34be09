//! Looks at mailboxes, checks, mends, splits and converts them. `mailconv --help` says how.

use std::process::ExitCode;

fn main() -> ExitCode {
    postrider_examples::mailconv::run()
}
