//! Which folders a user has subscribed to: Dovecot's `subscriptions`, Courier's `courierimapsubscribed`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::calls;
use crate::dotlock::Dotlock;
use crate::error::Error;
use crate::maildir::Maildir;
use crate::replacement::{Replacement, read_if_there};

/// The first lines of version 2.
const VERSION_2: &[u8] = b"V\t2\n\n";

/// In which file subscriptions stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionFile {
    /// `courierimapsubscribed`: names as clients see them, `INBOX.Sent`.
    Courier,
    /// `subscriptions`: names as Dovecot stores them, usually without `INBOX.`.
    Dovecot,
}

/// The folders a user has subscribed to.
///
/// Lines of one name each; in Dovecot's version 2, parts of a name between tabs, with controls escaped. The order, the
/// version and lines that are no name stay.
///
/// ```
/// use postrider_maildir::Subscriptions;
///
/// let mut folders = Subscriptions::parse(b"V\t2\n\nSent\nLists\trust\n");
/// assert!(folders.add(&[b"Lists", b"mail"]));
/// assert_eq!(folders.to_octets(), b"V\t2\n\nSent\nLists\trust\nLists\tmail\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    version_2: bool,
    lines: Vec<Vec<u8>>,
}

impl Subscriptions {
    /// No subscription, in version 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads any octets, in linear time. A last line without LF is a name, too.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Self {
        let (version_2, rest) = match octets.strip_prefix(VERSION_2) {
            Some(rest) => (true, rest),
            None => (false, octets),
        };
        let lines = rest.split(|&octet| octet == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
        Self { version_2, lines }
    }

    /// The names, each as its parts. In version 1 a name is one part, whatever separates its levels.
    pub fn iter(&self) -> impl Iterator<Item = Vec<Cow<'_, [u8]>>> {
        self.lines.iter().map(|line| self.parts(line))
    }

    /// Whether there is a subscription to that name.
    #[must_use]
    pub fn contains(&self, parts: &[&[u8]]) -> bool {
        self.iter().any(|known| known == parts)
    }

    /// Subscribes. False if that was so already, or the name cannot be written: it has several parts in version 1 or an
    /// empty one, or holds LF, CR or NUL.
    pub fn add(&mut self, parts: &[&[u8]]) -> bool {
        match self.line(parts).filter(|_| !self.contains(parts)) {
            Some(line) => {
                self.lines.push(line);
                true
            }
            None => false,
        }
    }

    /// Ends a subscription. False if there was none.
    pub fn remove(&mut self, parts: &[&[u8]]) -> bool {
        let before = self.lines.len();
        let mut lines = std::mem::take(&mut self.lines);
        lines.retain(|line| self.parts(line) != parts);
        self.lines = lines;
        self.lines.len() < before
    }

    /// The octets of the file.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut octets = if self.version_2 { VERSION_2.to_vec() } else { Vec::new() };
        for line in &self.lines {
            octets.extend_from_slice(line);
            octets.push(b'\n');
        }
        octets
    }

    fn parts<'a>(&self, line: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
        match self.version_2 {
            true => line.split(|&octet| octet == b'\t').map(unescape).collect(),
            false => vec![Cow::Borrowed(line)],
        }
    }

    fn line(&self, parts: &[&[u8]]) -> Option<Vec<u8>> {
        let unwritable = |part: &&[u8]| part.is_empty() || part.iter().any(|octet| b"\r\n\0".contains(octet));
        if parts.is_empty() || parts.iter().any(unwritable) || (!self.version_2 && parts.len() > 1) {
            return None;
        }
        let written = |part: &&[u8]| if self.version_2 { escape(part) } else { part.to_vec() };
        Some(parts.iter().map(written).collect::<Vec<_>>().join(&b'\t'))
    }
}

/// Dovecot's: octet 1 begins an escape, `0` NUL, `1` itself, `t` tab, `r` CR, `n` LF.
fn unescape(part: &[u8]) -> Cow<'_, [u8]> {
    if !part.contains(&1) {
        return Cow::Borrowed(part);
    }
    let (mut octets, mut rest) = (Vec::with_capacity(part.len()), part.iter());
    while let Some(&octet) = rest.next() {
        let escaped = if octet == 1 { rest.next() } else { None };
        octets.push(match escaped {
            Some(b'0') => 0,
            Some(b'1') => 1,
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(&other) => other,
            None => octet,
        });
    }
    Cow::Owned(octets)
}

fn escape(part: &[u8]) -> Vec<u8> {
    let escaped = part.iter().flat_map(|octet| match octet {
        1 => &b"\x011"[..],
        b'\t' => b"\x01t",
        octet => std::slice::from_ref(octet),
    });
    escaped.copied().collect()
}

impl Maildir {
    /// Reads the subscriptions, without a lock. Where there is no file, there is none.
    ///
    /// # Errors
    /// [`Error::NotRegular`] and [`Error::Io`].
    pub fn subscriptions(&self, file: SubscriptionFile) -> Result<Subscriptions, Error> {
        Ok(read_if_there(&self.subscriptions_path(file))?
            .map(|octets| Subscriptions::parse(&octets))
            .unwrap_or_default())
    }

    /// Changes the subscriptions under a lock, `subscriptions.lock` as Dovecot has it, and returns what `change` does. The
    /// file is whole and on stable storage at any time. Courier takes no lock; of two changes at the same time by Courier
    /// and by us, the earlier may be lost.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::LockLost`], [`Error::NotRegular`], [`Error::Io`], [`Error::IoBetween`].
    pub fn change_subscriptions<T>(
        &self,
        file: SubscriptionFile,
        change: impl FnOnce(&mut Subscriptions) -> T,
    ) -> Result<T, Error> {
        let path = self.subscriptions_path(file);
        let mut lock = Dotlock::acquire(self, &path)?;
        let before = self.subscriptions(file)?;
        let mut after = before.clone();
        let changed = change(&mut after);
        if after != before {
            let mut replacement = Replacement::begin(self)?;
            replacement.write(&after.to_octets())?;
            replacement.replace(&path, || lock.assert_held())?;
        } else {
            store(&path)?;
        }
        Ok(changed)
    }

    fn subscriptions_path(&self, file: SubscriptionFile) -> PathBuf {
        self.path().join(match file {
            SubscriptionFile::Courier => "courierimapsubscribed",
            SubscriptionFile::Dovecot => "subscriptions",
        })
    }
}

/// Whoever wrote what is there already may not have synced it.
fn store(path: &Path) -> Result<(), Error> {
    match calls::open_message(path) {
        Err(error) if error.is_missing() => return Ok(()),
        file => calls::sync_file(&file?, path)?,
    }
    calls::sync_directory(path.parent().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(folders: &Subscriptions) -> Vec<String> {
        let part = |part: &Cow<'_, [u8]>| part.escape_ascii().to_string();
        folders.iter().map(|parts| parts.iter().map(part).collect::<Vec<_>>().join("|")).collect()
    }

    #[test]
    fn both_versions_are_read_and_written_with_their_names() {
        let one = Subscriptions::parse(b"INBOX.Sent\nINBOX.Lists.rust\n\nlast\twithout LF");
        assert_eq!(shown(&one), ["INBOX.Sent", "INBOX.Lists.rust", "last\\twithout LF"]);
        assert_eq!(one.to_octets(), b"INBOX.Sent\nINBOX.Lists.rust\nlast\twithout LF\n");
        let two = Subscriptions::parse(b"V\t2\n\nSent\nLists\tru\x01tst\nodd\x01\n");
        assert_eq!(shown(&two), ["Sent", "Lists|ru\\tst", "odd\\x01"]);
        assert_eq!(two.to_octets(), b"V\t2\n\nSent\nLists\tru\x01tst\nodd\x01\n");
        assert_eq!(shown(&Subscriptions::parse(b"V\t3\n\nx\n")), ["V\\t3", "x"]);
    }

    #[test]
    fn what_cannot_be_written_is_not_added() {
        let mut one = Subscriptions::new();
        assert!(one.add(&[b"a"]) && !one.add(&[b"a"]) && one.contains(&[b"a"]));
        assert!(!one.add(&[b"a", b"b"]) && !one.add(&[]) && !one.add(&[b""]) && !one.add(&[b"x\ny"]));
        let mut two = Subscriptions::parse(VERSION_2);
        assert!(two.add(&[b"a\tb", b"\x01"]) && two.contains(&[b"a\tb", b"\x01"]));
        assert_eq!(shown(&Subscriptions::parse(&two.to_octets())), ["a\\tb|\\x01"]);
        assert!(two.remove(&[b"a\tb", b"\x01"]) && !two.remove(&[b"a\tb", b"\x01"]));
        assert_eq!(two.to_octets(), VERSION_2);
    }

    #[test]
    fn subscriptions_are_changed_under_a_lock_that_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::create(scratch.path().join("m")).unwrap();
        for file in [SubscriptionFile::Courier, SubscriptionFile::Dovecot] {
            assert!(maildir.change_subscriptions(file, |folders| folders.add(&[b"Sent"])).unwrap());
            assert!(!maildir.change_subscriptions(file, |folders| folders.add(&[b"Sent"])).unwrap());
            assert_eq!(shown(&maildir.subscriptions(file).unwrap()), ["Sent"]);
            let path = maildir.subscriptions_path(file);
            assert_eq!(std::fs::read(&path).unwrap(), b"Sent\n");
            assert!(!path.with_extension("lock").exists());
        }
    }
}
