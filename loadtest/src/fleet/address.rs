//! Owns the target and source addresses of connections. Never connects.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

/// A server's address from a `ws://` or `wss://` URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The address to connect to.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// The URL's path, with its leading `/`.
    pub path: String,
    /// Whether the URL requires TLS.
    #[serde(default)]
    pub secure: bool,
}

impl Target {
    /// Parses `ws://HOST:PORT/PATH` or `wss://HOST:PORT/PATH`.
    ///
    /// # Errors
    /// The URL is invalid, or its host has no address.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let (rest, secure) = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => bail!("--url: expected a URL with ws:// or wss://; got {url:?}"),
        };
        let (host, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        ensure!(!host.is_empty(), "--url: expected a host; got {url:?}");
        let with_port =
            if host.contains(':') { host.to_owned() } else { format!("{host}:{}", if secure { 443 } else { 80 }) };
        let mut addresses = with_port.to_socket_addrs().with_context(|| format!("--url {url:?}: unknown host"))?;
        let address = addresses.next().with_context(|| format!("--url {url:?}: the host has no address"))?;
        Ok(Target { address, host: host.to_owned(), path: path.to_owned(), secure })
    }
}

/// Source addresses for connections to this host. Each has its own ports, so that ports never run out.
#[derive(Clone, Debug)]
pub struct SourceAddresses {
    shard: u8,
    spread: u32,
    next: u32,
}

impl SourceAddresses {
    /// Uses `spread` addresses (at least 1) in 127.(1 + shard).0.0/16.
    #[must_use]
    pub fn new(shard: u32, spread: u32) -> Self {
        let shard = u8::try_from(shard % 250).expect("below 250") + 1;
        SourceAddresses { shard, spread: spread.clamp(1, 62_500), next: 0 }
    }

    /// The source address of the next connection to `target`; `None` if the target is not on loopback.
    pub fn next(&mut self, target: SocketAddr) -> Option<SocketAddr> {
        if !matches!(target.ip(), IpAddr::V4(address) if address.is_loopback()) {
            return None;
        }
        let index = self.next % self.spread;
        self.next = self.next.wrapping_add(1);
        let octet = |value: u32| u8::try_from(value).expect("the spread keeps it below 251");
        let address = Ipv4Addr::new(127, self.shard, octet(index / 250), octet(index % 250 + 1));
        Some(SocketAddr::new(address.into(), 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let target = Target::parse("ws://127.0.0.1:8080/ws").expect("good");
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:8080", "/ws"));
        assert_eq!(Target::parse("ws://127.0.0.1").expect("good").address.port(), 80);
        let secure = Target::parse("wss://127.0.0.1/ws").expect("good");
        assert!(secure.secure && secure.address.port() == 443 && !target.secure);
        assert!(Target::parse("http://127.0.0.1/").is_err());
        assert!(Target::parse("ws:///x").is_err());
    }

    #[test]
    fn sources_rotate_on_loopback_only() {
        let mut sources = SourceAddresses::new(3, 1_000);
        let target = "127.0.0.1:1".parse().expect("an address");
        let mut seen = std::collections::HashSet::new();
        for _ in 0..2_000 {
            let source = sources.next(target).expect("loopback");
            assert!(source.ip().is_loopback());
            seen.insert(source);
        }
        assert_eq!(seen.len(), 1_000);
        assert_eq!(sources.next("192.0.2.1:1".parse().expect("an address")), None);
    }
}
