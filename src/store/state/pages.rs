//! Reads of a room's records: what a core needs to open the room, and pages of its history. Shows what is not over the room's
//! bounds, whether the sweep has removed the rest or not.

use super::error::StateError;
use super::rows::{Key, Room, Value};
use super::rules::{Keep, Rules, Setup};
use super::{answers, keys, lookups};
use crate::base::ids::{RoomName, Seq};
use crate::base::limits::KEYS_PER_ROOM_MAX;
use crate::engine::kept::KeptRoom;
use crate::engine::record::{PageRequest, Record, RecordPage, Stretch};
use crate::engine::store_port::KeptKey;
use crate::store::codec::bytes::{DecodeError, Reader};
use crate::store::codec::values::{read_record, read_record_time};
use crate::store::tables::rows::{Direction, Rows, Span};
use crate::store::tables::table::Table;

/// What a core needs to open a room: the fields of `StoreEvent::Loaded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The room's numbering and head, and its newest records.
    pub stretch: Stretch,
    /// The lowest number that is held; the head's next where none is.
    pub first_seq: Seq,
    /// The keys that were asked for, in the order of their seqs.
    pub keys: Vec<KeptKey>,
    /// What was created under this name.
    pub created: Option<KeptRoom>,
}

pub(super) fn load(
    rows: &dyn Rows,
    setup: &Setup,
    rules: &Rules,
    name: &RoomName,
    count: usize,
    keys_since: u64,
) -> Result<Loaded, StateError> {
    let room = lookups::room(rows, name)?;
    let head = answers::head(&room, setup);
    let created = room.created.as_ref().map(|created| created.kept.clone());
    if head.is_none() {
        return Ok(Loaded { stretch: Stretch { head, records: Vec::new() }, first_seq: 1, keys: Vec::new(), created });
    }
    let keep = (rules.retention)(name);
    let delivered = lookups::delivered(rows, name, &room)?;
    let first_seq = shown_from(&room, keep, room.first, delivered);
    let from = first_seq.max((room.head + 1).saturating_sub(count as u64));
    let mut records = records(rows, name, &room, from, room.head, Direction::Down, count, usize::MAX)?;
    records.reverse();
    let keys = keys_of(rows, &room, keys_since)?;
    Ok(Loaded { stretch: Stretch { head, records }, first_seq, keys, created })
}

fn keys_of(rows: &dyn Rows, room: &Room, since: u64) -> Result<Vec<KeptKey>, StateError> {
    let mut found = Vec::new();
    if room.keys_from > room.keys_to {
        return Ok(found);
    }
    let span = span(room.id, room.keys_from, room.keys_to);
    for row in Key::scan(rows, Table::Keys, span, Direction::Down) {
        let (key, row) = row?;
        if row.at >= since {
            found.push(KeptKey { from: row.from, key: row.key, seq: keys::seq_of(&key), at: row.at });
        }
        if found.len() == KEYS_PER_ROOM_MAX {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

pub(super) fn page(
    rows: &dyn Rows,
    setup: &Setup,
    rules: &Rules,
    request: &PageRequest,
) -> Result<RecordPage, StateError> {
    let PageRequest { room: name, epoch, after, before, expired_at, count, bytes, .. } = request;
    let room = lookups::room(rows, name)?;
    if !setup.keeps_records || !room.has_numbering() || room.epoch != *epoch {
        return Ok(RecordPage { first_seq: None, records: Vec::new() });
    }
    let unexpired = first_after(rows, name, &room, *expired_at)?;
    let delivered = lookups::delivered(rows, name, &room)?;
    let first = shown_from(&room, (rules.retention)(name), unexpired, delivered);
    let first_seq = (first <= room.head).then_some(first);
    let from = after.map_or(first, |after| first.max(after.saturating_add(1)));
    let to = room.head.min(before.saturating_sub(1));
    let direction = if after.is_some() { Direction::Up } else { Direction::Down };
    let mut records = records(rows, name, &room, from, to, direction, *count, *bytes)?;
    if direction == Direction::Down {
        records.reverse();
    }
    Ok(RecordPage { first_seq, records })
}

/// The lowest record that is shown: not below `unexpired`, and within the room's number of records. Of an inbox everything
/// that its owner has not taken is shown.
pub(super) fn shown_from(room: &Room, keep: Keep, unexpired: Seq, delivered: Option<Seq>) -> Seq {
    let counted = (room.head + 1).saturating_sub(keep.count);
    let kept = counted.max(unexpired);
    let kept = delivered.map_or(kept, |delivered| kept.min(delivered.saturating_add(1)));
    kept.clamp(room.first, room.head + 1)
}

/// The record behind the last one that was published at a time or before. Times are in order but where a clock was set back;
/// in what is older than that, every record may have to be read.
pub(super) fn first_after(rows: &dyn Rows, name: &RoomName, room: &Room, at: u64) -> Result<Seq, StateError> {
    if room.first > room.head {
        return Ok(room.first);
    }
    if room.last_at <= at {
        return Ok(room.head + 1);
    }
    let steady = room.steady_from.clamp(room.first, room.head);
    let is_expired = |seq| Ok::<_, StateError>(time_of(rows, name, room, seq)? <= at);
    if is_expired(steady)? {
        let (mut expired, mut shown) = (steady, room.head);
        while expired + 1 < shown {
            let middle = expired + (shown - expired) / 2;
            if is_expired(middle)? {
                expired = middle;
            } else {
                shown = middle;
            }
        }
        return Ok(shown);
    }
    for seq in (room.first..steady).rev() {
        if is_expired(seq)? {
            return Ok(seq + 1);
        }
    }
    Ok(room.first)
}

fn time_of(rows: &dyn Rows, name: &RoomName, room: &Room, seq: Seq) -> Result<u64, StateError> {
    let key = keys::record(room.id, seq);
    let Some(value) = rows.get(Table::Records, &key)? else {
        return Err(StateError::Missing { room: name.clone(), seq });
    };
    read_record_time(&mut Reader::new(&value)).map_err(|source| unreadable(&key, source))
}

fn unreadable(key: &[u8], source: DecodeError) -> StateError {
    StateError::Row { table: Table::Records, key: key.escape_ascii().to_string(), source }
}

fn span(id: u64, from: Seq, to: Seq) -> Span {
    use std::ops::Bound::Included;
    Span { from: Included(keys::record(id, from)), to: Included(keys::record(id, to)) }
}

/// The records from `from` to `to`, from the end where `direction` begins: at most `count`, and `bytes` of data, though one at
/// least.
#[allow(clippy::too_many_arguments, reason = "each says which records")]
pub(super) fn records(
    rows: &dyn Rows,
    name: &RoomName,
    room: &Room,
    from: Seq,
    to: Seq,
    direction: Direction,
    count: usize,
    bytes: usize,
) -> Result<Vec<Record>, StateError> {
    let mut records: Vec<Record> = Vec::new();
    let mut left = bytes;
    if from > to {
        return Ok(records);
    }
    let mut expected = if direction == Direction::Up { from } else { to };
    let mut stored = rows.scan(Table::Records, span(room.id, from, to), direction);
    while records.len() < count && (from..=to).contains(&expected) {
        let missing = || StateError::Missing { room: name.clone(), seq: expected };
        let (key, value) = stored.next().ok_or_else(missing)??;
        if keys::seq_of(&key) != expected {
            return Err(missing());
        }
        let mut reader = Reader::new(&value);
        let record = read_record(&mut reader, expected).and_then(|record| reader.end().map(|()| record));
        let record = record.map_err(|source| unreadable(&key, source))?;
        if !records.is_empty() && record.data.len() > left {
            break;
        }
        left = left.saturating_sub(record.data.len().max(1));
        records.push(record);
        expected = if direction == Direction::Up { expected + 1 } else { expected - 1 };
    }
    Ok(records)
}
