//! Deadlines of open and closing connections, and the other state that ticks move on. Never looks at a clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::deadlines::{Deadline, Deadlines};
use super::drain::Drain;
use super::worst::Worst;
use crate::base::limits::TICK_MS;
use crate::engine::settings::Settings;

/// All that waits for time, except in the lobby.
#[derive(Debug)]
pub struct Timers {
    /// When closing WebSockets are closed at the latest.
    pub closes: Deadlines,
    /// When connections are next looked at for being idle.
    pub idle: VecDeque<(Deadline, IdleLook)>,
    /// Connections whose heartbeat timeout may end before the wheel comes to them again.
    pub silent: BinaryHeap<Reverse<Deadline>>,
    /// Ticks in one round of the wheel: a slot is due at its number modulo this.
    pub wheel: u64,
    /// The last tick that was done, in [`TICK_MS`] since the start.
    pub ticked: u64,
    pub drain: Option<Drain>,
    pub shedding: Shedding,
    /// The connection that lags most.
    pub worst: Worst,
}

/// What the last look at a connection found.
#[derive(Clone, Copy, Debug)]
pub struct IdleLook {
    /// Messages until then.
    pub messages: u32,
    /// Looks since the last message.
    pub looks: u8,
}

/// The times of shedding, monotonic milliseconds.
#[derive(Debug, Default)]
pub struct Shedding {
    /// When connections are looked at again.
    pub again_ms: u64,
    /// When connections that were told to go are cut off.
    pub cut_off_ms: u64,
}

impl Timers {
    pub fn new(settings: &Settings) -> Self {
        Self {
            closes: Deadlines::default(),
            idle: VecDeque::new(),
            silent: BinaryHeap::new(),
            wheel: (settings.heartbeat_interval_ms / TICK_MS).max(1),
            ticked: 0,
            drain: None,
            shedding: Shedding::default(),
            worst: Worst::default(),
        }
    }
}
