//! Headers of the specification, byte by byte, and malformed ones.

use super::*;

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short");
    [SIGNATURE, [command, family].as_slice(), &length.to_be_bytes(), body].concat()
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

const V4_BODY: &[u8] = &[203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

fn v6_body() -> Vec<u8> {
    let mut body = "2001:db8::9".parse::<Ipv6Addr>().expect("an address").octets().to_vec();
    body.extend("2001:db8::1".parse::<Ipv6Addr>().expect("an address").octets());
    body.extend([0x12, 0x34, 0, 80]);
    body
}

fn well_formed() -> Vec<(Vec<u8>, Option<IpAddr>)> {
    let longest =
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let mut with_values = v6_body();
    with_values.extend([0x04, 0, 3, 1, 2, 3]);
    with_values.resize(V2_BYTES_MAX - FIXED_BYTES, 0);
    let mapped = [Ipv4Addr::new(203, 0, 113, 9).to_ipv6_mapped().octets().as_slice(), &[0; 20]].concat();
    vec![
        (b"PROXY TCP4 203.0.113.9 10.0.0.1 4660 80\r\n".to_vec(), ip("203.0.113.9")),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 0 65535\r\n".to_vec(), ip("2001:db8::9")),
        (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 1\r\n".to_vec(), ip("203.0.113.9")),
        (longest.to_vec(), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n".to_vec(), None),
        (v2(0x21, 0x11, V4_BODY), ip("203.0.113.9")),
        (v2(0x21, 0x12, V4_BODY), ip("203.0.113.9")),
        (v2(0x21, 0x21, &v6_body()), ip("2001:db8::9")),
        (v2(0x21, 0x21, &mapped), ip("203.0.113.9")),
        (v2(0x21, 0x21, &with_values), ip("2001:db8::9")),
        (v2(0x21, 0x00, &[]), None),
        (v2(0x21, 0x31, &[7; 216]), None),
        (v2(0x20, 0x00, &[]), None),
        (v2(0x20, 0x11, V4_BODY), None),
    ]
}

#[test]
fn headers_are_read_however_they_are_cut() {
    for (header, client) in well_formed() {
        let shown = String::from_utf8_lossy(&header).into_owned();
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Parsed::Incomplete, "{cut} bytes of {shown:?}");
        }
        let whole = Parsed::Complete { used: header.len(), client };
        assert_eq!(parse(&header), whole, "{shown:?}");
        assert_eq!(parse(&[&header, b"GET /ws HTTP/1.1\r\n".as_slice()].concat()), whole, "{shown:?} and a request");
    }
}

#[test]
fn other_bytes_are_refused_at_the_first_wrong_one() {
    for wrong in [
        b"G".as_slice(),
        b"PROXX",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\x16\x03\x01",
        b"PROXY TCP4 1.2.3.4\n",
        b"PROXY TCP4 \xff",
        b"proxy ",
    ] {
        assert!(matches!(parse(wrong), Parsed::Malformed(_)), "{wrong:?}");
        if wrong.len() > 1 && !wrong.starts_with(b"pr") && wrong[0] != 0x16 {
            assert_eq!(parse(&wrong[..wrong.len() - 1]), Parsed::Incomplete, "{wrong:?}");
        }
    }
}

#[test]
fn malformed_lines_are_refused() {
    for rest in [
        "",
        " ",
        " TCP4",
        " TCP4 1.2.3.4 5.6.7.8 1",
        " TCP4 1.2.3.4 5.6.7.8 1 2 3",
        " TCP4  1.2.3.4 5.6.7.8 1 2",
        " TCP4 1.2.3.4 5.6.7.8 1 2 ",
        " TCP4 1.2.3.4 5.6.7.8 1 65536",
        " TCP4 1.2.3.4 5.6.7.8 +1 2",
        " TCP4 1.2.3.4 5.6.7.8 01 2",
        " TCP4 ::1 ::1 1 2",
        " TCP6 1.2.3.4 5.6.7.8 1 2",
        " TCP4 1.2.3 5.6.7.8 1 2",
        " TCP4 1.2.3.4 host 1 2",
        " UDP4 1.2.3.4 5.6.7.8 1 2",
        " unknown",
        "\r",
    ] {
        assert!(matches!(parse(format!("PROXY{rest}\r\n").as_bytes()), Parsed::Malformed(_)), "{rest:?}");
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(V1_BYTES_MAX));
    assert_eq!(parse(&long.as_bytes()[..V1_BYTES_MAX - 1]), Parsed::Incomplete);
    assert!(matches!(parse(&long.as_bytes()[..V1_BYTES_MAX]), Parsed::Malformed(_)));
    assert!(matches!(parse(format!("{long}\r\n").as_bytes()), Parsed::Malformed(_)), "too long though it ends");
}

#[test]
fn version_2_is_held_to_its_bounds() {
    for header in [
        v2(0x11, 0x11, V4_BODY),
        v2(0x31, 0x11, V4_BODY),
        v2(0x22, 0x11, V4_BODY),
        v2(0x2f, 0x11, V4_BODY),
        v2(0x21, 0x11, &V4_BODY[..11]),
        v2(0x21, 0x21, &v6_body()[..35]),
        v2(0x21, 0x11, &vec![0; V2_BYTES_MAX - FIXED_BYTES + 1]),
        v2(0x20, 0x00, &[0; 65_535]),
    ] {
        assert!(matches!(parse(&header), Parsed::Malformed(_)), "{:?}", &header[..FIXED_BYTES]);
    }
    assert!(
        matches!(parse(&v2(0x21, 0x21, &[0; 65_535])[..FIXED_BYTES]), Parsed::Malformed(_)),
        "refused before the rest arrives"
    );
}

/// Pseudorandom bytes, the same in every run.
struct RandomBytes(u64);

impl RandomBytes {
    fn next(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as u8
    }
}

/// A decision about a damaged header never changes when more bytes arrive, and needs no more bytes than the bound.
#[test]
fn damaged_headers_are_judged_once_and_within_the_bound() {
    let mut bytes = RandomBytes(0x9a5e);
    for round in 0..20_000_u32 {
        let headers = well_formed();
        let mut header = headers[round as usize % headers.len()].0.clone();
        for _ in 0..bytes.next() % 4 {
            let at = usize::from(bytes.next()) % header.len();
            header[at] = bytes.next();
        }
        header.extend((0..bytes.next() % 32).map(|_| bytes.next()));
        let mut judged: Option<Parsed> = None;
        for cut in (0..=header.len()).step_by(1 + usize::from(bytes.next() % 7)).chain([header.len()]) {
            let parsed = parse(&header[..cut]);
            if let Some(before) = judged {
                assert_eq!(
                    std::mem::discriminant(&before),
                    std::mem::discriminant(&parsed),
                    "{cut} bytes of {header:?}: {before:?}"
                );
            } else if parsed != Parsed::Incomplete {
                judged = Some(parsed);
            }
            if let Parsed::Complete { used, .. } = parsed {
                assert!(used <= cut && used <= V2_BYTES_MAX);
            }
            assert!(parsed != Parsed::Incomplete || cut < V2_BYTES_MAX);
        }
    }
}
