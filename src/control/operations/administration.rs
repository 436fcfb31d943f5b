//! `create_room`, `delete_room`, `room_info`, `set_role` and `invite`: rooms with members and roles, administered by the
//! server, which may do what an owner may. Decides nothing itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::caller::{SERVER, unexpected};
use super::catalogue::Catalogue;
use super::error::{ErrorBody, OperationError};
use super::field;
use super::rooms::RoomRequest;
use super::state::Operations;
use crate::base::chat::{Role, Visibility};
use crate::base::ids::RoomName;
use crate::base::limits::{INVITE_TTL_DEFAULT_S, INVITE_TTL_MAX_S, TITLE_BYTES_MAX};
use crate::wire::protocol::{Answer, Ask, RoomInfo};

#[derive(OpenApi)]
#[openapi(paths(create_room, delete_room, room_info, set_role, invite))]
struct AdministrationDescription;

/// Adds the operations of this file to `catalogue`.
pub(super) fn list(catalogue: &mut impl Catalogue) {
    catalogue.describe(AdministrationDescription::openapi());
    catalogue.with_body("create_room", create_room);
    catalogue.with_body("delete_room", delete_room);
    catalogue.of_room("room_info", room_info);
    catalogue.with_body("set_role", set_role);
    catalogue.with_body("invite", invite);
}

/// A room to create
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateRoom)]
pub struct CreateRoomRequest {
    /// Room, which must not exist
    #[schema(example = "den")]
    pub room: String,
    /// `public`: anyone may join; `private`: only members, and who has an invite
    #[schema(example = "private")]
    pub visibility: String,
    /// Shown title, up to 256 bytes; empty by default
    pub title: Option<String>,
    /// User who becomes the owner; `server` by default
    #[schema(example = "ann")]
    pub user: Option<String>,
}

/// A room with members and roles
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CreatedRoom)]
pub struct RoomInfoView {
    /// Name of the room
    pub room: String,
    /// `public` or `private`. A room that was not created is public
    #[schema(example = "private")]
    pub visibility: &'static str,
    /// Shown title
    pub title: String,
    /// Lasting members; users present if the room was not created. Absent in the answer to its creation
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    /// Number of the newest message. Absent in the answer to its creation
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_seq: Option<u64>,
}

fn view(room: &RoomName, answer: Answer) -> Result<RoomInfoView, OperationError> {
    let Answer::Room(RoomInfo { visibility, title, figures, .. }) = answer else { return Err(unexpected()) };
    Ok(RoomInfoView {
        room: room.to_string(),
        visibility: visibility.as_str(),
        title: title.into(),
        members: figures.map(|(members, _)| members),
        head_seq: figures.map(|(_, head_seq)| head_seq),
    })
}

/// Create a room with members and roles
#[utoipa::path(
    post, path = "/api/create_room", tag = "rooms", request_body = CreateRoomRequest,
    responses(
        (status = 200, description = "The room, created", body = RoomInfoView),
        (status = "4XX", description = "`room_exists`, `forbidden` without a store, or invalid request", body = ErrorBody),
        (status = "5XX", description = "Unknown whether it was created", body = ErrorBody),
    )
)]
pub async fn create_room(
    operations: Arc<Operations>,
    request: CreateRoomRequest,
) -> Result<RoomInfoView, OperationError> {
    let CreateRoomRequest { room, visibility, title, user } = request;
    let room = ordinary_room(&room)?;
    let visibility = Visibility::from_word(&visibility).ok_or_else(|| {
        OperationError::bad(format!("`visibility` is {visibility:?}; it must be \"public\" or \"private\""))
    })?;
    let title = title.unwrap_or_default();
    if title.len() > TITLE_BYTES_MAX {
        let bytes = title.len();
        let message = format!("`title` has {bytes} bytes; it must have at most {TITLE_BYTES_MAX}");
        return Err(OperationError::too_large(message));
    }
    if title.chars().any(char::is_control) {
        return Err(OperationError::bad("`title` must not contain control characters"));
    }
    let user = field::user("user", user.as_deref().unwrap_or(SERVER))?;
    let ask = Ask::CreateRoom { visibility, title: title.into() };
    let created = view(&room, operations.cores.ask_room_as(user.clone(), room.clone(), ask).await?)?;
    tracing::info!(%room, owner = %user, "room created by an operator");
    Ok(created)
}

/// A room to delete
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeleteRoom)]
pub struct DeleteRoomRequest {
    /// Room, which was created
    #[schema(example = "den")]
    pub room: String,
}

/// A deleted room
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomDeleted {
    /// Room
    pub room: String,
}

/// Delete a room with everything that is kept of it
///
/// Each member is sent the push `left` with reason `room_deleted`. A later room of this name is another room.
#[utoipa::path(
    post, path = "/api/delete_room", tag = "rooms", request_body = DeleteRoomRequest,
    responses(
        (status = 200, description = "The room is deleted", body = RoomDeleted),
        (status = "4XX", description = "`room_not_found` if it was not created, or invalid request", body = ErrorBody),
        (status = "5XX", description = "Unknown whether it was deleted", body = ErrorBody),
    )
)]
pub async fn delete_room(
    operations: Arc<Operations>,
    request: DeleteRoomRequest,
) -> Result<RoomDeleted, OperationError> {
    let room = ordinary_room(&request.room)?;
    match operations.cores.ask_room(room.clone(), Ask::DeleteRoom).await? {
        Answer::RoomDeleted => {
            tracing::info!(%room, "room deleted by an operator");
            Ok(RoomDeleted { room: room.to_string() })
        }
        _ => Err(unexpected()),
    }
}

/// Describe a room as clients see it: visibility, title, lasting members
#[utoipa::path(
    get, path = "/api/rooms/{room}/info", tag = "rooms",
    params(("room" = String, Path, description = "Name of the room, percent-encoded")),
    responses(
        (status = 200, description = "The room", body = RoomInfoView),
        (status = "4XX", description = "`room_not_found`, or invalid request", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn room_info(
    operations: Arc<Operations>,
    room: RoomName,
    _: RoomRequest,
) -> Result<RoomInfoView, OperationError> {
    view(&room, operations.cores.ask_room(room.clone(), Ask::RoomInfo).await?)
}

/// A role of a user in a room
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct RoleOfUser {
    /// Room, which was created
    #[schema(example = "den")]
    pub room: String,
    /// User, who becomes a lasting member
    #[schema(example = "bob")]
    pub user: String,
    /// `owner`, `admin` or `member`
    #[schema(example = "admin")]
    pub role: String,
}

/// Give a user a role in a room
#[utoipa::path(
    post, path = "/api/set_role", tag = "rooms", request_body = RoleOfUser,
    responses(
        (status = 200, description = "The user has the role", body = RoleOfUser),
        (status = "4XX", description = "`room_not_found`, `forbidden` for the last owner, or invalid request", body = ErrorBody),
        (status = "5XX", description = "Unknown whether the role was given: retry", body = ErrorBody),
    )
)]
pub async fn set_role(operations: Arc<Operations>, request: RoleOfUser) -> Result<RoleOfUser, OperationError> {
    let (room, user) = (ordinary_room(&request.room)?, field::user("user", &request.user)?);
    let words = || format!("`role` is {:?}; it must be \"owner\", \"admin\" or \"member\"", request.role);
    let role = Role::from_word(&request.role).ok_or_else(|| OperationError::bad(words()))?;
    match operations.cores.ask_room(room.clone(), Ask::SetRole { user: user.clone(), role }).await? {
        Answer::RoleSet { .. } => {
            tracing::info!(%room, %user, role = role.as_str(), "role given by an operator");
            Ok(request)
        }
        _ => Err(unexpected()),
    }
}

/// An invite to make
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = MakeInvite)]
pub struct InviteRequest {
    /// Room, which was created
    #[schema(example = "den")]
    pub room: String,
    /// How often it can be used; without bound by default
    #[schema(minimum = 1)]
    pub max_uses: Option<u32>,
    /// How many seconds it is valid: 7 days by default, 30 days at most
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub ttl_s: Option<u64>,
}

/// An invite to a room
#[derive(Debug, Serialize, ToSchema)]
pub struct Invite {
    /// Room
    pub room: String,
    /// Code that a client gives when it joins
    pub code: String,
    /// Until when it is valid, Unix milliseconds
    pub expires_at: u64,
}

/// Make an invite to a room
///
/// Whoever joins the room with its code becomes a lasting member.
#[utoipa::path(
    post, path = "/api/invite", tag = "rooms", request_body = InviteRequest,
    responses(
        (status = 200, description = "The invite", body = Invite),
        (status = "4XX", description = "`room_not_found`, `limit_exceeded`, or invalid request", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn invite(operations: Arc<Operations>, request: InviteRequest) -> Result<Invite, OperationError> {
    let room = ordinary_room(&request.room)?;
    if request.max_uses == Some(0) {
        return Err(OperationError::bad("`max_uses` is 0; it must be at least 1"));
    }
    let ttl_s = request.ttl_s.unwrap_or(INVITE_TTL_DEFAULT_S);
    if !(1..=INVITE_TTL_MAX_S).contains(&ttl_s) {
        return Err(OperationError::bad(format!("`ttl_s` is {ttl_s}; it must be from 1 to {INVITE_TTL_MAX_S}")));
    }
    let ask = Ask::Invite { uses_max: request.max_uses.unwrap_or(0), ttl_ms: ttl_s * 1_000 };
    match operations.cores.ask_room(room.clone(), ask).await? {
        Answer::Invited { code, expires_at } => Ok(Invite { room: room.to_string(), code: code.into(), expires_at }),
        _ => Err(unexpected()),
    }
}

/// A room that can have members and roles.
fn ordinary_room(name: &str) -> Result<RoomName, OperationError> {
    let room = field::room("room", name)?;
    match room.starts_with('@') {
        true => Err(OperationError::forbidden(format!("`room`: {name:?} is an inbox, which has no members and roles"))),
        false => Ok(room),
    }
}
