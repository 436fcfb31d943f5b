//! `publish`, `broadcast` and `typing`: what the server sends to members, through the room's owner as what members send.
//! Numbers no message itself.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use utoipa::{OpenApi, ToSchema};

use super::caller::{SERVER, unexpected};
use super::catalogue::Catalogue;
use super::error::{ErrorBody, OperationError};
use super::field;
use super::state::Operations;
use crate::base::ids::{RoomName, UserName};
use crate::wire::protocol::{Answer, Ask, Publish};

#[derive(OpenApi)]
#[openapi(paths(publish, broadcast, typing))]
struct PublishDescription;

/// Adds the operations of this file to `catalogue`.
pub(super) fn list(catalogue: &mut impl Catalogue) {
    catalogue.describe(PublishDescription::openapi());
    catalogue.with_body("publish", publish);
    catalogue.with_body("broadcast", broadcast);
    catalogue.with_body("typing", typing);
}

/// Rooms in one broadcast.
const ROOMS_MAX: usize = 1_000;

/// Rooms of one broadcast that are asked at a time, so that a broadcast does not fill a core's channel for others.
const ROOMS_AT_ONCE: usize = 64;

/// A message for one room
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Publish)]
pub struct PublishRequest {
    /// Room to publish to. It may have no members: those who join later find the message in its history
    #[schema(example = "lobby")]
    pub room: String,
    /// Any JSON value, delivered byte for byte. Give this or `data_b64`
    #[serde(default, deserialize_with = "field::present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Bytes in standard base64, instead of `data`
    pub data_b64: Option<String>,
    /// Idempotency key, up to 128 bytes. Repeated by the same `from` within 2 minutes, it publishes nothing
    pub key: Option<String>,
    /// User shown as the publisher; `server` by default
    #[schema(example = "server")]
    pub from: Option<String>,
    /// Deliver to current members only, without a number and without history. Cannot be combined with `key`
    #[serde(default)]
    pub ephemeral: bool,
}

/// A message for several rooms
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Broadcast)]
pub struct BroadcastRequest {
    /// 1 to 1,000 rooms; a room named twice gets the message once
    #[schema(min_items = 1, max_items = 1000)]
    pub rooms: Vec<String>,
    /// Any JSON value, delivered byte for byte. Give this or `data_b64`
    #[serde(default, deserialize_with = "field::present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Bytes in standard base64, instead of `data`
    pub data_b64: Option<String>,
    /// Idempotency key, up to 128 bytes; each room checks it separately
    pub key: Option<String>,
    /// User shown as the publisher; `server` by default
    pub from: Option<String>,
    /// Deliver to current members only, without a number and without history. Cannot be combined with `key`
    #[serde(default)]
    pub ephemeral: bool,
}

/// A published message
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Published)]
pub struct PublishReceipt {
    /// Room
    pub room: String,
    /// Number of the message; absent if ephemeral
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Epoch that `seq` belongs to
    #[schema(example = "00f3a1b2c4d5e6f7")]
    pub epoch: String,
    /// `true` if the key was used before: nothing was published, and `seq` is that of the first publish
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<bool>,
}

/// Result of a broadcast
#[derive(Debug, Serialize, ToSchema)]
pub struct BroadcastDone {
    /// Number of rooms that the message was published to
    pub published: usize,
    /// Number of rooms that it was not published to
    pub failed: usize,
    /// Result for each room, in the order of the request
    pub results: Vec<BroadcastResult>,
}

/// Result of a broadcast in one room
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum BroadcastResult {
    Published(PublishReceipt),
    Failed(BroadcastFailed),
}

/// A room that a broadcast was not published to
#[derive(Debug, Serialize, ToSchema)]
pub struct BroadcastFailed {
    /// Room
    pub room: String,
    /// Error code, as `publish` returns it
    pub error: &'static str,
    /// Error message for people
    pub message: String,
}

/// Publish a message to a room
#[utoipa::path(
    post, path = "/api/publish", tag = "rooms", request_body = PublishRequest,
    responses(
        (status = 200, description = "The message has its number, is in history, and is on its way to every member", body = PublishReceipt),
        (status = "4XX", description = "Invalid request: not published", body = ErrorBody),
        (status = "5XX", description = "Not published, or unknown: retry with the same `key`", body = ErrorBody),
    )
)]
pub async fn publish(operations: Arc<Operations>, request: PublishRequest) -> Result<PublishReceipt, OperationError> {
    let room = field::room("room", &request.room)?;
    check_inbox(&operations, "room", &room)?;
    let PublishRequest { data, data_b64, key, from, ephemeral, .. } = request;
    let message = MessageFields { data, data_b64, key, from, ephemeral }.read(&operations)?;
    publish_one(&operations, room, message).await
}

/// Publish a message to several rooms
#[utoipa::path(
    post, path = "/api/broadcast", tag = "rooms", request_body = BroadcastRequest,
    responses(
        (status = 200, description = "Result for each room; some may have failed", body = BroadcastDone),
        (status = "4XX", description = "Invalid request: published nowhere", body = ErrorBody),
        (status = "5XX", description = "Unknown where it was published: retry with the same `key`", body = ErrorBody),
    )
)]
pub async fn broadcast(
    operations: Arc<Operations>,
    request: BroadcastRequest,
) -> Result<BroadcastDone, OperationError> {
    let BroadcastRequest { rooms, data, data_b64, key, from, ephemeral } = request;
    if !(1..=ROOMS_MAX).contains(&rooms.len()) {
        return Err(OperationError::bad(format!("`rooms` names {} rooms; it must name 1 to {ROOMS_MAX}", rooms.len())));
    }
    let mut names = Vec::with_capacity(rooms.len());
    let mut seen = HashSet::new();
    for (index, room) in rooms.iter().enumerate() {
        let field = format!("rooms[{index}]");
        let name = field::room(&field, room)?;
        check_inbox(&operations, &field, &name)?;
        if seen.insert(room.as_str()) {
            names.push(name);
        }
    }
    let message = MessageFields { data, data_b64, key, from, ephemeral }.read(&operations)?;
    let results = publish_all(&operations, names, &message).await;
    let failed = results.iter().filter(|result| matches!(result, BroadcastResult::Failed(_))).count();
    Ok(BroadcastDone { published: results.len() - failed, failed, results })
}

/// Whether a user is typing in a room
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Typing {
    /// Room, which must exist
    #[schema(example = "lobby")]
    pub room: String,
    /// User shown as typing
    #[schema(example = "ann")]
    pub user: String,
    /// `true` if the user is typing, which ends by itself after 5 s; `false` if no longer
    pub active: bool,
}

/// Show that a user is typing
///
/// All members of the room receive it as a `typing` push. The user need not be a member.
#[utoipa::path(
    post, path = "/api/typing", tag = "rooms", request_body = Typing,
    responses(
        (status = 200, description = "The push is on its way to every member", body = Typing),
        (status = "4XX", description = "`room_not_found`, or invalid request", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn typing(operations: Arc<Operations>, request: Typing) -> Result<Typing, OperationError> {
    let (room, user) = (field::room("room", &request.room)?, field::user("user", &request.user)?);
    check_inbox(&operations, "room", &room)?;
    match operations.cores.ask_room_as(user, room, Ask::Typing { active: request.active }).await? {
        Answer::Typing => Ok(request),
        _ => Err(unexpected()),
    }
}

/// With `rooms.inboxes` off nobody could read an inbox.
pub(super) fn check_inbox(operations: &Operations, field: &str, room: &RoomName) -> Result<(), OperationError> {
    if room.starts_with('@') && !operations.settings.inboxes {
        return Err(OperationError::forbidden(format!("`{field}`: {room:?} is an inbox, and rooms.inboxes is off")));
    }
    Ok(())
}

/// The fields of both requests beside their rooms.
struct MessageFields {
    data: Option<Box<RawValue>>,
    data_b64: Option<String>,
    key: Option<String>,
    from: Option<String>,
    ephemeral: bool,
}

/// A message with its publisher.
#[derive(Clone)]
pub(super) struct ServerPublish {
    pub from: UserName,
    pub publish: Publish,
}

impl MessageFields {
    fn read(self, operations: &Operations) -> Result<ServerPublish, OperationError> {
        let Self { data, data_b64, key, from, ephemeral } = self;
        let (kind, data) = field::data(data, data_b64, operations.settings.max_message_bytes)?;
        let from = field::user("from", from.as_deref().unwrap_or(SERVER))?;
        let key = field::key(key)?;
        if key.is_some() && ephemeral {
            return Err(OperationError::bad("`key` cannot be combined with `ephemeral`"));
        }
        Ok(ServerPublish { from, publish: Publish { kind, data, key, echo: true, ephemeral } })
    }
}

/// Publishes to one room.
pub(super) async fn publish_one(
    operations: &Operations,
    room: RoomName,
    ServerPublish { from, publish }: ServerPublish,
) -> Result<PublishReceipt, OperationError> {
    match operations.cores.ask_room_as(from, room.clone(), Ask::Publish(publish)).await? {
        Answer::Published { epoch, seq, duplicate } => Ok(PublishReceipt {
            room: room.to_string(),
            seq,
            epoch: epoch.to_string(),
            duplicate: duplicate.then_some(true),
        }),
        _ => Err(unexpected()),
    }
}

/// Publishes to a few rooms at a time. Results are in the order of `rooms`.
async fn publish_all(
    operations: &Arc<Operations>,
    rooms: Vec<RoomName>,
    message: &ServerPublish,
) -> Vec<BroadcastResult> {
    let mut results: Vec<Option<BroadcastResult>> = rooms.iter().map(|_| None).collect();
    let mut waiting = rooms.into_iter().enumerate();
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < ROOMS_AT_ONCE
            && let Some((index, room)) = waiting.next()
        {
            let (operations, message) = (operations.clone(), message.clone());
            asked.spawn(async move { (index, room.clone(), publish_one(&operations, room, message).await) });
        }
        let Some(done) = asked.join_next().await else { break };
        let (index, room, result) = done.expect("a publish neither panics nor is cancelled before its set");
        results[index] = Some(match result {
            Ok(published) => BroadcastResult::Published(published),
            Err(refused) => {
                let ErrorBody { error, message } = refused.into_body();
                BroadcastResult::Failed(BroadcastFailed { room: room.to_string(), error, message })
            }
        });
    }
    results.into_iter().flatten().collect()
}
