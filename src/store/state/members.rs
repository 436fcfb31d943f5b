//! Lasting members: each has a row by room and a row by user, and is counted in both. The rows by user of a deleted room stay
//! until the sweep, or a user at the bound, removes them.

use super::error::StateError;
use super::group::Group;
use super::outcome::Stop;
use super::rows::{Room, UserCount, UserRoom, Value};
use super::{keys, lookups};
use crate::base::chat::Role;
use crate::base::ids::{RoomName, UserName};
use crate::engine::kept::{Actor, RoomDone, RoomRefusal};
use crate::store::tables::rows::{Direction, Rows, Span};
use crate::store::tables::table::Table;
use crate::store::tables::write_set::WriteSet;

/// Why a room that is asked for members is there.
const CREATED: &str = "only a created room has members";

impl Group<'_> {
    pub(super) fn set_role(
        &mut self,
        name: &RoomName,
        actor: &Actor,
        user: &UserName,
        role: Role,
    ) -> Result<RoomDone, Stop> {
        let mut room = self.created_room(name)?;
        let before = lookups::role(&self.set, room.id, user)?;
        let least = if role.max(before.unwrap_or(Role::Member)) > Role::Member { Role::Owner } else { Role::Admin };
        self.demand(&room, actor, least)?;
        if role != Role::Owner {
            refuse_last_owner(&room, before)?;
        }
        self.add_member(name, &mut room, user, role)?;
        self.put_room(name, &room);
        Ok(RoomDone::RoleSet)
    }

    pub(super) fn remove(&mut self, name: &RoomName, actor: &Actor, user: &UserName) -> Result<RoomDone, Stop> {
        let mut room = self.room(name)?;
        let Some(created) = &mut room.created else {
            return if actor.is_admin { Ok(RoomDone::Removed) } else { Err(RoomRefusal::Forbidden.into()) };
        };
        let before = lookups::role(&self.set, room.id, user)?;
        if actor.user != *user {
            let role = lookups::role(&self.set, room.id, &actor.user)?;
            let least = if before > Some(Role::Member) { Role::Owner } else { Role::Admin };
            if !actor.is_admin && role < Some(least) {
                return Err(RoomRefusal::Forbidden.into());
            }
        }
        let Some(before) = before else { return Ok(RoomDone::Removed) };
        if before == Role::Owner && created.owners == 1 {
            return Err(RoomRefusal::LastOwner.into());
        }
        created.kept.members -= 1;
        created.owners -= u64::from(before == Role::Owner);
        self.set.remove(Table::Members, keys::of_room(room.id, user));
        remove_from_user(&mut self.set, user, name, room.id)?;
        self.put_room(name, &room);
        Ok(RoomDone::Removed)
    }

    /// Makes a user a lasting member with a role, or gives a lasting member another one. Nothing has changed if it is refused;
    /// the caller writes the room.
    pub(super) fn add_member(
        &mut self,
        name: &RoomName,
        room: &mut Room,
        user: &UserName,
        role: Role,
    ) -> Result<(), Stop> {
        let before = lookups::role(&self.set, room.id, user)?;
        let created = room.created.as_mut().expect(CREATED);
        if before.is_none() && created.kept.members >= self.setup.bounds.room_members {
            return Err(RoomRefusal::Full.into());
        }
        self.add_to_user(name, room.id, user, role)?;
        created.kept.members += u64::from(before.is_none());
        created.owners += u64::from(role == Role::Owner);
        created.owners -= u64::from(before == Some(Role::Owner));
        self.put(Table::Members, keys::of_room(room.id, user), &role);
        Ok(())
    }

    fn add_to_user(&mut self, name: &RoomName, id: u64, user: &UserName, role: Role) -> Result<(), Stop> {
        let key = keys::user_room(user, name);
        if UserRoom::find(&self.set, Table::UserRooms, &key)?.is_none() {
            let mut count = UserCount::find(&self.set, Table::UserRooms, user.as_bytes())?.unwrap_or_default();
            if count.rooms >= self.setup.bounds.user_rooms {
                count = self.recount(user, count)?;
            }
            if count.rooms >= self.setup.bounds.user_rooms {
                return Err(RoomRefusal::Full.into());
            }
            count.rooms += 1;
            self.put(Table::UserRooms, user.as_bytes(), &count);
        }
        self.put(Table::UserRooms, key, &UserRoom { id, role });
        Ok(())
    }

    /// Removes the rows of deleted rooms. Not twice for the same deletions: a user at the bound may try again and again.
    fn recount(&mut self, user: &UserName, count: UserCount) -> Result<UserCount, StateError> {
        let deletions = lookups::counter(&self.set, keys::DELETIONS)?;
        if count.deletions == deletions {
            return Ok(count);
        }
        let prefix = keys::rooms_of(user);
        let rows = UserRoom::scan(&self.set, Table::UserRooms, Span::prefix(&prefix, None), Direction::Up);
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        let mut rooms = 0;
        for (key, row) in rows {
            let room = Room::find(&self.set, Table::Rooms, &key[prefix.len()..])?;
            if room.is_some_and(|room| room.id == row.id) {
                rooms += 1;
            } else {
                self.set.remove(Table::UserRooms, key);
            }
        }
        let count = UserCount { rooms, deletions };
        self.put(Table::UserRooms, user.as_bytes(), &count);
        Ok(count)
    }
}

fn refuse_last_owner(room: &Room, before: Option<Role>) -> Result<(), Stop> {
    let owners = room.created.as_ref().map_or(0, |created| created.owners);
    if before == Some(Role::Owner) && owners == 1 { Err(RoomRefusal::LastOwner.into()) } else { Ok(()) }
}

/// Removes a room from a user's rooms, unless it is one of another id by now.
pub(super) fn remove_from_user(
    set: &mut WriteSet<'_>,
    user: &UserName,
    name: &RoomName,
    id: u64,
) -> Result<(), StateError> {
    let key = keys::user_room(user, name);
    let row = UserRoom::find(set as &dyn Rows, Table::UserRooms, &key)?;
    if row.is_none_or(|row| row.id != id) {
        return Ok(());
    }
    set.remove(Table::UserRooms, key);
    let mut count = UserCount::find(set as &dyn Rows, Table::UserRooms, user.as_bytes())?.unwrap_or_default();
    count.rooms = count.rooms.saturating_sub(1);
    if count.rooms == 0 {
        set.remove(Table::UserRooms, user.as_bytes().to_vec());
    } else {
        set.put(Table::UserRooms, user.as_bytes().to_vec(), count.to_bytes());
    }
    Ok(())
}
