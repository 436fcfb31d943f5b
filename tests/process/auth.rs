//! Tokens on the real server (PROTOCOL section 1; OPERATIONS, `[auth]` and `roomring token`).

mod key_server;
mod refused;
mod rotation;
mod token_command;

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::{Value, json};

use crate::client::{Arrived, Client};
use crate::http::{self, Answer};
use crate::server::{Server, scratch};

const SECRET: &str = "a secret of the tests that is long enough";

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Claims of `user`, with more; a null takes one away.
fn claims(user: &str, ttl_s: u64, more: Value) -> Value {
    let mut claims = json!({"sub": user, "exp": now_s() + ttl_s});
    let fields = claims.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("an object") {
        match value {
            Value::Null => drop(fields.remove(name)),
            value => drop(fields.insert(name.clone(), value.clone())),
        }
    }
    claims
}

fn sign(secret: &str, claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes())).expect("signed")
}

fn token(user: &str) -> String {
    sign(SECRET, &claims(user, 600, json!({})))
}

/// In mode `jwt` with the tests' secret.
fn guarded(more: &[&str]) -> Server {
    let secret = format!("auth.hmac_secret={SECRET}");
    Server::start(&[&["auth.mode=jwt", &secret], more].concat())
}

/// What an upgrade with this query and these fields is answered.
fn upgrade(server: &Server, query: &str, fields: &str) -> Answer {
    let mut stream = http::open(server.listen);
    let head = http::upgrade_head(server.listen, &format!("/ws{query}"), fields);
    stream.write_all(head.as_bytes()).expect("the server reads");
    let head = http::read_head(&mut stream);
    if head.starts_with("HTTP/1.1 101 ") {
        return http::parse(head.as_bytes());
    }
    let body = http::read_to_end(&mut stream);
    http::parse(&[head.as_bytes(), &body].concat())
}

fn status_of(server: &Server, token: &str) -> u16 {
    upgrade(server, &format!("?token={token}"), "").status
}

fn assert_unauthorized(answer: &Answer, code: &str) {
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.field("WWW-Authenticate"), Some("Bearer"), "{answer:?}");
    assert_eq!(answer.json()["error"], code, "{answer:?}");
    assert!(answer.json()["message"].as_str().is_some_and(|words| !words.is_empty()), "{answer:?}");
}

#[test]
fn a_token_comes_by_query_by_header_or_as_a_subprotocol() {
    let server = guarded(&[]);
    let token = token("alice");
    let client = Client::connect_at(&server, &format!("/ws?token={token}&user=eve"));
    assert_eq!(client.welcome["user"], "alice", "whom the query names is of no account: {}", client.welcome);
    assert_eq!(upgrade(&server, "", &format!("Authorization: Bearer {token}\r\n")).status, 101);
    assert_eq!(upgrade(&server, "", &format!("authorization: bearer {token}\r\n")).status, 101);
    let offered = format!("Sec-WebSocket-Protocol: roomring.v1.binary, bearer.{token}\r\n");
    let answer = upgrade(&server, "", &offered);
    assert_eq!(
        (answer.status, answer.field("Sec-WebSocket-Protocol")),
        (101, Some("roomring.v1.binary")),
        "{answer:?}"
    );
    let alone = upgrade(&server, "", &format!("Sec-WebSocket-Protocol: bearer.{token}\r\n"));
    assert_eq!((alone.status, alone.field("Sec-WebSocket-Protocol")), (101, None), "{alone:?}");
    let wrong_header = upgrade(&server, "", &format!("Authorization: Basic {token}\r\n"));
    assert_unauthorized(&wrong_header, "invalid_token");
}

#[test]
fn whoever_has_no_good_token_is_refused_before_the_upgrade() {
    let server = guarded(&["auth.audience=chat", "auth.issuer=https://idp.example"]);
    let good = |more: Value| {
        let mut all = json!({"aud": ["web", "chat"], "iss": "https://idp.example"});
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        sign(SECRET, &claims("alice", 600, all))
    };
    assert_eq!(status_of(&server, &good(json!({}))), 101);
    for (why, token, code) in [
        ("no token", String::new(), "invalid_token"),
        ("no JWT", "abc".into(), "invalid_token"),
        (
            "another secret",
            sign("another", &claims("alice", 600, json!({"aud": "chat", "iss": "https://idp.example"}))),
            "invalid_token",
        ),
        ("expired", good(json!({"exp": now_s() - 1})), "token_expired"),
        ("no exp", good(json!({"exp": null})), "invalid_token"),
        ("no sub", good(json!({"sub": null})), "invalid_token"),
        ("not yet", good(json!({"nbf": now_s() + 600})), "invalid_token"),
        ("another audience", good(json!({"aud": "mail"})), "invalid_token"),
        ("no audience", good(json!({"aud": null})), "invalid_token"),
        ("another issuer", good(json!({"iss": "https://evil.example"})), "invalid_token"),
        ("an odd claim", good(json!({"rooms": "all"})), "invalid_token"),
        (
            "none",
            format!("eyJhbGciOiJub25lIn0.{}.", good(json!({})).split('.').nth(1).expect("claims")),
            "invalid_token",
        ),
    ] {
        let answer = upgrade(&server, &format!("?token={token}"), "");
        assert_eq!(answer.status, 401, "{why}");
        assert_unauthorized(&answer, code);
    }
    // Where the page comes from is looked at first.
    let foreign = upgrade(&server, &format!("?token={}", good(json!({}))), "Origin: https://evil.example\r\n");
    assert_eq!((foreign.status, &foreign.json()["error"]), (403, &json!("forbidden")));
    let own = format!("Origin: http://{}\r\n", server.listen);
    assert_eq!(upgrade(&server, &format!("?token={}", good(json!({}))), &own).status, 101);
    assert_eq!(server.metric("roomring_auth_refused_total", ""), 12.0);
    let log = server.stderr.get();
    assert!(log.contains("token refused"), "{log}");
    assert!(!log.contains("eyJ") && !log.contains(SECRET), "neither tokens nor secrets are logged: {log}");
    server.wait_until_empty();
}

#[test]
fn leeway_forgives_clocks_that_differ() {
    let server = guarded(&["auth.leeway=60s"]);
    assert_eq!(status_of(&server, &sign(SECRET, &claims("alice", 0, json!({"exp": now_s() - 20})))), 101);
    assert_eq!(status_of(&server, &sign(SECRET, &claims("alice", 600, json!({"nbf": now_s() + 20})))), 101);
    assert_eq!(status_of(&server, &sign(SECRET, &claims("alice", 0, json!({"exp": now_s() - 120})))), 401);
}

#[test]
fn a_connection_ends_with_its_token_unless_it_is_refreshed() {
    let server = guarded(&[]);
    let short = |user: &str| sign(SECRET, &claims(user, 6, json!({})));
    let mut ends = Client::connect_at(&server, &format!("/ws?room=a&token={}", short("alice")));
    let mut stays = Client::connect_at(&server, &format!("/ws?room=a&token={}", short("bob")));
    let mut binary = Client::open(server.listen, &format!("/ws?token={}", short("carol")), Some("roomring.v1.binary"));
    for client in [&mut ends, &mut stays] {
        let warning = client.expect("error");
        assert_eq!((&warning["code"], &warning["id"]), (&json!("token_expired"), &Value::Null), "{warning}");
    }
    let warning = binary.op(135);
    assert_eq!(warning[..2], [9, 0], "the ninth code: {warning:?}");
    stays.refused(json!({"type": "refresh", "token": token("alice")}), "invalid_token");
    stays.refused(
        json!({"type": "refresh", "token": sign(SECRET, &claims("bob", 0, json!({"exp": 1})))}),
        "token_expired",
    );
    stays.refused(json!({"type": "refresh"}), "bad_command");
    let expires_s = now_s() + 600;
    let reply =
        stays.request(json!({"type": "refresh", "token": sign(SECRET, &json!({"sub": "bob", "exp": expires_s}))}));
    assert_eq!((&reply["type"], &reply["expires_at"]), (&json!("refreshed"), &json!(expires_s * 1_000)), "{reply}");
    assert_eq!((ends.close_code(), binary.close_code()), (4401, 4401));
    assert!(stays.publish("a", json!("still here")) > 0);
    assert_eq!(server.metric("roomring_closed_token_total", ""), 2.0);
}

#[test]
fn a_token_says_which_rooms_are_open() {
    let server = guarded(&["server.cores=2"]);
    let with_rooms = |rooms: Value| sign(SECRET, &claims("alice", 600, json!({"rooms": rooms})));
    let first = with_rooms(json!({"news:*": ["join"], "chat:*": ["join", "publish"]}));
    let mut client = Client::connect_at(&server, &format!("/ws?room=other&token={first}"));
    let refused = client.expect("error");
    assert_eq!((&refused["code"], &refused["id"]), (&json!("forbidden"), &Value::Null), "{refused}");
    for room in ["news:1", "chat:1", "chat:2", "chat:3"] {
        client.join(room);
    }
    client.refused(json!({"type": "join", "room": "chat"}), "forbidden");
    client.refused(json!({"type": "publish", "room": "news:1", "data": 1}), "forbidden");
    client.publish("chat:1", json!(1));
    let mut other = Client::connect_at(&server, &format!("/ws?token={}", token("bob")));
    for room in ["chat:1", "chat:2", "chat:3"] {
        other.join(room);
    }
    let reply = client.request(json!({"type": "refresh", "token": with_rooms(json!(["chat:1", "news:*"]))}));
    assert_eq!(reply["type"], "refreshed", "{reply}");
    let mut left: Vec<String> = (0..2)
        .map(|_| {
            let left = client.json_where("a push", |message| message["type"] == "left" && message["id"].is_null());
            assert_eq!(left["reason"], "token", "{left}");
            left["room"].as_str().expect("a room").to_owned()
        })
        .collect();
    left.sort();
    assert_eq!(left, ["chat:2", "chat:3"]);
    for room in ["chat:1", "chat:2", "chat:3"] {
        other.publish(room, json!("after"));
    }
    assert_eq!(client.messages("chat:1", 2)[1]["data"], "after");
    client.refused(json!({"type": "publish", "room": "chat:2", "data": 1}), "not_joined");
    let heard = client.kept().any(|arrived| {
        matches!(arrived, Arrived::Json(message) if message["type"] == "message" && message["room"] != "chat:1")
    });
    assert!(!heard, "nothing more of the rooms that were left");
    // What was only to be read may be written to now.
    client.publish("news:1", json!(1));
}

#[test]
fn public_keys_come_from_a_pem_file() {
    let (elliptic, edwards) = (
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key"),
        KeyPair::generate_for(&PKCS_ED25519).expect("a key"),
    );
    let file = scratch("auth").join("public.pem");
    std::fs::write(&file, format!("{}{}", elliptic.public_key_pem(), edwards.public_key_pem())).expect("writable");
    let server = Server::start(&["auth.mode=jwt", &format!("auth.public_key_file={}", file.display())]);
    let claims = claims("alice", 600, json!({}));
    let sign_with = |algorithm, key: EncodingKey| encode(&Header::new(algorithm), &claims, &key).expect("signed");
    let key = |pair: &KeyPair| EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("its own key");
    assert_eq!(status_of(&server, &sign_with(Algorithm::ES256, key(&elliptic))), 101);
    let edwards_key = EncodingKey::from_ed_pem(edwards.serialize_pem().as_bytes()).expect("its own key");
    assert_eq!(status_of(&server, &sign_with(Algorithm::EdDSA, edwards_key)), 101);
    let stranger = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    assert_eq!(status_of(&server, &sign_with(Algorithm::ES256, key(&stranger))), 401);
    for secret in [elliptic.public_key_pem(), std::fs::read_to_string(&file).expect("readable"), String::new()] {
        let confused = sign_with(Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes()));
        assert_eq!(status_of(&server, &confused), 401, "a public key is no secret");
    }
}
