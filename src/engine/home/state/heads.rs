//! Incomplete request heads. Few at any time, since most heads arrive whole. Never parses one.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::engine::budget::Budget;
use crate::engine::table;

/// The parts of request heads that have arrived, by slot.
#[derive(Debug, Default)]
pub struct Heads {
    parts: HashMap<u32, Box<[u8]>, FixedState>,
    bytes: usize,
}

impl Heads {
    /// Keeps the part of a head that has arrived.
    pub fn keep(&mut self, slot: u32, received: &[u8], budget: &mut Budget) {
        budget.charge(received.len());
        self.bytes += received.len();
        self.parts.insert(slot, received.into());
    }

    /// Takes the part out.
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
