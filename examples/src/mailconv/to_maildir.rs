//! A folder into a Maildir.
//!
//! Each message's name says which one of which job it is, so that a run that goes on knows what is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use postrider_maildir::{Delivery, Error, Flag, Flags, Keywords, Maildir, Options, UidList, commit_all, prepare_all};
use postrider_mbox::{Dialect, FromLine};

use super::content::{Content, Sink};
use super::context::Context;
use super::draft::Draft;
use super::failure::{At, Failure};
use super::header::{Header, Part};
use super::notes::{FORWARDED, Mark, Notes};
use super::origin::{Letter, Next, Origin};
use super::report::Note;
use super::source::directory;
use super::to_mbox::{sender, unquoted};

/// So many messages share their syncs, and so many octets.
const BATCH: (usize, u64) = (256, 32 * 1024 * 1024);

/// Converts `from`, and goes on where an earlier run has stopped.
///
/// # Errors
///
/// When something cannot be read or written. What was done stays, for the next run.
pub fn run(from: &mut Origin, to: &Path, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let maildir = Maildir::create(to)?;
    if context.is_below {
        // Says that this is a folder of a Maildir++, and its quota the root's.
        let marker = to.join("maildirfolder");
        File::create(&marker).at("create", &marker)?;
    }
    let job = begin(&maildir, context)?;
    let there = delivered(&maildir, &job)?;
    let is_doubtful = from.is_doubtful();
    let mut batch =
        Batch { maildir: maildir.clone(), job, letters: maildir.keywords()?, deliveries: Vec::new(), octets: 0 };
    let (mut letters, mut number) = (from.letters()?, 0);
    while number < context.progress().done && letters.skip()? {
        number += 1;
    }
    loop {
        let next = letters.next()?;
        number += 1;
        match next {
            Next::End => break,
            Next::Gone { at } => context.note(&at, Note::Skipped, 1, "it was removed while this went on")?,
            Next::Letter(letter) => {
                let is_there = there.contains_key(&number);
                let len = batch.add(&letter, number, is_doubtful, is_there, context)?;
                context.message(len);
            }
        }
        context.bar.at(letters.step());
        if batch.is_full() {
            batch.commit()?;
            context.save(|progress| progress.done = number)?;
        }
    }
    batch.commit()?;
    let job = batch.job;
    context.source_is_unchanged(from)?;
    context.save(|progress| (progress.done, progress.complete) = (number, true))?;
    uids(&maildir, &job, from, context)?;
    context.save(|progress| progress.finished = true)
}

/// Writes the UIDs beside the mail. Messages behind the last that has one get new ones, in their order.
fn uids(maildir: &Maildir, job: &str, from: &mut Origin, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let Some(base) = from.base() else { return Ok(()) };
    let there = delivered(maildir, job)?;
    let (mut letters, mut number, mut next) = (from.letters()?, 0_u64, u64::from(base.uid_last) + 1);
    let mut lines = Vec::new();
    loop {
        number += 1;
        let uid = match letters.next()? {
            Next::End => break,
            Next::Gone { .. } => continue,
            Next::Letter(letter) => letter.notes.uid.map(u64::from),
        };
        // A mail reader may have removed it since.
        let Some(base) = there.get(&number) else { continue };
        let uid = uid.unwrap_or(next);
        next = next.max(uid + 1);
        lines.extend([format!("{uid} :").as_bytes(), base, b"\n"].concat());
    }
    let text = [format!("3 V{} N{next}\n", base.uid_validity).as_bytes(), &lines].concat();
    let Ok(list) = UidList::parse(text) else {
        return context.note("", Note::Uids, 1, "there are too many");
    };
    let mut update = maildir.update_uids()?;
    if !update.adopt(list) && update.list().uid_validity() != base.uid_validity {
        context.note("", Note::Uids, 1, "another program has given UIDs meanwhile")?;
    }
    update.commit()?;
    Ok(())
}

/// The job's number; a new job's Maildir has to be empty.
fn begin(maildir: &Maildir, context: &mut Context<'_, '_>) -> Result<String, Failure> {
    if context.progress().job.is_empty() {
        if !maildir.list()?.is_empty() {
            let path = maildir.path().to_owned();
            return Err(Failure::Exists { path, hint: " and holds messages: convert into a new one" });
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let job = format!("{:x}-{:x}", now.as_nanos() & 0xFFFF_FFFF_FFFF, std::process::id());
        context.save(|progress| progress.job = job)?;
    }
    let job = context.progress().job;
    clean(maildir, &job)?;
    Ok(job)
}

/// Removes what a run that was killed has left in `tmp/`: nobody else writes files of this job.
fn clean(maildir: &Maildir, job: &str) -> Result<(), Failure> {
    for (name, path) in directory(&maildir.path().join("tmp"))? {
        if number(&name, job).is_some() {
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// The messages of a job that are in a Maildir, by number, with their base names.
fn delivered(maildir: &Maildir, job: &str) -> Result<BTreeMap<u64, Vec<u8>>, Failure> {
    let mut all = BTreeMap::new();
    for entry in maildir.list()?.iter() {
        let name = entry.name();
        if let Some(number) = number(name.unique(), job) {
            all.insert(number, name.base().to_vec());
        }
    }
    Ok(all)
}

/// Removes what a job has delivered.
///
/// # Errors
///
/// When it cannot be removed.
pub fn discard(to: &Path, job: &str) -> Result<(), Failure> {
    if job.is_empty() {
        return Ok(());
    }
    let Ok(maildir) = Maildir::open(to) else { return Ok(()) };
    let listing = maildir.list()?;
    let ours = listing.iter().filter(|entry| number(entry.name().unique(), job).is_some());
    let messages = ours.map(|entry| maildir.message(&entry)).collect();
    clean(&maildir, job)?;
    maildir.remove_all(messages).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(maildir.sync()?)
}

/// What a job calls itself and a message in the place of the host's name.
fn host(job: &str, number: u64) -> String {
    format!("mailconv-{job}-{number}")
}

/// The number of a message of this job.
fn number(unique: &[u8], job: &str) -> Option<u64> {
    let host = unique.rsplit(|octet| *octet == b'.').next()?;
    let number = std::str::from_utf8(host).ok()?.strip_prefix(&format!("mailconv-{job}-"))?;
    number.parse().ok()
}

/// Messages that are written and not yet delivered.
struct Batch {
    maildir: Maildir,
    job: String,
    /// What the letters in file names mean.
    letters: Keywords,
    deliveries: Vec<Delivery>,
    octets: u64,
}

impl Batch {
    /// Writes a message, unless it `is_there`; how many octets it has.
    fn add(
        &mut self,
        letter: &Letter<'_>,
        number: u64,
        is_doubtful: bool,
        is_there: bool,
        context: &mut Context<'_, '_>,
    ) -> Result<u64, Failure> {
        let draft = Draft::new(&letter.content, Dialect::Mboxcl2)?;
        unquoted(is_doubtful, &draft, letter, context)?;
        let flags = marks(&letter.notes).with(self.keywords(letter, context)?);
        what_is_lost(letter, &draft, flags, context)?;
        if is_there {
            return Ok(draft.len());
        }
        let mut options = Options::default();
        options.host = Some(host(&self.job, number));
        let maildir = Maildir::open_with(self.maildir.path(), options)?;
        let is_new = flags.is_empty() && !letter.notes.marks.contains(&Mark::Old);
        let mut delivery = if is_new { maildir.delivery()? } else { maildir.delivery_into_cur(flags)? };
        let path = self.maildir.path();
        let strip = context.strip;
        read(&letter.content, strip, &mut |octets| delivery.write_all(octets).at("write to", path))?;
        let received = letter.received.or(context.modified);
        if let Some(time) = received.and_then(time) {
            delivery.received_at(time);
        }
        self.octets += delivery.size();
        self.deliveries.push(delivery);
        Ok(draft.len())
    }

    /// The letters of its keywords.
    fn keywords(&mut self, letter: &Letter<'_>, context: &mut Context<'_, '_>) -> Result<Flags, Failure> {
        let mut flags = Flags::EMPTY;
        for keyword in letter.notes.words() {
            let known = self.letters.flag(keyword);
            let added = known.map_or_else(|| self.maildir.add_keyword(keyword), Ok);
            match added {
                Ok(flag) => flags = flags.with(flag.into()),
                // Its own letter says it, too.
                Err(Error::Keyword { .. }) if keyword == FORWARDED => {}
                Err(Error::Keyword { .. }) => {
                    context.note(&letter.at, Note::Keyword, 1, &super::octets::shown(keyword))?;
                }
                Err(error) => return Err(error.into()),
            }
            if known.is_none() {
                self.letters = self.maildir.keywords()?;
            }
        }
        Ok(flags)
    }

    fn is_full(&self) -> bool {
        self.deliveries.len() >= BATCH.0 || self.octets >= BATCH.1
    }

    /// Delivers them. When this returns, they are on stable storage.
    fn commit(&mut self) -> Result<(), Failure> {
        self.octets = 0;
        let prepared = prepare_all(std::mem::take(&mut self.deliveries)).into_iter().collect::<Result<Vec<_>, _>>()?;
        commit_all(prepared).into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(())
    }
}

/// The octets of a message, without the fields of a mailbox if they are to be left out.
fn read(content: &dyn Content, strip: bool, sink: Sink<'_>) -> Result<(), Failure> {
    if !strip {
        return content.read(sink);
    }
    let mut header = Header::default();
    let mut kept = |piece: super::header::Piece<'_>| match piece.part {
        Part::Field(name) if name.is_of_the_mailbox() => Ok(()),
        _ => sink(piece.octets),
    };
    content.read(&mut |octets| header.add(octets, &mut kept))?;
    header.finish(&mut kept)
}

/// Notes what a Maildir has no place for.
fn what_is_lost(
    letter: &Letter<'_>,
    draft: &Draft,
    flags: Flags,
    context: &mut Context<'_, '_>,
) -> Result<(), Failure> {
    let at = letter.at.as_str();
    for mark in letter.notes.marks.iter().filter(|mark| matches!(mark, Mark::Status(_) | Mark::XStatus(_))) {
        context.note(at, Note::Mark, 1, &mark.word())?;
    }
    if !letter.notes.marks.contains(&Mark::Old) && !flags.is_empty() {
        context.note(at, Note::Recent, 1, "it has flags, so it goes to cur/")?;
    }
    let Some(line) = letter.line.as_deref().and_then(FromLine::new) else { return Ok(()) };
    if line.date().is_none() {
        context.note(at, Note::Date, 1, "its `From ` line has no date")?;
    }
    let known = [sender(draft), b"-", b""].contains(&line.sender());
    if !known {
        context.note(at, Note::Sender, 1, &super::octets::shown(line.sender()))?;
    }
    Ok(())
}

fn marks(notes: &Notes) -> Flags {
    notes.marks.iter().filter_map(|mark| Flag::new(mark.maildir()?)).collect()
}

fn time(seconds: i64) -> Option<SystemTime> {
    match u64::try_from(seconds) {
        Ok(seconds) => SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)),
        Err(_) => SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(seconds.unsigned_abs())),
    }
}
