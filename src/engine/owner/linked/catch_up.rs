//! How a linked room catches up with the link: publications in the order of their seqs, a gap for what the link no longer
//! holds, and a new epoch.

use super::{LinkAnswer, Linked, Question, read_except};
use crate::base::ids::{Epoch, Seq};
use crate::base::limits::PAST_EPOCHS_MAX;
use crate::base::time::Now;
use crate::engine::owner::OwnerEffects;
use crate::engine::owner::stream::{Arrival, Stream};
use crate::engine::record::{Record, Stretch};

impl Linked {
    /// Takes new records from an answer of the same epoch. `is_read`: the answer is to a read, which starts at the room's head
    /// at that time; what it lacks is gone at the link.
    pub(super) fn catch_up(
        &mut self,
        stream: &mut Stream,
        stretch: &Stretch,
        is_read: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        for record in &stretch.records {
            self.take_ahead_until(stream, record.seq, effects);
            if record.seq > stream.history.head() + 1 {
                if !is_read {
                    return;
                }
                stream.skip_to(record.seq - 1, effects);
            }
            if record.seq > stream.history.head() {
                self.accept(stream, record, effects);
            }
        }
        let Some(head) = stretch.head.filter(|_| is_read && stretch.records.is_empty()) else { return };
        self.take_ahead_until(stream, head.seq, effects);
        if head.seq > stream.history.head() {
            stream.skip_to(head.seq, effects);
        }
    }

    /// Enters another epoch.
    pub(super) fn go_over(&mut self, stream: &mut Stream, stretch: &Stretch, effects: &mut OwnerEffects<'_>) {
        if self.past.len() == PAST_EPOCHS_MAX {
            self.past.remove(0);
        }
        self.past.push(stream.epoch);
        stream.renumber(stretch, effects);
        self.begin(stream);
    }

    /// Forgets publications that connections expect in other epochs: they will not come.
    pub(super) fn forget_others(&mut self, epoch: Epoch) {
        for own in self.own.values_mut() {
            own.last.take_if(|last| last.epoch != epoch);
        }
    }

    /// The room now equals the link's answer.
    pub(super) fn begin(&mut self, stream: &Stream) {
        self.forget_others(stream.epoch);
        self.ahead.settle_on(stream.epoch);
        self.known = stream.history.head().max(self.ahead.last_of(stream.epoch).unwrap_or(0));
        self.acknowledged = 0;
    }

    /// Takes over the presence on other machines, if the answer has it.
    pub(super) fn take_present(&mut self, stream: &mut Stream, answer: &LinkAnswer, now: Now) {
        let (Some(presence), Some(present)) = (&mut stream.presence, &answer.present) else { return };
        self.reread_ms = None;
        if presence.replace_others(present, stream.settings.presence_grace_ms, now.mono_ms()) {
            self.reread_soon(now);
        }
    }

    pub(super) fn accept(&mut self, stream: &mut Stream, record: &Record, effects: &mut OwnerEffects<'_>) {
        let except = record.except.as_deref().and_then(|except| read_except(except, effects.node));
        stream.accept(record, except, Arrival::now(effects.now), effects);
        if self.acknowledged <= record.seq {
            self.check_later(effects.now);
        }
    }

    /// Delivers what was held back and is due now, and reads what is still missing.
    pub(super) fn take_ahead(&mut self, stream: &mut Stream, effects: &mut OwnerEffects<'_>) {
        self.take_ahead_until(stream, Seq::MAX, effects);
        if self.known > stream.history.head() {
            self.ask(Question::Read, stream, effects);
        }
    }

    /// Delivers what was held back below `end`, in order, until a seq is missing.
    pub(super) fn take_ahead_until(&mut self, stream: &mut Stream, end: Seq, effects: &mut OwnerEffects<'_>) {
        loop {
            let next = stream.history.head() + 1;
            if next >= end {
                return;
            }
            let Some(record) = self.ahead.take(stream.epoch, next) else { return };
            self.known = self.known.max(record.seq);
            self.accept(stream, &record, effects);
        }
    }
}
