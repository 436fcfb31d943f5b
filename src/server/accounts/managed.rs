//! What operators do with accounts, by the control address. Answers no client.

use super::desk::Accounts;
use crate::base::codes::ErrorCode;
use crate::base::ids::UserName;
use crate::control::{ListedAccount, ManageAccounts, Managed, OperationError, OperationErrorCode};
use crate::engine::account_port::AccountAnswer;
use crate::engine::kept::{AccountAsk, AccountDone, KeptAccount};
use crate::wire::account_body::Password;

impl ManageAccounts for Accounts {
    fn list(&self, after: Option<UserName>, limit: u32) -> Managed<'_, Vec<ListedAccount>> {
        Box::pin(async move {
            match self.ask(AccountAsk::List { after, limit }).await {
                Some(AccountDone::Listed(accounts)) => Ok(accounts.into_iter().map(shown).collect()),
                _ => Err(unavailable()),
            }
        })
    }

    fn add(&self, user: UserName, password: Password, name: Option<Box<str>>) -> Managed<'_, ()> {
        Box::pin(async move {
            self.check_length(&password)?;
            match Accounts::add(self, user, password, name).await.map_err(failed)? {
                AccountDone::Done => Ok(()),
                AccountDone::Exists => {
                    let message = "there is an account of this user already";
                    Err(OperationError::new(OperationErrorCode::UserExists, message))
                }
                _ => Err(unavailable()),
            }
        })
    }

    fn set_password(&self, user: UserName, password: Password) -> Managed<'_, ()> {
        Box::pin(async move {
            self.check_length(&password)?;
            done(Some(Accounts::set_password(self, user, password).await.map_err(failed)?))
        })
    }

    fn set_locked(&self, user: UserName, is_locked: bool) -> Managed<'_, ()> {
        Box::pin(async move { done(self.ask(AccountAsk::SetLocked(user, is_locked)).await) })
    }
}

impl Accounts {
    fn check_length(&self, password: &Password) -> Result<(), OperationError> {
        let checked = password.check_length(self.settings().password_chars_min);
        checked.map_err(|wrong| OperationError::bad(format!("`password` {wrong}")))
    }
}

/// An account without its hash.
fn shown(account: KeptAccount) -> ListedAccount {
    let KeptAccount { user, name, created_at, is_locked, password_hash: _ } = account;
    ListedAccount { user, name, created_at, is_locked }
}

fn done(done: Option<AccountDone>) -> Result<(), OperationError> {
    match done {
        Some(AccountDone::Done) => Ok(()),
        Some(AccountDone::Unknown) => {
            Err(OperationError::new(OperationErrorCode::UserUnknown, "there is no account of this user"))
        }
        _ => Err(unavailable()),
    }
}

fn failed(answer: AccountAnswer) -> OperationError {
    match answer {
        AccountAnswer::Overloaded { retry_after_ms } => OperationError {
            retry_after_ms: Some(retry_after_ms),
            ..OperationError::overloaded("too many passwords wait to be hashed")
        },
        _ => unavailable(),
    }
}

fn unavailable() -> OperationError {
    let message = "the store does not answer; a change may have been made all the same";
    OperationError::of(ErrorCode::Unavailable, message)
}
