//! Rooms that come from an export. Their rows are written under a new id which no room has, and the room gets it with the last
//! step: until then nothing of the room can be seen.

use super::error::StateError;
use super::group::Group;
use super::outcome::{Outcome, Skipped, Stop};
use super::rows::{Created, Invite, Name, Present, Receipts, Room, Value};
use super::{keys, lookups};
use crate::base::chat::{Role, Visibility};
use crate::base::ids::{Position, RoomName, Seq, UserName};
use crate::engine::kept::{KeptRoom, RoomRefusal};
use crate::engine::record::Record;
use crate::store::change::ImportStep;
use crate::store::codec::bytes::{DecodeError, Reader, Writer};
use crate::store::tables::rows::Rows;
use crate::store::tables::table::Table;

/// A room of which not everything has come yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unfinished {
    name: RoomName,
    /// The room's head is `room.head` once the room is whole; the records so far end with `last`.
    room: Room,
    /// 0: no record has come.
    last: Seq,
}

impl Value for Unfinished {
    fn write(&self, out: &mut Writer<'_>) {
        Name(self.name.clone()).write(out);
        out.u64(self.last);
        self.room.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Name(name) = Name::read(from)?;
        let last = from.u64("an import's last record")?;
        Ok(Self { name, last, room: Room::read(from)? })
    }
}

impl Group<'_> {
    pub(super) fn import(&mut self, step: &ImportStep) -> Result<Outcome, StateError> {
        if let ImportStep::Start { room, head, needs_epoch, used_at, created } = step {
            return self.start_import(room, *head, *needs_epoch, *used_at, created.as_ref());
        }
        let Some(mut import) = Unfinished::find(&self.set, Table::Meta, keys::IMPORT)? else {
            return Ok(Outcome::Skipped(Skipped::NotImported));
        };
        let result = match step {
            ImportStep::Member { user, role } => self.import_member(&mut import, user, *role),
            ImportStep::Invite { code, uses_left, expires_at } => {
                self.import_invite(&mut import, code, Invite { uses_left: *uses_left, expires_at: *expires_at })
            }
            ImportStep::Receipt { user, read, delivered } => {
                self.import_receipt(&mut import, user, Receipts { read: *read, delivered: *delivered })
            }
            ImportStep::Record(record) => self.import_record(&mut import, record),
            ImportStep::Finish => return self.finish_import(&import),
            ImportStep::Start { .. } => Ok(()),
        };
        match result {
            Ok(()) => {
                self.put(Table::Meta, keys::IMPORT, &import);
                Ok(Outcome::Done)
            }
            Err(Stop::Refused(_)) => {
                self.end_import()?;
                Ok(Outcome::Skipped(Skipped::NotImported))
            }
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn start_import(
        &mut self,
        name: &RoomName,
        head: Option<Position>,
        needs_epoch: bool,
        used_at: u64,
        created: Option<&(Visibility, Box<str>)>,
    ) -> Result<Outcome, StateError> {
        self.end_import()?;
        let before = self.room(name)?;
        if before.id != 0 {
            return Ok(Outcome::Skipped(Skipped::Exists));
        }
        let mut room = Room { past: before.past, ..Room::unknown() };
        self.begin_life(&mut room)?;
        if let Some(head) = head {
            room.number(head.epoch, head.seq);
            // Of a room that was deleted meanwhile, more messages may have been seen than were exported.
            if needs_epoch || head.epoch == before.past {
                self.put(Table::Meta, keys::unclean(IMPORT_BOOT), &Present);
                room.boot = IMPORT_BOOT;
            } else {
                room.boot = self.boot.number;
            }
        }
        room.used_at = used_at;
        room.created = created.map(|(visibility, title)| {
            let kept = KeptRoom { visibility: *visibility, title: title.clone(), members: 0 };
            Created { kept, owners: 0, invites: 0 }
        });
        self.put(Table::Meta, keys::IMPORT, &Unfinished { name: name.clone(), room, last: 0 });
        Ok(Outcome::Done)
    }

    fn import_member(&mut self, import: &mut Unfinished, user: &UserName, role: Role) -> Result<(), Stop> {
        if import.room.created.is_none() || lookups::role(&self.set, import.room.id, user)?.is_some() {
            return Err(RoomRefusal::Exists.into());
        }
        self.add_member(&import.name, &mut import.room, user, role)
    }

    fn import_invite(&mut self, import: &mut Unfinished, code: &str, invite: Invite) -> Result<(), Stop> {
        let (id, max) = (import.room.id, self.setup.bounds.room_invites);
        let created = import.room.created.as_mut().filter(|created| created.invites < max);
        created.ok_or(RoomRefusal::Full)?.invites += 1;
        let key = keys::of_room(id, code);
        if self.set.get(Table::Invites, &key).map_err(StateError::from)?.is_some() {
            return Err(RoomRefusal::Exists.into());
        }
        self.put(Table::Invites, key, &invite);
        Ok(())
    }

    fn import_receipt(&mut self, import: &mut Unfinished, user: &UserName, receipts: Receipts) -> Result<(), Stop> {
        let is_new = lookups::receipts(&self.set, import.room.id, user)?.is_none();
        let is_above = receipts.read.max(receipts.delivered) > import.room.head;
        if !is_new || is_above || import.room.receipts >= self.setup.bounds.room_receipts {
            return Err(RoomRefusal::Full.into());
        }
        import.room.receipts += 1;
        self.put(Table::Receipts, keys::of_room(import.room.id, user), &receipts);
        Ok(())
    }

    fn import_record(&mut self, import: &mut Unfinished, record: &Record) -> Result<(), Stop> {
        let head = import.room.head;
        let is_next = if import.last == 0 { record.seq > 0 } else { record.seq == import.last + 1 };
        if !is_next || record.seq > head || !import.room.has_numbering() {
            return Err(RoomRefusal::NotFound.into());
        }
        if import.last == 0 {
            let epoch = import.room.epoch;
            import.room.number(epoch, record.seq - 1);
        }
        self.put_record(&mut import.room, record);
        (import.room.head, import.last) = (head, record.seq);
        Ok(())
    }

    fn finish_import(&mut self, import: &Unfinished) -> Result<Outcome, StateError> {
        let Unfinished { name, room, last } = import;
        let has_owner = room.created.as_ref().is_none_or(|created| created.owners > 0);
        if !has_owner || *last != 0 && *last != room.head || self.room(name)?.id != 0 {
            self.end_import()?;
            return Ok(Outcome::Skipped(Skipped::NotImported));
        }
        self.set.remove(Table::Meta, keys::IMPORT);
        self.put_room(name, room);
        Ok(Outcome::Done)
    }

    /// Leaves what has come of an unfinished room to the sweep.
    pub(super) fn end_import(&mut self) -> Result<(), StateError> {
        if let Some(Unfinished { name, room, .. }) = Unfinished::find(&self.set, Table::Meta, keys::IMPORT)? {
            self.set.remove(Table::Meta, keys::IMPORT);
            self.end_life(&name, room.id);
        }
        Ok(())
    }
}

/// Stands for the boot in which rooms were used whose epoch must not be continued. Boots count from 1.
const IMPORT_BOOT: u64 = 0;

/// The id under which the rows of an unfinished room are.
pub(super) fn unfinished_id(rows: &dyn Rows) -> Result<Option<u64>, StateError> {
    Ok(Unfinished::find(rows, Table::Meta, keys::IMPORT)?.map(|import| import.room.id))
}
