//! Does what time asks for: heartbeats, time limits, idle timeouts. No timer stands for a connection: heartbeats go by the
//! slot's place on a wheel, and fixed time limits by queues in order. Never looks at a clock itself.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::state::deadlines::Deadline;
use super::state::timers::IdleLook;
use super::{Home, HomeEffects};
use crate::base::codes::CloseCode;
use crate::base::limits::TICK_MS;
use crate::base::time::Now;
use crate::engine::outbox::{Outgoing, Role};
use crate::engine::session::{Marks, Phase, SEEN_UNIT_MS};
use crate::wire::frame::{Opcode, server_frame};

/// Looks without a message between them that make a connection idle: it is closed at most one look late.
const IDLE_LOOKS: u8 = 4;

impl Home {
    /// When [`Home::tick`] is wanted next, monotonic microseconds; `None` while nothing waits for time.
    #[must_use]
    pub fn next_tick_us(&self) -> Option<u64> {
        let is_ticking = self.slots.sockets() > 0 || self.timers.drain.is_some();
        let tick_us = is_ticking.then_some((self.timers.ticked + 1) * TICK_MS * 1_000);
        tick_us.into_iter().chain(self.late.due_us).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, effects: &mut HomeEffects<'_>) {
        // Connections that are closed below get what came before.
        self.put_all_pending(effects);
        let now_ms = effects.now.mono_ms();
        self.tick_lobby(effects);
        while let Some(deadline) = self.timers.closes.take_due(now_ms) {
            self.close_expired(deadline, effects);
        }
        let tick = now_ms / TICK_MS;
        let first = (self.timers.ticked + 1).max((tick + 1).saturating_sub(self.timers.wheel));
        for turn in first..=tick {
            self.heartbeat((turn % self.timers.wheel) as u32, effects);
        }
        self.timers.ticked = tick;
        self.outboxes.tick();
        self.close_slow(effects);
        self.expire_silent(effects);
        self.expire_idle(effects);
        self.tick_tokens(effects);
        self.make_up_news(effects);
        self.drain_some(effects);
    }

    /// Pings every connection that is due, in one shared frame that carries the time.
    fn heartbeat(&mut self, turn: u32, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        let mut due = Vec::new();
        for slot in (turn..self.slots.range().end).step_by(self.timers.wheel as usize) {
            let session = self.sessions.at(slot);
            if session.phase != Phase::Open {
                continue;
            }
            self.paces.forget_rested(slot, effects.now);
            self.timers.worst.see(self.outboxes.bytes(slot));
            let session = self.sessions.at(slot);
            let deadline = u64::from(session.last_seen) * SEEN_UNIT_MS + self.settings.heartbeat_timeout_ms;
            if deadline <= now_ms + self.settings.heartbeat_interval_ms + TICK_MS {
                let silent = Deadline { at_ms: deadline, slot, generation: session.generation };
                self.timers.silent.push(Reverse(silent));
            }
            due.push(slot);
            self.sessions.at_mut(slot).marks.set(Marks::PINGED);
            self.schedule_expiry(slot, effects.now);
        }
        self.timers.worst.end_turn(turn, effects.counters);
        if !due.is_empty() {
            let bytes = server_frame(Opcode::Ping, &effects.now.mono_us.to_le_bytes());
            let ping = Outgoing { bytes, messages: 0, role: Role::Other };
            // A connection with a full queue has enough to see that the server lives.
            let ping = self.outboxes.add(ping, effects.budget);
            self.outboxes.push_all(&due, None, ping, &mut self.turn.lagging, effects.budget);
            self.outboxes.release(ping, effects.budget);
            self.turn.lagging.clear();
        }
    }

    fn expire_silent(&mut self, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        while let Some(Reverse(Deadline { at_ms, slot, generation })) = self.timers.silent.peek().copied() {
            if at_ms > now_ms {
                return;
            }
            self.timers.silent.pop();
            let session = self.sessions.at(slot);
            let seen_ms = u64::from(session.last_seen) * SEEN_UNIT_MS;
            if session.generation == generation && seen_ms + self.settings.heartbeat_timeout_ms <= now_ms {
                self.fail(slot, CloseCode::Heartbeat, "heartbeat timeout", effects);
            }
        }
    }

    /// Begins the idle timeout of a connection, if there is one.
    pub(super) fn expect_idle(&mut self, slot: u32, now: Now) {
        let messages = self.sessions.at(slot).stats.messages();
        self.look_again(slot, IdleLook { messages, looks: 0 }, now);
    }

    fn look_again(&mut self, slot: u32, seen: IdleLook, now: Now) {
        let timeout_ms = self.settings.limits.idle_timeout_ms;
        if timeout_ms > 0 {
            let due_ms = now.mono_ms() + timeout_ms.div_ceil(u64::from(IDLE_LOOKS));
            let generation = self.sessions.at(slot).generation;
            self.timers.idle.push_back((Deadline { at_ms: due_ms, slot, generation }, seen));
        }
    }

    /// Begins another idle timeout for all connections.
    pub(super) fn expect_all_idle(&mut self, now: Now) {
        self.timers.idle = VecDeque::new();
        for slot in self.slots.range() {
            if self.sessions.at(slot).phase == Phase::Open {
                self.expect_idle(slot, now);
            }
        }
    }

    fn expire_idle(&mut self, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        while let Some((Deadline { slot, generation, .. }, mut seen)) =
            self.timers.idle.pop_front_if(|(deadline, _)| deadline.at_ms <= now_ms)
        {
            let session = self.sessions.at(slot);
            if session.generation != generation || session.phase != Phase::Open {
                continue;
            }
            let messages = session.stats.messages();
            seen = if messages == seen.messages {
                IdleLook { looks: seen.looks + 1, ..seen }
            } else {
                IdleLook { messages, looks: 0 }
            };
            if seen.looks >= IDLE_LOOKS {
                self.fail(slot, CloseCode::GoingAway, "idle timeout", effects);
            } else {
                self.look_again(slot, seen, effects.now);
            }
        }
    }
}
