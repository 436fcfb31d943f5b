//! What the user half acts through.

use crate::base::time::Now;
use crate::engine::budget::Budget;
use crate::engine::call::CallAnswer;
use crate::engine::outbound::Outbound;
use crate::engine::store_port::StoreRequest;

/// Borrowed from the engine for one call.
pub struct UserEffects<'a> {
    /// The current time.
    pub now: Now,
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// Entries are charged here.
    pub budget: &'a mut Budget,
    /// To the store.
    pub store: &'a mut Vec<StoreRequest>,
    /// To those who call, by their tokens.
    pub answers: &'a mut Vec<(u64, CallAnswer)>,
}
