//! The port between an engine and the accounts of this server (`auth.mode = "accounts"`): requests and answers. Values only.

use std::net::IpAddr;

use crate::base::ids::{ConnId, UserName};
use crate::wire::account_body::Password;

/// A request about an account. Answered exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRequest {
    /// The socket that waits for the answer.
    pub conn: ConnId,
    /// Its client's address.
    pub address: IpAddr,
    /// What.
    pub work: AccountWork,
}

/// What is asked about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of PROTOCOL section 1")]
pub enum AccountWork {
    /// Make a new account, and give a token for it.
    Register { user: UserName, password: Password, name: Option<Box<str>> },
    /// Give a token for an account.
    SignIn { user: UserName, password: Password },
    /// Change the password of the user of a verified token.
    ChangePassword { user: UserName, password: Password, new_password: Password },
}

impl AccountWork {
    /// Bytes on the heap.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            AccountWork::Register { user, password, name } => {
                user.len() + password.as_str().len() + name.as_deref().map_or(0, str::len)
            }
            AccountWork::SignIn { user, password } => user.len() + password.as_str().len(),
            AccountWork::ChangePassword { user, password, new_password } => {
                user.len() + password.as_str().len() + new_password.as_str().len()
            }
        }
    }
}

/// The answer to an [`AccountRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEvent {
    /// The socket that waits for it, if it is still there.
    pub conn: ConnId,
    /// The answer.
    pub answer: AccountAnswer,
}

/// What became of a request about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountAnswer {
    /// A token: 200, or 201 for a new account.
    Token {
        /// As clients pass it on.
        token: Box<str>,
        /// Its `exp`, Unix milliseconds.
        expires_at: u64,
        /// The account is new.
        is_new: bool,
    },
    /// The password is changed: 204.
    PasswordChanged,
    /// Unknown user or wrong password: 401.
    InvalidCredentials,
    /// An operator has locked the account: 403.
    Locked,
    /// There is an account of this user already: 409.
    UserExists,
    /// Too many wrong passwords for this user: 429.
    TooManyFailures {
        /// When to try again, milliseconds.
        retry_after_ms: u64,
    },
    /// Too many passwords wait to be hashed: 503.
    Overloaded {
        /// When to try again, milliseconds.
        retry_after_ms: u64,
    },
    /// The store does not answer, or not in time: 503. The change may have been made.
    Unavailable {
        /// When to try again, milliseconds.
        retry_after_ms: u64,
    },
}
