//! Hears what happens to the sockets of this core: accepted, named by a proxy, bytes arrived, a send taken. Passes bytes on by
//! the phase of the connection; never reads them.

use std::net::IpAddr;

use super::{Home, HomeEffects};
use crate::engine::session::{Phase, SEEN_UNIT_MS};

impl Home {
    /// A socket was accepted from `peer`.
    pub fn accepted(&mut self, slot: u32, peer: IpAddr, effects: &mut HomeEffects<'_>) {
        self.sessions.reach(slot);
        self.outboxes.reach(slot);
        let session = self.sessions.at_mut(slot);
        assert_eq!(session.phase, Phase::Free, "io gives a slot out again only after it was closed");
        session.generation = self.slots.accept(slot, peer);
        session.phase = Phase::Head;
        session.note_accepted(effects.now);
        effects.counters.accepted.add(1);
        effects.counters.upgrading.add(1);
        if !self.count_connect(slot, effects) {
            return;
        }
        self.make_way(effects);
        self.lobby.expect_request(effects.now, slot, self.sessions.at(slot).generation);
    }

    /// A proxy has named the client behind a socket.
    pub fn told_peer(&mut self, slot: u32, peer: IpAddr, effects: &mut HomeEffects<'_>) {
        debug_assert_eq!(self.sessions.at(slot).phase, Phase::Head, "before any byte");
        self.slots.set_address(slot, peer);
        self.count_connect(slot, effects);
    }

    /// The address of a slot in use: that of its client where a trusted proxy has named it, otherwise of the socket's peer.
    /// Never an IPv4 address in IPv6's form.
    #[must_use]
    pub fn address(&self, slot: u32) -> IpAddr {
        self.slots.address(slot)
    }

    /// Bytes arrived.
    pub fn received(&mut self, slot: u32, bytes: &mut [u8], effects: &mut HomeEffects<'_>) {
        effects.counters.bytes_received.add(bytes.len() as u64);
        let session = self.sessions.at_mut(slot);
        session.stats.bytes_received += bytes.len() as u64;
        session.last_seen = (effects.now.mono_ms() / SEEN_UNIT_MS) as u32;
        match session.phase {
            Phase::Head => self.receive_head(slot, bytes, effects),
            Phase::Greeting => self.receive_greeting(slot, bytes, effects),
            Phase::Open | Phase::Closing => self.receive_messages(slot, bytes, effects),
            Phase::Ending | Phase::Lingering => {}
            Phase::Free => debug_assert!(false, "bytes for a slot without a socket"),
        }
    }

    /// The kernel has taken the last send.
    pub fn sent(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let is_empty = self.outboxes.sent(slot, effects.budget);
        if !self.outboxes.is_sending(slot) {
            self.put_pong(slot, effects);
        }
        if is_empty {
            self.all_sent(slot, effects);
        }
    }
}
