//! One room: what its members see ([`Stream`]), its numbering and keeping, and everything that waits for either. Membership,
//! publishing and paging are in [`super::membership`], [`super::publish`] and [`super::paging`].

mod reading;
mod receipts;
mod typing;

use self::receipts::Receipts;
pub(super) use self::receipts::{ReceiptStep, Settled};
use self::typing::Typists;
use super::OwnerEffects;
use super::answer::{Asker, Origin};
use super::creation::Creation;
use super::entered::{Bytes, Entered};
use super::leaving::Leaving;
use super::linked::Linked;
use super::numberings::LastHead;
use super::opening::Opening;
use super::pages::{HistoryRange, Pages};
use super::presence::Presence;
use super::stored::{self, Appended, Stored};
use super::stream::Stream;
use crate::base::ids::{RoomName, Seq};
use crate::base::limits::{ASK_AGAIN_MS, MEMBER_BYTES, ROOM_BYTES, ROOM_LINGER_MS, TICK_MS, USERS_BYTES};
use crate::base::time::Now;
use crate::engine::rates::Bucket;
use crate::engine::record::Stretch;
use crate::engine::settings::{KeepingMode, NumberingMode, Settings};
use crate::engine::store_port::KeptKey;
use crate::wire::protocol::{Answer, Ask, Refusal};

/// Interval at which expired messages and keys are freed. Reads never return them after they expire.
const SWEEP_MS: u64 = 5_000;

/// Where the room's publications get their seqs.
#[derive(Debug)]
pub(super) enum Numbering {
    /// From this room.
    Own,
    /// From the link, for all machines. A publication is delivered when the link returns it.
    Link(Box<Linked>),
}

/// What keeps the room's publications beyond the history in memory, and beyond this process.
#[derive(Debug)]
pub(super) enum Keeping {
    /// Nothing; in a linked room, the link.
    None,
    /// The store.
    Store(Box<Stored>),
}

/// One room.
#[derive(Debug)]
pub(super) struct Room {
    pub stream: Stream,
    pub numbering: Numbering,
    pub keeping: Keeping,
    /// Token bucket of `room_message_rate`, if there is one.
    pub pace: Bucket,
    /// Connections whose hops wait; `None`: there are none.
    pub leaving: Option<Box<Leaving>>,
    /// Pages of the store or the link; `None`: the room has neither.
    pub pages: Option<Box<Pages>>,
    /// `None`: the room is open.
    pub opening: Option<Box<Opening>>,
    /// `None`: nobody is typing.
    typing: Option<Box<Typists>>,
    /// Since when nothing keeps the room in memory, monotonic milliseconds; `None` where something does.
    idle_since_ms: Option<u64>,
    /// `None`: no receipt is known.
    pub receipts: Option<Box<Receipts>>,
    pub creation: Creation,
    /// The store has deleted it: it is about to be removed, and nothing of it is remembered.
    pub is_deleted: bool,
    pub entered: Entered,
}

impl Room {
    /// A room that continues from `last`. With a store or a link, it must still be opened. A store that keeps no publications
    /// only says whether the room was created.
    pub fn new(name: RoomName, settings: &Settings, last: LastHead, now: Now) -> Self {
        let numbering = match settings.numbering {
            NumberingMode::Own => Numbering::Own,
            NumberingMode::Link => Numbering::Link(Box::new(Linked::new(now))),
        };
        let is_numbered_here = settings.numbering == NumberingMode::Own;
        let keeping = match settings.keeping {
            KeepingMode::None => Keeping::None,
            mode => Keeping::Store(Box::new(Stored::new(mode, is_numbered_here))),
        };
        let is_kept = !matches!((&numbering, &keeping), (Numbering::Own, Keeping::None));
        let opens = is_kept || settings.creates_rooms();
        let mut stream = Stream::new(name, settings, last);
        if !is_numbered_here {
            stream.presence = stream.presence.map(|_| Presence::shared());
        }
        Self {
            stream,
            numbering,
            keeping,
            pace: Bucket::default(),
            leaving: None,
            pages: is_kept.then(|| Box::new(Pages::new())),
            opening: opens.then(|| Box::new(Opening::new(now.mono_ms()))),
            typing: None,
            idle_since_ms: None,
            receipts: None,
            creation: Creation::Not,
            is_deleted: false,
            entered: Entered::default(),
        }
    }

    /// Replaces the settings.
    pub fn set_settings(&mut self, now: Now, settings: &Settings) {
        let before = self.stream.set_settings(settings);
        self.pace.change_rate(before.room_message_rate, self.stream.settings.room_message_rate, now.mono_us);
    }

    /// Answers an ask that the room can answer by itself. `may_wait`: the core has memory for a waiting page.
    pub fn answer(&mut self, origin: Origin, ask: Ask, may_wait: bool, effects: &mut OwnerEffects<'_>) {
        let asker = origin.asker;
        if self.is_stranger(asker) {
            return asker.refuse(&self.stream.name, Refusal::NOT_JOINED, effects);
        }
        match ask {
            Ask::History { after, before, limit } => {
                self.read_history(asker, HistoryRange { after, before, limit }, may_wait, effects);
            }
            Ask::Presence { after, limit } => self.read_presence(asker, limit, after.as_deref(), effects),
            Ask::Typing { active } => match self.admit(asker, effects.now) {
                Ok(()) => typing::show(&mut self.typing, &self.stream, origin, active, effects),
                Err(refusal) => asker.refuse(&self.stream.name, refusal, effects),
            },
            Ask::Summary => asker.answer(&self.stream.name, Answer::Summary(self.summary(effects.now)), effects),
            ask => debug_assert!(false, "{ask:?} is answered elsewhere"),
        }
    }

    /// Whether the asker is a connection that is not a member.
    pub fn is_stranger(&self, asker: Asker) -> bool {
        asker.conn().is_some_and(|conn| !self.stream.listeners.contains(conn))
    }

    /// Checks membership and the room's message rate. A home may send an ask before it learns that the join was refused.
    pub(super) fn admit(&mut self, asker: Asker, now: Now) -> Result<(), Refusal> {
        if self.is_stranger(asker) {
            return Err(Refusal::NOT_JOINED);
        }
        match self.stream.settings.room_message_rate {
            Some(rate) => self.pace.try_take(rate, now.mono_us).map_err(Refusal::too_often),
            None => Ok(()),
        }
    }

    /// Whether the room has never been used: it exists only because somebody asked for it.
    pub fn is_unknown(&self) -> bool {
        self.is_unused()
            && !self.creation.asks_store()
            && self.stream.presence.as_ref().is_none_or(|presence| presence.is_empty())
            && self.stream.keys.is_none()
    }

    /// Whether it has neither messages nor members.
    pub fn is_unused(&self) -> bool {
        self.stream.history.head() == 0 && self.stream.listeners.members() == 0
    }

    /// Asks the store whether the room was created. Its answer comes behind everything that it was asked before.
    pub fn ask_whether_created(&self, effects: &mut OwnerEffects<'_>) {
        stored::ask_to_load(&self.stream, self.attempt(), 0, effects);
    }

    /// The store has said whether the room was created. Returns whether it has been deleted: it was created and is not now.
    pub fn note_created(&mut self, was_open: bool, is_created: bool) -> bool {
        let is_deleted = was_open && !is_created && matches!(self.creation, Creation::Done | Creation::DeletionUnsure);
        self.creation = if is_created { Creation::Done } else { Creation::Not };
        is_deleted
    }

    /// Asks the link or the store to open the room, or asks again.
    pub fn ask_to_open(&mut self, effects: &mut OwnerEffects<'_>) {
        if let Some(opening) = &mut self.opening {
            opening.asked_ms = effects.now.mono_ms();
        }
        match (&mut self.numbering, &self.keeping) {
            (Numbering::Link(linked), _) => linked.ask_to_open(&self.stream, effects),
            (Numbering::Own, Keeping::Store(stored)) => {
                stored::ask_to_load(&self.stream, stored.attempt(), self.stream.settings.history_size, effects);
            }
            (Numbering::Own, Keeping::None) => self.ask_whether_created(effects),
        }
    }

    /// The attempt in which the store is asked now; 0 where it keeps no publications of the room.
    pub fn attempt(&self) -> u64 {
        if let Keeping::Store(stored) = &self.keeping { stored.attempt() } else { 0 }
    }

    /// Handles what the store holds of the room. `was_open`: the room was open before.
    pub fn handle_loaded(
        &mut self,
        was_open: bool,
        (stretch, first_seq): (&Stretch, Seq),
        keys: &[KeptKey],
        effects: &mut OwnerEffects<'_>,
    ) {
        let Keeping::Store(stored) = &mut self.keeping else { return };
        match was_open {
            true => stored.handle_loaded(&mut self.stream, stretch, keys, effects),
            false => stored::open(&mut self.stream, stretch, keys, effects),
        }
        if let (Some(pages), Some(head)) = (&mut self.pages, stretch.head) {
            pages.set_floor(head.epoch, first_seq);
        }
    }

    /// The store has committed the room's publications up to this one.
    pub fn handle_committed(&mut self, at: Appended, effects: &mut OwnerEffects<'_>) {
        let Keeping::Store(stored) = &mut self.keeping else { return };
        let answered = stored.handle_committed(&mut self.stream, at, effects);
        self.note_answered(&answered);
    }

    /// The store has failed to keep this publication and all later ones.
    pub fn handle_failed(&mut self, at: Appended, retry_after_ms: u64, effects: &mut OwnerEffects<'_>) {
        let Keeping::Store(stored) = &mut self.keeping else { return };
        let answered = stored.handle_failed(&mut self.stream, at, retry_after_ms, effects);
        self.note_answered(&answered);
    }

    fn note_answered(&mut self, answered: &stored::Answered) {
        let Numbering::Link(linked) = &mut self.numbering else { return };
        let head = self.stream.head();
        for (conn, position) in answered {
            linked.handle_answered(*conn, *position, head);
        }
    }

    /// Repeats requests to the link and the store that were not answered in time. Returns whether the room's head must be
    /// compared with the link's.
    pub fn ask_again(&mut self, effects: &mut OwnerEffects<'_>) -> bool {
        if let Some(opening) = &self.opening {
            if opening.asked_ms + ASK_AGAIN_MS <= effects.now.mono_ms() {
                self.ask_to_open(effects);
            }
            return false;
        }
        self.ask_pages_again(effects);
        if let Keeping::Store(stored) = &mut self.keeping {
            stored.ask_again(&self.stream, effects);
        }
        let Numbering::Link(linked) = &mut self.numbering else { return false };
        linked.check(&mut self.stream, effects)
    }

    /// Time has passed: expires, pushes statuses, repairs cores that are behind, repeats requests. Returns whether the room's
    /// head must be compared with the link's.
    pub fn tick(&mut self, effects: &mut OwnerEffects<'_>) -> bool {
        self.stream.expire(effects.now);
        self.tell_statuses(effects);
        typing::end(&mut self.typing, &self.stream, effects);
        self.stream.repair(effects);
        let is_due = self.ask_again(effects);
        self.tell_machines(effects);
        is_due
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> Bytes {
        let stream = &self.stream;
        let linked = if let Numbering::Link(linked) = &self.numbering { linked.bytes() } else { 0 };
        let stored = if let Keeping::Store(stored) = &self.keeping { stored.bytes() } else { 0 };
        let kept = linked
            + stored
            + self.opening.as_ref().map_or(0, |opening| opening.bytes())
            + stream.keys.as_ref().map_or(0, |keys| keys.bytes())
            + self.pages.as_ref().map_or(0, |pages| pages.bytes())
            + self.leaving.as_ref().map_or(0, |leaving| leaving.bytes())
            + self.typing.as_ref().map_or(0, |typing| typing.bytes())
            + self.receipts.as_ref().map_or(0, |receipts| receipts.bytes())
            + stream.listeners.missed_bytes();
        let members = stream.listeners.members();
        let users = stream.presence.as_ref().filter(|presence| !presence.is_empty());
        let users = users.map_or(0, |presence| USERS_BYTES + presence.bytes());
        let own = ROOM_BYTES + stream.name.len() + members * MEMBER_BYTES + users;
        let is_for_history = members == 0 && !stream.history.is_empty();
        let (history, standing) = if is_for_history { (own, 0) } else { (0, own) };
        Bytes { history: history + stream.history.bytes(), kept, standing }
    }

    /// The head to remember when the room is removed; `None` if the link or the store remembers it.
    pub fn last_head(&self) -> Option<LastHead> {
        let is_alone = matches!((&self.numbering, &self.keeping), (Numbering::Own, Keeping::None));
        (is_alone && !self.is_deleted).then(|| LastHead { head: self.stream.head(), last_at: self.stream.last_at })
    }

    /// Whether somebody waits for the link or the store, or they have not yet received everything from this room.
    pub fn waits(&self) -> bool {
        let is_opening = self.opening.as_ref().is_some_and(|opening| !opening.is_empty());
        let is_uncommitted = matches!(&self.keeping, Keeping::Store(stored) if !stored.is_empty());
        is_opening || is_uncommitted || self.waits_for_page() || self.is_untold()
    }

    fn waits_for_page(&self) -> bool {
        self.pages.as_ref().is_some_and(|pages| !pages.is_empty())
    }

    /// Whether the other machines have not yet been told of a presence change here.
    fn is_untold(&self) -> bool {
        matches!(self.numbering, Numbering::Link(_))
            && self.stream.presence.as_ref().is_some_and(|presence| !presence.may_go())
    }

    /// Whether the room may leave memory now. One that the store keeps stays for a while: its next member may be near.
    pub fn may_leave_memory(&mut self, now: Now) -> bool {
        if !self.is_idle() {
            self.idle_since_ms = None;
            return false;
        }
        !self.is_kept_here_alone()
            || self.opening.is_some()
            || now.mono_ms() >= *self.idle_since_ms.get_or_insert(now.mono_ms()) + ROOM_LINGER_MS
    }

    /// Whether the store keeps the room, and nobody else does.
    fn is_kept_here_alone(&self) -> bool {
        matches!((&self.numbering, &self.keeping), (Numbering::Own, Keeping::Store(_)))
    }

    /// Whether the room can be removed without losing anything.
    fn is_idle(&self) -> bool {
        let stream = &self.stream;
        let nobody = stream.listeners.members() == 0 && stream.presence.as_ref().is_none_or(Presence::may_go);
        nobody
            && !self.waits_for_page()
            && self.leaving.is_none()
            && self.receipts.as_ref().is_none_or(|receipts| !receipts.waits())
            && self.opening.as_ref().is_none_or(|opening| opening.is_empty())
            && match &self.numbering {
                Numbering::Own => self.is_kept_here_alone() || (stream.history.is_empty() && stream.keys.is_none()),
                // The link holds the history and the keys for all machines.
                Numbering::Link(linked) => linked.is_empty(),
            }
            && match &self.keeping {
                Keeping::None => true,
                Keeping::Store(stored) => stored.is_empty(),
            }
    }

    /// When `tick` is due next, monotonic milliseconds; `None` if nothing waits for time.
    pub fn due_ms(&self, now: Now) -> Option<u64> {
        let stream = &self.stream;
        let sweep = |expires_ms: u64| expires_ms.div_ceil(SWEEP_MS).saturating_mul(SWEEP_MS);
        let (linked, stored) = match &self.opening {
            Some(opening) => (Some(opening.due_ms()), None),
            None => {
                let linked = if let Numbering::Link(linked) = &self.numbering { Some(linked.due_ms()) } else { None };
                let stored = if let Keeping::Store(stored) = &self.keeping { stored.due_ms() } else { None };
                (linked, stored)
            }
        };
        [
            linked,
            stored,
            self.pages.as_ref().and_then(|pages| pages.due_ms()),
            stream.presence.as_ref().and_then(Presence::due_ms),
            self.typing.as_ref().and_then(|typing| typing.due_ms()),
            stream.history.next_expiry_ms().map(sweep),
            stream.keys.as_ref().and_then(|keys| keys.next_expiry_ms()).map(sweep),
            (stream.listeners.any_behind() || stream.listeners.has_missed()).then(|| now.mono_ms() + TICK_MS),
            self.idle_since_ms.map(|since_ms| since_ms + ROOM_LINGER_MS),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

#[cfg(test)]
pub(super) mod tests;
