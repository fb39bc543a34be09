//! Log lines on standard error, for people or, as JSON, for programs. What a peer sent is escaped, and secrets are in none.
//!
//! A thread of its own writes them. Where nobody reads the other end, lines are dropped and counted: a log must never hold up the mail.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// An object each line.
    Json,
}

/// Lines that wait to be written at the most: some seconds of a busy server.
const WAITING: usize = 10_000;

/// How long [`flush`] waits for a reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines about what goes wrong that one connection may cause: enough to see what it is.
const PER_CONNECTION: u32 = 100;

/// What one connection may have logged of what goes wrong: a flood of mistakes must not fill a disk.
#[derive(Debug)]
pub struct Ration {
    left: u32,
    left_out: u64,
}

/// 100 lines.
impl Default for Ration {
    fn default() -> Self {
        Self { left: PER_CONNECTION, left_out: 0 }
    }
}

impl Ration {
    /// Whether a line may be logged; else it counts as left out.
    pub fn take(&mut self) -> bool {
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.left_out += u64::from(!may);
        may
    }

    /// How many lines were left out.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

static LINES: OnceLock<Lines> = OnceLock::new();

enum Entry {
    Line(Vec<u8>),
    /// All before it is written.
    Written(SyncSender<()>),
}

/// Where the subscriber writes.
#[derive(Clone)]
struct Lines {
    entries: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Write for Lines {
    /// Takes a whole line, as the subscriber gives it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(Entry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to log: from level `info`, or what the environment's `RUST_LOG` says.
///
/// # Errors
///
/// When the system has no thread to give.
pub fn start(format: Format) -> io::Result<()> {
    let (entries, waiting) = sync_channel(WAITING);
    let lines = Lines { entries, dropped: Arc::default() };
    let dropped = Arc::clone(&lines.dropped);
    thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&waiting, &dropped))?;
    let _ = LINES.set(lines.clone());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A log that cannot be written must not become a panic: it would take the session with it that had something to say.
    let log = tracing_subscriber::fmt().log_internal_errors(false);
    let log = log.with_env_filter(filter).with_writer(move || lines.clone()).with_target(false);
    // A second start, as in tests, changes nothing.
    let _ = match format {
        Format::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => log.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Waits until what was logged is written, if somebody reads it.
pub fn flush() {
    let (written, all) = sync_channel(1);
    if LINES.get().is_some_and(|lines| lines.entries.try_send(Entry::Written(written)).is_ok()) {
        let _ = all.recv_timeout(PATIENCE);
    }
}

fn write_all(waiting: &Receiver<Entry>, dropped: &AtomicU64) {
    let mut output = io::stderr();
    for entry in waiting {
        // Where it cannot be written there is nobody to tell.
        let _ = match entry {
            Entry::Line(line) => output.write_all(&line),
            Entry::Written(written) => written.send(()).map_err(io::Error::other),
        };
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            count => drop(writeln!(output, "{count} log lines were dropped: they came faster than they were read")),
        }
    }
}
