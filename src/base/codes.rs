//! Owns error codes and close codes (PROTOCOL section 5). Never reuses a number and never decides when a code applies.

/// An error reply: the command failed, the connection stays open. The discriminant is the number in the binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ErrorCode {
    /// Not a JSON object, a bad or missing field, or a binary message that is too short for its op.
    BadCommand = 1,
    /// An unknown `type` or op.
    UnknownCommand = 2,
    /// The connection is not a member of the room.
    NotJoined = 3,
    /// No such room.
    RoomNotFound = 4,
    /// The room exists.
    RoomExists = 5,
    /// Not allowed.
    Forbidden = 6,
    /// The invite is unknown, used up or expired.
    InviteInvalid = 7,
    /// The token is missing or invalid.
    InvalidToken = 8,
    /// The token has expired.
    TokenExpired = 9,
    /// A single field is too large.
    TooLarge = 10,
    /// A configured count is reached.
    LimitExceeded = 11,
    /// Over a rate limit; carries `retry_after_ms`.
    RateLimited = 12,
    /// The room keeps no history.
    HistoryUnavailable = 13,
    /// No such session.
    SessionUnknown = 14,
    /// Store or link is down; carries `retry_after_ms`.
    Unavailable = 15,
    /// A bounded queue of the server is full; nothing was done.
    Overloaded = 16,
    /// A server fault.
    Internal = 17,
}

impl ErrorCode {
    /// The JSON form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BadCommand => "bad_command",
            ErrorCode::UnknownCommand => "unknown_command",
            ErrorCode::NotJoined => "not_joined",
            ErrorCode::RoomNotFound => "room_not_found",
            ErrorCode::RoomExists => "room_exists",
            ErrorCode::Forbidden => "forbidden",
            ErrorCode::InviteInvalid => "invite_invalid",
            ErrorCode::InvalidToken => "invalid_token",
            ErrorCode::TokenExpired => "token_expired",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::LimitExceeded => "limit_exceeded",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::HistoryUnavailable => "history_unavailable",
            ErrorCode::SessionUnknown => "session_unknown",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::Overloaded => "overloaded",
            ErrorCode::Internal => "internal",
        }
    }
}

/// Why the server closes a connection: the close frame's status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The client closed the connection.
    Normal = 1000,
    /// Idle timeout.
    GoingAway = 1001,
    /// Violation of RFC 6455.
    Protocol = 1002,
    /// Unsupported kind of data.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    InvalidUtf8 = 1007,
    /// A message larger than `max_message_bytes`.
    TooBig = 1009,
    /// A server fault.
    Internal = 1011,
    /// Service restart (drain).
    Restart = 1012,
    /// Overloaded: try again later.
    Overloaded = 1013,
    /// Token expired, or several invalid tokens in a row.
    Token = 4401,
    /// Closed by an operator.
    Forbidden = 4403,
    /// Heartbeat timeout: no frame within `heartbeat_timeout_ms`.
    Heartbeat = 4408,
    /// Slow consumer: its outbox is full.
    Slow = 4413,
    /// 100 rate limit errors in a row.
    Rate = 4429,
}

impl CloseCode {
    /// The status code on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The reason in the close frame.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            CloseCode::Normal => "",
            CloseCode::GoingAway => "idle timeout",
            CloseCode::Protocol => "protocol error",
            CloseCode::Unsupported => "unsupported data",
            CloseCode::InvalidUtf8 => "invalid utf-8",
            CloseCode::TooBig => "message too big",
            CloseCode::Internal => "internal error",
            CloseCode::Restart => "service restart",
            CloseCode::Overloaded => "overloaded",
            CloseCode::Token => "token expired",
            CloseCode::Forbidden => "forbidden",
            CloseCode::Heartbeat => "heartbeat timeout",
            CloseCode::Slow => "slow consumer",
            CloseCode::Rate => "rate limited",
        }
    }
}
