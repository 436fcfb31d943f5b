//! The users present in one room, not connections, and which of them have changed since members were told. Knows no
//! connection by name and sends nothing.
//!
//! Members receive changes in rounds, at most one per [`STATUS_INTERVAL_MS`]: a first change within a tick, later ones
//! together. A change undone before its round is not reported, unless a `presence` reply has shown it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use crate::base::ids::UserName;
use crate::base::limits::{ABSENT_BYTES, STATUS_INTERVAL_MS, STATUSES_AT_ONCE_MAX, TICK_MS, USER_BYTES};
use crate::engine::news::News;
use crate::wire::protocol::{PresentUser, Status};

#[derive(Debug)]
struct Presenter {
    /// Connections that are members.
    connections: u32,
    /// Connections among them that are away.
    away: u32,
    /// The current status. Kept during the grace period.
    status: Status,
    /// The status that members were told last.
    told: Status,
    /// A reply has shown someone a status other than `told` since.
    shown: bool,
    /// Whether the user is in `changed`.
    changed: bool,
}

// There is one for each user in a room. README and DESIGN section 8 give bytes per idle connection.
const _: () = assert!(size_of::<Presenter>() <= 12);

/// The users of one room.
#[derive(Debug, Default)]
pub(super) struct Presence {
    users: BTreeMap<UserName, Presenter>,
    /// Users who are not offline.
    present: u64,
    /// Bytes for the budget of users without connections.
    absent_bytes: usize,
    /// Running grace periods, by their ends (monotonic milliseconds): at most one per user.
    graces: BTreeSet<(u64, UserName)>,
    /// When they end. Kept apart from `users`, since most users have none.
    grace_ends: BTreeMap<UserName, u64>,
    /// Users whose status may differ from what members were told, in the order of their changes.
    changed: VecDeque<UserName>,
    /// When the next round is due, monotonic milliseconds.
    tell_ms: Option<u64>,
    /// The earliest time of the next round, monotonic milliseconds.
    rest_until_ms: u64,
}

impl Presence {
    /// Users present, including those in their grace period: members have not been told that they left.
    pub fn present(&self) -> u64 {
        self.present
    }

    /// Whether no user is present and nothing is left to report.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Bytes for the budget, apart from those of member connections.
    pub fn bytes(&self) -> usize {
        self.users.len() * USER_BYTES + self.absent_bytes
    }

    /// When [`Presence::expire`] or [`Presence::take_news`] is due, monotonic milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        let grace = self.graces.first().map(|(due_ms, _)| *due_ms);
        grace.into_iter().chain(self.tell_ms).min()
    }

    /// Adds a connection of a user.
    pub fn join(&mut self, user: &UserName, away: bool, now_ms: u64) {
        match self.users.get(user) {
            None => {
                let presenter = Presenter {
                    connections: 0,
                    away: 0,
                    status: Status::Offline,
                    told: Status::Offline,
                    shown: false,
                    changed: false,
                };
                self.users.insert(user.clone(), presenter);
            }
            Some(presenter) if presenter.connections == 0 => {
                if let Some(due_ms) = self.grace_ends.remove(user) {
                    self.graces.remove(&(due_ms, user.clone()));
                }
                self.absent_bytes -= absent_bytes(user);
            }
            Some(_) => {}
        }
        let Some(presenter) = self.users.get_mut(user) else { return };
        if presenter.status == Status::Offline {
            self.present += 1;
        }
        presenter.connections += 1;
        presenter.away += u32::from(away);
        self.update(user, now_ms);
    }

    /// Removes a connection of a user.
    pub fn leave(&mut self, user: &UserName, away: bool, grace_ms: u64, now_ms: u64) {
        let Some(presenter) = self.users.get_mut(user).filter(|presenter| presenter.connections > 0) else { return };
        presenter.connections -= 1;
        presenter.away = presenter.away.saturating_sub(u32::from(away)).min(presenter.connections);
        if presenter.connections > 0 {
            self.update(user, now_ms);
            return;
        }
        self.graces.insert((now_ms + grace_ms, user.clone()));
        self.grace_ends.insert(user.clone(), now_ms + grace_ms);
        self.absent_bytes += absent_bytes(user);
        self.expire(now_ms);
    }

    /// The user went away or came back on a connection.
    pub fn set_away(&mut self, user: &UserName, away: bool, now_ms: u64) {
        let Some(presenter) = self.users.get_mut(user) else { return };
        presenter.away =
            if away { (presenter.away + 1).min(presenter.connections) } else { presenter.away.saturating_sub(1) };
        self.update(user, now_ms);
    }

    /// Ends grace periods that have passed.
    pub fn expire(&mut self, now_ms: u64) {
        while self.graces.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms) {
            let Some((_, user)) = self.graces.pop_first() else { break };
            self.grace_ends.remove(&user);
            let Some(presenter) = self.users.get_mut(&user) else { continue };
            presenter.status = Status::Offline;
            self.present -= 1;
            self.mark(&user, now_ms);
        }
    }

    /// The next round, if it is due and something has changed: by name, or as a total if there are more than
    /// `names_max` members, or more changes than one round reports.
    pub fn take_news(&mut self, members: usize, names_max: usize, now_ms: u64) -> Option<News> {
        self.tell_ms.take_if(|tell_ms| *tell_ms <= now_ms)?;
        let by_name = members <= names_max && self.changed.len() <= names_max.max(STATUSES_AT_ONCE_MAX);
        let (mut changes, mut any) = (Vec::new(), false);
        for user in std::mem::take(&mut self.changed) {
            let Some(presenter) = self.users.get_mut(&user) else { continue };
            presenter.changed = false;
            let status = presenter.status;
            let is_news = std::mem::take(&mut presenter.shown) || status != presenter.told;
            presenter.told = status;
            if status == Status::Offline {
                self.users.remove(&user);
                self.absent_bytes -= absent_bytes(&user);
            }
            any |= is_news;
            if is_news && by_name {
                changes.push((user, status));
            }
        }
        if !any {
            return None;
        }
        self.rest_until_ms = now_ms + STATUS_INTERVAL_MS;
        Some(News { total: self.present, changes: by_name.then_some(changes) })
    }

    /// Users present whose names sort after `after`, by name, at most `count`. If a member receives them (`is_told`),
    /// any later change is reported.
    pub fn page(&mut self, after: Option<&str>, count: usize, is_told: bool) -> Vec<PresentUser> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        for (user, presenter) in self.users.range_mut::<str, _>((start, Bound::Unbounded)) {
            if page.len() == count {
                break;
            }
            // The page also shows that a user is absent.
            presenter.shown |= is_told && presenter.status != presenter.told;
            if presenter.status != Status::Offline {
                let (user, status) = (user.clone(), presenter.status);
                page.push(PresentUser { user, status, connections: presenter.connections });
            }
        }
        page
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
        self.tell_ms.get_or_insert(self.rest_until_ms.max(now_ms + TICK_MS));
    }
}

fn absent_bytes(user: &UserName) -> usize {
    ABSENT_BYTES + user.len()
}

#[cfg(test)]
mod tests;
