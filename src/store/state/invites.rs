//! Invites: a code lets strangers become lasting members. Expired ones count as none, whether they have been removed or not.

use super::error::StateError;
use super::group::Group;
use super::outcome::Stop;
use super::rows::{Created, Invite, Value};
use super::{keys, lookups};
use crate::base::chat::Role;
use crate::base::ids::RoomName;
use crate::base::limits::INVITE_BYTES_MAX;
use crate::engine::kept::{Actor, RoomDone, RoomRefusal};
use crate::store::tables::rows::{Direction, Rows, Span};
use crate::store::tables::table::Table;
use crate::store::tables::write_set::WriteSet;

impl Group<'_> {
    pub(super) fn invite(
        &mut self,
        name: &RoomName,
        actor: &Actor,
        code: &str,
        uses_max: u32,
        expires_at: u64,
        at: u64,
    ) -> Result<RoomDone, Stop> {
        let mut room = self.created_room(name)?;
        self.demand(&room, actor, Role::Admin)?;
        if code.len() > INVITE_BYTES_MAX {
            return Err(RoomRefusal::InviteInvalid.into());
        }
        let key = keys::of_room(room.id, code);
        let before = Invite::find(&self.set, Table::Invites, &key)?;
        let is_valid = before.is_some_and(|before| at < before.expires_at);
        if let Some(created) = room.created.as_mut().filter(|_| !is_valid) {
            if before.is_some() {
                self.set.remove(Table::Invites, key.clone());
                created.invites = created.invites.saturating_sub(1);
            }
            if created.invites >= self.setup.bounds.room_invites {
                remove_expired(&mut self.set, room.id, created, at, usize::MAX)?;
            }
            if created.invites >= self.setup.bounds.room_invites {
                return Err(RoomRefusal::Full.into());
            }
            created.invites += 1;
        }
        self.put(Table::Invites, key, &Invite { expires_at, uses_left: uses_max });
        self.put_room(name, &room);
        Ok(RoomDone::Invited)
    }

    /// Lets the actor in with an invite.
    pub(super) fn enter(&mut self, name: &RoomName, actor: &Actor, code: &str, at: u64) -> Result<RoomDone, Stop> {
        let mut room = self.room(name)?;
        let Some(created) = &mut room.created else { return Err(RoomRefusal::InviteInvalid.into()) };
        if let Some(role) = lookups::role(&self.set, room.id, &actor.user)? {
            return Ok(RoomDone::Entered { role: Some(role), is_new: false });
        }
        if code.len() > INVITE_BYTES_MAX {
            return Err(RoomRefusal::InviteInvalid.into());
        }
        let key = keys::of_room(room.id, code);
        let invite = Invite::find(&self.set, Table::Invites, &key)?.filter(|invite| at < invite.expires_at);
        let Some(mut invite) = invite else { return Err(RoomRefusal::InviteInvalid.into()) };
        let is_last = invite.uses_left == 1;
        created.invites -= u64::from(is_last);
        self.add_member(name, &mut room, &actor.user, Role::Member)?;
        if is_last {
            self.set.remove(Table::Invites, key);
        } else if invite.uses_left > 1 {
            invite.uses_left -= 1;
            self.put(Table::Invites, key, &invite);
        }
        self.put_room(name, &room);
        Ok(RoomDone::Entered { role: Some(Role::Member), is_new: true })
    }
}

/// Removes the invites of a room that have expired at a time, at most `count`; how many. The caller writes the room.
pub(super) fn remove_expired(
    set: &mut WriteSet<'_>,
    id: u64,
    created: &mut Created,
    at: u64,
    count: usize,
) -> Result<usize, StateError> {
    let rows = Invite::scan(set as &dyn Rows, Table::Invites, Span::prefix(&keys::id(id), None), Direction::Up);
    let mut expired = Vec::new();
    for row in rows {
        let (key, invite) = row?;
        if invite.expires_at <= at && expired.len() < count {
            expired.push(key);
        }
    }
    let removed = expired.len();
    for key in expired {
        set.remove(Table::Invites, key);
    }
    created.invites = created.invites.saturating_sub(removed as u64);
    Ok(removed)
}
