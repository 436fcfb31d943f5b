//! Who is in one room: users, not connections, and which of them changed since the members were told. Knows no
//! connection by name and sends nothing.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::base::ids::UserName;
use crate::base::limits::{ABSENT_BYTES, TICK_MS, USER_BYTES};
use crate::wire::push::Status;
use crate::wire::reply::PresentUser;

#[derive(Debug)]
struct Presenter {
    /// Connections that are members.
    connections: u32,
    /// Those of them that say they are away.
    away: u32,
    /// How often the last connection has gone: tells a grace that counts from one that a return has ended.
    departures: u32,
    /// What holds now; kept through the grace.
    status: Status,
    /// What the members were told last.
    told: Status,
    /// Whether the user stands in `changed`.
    changed: bool,
}

#[derive(Debug)]
struct Departure {
    /// When the grace ends, monotonic milliseconds.
    due_ms: u64,
    user: UserName,
    number: u32,
}

/// The users of one room.
#[derive(Debug, Default)]
pub(super) struct Presence {
    users: BTreeMap<UserName, Presenter>,
    /// Users who are not offline.
    present: u64,
    /// Graces under way, in the order in which they end (all graces of a room are equally long).
    departures: VecDeque<Departure>,
    /// Users whose status may differ from what was told, in the order of their changes.
    changed: VecDeque<UserName>,
    /// When they are told, monotonic milliseconds.
    tell_ms: Option<u64>,
}

impl Presence {
    /// Users present: those in their grace too, for nobody has been told that they left.
    pub fn present(&self) -> u64 {
        self.present
    }

    /// Whether nobody is present and nothing is left to be told.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Bytes for the budget, beside those of connections that are members.
    pub fn bytes(&self) -> usize {
        self.users.len() * USER_BYTES + self.departures.len() * ABSENT_BYTES
    }

    /// When [`Presence::expire`] or [`Presence::take_changes`] is wanted, monotonic milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        let grace = self.departures.front().map(|departure| departure.due_ms);
        grace.into_iter().chain(self.tell_ms).min()
    }

    /// One more connection of a user.
    pub fn join(&mut self, user: &UserName, away: bool, now_ms: u64) {
        let presenter = self.users.entry(user.clone()).or_insert(Presenter {
            connections: 0,
            away: 0,
            departures: 0,
            status: Status::Offline,
            told: Status::Offline,
            changed: false,
        });
        if presenter.status == Status::Offline {
            self.present += 1;
        }
        presenter.connections += 1;
        presenter.away += u32::from(away);
        self.update(user, now_ms);
    }

    /// One connection less.
    pub fn leave(&mut self, user: &UserName, away: bool, grace_ms: u64, now_ms: u64) {
        let Some(presenter) = self.users.get_mut(user).filter(|presenter| presenter.connections > 0) else { return };
        presenter.connections -= 1;
        presenter.away = presenter.away.saturating_sub(u32::from(away)).min(presenter.connections);
        if presenter.connections > 0 {
            self.update(user, now_ms);
            return;
        }
        presenter.departures = presenter.departures.wrapping_add(1);
        let departure = Departure { due_ms: now_ms + grace_ms, user: user.clone(), number: presenter.departures };
        self.departures.push_back(departure);
        self.expire(now_ms);
    }

    /// A connection went away or came back.
    pub fn set_away(&mut self, user: &UserName, away: bool, now_ms: u64) {
        let Some(presenter) = self.users.get_mut(user) else { return };
        presenter.away =
            if away { (presenter.away + 1).min(presenter.connections) } else { presenter.away.saturating_sub(1) };
        self.update(user, now_ms);
    }

    /// Ends the graces that have passed.
    pub fn expire(&mut self, now_ms: u64) {
        while self.departures.front().is_some_and(|departure| departure.due_ms <= now_ms) {
            let Some(Departure { user, number, .. }) = self.departures.pop_front() else { break };
            let Some(presenter) = self.users.get_mut(&user) else { continue };
            if presenter.connections > 0 || presenter.departures != number {
                continue;
            }
            presenter.status = Status::Offline;
            self.present -= 1;
            self.mark(&user, now_ms);
        }
    }

    /// The changes to be told, if it is time: at most `count`, the rest at the next tick. A change that was undone in
    /// between is none.
    pub fn take_changes(&mut self, count: usize, now_ms: u64) -> Vec<(UserName, Status)> {
        if self.tell_ms.is_none_or(|tell_ms| tell_ms > now_ms) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        while changes.len() < count {
            let Some(user) = self.changed.pop_front() else { break };
            let Some(presenter) = self.users.get_mut(&user) else { continue };
            presenter.changed = false;
            let (status, told) = (presenter.status, std::mem::replace(&mut presenter.told, presenter.status));
            if status == Status::Offline {
                self.users.remove(&user);
            }
            if status != told {
                changes.push((user, status));
            }
        }
        if self.changed.is_empty() {
            self.changed = VecDeque::new();
            self.tell_ms = None;
        } else {
            self.tell_ms = Some(now_ms + TICK_MS);
        }
        changes
    }

    /// Users present whose names sort after `after`, by name, at most `count`.
    pub fn page(&self, after: Option<&str>, count: usize) -> Vec<PresentUser> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let present = self.users.range::<str, _>((start, Bound::Unbounded));
        let present = present.filter(|(_, presenter)| presenter.status != Status::Offline);
        present
            .take(count)
            .map(|(user, presenter)| PresentUser {
                user: user.clone(),
                status: presenter.status,
                connections: presenter.connections,
            })
            .collect()
    }

    fn update(&mut self, user: &UserName, now_ms: u64) {
        let Some(presenter) = self.users.get_mut(user).filter(|presenter| presenter.connections > 0) else { return };
        let all_away = presenter.away == presenter.connections;
        presenter.status = if all_away { Status::Away } else { Status::Online };
        self.mark(user, now_ms);
    }

    fn mark(&mut self, user: &UserName, now_ms: u64) {
        let Some(presenter) = self.users.get_mut(user) else { return };
        if presenter.changed || presenter.status == presenter.told {
            return;
        }
        presenter.changed = true;
        self.changed.push_back(user.clone());
        self.tell_ms.get_or_insert(now_ms + TICK_MS);
    }
}

#[cfg(test)]
mod tests;
