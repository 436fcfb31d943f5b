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
use super::stream::{Arrival, Stream};
use crate::base::ids::{ConnId, Epoch, Position, Seq};
use crate::base::limits::{AHEAD_PER_ROOM_MAX, ASK_AGAIN_MS, PAST_EPOCHS_MAX, POSITION_CHECK_MS, WAITING_BYTES};
use crate::base::time::Now;
use crate::engine::link_port::LinkRequest;
use crate::engine::record::{Record, Stretch};

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
    fn take_next(&mut self, epoch: Epoch, seq: Seq) -> Option<Record> {
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

impl Linked {
    /// The link has opened the room.
    pub fn open(&mut self, stream: &mut Stream, stretch: &Stretch, effects: &mut OwnerEffects<'_>) {
        stream.fill(stretch, effects.now);
        let head = stream.head();
        self.known = head.seq;
        self.settle_on(head.epoch);
        self.take_ahead(stream, effects);
    }

    /// The link tells what it holds of the room: the answer to a question, in time or late.
    pub fn handle_read(&mut self, stream: &mut Stream, stretch: &Stretch, effects: &mut OwnerEffects<'_>) {
        let asked = self.asked.map(|(question, _)| question);
        let Some(head) = stretch.head else {
            self.asked = None;
            return;
        };
        if head.epoch == stream.epoch {
            self.past_answers = 0;
            // An answer that knows less than the room does is an old one: the question stays open.
            if head.seq >= self.known {
                self.known = head.seq;
                self.asked = None;
                if asked == Some(Question::Open) {
                    self.settle_on(stream.epoch);
                }
            }
            self.catch_up(stream, stretch, asked == Some(Question::Read), effects);
        } else if asked == Some(Question::Open) {
            if !self.believes(head.epoch) {
                return;
            }
            self.go_over(stream, stretch, effects);
        } else {
            self.ask(Question::Open, stream, effects);
            return;
        }
        self.take_ahead(stream, effects);
    }

    /// A publication was numbered. `may_wait`: the core has memory to hold it back.
    pub fn handle_publication(
        &mut self,
        stream: &mut Stream,
        (epoch, record): (Epoch, Record),
        may_wait: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        if self.past.contains(&epoch) {
            self.check_soon(effects.now);
            return;
        }
        let head = stream.history.head();
        let is_own = epoch == stream.epoch;
        if is_own && record.seq <= head {
            return;
        }
        if is_own {
            self.known = self.known.max(record.seq);
        }
        if is_own && record.seq == head + 1 {
            self.accept(stream, &record, effects);
        } else if may_wait {
            self.hold_back(epoch, record);
        }
        if is_own {
            self.take_ahead(stream, effects);
        } else {
            self.ask(Question::Open, stream, effects);
        }
    }

    /// A publication was numbered while the room is being opened. `may_wait`: the core has memory to hold it back.
    pub fn handle_early(&mut self, epoch: Epoch, record: Record, may_wait: bool, now: Now) {
        if self.past.contains(&epoch) {
            self.check_soon(now);
        } else if may_wait {
            self.hold_back(epoch, record);
        }
    }

    /// The link has numbered a publish of this room, which stands at `head`.
    pub fn note_numbered(&mut self, position: Position, head: Position, now: Now) {
        if position.epoch != head.epoch || position.seq > head.seq {
            self.check_soon(now);
        }
    }

    /// The publisher of a publish has been answered; with the position it was given, if it was.
    pub fn handle_answered(&mut self, conn: Option<ConnId>, position: Option<Position>, head: Position) {
        self.publishing -= 1;
        if let Some(conn) = conn
            && let Some(own) = self.own.get_mut(&conn)
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
                self.own.remove(&conn);
            }
        }
    }

    /// Asks for what may have been missed: the connection to the link was lost for a while.
    pub fn handle_restored(&mut self, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        let question = self.asked.take().map_or(Question::Read, |(question, _)| question);
        self.ask(question, stream, effects);
    }

    /// Asks again for what was not answered, and for the head when there was no news for long.
    pub fn check(&mut self, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        if effects.now.mono_ms() < self.due_ms() {
            return;
        }
        let head = stream.head();
        self.own.retain(|_, own| own.is_owed(head));
        let question = self.asked.take().map_or(Question::Read, |(question, _)| question);
        self.ask(question, stream, effects);
    }

    /// Asks one question at a time; an open asks for more than a read.
    fn ask(&mut self, question: Question, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        self.check_ms = now_ms + POSITION_CHECK_MS;
        match self.asked {
            Some((asked, _)) if asked == Question::Open || asked == question => return,
            _ => self.asked = Some((question, now_ms)),
        }
        match question {
            Question::Open => ask_to_open(stream, effects),
            Question::Read => {
                let (room, after) = (stream.name.clone(), stream.history.head());
                effects.link.push(LinkRequest::Read { room, after, count: LINK_READ_MAX });
            }
        }
    }

    /// Takes from an answer of the same numbering what the room does not have yet. `is_read`: a read was asked, always
    /// from the room's own head of then on, so that what its answer lacks is gone at the link.
    fn catch_up(&mut self, stream: &mut Stream, stretch: &Stretch, is_read: bool, effects: &mut OwnerEffects<'_>) {
        for record in &stretch.records {
            self.take_ahead_until(stream, record.seq, effects);
            if record.seq > stream.history.head() + 1 {
                if !is_read {
                    return;
                }
                stream.skip_to(record.seq - 1, effects);
            }
            if record.seq > stream.history.head() {
                self.accept(stream, record, effects);
            }
        }
        let Some(head) = stretch.head.filter(|_| is_read && stretch.records.is_empty()) else { return };
        self.take_ahead_until(stream, head.seq, effects);
        if head.seq > stream.history.head() {
            stream.skip_to(head.seq, effects);
        }
    }

    /// Goes over to the numbering that an open has found.
    fn go_over(&mut self, stream: &mut Stream, stretch: &Stretch, effects: &mut OwnerEffects<'_>) {
        let head = stretch.head;
        self.past.retain(|past| head.is_none_or(|head| head.epoch != *past));
        if self.past.len() == PAST_EPOCHS_MAX {
            self.past.remove(0);
        }
        self.past.push(stream.epoch);
        self.past_answers = 0;
        self.asked = None;
        if let Some(head) = head {
            self.known = head.seq;
            self.settle_on(head.epoch);
        }
        stream.renumber(stretch, effects);
    }

    fn accept(&mut self, stream: &mut Stream, record: &Record, effects: &mut OwnerEffects<'_>) {
        let except = record.except.as_deref().and_then(|except| read_except(except, effects.node));
        stream.accept(record, except, Arrival::now(effects.now), effects);
        self.check_ms = effects.now.mono_ms() + POSITION_CHECK_MS;
    }

    /// Gives members what was held back and is due now; what is still missing is read.
    fn take_ahead(&mut self, stream: &mut Stream, effects: &mut OwnerEffects<'_>) {
        self.take_ahead_until(stream, Seq::MAX, effects);
        if self.known > stream.history.head() {
            self.ask(Question::Read, stream, effects);
        }
    }

    /// Gives members what was held back, in order, as long as nothing is missing, before `end`.
    fn take_ahead_until(&mut self, stream: &mut Stream, end: Seq, effects: &mut OwnerEffects<'_>) {
        loop {
            let next = stream.history.head() + 1;
            if next >= end {
                return;
            }
            let Some(record) = self.take_next(stream.epoch, next) else { return };
            self.known = self.known.max(record.seq);
            self.accept(stream, &record, effects);
        }
    }
}

/// Asks the link to open a room (again).
pub(super) fn ask_to_open(stream: &Stream, effects: &mut OwnerEffects<'_>) {
    let (room, count) = (stream.name.clone(), stream.settings.history_size);
    effects.link.push(LinkRequest::Open { room, count });
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
            kind: crate::wire::publication::DataKind::Json,
            data: bytes::Bytes::from_static(b"1"),
            key: None,
            except: None,
        };
        for seq in (2..AHEAD_PER_ROOM_MAX as Seq + 10).rev() {
            linked.hold_back(Epoch(5), record(seq));
        }
        assert_eq!(linked.ahead.len(), AHEAD_PER_ROOM_MAX);
        assert_eq!(linked.bytes(), AHEAD_PER_ROOM_MAX * (WAITING_BYTES + 1));
        assert_eq!(linked.take_next(Epoch(5), 1), None);
        assert_eq!(linked.take_next(Epoch(5), 2).map(|record| record.seq), Some(2));
        assert_eq!(linked.take_next(Epoch(4), 3), None, "another numbering");
        assert_eq!(linked.take_next(Epoch(5), 9).map(|record| record.seq), Some(9));
        assert_eq!(linked.ahead.len(), AHEAD_PER_ROOM_MAX - 8);
        linked.settle_on(Epoch(4));
        assert_eq!((linked.ahead.len(), linked.bytes()), (0, 0));
    }
}
