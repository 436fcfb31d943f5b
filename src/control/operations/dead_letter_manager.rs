//! What the operations on dead letters ask of the server that keeps them. Knows no store.

use super::account_manager::Managed;
use crate::engine::kept::DeadLetter;

/// The dead letters of this server.
pub trait ManageDeadLetters: Send + Sync {
    /// Those above an id, in the order of ids.
    fn list(&self, after: u64, limit: u32) -> Managed<'_, Vec<DeadLetter>>;
    /// One; `None`: there is none of this id.
    fn find(&self, id: u64) -> Managed<'_, Option<DeadLetter>>;
    /// Forgets one; whether there was one.
    fn forget(&self, id: u64) -> Managed<'_, bool>;
}
