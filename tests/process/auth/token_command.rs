//! `roomring token`, and what the configuration says about keys.

use serde_json::{Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::{SECRET, guarded, now_s, status_of, upgrade};
use crate::client::Client;
use crate::command_line::{assert_failed, run};
use crate::server::{eventually, finish, program, scratch};

fn claims_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&BASE64.decode(payload).expect("base64url")).expect("JSON")
}

#[test]
fn what_it_prints_is_taken_by_the_server() {
    let secret = format!("auth.hmac_secret={SECRET}");
    let sets = ["auth.audience=chat", "auth.issuer=me", &secret];
    let server = guarded(&sets[..2]);
    let mut arguments = vec!["token", "--user", "alice", "--room", "news:*", "--room", "lobby"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    let printed = run(&arguments);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""), "{printed:?}");
    let token = printed.stdout.trim_end();
    assert_eq!(printed.stdout.lines().count(), 1, "the token alone: {printed:?}");
    let mut client = Client::connect_at(&server, &format!("/ws?token={token}"));
    assert_eq!(client.welcome["user"], "alice");
    client.join("news:1");
    client.publish("news:1", json!(1));
    client.join("lobby");
    client.refused(json!({"type": "join", "room": "other"}), "forbidden");
    let claims = claims_of(token);
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!("chat"), &json!("me")), "{claims}");
    let exp = claims["exp"].as_u64().expect("a time");
    assert!((now_s() + 3_500..=now_s() + 3_601).contains(&exp), "an hour: {claims}");
    let short = run(&[&arguments[..], &["--ttl", "90s"]].concat());
    let exp = claims_of(short.stdout.trim_end())["exp"].as_u64().expect("a time");
    assert!((now_s() + 30..=now_s() + 91).contains(&exp), "{exp}");
}

#[test]
fn it_reads_the_configuration_like_the_server() {
    let file = scratch("auth").join("token.toml");
    // Cores that this host does not have are no matter here.
    std::fs::write(&file, "[server]\ncores = 1000\n[auth]\nhmac_secret = \"from the file\"\n").expect("writable");
    let path = file.to_str().expect("a plain name");
    assert_eq!(run(&["token", "--user", "a", "--config", path]).code, 0);
    let mut command = program();
    command.args(["token", "--user", "alice"]).env("ROOMRING_AUTH__HMAC_SECRET", SECRET);
    let printed = finish(command);
    assert_eq!((printed.code, status_of(&guarded(&[]), printed.stdout.trim_end())), (0, 101));
}

#[test]
fn what_is_missing_or_wrong_is_said_in_one_sentence() {
    assert_failed(&run(&["token", "--user", "alice"]), 2, &["auth.hmac_secret"]);
    assert_failed(&run(&["token"]), 2, &["--user"]);
    let with = |more: &[&str]| {
        let secret = format!("auth.hmac_secret={SECRET}");
        run(&[&["token", "--set", &secret], more].concat())
    };
    for (arguments, parts) in [
        (vec!["--user", ""], vec!["--user"]),
        (vec!["--user", "a", "--ttl", "1"], vec!["--ttl", "unit"]),
        (vec!["--user", "a", "--ttl", "0"], vec!["--ttl", "1s"]),
        (vec!["--user", "a", "--room", ""], vec!["--room"]),
        (vec!["--user", "a", "--set", "auth.modus=x"], vec!["auth.modus", "auth.mode"]),
    ] {
        let finished = with(&arguments);
        assert_failed(&finished, 2, &parts);
        assert!(!finished.stderr.contains(SECRET), "{finished:?}");
    }
}

#[test]
fn a_mode_without_keys_is_refused_and_secrets_are_masked() {
    assert_failed(&run(&["--set", "auth.mode=jwt"]), 2, &["auth.mode", "auth.hmac_secret", "auth.jwks"]);
    let public = ["check-config", "--set", "server.listen=0.0.0.0:0", "--set", "auth.mode=jwt"];
    let secret = format!("auth.hmac_secret={SECRET}");
    assert_eq!(run(&[&public[..], &["--set", &secret]].concat()).code, 0, "tokens guard a public address");
    let printed = run(&["print-config", "--set", "auth.mode=jwt", "--set", &secret]);
    assert!(printed.stdout.contains("hmac_secret = \"***\"") && !printed.stdout.contains(SECRET), "{printed:?}");
}

#[test]
fn a_short_secret_is_taken_with_a_warning() {
    let server = guarded(&["auth.hmac_secret=secret"]);
    // The log is written by a thread of its own.
    eventually("a warning", || server.stderr.get().contains("auth.hmac_secret is shorter than 32 bytes").then_some(()));
    assert_eq!(status_of(&server, &super::sign("secret", &super::claims("alice", 60, json!({})))), 101);
    assert_eq!(upgrade(&server, "", "").status, 401);
}
