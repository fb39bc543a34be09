//! A Maildir as a maildrop.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use postrider_maildir::{Entry, Error, Flag, Maildir, Name, Operation, Stamp};
use postrider_pop3_proto::UniqueId;
use tracing::warn;

use super::{MaildropError, Mark, Message, Place, hash};

#[derive(Debug)]
pub(super) struct Snapshot {
    maildir: Maildir,
    stamp: Stamp,
    pub(super) messages: Vec<Message>,
}

pub(super) fn open(path: &Path, known: Option<&Snapshot>) -> Result<Maildir, Error> {
    match known {
        Some(known) => Ok(known.maildir.clone()),
        None => Maildir::open(path).or_else(|_| Maildir::create(path)),
    }
}

impl Snapshot {
    /// What the Maildir holds, oldest message first: what is known, if nothing has changed; sizes are taken from there where they are.
    pub(super) fn take(maildir: Maildir, known: Option<Arc<Self>>) -> Result<Arc<Self>, Error> {
        match known {
            Some(known) if !maildir.changed_since(&known.stamp)? => Ok(known),
            known => Self::list(maildir, known.as_deref()).map(Arc::new),
        }
    }

    fn list(maildir: Maildir, before: Option<&Self>) -> Result<Self, Error> {
        let listing = maildir.list()?;
        let mut entries: Vec<_> = listing.iter().collect();
        entries.sort_by(|a, b| order(a).cmp(&order(b)));
        let before = before.iter().flat_map(|before| &before.messages);
        let sizes: HashMap<_, _> =
            before.filter_map(|message| Some((file(message)?.name().base(), message.octets))).collect();
        let (mut messages, mut ids) = (Vec::with_capacity(entries.len()), HashSet::new());
        for entry in &entries {
            let mut file = maildir.message(entry);
            let octets = match sizes.get(entry.name().base()) {
                Some(octets) => *octets,
                None => match wire_size(&mut file) {
                    Ok(octets) => octets,
                    // Removed since, or a directory or a FIFO in the place of a message: nothing to offer.
                    Err(error) if error.is_gone() || matches!(error, Error::NotRegular { .. }) => continue,
                    Err(error) if error.is_shortage() => return Err(error),
                    // One that cannot be read must not keep its owner from the others.
                    Err(error) => {
                        warn!(%error, "message left out");
                        continue;
                    }
                },
            };
            let mut id = unique_id(entry.name().unique());
            if !ids.insert(id.clone()) {
                id = hash(entry.name().base());
                ids.insert(id.clone());
            }
            messages.push(Message { octets, id, place: Place::Maildir(file) });
        }
        let stamp = listing.stamp();
        Ok(Self { maildir, stamp, messages })
    }

    pub(super) fn update(&self, marks: impl Iterator<Item = Mark>) -> Result<(), MaildropError> {
        let mut deleted = Vec::new();
        for (file, mark) in self.messages.iter().filter_map(file).zip(marks) {
            match mark {
                Mark::Deleted => deleted.push(file.clone()),
                Mark::Seen => mark_as_seen(file.clone()),
                Mark::None => {}
            }
        }
        let removed = self.maildir.remove_all(deleted).into_iter();
        let mut failures: Vec<_> = removed.filter_map(Result::err).filter(|error| !error.is_gone()).collect();
        let failed = failures.len();
        failures.pop().map_or(Ok(()), |last| Err(MaildropError::NotRemoved { failed, last }))
    }
}

fn file(message: &Message) -> Option<&postrider_maildir::Message> {
    match &message.place {
        Place::Maildir(file) => Some(file),
        Place::Mbox(_) => None,
    }
}

/// Only a courtesy to other programs: RETR has kept its promise already. Where one of them has renamed the message, it has marked it as it likes.
fn mark_as_seen(mut file: postrider_maildir::Message) {
    if !file.name().flags().contains(Flag::SEEN) && file.path().symlink_metadata().is_ok() {
        let _ = file.add_flags(Flag::SEEN.into());
    }
}

fn order<'e>(entry: &'e Entry<'_>) -> (u64, &'e [u8]) {
    (entry.name().seconds().unwrap_or(0), entry.name().base())
}

/// What stays of the file's name, or a hash of it.
fn unique_id(unique: &[u8]) -> String {
    match UniqueId::new(unique) {
        Ok(id) => id.to_string(),
        Err(_) => hash(unique),
    }
}

/// Octets that `RETR` will send. A name's `,W=` is believed where its `,S=` is the size of the file; only the last octet is read then.
fn wire_size(message: &mut postrider_maildir::Message) -> Result<u64, Error> {
    let mut file = message.open()?;
    let path = message.path();
    let failed = |source| Error::Io { operation: Operation::Read, path: path.clone(), source };
    let len = file.metadata().map_err(failed)?.len();
    match stated(message.name(), len) {
        Some(0) => Ok(0),
        Some(octets) => {
            let mut last = [0];
            file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(failed)?;
            Ok(if last == *b"\n" { octets } else { octets + 2 })
        }
        None => super::wire_size(file, |_| {}).map_err(failed),
    }
}

fn stated(name: &Name<'_>, len: u64) -> Option<u64> {
    let crlf_size = name.crlf_size()?;
    (name.size() == Some(len) && crlf_size >= len && crlf_size <= len.saturating_mul(2)).then_some(crlf_size)
}
