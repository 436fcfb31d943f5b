//! `rooms`, `room`, `members` and `history`: reading rooms. Changes none.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::caller::{Cursor, unexpected};
use super::catalogue::Catalogue;
use super::error::{ErrorBody, OperationError};
use super::field;
use super::state::Operations;
use crate::base::ids::RoomName;
use crate::base::limits::{LISTING_MAX, PAGE_MAX, TOP_MAX};
use crate::engine::call::{Call, CallAnswer, RoomOrder};
use crate::wire::protocol::PresentUser;
use crate::wire::protocol::{Answer, Ask, RoomSummary};
use crate::wire::publication::Publication;

#[derive(OpenApi)]
#[openapi(paths(rooms, room, members, history), components(schemas(MessageView)))]
struct RoomsDescription;

/// Adds the operations of this file to `catalogue`.
pub(super) fn list(catalogue: &mut impl Catalogue) {
    catalogue.describe(RoomsDescription::openapi());
    catalogue.with_query("rooms", rooms);
    catalogue.of_room("room", room);
    catalogue.of_room("members", members);
    catalogue.of_room("history", history);
}

/// Order of the busiest rooms
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoomSort {
    /// Most members first
    Members,
    /// Most messages per second first
    Rate,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RoomsRequest {
    /// Entries in the page: default 100, maximum 1,000; with `sort` default 10, maximum 100
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// Continue a listing: the `next` of the page before. Cannot be combined with `sort`
    pub after: Option<String>,
    /// List the busiest rooms instead of a page of all rooms
    pub sort: Option<RoomSort>,
}

/// A room
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Room)]
pub struct RoomView {
    /// Name of the room
    pub room: String,
    /// Users present; with presence off, connections
    pub members: u64,
    /// Member connections
    pub connections: u64,
    /// Number of the newest message
    pub head_seq: u64,
    /// Epoch that `head_seq` belongs to
    pub epoch: String,
    /// Messages per second over the last 10 s, as far as history reaches
    pub rate: f64,
}

impl From<RoomSummary> for RoomView {
    fn from(summary: RoomSummary) -> Self {
        let RoomSummary { room, members, connections, head, rate_milli } = summary;
        let (room, epoch) = (room.to_string(), head.epoch.to_string());
        Self { room, members, connections, head_seq: head.seq, epoch, rate: rate_milli as f64 / 1_000.0 }
    }
}

/// A page of rooms
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rooms)]
pub struct RoomsPage {
    /// In no particular order; with `sort` busiest first
    pub rooms: Vec<RoomView>,
    /// Cursor of the next page; absent on the last page
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// List rooms, or the busiest rooms
///
/// A listing over several pages names every room that exists throughout exactly once.
#[utoipa::path(
    get, path = "/api/rooms", tag = "rooms", params(RoomsRequest),
    responses(
        (status = 200, description = "A page of rooms", body = RoomsPage),
        (status = "4XX", description = "Invalid request", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn rooms(operations: Arc<Operations>, request: RoomsRequest) -> Result<RoomsPage, OperationError> {
    let order = match request.sort {
        None => RoomOrder::Place,
        Some(RoomSort::Members) => RoomOrder::Members,
        Some(RoomSort::Rate) => RoomOrder::Rate,
    };
    let is_page = order == RoomOrder::Place;
    if !is_page && request.after.is_some() {
        return Err(OperationError::bad("`after` cannot be combined with `sort`"));
    }
    let (default, most) = if is_page { (field::PAGE_DEFAULT, LISTING_MAX) } else { (field::TOP_DEFAULT, TOP_MAX) };
    let limit = field::limit(request.limit, default, most)?;
    let left = |found: &Vec<RoomSummary>| if is_page { limit - found.len() as u32 } else { limit };
    let mut found: Vec<RoomSummary> = Vec::new();
    let next = operations
        .cores
        .scan(
            Cursor::read(request.after.as_deref())?,
            &mut found,
            |found, from| Call::Rooms { from, limit: left(found), order },
            |found, answer| {
                let CallAnswer::Rooms { rooms, next } = answer else { return None };
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
    Ok(RoomsPage { rooms: found.into_iter().map(RoomView::from).collect(), next: next.map(Cursor::text) })
}

/// Describe one room
#[utoipa::path(
    get, path = "/api/rooms/{room}", tag = "rooms",
    params(("room" = String, Path, description = "Name of the room, percent-encoded")),
    responses(
        (status = 200, description = "The room", body = RoomView),
        (status = "4XX", description = "`room_not_found`, or invalid request", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn room(operations: Arc<Operations>, room: RoomName, _: RoomRequest) -> Result<RoomView, OperationError> {
    match operations.cores.ask_room(room, Ask::Summary).await? {
        Answer::Summary(summary) => Ok(summary.into()),
        _ => Err(unexpected()),
    }
}

/// Has no parameters: any parameter is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomRequest {}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MembersRequest {
    /// Entries in the page: default 100, maximum 300
    #[param(minimum = 1, maximum = 300)]
    pub limit: Option<u64>,
    /// List only users whose names sort after this one, by bytes
    pub after: Option<String>,
}

/// A user present in a room
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub struct MemberView {
    /// Name of the user
    pub user: String,
    /// `away` if every connection of the user has set it, else `online`
    #[schema(example = "online")]
    pub status: &'static str,
    /// Member connections of the user; 0 for a few seconds after the last one has left
    pub connections: u32,
}

impl From<&PresentUser> for MemberView {
    fn from(user: &PresentUser) -> Self {
        Self { user: user.user.to_string(), status: user.status.as_str(), connections: user.connections }
    }
}

/// A page of the users present in a room
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Members)]
pub struct MembersPage {
    /// Name of the room
    pub room: String,
    /// Users present in the room, on all pages
    pub total: u64,
    /// In order of their names
    pub users: Vec<MemberView>,
    /// The `after` of the next page; absent on the last page
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// List the users present in a room
#[utoipa::path(
    get, path = "/api/rooms/{room}/members", tag = "rooms",
    params(("room" = String, Path, description = "Name of the room, percent-encoded"), MembersRequest),
    responses(
        (status = 200, description = "A page of users", body = MembersPage),
        (status = "4XX", description = "`room_not_found`, `forbidden` if presence is off, or invalid request", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn members(
    operations: Arc<Operations>,
    room: RoomName,
    request: MembersRequest,
) -> Result<MembersPage, OperationError> {
    let limit = field::limit(request.limit, field::PAGE_DEFAULT, PAGE_MAX)?;
    let after = request.after.map(|after| field::user("after", &after).map(|user| Box::from(&*user))).transpose()?;
    let answer = operations.cores.ask_room(room.clone(), Ask::Presence { after, limit }).await?;
    let Answer::Presence { total, users } = answer else { return Err(unexpected()) };
    let is_full = users.len() == limit as usize && total > users.len() as u64;
    let next = users.last().filter(|_| is_full).map(|last| last.user.to_string());
    Ok(MembersPage { room: room.to_string(), total, users: users.iter().map(MemberView::from).collect(), next })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryRequest {
    /// Entries in the page: default 100, maximum 300
    #[param(minimum = 1, maximum = 300)]
    pub limit: Option<u64>,
    /// List the oldest messages above this number
    pub after: Option<u64>,
    /// List the newest messages below this number. Cannot be combined with `after`
    pub before: Option<u64>,
}

/// A numbered message, as members receive it
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the JSON of wire::publication")]
#[schema(as = Message)]
pub struct MessageView {
    /// `message`
    r#type: String,
    /// Name of the room
    room: String,
    /// Number of the message
    seq: u64,
    /// User who published it
    from: String,
    /// Time of publication, Unix milliseconds
    at: u64,
    /// Data that was published as JSON
    data: Option<serde_json::Value>,
    /// Data that was published as bytes, in base64
    data_b64: Option<String>,
    /// Idempotency key of the publisher
    key: Option<String>,
}

/// A page of a room's history
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = History)]
pub struct HistoryPage {
    /// Name of the room
    pub room: String,
    /// Epoch of the message numbers
    pub epoch: String,
    /// Number of the oldest message in history; `head_seq` + 1 if there is none
    pub first_seq: u64,
    /// Number of the newest message
    pub head_seq: u64,
    /// Oldest first
    #[schema(value_type = Vec<MessageView>)]
    pub messages: Vec<Box<RawValue>>,
}

/// Read a room's history
///
/// Lists the newest messages unless `after` or `before` is given. A page of large messages has fewer than `limit`.
#[utoipa::path(
    get, path = "/api/rooms/{room}/history", tag = "rooms",
    params(("room" = String, Path, description = "Name of the room, percent-encoded"), HistoryRequest),
    responses(
        (status = 200, description = "A page of messages", body = HistoryPage),
        (status = "4XX", description = "`room_not_found`, `history_unavailable`, or invalid request", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn history(
    operations: Arc<Operations>,
    room: RoomName,
    request: HistoryRequest,
) -> Result<HistoryPage, OperationError> {
    let HistoryRequest { limit, after, before } = request;
    if after.is_some() && before.is_some() {
        return Err(OperationError::bad("`before` cannot be combined with `after`"));
    }
    let limit = field::limit(limit, field::PAGE_DEFAULT, PAGE_MAX)?;
    let answer = operations.cores.ask_room(room.clone(), Ask::History { after, before, limit }).await?;
    let Answer::History { head, first_seq, messages } = answer else { return Err(unexpected()) };
    let raw = |message: &Arc<Publication>| {
        let json = String::from_utf8(message.json(&room).to_vec()).expect("a publication is written as JSON");
        RawValue::from_string(json).expect("a publication is written as JSON")
    };
    let (epoch, head_seq) = (head.epoch.to_string(), head.seq);
    let messages = messages.iter().map(raw).collect();
    Ok(HistoryPage { room: room.to_string(), epoch, first_seq, head_seq, messages })
}
