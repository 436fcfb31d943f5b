//! What an engine is told: by sockets, other cores, the link, the store, the clock. Values only.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::access::Keys;
use super::call::Call;
use super::hop::Hop;
use super::settings::Settings;
use crate::base::ids::{CoreId, Epoch, Position, RoomName, Seq, UserName};
use crate::wire::publication::DataKind;

/// One thing that happened. `slot` is a socket's index on this core; io never mentions a slot between the engine's
/// `Output::close` for it and the next `Accepted`.
#[derive(Debug)]
pub enum Input<'a> {
    /// A socket was accepted into a free slot.
    Accepted {
        /// Which.
        slot: u32,
        /// Whom from; an IPv4 address never in IPv6's form.
        peer: IpAddr,
    },
    /// Who is at the other end was told by a proxy that is trusted; at most once, before any byte.
    Peer {
        /// Of which.
        slot: u32,
        /// Who; an IPv4 address never in IPv6's form.
        peer: IpAddr,
    },
    /// Bytes arrived. They are unmasked in place.
    Received {
        /// From which.
        slot: u32,
        /// What.
        bytes: &'a mut [u8],
    },
    /// The send handed out last for this slot was taken whole by the kernel. One send per slot is out at a time.
    Sent {
        /// Which.
        slot: u32,
    },
    /// The peer has ended its stream: no bytes come any more, but it may still read. At most once. The engine closes
    /// when everything is sent that it has to say.
    Ended {
        /// Which.
        slot: u32,
    },
    /// What the peer sends can no longer be read, and nothing of the engine's can be sent: neither [`Input::Received`] nor
    /// [`Input::Sent`] follows. io has last words of its own, which go out before the half-close that the engine answers
    /// with; the engine closes when the peer has gone, or has had time enough.
    Broken {
        /// Which.
        slot: u32,
    },
    /// The socket failed: nothing can be sent any more. The engine answers with a close.
    Disconnected {
        /// Which.
        slot: u32,
    },
    /// Hops from another core, in order. Those that the turn does not take are left, for the next one.
    Hops {
        /// From which.
        from: CoreId,
        /// What.
        hops: &'a mut Vec<Hop>,
    },
    /// The link says something.
    Link(LinkEvent),
    /// The store says something.
    Store(StoreEvent),
    /// The control address asks, or has something done. Answered exactly once, by `Output::answers`.
    Call {
        /// Comes back with the answer.
        token: u64,
        /// What.
        call: Call,
    },
    /// Time has passed: see `Engine::next_tick_us`.
    Tick,
    /// Keys that verify tokens: from the first of them on, upgrades need a token. Also told again when a core has asked for
    /// more ([`Output::keys_wanted`](super::output::Output)) and there are none.
    Keys(Arc<Keys>),
    /// Planned stop: no new connections; each one is told to reconnect and closed, spread over the window.
    Drain {
        /// Over how long the closes of this core are spread.
        window_ms: u64,
        /// A successor takes the connects that come from now on, and this engine gets none: those that it has already it
        /// opens before it sends them away, so that nobody is refused.
        hands_over: bool,
    },
    /// Other settings hold from now on: limits, allowed origins, the memory budget. What cannot change while connections
    /// are open (cores, link, store, heartbeats) is as before.
    Settings(Arc<Settings>),
}

/// What is numbered by a link or kept by a store: a publication, not yet or no longer encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number (0 while the link has not numbered it).
    pub seq: Seq,
    /// When it was published, Unix milliseconds.
    pub at: u64,
    /// Who published it.
    pub from: UserName,
    /// How `data` was written.
    pub kind: DataKind,
    /// The data, verbatim.
    pub data: Bytes,
    /// The publisher's idempotency key.
    pub key: Option<Box<str>>,
    /// The connection that published it asked to be spared (`echo:false`), as node name and connection id.
    pub except: Option<Arc<str>>,
}

/// A stretch of a room as the link or the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The room's numbering and head. `None`: the room has never been published to (an open makes its epoch).
    pub head: Option<Position>,
    /// Records in order without holes, the last one at most the head. May begin later than asked when older ones are gone.
    pub records: Vec<Record>,
}

/// A publish's idempotency key as the store holds it, also where its record is not among those that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// Whose.
    pub from: UserName,
    /// Which.
    pub key: Box<str>,
    /// The number it was given.
    pub seq: Seq,
    /// When its record was published, Unix milliseconds.
    pub at: u64,
}

/// From the link (one machine of many). Any event may be lost, late, repeated or out of order; the rules that repair
/// that are in `engine::owner::linked`.
#[derive(Debug)]
pub enum LinkEvent {
    /// Answer to `LinkRequest::Open` or `LinkRequest::Read`.
    Read {
        /// Which room.
        room: RoomName,
        /// What the link holds of it.
        stretch: Stretch,
    },
    /// A publication was numbered, here or elsewhere.
    Publication {
        /// Which room.
        room: RoomName,
        /// Its numbering.
        epoch: Epoch,
        /// What.
        record: Record,
    },
    /// Answer to `LinkRequest::Publish`.
    Published {
        /// The request's.
        token: u64,
        /// Its position, and whether the key was known; or the link could not do it and the publish did not happen,
        /// as far as can be known.
        result: Result<(Position, bool), LinkFailure>,
    },
    /// The connection to the link was made again: anything may have been missed.
    Restored,
}

/// The link could not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFailure {
    /// When the publisher should try again.
    pub retry_after_ms: u64,
}

/// From the store of this machine. Answers of one room come in the order of its requests.
#[derive(Debug)]
pub enum StoreEvent {
    /// Answer to `StoreRequest::Load`.
    Loaded {
        /// Which room.
        room: RoomName,
        /// What the store holds of it.
        stretch: Stretch,
        /// The keys that were asked for, in the order of their seqs.
        keys: Vec<KeptKey>,
    },
    /// Everything of this room up to here is on disk.
    Committed {
        /// Which room.
        room: RoomName,
        /// Its numbering.
        epoch: Epoch,
        /// The last one.
        seq: Seq,
    },
    /// This append and all later ones of the room that are not committed did not happen.
    Failed {
        /// Which room.
        room: RoomName,
        /// Its numbering.
        epoch: Epoch,
        /// The first one that failed.
        seq: Seq,
        /// When the publisher should try again.
        retry_after_ms: u64,
    },
}
