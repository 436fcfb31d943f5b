//! What rooms' owners send to all members of a room on this core.
//!
//! The publications of one turn are put into the outboxes together, as one run: a member's outbox is touched once a turn,
//! however many publications there are. Anything else about the room puts what is pending there first, so that every
//! connection sees the room's stream in order.

use bytes::{BufMut, Bytes, BytesMut};

use super::hops::Joined;
use super::replies::pack;
use super::{Home, HomeEffects};
use crate::base::codes::CloseCode;
use crate::base::ids::{ConnId, RoomName, Seq};
use crate::base::limits::{JOINED_BYTES_MAX, SEND_BYTES_MAX, SEND_FRAMES_MAX};
use crate::engine::hop::Delivery;
use crate::engine::outbox::{Outgoing, Role, Source};
use crate::engine::settings::SlowPolicy;
use crate::wire::encode::encode_reply;
use crate::wire::form::{Form, Frames};
use crate::wire::frame::count_messages;
use crate::wire::protocol::ReplyTo;
use crate::wire::reading::{Reading, Variants};

impl Home {
    pub(super) fn deliver(&mut self, room: &RoomName, delivery: Delivery, effects: &mut HomeEffects<'_>) {
        let Some(index) = self.audiences.find(room) else { return };
        let audience = self.audiences.at_mut(index);
        let seq = delivery.publication.seq;
        if let Some(last) = audience.last_seq.replace(seq) {
            // Lanes lose nothing and the owner tells every hole: anything else is a fault of the server's own, and
            // wrong data must not be served.
            assert_eq!(seq, last + 1, "message out of order in {room}");
        }
        let bytes = delivery.publication.bytes();
        let is_full = audience.pending.len() >= SEND_FRAMES_MAX || audience.pending_bytes + bytes > SEND_BYTES_MAX;
        let except = self.spared(delivery.publication.except);
        if except.is_some() || is_full {
            self.put_pending(index, effects);
            // Closing a slow member may have ended the audience.
            if self.audiences.find(room) != Some(index) {
                return;
            }
        }
        if except.is_some() {
            return self.put(index, &[delivery], except, effects);
        }
        let audience = self.audiences.at_mut(index);
        if audience.pending.is_empty() {
            self.turn.pending.push((index, audience.stream));
        }
        audience.pending.push(delivery);
        audience.pending_bytes += bytes;
    }

    /// Puts everything that is pending into the outboxes.
    pub(super) fn put_all_pending(&mut self, effects: &mut HomeEffects<'_>) {
        let mut pending = std::mem::take(&mut self.turn.pending);
        for (index, stream) in pending.drain(..) {
            if self.audiences.is_at(index, stream) {
                self.put_pending(index, effects);
            }
        }
        self.turn.pending = pending;
    }

    /// Puts what is pending for one room into its members' outboxes.
    pub(super) fn put_pending(&mut self, index: u32, effects: &mut HomeEffects<'_>) {
        let audience = self.audiences.at_mut(index);
        if audience.pending.is_empty() {
            return;
        }
        let stream = audience.stream;
        let mut run = std::mem::take(&mut audience.pending);
        audience.pending_bytes = 0;
        self.put(index, &run, None, effects);
        run.clear();
        // Closing a slow member may have ended the audience.
        if self.audiences.is_at(index, stream) {
            self.audiences.at_mut(index).pending = run;
        }
    }

    /// Puts a run of publications, at least one, into the outboxes of a room's members.
    fn put(&mut self, index: u32, run: &[Delivery], except: Option<u32>, effects: &mut HomeEffects<'_>) {
        let audience = self.audiences.at(index);
        let (stream, policy, room) = (audience.stream, audience.slow_policy, audience.room.clone());
        let readings = audience.readings();
        let (first, last) = (run[0].publication.seq, run[run.len() - 1].publication.seq);
        let mut queued = 0;
        for reading in readings {
            // Closing a slow member may have ended the audience.
            if !self.audiences.is_at(index, stream) {
                break;
            }
            let members = self.audiences.at(index).members(reading);
            if members.is_empty() {
                continue;
            }
            let frame = self.outboxes.add(outgoing(run, &room, reading), effects.budget);
            let mut behind = std::mem::take(&mut self.turn.lagging);
            queued += u64::from(self.outboxes.push_all(members, except, frame, &mut behind, effects.budget));
            if !behind.is_empty() {
                let source = Source { room: &room, policy };
                queued += self.put_behind(&behind, source, frame, (run, reading), effects);
                behind.clear();
            }
            self.turn.lagging = behind;
            self.outboxes.release(frame, effects.budget);
        }
        effects.counters.deliveries.add(queued * run.len() as u64);
        if !self.turn.traced.is_empty() {
            self.count_traced(stream, first..=last, queued);
        }
        if queued > 0 {
            self.turn.delivered.extend(run.iter().map(|pending| (pending.publication.arrived_us, queued)));
        }
    }

    /// Puts a run into the backlogs of members whose queue does not take it. The slow ones among them lose what the
    /// room's policy drops, or are closed. Returns for how many it was queued.
    fn put_behind(
        &mut self,
        behind: &[u32],
        source: Source<'_>,
        frame: u32,
        (run, reading): (&[Delivery], Reading),
        effects: &mut HomeEffects<'_>,
    ) -> u64 {
        // Of a run in a room of `latest` only its last message may be left.
        let split = (source.policy == SlowPolicy::Latest && run.len() > 1).then(|| run.split_at(run.len() - 1));
        let parts = split.map(|(older, newest)| {
            [older, newest].map(|part| self.outboxes.add(outgoing(part, source.room, reading), effects.budget))
        });
        let frames = parts.as_ref().map_or(std::slice::from_ref(&frame), |parts| &parts[..]);
        let near_budget = effects.budget.is_near();
        let mut queued = 0;
        for &slot in behind {
            for &frame in frames {
                self.outboxes.hold(slot, source, frame, effects.budget);
            }
            queued += 1;
            if self.outboxes.is_slow(slot, near_budget) {
                let relief = self.outboxes.relieve(slot, source, effects.budget);
                effects.counters.dropped_slow.add(relief.dropped);
                if relief.is_over && source.policy == SlowPolicy::Disconnect {
                    self.fail_slow(slot, source.room, effects);
                    queued -= 1;
                }
            }
        }
        for frame in parts.into_iter().flatten() {
            self.outboxes.release(frame, effects.budget);
        }
        queued
    }

    /// Closes whoever has not taken in time what was offered and for whom too much waits that may not be dropped.
    pub(super) fn close_slow(&mut self, effects: &mut HomeEffects<'_>) {
        let mut slow = std::mem::take(&mut self.turn.lagging);
        self.outboxes.find_slow(effects.budget.is_near(), &mut slow);
        for slot in slow.drain(..) {
            let relief = self.outboxes.relieve_all(slot, effects.budget);
            effects.counters.dropped_slow.add(relief.dropped);
            if relief.is_over
                && let Some(room) = self.outboxes.undroppable(slot)
            {
                self.fail_slow(slot, &room, effects);
            }
        }
        self.turn.lagging = slow;
    }

    /// Closes one that does not read its replies: where rooms may drop what else waits for it, that goes first.
    pub(super) fn bound_replies(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        if self.outboxes.is_slow(slot, effects.budget.is_near()) {
            let relief = self.outboxes.relieve_all(slot, effects.budget);
            effects.counters.dropped_slow.add(relief.dropped);
            if relief.is_over {
                self.fail(slot, CloseCode::Slow, "does not read its replies", effects);
            }
        }
    }

    /// Frames of a publication without a number. A slow member does not get them, and is not closed for that.
    pub(super) fn push(
        &mut self,
        room: &RoomName,
        (frames, variants): (&Frames, Option<&Variants>),
        except: Option<ConnId>,
        effects: &mut HomeEffects<'_>,
    ) {
        let mut queued = 0;
        let Some(index) = self.audiences.find(room) else { return };
        self.put_pending(index, effects);
        let Some(index) = self.audiences.find(room) else { return };
        let audience = self.audiences.at(index);
        let source = Source { room, policy: audience.slow_policy };
        let except = self.spared(except);
        for reading in audience.readings() {
            let members = audience.members(reading);
            let packed = variants.and_then(|variants| variants.get(reading));
            let Some(bytes) = packed.or_else(|| frames.get(reading.form())) else { continue };
            if members.is_empty() {
                continue;
            }
            let outgoing = Outgoing { bytes: bytes.clone(), messages: count_messages(bytes), role: Role::Loose };
            let frame = self.outboxes.add(outgoing, effects.budget);
            queued += u64::from(self.outboxes.push_all(members, except, frame, &mut self.turn.lagging, effects.budget));
            for slot in self.turn.lagging.drain(..) {
                if self.outboxes.is_slow(slot, effects.budget.is_near()) {
                    effects.counters.dropped_slow.add(1);
                    continue;
                }
                queued += 1;
                if self.outboxes.is_behind(slot, room) {
                    self.outboxes.hold(slot, source, frame, effects.budget);
                } else {
                    self.outboxes.push_frame(slot, frame, effects.budget);
                }
            }
            self.outboxes.release(frame, effects.budget);
        }
        effects.counters.deliveries.add(queued);
    }

    pub(super) fn gap(&mut self, room: &RoomName, from: Seq, to: Seq, effects: &mut HomeEffects<'_>) {
        let Some(index) = self.audiences.find(room) else { return };
        self.put_pending(index, effects);
        let Some(index) = self.audiences.find(room) else { return };
        self.audiences.at_mut(index).last_seq = Some(to);
        let audience = self.audiences.at(index);
        let source = Source { room, policy: audience.slow_policy };
        for reading in audience.readings() {
            for &slot in audience.members(reading) {
                self.outboxes.push_gap(slot, source, (from, to), effects.budget);
            }
        }
    }

    pub(super) fn new_epoch(&mut self, mut joined: Joined<'_>, effects: &mut HomeEffects<'_>) {
        let room = joined.room;
        let Some(index) = self.audiences.find(room) else { return };
        self.put_pending(index, effects);
        let Some(index) = self.audiences.find(room) else { return };
        self.audiences.at_mut(index).last_seq = Some(joined.head.seq);
        let audience = self.audiences.at(index);
        let source = Source { room, policy: audience.slow_policy };
        let rest = joined.split_off(JOINED_BYTES_MAX, Form::Json);
        for reading in audience.readings() {
            let members = audience.members(reading);
            if members.is_empty() {
                continue;
            }
            let bytes = encode_reply(&joined.reply(rest.len()), ReplyTo { id: None, form: reading.form() });
            let bytes = pack(reading, bytes, effects);
            let outgoing = Outgoing { messages: count_messages(&bytes), bytes, role: Role::Other };
            let frame = self.outboxes.add(outgoing, effects.budget);
            self.outboxes.push_all(members, None, frame, &mut self.turn.lagging, effects.budget);
            for slot in self.turn.lagging.drain(..) {
                // Without it the connection would take the new numbering for the old one, whatever the policy.
                self.outboxes.hold(slot, source, frame, effects.budget);
            }
            self.outboxes.release(frame, effects.budget);
            for &slot in members {
                self.outboxes.replay(slot, source, rest.clone(), effects.budget);
            }
        }
    }

    /// A room, for backlogs.
    pub(super) fn source_of<'a>(&self, room: &'a RoomName) -> Source<'a> {
        let policy = match self.audiences.find(room) {
            Some(index) => self.audiences.at(index).slow_policy,
            None => self.settings.room(room).slow_policy,
        };
        Source { room, policy }
    }

    /// The slot of a connection that asked to be spared, if it is here.
    fn spared(&self, except: Option<ConnId>) -> Option<u32> {
        except.filter(|conn| conn.home == self.core && self.session_of(*conn).is_some()).map(|conn| conn.slot)
    }
}

/// A run of publications, to be queued for those who read in one way.
fn outgoing(run: &[Delivery], room: &RoomName, reading: Reading) -> Outgoing {
    Outgoing::messages(run[0].publication.seq, run.len() as u32, run_bytes(run, room, reading))
}

/// A run as finished frames for one way of reading: the shared frame itself if it is one, else all of them in one buffer.
fn run_bytes(run: &[Delivery], room: &RoomName, reading: Reading) -> Bytes {
    if let [pending] = run {
        return pending.frame(room, reading);
    }
    let frames = || run.iter().map(|pending| pending.frame(room, reading));
    let mut bytes = BytesMut::with_capacity(frames().map(|frame| frame.len()).sum());
    frames().for_each(|frame| bytes.put(frame));
    bytes.freeze()
}
