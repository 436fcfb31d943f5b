//! The steps of an import, as values and as bytes.

use crate::base::chat::{Role, Visibility};
use crate::base::ids::{Epoch, Position, RoomName, Seq, UserName};
use crate::engine::record::Record;
use crate::store::codec::bytes::{DecodeError, Reader, Writer};
use crate::store::codec::values::{read_record, role, visibility, write_record};

/// A step of bringing in one room. Between `Start` and `Finish` the room is not there; what a process has not finished when it
/// ends is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportStep {
    /// Begin with a room. What was begun before and not finished is removed.
    Start {
        /// Which room. There must be none of this name.
        room: RoomName,
        /// Its numbering and head; `None`: it has none.
        head: Option<Position>,
        /// The room gets another epoch when it is opened, because messages of this one have been seen and were not exported.
        needs_epoch: bool,
        /// When it was last used, Unix milliseconds.
        used_at: u64,
        /// Visibility and title of a created room.
        created: Option<(Visibility, Box<str>)>,
    },
    /// A lasting member of a created room.
    Member {
        /// The member.
        user: UserName,
        /// The member's role.
        role: Role,
    },
    /// An invite to a created room.
    Invite {
        /// Its code.
        code: Box<str>,
        /// How often it can be used; 0: without bound.
        uses_left: u32,
        /// Until when, Unix milliseconds.
        expires_at: u64,
    },
    /// The receipts of a user.
    Receipt {
        /// The user.
        user: UserName,
        /// Has read up to here.
        read: Seq,
        /// Has been given the messages up to here.
        delivered: Seq,
    },
    /// The next record. The first one may have any number.
    Record(Record),
    /// The room is whole: its records end with its head. Otherwise it is removed.
    Finish,
}

pub(super) fn write(out: &mut Writer<'_>, step: &ImportStep) {
    match step {
        ImportStep::Start { room, head, needs_epoch, used_at, created } => {
            out.u8(1);
            out.text(room);
            out.option(head.as_ref(), |out, head| {
                out.u64(head.epoch.0);
                out.u64(head.seq);
            });
            out.flag(*needs_epoch);
            out.u64(*used_at);
            out.option(created.as_ref(), |out, (visibility, title)| {
                out.u8(*visibility as u8);
                out.text(title);
            });
        }
        ImportStep::Member { user, role } => {
            out.u8(2);
            out.text(user);
            out.u8(*role as u8);
        }
        ImportStep::Invite { code, uses_left, expires_at } => {
            out.u8(3);
            out.text(code);
            out.u32(*uses_left);
            out.u64(*expires_at);
        }
        ImportStep::Receipt { user, read, delivered } => {
            out.u8(4);
            out.text(user);
            out.u64(*read);
            out.u64(*delivered);
        }
        ImportStep::Record(record) => {
            out.u8(5);
            out.u64(record.seq);
            write_record(out, record);
        }
        ImportStep::Finish => out.u8(6),
    }
}

pub(super) fn read(from: &mut Reader<'_>) -> Result<ImportStep, DecodeError> {
    Ok(match from.choice("step of an import", |byte| (1..=6).contains(&byte).then_some(byte))? {
        1 => ImportStep::Start {
            room: from.room("an imported room")?,
            head: from.option("an imported room's head", |from| {
                let epoch = Epoch(from.u64("an imported room's epoch")?);
                Ok(Position { epoch, seq: from.u64("an imported room's head")? })
            })?,
            needs_epoch: from.flag("an imported room's flag")?,
            used_at: from.u64("an imported room's time")?,
            created: from.option("an imported room's creation", |from| {
                Ok((from.choice("visibility", visibility)?, from.text("a room's title")?.into()))
            })?,
        },
        2 => ImportStep::Member { user: from.user("a member")?, role: from.choice("role", role)? },
        3 => ImportStep::Invite {
            code: from.text("an invite's code")?.into(),
            uses_left: from.u32("an invite's uses")?,
            expires_at: from.u64("an invite's end")?,
        },
        4 => ImportStep::Receipt {
            user: from.user("a receipt's user")?,
            read: from.u64("a receipt's seq")?,
            delivered: from.u64("a receipt's seq")?,
        },
        5 => {
            let seq = from.u64("a record's seq")?;
            ImportStep::Record(read_record(from, seq)?)
        }
        _ => ImportStep::Finish,
    })
}
