//! How long a listing takes beside a bare loop over the directory, and what it keeps in memory.
//!
//! `cargo run --release -p postrider-maildir --example listing_speed -- DIRECTORY MESSAGES`: the directory is made and filled if it is not
//! there; on Linux.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;
    use std::fs::{self, File};
    use std::hint::black_box;
    use std::path::Path;
    use std::thread::sleep;
    use std::time::Duration;

    use postrider_maildir::Maildir;
    use rustix::fs::RawDir;
    use rustix::time::{ClockId, clock_gettime};

    const ROUNDS: u32 = 7;

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        let mut arguments = std::env::args_os().skip(1);
        let (Some(directory), Some(messages)) = (arguments.next(), arguments.next()) else {
            return Err("usage: listing_speed DIRECTORY MESSAGES".into());
        };
        let messages = messages.to_string_lossy().parse()?;
        let maildir = filled(Path::new(&directory), messages)?;

        let before = resident()?;
        let listed = maildir.list()?;
        let names: usize = listed.iter().map(|entry| entry.name().octets().len()).sum();
        let listed_only = resident()?.saturating_sub(before);
        black_box(listed.find(b"none"));
        let indexed = resident()?.saturating_sub(before);
        let each = |octets: u64| octets / messages;
        println!(
            "{messages} messages: {} octets each, names of {}; {} once one was looked for",
            each(listed_only),
            names / listed.len(),
            each(indexed),
        );
        drop(listed);

        let (mut bare, mut listing, mut finding) = (Vec::new(), Vec::new(), Vec::new());
        // In turns, so that what else the machine does hits all.
        for _ in 0..ROUNDS {
            bare.push(timed(|| bare_loop(&maildir))?);
            listing.push(timed(|| Ok(black_box(maildir.list()?).len()))?);
            finding.push(timed(|| Ok(black_box(maildir.list()?.find(b"none")).iter().count()))?);
        }
        let [bare, listing, finding] = [bare, listing, finding].map(middle);
        let times = |one: Duration| one.as_secs_f64() / bare.as_secs_f64();
        println!(
            "bare loop {bare:.1?}; listing {listing:.1?}, {:.2} times; with a look for one {finding:.1?}, {:.2} times",
            times(listing),
            times(finding),
        );
        Ok(())
    }

    fn filled(directory: &Path, messages: u64) -> Result<Maildir, Box<dyn Error>> {
        if !directory.exists() {
            Maildir::create(directory)?;
            for n in 0..messages {
                let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let name =
                    format!("{}.M{}P1800Q{n}R{random:016x}.mail,S=3026,W=3100:2,S", 1_795_350_923 + n, n % 1_000_000);
                File::create(directory.join("cur").join(name))?;
            }
        }
        let maildir = Maildir::open(directory)?;
        // Until its times prove something. (A listing would tell, and leave its memory behind.)
        sleep(Duration::from_secs(4));
        Ok(maildir)
    }

    /// What no listing can do without: reading the two directories.
    fn bare_loop(maildir: &Maildir) -> Result<usize, Box<dyn Error>> {
        let mut buffer = Vec::with_capacity(64 * 1024);
        let mut octets = 0;
        for directory in ["new", "cur"] {
            let directory = File::open(maildir.path().join(directory))?;
            let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
            while let Some(entry) = entries.next() {
                octets += entry?.file_name().to_bytes().len();
            }
        }
        Ok(black_box(octets))
    }

    /// The processor's time, so that others at work on the machine count less.
    fn timed(action: impl Fn() -> Result<usize, Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
        let now = || clock_gettime(ClockId::ThreadCPUTime);
        let began = now();
        action()?;
        Ok((now() - began).try_into()?)
    }

    fn middle(mut times: Vec<Duration>) -> Duration {
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// What the process has in memory, in octets.
    fn resident() -> Result<u64, Box<dyn Error>> {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}
