//! A frame on its way into outboxes, and what the slow policies may do with it. Never queues one.

use bytes::Bytes;

use crate::base::ids::Seq;

/// What a frame is to its room: what the policies `skip` and `latest` may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The answer to the opening handshake, and the `welcome`: whatever else is dropped, the connection starts with them.
    Opening,
    /// Never dropped once queued: a reply, a control frame, a status, `joined`.
    Other,
    /// A message that nobody is told to have missed: an ephemeral one.
    Loose,
    /// A room's numbered messages, one or a run.
    Messages {
        /// The number of the first.
        from: Seq,
    },
}

impl Role {
    pub(super) const fn is_message(self) -> bool {
        matches!(self, Role::Loose | Role::Messages { .. })
    }
}

/// A frame to be queued.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Finished server frames.
    pub bytes: Bytes,
    /// How many messages they are; control frames do not count.
    pub messages: u32,
    /// What it is to its room.
    pub role: Role,
}

impl Outgoing {
    /// A room's messages from `from` on.
    #[must_use]
    pub fn messages(from: Seq, messages: u32, bytes: Bytes) -> Self {
        Self { bytes, messages, role: Role::Messages { from } }
    }
}
