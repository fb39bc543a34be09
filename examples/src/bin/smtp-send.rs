//! Sends a message by SMTP or LMTP, and shows how. `smtp-send --help` says what it can be told.

use std::process::ExitCode;

fn main() -> ExitCode {
    postrider_examples::send::run()
}
