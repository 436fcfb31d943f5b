//! Who is told about whom, and when.

use super::*;

const GRACE_MS: u64 = 2_000;

fn user(name: &str) -> UserName {
    UserName::new(name).expect("valid")
}

/// What the members are told at `now_ms`, as `name status`.
fn told(presence: &mut Presence, now_ms: u64) -> Vec<String> {
    presence.expire(now_ms);
    let changes = presence.take_changes(100, now_ms);
    changes.into_iter().map(|(user, status)| format!("{user} {}", status.as_str())).collect()
}

fn page(presence: &Presence, after: Option<&str>, count: usize) -> Vec<String> {
    let page = presence.page(after, count);
    page.iter().map(|user| format!("{} {} {}", user.user, user.status.as_str(), user.connections)).collect()
}

#[test]
fn a_change_is_told_once_and_within_a_tick() {
    let mut presence = Presence::default();
    presence.join(&user("ann"), false, 0);
    assert_eq!(presence.due_ms(), Some(TICK_MS));
    assert!(told(&mut presence, TICK_MS - 1).is_empty());
    assert_eq!(told(&mut presence, TICK_MS), ["ann online"]);
    assert_eq!(presence.due_ms(), None);
    presence.join(&user("ann"), false, TICK_MS);
    assert_eq!(presence.due_ms(), None, "a second connection changes nothing");
}

#[test]
fn a_user_is_away_when_all_connections_say_so() {
    let mut presence = Presence::default();
    presence.join(&user("ann"), false, 0);
    presence.join(&user("ann"), true, 0);
    assert_eq!(told(&mut presence, 100), ["ann online"]);
    presence.set_away(&user("ann"), true, 100);
    assert_eq!(told(&mut presence, 200), ["ann away"]);
    assert_eq!(page(&presence, None, 9), ["ann away 2"]);
    presence.set_away(&user("ann"), false, 200);
    assert_eq!(told(&mut presence, 300), ["ann online"]);
    presence.leave(&user("ann"), false, GRACE_MS, 300);
    assert_eq!(told(&mut presence, 400), ["ann away"], "only the connection that is away is left");
}

#[test]
fn offline_comes_after_the_grace() {
    let mut presence = Presence::default();
    presence.join(&user("ann"), false, 0);
    assert_eq!(told(&mut presence, 100), ["ann online"]);
    presence.leave(&user("ann"), false, GRACE_MS, 1_000);
    assert_eq!(presence.due_ms(), Some(3_000));
    assert_eq!(
        (presence.present(), presence.bytes()),
        (1, USER_BYTES + ABSENT_BYTES),
        "nobody knows yet that she left"
    );
    assert_eq!(page(&presence, None, 9), ["ann online 0"]);
    assert!(told(&mut presence, 2_999).is_empty());
    assert!(told(&mut presence, 3_000).is_empty());
    assert_eq!((presence.present(), page(&presence, None, 9).len()), (0, 0));
    assert!(!presence.is_empty(), "it is still to be told");
    assert_eq!(told(&mut presence, 3_100), ["ann offline"]);
    assert!(presence.is_empty());
    assert_eq!((presence.due_ms(), presence.bytes()), (None, 0));
}

#[test]
fn a_return_within_the_grace_is_silent() {
    let mut presence = Presence::default();
    presence.join(&user("ann"), false, 0);
    assert_eq!(told(&mut presence, 100).len(), 1);
    presence.leave(&user("ann"), false, GRACE_MS, 1_000);
    presence.join(&user("ann"), false, 2_000);
    presence.leave(&user("ann"), false, GRACE_MS, 2_500);
    assert!(told(&mut presence, 3_500).is_empty(), "the first grace was ended by the return");
    presence.join(&user("ann"), false, 4_000);
    assert!(told(&mut presence, 10_000).is_empty());
    assert_eq!((presence.present(), presence.due_ms()), (1, None));
}

#[test]
fn what_is_undone_before_it_is_told_is_not_told() {
    let mut presence = Presence::default();
    presence.join(&user("ann"), false, 0);
    presence.leave(&user("ann"), false, 0, 10);
    presence.join(&user("bob"), false, 20);
    presence.set_away(&user("bob"), true, 30);
    presence.set_away(&user("bob"), false, 40);
    assert_eq!(told(&mut presence, 100), ["bob online"]);
    presence.set_away(&user("bob"), true, 110);
    presence.set_away(&user("bob"), false, 120);
    assert!(told(&mut presence, 300).is_empty());
    assert_eq!((presence.present(), presence.users.len()), (1, 1));
}

#[test]
fn a_status_of_nobody_changes_nothing() {
    let mut presence = Presence::default();
    presence.set_away(&user("ann"), true, 0);
    presence.leave(&user("ann"), true, 0, 0);
    assert!(presence.is_empty() && presence.due_ms().is_none());
    presence.join(&user("ann"), false, 0);
    presence.leave(&user("ann"), false, GRACE_MS, 0);
    presence.set_away(&user("ann"), true, 0);
    assert_eq!(page(&presence, None, 9), ["ann online 0"]);
}

#[test]
fn many_changes_take_several_pushes() {
    let mut presence = Presence::default();
    for index in 0..5 {
        presence.join(&user(&format!("user{index}")), false, 0);
    }
    assert_eq!(presence.take_changes(3, 100).len(), 3);
    assert_eq!(presence.due_ms(), Some(100 + TICK_MS));
    assert_eq!(presence.take_changes(3, 100 + TICK_MS).len(), 2);
    assert_eq!(presence.due_ms(), None);
}

#[test]
fn pages_go_by_name() {
    let mut presence = Presence::default();
    for name in ["b", "d", "a", "c"] {
        presence.join(&user(name), false, 0);
    }
    assert_eq!(page(&presence, None, 2), ["a online 1", "b online 1"]);
    assert_eq!(page(&presence, Some("b"), 9), ["c online 1", "d online 1"]);
    assert_eq!(page(&presence, Some("bb"), 1), ["c online 1"]);
    assert!(page(&presence, Some("d"), 9).is_empty());
}
