//! How often a minute an address may do something.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::expiring::Expiring;
use crate::networks::Networks;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts what addresses do. Each has so many turns; they come back evenly over a minute.
///
/// What is kept of an address is the time at which it would have all its turns again: a token bucket in a single number
/// ([GCRA](https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm)).
#[derive(Debug)]
pub struct Rate {
    per_minute: u32,
    exempt: Networks,
    full_again: Expiring,
}

impl Rate {
    /// `per_minute` turns; 0: any number, as for addresses in `exempt`.
    pub fn new(per_minute: u32, exempt: Networks) -> Self {
        Self { per_minute, exempt, full_again: Expiring::default() }
    }

    /// Takes one of the turns of `address`. `false`: it has none left.
    pub fn take(&self, address: IpAddr) -> bool {
        if self.per_minute == 0 || self.exempt.contains(address) {
            return true;
        }
        let turn = MINUTE / self.per_minute;
        self.full_again.update(address, |before| {
            let after = before + turn;
            if after.duration_since(Instant::now()) > MINUTE { (before, false) } else { (after, true) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_come_back_evenly_over_a_minute_and_each_address_has_its_own() {
        let rate = Rate::new(30, Networks::loopback());
        let [a, b, exempt] = ["192.0.2.1", "192.0.2.2", "127.0.0.1"].map(|address| address.parse().unwrap());
        let taken = |address| (0..100).filter(|_| rate.take(address)).count();
        assert_eq!([taken(a), taken(a), taken(b), taken(exempt)], [30, 0, 30, 100]);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!([taken(a), taken(a)], [2, 0]);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(taken(a), 30);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let rate = Rate::new(0, Networks::default());
        assert!((0..1000).all(|_| rate.take("192.0.2.1".parse().unwrap())));
    }
}
