//! Reads the host and port of a URL's authority and of the `Host` header (RFC 9110 section 7.2, RFC 3986 section 3.2).
//! Never resolves a name.

use std::net::{IpAddr, Ipv6Addr};

use super::headers::Headers;
use super::quote::quoted;
use super::refusal::HttpRefusal;

/// The host of `host[:port]`: a name, an IPv4 address, or an IPv6 address in brackets. `None` if it is malformed.
#[must_use]
pub fn host_of(authority: &str) -> Option<&str> {
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    let digits = match port.strip_prefix(':') {
        Some(digits) => digits,
        None if port.is_empty() => "",
        None => return None,
    };
    // RFC 3986 section 3.2.3 allows an empty port.
    let is_port =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok());
    let is_host = match host.strip_prefix('[') {
        Some(_) => parse_address(host).is_some(),
        None => is_name(host),
    };
    (is_port && is_host).then_some(host)
}

/// Reads an IPv4 address, or an IPv6 address in brackets. Never returns an IPv4 address in IPv6 form.
#[must_use]
pub fn parse_address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical()),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// Whether `host` is a registered name of RFC 3986 section 3.2.2, which includes IPv4 addresses.
fn is_name(host: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte);
    !host.is_empty() && host.bytes().all(is_name)
}

/// Whether a host matches a pattern in which `*` stands for one label.
#[must_use]
pub fn host_matches(pattern: &str, host: &str) -> bool {
    let mut labels = host.split('.');
    let mut wanted = pattern.split('.');
    loop {
        match (wanted.next(), labels.next()) {
            (None, None) => return true,
            (Some("*"), Some(label)) if !label.is_empty() => {}
            (Some(wanted), Some(label)) if wanted.eq_ignore_ascii_case(label) => {}
            _ => return false,
        }
    }
}

/// The authority of a request: its target's, if the target has one, otherwise that of `Host`. `None` only for HTTP/1.0.
/// `version` is the minor version of HTTP/1.
///
/// # Errors
/// 400 as RFC 9112 section 3.2 requires: `Host` is missing, occurs more than once, or is not a host.
pub(super) fn read(headers: Headers<'_>, target: Option<&str>, version: u8) -> Result<Option<String>, HttpRefusal> {
    let host = headers.single("host")?;
    if host.is_none() && version > 0 {
        return Err(HttpRefusal::bad_request("header Host is missing"));
    }
    for (what, authority) in [("header Host", host), ("the request target's host", target)] {
        if let Some(authority) = authority.filter(|authority| host_of(authority).is_none()) {
            let (rule, found) =
                ("must be a host name or an IP address, with or without a port", quoted(authority.as_bytes()));
            let message = format!("{what} {rule}; got {found}");
            return Err(HttpRefusal::bad_request(message));
        }
    }
    Ok(target.or(host).map(str::to_owned))
}

/// Checks that browsers send hosts that match a host pattern, in which `*` stands for one label.
///
/// # Errors
/// What is wrong, and what would be right where that is known, as an end of "`<host>` …".
pub fn check_host_pattern(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    if host.starts_with('[') {
        let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) else {
            return Err("has an opening bracket without a closing one".to_owned());
        };
        let address: Ipv6Addr =
            address.parse().map_err(|_| "has brackets around text that is not an IPv6 address".to_owned())?;
        let written = format!("[{address}]");
        return if written.eq_ignore_ascii_case(host) {
            Ok(())
        } else {
            Err(format!("is not in the form that browsers send: write {written}"))
        };
    }
    if !host.is_ascii() {
        return Err(match idna::domain_to_ascii(host) {
            Ok(ascii) => format!("is not ASCII; browsers send international names in Punycode: write {ascii}"),
            Err(_) => "is neither ASCII nor an international domain name".to_owned(),
        });
    }
    for label in host.strip_suffix('.').unwrap_or(host).split('.') {
        if label.is_empty() {
            return Err("has an empty label between its dots".to_owned());
        }
        if label != "*" && label.contains('*') {
            return Err(format!(
                "has a `*` inside the label {label:?}; `*` stands for one whole label, as in *.example.com"
            ));
        }
        if let Some(odd) = label.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '*')) {
            return Err(format!("has the character {odd:?}, which is not allowed in a host"));
        }
    }
    // Browsers read a host whose last label is a number as an IPv4 address (WHATWG URL).
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) && parse_address(host).is_none() {
        return Err("ends in a number and is not an IPv4 address in four decimal parts".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_a_host_and_an_optional_port() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com:", "example.com"),
            ("a_b-c.example.com.", "a_b-c.example.com."),
            ("127.0.0.1:65535", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]"),
            ("%C3%BC.example", "%C3%BC.example"),
        ] {
            assert_eq!(host_of(authority), Some(host), "{authority}");
        }
        for authority in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:80:80",
            "a:+80",
            "a:65536",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "[]",
            "ü.example",
            "a\"b",
            "a,b/c",
            "http://a",
        ] {
            assert_eq!(host_of(authority), None, "{authority}");
        }
    }

    #[test]
    fn addresses_are_distinguished_from_names() {
        assert_eq!(parse_address("[::ffff:192.0.2.1]"), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(parse_address("192.0.2.1"), Some(IpAddr::from([192, 0, 2, 1])));
        for name in ["::1", "192.0.2", "192.0.2.01", "1.example", "[192.0.2.1]", ""] {
            assert_eq!(parse_address(name), None, "{name}");
        }
    }

    #[test]
    fn host_patterns_that_never_match_are_refused() {
        for host in [
            "example.com",
            "*.Example.com",
            "localhost",
            "*",
            "a_b.c",
            "xn--bcher-kva.example",
            "127.0.0.1",
            "[::1]",
            "a.b.",
        ] {
            assert_eq!(check_host_pattern(host), Ok(()), "{host}");
        }
        for (host, why) in [
            ("", "no host"),
            (".", "empty label"),
            ("a..b", "empty label"),
            (".example.com", "empty label"),
            ("app-*.example", "\"app-*\""),
            ("**.example", "one whole label"),
            ("a b", "' '"),
            ("a/b", "'/'"),
            ("bücher.example", "write xn--bcher-kva.example"),
            ("*.bücher.example", "write *.xn--bcher-kva.example"),
            ("127.1", "IPv4"),
            ("127.0.0.01", "IPv4"),
            ("[::1", "without a closing one"),
            ("[a]", "IPv6"),
            ("[0:0::1]", "[::1]"),
        ] {
            let wrong = check_host_pattern(host).expect_err(host);
            assert!(wrong.contains(why), "{host}: {wrong}");
        }
    }
}
