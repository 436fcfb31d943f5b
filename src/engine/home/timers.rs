//! What time asks of the home half: heartbeats, time limits, the drain, the memory budget. No timer stands for an idle
//! connection: heartbeats come from the slot's place on a wheel, and fixed time limits from queues in order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bytes::Bytes;

use super::worst::Worst;
use super::{Home, HomeEffects};
use crate::base::codes::CloseCode;
use crate::base::limits::{CLOSE_TIMEOUT_MS, HAND_OVER_MS, HEAD_TIMEOUT_MS, TICK_MS};
use crate::base::time::Now;
use crate::engine::outbox::{Flushed, Outgoing, Role};
use crate::engine::session::{Marks, Phase, SEEN_UNIT_MS, Session};
use crate::engine::settings::Settings;
use crate::wire::encode::encode_push;
use crate::wire::frame::{Opcode, server_frame};
use crate::wire::protocol::{Push, ReconnectReason};

/// Places that a queue of deadlines keeps when it is empty.
const QUEUE_KEPT: usize = 256;

/// When a time limit ends, for which use of which slot.
pub(super) type Deadline = (u64, u32, u32);

/// Everything that waits for time.
#[derive(Debug)]
pub(super) struct Timers {
    /// Request heads that are awaited, by deadline: the limit is one for all.
    pub(super) heads: VecDeque<Deadline>,
    /// Closing WebSockets, by deadline: the limit is one for all.
    pub(super) closes: VecDeque<Deadline>,
    /// Sockets that have been told to go without having become a WebSocket, by deadline: the limit is that of `closes`.
    pub(super) lingers: VecDeque<Deadline>,
    /// When connections are looked at for being idle: the limit is one for all.
    idle: VecDeque<(Deadline, Idle)>,
    /// Connections that will have been silent for too long before the wheel comes to them again.
    silent: BinaryHeap<Reverse<Deadline>>,
    /// Ticks in one round of the wheel: a slot's turn is its number modulo this.
    wheel: u64,
    /// The last tick that was done, in [`TICK_MS`] since the start.
    ticked: u64,
    drain: Option<Drain>,
    /// What lags most.
    pub(super) worst: Worst,
    /// Kept for its memory between turns.
    pub(super) flushed: Vec<Flushed>,
}

/// So many looks without a message between them make a connection idle: it is closed at most one look late.
const IDLE_LOOKS: u8 = 4;

/// What was seen of a connection when it was last looked at for being idle.
#[derive(Clone, Copy, Debug)]
struct Idle {
    /// Messages that had passed.
    messages: u32,
    /// Looks since one had.
    looks: u8,
}

#[derive(Debug)]
struct Drain {
    started_ms: u64,
    window_ms: u64,
    hands_over: bool,
    /// Connections there were when it started.
    total: u64,
    /// Of them, told to go.
    told: u64,
    next_slot: u32,
}

impl Timers {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            heads: VecDeque::new(),
            closes: VecDeque::new(),
            lingers: VecDeque::new(),
            idle: VecDeque::new(),
            silent: BinaryHeap::new(),
            wheel: (settings.heartbeat_interval_ms / TICK_MS).max(1),
            ticked: 0,
            drain: None,
            worst: Worst::default(),
            flushed: Vec::new(),
        }
    }

    pub(super) fn expect_head(&mut self, now: Now, slot: u32, generation: u32) {
        self.heads.push_back((now.mono_ms() + HEAD_TIMEOUT_MS, slot, generation));
    }

    pub(super) fn expect_close(&mut self, now: Now, slot: u32, session: &Session) {
        let queue = if session.is_websocket() { &mut self.closes } else { &mut self.lingers };
        queue.push_back((now.mono_ms() + CLOSE_TIMEOUT_MS, slot, session.generation));
    }
}

impl Home {
    /// When [`Home::tick`] is wanted next; `None` while there is no connection and nothing to tell of any.
    #[must_use]
    pub fn next_tick_us(&self) -> Option<u64> {
        let is_ticking = self.sockets > 0 || self.timers.drain.is_some();
        let tick_us = is_ticking.then_some((self.timers.ticked + 1) * TICK_MS * 1_000);
        tick_us.into_iter().chain(self.late.due_us).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, effects: &mut HomeEffects<'_>) {
        // Whoever is closed below has been given what came before.
        self.put_all_pending(effects);
        let now_ms = effects.now.mono_ms();
        while let Some((_, slot, generation)) = take_due(&mut self.timers.heads, now_ms) {
            self.head_expired(slot, generation, effects);
        }
        while let Some((_, slot, generation)) = take_due(&mut self.timers.closes, now_ms) {
            self.close_expired(slot, generation, effects);
        }
        while let Some((_, slot, generation)) = take_due(&mut self.timers.lingers, now_ms) {
            self.close_expired(slot, generation, effects);
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

    /// Lets go of the oldest deadlines of heads and closes that have come in time, so that a queue holds about as many as
    /// are awaited, not all of the last seconds.
    pub(super) fn forget_met_deadlines(&mut self) {
        let Self { sessions, timers, .. } = self;
        let awaits = |(_, slot, generation): Deadline, phases: &[Phase]| {
            let session = sessions.at(slot);
            session.generation == generation && phases.contains(&session.phase)
        };
        while timers.heads.pop_front_if(|head| !awaits(*head, &[Phase::Head])).is_some() {}
        let closing = [Phase::Closing, Phase::Ending, Phase::Lingering];
        while timers.closes.pop_front_if(|close| !awaits(*close, &closing)).is_some() {}
        while timers.lingers.pop_front_if(|linger| !awaits(*linger, &closing)).is_some() {}
    }

    /// Starts the planned stop.
    pub fn drain(&mut self, now: Now, window_ms: u64, hands_over: bool) {
        self.draining = true;
        let (started_ms, total) = (now.mono_ms(), u64::from(self.open));
        self.timers.drain = Some(Drain { started_ms, window_ms, hands_over, total, told: 0, next_slot: 0 });
    }

    /// Whether this is a drain in which nobody is refused.
    pub(super) fn hands_over(&self) -> bool {
        self.timers.drain.as_ref().is_some_and(|drain| drain.hands_over)
    }

    /// Whether whoever connected just before the drain still has time to ask for what it came for.
    pub(super) fn awaits_heads(&self) -> bool {
        let now_ms = self.timers.ticked * TICK_MS;
        let still = |drain: &Drain| drain.hands_over && now_ms < drain.started_ms + HAND_OVER_MS;
        self.timers.drain.as_ref().is_some_and(still)
    }

    /// Pings every connection whose turn it is, in one shared frame that carries the time.
    fn heartbeat(&mut self, turn: u32, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        let mut due = Vec::new();
        for slot in (turn..self.slots_used).step_by(self.timers.wheel as usize) {
            let session = self.sessions.at(slot);
            if session.phase != Phase::Open {
                continue;
            }
            self.forget_pace(slot, effects.now);
            self.timers.worst.see(self.outboxes.bytes(slot));
            let session = self.sessions.at(slot);
            let deadline = u64::from(session.last_seen) * SEEN_UNIT_MS + self.settings.heartbeat_timeout_ms;
            if deadline <= now_ms + self.settings.heartbeat_interval_ms + TICK_MS {
                self.timers.silent.push(Reverse((deadline, slot, session.generation)));
            }
            due.push(slot);
            self.sessions.at_mut(slot).marks.set(Marks::PINGED);
            self.schedule_expiry(slot, effects.now);
        }
        self.timers.worst.end_turn(turn, effects.counters);
        if !due.is_empty() {
            let bytes = server_frame(Opcode::Ping, &effects.now.mono_us.to_le_bytes());
            let ping = Outgoing { bytes, messages: 0, role: Role::Other };
            // A connection whose queue is full has enough to show it that the server lives.
            let ping = self.outboxes.add(ping, effects.budget);
            self.outboxes.push_all(&due, None, ping, &mut self.lagging, effects.budget);
            self.outboxes.release(ping, effects.budget);
            self.lagging.clear();
        }
    }

    fn expire_silent(&mut self, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        while let Some(Reverse((deadline, slot, generation))) = self.timers.silent.peek().copied() {
            if deadline > now_ms {
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

    /// A connection is to be looked at from now on, if there is an idle timeout.
    pub(super) fn expect_idle(&mut self, slot: u32, now: Now) {
        let messages = self.sessions.at(slot).stats.messages();
        self.look_again(slot, Idle { messages, looks: 0 }, now);
    }

    fn look_again(&mut self, slot: u32, seen: Idle, now: Now) {
        let timeout_ms = self.settings.limits.idle_timeout_ms;
        if timeout_ms > 0 {
            let due_ms = now.mono_ms() + timeout_ms.div_ceil(u64::from(IDLE_LOOKS));
            self.timers.idle.push_back(((due_ms, slot, self.sessions.at(slot).generation), seen));
        }
    }

    /// The idle timeout is another from now on.
    pub(super) fn expect_all_idle(&mut self, now: Now) {
        self.timers.idle = VecDeque::new();
        for slot in 0..self.slots_used {
            if self.sessions.at(slot).phase == Phase::Open {
                self.expect_idle(slot, now);
            }
        }
    }

    fn expire_idle(&mut self, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        while let Some(((_, slot, generation), mut seen)) =
            self.timers.idle.pop_front_if(|((due_ms, ..), _)| *due_ms <= now_ms)
        {
            let session = self.sessions.at(slot);
            if session.generation != generation || session.phase != Phase::Open {
                continue;
            }
            let messages = session.stats.messages();
            seen = if messages == seen.messages {
                Idle { looks: seen.looks + 1, ..seen }
            } else {
                Idle { messages, looks: 0 }
            };
            if seen.looks >= IDLE_LOOKS {
                self.fail(slot, CloseCode::GoingAway, "idle timeout", effects);
            } else {
                self.look_again(slot, seen, effects.now);
            }
        }
    }

    /// A pong that answers one of this server's pings tells the round-trip time.
    pub(super) fn hear_pong(&mut self, slot: u32, payload: &[u8], effects: &HomeEffects<'_>) {
        let Ok(sent_us) = payload.try_into().map(u64::from_le_bytes) else { return };
        if let Some(round_trip_us) = effects.now.mono_us.checked_sub(sent_us)
            && round_trip_us <= self.settings.heartbeat_timeout_ms * 1_000
        {
            effects.counters.round_trip.record(round_trip_us, 1);
            self.sessions.at_mut(slot).round_trip_us = round_trip_us.clamp(1, u64::from(u32::MAX)) as u32;
        }
    }

    /// Tells as many connections to go as the window asks for by now.
    fn drain_some(&mut self, effects: &mut HomeEffects<'_>) {
        let Some(mut drain) = self.timers.drain.take() else { return };
        let elapsed = effects.now.mono_ms().saturating_sub(drain.started_ms);
        let due = if elapsed >= drain.window_ms { u64::MAX } else { drain.total * elapsed / drain.window_ms + 1 };
        // Reconnects are spread over the time the closes take, at least a second, each at its own millisecond: those of a
        // core are the ones that leave its number as the remainder.
        let (cores, core) = (u64::from(self.settings.cores), u64::from(self.core.0));
        let total = drain.total.max(1);
        let steps = (drain.window_ms.max(1_000) / cores).max(total);
        while drain.told < due && drain.next_slot < self.slots_used {
            let slot = drain.next_slot;
            drain.next_slot += 1;
            if self.sessions.at(slot).phase == Phase::Open {
                let after_ms = 100 + drain.told * steps / total * cores + core;
                drain.told += 1;
                self.send_away(slot, after_ms, ReconnectReason::Draining, effects);
            }
        }
        if drain.next_slot >= self.slots_used {
            // A head that arrived before the drain may have opened a slot that was passed already.
            drain.next_slot = 0;
        }
        self.timers.drain = Some(drain);
    }

    /// `reconnect`, then close.
    pub(super) fn send_away(
        &mut self,
        slot: u32,
        after_ms: u64,
        reason: ReconnectReason,
        effects: &mut HomeEffects<'_>,
    ) {
        let session = self.sessions.at(slot);
        let cause = if reason == ReconnectReason::Draining { "drain" } else { "memory budget used up" };
        if !session.marks.has(Marks::ECHO) {
            let form = session.reading.expect("an open connection reads somehow").form();
            let bytes: Bytes = encode_push(&Push::Reconnect { after_ms, reason }, form);
            self.outboxes.push(slot, Outgoing { bytes, messages: 1, role: Role::Other }, effects.budget);
        }
        self.fail(slot, reason.close_code(), cause, effects);
    }
}

fn take_due(queue: &mut VecDeque<Deadline>, now_ms: u64) -> Option<Deadline> {
    let due = queue.pop_front_if(|(deadline, ..)| *deadline <= now_ms);
    // What a storm of connects needed is given back after it.
    if queue.capacity() > QUEUE_KEPT && queue.len() * 8 < queue.capacity() {
        queue.shrink_to(queue.len() * 2);
    }
    due
}
