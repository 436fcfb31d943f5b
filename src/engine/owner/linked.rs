//! A room whose publications are numbered and kept by the link, for all machines. Members are given what the link says,
//! in the order of its numbers, whatever becomes of its events on the way:
//!
//! - a publication comes twice: the second is dropped;
//! - one is missing: later ones are held back, the missing ones are read, members see them in order;
//! - the last one is lost: a room without news asks for the head now and then, and sooner where a publish of its own was
//!   acknowledged and has not come;
//! - the missing ones are gone at the link too: members get a `gap`, and it goes on;
//! - the numbering is another one: the room is opened anew, and members get a `joined`. Only the answer to an open
//!   changes the numbering, and to one that is past only when the link keeps saying so: a late answer does not bring an
//!   old numbering back, and a room that was misled by one finds its way again;
//! - an answer is lost: it is asked for again.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::OwnerEffects;
use super::publish::Arrival;
use super::room::{Authority, Room};
use crate::base::ids::{ConnId, Epoch, Position, Seq};
use crate::base::limits::{AHEAD_PER_ROOM_MAX, ASK_AGAIN_MS, PAST_EPOCHS_MAX, POSITION_CHECK_MS, WAITING_BYTES};
use crate::base::time::Now;
use crate::engine::input::{Record, Stretch};
use crate::engine::output::LinkRequest;

/// Records asked from the link in one read.
const LINK_READ_MAX: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Open,
    Read,
}

/// What the link owes a connection.
#[derive(Debug, Default)]
struct Own {
    unanswered: usize,
    /// The last position that an answer named.
    last: Option<Position>,
}

impl Own {
    /// Whether a publication is still to come, in a room that stands at `head`. One that was lost with its numbering is not.
    fn is_owed(&self, head: Position) -> bool {
        self.unanswered > 0 || self.last.is_some_and(|last| last.epoch == head.epoch && last.seq > head.seq)
    }
}

/// What a room has with the link.
#[derive(Debug)]
pub(super) struct Linked {
    /// Publications that came before an earlier one did, or before the room knew their numbering.
    ahead: BTreeMap<(Epoch, Seq), Record>,
    ahead_bytes: usize,
    /// The newest number heard of in the room's numbering.
    known: Seq,
    /// What is asked and not answered, and since when (monotonic milliseconds).
    asked: Option<(Question, u64)>,
    /// When the head is asked for if there is no news until then, monotonic milliseconds.
    check_ms: u64,
    /// Publishes handed to the link and not answered.
    publishing: usize,
    /// Connections whose publishes the link has not answered, or whose publications have not come.
    own: HashMap<ConnId, Own, FixedState>,
    past: SmallVec<[Epoch; 1]>,
    /// Answers in a row that named a past numbering.
    past_answers: u32,
}

/// So many answers in a row that name a past numbering are believed.
const PAST_ANSWERS_MAX: u32 = 3;

impl Linked {
    pub fn new(now: Now) -> Self {
        Self {
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
            known: 0,
            asked: None,
            check_ms: now.mono_ms() + POSITION_CHECK_MS,
            publishing: 0,
            own: HashMap::with_hasher(FixedState::default()),
            past: SmallVec::new(),
            past_answers: 0,
        }
    }

    /// Something does not fit: the head is asked for soon rather than in a while.
    fn check_soon(&mut self, now: Now) {
        self.check_ms = self.check_ms.min(now.mono_ms() + ASK_AGAIN_MS);
    }

    /// Whether an answer to an open that names `epoch` is to be believed.
    fn believes(&mut self, epoch: Epoch) -> bool {
        if !self.past.contains(&epoch) {
            return true;
        }
        self.past_answers += 1;
        self.past_answers >= PAST_ANSWERS_MAX
    }

    /// Whether no publish waits.
    pub fn is_empty(&self) -> bool {
        self.publishing == 0
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.ahead_bytes + (self.publishing + self.own.len()) * WAITING_BYTES
    }

    /// When the link must be asked, monotonic milliseconds.
    pub fn due_ms(&self) -> u64 {
        self.asked.map_or(self.check_ms, |(_, asked_ms)| asked_ms + ASK_AGAIN_MS)
    }

    /// Publishes that wait for the link.
    pub fn publishing(&self) -> usize {
        self.publishing
    }

    /// The link is given a publish, of a connection or of none.
    pub fn add_publishing(&mut self, conn: Option<ConnId>) {
        self.publishing += 1;
        if let Some(conn) = conn {
            self.own.entry(conn).or_default().unanswered += 1;
        }
    }

    /// Whether publications of a connection are still to come, in a room that stands at `head`.
    pub fn owes(&self, conn: ConnId, head: Position) -> bool {
        self.own.get(&conn).is_some_and(|own| own.is_owed(head))
    }

    /// Holds a publication back. Of too many the last goes: it is read later.
    fn hold_back(&mut self, epoch: Epoch, record: Record) {
        self.ahead_bytes += record_bytes(&record);
        if let Some(earlier) = self.ahead.insert((epoch, record.seq), record) {
            self.ahead_bytes -= record_bytes(&earlier);
        }
        if self.ahead.len() > AHEAD_PER_ROOM_MAX
            && let Some((_, last)) = self.ahead.pop_last()
        {
            self.ahead_bytes -= record_bytes(&last);
        }
    }

    /// The publication with this number, if it was held back; those before it are let go.
    fn take_ahead(&mut self, epoch: Epoch, seq: Seq) -> Option<Record> {
        loop {
            let ((_, first), _) = self.ahead.range((epoch, 0)..=(epoch, seq)).next()?;
            let first = *first;
            let record = self.ahead.remove(&(epoch, first))?;
            self.ahead_bytes -= record_bytes(&record);
            if first == seq {
                return Some(record);
            }
        }
    }

    /// Lets go what was held back for other numberings.
    fn settle_on(&mut self, epoch: Epoch) {
        self.ahead.retain(|(own, _), _| *own == epoch);
        self.ahead_bytes = self.ahead.values().map(record_bytes).sum();
    }
}

fn record_bytes(record: &Record) -> usize {
    WAITING_BYTES + record.data.len()
}

impl Room {
    /// What the room has with the link; `None` for a room that is not linked.
    pub fn linked(&mut self) -> Option<&mut Linked> {
        match &mut self.authority {
            Authority::Link(linked) => Some(linked),
            Authority::Memory | Authority::Store(_) => None,
        }
    }

    /// The link has opened the room.
    pub fn open_from_link(&mut self, now: Now, stretch: &Stretch, node: &str, effects: &mut OwnerEffects<'_>) {
        self.fill(now, stretch);
        let head = self.head();
        let Some(linked) = self.linked() else { return };
        linked.known = head.seq;
        linked.settle_on(head.epoch);
        self.take_ahead(now, node, effects);
    }

    /// The link tells what it holds of the room: the answer to a question, in time or late.
    pub fn handle_read(&mut self, now: Now, stretch: &Stretch, node: &str, effects: &mut OwnerEffects<'_>) {
        let epoch = self.epoch;
        let Some(linked) = self.linked() else { return };
        let asked = linked.asked.map(|(question, _)| question);
        let Some(head) = stretch.head else {
            linked.asked = None;
            return;
        };
        if head.epoch == epoch {
            linked.past_answers = 0;
            // An answer that knows less than the room does is an old one: the question stays open.
            if head.seq >= linked.known {
                linked.known = head.seq;
                linked.asked = None;
                if asked == Some(Question::Open) {
                    linked.settle_on(epoch);
                }
            }
            self.catch_up(now, stretch, asked == Some(Question::Read), node, effects);
        } else if asked == Some(Question::Open) {
            if !linked.believes(head.epoch) {
                return;
            }
            self.go_over(now, stretch, effects);
        } else {
            self.ask(Question::Open, now, effects);
            return;
        }
        self.take_ahead(now, node, effects);
    }

    /// A publication was numbered.
    pub fn handle_publication(
        &mut self,
        now: Now,
        epoch: Epoch,
        record: Record,
        may_wait: bool,
        node: &str,
        effects: &mut OwnerEffects<'_>,
    ) {
        let (own_epoch, head, is_open) = (self.epoch, self.history.head(), self.opening.is_none());
        let Some(linked) = self.linked() else { return };
        if linked.past.contains(&epoch) {
            linked.check_soon(now);
            return;
        }
        let is_own = is_open && epoch == own_epoch;
        if is_own && record.seq <= head {
            return;
        }
        if is_own {
            linked.known = linked.known.max(record.seq);
        }
        if is_own && record.seq == head + 1 {
            self.accept_linked(now, &record, node, effects);
        } else if may_wait {
            linked.hold_back(epoch, record);
        }
        if is_own {
            self.take_ahead(now, node, effects);
        } else if is_open {
            self.ask(Question::Open, now, effects);
        }
    }

    /// A publish of this room has been answered; with the position it was given, if it was.
    pub fn handle_linked_publish(&mut self, now: Now, conn: Option<ConnId>, position: Option<Position>) {
        let head = self.head();
        let Some(linked) = self.linked() else { return };
        linked.publishing -= 1;
        if let Some(conn) = conn
            && let Some(own) = linked.own.get_mut(&conn)
        {
            own.unanswered -= 1;
            // Of one numbering the last; a duplicate names an earlier one.
            let is_later = |last: Position| {
                position.is_some_and(|position| position.epoch != last.epoch || position.seq > last.seq)
            };
            if own.last.is_none_or(is_later) {
                own.last = position.or(own.last);
            }
            if !own.is_owed(head) {
                linked.own.remove(&conn);
            }
        }
        let Some(position) = position else { return };
        if position.epoch != head.epoch || position.seq > head.seq {
            linked.check_soon(now);
        }
    }

    /// The connection to the link was lost for a while: whatever was asked, and whatever came, may be lost.
    pub fn handle_restored(&mut self, now: Now, effects: &mut OwnerEffects<'_>) {
        let Some(linked) = self.linked() else { return };
        let question = linked.asked.take().map_or(Question::Read, |(question, _)| question);
        self.ask(question, now, effects);
    }

    /// Asks again for what was not answered, and for the head when there was no news for long.
    pub fn check_link(&mut self, now: Now, effects: &mut OwnerEffects<'_>) {
        let head = self.head();
        let Some(linked) = self.linked() else { return };
        if now.mono_ms() < linked.due_ms() {
            return;
        }
        linked.own.retain(|_, own| own.is_owed(head));
        let question = linked.asked.take().map_or(Question::Read, |(question, _)| question);
        self.ask(question, now, effects);
    }

    /// Asks the link to open the room (again).
    pub fn ask_link_to_open(&mut self, now: Now, effects: &mut OwnerEffects<'_>) {
        if let Some(opening) = &mut self.opening {
            opening.asked_ms = now.mono_ms();
        }
        effects.link.push(LinkRequest::Open { room: self.name.clone(), count: self.settings.history_size });
    }

    /// One question at a time; an open asks for more than a read.
    fn ask(&mut self, question: Question, now: Now, effects: &mut OwnerEffects<'_>) {
        if self.opening.is_some() {
            self.ask_link_to_open(now, effects);
            return;
        }
        let after = self.history.head();
        let Some(linked) = self.linked() else { return };
        linked.check_ms = now.mono_ms() + POSITION_CHECK_MS;
        match linked.asked {
            Some((asked, _)) if asked == Question::Open || asked == question => return,
            _ => linked.asked = Some((question, now.mono_ms())),
        }
        match question {
            Question::Open => self.ask_link_to_open(now, effects),
            Question::Read => {
                let room = self.name.clone();
                effects.link.push(LinkRequest::Read { room, after, count: LINK_READ_MAX });
            }
        }
    }

    /// Takes from an answer of the same numbering what the room does not have yet. `is_read`: a read was asked, always
    /// from the room's own head of then on, so that what its answer lacks is gone at the link.
    fn catch_up(&mut self, now: Now, stretch: &Stretch, is_read: bool, node: &str, effects: &mut OwnerEffects<'_>) {
        for record in &stretch.records {
            self.take_ahead_until(now, record.seq, node, effects);
            if record.seq > self.history.head() + 1 {
                if !is_read {
                    return;
                }
                self.skip_to(record.seq - 1, effects);
            }
            if record.seq > self.history.head() {
                self.accept_linked(now, record, node, effects);
            }
        }
        let Some(head) = stretch.head.filter(|_| is_read && stretch.records.is_empty()) else { return };
        self.take_ahead_until(now, head.seq, node, effects);
        if head.seq > self.history.head() {
            self.skip_to(head.seq, effects);
        }
    }

    /// Goes over to the numbering that an open has found.
    fn go_over(&mut self, now: Now, stretch: &Stretch, effects: &mut OwnerEffects<'_>) {
        let (left, head) = (self.epoch, stretch.head);
        let Some(linked) = self.linked() else { return };
        linked.past.retain(|past| head.is_none_or(|head| head.epoch != *past));
        if linked.past.len() == PAST_EPOCHS_MAX {
            linked.past.remove(0);
        }
        linked.past.push(left);
        linked.past_answers = 0;
        linked.asked = None;
        if let Some(head) = head {
            linked.known = head.seq;
            linked.settle_on(head.epoch);
        }
        self.renumber(now, stretch, effects);
    }

    fn accept_linked(&mut self, now: Now, record: &Record, node: &str, effects: &mut OwnerEffects<'_>) {
        let except = record.except.as_deref().and_then(|except| read_except(except, node));
        self.accept(now, record, except, Arrival::now(now), effects);
        if let Some(linked) = self.linked() {
            linked.check_ms = now.mono_ms() + POSITION_CHECK_MS;
        }
    }

    /// Gives members what was held back and is due now; what is still missing is read.
    fn take_ahead(&mut self, now: Now, node: &str, effects: &mut OwnerEffects<'_>) {
        self.take_ahead_until(now, Seq::MAX, node, effects);
        let head = self.history.head();
        if self.linked().is_some_and(|linked| linked.known > head) {
            self.ask(Question::Read, now, effects);
        }
    }

    /// Gives members what was held back, in order, as long as nothing is missing, before `end`.
    fn take_ahead_until(&mut self, now: Now, end: Seq, node: &str, effects: &mut OwnerEffects<'_>) {
        loop {
            let (epoch, next) = (self.epoch, self.history.head() + 1);
            let Some(linked) = self.linked().filter(|_| next < end) else { return };
            let Some(record) = linked.take_ahead(epoch, next) else { return };
            linked.known = linked.known.max(record.seq);
            self.accept_linked(now, &record, node, effects);
        }
    }
}

/// How a connection of this machine is named to all machines, to be spared a publication.
pub(super) fn write_except(node: &str, conn: ConnId) -> String {
    format!("{node}/{conn}")
}

/// The connection, if it is one of this machine.
fn read_except(text: &str, node: &str) -> Option<ConnId> {
    ConnId::from_text(text.strip_prefix(node)?.strip_prefix('/')?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::CoreId;

    #[test]
    fn a_spared_connection_is_known_on_its_own_machine_only() {
        let conn = ConnId { home: CoreId(3), slot: 70_000, generation: 9 };
        let text = write_except("node-1", conn);
        assert_eq!(read_except(&text, "node-1"), Some(conn));
        for (text, node) in [(text.as_str(), "node-2"), (text.as_str(), "node"), ("node-1/1-2", "node-1"), ("", "")] {
            assert_eq!(read_except(text, node), None, "{text} {node}");
        }
    }

    #[test]
    fn what_is_held_back_is_bounded_and_keeps_the_earliest() {
        let now = Now { mono_us: 0, unix_ms: 0 };
        let mut linked = Linked::new(now);
        let record = |seq| Record {
            seq,
            at: 1,
            from: crate::base::ids::UserName::new("ann").expect("valid"),
            kind: crate::wire::command::DataKind::Json,
            data: bytes::Bytes::from_static(b"1"),
            key: None,
            except: None,
        };
        for seq in (2..AHEAD_PER_ROOM_MAX as Seq + 10).rev() {
            linked.hold_back(Epoch(5), record(seq));
        }
        assert_eq!(linked.ahead.len(), AHEAD_PER_ROOM_MAX);
        assert_eq!(linked.bytes(), AHEAD_PER_ROOM_MAX * (WAITING_BYTES + 1));
        assert_eq!(linked.take_ahead(Epoch(5), 1), None);
        assert_eq!(linked.take_ahead(Epoch(5), 2).map(|record| record.seq), Some(2));
        assert_eq!(linked.take_ahead(Epoch(4), 3), None, "another numbering");
        assert_eq!(linked.take_ahead(Epoch(5), 9).map(|record| record.seq), Some(9));
        assert_eq!(linked.ahead.len(), AHEAD_PER_ROOM_MAX - 8);
        linked.settle_on(Epoch(4));
        assert_eq!((linked.ahead.len(), linked.bytes()), (0, 0));
    }
}
