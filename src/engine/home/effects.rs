//! The parts of an engine that its home half acts through. Never holds state of its own.

use crate::base::counters::CoreCounters;
use crate::base::time::Now;
use crate::engine::budget::Budget;
use crate::engine::limiter::Limiter;
use crate::engine::outbound::Outbound;
use crate::engine::output::Output;
use crate::engine::packer::Packer;
use crate::engine::user::Users;
use crate::wire::deflate::Inflater;

/// The parts of the engine that the home half acts through, borrowed for one call.
pub struct HomeEffects<'a> {
    /// The current time.
    pub now: Now,
    /// Hops out.
    pub outbound: &'a mut Outbound,
    /// The limiter of this core, asked directly.
    pub limiter: &'a mut Limiter,
    /// The users of this core, asked directly on the message path.
    pub users: &'a mut Users,
    /// Queued frames, partial heads and messages are charged here.
    pub budget: &'a mut Budget,
    /// Compresses frames for connections that read compressed ones.
    pub packer: &'a mut Packer,
    /// Inflates messages that clients have compressed.
    pub inflater: &'a mut Inflater,
    /// Bytes of replies are added here.
    pub said_bytes: &'a mut usize,
    /// The counters of this core.
    pub counters: &'a CoreCounters,
    /// Sends, closes and the log.
    pub output: &'a mut Output,
}
