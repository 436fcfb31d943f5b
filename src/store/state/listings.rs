//! Lists for operators and for the export: all rooms, and the members, receipts and records of one. In the order of keys.

use super::error::StateError;
use super::rows::{Invite, Receipts, Room, Value};
use super::rules::Setup;
use super::{answers, keys, lookups, pages};
use crate::base::chat::Role;
use crate::base::ids::{Position, RoomName, Seq, UserName};
use crate::engine::kept::KeptRoom;
use crate::engine::record::Record;
use crate::store::tables::rows::{Direction, Rows, Span};
use crate::store::tables::table::Table;

/// A room in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// Its name.
    pub room: RoomName,
    /// Its numbering and head.
    pub head: Option<Position>,
    /// The lowest record that has not been removed; the head's next if there is none.
    pub first_seq: Seq,
    /// When it was last used, Unix milliseconds.
    pub used_at: u64,
    /// What was created under this name.
    pub created: Option<KeptRoom>,
    /// Its epoch cannot be continued: messages of it have been seen and are not held.
    pub needs_epoch: bool,
}

/// An invite in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedInvite {
    /// Its code.
    pub code: Box<str>,
    /// How often it can be used; 0: without bound.
    pub uses_left: u32,
    /// Until when, Unix milliseconds.
    pub expires_at: u64,
}

/// A lasting member in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMember {
    /// The member.
    pub user: UserName,
    /// The member's role.
    pub role: Role,
}

/// The receipts of a user in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedReceipt {
    /// The user.
    pub user: UserName,
    /// Has read up to here.
    pub read: Seq,
    /// Has been given the messages up to here.
    pub delivered: Seq,
}

pub(super) fn rooms(
    rows: &dyn Rows,
    setup: &Setup,
    after: Option<&RoomName>,
    limit: usize,
) -> Result<Vec<RoomSummary>, StateError> {
    let span = Span::prefix(b"", after.map(|after| after.as_bytes()));
    let mut listed = Vec::new();
    for row in Room::scan(rows, Table::Rooms, span, Direction::Up) {
        if listed.len() >= limit {
            break;
        }
        let (key, room) = row?;
        let name = std::str::from_utf8(&key).ok().and_then(|name| RoomName::new(name).ok());
        // Of a deleted room only its past numbering is left, which is nobody's concern.
        if let Some(name) = name.filter(|_| room.id != 0) {
            listed.push(summary(rows, setup, name, room)?);
        }
    }
    Ok(listed)
}

pub(super) fn find_room(rows: &dyn Rows, setup: &Setup, name: &RoomName) -> Result<Option<RoomSummary>, StateError> {
    let room = lookups::room(rows, name)?;
    if room.id == 0 { Ok(None) } else { summary(rows, setup, name.clone(), room).map(Some) }
}

fn summary(rows: &dyn Rows, setup: &Setup, name: RoomName, room: Room) -> Result<RoomSummary, StateError> {
    let head = answers::head(&room, setup);
    let needs_epoch = room.has_numbering() && lookups::is_left_unclean(rows, room.boot)?;
    let Room { first, used_at, created, .. } = room;
    let created = created.map(|created| created.kept);
    Ok(RoomSummary { room: name, head, first_seq: first, used_at, created, needs_epoch })
}

pub(super) fn members(
    rows: &dyn Rows,
    name: &RoomName,
    after: Option<&UserName>,
    limit: usize,
) -> Result<Vec<ListedMember>, StateError> {
    let listed = of_room::<Role>(rows, Table::Members, name, after, limit)?;
    Ok(listed.into_iter().map(|(user, role)| ListedMember { user, role }).collect())
}

pub(super) fn receipts(
    rows: &dyn Rows,
    name: &RoomName,
    after: Option<&UserName>,
    limit: usize,
) -> Result<Vec<ListedReceipt>, StateError> {
    let listed = of_room::<Receipts>(rows, Table::Receipts, name, after, limit)?;
    let listed = listed.into_iter();
    Ok(listed.map(|(user, Receipts { read, delivered })| ListedReceipt { user, read, delivered }).collect())
}

/// The invites of a room whose codes are above one, expired ones included.
pub(super) fn invites(
    rows: &dyn Rows,
    name: &RoomName,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<ListedInvite>, StateError> {
    let id = lookups::room(rows, name)?.id;
    let after = after.map(|after| keys::of_room(id, after));
    let span = Span::prefix(&keys::id(id), after.as_deref());
    let found = Invite::scan(rows, Table::Invites, span, Direction::Up).take(if id == 0 { 0 } else { limit });
    let listed = found.map(|row| {
        let (key, Invite { expires_at, uses_left }) = row?;
        Ok(keys::text_of(&key).map(|code| ListedInvite { code: code.into(), uses_left, expires_at }))
    });
    Ok(listed.collect::<Result<Vec<_>, StateError>>()?.into_iter().flatten().collect())
}

/// The records above `after` that have not been removed.
pub(super) fn records(
    rows: &dyn Rows,
    name: &RoomName,
    after: Seq,
    count: usize,
    bytes: usize,
) -> Result<Vec<Record>, StateError> {
    let room = lookups::room(rows, name)?;
    let from = room.first.max(after.saturating_add(1));
    pages::records(rows, name, &room, from, room.head, Direction::Up, count, bytes)
}

fn of_room<V: Value>(
    rows: &dyn Rows,
    table: Table,
    name: &RoomName,
    after: Option<&UserName>,
    limit: usize,
) -> Result<Vec<(UserName, V)>, StateError> {
    let id = lookups::room(rows, name)?.id;
    if id == 0 {
        return Ok(Vec::new());
    }
    let after = after.map(|after| keys::of_room(id, after));
    let mut listed = Vec::new();
    for row in V::scan(rows, table, Span::prefix(&keys::id(id), after.as_deref()), Direction::Up) {
        if listed.len() >= limit {
            break;
        }
        let (key, value) = row?;
        if let Some(user) = keys::text_of(&key).and_then(|user| UserName::new(user).ok()) {
            listed.push((user, value));
        }
    }
    Ok(listed)
}
