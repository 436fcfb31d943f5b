//! Reads that several files need: rooms, roles, receipts, boots. Over tables, or over what a group has changed.

use super::error::StateError;
use super::keys;
use super::rows::{Boot, Present, Receipts, Room, Value};
use crate::base::chat::{ReceiptKind, Role};
use crate::base::ids::{RoomName, Seq, UserName};
use crate::store::tables::rows::Rows;
use crate::store::tables::table::Table;

/// A room, as far as it is known.
pub(super) fn room(rows: &dyn Rows, name: &RoomName) -> Result<Room, StateError> {
    Ok(Room::find(rows, Table::Rooms, name.as_bytes())?.unwrap_or(Room::unknown()))
}

/// The role of a lasting member.
pub(super) fn role(rows: &dyn Rows, id: u64, user: &UserName) -> Result<Option<Role>, StateError> {
    Role::find(rows, Table::Members, &keys::of_room(id, user))
}

/// What a user has of a room.
pub(super) fn receipts(rows: &dyn Rows, id: u64, user: &str) -> Result<Option<Receipts>, StateError> {
    if id == 0 { Ok(None) } else { Receipts::find(rows, Table::Receipts, &keys::of_room(id, user)) }
}

/// One kind of it.
pub(super) fn receipt(rows: &dyn Rows, id: u64, user: &UserName, kind: ReceiptKind) -> Result<Seq, StateError> {
    let receipts = receipts(rows, id, user)?.unwrap_or_default();
    Ok(match kind {
        ReceiptKind::Read => receipts.read,
        ReceiptKind::Delivered => receipts.delivered,
    })
}

/// Up to where the owner of an inbox has taken its messages. `None`: the room is no inbox.
pub(super) fn delivered(rows: &dyn Rows, name: &RoomName, room: &Room) -> Result<Option<Seq>, StateError> {
    let Some(owner) = name.strip_prefix('@') else { return Ok(None) };
    Ok(Some(receipts(rows, room.id, owner)?.unwrap_or_default().delivered))
}

/// The last boot.
pub(super) fn boot(rows: &dyn Rows) -> Result<Boot, StateError> {
    Ok(Boot::find(rows, Table::Meta, keys::BOOT)?.unwrap_or_default())
}

/// Whether a room that was last used in a boot must have another numbering in a later one.
pub(super) fn is_unclean(rows: &dyn Rows, boot: u64) -> Result<bool, StateError> {
    Ok(Present::find(rows, Table::Meta, &keys::unclean(boot))?.is_some())
}

/// Whether a room that was last used in a boot must have another numbering in the next one.
pub(super) fn is_left_unclean(rows: &dyn Rows, boot: u64) -> Result<bool, StateError> {
    let last = self::boot(rows)?;
    Ok(last.number == boot && last.is_behind && !last.has_ended || is_unclean(rows, boot)?)
}

/// A counter.
pub(super) fn counter(rows: &dyn Rows, key: &[u8]) -> Result<u64, StateError> {
    Ok(u64::find(rows, Table::Meta, key)?.unwrap_or(0))
}
