//! Brings lines into a store: checks all of them first, then makes changes of them, which go through the log like any other.

use std::io::{BufRead, IoSlice, Seek, SeekFrom};
use std::path::Path;

use super::error::TransferError;
use super::order::{Item, Order};
use crate::base::ids::RoomName;
use crate::base::limits::{DEAD_LETTERS_MAX, IMPORT_LINE_BYTES_MAX};
use crate::engine::kept::{AccountAsk, AccountDone, DeadLetterAsk, KeptAnswer, KeptAsk};
use crate::store::change::{Change, ImportStep};
use crate::store::group::{Ack, Entry, Group};
use crate::store::log::real::RealDisk;
use crate::store::log::writer::Log;
use crate::store::open::OpenedStore;
use crate::store::state::{Outcome, Rules, Skipped, State};
use crate::store::tables::disk::DiskTables;

/// Changes in one group.
const CHANGES: usize = 1_000;

/// Bytes of data in one group.
const GROUP_BYTES: usize = 1 << 20;

/// The index is made durable, and the log cut off before it, each time that so many bytes have come.
const PERSIST_BYTES: usize = 64 << 20;

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Imported {
    pub rooms: u64,
    pub messages: u64,
    pub accounts: u64,
    pub dead_letters: u64,
}

/// Imports an export into the store of a directory, which is made if there is none. `gives_new_epochs`: every room gets another
/// epoch when it is opened.
///
/// # Errors
/// A line is wrong, or something of it is in the store already: then nothing is imported. Or the store fails, or does not
/// take a room: then nothing of that room is imported, and other rooms may be.
pub fn import<I: BufRead + Seek>(
    path: &Path,
    rules: &Rules,
    gives_new_epochs: bool,
    input: &mut I,
) -> Result<Imported, TransferError> {
    let OpenedStore { log, state, lock: _lock, .. } = OpenedStore::open(path, rules)?;
    check(&state, gives_new_epochs, input)?;
    input.seek(SeekFrom::Start(0)).map_err(read_error)?;
    let boot = state.boot()? + 1;
    let mut import = Import { log, state, waiting: Vec::new(), bytes: 0, unpersisted: 0, done: Imported::default() };
    import.change(Change::Begin { boot, is_behind: false }, 0)?;
    import.lines(gives_new_epochs, input)?;
    import.change(Change::End, 0)?;
    import.commit()?;
    import.state.persist()?;
    import.log.close()?;
    Ok(import.done)
}

/// Checks every line, and that the store has nothing of what they bring.
fn check(state: &State<DiskTables>, gives_new_epochs: bool, input: &mut impl BufRead) -> Result<(), TransferError> {
    let mut letters = state.dead_letters()?;
    each_line(gives_new_epochs, input, |_, number, item| {
        let taken = match item {
            Item::Room(ImportStep::Start { room, .. }) if state.find_room(&room)?.is_some() => {
                Some(format!("there is a room \"{room}\" in the store already"))
            }
            Item::Account(account) => {
                let user = account.user.clone();
                let found = state.ask(&KeptAsk::Account(AccountAsk::Find(account.user)))?;
                let is_there = matches!(found, Some(KeptAnswer::Account(AccountDone::Found(Some(_)))));
                is_there.then(|| format!("there is an account of user \"{user}\" in the store already"))
            }
            Item::DeadLetter(_) => {
                letters += 1;
                (letters > DEAD_LETTERS_MAX)
                    .then(|| format!("the store would have more than {DEAD_LETTERS_MAX} dead letters"))
            }
            _ => None,
        };
        taken.map_or(Ok(()), |what| Err(TransferError::Taken { number, what }))
    })
}

/// Reads the lines one by one, in their order.
fn each_line(
    gives_new_epochs: bool,
    input: &mut impl BufRead,
    mut take: impl FnMut(&Order, u64, Item) -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    let mut order = Order::new(gives_new_epochs);
    let mut line = Vec::new();
    for number in 1.. {
        let wrong = |what: String| TransferError::Line { number, what };
        line.clear();
        let mut limited = std::io::Read::take(&mut *input, IMPORT_LINE_BYTES_MAX + 1);
        let read = limited.read_until(b'\n', &mut line).map_err(read_error)?;
        if read == 0 {
            return order.finish().map_err(wrong);
        }
        if line.len() as u64 > IMPORT_LINE_BYTES_MAX {
            return Err(wrong(format!("the line has more than {IMPORT_LINE_BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(&line).map_err(|_| wrong("the line is not UTF-8".to_owned()))?;
        let item = order.take(text).map_err(wrong)?;
        take(&order, number, item)?;
        // One long line does not hold its memory for the rest.
        line.shrink_to(GROUP_BYTES);
    }
    Ok(())
}

fn read_error(reason: std::io::Error) -> TransferError {
    TransferError::Io { action: "read the export", reason }
}

struct Import {
    log: Log<RealDisk>,
    state: State<DiskTables>,
    /// Changes of the next group, each with its line and its room.
    waiting: Vec<(Change, u64, Option<RoomName>)>,
    bytes: usize,
    unpersisted: usize,
    done: Imported,
}

impl Import {
    fn lines(&mut self, gives_new_epochs: bool, input: &mut impl BufRead) -> Result<(), TransferError> {
        let mut open: Option<(RoomName, u64)> = None;
        each_line(gives_new_epochs, input, |order, number, item| {
            let is_part = matches!(item, Item::Part(_));
            if let Some((room, begun)) = open.take_if(|_| !is_part) {
                self.step(ImportStep::Finish, begun, &room)?;
            }
            match item {
                Item::Room(step) => {
                    let room = order.room().expect("a room has begun").clone();
                    self.step(step, number, &room)?;
                    open = Some((room, number));
                }
                Item::Part(step) => {
                    let room = order.room().expect("a room has begun");
                    self.done.messages += u64::from(matches!(step, ImportStep::Record(_)));
                    self.step(step, number, room)?;
                }
                Item::Account(account) => {
                    self.done.accounts += 1;
                    self.change(Change::Ask(KeptAsk::Account(AccountAsk::Add(account))), number)?;
                }
                Item::DeadLetter(letter) => {
                    self.done.dead_letters += 1;
                    self.change(Change::Ask(KeptAsk::DeadLetter(DeadLetterAsk::Add(letter))), number)?;
                }
                Item::Nothing | Item::End => {}
            }
            Ok(())
        })
    }

    fn step(&mut self, step: ImportStep, number: u64, room: &RoomName) -> Result<(), TransferError> {
        let bytes = if let ImportStep::Record(record) = &step { record.data.len() } else { 0 };
        self.add(Change::Import(step), number, Some(room.clone()), bytes)
    }

    fn change(&mut self, change: Change, number: u64) -> Result<(), TransferError> {
        let bytes = match &change {
            Change::Ask(KeptAsk::DeadLetter(DeadLetterAsk::Add(letter))) => letter.record.data.len(),
            _ => 0,
        };
        self.add(change, number, None, bytes)
    }

    fn add(&mut self, change: Change, number: u64, room: Option<RoomName>, bytes: usize) -> Result<(), TransferError> {
        self.bytes += bytes;
        self.waiting.push((change, number, room));
        if self.waiting.len() >= CHANGES || self.bytes >= GROUP_BYTES { self.commit() } else { Ok(()) }
    }

    /// Makes what waits durable, and carries it out.
    fn commit(&mut self) -> Result<(), TransferError> {
        let waiting = std::mem::take(&mut self.waiting);
        let places: Vec<_> = waiting.iter().map(|(_, number, room)| (*number, room.clone())).collect();
        let entries = waiting.into_iter().map(|(change, ..)| Entry { change, ack: Ack::Nobody });
        let group = Group { entries: entries.collect(), bytes: self.bytes };
        let mut bytes = Vec::new();
        group.encode(&mut bytes);
        let commit = self.log.append(&[IoSlice::new(&bytes)])?;
        let outcomes = self.state.apply(commit, group.entries.iter().map(|entry| &entry.change))?;
        (self.bytes, self.unpersisted) = (0, self.unpersisted + bytes.len());
        let mut refused = None;
        for ((outcome, (number, room)), entry) in outcomes.into_iter().zip(places).zip(&group.entries) {
            let Some(room) = room else { continue };
            match outcome {
                Outcome::Skipped(skipped) if refused.is_none() => {
                    refused = Some((number, room, reason(&entry.change, skipped)));
                }
                Outcome::Done => self.done.rooms += u64::from(entry.change == Change::Import(ImportStep::Finish)),
                _ => {}
            }
        }
        if let Some((number, room, what)) = refused {
            return Err(TransferError::Room { number, room, what, rooms: self.done.rooms });
        }
        if self.unpersisted >= PERSIST_BYTES {
            self.state.persist()?;
            self.log.truncate_to(self.state.applied())?;
            self.unpersisted = 0;
        }
        Ok(())
    }
}

/// Why the store has not taken a step, although its line is right.
fn reason(change: &Change, skipped: Skipped) -> String {
    match (change, skipped) {
        (Change::Import(ImportStep::Member { user, .. }), _) => {
            format!("user \"{user}\" is a member of too many rooms")
        }
        (_, Skipped::Exists) => "there is a room of this name".to_owned(),
        _ => "the store does not take it".to_owned(),
    }
}
