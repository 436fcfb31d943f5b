//! A stream decodes to the same messages however it is split into reads. The seeds are fixed; a failure prints its
//! seed.

use roomring::wire::handshake::{Head, parse_head};

use crate::support::{Random, decode, decode_whole, random_stream};

const MAX: usize = 1 << 20;

#[test]
fn legal_streams_decode_alike_however_they_are_cut() {
    for seed in 0..25 {
        let mut random = Random(seed);
        let (stream, events) = random_stream(&mut random, 20);
        let whole = decode_whole(&stream, MAX);
        assert_eq!((&whole.events, whole.error, whole.holds), (&events, None, false), "seed {seed}");
        assert_eq!(decode(&stream, std::iter::repeat(1), MAX), whole, "seed {seed}, byte by byte");
        for _ in 0..10 {
            let sizes = random.sizes();
            assert_eq!(decode(&stream, sizes, MAX), whole, "seed {seed}");
        }
    }
}

#[test]
fn a_stream_cut_short_holds_its_message_until_the_rest_comes() {
    let mut random = Random(7);
    let (stream, events) = random_stream(&mut random, 4);
    for cut in 0..stream.len().min(500) {
        let front = decode_whole(&stream[..cut], MAX);
        assert!(events.starts_with(&front.events) && front.error.is_none());
        assert_eq!(decode(&stream, [cut.max(1)], MAX).events, events, "cut at {cut}");
    }
}

#[test]
fn damaged_streams_fail_alike_however_they_are_cut() {
    let mut failures = 0;
    for seed in 0..1_500 {
        let mut random = Random(seed);
        let (mut stream, _) = random_stream(&mut random, 3);
        for _ in 0..=random.below(3) {
            let at = random.below(stream.len());
            stream[at] ^= 1 << random.below(8);
        }
        let max = [100, 1_000, MAX][random.below(3)];
        let whole = decode_whole(&stream, max);
        failures += usize::from(whole.error.is_some());
        if stream.len() < 2_000 {
            assert_eq!(decode(&stream, std::iter::repeat(1), max), whole, "seed {seed}, byte by byte");
        }
        let sizes = random.sizes();
        assert_eq!(decode(&stream, sizes, max), whole, "seed {seed}");
    }
    assert!((500..1_500).contains(&failures), "{failures} of 1,500 damaged streams were refused");
}

#[test]
fn a_head_is_decided_once() {
    let head = concat!(
        "GET /ws?room=a&user=%C3%BC&last_received_seq=3 HTTP/1.1\r\nHost: h:8080\r\n",
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nOrigin: http://h:8080\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: roomring.v1.json, bearer.x\r\n\r\n\x01\x02\x03"
    );
    let (mut complete, mut refused) = (0, 0);
    for seed in 0..400 {
        let mut random = Random(seed);
        let mut bytes = head.as_bytes().to_vec();
        for _ in 0..random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        let whole = parse_head(&bytes);
        let decided = (0..=bytes.len()).map(|end| parse_head(&bytes[..end])).find(|head| *head != Head::Incomplete);
        match (&whole, decided) {
            (Head::Complete { .. }, decided) => {
                complete += 1;
                assert_eq!(decided.as_ref(), Some(&whole), "seed {seed}");
            }
            (Head::Refused { .. }, decided) => {
                refused += 1;
                assert!(matches!(decided, Some(Head::Refused { .. })), "seed {seed}");
            }
            (Head::Incomplete, decided) => assert_eq!(decided, None, "seed {seed}"),
        }
    }
    assert!(complete > 100 && refused > 50, "{complete} complete, {refused} refused");
}
