//! Ends a turn: hands out the sends that it has queued, one for each connection that has something to say. Never queues a
//! delivery itself.

use bytes::Bytes;

use super::replies::pack_with;
use super::{Home, HomeEffects};
use crate::base::counters::CoreCounters;
use crate::base::ids::{RoomName, Seq};
use crate::base::limits::SENDS_PER_TURN_MAX;
use crate::engine::outbox::Encoder;
use crate::engine::packer::Packer;
use crate::engine::session::{Phase, Session};
use crate::engine::table::Table;
use crate::wire::encode::encode_push;
use crate::wire::protocol::Push;
use crate::wire::publication::Publication;
use crate::wire::reading::Reading;

impl Home {
    /// Hands out the turn's sends. Returns whether more wait than fit in one turn.
    pub fn flush(&mut self, effects: &mut HomeEffects<'_>) -> bool {
        self.put_all_pending(effects);
        self.put_pongs(effects);
        self.shed(effects);
        self.tell_traced(effects);
        if self.outboxes.has_dirty() {
            let Self { outboxes, sessions, .. } = self;
            let HomeEffects { budget, counters, packer, output, .. } = effects;
            let mut encoder = LateEncoder { sessions, packer, counters };
            let mut flushed = std::mem::take(&mut self.turn.flushed);
            let sends = &mut output.sends;
            let before = sends.len();
            outboxes.flush(sends, budget, counters, &mut encoder, &mut |handed| flushed.push(handed));
            for (handed, send) in flushed.drain(..).zip(&mut sends[before..]) {
                let session = sessions.at_mut(handed.slot);
                let ends = matches!(session.phase, Phase::Ending | Phase::Lingering);
                send.is_last = ends && !outboxes.has_queued(handed.slot);
                session.stats.messages_sent = session.stats.messages_sent.wrapping_add(handed.messages);
                session.stats.bytes_sent += u64::from(handed.bytes);
            }
            self.turn.flushed = flushed;
        }
        let more = self.outboxes.has_dirty();
        if more && self.turn.delivered.len() < SENDS_PER_TURN_MAX {
            return more;
        }
        for (arrived_us, count) in self.turn.delivered.drain(..) {
            effects.counters.publish_to_flush.record(effects.now.mono_us.saturating_sub(arrived_us), count);
        }
        more
    }
}

/// Encodes what is encoded only when it is sent.
struct LateEncoder<'a> {
    sessions: &'a Table<Session>,
    packer: &'a mut Packer,
    counters: &'a CoreCounters,
}

impl LateEncoder<'_> {
    fn reading(&self, slot: u32) -> Reading {
        self.sessions.at(slot).reading.expect("only connections that were open are members")
    }
}

impl Encoder for LateEncoder<'_> {
    fn gap(&mut self, slot: u32, room: &RoomName, from: Seq, to: Seq) -> Bytes {
        encode_push(&Push::Gap { room, from, to }, self.reading(slot).form())
    }

    fn message(&mut self, slot: u32, room: &RoomName, message: &Publication) -> Bytes {
        let reading = self.reading(slot);
        pack_with(self.packer, reading, message.frame(room, reading.form()), self.counters)
    }
}
