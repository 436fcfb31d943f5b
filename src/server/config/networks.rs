//! Networks as they are written: `10.0.0.0/8`, or one address alone. Knows no key.

use std::net::IpAddr;

use ipnet::IpNet;

/// Reads a network, or an address as the network of it alone. `None` also where bits beyond the prefix are set, which is
/// more likely a slip than a wish.
#[must_use]
pub fn parse_network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address.to_canonical())),
        Err(_) => text.parse::<IpNet>().ok().filter(|network| network.addr() == network.network()),
    }
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
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(parse_network(text).map(|network| network.to_string()).as_deref(), Some(network), "{text}");
        }
        for text in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "proxy.example", "10.0.0.0/8/8", "127.0.0.1:80", "*"] {
            assert_eq!(parse_network(text), None, "{text}");
        }
    }
}
