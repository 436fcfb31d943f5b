//! The client address of each slot: four bytes for most, and a map for IPv6. Never judges an address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::FixedState;

use super::table::{self, Table};

/// The addresses of a core's connections, by slot.
#[derive(Debug, Default)]
pub struct Peers {
    /// IPv4 addresses; [`ELSEWHERE`] for an IPv6 address and for a free slot.
    short: Table<u32>,
    /// IPv6 addresses. The kernel numbers the slots, so their hash needs no secret.
    long: HashMap<u32, Ipv6Addr, FixedState>,
}

/// 0.0.0.0, which no connection comes from.
const ELSEWHERE: u32 = 0;

impl Peers {
    /// Prepares the slots up to and including `slot`.
    pub fn reach(&mut self, slot: u32) {
        self.short.reach(slot);
    }

    /// Sets the address of a slot.
    pub fn set(&mut self, slot: u32, peer: IpAddr) {
        self.forget(slot);
        match peer.to_canonical() {
            IpAddr::V4(peer) => *self.short.at_mut(slot) = peer.to_bits(),
            IpAddr::V6(peer) => drop(self.long.insert(slot, peer)),
        }
    }

    /// The address of a slot; 0.0.0.0 for a free one.
    #[must_use]
    pub fn get(&self, slot: u32) -> IpAddr {
        match self.short.get(slot) {
            Some(&ELSEWHERE) | None => {
                self.long.get(&slot).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| IpAddr::V6(*peer))
            }
            Some(peer) => IpAddr::V4(Ipv4Addr::from_bits(*peer)),
        }
    }

    /// Forgets the address of a slot; no-op if there is none.
    pub fn forget(&mut self, slot: u32) {
        self.short.reach(slot);
        if std::mem::replace(self.short.at_mut(slot), ELSEWHERE) == ELSEWHERE && self.long.remove(&slot).is_some() {
            table::shrink(&mut self.long);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_slot_keeps_its_own_until_it_is_forgotten() {
        let mut peers = Peers::default();
        let nobody = ip("0.0.0.0");
        assert_eq!(peers.get(5), nobody);
        peers.set(5, ip("192.0.2.1"));
        peers.set(5_000, ip("2001:db8::5"));
        peers.set(6, ip("::ffff:192.0.2.6"));
        assert_eq!(
            [5, 6, 7, 5_000].map(|slot| peers.get(slot)),
            [ip("192.0.2.1"), ip("192.0.2.6"), nobody, ip("2001:db8::5")]
        );
        peers.set(5, ip("::1"));
        peers.set(5_000, ip("255.255.255.255"));
        assert_eq!([peers.get(5), peers.get(5_000)], [ip("::1"), ip("255.255.255.255")]);
        for slot in [5, 6, 5_000, 100_000] {
            peers.forget(slot);
            assert_eq!(peers.get(slot), nobody);
        }
        assert!(peers.long.is_empty());
    }

    #[test]
    fn the_map_shrinks_after_a_crowd() {
        let mut peers = Peers::default();
        for slot in 0..10_000 {
            peers.set(slot, IpAddr::V6(Ipv6Addr::from(u128::from(slot) << 64 | 1)));
        }
        (1..10_000).for_each(|slot| peers.forget(slot));
        assert!(peers.long.capacity() < 1_000, "{}", peers.long.capacity());
        assert_eq!(peers.get(0), ip("::1"));
    }
}
