//! What may be wrong with a Maildir.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime};

use postrider_maildir::{Info, MIN_TMP_AGE, Maildir, Name};

use super::{Finding, Found};
use crate::mailconv::content::{Content, Stored};
use crate::mailconv::failure::Failure;
use crate::mailconv::source::directory;

/// Tells what is wrong with a Maildir.
///
/// # Errors
///
/// When it cannot be read.
pub(super) fn check(path: &Path, found: Found<'_>) -> Result<(), Failure> {
    let mut bases = HashMap::new();
    let mut is_whole = true;
    for folder in ["cur", "new", "tmp"] {
        let below = path.join(folder);
        if !fs::metadata(&below).is_ok_and(|metadata| metadata.is_dir()) {
            is_whole = false;
            found(Finding::of_all("missing-directory", format!("there is no {folder}/")))?;
            continue;
        }
        for (name, file) in directory(&below)? {
            // Somebody may have renamed it since.
            let Ok(metadata) = file.symlink_metadata() else { continue };
            let place = [folder.as_bytes(), b"/", &name].concat();
            match folder {
                "tmp" => leftover(place, &metadata, found)?,
                _ => message(place, &name, &file, &metadata, &mut bases, found)?,
            }
        }
    }
    if is_whole { lists(path, found) } else { Ok(()) }
}

/// A file in `tmp/` that nobody is going to deliver.
fn leftover(place: Vec<u8>, metadata: &Metadata, found: Found<'_>) -> Result<(), Failure> {
    let age = metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    let age = age.unwrap_or_default();
    if !metadata.is_file() || age < MIN_TMP_AGE {
        return Ok(());
    }
    let hours = age.as_secs() / Duration::from_secs(3600).as_secs();
    found(Finding::of_file(place, "left-in-tmp", format!("{} octets, {hours} hours old", metadata.len())))
}

fn message(
    place: Vec<u8>,
    name: &[u8],
    file: &Path,
    metadata: &Metadata,
    bases: &mut HashMap<Vec<u8>, Vec<u8>>,
    found: Found<'_>,
) -> Result<(), Failure> {
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "no regular file" };
        return found(Finding::of_file(place, "not-a-file", format!("{what}: mail readers pass it over")));
    }
    let parsed = match Name::parse(name) {
        Ok(parsed) if !name.starts_with(b".") => parsed,
        Ok(_) => {
            return found(Finding::of_file(
                place,
                "unreadable-name",
                "a hidden file: mail readers pass it over".to_owned(),
            ));
        }
        Err(error) => return found(Finding::of_file(place, "unreadable-name", error.to_string())),
    };
    if name.iter().any(u8::is_ascii_control) {
        let text = "control characters in its name, which lists of UIDs cannot hold";
        found(Finding::of_file(place.clone(), "unreadable-name", text.to_owned()))?;
    }
    if matches!(parsed.info(), Info::None) && name.contains(&b':') {
        let text = "what stands behind the colon is neither `2,` and flags nor `1,`";
        found(Finding::of_file(place.clone(), "odd-info", text.to_owned()))?;
    }
    if let Some(other) = bases.insert(parsed.base().to_vec(), place.clone()) {
        let text = format!("the same base name as {}", crate::mailconv::octets::shown(&other));
        found(Finding::of_file(place.clone(), "duplicate", text))?;
    }
    sizes(place, &parsed, file, metadata, found)
}

/// What the name says of the size; and NULs, as a crash leaves them.
fn sizes(place: Vec<u8>, name: &Name<'_>, path: &Path, metadata: &Metadata, found: Found<'_>) -> Result<(), Failure> {
    let len = metadata.len();
    if len == 0 {
        found(Finding::of_file(place.clone(), "empty", "an empty file".to_owned()))?;
    }
    // Somebody may have renamed it since.
    let Ok(file) = fs::File::open(path) else { return Ok(()) };
    let (mut lone, mut before, mut nuls) = (0_u64, 0, 0_u64);
    Stored { file: &file, path, range: 0..len }.read(&mut |octets| {
        for end in memchr::memchr_iter(b'\n', octets) {
            let octet = end.checked_sub(1).map_or(before, |before| octets.get(before).copied().unwrap_or(0));
            lone += u64::from(octet != b'\r');
        }
        nuls += memchr::memchr_iter(0, octets).count() as u64;
        before = octets.last().copied().unwrap_or(before);
        Ok(())
    })?;
    if let Some(said) = name.field(b"S").filter(|_| name.size() != Some(len)) {
        let said = String::from_utf8_lossy(said);
        found(Finding::of_file(
            place.clone(),
            "wrong-size",
            format!("its name says S={said}, and it has {len} octets"),
        ))?;
    }
    if let Some(said) = name.field(b"W").filter(|_| name.crlf_size() != Some(len + lone)) {
        let said = String::from_utf8_lossy(said);
        let text = format!("its name says W={said}, and with CRLF it has {} octets", len + lone);
        found(Finding::of_file(place.clone(), "wrong-size", text))?;
    }
    if nuls > 0 {
        found(Finding::of_file(place, "nul", format!("{nuls} NUL octets, as a crash leaves them")))?;
    }
    Ok(())
}

/// The files beside the mail.
fn lists(path: &Path, found: Found<'_>) -> Result<(), Failure> {
    let maildir = Maildir::open(path)?;
    if let Err(error) = maildir.uid_list() {
        found(Finding::of_file(b"dovecot-uidlist".to_vec(), "uids", error.to_string()))?;
    }
    let keywords = maildir.keywords()?;
    let mut unknown = 0;
    for entry in maildir.list()?.iter() {
        let letters = entry.name().flags();
        let letters = letters.iter().filter(|flag| flag.keyword_number().is_some());
        unknown += u64::from(letters.into_iter().any(|flag| keywords.name(flag).is_none()));
    }
    if unknown > 0 {
        let text = format!("{unknown} messages have keyword letters that dovecot-keywords does not explain");
        found(Finding::of_all("keywords", text))?;
    }
    Ok(())
}
