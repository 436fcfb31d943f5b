//! Tables in memory, which end with the process. Counts the bytes that they take.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::error::TablesError;
use super::rows::{Direction, KEY_LENGTH_MAX, Put, Rows, RowsIn, Sizes, Span, Tables};
use super::table::Table;
use crate::base::limits::TABLE_ROW_BYTES;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct MemoryTables {
    tables: [BTreeMap<Bytes, Bytes>; Table::ALL.len()],
    applied: u64,
    bytes: u64,
}

impl MemoryTables {
    /// Empty tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn charge(key: &Bytes, value: &Bytes) -> u64 {
        (key.len() + value.len() + TABLE_ROW_BYTES) as u64
    }
}

/// Bounds as ordered maps take them.
pub(super) fn bounds(span: &Span) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (span.from.as_ref().map(Vec::as_slice), span.to.as_ref().map(Vec::as_slice))
}

impl Rows for MemoryTables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, TablesError> {
        Ok(self.tables[table as usize].get(key).cloned())
    }

    fn scan(&self, table: Table, span: Span, direction: Direction) -> RowsIn<'_> {
        if span.is_empty() {
            return Box::new(std::iter::empty());
        }
        let rows = self.tables[table as usize].range::<[u8], _>(bounds(&span));
        let rows = rows.map(|(key, value)| Ok((key.clone(), value.clone())));
        match direction {
            Direction::Up => Box::new(rows),
            Direction::Down => Box::new(rows.rev()),
        }
    }
}

impl Tables for MemoryTables {
    fn write(&mut self, batch: Vec<Put>, applied: Option<u64>) -> Result<(), TablesError> {
        check_keys(&batch)?;
        for Put { table, key, value } in batch {
            let rows = &mut self.tables[table as usize];
            let before = match value {
                Some(value) => {
                    self.bytes += Self::charge(&key, &value);
                    rows.insert(key.clone(), value)
                }
                None => rows.remove(&key),
            };
            if let Some(before) = before {
                self.bytes -= Self::charge(&key, &before);
            }
        }
        self.applied = applied.unwrap_or(self.applied);
        Ok(())
    }

    fn applied(&self) -> u64 {
        self.applied
    }

    fn persist(&mut self) -> Result<(), TablesError> {
        Ok(())
    }

    fn sizes(&self) -> Sizes {
        Sizes { memory_bytes: self.bytes, disk_bytes: 0 }
    }
}

/// Refuses a batch with a key of a wrong length.
pub(super) fn check_keys(batch: &[Put]) -> Result<(), TablesError> {
    let wrong = batch.iter().find(|put| !(1..=KEY_LENGTH_MAX).contains(&put.key.len()));
    wrong.map_or(Ok(()), |put| {
        Err(TablesError::KeyLength { table: put.table, length: put.key.len(), max: KEY_LENGTH_MAX })
    })
}
