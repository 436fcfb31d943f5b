//! A publish as it reaches its room: who may, what was published before under the same key, and who numbers it.

use bytes::Bytes;

use super::OwnerEffects;
use super::answer::{Asker, Refusal};
use super::keys::Keys;
use super::room::Room;
use crate::base::ids::{ConnId, Seq, UserName};
use crate::base::limits::KEY_WINDOW_MS;
use crate::base::time::Now;
use crate::engine::input::Record;
use crate::engine::random::TableKeys;
use crate::engine::trace::Mark;
use crate::wire::encode::encode_ephemeral;
use crate::wire::publication::{Content, Data, DataKind};

/// A publish, as its hop or its call says it.
pub(super) struct Publish {
    /// Who hears what became of it: a member, or a call of the server's own.
    pub asker: Asker,
    pub from: UserName,
    pub kind: DataKind,
    pub data: Bytes,
    pub key: Option<Box<str>>,
    pub echo: bool,
    pub ephemeral: bool,
    pub arrived_us: u64,
    pub trace: Option<Mark>,
}

/// When a publish came, and whether it is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Monotonic microseconds.
    pub us: u64,
    /// Its mark, if it is sampled.
    pub trace: Option<Mark>,
}

impl Arrival {
    /// What another machine or an earlier run was given comes now.
    pub const fn now(now: Now) -> Self {
        Self { us: now.mono_us, trace: None }
    }
}

impl Publish {
    pub fn arrival(&self) -> Arrival {
        Arrival { us: self.arrived_us, trace: self.trace }
    }

    /// The connection to be spared.
    pub fn except(&self) -> Option<ConnId> {
        self.asker.conn().filter(|_| !self.echo)
    }
}

impl Room {
    /// When a publication of now is said to be from: never before an earlier one of the room.
    fn at(&mut self, now: Now) -> u64 {
        self.last_at = self.last_at.max(now.unix_ms);
        self.last_at
    }

    /// What the link or the store is given, and history's frames are made of.
    pub fn record(&mut self, now: Now, publish: Publish, seq: Seq) -> Record {
        let Publish { from, kind, data, key, .. } = publish;
        Record { seq, at: self.at(now), from, kind, data, key, except: None }
    }

    /// Passes on what is not numbered and not kept: to the members on this machine only, for the link carries records.
    pub fn publish_ephemeral(&mut self, now: Now, publish: &Publish, effects: &mut OwnerEffects<'_>) {
        let at = self.last_at.max(now.unix_ms);
        let data = Data { kind: publish.kind, bytes: &publish.data };
        let content = Content::new(&self.name, 0, &publish.from, at, data);
        let frames = encode_ephemeral(&content, self.listeners.readings().forms());
        self.listeners.push(&self.name, &frames, publish.except(), effects);
        effects.counters.broadcasts.add(1);
        publish.asker.published(&self.name, (self.epoch, None), false, effects);
    }

    /// Numbers and delivers at once. `may_remember`: the core has memory for its key, if it has one.
    pub fn publish_at_once(
        &mut self,
        now: Now,
        publish: Publish,
        may_remember: bool,
        table_keys: &mut TableKeys,
        effects: &mut OwnerEffects<'_>,
    ) {
        let (asker, except, arrival) = (publish.asker, publish.except(), publish.arrival());
        if let Some(seq) = self.find_key(now, &publish) {
            asker.published(&self.name, (self.epoch, Some(seq)), true, effects);
            return;
        }
        if !may_remember {
            asker.refuse(&self.name, Refusal::OVERLOADED, effects);
            return;
        }
        let seq = self.history.head() + 1;
        let record = self.record(now, publish, seq);
        self.remember_key(&record.from, record.key.as_deref(), seq, now.mono_ms() + KEY_WINDOW_MS, table_keys);
        self.accept(now, &record, except, arrival, effects);
        asker.published(&self.name, (self.epoch, Some(seq)), false, effects);
    }

    /// The seq given before to this user's key.
    pub fn find_key(&mut self, now: Now, publish: &Publish) -> Option<Seq> {
        let (keys, key) = (self.keys.as_mut()?, publish.key.as_deref()?);
        keys.expire(now.mono_ms());
        keys.find(&publish.from, key)
    }

    /// Remembers a publish's key, if it has one, until `expires_ms` (monotonic).
    pub fn remember_key(
        &mut self,
        user: &UserName,
        key: Option<&str>,
        seq: Seq,
        expires_ms: u64,
        table_keys: &mut TableKeys,
    ) {
        if let Some(key) = key {
            let keys = self.keys.get_or_insert_with(|| Box::new(Keys::new(table_keys.hashing())));
            keys.remember(user, key, seq, expires_ms);
        }
    }

    /// Forgets the key of a publish that failed.
    pub fn forget_key(&mut self, user: &UserName, key: Option<&str>) {
        if let (Some(keys), Some(key)) = (&mut self.keys, key) {
            keys.forget(user, key);
        }
    }

    /// Refuses what is more than one room may carry.
    pub fn refuse_haste(&mut self, now: Now, publish: &Publish, effects: &mut OwnerEffects<'_>) -> bool {
        let Some(rate) = self.settings.message_rate else { return false };
        let Err(retry_after_ms) = self.pace.try_take(rate, now.mono_us) else { return false };
        publish.asker.refuse(&self.name, Refusal::too_often(retry_after_ms), effects);
        true
    }

    /// Refuses who is no member: a home may publish before it hears that its join was refused.
    pub fn refuse_stranger(&self, publish: &Publish, effects: &mut OwnerEffects<'_>) -> bool {
        let stranger = publish.asker.conn().is_some_and(|conn| !self.listeners.contains(conn));
        if stranger {
            publish.asker.refuse(&self.name, Refusal::NOT_JOINED, effects);
        }
        stranger
    }
}
