//! The server's configuration: a TOML file in which every key is optional. `mailserver.toml` beside this crate shows them all with their defaults.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postrider_mbox::Dialect;
use postrider_smtp_proto::{AddressLiteral, Domain};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::maildrop::Format;
use crate::networks::Networks;
use crate::pace::Pace;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not TOML, has an unknown key, or a value that does not fit. The message names the line.
    #[error("{path:?}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What and where.
        source: Box<toml::de::Error>,
    },
}

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the server calls itself: a domain or an address literal.
    #[serde(deserialize_with = "host_name")]
    pub hostname: String,
    /// Domains whose mail is delivered here.
    #[serde(deserialize_with = "domains")]
    pub domains: Vec<String>,
    /// Where mail, accounts and the generated certificate are.
    #[serde(deserialize_with = "folder")]
    pub data: PathBuf,
    /// The account that gets mail for `postmaster`; where it is empty, the first one by name.
    pub postmaster: String,
    /// Where users' mail is, and how it is stored.
    pub mail: Mail,
    /// Addresses to listen on.
    pub listen: Listen,
    /// Certificate and key.
    pub tls: Tls,
    /// Logins.
    pub auth: Auth,
    /// Networks that are not treated like the rest.
    pub trust: Trust,
    /// Clients that speak before they are greeted.
    pub early_talkers: EarlyTalkers,
    /// Messages of users.
    pub submission: Submission,
    /// What clients may cost.
    pub limits: Limits,
    /// The file system of the data directory.
    pub space: Space,
    /// How long clients may take.
    pub timeouts: Timeouts,
}

/// Where users' mail is, and how it is stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// What is at `path`.
    pub format: MailFormat,
    /// `{user}` stands for the account's name. What does not begin with `/` is under `data`.
    #[serde(deserialize_with = "mail_path")]
    pub path: String,
}

/// A Maildir, or an mbox file in one of its dialects.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MailFormat {
    /// A Maildir.
    #[default]
    Maildir,
    /// What procmail writes.
    Mboxo,
    /// What qmail, maildrop and mailutils write: nothing of a message is lost.
    Mboxrd,
    /// mboxo with lengths.
    Mboxcl,
    /// What mutt and Dovecot write.
    Mboxcl2,
}

impl Mail {
    /// How mail is stored.
    pub fn format(&self) -> Format {
        match self.format {
            MailFormat::Maildir => Format::Maildir,
            MailFormat::Mboxo => Format::Mbox(Dialect::Mboxo),
            MailFormat::Mboxrd => Format::Mbox(Dialect::Mboxrd),
            MailFormat::Mboxcl => Format::Mbox(Dialect::Mboxcl),
            MailFormat::Mboxcl2 => Format::Mbox(Dialect::Mboxcl2),
        }
    }
}

impl Default for Mail {
    fn default() -> Self {
        Self { format: MailFormat::Maildir, path: "mail/{user}".to_owned() }
    }
}

/// One mailbox for all would be everybody's mail.
fn mail_path<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let path = String::deserialize(from)?;
    if path.contains("{user}") {
        Ok(path)
    } else {
        Err(D::Error::custom("a path needs {user} in it, for the account's name"))
    }
}

/// An address for each protocol.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// SMTP from other servers, with STARTTLS.
    pub smtp: Address,
    /// Submission by users, with STARTTLS.
    pub submission: Address,
    /// Submission by users, with TLS from the start.
    pub submissions: Address,
    /// LMTP from a server in front of this one.
    pub lmtp: Address,
    /// POP3, with STLS.
    pub pop3: Address,
    /// POP3 with TLS from the start.
    pub pop3s: Address,
}

/// An address to listen on: `"127.0.0.1:2525"`, `"[::1]:2525"`, or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Address {
    /// Do not listen.
    Off,
    /// Listen there.
    At(SocketAddr),
}

/// Certificate and key as PEM files; generated in the data directory where both are empty.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Authorities whose certificates users may log in with; none where it is empty.
    pub client_ca: PathBuf,
}

/// How users log in.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Whether logins are allowed on connections without TLS.
    pub plaintext: bool,
    /// Seconds for which a verified login is remembered; 0: not at all.
    #[serde(deserialize_with = "seconds")]
    pub remember_seconds: u64,
}

/// Networks that are not treated like the rest.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Proxies, which begin each connection with a PROXY header. What they say is believed.
    pub proxies: Networks,
    /// Not looked at as early talkers.
    pub greeted_at_once: Networks,
    /// Where many share an address, as behind a webmail: a failed login counts against the user alone, and no limit is on addresses.
    pub shared: Networks,
    /// Servers and proxies that say with `XCLIENT` whose session it is, and who has logged in. They are believed.
    pub xclient: Networks,
}

/// Clients of the SMTP port that speak before they are greeted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyTalkers {
    /// Seconds for which a client is kept waiting for the greeting; 0: not at all.
    #[serde(deserialize_with = "pause")]
    pub pause_seconds: u64,
    /// Seconds for which a client that has waited is not kept waiting again.
    #[serde(deserialize_with = "seconds")]
    pub remember_seconds: u64,
    /// Whether a client is refused that does not wait for the reply where it must.
    pub refuse_hasty: bool,
}

/// Messages of users.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Submission {
    /// Whether a user may send as an address that is not of the server's domains.
    pub foreign_senders: bool,
    /// Octets of a message's header section.
    #[serde(deserialize_with = "not_0")]
    pub header_octets: usize,
}

/// What clients may cost.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Octets of a message.
    #[serde(deserialize_with = "not_0")]
    pub message_octets: u64,
    /// Recipients of a message.
    #[serde(deserialize_with = "not_0")]
    pub recipients: usize,
    /// `Received` fields of a message: with more it goes round in a circle.
    #[serde(deserialize_with = "not_0")]
    pub received_fields: usize,
    /// Connections at a time.
    #[serde(deserialize_with = "not_0")]
    pub connections: usize,
    /// Connections at a time from one address, or one /64 network of IPv6.
    #[serde(deserialize_with = "not_0")]
    pub connections_per_address: usize,
    /// Connections at a time from one network.
    #[serde(deserialize_with = "not_0")]
    pub connections_per_network: usize,
    /// Bits of an IPv4 address that are its network's.
    #[serde(deserialize_with = "ipv4_bits")]
    pub network_bits_ipv4: u8,
    /// Bits of an IPv6 address that are its network's.
    #[serde(deserialize_with = "ipv6_bits")]
    pub network_bits_ipv6: u8,
    /// New connections a minute from one address, but those of LMTP; 0: any number.
    pub connections_per_minute: u32,
    /// Messages a minute from one address, but those of LMTP; 0: any number.
    pub messages_per_minute: u32,
}

/// The file system of the data directory.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Space {
    /// Octets that mail leaves free.
    pub reserve_octets: u64,
    /// Octets that a message is taken to need that does not say so.
    pub unsized_octets: u64,
}

/// Seconds, a year at the most.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For a client's next command, whole, or piece of a message; 0: what the protocol's RFC says.
    #[serde(deserialize_with = "seconds")]
    pub read_seconds: u64,
    /// By which a message may fall behind `message_octets_per_second`.
    #[serde(deserialize_with = "seconds_not_0")]
    pub message_lag_seconds: u64,
    /// No seconds: octets of a message that must come in each, on average; 0: any number.
    pub message_octets_per_second: u32,
    /// For a client to take any of what is sent to it.
    #[serde(deserialize_with = "seconds_not_0")]
    pub write_seconds: u64,
    /// For a proxy to send its header.
    #[serde(deserialize_with = "seconds_not_0")]
    pub proxy_seconds: u64,
    /// For a TLS handshake.
    #[serde(deserialize_with = "seconds_not_0")]
    pub handshake_seconds: u64,
    /// For the transactions under way when the server stops.
    #[serde(deserialize_with = "seconds")]
    pub shutdown_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            domains: vec!["localhost".to_owned()],
            data: PathBuf::from("mailserver-data"),
            postmaster: String::new(),
            mail: Mail::default(),
            listen: Listen::default(),
            tls: Tls::default(),
            auth: Auth::default(),
            trust: Trust::default(),
            early_talkers: EarlyTalkers::default(),
            submission: Submission::default(),
            limits: Limits::default(),
            space: Space::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| Address::At(SocketAddr::from(([127, 0, 0, 1], port)));
        Self {
            smtp: loopback(2525),
            submission: loopback(2587),
            submissions: loopback(2465),
            lmtp: loopback(2424),
            pop3: loopback(2110),
            pop3s: loopback(2995),
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self { plaintext: false, remember_seconds: 300 }
    }
}

impl Default for Trust {
    fn default() -> Self {
        let nobody = Networks::default;
        Self { proxies: nobody(), greeted_at_once: Networks::loopback(), shared: nobody(), xclient: nobody() }
    }
}

/// Two seconds are unnoticed by those that wait five minutes for a greeting, and more than those have that are in a hurry.
impl Default for EarlyTalkers {
    fn default() -> Self {
        Self { pause_seconds: 2, remember_seconds: 24 * 60 * 60, refuse_hasty: false }
    }
}

/// A list of as many recipients as a message may have, and room to spare.
impl Default for Submission {
    fn default() -> Self {
        Self { foreign_senders: false, header_octets: 256 * 1024 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_octets: 50 * 1024 * 1024,
            recipients: 1000,
            received_fields: 50,
            connections: 10_000,
            connections_per_address: 1000,
            connections_per_network: 5000,
            network_bits_ipv4: 24,
            network_bits_ipv6: 48,
            connections_per_minute: 0,
            messages_per_minute: 0,
        }
    }
}

impl Default for Space {
    fn default() -> Self {
        Self { reserve_octets: 64 * 1024 * 1024, unsized_octets: 1024 * 1024 }
    }
}

/// A message may lag by as much as a client may be silent ([RFC 5321 section 4.5.3.2.7](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2.7)). The
/// pace is one that a satellite telephone keeps, whose 2,400 bits are 300 octets; Postfix wants 500.
impl Default for Timeouts {
    fn default() -> Self {
        Self {
            read_seconds: 0,
            message_lag_seconds: 300,
            message_octets_per_second: 200,
            write_seconds: 300,
            proxy_seconds: 10,
            handshake_seconds: 30,
            shutdown_seconds: 30,
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read or says what is not understood.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// Whether mail for `domain` is delivered here.
    pub fn is_local(&self, domain: &[u8]) -> bool {
        self.domains.iter().any(|local| local.as_bytes().eq_ignore_ascii_case(domain))
    }
}

impl Limits {
    /// What admission goes by; in `exempt` neither addresses nor networks are counted.
    pub fn most_connections(&self, exempt: Networks) -> crate::admission::Most {
        crate::admission::Most {
            all: self.connections,
            per_address: self.connections_per_address,
            per_network: self.connections_per_network,
            ipv4_bits: self.network_bits_ipv4,
            ipv6_bits: self.network_bits_ipv6,
            exempt,
        }
    }
}

impl Timeouts {
    /// What the driver goes by.
    pub fn driver(&self) -> crate::driver::Timeouts {
        crate::driver::Timeouts {
            read: (self.read_seconds > 0).then(|| Duration::from_secs(self.read_seconds)),
            message: Pace::new(self.message_octets_per_second, Duration::from_secs(self.message_lag_seconds)),
            write: Duration::from_secs(self.write_seconds),
            handshake: Duration::from_secs(self.handshake_seconds),
        }
    }
}

/// Far more than any use, and far less than what a clock cannot count.
const MAX_SECONDS: u64 = 365 * 24 * 60 * 60;

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        seconds @ 0..=MAX_SECONDS => Ok(seconds),
        found => Err(D::Error::custom(format_args!("expected 0 to {MAX_SECONDS} seconds, found {found}"))),
    }
}

fn seconds_not_0<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match seconds(deserializer)? {
        0 => Err(D::Error::custom("expected 1 second at least, found 0")),
        seconds => Ok(seconds),
    }
}

/// A client gives up on a greeting after 5 minutes: [RFC 5321 section 4.5.3.2.1](https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2.1).
fn pause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        seconds @ 0..=60 => Ok(seconds),
        found => Err(D::Error::custom(format_args!("expected 0 to 60 seconds, found {found}"))),
    }
}

fn ipv4_bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    bits(deserializer, 32)
}

/// More than 64 are one address here.
fn ipv6_bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    bits(deserializer, 64)
}

fn bits<'de, D: Deserializer<'de>>(deserializer: D, most: u64) -> Result<u8, D::Error> {
    let found = u64::deserialize(deserializer)?;
    let bits = u8::try_from(found).ok().filter(|bits| (1..=most).contains(&u64::from(*bits)));
    bits.ok_or_else(|| D::Error::custom(format_args!("expected 1 to {most} bits, found {found}")))
}

fn not_0<'de, D: Deserializer<'de>, N: Deserialize<'de> + Default + PartialEq>(deserializer: D) -> Result<N, D::Error> {
    let number = N::deserialize(deserializer)?;
    if number == N::default() { Err(D::Error::custom("expected 1 at least, found 0")) } else { Ok(number) }
}

fn domains<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let domains = Vec::<String>::deserialize(deserializer)?;
    match domains.iter().find(|domain| Domain::new(domain).is_err()) {
        None => Ok(domains),
        Some(found) => Err(D::Error::custom(format_args!("expected domains, found {found:?}"))),
    }
}

fn folder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() { Err(D::Error::custom("expected a path, found none")) } else { Ok(path) }
}

fn host_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if Domain::new(&name).is_ok() || AddressLiteral::new(&name).is_ok() {
        return Ok(name);
    }
    Err(D::Error::custom("expected a domain or an address literal"))
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        let expected = "expected an IP address and a port, as in \"127.0.0.1:2525\", or \"off\"";
        text.parse().map(Self::At).map_err(|_| D::Error::custom(format_args!("{expected}, found {text:?}")))
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mailserver.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(load("").unwrap(), Config::default());
    }

    #[test]
    fn the_example_file_shows_every_key_with_its_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("mailserver.toml");
        assert_eq!(Config::load(&path).unwrap(), Config::default());
        let text = std::fs::read_to_string(path).unwrap();
        let keys = toml::to_string(&Config::default()).unwrap();
        for key in keys.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key) {
            assert!(text.lines().any(|line| line.starts_with(&format!("{key} = "))), "{key} is missing");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, says) in [
            ("hostname = \"a\"\nhostnam = \"b\"\n", "line 2"),
            ("[listen]\n\nsmtp = \"somewhere\"\n", "line 3"),
            ("[limits]\nrecipients = -1\n", "line 2"),
            ("hostname = [\n", "line 1"),
            ("domains = []\nhostname = \"\"\n", "line 2"),
            ("[timeouts]\nhandshake_seconds = 0\n", "line 2"),
            ("[limits]\nconnections = 0\n", "line 2"),
            ("\ndomains = [\"a b\"]\n", "line 2"),
            ("data = \"\"\n", "line 1"),
            ("[timeouts]\nproxy_seconds = 0\n", "line 2"),
            ("[timeouts]\nmessage_lag_seconds = 0\n", "line 2"),
            ("[timeouts]\nmessage_octets_per_second = 4294967296\n", "line 2"),
            ("[trust]\nproxies = \"any\"\n", "line 2"),
            ("[early_talkers]\npause_seconds = 61\n", "0 to 60 seconds, found 61"),
            ("[submission]\nheader_octets = 0\n", "line 2"),
            ("[limits]\nnetwork_bits_ipv4 = 33\n", "1 to 32 bits, found 33"),
            ("[limits]\nnetwork_bits_ipv6 = 0\n", "1 to 64 bits, found 0"),
            ("[limits]\nmessages_per_minute = -1\n", "line 2"),
            ("[trust]\nshared = [\"192.0.2.1/24\"]\n", "expected 192.0.2.0/24"),
            ("[timeouts]\nread_seconds = 9223372036854775807\n", "line 2"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
        let error = load("hostnam = \"b\"\n").unwrap_err().to_string();
        assert!(error.contains("hostnam") && error.contains("hostname"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::load(Path::new("no/such/file")).unwrap_err().to_string();
        assert!(error.contains("no/such/file"), "{error}");
    }
}
