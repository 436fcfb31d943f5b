//! Greedy clients beside healthy ones, by family. The server's resident memory must stay within 1.25 times its budget
//! plus 64 MiB, the healthy clients must receive every message in time, and the memory must be freed at the end.
//!
//! `GREEDY_SEED=n` runs another seed, `GREEDY_SECONDS=n` runs longer. `cargo test --test process greedy::` runs all
//! families, one server each.

mod families;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::version::TLS13;

use self::families::{Family, Greedy};
use crate::abuse::{Target, healthy, number};
use crate::server::{PATIENCE, Server, allow_descriptors};
use crate::tls::{Pair, trusting};

const BUDGET_MIB: u64 = 128;

/// Resident memory: the goal of the server's accounting, a quarter for what an allocator keeps, and the program itself, which
/// takes 43 MiB in a debug build before anyone connects, and the lanes to its store.
const RSS_MIB_MAX: u64 = BUDGET_MIB + BUDGET_MIB / 4 + 80;

/// What may stay charged when the greedy ones have gone: histories, and the members who go on. Of what is given back the
/// allocator keeps some until it is asked for more.
const CHARGED_KEPT_MIB_MAX: u64 = 24;

/// Latencies that no busy machine explains.
const MEDIAN_MAX: Duration = Duration::from_secs(1);
const P99_MAX: Duration = Duration::from_secs(5);

/// Threads that play the greedy ones.
const THREADS: usize = 4;

/// One family at a time: together they would need more descriptors and memory than a usual machine gives.
static TURN: Mutex<()> = Mutex::new(());

/// Defaults, but what is remembered is remembered for a short time, so that its end is seen.
const SETTINGS: &[&str] = &[
    "server.cores=2",
    "limits.connections_per_user=16",
    "limits.message_rate=50/s",
    "limits.command_rate=1000/s",
    "limits.message_rate_per_user=200/10s",
    "rooms.history_ttl=2s",
    "rooms.numbering_ttl=2s",
    "rooms.presence_grace=1s",
    "log.level=warn",
];

/// A line of `/proc/<pid>/status` in MiB.
fn memory_mib(server: &Server, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it is there");
    let line = status.lines().find(|text| text.starts_with(line)).expect("the kernel tells");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB");
    kib / 1_024
}

/// Waits until the memory of the greedy ones has come back; what is resident then, MiB.
fn settle(server: &Server) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    while charged_mib(server) > CHARGED_KEPT_MIB_MAX && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
    memory_mib(server, "VmRSS:")
}

fn charged_mib(server: &Server) -> u64 {
    server.metric("roomring_memory_charged", "") as u64 >> 20
}

/// Runs a family against its own server.
fn run(family: &'static Family) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    allow_descriptors(12_000);
    let (seed, seconds) = (number("GREEDY_SEED", 1), number("GREEDY_SECONDS", 6));
    let pair = family.tls.then(|| Pair::write(&format!("greedy-{}", family.name)));
    let paths = pair.as_ref().map(|(pair, _)| pair.settings());
    let budget = format!("limits.memory_budget={BUDGET_MIB}MiB");
    let mut settings: Vec<&str> = paths.iter().flatten().map(String::as_str).collect();
    settings.push(&budget);
    settings.extend(SETTINGS.iter().chain(family.settings));
    let mut server = Server::start(&settings);
    let tls = pair.map(|(_, der)| trusting(&der, &TLS13));
    let target = Target { listen: server.listen, control: server.control, tls };
    let members = healthy::start(&target, Instant::now());
    let before = memory_mib(&server, "VmRSS:");

    let stop = Arc::new(AtomicBool::new(false));
    let (mut threads, mut charged) = (Vec::new(), 0);
    for index in 0..THREADS {
        let (target, stop) = (target.clone(), stop.clone());
        let from = Ipv4Addr::new(127, 0, 2, 10 + index as u8);
        let seed = seed.wrapping_mul(1_000).wrapping_add(index as u64);
        let count = family.connections / THREADS;
        threads.push(thread::spawn(move || Greedy::new(target, from, seed, index * count).run(family, count, &stop)));
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        thread::sleep(Duration::from_millis(200));
        charged = charged.max(charged_mib(&server));
    }
    stop.store(true, Ordering::Relaxed);
    let mut played: Vec<Greedy> =
        threads.into_iter().map(|thread| thread.join().expect("greedy ones take every answer")).collect();
    let (opened, sent) = played.iter().fold((0, 0), |(opened, sent), one| (opened + one.opened, sent + one.sent));
    played.iter_mut().for_each(Greedy::leave);
    let after = settle(&server);
    let peak = memory_mib(&server, "VmHWM:");
    let left = charged_mib(&server);
    let chat = members.finish();
    let (p50, p99, max) = chat.latency();
    println!(
        "{}: GREEDY_SEED={seed}: {opened} connections, {} MiB sent; resident {before} -> {peak} -> {after} MiB, {charged} MiB \
         charged at most and {left} after; healthy p50 {p50:?}, p99 {p99:?}, at most {max:?}",
        family.name,
        sent >> 20,
    );
    assert!(opened > 0 && sent > 0, "{}: nothing was done", family.name);
    assert!(peak <= RSS_MIB_MAX, "{}: {peak} MiB were resident, at most {RSS_MIB_MAX} may be", family.name);
    assert!(p50 < MEDIAN_MAX && p99 < P99_MAX, "{}: healthy members waited {p50:?}, {p99:?}", family.name);
    assert!(left <= CHARGED_KEPT_MIB_MAX, "{}: {left} MiB stay charged", family.name);
    chat.close();
    server.wait_until_empty();
    assert!(server.ended().is_none(), "{}: it serves on", family.name);
    let log = server.stderr.get();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

macro_rules! families {
    ($($name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                let name = stringify!($name);
                run(families::ALL.iter().find(|family| family.name == name).expect("a family of that name"));
            }
        )*

        #[test]
        fn every_family_is_run() {
            let run = [$(stringify!($name)),*];
            assert!(families::ALL.iter().map(|family| family.name).eq(run), "each has its test, in order");
        }
    };
}

families! {
    pings,
    statuses,
    pages,
    memberships,
    comings_and_goings,
    halves,
    fragments,
    large_publishes,
    keys,
    crowded_upgrades,
    slow_heads,
    half_handshakes,
}
