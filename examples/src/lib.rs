//! A mail server and a client assembled from the postrider crates, in parts that can be lifted out.
//!
//! | module | what it does |
//! |---|---|
//! | [`driver`] | runs any protocol connection over a socket: reads, writes, TLS, time limits |
//! | [`smtp`], [`pop3`] | what this server does with its peers: one `Session` each |
//! | [`delivery`] | puts messages into Maildirs; many share a sync |
//! | [`maildrop`], [`retrieval`] | a Maildir as POP3 sees it |
//! | [`accounts`], [`login`], [`sasl`] | who has a mailbox, and who has proved to be its owner |
//! | [`admission`] | how many connections at a time |
//! | [`config`], [`tls`], [`log`] | what the operator decides |
//! | [`server`] | listens, starts sessions, ends in order |
//! | [`program`] | the command line of the programs |
//! | [`send`] | the program `smtp-send` |

pub mod accounts;
pub mod admission;
pub mod config;
pub mod delivery;
pub mod driver;
pub mod log;
pub mod login;
pub mod maildrop;
pub mod pop3;
pub mod program;
pub mod retrieval;
pub mod sasl;
pub mod send;
pub mod server;
pub mod smtp;
pub mod tls;
