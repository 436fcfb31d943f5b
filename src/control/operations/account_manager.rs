//! What the operations on accounts ask of the server that keeps them. Knows no store and no password's hash.

use std::future::Future;
use std::pin::Pin;

use super::error::OperationError;
use crate::base::ids::UserName;
use crate::wire::account_body::Password;

/// What an operation on accounts leads to.
pub type Managed<'a, T> = Pin<Box<dyn Future<Output = Result<T, OperationError>> + Send + 'a>>;

/// An account as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAccount {
    /// Its user.
    pub user: UserName,
    /// The shown name.
    pub name: Option<Box<str>>,
    /// When it was made, Unix milliseconds.
    pub created_at: u64,
    /// An operator has locked it.
    pub is_locked: bool,
}

/// The accounts of this server.
pub trait ManageAccounts: Send + Sync {
    /// Those above a name, in the order of names.
    fn list(&self, after: Option<UserName>, limit: u32) -> Managed<'_, Vec<ListedAccount>>;
    /// Makes one.
    fn add(&self, user: UserName, password: Password, name: Option<Box<str>>) -> Managed<'_, ()>;
    /// Gives one another password.
    fn set_password(&self, user: UserName, password: Password) -> Managed<'_, ()>;
    /// Locks or unlocks one.
    fn set_locked(&self, user: UserName, is_locked: bool) -> Managed<'_, ()>;
}
