//! Fan-out end to end: real cores with their rings, TCP over loopback, and clients that only read. Measures deliveries
//! per second, and allocations per delivery in this process (the clients allocate nothing). Shows the effect of a
//! change on the whole path; `loadtest` compares servers. `cargo bench --bench loopback`.

#[path = "support/mod.rs"]
mod support;

use std::alloc::System;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use roomring::base::counters::CoreCounters;
use roomring::engine::Engine;
use roomring::engine::trusted::Trusted;
use roomring::io::core::{CoreConfig, CoreHandle, start};
use roomring::io::lanes::Lanes;
use roomring::io::listener::ListeningSockets;
use roomring::io::services::{Control, Services};
use roomring::io::sockets::Capacity;
use roomring::io::wake::Wake;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Shape, settings, text_frame};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Deliveries before the measured ones, so that tables and buffers have grown.
const WARM_UP: Duration = Duration::from_millis(300);

const MEASURED: Duration = Duration::from_secs(2);

/// Size of a client's buffer: several of the largest frames.
const BUFFER_BYTES: usize = 64 * 1024;

fn main() {
    // Chosen like other benches: by a part of the name.
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !filters.is_empty() && !filters.iter().any(|filter| "loopback".contains(filter.as_str())) {
        return;
    }
    println!(
        "{:>5} {:>8} {:>8} {:>10} {:>14} {:>22}",
        "cores", "members", "payload", "in flight", "deliveries/s", "allocations/delivery"
    );
    for (cores, members, payload, in_flight) in [
        (1, 10, 128, 1),
        (1, 100, 128, 1),
        (1, 100, 128, 16),
        (1, 100, 16_384, 1),
        (1, 1_000, 128, 1),
        (2, 100, 128, 1),
        (2, 100, 128, 16),
    ] {
        let measured = measure(&Shape { cores, members, payload, ..Shape::default() }, in_flight);
        println!(
            "{cores:>5} {members:>8} {payload:>8} {in_flight:>10} {:>14.0} {:>22.4}",
            measured.deliveries_per_second, measured.allocations_per_delivery
        );
    }
}

struct Measured {
    deliveries_per_second: f64,
    allocations_per_delivery: f64,
}

/// One room. Its members connect to the cores that the kernel picks.
fn measure(shape: &Shape, in_flight: usize) -> Measured {
    let server = Server::start(shape);
    let mut clients: Vec<Client> = (0..shape.members).map(|_| Client::join(server.address)).collect();
    let data = "x".repeat(shape.payload - 2);
    let publish = text_frame(&format!(r#"{{"type":"publish","room":"lobby","data":"{data}"}}"#)).repeat(in_flight);
    let mut round = || {
        clients[0].stream.write_all(&publish).expect("the server takes it");
        clients.iter_mut().for_each(|client| client.receive(in_flight));
    };
    let begun = Instant::now();
    while begun.elapsed() < WARM_UP {
        round();
    }
    let (begun, region, mut rounds) = (Instant::now(), Region::new(ALLOCATOR), 0_u32);
    while begun.elapsed() < MEASURED {
        round();
        rounds += 1;
    }
    let allocations = region.change().allocations + region.change().reallocations;
    let deliveries = f64::from(rounds) * f64::from(shape.members) * in_flight as f64;
    Measured {
        deliveries_per_second: deliveries / begun.elapsed().as_secs_f64(),
        allocations_per_delivery: allocations as f64 / deliveries,
    }
}

/// Running cores. They stop when dropped.
struct Server {
    address: SocketAddr,
    handles: Vec<CoreHandle>,
    ended: Receiver<()>,
}

impl Server {
    fn start(shape: &Shape) -> Server {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listeners = ListeningSockets::bind(&[any_port], shape.cores).expect("a free port");
        let address = listeners.addresses[0];
        let wakes: Vec<_> = listeners.by_core.iter().map(|_| Arc::new(Wake::new().expect("an eventfd"))).collect();
        let settings = Arc::new(settings(shape));
        let slots = Capacity::of(shape.members).slots;
        let (sender, ended) = channel();
        let parts = Lanes::mesh(&wakes).into_iter().zip(wakes).zip(listeners.by_core);
        let handles = parts.map(|((lanes, wake), listeners)| {
            let (core, counters) = (lanes.core(), Arc::new(CoreCounters::default()));
            let services = Services::default();
            let config = CoreConfig {
                cpu: None,
                slots,
                listeners,
                tls: None,
                lanes,
                proxies: Trusted::default(),
                wake,
                services,
                counters: counters.clone(),
            };
            let (settings, sender) = (settings.clone(), sender.clone());
            let ended = move || sender.send(()).expect("the server outlives its cores");
            start(config, move || Engine::new(settings, core, 1, counters), ended).expect("a core can be started")
        });
        Server { address, handles: handles.collect(), ended }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for handle in &self.handles {
            handle.try_tell(Control::Stop).expect("nobody else tells it anything");
        }
        self.handles.iter().for_each(|_| self.ended.recv().expect("each core has a last word"));
    }
}

/// A member of the room.
struct Client {
    stream: TcpStream,
    /// Bytes received of the next frames: the first `held` bytes.
    buffer: Vec<u8>,
    held: usize,
}

impl Client {
    fn join(address: SocketAddr) -> Client {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a valid timeout");
        stream
            .write_all(
                b"GET /ws?user=u&room=lobby HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .expect("the server takes it");
        let mut client = Client { stream, buffer: vec![0; BUFFER_BYTES], held: 0 };
        client.skip_head().expect("an answer");
        // `welcome` and `joined`.
        client.receive_of(2, "");
        client
    }

    /// Byte by byte, since the first frame follows the head.
    fn skip_head(&mut self) -> io::Result<()> {
        let (mut last, mut byte) = ([0; 4], [0; 1]);
        while &last != b"\r\n\r\n" {
            self.stream.read_exact(&mut byte)?;
            last.rotate_left(1);
            last[3] = byte[0];
        }
        Ok(())
    }

    /// Waits for this many publications.
    fn receive(&mut self, publications: usize) {
        self.receive_of(publications, r#"{"type":"message""#);
    }

    /// Waits for this many messages, all of which must start with `start`.
    fn receive_of(&mut self, messages: usize, start: &str) {
        let mut missing = messages;
        while missing > 0 {
            let count = self.stream.read(&mut self.buffer[self.held..]).expect("the server sends in time");
            assert!(count > 0, "the server has closed the connection");
            self.held += count;
            let mut used = 0;
            while let Some((header, payload)) = whole_frame(&self.buffer[used..self.held]) {
                // A run is too short for an unanswered ping to matter.
                let is_control = self.buffer[used] & 0x08 != 0;
                let end = used + header + payload;
                let message = &self.buffer[used + header..end];
                used = end;
                if !is_control {
                    assert!(message.starts_with(start.as_bytes()), "{}", String::from_utf8_lossy(message));
                    missing -= 1;
                }
            }
            self.buffer.copy_within(used..self.held, 0);
            self.held -= used;
        }
    }
}

/// The lengths of header and payload, if `bytes` start with a whole frame of a server (RFC 6455 section 5.2).
fn whole_frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (header, payload) = match bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => panic!("larger than any frame of these rooms"),
        length => (2, usize::from(*length)),
    };
    (bytes.len() >= header + payload).then_some((header, payload))
}
