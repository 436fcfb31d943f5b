//! One member of a storm: where it is between losing its connection and having everything that it missed.

use crate::measure::sequence::Sequence;

/// A client in its room.
#[derive(Debug, Default)]
pub struct StormMember {
    /// What it has received, over all its connections.
    pub sequence: Sequence,
    /// How far its connection is.
    pub stage: MemberStage,
    /// Storms hit it.
    pub is_hit: bool,
    /// It has been in before.
    pub was_in: bool,
    /// A storm took its connection, and it is not back.
    pub away: bool,
    /// It is back at a server without numbers, and has not received anything yet that tells what it missed.
    pub unsure: bool,
    /// Attempts since it lost its connection.
    pub attempts: u8,
    /// When its last attempt began, in nanoseconds of the fleet's clock.
    pub started: u64,
    /// History up to this seq, told while it catches up, is nothing new.
    pub repeated_until: u64,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberStage {
    /// There is none.
    #[default]
    Away,
    /// The join was sent.
    Joining,
    /// It was answered; what was missed, up to this seq, is coming.
    CatchingUp {
        /// The room's head when the join was answered.
        head: u64,
    },
    /// It has everything.
    In,
}

impl StormMember {
    /// The last seq that it has, every one before it included.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.sequence.next().saturating_sub(1)
    }

    /// A first join was answered at this head: it is owed what comes after.
    pub fn begin_behind(&mut self, head: u64) {
        self.sequence = Sequence::starting_at(head + 1);
        self.repeated_until = head;
    }

    /// A storm takes its connection.
    pub fn break_off(&mut self) {
        self.lose();
        self.away = true;
    }

    /// Its connection is gone.
    pub fn lose(&mut self) {
        self.stage = MemberStage::Away;
        self.unsure = true;
        self.attempts = 0;
        self.repeated_until = 0;
    }

    /// It is in. Returns whether a storm had taken it out.
    pub fn come_in(&mut self) -> bool {
        self.stage = MemberStage::In;
        self.was_in = true;
        self.attempts = 0;
        std::mem::take(&mut self.away)
    }
}
