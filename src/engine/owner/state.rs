//! The tables of an owner half. Their operations are in `hops`, `asks`, `store_news`, `linking`, `ticks` and `books`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::awaited::Awaited;
use super::largest::Largest;
use super::link_state::LinkState;
use super::numberings::Numberings;
use super::questions::Question;
use super::retention::Retention;
use super::room_id::RoomId;
use super::rooms::Rooms;
use super::sizes::Sizes;
use crate::base::ids::CoreId;
use crate::engine::asks::Asks;
use crate::engine::random::TableKeys;
use crate::engine::settings::Settings;
use crate::engine::tokens::TokenPart;

/// The rooms of one core.
#[derive(Debug)]
pub struct Owner {
    pub(super) settings: Arc<Settings>,
    pub(super) rooms: Rooms,
    /// Rooms whose tick is due at a time (monotonic milliseconds); each at most once.
    pub(super) timers: BTreeSet<(u64, RoomId)>,
    pub(super) retention: Retention,
    pub(super) largest: Largest,
    /// Heads of rooms that were removed.
    pub(super) numberings: Numberings,
    /// Bytes charged for them.
    pub(super) numberings_entered: usize,
    pub(super) sizes: Sizes,
    pub(super) awaited: Awaited,
    /// Questions about rooms that the store has not answered.
    pub(super) asks: Asks<Question>,
    /// Number of rooms created so far with a link or a store.
    pub(super) rooms_made: u64,
    pub(super) linking: LinkState,
    /// Rooms that wait for the link or the store.
    pub(super) waiting_rooms: u32,
}

impl Owner {
    /// No rooms.
    #[must_use]
    pub fn new(settings: Arc<Settings>, core: CoreId, tables: &mut TableKeys) -> Self {
        Self {
            settings,
            rooms: Rooms::new(tables.hashing()),
            numberings: Numberings::new(tables.hashing()),
            numberings_entered: 0,
            timers: BTreeSet::new(),
            retention: Retention::default(),
            largest: Largest::default(),
            sizes: Sizes::default(),
            awaited: Awaited::new(core),
            asks: Asks::new(core, TokenPart::Rooms),
            rooms_made: 0,
            linking: LinkState::default(),
            waiting_rooms: 0,
        }
    }
}
