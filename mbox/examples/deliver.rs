//! Delivers one message to an mbox file.
//!
//! ```text
//! deliver [--dialect mboxo|mboxrd|mboxcl|mboxcl2] [--sender ADDRESS] [--timeout SECONDS] MBOX < MESSAGE
//! ```
//!
//! It ends with the status that mail servers know from `sysexits.h`: 0, the message is on stable storage; 64, the command line is wrong; 73, there can be no
//! mailbox there; 74, the message could not be read; 77, the mailbox may not be written to; 75, anything else, and the server tries again later.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use postrider_mbox::{Access, Dialect, Envelope, Error, Mbox, Options};

const USAGE: u8 = 64;
const CANNOT_CREATE: u8 = 73;
const INPUT: u8 = 74;
const TEMPORARY: u8 = 75;
const NO_PERMISSION: u8 = 77;

struct Arguments {
    mbox: PathBuf,
    dialect: Dialect,
    sender: String,
    timeout: Duration,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("deliver: {problem}");
            return USAGE.into();
        }
    };
    // Before anything is locked: whoever writes it may take his time.
    let mut message = Vec::new();
    if let Err(error) = io::stdin().read_to_end(&mut message) {
        eprintln!("deliver: cannot read the message: {error}");
        return INPUT.into();
    }
    match deliver(&arguments, &message) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deliver: {error}");
            status(&error).into()
        }
    }
}

fn arguments() -> Result<Arguments, String> {
    let (mut mbox, mut dialect, mut sender) = (None, Dialect::Mboxrd, String::new());
    let mut timeout = Options::default().locking.timeout;
    let mut all = std::env::args_os().skip(1);
    while let Some(argument) = all.next() {
        let mut value = || {
            let value = all.next().and_then(|value| value.into_string().ok());
            value.ok_or_else(|| format!("{} needs a value", argument.display()))
        };
        match argument.to_str() {
            Some("--dialect") => dialect = named(&value()?)?,
            Some("--sender") => sender = value()?,
            Some("--timeout") => {
                let seconds = value()?;
                timeout = Duration::from_secs(seconds.parse().map_err(|_| format!("no number of seconds: {seconds}"))?);
            }
            Some(option) if option.starts_with("--") => return Err(format!("unknown option {option}")),
            _ if mbox.is_some() => return Err("one mailbox only".to_owned()),
            _ => mbox = Some(PathBuf::from(argument)),
        }
    }
    let mbox = mbox.ok_or("which mailbox?")?;
    Ok(Arguments { mbox, dialect, sender, timeout })
}

fn named(dialect: &str) -> Result<Dialect, String> {
    match dialect {
        "mboxo" => Ok(Dialect::Mboxo),
        "mboxrd" => Ok(Dialect::Mboxrd),
        "mboxcl" => Ok(Dialect::Mboxcl),
        "mboxcl2" => Ok(Dialect::Mboxcl2),
        _ => Err(format!("no dialect: {dialect}")),
    }
}

fn deliver(arguments: &Arguments, message: &[u8]) -> Result<(), Error> {
    let mut options = Options::default();
    options.locking.timeout = arguments.timeout;
    let mbox = Mbox::create_with(&arguments.mbox, options)?;
    let envelope = Envelope::new(&arguments.sender, SystemTime::now());
    mbox.lock(Access::Write)?.append(&envelope, arguments.dialect, message)?;
    Ok(())
}

fn status(error: &Error) -> u8 {
    match (error, error.io_kind()) {
        (Error::NotRegular { .. }, _) | (_, Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)) => {
            CANNOT_CREATE
        }
        (_, Some(io::ErrorKind::PermissionDenied)) => NO_PERMISSION,
        _ => TEMPORARY,
    }
}
