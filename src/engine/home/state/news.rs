//! Members that have missed news because their outbox was full. Never tells them.

use std::collections::BTreeSet;

/// Members that have missed news.
#[derive(Debug, Default)]
pub struct Uninformed {
    /// By audience and slot.
    pub members: BTreeSet<(u32, u32)>,
    /// The next one to look at.
    pub next: (u32, u32),
}
