//! Publishes to a small server that is killed: what it keeps passes, and each kind of loss is found.

use super::*;
use crate::dialect::Dialect;
use crate::measure::counters::Counters;
use crate::plan::{PublishPace, Scenario};
use crate::scenario::tests::keeper::{Keeper, KeeperFault, Kept};
use crate::scenario::tests::{LONG, fleet_of, plan_of, until};

/// Six clients in two rooms publish; the server is killed twice under load, and `change` changes what it has kept at the
/// first kill.
fn killed(change: impl Fn(&mut String, &mut Kept)) -> (Counters, Findings) {
    let pace = PublishPace::Poisson { per_second: 2_000.0 };
    let load = DurableLoad { pace, kills: 2, between_ns: 0, history: 1_000_000 };
    let mut keeper = Keeper::start(KeeperFault::None);
    let plan = plan_of(Scenario::Durable(load), Dialect::json(), keeper.target());
    let mut fleet = fleet_of(&plan);
    let mut actor = DurableActor::new(plan, load);
    let enter = |fleet: &mut Fleet, actor: &mut DurableActor, phase| {
        let now = fleet.clock.now();
        actor.enter(fleet, phase, now);
    };
    enter(&mut fleet, &mut actor, RunPhase::Connect);
    until(&mut fleet, &mut actor, &|counters| counters.ready == 6, LONG);
    for kill in 0..2 {
        let enough = fleet.counters.expected + 700;
        enter(&mut fleet, &mut actor, if kill == 0 { RunPhase::Measure } else { RunPhase::Warm });
        until(&mut fleet, &mut actor, &|counters| counters.expected >= enough, LONG);
        enter(&mut fleet, &mut actor, RunPhase::Kill);
        keeper.kill();
        keeper.start_again(|epoch, kept| {
            if kill == 0 {
                change(epoch, kept)
            }
        });
        enter(&mut fleet, &mut actor, RunPhase::Check);
        until(&mut fleet, &mut actor, &|counters| counters.outstanding == 0, LONG);
        assert_eq!(fleet.counters.outstanding, 0, "the check is complete: {:?}", fleet.last_failure);
    }
    enter(&mut fleet, &mut actor, RunPhase::Drain);
    enter(&mut fleet, &mut actor, RunPhase::Check);
    until(&mut fleet, &mut actor, &|counters| counters.outstanding == 0, LONG);
    enter(&mut fleet, &mut actor, RunPhase::Leave);
    let findings = actor.finish(&mut fleet);
    (fleet.counters, findings)
}

/// Counters: lost, duplicated, out of order, wrong.
fn faults(counters: &Counters) -> [u64; 4] {
    [counters.lost(), counters.duplicated, counters.out_of_order, counters.wrong]
}

#[test]
fn a_server_that_keeps_everything_passes() {
    let (counters, findings) = killed(|_, _| {});
    assert_eq!(faults(&counters), [0; 4], "{counters:?} {:?}", findings.complaints);
    assert_eq!((counters.disconnected, counters.errors, counters.unsent), (0, 0, 0), "{counters:?}");
    assert!(counters.expected >= 1_400 && counters.delivered == counters.expected, "{counters:?}");
    assert_eq!(counters.published, counters.expected + counters.unanswered, "{counters:?}");
    // Twice what is new, then everything: what was kept without an answer is in both.
    assert_eq!(counters.read_back, 2 * (counters.expected + counters.unanswered_kept), "{counters:?}");
    for name in ["latency", "lag", "cold_join", "warm_join", "history"] {
        assert!(findings.histograms.contains_key(name), "{name} was recorded");
    }
}

#[test]
fn what_a_server_loses_at_a_kill_is_found() {
    let (counters, findings) = killed(|_, kept| drop(kept.remove(100)));
    assert!(counters.lost() > 0, "{counters:?}");
    assert!(!findings.complaints.is_empty());
    let last = |kept: &mut Kept| kept.truncate(kept.len() / 2);
    let (counters, _) = killed(|_, kept| last(kept));
    // The server gives their seqs to later publishes, which is wrong as well.
    assert!(counters.lost() >= 300, "half of two rooms: {counters:?}");
}

#[test]
fn what_a_server_changes_at_a_kill_is_found() {
    let (counters, _) = killed(|_, kept| kept.insert(100, kept[100].clone()));
    assert!(counters.duplicated + counters.out_of_order > 0, "a copy: {counters:?}");
    let (counters, _) = killed(|_, kept| kept.swap(100, 101));
    assert!(counters.out_of_order > 0, "another order: {counters:?}");
    let (counters, findings) = killed(|_, kept| kept[100].1 = kept[100].1.replace("...", "..,"));
    assert!(counters.wrong > 0, "other data: {counters:?}");
    assert!(findings.complaints.iter().any(|what| what.contains("is not what was published")), "{findings:?}");
    let (counters, findings) = killed(|epoch, _| *epoch = "00000000000000ff".to_owned());
    assert!(counters.wrong > 0, "another epoch: {counters:?}");
    assert!(findings.complaints.iter().any(|what| what.contains("epoch 00000000000000ff after")), "{findings:?}");
}
