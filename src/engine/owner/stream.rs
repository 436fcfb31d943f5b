//! The stream that the members of one room see: its publications in order, and presence. One hop per core that listens.
//! If a lane is full, the messages are sent from history once it has room.
//!
//! Owns the rule that members see each seq once and in order. Never decides who numbers or who keeps: [`super::linked`]
//! and [`super::stored`] do, by the methods here.

use std::sync::Arc;

use super::OwnerEffects;
use super::history::{History, PageLimit};
use super::keys::IdempotencyKeys;
use super::listeners::{Behind, Listeners};
use super::numberings::LastHead;
use super::presence::Presence;
use crate::base::ids::{ConnId, Epoch, Position, RoomName, Seq, UserName};
use crate::base::limits::{KEY_WINDOW_MS, PAGE_BYTES_MAX, PAGE_OUTBOX_DIVISOR};
use crate::base::time::Now;
use crate::engine::hop::{Delivery, Hop, ToHome};
use crate::engine::record::{Record, Stretch};
use crate::engine::settings::{RoomSettings, Settings};
use crate::engine::trace::{Mark, Span, Stage};
use crate::wire::publication::{Content, Data, Publication};

/// When a publish arrived, and whether it is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Monotonic microseconds.
    pub us: u64,
    /// Its trace mark, if it is sampled.
    pub trace: Option<Mark>,
}

impl Arrival {
    /// For a publication that another machine or an earlier run received: it arrives now.
    pub const fn now(now: Now) -> Self {
        Self { us: now.mono_us, trace: None }
    }
}

/// The publications of one room, and the cores that receive them.
#[derive(Debug)]
pub(super) struct Stream {
    pub name: RoomName,
    pub settings: Arc<RoomSettings>,
    pub epoch: Epoch,
    /// Maximum bytes of the messages in one reply.
    pub page_bytes_max: usize,
    /// The latest `at` of a message, Unix milliseconds. It never decreases in a room.
    pub last_at: u64,
    /// Its head is the room's head, the last seq that members may know.
    pub history: History,
    pub listeners: Listeners,
    /// `None` if no key is remembered.
    pub keys: Option<Box<IdempotencyKeys>>,
    /// `None` if this room does not track presence.
    pub presence: Option<Presence>,
}

impl Stream {
    /// A stream that continues after `last`.
    pub fn new(name: RoomName, settings: &Settings, last: LastHead) -> Self {
        let room = Arc::clone(settings.room(&name));
        let presence = room.presence.then(Presence::default);
        Self {
            name,
            settings: room,
            epoch: last.head.epoch,
            page_bytes_max: page_bytes_max(settings),
            last_at: last.last_at,
            history: History::new(last.head.seq),
            listeners: Listeners::default(),
            keys: None,
            presence,
        }
    }

    /// Replaces the settings and returns the old ones. Whether presence is tracked does not change after the room is
    /// created.
    pub fn set_settings(&mut self, settings: &Settings) -> Arc<RoomSettings> {
        self.page_bytes_max = page_bytes_max(settings);
        std::mem::replace(&mut self.settings, Arc::clone(settings.room(&self.name)))
    }

    /// The numbering and its head.
    pub fn head(&self) -> Position {
        Position { epoch: self.epoch, seq: self.history.head() }
    }

    /// Users present; connections if presence is not tracked.
    pub fn members(&self) -> u64 {
        self.presence.as_ref().map_or(self.listeners.members() as u64, Presence::present)
    }

    /// The messages of a reply, at most `count`.
    pub fn page(&self, count: u32) -> PageLimit {
        PageLimit { count: count as usize, bytes: self.page_bytes_max }
    }

    /// Drops messages and keys that have expired, so that no read sees them.
    pub fn expire(&mut self, now: Now) {
        self.history.expire(now.mono_ms());
        if let Some(keys) = &mut self.keys {
            keys.expire(now.mono_ms());
        }
        self.keys.take_if(|keys| keys.is_empty());
    }

    /// The time of a publication made now, never before an earlier one of the room.
    pub fn at(&mut self, now: Now) -> u64 {
        self.last_at = self.last_at.max(now.unix_ms);
        self.last_at
    }

    /// Accepts the publication after the head: encodes it once, sends it to every core that listens, and keeps it in
    /// history.
    pub fn accept(
        &mut self,
        record: &Record,
        except: Option<ConnId>,
        arrival: Arrival,
        effects: &mut OwnerEffects<'_>,
    ) {
        self.repair(effects);
        let publication = self.encode(record, except, arrival.us);
        let variants = effects.packer.variants(self.listeners.readings(), &publication.frames, effects.counters);
        let mut listeners = 0;
        for listener in self.listeners.iter_mut() {
            if listener.behind.is_none() {
                let (publication, variants) = (Arc::clone(&publication), variants.clone());
                let delivery = Delivery { publication, variants, trace: arrival.trace };
                let hop = Hop::ToHome(ToHome::Deliver { room: self.name.clone(), delivery });
                if effects.outbound.try_post(listener.core, hop).is_ok() {
                    listeners += 1;
                    continue;
                }
                listener.behind = Some(Behind::From(record.seq));
            }
            effects.counters.dropped_lane.add(1);
        }
        self.hold(publication, effects.now);
        effects.counters.broadcasts.add(1);
        if let Some(mark) = arrival.trace {
            let (core, room) = (effects.outbound.core(), self.name.clone());
            let stage = Stage::Numbered { seq: record.seq, listeners };
            let (arrived_us, ended_us) = (arrival.us, effects.now.mono_us);
            let span = Span { mark, arrived_us, core, room, stage, began_us: arrived_us, ended_us };
            span.tell(effects.spans, effects.counters);
        }
    }

    /// Sends each core that is behind the messages that it missed, until its lane is full.
    pub fn repair(&mut self, effects: &mut OwnerEffects<'_>) {
        if !self.listeners.any_behind() {
            return;
        }
        let (head, members, count) = (self.head(), self.members(), self.settings.history_on_join as usize);
        let room = || self.name.clone();
        for listener in self.listeners.iter_mut() {
            while let Some(behind) = listener.behind.filter(|_| !effects.outbound.is_full(listener.core)) {
                let held = match behind {
                    Behind::From(next) => self.history.get(next).ok_or(next),
                    Behind::NewEpoch => {
                        let messages = self.history.newest(count);
                        let hop = ToHome::NewEpoch { room: room(), head, messages, members };
                        effects.outbound.post_to_home(listener.core, hop);
                        listener.behind = None;
                        break;
                    }
                };
                let done = match held {
                    Ok(publication) => {
                        let delivery = Delivery { publication: Arc::clone(publication), variants: None, trace: None };
                        effects.outbound.post_to_home(listener.core, ToHome::Deliver { room: room(), delivery });
                        publication.seq
                    }
                    Err(from) => {
                        let to = self.history.first_seq() - 1;
                        effects.outbound.post_to_home(listener.core, ToHome::Gap { room: room(), from, to });
                        effects.counters.dropped_gap.add(to + 1 - from);
                        to
                    }
                };
                listener.behind = (done < head.seq).then_some(Behind::From(done + 1));
            }
        }
    }

    /// Continues after `to`: the seqs up to it are lost to this room, and each core is told so.
    pub fn skip_to(&mut self, to: Seq, effects: &mut OwnerEffects<'_>) {
        self.repair(effects);
        let from = self.history.head() + 1;
        for listener in self.listeners.iter_mut().filter(|listener| listener.behind.is_none()) {
            let gap = Hop::ToHome(ToHome::Gap { room: self.name.clone(), from, to });
            match effects.outbound.try_post(listener.core, gap) {
                Ok(()) => effects.counters.dropped_gap.add(to + 1 - from),
                Err(_) => listener.behind = Some(Behind::From(from)),
            }
        }
        self.history.reset(to);
    }

    /// Changes to another numbering: `stretch` replaces history, and each core is told so.
    pub fn renumber(&mut self, stretch: &Stretch, effects: &mut OwnerEffects<'_>) {
        self.fill(stretch, effects.now);
        for listener in self.listeners.iter_mut() {
            listener.behind = Some(Behind::NewEpoch);
        }
        self.repair(effects);
    }

    /// Takes over the state of the link or the store: the numbering, its head, and the records that end at it.
    pub fn fill(&mut self, stretch: &Stretch, now: Now) {
        let Some(head) = stretch.head else { return };
        self.epoch = head.epoch;
        let ends_at_head = stretch.records.last().is_some_and(|last| last.seq == head.seq);
        let records = if ends_at_head { &stretch.records[..] } else { &[] };
        let run = records.iter().rev().zip((1..=head.seq).rev()).take_while(|(record, seq)| record.seq == *seq).count();
        let records = &records[records.len() - run..];
        self.history.reset(head.seq - records.len() as u64);
        for record in records {
            self.hold(self.publication(record, now), now);
        }
        // Records may be older than the room's history allows: another machine, or this one before a restart, may keep
        // them longer.
        self.history.expire(now.mono_ms());
    }

    /// A record of another time, as members see it.
    pub fn publication(&self, record: &Record, now: Now) -> Arc<Publication> {
        self.encode(record, None, now.mono_us)
    }

    fn encode(&self, record: &Record, except: Option<ConnId>, arrived_us: u64) -> Arc<Publication> {
        let content = Content {
            room: &self.name,
            seq: record.seq,
            from: &record.from,
            at: record.at,
            key: record.key.as_deref(),
            data: Data { kind: record.kind, bytes: &record.data },
            except,
            arrived_us,
        };
        Arc::new(Publication::encode(&content, self.listeners.readings().forms()))
    }

    /// Keeps a publication in history until it expires.
    fn hold(&mut self, publication: Arc<Publication>, now: Now) {
        self.last_at = self.last_at.max(publication.at);
        let age_ms = now.unix_ms.saturating_sub(publication.at);
        let expires_ms = now.mono_ms().saturating_add(self.settings.history_ttl_ms.saturating_sub(age_ms));
        self.history.expire(now.mono_ms());
        self.history.append(publication, expires_ms, self.settings.history_size);
    }

    /// The seq of this user's idempotency key, if it is known.
    pub fn find_key(&mut self, user: &UserName, key: Option<&str>, now: Now) -> Option<Seq> {
        let (keys, key) = (self.keys.as_mut()?, key?);
        keys.expire(now.mono_ms());
        keys.find(user, key)
    }

    /// Remembers a record's idempotency key, if it has one, for the whole window.
    pub fn remember_key(&mut self, record: &Record, effects: &mut OwnerEffects<'_>) {
        if let Some(key) = &record.key {
            let expires_ms = effects.now.mono_ms() + KEY_WINDOW_MS;
            self.remember_key_until(&record.from, key, record.seq, expires_ms, effects);
        }
    }

    /// Remembers an idempotency key until `expires_ms` (monotonic).
    pub fn remember_key_until(
        &mut self,
        user: &UserName,
        key: &str,
        seq: Seq,
        expires_ms: u64,
        effects: &mut OwnerEffects<'_>,
    ) {
        let keys = self.keys.get_or_insert_with(|| Box::new(IdempotencyKeys::new(effects.tables.hashing())));
        keys.remember(user, key, seq, expires_ms);
    }

    /// Forgets the idempotency key of a publish that failed.
    pub fn forget_key(&mut self, user: &UserName, key: Option<&str>) {
        if let (Some(keys), Some(key)) = (&mut self.keys, key) {
            keys.forget(user, key);
        }
    }
}

/// Maximum bytes of the messages in one reply.
fn page_bytes_max(settings: &Settings) -> usize {
    (settings.outbox_bytes / PAGE_OUTBOX_DIVISOR).min(PAGE_BYTES_MAX)
}
