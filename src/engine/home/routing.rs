//! How a connection's words reach the owners of its rooms: directly, or by the core that counts its user's publishes. Never
//! looks into what is said.

use super::{Home, HomeEffects};
use crate::base::codes::ErrorCode;
use crate::base::ids::CoreId;
use crate::engine::hop::{ToOwner, ToUser};
use crate::engine::placement::owner_of;
use crate::engine::session::Marks;
use crate::engine::user::core_of_user;

/// What is said of a command that another core cannot be given now.
pub(super) const LANE_FULL: &str = "too much waits for the room's core";

impl Home {
    /// The core that a connection's words to rooms pass by: where its user is counted, if that is not here.
    pub(super) fn passes_by(&self, slot: u32) -> Option<CoreId> {
        let session = self.sessions.at(slot);
        if !session.marks.has(Marks::COUNTED_MESSAGES) {
            return None;
        }
        let user = session.user.as_ref().expect("an open connection has a user");
        Some(core_of_user(user, self.settings.cores)).filter(|core| *core != self.core)
    }

    /// Whether a publish of so many bytes would be refused on its way to a room's owner.
    pub(super) fn is_way_full(&self, slot: u32, owner: CoreId, bytes: usize, effects: &HomeEffects<'_>) -> bool {
        let way = self.passes_by(slot).unwrap_or(owner);
        way != self.core && (self.late.holds(slot) || effects.outbound.is_full_for(way, bytes))
    }

    /// Whether a join or a question would be.
    pub(super) fn is_way_full_for_questions(&self, slot: u32, owner: CoreId, effects: &HomeEffects<'_>) -> bool {
        let way = self.passes_by(slot).unwrap_or(owner);
        way != self.core && (self.late.holds(slot) || effects.outbound.is_full_for_questions(way))
    }

    /// Whether a change of state waits on its way to a room's owner.
    pub(super) fn is_way_full_for_changes(&self, slot: u32, owner: CoreId, effects: &HomeEffects<'_>) -> bool {
        let way = self.passes_by(slot).unwrap_or(owner);
        way != self.core && (self.late.holds(slot) || effects.outbound.is_full_for_changes(way))
    }

    /// Says something to a room's owner for a connection.
    pub(super) fn tell_owner(&self, slot: u32, owner: CoreId, hop: ToOwner, effects: &mut HomeEffects<'_>) {
        Self::tell_owner_by(self.passes_by(slot), owner, hop, effects);
    }

    /// The same by the core that the connection's words pass by, if they pass by one.
    pub(super) fn tell_owner_by(passes: Option<CoreId>, owner: CoreId, hop: ToOwner, effects: &mut HomeEffects<'_>) {
        match passes {
            None => effects.outbound.post_to_owner(owner, hop),
            Some(core) => effects.outbound.post_to_user(core, ToUser::Pass { hop: Box::new(hop) }),
        }
    }

    /// What was passed by its user's core goes on to its room. Where that core's lane is full, what may be refused is refused
    /// here: nothing of it has been done, and what comes after it may find room again.
    pub(super) fn passed(&mut self, hop: ToOwner, effects: &mut HomeEffects<'_>) {
        let owner = owner_of(hop.room(), self.settings.cores);
        if owner == self.core || !effects.outbound.is_full(owner) {
            return effects.outbound.post_to_owner(owner, hop);
        }
        let conn = hop.conn();
        let reply = match &hop {
            ToOwner::Ask { reply, .. } => *reply,
            ToOwner::Join { room, reply, .. } => {
                self.join_answered(room, conn, effects);
                *reply
            }
            ToOwner::Leave { .. } | ToOwner::Expel { .. } | ToOwner::Away { .. } => {
                return effects.outbound.post_to_owner(owner, hop);
            }
        };
        if self.session_of(conn).is_some() {
            self.refuse(conn.slot, ErrorCode::Overloaded, LANE_FULL, reply, effects);
        }
    }
}
