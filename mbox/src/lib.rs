#![doc = include_str!("../README.md")]

mod from_line;
mod header;
mod messages;
mod quote;
mod reader;
mod splitter;

pub use crate::from_line::{Date, FromLine};
pub use crate::messages::{Message, Messages, messages};
pub use crate::quote::{Dialect, Piece, Quoter, Unquoter};
pub use crate::reader::{Reader, Source, Stream};
pub use crate::splitter::{Doubt, End, Event, Length, Policy, Splitter, Step, What, Why};
