//! A chat against a small server: everything arrives once, reads are answered correctly, and faults are found.

use super::*;
use crate::measure::counters::Counters;
use crate::plan::Scenario;
use crate::scenario::tests::fake::{Fault, serve};
use crate::scenario::tests::{lead, plan_of};

/// Six clients in four rooms publish, read, change rooms and lose connections.
fn chat_against(fault: Fault, done: &dyn Fn(&Counters) -> bool) -> (Counters, Findings) {
    let load = MixedLoad {
        rooms: 4,
        zipf: 1.1,
        memberships: 2.0,
        publishes_per_second: 1_000.0,
        burst: 4.0,
        reads_per_second: 200.0,
        moves_per_second: 4.0,
    };
    let plan = plan_of(Scenario::Mixed(load), Dialect::Binary, serve(fault));
    let drain = if fault == Fault::None { 20 * SECOND } else { SECOND / 4 };
    lead(plan, |plan| MixedActor::new(plan, load), done, drain)
}

#[test]
fn a_correct_chat_passes() {
    let enough = |counters: &Counters| counters.recovered >= 5 && counters.reads >= 100 && counters.published >= 1_000;
    let (counters, findings) = chat_against(Fault::None, &enough);
    let received = counters.duplicated + counters.out_of_order + counters.misrouted + counters.wrong;
    let broken = counters.disconnected + counters.errors + counters.not_recovered;
    assert_eq!(
        (received, broken, counters.lost(), counters.outstanding),
        (0, 0, 0, 0),
        "{counters:?} {:?}",
        findings.complaints
    );
    assert_eq!(counters.delivered, counters.expected);
    assert!(counters.delivered > counters.published, "rooms have several members: {counters:?}");
    for name in ["latency", "last_receiver", "history", "presence", "recovery", "lag"] {
        assert!(findings.histograms.contains_key(name), "{name} was recorded");
    }
}

#[test]
fn faults_are_found_in_a_chat() {
    let enough = |counters: &Counters| counters.published >= 400;
    let of = |fault| chat_against(fault, &enough).0;
    let lost = of(Fault::Lose);
    assert!(lost.lost() > 0 && lost.duplicated == 0, "{lost:?}");
    let duplicated = of(Fault::Duplicate);
    assert!(duplicated.duplicated > 0 && duplicated.lost() == 0, "{duplicated:?}");
    let swapped = of(Fault::Swap);
    assert!(swapped.out_of_order > 0, "{swapped:?}");
    let misrouted = of(Fault::Misroute);
    assert!(misrouted.misrouted > 0, "{misrouted:?}");
}

#[test]
fn every_client_has_rooms_and_the_sum_is_right() {
    let load = MixedLoad {
        rooms: 30,
        zipf: 1.1,
        memberships: 2.5,
        publishes_per_second: 1.0,
        burst: 1.0,
        reads_per_second: 0.0,
        moves_per_second: 0.0,
    };
    let target = crate::fleet::address::Target::parse("ws://127.0.0.1:9/ws").expect("an address");
    let plan = WorkerPlan { clients: 100, ..plan_of(Scenario::Mixed(load), Dialect::json(), target) };
    let settings = crate::fleet::FleetSettings {
        targets: plan.targets.clone(),
        clients: 100,
        shard: 0,
        sources: 1,
        connecting_max: 1,
        seed: 1,
        edge: crate::fleet::FleetEdge::default(),
    };
    let mut fleet = Fleet::new(settings).expect("epoll");
    let mut mixed = MixedActor::new(plan, load);
    mixed.enter(&mut fleet, RunPhase::Connect, 0);
    let of = |client: &CrowdClient| client.remembered.len();
    assert_eq!(mixed.crowd.clients.iter().map(of).sum::<usize>(), 250);
    assert!(mixed.crowd.clients.iter().all(|client| !client.remembered.is_empty()));
}
