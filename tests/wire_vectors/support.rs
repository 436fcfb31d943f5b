//! Decodes whole streams and generates random ones.

use roomring::base::codes::CloseCode;
use roomring::wire::client::{client_fragment, client_frame};
use roomring::wire::deflate::Inflater;
use roomring::wire::frame::Opcode;
use roomring::wire::message::{Decoder, Event};

pub use crate::random::Random;

/// Bytes that a decoder may hold beside the message itself.
pub const DECODER_BYTES: usize = 512;

/// An event that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Owned::Text(text.to_owned()),
            Event::Binary(bytes) => Owned::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Owned::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Owned::Pong(bytes.to_vec()),
            Event::Close(payload) => Owned::Close(payload.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

/// The result of decoding a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The events, in order.
    pub events: Vec<Owned>,
    /// The violation that ended it, if any.
    pub error: Option<CloseCode>,
    /// Whether a message is incomplete at its end.
    pub holds: bool,
}

/// Decodes `stream` cut into pieces of the given sizes; the last piece is the rest.
pub fn decode(stream: &[u8], sizes: impl IntoIterator<Item = usize>, max: usize) -> Outcome {
    feed(stream, sizes, max, None).0
}

/// The same with permessage-deflate; also returns the end of the last piece.
pub fn decode_inflated(stream: &[u8], sizes: impl IntoIterator<Item = usize>, max: usize) -> (Outcome, usize) {
    feed(stream, sizes, max, Some(Inflater::default()))
}

/// Decodes in one piece.
pub fn decode_whole(stream: &[u8], max: usize) -> Outcome {
    decode(stream, [], max)
}

/// Feeds one byte at a time; also returns the number of bytes consumed, including the one that proved a violation.
pub fn decode_bytewise(stream: &[u8], max: usize) -> (Outcome, usize) {
    feed(stream, std::iter::repeat(1), max, None)
}

/// Decodes piece by piece and checks the bound on memory; also returns the end of the last piece.
fn feed(
    stream: &[u8],
    sizes: impl IntoIterator<Item = usize>,
    max: usize,
    mut inflater: Option<Inflater>,
) -> (Outcome, usize) {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    let mut stream = stream.to_vec();
    let mut sizes = sizes.into_iter();
    let mut at = 0;
    while at < stream.len() {
        let size = sizes.next().unwrap_or(usize::MAX).min(stream.len() - at);
        let mut rest = &mut stream[at..at + size];
        at += size;
        loop {
            let decoded = match &mut inflater {
                None => decoder.next(rest, max),
                Some(inflater) => decoder.next_inflated(rest, max, inflater),
            };
            let decoded = match decoded {
                Ok(decoded) => decoded,
                Err(error) => return (Outcome { events, error: Some(error.code), holds: false }, at),
            };
            let (used, event) = (decoded.used, decoded.event.map(Owned::from));
            let held = decoder.held_bytes();
            assert!(held <= max + DECODER_BYTES, "{held} bytes held with a limit of {max}");
            rest = &mut rest[used..];
            match event {
                Some(event) => events.push(event),
                None if rest.is_empty() => break,
                None => panic!("a decoder that finds nothing must be done with its whole input"),
            }
        }
    }
    (Outcome { events, error: None, holds: decoder.held_bytes() > 0 }, at)
}

impl Random {
    /// True once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Text of 1 to 4 byte characters, quotes and backslashes among them.
    pub fn text(&mut self, characters: usize) -> String {
        const SOME: [char; 12] = ['a', 'Z', ' ', '"', '\\', '/', 'ü', 'ß', '€', '\u{2028}', '😀', '\u{10ffff}'];
        (0..characters).map(|_| SOME[self.below(SOME.len())]).collect()
    }

    pub fn key(&mut self) -> [u8; 4] {
        (self.next() as u32).to_le_bytes()
    }

    /// Lengths around the boundaries of the header's length field, mostly short.
    pub fn length(&mut self) -> usize {
        const EDGES: [usize; 8] = [0, 1, 125, 126, 127, 1_000, 65_535, 65_536];
        if self.one_in(8) { EDGES[self.below(EDGES.len())] } else { self.below(40) }
    }

    /// An endless sequence of piece sizes, mostly short.
    pub fn sizes(&mut self) -> impl Iterator<Item = usize> + use<> {
        let longest = [2, 5, 30, 500, 20_000][self.below(5)];
        let mut random = Random(self.next());
        std::iter::repeat_with(move || 1 + random.below(longest))
    }
}

/// A random legal stream and its events.
pub fn random_stream(random: &mut Random, messages: usize) -> (Vec<u8>, Vec<Owned>) {
    let mut stream = Vec::new();
    let mut events = Vec::new();
    for _ in 0..messages {
        let length = random.length();
        let is_text = random.one_in(2);
        let (opcode, payload, event) = if is_text {
            let text = random.text(length);
            (Opcode::Text, text.clone().into_bytes(), Owned::Text(text))
        } else {
            let bytes = random.bytes(length);
            (Opcode::Binary, bytes.clone(), Owned::Binary(bytes))
        };
        let mut rest = &payload[..];
        let mut opcode = opcode;
        while random.one_in(2) {
            let (first, after) = rest.split_at(random.below(rest.len() + 1));
            stream.extend(client_fragment(opcode, first, random.key()));
            (opcode, rest) = (Opcode::Continuation, after);
            if random.one_in(3) {
                push_control(random, &mut stream, &mut events);
            }
        }
        stream.extend(client_frame(opcode, rest, random.key()));
        events.push(event);
        if random.one_in(4) {
            push_control(random, &mut stream, &mut events);
        }
    }
    (stream, events)
}

fn push_control(random: &mut Random, stream: &mut Vec<u8>, events: &mut Vec<Owned>) {
    let length = random.below(126);
    let (opcode, payload, event) = match random.below(4) {
        0 | 1 => {
            let bytes = random.bytes(length);
            (Opcode::Ping, bytes.clone(), Owned::Ping(bytes))
        }
        2 => {
            let bytes = random.bytes(length);
            (Opcode::Pong, bytes.clone(), Owned::Pong(bytes))
        }
        _ => {
            let code = 3_000 + random.below(2_000) as u16;
            let characters = random.below(31);
            let reason = random.text(characters);
            let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            (Opcode::Close, payload, Owned::Close(Some((code, reason))))
        }
    };
    stream.extend(client_frame(opcode, &payload, random.key()));
    events.push(event);
}
