//! A room whose publications the link numbers and keeps, for all machines. Members receive the link's publications in the
//! order of their seqs, even if events of the link are lost, late or repeated:
//!
//! - a publication comes twice: the second is dropped;
//! - one is missing: later ones are held back, and the missing ones are read;
//! - the last one is lost: a room without news compares its head with the link's from time to time, and sooner if a publish
//!   of this machine was acknowledged and has not come;
//! - missing ones are gone at the link too: members receive a `gap`, and delivery continues;
//! - the epoch differs: the room is opened again, and members receive a `joined`;
//! - an answer is lost: the request is repeated.
//!
//! Each question has a token. Only the answer to the open question is authoritative: it was asked after everything that the
//! room knew at that time, so the link's head must not be lower. Any other answer may only fill holes.
//!
//! The link has lost records (a failover without its tail) if its head is lower in the same epoch, if it gives a publish a
//! seq that was known before the publish, or if it returns to an epoch that it had left. Seqs that members have seen must
//! not be reused, so the machine that finds it first asks for a new epoch ([`LinkRequest::Renumber`]).

mod catch_up;

use std::collections::HashMap;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::OwnerEffects;
use super::ahead::Ahead;
use super::stream::Stream;
use crate::base::ids::{ConnId, Epoch, Position, Seq};
use crate::base::limits::{
    ASK_AGAIN_MS, POSITION_CHECK_MS, POSITION_JITTER_MS, PRESENCE_SPREAD_MS, TICK_MS, WAITING_BYTES,
};
use crate::base::time::Now;
use crate::engine::link_port::{LinkHead, LinkRequest, Present};
use crate::engine::record::{Record, Stretch};

/// Records asked from the link in one read.
const LINK_READ_MAX: usize = 1_024;

/// What a room can ask the link, in ascending order of priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Read,
    Open,
    Renumber { from: Epoch, epoch: Epoch },
}

impl Question {
    const fn rank(self) -> u8 {
        match self {
            Question::Read => 0,
            Question::Open => 1,
            Question::Renumber { .. } => 2,
        }
    }
}

/// The open question.
#[derive(Debug)]
struct OpenQuestion {
    question: Question,
    token: u64,
    /// The highest position that the room knew when it asked first.
    known: Position,
    /// Time of the last request, monotonic milliseconds.
    since_ms: u64,
}

/// A request for the room's head that the link has not answered.
#[derive(Debug)]
struct OpenComparison {
    token: u64,
    /// The highest position that the room knew.
    known: Position,
    since_ms: u64,
}

/// Publications of one connection that are pending at the link.
#[derive(Debug, Default)]
struct Own {
    unanswered: usize,
    /// The last position in an answer, in the room's epoch or in one that the room has yet to enter.
    last: Option<Position>,
}

impl Own {
    /// Whether a publication, or the `joined` that replaces it, is still to come in a room with this head.
    fn is_owed(&self, head: Position) -> bool {
        self.unanswered > 0 || self.last.is_some_and(|last| last.epoch != head.epoch || last.seq > head.seq)
    }
}

/// Whether a room has been compared with the link since the connection to the link was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoomVerification {
    NotWanted,
    Waits,
    Done,
}

/// The link's records of a room: an answer to the open question, or to an earlier one.
#[derive(Debug)]
pub(super) struct LinkAnswer {
    pub token: u64,
    pub stretch: Stretch,
    pub present: Option<Present>,
}

/// The state of a linked room.
#[derive(Debug)]
pub(super) struct Linked {
    ahead: Ahead,
    /// The highest seq seen in the room's epoch.
    known: Seq,
    /// The highest seq of the room's epoch that a publish of this machine has received.
    acknowledged: Seq,
    asked: Option<OpenQuestion>,
    comparing: Option<OpenComparison>,
    verification: RoomVerification,
    /// When to compare the head if there is no news until then, monotonic milliseconds.
    check_ms: u64,
    /// Time between two comparisons, milliseconds. It differs between rooms, so that they do not all ask at once.
    period_ms: u64,
    /// When to read presence again, because a change was missed; monotonic milliseconds.
    reread_ms: Option<u64>,
    /// When to send and read presence again, because the link may have lost it; monotonic milliseconds.
    retell_ms: Option<u64>,
    /// Number of publishes that the link has not answered.
    publishing: usize,
    /// Connections with publishes that the link has not answered, or publications that have not come.
    own: HashMap<ConnId, Own, FixedState>,
    /// Epochs that the link has left.
    past: SmallVec<[Epoch; 1]>,
}

impl Linked {
    pub fn new(now: Now) -> Self {
        Self {
            ahead: Ahead::default(),
            known: 0,
            acknowledged: 0,
            asked: None,
            comparing: None,
            verification: RoomVerification::NotWanted,
            check_ms: now.mono_ms() + POSITION_CHECK_MS,
            period_ms: POSITION_CHECK_MS,
            reread_ms: None,
            retell_ms: None,
            publishing: 0,
            own: HashMap::with_hasher(FixedState::default()),
            past: SmallVec::new(),
        }
    }

    /// Whether the room can be removed: no publish waits, and the room need not report lost records.
    pub fn is_empty(&self) -> bool {
        self.publishing == 0 && self.verification != RoomVerification::Waits && !self.is_in_doubt()
    }

    /// Whether the link has lost records and has not given the room a new epoch yet.
    fn is_in_doubt(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| matches!(asked.question, Question::Renumber { .. }))
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.ahead.bytes() + (self.publishing + self.own.len()) * WAITING_BYTES
    }

    /// When `check` is due, monotonic milliseconds.
    pub fn due_ms(&self) -> u64 {
        let question = self.asked.as_ref().map_or(self.check_ms, |asked| asked.since_ms + ASK_AGAIN_MS);
        let unverified = self.comparing.as_ref().filter(|_| self.verification == RoomVerification::Waits);
        let compared = unverified.map(|compared| compared.since_ms + ASK_AGAIN_MS);
        let reread = self.reread_ms.filter(|_| self.asked.is_none());
        compared.into_iter().chain(reread).chain(self.retell_ms).fold(question, u64::min)
    }

    /// Number of publishes that wait for the link.
    pub fn publishing(&self) -> usize {
        self.publishing
    }

    /// Notes a publish sent to the link, of a connection or a call. Returns the highest position known before it.
    pub fn add_publishing(&mut self, conn: Option<ConnId>, stream: &Stream) -> Position {
        self.publishing += 1;
        if let Some(conn) = conn {
            self.own.entry(conn).or_default().unanswered += 1;
        }
        self.known_of(stream)
    }

    /// Whether publications of a connection are still to come in a room with this head.
    pub fn owes(&self, conn: ConnId, head: Position) -> bool {
        self.own.get(&conn).is_some_and(|own| own.is_owed(head))
    }

    /// The highest position that the room knows.
    fn known_of(&self, stream: &Stream) -> Position {
        let head = stream.head();
        Position { seq: head.seq.max(self.known).max(self.acknowledged), ..head }
    }

    /// Compares the head soon, because something does not fit.
    fn check_soon(&mut self, now: Now) {
        self.check_ms = self.check_ms.min(now.mono_ms() + ASK_AGAIN_MS);
    }

    /// Postpones the comparison, because there was news.
    fn check_later(&mut self, now: Now) {
        self.check_ms = now.mono_ms() + self.period_ms;
    }

    /// Reads presence soon, because a change was missed.
    pub fn reread_soon(&mut self, now: Now) {
        self.reread_ms.get_or_insert(now.mono_ms() + TICK_MS);
    }

    /// Whether the room has been compared with the link since it was restored. Returns `true` once.
    pub fn take_verified(&mut self) -> bool {
        let is_done = self.verification == RoomVerification::Done;
        if is_done {
            self.verification = RoomVerification::NotWanted;
        }
        is_done
    }

    fn note_verified(&mut self) {
        if self.verification == RoomVerification::Waits {
            self.verification = RoomVerification::Done;
        }
    }
}

/// Questions.
impl Linked {
    /// Asks the link to open the room, or asks again.
    pub fn ask_to_open(&mut self, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        match &mut self.asked {
            Some(asked) => asked.since_ms = effects.now.mono_ms(),
            None => self.set_asked(Question::Open, stream, effects),
        }
        self.send(stream, effects);
    }

    /// Asks a question, unless one of the same or a higher priority is open.
    fn ask(&mut self, question: Question, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        if self.asked.as_ref().is_none_or(|asked| asked.question.rank() < question.rank()) {
            self.set_asked(question, stream, effects);
            self.send(stream, effects);
        }
    }

    fn set_asked(&mut self, question: Question, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        let token = effects.random.next_u64();
        self.period_ms = POSITION_CHECK_MS - POSITION_JITTER_MS + token % (2 * POSITION_JITTER_MS);
        self.check_later(effects.now);
        self.asked =
            Some(OpenQuestion { question, token, known: self.known_of(stream), since_ms: effects.now.mono_ms() });
    }

    /// Sends the open question to the link.
    fn send(&self, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        let Some(OpenQuestion { question, token, .. }) = self.asked else { return };
        let (room, count) = (stream.name.clone(), stream.settings.history_size);
        effects.link.push(match question {
            Question::Open => LinkRequest::Open { token, room, count },
            Question::Renumber { from, epoch } => LinkRequest::Renumber { token, room, from, epoch, count },
            Question::Read => {
                let (after, presence) = (stream.history.head(), self.reread_ms.is_some());
                LinkRequest::Read { token, room, after, count: LINK_READ_MAX, presence }
            }
        });
    }

    /// Asks for a new epoch to replace one that has lost records. If the link has answered such a question without success,
    /// the question is repeated after [`ASK_AGAIN_MS`].
    fn ask_to_renumber(&mut self, from: Epoch, was_asked: bool, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        if self.is_in_doubt() {
            return;
        }
        let epoch = effects.random.epoch();
        self.set_asked(Question::Renumber { from, epoch }, stream, effects);
        if !was_asked {
            self.send(stream, effects);
        }
    }

    /// The connection to the link was interrupted. Requests, events and the link's own records may be lost, so the room must be
    /// compared with the link. `is_open`: the room is open.
    pub fn handle_restored(&mut self, is_open: bool, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        (self.asked, self.comparing) = (None, None);
        self.ahead.clear();
        if !is_open {
            return self.ask_to_open(stream, effects);
        }
        self.verification = RoomVerification::Waits;
        if stream.presence.is_some() {
            self.retell_ms = Some(effects.now.mono_ms() + effects.random.below(PRESENCE_SPREAD_MS));
        }
    }

    /// Notes that the link was asked for the room's head.
    pub fn note_compared(&mut self, token: u64, stream: &Stream, now: Now) {
        self.check_later(now);
        self.comparing = Some(OpenComparison { token, known: self.known_of(stream), since_ms: now.mono_ms() });
    }

    /// Does what is due. Returns whether the room's head must be compared with the link's.
    pub fn check(&mut self, stream: &mut Stream, effects: &mut OwnerEffects<'_>) -> bool {
        let now_ms = effects.now.mono_ms();
        if now_ms < self.due_ms() {
            return false;
        }
        let head = stream.head();
        self.own.retain(|_, own| own.is_owed(head));
        if self.retell_ms.take_if(|due_ms| *due_ms <= now_ms).is_some() {
            self.reread_ms = Some(now_ms + TICK_MS);
            if let Some(presence) = &mut stream.presence {
                presence.tell_all_again(now_ms);
            }
        }
        if let Some(asked) = &mut self.asked {
            if asked.since_ms + ASK_AGAIN_MS <= now_ms {
                asked.since_ms = now_ms;
                self.send(stream, effects);
            }
            return false;
        }
        if self.reread_ms.is_some_and(|due_ms| due_ms <= now_ms) {
            self.ask(Question::Read, stream, effects);
            return false;
        }
        if self.due_ms() > now_ms {
            return false;
        }
        let is_behind = self.known_of(stream).seq > head.seq;
        if is_behind {
            self.ask(Question::Read, stream, effects);
        }
        !is_behind
    }
}

/// Answers and events.
impl Linked {
    /// Opens the room, unless this answers an earlier question. Returns whether it has.
    pub fn open(&mut self, stream: &mut Stream, answer: &LinkAnswer, effects: &mut OwnerEffects<'_>) -> bool {
        if self.asked.take_if(|asked| asked.token == answer.token).is_none() {
            return false;
        }
        stream.fill(&answer.stretch, effects.now);
        self.take_present(stream, answer, effects.now);
        self.begin(stream);
        self.take_ahead(stream, effects);
        true
    }

    /// Handles the link's records of an open room.
    pub fn handle_read(&mut self, stream: &mut Stream, answer: &LinkAnswer, effects: &mut OwnerEffects<'_>) {
        match self.asked.take_if(|asked| asked.token == answer.token) {
            Some(asked) => self.hear_answer(stream, &asked, answer, effects),
            None => self.fill_holes(stream, &answer.stretch, effects),
        }
    }

    /// Handles the answer to the open question.
    fn hear_answer(
        &mut self,
        stream: &mut Stream,
        OpenQuestion { question, known, .. }: &OpenQuestion,
        answer: &LinkAnswer,
        effects: &mut OwnerEffects<'_>,
    ) {
        let is_read = *question == Question::Read;
        let Some(head) = answer.stretch.head else {
            if is_read {
                self.ask(Question::Open, stream, effects);
            }
            return;
        };
        if self.has_lost_records(head, *known, stream.epoch) {
            let was_asked = matches!(question, Question::Renumber { .. });
            return self.ask_to_renumber(head.epoch, was_asked, stream, effects);
        }
        if head.epoch == stream.epoch {
            self.note_verified();
            self.known = self.known.max(head.seq);
            if !is_read {
                self.ahead.settle_on(stream.epoch);
            }
            self.catch_up(stream, &answer.stretch, is_read, effects);
        } else if is_read {
            return self.ask(Question::Open, stream, effects);
        } else {
            self.note_verified();
            self.go_over(stream, &answer.stretch, effects);
        }
        self.take_present(stream, answer, effects.now);
        self.take_ahead(stream, effects);
    }

    /// Whether a link with this head has lost records. `epoch`: the room's; `known`: what the room knew before it asked.
    fn has_lost_records(&self, head: Position, known: Position, epoch: Epoch) -> bool {
        let is_lower = head.epoch == known.epoch && head.epoch == epoch && head.seq < known.seq;
        is_lower || self.past.contains(&head.epoch)
    }

    /// Handles an answer that is not authoritative: it may be older than what the room knows.
    fn fill_holes(&mut self, stream: &mut Stream, stretch: &Stretch, effects: &mut OwnerEffects<'_>) {
        let Some(head) = stretch.head.filter(|_| !self.is_in_doubt()) else { return };
        if head.epoch == stream.epoch {
            self.known = self.known.max(head.seq);
            self.catch_up(stream, stretch, false, effects);
            self.take_ahead(stream, effects);
        } else if !self.past.contains(&head.epoch) {
            self.ask(Question::Open, stream, effects);
        }
    }

    /// Handles the room's head at the link; `None`: the link does not know the room.
    pub fn handle_position(
        &mut self,
        stream: &mut Stream,
        token: u64,
        head: Option<LinkHead>,
        effects: &mut OwnerEffects<'_>,
    ) {
        let Some(compared) = self.comparing.take_if(|compared| compared.token == token) else { return };
        if self.is_in_doubt() {
            return;
        }
        let Some(LinkHead { position, presence }) = head else { return self.ask(Question::Open, stream, effects) };
        if self.has_lost_records(position, compared.known, stream.epoch) {
            return self.ask_to_renumber(position.epoch, false, stream, effects);
        }
        if position.epoch != stream.epoch {
            return self.ask(Question::Open, stream, effects);
        }
        self.note_verified();
        self.forget_others(stream.epoch);
        if stream.presence.as_mut().is_some_and(|own| own.hear_version(presence)) {
            self.reread_soon(effects.now);
        }
        self.known = self.known.max(position.seq);
        if self.known > stream.history.head() {
            self.ask(Question::Read, stream, effects);
        }
    }

    /// Handles a publication. `may_wait`: the core has memory to hold it back.
    pub fn handle_publication(
        &mut self,
        stream: &mut Stream,
        (epoch, record): (Epoch, Record),
        may_wait: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        let head = stream.history.head();
        let is_own = epoch == stream.epoch;
        if self.past.contains(&epoch) {
            return self.check_soon(effects.now);
        }
        // An epoch in doubt may give numbers again that members have seen.
        if is_own && (record.seq <= head || self.is_in_doubt()) {
            return;
        }
        if is_own {
            self.known = self.known.max(record.seq);
        }
        if is_own && record.seq == head + 1 {
            self.accept(stream, &record, effects);
        } else if may_wait {
            self.ahead.push(epoch, record);
        }
        if is_own {
            self.take_ahead(stream, effects);
        } else {
            self.ask(Question::Open, stream, effects);
        }
    }

    /// Handles a publication while the room is being opened. `may_wait`: the core has memory to hold it back.
    pub fn handle_early(&mut self, epoch: Epoch, record: Record, may_wait: bool) {
        if may_wait {
            self.ahead.push(epoch, record);
        }
    }

    /// The link has numbered a publish. `known`: the highest position that the room knew before. Returns `false` if the seq was
    /// used before, so the link has lost records.
    pub fn note_numbered(
        &mut self,
        stream: &Stream,
        (position, is_duplicate): (Position, bool),
        known: Position,
        effects: &mut OwnerEffects<'_>,
    ) -> bool {
        let is_again = !is_duplicate && position.epoch == known.epoch && position.seq <= known.seq;
        if is_again && position.epoch == stream.epoch {
            self.ask_to_renumber(position.epoch, false, stream, effects);
        } else if position.epoch != stream.epoch {
            self.check_soon(effects.now);
        } else if position.seq > stream.history.head() {
            self.acknowledged = self.acknowledged.max(position.seq);
            self.check_soon(effects.now);
        }
        !is_again
    }

    /// Notes that a publisher was answered, with the position if there is one.
    pub fn handle_answered(&mut self, conn: Option<ConnId>, position: Option<Position>, head: Position) {
        self.publishing -= 1;
        if let Some(conn) = conn
            && let Some(own) = self.own.get_mut(&conn)
        {
            own.unanswered -= 1;
            // What was lost with its epoch does not come. Of one epoch the last; a duplicate names an earlier one.
            let position = position.filter(|position| !self.past.contains(&position.epoch));
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
}

/// Name of a connection for all machines, as the one that does not receive a publication (`echo: false`).
pub(super) fn write_except(node: &str, conn: ConnId) -> String {
    format!("{node}/{conn}")
}

/// The connection of such a name, if it is on this machine.
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
}
