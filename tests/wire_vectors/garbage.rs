//! Seeded garbage: nothing panics, and no decoder exceeds its memory bound (which `support::decode` checks at every step).

use roomring::wire::binary;
use roomring::wire::client::{ServerDecoder, client_frame};
use roomring::wire::form::Form;
use roomring::wire::frame::Opcode;
use roomring::wire::handshake::{Head, parse_head};
use roomring::wire::json;

use crate::support::{Random, decode};

#[test]
fn random_bytes_end_as_a_violation_or_wait() {
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let length = random.below(300);
        let mut bytes = random.bytes(length);
        // Without this, nearly every stream ends at its first byte.
        if bytes.len() > 2 && random.one_in(2) {
            bytes[0] = [0x81, 0x82, 0x01, 0x02, 0x88, 0x89][random.below(6)];
            bytes[1] |= 0x80;
        }
        let max = random.below(2_000);
        let sizes = random.sizes();
        decode(&bytes, sizes, max);
    }
}

#[test]
fn random_commands_are_refused_or_accepted() {
    const SOME: [&str; 9] = [
        r#"{"type":"publish","id":1,"room":"r","data":{"a":[1,"ü\u00fc",null]},"key":"k","echo":true}"#,
        r#"{"type":"join","room":"r","last_received_seq":7,"epoch":"00000000000000ff","history":5}"#,
        r#"{"type":"history","id":9,"room":"r","after":1,"limit":10}"#,
        r#"{"type":"presence","room":"r","after":"bob"}"#,
        r#"{"type":"status","status":"away"}"#,
        r#"{"type":"refresh","token":"eyJhbGciOiJIUzI1NiJ9.e30.AAAA"}"#,
        r#"{"type":"ping","id":9007199254740991}"#,
        r#"[[[[{"type":"leave"}]]]]"#,
        "",
    ];
    let mut taken = 0;
    for seed in 0..30_000 {
        let mut random = Random(seed);
        let mut bytes = SOME[random.below(SOME.len())].as_bytes().to_vec();
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len() + 1);
            match random.below(3) {
                0 => bytes.insert(at, b"\"\\{}[],:0-eu"[random.below(12)]),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] = random.next() as u8 & 0x7f,
                _ => {}
            }
        }
        let Ok(text) = String::from_utf8(bytes) else { continue };
        match json::parse_command(&text) {
            Ok(request) => {
                taken += 1;
                assert_eq!(request.reply.form, Form::Json);
            }
            Err(error) => assert!(!error.message.is_empty() && error.message.len() < 700, "seed {seed}"),
        }
        let length = random.below(60);
        let mut message = random.bytes(length);
        if message.len() >= 4 && !random.one_in(4) {
            message[..4].copy_from_slice(&(random.below(8) as u32).to_le_bytes());
        }
        if let Err(error) = binary::parse_command(&message) {
            assert!(!error.message.is_empty() && error.message.len() < 200, "seed {seed}");
        }
    }
    assert!(taken > 5_000, "{taken} commands were legal");
}

#[test]
fn random_heads_are_refused_or_wait() {
    for seed in 0..5_000 {
        let mut random = Random(seed);
        let mut bytes = if random.one_in(2) { b"GET /ws?".to_vec() } else { Vec::new() };
        let length = random.below(200);
        bytes.extend(random.bytes(length));
        if random.one_in(2) {
            bytes.extend_from_slice(b"\r\n\r\n");
        }
        if let Head::Complete { used, .. } = parse_head(&bytes) {
            assert!(used <= bytes.len());
        }
    }
}

#[test]
fn random_server_bytes_do_not_crash_the_client() {
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let length = random.below(200);
        let mut bytes = random.bytes(length);
        if bytes.len() > 2 {
            bytes[0] &= 0x8f;
            bytes[1] &= 0x7f;
        }
        let mut decoder = ServerDecoder::default();
        let mut rest = &bytes[..];
        while let Ok((used, message)) = decoder.next(rest, 1_000) {
            rest = &rest[used..];
            if message.is_none() && rest.is_empty() {
                break;
            }
        }
        assert!(decoder.held_bytes() < 2_100, "seed {seed}");
    }
}

#[test]
fn every_byte_of_a_frame_may_be_any_byte() {
    let frame = client_frame(Opcode::Text, "grüße".as_bytes(), [1, 2, 3, 4]);
    for at in 0..frame.len() {
        for byte in 0..=u8::MAX {
            let mut damaged = frame.clone();
            damaged[at] = byte;
            decode(&damaged, [], 1_000);
            decode(&damaged, std::iter::repeat(1), 1_000);
        }
    }
}
