//! Owns the generator's clock: nanoseconds since the process started, and the CPU time of threads and processes. Never
//! uses the wall clock for latencies, because it can jump.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// Nanoseconds in a millisecond.
pub const MILLISECOND: u64 = 1_000_000;

/// A monotonic clock that starts at zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
}

impl Clock {
    /// Starts a clock.
    #[must_use]
    pub fn start() -> Self {
        Clock { zero: Instant::now() }
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_nanos()).expect("a run is shorter than 500 years")
    }
}

/// Unix time in seconds.
#[must_use]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// CPU time of the calling thread, in nanoseconds.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, nanoseconds)
}

/// CPU time of all threads of a process, in nanoseconds; `None` if it does not exist.
#[must_use]
pub fn process_cpu_ns(pid: u32) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?);
    ClockId::pid_cpu_clock_id(pid).ok()?.now().ok().map(nanoseconds)
}

/// Time that the calling thread waited for a CPU, in nanoseconds (`/proc/thread-self/schedstat`, field 2).
#[must_use]
pub fn thread_waited_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn nanoseconds(time: TimeSpec) -> u64 {
    u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work_and_not_with_sleep() {
        let before = thread_cpu_ns();
        std::thread::sleep(Duration::from_millis(30));
        let slept = thread_cpu_ns() - before;
        let clock = Clock::start();
        let begun = thread_cpu_ns();
        while thread_cpu_ns() - begun < 20 * MILLISECOND {
            assert!(clock.now() < 20 * SECOND, "CPU time stands still");
        }
        assert!(slept < 10 * MILLISECOND, "30 ms of sleep cost {slept} ns of CPU");
        assert!(process_cpu_ns(std::process::id()).expect("this process exists") >= 20 * MILLISECOND);
        assert_eq!(process_cpu_ns(0x007f_ffff), None);
    }
}
