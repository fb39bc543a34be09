use std::fmt;

/// One flag of a message: a letter in its file name.
///
/// The set is open. Letters that this crate gives no meaning to are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flag(u8);

impl Flag {
    /// `D`: the message is a draft.
    pub const DRAFT: Self = Self(b'D');
    /// `F`: the user marked it.
    pub const FLAGGED: Self = Self(b'F');
    /// `P`: it was passed on: resent, forwarded or bounced.
    pub const PASSED: Self = Self(b'P');
    /// `R`: it was replied to.
    pub const REPLIED: Self = Self(b'R');
    /// `S`: it was seen.
    pub const SEEN: Self = Self(b'S');
    /// `T`: it is in the trash; the user asked for its removal.
    pub const TRASHED: Self = Self(b'T');

    /// A flag from its octet: printable ASCII, except the octets that end the flags (`,`), the name (`/`) or begin an
    /// info (`:`, `;`, `!`).
    #[must_use]
    pub const fn new(octet: u8) -> Option<Self> {
        match octet {
            b',' | b'/' | b':' | b';' | b'!' => None,
            b'!'..=b'~' => Some(Self(octet)),
            _ => None,
        }
    }

    /// The `n`-th keyword letter, 0 being `a` and 25 `z`. What a letter means stands beside the mail (Dovecot:
    /// `dovecot-keywords`, a line for each number).
    #[must_use]
    pub const fn keyword(n: u8) -> Option<Self> {
        if n < 26 { Some(Self(b'a' + n)) } else { None }
    }

    /// The number of the keyword, if this is one: 0 for `a` to 25 for `z`.
    #[must_use]
    pub const fn keyword_number(self) -> Option<u8> {
        if self.0.is_ascii_lowercase() { Some(self.0 - b'a') } else { None }
    }

    /// The octet in the file name.
    #[must_use]
    pub const fn octet(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flag({})", char::from(self.0))
    }
}

/// A set of [`Flag`]s, kept and printed in ASCII order, as the file names require.
///
/// ```
/// use postrider_maildir::{Flag, Flags};
///
/// let flags: Flags = [Flag::SEEN, Flag::FLAGGED].into_iter().collect();
/// assert_eq!(flags.to_string(), "FS");
/// assert_eq!(flags.without(Flag::SEEN.into()).with(Flag::REPLIED.into()).to_string(), "FR");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u128);

impl Flags {
    /// No flag.
    pub const EMPTY: Self = Self(0);

    /// The flags at the beginning of `octets`, in any order and however often, and what follows the last of them.
    #[must_use]
    pub fn parse(octets: &[u8]) -> (Self, &[u8]) {
        let mut flags = Self::EMPTY;
        let mut rest = octets;
        while let [octet, tail @ ..] = rest
            && let Some(flag) = Flag::new(*octet)
        {
            flags = flags.with(Self(1 << flag.0));
            rest = tail;
        }
        (flags, rest)
    }

    /// Whether `flag` is in the set.
    #[must_use]
    pub const fn contains(self, flag: Flag) -> bool {
        self.0 & (1 << flag.0) != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the flags of the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are neither one of the six standard flags nor a keyword letter: another program knows what they mean.
    #[must_use]
    pub fn unknown(self) -> Self {
        self.iter().filter(|flag| !b"DFPRST".contains(&flag.0) && flag.keyword_number().is_none()).collect()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The flags in ASCII order.
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        (b'!'..=b'~').filter_map(Flag::new).filter(move |&flag| self.contains(flag))
    }
}

impl From<Flag> for Flags {
    fn from(flag: Flag) -> Self {
        Self(1 << flag.0)
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        flags.into_iter().fold(Self::EMPTY, |set, flag| set.with(flag.into()))
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|flag| write!(f, "{}", char::from(flag.0)))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_sorted_once_each_and_unknown_letters_kept() {
        let (flags, rest) = Flags::parse(b"TSSaXD9");
        assert_eq!(flags.to_string(), "9DSTXa");
        assert_eq!(flags.len(), 6);
        assert_eq!(flags.unknown().to_string(), "9X");
        assert!(rest.is_empty());
    }

    #[test]
    fn flags_end_where_an_octet_cannot_be_one() {
        for tail in [&b",foreign"[..], b":2", b";", b"!x", b"\xe9", b" "] {
            let octets = [b"RS", tail].concat();
            let (flags, rest) = Flags::parse(&octets);
            assert_eq!((flags.to_string().as_str(), rest), ("RS", tail));
        }
    }

    #[test]
    fn keyword_letters_count_from_a_to_z() {
        assert_eq!(Flag::keyword(0).map(Flag::octet), Some(b'a'));
        assert_eq!(Flag::keyword(25).and_then(Flag::keyword_number), Some(25));
        assert_eq!(Flag::keyword(26), None);
        assert_eq!(Flag::SEEN.keyword_number(), None);
    }
}
