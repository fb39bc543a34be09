//! What a splitter reads of header sections.

/// What a message says of its length in `Content-Length`: octets of its body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ContentLength(Option<u64>);

impl ContentLength {
    /// What the field in this line says; `None`, if it is another.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let (name, value) = line.split_at_checked(NAME.len()).filter(|(name, _)| name.eq_ignore_ascii_case(NAME))?;
        let value = value.trim_ascii_start().strip_prefix(b":").filter(|_| name.len() == NAME.len())?.trim_ascii();
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = |value: &[u8]| core::str::from_utf8(value).ok()?.parse().ok();
        Some(Self(if digits { number(value) } else { None }))
    }

    /// What two fields say together: nothing, if they differ.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self(None) }
    }

    /// `None`: what is there is no number.
    pub(crate) const fn len(self) -> Option<u64> {
        self.0
    }
}

const NAME: &[u8] = b"Content-Length";
