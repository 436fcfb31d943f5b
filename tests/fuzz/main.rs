//! Fuzzes every decoder and the whole engine with hostile bytes. Each target runs over its corpus and a fixed number of
//! seeded mutations. The corpus holds the target's own seeds and the files of `corpus/<target>/`: inputs that once
//! showed a defect, and inputs of high coverage found by libFuzzer.
//!
//! A failure prints the target, the seed of the failed run, and its input. To repeat exactly that run:
//! `FUZZ_SEED=<seed> FUZZ_RUNS=1 cargo test --test fuzz <target>`. `FUZZ_RUNS=n` runs n seeds from `FUZZ_SEED` on.
//! `libfuzzer/` runs the same targets under libFuzzer, guided by coverage.

mod mutate;
#[path = "../support/random.rs"]
mod random;
mod targets;

use std::path::Path;

use mutate::mutated;
use random::Random;
use targets::{TARGETS, Target};

/// Prints the input if the run panics.
struct FailedRun<'a> {
    target: &'a str,
    origin: String,
    input: &'a [u8],
}

impl Drop for FailedRun<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { target, origin, input } = self;
            eprintln!("--- {target} failed on {origin}, {} bytes:\n{}\n---", input.len(), input.escape_ascii());
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number; got {text:?}")))
}

/// The target's seeds and the files of its corpus.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target.name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.expect("it can be listed").path()).collect())
        .unwrap_or_default();
    files.sort();
    let kept = files.into_iter().map(|file| std::fs::read(file).expect("it can be read"));
    (target.seeds)().into_iter().chain(kept).collect()
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("it is in the list");
    let corpus = corpus(target);
    let one = |origin: String, input: &[u8]| {
        let run = FailedRun { target: name, origin, input };
        (target.run)(run.input);
    };
    let first = number("FUZZ_SEED");
    if first.is_none() {
        corpus.iter().enumerate().for_each(|(index, input)| one(format!("its corpus, number {index}"), input));
    }
    let first = first.unwrap_or(1);
    let runs = number("FUZZ_RUNS").unwrap_or(target.runs);
    println!("{name}: {} inputs of the corpus, {runs} mutations from FUZZ_SEED={first}", corpus.len());
    for seed in first..first.saturating_add(runs) {
        let input = mutated(&mut Random(seed), &corpus, target.words);
        one(format!("FUZZ_SEED={seed}"), &input);
    }
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_target_is_run() {
            let run = [$(stringify!($name)),*];
            assert!(TARGETS.iter().map(|target| target.name).eq(run), "{run:?}");
        }
    };
}

tests! { decoder server_frames head head_fields account_body json binary proxy deflate tokens keys configuration tls session }
