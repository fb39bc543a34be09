#![doc = include_str!("../README.md")]

mod append;
mod calls;
#[cfg(test)]
mod crash;
mod detect;
mod entries;
mod envelope;
mod error;
mod fields;
mod from_line;
mod header;
mod index;
mod lock;
mod mailbox;
mod messages;
mod metadata;
mod numbering;
mod quote;
mod reader;
mod rewrite;
mod splitter;
mod text;

pub use crate::append::{Appended, LineEnd, Storing};
pub use crate::detect::{Certainty, Detected, Evidence};
pub use crate::entries::{Entries, Entry};
pub use crate::envelope::Envelope;
pub use crate::error::{Error, Operation};
pub use crate::from_line::{Date, FromLine};
pub use crate::index::{Followed, Index, Place};
pub use crate::lock::{Access, Holder, Locking, Method, Stale};
pub use crate::mailbox::{Locked, Mbox, Options};
pub use crate::messages::{Message, Messages, messages};
pub use crate::metadata::{Base, Flag, Flags, Keyword, Metadata};
pub use crate::numbering::{Numbering, number};
pub use crate::quote::{Dialect, Piece, Quoter, Unquoter};
pub use crate::reader::{Reader, Section, Source, Stream};
pub use crate::rewrite::{Edit, Rewriting, Rewritten, Way};
pub use crate::splitter::{Doubt, End, Event, Length, Policy, Splitter, Step, What, Why};
pub use crate::text::Text;
