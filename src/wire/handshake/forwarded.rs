//! What proxies have written about where a request comes from: `X-Forwarded-For`, and `Forwarded` (RFC 7239). Reads what
//! is there; whose word counts is decided above.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::headers::Headers;

/// Addresses read of one head, nearest first. Each is one proxy on the way.
const HOPS_MAX: usize = 16;

/// The addresses that proxies have written, the nearest one's first, up to the first that is none. Empty where the two
/// headers are both there and differ: one of them then comes from the client, who may write what it likes.
pub(super) fn addresses(headers: Headers<'_>) -> Vec<IpAddr> {
    let common = up_to_nonsense(elements(headers, "x-forwarded-for").map(|element| node(&element)).collect());
    let standard = up_to_nonsense(elements(headers, "forwarded").map(|element| forwarded_for(&element)).collect());
    match (common, standard) {
        (None, None) => Vec::new(),
        (Some(addresses), None) | (None, Some(addresses)) => addresses,
        (Some(one), Some(other)) if one == other => one,
        (Some(_), Some(_)) => Vec::new(),
    }
}

/// `None` where there was no header at all.
fn up_to_nonsense(written: Vec<Option<IpAddr>>) -> Option<Vec<IpAddr>> {
    let is_there = !written.is_empty();
    let nearest_first = written.into_iter().rev().take(HOPS_MAX);
    is_there.then(|| nearest_first.map_while(|address| address).collect())
}

/// The elements of every field of that name, cut at commas outside of quotes. A field that is not text is one that makes
/// no sense: it is there all the same.
fn elements(headers: Headers<'_>, name: &'static str) -> impl Iterator<Item = String> {
    let texts = headers.all(name).map(|value| std::str::from_utf8(value).unwrap_or("?"));
    texts
        .flat_map(|text| split_unquoted(text, ',').map(str::trim_ascii))
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// The `for` parameter of one element, if it is an address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split_unquoted(element, ';').map(str::trim_ascii).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?;
    let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    node(unquoted.unwrap_or(value))
}

/// Cuts at a character that is not within quotes. No address holds an escape, so a `\` makes an element that is none.
fn split_unquoted<'a>(text: &'a str, at: char) -> impl Iterator<Item = &'a str> + use<'a> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c == at && !quoted
    })
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim_ascii();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    // What is nobody's address cannot be a client's.
    let canonical = IpAddr::to_canonical(&address);
    (!canonical.is_unspecified() && !canonical.is_multicast()).then_some(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Vec<String> {
        let fields: Vec<httparse::Header<'_>> =
            fields.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        addresses(Headers(&fields)).iter().map(IpAddr::to_string).collect()
    }

    fn common(value: &str) -> Vec<String> {
        read(&[("X-Forwarded-For", value)])
    }

    fn standard(value: &str) -> Vec<String> {
        read(&[("Forwarded", value)])
    }

    #[test]
    fn the_nearest_comes_first() {
        assert!(read(&[]).is_empty());
        assert_eq!(common("203.0.113.9"), ["203.0.113.9"]);
        assert_eq!(common("203.0.113.9, 10.0.0.1 ,10.0.0.2"), ["10.0.0.2", "10.0.0.1", "203.0.113.9"]);
        let two = [("x-forwarded-for", "203.0.113.9"), ("X-FORWARDED-FOR", "10.0.0.1,10.0.0.2")];
        assert_eq!(read(&two), ["10.0.0.2", "10.0.0.1", "203.0.113.9"]);
        assert_eq!(standard("for=203.0.113.9;proto=https, For=\"10.0.0.1:80\""), ["10.0.0.1", "203.0.113.9"]);
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:65535", "192.0.2.1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(common(text), [address], "{text}");
            assert_eq!(standard(&format!("by=a;for=\"{text}\"")), [address], "{text}");
        }
        assert_eq!(standard("; for=192.0.2.1 ;,,"), ["192.0.2.1"], "empty parts are allowed (RFC 7239 section 4)");
        assert_eq!(standard("by=\"a,b;for=1.1.1.1\";for=192.0.2.1"), ["192.0.2.1"], "quotes are whole");
    }

    #[test]
    fn nonsense_ends_what_is_read() {
        for text in [
            "unknown",
            "_hidden",
            "192.0.2",
            "192.0.2.1:",
            "192.0.2.1:99999",
            "[2001:db8::1",
            "[192.0.2.1]",
            "1.2.3.4 5.6.7.8",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "fe80::1%eth0",
            "\"192.0.2.1\"",
            "localhost",
        ] {
            assert!(common(text).is_empty(), "{text}");
            assert_eq!(common(&format!("203.0.113.9, {text}, 10.0.0.1")), ["10.0.0.1"], "{text}");
        }
        for text in ["for=", "for", "for=unknown", "for=1.1.1.1;for=2.2.2.2", "proto=https", "for=\"1.1.1.1", "=;", ";"]
        {
            assert!(standard(text).is_empty(), "{text}");
            let open_quote = text.contains('"');
            let nearest = if open_quote { vec![] } else { vec!["10.0.0.1"] };
            assert_eq!(standard(&format!("for=203.0.113.9, {text}, for=10.0.0.1")), nearest, "{text}");
        }
        let garbled = [
            httparse::Header { name: "X-Forwarded-For", value: b"\xff, 10.0.0.1" },
            httparse::Header { name: "Forwarded", value: b"for=203.0.113.9" },
        ];
        assert!(addresses(Headers(&garbled)).is_empty(), "a field that is not text is there");
        let long = ["10.0.0.1"; 1_000].join(",");
        assert_eq!(common(&long).len(), HOPS_MAX);
    }

    #[test]
    fn two_headers_count_only_if_they_agree() {
        let both = |one, other| read(&[("X-Forwarded-For", one), ("Forwarded", other)]);
        assert_eq!(both("203.0.113.9", "for=203.0.113.9"), ["203.0.113.9"]);
        assert!(both("203.0.113.9", "for=198.51.100.1").is_empty());
        assert!(both("203.0.113.9", "for=unknown").is_empty());
        assert!(both("unknown", "for=203.0.113.9").is_empty());
    }
}
