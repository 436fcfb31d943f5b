//! One client of a crowd: the rooms it is in, what it has received of each, and what it will say when it comes back.

use std::collections::VecDeque;

use crate::dialect::ClientPosition;
use crate::measure::sequence::Sequence;

/// A client.
#[derive(Debug, Default)]
pub struct CrowdClient {
    /// Its WebSocket is open.
    pub up: bool,
    /// Counts its connections.
    pub generation: u32,
    /// It speaks the binary form.
    pub binary: bool,
    /// It does not read for the moment.
    pub stalled: bool,
    /// All its first joins were answered.
    pub settled: bool,
    /// A command was refused: replies can no longer be matched to publishes.
    pub unsure: bool,
    /// When it began to come back, until it is back.
    pub returning_since: Option<u64>,
    /// Rooms that it is in or on its way into or out of.
    pub memberships: Vec<CrowdMembership>,
    /// Publishes that have not been answered: room and number. An answer may come after the client has left the room.
    pub unanswered: VecDeque<(u32, u32)>,
    /// Rooms to join when it comes back.
    pub remembered: Vec<(u32, Option<ClientPosition>)>,
}

/// A client in a room.
#[derive(Debug)]
pub struct CrowdMembership {
    /// The room.
    pub room: u32,
    /// How far it is.
    pub stage: MembershipStage,
    /// What it said it had when it joined.
    pub asked: Option<ClientPosition>,
    /// What it has received.
    pub sequence: Sequence,
    /// The room's head when the join was answered: what comes behind it is live.
    pub head: u64,
}

impl CrowdMembership {
    /// One that begins with a join.
    #[must_use]
    pub fn joining(room: u32, asked: Option<ClientPosition>) -> Self {
        CrowdMembership { room, stage: MembershipStage::Joining, asked, sequence: Sequence::default(), head: 0 }
    }
}

/// How far a membership is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipStage {
    /// The join was sent.
    Joining,
    /// It was answered.
    In,
    /// The leave was sent.
    Leaving,
}

impl CrowdClient {
    /// Its membership of a room.
    pub fn membership(&mut self, room: u32) -> Option<&mut CrowdMembership> {
        self.memberships.iter_mut().find(|membership| membership.room == room)
    }

    /// Takes the oldest publish to a room that has not been answered.
    pub fn take_unanswered(&mut self, room: u32) -> Option<u32> {
        let place = self.unanswered.iter().position(|(of, _)| *of == room)?;
        self.unanswered.remove(place).map(|(_, number)| number)
    }

    /// The rooms that it is in.
    pub fn rooms_in(&self) -> impl Iterator<Item = u32> {
        let inside = self.memberships.iter().filter(|membership| membership.stage == MembershipStage::In);
        inside.map(|membership| membership.room)
    }

    /// Whether nothing is on its way for it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.up && self.memberships.iter().all(|membership| membership.stage == MembershipStage::In)
    }

    /// Its connection is gone: what it was in, it will join again from where it was.
    pub fn go_down(&mut self, epoch_of: impl Fn(u32) -> Option<String>) {
        self.up = false;
        self.stalled = false;
        self.unanswered.clear();
        for membership in self.memberships.drain(..) {
            let position = match membership.stage {
                MembershipStage::Joining => membership.asked,
                MembershipStage::In => epoch_of(membership.room)
                    .map(|epoch| ClientPosition { epoch, seq: membership.sequence.next().saturating_sub(1) }),
                MembershipStage::Leaving => continue,
            };
            self.remembered.push((membership.room, position));
        }
    }
}
