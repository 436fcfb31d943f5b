//! Owns figures with targets: of a part of the suite, and of one run of `durable` or `chat`. Never measures.

use super::section::Section;
use super::unit::Unit;
use crate::plan::Scenario;
use crate::results::comparison::SlowComparison;
use crate::results::outcome::{Outcome, plural};
use crate::results::suite::GoalResult;

/// A figure of a part, and its target.
pub struct Goal {
    /// Its name. With `per ` at its start, the unit of work goes in front.
    pub figure: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// The target.
    pub target: GoalTarget,
    /// Computes it; `None` if the server does not report it.
    pub read: fn(&Evidence<'_>) -> Option<f64>,
}

/// The target of a figure.
#[derive(Clone, Copy)]
pub enum GoalTarget {
    /// No target.
    None,
    /// A minimum.
    AtLeast(f64),
    /// A maximum.
    AtMost(f64),
}

/// The results that a figure is computed from.
pub struct Evidence<'a> {
    /// The run of the part.
    pub run: &'a Outcome,
    /// All rounds of `slow`.
    pub slow: Option<&'a SlowComparison>,
    /// The run of the previous part.
    pub before: Option<&'a Outcome>,
}

/// A quantile of a histogram, in microseconds.
macro_rules! quantile {
    ($histogram:literal, $quantile:ident) => {
        |all| all.run.durations.get($histogram).map(|durations| durations.$quantile)
    };
}

/// The figures of `durable`, with the targets of the embedded store.
pub const DURABLE: [Goal; 10] = [
    Goal {
        figure: "publish to answer, p50",
        unit: Unit::Micros,
        target: GoalTarget::AtMost(1_000.0),
        read: quantile!("latency", p50),
    },
    Goal {
        figure: "publish to answer, p99",
        unit: Unit::Micros,
        target: GoalTarget::AtMost(20_000.0),
        read: quantile!("latency", p99),
    },
    Goal {
        figure: "publish to answer, p99.9",
        unit: Unit::Micros,
        target: GoalTarget::AtMost(50_000.0),
        read: quantile!("latency", p999),
    },
    Goal {
        figure: "join of a cold room, p50",
        unit: Unit::Micros,
        target: GoalTarget::AtMost(200.0),
        read: quantile!("cold_join", p50),
    },
    Goal {
        figure: "join of a cold room, p99",
        unit: Unit::Micros,
        target: GoalTarget::AtMost(200.0),
        read: quantile!("cold_join", p99),
    },
    Goal {
        figure: "slowest start after a kill",
        unit: Unit::Micros,
        target: GoalTarget::AtMost(2_000_000.0),
        read: |all| all.run.durable.as_ref()?.slowest().map(|kill| kill.ready_s * 1e6),
    },
    Goal {
        figure: "address free before that start",
        unit: Unit::Micros,
        target: GoalTarget::None,
        read: |all| all.run.durable.as_ref()?.slowest().map(|kill| kill.freed_s * 1e6),
    },
    Goal {
        figure: "files at that start",
        unit: Unit::Bytes,
        target: GoalTarget::None,
        read: |all| all.run.durable.as_ref()?.slowest().map(|kill| kill.store_bytes as f64),
    },
    Goal {
        figure: "written to storage per publish",
        unit: Unit::Bytes,
        target: GoalTarget::None,
        read: |all| all.run.durable.as_ref()?.written_per_publish,
    },
    Goal {
        figure: "acknowledged publishes lost",
        unit: Unit::Plain(""),
        target: GoalTarget::AtMost(0.0),
        read: |all| Some(all.run.total.lost() as f64),
    },
];

/// The figures of `chat`.
pub const CHAT: [Goal; 5] = [
    Goal {
        figure: "server CPU, of one CPU",
        unit: Unit::Plain("%"),
        target: GoalTarget::AtMost(8.0),
        read: |all| all.run.server.as_ref().map(|server| server.busy * 100.0),
    },
    Goal { figure: "delivery p50", unit: Unit::Micros, target: GoalTarget::None, read: quantile!("latency", p50) },
    Goal {
        figure: "delivery p99",
        unit: Unit::Micros,
        target: GoalTarget::AtMost(20_000.0),
        read: quantile!("latency", p99),
    },
    Goal {
        figure: "private memory per user",
        unit: Unit::Bytes,
        target: GoalTarget::None,
        read: |all| all.run.server.as_ref().map(|server| server.private_per_connection[0]),
    },
    Goal {
        figure: "messages lost",
        unit: Unit::Plain(""),
        target: GoalTarget::AtMost(0.0),
        read: |all| Some(all.run.total.lost() as f64),
    },
];

/// The figures of a run with their targets, if its scenario has any.
#[must_use]
pub fn targets(run: &Outcome) -> Option<Section> {
    let goals: &[Goal] = match run.options.scenario {
        Scenario::Durable(_) => &DURABLE,
        Scenario::Chat(_) => &CHAT,
        _ => return None,
    };
    let evidence = Evidence { run, slow: None, before: None };
    let mut section = Section::new("Targets");
    for goal in goals.iter().filter_map(|goal| goal.result(&evidence)) {
        let verdict = match goal.met {
            Some(true) => ": met",
            Some(false) => ": missed",
            None => "",
        };
        section.add(goal.figure, goal.shown, goal.target.map_or_else(String::new, |target| target + verdict));
    }
    Some(section)
}

impl GoalTarget {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            GoalTarget::None => None,
            GoalTarget::AtLeast(bound) => Some(value >= bound),
            GoalTarget::AtMost(bound) => Some(value <= bound),
        }
    }

    fn show(self, unit: Unit) -> Option<String> {
        match self {
            GoalTarget::None => None,
            GoalTarget::AtLeast(bound) => Some(format!("≥ {}", unit.show(bound))),
            GoalTarget::AtMost(bound) => Some(format!("≤ {}", unit.show(bound))),
        }
    }
}

impl Goal {
    /// `None` if the server does not report the figure.
    pub fn result(&self, evidence: &Evidence<'_>) -> Option<GoalResult> {
        let value = (self.read)(evidence).filter(|value| value.is_finite())?;
        let per = if self.figure.starts_with("per ") { plural(evidence.run.work().1) + " " } else { String::new() };
        Some(GoalResult {
            figure: per + self.figure,
            value: Some(value),
            shown: self.unit.show(value),
            target: self.target.show(self.unit),
            met: self.target.met(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{DurableLoad, PublishPace};
    use crate::report::samples;
    use crate::results::durable::{DurableFigures, KillFigures};

    #[test]
    fn a_run_is_shown_beside_its_targets() {
        let mut run = samples::fanout("roomring", 1.0);
        assert!(targets(&run).is_none());
        let pace = PublishPace::Poisson { per_second: 1.0 };
        run.options.scenario = Scenario::Durable(DurableLoad { pace, kills: 1, between_ns: 0, history: 9 });
        let mut cold = run.durations["latency"];
        cold.p99 = 900.0;
        run.durations.insert("cold_join".into(), cold);
        let kills = vec![KillFigures { freed_s: 0.01, ready_s: 0.5, store_bytes: 1 << 20 }];
        run.durable = Some(DurableFigures::of(kills, None, 1));
        let section = targets(&run).expect("targets");
        let row = |label: &str| section.rows.iter().find(|row| row.label == label).map(|row| row.note.as_str());
        assert_eq!(row("publish to answer, p50"), Some("≤ 1.00 ms: met"));
        assert_eq!(row("join of a cold room, p99"), Some("≤ 200 µs: missed"));
        assert_eq!(row("slowest start after a kill"), Some("≤ 2.00 s: met"));
        assert_eq!(row("acknowledged publishes lost"), Some("≤ 0: met"));
        assert_eq!(row("written to storage per publish"), None, "not known");
        run.total.expected += 1;
        let section = targets(&run).expect("targets");
        assert!(
            section.rows.iter().any(|row| row.label == "acknowledged publishes lost" && row.note.contains("missed"))
        );
    }
}
