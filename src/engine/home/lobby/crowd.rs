//! Bounds the sockets that are not WebSockets: how fast one address may open them, how many there may be, how long they may
//! take, and the bytes of their incomplete heads. A client that connects faster than its rate limit is refused; otherwise the oldest socket is
//! closed, so that a new client is let in however many others have connected and say nothing. Never closes an open
//! WebSocket.

use crate::base::ids::ConnId;
use crate::base::limits::{CLOSE_TIMEOUT_MS, HALF_OPEN_MAX, HEAD_TIMEOUT_MS, HEADS_BYTES_MAX};
use crate::engine::home::state::deadlines::Deadline;
use crate::engine::home::{Home, HomeEffects};
use crate::engine::hop::{ConnectRefusal, Hop, ToLimiter, TooOften};
use crate::engine::limiter::core_of_address;
use crate::engine::session::Phase;

impl Home {
    /// Counts a new socket for the connection rate limit of its address. A trusted proxy is not counted: its clients are,
    /// when it has named them. Returns whether the socket stays, as far as this core can tell.
    pub(in crate::engine::home) fn count_connect(&mut self, slot: u32, effects: &mut HomeEffects<'_>) -> bool {
        let address = self.slots.address(slot);
        if self.settings.limits.connect_rate_per_ip.is_none() || self.settings.trusted_proxies.contains(address) {
            return true;
        }
        let core = core_of_address(address, self.settings.cores);
        let conn = self.sessions.at(slot).id(self.core, slot);
        if core == self.core {
            if let Err(too_often) = effects.limiter.try_connect(address, effects.now, effects.budget) {
                self.connects_too_often(conn, too_often, effects);
            }
        } else {
            // Not counted where the lane is full: the number of sockets is bounded in any case.
            let _ = effects.outbound.try_post(core, Hop::ToLimiter(ToLimiter::Connected { conn, address }));
        }
        self.sessions.at(slot).phase == Phase::Head
    }

    /// A socket is over the connection rate limit of its address.
    pub(in crate::engine::home) fn connects_too_often(
        &mut self,
        conn: ConnId,
        too_often: TooOften,
        effects: &mut HomeEffects<'_>,
    ) {
        let TooOften { retry_after_ms, is_answered } = too_often;
        let slot = conn.slot;
        let session = self.sessions.at(slot);
        if session.generation != conn.generation || session.phase != Phase::Head {
            return;
        }
        if self.is_waiting(conn) {
            self.connect_refused(conn, ConnectRefusal::AddressRate { retry_after_ms }, effects);
        } else if is_answered {
            self.lobby.over_rate.insert(slot, retry_after_ms);
        } else {
            effects.counters.refused_limit.add(1);
            self.note_refusal(slot, 0, "rate_limited", effects);
            self.close_socket(slot, effects);
        }
    }

    /// Closes the oldest socket that is not a WebSocket where there are too many of them, and the oldest that is not an
    /// open WebSocket where slots run out: half of the slots beyond those for connections are kept free. Called for a new
    /// socket before its own deadline is queued.
    pub(in crate::engine::home) fn make_way(&mut self, effects: &mut HomeEffects<'_>) {
        self.forget_met_deadlines();
        if self.slots.half_open() > HALF_OPEN_MAX {
            self.close_oldest(false, effects);
        }
        let spare = self.settings.sockets_max.saturating_sub(self.settings.max_connections_per_core);
        if self.slots.sockets() > self.settings.sockets_max - spare / 2 {
            self.close_oldest(true, effects);
        }
    }

    /// Drops the oldest deadlines that have been met.
    fn forget_met_deadlines(&mut self) {
        let Self { sessions, timers, lobby, .. } = self;
        let awaits = |deadline: &Deadline, phases: &[Phase]| {
            let session = sessions.at(deadline.slot);
            session.generation == deadline.generation && phases.contains(&session.phase)
        };
        let closing = [Phase::Closing, Phase::Ending, Phase::Lingering];
        lobby.requests.drop_met(|deadline| awaits(deadline, &[Phase::Head, Phase::Greeting]));
        lobby.lingers.drop_met(|deadline| awaits(deadline, &closing));
        timers.closes.drop_met(|deadline| awaits(deadline, &closing));
    }

    /// Closes the oldest sockets while incomplete heads, bodies and first messages take too many bytes together.
    pub(super) fn bound_heads(&mut self, effects: &mut HomeEffects<'_>) {
        while self.lobby.begun_bytes() > HEADS_BYTES_MAX && self.close_oldest_request(effects) {}
    }

    /// Closes the socket that has waited longest, for its request or after it was told to go; with `websockets` also
    /// among the WebSockets that were told to go.
    fn close_oldest(&mut self, websockets: bool, effects: &mut HomeEffects<'_>) {
        let (lobby, closes) = (&mut self.lobby, &mut self.timers.closes);
        let asked_ms = lobby.requests.first_ms().map(|at_ms| at_ms - HEAD_TIMEOUT_MS);
        let ends_ms = |at_ms: Option<u64>| at_ms.unwrap_or(u64::MAX);
        let is_of_websocket = websockets && ends_ms(closes.first_ms()) < ends_ms(lobby.lingers.first_ms());
        let told = if is_of_websocket { closes } else { &mut lobby.lingers };
        let told_ms = told.first_ms().map(|at_ms| at_ms - CLOSE_TIMEOUT_MS);
        if told_ms.is_some_and(|told_ms| asked_ms.is_none_or(|asked_ms| told_ms < asked_ms)) {
            let deadline = told.take_first().expect("it has a first one");
            self.close_expired(deadline, effects);
        } else {
            self.close_oldest_request(effects);
        }
    }

    /// Closes the socket whose request has been awaited longest. Returns whether there was one.
    fn close_oldest_request(&mut self, effects: &mut HomeEffects<'_>) -> bool {
        while let Some(Deadline { slot, generation, .. }) = self.lobby.requests.take_first() {
            let session = self.sessions.at(slot);
            if session.generation == generation && matches!(session.phase, Phase::Head | Phase::Greeting) {
                effects.counters.refused_crowded.add(1);
                self.note_refusal(slot, 0, "crowded", effects);
                self.close_socket(slot, effects);
                return true;
            }
        }
        false
    }

    /// Ends the sockets whose time limit is over.
    pub(in crate::engine::home) fn tick_lobby(&mut self, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        while let Some(Deadline { slot, generation, .. }) = self.lobby.requests.take_due(now_ms) {
            let session = self.sessions.at(slot);
            let phase = session.phase;
            match phase {
                _ if session.generation != generation => {}
                Phase::Head if self.renew_account(slot, generation, effects) => {}
                Phase::Head => {
                    self.note_refusal(slot, 0, "head_timeout", effects);
                    self.close_socket(slot, effects);
                }
                Phase::Greeting => self.greeting_expired(slot, effects),
                _ => {}
            }
        }
        while let Some(deadline) = self.lobby.lingers.take_due(now_ms) {
            self.close_expired(deadline, effects);
        }
    }
}
