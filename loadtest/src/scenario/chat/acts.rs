//! Owns what users will do and when: streams of independent acts at constant rates, and single acts planned in advance.
//! Never acts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

use crate::clock::SECOND;

/// Something that a user does. Those without a user are of anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Somebody begins to type a message.
    Type,
    /// A user sends the message.
    Write {
        /// The user.
        client: u32,
        /// The room.
        room: u32,
    },
    /// Somebody writes to a user's inbox.
    WriteInbox {
        /// The user.
        to: u32,
    },
    /// Somebody reads a room to its end.
    Read,
    /// Somebody looks at the list of rooms.
    List,
    /// Somebody is away, or back at the keyboard.
    ChangeStatus,
    /// Somebody loses the connection.
    Leave,
    /// A user connects again.
    Return {
        /// The user.
        client: u32,
    },
}

/// Acts by time.
#[derive(Debug, Default)]
pub struct Acts {
    /// Time, order of planning, act.
    queue: BinaryHeap<Reverse<(u64, u64, Act)>>,
    planned: u64,
    /// Acts that come again and again, with their rate per second.
    streams: Vec<(Act, f64)>,
}

impl Acts {
    /// Starts streams of acts, each a Poisson process with a rate per second, from `now` on.
    #[must_use]
    pub fn start(streams: Vec<(Act, f64)>, rng: &mut Rng, now: u64) -> Self {
        let mut acts = Acts { streams, ..Acts::default() };
        for index in 0..acts.streams.len() {
            let (act, per_second) = acts.streams[index];
            acts.plan(now.saturating_add(gap(per_second, rng)), act);
        }
        acts
    }

    /// Plans an act.
    pub fn plan(&mut self, at: u64, act: Act) {
        self.planned += 1;
        self.queue.push(Reverse((at, self.planned, act)));
    }

    /// Time of the next act; `u64::MAX` for never.
    #[must_use]
    pub fn next_at(&self) -> u64 {
        self.queue.peek().map_or(u64::MAX, |Reverse((at, ..))| *at)
    }

    /// Takes a due act and its time. The next one of its stream is planned from that time on, so that delays do not reduce
    /// the load.
    pub fn take_due(&mut self, rng: &mut Rng, now: u64) -> Option<(u64, Act)> {
        let Reverse((at, _, act)) = self.queue.peek().copied().filter(|Reverse((at, ..))| *at <= now)?;
        self.queue.pop();
        if let Some((_, per_second)) = self.streams.iter().copied().find(|(known, _)| *known == act) {
            self.plan(at.saturating_add(gap(per_second, rng)), act);
        }
        Some((at, act))
    }
}

/// Time until the next arrival of a Poisson process, in nanoseconds; never for a rate of 0.
fn gap(per_second: f64, rng: &mut Rng) -> u64 {
    if per_second <= 0.0 {
        return u64::MAX;
    }
    ((-(1.0 - rng.f64()).ln() / per_second * SECOND as f64) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_keep_their_rates_and_acts_their_order() {
        let mut rng = Rng::with_seed(1);
        let mut acts = Acts::start(vec![(Act::Type, 100.0), (Act::Leave, 10.0), (Act::Read, 0.0)], &mut rng, SECOND);
        acts.plan(SECOND, Act::Return { client: 1 });
        acts.plan(SECOND, Act::Return { client: 2 });
        assert_eq!(acts.next_at(), SECOND);
        let mut taken = Vec::new();
        // Taken late: the load is not reduced.
        while let Some(act) = acts.take_due(&mut rng, 101 * SECOND) {
            taken.push(act);
        }
        assert_eq!(
            taken[..2].iter().map(|(_, act)| *act).collect::<Vec<_>>(),
            [1, 2].map(|client| Act::Return { client })
        );
        assert!(taken.is_sorted_by_key(|(at, _)| *at));
        let count = |act: Act| taken.iter().filter(|(_, taken)| *taken == act).count();
        assert!((9_500..=10_500).contains(&count(Act::Type)), "five standard deviations: {}", count(Act::Type));
        assert!((840..=1_160).contains(&count(Act::Leave)), "{}", count(Act::Leave));
        assert_eq!(count(Act::Read), 0);
        assert!(acts.next_at() > 101 * SECOND && Acts::default().next_at() == u64::MAX);
    }
}
