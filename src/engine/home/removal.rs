//! Removes members that a room's owner names. Each leaves as if it were expelled by its own home: it gets nothing more of the
//! room, and is told so once the owner has answered all that it asked before.

use super::{Home, HomeEffects};
use crate::base::ids::RoomName;
use crate::engine::hop::PutOut;
use crate::engine::session::NOWHERE;
use crate::wire::protocol::LeftReason;

impl Home {
    /// Expels members of a room. A membership that ends already is not expelled, but gets nothing more either: what a
    /// connection has joined since comes later.
    pub(super) fn put_out(
        &mut self,
        room: &RoomName,
        whom: &PutOut,
        reason: LeftReason,
        effects: &mut HomeEffects<'_>,
    ) {
        let Some(index) = self.audiences.find(room) else { return };
        // What came before is theirs; closing a slow member for it may end the audience.
        self.put_pending(index, effects);
        let Some(index) = self.audiences.find(room) else { return };
        let audience = self.audiences.at(index);
        let members = audience.readings().flat_map(|reading| audience.members(reading)).copied();
        let is_meant = |slot: &u32| self.sessions.at(*slot).user.as_ref().is_some_and(|user| whom.selects(user));
        let meant: Vec<u32> = members.filter(is_meant).collect();
        for slot in meant {
            let session = self.sessions.at_mut(slot);
            let at = session.membership(index).expect("members hold a membership");
            let membership = &mut session.memberships[at];
            if membership.wanted && membership.leaves == 0 {
                self.expel(slot, index, reason, effects);
            } else {
                let place = std::mem::replace(&mut membership.place, NOWHERE);
                self.remove_member(slot, index, place, effects);
            }
        }
    }
}
