//! The lines of an export as values. Unknown fields of a line are ignored, an unknown kind is an error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::chat::{Role, Visibility};
use crate::base::ids::{Epoch, RoomName, UserName};
use crate::base::limits::{INVITE_BYTES_MAX, KEY_BYTES_MAX, TITLE_BYTES_MAX};
use crate::engine::record::Record;
use crate::wire::publication::DataKind;

/// The version of the lines that this program writes, and the only one that it reads.
pub const LINES_VERSION: u32 = 1;

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Line {
    Header(HeaderLine),
    Room(RoomLine),
    Member(MemberLine),
    Invite(InviteLine),
    Receipt(ReceiptLine),
    Record(RecordLine),
    Account(AccountLine),
    DeadLetter(LetterLine),
    End(EndLine),
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct HeaderLine {
    pub version: u32,
}

/// A room. `visibility` and `title` are there if it was created, `epoch` if it has a numbering.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RoomLine {
    pub room: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    pub head: u64,
    /// Messages above `head` have been seen, so the room must get another epoch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_epoch: bool,
    /// When it was last used, Unix milliseconds.
    pub used_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// A lasting member.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MemberLine {
    pub user: String,
    pub role: String,
}

/// An invite. `uses_left` is absent if it can be used without bound.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct InviteLine {
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    pub expires_at: u64,
}

/// The receipts of a user.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ReceiptLine {
    pub user: String,
    pub read: u64,
    pub delivered: u64,
}

/// A message.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RecordLine {
    pub seq: u64,
    pub at: u64,
    pub from: String,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// An account.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AccountLine {
    pub user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub password_hash: String,
    pub created_at: u64,
    pub locked: bool,
}

/// A dead letter.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LetterLine {
    pub at: u64,
    pub reason: String,
    pub room: String,
    pub epoch: String,
    pub record: RecordLine,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EndLine {
    /// Lines before this one.
    pub lines: u64,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// One sentence.
    pub fn read(text: &str) -> Result<Self, String> {
        match read::<Kind>(text)?.kind.as_str() {
            "header" => read(text).map(Line::Header),
            "room" => read(text).map(Line::Room),
            "member" => read(text).map(Line::Member),
            "invite" => read(text).map(Line::Invite),
            "receipt" => read(text).map(Line::Receipt),
            "record" => read(text).map(Line::Record),
            "account" => read(text).map(Line::Account),
            "dead_letter" => read(text).map(Line::DeadLetter),
            "end" => read(text).map(Line::End),
            other => Err(format!("the kind {other:?} is unknown")),
        }
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("not a line of an export: {error}"))
}

/// Reads a JSON value; `null` counts as one, only a missing field is `None`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl RecordLine {
    /// A record's line; `None` if its data is not what its kind says.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let Record { seq, at, from, kind, data, key, except: _ } = record;
        let (data, data_b64) = match kind {
            DataKind::Json => {
                // In valid JSON a line break stands between tokens only.
                let text = std::str::from_utf8(data).ok()?.replace(['\n', '\r'], " ");
                (Some(RawValue::from_string(text).ok()?), None)
            }
            DataKind::Binary => (None, Some(STANDARD.encode(data))),
        };
        let key = key.as_deref().map(str::to_owned);
        Some(Self { seq: *seq, at: *at, from: from.to_string(), data, data_b64, key })
    }

    /// The record.
    ///
    /// # Errors
    /// One sentence.
    pub fn record(self) -> Result<Record, String> {
        let Self { seq, at, from, data, data_b64, key } = self;
        let (kind, data) = match (data, data_b64) {
            (Some(data), None) => (DataKind::Json, Bytes::from(String::from(Box::<str>::from(data)))),
            (None, Some(text)) => {
                let data = STANDARD.decode(text).map_err(|error| format!("`data_b64` is not base64: {error}"))?;
                (DataKind::Binary, Bytes::from(data))
            }
            _ => return Err("a record has either `data` or `data_b64`".to_owned()),
        };
        let key = key.map(|key| bounded("key", key, KEY_BYTES_MAX)).transpose()?;
        Ok(Record { seq, at, from: user("from", &from)?, kind, data, key, except: None })
    }
}

/// A room's name.
///
/// # Errors
/// One sentence.
pub fn room(field: &str, text: &str) -> Result<RoomName, String> {
    RoomName::new(text).map_err(|error| format!("`{field}` {error}"))
}

/// A user's name.
///
/// # Errors
/// One sentence.
pub fn user(field: &str, text: &str) -> Result<UserName, String> {
    UserName::new(text).map_err(|error| format!("`{field}` {error}"))
}

/// An epoch.
///
/// # Errors
/// One sentence.
pub fn epoch(text: &str) -> Result<Epoch, String> {
    let epoch = Epoch::from_text(text);
    if epoch == Epoch::UNKNOWN {
        Err(format!("`epoch` is {text:?}; it must be 16 hex digits, not all 0"))
    } else {
        Ok(epoch)
    }
}

/// A role.
///
/// # Errors
/// One sentence.
pub fn role(text: &str) -> Result<Role, String> {
    Role::from_word(text).ok_or_else(|| format!("`role` is {text:?}; it must be member, admin or owner"))
}

/// Visibility and title of a created room; `None`: it was not created.
///
/// # Errors
/// One sentence.
pub fn created(line: &RoomLine) -> Result<Option<(Visibility, Box<str>)>, String> {
    let Some(word) = &line.visibility else { return Ok(None) };
    let visibility =
        Visibility::from_word(word).ok_or_else(|| format!("`visibility` is {word:?}; it must be public or private"))?;
    let title = line.title.clone().unwrap_or_default();
    let title = if title.is_empty() { title.into() } else { bounded("title", title, TITLE_BYTES_MAX)? };
    Ok(Some((visibility, title)))
}

/// The code of an invite.
///
/// # Errors
/// One sentence.
pub fn code(text: String) -> Result<Box<str>, String> {
    bounded("code", text, INVITE_BYTES_MAX)
}

fn bounded(field: &str, text: String, max: usize) -> Result<Box<str>, String> {
    match text.len() {
        length if (1..=max).contains(&length) => Ok(text.into()),
        length => Err(format!("`{field}` has {length} bytes; it must have 1 to {max}")),
    }
}
