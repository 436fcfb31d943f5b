//! What is asked of one room and changes it: creation, deletion, and the way to the files of members, invites and receipts.
//! The rules of roles are said in `engine::kept`.

use super::error::StateError;
use super::group::Group;
use super::outcome::Stop;
use super::rows::{Created, Room};
use super::{answers, keys, lookups};
use crate::base::chat::{Role, Visibility};
use crate::base::ids::RoomName;
use crate::engine::kept::{Actor, KeptRoom, RoomAct, RoomAsk, RoomDone, RoomRefusal};

impl Group<'_> {
    pub(super) fn ask_room(&mut self, ask: &RoomAsk) -> Result<Result<RoomDone, RoomRefusal>, StateError> {
        match self.act(ask) {
            Ok(done) => Ok(Ok(done)),
            Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn act(&mut self, ask: &RoomAsk) -> Result<RoomDone, Stop> {
        let RoomAsk { room, actor, at, act } = ask;
        match act {
            RoomAct::Create { visibility, title } => self.create(room, actor, *at, *visibility, title),
            RoomAct::Delete => self.delete(room, actor, *at),
            RoomAct::Enter { invite: Some(code) } => self.enter(room, actor, code, *at),
            RoomAct::Invite { code, uses_max, expires_at } => {
                self.invite(room, actor, code, *uses_max, *expires_at, *at)
            }
            RoomAct::SetRole { user, role } => self.set_role(room, actor, user, *role),
            RoomAct::Remove { user } => self.remove(room, actor, user),
            RoomAct::Receipt { kind, seq } => self.keep_receipt(room, &actor.user, *kind, *seq, *at),
            RoomAct::Info | RoomAct::Enter { invite: None } | RoomAct::FindReceipt { .. } => {
                answers::read_room(&self.set, self.setup, ask)
            }
        }
    }

    fn create(
        &mut self,
        name: &RoomName,
        actor: &Actor,
        at: u64,
        visibility: Visibility,
        title: &str,
    ) -> Result<RoomDone, Stop> {
        let mut room = self.room(name)?;
        if room.created.is_some() || room.head > 0 {
            return Err(RoomRefusal::Exists.into());
        }
        self.begin_life(&mut room)?;
        let kept = KeptRoom { visibility, title: title.into(), members: 0 };
        room.created = Some(Created { kept, owners: 0, invites: 0 });
        self.add_member(name, &mut room, &actor.user, Role::Owner)?;
        room.use_at(at, self.boot.number);
        self.put_room(name, &room);
        Ok(RoomDone::Created)
    }

    fn delete(&mut self, name: &RoomName, actor: &Actor, at: u64) -> Result<RoomDone, Stop> {
        let room = self.created_room(name)?;
        self.demand(&room, actor, Role::Owner)?;
        self.end_life(name, room.id);
        self.count(keys::DELETIONS, 1)?;
        let past = if room.has_numbering() { room.epoch } else { room.past };
        let mut left = Room { past, ..Room::unknown() };
        left.use_at(at.max(room.used_at), self.boot.number);
        self.put_room(name, &left);
        Ok(RoomDone::Deleted)
    }

    /// A room that was created.
    pub(super) fn created_room(&self, name: &RoomName) -> Result<Room, Stop> {
        let room = self.room(name)?;
        if room.created.is_some() { Ok(room) } else { Err(RoomRefusal::NotFound.into()) }
    }

    /// Refuses who has not at least a role.
    pub(super) fn demand(&self, room: &Room, actor: &Actor, least: Role) -> Result<(), Stop> {
        let role = lookups::role(&self.set, room.id, &actor.user)?;
        if actor.is_admin || role >= Some(least) { Ok(()) } else { Err(RoomRefusal::Forbidden.into()) }
    }
}
