//! Tables on disk, by fjall. Syncs when it is asked to, and fjall does before it writes what is in memory to a file, so what is
//! on disk is always a run of whole batches from the first.
//!
//! All tables share one keyspace: a key begins with the number of its table. So they are written to files together, and none
//! is ever ahead of another. fjall tells damage in the middle of its journal from an unfinished write neither by an error nor
//! by what it reads: it opens with what stands before the damage. The mark, which each batch carries, says how far that is,
//! and the log has the rest.

use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::error::TablesError;
use super::memory::check_keys;
use super::rows::{Direction, Put, Row, Rows, RowsIn, Sizes, Span, Tables};
use super::table::Table;

/// The key of the mark. No table has this number.
const MARK: &[u8] = &[u8::MAX];

/// The name of the keyspace. Never changes.
const NAME: &str = "tables";

/// How much memory the tables take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// Cache of blocks read.
    pub cache_bytes: u64,
    /// Rows that wait in memory before they are written to a file.
    pub memtable_bytes: u64,
    /// Journals on disk before the tables that hold them back are written to files: at least 64 MiB.
    pub journal_bytes: u64,
    /// Threads that write files and merge them.
    pub threads: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, memtable_bytes: 64 << 20, journal_bytes: 128 << 20, threads: 2 }
    }
}

/// See the module.
pub struct DiskTables {
    path: PathBuf,
    database: Database,
    keyspace: Keyspace,
    applied: u64,
}

impl DiskTables {
    /// Opens the tables in a directory of their own, which is made if there is none.
    ///
    /// # Errors
    /// See [`TablesError`].
    pub fn open(path: &Path, options: &DiskOptions) -> Result<Self, TablesError> {
        let path = path.to_owned();
        let (database, keyspace) = open(&path, options).map_err(|error| at_open(&path, error))?;
        let mut tables = Self { path, database, keyspace, applied: 0 };
        if let Some(mark) = tables.value(MARK)? {
            let applied: Result<[u8; 8], _> = mark.as_ref().try_into();
            let why = || format!("the mark has {} bytes instead of 8", mark.len());
            let damaged = |_| TablesError::Damaged { path: tables.path.clone(), why: why() };
            tables.applied = u64::from_le_bytes(applied.map_err(damaged)?);
        }
        Ok(tables)
    }

    fn value(&self, key: &[u8]) -> Result<Option<Bytes>, TablesError> {
        let value = self.keyspace.get(key).map_err(|error| failed(&self.path, error))?;
        Ok(value.map(Bytes::from))
    }

    fn row(&self, guard: Guard) -> Result<Row, TablesError> {
        let (key, value) = guard.into_inner().map_err(|error| failed(&self.path, error))?;
        Ok((Bytes::from(key).slice(1..), value.into()))
    }
}

/// The key of a table's row.
fn full_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(table as u8);
    full.extend_from_slice(key);
    full
}

/// The bound of a table's rows in the keyspace; `none` is the one that stands for all of them.
fn full_bound(table: Table, bound: Bound<Vec<u8>>, none: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match bound {
        Bound::Included(key) => Bound::Included(full_key(table, &key)),
        Bound::Excluded(key) => Bound::Excluded(full_key(table, &key)),
        Bound::Unbounded => none,
    }
}

impl Rows for DiskTables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, TablesError> {
        self.value(&full_key(table, key))
    }

    fn scan(&self, table: Table, span: Span, direction: Direction) -> RowsIn<'_> {
        if span.is_empty() {
            return Box::new(std::iter::empty());
        }
        let from = full_bound(table, span.from, Bound::Included(vec![table as u8]));
        let to = full_bound(table, span.to, Bound::Excluded(vec![table as u8 + 1]));
        let rows = self.keyspace.range((from, to));
        match direction {
            Direction::Up => Box::new(rows.map(|guard| self.row(guard))),
            Direction::Down => Box::new(rows.rev().map(|guard| self.row(guard))),
        }
    }
}

impl Tables for DiskTables {
    fn write(&mut self, batch: Vec<Put>, applied: Option<u64>) -> Result<(), TablesError> {
        check_keys(&batch)?;
        let applied = applied.unwrap_or(self.applied);
        let mut writes = self.database.batch();
        for Put { table, key, value } in batch {
            let key = full_key(table, &key);
            match value {
                Some(value) => writes.insert(&self.keyspace, key, value),
                None => writes.remove(&self.keyspace, key),
            }
        }
        writes.insert(&self.keyspace, MARK, applied.to_le_bytes());
        writes.commit().map_err(|error| failed(&self.path, error))?;
        self.applied = applied;
        Ok(())
    }

    fn applied(&self) -> u64 {
        self.applied
    }

    fn persist(&mut self) -> Result<(), TablesError> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| failed(&self.path, error))
    }

    fn sizes(&self) -> Sizes {
        let files = self.keyspace.disk_space();
        // A journal that cannot be measured counts as none: sizes are for statistics.
        let journals = self.database.journal_disk_space().unwrap_or(0);
        Sizes { memory_bytes: self.database.write_buffer_size(), disk_bytes: files + journals }
    }
}

fn open(path: &Path, options: &DiskOptions) -> fjall::Result<(Database, Keyspace)> {
    let database = Database::builder(path)
        .cache_size(options.cache_bytes)
        .max_journaling_size(options.journal_bytes)
        .manual_journal_persist(true)
        .worker_threads(options.threads)
        .open()?;
    let keyspace = database.keyspace(NAME, || {
        KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes).manual_journal_persist(true)
    })?;
    Ok((database, keyspace))
}

/// What an error of fjall calls for.
fn failed(path: &Path, error: fjall::Error) -> TablesError {
    let path = path.to_owned();
    match error {
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            TablesError::Io { path, source }
        }
        fjall::Error::Poisoned => TablesError::Poisoned { path },
        fjall::Error::Locked => TablesError::Locked { path },
        error => TablesError::Damaged { path, why: error.to_string() },
    }
}

/// As [`failed`]; but files that are absent or end too early when the tables are opened are damage, and stay so.
fn at_open(path: &Path, error: fjall::Error) -> TablesError {
    match failed(path, error) {
        TablesError::Io { path, source }
            if matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
            ) =>
        {
            TablesError::Damaged { path, why: source.to_string() }
        }
        error => error,
    }
}
