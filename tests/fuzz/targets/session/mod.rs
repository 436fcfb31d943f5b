//! The whole engine: an input is a script of what several clients, the control address and time do to two cores.
//!
//! What holds at every step: nothing panics, a slot has at most one send under way and exactly one close, what a client
//! gets is a head and then whole frames, every call is answered once. At the end, when all clients are gone and every
//! window has passed: no connection, room, membership or charged byte is left.

mod script;
mod settings;
mod world;

pub use script::{WORDS, seeds};

pub fn run(input: &[u8]) {
    let mut script = script::Script::new(input);
    let mut world = world::World::new(script.byte());
    while let Some(step) = script.step() {
        world.take(step);
    }
    world.end();
}
