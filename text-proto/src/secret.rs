//! Octets that must not be printed.

use alloc::vec::Vec;
use core::fmt;
use core::hint::black_box;

use zeroize::Zeroizing;

/// A password or a SASL message: never shown by `Debug`, wiped from memory when an owned one is dropped.
///
/// A borrowed secret points into the caller's receive buffer, which only the caller can wipe.
#[derive(Clone)]
pub struct Secret<'b>(Octets<'b>);

#[derive(Clone)]
enum Octets<'b> {
    Borrowed(&'b [u8]),
    Owned(Zeroizing<Vec<u8>>),
}

impl<'b> Secret<'b> {
    /// A secret that lies in somebody else's memory.
    pub const fn borrowed(octets: &'b [u8]) -> Self {
        Self(Octets::Borrowed(octets))
    }

    /// The octets themselves. Do not log them.
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Octets::Borrowed(octets) => octets,
            Octets::Owned(octets) => octets,
        }
    }

    /// A copy of its own, wiped when dropped.
    pub fn into_owned(self) -> Secret<'static> {
        match self.0 {
            Octets::Borrowed(octets) => Secret::from(octets.to_vec()),
            Octets::Owned(octets) => Secret(Octets::Owned(octets)),
        }
    }
}

impl From<Vec<u8>> for Secret<'static> {
    fn from(octets: Vec<u8>) -> Self {
        Self(Octets::Owned(Zeroizing::new(octets)))
    }
}

impl<'b> From<&'b [u8]> for Secret<'b> {
    fn from(octets: &'b [u8]) -> Self {
        Self::borrowed(octets)
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Takes the same time wherever two secrets of one length differ.
impl PartialEq for Secret<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.expose(), other.expose());
        let difference = a.iter().zip(b).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        a.len() == b.len() && difference == 0
    }
}

impl Eq for Secret<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    #[test]
    fn debug_shows_neither_octets_nor_length() {
        assert_eq!(format!("{:?}", Secret::borrowed(b"hunter2")), "Secret(..)");
        assert_eq!(format!("{:#?}", Secret::from(vec![1, 2, 3])), "Secret(..)");
    }

    #[test]
    fn secrets_are_equal_when_their_octets_are() {
        assert_eq!(Secret::borrowed(b"a b"), Secret::from(b"a b".to_vec()));
        assert_ne!(Secret::borrowed(b"a b"), Secret::borrowed(b"a c"));
        assert_ne!(Secret::borrowed(b"a b"), Secret::borrowed(b"a b "));
        assert_ne!(Secret::borrowed(b""), Secret::borrowed(b"a"));
    }
}
