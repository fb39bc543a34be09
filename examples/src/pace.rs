//! How long a message may take in all: a peer that sends octet by octet must not hold a connection for as long as octets come.
//!
//! As Postfix has it with `smtpd_per_request_deadline` and `smtpd_min_data_rate`
//! ([postconf(5)](https://www.postfix.org/postconf.5.html#smtpd_min_data_rate)).

use std::time::Duration;

/// The pace that a peer has to keep, and how much time it has left before it has fallen too far behind.
///
/// Waiting costs time, and octets earn it; more than it had at first it never has, so that nobody sends much at once to be slow
/// ever after.
#[derive(Clone, Debug)]
pub struct Pace {
    grace: Duration,
    octets_per_second: u32,
    left: Duration,
}

impl Pace {
    /// So many octets a second, behind which a peer may fall by `grace`; 0: it may take any time.
    pub fn new(octets_per_second: u32, grace: Duration) -> Self {
        Self { grace, octets_per_second, left: grace }
    }

    /// The next message begins.
    pub fn restart(&mut self) {
        self.left = self.grace;
    }

    /// How long the peer may still be waited for; `None`: for ever.
    pub fn left(&self) -> Option<Duration> {
        (self.octets_per_second > 0).then_some(self.left)
    }

    /// The peer has been waited for.
    pub fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    /// So many octets of the message have come.
    pub fn came(&mut self, octets: usize) {
        let seconds = Duration::from_secs(u64::try_from(octets).unwrap_or(u64::MAX));
        let earned = seconds.checked_div(self.octets_per_second).unwrap_or_default();
        self.left = self.left.saturating_add(earned).min(self.grace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds until the time of a peer is up that sends so many octets each second, a day at the most.
    fn lasts(pace: &mut Pace, octets: usize) -> u64 {
        let lasts = |pace: &mut Pace| {
            let enough = pace.left().is_none_or(|left| left >= SECOND);
            pace.waited(SECOND);
            pace.came(octets);
            enough
        };
        (0..86_400).take_while(|_| lasts(pace)).count() as u64
    }

    #[test]
    fn a_slow_link_may_go_on_for_ever_and_what_drips_may_not() {
        let pace = Pace::new(200, 300 * SECOND);
        for (octets, expected) in [(0, 300), (1, 301), (100, 599), (200, 86_400), (300, 86_400), (1_000_000, 86_400)] {
            let lasted = lasts(&mut pace.clone(), octets);
            assert!(lasted.abs_diff(expected) <= 1, "{octets} octets a second: {lasted} seconds, not {expected}");
        }
        assert_eq!(lasts(&mut Pace::new(0, SECOND), 1), 86_400);
    }

    #[test]
    fn a_fast_beginning_buys_no_time_and_a_pause_is_made_good() {
        let mut pace = Pace::new(200, 300 * SECOND);
        pace.came(usize::MAX);
        assert_eq!(pace.left(), Some(300 * SECOND));
        pace.waited(250 * SECOND);
        pace.came(200 * 250);
        assert_eq!(pace.left(), Some(300 * SECOND));
        pace.waited(400 * SECOND);
        assert_eq!(pace.left(), Some(Duration::ZERO));
        pace.restart();
        assert_eq!(pace.left(), Some(300 * SECOND));
    }
}
