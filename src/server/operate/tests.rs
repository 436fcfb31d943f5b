//! The requests of commands, and how responses are shown. `tests/process/operator.rs` runs them against a server.

use clap::{Args, FromArgMatches};
use serde_json::json;

use super::command::{
    AccountAddArgs, AccountListArgs, AccountLockArgs, AccountResetArgs, AccountUnlockArgs, ConnectionsArgs,
    DeadLetterDropArgs, DeadLetterListArgs, DeadLetterReplayArgs, DeadLetterShowArgs, DisconnectArgs, DrainArgs,
    HistoryArgs, KickArgs, MembersArgs, PublishArgs, RoomsArgs,
};
use super::*;
use crate::server::config::load::{Sources, load};

fn ask<T: Args + FromArgMatches + Into<OperatorCommand>>(words: &[&str]) -> OperatorCommand {
    let command = T::augment_args(clap::Command::new("test").no_binary_name(true));
    let matches = command.try_get_matches_from(words).expect("a command");
    T::from_arg_matches(&matches).expect("its arguments").into()
}

fn asked(ask: OperatorCommand) -> (String, String, Option<Value>) {
    let ApiRequest { method, path, query, body } = ask.request();
    let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let body = body.map(|body| serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")));
    (format!("{method} {}", path.join("|")), query.join("&"), body)
}

#[test]
fn every_command_makes_its_request() {
    let get = |path: &str, query: &str| (format!("GET {path}"), query.to_owned(), None);
    let post = |path: &str, body: Value| (format!("POST {path}"), String::new(), Some(body));
    for (found, expected) in [
        (ask::<RoomsArgs>(&[]), get("rooms", "")),
        (ask::<RoomsArgs>(&["--sort", "rate", "--limit", "5"]), get("rooms", "sort=rate&limit=5")),
        (
            ask::<ConnectionsArgs>(&["--user", "a b", "--room=r/1", "--after", "0-7"]),
            get("connections", "user=a b&room=r/1&after=0-7"),
        ),
        (ask::<ConnectionsArgs>(&["--sort=queued"]), get("connections", "sort=queued")),
        (ask::<MembersArgs>(&["a/b", "--after=zoe"]), get("rooms|a/b|members", "after=zoe")),
        (ask::<HistoryArgs>(&["a", "--before=7", "--limit=2"]), get("rooms|a|history", "limit=2&before=7")),
        (ask::<KickArgs>(&["a", "bob"]), post("kick", json!({"room": "a", "user": "bob"}))),
        (ask::<DisconnectArgs>(&["bob"]), post("disconnect", json!({"user": "bob"}))),
        (
            ask::<DisconnectArgs>(&["--connection=0-1-2", "--reason", "spam"]),
            post("disconnect", json!({"connection": "0-1-2", "reason": "spam"})),
        ),
        (ask::<AccountListArgs>(&["--limit=5", "--after", "ann"]), get("accounts", "limit=5&after=ann")),
        (ask::<AccountAddArgs>(&["ann"]), post("accounts|add", json!({"user": "ann"}))),
        (ask::<AccountAddArgs>(&["ann", "--name=Ann"]), post("accounts|add", json!({"user": "ann", "name": "Ann"}))),
        (ask::<AccountLockArgs>(&["ann"]), post("accounts|lock", json!({"user": "ann"}))),
        (ask::<AccountUnlockArgs>(&["ann"]), post("accounts|unlock", json!({"user": "ann"}))),
        (ask::<AccountResetArgs>(&["ann"]), post("accounts|reset", json!({"user": "ann"}))),
        (ask::<PublishArgs>(&["a", "hello"]), post("publish", json!({"room": "a", "data": "hello"}))),
        (ask::<PublishArgs>(&["a", "-5"]), post("publish", json!({"room": "a", "data": -5}))),
        (
            ask::<PublishArgs>(&["a\"", r#"{"x":[1]}"#, "--from=bot", "--key=k\"1"]),
            post("publish", json!({"room": "a\"", "data": {"x": [1]}, "from": "bot", "key": "k\"1"})),
        ),
        (
            ask::<PublishArgs>(&["a", "1", "--ephemeral"]),
            post("publish", json!({"room": "a", "data": 1, "ephemeral": true})),
        ),
    ] {
        assert_eq!(asked(found), expected);
    }
    let dead_letter = |act: &str| (format!("POST dead-letters|{act}"), String::new(), Some(json!({"id": 7})));
    for (found, expected) in [
        (ask::<DeadLetterListArgs>(&["--limit=5", "--after", "3"]), get("dead-letters", "limit=5&after=3")),
        (ask::<DeadLetterShowArgs>(&["7"]), get("dead-letters|7", "")),
        (ask::<DeadLetterReplayArgs>(&["7"]), dead_letter("replay")),
        (ask::<DeadLetterDropArgs>(&["7"]), dead_letter("drop")),
    ] {
        assert_eq!(asked(found), expected);
    }
    assert_eq!(asked(ask::<DrainArgs>(&[])), ("POST drain".into(), String::new(), None));
}

#[test]
fn passwords_are_added_where_an_account_needs_one() {
    let add = ask::<AccountAddArgs>(&["ann", "--name=Ann"]);
    assert_eq!(add.needs_password_of(), Some("ann"));
    let mut request = add.request();
    request.add_password("a \"b\"");
    let body: Value = serde_json::from_str(&request.body.expect("a body")).expect("JSON");
    assert_eq!(body, json!({"user": "ann", "name": "Ann", "password": "a \"b\""}));
    assert_eq!(ask::<AccountResetArgs>(&["bob"]).needs_password_of(), Some("bob"));
    assert_eq!(ask::<AccountLockArgs>(&["bob"]).needs_password_of(), None);
    let shown = with_password(r#"{"user":"ann"}"#, "generated").expect("an object");
    assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON"), json!({"user": "ann", "password": "generated"}));
}

#[test]
fn published_data_stays_as_typed() {
    let request = ask::<PublishArgs>(&["a", r#"{"n": 1.0, "n": 2}"#]).request();
    assert_eq!(request.body.as_deref(), Some(r#"{"room":"a","data":{"n": 1.0, "n": 2}}"#));
}

fn config(sets: &[&str]) -> Config {
    let (config, mistakes) =
        load(&Sources { sets: sets.iter().map(ToString::to_string).collect(), ..Sources::default() });
    assert_eq!(mistakes, []);
    config
}

#[test]
fn the_address_comes_from_the_command_or_the_configuration() {
    let url = |given: Option<&str>, listen: &str| {
        base_url(given, &config(&[&format!("control.listen={listen}")])).map(|url| url.to_string())
    };
    for (given, listen, expected) in [
        (None, "127.0.0.1:8081", "http://127.0.0.1:8081/"),
        (None, "0.0.0.0:9", "http://127.0.0.1:9/"),
        (None, "[::]:9", "http://[::1]:9/"),
        (Some("localhost:1"), "127.0.0.1:0", "http://localhost:1/"),
        (Some("https://a.example/behind/"), "127.0.0.1:0", "https://a.example/behind/"),
    ] {
        assert_eq!(url(given, listen).as_deref(), Ok(expected));
    }
    for (given, named) in
        [(None, "--control"), (Some("ftp://a"), "ftp://a"), (Some(""), "--control"), (Some("http://a/?b"), "?b")]
    {
        let sentence = url(given, "127.0.0.1:0").expect_err("no address");
        assert!(sentence.contains(named), "{sentence}");
    }
}

#[test]
fn tables_are_aligned_and_plain() {
    let answer = json!({
        "rooms": [
            {"room": "räume", "members": 5, "connections": 12, "head_seq": 100, "rate": 0.25},
            {"room": "a\u{1b}[2J", "members": 1_000, "connections": 1, "head_seq": 0, "rate": 0.0},
        ],
        "next": "1-7",
    });
    let expected = "\
ROOM   MEMBERS  CONNECTIONS  HEAD  MESSAGES/S
räume        5           12   100         0.2
a?[2J     1000            1     0         0.0
there are more: --after 1-7";
    assert_eq!(table::render(&ask::<RoomsArgs>(&[]), &answer), expected);
    let deep = "[".repeat(5_000) + &"]".repeat(5_000);
    let answer = format!(
        "{{\"messages\":[{{\"seq\":7,\"at\":1,\"from\":\"ann\",\"data\":{{\"text\":\n\"\u{9b}31m\"}}}},\
         {{\"seq\":8,\"at\":2,\"from\":\"b\",\"data_b64\":\"AAE=\"}},{{\"seq\":9,\"at\":3,\"from\":\"c\",\"data\":null}},\
         {{\"seq\":10,\"at\":4,\"from\":\"d\",\"data\":{deep}}}]}}"
    );
    let expected = format!(
        "\
SEQ  AT  FROM  DATA
  7   1  ann   {{\"text\": \"?31m\"}}
  8   2  b     base64 AAE=
  9   3  c     null
 10   4  d     {}…",
        "[".repeat(200)
    );
    let history = ask::<HistoryArgs>(&["a"]);
    assert_eq!(table::render(&history, &table::read(&history, &answer).expect("a history")), expected);
    let none = json!({"connections": []});
    assert!(table::render(&ask::<ConnectionsArgs>(&[]), &none).starts_with("CONNECTION  USER  FORM"));
}

#[test]
fn results_are_one_sentence() {
    for (ask, answer, expected) in [
        (ask::<KickArgs>(&["a", "b"]), json!({"kicked": 1}), "removed 1 connection from the room"),
        (ask::<DisconnectArgs>(&["b"]), json!({"disconnected": 0}), "closed 0 connections"),
        (ask::<PublishArgs>(&["a", "1"]), json!({"seq": 3, "epoch": "0f"}), "published as message 3"),
        (ask::<PublishArgs>(&["a", "1"]), json!({"seq": 3, "duplicate": true}), "already published as message 3"),
        (
            ask::<AccountLockArgs>(&["b"]),
            json!({"user": "b", "disconnected": 1}),
            "locked the account and closed 1 connection",
        ),
        (ask::<AccountUnlockArgs>(&["b"]), json!({"user": "b"}), "unlocked the account"),
        (ask::<DrainArgs>(&[]), json!({"status": "draining"}), "the server is draining"),
        (
            ask::<DeadLetterReplayArgs>(&["7"]),
            json!({"id": 7, "seq": 3}),
            "published as message 3, and dropped the dead letter",
        ),
        (ask::<DeadLetterDropArgs>(&["7"]), json!({"id": 7}), "dropped the dead letter"),
    ] {
        assert_eq!(table::render(&ask, &answer), expected);
    }
}

#[test]
fn dead_letters_are_listed_and_shown() {
    let answer = json!({
        "dead_letters": [{"id": 7, "at": 5, "room": "a", "seq": 3, "from": "ann", "bytes": 9, "reason": "a gap"}],
        "next": 7,
    });
    let expected =
        "ID  AT  ROOM  SEQ  FROM  BYTES  REASON\n 7   5  a       3  ann       9  a gap\nthere are more: --after 7";
    assert_eq!(table::render(&ask::<DeadLetterListArgs>(&[]), &answer), expected);
    let show = ask::<DeadLetterShowArgs>(&["7"]);
    let text = r#"{"id":7,"at":5,"reason":"a\u001b","room":"a","epoch":"0f","seq":3,"from":"ann","published_at":4,"data":{"n": 1.0}}"#;
    let shown = table::render(&show, &table::read(&show, text).expect("a dead letter"));
    let expected =
        "id: 7\nat: 5\nreason: a?\nroom: a\nepoch: 0f\nseq: 3\nfrom: ann\npublished at: 4\ndata: {\"n\": 1.0}";
    assert_eq!(shown, expected);
}
