//! Changes of state that wait because they met a full lane. Never sends one.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::base::ids::{CoreId, RoomName, UserName};
use crate::engine::hop::MemberRef;
use crate::wire::protocol::{LeftReason, ReplyTo};

/// How a membership ends.
#[derive(Clone, Copy, Debug)]
pub enum MembershipEnd {
    /// By command.
    Asked(ReplyTo),
    /// By the server.
    Expelled(LeftReason),
    /// With its connection.
    Gone,
}

/// Rooms that a connection leaves, each with the away state that its owner was told last.
pub type LeftRooms = SmallVec<[(RoomName, bool); 1]>;

/// What an ended connection is still counted for.
#[derive(Clone, Debug)]
pub enum Counted {
    Address(IpAddr),
    User(UserName),
}

/// A change that waits for lanes.
#[derive(Debug)]
pub enum Change {
    /// Memberships of one connection end.
    Left { member: MemberRef, passes: Option<CoreId>, how: MembershipEnd, rooms: LeftRooms },
    /// A connection is uncounted.
    Uncounted(Counted),
}

/// Changes that wait for lanes.
#[derive(Debug)]
pub struct Late {
    pub changes: VecDeque<Change>,
    /// Ended connections that are still counted, by the core that counts them.
    pub uncounted: Vec<u32>,
    /// Open connections whose leaves and expulsions wait, by slot, with how many: their next commands must not overtake
    /// them.
    holding: HashMap<u32, u32, FixedState>,
    /// Connections with the mark [`RESTLESS`](crate::engine::session::Marks::RESTLESS), by slot and generation.
    pub restless: VecDeque<(u32, u32)>,
    /// When the lanes are tried again, monotonic microseconds.
    pub due_us: Option<u64>,
}

impl Late {
    pub fn new(cores: u16) -> Self {
        let (changes, restless) = (VecDeque::new(), VecDeque::new());
        Self { changes, uncounted: vec![0; usize::from(cores)], holding: HashMap::default(), restless, due_us: None }
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.restless.is_empty()
    }

    /// Whether a change waits that the next command of a connection must not overtake.
    pub fn holds(&self, slot: u32) -> bool {
        !self.holding.is_empty() && self.holding.contains_key(&slot)
    }

    pub fn hold(&mut self, slot: u32) {
        *self.holding.entry(slot).or_default() += 1;
    }

    pub fn let_go(&mut self, slot: u32) {
        let held = self.holding.get_mut(&slot).expect("held before");
        *held -= 1;
        if *held == 0 {
            self.holding.remove(&slot);
        }
    }
}
