//! Tells one connection something: replies, refusals and pushes of its own. Never sends to a whole room.

use bytes::Bytes;

use super::{Home, HomeEffects};
use crate::base::codes::ErrorCode;
use crate::base::counters::CoreCounters;
use crate::base::ids::RoomName;
use crate::engine::outbox::{Outgoing, Role};
use crate::engine::packer::Packer;
use crate::wire::encode::encode_reply;
use crate::wire::frame::count_messages;
use crate::wire::protocol::{Reply, ReplyTo};
use crate::wire::reading::Reading;

impl Home {
    /// Queues a frame for one connection. A connection that does not read its replies is a slow consumer.
    pub(super) fn say(&mut self, slot: u32, bytes: Bytes, effects: &mut HomeEffects<'_>) {
        self.say_of(slot, None, bytes, effects);
    }

    /// The same for the `welcome`, which is sent even if everything behind it is dropped.
    pub(super) fn say_welcome(&mut self, slot: u32, bytes: Bytes, effects: &mut HomeEffects<'_>) {
        let outgoing = self.outgoing(slot, Role::Opening, bytes, effects);
        self.outboxes.push(slot, outgoing, effects.budget);
    }

    fn outgoing(&self, slot: u32, role: Role, bytes: Bytes, effects: &mut HomeEffects<'_>) -> Outgoing {
        let bytes = match self.sessions.at(slot).reading {
            Some(reading) => pack(reading, bytes, effects),
            None => bytes,
        };
        *effects.said_bytes += bytes.len();
        Outgoing { messages: count_messages(&bytes), bytes, role }
    }

    /// The same for a frame about a room: it goes after everything that the room has sent before.
    pub(super) fn say_of(&mut self, slot: u32, room: Option<&RoomName>, bytes: Bytes, effects: &mut HomeEffects<'_>) {
        let outgoing = self.outgoing(slot, Role::Other, bytes, effects);
        match room.filter(|room| self.outboxes.is_behind(slot, room)) {
            None => self.outboxes.push(slot, outgoing, effects.budget),
            Some(room) => {
                let frame = self.outboxes.add(outgoing, effects.budget);
                self.outboxes.hold(slot, self.source_of(room), frame, effects.budget);
                self.outboxes.release(frame, effects.budget);
            }
        }
        self.bound_replies(slot, effects);
    }

    pub(super) fn reply(&mut self, slot: u32, reply: &Reply<'_>, to: ReplyTo, effects: &mut HomeEffects<'_>) {
        if to.wants_reply() {
            self.say(slot, encode_reply(reply, to), effects);
        }
    }

    pub(super) fn refuse(
        &mut self,
        slot: u32,
        code: ErrorCode,
        message: &str,
        to: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) {
        self.refuse_until(slot, (code, message), None, to, effects);
    }

    /// Refuses a command, and says after how many milliseconds to retry.
    pub(super) fn refuse_until(
        &mut self,
        slot: u32,
        (code, message): (ErrorCode, &str),
        retry_after_ms: Option<u64>,
        to: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) {
        self.refuse_of(slot, None, (code, message, retry_after_ms), to, effects);
    }

    /// The same after everything that a room has sent before.
    pub(super) fn refuse_of(
        &mut self,
        slot: u32,
        room: Option<&RoomName>,
        (code, message, retry_after_ms): (ErrorCode, &str, Option<u64>),
        to: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) {
        effects.counters.errors.add(1);
        effects.counters.causes.command_refused(code);
        let error = Reply::Error { code, message, retry_after_ms };
        self.say_of(slot, room, encode_reply(&error, to), effects);
        if code == ErrorCode::RateLimited {
            self.note_rate_refusal(slot, effects);
        }
    }
}

/// Finished frames as a connection with this reading gets them: compressed, if it reads compressed frames.
pub(super) fn pack(reading: Reading, bytes: Bytes, effects: &mut HomeEffects<'_>) -> Bytes {
    pack_with(effects.packer, reading, bytes, effects.counters)
}

pub(super) fn pack_with(packer: &mut Packer, reading: Reading, bytes: Bytes, counters: &CoreCounters) -> Bytes {
    let Some(window) = reading.window() else { return bytes };
    packer.pack(window, &bytes, counters).unwrap_or(bytes)
}
