//! `server.max_connections` counts the open WebSockets of the whole process exactly, on whatever core each is.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::http;
use crate::server::{Server, eventually, program, scratch};

/// Asks for a WebSocket. Returns its socket, or the refusal.
fn knock(server: &Server) -> Result<TcpStream, http::Answer> {
    let mut stream = http::open(server.listen);
    stream.write_all(http::upgrade_head(server.listen, "/ws", "").as_bytes()).expect("the server reads");
    let head = http::read_head(&mut stream);
    if head.starts_with("HTTP/1.1 101 ") {
        return Ok(stream);
    }
    Err(http::parse(&[head.as_bytes(), &http::read_to_end(&mut stream)].concat()))
}

/// Asks many times, from several threads at once. Returns the connections admitted. The others are told when to
/// reconnect.
fn knock_often(server: &Server, times: usize) -> Vec<TcpStream> {
    let knock_each = || {
        (0..times / 4).filter_map(|_| match knock(server) {
            Ok(stream) => Some(stream),
            Err(answer) => {
                assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some("overloaded")), "{answer:?}");
                assert!(answer.field("Retry-After").is_some(), "{answer:?}");
                None
            }
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| knock_each().collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("each is answered")).collect()
    })
}

#[test]
fn exactly_as_many_are_let_in_on_any_number_of_cores() {
    for cores in [1, 2, 4] {
        let server = Server::start(&[&format!("server.cores={cores}"), "server.max_connections=100"]);
        let mut open = knock_often(&server, 240);
        assert_eq!((open.len(), server.stat("connections")), (100, 100), "{cores} cores");
        // Half of them leave: by a close frame, by the end of their stream, or by a reset.
        for (index, mut stream) in open.drain(..50).enumerate() {
            match index % 3 {
                0 => stream.write_all(&http::client_frame(0x88, &[])).expect("the server reads"),
                1 => http::end(&stream),
                _ => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("it is set"),
            }
        }
        eventually("their places are free", || (server.stat("connections") == 50).then_some(()));
        assert_eq!(knock_often(&server, 120).len(), 50, "{cores} cores");
    }
}

#[test]
fn a_limit_that_is_changed_while_the_server_runs_holds_from_then_on() {
    let file = scratch("capacity").join("reload.toml");
    let write = |most: u32| {
        let text = format!(
            "[server]\nmax_connections = {most}\n[limits]\nconnections_per_user = 0\nconnect_rate_per_ip = \"0\"\n"
        );
        fs::write(&file, text).expect("the build's folder for tests can be written");
    };
    write(20);
    let mut command = program();
    command.arg("--config").arg(&file).args(["--set", "server.cores=2", "--set", "server.pin=false"]);
    let server = Server::spawn(command);
    let mut open = knock_often(&server, 40);
    assert_eq!(open.len(), 20);
    let reload = |most: u32, times: usize| {
        write(most);
        server.signal("HUP");
        let read = || server.stderr.get().matches("configuration reloaded").count() == times;
        eventually("the configuration is read again", || read().then_some(()));
        // Every core answers, so each has the settings sent before.
        assert_eq!(http::get(server.control, "/api/connections?limit=1000").status, 200);
    };
    reload(30, 1);
    open.extend(knock_often(&server, 40));
    assert_eq!(open.len(), 30);
    reload(10, 2);
    assert_eq!(server.stat("connections"), 30, "nobody is cut");
    open.truncate(15);
    eventually("they are gone", || (server.stat("connections") == 15).then_some(()));
    assert_eq!(knock_often(&server, 40).len(), 0, "there are more than may be");
    open.truncate(4);
    eventually("they are gone", || (server.stat("connections") == 4).then_some(()));
    assert_eq!(knock_often(&server, 40).len(), 6);
}
