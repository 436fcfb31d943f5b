//! Accounts, and the key that signs tokens.

use super::error::StateError;
use super::group::Group;
use super::keys;
use super::rows::Value;
use crate::base::ids::UserName;
use crate::base::limits::LISTING_MAX;
use crate::engine::kept::{AccountAsk, AccountDone, KeptAccount};
use crate::store::codec::bytes::{DecodeError, Reader, Writer};
use crate::store::codec::values::{read_account, write_account};
use crate::store::tables::rows::{Direction, Rows, Span};
use crate::store::tables::table::Table;

impl Value for KeptAccount {
    fn write(&self, out: &mut Writer<'_>) {
        write_account(out, self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_account(from)
    }
}

struct SigningKey([u8; 32]);

impl Value for SigningKey {
    fn write(&self, out: &mut Writer<'_>) {
        out.0.extend_from_slice(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.key("the signing key").map(SigningKey)
    }
}

impl Group<'_> {
    pub(super) fn ask_account(&mut self, ask: &AccountAsk) -> Result<AccountDone, StateError> {
        match ask {
            AccountAsk::Add(account) => {
                if find(&self.set, &account.user)?.is_some() {
                    return Ok(AccountDone::Exists);
                }
                self.put(Table::Accounts, account.user.as_bytes(), account);
                Ok(AccountDone::Done)
            }
            AccountAsk::SetPassword(user, hash) => {
                self.set_account(user, |account| account.password_hash = hash.clone())
            }
            AccountAsk::SetLocked(user, is_locked) => self.set_account(user, |account| account.is_locked = *is_locked),
            AccountAsk::SigningKey(offered) => {
                if let Some(kept) = SigningKey::find(&self.set, Table::Meta, keys::SIGNING_KEY)? {
                    return Ok(AccountDone::SigningKey(kept.0));
                }
                self.put(Table::Meta, keys::SIGNING_KEY, &SigningKey(*offered));
                Ok(AccountDone::SigningKey(*offered))
            }
            AccountAsk::Find(user) => Ok(AccountDone::Found(find(&self.set, user)?)),
            AccountAsk::List { after, limit } => list(&self.set, after.as_ref(), *limit),
        }
    }

    fn set_account(&mut self, user: &UserName, set: impl FnOnce(&mut KeptAccount)) -> Result<AccountDone, StateError> {
        let Some(mut account) = find(&self.set, user)? else { return Ok(AccountDone::Unknown) };
        set(&mut account);
        self.put(Table::Accounts, user.as_bytes(), &account);
        Ok(AccountDone::Done)
    }
}

/// An account.
pub(super) fn find(rows: &dyn Rows, user: &UserName) -> Result<Option<KeptAccount>, StateError> {
    KeptAccount::find(rows, Table::Accounts, user.as_bytes())
}

/// A page of accounts.
pub(super) fn list(rows: &dyn Rows, after: Option<&UserName>, limit: u32) -> Result<AccountDone, StateError> {
    let span = Span::prefix(b"", after.map(|after| after.as_bytes()));
    let accounts = KeptAccount::scan(rows, Table::Accounts, span, Direction::Up);
    let page = accounts.take(limit.min(LISTING_MAX) as usize).map(|row| row.map(|(_, account)| account));
    page.collect::<Result<_, _>>().map(AccountDone::Listed)
}
