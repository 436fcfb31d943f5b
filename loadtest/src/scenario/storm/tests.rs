//! Storms against a small server: everything arrives once despite reconnects, and each fault of a recovery is found.

use super::*;
use crate::dialect::Dialect;
use crate::dialect::raw::Templates;
use crate::measure::counters::Counters;
use crate::plan::{PublishPace, Scenario};
use crate::scenario::tests::fake::{Fault, serve};
use crate::scenario::tests::{lead, plan_of};

/// Publishes while the four readers of two rooms reconnect several times.
fn storm_against(fault: Fault, dialect: Dialect) -> (Counters, Findings) {
    let pace = PublishPace::Even { per_second: 2_000.0 };
    let load = StormLoad { pace, share_per_mille: 1_000, every_ns: 20 * MILLISECOND, backoff_ns: 10 * MILLISECOND };
    let plan = plan_of(Scenario::Storm(load), dialect, serve(fault));
    let drain = if fault == Fault::None { 20 * SECOND } else { SECOND / 4 };
    lead(plan, |plan| StormActor::new(plan, load), &|counters| counters.returned >= 12, drain)
}

fn faults(counters: &Counters) -> u64 {
    let received = counters.duplicated + counters.out_of_order + counters.misrouted + counters.wrong;
    received + counters.lost() + counters.disconnected + counters.errors + counters.stranded
}

#[test]
fn everything_arrives_once_despite_reconnects() {
    let (counters, findings) = storm_against(Fault::None, Dialect::Binary);
    assert_eq!(faults(&counters), 0, "{counters:?} {:?}", findings.complaints);
    assert_eq!(counters.expected, counters.published * 3);
    assert_eq!((counters.delivered, counters.outstanding), (counters.expected, 0), "{counters:?}");
    assert_eq!(counters.returned, counters.storms * 4, "all come back");
    assert_eq!((counters.recovered, counters.vanished), (counters.returned, counters.returned));
    assert!(counters.replayed > 0, "some was published while they were away: {counters:?}");
    assert_eq!((counters.missed, counters.not_recovered), (0, 0));
    for name in ["latency", "latency_storm", "back", "join", "whole", "lag"] {
        assert!(findings.histograms.contains_key(name), "{name} was recorded");
    }
}

#[test]
fn without_recovery_missed_publications_are_counted() {
    let template = |text: &str| text.to_owned();
    let templates = Templates {
        target: String::new(),
        join: template("J{room}"),
        publish: template("P{room} {data}"),
        binary: true,
        ..Templates::default()
    };
    let (counters, findings) = storm_against(Fault::None, Dialect::Raw(templates));
    assert_eq!(faults(&counters), 0, "{counters:?} {:?}", findings.complaints);
    assert!(counters.missed > 0, "some was published while they were away: {counters:?}");
    assert_eq!(counters.delivered + counters.missed, counters.expected);
    assert_eq!((counters.recovered, counters.replayed, counters.outstanding), (0, 0, 0));
}

#[test]
fn an_inexact_recovery_is_found() {
    let (forgotten, _) = storm_against(Fault::Forget, Dialect::Binary);
    assert!(forgotten.wrong > 0 && forgotten.lost() > 0, "{forgotten:?}");
    let (repeated, _) = storm_against(Fault::Repeat, Dialect::Binary);
    assert!(repeated.wrong > 0 && repeated.duplicated > 0, "{repeated:?}");
    let (refused, _) = storm_against(Fault::NoRecovery, Dialect::Binary);
    assert!(refused.wrong > 0 && refused.missed > 0 && refused.not_recovered > 0, "{refused:?}");
    assert_eq!(refused.lost(), 0, "reported publications are not lost: {refused:?}");
}
