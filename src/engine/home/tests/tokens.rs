//! Connections with tokens, in virtual time: which are let in, what they may do, and how they end.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::base::ids::{Epoch, Position, RoomName};
use crate::base::limits::{TOKEN_LOG_AGAIN_MS, TOKEN_WARNING_MS};
use crate::engine::access::{Expected, Keys, Material, Renewal};
use crate::engine::hop::{Hop, MemberRef, ToHome, ToOwner};

pub(super) const START_S: u64 = 1_700_000_000;
pub(super) const CLOSE_4401: [u8; 2] = 4401_u16.to_be_bytes();

pub(super) fn keys(secret: &str, leeway_ms: u64, renewal: Renewal) -> Arc<Keys> {
    Arc::new(Keys::new(Material::from_secret(secret), Expected { leeway_ms, ..Expected::default() }, renewal))
}

/// A token signed with `secret` that expires `ttl_s` seconds after the start.
pub(super) fn token(ttl_s: u64, more: Value) -> String {
    let mut claims = json!({"sub": "ann", "exp": START_S + ttl_s});
    claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(b"secret")).expect("signed")
}

/// A token by an unknown key.
pub(super) fn strange_token() -> String {
    let part = |value: Value| BASE64.encode(value.to_string());
    let header = json!({"alg": "ES256", "kid": "strange"});
    format!("{}.{}.AAAA", part(header), part(json!({"sub": "ann", "exp": START_S + 60})))
}

pub(super) fn head(query: &str) -> String {
    HEAD.replace("user=ann", query)
}

/// In mode `jwt`, without silence as a reason to end.
pub(super) fn guarded(leeway_ms: u64) -> One {
    let mut one = One::with(Settings { cores: 1, heartbeat_timeout_ms: 1 << 40, ..Settings::for_tests() });
    one.handle(Input::Keys(keys("secret", leeway_ms, Renewal::None)));
    one
}

impl One {
    /// All that was said since the last time, in all slots, as text where it is text.
    pub(super) fn said(&mut self) -> String {
        let sends = self.turn();
        sends.iter().map(|send| String::from_utf8_lossy(&send.bytes).into_owned()).collect()
    }

    pub(super) fn connect(&mut self, slot: u32, query: &str) -> String {
        self.handle(accepted(slot));
        self.receive(slot, head(query).as_bytes());
        self.said()
    }

    pub(super) fn ask(&mut self, slot: u32, command: &Value) -> String {
        self.receive(slot, &client_frame(Opcode::Text, command.to_string().as_bytes(), [1, 2, 3, 4]));
        self.said()
    }

    /// Lets time pass tick by tick; when something was first said that holds `words`, in milliseconds since the start.
    pub(super) fn wait_for(&mut self, words: &[u8], for_ms: u64) -> Option<u64> {
        for _ in 0..for_ms / TICK_MS {
            self.step(TICK_MS);
            let sends = self.turn();
            if sends.iter().any(|send| send.bytes.windows(words.len()).any(|part| part == words)) {
                return Some(self.now.unix_ms - START_S * 1_000);
            }
        }
        None
    }

    pub(super) fn step(&mut self, ms: u64) {
        self.now.unix_ms += ms;
        self.pass(ms);
    }

    fn due(&self) -> usize {
        self.engine.home.tokens.as_ref().expect("guarded").due.len()
    }
}

#[test]
fn a_client_is_warned_and_closed_when_its_token_expires() {
    for (ttl_s, leeway_ms, warned_ms) in
        [(100, 0, 70_000), (100, 5_000, 75_000), (7, 0, 0), (31, 0, 1_000), (3_600, 0, 3_570_000)]
    {
        let mut one = guarded(leeway_ms);
        assert!(one.connect(0, &format!("token={}", token(ttl_s, json!({})))).contains(r#""user":"ann""#));
        let warned =
            one.wait_for(br#"{"type":"error","code":"token_expired","message":"#, 4_000_000).expect("a warning");
        assert!((warned_ms..=warned_ms + TICK_MS).contains(&warned), "{ttl_s} s: warned at {warned}");
        let ends_ms = ttl_s * 1_000 + leeway_ms;
        let ended = one.wait_for(&CLOSE_4401, TOKEN_WARNING_MS + 1_000).expect("a close frame");
        assert!((ends_ms..=ends_ms + TICK_MS).contains(&ended), "{ttl_s} s: closed at {ended}");
        assert_eq!((one.output.ended.len(), one.output.ended[0].code.map(|code| code.number())), (1, Some(4401)));
        assert_eq!((one.engine.counters.closed_token.get(), one.due()), (1, 0));
    }
}

#[test]
fn what_is_queued_goes_before_the_close() {
    let mut one = guarded(0);
    one.connect(0, &format!("room=a&token={}", token(2, json!({}))));
    // A send that the kernel does not take: everything after it waits in the outbox.
    one.receive(0, &client_frame(Opcode::Ping, b"", [1, 2, 3, 4]));
    one.engine.finish_turn(one.now, &mut one.output);
    assert_eq!(one.output.sends.drain(..).count(), 1);
    let publish = json!({"type": "publish", "room": "a", "data": "last words"}).to_string();
    one.receive(0, &client_frame(Opcode::Text, publish.as_bytes(), [1, 2, 3, 4]));
    for _ in 0..30 {
        one.step(TICK_MS);
        one.engine.finish_turn(one.now, &mut one.output);
    }
    assert!(one.output.sends.is_empty() && one.output.ended.len() == 1);
    one.handle(Input::Sent { slot: 0 });
    let sends = one.turn();
    let sent: Vec<u8> = sends.iter().flat_map(|send| send.bytes.to_vec()).collect();
    let at = |words: &[u8]| sent.windows(words.len()).position(|part| part == words);
    let (message, close) = (at(b"last words").expect("flushed"), at(&CLOSE_4401).expect("closed"));
    assert!(message < close, "{:?}", String::from_utf8_lossy(&sent));
}

#[test]
fn without_a_good_token_nobody_gets_in() {
    let mut one = guarded(0);
    let other = encode(
        &Header::new(Algorithm::HS256),
        &json!({"sub": "ann", "exp": START_S + 60}),
        &EncodingKey::from_secret(b"other"),
    )
    .expect("signed");
    for (slot, (query, code)) in [
        ("user=ann".to_owned(), "invalid_token"),
        ("token=".to_owned(), "invalid_token"),
        ("token=x".to_owned(), "invalid_token"),
        (format!("token={other}"), "invalid_token"),
        (format!("token={}", token(0, json!({}))), "token_expired"),
        (format!("token={}", token(60, json!({"nbf": START_S + 1}))), "invalid_token"),
        (format!("token={}", token(60, json!({"rooms": 7}))), "invalid_token"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = one.connect(slot as u32, &query);
        assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{query}: {answer}");
        assert!(answer.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{query}: {answer}");
        assert!(answer.contains(&format!(r#"{{"error":"{code}","message":""#)), "{query}: {answer}");
    }
    assert_eq!((one.engine.counters.auth_refused.get(), one.engine.counters.refused.get()), (7, 7));
    assert_eq!((one.engine.counters.connections.get(), one.engine.counters.upgrading.get()), (0, 0));
    // The user of the query does not count beside a token.
    let answer = one.connect(20, &format!("user=eve&token={}", token(60, json!({"name": "Ann B."}))));
    assert!(answer.contains(r#""user":"ann","name":"Ann B.""#) && !answer.contains("eve"), "{answer}");
}

#[test]
fn refusals_are_logged_once_a_minute_for_each_cause() {
    let mut one = guarded(0);
    for slot in 0..5 {
        one.connect(slot, "user=ann");
    }
    one.connect(5, "token=x");
    let told = std::mem::take(&mut one.output.tokens_refused);
    assert_eq!(
        told.iter().map(|refused| (refused.cause, refused.held_back)).collect::<Vec<_>>(),
        [("missing", 0), ("malformed", 0)]
    );
    one.step(TOKEN_LOG_AGAIN_MS);
    one.connect(6, "user=ann");
    let told = std::mem::take(&mut one.output.tokens_refused);
    assert_eq!(told.iter().map(|refused| (refused.cause, refused.held_back)).collect::<Vec<_>>(), [("missing", 4)]);
}

#[test]
fn rooms_are_open_as_far_as_the_token_says() {
    let mut one = guarded(0);
    let rooms = json!({"news:*": ["join"], "chat": ["join", "publish"], "drop": ["publish"]});
    let opening = one.connect(0, &format!("room=secret&room=chat&token={}", token(600, json!({"rooms": rooms}))));
    assert!(opening.starts_with("HTTP/1.1 101 "), "{opening}");
    assert!(opening.contains(r#"{"type":"error","code":"forbidden","#), "{opening}");
    assert!(opening.contains(r#"{"type":"joined","room":"chat","#), "{opening}");
    let ask =
        |one: &mut One, kind: &str, room: &str| one.ask(0, &json!({"type": kind, "id": 1, "room": room, "data": 1}));
    for (kind, room, reply) in [
        ("join", "secret", r#"{"type":"error","id":1,"code":"forbidden","#),
        ("join", "drop", r#"{"type":"error","id":1,"code":"forbidden","#),
        ("join", "news:1", r#"{"type":"joined","id":1,"#),
        ("publish", "news:1", r#"{"type":"error","id":1,"code":"forbidden","#),
        ("history", "news:1", r#"{"type":"history","id":1,"#),
        ("publish", "chat", r#"{"type":"published","id":1,"#),
        ("publish", "secret", r#"{"type":"error","id":1,"code":"not_joined","#),
    ] {
        let said = ask(&mut one, kind, room);
        assert!(said.contains(reply), "{kind} {room}: {said}");
    }
    let binary = [&1_u32.to_le_bytes()[..], b"secret"].concat();
    one.receive(0, &client_frame(Opcode::Binary, &binary, [1, 2, 3, 4]));
    let sends = one.turn();
    assert_eq!(sends[0].bytes[2..8], [135, 0, 0, 0, 6, 0], "error op, forbidden");
    assert!(one.engine.budget.used() > 0);
    one.handle(Input::Disconnected { slot: 0 });
    one.step(120_000);
    assert_eq!((one.engine.budget.used(), one.due()), (0, 0), "nothing is left of the token");
}

#[test]
fn refresh_puts_off_the_end_and_a_refused_one_changes_nothing() {
    let mut one = guarded(0);
    one.connect(0, &format!("token={}", token(60, json!({}))));
    let refresh = |one: &mut One, token: &str| one.ask(0, &json!({"type": "refresh", "id": 9, "token": token}));
    for (refused, code) in [
        (token(600, json!({"sub": "eve"})), "invalid_token"),
        (token(0, json!({})), "token_expired"),
        (String::new(), "invalid_token"),
        (strange_token(), "invalid_token"),
    ] {
        let said = refresh(&mut one, &refused);
        assert!(said.contains(&format!(r#"{{"type":"error","id":9,"code":"{code}","#)), "{said}");
    }
    assert_eq!(one.engine.counters.auth_refused.get(), 4);
    assert!(one.wait_for(br#""code":"token_expired""#, 31_000).is_some(), "still the first token");
    let expires_at = (START_S + 600) * 1_000;
    let said = refresh(&mut one, &token(600, json!({})));
    assert!(said.contains(&format!(r#"{{"type":"refreshed","id":9,"expires_at":{expires_at}}}"#)), "{said}");
    let warned = one.wait_for(br#""code":"token_expired""#, 600_000).expect("warned again");
    assert!((570_000..=570_000 + TICK_MS).contains(&warned), "{warned}");
    // Sooner again: as the token says.
    refresh(&mut one, &token(580, json!({})));
    assert_eq!(one.due(), 1, "one entry, however often it changes");
    let ended = one.wait_for(&CLOSE_4401, 60_000).expect("closed");
    assert!((580_000..=580_000 + TICK_MS).contains(&ended), "{ended}");
}

#[test]
fn without_tokens_refresh_is_answered_by_an_error() {
    let mut one = One::new();
    one.handle(accepted(0));
    one.receive(0, HEAD.as_bytes());
    one.said();
    let said = one.ask(0, &json!({"type": "refresh", "id": 1, "token": token(60, json!({}))}));
    assert!(
        said.contains(r#"{"type":"error","id":1,"code":"invalid_token","message":"this server uses no tokens"#),
        "{said}"
    );
    assert!(one.engine.home.tokens.is_none());
}

#[test]
fn rooms_that_a_new_token_does_not_allow_are_left() {
    let mut one = guarded(0);
    one.connect(0, &format!("room=a&room=b&token={}", token(600, json!({"rooms": ["*"]}))));
    one.connect(1, &format!("room=a&room=b&token={}", token(600, json!({"sub": "bob"}))));
    let narrow = token(600, json!({"rooms": ["b"]}));
    let said = one.ask(0, &json!({"type": "refresh", "id": 1, "token": narrow}));
    let refreshed = said.find(r#""type":"refreshed""#).expect("answered");
    let left = said.find(r#"{"type":"left","room":"a","reason":"token"}"#).expect("pushed");
    assert!(refreshed < left && !said.contains(r#""room":"b","reason""#), "{said}");
    assert_eq!(one.engine.counters.members.get(), 3);
    for room in ["a", "b"] {
        let said = one.ask(1, &json!({"type": "publish", "room": room, "data": "x"}));
        assert_eq!(
            said.matches(&format!(r#"{{"type":"message","room":"{room}""#)).count(),
            if room == "a" { 1 } else { 2 },
            "{said}"
        );
    }
    let said = one.ask(0, &json!({"type": "publish", "id": 2, "room": "a", "data": "x"}));
    assert!(said.contains(r#""code":"not_joined""#), "{said}");
    let said = one.ask(0, &json!({"type": "join", "id": 3, "room": "a"}));
    assert!(said.contains(r#""code":"forbidden""#), "{said}");
    one.handle(Input::Disconnected { slot: 0 });
    one.handle(Input::Disconnected { slot: 1 });
    one.turn();
    assert_eq!((one.engine.counters.members.get(), one.engine.counters.rooms.get()), (0, 0));
}

/// The room's owner is another core: its answers come when they come.
#[test]
fn a_join_under_way_is_answered_before_the_room_is_left() {
    let mut one = One::with(Settings { cores: 3, ..Settings::for_tests() });
    one.handle(Input::Keys(keys("secret", 0, Renewal::None)));
    let name = (0..).map(|number| format!("room{number}"));
    let far = |room: &String| crate::engine::placement::owner_of(room, 3) == CoreId(1);
    let room = name.into_iter().find(far).expect("some room is there");
    one.connect(0, &format!("token={}", token(600, json!({}))));
    one.ask(0, &json!({"type": "join", "id": 1, "room": room}));
    let narrow = token(600, json!({"rooms": []}));
    let said = one.ask(0, &json!({"type": "refresh", "id": 2, "token": narrow}));
    assert!(said.contains("refreshed") && !said.contains(r#""left""#), "{said}");
    let hops = one.engine.take_staged(CoreId(1), Vec::new());
    let [
        Hop::ToOwner(ToOwner::Join { member: MemberRef { conn, .. }, reply, .. }),
        Hop::ToOwner(ToOwner::Expel { reason, .. }),
    ] = hops[..]
    else {
        panic!("a join and an expulsion: {hops:?}")
    };
    let room = RoomName::new(&room).expect("valid");
    let head = Position { epoch: Epoch(7), seq: 3 };
    let joined = ToHome::Joined {
        room: room.clone(),
        conn,
        head,
        recovered: false,
        messages: Vec::new(),
        members: 1,
        role: None,
        reply,
    };
    let left = ToHome::Expelled { room, conn, reason };
    let mut hops = vec![Hop::ToHome(joined), Hop::ToHome(left)];
    one.handle(Input::Hops { from: CoreId(1), hops: &mut hops });
    let said = one.said();
    let joined = said.find(r#"{"type":"joined","id":1,"#).expect("every command is answered");
    let left = said.find(r#""reason":"token"}"#).expect("pushed");
    assert!(joined < left, "{said}");
    assert_eq!(one.engine.counters.members.get(), 0);
}

#[test]
fn other_keys_cut_no_live_connection() {
    let mut one = guarded(0);
    let first = token(600, json!({}));
    one.connect(0, &format!("room=a&token={first}"));
    one.handle(Input::Keys(keys("other", 0, Renewal::None)));
    one.step(1_000);
    assert!(one.ask(0, &json!({"type": "publish", "id": 1, "room": "a", "data": 1})).contains("published"));
    assert!(one.connect(1, &format!("token={first}")).starts_with("HTTP/1.1 401 "));
    let said = one.ask(0, &json!({"type": "refresh", "id": 2, "token": first}));
    assert!(said.contains(r#""code":"invalid_token""#), "{said}");
}

#[test]
fn the_echo_path_needs_a_token_too_and_is_closed_without_words() {
    let mut one = One::with(Settings { cores: 1, echo_path: "/".to_owned(), ..Settings::for_tests() });
    one.handle(Input::Keys(keys("secret", 0, Renewal::None)));
    one.handle(accepted(0));
    one.receive(0, HEAD.replace("/ws", "/").as_bytes());
    assert!(one.said().starts_with("HTTP/1.1 401 "));
    one.handle(accepted(1));
    one.receive(1, head(&format!("token={}", token(3, json!({})))).replace("/ws", "/").as_bytes());
    assert!(one.said().starts_with("HTTP/1.1 101 "));
    let mut said = Vec::new();
    for _ in 0..40 {
        one.step(TICK_MS);
        said.extend(one.turn().iter().flat_map(|send| send.bytes.to_vec()));
    }
    assert!(said.windows(2).any(|part| part == CLOSE_4401), "{said:?}");
    assert!(!String::from_utf8_lossy(&said).contains("token_expired"), "every message there is an echo: {said:?}");
}

#[test]
fn many_tokens_end_each_at_its_time() {
    let mut one = guarded(0);
    for slot in 0..500_u32 {
        one.connect(slot, &format!("token={}", token(10 + u64::from(slot) % 200, json!({}))));
    }
    let mut closed_by = Vec::new();
    for second in 1..=220_u64 {
        for _ in 0..10 {
            one.step(TICK_MS);
            one.turn();
        }
        closed_by.push((second, one.engine.counters.closed_token.get()));
    }
    for (second, closed) in closed_by {
        let expected = (0..500_u64).filter(|slot| 10 + slot % 200 <= second).count() as u64;
        assert_eq!(closed, expected, "by second {second}");
    }
    assert_eq!((one.due(), one.engine.counters.connections.get()), (0, 0));
}

/// A connection from before there were keys: nothing ends it, and it may do nothing new.
#[test]
fn who_stands_on_no_token_may_do_nothing() {
    let mut one = One::new();
    one.handle(accepted(0));
    one.receive(0, HEAD.as_bytes());
    one.said();
    one.handle(Input::Keys(keys("secret", 0, Renewal::None)));
    let said = one.ask(0, &json!({"type": "join", "id": 1, "room": "a"}));
    assert!(said.contains(r#""code":"forbidden""#), "{said}");
    assert_eq!(one.wait_for(&CLOSE_4401, 50_000), None);
    let said = one.ask(0, &json!({"type": "refresh", "id": 2, "token": token(600, json!({}))}));
    assert!(said.contains("refreshed"), "{said}");
    assert!(one.ask(0, &json!({"type": "join", "id": 3, "room": "a"})).contains("joined"));
}

/// Seeded: tokens, refreshes, rooms, silence and resets in any order. Whatever happened, nothing is left at the end, and
/// nobody is heard in a room that his token does not allow.
#[test]
fn any_order_of_events_leaves_nothing_behind() {
    for seed in 0..8 {
        let mut random = crate::engine::random::Random::new(seed);
        let mut one = guarded(0);
        let mut is_open = [false; 8];
        for _ in 0..600 {
            let slot = random.below(8) as u32;
            let rooms = [json!({}), json!({"rooms": ["a"]}), json!({"rooms": {"b": ["join"]}}), json!({"rooms": []})];
            let now_s = (one.now.unix_ms / 1_000 - START_S) + 1;
            let fresh = token(now_s + random.below(90), rooms[random.below(4) as usize].clone());
            if !is_open[slot as usize] {
                is_open[slot as usize] =
                    one.connect(slot, &format!("room=a&token={fresh}")).starts_with("HTTP/1.1 101");
                continue;
            }
            let room = ["a", "b"][random.below(2) as usize];
            match random.below(8) {
                0 => one.handle(Input::Disconnected { slot }),
                1 | 2 => drop(one.ask(slot, &json!({"type": "refresh", "token": fresh}))),
                3 => drop(one.ask(slot, &json!({"type": "leave", "room": room}))),
                4 => drop(one.ask(slot, &json!({"type": "join", "room": room}))),
                5 => drop(one.ask(slot, &json!({"type": "publish", "room": room, "data": 1}))),
                _ => {
                    for _ in 0..random.below(100) {
                        one.step(TICK_MS);
                    }
                    one.turn();
                }
            }
            // A close by the server is answered at once.
            for slot in 0..8_u32 {
                if is_open[slot as usize]
                    && one.engine.home.sessions.at(slot).phase != crate::engine::session::Phase::Open
                {
                    one.handle(Input::Disconnected { slot });
                    is_open[slot as usize] = false;
                }
            }
            one.turn();
            one.output.closes.clear();
            let open = is_open.iter().filter(|open| **open).count() as u64;
            assert_eq!(one.engine.counters.connections.get(), open, "seed {seed}");
            assert!(one.due() <= is_open.len(), "seed {seed}");
            let home = &one.engine.home;
            for slot in (0..8_u32).filter(|slot| is_open[*slot as usize]) {
                for membership in home.sessions.at(slot).memberships.iter().filter(|membership| membership.wanted) {
                    let room = &home.audiences.at(membership.audience).room;
                    assert!(
                        home.may(slot, room, crate::engine::access::Allowed::JOIN),
                        "seed {seed}: {slot} in {room}"
                    );
                }
            }
        }
        for slot in (0..8_u32).filter(|slot| is_open[*slot as usize]) {
            one.handle(Input::Disconnected { slot });
        }
        one.turn();
        // Histories go in their own time.
        for _ in 0..10 {
            one.step(60_000);
            one.turn();
        }
        let counters = &one.engine.counters;
        assert_eq!((counters.members.get(), counters.connections.get(), one.due()), (0, 0, 0), "seed {seed}");
        let held: Vec<u64> =
            (0..8).map(|slot| one.engine.home.tokens.as_ref().expect("guarded").held.at(slot).ends_ms).collect();
        assert_eq!((held, one.engine.budget.used()), (vec![0; 8], 0), "seed {seed}");
        assert!(counters.closed_token.get() > 0 || seed > 0, "tokens do end");
    }
}
