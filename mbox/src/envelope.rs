//! What a message came with, and the line that says so.

use std::time::{SystemTime, UNIX_EPOCH};

/// Who sent a message, and when it was delivered: what stands in the line that begins it.
///
/// ```
/// use postrider_mbox::Envelope;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let envelope = Envelope::new("anna@example.org", UNIX_EPOCH + Duration::from_secs(951_326_881));
/// assert_eq!(envelope.line(), b"From anna@example.org Wed Feb 23 17:28:01 2000");
/// assert_eq!(Envelope::new("", UNIX_EPOCH).line(), b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    sender: Vec<u8>,
    time: SystemTime,
}

/// What is longer is cut: SMTP has paths of 256 octets, and programs read `From ` lines of about 1,000.
const MAX_SENDER: usize = 320;

/// What stands for the empty sender of bounces.
const NOBODY: &[u8] = b"MAILER-DAEMON";

/// 9999-12-31T23:59:59Z: the year has four digits.
const LAST: u64 = 253_402_300_799;

impl Envelope {
    /// An envelope. `sender` is SMTP's reverse path without `<>`, empty for a bounce. White space and control characters become `-`, and what is longer
    /// than 320 octets is cut; so no sender can end the line or look like a date.
    pub fn new(sender: impl AsRef<[u8]>, time: SystemTime) -> Self {
        let sender = sender.as_ref();
        let sender = if sender.is_empty() { NOBODY } else { sender };
        let safe = |octet: &u8| if octet.is_ascii_control() || *octet == b' ' { b'-' } else { *octet };
        Self { sender: sender.iter().take(MAX_SENDER).map(safe).collect(), time }
    }

    /// The line in the default format of [RFC 4155](https://www.rfc-editor.org/rfc/rfc4155): `From SENDER DATE`, the date as C's `asctime` writes it, in
    /// UTC. Without a line end. What is not within the years 1970 to 9999 becomes the nearest that is.
    pub fn line(&self) -> Vec<u8> {
        let seconds = self.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(LAST);
        [b"From ", &*self.sender, b" ", asctime(seconds).as_bytes()].concat()
    }
}

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];

/// `Thu Jan  1 00:00:00 1970`
fn asctime(seconds: u64) -> String {
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March have their leap day at the end. 1970-01-01 is day 719,468 since the 1st of March of the year 0.
    let (era, of_era) = ((days + 719_468) / 146_097, (days + 719_468) % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    let name = |names: &[&'static str], at: u64| usize::try_from(at).ok().and_then(|at| names.get(at).copied());
    let (weekday, month) = (name(&WEEKDAYS, days % 7).unwrap_or_default(), name(&MONTHS, month).unwrap_or_default());
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{weekday} {month} {day:>2} {hours:02}:{minutes:02}:{seconds:02} {year}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::FromLine;

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(sender in proptest::collection::vec(any::<u8>(), 0..400), seconds in 0..LAST) {
            let line = Envelope::new(&sender, UNIX_EPOCH + Duration::from_secs(seconds)).line();
            prop_assert!(!line.iter().any(u8::is_ascii_control));
            let read = FromLine::new(&line).unwrap();
            prop_assert_eq!(read.date().map(|date| date.unix_seconds()), i64::try_from(seconds).ok());
            prop_assert!(!read.sender().is_empty() && read.sender().len() <= MAX_SENDER);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (951_782_399, "Mon Feb 28 23:59:59 2000"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (1_709_251_199, "Thu Feb 29 23:59:59 2024"),
            (4_107_542_400, "Mon Mar  1 00:00:00 2100"),
            (LAST, "Fri Dec 31 23:59:59 9999"),
        ] {
            assert_eq!(asctime(seconds), date);
        }
    }

    #[test]
    fn times_out_of_range_become_the_nearest_within() {
        let line = |time| String::from_utf8(Envelope::new("a", time).line()).unwrap();
        assert_eq!(line(UNIX_EPOCH - Duration::from_secs(9)), "From a Thu Jan  1 00:00:00 1970");
        assert_eq!(line(UNIX_EPOCH + Duration::from_secs(LAST + 9)), "From a Fri Dec 31 23:59:59 9999");
    }
}
