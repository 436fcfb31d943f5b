//! A join as a value, while it waits and when it is done.

use arcstr::ArcStr;

use crate::base::chat::Role;
use crate::base::ids::RoomName;
use crate::base::limits::WAITING_BYTES;
use crate::engine::access::Standing;
use crate::engine::hop::{MemberRef, ToOwner};
use crate::wire::protocol::{Recover, ReplyTo};

/// A join, as its hop says it.
#[derive(Debug)]
pub(super) struct Join {
    pub member: MemberRef,
    pub away: bool,
    pub again: bool,
    pub recover: Option<Recover>,
    pub history: Option<u32>,
    pub invite: Option<ArcStr>,
    pub standing: Standing,
    /// The user's role in a created room, once the store has told it.
    pub role: Option<Role>,
    pub reply: ReplyTo,
}

impl Join {
    /// Bytes for the budget while it waits.
    pub fn bytes(&self) -> usize {
        WAITING_BYTES + self.invite.as_ref().map_or(0, |invite| invite.len())
    }

    /// The hop that says it again.
    pub fn into_hop(self, room: RoomName) -> ToOwner {
        let Join { member, away, again, recover, history, invite, standing, role: _, reply } = self;
        ToOwner::Join { room, member, away, again, recover, history, invite, standing, reply }
    }
}
