//! How many connections may be open: in all, from one address, and by file descriptors.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Counts connections, and refuses those beyond the limits.
#[derive(Debug)]
pub(crate) struct Admissions {
    counts: Mutex<Counts>,
    /// Notified when the last connection has ended.
    empty: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    /// Most connections for which there are descriptors.
    max_by_descriptors: usize,
    max_total: usize,
    max_per_address: usize,
    total: usize,
    by_address: HashMap<Network, usize>,
}

/// A connection in the counts: in the total, and in that of its address once that is known.
/// Dropping it removes it from both.
#[derive(Debug)]
pub(crate) struct Admission {
    admissions: Arc<Admissions>,
    address: Option<Network>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("max-connections is reached")]
    Full,
    #[error(
        "there are no file descriptors for more connections; allow more with `ulimit -n` or \
         LimitNOFILE="
    )]
    NoDescriptor,
    #[error("its address has reached max-connections-per-address")]
    AddressFull,
}

impl Admissions {
    /// Makes the counts. 0 means no limit.
    pub(crate) fn new(max_total: usize, max_per_address: usize) -> Self {
        let admissions = Self { counts: Mutex::default(), empty: Notify::new() };
        admissions.set_max_by_descriptors(usize::MAX);
        admissions.set_limits(max_total, max_per_address);
        admissions
    }

    /// Changes the limits for new connections. 0 means no limit.
    pub(crate) fn set_limits(&self, max_total: usize, max_per_address: usize) {
        let unlimited = |limit| if limit == 0 { usize::MAX } else { limit };
        let mut counts = self.counts();
        counts.max_total = unlimited(max_total);
        counts.max_per_address = unlimited(max_per_address);
    }

    /// Sets the most connections for which there are descriptors.
    pub(crate) fn set_max_by_descriptors(&self, max: usize) {
        self.counts().max_by_descriptors = max;
    }

    /// Returns the most connections for which there are descriptors.
    pub(crate) fn max_by_descriptors(&self) -> usize {
        self.counts().max_by_descriptors
    }

    /// Admits a connection, from any address.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Admission, Refused> {
        let mut counts = self.counts();
        if counts.total >= counts.max_total {
            return Err(Refused::Full);
        }
        if counts.total >= counts.max_by_descriptors {
            return Err(Refused::NoDescriptor);
        }
        counts.total += 1;
        Ok(Admission { admissions: Arc::clone(self), address: None })
    }

    /// Returns the number of connections, whether they are peers or not.
    pub(crate) fn len(&self) -> usize {
        self.counts().total
    }

    /// Waits until there are no connections.
    pub(crate) async fn all_gone(&self) {
        while self.len() > 0 {
            self.empty.notified().await;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// Counts the connection against this address, and no longer against a former one.
    pub(crate) fn claim(&mut self, address: IpAddr) -> Result<(), Refused> {
        let address = Network::of(address);
        if self.address == Some(address) {
            return Ok(());
        }
        let mut counts = self.admissions.counts();
        let max_per_address = counts.max_per_address;
        let of_address = counts.by_address.entry(address).or_default();
        if *of_address >= max_per_address {
            return Err(Refused::AddressFull);
        }
        *of_address += 1;
        if let Some(former) = self.address.replace(address) {
            counts.release(former);
        }
        Ok(())
    }
}

impl Counts {
    fn release(&mut self, address: Network) {
        if let Some(of_address) = self.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                self.by_address.remove(&address);
            }
        }
        let capacity = self.by_address.capacity();
        if capacity > 1024 && self.by_address.len() * 4 < capacity {
            self.by_address.shrink_to_fit();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.admissions.counts();
        counts.total -= 1;
        if counts.total == 0 {
            self.admissions.empty.notify_one();
        }
        if let Some(address) = self.address {
            counts.release(address);
        }
    }
}

/// A network that counts as one address: an IPv4 address, or an IPv6 /64, as one line gets.
///
/// The number is the upper half of an IPv6 address. An IPv4 address `a.b.c.d` is stored as the
/// network `0:ffff:aabb:ccdd::/64`, and the network of `::1` as `0:0:0:1::/64`. Both are in
/// `::/16`, of which hosts have only addresses in its first /64. So the number is never 0, and an
/// `Option` of it takes 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Network(NonZeroU64);

impl Network {
    fn of(address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => 0xffff << 32 | u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        Self(NonZeroU64::new(network).unwrap_or(NonZeroU64::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(admissions: &Arc<Admissions>, address: &str) -> Result<Admission, Refused> {
        let mut admission = admissions.admit()?;
        admission.claim(address.parse().unwrap())?;
        Ok(admission)
    }

    #[test]
    fn limits_hold_and_ended_connections_do_not_count() {
        let admissions = Arc::new(Admissions::new(3, 2));
        let first = admit(&admissions, "10.0.0.1").unwrap();
        let _second = admit(&admissions, "10.0.0.1").unwrap();
        assert_eq!(admit(&admissions, "10.0.0.1").unwrap_err(), Refused::AddressFull);
        let _third = admit(&admissions, "10.0.0.2").unwrap();
        assert_eq!(admit(&admissions, "10.0.0.2").unwrap_err(), Refused::Full);
        drop(first);
        admit(&admissions, "10.0.0.1").unwrap();
    }

    #[test]
    fn concurrent_admissions_stay_within_the_limit() {
        let admissions = Arc::new(Admissions::new(5, 0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        let held: Vec<_> = (0..3).filter_map(|_| admissions.admit().ok()).collect();
                        assert!(admissions.counts().total <= 5);
                        assert!(admissions.counts().total >= held.len());
                    }
                });
            }
        });
        assert_eq!(admissions.counts().total, 0);
    }

    #[test]
    fn zero_means_no_limit() {
        let admissions = Arc::new(Admissions::new(0, 0));
        let held: Vec<_> = (0..1000).map(|_| admit(&admissions, "10.0.0.1").unwrap()).collect();
        drop(held);
        assert!(admissions.counts().by_address.is_empty());
        assert_eq!(admissions.counts().total, 0);
    }

    #[test]
    fn changed_limits_hold_for_new_connections() {
        let admissions = Arc::new(Admissions::new(1, 0));
        let _first = admit(&admissions, "10.0.0.1").unwrap();
        assert_eq!(admit(&admissions, "10.0.0.1").unwrap_err(), Refused::Full);
        admissions.set_limits(0, 2);
        let _second = admit(&admissions, "10.0.0.1").unwrap();
        assert_eq!(admit(&admissions, "10.0.0.1").unwrap_err(), Refused::AddressFull);
    }

    #[test]
    fn descriptors_limit_the_connections_without_other_limits() {
        let admissions = Arc::new(Admissions::new(0, 0));
        admissions.set_max_by_descriptors(1);
        let held = admit(&admissions, "10.0.0.1").unwrap();
        assert_eq!(admit(&admissions, "10.0.0.2").unwrap_err(), Refused::NoDescriptor);
        drop(held);
        admit(&admissions, "10.0.0.2").unwrap();
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let admissions = Arc::new(Admissions::new(0, 1));
        let _held = admit(&admissions, "2001:db8::1").unwrap();
        assert!(admit(&admissions, "2001:db8::ffff:2").is_err());
        assert!(admit(&admissions, "2001:db8:0:1::1").is_ok());
        let _held = admit(&admissions, "::ffff:10.0.0.1").unwrap();
        assert!(admit(&admissions, "10.0.0.1").is_err());
    }

    #[test]
    fn a_connection_counts_against_the_address_that_was_claimed_last() {
        let admissions = Arc::new(Admissions::new(0, 1));
        let mut moves = admissions.admit().unwrap();
        let _unclaimed = admissions.admit().unwrap();
        moves.claim([10, 0, 0, 1].into()).unwrap();
        assert!(admit(&admissions, "10.0.0.1").is_err());
        moves.claim([10, 0, 0, 2].into()).unwrap();
        let _held = admit(&admissions, "10.0.0.1").unwrap();
        // A refused claim keeps the former address.
        assert_eq!(moves.claim([10, 0, 0, 1].into()), Err(Refused::AddressFull));
        assert!(admit(&admissions, "10.0.0.2").is_err());
    }
}
