//! Requests in few words.

use bytes::Bytes;

use super::subject::StoreUnderTest;
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::ids::{Epoch, Position, RoomName, Seq, UserName};
use crate::engine::kept::{
    AccountAsk, AccountDone, Actor, DeadLetterAsk, DeadLetterDone, KeptAnswer, KeptAsk, ListedRoom, RoomAct, RoomAsk,
    RoomDone, RoomRefusal,
};
use crate::engine::record::{PageRequest, Record};
use crate::wire::publication::DataKind;

/// The user who is an administrator.
pub const ADMINISTRATOR: &str = "root";

pub fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("a name")
}

pub fn user(name: &str) -> UserName {
    UserName::new(name).expect("a name")
}

pub fn record(seq: Seq, at: u64, text: &str) -> Record {
    let data = Bytes::copy_from_slice(text.as_bytes());
    Record { seq, at, from: user("ann"), kind: DataKind::Json, data, key: None, except: None }
}

/// All of a room's records from `after` to `before`.
pub fn request(name: &str, epoch: u64, after: Option<Seq>, before: Seq) -> PageRequest {
    let (epoch, bytes) = (Epoch(epoch), usize::MAX);
    PageRequest { token: 1, room: room(name), epoch, after, before, expired_at: 0, count: usize::MAX, bytes }
}

pub fn seqs(records: &[Record]) -> Vec<Seq> {
    records.iter().map(|record| record.seq).collect()
}

/// Shorthands over a store.
pub trait Say {
    fn act_at(&mut self, at: u64, by: &str, name: &str, act: RoomAct) -> Result<RoomDone, RoomRefusal>;
    fn open(&mut self, name: &str, epoch: u64) -> Position;
    fn publish(&mut self, name: &str, epoch: u64, seqs: std::ops::RangeInclusive<Seq>, at: u64);
    fn account(&mut self, ask: AccountAsk) -> AccountDone;
    fn dead_letter(&mut self, ask: DeadLetterAsk) -> DeadLetterDone;
    fn list(&mut self, by: &str, after: Option<&str>, limit: u32) -> Vec<ListedRoom>;

    fn act(&mut self, by: &str, name: &str, act: RoomAct) -> Result<RoomDone, RoomRefusal> {
        self.act_at(2_000, by, name, act)
    }

    fn create(&mut self, by: &str, name: &str, visibility: Visibility) -> Result<RoomDone, RoomRefusal> {
        self.act(by, name, RoomAct::Create { visibility, title: "A title".into() })
    }

    fn set_role(&mut self, by: &str, name: &str, of: &str, role: Role) -> Result<RoomDone, RoomRefusal> {
        self.act(by, name, RoomAct::SetRole { user: user(of), role })
    }

    fn remove(&mut self, by: &str, name: &str, whom: &str) -> Result<RoomDone, RoomRefusal> {
        self.act(by, name, RoomAct::Remove { user: user(whom) })
    }

    fn receipt(&mut self, by: &str, name: &str, kind: ReceiptKind, seq: Seq) -> Result<RoomDone, RoomRefusal> {
        self.act(by, name, RoomAct::Receipt { kind, seq })
    }

    fn invite(&mut self, by: &str, name: &str, code: &str, uses: u32, until: u64) -> Result<RoomDone, RoomRefusal> {
        self.act(by, name, RoomAct::Invite { code: code.into(), uses_max: uses, expires_at: until })
    }

    fn enter(&mut self, by: &str, name: &str, invite: Option<&str>) -> Result<RoomDone, RoomRefusal> {
        self.act(by, name, RoomAct::Enter { invite: invite.map(Into::into) })
    }
}

impl Say for dyn StoreUnderTest + '_ {
    fn act_at(&mut self, at: u64, by: &str, name: &str, act: RoomAct) -> Result<RoomDone, RoomRefusal> {
        let actor = Actor { user: user(by), is_admin: by == ADMINISTRATOR };
        match self.ask(KeptAsk::Room(RoomAsk { room: room(name), actor, at, act })) {
            Some(KeptAnswer::Room(answer)) => answer,
            other => panic!("the answer of a room, not {other:?}"),
        }
    }

    fn open(&mut self, name: &str, epoch: u64) -> Position {
        let loaded = self.load(&room(name), 0, 0, Epoch(epoch), 2_000);
        loaded.stretch.head.expect("an open room has a numbering")
    }

    fn publish(&mut self, name: &str, epoch: u64, seqs: std::ops::RangeInclusive<Seq>, at: u64) {
        for seq in seqs {
            let is_kept = self.append(&room(name), Epoch(epoch), record(seq, at + seq, "1"));
            assert!(is_kept, "{seq} of {name} is the next record");
        }
    }

    fn account(&mut self, ask: AccountAsk) -> AccountDone {
        match self.ask(KeptAsk::Account(ask)) {
            Some(KeptAnswer::Account(done)) => done,
            other => panic!("the answer of accounts, not {other:?}"),
        }
    }

    fn dead_letter(&mut self, ask: DeadLetterAsk) -> DeadLetterDone {
        match self.ask(KeptAsk::DeadLetter(ask)) {
            Some(KeptAnswer::DeadLetter(done)) => done,
            other => panic!("the answer of dead letters, not {other:?}"),
        }
    }

    fn list(&mut self, by: &str, after: Option<&str>, limit: u32) -> Vec<ListedRoom> {
        match self.ask(KeptAsk::ListRooms { user: user(by), after: after.map(room), limit }) {
            Some(KeptAnswer::Rooms(rooms)) => rooms,
            other => panic!("a list of rooms, not {other:?}"),
        }
    }
}
