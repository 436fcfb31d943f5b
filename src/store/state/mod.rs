//! What the changes in the log lead to: rooms with their records, members, invites and receipts, sessions, accounts, dead
//! letters. The same changes in the same order give the same state and the same answers; nothing here reads a clock.
//!
//! ```text
//! changes ──► state: one group is one batch ──► tables
//!               │ group: Begin, End, Open, Append, Forget
//!               │ rooms, members, invites, receipts, sessions, accounts, dead_letters: what is asked
//! reads ──► pages (load, page), answers (asks that change nothing), listings and audit (operators)
//! time  ──► sweep: removes what reads do not show any more
//! ```
//!
//! Reads show nothing that has expired or stands above a bound, whether it has been removed or not, and no answer to a change
//! depends on it: so the sweep, which goes by the clock and the configuration, is no part of the log. The one removal that
//! later changes depend on, of a room's numbering, is proposed by the sweep and comes back as a change
//! ([`Change::Forget`](crate::store::change::Change::Forget)).

mod accounts;
mod answers;
mod audit;
mod dead_letters;
mod error;
mod group;
mod imports;
mod invites;
mod keys;
mod listings;
mod lookups;
mod members;
mod outcome;
mod pages;
mod receipts;
mod rooms;
mod rows;
mod rules;
mod sessions;
mod states;
mod sweep;
#[cfg(test)]
mod tests;

pub use audit::Holdings;
pub use error::StateError;
pub use listings::{ListedInvite, ListedMember, ListedReceipt, RoomSummary};
pub use outcome::{Outcome, Skipped};
pub use pages::Loaded;
pub use rules::{Bounds, Keep, Rules, Setup};
pub use states::State;
pub use sweep::Swept;
