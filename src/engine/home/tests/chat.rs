//! Rooms that are created, with members and roles, by the commands of connections; a small model is the store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::tokens::{keys, token};
use crate::base::chat::Visibility;
use crate::engine::access::Renewal;
use crate::engine::call::CallAnswer;
use crate::engine::input::Input;
use crate::engine::kept_model::{KeptModel, said};
use crate::engine::machine::Machine;
use crate::engine::settings::CreationPolicy;
use crate::wire::protocol::{Answer, Ask};

/// A machine of two cores with its store, and connections that are named by their users.
struct Chat {
    machine: Machine,
    store: KeptModel,
    users: Vec<&'static str>,
}

impl Chat {
    fn new(users: &[&'static str]) -> Self {
        let machine = Machine::with(2, |settings, rooms| {
            settings.rooms_are_administered = true;
            (rooms.presence, rooms.numbering_ttl_ms) = (false, 60_000);
        });
        let mut chat = Self { machine, store: KeptModel::default(), users: users.to_vec() };
        for user in users {
            let (core, slot) = chat.place(user);
            chat.machine.connect(core, slot, user, &[]);
        }
        chat.store.serve(&mut chat.machine);
        for user in users {
            chat.heard(user);
        }
        chat
    }

    fn place(&self, user: &str) -> (u16, u32) {
        let at = self.users.iter().position(|own| *own == user).expect("connected");
        (at as u16 % 2, at as u32)
    }

    fn heard(&mut self, user: &str) -> Vec<Value> {
        let (core, slot) = self.place(user);
        said(&mut self.machine, core, slot)
    }

    /// Sends commands in one segment; what the user hears of it.
    fn send(&mut self, user: &str, commands: &[Value]) -> Vec<Value> {
        let (core, slot) = self.place(user);
        let commands: Vec<String> = commands.iter().map(Value::to_string).collect();
        self.machine.segment(core, slot, &commands);
        self.store.serve(&mut self.machine);
        self.heard(user)
    }

    /// Sends a command about the room `den`; its reply.
    fn ask(&mut self, user: &str, kind: &str, more: Value) -> Value {
        let mut command = json!({"type": kind, "id": 1, "room": "den"});
        command.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let heard = self.send(user, &[command]);
        let replies: Vec<&Value> = heard.iter().filter(|heard| heard["id"] == 1).collect();
        assert_eq!(replies.len(), 1, "{user} {kind}: {heard:?}");
        replies[0].clone()
    }

    fn code(&mut self, user: &str, kind: &str, more: Value) -> String {
        let reply = self.ask(user, kind, more);
        assert_eq!(reply["type"], "error", "{reply}");
        reply["code"].as_str().expect("a code").to_owned()
    }

    fn create(&mut self, user: &str, visibility: &str) {
        let reply = self.ask(user, "create_room", json!({"visibility": visibility, "title": "The den"}));
        assert_eq!(
            reply,
            json!({"type": "room", "id": 1, "room": "den", "visibility": visibility, "role": "owner",
                "title": "The den"})
        );
    }

    fn join(&mut self, user: &str) -> Value {
        self.ask(user, "join", json!({}))
    }
}

#[test]
fn a_public_room_lets_anyone_in_and_tells_members_their_role() {
    let mut chat = Chat::new(&["ann", "bob"]);
    chat.create("ann", "public");
    assert_eq!(chat.code("bob", "create_room", json!({"visibility": "public"})), "room_exists");
    let joined = chat.join("ann");
    assert_eq!((&joined["type"], &joined["role"]), (&json!("joined"), &json!("owner")));
    let joined = chat.join("bob");
    assert_eq!((&joined["type"], joined.get("role"), &joined["members"]), (&json!("joined"), None, &json!(2)));
    chat.ask("bob", "publish", json!({"data": 1}));
    let described = |role: Option<&str>| {
        let mut info = json!({"type": "room", "id": 1, "room": "den", "visibility": "public", "title": "The den",
            "members": 1, "head_seq": 1});
        if let Some(role) = role {
            info["role"] = json!(role);
        }
        info
    };
    assert_eq!(chat.ask("ann", "room_info", json!({})), described(Some("owner")));
    assert_eq!(chat.ask("bob", "room_info", json!({})), described(None), "one lasting member");
    assert_eq!(
        chat.ask("ann", "set_role", json!({"user": "bob", "role": "admin"})),
        json!({"type": "role", "id": 1, "room": "den", "user": "bob", "role": "admin"})
    );
    assert_eq!(chat.join("bob")["role"], "admin", "the next join says so");
    assert_eq!(chat.code("ann", "set_role", json!({"user": "ann", "role": "member"})), "forbidden", "the last owner");
}

#[test]
fn a_private_room_takes_an_invite() {
    let mut chat = Chat::new(&["ann", "bob", "eve"]);
    chat.create("ann", "private");
    for kind in ["join", "room_info"] {
        assert_eq!(chat.code("bob", kind, json!({})), "forbidden", "{kind}");
    }
    assert_eq!(chat.code("bob", "publish", json!({"data": 1})), "not_joined");
    assert_eq!(chat.code("bob", "invite", json!({})), "forbidden");
    let invite = chat.ask("ann", "invite", json!({"max_uses": 1, "ttl_s": 60}));
    let code = invite["code"].as_str().expect("a code").to_owned();
    assert_eq!((&invite["type"], code.len()), (&json!("invite"), 32));
    assert_eq!(invite["expires_at"], chat.machine.now.unix_ms + 60_000);
    assert_ne!(chat.ask("ann", "invite", json!({}))["code"], code);
    assert_eq!(chat.code("bob", "join", json!({"invite": "nonsense"})), "invite_invalid");
    assert_eq!(chat.ask("bob", "join", json!({"invite": code}))["role"], "member");
    assert_eq!(chat.code("eve", "join", json!({"invite": code})), "invite_invalid", "it is used up");
    assert_eq!(chat.ask("bob", "room_info", json!({}))["members"], 2);
    chat.ask("bob", "leave", json!({}));
    assert_eq!(chat.join("bob")["role"], "member", "a lasting member needs no invite");
}

#[test]
fn joins_wait_in_order_with_what_is_sent_behind_them() {
    let mut chat = Chat::new(&["ann", "bob"]);
    let heard = chat.send(
        "ann",
        &[
            json!({"type": "create_room", "id": 1, "room": "den", "visibility": "private"}),
            json!({"type": "join", "id": 2, "room": "den"}),
            json!({"type": "publish", "id": 3, "room": "den", "data": 1, "echo": false}),
            json!({"type": "invite", "id": 4, "room": "den"}),
            json!({"type": "presence", "id": 5, "room": "den"}),
            json!({"type": "leave", "id": 6, "room": "den"}),
            json!({"type": "delete_room", "id": 7, "room": "den"}),
            json!({"type": "join", "id": 8, "room": "den"}),
        ],
    );
    let kinds: Vec<_> = heard.iter().map(|heard| (heard["id"].as_u64(), heard["type"].as_str())).collect();
    let expected = ["room", "joined", "published", "invite", "error", "left", "room_deleted", "joined"];
    let expected: Vec<_> = (1..).zip(expected).map(|(id, kind)| (Some(id), Some(kind))).collect();
    assert_eq!(kinds, expected);
    assert_eq!((&heard[1]["role"], &heard[1]["seq"]), (&json!("owner"), &json!(0)));
    assert_eq!((heard[7].get("role"), &heard[7]["seq"]), (None, &json!(0)), "another room");
    assert_ne!(heard[1]["epoch"], heard[7]["epoch"]);
}

#[test]
fn who_is_kicked_leaves_at_once_and_returns_by_invite_only() {
    let mut chat = Chat::new(&["ann", "bob", "eve"]);
    chat.create("ann", "private");
    chat.ask("ann", "set_role", json!({"user": "bob", "role": "member"}));
    chat.ask("ann", "set_role", json!({"user": "eve", "role": "admin"}));
    for user in ["ann", "bob", "eve"] {
        chat.join(user);
    }
    assert_eq!(chat.code("bob", "kick", json!({"user": "eve"})), "forbidden");
    assert_eq!(chat.code("eve", "kick", json!({"user": "ann"})), "forbidden");
    assert_eq!(
        chat.ask("eve", "kick", json!({"user": "bob"})),
        json!({"type": "kicked", "id": 1, "room": "den", "user": "bob"})
    );
    assert_eq!(chat.heard("bob"), [json!({"type": "left", "room": "den", "reason": "kicked"})]);
    assert_eq!(chat.code("bob", "join", json!({})), "forbidden");
    chat.ask("ann", "publish", json!({"data": 1}));
    assert!(chat.heard("bob").is_empty() && chat.heard("eve").len() == 1);
    chat.ask("eve", "kick", json!({"user": "eve"}));
    assert_eq!(chat.code("eve", "publish", json!({"data": 1})), "not_joined", "one may go by oneself");
    let last = chat.ask("ann", "kick", json!({"user": "ann"}));
    assert!(last["message"].as_str().expect("words").contains("without an owner"), "{last}");
    assert_eq!(chat.code("bob", "kick", json!({"user": "ann"})), "forbidden");
}

#[test]
fn a_deleted_room_is_another_one_when_it_comes_back() {
    let mut chat = Chat::new(&["ann", "bob", "eve"]);
    chat.create("ann", "public");
    let epoch = chat.join("ann")["epoch"].clone();
    chat.join("bob");
    chat.join("eve");
    chat.ask("bob", "publish", json!({"data": "old", "key": "k"}));
    chat.heard("ann");
    assert_eq!(chat.code("bob", "delete_room", json!({})), "forbidden");
    let heard = chat.send("ann", &[json!({"type": "delete_room", "id": 1, "room": "den"})]);
    assert_eq!(heard[0], json!({"type": "room_deleted", "id": 1, "room": "den"}));
    let left = json!({"type": "left", "room": "den", "reason": "room_deleted"});
    assert_eq!(heard[1..], *std::slice::from_ref(&left));
    assert_eq!(chat.heard("bob").last(), Some(&left));
    assert_eq!(chat.code("bob", "publish", json!({"data": 1})), "not_joined");
    assert_eq!(chat.code("bob", "room_info", json!({})), "room_not_found");
    let joined = chat.join("bob");
    assert_eq!((&joined["messages"], &joined["seq"], joined.get("role")), (&json!([]), &json!(0), None));
    assert_ne!(joined["epoch"], epoch);
    let published = chat.ask("bob", "publish", json!({"data": "new", "key": "k"}));
    assert_eq!((&published["seq"], published.get("duplicate")), (&json!(1), None), "its keys are forgotten");
    assert_eq!(chat.heard("ann"), Vec::<Value>::new(), "who was in the old room is not in this one");
    assert_eq!(chat.code("eve", "create_room", json!({"visibility": "public"})), "room_exists", "it has a message");
}

#[test]
fn rooms_that_were_not_created_have_no_roles() {
    let mut chat = Chat::new(&["ann", "bob"]);
    for (kind, more) in [
        ("room_info", json!({})),
        ("delete_room", json!({})),
        ("invite", json!({})),
        ("kick", json!({"user": "bob"})),
        ("set_role", json!({"user": "bob", "role": "member"})),
    ] {
        assert_eq!(chat.code("ann", kind, more), "room_not_found", "{kind}");
    }
    assert_eq!(chat.join("bob").get("role"), None);
    assert_eq!(chat.code("ann", "kick", json!({"user": "bob"})), "forbidden");
    assert_eq!(chat.code("ann", "delete_room", json!({})), "room_not_found");
    assert_eq!(chat.code("ann", "create_room", json!({"visibility": "private"})), "room_exists", "bob is there");
    assert_eq!(chat.code("bob", "join", json!({"invite": "x"})), "invite_invalid");
    assert_eq!(
        chat.ask("ann", "room_info", json!({})),
        json!({"type": "room", "id": 1, "room": "den", "visibility": "public", "title": "", "members": 1,
            "head_seq": 0})
    );
    let heard = chat.send("ann", &[json!({"type": "create_room", "id": 1, "room": "@bob", "visibility": "public"})]);
    assert_eq!(heard[0]["code"], "forbidden", "inboxes are nobody's to create");
    assert!(chat.machine.engines.iter().all(|engine| engine.is_settled()));
}

#[test]
fn the_server_may_do_what_an_owner_may() {
    let mut chat = Chat::new(&["ann", "bob"]);
    let call = |chat: &mut Chat, user: &str, ask: Ask| {
        let (owner, room) = (crate::engine::placement::owner_of("den", 2), crate::base::ids::RoomName::new("den"));
        let from = crate::base::ids::UserName::new(user).expect("valid");
        let call = crate::engine::call::Call::Room { room: room.expect("valid"), from, ask };
        let token = chat.machine.ask(owner.0, call);
        chat.store.serve(&mut chat.machine);
        match chat.machine.answers.remove(&token) {
            Some(CallAnswer::Room(answer)) => answer,
            other => panic!("{other:?}"),
        }
    };
    let create = || Ask::CreateRoom { visibility: Visibility::Private, title: "".into() };
    assert!(matches!(call(&mut chat, "ann", create()), Answer::Room(_)));
    assert!(matches!(call(&mut chat, "ann", create()), Answer::Refused(_)));
    assert_eq!(chat.join("ann")["role"], "owner");
    let bob = crate::base::ids::UserName::new("bob").expect("valid");
    let role = crate::base::chat::Role::Owner;
    assert!(matches!(call(&mut chat, "server", Ask::SetRole { user: bob.clone(), role }), Answer::RoleSet { .. }));
    assert_eq!(chat.join("bob")["role"], "owner");
    assert!(matches!(call(&mut chat, "server", Ask::Invite { uses_max: 0, ttl_ms: 9 }), Answer::Invited { .. }));
    assert!(matches!(call(&mut chat, "server", Ask::Kick { user: bob }), Answer::Kicked { .. }));
    assert!(chat.heard("bob").is_empty(), "the server removes and counts the connections by itself");
    assert!(matches!(call(&mut chat, "server", Ask::RoomInfo), Answer::Room(info) if info.figures == Some((1, 0))));
    assert!(matches!(call(&mut chat, "server", Ask::DeleteRoom), Answer::RoomDeleted));
    assert_eq!(chat.heard("ann").len(), 1);
}

#[test]
fn the_token_bounds_what_a_role_allows() {
    let mut chat = Chat::new(&["ann", "bob"]);
    chat.create("ann", "private");
    chat.join("ann");
    let one = keys("secret", 0, Renewal::None);
    for core in 0..2 {
        chat.machine.handle(core, Input::Keys(Arc::clone(&one)));
    }
    let mut enter = |slot: u32, rooms: Value| {
        let query = format!("x&token={}", token(1_000, json!({"sub": "ann", "rooms": rooms})));
        chat.machine.connect(0, slot, &query, &[]);
        chat.store.serve(&mut chat.machine);
        said(&mut chat.machine, 0, slot);
        let ask = |chat: &mut Chat, kind: &str, more: &str| {
            chat.machine.command(0, slot, &format!(r#"{{"type":"{kind}","id":1,"room":"den"{more}}}"#));
            chat.store.serve(&mut chat.machine);
            let heard = said(&mut chat.machine, 0, slot);
            heard.iter().find(|heard| heard["id"] == 1).expect("a reply").clone()
        };
        [ask(&mut chat, "join", ""), ask(&mut chat, "invite", ""), ask(&mut chat, "kick", r#","user":"eve""#)]
            .map(|reply| outcome(&reply))
    };
    assert_eq!(enter(50, json!({"other": ["admin"]})), ["forbidden"; 3], "not even an owner");
    assert_eq!(enter(51, json!({"den": ["publish"]})), ["forbidden"; 3]);
    assert_eq!(enter(52, json!({"d*": ["join"]})), ["joined", "invite", "kicked"], "within it the role counts");
    assert_eq!(enter(53, json!({"den": ["admin"]})), ["joined", "invite", "kicked"]);
}

#[test]
fn the_configuration_says_who_brings_a_room_into_being() {
    let policies = [CreationPolicy::Anyone, CreationPolicy::Named, CreationPolicy::Admin];
    let may = policies.map(|create| {
        let mut machine = Machine::with(1, |settings, rooms| {
            (settings.rooms_are_administered, rooms.create) = (true, create);
        });
        let mut store = KeptModel::default();
        machine.handle(0, Input::Keys(keys("secret", 0, Renewal::None)));
        let claims = [json!({}), json!({"rooms": ["a*"]}), json!({"rooms": {"a*": ["admin"]}})];
        let mut slot = 0;
        claims.map(|claims| {
            slot += 1;
            machine.connect(0, slot, &format!("x&token={}", token(1_000, claims)), &[]);
            let commands = ["join", "create_room"]
                .map(|kind| format!(r#"{{"type":"{kind}","id":1,"room":"a-{kind}-{slot}","visibility":"public"}}"#));
            machine.segment(0, slot, &commands);
            store.serve(&mut machine);
            let heard = said(&mut machine, 0, slot);
            let done = heard.iter().filter(|heard| heard["type"] == "joined" || heard["type"] == "room").count();
            let refused = heard.iter().filter(|heard| heard["code"] == "forbidden").count();
            assert!((done, refused) == (2, 0) || (done, refused) == (0, 2), "{heard:?}");
            // Whoever brings no room into being may join one that is there.
            machine.ask_room("a-there", publish());
            store.serve(&mut machine);
            machine.command(0, slot, r#"{"type":"join","id":2,"room":"a-there"}"#);
            store.serve(&mut machine);
            assert!(said(&mut machine, 0, slot).iter().any(|heard| heard["type"] == "joined"));
            done == 2
        })
    });
    assert_eq!(may, [[true, true, true], [false, true, true], [false, false, true]]);
}

/// The type of a reply, or the code of an error.
fn outcome(reply: &Value) -> String {
    let shown = if reply["type"] == "error" { &reply["code"] } else { &reply["type"] };
    shown.as_str().expect("text").to_owned()
}

fn publish() -> Ask {
    let (kind, data) = (crate::wire::publication::DataKind::Json, bytes::Bytes::from_static(b"1"));
    Ask::Publish(crate::wire::protocol::Publish { kind, data, key: None, echo: true, ephemeral: false })
}

#[test]
fn without_a_store_rooms_are_as_they_come() {
    let mut machine = Machine::new(2);
    machine.connect(0, 1, "ann", &["den"]);
    machine.settle();
    said(&mut machine, 0, 1);
    let mut ask = |text: &str| {
        machine.command(0, 1, text);
        machine.settle();
        let heard = said(&mut machine, 0, 1);
        assert!(machine.store.is_empty() && machine.asks.is_empty());
        outcome(&heard[0])
    };
    assert_eq!(ask(r#"{"type":"create_room","id":1,"room":"new","visibility":"public"}"#), "forbidden");
    assert_eq!(ask(r#"{"type":"create_room","id":1,"room":"den","visibility":"public"}"#), "forbidden");
    assert_eq!(ask(r#"{"type":"room_info","id":1,"room":"den"}"#), "room");
    assert_eq!(ask(r#"{"type":"room_info","id":1,"room":"new"}"#), "room_not_found");
    assert_eq!(ask(r#"{"type":"invite","id":1,"room":"den"}"#), "room_not_found");
    assert_eq!(ask(r#"{"type":"kick","id":1,"room":"den","user":"ann"}"#), "forbidden");
}
