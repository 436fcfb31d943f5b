//! For tests: a store that keeps rooms, as [`kept`](super::kept) describes it, for the engines of one machine.

use std::collections::BTreeMap;

use serde_json::Value;

use super::input::Input;
use super::kept::{KeptAnswer, KeptAsk, KeptRoom, KeptSession, ListedRoom, RoomAct, RoomAsk, RoomDone, RoomRefusal};
use super::machine::Machine;
use super::placement::owner_of;
use super::record::Stretch;
use super::store_port::{StoreEvent, StoreRequest};
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::ids::{RoomName, Seq, UserName};

struct ModelRoom {
    visibility: Visibility,
    title: Box<str>,
    members: BTreeMap<UserName, Role>,
    /// How often each can still be used, and until when.
    invites: BTreeMap<Box<str>, (u32, u64)>,
}

impl ModelRoom {
    fn is_last_owner(&self, user: &UserName) -> bool {
        let owners = self.members.values().filter(|role| **role == Role::Owner).count();
        owners == 1 && self.members.get(user) == Some(&Role::Owner)
    }
}

/// The store.
#[derive(Default)]
pub struct KeptModel {
    rooms: BTreeMap<RoomName, ModelRoom>,
    receipts: BTreeMap<(RoomName, UserName, ReceiptKind), Seq>,
    sessions: BTreeMap<u128, KeptSession>,
}

impl KeptModel {
    /// Runs the machine until nobody asks anything any more.
    pub fn serve(&mut self, machine: &mut Machine) {
        loop {
            machine.settle();
            let (loads, asks) = (std::mem::take(&mut machine.store), std::mem::take(&mut machine.asks));
            if loads.is_empty() && asks.is_empty() {
                return;
            }
            for load in loads {
                let StoreRequest::Load { room, .. } = load else { panic!("no publications are kept: {load:?}") };
                let core = owner_of(&room, machine.engines.len() as u16);
                let event = self.load(room);
                machine.handle(core.0, Input::Store(event));
            }
            for (token, ask) in asks {
                if let Some(answer) = self.answer(ask) {
                    machine.handle((token >> 48) as u16, Input::Store(StoreEvent::Answered { token, answer }));
                }
            }
        }
    }

    /// The answer to a load.
    pub fn load(&self, room: RoomName) -> StoreEvent {
        let created = self.rooms.get(&room).map(ModelRoom::kept);
        StoreEvent::Loaded {
            attempt: 0,
            room,
            stretch: Stretch { head: None, records: vec![] },
            first_seq: 1,
            keys: vec![],
            created,
        }
    }

    /// The answer to an ask.
    pub fn answer(&mut self, ask: KeptAsk) -> Option<KeptAnswer> {
        match ask {
            KeptAsk::Room(ask) => Some(KeptAnswer::Room(self.act(ask))),
            KeptAsk::SaveSession { session, kept } => {
                self.sessions.insert(session.0, kept);
                None
            }
            KeptAsk::EndSession { session, .. } => {
                assert!(self.sessions.contains_key(&session.0), "it was saved");
                None
            }
            KeptAsk::FindSession { session, .. } => Some(KeptAnswer::Session(self.sessions.get(&session.0).cloned())),
            KeptAsk::ListRooms { user, after, limit } => {
                let rooms = self.rooms.iter().filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
                let rooms = rooms.filter_map(|(name, room)| {
                    let place = (name.clone(), user.clone(), ReceiptKind::Read);
                    let read_seq = self.receipts.get(&place).copied().unwrap_or(0);
                    Some(ListedRoom { room: name.clone(), role: *room.members.get(&user)?, head_seq: 9, read_seq })
                });
                Some(KeptAnswer::Rooms(rooms.take(limit as usize).collect()))
            }
            ask => panic!("no test asks this: {ask:?}"),
        }
    }

    fn act(&mut self, RoomAsk { room: name, actor, at, act }: RoomAsk) -> Result<RoomDone, RoomRefusal> {
        match act {
            RoomAct::Receipt { kind, seq } => {
                let kept = self.receipts.entry((name, actor.user, kind)).or_default();
                *kept = seq.max(*kept);
                return Ok(RoomDone::Receipt { seq: *kept });
            }
            RoomAct::FindReceipt { kind } => {
                let kept = self.receipts.get(&(name, actor.user, kind)).copied();
                return Ok(RoomDone::Receipt { seq: kept.unwrap_or(0) });
            }
            RoomAct::Create { visibility, title } => {
                if self.rooms.contains_key(&name) {
                    return Err(RoomRefusal::Exists);
                }
                let members = BTreeMap::from([(actor.user, Role::Owner)]);
                self.rooms.insert(name, ModelRoom { visibility, title, members, invites: BTreeMap::new() });
                return Ok(RoomDone::Created);
            }
            _ => {}
        }
        let Some(room) = self.rooms.get_mut(&name) else {
            return match act {
                RoomAct::Enter { invite: None } => Ok(RoomDone::Entered { role: None, is_new: false }),
                RoomAct::Enter { .. } => Err(RoomRefusal::InviteInvalid),
                RoomAct::Info => Ok(RoomDone::Info { room: None, role: None, head: None }),
                _ => Err(RoomRefusal::NotFound),
            };
        };
        let role = room.members.get(&actor.user).copied();
        let power = if actor.is_admin { Some(Role::Owner) } else { role };
        let needs = |least: Role| if power >= Some(least) { Ok(()) } else { Err(RoomRefusal::Forbidden) };
        match act {
            RoomAct::Delete => {
                needs(Role::Owner)?;
                self.rooms.remove(&name);
                Ok(RoomDone::Deleted)
            }
            RoomAct::Info => {
                if room.visibility == Visibility::Private {
                    needs(Role::Member)?;
                }
                Ok(RoomDone::Info { room: Some(room.kept()), role, head: None })
            }
            RoomAct::Enter { invite: Some(code) } if role.is_none() => {
                let uses = room.invites.get_mut(&code).filter(|(_, until)| *until > at);
                let (left, _) = uses.ok_or(RoomRefusal::InviteInvalid)?;
                *left = left.checked_sub(1).ok_or(RoomRefusal::InviteInvalid)?;
                room.members.insert(actor.user, Role::Member);
                Ok(RoomDone::Entered { role: Some(Role::Member), is_new: true })
            }
            RoomAct::Enter { .. } => {
                if room.visibility == Visibility::Private {
                    needs(Role::Member)?;
                }
                Ok(RoomDone::Entered { role, is_new: false })
            }
            RoomAct::Invite { code, uses_max, expires_at } => {
                needs(Role::Admin)?;
                let uses = if uses_max == 0 { u32::MAX } else { uses_max };
                room.invites.insert(code, (uses, expires_at));
                Ok(RoomDone::Invited)
            }
            RoomAct::SetRole { user, role } => {
                let touched = room.members.get(&user).copied().unwrap_or(Role::Member).max(role);
                needs(if touched > Role::Member { Role::Owner } else { Role::Admin })?;
                if role != Role::Owner && room.is_last_owner(&user) {
                    return Err(RoomRefusal::LastOwner);
                }
                room.members.insert(user, role);
                Ok(RoomDone::RoleSet)
            }
            RoomAct::Remove { user } => {
                if user != actor.user {
                    let touched = room.members.get(&user).copied().unwrap_or(Role::Member);
                    needs(if touched > Role::Member { Role::Owner } else { Role::Admin })?;
                }
                if room.is_last_owner(&user) {
                    return Err(RoomRefusal::LastOwner);
                }
                room.members.remove(&user);
                Ok(RoomDone::Removed)
            }
            _ => panic!("answered above"),
        }
    }
}

impl ModelRoom {
    fn kept(&self) -> KeptRoom {
        KeptRoom { visibility: self.visibility, title: self.title.clone(), members: self.members.len() as u64 }
    }
}

/// The JSON messages in what a connection has heard since it was last looked at.
pub fn said(machine: &mut Machine, core: u16, slot: u32) -> Vec<Value> {
    let heard = machine.heard(core, slot);
    let mut rest = &heard[..];
    let mut said = Vec::new();
    while let Some(at) = rest.find("{\"type\":") {
        let mut values = serde_json::Deserializer::from_str(&rest[at..]).into_iter::<Value>();
        said.push(values.next().expect("a value").expect("valid JSON"));
        rest = &rest[at + values.byte_offset()..];
    }
    said
}
