//! `rooms`, `room`, `members`, `history`: which rooms there are, who is in them, what they hold.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::caller::{Cursor, unexpected};
use super::catalogue::Catalogue;
use super::field;
use super::refused::{ErrorBody, Refused};
use super::state::Operations;
use crate::base::ids::RoomName;
use crate::base::limits::{LISTING_MAX, PAGE_MAX, TOP_MAX};
use crate::engine::call::{Call, CallAnswer, RoomOrder};
use crate::wire::protocol::PresentUser;
use crate::wire::protocol::{Answer, Ask, RoomSummary};
use crate::wire::publication::Publication;

#[derive(OpenApi)]
#[openapi(paths(rooms, room, members, history), components(schemas(MessageView)))]
struct Description;

/// Hands the operations of this file to `catalogue`.
pub(super) fn list(catalogue: &mut impl Catalogue) {
    catalogue.describe(Description::openapi());
    catalogue.with_query("rooms", rooms);
    catalogue.of_room("room", room);
    catalogue.of_room("members", members);
    catalogue.of_room("history", history);
}

/// By what the first rooms are chosen
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
    /// How many at most: 100, at most 1,000; with `sort` 10, at most 100
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// The `next` of the page before; not with `sort`
    pub after: Option<String>,
    /// The busiest of all rooms rather than a page of them
    pub sort: Option<RoomSort>,
}

/// A room
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Room)]
pub struct RoomView {
    /// Its name
    pub room: String,
    /// Users present; connections where presence is off
    pub members: u64,
    /// Connections that are members
    pub connections: u64,
    /// Number of its newest message
    pub head_seq: u64,
    /// The numbering that `head_seq` belongs to
    pub epoch: String,
    /// Messages per second, of the last 10 s as far as the history holds them
    pub rate: f64,
}

impl From<RoomSummary> for RoomView {
    fn from(summary: RoomSummary) -> Self {
        let RoomSummary { room, members, connections, head, rate_milli } = summary;
        let (room, epoch) = (room.to_string(), head.epoch.to_string());
        Self { room, members, connections, head_seq: head.seq, epoch, rate: rate_milli as f64 / 1_000.0 }
    }
}

/// Rooms that are held, with members or for their history
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rooms)]
pub struct RoomsPage {
    /// In no order of their names; with `sort` the busiest first
    pub rooms: Vec<RoomView>,
    /// Where the next page begins; absent in the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// List rooms, or the busiest of them
///
/// A page lists each room that lives through the whole listing exactly once, whatever comes and goes meanwhile.
#[utoipa::path(
    get, path = "/api/rooms", tag = "rooms", params(RoomsRequest),
    responses(
        (status = 200, description = "A page of rooms", body = RoomsPage),
        (status = "4XX", description = "The request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
pub async fn rooms(operations: Arc<Operations>, request: RoomsRequest) -> Result<RoomsPage, Refused> {
    let order = match request.sort {
        None => RoomOrder::Place,
        Some(RoomSort::Members) => RoomOrder::Members,
        Some(RoomSort::Rate) => RoomOrder::Rate,
    };
    let is_page = order == RoomOrder::Place;
    if !is_page && request.after.is_some() {
        return Err(Refused::bad("`after` must not come together with `sort`"));
    }
    let (usual, most) = if is_page { (field::PAGE_USUAL, LISTING_MAX) } else { (field::TOP_USUAL, TOP_MAX) };
    let limit = field::limit(request.limit, usual, most)?;
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
    params(("room" = String, Path, description = "Its name, percent-encoded")),
    responses(
        (status = 200, description = "The room", body = RoomView),
        (status = "4XX", description = "`room_not_found`, or the request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
pub async fn room(operations: Arc<Operations>, room: RoomName, _: RoomRequest) -> Result<RoomView, Refused> {
    match operations.cores.ask_room(room, Ask::Summary).await? {
        Answer::Summary(summary) => Ok(summary.into()),
        _ => Err(unexpected()),
    }
}

/// No parameter is known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomRequest {}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MembersRequest {
    /// How many at most: 100, at most 300
    #[param(minimum = 1, maximum = 300)]
    pub limit: Option<u64>,
    /// Only users whose names sort after this one, by bytes
    pub after: Option<String>,
}

/// A user who is in a room
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub struct MemberView {
    /// Who
    pub user: String,
    /// `online`, or `away` when all of the user's connections say so
    #[schema(example = "online")]
    pub status: &'static str,
    /// The user's connections that are members; 0 for a few seconds after the last has gone
    pub connections: u32,
}

impl From<&PresentUser> for MemberView {
    fn from(user: &PresentUser) -> Self {
        Self { user: user.user.to_string(), status: user.status.as_str(), connections: user.connections }
    }
}

/// Users who are in a room
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Members)]
pub struct MembersPage {
    /// Which room
    pub room: String,
    /// All of them
    pub total: u64,
    /// By name
    pub users: Vec<MemberView>,
    /// The `after` of the next page; absent in the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// List the users who are in a room
#[utoipa::path(
    get, path = "/api/rooms/{room}/members", tag = "rooms",
    params(("room" = String, Path, description = "Its name, percent-encoded"), MembersRequest),
    responses(
        (status = 200, description = "A page of users", body = MembersPage),
        (status = "4XX", description = "`room_not_found`, `forbidden` where presence is off, or the request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
pub async fn members(
    operations: Arc<Operations>,
    room: RoomName,
    request: MembersRequest,
) -> Result<MembersPage, Refused> {
    let limit = field::limit(request.limit, field::PAGE_USUAL, PAGE_MAX)?;
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
    /// How many at most: 100, at most 300
    #[param(minimum = 1, maximum = 300)]
    pub limit: Option<u64>,
    /// Only messages above this number, the oldest of them
    pub after: Option<u64>,
    /// Only messages below this number, the newest of them; not with `after`
    pub before: Option<u64>,
}

/// A numbered message as members get it
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what the wire writes")]
#[schema(as = Message)]
pub struct MessageView {
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
#[schema(as = History)]
pub struct HistoryPage {
    /// Which room
    pub room: String,
    /// The numbering of its messages
    pub epoch: String,
    /// The oldest that is held; `head_seq` + 1 when none is
    pub first_seq: u64,
    /// The newest
    pub head_seq: u64,
    /// Oldest first
    #[schema(value_type = Vec<MessageView>)]
    pub messages: Vec<Box<RawValue>>,
}

/// Read a room's history
///
/// Without `after` and `before` the newest messages. A page holds fewer than asked when they are large.
#[utoipa::path(
    get, path = "/api/rooms/{room}/history", tag = "rooms",
    params(("room" = String, Path, description = "Its name, percent-encoded"), HistoryRequest),
    responses(
        (status = 200, description = "A page of messages", body = HistoryPage),
        (status = "4XX", description = "`room_not_found`, `history_unavailable`, or the request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
pub async fn history(
    operations: Arc<Operations>,
    room: RoomName,
    request: HistoryRequest,
) -> Result<HistoryPage, Refused> {
    let HistoryRequest { limit, after, before } = request;
    if after.is_some() && before.is_some() {
        return Err(Refused::bad("`before` must not come together with `after`"));
    }
    let limit = field::limit(limit, field::PAGE_USUAL, PAGE_MAX)?;
    let answer = operations.cores.ask_room(room.clone(), Ask::History { after, before, limit }).await?;
    let Answer::History { head, first_seq, messages } = answer else { return Err(unexpected()) };
    let raw = |message: &Arc<Publication>| {
        let json = String::from_utf8(message.json(&room).to_vec()).expect("the wire writes JSON");
        RawValue::from_string(json).expect("the wire writes JSON")
    };
    let (epoch, head_seq) = (head.epoch.to_string(), head.seq);
    let messages = messages.iter().map(raw).collect();
    Ok(HistoryPage { room: room.to_string(), epoch, first_seq, head_seq, messages })
}
