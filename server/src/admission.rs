//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections, and says when there are enough.
#[derive(Debug)]
pub(crate) struct Admissions {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    max_total: usize,
    max_per_address: usize,
    total: usize,
    by_address: HashMap<Network, usize>,
}

/// A connection's place; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Admission {
    admissions: Arc<Admissions>,
    address: Network,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("there are as many connections as max-connections allows")]
    Full,
    #[error("its address has as many connections as max-connections-per-address allows")]
    AddressFull,
}

impl Admissions {
    /// A limit of 0 is none.
    pub(crate) fn new(max_total: usize, max_per_address: usize) -> Self {
        let admissions = Self { counts: Mutex::default() };
        admissions.set_limits(max_total, max_per_address);
        admissions
    }

    /// Changes the limits for connections to come; a limit of 0 is none.
    pub(crate) fn set_limits(&self, max_total: usize, max_per_address: usize) {
        let unlimited = |limit| if limit == 0 { usize::MAX } else { limit };
        let mut counts = self.counts();
        counts.max_total = unlimited(max_total);
        counts.max_per_address = unlimited(max_per_address);
    }

    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admission, Refused> {
        let address = Network::of(address);
        let mut counts = self.counts();
        let Counts { max_total, max_per_address, .. } = *counts;
        if counts.total >= max_total {
            return Err(Refused::Full);
        }
        let of_address = counts.by_address.entry(address).or_default();
        if *of_address >= max_per_address {
            return Err(Refused::AddressFull);
        }
        *of_address += 1;
        counts.total += 1;
        Ok(Admission { admissions: Arc::clone(self), address })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.admissions.counts();
        counts.total -= 1;
        if let Some(of_address) = counts.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&self.address);
            }
        }
        if counts.by_address.capacity() > 1024
            && counts.by_address.len() * 4 < counts.by_address.capacity()
        {
            counts.by_address.shrink_to_fit();
        }
    }
}

/// What counts as one address: an IPv4 address, or an IPv6 /64, which is what one line is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    V6(u64),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_places_come_back() {
        let admissions = Arc::new(Admissions::new(3, 2));
        let (one, two): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = admissions.admit(one).unwrap();
        let _second = admissions.admit(one).unwrap();
        assert_eq!(admissions.admit(one).unwrap_err(), Refused::AddressFull);
        let _third = admissions.admit(two).unwrap();
        assert_eq!(admissions.admit(two).unwrap_err(), Refused::Full);
        drop(first);
        admissions.admit(one).unwrap();
    }

    #[test]
    fn zero_is_no_limit() {
        let admissions = Arc::new(Admissions::new(0, 0));
        let address = IpAddr::from([10, 0, 0, 1]);
        let held: Vec<_> = (0..1000).map(|_| admissions.admit(address).unwrap()).collect();
        drop(held);
        assert!(admissions.counts.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn changed_limits_hold_for_connections_to_come() {
        let admissions = Arc::new(Admissions::new(1, 0));
        let address = IpAddr::from([10, 0, 0, 1]);
        let _first = admissions.admit(address).unwrap();
        assert_eq!(admissions.admit(address).unwrap_err(), Refused::Full);
        admissions.set_limits(0, 2);
        let _second = admissions.admit(address).unwrap();
        assert_eq!(admissions.admit(address).unwrap_err(), Refused::AddressFull);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let admissions = Arc::new(Admissions::new(0, 1));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let _held = admissions.admit(address("2001:db8::1")).unwrap();
        assert!(admissions.admit(address("2001:db8::ffff:2")).is_err());
        assert!(admissions.admit(address("2001:db8:0:1::1")).is_ok());
        let _held = admissions.admit(address("::ffff:10.0.0.1")).unwrap();
        assert!(admissions.admit(address("10.0.0.1")).is_err());
    }
}
