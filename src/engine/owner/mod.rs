//! The owner half of an engine: the rooms that hash to this core. Hears homes by hops, the link and the store by events;
//! answers by hops and requests. Knows no socket and no session.
//!
//! [`Owner`] holds the tables and decides which room hears what; after each of them it enters what changed in the core's
//! books (budget, ages, timers, counters) in one place (`enter`). A room (`room`) is its numbering and parts:
//! `history`, `listeners`, `presence`, `keys`, and what it has with a store (`stored`) or a link (`linked`). With both a
//! link and a store configured, the link numbers and keeps.

mod answer;
mod asks;
mod awaited;
mod books;
mod history;
mod keys;
mod largest;
mod leaving;
mod linked;
mod listeners;
mod membership;
mod numberings;
mod opening;
mod presence;
mod publish;
mod retention;
mod room;
mod rooms;
mod sizes;
mod stored;
mod stream;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::answer::{Asker, expelled, left, refuse_join};
use self::asks::Origin;
use self::awaited::Awaited;
use self::largest::Largest;
use self::membership::Join;
use self::numberings::{LastHead, Numberings};
use self::opening::{Opening, Waiting, waiting_bytes};
use self::retention::Retention;
use self::room::{Keeping, Numbering, Room};
use self::rooms::{RoomId, Rooms};
use self::sizes::Sizes;
use self::stream::Arrival;
use super::budget::Budget;
use super::call::CallAnswer;
use super::hop::ToOwner;
use super::link_port::{LinkEvent, LinkRequest};
use super::outbound::Outbound;
use super::packer::Packer;
use super::random::{Part, Random, Secrets, TableKeys};
use super::settings::Settings;
use super::store_port::{StoreEvent, StoreRequest};
use super::trace::Span;
use crate::base::codes::ErrorCode;
use crate::base::counters::CoreCounters;
use crate::base::ids::{CoreId, RoomName};
use crate::base::limits::{ROOMS_PER_TICK_MAX, WAITING_BYTES};
use crate::base::time::Now;
use crate::wire::protocol::Refusal;

/// What the owner half acts through: borrowed from the engine for one call.
pub struct OwnerEffects<'a> {
    /// When it is.
    pub now: Now,
    /// This machine's name.
    pub node: &'a str,
    /// Keys for the rooms' own tables.
    pub tables: &'a mut TableKeys,
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// Of sampled publishes.
    pub spans: &'a mut Vec<Span>,
    /// To the link.
    pub link: &'a mut Vec<LinkRequest>,
    /// To the store.
    pub store: &'a mut Vec<StoreRequest>,
    /// To those who call, by their tokens.
    pub answers: &'a mut Vec<(u64, CallAnswer)>,
    /// This core's numbers.
    pub counters: &'a CoreCounters,
    /// History is charged here.
    pub budget: &'a mut Budget,
    /// Compresses what members read so.
    pub packer: &'a mut Packer,
}

/// The rooms of one core.
#[derive(Debug)]
pub struct Owner {
    settings: Arc<Settings>,
    random: Random,
    rooms: Rooms,
    /// Each room that waits for time, once: when (monotonic milliseconds) and which.
    timers: BTreeSet<(u64, RoomId)>,
    retention: Retention,
    largest: Largest,
    /// Of rooms in which nothing is left.
    numberings: Numberings,
    /// Bytes charged for them.
    numberings_entered: usize,
    sizes: Sizes,
    awaited: Awaited,
    /// Rooms that wait for the link or the store.
    waiting_rooms: u32,
}

impl Owner {
    /// No rooms.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, secrets: &Secrets, tables: &mut TableKeys) -> Self {
        Self {
            settings,
            random: secrets.shown(core, Part::Owner),
            rooms: Rooms::new(tables.hashing()),
            numberings: Numberings::new(tables.hashing()),
            numberings_entered: 0,
            timers: BTreeSet::new(),
            retention: Retention::default(),
            largest: Largest::default(),
            sizes: Sizes::default(),
            awaited: Awaited::new(core),
            waiting_rooms: 0,
        }
    }

    /// Other settings hold from now on, for the rooms that are there too.
    pub fn set_settings(&mut self, settings: Arc<Settings>, effects: &mut OwnerEffects<'_>) {
        let same_rooms = self.settings.rooms == settings.rooms && self.settings.classes == settings.classes;
        self.settings = settings;
        if !same_rooms {
            for id in self.rooms.all() {
                if let Some(room) = self.rooms.get_mut(id) {
                    room.set_settings(effects.now, &self.settings);
                }
                self.enter(id, effects);
            }
        }
        self.shed(effects);
    }

    /// A hop from a home (this core's own included).
    pub fn handle_hop(&mut self, hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        if effects.budget.is_tight() {
            // Numberings and messages make room for what comes, before it is refused.
            self.shed(effects);
        }
        let id = match (self.rooms.find(hop.room()), &hop) {
            (Some(id), _) => id,
            (None, ToOwner::Join { again: false, .. }) if effects.budget.is_tight() => {
                refuse(hop, Refusal::OUT_OF_MEMORY, effects);
                return;
            }
            (None, ToOwner::Join { again: false, room, .. }) => self.create(room.clone(), effects),
            (None, _) => {
                refuse(hop, Refusal::NOT_JOINED, effects);
                return;
            }
        };
        let is_opening = self.rooms.get(id).is_some_and(|room| room.opening.is_some());
        if is_opening {
            self.wait(id, hop, effects);
        } else {
            self.take(id, hop, effects);
        }
        self.enter(id, effects);
        self.shed(effects);
    }

    /// News from the link.
    pub fn handle_link(&mut self, event: LinkEvent, effects: &mut OwnerEffects<'_>) {
        match event {
            LinkEvent::Read { room, stretch } => {
                let Some(id) = self.rooms.find(&room) else { return };
                let Some(room) = self.rooms.get_mut(id) else { return };
                if let Numbering::Link(_) = room.numbering {
                    let opening = room.opening.take();
                    room.handle_read(opening.is_none(), &stretch, effects);
                    self.go_on(id, opening, effects);
                }
                self.enter(id, effects);
            }
            LinkEvent::Publication { room, epoch, record } => {
                let Some(id) = self.rooms.find(&room) else { return };
                let may_wait = self.may_keep(WAITING_BYTES + record.data.len(), effects);
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_publication((epoch, record), may_wait, effects);
                }
                self.enter(id, effects);
            }
            LinkEvent::Published { token, result } => {
                let Some(publish) = self.awaited.take(token) else { return };
                let id = publish.room;
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_published(publish, result, effects);
                }
                self.enter(id, effects);
            }
            LinkEvent::Restored => {
                for id in self.rooms.all() {
                    if let Some(room) = self.rooms.get_mut(id) {
                        room.handle_restored(effects);
                    }
                    self.enter(id, effects);
                }
            }
        }
        self.shed(effects);
    }

    /// News from the store.
    pub fn handle_store(&mut self, event: StoreEvent, effects: &mut OwnerEffects<'_>) {
        match event {
            StoreEvent::Loaded { room, stretch, keys } => {
                let Some(id) = self.rooms.find(&room) else { return };
                let Some(room) = self.rooms.get_mut(id) else { return };
                if let (Numbering::Own, Keeping::Store(_)) = (&room.numbering, &room.keeping) {
                    let opening = room.opening.take();
                    room.handle_loaded(opening.is_none(), &stretch, &keys, effects);
                    self.go_on(id, opening, effects);
                }
                self.enter(id, effects);
            }
            StoreEvent::Committed { room, epoch, seq } => {
                let Some(id) = self.rooms.find(&room) else { return };
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_committed((epoch, seq), effects);
                }
                self.enter(id, effects);
            }
            StoreEvent::Failed { room, epoch, seq, retry_after_ms } => {
                let Some(id) = self.rooms.find(&room) else { return };
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_failed((epoch, seq), retry_after_ms, effects);
                }
                self.enter(id, effects);
            }
            // For the user half.
            StoreEvent::Answered { .. } => {}
        }
        self.shed(effects);
    }

    /// Does what has waited for a room that is open now, in order.
    fn go_on(&mut self, id: RoomId, opening: Option<Box<Opening>>, effects: &mut OwnerEffects<'_>) {
        for waiting in opening.into_iter().flat_map(|opening| opening.into_waiting()) {
            match waiting {
                Waiting::Hop(hop) => self.take(id, hop, effects),
                Waiting::Call { token, from, ask } => self.perform_call(id, token, from, ask, effects),
            }
        }
    }

    /// Time has passed: status pushes, grace, expiry, repair of cores that are behind, questions asked again.
    pub fn tick(&mut self, effects: &mut OwnerEffects<'_>) {
        for _ in 0..ROOMS_PER_TICK_MAX {
            let Some((_, id)) = self.timers.first().copied().filter(|(due_ms, _)| *due_ms <= effects.now.mono_ms())
            else {
                break;
            };
            self.timers.pop_first();
            let Some(room) = self.rooms.get_mut(id) else { continue };
            room.entered.due_ms = None;
            room.stream.expire(effects.now);
            room.tell_statuses(effects);
            room.stream.repair(effects);
            room.ask_again(effects);
            self.enter(id, effects);
        }
        self.numberings.expire(effects.now.mono_ms(), ROOMS_PER_TICK_MAX);
        self.enter_numberings(effects);
        self.shed(effects);
    }

    /// Whether neither the link nor the store owes anything that somebody waits for: a stop loses nothing.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.waiting_rooms == 0 && self.awaited.is_empty()
    }

    /// When `tick` is wanted next, monotonic microseconds; `None` while nothing waits for time.
    #[must_use]
    pub fn next_tick_us(&self, now: Now) -> Option<u64> {
        let room = self.timers.first().map(|(due_ms, _)| *due_ms);
        let numbering = self.numberings.next_expiry_ms();
        let due_ms = room.into_iter().chain(numbering).min()?;
        Some(due_ms.saturating_mul(1_000).max(now.mono_us))
    }

    fn create(&mut self, name: RoomName, effects: &mut OwnerEffects<'_>) -> RoomId {
        let last = self.numberings.take(&name).unwrap_or_else(|| LastHead::new(self.random.epoch()));
        self.enter_numberings(effects);
        let mut room = Room::new(name, &self.settings, last, effects.now);
        if room.opening.is_some() {
            room.ask_to_open(effects);
        }
        effects.counters.rooms_held.add(1);
        self.rooms.insert(room)
    }

    /// A hop for a room that is open: done now, or once its connection's own publications have come.
    fn take(&mut self, id: RoomId, mut hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        let may_wait = self.may_keep(waiting_bytes(&hop), effects);
        let Some(room) = self.rooms.get_mut(id) else { return };
        if room.detains(&hop) {
            if let Err(hop) = room.detain(hop, may_wait) {
                refuse(hop, Refusal::OVERLOADED, effects);
            }
            return;
        }
        if let ToOwner::Leave { member, away, reply: None, .. } = &mut hop
            && let Some(counted_away) = room.forget_leaver(member.conn)
        {
            *away = counted_away;
        }
        self.perform(id, hop, effects);
    }

    /// Lets go the members whose own publications have come or failed.
    fn let_leavers_go(&mut self, id: RoomId, effects: &mut OwnerEffects<'_>) {
        while let Some(hops) = self.rooms.get_mut(id).and_then(Room::take_leaver) {
            for hop in hops {
                self.take(id, hop, effects);
            }
        }
    }

    fn perform(&mut self, id: RoomId, hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        match hop {
            ToOwner::Join { member, away, again, recover, history, reply, .. } => {
                room.join(Join { member, away, again, recover, history, reply }, effects);
            }
            ToOwner::Leave { member, away, reply, .. } => room.leave(&member, away, reply, effects),
            ToOwner::Expel { member, away, reason, .. } => {
                room.leave(&member, away, None, effects);
                expelled(&room.stream.name, member.conn, reason, effects);
            }
            ToOwner::Away { conn, user, away, .. } => room.set_away(conn, &user, away, effects.now),
            ToOwner::Ask { conn, user, ask, arrived_us, trace, reply, .. } => {
                let (asker, arrival) = (Asker::Connection { conn, reply }, Arrival { us: arrived_us, trace });
                self.perform_ask(id, Origin { asker, user, arrival }, ask, effects);
            }
        }
    }

    /// A hop for a room that is not open yet.
    fn wait(&mut self, id: RoomId, hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        let may_wait = self.may_keep(waiting_bytes(&hop), effects);
        let Some(room) = self.rooms.get_mut(id) else { return };
        let Some(opening) = &mut room.opening else { return };
        let (is_joining, has_asked) = (opening.is_joining(hop.conn()), opening.has_asked(hop.conn()));
        let has_place = may_wait && !opening.is_full();
        match hop {
            ToOwner::Away { conn, away, .. } => opening.set_away(conn, away),
            ToOwner::Leave { member, reply: None, .. } => opening.cancel(member.conn),
            // Joins and leaves of one connection are answered in order.
            ToOwner::Leave { .. } | ToOwner::Expel { .. } if has_asked => opening.push(hop),
            ToOwner::Join { again: false, .. } if has_place => opening.push(hop),
            ToOwner::Join { again: false, .. } => refuse(hop, Refusal::OVERLOADED, effects),
            _ if !is_joining => refuse(hop, Refusal::NOT_JOINED, effects),
            _ if has_place => opening.push(hop),
            _ => refuse(hop, Refusal::OVERLOADED, effects),
        }
    }
}

/// Answers a hop that is not done, of a connection that is no member of a room that is open.
fn refuse(hop: ToOwner, refusal: Refusal, effects: &mut OwnerEffects<'_>) {
    match hop {
        // Done all the same.
        ToOwner::Leave { room, member, reply: Some(reply), .. } => {
            left(&room, member.conn, reply, effects);
        }
        ToOwner::Expel { room, member, reason, .. } => expelled(&room, member.conn, reason, effects),
        ToOwner::Leave { reply: None, .. } | ToOwner::Away { .. } => {}
        ToOwner::Join { room, member, reply, .. } => {
            // One that counts on an earlier join was refused with it, for the same reason.
            let refusal = if refusal.code == ErrorCode::NotJoined { Refusal::OVERLOADED } else { refusal };
            refuse_join(&room, (member.conn, reply), refusal, effects);
        }
        ToOwner::Ask { room, conn, reply, .. } => {
            Asker::Connection { conn, reply }.refuse(&room, refusal, effects);
        }
    }
}

#[cfg(test)]
mod tests;
