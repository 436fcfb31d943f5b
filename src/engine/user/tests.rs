//! Tests of a user half alone, by its hops.

mod sessions;

use std::sync::Arc;

use super::*;
use crate::engine::hop::Hop;
use crate::engine::outbound::Outbound;
use crate::engine::rates::Rate;
use crate::engine::settings::Limits;

/// The user half of a machine with one core, and its hops.
struct LoneUsers {
    users: Users,
    outbound: Outbound,
    budget: Budget,
    now: Now,
}

impl LoneUsers {
    fn new(limits: Limits) -> LoneUsers {
        let settings = Arc::new(Settings { cores: 1, limits, ..Settings::for_tests() });
        LoneUsers {
            users: Users::new(settings, CoreId(0), &Secrets::from(1)),
            outbound: Outbound::new(CoreId(0), 1),
            budget: Budget::new(u64::MAX),
            now: Now { mono_us: 5_000_000, unix_ms: 1_700_000_000_000 },
        }
    }

    /// Sends a hop. Returns the hops to the home.
    fn handle(&mut self, hop: ToUser) -> Vec<ToHome> {
        let Self { users, outbound, budget, now } = self;
        users.handle_hop(
            hop,
            &mut UserEffects { now: *now, outbound, budget, store: &mut Vec::new(), answers: &mut Vec::new() },
        );
        let mut told = Vec::new();
        while let Some(hop) = self.outbound.take_own() {
            match hop {
                Hop::ToHome(hop) => told.push(hop),
                hop => panic!("the user half answers homes alone: {hop:?}"),
            }
        }
        told
    }

    fn register(&mut self, user: &str) -> bool {
        let user = UserName::new(user).expect("a name");
        match &self.handle(ToUser::Register { conn: CONN, user })[..] {
            [ToHome::UserAdmitted { conn: CONN, .. }] => true,
            [ToHome::ConnectRefused { conn: CONN, refusal: ConnectRefusal::UserConnections }] => false,
            other => panic!("one answer: {other:?}"),
        }
    }

    /// Changes the limits.
    fn change(&mut self, limits: Limits) {
        let settings = Arc::new(Settings { cores: 1, limits, ..Settings::for_tests() });
        self.users.set_settings(self.now, settings);
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_us += ms * 1_000;
        let Self { users, outbound, budget, now } = self;
        users.tick(&mut UserEffects { now: *now, outbound, budget, store: &mut Vec::new(), answers: &mut Vec::new() });
    }
}

const CONN: ConnId = ConnId { home: CoreId(0), slot: 7, generation: 3 };

#[test]
fn connections_of_a_user_are_counted_until_they_end() {
    let mut one = LoneUsers::new(Limits { connections_per_user: 2, ..Limits::default() });
    assert!(one.register("ann") && one.register("ann") && !one.register("ann") && one.register("bob"));
    let user = UserName::new("ann").expect("a name");
    assert!(one.handle(ToUser::Forget { user: user.clone() }).is_empty());
    assert!(one.register("ann"));
    for _ in 0..2 {
        one.handle(ToUser::Forget { user: user.clone() });
    }
    one.handle(ToUser::Forget { user: UserName::new("bob").expect("a name") });
    assert_eq!((one.users.entries(), one.budget.used()), (0, 0));
}

#[test]
fn a_users_publishes_are_forgotten_with_the_window() {
    let message_rate_per_user = Rate::new(3, 1_000);
    let mut one = LoneUsers::new(Limits { message_rate_per_user, ..Limits::default() });
    let user = UserName::new("ann").expect("a name");
    let publish = |one: &mut LoneUsers| one.users.try_publish(&user, one.now, &mut one.budget);
    assert_eq!([publish(&mut one), publish(&mut one), publish(&mut one)], [Ok(()); 3]);
    assert_eq!(publish(&mut one), Err(1_000));
    assert!(one.budget.used() > 0);
    one.pass(999);
    assert_eq!(publish(&mut one), Err(1));
    one.pass(1);
    assert_eq!(publish(&mut one), Ok(()));
    one.pass(1_000);
    one.pass(1_000);
    assert_eq!((one.users.entries(), one.budget.used(), one.users.next_tick_us()), (0, 0, None));
}

const HOUR: u64 = 3_600_000;

#[test]
fn a_users_window_goes_by_another_rate_at_once() {
    let limits = |rate| Limits { message_rate_per_user: rate, ..Limits::default() };
    let mut one = LoneUsers::new(limits(Rate::new(2, HOUR)));
    let user = UserName::new("ann").expect("a name");
    let publish = |one: &mut LoneUsers| one.users.try_publish(&user, one.now, &mut one.budget);
    assert_eq!([(); 3].map(|()| publish(&mut one)), [Ok(()), Ok(()), Err(HOUR)]);
    one.change(limits(Rate::new(3, HOUR)));
    assert_eq!([(); 2].map(|()| publish(&mut one)), [Ok(()), Err(HOUR)]);
    one.change(limits(Rate::new(2, 1_000)));
    assert_eq!(publish(&mut one), Err(1_000));
    one.pass(1_000);
    assert_eq!(publish(&mut one), Ok(()));
    one.change(limits(None));
    assert_eq!([(); 9].map(|()| publish(&mut one)), [Ok(()); 9]);
}

#[test]
fn what_was_to_be_remembered_for_long_is_forgotten_under_shorter_rates() {
    let limits = |per_ms| Limits { message_rate_per_user: Rate::new(3, per_ms), ..Limits::default() };
    for (after, rest_ms) in [(limits(1_000), 2_000), (Limits::default(), 0)] {
        let mut one = LoneUsers::new(limits(HOUR));
        let publish = |one: &mut LoneUsers, number: u32| {
            let user = UserName::new(&format!("user-{number}")).expect("a name");
            assert_eq!(one.users.try_publish(&user, one.now, &mut one.budget), Ok(()));
        };
        (0..50).for_each(|number| publish(&mut one, number));
        one.change(after);
        publish(&mut one, 50);
        one.pass(rest_ms);
        assert_eq!((one.users.entries(), one.budget.used(), one.users.next_tick_us()), (0, 0, None));
    }
}

#[test]
fn connections_that_were_let_in_before_are_counted_when_a_limit_is_turned_on() {
    let mut one = LoneUsers::new(Limits::default());
    let user = UserName::new("ann").expect("a name");
    let told = one.handle(ToUser::Count { users: vec![(user.clone(), 3)] });
    assert!(told.is_empty(), "on cores that still go by other settings");
    one.change(Limits { connections_per_user: 3, ..Limits::default() });
    assert!(!one.register("ann"));
    one.handle(ToUser::Forget { user });
    assert!(one.register("ann"));
}
