//! Sockets that are no WebSocket: how fast one address may open them, how many there may be, and how many bytes of their
//! request heads. Whoever connects faster than its rate is refused; otherwise the oldest makes way, so that whoever comes
//! is let in however many others have connected and say nothing, or say it slowly.

use std::collections::VecDeque;

use super::timers::Deadline;
use super::{Home, HomeEffects};
use crate::base::ids::ConnId;
use crate::base::limits::{CLOSE_TIMEOUT_MS, HALF_OPEN_MAX, HEAD_TIMEOUT_MS, HEADS_BYTES_MAX};
use crate::engine::hop::{ConnectRefusal, Hop, ToLimiter, TooOften};
use crate::engine::limiter::core_of_address;
use crate::engine::session::Phase;

impl Home {
    /// Counts a socket for the rate of its address, once that is known: a proxy's own address is not its clients', and
    /// theirs are counted when the proxy has named them. Whether the socket stays, as far as that is known already.
    pub(super) fn count_connect(&mut self, slot: u32, effects: &mut HomeEffects<'_>) -> bool {
        let address = self.peers.get(slot);
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
            // A full lane has other worries: the number of sockets is bounded all the same.
            let _ = effects.outbound.try_post(core, Hop::ToLimiter(ToLimiter::Connected { conn, address }));
        }
        self.sessions.at(slot).phase == Phase::Head
    }

    /// A connection is over the rate of its address.
    pub(super) fn connects_too_often(&mut self, conn: ConnId, too_often: TooOften, effects: &mut HomeEffects<'_>) {
        let TooOften { retry_after_ms, is_answered } = too_often;
        let slot = conn.slot;
        let session = self.sessions.at(slot);
        if session.generation != conn.generation || session.phase != Phase::Head {
            return;
        }
        if self.is_waiting(conn) {
            self.connect_refused(conn, ConnectRefusal::AddressRate { retry_after_ms }, effects);
        } else if is_answered {
            self.too_often.insert(slot, retry_after_ms);
        } else {
            effects.counters.refused_limit.add(1);
            self.note_refusal(slot, 0, "rate_limited", effects);
            self.close_socket(slot, effects);
        }
    }

    /// When the address of a connection that is over its rate may come back, milliseconds.
    pub(super) fn is_too_often(&self, slot: u32) -> Option<u64> {
        self.too_often.get(&slot).copied()
    }

    /// The connection has been told, or has gone.
    pub(super) fn forget_too_often(&mut self, slot: u32) {
        if !self.too_often.is_empty() {
            self.too_often.remove(&slot);
        }
    }

    /// A socket has come, whose head is not awaited yet: the oldest of those that are no WebSocket goes where they have
    /// become too many, and the oldest that is no open WebSocket where the last slots are near. Half of the slots beside
    /// those for connections are kept free.
    pub(super) fn make_way(&mut self, effects: &mut HomeEffects<'_>) {
        self.forget_met_deadlines();
        if self.sockets - self.websockets > HALF_OPEN_MAX {
            self.close_oldest(false, effects);
        }
        let spare = self.settings.sockets_max.saturating_sub(self.settings.max_connections_per_core);
        if self.sockets > self.settings.sockets_max - spare / 2 {
            self.close_oldest(true, effects);
        }
    }

    /// The parts of request heads together are bounded too: the oldest go.
    pub(super) fn bound_heads(&mut self, effects: &mut HomeEffects<'_>) {
        while self.heads_bytes > HEADS_BYTES_MAX && self.close_oldest_head(effects) {}
    }

    /// Whoever has kept its request waiting longest, or has been told to go and has not gone since before that; with
    /// `websockets` also those that were open before they were told.
    fn close_oldest(&mut self, websockets: bool, effects: &mut HomeEffects<'_>) {
        let timers = &mut self.timers;
        let asked_ms = timers.heads.front().map(|(deadline, ..)| deadline - HEAD_TIMEOUT_MS);
        let ends_ms = |queue: &VecDeque<Deadline>| queue.front().map_or(u64::MAX, |(deadline, ..)| *deadline);
        let is_of_websocket = websockets && ends_ms(&timers.closes) < ends_ms(&timers.lingers);
        let told = if is_of_websocket { &mut timers.closes } else { &mut timers.lingers };
        let told_ms = told.front().map(|(deadline, ..)| deadline - CLOSE_TIMEOUT_MS);
        if told_ms.is_some_and(|told_ms| asked_ms.is_none_or(|asked_ms| told_ms < asked_ms)) {
            let (_, slot, generation) = told.pop_front().expect("it has a front");
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
