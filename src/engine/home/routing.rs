//! Sends the words of connections to the owners of their rooms: directly, or by way of the core that counts their user's
//! publishes. Never looks into what is said.

use super::{Home, HomeEffects};
use crate::base::codes::ErrorCode;
use crate::base::ids::CoreId;
use crate::engine::hop::{ToOwner, ToUser};
use crate::engine::placement::owner_of;
use crate::engine::session::Marks;
use crate::engine::user::core_of_user;

/// Error text for a command that another core cannot take now.
pub(super) const LANE_FULL: &str = "the queue to the room's core is full";

impl Home {
    /// The core that a connection's words to rooms pass: the one that counts its user, if that is another core.
    pub(super) fn passes_by(&self, slot: u32) -> Option<CoreId> {
        let session = self.sessions.at(slot);
        if !session.marks.has(Marks::COUNTED_MESSAGES) {
            return None;
        }
        let user = session.user.as_ref().expect("an open connection has a user");
        Some(core_of_user(user, self.settings.cores)).filter(|core| *core != self.core)
    }

    /// Whether a publish of this many bytes would be refused on its way to a room's owner.
    pub(super) fn is_way_full(&self, slot: u32, owner: CoreId, bytes: usize, effects: &HomeEffects<'_>) -> bool {
        let way = self.passes_by(slot).unwrap_or(owner);
        way != self.core && (self.late.holds(slot) || effects.outbound.is_full_for(way, bytes))
    }

    /// Whether a join or a question would be refused.
    pub(super) fn is_way_full_for_questions(&self, slot: u32, owner: CoreId, effects: &HomeEffects<'_>) -> bool {
        let way = self.passes_by(slot).unwrap_or(owner);
        way != self.core && (self.late.holds(slot) || effects.outbound.is_full_for_questions(way))
    }

    /// Whether a change of state would have to wait.
    pub(super) fn is_way_full_for_changes(&self, slot: u32, owner: CoreId, effects: &HomeEffects<'_>) -> bool {
        let way = self.passes_by(slot).unwrap_or(owner);
        way != self.core && (self.late.holds(slot) || effects.outbound.is_full_for_changes(way))
    }

    /// Sends a hop of a connection to a room's owner.
    pub(super) fn tell_owner(&self, slot: u32, owner: CoreId, hop: ToOwner, effects: &mut HomeEffects<'_>) {
        Self::tell_owner_by(self.passes_by(slot), owner, hop, effects);
    }

    /// The same by way of the core that the connection's words pass, if they pass one.
    pub(super) fn tell_owner_by(passes: Option<CoreId>, owner: CoreId, hop: ToOwner, effects: &mut HomeEffects<'_>) {
        match passes {
            None => effects.outbound.post_to_owner(owner, hop),
            Some(core) => effects.outbound.post_to_user(core, ToUser::Pass { hop: Box::new(hop) }),
        }
    }

    /// Sends a hop that has passed its user's core on to its room's owner. Where that lane is full, a command that may be
    /// refused is refused: nothing of it has been done yet.
    pub(super) fn passed(&mut self, hop: ToOwner, effects: &mut HomeEffects<'_>) {
        let owner = owner_of(hop.room(), self.settings.cores);
        if owner == self.core || !effects.outbound.is_full(owner) {
            return effects.outbound.post_to_owner(owner, hop);
        }
        let conn = hop.conn();
        let reply = match &hop {
            ToOwner::Ask { reply, .. } | ToOwner::Administer { reply, .. } => *reply,
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
