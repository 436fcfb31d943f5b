//! Tests of presence rounds: which users are reported, and when.

use super::*;

const GRACE_MS: u64 = 2_000;

fn user(name: &str) -> UserName {
    UserName::new(name).expect("valid")
}

/// What the members are told at `now_ms`, as `name status`.
fn told(presence: &mut Presence, now_ms: u64) -> Vec<String> {
    presence.expire(now_ms);
    let news = presence.take_news(1, 1, now_ms);
    let changes = news.map(|news| news.changes.expect("names")).unwrap_or_default();
    changes.into_iter().map(|(user, status)| format!("{user} {}", status.as_str())).collect()
}

fn page(presence: &mut Presence, after: Option<&str>, count: usize) -> Vec<String> {
    let page = presence.page(after, count, true);
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
    assert_eq!(told(&mut presence, 1_100), ["ann away"]);
    assert_eq!(page(&mut presence, None, 9), ["ann away 2"]);
    presence.set_away(&user("ann"), false, 2_200);
    assert_eq!(told(&mut presence, 2_300), ["ann online"]);
    presence.leave(&user("ann"), false, GRACE_MS, 2_300);
    assert_eq!(told(&mut presence, 3_300), ["ann away"], "only the connection that is away is left");
}

#[test]
fn a_user_is_told_once_a_second_and_within_a_second() {
    let mut presence = Presence::default();
    presence.join(&user("ann"), false, 0);
    assert_eq!(told(&mut presence, 100), ["ann online"]);
    presence.set_away(&user("ann"), true, 101);
    presence.join(&user("bob"), false, 500);
    assert_eq!(presence.due_ms(), Some(1_100));
    assert!(told(&mut presence, 1_099).is_empty());
    assert_eq!(told(&mut presence, 1_100), ["ann away", "bob online"]);
    presence.set_away(&user("ann"), false, 2_050);
    assert_eq!(presence.due_ms(), Some(2_150), "the first change after a rest is told within a tick");
}

#[test]
fn a_change_that_was_shown_and_undone_is_told() {
    for is_told in [true, false] {
        let mut presence = Presence::default();
        for name in ["ann", "bob", "cid", "dan"] {
            presence.join(&user(name), false, 0);
        }
        assert_eq!(told(&mut presence, 100).len(), 4);
        // Ann is shown away, Bob is shown to be missing, Eve is shown as there; Dan is on no page.
        presence.set_away(&user("ann"), true, 2_000);
        presence.leave(&user("bob"), false, 0, 2_000);
        presence.set_away(&user("dan"), true, 2_000);
        presence.join(&user("cia"), false, 2_000);
        assert_eq!(presence.page(None, 3, is_told).len(), 3);
        presence.set_away(&user("ann"), false, 2_010);
        presence.join(&user("bob"), false, 2_010);
        presence.set_away(&user("dan"), false, 2_010);
        presence.leave(&user("cia"), false, 0, 2_010);
        let expected: &[&str] = if is_told { &["ann online", "bob online", "cia offline"] } else { &[] };
        assert_eq!(told(&mut presence, 2_100), expected);
        assert!(told(&mut presence, 9_000).is_empty());
        assert_eq!(presence.users.len(), 4);
    }
}

#[test]
fn offline_comes_after_the_grace() {
    let mut presence = Presence::default();
    presence.join(&user("ann"), false, 0);
    assert_eq!(told(&mut presence, 100), ["ann online"]);
    presence.leave(&user("ann"), false, GRACE_MS, 1_000);
    assert_eq!(presence.due_ms(), Some(3_000));
    let bytes = USER_BYTES + ABSENT_BYTES + 3;
    assert_eq!((presence.present(), presence.bytes()), (1, bytes), "nobody knows yet that she left");
    assert_eq!(page(&mut presence, None, 9), ["ann online 0"]);
    assert!(told(&mut presence, 2_999).is_empty());
    assert!(told(&mut presence, 3_000).is_empty());
    assert_eq!((presence.present(), page(&mut presence, None, 9).len()), (0, 0));
    assert!(!presence.is_empty(), "it is still to be told");
    assert_eq!(told(&mut presence, 3_100), ["ann offline"]);
    assert!(presence.is_empty());
    assert_eq!((presence.due_ms(), presence.bytes()), (None, 0));
}

#[test]
fn a_user_has_one_grace_however_often_one_comes_and_goes() {
    let mut presence = Presence::default();
    for now_ms in 0..60_000 {
        presence.join(&user("ann"), false, now_ms);
        assert_eq!((presence.bytes(), presence.graces.len(), presence.grace_ends.len()), (USER_BYTES, 0, 0));
        presence.leave(&user("ann"), false, GRACE_MS, now_ms);
        presence.expire(now_ms);
        let held = (presence.bytes(), presence.graces.len(), presence.changed.len(), presence.users.len());
        assert_eq!(held, (USER_BYTES + ABSENT_BYTES + 3, 1, 1, 1));
    }
    assert_eq!(told(&mut presence, 60_000), ["ann online"]);
    presence.expire(59_999 + GRACE_MS - 1);
    assert_eq!(presence.present(), 1, "the grace of the last leave counts");
    presence.expire(59_999 + GRACE_MS);
    assert_eq!(presence.present(), 0);
    assert_eq!(told(&mut presence, 70_000), ["ann offline"]);
    assert_eq!((presence.bytes(), presence.is_empty()), (0, true));
}

#[test]
fn graces_of_other_lengths_end_in_their_own_time() {
    let mut presence = Presence::default();
    presence.join(&user("ann"), false, 0);
    presence.join(&user("bob"), false, 0);
    assert_eq!(told(&mut presence, 100).len(), 2);
    presence.leave(&user("ann"), false, 60_000, 1_000);
    presence.leave(&user("bob"), false, 1_000, 1_000);
    assert_eq!((presence.due_ms(), presence.bytes()), (Some(2_000), 2 * (USER_BYTES + ABSENT_BYTES + 3)));
    presence.expire(2_000);
    assert_eq!(told(&mut presence, 2_100), ["bob offline"]);
    assert_eq!(page(&mut presence, None, 9), ["ann online 0"]);
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
    assert_eq!(page(&mut presence, None, 9), ["ann online 0"]);
}

#[test]
fn above_a_number_of_members_the_total_is_told() {
    let mut presence = Presence::default();
    for index in 0..5 {
        presence.join(&user(&format!("user{index}")), false, 0);
    }
    assert_eq!(presence.take_news(5, 4, 100), Some(News { total: 5, changes: None }));
    presence.set_away(&user("user1"), true, 200);
    assert_eq!(presence.due_ms(), Some(1_100));
    assert_eq!(presence.take_news(5, 4, 1_100), Some(News { total: 5, changes: None }), "the same total, other names");
    presence.set_away(&user("user2"), true, 2_000);
    presence.set_away(&user("user2"), false, 2_001);
    assert_eq!(presence.take_news(5, 4, 2_100), None);
    presence.leave(&user("user0"), false, 0, 3_000);
    let changes = vec![(user("user0"), Status::Offline)];
    assert_eq!(presence.take_news(4, 4, 3_100), Some(News { total: 4, changes: Some(changes) }));
}

#[test]
fn very_many_changes_at_once_are_told_as_a_total() {
    let mut presence = Presence::default();
    for index in 0..=STATUSES_AT_ONCE_MAX {
        presence.join(&user(&format!("user{index}")), false, 0);
        presence.leave(&user(&format!("user{index}")), false, GRACE_MS, 0);
    }
    let total = STATUSES_AT_ONCE_MAX as u64 + 1;
    assert_eq!(presence.take_news(1, 10, 100), Some(News { total, changes: None }));
    let changes = presence.take_news(1, 10, GRACE_MS);
    assert_eq!(changes, None);
    presence.expire(GRACE_MS);
    let news = presence.take_news(1, 5_000, GRACE_MS + TICK_MS).expect("all are gone");
    assert_eq!((news.total, news.changes.map(|changes| changes.len() as u64)), (0, Some(total)));
}

#[test]
fn pages_go_by_name() {
    let mut presence = Presence::default();
    for name in ["b", "d", "a", "c"] {
        presence.join(&user(name), false, 0);
    }
    assert_eq!(page(&mut presence, None, 2), ["a online 1", "b online 1"]);
    assert_eq!(page(&mut presence, Some("b"), 9), ["c online 1", "d online 1"]);
    assert_eq!(page(&mut presence, Some("bb"), 1), ["c online 1"]);
    assert!(page(&mut presence, Some("d"), 9).is_empty());
}
