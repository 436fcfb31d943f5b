//! `connections`, `disconnect` and `kick`: listing connections, closing them, and removing users from rooms. Closes no
//! socket itself: the cores do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::caller::{Cursor, unexpected};
use super::catalogue::Catalogue;
use super::error::{ErrorBody, OperationError, OperationErrorCode};
use super::field;
use super::state::Operations;
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::limits::{CLOSE_REASON_BYTES_MAX, LISTING_MAX, TOP_MAX};
use crate::engine::call::{Call, CallAnswer, ConnOrder, ConnSummary, Whom};
use crate::io::clock;
use crate::wire::protocol::Ask;

#[derive(OpenApi)]
#[openapi(paths(connections, disconnect, kick))]
struct ConnectionsDescription;

/// Adds the operations of this file to `catalogue`.
pub(super) fn list(catalogue: &mut impl Catalogue) {
    catalogue.describe(ConnectionsDescription::openapi());
    catalogue.with_query("connections", connections);
    catalogue.with_body("disconnect", disconnect);
    catalogue.with_body("kick", kick);
}

/// Order of the slowest connections
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionSort {
    /// Most queued bytes first
    Queued,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConnectionsRequest {
    /// Entries in the page: default 100, maximum 1,000; with `sort` default 10, maximum 100
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// Continue a listing: the `next` of the page before. Cannot be combined with `sort`
    pub after: Option<String>,
    /// List only connections of this user
    pub user: Option<String>,
    /// List only members of this room
    pub room: Option<String>,
    /// List the slowest connections instead of a page of all connections
    pub sort: Option<ConnectionSort>,
}

/// An open WebSocket
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connection)]
pub struct ConnectionView {
    /// Connection id, as in `welcome`
    #[schema(example = "0-12-345")]
    pub connection: String,
    /// User of the connection
    pub user: String,
    /// Machine that holds the connection
    pub node: String,
    /// Core of that machine
    pub core: u16,
    /// Form of its messages: `json` or `binary`
    #[schema(example = "json")]
    pub form: &'static str,
    /// Number of rooms joined
    pub rooms: u32,
    /// Whether the connection has set its status to `away`
    pub away: bool,
    /// Time of the last frame received, Unix milliseconds
    pub last_seen_at: u64,
    /// Round-trip time of the last ping, milliseconds; absent before the first pong
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// WebSocket messages received
    pub messages_received: u32,
    /// WebSocket messages sent
    pub messages_sent: u32,
    /// Bytes received
    pub bytes_received: u64,
    /// Bytes sent
    pub bytes_sent: u64,
    /// Bytes queued for the connection
    pub queued_bytes: u64,
}

impl ConnectionView {
    fn new(summary: &ConnSummary, node: &str, unix_ms: u64) -> Self {
        let round_trip = f64::from(summary.round_trip_us) / 1_000.0;
        Self {
            connection: summary.conn.to_string(),
            user: summary.user.to_string(),
            node: node.to_owned(),
            core: summary.conn.home.0,
            form: summary.form.name(),
            rooms: summary.rooms,
            away: summary.away,
            last_seen_at: unix_ms.saturating_sub(summary.silent_ms),
            round_trip_ms: (summary.round_trip_us > 0).then_some(round_trip),
            messages_received: summary.stats.messages_received,
            messages_sent: summary.stats.messages_sent,
            bytes_received: summary.stats.bytes_received,
            bytes_sent: summary.stats.bytes_sent,
            queued_bytes: summary.queued_bytes,
        }
    }
}

/// A page of the open WebSockets of this machine
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connections)]
pub struct ConnectionsPage {
    /// In order of core and slot; with `sort` slowest first
    pub connections: Vec<ConnectionView>,
    /// Cursor of the next page; absent on the last page
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// List connections, or the slowest connections
#[utoipa::path(
    get, path = "/api/connections", tag = "connections", params(ConnectionsRequest),
    responses(
        (status = 200, description = "A page of connections", body = ConnectionsPage),
        (status = "4XX", description = "Invalid request", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn connections(
    operations: Arc<Operations>,
    request: ConnectionsRequest,
) -> Result<ConnectionsPage, OperationError> {
    let (order, is_page) = match request.sort {
        None => (ConnOrder::Slot, true),
        Some(ConnectionSort::Queued) => (ConnOrder::Queued, false),
    };
    if !is_page && request.after.is_some() {
        return Err(OperationError::bad("`after` cannot be combined with `sort`"));
    }
    let (default, most) = if is_page { (field::PAGE_DEFAULT, LISTING_MAX) } else { (field::TOP_DEFAULT, TOP_MAX) };
    let limit = field::limit(request.limit, default, most)?;
    let user = request.user.map(|user| field::user("user", &user)).transpose()?;
    let room = request.room.map(|room| field::room("room", &room)).transpose()?;
    let left = |found: &Vec<ConnSummary>| if is_page { limit - found.len() as u32 } else { limit };
    let mut found: Vec<ConnSummary> = Vec::new();
    let next = operations
        .cores
        .scan(
            Cursor::read(request.after.as_deref())?,
            &mut found,
            |found, from| {
                let (user, room) = (user.clone(), room.clone());
                Call::Connections { from, limit: left(found), order, user, room }
            },
            |found, answer| {
                let CallAnswer::Connections { connections, next } = answer else { return None };
                found.extend(connections);
                if !is_page {
                    found.sort_by(|one, other| other.cmp_by_queued(one));
                    found.truncate(limit as usize);
                }
                next
            },
            |found| is_page && found.len() as u32 >= limit,
        )
        .await?;
    let (node, unix_ms) = (&operations.settings.node, clock::now().unix_ms);
    let connections = found.iter().map(|summary| ConnectionView::new(summary, node, unix_ms)).collect();
    Ok(ConnectionsPage { connections, next: next.map(Cursor::text) })
}

/// Connections to close: all of a user, or one
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Disconnect)]
pub struct DisconnectRequest {
    /// Close all connections of this user. Give this or `connection`
    #[schema(example = "alice")]
    pub user: Option<String>,
    /// Close the connection with this id
    pub connection: Option<String>,
    /// Reason in the close frame, up to 123 bytes
    pub reason: Option<String>,
}

/// Connections being closed with code 4403
#[derive(Debug, Serialize, ToSchema)]
pub struct Disconnected {
    /// Number of connections
    pub disconnected: u32,
}

/// Close a user's connections, or one connection
///
/// Each connection is sent what is queued for it and then close code 4403, after which its client should not reconnect.
#[utoipa::path(
    post, path = "/api/disconnect", tag = "connections", request_body = DisconnectRequest,
    responses(
        (status = 200, description = "The number of connections being closed", body = Disconnected),
        (status = "4XX", description = "Invalid request", body = ErrorBody),
        (status = "5XX", description = "Some connections may have been closed: retry", body = ErrorBody),
    )
)]
pub async fn disconnect(
    operations: Arc<Operations>,
    request: DisconnectRequest,
) -> Result<Disconnected, OperationError> {
    let DisconnectRequest { user, connection, reason } = request;
    let reason = reason.map(read_reason).transpose()?;
    let whom = match (user, connection) {
        (Some(user), None) => Whom::User(field::user("user", &user)?),
        (None, Some(connection)) => {
            let message = || format!("`connection` is {connection:?}; it must be an id such as \"0-12-345\"");
            let conn = ConnId::from_text(&connection);
            Whom::Connection(conn.ok_or_else(|| OperationError::bad(message()))?)
        }
        (None, None) => return Err(OperationError::bad("`user` or `connection` is required")),
        (Some(_), Some(_)) => return Err(OperationError::bad("`connection` cannot be combined with `user`")),
    };
    let call = |from| Call::Disconnect { whom: whom.clone(), from, reason: reason.clone() };
    let disconnected = match &whom {
        Whom::User(_) => end_all(&operations, call).await?,
        Whom::Connection(conn) if conn.home.0 >= operations.cores.cores() => 0,
        Whom::Connection(conn) => match operations.cores.ask(conn.home, call(0)).await? {
            CallAnswer::Ended { count, .. } => count,
            _ => return Err(unexpected()),
        },
    };
    let whom = match whom {
        Whom::User(user) => user.to_string(),
        Whom::Connection(conn) => conn.to_string(),
    };
    tracing::info!(whom, disconnected, "connections closed by an operator");
    Ok(Disconnected { disconnected })
}

fn read_reason(reason: String) -> Result<Box<str>, OperationError> {
    if reason.len() > CLOSE_REASON_BYTES_MAX {
        let bytes = reason.len();
        let message = format!("`reason` has {bytes} bytes; it must have at most {CLOSE_REASON_BYTES_MAX}");
        return Err(OperationError::too_large(message));
    }
    Ok(reason.into_boxed_str())
}

/// A user to remove from a room
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Kick)]
pub struct KickRequest {
    /// Room
    #[schema(example = "lobby")]
    pub room: String,
    /// User
    #[schema(example = "alice")]
    pub user: String,
}

/// A user removed from a room
#[derive(Debug, Serialize, ToSchema)]
pub struct Kicked {
    /// Room
    pub room: String,
    /// User
    pub user: String,
    /// Number of the user's connections that were members
    pub kicked: u32,
}

/// Remove a user from a room
///
/// Each of the user's connections in the room is sent the push `left` with reason `kicked`, and stays connected. In a
/// room that was created the user's lasting membership ends.
#[utoipa::path(
    post, path = "/api/kick", tag = "connections", request_body = KickRequest,
    responses(
        (status = 200, description = "The number of connections removed; 0 if the user was not in the room", body = Kicked),
        (status = "4XX", description = "`forbidden` for the last owner, or invalid request", body = ErrorBody),
        (status = "5XX", description = "Some connections may have been removed: retry", body = ErrorBody),
    )
)]
pub async fn kick(operations: Arc<Operations>, request: KickRequest) -> Result<Kicked, OperationError> {
    let (room, user) = (field::room("room", &request.room)?, field::user("user", &request.user)?);
    // Before the connections, so that none of them can join again in between.
    match operations.cores.ask_room(room.clone(), Ask::Kick { user: user.clone() }).await {
        Ok(_) => {}
        // Nobody is there, and nothing is kept.
        Err(error) if error.code == OperationErrorCode::Protocol(ErrorCode::RoomNotFound) => {}
        Err(error) => return Err(error),
    }
    let kicked = end_all(&operations, |from| Call::Kick { room: room.clone(), user: user.clone(), from }).await?;
    tracing::info!(%room, %user, kicked, "user removed from a room by an operator");
    Ok(Kicked { room: room.to_string(), user: user.to_string(), kicked })
}

/// Closes all connections of a user with code 4403 and this reason. Returns how many.
pub(super) async fn close_all_of(
    operations: &Operations,
    user: &UserName,
    reason: &str,
) -> Result<u32, OperationError> {
    let whom = Whom::User(user.clone());
    end_all(operations, |from| Call::Disconnect { whom: whom.clone(), from, reason: Some(reason.into()) }).await
}

/// Makes a call on every core until it has covered all slots. Returns how many connections it ended.
async fn end_all(operations: &Operations, call: impl Fn(u32) -> Call) -> Result<u32, OperationError> {
    let mut ended = 0;
    for core in 0..operations.cores.cores() {
        let mut from = Some(0);
        while let Some(place) = from {
            let CallAnswer::Ended { count, next } = operations.cores.ask(CoreId(core), call(place)).await? else {
                return Err(unexpected());
            };
            ended += count;
            from = next;
        }
    }
    Ok(ended)
}
