//! What the control address asks of this core's connections, and what it has done to them. Looks at a bounded run of
//! slots in one turn; whoever asks goes on behind it.

use std::ops::Range;

use super::{Home, HomeEffects};
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::ids::{ConnId, UserName};
use crate::base::limits::{CALL_ENDS_MAX, CALL_SCAN_MAX};
use crate::engine::call::{Call, CallAnswer, ConnOrder, ConnSummary, Whom};
use crate::engine::session::{Phase, SEEN_UNIT_MS};
use crate::wire::protocol::LeftReason;
use crate::wire::protocol::{Answer, Refusal};

/// What the log says of a connection that an operator has closed.
const CAUSE: &str = "disconnected by an operator";

impl Home {
    /// Does what a call asks of connections.
    pub fn handle_call(&mut self, call: Call, effects: &mut HomeEffects<'_>) -> CallAnswer {
        match call {
            Call::Connections { from, limit, order, user, room } => {
                self.list(from, limit, order, (user.as_deref(), room.as_deref()), effects)
            }
            Call::Disconnect { whom, from, reason } => {
                // Whoever is closed has been given what came before.
                self.put_all_pending(effects);
                match whom {
                    Whom::Connection(conn) => self.disconnect_one(conn, reason.as_deref(), effects),
                    Whom::User(user) => self.disconnect_user(&user, from, reason.as_deref(), effects),
                }
            }
            Call::Kick { room, user, from } => self.kick(&room, &user, from, effects),
            Call::Room { .. } | Call::Rooms { .. } | Call::FindSession { .. } => {
                debug_assert!(false, "rooms are the owner's, sessions the users'");
                CallAnswer::Room(Answer::Refused(Refusal::new(ErrorCode::Internal, "this call is not for connections")))
            }
        }
    }

    /// The slots that one call looks at, and where to go on.
    fn looked_at(&self, from: u32) -> (Range<u32>, Option<u32>) {
        let used = self.slots.range().end;
        let end = from.saturating_add(CALL_SCAN_MAX).min(used);
        (from..end, Some(end).filter(|end| *end < used))
    }

    /// Whether an open connection is one of a user (if one is meant) and in the room of an audience (if one is meant).
    fn fits(&self, slot: u32, user: Option<&str>, audience: Option<u32>) -> bool {
        let session = self.sessions.at(slot);
        let joined = |audience| session.membership(audience).is_some_and(|index| session.memberships[index].wanted);
        session.phase == Phase::Open
            && user.is_none_or(|user| session.user.as_deref() == Some(user))
            && audience.is_none_or(joined)
    }

    fn list(
        &self,
        from: u32,
        limit: u32,
        order: ConnOrder,
        (user, room): (Option<&str>, Option<&str>),
        effects: &HomeEffects<'_>,
    ) -> CallAnswer {
        let audience = room.map(|room| self.audiences.find(room));
        if audience == Some(None) {
            return CallAnswer::Connections { connections: Vec::new(), next: None };
        }
        let (limit, audience) = (limit as usize, audience.flatten());
        let (slots, next) = self.looked_at(from);
        let fitting = slots.filter(|slot| self.fits(*slot, user, audience));
        if order == ConnOrder::Slot {
            let mut page: Vec<u32> = fitting.take(limit + 1).collect();
            // One more than fits tells where to go on.
            let beyond = if page.len() > limit { page.pop() } else { None };
            let connections = page.into_iter().map(|slot| self.summary(slot, effects)).collect();
            return CallAnswer::Connections { connections, next: beyond.or(next) };
        }
        let mut connections: Vec<_> = fitting.map(|slot| self.summary(slot, effects)).collect();
        connections.sort_by(|one, other| other.cmp_by_queued(one));
        connections.truncate(limit);
        CallAnswer::Connections { connections, next }
    }

    fn summary(&self, slot: u32, effects: &HomeEffects<'_>) -> ConnSummary {
        let session = self.sessions.at(slot);
        ConnSummary {
            conn: session.id(self.core, slot),
            user: session.user.clone().expect("an open connection has a user"),
            form: session.reading.expect("an open connection reads somehow").form(),
            rooms: session.memberships.iter().filter(|membership| membership.wanted).count() as u32,
            away: session.is_away(),
            silent_ms: effects.now.mono_ms().saturating_sub(u64::from(session.last_seen) * SEEN_UNIT_MS),
            round_trip_us: session.round_trip_us,
            queued_bytes: self.outboxes.bytes(slot) as u64,
            stats: session.stats,
        }
    }

    fn disconnect_one(&mut self, conn: ConnId, reason: Option<&str>, effects: &mut HomeEffects<'_>) -> CallAnswer {
        let is_there = conn.home == self.core && self.session_of(conn).is_some();
        if is_there {
            self.fail_saying(conn.slot, CloseCode::Forbidden, reason, CAUSE, effects);
        }
        CallAnswer::Ended { count: u32::from(is_there), next: None }
    }

    fn disconnect_user(
        &mut self,
        user: &UserName,
        from: u32,
        reason: Option<&str>,
        effects: &mut HomeEffects<'_>,
    ) -> CallAnswer {
        let (slots, next) = self.looked_at(from);
        let mut count = 0;
        for slot in slots {
            if count == CALL_ENDS_MAX {
                return CallAnswer::Ended { count, next: Some(slot) };
            }
            if self.fits(slot, Some(user), None) {
                self.fail_saying(slot, CloseCode::Forbidden, reason, CAUSE, effects);
                count += 1;
            }
        }
        CallAnswer::Ended { count, next }
    }

    fn kick(&mut self, room: &str, user: &UserName, from: u32, effects: &mut HomeEffects<'_>) -> CallAnswer {
        let Some(audience) = self.audiences.find(room) else { return CallAnswer::Ended { count: 0, next: None } };
        // What came before is theirs; closing a slow member for it may end the audience.
        self.put_pending(audience, effects);
        let (slots, next) = self.looked_at(from);
        let mut count = 0;
        for slot in slots {
            if count == CALL_ENDS_MAX {
                return CallAnswer::Ended { count, next: Some(slot) };
            }
            if self.audiences.find(room) == Some(audience) && self.fits(slot, Some(user), Some(audience)) {
                self.expel(slot, audience, LeftReason::Kicked, effects);
                count += 1;
            }
        }
        CallAnswer::Ended { count, next }
    }
}
