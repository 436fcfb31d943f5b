//! How a connection ends: closing handshakes (RFC 6455 section 7), failures, resets. Whatever the way, it leaves its rooms
//! at once, is counted once, and its slot is closed exactly once.

use super::{Home, HomeEffects};
use crate::base::causes::End;
use crate::base::codes::CloseCode;
use crate::base::ids::RoomName;
use crate::engine::hop::ToOwner;
use crate::engine::outbox::{Outgoing, Role};
use crate::engine::output::{Ended, Refused};
use crate::engine::session::{NOWHERE, Phase, Session};
use crate::wire::frame::{Opcode, close_frame, server_frame};
use crate::wire::message::ProtocolError;

impl Home {
    /// The peer ended its stream, or the socket failed.
    pub fn disconnected(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        if self.sessions.at(slot).phase == Phase::Open {
            self.end_session(slot, End::Lost, "connection lost", effects);
        }
        self.close_socket(slot, effects);
    }

    /// The client sent a close frame: it is answered with the same status, then the server closes first.
    pub(super) fn close_asked(&mut self, slot: u32, status: Option<(u16, &str)>, effects: &mut HomeEffects<'_>) {
        self.end_session(slot, End::Client, "closed by the client", effects);
        self.outboxes.drop_backlog(slot, effects.budget);
        let answer = match status {
            Some((code, _)) => close_frame(code, ""),
            None => server_frame(Opcode::Close, &[]),
        };
        self.push_last(slot, answer, effects);
        self.end_after_sending(slot, Phase::Ending, effects);
    }

    /// The server closes: says so and waits for the client's close frame.
    pub(super) fn fail(&mut self, slot: u32, code: CloseCode, cause: &'static str, effects: &mut HomeEffects<'_>) {
        self.fail_saying(slot, code, None, cause, effects);
    }

    /// The same with other words in the close frame than the code's own.
    pub(super) fn fail_saying(
        &mut self,
        slot: u32,
        code: CloseCode,
        reason: Option<&str>,
        cause: &'static str,
        effects: &mut HomeEffects<'_>,
    ) {
        if self.sessions.at(slot).phase != Phase::Open {
            return;
        }
        match code {
            CloseCode::Slow => effects.counters.closed_slow.add(1),
            CloseCode::Heartbeat => effects.counters.closed_heartbeat.add(1),
            CloseCode::Overloaded => effects.counters.closed_overloaded.add(1),
            CloseCode::Rate => effects.counters.closed_rate.add(1),
            CloseCode::GoingAway => effects.counters.closed_idle.add(1),
            CloseCode::Token => effects.counters.closed_token.add(1),
            CloseCode::Forbidden => effects.counters.closed_forbidden.add(1),
            _ => {}
        }
        self.end_session(slot, End::Closed(code), cause, effects);
        // What waits for a reader that is too slow would only keep the close frame from it.
        if matches!(code, CloseCode::Slow | CloseCode::Heartbeat) {
            self.outboxes.drop_queued(slot, effects.budget);
        }
        self.push_last(slot, close_frame(code.number(), reason.unwrap_or(code.reason())), effects);
        self.sessions.at_mut(slot).phase = Phase::Closing;
        self.timers.expect_close(effects.now, slot, self.sessions.at(slot).generation);
    }

    /// Closes a member that does not read what a room sends it.
    pub(super) fn fail_slow(&mut self, slot: u32, room: &RoomName, effects: &mut HomeEffects<'_>) {
        let before = effects.output.ended.len();
        self.fail(slot, CloseCode::Slow, "outbox full", effects);
        if let Some(ended) = effects.output.ended.get_mut(before) {
            ended.room = Some(room.clone());
        }
    }

    /// The client broke the protocol: its bytes can no longer be read, so no close frame is awaited.
    pub(super) fn fail_protocol(&mut self, slot: u32, error: ProtocolError, effects: &mut HomeEffects<'_>) {
        if self.sessions.at(slot).phase == Phase::Open {
            effects.counters.closed_protocol.add(1);
            self.end_session(slot, End::Closed(error.code), error.what, effects);
            self.outboxes.drop_backlog(slot, effects.budget);
            self.push_last(slot, close_frame(error.code.number(), error.what), effects);
        }
        self.end_after_sending(slot, Phase::Lingering, effects);
    }

    /// Moves to `Ending` or `Lingering` and goes on as soon as everything queued is sent.
    pub(super) fn end_after_sending(&mut self, slot: u32, phase: Phase, effects: &mut HomeEffects<'_>) {
        let session = self.sessions.at_mut(slot);
        session.phase = phase;
        let generation = session.generation;
        if self.outboxes.is_empty(slot) {
            self.all_sent(slot, effects);
        } else {
            self.timers.expect_close(effects.now, slot, generation);
        }
    }

    /// Everything queued for the connection has been taken by the kernel.
    pub(super) fn all_sent(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        match self.sessions.at(slot).phase {
            Phase::Ending => self.close_socket(slot, effects),
            Phase::Lingering => {
                // Closing with unread bytes would reset the connection and could take back what was just sent.
                effects.output.shutdowns.push(slot);
                self.timers.expect_close(effects.now, slot, self.sessions.at(slot).generation);
            }
            Phase::Free | Phase::Head | Phase::Open | Phase::Closing => {}
        }
    }

    /// What a closing connection waits for has not come.
    pub(super) fn close_expired(&mut self, slot: u32, generation: u32, effects: &mut HomeEffects<'_>) {
        let session = self.sessions.at(slot);
        if session.generation == generation
            && matches!(session.phase, Phase::Closing | Phase::Ending | Phase::Lingering)
        {
            self.close_socket(slot, effects);
        }
    }

    /// The request head has not come.
    pub(super) fn head_expired(&mut self, slot: u32, generation: u32, effects: &mut HomeEffects<'_>) {
        let session = self.sessions.at(slot);
        if session.generation == generation && session.phase == Phase::Head {
            self.note_refusal(slot, 0, "head_timeout", effects);
            self.close_socket(slot, effects);
        }
    }

    /// A request is refused before its WebSocket opens: counted and told by cause.
    pub(super) fn note_refusal(&self, slot: u32, status: u16, cause: &'static str, effects: &mut HomeEffects<'_>) {
        effects.counters.refused.add(1);
        effects.counters.causes.refused(status, cause);
        effects.output.refused.push(Refused { peer: self.address(slot), status, cause });
    }

    /// A connection stops being open: it leaves its rooms and is counted as ended. What it is still told comes after.
    fn end_session(&mut self, slot: u32, end: End, cause: &'static str, effects: &mut HomeEffects<'_>) {
        self.leave_all(slot, effects);
        let user = self.sessions.at(slot).user.clone();
        self.forget_counted(slot, user, effects);
        self.paces.remove(&slot);
        self.forget_token(slot, effects);
        let session = self.sessions.at(slot);
        debug_assert_eq!(session.phase, Phase::Open);
        self.open -= 1;
        effects.counters.connections.sub(1);
        effects.counters.closed.add(1);
        effects.counters.causes.ended(end);
        effects.output.ended.push(Ended {
            conn: session.id(self.core, slot),
            peer: self.peers.get(slot),
            user: session.user.clone().expect("an open connection has a user"),
            code: match end {
                End::Closed(code) => Some(code),
                End::Client | End::Lost => None,
            },
            cause,
            room: None,
            round_trip_us: session.round_trip_us,
            stats: session.stats,
        });
    }

    fn leave_all(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let memberships = std::mem::take(&mut self.sessions.at_mut(slot).memberships);
        for membership in memberships {
            let session = self.sessions.at(slot);
            let away = session.away;
            let audience = self.audiences.at(membership.audience);
            if membership.wanted {
                let leave =
                    ToOwner::Leave { room: audience.room.clone(), member: self.member(slot), away, reply: None };
                self.tell_owner(slot, audience.owner, leave, effects);
            }
            if membership.place != NOWHERE {
                self.remove_member(slot, membership.audience, membership.place);
            }
            effects.counters.members.sub(1);
            self.audiences.exit(membership.audience);
        }
    }

    fn push_last(&mut self, slot: u32, bytes: bytes::Bytes, effects: &mut HomeEffects<'_>) {
        self.outboxes.push_last(slot, Outgoing { bytes, messages: 0, role: Role::Other }, effects.budget);
    }

    /// Gives the slot back. The kernel may hand it out again once io has closed it.
    pub(super) fn close_socket(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        self.stop_waiting(slot, effects);
        let session = std::mem::take(self.sessions.at_mut(slot));
        match session.phase {
            Phase::Free => return,
            Phase::Head => effects.counters.upgrading.sub(1),
            Phase::Open | Phase::Closing | Phase::Ending | Phase::Lingering => {}
        }
        self.forget_token(slot, effects);
        if let Some(head) = self.take_head(slot) {
            effects.budget.release(head.len());
        }
        effects.budget.release(session.decoder.held_bytes());
        // The generation stays, so that hops to the connection that was here find nobody.
        *self.sessions.at_mut(slot) = Session { generation: session.generation, ..Session::default() };
        if session.user.is_some() {
            self.websockets -= 1;
        }
        self.sockets -= 1;
        self.peers.forget(slot);
        if self.sockets == 0 {
            self.timers.worst.reset(effects.counters);
        }
        self.outboxes.clear(slot, effects.budget);
        effects.output.closes.push(slot);
    }
}
