//! A mail server and a client assembled from the postrider crates, in parts that can be lifted out.
//!
//! | module | what it does |
//! |---|---|
//! | [`driver`] | runs any protocol connection over a socket: reads, writes, TLS, time limits |
//! | [`smtp`], [`pop3`] | what this server does with its peers: one `Session` each |
//! | [`content`], [`header`], [`submission`] | what is looked at in a message, and changed in a user's |
//! | [`space`] | how much mail the disk can take |
//! | [`delivery`], [`mbox_queue`] | puts messages into Maildirs or mbox files; many share a sync |
//! | [`report`] | tells senders who asked that their message was delivered |
//! | [`maildrop`], [`retrieval`] | a mailbox as POP3 sees it |
//! | [`accounts`], [`login`], [`sasl`], [`certificate`] | who has a mailbox, and who has proved to be its owner |
//! | [`proxy`] | whose connection a proxy passes on |
//! | [`admission`], [`rate`] | how many connections at a time, and how much a minute |
//! | [`early`] | who speaks before the greeting |
//! | [`expiring`] | addresses that are remembered for a while |
//! | [`config`], [`networks`], [`tls`], [`log`] | what the operator decides |
//! | [`server`] | listens, starts sessions, ends in order |
//! | [`program`] | the command line of the programs |
//! | [`send`] | the program `smtp-send` |
//! | [`mailconv`] | the program `mailconv` |

pub mod accounts;
pub mod admission;
pub mod certificate;
pub mod config;
pub mod content;
pub mod delivery;
pub mod driver;
pub mod early;
pub mod expiring;
pub mod header;
pub mod log;
pub mod login;
pub mod mailconv;
pub mod maildrop;
pub mod mbox_queue;
pub mod networks;
pub mod pace;
pub mod pop3;
pub mod program;
pub mod proxy;
pub mod rate;
pub mod report;
pub mod retrieval;
pub mod sasl;
pub mod send;
pub mod server;
pub mod smtp;
pub mod space;
pub mod submission;
pub mod tls;
