//! What is asked: reads are answered here, over tables or over what a group has changed; the rest goes to the file that
//! carries it out.

use super::error::StateError;
use super::group::Group;
use super::outcome::{Outcome, Stop};
use super::rows::{Room, UserRoom, Value};
use super::rules::{Rules, Setup};
use super::{accounts, dead_letters, keys, lookups, sessions};
use crate::base::chat::{ReceiptKind, Visibility};
use crate::base::ids::{Position, RoomName, UserName};
use crate::base::limits::LISTING_MAX;
use crate::engine::kept::{
    AccountAsk, AccountDone, DeadLetterAsk, DeadLetterDone, KeptAnswer, KeptAsk, ListedRoom, RoomAct, RoomAsk,
    RoomDone, RoomRefusal,
};
use crate::store::tables::rows::{Direction, Rows, Span};
use crate::store::tables::table::Table;

impl Group<'_> {
    pub(super) fn ask(&mut self, ask: &KeptAsk) -> Result<Outcome, StateError> {
        let answer = match ask {
            KeptAsk::SaveSession { session, kept } => {
                self.save_session(*session, kept)?;
                return Ok(Outcome::Done);
            }
            KeptAsk::EndSession { session, at } => {
                self.end_session(*session, *at)?;
                return Ok(Outcome::Done);
            }
            KeptAsk::FindSession { session, at } => {
                KeptAnswer::Session(sessions::find(&self.set, self.setup, self.rules, *session, *at)?)
            }
            KeptAsk::Room(ask) => KeptAnswer::Room(self.ask_room(ask)?),
            KeptAsk::ListRooms { user, after, limit } => {
                KeptAnswer::Rooms(list_rooms(&self.set, user, after.as_ref(), *limit)?)
            }
            KeptAsk::Account(ask) => KeptAnswer::Account(self.ask_account(ask)?),
            KeptAsk::DeadLetter(ask) => KeptAnswer::DeadLetter(self.ask_dead_letter(ask)?),
        };
        Ok(Outcome::Answer(answer))
    }
}

/// The answer to a read. `None`: it is not one.
pub(super) fn read(
    rows: &dyn Rows,
    setup: &Setup,
    rules: &Rules,
    ask: &KeptAsk,
) -> Result<Option<KeptAnswer>, StateError> {
    if !ask.is_read() {
        return Ok(None);
    }
    Ok(match ask {
        KeptAsk::FindSession { session, at } => {
            Some(KeptAnswer::Session(sessions::find(rows, setup, rules, *session, *at)?))
        }
        KeptAsk::Room(ask) => match read_room(rows, setup, ask) {
            Ok(done) => Some(KeptAnswer::Room(Ok(done))),
            Err(Stop::Refused(refusal)) => Some(KeptAnswer::Room(Err(refusal))),
            Err(Stop::Failed(error)) => return Err(error),
        },
        KeptAsk::ListRooms { user, after, limit } => {
            Some(KeptAnswer::Rooms(list_rooms(rows, user, after.as_ref(), *limit)?))
        }
        KeptAsk::Account(AccountAsk::Find(user)) => {
            Some(KeptAnswer::Account(AccountDone::Found(accounts::find(rows, user)?)))
        }
        KeptAsk::Account(AccountAsk::List { after, limit }) => {
            Some(KeptAnswer::Account(accounts::list(rows, after.as_ref(), *limit)?))
        }
        KeptAsk::DeadLetter(DeadLetterAsk::Find(id)) => {
            Some(KeptAnswer::DeadLetter(DeadLetterDone::Found(dead_letters::find(rows, *id)?)))
        }
        KeptAsk::DeadLetter(DeadLetterAsk::List { after, limit }) => {
            Some(KeptAnswer::DeadLetter(dead_letters::list(rows, *after, *limit)?))
        }
        _ => None,
    })
}

/// What changes nothing of a room. Any other act is answered as `Info`.
pub(super) fn read_room(rows: &dyn Rows, setup: &Setup, ask: &RoomAsk) -> Result<RoomDone, Stop> {
    let RoomAsk { room: name, actor, act, .. } = ask;
    let room = lookups::room(rows, name)?;
    if let RoomAct::FindReceipt { kind } = act {
        return Ok(RoomDone::Receipt { seq: lookups::receipt(rows, room.id, &actor.user, *kind)? });
    }
    let role = if room.created.is_some() { lookups::role(rows, room.id, &actor.user)? } else { None };
    let is_private = room.created.as_ref().is_some_and(|created| created.kept.visibility == Visibility::Private);
    if is_private && role.is_none() && !actor.is_admin {
        return Err(RoomRefusal::Forbidden.into());
    }
    if let RoomAct::Enter { .. } = act {
        return Ok(RoomDone::Entered { role, is_new: false });
    }
    let head = head(&room, setup);
    Ok(RoomDone::Info { room: room.created.map(|created| created.kept), role, head })
}

/// A room's numbering and head, where publications are kept.
pub(super) fn head(room: &Room, setup: &Setup) -> Option<Position> {
    let is_kept = setup.keeps_records && room.has_numbering();
    is_kept.then_some(Position { epoch: room.epoch, seq: room.head })
}

fn list_rooms(
    rows: &dyn Rows,
    user: &UserName,
    after: Option<&RoomName>,
    limit: u32,
) -> Result<Vec<ListedRoom>, StateError> {
    let prefix = keys::rooms_of(user);
    let after = after.map(|after| keys::user_room(user, after));
    let span = Span::prefix(&prefix, after.as_deref());
    let mut listed = Vec::new();
    for row in UserRoom::scan(rows, Table::UserRooms, span, Direction::Up) {
        if listed.len() >= limit.min(LISTING_MAX) as usize {
            break;
        }
        let (key, row) = row?;
        let name = std::str::from_utf8(&key[prefix.len()..]).ok().and_then(|name| RoomName::new(name).ok());
        let Some(name) = name else { continue };
        let room = lookups::room(rows, &name)?;
        // A room of this name with another id is another room.
        if room.id == row.id {
            let read_seq = lookups::receipt(rows, room.id, user, ReceiptKind::Read)?;
            listed.push(ListedRoom { room: name, role: row.role, head_seq: room.head, read_seq });
        }
    }
    Ok(listed)
}
