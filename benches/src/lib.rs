//! Cases that measure the postrider crates beside others. The README says how they are run and what makes them fair.
//!
//! A [`Case`](case::Case) is described once and measured four ways: wall time (criterion), CPU time, instructions, allocations.

pub mod case;
mod checksum;
mod inputs;
pub mod maildir;
pub mod mbox;
pub mod measure;
pub mod pop3_proto;
pub mod report;
pub mod smtp_proto;
pub mod text_proto;

/// The cases whose time is the processor's, so that counting instructions tells something. Those of the disk are left out.
pub fn on_the_processor() -> impl Iterator<Item = case::Build> {
    [text_proto::CASES, pop3_proto::CASES, smtp_proto::CASES, maildir::CASES, mbox::CASES].concat().into_iter()
}
