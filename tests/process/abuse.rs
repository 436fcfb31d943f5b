//! Seeded attackers do everything that a client can do, at once, while healthy members chat. The members must receive
//! every message once and in order, and no state of the attackers may be left at the end.
//!
//! Prints the seed. `ABUSE_SEED=n` runs another one, `ABUSE_SECONDS=n` runs longer.

mod attacks;
pub mod healthy;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::version::TLS13;

use crate::server::{Server, eventually};
use crate::tls::{Pair, trusting};

/// A latency that no busy machine explains.
const P99_MAX: Duration = Duration::from_secs(5);

/// Memory of the server that the attackers of one run cannot explain: they leave some thousand sockets behind them, and
/// the budget of queued frames is 64 MiB.
const RSS_KIB_MAX: u64 = 400 * 1024;

pub fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is a number: {text:?}")),
        Err(_) => otherwise,
    }
}

/// Where everyone connects, and how.
#[derive(Clone)]
pub struct Target {
    pub listen: std::net::SocketAddr,
    pub control: std::net::SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
}

fn rss_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it is there");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel tells");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
}

/// Everything at its default but what keeps the run short, so that the defaults are what holds.
const SETTINGS: &[&str] = &[
    "server.cores=2",
    "compression.enabled=true",
    "control.api_key=sesame",
    "limits.connect_rate=1000/s",
    "limits.connect_rate_per_ip=50/s",
    "limits.connections_per_user=16",
    "limits.message_rate=50/s",
    "limits.command_rate=1000/s",
    "limits.message_rate_per_user=200/10s",
    "limits.memory_budget=64MiB",
    "rooms.history_ttl=2s",
    "rooms.numbering_ttl=2s",
    "rooms.presence_grace=1s",
];

fn abuse(certificate: Option<&str>) {
    let seed = number("ABUSE_SEED", 1);
    let duration = Duration::from_secs(number("ABUSE_SECONDS", 8));
    let pair = certificate.map(Pair::write);
    let paths = pair.as_ref().map(|(pair, _)| pair.settings());
    let settings: Vec<&str> = paths.iter().flatten().map(String::as_str).chain(SETTINGS.iter().copied()).collect();
    let mut server = Server::start(&settings);
    let tls = pair.map(|(_, der)| trusting(&der, &TLS13));
    let target = Target { listen: server.listen, control: server.control, tls };

    let started = Instant::now();
    let members = healthy::start(&target, started);
    eventually("the healthy ones are in", || (server.stat("members") == healthy::COUNT as u64).then_some(()));
    let rss_before = rss_kib(&server);

    let stop = Arc::new(AtomicBool::new(false));
    let attackers: Vec<_> = (0..12_u8)
        .map(|number| {
            let (target, stop) = (target.clone(), stop.clone());
            let from = Ipv4Addr::new(127, 0, 1, 10 + number);
            let seed = seed.wrapping_mul(1_000).wrapping_add(u64::from(number));
            let attacker = attacks::Attacker::new(target, from, seed);
            thread::spawn(move || attacker.run(&stop))
        })
        .collect();
    thread::sleep(duration);
    stop.store(true, Ordering::Relaxed);
    let mut done = attacks::Done::default();
    for attacker in attackers {
        done.add(&attacker.join().expect("attackers take every answer"));
    }
    let rss = rss_kib(&server);

    let chat = members.finish();
    let (p50, p99, max) = chat.latency();
    println!("ABUSE_SEED={seed}: {done}; resident {rss_before} -> {rss} KiB");
    println!("healthy: {} messages heard, latency p50 {p50:?}, p99 {p99:?}, at most {max:?}", chat.heard());
    assert!(done.all_happened(), "{done}");
    assert!(p99 < P99_MAX, "healthy members waited {p99:?}");
    assert!(rss < RSS_KIB_MAX, "{rss} KiB are resident");

    // Only the healthy ones are left, then no one; histories expire.
    eventually("the healthy ones alone are left", || {
        (server.stat("connections") == healthy::COUNT as u64 && server.metric("roomring_upgrading", "") == 0.0)
            .then_some(())
    });
    chat.close();
    server.wait_until_empty();
    eventually("what was charged is given back", || {
        (server.metric("roomring_memory_charged", "") < 64.0 * 1024.0).then_some(())
    });
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "it drains");
    let log = server.stderr.get();
    let bad: Vec<&str> = log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect();
    assert!(bad.is_empty(), "the log tells of {bad:?}");
}

#[test]
fn healthy_members_do_not_feel_attackers() {
    abuse(None);
}

#[test]
fn healthy_members_do_not_feel_attackers_over_tls() {
    abuse(Some("abuse"));
}
