//! What happens to a world, read from any bytes: every input is a script, and a small change of the one is a small
//! change of the other.

use super::settings::{ROOMS, TOKENS};

/// One thing that happens.
#[derive(Debug)]
pub enum Step<'a> {
    /// A socket is accepted.
    Connect { core: usize, address: u8 },
    /// A well-formed upgrade of some kind.
    Upgrade { client: usize, kind: u8 },
    /// Any bytes.
    Bytes { client: usize, bytes: &'a [u8] },
    /// A masked frame with this first byte.
    Frame { client: usize, first: u8, payload: &'a [u8] },
    /// A command of some kind for some room.
    Command { client: usize, kind: u8, room: usize },
    /// Time goes on.
    Wait { ms: u64 },
    /// A client stops reading, or goes on.
    Stall { client: usize },
    /// A client's stream ends.
    Leave { client: usize },
    /// A lane takes nothing for some turns.
    Jam { core: usize },
    /// An operator does something.
    Operate { core: usize, kind: u8, room: usize },
}

/// Bytes being read as steps.
pub struct Script<'a>(&'a [u8]);

/// Steps of one script.
const STEPS_MAX: usize = 400;

impl<'a> Script<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self(&input[..input.len().min(STEPS_MAX * 20)])
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = super::super::byte_of(self.0);
        self.0 = rest;
        first
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = match self.byte() {
            255 => usize::from(self.byte()) * 20,
            length => usize::from(length),
        };
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// The next step, as long as there are bytes.
    pub fn step(&mut self) -> Option<Step<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let (op, who) = (self.byte(), usize::from(self.byte()));
        Some(match op % 14 {
            0 => Step::Connect { core: who % 2, address: (who / 2) as u8 % 4 },
            1 | 2 => Step::Upgrade { client: who, kind: self.byte() },
            3 => Step::Bytes { client: who, bytes: self.bytes() },
            4 | 5 => Step::Frame { client: who, first: self.byte(), payload: self.bytes() },
            6..=8 => {
                let kind = self.byte();
                Step::Command { client: who, kind, room: usize::from(kind / 32) % ROOMS.len() }
            }
            9 => Step::Wait { ms: (who * who) as u64 },
            10 => Step::Stall { client: who },
            11 => Step::Leave { client: who },
            12 => Step::Jam { core: who % 2 },
            _ => {
                let kind = self.byte();
                Step::Operate { core: who % 2, kind, room: usize::from(kind / 32) % ROOMS.len() }
            }
        })
    }
}

/// Steps and what they carry.
pub const WORDS: &[&[u8]] = &[
    b"\x00\x00\x01\x00\x00",
    b"\x00\x03\x01\x01\x05",
    b"\x06\x00\x00",
    b"\x06\x01\x23",
    b"\x07\x00\x02",
    b"\x09\x20",
    b"\x09\xff",
    b"\x0a\x00",
    b"\x0b\x00",
    b"\x0c\x00",
    b"\x0d\x00\x00",
    b"\x04\x00\x81\x0f{\"type\":\"ping\"}",
    b"\x04\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
    b"\x04\x00\x82\x09\x01\x00\x00\x00lobby",
    b"\x04\x00\x88\x02\x03\xe8",
    b"\"room\":\"lobby\"",
];

/// The head of an upgrade: forms, compression, tokens, rooms, what comes first.
pub fn upgrade(kind: u8) -> String {
    let token = TOKENS[usize::from(kind) % TOKENS.len()];
    let query = match kind / 4 % 4 {
        0 => format!("token={token}"),
        1 => format!("token={token}&room=lobby&room=skip:1"),
        2 => format!("user=dave&token={token}&room=lobby&last_received_seq=1"),
        _ => "user=erin&room=dark:room".to_owned(),
    };
    let path = if kind == 255 { "/echo" } else { "/ws" };
    let refuse = if kind & 128 == 0 { "" } else { "&refuse=close" };
    let form = match kind & 16 {
        _ if kind % 8 == 3 => "message",
        0 => "json",
        _ => "binary",
    };
    let deflate = match kind & 32 {
        0 => "",
        _ => "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=12\r\n",
    };
    let forwarded = match kind & 72 {
        64 => "X-Forwarded-For: 203.0.113.7\r\n",
        72 => "X-Forwarded-For: \", _hidden\r\n",
        _ => "",
    };
    format!(
        "GET {path}?{query}{refuse} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: roomring.v1.{form}\r\n{deflate}{forwarded}\r\n"
    )
}

/// A command in JSON.
pub fn command(kind: u8, room: usize, number: u64) -> String {
    let room = serde_json::Value::from(ROOMS[room]);
    match kind % 16 {
        0 => format!(r#"{{"type":"join","id":{number},"room":{room}}}"#),
        1 => format!(r#"{{"type":"join","id":{number},"room":{room},"last_received_seq":1,"history":300}}"#),
        2 | 3 => format!(r#"{{"type":"publish","id":{number},"room":{room},"data":{{"n":{number}}}}}"#),
        4 => format!(r#"{{"type":"publish","room":{room},"data":"{}","key":"{number}"}}"#, "x".repeat(700)),
        5 => format!(r#"{{"type":"publish","id":{number},"room":{room},"data":[],"key":"same","echo":false}}"#),
        6 => format!(r#"{{"type":"publish","room":{room},"data":"{}","ephemeral":true}}"#, "y".repeat(3_000)),
        7 => format!(r#"{{"type":"leave","id":{number},"room":{room}}}"#),
        8 => format!(r#"{{"type":"history","id":{number},"room":{room},"after":0,"limit":300}}"#),
        9 => format!(r#"{{"type":"presence","id":{number},"room":{room}}}"#),
        10 => r#"{"type":"status","status":"away"}"#.to_owned(),
        11 => r#"{"type":"status","id":1,"status":"online"}"#.to_owned(),
        12 => format!(r#"{{"type":"refresh","id":{number},"token":"{}"}}"#, TOKENS[number as usize % TOKENS.len()]),
        13 => administration(number, &room),
        14 => format!(r#"{{"type":"history","id":{number},"room":{room},"before":9}}"#),
        _ => r#"{"type":"#.to_owned(),
    }
}

/// A command about rooms that are created, or about what is kept of them.
fn administration(number: u64, room: &serde_json::Value) -> String {
    match number % 10 {
        0 => format!(r#"{{"type":"create_room","id":{number},"room":{room},"visibility":"private","title":"t"}}"#),
        1 => format!(r#"{{"type":"delete_room","id":{number},"room":{room}}}"#),
        2 => format!(r#"{{"type":"room_info","id":{number},"room":{room}}}"#),
        3 => format!(r#"{{"type":"invite","id":{number},"room":{room},"max_uses":1}}"#),
        4 => format!(r#"{{"type":"set_role","id":{number},"room":{room},"user":"dave","role":"owner"}}"#),
        5 => format!(r#"{{"type":"kick","id":{number},"room":{room},"user":"alice"}}"#),
        6 => format!(r#"{{"type":"receipt","id":{number},"room":{room},"seq":{number}}}"#),
        7 => {
            format!(r#"{{"type":"resume","id":{number},"session":"{number:032}","positions":{{{room}:{{"seq":1}}}}}}"#)
        }
        8 => format!(r#"{{"type":"list_rooms","id":{number},"limit":2}}"#),
        _ => format!(r#"{{"type":"ping","id":{number}}}"#),
    }
}

/// A few lives: chat on both cores, a stalled reader, an expiring token, a drain, garbage before and after the upgrade.
pub fn seeds() -> Vec<Vec<u8>> {
    let connect = |core: u8, kind: u8| [0, core, 1, 255, kind];
    let two = [connect(0, 4), connect(1, 21 + 32)].concat();
    let chat: Vec<u8> = (0..20).flat_map(|n| [6, n % 2, [2, 4, 5, 0, 7, 8, 9, 13][usize::from(n) % 8]]).collect();
    let operate: Vec<u8> = (0..12).flat_map(|kind| [13, kind % 2, kind]).collect();
    let flood: Vec<u8> = (0..60).flat_map(|_| [6, 0, 4]).collect();
    vec![
        [&[0][..], &two, &chat, &[9, 30], &chat].concat(),
        [&[1][..], &two, &[10, 1], &flood, &[9, 100, 10, 1], &chat].concat(),
        [&[7][..], &two, &[10, 0, 12, 0], &flood, &flood, &[9, 200]].concat(),
        [&[8][..], &connect(0, 2), &[9, 250, 9, 250, 6, 255, 12], &chat].concat(),
        [&[1][..], &two, &chat, &operate, &[9, 20], &operate, &[9, 255]].concat(),
        [&[0][..], &two, &[12, 0, 12, 1], &chat, &[9, 10], &chat, &[11, 0, 11, 1]].concat(),
        b"\x00\x00\x00\x03\x00\x20GET / HTTP/1.1\r\n\r\nGARBAGE GARBAGE\x00\x01\x03\x01\x05\x16\x03\x01\x02\x00"
            .to_vec(),
        [&[0][..], &two, b"\x04\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x04\x01\x82\x09\x01\0\0\0lobby"].concat(),
        [&[0][..], &connect(0, 255), b"\x04\x00\x81\x02hi\x04\x00\x01\x02a\xc3\x04\x00\x80\x01\xbc\x04\x00\x89\x00"]
            .concat(),
        [&[0][..], &two, &chat, &[9, 255, 9, 255, 9, 255]].concat(),
        [&[0][..], &connect(0, 3), &connect(1, 43), &[6, 0, 12, 6, 1, 12], &chat, &[11, 0, 9, 100]].concat(),
        [&[0][..], &connect(0, 3), &connect(1, 11), &[6, 1, 0, 9, 200], b"\x04\x00\x01\x05hello\x0b\x00"].concat(),
    ]
}
