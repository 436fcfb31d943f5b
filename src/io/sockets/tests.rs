//! An echo server on a real ring over loopback: reuse of slots, stalled and vanishing peers, shutdown with sends in
//! flight.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use socket2::SockRef;

use super::super::ring::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS};
use super::*;

/// State of a slot: bytes to send after the send in flight.
#[derive(Default)]
struct Echoed {
    sending: bool,
    waiting: Vec<u8>,
}

/// Echoes what it receives by the rules of the engine: one send per slot, a close for each disconnect.
struct EchoServer {
    sockets: Sockets,
    slots: Vec<Option<Echoed>>,
    counters: Arc<CoreCounters>,
    address: SocketAddr,
    started: Instant,
    accepted: usize,
    /// Peer addresses, in order.
    peers: Vec<IpAddr>,
    closed: usize,
    received: usize,
    /// Answers each receive with this instead.
    answer: Option<Bytes>,
    /// Slots whose peers have ended their streams; closed when everything is echoed.
    ended: Vec<u32>,
}

impl EchoServer {
    fn new(capacity: u32) -> EchoServer {
        EchoServer::on(capacity, Ring::new)
    }

    fn on(capacity: u32, ring: impl FnOnce(u32, Arc<CoreCounters>) -> Result<Ring, StartError>) -> EchoServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        EchoServer::listening(capacity, vec![listener], ring)
    }

    fn listening(
        capacity: u32,
        listeners: Vec<TcpListener>,
        ring: impl FnOnce(u32, Arc<CoreCounters>) -> Result<Ring, StartError>,
    ) -> EchoServer {
        let address = listeners[0].local_addr().expect("bound");
        let counters = Arc::new(CoreCounters::default());
        let wake = Arc::new(Wake::new().expect("an eventfd"));
        let ring = ring(capacity, counters.clone()).expect("a ring");
        let sockets = Sockets::on(ring, capacity, listeners, wake).expect("a table");
        let started = Instant::now();
        EchoServer {
            sockets,
            slots: Vec::new(),
            counters,
            address,
            started,
            accepted: 0,
            peers: Vec::new(),
            closed: 0,
            received: 0,
            answer: None,
            ended: Vec::new(),
        }
    }

    /// Runs one turn and waits up to `wait` for a completion.
    fn turn(&mut self, wait: Duration) {
        self.sockets.advance(self.started.elapsed().as_micros() as u64);
        let mut closes = Vec::new();
        while let Some(input) = self.sockets.take_input() {
            match input {
                Input::Accepted { slot, peer } => {
                    self.accepted += 1;
                    self.peers.push(peer);
                    self.slots.resize_with(self.slots.len().max(slot as usize + 1), || None);
                    assert!(self.slots[slot as usize].replace(Echoed::default()).is_none(), "slot {slot} is in use");
                }
                Input::Received { slot, bytes } => {
                    self.received += bytes.len();
                    let state = self.slots[slot as usize].as_mut().expect("accepted");
                    state.waiting.extend_from_slice(self.answer.as_deref().unwrap_or(bytes));
                }
                Input::Sent { slot } => self.slots[slot as usize].as_mut().expect("accepted").sending = false,
                Input::Ended { slot } => {
                    assert!(self.slots[slot as usize].is_some() && !self.ended.contains(&slot), "told once");
                    self.ended.push(slot);
                }
                Input::Disconnected { slot } => {
                    assert!(self.slots[slot as usize].is_some(), "told once");
                    closes.push(slot);
                }
                other => panic!("sockets never produce {other:?}"),
            }
        }
        for (slot, state) in self.slots.iter_mut().enumerate() {
            let Some(state) = state else { continue };
            if !state.sending && !state.waiting.is_empty() {
                state.sending = true;
                self.sockets.send(slot as u32, Bytes::from(std::mem::take(&mut state.waiting)), false);
            }
        }
        let is_done = |slot: &u32| self.slots[*slot as usize].as_ref().is_some_and(|state| !state.sending);
        closes.extend(self.ended.iter().copied().filter(is_done));
        closes.sort_unstable();
        closes.dedup();
        for slot in closes {
            self.close(slot);
        }
        if !self.sockets.submit() && !wait.is_zero() {
            self.sockets.wait(wait);
        }
    }

    fn close(&mut self, slot: u32) {
        self.slots[slot as usize] = None;
        self.ended.retain(|ended| *ended != slot);
        self.closed += 1;
        self.sockets.close(slot);
    }

    fn turn_until(&mut self, what: &str, mut done: impl FnMut(&mut EchoServer) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(20), "still waiting until {what}");
            self.turn(Duration::from_millis(5));
        }
    }

    /// Turns until all slots are free and only accepts and the wait for wake-ups are in flight.
    fn turn_until_empty(&mut self) {
        self.turn_until("all slots are free", |echo| echo.sockets.open() == 0);
        self.turn(Duration::ZERO);
        assert_eq!(self.sockets.ring().sends_in_flight(), 0);
        let armed = self.sockets.acceptor.armed();
        assert!((1..=self.sockets.capacity).contains(&armed), "{armed} accepts wait");
        assert_eq!(self.sockets.ring().outstanding(), armed as usize + 1);
        assert_eq!(self.accepted, self.closed);
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Runs clients on their own thread, and turns until they are done.
fn with_clients<T: Send + 'static>(echo: &mut EchoServer, clients: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
    let address = echo.address;
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        let result = clients(address);
        let _ = done.send(());
        result
    });
    echo.turn_until("the clients are done", |_| {
        !matches!(is_done.try_recv(), Err(mpsc::TryRecvError::Empty)) || thread.is_finished()
    });
    thread.join().expect("clients do not panic")
}

#[test]
fn many_connections_are_echoed() {
    echoes_many(EchoServer::new(600));
}

#[test]
fn an_older_kernel_serves_as_well() {
    echoes_many(EchoServer::on(600, Ring::cooperative));
}

fn echoes_many(mut echo: EchoServer) {
    with_clients(&mut echo, |address| {
        let mut clients: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(address).expect("connects")).collect();
        for round in 0..6 {
            for (index, client) in clients.iter_mut().enumerate() {
                client.write_all(&pattern(index + round + 1)).expect("written");
            }
            for (index, client) in clients.iter_mut().enumerate() {
                let mut echoed = vec![0; index + round + 1];
                client.read_exact(&mut echoed).expect("echoed");
                assert_eq!(echoed, pattern(index + round + 1));
            }
        }
    });
    echo.turn_until_empty();
    assert_eq!(echo.accepted, 500);
    let streaming = echo.sockets.streaming;
    assert_eq!(streaming, 0);
}

#[test]
fn long_messages_are_echoed_whole() {
    let mut echo = EchoServer::new(8);
    with_clients(&mut echo, |address| {
        let mut client = TcpStream::connect(address).expect("connects");
        let mut reader = client.try_clone().expect("cloned");
        let sent = pattern(8 << 20);
        let expected = sent.clone();
        let reading = thread::spawn(move || {
            let mut echoed = vec![0; expected.len()];
            reader.read_exact(&mut echoed).expect("echoed");
            assert!(echoed == expected);
        });
        client.write_all(&sent).expect("written");
        reading.join().expect("reads");
    });
    echo.turn_until_empty();
}

#[test]
fn more_readable_sockets_than_buffers_lose_nothing() {
    let mut echo = EchoServer::new(64);
    let address = echo.address;
    let mut clients: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).expect("connects")).collect();
    // Together the clients send more than all buffers hold.
    let each = usize::from(RECEIVE_BUFFERS) * RECEIVE_BUFFER_BYTES / 10;
    echo.answer = Some(Bytes::from_static(b"."));
    echo.turn_until("all are accepted", |echo| echo.accepted == 40);
    for client in &clients {
        client.set_nonblocking(true).expect("set");
    }
    let data = pattern(each);
    let mut written = vec![0; 40];
    echo.turn_until("all has arrived", |echo| {
        for (client, written) in clients.iter_mut().zip(&mut written) {
            while *written < each {
                match client.write(&data[*written..]) {
                    Ok(count) => *written += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        echo.received == 40 * each
    });
    drop(clients);
    echo.turn_until_empty();
}

#[test]
fn slots_are_reused_without_confusion() {
    let mut echo = EchoServer::new(16);
    with_clients(&mut echo, |address| {
        let storms: Vec<_> = (0..4_u8)
            .map(|thread| {
                thread::spawn(move || {
                    for round in 0..1500_usize {
                        let mut client = TcpStream::connect(address).expect("connects");
                        let sent = [thread, round as u8, (round >> 8) as u8];
                        if round % 3 == 0 {
                            // Vanishes with bytes in both directions.
                            let _ = client.write_all(&sent);
                            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
                            continue;
                        }
                        client.write_all(&sent).expect("written");
                        let mut echoed = [0; 3];
                        client.read_exact(&mut echoed).expect("echoed");
                        assert_eq!(echoed, sent);
                    }
                })
            })
            .collect();
        for storm in storms {
            storm.join().expect("no confusion");
        }
    });
    echo.turn_until_empty();
    assert!(echo.accepted >= 4000, "{}", echo.accepted);
    assert!(echo.slots.len() <= 16);
}

#[test]
fn a_stalled_reader_is_closed_and_its_bytes_are_freed() {
    let mut echo = EchoServer::new(8);
    let answer: Arc<[u8]> = pattern(64 << 20).into();
    echo.answer = Some(Bytes::from_owner(answer.clone()));
    let mut client = TcpStream::connect(echo.address).expect("connects");
    client.write_all(b"x").expect("written");
    echo.turn_until("the send is in flight", |echo| echo.sockets.ring().sends_in_flight() == 1);
    for _ in 0..20 {
        echo.turn(Duration::from_millis(5));
    }
    assert_eq!(echo.sockets.ring().sends_in_flight(), 1, "no socket takes 64 MiB");
    echo.close(0);
    echo.turn_until_empty();
    echo.answer = None;
    assert_eq!(Arc::strong_count(&answer), 1);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20, "canceled bytes did not go out");
}

#[test]
fn a_canceled_send_frees_its_bytes() {
    let mut echo = EchoServer::new(8);
    let kept: Arc<[u8]> = pattern(64 << 20).into();
    let mut client = TcpStream::connect(echo.address).expect("connects");
    client.write_all(b"x").expect("written");
    echo.turn_until("it is accepted", |echo| echo.accepted == 1);
    echo.turn_until("the byte is answered", |echo| {
        echo.received == 1 && !echo.slots[0].as_ref().expect("open").sending
    });
    echo.sockets.send(0, Bytes::from_owner(kept.clone()), false);
    echo.turn(Duration::from_millis(20));
    assert_eq!(Arc::strong_count(&kept), 2, "owned while in flight");
    echo.close(0);
    assert_eq!(Arc::strong_count(&kept), 2, "owned until the kernel is done");
    echo.turn_until_empty();
    assert_eq!(Arc::strong_count(&kept), 1);
}

#[test]
fn a_dropped_ring_frees_its_sends_after_their_end() {
    let kept: Arc<[u8]> = pattern(64 << 20).into();
    let mut echo = EchoServer::new(8);
    let mut client = TcpStream::connect(echo.address).expect("connects");
    client.write_all(b"x").expect("written");
    echo.turn_until("it is accepted", |echo| echo.accepted == 1);
    echo.turn_until("the byte is answered", |echo| {
        echo.received == 1 && !echo.slots[0].as_ref().expect("open").sending
    });
    echo.sockets.send(0, Bytes::from_owner(kept.clone()), false);
    let start = Instant::now();
    drop(echo);
    assert_eq!(Arc::strong_count(&kept), 1);
    assert!(start.elapsed() < Duration::from_secs(1), "canceled, not waited for");
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20);
}

#[test]
fn half_close_lets_the_peer_go_on() {
    let mut echo = EchoServer::new(8);
    let mut client = TcpStream::connect(echo.address).expect("connects");
    client.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    client.write_all(b"first").expect("written");
    echo.turn_until("it is echoed", |echo| echo.received == 5 && !echo.slots[0].as_ref().expect("open").sending);
    // A half-close takes effect after the send in flight.
    let long = pattern(16 << 20);
    echo.sockets.send(0, Bytes::from(long.clone()), false);
    echo.sockets.shutdown(0);
    let reading = thread::spawn(move || {
        let mut all = Vec::new();
        client.read_to_end(&mut all).expect("ends without an error");
        client.write_all(b"second").expect("the other direction is open");
        (client, all)
    });
    echo.turn_until("the second is received", |echo| echo.received == 11);
    let (client, all) = reading.join().expect("reads");
    assert!(all[..5] == *b"first" && all[5..] == long);
    drop(client);
    echo.turn_until("the end is seen", |echo| echo.closed == 1);
    echo.turn_until_empty();
}

#[test]
fn a_client_that_ends_its_stream_after_a_request_is_answered() {
    let mut echo = EchoServer::new(64);
    with_clients(&mut echo, |address| {
        for round in 0..120_usize {
            let mut client = TcpStream::connect(address).expect("connects");
            client.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
            // The end comes in the same segment, in a later one, and on a socket that already polls.
            let socket = SockRef::from(&client);
            socket.set_tcp_cork(round % 3 == 0).expect("set");
            socket.set_tcp_nodelay(true).expect("set");
            let sent = pattern(1 + round * 700);
            if round % 3 == 2 {
                client.write_all(&sent[..1]).expect("written");
                let mut first = [0];
                client.read_exact(&mut first).expect("echoed");
                client.write_all(&sent[1..]).expect("written");
            } else {
                client.write_all(&sent).expect("written");
            }
            client.shutdown(std::net::Shutdown::Write).expect("ended");
            let mut echoed = if round % 3 == 2 { sent[..1].to_vec() } else { Vec::new() };
            client.read_to_end(&mut echoed).expect("an end in order");
            assert!(echoed == sent, "round {round}: {} of {} bytes", echoed.len(), sent.len());
        }
    });
    echo.turn_until_empty();
}

#[test]
fn a_send_reports_a_reset_after_the_end_of_the_stream() {
    let mut echo = EchoServer::new(8);
    echo.answer = Some(pattern(64 << 20).into());
    let mut client = TcpStream::connect(echo.address).expect("connects");
    client.write_all(b"x").expect("written");
    client.shutdown(std::net::Shutdown::Write).expect("ended");
    echo.turn_until("the end is seen with the answer in flight", |echo| {
        echo.ended == [0] && echo.sockets.ring().sends_in_flight() == 1
    });
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("set");
    drop(client);
    echo.turn_until("it is closed", |echo| echo.closed == 1);
    echo.turn_until_empty();
}

#[test]
fn a_reset_is_a_disconnect() {
    let mut echo = EchoServer::new(8);
    let mut client = TcpStream::connect(echo.address).expect("connects");
    client.write_all(b"x").expect("written");
    echo.turn_until("it is received", |echo| echo.received == 1);
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("set");
    drop(client);
    echo.turn_until("it is closed", |echo| echo.closed == 1);
    echo.turn_until_empty();
}

#[test]
fn a_full_table_keeps_clients_waiting_and_loses_none() {
    let mut echo = EchoServer::new(4);
    let address = echo.address;
    let mut clients: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(address).expect("connects")).collect();
    echo.turn_until("the table is full", |echo| echo.accepted >= 4);
    let before = echo.counters.submissions.get();
    for _ in 0..50 {
        echo.turn(Duration::from_millis(2));
    }
    assert_eq!(echo.accepted, 4, "no slot was free");
    let spent = echo.counters.submissions.get() - before;
    assert!(spent <= 150, "a full table must not spin: {spent} calls in 50 turns");
    // Each client that leaves makes room for the next: all ten are served.
    with_clients(&mut echo, move |_| {
        for (index, mut client) in clients.drain(..).enumerate() {
            client.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
            client.write_all(&[index as u8]).expect("written");
            let mut echoed = [0xff];
            client.read_exact(&mut echoed).expect("served");
            assert_eq!(usize::from(echoed[0]), index);
        }
    });
    echo.turn_until_empty();
    assert_eq!(echo.accepted, 10);
}

#[test]
fn every_connection_has_its_peer_address() {
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let v6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a free port, and IPv6");
    let (on_v4, on_v6) = (v4.local_addr().expect("bound").port(), v6.local_addr().expect("bound").port());
    let mut echo = EchoServer::listening(200, vec![v4, v6], Ring::new);
    // A burst from different addresses, larger than the accepts in flight: each connection keeps its own.
    let mut clients = Vec::new();
    let mut expected = Vec::new();
    for last in 1..=100_u8 {
        let from = Ipv4Addr::new(127, 0, 0, last);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("loopback is ours");
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, on_v4)).into()).expect("connects");
        expected.push(IpAddr::V4(from));
        clients.push(TcpStream::from(socket));
    }
    echo.turn_until("they are accepted", |echo| echo.accepted == 100);
    echo.peers.sort_unstable();
    assert_eq!(echo.peers, expected);
    echo.peers.clear();
    clients.push(TcpStream::connect((Ipv6Addr::LOCALHOST, on_v6)).expect("connects"));
    echo.turn_until("IPv6 is accepted", |echo| echo.accepted == 101);
    clients.push(TcpStream::connect((Ipv4Addr::LOCALHOST, on_v6)).expect("connects"));
    echo.turn_until("IPv4 on an IPv6 socket is accepted", |echo| echo.accepted == 102);
    assert_eq!(echo.peers, [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    drop(clients);
    echo.turn_until_empty();
}

#[test]
fn a_faulty_listener_is_retried_slowly() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    // On a nonblocking socket the kernel fails an accept at once.
    listener.set_nonblocking(true).expect("set");
    let mut echo = EchoServer::listening(64, vec![listener], Ring::new);
    for _ in 0..50 {
        echo.turn(Duration::from_millis(2));
    }
    let operations = echo.counters.operations.get();
    assert!(operations < 120, "a few attempts and no more: {operations}");
    with_clients(&mut echo, |address| {
        let mut client = TcpStream::connect(address).expect("connects");
        client.write_all(b"x").expect("written");
        client.read_exact(&mut [0]).expect("served");
    });
    echo.turn_until("all slots are free", |echo| echo.sockets.open() == 0);
}

#[test]
fn the_work_of_the_ring_is_counted() {
    let mut echo = EchoServer::new(8);
    let mut client = TcpStream::connect(echo.address).expect("connects");
    for round in 1..=10 {
        client.write_all(b"x").expect("written");
        echo.turn_until("it is received", |echo| echo.received == round);
    }
    let mut echoed = [0; 10];
    client.set_nonblocking(true).expect("set");
    let mut length = 0;
    echo.turn_until("all are sent", |_| {
        length += client.read(&mut echoed[length..]).unwrap_or(0);
        length == echoed.len()
    });
    drop(client);
    echo.turn_until_empty();
    let counters = &echo.counters;
    assert!(counters.operations.get() >= 3, "an accept, a receive and a send at least");
    assert!(counters.completions.get() >= 12, "ten receives, an accept, and a send at least");
    assert!(counters.submissions.get() > 0);
}

#[test]
fn busy_sockets_stream_and_quiet_ones_poll() {
    let mut echo = EchoServer::new(8);
    let mut client = TcpStream::connect(echo.address).expect("connects");
    for round in 1..=10 {
        client.write_all(b"x").expect("written");
        echo.turn_until("it is received", |echo| echo.received == round);
        echo.turn(Duration::ZERO);
    }
    assert_eq!(echo.sockets.streaming, 1);
    echo.turn_until("it polls", |echo| echo.sockets.streaming == 0);
    assert_eq!(echo.sockets.slots[0].mode, ReceiveMode::Polling);
    assert!(echo.sockets.next_due_us().is_none(), "nothing is due when all sockets poll");
    client.write_all(b"y").expect("written");
    echo.turn_until("it is received", |echo| echo.received == 11);
    drop(client);
    echo.turn_until_empty();
}

#[test]
fn stopping_to_accept_closes_the_listener() {
    let mut echo = EchoServer::new(8);
    let mut client = TcpStream::connect(echo.address).expect("connects");
    echo.turn_until("it is accepted", |echo| echo.accepted == 1);
    echo.sockets.stop_accepting();
    echo.turn(Duration::from_millis(5));
    echo.turn(Duration::from_millis(5));
    assert_eq!(
        TcpStream::connect(echo.address).map_err(|error| error.kind()).err(),
        Some(ErrorKind::ConnectionRefused)
    );
    client.write_all(b"x").expect("written");
    echo.turn_until("open ones are served", |echo| echo.received == 1);
}

#[test]
fn a_table_fits_the_limit_on_files() {
    assert_eq!(Capacity::under(1000, 1 << 20), Capacity { slots: 2024, connections_max: 1000 });
    assert_eq!(Capacity::under(1_000_000, 20_000), Capacity { slots: 20_000, connections_max: 18_976 });
    assert_eq!(Capacity::under(1_000_000, 1024), Capacity { slots: 1024, connections_max: 960 });
    assert_eq!(Capacity::under(u32::MAX, u64::MAX).slots, 1 << 20);
}
