use std::io::BufRead;

use crate::name::number;
use crate::uid_list::{Header, MAX_UID, Row, UidList, UidListError};

/// How a list is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// `1 validity next`, then `uid name`: Dovecot before 1.1, and Courier.
    One,
    /// `3 V… N… G…`, then `uid fields :name`.
    Three,
}

impl UidList {
    /// Reads a list in the time it takes to look at each octet once.
    ///
    /// ```text
    /// list   = header *entry                       ; each line ends with LF
    /// header = "1 " validity SP next / "3" 2*(SP letter value)
    /// entry  = uid *(SP letter value) " :" name    ; version 3
    /// entry  = uid SP name                         ; version 1
    /// ```
    ///
    /// A last line without its LF is an entry that somebody is about to write, or did not come to write: it is not read,
    /// and rewritten over. A name that comes twice has the greater UID: the message was there, gone, and there again.
    ///
    /// # Errors
    /// [`UidListError`] for a list that breaks the rules of its version, UIDs that do not increase above all. No UID in it
    /// can be trusted then, and [`Maildir::update_uids`](crate::Maildir::update_uids) begins anew with a greater
    /// UIDVALIDITY.
    pub fn parse(octets: impl Into<Vec<u8>>) -> Result<Self, UidListError> {
        let mut octets = octets.into();
        if u32::try_from(octets.len()).is_err() {
            return Err(UidListError::TooLarge);
        }
        let complete = octets.iter().rposition(|&octet| octet == b'\n').map_or(0, |last| last + 1);
        let torn = complete < octets.len();
        octets.truncate(complete);
        let start = line_len(&octets);
        let (version, header) = header(octets.get(..start).unwrap_or_default()).ok_or(UidListError::Header)?;
        let mut list = Self::with_header(header);
        list.rows = rows(&octets, start, version, list.header.next_uid)?;
        list.octets = octets;
        list.rewrite = torn || version == Version::One || list.header.guid.is_none();
        list.index_all();
        Ok(list)
    }

    fn index_all(&mut self) {
        let last = self.rows.last().map_or(0, |row| row.uid);
        self.header.next_uid = self.header.next_uid.max(last + 1);
        (self.live, self.stored) = (self.rows.len(), self.octets.len());
        self.index.reserve(self.rows.len(), |_| 0);
        (0..self.rows.len()).for_each(|row| self.index_row(row));
    }
}

/// What the first line says UIDVALIDITY is, whatever follows; 0 if it does not.
pub(super) fn claimed_validity(octets: &[u8]) -> u32 {
    header(octets.get(..line_len(octets)).unwrap_or_default()).map_or(0, |(_, header)| header.uid_validity)
}

/// The length of the first line, its LF included.
fn line_len(octets: &[u8]) -> usize {
    // `skip_until` searches words, not octets. Reading from a slice does not fail.
    let mut rest = octets;
    rest.skip_until(b'\n').unwrap_or(0)
}

fn header(line: &[u8]) -> Option<(Version, Header)> {
    match line.strip_suffix(b"\n")? {
        [b'1', b' ', rest @ ..] => {
            let mut numbers = rest.split(|&octet| octet == b' ').filter(|field| !field.is_empty()).map(uint32);
            let (uid_validity, next_uid) = (numbers.next()??, numbers.next()??);
            let header = Header { uid_validity, next_uid, guid: None, fields: Vec::new() };
            Some((Version::One, header)).filter(|(_, header)| header.is_sound())
        }
        [b'3', b' ', rest @ ..] if !rest.contains(&0) => Some((Version::Three, header_of_fields(rest)?)),
        _ => None,
    }
}

fn header_of_fields(octets: &[u8]) -> Option<Header> {
    let mut header = Header { uid_validity: 0, next_uid: 0, guid: None, fields: Vec::new() };
    for field in octets.split(|&octet| octet == b' ') {
        match field {
            [] => {}
            [b'V', value @ ..] => header.uid_validity = uint32(value)?,
            [b'N', value @ ..] => header.next_uid = uint32(value)?,
            [b'G', value @ ..] => header.guid = Some(guid(value)?),
            unknown => {
                let space: &[u8] = if header.fields.is_empty() { b"" } else { b" " };
                header.fields.extend_from_slice(space);
                header.fields.extend_from_slice(unknown);
            }
        }
    }
    Some(header).filter(Header::is_sound)
}

impl Header {
    fn is_sound(&self) -> bool {
        self.uid_validity > 0 && self.next_uid > 0
    }
}

fn guid(value: &[u8]) -> Option<[u8; 32]> {
    let value: [u8; 32] = value.try_into().ok()?;
    value.iter().all(u8::is_ascii_hexdigit).then_some(value)
}

fn uint32(digits: &[u8]) -> Option<u32> {
    number(digits).and_then(|value| u32::try_from(value).ok())
}

fn rows(octets: &[u8], start: usize, version: Version, next_uid: u32) -> Result<Vec<Row>, UidListError> {
    let mut rows = Vec::<Row>::new();
    let (mut at, mut previous) = (start, 0);
    let limit = if version == Version::One { next_uid } else { MAX_UID + 1 };
    while let Some(rest) = octets.get(at..).filter(|rest| !rest.is_empty()) {
        let len = line_len(rest);
        let line = rows.len() + 2;
        let row = row(octets, at, at + len - 1, version).ok_or(UidListError::Entry { line })?;
        if row.uid <= previous || row.uid >= limit {
            return Err(UidListError::Order { line });
        }
        previous = row.uid;
        rows.push(row);
        at += len;
    }
    Ok(rows)
}

/// The entry from `at` to `end`, where its LF stands.
fn row(octets: &[u8], at: usize, end: usize, version: Version) -> Option<Row> {
    let line = octets.get(at..end)?;
    let space = line.iter().position(|&octet| octet == b' ')?;
    // A UID that is no 32-bit number is out of order, which says more than that it is no entry.
    let uid = number(line.get(..space)?).map(|uid| u32::try_from(uid).unwrap_or(u32::MAX))?;
    let fields = space + spaces(line.get(space..)?);
    let name = match version {
        Version::One => fields,
        Version::Three => fields + name_at(line.get(fields..)?)?,
    };
    // The name ends where Dovecot ends it, though none in a list should have a colon.
    let base = super::key(line.get(name..)?);
    let sound = !base.is_empty() && !base.contains(&b'/') && !line.contains(&0);
    let at32 = |offset: usize| u32::try_from(at + offset).ok();
    sound.then_some(Row { uid, fields: at32(fields)?, name: at32(name)?, end: at32(name + base.len())? })
}

/// Where the name begins behind the fields: behind the first colon that begins a field.
fn name_at(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        if *text.get(at)? == b':' {
            return Some(at + 1);
        }
        let field = text.get(at..)?.iter().position(|&octet| octet == b' ')?;
        at += field + spaces(text.get(at + field..)?);
    }
}

fn spaces(octets: &[u8]) -> usize {
    octets.iter().take_while(|&&octet| octet == b' ').count()
}
