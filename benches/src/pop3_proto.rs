//! postrider-pop3-proto beside pop3-codec, sawp-pop3 and rfc1939.

mod client;
mod peers;
mod server;

use crate::case::Build;

/// All cases.
pub const CASES: &[Build] =
    &[server::commands, server::retrieval, client::scan_listings, client::unique_ids, client::retrieval];

const POP3_CODEC: &str = "pop3-codec 0.3.0";
const SAWP: &str = "sawp-pop3 0.13.1";
const RFC1939: &str = "rfc1939 0.1.0";
