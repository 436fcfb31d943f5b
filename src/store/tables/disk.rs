//! Tables on disk, by fjall: a keyspace each. Syncs when it is asked to, and fjall does before it writes what is in memory to a
//! file, so what is on disk is always a run of whole batches from the first.
//!
//! fjall tells damage in the middle of its journal from an unfinished write neither by an error nor by what it reads: it opens
//! with what stands before the damage, though files of some tables may hold later batches. So every batch has a number, which
//! stands in each table that it changes, and in `meta`: no table may be ahead of `meta`.

use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::error::TablesError;
use super::memory::check_keys;
use super::rows::{Direction, Put, Row, Rows, RowsIn, Sizes, Span, Tables};
use super::table::Table;

/// The key of a table's number of its last batch. Above every other key, because no key begins with this byte: keys begin
/// with UTF-8, or with an id far below 2^63.
const MARK: &[u8] = &[u8::MAX];

/// How much memory the tables take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// Cache of blocks read.
    pub cache_bytes: u64,
    /// Rows of one table that wait in memory before they are written to a file.
    pub memtable_bytes: u64,
    /// Journals on disk before the tables that hold them back are written to files: at least 64 MiB.
    pub journal_bytes: u64,
    /// Threads that write files and merge them.
    pub threads: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, memtable_bytes: 16 << 20, journal_bytes: 128 << 20, threads: 2 }
    }
}

/// See the module.
pub struct DiskTables {
    path: PathBuf,
    database: Database,
    keyspaces: Vec<Keyspace>,
    /// The number of the last batch.
    batch: u64,
    applied: u64,
}

impl DiskTables {
    /// Opens the tables in a directory of their own, which is made if there is none.
    ///
    /// # Errors
    /// See [`TablesError`].
    pub fn open(path: &Path, options: &DiskOptions) -> Result<Self, TablesError> {
        let path = path.to_owned();
        let (database, keyspaces) = open(&path, options).map_err(|error| at_open(&path, error))?;
        let mut tables = Self { path, database, keyspaces, batch: 0, applied: 0 };
        if let Some(mark) = tables.value(Table::Meta, MARK)? {
            (tables.batch, tables.applied) = tables.read_mark(Table::Meta, &mark)?;
        }
        for table in Table::ALL {
            let Some(mark) = tables.value(table, MARK)? else { continue };
            let (batch, _) = tables.read_mark(table, &mark)?;
            if batch > tables.batch {
                let why = format!(
                    "table {} holds batch {batch}, but the journal ends with batch {}",
                    table.name(),
                    tables.batch
                );
                return Err(TablesError::Damaged { path: tables.path, why });
            }
        }
        Ok(tables)
    }

    fn keyspace(&self, table: Table) -> &Keyspace {
        &self.keyspaces[table as usize]
    }

    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, TablesError> {
        let value = self.keyspace(table).get(key).map_err(|error| failed(&self.path, error))?;
        Ok(value.map(Bytes::from))
    }

    fn read_mark(&self, table: Table, mark: &Bytes) -> Result<(u64, u64), TablesError> {
        let halves = mark.split_at_checked(8).and_then(|(batch, applied)| {
            Some((u64::from_le_bytes(batch.try_into().ok()?), u64::from_le_bytes(applied.try_into().ok()?)))
        });
        halves.ok_or_else(|| {
            let why = format!("the mark of table {} has {} bytes instead of 16", table.name(), mark.len());
            TablesError::Damaged { path: self.path.clone(), why }
        })
    }

    fn row(&self, guard: Guard) -> Result<Row, TablesError> {
        let (key, value) = guard.into_inner().map_err(|error| failed(&self.path, error))?;
        Ok((key.into(), value.into()))
    }
}

impl Rows for DiskTables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, TablesError> {
        self.value(table, key)
    }

    fn scan(&self, table: Table, span: Span, direction: Direction) -> RowsIn<'_> {
        let to = match span.to {
            Bound::Unbounded => Bound::Excluded(MARK.to_vec()),
            to => to,
        };
        let span = Span { from: span.from, to };
        if span.is_empty() {
            return Box::new(std::iter::empty());
        }
        let rows = self.keyspace(table).range((span.from, span.to));
        match direction {
            Direction::Up => Box::new(rows.map(|guard| self.row(guard))),
            Direction::Down => Box::new(rows.rev().map(|guard| self.row(guard))),
        }
    }
}

impl Tables for DiskTables {
    fn write(&mut self, batch: Vec<Put>, applied: Option<u64>) -> Result<(), TablesError> {
        check_keys(&batch)?;
        let (number, applied) = (self.batch + 1, applied.unwrap_or(self.applied));
        let mark = Bytes::from([number.to_le_bytes(), applied.to_le_bytes()].concat());
        let mut writes = self.database.batch();
        let mut is_marked = [false; Table::ALL.len()];
        is_marked[Table::Meta as usize] = true;
        for Put { table, key, value } in batch {
            is_marked[table as usize] = true;
            let keyspace = &self.keyspaces[table as usize];
            match value {
                Some(value) => writes.insert(keyspace, key, value),
                None => writes.remove(keyspace, key),
            }
        }
        for table in Table::ALL.into_iter().filter(|table| is_marked[*table as usize]) {
            writes.insert(&self.keyspaces[table as usize], MARK, mark.clone());
        }
        writes.commit().map_err(|error| failed(&self.path, error))?;
        (self.batch, self.applied) = (number, applied);
        Ok(())
    }

    fn applied(&self) -> u64 {
        self.applied
    }

    fn persist(&mut self) -> Result<(), TablesError> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| failed(&self.path, error))
    }

    fn sizes(&self) -> Sizes {
        let files: u64 = self.keyspaces.iter().map(Keyspace::disk_space).sum();
        // A journal that cannot be measured counts as none: sizes are for statistics.
        let journals = self.database.journal_disk_space().unwrap_or(0);
        Sizes { memory_bytes: self.database.write_buffer_size(), disk_bytes: files + journals }
    }
}

fn open(path: &Path, options: &DiskOptions) -> fjall::Result<(Database, Vec<Keyspace>)> {
    let database = Database::builder(path)
        .cache_size(options.cache_bytes)
        .max_journaling_size(options.journal_bytes)
        .manual_journal_persist(true)
        .worker_threads(options.threads)
        .open()?;
    let keyspace = |table: Table| {
        database.keyspace(table.name(), || {
            KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes).manual_journal_persist(true)
        })
    };
    let keyspaces = Table::ALL.into_iter().map(keyspace).collect::<fjall::Result<Vec<_>>>()?;
    Ok((database, keyspaces))
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
