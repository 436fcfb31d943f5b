//! The values of rows, and their bytes. A change of any of them raises the table's number in [`FORMATS`].

use bytes::Bytes;

use super::error::StateError;
use crate::base::chat::{Role, Visibility};
use crate::base::ids::{Epoch, Seq};
use crate::engine::kept::{KeptRoom, KeptSession};
use crate::store::codec::bytes::{DecodeError, Reader, Writer};
use crate::store::codec::values::{read_session, role, visibility, write_session};
use crate::store::tables::rows::{Direction, Rows, Span};
use crate::store::tables::table::Table;

/// The format of each table, in the order of [`Table::ALL`].
pub(super) const FORMATS: [u8; Table::ALL.len()] = [1; Table::ALL.len()];

/// A value of a row.
pub(super) trait Value: Sized {
    fn write(&self, out: &mut Writer<'_>);
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError>;

    fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut Writer(&mut out));
        out.into()
    }

    fn of_row(table: Table, key: &[u8], value: &Bytes) -> Result<Self, StateError> {
        let mut from = Reader::new(value);
        let read = Self::read(&mut from).and_then(|read| from.end().map(|()| read));
        read.map_err(|source| StateError::Row { table, key: key.escape_ascii().to_string(), source })
    }

    fn find(rows: &dyn Rows, table: Table, key: &[u8]) -> Result<Option<Self>, StateError> {
        let value = rows.get(table, key)?;
        value.map(|value| Self::of_row(table, key, &value)).transpose()
    }

    /// Rows in order, with their keys.
    fn scan<'a>(
        rows: &'a dyn Rows,
        table: Table,
        span: Span,
        direction: Direction,
    ) -> impl Iterator<Item = Result<(Bytes, Self), StateError>> + 'a {
        rows.scan(table, span, direction).map(move |row| {
            let (key, value) = row?;
            let value = Self::of_row(table, &key, &value)?;
            Ok((key, value))
        })
    }
}

impl Value for u64 {
    fn write(&self, out: &mut Writer<'_>) {
        out.u64(*self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.u64("a number")
    }
}

/// There is a row; it says nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Present;

impl Value for Present {
    fn write(&self, _: &mut Writer<'_>) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Present)
    }
}

/// What a room that was created has beside its numbering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Created {
    pub kept: KeptRoom,
    pub owners: u64,
    /// Rows in `invites`, expired ones included.
    pub invites: u64,
}

/// A room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Begins the keys of its rows. 0: there is nothing of it, but its `past`.
    pub id: u64,
    /// [`Epoch::UNKNOWN`]: it has no numbering yet, or none any more.
    pub epoch: Epoch,
    /// The numbering of the life that was deleted last: records of it that come late are dropped.
    pub past: Epoch,
    /// The lowest record that is there; the head's next if there is none. All from here to the head are there.
    pub first: Seq,
    pub head: Seq,
    /// From this record on, none is older than the one before.
    pub steady_from: Seq,
    /// The head's time.
    pub last_at: u64,
    /// There are no rows in `keys` below.
    pub keys_from: Seq,
    /// Nor above.
    pub keys_to: Seq,
    /// In which it was last used.
    pub boot: u64,
    pub used_at: u64,
    /// Rows in `receipts`.
    pub receipts: u64,
    pub created: Option<Created>,
}

impl Room {
    /// A room of which nothing is known.
    pub const fn unknown() -> Self {
        Self {
            id: 0,
            epoch: Epoch::UNKNOWN,
            past: Epoch::UNKNOWN,
            first: 1,
            head: 0,
            steady_from: 1,
            last_at: 0,
            keys_from: 1,
            keys_to: 0,
            boot: 0,
            used_at: 0,
            receipts: 0,
            created: None,
        }
    }

    pub fn has_numbering(&self) -> bool {
        self.epoch != Epoch::UNKNOWN
    }

    /// Starts to number behind `head`.
    pub fn number(&mut self, epoch: Epoch, head: Seq) {
        let next = head + 1;
        (self.epoch, self.first, self.head, self.steady_from, self.last_at) = (epoch, next, head, next, 0);
        (self.keys_from, self.keys_to) = (next, head);
    }

    pub fn use_at(&mut self, at: u64, boot: u64) {
        self.used_at = self.used_at.max(at);
        self.boot = boot;
    }
}

impl Value for Room {
    fn write(&self, out: &mut Writer<'_>) {
        for number in [
            self.id,
            self.epoch.0,
            self.past.0,
            self.first,
            self.head,
            self.steady_from,
            self.last_at,
            self.keys_from,
            self.keys_to,
            self.boot,
            self.used_at,
            self.receipts,
        ] {
            out.u64(number);
        }
        out.option(self.created.as_ref(), |out, created| {
            out.u8(created.kept.visibility as u8);
            out.text(&created.kept.title);
            out.u64(created.kept.members);
            out.u64(created.owners);
            out.u64(created.invites);
        });
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: from.u64("a room's id")?,
            epoch: Epoch(from.u64("a room's epoch")?),
            past: Epoch(from.u64("a room's past epoch")?),
            first: from.u64("a room's first seq")?,
            head: from.u64("a room's head")?,
            steady_from: from.u64("where a room's times are in order")?,
            last_at: from.u64("a room's last time")?,
            keys_from: from.u64("a room's first key")?,
            keys_to: from.u64("a room's last key")?,
            boot: from.u64("a room's boot")?,
            used_at: from.u64("a room's last use")?,
            receipts: from.u64("a room's number of receipts")?,
            created: from.option("a room's creation", |from| {
                let visibility: Visibility = from.choice("visibility", visibility)?;
                let title = from.text("a room's title")?.into();
                let members = from.u64("a room's number of members")?;
                let kept = KeptRoom { visibility, title, members };
                Ok(Created {
                    kept,
                    owners: from.u64("a room's number of owners")?,
                    invites: from.u64("a room's number of invites")?,
                })
            })?,
        })
    }
}

/// A row of `keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub at: u64,
    pub from: crate::base::ids::UserName,
    pub key: Box<str>,
}

impl Value for Key {
    fn write(&self, out: &mut Writer<'_>) {
        out.u64(self.at);
        out.text(&self.from);
        out.text(&self.key);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            at: from.u64("a key's time")?,
            from: from.user("a key's publisher")?,
            key: from.text("a key's text")?.into(),
        })
    }
}

impl Value for Role {
    fn write(&self, out: &mut Writer<'_>) {
        out.u8(*self as u8);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.choice("role", role)
    }
}

/// A row of `user_rooms` for one room. It is stale if the room has another id by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserRoom {
    pub id: u64,
    pub role: Role,
}

impl Value for UserRoom {
    fn write(&self, out: &mut Writer<'_>) {
        out.u64(self.id);
        out.u8(self.role as u8);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { id: from.u64("a room's id")?, role: from.choice("role", role)? })
    }
}

/// A row of `user_rooms` for the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UserCount {
    /// Rows of the user's rooms, stale ones included.
    pub rooms: u64,
    /// How many created rooms had been deleted when no row of the user was stale.
    pub deletions: u64,
}

impl Value for UserCount {
    fn write(&self, out: &mut Writer<'_>) {
        out.u64(self.rooms);
        out.u64(self.deletions);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { rooms: from.u64("a user's number of rooms")?, deletions: from.u64("a number of deletions")? })
    }
}

/// An invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invite {
    pub expires_at: u64,
    /// How often it can be used; 0: without bound. One that is used up has no row.
    pub uses_left: u32,
}

impl Value for Invite {
    fn write(&self, out: &mut Writer<'_>) {
        out.u64(self.expires_at);
        out.u32(self.uses_left);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { expires_at: from.u64("an invite's end")?, uses_left: from.u32("an invite's uses")? })
    }
}

/// The receipts of one user in one room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Receipts {
    pub read: Seq,
    pub delivered: Seq,
}

impl Value for Receipts {
    fn write(&self, out: &mut Writer<'_>) {
        out.u64(self.read);
        out.u64(self.delivered);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { read: from.u64("a receipt's seq")?, delivered: from.u64("a receipt's seq")? })
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub kept: KeptSession,
    /// In which it was last saved.
    pub boot: u64,
    pub ended_at: Option<u64>,
}

impl Value for Session {
    fn write(&self, out: &mut Writer<'_>) {
        write_session(out, &self.kept);
        out.u64(self.boot);
        out.option(self.ended_at, Writer::u64);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            kept: read_session(from)?,
            boot: from.u64("a session's boot")?,
            ended_at: from.option("a session's end", |from| from.u64("a session's end"))?,
        })
    }
}

/// The boot of the last `Begin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Boot {
    pub number: u64,
    pub is_behind: bool,
    pub has_ended: bool,
}

impl Value for Boot {
    fn write(&self, out: &mut Writer<'_>) {
        out.u64(self.number);
        out.flag(self.is_behind);
        out.flag(self.has_ended);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            number: from.u64("a boot's number")?,
            is_behind: from.flag("a boot's flag")?,
            has_ended: from.flag("a boot's end")?,
        })
    }
}

/// A row of `garbage`: the room's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(pub crate::base::ids::RoomName);

impl Value for Name {
    fn write(&self, out: &mut Writer<'_>) {
        out.text(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.room("a room's name").map(Name)
    }
}
