//! The planned stop of a core: its connections are told to reconnect and closed one by one, spread over a window of time.
//! Never closes a socket that has not become a WebSocket.

use super::{Home, HomeEffects};
use crate::base::ids::CoreId;
use crate::base::limits::{HAND_OVER_MS, TICK_MS};
use crate::base::time::Now;
use crate::engine::session::Phase;
use crate::wire::protocol::ReconnectReason;

/// A drain that has begun.
#[derive(Debug)]
pub(super) struct Drain {
    started_ms: u64,
    window_ms: u64,
    /// A successor takes new connections, so this core refuses none of those that it has.
    hands_over: bool,
    /// Connections at its start.
    total: u64,
    /// Connections that were told to go.
    told: u64,
    next_slot: u32,
}

impl Drain {
    /// How many connections should have been told by now.
    fn due(&self, now_ms: u64) -> u64 {
        let elapsed = now_ms.saturating_sub(self.started_ms);
        if elapsed >= self.window_ms { u64::MAX } else { self.total * elapsed / self.window_ms + 1 }
    }

    /// When the next connection is told to reconnect. Reconnects are spread over the time that the closes take, at least a
    /// second, each at its own millisecond: those of a core are the ones that leave its number as the remainder.
    fn after_ms(&self, core: CoreId, cores: u16) -> u64 {
        let (cores, core) = (u64::from(cores), u64::from(core.0));
        let total = self.total.max(1);
        let steps = (self.window_ms.max(1_000) / cores).max(total);
        100 + self.told * steps / total * cores + core
    }
}

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
}
