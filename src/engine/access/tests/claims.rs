//! Claims: times at their edges, types and bounds, as a holder of the secret might sign them.

use serde_json::{Value, json};

use super::signer::Signer;
use super::*;
use crate::base::limits::{TOKEN_NAME_BYTES_MAX, TOKEN_PATTERN_BYTES_MAX, TOKEN_ROOMS_MAX};
use crate::engine::random::Random;

fn verify_with(expected: Expected, claims: &Value, now_ms: u64) -> Result<Access, Denied> {
    let signer = Signer::secret("secret");
    let token = signer.sign(Algorithm::HS256, None, claims);
    Keys::new(signer.material(), expected, Renewal::None).verify(&token, now_ms)
}

fn verify(claims: &Value) -> Result<Access, Denied> {
    verify_with(Expected::default(), claims, NOW_MS)
}

/// The claims of `ann` with others.
fn with(more: Value) -> Value {
    let mut claims = ann();
    claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    claims
}

#[test]
fn times_count_to_the_millisecond_and_leeway_forgives() {
    let leeway = |leeway_ms| Expected { leeway_ms, ..Expected::default() };
    let claims = json!({"sub": "ann", "exp": NOW_S, "nbf": NOW_S - 10});
    let cause =
        |leeway_ms, now_ms| verify_with(leeway(leeway_ms), &claims, now_ms).map_err(|denied| denied.cause).err();
    assert_eq!(cause(0, NOW_MS - 1), None);
    assert_eq!(cause(0, NOW_MS), Some(Cause::Expired));
    assert_eq!(cause(5_000, NOW_MS + 4_999), None);
    assert_eq!(cause(5_000, NOW_MS + 5_000), Some(Cause::Expired));
    assert_eq!(cause(0, NOW_MS - 10_000), None);
    assert_eq!(cause(0, NOW_MS - 10_001), Some(Cause::Early));
    assert_eq!(cause(3_000, NOW_MS - 13_000), None);
    assert_eq!(cause(3_000, NOW_MS - 13_001), Some(Cause::Early));
    let access = verify_with(leeway(5_000), &claims, NOW_MS).expect("within the leeway");
    assert_eq!((access.expires_at, access.ends_at), (NOW_MS, NOW_MS + 5_000));
    let half = json!({"sub": "ann", "exp": NOW_S as f64 + 0.5});
    assert_eq!(verify(&half).expect("not yet").expires_at, NOW_MS + 500);
    let code = verify(&json!({"sub": "ann", "exp": 1})).expect_err("long past").code();
    assert_eq!(code, crate::base::codes::ErrorCode::TokenExpired);
    let far = verify(&json!({"sub": "ann", "exp": 1e300})).expect("far");
    assert_eq!(far.expires_at, (1 << 53) - 1, "what every client reads exactly");
}

#[test]
fn audience_and_issuer_are_asked_for_where_they_are_configured() {
    let chat = || Expected { audience: "chat".into(), issuer: "me".into(), leeway_ms: 0 };
    for (more, is_taken) in [
        (json!({"aud": "chat", "iss": "me"}), true),
        (json!({"aud": ["other", "chat"], "iss": "me"}), true),
        (json!({"aud": "chat"}), false),
        (json!({"iss": "me"}), false),
        (json!({"aud": "Chat", "iss": "me"}), false),
        (json!({"aud": [], "iss": "me"}), false),
        (json!({"aud": null, "iss": "me"}), false),
        (json!({"aud": "chat", "iss": "you"}), false),
    ] {
        assert_eq!(verify_with(chat(), &with(more.clone()), NOW_MS).is_ok(), is_taken, "{more}");
        assert!(verify(&with(more.clone())).is_ok(), "nothing is expected: {more}");
    }
    let denied = verify_with(chat(), &with(json!({"aud": "secret-audience", "iss": "me"})), NOW_MS).expect_err("other");
    assert_eq!(denied.cause, Cause::Elsewhere);
    assert!(!denied.message.contains("secret-audience"), "{denied:?}");
}

#[test]
fn claims_of_a_wrong_type_are_refused_by_their_name() {
    let long = "x".repeat(TOKEN_PATTERN_BYTES_MAX + 1);
    let long_name = "x".repeat(TOKEN_NAME_BYTES_MAX + 1);
    for (name, wrong) in [
        ("sub", vec![json!(1), json!(""), json!("a\u{0}b"), json!("x".repeat(129)), json!(["ann"]), json!(null)]),
        ("exp", vec![json!("1700000060"), json!(-1), json!(true), json!([1]), json!(null)]),
        ("nbf", vec![json!("1"), json!(-1), json!({})]),
        ("iat", vec![json!("1"), json!(-0.5), json!(false)]),
        ("aud", vec![json!(1), json!([1]), json!({"a": 1}), json!(["a", null])]),
        ("iss", vec![json!(1), json!(["me"])]),
        ("name", vec![json!(1), json!("a\nb"), json!(long_name)]),
        (
            "rooms",
            vec![
                json!(null),
                json!("a"),
                json!(7),
                json!([1]),
                json!([""]),
                json!([["a"]]),
                json!(["a\nb"]),
                json!([long]),
                json!({"a": "join"}),
                json!({"a": ["read"]}),
                json!({"a": [1]}),
                json!({"": ["join"]}),
                json!({"a": {"join": true}}),
                json!(vec!["a"; TOKEN_ROOMS_MAX + 1]),
            ],
        ),
    ] {
        for value in wrong {
            let denied = verify(&with(json!({name: value.clone()}))).expect_err(name);
            assert_eq!(denied.cause, Cause::Claim, "{name} {value}");
            assert!(denied.message.contains(&format!("`{name}`")), "{denied:?}");
        }
    }
    for optional in ["nbf", "iat", "aud", "iss", "name"] {
        assert!(verify(&with(json!({optional: null}))).is_ok(), "{optional}");
    }
    for no_object in [json!([]), json!(7), json!("ann"), json!(null)] {
        assert_eq!(verify(&no_object).expect_err("no object").cause, Cause::Malformed);
    }
    assert!(verify(&json!({"sub": "ann"})).expect_err("no exp").message.contains("`exp` is missing"));
}

#[test]
fn a_claim_that_is_given_twice_is_refused() {
    let payload = |more: &str| format!(r#"{{"sub":"ann","exp":{},{more}}}"#, NOW_S + 60);
    let read = |text: &str| super::super::claims::Claims::read(text.as_bytes()).map(|claims| claims.user.to_string());
    assert_eq!(read(&payload(r#""other":1,"other":2"#)).as_deref(), Ok("ann"));
    for name in ["sub", "exp", "nbf", "iat", "aud", "iss", "name", "rooms"] {
        let denied = read(&payload(&format!(r#""{name}":null,"{name}":null"#))).expect_err("twice");
        assert!(denied.message.contains(&format!("`{name}` is given twice")), "{denied:?}");
    }
    let denied = read(&payload(r#""s\u0075b":"eve""#)).expect_err("the same name, written otherwise");
    assert!(denied.message.contains("`sub`"), "{denied:?}");
}

#[test]
fn rooms_come_as_a_list_or_with_what_is_allowed() {
    let grants = |rooms: Value| verify(&with(json!({"rooms": rooms}))).expect("taken").grants;
    let list = grants(json!(["news:*", "lobby"]));
    assert!(list.allow("news:1", Allowed::JOIN | Allowed::PUBLISH) && list.allow("lobby", Allowed::PUBLISH));
    assert!(!list.allow("other", Allowed::JOIN) && !list.allow("lobby", Allowed::ADMIN));
    let object = grants(json!({"news:*": ["join"], "mine": ["admin"], "drop": ["publish"], "none": []}));
    assert!(object.allow("news:1", Allowed::JOIN) && !object.allow("news:1", Allowed::PUBLISH));
    assert!(object.allow("mine", Allowed::JOIN | Allowed::PUBLISH | Allowed::ADMIN));
    assert!(object.allow("drop", Allowed::PUBLISH) && !object.allow("drop", Allowed::JOIN));
    assert!(!object.allow("none", Allowed::JOIN));
    for nothing in [json!([]), json!({})] {
        assert!(!grants(nothing).allow("a", Allowed::JOIN));
    }
    assert_eq!(verify(&ann()).expect("taken").grants, Grants::unlimited());
    assert_eq!(verify(&with(json!({"name": "Ann B."}))).expect("taken").name.as_deref(), Some("Ann B."));
}

/// Changed at random, signed as it should be: each is taken or refused with words, never anything else.
#[test]
fn any_payload_is_taken_or_refused() {
    let seed = 7;
    let mut random = Random::new(seed);
    let start = with(json!({
        "nbf": 1.5, "iat": 3, "aud": ["a", "b"], "iss": "me", "name": "Änn", "rooms": {"a*": ["join", "admin"]},
    }))
    .to_string()
    .into_bytes();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut payload = start.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(payload.len() as u64) as usize;
            match random.below(4) {
                0 => payload[at] = random.next_u64() as u8,
                1 if payload.len() > 1 => drop(payload.remove(at)),
                2 => payload.insert(at, b"{}[]\",:\\0123456789.eE-nut"[random.below(25) as usize]),
                _ => payload.truncate(at.max(1)),
            }
        }
        match super::super::claims::Claims::read(&payload) {
            Ok(_) => taken += 1,
            Err(denied) => {
                assert!(!denied.message.is_empty() && denied.message.len() < 200, "{denied:?}");
                refused += 1;
            }
        }
    }
    assert!(taken > 1_000 && refused > 1_000, "seed {seed}: {taken} taken, {refused} refused");
}
