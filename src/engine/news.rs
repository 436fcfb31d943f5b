//! Presence and typing news of one room, and who has missed some. Owners keep it for cores whose lane was full, homes
//! for members whose outbox was full. Knows no socket and no lane.
//!
//! A change is reported by name, or by total where names would be too many; names reported before a total are then out
//! of date. A reader that missed news receives the newest state later: one status per user, however often it changed,
//! or the total once there are too many. So the memory is bounded by the room, not by time.

use std::collections::BTreeMap;

use crate::base::ids::{RoomName, UserName};
use crate::base::limits::{MISSED_MEMBER_BYTES, MISSED_NAME_BYTES, MISSED_NAMES_MAX};
use crate::wire::encode::encode_pushes;
use crate::wire::form::{Forms, Frames};
use crate::wire::protocol::{Push, Status};

/// News reported at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Users present.
    pub total: u64,
    /// The users who changed, each once. `None`: not reported by name.
    pub changes: Option<Vec<(UserName, Status)>>,
}

impl News {
    /// The pushes in the wanted forms, in one buffer per form.
    #[must_use]
    pub fn encode(&self, room: &RoomName, forms: Forms) -> Frames {
        let Some(changes) = &self.changes else {
            return encode_pushes(&[Push::Total { room, total: self.total }], forms);
        };
        let pushes: Vec<_> =
            changes.iter().map(|(user, status)| Push::Status { room, user, status: *status }).collect();
        encode_pushes(&pushes, forms)
    }
}

/// What a reader has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Since {
    /// The total first, since names from before it are out of date.
    total: bool,
    /// Then the users whose last change has this number or a higher one.
    number: u64,
}

/// The newest news of one room that some reader (a `K`) has missed.
#[derive(Debug)]
pub struct Missed<K> {
    /// The last change of each user, by its number.
    changes: BTreeMap<UserName, (u64, Status)>,
    behind: BTreeMap<K, Since>,
    /// The number of the next change.
    next: u64,
    total: u64,
}

impl<K> Default for Missed<K> {
    fn default() -> Self {
        Self { changes: BTreeMap::new(), behind: BTreeMap::new(), next: 0, total: 0 }
    }
}

impl<K: Ord + Copy> Missed<K> {
    /// Whether every reader has all news.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.behind.is_empty()
    }

    /// Whether a reader has missed something.
    #[must_use]
    pub fn is_behind(&self, key: K) -> bool {
        self.behind.contains_key(&key)
    }

    /// The readers that have missed something.
    pub fn behind(&self) -> impl Iterator<Item = K> + '_ {
        self.behind.keys().copied()
    }

    /// Bytes for the budget.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.changes.len() * MISSED_NAME_BYTES + self.behind.len() * MISSED_MEMBER_BYTES
    }

    /// Adds news that these readers have missed. Readers already behind miss it too, or receive it twice.
    pub fn note(&mut self, news: &News, missed_by: impl IntoIterator<Item = K>) {
        let number = self.next;
        for key in missed_by {
            self.behind.entry(key).or_insert(Since { total: false, number });
        }
        if self.behind.is_empty() {
            return;
        }
        self.total = news.total;
        let Some(changes) = &news.changes else { return self.give_up_names() };
        for (user, status) in changes {
            self.changes.insert(user.clone(), (self.next, *status));
            self.next += 1;
        }
        if self.changes.len() > MISSED_NAMES_MAX {
            let first = self.behind.values().map(|since| since.number).min().unwrap_or(self.next);
            self.changes.retain(|_, (number, _)| *number >= first);
        }
        if self.changes.len() > MISSED_NAMES_MAX {
            self.give_up_names();
        }
    }

    /// Every reader that is behind will receive the total.
    fn give_up_names(&mut self) {
        self.changes.clear();
        for since in self.behind.values_mut() {
            *since = Since { total: true, number: self.next };
        }
    }

    /// What a reader has missed, in the order of reporting: at most `count` changes; the rest stays missed. Empty if
    /// nothing is left.
    pub fn take(&mut self, key: K, count: usize) -> Vec<News> {
        let total = self.total;
        let Some(since) = self.behind.get_mut(&key) else { return Vec::new() };
        let mut news = Vec::new();
        if std::mem::take(&mut since.total) {
            news.push(News { total, changes: None });
        }
        let later = self.changes.iter().filter(|(_, (number, _))| *number >= since.number);
        let mut later: Vec<_> = later.map(|(user, (number, status))| (*number, user.clone(), *status)).collect();
        later.sort_unstable_by_key(|(number, ..)| *number);
        match later.get(count) {
            Some((number, ..)) => since.number = *number,
            None => self.forget(key),
        }
        later.truncate(count);
        if !later.is_empty() {
            let changes = later.into_iter().map(|(_, user, status)| (user, status)).collect();
            news.push(News { total, changes: Some(changes) });
        }
        news
    }

    /// Forgets a reader.
    pub fn forget(&mut self, key: K) {
        self.behind.remove(&key);
        if self.behind.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests;
