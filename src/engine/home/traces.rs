//! Sampled publishes at a home: where one comes in, and where one goes out to the members here. What is not sampled comes
//! by without a look.

use std::ops::RangeInclusive;

use super::state::turn::Traced;
use super::{Home, HomeEffects};
use crate::base::ids::{RoomName, Seq};
use crate::base::limits::SPANS_PER_TURN_MAX;
use crate::engine::trace::{Mark, Span, Stage};

impl Home {
    /// Whether a publish of this connection is sampled: if so, it is told that it was received.
    pub(super) fn sample(
        &mut self,
        slot: u32,
        room: &RoomName,
        bytes: usize,
        effects: &mut HomeEffects<'_>,
    ) -> Option<Mark> {
        let mark = Mark::draw(self.settings.trace_sample, &mut self.random)?;
        let session = self.sessions.at(slot);
        let user = session.user.clone().expect("an open connection has a user");
        let stage = Stage::Received { conn: session.id(self.core, slot), user, bytes };
        let (room, now_us) = (room.clone(), effects.now.mono_us);
        let span = Span { mark, arrived_us: now_us, core: self.core, room, stage, began_us: now_us, ended_us: 0 };
        span.tell(&mut effects.output.spans, effects.counters);
        Some(mark)
    }

    /// A sampled publication has come for the members here.
    pub(super) fn note_traced(
        &mut self,
        (mark, arrived_us): (Mark, u64),
        room: &RoomName,
        seq: Seq,
        effects: &HomeEffects<'_>,
    ) {
        // Each is looked at for every publication of the turn.
        if self.turn.traced.len() >= SPANS_PER_TURN_MAX {
            return effects.counters.spans_dropped.add(1);
        }
        let Some(index) = self.audiences.find(room) else { return };
        let stream = self.audiences.at(index).stream;
        let began_us = effects.now.mono_us;
        let room = room.clone();
        self.turn.traced.push(Traced { mark, room, stream, seq, arrived_us, began_us, deliveries: 0 });
    }

    /// Publications of a room have been put into so many outboxes.
    pub(super) fn count_traced(&mut self, stream: u32, seqs: RangeInclusive<Seq>, queued: u64) {
        for traced in &mut self.turn.traced {
            if traced.stream == stream && seqs.contains(&traced.seq) {
                traced.deliveries += queued;
            }
        }
    }

    /// What came in this turn has gone out.
    pub(super) fn tell_traced(&mut self, effects: &mut HomeEffects<'_>) {
        for Traced { mark, room, seq, arrived_us, began_us, deliveries, .. } in self.turn.traced.drain(..) {
            let stage = Stage::Flushed { seq, deliveries };
            let span = Span { mark, arrived_us, core: self.core, room, stage, began_us, ended_us: 0 };
            span.tell(&mut effects.output.spans, effects.counters);
        }
    }
}
