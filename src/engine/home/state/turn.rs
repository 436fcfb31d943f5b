//! What gathers in one turn of a core until its flush, and vectors that are kept for their memory between turns. Never
//! holds anything that outlives a turn.

use crate::base::ids::{RoomName, Seq};
use crate::engine::outbox::Flushed;
use crate::engine::trace::Mark;

/// One turn.
#[derive(Debug, Default)]
pub struct Turn {
    /// Audiences (index and stream) that have publications pending.
    pub pending: Vec<(u32, u32)>,
    /// Arrival and number of the deliveries queued, for the publish-to-flush time. Kept while the flush of a turn goes on
    /// in the next.
    pub delivered: Vec<(u64, u64)>,
    /// Sampled publications that came in: none where nothing is traced.
    pub traced: Vec<Traced>,
    /// Members whose queue could not take the frame at hand. Empty between uses.
    pub lagging: Vec<u32>,
    /// The sends handed out. Empty between uses.
    pub flushed: Vec<Flushed>,
}

/// A sampled publication that waits for the flush of its turn.
#[derive(Debug)]
pub struct Traced {
    pub mark: Mark,
    pub room: RoomName,
    pub stream: u32,
    pub seq: Seq,
    pub arrived_us: u64,
    pub began_us: u64,
    pub deliveries: u64,
}
