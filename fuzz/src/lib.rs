//! What the fuzz targets share: a network that cuts octets anywhere, programs for both roles of the protocols, and the octet rules written
//! once more, as plainly as they can be.

#![forbid(unsafe_code)]

pub mod delivery;
pub mod naive;
pub mod pop3;
pub mod script;
pub mod smtp;
