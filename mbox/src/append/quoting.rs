//! A quoter for content that comes in pieces which are not given twice.

use crate::append::tail::Tail;
use crate::error::Error;
use crate::quote::{Dialect, Quoter};

#[derive(Debug)]
pub(super) struct Quoting {
    quoter: Quoter,
    /// What the quoter has not taken yet: a few octets.
    held: Vec<u8>,
}

impl Quoting {
    /// At the start of a line.
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { quoter: Quoter::new(dialect), held: Vec::new() }
    }

    /// `last`: nothing comes behind `octets`.
    pub(super) fn push(&mut self, octets: &[u8], last: bool, tail: &mut Tail<'_>) -> Result<(), Error> {
        if self.held.is_empty() {
            let rest = pump(&mut self.quoter, octets, last, tail)?;
            self.held.extend_from_slice(rest);
        } else {
            self.held.extend_from_slice(octets);
            let rest = pump(&mut self.quoter, &self.held, last, tail)?.len();
            self.held.drain(..self.held.len() - rest);
        }
        Ok(())
    }
}

/// What was not taken.
fn pump<'b>(quoter: &mut Quoter, octets: &'b [u8], last: bool, tail: &mut Tail<'_>) -> Result<&'b [u8], Error> {
    let mut rest = octets;
    while let Some(piece) = quoter.next(rest, last) {
        tail.push(piece.octets)?;
        rest = rest.get(piece.consumed..).unwrap_or_default();
    }
    Ok(rest)
}
