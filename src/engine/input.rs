//! What an engine is told by sockets, other cores, the link, the store and the clock. Values only.

use std::net::IpAddr;
use std::sync::Arc;

use super::access::Keys;
use super::account_port::AccountEvent;
use super::call::Call;
use super::hop::Hop;
use super::link_port::LinkEvent;
use super::settings::Settings;
use super::store_port::StoreEvent;
use crate::base::ids::CoreId;

/// One event. `slot` is a socket's index on this core. After the engine's `Output::close` for a slot, io does not
/// mention it until the next `Accepted`.
#[derive(Debug)]
pub enum Input<'a> {
    /// A socket was accepted into a free slot.
    Accepted {
        /// The slot.
        slot: u32,
        /// The peer's address. An IPv4 address is never in IPv6 form.
        peer: IpAddr,
    },
    /// A trusted proxy told the client's address. At most once, before any byte.
    Peer {
        /// The slot.
        slot: u32,
        /// The client's address. An IPv4 address is never in IPv6 form.
        peer: IpAddr,
    },
    /// Bytes arrived. They are unmasked in place.
    Received {
        /// The slot.
        slot: u32,
        /// The bytes.
        bytes: &'a mut [u8],
    },
    /// The kernel has taken all of the last send for this slot. Each slot has at most one send in flight.
    Sent {
        /// The slot.
        slot: u32,
    },
    /// The peer has ended its stream: it sends no more bytes, but may still read. At most once. The engine closes the
    /// connection when everything is sent.
    Ended {
        /// The slot.
        slot: u32,
    },
    /// Nothing from the peer can be read any more, and nothing from the engine can be sent: neither [`Input::Received`]
    /// nor [`Input::Sent`] follows. io has last bytes of its own, sent before the half-close that the engine answers
    /// with. The engine closes the connection when the peer has ended its stream, or after a time limit.
    Broken {
        /// The slot.
        slot: u32,
    },
    /// The socket failed: nothing can be sent any more. The engine answers with a close.
    Disconnected {
        /// The slot.
        slot: u32,
    },
    /// Hops from another core, in order. Hops that the turn does not take stay in the queue for the next turn.
    Hops {
        /// The sending core.
        from: CoreId,
        /// The hops.
        hops: &'a mut Vec<Hop>,
    },
    /// An event from the link.
    Link(LinkEvent),
    /// An event from the store.
    Store(StoreEvent),
    /// The answer to a request about an account.
    Account(AccountEvent),
    /// A call from the control address. Answered exactly once, by `Output::answers`.
    Call {
        /// Comes back with the answer.
        token: u64,
        /// The call.
        call: Call,
    },
    /// Time has passed. See `Engine::next_tick_us`.
    Tick,
    /// Keys that verify tokens. After the first keys, upgrades need a token. Also sent if a core has asked for new keys
    /// ([`Output::keys_wanted`](super::output::Output)) and there are none.
    Keys(Arc<Keys>),
    /// Planned stop: no new connections. Each open one is told to reconnect and closed; the closes are spread over the
    /// window.
    Drain {
        /// The window over which this core spreads its closes.
        window_ms: u64,
        /// A successor process takes new connections, and this engine gets none. It opens the connections that it
        /// already has before it drains them, so that none is refused.
        hands_over: bool,
    },
    /// New settings: limits, allowed origins, the memory budget. Settings that cannot change while connections are open
    /// (cores, link, store, heartbeats) are the same as before.
    Settings(Arc<Settings>),
}
