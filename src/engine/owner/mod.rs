//! The owner half of an engine: the rooms that hash to this core. Hears homes by hops, the link and the store by events;
//! answers by hops and requests. Knows no socket and no session.
//!
//! [`Owner`] holds the tables and decides which room hears what; after each of them it enters what changed in the core's
//! books (budget, ages, timers, counters) in one place (`enter`). A room (`room`) is its numbering and parts:
//! `history`, `listeners`, `presence`, `keys`, and what it has with a store (`stored`) or a link (`linked`). With both a
//! link and a store configured, the link numbers and keeps.

mod answer;
mod calls;
mod delivery;
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

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use self::answer::{Asker, Refusal, expelled, left};
use self::keys::key_bytes;
use self::largest::Largest;
use self::linked::write_except;
use self::membership::{HistoryRange, Join};
use self::numberings::{Numbering, Numberings};
use self::opening::{Waiting, waiting_bytes};
use self::publish::Publish;
use self::retention::Retention;
use self::room::{Authority, Bytes, Room};
use self::rooms::{RoomId, Rooms};
use self::sizes::Sizes;
use super::budget::Budget;
use super::call::Answer;
use super::hop::{MemberRef, ToOwner};
use super::link_port::LinkRequest;
use super::link_port::{LinkEvent, LinkFailure};
use super::outbound::Outbound;
use super::packer::Packer;
use super::random::{Part, Random, Secrets, TableKeys};
use super::record::Stretch;
use super::settings::Settings;
use super::store_port::StoreRequest;
use super::store_port::{KeptKey, StoreEvent};
use super::trace::Span;
use crate::base::codes::ErrorCode;
use crate::base::counters::CoreCounters;
use crate::base::ids::{CoreId, Position, RoomName};
use crate::base::limits::{
    HISTORY_BUDGET_DIVISOR, HISTORY_FLOOR_DIVISOR, NUMBERINGS_BUDGET_DIVISOR, PENDING_PER_ROOM_MAX, ROOMS_PER_TICK_MAX,
    WAITING_BYTES,
};
use crate::base::time::Now;

/// What the owner half acts through: borrowed from the engine for one call.
pub struct OwnerEffects<'a> {
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// Of sampled publishes.
    pub spans: &'a mut Vec<Span>,
    /// To the link.
    pub link: &'a mut Vec<LinkRequest>,
    /// To the store.
    pub store: &'a mut Vec<StoreRequest>,
    /// To those who call, by their tokens.
    pub answers: &'a mut Vec<(u64, Answer)>,
    /// This core's numbers.
    pub counters: &'a CoreCounters,
    /// History is charged here.
    pub budget: &'a mut Budget,
    /// Compresses what members read so.
    pub packer: &'a mut Packer,
}

/// A publish that the link has been given.
#[derive(Debug)]
struct LinkPublish {
    room: RoomId,
    asker: Asker,
}

/// The rooms of one core.
#[derive(Debug)]
pub struct Owner {
    settings: Arc<Settings>,
    random: Random,
    /// For the rooms' own tables.
    table_keys: TableKeys,
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
    /// By token.
    link_publishes: HashMap<u64, LinkPublish, FixedState>,
    /// The core's number stands in the upper bits: a token is one of its machine's.
    next_token: u64,
}

impl Owner {
    /// No rooms.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, secrets: &Secrets) -> Self {
        let mut table_keys = secrets.tables(core, Part::Owner);
        Self {
            settings,
            random: secrets.shown(core, Part::Owner),
            rooms: Rooms::new(table_keys.hashing()),
            numberings: Numberings::new(table_keys.hashing()),
            numberings_entered: 0,
            table_keys,
            timers: BTreeSet::new(),
            retention: Retention::default(),
            largest: Largest::default(),
            sizes: Sizes::default(),
            link_publishes: HashMap::with_hasher(FixedState::default()),
            next_token: u64::from(core.0) << 48,
        }
    }

    /// Other settings hold from now on, for the rooms that are there too.
    pub fn set_settings(&mut self, now: Now, settings: Arc<Settings>, effects: &mut OwnerEffects<'_>) {
        let same_rooms = self.settings.rooms == settings.rooms && self.settings.classes == settings.classes;
        self.settings = settings;
        if !same_rooms {
            for id in self.rooms.all() {
                if let Some(room) = self.rooms.get_mut(id) {
                    room.set_settings(now, &self.settings);
                }
                self.enter(now, id, effects);
            }
        }
        self.shed(now, effects);
    }

    /// A hop from a home (this core's own included).
    pub fn handle_hop(&mut self, now: Now, hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        if effects.budget.is_tight() {
            // Numberings and messages make room for what comes, before it is refused.
            self.shed(now, effects);
        }
        let id = match (self.rooms.find(hop.room()), &hop) {
            (Some(id), _) => id,
            (None, ToOwner::Join { again: false, .. }) if effects.budget.is_tight() => {
                refuse(hop, Refusal::OUT_OF_MEMORY, effects);
                return;
            }
            (None, ToOwner::Join { again: false, room, .. }) => self.create(now, room.clone(), effects),
            (None, _) => {
                refuse(hop, Refusal::NOT_JOINED, effects);
                return;
            }
        };
        let is_opening = self.rooms.get(id).is_some_and(|room| room.opening.is_some());
        if is_opening {
            self.wait(id, hop, effects);
        } else {
            self.take(now, id, hop, effects);
        }
        self.enter(now, id, effects);
        self.shed(now, effects);
    }

    /// News from the link.
    pub fn handle_link(&mut self, now: Now, event: LinkEvent, effects: &mut OwnerEffects<'_>) {
        match event {
            LinkEvent::Read { room, stretch } => {
                let Some(id) = self.rooms.find(&room) else { return };
                self.handle_stretch(now, id, &stretch, &[], effects);
            }
            LinkEvent::Publication { room, epoch, record } => {
                let Some(id) = self.rooms.find(&room) else { return };
                let may_wait = self.may_keep(WAITING_BYTES + record.data.len(), effects);
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_publication(now, epoch, record, may_wait, &self.settings.node, effects);
                }
                self.enter(now, id, effects);
            }
            LinkEvent::Published { token, result } => self.answer_link_publish(now, token, result, effects),
            LinkEvent::Restored => {
                for id in self.rooms.all() {
                    if let Some(room) = self.rooms.get_mut(id) {
                        room.handle_restored(now, effects);
                    }
                    self.enter(now, id, effects);
                }
            }
        }
        self.shed(now, effects);
    }

    /// News from the store.
    pub fn handle_store(&mut self, now: Now, event: StoreEvent, effects: &mut OwnerEffects<'_>) {
        match event {
            StoreEvent::Loaded { room, stretch, keys } => {
                let Some(id) = self.rooms.find(&room) else { return };
                self.handle_stretch(now, id, &stretch, &keys, effects);
            }
            StoreEvent::Committed { room, epoch, seq } => {
                let Some(id) = self.rooms.find(&room) else { return };
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_committed(now, epoch, seq, effects);
                }
                self.enter(now, id, effects);
            }
            StoreEvent::Failed { room, epoch, seq, retry_after_ms } => {
                let Some(id) = self.rooms.find(&room) else { return };
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_failed(now, epoch, seq, retry_after_ms, effects);
                }
                self.enter(now, id, effects);
            }
        }
        self.shed(now, effects);
    }

    /// Time has passed: status pushes, grace, expiry, repair of cores that are behind, questions asked again.
    pub fn tick(&mut self, now: Now, effects: &mut OwnerEffects<'_>) {
        for _ in 0..ROOMS_PER_TICK_MAX {
            let Some((_, id)) = self.timers.first().copied().filter(|(due_ms, _)| *due_ms <= now.mono_ms()) else {
                break;
            };
            self.timers.pop_first();
            let Some(room) = self.rooms.get_mut(id) else { continue };
            room.entered.due_ms = None;
            room.expire(now);
            room.tell_statuses(now, effects);
            room.repair(effects);
            room.ask_again(now, effects);
            self.enter(now, id, effects);
        }
        self.numberings.expire(now.mono_ms(), ROOMS_PER_TICK_MAX);
        self.enter_numberings(effects);
        self.shed(now, effects);
    }

    /// When `tick` is wanted next, monotonic microseconds; `None` while nothing waits for time.
    #[must_use]
    pub fn next_tick_us(&self, now: Now) -> Option<u64> {
        let room = self.timers.first().map(|(due_ms, _)| *due_ms);
        let numbering = self.numberings.next_expiry_ms();
        let due_ms = room.into_iter().chain(numbering).min()?;
        Some(due_ms.saturating_mul(1_000).max(now.mono_us))
    }

    fn create(&mut self, now: Now, name: RoomName, effects: &mut OwnerEffects<'_>) -> RoomId {
        let numbering = self.numberings.take(&name).unwrap_or_else(|| Numbering::new(self.random.epoch()));
        self.enter_numberings(effects);
        let mut room = Room::new(name, &self.settings, numbering, now);
        match room.authority {
            Authority::Memory => {}
            Authority::Store(_) => room.ask_store(now, effects),
            Authority::Link(_) => room.ask_link_to_open(now, effects),
        }
        effects.counters.rooms_held.add(1);
        self.rooms.insert(room)
    }

    /// A hop for a room that is open: done now, or once its connection's own publications have come.
    fn take(&mut self, now: Now, id: RoomId, hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        let may_wait = self.may_keep(waiting_bytes(&hop), effects);
        let Some(room) = self.rooms.get_mut(id) else { return };
        if room.detains(&hop) {
            if let Err(hop) = room.detain(hop, may_wait) {
                refuse(hop, Refusal::OVERLOADED, effects);
            }
            return;
        }
        if let ToOwner::Leave { member, reply: None, .. } = &hop {
            room.forget_leaver(member.conn);
        }
        self.perform(now, id, hop, effects);
    }

    /// Lets go the members whose own publications have come or failed.
    fn let_leavers_go(&mut self, now: Now, id: RoomId, effects: &mut OwnerEffects<'_>) {
        while let Some(hops) = self.rooms.get_mut(id).and_then(Room::take_leaver) {
            for hop in hops {
                self.take(now, id, hop, effects);
            }
        }
    }

    fn perform(&mut self, now: Now, id: RoomId, hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        match hop {
            ToOwner::Join { member, away, again, recover, history, reply, .. } => {
                room.join(now, Join { member, away, again, recover, history, reply }, effects);
            }
            ToOwner::Leave { member, away, reply, .. } => room.leave(now, &member, away, reply, effects),
            ToOwner::Expel { member, away, reason, .. } => {
                room.leave(now, &member, away, None, effects);
                expelled(&room.name, member.conn, reason, effects);
            }
            ToOwner::Away { conn, user, away, .. } => room.set_away(now, conn, &user, away),
            ToOwner::Publish { member, kind, data, key, echo, ephemeral, arrived_us, trace, reply, .. } => {
                let asker = Asker::Connection { conn: member.conn, reply };
                let publish = Publish { asker, from: member.user, kind, data, key, echo, ephemeral, arrived_us, trace };
                self.publish(now, id, publish, effects);
            }
            ToOwner::History { conn, after, before, limit, reply, .. } => {
                room.read_history(
                    now,
                    Asker::Connection { conn, reply },
                    &HistoryRange { after, before, limit },
                    effects,
                );
            }
            ToOwner::Presence { conn, limit, after, reply, .. } => {
                room.read_presence(Asker::Connection { conn, reply }, limit, after.as_deref(), effects);
            }
        }
    }

    fn publish(&mut self, now: Now, id: RoomId, publish: Publish, effects: &mut OwnerEffects<'_>) {
        let key = key_bytes(publish.key.as_deref());
        let may_remember = key == 0 || self.may_keep(key, effects);
        let may_wait = self.may_keep(key + WAITING_BYTES + publish.data.len(), effects);
        let Some(room) = self.rooms.get_mut(id) else { return };
        if room.refuse_stranger(&publish, effects) || room.refuse_haste(now, &publish, effects) {
            return;
        }
        if publish.ephemeral {
            room.publish_ephemeral(now, &publish, effects);
            return;
        }
        match &mut room.authority {
            Authority::Memory => room.publish_at_once(now, publish, may_remember, &mut self.table_keys, effects),
            Authority::Store(_) => room.publish_stored(now, publish, may_wait, &mut self.table_keys, effects),
            Authority::Link(linked) => {
                let asker = publish.asker;
                if linked.publishing() >= PENDING_PER_ROOM_MAX || !may_wait {
                    asker.refuse(&room.name, Refusal::OVERLOADED, effects);
                    return;
                }
                linked.add_publishing(asker.conn());
                let except = publish.except();
                let mut record = room.record(now, publish, 0);
                record.except = except.map(|conn| write_except(&self.settings.node, conn).into());
                let token = self.next_token;
                self.next_token += 1;
                self.link_publishes.insert(token, LinkPublish { room: id, asker });
                effects.link.push(LinkRequest::Publish { token, room: room.name.clone(), record });
            }
        }
    }

    fn answer_link_publish(
        &mut self,
        now: Now,
        token: u64,
        result: Result<(Position, bool), LinkFailure>,
        effects: &mut OwnerEffects<'_>,
    ) {
        let Some(LinkPublish { room: id, asker }) = self.link_publishes.remove(&token) else { return };
        let Some(room) = self.rooms.get_mut(id) else { return };
        match result {
            Ok((position, duplicate)) => {
                asker.published(&room.name, (position.epoch, Some(position.seq)), duplicate, effects);
            }
            Err(LinkFailure { retry_after_ms }) => {
                asker.refuse(&room.name, Refusal::unavailable(retry_after_ms), effects);
            }
        }
        room.handle_linked_publish(now, asker.conn(), result.ok().map(|(position, _)| position));
        self.enter(now, id, effects);
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

    /// The link or the store tells what it holds of a room.
    fn handle_stretch(
        &mut self,
        now: Now,
        id: RoomId,
        stretch: &Stretch,
        keys: &[KeptKey],
        effects: &mut OwnerEffects<'_>,
    ) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let opening = room.opening.take();
        match (&room.authority, opening.is_some()) {
            (Authority::Memory, _) => {}
            (Authority::Store(_), true) => room.open_from_store(now, stretch, keys, &mut self.table_keys),
            (Authority::Store(_), false) => room.handle_loaded(now, stretch, keys, &mut self.table_keys, effects),
            (Authority::Link(_), true) => room.open_from_link(now, stretch, &self.settings.node, effects),
            (Authority::Link(_), false) => room.handle_read(now, stretch, &self.settings.node, effects),
        }
        for waiting in opening.into_iter().flat_map(|opening| opening.into_waiting()) {
            match waiting {
                Waiting::Hop(hop) => self.take(now, id, hop, effects),
                Waiting::Call(token, ask) => self.perform_call(now, id, token, ask, effects),
            }
        }
        self.enter(now, id, effects);
    }

    /// Enters in the core's books what has changed in a room, and forgets the room if nothing would be lost.
    fn enter(&mut self, now: Now, id: RoomId, effects: &mut OwnerEffects<'_>) {
        self.let_leavers_go(now, id, effects);
        let Some(room) = self.rooms.get_mut(id) else { return };
        let is_idle = room.is_idle();
        let bytes = if is_idle { Bytes::default() } else { room.bytes() };
        let before = std::mem::replace(&mut room.entered.bytes, bytes);
        let retention = &mut self.retention;
        effects.budget.charge_history(bytes.history);
        effects.budget.release_history(before.history);
        effects.budget.charge_standing(bytes.kept + bytes.standing);
        effects.budget.release_standing(before.kept + before.standing);
        retention.bytes = retention.bytes + bytes.history as u64 - before.history as u64;
        retention.kept_bytes = retention.kept_bytes + bytes.kept as u64 - before.kept as u64;

        let end = room.entered.messages.end;
        let messages = if is_idle { end..end } else { room.history.numbers() };
        retention.update(id, &mut room.entered.messages, messages);

        let members = room.listeners.members() as u32;
        let before = std::mem::replace(&mut room.entered.members, members);
        if members != before {
            self.sizes.change(before, members);
            effects.counters.room_members_max.set(u64::from(self.sizes.max()));
        }
        let has_members = members > 0;
        if has_members != (before > 0) {
            if has_members { effects.counters.rooms.add(1) } else { effects.counters.rooms.sub(1) }
        }
        self.largest.update(&mut self.rooms, id, bytes.history);
        if is_idle {
            self.forget(now, id, effects);
        } else {
            self.schedule(now, id);
        }
        self.retention.compact(|id| self.rooms.messages(id));
    }

    /// Lets a room go. Of one that this core numbers and keeps by itself the numbering stays for a while.
    fn forget(&mut self, now: Now, id: RoomId, effects: &mut OwnerEffects<'_>) {
        let Some(room) = self.rooms.remove(id) else { return };
        if let Some(due_ms) = room.entered.due_ms {
            self.timers.remove(&(due_ms, id));
        }
        match room.authority {
            Authority::Memory if room.settings.numbering_ttl_ms > 0 => {
                let expires_ms = now.mono_ms().saturating_add(room.settings.numbering_ttl_ms);
                self.numberings.remember(room.name.clone(), room.numbering(), expires_ms);
                self.enter_numberings(effects);
            }
            Authority::Memory | Authority::Store(_) => {}
            Authority::Link(_) => effects.link.push(LinkRequest::Close { room: room.name.clone() }),
        }
        effects.counters.rooms_held.sub(1);
    }

    /// Charges what the numberings take now.
    fn enter_numberings(&mut self, effects: &mut OwnerEffects<'_>) {
        let bytes = self.numberings.bytes();
        effects.budget.charge_standing(bytes);
        effects.budget.release_standing(std::mem::replace(&mut self.numberings_entered, bytes));
    }

    /// Puts the room into the timers. It may stand there for too early a time: then it is looked at once more, which
    /// costs less than moving it with every publication.
    fn schedule(&mut self, now: Now, id: RoomId) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let Some(due_ms) = room.due_ms(now) else { return };
        let due_ms = due_ms.max(now.mono_ms() + 1);
        if room.entered.due_ms.is_some_and(|earlier| earlier <= due_ms) {
            return;
        }
        if let Some(later) = room.entered.due_ms.replace(due_ms) {
            self.timers.remove(&(later, id));
        }
        self.timers.insert((due_ms, id));
    }

    /// Whether so many bytes may be taken in that cannot be let go to make room: publishes that wait, keys.
    fn may_keep(&self, bytes: usize, effects: &OwnerEffects<'_>) -> bool {
        self.retention.kept_bytes + bytes as u64 <= effects.budget.max() / HISTORY_BUDGET_DIVISOR
            && !effects.budget.is_tight()
    }

    /// Lets go of numberings and messages while they take more than is left for them. A room that is kept for its
    /// messages alone goes with the last of them.
    fn shed(&mut self, now: Now, effects: &mut OwnerEffects<'_>) {
        while self.numberings.bytes() as u64 > self.numberings_share(effects) && self.numberings.drop_first() {
            self.enter_numberings(effects);
        }
        loop {
            let share = self.history_share(effects);
            if self.retention.bytes <= share {
                return;
            }
            let Some(id) = self.next_to_shed(share) else { return };
            if let Some(room) = self.rooms.get_mut(id) {
                room.history.drop_oldest();
            }
            self.enter(now, id, effects);
        }
    }

    /// The part of the core's budget that messages may take: half of it less what else is kept of rooms, and no more than
    /// what stands leaves, but an eighth in any case.
    fn history_share(&self, effects: &OwnerEffects<'_>) -> u64 {
        let budget = &effects.budget;
        let left = budget.standing_max().saturating_sub(budget.standing());
        let half = (budget.max() / HISTORY_BUDGET_DIVISOR).saturating_sub(self.retention.kept_bytes);
        half.min(left.max(budget.max() / HISTORY_FLOOR_DIVISOR))
    }

    /// The part that numberings may take: an eighth, and none of it where messages and what stands fill the budget.
    fn numberings_share(&self, effects: &OwnerEffects<'_>) -> u64 {
        let others = self.retention.bytes + effects.budget.standing() - self.numberings_entered as u64;
        let left = effects.budget.standing_max().saturating_sub(others);
        (effects.budget.max() / NUMBERINGS_BUDGET_DIVISOR).min(left)
    }

    /// The room that loses its oldest message: one of the largest, if it holds more than twice as much as each room might
    /// if all held the same; otherwise the one with the oldest message of the core.
    fn next_to_shed(&mut self, share: u64) -> Option<RoomId> {
        let largest = self.largest.take_turn()?;
        let fair = share / self.largest.rooms();
        let held = self.rooms.get(largest).map_or(0, |room| room.entered.bytes.history as u64);
        if held > 2 * fair && !self.rooms.messages(largest).is_empty() {
            return Some(largest);
        }
        self.retention.oldest(|id| self.rooms.messages(id))
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
            let refusal = Refusal { unjoin: true, ..refusal };
            Asker::Connection { conn: member.conn, reply }.refuse(&room, refusal, effects);
        }
        ToOwner::Publish { room, member: MemberRef { conn, .. }, reply, .. }
        | ToOwner::History { room, conn, reply, .. }
        | ToOwner::Presence { room, conn, reply, .. } => {
            Asker::Connection { conn, reply }.refuse(&room, refusal, effects);
        }
    }
}

#[cfg(test)]
mod tests;
