//! Reads headers of the PROXY protocol, versions 1 and 2 (HAProxy's `doc/proxy-protocol.txt`), by which a proxy tells the
//! client's address before the connection's own bytes. Never decides which proxies are trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Maximum bytes of a version 1 line, line end included (section 2.1).
pub const V1_BYTES_MAX: usize = 107;

/// Maximum bytes of a version 2 header that is accepted. Its length field allows 65,551, but 2 KiB are ample for the
/// addresses and the type-length values, which are ignored (the largest in use are the names of a client certificate).
pub const V2_BYTES_MAX: usize = 2_048;

/// The first bytes of a version 2 header (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of signature, version and command, family and protocol, and length.
const FIXED_BYTES: usize = 16;

/// The result of reading a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// A complete header.
    Complete {
        /// Bytes of the header; the connection's own bytes follow.
        used: usize,
        /// The client's address, never an IPv4 address in IPv6 form. `None` if the header names no IP address (`LOCAL`,
        /// `UNKNOWN`, other families): the socket's own address applies.
        client: Option<IpAddr>,
    },
    /// The bytes are not the beginning of a valid header; says why.
    Malformed(&'static str),
}

/// Reads a header from its first byte. Never needs more than [`V2_BYTES_MAX`] bytes to decide.
#[must_use]
pub fn parse(received: &[u8]) -> Parsed {
    if starts_like(received, SIGNATURE) {
        return parse_v2(received);
    }
    if starts_like(received, b"PROXY ") {
        return parse_v1(received);
    }
    Parsed::Malformed("the connection does not begin with a PROXY protocol header")
}

/// Whether `received` is a prefix of `whole`, or begins with it.
fn starts_like(received: &[u8], whole: &[u8]) -> bool {
    let common = received.len().min(whole.len());
    received[..common] == whole[..common]
}

fn parse_v2(received: &[u8]) -> Parsed {
    // Checked before the rest arrives, so that nobody waits for an invalid header.
    let version_and_command = received.get(SIGNATURE.len()).copied().unwrap_or(0x20);
    if version_and_command >> 4 != 2 {
        return Parsed::Malformed("the PROXY protocol version is neither 1 nor 2");
    }
    let is_local = match version_and_command & 0xf {
        0 => true,
        1 => false,
        _ => return Parsed::Malformed("the PROXY protocol command is neither LOCAL nor PROXY"),
    };
    let Some(fixed) = received.first_chunk::<FIXED_BYTES>() else { return Parsed::Incomplete };
    let used = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if used > V2_BYTES_MAX {
        return Parsed::Malformed("the PROXY protocol header exceeds 2 KiB");
    }
    let Some(addresses) = received.get(FIXED_BYTES..used) else { return Parsed::Incomplete };
    let client = match fixed[13] {
        _ if is_local => None,
        // TCP or UDP, here over IPv4, below over IPv6.
        0x11 | 0x12 => match addresses.get(..12) {
            Some(found) => Some(IpAddr::from(*found.first_chunk::<4>().expect("12 hold 4"))),
            None => return Parsed::Malformed("the PROXY protocol header is too short for its addresses"),
        },
        0x21 | 0x22 => match addresses.get(..36) {
            Some(found) => Some(IpAddr::from(*found.first_chunk::<16>().expect("36 hold 16"))),
            None => return Parsed::Malformed("the PROXY protocol header is too short for its addresses"),
        },
        // Unspecified, Unix sockets and unknown families: the socket's own address applies (section 2.2).
        _ => None,
    };
    Parsed::Complete { used, client: client.map(|client| client.to_canonical()) }
}

fn parse_v1(received: &[u8]) -> Parsed {
    let within = &received[..received.len().min(V1_BYTES_MAX)];
    let bad = Parsed::Malformed(
        "the PROXY protocol line is malformed; it must be like PROXY TCP4 192.0.2.1 192.0.2.2 1024 80",
    );
    let end = within.iter().position(|byte| !(b' '..=b'~').contains(byte)).unwrap_or(within.len());
    match &within[end..] {
        [] | b"\r" if within.len() < V1_BYTES_MAX => return Parsed::Incomplete,
        [b'\r', b'\n', ..] => {}
        _ => return bad,
    }
    let line = std::str::from_utf8(&within[..end]).expect("printable ASCII");
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    let client = match family {
        // The rest of the line must be ignored (section 2.1).
        Some("UNKNOWN") => None,
        Some("TCP4") => match read_words::<Ipv4Addr>(words) {
            Some(client) => Some(IpAddr::V4(client)),
            None => return bad,
        },
        Some("TCP6") => match read_words::<Ipv6Addr>(words) {
            Some(client) => Some(IpAddr::V6(client).to_canonical()),
            None => return bad,
        },
        _ => return bad,
    };
    Parsed::Complete { used: end + 2, client }
}

/// The first of two addresses, if two ports and nothing else follow them.
fn read_words<'a, A: std::str::FromStr>(mut words: impl Iterator<Item = &'a str>) -> Option<A> {
    let client = words.next()?.parse().ok()?;
    words.next()?.parse::<A>().ok()?;
    for _ in 0..2 {
        let port = words.next()?;
        let plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse::<u16>().ok().filter(|_| plain && (port == "0" || !port.starts_with('0')))?;
    }
    words.next().is_none().then_some(client)
}

#[cfg(test)]
mod tests;
