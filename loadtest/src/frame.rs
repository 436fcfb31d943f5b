//! Client side of RFC 6455 framing.

/// A frame's opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0,
    /// UTF-8.
    Text = 1,
    /// Any bytes.
    Binary = 2,
    /// Close handshake.
    Close = 8,
    /// Are you there?
    Ping = 9,
    /// I am.
    Pong = 10,
}

/// Appends a masked, final frame.
pub fn client_frame(opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
}

/// A whole server frame at the start of a buffer.
pub struct ServerFrame<'a> {
    pub last: bool,
    pub opcode: Opcode,
    pub payload: &'a [u8],
    pub used: usize,
}

/// `Ok(None)` when more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<ServerFrame<'_>>, &'static str> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    let opcode = match first & 0x7f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err("reserved bits or opcode in a server frame"),
    };
    if second & 0x80 != 0 {
        return Err("masked server frame");
    }
    let (head, length) = match second {
        126 => match rest {
            &[a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
            _ => return Ok(None),
        },
        127 => match rest.get(..8) {
            Some(length) => {
                let length = u64::from_be_bytes(length.try_into().expect("eight bytes"));
                (10, usize::try_from(length).map_err(|_| "frame length")?)
            }
            None => return Ok(None),
        },
        length => (2, usize::from(length)),
    };
    let used = head + length;
    let Some(payload) = bytes.get(head..used) else { return Ok(None) };
    Ok(Some(ServerFrame { last: first & 0x80 != 0, opcode, payload, used }))
}
