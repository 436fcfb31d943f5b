//! The generator against a small server that can be told to misbehave: each fault must be found, and none without one.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roomring::wire::frame::{Opcode, server_frame};
use roomring::wire::handshake::{Head, HttpRequest, accept_response, parse_head};
use roomring::wire::message::{Decoder, Event};

use super::fanout::Fanout;
use super::{Actor, Findings};
use crate::clock::SECOND;
use crate::dialect::Dialect;
use crate::fleet::address::Target;
use crate::fleet::{Fleet, Settings};
use crate::measure::counters::Counters;
use crate::plan::{Pace, Phase, Plan, Scenario};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Lose,
    Duplicate,
    Swap,
    Misroute,
    Renumber,
    Corrupt,
    Disconnect,
}

#[derive(Default)]
struct Room {
    seq: u64,
    members: Vec<TcpStream>,
    /// A frame that is sent behind the next one.
    kept: Option<Vec<u8>>,
}

type Rooms = Arc<Mutex<HashMap<Vec<u8>, Room>>>;

/// A server of the binary form that does `fault` to every tenth publication of each room. Its threads end with the
/// clients.
fn serve(fault: Fault) -> Target {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let rooms = Rooms::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let rooms = Arc::clone(&rooms);
            std::thread::spawn(move || attend(stream, &rooms, fault));
        }
    });
    Target { address, host: address.to_string(), path: "/ws".into() }
}

fn attend(mut stream: TcpStream, rooms: &Rooms, fault: Fault) -> Option<()> {
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

fn command(stream: &mut TcpStream, message: &[u8], rooms: &Rooms, fault: Fault) -> Option<()> {
    let mut rooms = rooms.lock().ok()?;
    let (op, rest) = message.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*op) == 1 {
        let room = rooms.entry(rest.to_vec()).or_default();
        room.members.push(stream.try_clone().ok()?);
        let mut joined = 129u32.to_le_bytes().to_vec();
        joined.extend_from_slice(&7u64.to_le_bytes());
        joined.extend_from_slice(&room.seq.to_le_bytes());
        joined.extend_from_slice(&[0; 5]);
        joined.extend_from_slice(rest);
        return stream.write_all(&server_frame(Opcode::Binary, &joined)).ok();
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

/// Two rooms of three members, 200 publishes each at an open loop.
fn fanout_against(fault: Fault, stalled_per_mille: u32) -> (Counters, Findings) {
    let pace = Pace::Even { per_second: 2_000.0 };
    let plan = Plan {
        targets: vec![serve(fault)],
        dialect: Dialect::Binary,
        scenario: Scenario::Fanout { pace, stalled_per_mille },
        shard: 0,
        core: None,
        clients: 6,
        room_size: 3,
        payload_bytes: 64,
        sources: 4,
        connecting_max: 4,
        run: 1,
        seed: 1,
    };
    let targets = plan.targets.clone();
    let settings = Settings { targets, clients: 6, shard: 0, sources: 4, connecting_max: 4, seed: 1 };
    let mut fleet = Fleet::new(settings).expect("epoll");
    let waker = fleet.waker().expect("eventfd");
    std::thread::spawn(move || {
        while Arc::strong_count(&waker) > 0 && waker.wake().is_ok() {
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let mut actor = Fanout::new(plan, pace, stalled_per_mille);
    let until = |actor: &mut Fanout, fleet: &mut Fleet, done: &dyn Fn(&Counters) -> bool, limit: u64| {
        let begun = fleet.clock.now();
        while !done(&fleet.counters) && fleet.clock.now() - begun < limit {
            fleet.turn(actor).expect("epoll");
        }
    };
    actor.enter(&mut fleet, Phase::Connect, 0);
    until(&mut actor, &mut fleet, &|counters| counters.ready == 6, 20 * SECOND);
    assert_eq!(fleet.counters.ready, 6, "all join: {:?}", fleet.last_failure);
    let now = fleet.clock.now();
    actor.enter(&mut fleet, Phase::Measure, now);
    until(&mut actor, &mut fleet, &|counters| counters.published >= 400, 20 * SECOND);
    let now = fleet.clock.now();
    actor.enter(&mut fleet, Phase::Drain, now);
    // What is owed at the end of a faulty run never comes; what is not owed may come late.
    let limit = if fault == Fault::None { 20 * SECOND } else { SECOND / 4 };
    until(&mut actor, &mut fleet, &|counters| counters.outstanding == 0, limit);
    let now = fleet.clock.now();
    actor.enter(&mut fleet, Phase::Leave, now);
    let findings = actor.finish(&mut fleet);
    (fleet.counters, findings)
}

#[test]
fn a_right_server_passes() {
    let (counters, findings) = fanout_against(Fault::None, 0);
    assert_eq!(counters.delivered, counters.expected, "{counters:?}");
    assert_eq!(counters.expected, counters.published * 3);
    let faults = counters.lost() + counters.duplicated + counters.out_of_order + counters.misrouted + counters.wrong;
    assert_eq!(faults + counters.disconnected + counters.errors, 0, "{counters:?} {findings:?}");
    for name in ["latency", "last_receiver", "lag"] {
        assert!(findings.histograms.contains_key(name), "{name} was recorded");
    }
}

#[test]
fn stalled_readers_are_not_owed_anything_and_catch_up() {
    let (counters, findings) = fanout_against(Fault::None, 334);
    assert_eq!(counters.expected, counters.published, "of three one is healthy: 334 of 1,000 are rounded up to two");
    assert_eq!((counters.lost(), counters.wrong, counters.holes), (0, 0, 0), "{counters:?} {findings:?}");
}

#[test]
fn every_fault_is_found() {
    let of = |fault| fanout_against(fault, 0).0;
    let lost = of(Fault::Lose);
    assert!(lost.lost() >= lost.published / 20 && lost.duplicated == 0, "{lost:?}");
    let duplicated = of(Fault::Duplicate);
    assert!(duplicated.duplicated >= duplicated.published / 20 && duplicated.lost() == 0, "{duplicated:?}");
    let swapped = of(Fault::Swap);
    assert!(swapped.out_of_order >= swapped.published / 20 && swapped.duplicated == 0, "{swapped:?}");
    let misrouted = of(Fault::Misroute);
    assert!(misrouted.misrouted >= misrouted.published / 20, "{misrouted:?}");
    let renumbered = of(Fault::Renumber);
    assert!(renumbered.wrong >= renumbered.published / 20, "{renumbered:?}");
    let corrupt = of(Fault::Corrupt);
    assert!(corrupt.wrong >= corrupt.published / 20 && corrupt.lost() > 0, "{corrupt:?}");
    let cut = of(Fault::Disconnect);
    assert!(cut.disconnected > 0 && cut.lost() > 0, "{cut:?}");
}
