#![doc = include_str!("../README.md")]

mod append;
mod calls;
#[cfg(test)]
mod crash;
mod envelope;
mod error;
mod from_line;
mod header;
mod lock;
mod mailbox;
mod messages;
mod quote;
mod reader;
mod splitter;

pub use crate::append::{Appended, LineEnd, Storing};
pub use crate::envelope::Envelope;
pub use crate::error::{Error, Operation};
pub use crate::from_line::{Date, FromLine};
pub use crate::lock::{Access, Holder, Locking, Method, Stale};
pub use crate::mailbox::{Locked, Mbox, Options};
pub use crate::messages::{Message, Messages, messages};
pub use crate::quote::{Dialect, Piece, Quoter, Unquoter};
pub use crate::reader::{Reader, Source, Stream};
pub use crate::splitter::{Doubt, End, Event, Length, Policy, Splitter, Step, What, Why};
