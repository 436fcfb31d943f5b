//! Presence (PROTOCOL section 4.5).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::client::{Arrived, Client, Stream};
use crate::server::{Server, eventually};

/// Waits for the push that says that a user has this status.
fn wait_for_status(client: &mut Client, user: &str, status: &str) -> Value {
    client.json_where(&format!("{user} is {status}"), |message| {
        message["type"] == "status" && message["user"] == user && message["status"] == status
    })
}

/// Fails if the client has been told more about a user than it has taken.
fn assert_told_no_more(client: &Client, user: &str) {
    let mut kept = client.kept().filter(|arrived| matches!(arrived, Arrived::Json(message) if message["user"] == user));
    assert_eq!(kept.next(), None);
}

fn presence(client: &mut Client, room: &str) -> Value {
    let reply = client.request(json!({"type": "presence", "room": room}));
    assert_eq!(reply["type"], "presence", "{reply}");
    reply
}

#[test]
fn users_come_go_away_and_leave() {
    let server = Server::start(&["rooms.presence_grace=200ms"]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    let mut bob = Client::connect(&server, "bob");
    bob.join("lobby");
    wait_for_status(&mut alice, "bob", "online");
    let reply = bob.request(json!({"type": "status", "status": "away"}));
    assert_eq!((&reply["type"], &reply["status"]), (&json!("status"), &json!("away")));
    wait_for_status(&mut alice, "bob", "away");
    let users = presence(&mut alice, "lobby");
    let expected = json!([
        {"user": "alice", "status": "online", "connections": 1}, {"user": "bob", "status": "away", "connections": 1}
    ]);
    assert_eq!((&users["total"], &users["users"]), (&json!(2), &expected));
    bob.request(json!({"type": "status", "status": "online"}));
    wait_for_status(&mut alice, "bob", "online");
    bob.close();
    wait_for_status(&mut alice, "bob", "offline");
    assert_eq!(presence(&mut alice, "lobby")["total"], 1);
}

#[test]
fn one_status_for_all_connections_of_a_user() {
    let server = Server::start(&["rooms.presence_grace=100ms"]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    let mut first = Client::connect(&server, "bob");
    let mut second = Client::connect(&server, "bob");
    first.join("lobby");
    assert_eq!(second.join("lobby")["members"], 2, "members are users");
    wait_for_status(&mut alice, "bob", "online");
    assert_eq!(presence(&mut alice, "lobby")["users"][1]["connections"], 2);
    first.request(json!({"type": "status", "status": "away"}));
    assert_eq!(presence(&mut alice, "lobby")["users"][1]["status"], "online", "not away while one connection is not");
    second.request(json!({"type": "status", "status": "away"}));
    wait_for_status(&mut alice, "bob", "away");
    assert_told_no_more(&alice, "bob");
    first.reset();
    eventually("one connection is left", || {
        (presence(&mut alice, "lobby")["users"][1]["connections"] == 1).then_some(())
    });
    second.reset();
    wait_for_status(&mut alice, "bob", "offline");
    assert_told_no_more(&alice, "bob");
}

#[test]
fn a_quick_return_is_silent() {
    let server = Server::start(&["rooms.presence_grace=3s"]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    let mut bob = Client::connect(&server, "bob");
    bob.join("lobby");
    wait_for_status(&mut alice, "bob", "online");
    bob.reset();
    eventually("the server has seen him go", || (server.stat("connections") == 1).then_some(()));
    let mut again = Client::connect(&server, "bob");
    again.join("lobby");
    // Until well after the grace of the first connection has passed, and after whatever follows from it.
    let until = Instant::now() + Duration::from_secs(4);
    while let Some(arrived) = alice.read(until) {
        let text = format!("{arrived:?}");
        assert!(!(text.contains("status") && text.contains("bob")), "a return within the grace is told: {text}");
    }
    assert_eq!(presence(&mut alice, "lobby")["total"], 2);
}

#[test]
fn presence_is_read_in_pages() {
    let server = Server::start(&[]);
    let mut clients: Vec<Client> = (0..7).map(|index| Client::connect(&server, &format!("user{index}"))).collect();
    clients.iter_mut().for_each(|client| {
        client.join("lobby");
    });
    let mut names = Vec::new();
    let mut after = Value::Null;
    loop {
        let mut command = json!({"type": "presence", "room": "lobby", "limit": 3});
        if !after.is_null() {
            command["after"] = after.clone();
        }
        let page = clients[0].request(command);
        assert_eq!(page["total"], 7, "{page}");
        let users = page["users"].as_array().expect("a list");
        let Some(last) = users.last() else { break };
        after = last["user"].clone();
        names.extend(users.iter().map(|user| user["user"].as_str().expect("a name").to_owned()));
    }
    assert_eq!(names, (0..7).map(|index| format!("user{index}")).collect::<Vec<_>>());
}

#[test]
fn a_room_class_can_do_without_presence() {
    let folder = crate::server::scratch("presence");
    let file = folder.join("classes.toml");
    std::fs::write(&file, "[[rooms.class]]\npattern = \"quiet:*\"\npresence = false\nhistory_size = 2\n")
        .expect("written");
    let mut command = crate::server::program();
    command.arg("--config").arg(&file).args(["--set", "server.cores=1", "--set", "server.pin=false"]);
    let server = Server::spawn(command);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    for room in ["quiet:1", "lobby"] {
        alice.join(room);
        bob.join(room);
    }
    let push = wait_for_status(&mut alice, "bob", "online");
    assert_eq!(push["room"], "lobby");
    assert!(!alice.kept().any(|arrived| format!("{arrived:?}").contains("quiet:1\"")), "{:?}", alice.kept().next());
    for index in 0..5 {
        alice.publish("quiet:1", json!(index));
    }
    assert_eq!(alice.request(json!({"type": "history", "room": "quiet:1"}))["first_seq"], 4);
}

#[test]
fn what_a_page_has_shown_and_is_undone_is_told() {
    for cores in [1, 2] {
        let cores = format!("server.cores={cores}");
        let server = Server::start(&[&cores, "server.pin=false", "rooms.presence_grace=0"]);
        let mut alice = Client::connect(&server, "alice");
        let mut bob = Client::connect(&server, "bob");
        for round in 0..5 {
            let room = format!("room{round}");
            alice.join(&room);
            bob.join(&room);
            wait_for_status(&mut alice, "bob", "online");
            bob.request(json!({"type": "status", "status": "away"}));
            // His own page is asked behind it, so that the owner knows; hers shows it, or was told in time.
            presence(&mut bob, &room);
            let page = presence(&mut alice, &room);
            assert_eq!(page["users"][1]["status"], "away", "{cores}: {page}");
            bob.request(json!({"type": "status", "status": "online"}));
            alice.json_where("the change that was undone", |message| {
                message["type"] == "status" && message["room"] == room.as_str() && message["status"] == "online"
            });
        }
    }
}

#[test]
fn large_rooms_are_told_totals() {
    for cores in [1, 2] {
        let cores = format!("server.cores={cores}");
        let settings = ["rooms.presence_names_max=3", "rooms.presence_grace=0"];
        let server = Server::start(&[&cores, "server.pin=false", settings[0], settings[1]]);
        let mut clients: Vec<_> = (0..3).map(|index| Client::connect(&server, &format!("user{index}"))).collect();
        clients.iter_mut().for_each(|client| {
            client.join("lobby");
        });
        wait_for_status(&mut clients[0], "user2", "online");
        let mut more: Vec<_> = (3..8).map(|index| Client::connect(&server, &format!("user{index}"))).collect();
        more.iter_mut().for_each(|client| {
            client.join("lobby");
        });
        let told = clients[0].json_where("the total", |message| message["total"] == 8);
        assert_eq!(told, json!({"type": "status", "room": "lobby", "total": 8}));
        more.into_iter().for_each(Client::close);
        // Names come again once the room is small: a client that asks knows all of them, and is told of each change.
        eventually("the room is small again", || (presence(&mut clients[0], "lobby")["total"] == 3).then_some(()));
        clients.pop().expect("user2").close();
        wait_for_status(&mut clients[0], "user2", "offline");
    }
}

/// A client with a small receive buffer, so that little is in flight when it does not read.
fn connect_with_small_buffer(server: &Server, user: &str) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be set");
    socket.connect(&server.listen.into()).expect("the server accepts");
    let mut client = Client::over(Stream::Plain(socket.into()), server.listen, &format!("/ws?user={user}"), None);
    client.expect("welcome");
    client
}

#[test]
fn a_reader_who_stalls_is_told_later_what_holds() {
    let settings = [
        "rooms.presence_grace=0",
        "server.max_message_bytes=8KiB",
        "limits.outbox_bytes=16KiB",
        "limits.socket_send_bytes=4KiB",
    ];
    for policy in ["disconnect", "skip", "latest"] {
        let policy = format!("rooms.slow_policy={policy}");
        let server = Server::start(&[&policy, settings[0], settings[1], settings[2], settings[3]]);
        let mut alice = connect_with_small_buffer(&server, "alice");
        let mut bob = Client::connect(&server, "bob");
        // His changes are reported in so many rooms with such long names that the pushes exceed her outbox.
        let rooms: Vec<String> = (0..100).map(|index| format!("{index:0>100}")).collect();
        let is_told = |client: &mut Client, room: &str, status: &str| {
            client.json_where(&format!("{status} in {room}"), |message| {
                message["type"] == "status"
                    && message["room"] == room
                    && message["user"] == "bob"
                    && message["status"] == status
            });
        };
        for room in &rooms {
            alice.join(room);
            bob.join(room);
        }
        for room in &rooms {
            is_told(&mut alice, room, "online");
            is_told(&mut bob, room, "online");
        }
        for status in ["away", "online", "away", "online", "away"] {
            bob.request(json!({"type": "status", "status": status}));
            rooms.iter().for_each(|room| is_told(&mut bob, room, status));
        }
        bob.request(json!({"type": "leave", "room": rooms[0]}));
        is_told(&mut alice, &rooms[0], "offline");
        for room in &rooms[1..] {
            eventually("the last that she was told is what holds", || {
                // Reads what has come by then.
                presence(&mut alice, room);
                let is_status = |message: &&Value| {
                    message["type"] == "status" && message["room"] == room.as_str() && message["user"] == "bob"
                };
                let statuses = alice.kept().filter_map(|arrived| match arrived {
                    Arrived::Json(message) => Some(message).filter(is_status),
                    _ => None,
                });
                (statuses.last()?["status"] == "away").then_some(())
            });
        }
        assert_eq!(server.metric("roomring_closed_slow_total", ""), 0.0);
    }
}
