//! Who may join a room. A room that was not created lets anyone in, at once, unless joining would bring it into being and
//! `rooms.create` forbids that. For a room that was created the store is asked with each join: it knows the members, and an
//! invite makes one. Such a join waits, and with it whatever its connection says next about the room.

use super::OwnerEffects;
use super::answer::refuse_join;
use super::creation::may_create;
use super::join::Join;
use super::questions::{Question, QuestionPurpose, Undone};
use super::room::Room;
use super::room_id::RoomId;
use super::state::Owner;
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, RoomName};
use crate::base::limits::WAITING_BYTES;
use crate::engine::access::Standing;
use crate::engine::kept::{Actor, RoomAct, RoomAsk, RoomDone, RoomRefusal};
use crate::wire::protocol::Refusal;

impl Owner {
    /// Lets a connection join, or refuses, or asks the store first.
    pub(super) fn admit_join(&mut self, id: RoomId, mut join: Join, effects: &mut OwnerEffects<'_>) {
        let may_wait = self.may_keep(join.bytes(), effects);
        let has_place = may_wait && !self.asks.is_full();
        let Some(room) = self.rooms.get_mut(id) else { return };
        if room.creation.asks_store() {
            let name = room.stream.name.clone();
            let (user, conn, reply) = (join.member.user.clone(), join.member.conn, join.reply);
            let (is_admin, invite) = (join.standing == Standing::Admin, join.invite.take());
            if !has_place || !room.hold_join(join) {
                return refuse_join(&name, (conn, reply), Refusal::OVERLOADED, effects);
            }
            let ask = RoomAsk {
                room: name.clone(),
                actor: Actor { user, is_admin },
                at: effects.now.unix_ms,
                act: RoomAct::Enter { invite: invite.map(|invite| Box::from(&*invite)) },
            };
            let purpose = QuestionPurpose::Enter { conn, name };
            return self.ask_store(Question { room: id, purpose }, ask, effects);
        }
        match room.entry_refusal(&join) {
            Some(refusal) => refuse_join(&room.stream.name, (join.member.conn, join.reply), refusal, effects),
            None => room.join(join, Vec::new(), may_wait, effects),
        }
    }

    /// The store has said whether a connection may join.
    pub(super) fn admitted(
        &mut self,
        id: RoomId,
        (conn, name): (ConnId, &RoomName),
        done: Result<RoomDone, Undone>,
        effects: &mut OwnerEffects<'_>,
    ) {
        let may_wait = self.may_keep(WAITING_BYTES, effects);
        let Some(room) = self.rooms.get_mut(id) else { return };
        // A connection that has ended is not there any more.
        let Some(mut join) = room.take_join(conn) else { return };
        let refusal = match done {
            Ok(RoomDone::Entered { role, .. }) => {
                join.role = role;
                return room.join(join, Vec::new(), may_wait, effects);
            }
            Ok(_) => Undone::UNANSWERED.into(),
            Err(Undone::Refused(RoomRefusal::Forbidden)) => {
                Refusal::new(ErrorCode::Forbidden, "this room is private: joining it takes an invite")
            }
            Err(undone) => undone.into(),
        };
        refuse_join(name, (conn, join.reply), refusal, effects);
    }
}

impl Room {
    /// Why a connection may not join this room, which was not created; `None`: it may.
    fn entry_refusal(&self, join: &Join) -> Option<Refusal> {
        if join.invite.is_some() {
            return Some(Undone::Refused(RoomRefusal::InviteInvalid).into());
        }
        let is_new = self.is_unused() && !may_create(self.stream.settings.create, join.standing);
        is_new.then(|| Refusal::new(ErrorCode::Forbidden, "this room does not exist, and you may not create it"))
    }
}
