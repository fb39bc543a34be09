//! How many connections at a time, in all, from one address and from one network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::networks::Networks;

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Full {
    /// The address has as many as it may.
    #[error("too many connections from your address")]
    Address,
    /// The network has as many as it may.
    #[error("too many connections from your network")]
    Network,
    /// The address has had as many of late as it may.
    #[error("too many connections a minute from your address")]
    Rate,
    /// The server has as many as it takes.
    #[error("too many connections")]
    Server,
}

impl Full {
    /// What SMTP says of it: the system does not accept messages now, or it is about this client.
    pub fn enhanced_code(self) -> &'static str {
        match self {
            Self::Address | Self::Network | Self::Rate => "4.7.0",
            Self::Server => "4.3.2",
        }
    }
}

/// How many connections are taken.
#[derive(Clone, Debug)]
pub struct Most {
    /// In all.
    pub all: usize,
    /// From one address, or one /64 network of IPv6.
    pub per_address: usize,
    /// From one network.
    pub per_network: usize,
    /// Bits of an IPv4 address that are its network's.
    pub ipv4_bits: u8,
    /// Bits of an IPv6 address that are its network's.
    pub ipv6_bits: u8,
    /// Where neither addresses nor networks are counted.
    pub exempt: Networks,
}

/// Counts connections. Clones count together.
#[derive(Clone, Debug)]
pub struct Admission {
    most: Arc<Most>,
    present: Arc<Mutex<Present>>,
}

/// The tables have only what is connected, so that they have at most as many entries as there are connections.
#[derive(Debug, Default)]
struct Present {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    by_network: HashMap<IpAddr, usize>,
}

/// A connection that counts as long as this is held.
#[derive(Debug)]
pub struct Admitted {
    /// Whose it is, once that is known, if it is counted.
    address: Option<IpAddr>,
    admission: Admission,
}

impl Admission {
    /// Takes so many.
    pub fn new(most: Most) -> Self {
        Self { most: Arc::new(most), present: Arc::default() }
    }

    /// Counts a connection of which it is not known yet whose it is.
    ///
    /// # Errors
    ///
    /// [`Full::Server`] when it would be one too many.
    pub fn enter(&self) -> Result<Admitted, Full> {
        let mut present = self.present();
        if present.all >= self.most.all {
            return Err(Full::Server);
        }
        present.all += 1;
        Ok(Admitted { address: None, admission: self.clone() })
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Most {
    fn network(&self, address: IpAddr) -> IpAddr {
        masked(address, self.ipv4_bits, self.ipv6_bits)
    }
}

impl Admitted {
    /// Counts the connection as one from `address`. Call it once.
    ///
    /// # Errors
    ///
    /// When it would be one too many from there.
    pub fn belongs_to(&mut self, address: IpAddr) -> Result<(), Full> {
        let most = &self.admission.most;
        if most.exempt.contains(address) {
            return Ok(());
        }
        let (address, network) = (network(address), most.network(address));
        let mut present = self.admission.present();
        let is_full = |table: &HashMap<_, usize>, key, most| table.get(key).is_some_and(|count| *count >= most);
        if is_full(&present.by_address, &address, most.per_address) {
            return Err(Full::Address);
        }
        if is_full(&present.by_network, &network, most.per_network) {
            return Err(Full::Network);
        }
        *present.by_address.entry(address).or_default() += 1;
        *present.by_network.entry(network).or_default() += 1;
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut present = self.admission.present();
        present.all -= 1;
        if let Some(address) = self.address {
            leave(&mut present.by_address, address);
            leave(&mut present.by_network, self.admission.most.network(address));
        }
    }
}

fn leave(table: &mut HashMap<IpAddr, usize>, key: IpAddr) {
    if let Some(count) = table.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            table.remove(&key);
        }
    }
}

/// What counts as one address: an IPv6 client has a /64 network to itself.
pub fn network(address: IpAddr) -> IpAddr {
    masked(address, 32, 64)
}

/// The first address of the network.
fn masked(address: IpAddr, ipv4_bits: u8, ipv6_bits: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(ipv4_bits.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_bits.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Admission {
        fn of(all: usize, per_address: usize, per_network: usize) -> Self {
            let exempt = Networks::loopback();
            Self::new(Most { all, per_address, per_network, ipv4_bits: 24, ipv6_bits: 48, exempt })
        }

        fn admit(&self, address: &str) -> Result<Admitted, Full> {
            let mut admitted = self.enter()?;
            admitted.belongs_to(address.parse().unwrap()).map(|()| admitted)
        }
    }

    #[test]
    fn connections_count_while_they_last() {
        let admission = Admission::of(3, 2, 10);
        let first = admission.admit("192.0.2.1").unwrap();
        let _second = admission.admit("192.0.2.1").unwrap();
        assert_eq!(admission.admit("192.0.2.1").unwrap_err(), Full::Address);
        let _third = admission.admit("192.0.2.2").unwrap();
        assert_eq!(admission.admit("192.0.2.2").unwrap_err(), Full::Server);
        drop(first);
        assert!(admission.admit("192.0.2.1").is_ok());
    }

    #[test]
    fn a_small_network_of_ipv6_counts_as_one_address() {
        let admission = Admission::of(10, 1, 10);
        let _one = admission.admit("2001:db8::1").unwrap();
        assert_eq!(admission.admit("2001:db8::ffff:1").unwrap_err(), Full::Address);
        assert!(admission.admit("2001:db8:0:1::1").is_ok());
        let _mapped = admission.admit("::ffff:192.0.2.1").unwrap();
        assert_eq!(admission.admit("192.0.2.1").unwrap_err(), Full::Address);
    }

    #[test]
    fn the_addresses_of_a_network_count_together_too() {
        let admission = Admission::of(10, 2, 2);
        let both = [admission.admit("192.0.2.1").unwrap(), admission.admit("192.0.2.255").unwrap()];
        assert_eq!(admission.admit("192.0.2.3").unwrap_err(), Full::Network);
        assert!(admission.admit("192.0.3.3").is_ok());
        let _both = ["2001:db8:1:1::1", "2001:db8:1:ffff::1"].map(|address| admission.admit(address).unwrap());
        assert_eq!(admission.admit("2001:db8:1:2::1").unwrap_err(), Full::Network);
        assert!(admission.admit("2001:db8:2::1").is_ok());
        drop(both);
        assert!(admission.admit("192.0.2.3").is_ok());
    }

    #[test]
    fn where_many_share_an_address_it_is_not_counted() {
        let admission = Admission::of(3, 1, 1);
        let _all = [(); 3].map(|()| admission.admit("127.0.0.1").unwrap());
        assert_eq!(admission.admit("127.0.0.1").unwrap_err(), Full::Server);
    }

    #[test]
    fn nothing_is_kept_of_those_that_have_left() {
        let admission = Admission::of(9, 1, 1);
        for last in 0..=255 {
            drop(admission.admit(&format!("192.0.{last}.1")).unwrap());
        }
        let _one = admission.admit("192.0.2.1").unwrap();
        admission.admit("192.0.2.1").unwrap_err();
        let present = admission.present();
        assert_eq!((present.all, present.by_address.len(), present.by_network.len()), (1, 1, 1));
    }
}
