//! The parts of the engine that the owner half acts through.

use crate::base::counters::CoreCounters;
use crate::base::time::Now;
use crate::engine::budget::Budget;
use crate::engine::call::CallAnswer;
use crate::engine::link_port::LinkRequest;
use crate::engine::outbound::Outbound;
use crate::engine::packer::Packer;
use crate::engine::random::{Random, TableKeys};
use crate::engine::store_port::StoreRequest;
use crate::engine::trace::Span;

/// The parts of the engine that the owner half acts through, borrowed for one call.
pub struct OwnerEffects<'a> {
    /// The current time.
    pub now: Now,
    /// This machine's name.
    pub node: &'a str,
    /// For epochs, tokens and delays.
    pub random: &'a mut Random,
    /// Keys for the hash tables of rooms.
    pub tables: &'a mut TableKeys,
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// Spans of sampled publishes.
    pub spans: &'a mut Vec<Span>,
    /// Requests to the link.
    pub link: &'a mut Vec<LinkRequest>,
    /// Requests to the store.
    pub store: &'a mut Vec<StoreRequest>,
    /// Answers to calls, by token.
    pub answers: &'a mut Vec<(u64, CallAnswer)>,
    /// Counters of this core.
    pub counters: &'a CoreCounters,
    /// Memory budget of this core.
    pub budget: &'a mut Budget,
    /// Compresses frames for members that read compressed.
    pub packer: &'a mut Packer,
}
