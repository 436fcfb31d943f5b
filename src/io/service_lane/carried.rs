//! The size of each request and event of the ports, and what happens to an event when a core takes none. A new event must
//! be added here.

use std::fmt::Debug;

use crate::engine::account_port::{AccountAnswer, AccountEvent, AccountRequest};
use crate::engine::link_port::{LinkEvent, LinkRequest};
use crate::engine::record::{PageAnswer, Record, Stretch};
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
    /// What happens to it when the bytes for the core exceed their bound.
    fn if_full(&self) -> IfFull;
}

/// What happens to an event when the bytes for a core exceed their bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfFull {
    /// It is dropped: the engine notices and repairs it.
    Dropped,
    /// The service's end keeps it until the core takes it.
    Kept,
    /// As `Kept`; earlier ones that are still kept are dropped, since this one says as much.
    KeptNewest,
}

impl ServiceRequest for LinkRequest {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                LinkRequest::Publish { record, .. } => more_of(record),
                LinkRequest::Positions { rooms, .. } => size_of_val(&**rooms),
                LinkRequest::Presence { changes, .. } => size_of_val(&**changes),
                _ => 0,
            }
    }
}

impl ServiceRequest for StoreRequest {
    fn bytes(&self) -> usize {
        size_of::<Self>() + if let StoreRequest::Append { record, .. } = self { more_of(record) } else { 0 }
    }
}

impl ServiceRequest for AccountRequest {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.work.bytes()
    }
}

impl ServiceEvent for AccountEvent {
    fn bytes(&self) -> usize {
        size_of::<Self>() + if let AccountAnswer::Token { token, .. } = &self.answer { token.len() } else { 0 }
    }

    fn if_full(&self) -> IfFull {
        // Whoever asked waits for it, and a core has few requests open.
        IfFull::Kept
    }
}

impl ServiceEvent for LinkEvent {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                LinkEvent::Read { stretch, present, .. } => {
                    let present = present.as_ref().map_or(0, |present| size_of_val(&*present.counts));
                    more_of_stretch(stretch) + present
                }
                LinkEvent::Positions { heads, .. } => size_of_val(&**heads),
                LinkEvent::Presence { changes, .. } => size_of_val(&**changes),
                LinkEvent::Publication { record, .. } => more_of(record),
                LinkEvent::Page(page) => more_of_page(page),
                _ => 0,
            }
    }

    fn if_full(&self) -> IfFull {
        match self {
            // The room asks again after `ASK_AGAIN_MS`.
            LinkEvent::Read { .. } | LinkEvent::Page(_) => IfFull::Dropped,
            // The room reads it when a later one comes, or when it compares heads.
            LinkEvent::Publication { .. } => IfFull::Dropped,
            LinkEvent::Published { .. } => IfFull::Kept,
            // Holes in the versions of a room's presence are noticed, and the room is read.
            LinkEvent::Presence { .. } => IfFull::Dropped,
            // The rooms are compared again.
            LinkEvent::Positions { .. } => IfFull::Dropped,
            // Nothing else says it.
            LinkEvent::LifeEnded { .. } => IfFull::Kept,
            // Until the core hears of it, it stands for everything that was missed.
            LinkEvent::Restored { .. } => IfFull::KeptNewest,
        }
    }
}

impl ServiceEvent for StoreEvent {
    fn bytes(&self) -> usize {
        let keys = |keys: &[KeptKey]| keys.iter().map(|key| key.key.len()).sum::<usize>() + size_of_val(keys);
        size_of::<Self>()
            + match self {
                StoreEvent::Loaded { stretch, keys: kept, .. } => more_of_stretch(stretch) + keys(kept),
                StoreEvent::Page(page) => more_of_page(page),
                _ => 0,
            }
    }

    fn if_full(&self) -> IfFull {
        match self {
            // The room asks again after `ASK_AGAIN_MS`.
            StoreEvent::Loaded { .. } | StoreEvent::Page(_) => IfFull::Dropped,
            StoreEvent::Committed { .. } | StoreEvent::Failed { .. } | StoreEvent::Answered { .. } => IfFull::Kept,
        }
    }
}

/// Bytes on the heap of a record.
fn more_of(record: &Record) -> usize {
    record.data.len() + record.key.as_deref().map_or(0, str::len) + record.except.as_deref().map_or(0, str::len)
}

fn more_of_page(page: &PageAnswer) -> usize {
    page.result.as_ref().map_or(0, |page| more_of_all(&page.records))
}

fn more_of_stretch(stretch: &Stretch) -> usize {
    more_of_all(&stretch.records)
}

fn more_of_all(records: &[Record]) -> usize {
    size_of_val(records) + records.iter().map(more_of).sum::<usize>()
}
