//! What the owner half acts through.

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

/// What the owner half acts through: borrowed from the engine for one call.
pub struct OwnerEffects<'a> {
    /// When it is.
    pub now: Now,
    /// This machine's name.
    pub node: &'a str,
    /// For epochs, tokens and delays.
    pub random: &'a mut Random,
    /// Keys for the rooms' own tables.
    pub tables: &'a mut TableKeys,
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// Of sampled publishes.
    pub spans: &'a mut Vec<Span>,
    /// To the link.
    pub link: &'a mut Vec<LinkRequest>,
    /// To the store.
    pub store: &'a mut Vec<StoreRequest>,
    /// To those who call, by their tokens.
    pub answers: &'a mut Vec<(u64, CallAnswer)>,
    /// This core's numbers.
    pub counters: &'a CoreCounters,
    /// History is charged here.
    pub budget: &'a mut Budget,
    /// Compresses what members read so.
    pub packer: &'a mut Packer,
}
