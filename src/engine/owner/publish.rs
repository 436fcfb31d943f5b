//! The path of a publish through its room: permission, idempotency key, numbering and keeping.

use smallvec::{SmallVec, smallvec};

use super::OwnerEffects;
use super::answer::Asker;
use super::awaited::{Awaited, AwaitedPublish};
use super::linked::{Linked, write_except};
use super::room::{Keeping, Numbering, Room};
use super::room_id::RoomId;
use super::stored::{Stored, Uncommitted};
use super::stream::{Arrival, Stream};
use crate::base::ids::{ConnId, Position, Seq, UserName};
use crate::base::limits::{ASK_AGAIN_MS, PENDING_PER_ROOM_MAX, UNAVAILABLE_RETRY_MS};
use crate::engine::link_port::{LinkFailure, LinkRequest};
use crate::engine::record::Record;
use crate::wire::encode::encode_ephemeral;
use crate::wire::protocol::{Answer, Publish, Refusal};
use crate::wire::publication::{Content, Data, Publication};

/// A publish without a seq.
pub(super) struct Post {
    /// Receives the answer: a member, or a call.
    pub asker: Asker,
    pub from: UserName,
    pub arrival: Arrival,
    pub publish: Publish,
}

impl Post {
    /// The connection that does not receive the publication.
    fn except(&self) -> Option<ConnId> {
        self.asker.conn().filter(|_| !self.publish.echo)
    }

    fn key(&self) -> Option<&str> {
        self.publish.key.as_deref()
    }

    /// The record with this seq and time.
    fn into_record(self, seq: Seq, at: u64) -> Record {
        let Publish { kind, data, key, .. } = self.publish;
        Record { seq, at, from: self.from, kind, data, key, except: None }
    }
}

/// Whether the core has memory for a publish.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// For its idempotency key, if it has one.
    pub for_key: bool,
    /// For all of it, while it waits for the link or the store.
    pub for_wait: bool,
}

impl Room {
    /// Publishes, or refuses. A publish that the link must number is added to `awaited`.
    pub fn publish(
        &mut self,
        post: Post,
        memory: Memory,
        (id, awaited): (RoomId, &mut Awaited),
        effects: &mut OwnerEffects<'_>,
    ) {
        if let Err(refusal) = self.admit(post.asker, effects.now) {
            return post.asker.refuse(&self.stream.name, refusal, effects);
        }
        if post.publish.ephemeral {
            return publish_ephemeral(&self.stream, &post, effects);
        }
        let stream = &mut self.stream;
        match (&mut self.numbering, &mut self.keeping) {
            (Numbering::Own, Keeping::None) => publish_at_once(stream, post, memory, effects),
            (Numbering::Own, Keeping::Store(stored)) if stored.delays_answers() => {
                publish_on_commit(stream, stored, post, memory, effects);
            }
            (Numbering::Own, Keeping::Store(stored)) => publish_behind(stream, stored, post, memory, effects),
            (Numbering::Link(linked), keeping) => {
                if let Err(refusal) = may_link(linked, keeping, memory) {
                    return post.asker.refuse(&stream.name, refusal, effects);
                }
                let (asker, except) = (post.asker, post.except());
                let known = linked.add_publishing(asker.conn(), stream);
                let mut record = post.into_record(0, stream.at(effects.now));
                record.except = except.map(|conn| write_except(effects.node, conn).into());
                let kept = matches!(keeping, Keeping::Store(_)).then(|| Record { except: None, ..record.clone() });
                let token = awaited.add(AwaitedPublish { room: id, asker, kept, known });
                effects.link.push(LinkRequest::Publish { token, room: stream.name.clone(), record });
            }
        }
    }

    /// Handles the link's answer to a publish.
    pub fn handle_published(
        &mut self,
        AwaitedPublish { asker, kept, known, .. }: AwaitedPublish,
        result: Result<(Position, bool), LinkFailure>,
        effects: &mut OwnerEffects<'_>,
    ) {
        let (Numbering::Link(linked), stream) = (&mut self.numbering, &mut self.stream) else { return };
        let (head, now) = (stream.head(), effects.now);
        let (position, is_duplicate) = match result {
            Ok(done) => done,
            Err(LinkFailure { retry_after_ms }) => {
                asker.refuse(&stream.name, Refusal::unavailable(retry_after_ms), effects);
                return linked.handle_answered(asker.conn(), None, head);
            }
        };
        if !linked.note_numbered(stream, (position, is_duplicate), known, effects) {
            // Members may have seen another publication with this number.
            asker.refuse(&stream.name, Refusal::unavailable(ASK_AGAIN_MS), effects);
            return linked.handle_answered(asker.conn(), None, head);
        }
        let (Keeping::Store(stored), Some(mut record)) = (&mut self.keeping, kept) else {
            asker.published(&stream.name, position, is_duplicate, effects);
            return linked.handle_answered(asker.conn(), Some(position), head);
        };
        if is_duplicate {
            if !stored.delays_answers() {
                asker.published(&stream.name, position, true, effects);
                linked.handle_answered(asker.conn(), Some(position), head);
            }
            let waiter = stored.delays_answers().then_some(asker);
            return self.keep_first(position, waiter, effects);
        }
        record.seq = position.seq;
        let mut waiters = SmallVec::new();
        if stored.delays_answers() {
            waiters.push((asker, is_duplicate));
        } else {
            asker.published(&stream.name, position, is_duplicate, effects);
            linked.handle_answered(asker.conn(), Some(position), head);
        }
        let (epoch, except, arrival) = (position.epoch, None, Arrival::now(now));
        stored.append(stream, Uncommitted { epoch, record, except, arrival, waiters, is_shown: true }, effects);
    }
}

impl Room {
    /// Sends the store the row of the first publish with a known key, since its machine may have ended before it did.
    /// `waiter` is answered after the commit, or at once if the first publication is no longer in memory.
    fn keep_first(&mut self, position: Position, waiter: Option<Asker>, effects: &mut OwnerEffects<'_>) {
        let (Numbering::Link(linked), Keeping::Store(stored)) = (&mut self.numbering, &mut self.keeping) else {
            return;
        };
        let (stream, head) = (&self.stream, self.stream.head());
        if stored.join(position, waiter) {
            return;
        }
        let is_own = position.epoch == head.epoch;
        if is_own && let Some(first) = stream.history.get(position.seq) {
            let waiters = waiter.map(|asker| (asker, true)).into_iter().collect();
            let (record, except, arrival) = (record_of(first), None, Arrival::now(effects.now));
            let uncommitted = Uncommitted { epoch: position.epoch, record, except, arrival, waiters, is_shown: true };
            return stored.append(stream, uncommitted, effects);
        }
        let Some(asker) = waiter else { return };
        if is_own && position.seq > head.seq {
            return stored.park(position, asker);
        }
        match is_own {
            true => asker.published(&stream.name, position, true, effects),
            false => asker.refuse(&stream.name, Refusal::unavailable(UNAVAILABLE_RETRY_MS), effects),
        }
        linked.handle_answered(asker.conn(), Some(position), head);
    }

    /// Continues publishes whose first publication has come, or was lost with its epoch.
    pub(super) fn keep_parked(&mut self, effects: &mut OwnerEffects<'_>) {
        let Keeping::Store(stored) = &mut self.keeping else { return };
        for (position, asker) in stored.take_parked(self.stream.head()) {
            self.keep_first(position, Some(asker), effects);
        }
    }
}

/// The record of a delivered publication.
fn record_of(publication: &Publication) -> Record {
    let Publication { seq, at, from, kind, data, key, .. } = publication.clone();
    Record { seq, at, from, kind, data, key, except: None }
}

/// Checks the bounds for one more publish at the link, and at the store behind it.
fn may_link(linked: &Linked, keeping: &Keeping, memory: Memory) -> Result<(), Refusal> {
    if linked.publishing() >= PENDING_PER_ROOM_MAX || !memory.for_wait {
        return Err(Refusal::OVERLOADED);
    }
    match keeping {
        Keeping::Store(stored) => stored.refusal(memory.for_wait).map_or(Ok(()), Err),
        Keeping::None => Ok(()),
    }
}

/// Sends an ephemeral message to the members on this machine.
fn publish_ephemeral(stream: &Stream, post: &Post, effects: &mut OwnerEffects<'_>) {
    let at = stream.last_at.max(effects.now.unix_ms);
    let data = Data { kind: post.publish.kind, bytes: &post.publish.data };
    let content = Content::new(&stream.name, 0, &post.from, at, data);
    let frames = encode_ephemeral(&content, stream.listeners.readings().forms());
    stream.listeners.push(&stream.name, &frames, post.except(), effects);
    effects.counters.broadcasts.add(1);
    let answer = Answer::Published { epoch: stream.epoch, seq: None, duplicate: false };
    post.asker.answer(&stream.name, answer, effects);
}

/// Numbers and delivers at once; kept in history only.
fn publish_at_once(stream: &mut Stream, post: Post, memory: Memory, effects: &mut OwnerEffects<'_>) {
    if is_answered(stream, &post, memory, effects) {
        return;
    }
    let (asker, except, arrival) = (post.asker, post.except(), post.arrival);
    let record = post.into_record(stream.history.head() + 1, stream.at(effects.now));
    stream.remember_key(&record, effects);
    stream.accept(&record, except, arrival, effects);
    asker.published(&stream.name, Position { epoch: stream.epoch, seq: record.seq }, false, effects);
}

/// Numbers and delivers at once, and sends it to the store afterwards.
fn publish_behind(
    stream: &mut Stream,
    stored: &mut Stored,
    post: Post,
    memory: Memory,
    effects: &mut OwnerEffects<'_>,
) {
    if is_answered(stream, &post, memory, effects) {
        return;
    }
    if let Some(refusal) = stored.refusal(memory.for_wait) {
        return post.asker.refuse(&stream.name, refusal, effects);
    }
    let (asker, except, arrival) = (post.asker, post.except(), post.arrival);
    let record = post.into_record(stream.history.head() + 1, stream.at(effects.now));
    stream.remember_key(&record, effects);
    stream.accept(&record, except, arrival, effects);
    asker.published(&stream.name, Position { epoch: stream.epoch, seq: record.seq }, false, effects);
    let (epoch, waiters) = (stream.epoch, SmallVec::new());
    stored.append(stream, Uncommitted { epoch, record, except, arrival, waiters, is_shown: true }, effects);
}

/// Numbers it and sends it to the store. It is delivered and acknowledged when it is committed.
fn publish_on_commit(
    stream: &mut Stream,
    stored: &mut Stored,
    post: Post,
    memory: Memory,
    effects: &mut OwnerEffects<'_>,
) {
    let (asker, except, arrival) = (post.asker, post.except(), post.arrival);
    let head = stream.history.head();
    let known = stream.find_key(&post.from, post.key(), effects.now);
    if let Some(seq) = known.filter(|seq| *seq <= head) {
        return asker.published(&stream.name, Position { epoch: stream.epoch, seq }, true, effects);
    }
    if let Some(refusal) = stored.refusal(memory.for_wait) {
        return asker.refuse(&stream.name, refusal, effects);
    }
    if let Some(first) = known {
        stored.join(Position { epoch: stream.epoch, seq: first }, Some(asker));
        return;
    }
    let record = post.into_record(stored.next_seq(head), stream.at(effects.now));
    stream.remember_key(&record, effects);
    let (epoch, waiters) = (stream.epoch, smallvec![(asker, false)]);
    stored.append(stream, Uncommitted { epoch, record, except, arrival, waiters, is_shown: false }, effects);
}

/// Answers a publish with a known key, and one whose key cannot be remembered. Returns whether it was answered.
fn is_answered(stream: &mut Stream, post: &Post, memory: Memory, effects: &mut OwnerEffects<'_>) -> bool {
    if let Some(seq) = stream.find_key(&post.from, post.key(), effects.now) {
        post.asker.published(&stream.name, Position { epoch: stream.epoch, seq }, true, effects);
        return true;
    }
    if !memory.for_key {
        post.asker.refuse(&stream.name, Refusal::OVERLOADED, effects);
    }
    !memory.for_key
}
