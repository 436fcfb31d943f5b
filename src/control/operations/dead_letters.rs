//! `dead-letters`, `dead-letters/replay` and `dead-letters/drop`: messages that were acknowledged and could not be stored.
//! Keeps none itself, and publishes only what an operator asks for.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::catalogue::Catalogue;
use super::error::{ErrorBody, OperationError, OperationErrorCode};
use super::field;
use super::publish::{self, ServerPublish};
use super::state::Operations;
use crate::base::limits::{DEAD_LETTERS_PAGE_MAX, KEY_WINDOW_MS};
use crate::engine::kept::DeadLetter;
use crate::wire::protocol::Publish;
use crate::wire::publication::DataKind;

#[derive(OpenApi)]
#[openapi(paths(dead_letters, dead_letter, dead_letters_replay, dead_letters_drop))]
struct DeadLettersDescription;

/// Adds the operations of this file to `catalogue`.
pub(super) fn list(catalogue: &mut impl Catalogue) {
    catalogue.describe(DeadLettersDescription::openapi());
    catalogue.with_query("dead_letters", dead_letters);
    catalogue.with_body("dead_letters_replay", dead_letters_replay);
    catalogue.with_body("dead_letters_drop", dead_letters_drop);
    // Last: its path matches those of the others.
    catalogue.of_number("dead_letter", dead_letter);
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLettersRequest {
    /// Entries in the page: default 20, maximum 100
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u64>,
    /// List only dead letters with a greater id: the `next` of the page before
    pub after: Option<u64>,
}

/// Entries in a page when the request gives no limit.
const PAGE_DEFAULT: u32 = 20;

/// A dead letter in a list
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ListedDeadLetter)]
pub struct ListedLetter {
    /// Id of the dead letter
    pub id: u64,
    /// Time at which it was given up, Unix milliseconds
    pub at: u64,
    /// Why it could not be stored
    pub reason: String,
    /// Room that it was published to
    #[schema(example = "lobby")]
    pub room: String,
    /// Epoch of its number
    #[schema(example = "00f3a1b2c4d5e6f7")]
    pub epoch: String,
    /// Number that it had
    pub seq: u64,
    /// Its publisher
    pub from: String,
    /// Bytes of its data
    pub bytes: usize,
}

/// A page of dead letters
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetters)]
pub struct DeadLettersPage {
    /// In the order of ids, oldest first
    pub dead_letters: Vec<ListedLetter>,
    /// Cursor of the next page; absent on the last page
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A dead letter
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub struct LetterView {
    /// Id of the dead letter
    pub id: u64,
    /// Time at which it was given up, Unix milliseconds
    pub at: u64,
    /// Why it could not be stored
    pub reason: String,
    /// Room that it was published to
    #[schema(example = "lobby")]
    pub room: String,
    /// Epoch of its number
    #[schema(example = "00f3a1b2c4d5e6f7")]
    pub epoch: String,
    /// Number that it had
    pub seq: u64,
    /// Its publisher
    pub from: String,
    /// Time at which it was published, Unix milliseconds
    pub published_at: u64,
    /// Its idempotency key; absent if it had none
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its data, if that is a JSON value
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Its data in standard base64, if that is bytes
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_b64: Option<String>,
}

/// List dead letters
#[utoipa::path(
    get, path = "/api/dead-letters", tag = "dead letters", params(DeadLettersRequest),
    responses(
        (status = 200, description = "A page of dead letters, without their data", body = DeadLettersPage),
        (status = "4XX", description = "Invalid request", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn dead_letters(
    operations: Arc<Operations>,
    request: DeadLettersRequest,
) -> Result<DeadLettersPage, OperationError> {
    let limit = field::limit(request.limit, PAGE_DEFAULT, DEAD_LETTERS_PAGE_MAX)?;
    // One more tells whether there is another page.
    let mut found = operations.dead_letters()?.list(request.after.unwrap_or(0), limit + 1).await?;
    let is_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| is_more).map(|last| last.id);
    Ok(DeadLettersPage { dead_letters: found.into_iter().map(listed).collect(), next })
}

fn listed(letter: DeadLetter) -> ListedLetter {
    let DeadLetter { id, at, reason, room, epoch, record } = letter;
    ListedLetter {
        id,
        at,
        reason: reason.into(),
        room: room.to_string(),
        epoch: epoch.to_string(),
        seq: record.seq,
        from: record.from.to_string(),
        bytes: record.data.len(),
    }
}

/// Read a dead letter
#[utoipa::path(
    get, path = "/api/dead-letters/{id}", tag = "dead letters",
    params(("id" = u64, Path, description = "Id of the dead letter")),
    responses(
        (status = 200, description = "The dead letter with its data", body = LetterView),
        (status = "4XX", description = "Invalid request, or (404) there is no such dead letter", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn dead_letter(operations: Arc<Operations>, id: u64) -> Result<LetterView, OperationError> {
    let DeadLetter { id, at, reason, room, epoch, record } = find(&operations, id).await?;
    let unreadable = || OperationError::unavailable(format!("the data of dead letter {id} is not JSON"));
    let (data, data_b64) = match record.kind {
        DataKind::Json => {
            let text = String::from_utf8(record.data.to_vec()).map_err(|_| unreadable())?;
            (Some(RawValue::from_string(text).map_err(|_| unreadable())?), None)
        }
        DataKind::Binary => (None, Some(STANDARD.encode(&record.data))),
    };
    Ok(LetterView {
        id,
        at,
        reason: reason.into(),
        room: room.to_string(),
        epoch: epoch.to_string(),
        seq: record.seq,
        from: record.from.to_string(),
        published_at: record.at,
        key: record.key.map(String::from),
        data,
        data_b64,
    })
}

/// The id of a dead letter
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeadLetterId)]
pub struct LetterRequest {
    /// Id of the dead letter
    #[schema(example = 7)]
    pub id: u64,
}

/// A dead letter that was published again
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replayed)]
pub struct LetterReplayed {
    /// Id that the dead letter had
    pub id: u64,
    /// Room
    pub room: String,
    /// Its new number
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Epoch that `seq` belongs to
    #[schema(example = "00f3a1b2c4d5e6f7")]
    pub epoch: String,
    /// `true` if its key was used before: nothing was published, and `seq` is that of the first publish
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<bool>,
}

/// Publish a dead letter again
///
/// Publishes it as a new message of its room, from its publisher and with its idempotency key, and then drops the dead letter.
/// Repeated within 2 minutes, it publishes nothing.
#[utoipa::path(
    post, path = "/api/dead-letters/replay", tag = "dead letters", request_body = LetterRequest,
    responses(
        (status = 200, description = "The message is published, and the dead letter is dropped", body = LetterReplayed),
        (status = "4XX", description = "Invalid request, or (404) there is no such dead letter", body = ErrorBody),
        (status = "5XX", description = "Not published, or unknown: retry. The dead letter is kept", body = ErrorBody),
    )
)]
pub async fn dead_letters_replay(
    operations: Arc<Operations>,
    request: LetterRequest,
) -> Result<LetterReplayed, OperationError> {
    let DeadLetter { id, room, epoch, record, .. } = find(&operations, request.id).await?;
    publish::check_inbox(&operations, "room", &room)?;
    // Without one of its own, a key that only this dead letter can have.
    let key = record.key.clone().unwrap_or_else(|| format!("dead-letter-{id}").into());
    let publish = Publish { kind: record.kind, data: record.data, key: Some(key), echo: true, ephemeral: false };
    let message = ServerPublish { from: record.from, publish };
    let published = publish::publish_one(&operations, room, message).await?;
    let is_itself = published.seq == Some(record.seq) && published.epoch == epoch.to_string();
    if published.duplicate.is_some() && is_itself {
        // The room's owner has numbered this very message, and does not know that it was not stored.
        let message = "the room still remembers the publish that was not stored; replay it again in 2 minutes";
        return Err(OperationError { retry_after_ms: Some(KEY_WINDOW_MS), ..OperationError::unavailable(message) });
    }
    operations.dead_letters()?.forget(id).await?;
    tracing::info!(id, room = published.room, seq = published.seq, "dead letter replayed by an operator");
    let publish::PublishReceipt { room, seq, epoch, duplicate } = published;
    Ok(LetterReplayed { id, room, seq, epoch, duplicate })
}

/// A dead letter that was dropped
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Dropped)]
pub struct LetterDropped {
    /// Id that the dead letter had
    pub id: u64,
}

/// Drop a dead letter
///
/// Its message is lost.
#[utoipa::path(
    post, path = "/api/dead-letters/drop", tag = "dead letters", request_body = LetterRequest,
    responses(
        (status = 200, description = "The dead letter is dropped", body = LetterDropped),
        (status = "4XX", description = "Invalid request, or (404) there is no such dead letter", body = ErrorBody),
        (status = "5XX", description = "The dead letter may have been dropped: retry", body = ErrorBody),
    )
)]
pub async fn dead_letters_drop(
    operations: Arc<Operations>,
    request: LetterRequest,
) -> Result<LetterDropped, OperationError> {
    let id = request.id;
    if !operations.dead_letters()?.forget(id).await? {
        return Err(unknown(id));
    }
    tracing::info!(id, "dead letter dropped by an operator");
    Ok(LetterDropped { id })
}

async fn find(operations: &Operations, id: u64) -> Result<DeadLetter, OperationError> {
    operations.dead_letters()?.find(id).await?.ok_or_else(|| unknown(id))
}

fn unknown(id: u64) -> OperationError {
    OperationError::new(OperationErrorCode::DeadLetterUnknown, format!("there is no dead letter {id}"))
}
