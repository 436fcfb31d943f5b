//! Buckets and windows against plain counting.

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
                assert!(later.try_take(rate, now_us + retry_after_ms * 1_000).is_ok(), "as told, there is one by then");
                let mut sooner = bucket;
                assert!(sooner.try_take(rate, now_us + (retry_after_ms - 1) * 1_000).is_err(), "and none before");
            }
        }
    }
    for (first, at_us) in taken_us.iter().enumerate() {
        let within = taken_us[first..].iter().take_while(|taken| **taken < at_us + 3_000_000).count();
        assert!(within <= 14 + 70 + 1, "{within} within ten periods");
    }
    assert!(taken_us.len() as u64 >= now_us / 300_000 * 7, "one who always asks gets the whole rate");
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
        assert_eq!(at_once.try_take_many(count, rate, now_us).is_ok(), taken.is_ok());
        if taken.is_ok() {
            one_by_one = trial;
        }
        assert_eq!(at_once, one_by_one);
    }
}

#[test]
fn more_than_a_bucket_holds_is_taken_from_a_full_one_and_owed() {
    let (rate, mut bucket) = (rate(10, 1_000), Bucket::default());
    assert_eq!(bucket.try_take_many(50, rate, 0), Ok(()));
    assert_eq!(bucket.try_take(rate, 0), Err(3_100), "thirty are owed");
    assert_eq!(bucket.try_take_many(50, rate, 4_999_000), Err(1), "not before it is full again");
    assert_eq!(bucket.try_take_many(50, rate, 5_000_000), Ok(()));
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
    assert_eq!(window.try_take(rate(2, 1_000), 10_000), Err(998), "until all but one of the ten have left");
}
