//! The queues of all connections of a core: references to shared frames, in order.
//!
//! A frame that waits stands once in an arena with a plain count of references, however many connections it waits for; a
//! connection's queue is a chain of 8-byte places in another. So a delivery allocates nothing, an idle connection holds
//! no queue memory, and the count needs no atomic. A queue takes so much; what rooms send beyond that goes to the
//! connection's backlog, from which the queue is refilled as the connection reads, and of which alone a room's policy
//! drops something.
//!
//! An outbox has a bound, but one that is over it is not slow for that: whoever takes what was offered is given the rest,
//! whatever a burst brings. A connection is **slow** when its outbox is over the bound and the kernel has not taken the
//! send that is under way for [`SLOW_AFTER_MS`], counted in ticks, and so only while the core was there to see it taken.
//! What waits is charged to the budget until the kernel has taken it, shared frames once; when the budget is nearly used
//! up there is far less patience. Decides nothing about connections: tells who is slow, and drops what it is told to.
//!
//! `outboxes` is all of it; `outgoing` is what comes in, `items` the arena of frames, `queue` the chains of places,
//! `backlog` and `lagging` what a queue does not take, and `flush` makes the sends.
//!
//! [`SLOW_AFTER_MS`]: crate::base::limits::SLOW_AFTER_MS

mod backlog;
mod flush;
mod items;
mod lagging;
mod outboxes;
mod outgoing;
mod queue;
#[cfg(test)]
mod tests;

pub use self::backlog::{Relief, Source};
pub use self::flush::{Encoder, Flushed};
pub use self::outboxes::Outboxes;
pub use self::outgoing::{Outgoing, Role};
