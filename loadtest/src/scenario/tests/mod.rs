//! The generator against a small server with optional faults: it must find each fault, and none without one.

pub mod fake;
pub mod keeper;

use std::sync::Arc;
use std::time::Duration;

use super::echo::EchoActor;
use super::fanout::FanoutActor;
use super::{Actor, Findings};
use crate::clock::SECOND;
use crate::dialect::Dialect;
use crate::edge::Edge;
use crate::fleet::address::Target;
use crate::fleet::tests::secure;
use crate::fleet::{Fleet, FleetEdge, FleetSettings};
use crate::measure::counters::Counters;
use crate::payload::PayloadKind;
use crate::plan::{PublishPace, RunPhase, Scenario, WorkerPlan};
use fake::{Fault, serve};

/// Maximum duration of a phase, in nanoseconds.
pub const LONG: u64 = 20 * SECOND;

/// A plan with six clients in two rooms.
pub fn plan_of(scenario: Scenario, dialect: Dialect, target: Target) -> WorkerPlan {
    WorkerPlan {
        targets: vec![target],
        dialect,
        scenario,
        shard: 0,
        core: None,
        clients: 6,
        room_size: 3,
        payload_bytes: 64,
        payload: PayloadKind::default(),
        edge: Edge::default(),
        secret: None,
        sources: 4,
        connecting_max: 4,
        run: 1,
        seed: 1,
        pid: None,
    }
}

/// Leads a scenario through its phases and measures until `done`. `drain` bounds the wait for messages that a faulty
/// server never sends.
pub fn lead<A: Actor>(
    plan: WorkerPlan,
    make: impl FnOnce(WorkerPlan) -> A,
    done: &dyn Fn(&Counters) -> bool,
    drain: u64,
) -> (Counters, Findings) {
    let clients = plan.clients;
    let mut fleet = fleet_of(&plan);
    let mut actor = make(plan);
    actor.enter(&mut fleet, RunPhase::Connect, 0);
    until(&mut fleet, &mut actor, &|counters| counters.ready == u64::from(clients), LONG);
    assert_eq!(fleet.counters.ready, u64::from(clients), "all join: {:?}", fleet.last_failure);
    let now = fleet.clock.now();
    actor.enter(&mut fleet, RunPhase::Measure, now);
    until(&mut fleet, &mut actor, done, LONG);
    let now = fleet.clock.now();
    actor.enter(&mut fleet, RunPhase::Drain, now);
    until(&mut fleet, &mut actor, &|counters| counters.outstanding == 0, drain);
    let now = fleet.clock.now();
    actor.enter(&mut fleet, RunPhase::Leave, now);
    let findings = actor.finish(&mut fleet);
    (fleet.counters, findings)
}

/// A fleet for a plan, which wakes up often enough to look at its counters.
pub fn fleet_of(plan: &WorkerPlan) -> Fleet {
    let (targets, edge) = (plan.targets.clone(), FleetEdge::of(plan.edge, Vec::new()));
    let clients = plan.clients;
    let settings = FleetSettings { targets, clients, shard: 0, sources: 4, connecting_max: 4, seed: 1, edge };
    let fleet = Fleet::new(settings).expect("epoll");
    let waker = fleet.waker().expect("eventfd");
    std::thread::spawn(move || {
        while Arc::strong_count(&waker) > 0 && waker.wake().is_ok() {
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    fleet
}

/// Runs turns until `done`, at most `limit` nanoseconds.
pub fn until<A: Actor>(fleet: &mut Fleet, actor: &mut A, done: &dyn Fn(&Counters) -> bool, limit: u64) {
    let begun = fleet.clock.now();
    while !done(&fleet.counters) && fleet.clock.now() - begun < limit {
        fleet.turn(actor).expect("epoll");
    }
}

/// Two rooms of three members, with 200 publishes each in an open loop.
fn fanout_against(fault: Fault, stalled_per_mille: u32) -> (Counters, Findings) {
    let pace = PublishPace::Even { per_second: 2_000.0 };
    let plan = plan_of(Scenario::Fanout { pace, stalled_per_mille }, Dialect::Binary, serve(fault));
    let drain = if fault == Fault::None { LONG } else { SECOND / 4 };
    let make = |plan| FanoutActor::new(plan, pace, stalled_per_mille);
    lead(plan, make, &|counters| counters.published >= 400, drain)
}

#[test]
fn a_correct_server_passes() {
    let (counters, findings) = fanout_against(Fault::None, 0);
    assert_eq!(counters.delivered, counters.expected, "{counters:?}");
    assert_eq!(counters.expected, counters.published * 3);
    let faults = counters.lost() + counters.duplicated + counters.out_of_order + counters.misrouted + counters.wrong;
    assert_eq!(faults + counters.disconnected + counters.errors, 0, "{counters:?} {findings:?}");
    for name in ["latency", "last_receiver", "lag"] {
        assert!(findings.histograms.contains_key(name), "{name} was recorded");
    }
}

#[test]
fn a_correct_server_passes_with_json_over_tls() {
    let pace = PublishPace::Even { per_second: 1_000.0 };
    let edge = Edge { tls: true, ..Edge::default() };
    let plan = plan_of(Scenario::Echo { pace }, Dialect::json(), secure::serve());
    let plan = WorkerPlan { edge, payload: PayloadKind::Json, payload_bytes: 300, ..plan };
    let (counters, findings) =
        lead(plan, |plan| EchoActor::new(plan, pace), &|counters| counters.published >= 200, LONG);
    assert_eq!(counters.delivered, counters.expected, "{counters:?} {findings:?}");
    assert_eq!((counters.lost(), counters.wrong, counters.disconnected), (0, 0, 0), "{counters:?} {findings:?}");
    assert_eq!((counters.tls_full, counters.tls_resumed), (6, 0));
    let pace = PublishPace::Even { per_second: 2_000.0 };
    let plan = plan_of(Scenario::Fanout { pace, stalled_per_mille: 0 }, Dialect::Binary, serve(Fault::None));
    let plan = WorkerPlan { payload: PayloadKind::Json, payload_bytes: 300, ..plan };
    let (counters, findings) =
        lead(plan, |plan| FanoutActor::new(plan, pace, 0), &|counters| counters.published >= 100, LONG);
    assert_eq!((counters.delivered, counters.wrong), (counters.expected, 0), "{counters:?} {findings:?}");
}

#[test]
fn stalled_readers_do_not_count_and_catch_up() {
    let (counters, findings) = fanout_against(Fault::None, 334);
    assert_eq!(
        counters.expected, counters.published,
        "one of three members is healthy: 334 of 1,000 rounds up to two stalled ones"
    );
    assert_eq!((counters.lost(), counters.wrong, counters.holes), (0, 0, 0), "{counters:?} {findings:?}");
}

#[test]
fn every_fault_is_found() {
    let of = |fault| fanout_against(fault, 0).0;
    let lost = of(Fault::Lose);
    assert!(lost.lost() >= lost.published / 20 && lost.duplicated == 0, "{lost:?}");
    let duplicated = of(Fault::Duplicate);
    assert!(duplicated.duplicated >= duplicated.published / 20 && duplicated.lost() == 0, "{duplicated:?}");
    let swapped = of(Fault::Swap);
    assert!(swapped.out_of_order >= swapped.published / 20 && swapped.duplicated == 0, "{swapped:?}");
    let misrouted = of(Fault::Misroute);
    assert!(misrouted.misrouted >= misrouted.published / 20, "{misrouted:?}");
    let renumbered = of(Fault::Renumber);
    assert!(renumbered.wrong >= renumbered.published / 20, "{renumbered:?}");
    let corrupt = of(Fault::Corrupt);
    assert!(corrupt.wrong >= corrupt.published / 20 && corrupt.lost() > 0, "{corrupt:?}");
    let cut = of(Fault::Disconnect);
    // The publication with the fault reaches nobody, so members that are disconnected later miss it without excuse.
    assert!(cut.disconnected > 0 && cut.cut_off > 0 && cut.lost() > 0, "{cut:?}");
}
