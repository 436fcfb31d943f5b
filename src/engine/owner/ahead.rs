//! Publications of one linked room that came before an earlier one did, or before the room knew their epoch. Bounded: of
//! too many the last is let go, to be read later.

use std::collections::BTreeMap;

use crate::base::ids::{Epoch, Seq};
use crate::base::limits::{AHEAD_PER_ROOM_MAX, WAITING_BYTES};
use crate::engine::record::Record;

/// What is held back.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    by_position: BTreeMap<(Epoch, Seq), Record>,
    bytes: usize,
}

impl Ahead {
    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds a publication back.
    pub fn push(&mut self, epoch: Epoch, record: Record) {
        self.bytes += record_bytes(&record);
        if let Some(earlier) = self.by_position.insert((epoch, record.seq), record) {
            self.bytes -= record_bytes(&earlier);
        }
        if self.by_position.len() > AHEAD_PER_ROOM_MAX
            && let Some((_, last)) = self.by_position.pop_last()
        {
            self.bytes -= record_bytes(&last);
        }
    }

    /// The publication with this number, if it was held back; those before it are let go.
    pub fn take(&mut self, epoch: Epoch, seq: Seq) -> Option<Record> {
        loop {
            let ((_, first), _) = self.by_position.range((epoch, 0)..=(epoch, seq)).next()?;
            let first = *first;
            let record = self.by_position.remove(&(epoch, first))?;
            self.bytes -= record_bytes(&record);
            if first == seq {
                return Some(record);
            }
        }
    }

    /// The highest number held back of an epoch.
    pub fn last_of(&self, epoch: Epoch) -> Option<Seq> {
        self.by_position.range((epoch, 0)..=(epoch, Seq::MAX)).next_back().map(|((_, seq), _)| *seq)
    }

    /// Lets go what was held back for other epochs.
    pub fn settle_on(&mut self, epoch: Epoch) {
        self.by_position.retain(|(own, _), _| *own == epoch);
        self.bytes = self.by_position.values().map(record_bytes).sum();
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn record_bytes(record: &Record) -> usize {
    WAITING_BYTES + record.data.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_bounded_and_keeps_the_earliest() {
        let mut ahead = Ahead::default();
        let record = |seq| Record {
            seq,
            at: 1,
            from: crate::base::ids::UserName::new("ann").expect("valid"),
            kind: crate::wire::publication::DataKind::Json,
            data: bytes::Bytes::from_static(b"1"),
            key: None,
            except: None,
        };
        for seq in (2..AHEAD_PER_ROOM_MAX as Seq + 10).rev() {
            ahead.push(Epoch(5), record(seq));
        }
        assert_eq!(ahead.by_position.len(), AHEAD_PER_ROOM_MAX);
        assert_eq!(ahead.bytes(), AHEAD_PER_ROOM_MAX * (WAITING_BYTES + 1));
        assert_eq!(ahead.take(Epoch(5), 1), None);
        assert_eq!(ahead.take(Epoch(5), 2).map(|record| record.seq), Some(2));
        assert_eq!(ahead.take(Epoch(4), 3), None, "another epoch");
        assert_eq!(ahead.take(Epoch(5), 9).map(|record| record.seq), Some(9));
        assert_eq!(ahead.by_position.len(), AHEAD_PER_ROOM_MAX - 8);
        assert_eq!((ahead.last_of(Epoch(5)), ahead.last_of(Epoch(6))), (Some(AHEAD_PER_ROOM_MAX as Seq + 1), None));
        ahead.settle_on(Epoch(4));
        assert_eq!((ahead.by_position.len(), ahead.bytes()), (0, 0));
    }
}
