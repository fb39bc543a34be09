use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Operation};
use crate::flags::Flags;
use crate::maildir::Maildir;
use crate::name::{MAX_NAME, NameError};

/// How many names are tried before the directory is declared broken. One collision takes equal 64-bit random numbers.
pub(crate) const TRIES: u32 = 8;

/// `,S=` and `,W=` with the largest numbers there are, and an info without flags.
const MAX_SUFFIX: usize = ",S=18446744073709551615,W=18446744073709551615:2,".len();

/// Tells apart what one process delivers within one microsecond, or while the clock is set back.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Asked for once. A child that was forked goes by its parent's number; the random bits keep them apart.
static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);

/// A new unique name: `seconds.M<µs>P<process>Q<count>R<random>.host`.
///
/// Time, process and count alone collide where two containers both run as process 1 under the same host name; time alone
/// goes backwards. The 64 random bits are drawn for each name, since a forked or cloned machine shares what was drawn
/// before.
///
/// An error if the name could become longer than 255 octets with its sizes and `flags`, before anything is written.
pub(crate) fn unique(maildir: &Maildir, flags: Flags) -> Result<Vec<u8>, Error> {
    let random = getrandom::u64()
        .map_err(|error| Error::io(Operation::Random, maildir.tmp(), std::io::Error::other(error.to_string())))?;
    let name = format(SystemTime::now(), COUNTER.fetch_add(1, Ordering::Relaxed), random, maildir.host());
    let len = name.len() + MAX_SUFFIX + flags.len();
    match len > MAX_NAME {
        true => Err(Error::Name { path: maildir.path().to_owned(), source: NameError::TooLong { len } }),
        false => Ok(name),
    }
}

fn format(now: SystemTime, count: u64, random: u64, host: &[u8]) -> Vec<u8> {
    // A clock before 1970 gives 0; the rest of the name is unique without it.
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let process = *PROCESS;
    let id = format!("{}.M{}P{process}Q{count}R{random:016x}.", now.as_secs(), now.subsec_micros());
    [id.as_bytes(), host].concat()
}

/// The host's name as it may stand in a file name: `/` is `\057` and `:` is `\072`, as the specification has it, and
/// likewise what would end the base or begin an info, or is not printable.
pub(crate) fn host(configured: Option<&str>) -> Vec<u8> {
    match configured {
        Some(host) if !host.is_empty() => escape(host.as_bytes()),
        _ => match rustix::system::uname().nodename().to_bytes() {
            b"" => b"localhost".to_vec(),
            host => escape(host),
        },
    }
}

fn escape(host: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(host.len());
    for &octet in host {
        match octet {
            b'/' | b':' | b',' | b';' | b'!' | b'\\' | ..=b' ' | 0x7f.. => {
                // Writing to a Vec cannot fail.
                let _ = write!(escaped, "\\{octet:03o}");
            }
            _ => escaped.push(octet),
        }
    }
    escaped
}

/// Tries fresh unique names in `directory` until `place` finds one that is free.
pub(crate) fn with_free_name<T>(
    maildir: &Maildir,
    directory: &Path,
    flags: Flags,
    mut place: impl FnMut(Vec<u8>, PathBuf) -> Result<T, Error>,
) -> Result<T, Error> {
    for _ in 0..TRIES {
        let name = unique(maildir, flags)?;
        let path = directory.join(OsStr::from_bytes(&name));
        match place(name, path) {
            Err(error) if error.is_taken() => {}
            settled => return settled,
        }
    }
    Err(Error::NoFreeName { path: directory.to_owned(), tries: TRIES })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_host_cannot_leave_its_place_in_the_name() {
        assert_eq!(escape(b"a/b:c"), b"a\\057b\\072c");
        assert_eq!(escape(b"x,S=1;2,!\\\n\xff"), b"x\\054S=1\\0732\\054\\041\\134\\012\\377");
    }

    #[test]
    fn names_differ_though_clock_process_and_count_are_the_same() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::create(scratch.path().join("m")).unwrap();
        let random = |name: Vec<u8>| name.split(|&octet| octet == b'R').nth(1).unwrap()[..16].to_vec();
        let drawn: HashSet<_> = (0..1000).map(|_| random(unique(&maildir, Flags::EMPTY).unwrap())).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn a_clock_before_1970_still_gives_a_name() {
        let before = UNIX_EPOCH - std::time::Duration::from_secs(1);
        let name = format(before, 7, 9, b"h");
        assert_eq!(name, format!("0.M0P{}Q7R0000000000000009.h", std::process::id()).into_bytes());
    }
}
