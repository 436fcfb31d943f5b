//! Owns the CPU time of a process's threads by name, read from `/proc`. Never fails: an unreadable thread is absent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Clock ticks in `/proc/PID/task/TID/stat` are 10 ms on every Linux architecture.
const TICK_NS: u64 = 10_000_000;

/// CPU time in nanoseconds by name, summed over the threads whose names differ only in a number at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadTimes(BTreeMap<String, u64>);

impl ThreadTimes {
    /// Reads the threads of a process; empty if it does not exist.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let mut times = ThreadTimes::default();
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let Ok(name) = fs::read_to_string(thread.path().join("comm")) else { continue };
            let Some(ns) = cpu_ns(&thread.path()) else { continue };
            *times.0.entry(group(name.trim_end()).to_owned()).or_default() += ns;
        }
        times
    }

    /// The change since `earlier`, by name.
    #[must_use]
    pub fn since(&self, earlier: &ThreadTimes) -> ThreadTimes {
        let before = |name: &String| earlier.0.get(name).copied().unwrap_or(0);
        ThreadTimes(self.0.iter().map(|(name, ns)| (name.clone(), ns.saturating_sub(before(name)))).collect())
    }

    /// Shares of a CPU within `seconds`, by name, of the threads that used any.
    #[must_use]
    pub fn shares(&self, seconds: f64) -> BTreeMap<String, f64> {
        let used = self.0.iter().filter(|(_, ns)| **ns > 0);
        used.map(|(name, ns)| (name.clone(), *ns as f64 / 1e9 / seconds)).collect()
    }
}

/// CPU time of a thread: to the nanosecond where the kernel tells it, otherwise in ticks.
fn cpu_ns(thread: &Path) -> Option<u64> {
    if let Some(ns) = fs::read_to_string(thread.join("schedstat")).ok().as_deref().and_then(first_number) {
        return Some(ns);
    }
    of_stat(&fs::read_to_string(thread.join("stat")).ok()?)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// User and kernel time in a `stat` line, whose second field may contain spaces.
fn of_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * TICK_NS)
}

/// The name without a number at its end: `core` of `core-12`.
fn group(name: &str) -> &str {
    let stem = name.trim_end_matches(|last: char| last.is_ascii_digit());
    let stem = if stem.len() < name.len() { stem.trim_end_matches(['-', '_', ':', '#', ' ']) } else { stem };
    if stem.is_empty() { name } else { stem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_told_apart_by_name() {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let spin = |name: &str| {
            let stop = std::sync::Arc::clone(&stop);
            let body = move || while !stop.load(std::sync::atomic::Ordering::Relaxed) {};
            std::thread::Builder::new().name(name.into()).spawn(body).expect("a thread")
        };
        let before = ThreadTimes::of(std::process::id());
        let threads = [spin("spinner-0"), spin("spinner-1")];
        let mut spun = 0;
        while spun < 20_000_000 {
            std::thread::yield_now();
            spun = ThreadTimes::of(std::process::id()).since(&before).0.get("spinner").copied().unwrap_or(0);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        assert_eq!(ThreadTimes::of(0x007f_ffff), ThreadTimes::default());
    }

    #[test]
    fn names_and_times_are_read() {
        assert_eq!(["core-0", "store", "fjall:worker12", "7"].map(group), ["core", "store", "fjall:worker", "7"]);
        let stat = "12 (a) b) S 1 1 1 0 -1 4 1 0 0 0 30 12 0 0 20 0 3 0 1 1 1";
        assert_eq!(of_stat(stat), Some(420_000_000));
        assert_eq!(of_stat("nonsense"), None);
        let times = ThreadTimes([("core".to_owned(), 500_000_000), ("idle".to_owned(), 0)].into());
        let shares = times.since(&ThreadTimes::default()).shares(2.0);
        assert_eq!(shares.into_iter().collect::<Vec<_>>(), [("core".to_owned(), 0.25)]);
    }
}
