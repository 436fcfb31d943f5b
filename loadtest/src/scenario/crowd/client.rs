//! Owns the state of one client in a crowd: its rooms, what it has received, and its positions for rejoining. Never
//! sends.

use std::collections::VecDeque;

use crate::dialect::ClientPosition;
use crate::measure::sequence::Sequence;

/// A client.
#[derive(Debug, Default)]
pub struct CrowdClient {
    /// Whether its WebSocket is open.
    pub up: bool,
    /// Number of its connection.
    pub generation: u32,
    /// Whether it uses the binary form.
    pub binary: bool,
    /// Whether it is stalled.
    pub stalled: bool,
    /// Whether all its first joins were answered.
    pub settled: bool,
    /// Whether a command was refused, after which replies cannot be matched to publishes.
    pub unsure: bool,
    /// Time when it started to reconnect, until all rejoins are answered.
    pub returning_since: Option<u64>,
    /// Its rooms, including unanswered joins and leaves.
    pub memberships: Vec<CrowdMembership>,
    /// Unanswered publishes: room and number. The reply may come after the client has left the room.
    pub unanswered: VecDeque<(u32, u32)>,
    /// Rooms to join on reconnect.
    pub remembered: Vec<(u32, Option<ClientPosition>)>,
}

/// A membership of a client.
#[derive(Debug)]
pub struct CrowdMembership {
    /// The room.
    pub room: u32,
    /// Its stage.
    pub stage: MembershipStage,
    /// The position of its join.
    pub asked: Option<ClientPosition>,
    /// Received seqs.
    pub sequence: Sequence,
    /// The room's head in the reply to the join. Later messages are live.
    pub head: u64,
}

impl CrowdMembership {
    /// Starts a membership with a join.
    #[must_use]
    pub fn joining(room: u32, asked: Option<ClientPosition>) -> Self {
        CrowdMembership { room, stage: MembershipStage::Joining, asked, sequence: Sequence::default(), head: 0 }
    }
}

/// The stage of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipStage {
    /// The join was sent.
    Joining,
    /// The join was answered.
    In,
    /// The leave was sent.
    Leaving,
}

impl CrowdClient {
    /// Its membership of a room.
    pub fn membership(&mut self, room: u32) -> Option<&mut CrowdMembership> {
        self.memberships.iter_mut().find(|membership| membership.room == room)
    }

    /// Takes the oldest unanswered publish to a room.
    pub fn take_unanswered(&mut self, room: u32) -> Option<u32> {
        let place = self.unanswered.iter().position(|(of, _)| *of == room)?;
        self.unanswered.remove(place).map(|(_, number)| number)
    }

    /// Its joined rooms.
    pub fn rooms_in(&self) -> impl Iterator<Item = u32> {
        let inside = self.memberships.iter().filter(|membership| membership.stage == MembershipStage::In);
        inside.map(|membership| membership.room)
    }

    /// Whether it is connected and all joins and leaves are answered.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.up && self.memberships.iter().all(|membership| membership.stage == MembershipStage::In)
    }

    /// Handles the loss of its connection: remembers its rooms and positions.
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
