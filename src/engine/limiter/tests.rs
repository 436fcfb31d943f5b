//! Tests of a limiter alone, by its hops.

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::engine::hop::Hop;
use crate::engine::rates::Rate;

/// The limiter of a machine with one core, and its hops.
struct LoneLimiter {
    limiter: Limiter,
    outbound: Outbound,
    budget: Budget,
    now: Now,
}

impl LoneLimiter {
    fn new(limits: Limits) -> LoneLimiter {
        let settings = Arc::new(Settings { cores: 1, limits, ..Settings::for_tests() });
        LoneLimiter {
            limiter: Limiter::new(settings, CoreId(0), &Secrets::from(1)),
            outbound: Outbound::new(CoreId(0), 1),
            budget: Budget::new(u64::MAX),
            now: Now { mono_us: 5_000_000, unix_ms: 1_700_000_000_000 },
        }
    }

    /// Sends a hop and those that follow from it. Returns the hops to the home.
    fn handle(&mut self, hop: ToLimiter) -> Vec<ToHome> {
        let Self { limiter, outbound, budget, now } = self;
        let mut effects = LimiterEffects { now: *now, outbound, budget };
        limiter.handle_hop(hop, &mut effects);
        let mut told = Vec::new();
        while let Some(hop) = self.outbound.take_own() {
            match hop {
                Hop::ToHome(hop) => told.push(hop),
                Hop::ToLimiter(hop) => told.extend(self.handle(hop)),
                Hop::ToOwner(_) | Hop::ToUser(_) => panic!("a limiter says nothing to owners and users"),
            }
        }
        told
    }

    fn connect(&mut self, address: &str) -> Result<Option<IpAddr>, ConnectRefusal> {
        let address = address.parse().expect("an address");
        match &self.handle(ToLimiter::Connect { conn: CONN, address })[..] {
            [ToHome::ConnectAdmitted { conn: CONN, counted }] => Ok(*counted),
            [ToHome::ConnectRefused { conn: CONN, refusal }] => Err(*refusal),
            other => panic!("one answer: {other:?}"),
        }
    }

    /// Changes the limits.
    fn change(&mut self, limits: Limits) {
        let settings = Arc::new(Settings { cores: 1, limits, ..Settings::for_tests() });
        self.limiter.set_settings(self.now, settings);
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_us += ms * 1_000;
        let Self { limiter, outbound, budget, now } = self;
        limiter.tick(&mut LimiterEffects { now: *now, outbound, budget });
    }
}

const CONN: ConnId = ConnId { home: CoreId(0), slot: 7, generation: 3 };

#[test]
fn connections_of_an_address_are_counted_until_they_end() {
    let mut one = LoneLimiter::new(Limits { connections_per_ip: 2, ..Limits::default() });
    let first = "192.0.2.1".parse().expect("an address");
    assert_eq!(one.connect("192.0.2.1"), Ok(Some(first)));
    assert_eq!(one.connect("::ffff:192.0.2.1").map(|counted| counted.is_some()), Ok(true), "the same address, mapped");
    assert_eq!(one.connect("192.0.2.1"), Err(ConnectRefusal::AddressConnections));
    assert!(one.connect("192.0.2.2").is_ok(), "another address");
    assert!(one.handle(ToLimiter::ForgetAddress { address: first }).is_empty());
    assert!(one.connect("192.0.2.1").is_ok());
}

#[test]
fn a_network_of_64_bits_is_one_address() {
    let mut one = LoneLimiter::new(Limits { connections_per_ip: 1, ..Limits::default() });
    assert!(one.connect("2001:db8::1").is_ok());
    assert_eq!(one.connect("2001:db8::ffff:2"), Err(ConnectRefusal::AddressConnections));
    assert!(one.connect("2001:db8:0:1::1").is_ok());
}

#[test]
fn the_rate_of_the_server_gives_back_what_the_address_was_counted_for() {
    let connect_rate = Rate::new(1, 1_000);
    let mut one = LoneLimiter::new(Limits { connections_per_ip: 3, connect_rate, ..Limits::default() });
    assert!(one.connect("192.0.2.1").is_ok() && one.connect("192.0.2.1").is_ok(), "twice the rate at once");
    assert_eq!(one.connect("192.0.2.1"), Err(ConnectRefusal::ServerRate { retry_after_ms: 1_000 }));
    one.pass(1_000);
    assert!(one.connect("192.0.2.1").is_ok(), "two of three are taken, not three");
}

#[test]
fn addresses_are_forgotten_when_there_is_nothing_to_remember() {
    let connect_rate_per_ip = Rate::new(1, 1_000);
    let mut one = LoneLimiter::new(Limits { connect_rate_per_ip, ..Limits::default() });
    for host in 0..200 {
        assert_eq!(one.connect(&format!("192.0.2.{host}")), Ok(None), "a rate alone counts no connection");
    }
    assert!(one.connect("192.0.2.1").is_ok());
    assert!(matches!(one.connect("192.0.2.1"), Err(ConnectRefusal::AddressRate { retry_after_ms: 1_000 })));
    assert_eq!(one.limiter.entries(), 200);
    one.pass(1_500);
    assert_eq!(one.limiter.entries(), 200, "not before every bucket is full");
    one.pass(500);
    one.pass(2_000);
    assert_eq!((one.limiter.entries(), one.budget.used()), (0, 0));
    assert_eq!(one.limiter.next_tick_us(), None);
}

const HOUR: u64 = 3_600_000;

#[test]
fn upgrades_go_by_another_rate_at_once() {
    let rates = |server, address| Limits {
        connect_rate: server,
        connect_rate_per_ip: address,
        connections_per_ip: 9_999,
        ..Limits::default()
    };
    let mut one = LoneLimiter::new(rates(Rate::new(2, HOUR), None));
    let admitted =
        |one: &mut LoneLimiter, tries: usize| (0..tries).filter(|_| one.connect("192.0.2.1").is_ok()).count();
    assert_eq!(admitted(&mut one, 9), 4);
    one.change(rates(Rate::new(1_000, 1_000), None));
    assert_eq!(admitted(&mut one, 100), 100, "loosened for the whole server");
    one.change(rates(Rate::new(2, HOUR), None));
    let refused = one.connect("192.0.2.1");
    assert_eq!(refused, Err(ConnectRefusal::ServerRate { retry_after_ms: HOUR / 2 }), "tightened");
    one.change(rates(None, Rate::new(1, HOUR)));
    assert_eq!(admitted(&mut one, 9), 2, "turned on for each address");
    one.change(rates(None, Rate::new(10, 1_000)));
    assert_eq!(admitted(&mut one, 99), 18, "loosened for each address, less what it has used");
    one.change(rates(None, Rate::new(1, HOUR)));
    assert_eq!(one.connect("192.0.2.1"), Err(ConnectRefusal::AddressRate { retry_after_ms: HOUR }), "tightened");
    one.change(rates(None, None));
    assert_eq!(admitted(&mut one, 99), 99, "turned off");
}

#[test]
fn what_was_to_be_remembered_for_long_is_forgotten_under_shorter_rates() {
    let limits = |per_ms| Limits { connect_rate_per_ip: Rate::new(3, per_ms), ..Limits::default() };
    for (after, rest_ms) in [(limits(1_000), 2_000), (Limits::default(), 0)] {
        let mut one = LoneLimiter::new(limits(HOUR));
        for host in 0..50 {
            assert!(one.connect(&format!("192.0.2.{host}")).is_ok());
        }
        one.change(after);
        assert!(one.connect("198.51.100.1").is_ok(), "one that comes after the change waits for none of them");
        one.pass(rest_ms);
        assert_eq!((one.limiter.entries(), one.budget.used(), one.limiter.next_tick_us()), (0, 0, None));
    }
}

#[test]
fn connections_that_were_let_in_before_are_counted_when_a_limit_is_turned_on() {
    let mut one = LoneLimiter::new(Limits::default());
    let address = "192.0.2.1".parse().expect("an address");
    let told = one.handle(ToLimiter::Count { addresses: vec![(address, 2)] });
    assert!(told.is_empty(), "on cores that still go by other settings");
    one.change(Limits { connections_per_ip: 3, ..Limits::default() });
    assert!(one.connect("192.0.2.1").is_ok());
    assert_eq!(one.connect("192.0.2.1"), Err(ConnectRefusal::AddressConnections));
}
