#![doc = include_str!("../README.md")]

mod batch;
mod calls;
mod cleanup;
mod commit;
mod courier_keywords;
mod crlf;
mod delivery;
mod dotlock;
mod error;
mod flags;
mod keywords;
mod listing;
mod maildir;
mod message;
mod name;
mod names;
mod pass;
mod pop3_sizes;
mod removal;
mod replacement;
mod stamp;
mod subscriptions;
mod transfer;
mod uid_list;
mod uid_validity;
mod uidl;
mod unique;

#[cfg(test)]
mod crash;

pub use crate::batch::{Advanced, advance, commit_all, prepare_all};
pub use crate::cleanup::MIN_TMP_AGE;
pub use crate::commit::{Delivered, Prepared};
pub use crate::courier_keywords::CourierKeywords;
pub use crate::delivery::Delivery;
pub use crate::error::{Error, Operation};
pub use crate::flags::{Flag, Flags};
pub use crate::keywords::{KeywordError, Keywords};
pub use crate::listing::{Entry, Listing};
pub use crate::maildir::{Directory, Maildir, Options, Separator};
pub use crate::message::Message;
pub use crate::name::{Info, Name, NameError};
pub use crate::pop3_sizes::{Pop3Size, Pop3Sizes};
pub use crate::stamp::Stamp;
pub use crate::subscriptions::{SubscriptionFile, Subscriptions};
pub use crate::uid_list::{UidEntry, UidList, UidListError, UidUpdate};
pub use crate::uidl::{UidlFormat, uidl_of_base};
