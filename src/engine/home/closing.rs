//! Ends connections: closing handshakes (RFC 6455 section 7), failures, resets. Whatever the way, a connection leaves its
//! rooms at once and is counted once, and its slot is closed exactly once. Never decides that a healthy connection ends.

use bytes::Bytes;

use super::state::deadlines::Deadline;
use super::state::late::MembershipEnd;
use super::{Home, HomeEffects};
use crate::base::causes::End;
use crate::base::codes::CloseCode;
use crate::base::ids::RoomName;
use crate::base::limits::CLOSE_TIMEOUT_MS;
use crate::engine::outbox::{Outgoing, Role};
use crate::engine::output::{Ended, Refused};
use crate::engine::session::{Marks, NOWHERE, Phase, Session};
use crate::wire::encode::encode_push;
use crate::wire::frame::{Opcode, close_frame, server_frame};
use crate::wire::message::ProtocolError;
use crate::wire::protocol::{Push, ReconnectReason};

/// Why the server closes a connection.
struct Failure<'a> {
    code: CloseCode,
    /// Words for the close frame, if not the code's own.
    reason: Option<&'a str>,
    /// Words for the log.
    cause: &'static str,
    /// The room at fault, where there is one.
    room: Option<&'a RoomName>,
}

impl Home {
    /// The peer has ended its stream and may still read. Answers go out first: a client may end its stream right after a
    /// request.
    pub fn ended(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let session = self.sessions.at_mut(slot);
        session.marks.set(Marks::HALF_CLOSED);
        match session.phase {
            Phase::Free => debug_assert!(false, "the end of a slot without a socket"),
            Phase::Greeting if self.lobby.awaits_greeting(slot) => self.abandon_greeting(slot, effects),
            // Its upgrade or its request about an account is answered first.
            Phase::Head | Phase::Greeting if self.lobby.is_pending(slot) => {}
            Phase::Head if self.lobby.accounts.awaits_answer(slot) => {}
            Phase::Head | Phase::Greeting => self.close_socket(slot, effects),
            Phase::Open => self.end_half_closed(slot, effects),
            Phase::Ending => {}
            Phase::Closing | Phase::Lingering => self.end_after_sending(slot, Phase::Ending, effects),
        }
    }

    /// Ends a connection whose client has ended its stream without a close frame (RFC 6455 section 7.1.5, code 1006). It
    /// gets what is queued and then the end of the server's stream, without a close frame, which it could not answer.
    pub(super) fn end_half_closed(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        self.put_pending_of(slot, effects);
        if self.sessions.at(slot).phase == Phase::Open {
            self.end_session(slot, End::Lost, "connection ended without a close frame", None, effects);
        }
        self.end_after_sending(slot, Phase::Ending, effects);
    }

    /// The socket can no longer be read, and io sends its last bytes itself.
    pub fn broken(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        match self.sessions.at(slot).phase {
            Phase::Free => return debug_assert!(false, "a failure of a slot without a socket"),
            Phase::Head | Phase::Greeting => {
                effects.counters.upgrading.sub(1);
                self.stop_waiting(slot, effects);
                self.lobby.forget(slot, effects.budget);
            }
            Phase::Open => self.end_session(slot, End::Lost, "TLS failed", None, effects),
            // Half-closed already, and under its time limit.
            Phase::Lingering if self.outboxes.is_empty(slot) => return,
            Phase::Closing | Phase::Ending | Phase::Lingering => {}
        }
        self.outboxes.clear(slot, effects.budget);
        self.sessions.at_mut(slot).phase = Phase::Lingering;
        self.all_sent(slot, effects);
    }

    /// The socket failed.
    pub fn disconnected(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        if self.sessions.at(slot).phase == Phase::Open {
            self.end_session(slot, End::Lost, "connection lost", None, effects);
        }
        self.close_socket(slot, effects);
    }

    /// The client sent a close frame: it is answered with the same status, and then the server closes the socket.
    pub(super) fn close_asked(&mut self, slot: u32, status: Option<(u16, &str)>, effects: &mut HomeEffects<'_>) {
        self.put_pending_of(slot, effects);
        if self.sessions.at(slot).phase != Phase::Open {
            // Closed as a slow consumer by what its rooms had for it: that close frame is its answer.
            return self.end_after_sending(slot, Phase::Ending, effects);
        }
        self.end_session(slot, End::Client, "closed by the client", None, effects);
        self.outboxes.drop_backlog(slot, effects.budget);
        self.answer_close(slot, status.map(|(code, _)| code), effects);
    }

    /// Answers the client's close frame with the same status.
    pub(super) fn answer_close(&mut self, slot: u32, status: Option<u16>, effects: &mut HomeEffects<'_>) {
        let answer = status.map_or_else(|| server_frame(Opcode::Close, &[]), |code| close_frame(code, ""));
        self.push_last(slot, answer, effects);
        self.end_after_sending(slot, Phase::Ending, effects);
    }

    /// Closes a connection: sends a close frame and waits for the client's.
    pub(super) fn fail(&mut self, slot: u32, code: CloseCode, cause: &'static str, effects: &mut HomeEffects<'_>) {
        self.fail_by(slot, Failure { code, reason: None, cause, room: None }, effects);
    }

    /// The same with a reason of its own in the close frame.
    pub(super) fn fail_saying(
        &mut self,
        slot: u32,
        code: CloseCode,
        reason: Option<&str>,
        cause: &'static str,
        effects: &mut HomeEffects<'_>,
    ) {
        self.fail_by(slot, Failure { code, reason, cause, room: None }, effects);
    }

    /// Closes a slow consumer of a room.
    pub(super) fn fail_slow(&mut self, slot: u32, room: &RoomName, effects: &mut HomeEffects<'_>) {
        let failure = Failure { code: CloseCode::Slow, reason: None, cause: "outbox full", room: Some(room) };
        self.fail_by(slot, failure, effects);
    }

    fn fail_by(&mut self, slot: u32, failure: Failure<'_>, effects: &mut HomeEffects<'_>) {
        if self.sessions.at(slot).phase != Phase::Open {
            return;
        }
        let Failure { code, reason, cause, room } = failure;
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
        self.end_session(slot, End::Closed(code), cause, room, effects);
        // What is queued for a reader that does not read would only delay the close frame.
        if matches!(code, CloseCode::Slow | CloseCode::Heartbeat) {
            self.outboxes.drop_queued(slot, effects.budget);
        }
        self.push_last(slot, close_frame(code.number(), reason.unwrap_or(code.reason())), effects);
        if self.sessions.at(slot).marks.has(Marks::HALF_CLOSED) {
            return self.end_after_sending(slot, Phase::Ending, effects);
        }
        self.sessions.at_mut(slot).phase = Phase::Closing;
        self.expect_close(slot, effects);
    }

    /// Tells a client to reconnect, then closes its connection.
    pub(super) fn send_away(
        &mut self,
        slot: u32,
        after_ms: u64,
        reason: ReconnectReason,
        effects: &mut HomeEffects<'_>,
    ) {
        let session = self.sessions.at(slot);
        let cause = if reason == ReconnectReason::Draining { "drain" } else { "out of memory" };
        if !session.marks.has(Marks::ECHO) {
            let form = session.reading.expect("an open connection reads somehow").form();
            let bytes: Bytes = encode_push(&Push::Reconnect { after_ms, reason }, form);
            self.outboxes.push(slot, Outgoing { bytes, messages: 1, role: Role::Other }, effects.budget);
        }
        self.fail(slot, reason.close_code(), cause, effects);
    }

    /// Closes a connection whose client violated the protocol. Its bytes can no longer be read, so no close frame is
    /// awaited.
    pub(super) fn fail_protocol(&mut self, slot: u32, error: ProtocolError, effects: &mut HomeEffects<'_>) {
        if self.sessions.at(slot).phase == Phase::Open {
            effects.counters.closed_protocol.add(1);
            self.end_session(slot, End::Closed(error.code), error.what, None, effects);
            self.outboxes.drop_backlog(slot, effects.budget);
            self.push_last(slot, close_frame(error.code.number(), error.what), effects);
        }
        self.end_after_sending(slot, Phase::Lingering, effects);
    }

    /// Moves to `Ending` or `Lingering`, and goes on when everything queued is sent.
    pub(super) fn end_after_sending(&mut self, slot: u32, phase: Phase, effects: &mut HomeEffects<'_>) {
        self.sessions.at_mut(slot).phase = phase;
        if self.outboxes.is_empty(slot) {
            self.all_sent(slot, effects);
        } else {
            self.expect_close(slot, effects);
        }
    }

    /// Starts the time limit for the end of a socket.
    fn expect_close(&mut self, slot: u32, effects: &HomeEffects<'_>) {
        let session = self.sessions.at(slot);
        if session.is_websocket() {
            let at_ms = effects.now.mono_ms() + CLOSE_TIMEOUT_MS;
            self.timers.closes.push(Deadline { at_ms, slot, generation: session.generation });
        } else {
            self.lobby.expect_close(effects.now, slot, session.generation);
        }
    }

    /// The kernel has taken everything that was queued for a connection.
    pub(super) fn all_sent(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        match self.sessions.at(slot).phase {
            Phase::Ending => self.close_socket(slot, effects),
            Phase::Lingering if self.sessions.at(slot).marks.has(Marks::HALF_CLOSED) => {
                self.close_socket(slot, effects)
            }
            Phase::Lingering => {
                // Closing with unread bytes would reset the connection, and the peer could lose what was just sent.
                effects.output.shutdowns.push(slot);
                self.expect_close(slot, effects);
            }
            Phase::Free | Phase::Head | Phase::Greeting | Phase::Open | Phase::Closing => {}
        }
    }

    /// Closes a socket whose end has taken too long.
    pub(super) fn close_expired(&mut self, deadline: Deadline, effects: &mut HomeEffects<'_>) {
        let Deadline { slot, generation, .. } = deadline;
        let session = self.sessions.at(slot);
        if session.generation == generation
            && matches!(session.phase, Phase::Closing | Phase::Ending | Phase::Lingering)
        {
            self.close_socket(slot, effects);
        }
    }

    /// Counts a refusal by cause, and logs it.
    pub(super) fn note_refusal(&self, slot: u32, status: u16, cause: &'static str, effects: &mut HomeEffects<'_>) {
        effects.counters.refused.add(1);
        effects.counters.causes.refused(status, cause);
        effects.output.refused.push(Refused { peer: self.address(slot), status, cause });
    }

    /// Ends an open connection: it leaves its rooms and is counted as ended. Its last frames are queued after that.
    fn end_session(
        &mut self,
        slot: u32,
        end: End,
        cause: &'static str,
        room: Option<&RoomName>,
        effects: &mut HomeEffects<'_>,
    ) {
        self.leave_all(slot, effects);
        let user = self.sessions.at(slot).user.clone();
        self.forget_counted(slot, user, effects);
        let session = self.sessions.at(slot);
        if !session.marks.has(Marks::ECHO) {
            effects.users.sessions.end(session.id(self.core, slot), effects.now, &mut effects.output.store);
        }
        self.paces.forget(slot);
        self.forget_token(slot, effects);
        let session = self.sessions.at(slot);
        debug_assert_eq!(session.phase, Phase::Open);
        self.slots.end();
        effects.counters.connections.sub(1);
        effects.counters.closed.add(1);
        effects.counters.causes.ended(end);
        effects.output.ended.push(Ended {
            conn: session.id(self.core, slot),
            peer: self.slots.address(slot),
            user: session.user.clone().expect("an open connection has a user"),
            code: match end {
                End::Closed(code) => Some(code),
                End::Client | End::Lost => None,
            },
            cause,
            room: room.cloned(),
            round_trip_us: session.round_trip_us,
            stats: session.stats,
        });
    }

    fn leave_all(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let memberships = std::mem::take(&mut self.sessions.at_mut(slot).memberships);
        let wanted = memberships.iter().filter(|membership| membership.wanted);
        let rooms = wanted.map(|membership| (self.audiences.at(membership.audience).room.clone(), membership.away));
        self.tell_left(slot, MembershipEnd::Gone, rooms.collect(), effects);
        for membership in memberships {
            if membership.place != NOWHERE {
                self.remove_member(slot, membership.audience, membership.place, effects);
            }
            effects.counters.members.sub(1);
            self.audiences.exit(membership.audience, effects.budget);
        }
    }

    /// Gives a connection what its rooms have for it in this turn, its own messages included. That may close it as a slow
    /// consumer.
    fn put_pending_of(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let mut next = 0;
        while let Some(membership) = self.sessions.at(slot).memberships.get(next) {
            next += 1;
            self.put_pending(membership.audience, effects);
        }
    }

    fn push_last(&mut self, slot: u32, bytes: Bytes, effects: &mut HomeEffects<'_>) {
        self.outboxes.push_last(slot, Outgoing { bytes, messages: 0, role: Role::Other }, effects.budget);
    }

    /// Closes a socket. The kernel may use its slot again once io has closed it.
    pub(super) fn close_socket(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        self.stop_waiting(slot, effects);
        let session = std::mem::take(self.sessions.at_mut(slot));
        match session.phase {
            Phase::Free => return,
            Phase::Head | Phase::Greeting => effects.counters.upgrading.sub(1),
            Phase::Open | Phase::Closing | Phase::Ending | Phase::Lingering => {}
        }
        self.forget_token(slot, effects);
        self.lobby.forget(slot, effects.budget);
        effects.budget.release(session.decoder.held_bytes());
        // The generation stays, so that hops to this connection find none.
        *self.sessions.at_mut(slot) = Session { generation: session.generation, ..Session::default() };
        self.slots.close(slot, session.user.as_ref(), effects.budget);
        self.forget_pong(slot, effects);
        if self.slots.sockets() == 0 {
            self.timers.worst.reset(effects.counters);
        }
        self.outboxes.clear(slot, effects.budget);
        effects.output.closes.push(slot);
    }
}
