//! Decides whether a page of an origin may connect (RFC 6455 section 10.2). Never resolves a name.

use super::host::{check_host_pattern, host_matches};

/// The parts of an origin or a pattern, `scheme://host:port`; scheme and port are optional.
struct OriginParts<'a> {
    scheme: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> OriginParts<'a> {
    /// Splits `text`; `None` if it has no host (as `null`), or has more than an origin has.
    fn read(text: &'a str) -> Option<Self> {
        let (scheme, authority) = match text.split_once("://") {
            Some((scheme, authority)) if !scheme.is_empty() => (Some(scheme), authority),
            Some(_) => return None,
            None => (None, text),
        };
        let host_end = if authority.starts_with('[') { authority.find(']')? + 1 } else { 0 };
        let (host, port) = match authority[host_end..].rsplit_once(':') {
            Some((before, port)) => {
                let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                (&authority[..host_end + before.len()], Some(port.parse().ok().filter(|_| digits)?))
            }
            None => (authority, None),
        };
        let rest = &host[host_end..];
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '#' | '@' | ':' | '[' | ']');
        let one_kind = if host_end > 0 { rest.is_empty() } else { !rest.is_empty() && !rest.contains(bad) };
        one_kind.then_some(OriginParts { scheme, host, port })
    }

    /// The port, or the default port of `scheme`.
    fn port_for(&self, scheme: &str) -> Option<u16> {
        self.port.or_else(|| default_port(scheme))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    let is_one_of = |names: [&str; 2]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
    if is_one_of(["http", "ws"]) {
        Some(80)
    } else if is_one_of(["https", "wss"]) {
        Some(443)
    } else {
        None
    }
}

/// Whether `origin` has the host and port of `host`, or matches one of `patterns`.
///
/// A missing port is the default port of the origin's scheme, in `origin`, `host` and `patterns` alike. In a pattern, `*`
/// stands for one label of the host, and a missing scheme for any scheme. The pattern `*` matches everything, and is the
/// only one that matches the origin `null`.
#[must_use]
pub fn origin_allowed(origin: &str, host: Option<&str>, patterns: &[String]) -> bool {
    if patterns.iter().any(|pattern| pattern == "*") {
        return true;
    }
    let Some(OriginParts { scheme: Some(scheme), host: origin_host, port }) = OriginParts::read(origin) else {
        return false;
    };
    let port = port.or_else(|| default_port(scheme));
    let same_host = host.and_then(OriginParts::read).is_some_and(|own| {
        own.scheme.is_none() && own.host.eq_ignore_ascii_case(origin_host) && own.port_for(scheme) == port
    });
    same_host
        || patterns.iter().filter_map(|pattern| OriginParts::read(pattern)).any(|pattern| {
            pattern.scheme.is_none_or(|wanted| wanted.eq_ignore_ascii_case(scheme))
                && pattern.port_for(scheme) == port
                && host_matches(pattern.host, origin_host)
        })
}

/// Checks that a pattern can match an origin that a browser sends.
///
/// # Errors
/// Why it cannot, as an end of "`<pattern>` …".
pub fn check_origin_pattern(pattern: &str) -> Result<(), String> {
    if pattern == "*" {
        return Ok(());
    }
    if pattern.is_empty() {
        return Err("is empty".to_owned());
    }
    if pattern.contains([',', ' ', '\t']) {
        return Err("contains a blank or a comma; write each origin as a separate string".to_owned());
    }
    if pattern.eq_ignore_ascii_case("null") {
        let who = "files, sandboxed frames and other pages without an origin";
        return Err(format!("is the origin of {who}; only \"*\" allows it"));
    }
    let (scheme, authority) = match pattern.split_once("://") {
        Some((scheme, authority)) => (Some(scheme), authority),
        None => (None, pattern),
    };
    if let Some(scheme) = scheme {
        check_scheme(scheme, authority)?;
    }
    if let Some(end) = authority.find(['/', '?', '#']) {
        let origin = &pattern[..pattern.len() - authority.len() + end];
        return Err(format!("has {:?} after the host, where an origin ends: write {origin}", &authority[end..]));
    }
    if authority.contains('@') {
        return Err("has a user before the host; an origin has none".to_owned());
    }
    let host_end = authority.find(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match authority[host_end..].rsplit_once(':') {
        Some((before, port)) => (&authority[..host_end + before.len()], Some(port)),
        None => (authority, None),
    };
    if let Some(port) = port
        && !(port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0))
    {
        return Err(format!("has the port {port:?}; a port must be from 1 to 65535"));
    }
    // Applications with other schemes define their own hosts.
    let is_web = scheme.is_none_or(|scheme| ["http", "https"].iter().any(|web| web.eq_ignore_ascii_case(scheme)));
    if is_web {
        check_host_pattern(host)?;
    }
    if OriginParts::read(pattern).is_some() { Ok(()) } else { Err("has no host".to_owned()) }
}

fn check_scheme(scheme: &str, authority: &str) -> Result<(), String> {
    if scheme == "*" {
        return Err(format!("has `*` as its scheme; a pattern without a scheme matches any: write {authority}"));
    }
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(is_scheme) {
        return Err(format!("has the invalid scheme {scheme:?}"));
    }
    for (socket, page) in [("ws", "http"), ("wss", "https")] {
        if scheme.eq_ignore_ascii_case(socket) {
            return Err(format!(
                "has the scheme of a WebSocket; an origin has the scheme of its page: write {page}://{authority}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, host: &str, patterns: &[&str]) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        origin_allowed(origin, Some(host), &patterns)
    }

    #[test]
    fn the_same_host_and_port_is_allowed() {
        for (origin, host) in [
            ("http://example.com", "example.com"),
            ("http://EXAMPLE.com", "example.COM"),
            ("http://example.com", "example.com:80"),
            ("https://example.com:443", "example.com"),
            ("https://example.com", "example.com:443"),
            ("http://localhost:8080", "localhost:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://[::1]", "[::1]:80"),
            ("custom://app", "app"),
        ] {
            assert!(allowed(origin, host, &[]), "{origin} at {host}");
        }
        for (origin, host) in [
            ("http://example.com", "example.com:8080"),
            ("https://example.com", "example.com:80"),
            ("http://example.com:8080", "example.com"),
            ("http://evil.com", "example.com"),
            ("http://example.com.evil.com", "example.com"),
            ("http://example.com@evil.com", "evil.com"),
            ("http://example.com/path", "example.com"),
            ("example.com", "example.com"),
            ("://example.com", "example.com"),
            ("http://example.com:", "example.com"),
            ("http://example.com:+80", "example.com"),
            ("http://example.com:80:80", "example.com"),
            ("http://[::1", "[::1"),
            ("http://[::1]x", "[::1]x"),
            ("http://", ""),
            ("null", "null"),
            ("", ""),
        ] {
            assert!(!allowed(origin, host, &[]), "{origin} at {host}");
        }
        assert!(!origin_allowed("http://example.com", None, &[]));
    }

    #[test]
    fn patterns_match_label_by_label() {
        for (origin, pattern) in [
            ("https://a.example.com", "https://*.example.com"),
            ("https://A.Example.com:443", "HTTPS://*.example.COM"),
            ("http://a.example.com", "*.example.com"),
            ("http://a.example.com:3000", "*.example.com:3000"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://a.b.example.com", "*.*.example.com"),
            ("null", "*"),
            ("anything at all", "*"),
        ] {
            assert!(allowed(origin, "host", &[pattern]), "{origin} for {pattern}");
        }
        for (origin, pattern) in [
            ("http://a.example.com", "https://*.example.com"),
            ("https://a.b.example.com", "https://*.example.com"),
            ("https://example.com", "https://*.example.com"),
            ("https://.example.com", "https://*.example.com"),
            ("https://a.example.com.evil.com", "https://*.example.com"),
            ("https://a.example.com:8443", "https://*.example.com"),
            ("https://a.example.com", "https://*.example.com:8443"),
            ("https://evil.com/.example.com", "https://*.example.com"),
            ("null", "null"),
            ("null", "https://*"),
        ] {
            assert!(!allowed(origin, "host", &[pattern]), "{origin} for {pattern}");
        }
        assert!(allowed("http://host", "host", &["https://other.com"]), "patterns add to the own host");
        assert!(allowed("https://b.com", "host", &["https://a.com", "https://b.com"]));
    }

    #[test]
    fn patterns_that_can_match_are_accepted() {
        for pattern in [
            "*",
            "https://app.example",
            "HTTPS://App.Example:443",
            "https://*.example.com",
            "*.example.com:8080",
            "localhost",
            "http://localhost:3000",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "[::1]",
            "https://xn--bcher-kva.example",
            "https://a_b.example.",
            "*.*.example",
            "chrome-extension://abcdefghijklmnop",
            "capacitor://localhost",
            "app://.",
        ] {
            assert_eq!(check_origin_pattern(pattern), Ok(()), "{pattern}");
            let origin = pattern.replace('*', "a");
            let origin = if origin.contains("://") { origin } else { format!("http://{origin}") };
            assert!(allowed(&origin, "host", &[pattern]), "{origin} for {pattern}");
        }
    }

    #[test]
    fn patterns_that_never_match_are_refused() {
        for (pattern, why) in [
            ("", "is empty"),
            ("https://app.example/", "write https://app.example"),
            ("https://app.example/chat", "\"/chat\""),
            ("https://app.example?x", "write https://app.example"),
            ("https://app.example#", "write https://app.example"),
            ("app.example/", "write app.example"),
            ("https://app-*.example", "\"app-*\""),
            ("https://**.example", "one whole label"),
            ("null", "only \"*\""),
            ("https://a.example,https://b.example", "separate string"),
            ("https://a.example https://b.example", "separate string"),
            (" https://a.example", "blank"),
            ("*://a.example", "write a.example"),
            ("https://a.example:*", "port \"*\""),
            ("https://a.example:", "port \"\""),
            ("https://a.example:0", "1 to 65535"),
            ("https://a.example:65536", "1 to 65535"),
            ("https:a.example", "port \"a.example\""),
            ("https:/a.example", "write https:"),
            ("wss://a.example", "write https://a.example"),
            ("ws://a.example:80", "write http://a.example:80"),
            ("https://", "no host"),
            ("file://", "no host"),
            ("://a.example", "scheme \"\""),
            ("1http://a.example", "scheme \"1http\""),
            ("https://user@a.example", "has a user"),
            ("https://a..example", "empty label"),
            ("https://.example", "empty label"),
            ("https://b\u{fc}cher.example", "write xn--bcher-kva.example"),
            ("https://[::1", "without a closing one"),
            ("https://[0::1]", "[::1]"),
            ("https://127.1", "IPv4"),
            ("https://a\"b", "'\"'"),
        ] {
            let wrong = check_origin_pattern(pattern).expect_err(pattern);
            assert!(wrong.contains(why), "{pattern}: {wrong}");
        }
    }
}
