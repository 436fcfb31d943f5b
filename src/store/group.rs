//! Changes that become durable together, and who waits for them. Values only.

use bytes::Bytes;

use crate::base::ids::{CoreId, Epoch, RoomName};
use crate::engine::kept::KeptAsk;
use crate::engine::record::PageRequest;
use crate::store::change::Change;
use crate::store::codec::bytes::DecodeError;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A core, by its lane.
    Core(CoreId),
    /// A part of the server beside the cores.
    Server,
}

/// Who waits for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Nobody.
    Nobody,
    /// The owner of a room, for the commit of an append.
    Append {
        /// Of the room.
        core: CoreId,
        /// Of the request.
        attempt: u64,
    },
    /// Whoever asked, for the answer when the change is carried out.
    Ask {
        /// Who.
        from: Asker,
        /// Of the request.
        token: u64,
    },
    /// The owner of a room, for its load.
    Open {
        /// Of the room.
        core: CoreId,
        /// What is read then.
        load: Load,
    },
}

/// [`StoreRequest::Load`](crate::engine::store_port::StoreRequest::Load).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Comes back in the answer.
    pub attempt: u64,
    /// Which room.
    pub room: RoomName,
    /// Most records.
    pub count: usize,
    /// Unix milliseconds.
    pub keys_since: u64,
    /// For a room that gets a new one.
    pub epoch: Epoch,
}

/// A change and who waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What.
    pub change: Change,
    /// Who.
    pub ack: Ack,
}

/// Changes that become durable together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// In the order in which they are carried out.
    pub entries: Vec<Entry>,
    /// Memory that they take.
    pub bytes: usize,
}

/// Something to be read from the state.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// A room, for its owner.
    Load {
        /// Of the room.
        core: CoreId,
        /// What.
        load: Load,
        /// The room was opened for this in the log, so it is known.
        is_opened: bool,
    },
    /// A page of a room, for its owner.
    Page {
        /// Of the room.
        core: CoreId,
        /// What.
        request: PageRequest,
    },
    /// A [`KeptAsk`] that changes nothing.
    Ask {
        /// Who asks.
        from: Asker,
        /// Of the request.
        token: u64,
        /// What.
        ask: KeptAsk,
    },
}

/// A group in the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// It ends too early, or too late.
    #[error("the group's length does not fit its changes")]
    Length,
    /// A change.
    #[error("change {at} of the group: {why}")]
    Change {
        /// Its place in the group, from 1.
        at: usize,
        /// What is wrong.
        why: DecodeError,
    },
}

impl Group {
    /// Writes the changes: their number as a `u32`, then each with its length as a `u32` before it, little-endian.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for Entry { change, .. } in &self.entries {
            let at = out.len();
            out.extend_from_slice(&[0; 4]);
            change.encode(out);
            let length = u32::try_from(out.len() - at - 4).expect("a group is bounded far below 4 GiB");
            out[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// Reads what [`Group::encode`] has written.
    ///
    /// # Errors
    /// It is something else.
    pub fn decode(bytes: &Bytes) -> Result<Vec<Change>, GroupError> {
        let mut rest = bytes.clone();
        let count = take_u32(&mut rest)?;
        let mut changes = Vec::new();
        for at in 1..=count as usize {
            let length = take_u32(&mut rest)? as usize;
            if length > rest.len() {
                return Err(GroupError::Length);
            }
            let change = rest.split_to(length);
            changes.push(Change::decode(&change).map_err(|why| GroupError::Change { at, why })?);
        }
        if rest.is_empty() { Ok(changes) } else { Err(GroupError::Length) }
    }
}

fn take_u32(rest: &mut Bytes) -> Result<u32, GroupError> {
    if rest.len() < 4 {
        return Err(GroupError::Length);
    }
    let bytes = rest.split_to(4);
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
