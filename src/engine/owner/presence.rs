//! The users present in one room, not connections, and which of them have changed since members were told. Knows no
//! connection by name and sends nothing. In a linked room a user's connections are the sum over all machines; what other
//! machines have reported, and what they must be told, is in [`others`].
//!
//! Members receive changes in rounds, at most one per [`STATUS_INTERVAL_MS`]: a first change within a tick, later ones
//! together. A change undone before its round is not reported, unless a `presence` reply has shown it.

mod others;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use self::others::{Contribution, Contributions, Counts, Others, sum};
use crate::base::ids::UserName;
use crate::base::limits::{
    ABSENT_BYTES, PRESENCE_CHANGES_MAX, STATUS_INTERVAL_MS, STATUSES_AT_ONCE_MAX, TICK_MS, USER_BYTES,
};
use crate::engine::link_port::{Present, UserCounts};
use crate::engine::news::News;
use crate::wire::protocol::{PresentUser, Status};

#[derive(Debug)]
struct Presenter {
    /// Connections that are members, on all machines.
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
    /// `None`: no link.
    others: Option<Box<Others>>,
}

/// What other machines are told of this machine's users.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OwnChanges {
    /// Whatever they were told before is to be forgotten first.
    pub afresh: bool,
    pub changes: Vec<UserCounts>,
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
        let others = self.others.as_ref().map_or(0, |others| others.bytes());
        self.users.len() * USER_BYTES + self.absent_bytes + others
    }

    /// Whether nothing is lost if the room goes that no connection is a member of.
    pub fn may_go(&self) -> bool {
        match &self.others {
            None => self.is_empty(),
            Some(others) => others.untold.is_empty(),
        }
    }

    /// When [`Presence::expire`], [`Presence::take_news`] or [`Presence::take_own_changes`] is wanted, monotonic
    /// milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        let grace = self.graces.first().map(|(due_ms, _)| *due_ms);
        let others = self.others.as_ref().and_then(|others| others.tell_ms);
        grace.into_iter().chain(self.tell_ms).chain(others).min()
    }

    /// Adds a connection of a user.
    pub fn join(&mut self, user: &UserName, away: bool, now_ms: u64) {
        self.appear(user);
        let Some(presenter) = self.users.get_mut(user) else { return };
        presenter.connections += 1;
        presenter.away += u32::from(away);
        self.update(user, now_ms);
        self.note_own(user, now_ms);
    }

    /// The user is there, or about to be: ends the grace of one who was.
    fn appear(&mut self, user: &UserName) {
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
                self.present += 1;
            }
            Some(presenter) if presenter.connections == 0 => {
                self.present += u64::from(presenter.status == Status::Offline);
                if let Some(due_ms) = self.grace_ends.remove(user) {
                    self.graces.remove(&(due_ms, user.clone()));
                }
                self.absent_bytes -= absent_bytes(user);
            }
            Some(_) => {}
        }
    }

    /// Removes a connection of a user.
    pub fn leave(&mut self, user: &UserName, away: bool, grace_ms: u64, now_ms: u64) {
        let Some(presenter) = self.users.get_mut(user).filter(|presenter| presenter.connections > 0) else { return };
        presenter.connections -= 1;
        presenter.away = presenter.away.saturating_sub(u32::from(away)).min(presenter.connections);
        if presenter.connections > 0 {
            self.update(user, now_ms);
        } else {
            self.fade(user, grace_ms, now_ms);
        }
        self.note_own(user, now_ms);
    }

    /// The last connection of a user has gone: the grace begins.
    fn fade(&mut self, user: &UserName, grace_ms: u64, now_ms: u64) {
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
        self.note_own(user, now_ms);
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

/// Rooms of a link.
impl Presence {
    /// Of a room that other machines have too.
    pub fn shared() -> Self {
        Self { others: Some(Box::default()), ..Self::default() }
    }

    /// The other machines are to be told of this user.
    fn note_own(&mut self, user: &UserName, now_ms: u64) {
        if let Some(others) = &mut self.others {
            others.untold.insert(user.clone());
            others.tell_ms.get_or_insert(now_ms + TICK_MS);
        }
    }

    /// What this machine has of a user.
    fn own(&self, user: &str) -> Counts {
        let all = self.users.get(user).map_or_else(Counts::default, |presenter| Counts {
            connections: presenter.connections,
            away: presenter.away,
        });
        all.minus(self.others.as_ref().map_or_else(Counts::default, |others| sum(others.of(user))))
    }

    /// What other machines have not been told, if it is time: at most so much as goes into one message.
    pub fn take_own_changes(&mut self, now_ms: u64) -> Option<OwnChanges> {
        let others = self.others.as_mut().filter(|others| others.tell_ms.is_some_and(|tell_ms| tell_ms <= now_ms))?;
        let afresh = std::mem::take(&mut others.afresh);
        let count = others.untold.len().min(PRESENCE_CHANGES_MAX);
        let users: Vec<UserName> = (0..count).filter_map(|_| others.untold.pop_first()).collect();
        if others.untold.is_empty() {
            others.tell_ms = None;
        }
        let changes = users.into_iter().map(|user| {
            let Counts { connections, away } = self.own(&user);
            UserCounts { user, connections, away }
        });
        Some(OwnChanges { afresh, changes: changes.collect() })
    }

    /// Other machines may have forgotten what they were told: they are told everything again, and what they have told is
    /// not relied on until it has been read again.
    pub fn tell_all_again(&mut self, now_ms: u64) {
        let own = |user: &&UserName| self.own(user) != Counts::default();
        let users: Vec<UserName> = self.users.keys().filter(own).cloned().collect();
        let Some(others) = &mut self.others else { return };
        others.untold.extend(users);
        others.tell_ms = Some(now_ms);
        (others.afresh, others.version, others.heard) = (true, None, 0);
    }

    /// The link has a version. Whether a change up to it was missed.
    pub fn hear_version(&mut self, version: u64) -> bool {
        let Some(others) = &mut self.others else { return false };
        others.heard = others.heard.max(version);
        others.version.is_some_and(|own| own < others.heard)
    }

    /// A life has told how many connections its users have. Whether a change before it was missed; then this one is too.
    pub fn contribute(
        &mut self,
        life: u64,
        (version, changes): (u64, &[UserCounts]),
        grace_ms: u64,
        now_ms: u64,
    ) -> bool {
        let Some(others) = &mut self.others else { return false };
        if others.version.is_none_or(|own| version != own + 1) {
            return self.hear_version(version);
        }
        others.version = Some(version);
        for UserCounts { user, connections, away } in changes {
            let others = self.others.as_ref().map_or(&[][..], |others| others.of(user));
            let mut contributions: Contributions = others.iter().filter(|own| own.life != life).copied().collect();
            if *connections > 0 {
                let counts = Counts { connections: *connections, away: *away };
                contributions.push(Contribution { life, counts });
            }
            self.set_others(user, contributions, grace_ms, now_ms);
        }
        self.hear_version(version)
    }

    /// The users of a life are not there any more.
    pub fn end_life(&mut self, life: u64, grace_ms: u64, now_ms: u64) {
        let users = self.others.as_ref().map_or_else(Vec::new, |others| others.users_of(life));
        for user in users {
            let others = self.others.as_ref().map_or(&[][..], |others| others.of(&user));
            let contributions = others.iter().filter(|own| own.life != life).copied().collect();
            self.set_others(&user, contributions, grace_ms, now_ms);
        }
    }

    /// Takes over what the link holds of all other lives. Whether a later change was missed.
    pub fn replace_others(&mut self, present: &Present, grace_ms: u64, now_ms: u64) -> bool {
        let Some(others) = &mut self.others else { return false };
        if others.version.is_some_and(|own| own > present.version) {
            // An answer from before a change that has come.
            return self.hear_version(present.version);
        }
        others.version = Some(present.version);
        let mut by_user: BTreeMap<UserName, Contributions> = BTreeMap::new();
        by_user.extend(others.users().map(|user| (user.clone(), Contributions::new())));
        for (life, UserCounts { user, connections, away }) in &present.counts {
            let counts = Counts { connections: *connections, away: *away };
            by_user.entry(user.clone()).or_default().push(Contribution { life: *life, counts });
        }
        for (user, contributions) in by_user {
            self.set_others(&user, contributions, grace_ms, now_ms);
        }
        self.hear_version(present.version)
    }

    fn set_others(&mut self, user: &UserName, contributions: Contributions, grace_ms: u64, now_ms: u64) {
        let own = self.own(user);
        let all = own.plus(sum(&contributions));
        let Some(others) = &mut self.others else { return };
        others.set(user, contributions);
        let before = self.users.get(user).map_or(0, |presenter| presenter.connections);
        if before == 0 && all.connections == 0 {
            return;
        }
        self.appear(user);
        let Some(presenter) = self.users.get_mut(user) else { return };
        (presenter.connections, presenter.away) = (all.connections, all.away);
        if all.connections > 0 {
            self.update(user, now_ms);
        } else {
            self.fade(user, grace_ms, now_ms);
        }
    }
}

fn absent_bytes(user: &UserName) -> usize {
    ABSENT_BYTES + user.len()
}

#[cfg(test)]
mod tests;
