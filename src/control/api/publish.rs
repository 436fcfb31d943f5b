//! `POST publish`, `POST broadcast`: messages in the server's name. They take the same way as a member's, through the
//! room's owner.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use super::Api;
use super::calls::unexpected;
use super::input::{self, Body};
use super::refusal::{ErrorBody, Refusal};
use crate::base::ids::RoomName;
use crate::engine::call::{Answer, RoomAsk};

/// Who has published where the request does not say.
const FROM: &str = "server";

/// Rooms of one broadcast.
const ROOMS_MAX: usize = 1_000;

/// Rooms of one broadcast that are asked at a time.
const ROOMS_AT_ONCE: usize = 64;

/// One message
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Publish {
    /// Where; nobody need be there: who joins later finds it in the history
    #[schema(example = "lobby")]
    room: String,
    /// Any JSON value; members get it as it is written here. This or `data_b64`
    #[serde(default, deserialize_with = "input::present")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// Bytes in standard base64, in place of `data`
    data_b64: Option<String>,
    /// Idempotency key, up to 128 bytes: the same `from` with the same key within 2 minutes publishes nothing again
    key: Option<String>,
    /// In whose name; `server` where it is missing
    #[schema(example = "server")]
    from: Option<String>,
    /// Not numbered and not kept: for those who are there now. Not together with `key`
    #[serde(default)]
    ephemeral: bool,
}

/// One message for many rooms
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Broadcast {
    /// Where, 1 to 1,000 rooms; one that is named twice gets the message once
    #[schema(min_items = 1, max_items = 1000)]
    rooms: Vec<String>,
    /// Any JSON value; members get it as it is written here. This or `data_b64`
    #[serde(default, deserialize_with = "input::present")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// Bytes in standard base64, in place of `data`
    data_b64: Option<String>,
    /// Idempotency key, up to 128 bytes; it counts in each room by itself
    key: Option<String>,
    /// In whose name; `server` where it is missing
    from: Option<String>,
    /// Not numbered and not kept: for those who are there now. Not together with `key`
    #[serde(default)]
    ephemeral: bool,
}

/// A message that is in its room's history and on its way to every member
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Published {
    /// Where
    room: String,
    /// Its number; absent for an ephemeral one
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// The numbering that `seq` belongs to
    #[schema(example = "00f3a1b2c4d5e6f7")]
    epoch: String,
    /// Present where the key was known: nothing was published again, and `seq` is the first one's
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
}

/// What became of a broadcast in each room, in the order of the request
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BroadcastDone {
    /// Rooms in which it was published
    published: usize,
    /// Rooms in which it was not
    failed: usize,
    results: Vec<BroadcastResult>,
}

/// Published, or why not
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum BroadcastResult {
    Published(Published),
    Failed(BroadcastFailed),
}

/// A room in which a broadcast was not published
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BroadcastFailed {
    /// Where
    room: String,
    /// As in the answer of `publish`
    error: &'static str,
    /// Plain words
    message: String,
}

/// Publish a message to a room
#[utoipa::path(
    post, path = "/api/publish", tag = "rooms", request_body = Publish,
    responses(
        (status = 200, description = "Numbered, in history, and on its way to every member", body = Published),
        (status = "4XX", description = "Not published: the request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not published, or nobody can tell: try again with the same key", body = ErrorBody),
    )
)]
pub(super) async fn publish(
    State(api): State<Arc<Api>>,
    Body(request): Body<Publish>,
) -> Result<Json<Published>, Refusal> {
    let room = input::room("room", &request.room)?;
    check_inbox(&api, "room", &room)?;
    let Publish { data, data_b64, key, from, ephemeral, .. } = request;
    let ask = read_message(&api, (data, data_b64), key, from.as_deref(), ephemeral)?;
    publish_one(&api, room, ask).await.map(Json)
}

/// Publish a message to many rooms
#[utoipa::path(
    post, path = "/api/broadcast", tag = "rooms", request_body = Broadcast,
    responses(
        (status = 200, description = "What became of it in each room; some may have failed", body = BroadcastDone),
        (status = "4XX", description = "Published nowhere: the request must be another one", body = ErrorBody),
        (status = "5XX", description = "Nobody can tell where it was published: try again with the same key", body = ErrorBody),
    )
)]
pub(super) async fn broadcast(
    State(api): State<Arc<Api>>,
    Body(request): Body<Broadcast>,
) -> Result<Json<BroadcastDone>, Refusal> {
    let Broadcast { rooms, data, data_b64, key, from, ephemeral } = request;
    if !(1..=ROOMS_MAX).contains(&rooms.len()) {
        return Err(Refusal::bad(format!("`rooms` must name from 1 to {ROOMS_MAX} rooms")));
    }
    let mut names = Vec::with_capacity(rooms.len());
    let mut seen = HashSet::new();
    for (index, room) in rooms.iter().enumerate() {
        let field = format!("rooms[{index}]");
        let name = input::room(&field, room)?;
        check_inbox(&api, &field, &name)?;
        if seen.insert(room.as_str()) {
            names.push(name);
        }
    }
    let ask = read_message(&api, (data, data_b64), key, from.as_deref(), ephemeral)?;
    let results = publish_all(&api, names, &ask).await;
    let failed = results.iter().filter(|result| matches!(result, BroadcastResult::Failed(_))).count();
    Ok(Json(BroadcastDone { published: results.len() - failed, failed, results }))
}

/// An inbox is nobody's to read where there are none.
fn check_inbox(api: &Api, field: &str, room: &RoomName) -> Result<(), Refusal> {
    if room.starts_with('@') && !api.settings.inboxes {
        return Err(Refusal::forbidden(format!("`{field}` names an inbox, and rooms.inboxes is off")));
    }
    Ok(())
}

fn read_message(
    api: &Api,
    (json, base64): (Option<Box<RawValue>>, Option<String>),
    key: Option<String>,
    from: Option<&str>,
    ephemeral: bool,
) -> Result<RoomAsk, Refusal> {
    let (kind, data) = input::data(json, base64, api.settings.max_message_bytes)?;
    let from = input::user("from", from.unwrap_or(FROM))?;
    let key = input::key(key)?;
    if key.is_some() && ephemeral {
        return Err(Refusal::bad("`key` must not come together with `ephemeral`"));
    }
    Ok(RoomAsk::Publish { from, kind, data, key, ephemeral })
}

async fn publish_one(api: &Api, room: RoomName, ask: RoomAsk) -> Result<Published, Refusal> {
    match api.caller.ask_room(room.clone(), ask).await? {
        Answer::Published { epoch, seq, duplicate } => Ok(Published {
            room: room.to_string(),
            seq,
            epoch: epoch.to_string(),
            duplicate: duplicate.then_some(true),
        }),
        _ => Err(unexpected()),
    }
}

/// A few rooms at a time, so that a broadcast does not fill a core's channel for others.
async fn publish_all(api: &Arc<Api>, rooms: Vec<RoomName>, ask: &RoomAsk) -> Vec<BroadcastResult> {
    let mut results: Vec<Option<BroadcastResult>> = rooms.iter().map(|_| None).collect();
    let mut waiting = rooms.into_iter().enumerate();
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < ROOMS_AT_ONCE
            && let Some((index, room)) = waiting.next()
        {
            let (api, ask) = (api.clone(), ask.clone());
            asked.spawn(async move { (index, room.clone(), publish_one(&api, room, ask).await) });
        }
        let Some(done) = asked.join_next().await else { break };
        let (index, room, result) = done.expect("publishing neither panics nor is it cancelled before its set is");
        results[index] = Some(match result {
            Ok(published) => BroadcastResult::Published(published),
            Err(Refusal { error, message, .. }) => {
                BroadcastResult::Failed(BroadcastFailed { room: room.to_string(), error, message })
            }
        });
    }
    results.into_iter().flatten().collect()
}
