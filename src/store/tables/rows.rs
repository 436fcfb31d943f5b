//! What tables can do: read rows in order, and write batches that happen as a whole.

use std::ops::Bound;

use bytes::Bytes;

use super::error::TablesError;
use super::table::Table;

/// Keys have at most this many bytes, and at least one.
pub const KEY_LENGTH_MAX: usize = 1_024;

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// Rows in the order that was asked for. Reading stops where the caller stops.
pub type RowsIn<'a> = Box<dyn Iterator<Item = Result<Row, TablesError>> + 'a>;

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Lowest key first.
    Up,
    /// Highest key first.
    Down,
}

/// The keys that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The lowest.
    pub from: Bound<Vec<u8>>,
    /// The highest.
    pub to: Bound<Vec<u8>>,
}

impl Span {
    /// All keys.
    #[must_use]
    pub const fn all() -> Self {
        Self { from: Bound::Unbounded, to: Bound::Unbounded }
    }

    /// The keys that begin with `prefix`, and are above `after`.
    #[must_use]
    pub fn prefix(prefix: &[u8], after: Option<&[u8]>) -> Self {
        let from = after.map_or_else(|| Bound::Included(prefix.to_vec()), |after| Bound::Excluded(after.to_vec()));
        // The next key that does not begin so: the last byte that can grow is one higher, and nothing follows.
        let kept = prefix.iter().rposition(|byte| *byte < u8::MAX);
        let to = kept.map_or(Bound::Unbounded, |last| {
            let mut above = prefix[..=last].to_vec();
            above[last] += 1;
            Bound::Excluded(above)
        });
        Self { from, to }
    }

    /// Whether no key can be in it, which collections of the standard library do not accept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
        }
    }
}

/// Reads rows.
pub trait Rows {
    /// The value of a key.
    ///
    /// # Errors
    /// Reading failed.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, TablesError>;

    /// The rows of some keys.
    fn scan(&self, table: Table, span: Span, direction: Direction) -> RowsIn<'_>;
}

/// What is written to one table: for each key its new value, or `None` to remove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The table.
    pub table: Table,
    /// The key, 1 to [`KEY_LENGTH_MAX`] bytes.
    pub key: Bytes,
    /// The new value; `None` removes the row.
    pub value: Option<Bytes>,
}

/// How much tables hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes in memory: all of the rows of tables in memory, what is not in files yet of tables on disk.
    pub memory_bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
}

/// Tables, and the mark of the last commit that is in them.
pub trait Tables: Rows {
    /// Writes all rows, or none, and with them the mark, where there is a new one. A later row of the same key wins.
    ///
    /// # Errors
    /// Nothing is written, or it is not known: then the tables must be opened again.
    fn write(&mut self, batch: Vec<Put>, applied: Option<u64>) -> Result<(), TablesError>;

    /// The mark: the number of the last commit that was written. 0 in new tables.
    fn applied(&self) -> u64;

    /// Makes everything that was written durable. What was not may be gone after a crash, always from the newest write back.
    ///
    /// # Errors
    /// As [`Tables::write`].
    fn persist(&mut self) -> Result<(), TablesError>;

    /// How much they hold.
    fn sizes(&self) -> Sizes;
}
