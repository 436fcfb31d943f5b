//! Owns the common parts of the command lines in the suite and in `edge`.

use crate::cli::{PlacementArgs, RunArgs};

/// Options that replace `FAST`.
const FAST: &str = "--connections 1000 --room-size 100 --settle 500ms --warmup 1s --duration 4s";

/// Splits a command line into words and expands `FAST`. With `quick`, shortens the run.
pub fn words(line: &str, quick: bool) -> Vec<String> {
    let all = line.replace("FAST", FAST);
    let mut words: Vec<String> = all.split_whitespace().map(str::to_owned).collect();
    if quick {
        shorten(&mut words);
    }
    words
}

/// Shortens a run: less time, and fewer idle connections.
fn shorten(words: &mut [String]) {
    for at in 1..words.len() {
        let shorter = match (words[at - 1].as_str(), words[at].as_str()) {
            ("--duration", _) => "1s",
            ("--every", _) => "500ms",
            ("--warmup" | "--settle", "1s" | "500ms") => "250ms",
            ("--connections", "5000" | "18000") => "2000",
            _ => continue,
        };
        words[at] = shorter.to_owned();
    }
}

/// Applies the options that place a run.
pub fn place(placement: &PlacementArgs, run: &mut RunArgs) {
    run.server_cores = placement.server_cores.clone().or_else(|| default_cpu(0));
    run.cores = placement.cores.clone().or_else(|| default_cpu(1));
    run.server_set.clone_from(&placement.server_set);
    run.dialect = placement.dialect;
    run.seed = placement.seed.or(run.seed);
}

/// The default CPU of the server (0) or the generator (1), if there are two CPUs.
fn default_cpu(place: usize) -> Option<String> {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    cpus.get(place).filter(|_| cpus.len() >= 2).map(|cpu| cpu.id.to_string())
}
