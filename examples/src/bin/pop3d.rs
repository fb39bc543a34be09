//! A POP3 server over Maildirs: the same parts as `mailserver`, without the rest.

use std::process::ExitCode;

use postrider_examples::program::Program;

fn main() -> ExitCode {
    Program::Pop3d.run()
}
