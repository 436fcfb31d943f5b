//! Networks as they are written: `10.0.0.0/8`, or one address alone. Knows no key.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// What stands before an IPv4 address in the form of IPv6, `::ffff:0:0/96`.
const MAPPED_BITS: u8 = 96;

/// Reads a network, or an address as the network of it alone. `None` also where bits beyond the prefix are set, which is
/// more likely a slip than a wish. IPv4 in the form of IPv6 is read as IPv4, as every client's address is.
#[must_use]
pub fn parse_network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address.to_canonical())),
        Err(_) => text.parse::<IpNet>().ok().filter(|network| network.addr() == network.network()).map(canonical),
    }
}

fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_BITS));
    v4.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::parse_network;

    #[test]
    fn networks_and_addresses_are_read() {
        for (text, network) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            (" 192.0.2.1 ", "192.0.2.1/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.1/128", "192.0.2.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(parse_network(text).map(|network| network.to_string()).as_deref(), Some(network), "{text}");
        }
        for text in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "proxy.example", "10.0.0.0/8/8", "127.0.0.1:80", "*"] {
            assert_eq!(parse_network(text), None, "{text}");
        }
    }
}
