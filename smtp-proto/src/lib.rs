#![doc = include_str!("../README.md")]
#![no_std]
#![warn(clippy::indexing_slicing)]

extern crate alloc;

#[cfg(feature = "arbitrary")]
mod arbitrary;
pub mod client;
mod command;
mod error;
mod extensions;
mod grammar;
#[cfg(feature = "idna")]
mod idna;
mod incoming;
mod limits;
mod offered;
mod outgoing;
mod reply;
#[cfg(feature = "serde")]
mod serde;
pub mod server;
mod session;
pub mod transfer;
mod types;

pub use postrider_text_proto::{
    Base64Error, Escaped, LineError, Mechanism, Mechanisms, SaslLine, Secret, Step, Stray, ValueError, WireSize,
};

pub use crate::command::{Command, Verb};
pub use crate::error::{CommandError, ContentFault, Error, Misuse, ReplyError};
pub use crate::extensions::attributes::{Attribute, AttributeList, AttributeValue, Attributes};
pub use crate::extensions::burl::Url;
pub use crate::extensions::dsn::{Notify, OriginalRecipient, Ret};
pub use crate::extensions::ehlo::{Capability, FutureRelease, ServerLimits};
pub use crate::extensions::parameter_list::ParameterList;
pub use crate::extensions::parameters::{AuthParameter, Body, Parameter, Parameters};
pub use crate::extensions::queues::{DomainList, Queue, QueueName};
pub use crate::extensions::timing::{ByMode, DateTime, DeliverBy, Hold, Otherwise, ValidSince};
pub use crate::extensions::{Extensions, OtherExtension};
pub use crate::limits::{Limits, LineEndings, Quirks};
pub use crate::offered::Offered;
pub use crate::reply::{Code, EnhancedCode, Reply, ReplyScanner};
pub use crate::session::{Place, State};
pub use crate::types::{
    AddressLiteral, Argument, ClientName, Domain, ForwardPath, Host, LiteralAddress, LocalPart, Mailbox, OtherCommand,
    Path, Postmaster, ReversePath, Text,
};
