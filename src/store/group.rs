//! Changes that become durable together, and who waits for them. Values only.

use crate::base::ids::{CoreId, Epoch, RoomName};
use crate::engine::kept::KeptAsk;
use crate::engine::record::PageRequest;
use crate::store::change::Change;

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
#[derive(Debug, Default, PartialEq, Eq)]
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
