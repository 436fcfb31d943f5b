//! The bytes stay as they are: another version of the program reads them.

use super::{
    HEADER_BYTES, Head, HeadFault, Header, HeaderFault, Kind, Named, Previous, file_name, payload_checksum, read_name,
};

#[test]
fn names() {
    assert_eq!(file_name(42), "log-00000000000000000042.rrl");
    assert_eq!(read_name("log-00000000000000000042.rrl"), Named::Segment(42));
    assert_eq!(read_name(&file_name(u64::MAX)), Named::Segment(u64::MAX));
    for foreign in ["log-.rrl", "log-42.rrl", "log-00000000000000000000.rrl", "log-+0000000000000000042.rrl"] {
        assert_eq!(read_name(foreign), Named::Foreign, "{foreign}");
    }
    for other in ["log-00000000000000000042.rrl.bak", "spare.rrl", "VERSION", "log-"] {
        assert_eq!(read_name(other), Named::Other, "{other}");
    }
}

#[test]
fn a_header_has_these_bytes() {
    let header = Header { first: 7, length: 8_192, salt: 9, previous: Some(Previous { first: 3, end: 5_000 }) };
    let bytes = header.encode();
    let mut expected = b"RRLOGSEG\x01\0\0\0\0\0\0\0".to_vec();
    for field in [7_u64, 8_192, 9, 3, 5_000] {
        expected.extend_from_slice(&field.to_le_bytes());
    }
    assert_eq!(bytes[..expected.len()], expected);
    assert!(bytes[expected.len()..HEADER_BYTES - 4].iter().all(|byte| *byte == 0));
    let bytes: [u8; HEADER_BYTES] = bytes.try_into().expect("a header has this length");
    assert_eq!(Header::decode(&bytes), Ok(header));
    let first = Header { previous: None, ..header };
    assert_eq!(Header::decode(&first.encode().try_into().expect("the same")), Ok(first));
    let mut other = bytes;
    other[8] = 2;
    assert_eq!(Header::decode(&other), Err(HeaderFault::Version(2)));
    other = bytes;
    other[60] = 2;
    assert!(matches!(Header::decode(&other), Err(HeaderFault::Checksum(..))));
    assert_eq!(Header::decode(&[0; HEADER_BYTES]), Err(HeaderFault::Magic));
}

#[test]
fn a_head_has_these_bytes() {
    let checksum = payload_checksum(9, 3, 8, [b"a".as_slice(), b"bc"]);
    let whole: Vec<u8> = [&9_u64.to_le_bytes()[..], &3_u32.to_le_bytes(), &8_u64.to_le_bytes(), b"abc"].concat();
    assert_eq!(checksum, crc32fast::hash(&whole));
    let head = Head { kind: Kind::Group, length: 3, commit: 8, checksum };
    let bytes = head.encode(9);
    let expected = [b"RRg\x01", &3_u32.to_le_bytes()[..], &8_u64.to_le_bytes(), &checksum.to_le_bytes()].concat();
    assert_eq!(bytes[..20], expected);
    assert_eq!(bytes[20..], crc32fast::hash(&[&9_u64.to_le_bytes()[..], &expected].concat()).to_le_bytes());
    assert_eq!(Head::decode(&bytes, 9), Ok(head));
    assert!(matches!(Head::decode(&bytes, 10), Err(HeadFault::Checksum(..))), "only with the segment's salt");
    for kind in [Kind::Mark, Kind::Seal] {
        let head = Head::bare(kind, 8, 9);
        assert_eq!(Head::decode(&head.encode(9), 9), Ok(head));
        assert_eq!(head.record_bytes(), 24);
    }
    assert_eq!(Head::decode(&[0; 24], 9), Err(HeadFault::Zero));
    assert_eq!(Head::decode(&[1; 24], 9), Err(HeadFault::Kind([1; 4])));
}
