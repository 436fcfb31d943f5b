//! Keys that change while the server serves: key sets by address and by file, SIGHUP, outages.

use std::path::PathBuf;

use serde_json::json;

use super::key_server::{Key, KeyServer, key_set};
use super::{claims, guarded, sign, status_of, upgrade};
use crate::client::Client;
use crate::http;
use crate::server::{Server, eventually, program, scratch};

fn ready(server: &Server) -> (u16, serde_json::Value) {
    let answer = http::get(server.control, "/ready");
    (answer.status, answer.json())
}

#[test]
fn a_key_set_is_fetched_before_the_server_is_ready_and_again_when_it_changes() {
    let (old, new, never) = (Key::new("old"), Key::new("new"), Key::new("never"));
    let keys = KeyServer::start(&[&old]);
    let server = Server::start(&["auth.mode=jwt", &keys.setting()]);
    assert_eq!((ready(&server).0, keys.asked()), (200, 1));
    let mut client = Client::connect_at(&server, &format!("/ws?room=a&token={}", old.token("alice")));
    // A token whose key is published already, though not known here yet, does not have to be sent twice.
    keys.publish(&[&old, &new]);
    assert_eq!(status_of(&server, &new.token("alice")), 101);
    assert_eq!(status_of(&server, &old.token("alice")), 101);
    // What is never published is refused, and asked for a few times only, however often it is named.
    for _ in 0..3 {
        let refused = upgrade(&server, &format!("?token={}", never.token("alice")), "");
        assert_eq!((refused.status, &refused.json()["error"]), (401, &json!("invalid_token")));
    }
    assert!(keys.asked() <= 6, "{}", keys.asked());
    // Withdrawn keys no longer count once the set is read again; live connections stay.
    keys.publish(&[&new]);
    assert_eq!(status_of(&server, &never.token("alice")), 401);
    assert_eq!(status_of(&server, &old.token("alice")), 401);
    assert_eq!(status_of(&server, &new.token("alice")), 101);
    client.publish("a", json!("still here"));
    let reply = client.request(json!({"type": "refresh", "token": new.token("alice")}));
    assert_eq!(reply["type"], "refreshed", "{reply}");
    assert_eq!(server.metric("roomring_breaker_state", "jwks"), 0.0);
}

#[test]
fn a_key_set_comes_over_https_from_whoever_the_host_trusts() {
    let key = Key::new("key");
    let (keys, certificate) = KeyServer::start_tls(&[&key]);
    let trusted = file("trusted.pem", &certificate);
    let start = |trusted: Option<&PathBuf>| {
        let mut command = program();
        if let Some(trusted) = trusted {
            command.env("SSL_CERT_FILE", trusted);
        }
        command.args(["--set", "server.cores=1", "--set", "server.pin=false", "--set", "auth.mode=jwt", "--set"]);
        command.arg(keys.tls_setting());
        Server::spawn(command)
    };
    let server = start(Some(&trusted));
    assert_eq!((ready(&server).0, status_of(&server, &key.token("alice"))), (200, 101));
    let strict = start(None);
    assert_eq!(ready(&strict).0, 503, "nobody vouches for that certificate");
    eventually("the log says why", || strict.stderr.get().contains("certificate").then_some(()));
}

#[test]
fn an_outage_of_the_key_set_keeps_the_keys_of_before() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let keys = KeyServer::start(&[&old]);
    let server = Server::start(&["auth.mode=jwt", &keys.setting()]);
    for broken in ["", "not JSON", r#"{"keys":[]}"#] {
        keys.say("200 OK", broken);
        assert_eq!(status_of(&server, &new.token("alice")), 401, "{broken}");
        assert_eq!(status_of(&server, &old.token("alice")), 101, "{broken}");
    }
    keys.fail();
    eventually("the breaker opens", || (server.metric("roomring_breaker_state", "jwks") == 2.0).then_some(()));
    let asked = keys.asked();
    assert_eq!(status_of(&server, &new.token("alice")), 401, "at once: nobody asks");
    assert_eq!((status_of(&server, &old.token("alice")), ready(&server).0), (101, 200), "the server goes on");
    assert!(keys.asked() <= asked + 1, "only a trial");
    keys.publish(&[&old, &new]);
    eventually("the new key counts", || (status_of(&server, &new.token("alice")) == 101).then_some(()));
    assert_eq!(server.metric("roomring_breaker_state", "jwks"), 0.0);
    let log = server.stderr.get();
    assert!(log.contains("the key set of auth.jwks cannot be read"), "{log}");
}

#[test]
fn without_its_keys_the_server_is_up_but_not_ready() {
    let key = Key::new("key");
    let keys = KeyServer::start(&[&key]);
    keys.fail();
    let server = Server::start(&["auth.mode=jwt", &keys.setting()]);
    let (status, body) = ready(&server);
    assert_eq!((status, &body["parts"]["keys"]), (503, &json!("not ready")), "{body}");
    assert!(body["message"].as_str().is_some_and(|words| words.contains("auth.jwks")), "{body}");
    assert_eq!(http::get(server.control, "/health").status, 200);
    let refused = upgrade(&server, &format!("?token={}", key.token("alice")), "");
    assert_eq!((refused.status, &refused.json()["error"]), (503, &json!("unavailable")), "{refused:?}");
    assert!(refused.field("Retry-After").is_some(), "{refused:?}");
    keys.publish(&[&key]);
    eventually("the server is ready", || (ready(&server).0 == 200).then_some(()));
    assert_eq!(status_of(&server, &key.token("alice")), 101);
}

/// Whatever keeps a new key from being missed by its name: a key without one beside the set, a name that is used again, a
/// set without names. A refresh waits for it as an upgrade does.
#[test]
fn a_rotated_key_counts_at_once_whatever_it_is_called() {
    let fixed = Key::unnamed();
    let pem = file("beside.pem", &fixed.pem());
    let beside = format!("auth.public_key_file={}", pem.display());
    for (why, old, new, more) in [
        ("a PEM file beside the set", Key::new("old"), Key::new("new"), &[beside.as_str()][..]),
        ("an id that is used again", Key::new("key"), Key::new("key"), &[]),
        ("no ids", Key::unnamed(), Key::unnamed(), &[]),
        ("a token without an id", Key::new("old"), Key::unnamed(), &[]),
    ] {
        let keys = KeyServer::start(&[&old]);
        let server = Server::start(&[&["auth.mode=jwt", &keys.setting()], more].concat());
        let mut client = Client::connect_at(&server, &format!("/ws?room=a&token={}", old.token("alice")));
        keys.publish(&[&new]);
        let reply = client.request(json!({"type": "refresh", "token": new.token("alice")}));
        assert_eq!(reply["type"], "refreshed", "{why}: {reply}");
        assert_eq!(
            (status_of(&server, &new.token("alice")), status_of(&server, &old.token("alice"))),
            (101, 401),
            "{why}"
        );
        if !more.is_empty() {
            assert_eq!(status_of(&server, &fixed.token("alice")), 101, "{why}");
        }
        let last = Key::unnamed();
        keys.publish(&[&last]);
        assert_eq!(status_of(&server, &last.token("alice")), 101, "{why}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_named_in_the_log() {
    let key = Key::new("good");
    let keys = KeyServer::start(&[&key]);
    let mut set: serde_json::Value = serde_json::from_str(&key_set(&[&key])).expect("JSON");
    let mut bad = set["keys"][0].clone();
    (bad["kid"], bad["x"]) = (json!("the bad one"), json!("AAAA"));
    set["keys"].as_array_mut().expect("a list").push(bad);
    keys.say("200 OK", &set.to_string());
    let server = Server::start(&["auth.mode=jwt", &keys.setting()]);
    assert_eq!(status_of(&server, &key.token("alice")), 101);
    let line = eventually("it is told", || {
        let log = server.stderr.get();
        log.lines().find(|line| line.contains("a key of auth.jwks cannot be used")).map(str::to_owned)
    });
    assert!(line.contains("the bad one") && line.contains("its `x` has 3 bytes"), "{line}");
}

fn data_health(server: &Server) -> (u16, String) {
    let answer = http::get(server.listen, "/health");
    (answer.status, answer.json()["status"].as_str().expect("a word").to_owned())
}

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}/keys.json", listener.local_addr().expect("it is bound"))
}

#[test]
fn the_keys_of_a_source_that_is_configured_no_longer_are_dropped_at_once() {
    let (former, latter) = (Key::new("former"), Key::new("latter"));
    let keys = KeyServer::start(&[&former]);
    let text = |source: &str| format!("[auth]\nmode = \"jwt\"\njwks = \"{source}\"\n");
    let address = |keys: &KeyServer| keys.setting().replace("auth.jwks=", "");
    let path = file("source.toml", &text(&address(&keys)));
    let mut command = program();
    command.args(["--set", "server.cores=2", "--set", "server.pin=false", "--config"]).arg(&path);
    let server = Server::spawn(command);
    let mut client = Client::connect_at(&server, &format!("/ws?room=a&token={}", former.token("alice")));
    assert_eq!((ready(&server).0, data_health(&server)), (200, (200, "ok".to_owned())));
    file("source.toml", &text(&nowhere()));
    server.signal("HUP");
    eventually("the log tells", || server.stderr.get().contains("auth.jwks names another key set").then_some(()));
    eventually("not ready", || (ready(&server).0 == 503).then_some(()));
    let (_, body) = ready(&server);
    assert_eq!(body["parts"]["keys"], "not ready", "{body}");
    assert!(body["message"].as_str().is_some_and(|words| words.contains("auth.jwks")), "{body}");
    eventually("every core has let go of the keys", || {
        (0..8).all(|_| data_health(&server) == (503, "degraded".to_owned())).then_some(())
    });
    let refused = upgrade(&server, &format!("?token={}", former.token("alice")), "");
    assert_eq!((refused.status, &refused.json()["error"]), (503, &json!("unavailable")), "{refused:?}");
    client.publish("a", json!("still here"));
    client.refused(json!({"type": "refresh", "token": former.token("alice")}), "unavailable");
    eventually("the log tells why", || {
        server.stderr.get().contains("the key set of auth.jwks cannot be read").then_some(())
    });
    // The new source answers in the end: all is well by itself.
    let others = KeyServer::start(&[&latter]);
    others.fail();
    file("source.toml", &text(&address(&others)));
    server.signal("HUP");
    eventually("it is asked", || (others.asked() > 0).then_some(()));
    assert_eq!((ready(&server).0, data_health(&server).0), (503, 503));
    others.publish(&[&latter]);
    eventually("ready", || (ready(&server).0 == 200).then_some(()));
    eventually("every core has the keys", || {
        (0..8).all(|_| data_health(&server) == (200, "ok".to_owned())).then_some(())
    });
    assert_eq!((status_of(&server, &latter.token("alice")), status_of(&server, &former.token("alice"))), (101, 401));
    client.publish("a", json!("still here"));
}

/// A source that is changed while it is being read is not waited for.
#[test]
fn a_source_that_never_answers_holds_up_no_change() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let text = |source: &str| format!("[auth]\nmode = \"jwt\"\njwks = \"{source}\"\n");
    let path = file("silent.toml", &text(&format!("http://{}/keys", silent.local_addr().expect("it is bound"))));
    let mut command = program();
    command.args(["--set", "server.cores=1", "--set", "server.pin=false", "--config"]).arg(&path);
    let server = Server::spawn(command);
    assert_eq!((ready(&server).0, data_health(&server)), (503, (503, "degraded".to_owned())));
    assert_eq!(http::get(server.control, "/health").status, 200);
    let key = Key::new("key");
    let keys = KeyServer::start(&[&key]);
    file("silent.toml", &text(&keys.setting().replace("auth.jwks=", "")));
    server.signal("HUP");
    // An upgrade that comes meanwhile waits for the new source.
    assert_eq!(status_of(&server, &key.token("alice")), 101);
    assert_eq!((ready(&server).0, data_health(&server).0), (200, 200));
}

#[test]
fn keys_that_are_configured_no_longer_count_for_nothing() {
    let (first, second, third) = (Key::unnamed(), Key::unnamed(), Key::new("third"));
    let (one, two) = (file("first.pem", &first.pem()), file("second.pem", &second.pem()));
    let set = file("third.json", &key_set(&[&third]));
    let secret = sign("the secret of the tests", &claims("alice", 600, json!({})));
    let text = |keys: &str| format!("[auth]\nmode = \"jwt\"\n{keys}");
    let path =
        file("several.toml", &text(&format!("public_key_file = {one:?}\nhmac_secret = \"the secret of the tests\"")));
    let mut command = program();
    command.args(["--set", "server.cores=1", "--set", "server.pin=false", "--config"]).arg(&path);
    let server = Server::spawn(command);
    let tokens = [first.token("alice"), second.token("alice"), third.token("alice"), secret];
    let taken = || tokens.iter().map(|token| status_of(&server, token)).collect::<Vec<_>>();
    assert_eq!(taken(), [101, 401, 401, 101]);
    for (keys, expected) in [
        (format!("public_key_file = {two:?}\nhmac_secret = \"the secret of the tests\""), [401, 101, 401, 101]),
        (format!("public_key_file = {two:?}"), [401, 101, 401, 401]),
        (format!("jwks = {set:?}"), [401, 401, 101, 401]),
        (format!("public_key_file = {one:?}"), [101, 401, 401, 401]),
    ] {
        let told = server.stderr.get().matches("token keys reloaded").count();
        file("several.toml", &text(&keys));
        server.signal("HUP");
        eventually("it is done", || (server.stderr.get().matches("token keys reloaded").count() > told).then_some(()));
        eventually(&keys, || (taken() == expected).then_some(()));
    }
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = scratch("auth").join(name);
    std::fs::write(&path, text).expect("the build's folder for tests can be written");
    path
}

#[test]
fn a_key_set_in_a_file_is_read_again_when_a_key_is_missing() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let path = file("keys.json", &key_set(&[&old]));
    let server = guarded(&[&format!("auth.jwks={}", path.display())]);
    assert_eq!(status_of(&server, &old.token("alice")), 101);
    assert_eq!(status_of(&server, &super::token("alice")), 101, "the secret counts as well");
    file("keys.json", &key_set(&[&new]));
    assert_eq!(status_of(&server, &new.token("alice")), 101);
    assert_eq!(status_of(&server, &old.token("alice")), 401);
    // A file that cannot be read changes nothing.
    file("keys.json", "{");
    server.signal("HUP");
    eventually("it is told", || server.stderr.get().contains("auth.jwks: ").then_some(()));
    assert_eq!(status_of(&server, &new.token("alice")), 101);
}

#[test]
fn a_hang_up_changes_secret_and_expectations_at_once_or_not_at_all() {
    let text = |secret: &str, more: &str| format!("[auth]\nmode = \"jwt\"\nhmac_secret = \"{secret}\"\n{more}");
    let path = file("roomring.toml", &text("first", ""));
    let mut command = program();
    command.args(["--set", "server.cores=2", "--set", "server.pin=false", "--config"]).arg(&path);
    let server = Server::spawn(command);
    let (first, second) =
        (sign("first", &claims("alice", 600, json!({}))), sign("second", &claims("alice", 600, json!({}))));
    let mut client = Client::connect_at(&server, &format!("/ws?room=a&token={first}"));
    assert_eq!((status_of(&server, &first), status_of(&server, &second)), (101, 401));
    let hang_up = |text: &str, word: &str| {
        let told = server.stderr.get().matches(word).count();
        file("roomring.toml", text);
        server.signal("HUP");
        eventually(word, || (server.stderr.get().matches(word).count() > told).then_some(()));
    };
    hang_up(&text("second", "public_key_file = \"/no/such/file.pem\"\n"), "keeping the previous configuration");
    assert_eq!((status_of(&server, &first), status_of(&server, &second)), (101, 401), "nothing has changed");
    hang_up(&text("second", ""), "token keys reloaded");
    eventually("every core has the new secret", || {
        let both = (0..8).all(|_| (status_of(&server, &first), status_of(&server, &second)) == (401, 101));
        both.then_some(())
    });
    client.publish("a", json!("still here"));
    hang_up(&text("second", "audience = \"chat\"\n"), "token keys reloaded");
    eventually("the audience is asked for", || (status_of(&server, &second) == 401).then_some(()));
    // A mode is for the next start: nobody is let in by it meanwhile.
    hang_up("[auth]\nmode = \"open\"\n", "needs_restart");
    // The service thread has gone round since.
    assert_eq!((ready(&server).0, ready(&server).0), (200, 200));
    assert_eq!((upgrade(&server, "?user=eve", "").status, status_of(&server, &second)), (401, 401));
}
