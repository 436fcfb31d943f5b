//! Socket activation (LISTEN_FDS), notifications (NOTIFY_SOCKET), and restarts that drop no new connections.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::command_line::assert_failed;
use crate::http;
use crate::server::{PATIENCE, Server, clean, eventually, finish, program, scratch};

/// The program with `socket` as descriptor 3, as systemd hands it over; `more` runs before it.
fn activated(socket: impl Into<OwnedFd>, more: &str) -> Command {
    let mut command = Command::new("sh");
    clean(&mut command);
    let script = format!("exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; {more} exec \"$@\"");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_roomring")]);
    command.args(["--set", "server.pin=false", "--set", "log.format=text"]);
    command.stdin(Stdio::from(socket.into()));
    command
}

fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// A server with two cores on a socket that this test keeps.
fn start(listener: &TcpListener) -> Server {
    let mut command = activated(listener.try_clone().expect("a descriptor is free"), "");
    for setting in
        ["server.cores=2", "limits.connections_per_user=0", "limits.connect_rate=0", "limits.connect_rate_per_ip=0"]
    {
        command.args(["--set", setting]);
    }
    Server::spawn(command)
}

#[test]
fn an_inherited_socket_is_served_by_all_cores() {
    let (listener, address) = bind();
    let server = start(&listener);
    assert_eq!(server.listen, address, "{}", server.ready);
    let mut clients: Vec<Client> = (0..200).map(|index| Client::connect(&server, &format!("user{index}"))).collect();
    clients[0].join("lobby");
    assert_eq!(clients[199].join("lobby")["members"], 2);
    let stats = server.stats();
    let cores = stats["cores"].as_array().expect("/stats has cores");
    assert!(cores.iter().all(|core| core["connections"].as_u64() > Some(0)), "one socket is for both: {stats}");
    assert!(server.stderr.get().contains("handed over"), "{}", server.stderr.get());
}

#[test]
fn the_control_address_can_be_inherited() {
    let (listener, address) = bind();
    let server = Server::spawn(activated(listener, "export LISTEN_FDNAMES=control;"));
    assert_eq!(server.control, address, "{}", server.ready);
    assert_ne!(server.listen, address);
    assert_eq!(http::get(server.control, "/ready").status, 200);
    Client::connect(&server, "alice").join("lobby");
}

#[test]
fn sockets_for_another_process_are_ignored() {
    let (listener, address) = bind();
    let server = Server::spawn(activated(listener, "export LISTEN_PID=1;"));
    assert_ne!(server.listen, address);
}

#[test]
fn invalid_variables_are_reported_in_one_sentence() {
    let udp = || UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let (connected, _) = bind();
    let connected = std::net::TcpStream::connect(connected.local_addr().expect("bound")).expect("connects");
    let cases: [(OwnedFd, &str, &str); 5] = [
        (bind().0.into(), "export LISTEN_FDS=two;", "LISTEN_FDS"),
        (bind().0.into(), "export LISTEN_FDS=2;", "fd 4"),
        (bind().0.into(), "export LISTEN_PID=me;", "LISTEN_PID"),
        (udp().into(), "", "not a TCP socket"),
        (connected.into(), "", "does not listen"),
    ];
    for (socket, more, named) in cases {
        assert_failed(&finish(activated(socket, more)), 1, &[named]);
    }
}

/// Runs one client from start to end. Returns what went wrong, if anything.
fn live(address: SocketAddr, pause: Duration) -> Result<(), String> {
    let mut stream = std::net::TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    // A server that ends between the connect and the head must not lose the connection.
    thread::sleep(pause);
    let head = http::upgrade_head(address, "/ws?room=lobby", "");
    stream.write_all(head.as_bytes()).map_err(|error| format!("the head: {error}"))?;
    let mut answer = [0; 13];
    std::io::Read::read_exact(&mut stream, &mut answer).map_err(|error| format!("the answer: {error}"))?;
    if answer != *b"HTTP/1.1 101 " {
        return Err(String::from_utf8_lossy(&answer).into_owned());
    }
    let _ = stream.write_all(&http::client_frame(0x88, &1000_u16.to_be_bytes()));
    http::end(&stream);
    http::read_to_end(&mut stream);
    Ok(())
}

#[test]
fn a_restart_drops_no_new_connections() {
    const THREADS: u64 = 4;
    const RESTARTS: usize = 3;
    let (listener, address) = bind();
    let mut server = start(&listener);
    let (over, lives) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures = thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|index| {
                let (over, lives) = (&over, &lives);
                scope.spawn(move || {
                    let mut failures = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        failures.extend(live(address, Duration::from_millis(index * 15)).err());
                        lives.fetch_add(1, Ordering::Relaxed);
                    }
                    failures
                })
            })
            .collect();
        for _ in 0..RESTARTS {
            let mut resident = Client::connect(&server, "resident");
            let before = lives.load(Ordering::Relaxed);
            eventually("clients live", || (lives.load(Ordering::Relaxed) > before + 20).then_some(()));
            server.signal("TERM");
            assert_eq!(resident.expect("reconnect")["reason"], "draining");
            assert_eq!(resident.close_code(), 1012);
            assert_eq!(server.wait().code(), Some(0), "{}", server.stderr.get());
            server = start(&listener);
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("clients do not panic")).collect::<Vec<_>>()
    });
    assert_eq!(failures, [""; 0], "of {} lives", lives.load(Ordering::Relaxed));
    server.wait_until_empty();
}

/// A service manager that receives notifications.
struct Manager(UnixDatagram);

impl Manager {
    /// Starts a server under a manager with a watchdog.
    fn start(name: &str) -> (Manager, Server) {
        let path = scratch("activation").join(name);
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("the scratch folder can be written");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut command = program();
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
        command.args(["--set", "server.cores=2", "--set", "server.pin=false"]);
        (Manager(socket), Server::spawn(command))
    }

    /// The lines of the next message that is not only a heartbeat.
    fn hear(&self) -> Vec<String> {
        loop {
            let lines = self.hear_any();
            if lines != ["WATCHDOG=1"] {
                return lines;
            }
        }
    }

    fn hear_any(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let count = self.0.recv(&mut buffer).expect("the server says something");
        let text = String::from_utf8(buffer[..count].to_vec()).expect("it is text");
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_service_manager_is_notified_of_each_change() {
    let (manager, mut server) = Manager::start("changes");
    let ready = [String::from("READY=1"), format!("STATUS=serving on {}", server.listen)];
    assert_eq!(manager.hear(), ready);
    server.signal("HUP");
    let reloading = manager.hear();
    let time = reloading.get(1).and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(reloading[0] == "RELOADING=1" && time.is_some_and(|time| time.parse::<u64>().is_ok()), "{reloading:?}");
    assert_eq!(manager.hear(), ready);
    let mut client = Client::connect(&server, "alice");
    server.signal("TERM");
    assert_eq!(manager.hear(), ["STOPPING=1", "STATUS=draining 1 connections"]);
    assert_eq!(client.close_code(), 1012);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn heartbeats_are_sent_while_the_cores_answer() {
    let (manager, server) = Manager::start("watchdog");
    for _ in 0..5 {
        while manager.hear_any() != ["WATCHDOG=1"] {}
    }
    // A stopped process sends nothing more: drain what has arrived.
    server.signal("STOP");
    manager.0.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout can be set");
    let mut buffer = [0; 4096];
    let late = (0..100).take_while(|_| manager.0.recv(&mut buffer).is_ok()).count();
    assert!(late < 10, "{late} signs of life of a stopped process");
}
