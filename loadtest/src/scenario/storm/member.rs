//! Owns the state of one member in a storm, from the loss of its connection until it has caught up. Never sends.

use crate::measure::sequence::Sequence;

/// A client in its room.
#[derive(Debug, Default)]
pub struct StormMember {
    /// Received numbers, over all connections.
    pub sequence: Sequence,
    /// Stage of its connection.
    pub stage: MemberStage,
    /// Whether storms hit it.
    pub is_hit: bool,
    /// Whether it has caught up before.
    pub was_in: bool,
    /// Whether a storm disconnected it and it is not back.
    pub away: bool,
    /// Whether it has received nothing since its reconnect to a server without numbers, so that missed publications are
    /// unknown.
    pub unsure: bool,
    /// Attempts since the loss of its connection.
    pub attempts: u8,
    /// Start of its last attempt, in nanoseconds of the fleet's clock.
    pub started: u64,
    /// While catching up, history up to this seq is a repetition.
    pub repeated_until: u64,
}

/// The stage of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberStage {
    /// No connection.
    #[default]
    Away,
    /// The join was sent.
    Joining,
    /// The join was answered; missed messages up to this seq follow.
    CatchingUp {
        /// The room's head in the reply to the join.
        head: u64,
    },
    /// Caught up.
    In,
}

impl StormMember {
    /// The last seq received without a hole before it.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.sequence.next().saturating_sub(1)
    }

    /// Handles the reply to the first join: messages after the head are expected.
    pub fn begin_behind(&mut self, head: u64) {
        self.sequence = Sequence::starting_at(head + 1);
        self.repeated_until = head;
    }

    /// Handles a disconnect by a storm.
    pub fn break_off(&mut self) {
        self.lose();
        self.away = true;
    }

    /// Handles the loss of its connection.
    pub fn lose(&mut self) {
        self.stage = MemberStage::Away;
        self.unsure = true;
        self.attempts = 0;
        self.repeated_until = 0;
    }

    /// Handles the end of catching up. Returns whether a storm had disconnected it.
    pub fn come_in(&mut self) -> bool {
        self.stage = MemberStage::In;
        self.was_in = true;
        self.attempts = 0;
        std::mem::take(&mut self.away)
    }
}
