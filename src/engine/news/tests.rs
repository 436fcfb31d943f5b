//! Tests that news missed are reported as the newest state, and that their memory is bounded.

use super::*;
use crate::engine::random::Random;
use crate::wire::form::Form;
use crate::wire::frame::count_messages;

fn user(index: u64) -> UserName {
    UserName::new(&format!("user{index}")).expect("valid")
}

fn named(total: u64, changes: &[(u64, Status)]) -> News {
    News { total, changes: Some(changes.iter().map(|(index, status)| (user(*index), *status)).collect()) }
}

fn total(total: u64) -> News {
    News { total, changes: None }
}

#[test]
fn one_newest_status_for_each_user_that_was_missed() {
    let mut missed = Missed::default();
    missed.note(&named(1, &[(1, Status::Online)]), []);
    assert!(missed.is_empty() && missed.bytes() == 0, "nobody missed it");
    missed.note(&named(2, &[(2, Status::Online), (3, Status::Away)]), [7]);
    missed.note(&named(1, &[(2, Status::Offline), (4, Status::Online)]), []);
    missed.note(&named(1, &[(5, Status::Online)]), [7, 8]);
    assert_eq!(missed.behind().collect::<Vec<_>>(), [7, 8]);
    assert_eq!(missed.take(8, 9), [named(1, &[(5, Status::Online)])], "the missed news, and nothing older");
    assert_eq!(missed.take(7, 2), [named(1, &[(3, Status::Away), (2, Status::Offline)])]);
    assert!(missed.is_behind(7));
    assert_eq!(missed.take(7, 2), [named(1, &[(4, Status::Online), (5, Status::Online)])]);
    assert!(missed.is_empty() && missed.take(7, 2).is_empty());
    assert_eq!(missed.bytes(), 0);
}

#[test]
fn a_total_takes_the_place_of_names_before_it() {
    let mut missed = Missed::default();
    missed.note(&named(5, &[(1, Status::Online)]), [7]);
    missed.note(&total(6), [8]);
    missed.note(&named(7, &[(2, Status::Away)]), []);
    for key in [7, 8] {
        assert_eq!(missed.take(key, 9), [total(7), named(7, &[(2, Status::Away)])]);
    }
    assert!(missed.is_empty());
}

#[test]
fn too_many_names_become_a_total() {
    let mut missed = Missed::default();
    let rounds = 3 * MISSED_NAMES_MAX as u64;
    missed.note(&named(0, &[(0, Status::Online)]), [7]);
    for index in 1..rounds {
        missed.note(&named(index, &[(index, Status::Online)]), [8].into_iter().filter(|_| index == rounds - 1));
        assert!(missed.bytes() <= MISSED_NAMES_MAX * MISSED_NAME_BYTES + 2 * MISSED_MEMBER_BYTES);
    }
    assert_eq!(missed.take(8, 9), [named(rounds - 1, &[(rounds - 1, Status::Online)])]);
    assert_eq!(missed.take(7, 1)[0], total(rounds - 1));
    missed.forget(7);
    assert_eq!((missed.is_empty(), missed.bytes()), (true, 0));
}

#[test]
fn users_that_nobody_misses_any_more_make_room() {
    let mut missed = Missed::default();
    for index in 1..MISSED_NAMES_MAX as u64 {
        missed.note(&named(1, &[(index, Status::Online)]), [7]);
    }
    missed.note(&named(1, &[(5_000, Status::Online)]), [8]);
    missed.forget(7);
    missed.note(&named(1, &[(5_001, Status::Online)]), []);
    assert_eq!(missed.take(8, 9), [named(1, &[(5_000, Status::Online), (5_001, Status::Online)])]);
}

#[test]
fn pushes_of_one_buffer_are_messages_of_their_own() {
    let room = RoomName::new("lobby").expect("valid");
    let frames = named(9, &[(1, Status::Online), (2, Status::Offline)]).encode(&room, Form::Json.into());
    assert_eq!(count_messages(frames.get(Form::Json).expect("wanted")), 2);
    let frames = total(9).encode(&room, Form::Json.into());
    let text = String::from_utf8_lossy(frames.get(Form::Json).expect("wanted")).into_owned();
    assert!(text.ends_with(r#"{"type":"status","room":"lobby","total":9}"#), "{text}");
}

/// Clients that read or do not read, compared with the true state.
#[test]
fn everybody_ends_with_what_holds() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut missed = Missed::default();
        let mut truth: BTreeMap<UserName, Status> = BTreeMap::new();
        let mut told: [BTreeMap<UserName, Status>; 4] = Default::default();
        let mut current = 0;
        let hear = |told: &mut BTreeMap<UserName, Status>, news: &News| match &news.changes {
            None => told.clear(),
            Some(changes) => told.extend(changes.iter().cloned()),
        };
        for _ in 0..random.below(60) {
            current = random.below(100);
            let status = [Status::Online, Status::Away, Status::Offline][random.below(3) as usize];
            let (name, news) = (random.below(12), random.below(10));
            let news = if news == 0 { total(current) } else { named(current, &[(name, status)]) };
            truth.extend([(user(name), status)].into_iter().filter(|_| news.changes.is_some()));
            let takes: Vec<bool> = (0..told.len()).map(|_| random.below(3) > 0).collect();
            for key in (0..told.len()).filter(|key| takes[*key]) {
                hear(&mut told[key], &news);
            }
            missed.note(&news, (0..told.len()).filter(|key| !takes[*key]));
            let key = random.below(told.len() as u64) as usize;
            if random.below(2) == 0 {
                missed.take(key, 1 + random.below(3) as usize).iter().for_each(|news| hear(&mut told[key], news));
            }
        }
        for (key, told) in told.iter_mut().enumerate() {
            while missed.is_behind(key) {
                for news in missed.take(key, 2) {
                    assert_eq!(news.total, current, "seed {seed}");
                    hear(told, &news);
                }
            }
            for (user, status) in told.iter() {
                assert_eq!(truth.get(user), Some(status), "seed {seed}: reader {key} of {user}");
            }
        }
    }
}
