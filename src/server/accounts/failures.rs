//! Wrong passwords of each user, in sliding windows: from one address, and from all. Here rather than in the cores' limiter,
//! because here is known how an attempt ends, and because one place for all cores counts exactly. Never reads a clock.
//!
//! An attempt is counted as a failure when it begins and taken back unless it fails, so that no more may be under way than
//! may fail. Nobody can lock another user out: an address that has failed too often is refused alone, and where all
//! addresses together have failed too often, those from which the user has signed in before go on.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv6Addr;

use crate::base::ids::UserName;
use crate::base::limits::{
    SIGN_IN_ADDRESS_TTL_MS, SIGN_IN_ADDRESSES_MAX, SIGN_IN_FAILURES_PER_ADDRESS, SIGN_IN_FAILURES_PER_MS,
    SIGN_IN_FAILURES_PER_USER, SIGN_IN_USERS_MAX,
};
use crate::engine::rates::{Rate, SlidingWindow};

const PER_ADDRESS: Option<Rate> = Rate::new(SIGN_IN_FAILURES_PER_ADDRESS, SIGN_IN_FAILURES_PER_MS);
const PER_USER: Option<Rate> = Rate::new(SIGN_IN_FAILURES_PER_USER, SIGN_IN_FAILURES_PER_MS);

/// Users that are looked at in one call because nothing may be left to remember of them.
const LOOKS_MAX: usize = 4;

/// The wrong passwords of all users.
#[derive(Debug, Default)]
pub(super) struct Failures {
    users: HashMap<UserName, UserFailures>,
    /// When each user is looked at again, monotonic microseconds, about in order.
    due: VecDeque<(u64, UserName)>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The password was right.
    Right,
    /// It was wrong, or there is no such user.
    Wrong,
    /// Neither is known.
    Unknown,
}

/// An attempt that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// It counts among those from all addresses.
    in_all: bool,
}

#[derive(Debug, Default)]
struct UserFailures {
    all: SlidingWindow,
    by_address: Vec<(Ipv6Addr, SlidingWindow)>,
    /// Where the user has signed in, and when last, monotonic microseconds.
    known: Vec<(Ipv6Addr, u64)>,
}

impl UserFailures {
    /// Forgets what is over. Returns whether nothing is left.
    fn forget(&mut self, now_us: u64) -> bool {
        let (Some(per_address), Some(per_user)) = (PER_ADDRESS, PER_USER) else { return true };
        self.by_address.retain_mut(|(_, window)| !window.forget(per_address, now_us));
        self.known.retain(|(_, at_us)| now_us < at_us + SIGN_IN_ADDRESS_TTL_MS * 1_000);
        self.all.forget(per_user, now_us) && self.by_address.is_empty() && self.known.is_empty()
    }

    fn window(&mut self, address: Ipv6Addr) -> &mut SlidingWindow {
        let at = self.by_address.iter().position(|(other, _)| *other == address).unwrap_or_else(|| {
            self.by_address.push((address, SlidingWindow::default()));
            self.by_address.len() - 1
        });
        &mut self.by_address[at].1
    }

    fn is_known(&self, address: Ipv6Addr) -> bool {
        self.known.iter().any(|(other, _)| *other == address)
    }

    fn remember(&mut self, address: Ipv6Addr, now_us: u64) {
        self.known.retain(|(other, _)| *other != address);
        if self.known.len() == SIGN_IN_ADDRESSES_MAX {
            self.known.remove(0);
        }
        self.known.push((address, now_us));
    }
}

impl Failures {
    /// Counts an attempt with a user's password from a network ([`network`](crate::engine::limiter::network)). Whether
    /// the user exists makes no difference. Returns what [`Failures::end`] takes.
    ///
    /// # Errors
    /// Too many have failed: milliseconds until another may be made.
    pub(super) fn begin(&mut self, user: &UserName, address: Ipv6Addr, now_us: u64) -> Result<Begun, u64> {
        let (Some(per_address), Some(per_user)) = (PER_ADDRESS, PER_USER) else { return Ok(Begun { in_all: false }) };
        self.look(now_us);
        if !self.users.contains_key(user) {
            if self.users.len() >= SIGN_IN_USERS_MAX
                && let Some((_, first)) = self.due.pop_front()
            {
                self.users.remove(&first);
            }
            self.due.push_back((now_us + SIGN_IN_FAILURES_PER_MS * 1_000, user.clone()));
        }
        let failures = self.users.entry(user.clone()).or_default();
        failures.forget(now_us);
        failures.window(address).try_take(per_address, now_us)?;
        if failures.is_known(address) {
            return Ok(Begun { in_all: false });
        }
        if let Err(retry_after_ms) = failures.all.try_take(per_user, now_us) {
            failures.window(address).take_back();
            return Err(retry_after_ms);
        }
        Ok(Begun { in_all: true })
    }

    /// An attempt that was counted has ended.
    pub(super) fn end(&mut self, user: &UserName, address: Ipv6Addr, begun: Begun, verdict: Verdict, now_us: u64) {
        let Some(failures) = self.users.get_mut(user) else { return };
        if verdict == Verdict::Wrong {
            return;
        }
        if begun.in_all {
            failures.all.take_back();
        }
        match verdict {
            Verdict::Right => {
                failures.by_address.retain(|(other, _)| *other != address);
                failures.remember(address, now_us);
            }
            _ => failures.window(address).take_back(),
        }
    }

    /// Looks at some users of whom nothing may be left to remember.
    fn look(&mut self, now_us: u64) {
        for _ in 0..LOOKS_MAX {
            let Some((_, user)) = self.due.pop_front_if(|(due_us, _)| *due_us <= now_us) else { return };
            let Some(failures) = self.users.get_mut(&user) else { continue };
            if failures.forget(now_us) {
                self.users.remove(&user);
            } else {
                self.due.push_back((now_us + SIGN_IN_FAILURES_PER_MS * 1_000, user));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000;

    fn user(name: &str) -> UserName {
        UserName::new(name).expect("valid")
    }

    fn address(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, number, 0, 0, 0, 0)
    }

    /// An attempt that ends at once.
    fn attempt(failures: &mut Failures, name: &str, from: u16, verdict: Verdict, now_us: u64) -> Result<(), u64> {
        let begun = failures.begin(&user(name), address(from), now_us)?;
        failures.end(&user(name), address(from), begun, verdict, now_us);
        Ok(())
    }

    #[test]
    fn an_address_that_fails_is_refused_alone_and_not_for_good() {
        let mut failures = Failures::default();
        for at in 0..SIGN_IN_FAILURES_PER_ADDRESS {
            assert_eq!(attempt(&mut failures, "ann", 1, Verdict::Wrong, at * 1_000 * MS), Ok(()));
        }
        let refused = attempt(&mut failures, "ann", 1, Verdict::Right, 10_000 * MS);
        assert_eq!(refused, Err(SIGN_IN_FAILURES_PER_MS - 10_000), "even with the right password");
        assert_eq!(attempt(&mut failures, "bob", 1, Verdict::Wrong, 10_000 * MS), Ok(()), "another user");
        assert_eq!(attempt(&mut failures, "ann", 2, Verdict::Right, 10_000 * MS), Ok(()), "another address");
        let later_us = SIGN_IN_FAILURES_PER_MS * MS;
        assert_eq!(attempt(&mut failures, "ann", 1, Verdict::Right, later_us), Ok(()));
    }

    #[test]
    fn many_addresses_together_cannot_lock_out_a_user_at_a_known_one() {
        let mut failures = Failures::default();
        assert_eq!(attempt(&mut failures, "ann", 1, Verdict::Right, 0), Ok(()));
        for from in 0..SIGN_IN_FAILURES_PER_USER {
            assert_eq!(attempt(&mut failures, "ann", 100 + from as u16, Verdict::Wrong, MS), Ok(()));
        }
        assert!(
            attempt(&mut failures, "ann", 999, Verdict::Right, 2 * MS).is_err(),
            "guesses from yet another address"
        );
        assert_eq!(attempt(&mut failures, "ann", 1, Verdict::Right, 2 * MS), Ok(()), "her own address");
        let later_us = SIGN_IN_FAILURES_PER_MS * MS + MS;
        assert_eq!(attempt(&mut failures, "ann", 999, Verdict::Right, later_us), Ok(()));
    }

    #[test]
    fn attempts_under_way_count_until_they_have_ended() {
        let (mut failures, ann) = (Failures::default(), user("ann"));
        let begun = Begun { in_all: true };
        for _ in 0..SIGN_IN_FAILURES_PER_ADDRESS {
            assert_eq!(failures.begin(&ann, address(1), 0), Ok(begun));
        }
        assert!(failures.begin(&ann, address(1), 0).is_err(), "guesses at once");
        failures.end(&ann, address(1), begun, Verdict::Unknown, 0);
        assert_eq!(failures.begin(&ann, address(1), 0), Ok(begun), "one was not judged");
        failures.end(&ann, address(1), begun, Verdict::Right, 0);
        for _ in 0..SIGN_IN_FAILURES_PER_ADDRESS {
            let begun = failures.begin(&ann, address(1), 0);
            assert_eq!(begun, Ok(Begun { in_all: false }), "the right password forgives, and the address is known");
        }
    }

    #[test]
    fn what_is_over_is_forgotten_and_the_rest_is_bounded() {
        let mut failures = Failures::default();
        for number in 0..SIGN_IN_USERS_MAX + 10 {
            let verdict = if number % 2 == 0 { Verdict::Wrong } else { Verdict::Unknown };
            assert_eq!(attempt(&mut failures, &format!("u{number}"), 1, verdict, 0), Ok(()));
        }
        assert_eq!((failures.users.len(), failures.due.len()), (SIGN_IN_USERS_MAX, SIGN_IN_USERS_MAX));
        let later_us = SIGN_IN_FAILURES_PER_MS * MS;
        for _ in 0..SIGN_IN_USERS_MAX {
            failures.look(later_us);
        }
        assert_eq!((failures.users.len(), failures.due.len()), (0, 0));
    }

    #[test]
    fn a_user_has_a_bounded_number_of_known_addresses() {
        let mut failures = Failures::default();
        for from in 0..SIGN_IN_ADDRESSES_MAX as u16 + 1 {
            assert_eq!(attempt(&mut failures, "ann", from, Verdict::Right, u64::from(from)), Ok(()));
        }
        let known = &failures.users[&user("ann")].known;
        assert_eq!((known.len(), known[0].0), (SIGN_IN_ADDRESSES_MAX, address(1)), "the oldest is forgotten");
        failures.look(SIGN_IN_ADDRESS_TTL_MS * MS + 100);
        assert!(failures.users.is_empty());
    }
}
