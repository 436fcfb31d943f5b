//! Counts the requests about accounts of each address, under a rate of their own. Never knows what an attempt was about, nor
//! how it ended.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use crate::base::limits::{ACCOUNT_ATTEMPTS, ACCOUNT_ATTEMPTS_PER_MS, LIMITER_ENTRY_BYTES, LIMITER_LOOKS_PER_TICK_MAX};
use crate::engine::budget::Budget;
use crate::engine::random::NameHashing;
use crate::engine::rates::{Bucket, DueKeys, Rate};
use crate::engine::table;

const RATE: Option<Rate> = Rate::new(ACCOUNT_ATTEMPTS, ACCOUNT_ATTEMPTS_PER_MS);

/// The attempts of the addresses of one core.
#[derive(Debug)]
pub(super) struct Attempts {
    buckets: HashMap<Ipv6Addr, Bucket, NameHashing>,
    /// Addresses to look at again: their buckets may be full.
    due: DueKeys<Ipv6Addr>,
}

impl Attempts {
    pub(super) fn new(hashing: NameHashing) -> Self {
        Self { buckets: HashMap::with_hasher(hashing), due: DueKeys::default() }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// The address is over the rate: milliseconds until it may try again.
    pub(super) fn try_take(&mut self, network: Ipv6Addr, now_us: u64, budget: &mut Budget) -> Result<(), u64> {
        let Some(rate) = RATE else { return Ok(()) };
        let bucket = self.buckets.entry(network).or_insert_with(|| {
            budget.charge(LIMITER_ENTRY_BYTES);
            self.due.push(now_us + rate.full_ms() * 1_000, network);
            Bucket::default()
        });
        bucket.try_take(rate, now_us)
    }

    /// Forgets addresses with full buckets.
    pub(super) fn tick(&mut self, now_us: u64, budget: &mut Budget) {
        let Some(rate) = RATE else { return };
        for _ in 0..LIMITER_LOOKS_PER_TICK_MAX {
            let Some(network) = self.due.take_due(now_us) else { break };
            if self.buckets.get(&network).is_some_and(|bucket| !bucket.is_full(now_us)) {
                self.due.push(now_us + rate.full_ms() * 1_000, network);
            } else if self.buckets.remove(&network).is_some() {
                table::shrink(&mut self.buckets);
                budget.release(LIMITER_ENTRY_BYTES);
            }
        }
    }

    pub(super) fn next_tick_us(&self) -> Option<u64> {
        self.due.first_us()
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.buckets.len()
    }
}
