use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::flags::Flags;
use crate::maildir::Separator;

/// The longest file name that file systems take, in octets.
pub(crate) const MAX_NAME: usize = 255;

/// Why octets cannot be the name of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A name that begins with a dot, or is empty, is never a message.
    #[error("a name that is empty or begins with a dot is not a message")]
    Hidden,
    /// `/` and NUL cannot stand in a file name.
    #[error("a file name cannot hold the octet {0:#04x}")]
    Octet(u8),
    /// File systems take 255 octets.
    #[error("name of {len} octets exceeds the limit of 255")]
    TooLong {
        /// How long the name is or would become, in octets.
        len: usize,
    },
}

/// The name of a message's file: octets, not text.
///
/// `base[:info]`, where the base is `unique[,K=value]*` and stays for as long as the message is in the Maildir, and the
/// info changes with its flags. The info begins at the *last* `:`, `;` or `!` that is followed by `1,` or `2,`.
///
/// Every octet that came in goes out again: [`octets`](Self::octets) gives back exactly what was parsed.
///
/// ```
/// use postrider_maildir::{Flag, Name, Separator};
///
/// let name = Name::parse(b"1795350923.M622148P1800.vm,S=3026,W=3100:2,S")?;
/// assert_eq!(name.base(), b"1795350923.M622148P1800.vm,S=3026,W=3100");
/// assert_eq!((name.size(), name.crlf_size()), (Some(3026), Some(3100)));
/// assert!(name.flags().contains(Flag::SEEN));
///
/// let flagged = name.with_flags(name.flags().with(Flag::FLAGGED.into()), Separator::Colon)?.expect("info 2");
/// assert_eq!(flagged.to_string(), "1795350923.M622148P1800.vm,S=3026,W=3100:2,FS");
/// # Ok::<(), postrider_maildir::NameError>(())
/// ```
#[derive(Clone)]
pub struct Name<'a> {
    octets: Cow<'a, [u8]>,
    base: usize,
}

/// What stands behind the base of a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Info<'a> {
    /// `:1,…`: experimental, kept verbatim.
    Experimental(&'a [u8]),
    /// `:2,FLAGS` and whatever follows the flags (a comma and a foreign set, or octets that cannot be flags), verbatim.
    Flags(Flags, &'a [u8]),
    /// Nothing.
    None,
}

impl<'a> Name<'a> {
    /// Reads a file name.
    ///
    /// # Errors
    /// [`NameError`], if no message can have that name. Whatever else it looks like, it has a base and perhaps an info.
    pub fn parse(octets: impl Into<Cow<'a, [u8]>>) -> Result<Self, NameError> {
        let octets = octets.into();
        if octets.first().is_none_or(|&first| first == b'.') {
            return Err(NameError::Hidden);
        }
        if octets.len() > MAX_NAME {
            return Err(NameError::TooLong { len: octets.len() });
        }
        match octets.iter().find(|&&octet| octet == b'/' || octet == 0) {
            Some(&octet) => Err(NameError::Octet(octet)),
            None => Ok(Self { base: base_len(&octets), octets }),
        }
    }

    /// For a name that a directory or a [`Listing`](crate::Listing) gave, whose base is known.
    pub(crate) fn listed(octets: &'a [u8], base: usize) -> Self {
        Self { octets: Cow::Borrowed(octets), base }
    }

    /// The whole name.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The whole name, as the file functions want it.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.octets)
    }

    /// The part that identifies the message in its Maildir and never changes there.
    #[must_use]
    pub fn base(&self) -> &[u8] {
        self.octets.get(..self.base).unwrap_or_default()
    }

    /// The base without its fields: all before the first comma.
    #[must_use]
    pub fn unique(&self) -> &[u8] {
        self.base().split(|&octet| octet == b',').next().unwrap_or_default()
    }

    /// When the message was delivered, by its name: seconds since 1970, if the name begins with digits and a dot.
    #[must_use]
    pub fn seconds(&self) -> Option<u64> {
        let unique = self.unique();
        let dot = unique.iter().position(|&octet| octet == b'.')?;
        number(unique.get(..dot)?)
    }

    /// The fields of the base, `,K=value`, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.base().split(|&octet| octet == b',').skip(1).filter_map(|field| {
            let equals = field.iter().position(|&octet| octet == b'=')?;
            Some((field.get(..equals)?, field.get(equals + 1..)?))
        })
    }

    /// The value of the first field with that key.
    #[must_use]
    pub fn field(&self, key: &[u8]) -> Option<&[u8]> {
        self.fields().find(|(candidate, _)| *candidate == key).map(|(_, value)| value)
    }

    /// `,S=`: how large the file is, in octets, as the name claims. Not a number, or above 2⁶⁴ − 1: `None`.
    ///
    /// Names lie. Where the size must be right, ask the file.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.field(b"S").and_then(number)
    }

    /// `,W=`: the size in octets with every line end as CRLF, as the name claims. See [`size`](Self::size).
    #[must_use]
    pub fn crlf_size(&self) -> Option<u64> {
        self.field(b"W").and_then(number)
    }

    /// `,U=`: the UID that mbsync gave the message in this Maildir. It must not go along into another one.
    #[must_use]
    pub fn mbsync_uid(&self) -> Option<u32> {
        self.field(b"U").and_then(number).and_then(|uid| u32::try_from(uid).ok())
    }

    /// What stands behind the base.
    #[must_use]
    pub fn info(&self) -> Info<'_> {
        match self.octets.get(self.base + 1..).unwrap_or_default() {
            [b'1', b',', rest @ ..] => Info::Experimental(rest),
            [b'2', b',', rest @ ..] => {
                let (flags, rest) = Flags::parse(rest);
                Info::Flags(flags, rest)
            }
            _ => Info::None,
        }
    }

    /// The flags; none for a name without an info of kind 2.
    #[must_use]
    pub fn flags(&self) -> Flags {
        match self.info() {
            Info::Flags(flags, _) => flags,
            Info::Experimental(_) | Info::None => Flags::EMPTY,
        }
    }

    /// The same message with other flags. What follows the flags is kept, and so is the separator; `separator` is used
    /// where there is no info yet. `None` for an info of kind 1, which would be lost.
    ///
    /// # Errors
    /// [`NameError::TooLong`].
    pub fn with_flags(&self, flags: Flags, separator: Separator) -> Result<Option<Name<'static>>, NameError> {
        let tail = match self.info() {
            Info::Experimental(_) => return Ok(None),
            Info::Flags(_, tail) => tail,
            Info::None => &[],
        };
        let mut octets = self.base().to_vec();
        octets.push(self.octets.get(self.base).copied().unwrap_or(separator.octet()));
        octets.extend_from_slice(b"2,");
        octets.extend(flags.iter().map(crate::Flag::octet));
        octets.extend_from_slice(tail);
        if octets.len() > MAX_NAME {
            return Err(NameError::TooLong { len: octets.len() });
        }
        Ok(Some(Name { octets: Cow::Owned(octets), base: self.base }))
    }

    /// The same name, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Name<'static> {
        Name { octets: Cow::Owned(self.octets.into_owned()), base: self.base }
    }
}

/// Where the info begins: the last separator followed by `1,` or `2,`. Looks for the commas, which are few.
pub(crate) fn base_len(octets: &[u8]) -> usize {
    let mut before = octets;
    while let Some(comma) = before.iter().rposition(|&octet| octet == b',') {
        before = before.get(..comma).unwrap_or_default();
        if let [base @ .., b':' | b';' | b'!', b'1' | b'2'] = before {
            return base.len();
        }
    }
    octets.len()
}

/// Digits only: no sign, no space, no wrap.
pub(crate) fn number(octets: &[u8]) -> Option<u64> {
    if octets.is_empty() {
        return None;
    }
    octets.iter().try_fold(0_u64, |value, octet| {
        let digit = octet.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.octets == other.octets
    }
}

impl Eq for Name<'_> {}

/// The name with octets that are not printable ASCII escaped, so that it fits a log line.
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.octets.escape_ascii())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}
