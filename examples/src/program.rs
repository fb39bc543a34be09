//! The command line of the programs: what they are told, and what they say first.

use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use rustix::process::{Gid, Resource, Signal, Uid, geteuid, getrlimit, setrlimit};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::accounts::{Accounts, AccountsError};
use crate::config::{Address, Config, ConfigError};
use crate::log::{self, Format};
use crate::server::{ListenerEnded, Protocol, Server, Site, StartError, make_private_directory};
use crate::tls;

/// The system's own keeps what password hashes and large messages took, once for each thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// All protocols.
    Mailserver,
    /// POP3 alone.
    Pop3d,
}

/// Why a program ends.
#[derive(Debug, Error)]
enum ProgramError {
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error("{0}; try --help")]
    Arguments(#[from] lexopt::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Listener(#[from] ListenerEnded),
    #[error("cannot act as the owner of the data directory: {0}")]
    Owner(#[source] io::Error),
    #[error("cannot read the password: {0}")]
    Password(#[source] io::Error),
    #[error("the password has more than {MAX_PASSWORD} octets")]
    PasswordTooLong,
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
}

enum Task {
    Help,
    Serve,
    UserAdd(String),
    UserList,
    UserRemove(String),
    Version,
}

struct Arguments {
    config: Option<PathBuf>,
    data: Option<PathBuf>,
    log: Format,
    task: Task,
}

impl Program {
    /// Does what the command line says.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.run_task() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Where there is no standard error, the exit status says it.
                let _ = writeln!(io::stderr(), "{}: {error}", self.name());
                ExitCode::FAILURE
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mailserver => "mailserver",
            Self::Pop3d => "pop3d",
        }
    }

    fn usage(self) -> String {
        format!(
            "usage: {0} [--data DIR] [--config FILE] [--log text|json]\n       \
             {0} user add NAME     the password is read from standard input\n       \
             {0} user list\n       \
             {0} user remove NAME  its mail stays\n       \
             {0} --version\n\
             accounts are those of --data DIR, or of the `data` in --config FILE\n",
            self.name()
        )
    }

    fn run_task(self) -> Result<(), ProgramError> {
        let arguments = Arguments::parse(Parser::from_env())?;
        let mut config = arguments.config.as_deref().map(Config::load).transpose()?.unwrap_or_default();
        if let Some(data) = arguments.data {
            config.data = data;
        }
        match arguments.task {
            Task::Help => say(&self.usage()),
            Task::Serve => return self.serve(config, arguments.log, arguments.config.is_none()),
            Task::UserAdd(name) => {
                make_private_directory(&config.data)?;
                become_owner(&config.data)?;
                Accounts::open(&config.data)?.add(&name, &read_password()?)?;
            }
            Task::UserList => Accounts::open(&config.data)?.all().keys().for_each(|name| say(&format!("{name}\n"))),
            Task::Version => say(&format!("{} {}\n", self.name(), env!("CARGO_PKG_VERSION"))),
            Task::UserRemove(name) => {
                become_owner(&config.data)?;
                Accounts::open(&config.data)?.remove(&name)?;
            }
        }
        Ok(())
    }

    fn serve(self, mut config: Config, format: Format, demo: bool) -> Result<(), ProgramError> {
        log::start(format).map_err(ProgramError::Runtime)?;
        raise_file_limit();
        if self == Self::Pop3d {
            let listen = &mut config.listen;
            [&mut listen.smtp, &mut listen.submission, &mut listen.submissions, &mut listen.lmtp]
                .into_iter()
                .for_each(|address| *address = Address::Off);
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ProgramError::Runtime)?;
        let served = runtime.block_on(async {
            block_sigxfsz().map_err(ProgramError::Runtime)?;
            let server = Server::listen(Site::new(config)?).await?;
            for (protocol, address) in server.addresses() {
                info!(%protocol, %address, "listening");
            }
            match (demo, server.site().logins.accounts().all().is_empty()) {
                (true, true) => make_demo_account(&server)?,
                (false, true) => warn!("there is no account: make one with `{} user add NAME`", self.name()),
                _ => {}
            }
            let stop = stop_signal().map_err(ProgramError::Runtime)?;
            reload_on_hangup(&server).map_err(ProgramError::Runtime)?;
            Ok(server.run(stop).await?)
        });
        // What still waits for the disk has nobody to answer to.
        runtime.shutdown_timeout(Duration::from_secs(1));
        log::flush();
        served
    }
}

impl Arguments {
    fn parse(mut parser: Parser) -> Result<Self, lexopt::Error> {
        let (mut config, mut data, mut log, mut words) = (None, None, Format::Text, Vec::new());
        let mut instead = None;
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("config") => config = Some(PathBuf::from(parser.value()?)),
                Arg::Long("data") => data = Some(PathBuf::from(parser.value()?)),
                Arg::Long("log") => log = parser.value()?.parse_with(format)?,
                Arg::Long("help") | Arg::Short('h') => instead = Some(Task::Help),
                Arg::Long("version") | Arg::Short('V') => instead = Some(Task::Version),
                Arg::Value(word) => words.push(word.string()?),
                other => return Err(other.unexpected()),
            }
        }
        let task = instead.map_or_else(|| Task::parse(&words), Ok)?;
        Ok(Self { config, data, log, task })
    }
}

fn format(word: &str) -> Result<Format, &'static str> {
    match word {
        "json" => Ok(Format::Json),
        "text" => Ok(Format::Text),
        _ => Err("expected text or json"),
    }
}

impl Task {
    fn parse(words: &[String]) -> Result<Self, lexopt::Error> {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        match words[..] {
            [] => Ok(Self::Serve),
            ["user", "add", name] => Ok(Self::UserAdd(name.to_owned())),
            ["user", "list"] => Ok(Self::UserList),
            ["user", "remove", name] => Ok(Self::UserRemove(name.to_owned())),
            _ => Err(format!("there is no command {:?}", words.join(" ")).into()),
        }
    }
}

/// Octets of a password: more than anybody types, and less than SASL's lines take.
const MAX_PASSWORD: usize = 4096;

/// The first line of standard input, without its end.
fn read_password() -> Result<String, ProgramError> {
    let mut line = Vec::new();
    let most = MAX_PASSWORD as u64 + 2;
    io::stdin().lock().take(most).read_until(b'\n', &mut line).map_err(ProgramError::Password)?;
    let password = line.strip_suffix(b"\n").unwrap_or(&line);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    if password.len() > MAX_PASSWORD {
        return Err(ProgramError::PasswordTooLong);
    }
    let text = std::str::from_utf8(password).map_err(|error| ProgramError::Password(io::Error::other(error)))?;
    Ok(text.to_owned())
}

/// Where there is no account and no configuration, somebody tries the server: makes an account, and says how to use it.
fn make_demo_account(server: &Server) -> Result<(), ProgramError> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| ProgramError::Runtime(io::Error::other(error)))?;
    let password: String = random.iter().map(|octet| char::from(LETTERS[usize::from(octet % 32)])).collect();
    server.site().logins.accounts().add("demo", &password)?;
    let address = |of| server.addresses().find(|(protocol, _)| *protocol == of).map(|(_, address)| address);
    say(&format!("There was no account: made one, demo, with the password {password}\n\n"));
    if let Some(smtp) = address(Protocol::Smtp) {
        say(&format!("Send a message:\n\n{}\n\n", send_command(smtp)));
    }
    if let Some(pop3) = address(Protocol::Pop3) {
        let (certificate, _) = tls::paths(&server.site().config);
        say(&format!("Read it:\n\n{}\n\n", read_command(pop3, &certificate, &password)));
    }
    say("`user add NAME` makes accounts of your own, `user remove demo` removes this one.\n");
    Ok(())
}

/// Writes to standard output, which may be closed.
fn say(text: &str) {
    let mut output = io::stdout();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// 32 letters and digits of which none looks like another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

fn send_command(smtp: SocketAddr) -> String {
    format!(
        "printf 'From: me@localhost\\nTo: demo@localhost\\nSubject: hello\\n\\nIt works.\\n' |\n    \
         curl --silent --show-error smtp://{smtp} --mail-from me@localhost --mail-rcpt demo@localhost --upload-file - --crlf"
    )
}

fn read_command(pop3: SocketAddr, certificate: &Path, password: &str) -> String {
    format!(
        "curl --silent --show-error --ssl-reqd --cacert '{}' pop3://localhost:{}/1 --user demo:{password}",
        certificate.display(),
        pop3.port()
    )
}

/// The superuser makes accounts for a server that runs as somebody else. What lies in that one's directory must not lead the superuser to other
/// files, and what is made there must be the server's: so the superuser becomes the directory's owner first.
fn become_owner(data: &Path) -> Result<(), ProgramError> {
    let owner = std::fs::metadata(data).map_err(ProgramError::Owner)?;
    if !geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    // There is one thread yet.
    let became = set_thread_groups(&[group])
        .and_then(|()| set_thread_res_gid(group, group, group))
        .and_then(|()| set_thread_res_uid(user, user, user));
    became.map_err(|error| ProgramError::Owner(error.into()))
}

/// As many connections as the system allows: it allows few at first, for the sake of old programs.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it cannot be raised, what there is has to do: a listener that finds no descriptor waits.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A message that meets a limit on the size of files is to be refused, not to end the server.
fn block_sigxfsz() -> io::Result<()> {
    // The handler that is installed with the stream stays when it is gone.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// SIGTERM or SIGINT.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// SIGHUP: a new certificate, as after a renewal.
fn reload_on_hangup(server: &Server) -> io::Result<()> {
    let (mut hangup, site) = (signal(SignalKind::hangup())?, server.site().clone());
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            site.reload_tls();
        }
    });
    Ok(())
}
