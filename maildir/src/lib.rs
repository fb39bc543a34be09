#![doc = include_str!("../README.md")]

mod batch;
mod beneath;
mod calls;
mod cleanup;
mod commit;
mod crlf;
mod delivery;
mod error;
mod flags;
mod folder_name;
mod folders;
mod layout;
mod listing;
mod maildir;
mod maildirsize;
mod message;
mod name;
mod names;
mod pass;
mod quota;
mod relocation;
mod removal;
mod stamp;
mod transfer;
mod trash;
mod unique;
mod watch;

#[cfg(test)]
mod crash;

pub use crate::batch::{Advanced, advance, commit_all, prepare_all};
pub use crate::cleanup::MIN_TMP_AGE;
pub use crate::commit::{Delivered, Prepared};
pub use crate::delivery::Delivery;
pub use crate::error::{Error, Operation};
pub use crate::flags::{Flag, Flags};
pub use crate::folder_name::{FolderName, FolderNameError};
pub use crate::folders::{Folder, FolderState, Tree};
pub use crate::layout::Layout;
pub use crate::listing::{Entry, Listing};
pub use crate::maildir::{Directory, Maildir, Options, Separator};
pub use crate::message::Message;
pub use crate::name::{Info, Name, NameError};
pub use crate::quota::{MaildirSize, Quota, Usage, Verdict};
pub use crate::stamp::Stamp;
pub use crate::watch::{Change, Watch, Watched, What};
