//! Requests about accounts: their heads and bodies, what the service is asked, and its answers.

use std::sync::Arc;

use super::*;
use crate::base::ids::{ConnId, UserName};
use crate::base::limits::{ACCOUNT_ATTEMPTS, ACCOUNTS_WAITING_MAX};
use crate::engine::access::{Expected, Keys, Material, Renewal};
use crate::engine::account_port::{AccountAnswer, AccountEvent, AccountRequest, AccountWork};
use crate::engine::hosts::AllowedHosts;
use crate::engine::machine::Machine;
use crate::engine::settings::AccountRules;
use crate::wire::account_body::Password;

const RULES: AccountRules = AccountRules { anyone_registers: true, password_chars_min: 8 };

fn settings() -> Settings {
    Settings { cores: 1, accounts: Some(RULES), ..Settings::for_tests() }
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!("POST /account/{path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn sign_in(user: &str) -> String {
    post("token", "", &format!(r#"{{"user":"{user}","password":"password"}}"#))
}

impl One {
    /// What a new socket is sent for these bytes.
    fn new_request(&mut self, slot: u32, bytes: &str) -> String {
        self.handle(accepted(slot));
        self.receive(slot, bytes.as_bytes());
        self.all_heard()
    }

    fn all_heard(&mut self) -> String {
        self.turn().iter().map(|send| String::from_utf8_lossy(&send.bytes).into_owned()).collect()
    }

    /// The request that the service was asked.
    fn asked_account(&mut self) -> AccountRequest {
        assert_eq!(self.output.accounts.len(), 1);
        self.output.accounts.remove(0)
    }

    fn give(&mut self, conn: ConnId, answer: AccountAnswer) -> String {
        self.handle(Input::Account(AccountEvent { conn, answer }));
        self.all_heard()
    }

    fn begun(&self) -> usize {
        self.engine.home.lobby.begun_bytes()
    }
}

fn starts(answer: &str, status: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
}

#[test]
fn each_path_asks_the_service_and_is_answered_once() {
    let mut one = One::with(settings());
    let token = "a.b.c";
    for (slot, path, body, is_new, status) in [
        (0, "register", r#"{"user":"ann","password":"password","name":"Ann"}"#, true, "201"),
        (1, "token", r#"{"user":"ann","password":"password"}"#, false, "200"),
    ] {
        assert_eq!(one.new_request(slot, &post(path, "", body)), "", "it waits for the service");
        let AccountRequest { conn, address, work } = one.asked_account();
        let (user, password) = (UserName::new("ann").expect("valid"), Password::new("password").expect("valid"));
        let expected = match is_new {
            true => AccountWork::Register { user, password, name: Some("Ann".into()) },
            false => AccountWork::SignIn { user, password },
        };
        assert_eq!((conn.slot, address, work), (slot, IpAddr::from([192, 0, 2, 1]), expected));
        let answer = AccountAnswer::Token { token: token.into(), expires_at: 7_000, is_new };
        let heard = one.give(conn, answer.clone());
        starts(&heard, status);
        assert!(heard.ends_with("\r\n\r\n{\"token\":\"a.b.c\",\"expires_at\":7000}"), "{heard}");
        assert!(heard.contains("\r\nCache-Control: no-store\r\n"), "{heard}");
    }
    assert!(one.output.refused.is_empty());
    assert_eq!((one.counters.upgrading.get(), one.begun()), (0, 0));
}

#[test]
fn each_answer_has_its_status() {
    let mut one = One::with(settings());
    for (slot, (answer, status, error, retry)) in [
        (AccountAnswer::InvalidCredentials, "401", "invalid_credentials", None),
        (AccountAnswer::Locked, "403", "forbidden", None),
        (AccountAnswer::UserExists, "409", "user_exists", None),
        (AccountAnswer::TooManyFailures { retry_after_ms: 1_001 }, "429", "rate_limited", Some(2)),
        (AccountAnswer::Overloaded { retry_after_ms: 1 }, "503", "overloaded", Some(1)),
        (AccountAnswer::Unavailable { retry_after_ms: 2_000 }, "503", "unavailable", Some(2)),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(one.new_request(slot as u32, &sign_in("ann")), "");
        let conn = one.asked_account().conn;
        let heard = one.give(conn, answer);
        starts(&heard, status);
        assert!(heard.contains(&format!(r#"{{"error":"{error}","message":""#)), "{heard}");
        let given = retry.map(|seconds: u32| format!("\r\nRetry-After: {seconds}\r\n"));
        assert_eq!(heard.contains("Retry-After: "), retry.is_some(), "{heard}");
        assert!(given.is_none_or(|given| heard.contains(&given)), "{heard}");
        assert!(!heard.contains("password\""), "nothing of the body is repeated: {heard}");
    }
    assert_eq!(one.output.refused.len(), 6);
}

#[test]
fn a_body_in_parts_is_waited_for_as_long_as_a_head() {
    let mut one = One::with(settings());
    let request = sign_in("ann");
    let (begin, end) = request.split_at(request.len() - 5);
    for slot in 0..2 {
        assert_eq!(one.new_request(slot, begin), "");
    }
    assert!(one.begun() > 0 && one.output.accounts.is_empty());
    one.receive(1, &end.as_bytes()[..2]);
    one.receive(1, format!("{}more that nobody reads", &end[2..]).as_bytes());
    let conn = one.asked_account().conn;
    assert_eq!(conn.slot, 1);
    one.receive(1, b"and more");
    // The other one's body never comes.
    one.pass_slowly(HEAD_TIMEOUT_MS + TICK_MS);
    assert_eq!(one.output.closes, [0], "the one that is asked about has more time");
    assert_eq!((one.begun(), one.output.refused[0].cause), (0, "head_timeout"));
    starts(&one.give(conn, AccountAnswer::InvalidCredentials), "401");
    one.pass_slowly(HEAD_TIMEOUT_MS + TICK_MS);
    assert_eq!(one.output.closes, [0, 1]);
}

#[test]
fn a_service_that_never_answers_keeps_no_socket_for_good() {
    let mut one = One::with(settings());
    one.new_request(0, &sign_in("ann"));
    let conn = one.asked_account().conn;
    one.pass_slowly(2 * HEAD_TIMEOUT_MS + 2 * TICK_MS);
    assert_eq!(one.output.closes, [0]);
    assert_eq!(one.give(conn, AccountAnswer::InvalidCredentials), "", "too late");
    // The slot's next user gets nothing of it, either.
    one.new_request(0, &sign_in("bob"));
    assert_ne!(one.asked_account().conn, conn);
}

#[test]
fn a_client_that_asks_whether_to_go_on_is_told_so() {
    let mut one = One::with(settings());
    let (head, body) = (post("token", "Expect: 100-continue\r\n", ""), r#"{"user":"ann","password":"password"}"#);
    let head = head.replace("Content-Length: 0", &format!("Content-Length: {}", body.len()));
    assert_eq!(one.new_request(0, &head), "HTTP/1.1 100 Continue\r\n\r\n");
    one.receive(0, body.as_bytes());
    assert_eq!(one.asked_account().conn.slot, 0);
    assert_eq!(one.new_request(1, &format!("{head}{body}")), "", "it has gone on already");
}

#[test]
fn wrong_requests_are_refused_without_asking_anyone() {
    let body = r#"{"user":"ann","password":"password"}"#;
    let short = r#"{"user":"ann","password":"passwor"}"#;
    let mut one = One::with(Settings { allowed_hosts: AllowedHosts::new(&["a".to_owned()]), ..settings() });
    for (slot, (request, status, named)) in [
        (post("token", "", "{}"), "400", "`user` is missing"),
        (post("token", "", &"x".repeat(4_097)), "413", "4096 bytes"),
        (post("token", "", body).replace("Content-Length", "X-Length"), "411", "Content-Length"),
        (post("register", "", short), "400", "`password` must have at least 8 characters"),
        (post("password", "", r#"{"password":"a","new_password":"passwor"}"#), "400", "`new_password` must have"),
        (post("password", "", r#"{"password":"a","new_password":"password"}"#), "503", "keys"),
        (post("token", "Origin: http://evil\r\n", body), "403", "is not allowed"),
        (post("token", "", body).replace("Host: a", "Host: evil.example"), "403", "evil.example"),
        (post("token", "", body).replace("POST", "PUT"), "405", "Allow: POST, OPTIONS"),
        ("GET /account/token HTTP/1.1\r\nHost: a\r\n\r\n".into(), "405", "Allow: POST, OPTIONS"),
        (post("nothing", "", body), "405", "Allow: GET, HEAD"),
    ]
    .into_iter()
    .enumerate()
    {
        let heard = one.new_request(slot as u32, &request);
        starts(&heard, status);
        assert!(heard.contains(named), "{request}: {heard}");
        assert!(one.output.accounts.is_empty() && !heard.contains("Allow-Origin"), "{heard}");
    }
    let heard = one.new_request(99, "HEAD /account/token HTTP/1.1\r\nHost: a\r\n\r\n");
    starts(&heard, "405");
    assert!(heard.ends_with("\r\n\r\n"), "no content: {heard}");
    assert_eq!((one.counters.upgrading.get(), one.begun()), (0, 0));
}

#[test]
fn without_accounts_there_is_nothing_at_their_paths() {
    let mut one = One::new();
    for (slot, request) in [
        sign_in("ann"),
        post("token", "", "").replace("POST", "OPTIONS"),
        sign_in("ann").replace("Content-Length", "X"),
        "GET /account/token HTTP/1.1\r\nHost: a\r\n\r\n".into(),
    ]
    .iter()
    .enumerate()
    {
        starts(&one.new_request(slot as u32, request), "404");
    }
    assert!(one.output.accounts.is_empty());
}

#[test]
fn registration_may_be_closed() {
    let accounts = Some(AccountRules { anyone_registers: false, ..RULES });
    let mut one = One::with(Settings { accounts, ..settings() });
    let heard = one.new_request(0, &post("register", "", r#"{"user":"ann","password":"password"}"#));
    starts(&heard, "403");
    assert!(heard.contains("registration is closed"), "{heard}");
    assert_eq!(one.new_request(1, &sign_in("ann")), "");
    assert_eq!(one.output.accounts.len(), 1);
}

#[test]
fn pages_of_allowed_origins_may_ask() {
    let mut one = One::with(Settings { allowed_origins: vec!["https://*.example".into()], ..settings() });
    let options = |origin: &str| {
        let ask = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
        format!("OPTIONS /account/token HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n{ask}\r\n")
    };
    let heard = one.new_request(0, &options("https://chat.example"));
    starts(&heard, "204");
    for header in [
        "Access-Control-Allow-Origin: https://chat.example",
        "Access-Control-Allow-Methods: POST",
        "Access-Control-Allow-Headers: authorization, content-type",
    ] {
        assert!(heard.contains(&format!("\r\n{header}\r\n")), "{heard}");
    }
    let heard = one.new_request(1, &options("https://evil.test"));
    starts(&heard, "403");
    assert!(!heard.contains("Access-Control"), "{heard}");
    let body = r#"{"user":"ann","password":"password"}"#;
    one.new_request(2, &post("token", "Origin: https://chat.example\r\n", body));
    let conn = one.asked_account().conn;
    let heard = one.give(conn, AccountAnswer::InvalidCredentials);
    starts(&heard, "401");
    assert!(
        heard.contains("\r\nAccess-Control-Allow-Origin: https://chat.example\r\n"),
        "errors are readable: {heard}"
    );
}

#[test]
fn a_new_password_needs_a_valid_token() {
    let mut one = One::with(settings());
    let keys = |secret: &str| Keys::new(Material::from_secret(secret), Expected::default(), Renewal::None);
    one.handle(Input::Keys(Arc::new(keys("secret"))));
    let token = |secret: &str, expires_s: u64| {
        let claims = serde_json::json!({"sub": "ann", "exp": expires_s});
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("signed")
    };
    let now_s = one.now.unix_ms / 1_000;
    let body = r#"{"password":"old","new_password":"new password"}"#;
    for (slot, header, error) in [
        (0, String::new(), "invalid_token"),
        (1, format!("Authorization: Bearer {}\r\n", token("other", now_s + 10)), "invalid_token"),
        (2, format!("Authorization: Bearer {}\r\n", token("secret", now_s - 10)), "token_expired"),
    ] {
        let heard = one.new_request(slot, &post("password", &header, body));
        starts(&heard, "401");
        assert!(heard.contains(error) && heard.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{heard}");
    }
    let header = format!("Authorization: Bearer {}\r\n", token("secret", now_s + 10));
    assert_eq!(one.new_request(3, &post("password", &header, body)), "");
    let AccountRequest { conn, work, .. } = one.asked_account();
    let word = |text| Password::new(text).expect("valid");
    let user = UserName::new("ann").expect("valid");
    let expected = AccountWork::ChangePassword { user, password: word("old"), new_password: word("new password") };
    assert_eq!(work, expected);
    let heard = one.give(conn, AccountAnswer::PasswordChanged);
    starts(&heard, "204");
    assert!(heard.ends_with("\r\n\r\n") && !heard.contains("Content-Length"), "{heard}");
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let mut one = One::with(settings());
    one.new_request(0, &sign_in("ann"));
    let conn = one.asked_account().conn;
    one.handle(Input::Ended { slot: 0 });
    assert!(one.output.closes.is_empty());
    starts(&one.give(conn, AccountAnswer::InvalidCredentials), "401");
    assert_eq!(one.output.closes, [0]);
    // One whose body has not come whole asks nothing.
    one.new_request(1, &sign_in("ann")[..90]);
    one.handle(Input::Ended { slot: 1 });
    assert_eq!(one.output.closes, [0, 1]);
    assert!(one.output.accounts.is_empty() && one.begun() == 0);
}

#[test]
fn a_server_that_drains_or_is_full_refuses() {
    let mut one = One::with(settings());
    one.handle(Input::Drain { window_ms: 1_000, hands_over: false });
    let heard = one.new_request(0, &sign_in("ann"));
    starts(&heard, "503");
    assert!(heard.contains("draining") && heard.contains("\r\nRetry-After: 1\r\n"), "{heard}");
    let mut one = One::with(Settings { memory_budget_bytes: 1 << 20, ..settings() });
    one.engine.charge_io(2 << 20);
    let heard = one.new_request(0, &sign_in("ann"));
    starts(&heard, "503");
    assert!(heard.contains("no memory left"), "{heard}");
    assert!(one.output.accounts.is_empty());
}

#[test]
fn few_wait_for_the_service_at_a_time() {
    let mut one = One::with(settings());
    for slot in 0..=ACCOUNTS_WAITING_MAX as u32 {
        let peer = IpAddr::from([192, 0, 2, slot as u8]);
        one.handle(Input::Accepted { slot, peer });
        one.receive(slot, sign_in("ann").as_bytes());
    }
    let heard = one.all_heard();
    starts(&heard, "503");
    assert!(heard.contains("too many requests about accounts wait"), "{heard}");
    assert_eq!(one.output.accounts.len(), ACCOUNTS_WAITING_MAX);
    // Only an answer makes room: the work goes on when a client has gone.
    one.handle(Input::Disconnected { slot: 0 });
    starts(&one.new_request(0, &sign_in("ann")), "503");
    let conn = one.output.accounts[0].conn;
    assert_eq!(one.give(conn, AccountAnswer::InvalidCredentials), "", "its client has gone");
    assert_eq!(one.new_request(100, &sign_in("ann")), "");
    assert_eq!(one.output.accounts.len(), ACCOUNTS_WAITING_MAX + 1);
}

#[test]
fn an_address_makes_few_attempts_whatever_core_it_is_on() {
    let mut machine = Machine::with(3, |settings, _| settings.accounts = Some(RULES));
    let mut statuses = Vec::new();
    let most = 2 * ACCOUNT_ATTEMPTS;
    for number in 0..most as u32 + 3 {
        let core = (number % 3) as u16;
        // Addresses of one /64 count as one.
        let peer = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number as u16).into();
        machine.handle(core, Input::Accepted { slot: number, peer });
        machine.handle(core, Input::Received { slot: number, bytes: &mut sign_in("ann").into_bytes() });
        machine.settle();
        statuses.push(machine.heard(core, number));
    }
    let asked: usize = machine.outputs.iter().map(|output| output.accounts.len()).sum();
    assert_eq!(asked as u64, most);
    assert!(statuses[..most as usize].iter().all(String::is_empty), "{statuses:?}");
    for heard in &statuses[most as usize..] {
        starts(heard, "429");
        assert!(heard.contains("too many requests about accounts from this address"), "{heard}");
        assert!(heard.contains("\r\nRetry-After: 6\r\n"), "{heard}");
    }
    // Time forgives, and nothing is left of it in the end.
    machine.pass(6_000);
    machine.handle(0, Input::Accepted { slot: 500, peer: IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]) });
    machine.handle(0, Input::Received { slot: 500, bytes: &mut sign_in("ann").into_bytes() });
    machine.settle();
    assert_eq!(machine.outputs.iter().map(|output| output.accounts.len()).sum::<usize>() as u64, most + 1);
    machine.pass(300_000);
    assert_eq!(machine.engines.iter().map(Engine::counted).sum::<usize>(), 0);
}

#[test]
fn bodies_in_part_count_among_the_bytes_of_the_lobby() {
    let mut one = One::with(Settings { sockets_max: u32::MAX, ..settings() });
    let begin = post("token", "", &"x".repeat(4_096));
    let begin = &begin[..begin.len() - 1];
    let many = (HEADS_BYTES_MAX / 4_095) as u32 + 2;
    for slot in 0..many {
        one.handle(Input::Accepted { slot, peer: IpAddr::from([10, 0, (slot >> 8) as u8, slot as u8]) });
        one.receive(slot, begin.as_bytes());
    }
    assert!(one.begun() <= HEADS_BYTES_MAX, "{}", one.begun());
    assert_eq!(one.output.closes.first(), Some(&0), "the oldest makes way");
}

#[test]
fn tokens_wait_for_the_key_that_the_store_is_to_give() {
    let mut one = One::with(settings());
    let keys = |material, renewal| Arc::new(Keys::new(material, Expected::default(), renewal));
    one.handle(Input::Keys(keys(Material::new(), Renewal::AwaitedSecret)));
    let claims = serde_json::json!({"sub": "ann", "exp": one.now.unix_ms / 1_000 + 60});
    let key = jsonwebtoken::EncodingKey::from_secret(b"secret");
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("signed");
    let upgrade = HEAD.replace("user=ann", &format!("token={token}"));
    assert_eq!(one.new_request(0, &upgrade), "", "it waits");
    one.pass_slowly(crate::base::limits::KEYS_WAIT_MS + TICK_MS);
    let heard = one.all_heard();
    starts(&heard, "503");
    assert!(heard.contains("have not been fetched yet"), "the store is late, and the token may be good: {heard}");
    assert_eq!(one.new_request(1, &upgrade), "", "it waits");
    one.handle(Input::Keys(keys(Material::from_secret("secret"), Renewal::None)));
    let heard = one.all_heard() + &one.all_heard();
    assert!(heard.starts_with("HTTP/1.1 101 ") && heard.contains(r#""user":"ann""#), "{heard}");
}
