//! Who sends bad tokens: refused, weighed, closed in the end, and no burden to others or to the identity provider.

use std::time::{Duration, Instant};

use serde_json::json;

use super::key_server::{Key, KeyServer};
use super::{claims, guarded, sign, status_of, token};
use crate::client::Client;
use crate::server::Server;

#[test]
fn a_connection_that_goes_on_with_bad_tokens_is_closed() {
    let server = guarded(&[]);
    let mut client = Client::connect_at(&server, &format!("/ws?token={}", token("alice")));
    let forged = sign("another secret", &claims("alice", 600, json!({})));
    for _ in 0..4 {
        client.refused(json!({"type": "refresh", "token": forged}), "invalid_token");
    }
    assert_eq!(client.request(json!({"type": "refresh", "token": token("alice")}))["type"], "refreshed");
    for _ in 0..5 {
        client.refused(json!({"type": "refresh", "token": forged}), "invalid_token");
    }
    assert_eq!(client.close_code(), 4401);
    assert_eq!(server.metric("roomring_closed_token_total", ""), 1.0);
}

#[test]
fn good_tokens_are_not_checked_without_end_either() {
    // The rate of commands does not bound them here.
    let server = guarded(&["limits.command_rate=0"]);
    let mut client = Client::connect_at(&server, &format!("/ws?token={}", token("alice")));
    let before = server.metric("roomring_auth_checks_total", "");
    let replies: Vec<_> =
        (0..150).map(|_| client.request(json!({"type": "refresh", "token": token("alice")}))).collect();
    let refreshed = replies.iter().filter(|reply| reply["type"] == "refreshed").count();
    assert!((64..80).contains(&refreshed), "{refreshed}");
    let refused = replies.iter().find(|reply| reply["type"] == "error").expect("over the rate");
    assert_eq!(refused["code"], "rate_limited");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| (1..=2_000).contains(&ms)), "{refused}");
    assert_eq!(server.metric("roomring_auth_checks_total", "") - before, refreshed as f64);
}

#[test]
fn strange_tokens_ask_the_key_server_now_and_then_alone() {
    let (known, rotated, strange) = (Key::unnamed(), Key::unnamed(), Key::unnamed());
    let keys = KeyServer::start(&[&known]);
    let server =
        Server::start(&["auth.mode=jwt", "limits.connect_rate_per_ip=0", "limits.connect_rate=0", &keys.setting()]);
    let began = Instant::now();
    let (server, keys) = (&server, &keys);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while began.elapsed() < Duration::from_secs(5) {
                    assert_eq!(status_of(server, &strange.token("eve")), 401);
                }
            });
        }
        while began.elapsed() < Duration::from_secs(2) {
            assert_eq!(status_of(server, &known.token("alice")), 101, "who has a good token does not wait");
        }
        keys.publish(&[&known, &rotated]);
        assert_eq!(status_of(server, &rotated.token("alice")), 101, "who has a new one gets in as well");
    });
    // The first read, and one every two seconds.
    let allowed = 2 + began.elapsed().as_secs() as usize / 2;
    assert!(keys.asked() <= allowed, "{} reads, {allowed} allowed", keys.asked());
}
