//! Owns the refusal of a token: its cause and the error text for the client. Holds nothing of the token itself.

use std::borrow::Cow;

use crate::base::codes::ErrorCode;

/// Why a token was refused: few enough kinds to count and to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is none.
    Missing,
    /// It is not a JWT, or too large.
    Malformed,
    /// Its algorithm is not accepted.
    Algorithm,
    /// No key is known that could have signed it.
    UnknownKey,
    /// Its signature is wrong.
    Signature,
    /// A claim is missing or wrong.
    Claim,
    /// It has expired (`exp`).
    Expired,
    /// It is not valid yet (`nbf`).
    Early,
    /// It is for another audience or by another issuer.
    Elsewhere,
    /// On a refresh: it is of another user.
    OtherUser,
}

impl Cause {
    /// The number of causes.
    pub const COUNT: usize = Cause::OtherUser as usize + 1;

    /// For the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Missing => "missing",
            Cause::Malformed => "malformed",
            Cause::Algorithm => "algorithm",
            Cause::UnknownKey => "unknown key",
            Cause::Signature => "signature",
            Cause::Claim => "claim",
            Cause::Expired => "expired",
            Cause::Early => "not valid yet",
            Cause::Elsewhere => "audience or issuer",
            Cause::OtherUser => "another user",
        }
    }
}

/// The refusal of a token. Holds nothing of the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The kind of reason.
    pub cause: Cause,
    /// Error text for the client, which names the claim at fault.
    pub message: Cow<'static, str>,
}

impl Denied {
    /// A refusal with its error text.
    pub fn new(cause: Cause, message: impl Into<Cow<'static, str>>) -> Self {
        Self { cause, message: message.into() }
    }

    /// The error code for the client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self.cause {
            Cause::Expired => ErrorCode::TokenExpired,
            _ => ErrorCode::InvalidToken,
        }
    }
}
