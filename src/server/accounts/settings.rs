//! What the configuration says of accounts, beside the rules that the cores hold requests to. Reads no file.

use crate::engine::access::Expected;

/// The settings of accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountSettings {
    /// `accounts.token_ttl`.
    pub token_ttl_ms: u64,
    /// `accounts.password_min`, for passwords that an operator gives.
    pub password_chars_min: u32,
    /// `auth.audience`, `auth.issuer`, `auth.leeway`: tokens have what is expected of them.
    pub expected: Expected,
}
