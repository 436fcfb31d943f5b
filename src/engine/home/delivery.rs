//! What rooms' owners send to all members of a room on this core.
//!
//! The publications of one turn are put into the outboxes together, as one run: a member's outbox is touched once a turn,
//! however many publications there are. Anything else about the room puts what is pending there first, so that every
//! connection sees the room's stream in order.

use bytes::{BufMut, Bytes, BytesMut};

use super::hops::Joined;
use super::{Home, HomeEffects, pack};
use crate::base::ids::{ConnId, RoomName, Seq};
use crate::base::limits::{SEND_BYTES_MAX, SEND_FRAMES_MAX};
use crate::engine::audience::Pending;
use crate::engine::outbox::{Outgoing, Role};
use crate::engine::settings::SlowPolicy;
use crate::wire::command::ReplyTo;
use crate::wire::frame::count_messages;
use crate::wire::publication::Frames;
use crate::wire::reading::{Reading, Variants};
use crate::wire::reply::encode_reply;

impl Home {
    pub(super) fn deliver(
        &mut self,
        room: &RoomName,
        pending: Pending,
        except: Option<ConnId>,
        effects: &mut HomeEffects<'_>,
    ) {
        let Some(index) = self.audiences.find(room) else { return };
        let audience = self.audiences.at_mut(index);
        let seq = pending.publication.seq;
        if let Some(last) = audience.last_seq.replace(seq) {
            // Lanes lose nothing and the owner tells every hole: anything else is a fault of the server's own, and
            // wrong data must not be served.
            assert_eq!(seq, last + 1, "message out of order in {room}");
        }
        let bytes = pending.publication.bytes();
        let is_full = audience.pending.len() >= SEND_FRAMES_MAX || audience.pending_bytes + bytes > SEND_BYTES_MAX;
        let except = self.spared(except);
        if except.is_some() || is_full {
            self.put_pending(index, effects);
            // Closing a slow member may have ended the audience.
            if self.audiences.find(room) != Some(index) {
                return;
            }
        }
        if except.is_some() {
            return self.put(index, &[pending], except, effects);
        }
        let audience = self.audiences.at_mut(index);
        if audience.pending.is_empty() {
            self.pending.push((index, audience.stream));
        }
        audience.pending.push(pending);
        audience.pending_bytes += bytes;
    }

    /// Puts everything that is pending into the outboxes.
    pub(super) fn put_all_pending(&mut self, effects: &mut HomeEffects<'_>) {
        let mut pending = std::mem::take(&mut self.pending);
        for (index, stream) in pending.drain(..) {
            if self.audiences.is_at(index, stream) {
                self.put_pending(index, effects);
            }
        }
        self.pending = pending;
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
    fn put(&mut self, index: u32, run: &[Pending], except: Option<u32>, effects: &mut HomeEffects<'_>) {
        self.outboxes.set_short_of_memory(effects.budget.is_over());
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
            let role = Role::Messages { stream, from: first, to: last };
            let outgoing = Outgoing { bytes: run_bytes(run, &room, reading), messages: run.len() as u32, role };
            let mut full = std::mem::take(&mut self.full);
            queued += u64::from(self.outboxes.push_all(members, except, outgoing, &mut full, effects.budget));
            for slot in full.drain(..) {
                queued += u64::from(self.put_by_one(slot, (stream, &room), run, reading, policy, effects));
            }
            self.full = full;
        }
        effects.counters.deliveries.add(queued * run.len() as u64);
        if !self.traced.is_empty() {
            self.count_traced(stream, first..=last, queued);
        }
        if queued > 0 {
            self.delivered.extend(run.iter().map(|pending| (pending.arrived_us, queued)));
        }
    }

    /// Puts a run into an outbox that has no room for all of it, message by message, by the room's policy. Returns
    /// whether the connection is still there.
    fn put_by_one(
        &mut self,
        slot: u32,
        (stream, room): (u32, &RoomName),
        run: &[Pending],
        reading: Reading,
        policy: SlowPolicy,
        effects: &mut HomeEffects<'_>,
    ) -> bool {
        for pending in run {
            let (seq, bytes) = (pending.publication.seq, pending.frame(room, reading));
            if !self.outboxes.is_full_for(slot, bytes.len()) {
                self.outboxes.push(slot, Outgoing::message(stream, seq, bytes), effects.budget);
                continue;
            }
            let latest = match policy {
                SlowPolicy::Disconnect => {
                    self.fail_slow(slot, room, effects);
                    return false;
                }
                SlowPolicy::Skip => false,
                SlowPolicy::Latest => true,
            };
            let dropped = self.outboxes.push_dropping(slot, (stream, room, seq), bytes, latest, effects.budget);
            effects.counters.dropped_slow.add(dropped);
        }
        true
    }

    /// Makes room for a reply of `bytes` in a full outbox, as far as what fills it are messages that their rooms' policies
    /// let go of: in such rooms nobody is closed for messages that he has not read.
    pub(super) fn make_room(&mut self, slot: u32, bytes: usize, effects: &mut HomeEffects<'_>) {
        let Self { audiences, outboxes, sessions, .. } = self;
        for membership in &sessions.at(slot).memberships {
            let audience = audiences.at(membership.audience);
            let latest = match audience.slow_policy {
                SlowPolicy::Disconnect => continue,
                SlowPolicy::Skip => false,
                SlowPolicy::Latest => true,
            };
            let room = (audience.stream, &audience.room);
            effects.counters.dropped_slow.add(outboxes.make_room(slot, room, bytes, latest, effects.budget));
            if !outboxes.is_full_for(slot, bytes) {
                return;
            }
        }
    }

    /// A publication without a number: a member who has no room for it does not get it, unless slow members are closed.
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
        self.outboxes.set_short_of_memory(effects.budget.is_over());
        let audience = self.audiences.at(index);
        let (policy, readings) = (audience.slow_policy, audience.readings());
        let except = self.spared(except);
        for reading in readings {
            // Closing a slow member may have ended the audience.
            if self.audiences.find(room) != Some(index) {
                break;
            }
            let members = self.audiences.at(index).members(reading);
            let packed = variants.and_then(|variants| variants.get(reading));
            let Some(bytes) = packed.or_else(|| frames.get(reading.form())) else { continue };
            if members.is_empty() {
                continue;
            }
            let outgoing = Outgoing { bytes: bytes.clone(), messages: count_messages(bytes), role: Role::Other };
            let mut full = std::mem::take(&mut self.full);
            queued += u64::from(self.outboxes.push_all(members, except, outgoing, &mut full, effects.budget));
            for slot in full.drain(..) {
                if policy == SlowPolicy::Disconnect {
                    self.fail_slow(slot, room, effects);
                } else {
                    effects.counters.dropped_slow.add(1);
                }
            }
            self.full = full;
        }
        effects.counters.deliveries.add(queued);
    }

    pub(super) fn gap(&mut self, room: &RoomName, from: Seq, to: Seq, effects: &mut HomeEffects<'_>) {
        let Some(index) = self.audiences.find(room) else { return };
        self.put_pending(index, effects);
        let Some(index) = self.audiences.find(room) else { return };
        self.audiences.at_mut(index).last_seq = Some(to);
        let audience = self.audiences.at(index);
        for reading in audience.readings() {
            for &slot in audience.members(reading) {
                self.outboxes.push_gap(slot, audience.stream, room, from, to);
            }
        }
    }

    pub(super) fn new_epoch(&mut self, joined: &Joined<'_>, effects: &mut HomeEffects<'_>) {
        let Some(index) = self.audiences.find(joined.room) else { return };
        self.put_pending(index, effects);
        let Some(index) = self.audiences.find(joined.room) else { return };
        let audience = self.audiences.at_mut(index);
        audience.last_seq = Some(joined.head.seq);
        let role = Role::Start { stream: audience.stream };
        let readings = audience.readings();
        for reading in readings {
            // Closing a slow member may have ended the audience.
            if self.audiences.find(joined.room) != Some(index) {
                break;
            }
            let members = self.audiences.at(index).members(reading);
            if members.is_empty() {
                continue;
            }
            let bytes = encode_reply(&joined.reply(), ReplyTo { id: None, form: reading.form() });
            let bytes = pack(reading, bytes, effects);
            let outgoing = Outgoing { messages: count_messages(&bytes), bytes, role };
            let mut full = std::mem::take(&mut self.full);
            self.outboxes.push_all(members, None, outgoing, &mut full, effects.budget);
            for slot in full.drain(..) {
                // Without it the connection would take the new numbering for the old one, whatever the policy.
                self.fail_slow(slot, joined.room, effects);
            }
            self.full = full;
        }
    }

    /// The slot of a connection that asked to be spared, if it is here.
    fn spared(&self, except: Option<ConnId>) -> Option<u32> {
        except.filter(|conn| conn.home == self.core && self.session_of(*conn).is_some()).map(|conn| conn.slot)
    }
}

/// A run as finished frames for one way of reading: the shared frame itself if it is one, else all of them in one buffer.
fn run_bytes(run: &[Pending], room: &RoomName, reading: Reading) -> Bytes {
    if let [pending] = run {
        return pending.frame(room, reading);
    }
    let frames = || run.iter().map(|pending| pending.frame(room, reading));
    let mut bytes = BytesMut::with_capacity(frames().map(|frame| frame.len()).sum());
    frames().for_each(|frame| bytes.put(frame));
    bytes.freeze()
}
