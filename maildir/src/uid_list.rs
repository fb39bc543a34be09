//! Which UID each message has: Dovecot's `dovecot-uidlist`, and Courier's `courierimapuiddb`.

mod parse;
mod update;
mod write;

use std::fmt;
use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::listing::Listing;
use crate::name::Name;

pub use crate::uid_list::update::UidUpdate;

/// Dovecot keeps 2³² − 1 for itself.
const MAX_UID: u32 = u32::MAX - 1;

/// Why octets are no list of UIDs, or a list cannot grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UidListError {
    /// The first line is not that of version 1 or 3, or lacks UIDVALIDITY or the next UID.
    #[error("the first line is not that of a list of version 1 or 3")]
    Header,
    /// A line is not `uid [letters] :name`, or not `uid name` in version 1, or holds a NUL or a slash.
    #[error("line {line} is not an entry")]
    Entry {
        /// Which line, the first being 1.
        line: usize,
    },
    /// A UID is not greater than that of the line before, or too great.
    #[error("line {line}: UIDs must increase from 1 to 4294967294, and stay below the next UID in version 1")]
    Order {
        /// Which line, the first being 1.
        line: usize,
    },
    /// A list of 4 GiB or more.
    #[error("a list of 4 GiB or more")]
    TooLarge,
    /// The next UID would be above 4294967294. Only a new UIDVALIDITY helps: [`UidUpdate::renumber`].
    #[error("no UID is left")]
    Exhausted,
}

/// The UIDs of a Maildir's messages.
///
/// Reads `dovecot-uidlist` of version 3, and version 1, which is also `courierimapuiddb`; see [`UidList::parse`] for the
/// rules. Fields that this crate does not know are kept and written as they were. A message takes the length of its line
/// and some 25 octets.
///
/// ```
/// use postrider_maildir::UidList;
///
/// let list = UidList::parse(b"3 V1275660208 N24 G0123456789abcdef0123456789abcdef\n17 S710 Zx :1275660207.M1P2.host,S=710\n")?;
/// assert_eq!((list.uid_validity(), list.next_uid()), (1275660208, 24));
/// let entry = list.find(b"1275660207.M1P2.host,S=710").expect("it is in the list");
/// assert_eq!((entry.uid(), entry.field(b'S')), (17, Some(&b"710"[..])));
/// # Ok::<(), postrider_maildir::UidListError>(())
/// ```
#[derive(Clone)]
pub struct UidList {
    header: Header,
    /// The file as it was read, without an incomplete last line, and all that was added since.
    octets: Vec<u8>,
    rows: Vec<Row>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Entries that count: those without a name were replaced or removed.
    live: usize,
    /// How much of `octets` the file has.
    stored: usize,
    /// What is in the file cannot be completed by appending.
    rewrite: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    uid_validity: u32,
    next_uid: u32,
    /// 32 hexadecimal digits.
    guid: Option<[u8; 32]>,
    /// The other fields, as they stand in the file.
    fields: Vec<u8>,
}

/// Where one entry stands in the octets: fields from `fields` to before `name`, the name up to `end`.
#[derive(Clone, Copy, Debug)]
struct Row {
    uid: u32,
    fields: u32,
    name: u32,
    end: u32,
}

/// One message of a [`UidList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidEntry<'a> {
    uid: u32,
    fields: &'a [u8],
    name: &'a [u8],
}

impl<'a> UidEntry<'a> {
    /// The UID: 1 to 4294967294.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The base name of the message's file, up to the first colon.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// The fields, each a letter and its value: Dovecot's are `S` size, `W` size with CRLF, `P` UIDL, `O` order for POP3,
    /// `G` GUID.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        fields(self.fields)
    }

    /// The value of the field with that letter.
    #[must_use]
    pub fn field(&self, letter: u8) -> Option<&'a [u8]> {
        self.fields().find(|(candidate, _)| *candidate == letter).map(|(_, value)| value)
    }
}

impl UidList {
    /// A list without messages, whose first UID will be 1. A UIDVALIDITY of 0, which none can be, becomes 1.
    #[must_use]
    pub fn new(uid_validity: u32) -> Self {
        let header = Header { uid_validity: uid_validity.max(1), next_uid: 1, guid: None, fields: Vec::new() };
        Self::with_header(header)
    }

    fn with_header(header: Header) -> Self {
        let (hasher, index) = (DefaultHashBuilder::default(), HashTable::new());
        let (octets, rows) = (Vec::new(), Vec::new());
        Self { header, octets, rows, index, hasher, live: 0, stored: 0, rewrite: true }
    }

    /// A client may keep what it knows by UID for as long as this number stays the same. Never 0.
    #[must_use]
    pub fn uid_validity(&self) -> u32 {
        self.header.uid_validity
    }

    /// What the next message gets, if no other program is faster.
    #[must_use]
    pub fn next_uid(&self) -> u32 {
        self.header.next_uid
    }

    /// What identifies the mailbox, 32 hexadecimal digits. Lists of version 1 have none.
    #[must_use]
    pub fn guid(&self) -> Option<&str> {
        self.header.guid.as_ref().and_then(|guid| std::str::from_utf8(guid).ok())
    }

    /// The value of a field of the first line, other than `V`, `N` and `G`: Dovecot's are `P`, the format of UIDLs.
    #[must_use]
    pub fn header_field(&self, letter: u8) -> Option<&[u8]> {
        fields(&self.header.fields).find(|(candidate, _)| *candidate == letter).map(|(_, value)| value)
    }

    /// How many messages have a UID. Some may have been removed since.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The messages by ascending UID.
    pub fn iter(&self) -> impl Iterator<Item = UidEntry<'_>> {
        self.rows.iter().filter(|row| row.is_live()).map(|row| self.entry(row))
    }

    /// The message with that base name (see [`Name::base`]), in constant time.
    #[must_use]
    pub fn find(&self, base: &[u8]) -> Option<UidEntry<'_>> {
        self.row_of(key(base)).and_then(|row| self.rows.get(row)).map(|row| self.entry(row))
    }

    /// The message with that UID, in logarithmic time.
    #[must_use]
    pub fn get(&self, uid: u32) -> Option<UidEntry<'_>> {
        let at = self.rows.binary_search_by_key(&uid, |row| row.uid).ok()?;
        self.rows.get(at).filter(|row| row.is_live()).map(|row| self.entry(row))
    }

    /// Gives a UID to each message of the listing that has none, in the order of their delivery as the names tell it.
    /// Returns how many.
    ///
    /// A name that holds CR or LF cannot be in a list; such a message gets no UID.
    ///
    /// # Errors
    /// [`UidListError::Exhausted`] or [`UidListError::TooLarge`]; the messages before have their UIDs.
    pub fn assign(&mut self, listing: &Listing) -> Result<usize, UidListError> {
        let is_new = |entry: &crate::Entry<'_>| self.find(entry.name().base()).is_none();
        let mut new: Vec<_> = listing.iter().filter(is_new).map(|entry| age(entry.name())).collect();
        new.sort_unstable();
        let before = self.live;
        for (.., base) in &new {
            // Two names may differ only behind the colon where the list's names end.
            if self.find(base).is_none() && can_be_listed(base) {
                self.push(b"", base)?;
            }
        }
        Ok(self.live - before)
    }

    /// Forgets the messages that the listing does not have, if it [is settled](Listing::is_settled). Returns how many.
    ///
    /// The listing must be younger than the list: a message that came in between would lose its UID.
    pub fn forget_missing(&mut self, listing: &Listing) -> usize {
        if !listing.is_settled() {
            return 0;
        }
        let known: std::collections::HashSet<_> =
            listing.iter().map(|entry| key(entry.name().base()).to_vec()).collect();
        let gone =
            |row: &usize| self.rows.get(*row).is_some_and(|row| row.is_live() && !known.contains(self.name_of(row)));
        let gone: Vec<_> = (0..self.rows.len()).filter(gone).collect();
        gone.iter().for_each(|&row| self.forget(row));
        gone.len()
    }

    /// Sets a field of a message: a letter, and a value of printable ASCII without spaces. False if there is no such
    /// message, or it cannot be a field.
    pub fn set_field(&mut self, uid: u32, letter: u8, value: &[u8]) -> bool {
        let printable = |octet: &u8| octet.is_ascii_graphic();
        let Some(entry) = self.get(uid) else { return false };
        if letter == b':' || !printable(&letter) || !value.iter().all(printable) {
            return false;
        }
        let mut others = Vec::new();
        for (other, value) in entry.fields().filter(|(other, _)| *other != letter) {
            others.extend([&[other], value, b" "].concat());
        }
        others.push(letter);
        others.extend_from_slice(value);
        let name = entry.name().to_vec();
        self.relocate(uid, &others, &name).is_some()
    }

    fn entry(&self, row: &Row) -> UidEntry<'_> {
        UidEntry { uid: row.uid, fields: self.fields_of(row), name: self.name_of(row) }
    }

    fn fields_of(&self, row: &Row) -> &[u8] {
        let fields = self.octets.get(row.fields as usize..row.name as usize).unwrap_or_default();
        fields.strip_suffix(b":").unwrap_or(fields).trim_ascii_end()
    }

    fn name_of(&self, row: &Row) -> &[u8] {
        name_in(&self.octets, row)
    }

    fn row_of(&self, key: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        let same = |&row: &u32| self.rows.get(row as usize).is_some_and(|row| self.name_of(row) == key);
        self.index.find(hash, same).map(|&row| row as usize)
    }

    /// Gives the next UID to a message that has none.
    fn push(&mut self, fields: &[u8], base: &[u8]) -> Result<u32, UidListError> {
        let uid = self.header.next_uid;
        if uid > MAX_UID {
            return Err(UidListError::Exhausted);
        }
        let row = self.append(uid, fields, key(base)).ok_or(UidListError::TooLarge)?;
        self.rows.push(row);
        self.index_row(self.rows.len() - 1);
        self.live += 1;
        self.header.next_uid = uid + 1;
        Ok(uid)
    }

    /// Writes an entry's line behind all others. `None` if it does not fit.
    fn append(&mut self, uid: u32, fields: &[u8], name: &[u8]) -> Option<Row> {
        let start = self.octets.len();
        write::entry(&mut self.octets, uid, fields, name);
        let end = u32::try_from(self.octets.len()).ok();
        let Some(end) = end.map(|end| end - 1) else {
            self.octets.truncate(start);
            return None;
        };
        // These fit: they are less than `end`.
        let name = end - u32::try_from(name.len()).ok()?;
        Some(Row {
            uid,
            fields: name - 1 - u32::try_from(fields.len() + usize::from(!fields.is_empty())).ok()?,
            name,
            end,
        })
    }

    /// Writes an entry anew, with other fields.
    fn relocate(&mut self, uid: u32, fields: &[u8], name: &[u8]) -> Option<()> {
        let at = self.rows.binary_search_by_key(&uid, |row| row.uid).ok()?;
        let row = self.append(uid, fields, name)?;
        *self.rows.get_mut(at)? = row;
        self.rewrite = true;
        Some(())
    }

    /// Makes a row known by its name. An earlier row of that name no longer counts.
    fn index_row(&mut self, row: usize) {
        let Self { octets, rows, index, hasher, .. } = self;
        let name_at = |row: u32| rows.get(row as usize).map(|row| name_in(octets, row)).unwrap_or_default();
        // A list of less than 4 GiB has fewer rows than that.
        let row = u32::try_from(row).unwrap_or(u32::MAX);
        let hash = hasher.hash_one(name_at(row));
        let same = |&known: &u32| name_at(known) == name_at(row);
        match index.entry(hash, same, |&row| hasher.hash_one(name_at(row))) {
            Entry::Occupied(mut known) => {
                let replaced = std::mem::replace(known.get_mut(), row);
                if let Some(replaced) = rows.get_mut(replaced as usize) {
                    replaced.name = replaced.end;
                    self.live -= 1;
                }
            }
            Entry::Vacant(place) => {
                let _ = place.insert(row);
            }
        }
    }

    fn forget(&mut self, row: usize) {
        let Some(gone) = self.rows.get(row) else { return };
        let hash = self.hasher.hash_one(self.name_of(gone));
        if let Ok(known) = self.index.find_entry(hash, |&known| known as usize == row) {
            let _ = known.remove();
        }
        if let Some(gone) = self.rows.get_mut(row) {
            gone.name = gone.end;
            self.live -= 1;
        }
    }
}

impl Row {
    fn is_live(&self) -> bool {
        self.name < self.end
    }
}

fn name_in<'a>(octets: &'a [u8], row: &Row) -> &'a [u8] {
    octets.get(row.name as usize..row.end as usize).unwrap_or_default()
}

/// What Dovecot takes for the base of a name: all before the first colon.
fn key(base: &[u8]) -> &[u8] {
    // Hardly any has one; `contains` looks at words.
    if !base.contains(&b':') {
        return base;
    }
    base.split(|&octet| octet == b':').next().unwrap_or_default()
}

fn can_be_listed(base: &[u8]) -> bool {
    !key(base).is_empty() && !base.iter().any(|octet| b"\r\n\0/".contains(octet))
}

/// By the time of delivery, then by name.
fn age(name: &Name<'_>) -> (u64, u64, Vec<u8>) {
    let behind_dot = name.unique().splitn(2, |&octet| octet == b'.').nth(1).and_then(|rest| rest.strip_prefix(b"M"));
    let digits = behind_dot.map(|rest| rest.split(|octet| !octet.is_ascii_digit()).next().unwrap_or_default());
    let micros = digits.and_then(crate::name::number).unwrap_or(0);
    (name.seconds().unwrap_or(0), micros, name.base().to_vec())
}

/// A letter and its value, separated by spaces.
fn fields(octets: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    octets.split(|&octet| octet == b' ').filter_map(|field| field.split_first()).map(|(&letter, value)| (letter, value))
}

impl fmt::Debug for UidList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UidList").field("header", &self.header).field("len", &self.live).finish_non_exhaustive()
    }
}
