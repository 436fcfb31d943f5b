//! Owns the parts of the suite: command lines, figures and targets.

use crate::report::figures::floor_ns;
use crate::report::goal::{CHAT, DURABLE, Goal, GoalTarget};
use crate::report::unit::Unit;
use crate::results::comparison::SlowRound;
use crate::results::outcome::{Outcome, ServerFigures};

/// One part of the suite.
pub struct SuitePart {
    /// Its name.
    pub name: &'static str,
    /// The command line, without server and CPUs.
    pub arguments: &'static str,
    /// The reason why only Roomring can run it, if there is one.
    pub roomring_only: Option<&'static str>,
    /// Whether it needs a store, which older versions of Roomring lack.
    pub needs_store: bool,
    /// Its figures.
    pub goals: &'static [Goal],
}

/// The parts, in order, with `FAST` for common options. The targets are design goals.
pub const PARTS: [SuitePart; 12] = [
    SuitePart {
        name: "idle",
        arguments: "idle --connections 18000 --room-size 100 --settle 1s --warmup 0s --duration 3s",
        roomring_only: None,
        needs_store: false,
        goals: &[
            Goal {
                figure: "private memory per connection",
                unit: Unit::Bytes,
                target: GoalTarget::AtMost(300.0),
                read: |all| figures(all.run).map(|server| server.private_per_connection[0]),
            },
            Goal {
                figure: "kernel slab per connection",
                unit: Unit::Bytes,
                target: GoalTarget::None,
                read: |all| figures(all.run).map(|server| server.slab_per_connection),
            },
        ],
    },
    SuitePart {
        name: "fanout, 1 in flight",
        arguments: "fanout FAST --in-flight 1",
        roomring_only: None,
        needs_store: false,
        goals: &[
            PER_CPU_SECOND,
            Goal {
                figure: "allocations per delivery",
                unit: Unit::Plain(""),
                target: GoalTarget::AtMost(0.0),
                read: |all| all.run.per_unit.get("allocations").copied(),
            },
        ],
    },
    // Follows the run whose deliveries it repeats, with the same bytes each.
    SuitePart {
        name: "floor",
        arguments: "floor FAST --in-flight 1",
        roomring_only: None,
        needs_store: false,
        goals: &[
            Goal {
                figure: "CPU of a bare send",
                unit: Unit::Plain("ns"),
                target: GoalTarget::None,
                read: |all| floor_ns(all.run),
            },
            Goal {
                figure: "floor ratio of the part above",
                unit: Unit::Plain(""),
                target: GoalTarget::AtMost(1.0),
                read: |all| Some(figures(all.before?)?.cpu_ns / floor_ns(all.run)?),
            },
        ],
    },
    SuitePart {
        name: "fanout, 16 in flight",
        arguments: "fanout FAST --in-flight 16",
        roomring_only: None,
        needs_store: false,
        goals: &[Goal { target: GoalTarget::AtLeast(2_500_000.0), ..PER_CPU_SECOND }],
    },
    SuitePart {
        name: "open loop, 24,000/s",
        arguments: "fanout FAST --rate 240",
        roomring_only: None,
        needs_store: false,
        goals: &[
            Goal {
                figure: "latency p50",
                unit: Unit::Micros,
                target: GoalTarget::AtMost(400.0),
                read: |all| all.run.durations.get("latency").map(|latency| latency.p50),
            },
            Goal {
                figure: "latency p99",
                unit: Unit::Micros,
                target: GoalTarget::AtMost(700.0),
                read: |all| all.run.durations.get("latency").map(|latency| latency.p99),
            },
            Goal {
                figure: "latency p99.9",
                unit: Unit::Micros,
                target: GoalTarget::AtMost(900.0),
                read: |all| all.run.durations.get("latency").map(|latency| latency.p999),
            },
        ],
    },
    SuitePart {
        name: "echo",
        arguments: "echo FAST",
        roomring_only: None,
        needs_store: false,
        goals: &[Goal { target: GoalTarget::AtLeast(150_000.0), ..PER_CPU_SECOND }],
    },
    SuitePart {
        name: "churn",
        arguments: "churn --connections 100 --warmup 1s --duration 4s --settle 0s",
        roomring_only: None,
        needs_store: false,
        goals: &[Goal { target: GoalTarget::AtLeast(30_000.0), ..PER_CPU_SECOND }],
    },
    SuitePart {
        name: "storm",
        arguments: "storm FAST --every 2s --rate 100",
        roomring_only: Some("it has no recovery by position"),
        needs_store: false,
        goals: &[
            Goal {
                figure: "until all are back, p50",
                unit: Unit::Micros,
                target: GoalTarget::None,
                read: |all| all.run.durations.get("whole").map(|whole| whole.p50),
            },
            Goal {
                figure: "server CPU per reconnect",
                unit: Unit::Micros,
                target: GoalTarget::None,
                read: |all| all.run.storm?.server_us_per_reconnect,
            },
        ],
    },
    SuitePart {
        name: "mixed",
        arguments: "mixed --connections 1000 --rate 500 --settle 500ms --warmup 1s --duration 4s",
        roomring_only: Some("it has neither presence nor history"),
        needs_store: false,
        goals: &[
            PER_CPU_SECOND,
            Goal {
                figure: "latency p99",
                unit: Unit::Micros,
                target: GoalTarget::None,
                read: |all| all.run.durations.get("latency").map(|latency| latency.p99),
            },
        ],
    },
    SuitePart {
        name: "durable",
        arguments: "durable --connections 1000 --rate 50000 --settle 500ms --warmup 1s --duration 8s",
        roomring_only: Some("it keeps no messages"),
        needs_store: true,
        goals: &DURABLE,
    },
    SuitePart {
        name: "chat",
        arguments: "chat --connections 5000 --absence-every 2m --gone 5s --settle 500ms --warmup 4s --duration 10s",
        roomring_only: Some("it has no rooms with roles"),
        needs_store: true,
        goals: &CHAT,
    },
    SuitePart {
        name: "slow, 1 % stalled",
        arguments: "slow FAST --rate 240 --stalled 1",
        roomring_only: None,
        needs_store: false,
        goals: &[Goal {
            figure: "p99.9 with ÷ without",
            unit: Unit::Plain(""),
            target: GoalTarget::AtMost(1.1),
            read: |all| all.slow?.median().map(SlowRound::ratio),
        }],
    },
];

/// Units of work per CPU-second of the server. The name of the unit goes in front.
const PER_CPU_SECOND: Goal = Goal {
    figure: "per CPU-second",
    unit: Unit::Plain(""),
    target: GoalTarget::None,
    read: |all| figures(all.run).filter(|_| all.run.work().0 > 0).map(|server| server.per_cpu_second),
};

fn figures(run: &Outcome) -> Option<&ServerFigures> {
    run.server.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::goal::Evidence;
    use crate::report::samples;
    use crate::server::floor::FloorCounters;

    #[test]
    fn a_figure_is_held_against_its_target() {
        let run = samples::fanout("roomring", 1.0);
        let goals = |name: &str| PARTS.iter().find(|part| part.name.starts_with(name)).expect("listed").goals;
        let evidence = Evidence { run: &run, slow: None, before: None };
        let results: Vec<_> = goals("open").iter().filter_map(|goal| goal.result(&evidence)).collect();
        assert_eq!(results.len(), 3);
        assert_eq!(results[0].met, Some(true), "{results:?}");
        assert_eq!(results[0].target.as_deref(), Some("≤ 400 µs"));
        let closed: Vec<_> = goals("fanout, 1 ").iter().filter_map(|goal| goal.result(&evidence)).collect();
        assert_eq!(closed.len(), 1, "allocations are not told: {closed:?}");
        assert_eq!(closed[0].figure, "deliveries per CPU-second");
        let mut bare = run.clone();
        bare.floor = Some(FloorCounters { sends: 100, frames: 100, send_cpu_ns: 100_000, ..FloorCounters::default() });
        let ratio = &goals("floor")[1];
        assert!(ratio.result(&Evidence { run: &bare, slow: None, before: None }).is_none(), "nothing to compare with");
        let against = |before| ratio.result(&Evidence { run: &bare, slow: None, before: Some(before) });
        assert_eq!(against(&run).expect("known").met, Some(false), "5.8 us each against 1 us");
    }
}
