//! `roomring doctor`: checks whether this host can run the server, what makes it slower or smaller than it could be, and
//! how to fix that. Looks at files of the host, at one trial of a ring and at one of writes to the
//! data directory; changes nothing.

mod addresses;
mod cards;
mod finding;
mod host;
mod kernel;
mod limits;
mod memory;
mod network;
mod processor;
mod report;
mod store;
mod store_trial;
mod subject;
mod texts;
mod wanted;

#[cfg(test)]
mod tests;

use self::finding::Finding;
use self::host::HostFiles;
use self::report::CheckCounts;
use self::store_trial::StoreTrial;
use self::subject::Subject;
use super::config::Config;
use super::config::choices::StoreKind;
use super::config::lower::Plan;
use super::config::machine::HostMachine;
use crate::io::ring_probe;

/// The result of all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The report, for standard output.
    pub report: String,
    /// Whether the server could serve on this host.
    pub can_serve: bool,
}

/// Examines this host for a configuration. The report is JSON or, for people, text.
#[must_use]
pub fn run(config: &Config, plan: &Plan, machine: &HostMachine, json: bool) -> Diagnosis {
    // As the server does at its start.
    super::open_files::raise_limit();
    let host = HostFiles::here();
    let ring = ring_probe::run(plan.settings.max_connections_per_core);
    let store = (plan.store.kind == StoreKind::Embedded).then(|| StoreTrial::run(&plan.store.path));
    let subject = Subject { store, ..Subject::new(&host, config, plan, machine, ring) };
    let findings = examine(&host, &subject);
    let render = if json { report::json } else { report::text };
    Diagnosis { report: render(&findings, &subject.summary()), can_serve: CheckCounts::of(&findings).fail == 0 }
}

fn examine(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    type Checks = fn(&HostFiles, &Subject) -> Vec<Finding>;
    let topics: [Checks; 8] = [
        kernel::checks,
        limits::checks,
        addresses::checks,
        network::checks,
        memory::checks,
        processor::checks,
        cards::checks,
        store::checks,
    ];
    let mut findings: Vec<Finding> = topics.iter().flat_map(|checks| checks(host, subject)).collect();
    report::sort(&mut findings);
    findings
}
