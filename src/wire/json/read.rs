//! Reads commands in the JSON form (PROTOCOL section 2). `data` is validated as one JSON value and kept as written.
//! Optional fields are absent, not null.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::fields::{Fields, fields};
use super::positions;
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::codes::ErrorCode;
use crate::base::ids::{Epoch, RoomName, Seq, UserName, check_name};
use crate::base::limits::{
    INVITE_BYTES_MAX, INVITE_TTL_DEFAULT_S, INVITE_TTL_MAX_S, KEY_BYTES_MAX, PAGE_MAX, RESUME_ROOMS_MAX,
    TITLE_BYTES_MAX,
};
use crate::wire::form::Form;
use crate::wire::protocol::{Ask, BadRequest, Command, Publish, Recover, ReplyTo, Request};
use crate::wire::publication::DataKind;

/// Largest `id`: the largest integer that every JSON reader represents exactly (2^53 - 1).
pub const ID_MAX: u64 = (1 << 53) - 1;

/// Maximum bytes of an unknown `type` that its error quotes.
const TYPE_SHOWN_BYTES_MAX: usize = 64;

fields! {
    /// A field that some command knows.
    enum Field {
        Type = "type",
        Id = "id",
        Room = "room",
        Data = "data",
        Key = "key",
        Echo = "echo",
        Ephemeral = "ephemeral",
        LastReceivedSeq = "last_received_seq",
        Epoch = "epoch",
        History = "history",
        After = "after",
        Before = "before",
        Limit = "limit",
        Status = "status",
        Active = "active",
        Seq = "seq",
        Kind = "kind",
        Invite = "invite",
        Visibility = "visibility",
        Title = "title",
        MaxUses = "max_uses",
        TtlS = "ttl_s",
        User = "user",
        Role = "role",
        Session = "session",
        Positions = "positions",
        Token = "token",
    }
}

/// Reads one text message.
///
/// # Errors
/// The message is not a valid command.
pub fn parse_command(text: &str) -> Result<Request<'_>, BadRequest> {
    let mut reply = ReplyTo { id: None, form: Form::Json };
    let fields = Fields::read(text).map_err(|message| bad(reply, message))?;
    if let Some(raw) = fields.get(Field::Id) {
        let id = integer(raw).filter(|id| *id <= ID_MAX && fields.repeated != Some(Field::Id));
        let Some(id) = id else { return Err(bad(reply, "`id` must be a single integer from 0 to 2^53-1".to_owned())) };
        reply.id = Some(id);
    }
    CommandReader { fields, reply }.command().map(|command| Request { reply, command })
}

fn bad(reply: ReplyTo, message: String) -> BadRequest {
    BadRequest { reply, code: ErrorCode::BadCommand, message }
}

/// The fields of one command, and where errors about them go.
struct CommandReader<'a> {
    fields: Fields<'a, Field, { Field::COUNT }>,
    reply: ReplyTo,
}

impl<'a> CommandReader<'a> {
    fn command(&self) -> Result<Command<'a>, BadRequest> {
        if let Some(field) = self.fields.repeated {
            return Err(self.wrong(field, "is given twice"));
        }
        let kind = self.text(Field::Type)?.ok_or_else(|| self.missing(Field::Type))?;
        match &*kind {
            "publish" => self.publish(),
            "join" => self.join(),
            "leave" => Ok(Command::Leave { room: self.room()? }),
            "history" => self.history(),
            "presence" => self.presence(),
            "typing" => self.typing(),
            "receipt" => self.receipt(),
            "create_room" => self.create_room(),
            "delete_room" => Ok(Command::Ask { room: self.room()?, ask: Ask::DeleteRoom }),
            "room_info" => Ok(Command::Ask { room: self.room()?, ask: Ask::RoomInfo }),
            "resume" => self.resume(),
            "list_rooms" => self.list_rooms(),
            "invite" => self.invite(),
            "set_role" => self.set_role(),
            "kick" => Ok(Command::Ask { room: self.room()?, ask: Ask::Kick { user: self.user()? } }),
            "status" => self.status(),
            "refresh" => {
                Ok(Command::Refresh { token: self.text(Field::Token)?.ok_or_else(|| self.missing(Field::Token))? })
            }
            "ping" => Ok(Command::Ping { value: 0 }),
            unknown => {
                let shown = &unknown[..unknown.floor_char_boundary(TYPE_SHOWN_BYTES_MAX)];
                let message = format!("unknown type {shown:?}");
                Err(BadRequest { reply: self.reply, code: ErrorCode::UnknownCommand, message })
            }
        }
    }

    fn publish(&self) -> Result<Command<'a>, BadRequest> {
        let data = self.fields.get(Field::Data).ok_or_else(|| self.missing(Field::Data))?;
        let (room, key) = (self.room()?, self.bounded(Field::Key, KEY_BYTES_MAX)?);
        let echo = self.boolean(Field::Echo)?.unwrap_or(true);
        let ephemeral = self.boolean(Field::Ephemeral)?.unwrap_or(false);
        // A key guarantees one message for repeated publishes, which an ephemeral message cannot: it is not kept.
        if key.is_some() && ephemeral {
            return Err(self.wrong(Field::Key, "must not come together with `ephemeral`"));
        }
        let data = Bytes::copy_from_slice(data.get().as_bytes());
        let key = key.map(Box::from);
        Ok(Command::Ask { room, ask: Ask::Publish(Publish { kind: DataKind::Json, data, key, echo, ephemeral }) })
    }

    fn join(&self) -> Result<Command<'a>, BadRequest> {
        let room = self.room()?;
        let epoch = self.text(Field::Epoch)?.map(|text| Epoch::from_text(&text));
        let recover = self.integer(Field::LastReceivedSeq)?.map(|seq| Recover { seq, epoch });
        // A larger number means the same, because the room's maximum applies.
        let history = self.integer(Field::History)?.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let invite = self.bounded(Field::Invite, INVITE_BYTES_MAX)?;
        Ok(Command::Join { room, recover, history, invite })
    }

    fn history(&self) -> Result<Command<'a>, BadRequest> {
        let room = self.room()?;
        let after: Option<Seq> = self.integer(Field::After)?;
        let before: Option<Seq> = self.integer(Field::Before)?;
        if after.is_some() && before.is_some() {
            return Err(self.wrong(Field::Before, "must not come together with `after`"));
        }
        Ok(Command::Ask { room, ask: Ask::History { after, before, limit: self.limit()? } })
    }

    fn presence(&self) -> Result<Command<'a>, BadRequest> {
        let room = self.room()?;
        let after = self.text(Field::After)?;
        if let Some(Err(error)) = after.as_deref().map(check_name) {
            return Err(self.wrong(Field::After, error));
        }
        Ok(Command::Ask { room, ask: Ask::Presence { after: after.map(Box::from), limit: self.limit()? } })
    }

    fn typing(&self) -> Result<Command<'a>, BadRequest> {
        let active = self.boolean(Field::Active)?.ok_or_else(|| self.missing(Field::Active))?;
        Ok(Command::Ask { room: self.room()?, ask: Ask::Typing { active } })
    }

    fn receipt(&self) -> Result<Command<'a>, BadRequest> {
        let seq = self.integer(Field::Seq)?.ok_or_else(|| self.missing(Field::Seq))?;
        let kind = match self.text(Field::Kind)? {
            None => ReceiptKind::Read,
            Some(word) => ReceiptKind::from_word(&word)
                .ok_or_else(|| self.wrong(Field::Kind, "must be \"read\" or \"delivered\""))?,
        };
        Ok(Command::Ask { room: self.room()?, ask: Ask::Receipt { kind, seq } })
    }

    fn create_room(&self) -> Result<Command<'a>, BadRequest> {
        let word = self.text(Field::Visibility)?.ok_or_else(|| self.missing(Field::Visibility))?;
        let visibility = Visibility::from_word(&word)
            .ok_or_else(|| self.wrong(Field::Visibility, "must be \"public\" or \"private\""))?;
        let title = self.text(Field::Title)?.unwrap_or_default();
        if title.len() > TITLE_BYTES_MAX {
            return Err(self.too_large(Field::Title, TITLE_BYTES_MAX));
        }
        if title.chars().any(char::is_control) {
            return Err(self.wrong(Field::Title, "must not contain control characters"));
        }
        let title = Box::from(&*title);
        Ok(Command::Ask { room: self.room()?, ask: Ask::CreateRoom { visibility, title } })
    }

    fn invite(&self) -> Result<Command<'a>, BadRequest> {
        let uses_max = match self.integer(Field::MaxUses)?.map(u32::try_from) {
            None => 0,
            Some(Ok(uses @ 1..)) => uses,
            Some(_) => return Err(self.wrong(Field::MaxUses, format_args!("must be from 1 to {}", u32::MAX))),
        };
        let ttl_s = self.integer(Field::TtlS)?.unwrap_or(INVITE_TTL_DEFAULT_S);
        if !(1..=INVITE_TTL_MAX_S).contains(&ttl_s) {
            return Err(self.wrong(Field::TtlS, format_args!("must be from 1 to {INVITE_TTL_MAX_S}")));
        }
        Ok(Command::Ask { room: self.room()?, ask: Ask::Invite { uses_max, ttl_ms: ttl_s * 1_000 } })
    }

    fn resume(&self) -> Result<Command<'a>, BadRequest> {
        let session = self.text(Field::Session)?.ok_or_else(|| self.missing(Field::Session))?;
        let raw = self.fields.get(Field::Positions).ok_or_else(|| self.missing(Field::Positions))?;
        match positions::read(raw) {
            Ok(positions) if positions.len() <= RESUME_ROOMS_MAX => Ok(Command::Resume { session, positions }),
            Ok(_) => {
                let wrong = self.wrong(Field::Positions, format_args!("must name at most {RESUME_ROOMS_MAX} rooms"));
                Err(BadRequest { code: ErrorCode::TooLarge, ..wrong })
            }
            Err(problem) => Err(self.wrong(Field::Positions, problem)),
        }
    }

    fn list_rooms(&self) -> Result<Command<'a>, BadRequest> {
        let after = self.text(Field::After)?.map(|after| RoomName::new(&after)).transpose();
        let after = after.map_err(|error| self.wrong(Field::After, error))?;
        Ok(Command::ListRooms { after, limit: self.limit()? })
    }

    fn set_role(&self) -> Result<Command<'a>, BadRequest> {
        let (room, user) = (self.room()?, self.user()?);
        let word = self.text(Field::Role)?.ok_or_else(|| self.missing(Field::Role))?;
        let role = Role::from_word(&word)
            .ok_or_else(|| self.wrong(Field::Role, "must be \"owner\", \"admin\" or \"member\""))?;
        Ok(Command::Ask { room, ask: Ask::SetRole { user, role } })
    }

    fn user(&self) -> Result<UserName, BadRequest> {
        let user = self.text(Field::User)?.ok_or_else(|| self.missing(Field::User))?;
        UserName::new(&user).map_err(|error| self.wrong(Field::User, error))
    }

    fn status(&self) -> Result<Command<'a>, BadRequest> {
        let status = self.text(Field::Status)?.ok_or_else(|| self.missing(Field::Status))?;
        match &*status {
            "online" => Ok(Command::Status { away: false }),
            "away" => Ok(Command::Status { away: true }),
            _ => Err(self.wrong(Field::Status, "must be \"online\" or \"away\"")),
        }
    }

    fn room(&self) -> Result<Cow<'a, str>, BadRequest> {
        let room = self.text(Field::Room)?.ok_or_else(|| self.missing(Field::Room))?;
        match check_name(&room) {
            Ok(()) => Ok(room),
            Err(error) => Err(self.wrong(Field::Room, error)),
        }
    }

    /// A text of at least one byte and at most `bytes_max`.
    fn bounded(&self, field: Field, bytes_max: usize) -> Result<Option<Cow<'a, str>>, BadRequest> {
        let text = self.text(field)?;
        match text.as_deref().map_or(1, str::len) {
            0 => Err(self.wrong(field, "must not be empty")),
            bytes if bytes <= bytes_max => Ok(text),
            _ => Err(self.too_large(field, bytes_max)),
        }
    }

    fn limit(&self) -> Result<u32, BadRequest> {
        match self.integer(Field::Limit)? {
            None => Ok(PAGE_MAX),
            Some(limit @ 1..) if limit <= u64::from(PAGE_MAX) => Ok(limit as u32),
            Some(_) => Err(self.wrong(Field::Limit, format_args!("must be from 1 to {PAGE_MAX}"))),
        }
    }

    fn text(&self, field: Field) -> Result<Option<Cow<'a, str>>, BadRequest> {
        let Some(raw) = self.fields.get(field) else { return Ok(None) };
        match string(raw) {
            Some(text) => Ok(Some(text)),
            None => Err(self.wrong(field, "must be a string")),
        }
    }

    fn integer(&self, field: Field) -> Result<Option<u64>, BadRequest> {
        let Some(raw) = self.fields.get(field) else { return Ok(None) };
        match integer(raw) {
            Some(value) => Ok(Some(value)),
            None => Err(self.wrong(field, "must be an integer of at least 0")),
        }
    }

    fn boolean(&self, field: Field) -> Result<Option<bool>, BadRequest> {
        match self.fields.get(field).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(field, "must be true or false")),
        }
    }

    #[cold]
    fn missing(&self, field: Field) -> BadRequest {
        self.wrong(field, "is missing")
    }

    #[cold]
    fn too_large(&self, field: Field, bytes_max: usize) -> BadRequest {
        let wrong = self.wrong(field, format_args!("must be at most {bytes_max} bytes"));
        BadRequest { code: ErrorCode::TooLarge, ..wrong }
    }

    #[cold]
    fn wrong(&self, field: Field, problem: impl std::fmt::Display) -> BadRequest {
        bad(self.reply, format!("`{}` {problem}", field.name()))
    }
}

/// Reads an integer without sign, fraction or exponent, below 2^64.
fn integer(raw: &RawValue) -> Option<u64> {
    raw.get().parse().ok()
}

/// Reads a string, borrowed unless it contains an escape. `None` for other values and for escapes of lone surrogates.
fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.as_bytes().contains(&b'\\') {
        serde_json::from_str(raw.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}
