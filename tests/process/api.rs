//! The HTTP API on the control address: every route on a real server, every answer held to the API's own description.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use crate::client::{Arrived, Client, publish_command};
use crate::http::{self, Answer};
use crate::server::{Server, eventually, program, scratch};

/// A server's API with its description, to which every answer is held.
struct Api {
    address: SocketAddr,
    description: Value,
}

impl Api {
    fn of(server: &Server) -> Self {
        let answer = http::get(server.control, "/api/openapi.json");
        assert_eq!((answer.status, answer.field("Content-Type")), (200, Some("application/json")), "{answer:?}");
        Self { address: server.control, description: answer.json() }
    }

    fn get(&self, path: &str) -> Value {
        self.held("get", path, 200, &http::get(self.address, &format!("/api/{path}")))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.held("post", path, 200, &http::post(self.address, &format!("/api/{path}"), body))
    }

    fn get_refused(&self, path: &str, status: u16, error: &str) -> String {
        let answer = http::get(self.address, &format!("/api/{path}"));
        self.refused("get", path, status, error, &answer)
    }

    fn post_refused(&self, path: &str, body: &Value, status: u16, error: &str) -> String {
        let answer = http::post(self.address, &format!("/api/{path}"), body);
        self.refused("post", path, status, error, &answer)
    }

    /// A refusal's sentence.
    fn refused(&self, method: &str, path: &str, status: u16, error: &str, answer: &Answer) -> String {
        let body = self.held(method, path, status, answer);
        assert_eq!(body["error"], error, "{path}: {body}");
        body["message"].as_str().expect("plain words").to_owned()
    }

    /// The body of an answer with this status, held to the schema that the description has for it.
    fn held(&self, method: &str, path: &str, status: u16, answer: &Answer) -> Value {
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.field("Content-Type"), Some("application/json"), "{answer:?}");
        let body = answer.json();
        let plain = path.split('?').next().expect("a split has a first part");
        let parts: Vec<&str> =
            plain.split('/').enumerate().map(|(at, part)| if at == 1 { "{room}" } else { part }).collect();
        let route = format!("/api/{}", parts.join("/"));
        let responses = &self.description["paths"][&route][method]["responses"];
        let exact = status.to_string();
        let class = format!("{}XX", status / 100);
        let key = [&exact, &class].into_iter().find(|key| responses.get(key.as_str()).is_some());
        let key = key.unwrap_or_else(|| panic!("{method} {route} describes no {status}: {responses}"));
        let pointer =
            format!("/paths/{}/{method}/responses/{key}/content/application~1json/schema", route.replace('/', "~1"));
        self.hold(&pointer, &body);
        let schema = self.description.pointer(&pointer).expect("just compiled");
        self.assert_known(schema, &body);
        body
    }

    fn hold(&self, pointer: &str, body: &Value) {
        const PLACE: &str = "http://localhost/openapi.json";
        let mut compiler = Compiler::new();
        compiler.add_resource(PLACE, self.description.clone()).expect("the description is a resource");
        let mut schemas = Schemas::new();
        let pointer = pointer.replace('{', "%7B").replace('}', "%7D");
        let schema = compiler.compile(&format!("{PLACE}#{pointer}"), &mut schemas);
        let schema = schema.unwrap_or_else(|error| panic!("{pointer} is a schema: {error}"));
        if let Err(error) = schemas.validate(body, schema) {
            panic!("an answer is not as {pointer} says: {error}\n{body}");
        }
    }

    /// Every field is described, too.
    fn assert_known(&self, schema: &Value, value: &Value) {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => {
                self.description.pointer(reference.trim_start_matches('#')).expect("it refers to something")
            }
            None => schema,
        };
        for (name, field) in value.as_object().into_iter().flatten() {
            match schema["properties"].get(name) {
                Some(described) => self.assert_known(described, field),
                None => assert!(schema.get("properties").is_none(), "{name} is not described by {schema}"),
            }
        }
        for item in value.as_array().into_iter().flatten() {
            self.assert_known(&schema["items"], item);
        }
    }
}

fn start(settings: &[&str]) -> (Server, Api) {
    let settings: Vec<&str> =
        ["server.cores=2", "server.node=n1"].into_iter().chain(settings.iter().copied()).collect();
    let server = Server::start(&settings);
    let api = Api::of(&server);
    (server, api)
}

#[test]
fn a_publish_reaches_members_on_every_core_as_it_was_written() {
    let (server, api) = start(&[]);
    let mut clients: Vec<Client> = (0..8).map(|index| Client::connect(&server, &format!("u{index}"))).collect();
    clients.iter_mut().for_each(|client| drop(client.join("lobby")));
    let raw = br#"{"room":"lobby","data":{"n": 1.0, "text":"\u00e9"},"from":"billing"}"#;
    let answer = http::send(api.address, "POST", "/api/publish", "Content-Type: application/json\r\n", raw);
    let published = api.held("post", "publish", 200, &answer);
    assert_eq!((&published["room"], &published["seq"], published.get("duplicate")), (&json!("lobby"), &json!(1), None));
    assert_eq!(clients[0].publish("lobby", json!("mine")), 2);
    for client in &mut clients {
        let messages = client.messages("lobby", 2);
        assert_eq!((&messages[0]["seq"], &messages[0]["from"]), (&json!(1), &json!("billing")));
        assert_eq!(messages[0]["data"], json!({"n": 1.0, "text": "é"}));
        assert_eq!(messages[1]["from"], "u0");
    }
    let page = http::get(api.address, "/api/rooms/lobby/history");
    assert!(page.body.contains(r#""data":{"n": 1.0, "text":"\u00e9"}"#), "byte for byte: {page:?}");
}

#[test]
fn a_publish_is_done_once_and_kept_for_whoever_joins_later() {
    let (server, api) = start(&[]);
    let keyed = json!({"room": "news", "data": [1], "key": "k1"});
    let first = api.post("publish", &keyed);
    let again = api.post("publish", &keyed);
    assert_eq!((&first["seq"], &again["seq"], &again["duplicate"]), (&json!(1), &json!(1), &json!(true)));
    assert_eq!(first["epoch"], again["epoch"]);
    assert_eq!(api.post("publish", &json!({"room": "news", "data": null}))["seq"], 2);
    assert_eq!(api.post("publish", &json!({"room": "news", "data_b64": "AAEC/w=="}))["seq"], 3);
    let ephemeral = api.post("publish", &json!({"room": "news", "data": 1, "ephemeral": true}));
    assert_eq!(ephemeral.get("seq"), None);
    let mut late = Client::connect(&server, "late");
    let joined = late.join("news");
    let messages = joined["messages"].as_array().expect("a list");
    assert_eq!(messages.len(), 3, "{joined}");
    assert_eq!(
        (&messages[0]["from"], &messages[0]["data"], &messages[0]["key"]),
        (&json!("server"), &json!([1]), &json!("k1"))
    );
    assert_eq!((&messages[1]["data"], &messages[2]["data_b64"]), (&json!(null), &json!("AAEC/w==")));
}

#[test]
fn a_user_is_shown_typing() {
    let (server, api) = start(&[]);
    let mut ann = Client::connect(&server, "ann");
    ann.join("lobby");
    let typing = json!({"room": "lobby", "user": "helper", "active": true});
    assert_eq!(api.post("typing", &typing), typing);
    let pushed = ann.expect("typing");
    assert_eq!((&pushed["user"], &pushed["active"]), (&json!("helper"), &json!(true)));
    let body = br#"{"room":"nowhere","user":"helper","active":true}"#;
    let answer = http::send(api.address, "POST", "/api/typing", "Content-Type: application/json\r\n", body);
    assert_eq!(api.held("post", "typing", 404, &answer)["error"], "room_not_found");
}

#[test]
fn data_is_taken_however_deep_it_is() {
    let (_server, api) = start(&[]);
    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    let body = format!(r#"{{"room":"a","data":{deep},"more":{deep}}}"#);
    let answer = http::send(api.address, "POST", "/api/publish", "Content-Type: application/json\r\n", body.as_bytes());
    assert_eq!(api.held("post", "publish", 200, &answer)["seq"], 1);
    let page = http::get(api.address, "/api/rooms/a/history");
    assert!(page.status == 200 && page.body.contains(&format!(r#""data":{deep}}}"#)));
}

#[test]
fn a_broadcast_reaches_many_rooms() {
    let (server, api) = start(&[]);
    let mut client = Client::connect(&server, "ann");
    let rooms: Vec<String> = (0..100).map(|index| format!("room/{index}")).collect();
    rooms[..50].iter().for_each(|room| drop(client.join(room)));
    let done = api.post("broadcast", &json!({"rooms": rooms, "data": {"text": "hello"}, "from": "ops"}));
    assert_eq!((&done["published"], &done["failed"]), (&json!(100), &json!(0)));
    let results = done["results"].as_array().expect("a list");
    assert!(results.iter().zip(&rooms).all(|(result, room)| result["room"] == *room && result["seq"] == 1), "{done}");
    for room in &rooms[..50] {
        assert_eq!(client.messages(room, 1)[0]["data"], json!({"text": "hello"}));
    }
}

#[test]
fn rooms_are_listed_page_by_page_and_by_size() {
    let (server, api) = start(&[]);
    assert_eq!(api.get("rooms"), json!({"rooms": []}));
    let mut clients: Vec<Client> = ["a", "b", "c"].map(|user| Client::connect(&server, user)).into();
    for index in 0..25 {
        clients[0].join(&format!("r{index:02}"));
    }
    clients[1].join("r07");
    clients[2].join("r07");
    clients[1].join("r19");
    for _ in 0..30 {
        clients[0].publish("r03", json!(1));
    }
    let (mut path, mut seen, mut pages) = ("rooms?limit=7".to_owned(), BTreeSet::new(), 0);
    loop {
        let page = api.get(&path);
        let rooms = page["rooms"].as_array().expect("a list");
        assert!(rooms.len() <= 7, "{page}");
        for room in rooms {
            assert!(seen.insert(room["room"].as_str().expect("a name").to_owned()), "{room} comes twice");
        }
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        path = format!("rooms?limit=7&after={next}");
    }
    assert_eq!(seen, (0..25).map(|index| format!("r{index:02}")).collect());
    assert!(pages >= 4, "{pages}");
    let top = api.get("rooms?sort=members&limit=3");
    let name = |room: &Value| (room["room"].as_str().expect("a name").to_owned(), room["members"].as_u64());
    let top: Vec<_> = top["rooms"].as_array().expect("a list").iter().map(name).collect();
    assert_eq!(top, [("r07".into(), Some(3)), ("r19".into(), Some(2)), ("r00".into(), Some(1))]);
    let busiest = &api.get("rooms?sort=rate&limit=1")["rooms"][0];
    assert_eq!((&busiest["room"], &busiest["head_seq"]), (&json!("r03"), &json!(30)));
    assert!(busiest["rate"].as_f64() > Some(0.0), "{busiest}");
    let room = api.get("rooms/r07");
    assert_eq!((&room["members"], &room["connections"], &room["head_seq"]), (&json!(3), &json!(3), &json!(0)));
    api.get_refused("rooms/r99", 404, "room_not_found");
    api.get_refused("rooms/r99/members", 404, "room_not_found");
    api.get_refused("rooms/r99/history", 404, "room_not_found");
}

#[test]
fn names_in_paths_are_decoded() {
    let (server, api) = start(&[]);
    let mut client = Client::connect(&server, "ann");
    client.join("a/b c?ü%");
    assert_eq!(api.get("rooms/a%2Fb%20c%3F%C3%BC%25")["room"], "a/b c?ü%");
    assert_eq!(api.get("rooms/a%2Fb%20c%3F%C3%BC%25/members")["users"][0]["user"], "ann");
}

#[test]
fn members_and_history_are_told_page_by_page() {
    let (server, api) = start(&[]);
    let mut clients: Vec<Client> = (0..5).map(|index| Client::connect(&server, &format!("u{index}"))).collect();
    clients.push(Client::connect(&server, "u4"));
    clients.iter_mut().for_each(|client| drop(client.join("lobby")));
    let page = api.get("rooms/lobby/members?limit=3");
    let users = |page: &Value| {
        page["users"].as_array().expect("a list").iter().map(|user| user["user"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (&page["total"], users(&page), &page["next"]),
        (&json!(5), vec![json!("u0"), json!("u1"), json!("u2")], &json!("u2"))
    );
    let rest = api.get("rooms/lobby/members?limit=3&after=u2");
    assert_eq!((users(&rest), rest.get("next")), (vec![json!("u3"), json!("u4")], None));
    assert_eq!((&rest["users"][1]["connections"], &rest["users"][1]["status"]), (&json!(2), &json!("online")));
    for number in 1..=10 {
        clients[0].publish("lobby", json!(number));
    }
    let seqs = |path: &str| {
        let page = api.get(path);
        assert_eq!((&page["first_seq"], &page["head_seq"]), (&json!(1), &json!(10)));
        let messages = page["messages"].as_array().expect("a list").iter();
        messages.map(|message| message["seq"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(seqs("rooms/lobby/history?limit=3"), [8, 9, 10]);
    assert_eq!(seqs("rooms/lobby/history?after=2&limit=3"), [3, 4, 5]);
    assert_eq!(seqs("rooms/lobby/history?before=4"), [1, 2, 3]);
    api.get_refused("rooms/lobby/history?before=4&after=1", 400, "bad_request");
}

#[test]
fn connections_are_told_with_what_they_do() {
    let (server, api) = start(&["heartbeat.interval=100ms"]);
    let mut clients: Vec<Client> =
        (0..6).map(|index| Client::connect(&server, if index < 2 { "bob" } else { "ann" })).collect();
    clients[0].join("lobby");
    clients[0].request(json!({"type": "status", "status": "away"}));
    clients[1].join("lobby");
    let binary = Client::open(server.listen, "/ws?user=zoe&room=lobby", Some("roomring.v1.binary"));
    eventually("all seven are listed", || {
        (api.get("connections")["connections"].as_array().map(Vec::len) == Some(7)).then_some(())
    });
    let bobs = api.get("connections?user=bob");
    let ids: BTreeSet<_> = bobs["connections"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|conn| conn["connection"].clone().to_string())
        .collect();
    assert_eq!(ids, clients[..2].iter().map(|client| client.welcome["connection"].to_string()).collect());
    let away =
        bobs["connections"].as_array().expect("a list").iter().find(|conn| conn["away"] == true).expect("one is away");
    assert_eq!((&away["node"], &away["rooms"], &away["form"]), (&json!("n1"), &json!(1), &json!("json")));
    assert!(away["core"].as_u64() < Some(2) && away["messages_received"].as_u64() == Some(2), "{away}");
    assert!(away["bytes_received"].as_u64() > Some(0) && away["messages_sent"].as_u64() >= Some(3), "{away}");
    let in_lobby = api.get("connections?room=lobby");
    let forms: Vec<_> =
        in_lobby["connections"].as_array().expect("a list").iter().map(|conn| conn["form"].clone()).collect();
    assert_eq!((forms.len(), forms.iter().filter(|form| **form == "binary").count()), (3, 1), "{in_lobby}");
    assert_eq!(api.get("connections?room=lobby&user=zoe")["connections"].as_array().map(Vec::len), Some(1));
    assert_eq!(api.get("connections?user=nobody"), json!({"connections": []}));
    let mut clients = clients;
    eventually("a ping has been answered", || {
        clients[5].read(std::time::Instant::now() + std::time::Duration::from_millis(50));
        let page = api.get("connections?user=ann");
        page["connections"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|conn| conn["round_trip_ms"].as_f64() > Some(0.0))
            .then_some(())
    });
    let page = api.get("connections?limit=4");
    let next = page["next"].as_str().expect("there are more");
    let rest = api.get(&format!("connections?limit=4&after={next}"));
    assert_eq!(page["connections"].as_array().map(Vec::len), Some(4));
    assert_eq!((rest["connections"].as_array().map(Vec::len), rest.get("next")), (Some(3), None));
    drop(binary);
}

#[test]
fn laggards_are_found() {
    let (server, api) = start(&[]);
    let mut fast = Client::connect(&server, "fast");
    let mut stalled = Client::connect(&server, "stalled");
    fast.join("lobby");
    stalled.join("lobby");
    let lag = eventually("the one who does not read has much waiting", || {
        fast.send_message(publish_command("lobby", &[b'x'; 60_000]));
        fast.wait_for(
            "its own message",
            |arrived| matches!(arrived, Arrived::Json(message) if message["type"] == "message"),
        );
        let top = api.get("connections?sort=queued&limit=1");
        let first = &top["connections"][0];
        (first["queued_bytes"].as_u64() > Some(100_000)).then(|| first.clone())
    });
    assert_eq!(lag["user"], "stalled");
    assert_eq!(api.get("connections?sort=queued")["connections"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_kick_puts_every_connection_of_a_user_out_of_one_room() {
    let (server, api) = start(&[]);
    let mut bobs: Vec<Client> = (0..6).map(|_| Client::connect(&server, "bob")).collect();
    let mut ann = Client::connect(&server, "ann");
    for client in bobs.iter_mut().chain([&mut ann]) {
        client.join("lobby");
        client.join("other");
    }
    let kicked = api.post("kick", &json!({"room": "lobby", "user": "bob"}));
    assert_eq!(kicked, json!({"room": "lobby", "user": "bob", "kicked": 6}));
    assert_eq!(api.post("kick", &json!({"room": "lobby", "user": "bob"}))["kicked"], 0);
    api.post("publish", &json!({"room": "lobby", "data": "secret"}));
    api.post("publish", &json!({"room": "other", "data": "shared"}));
    for bob in &mut bobs {
        assert_eq!(bob.expect("left"), json!({"type": "left", "room": "lobby", "reason": "kicked"}));
        assert_eq!(bob.messages("other", 1)[0]["data"], "shared");
        bob.refused(json!({"type": "publish", "room": "lobby", "data": 1}), "not_joined");
        assert!(!bob.has_kept("message"));
    }
    assert_eq!(ann.messages("lobby", 1)[0]["data"], "secret");
    assert_eq!(bobs[0].join("lobby")["seq"], 1, "a kick is no ban");
    assert_eq!(server.metric("roomring_kicked_total", ""), 6.0);
}

#[test]
fn connections_are_closed_by_user_or_by_id() {
    let (server, api) = start(&[]);
    let mut bobs: Vec<Client> = (0..5).map(|_| Client::connect(&server, "bob")).collect();
    let mut ann = Client::connect(&server, "ann");
    let id = bobs[0].welcome["connection"].clone();
    assert_eq!(api.post("disconnect", &json!({"connection": id, "reason": "spam"}))["disconnected"], 1);
    assert_eq!(bobs[0].close_code(), 4403);
    assert_eq!(api.post("disconnect", &json!({"connection": id}))["disconnected"], 0, "it is closing already");
    assert_eq!(api.post("disconnect", &json!({"user": "bob"}))["disconnected"], 4);
    for bob in &mut bobs[1..] {
        assert_eq!(bob.close_code(), 4403);
    }
    assert_eq!(api.post("disconnect", &json!({"user": "bob"}))["disconnected"], 0);
    ann.join("lobby");
    assert_eq!(server.metric("roomring_closed_forbidden_total", ""), 5.0);
}

#[test]
fn mistakes_have_their_status_and_name_the_field() {
    let (_server, api) = start(&["server.max_message_bytes=1KiB"]);
    for (path, body, status, error, named) in [
        ("publish", json!({"data": 1}), 400, "bad_request", "`room`"),
        ("publish", json!({"room": "a"}), 400, "bad_request", "`data`"),
        ("publish", json!({"room": "x".repeat(129), "data": 1}), 400, "bad_request", "`room`"),
        ("publish", json!({"room": "a", "data": "x".repeat(1_025)}), 413, "too_large", "`data`"),
        ("publish", json!({"room": "@ann", "data": 1}), 403, "forbidden", "rooms.inboxes"),
        ("publish", json!([]), 400, "bad_request", "body"),
        ("broadcast", json!({"rooms": ["a", "b\n"], "data": 1}), 400, "bad_request", "`rooms[1]`"),
        ("disconnect", json!({}), 400, "bad_request", "`user`"),
        ("kick", json!({"room": "a", "user": 7}), 400, "bad_request", "`user`"),
    ] {
        let sentence = api.post_refused(path, &body, status, error);
        assert!(sentence.contains(named), "{path} {body}: {sentence}");
    }
    for path in ["rooms?limit=0", "rooms?sort=size", "connections?limt=1", "rooms/a/history?limit=301"] {
        api.get_refused(path, 400, "bad_request");
    }
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = http::send(api.address, "POST", "/api/kick", form, b"room=a&user=b");
    api.refused("post", "kick", 415, "unsupported_media_type", &answer);
    let answer = http::send(api.address, "DELETE", "/api/rooms", "", b"");
    api.refused("get", "rooms", 405, "method_not_allowed", &answer);
    assert_eq!(answer.field("Allow"), Some("GET, HEAD"));
    let answer = http::get(api.address, "/api/nothing");
    assert_eq!((answer.status, &answer.json()["error"]), (404, &json!("not_found")));
    let big = format!(r#"{{"room":"a","data":1,"more":"{}"}}"#, "x".repeat(2 << 20));
    let answer = http::send(api.address, "POST", "/api/publish", "Content-Type: application/json\r\n", big.as_bytes());
    api.refused("post", "publish", 413, "too_large", &answer);
    let other =
        http::exchange(api.address, b"GET /api/rooms HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    api.refused("get", "rooms", 403, "forbidden", &other);
}

#[test]
fn a_key_guards_the_api_and_nothing_else() {
    let (server, api) = start(&["control.api_key=sesame"]);
    for path in ["/stats", "/metrics", "/health", "/ready", "/api/openapi.json"] {
        assert_eq!(http::get(server.control, path).status, 200, "{path}");
    }
    let with = |key: &str| http::send(server.control, "GET", "/api/rooms", &format!("X-API-Key: {key}\r\n"), b"");
    api.held("get", "rooms", 200, &with("sesame"));
    api.refused("get", "rooms", 401, "unauthorized", &http::get(server.control, "/api/rooms"));
    let answer = with("guess");
    let sentence = api.refused("get", "rooms", 401, "unauthorized", &answer);
    assert!(answer.field("WWW-Authenticate").is_some() && !sentence.contains("sesame"), "{answer:?}");
    let drain = http::send(server.control, "POST", "/api/drain", "", b"");
    api.refused("post", "drain", 401, "unauthorized", &drain);
    assert!(!server.stderr.get().contains("sesame"));
}

#[test]
fn the_key_and_the_rate_are_read_again() {
    let file = scratch("api").join("key.toml");
    let write = |text: &str| std::fs::write(&file, format!("[control]\n{text}\n")).expect("it can be written");
    write("api_key = \"first\"");
    let mut command = program();
    command.arg("--config").arg(&file).args(["--set", "server.cores=2", "--set", "server.pin=false"]);
    let server = Server::spawn(command);
    let with = |key: &str| http::send(server.control, "GET", "/api/rooms", &format!("X-API-Key: {key}\r\n"), b"");
    assert_eq!((with("first").status, with("second").status), (200, 401));
    write("api_key = \"second\"\napi_rate = \"1/60s\"");
    server.signal("HUP");
    eventually("the new key is taken", || (with("first").status == 401).then_some(()));
    assert_eq!(
        [with("second").status, with("second").status, with("second").status],
        [200, 200, 429],
        "a burst is two"
    );
    let answer = with("second");
    let wait: u64 = answer.field("Retry-After").and_then(|wait| wait.parse().ok()).expect("it says when");
    assert!((1..=60).contains(&wait) && answer.json()["error"] == "rate_limited", "{answer:?}");
    assert!(!server.stderr.get().contains("second"), "a key is no word for the log");
}

#[test]
fn requests_are_counted_by_route_and_status() {
    let (server, api) = start(&[]);
    api.post("publish", &json!({"room": "a", "data": 1}));
    api.get("rooms/a");
    api.get("rooms/a/history");
    api.get_refused("rooms/b", 404, "room_not_found");
    http::get(server.control, "/api/secret-path");
    let count = |route: &str, status: u16| {
        server.metric("roomring_api_requests_total", &format!(r#"route="{route}",status="{status}""#))
    };
    assert_eq!([count("/publish", 200), count("/rooms/{room}", 200), count("/rooms/{room}", 404)], [1.0; 3]);
    assert_eq!((count("/rooms/{room}/history", 200), count("other", 404)), (1.0, 1.0));
    assert!(!http::get(server.control, "/metrics").body.contains("secret-path"));
}

#[test]
fn a_drain_is_that_of_a_signal() {
    let (mut server, api) = start(&[]);
    let mut client = Client::connect(&server, "ann");
    client.join("lobby");
    api.post("publish", &json!({"room": "lobby", "data": "last"}));
    let answer = http::send(server.control, "POST", "/api/drain", "", b"");
    assert_eq!(api.held("post", "drain", 202, &answer), json!({"status": "draining"}));
    assert_eq!(client.messages("lobby", 1)[0]["data"], "last", "what was queued is flushed first");
    assert_eq!(client.expect("reconnect")["reason"], "draining");
    assert_eq!(client.close_code(), 1012);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn asking_twice_does_not_cut_a_drain_short() {
    let (mut server, api) = start(&["server.shutdown_grace=2s"]);
    // A client that never answers its close frame keeps the drain going until its grace is over.
    let _silent = http::open_websocket(server.listen, "/ws?user=silent");
    for _ in 0..3 {
        let answer = http::send(server.control, "POST", "/api/drain", "", b"");
        assert_eq!(api.held("post", "drain", 202, &answer), json!({"status": "draining"}));
    }
    assert_eq!(http::get(server.control, "/ready").status, 503);
    api.get("connections");
    assert_eq!(server.wait().code(), Some(0), "a second signal would have ended it with 1");
}
