//! The operator's tools for the embedded store (OPERATIONS, "Command line"): against a server that runs, and against its
//! directory once it was stopped, killed or damaged.

mod check;
mod dead_letters;
mod transfer;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::command_line::run;
use crate::durable::DataDirectory;
use crate::server::{Finished, finish, program, scratch};

/// Runs `roomring store` on a directory.
fn store(data: &DataDirectory, arguments: &[&str]) -> Finished {
    store_at(data.path(), arguments)
}

fn store_at(path: &Path, arguments: &[&str]) -> Finished {
    let path = format!("store.path={}", path.display());
    run(&[&["store"], arguments, &["--set", "store.kind=embedded", "--set", &path]].concat())
}

/// The same with a text on standard input.
fn store_with_input(data: &DataDirectory, arguments: &[&str], input: &str) -> Finished {
    let name = data.path().file_name().expect("a name").to_string_lossy().into_owned();
    let file = scratch("input").join(name);
    fs::write(&file, input).expect("writable");
    let mut command = program();
    command.arg("store").args(arguments).args(["--set", "store.kind=embedded", "--set"]);
    command.arg(format!("store.path={}", data.path().display()));
    command.stdin(Stdio::from(fs::File::open(&file).expect("it was written")));
    finish(command)
}
