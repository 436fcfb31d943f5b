//! Buckets and windows compared with plain counting.

use std::collections::VecDeque;

use super::*;
use crate::engine::random::Random;

fn rate(count: u64, per_ms: u64) -> Rate {
    Rate::new(count, per_ms).expect("a limit")
}

#[test]
fn a_count_of_nothing_is_no_limit() {
    assert_eq!(Rate::new(0, 1_000), None);
}

#[test]
fn a_bucket_holds_twice_its_rate_and_fills_at_it() {
    let (rate, mut bucket) = (rate(5, 1_000), Bucket::default());
    let take = |bucket: &mut Bucket, at_ms: u64| bucket.try_take(rate, at_ms * 1_000);
    assert_eq!((0..10).map(|_| take(&mut bucket, 7)).collect::<Result<Vec<()>, u64>>().map(|all| all.len()), Ok(10));
    assert_eq!(take(&mut bucket, 7), Err(200));
    assert_eq!(take(&mut bucket, 100), Err(107));
    assert_eq!(take(&mut bucket, 207), Ok(()));
    assert_eq!(take(&mut bucket, 207), Err(200));
    assert!(!bucket.is_full(2_206_999) && bucket.is_full(2_207_000));
}

#[test]
fn a_bucket_never_gives_more_than_its_rate_over_any_time() {
    let (rate, mut random, mut bucket) = (rate(7, 300), Random::new(3), Bucket::default());
    let (mut now_us, mut taken_us) = (0, Vec::new());
    for _ in 0..20_000 {
        now_us += random.below(60_000);
        match bucket.try_take(rate, now_us) {
            Ok(()) => taken_us.push(now_us),
            Err(retry_after_ms) => {
                let mut later = bucket;
                assert!(later.try_take(rate, now_us + retry_after_ms * 1_000).is_ok(), "a token after the wait");
                let mut sooner = bucket;
                assert!(sooner.try_take(rate, now_us + (retry_after_ms - 1) * 1_000).is_err(), "no token before it");
            }
        }
    }
    for (first, at_us) in taken_us.iter().enumerate() {
        let within = taken_us[first..].iter().take_while(|taken| **taken < at_us + 3_000_000).count();
        assert!(within <= 14 + 70 + 1, "{within} within ten periods");
    }
    assert!(taken_us.len() as u64 >= now_us / 300_000 * 7, "constant requests use the whole rate");
}

#[test]
fn a_bucket_gives_several_tokens_or_none() {
    let (rate, mut bucket) = (rate(8, 1_000), Bucket::default());
    assert_eq!(bucket.try_take_many(rate, 16, 0), Ok(()));
    assert_eq!(bucket.try_take_many(rate, 4, 0), Err(500));
    assert_eq!((bucket.try_take_many(rate, 4, 499_000), bucket.try_take(rate, 125_000)), (Err(1), Ok(())));
    assert_eq!(bucket.try_take_many(rate, 4, 500_000), Err(125));
    assert_eq!(bucket.try_take_many(rate, 4, 625_000), Ok(()));
}

#[test]
fn a_bucket_owes_no_more_than_it_holds() {
    let (rate, mut bucket) = (rate(8, 1_000), Bucket::default());
    bucket.charge(rate, 15, 0);
    assert_eq!((bucket.try_take(rate, 0), bucket.try_take(rate, 0)), (Ok(()), Err(125)));
    bucket.charge(rate, 4, 0);
    assert_eq!((bucket.try_take(rate, 500_000), bucket.try_take(rate, 625_000)), (Err(125), Ok(())));
    bucket.charge(rate, u32::MAX, 625_000);
    bucket.charge(rate, u32::MAX, 625_000);
    assert_eq!((bucket.try_take(rate, 2_700_000), bucket.try_take(rate, 2_750_000)), (Err(50), Ok(())));
}

#[test]
fn several_tokens_cost_as_much_as_one_by_one() {
    let (rate, mut random) = (rate(10, 1_000), Random::new(5));
    let (mut at_once, mut one_by_one, mut now_us) = (Bucket::default(), Bucket::default(), 0);
    for _ in 0..1_000 {
        now_us += random.below(400_000);
        let count = 1 + random.below(20);
        let mut trial = one_by_one;
        let taken = (0..count).try_for_each(|_| trial.try_take(rate, now_us));
        assert_eq!(at_once.try_take_many(rate, count, now_us).is_ok(), taken.is_ok());
        if taken.is_ok() {
            one_by_one = trial;
        }
        assert_eq!(at_once, one_by_one);
    }
}

#[test]
fn more_than_a_bucket_holds_is_taken_from_a_full_one_and_owed() {
    let (rate, mut bucket) = (rate(10, 1_000), Bucket::default());
    assert_eq!(bucket.try_take_many(rate, 50, 0), Ok(()));
    assert_eq!(bucket.try_take(rate, 0), Err(3_100), "thirty tokens are owed");
    assert_eq!(bucket.try_take_many(rate, 50, 4_999_000), Err(1), "refused until the bucket is full");
    assert_eq!(bucket.try_take_many(rate, 50, 5_000_000), Ok(()));
}

#[test]
fn a_window_is_exact() {
    let (rate, mut random, mut window) = (rate(5, 1_000), Random::new(9), SlidingWindow::default());
    let (mut now_us, mut model) = (0, VecDeque::new());
    for _ in 0..20_000 {
        now_us += random.below(400_000);
        model.retain(|event_us| event_us + 1_000_000 > now_us);
        match window.try_take(rate, now_us) {
            Ok(()) => {
                model.push_back(now_us);
                assert!(model.len() <= 5);
            }
            Err(retry_after_ms) => {
                assert_eq!(model.len(), 5);
                assert_eq!(retry_after_ms, (model[0] + 1_000_000 - now_us).div_ceil(1_000));
            }
        }
    }
    assert!(!window.forget(rate, now_us) || model.is_empty());
    assert!(window.forget(rate, now_us + 1_000_000));
}

#[test]
fn a_window_under_a_lower_rate_waits_until_it_holds() {
    let mut window = SlidingWindow::default();
    for at_us in 0..10 {
        assert_eq!(window.try_take(rate(10, 1_000), at_us * 1_000), Ok(()));
    }
    assert_eq!(window.try_take(rate(2, 1_000), 10_000), Err(998), "until nine of the ten have left the window");
}

/// Takes tokens until there is none. Returns how many, and after how many milliseconds there is one again.
fn drain(bucket: &mut Bucket, rate: Rate, now_us: u64) -> (u64, u64) {
    let mut taken = 0;
    loop {
        match bucket.try_take(rate, now_us) {
            Ok(()) => taken += 1,
            Err(retry_after_ms) => return (taken, retry_after_ms),
        }
    }
}

#[test]
fn what_was_taken_stays_taken_under_another_rate() {
    const HOUR: u64 = 3_600_000;
    let now_us = 5_000_000;
    for (what, from, taken, to, left, retry_after_ms) in [
        ("loosened from two an hour", rate(2, HOUR), 4, rate(1_000, 1_000), 1_996, 1),
        ("loosened in count", rate(2, 1_000), 4, rate(5, 1_000), 6, 200),
        ("loosened in time", rate(2, 1_000), 4, rate(2, 100), 0, 50),
        ("tightened to below what was taken", rate(1_000, 1_000), 1_000, rate(2, HOUR), 0, HOUR / 2),
        ("tightened to above what was taken", rate(1_000, 1_000), 3, rate(5, HOUR), 7, HOUR / 5),
        ("written in another way", rate(10, 1_000), 13, rate(600, 60_000), 1_187, 100),
    ] {
        let mut bucket = Bucket::default();
        for _ in 0..taken {
            assert_eq!(bucket.try_take(from, now_us), Ok(()), "{what}");
        }
        bucket.change_rate(Some(from), Some(to), now_us);
        assert_eq!(drain(&mut bucket, to, now_us), (left, retry_after_ms), "{what}");
    }
}

#[test]
fn a_limit_that_is_turned_off_and_on_begins_anew() {
    let (rate, now_us) = (rate(2, 3_600_000), 5_000_000);
    let mut bucket = Bucket::default();
    assert_eq!(drain(&mut bucket, rate, now_us).0, 4);
    bucket.change_rate(Some(rate), None, now_us);
    assert!(bucket.is_full(now_us), "no state is kept without a limit");
    bucket.change_rate(None, Some(rate), now_us);
    assert_eq!(drain(&mut bucket, rate, now_us).0, 4);
}

#[test]
fn under_changing_rates_nobody_waits_longer_than_the_rate_asks_or_gets_more_than_the_loosest_gives() {
    let rates = [rate(2, 3_600_000), rate(1, 1_000), rate(50, 1_000), rate(200, 10_000), rate(1_000, 1_000)];
    for seed in 0..40 {
        let (mut random, mut bucket, mut now_us) = (Random::new(seed), Bucket::default(), 1_000_000);
        let (mut current, mut taken, begun_us) = (rates[seed as usize % rates.len()], 0, now_us);
        for _ in 0..2_000 {
            now_us += random.below(2_000);
            if random.below(10) == 0 {
                let next = rates[random.below(rates.len() as u64) as usize];
                bucket.change_rate(Some(current), Some(next), now_us);
                current = next;
            }
            match bucket.try_take(current, now_us) {
                Ok(()) => taken += 1,
                Err(retry_after_ms) => {
                    let interval_ms = current.per_ms.div_ceil(current.count.get());
                    assert!(retry_after_ms <= interval_ms, "seed {seed}: {retry_after_ms} ms under {current:?}");
                }
            }
        }
        let loosest = 2_000 + (now_us - begun_us) / 1_000;
        assert!(taken <= loosest, "seed {seed}: {taken} of {loosest}");
    }
}

#[test]
fn a_window_goes_by_the_rate_at_hand() {
    const HOUR: u64 = 3_600_000;
    let mut window = SlidingWindow::default();
    let tight = rate(2, HOUR);
    assert_eq!([0, 1_000, 2_000].map(|now_us| window.try_take(tight, now_us)), [Ok(()), Ok(()), Err(HOUR - 2)]);
    assert_eq!(window.try_take(rate(3, HOUR), 3_000), Ok(()), "a higher count");
    assert_eq!(window.try_take(rate(2, 10), 4_000), Err(7), "a shorter window: no wait longer than it");
    assert_eq!(window.try_take(rate(2, 10), 11_000), Ok(()));
}
