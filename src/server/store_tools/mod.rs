//! `roomring store`: what operators do with the data directory of a server that does not run. Opens no socket and asks no
//! server; the work is done in [`crate::store`].

mod report;
#[cfg(test)]
mod tests;

use std::path::Path;

use super::config::choices::StoreKind;
use super::config::lower::Plan;
use super::store_rules::rules;
use crate::store::check::{CheckError, check};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreCommand {
    /// Check the log and the index.
    Check {
        /// Write the report as JSON.
        json: bool,
    },
}

/// What a command has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// Done, with a text for standard output.
    Done(String),
    /// The store is damaged; the report is for standard output.
    Damaged(String),
    /// Nothing was done, for a reason outside of the store: one sentence for standard error.
    Refused(String),
}

/// Carries a command out.
pub fn run(command: &StoreCommand, plan: &Plan) -> StoreOutcome {
    if plan.store.kind != StoreKind::Embedded {
        let sentence = "store.kind is not embedded, so this configuration has no data directory; name the server's configuration with --config";
        return StoreOutcome::Refused(sentence.to_owned());
    }
    match command {
        StoreCommand::Check { json } => run_check(&plan.store.path, *json, plan),
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
