//! `mailconv`: looks at mailboxes, checks, mends, splits and converts them.
//!
//! | module | what it does |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`source`] | what lies at a path; an mbox file |
//! | [`folder`] | a Maildir |
//! | [`tree`], [`utf7`] | folders, their names, and where each goes |
//! | [`content`], [`header`], [`quotes`] | a message's octets as its writer meant them, in pieces |
//! | [`notes`] | flags, keywords and UIDs, whatever they are kept in |
//! | [`facts`] | what one reading of a message tells |
//! | [`list`], [`count`], [`split`] | the commands of these names |
//! | [`check`], [`repair`] | what is wrong with a mailbox; a mended copy |
//! | [`convert`], [`context`] | a conversion, and what goes on in it |
//! | [`origin`] | the messages that are converted |
//! | [`draft`], [`to_mbox`], [`to_maildir`] | where they go |
//! | [`state`] | what an interrupted conversion goes on with |
//! | [`report`], [`progress`] | what became of it |
//! | [`octets`] | octets as JSON |
//! | [`failure`] | what went wrong, and its exit status |

pub mod arguments;
pub mod check;
pub mod content;
pub mod context;
pub mod convert;
pub mod count;
pub mod draft;
pub mod facts;
pub mod failure;
pub mod folder;
pub mod header;
pub mod list;
pub mod notes;
pub mod octets;
pub mod origin;
pub mod progress;
pub mod quotes;
pub mod repair;
pub mod report;
pub mod source;
pub mod split;
pub mod state;
pub mod to_maildir;
pub mod to_mbox;
pub mod tree;
pub mod utf7;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use self::arguments::{Task, USAGE};
use self::failure::Failure;

/// Does what the command line says. The exit status is one of `sysexits.h`, but for `check`.
#[must_use]
pub fn run() -> ExitCode {
    let task = match Task::parse(lexopt::Parser::from_env()) {
        Ok(task) => task,
        Err(failure) => {
            complain(&failure);
            return ExitCode::from(failure.status());
        }
    };
    let is_check = matches!(task, Task::Check { .. });
    let mut out = BufWriter::new(io::stdout().lock());
    let done = perform(task, &mut out).and_then(|status| out.flush().map(|()| status).map_err(Failure::Output));
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            if !failure.is_broken_pipe() {
                // What was found before comes before.
                let _ = out.flush();
                complain(&failure);
            }
            ExitCode::from(if is_check { check::TROUBLE } else { failure.status() })
        }
    }
}

fn perform(task: Task, out: &mut dyn Write) -> Result<u8, Failure> {
    match task {
        Task::Check { path, repair, json, reading } => check::run(&path, repair.as_deref(), json, reading, out),
        Task::Convert(task) => convert::run(&task, out),
        Task::Count { paths, reading } => count::run(&paths, reading.policy, out, &mut complain).map(|()| 0),
        Task::Help => print(USAGE, out),
        Task::List { path, reading } => list::run(&path, reading.policy, reading.dialect, out).map(|()| 0),
        Task::Split { from, to, reading } => {
            let count = split::run(&from, &to, reading.policy, reading.dialect)?;
            print(&format!("{count} messages\n"), out)
        }
        Task::Version => print(&format!("mailconv {}\n", env!("CARGO_PKG_VERSION")), out),
    }
}

fn print(text: &str, out: &mut dyn Write) -> Result<u8, Failure> {
    out.write_all(text.as_bytes()).map(|()| 0).map_err(Failure::Output)
}

/// Where there is no standard error, the exit status says it.
fn complain(failure: &Failure) {
    let _ = writeln!(io::stderr(), "mailconv: {failure}");
}
