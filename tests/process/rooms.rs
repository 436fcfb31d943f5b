//! Rooms as members see them: order, history, recovery, leaving, publishing (PROTOCOL sections 2, 4.1 to 4.3).

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, eventually};

/// The data of messages, in order.
fn data_of(messages: &[Value]) -> Vec<&Value> {
    messages.iter().map(|message| &message["data"]).collect()
}

/// The numbers of messages, in order.
fn seqs_of(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["seq"].as_u64().expect("a message has a seq")).collect()
}

/// Asserts that nothing of this type arrives before the client's own fence.
fn assert_never_got(client: &mut Client, kind: &str) {
    let pong = client.request(json!({"type": "ping"}));
    assert_eq!(pong["type"], "pong", "{pong}");
    assert!(!client.has_kept(kind), "a {kind} came that should not have: {:?}", client.kept().collect::<Vec<_>>());
}

#[test]
fn a_connection_is_welcomed() {
    let server = Server::start(&["server.node=n1", "server.max_message_bytes=32KiB", "heartbeat.interval=20s"]);
    let alice = Client::connect(&server, "alice");
    let welcome = &alice.welcome;
    assert_eq!(welcome["user"], "alice", "{welcome}");
    assert_eq!(welcome["node"], "n1", "{welcome}");
    assert_eq!(welcome["heartbeat_ms"], 20_000, "{welcome}");
    assert_eq!(welcome["max_message_bytes"], 32 * 1024, "{welcome}");
    for name in ["connection", "session"] {
        assert!(welcome[name].as_str().is_some_and(|id| !id.is_empty()), "{name}: {welcome}");
    }
    let guest = Client::connect_at(&server, "/ws");
    assert!(guest.welcome["user"].as_str().is_some_and(|user| user.starts_with("guest-")), "{}", guest.welcome);
    assert_ne!(guest.welcome["connection"], welcome["connection"]);
    assert_ne!(guest.welcome["session"], welcome["session"]);
}

#[test]
fn receipts_rise_and_rooms_are_described() {
    let server = Server::start(&[]);
    let (mut alice, mut bob) = (Client::connect(&server, "alice"), Client::connect(&server, "bob"));
    alice.join("lobby");
    bob.join("lobby");
    assert_eq!((alice.publish("lobby", json!(1)), alice.publish("lobby", json!(2))), (1, 2));
    let mut receipt = |seq: u64| {
        let reply = bob.request(json!({"type": "receipt", "room": "lobby", "seq": seq}));
        assert_eq!((&reply["type"], &reply["kind"]), (&json!("receipt"), &json!("read")), "{reply}");
        reply["seq"].as_u64()
    };
    assert_eq!([receipt(1), receipt(9), receipt(1)], [Some(1), Some(2), Some(2)]);
    for seq in [1, 2] {
        let expected = json!({"type": "receipt", "room": "lobby", "user": "bob", "kind": "read", "seq": seq});
        assert_eq!(alice.expect("receipt"), expected);
    }
    assert_never_got(&mut alice, "receipt");
    let info = bob.request(json!({"type": "room_info", "room": "lobby"}));
    let told = [&info["type"], &info["visibility"], &info["members"], &info["head_seq"]];
    assert_eq!(told, [&json!("room"), &json!("public"), &json!(2), &json!(2)], "{info}");
    bob.refused(json!({"type": "kick", "room": "lobby", "user": "alice"}), "forbidden");
    assert_eq!(bob.request(json!({"type": "list_rooms"}))["rooms"], json!([]));
}

#[test]
fn members_see_the_same_messages_in_the_same_order() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    let joined = alice.join("lobby");
    assert_eq!((&joined["seq"], &joined["recovered"], &joined["members"]), (&json!(0), &json!(false), &json!(1)));
    assert_eq!(joined["messages"], json!([]));
    assert_eq!(bob.join("lobby")["members"], 2);
    for index in 0..50 {
        alice.send(&json!({"type": "publish", "room": "lobby", "data": {"alice": index}}));
        bob.send(&json!({"type": "publish", "room": "lobby", "data": {"bob": index}}));
    }
    let seen_by_alice = alice.messages("lobby", 100);
    let seen_by_bob = bob.messages("lobby", 100);
    assert_eq!(seen_by_alice, seen_by_bob);
    assert_eq!(seqs_of(&seen_by_alice), (1..=100).collect::<Vec<_>>());
    for user in ["alice", "bob"] {
        let own: Vec<&Value> = seen_by_alice.iter().filter(|message| message["from"] == user).collect();
        let order: Vec<u64> = own.iter().map(|message| message["data"][user].as_u64().expect("a number")).collect();
        assert_eq!(order, (0..50).collect::<Vec<_>>(), "two publishes of one connection keep their order");
    }
    let at = seen_by_bob[0]["at"].as_u64().expect("a message has a time");
    assert!(at > 1_700_000_000_000, "Unix milliseconds: {at}");
}

#[test]
fn data_arrives_as_it_was_written() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    let texts = ["1e400", "1.000", "[ 1 ,  2 ]", r#"{"b":1, "a":"ä\u00e4\ud83d\ude00"}"#, "null", r#""""#, "-0"];
    for text in texts {
        let command = format!(r#"{{"type":"publish","data":{text},"room":"lobby"}}"#);
        alice.send_message(tungstenite::Message::text(command));
    }
    let mut bob = crate::http::open_websocket(server.listen, "/ws?user=bob&room=lobby");
    let joined = crate::http::read_frame_with(&mut bob, "joined");
    for text in texts {
        assert!(joined.contains(&format!(r#""data":{text}"#)), "{text} is not in {joined}");
    }
}

#[test]
fn joining_gives_the_newest_history() {
    let server = Server::start(&["rooms.history_on_join=5", "rooms.history_on_join_max=8"]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    for index in 1..=12 {
        assert_eq!(alice.publish("lobby", json!(index)), index);
    }
    let mut bob = Client::connect(&server, "bob");
    let joined = bob.join("lobby");
    assert_eq!(joined["seq"], 12);
    let messages = joined["messages"].as_array().expect("a list").clone();
    assert_eq!(seqs_of(&messages), [8, 9, 10, 11, 12]);
    assert_eq!(data_of(&messages), [8, 9, 10, 11, 12]);
    let join = |history: u32| json!({"type": "join", "room": "lobby", "history": history});
    assert_eq!(bob.request(join(0))["messages"], json!([]));
    assert_eq!(bob.request(join(8))["messages"].as_array().map(Vec::len), Some(8));
    assert_eq!(bob.request(join(9))["messages"].as_array().map(Vec::len), Some(8), "more than the most is cut to it");
    alice.publish("lobby", json!("live"));
    let live = bob.messages("lobby", 1);
    assert_eq!((seqs_of(&live), data_of(&live)), (vec![13], vec![&json!("live")]));
}

#[test]
fn a_room_of_the_query_is_joined_at_once() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("a room");
    alice.publish("a room", json!(1));
    let mut bob = Client::connect_at(&server, "/ws?user=bob&room=a%20room&room=other");
    let first = bob.expect("joined");
    let second = bob.expect("joined");
    assert_eq!((&first["room"], &first["seq"]), (&json!("a room"), &json!(1)));
    assert_eq!((&second["room"], &second["seq"]), (&json!("other"), &json!(0)));
    assert!(first.get("id").is_none());
    let mut carol = Client::connect_at(&server, "/ws?user=carol&room=a%20room&last_received_seq=0");
    let joined = carol.expect("joined");
    assert_eq!(joined["recovered"], true, "{joined}");
    assert_eq!(joined["messages"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_killed_client_recovers_exactly_what_it_missed() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    alice.join("lobby");
    bob.join("lobby");
    for index in 1..=5 {
        alice.publish("lobby", json!(index));
    }
    let last = bob.messages("lobby", 5).pop().expect("there are five");
    bob.reset();
    for index in 6..=100 {
        alice.publish("lobby", json!(index));
    }
    let epoch = alice.request(json!({"type": "history", "room": "lobby", "limit": 1}))["epoch"].clone();
    let mut again = Client::connect(&server, "bob");
    let from =
        |epoch: &Value| json!({"type": "join", "room": "lobby", "last_received_seq": last["seq"], "epoch": epoch});
    let joined = again.request(from(&epoch));
    assert_eq!((&joined["recovered"], &joined["seq"]), (&json!(true), &json!(100)));
    let missed = joined["messages"].as_array().expect("a list").clone();
    assert_eq!(seqs_of(&missed), (6..=100).collect::<Vec<_>>());
    alice.publish("lobby", json!("live"));
    assert_eq!(seqs_of(&again.messages("lobby", 1)), [101], "no message is missed and none comes twice");

    let other_epoch = again.request(from(&json!("0123456789abcdef")));
    assert_eq!(other_epoch["recovered"], false);
    assert_eq!(seqs_of(other_epoch["messages"].as_array().expect("a list")), (52..=101).collect::<Vec<_>>());
    let above = again.request(json!({"type": "join", "room": "lobby", "last_received_seq": 102, "epoch": epoch}));
    assert_eq!(above["recovered"], false, "what is above the head cannot be recovered");
    let head = again.request(json!({"type": "join", "room": "lobby", "last_received_seq": 101, "epoch": epoch}));
    assert_eq!((&head["recovered"], &head["messages"]), (&json!(true), &json!([])));
}

#[test]
fn recovery_never_shows_a_part_as_the_whole() {
    let server = Server::start(&["rooms.history_size=10", "rooms.history_on_join=3", "rooms.recovery_max=5"]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    for index in 1..=20 {
        alice.publish("lobby", json!(index));
    }
    let from = |seq: u64| json!({"type": "join", "room": "lobby", "last_received_seq": seq});
    assert_eq!(alice.request(from(15))["messages"].as_array().map(Vec::len), Some(5));
    for seq in [14, 9, 0] {
        let joined = alice.request(from(seq));
        assert_eq!(joined["recovered"], false, "{seq}: {joined}");
        assert_eq!(seqs_of(joined["messages"].as_array().expect("a list")), [18, 19, 20], "as without a position");
    }
}

#[test]
fn history_is_read_in_pages() {
    let server = Server::start(&["rooms.history_size=10"]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    for index in 1..=15 {
        alice.publish("lobby", json!(index));
    }
    let mut page = |more: Value| {
        let mut command = json!({"type": "history", "room": "lobby"});
        command.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let reply = alice.request(command);
        assert_eq!(
            (&reply["type"], &reply["first_seq"], &reply["head_seq"]),
            (&json!("history"), &json!(6), &json!(15))
        );
        seqs_of(reply["messages"].as_array().expect("a list"))
    };
    assert_eq!(page(json!({})), (6..=15).collect::<Vec<_>>());
    assert_eq!(page(json!({"limit": 2})), [14, 15]);
    assert_eq!(page(json!({"after": 7, "limit": 3})), [8, 9, 10]);
    assert_eq!(page(json!({"after": 2, "limit": 2})), [6, 7]);
    assert_eq!(page(json!({"before": 9})), [6, 7, 8]);
    assert_eq!(page(json!({"before": 15, "limit": 2})), [13, 14]);
    assert_eq!(page(json!({"after": 15})), [0; 0]);
    for limit in [json!(0), json!(301), json!("x"), json!(-1)] {
        alice.refused(json!({"type": "history", "room": "lobby", "limit": limit}), "bad_command");
    }
}

#[test]
fn a_client_that_has_left_gets_nothing_more() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    alice.join("lobby");
    bob.join("lobby");
    assert_eq!(bob.request(json!({"type": "leave", "room": "lobby"}))["type"], "left");
    alice.publish("lobby", json!("after"));
    assert_never_got(&mut bob, "message");
    for kind in ["leave", "publish", "history", "presence"] {
        bob.refused(json!({"type": kind, "room": "lobby", "data": 1}), "not_joined");
    }
    assert_eq!(bob.join("lobby")["seq"], 1);
}

#[test]
fn rooms_do_not_leak_into_each_other() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    alice.join("one");
    alice.join("two");
    bob.join("two");
    alice.publish("one", json!("secret"));
    alice.publish("two", json!("shared"));
    let first = bob.messages("two", 1);
    assert_eq!(data_of(&first), [&json!("shared")]);
    assert!(!bob.has_kept("message"));
}

#[test]
fn echo_false_spares_only_the_publishing_connection() {
    let server = Server::start(&[]);
    let mut first = Client::connect(&server, "alice");
    let mut second = Client::connect(&server, "alice");
    first.join("lobby");
    second.join("lobby");
    let silent = json!({"type": "publish", "room": "lobby", "data": "silent", "echo": false});
    assert_eq!(first.request(silent)["seq"], 1);
    first.publish("lobby", json!("loud"));
    assert_eq!(seqs_of(&second.messages("lobby", 2)), [1, 2]);
    assert_eq!(seqs_of(&first.messages("lobby", 1)), [2]);
    let page = first.request(json!({"type": "history", "room": "lobby"}));
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2), "it is in history all the same");
}

#[test]
fn ephemeral_messages_have_no_number_and_no_history() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    alice.join("lobby");
    bob.join("lobby");
    let reply = alice.request(json!({"type": "publish", "room": "lobby", "data": {"x": 1}, "ephemeral": true}));
    assert_eq!(reply["type"], "published");
    assert!(reply.get("seq").is_none(), "{reply}");
    let push = bob.expect("ephemeral");
    assert_eq!((&push["room"], &push["from"], &push["data"]), (&json!("lobby"), &json!("alice"), &json!({"x": 1})));
    assert!(push.get("seq").is_none() && push["at"].is_u64(), "{push}");
    assert_eq!(alice.publish("lobby", json!(2)), 1);
    assert_eq!(
        alice.request(json!({"type": "history", "room": "lobby"}))["messages"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_key_is_published_once() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    alice.join("lobby");
    bob.join("lobby");
    let keyed = |data: u32| json!({"type": "publish", "room": "lobby", "data": data, "key": "k1"});
    let first = alice.request(keyed(1));
    assert_eq!((&first["seq"], first.get("duplicate")), (&json!(1), None));
    let mut again = Client::connect(&server, "alice");
    again.join("lobby");
    let second = again.request(keyed(2));
    assert_eq!((&second["seq"], &second["duplicate"], &second["epoch"]), (&json!(1), &json!(true), &first["epoch"]));
    assert_eq!(bob.request(keyed(3))["seq"], 2, "another user's key is another key");
    let seen = bob.messages("lobby", 2);
    assert_eq!(data_of(&seen), [&json!(1), &json!(3)]);
    assert_eq!(seen[0]["key"], "k1");
}

#[test]
fn replies_come_only_to_commands_with_an_id() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(&server, "alice");
    alice.send(&json!({"type": "join", "room": "lobby"}));
    alice.send(&json!({"type": "publish", "room": "lobby", "data": 1}));
    alice.send(&json!({"type": "publish", "room": "elsewhere", "data": 1}));
    let error = alice.expect("error");
    assert_eq!((&error["code"], error.get("id")), (&json!("not_joined"), None));
    assert_never_got(&mut alice, "joined");
    assert_never_got(&mut alice, "published");
    assert_eq!(alice.messages("lobby", 1)[0]["seq"], 1);
}

#[test]
fn an_empty_room_does_not_exist() {
    let server = Server::start(&["rooms.presence_grace=0s"]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("one");
    alice.join("two");
    eventually("both rooms are counted", || (server.stat("rooms") == 2 && server.stat("members") == 2).then_some(()));
    alice.request(json!({"type": "leave", "room": "one"}));
    eventually("the empty room is gone", || (server.stat("rooms") == 1 && server.stat("members") == 1).then_some(()));
    alice.close();
    server.wait_until_empty();
}

fn join(room: &str, id: u64) -> Value {
    json!({"type": "join", "room": room, "id": id})
}

fn leave(room: &str, id: u64) -> Value {
    json!({"type": "leave", "room": room, "id": id})
}

#[test]
fn a_place_is_free_for_the_command_behind_the_leave() {
    for cores in [1, 2] {
        let cores = format!("server.cores={cores}");
        let server = Server::start(&[&cores, "server.pin=false", "limits.rooms_per_connection=1"]);
        let mut alice = Client::connect(&server, "alice");
        alice.join("room0");
        for round in 0..80_u64 {
            let (here, next) = (format!("room{round}"), format!("room{}", round + 1));
            alice.send_at_once(&[leave(&here, 1_000 + round), join(&next, 2_000 + round)]);
            let reply = alice.json_where("the reply", |message| message["id"] == 2_000 + round);
            assert_eq!(reply["type"], "joined", "{cores} round {round}: {reply}");
        }
        let refused = alice.refused(join("elsewhere", 0), "limit_exceeded");
        assert!(refused["message"].as_str().is_some_and(|text| text.contains("(1)")), "{refused}");
    }
}

#[test]
fn a_thousand_joins_and_leaves_at_once_are_done() {
    for cores in [1, 2, 4] {
        let server = Server::start(&[&format!("server.cores={cores}"), "server.pin=false", "limits.command_rate=0"]);
        for rooms in [1, 1_000] {
            let mut alice = Client::connect(&server, "alice");
            let pairs = (0..1_000_u64).flat_map(|index| {
                let room = format!("room{}", index % rooms);
                [join(&room, 2 * index), leave(&room, 2 * index + 1)]
            });
            alice.send_at_once(&pairs.collect::<Vec<_>>());
            for id in 0..2_000 {
                let reply = alice.json_where("the reply", |message| message["id"] == id);
                assert_ne!(reply["type"], "error", "{cores} cores, {rooms} rooms: {reply}");
            }
            alice.close();
        }
        server.wait_until_empty();
    }
}

#[test]
fn a_client_that_leaves_gets_what_it_published_before() {
    for (cores, rate) in [(1, "0"), (2, "0"), (4, "0"), (2, "1000/1s"), (4, "1000/1s")] {
        let rate = format!("limits.message_rate_per_user={rate}");
        let server = Server::start(&[&format!("server.cores={cores}"), "server.pin=false", &rate]);
        let mut alice = Client::connect(&server, "alice");
        for round in 0..40_u64 {
            let room = format!("room{round}");
            let publish = json!({"type": "publish", "room": room, "data": round, "id": 3});
            alice.send_at_once(&[join(&room, 1), publish, leave(&room, 2)]);
            let message = alice.json_where("its own message", |message| message["type"] == "message");
            assert_eq!((&message["room"], &message["data"]), (&json!(room), &json!(round)), "{cores} cores, {rate}");
            alice.json_where("the leave", |message| message["id"] == 2 && message["type"] == "left");
        }
    }
}

#[test]
fn the_others_see_who_is_typing() {
    let server = Server::start(&["server.cores=2"]);
    let mut others: Vec<Client> = (0..6).map(|index| Client::connect(&server, &format!("u{index}"))).collect();
    let mut alice = Client::connect(&server, "alice");
    others.iter_mut().chain([&mut alice]).for_each(|client| drop(client.join("lobby")));
    let mut binary = Client::open(server.listen, "/ws?user=bob&room=lobby", Some("roomring.v1.binary"));
    binary.op(129);
    let typing = |active: bool| json!({"type": "typing", "room": "lobby", "user": "alice", "active": active});
    let answer = alice.request(json!({"type": "typing", "room": "lobby", "active": true}));
    assert_eq!((&answer["type"], &answer["room"]), (&json!("typing"), &json!("lobby")));
    for active in [true, false] {
        for client in &mut others {
            assert_eq!(client.expect("typing"), typing(active), "the server ends what nobody ends");
        }
        let pushed = loop {
            let pushed: Value = serde_json::from_slice(&binary.op(136)).expect("op 136 is JSON");
            if pushed["type"] == "typing" {
                break pushed;
            }
        };
        assert_eq!(pushed, typing(active));
    }
    assert_never_got(&mut alice, "typing");
    alice.refused(json!({"type": "typing", "room": "elsewhere", "active": true}), "not_joined");
    alice.refused(json!({"type": "typing", "room": "lobby"}), "bad_command");
}
