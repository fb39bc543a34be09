//! The messages of a folder that is converted, whatever it is kept in, one after the other.

use std::path::Path;

use postrider_mbox::{Dialect, Entries, FromLine, Policy, Section};
use sha2::{Digest, Sha256};

use super::content::{Content, Meant, Sink, Stored, Unquoted};
use super::facts::Observer;
use super::failure::Failure;
use super::folder::{Folder, OpenItem};
use super::header::Name;
use super::notes::{Base, Fields, Notes};
use super::octets;
use super::source::{Kind, Mbox, Survey, kind};

/// A folder that is read.
#[derive(Debug)]
pub enum Origin {
    /// An mbox file.
    Mbox {
        /// The file.
        mbox: Box<Mbox>,
        /// What a first reading found.
        survey: Box<Survey>,
        /// How it is read.
        dialect: Dialect,
        /// Whether a `>` that is taken away may have been there from the start.
        is_doubtful: bool,
    },
    /// A Maildir.
    Maildir(Box<Folder>),
}

/// One message of it.
#[derive(Debug)]
pub struct Letter<'o> {
    /// Offset or file name.
    pub at: String,
    /// What is known of it.
    pub notes: Notes,
    /// The `From ` line of an mbox file, without its line end.
    pub line: Option<Vec<u8>>,
    /// When it was received, as far as that is known.
    pub received: Option<i64>,
    /// Its octets.
    pub content: Octets<'o>,
}

/// The octets of a message as its writer meant them.
#[derive(Debug)]
pub enum Octets<'o> {
    /// In an mbox file.
    Mbox(Meant<Unquoted<'o>>),
    /// In a Maildir.
    Maildir(OpenItem),
}

impl Content for Octets<'_> {
    fn read(&self, sink: Sink<'_>) -> Result<(), Failure> {
        match self {
            Self::Mbox(content) => content.read(sink),
            Self::Maildir(content) => content.read(sink),
        }
    }
}

impl Origin {
    /// Opens a folder.
    ///
    /// # Errors
    ///
    /// When it is no mailbox, or cannot be read.
    pub fn open(path: &Path, policy: Policy, dialect: Option<Dialect>) -> Result<Self, Failure> {
        if kind(path)? == Kind::Maildir {
            return Folder::open(path).map(|folder| Self::Maildir(Box::new(folder)));
        }
        let mbox = Box::new(Mbox::open_locked(path, policy)?);
        let survey = Box::new(mbox.survey()?);
        let unquotes_once = |dialect| matches!(dialect, Dialect::Mboxo | Dialect::Mboxcl);
        let is_doubtful = match dialect {
            Some(dialect) => unquotes_once(dialect),
            // Nothing that only mboxrd explains was seen.
            None => unquotes_once(survey.detected.dialect) || survey.evidence.requoted == 0,
        };
        let dialect = dialect.unwrap_or(survey.detected.dialect);
        Ok(Self::Mbox { mbox, survey, dialect, is_doubtful: is_doubtful && dialect != Dialect::Mboxcl2 })
    }

    /// What tells its present state from others: of a Maildir, the base names of its messages and their order.
    #[must_use]
    pub fn stamp(&self) -> String {
        match self {
            Self::Mbox { mbox, dialect, .. } => format!("{}, read as {}", mbox.stamp(), super::list::dialect(*dialect)),
            Self::Maildir(folder) => {
                let mut hash = Sha256::new();
                for item in &folder.items {
                    hash.update(item.message.name().base());
                    hash.update(b"/");
                }
                format!("{} messages, {}", folder.items.len(), octets::hex(&hash.finalize()))
            }
        }
    }

    /// Whether a `>` that is taken away may have been there from the start.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        matches!(self, Self::Mbox { is_doubtful: true, .. })
    }

    /// What it says of itself.
    #[must_use]
    pub fn base(&self) -> Option<Base> {
        match self {
            Self::Mbox { survey, .. } => survey.base.as_ref().map(|base| Base {
                uid_validity: base.uid_validity,
                uid_last: base.uid_last,
                keywords: base.keywords.iter().map(|keyword| keyword.octets().to_vec()).collect(),
            }),
            Self::Maildir(folder) => folder.base.clone(),
        }
    }

    /// How many steps it takes: messages or octets.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Mbox { mbox, .. } => mbox.len,
            Self::Maildir(folder) => folder.items.len() as u64,
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its messages.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn letters(&mut self) -> Result<Letters<'_>, Failure> {
        Ok(match self {
            Self::Mbox { mbox, survey, dialect, .. } => {
                let entries = Box::new(mbox.entries()?);
                Letters::Mbox {
                    mbox,
                    entries,
                    dialect: *dialect,
                    numbered: survey.numbered,
                    number: 0,
                    is_first: true,
                    end: 0,
                }
            }
            Self::Maildir(folder) => Letters::Maildir { items: folder.items.iter_mut(), step: 0 },
        })
    }
}

/// The messages of a folder.
#[derive(Debug)]
pub enum Letters<'o> {
    /// Of an mbox file.
    Mbox {
        /// The file.
        mbox: &'o Mbox,
        /// What is left of it.
        entries: Box<Entries<Section<'o>>>,
        /// How it is read.
        dialect: Dialect,
        /// So many at the front have a UID that counts.
        numbered: u64,
        /// How many there were.
        number: u64,
        /// Whether the first is still to come.
        is_first: bool,
        /// Where the last one ended.
        end: u64,
    },
    /// Of a Maildir.
    Maildir {
        /// What is left.
        items: std::slice::IterMut<'o, super::folder::Item>,
        /// How many there were.
        step: u64,
    },
}

/// What comes next.
#[derive(Debug)]
pub enum Next<'o> {
    /// A message.
    Letter(Box<Letter<'o>>),
    /// A message that somebody has removed meanwhile.
    Gone {
        /// The name of its file.
        at: String,
    },
    /// There are no more.
    End,
}

impl<'o> Letters<'o> {
    /// How many steps were gone.
    #[must_use]
    pub fn step(&self) -> u64 {
        match self {
            Self::Mbox { end, .. } => *end,
            Self::Maildir { step, .. } => *step,
        }
    }

    /// Passes over the next message. Whether there was one.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn skip(&mut self) -> Result<bool, Failure> {
        match self {
            Self::Mbox { .. } => Ok(!matches!(self.next()?, Next::End)),
            Self::Maildir { items, step } => {
                *step += 1;
                Ok(items.next().is_some())
            }
        }
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    #[allow(clippy::should_implement_trait, reason = "with a result around, as a reader's `next`")]
    pub fn next(&mut self) -> Result<Next<'o>, Failure> {
        match self {
            Self::Mbox { mbox, entries, dialect, numbered, number, is_first, end } => {
                let mut entry = mbox.next(entries)?;
                if std::mem::take(is_first) && entry.as_ref().is_some_and(postrider_mbox::Entry::is_internal) {
                    entry = mbox.next(entries)?;
                }
                let Some(entry) = entry else { return Ok(Next::End) };
                *end = entry.next;
                let content = mbox.content(&entry, *dialect);
                let fields = header(&Stored { range: entry.header(), ..content.stored.clone() })?;
                let mut notes = fields.notes();
                notes.uid = notes.uid.filter(|_| *number < *numbered);
                *number += 1;
                let line = unended(&entry.line).to_vec();
                let received =
                    FromLine::new(&line).and_then(|line| line.date()).map(postrider_mbox::Date::unix_seconds);
                let received = received.or_else(|| date(&fields));
                let content = Octets::Mbox(Meant(content));
                Ok(Next::Letter(Box::new(Letter {
                    at: entry.at.to_string(),
                    notes,
                    line: Some(line),
                    received,
                    content,
                })))
            }
            Self::Maildir { items, step } => {
                let Some(item) = items.next() else { return Ok(Next::End) };
                *step += 1;
                let at = octets::shown(item.message.name().octets());
                let content = match item.open() {
                    Err(Failure::Maildir(error)) if error.is_gone() => return Ok(Next::Gone { at }),
                    open => open?,
                };
                let (notes, received) = (item.notes.clone(), Some(content.modified));
                Ok(Next::Letter(Box::new(Letter {
                    at,
                    notes,
                    line: None,
                    received,
                    content: Octets::Maildir(content),
                })))
            }
        }
    }
}

/// A line without its line end.
#[must_use]
pub fn unended(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The fields of a message as it is stored.
fn header(content: &dyn Content) -> Result<Fields, Failure> {
    let mut observer = Observer::default();
    content.read(&mut |octets| observer.add(octets))?;
    observer.finish()
}

/// What a message says in its own `Date`.
fn date(fields: &Fields) -> Option<i64> {
    let text = std::str::from_utf8(fields.all(Name::Date).next()?).ok()?;
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second())
}
