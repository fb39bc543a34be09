#![doc = include_str!("../README.md")]
#![no_std]
#![warn(clippy::indexing_slicing)]

extern crate alloc;

pub mod client;
mod command;
mod error;
mod extensions;
mod grammar;
mod limits;
mod response;
pub mod server;
mod session;
mod types;

pub use postrider_text_proto::{
    Base64Error, Escaped, LineError, Mechanism, Mechanisms, SaslLine, Secret, Step, ValueError, WireSize,
};

pub use crate::command::{Command, Verb};
pub use crate::error::{CommandError, Error, Misuse, ResponseError};
pub use crate::extensions::Extensions;
pub use crate::extensions::capa::{Capability, Expire};
pub use crate::extensions::codes::ResponseCode;
pub use crate::extensions::lang::{LanguageRange, LanguageTag};
pub use crate::extensions::top::Top;
pub use crate::limits::{Limits, Quirks};
pub use crate::response::{Item, Response, ScanListing, UniqueIdListing};
pub use crate::session::{Place, State};
pub use crate::types::{Digest, MessageNumber, Name, Text, Timestamp, UniqueId};
