//! mbox files.

mod from_line;
mod header;
mod quote;
mod splitter;

pub use crate::from_line::{Date, FromLine};
pub use crate::quote::{Dialect, Piece, Quoter, Unquoter};
pub use crate::splitter::{Doubt, End, Event, Length, Policy, Splitter, Step, What, Why};
