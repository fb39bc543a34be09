//! A mail server: SMTP, submission, LMTP and POP3, over Maildirs. `mailserver --help` says how to start it.

use std::process::ExitCode;

use postrider_examples::program::Program;

fn main() -> ExitCode {
    Program::Mailserver.run()
}
