//! `publish`, `broadcast`: messages in the server's name. They take the same way as a member's, through the
//! room's owner.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use utoipa::{OpenApi, ToSchema};

use super::caller::{SERVER, unexpected};
use super::catalogue::Catalogue;
use super::field;
use super::refused::{ErrorBody, Refused};
use super::state::Operations;
use crate::base::ids::{RoomName, UserName};
use crate::wire::protocol::{Answer, Ask, Publish};

#[derive(OpenApi)]
#[openapi(paths(publish, broadcast))]
struct Description;

/// Hands the operations of this file to `catalogue`.
pub(super) fn list(catalogue: &mut impl Catalogue) {
    catalogue.describe(Description::openapi());
    catalogue.with_body("publish", publish);
    catalogue.with_body("broadcast", broadcast);
}

/// Rooms of one broadcast.
const ROOMS_MAX: usize = 1_000;

/// Rooms of one broadcast that are asked at a time.
const ROOMS_AT_ONCE: usize = 64;

/// One message
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Publish)]
pub struct PublishRequest {
    /// Where; nobody need be there: who joins later finds it in the history
    #[schema(example = "lobby")]
    pub room: String,
    /// Any JSON value; members get it as it is written here. This or `data_b64`
    #[serde(default, deserialize_with = "field::present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Bytes in standard base64, in place of `data`
    pub data_b64: Option<String>,
    /// Idempotency key, up to 128 bytes: the same `from` with the same key within 2 minutes publishes nothing again
    pub key: Option<String>,
    /// In whose name; `server` where it is missing
    #[schema(example = "server")]
    pub from: Option<String>,
    /// Not numbered and not kept: for those who are there now. Not together with `key`
    #[serde(default)]
    pub ephemeral: bool,
}

/// One message for many rooms
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Broadcast)]
pub struct BroadcastRequest {
    /// Where, 1 to 1,000 rooms; one that is named twice gets the message once
    #[schema(min_items = 1, max_items = 1000)]
    pub rooms: Vec<String>,
    /// Any JSON value; members get it as it is written here. This or `data_b64`
    #[serde(default, deserialize_with = "field::present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Bytes in standard base64, in place of `data`
    pub data_b64: Option<String>,
    /// Idempotency key, up to 128 bytes; it counts in each room by itself
    pub key: Option<String>,
    /// In whose name; `server` where it is missing
    pub from: Option<String>,
    /// Not numbered and not kept: for those who are there now. Not together with `key`
    #[serde(default)]
    pub ephemeral: bool,
}

/// A message that is in its room's history and on its way to every member
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Published)]
pub struct PublishReceipt {
    /// Where
    pub room: String,
    /// Its number; absent for an ephemeral one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The numbering that `seq` belongs to
    #[schema(example = "00f3a1b2c4d5e6f7")]
    pub epoch: String,
    /// Present where the key was known: nothing was published again, and `seq` is the first one's
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<bool>,
}

/// What became of a broadcast in each room, in the order of the request
#[derive(Debug, Serialize, ToSchema)]
pub struct BroadcastDone {
    /// Rooms in which it was published
    pub published: usize,
    /// Rooms in which it was not
    pub failed: usize,
    pub results: Vec<BroadcastResult>,
}

/// Published, or why not
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum BroadcastResult {
    Published(PublishReceipt),
    Failed(BroadcastFailed),
}

/// A room in which a broadcast was not published
#[derive(Debug, Serialize, ToSchema)]
pub struct BroadcastFailed {
    /// Where
    pub room: String,
    /// As in the answer of `publish`
    pub error: &'static str,
    /// Plain words
    pub message: String,
}

/// Publish a message to a room
#[utoipa::path(
    post, path = "/api/publish", tag = "rooms", request_body = PublishRequest,
    responses(
        (status = 200, description = "Numbered, in history, and on its way to every member", body = PublishReceipt),
        (status = "4XX", description = "Not published: the request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not published, or nobody can tell: try again with the same key", body = ErrorBody),
    )
)]
pub async fn publish(operations: Arc<Operations>, request: PublishRequest) -> Result<PublishReceipt, Refused> {
    let room = field::room("room", &request.room)?;
    check_inbox(&operations, "room", &room)?;
    let PublishRequest { data, data_b64, key, from, ephemeral, .. } = request;
    let message = read_message(&operations, (data, data_b64), key, from.as_deref(), ephemeral)?;
    publish_one(&operations, room, message).await
}

/// Publish a message to many rooms
#[utoipa::path(
    post, path = "/api/broadcast", tag = "rooms", request_body = BroadcastRequest,
    responses(
        (status = 200, description = "What became of it in each room; some may have failed", body = BroadcastDone),
        (status = "4XX", description = "Published nowhere: the request must be another one", body = ErrorBody),
        (status = "5XX", description = "Nobody can tell where it was published: try again with the same key", body = ErrorBody),
    )
)]
pub async fn broadcast(operations: Arc<Operations>, request: BroadcastRequest) -> Result<BroadcastDone, Refused> {
    let BroadcastRequest { rooms, data, data_b64, key, from, ephemeral } = request;
    if !(1..=ROOMS_MAX).contains(&rooms.len()) {
        return Err(Refused::bad(format!("`rooms` must name from 1 to {ROOMS_MAX} rooms")));
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
    let message = read_message(&operations, (data, data_b64), key, from.as_deref(), ephemeral)?;
    let results = publish_all(&operations, names, &message).await;
    let failed = results.iter().filter(|result| matches!(result, BroadcastResult::Failed(_))).count();
    Ok(BroadcastDone { published: results.len() - failed, failed, results })
}

/// An inbox is nobody's to read where there are none.
fn check_inbox(operations: &Operations, field: &str, room: &RoomName) -> Result<(), Refused> {
    if room.starts_with('@') && !operations.settings.inboxes {
        return Err(Refused::forbidden(format!("`{field}` names an inbox, and rooms.inboxes is off")));
    }
    Ok(())
}

fn read_message(
    operations: &Operations,
    (json, base64): (Option<Box<RawValue>>, Option<String>),
    key: Option<String>,
    from: Option<&str>,
    ephemeral: bool,
) -> Result<(UserName, Publish), Refused> {
    let (kind, data) = field::data(json, base64, operations.settings.max_message_bytes)?;
    let from = field::user("from", from.unwrap_or(SERVER))?;
    let key = field::key(key)?;
    if key.is_some() && ephemeral {
        return Err(Refused::bad("`key` must not come together with `ephemeral`"));
    }
    Ok((from, Publish { kind, data, key, echo: true, ephemeral }))
}

async fn publish_one(
    operations: &Operations,
    room: RoomName,
    (from, publish): (UserName, Publish),
) -> Result<PublishReceipt, Refused> {
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

/// A few rooms at a time, so that a broadcast does not fill a core's channel for others.
async fn publish_all(
    operations: &Arc<Operations>,
    rooms: Vec<RoomName>,
    message: &(UserName, Publish),
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
        let (index, room, result) = done.expect("publishing neither panics nor is it cancelled before its set is");
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
