//! Joining and leaving on machines of one core and of several: places, order, and what is owed to whoever leaves.

use crate::base::ids::{CoreId, UserName};
use crate::base::limits::{LANE_HOPS_MAX, UNANSWERED_MAX};
use crate::engine::call::{Call, CallAnswer};
use crate::engine::input::Input;
use crate::engine::machine::Machine;
use crate::engine::placement::owner_of;
use crate::engine::rates::Rate;
use crate::wire::client::client_frame;
use crate::wire::frame::Opcode;

fn join(room: &str) -> String {
    format!(r#"{{"type":"join","room":"{room}","id":1}}"#)
}

fn leave(room: &str) -> String {
    format!(r#"{{"type":"leave","room":"{room}","id":2}}"#)
}

fn publish(room: &str) -> String {
    format!(r#"{{"type":"publish","room":"{room}","data":"mine","id":3}}"#)
}

fn count(heard: &str, kind: &str) -> usize {
    heard.matches(&format!(r#""type":"{kind}""#)).count()
}

/// Rooms that a core of `cores` owns.
fn rooms_of(core: u16, cores: u16, count: usize) -> Vec<String> {
    let names = (0..).map(|index| format!("room{index}"));
    names.filter(|name| owner_of(name, cores) == CoreId(core)).take(count).collect()
}

/// Memberships of all connections.
fn memberships(machine: &Machine) -> u64 {
    machine.engines.iter().map(|engine| engine.counters.members.get()).sum()
}

fn kick(machine: &mut Machine, room: &str, user: &str) {
    let user = UserName::new(user).expect("valid");
    let room = crate::base::ids::RoomName::new(room).expect("valid");
    let token = machine.ask(0, Call::Kick { room, user, from: 0 });
    let Some(CallAnswer::Ended { count: 1, .. }) = machine.outputs[0].answers.pop().map(|(_, answer)| answer) else {
        panic!("call {token} puts nobody out")
    };
}

#[test]
fn a_place_is_free_for_the_command_behind_the_leave() {
    for cores in [1, 2, 4] {
        for (first, second) in (0..cores).flat_map(|one| (0..cores).map(move |other| (one, other))) {
            let mut machine = Machine::with(cores, |settings, _| settings.rooms_per_connection = 1);
            machine.connect(0, 0, "ann", &[]);
            let [first, second] = [first, second].map(|core| rooms_of(core, cores, 2));
            let mut commands = vec![join(&first[0])];
            for _ in 0..40 {
                commands.extend([leave(&first[0]), join(&second[1]), leave(&second[1]), join(&first[0])]);
            }
            machine.segment(0, 0, &commands);
            machine.command(0, 0, &join(&second[1]));
            machine.settle();
            let heard = machine.heard(0, 0);
            assert_eq!((count(&heard, "joined"), count(&heard, "left")), (81, 80), "{cores} cores: {heard}");
            assert_eq!(count(&heard, "error"), 1, "the last one is one too many: {heard}");
            assert!(heard.contains("maximum number of rooms (1)"), "{heard}");
            assert_eq!(memberships(&machine), 1);
        }
    }
}

#[test]
fn a_place_is_free_after_an_expulsion_and_after_a_refused_join() {
    for cores in [1, 2, 4] {
        let mut machine = Machine::with(cores, |settings, _| settings.rooms_per_connection = 1);
        machine.connect(0, 0, "ann", &["a"]);
        machine.settle();
        kick(&mut machine, "a", "ann");
        machine.command(0, 0, &join("b"));
        machine.settle();
        let heard = machine.heard(0, 0);
        assert_eq!((count(&heard, "joined"), count(&heard, "error")), (2, 0), "{cores} cores: {heard}");
        assert!(heard.contains(r#""reason":"kicked""#));
        machine.segment(0, 0, &[leave("b"), join("@bob"), join("c")]);
        machine.settle();
        let heard = machine.heard(0, 0);
        assert!(count(&heard, "joined") == 1 && heard.contains("inboxes cannot be joined"), "{heard}");
    }
}

#[test]
fn an_expelled_member_gets_nothing_more_until_it_joins_again() {
    for cores in [1, 2, 4] {
        let mut machine = Machine::new(cores);
        machine.connect(0, 0, "ann", &["a"]);
        machine.settle();
        machine.heard(0, 0);
        // On its way to the owner is a publish, then the expulsion, then a join and another publish.
        machine.command(0, 0, &publish("a"));
        kick(&mut machine, "a", "ann");
        machine.segment(0, 0, &[join("a"), publish("a")]);
        machine.settle();
        let heard = machine.heard(0, 0);
        assert_eq!((count(&heard, "joined"), count(&heard, "published"), count(&heard, "left")), (1, 2, 1), "{heard}");
        let last = heard.rfind(r#""type":"message","room":"a","seq":2"#).expect("its second one");
        assert!(last > heard.find(r#""type":"joined""#).expect("joined"), "{heard}");
    }
}

#[test]
fn a_thousand_joins_and_leaves_at_once_are_done() {
    for cores in [1, 2, 4] {
        for rooms in [1, 2, 1_000] {
            let mut machine = Machine::with(cores, |settings, _| settings.rooms_per_connection = 128);
            machine.connect(0, 0, "ann", &[]);
            let pairs = (0..1_000).map(|index| format!("room{}", index % rooms));
            let commands: Vec<_> = pairs.flat_map(|room| [join(&room), leave(&room)]).collect();
            machine.segment(0, 0, &commands);
            machine.settle();
            let heard = machine.heard(0, 0);
            let answers = ["joined", "left", "error"].map(|kind| count(&heard, kind));
            assert_eq!(answers, [1_000, 1_000, 0], "{cores} cores, {rooms} rooms");
            assert_eq!(memberships(&machine), 0);
        }
    }
}

#[test]
fn what_is_unanswered_is_bounded_and_nothing_of_it_stays() {
    for rooms in [1, 20_000] {
        let mut machine = Machine::new(2);
        machine.connect(0, 0, "ann", &[]);
        machine.held_lanes.insert((1, 0));
        let rooms = rooms_of(1, 2, rooms);
        for round in 0..100 {
            let names = (0..100).map(|index| &rooms[(round * 100 + index) % rooms.len()]);
            let commands: Vec<_> = names.flat_map(|room| [join(room), leave(room)]).collect();
            machine.segment(0, 0, &commands);
            machine.settle();
            assert!(memberships(&machine) <= UNANSWERED_MAX as u64);
        }
        let heard = machine.heard(0, 0);
        assert!(heard.contains(r#""code":"overloaded""#) && !heard.contains("limit_exceeded"), "{heard}");
        machine.held_lanes.clear();
        machine.settle();
        let heard = machine.heard(0, 0);
        let pairs = UNANSWERED_MAX / 2;
        assert_eq!((count(&heard, "joined"), count(&heard, "left")), (pairs, pairs));
        assert_eq!(memberships(&machine), 0);
    }
}

#[test]
fn whoever_leaves_gets_what_it_published_before() {
    let rates = [None, Rate::new(100, 1_000)];
    for (cores, rate) in [1, 2, 4].into_iter().flat_map(|cores| rates.map(|rate| (cores, rate))) {
        for owner in 0..cores {
            let mut machine = Machine::with(cores, |settings, _| settings.limits.message_rate_per_user = rate);
            machine.connect(0, 0, "ann", &[]);
            machine.settle();
            machine.heard(0, 0);
            let room = &rooms_of(owner, cores, 1)[0];
            machine.segment(0, 0, &[join(room), publish(room), publish(room), leave(room)]);
            machine.settle();
            let heard = machine.heard(0, 0);
            let kinds = ["joined", "message", "published", "left", "error"].map(|kind| count(&heard, kind));
            assert_eq!(kinds, [1, 2, 2, 1, 0], "{cores} cores, owner {owner}, rate {rate:?}: {heard}");
            assert!(heard.rfind(r#""type":"message""#) < heard.find(r#""type":"left""#), "{heard}");
        }
    }
}

#[test]
fn a_closed_connection_makes_way_for_the_next() {
    for cores in [1, 2, 4] {
        let mut machine = Machine::with(cores, |settings, _| {
            settings.limits.connections_per_user = 1;
            settings.limits.connections_per_ip = 1;
        });
        machine.connect(0, 0, "ann", &["a"]);
        machine.settle();
        for round in 1..40 {
            let (home, next) = ((round - 1) % cores, round % cores);
            let slot = u32::from(round);
            let mut close = client_frame(Opcode::Close, &1000_u16.to_be_bytes(), [1, 2, 3, 4]);
            machine.handle(home, Input::Received { slot: slot - 1, bytes: &mut close });
            machine.settle();
            machine.connect(next, slot, "ann", &["a"]);
            machine.settle();
            let heard = machine.heard(next, slot);
            assert!(heard.contains(r#""type":"joined""#), "{cores} cores: {heard}");
        }
    }
}

#[test]
fn leaves_that_meet_a_full_lane_are_kept_and_done() {
    let (cores, connections) = (2, 150);
    let mut machine = Machine::with(cores, |settings, rooms| {
        settings.limits.connections_per_user = 1;
        settings.limits.connections_per_ip = 100_000;
        rooms.presence_grace_ms = 0;
    });
    let rooms = rooms_of(1, cores, 128);
    for slot in 0..connections {
        machine.connect(0, slot, &format!("u{slot}"), &[]);
        machine.segment(0, slot, &rooms.iter().map(|room| join(room)).collect::<Vec<_>>());
        machine.settle();
    }
    assert_eq!(memberships(&machine), u64::from(connections) * 128);
    machine.pass(1_000);
    machine.heard.clear();
    machine.held_lanes.insert((0, 1));
    // Some leave by command, and are gone all the same when the rest closes.
    for slot in 0..connections {
        if slot % 3 == 0 {
            machine.segment(0, slot, &rooms.iter().map(|room| leave(room)).collect::<Vec<_>>());
        } else {
            machine.handle(0, Input::Disconnected { slot });
        }
        machine.settle();
        machine.pass(100);
    }
    let staged = machine.engines[0].outbound.staged(CoreId(1));
    assert!(staged <= LANE_HOPS_MAX + 1, "{staged} hops are staged");
    // Nothing overtakes them.
    machine.connect(0, 1_000, "zoe", &[]);
    machine.command(0, 1_000, &join(&rooms[0]));
    machine.settle();
    let heard = machine.heard(0, 1_000);
    assert!(heard.contains("503 ") || heard.contains("overloaded"), "{heard}");
    machine.held_lanes.clear();
    machine.pass(3_000);
    for slot in (0..connections).step_by(3) {
        let heard = machine.heard(0, slot);
        assert_eq!(count(&heard, "left"), 128, "slot {slot}: {heard:.300}");
    }
    assert_eq!(memberships(&machine), 0);
    assert_eq!(machine.engines[1].counters.rooms_held.get(), 0, "the owner has heard of all of them");
    for slot in (0..connections).step_by(3).chain([1_000]) {
        if !machine.closed.contains(&(0, slot)) {
            machine.handle(0, Input::Disconnected { slot });
        }
    }
    machine.pass(1_000);
    let limiters: usize = machine.engines.iter().map(|engine| engine.counted()).sum();
    assert_eq!(limiters, 0, "whoever counted them has heard of all of them");
    assert_eq!(machine.engines[0].home.late.due_us, None);
}

#[test]
fn states_that_flap_have_one_hop_in_a_turn_and_none_beyond_the_lane() {
    let (cores, connections) = (2, 150);
    let mut machine = Machine::with(cores, |_, rooms| rooms.presence_grace_ms = 0);
    let rooms = rooms_of(1, cores, 128);
    let status = |away| format!(r#"{{"type":"status","status":"{}"}}"#, if away { "away" } else { "online" });
    for slot in 0..connections {
        machine.connect(0, slot, &format!("u{slot}"), &[]);
        machine.segment(0, slot, &rooms.iter().map(|room| join(room)).collect::<Vec<_>>());
        machine.settle();
    }
    machine.held_lanes.insert((0, 1));
    let flaps: Vec<_> = (0..501).map(|index| status(index % 2 == 0)).collect();
    machine.segment(0, 0, &flaps);
    machine.settle();
    assert_eq!(machine.engines[0].outbound.staged(CoreId(1)), 128);
    for round in 0..3 {
        for slot in 0..connections {
            machine.segment(0, slot, &[status(round % 2 == 1), status(round % 2 == 0)]);
        }
        machine.settle();
        machine.pass(100);
        assert!(machine.engines[0].outbound.staged(CoreId(1)) <= LANE_HOPS_MAX);
    }
    machine.held_lanes.clear();
    machine.pass(2_500);
    machine.heard.clear();
    machine.connect(1, 0, "zoe", &[]);
    machine.segment(1, 0, &rooms.iter().map(|room| join(room)).collect::<Vec<_>>());
    let page = |room: &String| format!(r#"{{"type":"presence","room":"{room}","id":4}}"#);
    machine.segment(1, 0, &rooms.iter().map(page).collect::<Vec<_>>());
    machine.settle();
    let heard = machine.heard(1, 0);
    let away = heard.matches(r#""status":"away","connections":1"#).count();
    assert_eq!(away, 128 * connections as usize, "each owner knows the newest state of each member");
    assert_eq!(machine.engines[0].home.late.due_us, None);
}

#[test]
fn a_status_is_known_to_the_command_behind_it() {
    for cores in [1, 2, 4] {
        let mut machine = Machine::new(cores);
        machine.connect(0, 0, "ann", &["a"]);
        machine.settle();
        let status = r#"{"type":"status","status":"away"}"#.to_owned();
        let page = r#"{"type":"presence","room":"a","id":4}"#.to_owned();
        let back = r#"{"type":"status","status":"online"}"#.to_owned();
        machine.segment(0, 0, &[status, page, back, leave("a"), join("a")]);
        machine.command(0, 0, r#"{"type":"presence","room":"a","id":5}"#);
        machine.settle();
        let heard = machine.heard(0, 0);
        let pages: Vec<_> = heard.match_indices(r#""connections":1"#).map(|(at, _)| &heard[at - 10..at]).collect();
        assert!(pages.len() == 2 && pages[0].contains("away") && pages[1].contains("online"), "{heard}");
    }
}

#[test]
fn a_status_counts_as_a_command_in_each_room() {
    let mut machine = Machine::with(1, |settings, _| settings.limits.command_rate = Rate::new(100, 1_000));
    machine.connect(0, 0, "ann", &[]);
    let rooms: Vec<_> = (0..64).map(|index| join(&format!("room{index}"))).collect();
    machine.segment(0, 0, &rooms);
    let status = |away| format!(r#"{{"type":"status","status":"{}","id":5}}"#, if away { "away" } else { "online" });
    machine.segment(0, 0, &[status(true), status(true), status(false), status(true)]);
    machine.settle();
    let heard = machine.heard(0, 0);
    // Of two hundred, 64 are spent on joins, 64 on each change, one on what changed nothing; 7 are left.
    assert_eq!(heard.matches(r#""type":"status","id":5"#).count(), 3, "{heard}");
    assert_eq!(heard.matches("rate_limited").count(), 1, "{heard}");
    machine.pass(600);
    machine.command(0, 0, &status(true));
    machine.settle();
    assert!(machine.heard(0, 0).contains(r#""status":"away""#), "there are 64 again");
}
