//! The planned stop of a core: its connections are told to reconnect and closed one by one, spread over a window of time.
//! Never closes a socket that has not become a WebSocket.

use super::state::drain::Drain;
use super::{Home, HomeEffects};
use crate::base::limits::{HAND_OVER_MS, TICK_MS};
use crate::base::time::Now;
use crate::engine::session::Phase;
use crate::wire::protocol::ReconnectReason;

impl Home {
    /// Starts the planned stop.
    pub fn drain(&mut self, now: Now, window_ms: u64, hands_over: bool) {
        let (started_ms, total) = (now.mono_ms(), u64::from(self.slots.open_count()));
        self.timers.drain = Some(Drain { started_ms, window_ms, hands_over, total, told: 0, next_slot: 0 });
    }

    /// Whether a drain has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.timers.drain.is_some()
    }

    /// Whether this is a drain in which nobody is refused.
    pub(super) fn hands_over(&self) -> bool {
        self.timers.drain.as_ref().is_some_and(|drain| drain.hands_over)
    }

    /// Whether clients that connected just before the drain still have time to send their requests.
    pub(super) fn awaits_heads(&self) -> bool {
        let now_ms = self.timers.ticked * TICK_MS;
        let still = |drain: &Drain| drain.hands_over && now_ms < drain.started_ms + HAND_OVER_MS;
        self.timers.drain.as_ref().is_some_and(still)
    }

    /// Tells as many connections to go as the window asks for by now.
    pub(super) fn drain_some(&mut self, effects: &mut HomeEffects<'_>) {
        let Some(mut drain) = self.timers.drain.take() else { return };
        let (due, slots) = (drain.due(effects.now.mono_ms()), self.slots.range());
        while drain.told < due && slots.contains(&drain.next_slot) {
            let slot = drain.next_slot;
            drain.next_slot += 1;
            if self.sessions.at(slot).phase == Phase::Open {
                let after_ms = drain.after_ms(self.core, self.settings.cores);
                drain.told += 1;
                self.send_away(slot, after_ms, ReconnectReason::Draining, effects);
            }
        }
        if !slots.contains(&drain.next_slot) {
            // A head that arrived before the drain may have opened a slot that was passed already.
            drain.next_slot = 0;
        }
        self.timers.drain = Some(drain);
    }

    /// WebSockets, closing ones included; while a drain that hands over waits for heads, all sockets.
    #[must_use]
    pub fn awaited(&self) -> usize {
        let awaited = if self.awaits_heads() { self.slots.sockets() } else { self.slots.websockets() };
        awaited as usize
    }
}
