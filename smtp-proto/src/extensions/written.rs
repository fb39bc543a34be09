//! Values on their way to the wire.

use alloc::vec::Vec;
use core::fmt::{self, Write};

/// Appends what `value` shows, without memory of its own.
pub(crate) fn put(value: impl fmt::Display, out: &mut Vec<u8>) {
    // Neither the writer nor any value of ours fails.
    let _ = write!(Octets(out), "{value}");
}

struct Octets<'o>(&'o mut Vec<u8>);

impl Write for Octets<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
