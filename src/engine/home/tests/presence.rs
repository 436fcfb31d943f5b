//! What members are told about who is in a room, whatever their outboxes hold.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::engine::machine::Machine;
use crate::engine::settings::SlowPolicy;

/// The statuses told to a slot, the last of each user; and whether a total came after them.
fn told(heard: &str) -> (BTreeMap<String, String>, Option<u64>) {
    let (mut users, mut total) = (BTreeMap::new(), None);
    for (at, _) in heard.match_indices(r#"{"type":"status","room""#) {
        let mut values = serde_json::Deserializer::from_str(&heard[at..]).into_iter::<Value>();
        let push = values.next().expect("a value").expect("valid");
        match push["total"].as_u64() {
            Some(number) => {
                users.clear();
                total = Some(number);
            }
            None => {
                let word = |field: &str| push[field].as_str().expect("a word").to_owned();
                users.insert(word("user"), word("status"));
            }
        }
    }
    (users, total)
}

fn status(away: bool) -> String {
    format!(r#"{{"type":"status","status":"{}"}}"#, if away { "away" } else { "online" })
}

/// A machine on which slot 0 of core 0 takes nothing more and has a full outbox.
fn with_a_stalled_member(cores: u16, policy: SlowPolicy, names_max: usize) -> Machine {
    let mut machine = Machine::with(cores, |settings, rooms| {
        settings.outbox_bytes = 2_048;
        rooms.slow_policy = policy;
        rooms.presence_names_max = names_max;
        rooms.presence_grace_ms = 0;
    });
    machine.connect(0, 0, "ann", &["a"]);
    for slot in 1..5 {
        machine.connect(cores - 1, slot, &format!("u{slot}"), &["a"]);
    }
    machine.settle();
    machine.pass(1_500);
    machine.heard(0, 0);
    machine.held_sockets.insert((0, 0));
    for id in 0..40 {
        machine.command(0, 0, &format!(r#"{{"type":"ping","id":{id}}}"#));
        machine.settle();
    }
    machine
}

#[test]
fn a_status_that_had_no_room_is_told_later_and_closes_nobody() {
    for policy in [SlowPolicy::Disconnect, SlowPolicy::Skip, SlowPolicy::Latest] {
        for cores in [1, 2] {
            let mut machine = with_a_stalled_member(cores, policy, 1_000);
            for round in 0..6 {
                for slot in 1..5 {
                    machine.command(cores - 1, slot, &status(round % 2 == 0 || slot == 4));
                }
                machine.pass(1_000);
            }
            machine.command(cores - 1, 3, r#"{"type":"leave","room":"a"}"#);
            machine.pass(1_000);
            assert!(machine.engines[0].home.uninformed.members.len() == 1, "{policy:?}");
            machine.let_socket_go(0, 0);
            machine.pass(1_000);
            let (users, _) = told(&machine.heard(0, 0));
            let expected = [("u1", "online"), ("u2", "online"), ("u3", "offline"), ("u4", "away")];
            let expected = expected.map(|(user, status)| (user.to_owned(), status.to_owned()));
            assert_eq!(users, BTreeMap::from(expected), "{policy:?}, {cores} cores");
            assert!(machine.closed.is_empty() && machine.outputs[0].ended.is_empty(), "{policy:?}");
            let home = &machine.engines[0].home;
            assert!(
                home.uninformed.members.is_empty()
                    && home.audiences.find("a").is_some_and(|index| { home.audiences.at(index).missed.is_none() })
            );
        }
    }
}

#[test]
fn a_total_that_had_no_room_is_told_later() {
    let mut machine = with_a_stalled_member(2, SlowPolicy::Skip, 3);
    for slot in 5..9 {
        machine.connect(1, slot, &format!("u{slot}"), &["a"]);
        machine.pass(1_000);
    }
    machine.let_socket_go(0, 0);
    machine.pass(1_000);
    assert_eq!(told(&machine.heard(0, 0)), (BTreeMap::new(), Some(9)));
}

#[test]
fn whoever_leaves_misses_nothing_and_leaves_nothing_charged() {
    for leaves in [true, false] {
        let mut machine = with_a_stalled_member(2, SlowPolicy::Skip, 1_000);
        let used = machine.engines[0].budget.used();
        machine.command(1, 1, &status(true));
        machine.pass(1_000);
        assert!(machine.engines[0].budget.used() > used, "what is kept for it is charged");
        if leaves {
            machine.command(0, 0, r#"{"type":"leave","room":"a"}"#);
            machine.settle();
        } else {
            machine.handle(0, crate::engine::input::Input::Disconnected { slot: 0 });
        }
        assert!(machine.engines[0].home.uninformed.members.is_empty());
        machine.pass(1_000);
        machine.handle(0, crate::engine::input::Input::Disconnected { slot: 0 });
        for slot in 1..5 {
            machine.handle(1, crate::engine::input::Input::Disconnected { slot });
        }
        machine.pass(3_000);
        let used: Vec<_> = machine.engines.iter().map(|engine| engine.budget.used()).collect();
        assert_eq!(used, [0, 0]);
    }
}

#[test]
fn a_page_and_what_follows_it_are_the_truth() {
    for cores in [1, 2, 4] {
        let mut machine = Machine::with(cores, |_, rooms| rooms.presence_grace_ms = 0);
        machine.connect(0, 0, "ann", &["a"]);
        machine.connect(cores - 1, 1, "bob", &["a"]);
        machine.settle();
        machine.pass(1_500);
        machine.command(cores - 1, 1, &status(true));
        machine.settle();
        machine.heard(0, 0);
        machine.command(0, 0, r#"{"type":"presence","room":"a","id":1}"#);
        machine.settle();
        let page = machine.heard(0, 0);
        assert!(page.contains(r#""user":"bob","status":"away""#), "{page}");
        machine.command(cores - 1, 1, &status(false));
        machine.settle();
        machine.pass(1_000);
        let (users, _) = told(&machine.heard(0, 0));
        assert_eq!(users.get("bob").map(String::as_str), Some("online"), "{cores} cores");
    }
}

#[test]
fn a_thousand_joins_of_a_full_room_do_not_flood_it() {
    let mut machine = Machine::with(1, |_, rooms| rooms.history_size = 0);
    for slot in 0..1_001 {
        machine.connect(0, slot, &format!("u{slot}"), &["a"]);
        if slot % 100 == 0 {
            machine.settle();
        }
    }
    machine.pass(1_500);
    machine.heard.clear();
    for slot in 1_001..2_001 {
        machine.connect(0, slot, &format!("u{slot}"), &["a"]);
        if slot % 100 == 0 {
            machine.pass(100);
        }
    }
    machine.pass(1_500);
    let bytes: usize = (0..1_001).map(|slot| machine.heard(0, slot).len()).sum();
    assert!(bytes < 1 << 20, "{bytes} bytes for those who were there");
}
