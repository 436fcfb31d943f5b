//! The owner half of an engine: the rooms that hash to this core. Hears homes by hops, the link and the store by events;
//! answers by hops and requests. Knows no socket and no session.
//!
//! [`Owner`] (`state`) holds the tables. What comes in stands in `hops`, `asks`, `store_news`, `linking` and `ticks`, which
//! decide which room hears what; after each of them what changed is entered in the core's books (budget, ages, timers,
//! counters) in one place (`books`). A room (`room`) is what its members see (`stream`: `history`, `listeners`, `presence`,
//! `keys`), who numbers (`linked`: the link) and who keeps (`stored`: the store). What a room does stands in `membership`,
//! `publish`, `paging`, `detaining`, `machines` and the files of `room/`. What the store keeps beside publications is asked by
//! `questions`: who may join (`admission`, `creation`), rooms and their members (`administration`, `deletion`), `receipts`.

mod administration;
mod admission;
mod ahead;
mod answer;
mod asks;
mod awaited;
mod books;
mod creation;
mod deletion;
mod detaining;
mod effects;
mod entered;
mod history;
mod hops;
mod join;
mod keys;
mod largest;
mod leaving;
mod link_state;
mod linked;
mod linking;
mod listeners;
mod machines;
mod membership;
mod numberings;
mod opening;
mod pages;
mod paging;
mod presence;
mod publish;
mod questions;
mod receipts;
mod retention;
mod room;
mod room_id;
mod rooms;
mod sizes;
mod state;
mod store_news;
mod stored;
mod stream;
mod ticks;

pub use self::effects::OwnerEffects;
pub use self::state::Owner;

#[cfg(test)]
mod tests;
