//! `mailconv count`: how many messages there are.

use std::io::Write;
use std::path::{Path, PathBuf};

use postrider_maildir::Maildir;
use postrider_mbox::Policy;

use super::failure::Failure;
use super::octets;
use super::source::{Kind, Mbox, kind};
use super::tree;

/// Prints the number of messages at each path: alone for one, with the path behind for more, and their sum at the end. Goes on behind one that fails, and
/// gives the first failure.
///
/// # Errors
///
/// When something is no mailbox, or cannot be read, or standard output cannot be written to.
pub fn run(
    paths: &[PathBuf],
    policy: Policy,
    out: &mut dyn Write,
    complain: &mut dyn FnMut(&Failure),
) -> Result<(), Failure> {
    let (mut sum, mut failed) = (0, None);
    for path in paths {
        let count = match of(path, policy) {
            Ok(count) => count,
            Err(failure) => {
                match failed {
                    None => failed = Some(failure),
                    Some(_) => complain(&failure),
                }
                continue;
            }
        };
        sum += count;
        let text = match paths {
            [_] => count.to_string(),
            _ => format!("{count}\t{}", octets::shown(path.as_os_str().as_encoded_bytes())),
        };
        writeln!(out, "{text}").map_err(Failure::Output)?;
    }
    if paths.len() > 1 {
        writeln!(out, "{sum}\ttotal").map_err(Failure::Output)?;
    }
    failed.map_or(Ok(()), Err)
}

fn of(path: &Path, policy: Policy) -> Result<u64, Failure> {
    match kind(path)? {
        Kind::Mbox => Ok(Mbox::open(path, policy)?.survey()?.messages),
        Kind::Maildir => Ok(Maildir::open(path)?.list()?.len() as u64),
        Kind::Folders => tree::read(path)?.folders.iter().map(|folder| of(&folder.path, policy)).sum(),
    }
}
