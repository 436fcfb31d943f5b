//! The hosts that clients may use for this server (`server.allowed_hosts`). By DNS rebinding, a page of another site
//! resolves its own name to this server and so has the server's origin; the name in `Host` reveals it. Never resolves a
//! name.

use std::net::IpAddr;

use crate::wire::handshake::{check_host_pattern, host_matches, host_of, parse_address, quoted};

/// The allowed hosts. Loopback addresses and names are always allowed, since no other site can have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts {
    any: bool,
    /// An unspecified address allows every address of its family.
    addresses: Box<[IpAddr]>,
    /// `*` matches one label.
    names: Box<[String]>,
}

impl AllowedHosts {
    /// Allows every host.
    #[must_use]
    pub fn any() -> Self {
        Self { any: true, addresses: Box::default(), names: Box::default() }
    }

    /// Allows the configured hosts: names, patterns, addresses, or `*` for any host.
    #[must_use]
    pub fn new(configured: &[String]) -> Self {
        let addresses = configured.iter().filter_map(|host| parse_address(host)).collect();
        let names = configured.iter().filter(|host| parse_address(host).is_none());
        let names = names.map(|name| name.strip_suffix('.').unwrap_or(name).to_owned()).collect();
        Self { any: configured.iter().any(|host| host == "*"), addresses, names }
    }

    /// Also allows the addresses that the server listens on.
    #[must_use]
    pub fn listening_on(self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let listened = addresses.into_iter().map(|address| address.to_canonical());
        Self { addresses: self.addresses.into_iter().chain(listened).collect(), ..self }
    }

    /// Whether a host is allowed, with or without a port. Ports are not compared: a proxy or a container may use
    /// another one, and a page cannot choose this server's port.
    #[must_use]
    pub fn allow(&self, authority: &str) -> bool {
        if self.any {
            return true;
        }
        let Some(host) = host_of(authority) else { return false };
        if let Some(address) = parse_address(host) {
            let is_covered = |listened: &IpAddr| match listened {
                // `::` accepts IPv4 connections too.
                IpAddr::V6(listened) if listened.is_unspecified() => true,
                IpAddr::V4(listened) if listened.is_unspecified() => address.is_ipv4(),
                listened => *listened == address,
            };
            return address.is_loopback() || self.addresses.iter().any(is_covered);
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        let top = name.rsplit('.').next().unwrap_or(name);
        top.eq_ignore_ascii_case("localhost") || self.names.iter().any(|allowed| host_matches(allowed, name))
    }

    /// Error text for a host that is not allowed.
    #[must_use]
    pub fn refusal(authority: &str) -> String {
        let host = quoted(host_of(authority).unwrap_or(authority).as_bytes());
        format!("host {host} is not allowed; if clients use it, add it to server.allowed_hosts")
    }
}

/// Checks an entry of `server.allowed_hosts`.
///
/// # Errors
/// Why no request can have this host; completes "`<entry>` …".
pub fn check_allowed_host(entry: &str) -> Result<(), String> {
    if entry == "*" {
        return Ok(());
    }
    if let Some((_, rest)) = entry.split_once("://") {
        let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
        return Err(format!("is a URL, not a host: write {host}"));
    }
    if entry.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(format!("is an IPv6 address without brackets: write [{entry}]"));
    }
    match host_of(entry) {
        Some(host) if host != entry => Err(format!("names a port, and ports are not compared: write {host}")),
        _ => check_host_pattern(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &[&str], configured: &[&str]) -> AllowedHosts {
        let listen: Vec<IpAddr> = listen.iter().map(|text| text.parse().expect("an address")).collect();
        let configured: Vec<String> = configured.iter().map(|host| (*host).to_owned()).collect();
        AllowedHosts::new(&configured).listening_on(listen)
    }

    fn check(hosts: &AllowedHosts, allowed: &[&str], refused: &[&str]) {
        for host in allowed {
            assert!(hosts.allow(host), "{host} by {hosts:?}");
        }
        for host in refused {
            assert!(!hosts.allow(host), "{host} by {hosts:?}");
        }
    }

    const LOOPBACK: [&str; 8] = [
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "a.localhost:1",
        "127.0.0.1:8080",
        "127.9.9.9",
        "[::1]:8080",
        "[::ffff:127.0.0.1]",
    ];

    const STRANGE: [&str; 7] = [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8080",
        "notlocalhost",
        "2130706433",
        "",
        "a b",
    ];

    #[test]
    fn loopback_and_the_own_addresses_are_always_answered() {
        let local = hosts(&["127.0.0.1"], &[]);
        check(&local, &LOOPBACK, &STRANGE);
        check(&local, &[], &["192.0.2.1", "[2001:db8::1]"]);
        let one = hosts(&["192.0.2.1", "2001:db8::1"], &[]);
        check(&one, &LOOPBACK, &STRANGE);
        check(&one, &["192.0.2.1:1", "[2001:DB8:0::1]:443", "[::ffff:192.0.2.1]"], &["192.0.2.2", "[2001:db8::2]"]);
        check(&hosts(&["::ffff:192.0.2.1"], &[]), &["192.0.2.1"], &[]);
    }

    #[test]
    fn a_wildcard_listens_on_every_address_and_on_no_name() {
        check(&hosts(&["0.0.0.0"], &[]), &["192.0.2.1", "10.9.8.7:80"], &["[2001:db8::1]"]);
        let both = hosts(&["::"], &[]);
        check(&both, &["192.0.2.1", "[2001:db8::1]:80"], &[]);
        check(&both, &LOOPBACK, &STRANGE);
    }

    #[test]
    fn configured_hosts_come_on_top() {
        let more =
            hosts(&["127.0.0.1"], &["chat.example", "*.Example.com", "192.0.2.7", "[2001:db8::7]", "dot.example."]);
        check(&more, &LOOPBACK, &STRANGE);
        let allowed = [
            "chat.example",
            "CHAT.example:443",
            "chat.example.",
            "a.example.com",
            "192.0.2.7:1",
            "[2001:db8::7]",
            "dot.example",
        ];
        check(&more, &allowed, &["example", "a.chat.example", "example.com", "a.b.example.com", "192.0.2.8"]);
        check(&hosts(&["127.0.0.1"], &["*"]), &STRANGE, &[]);
        check(&AllowedHosts::any(), &STRANGE, &[]);
    }

    #[test]
    fn entries_that_no_request_asks_for_are_told_why() {
        for entry in ["*", "chat.example", "*.example.com", "192.0.2.1", "[2001:db8::1]", "localhost", "a_b"] {
            assert_eq!(check_allowed_host(entry), Ok(()), "{entry}");
        }
        for (entry, why) in [
            ("https://chat.example", "write chat.example"),
            ("https://chat.example:443/x", "write chat.example"),
            ("chat.example:8080", "write chat.example"),
            ("2001:db8::1", "write [2001:db8::1]"),
            ("chat.example/", "'/'"),
            ("chat-*.example", "one whole label"),
            ("a.example,b.example", "','"),
            ("", "no host"),
        ] {
            let wrong = check_allowed_host(entry).expect_err(entry);
            assert!(wrong.contains(why), "{entry}: {wrong}");
        }
    }
}
