//! One room as its owner knows it: the numbering, what is held, who listens. What hops and events do to it stands beside:
//! [`super::membership`], [`super::publish`], [`super::delivery`], [`super::stored`], [`super::linked`].

use std::ops::Range;
use std::sync::Arc;

use super::OwnerEffects;
use super::history::{History, PageLimit};
use super::keys::Keys;
use super::largest::Filed;
use super::leaving::Leaving;
use super::linked::Linked;
use super::listeners::Listeners;
use super::numberings::Numbering;
use super::opening::Opening;
use super::presence::Presence;
use super::stored::Stored;
use crate::base::ids::{Epoch, Position, RoomName};
use crate::base::limits::{
    ASK_AGAIN_MS, MEMBER_BYTES, PAGE_BYTES_MAX, PAGE_OUTBOX_DIVISOR, ROOM_BYTES, TICK_MS, USERS_BYTES,
};
use crate::base::time::Now;
use crate::engine::rates::Bucket;
use crate::engine::settings::{RoomSettings, Settings};

/// Expired messages and keys are freed at multiples of this. Reads never see them after they expired.
const SWEEP_MS: u64 = 5_000;

/// Who numbers the room's publications and keeps them.
#[derive(Debug)]
pub(super) enum Authority {
    /// This room: numbered and delivered at once.
    Memory,
    /// This room numbers, the store of this machine keeps: delivered once committed.
    Store(Box<Stored>),
    /// The link numbers and keeps: delivered when it comes back.
    Link(Box<Linked>),
}

/// Bytes of a room for the budget, by what can become of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// Can be let go to make room: the messages, and the room itself where it is there for them alone.
    pub history: usize,
    /// Cannot, and is refused before it fills the share of histories: keys and what waits for the link or the store.
    pub kept: usize,
    /// The room, its members and users: bounded with joins.
    pub standing: usize,
}

/// What [`super::Owner`] has last entered for the room in the core's own books.
#[derive(Debug, Default)]
pub(super) struct Entered {
    pub bytes: Bytes,
    /// Where it stands among the largest.
    pub filed: Filed,
    /// Numbers of the messages held.
    pub messages: Range<u64>,
    pub members: u32,
    /// The time for which the room stands in the timers, monotonic milliseconds.
    pub due_ms: Option<u64>,
}

/// One room.
#[derive(Debug)]
pub(super) struct Room {
    pub name: RoomName,
    pub settings: Arc<RoomSettings>,
    pub epoch: Epoch,
    /// Bytes of the messages in one reply.
    pub page_bytes_max: usize,
    /// What it may still carry at the moment, where that is limited.
    pub pace: Bucket,
    /// The latest `at` given, Unix milliseconds: it never goes back within a room.
    pub last_at: u64,
    /// Its head is the room's head: what members may know of.
    pub history: History,
    pub listeners: Listeners,
    /// `None`: this room does not track presence.
    pub presence: Option<Presence>,
    /// `None`: no key is remembered.
    pub keys: Option<Box<Keys>>,
    /// `None`: nobody waits for publications of one's own to leave.
    pub leaving: Option<Box<Leaving>>,
    /// `None`: the room is open.
    pub opening: Option<Box<Opening>>,
    pub authority: Authority,
    pub entered: Entered,
}

impl Room {
    /// A room that goes on where `numbering` stands. With a store or a link it is still to be opened.
    pub fn new(name: RoomName, settings: &Settings, numbering: Numbering, now: Now) -> Self {
        let authority = if settings.linked {
            Authority::Link(Box::new(Linked::new(now)))
        } else if settings.durable {
            Authority::Store(Box::default())
        } else {
            Authority::Memory
        };
        let opens = !matches!(authority, Authority::Memory);
        let room = Arc::clone(settings.room(&name));
        Self {
            name,
            epoch: numbering.head.epoch,
            page_bytes_max: page_bytes_max(settings),
            pace: Bucket::default(),
            last_at: numbering.last_at,
            history: History::new(numbering.head.seq),
            listeners: Listeners::default(),
            presence: room.presence.then(Presence::default),
            keys: None,
            leaving: None,
            opening: opens.then(|| Box::new(Opening::new(now.mono_ms()))),
            authority,
            entered: Entered::default(),
            settings: room,
        }
    }

    /// Other settings hold from now on. Whether presence is tracked stays as it was when the room came to be.
    pub fn set_settings(&mut self, now: Now, settings: &Settings) {
        self.page_bytes_max = page_bytes_max(settings);
        let before = std::mem::replace(&mut self.settings, Arc::clone(settings.room(&self.name)));
        self.pace.change_rate(before.room_message_rate, self.settings.room_message_rate, now.mono_us);
    }

    /// The numbering and its head.
    pub fn head(&self) -> Position {
        Position { epoch: self.epoch, seq: self.history.head() }
    }

    /// Users present; connections where presence is not tracked.
    pub fn members(&self) -> u64 {
        self.presence.as_ref().map_or(self.listeners.members() as u64, Presence::present)
    }

    /// At most `count` messages of a reply.
    pub fn page(&self, count: u32) -> PageLimit {
        PageLimit { count: count as usize, bytes: self.page_bytes_max }
    }

    /// Frees what has expired, so that no read sees it.
    pub fn expire(&mut self, now: Now) {
        self.history.expire(now.mono_ms());
        if let Some(keys) = &mut self.keys {
            keys.expire(now.mono_ms());
        }
        self.keys.take_if(|keys| keys.is_empty());
    }

    /// Asks the link or the store again for what it has not answered in time.
    pub fn ask_again(&mut self, now: Now, effects: &mut OwnerEffects<'_>) {
        let is_late = |asked_ms: u64| asked_ms + ASK_AGAIN_MS <= now.mono_ms();
        let opening = self.opening.as_ref().map(|opening| opening.asked_ms);
        match (opening, &self.authority) {
            (Some(asked_ms), Authority::Store(_)) if is_late(asked_ms) => self.ask_store(now, effects),
            (Some(asked_ms), Authority::Link(_)) if is_late(asked_ms) => self.ask_link_to_open(now, effects),
            (None, Authority::Store(stored)) if stored.asked_ms().is_some_and(is_late) => self.ask_store(now, effects),
            (None, Authority::Link(_)) => self.check_link(now, effects),
            _ => {}
        }
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> Bytes {
        let waiting = match &self.authority {
            Authority::Memory => 0,
            Authority::Store(stored) => stored.bytes(),
            Authority::Link(linked) => linked.bytes(),
        };
        let kept = waiting
            + self.opening.as_ref().map_or(0, |opening| opening.bytes())
            + self.keys.as_ref().map_or(0, |keys| keys.bytes())
            + self.leaving.as_ref().map_or(0, |leaving| leaving.bytes())
            + self.listeners.missed_bytes();
        let members = self.listeners.members();
        let users = self.presence.as_ref().filter(|presence| !presence.is_empty());
        let users = users.map_or(0, |presence| USERS_BYTES + presence.bytes());
        let own = ROOM_BYTES + self.name.len() + members * MEMBER_BYTES + users;
        let is_for_history = members == 0 && !self.history.is_empty();
        let (history, standing) = if is_for_history { (own, 0) } else { (0, own) };
        Bytes { history: history + self.history.bytes(), kept, standing }
    }

    /// Where the numbering stands, to be remembered when the room goes.
    pub fn numbering(&self) -> Numbering {
        Numbering { head: self.head(), last_at: self.last_at }
    }

    /// Whether nothing would be lost by forgetting the room.
    pub fn is_idle(&self) -> bool {
        let nobody = self.listeners.members() == 0 && self.presence.as_ref().is_none_or(Presence::is_empty);
        nobody
            && self.opening.as_ref().is_none_or(|opening| opening.is_empty())
            && match &self.authority {
                Authority::Memory => self.history.is_empty() && self.keys.is_none(),
                Authority::Store(stored) => stored.is_empty() && self.history.is_empty() && self.keys.is_none(),
                // The link holds the history and the keys for all machines.
                Authority::Link(linked) => linked.is_empty(),
            }
    }

    /// When the room must be looked at next, monotonic milliseconds; `None` while nothing in it waits for time.
    pub fn due_ms(&self, now: Now) -> Option<u64> {
        let sweep = |expires_ms: u64| expires_ms.div_ceil(SWEEP_MS).saturating_mul(SWEEP_MS);
        let asked = |asked_ms: u64| asked_ms + ASK_AGAIN_MS;
        let waiting = match (&self.opening, &self.authority) {
            (Some(opening), _) => Some(asked(opening.asked_ms)),
            (None, Authority::Memory) => None,
            (None, Authority::Store(stored)) => stored.asked_ms().map(asked),
            (None, Authority::Link(linked)) => Some(linked.due_ms()),
        };
        [
            waiting,
            self.presence.as_ref().and_then(Presence::due_ms),
            self.history.next_expiry_ms().map(sweep),
            self.keys.as_ref().and_then(|keys| keys.next_expiry_ms()).map(sweep),
            (self.listeners.any_behind() || self.listeners.has_missed()).then(|| now.mono_ms() + TICK_MS),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Bytes of the messages in one reply.
fn page_bytes_max(settings: &Settings) -> usize {
    (settings.outbox_bytes / PAGE_OUTBOX_DIVISOR).min(PAGE_BYTES_MAX)
}

#[cfg(test)]
pub(super) mod tests;
