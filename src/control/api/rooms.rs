//! `GET rooms` and what is below it: which rooms there are, who is in them, what they hold.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::calls::{Cursor, unexpected};
use super::input::{self, Params, RoomPath};
use super::refusal::{ErrorBody, Refusal};
use crate::base::limits::{LISTING_MAX, PAGE_MAX, TOP_MAX};
use crate::engine::call::{Answer, Call, RoomAsk, RoomOrder, RoomSummary};

/// Rooms or connections of a page where the request does not say.
pub(super) const PAGE_USUAL: u32 = 100;

/// Rooms or connections of a listing by size where the request does not say.
pub(super) const TOP_USUAL: u32 = 10;

/// By what the first rooms are chosen
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RoomSort {
    /// Most members first
    Members,
    /// Most messages per second first
    Rate,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RoomsQuery {
    /// How many at most: 100, at most 1,000; with `sort` 10, at most 100
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
    /// The `next` of the page before; not with `sort`
    after: Option<String>,
    /// The busiest of all rooms rather than a page of them
    sort: Option<RoomSort>,
}

/// A room
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Room {
    /// Its name
    room: String,
    /// Users present; connections where presence is off
    members: u64,
    /// Connections that are members
    connections: u64,
    /// Number of its newest message
    head_seq: u64,
    /// The numbering that `head_seq` belongs to
    epoch: String,
    /// Messages per second, of the last 10 s as far as the history holds them
    rate: f64,
}

impl From<RoomSummary> for Room {
    fn from(summary: RoomSummary) -> Self {
        let RoomSummary { room, members, connections, head, rate_milli } = summary;
        let (room, epoch) = (room.to_string(), head.epoch.to_string());
        Self { room, members, connections, head_seq: head.seq, epoch, rate: rate_milli as f64 / 1_000.0 }
    }
}

/// Rooms that are held, with members or for their history
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rooms {
    /// In no order of their names; with `sort` the busiest first
    rooms: Vec<Room>,
    /// Where the next page begins; absent in the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List rooms, or the busiest of them
///
/// A page lists each room that lives through the whole listing exactly once, whatever comes and goes meanwhile.
#[utoipa::path(
    get, path = "/api/rooms", tag = "rooms", params(RoomsQuery),
    responses(
        (status = 200, description = "A page of rooms", body = Rooms),
        (status = "4XX", description = "The request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
pub(super) async fn rooms(
    State(api): State<Arc<Api>>,
    Params(query): Params<RoomsQuery>,
) -> Result<Json<Rooms>, Refusal> {
    let order = match query.sort {
        None => RoomOrder::Place,
        Some(RoomSort::Members) => RoomOrder::Members,
        Some(RoomSort::Rate) => RoomOrder::Rate,
    };
    let is_page = order == RoomOrder::Place;
    if !is_page && query.after.is_some() {
        return Err(Refusal::bad("`after` must not come together with `sort`"));
    }
    let (usual, most) = if is_page { (PAGE_USUAL, LISTING_MAX) } else { (TOP_USUAL, TOP_MAX) };
    let limit = input::limit(query.limit, usual, most)?;
    let left = |found: &Vec<RoomSummary>| if is_page { limit - found.len() as u32 } else { limit };
    let mut found: Vec<RoomSummary> = Vec::new();
    let next = api
        .caller
        .scan(
            Cursor::read(query.after.as_deref())?,
            &mut found,
            |found, from| Call::Rooms { from, limit: left(found), order },
            |found, answer| {
                let Answer::Rooms { rooms, next } = answer else { return None };
                found.extend(rooms);
                if !is_page {
                    found.sort_by(|one, other| other.cmp_by(order, one));
                    found.truncate(limit as usize);
                }
                next
            },
            |found| is_page && found.len() as u32 >= limit,
        )
        .await?;
    Ok(Json(Rooms { rooms: found.into_iter().map(Room::from).collect(), next: next.map(Cursor::text) }))
}

/// Describe one room
#[utoipa::path(
    get, path = "/api/rooms/{room}", tag = "rooms",
    params(("room" = String, Path, description = "Its name, percent-encoded")),
    responses(
        (status = 200, description = "The room", body = Room),
        (status = "4XX", description = "`room_not_found`, or the request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
pub(super) async fn room(
    State(api): State<Arc<Api>>,
    RoomPath(room): RoomPath,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Json<Room>, Refusal> {
    match api.caller.ask_room(room, RoomAsk::Summary).await? {
        Answer::Room(summary) => Ok(Json(summary.into())),
        _ => Err(unexpected()),
    }
}

/// No parameter is known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MembersQuery {
    /// How many at most: 100, at most 300
    #[param(minimum = 1, maximum = 300)]
    limit: Option<u64>,
    /// Only users whose names sort after this one, by bytes
    after: Option<String>,
}

/// A user who is in a room
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Member {
    /// Who
    user: String,
    /// `online`, or `away` when all of the user's connections say so
    #[schema(example = "online")]
    status: &'static str,
    /// The user's connections that are members; 0 for a few seconds after the last has gone
    connections: u32,
}

/// Users who are in a room
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Members {
    /// Which room
    room: String,
    /// All of them
    total: u64,
    /// By name
    users: Vec<Member>,
    /// The `after` of the next page; absent in the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List the users who are in a room
#[utoipa::path(
    get, path = "/api/rooms/{room}/members", tag = "rooms",
    params(("room" = String, Path, description = "Its name, percent-encoded"), MembersQuery),
    responses(
        (status = 200, description = "A page of users", body = Members),
        (status = "4XX", description = "`room_not_found`, `forbidden` where presence is off, or the request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
pub(super) async fn members(
    State(api): State<Arc<Api>>,
    RoomPath(room): RoomPath,
    Params(query): Params<MembersQuery>,
) -> Result<Json<Members>, Refusal> {
    let limit = input::limit(query.limit, PAGE_USUAL, PAGE_MAX)?;
    let after = query.after.map(|after| input::user("after", &after).map(|user| Box::from(&*user))).transpose()?;
    let Answer::Members { total, users } = api.caller.ask_room(room.clone(), RoomAsk::Members { after, limit }).await?
    else {
        return Err(unexpected());
    };
    let is_full = users.len() == limit as usize && total > users.len() as u64;
    let next = users.last().filter(|_| is_full).map(|last| last.user.to_string());
    let member = |user: &crate::wire::protocol::PresentUser| Member {
        user: user.user.to_string(),
        status: user.status.as_str(),
        connections: user.connections,
    };
    Ok(Json(Members { room: room.to_string(), total, users: users.iter().map(member).collect(), next }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// How many at most: 100, at most 300
    #[param(minimum = 1, maximum = 300)]
    limit: Option<u64>,
    /// Only messages above this number, the oldest of them
    after: Option<u64>,
    /// Only messages below this number, the newest of them; not with `after`
    before: Option<u64>,
}

/// A numbered message as members get it
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what the wire writes")]
pub(super) struct Message {
    /// `message`
    r#type: String,
    /// Where
    room: String,
    /// Its number
    seq: u64,
    /// Who published it
    from: String,
    /// When, Unix milliseconds
    at: u64,
    /// As it was published in JSON
    data: Option<serde_json::Value>,
    /// What was published in bytes, in base64
    data_b64: Option<String>,
    /// The publisher's idempotency key
    key: Option<String>,
}

/// A page of a room's history
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    /// Which room
    room: String,
    /// The numbering of its messages
    epoch: String,
    /// The oldest that is held; `head_seq` + 1 when none is
    first_seq: u64,
    /// The newest
    head_seq: u64,
    /// Oldest first
    #[schema(value_type = Vec<Message>)]
    messages: Vec<Box<RawValue>>,
}

/// Read a room's history
///
/// Without `after` and `before` the newest messages. A page holds fewer than asked when they are large.
#[utoipa::path(
    get, path = "/api/rooms/{room}/history", tag = "rooms",
    params(("room" = String, Path, description = "Its name, percent-encoded"), HistoryQuery),
    responses(
        (status = 200, description = "A page of messages", body = History),
        (status = "4XX", description = "`room_not_found`, `history_unavailable`, or the request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
pub(super) async fn history(
    State(api): State<Arc<Api>>,
    RoomPath(room): RoomPath,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<History>, Refusal> {
    let HistoryQuery { limit, after, before } = query;
    if after.is_some() && before.is_some() {
        return Err(Refusal::bad("`before` must not come together with `after`"));
    }
    let limit = input::limit(limit, PAGE_USUAL, PAGE_MAX)?;
    let answer = api.caller.ask_room(room.clone(), RoomAsk::History { after, before, limit }).await?;
    let Answer::History { head, first_seq, messages } = answer else { return Err(unexpected()) };
    let raw = |message: &Arc<crate::wire::publication::Publication>| {
        let json = String::from_utf8(message.json(&room).to_vec()).expect("the wire writes JSON");
        RawValue::from_string(json).expect("the wire writes JSON")
    };
    let (epoch, head_seq) = (head.epoch.to_string(), head.seq);
    let messages = messages.iter().map(raw).collect();
    Ok(Json(History { room: room.to_string(), epoch, first_seq, head_seq, messages }))
}
