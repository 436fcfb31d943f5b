//! What a check needs of a store, and what a store needs to know of a check.

use crate::base::ids::{Epoch, RoomName};
use crate::engine::kept::{KeptAnswer, KeptAsk};
use crate::engine::record::{PageRequest, Record, RecordPage};
use crate::store::state::{Bounds, Keep, Loaded};

/// How a boot ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything is kept, and the store says so.
    Clean,
    /// The process is killed.
    Killed,
}

/// Under which a store is checked.
#[derive(Clone, Copy)]
pub struct Conditions {
    /// Whether publications are acknowledged before they are kept, in the first boot.
    pub is_behind: bool,
    /// When the first boot begins, Unix milliseconds.
    pub began_at: u64,
    pub retention: fn(&RoomName) -> Keep,
    pub session_ttl_ms: u64,
    pub bounds: Bounds,
}

impl Default for Conditions {
    fn default() -> Self {
        let retention = |_: &RoomName| Keep { count: 1_000, ttl_ms: 86_400_000, numbering_ttl_ms: 86_400_000 };
        Self { is_behind: false, began_at: 1_000, retention, session_ttl_ms: 600_000, bounds: Bounds::default() }
    }
}

/// A store.
pub trait StoreUnderTest {
    /// As `StoreRequest::Load`.
    fn load(&mut self, room: &RoomName, count: usize, keys_since: u64, epoch: Epoch, at: u64) -> Loaded;
    /// As `StoreRequest::Append`; whether the record has been appended.
    fn append(&mut self, room: &RoomName, epoch: Epoch, record: Record) -> bool;
    /// As `StoreRequest::Page`.
    fn page(&mut self, request: &PageRequest) -> RecordPage;
    /// As `StoreRequest::Ask`.
    fn ask(&mut self, ask: KeptAsk) -> Option<KeptAnswer>;
    /// Ends the boot and begins the next.
    fn restart(&mut self, end: End, is_behind: bool, at: u64);
    /// Removes everything that may go at a time.
    fn trim(&mut self, now: u64);
}

/// Makes a store.
pub type Make<'a> = &'a dyn Fn(Conditions) -> Box<dyn StoreUnderTest>;
