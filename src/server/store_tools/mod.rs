//! `roomring store`: what operators do with the data directory of a server that does not run. Opens no socket and asks no
//! server; the work is done in [`crate::store`].

mod command;
mod report;
#[cfg(test)]
mod tests;
mod transfer;

use std::path::Path;

pub use self::command::{StoreCommand, StoreOutcome};
use super::config::choices::StoreKind;
use super::config::lower::Plan;
use super::store_rules::rules;
use crate::store::check::{CheckError, check};

/// Carries a command out.
pub fn run(command: &StoreCommand, plan: &Plan) -> StoreOutcome {
    if plan.store.kind != StoreKind::Embedded {
        let sentence = "store.kind is not embedded, so this configuration has no data directory; name the server's configuration with --config";
        return StoreOutcome::Refused(sentence.to_owned());
    }
    match command {
        StoreCommand::Check { json } => run_check(&plan.store.path, *json, plan),
        StoreCommand::Export { rooms, file } => transfer::run_export(plan, rooms, file.as_deref()),
        StoreCommand::Import { new_epochs, file } => transfer::run_import(plan, *new_epochs, file.as_deref()),
    }
}

fn run_check(path: &Path, json: bool, plan: &Plan) -> StoreOutcome {
    let report = match check(path, &rules(plan)) {
        Ok(report) => report,
        Err(error @ CheckError::Lock(_)) => return StoreOutcome::Refused(format!("{error}; stop it first")),
        Err(error) => return StoreOutcome::Refused(format!("store.path: {error}")),
    };
    let text = if json {
        serde_json::to_string(&report).expect("a report has texts for keys and finite numbers only")
    } else {
        report::render(&report)
    };
    if report.sound { StoreOutcome::Done(text) } else { StoreOutcome::Damaged(text) }
}
