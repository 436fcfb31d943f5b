//! A room that the store has deleted. Its members leave, and whoever waits for something of it is told; nothing that comes
//! later reaches it. Whoever joins then opens another room of the same name, with another numbering.

use super::OwnerEffects;
use super::answer::refuse_join;
use super::creation::Creation;
use super::history::History;
use super::listeners::Listeners;
use super::pages::Purpose;
use super::room::{Keeping, Room};
use super::room_id::RoomId;
use super::state::Owner;
use crate::base::codes::ErrorCode;
use crate::base::ids::{RoomName, UserName};
use crate::engine::hop::{PutOut, ToOwner};
use crate::wire::protocol::{LeftReason, Refusal};

impl Owner {
    /// Removes a room that was deleted.
    pub(super) fn remove_deleted(&mut self, id: RoomId, name: &RoomName, effects: &mut OwnerEffects<'_>) {
        // A room of this name that comes later is another one.
        self.numberings.take(name);
        self.enter_numberings(effects);
        let Some(room) = self.rooms.get_mut(id) else { return };
        let waiting = room.end(effects);
        self.enter(id, effects);
        for hop in waiting {
            self.handle_hop(hop, effects);
        }
    }
}

impl Room {
    /// Lets go of everything, so that the room can be removed. Returns the hops that have waited, which are for whatever room
    /// has this name then.
    fn end(&mut self, effects: &mut OwnerEffects<'_>) -> Vec<ToOwner> {
        self.put_out(PutOut::All, LeftReason::RoomDeleted, effects);
        let name = self.stream.name.clone();
        if let Keeping::Store(stored) = &mut self.keeping {
            stored.take_waiters().for_each(|asker| asker.refuse(&name, Refusal::NOT_FOUND, effects));
        }
        let mut receipts = self.receipts.take();
        let waiters = receipts.iter_mut().flat_map(|receipts| receipts.take_askers());
        waiters.for_each(|asker| asker.refuse(&name, Refusal::NOT_FOUND, effects));
        let mut hops = Vec::new();
        for waiting in self.pages.take().into_iter().flat_map(|pages| pages.waiting) {
            match waiting.purpose {
                Purpose::History(part) => part.asker.refuse(&name, Refusal::NOT_FOUND, effects),
                Purpose::Join { join, .. } => hops.push(join.into_hop(name.clone())),
            }
        }
        hops.extend(self.leaving.take().into_iter().flat_map(|leaving| leaving.into_hops(&name)));
        self.stream.history = History::new(self.stream.history.head());
        (self.stream.listeners, self.stream.keys, self.stream.presence) = (Listeners::default(), None, None);
        (self.keeping, self.creation) = (Keeping::None, Creation::Not);
        self.is_deleted = true;
        hops
    }

    /// Refuses the joins of a user who was removed while they waited for what they have missed.
    pub(super) fn refuse_recovering(&mut self, user: &UserName, effects: &mut OwnerEffects<'_>) {
        let Some(pages) = &mut self.pages else { return };
        for join in pages.take_joins_of(user) {
            let refusal = Refusal::new(ErrorCode::Forbidden, "this user was removed from the room");
            refuse_join(&self.stream.name, (join.member.conn, join.reply), refusal, effects);
            self.release_held(join.member.conn);
        }
    }
}
