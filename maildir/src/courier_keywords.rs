//! The keywords that Courier keeps beside the mail, in `courierimapkeywords/`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;

use hashbrown::HashMap;

use crate::error::{Error, Operation};
use crate::maildir::Maildir;
use crate::name::number;
use crate::replacement::read_if_there;

const DIRECTORY: &str = "courierimapkeywords";

/// How often a file may go between its name was seen and it was read: Courier puts its changes together now and then.
const TRIES: u32 = 16;

/// Which keywords each message has, as Courier keeps them.
///
/// It is for reading. Courier's programs change these files without a lock, by links and renames at certain five-minute
/// boundaries, and put them together at every look; a program that took part with other ideas of time could undo a change
/// of theirs. For a migration, give the keywords letters with [`Maildir::add_keyword`] and set those as flags.
///
/// ```
/// use postrider_maildir::CourierKeywords;
///
/// let keywords = CourierKeywords::parse(b"work\n$Forwarded\n\n1275660207.M1P2.host:0 1\n");
/// let of_message: Vec<_> = keywords.of(b"1275660207.M1P2.host").collect();
/// assert_eq!(of_message, [&b"$Forwarded"[..], b"work"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CourierKeywords {
    names: Vec<Vec<u8>>,
    /// By base name, as places in `names`.
    messages: HashMap<Vec<u8>, BTreeSet<usize>>,
    places: HashMap<Vec<u8>, usize>,
}

impl CourierKeywords {
    /// Reads the file `:list` in linear time: a line for each keyword, an empty line, then a line for each message that has
    /// some, of its base name, a colon and the numbers of its keywords, the first being 0. Any octets can be read; lines
    /// and numbers that say nothing are left out.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Self {
        let mut keywords = Self::default();
        let mut lines = octets.split(|&octet| octet == b'\n');
        let named: Vec<_> =
            lines.by_ref().take_while(|line| !line.is_empty()).map(|name| keywords.place(name)).collect();
        for line in lines {
            let Some(colon) = line.iter().position(|&octet| octet == b':') else { continue };
            let (base, numbers) = line.split_at(colon);
            let numbers = numbers.split(|octet| b": ".contains(octet)).filter_map(number);
            let places = numbers.filter_map(|number| named.get(usize::try_from(number).ok()?).copied()).collect();
            keywords.set(base, places);
        }
        keywords
    }

    /// The keywords of the message with that base name, in the order of their octets.
    pub fn of(&self, base: &[u8]) -> impl Iterator<Item = &[u8]> {
        let places = self.messages.get(base).into_iter().flatten();
        let mut names: Vec<_> = places.filter_map(|&place| self.names.get(place).map(Vec::as_slice)).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// The base names of the messages that have keywords.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.messages.keys().map(Vec::as_slice)
    }

    /// Takes a message's own file, a keyword in each line up to an empty one, in the place of what `:list` says.
    fn update(&mut self, base: &[u8], octets: &[u8]) {
        let lines = octets.split(|&octet| octet == b'\n').take_while(|line| !line.is_empty());
        let places = lines.map(|name| self.place(name)).collect();
        self.set(base, places);
    }

    fn set(&mut self, base: &[u8], places: BTreeSet<usize>) {
        if places.is_empty() {
            let _ = self.messages.remove(base);
        } else {
            let _ = self.messages.insert(base.to_vec(), places);
        }
    }

    fn place(&mut self, name: &[u8]) -> usize {
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        self.names.push(name.to_vec());
        let _ = self.places.insert(name.to_vec(), self.names.len() - 1);
        self.names.len() - 1
    }
}

impl Maildir {
    /// Reads `courierimapkeywords/`: `:list`, and the files of messages that changed since. `None` if there is none.
    ///
    /// # Errors
    /// [`Error::NotRegular`]; [`Error::Io`], also if Courier kept changing the files.
    pub fn courier_keywords(&self) -> Result<Option<CourierKeywords>, Error> {
        for _ in 1..TRIES {
            match self.read_courier_keywords() {
                Err(error) if error.is_missing() => {}
                settled => return settled,
            }
        }
        self.read_courier_keywords()
    }

    fn read_courier_keywords(&self) -> Result<Option<CourierKeywords>, Error> {
        let directory = self.path().join(DIRECTORY);
        let list = |source| Error::io(Operation::List, &directory, source);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            entries => entries.map_err(list)?,
        };
        let mut updates = HashMap::<Vec<u8>, Age>::new();
        for entry in entries {
            let name = entry.map_err(list)?.file_name();
            if let Some((base, age)) = update_of(name.as_bytes()) {
                let latest = updates.entry(base.to_vec()).or_insert(age);
                *latest = age.max(*latest);
            }
        }
        let octets = read_if_there(&directory.join(":list"))?.unwrap_or_default();
        let mut keywords = CourierKeywords::parse(&octets);
        for (base, age) in updates {
            let path = directory.join(OsStr::from_bytes(&age.name(&base)));
            // Gone means put together with the others, or renamed.
            let octets =
                read_if_there(&path)?.ok_or_else(|| Error::io(Operation::Open, &path, rustix::io::Errno::NOENT))?;
            keywords.update(&base, &octets);
        }
        Ok(Some(keywords))
    }
}

/// Which of several files of a message counts: the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// `.<number>.<base>`.
    Numbered(u64),
    /// `<base>`, the latest of all.
    Latest,
}

impl Age {
    fn name(self, base: &[u8]) -> Vec<u8> {
        match self {
            Self::Numbered(number) => [format!(".{number}.").as_bytes(), base].concat(),
            Self::Latest => base.to_vec(),
        }
    }
}

/// The base name of the message, and which of its files this is.
fn update_of(name: &[u8]) -> Option<(&[u8], Age)> {
    match name {
        [b':', ..] => None,
        [b'.', rest @ ..] => {
            let dot = rest.iter().position(|&octet| octet == b'.')?;
            let age = Age::Numbered(number(rest.get(..dot)?).filter(|&number| number > 0)?);
            let base = rest.get(dot + 1..).filter(|base| !base.is_empty())?;
            // As it is spelt, so that it can be opened again.
            (age.name(base) == name).then_some((base, age))
        }
        base => Some((base, Age::Latest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(keywords: &CourierKeywords, base: &str) -> String {
        keywords.of(base.as_bytes()).map(|name| name.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_list_is_read_and_what_says_nothing_left_out() {
        let list = "work\nwork\n$Junk\n\n1.a:0 2\n2.b:1\n3.c\n4.d:9 x -1 99999999999999999999\n5.e:2 2\n6.f:";
        let keywords = CourierKeywords::parse(list.as_bytes());
        let all = ["1.a", "2.b", "3.c", "4.d", "5.e", "6.f"].map(|base| of(&keywords, base));
        assert_eq!(all, ["$Junk work", "work", "", "", "$Junk", ""]);
        assert_eq!(keywords.messages().count(), 3);
        for octets in [&b""[..], b"\n", b"\n\n:", b"\0", b"a", b"\n\xff:0"] {
            assert_eq!(CourierKeywords::parse(octets).messages().count(), 0);
        }
    }

    #[test]
    fn the_latest_file_of_a_message_counts_instead_of_the_list() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::create(scratch.path().join("m")).unwrap();
        assert_eq!(maildir.courier_keywords().unwrap(), None);
        let directory = maildir.path().join(DIRECTORY);
        fs::create_dir(&directory).unwrap();
        for (name, octets) in [
            (":list", "work\n\n1.a:0\n2.b:0\n3.c:0\n"),
            (".9.1.a", "older\n"),
            (".10.1.a", "later\nwork\n\nignored\n"),
            ("2.b", ""),
            (".99.2.b", "older\n"),
            (".tmp.1.2.3.c", "nothing yet\n"),
            ("new", "other"),
        ] {
            fs::write(directory.join(name), octets).unwrap();
        }
        let keywords = maildir.courier_keywords().unwrap().unwrap();
        assert_eq!(["1.a", "2.b", "3.c", "new"].map(|base| of(&keywords, base)), ["later work", "", "work", "other"]);
    }
}
