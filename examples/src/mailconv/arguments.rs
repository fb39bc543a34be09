//! The command line.

use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};
use postrider_mbox::{Dialect, Policy};

use super::convert::{self, Format};
use super::failure::Failure;
use super::tree::Layout;

/// What `--help` says.
pub const USAGE: &str = "\
usage: mailconv list PATH              a line of JSON for each message of an mbox file or a Maildir
       mailconv count PATH...          how many messages there are
       mailconv check PATH             what is wrong there, and where; with --repair OUT a mended copy
       mailconv split MBOX DIR         each message into a file of its own
       mailconv convert FROM TO        an mbox file, a Maildir or a tree of either into another

how mbox files are read (all commands):
  --policy HOW            evidence (default): all that speaks for a message's start is weighed, and lengths are believed where they are right;
                          blank: any `From ` line after a blank line; date: any with a date
  --from-dialect NAME     mboxo, mboxrd, mboxcl or mboxcl2 (what the file's bodies speak for): how `>From ` is read
convert:
  --to FORMAT             mbox or maildir (the other one; mbox with --dialect)
  --dialect NAME          in which dialect an mbox file is written (mboxrd, which loses nothing)
  --layout HOW            of Maildirs: maildir++ (default), .a.b beside cur; or fs, a/b
  --strip                 leave out the fields Status, X-UID, Content-Length and the like in a Maildir
  --restart               forget what an earlier run has done, instead of going on with it
  -v, --verbose           a line for each thing that is noted
  -q, --quiet             no bar on a terminal
check:
  --repair OUT            write a mended copy, too; what belongs to no message goes to OUT.lost. PATH stays as it is
  --json                  a line of JSON for each finding; for convert, for each note and the sums
  -h, --help  -V, --version

A convert that was interrupted, in whatever way, is gone on with by the same command: TO.mailconv holds what is done.

exit status: 0 all is well; 64 usage; 65 no mailbox, or something was left out; 66 nothing there; 73 the target exists; 74 a file; 75 somebody
else is at work there. check: 0 nothing found; 1 something found; 2 it could not be looked at
";

/// What is to be done.
#[derive(Debug)]
pub enum Task {
    /// `check`.
    Check {
        /// What is looked at.
        path: PathBuf,
        /// Where a mended copy goes.
        repair: Option<PathBuf>,
        /// JSON.
        json: bool,
        /// How messages are found.
        reading: Reading,
    },
    /// `convert`.
    Convert(Box<convert::Task>),
    /// `count`.
    Count {
        /// What is counted.
        paths: Vec<PathBuf>,
        /// How messages are found.
        reading: Reading,
    },
    /// Say how it is used.
    Help,
    /// `list`.
    List {
        /// What is listed.
        path: PathBuf,
        /// How messages are found.
        reading: Reading,
    },
    /// `split`.
    Split {
        /// The file.
        from: PathBuf,
        /// The directory.
        to: PathBuf,
        /// How messages are found.
        reading: Reading,
    },
    /// Say which version it is.
    Version,
}

/// How mbox files are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// How messages are found.
    pub policy: Policy,
    /// How they are quoted, if that is not to be found out.
    pub dialect: Option<Dialect>,
}

#[derive(Default)]
struct Options {
    reading: Reading,
    format: Option<Format>,
    dialect: Option<Dialect>,
    layout: Layout,
    repair: Option<PathBuf>,
    strip: bool,
    restart: bool,
    json: bool,
    verbose: bool,
    quiet: bool,
    /// Those that were given.
    given: Vec<&'static str>,
}

/// What all commands take.
const COMMON: [&str; 2] = ["policy", "from-dialect"];

impl Task {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// When it makes no sense.
    pub fn parse(mut parser: Parser) -> Result<Self, Failure> {
        let (mut options, mut words) = (Options::default(), Vec::new());
        while let Some(argument) = parser.next()? {
            let name = match argument {
                Arg::Value(word) => {
                    words.push(PathBuf::from(word));
                    continue;
                }
                Arg::Long("help") | Arg::Short('h') => return Ok(Self::Help),
                Arg::Long("version") | Arg::Short('V') => return Ok(Self::Version),
                Arg::Short('v') => "verbose".to_owned(),
                Arg::Short('q') => "quiet".to_owned(),
                Arg::Long(name) => name.to_owned(),
                short @ Arg::Short(_) => return Err(short.unexpected().into()),
            };
            if !options.switch(&name) && !options.value(&name, &mut parser)? {
                return Err(lexopt::Error::UnexpectedOption(format!("--{name}")).into());
            }
        }
        let mut words = words.into_iter();
        let command = words.next().ok_or(Failure::Usage("a command is missing"))?;
        options.command(&command.to_string_lossy(), words.collect())
    }
}

impl Options {
    fn switch(&mut self, name: &str) -> bool {
        let (switch, name) = match name {
            "json" => (&mut self.json, "json"),
            "quiet" => (&mut self.quiet, "quiet"),
            "restart" => (&mut self.restart, "restart"),
            "strip" => (&mut self.strip, "strip"),
            "verbose" => (&mut self.verbose, "verbose"),
            _ => return false,
        };
        *switch = true;
        self.given.push(name);
        true
    }

    fn value(&mut self, name: &str, parser: &mut Parser) -> Result<bool, Failure> {
        let name = match name {
            "dialect" => {
                self.dialect = Some(dialect(parser, "--dialect takes mboxo, mboxrd, mboxcl or mboxcl2")?);
                "dialect"
            }
            "from-dialect" => {
                self.reading.dialect = Some(dialect(parser, "--from-dialect takes mboxo, mboxrd, mboxcl or mboxcl2")?);
                "from-dialect"
            }
            "layout" => {
                let all = [("maildir++", Layout::MaildirPlusPlus), ("fs", Layout::FileSystem)];
                self.layout = choice(parser, &all, "--layout takes maildir++ or fs")?;
                "layout"
            }
            "policy" => {
                let all =
                    [("evidence", Policy::Evidence), ("blank", Policy::BlankRequired), ("date", Policy::DateEnough)];
                self.reading.policy = choice(parser, &all, "--policy takes evidence, blank or date")?;
                "policy"
            }
            "repair" => {
                self.repair = Some(parser.value()?.into());
                "repair"
            }
            "to" => {
                let all = [("mbox", Format::Mbox), ("maildir", Format::Maildir)];
                self.format = Some(choice(parser, &all, "--to takes mbox or maildir")?);
                "to"
            }
            _ => return Ok(false),
        };
        self.given.push(name);
        Ok(true)
    }

    fn command(self, command: &str, words: Vec<PathBuf>) -> Result<Task, Failure> {
        let reading = self.reading;
        match (command, words.as_slice()) {
            ("list", [path]) => self.only(&[], Task::List { path: path.clone(), reading }),
            ("list", _) => Err(Failure::Usage("list takes one path")),
            ("count", []) => Err(Failure::Usage("count takes a path or more")),
            ("count", _) => self.only(&[], Task::Count { paths: words, reading }),
            ("check", [path]) => {
                let (repair, json) = (self.repair.clone(), self.json);
                self.only(&["repair", "json"], Task::Check { path: path.clone(), repair, json, reading })
            }
            ("check", _) => Err(Failure::Usage("check takes one path")),
            ("split", [from, to]) => self.only(&[], Task::Split { from: from.clone(), to: to.clone(), reading }),
            ("split", _) => Err(Failure::Usage("split takes an mbox file and a directory")),
            ("convert", [from, to]) => {
                let task = self.convert(from, to)?;
                self.only(&["to", "dialect", "layout", "strip", "restart", "verbose", "quiet", "json"], task)
            }
            ("convert", _) => Err(Failure::Usage("convert takes what is there and what is to be made")),
            _ => Err(Failure::Usage("the commands are list, count, check, split and convert")),
        }
    }

    fn convert(&self, from: &std::path::Path, to: &std::path::Path) -> Result<Task, Failure> {
        if self.format == Some(Format::Maildir) && self.dialect.is_some() {
            return Err(Failure::Usage("a Maildir has no --dialect"));
        }
        Ok(Task::Convert(Box::new(convert::Task {
            from: from.to_owned(),
            to: to.to_owned(),
            format: self.format,
            dialect: self.dialect,
            from_dialect: self.reading.dialect,
            policy: self.reading.policy,
            layout: self.layout,
            strip: self.strip,
            restart: self.restart,
            json: self.json,
            verbose: self.verbose,
            quiet: self.quiet,
        })))
    }

    /// An option that the command does not have is refused.
    fn only(&self, allowed: &[&str], task: Task) -> Result<Task, Failure> {
        let foreign = self.given.iter().find(|name| !allowed.contains(name) && !COMMON.contains(name));
        match foreign {
            Some(name) => Err(lexopt::Error::UnexpectedOption(format!("--{name}")).into()),
            None => Ok(task),
        }
    }
}

fn dialect(parser: &mut Parser, message: &'static str) -> Result<Dialect, Failure> {
    let all = [
        ("mboxo", Dialect::Mboxo),
        ("mboxrd", Dialect::Mboxrd),
        ("mboxcl", Dialect::Mboxcl),
        ("mboxcl2", Dialect::Mboxcl2),
    ];
    choice(parser, &all, message)
}

fn choice<T: Copy>(parser: &mut Parser, all: &[(&str, T)], message: &'static str) -> Result<T, Failure> {
    let word = parser.value()?.string()?;
    all.iter().find(|(name, _)| *name == word).map(|(_, value)| *value).ok_or(Failure::Usage(message))
}
