//! `GET connections`, `POST disconnect`, `POST kick`: who is connected, and who is not to be.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::calls::{Cursor, unexpected};
use super::input::{self, Body, Params};
use super::refusal::{ErrorBody, Refusal};
use super::rooms::{PAGE_USUAL, TOP_USUAL};
use crate::base::ids::{ConnId, CoreId};
use crate::base::limits::{CLOSE_REASON_BYTES_MAX, LISTING_MAX, TOP_MAX};
use crate::engine::call::{Answer, Call, ConnOrder, ConnSummary, Whom};
use crate::io::clock;

/// By what the first connections are chosen
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConnectionSort {
    /// The laggards: most bytes waiting first
    Queued,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConnectionsQuery {
    /// How many at most: 100, at most 1,000; with `sort` 10, at most 100
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
    /// The `next` of the page before; not with `sort`
    after: Option<String>,
    /// Only this user's
    user: Option<String>,
    /// Only members of this room
    room: Option<String>,
    /// The laggards of all connections rather than a page of them
    sort: Option<ConnectionSort>,
}

/// An open WebSocket
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Connection {
    /// Its id, as in `welcome`
    #[schema(example = "0-12-345")]
    connection: String,
    /// Whose
    user: String,
    /// The machine that holds it
    node: String,
    /// The core of that machine
    core: u16,
    /// In which form it reads pushes: `json` or `binary`
    #[schema(example = "json")]
    form: &'static str,
    /// Rooms that it has joined
    rooms: u32,
    /// Whether its user said to be away on it
    away: bool,
    /// When anything of it last arrived, Unix milliseconds
    last_seen_at: u64,
    /// Round-trip time of its last ping, milliseconds; absent before the first
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_ms: Option<f64>,
    /// WebSocket messages received
    messages_received: u32,
    /// WebSocket messages sent
    messages_sent: u32,
    /// Bytes received
    bytes_received: u64,
    /// Bytes sent
    bytes_sent: u64,
    /// Bytes that wait to be read by it
    queued_bytes: u64,
}

impl Connection {
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

/// Open WebSockets of this machine
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Connections {
    /// By core and place; with `sort` the worst laggards first
    connections: Vec<Connection>,
    /// Where the next page begins; absent in the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List connections, or the worst laggards of them
#[utoipa::path(
    get, path = "/api/connections", tag = "connections", params(ConnectionsQuery),
    responses(
        (status = 200, description = "A page of connections", body = Connections),
        (status = "4XX", description = "The request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
pub(super) async fn connections(
    State(api): State<Arc<Api>>,
    Params(query): Params<ConnectionsQuery>,
) -> Result<Json<Connections>, Refusal> {
    let (order, is_page) = match query.sort {
        None => (ConnOrder::Slot, true),
        Some(ConnectionSort::Queued) => (ConnOrder::Queued, false),
    };
    if !is_page && query.after.is_some() {
        return Err(Refusal::bad("`after` must not come together with `sort`"));
    }
    let (usual, most) = if is_page { (PAGE_USUAL, LISTING_MAX) } else { (TOP_USUAL, TOP_MAX) };
    let limit = input::limit(query.limit, usual, most)?;
    let user = query.user.map(|user| input::user("user", &user)).transpose()?;
    let room = query.room.map(|room| input::room("room", &room)).transpose()?;
    let left = |found: &Vec<ConnSummary>| if is_page { limit - found.len() as u32 } else { limit };
    let mut found: Vec<ConnSummary> = Vec::new();
    let next = api
        .caller
        .scan(
            Cursor::read(query.after.as_deref())?,
            &mut found,
            |found, from| {
                let (user, room) = (user.clone(), room.clone());
                Call::Connections { from, limit: left(found), order, user, room }
            },
            |found, answer| {
                let Answer::Connections { connections, next } = answer else { return None };
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
    let (node, unix_ms) = (&api.settings.node, clock::now().unix_ms);
    let connections = found.iter().map(|summary| Connection::new(summary, node, unix_ms)).collect();
    Ok(Json(Connections { connections, next: next.map(Cursor::text) }))
}

/// Whose connections to close: a user's, or one
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Disconnect {
    /// All connections of this user; this or `connection`
    #[schema(example = "alice")]
    user: Option<String>,
    /// The connection with this id
    connection: Option<String>,
    /// Told to the client in the close frame, up to 123 bytes
    reason: Option<String>,
}

/// Connections that are being closed with 4403
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Disconnected {
    /// How many
    disconnected: u32,
}

/// Close a user's connections, or one connection
///
/// Each gets what waits for it, then the close code 4403: its client should not reconnect.
#[utoipa::path(
    post, path = "/api/disconnect", tag = "connections", request_body = Disconnect,
    responses(
        (status = 200, description = "How many are being closed", body = Disconnected),
        (status = "4XX", description = "The request must be another one", body = ErrorBody),
        (status = "5XX", description = "Some may have been closed: try again", body = ErrorBody),
    )
)]
pub(super) async fn disconnect(
    State(api): State<Arc<Api>>,
    Body(request): Body<Disconnect>,
) -> Result<Json<Disconnected>, Refusal> {
    let Disconnect { user, connection, reason } = request;
    let reason = reason.map(read_reason).transpose()?;
    let whom = match (user, connection) {
        (Some(user), None) => Whom::User(input::user("user", &user)?),
        (None, Some(connection)) => {
            let conn = ConnId::from_text(&connection);
            Whom::Connection(conn.ok_or_else(|| Refusal::bad("`connection` must be an id such as \"0-12-345\""))?)
        }
        (None, None) => return Err(Refusal::bad("`user` or `connection` is missing")),
        (Some(_), Some(_)) => return Err(Refusal::bad("`connection` must not come together with `user`")),
    };
    let call = |from| Call::Disconnect { whom: whom.clone(), from, reason: reason.clone() };
    let disconnected = match &whom {
        Whom::User(_) => end_all(&api, call).await?,
        Whom::Connection(conn) if conn.home.0 >= api.caller.cores() => 0,
        Whom::Connection(conn) => match api.caller.ask(conn.home, call(0)).await? {
            Answer::Ended { count, .. } => count,
            _ => return Err(unexpected()),
        },
    };
    let whom = match whom {
        Whom::User(user) => user.to_string(),
        Whom::Connection(conn) => conn.to_string(),
    };
    tracing::info!(whom, disconnected, "an operator disconnects");
    Ok(Json(Disconnected { disconnected }))
}

fn read_reason(reason: String) -> Result<Box<str>, Refusal> {
    if reason.len() > CLOSE_REASON_BYTES_MAX {
        return Err(Refusal::too_large(format!("`reason` must be at most {CLOSE_REASON_BYTES_MAX} bytes")));
    }
    Ok(reason.into_boxed_str())
}

/// Who is to leave which room
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Kick {
    /// Which room
    #[schema(example = "lobby")]
    room: String,
    /// Whom
    #[schema(example = "alice")]
    user: String,
}

/// Connections that have been put out of a room
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Kicked {
    /// Which room
    room: String,
    /// Whom
    user: String,
    /// How many of the user's connections
    kicked: u32,
}

/// Put a user out of a room
///
/// Each of the user's connections in the room gets the push `left` with reason `kicked`. It stays connected.
#[utoipa::path(
    post, path = "/api/kick", tag = "connections", request_body = Kick,
    responses(
        (status = 200, description = "How many were put out; 0: the user was not there", body = Kicked),
        (status = "4XX", description = "The request must be another one", body = ErrorBody),
        (status = "5XX", description = "Some may have been put out: try again", body = ErrorBody),
    )
)]
pub(super) async fn kick(State(api): State<Arc<Api>>, Body(request): Body<Kick>) -> Result<Json<Kicked>, Refusal> {
    let (room, user) = (input::room("room", &request.room)?, input::user("user", &request.user)?);
    let kicked = end_all(&api, |from| Call::Kick { room: room.clone(), user: user.clone(), from }).await?;
    tracing::info!(%room, %user, kicked, "an operator kicks");
    Ok(Json(Kicked { room: room.to_string(), user: user.to_string(), kicked }))
}

/// Does the same on every core, run by run of its slots; how many it met.
async fn end_all(api: &Api, call: impl Fn(u32) -> Call) -> Result<u32, Refusal> {
    let mut ended = 0;
    for core in 0..api.caller.cores() {
        let mut from = Some(0);
        while let Some(place) = from {
            let Answer::Ended { count, next } = api.caller.ask(CoreId(core), call(place)).await? else {
                return Err(unexpected());
            };
            ended += count;
            from = next;
        }
    }
    Ok(ended)
}
