//! Who holds a lock.

use std::fmt;
use std::sync::LazyLock;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, gethostname};

/// Who holds a lock, as far as the lock says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    process: u32,
    host: Option<String>,
}

/// More is not the content of a dotlock. Names of hosts have 255 octets at most.
pub(super) const MAX_CONTENT: usize = 300;

static HOST: LazyLock<String> = LazyLock::new(|| {
    let name = gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| is_host(name)).unwrap_or_else(|| "localhost".to_owned())
});

fn is_host(name: &str) -> bool {
    !name.is_empty() && name.len() < MAX_CONTENT - 20 && name.bytes().all(|octet| octet.is_ascii_graphic())
}

impl Holder {
    /// Number of the process.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Name of the host that it runs on, if the lock says so; printable ASCII.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    pub(super) fn of_process(process: u32) -> Self {
        Self { process, host: None }
    }

    /// This process on this host.
    pub(super) fn this() -> Self {
        Self { process: std::process::id(), host: Some(HOST.clone()) }
    }

    /// What a dotlock says: `PID` or `PID:HOST`. `0` is what procmail writes, and nobody.
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?.trim_ascii();
        let (process, host) = text.split_once(':').map_or((text, None), |(process, host)| (process, Some(host)));
        let process = process.parse().ok().filter(|process| *process > 0)?;
        host.is_none_or(is_host).then(|| Self { process, host: host.map(str::to_owned) })
    }

    /// Whether it ran here and does so no longer. Where no host is named, the process may be another's.
    pub(super) fn is_dead(&self) -> bool {
        let process = i32::try_from(self.process).ok().filter(|_| self.host.as_ref() == Some(&*HOST));
        process.is_some_and(|process| kill(Pid::from_raw(process), None) == Err(Errno::ESRCH))
    }
}

/// As it stands in a dotlock: `PID:HOST`.
pub(super) fn content() -> String {
    let this = Holder::this();
    format!("{}:{}", this.process, this.host.unwrap_or_default())
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.process)?;
        self.host.as_ref().map_or(Ok(()), |host| write!(f, " on {host}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dotlocks_of_other_programs_say_is_understood() {
        let holder = |process, host: Option<&str>| Some(Holder { process, host: host.map(str::to_owned) });
        assert_eq!(Holder::parse(b"14494\n"), holder(14494, None), "maildrop");
        assert_eq!(Holder::parse(b"14513:vm"), holder(14513, Some("vm")), "lockmail, Dovecot");
        for nobody in [&b""[..], b"0", b":vm", b"-1:vm", b"1 2", b"7:", b"7:a b", b"7:a\x1b", b"\xff"] {
            assert_eq!(Holder::parse(nobody), None);
        }
        assert_eq!(Holder::parse(content().as_bytes()), Some(Holder::this()));
    }

    #[test]
    fn only_a_process_of_this_host_is_known_to_be_dead() {
        assert!(!Holder::this().is_dead());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = child.id();
        child.wait().unwrap();
        assert!(Holder { process, host: Some(HOST.clone()) }.is_dead());
        for host in [None, Some("elsewhere.example".to_owned())] {
            assert!(!Holder { process, host }.is_dead());
        }
        assert!(!Holder { process: u32::MAX, host: Some(HOST.clone()) }.is_dead());
    }
}
