//! Request heads of which a part has arrived: few at any time, since a usual head comes whole. Reads none of them.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::engine::budget::Budget;
use crate::engine::table;

/// Parts of request heads, by slot.
#[derive(Debug, Default)]
pub(in crate::engine::home) struct Heads {
    parts: HashMap<u32, Box<[u8]>, FixedState>,
    bytes: usize,
}

impl Heads {
    /// Keeps all that has arrived of a head.
    pub fn keep(&mut self, slot: u32, received: &[u8], budget: &mut Budget) {
        budget.charge(received.len());
        self.bytes += received.len();
        self.parts.insert(slot, received.into());
    }

    /// Takes out the part that has arrived.
    pub fn take(&mut self, slot: u32, budget: &mut Budget) -> Option<Box<[u8]>> {
        let part = self.parts.remove(&slot)?;
        table::shrink(&mut self.parts);
        budget.release(part.len());
        self.bytes -= part.len();
        Some(part)
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
