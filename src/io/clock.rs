//! Owns the clocks: the only file that reads them. Returns plain values; never waits.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::base::time::Now;

/// Zero of this process's monotonic time: the first reading by any thread.
static START: OnceLock<Instant> = OnceLock::new();

/// Reads both clocks. The monotonic one has the same zero on all threads.
#[must_use]
pub fn now() -> Now {
    let mono_us = START.get_or_init(Instant::now).elapsed().as_micros() as u64;
    // A wall clock set before 1970 must not stop the server.
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    Now { mono_us, unix_ms }
}

/// Microseconds to add to a monotonic time to get Unix time, by the current wall clock.
#[must_use]
pub fn wall_offset_us() -> u64 {
    let mono_us = now().mono_us;
    let unix_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    unix_us.saturating_sub(mono_us)
}

/// CPU time of the calling thread, in microseconds.
#[must_use]
pub fn thread_cpu_us() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0, |used| used.tv_sec() as u64 * 1_000_000 + used.tv_nsec() as u64 / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_threads_agree() {
        let before = now();
        let other = std::thread::spawn(now).join().expect("reads");
        let after = now();
        assert!(before.mono_us <= other.mono_us && other.mono_us <= after.mono_us);
        assert!(before.unix_ms > 1_600_000_000_000);
    }

    #[test]
    fn cpu_time_is_used_by_work() {
        let before = thread_cpu_us();
        let mut hash = 1_u64;
        while thread_cpu_us() < before + 2_000 {
            hash = std::hint::black_box(hash.wrapping_mul(31));
        }
    }
}
