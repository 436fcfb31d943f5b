//! Thousands of runs with crashes between and within any two operations, at the start and during repairs too. Every
//! acknowledged group is there with its bytes and in order; no failed group is read after a later one; none is invented.

use super::super::error::LogError;
use super::super::model::{Failure, ModelDisk};
use super::super::writer::Log;
use super::{append, groups, options};

const SEEDS: u64 = 2_000;
const LIVES: u64 = 5;

/// What the runs met, so that a test which meets nothing fails.
#[derive(Debug, Default)]
struct Met {
    starts: u32,
    failed_starts: u32,
    torn: u32,
    /// A group that had failed for its writer was found at the start.
    found_unacknowledged: u32,
    failed_appends: u32,
    healed: u32,
    removed: usize,
    segments: usize,
}

struct Run {
    seed: u64,
    disk: ModelDisk,
    random: u64,
    /// Payloads of the groups from 1 on.
    acknowledged: Vec<Vec<u8>>,
    /// Payloads that failed since the last acknowledged one.
    failed: Vec<Vec<u8>>,
    /// The highest number up to which groups may be gone.
    removable: u64,
    count: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            disk: ModelDisk::new(seed),
            random: seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1,
            acknowledged: Vec::new(),
            failed: Vec::new(),
            removable: 0,
            count: 0,
        }
    }

    /// Below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % bound
    }

    fn set_failure(&mut self, operations: u64) {
        let at = self.below(operations);
        let failure = match self.below(8) {
            0..=3 => Some(Failure::From(at)),
            4 => Some(Failure::Once(at)),
            5 => [Failure::Syncs, Failure::Full, Failure::ReadOnly].get(self.below(3) as usize).copied(),
            _ => None,
        };
        self.disk.set_failure(failure);
    }

    /// The process ends; the machine may lose power with it.
    fn end(&mut self) {
        if self.below(3) == 0 {
            self.disk.set_failure(None);
        } else {
            let seed = self.below(u64::MAX);
            self.disk.crash(seed);
        }
    }

    /// A start, which may fail or be cut off.
    fn start(&mut self, met: &mut Met) -> Option<Log<ModelDisk>> {
        let salt = self.below(1_000);
        match Log::open(self.disk.clone(), options(salt)) {
            Ok((log, recovered)) => {
                met.starts += 1;
                met.torn += u32::from(recovered.torn.is_some());
                self.disk.set_failure(None);
                self.verify_start(&log, met);
                Some(log)
            }
            Err(LogError::Io { .. } | LogError::Append(_)) => {
                met.failed_starts += 1;
                None
            }
            Err(error) => panic!("seed {}: {error}", self.seed),
        }
    }

    fn verify_start(&mut self, log: &Log<ModelDisk>, met: &mut Met) {
        let newest = log.figures().newest as usize;
        if newest == self.acknowledged.len() + 1 {
            let (_, bytes) = groups(log, newest as u64 - 1).pop().expect("the log says that it holds the group");
            assert!(self.failed.contains(&bytes), "seed {}: group {newest} is invented", self.seed);
            // Whoever reads the log has seen it now.
            self.acknowledged.push(bytes);
            met.found_unacknowledged += 1;
        }
        self.failed.clear();
        self.verify(log);
    }

    fn verify(&self, log: &Log<ModelDisk>) {
        let oldest = log.figures().oldest;
        assert!(oldest <= self.removable + 1, "seed {}: groups before {oldest} are gone", self.seed);
        let expected: Vec<_> = (1..).zip(self.acknowledged.iter().cloned()).skip(oldest as usize - 1).collect();
        assert!(groups(log, oldest - 1) == expected, "seed {}: groups are lost, changed or invented", self.seed);
    }

    fn append(&mut self, log: &mut Log<ModelDisk>, met: &mut Met) {
        self.count += 1;
        let length = match self.below(12) {
            0 => 5_000 + self.below(9_000),
            1 => 0,
            2..=4 => self.below(40),
            _ => self.below(1_800),
        };
        let mut bytes = format!("{} {} ", self.seed, self.count).into_bytes();
        bytes.resize(bytes.len() + length as usize, self.count as u8);
        match append(log, &bytes) {
            Ok(commit) => {
                met.healed += u32::from(!self.failed.is_empty());
                self.acknowledged.push(bytes);
                self.failed.clear();
                assert_eq!(commit, self.acknowledged.len() as u64, "seed {}", self.seed);
            }
            Err(_) => {
                met.failed_appends += 1;
                self.failed.push(bytes);
            }
        }
    }

    fn live(&mut self, mut log: Log<ModelDisk>, met: &mut Met) {
        self.set_failure(60);
        for step in 0..self.below(16) {
            match self.below(10) {
                0 => {
                    let commit = self.below(self.acknowledged.len() as u64 + 1);
                    self.removable = self.removable.max(commit);
                    met.removed += log.truncate_to(commit).unwrap_or(0);
                }
                1..=3 => drop(log.prepare()),
                4 if step > 6 => self.disk.set_failure(None),
                _ => self.append(&mut log, met),
            }
        }
        met.segments = met.segments.max(log.figures().segments);
        if self.below(4) == 0 {
            let _ = log.close();
        }
    }
}

#[test]
fn what_is_acknowledged_survives_any_crash() {
    let mut met = Met::default();
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..LIVES {
            // Half of the starts are cut off, up to twice in a row.
            for _ in 0..2 {
                if run.below(2) == 0 {
                    run.set_failure(24);
                    drop(run.start(&mut met));
                    run.end();
                }
            }
            run.disk.set_failure(None);
            let log = run.start(&mut met).expect("the disk works");
            run.live(log, &mut met);
            run.end();
        }
        let log = run.start(&mut met).expect("the disk works");
        run.verify(&log);
    }
    let enough = SEEDS as u32 / 20;
    assert!(
        met.starts > enough
            && met.failed_starts > enough
            && met.torn > enough
            && met.found_unacknowledged > enough
            && met.failed_appends > enough
            && met.healed > enough
            && met.removed > enough as usize
            && met.segments > 4,
        "the runs meet everything: {met:?}"
    );
}

#[test]
fn a_repair_is_cut_off_at_any_operation_twice() {
    let mut torn = 0;
    for seed in 0..60 {
        let disk = ModelDisk::new(seed);
        let (mut log, _) = Log::open(disk.clone(), options(1)).expect("the disk works");
        append(&mut log, b"kept").expect("the disk works");
        disk.set_failure(Some(Failure::From(0)));
        append(&mut log, &[9; 3_000]).expect_err("the power is gone");
        drop(log);
        disk.crash(seed);
        for first in 0..24 {
            for second in (0..24).step_by(3) {
                let disk = disk.fork();
                for (at, salt) in [(first, 2), (second, 3)] {
                    disk.set_failure(Some(Failure::From(at)));
                    if let Err(error) = Log::open(disk.clone(), options(salt)) {
                        assert!(matches!(error, LogError::Io { .. } | LogError::Append(_)), "{error}");
                    }
                    disk.crash(seed ^ at);
                }
                let (mut log, recovered) = Log::open(disk.clone(), options(4)).expect("the disk works");
                torn += u32::from(recovered.torn.is_some());
                let found = groups(&log, 0);
                assert_eq!(found[0], (1, b"kept".to_vec()));
                assert!(found.len() == 1 || found[1..] == [(2, vec![9; 3_000])], "seed {seed}");
                append(&mut log, b"next").expect("the disk works");
                drop(log);
                disk.crash(seed);
                let (log, _) = Log::open(disk.clone(), options(5)).expect("the disk works");
                assert_eq!(groups(&log, found.len() as u64), [(found.len() as u64 + 1, b"next".to_vec())]);
            }
        }
    }
    assert!(torn > 100, "there are torn tails to repair: {torn}");
}
