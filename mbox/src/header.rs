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

/// Octets of a line in which the name of a field and its colon have to be.
/// [RFC 5322 section 2.1.1](https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1) has lines of 78.
pub(crate) const MAX_NAME: usize = 78;

/// Whether a line begins as a header field does: with a name and a colon, perhaps with space between, as section 4.5 has it. `None`: more is needed.
pub(crate) fn is_field(line: &[u8]) -> Option<bool> {
    let name = line.iter().take(MAX_NAME).take_while(|octet| matches!(octet, b'!'..=b'9' | b';'..=b'~')).count();
    match line.iter().take(MAX_NAME).skip(name).find(|octet| !matches!(octet, b' ' | b'\t')) {
        None if line.len() < MAX_NAME => None,
        behind => Some(name > 0 && behind == Some(&b':')),
    }
}
