//! A mended copy of a Maildir.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use postrider_maildir::{Flags, MIN_TMP_AGE, Maildir, Name, UidList};

use super::Mended;
use crate::mailconv::content::{Content, Stored};
use crate::mailconv::failure::{At, Failure};
use crate::mailconv::source::directory;
use crate::mailconv::state::sync_above;

/// Writes it.
pub(super) fn repair(path: &Path, to: &Path, lost: &Path) -> Result<Mended, Failure> {
    let maildir = Maildir::create(to)?;
    let keywords = path.join("dovecot-keywords");
    if keywords.is_file() {
        copy(&keywords, &to.join("dovecot-keywords"))?;
    }
    let uids = fs::read(path.join("dovecot-uidlist")).ok().and_then(|octets| UidList::parse(octets).ok());
    let (mut messages, mut lines) = (0, Vec::new());
    for file in files(path)? {
        let uid = uids.as_ref().and_then(|uids| uids.find(&file.base)).map(|entry| entry.uid());
        let delivered = deliver(&maildir, &file)?;
        lines.extend(uid.map(|uid| (uid, delivered)));
        messages += 1;
    }
    if let Some(uids) = uids {
        lines.sort();
        // Of two with one base name the first keeps the UID.
        lines.dedup_by_key(|(uid, _)| *uid);
        let mut text = format!("3 V{} N{}\n", uids.uid_validity(), uids.next_uid()).into_bytes();
        for (uid, base) in lines {
            text.extend([format!("{uid} :").as_bytes(), &base, b"\n"].concat());
        }
        if let Ok(list) = UidList::parse(text) {
            let mut update = maildir.update_uids()?;
            update.adopt(list);
            update.commit()?;
        }
    }
    Ok(Mended { messages, lost: leftovers(path, lost)? })
}

/// A file that is a message.
struct Found {
    path: PathBuf,
    base: Vec<u8>,
    flags: Flags,
    is_new: bool,
}

/// All regular files of `cur/` and `new/`, whatever they are called, by name.
fn files(path: &Path) -> Result<Vec<Found>, Failure> {
    let mut all = Vec::new();
    for folder in ["cur", "new"] {
        let below = path.join(folder);
        if !below.is_dir() {
            continue;
        }
        for (name, path) in directory(&below)? {
            if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
                continue;
            }
            let parsed = Name::parse(name.as_slice()).ok();
            let flags = parsed.as_ref().map(Name::flags).unwrap_or_default();
            let base = parsed.as_ref().map_or_else(|| name.clone(), |parsed| parsed.base().to_vec());
            all.push(Found { path, base, flags, is_new: folder == "new" && flags.is_empty() });
        }
    }
    all.sort_by(|one, other| (&one.base, &one.path).cmp(&(&other.base, &other.path)));
    Ok(all)
}

/// Delivers a copy, and gives its base name.
fn deliver(maildir: &Maildir, found: &Found) -> Result<Vec<u8>, Failure> {
    let file = File::open(&found.path).at("open", &found.path)?;
    let metadata = file.metadata().at("look at", &found.path)?;
    let mut delivery = if found.is_new { maildir.delivery()? } else { maildir.delivery_into_cur(found.flags)? };
    Stored { file: &file, path: &found.path, range: 0..metadata.len() }
        .read(&mut |octets| delivery.write_all(octets).at("write to", maildir.path()))?;
    delivery.received_at(metadata.modified().at("look at", &found.path)?);
    Ok(delivery.commit()?.name().base().to_vec())
}

/// Copies what was left in `tmp/`. Gives how many octets that is.
fn leftovers(path: &Path, lost: &Path) -> Result<u64, Failure> {
    let below = path.join("tmp");
    let mut octets = 0;
    if !below.is_dir() {
        return Ok(0);
    }
    for (name, file) in directory(&below)? {
        let Ok(metadata) = file.symlink_metadata() else { continue };
        let age = metadata.modified().ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
        if metadata.is_file() && age >= MIN_TMP_AGE {
            use std::os::unix::ffi::OsStrExt;
            fs::create_dir_all(lost).at("create", lost)?;
            copy(&file, &lost.join(std::ffi::OsStr::from_bytes(&name)))?;
            octets += metadata.len();
        }
    }
    Ok(octets)
}

/// Copies a file, with its time, onto stable storage.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let source = File::open(from).at("open", from)?;
    let metadata = source.metadata().at("look at", from)?;
    let mut file = File::create_new(to).at("create", to)?;
    Stored { file: &source, path: from, range: 0..metadata.len() }
        .read(&mut |octets| file.write_all(octets).at("write", to))?;
    file.set_modified(metadata.modified().at("look at", from)?).at("set the time of", to)?;
    file.sync_all().at("sync", to)?;
    sync_above(to)
}
