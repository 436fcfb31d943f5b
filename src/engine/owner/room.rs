//! One room as its owner knows it: what its members see (its [`Stream`]), who numbers and who keeps that, and what waits.
//! What hops and events do to it stands beside: [`super::membership`], [`super::publish`], [`super::asks`].

mod reading;
mod typing;

use self::typing::Typists;
use super::OwnerEffects;
use super::answer::{Asker, Origin};
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
use crate::base::limits::{ASK_AGAIN_MS, MEMBER_BYTES, ROOM_BYTES, TICK_MS, USERS_BYTES};
use crate::base::time::Now;
use crate::engine::rates::Bucket;
use crate::engine::record::Stretch;
use crate::engine::settings::{KeepingMode, NumberingMode, Settings};
use crate::engine::store_port::KeptKey;
use crate::wire::protocol::{Answer, Ask, Refusal};

/// Expired messages and keys are freed at multiples of this. Reads never see them after they expired.
const SWEEP_MS: u64 = 5_000;

/// Who numbers the room's publications.
#[derive(Debug)]
pub(super) enum Numbering {
    /// This room.
    Own,
    /// The link, for all machines: delivered when it comes back.
    Link(Box<Linked>),
}

/// Who keeps the room's publications beyond its history in memory, and beyond this process.
#[derive(Debug)]
pub(super) enum Keeping {
    /// Nobody; or the link, where that numbers.
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
    /// What it may still carry at the moment, where that is limited.
    pub pace: Bucket,
    /// `None`: nobody waits for publications of one's own to leave.
    pub leaving: Option<Box<Leaving>>,
    /// `None`: nobody keeps more of the room than its memory.
    pub pages: Option<Box<Pages>>,
    /// `None`: the room is open.
    pub opening: Option<Box<Opening>>,
    /// `None`: nobody is typing.
    typing: Option<Box<Typists>>,
    pub entered: Entered,
}

impl Room {
    /// A room that goes on where `last` stands. With a store or a link it is still to be opened.
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
        let opens = !matches!((&numbering, &keeping), (Numbering::Own, Keeping::None));
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
            pages: opens.then(|| Box::new(Pages::new())),
            opening: opens.then(|| Box::new(Opening::new(now.mono_ms()))),
            typing: None,
            entered: Entered::default(),
        }
    }

    /// Replaces the settings.
    pub fn set_settings(&mut self, now: Now, settings: &Settings) {
        let before = self.stream.set_settings(settings);
        self.pace.change_rate(before.room_message_rate, self.stream.settings.room_message_rate, now.mono_us);
    }

    /// Answers what is asked of the room, other than a publish. `may_wait`: the core has memory for a page that waits.
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
            Ask::Publish(_) => debug_assert!(false, "a publish is not answered here"),
        }
    }

    /// Whether the asker is a connection that is not a member.
    pub fn is_stranger(&self, asker: Asker) -> bool {
        asker.conn().is_some_and(|conn| !self.stream.listeners.contains(conn))
    }

    /// Whether something may be sent to the members: a home may ask before it hears that its join was refused, and a room
    /// may carry so much only.
    pub(super) fn admit(&mut self, asker: Asker, now: Now) -> Result<(), Refusal> {
        if self.is_stranger(asker) {
            return Err(Refusal::NOT_JOINED);
        }
        match self.stream.settings.room_message_rate {
            Some(rate) => self.pace.try_take(rate, now.mono_us).map_err(Refusal::too_often),
            None => Ok(()),
        }
    }

    /// Whether nobody has ever been told of the room: it is here only because it was asked for.
    pub fn is_unknown(&self) -> bool {
        self.stream.history.head() == 0
            && self.stream.listeners.members() == 0
            && self.stream.presence.as_ref().is_none_or(|presence| presence.is_empty())
            && self.stream.keys.is_none()
    }

    /// Asks the link or the store to open the room (again).
    pub fn ask_to_open(&mut self, effects: &mut OwnerEffects<'_>) {
        if let Some(opening) = &mut self.opening {
            opening.asked_ms = effects.now.mono_ms();
        }
        match (&mut self.numbering, &self.keeping) {
            (Numbering::Link(linked), _) => linked.ask_to_open(&self.stream, effects),
            (Numbering::Own, Keeping::Store(_)) => {
                stored::ask_to_load(&self.stream, self.stream.settings.history_size, effects);
            }
            (Numbering::Own, Keeping::None) => {}
        }
    }

    /// The store tells what it holds of the room, which was open before or not.
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

    /// The store has committed everything of the room that it was given up to this publication.
    pub fn handle_committed(&mut self, at: Appended, effects: &mut OwnerEffects<'_>) {
        let Keeping::Store(stored) = &mut self.keeping else { return };
        let answered = stored.handle_committed(&mut self.stream, at, effects);
        self.note_answered(&answered);
    }

    /// The store has failed to keep this publication and those behind it.
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

    /// Asks the link and the store again for what they have not answered in time. Whether the room is to be compared with
    /// the link's head.
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

    /// Time has passed: expiry, status pushes, repair of cores that are behind, questions asked again. Returns whether the
    /// room is due to be compared with the link.
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
            + stream.listeners.missed_bytes();
        let members = stream.listeners.members();
        let users = stream.presence.as_ref().filter(|presence| !presence.is_empty());
        let users = users.map_or(0, |presence| USERS_BYTES + presence.bytes());
        let own = ROOM_BYTES + stream.name.len() + members * MEMBER_BYTES + users;
        let is_for_history = members == 0 && !stream.history.is_empty();
        let (history, standing) = if is_for_history { (own, 0) } else { (0, own) };
        Bytes { history: history + stream.history.bytes(), kept, standing }
    }

    /// Where the numbering stands, to be remembered when the room goes; `None` where the link or the store remembers it.
    pub fn last_head(&self) -> Option<LastHead> {
        let is_alone = matches!((&self.numbering, &self.keeping), (Numbering::Own, Keeping::None));
        is_alone.then(|| LastHead { head: self.stream.head(), last_at: self.stream.last_at })
    }

    /// Whether the link or the store owes it something that somebody waits for, or has not kept yet, or is still to be told
    /// something.
    pub fn waits(&self) -> bool {
        let is_opening = self.opening.as_ref().is_some_and(|opening| !opening.is_empty());
        let is_uncommitted = matches!(&self.keeping, Keeping::Store(stored) if !stored.is_empty());
        is_opening || is_uncommitted || self.waits_for_page() || self.is_untold()
    }

    fn waits_for_page(&self) -> bool {
        self.pages.as_ref().is_some_and(|pages| !pages.is_empty())
    }

    /// Whether other machines have not been told yet who is here.
    fn is_untold(&self) -> bool {
        matches!(self.numbering, Numbering::Link(_))
            && self.stream.presence.as_ref().is_some_and(|presence| !presence.may_go())
    }

    /// Whether nothing would be lost by forgetting the room.
    pub fn is_idle(&self) -> bool {
        let stream = &self.stream;
        let nobody = stream.listeners.members() == 0 && stream.presence.as_ref().is_none_or(Presence::may_go);
        nobody
            && !self.waits_for_page()
            && self.opening.as_ref().is_none_or(|opening| opening.is_empty())
            && match &self.numbering {
                Numbering::Own => stream.history.is_empty() && stream.keys.is_none(),
                // The link holds the history and the keys for all machines.
                Numbering::Link(linked) => linked.is_empty(),
            }
            && match &self.keeping {
                Keeping::None => true,
                Keeping::Store(stored) => stored.is_empty(),
            }
    }

    /// When the room must be looked at next, monotonic milliseconds; `None` while nothing in it waits for time.
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
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

#[cfg(test)]
pub(super) mod tests;
