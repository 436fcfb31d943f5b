//! The values that changes and rows have in common, as bytes: records, sessions, accounts, dead letters. Each `write` has its
//! `read`.

use std::sync::Arc;

use super::bytes::{DecodeError, Reader, Writer};
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::ids::{Epoch, Seq};
use crate::engine::kept::{DeadLetter, KeptAccount, KeptSession};
use crate::engine::record::Record;
use crate::wire::publication::DataKind;

/// The role of a byte.
#[must_use]
pub fn role(byte: u8) -> Option<Role> {
    [Role::Member, Role::Admin, Role::Owner].into_iter().find(|role| *role as u8 == byte)
}

/// The visibility of a byte.
#[must_use]
pub fn visibility(byte: u8) -> Option<Visibility> {
    [Visibility::Public, Visibility::Private].into_iter().find(|visibility| *visibility as u8 == byte)
}

/// The kind of receipt of a byte.
#[must_use]
pub fn receipt_kind(byte: u8) -> Option<ReceiptKind> {
    [ReceiptKind::Read, ReceiptKind::Delivered].into_iter().find(|kind| *kind as u8 == byte)
}

fn data_kind(byte: u8) -> Option<DataKind> {
    match byte {
        0 => Some(DataKind::Json),
        1 => Some(DataKind::Binary),
        _ => None,
    }
}

/// A record without its seq, which stands before it in a change and in the key of its row.
pub fn write_record(out: &mut Writer<'_>, record: &Record) {
    out.u64(record.at);
    out.u8(match record.kind {
        DataKind::Json => 0,
        DataKind::Binary => 1,
    });
    out.text(&record.from);
    out.option(record.key.as_deref(), Writer::text);
    out.option(record.except.as_deref(), Writer::text);
    out.bytes(&record.data);
}

/// # Errors
/// The bytes are no record.
pub fn read_record(from: &mut Reader<'_>, seq: Seq) -> Result<Record, DecodeError> {
    Ok(Record {
        seq,
        at: from.u64("a record's time")?,
        kind: from.choice("kind of data", data_kind)?,
        from: from.user("a record's publisher")?,
        key: from.option("a record's key", |from| Ok(from.text("a record's key")?.into()))?,
        except: from.option("a record's connection", |from| Ok(Arc::from(from.text("a record's connection")?)))?,
        data: from.bytes("a record's data")?,
    })
}

/// The time at which a record's row says that it was published, without the rest.
///
/// # Errors
/// The bytes are too short.
pub fn read_record_time(from: &mut Reader<'_>) -> Result<u64, DecodeError> {
    from.u64("a record's time")
}

/// A session without its id.
pub fn write_session(out: &mut Writer<'_>, session: &KeptSession) {
    out.text(&session.user);
    out.text(&session.node);
    out.u64(session.opened_at);
}

/// # Errors
/// The bytes are no session.
pub fn read_session(from: &mut Reader<'_>) -> Result<KeptSession, DecodeError> {
    Ok(KeptSession {
        user: from.user("a session's user")?,
        node: Arc::from(from.text("a session's node")?),
        opened_at: from.u64("a session's time")?,
    })
}

/// An account.
pub fn write_account(out: &mut Writer<'_>, account: &KeptAccount) {
    out.text(&account.user);
    out.option(account.name.as_deref(), Writer::text);
    out.text(&account.password_hash);
    out.u64(account.created_at);
    out.flag(account.is_locked);
}

/// # Errors
/// The bytes are no account.
pub fn read_account(from: &mut Reader<'_>) -> Result<KeptAccount, DecodeError> {
    Ok(KeptAccount {
        user: from.user("an account's user")?,
        name: from.option("an account's shown name", |from| Ok(from.text("an account's shown name")?.into()))?,
        password_hash: from.text("an account's password hash")?.into(),
        created_at: from.u64("an account's time")?,
        is_locked: from.flag("an account's lock")?,
    })
}

/// A dead letter.
pub fn write_dead_letter(out: &mut Writer<'_>, letter: &DeadLetter) {
    out.u64(letter.id);
    out.u64(letter.at);
    out.text(&letter.reason);
    out.text(&letter.room);
    out.u64(letter.epoch.0);
    out.u64(letter.record.seq);
    write_record(out, &letter.record);
}

/// # Errors
/// The bytes are no dead letter.
pub fn read_dead_letter(from: &mut Reader<'_>) -> Result<DeadLetter, DecodeError> {
    let (id, at) = (from.u64("a dead letter's id")?, from.u64("a dead letter's time")?);
    let reason = from.text("a dead letter's reason")?.into();
    let room = from.room("a dead letter's room")?;
    let epoch = Epoch(from.u64("a dead letter's epoch")?);
    let seq = from.u64("a dead letter's seq")?;
    Ok(DeadLetter { id, at, reason, room, epoch, record: read_record(from, seq)? })
}
