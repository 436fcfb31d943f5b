//! Hops staged in this turn for each core, its own included, until the lanes take them.
//!
//! Bounded in hops and in bytes, including those in the channel. Over either bound, [`Outbound::try_post`] refuses, and
//! the hop's variant documents what happens then. [`Outbound::post`] is for hops that must not be lost. Each of them
//! answers something that was admitted under the bound, which bounds them too.

use std::collections::VecDeque;

use super::hop::{Hop, ToHome, ToLimiter, ToOwner, ToUser};
use crate::base::ids::CoreId;
use crate::base::limits::{LANE_BYTES_MAX, LANE_HOPS_MAX, LANE_LARGE_BYTES, LANE_QUESTIONS_DIVISOR};

/// Capacity for hops to the core itself that is kept when there are none.
const OWN_KEPT: usize = 1_024;

#[derive(Debug, Default)]
struct Lane {
    staged: Vec<Hop>,
    /// Bytes of `hops`.
    bytes: usize,
    /// Bytes sent that the other core has not taken, as last reported.
    queued_bytes: usize,
}

/// Staged hops by receiving core.
#[derive(Debug)]
pub struct Outbound {
    core: CoreId,
    /// Hops to this core itself. They are handled before the turn continues, so they never wait and are never refused.
    own: VecDeque<Hop>,
    lanes: Vec<Lane>,
}

impl Outbound {
    /// Nothing staged, for a machine of `cores` cores.
    #[must_use]
    pub fn new(core: CoreId, cores: u16) -> Self {
        Self { core, own: VecDeque::new(), lanes: (0..cores).map(|_| Lane::default()).collect() }
    }

    /// The core that stages these hops.
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// Whether a hop that may be refused would be.
    #[must_use]
    pub fn is_full(&self, to: CoreId) -> bool {
        let lane = &self.lanes[to.index()];
        lane.staged.len() >= LANE_HOPS_MAX || lane.bytes + lane.queued_bytes >= LANE_BYTES_MAX
    }

    /// Whether a join or a question would be refused. They may use only part of a lane, so that publishes always find
    /// room.
    #[must_use]
    pub fn is_full_for_questions(&self, to: CoreId) -> bool {
        let lane = &self.lanes[to.index()];
        self.is_full_for_changes(to) || lane.bytes + lane.queued_bytes >= LANE_BYTES_MAX / 4 * 3
    }

    /// Whether a change of state waits for room. It is small and never refused.
    #[must_use]
    pub fn is_full_for_changes(&self, to: CoreId) -> bool {
        self.lanes[to.index()].staged.len() >= LANE_HOPS_MAX / LANE_QUESTIONS_DIVISOR
    }

    /// Whether a publish of `bytes` would be refused. A large one leaves part of the lane to others.
    #[must_use]
    pub fn is_full_for(&self, to: CoreId, bytes: usize) -> bool {
        let lane = &self.lanes[to.index()];
        let is_large = bytes > LANE_LARGE_BYTES && lane.bytes + lane.queued_bytes >= LANE_BYTES_MAX / 2;
        is_large || self.is_full(to)
    }

    /// Stages a hop, or returns it if the lane is full.
    ///
    /// # Errors
    /// The hop: nothing was staged.
    pub fn try_post(&mut self, to: CoreId, hop: Hop) -> Result<(), Hop> {
        if to != self.core && self.is_full(to) {
            return Err(hop);
        }
        self.post(to, hop);
        Ok(())
    }

    /// Stages a hop that must not be lost.
    pub fn post(&mut self, to: CoreId, hop: Hop) {
        if to == self.core {
            self.own.push_back(hop);
        } else {
            let lane = &mut self.lanes[to.index()];
            lane.bytes += hop.bytes();
            lane.staged.push(hop);
        }
    }

    /// Stages a hop to a room's owner that must not be lost.
    pub fn post_to_owner(&mut self, to: CoreId, hop: ToOwner) {
        self.post(to, Hop::ToOwner(hop));
    }

    /// Stages a hop to a connection's home that must not be lost.
    pub fn post_to_home(&mut self, to: CoreId, hop: ToHome) {
        self.post(to, Hop::ToHome(hop));
    }

    /// Stages a hop that must not be lost, to the limiter of an address.
    pub fn post_to_limiter(&mut self, to: CoreId, hop: ToLimiter) {
        self.post(to, Hop::ToLimiter(hop));
    }

    /// Stages a hop that must not be lost, to the core of a user.
    pub fn post_to_user(&mut self, to: CoreId, hop: ToUser) {
        self.post(to, Hop::ToUser(hop));
    }

    /// The next hop to this core itself.
    pub fn take_own(&mut self) -> Option<Hop> {
        let hop = self.own.pop_front();
        if hop.is_none() && self.own.capacity() > OWN_KEPT {
            self.own = VecDeque::new();
        }
        hop
    }

    /// Everything staged for another core, leaving `empty` to stage into.
    pub fn take_staged(&mut self, to: CoreId, empty: Vec<Hop>) -> Vec<Hop> {
        debug_assert!(empty.is_empty());
        let lane = &mut self.lanes[to.index()];
        lane.bytes = 0;
        std::mem::replace(&mut lane.staged, empty)
    }

    /// Puts back hops that the lane did not take. Must be called in the same turn, before more is staged for that core.
    pub fn put_back(&mut self, to: CoreId, staged: Vec<Hop>) -> Vec<Hop> {
        let lane = &mut self.lanes[to.index()];
        debug_assert!(lane.staged.is_empty());
        lane.bytes = staged.iter().map(Hop::bytes).sum();
        std::mem::replace(&mut lane.staged, staged)
    }

    /// Sets the number of bytes in the channel to another core.
    pub fn set_queued_bytes(&mut self, to: CoreId, bytes: usize) {
        self.lanes[to.index()].queued_bytes = bytes;
    }

    /// Bytes staged for another core.
    #[must_use]
    pub fn staged_bytes(&self, to: CoreId) -> usize {
        self.lanes[to.index()].bytes
    }

    /// Hops staged for another core.
    #[must_use]
    pub fn staged(&self, to: CoreId) -> usize {
        self.lanes[to.index()].staged.len()
    }
}
