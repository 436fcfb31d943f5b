//! Who may connect and what they may do: tokens (JWT, RFC 7519) verified with this server's keys. Values and pure
//! functions: fetches no key, reads no clock, remembers no token.
//!
//! `token` takes a token apart, `keys` verifies it, `claims` reads what it says, `grants` is what it allows; `material`
//! makes keys of files and key sets, `jwk` those of a set one by one.

mod claims;
mod grants;
mod jwk;
mod keys;
mod material;
#[cfg(test)]
mod tests;
mod token;

use std::borrow::Cow;

use crate::base::codes::ErrorCode;
use crate::base::ids::UserName;

pub use grants::{Allowed, Grants};
pub use keys::{Candidates, Expected, Keys, Renewal, Which};
pub use material::{KeyError, Material, PassedOver};
pub use token::Token;

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `sub`.
    pub user: UserName,
    /// `name`: how the user is shown.
    pub name: Option<Box<str>>,
    /// `exp`, Unix milliseconds.
    pub expires_at: u64,
    /// From here on the token no longer counts, Unix milliseconds: `exp` and the leeway.
    pub ends_at: u64,
    /// What it allows.
    pub grants: Grants,
}

/// Why a token was refused, in kinds that are few enough to count and to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is none.
    Missing,
    /// It is no JWT, or too large.
    Malformed,
    /// Its algorithm is none that is taken.
    Algorithm,
    /// No key is known that could have signed it.
    UnknownKey,
    /// Its signature is wrong.
    Signature,
    /// A claim is missing or wrong.
    Claim,
    /// `exp` is past.
    Expired,
    /// `nbf` is to come.
    Early,
    /// It is for somebody else, or by somebody else.
    Elsewhere,
    /// On a refresh: it is another user's.
    OtherUser,
}

impl Cause {
    /// How many there are.
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
            Cause::OtherUser => "another user's",
        }
    }
}

/// A refused token. Holds nothing of the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Of which kind.
    pub cause: Cause,
    /// Plain words, for the client; they name the claim where one is at fault.
    pub message: Cow<'static, str>,
}

impl Denied {
    /// With plain words.
    pub fn new(cause: Cause, message: impl Into<Cow<'static, str>>) -> Self {
        Self { cause, message: message.into() }
    }

    /// What the client is told.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self.cause {
            Cause::Expired => ErrorCode::TokenExpired,
            _ => ErrorCode::InvalidToken,
        }
    }
}
