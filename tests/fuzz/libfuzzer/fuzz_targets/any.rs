//! Any of the targets of `tests/fuzz/targets`, named by `FUZZ_TARGET`, under libFuzzer. The corpus folder of the
//! command line is given the target's seeds before it is read.

#![no_main]

#[expect(dead_code, reason = "libFuzzer mutates in its own way")]
#[path = "../../targets/mod.rs"]
mod targets;

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        panic!("FUZZ_TARGET is one of {}", names.join(", "))
    })
});

fn write_seeds() {
    let folders = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
    for folder in folders.filter(|folder| Path::new(folder).is_dir()) {
        for (index, seed) in (TARGET.seeds)().into_iter().enumerate() {
            std::fs::write(Path::new(&folder).join(format!("seed-{index:03}")), seed).expect("the corpus is writable");
        }
    }
}

fuzz_target!(init: write_seeds(), |input: &[u8]| (TARGET.run)(input));
