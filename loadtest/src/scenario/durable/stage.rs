//! Owns the stage of a check in `durable`, and its durations. Never decides what comes next.

use crate::measure::histogram::Durations;

/// The stage of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckStage {
    /// No check, or a complete one.
    #[default]
    Idle,
    /// The connections to the killed server end.
    Waiting,
    /// The probe joins rooms.
    Probing {
        /// The room.
        room: u32,
        /// Whether the room was joined once.
        is_warm: bool,
        /// Time of the join.
        since: u64,
    },
    /// This many rooms are not read to their end.
    Reading {
        /// Number of rooms.
        left: u32,
        /// Whether everything is read, not only what is new.
        everything: bool,
    },
}

/// Durations of checks.
#[derive(Default)]
pub struct CheckDurations {
    /// Joins of rooms that are not in the server's memory.
    pub cold: Durations,
    /// Joins of the same rooms right after.
    pub warm: Durations,
    /// Pages of history.
    pub page: Durations,
    /// Time when the page of each room was asked for.
    pub asked: Vec<u64>,
}
