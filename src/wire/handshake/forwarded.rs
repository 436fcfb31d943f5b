//! Reads the client addresses in `X-Forwarded-For` and `Forwarded` (RFC 7239). Never decides which proxies are trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::headers::Headers;
use super::lexer::Lexer;
use super::quote::quoted;

/// Maximum addresses read of one head, the nearest first: each stands for one proxy.
const HOPS_MAX: usize = 16;

/// The header in which this server's proxies name the client. The other header may come from the client and is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// A list of addresses, the usual header.
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl ForwardedHeader {
    /// The header's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ForwardedHeader::XForwardedFor => "X-Forwarded-For",
            ForwardedHeader::Forwarded => "Forwarded",
        }
    }
}

/// The address that one proxy forwarded for, or an error if the proxy names none.
pub type ForwardedAddress = Result<IpAddr, String>;

/// Both headers of a request, unparsed. Fields of the same name are one list (RFC 9110 section 5.3).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ForwardedFields {
    common: Option<Box<[u8]>>,
    standard: Option<Box<[u8]>>,
}

impl ForwardedFields {
    pub(super) fn read(headers: Headers<'_>) -> Self {
        let list = |name| {
            let mut values = headers.all(name);
            let mut list = values.next()?.to_vec();
            values.for_each(|value| list.extend([b", ", value].concat()));
            Some(list.into_boxed_slice())
        };
        Self { common: list("x-forwarded-for"), standard: list("forwarded") }
    }

    /// The addresses in one of the headers, the nearest first; empty if the header is absent or its list is empty.
    #[must_use]
    pub fn hops(&self, header: ForwardedHeader) -> Vec<ForwardedAddress> {
        match header {
            ForwardedHeader::XForwardedFor => self.common.as_deref().map_or_else(Vec::new, common_hops),
            ForwardedHeader::Forwarded => match self.standard.as_deref().map(standard_hops) {
                None => Vec::new(),
                Some(Ok(hops)) => hops,
                Some(Err(rest)) => {
                    vec![Err(format!("header Forwarded violates the grammar of RFC 7239 at {}", quoted(rest)))]
                }
            },
        }
    }
}

/// Reads `X-Forwarded-For`. It has no quotes: a comma always separates.
fn common_hops(list: &[u8]) -> Vec<ForwardedAddress> {
    let elements = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty());
    let hop = |element: &[u8]| {
        let address = std::str::from_utf8(element).ok().and_then(common_address);
        address
            .and_then(clients)
            .ok_or_else(|| format!("header X-Forwarded-For: {} is not a client's IP address", quoted(element)))
    };
    elements.rev().take(HOPS_MAX).map(hop).collect()
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn common_address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port)
}

/// Reads `Forwarded`: a list of elements of `name=value` pairs (RFC 7239 section 4).
///
/// # Errors
/// The text from the first violation on.
fn standard_hops(list: &[u8]) -> Result<Vec<ForwardedAddress>, &[u8]> {
    let mut lexer = Lexer(list);
    let mut hops = Vec::new();
    loop {
        let is_there = !matches!(lexer.peek(), None | Some(b','));
        let named = element(&mut lexer).ok_or(lexer.0)?;
        if is_there {
            hops.push(named);
        }
        if !lexer.take(b',') {
            break;
        }
    }
    if !lexer.0.is_empty() {
        return Err(lexer.0);
    }
    let hop = |named: Option<Vec<u8>>| {
        let Some(named) = named else {
            return Err("header Forwarded: an element has no for=".to_owned());
        };
        let address = std::str::from_utf8(&named).ok().and_then(standard_address);
        address
            .and_then(clients)
            .ok_or_else(|| format!("header Forwarded: for={} is not a client's IP address", quoted(&named)))
    };
    Ok(hops.into_iter().rev().take(HOPS_MAX).map(hop).collect())
}

/// Reads one element and returns its `for`, unquoted. The outer `None` stands for a malformed element or a repeated name.
#[expect(clippy::option_option, reason = "malformed and without `for` are different outcomes")]
fn element(lexer: &mut Lexer<'_>) -> Option<Option<Vec<u8>>> {
    let mut names: Vec<&[u8]> = Vec::new();
    let mut found = None;
    loop {
        lexer.skip_blanks();
        if !matches!(lexer.peek(), None | Some(b',' | b';')) {
            let name = lexer.token()?;
            if names.iter().any(|known| known.eq_ignore_ascii_case(name)) || !lexer.skip(b'=') {
                return None;
            }
            names.push(name);
            let value = lexer.token_or_quoted()?;
            if name.eq_ignore_ascii_case(b"for") {
                found = Some(value);
            }
        }
        if !lexer.take(b';') {
            return Some(found);
        }
    }
}

/// The address of a node (RFC 7239 section 6); `None` for a hidden one too (`unknown`, `_hidden`).
fn standard_address(node: &str) -> Option<IpAddr> {
    let (name, port) = match node.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            (IpAddr::V6(address.parse().ok()?), rest)
        }
        None => {
            let end = node.find(':').unwrap_or(node.len());
            (IpAddr::V4(node[..end].parse::<Ipv4Addr>().ok()?), &node[end..])
        }
    };
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(port) => is_node_port(port),
    };
    is_port.then_some(name)
}

/// Whether `port` is up to five digits, or `_` followed by letters, digits, `.`, `_` and `-`.
fn is_node_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(obfuscated) => {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            !obfuscated.is_empty() && obfuscated.bytes().all(is_part)
        }
        None => port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}

/// The address in canonical form, if it can be a client's.
fn clients(address: IpAddr) -> Option<IpAddr> {
    let canonical = IpAddr::to_canonical(&address);
    (!canonical.is_unspecified() && !canonical.is_multicast()).then_some(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: ForwardedHeader, fields: &[(&str, &str)]) -> Vec<String> {
        let fields: Vec<httparse::Header<'_>> =
            fields.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        let hops = ForwardedFields::read(Headers(&fields)).hops(header);
        hops.into_iter()
            .map(|hop| hop.map_or_else(|wrong| format!("! {wrong}"), |address| address.to_string()))
            .collect()
    }

    fn common(value: &str) -> Vec<String> {
        read(ForwardedHeader::XForwardedFor, &[("X-Forwarded-For", value)])
    }

    fn standard(value: &str) -> Vec<String> {
        read(ForwardedHeader::Forwarded, &[("Forwarded", value)])
    }

    fn is_error(hop: &str) -> bool {
        hop.starts_with("! ")
    }

    #[test]
    fn the_nearest_comes_first() {
        assert!(read(ForwardedHeader::XForwardedFor, &[]).is_empty());
        assert_eq!(common("203.0.113.9"), ["203.0.113.9"]);
        assert_eq!(common("203.0.113.9, 10.0.0.1 ,10.0.0.2"), ["10.0.0.2", "10.0.0.1", "203.0.113.9"]);
        let lines = [("x-forwarded-for", "203.0.113.9"), ("Via", "x"), ("X-FORWARDED-FOR", "10.0.0.1,10.0.0.2")];
        assert_eq!(read(ForwardedHeader::XForwardedFor, &lines), ["10.0.0.2", "10.0.0.1", "203.0.113.9"]);
        assert_eq!(standard("for=203.0.113.9;proto=https, For=\"10.0.0.1:80\""), ["10.0.0.1", "203.0.113.9"]);
        let lines = [("forwarded", "for=203.0.113.9"), ("FORWARDED", "for=10.0.0.1, for=10.0.0.2")];
        assert_eq!(read(ForwardedHeader::Forwarded, &lines), ["10.0.0.2", "10.0.0.1", "203.0.113.9"]);
        let long = ["10.0.0.1"; 1_000].join(",");
        assert_eq!(common(&long).len(), HOPS_MAX);
    }

    #[test]
    fn only_the_chosen_header_is_read() {
        let both = [("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=198.51.100.1")];
        assert_eq!(read(ForwardedHeader::XForwardedFor, &both), ["203.0.113.9"]);
        assert_eq!(read(ForwardedHeader::Forwarded, &both), ["198.51.100.1"]);
        assert!(read(ForwardedHeader::Forwarded, &both[..1]).is_empty());
        assert!(read(ForwardedHeader::XForwardedFor, &both[1..]).is_empty());
    }

    #[test]
    fn every_common_form_of_an_address_is_read() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:65535", "192.0.2.1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            (",, 192.0.2.1 , ", "192.0.2.1"),
        ] {
            assert_eq!(common(text), [address], "{text}");
        }
        assert!(common("").is_empty() && common(" , ").is_empty(), "an empty list is like no header");
    }

    #[test]
    fn x_forwarded_for_has_no_quotes() {
        assert_eq!(common("\", 203.0.113.9")[0], "203.0.113.9");
        assert_eq!(common("\"a, 198.51.100.1\", 203.0.113.9")[0], "203.0.113.9");
        for text in [
            "unknown",
            "_hidden",
            "192.0.2",
            "192.0.2.1:",
            "192.0.2.1:99999",
            "192.0.2.01",
            "[2001:db8::1",
            "[192.0.2.1]",
            "1.2.3.4 5.6.7.8",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "fe80::1%eth0",
            "\"192.0.2.1\"",
            "localhost",
            "for=192.0.2.1",
            "\u{fc}",
        ] {
            let hops = common(&format!("203.0.113.9, {text}, 10.0.0.1"));
            assert_eq!((hops[0].as_str(), hops[2].as_str()), ("10.0.0.1", "203.0.113.9"), "{text}");
            assert!(is_error(&hops[1]) && hops[1].contains(&format!("{text:?}")), "{}", hops[1]);
        }
        let garbled = [httparse::Header { name: "X-Forwarded-For", value: b"\xff, 10.0.0.1" }];
        let hops = ForwardedFields::read(Headers(&garbled)).hops(ForwardedHeader::XForwardedFor);
        assert!(hops[0].is_ok() && hops[1].is_err());
    }

    #[test]
    fn nodes_of_rfc_7239_are_read() {
        for (element, address) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("FOR=\"192.0.2.1\"", "192.0.2.1"),
            ("for=\"192.0.2.1:65535\"", "192.0.2.1"),
            ("for=\"192.0.2.1:_x\"", "192.0.2.1"),
            ("for=\"192.0.2.1:_a.B_c-9\"", "192.0.2.1"),
            ("for=\"[2001:DB8::1]\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]:_x\"", "2001:db8::1"),
            ("for=\"[::ffff:192.0.2.1]\"", "192.0.2.1"),
            ("for=\"1\\92.0\\.2.1\"", "192.0.2.1"),
            ("for=\"\\[2001:db8\\:\\:1]\"", "2001:db8::1"),
            ("by=\"a,b;for=1.1.1.1\";for=192.0.2.1", "192.0.2.1"),
            ("by=\"a\\\",b;for=1.1.1.1\";for=192.0.2.1", "192.0.2.1"),
            ("by=\"\\\\\";for=192.0.2.1", "192.0.2.1"),
            ("by=\"\";for=192.0.2.1", "192.0.2.1"),
            (";for=192.0.2.1;;", "192.0.2.1"),
            ("proto=http; for=192.0.2.1 ; x=y", "192.0.2.1"),
            ("for=192.0.2.1,,", "192.0.2.1"),
        ] {
            assert_eq!(standard(element), [address], "{element}");
        }
        assert!(standard("").is_empty() && standard(",,").is_empty());
    }

    #[test]
    fn errors_quote_nodes_without_an_address() {
        for node in [
            "unknown",
            "\"unknown:80\"",
            "_hidden",
            "\"_hidden:_x\"",
            "\"\"",
            "192.0.2",
            "\"192.0.2.1:\"",
            "\"192.0.2.1:99999\"",
            "\"192.0.2.1:_\"",
            "\"192.0.2.1:_a b\"",
            "\"192.0.2.1:+1\"",
            "\"2001:db8::1\"",
            "\"[192.0.2.1]\"",
            "\"[::1]80\"",
            "0.0.0.0",
            "\"[::]\"",
            "224.0.0.1",
            "\"[fe80::1%eth0]\"",
            "\" 192.0.2.1\"",
        ] {
            let hops = standard(&format!("for=203.0.113.9, for={node}, for=10.0.0.1"));
            assert_eq!((hops[0].as_str(), hops[2].as_str()), ("10.0.0.1", "203.0.113.9"), "{node}");
            assert!(is_error(&hops[1]) && hops[1].contains("for="), "{}", hops[1]);
        }
        for element in [";", "proto=https", "by=1.1.1.1"] {
            assert!(is_error(&standard(&format!("for=203.0.113.9, {element}"))[0]), "{element}");
        }
    }

    #[test]
    fn a_malformed_list_has_no_addresses() {
        for list in [
            "for",
            "for=",
            "for =1.1.1.1",
            "for= 1.1.1.1",
            "=1.1.1.1",
            "for=1.1.1.1;for=2.2.2.2",
            "for=1.1.1.1;by=a;BY=b",
            "for=1.1.1.1:80",
            "for=[::1]",
            "for=\"1.1.1.1",
            "for=\"1.1.1.1\\",
            "for=\"1.1.1.1\"2",
            "for=\"1.1.1.1\"\"2\"",
            "for=\"1.1\u{7f}\"",
            "for=1.1.1.1 for=2.2.2.2",
            "1.1.1.1",
            "\"",
        ] {
            for list in [list.to_owned(), format!("{list}, for=203.0.113.9")] {
                let hops = standard(&list);
                assert!(hops.len() == 1 && is_error(&hops[0]) && hops[0].contains("RFC 7239"), "{list}: {hops:?}");
            }
        }
        // A quote that a client opens swallows the proxy's element: an error, never another address.
        let hidden = standard("for=\"x, for=\"[2001:db8::9]:80\"");
        assert!(hidden.len() == 1 && is_error(&hidden[0]), "{hidden:?}");
    }
}
