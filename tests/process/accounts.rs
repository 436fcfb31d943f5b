//! Accounts on the real server (PROTOCOL section 1, "Accounts"; OPERATIONS, `[accounts]` and `roomring accounts`).

use std::io::{Read, Seek, Write};

use serde_json::{Value, json};

use crate::client::Client;
use crate::command_line::run;
use crate::http::{self, Answer};
use crate::server::{Finished, Server, eventually, finish, program, scratch};
use crate::tls;

const PASSWORD: &str = "correct horse";

/// With accounts, and clients whose addresses a proxy names.
fn with_accounts(more: &[&str]) -> Server {
    let usual = ["auth.mode=accounts", "store.kind=memory", "server.trusted_proxies=127.0.0.9"];
    Server::start(&[&usual, more].concat())
}

/// A request from a client with this address, which a proxy names.
fn post_from(server: &Server, address: &str, path: &str, fields: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let request = format!(
        "POST /account/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         X-Forwarded-For: {address}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = server.open_from(9);
    stream.write_all(request.as_bytes()).expect("the server reads");
    http::parse(&http::read_to_end(&mut stream))
}

fn post(server: &Server, path: &str, body: &Value) -> Answer {
    post_from(server, "192.0.2.1", path, "", body)
}

fn register(server: &Server, user: &str) -> Answer {
    post(server, "register", &json!({"user": user, "password": PASSWORD, "name": "Shown"}))
}

fn sign_in(server: &Server, address: &str, user: &str, password: &str) -> Answer {
    post_from(server, address, "token", "", &json!({"user": user, "password": password}))
}

fn token_of(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.json()["expires_at"].is_u64(), "{answer:?}");
    answer.json()["token"].as_str().expect("a token").to_owned()
}

fn assert_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{answer:?}");
    assert_eq!(answer.field("Connection"), Some("close"), "{answer:?}");
}

fn connect(server: &Server, token: &str) -> Client {
    Client::connect_at(server, &format!("/ws?token={token}"))
}

/// Runs `roomring accounts` with this on standard input.
fn operate(server: &Server, arguments: &[&str], input: &str) -> Finished {
    let mut file = tempfile::tempfile().expect("a scratch file");
    file.write_all(input.as_bytes()).and_then(|()| file.rewind()).expect("it can be written");
    let mut command = program();
    command.arg("accounts").args(arguments).args(["--control", &server.control.to_string()]);
    command.stdin(file);
    finish(command)
}

fn done(server: &Server, arguments: &[&str], input: &str) -> String {
    let finished = operate(server, arguments, input);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{arguments:?}: {finished:?}");
    finished.stdout.trim_end().to_owned()
}

#[test]
fn whoever_registers_connects_with_the_token() {
    let server = with_accounts(&["server.cores=2"]);
    let token = token_of(&register(&server, "alice"), 201);
    let mut client = connect(&server, &token);
    assert_eq!((&client.welcome["user"], &client.welcome["name"]), (&json!("alice"), &json!("Shown")));
    client.join("lobby");
    client.publish("lobby", json!(1));
    assert_refused(&register(&server, "alice"), 409, "user_exists");
    let again = token_of(&sign_in(&server, "192.0.2.1", "alice", PASSWORD), 200);
    assert_eq!(connect(&server, &again).welcome["user"], "alice");
    let reply = client.request(json!({"type": "refresh", "token": again}));
    assert_eq!(reply["type"], "refreshed", "{reply}");
    let without = http::get(server.listen, "/account/token");
    assert_eq!((without.status, without.field("Allow")), (405, Some("POST, OPTIONS")), "{without:?}");
}

#[test]
fn an_unknown_user_and_a_wrong_password_get_one_answer() {
    let server = with_accounts(&[]);
    token_of(&register(&server, "alice"), 201);
    let wrong = sign_in(&server, "192.0.2.2", "alice", "wrong horse");
    let unknown = sign_in(&server, "192.0.2.2", "nobody", "wrong horse");
    assert_refused(&wrong, 401, "invalid_credentials");
    assert_refused(&unknown, 401, "invalid_credentials");
    assert_eq!(wrong.json(), unknown.json());
    let metrics = http::get(server.control, "/metrics");
    let text = metrics.body;
    for line in [
        r#"roomring_account_requests_total{result="registered"} 1"#,
        r#"roomring_account_requests_total{result="invalid_credentials"} 2"#,
        "roomring_account_hash_seconds_count 3",
        "roomring_account_hashes_waiting 0",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let log = server.stderr.get();
    assert!(!log.contains("wrong horse") && !log.contains(PASSWORD) && !log.contains("argon2"), "{log}");
}

#[test]
fn a_password_is_changed_with_a_token_and_the_old_one() {
    let server = with_accounts(&[]);
    let token = token_of(&register(&server, "alice"), 201);
    let change = |token: &str, old: &str| {
        let fields = format!("Authorization: Bearer {token}\r\n");
        post_from(&server, "192.0.2.1", "password", &fields, &json!({"password": old, "new_password": "a new horse"}))
    };
    assert_refused(&change("x.y.z", PASSWORD), 401, "invalid_token");
    assert_refused(&change(&token, "wrong horse"), 401, "invalid_credentials");
    let changed = change(&token, PASSWORD);
    assert_eq!((changed.status, changed.body.len()), (204, 0), "{changed:?}");
    assert_refused(&sign_in(&server, "192.0.2.1", "alice", PASSWORD), 401, "invalid_credentials");
    token_of(&sign_in(&server, "192.0.2.1", "alice", "a new horse"), 200);
    assert_eq!(connect(&server, &token).welcome["user"], "alice", "the token of before stays valid");
}

#[test]
fn wrong_requests_name_what_is_wrong() {
    let server = with_accounts(&[]);
    for (path, body, named) in [
        ("register", json!({"user": "alice", "password": "short"}), "`password` must have at least 10 characters"),
        ("register", json!({"password": PASSWORD}), "`user` is missing"),
        ("token", json!({"user": "alice"}), "`password` is missing"),
        ("token", json!([]), "the body must be a JSON object"),
    ] {
        let answer = post(&server, path, &body);
        assert_refused(&answer, 400, "bad_request");
        assert!(answer.json()["message"].as_str().is_some_and(|words| words.contains(named)), "{named}: {answer:?}");
    }
    let long = post(&server, "token", &json!({"user": "x".repeat(5_000)}));
    assert_refused(&long, 413, "too_large");
    let head = "POST /account/token HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_refused(&http::exchange(server.listen, head.as_bytes()), 411, "length_required");
}

#[test]
fn closed_registration_leaves_it_to_operators() {
    let server = with_accounts(&["accounts.register=nobody"]);
    assert_refused(&register(&server, "alice"), 403, "forbidden");
    assert_eq!(done(&server, &["add", "alice", "--name", "Alice"], "correct horse\n"), "made the account");
    let token = token_of(&sign_in(&server, "192.0.2.1", "alice", PASSWORD), 200);
    assert_eq!(connect(&server, &token).welcome["name"], "Alice");
    let generated = done(&server, &["add", "bob"], "");
    let password = generated.strip_prefix("made the account\npassword: ").expect("a password");
    token_of(&sign_in(&server, "192.0.2.1", "bob", password), 200);
    let twice = operate(&server, &["add", "bob"], "correct horse");
    assert!(twice.code == 1 && twice.stderr.contains("user_exists"), "{twice:?}");
    let short = operate(&server, &["add", "carol"], "short\n");
    assert!(short.code == 2 && short.stderr.contains("at least 10 characters"), "{short:?}");
    let listed = done(&server, &["list"], "");
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("alice  Alice") && lines[1].ends_with("no"), "{listed}");
    let page = done(&server, &["list", "--limit", "1"], "");
    assert!(page.ends_with("there are more: --after alice"), "{page}");
    let json: Value = serde_json::from_str(&done(&server, &["list", "--json"], "")).expect("JSON");
    assert!(json["accounts"][0]["created_at"].is_u64() && !json.to_string().contains("argon2"), "{json}");
}

#[test]
fn a_locked_account_is_closed_and_gets_no_token_until_it_is_unlocked() {
    let server = with_accounts(&["server.cores=2"]);
    let token = token_of(&register(&server, "alice"), 201);
    let mut clients: Vec<Client> = (0..3).map(|_| connect(&server, &token)).collect();
    let locked = done(&server, &["lock", "alice"], "");
    assert_eq!(locked, "locked the account and closed 3 connections");
    clients.iter_mut().for_each(|client| assert_eq!(client.close_code(), 4403));
    assert_refused(&sign_in(&server, "192.0.2.1", "alice", PASSWORD), 403, "forbidden");
    assert_refused(&sign_in(&server, "192.0.2.1", "alice", "wrong horse"), 401, "invalid_credentials");
    assert!(done(&server, &["list"], "").ends_with("yes"));
    assert_eq!(done(&server, &["unlock", "alice"], ""), "unlocked the account");
    token_of(&sign_in(&server, "192.0.2.1", "alice", PASSWORD), 200);
    let unknown = operate(&server, &["lock", "nobody"], "");
    assert!(unknown.code == 1 && unknown.stderr.contains("user_unknown"), "{unknown:?}");
}

#[test]
fn an_operator_gives_another_password() {
    let server = with_accounts(&[]);
    token_of(&register(&server, "alice"), 201);
    let json: Value = serde_json::from_str(&done(&server, &["reset", "alice", "--json"], "\n")).expect("JSON");
    let generated = json["password"].as_str().expect("it is printed");
    token_of(&sign_in(&server, "192.0.2.1", "alice", generated), 200);
    assert_eq!(done(&server, &["reset", "alice"], "another horse\r\n"), "changed the password");
    token_of(&sign_in(&server, "192.0.2.1", "alice", "another horse"), 200);
    assert_refused(&sign_in(&server, "192.0.2.1", "alice", generated), 401, "invalid_credentials");
    let log = server.stderr.get();
    assert!(!log.contains(generated) && !log.contains("another horse"), "{log}");
}

#[test]
fn guesses_are_limited_by_user_and_by_address() {
    let server = with_accounts(&[]);
    token_of(&register(&server, "alice"), 201);
    for user in ["alice", "nobody"] {
        for _ in 0..5 {
            assert_refused(&sign_in(&server, "2001:db8::1", user, "wrong horse"), 401, "invalid_credentials");
        }
        let refused = sign_in(&server, "2001:db8::2", user, PASSWORD);
        assert_refused(&refused, 429, "rate_limited");
        let retry: u64 = refused.field("Retry-After").expect("when to retry").parse().expect("seconds");
        assert!((500..=600).contains(&retry), "the same /64, for ten minutes at most: {retry}");
    }
    token_of(&sign_in(&server, "192.0.2.1", "alice", PASSWORD), 200);
    // Twelve attempts of this network so far.
    let statuses: Vec<u16> = (0..9).map(|_| sign_in(&server, "2001:db8::3", "bob", "wrong horse").status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429, 429]);
    let refused = sign_in(&server, "2001:db8::3", "carol", "wrong horse");
    assert!(refused.json()["message"].as_str().is_some_and(|words| words.contains("this address")), "{refused:?}");
}

#[test]
fn pages_of_allowed_origins_alone_may_ask() {
    let server = with_accounts(&["auth.allowed_origins=[\"https://chat.example\"]"]);
    let ask = |method: &str, origin: &str| {
        let fields = format!("Origin: {origin}\r\n");
        http::send(server.listen, method, "/account/token", &fields, if method == "POST" { b"{}" } else { b"" })
    };
    let allowed = ask("OPTIONS", "https://chat.example");
    let headers = ["Access-Control-Allow-Origin", "Access-Control-Allow-Methods"].map(|name| allowed.field(name));
    assert_eq!((allowed.status, headers), (204, [Some("https://chat.example"), Some("POST")]), "{allowed:?}");
    let refused = ask("POST", "https://chat.example");
    assert_refused(&refused, 400, "bad_request");
    assert_eq!(refused.field("Access-Control-Allow-Origin"), Some("https://chat.example"), "errors are readable");
    for method in ["OPTIONS", "POST"] {
        let other = ask(method, "https://evil.example");
        assert_refused(&other, 403, "forbidden");
        assert_eq!(other.field("Access-Control-Allow-Origin"), None);
    }
}

#[test]
fn accounts_are_served_over_tls_and_behind_a_proxys_header() {
    let (server, _, der) = tls::start("accounts", &["auth.mode=accounts"]);
    let config = tls::trusting(&der, &rustls::version::TLS13);
    let body = json!({"user": "alice", "password": PASSWORD}).to_string();
    let request = |path: &str| {
        let length = body.len();
        format!("POST /account/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    for (path, status) in [("register", 201), ("token", 200)] {
        let mut stream = tls::handshake(&server, &config).expect("the handshake completes");
        stream.write_all(request(path).as_bytes()).expect("the server reads");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("the whole answer, and the end of TLS");
        token_of(&http::parse(&received), status);
    }
    drop(server);
    let proxied = ["auth.mode=accounts", "server.trusted_proxies=127.0.0.9", "server.proxy_protocol=true"];
    let server = Server::start(&proxied);
    let ask = |address: &str, path: &str| {
        let mut stream = server.open_from(9);
        let preface = format!("PROXY TCP4 {address} 10.0.0.1 4660 80\r\n");
        // In pieces, as a slow client sends it.
        for piece in [preface.as_bytes(), request(path).as_bytes()].concat().chunks(50) {
            stream.write_all(piece).expect("the server reads");
        }
        http::parse(&http::read_to_end(&mut stream))
    };
    token_of(&ask("203.0.113.1", "register"), 201);
    // The first address has its attempts, and another one has its own.
    let refused = (0..20).map(|_| ask("203.0.113.1", "register").status).filter(|status| *status == 429).count();
    assert_eq!(refused, 1);
    token_of(&ask("203.0.113.2", "token"), 200);
}

#[test]
fn other_servers_have_no_accounts() {
    let server = Server::start(&[]);
    for path in ["register", "token", "password"] {
        assert_refused(&http::post(server.listen, &format!("/account/{path}"), &json!({})), 404, "not_found");
    }
    let refused = operate(&server, &["list"], "");
    assert!(refused.code == 1 && refused.stderr.contains("auth.mode is not accounts"), "{refused:?}");
}

#[test]
fn check_config_says_that_accounts_in_memory_end_with_the_process() {
    let checked = run(&["check-config", "--set", "auth.mode=accounts", "--set", "store.kind=memory"]);
    assert!(checked.code == 0 && checked.stdout.contains("note: store.kind is memory"), "{checked:?}");
    let open = run(&["check-config"]);
    assert!(open.code == 0 && !open.stdout.contains("note: store"), "{open:?}");
}

#[test]
fn a_reload_opens_and_closes_registration() {
    let folder = scratch("accounts-reload");
    let file = folder.join("roomring.toml");
    let write = |register: &str| {
        let text = format!("[auth]\nmode = \"accounts\"\n[accounts]\nregister = \"{register}\"\ntoken_ttl = \"2h\"\n");
        std::fs::write(&file, text).expect("the folder can be written");
    };
    write("nobody");
    let mut command = program();
    command.arg("--config").arg(&file).args(["--set", "server.cores=1", "--set", "server.pin=false"]);
    let server = Server::spawn(command);
    let register =
        |user: &str| http::post(server.listen, "/account/register", &json!({"user": user, "password": PASSWORD}));
    assert_refused(&register("alice"), 403, "forbidden");
    write("anyone");
    server.signal("HUP");
    eventually("the reload is logged", || server.stderr.get().contains("configuration reloaded").then_some(()));
    let mut number = 0;
    eventually("registration is open", || {
        number += 1;
        (register(&format!("alice{number}")).status == 201).then_some(())
    });
}

#[test]
fn accounts_and_tokens_outlive_the_process_with_a_store() {
    let folder = scratch("accounts-store");
    let _ = std::fs::remove_dir_all(&folder);
    let path = format!("store.path={}", folder.display());
    let start = || {
        let settings = ["auth.mode=accounts", "store.kind=embedded", &path, "server.trusted_proxies=127.0.0.9"];
        Server::start(&settings)
    };
    let mut server = start();
    let token = token_of(&register(&server, "alice"), 201);
    done(&server, &["lock", "alice"], "");
    token_of(&register(&server, "bob"), 201);
    server.signal("TERM");
    assert!(server.wait().success());
    let server = start();
    assert_eq!(connect(&server, &token).welcome["user"], "alice", "the key is the same");
    token_of(&sign_in(&server, "192.0.2.1", "bob", PASSWORD), 200);
    assert_refused(&sign_in(&server, "192.0.2.1", "alice", PASSWORD), 403, "forbidden");
    assert_refused(&register(&server, "bob"), 409, "user_exists");
}
