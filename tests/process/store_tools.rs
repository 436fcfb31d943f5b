//! The operator's tools for the embedded store (OPERATIONS, "Command line"): against a server that runs, and against its
//! directory once it was stopped, killed or damaged.

mod check;

use std::path::Path;

use crate::command_line::run;
use crate::durable::DataDirectory;
use crate::server::Finished;

/// Runs `roomring store` on a directory.
fn store(data: &DataDirectory, arguments: &[&str]) -> Finished {
    store_at(data.path(), arguments)
}

fn store_at(path: &Path, arguments: &[&str]) -> Finished {
    let path = format!("store.path={}", path.display());
    run(&[&["store"], arguments, &["--set", "store.kind=embedded", "--set", &path]].concat())
}
