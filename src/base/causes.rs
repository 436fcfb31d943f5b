//! What one core counts by cause: closes, refused upgrades, commands and refused commands. The labels are a fixed set,
//! whatever outsiders do: nothing that they choose becomes one. Never decides what happened.

use super::codes::{CloseCode, ErrorCode};
use super::counter::Counter;

/// Why a WebSocket connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closed it.
    Client,
    /// Its socket ended without a close frame.
    Lost,
    /// The server closed it.
    Closed(CloseCode),
}

/// The labels `code` and `cause` of each way to end, in the order in which they are counted.
pub const ENDS: [(&str, &str); 16] = [
    ("none", "client"),
    ("none", "lost"),
    ("1000", "normal"),
    ("1001", "idle_timeout"),
    ("1002", "protocol_error"),
    ("1003", "unsupported_data"),
    ("1007", "invalid_utf8"),
    ("1009", "message_too_big"),
    ("1011", "internal_error"),
    ("1012", "service_restart"),
    ("1013", "overloaded"),
    ("4401", "token"),
    ("4403", "forbidden"),
    ("4408", "heartbeat_timeout"),
    ("4413", "slow_consumer"),
    ("4429", "rate_limited"),
];

impl End {
    const fn index(self) -> usize {
        match self {
            End::Client => 0,
            End::Lost => 1,
            End::Closed(code) => match code {
                CloseCode::Normal => 2,
                CloseCode::GoingAway => 3,
                CloseCode::Protocol => 4,
                CloseCode::Unsupported => 5,
                CloseCode::InvalidUtf8 => 6,
                CloseCode::TooBig => 7,
                CloseCode::Internal => 8,
                CloseCode::Restart => 9,
                CloseCode::Overloaded => 10,
                CloseCode::Token => 11,
                CloseCode::Forbidden => 12,
                CloseCode::Heartbeat => 13,
                CloseCode::Slow => 14,
                CloseCode::Rate => 15,
            },
        }
    }

    /// The label `cause`.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        ENDS[self.index()].1
    }
}

/// HTTP status and error of every refusal before a WebSocket opens (PROTOCOL section 1). Status 0: the socket was closed
/// without an answer, or its client did not identify itself in time. What is not listed counts as the last.
pub const REFUSALS: [(u16, &str); 23] = [
    (0, "head_timeout"),
    (0, "greeting_timeout"),
    (400, "bad_request"),
    (401, "invalid_token"),
    (401, "token_expired"),
    (401, "invalid_credentials"),
    (403, "forbidden"),
    (404, "not_found"),
    (405, "method_not_allowed"),
    (409, "user_exists"),
    (411, "length_required"),
    (413, "too_large"),
    (426, "upgrade_required"),
    (429, "rate_limited"),
    (429, "limit_exceeded"),
    (431, "head_too_large"),
    (503, "overloaded"),
    (503, "unavailable"),
    (500, "internal"),
    (0, "preface"),
    (0, "crowded"),
    (0, "rate_limited"),
    (0, "other"),
];

/// Every error code, in the order of their numbers.
pub const ERRORS: [ErrorCode; 17] = [
    ErrorCode::BadCommand,
    ErrorCode::UnknownCommand,
    ErrorCode::NotJoined,
    ErrorCode::RoomNotFound,
    ErrorCode::RoomExists,
    ErrorCode::Forbidden,
    ErrorCode::InviteInvalid,
    ErrorCode::InvalidToken,
    ErrorCode::TokenExpired,
    ErrorCode::TooLarge,
    ErrorCode::LimitExceeded,
    ErrorCode::RateLimited,
    ErrorCode::HistoryUnavailable,
    ErrorCode::SessionUnknown,
    ErrorCode::Unavailable,
    ErrorCode::Overloaded,
    ErrorCode::Internal,
];

/// Maximum number of kinds of commands. `wire::protocol` has their names, in the order of their indices.
pub const COMMAND_KINDS_MAX: usize = 32;

/// One core's counts by cause. One writer, as for every [`Counter`].
#[derive(Debug, Default)]
pub struct Causes {
    ends: [Counter; ENDS.len()],
    refusals: [Counter; REFUSALS.len()],
    errors: [Counter; ERRORS.len()],
    commands: [Counter; COMMAND_KINDS_MAX],
}

impl Causes {
    /// A WebSocket connection has ended.
    pub fn ended(&self, end: End) {
        self.ends[end.index()].add(1);
    }

    /// An upgrade was refused.
    pub fn refused(&self, status: u16, error: &str) {
        let known = REFUSALS.iter().position(|refusal| *refusal == (status, error));
        self.refusals[known.unwrap_or(REFUSALS.len() - 1)].add(1);
    }

    /// A command was answered by an error.
    pub fn command_refused(&self, code: ErrorCode) {
        self.errors[code as usize - 1].add(1);
    }

    /// Counts a command by the index of its kind.
    #[inline]
    pub fn command(&self, kind: usize) {
        self.commands[kind].add(1);
    }

    /// Connections that have ended, in the order of [`ENDS`].
    pub fn ends(&self) -> impl Iterator<Item = u64> {
        self.ends.iter().map(Counter::get)
    }

    /// Upgrades refused, in the order of [`REFUSALS`].
    pub fn refusals(&self) -> impl Iterator<Item = u64> {
        self.refusals.iter().map(Counter::get)
    }

    /// Commands refused, in the order of [`ERRORS`].
    pub fn errors(&self) -> impl Iterator<Item = u64> {
        self.errors.iter().map(Counter::get)
    }

    /// Commands by the index of their kind.
    pub fn commands(&self) -> impl Iterator<Item = u64> {
        self.commands.iter().map(Counter::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_close_code_is_counted_under_its_own_number() {
        use CloseCode::*;
        let codes = [
            Normal,
            GoingAway,
            Protocol,
            Unsupported,
            InvalidUtf8,
            TooBig,
            CloseCode::Internal,
            Restart,
            CloseCode::Overloaded,
            Token,
            CloseCode::Forbidden,
            Heartbeat,
            Slow,
            Rate,
        ];
        assert_eq!(codes.len() + 2, ENDS.len());
        let causes = Causes::default();
        for code in codes {
            assert_eq!(ENDS[End::Closed(code).index()].0, code.number().to_string());
            causes.ended(End::Closed(code));
        }
        causes.ended(End::Client);
        causes.ended(End::Lost);
        assert!(causes.ends().all(|count| count == 1));
    }

    #[test]
    fn error_codes_stand_at_their_numbers() {
        for (index, code) in ERRORS.into_iter().enumerate() {
            assert_eq!(code as usize, index + 1);
        }
        let causes = Causes::default();
        causes.command_refused(ErrorCode::Internal);
        assert_eq!(causes.errors().last(), Some(1));
    }

    #[test]
    fn a_refusal_that_nobody_knows_is_an_other_one() {
        let causes = Causes::default();
        causes.refused(503, "overloaded");
        causes.refused(299, "words of an outsider");
        causes.refused(404, "overloaded");
        let counted: Vec<_> = REFUSALS.iter().zip(causes.refusals()).filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(&(503, "overloaded"), 1), (&(0, "other"), 2)]);
    }
}
