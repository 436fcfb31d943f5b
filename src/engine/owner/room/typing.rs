//! The users who are typing in a room. Members are told when a user starts, and when the user stops or [`TYPING_MS`]
//! have passed.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::ids::{ConnId, UserName};
use crate::base::limits::OVERLOADED_RETRY_MS;
use crate::engine::owner::OwnerEffects;
use crate::engine::owner::answer::Origin;
use crate::engine::owner::stream::Stream;
use crate::wire::encode::encode_pushes;
use crate::wire::protocol::{Answer, Push, Refusal};

/// How long a user counts as typing after the last `active: true`.
const TYPING_MS: u64 = 5_000;

/// Maximum number of typing users per room. Further ones are refused.
const TYPISTS_MAX: usize = 1_024;

/// Bytes of one typing user for the budget, without the name.
const TYPIST_BYTES: usize = 128;

#[derive(Clone, Debug)]
struct Typist {
    /// The connection that sent it, which receives no push; `None` for the control address.
    conn: Option<ConnId>,
    /// When it ends, monotonic milliseconds.
    until_ms: u64,
}

/// The users who are typing.
#[derive(Debug, Default)]
pub(super) struct Typists {
    by_user: BTreeMap<UserName, Typist>,
    /// The same users, by the time it ends.
    ends: BTreeSet<(u64, UserName)>,
    name_bytes: usize,
}

impl Typists {
    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.by_user.len() * TYPIST_BYTES + self.name_bytes
    }

    /// When it ends for the first of them, monotonic milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        self.ends.first().map(|(until_ms, _)| *until_ms)
    }

    /// Whether there is room for this user.
    fn has_place_for(&self, user: &UserName) -> bool {
        self.by_user.len() < TYPISTS_MAX || self.by_user.contains_key(user)
    }

    fn insert(&mut self, user: UserName, typist: Typist) {
        self.remove(&user);
        self.name_bytes += user.len();
        self.ends.insert((typist.until_ms, user.clone()));
        self.by_user.insert(user, typist);
    }

    fn remove(&mut self, user: &UserName) {
        if let Some((user, typist)) = self.by_user.remove_entry(user) {
            self.name_bytes -= user.len();
            self.ends.remove(&(typist.until_ms, user));
        }
    }

    /// Removes one user whose time has passed.
    fn take_over(&mut self, now_ms: u64) -> Option<(UserName, Typist)> {
        let (_, user) = self.ends.first().filter(|(until_ms, _)| *until_ms <= now_ms)?.clone();
        let typist = self.by_user.get(&user)?.clone();
        self.remove(&user);
        Some((user, typist))
    }
}

/// Tells the other members that a user started or stopped typing.
pub(super) fn show(
    typing: &mut Option<Box<Typists>>,
    stream: &Stream,
    Origin { asker, user, .. }: Origin,
    active: bool,
    effects: &mut OwnerEffects<'_>,
) {
    let conn = asker.conn();
    if active {
        let typists = typing.get_or_insert_default();
        if !typists.has_place_for(&user) || effects.budget.is_tight() {
            let refusal = Refusal { retry_after_ms: Some(OVERLOADED_RETRY_MS), ..Refusal::OVERLOADED };
            return asker.refuse(&stream.name, refusal, effects);
        }
        typists.insert(user.clone(), Typist { conn, until_ms: effects.now.mono_ms() + TYPING_MS });
    } else if let Some(typists) = typing {
        typists.remove(&user);
    }
    push(stream, &user, active, conn, effects);
    asker.answer(&stream.name, Answer::Typing, effects);
}

/// Tells members about users whose time has passed.
pub(super) fn end(typing: &mut Option<Box<Typists>>, stream: &Stream, effects: &mut OwnerEffects<'_>) {
    let now_ms = effects.now.mono_ms();
    while let Some((user, typist)) = typing.as_mut().and_then(|typists| typists.take_over(now_ms)) {
        push(stream, &user, false, typist.conn, effects);
    }
    typing.take_if(|typists| typists.by_user.is_empty());
}

fn push(stream: &Stream, user: &UserName, active: bool, except: Option<ConnId>, effects: &mut OwnerEffects<'_>) {
    let (room, listeners) = (&stream.name, &stream.listeners);
    let frames = encode_pushes(&[Push::Typing { room, user, active }], listeners.readings().forms());
    listeners.push(room, &frames, except, effects);
}
