//! The tables of a machine's index: tables in memory, with a durable copy. What was written after the last `persist` is
//! there up to any point when the tables are opened again, as [`Tables::persist`] says. Operations fail when they are told to.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use roomring::store::tables::error::TablesError;
use roomring::store::tables::memory::MemoryTables;
use roomring::store::tables::rows::{Direction, Put, Rows, RowsIn, Sizes, Span, Tables};
use roomring::store::tables::table::Table;

/// What is on the disk.
#[derive(Default)]
struct Files {
    persisted: MemoryTables,
    /// Batches written since, in order.
    written: Vec<(Vec<Put>, Option<u64>)>,
    /// So many operations more, and one fails.
    fails_in: Option<u32>,
}

/// The place where the tables are kept. A clone is the same place.
#[derive(Clone, Default)]
pub struct TablesDisk(Arc<Mutex<Files>>);

impl TablesDisk {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().expect("no operation panics")
    }

    /// Opens the tables, with as many of the batches that were not persisted as `pick` says.
    ///
    /// # Errors
    /// It was told to fail.
    pub fn open(&self, pick: u64) -> Result<ModelTables, TablesError> {
        self.begin()?;
        let files = &mut *self.files();
        let kept = pick as usize % (files.written.len() + 1);
        for (batch, applied) in files.written.drain(..).take(kept) {
            files.persisted.write(batch, applied)?;
        }
        Ok(ModelTables { disk: self.clone(), live: files.persisted.clone(), is_poisoned: false })
    }

    /// Everything is lost, as when a damaged index is removed.
    pub fn clear(&self) {
        *self.files() = Files::default();
    }

    /// After so many operations more one fails; `None`: none does.
    pub fn fail_in(&self, operations: Option<u32>) {
        self.files().fails_in = operations;
    }

    /// Counts an operation, and fails it if it should fail.
    fn begin(&self) -> Result<(), TablesError> {
        let files = &mut *self.files();
        match &mut files.fails_in {
            Some(0) => {
                files.fails_in = None;
                let source = std::io::Error::other("told to fail");
                Err(TablesError::Io { path: PathBuf::from("model"), source })
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Open tables.
pub struct ModelTables {
    disk: TablesDisk,
    live: MemoryTables,
    /// A write or a persist has failed: nothing is written any more.
    is_poisoned: bool,
}

impl Rows for ModelTables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, TablesError> {
        self.disk.begin()?;
        self.live.get(table, key)
    }

    fn scan(&self, table: Table, span: Span, direction: Direction) -> RowsIn<'_> {
        match self.disk.begin() {
            Ok(()) => self.live.scan(table, span, direction),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

impl Tables for ModelTables {
    /// A write that fails may be there when the tables are opened again.
    fn write(&mut self, batch: Vec<Put>, applied: Option<u64>) -> Result<(), TablesError> {
        if self.is_poisoned {
            return Err(TablesError::Poisoned { path: PathBuf::from("model") });
        }
        let begun = self.disk.begin();
        self.is_poisoned = begun.is_err();
        self.disk.files().written.push((batch.clone(), applied));
        begun?;
        self.live.write(batch, applied)
    }

    fn applied(&self) -> u64 {
        self.live.applied()
    }

    fn persist(&mut self) -> Result<(), TablesError> {
        let begun = self.disk.begin();
        self.is_poisoned |= begun.is_err();
        begun?;
        let files = &mut *self.disk.files();
        for (batch, applied) in files.written.drain(..) {
            files.persisted.write(batch, applied)?;
        }
        Ok(())
    }

    fn sizes(&self) -> Sizes {
        self.live.sizes()
    }
}
