//! Sockets that are no WebSocket: so many, and so many bytes of their request heads, and no more. The oldest makes way, so
//! that whoever comes is let in however many others have connected and say nothing, or say it slowly.

use super::{Home, HomeEffects};
use crate::base::limits::{CLOSE_TIMEOUT_MS, HALF_OPEN_MAX, HEAD_TIMEOUT_MS, HEADS_BYTES_MAX};
use crate::engine::session::Phase;

impl Home {
    /// A socket has come, whose head is not awaited yet: another goes where they have become too many, or the last slots are near. Half of the slots
    /// beside those for connections are kept free.
    pub(super) fn make_way(&mut self, effects: &mut HomeEffects<'_>) {
        let spare = self.settings.sockets_max.saturating_sub(self.settings.core_connections_max);
        let waiting = self.sockets - self.websockets;
        if waiting > HALF_OPEN_MAX || self.sockets > self.settings.sockets_max - spare / 2 {
            self.close_oldest(effects);
        }
    }

    /// The parts of request heads together are bounded too: the oldest go.
    pub(super) fn bound_heads(&mut self, effects: &mut HomeEffects<'_>) {
        while self.heads_bytes > HEADS_BYTES_MAX && self.close_oldest_head(effects) {}
    }

    /// Whoever has kept its request waiting longest, or has been told to go and has not gone since before that.
    fn close_oldest(&mut self, effects: &mut HomeEffects<'_>) {
        self.forget_met_deadlines();
        let asked_ms = self.timers.heads.front().map(|(deadline, ..)| deadline - HEAD_TIMEOUT_MS);
        let told_ms = self.timers.closes.front().map(|(deadline, ..)| deadline - CLOSE_TIMEOUT_MS);
        if told_ms.is_some_and(|told_ms| asked_ms.is_none_or(|asked_ms| told_ms < asked_ms)) {
            let (_, slot, generation) = self.timers.closes.pop_front().expect("it has a front");
            self.close_expired(slot, generation, effects);
        } else {
            self.close_oldest_head(effects);
        }
    }

    /// Whether there was one.
    fn close_oldest_head(&mut self, effects: &mut HomeEffects<'_>) -> bool {
        while let Some((_, slot, generation)) = self.timers.heads.pop_front() {
            let session = self.sessions.at(slot);
            if session.generation == generation && session.phase == Phase::Head {
                effects.counters.refused_crowded.add(1);
                self.note_refusal(slot, 0, "crowded", effects);
                self.close_socket(slot, effects);
                return true;
            }
        }
        false
    }
}
