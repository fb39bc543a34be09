//! Addresses, each with the time at which it is forgotten, in bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::admission::network;

/// Entries at the most: about 1 MiB.
const MOST: usize = 20_000;

/// What is remembered of addresses: a time for each. Once it has come, the address is as one never seen.
///
/// An IPv6 client has a /64 network to itself, which counts as one address. When the table is full, those that would be forgotten
/// first go first; nobody can empty it by coming from many addresses.
#[derive(Debug, Default)]
pub struct Expiring(Mutex<HashMap<IpAddr, Instant>>);

impl Expiring {
    /// Whether the time of `address` is still to come.
    pub fn contains(&self, address: IpAddr) -> bool {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.get(&network(address)).is_some_and(|until| *until > Instant::now())
    }

    /// Remembers `address` until that time.
    pub fn insert(&self, address: IpAddr, until: Instant) {
        self.update(address, |_| (until, ()));
    }

    /// Replaces the time of `address`, which is now where it was not remembered.
    pub fn update<R>(&self, address: IpAddr, replace: impl FnOnce(Instant) -> (Instant, R)) -> R {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (address, now) = (network(address), Instant::now());
        if times.len() >= MOST && !times.contains_key(&address) {
            make_room(&mut times, now);
        }
        let time = times.entry(address).or_insert(now);
        let (until, outcome) = replace((*time).max(now));
        *time = until;
        outcome
    }
}

/// Removes what is over, and the half of the rest that is over first: then the work is little for each that comes.
fn make_room(times: &mut HashMap<IpAddr, Instant>, now: Instant) {
    times.retain(|_, until| *until > now);
    if times.len() > MOST / 2 {
        let mut all: Vec<_> = times.values().copied().collect();
        let (_, middle, _) = all.select_nth_unstable(MOST / 2);
        let middle = *middle;
        times.retain(|_, until| *until > middle);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_remembered_for_its_time() {
        let seen = Expiring::default();
        let now = Instant::now();
        seen.insert(address(1), now + Duration::from_secs(10));
        seen.insert("2001:db8::1".parse().unwrap(), now + Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(seen.contains(address(1)) && !seen.contains(address(2)));
        assert!(seen.contains("2001:db8::ffff".parse().unwrap()) && !seen.contains("2001:db8:0:1::1".parse().unwrap()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!seen.contains(address(1)));
        assert_eq!(seen.update(address(1), |before| (before, before)), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_take_bounded_memory_and_do_not_drive_out_what_lasts() {
        let seen = Expiring::default();
        seen.insert(address(0), Instant::now() + Duration::from_secs(86_400));
        for number in 1..5 * u32::try_from(MOST).unwrap() {
            seen.insert(address(number), Instant::now() + Duration::from_secs(60));
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(seen.0.lock().unwrap().len() <= MOST);
        }
        assert!(seen.contains(address(0)));
    }
}
