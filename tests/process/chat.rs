//! Chat in the real server with its embedded store: created rooms, roles, invites, receipts, sessions (PROTOCOL sections 2
//! and 3), and what of them outlives a restart.

use serde_json::{Value, json};

use crate::client::{Arrived, Client};
use crate::durable::DataDirectory;
use crate::http;
use crate::server::Server;

fn stop(mut server: Server) {
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr.get());
}

/// A private room of alice's, and an invite to it.
fn private_room(alice: &mut Client, room: &str, uses: u64) -> String {
    let made = alice.request(json!({"type": "create_room", "room": room, "visibility": "private", "title": "Ours"}));
    assert_eq!(
        (&made["type"], &made["role"], &made["title"]),
        (&json!("room"), &json!("owner"), &json!("Ours")),
        "{made}"
    );
    let invite = alice.request(json!({"type": "invite", "room": room, "max_uses": uses, "ttl_s": 600}));
    assert!(invite["expires_at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{invite}");
    invite["code"].as_str().expect("an invite has a code").to_owned()
}

#[test]
fn a_private_room_is_joined_by_invite_and_its_members_outlive_a_restart() {
    let data = DataDirectory::new("chat-invite");
    let server = data.start("store", &["server.cores=2"]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    let mut carol = Client::connect(&server, "carol");
    let code = private_room(&mut alice, "den", 1);
    assert_eq!(alice.join("den")["role"], "owner");
    bob.refused(json!({"type": "join", "room": "den"}), "forbidden");
    bob.refused(json!({"type": "join", "room": "den", "invite": "wrong"}), "invite_invalid");
    let joined = bob.request(json!({"type": "join", "room": "den", "invite": code}));
    assert_eq!((&joined["type"], &joined["role"]), (&json!("joined"), &json!("member")), "{joined}");
    carol.refused(json!({"type": "join", "room": "den", "invite": code}), "invite_invalid");
    carol.refused(json!({"type": "room_info", "room": "den"}), "forbidden");
    alice.publish("den", json!("welcome"));
    assert_eq!(bob.messages("den", 1)[0]["data"], "welcome");
    alice.refused(json!({"type": "create_room", "room": "den", "visibility": "public"}), "room_exists");
    stop(server);

    let server = data.start("store", &[]);
    let mut bob = Client::connect(&server, "bob");
    let mut carol = Client::connect(&server, "carol");
    assert_eq!(bob.join("den")["role"], "member", "a lasting member");
    carol.refused(json!({"type": "join", "room": "den"}), "forbidden");
    let info = bob.request(json!({"type": "room_info", "room": "den"}));
    assert_eq!(
        (&info["members"], &info["head_seq"], &info["visibility"]),
        (&json!(2), &json!(1), &json!("private")),
        "{info}"
    );
    let rooms = bob.request(json!({"type": "list_rooms"}));
    assert_eq!(rooms["rooms"], json!([{"room": "den", "role": "member", "head_seq": 1, "read_seq": 0, "unread": 1}]));
}

#[test]
fn roles_say_who_may_do_what() {
    let data = DataDirectory::new("chat-roles");
    let server = data.start("store", &["server.cores=2"]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    let code = private_room(&mut alice, "den", 5);
    alice.join("den");
    bob.request(json!({"type": "join", "room": "den", "invite": code}));
    bob.refused(json!({"type": "invite", "room": "den"}), "forbidden");
    bob.refused(json!({"type": "kick", "room": "den", "user": "alice"}), "forbidden");
    bob.refused(json!({"type": "delete_room", "room": "den"}), "forbidden");
    alice.refused(json!({"type": "set_role", "room": "den", "user": "alice", "role": "member"}), "forbidden");
    let given = alice.request(json!({"type": "set_role", "room": "den", "user": "bob", "role": "admin"}));
    assert_eq!((&given["type"], &given["role"]), (&json!("role"), &json!("admin")), "{given}");
    assert_eq!(bob.request(json!({"type": "invite", "room": "den"}))["type"], "invite");
    bob.refused(json!({"type": "set_role", "room": "den", "user": "bob", "role": "owner"}), "forbidden");
    assert_eq!(alice.request(json!({"type": "kick", "room": "den", "user": "bob"}))["type"], "kicked");
    let left = bob.expect("left");
    assert_eq!((&left["room"], &left["reason"]), (&json!("den"), &json!("kicked")));
    bob.refused(json!({"type": "join", "room": "den"}), "forbidden");
}

#[test]
fn a_deleted_room_is_told_and_another_comes_after_it() {
    let data = DataDirectory::new("chat-delete");
    let server = data.start("store", &["server.cores=2"]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    alice.request(json!({"type": "create_room", "room": "den", "visibility": "public"}));
    let epoch = alice.join("den")["epoch"].clone();
    bob.join("den");
    alice.publish("den", json!("gone soon"));
    assert_eq!(alice.request(json!({"type": "delete_room", "room": "den"}))["type"], "room_deleted");
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.expect("left")["reason"], "room_deleted");
    }
    bob.refused(json!({"type": "publish", "room": "den", "data": 1}), "not_joined");
    alice.refused(json!({"type": "room_info", "room": "den"}), "room_not_found");
    let again = bob.join("den");
    assert_eq!((&again["seq"], &again["messages"]), (&json!(0), &json!([])), "{again}");
    assert_ne!(again["epoch"], epoch);
    assert!(again["role"].is_null(), "{again}");
}

#[test]
fn receipts_are_told_kept_and_counted() {
    let data = DataDirectory::new("chat-receipts");
    let server = data.start("store", &["server.cores=2"]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    let mut binary = Client::open(server.listen, "/ws?user=eve", Some("roomring.v1.binary"));
    let code = private_room(&mut alice, "den", 5);
    alice.join("den");
    bob.request(json!({"type": "join", "room": "den", "invite": code}));
    alice.request(json!({"type": "set_role", "room": "den", "user": "eve", "role": "member"}));
    binary.send_message(crate::client::command(1, &[b"den"]));
    binary.op(129);
    for index in 1..=5 {
        alice.publish("den", json!(index));
    }
    let kept = bob.request(json!({"type": "receipt", "room": "den", "seq": 3}));
    assert_eq!((&kept["kind"], &kept["seq"]), (&json!("read"), &json!(3)), "{kept}");
    let told = alice.expect("receipt");
    assert_eq!((&told["user"], &told["kind"], &told["seq"]), (&json!("bob"), &json!("read"), &json!(3)), "{told}");
    let in_binary: Value = loop {
        let push: Value = serde_json::from_slice(&binary.op(136)).expect("a push is JSON");
        if push["type"] == "receipt" {
            break push;
        }
    };
    assert_eq!(in_binary["seq"], 3);
    assert_eq!(bob.request(json!({"type": "receipt", "room": "den", "seq": 2}))["seq"], 3, "it never falls");
    assert_eq!(bob.request(json!({"type": "receipt", "room": "den", "seq": 99}))["seq"], 5, "cut to the head");
    stop(server);
    let server = data.start("store", &[]);
    let mut bob = Client::connect(&server, "bob");
    let rooms = bob.request(json!({"type": "list_rooms"}));
    assert_eq!((&rooms["rooms"][0]["read_seq"], &rooms["rooms"][0]["unread"]), (&json!(5), &json!(0)), "{rooms}");
}

#[test]
fn a_session_is_resumed_after_a_kill_and_only_by_its_user() {
    let data = DataDirectory::new("chat-resume");
    let server = data.start("store", &["server.cores=2"]);
    let mut alice = Client::connect(&server, "alice");
    let session = alice.welcome["session"].clone();
    let (one, two) = (alice.join("one")["epoch"].clone(), alice.join("two")["epoch"].clone());
    alice.publish("one", json!("seen"));
    alice.publish("one", json!("missed"));
    let mut killed = server;
    killed.signal("KILL");
    killed.wait();

    let server = data.start("store", &["server.cores=1"]);
    let mut eve = Client::connect(&server, "eve");
    let positions = json!({"one": {"seq": 1, "epoch": one}, "two": {"seq": 0, "epoch": two}});
    eve.refused(json!({"type": "resume", "session": session, "positions": positions}), "session_unknown");
    let mut alice = Client::connect(&server, "alice");
    let resumed = alice.request(json!({"type": "resume", "session": session, "positions": positions}));
    let mut rooms: Vec<_> = resumed["rooms"].as_array().expect("rooms").clone();
    rooms.sort_by_key(ToString::to_string);
    assert_eq!(rooms, [json!("one"), json!("two")], "{resumed}");
    for room in ["one", "two"] {
        let joined = alice.json_where("joined", |push| push["type"] == "joined" && push["room"] == room);
        assert!(joined["id"].is_null() && joined["recovered"] == true, "{joined}");
        if room == "one" {
            assert_eq!(joined["messages"][0]["data"], "missed");
        }
    }
    alice.refused(json!({"type": "resume", "session": "0123", "positions": {}}), "session_unknown");
}

#[test]
fn without_a_store_rooms_have_roles_until_the_process_ends() {
    let server = Server::start(&["server.cores=2"]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    let code = private_room(&mut alice, "den", 1);
    bob.refused(json!({"type": "join", "room": "den"}), "forbidden");
    assert_eq!(bob.request(json!({"type": "join", "room": "den", "invite": code}))["role"], "member");
    assert!(alice.join("open to all")["role"].is_null());
    let session = alice.welcome["session"].clone();
    alice.close();
    let mut alice = Client::connect(&server, "alice");
    let resumed = alice.request(json!({"type": "resume", "session": session, "positions": {}}));
    assert_eq!(resumed["rooms"], json!([]), "{resumed}");
}

#[test]
fn the_server_administers_rooms_too() {
    let data = DataDirectory::new("chat-api");
    let server = data.start("store", &[]);
    let mut alice = Client::connect(&server, "alice");
    private_room(&mut alice, "den", 1);
    alice.join("den");
    let kicked = http::post(server.control, "/api/kick", &json!({"room": "den", "user": "alice"}));
    // The last owner stays, whoever asks.
    assert!(kicked.status == 403 || kicked.status == 409, "{kicked:?}");
    assert!(!alice.kept().any(|arrived| matches!(arrived, Arrived::Json(push) if push["type"] == "left")));
}
