//! What mail programs know of a message and of its mailbox, whatever they keep it in.

use std::collections::BTreeSet;

use super::header::Name;

/// A mark of a message.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Mark {
    /// It was read: `Status: R`, `S`.
    Seen,
    /// A program has shown it in a list before: `Status: O`; in a Maildir it is in `cur/`.
    Old,
    /// It was answered: `X-Status: A`, `R`.
    Answered,
    /// The user marked it: `X-Status: F`, `F`.
    Flagged,
    /// It is a draft: `X-Status: T`, `D`.
    Draft,
    /// It is to be removed: `X-Status: D`, `T`.
    Deleted,
    /// It was sent on: the keyword `$Forwarded`, `P`.
    Passed,
    /// Another letter of `Status`.
    Status(u8),
    /// Another letter of `X-Status`.
    XStatus(u8),
    /// Another letter in the name of a Maildir's file.
    Letter(u8),
}

/// Letter in `Status` (`false`) or `X-Status` (`true`), and in a Maildir.
const LETTERS: [(Mark, bool, u8, u8); 5] = [
    (Mark::Seen, false, b'R', b'S'),
    (Mark::Answered, true, b'A', b'R'),
    (Mark::Flagged, true, b'F', b'F'),
    (Mark::Draft, true, b'T', b'D'),
    (Mark::Deleted, true, b'D', b'T'),
];

/// The keyword that says what `P` says in a Maildir; Dovecot knows the keyword only.
pub const FORWARDED: &[u8] = b"$Forwarded";

impl Mark {
    /// The mark of a letter in `Status`, or in `X-Status`.
    #[must_use]
    pub fn of_mbox(letter: u8, x_status: bool) -> Self {
        let known = LETTERS.iter().find(|(_, x, mbox, _)| (*x, *mbox) == (x_status, letter));
        match (known, x_status, letter) {
            (Some((mark, ..)), _, _) => *mark,
            (None, false, b'O') => Self::Old,
            (None, false, letter) => Self::Status(letter),
            (None, true, letter) => Self::XStatus(letter),
        }
    }

    /// The mark of a letter in a Maildir's file name that is no keyword's.
    #[must_use]
    pub fn of_maildir(letter: u8) -> Self {
        match LETTERS.iter().find(|(.., maildir)| *maildir == letter) {
            Some((mark, ..)) => *mark,
            None if letter == b'P' => Self::Passed,
            None => Self::Letter(letter),
        }
    }

    /// The letter, and whether it is of `X-Status`.
    #[must_use]
    pub fn mbox(self) -> Option<(u8, bool)> {
        match self {
            Self::Old => Some((b'O', false)),
            Self::Status(letter) => Some((letter, false)),
            Self::XStatus(letter) => Some((letter, true)),
            _ => LETTERS.iter().find(|(mark, ..)| *mark == self).map(|(_, x, mbox, _)| (*mbox, *x)),
        }
    }

    /// The letter in a Maildir's file name.
    #[must_use]
    pub fn maildir(self) -> Option<u8> {
        match self {
            Self::Passed => Some(b'P'),
            Self::Letter(letter) => Some(letter),
            _ => LETTERS.iter().find(|(mark, ..)| *mark == self).map(|(.., maildir)| *maildir),
        }
    }

    /// The name in JSON.
    #[must_use]
    pub fn word(self) -> String {
        match self {
            Self::Status(letter) => format!("status:{}", char::from(letter)),
            Self::XStatus(letter) => format!("x-status:{}", char::from(letter)),
            Self::Letter(letter) => format!("letter:{}", char::from(letter)),
            known => format!("{known:?}").to_ascii_lowercase(),
        }
    }
}

/// What is known of one message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Notes {
    /// Its UID.
    pub uid: Option<u32>,
    /// Its marks.
    pub marks: BTreeSet<Mark>,
    /// Its keywords, but for the one that is [`Mark::Passed`].
    pub keywords: BTreeSet<Vec<u8>>,
}

/// What is known of a mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Base {
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// The last UID that was given.
    pub uid_last: u32,
    /// The keywords in use.
    pub keywords: BTreeSet<Vec<u8>>,
}

impl Base {
    /// Whether both say the same of UIDs. Keywords need not be listed: messages say them.
    #[must_use]
    pub fn numbers_as(&self, other: &Self) -> bool {
        (self.uid_validity, self.uid_last) == (other.uid_validity, other.uid_last)
    }
}

impl Notes {
    /// Adds a keyword.
    pub fn keyword(&mut self, word: &[u8]) {
        if word.eq_ignore_ascii_case(FORWARDED) {
            self.marks.insert(Mark::Passed);
        } else {
            self.keywords.insert(word.to_vec());
        }
    }

    /// Its keywords, with the one that is [`Mark::Passed`].
    pub fn words(&self) -> impl Iterator<Item = &[u8]> {
        let passed = self.marks.contains(&Mark::Passed).then_some(FORWARDED);
        passed.into_iter().chain(self.keywords.iter().map(Vec::as_slice))
    }

    /// The fields as lines. What mbox files have no place for is left out.
    #[must_use]
    pub fn lines(&self, base: Option<&Base>, content_length: Option<u64>, line_end: &str) -> Vec<Vec<u8>> {
        let letters = |wanted: bool| {
            let letters = self.marks.iter().filter_map(|mark| mark.mbox()).filter(|(_, x)| *x == wanted);
            String::from_utf8(letters.map(|(letter, _)| letter).collect()).unwrap_or_default()
        };
        let mut lines = Vec::new();
        if let Some(Base { uid_validity, uid_last, keywords }) = base {
            let mut line = format!("X-IMAPbase: {uid_validity:010} {uid_last:010}").into_bytes();
            keywords.iter().for_each(|keyword| line.extend([b" ", keyword.as_slice()].concat()));
            lines.push(line);
        }
        if let Some(uid) = self.uid {
            lines.push(format!("X-UID: {uid}").into_bytes());
        }
        for (name, letters) in [("Status", letters(false)), ("X-Status", letters(true))] {
            if !letters.is_empty() {
                lines.push(format!("{name}: {letters}").into_bytes());
            }
        }
        let words: Vec<&[u8]> = self.words().collect();
        if !words.is_empty() {
            lines.push([b"X-Keywords: ", words.join(&b' ').as_slice()].concat());
        }
        if let Some(len) = content_length {
            lines.push(format!("Content-Length: {len}").into_bytes());
        }
        lines.iter_mut().for_each(|line| line.extend_from_slice(line_end.as_bytes()));
        lines
    }
}

/// Octets of a field's value that are looked at.
const MAX_VALUE: usize = 64 * 1024;

/// The fields of a message that are known, as far as they count.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    values: Vec<(Name, Vec<u8>)>,
}

impl Fields {
    /// Takes octets of a field's line: its name too, where it `begins`.
    pub fn add(&mut self, name: Name, begins: bool, octets: &[u8]) {
        if begins {
            let value = memchr::memchr(b':', octets).and_then(|colon| octets.get(colon + 1..)).unwrap_or_default();
            self.values.push((name, value.to_vec()));
        } else if let Some((_, value)) = self.values.last_mut() {
            let room = MAX_VALUE.saturating_sub(value.len());
            value.extend_from_slice(octets.get(..room).unwrap_or(octets));
        }
    }

    /// The values of a field, without the space around them.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.values.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value.trim_ascii())
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn has(&self, name: Name) -> bool {
        self.all(name).next().is_some()
    }

    /// What they say of the message, taken as one of an mbox file.
    #[must_use]
    pub fn notes(&self) -> Notes {
        let mut notes = Notes { uid: self.all(Name::XUid).find_map(number), ..Notes::default() };
        for (name, x_status) in [(Name::Status, false), (Name::XStatus, true)] {
            let letters = self.all(name).flatten().filter(|octet| octet.is_ascii_uppercase());
            notes.marks.extend(letters.map(|letter| Mark::of_mbox(*letter, x_status)));
        }
        for value in self.all(Name::XKeywords).chain(self.all(Name::MozillaKeys)) {
            words(value).filter(|word| is_keyword(word)).for_each(|word| notes.keyword(word));
        }
        if let Some(status) = self.all(Name::MozillaStatus).find_map(hexadecimal) {
            let marks = [
                (0x1, Mark::Seen),
                (0x2, Mark::Answered),
                (0x4, Mark::Flagged),
                (0x8, Mark::Deleted),
                (0x1000, Mark::Passed),
            ];
            notes.marks.extend(marks.into_iter().filter(|(bit, _)| status & bit != 0).map(|(_, mark)| mark));
            let is_new =
                self.all(Name::MozillaStatus2).find_map(hexadecimal).is_some_and(|status| status & 0x1_0000 != 0);
            if !is_new && !self.has(Name::Status) {
                notes.marks.insert(Mark::Old);
            }
        }
        notes
    }

    /// What they say of the mailbox.
    #[must_use]
    pub fn base(&self) -> Option<Base> {
        let value = self.all(Name::XImapBase).chain(self.all(Name::XImap)).next()?;
        let mut words = words(value);
        let uid_validity = number(words.next()?)?;
        let last = words.next()?;
        let uid_last = if last.iter().all(|octet| *octet == b'0') { 0 } else { number(last)? };
        let keywords = words.filter(|word| is_keyword(word)).map(<[u8]>::to_vec).collect();
        Some(Base { uid_validity, uid_last, keywords })
    }

    /// `Content-Length`, if there is one and it is a number.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        let mut all = self.all(Name::ContentLength);
        let value = all.next().filter(|value| value.iter().all(u8::is_ascii_digit))?;
        all.next().is_none().then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
    }
}

/// A word that can stand among keywords: as the mbox crate has it.
#[must_use]
pub fn is_keyword(word: &[u8]) -> bool {
    postrider_mbox::Keyword::new(word).is_some()
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|octet| octet.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

fn number(word: &[u8]) -> Option<u32> {
    let digits = word.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(word).ok().filter(|_| digits)?.parse().ok().filter(|number| *number > 0)
}

fn hexadecimal(word: &[u8]) -> Option<u32> {
    let digits = word.iter().all(u8::is_ascii_hexdigit);
    u32::from_str_radix(std::str::from_utf8(word).ok().filter(|_| digits)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(all: &[(Name, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in all {
            fields.add(*name, true, format!("Name: {value}\n").as_bytes());
        }
        fields
    }

    fn words_of(notes: &Notes) -> Vec<String> {
        notes.marks.iter().map(|mark| mark.word()).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let read = fields(&[
            (Name::XUid, "7"),
            (Name::Status, "ROU"),
            (Name::XStatus, "AFTDZ"),
            (Name::XKeywords, "b $forwarded a"),
        ])
        .notes();
        assert_eq!(
            words_of(&read),
            ["seen", "old", "answered", "flagged", "draft", "deleted", "passed", "status:U", "x-status:Z"]
        );
        let lines =
            read.lines(Some(&Base { uid_validity: 5, uid_last: 9, keywords: BTreeSet::new() }), Some(3), "\n").concat();
        let text = "X-IMAPbase: 0000000005 0000000009\nX-UID: 7\nStatus: ROU\nX-Status: AFTDZ\nX-Keywords: $Forwarded a b\nContent-Length: 3\n";
        assert_eq!(String::from_utf8(lines).unwrap(), text);
    }

    #[test]
    fn mozilla_s_numbers_are_marks() {
        let marks = |status, status2| {
            words_of(&fields(&[(Name::MozillaStatus, status), (Name::MozillaStatus2, status2)]).notes())
        };
        assert_eq!(marks("1007", "00000000"), ["seen", "old", "answered", "flagged", "passed"]);
        assert_eq!(marks("0008", "00010000"), ["deleted"]);
        assert_eq!(marks("zz", ""), [""; 0]);
    }

    #[test]
    fn letters_go_there_and_back() {
        for letter in b'A'..=b'Z' {
            assert_eq!(Mark::of_mbox(letter, false).mbox(), Some((letter, false)));
            assert_eq!(Mark::of_mbox(letter, true).mbox(), Some((letter, true)));
            assert_eq!(Mark::of_maildir(letter).maildir(), Some(letter));
        }
    }

    #[test]
    fn a_length_is_one_number() {
        assert_eq!(fields(&[(Name::ContentLength, " 12 ")]).content_length(), Some(12));
        for odd in ["", "-1", "1 2", "99999999999999999999"] {
            assert_eq!(fields(&[(Name::ContentLength, odd)]).content_length(), None, "{odd}");
        }
        assert_eq!(fields(&[(Name::ContentLength, "1"), (Name::ContentLength, "1")]).content_length(), None);
    }
}
