#![doc = include_str!("../README.md")]
#![no_std]
#![warn(clippy::indexing_slicing)]

extern crate alloc;

mod base64;
mod blocks;
mod foreign;
mod line;
mod sasl;
mod secret;
mod step;
mod stray;
mod stuff;
mod unstuff;
mod value;

pub use crate::base64::{Base64Error, decode, encode};
pub use crate::foreign::{foreign_line, foreign_start};
pub use crate::line::{Framed, LineError, LineScanner, first_low};
pub use crate::sasl::{Mechanism, Mechanisms, SaslLine, parse_initial, put_initial};
pub use crate::secret::Secret;
pub use crate::step::Step;
pub use crate::stray::{Stray, StrayScanner};
pub use crate::stuff::{Spans, Stuffer, WireSize};
pub use crate::unstuff::{Unstuffed, Unstuffer};
pub use crate::value::{Escaped, ValueError};
