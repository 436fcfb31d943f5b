//! Calls to whole engines, alone and several at once: the answers, and what clients see.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::base::codes::ErrorCode;
use crate::base::ids::{Position, Seq};
use crate::base::limits::{CALL_ENDS_MAX, CALL_SCAN_MAX};
use crate::engine::input::Input;
use crate::engine::machine::Machine;
use crate::engine::placement::owner_of;
use crate::engine::record::{Record, Stretch};
use crate::engine::settings::KeepingMode;
use crate::engine::store_port::StoreEvent;
use crate::engine::store_port::StoreRequest;
use crate::wire::protocol::{Publish, Refusal};
use crate::wire::publication::DataKind;

fn named(room: &str) -> RoomName {
    RoomName::new(room).expect("valid")
}

fn user(name: &str) -> UserName {
    UserName::new(name).expect("valid")
}

fn publish(data: &str) -> Ask {
    publish_with(data, None, false)
}

fn publish_keyed(data: &str, name: &str) -> Ask {
    publish_with(data, Some(name), false)
}

fn publish_with(data: &str, key: Option<&str>, ephemeral: bool) -> Ask {
    let (data, key) = (Bytes::copy_from_slice(data.as_bytes()), key.map(Box::from));
    Ask::Publish(Publish { kind: DataKind::Json, data, key, echo: true, ephemeral })
}

/// The seq, and whether the key was known.
fn published(answer: &CallAnswer) -> (Option<Seq>, bool) {
    let CallAnswer::Room(Answer::Published { seq, duplicate, .. }) = answer else { panic!("{answer:?}") };
    (*seq, *duplicate)
}

fn code(answer: &CallAnswer) -> ErrorCode {
    let CallAnswer::Room(Answer::Refused(refusal)) = answer else { panic!("{answer:?}") };
    refusal.code
}

/// The offset of each part in a text, which must contain all of them in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not behind the others in {text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn the_server_publishes_into_a_room_like_a_member() {
    let mut machine = Machine::new(3);
    for core in 0..3 {
        machine.connect(core, 0, "ann", &["lobby"]);
    }
    machine.settle();
    machine.command(1, 0, r#"{"type":"publish","room":"lobby","data":"first"}"#);
    machine.settle();
    assert_eq!(published(&machine.call_room("lobby", publish(r#"{"n": 1.0}"#))), (Some(2), false));
    machine.command(2, 0, r#"{"type":"publish","room":"lobby","data":"third"}"#);
    machine.settle();
    for core in 0..3 {
        let heard = machine.heard(core, 0);
        let second = r#""seq":2,"from":"server","at":1700000000000,"data":{"n": 1.0}}"#;
        assert_in_order(&heard, &[r#""seq":1,"from":"ann""#, second, r#""seq":3,"from":"ann""#]);
    }
}

#[test]
fn a_key_is_the_servers_own_and_counts_once() {
    let mut machine = Machine::new(2);
    machine.connect(0, 0, "server", &["lobby"]);
    machine.settle();
    assert_eq!(published(&machine.call_room("lobby", publish_keyed("1", "k"))), (Some(1), false));
    assert_eq!(published(&machine.call_room("lobby", publish_keyed("2", "k"))), (Some(1), true));
    assert_eq!(published(&machine.call_room("lobby", publish_keyed("3", "other"))), (Some(2), false));
    assert_eq!(machine.heard(0, 0).matches(r#""type":"message""#).count(), 2);
}

#[test]
fn whoever_joins_later_finds_what_was_published_to_nobody() {
    let mut machine = Machine::new(3);
    assert_eq!(published(&machine.call_room("news", publish("1"))).0, Some(1));
    assert_eq!(published(&machine.call_room("news", publish("2"))).0, Some(2));
    machine.connect(1, 0, "ann", &["news"]);
    machine.settle();
    assert_in_order(&machine.heard(1, 0), &[r#""type":"joined""#, r#""seq":2"#, r#""data":1"#, r#""data":2"#]);
    let CallAnswer::Room(Answer::Summary(summary)) = machine.call_room("news", Ask::Summary) else {
        panic!("no summary")
    };
    assert_eq!((summary.members, summary.connections, summary.head.seq), (1, 1, 2));
}

#[test]
fn ephemeral_messages_go_to_those_who_are_there() {
    let mut machine = Machine::new(2);
    machine.connect(1, 0, "ann", &["lobby"]);
    machine.settle();
    let ask = publish_with("5", None, true);
    assert_eq!(published(&machine.call_room_as("bot", "lobby", ask.clone())), (None, false));
    assert_in_order(&machine.heard(1, 0), &[r#""type":"ephemeral","room":"lobby","from":"bot""#]);
    assert_eq!(published(&machine.call_room("empty", ask)), (None, false));
    assert_eq!(code(&machine.call_room("empty", Ask::Summary)), ErrorCode::RoomNotFound);
}

#[test]
fn pages_of_a_room_are_those_of_its_members() {
    let mut machine = Machine::new(2);
    for slot in 0..3 {
        machine.connect(1, slot, &format!("u{slot}"), &["lobby"]);
    }
    machine.settle();
    for data in 1..=4 {
        machine.call_room("lobby", publish(&data.to_string()));
    }
    let history = |after, before| Ask::History { after, before, limit: 2 };
    let mut seqs = |ask| {
        let CallAnswer::Room(Answer::History { head, first_seq, messages }) = machine.call_room("lobby", ask) else {
            panic!("no page")
        };
        assert_eq!((head.seq, first_seq), (4, 1));
        messages.iter().map(|message| message.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(history(None, None)), [3, 4]);
    assert_eq!(seqs(history(Some(1), None)), [2, 3]);
    assert_eq!(seqs(history(None, Some(3))), [1, 2]);
    let mut members = |after: Option<&str>| {
        let ask = Ask::Presence { after: after.map(Box::from), limit: 2 };
        let CallAnswer::Room(Answer::Presence { total, users }) = machine.call_room("lobby", ask) else {
            panic!("no page")
        };
        assert_eq!(total, 3);
        users.iter().map(|user| user.user.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(members(None), ["u0", "u1"]);
    assert_eq!(members(Some("u1")), ["u2"]);
}

#[test]
fn what_a_room_does_not_have_is_refused() {
    let mut machine = Machine::with(1, |_, rooms| {
        rooms.presence = false;
        rooms.history_size = 0;
    });
    let history = Ask::History { after: None, before: None, limit: 1 };
    let members = Ask::Presence { after: None, limit: 1 };
    for ask in [history.clone(), members.clone(), Ask::Summary] {
        assert_eq!(code(&machine.call_room("lobby", ask)), ErrorCode::RoomNotFound);
    }
    machine.connect(0, 0, "ann", &["lobby"]);
    machine.settle();
    assert_eq!(code(&machine.call_room("lobby", history)), ErrorCode::HistoryUnavailable);
    assert_eq!(code(&machine.call_room("lobby", members)), ErrorCode::Forbidden);
    let CallAnswer::Room(Answer::Summary(summary)) = machine.call_room("lobby", Ask::Summary) else {
        panic!("no summary")
    };
    assert_eq!(summary.members, 1, "connections stand for users");
}

#[test]
fn with_a_store_a_publish_is_answered_when_it_is_committed() {
    let mut machine = Machine::with(1, |settings, _| settings.keeping = KeepingMode::Commit);
    let token = machine.ask_room("lobby", publish("1"));
    let late = machine.ask_room("lobby", Ask::Summary);
    machine.settle();
    let Some(StoreRequest::Load { epoch, .. }) = machine.store.pop() else { panic!("the room is opened first") };
    assert!(machine.answers.is_empty());
    let head = Some(Position { epoch, seq: 0 });
    let stretch = Stretch { head, records: Vec::new() };
    machine.handle(
        0,
        Input::Store(StoreEvent::Loaded {
            attempt: 0,
            room: named("lobby"),
            stretch,
            first_seq: 1,
            keys: Vec::new(),
            created: None,
        }),
    );
    machine.settle();
    assert!(matches!(&machine.store[..], [StoreRequest::Append { record: Record { seq: 1, .. }, .. }]));
    assert!(!machine.answers.contains_key(&token), "not before it is on disk");
    assert_eq!(
        code(&machine.answers.remove(&late).expect("answered")),
        ErrorCode::RoomNotFound,
        "nothing is there yet"
    );
    machine.handle(0, Input::Store(StoreEvent::Committed { attempt: 0, room: named("lobby"), epoch, seq: 1 }));
    machine.settle();
    assert_eq!(published(&machine.answers.remove(&token).expect("answered")), (Some(1), false));
    let failing = machine.ask_room("lobby", publish("2"));
    machine.settle();
    let failed = StoreEvent::Failed { attempt: 0, room: named("lobby"), epoch, seq: 2, retry_after_ms: 700 };
    machine.handle(0, Input::Store(failed));
    machine.settle();
    let answer = machine.answers.remove(&failing).expect("answered");
    assert!(
        matches!(
            answer,
            CallAnswer::Room(Answer::Refused(Refusal { code: ErrorCode::Unavailable, retry_after_ms: Some(700), .. }))
        ),
        "{answer:?}"
    );
}

fn kick(machine: &mut Machine, room: &str, name: &str) -> u32 {
    let mut kicked = 0;
    for core in 0..machine.engines.len() as u16 {
        let call = Call::Kick { room: named(room), user: user(name), from: 0 };
        let CallAnswer::Ended { count, next: None } = machine.call(core, call) else { panic!("not done in one") };
        kicked += count;
    }
    kicked
}

#[test]
fn a_kicked_user_is_told_and_gets_nothing_more() {
    let mut machine = Machine::new(3);
    for core in 0..3 {
        machine.connect(core, 0, "bob", &["lobby", "other"]);
        machine.connect(core, 1, "ann", &["lobby"]);
    }
    machine.connect(1, 2, "bob", &["other"]);
    machine.settle();
    machine.call_room("lobby", publish("1"));
    assert_eq!(kick(&mut machine, "lobby", "bob"), 3);
    machine.call_room("lobby", publish("2"));
    machine.call_room("other", publish("3"));
    for core in 0..3 {
        let bob = machine.heard(core, 0);
        let left = r#"{"type":"left","room":"lobby","reason":"kicked"}"#;
        assert_in_order(&bob, &[r#""data":1}"#, left, r#""data":3}"#]);
        assert!(!bob.contains(r#""data":2}"#), "{bob}");
        assert_eq!(bob.matches(left).count(), 1);
        let ann = machine.heard(core, 1);
        assert!(ann.contains(r#""data":2}"#) && !ann.contains("kicked"), "{ann}");
    }
    assert!(!machine.heard(1, 2).contains("kicked"));
    assert_eq!(kick(&mut machine, "lobby", "bob"), 0, "he is not there any more");
    machine.command(2, 0, r#"{"type":"publish","room":"lobby","data":1,"id":1}"#);
    machine.settle();
    assert!(machine.heard(2, 0).contains("not_joined"));
    machine.command(2, 0, r#"{"type":"join","room":"lobby","id":2}"#);
    machine.settle();
    machine.call_room("lobby", publish("4"));
    assert_in_order(&machine.heard(2, 0), &[r#""type":"joined","id":2"#, r#""data":4}"#]);
}

#[test]
fn a_join_that_is_under_way_is_answered_before_it_is_undone() {
    let mut machine = Machine::new(2);
    let home = 1 - owner_of("lobby", 2).0;
    machine.connect(home, 0, "bob", &[]);
    machine.settle();
    machine.heard(home, 0);
    // Neither the join nor what follows has left the core when the next call comes.
    machine.command(home, 0, r#"{"type":"join","room":"lobby","id":1}"#);
    let token = machine.ask(home, Call::Kick { room: named("lobby"), user: user("bob"), from: 0 });
    machine.command(home, 0, r#"{"type":"join","room":"lobby","id":2}"#);
    let again = machine.ask(home, Call::Kick { room: named("lobby"), user: user("bob"), from: 0 });
    machine.settle();
    for token in [token, again] {
        assert!(matches!(machine.answers.remove(&token), Some(CallAnswer::Ended { count: 1, next: None })));
    }
    let kicked = r#""reason":"kicked""#;
    let heard = machine.heard(home, 0);
    assert_in_order(&heard, &[r#""type":"joined","id":1"#, kicked, r#""type":"joined","id":2"#, kicked]);
    machine.call_room("lobby", publish("1"));
    assert_eq!(machine.heard(home, 0), "");
    let CallAnswer::Room(Answer::Summary(summary)) = machine.call_room("lobby", Ask::Summary) else {
        panic!("no summary")
    };
    assert_eq!(summary.connections, 0);
    machine.pass(3_000);
    let CallAnswer::Room(Answer::Summary(summary)) = machine.call_room("lobby", Ask::Summary) else {
        panic!("no summary")
    };
    assert_eq!(summary.members, 0, "after the grace he is gone");
}

#[test]
fn a_kick_beside_a_leave_is_each_answered() {
    let mut machine = Machine::new(2);
    let home = 1 - owner_of("lobby", 2).0;
    machine.connect(home, 0, "bob", &["lobby"]);
    machine.settle();
    machine.heard(home, 0);
    machine.command(home, 0, r#"{"type":"leave","room":"lobby","id":1}"#);
    let token = machine.ask(home, Call::Kick { room: named("lobby"), user: user("bob"), from: 0 });
    machine.settle();
    assert!(
        matches!(machine.answers.remove(&token), Some(CallAnswer::Ended { count: 0, next: None })),
        "he left himself"
    );
    let heard = machine.heard(home, 0);
    assert!(heard.contains(r#"{"type":"left","id":1,"room":"lobby"}"#) && !heard.contains("kicked"), "{heard}");
}

#[test]
fn connections_are_closed_by_user_and_by_id() {
    let mut machine = Machine::new(2);
    for slot in 0..3 {
        machine.connect(1, slot, if slot == 1 { "ann" } else { "bob" }, &["lobby"]);
    }
    machine.settle();
    let list = |machine: &mut Machine, name: Option<&str>| {
        let call = Call::Connections { from: 0, limit: 10, order: ConnOrder::Slot, user: name.map(user), room: None };
        let CallAnswer::Connections { connections, next: None } = machine.call(1, call) else { panic!("no page") };
        connections
    };
    let bobs = list(&mut machine, Some("bob"));
    assert_eq!(bobs.iter().map(|conn| conn.conn.slot).collect::<Vec<_>>(), [0, 2]);
    machine.heard.clear();
    let one = |conn, reason: Option<&str>| Call::Disconnect {
        whom: Whom::Connection(conn),
        from: 0,
        reason: reason.map(Box::from),
    };
    let earlier = ConnId { generation: bobs[0].conn.generation.wrapping_sub(1), ..bobs[0].conn };
    for (conn, expected) in [(earlier, 0), (bobs[0].conn, 1), (bobs[0].conn, 0)] {
        let answer = machine.call(1, one(conn, Some("spam")));
        assert!(matches!(answer, CallAnswer::Ended { count, next: None } if count == expected), "{answer:?}");
    }
    let close = |reason: &str| {
        let payload = [&4403_u16.to_be_bytes(), reason.as_bytes()].concat();
        String::from_utf8_lossy(&[&[0x88, payload.len() as u8], &payload[..]].concat()).into_owned()
    };
    assert_eq!(machine.heard(1, 0), close("spam"));
    // Earlier messages are flushed before the close frame.
    machine.ask_room("lobby", publish("1"));
    let all = Call::Disconnect { whom: Whom::User(user("bob")), from: 0, reason: None };
    assert!(matches!(machine.call(1, all), CallAnswer::Ended { count: 1, next: None }));
    let heard = machine.heard(1, 2);
    assert!(heard.ends_with(&close("forbidden")), "{heard}");
    assert_eq!(list(&mut machine, None).len(), 1, "those that close are not listed");
}

#[test]
fn one_call_ends_so_many_and_tells_where_to_go_on() {
    let mut machine = Machine::new(1);
    let count = CALL_ENDS_MAX * 2 + 10;
    for slot in 0..count {
        machine.connect(0, slot, "bob", &["lobby"]);
    }
    machine.settle();
    let run = |machine: &mut Machine, call: &dyn Fn(u32) -> Call| {
        let (mut from, mut counts) = (Some(0), Vec::new());
        while let Some(place) = from {
            let CallAnswer::Ended { count, next } = machine.call(0, call(place)) else { panic!("another answer") };
            counts.push(count);
            from = next;
        }
        counts
    };
    let kicked = run(&mut machine, &|from| Call::Kick { room: named("lobby"), user: user("bob"), from });
    assert_eq!(kicked, [CALL_ENDS_MAX, CALL_ENDS_MAX, 10]);
    let whom = Whom::User(user("bob"));
    let closed = run(&mut machine, &|from| Call::Disconnect { whom: whom.clone(), from, reason: None });
    assert_eq!(closed, [CALL_ENDS_MAX, CALL_ENDS_MAX, 10]);
    assert_eq!(machine.engines[0].open_slots(), count as usize, "they close once their peers have answered");
}

fn all_connections(machine: &mut Machine, limit: u32, room: Option<&str>) -> Vec<Vec<u32>> {
    let (mut from, mut pages) = (Some(0), Vec::new());
    while let Some(place) = from {
        let room = room.map(named);
        let call = Call::Connections { from: place, limit, order: ConnOrder::Slot, user: None, room };
        let CallAnswer::Connections { connections, next } = machine.call(0, call) else { panic!("no page") };
        pages.push(connections.iter().map(|conn| conn.conn.slot).collect());
        from = next;
    }
    pages
}

#[test]
fn connections_are_listed_in_bounded_runs() {
    let mut machine = Machine::new(1);
    let count = CALL_SCAN_MAX + 10;
    for slot in 0..count {
        machine.connect(0, slot, "ann", if slot % 1_000 == 5 { &["rare"] } else { &[] });
    }
    machine.settle();
    let pages = all_connections(&mut machine, 1_000, None);
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, 58]);
    assert_eq!(pages.concat(), (0..count).collect::<Vec<_>>());
    assert_eq!(all_connections(&mut machine, 2, Some("rare")), [vec![5, 1_005], vec![2_005]]);
    assert_eq!(all_connections(&mut machine, 2, Some("none")), [[0_u32; 0]]);
}

#[test]
fn laggards_come_first() {
    let mut machine = Machine::new(1);
    for slot in 0..4 {
        machine.connect(0, slot, &format!("u{slot}"), &["lobby"]);
    }
    machine.settle();
    // Sends of different sizes that the kernel has not taken.
    for (slot, bytes) in [(1, 300), (3, 900), (2, 600)] {
        let command = format!(r#"{{"type":"publish","room":"none","id":1,"x":"{}"}}"#, "x".repeat(bytes));
        for _ in 0..=slot {
            machine.command(0, slot, &command);
        }
    }
    let call = |limit| Call::Connections { from: 0, limit, order: ConnOrder::Queued, user: None, room: None };
    let token = machine.ask(0, call(3));
    let answer = machine.outputs[0].answers.pop().expect("answered at once");
    let (answered, CallAnswer::Connections { connections, next: None }) = answer else { panic!("no page") };
    assert_eq!(answered, token);
    assert_eq!(connections.iter().map(|conn| conn.conn.slot).collect::<Vec<_>>(), [3, 2, 1]);
    assert!(connections.windows(2).all(|pair| pair[0].queued_bytes > pair[1].queued_bytes), "{connections:?}");
    let [first, ..] = &connections[..] else { panic!("three") };
    assert_eq!((&*first.user, first.rooms, first.form, first.away), ("u3", 1, Form::Json, false));
    assert_eq!((first.stats.messages_received, first.silent_ms < 100), (4, true));
}

fn list_rooms(machine: &mut Machine, from: u32, limit: u32, order: RoomOrder) -> (Vec<RoomSummary>, Option<u32>) {
    let CallAnswer::Rooms { rooms, next } = machine.call(0, Call::Rooms { from, limit, order }) else {
        panic!("no page")
    };
    (rooms, next)
}

#[test]
fn rooms_that_stay_are_listed_once_whatever_comes_and_goes() {
    let mut machine = Machine::with(1, |_, rooms| rooms.presence_grace_ms = 0);
    for index in 0..400 {
        machine.connect(0, index, "ann", &[&format!("goes-{index}")]);
        machine.call_room(&format!("stays-{index}"), publish("1"));
    }
    machine.settle();
    let (mut from, mut seen, mut round) = (Some(0), Vec::new(), 0);
    while let Some(place) = from {
        let (rooms, next) = list_rooms(&mut machine, place, 37, RoomOrder::Place);
        assert!(rooms.len() == 37 || next.is_none());
        seen.extend(rooms.into_iter().map(|room| room.room.to_string()));
        from = next;
        for index in (round * 15..round * 15 + 15).filter(|index| *index < 400) {
            machine.handle(0, Input::Disconnected { slot: index });
            machine.call_room(&format!("new-{index}"), publish("1"));
        }
        machine.pass(200);
        round += 1;
    }
    let stays: Vec<&String> = seen.iter().filter(|room| room.starts_with("stays")).collect();
    assert_eq!((stays.len(), stays.iter().collect::<BTreeSet<_>>().len()), (400, 400));
    assert!(round > 400 / 37, "it took several pages");
}

#[test]
fn the_busiest_rooms_are_found_run_by_run() {
    let mut machine = Machine::with(1, |_, rooms| rooms.history_size = 100);
    for index in 0..CALL_SCAN_MAX + 50 {
        machine.call_room(&format!("r{index:04}"), publish("1"));
    }
    machine.pass(11_000);
    for slot in 0..3 {
        let rooms = if slot == 0 { &["r0010", "r2090"][..] } else { &["r0010"] };
        machine.connect(0, slot, &format!("u{slot}"), rooms);
    }
    for _ in 0..50 {
        machine.call_room("r0020", publish("1"));
        machine.pass(100);
    }
    let (top, next) = list_rooms(&mut machine, 0, 2, RoomOrder::Members);
    let name = |room: &RoomSummary| (room.room.to_string(), room.members);
    assert_eq!(top.iter().map(name).collect::<Vec<_>>(), [("r0010".into(), 3), ("r0000".into(), 0)]);
    assert_eq!(next, Some(CALL_SCAN_MAX));
    let (top, next) = list_rooms(&mut machine, CALL_SCAN_MAX, 1, RoomOrder::Members);
    assert_eq!((top.iter().map(name).collect::<Vec<_>>(), next), (vec![("r2090".into(), 1)], None));
    let (top, _) = list_rooms(&mut machine, 0, 1, RoomOrder::Rate);
    assert_eq!(name(&top[0]).0, "r0020");
    assert_eq!(top[0].rate_milli, 5_000, "50 messages in the last 10 s");
    machine.pass(20_000);
    assert_eq!(list_rooms(&mut machine, 0, 1, RoomOrder::Rate).0[0].rate_milli, 0);
}
