//! Compression: what comes in is bounded and leaves nothing behind, what goes out comes back as it was.

use roomring::wire::client::ServerDecoder;
use roomring::wire::deflate::{Compressor, InflateError, Inflater, Window};
use roomring::wire::frame::{Opcode, server_frame};

use super::byte_of;

/// The first byte chooses the bound, the level and the window.
pub fn run(input: &[u8]) {
    let (choice, payload) = byte_of(input);
    let max = [0, 100, 3_000, 100_000][usize::from(choice) % 4];
    let (level, window) = (1 + choice / 4 % 9, Window::ALL[usize::from(choice) / 64 % 2]);
    let mut compressor = Compressor::new(level);
    let mut inflater = Inflater::default();
    let first = inflater.inflate(payload, max).map(<[u8]>::to_vec);
    assert!(first.as_ref().is_ok_and(|bytes| bytes.len() <= max) || first.is_err());
    assert!(inflater.held_bytes() <= max.max(64 * 1024), "{} bytes held", inflater.held_bytes());

    // Whatever the message before was, this one comes back.
    if let Some(compressed) = compressor.compress(window, payload).map(<[u8]>::to_vec) {
        assert!(compressed.len() < payload.len());
        assert_eq!(inflater.inflate(&compressed, payload.len()), Ok(payload));
        if !payload.is_empty() {
            assert_eq!(inflater.inflate(&compressed, payload.len() - 1), Err(InflateError::TooBig));
            assert!(inflater.inflate(&compressed[..compressed.len() - 1], payload.len()) != Ok(payload) || level == 0);
        }
    }
    assert_eq!(inflater.inflate(payload, max).map(<[u8]>::to_vec), first, "nothing is kept of the one before");

    let frames = [server_frame(Opcode::Text, payload), server_frame(Opcode::Ping, b"x")].concat();
    let frames = compressor.compress_frames(window, &frames, 1, 1 << 20).map_or(frames.into(), |found| found.frames);
    let mut decoder = ServerDecoder::default();
    let next = decoder.next_inflated(&frames, 1 << 20, &mut inflater);
    let (_, message) = next.expect("our own frames are read");
    assert_eq!(message.expect("it is whole").payload, payload);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let text = br#"{"type":"message","room":"lobby","seq":1,"data":"aaaaaaaaaaaaaaaaaaaaaaaa"}"#.repeat(4);
    let bomb = vec![b'x'; 60_000];
    let mut compressor = Compressor::new(9);
    let small = compressor.compress(Window::Bits15, &text).expect("smaller").to_vec();
    let bomb = compressor.compress(Window::Bits12, &bomb).expect("smaller").to_vec();
    let last = b"\x03\x00".repeat(50);
    let fixed = [0x02, 0x08, 0x20, 0x80, 0x00].repeat(50);
    let flushed = b"\x00\x00\x00\xff\xff".repeat(50);
    let bodies: [&[u8]; 11] = [
        // Blocks that say nothing.
        &last,
        &fixed,
        &flushed,
        &text,
        &small,
        &bomb,
        // RFC 7692 section 7.2.3: a fixed block, two of them, stored, marked as the last, with padding.
        b"\xf2\x48\xcd\xc9\xc9\x07\x00",
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"",
    ];
    (0..3).flat_map(|bound| bodies.iter().map(move |body| [&[bound + 1 + bound * 68], *body].concat())).collect()
}
