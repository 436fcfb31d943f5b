//! The hosts that clients may use for this server: a page that uses DNS rebinding gets nothing, on either address
//! (OPERATIONS, `server.allowed_hosts`).

use std::io::Write;
use std::net::SocketAddr;

use crate::command_line::{assert_failed, run};
use crate::http::{self, Answer};
use crate::server::{Server, eventually, program};

/// A request for `host`, with an upgrade where `path` is that of WebSockets.
fn ask(address: SocketAddr, path: &str, host: &str) -> Answer {
    let own = format!("Host: {address}\r\n");
    let head = match path {
        "/ws" => http::upgrade_head(address, path, &format!("Origin: http://{host}\r\n")),
        _ => format!("GET {path} HTTP/1.1\r\n{own}Connection: close\r\n\r\n"),
    };
    let mut stream = http::open(address);
    stream.write_all(head.replace(&own, &format!("Host: {host}\r\n")).as_bytes()).expect("the server reads");
    match path {
        "/ws" => http::parse(http::read_head(&mut stream).as_bytes()),
        _ => http::parse(&http::read_to_end(&mut stream)),
    }
}

fn assert_refused(address: SocketAddr, path: &str, host: &str) {
    let answer = ask(address, path, host);
    assert_eq!(answer.status, 403, "{path} at {host}: {answer:?}");
    if path != "/ws" {
        let message = answer.json()["message"].to_string();
        assert!(message.contains("server.allowed_hosts") && message.contains("evil.example"), "{message}");
    }
}

const CONTROL_PATHS: [&str; 6] = ["/health", "/ready", "/metrics", "/stats", "/api/rooms", "/api/openapi.json"];

#[test]
fn a_page_that_rebinds_its_name_gets_nothing() {
    let server = Server::start(&[]);
    let port = server.listen.port();
    for host in
        [format!("localhost:{port}"), format!("127.0.0.1:{port}"), "app.localhost".to_owned(), "[::1]:80".to_owned()]
    {
        assert_eq!(ask(server.listen, "/ws", &host).status, 101, "{host}");
        assert_eq!(ask(server.listen, "/health", &host).status, 200, "{host}");
        for path in CONTROL_PATHS {
            assert_eq!(ask(server.control, path, &host).status, 200, "{path} at {host}");
        }
    }
    for host in ["evil.example".to_owned(), format!("evil.example:{port}"), "localhost.evil.example".to_owned()] {
        for path in ["/ws", "/health"] {
            assert_refused(server.listen, path, &host);
        }
        for path in CONTROL_PATHS {
            assert_refused(server.control, path, &host);
        }
    }
    server.wait_until_empty();
}

#[test]
fn configured_hosts_are_answered_and_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roomring.toml");
    let write = |hosts: &str| std::fs::write(&file, format!("[server]\nallowed_hosts = {hosts}\n")).expect("writable");
    write(r#"["*.chat.example"]"#);
    let mut command = program();
    command.args(["--set", "server.cores=1", "--set", "server.pin=false", "--config"]).arg(&file);
    let server = Server::spawn(command);
    let statuses = |host: &str| (ask(server.listen, "/ws", host).status, ask(server.control, "/stats", host).status);
    assert_eq!(statuses("eu.chat.example"), (101, 200));
    assert_eq!(statuses("eu.chat.example:443"), (101, 200), "ports are not compared");
    assert_eq!(statuses("chat.example"), (403, 403));
    assert_eq!(statuses("localhost"), (101, 200));
    write(r#"["chat.example"]"#);
    server.signal("HUP");
    eventually("the new hosts hold", || (statuses("chat.example") == (101, 200)).then_some(()));
    assert_eq!(statuses("eu.chat.example"), (403, 403));
    write(r#"["*"]"#);
    server.signal("HUP");
    eventually("any host is answered", || (statuses("evil.example") == (101, 200)).then_some(()));
}

#[test]
fn where_a_token_is_needed_clients_may_come_by_any_name() {
    let secret = "auth.hmac_secret=0123456789abcdef0123456789abcdef";
    let server = Server::start(&["auth.mode=jwt", secret]);
    assert_eq!(ask(server.listen, "/ws", "chat.example").status, 401, "only the token is missing");
    assert_eq!(ask(server.listen, "/health", "chat.example").status, 200);
    assert_eq!(ask(server.control, "/stats", "chat.example").status, 403, "which asks for no token");
}

#[test]
fn hosts_and_origins_that_never_match_are_refused_with_the_reason() {
    for (setting, named) in [
        ("auth.allowed_origins=https://app.example/", "write https://app.example"),
        ("auth.allowed_origins=https://app-*.example", "one whole label"),
        ("auth.allowed_origins=null", "only \"*\" allows it"),
        ("auth.allowed_origins=[\"https://a.example https://b.example\"]", "each origin as a separate string"),
        ("auth.allowed_origins=wss://a.example", "write https://a.example"),
        ("server.allowed_hosts=https://a.example", "write a.example"),
        ("server.allowed_hosts=a.example:80", "ports are not compared"),
    ] {
        let (key, _) = setting.split_once('=').expect("a key");
        assert_failed(&run(&["check-config", "--set", setting]), 2, &[key, named]);
    }
    let fine =
        run(&["check-config", "--set", "auth.allowed_origins=https://a.example,http://*.b.example:8080,localhost"]);
    assert_eq!((fine.code, fine.stdout.lines().count()), (0, 1), "{fine:?}");
    let public = ["check-config", "--set", "auth.mode=open", "--set", "server.listen=0.0.0.0:8080"];
    let noted = run(&public);
    assert!(noted.code == 0 && noted.stdout.contains("server.allowed_hosts"), "{noted:?}");
}
