//! How long the store keeps things, by the configuration. Opens no store.

use std::sync::Arc;

use super::config::lower::Plan;
use crate::base::ids::RoomName;
use crate::engine::settings::Settings;
use crate::store::state::{Keep, Rules};

/// The rules of a plan.
pub fn rules(plan: &Plan) -> Rules {
    let settings: Arc<Settings> = plan.settings.clone();
    let retention = move |room: &RoomName| {
        let room = settings.room(room);
        Keep { count: room.history_size as u64, ttl_ms: room.history_ttl_ms, numbering_ttl_ms: room.numbering_ttl_ms }
    };
    Rules { retention: Arc::new(retention), session_ttl_ms: plan.store.session_ttl_ms }
}
