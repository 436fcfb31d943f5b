//! Sessions that are resumed, and the list of a user's rooms; a small model is the store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::tokens::{keys, token};
use crate::base::limits::{ASK_TIMEOUT_MS, ASKS_WAITING_MAX};
use crate::engine::access::Renewal;
use crate::engine::input::Input;
use crate::engine::kept::{KeptAnswer, KeptAsk};
use crate::engine::kept_model::{KeptModel, said};
use crate::engine::machine::Machine;
use crate::engine::store_port::StoreEvent;

fn machine(rooms_max: u32) -> (Machine, KeptModel) {
    let machine = Machine::with(2, |settings, rooms| {
        (settings.rooms_are_administered, settings.rooms_per_connection) = (true, rooms_max);
        rooms.presence = false;
    });
    (machine, KeptModel::default())
}

/// Connects a user; the session that `welcome` names.
fn connect(machine: &mut Machine, store: &mut KeptModel, (core, slot): (u16, u32), query: &str) -> String {
    machine.connect(core, slot, query, &[]);
    store.serve(machine);
    let welcome = said(machine, core, slot).remove(0);
    welcome["session"].as_str().expect("a session").to_owned()
}

fn send(machine: &mut Machine, store: &mut KeptModel, (core, slot): (u16, u32), command: &Value) -> Vec<Value> {
    machine.command(core, slot, &command.to_string());
    store.serve(machine);
    said(machine, core, slot)
}

fn resume(session: &str, positions: Value) -> Value {
    json!({"type": "resume", "id": 1, "session": session, "positions": positions})
}

#[test]
fn a_session_goes_on_where_the_client_was() {
    let (mut machine, mut store) = machine(0);
    let session = connect(&mut machine, &mut store, (0, 1), "ann");
    connect(&mut machine, &mut store, (1, 2), "bob");
    for room in ["a", "b"] {
        for place in [(0, 1), (1, 2)] {
            send(&mut machine, &mut store, place, &json!({"type": "join", "room": room}));
        }
    }
    machine.handle(0, Input::Disconnected { slot: 1 });
    for data in 1..=3 {
        send(&mut machine, &mut store, (1, 2), &json!({"type": "publish", "room": "a", "data": data}));
    }
    connect(&mut machine, &mut store, (1, 5), "ann");
    let positions = json!({"a": {"seq": 1}, "b": {"seq": 4, "epoch": "00000000000000ff"}, "@ann": {"seq": 1}});
    let mut heard = send(&mut machine, &mut store, (1, 5), &resume(&session, positions));
    assert_eq!(heard[0], json!({"type": "resumed", "id": 1, "rooms": ["a", "b"]}));
    // The rooms are of different cores.
    heard[1..].sort_by_key(|joined| joined["room"].as_str().map(str::to_owned));
    let [a, b] = &heard[1..] else { panic!("a joined for each room: {heard:?}") };
    assert_eq!(
        (&a["type"], &a["room"], &a["recovered"], a.get("id")),
        (&json!("joined"), &json!("a"), &json!(true), None)
    );
    let seqs: Vec<&Value> = a["messages"].as_array().expect("a list").iter().map(|message| &message["seq"]).collect();
    assert_eq!(seqs, [2, 3]);
    assert_eq!((&b["room"], &b["recovered"]), (&json!("b"), &json!(false)), "another numbering");
    send(&mut machine, &mut store, (1, 2), &json!({"type": "publish", "room": "a", "data": 4}));
    assert_eq!(said(&mut machine, 1, 5)[0]["seq"], 4);
}

#[test]
fn only_a_session_of_the_same_user_is_resumed() {
    let (mut machine, mut store) = machine(0);
    let session = connect(&mut machine, &mut store, (0, 1), "ann");
    connect(&mut machine, &mut store, (0, 2), "bob");
    let other = session.replace(|digit: char| digit != '7', "7");
    for unknown in [&session, &other, "", "x", &session[1..], &format!("+{}", &session[1..])] {
        let heard = send(&mut machine, &mut store, (0, 2), &resume(unknown, json!({"a": {"seq": 0}})));
        assert_eq!((heard.len(), &heard[0]["code"]), (1, &json!("session_unknown")), "{unknown}");
    }
    let heard = send(&mut machine, &mut store, (0, 1), &resume(&session, json!({})));
    assert_eq!(heard, [json!({"type": "resumed", "id": 1, "rooms": []})], "also while it is open");
    let mut alone = Machine::new(1);
    alone.connect(0, 1, "ann", &[]);
    alone.settle();
    alone.command(0, 1, &resume(&session, json!({})).to_string());
    alone.settle();
    assert_eq!(said(&mut alone, 0, 1).last().expect("an answer")["code"], "session_unknown", "there is no store");
}

#[test]
fn tokens_and_limits_apply_again() {
    let (mut machine, mut store) = machine(2);
    let one = keys("secret", 0, Renewal::None);
    for core in 0..2 {
        machine.handle(core, Input::Keys(Arc::clone(&one)));
    }
    let query = |rooms: Value| format!("x&token={}", token(1_000, json!({"rooms": rooms})));
    let session = connect(&mut machine, &mut store, (0, 1), &query(json!(["*"])));
    connect(&mut machine, &mut store, (0, 2), &query(json!(["a*"])));
    send(&mut machine, &mut store, (0, 2), &json!({"type": "join", "room": "a1"}));
    let at = json!({"seq": 0});
    let positions = json!({"a1": at, "a2": at, "a3": at, "b": at});
    let heard = send(&mut machine, &mut store, (0, 2), &resume(&session, positions));
    assert_eq!(heard[0]["rooms"], json!(["a1", "a2"]), "one is joined already, and one more has a place");
    assert_eq!(heard[1..].iter().filter(|heard| heard["type"] == "joined").count(), 2);
    assert_eq!(heard.len(), 3);
}

#[test]
fn a_silent_store_is_waited_for_in_bounds() {
    let (mut machine, mut store) = machine(0);
    let session = connect(&mut machine, &mut store, (0, 1), "ann");
    let before = machine.engines[0].budget.used();
    machine.command(0, 1, &resume(&session, json!({"a": {"seq": 0}})).to_string());
    machine.settle();
    let (token, ask) = machine.asks.pop().expect("asked");
    assert!(matches!(ask, KeptAsk::FindSession { .. }) && !machine.engines[0].is_settled());
    machine.pass(ASK_TIMEOUT_MS);
    let heard = said(&mut machine, 0, 1);
    assert_eq!((&heard[0]["code"], heard[0].get("retry_after_ms").is_some()), (&json!("unavailable"), true));
    machine.handle(0, Input::Store(StoreEvent::Answered { token, answer: KeptAnswer::Session(None) }));
    machine.settle();
    assert!(said(&mut machine, 0, 1).is_empty() && machine.engines[0].is_settled());
    assert_eq!(machine.engines[0].budget.used(), before);
    for _ in 0..ASKS_WAITING_MAX {
        machine.command(0, 1, r#"{"type":"list_rooms"}"#);
    }
    machine.command(0, 1, r#"{"type":"list_rooms","id":7}"#);
    machine.settle();
    assert_eq!(said(&mut machine, 0, 1)[0]["code"], "overloaded");
    machine.handle(0, Input::Disconnected { slot: 1 });
    store.serve(&mut machine);
    assert!(machine.engines[0].is_settled(), "answers for nobody");
}

#[test]
fn a_user_lists_the_rooms_of_which_it_is_a_member() {
    let (mut machine, mut store) = machine(0);
    connect(&mut machine, &mut store, (0, 1), "ann");
    let listed = |machine: &mut Machine, store: &mut KeptModel, more: Value| {
        let mut command = json!({"type": "list_rooms", "id": 1});
        command.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let heard = send(machine, store, (0, 1), &command);
        assert_eq!((heard.len(), &heard[0]["type"], &heard[0]["id"]), (1, &json!("rooms"), &json!(1)));
        heard[0]["rooms"].clone()
    };
    assert_eq!(listed(&mut machine, &mut store, json!({})), json!([]));
    for room in ["c", "a", "b"] {
        let create = json!({"type": "create_room", "room": room, "visibility": "public"});
        send(&mut machine, &mut store, (0, 1), &create);
    }
    let entry = |room: &str| json!({"room": room, "role": "owner", "head_seq": 9, "read_seq": 0, "unread": 9});
    assert_eq!(listed(&mut machine, &mut store, json!({"limit": 2})), json!([entry("a"), entry("b")]));
    assert_eq!(listed(&mut machine, &mut store, json!({"limit": 2, "after": "b"})), json!([entry("c")]));
    let mut alone = Machine::new(1);
    alone.connect(0, 1, "ann", &[]);
    alone.command(0, 1, r#"{"type":"list_rooms","id":1}"#);
    alone.settle();
    assert_eq!(said(&mut alone, 0, 1)[1], json!({"type": "rooms", "id": 1, "rooms": []}), "there is no store");
}
