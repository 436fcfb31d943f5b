//! Frames from sockets, in both directions: the same events and the same violation however the bytes are cut.

use roomring::base::codes::CloseCode;
use roomring::wire::client::{ServerDecoder, append_compressed_client_frame, client_fragment, client_frame};
use roomring::wire::deflate::{Compressor, Inflater, Window, compressed_bytes_max};
use roomring::wire::frame::{Opcode, close_frame, count_messages, server_frame};
use roomring::wire::message::{Decoder, Event};

use super::byte_of;

/// Headers at their borders.
pub const WORDS: &[&[u8]] = &[
    b"\x81\x80\0\0\0\0",
    b"\x81\xfe\0\x7e\0\0\0\0",
    b"\x82\xff\0\0\0\0\0\x01\0\0\0\0\0\0",
    b"\xc1\x80\0\0\0\0",
    b"\x00\x80\0\0\0\0",
    b"\x40\x80\0\0\0\0",
    b"\x88\x82\0\0\0\0\x03\xe8",
    b"\x89\xfd\0\0\0\0",
    b"\xf0\x9f\x98\x80",
    b"\xed\xa0\x80",
    b"\0\0\xff\xff",
];

/// What a decoder holds beside a message: its header, a control frame.
const DECODER_BYTES: usize = 256;

/// An event, kept.
type Kept = (&'static str, Vec<u8>);

fn kept(event: &Event<'_>) -> Kept {
    match event {
        Event::Text(text) => ("text", text.as_bytes().to_vec()),
        Event::Binary(bytes) => ("binary", bytes.to_vec()),
        Event::Ping(bytes) => ("ping", bytes.to_vec()),
        Event::Pong(bytes) => ("pong", bytes.to_vec()),
        Event::Close(None) => ("close", Vec::new()),
        Event::Close(Some((code, reason))) => ("close", [&code.to_be_bytes()[..], reason.as_bytes()].concat()),
    }
}

/// Events, the violation that ended them, and whether a message is incomplete.
type Outcome = (Vec<Kept>, Option<CloseCode>, bool);

/// Decodes in pieces whose sizes follow from `pieces`: 0 stands for everything at once.
fn decode(stream: &[u8], mut pieces: u32, max: usize, inflater: &mut Option<Inflater>) -> Outcome {
    let mut decoder = Decoder::default();
    let held_max = DECODER_BYTES + if inflater.is_some() { compressed_bytes_max(max) } else { max };
    let mut stream = stream.to_vec();
    let mut events = Vec::new();
    let mut at = 0;
    while at < stream.len() {
        let size = match pieces {
            0 => usize::MAX,
            _ => 1 + (pieces >> 16) as usize % [1, 3, 40, 400][pieces as usize % 4],
        };
        pieces = if pieces == 0 { 0 } else { pieces.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) | 1 };
        let end = at.saturating_add(size).min(stream.len());
        let mut rest = &mut stream[at..end];
        at = end;
        loop {
            let decoded = match inflater {
                None => decoder.next(rest, max),
                Some(inflater) => decoder.next_inflated(rest, max, inflater),
            };
            let decoded = match decoded {
                Ok(decoded) => decoded,
                Err(error) => return (events, Some(error.code), false),
            };
            let (used, event) = (decoded.used, decoded.event.as_ref().map(kept));
            assert!(decoder.held_bytes() <= held_max, "{} bytes held of {max}", decoder.held_bytes());
            rest = &mut rest[used..];
            match event {
                Some((kind, bytes)) => {
                    assert!(bytes.len() <= max.max(125), "{kind} of {} bytes over {max}", bytes.len());
                    events.push((kind, bytes));
                }
                None => {
                    assert!(rest.is_empty(), "a decoder that finds nothing is done with its input");
                    break;
                }
            }
        }
    }
    (events, None, decoder.held_bytes() > 0)
}

/// The first byte chooses the limit, the next three how the rest is cut.
pub fn run(input: &[u8]) {
    let (choice, rest) = byte_of(input);
    let Some((cuts, stream)) = rest.split_first_chunk::<3>() else { return };
    let max = [0, 60, 1_000, 65_536][usize::from(choice) % 4];
    let pieces = u32::from_be_bytes([cuts[0], cuts[1], cuts[2], 1]);
    for inflates in [false, true] {
        // One inflater for all, as on a core: what it did before must not matter.
        let mut inflater = inflates.then(Inflater::default);
        let whole = decode(stream, 0, max, &mut inflater);
        assert_eq!(decode(stream, pieces, max, &mut inflater), whole, "cut by {pieces:#x}");
        if stream.len() < 2_000 {
            assert_eq!(decode(stream, 1 << 2, max, &mut inflater), whole, "byte by byte");
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let text = r#"{"type":"publish","room":"räume","data":"😀 grüße"}"#.as_bytes();
    let mut compressed = Vec::new();
    let long = text.repeat(30);
    let mut compressor = Compressor::new(6);
    let payload = compressor.compress(Window::Bits15, &long).expect("it repeats itself");
    append_compressed_client_frame(&mut compressed, Opcode::Text, payload, key);
    let streams = [
        client_frame(Opcode::Text, text, key),
        client_frame(Opcode::Binary, &[0xff; 300], key),
        client_frame(Opcode::Binary, &[7; 70_000], [0; 4]),
        client_frame(Opcode::Text, b"", key),
        [
            client_fragment(Opcode::Text, &text[..31], [0; 4]),
            client_frame(Opcode::Ping, b"are you there?", key),
            client_fragment(Opcode::Continuation, b"", key),
            client_frame(Opcode::Continuation, &text[31..], key),
            client_frame(Opcode::Pong, &[1; 125], key),
        ]
        .concat(),
        [&compressed[..], &client_frame(Opcode::Close, b"\x03\xe8bye", key)].concat(),
        client_frame(Opcode::Close, b"", key),
    ];
    (0..3).flat_map(|choice| streams.iter().map(move |stream| [&[choice + 1, 1, 2, 3], &stream[..]].concat())).collect()
}

/// What our own clients read: any bytes end as a violation or wait. And whatever is in our own frames, it is counted.
pub fn run_server(input: &[u8]) {
    for inflates in [false, true] {
        let (mut decoder, mut inflater) = (ServerDecoder::default(), Inflater::default());
        let mut rest = input;
        loop {
            let next = match inflates {
                false => decoder.next(rest, 1_000),
                true => decoder.next_inflated(rest, 1_000, &mut inflater),
            };
            let Ok((used, message)) = next else { break };
            rest = &rest[used..];
            if message.is_none() {
                assert!(rest.is_empty(), "a decoder that finds nothing is done with its input");
                break;
            }
        }
        assert!(decoder.held_bytes() < 2_200, "{} bytes held", decoder.held_bytes());
    }
    assert!(count_messages(input) as usize <= input.len() / 2);
    let (choice, payload) = byte_of(input);
    let control = &payload[..payload.len().min(125)];
    let frames = match choice % 3 {
        0 => [server_frame(Opcode::Text, payload), server_frame(Opcode::Ping, control)].concat(),
        1 => [server_frame(Opcode::Pong, control), server_frame(Opcode::Binary, payload)].concat(),
        _ => [server_frame(Opcode::Text, payload), close_frame(4_000, &String::from_utf8_lossy(payload))].concat(),
    };
    assert_eq!(count_messages(&frames), 1);
}

pub fn server_seeds() -> Vec<Vec<u8>> {
    let frames =
        [server_frame(Opcode::Text, b"hello"), server_frame(Opcode::Binary, &[1; 200]), close_frame(1_000, "")];
    vec![frames.concat(), frames[1].to_vec(), b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec(), vec![0x82, 127]]
}
