//! Frees memory while the budget is exceeded: ends the connections that hold the most, in one pass, until it is not. Never
//! ends a connection that holds little.

use std::cmp::Reverse;

use super::{Home, HomeEffects};
use crate::base::limits::SEND_BYTES_MAX;
use crate::engine::session::Phase;
use crate::wire::protocol::ReconnectReason;

/// When the memory budget is exceeded and nobody is left to be closed, the core looks again after this. A connection that
/// was told to go has as long to take the last bytes that it is sent, before it is cut off.
const SHED_AGAIN_MS: u64 = 100;

/// A connection that holds fewer bytes is never closed for memory: a healthy reader in the middle of a send.
const SHED_BYTES_MIN: usize = 1_024;

/// A connection that holds memory beside its standing charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    /// It was told to go already: ended first.
    is_leaving: bool,
    bytes: usize,
    slot: Reverse<u32>,
}

impl Home {
    /// While the budget is exceeded, ends the connections that hold the most. Those that were told to go some time ago and
    /// have not are cut off first.
    pub(super) fn shed(&mut self, effects: &mut HomeEffects<'_>) {
        if !effects.budget.is_over() {
            return;
        }
        let now_ms = effects.now.mono_ms();
        if now_ms < self.timers.shedding.again_ms {
            return;
        }
        let cuts_off = now_ms >= self.timers.shedding.cut_off_ms;
        // Sends under way to connections that were told to go count as freed while they have time to take them.
        let mut leaving = if cuts_off { 0 } else { self.outboxes.ending_bytes() as u64 };
        let excess = effects.budget.used().saturating_sub(leaving + effects.budget.max());
        if excess == 0 {
            return;
        }
        let mut holders: Vec<Holder> = self
            .slots
            .range()
            .filter_map(|slot| self.holder(slot))
            .filter(|holder| cuts_off || !holder.is_leaving)
            .collect();
        let held: usize = holders.iter().map(|holder| holder.bytes).sum();
        if (held as u64) < excess / 2 {
            // Connections do not hold the excess: ending them would not help.
            self.timers.shedding.again_ms = now_ms + SHED_AGAIN_MS;
            return;
        }
        if cuts_off {
            self.timers.shedding.cut_off_ms = now_ms + SHED_AGAIN_MS;
        }
        holders.sort_unstable_by_key(|holder| Reverse(*holder));
        for holder in holders {
            let left = effects.budget.used().saturating_sub(leaving);
            if left <= effects.budget.max() {
                return;
            }
            leaving += self.shed_one(holder, effects) as u64;
        }
        // No connection is left that would free anything: look again after a while, not in every turn.
        self.timers.shedding.again_ms = now_ms + SHED_AGAIN_MS;
    }

    /// The memory that a slot holds, if ending it is worth it.
    fn holder(&self, slot: u32) -> Option<Holder> {
        let session = self.sessions.at(slot);
        let is_leaving = match session.phase {
            Phase::Open => false,
            Phase::Closing | Phase::Ending | Phase::Lingering => true,
            Phase::Free | Phase::Head | Phase::Greeting => return None,
        };
        let bytes = self.outboxes.bytes(slot) + session.decoder.held_bytes();
        (bytes >= SHED_BYTES_MIN).then_some(Holder { is_leaving, bytes, slot: Reverse(slot) })
    }

    /// Ends one connection; returns the bytes that it still holds until its socket is closed.
    fn shed_one(&mut self, holder: Holder, effects: &mut HomeEffects<'_>) -> usize {
        let Reverse(slot) = holder.slot;
        if holder.is_leaving {
            self.close_socket(slot, effects);
            return 0;
        }
        self.outboxes.drop_queued(slot, effects.budget);
        // Frees the incomplete message too: the bytes after it can no longer be read.
        effects.budget.release(std::mem::take(&mut self.sessions.at_mut(slot).decoder).held_bytes());
        let under_way = self.outboxes.bytes_under_way(slot);
        let after_ms = 1_000 + self.random.below(9_000);
        self.send_away(slot, after_ms, ReconnectReason::Overloaded, effects);
        if under_way > 2 * SEND_BYTES_MAX {
            // Too much to wait until the kernel has taken it.
            self.close_socket(slot, effects);
            return 0;
        }
        self.end_after_sending(slot, Phase::Lingering, effects);
        under_way
    }
}
