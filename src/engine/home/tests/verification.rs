//! Tokens judged, in virtual time: which of them wait for keys and how long, what they cost, and what becomes of those who
//! send bad ones.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{Value, json};

use super::tokens::{CLOSE_4401, START_S, guarded, head, keys, strange_token, token};
use super::*;
use crate::base::limits::{
    KEYS_WAIT_MS, KEYS_WAITING_MAX, KEYS_WAITING_PER_ADDRESS_MAX, RATE_REFUSALS_MAX, REFRESHES_WAITING_MAX,
    TOKEN_CHECKS_MAX, TOKEN_CHECKS_PER_MS, TOKEN_KEYS_TRIED_MAX, TOKEN_REFUSALS_MAX, WAITED_CHECKS_PER_TURN_MAX,
};
use crate::engine::access::{Expected, Keys, Material, Renewal};
use crate::engine::rates::Rate;
use crate::engine::settings::Limits;

/// A key of an identity provider.
struct ProviderKey(KeyPair);

impl ProviderKey {
    fn new() -> Self {
        Self(KeyPair::generate_for(&PKCS_ED25519).expect("a key"))
    }

    fn sign(&self, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
        let key = EncodingKey::from_ed_pem(self.0.serialize_pem().as_bytes()).expect("its own key");
        encode(&header, claims, &key).expect("signed")
    }

    /// Of ann, for ten minutes.
    fn token(&self, id: Option<&str>) -> String {
        self.sign(id, &json!({"sub": "ann", "exp": START_S + 600}))
    }
}

fn material(keys: &[(&ProviderKey, Option<&str>)]) -> Material {
    let jwk = |(ProviderKey(pair), id): &(&ProviderKey, Option<&str>)| json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(pair.public_key_raw()), "kid": id});
    let set = json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()});
    Material::from_key_set(&set.to_string()).expect("good keys")
}

fn set(keys: &[(&ProviderKey, Option<&str>)], renewal: Renewal) -> Input<'static> {
    Input::Keys(Arc::new(Keys::new(material(keys), Expected::default(), renewal)))
}

impl One {
    fn refresh(&mut self, slot: u32, id: u32, token: &str) -> String {
        self.ask(slot, &json!({"type": "refresh", "id": id, "token": token}))
    }

    fn wants_keys(&mut self) -> bool {
        std::mem::take(&mut self.output.keys_wanted)
    }

    fn checks(&self) -> u64 {
        self.counters.auth_checks.get()
    }
}

#[test]
fn an_upgrade_whose_key_may_yet_come_waits_for_it() {
    for (renewal, code) in [(Renewal::Renewed, "401"), (Renewal::Awaited, "503")] {
        let mut one = guarded(0);
        one.handle(Input::Keys(keys("other", 0, renewal)));
        let query = format!("token={}", strange_token());
        assert_eq!(one.connect(0, &query), "");
        assert!(std::mem::take(&mut one.output.keys_wanted), "keys are asked for");
        assert_eq!(one.connect(1, &query), "");
        assert!(!one.output.keys_wanted, "not again so soon");
        // One that goes while it waits leaves nothing behind.
        one.handle(Input::Disconnected { slot: 1 });
        one.output.closes.clear();
        one.handle(Input::Keys(keys("other", 0, renewal)));
        let said = one.said();
        assert!(said.starts_with(&format!("HTTP/1.1 {code} ")), "keys that do not help: {said}");
        assert_eq!(said.contains("\r\nRetry-After: "), code == "503", "{said}");
        assert_eq!(one.connect(2, &query), "");
        assert!(one.output.keys_wanted, "the next one may have better luck");
        let waited = one.wait_for(format!("HTTP/1.1 {code} ").as_bytes(), HEAD_TIMEOUT_MS).expect("an answer");
        assert!((KEYS_WAIT_MS..KEYS_WAIT_MS + 2 * TICK_MS).contains(&waited), "{waited}");
        assert_eq!((one.engine.budget.used(), one.engine.counters.upgrading.get()), (0, 0));
    }
    let mut one = guarded(0);
    one.handle(Input::Keys(keys("other", 0, Renewal::Awaited)));
    let key = ProviderKey::new();
    let query = format!("room=a&token={}", key.token(Some("k")));
    assert_eq!(one.connect(0, &query), "");
    // What a client sends on is kept as well, and served after the answer.
    one.receive(0, &client_frame(Opcode::Text, b"{\"type\":\"ping\",\"id\":\n5}", [1, 2, 3, 4]));
    assert_eq!(one.said(), "");
    one.handle(set(&[(&key, Some("k"))], Renewal::Renewed));
    let said = one.said();
    assert!(said.starts_with("HTTP/1.1 101 "), "{said}");
    assert!(said.contains(r#""user":"ann""#) && said.contains(r#"{"type":"pong","id":5"#), "{said}");
}

#[test]
fn who_came_while_keys_were_being_read_waits_for_the_next() {
    let mut one = guarded(0);
    let read_at = |ms| Arc::new(Keys::new(Material::new(), Expected::default(), Renewal::Renewed).as_of(ms));
    one.handle(Input::Keys(read_at(0)));
    let came_ms = one.now.mono_ms();
    assert_eq!(one.connect(0, &format!("token={}", strange_token())), "");
    one.output.keys_wanted = false;
    one.step(TICK_MS);
    one.handle(Input::Keys(read_at(came_ms - 1)));
    assert_eq!(one.said(), "", "read before it came");
    assert!(one.output.keys_wanted, "and asked for again");
    one.handle(Input::Keys(read_at(came_ms)));
    assert!(one.said().starts_with("HTTP/1.1 401 "));
    // A key that is there already is one, whenever it was read.
    let key = ProviderKey::new();
    assert_eq!(one.connect(1, &format!("token={}", key.token(None))), "");
    let keys = Keys::new(material(&[(&key, None)]), Expected::default(), Renewal::Renewed).as_of(0);
    one.handle(Input::Keys(Arc::new(keys)));
    assert!(one.said().starts_with("HTTP/1.1 101 "));
    assert_eq!(one.wait_for(b"HTTP/1.1 ", 2 * KEYS_WAIT_MS), None, "one answer is enough");
}

#[test]
fn a_client_that_waits_for_keys_cannot_send_without_end() {
    let mut one = guarded(0);
    one.handle(Input::Keys(keys("other", 0, Renewal::Awaited)));
    assert_eq!(one.connect(0, &format!("token={}", strange_token())), "");
    for _ in 0..100 {
        one.receive(0, &[b'x'; 1_000]);
    }
    let said = one.said();
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    assert_eq!(one.engine.budget.used(), 0);
}

/// However a new key comes beside old ones, a token that it signed waits for it: at an upgrade and at a refresh alike.
#[test]
fn a_signature_that_fits_no_key_waits_for_a_key_that_does() {
    let (old, new, fixed) = (ProviderKey::new(), ProviderKey::new(), ProviderKey::new());
    for (why, before, after, id) in [
        ("an unknown kid", vec![(&old, Some("1"))], vec![(&new, Some("2"))], Some("2")),
        ("a key without kid beside", vec![(&old, Some("1")), (&fixed, None)], vec![(&new, Some("2"))], Some("2")),
        ("a token without kid", vec![(&old, Some("1"))], vec![(&old, Some("1")), (&new, Some("2"))], None),
        ("a kid that is used again", vec![(&old, Some("1"))], vec![(&new, Some("1"))], Some("1")),
        ("a set without kids", vec![(&old, None)], vec![(&old, None), (&new, None)], None),
        ("a set without kids, a token with one", vec![(&old, None)], vec![(&new, None)], Some("1")),
    ] {
        let mut one = guarded(0);
        one.handle(set(&before, Renewal::Renewed));
        let opening = one.connect(0, &format!("token={}", old.token(before[0].1)));
        assert!(opening.starts_with("HTTP/1.1 101 "), "{why}: {opening}");
        assert_eq!(one.connect(1, &format!("token={}", new.token(id))), "", "{why}");
        assert!(one.wants_keys(), "{why}");
        assert_eq!(one.refresh(0, 7, &new.token(id)), "", "{why}");
        one.handle(set(&after, Renewal::Renewed));
        let said = one.said();
        assert!(said.contains("HTTP/1.1 101 ") && said.contains(r#""type":"refreshed","id":7,"#), "{why}: {said}");
        one.handle(Input::Disconnected { slot: 0 });
        one.handle(Input::Disconnected { slot: 1 });
        assert_eq!((one.engine.budget.used(), one.counters.auth_refused.get()), (0, 0), "{why}");
    }
}

#[test]
fn what_no_key_can_mend_is_refused_at_once() {
    let (known, strange) = (ProviderKey::new(), ProviderKey::new());
    let expected = || Expected { audience: "chat".to_owned(), ..Expected::default() };
    let keys = |renewal| {
        let secret = Material::from_secret("other");
        Input::Keys(Arc::new(Keys::new(secret.and(material(&[(&known, None)])).expect("few"), expected(), renewal)))
    };
    let claims = |more: Value| {
        let mut claims = json!({"sub": "ann", "exp": START_S + 600, "aud": "chat"});
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        claims
    };
    let mut one = guarded(0);
    one.handle(keys(Renewal::Renewed));
    let refused = [
        token(600, json!({"aud": "chat"})),
        strange.sign(None, &claims(json!({"exp": START_S - 1}))),
        strange.sign(None, &claims(json!({"aud": "mail"}))),
        strange.sign(None, &claims(json!({"sub": ""}))),
        "x".to_owned(),
    ];
    for (slot, token) in (0..).zip(&refused) {
        let answer = one.connect(slot, &format!("token={token}"));
        assert!(answer.starts_with("HTTP/1.1 401 ") && !one.wants_keys(), "{token}: {answer}");
    }
    let good = strange.sign(None, &claims(json!({})));
    assert_eq!(one.connect(10, &format!("token={good}")), "");
    assert!(one.wants_keys());
    // Where no set is read there is nothing to wait for.
    one.handle(keys(Renewal::None));
    assert!(one.said().starts_with("HTTP/1.1 401 "));
    assert!(one.connect(11, &format!("token={good}")).starts_with("HTTP/1.1 401 ") && !one.wants_keys());
}

#[test]
fn a_token_is_tried_on_each_key_once() {
    let (known, strange) = ([ProviderKey::new(), ProviderKey::new(), ProviderKey::new()], ProviderKey::new());
    let before: Vec<_> = known.iter().map(|key| (key, None)).collect();
    let mut one = guarded(0);
    one.handle(set(&before, Renewal::Renewed));
    let query = format!("token={}", strange.token(None));
    assert_eq!((one.connect(0, &query).as_str(), one.checks()), ("", 3));
    one.handle(set(&before, Renewal::Renewed));
    assert!(one.said().starts_with("HTTP/1.1 401 "));
    assert_eq!(one.checks(), 3, "the same keys tell nothing new");
    assert_eq!((one.connect(1, &query).as_str(), one.checks()), ("", 6));
    one.handle(set(&[&before[..], &[(&strange, None)]].concat(), Renewal::Renewed));
    assert!(one.said().starts_with("HTTP/1.1 101 "));
    assert_eq!(one.checks(), 7, "on the new key alone");
    // Keys that were replaced before it was tried on them are no reason to pass over what came since.
    assert_eq!((one.refresh(1, 1, &ProviderKey::new().token(None)).as_str(), one.checks()), ("", 11));
    one.handle(set(&[(&known[0], None)], Renewal::Renewed));
    one.handle(set(&[(&known[0], None), (&known[1], None)], Renewal::Renewed));
    assert!(one.said().contains(r#""code":"invalid_token""#));
    assert_eq!(one.checks(), 12);
}

#[test]
fn replies_about_tokens_keep_their_order() {
    let (old, new) = (ProviderKey::new(), ProviderKey::new());
    let mut one = guarded(0);
    one.handle(set(&[(&old, Some("1"))], Renewal::Renewed));
    one.connect(0, &format!("token={}", old.token(Some("1"))));
    for (id, token) in [(1, new.token(Some("2"))), (2, old.token(Some("1"))), (3, "x".to_owned())] {
        assert_eq!(one.refresh(0, id, &token), "", "behind the first");
    }
    assert!(one.ask(0, &json!({"type": "ping", "id": 9})).contains("pong"), "nothing else waits");
    one.handle(set(&[(&old, Some("1")), (&new, Some("2"))], Renewal::Renewed));
    let said = one.said();
    let at = |words: &str| said.find(words).unwrap_or_else(|| panic!("{words}: {said}"));
    let first = at(r#"{"type":"refreshed","id":1,"#);
    assert!(first < at(r#"{"type":"refreshed","id":2,"#), "{said}");
    assert!(at(r#"{"type":"refreshed","id":2,"#) < at(r#"{"type":"error","id":3,"code":"invalid_token","#), "{said}");
    one.handle(Input::Disconnected { slot: 0 });
    assert_eq!(one.engine.budget.used(), 0);
}

#[test]
fn a_connection_has_few_refreshes_that_wait() {
    let (known, strange) = (ProviderKey::new(), ProviderKey::new());
    let mut one = guarded(0);
    one.handle(set(&[(&known, Some("1"))], Renewal::Renewed));
    one.connect(0, &format!("token={}", known.token(Some("1"))));
    for id in 0..REFRESHES_WAITING_MAX as u32 {
        assert_eq!(one.refresh(0, id, &strange.token(Some("2"))), "");
    }
    let held = one.engine.budget.used();
    assert!(held > 0);
    let said = one.refresh(0, 100, &strange.token(Some("2")));
    assert!(said.contains(r#"{"type":"error","id":0,"code":"invalid_token","#), "the first is answered: {said}");
    assert!(!said.contains(r#""id":1,"#) && one.engine.budget.used() == held, "{said}");
    // Each gets its answer in time, though nobody brings keys.
    for id in 1..=3 {
        let answered = format!(r#"{{"type":"error","id":{id},"code":"invalid_token","#);
        assert!(one.wait_for(answered.as_bytes(), 2 * KEYS_WAIT_MS).is_some(), "{id}");
    }
    // It may go meanwhile.
    assert!(one.engine.budget.used() > 0);
    one.handle(Input::Disconnected { slot: 0 });
    assert_eq!(one.engine.budget.used(), 0);
    one.handle(set(&[(&strange, Some("2"))], Renewal::Renewed));
    assert_eq!(one.said(), "");
}

#[test]
fn a_refresh_without_any_keys_is_told_to_try_again() {
    let key = ProviderKey::new();
    let mut one = guarded(0);
    one.handle(set(&[(&key, None)], Renewal::Renewed));
    one.connect(0, &format!("token={}", key.token(None)));
    let none = || Arc::new(Keys::new(Material::new(), Expected::default(), Renewal::Awaited));
    one.handle(Input::Keys(none()));
    for id in 0..2 * u32::from(TOKEN_REFUSALS_MAX) {
        assert_eq!(one.refresh(0, id, &key.token(None)), "");
        one.handle(Input::Keys(none()));
        let said = one.said();
        assert!(said.contains(r#""code":"unavailable""#) && said.contains(r#""retry_after_ms":2000"#), "{said}");
    }
    assert_eq!(one.counters.connections.get(), 1, "that is not the token's fault");
}

#[test]
fn a_few_refused_tokens_in_a_row_close() {
    let mut one = guarded(0);
    one.connect(0, &format!("token={}", token(600, json!({}))));
    let bad = [token(600, json!({"sub": "eve"})), token(0, json!({})), "x".to_owned(), strange_token()];
    for round in 0..3 {
        for id in 1..TOKEN_REFUSALS_MAX {
            let said = one.refresh(0, id.into(), &bad[usize::from(id) % bad.len()]);
            assert!(said.contains(r#""type":"error""#), "{round}: {said}");
        }
        assert!(one.refresh(0, 0, &token(600, json!({}))).contains("refreshed"), "a good one begins anew");
    }
    for id in 1..=TOKEN_REFUSALS_MAX {
        assert_eq!(one.output.ended.len(), 0);
        one.receive(0, &refresh_frame(id.into(), &bad[usize::from(id) % bad.len()]));
    }
    let sends = one.turn();
    assert!(sends[0].bytes.windows(2).any(|part| part == CLOSE_4401), "{sends:?}");
    assert!(String::from_utf8_lossy(&sends[0].bytes).contains("too many refused tokens"), "{sends:?}");
    assert_eq!((one.output.ended.len(), one.counters.closed_token.get()), (1, 1));
}

fn refresh_frame(id: u32, token: &str) -> Vec<u8> {
    let command = json!({"type": "refresh", "id": id, "token": token}).to_string();
    client_frame(Opcode::Text, command.as_bytes(), [1, 2, 3, 4])
}

/// Good tokens cost as much as bad ones: each connection may cause so many signature checks.
#[test]
fn a_refresh_takes_as_many_checks_as_keys_may_have_signed_it() {
    let keys: Vec<ProviderKey> = (0..TOKEN_KEYS_TRIED_MAX).map(|_| ProviderKey::new()).collect();
    for (count, named) in [(1, false), (TOKEN_KEYS_TRIED_MAX, false), (TOKEN_KEYS_TRIED_MAX, true)] {
        let ids: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let known: Vec<_> = keys.iter().zip(&ids).map(|(key, id)| (key, named.then_some(id.as_str()))).collect();
        let mut one = guarded(0);
        one.handle(set(&known, Renewal::None));
        let token = keys[0].token(named.then_some("0"));
        one.connect(0, &format!("token={token}"));
        let cost = if named { 1 } else { count as u64 };
        let at_once = 2 * TOKEN_CHECKS_MAX / cost;
        for id in 0..at_once {
            assert!(one.refresh(0, id as u32, &token).contains("refreshed"), "{count} {named}: {id}");
        }
        assert_eq!(one.checks(), (at_once + 1) * cost);
        let said = one.refresh(0, 1, &token);
        let wait_ms = cost * TOKEN_CHECKS_PER_MS / TOKEN_CHECKS_MAX;
        assert!(said.contains(&format!(r#""code":"rate_limited","message":"this connection refreshes its token too often","retry_after_ms":{wait_ms}}}"#)), "{said}");
        one.step(wait_ms);
        assert!(one.refresh(0, 2, &token).contains("refreshed"), "{count} {named}");
        for _ in 0..RATE_REFUSALS_MAX {
            assert_eq!(one.output.ended.len(), 0);
            one.receive(0, &refresh_frame(3, &token));
        }
        assert_eq!(one.output.ended[0].code.map(|code| code.number()), Some(4429), "{count} {named}");
        assert_eq!(one.checks(), (at_once + 2) * cost, "what is refused for its rate is not checked");
    }
}

/// Whether at upgrades or at refreshes: checks of tokens that were not good take upgrades from the rate of the address.
#[test]
fn bad_tokens_take_from_the_rate_of_their_address() {
    let keys: Vec<ProviderKey> = (0..8).map(|_| ProviderKey::new()).collect();
    let known: Vec<_> = keys.iter().map(|key| (key, None)).collect();
    let (good, bad) = (format!("token={}", keys[7].token(None)), ProviderKey::new().token(None));
    let limits = Limits { connect_rate_per_ip: Rate::new(8, 1_000), ..Limits::default() };
    let start = || {
        let mut one = One::with(Settings { cores: 1, limits: limits.clone(), ..Settings::for_tests() });
        one.handle(set(&known, Renewal::None));
        one
    };
    let mut one = start();
    for slot in 0..16 {
        assert!(one.connect(slot, &good).starts_with("HTTP/1.1 101 "), "a good token is one upgrade");
    }
    assert!(one.connect(16, &good).starts_with("HTTP/1.1 429 "));
    let mut one = start();
    for slot in 0..2 {
        assert!(one.connect(slot, &format!("token={bad}")).starts_with("HTTP/1.1 401 "));
    }
    assert!(one.connect(2, &good).starts_with("HTTP/1.1 429 "), "two bad tokens were 16 checks");
    assert_eq!(one.checks(), 16);
    let mut one = start();
    assert!(one.connect(0, &good).starts_with("HTTP/1.1 101 "));
    for id in 0..4 {
        assert!(one.refresh(0, id, &bad).contains("invalid_token"));
    }
    assert!(one.connect(1, &good).starts_with("HTTP/1.1 429 "), "as much is owed as the bucket holds");
    one.step(2_000);
    assert!(one.connect(2, &good).starts_with("HTTP/1.1 429 "), "what is owed is paid first");
    one.step(200);
    assert!(one.connect(3, &good).starts_with("HTTP/1.1 101 "));
    // From elsewhere nobody has sent anything bad.
    one.handle(Input::Accepted { slot: 9, peer: IpAddr::from([192, 0, 2, 9]) });
    one.receive(9, head(&good).as_bytes());
    assert!(one.said().starts_with("HTTP/1.1 101 "));
}

/// Everybody's tokens wait for one key: when it comes they are judged a few in each turn, in the order in which they came.
#[test]
fn tokens_that_have_waited_are_judged_a_few_in_each_turn() {
    let (old, new) = (ProviderKey::new(), ProviderKey::new());
    let mut one = guarded(0);
    one.handle(set(&[(&old, None)], Renewal::Renewed));
    let query = format!("token={}", new.token(None));
    let slots: Vec<u32> = (0..100).rev().collect();
    for slot in &slots {
        assert_eq!(one.connect(*slot, &query), "");
        one.step(1);
    }
    // One that goes leaves its place to one that comes.
    one.handle(Input::Disconnected { slot: 50 });
    one.handle(set(&[(&old, None), (&new, None)], Renewal::Renewed));
    let mut answered = Vec::new();
    for turn in 1.. {
        let before = one.checks();
        let more = one.engine.finish_turn(one.now, &mut one.output);
        let sends = std::mem::take(&mut one.output.sends);
        assert!(sends.iter().all(|send| send.bytes.starts_with(b"HTTP/1.1 101 ")), "{sends:?}");
        answered.extend(sends.iter().map(|send| send.slot));
        assert!(one.checks() - before <= u64::from(WAITED_CHECKS_PER_TURN_MAX));
        if !more {
            assert_eq!(turn, 99_u32.div_ceil(WAITED_CHECKS_PER_TURN_MAX));
            break;
        }
    }
    let expected: Vec<u32> = slots.into_iter().filter(|slot| *slot != 50).collect();
    assert_eq!(answered, expected, "first come first");
}

/// A flood of tokens that nobody signed: it does not take the places of others, nor their keys, and asks for few.
#[test]
fn a_flood_of_strange_tokens_starves_nobody() {
    let (old, new, strange) = (ProviderKey::new(), ProviderKey::new(), ProviderKey::new());
    let mut one = guarded(0);
    one.handle(set(&[(&old, None)], Renewal::Renewed));
    let (good, bad) = (format!("token={}", old.token(None)), format!("token={}", strange.token(None)));
    let mut asked = 0;
    let places = KEYS_WAITING_PER_ADDRESS_MAX as u32;
    for slot in 0..2 * places {
        let answer = one.connect(slot, &bad);
        asked += u32::from(one.wants_keys());
        assert_eq!(answer.starts_with("HTTP/1.1 401 "), slot >= places, "{slot}: {answer}");
    }
    assert_eq!(asked, 1, "the same instant");
    assert!(one.connect(1_000, &good).starts_with("HTTP/1.1 101 "), "a known key is known");
    one.handle(Input::Accepted { slot: 1_001, peer: IpAddr::from([198, 51, 100, 1]) });
    one.receive(1_001, head(&format!("token={}", new.token(None))).as_bytes());
    assert_eq!(one.said(), "", "another client finds a place");
    one.handle(set(&[(&old, None), (&new, None)], Renewal::Renewed));
    let mut said = String::new();
    for _ in 0..2 * places {
        said += &one.said();
    }
    assert_eq!((said.matches("HTTP/1.1 101 ").count(), said.matches("HTTP/1.1 401 ").count()), (1, places as usize));
    // From everywhere at once: the places of a core are counted too.
    for slot in 2_000..2_000 + 2 * KEYS_WAITING_MAX as u32 {
        let peer = IpAddr::V4(Ipv4Addr::from_bits(slot));
        one.handle(Input::Accepted { slot, peer });
        one.receive(slot, head(&bad).as_bytes());
        one.turn();
    }
    assert_eq!(one.counters.upgrading.get(), KEYS_WAITING_MAX as u64);
    assert!(one.connect(1_002, &good).starts_with("HTTP/1.1 101 "));
    assert!(one.refresh(1_000, 1, &new.token(None)).contains("refreshed"));
    assert_eq!(one.refresh(1_000, 2, &strange.token(None)), "", "refreshes have places of their own");
}

#[test]
fn without_keys_health_is_degraded_and_well_again_by_itself() {
    let health = |one: &mut One, slot: u32| {
        one.handle(accepted(slot));
        one.receive(slot, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        one.said()
    };
    let none = || Arc::new(Keys::new(Material::new(), Expected::default(), Renewal::Awaited));
    let mut one = One::new();
    assert!(health(&mut one, 0).starts_with("HTTP/1.1 200 "), "nobody needs a key");
    one.handle(Input::Keys(none()));
    let said = health(&mut one, 1);
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains(r#"{"status":"degraded","#), "{said}");
    one.handle(Input::Keys(keys("secret", 0, Renewal::Awaited)));
    assert!(health(&mut one, 2).starts_with("HTTP/1.1 200 "), "some tokens are taken");
    one.handle(Input::Keys(none()));
    assert!(health(&mut one, 3).starts_with("HTTP/1.1 503 "));
    one.handle(Input::Keys(keys("secret", 0, Renewal::None)));
    assert!(health(&mut one, 4).starts_with("HTTP/1.1 200 "));
    one.handle(Input::Keys(none()));
    one.handle(Input::Drain { window_ms: 0, hands_over: false });
    assert!(health(&mut one, 5).contains(r#"{"status":"draining"}"#));
}
