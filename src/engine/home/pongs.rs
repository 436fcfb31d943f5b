//! Pings of clients and their answers. A connection that takes what it is sent gets a pong for each ping; while it does
//! not, only its latest ping is remembered (RFC 6455 section 5.5.3), so that pings cost no memory however many come.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{Home, HomeEffects};
use crate::base::limits::{PONG_BYTES, PONGS_PER_TURN_MAX};
use crate::engine::session::{Marks, Phase};
use crate::engine::table;
use crate::wire::frame::{Opcode, server_frame};

/// Places that the list of a turn's pings keeps.
const HEARD_KEPT: usize = 256;

/// Connections that have sent pings in this turn, or whose latest ping waits for a send to end.
#[derive(Debug, Default)]
pub(super) struct Pongs {
    by_slot: HashMap<u32, Pinged, FixedState>,
    /// Slots that have sent a ping in this turn.
    heard: Vec<u32>,
}

#[derive(Debug, Default)]
struct Pinged {
    /// Pongs queued in this turn.
    answered: u8,
    /// The payload of the latest ping that is not answered.
    latest: Option<Box<[u8]>>,
}

impl Home {
    /// A client asks for a pong.
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

    /// Ends a turn: what may be answered is.
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

    /// Forgets the pings of a connection; gives the payload of the latest that is not answered.
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

    /// A pong. The answer to the server's latest ping is free; any other counts as a command.
    pub(super) fn hear_any_pong(&mut self, slot: u32, payload: &[u8], effects: &mut HomeEffects<'_>) {
        if self.sessions.at_mut(slot).marks.take(Marks::PINGED) || self.control_keeps_pace(slot, effects) {
            self.hear_pong(slot, payload, effects);
        }
    }

    /// A pong that answers one of this server's pings tells the round-trip time.
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
