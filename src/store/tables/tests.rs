//! Both kinds of tables, and a write set over them, do the same as a plain ordered map; tables on disk come back as whole
//! batches, whatever happens to their files.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;

use super::disk::{DiskOptions, DiskTables};
use super::error::TablesError;
use super::memory::MemoryTables;
use super::rows::{Direction, KEY_LENGTH_MAX, Put, Row, Rows, Span, Tables};
use super::table::Table;
use super::write_set::WriteSet;

use crate::store::random::Random;

type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

const TABLES: [Table; 3] = [Table::Meta, Table::Rooms, Table::Garbage];

/// A directory in memory where there is one: the tests wait for no disk.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

fn disk(path: &Path) -> Result<DiskTables, TablesError> {
    let options = DiskOptions { cache_bytes: 1 << 20, memtable_bytes: 64 << 10, journal_bytes: 64 << 20, threads: 1 };
    DiskTables::open(path, &options)
}

fn key(random: &mut Random) -> Vec<u8> {
    let length = random.below(3);
    (0..length).map(|_| *random.pick(&[0, 1, b'a', 0xfe])).collect()
}

fn span(random: &mut Random) -> Span {
    let key = |random: &mut Random| match random.below(8) {
        0 => key(random),
        _ => [b"k", &key(random)[..]].concat(),
    };
    let bound = |random: &mut Random| match random.below(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(key(random)),
        _ => Bound::Excluded(key(random)),
    };
    if random.below(3) == 0 {
        let (prefix, tail) = (key(random), key(random));
        let after = [&prefix[..], &tail].concat();
        return Span::prefix(&prefix, (random.below(2) == 0).then_some(&after));
    }
    Span { from: bound(random), to: bound(random) }
}

fn expected(model: &Model, table: Table, span: &Span, direction: Direction) -> Vec<Row> {
    let fits = |key: &Vec<u8>| {
        let above = match &span.from {
            Bound::Included(from) => key >= from,
            Bound::Excluded(from) => key > from,
            Bound::Unbounded => true,
        };
        above
            && match &span.to {
                Bound::Included(to) => key <= to,
                Bound::Excluded(to) => key < to,
                Bound::Unbounded => true,
            }
    };
    let rows = model.iter().filter(|((of, key), _)| *of == table && fits(key));
    let mut rows: Vec<Row> = rows.map(|((_, key), value)| (key.clone().into(), value.clone().into())).collect();
    if direction == Direction::Down {
        rows.reverse();
    }
    rows
}

fn check(rows: &dyn Rows, model: &Model, random: &mut Random) {
    let (table, span) = (*random.pick(&TABLES), span(random));
    let key = [b"k", &key(random)[..]].concat();
    let value = rows.get(table, &key).expect("readable");
    assert_eq!(value.as_deref(), model.get(&(table, key)).map(Vec::as_slice));
    for direction in [Direction::Up, Direction::Down] {
        let read: Result<Vec<Row>, _> = rows.scan(table, span.clone(), direction).collect();
        assert_eq!(read.expect("readable"), expected(model, table, &span, direction), "{span:?} {direction:?}");
    }
}

fn change(random: &mut Random, model: &mut Model, mut change: impl FnMut(Put)) {
    let (table, key) = (*random.pick(&TABLES), [b"k", &key(random)[..]].concat());
    let length = random.below(300);
    let value = (random.below(3) > 0).then(|| random.bytes(length));
    match &value {
        Some(value) => model.insert((table, key.clone()), value.clone()),
        None => model.remove(&(table, key.clone())),
    };
    change(Put { table, key: key.into(), value: value.map(Bytes::from) });
}

fn holds_to_the_model(tables: &mut dyn Tables, seed: u64) {
    let mut random = Random(seed);
    let mut model = Model::new();
    for commit in 1..200 {
        let mut set = WriteSet::new(&*tables);
        for _ in 0..random.below(12) {
            change(&mut random, &mut model, |put| match put.value {
                Some(value) => set.put(put.table, put.key, value),
                None => set.remove(put.table, put.key),
            });
            check(&set, &model, &mut random);
        }
        let batch = set.into_batch();
        tables.write(batch, Some(commit)).expect("writable");
        assert_eq!(tables.applied(), commit);
        check(&*tables, &model, &mut random);
    }
}

#[test]
fn tables_and_write_sets_read_as_an_ordered_map() {
    holds_to_the_model(&mut MemoryTables::new(), 1);
    let directory = scratch();
    holds_to_the_model(&mut disk(directory.path()).expect("new tables"), 2);
}

#[test]
fn a_prefix_ends_where_keys_begin_differently() {
    assert_eq!(Span::prefix(b"a", None).to, Bound::Excluded(b"b".to_vec()));
    assert_eq!(Span::prefix(&[1, 255], None).to, Bound::Excluded(vec![2]));
    assert_eq!(Span::prefix(&[255, 255], None).to, Bound::Unbounded);
    assert_eq!(Span::prefix(b"", None), Span { from: Bound::Included(vec![]), to: Bound::Unbounded });
}

#[test]
fn memory_is_counted() {
    let mut tables = MemoryTables::new();
    let put = |key: &'static str, value: Option<&'static str>| {
        vec![Put { table: Table::Rooms, key: key.into(), value: value.map(Bytes::from) }]
    };
    tables.write(put("a", Some("1234")), Some(1)).expect("writable");
    let one = tables.sizes().memory_bytes;
    assert!(one > 5);
    tables.write(put("b", Some("1")), None).expect("writable");
    tables.write(put("b", Some("1234")), None).expect("writable");
    assert_eq!((tables.sizes().memory_bytes, tables.applied()), (2 * one, 1));
    tables.write(put("a", None), None).expect("writable");
    tables.write(put("c", None), None).expect("writable");
    assert_eq!(tables.sizes().memory_bytes, one);
}

#[test]
fn a_key_of_a_wrong_length_is_refused_with_its_batch() {
    let directory = scratch();
    let tables: [&mut dyn Tables; 2] = [&mut MemoryTables::new(), &mut disk(directory.path()).expect("new tables")];
    for tables in tables {
        let put = |length| Put { table: Table::Rooms, key: vec![b'a'; length].into(), value: Some(Bytes::new()) };
        let error = tables.write(vec![put(1), put(KEY_LENGTH_MAX + 1)], Some(1)).expect_err("too long");
        assert_eq!(error.to_string(), "a key of table rooms has 1025 bytes; it must have 1 to 1024");
        let error = tables.write(vec![put(1), put(0)], Some(1)).expect_err("empty");
        assert_eq!(error.to_string(), "a key of table rooms has 0 bytes; it must have 1 to 1024");
        assert_eq!((tables.get(Table::Rooms, b"a").expect("readable"), tables.applied()), (None, 0));
        tables.write(vec![put(KEY_LENGTH_MAX)], Some(1)).expect("fits");
    }
}

/// Batch `n` sets row `n % 8` of two tables to `n`, and removes another, so that any lost or torn batch shows.
fn batch(number: u64) -> Vec<Put> {
    let mut batch = Vec::new();
    for table in [Table::Records, Table::Rooms] {
        let value = [&number.to_le_bytes()[..], &[7; 3_000]].concat();
        batch.push(Put { table, key: vec![(number % 8) as u8].into(), value: Some(value.into()) });
        batch.push(Put { table, key: vec![((number + 3) % 8) as u8].into(), value: None });
    }
    batch
}

fn contents(rows: &dyn Rows) -> Result<Vec<Row>, TablesError> {
    let mut contents = Vec::new();
    for table in [Table::Records, Table::Rooms] {
        for row in rows.scan(table, Span::all(), Direction::Up) {
            contents.push(row?);
        }
    }
    Ok(contents)
}

fn after(count: u64) -> Vec<Row> {
    let mut tables = MemoryTables::new();
    for number in 1..=count {
        tables.write(batch(number), Some(number)).expect("writable");
    }
    contents(&tables).expect("readable")
}

#[test]
fn tables_come_back_with_their_mark() {
    let directory = scratch();
    for round in 0..3 {
        let mut tables = disk(directory.path()).expect("opens again");
        assert_eq!(tables.applied(), round * 60);
        assert_eq!(contents(&tables).expect("readable"), after(round * 60));
        let error = disk(directory.path()).err().expect("in use");
        assert!(matches!(error, TablesError::Locked { .. }) && !error.is_damage(), "{error}");
        for number in round * 60 + 1..=round * 60 + 60 {
            tables.write(batch(number), Some(number)).expect("writable");
        }
        tables.persist().expect("durable");
        assert!(tables.sizes().disk_bytes > 0);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Cuts the zeros that a journal ends with, which only make copies slow.
fn shorten(path: &Path) {
    let bytes = std::fs::read(path).expect("readable");
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    std::fs::write(path, &bytes[..bytes.len().min(written + 64)]).expect("written");
}

#[test]
fn whatever_happens_to_a_file_is_found_or_leaves_whole_batches() {
    let directory = scratch();
    let (original, damaged) = (directory.path().join("original"), directory.path().join("damaged"));
    let mut tables = disk(&original).expect("new tables");
    for number in 1..=80 {
        tables.write(batch(number), Some(number)).expect("writable");
    }
    tables.persist().expect("durable");
    drop(tables);
    let mut paths = Vec::new();
    files(&original, &mut paths);
    let is_journal = |path: &&std::path::PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    let journals: Vec<_> = paths.iter().filter(is_journal).cloned().collect();
    journals.iter().for_each(|path| shorten(path));
    paths.retain(|path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0));
    let mut random = Random(3);
    let (mut found, mut healed) = (0, 0);
    for round in 0..80 {
        let _ = std::fs::remove_dir_all(&damaged);
        copy(&original, &damaged);
        let path = random.pick(if round < 40 { &journals } else { &paths });
        let path = damaged.join(path.strip_prefix(&original).expect("inside"));
        let mut bytes = std::fs::read(&path).expect("readable");
        if round % 4 == 0 {
            bytes.truncate(random.below(bytes.len()));
        } else {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        std::fs::write(&path, bytes).expect("written");
        // fjall asserts in debug builds what it checks in others.
        let opened =
            std::panic::catch_unwind(|| disk(&damaged).and_then(|tables| Ok((tables.applied(), contents(&tables)?))));
        let opened = match opened {
            Ok(opened) => opened,
            Err(_) if cfg!(debug_assertions) => {
                found += 1;
                continue;
            }
            Err(panic) => std::panic::resume_unwind(panic),
        };
        match opened {
            Ok((applied, contents)) => {
                assert_eq!(contents, after(applied), "round {round}, {}, applied {applied}", path.display());
                healed += 1;
            }
            Err(error) => {
                assert!(error.is_damage(), "round {round}, {}: {error}", path.display());
                found += 1;
            }
        }
    }
    assert!(found > 0 && healed > 0, "{found} found, {healed} healed");
}
