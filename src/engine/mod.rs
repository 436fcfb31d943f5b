//! Floor 2: one core's whole state, sans-IO and deterministic. Time and randomness come in as arguments; bytes, hops and
//! events go in, an [`output::Output`] comes out. Never reads a clock, never touches a socket, never waits.

pub mod budget;
pub mod hop;
pub mod input;
pub mod outbound;
pub mod output;
pub mod owner;
pub mod placement;
pub mod settings;

use std::sync::Arc;

use self::hop::Hop;
use self::input::Input;
use self::output::Output;
use self::settings::Settings;
use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::base::time::Now;

/// One core's state.
///
/// A turn is: any number of [`Engine::handle`], then one [`Engine::finish_turn`]; then the caller carries out the
/// [`Output`] (sends, shutdowns, closes, in this order) and moves the staged hops into the lanes.
pub struct Engine {}

impl Engine {
    /// An engine without connections or rooms. `seed` feeds every random choice; the same inputs give the same outputs.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, seed: u64, counters: Arc<CoreCounters>, now: Now) -> Self {
        let _ = (settings, core, seed, counters, now);
        todo!()
    }

    /// One thing that happened.
    pub fn handle(&mut self, now: Now, input: Input<'_>, output: &mut Output) {
        let _ = (now, input, output);
        todo!()
    }

    /// Ends the turn: every connection with something to say and no send under way gets one send.
    pub fn finish_turn(&mut self, now: Now, output: &mut Output) {
        let _ = (now, output);
        todo!()
    }

    /// Everything staged for another core in this turn; empty when there is nothing. `empty` is kept to stage into.
    pub fn take_staged(&mut self, to: CoreId, empty: Vec<Hop>) -> Vec<Hop> {
        let _ = (to, empty);
        todo!()
    }

    /// Gives back what a full lane did not take: it stays staged, before what comes later.
    pub fn put_back(&mut self, to: CoreId, staged: Vec<Hop>) -> Vec<Hop> {
        let _ = (to, staged);
        todo!()
    }

    /// When [`Input::Tick`] is wanted next, monotonic microseconds; `None` while nothing waits for time.
    #[must_use]
    pub fn next_tick_us(&self, now: Now) -> Option<u64> {
        let _ = now;
        todo!()
    }

    /// Open connections, upgrading and closing ones included: 0 ends a drain.
    #[must_use]
    pub fn open_slots(&self) -> usize {
        todo!()
    }
}
