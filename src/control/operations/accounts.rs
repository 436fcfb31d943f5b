//! `accounts`, `accounts/add`, `accounts/lock`, `accounts/unlock` and `accounts/reset`: the accounts of mode `accounts`.
//! Keeps none itself, and never shows a password or a hash.

use std::sync::Arc;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::account_manager::ListedAccount;
use super::catalogue::Catalogue;
use super::connections::close_all_of;
use super::error::{ErrorBody, OperationError};
use super::field;
use super::state::Operations;
use crate::base::limits::LISTING_MAX;
use crate::wire::account_body::{Password, check_shown_name};

#[derive(OpenApi)]
#[openapi(paths(accounts, accounts_add, accounts_lock, accounts_unlock, accounts_reset))]
struct AccountsDescription;

/// Adds the operations of this file to `catalogue`.
pub(super) fn list(catalogue: &mut impl Catalogue) {
    catalogue.describe(AccountsDescription::openapi());
    catalogue.with_query("accounts", accounts);
    catalogue.with_body("accounts_add", accounts_add);
    catalogue.with_body("accounts_lock", accounts_lock);
    catalogue.with_body("accounts_unlock", accounts_unlock);
    catalogue.with_body("accounts_reset", accounts_reset);
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountsRequest {
    /// Entries in the page: default 100, maximum 1,000
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// List only users whose names sort after this one: the `next` of the page before
    pub after: Option<String>,
}

/// An account
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub struct AccountView {
    /// User
    #[schema(example = "alice")]
    pub user: String,
    /// Shown name; absent if none was given
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Time at which the account was made, Unix milliseconds
    pub created_at: u64,
    /// Whether the account is locked: it gets no tokens
    pub locked: bool,
}

/// A page of accounts
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Accounts)]
pub struct AccountsPage {
    /// In the order of their users' names
    pub accounts: Vec<AccountView>,
    /// Cursor of the next page; absent on the last page
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// List accounts
#[utoipa::path(
    get, path = "/api/accounts", tag = "accounts", params(AccountsRequest),
    responses(
        (status = 200, description = "A page of accounts", body = AccountsPage),
        (status = "4XX", description = "Invalid request, or auth.mode is not accounts", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn accounts(operations: Arc<Operations>, request: AccountsRequest) -> Result<AccountsPage, OperationError> {
    let limit = field::limit(request.limit, field::PAGE_DEFAULT, LISTING_MAX)?;
    let after = request.after.map(|after| field::user("after", &after)).transpose()?;
    // One more tells whether there is another page.
    let mut found = operations.accounts()?.list(after, limit + 1).await?;
    let is_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| is_more).map(|last| last.user.to_string());
    let view = |account: ListedAccount| AccountView {
        user: account.user.to_string(),
        name: account.name.map(String::from),
        created_at: account.created_at,
        locked: account.is_locked,
    };
    Ok(AccountsPage { accounts: found.into_iter().map(view).collect(), next })
}

/// A new account
#[derive(Deserialize, ToSchema)]
#[schema(as = NewAccount)]
pub struct AddRequest {
    /// User
    #[schema(example = "alice")]
    pub user: String,
    /// Password, of at least `accounts.password_min` characters and at most 1,024 bytes
    #[serde(deserialize_with = "secret_text")]
    pub password: String,
    /// Shown name, up to 256 bytes
    pub name: Option<String>,
}

/// An account that was made or changed
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountChanged {
    /// User
    pub user: String,
}

/// Make an account, also where `accounts.register` is `nobody`
#[utoipa::path(
    post, path = "/api/accounts/add", tag = "accounts", request_body = AddRequest,
    responses(
        (status = 200, description = "The account was made", body = AccountChanged),
        (status = "4XX", description = "Invalid request, auth.mode is not accounts, or (409) the user has an account",
            body = ErrorBody),
        (status = "5XX", description = "The account may have been made: retry", body = ErrorBody),
    )
)]
pub async fn accounts_add(operations: Arc<Operations>, request: AddRequest) -> Result<AccountChanged, OperationError> {
    let user = field::user("user", &request.user)?;
    let password = password(&request.password)?;
    let wrong_name = |wrong| OperationError::bad(format!("`name` {wrong}"));
    request.name.as_deref().map(check_shown_name).transpose().map_err(wrong_name)?;
    operations.accounts()?.add(user.clone(), password, request.name.map(String::into_boxed_str)).await?;
    tracing::info!(%user, "account made by an operator");
    Ok(AccountChanged { user: user.to_string() })
}

/// The user of an account
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AccountOfUser)]
pub struct AccountRequest {
    /// User
    #[schema(example = "alice")]
    pub user: String,
}

/// An account that was locked
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountLocked {
    /// User
    pub user: String,
    /// Number of the user's connections being closed with code 4403
    pub disconnected: u32,
}

/// Lock an account, and close the user's connections
///
/// A locked account gets no tokens and cannot change its password. Each connection of the user is sent what is queued for it
/// and then close code 4403. Tokens that the user has stay valid until they expire (`accounts.token_ttl`).
#[utoipa::path(
    post, path = "/api/accounts/lock", tag = "accounts", request_body = AccountRequest,
    responses(
        (status = 200, description = "The account is locked", body = AccountLocked),
        (status = "4XX", description = "Invalid request, auth.mode is not accounts, or (404) the user has no account",
            body = ErrorBody),
        (status = "5XX", description = "The account may have been locked: retry", body = ErrorBody),
    )
)]
pub async fn accounts_lock(
    operations: Arc<Operations>,
    request: AccountRequest,
) -> Result<AccountLocked, OperationError> {
    let user = field::user("user", &request.user)?;
    operations.accounts()?.set_locked(user.clone(), true).await?;
    let disconnected = close_all_of(&operations, &user, "account locked").await?;
    tracing::info!(%user, disconnected, "account locked by an operator");
    Ok(AccountLocked { user: user.to_string(), disconnected })
}

/// Unlock an account
#[utoipa::path(
    post, path = "/api/accounts/unlock", tag = "accounts", request_body = AccountRequest,
    responses(
        (status = 200, description = "The account is not locked", body = AccountChanged),
        (status = "4XX", description = "Invalid request, auth.mode is not accounts, or (404) the user has no account",
            body = ErrorBody),
        (status = "5XX", description = "The account may have been unlocked: retry", body = ErrorBody),
    )
)]
pub async fn accounts_unlock(
    operations: Arc<Operations>,
    request: AccountRequest,
) -> Result<AccountChanged, OperationError> {
    let user = field::user("user", &request.user)?;
    operations.accounts()?.set_locked(user.clone(), false).await?;
    tracing::info!(%user, "account unlocked by an operator");
    Ok(AccountChanged { user: user.to_string() })
}

/// A new password for an account
#[derive(Deserialize, ToSchema)]
#[schema(as = NewPassword)]
pub struct ResetRequest {
    /// User
    #[schema(example = "alice")]
    pub user: String,
    /// Password, of at least `accounts.password_min` characters and at most 1,024 bytes
    #[serde(deserialize_with = "secret_text")]
    pub password: String,
}

/// Give an account another password
///
/// Tokens that the user has stay valid until they expire (`accounts.token_ttl`).
#[utoipa::path(
    post, path = "/api/accounts/reset", tag = "accounts", request_body = ResetRequest,
    responses(
        (status = 200, description = "The password was changed", body = AccountChanged),
        (status = "4XX", description = "Invalid request, auth.mode is not accounts, or (404) the user has no account",
            body = ErrorBody),
        (status = "5XX", description = "The password may have been changed: retry", body = ErrorBody),
    )
)]
pub async fn accounts_reset(
    operations: Arc<Operations>,
    request: ResetRequest,
) -> Result<AccountChanged, OperationError> {
    let user = field::user("user", &request.user)?;
    operations.accounts()?.set_password(user.clone(), password(&request.password)?).await?;
    tracing::info!(%user, "password of an account changed by an operator");
    Ok(AccountChanged { user: user.to_string() })
}

/// Reads a text that no error may repeat.
fn secret_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        _ => Err(D::Error::custom("expected a string")),
    }
}

fn password(text: &str) -> Result<Password, OperationError> {
    Password::new(text).map_err(|wrong| OperationError::bad(format!("`password` {wrong}")))
}
