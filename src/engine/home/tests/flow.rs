//! A client that reads gets everything, whatever bursts and recoveries bring; one that does not is found (PROTOCOL sections
//! 4.2 and 4.6).

use std::sync::Arc;

use super::machine::{At, Reads, TimedMachine};
use crate::base::limits::{TICK_MS, TURN_BYTES_MAX};
use crate::engine::settings::{RoomClass, RoomSettings, Settings, SlowPolicy};

fn settings(cores: u16, outbox_bytes: usize) -> Settings {
    let mut settings = Settings { cores, outbox_bytes, ..Settings::for_tests() };
    let rooms = RoomSettings {
        history_size: 1_000,
        history_on_join: 0,
        history_on_join_max: 300,
        recovery_max: 1_000,
        presence: false,
        ..(*settings.rooms).clone()
    };
    let class = |pattern: &str, slow_policy| RoomClass {
        pattern: pattern.to_owned(),
        settings: Arc::new(RoomSettings { slow_policy, ..rooms.clone() }),
    };
    settings.classes = vec![class("skip*", SlowPolicy::Skip), class("latest*", SlowPolicy::Latest)];
    settings.rooms = Arc::new(rooms);
    settings
}

const ROOMS: [&str; 3] = ["disconnect", "skip", "latest"];

fn publish(room: &str, bytes: usize) -> String {
    format!(r#"{{"type":"publish","room":"{room}","data":"{}"}}"#, "x".repeat(bytes))
}

/// Writes `count` publishes of `bytes` bytes of each publisher to each room at once.
fn burst(machine: &mut TimedMachine, publishers: &[At], rooms: &[&str], (count, bytes): (usize, usize)) {
    for publisher in publishers {
        for _ in 0..count {
            for room in rooms {
                machine.say(*publisher, &publish(room, bytes));
            }
        }
    }
}

/// Members of all three rooms on every core.
fn readers(machine: &mut TimedMachine, cores: usize, reads: Reads) -> Vec<At> {
    let query = ROOMS.map(|room| format!("&room={room}")).concat();
    (0..2 * cores).map(|at| machine.connect(at % cores, &format!("user=r{at}{query}"), reads)).collect()
}

fn check_all_heard(machine: &mut TimedMachine, members: &[At], rooms: &[&str], count: u64, what: &str) {
    for member in members {
        let reader = machine.reader(*member);
        assert_eq!(reader.closed, None, "{what}: {member:?}");
        for room in rooms {
            assert_eq!(reader.of("gap", room).count(), 0, "{what}: {member:?} {room}");
            assert_eq!(reader.seqs(room), (1..=count).collect::<Vec<_>>(), "{what}: {member:?} {room}");
        }
    }
}

#[test]
fn healthy_readers_get_every_burst() {
    for (publishers, count, bytes) in
        [(1, 60, 60_000), (1, 1_500, 100), (8, 12, 4_096), (20, 1, 60_000), (40, 40, 100), (40, 2, 16_384)]
    {
        for outbox in [128 * 1024, 1 << 20] {
            for cores in [1, 2, 4] {
                let what = format!("{publishers} x {count} x {bytes}, outbox {outbox}, {cores} cores");
                let mut machine = TimedMachine::new(settings(cores, outbox));
                let cores = usize::from(cores);
                let members = readers(&mut machine, cores, Reads::AtOnce);
                let query = ROOMS.map(|room| format!("&room={room}")).concat();
                let connect = |at| machine.connect(at % cores, &format!("user=p{at}{query}"), Reads::AtOnce);
                let publishers: Vec<At> = (0..publishers).map(connect).collect();
                machine.settle();
                burst(&mut machine, &publishers, &ROOMS, (count, bytes));
                machine.settle();
                let total = (publishers.len() * count) as u64;
                check_all_heard(&mut machine, &members, &ROOMS, total, &what);
                check_all_heard(&mut machine, &publishers, &ROOMS, total, &what);
                assert!(machine.taken_max < TURN_BYTES_MAX + 4_096, "{what}: a turn took {}", machine.taken_max);
            }
        }
    }
}

#[test]
fn a_reader_on_a_slow_link_gets_a_burst_at_its_pace() {
    let mut machine = TimedMachine::new(settings(2, 128 * 1024));
    let members = readers(&mut machine, 2, Reads::BytesPerSecond(500_000));
    let publisher = machine.connect(0, "user=p&room=disconnect&room=skip&room=latest", Reads::AtOnce);
    machine.pass(100);
    burst(&mut machine, &[publisher], &ROOMS, (30, 20_000));
    machine.pass(10_000);
    check_all_heard(&mut machine, &members, &ROOMS, 30, "a slow link");
}

#[test]
fn stuck_and_trickling_readers_are_found() {
    for reads in [Reads::Nothing, Reads::BytesPerSecond(1)] {
        let mut machine = TimedMachine::new(settings(2, 128 * 1024));
        let members = readers(&mut machine, 2, Reads::AtOnce);
        let healthy = readers(&mut machine, 2, Reads::AtOnce);
        let skips = machine.connect(1, "user=s&room=skip&room=latest", Reads::AtOnce);
        let publisher = machine.connect(0, "user=p&room=disconnect&room=skip&room=latest", Reads::AtOnce);
        machine.pass(100);
        for member in members.iter().chain([&skips]) {
            machine.reader(*member).reads = reads;
        }
        for _ in 0..100 {
            burst(&mut machine, &[publisher], &ROOMS, (1, 10_000));
            machine.pass(TICK_MS);
        }
        let closed: u64 = (0..2).map(|core| machine.counters(core).closed_slow.get()).sum();
        assert_eq!(closed, members.len() as u64, "{reads:?}");
        check_all_heard(&mut machine, &healthy, &ROOMS, 100, "beside stuck ones");
        // It reads on, and misses nothing without being told.
        machine.reader(skips).reads = Reads::BytesPerSecond(1_000_000);
        machine.pass(20_000);
        let reader = machine.reader(skips);
        assert_eq!(reader.closed, None, "{reads:?}");
        for room in ["skip", "latest"] {
            let gap = reader.of("gap", room).collect::<Vec<_>>();
            assert_eq!(gap.len(), 1, "{reads:?} {room}: {gap:?}");
            let (from, to) = (gap[0]["from"].as_u64().expect("a seq"), gap[0]["to"].as_u64().expect("a seq"));
            let expected: Vec<u64> = (1..from).chain(to + 1..=100).collect();
            assert_eq!(reader.seqs(room), expected, "{reads:?} {room}");
        }
        let charged: u64 = (0..2).map(|core| machine.counters(core).memory_charged.get()).sum();
        assert!(charged < 8 << 20, "{charged} bytes: history and nothing else");
    }
}

#[test]
fn when_memory_is_short_there_is_little_patience() {
    let mut settings = settings(1, 128 * 1024);
    settings.memory_budget_bytes = 4 << 20;
    let mut machine = TimedMachine::new(settings);
    let members: Vec<At> =
        (0..4).map(|at| machine.connect(0, &format!("user=r{at}&room=disconnect"), Reads::AtOnce)).collect();
    let publisher = machine.connect(0, "user=p&room=disconnect", Reads::AtOnce);
    machine.pass(100);
    // Progress of a kind, which would do for years.
    machine.reader(members[0]).reads = Reads::BytesPerSecond(20_000);
    for _ in 0..600 {
        burst(&mut machine, &[publisher], &["disconnect"], (1, 15_000));
        machine.pass(20);
    }
    check_all_heard(&mut machine, &members[1..], &["disconnect"], 600, "short of memory");
    let counters = machine.counters(0);
    assert_eq!(counters.closed_slow.get() + counters.closed_overloaded.get(), 1);
    assert!(machine.charged_max < 4 << 20, "{} bytes were charged", machine.charged_max);
}

#[test]
fn what_rooms_may_drop_goes_before_a_room_that_drops_nothing_closes() {
    let mut machine = TimedMachine::new(settings(1, 128 * 1024));
    let stuck = machine.connect(0, "user=s&room=disconnect&room=latest", Reads::AtOnce);
    let publisher = machine.connect(0, "user=p&room=disconnect&room=latest", Reads::AtOnce);
    machine.pass(100);
    machine.reader(stuck).reads = Reads::Nothing;
    for _ in 0..60 {
        burst(&mut machine, &[publisher], &["latest"], (1, 10_000));
        machine.pass(TICK_MS);
    }
    for _ in 0..20 {
        burst(&mut machine, &[publisher], &["disconnect"], (1, 20));
        machine.pass(TICK_MS);
    }
    assert_eq!(machine.counters(0).closed_slow.get(), 0);
    machine.reader(stuck).reads = Reads::BytesPerSecond(1_000_000);
    machine.pass(10_000);
    assert_eq!(machine.reader(stuck).seqs("disconnect"), (1..=20).collect::<Vec<_>>());
    assert_eq!(machine.reader(stuck).seqs("latest").last(), Some(&60));
}

/// Rooms with published messages, and a reader that has gone.
fn filled(cores: u16, rooms: usize, (count, bytes): (usize, usize)) -> TimedMachine {
    let mut machine = TimedMachine::new(settings(cores, 1 << 20));
    let names: Vec<String> = (0..rooms).map(|room| format!("room{room}")).collect();
    let query: String = names.iter().map(|name| format!("&room={name}")).collect();
    let publisher = machine.connect(0, &format!("user=p{query}"), Reads::AtOnce);
    machine.settle();
    let rooms: Vec<&str> = names.iter().map(String::as_str).collect();
    burst(&mut machine, &[publisher], &rooms, (count, bytes));
    machine.settle();
    assert_eq!(machine.reader(publisher).seqs("room0").len(), count);
    machine
}

#[test]
fn recovery_is_bounded_in_number_only() {
    for (count, bytes) in [(900, 1_024), (12, 60_000), (1_000, 100)] {
        for reads in [Reads::AtOnce, Reads::BytesPerSecond(200_000)] {
            let mut machine = filled(2, 1, (count, bytes));
            let member = machine.connect(1, "user=r&room=room0&last_received_seq=0", reads);
            // Live messages come behind.
            machine.pass(100);
            let other = machine.connect(0, "user=q&room=room0", Reads::AtOnce);
            machine.settle();
            burst(&mut machine, &[other], &["room0"], (3, 500));
            machine.pass(10_000);
            let what = format!("{count} x {bytes}, {reads:?}");
            check_all_heard(&mut machine, &[member], &["room0"], count as u64 + 3, &what);
            let joined = machine.reader(member).of("joined", "room0").next().expect("it has joined");
            assert_eq!(joined["recovered"], true, "{what}");
            let inside = joined["messages"].as_array().expect("messages").len() as u64;
            let remaining = joined["remaining"].as_u64().unwrap_or(0);
            assert_eq!(inside + remaining, count as u64, "{what}");
        }
    }
}

#[test]
fn a_binary_member_makes_nobody_miss_anything() {
    let mut machine = TimedMachine::new(settings(1, 128 * 1024));
    let binary = "Sec-WebSocket-Protocol: roomring.v1.binary\r\n";
    machine.connect_as(0, "user=b&room=a", binary, Reads::AtOnce);
    let publisher = machine.connect(0, "user=p&room=a", Reads::AtOnce);
    machine.settle();
    burst(&mut machine, &[publisher], &["a"], (20, 20_000));
    machine.settle();
    let json = machine.connect(0, "user=r&room=a&last_received_seq=0", Reads::AtOnce);
    let other = machine.connect_as(0, "user=c&room=a&last_received_seq=0", binary, Reads::AtOnce);
    machine.settle();
    check_all_heard(&mut machine, &[json], &["a"], 20, "beside a binary member");
    assert_eq!(machine.reader(json).of("joined", "a").next().expect("joined")["recovered"], true);
    let heard = &machine.reader(other).binary;
    let at = heard.iter().position(|message| message.starts_with(&129_u32.to_le_bytes())).expect("joined");
    assert_eq!(heard[at][20], 1, "recovered");
    assert_eq!(heard[at][21..25], 20_u32.to_le_bytes(), "the number counts all");
    let seqs: Vec<u8> =
        heard[at + 1..].iter().filter(|message| message.starts_with(&131_u32.to_le_bytes())).map(|m| m[4]).collect();
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
}

#[test]
fn many_rooms_at_once_are_all_filled() {
    let mut machine = filled(2, 128, (50, 500));
    let query: String = (0..128).map(|room| format!("&room=room{room}")).collect();
    let resume = |machine: &mut TimedMachine, at: At| {
        for room in 0..128 {
            let join = format!(r#"{{"type":"join","id":{room},"room":"room{room}","last_received_seq":30}}"#);
            machine.say(at, &join);
        }
    };
    for reads in [Reads::AtOnce, Reads::BytesPerSecond(1_000_000)] {
        let history = machine.connect(0, "user=h", Reads::AtOnce);
        let member = machine.connect(1, "user=r", Reads::AtOnce);
        machine.settle();
        machine.reader(history).reads = reads;
        machine.reader(member).reads = reads;
        for room in 0..128 {
            machine.say(history, &format!(r#"{{"type":"join","id":{room},"room":"room{room}","history":50}}"#));
        }
        resume(&mut machine, member);
        machine.pass(15_000);
        for (at, first) in [(history, 1), (member, 31)] {
            let reader = machine.reader(at);
            assert_eq!(reader.closed, None);
            for room in 0..128 {
                let room = format!("room{room}");
                assert_eq!(reader.seqs(&room), (first..=50).collect::<Vec<_>>(), "{reads:?} {room}");
                assert_eq!(reader.of("joined", &room).next().expect("joined")["recovered"], first > 1);
            }
        }
    }
    assert!(query.len() < 8_192);
}

#[test]
fn a_query_for_many_rooms_is_answered_whole() {
    let mut machine = TimedMachine::new({
        let mut settings = settings(2, 128 * 1024);
        Arc::make_mut(&mut settings.rooms).history_on_join = 50;
        settings
    });
    let query: String = (0..128).map(|room| format!("&room=r{room}")).collect();
    let publisher = machine.connect(0, &format!("user=p{query}"), Reads::AtOnce);
    machine.settle();
    let names: Vec<String> = (0..128).map(|room| format!("r{room}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    burst(&mut machine, &[publisher], &names, (50, 500));
    machine.settle();
    let member = machine.connect(1, &format!("user=m{query}"), Reads::BytesPerSecond(2_000_000));
    machine.pass(10_000);
    check_all_heard(&mut machine, &[member], &names, 50, "128 rooms by query");
    assert_eq!(machine.reader(member).heard[0]["type"], "welcome");
}
