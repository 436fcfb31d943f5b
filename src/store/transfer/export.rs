//! Writes a store's rooms, accounts and dead letters as lines. Holds a few records in memory at a time.

use std::io::Write;
use std::path::Path;

use super::error::TransferError;
use super::lines::{
    AccountLine, EndLine, HeaderLine, InviteLine, LINES_VERSION, LetterLine, Line, MemberLine, ReceiptLine, RecordLine,
    RoomLine,
};
use crate::base::ids::RoomName;
use crate::base::limits::{EXPORT_BYTES_AT_ONCE, LISTING_MAX};
use crate::engine::kept::{
    AccountAsk, AccountDone, DeadLetter, DeadLetterAsk, DeadLetterDone, KeptAccount, KeptAnswer, KeptAsk,
};
use crate::engine::record::Record;
use crate::store::log::version::is_store;
use crate::store::open::OpenedStore;
use crate::store::state::{RoomSummary, Rules, State};
use crate::store::tables::rows::Tables;

/// Entries read at once.
const PAGE: usize = LISTING_MAX as usize;

/// Dead letters read at once: each comes with its data.
const LETTERS: u32 = 16;

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Exported {
    pub rooms: u64,
    pub messages: u64,
    pub accounts: u64,
    pub dead_letters: u64,
}

/// Exports some rooms; without any, everything: all rooms, the accounts and the dead letters.
///
/// # Errors
/// The store cannot be opened or read, a room is not in it, or the lines cannot be written.
pub fn export(path: &Path, rules: &Rules, rooms: &[RoomName], out: &mut dyn Write) -> Result<Exported, TransferError> {
    if !path.is_dir() || !is_store(path)? {
        return Err(TransferError::NoStore { path: path.to_owned() });
    }
    let OpenedStore { log, mut state, lock: _lock, .. } = OpenedStore::open(path, rules)?;
    let exported = export_state(&state, rooms, out)?;
    // What opening has brought up to date is not done again at the next start.
    state.persist()?;
    log.close()?;
    Ok(exported)
}

/// The same from a state.
pub(super) fn export_state<T: Tables>(
    state: &State<T>,
    rooms: &[RoomName],
    out: &mut dyn Write,
) -> Result<Exported, TransferError> {
    let mut export = Export { state, out, lines: 0, done: Exported::default() };
    let mut asked = Vec::new();
    for room in rooms {
        let found = state.find_room(room)?;
        asked.push(found.ok_or_else(|| TransferError::NoRoom { room: room.clone() })?);
    }
    asked.sort_by(|one, other| one.room.as_bytes().cmp(other.room.as_bytes()));
    asked.dedup_by(|one, other| one.room == other.room);
    export.line(&Line::Header(HeaderLine { version: LINES_VERSION }))?;
    if rooms.is_empty() {
        export.all_rooms()?;
        export.accounts()?;
        export.dead_letters()?;
    } else {
        asked.into_iter().try_for_each(|room| export.room(room))?;
    }
    let lines = export.lines;
    export.line(&Line::End(EndLine { lines }))?;
    let done = export.done;
    out.flush().map_err(written)?;
    Ok(done)
}

fn written(reason: std::io::Error) -> TransferError {
    TransferError::Io { action: "write the export", reason }
}

struct Export<'a, T> {
    state: &'a State<T>,
    out: &'a mut dyn Write,
    lines: u64,
    done: Exported,
}

impl<T: Tables> Export<'_, T> {
    fn line(&mut self, line: &Line) -> Result<(), TransferError> {
        let mut text = serde_json::to_vec(line).expect("a line has texts for keys and finite numbers only");
        text.push(b'\n');
        self.lines += 1;
        self.out.write_all(&text).map_err(written)
    }

    fn all_rooms(&mut self) -> Result<(), TransferError> {
        let mut after = None;
        loop {
            let rooms = self.state.rooms(after.as_ref(), PAGE)?;
            let Some(last) = rooms.last() else { return Ok(()) };
            after = Some(last.room.clone());
            rooms.into_iter().try_for_each(|room| self.room(room))?;
        }
    }

    fn room(&mut self, summary: RoomSummary) -> Result<(), TransferError> {
        let RoomSummary { room, head, used_at, created, needs_epoch, first_seq } = summary;
        self.done.rooms += 1;
        self.line(&Line::Room(RoomLine {
            room: room.to_string(),
            epoch: head.map(|head| head.epoch.to_string()),
            head: head.map_or(0, |head| head.seq),
            needs_epoch,
            used_at,
            visibility: created.as_ref().map(|created| created.visibility.as_str().to_owned()),
            title: created.map(|created| created.title.into()),
        }))?;
        let mut after = None;
        loop {
            let members = self.state.members(&room, after.as_ref(), PAGE)?;
            let Some(last) = members.last() else { break };
            after = Some(last.user.clone());
            for member in members {
                let role = member.role.as_str().to_owned();
                self.line(&Line::Member(MemberLine { user: member.user.to_string(), role }))?;
            }
        }
        self.invites(&room)?;
        let mut after = None;
        loop {
            let receipts = self.state.receipts(&room, after.as_ref(), PAGE)?;
            let Some(last) = receipts.last() else { break };
            after = Some(last.user.clone());
            for receipt in receipts {
                let (user, read, delivered) = (receipt.user.to_string(), receipt.read, receipt.delivered);
                self.line(&Line::Receipt(ReceiptLine { user, read, delivered }))?;
            }
        }
        self.records(&room, first_seq)
    }

    fn invites(&mut self, room: &RoomName) -> Result<(), TransferError> {
        let mut after: Option<Box<str>> = None;
        loop {
            let invites = self.state.invites(room, after.as_deref(), PAGE)?;
            let Some(last) = invites.last() else { return Ok(()) };
            after = Some(last.code.clone());
            for invite in invites {
                let uses_left = (invite.uses_left > 0).then_some(invite.uses_left);
                let (code, expires_at) = (invite.code.into(), invite.expires_at);
                self.line(&Line::Invite(InviteLine { code, uses_left, expires_at }))?;
            }
        }
    }

    fn records(&mut self, room: &RoomName, first_seq: u64) -> Result<(), TransferError> {
        let mut after = first_seq.saturating_sub(1);
        loop {
            let records = self.state.records(room, after, PAGE, EXPORT_BYTES_AT_ONCE)?;
            let Some(last) = records.last() else { return Ok(()) };
            after = last.seq;
            for record in records {
                self.done.messages += 1;
                let line = record_line(room, &record)?;
                self.line(&Line::Record(line))?;
            }
        }
    }

    fn accounts(&mut self) -> Result<(), TransferError> {
        let mut after = None;
        loop {
            let ask = KeptAsk::Account(AccountAsk::List { after, limit: LISTING_MAX });
            let Some(KeptAnswer::Account(AccountDone::Listed(accounts))) = self.state.ask(&ask)? else { return Ok(()) };
            let Some(last) = accounts.last() else { return Ok(()) };
            after = Some(last.user.clone());
            for KeptAccount { user, name, password_hash, created_at, is_locked } in accounts {
                self.done.accounts += 1;
                self.line(&Line::Account(AccountLine {
                    user: user.to_string(),
                    name: name.map(String::from),
                    password_hash: password_hash.into(),
                    created_at,
                    locked: is_locked,
                }))?;
            }
        }
    }

    fn dead_letters(&mut self) -> Result<(), TransferError> {
        let mut after = 0;
        loop {
            let ask = KeptAsk::DeadLetter(DeadLetterAsk::List { after, limit: LETTERS });
            let answer = self.state.ask(&ask)?;
            let Some(KeptAnswer::DeadLetter(DeadLetterDone::Listed(letters))) = answer else { return Ok(()) };
            let Some(last) = letters.last() else { return Ok(()) };
            after = last.id;
            for DeadLetter { id: _, at, reason, room, epoch, record } in letters {
                self.done.dead_letters += 1;
                let record = record_line(&room, &record)?;
                let (reason, room, epoch) = (reason.into(), room.to_string(), epoch.to_string());
                self.line(&Line::DeadLetter(LetterLine { at, reason, room, epoch, record }))?;
            }
        }
    }
}

fn record_line(room: &RoomName, record: &Record) -> Result<RecordLine, TransferError> {
    RecordLine::of(record).ok_or_else(|| TransferError::Data { room: room.clone(), seq: record.seq })
}
