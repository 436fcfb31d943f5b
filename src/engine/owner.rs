//! The owner half of an engine: the rooms that hash to this core. Hears homes by hops, the link and the store by events;
//! answers by hops and requests. Knows no socket and no session.

use std::sync::Arc;

use super::budget::Budget;
use super::hop::ToOwner;
use super::input::{LinkEvent, StoreEvent};
use super::outbound::Outbound;
use super::output::{LinkRequest, StoreRequest};
use super::settings::Settings;
use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::base::time::Now;

/// What the owner half acts through: borrowed from the engine for one call.
pub struct OwnerEffects<'a> {
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// To the link.
    pub link: &'a mut Vec<LinkRequest>,
    /// To the store.
    pub store: &'a mut Vec<StoreRequest>,
    /// This core's numbers.
    pub counters: &'a CoreCounters,
    /// History is charged here.
    pub budget: &'a mut Budget,
}

/// The rooms of one core.
#[derive(Debug)]
pub struct Owner {}

impl Owner {
    /// No rooms. `seed` feeds epochs and table hashing; the same seed gives the same run.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, seed: u64) -> Self {
        let _ = (settings, core, seed);
        Self {}
    }

    /// A hop from a home (this core's own included).
    pub fn handle_hop(&mut self, now: Now, hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        let _ = (now, hop, effects);
        todo!()
    }

    /// News from the link.
    pub fn handle_link(&mut self, now: Now, event: LinkEvent, effects: &mut OwnerEffects<'_>) {
        let _ = (now, event, effects);
        todo!()
    }

    /// News from the store.
    pub fn handle_store(&mut self, now: Now, event: StoreEvent, effects: &mut OwnerEffects<'_>) {
        let _ = (now, event, effects);
        todo!()
    }

    /// Time has passed: status pushes, grace, expiry, repair of cores that are behind, questions asked again.
    pub fn tick(&mut self, now: Now, effects: &mut OwnerEffects<'_>) {
        let _ = (now, effects);
        todo!()
    }

    /// When `tick` is wanted next, monotonic microseconds; `None` while nothing waits for time.
    #[must_use]
    pub fn next_tick_us(&self, now: Now) -> Option<u64> {
        let _ = now;
        todo!()
    }
}
