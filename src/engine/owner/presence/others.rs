//! What one room's presence has with other machines: what they have told of their users, and whose counts of this machine
//! they have not been told. Only rooms of a link have it.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use crate::base::ids::UserName;
use crate::base::limits::{CONTRIBUTION_BYTES, UNTOLD_BYTES};

/// A user's connections on one other machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contribution {
    pub life: u64,
    pub counts: Counts,
}

/// A user's connections, and how many of them say they are away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub connections: u32,
    pub away: u32,
}

impl Counts {
    pub fn plus(self, other: Self) -> Self {
        let connections = self.connections.saturating_add(other.connections);
        Self { connections, away: self.away.saturating_add(other.away).min(connections) }
    }

    pub fn minus(self, other: Self) -> Self {
        let connections = self.connections.saturating_sub(other.connections);
        Self { connections, away: self.away.saturating_sub(other.away).min(connections) }
    }
}

/// All contributions to one user.
pub(super) type Contributions = SmallVec<[Contribution; 1]>;

pub(super) fn sum(contributions: &[Contribution]) -> Counts {
    contributions.iter().fold(Counts::default(), |sum, contribution| sum.plus(contribution.counts))
}

#[derive(Debug, Default)]
pub(super) struct Others {
    by_user: BTreeMap<UserName, Contributions>,
    bytes: usize,
    /// Users of this machine whose counts the others have not been told.
    pub untold: BTreeSet<UserName>,
    /// When they are told, monotonic milliseconds.
    pub tell_ms: Option<u64>,
    /// Whatever the others were told before is to be forgotten.
    pub afresh: bool,
    /// The link's presence version up to which every change is here; `None` while that is not known.
    pub version: Option<u64>,
    /// The highest version heard of.
    pub heard: u64,
}

impl Others {
    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes + self.untold.len() * UNTOLD_BYTES
    }

    pub fn of(&self, user: &str) -> &[Contribution] {
        self.by_user.get(user).map_or(&[], |contributions| contributions)
    }

    /// Replaces the contributions to a user; returns those of before.
    pub fn set(&mut self, user: &UserName, contributions: Contributions) -> Contributions {
        let bytes = |contributions: &Contributions| match contributions.len() {
            0 => 0,
            count => count * CONTRIBUTION_BYTES + user.len(),
        };
        self.bytes += bytes(&contributions);
        let before = match contributions.is_empty() {
            true => self.by_user.remove(user),
            false => self.by_user.insert(user.clone(), contributions),
        };
        let before = before.unwrap_or_default();
        self.bytes -= bytes(&before);
        before
    }

    /// Every user with contributions.
    pub fn users(&self) -> impl Iterator<Item = &UserName> {
        self.by_user.keys()
    }

    /// The users to whom a life contributes.
    pub fn users_of(&self, life: u64) -> Vec<UserName> {
        let has_it = |contributions: &Contributions| contributions.iter().any(|own| own.life == life);
        self.by_user.iter().filter(|(_, own)| has_it(own)).map(|(user, _)| user.clone()).collect()
    }
}
