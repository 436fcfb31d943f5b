//! The PROXY protocol, versions 1 and 2 (HAProxy's `doc/proxy-protocol.txt`): what a proxy writes before a connection's
//! own bytes to say who the client is. Bytes to values; whom to believe is decided above.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest line of version 1, its end included (section 2.1).
pub const V1_BYTES_MAX: usize = 107;

/// The longest header of version 2 that is taken, of the 65,551 bytes that its length could name: addresses, and type-length
/// values for which 2 KiB are ample (a client certificate's names are the largest in use). They are passed over.
pub const V2_BYTES_MAX: usize = 2_048;

/// What version 2 begins with (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and protocol, length.
const FIXED_BYTES: usize = 16;

/// What the bytes received so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// A whole header.
    Complete {
        /// Bytes of it; what follows are the connection's own.
        used: usize,
        /// The client; `None` where the header leaves it at the socket's own address (`LOCAL`, `UNKNOWN`, families other
        /// than IP). Never an IPv4 address in IPv6's form.
        client: Option<IpAddr>,
    },
    /// It is not, and will not become, a header. In plain words.
    Malformed(&'static str),
}

/// Reads a header from its first byte on. Whatever the bytes, at most [`V2_BYTES_MAX`] of them are ever asked for.
#[must_use]
pub fn parse(received: &[u8]) -> Parsed {
    if starts_like(received, SIGNATURE) {
        return parse_v2(received);
    }
    if starts_like(received, b"PROXY ") {
        return parse_v1(received);
    }
    Parsed::Malformed("no PROXY protocol header")
}

/// Whether `received` begins as `whole` does, as far as it has come.
fn starts_like(received: &[u8], whole: &[u8]) -> bool {
    let common = received.len().min(whole.len());
    received[..common] == whole[..common]
}

fn parse_v2(received: &[u8]) -> Parsed {
    // Judged as soon as they are there, so that a wrong header is not waited for.
    let version_and_command = received.get(SIGNATURE.len()).copied().unwrap_or(0x20);
    if version_and_command >> 4 != 2 {
        return Parsed::Malformed("a PROXY protocol version other than 1 and 2");
    }
    let is_local = match version_and_command & 0xf {
        0 => true,
        1 => false,
        _ => return Parsed::Malformed("a PROXY protocol command other than LOCAL and PROXY"),
    };
    let Some(fixed) = received.first_chunk::<FIXED_BYTES>() else { return Parsed::Incomplete };
    let used = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if used > V2_BYTES_MAX {
        return Parsed::Malformed("a PROXY protocol header over 2 KiB");
    }
    let Some(addresses) = received.get(FIXED_BYTES..used) else { return Parsed::Incomplete };
    let client = match fixed[13] {
        _ if is_local => None,
        // TCP or UDP over IPv4; over IPv6.
        0x11 | 0x12 => match addresses.get(..12) {
            Some(found) => Some(IpAddr::from(*found.first_chunk::<4>().expect("12 hold 4"))),
            None => return Parsed::Malformed("a PROXY protocol header too short for its addresses"),
        },
        0x21 | 0x22 => match addresses.get(..36) {
            Some(found) => Some(IpAddr::from(*found.first_chunk::<16>().expect("36 hold 16"))),
            None => return Parsed::Malformed("a PROXY protocol header too short for its addresses"),
        },
        // Unspecified, Unix sockets, and what is not known: the receiver takes the socket's own (section 2.2).
        _ => None,
    };
    Parsed::Complete { used, client: client.map(|client| client.to_canonical()) }
}

fn parse_v1(received: &[u8]) -> Parsed {
    let within = &received[..received.len().min(V1_BYTES_MAX)];
    let bad = Parsed::Malformed("a PROXY protocol line that makes no sense");
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
        // What follows it is to be ignored.
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

/// The first of two addresses that are followed by two ports, and by nothing else.
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
