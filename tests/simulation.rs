//! Seeded simulation: whole engines, nodes and clients under one scheduler with virtual time, with faults, and checks at
//! every message. One thread, no sockets, no sleeping.
//!
//! `SIM_SEED=mode:seed` with the test `replay` runs one seed (`memory`, `linked` or `durable`), `SIM_SEEDS=n` runs more
//! seeds of each mode, `SIM_FIRST=n` begins at another one.

mod simulation {
    pub mod canary;
    pub mod client;
    pub mod codec;
    pub mod hear;
    pub mod judge;
    pub mod link;
    pub mod node;
    pub mod profile;
    pub mod rng;
    pub mod runner;
    pub mod socket;
    pub mod store;
    pub mod view;
    pub mod world;
}

use simulation::profile::{Mode, Profile};
use simulation::runner;

#[test]
fn one_node_in_memory() {
    runner::run_all(Mode::Memory);
}

#[test]
fn several_nodes_linked() {
    runner::run_all(Mode::Linked);
}

#[test]
fn one_node_with_a_store() {
    runner::run_all(Mode::Durable);
}

/// One seed, named by `SIM_SEED`.
#[test]
fn replay() {
    if let Ok(text) = std::env::var("SIM_SEED") {
        let (mode, seed) = runner::read_seed(&text).expect("SIM_SEED is memory:, linked: or durable: and a number");
        runner::run_each(&[Profile::draw(seed, mode)]);
    }
}
