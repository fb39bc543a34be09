//! How many connections at a time, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Full {
    /// The server has as many as it takes.
    #[error("too many connections")]
    Server,
    /// The address has as many as it may.
    #[error("too many connections from your address")]
    Address,
}

impl Full {
    /// What SMTP says of it: the system does not accept messages now, or it is about this client.
    pub fn enhanced_code(self) -> &'static str {
        match self {
            Self::Server => "4.3.2",
            Self::Address => "4.7.0",
        }
    }
}

/// Counts connections. Clones count together.
#[derive(Clone, Debug)]
pub struct Admission {
    limit: usize,
    per_address: usize,
    present: Arc<Mutex<Present>>,
}

#[derive(Debug, Default)]
struct Present {
    all: usize,
    /// Only addresses that are connected, so that it has at most `limit` entries.
    by_address: HashMap<IpAddr, usize>,
}

/// A connection that counts as long as this is held.
#[derive(Debug)]
pub struct Admitted {
    /// Whose it is, once that is known.
    address: Option<IpAddr>,
    admission: Admission,
}

impl Admission {
    /// Takes `limit` connections, `per_address` of them from one address.
    pub fn new(limit: usize, per_address: usize) -> Self {
        Self { limit, per_address, present: Arc::default() }
    }

    /// Counts a connection of which it is not known yet whose it is.
    ///
    /// # Errors
    ///
    /// [`Full::Server`] when it would be one too many.
    pub fn enter(&self) -> Result<Admitted, Full> {
        let mut present = self.present();
        if present.all >= self.limit {
            return Err(Full::Server);
        }
        present.all += 1;
        Ok(Admitted { address: None, admission: self.clone() })
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Counts the connection as one from `address`.
    ///
    /// # Errors
    ///
    /// When it would be one too many from there.
    pub fn belongs_to(&mut self, address: IpAddr) -> Result<(), Full> {
        self.leave();
        let address = network(address);
        let mut present = self.admission.present();
        let count = present.by_address.entry(address).or_default();
        if *count >= self.admission.per_address {
            return Err(Full::Address);
        }
        *count += 1;
        self.address = Some(address);
        Ok(())
    }

    fn leave(&mut self) {
        let Some(address) = self.address.take() else { return };
        let mut present = self.admission.present();
        if let Some(count) = present.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                present.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.leave();
        self.admission.present().all -= 1;
    }
}

/// What counts as one address: an IPv6 client has a /64 network to itself.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Admission {
        fn admit(&self, address: IpAddr) -> Result<Admitted, Full> {
            let mut admitted = self.enter()?;
            admitted.belongs_to(address).map(|()| admitted)
        }
    }

    #[test]
    fn connections_count_while_they_last() {
        let admission = Admission::new(3, 2);
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = admission.admit(a).unwrap();
        let _second = admission.admit(a).unwrap();
        assert_eq!(admission.admit(a).unwrap_err(), Full::Address);
        let _third = admission.admit(b).unwrap();
        assert_eq!(admission.admit(b).unwrap_err(), Full::Server);
        drop(first);
        assert!(admission.admit(a).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let admission = Admission::new(10, 1);
        let _one = admission.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert_eq!(admission.admit("2001:db8::ffff:1".parse().unwrap()).unwrap_err(), Full::Address);
        assert!(admission.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
        let _mapped = admission.admit("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(admission.admit("192.0.2.1".parse().unwrap()).unwrap_err(), Full::Address);
    }
}
