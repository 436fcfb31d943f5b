//! Answers pings, and hears the answers to the server's own. A connection that takes what it is sent gets a pong for each
//! ping; of one that does not, only the latest ping is remembered (RFC 6455 section 5.5.3), so pings cost no memory however
//! many arrive. Never pings anybody.

use super::state::pongs::Pinged;
use super::{Home, HomeEffects};
use crate::base::limits::{PONG_BYTES, PONGS_PER_TURN_MAX};
use crate::engine::session::{Marks, Phase};
use crate::engine::table;
use crate::wire::frame::{Opcode, server_frame};

/// Capacity that the list of a turn's pings keeps.
const HEARD_KEPT: usize = 256;

impl Home {
    /// A client has sent a ping.
    pub(super) fn hear_ping(&mut self, slot: u32, payload: &[u8], effects: &mut HomeEffects<'_>) {
        if !self.control_keeps_pace(slot, effects) {
            return;
        }
        let is_sending = self.outboxes.is_sending(slot);
        let pinged = self.pongs.by_slot.entry(slot).or_insert_with(|| {
            effects.budget.charge(PONG_BYTES);
            Pinged::default()
        });
        if pinged.answered == 0 && pinged.latest.is_none() {
            self.pongs.heard.push(slot);
        }
        if is_sending || pinged.answered >= PONGS_PER_TURN_MAX {
            pinged.latest = Some(payload.into());
        } else {
            pinged.answered += 1;
            self.say(slot, server_frame(Opcode::Pong, payload), effects);
        }
    }

    /// Ends a turn: answers the latest pings where no send is under way.
    pub(super) fn put_pongs(&mut self, effects: &mut HomeEffects<'_>) {
        let mut heard = std::mem::take(&mut self.pongs.heard);
        for slot in heard.drain(..) {
            if !self.outboxes.is_sending(slot) {
                self.put_pong(slot, effects);
            }
        }
        heard.shrink_to(HEARD_KEPT);
        self.pongs.heard = heard;
    }

    /// Answers the latest ping of a connection for which no send is under way.
    pub(super) fn put_pong(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        if let Some(payload) = self.forget_pong(slot, effects)
            && matches!(self.sessions.at(slot).phase, Phase::Greeting | Phase::Open)
        {
            self.say(slot, server_frame(Opcode::Pong, &payload), effects);
        }
    }

    /// Forgets the pings of a connection; returns the payload of the latest unanswered one.
    pub(super) fn forget_pong(&mut self, slot: u32, effects: &mut HomeEffects<'_>) -> Option<Box<[u8]>> {
        let by_slot = &mut self.pongs.by_slot;
        if by_slot.is_empty() {
            return None;
        }
        let pinged = by_slot.remove(&slot)?;
        effects.budget.release(PONG_BYTES);
        table::shrink(by_slot);
        pinged.latest
    }

    /// A client has sent a pong. The answer to the server's latest ping is free; any other counts as a command.
    pub(super) fn hear_any_pong(&mut self, slot: u32, payload: &[u8], effects: &mut HomeEffects<'_>) {
        if self.sessions.at_mut(slot).marks.take(Marks::PINGED) || self.control_keeps_pace(slot, effects) {
            self.hear_pong(slot, payload, effects);
        }
    }

    /// Notes the round-trip time, if a pong answers one of this server's pings.
    fn hear_pong(&mut self, slot: u32, payload: &[u8], effects: &HomeEffects<'_>) {
        let Ok(sent_us) = payload.try_into().map(u64::from_le_bytes) else { return };
        if let Some(round_trip_us) = effects.now.mono_us.checked_sub(sent_us)
            && round_trip_us <= self.settings.heartbeat_timeout_ms * 1_000
        {
            effects.counters.round_trip.record(round_trip_us, 1);
            self.sessions.at_mut(slot).round_trip_us = round_trip_us.clamp(1, u64::from(u32::MAX)) as u32;
        }
    }
}
