//! Which line may follow which, and what each leads to. Knows only the lines before, not the store.

use super::lines::{self, AccountLine, HeaderLine, InviteLine, LINES_VERSION, LetterLine, Line, MemberLine, RoomLine};
use crate::base::chat::Role;
use crate::base::ids::{Position, RoomName};
use crate::base::limits::{ROOM_INVITES_MAX, ROOM_MEMBERS_MAX, ROOM_RECEIPTS_MAX};
use crate::engine::kept::{DeadLetter, KeptAccount};
use crate::engine::record::Record;
use crate::store::change::ImportStep;

/// What a line leads to.
#[derive(Debug, PartialEq)]
pub enum Item {
    /// Nothing.
    Nothing,
    /// A room begins; the one before is whole.
    Room(ImportStep),
    /// A part of the room.
    Part(ImportStep),
    /// An account; the last room is whole.
    Account(KeptAccount),
    /// A dead letter; the last room is whole.
    DeadLetter(DeadLetter),
    /// There are no more lines.
    End,
}

/// The places of lines within an export, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Start,
    Rooms,
    Accounts,
    DeadLetters,
    End,
}

/// The places of lines within a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Room,
    Member,
    Invite,
    Receipt,
    Record,
}

/// A room whose lines are being read.
#[derive(Debug)]
struct OpenRoom {
    name: RoomName,
    head: u64,
    is_numbered: bool,
    is_created: bool,
    part: Part,
    /// The name or code of the line before, if that is of the same part.
    last: Box<str>,
    /// Lines of the part.
    count: u64,
    has_owner: bool,
    /// The last record's; 0: there is none yet.
    seq: u64,
}

/// Reads lines in their order.
#[derive(Debug)]
pub struct Order {
    place: Place,
    lines: u64,
    room: Option<OpenRoom>,
    last_account: Option<Box<str>>,
    gives_new_epochs: bool,
}

impl Order {
    /// Before the first line. `gives_new_epochs`: every room gets another epoch when it is opened.
    #[must_use]
    pub fn new(gives_new_epochs: bool) -> Self {
        Self { place: Place::Start, lines: 0, room: None, last_account: None, gives_new_epochs }
    }

    /// The room whose lines are being read.
    #[must_use]
    pub fn room(&self) -> Option<&RoomName> {
        self.room.as_ref().map(|room| &room.name)
    }

    /// The next line.
    ///
    /// # Errors
    /// One sentence: the line is wrong, or stands in the wrong place.
    pub fn take(&mut self, text: &str) -> Result<Item, String> {
        if self.place == Place::End {
            return Err("a line follows the line of kind end".to_owned());
        }
        let line = Line::read(text)?;
        let item = match (self.place, line) {
            (Place::Start, Line::Header(HeaderLine { version: LINES_VERSION })) => {
                self.place = Place::Rooms;
                Ok(Item::Nothing)
            }
            (Place::Start, Line::Header(HeaderLine { version })) => {
                Err(format!("the export has version {version}, and this Roomring reads version {LINES_VERSION}"))
            }
            (Place::Start, _) => Err("the first line must be of kind header".to_owned()),
            (_, Line::Header(_)) => Err("only the first line is of kind header".to_owned()),
            (_, Line::Room(line)) => self.begin_room(&line).map(Item::Room),
            (_, Line::Member(line)) => self.member(&line).map(Item::Part),
            (_, Line::Invite(line)) => self.invite(line).map(Item::Part),
            (_, Line::Receipt(line)) => self.receipt(&line).map(Item::Part),
            (_, Line::Record(line)) => self.record(line.record()?).map(Item::Part),
            (_, Line::Account(line)) => self.account(line).map(Item::Account),
            (_, Line::DeadLetter(line)) => self.dead_letter(line).map(Item::DeadLetter),
            (_, Line::End(line)) => self.end(line.lines),
        }?;
        self.lines += 1;
        Ok(item)
    }

    /// Says that there are no more lines.
    ///
    /// # Errors
    /// The export is not whole.
    pub fn finish(&self) -> Result<(), String> {
        match self.place {
            Place::End => Ok(()),
            _ => Err("the export ends before its line of kind end: it is not whole".to_owned()),
        }
    }

    fn advance(&mut self, place: Place, kind: &str) -> Result<(), String> {
        self.finish_room()?;
        if self.place > place {
            return Err(format!(
                "a line of kind {kind} stands too late; rooms come first, then accounts, then dead letters"
            ));
        }
        self.place = place;
        Ok(())
    }

    fn finish_room(&mut self) -> Result<(), String> {
        let Some(room) = &self.room else { return Ok(()) };
        if room.is_created && !room.has_owner {
            return Err(format!("room {:?} was created and has no owner", &*room.name));
        }
        if room.seq != 0 && room.seq != room.head {
            return Err(format!(
                "the records of room {:?} end at {}, but its head is {}",
                &*room.name, room.seq, room.head
            ));
        }
        Ok(())
    }

    fn begin_room(&mut self, line: &RoomLine) -> Result<ImportStep, String> {
        self.advance(Place::Rooms, "room")?;
        let name = lines::room("room", &line.room)?;
        if let Some(before) = &self.room
            && before.name.as_bytes() >= name.as_bytes()
        {
            return Err(format!(
                "room \"{name}\" stands behind room {:?}; rooms must be in the order of their names, each once",
                &*before.name
            ));
        }
        let epoch = line.epoch.as_deref().map(lines::epoch).transpose()?;
        if epoch.is_none() && line.head > 0 {
            return Err(format!("room \"{name}\" has a head and no `epoch`"));
        }
        if line.head == u64::MAX {
            return Err(format!("the head of room \"{name}\" is too large"));
        }
        let created = lines::created(line)?;
        self.room = Some(OpenRoom {
            name: name.clone(),
            head: line.head,
            is_numbered: epoch.is_some(),
            is_created: created.is_some(),
            part: Part::Room,
            last: "".into(),
            count: 0,
            has_owner: false,
            seq: 0,
        });
        let head = epoch.map(|epoch| Position { epoch, seq: line.head });
        let needs_epoch = epoch.is_some() && (line.needs_epoch || self.gives_new_epochs);
        Ok(ImportStep::Start { room: name, head, needs_epoch, used_at: line.used_at, created })
    }

    /// The room, for a line of one of its parts, which come in their order and each at most `max` times.
    fn part(&mut self, part: Part, key: &str, max: u64) -> Result<&mut OpenRoom, String> {
        let is_in_room = self.place == Place::Rooms;
        let room = self.room.as_mut().filter(|_| is_in_room);
        let room = room.ok_or("the line belongs to no room: none stands before it")?;
        if room.part > part {
            let name = &room.name;
            return Err(format!(
                "a line of room \"{name}\" stands too late: members come first, then invites, receipts, records"
            ));
        }
        if room.part < part {
            (room.part, room.last, room.count) = (part, "".into(), 0);
        } else if part != Part::Record && *room.last >= *key {
            return Err(format!("{key:?} stands behind {:?}; they must be in order, each once", room.last));
        }
        room.count += 1;
        if room.count > max {
            return Err(format!("room {:?} has more than {max} of them", &*room.name));
        }
        room.last = key.into();
        Ok(room)
    }

    fn member(&mut self, line: &MemberLine) -> Result<ImportStep, String> {
        let (user, role) = (lines::user("user", &line.user)?, lines::role(&line.role)?);
        let room = self.part(Part::Member, &user, ROOM_MEMBERS_MAX)?;
        if !room.is_created {
            return Err(format!("room {:?} was not created, so it has no members", &*room.name));
        }
        room.has_owner |= role == Role::Owner;
        Ok(ImportStep::Member { user, role })
    }

    fn invite(&mut self, line: InviteLine) -> Result<ImportStep, String> {
        let code = lines::code(line.code)?;
        let room = self.part(Part::Invite, &code, ROOM_INVITES_MAX as u64)?;
        if !room.is_created {
            return Err(format!("room {:?} was not created, so it has no invites", &*room.name));
        }
        Ok(ImportStep::Invite { code, uses_left: line.uses_left.unwrap_or(0), expires_at: line.expires_at })
    }

    fn receipt(&mut self, line: &lines::ReceiptLine) -> Result<ImportStep, String> {
        let user = lines::user("user", &line.user)?;
        let room = self.part(Part::Receipt, &user, ROOM_RECEIPTS_MAX)?;
        if line.read.max(line.delivered) > room.head {
            return Err(format!("the receipt is above the head {} of room {:?}", room.head, &*room.name));
        }
        Ok(ImportStep::Receipt { user, read: line.read, delivered: line.delivered })
    }

    fn record(&mut self, record: Record) -> Result<ImportStep, String> {
        let room = self.part(Part::Record, "", u64::MAX)?;
        let is_next = if room.seq == 0 { record.seq > 0 } else { record.seq == room.seq + 1 };
        if !is_next {
            return Err(format!("record {} of room {:?} stands behind record {}", record.seq, &*room.name, room.seq));
        }
        if !room.is_numbered || record.seq > room.head {
            return Err(format!("record {} is above the head {} of room {:?}", record.seq, room.head, &*room.name));
        }
        room.seq = record.seq;
        Ok(ImportStep::Record(record))
    }

    fn account(&mut self, line: AccountLine) -> Result<KeptAccount, String> {
        self.advance(Place::Accounts, "account")?;
        let AccountLine { user, name, password_hash, created_at, locked } = line;
        let user = lines::user("user", &user)?;
        if self.last_account.as_deref().is_some_and(|last| *last >= *user) {
            return Err(format!(
                "account \"{user}\" stands too late; accounts must be in the order of their names, each once"
            ));
        }
        if is_no_hash(&password_hash) {
            return Err(format!("the `password_hash` of account \"{user}\" is not in the PHC string format"));
        }
        self.last_account = Some((*user).into());
        let (name, password_hash) = (name.map(Into::into), password_hash.into());
        Ok(KeptAccount { user, name, password_hash, created_at, is_locked: locked })
    }

    fn dead_letter(&mut self, line: LetterLine) -> Result<DeadLetter, String> {
        self.advance(Place::DeadLetters, "dead_letter")?;
        let LetterLine { at, reason, room, epoch, record } = line;
        let (room, epoch) = (lines::room("room", &room)?, lines::epoch(&epoch)?);
        Ok(DeadLetter { id: 0, at, reason: reason.into(), room, epoch, record: record.record()? })
    }

    fn end(&mut self, lines: u64) -> Result<Item, String> {
        self.advance(Place::End, "end")?;
        if lines != self.lines {
            return Err(format!(
                "the export had {lines} lines before its end, and {} have come: it is not whole",
                self.lines
            ));
        }
        Ok(Item::End)
    }
}

/// Whether a text cannot be a hash in the PHC string format.
fn is_no_hash(hash: &str) -> bool {
    !hash.starts_with('$') || hash.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
}
