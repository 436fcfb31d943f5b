//! Buckets, windows and the limiter, against plain counting and by their own words.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::time::Now;
use crate::engine::budget::Budget;
use crate::engine::hop::{Hop, ToHome, ToLimiter};
use crate::engine::outbound::Outbound;
use crate::engine::random::Random;
use crate::engine::settings::Settings;

fn rate(count: u64, per_ms: u64) -> Rate {
    Rate::new(count, per_ms).expect("a limit")
}

#[test]
fn a_count_of_nothing_is_no_limit() {
    assert_eq!(Rate::new(0, 1_000), None);
}

#[test]
fn a_bucket_holds_twice_its_rate_and_fills_at_it() {
    let (rate, mut bucket) = (rate(5, 1_000), Bucket::default());
    let take = |bucket: &mut Bucket, at_ms: u64| bucket.try_take(rate, at_ms * 1_000);
    assert_eq!((0..10).map(|_| take(&mut bucket, 7)).collect::<Result<Vec<()>, u64>>().map(|all| all.len()), Ok(10));
    assert_eq!(take(&mut bucket, 7), Err(200));
    assert_eq!(take(&mut bucket, 100), Err(107));
    assert_eq!(take(&mut bucket, 207), Ok(()));
    assert_eq!(take(&mut bucket, 207), Err(200));
    assert!(!bucket.is_full(2_206_999) && bucket.is_full(2_207_000));
}

#[test]
fn a_bucket_never_gives_more_than_its_rate_over_any_time() {
    let (rate, mut random, mut bucket) = (rate(7, 300), Random::new(3), Bucket::default());
    let (mut now_us, mut taken_us) = (0, Vec::new());
    for _ in 0..20_000 {
        now_us += random.below(60_000);
        match bucket.try_take(rate, now_us) {
            Ok(()) => taken_us.push(now_us),
            Err(retry_after_ms) => {
                let mut later = bucket;
                assert!(later.try_take(rate, now_us + retry_after_ms * 1_000).is_ok(), "as told, there is one by then");
                let mut sooner = bucket;
                assert!(sooner.try_take(rate, now_us + (retry_after_ms - 1) * 1_000).is_err(), "and none before");
            }
        }
    }
    for (first, at_us) in taken_us.iter().enumerate() {
        let within = taken_us[first..].iter().take_while(|taken| **taken < at_us + 3_000_000).count();
        assert!(within <= 14 + 70 + 1, "{within} within ten periods");
    }
    assert!(taken_us.len() as u64 >= now_us / 300_000 * 7, "one who always asks gets the whole rate");
}

#[test]
fn a_window_is_exact() {
    let (rate, mut random, mut window) = (rate(5, 1_000), Random::new(9), SlidingWindow::default());
    let (mut now_us, mut model) = (0, VecDeque::new());
    for _ in 0..20_000 {
        now_us += random.below(400_000);
        model.retain(|event_us| event_us + 1_000_000 > now_us);
        match window.try_take(rate, now_us) {
            Ok(()) => {
                model.push_back(now_us);
                assert!(model.len() <= 5);
            }
            Err(retry_after_ms) => {
                assert_eq!(model.len(), 5);
                assert_eq!(retry_after_ms, (model[0] + 1_000_000 - now_us).div_ceil(1_000));
            }
        }
    }
    assert!(!window.forget(rate, now_us) || model.is_empty());
    assert!(window.forget(rate, now_us + 1_000_000));
}

#[test]
fn a_window_under_a_lower_rate_waits_until_it_holds() {
    let mut window = SlidingWindow::default();
    for at_us in 0..10 {
        assert_eq!(window.try_take(rate(10, 1_000), at_us * 1_000), Ok(()));
    }
    assert_eq!(window.try_take(rate(2, 1_000), 10_000), Err(998), "until all but one of the ten have left");
}

/// One limiter that is the only core, and what it says.
struct One {
    limiter: Limiter,
    outbound: Outbound,
    budget: Budget,
    now: Now,
}

impl One {
    fn new(limits: Limits) -> One {
        let settings = Arc::new(Settings { cores: 1, limits, ..Settings::for_tests() });
        One {
            limiter: Limiter::new(settings, CoreId(0), 1),
            outbound: Outbound::new(CoreId(0), 1),
            budget: Budget::new(u64::MAX),
            now: Now { mono_us: 5_000_000, unix_ms: 1_700_000_000_000 },
        }
    }

    /// Hands over a hop, and those that follow from it; gives what the home is told.
    fn handle(&mut self, hop: ToLimiter) -> Vec<ToHome> {
        let Self { limiter, outbound, budget, now } = self;
        let mut effects = LimiterEffects { now: *now, outbound, budget };
        limiter.handle_hop(hop, &mut effects);
        let mut told = Vec::new();
        while let Some(hop) = self.outbound.take_own() {
            match hop {
                Hop::ToHome(hop) => told.push(hop),
                Hop::ToLimiter(hop) => told.extend(self.handle(hop)),
                Hop::ToOwner(_) => panic!("a limiter says nothing to owners"),
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

    fn register(&mut self, user: &str) -> bool {
        let user = UserName::new(user).expect("a name");
        match &self.handle(ToLimiter::Register { conn: CONN, user })[..] {
            [ToHome::UserAdmitted { conn: CONN, .. }] => true,
            [ToHome::ConnectRefused { conn: CONN, refusal: ConnectRefusal::UserConnections }] => false,
            other => panic!("one answer: {other:?}"),
        }
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
    let mut one = One::new(Limits { connections_per_address_max: 2, ..Limits::default() });
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
    let mut one = One::new(Limits { connections_per_address_max: 1, ..Limits::default() });
    assert!(one.connect("2001:db8::1").is_ok());
    assert_eq!(one.connect("2001:db8::ffff:2"), Err(ConnectRefusal::AddressConnections));
    assert!(one.connect("2001:db8:0:1::1").is_ok());
}

#[test]
fn the_rate_of_the_server_gives_back_what_the_address_was_counted_for() {
    let connect_rate = Rate::new(1, 1_000);
    let mut one = One::new(Limits { connections_per_address_max: 3, connect_rate, ..Limits::default() });
    assert!(one.connect("192.0.2.1").is_ok() && one.connect("192.0.2.1").is_ok(), "twice the rate at once");
    assert_eq!(one.connect("192.0.2.1"), Err(ConnectRefusal::ServerRate { retry_after_ms: 1_000 }));
    one.pass(1_000);
    assert!(one.connect("192.0.2.1").is_ok(), "two of three are taken, not three");
}

#[test]
fn addresses_are_forgotten_when_there_is_nothing_to_remember() {
    let connect_rate_per_address = Rate::new(1, 1_000);
    let mut one = One::new(Limits { connect_rate_per_address, ..Limits::default() });
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

#[test]
fn connections_of_a_user_are_counted_until_they_end() {
    let mut one = One::new(Limits { connections_per_user_max: 2, ..Limits::default() });
    assert!(one.register("ann") && one.register("ann") && !one.register("ann") && one.register("bob"));
    let user = UserName::new("ann").expect("a name");
    assert!(one.handle(ToLimiter::ForgetUser { user: user.clone() }).is_empty());
    assert!(one.register("ann"));
    for _ in 0..2 {
        one.handle(ToLimiter::ForgetUser { user: user.clone() });
    }
    one.handle(ToLimiter::ForgetUser { user: UserName::new("bob").expect("a name") });
    assert_eq!((one.limiter.entries(), one.budget.used()), (0, 0));
}

#[test]
fn a_users_publishes_are_forgotten_with_the_window() {
    let user_message_rate = Rate::new(3, 1_000);
    let mut one = One::new(Limits { user_message_rate, ..Limits::default() });
    let user = UserName::new("ann").expect("a name");
    let publish = |one: &mut One| one.limiter.try_publish(&user, one.now, &mut one.budget);
    assert_eq!([publish(&mut one), publish(&mut one), publish(&mut one)], [Ok(()); 3]);
    assert_eq!(publish(&mut one), Err(1_000));
    assert!(one.budget.used() > 0);
    one.pass(999);
    assert_eq!(publish(&mut one), Err(1));
    one.pass(1);
    assert_eq!(publish(&mut one), Ok(()));
    one.pass(1_000);
    one.pass(1_000);
    assert_eq!((one.limiter.entries(), one.budget.used(), one.limiter.next_tick_us()), (0, 0, None));
}
