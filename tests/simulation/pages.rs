//! Pages of records, as the models of a link and of a database read them.

use roomring::engine::record::{PageRequest, Record, RecordPage};

/// The page that was asked for, of what is held in order.
pub fn read_page(request: &PageRequest, held: &[&Record]) -> RecordPage {
    let PageRequest { after, before, expired_at, count, bytes, .. } = *request;
    let expired = held.iter().rposition(|record| record.at <= expired_at).map_or(0, |last| last + 1);
    let held = &held[expired..];
    let first_seq = held.first().map(|record| record.seq);
    let fits = |record: &&&Record| record.seq < before && Some(record.seq) > after;
    let mut room = bytes;
    let takes = |record: &&&Record| {
        let is_first = room == bytes;
        let has_room = is_first || record.data.len() <= room;
        room = room.saturating_sub(record.data.len().max(1));
        has_room
    };
    let records = held.iter().filter(fits);
    let records = match after {
        Some(_) => records.take(count).take_while(takes).map(|record| (*record).clone()).collect(),
        None => {
            let newest = records.rev().take(count).take_while(takes);
            let mut newest: Vec<Record> = newest.map(|record| (*record).clone()).collect();
            newest.reverse();
            newest
        }
    };
    RecordPage { first_seq, records }
}
