//! What Courier's POP3 server remembers of each message: `courierpop3dsizelist`.

use crate::error::Error;
use crate::maildir::Maildir;
use crate::name::{base_len, number};
use crate::replacement::read_if_there;
use crate::uidl::{UidlFormat, uidl_of_base};
use hashbrown::HashMap;

/// Size and unique id of each message, as Courier's POP3 server last told them to clients.
///
/// It is for reading: Courier makes it anew at each login, and what changes in between costs it only a look at the message.
/// A server that takes over keeps the unique ids, for instance in the `P` field of
/// [`UidUpdate::set_field`](crate::UidUpdate::set_field), where Dovecot takes them from, too.
///
/// ```
/// use postrider_maildir::Pop3Sizes;
///
/// let sizes = Pop3Sizes::parse(b"/3 18 1275660208\n1275660207.M1P2.host,S=710:2,S 728 17:1275660208:0\n");
/// let message = sizes.find(b"1275660207.M1P2.host,S=710").expect("it is in the list");
/// assert_eq!((message.size(), message.uidl().as_deref()), (728, Some("UID17-1275660208")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pop3Sizes {
    version: u8,
    next_uid: u32,
    uid_validity: u32,
    messages: HashMap<Vec<u8>, Pop3Size>,
    skipped: usize,
}

/// One message of a [`Pop3Sizes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pop3Size {
    size: u64,
    uid: u32,
    uid_validity: u32,
    is_utf8: bool,
    /// Of messages that have no UID.
    base_id: Option<String>,
}

impl Pop3Size {
    /// The size with each line end as CRLF, in octets.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The unique id that clients know the message by. `None` where it is a name of more than 70 octets.
    #[must_use]
    pub fn uidl(&self) -> Option<String> {
        match (self.uid, self.uid_validity) {
            (0, _) => self.base_id.clone(),
            (uid, 0) => Some(UidlFormat::CourierUid.write(uid, 0)),
            (uid, validity) => Some(UidlFormat::Courier.write(uid, validity)),
        }
    }

    /// Whether the header holds 8-bit octets, which Courier tells from version 3 on.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        self.is_utf8
    }
}

impl Pop3Sizes {
    /// Reads the list in linear time. Any octets can be read: lines that are none of its version's are [skipped](
    /// Self::skipped), as Courier does.
    ///
    /// ```text
    /// version 0:                             name SP size
    /// version 1: "/1 " next                  name SP size SP uid
    /// version 2: "/2 " next SP validity      name SP size SP uid ":" validity
    /// version 3: "/3 " next SP validity      name SP size SP uid ":" validity ":" utf8
    /// ```
    #[must_use]
    pub fn parse(octets: &[u8]) -> Self {
        let mut lines = octets.split_inclusive(|&octet| octet == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
        let mut sizes = match octets.first() {
            Some(b'/') => Self::of_first_line(lines.next().unwrap_or_default()),
            _ => Self::default(),
        };
        for line in lines {
            match message(line, sizes.version) {
                Some((base, message)) => drop(sizes.messages.insert(base.to_vec(), message)),
                None => sizes.skipped += 1,
            }
        }
        sizes
    }

    fn of_first_line(line: &[u8]) -> Self {
        let mut numbers = line.get(1..).unwrap_or_default().split(|&octet| octet == b' ').map(uint32);
        let mut next = || numbers.next().flatten().unwrap_or(0);
        let version = u8::try_from(next()).unwrap_or(u8::MAX);
        Self { version, next_uid: next(), uid_validity: next(), ..Self::default() }
    }

    /// The version of the list: 0 to 3. Of another nothing is read.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The number the next message gets; 0 if the list has none.
    #[must_use]
    pub fn next_uid(&self) -> u32 {
        self.next_uid
    }

    /// The UIDVALIDITY that new messages get; 0 if the list has none.
    #[must_use]
    pub fn uid_validity(&self) -> u32 {
        self.uid_validity
    }

    /// The message with that base name.
    #[must_use]
    pub fn find(&self, base: &[u8]) -> Option<&Pop3Size> {
        self.messages.get(base)
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many lines could not be read. Those messages get new unique ids from Courier, too.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

/// One line: its fields are read from the end, since a name may hold spaces.
fn message(line: &[u8], version: u8) -> Option<(&[u8], Pop3Size)> {
    let (line, ids) = if version == 0 { (line, &b""[..]) } else { split_last(line)? };
    let (name, size) = split_last(line)?;
    let mut ids = ids.split(|&octet| octet == b':');
    let mut id = || ids.next().and_then(uint32);
    let (uid, uid_validity, utf8) = match version {
        0 => (0, 0, 0),
        1 => (id()?, 0, 0),
        2 => (id()?, id()?, 0),
        3 => (id()?, id()?, id()?),
        _ => return None,
    };
    let base = name.get(..base_len(name)).filter(|base| !base.is_empty())?;
    let base_id = if uid == 0 { uidl_of_base(base) } else { None };
    Some((base, Pop3Size { size: number(size)?, uid, uid_validity, is_utf8: utf8 != 0, base_id }))
}

fn split_last(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().rposition(|&octet| octet == b' ')?;
    Some((line.get(..space)?, line.get(space + 1..)?))
}

fn uint32(digits: &[u8]) -> Option<u32> {
    number(digits).and_then(|value| u32::try_from(value).ok())
}

impl Maildir {
    /// Reads `courierpop3dsizelist`. `None` if there is none.
    ///
    /// # Errors
    /// [`Error::NotRegular`] and [`Error::Io`].
    pub fn courier_pop3_sizes(&self) -> Result<Option<Pop3Sizes>, Error> {
        Ok(read_if_there(&self.path().join("courierpop3dsizelist"))?.map(|octets| Pop3Sizes::parse(&octets)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(octets: &str, base: &str) -> (u64, Option<String>) {
        let sizes = Pop3Sizes::parse(octets.as_bytes());
        let message = sizes.find(base.as_bytes()).unwrap();
        (message.size(), message.uidl())
    }

    #[test]
    fn each_version_gives_the_unique_ids_that_courier_gave() {
        let id = |id: &str| Some(id.to_owned());
        assert_eq!(ids("1.a+b.h:2,S 44\n", "1.a+b.h"), (44, id("1.a+2Bb.h")));
        assert_eq!(ids("/1 9\n1.a.h:2,S 44 8\n", "1.a.h"), (44, id("UID8")));
        assert_eq!(ids("/2 9 77\n1.a.h:2,S 44 8:77\n", "1.a.h"), (44, id("UID8-77")));
        assert_eq!(ids("/3 9 77\n1.a b.h 44 8:76:1\n", "1.a b.h"), (44, id("UID8-76")));
        assert_eq!(ids("/3 9 77\n1.a.h 44 0:0:0\n", "1.a.h"), (44, id("1.a.h")), "kept from version 0");
        assert_eq!(ids("/3 9 77\n1.a.h 44 5:0:0\n", "1.a.h"), (44, id("UID5")), "kept from version 1");
        let sizes = Pop3Sizes::parse(b"/3 9 77\n1.a.h 44 5:7:1\n");
        assert_eq!((sizes.version(), sizes.next_uid(), sizes.uid_validity()), (3, 9, 77));
        assert!(sizes.find(b"1.a.h").unwrap().is_utf8());
    }

    #[test]
    fn lines_that_are_not_of_the_version_are_skipped_and_counted() {
        let lines =
            "1.ok 5 1:2:0\n\n1.a\n1.a x 1:2:0\n1.a 5 1:2\n1.a 5 4294967296:2:0\n5 1:2:0\n:2,S 5 1:2:0\n1.torn 5 1:2:0";
        let sizes = Pop3Sizes::parse(format!("/3 9 77\n{lines}").as_bytes());
        assert_eq!((sizes.len(), sizes.skipped()), (1, 7));
        assert_eq!(Pop3Sizes::parse(b"/4 1 2\na 1 2:3:0\n").len(), 0);
        for octets in [&b""[..], b"/", b"/\n", b"/999999999999 1\n", b"\0\n", b"/3"] {
            assert!(Pop3Sizes::parse(octets).is_empty());
        }
    }
}
