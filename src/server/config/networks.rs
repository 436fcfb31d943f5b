//! Networks as they are written: `10.0.0.0/8`, or one address alone. Knows no key.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::units::ValueError;

/// Bits before an IPv4 address in the form of IPv6, `::ffff:0:0/96`.
const MAPPED_BITS: u8 = 96;

/// Reads a network, or an address as the network of it alone. IPv4 in the form of IPv6 is read as IPv4, as every client's
/// address is.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_network(text: &str) -> Result<IpNet, ValueError> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = text.parse().map_err(|_| "is not a network")?;
    if network.addr() != network.network() {
        // More likely a slip than a wish.
        return Err(format!("has bits set beyond its prefix; write \"{}\" for the whole network", network.trunc()));
    }
    Ok(canonical(network))
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
            assert_eq!(parse_network(text).map(|network| network.to_string()).as_deref(), Ok(network), "{text}");
        }
        for text in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "proxy.example", "10.0.0.0/8/8", "127.0.0.1:80", "*"] {
            assert!(parse_network(text).is_err(), "{text}");
        }
    }
}
