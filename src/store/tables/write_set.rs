//! What one commit changes, over tables that do not have it yet: reads see the changes, and they become one batch.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;

use bytes::Bytes;

use super::error::TablesError;
use super::memory::bounds;
use super::rows::{Direction, Put, Row, Rows, RowsIn, Span};
use super::table::Table;

/// See the module.
pub struct WriteSet<'a> {
    below: &'a dyn Rows,
    changed: [BTreeMap<Bytes, Option<Bytes>>; Table::ALL.len()],
}

impl<'a> WriteSet<'a> {
    /// No changes yet.
    #[must_use]
    pub fn new(below: &'a dyn Rows) -> Self {
        Self { below, changed: Default::default() }
    }

    /// Sets a row.
    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changed[table as usize].insert(key.into(), Some(value.into()));
    }

    /// Removes a row; a no-op if there is none.
    pub fn remove(&mut self, table: Table, key: impl Into<Bytes>) {
        self.changed[table as usize].insert(key.into(), None);
    }

    /// The changes, for [`Tables::write`](super::rows::Tables::write).
    #[must_use]
    pub fn into_batch(self) -> Vec<Put> {
        let count = self.changed.iter().map(BTreeMap::len).sum();
        let mut batch = Vec::with_capacity(count);
        for (table, changed) in Table::ALL.into_iter().zip(self.changed) {
            batch.extend(changed.into_iter().map(|(key, value)| Put { table, key, value }));
        }
        batch
    }
}

impl Rows for WriteSet<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, TablesError> {
        match self.changed[table as usize].get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.below.get(table, key),
        }
    }

    fn scan(&self, table: Table, span: Span, direction: Direction) -> RowsIn<'_> {
        if span.is_empty() {
            return Box::new(std::iter::empty());
        }
        let changed = self.changed[table as usize].range::<[u8], _>(bounds(&span));
        let changed = changed.map(|(key, value)| (key.clone(), value.clone()));
        let below = self.below.scan(table, span, direction).peekable();
        match direction {
            Direction::Up => Box::new(Merged { changed: changed.peekable(), below, direction }),
            Direction::Down => Box::new(Merged { changed: changed.rev().peekable(), below, direction }),
        }
    }
}

/// Two rows of keys in order, of which the changed ones win.
struct Merged<'a, I: Iterator<Item = (Bytes, Option<Bytes>)>> {
    changed: Peekable<I>,
    below: Peekable<RowsIn<'a>>,
    direction: Direction,
}

impl<I: Iterator<Item = (Bytes, Option<Bytes>)>> Iterator for Merged<'_, I> {
    type Item = Result<Row, TablesError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.changed.peek(), self.below.peek()) {
                (None, _) | (_, Some(Err(_))) => return self.below.next(),
                (Some(_), None) => Ordering::Less,
                (Some((changed, _)), Some(Ok((below, _)))) => match self.direction {
                    Direction::Up => changed.cmp(below),
                    Direction::Down => below.cmp(changed),
                },
            };
            if order == Ordering::Greater {
                return self.below.next();
            }
            if order == Ordering::Equal {
                self.below.next();
            }
            if let Some((key, Some(value))) = self.changed.next() {
                return Some(Ok((key, value)));
            }
        }
    }
}
