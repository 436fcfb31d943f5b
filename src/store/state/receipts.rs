//! Receipts: up to where a user has read a room, or been given its messages.

use super::group::Group;
use super::keys;
use super::lookups;
use super::outcome::Stop;
use crate::base::chat::ReceiptKind;
use crate::base::ids::{RoomName, Seq, UserName};
use crate::engine::kept::{RoomDone, RoomRefusal};
use crate::store::tables::table::Table;

impl Group<'_> {
    /// Keeps the highest seq. Where publications are kept, it is at most the head; so a room that is not known has no receipts.
    pub(super) fn keep_receipt(
        &mut self,
        name: &RoomName,
        user: &UserName,
        kind: ReceiptKind,
        seq: Seq,
        at: u64,
    ) -> Result<RoomDone, Stop> {
        let mut room = self.room(name)?;
        let seq = if self.setup.keeps_records { seq.min(room.head) } else { seq };
        let before = lookups::receipts(&self.set, room.id, user)?;
        let mut receipts = before.unwrap_or_default();
        let kept = match kind {
            ReceiptKind::Read => &mut receipts.read,
            ReceiptKind::Delivered => &mut receipts.delivered,
        };
        if seq <= *kept {
            return Ok(RoomDone::Receipt { seq: *kept });
        }
        *kept = seq;
        if before.is_none() {
            if room.receipts >= self.setup.bounds.room_receipts {
                return Err(RoomRefusal::Full.into());
            }
            self.begin_life(&mut room)?;
            room.receipts += 1;
        }
        room.used_at = room.used_at.max(at);
        self.put(Table::Receipts, keys::of_room(room.id, user), &receipts);
        self.put_room(name, &room);
        Ok(RoomDone::Receipt { seq })
    }
}
