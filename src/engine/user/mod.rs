//! The user half of an engine: what is known of the users that hash to this core, wherever their connections are. Homes
//! ask by hops; the home on the same core asks directly on the message path. Never knows a room or a socket.
//!
//! It counts each user's connections and publishes, exactly and without a lock, since a user is counted on one core. It
//! names the sessions of this core's connections (`sessions`) and looks up in the
//! store what they and calls ask for (`lookups`).

mod effects;
mod lookups;
pub mod sessions;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub use self::effects::UserEffects;
pub use self::lookups::{Lookups, Seeker};
use self::sessions::Sessions;
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::limits::{LIMITER_ENTRY_BYTES, LIMITER_LOOKS_PER_TICK_MAX};
use crate::base::time::Now;
use crate::engine::budget::Budget;
use crate::engine::call::CallAnswer;
use crate::engine::hop::{ConnectRefusal, ToHome, ToOwner, ToUser};
use crate::engine::kept::SessionId;
use crate::engine::placement::core_of;
use crate::engine::random::{NameHashing, Part, Secrets};
use crate::engine::rates::{DueKeys, SlidingWindow};
use crate::engine::settings::Settings;
use crate::engine::table;
use crate::wire::protocol::{Answer, Ask, Refusal};

/// Error text for a publish over the limit of its user.
pub const OVER_MESSAGE_RATE: &str = "message rate limit exceeded for this user";

/// The state of one user.
#[derive(Debug, Default)]
struct KnownUser {
    connections: u32,
    messages: SlidingWindow,
    /// Bytes charged for the window.
    charged: usize,
    /// Whether the user is in the list of those to look at again.
    is_queued: bool,
}

/// The users of one core.
#[derive(Debug)]
pub struct Users {
    settings: Arc<Settings>,
    users: HashMap<UserName, KnownUser, NameHashing>,
    /// Users to look at again: their state may be empty.
    due: DueKeys<UserName>,
    /// Of this core's connections.
    pub sessions: Sessions,
    /// What this core looks up in the store.
    pub lookups: Lookups,
}

/// The core of a user, of `cores` cores.
#[must_use]
pub fn core_of_user(user: &UserName, cores: u16) -> CoreId {
    core_of(user.as_bytes(), cores)
}

impl Users {
    /// No users.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, secrets: &Secrets) -> Self {
        let mut tables = secrets.tables(core, Part::User);
        let users = HashMap::with_hasher(tables.hashing());
        let sessions = Sessions::new(&settings, core, secrets.sessions());
        Self { settings, users, due: DueKeys::default(), sessions, lookups: Lookups::new(core) }
    }

    /// A call wants to see a session.
    pub fn find_session(&mut self, session: SessionId, call: u64, effects: &mut UserEffects<'_>) {
        match self.settings.has_store() {
            true => self.lookups.find_session(session, Seeker::Call(call), effects),
            false => effects.answers.push((call, CallAnswer::Session(Ok(None)))),
        }
    }

    /// Replaces the settings. Counts are kept.
    pub fn set_settings(&mut self, now: Now, settings: Arc<Settings>) {
        let before = std::mem::replace(&mut self.settings, settings);
        let (from, to) = (before.limits.message_rate_per_user, self.settings.limits.message_rate_per_user);
        if from != to {
            self.due.hasten(now.mono_us + to.map_or(0, |rate| rate.per_ms * 1_000));
        }
    }

    /// Handles a hop from a home, on this core or another.
    pub fn handle_hop(&mut self, hop: ToUser, effects: &mut UserEffects<'_>) {
        match hop {
            ToUser::Register { conn, user } => self.register(conn, user, effects),
            ToUser::Forget { user } => self.forget(&user, effects),
            ToUser::Count { users } => {
                for (user, connections) in users {
                    self.user(user, effects.budget).connections += connections;
                }
            }
            ToUser::Pass { hop } => self.pass(hop, effects),
        }
    }

    fn register(&mut self, conn: ConnId, user: UserName, effects: &mut UserEffects<'_>) {
        let max = self.settings.limits.connections_per_user;
        let connections = self.users.get(&user).map_or(0, |user| user.connections);
        let answer = if max > 0 && connections >= max {
            ToHome::ConnectRefused { conn, refusal: ConnectRefusal::UserConnections }
        } else {
            self.user(user.clone(), effects.budget).connections += 1;
            ToHome::UserAdmitted { conn, user }
        };
        effects.outbound.post_to_home(conn.home, answer);
    }

    fn user(&mut self, user: UserName, budget: &mut Budget) -> &mut KnownUser {
        self.users.entry(user).or_insert_with(|| {
            budget.charge(LIMITER_ENTRY_BYTES);
            KnownUser::default()
        })
    }

    fn forget(&mut self, user: &UserName, effects: &mut UserEffects<'_>) {
        let Some(entry) = self.users.get_mut(user) else {
            debug_assert!(false, "a counted user has an entry");
            return;
        };
        entry.connections -= 1;
        if entry.connections == 0 && !entry.is_queued {
            self.remove(user, effects.budget);
        }
    }

    fn remove(&mut self, user: &UserName, budget: &mut Budget) {
        self.users.remove(user);
        table::shrink(&mut self.users);
        budget.release(LIMITER_ENTRY_BYTES);
    }

    /// Counts a publish of a user of this core.
    ///
    /// # Errors
    /// The user is over the limit: milliseconds until a retry succeeds.
    pub fn try_publish(&mut self, user: &UserName, now: Now, budget: &mut Budget) -> Result<(), u64> {
        let Some(rate) = self.settings.limits.message_rate_per_user else { return Ok(()) };
        if !self.users.contains_key(user) {
            self.user(user.clone(), budget);
        }
        let entry = self.users.get_mut(user).expect("made if it was not there");
        let taken = entry.messages.try_take(rate, now.mono_us);
        let bytes = entry.messages.bytes();
        budget.charge(bytes);
        budget.release(std::mem::replace(&mut entry.charged, bytes));
        if !std::mem::replace(&mut entry.is_queued, true) {
            self.due.push(now.mono_us + rate.per_ms * 1_000, user.clone());
        }
        taken
    }

    fn pass(&mut self, hop: Box<ToOwner>, effects: &mut UserEffects<'_>) {
        let conn = hop.conn();
        let answer = match &*hop {
            ToOwner::Ask { room, user, ask: Ask::Publish(_), reply, .. } => {
                match self.try_publish(user, effects.now, effects.budget) {
                    Ok(()) => ToHome::Passed { hop },
                    Err(retry_after_ms) => {
                        let refusal = Refusal::new(ErrorCode::RateLimited, OVER_MESSAGE_RATE);
                        let answer = Answer::Refused(Refusal { retry_after_ms: Some(retry_after_ms), ..refusal });
                        ToHome::Answer { room: room.clone(), conn, answer, reply: *reply }
                    }
                }
            }
            _ => ToHome::Passed { hop },
        };
        effects.outbound.post_to_home(conn.home, answer);
    }

    /// Forgets users with empty state, and asks that have waited too long.
    pub fn tick(&mut self, effects: &mut UserEffects<'_>) {
        self.lookups.tick(effects);
        let now_us = effects.now.mono_us;
        for _ in 0..LIMITER_LOOKS_PER_TICK_MAX {
            let Some(user) = self.due.take_due(now_us) else { break };
            let Some(entry) = self.users.get_mut(&user) else { continue };
            let rate = self.settings.limits.message_rate_per_user;
            if let Some(rate) = rate.filter(|rate| !entry.messages.forget(*rate, now_us)) {
                self.due.push(now_us + rate.per_ms * 1_000, user);
                continue;
            }
            entry.is_queued = false;
            entry.messages = SlidingWindow::default();
            effects.budget.release(std::mem::take(&mut entry.charged));
            if entry.connections == 0 {
                self.remove(&user, effects.budget);
            }
        }
    }

    /// When [`Users::tick`] is due, monotonic microseconds; `None` while nothing waits for time.
    #[must_use]
    pub fn next_tick_us(&self) -> Option<u64> {
        self.due.first_us().into_iter().chain(self.lookups.next_tick_us()).min()
    }

    /// Number of users with state.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.users.len()
    }
}
