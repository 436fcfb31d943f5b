//! Pings of clients that are not answered yet. Never sends a pong.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// Connections that have sent pings in this turn, or whose latest ping waits for the end of a send.
#[derive(Debug, Default)]
pub struct Pongs {
    pub by_slot: HashMap<u32, Pinged, FixedState>,
    /// Slots that have sent a ping in this turn.
    pub heard: Vec<u32>,
}

/// The pings of one connection.
#[derive(Debug, Default)]
pub struct Pinged {
    /// Pongs queued in this turn.
    pub answered: u8,
    /// The payload of the latest unanswered ping.
    pub latest: Option<Box<[u8]>>,
}
