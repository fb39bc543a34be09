//! `smtp-send`: one message to one server, by SMTP or LMTP. For looking at servers, and for scripts.
//!
//! | module | what it does |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`message`] | the file, looked at once before it is sent |
//! | [`stream`] | a socket, in the clear or in TLS, with a time limit on each read and write |
//! | [`transcript`] | what both sides say, on standard error |
//! | [`channel`] | the protocol's connection over the stream |
//! | [`login`] | SASL in the client's role |
//! | [`session`] | from the greeting to `QUIT` |
//! | [`report`] | what became of each recipient |
//! | [`failure`] | what went wrong, and its exit status |

pub mod arguments;
pub mod channel;
pub mod failure;
pub mod login;
pub mod message;
pub mod report;
pub mod session;
pub mod stream;
pub mod transcript;

use std::io::{self, Write};
use std::process::ExitCode;

use self::arguments::{Arguments, Task, USAGE};
use self::failure::Failure;
use self::report::Report;

/// Does what the command line says. The exit status is one of `sysexits.h`.
#[must_use]
pub fn run() -> ExitCode {
    match Arguments::parse(lexopt::Parser::from_env()) {
        Ok(Task::Help) => print(USAGE),
        Ok(Task::Version) => print(&format!("smtp-send {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Task::Send(arguments)) => send(&arguments),
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.status())
        }
    }
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(failure::IO),
    }
}

fn send(arguments: &Arguments) -> ExitCode {
    let mut report = Report::new(arguments.json, &arguments.recipients);
    let ended = session::run(arguments, &mut report);
    if let Err(failure) = &ended {
        complain(failure);
    }
    let written = report.write(ended.as_ref().err(), &mut io::stdout().lock());
    let status = report.status(ended.as_ref().err());
    ExitCode::from(if written.is_err() && status == 0 { failure::IO } else { status })
}

/// Where there is no standard error, the exit status says it.
fn complain(failure: &Failure) {
    let _ = writeln!(io::stderr(), "smtp-send: {failure}");
}
