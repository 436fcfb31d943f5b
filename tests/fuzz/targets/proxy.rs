//! PROXY protocol headers: decided once, at the same byte, whatever comes behind.

use roomring::wire::proxy::{Parsed, V1_BYTES_MAX, V2_BYTES_MAX, parse};

/// What headers are made of.
pub const WORDS: &[&[u8]] = &[
    b"PROXY TCP4 ",
    b"PROXY UNKNOWN",
    b"TCP6 ::1 ::ffff:1.2.3.4 ",
    b" 65536",
    b"\r\n",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\0\x0c",
    b"\x20\0\0\0",
    b"\x07\xf0",
];

pub fn run(input: &[u8]) {
    let whole = parse(input);
    let end = input.len().min(V2_BYTES_MAX + 1);
    let decided = (0..=end).map(|end| (end, parse(&input[..end]))).find(|(_, parsed)| *parsed != Parsed::Incomplete);
    match whole {
        Parsed::Incomplete => {
            assert_eq!(decided, None);
            assert!(input.len() < V2_BYTES_MAX, "no more than that is asked for");
        }
        Parsed::Complete { used, client } => {
            assert_eq!(decided, Some((used, whole)), "complete with its last byte, not before");
            assert!(used <= if input[0] == b'P' { V1_BYTES_MAX } else { V2_BYTES_MAX });
            assert_eq!(client.map(|client| client.to_canonical()), client);
        }
        Parsed::Malformed(_) => assert!(matches!(decided, Some((_, Parsed::Malformed(_)))), "{decided:?}"),
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let v2 = |rest: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n", rest].concat();
    let mut v6 = v2(b"\x21\x21\0\x24");
    v6.extend([0xfe; 36]);
    let mut long = v2(b"\x21\x11\x07\xf0");
    long.extend([1; 2_032]);
    vec![
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET /".to_vec(),
        b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 0 65535\r\n".to_vec(),
        b"PROXY UNKNOWN whatever this is\r\n".to_vec(),
        v2(b"\x21\x11\0\x0f\xc0\0\x02\x01\xc0\0\x02\x02\0\x50\x01\xbb\x04\0\0GET /"),
        v2(b"\x20\0\0\0"),
        v6,
        long,
        b"GET /ws HTTP/1.1\r\n".to_vec(),
    ]
}
