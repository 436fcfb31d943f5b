//! The proxies trusted for client addresses. Never reads a header.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::wire::handshake::ForwardedAddress;

/// The networks of trusted proxies. Addresses from any other peer are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted(Box<[IpNet]>);

impl Trusted {
    /// Trusts the proxies in these networks.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    /// Whether no proxy is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is the address of a trusted proxy.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }

    /// The client's address behind `peer`, from the addresses that the proxies on the way have added, nearest first:
    /// the first that is not a trusted proxy, or the farthest if all are. `peer` itself if it is not a trusted proxy or
    /// has added no address, as in a health check by a proxy.
    ///
    /// # Errors
    /// The text that a trusted proxy wrote instead of an address. Addresses behind the client's are not looked at.
    pub fn client(&self, peer: IpAddr, hops: &[ForwardedAddress]) -> Result<IpAddr, String> {
        let mut client = peer;
        for hop in hops {
            if !self.contains(client) {
                break;
            }
            client = hop.as_ref().map_err(Clone::clone)?.to_canonical();
        }
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(networks: &[&str]) -> Trusted {
        let networks: Vec<IpNet> = networks.iter().map(|text| text.parse().expect("a network")).collect();
        Trusted::new(&networks)
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn networks_of_both_families_are_known() {
        let trusted = trusted(&["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]);
        for (peer, is_proxy) in [
            ("10.255.0.1", true),
            ("::ffff:10.1.1.1", true),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("::1", false),
        ] {
            assert_eq!(trusted.contains(ips(&[peer])[0]), is_proxy, "{peer}");
        }
        assert!(!Trusted::default().contains(ips(&["127.0.0.1"])[0]) && Trusted::default().is_empty());
    }

    #[test]
    fn the_nearest_stranger_is_the_client() {
        let trusted = trusted(&["10.0.0.0/8"]);
        for (peer, forwarded, client) in [
            ("10.0.0.1", &[][..], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            // Addresses behind the nearest untrusted one are its own claims.
            ("10.0.0.1", &["203.0.113.9", "198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.2", "203.0.113.9", "10.0.0.3"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.2", "10.0.0.3"], "10.0.0.3"),
            ("203.0.113.1", &["198.51.100.1"], "203.0.113.1"),
            ("10.0.0.1", &["::ffff:10.0.0.2", "2001:db8::1"], "2001:db8::1"),
        ] {
            let hops: Vec<ForwardedAddress> = ips(forwarded).into_iter().map(Ok).collect();
            assert_eq!(trusted.client(ips(&[peer])[0], &hops), Ok(ips(&[client])[0]), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn nonsense_counts_only_where_a_proxy_has_written_it() {
        let trusted = trusted(&["10.0.0.0/8"]);
        let [proxy, other, stranger] = ips(&["10.0.0.1", "10.0.0.2", "203.0.113.9"])[..] else { panic!("three") };
        let nonsense = || ForwardedAddress::Err("nonsense".to_owned());
        assert_eq!(trusted.client(proxy, &[nonsense(), Ok(stranger)]), Err("nonsense".to_owned()));
        assert_eq!(trusted.client(proxy, &[Ok(other), nonsense()]), Err("nonsense".to_owned()));
        assert_eq!(trusted.client(proxy, &[Ok(stranger), nonsense()]), Ok(stranger), "a claim by an untrusted peer");
        assert_eq!(trusted.client(stranger, &[nonsense()]), Ok(stranger));
    }
}
