//! What an engine is told: by sockets, other cores, the link, the store, the clock. Values only.

use std::net::IpAddr;
use std::sync::Arc;

use super::access::Keys;
use super::call::Call;
use super::hop::Hop;
use super::link_port::LinkEvent;
use super::settings::Settings;
use super::store_port::StoreEvent;
use crate::base::ids::CoreId;

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
