//! What the keyword letters in file names mean: Dovecot's `dovecot-keywords`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::calls;
use crate::dotlock::Dotlock;
use crate::error::Error;
use crate::flags::Flag;
use crate::maildir::Maildir;
use crate::name::number;
use crate::replacement::{Replacement, read_if_there};

/// One for each letter from `a` to `z`.
const LETTERS: usize = 26;

/// Why a keyword can have no letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeywordError {
    /// It is empty, or holds an octet that would end or split its line.
    #[error("a keyword cannot be empty or hold controls or spaces")]
    Name,
    /// All 26 letters mean other keywords. Dovecot keeps such keywords in its index alone.
    #[error("all 26 letters are taken")]
    NoLetter,
}

/// Which keyword each letter in the names of files means.
///
/// ```
/// use postrider_maildir::{Flag, Keywords};
///
/// let keywords = Keywords::parse(b"0 $Forwarded\n1 work\n");
/// assert_eq!(keywords.flag(b"WORK"), Flag::keyword(1));
/// assert_eq!(Flag::keyword(0).and_then(|letter| keywords.name(letter)), Some(&b"$Forwarded"[..]));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keywords {
    names: [Vec<u8>; LETTERS],
    /// Lines that give no letter a meaning, without their LF.
    others: Vec<u8>,
}

impl Keywords {
    /// Reads lines of a number from 0 to 25, a space and a keyword, in linear time. Any octets can be read.
    ///
    /// Lines of another form, with a greater number or a number or a keyword that was there before, give no letter a
    /// meaning, but are kept. A last line without LF is not read.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Self {
        let mut keywords = Self::default();
        for line in octets.split_inclusive(|&octet| octet == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            if keywords.take(line).is_none() {
                keywords.others.extend_from_slice(line);
                keywords.others.push(b'\n');
            }
        }
        keywords
    }

    fn take(&mut self, line: &[u8]) -> Option<()> {
        let (number, name) = numbered(line)?;
        let number = usize::try_from(number).ok()?;
        if !is_name(name) || self.flag(name).is_some() {
            return None;
        }
        let place = self.names.get_mut(number).filter(|place| place.is_empty())?;
        *place = name.to_vec();
        Some(())
    }

    /// The letter of a keyword. Keywords differ in more than the case of ASCII letters.
    #[must_use]
    pub fn flag(&self, name: &[u8]) -> Option<Flag> {
        let at = self.names.iter().position(|known| !known.is_empty() && known.eq_ignore_ascii_case(name))?;
        Flag::keyword(u8::try_from(at).ok()?)
    }

    /// The keyword of a letter.
    #[must_use]
    pub fn name(&self, letter: Flag) -> Option<&[u8]> {
        let name = self.names.get(usize::from(letter.keyword_number()?))?;
        Some(name.as_slice()).filter(|name| !name.is_empty())
    }

    /// The letters that have a meaning, and which.
    pub fn iter(&self) -> impl Iterator<Item = (Flag, &[u8])> {
        (0..26).filter_map(Flag::keyword).filter_map(|letter| Some((letter, self.name(letter)?)))
    }

    /// Keywords in the file for which there is no letter: their number is above 25.
    pub fn without_letter(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.others.split(|&octet| octet == b'\n').filter_map(numbered);
        lines.filter(|(number, name)| *number >= LETTERS as u64 && is_name(name)).map(|(_, name)| name)
    }

    /// Gives a keyword the lowest letter that is free, if it has none.
    ///
    /// # Errors
    /// [`KeywordError`]. Nothing is lost: the other keywords are as they were.
    pub fn add(&mut self, name: &[u8]) -> Result<Flag, KeywordError> {
        if !is_name(name) {
            return Err(KeywordError::Name);
        }
        if let Some(letter) = self.flag(name) {
            return Ok(letter);
        }
        let free = self.names.iter().position(Vec::is_empty).and_then(|at| u8::try_from(at).ok());
        let letter = free.and_then(Flag::keyword).ok_or(KeywordError::NoLetter)?;
        if let Some(place) = free.and_then(|at| self.names.get_mut(usize::from(at))) {
            *place = name.to_vec();
        }
        Ok(letter)
    }

    /// The octets of the file: the letters in order, then the lines that give none a meaning.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        for (number, name) in self.names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            octets.extend_from_slice(format!("{number} ").as_bytes());
            octets.extend_from_slice(name);
            octets.push(b'\n');
        }
        octets.extend_from_slice(&self.others);
        octets
    }
}

/// `<number> <keyword>`.
fn numbered(line: &[u8]) -> Option<(u64, &[u8])> {
    let space = line.iter().position(|&octet| octet == b' ')?;
    Some((number(line.get(..space)?)?, line.get(space + 1..)?))
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&octet| octet > b' ' && octet != 0x7f)
}

impl fmt::Debug for Keywords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(letter, name)| (char::from(letter.octet()), name.escape_ascii().to_string()));
        f.debug_map().entries(shown).finish()
    }
}

impl Maildir {
    /// Reads `dovecot-keywords`, without a lock. Where there is none, no letter has a meaning.
    ///
    /// # Errors
    /// [`Error::NotRegular`] and [`Error::Io`].
    pub fn keywords(&self) -> Result<Keywords, Error> {
        Ok(read_if_there(&self.keywords_path())?.map(|octets| Keywords::parse(&octets)).unwrap_or_default())
    }

    /// The letter of a keyword; one that has none gets one, under Dovecot's lock. When this returns, the meaning of the
    /// letter is on stable storage, so that it may be put into the name of a message.
    ///
    /// # Errors
    /// [`Error::Keyword`], [`Error::Locked`], [`Error::LockLost`], [`Error::NotRegular`], [`Error::Io`],
    /// [`Error::IoBetween`].
    pub fn add_keyword(&self, keyword: &[u8]) -> Result<Flag, Error> {
        let path = self.keywords_path();
        let mut lock = Dotlock::acquire(self, &path)?;
        let mut keywords = self.keywords()?;
        let known = keywords.flag(keyword);
        let letter = keywords.add(keyword).map_err(|source| refused(&path, keyword, source))?;
        if known.is_some() {
            // Whoever wrote it may not have synced it.
            calls::sync_file(&calls::open_message(&path)?, &path)?;
            calls::sync_directory(self.path())?;
            return Ok(letter);
        }
        let mut replacement = Replacement::begin(self)?;
        replacement.write(&keywords.to_octets())?;
        replacement.replace(&path, || lock.assert_held()).map(|()| letter)
    }

    fn keywords_path(&self) -> PathBuf {
        self.path().join("dovecot-keywords")
    }
}

fn refused(path: &Path, keyword: &[u8], source: KeywordError) -> Error {
    let shown = keyword.get(..32).unwrap_or(keyword);
    Error::Keyword { path: path.to_owned(), keyword: shown.escape_ascii().to_string(), source }
}
