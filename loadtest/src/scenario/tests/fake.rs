//! A small server with the binary form and a raw protocol, and with optional faults.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roomring::wire::frame::{Opcode, server_frame};
use roomring::wire::handshake::{Head, HttpRequest, accept_response, parse_head};
use roomring::wire::message::{Decoder, Event};

use crate::fleet::address::Target;

/// A fault. Most affect every tenth publication of each room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    Lose,
    Duplicate,
    Swap,
    Misroute,
    Renumber,
    Corrupt,
    Disconnect,
    /// A recovery omits its first publication.
    Forget,
    /// A recovery starts with the last publication that the client has.
    Repeat,
    /// No position can be recovered.
    NoRecovery,
}

#[derive(Default)]
struct FakeRoom {
    seq: u64,
    members: Vec<TcpStream>,
    /// All publications as frames; the first has seq 1.
    history: Vec<Vec<u8>>,
    /// Their data.
    data: Vec<Vec<u8>>,
    /// A frame to send after the next one.
    kept: Option<Vec<u8>>,
}

type FakeRooms = Arc<Mutex<HashMap<Vec<u8>, FakeRoom>>>;

/// Starts a server with a fault. Its threads end with the clients.
pub fn serve(fault: Fault) -> Target {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let rooms = FakeRooms::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let rooms = Arc::clone(&rooms);
            std::thread::spawn(move || {
                let peer = stream.peer_addr();
                attend(stream, &rooms, fault);
                let (Ok(peer), Ok(mut rooms)) = (peer, rooms.lock()) else { return };
                // A broken socket has no peer.
                let stays = |member: &TcpStream| member.peer_addr().is_ok_and(|of| of != peer);
                rooms.values_mut().for_each(|room| room.members.retain(stays));
            });
        }
    });
    Target { address, host: address.to_string(), path: "/ws".into(), secure: false }
}

fn attend(mut stream: TcpStream, rooms: &FakeRooms, fault: Fault) -> Option<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut head = Vec::new();
    loop {
        let count = stream.read(&mut buffer).ok()?;
        head.extend_from_slice(&buffer[..count]);
        match parse_head(&head) {
            Head::Incomplete if count > 0 => {}
            Head::Complete { request: HttpRequest::Upgrade(upgrade), .. } => {
                stream.write_all(&accept_response(&upgrade)).ok()?;
                break;
            }
            _ => return None,
        }
    }
    let mut decoder = Decoder::default();
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        let mut rest = &mut buffer[..count];
        loop {
            let input = std::mem::take(&mut rest);
            let decoded = decoder.next(input, 1 << 20).ok()?;
            let used = decoded.used;
            match decoded.event {
                Some(Event::Binary(message)) => command(&mut stream, message, rooms, fault)?,
                Some(Event::Text(text)) => read(&mut stream, text, rooms)?,
                Some(Event::Close(_)) => {
                    stream.write_all(&server_frame(Opcode::Close, &[3, 232])).ok()?;
                    return None;
                }
                Some(_) => {}
                None => break,
            }
            rest = &mut input[used..];
        }
    }
}

fn command(stream: &mut TcpStream, message: &[u8], rooms: &FakeRooms, fault: Fault) -> Option<()> {
    let mut rooms = rooms.lock().ok()?;
    if matches!(message, [b'J' | b'P', ..]) {
        return raw(stream, message, &mut rooms);
    }
    let (op, rest) = message.split_first_chunk::<4>()?;
    match u32::from_le_bytes(*op) {
        1 => return join(stream, rooms.entry(rest.to_vec()).or_default(), rest, None, fault),
        2 => {
            let peer = stream.peer_addr().ok()?;
            let room = rooms.get_mut(rest)?;
            room.members.retain(|member| member.peer_addr().ok() != Some(peer));
            let left = [&130u32.to_le_bytes(), rest].concat();
            return stream.write_all(&server_frame(Opcode::Binary, &left)).ok();
        }
        4 => {
            let (last, rest) = rest.split_first_chunk::<8>()?;
            let name = &rest[8..];
            return join(stream, rooms.entry(name.to_vec()).or_default(), name, Some(u64::from_le_bytes(*last)), fault);
        }
        _ => {}
    }
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (name, data) = rest.split_at(usize::from(u16::from_le_bytes(*length)));
    let others: Vec<TcpStream> = rooms
        .iter()
        .filter(|(other, _)| other.as_slice() != name)
        .flat_map(|(_, room)| room.members.iter().filter_map(|member| member.try_clone().ok()))
        .collect();
    let room = rooms.get_mut(name)?;
    room.seq += 1;
    let strikes = fault != Fault::None && room.seq % 10 == 0;
    let (mut seq, mut data) = (room.seq, data.to_vec());
    if strikes && fault == Fault::Renumber {
        room.seq += 1;
        seq += 1;
    }
    if strikes && fault == Fault::Corrupt {
        data[0] ^= 1;
    }
    let mut publication = 131u32.to_le_bytes().to_vec();
    publication.extend_from_slice(&seq.to_le_bytes());
    publication.extend_from_slice(&0u64.to_le_bytes());
    publication.extend_from_slice(length);
    publication.extend_from_slice(&[0, 0]);
    publication.extend_from_slice(name);
    publication.extend_from_slice(&data);
    let mut frame = server_frame(Opcode::Binary, &publication).to_vec();
    room.history.push(frame.clone());
    room.data.push(data.clone());
    let mut accepted = 132u32.to_le_bytes().to_vec();
    accepted.extend_from_slice(&seq.to_le_bytes());
    accepted.extend_from_slice(name);
    // Even if the publisher has left, the others get the publication.
    drop(stream.write_all(&server_frame(Opcode::Binary, &accepted)));
    match fault {
        Fault::Lose if strikes => return Some(()),
        Fault::Duplicate if strikes => frame.extend_from_within(..),
        Fault::Swap if strikes => {
            room.kept = Some(frame);
            return Some(());
        }
        Fault::Misroute if strikes => others.into_iter().for_each(|mut other| drop(other.write_all(&frame))),
        Fault::Disconnect if strikes => {
            return room.members.pop().map(|member| drop(member.shutdown(std::net::Shutdown::Both)));
        }
        _ => frame.extend(room.kept.take().unwrap_or_default()),
    }
    room.members.iter_mut().for_each(|member| drop(member.write_all(&frame)));
    Some(())
}

fn join(stream: &mut TcpStream, room: &mut FakeRoom, name: &[u8], last: Option<u64>, fault: Fault) -> Option<()> {
    room.members.push(stream.try_clone().ok()?);
    let last = last.filter(|_| fault != Fault::NoRecovery);
    let mut missed: Vec<&[u8]> = Vec::new();
    if let Some(last) = last {
        let first = if fault == Fault::Repeat { last.saturating_sub(1) } else { last };
        missed.extend(room.history[first as usize..].iter().map(Vec::as_slice));
        if fault == Fault::Forget && !missed.is_empty() {
            missed.remove(0);
        }
    }
    let mut joined = 129u32.to_le_bytes().to_vec();
    joined.extend_from_slice(&7u64.to_le_bytes());
    joined.extend_from_slice(&room.seq.to_le_bytes());
    joined.push(u8::from(last.is_some()));
    joined.extend_from_slice(&(missed.len() as u32).to_le_bytes());
    joined.extend_from_slice(name);
    let mut answer = server_frame(Opcode::Binary, &joined).to_vec();
    answer.extend(missed.concat());
    stream.write_all(&answer).ok()
}

/// Raw protocol: `J` and a room's name joins without a reply; `P`, the name, a space and data publishes.
fn raw(stream: &mut TcpStream, message: &[u8], rooms: &mut HashMap<Vec<u8>, FakeRoom>) -> Option<()> {
    let (name, data) =
        message[1..].split_at(message.iter().position(|byte| *byte == b' ').unwrap_or(message.len()) - 1);
    let room = rooms.entry(name.to_vec()).or_default();
    if message[0] == b'J' {
        room.members.push(stream.try_clone().ok()?);
        return Some(());
    }
    let frame = server_frame(Opcode::Binary, data.get(1..)?);
    room.members.iter_mut().for_each(|member| drop(member.write_all(&frame)));
    Some(())
}

/// Answers a presence query or a history read in the JSON form.
fn read(stream: &mut TcpStream, text: &str, rooms: &FakeRooms) -> Option<()> {
    let rooms = rooms.lock().ok()?;
    let asked: serde_json::Value = serde_json::from_str(text).ok()?;
    let name = asked["room"].as_str()?;
    let room = rooms.get(name.as_bytes())?;
    let answer = match asked["type"].as_str()? {
        "presence" => serde_json::json!({
            "type": "presence", "id": asked["id"], "room": name, "total": room.members.len(), "users": []
        }),
        _ => {
            let (after, limit) = (asked["after"].as_u64()? as usize, asked["limit"].as_u64()? as usize);
            let page = room.data.iter().enumerate().skip(after).take(limit);
            let message = |(index, data): (usize, &Vec<u8>)| serde_json::json!({"seq": index + 1, "from": "u", "at": 1, "data_b64": STANDARD.encode(data)});
            let messages: Vec<serde_json::Value> = page.map(message).collect();
            serde_json::json!({
                "type": "history", "id": asked["id"], "room": name, "epoch": "0000000000000007", "first_seq": 1,
                "head_seq": room.seq, "messages": messages
            })
        }
    };
    stream.write_all(&server_frame(Opcode::Text, answer.to_string().as_bytes())).ok()
}
