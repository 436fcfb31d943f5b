//! What service lanes carry: its size, and what becomes of an event when a core takes none. Decided here for each event
//! of the ports; a new event must be added.

use std::fmt::Debug;

use crate::engine::link_port::{LinkEvent, LinkRequest};
use crate::engine::record::{Record, Stretch};
use crate::engine::store_port::{KeptKey, StoreEvent, StoreRequest};

/// What a core asks of a service.
pub trait ServiceRequest: Debug + Send + 'static {
    /// Memory of the request.
    fn bytes(&self) -> usize;
}

/// What a service tells a core.
pub trait ServiceEvent: Debug + Send + 'static {
    /// Memory of the event.
    fn bytes(&self) -> usize;
    /// What becomes of it when too much is on its way to the core.
    fn if_full(&self) -> IfFull;
}

/// What becomes of an event when too much is on its way to a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfFull {
    /// It is dropped: the engine notices and repairs it.
    Dropped,
    /// The service's end keeps it until the core takes it.
    Kept,
    /// As `Kept`, unless an earlier one is kept still, which says as much.
    KeptOnce,
}

impl ServiceRequest for LinkRequest {
    fn bytes(&self) -> usize {
        size_of::<Self>() + if let LinkRequest::Publish { record, .. } = self { more_of(record) } else { 0 }
    }
}

impl ServiceRequest for StoreRequest {
    fn bytes(&self) -> usize {
        size_of::<Self>() + if let StoreRequest::Append { record, .. } = self { more_of(record) } else { 0 }
    }
}

impl ServiceEvent for LinkEvent {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                LinkEvent::Read { stretch, .. } => more_of_stretch(stretch),
                LinkEvent::Publication { record, .. } => more_of(record),
                _ => 0,
            }
    }

    fn if_full(&self) -> IfFull {
        match self {
            // The room asks again after `ASK_AGAIN_MS`.
            LinkEvent::Read { .. } => IfFull::Dropped,
            // The room reads it when a later one comes, or when it compares heads.
            LinkEvent::Publication { .. } => IfFull::Dropped,
            LinkEvent::Published { .. } => IfFull::Kept,
            // Until the core hears of it, it stands for everything that was missed.
            LinkEvent::Restored => IfFull::KeptOnce,
        }
    }
}

impl ServiceEvent for StoreEvent {
    fn bytes(&self) -> usize {
        let keys = |keys: &[KeptKey]| keys.iter().map(|key| key.key.len()).sum::<usize>() + size_of_val(keys);
        size_of::<Self>()
            + match self {
                StoreEvent::Loaded { stretch, keys: kept, .. } => more_of_stretch(stretch) + keys(kept),
                _ => 0,
            }
    }

    fn if_full(&self) -> IfFull {
        match self {
            // The room asks again after `ASK_AGAIN_MS`.
            StoreEvent::Loaded { .. } => IfFull::Dropped,
            StoreEvent::Committed { .. } | StoreEvent::Failed { .. } | StoreEvent::Answered { .. } => IfFull::Kept,
        }
    }
}

/// What a record keeps alive.
fn more_of(record: &Record) -> usize {
    record.data.len() + record.key.as_deref().map_or(0, str::len) + record.except.as_deref().map_or(0, str::len)
}

fn more_of_stretch(stretch: &Stretch) -> usize {
    size_of_val(&*stretch.records) + stretch.records.iter().map(more_of).sum::<usize>()
}
