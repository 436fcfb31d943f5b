//! Keeps accounts in memory where there is no store: they end with the process. Keeps nothing else.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::engine::kept::{AccountAsk, AccountDone, KeptAccount, KeptAnswer, KeptAsk};
use crate::io::service_lane::service_lanes;
use crate::io::wake::Wake;
use crate::store::change::Change;
use crate::store::figures::StoreFigures;
use crate::store::group::{Ack, Read};
use crate::store::keeper::{Keeper, ToIndex};
use crate::store::keeper_thread::{Inlets, Outlets, Report, StoreHandle, run};

/// Accounts in memory.
#[derive(Debug, Default)]
struct MemoryAccounts {
    accounts: BTreeMap<Box<str>, KeptAccount>,
    key: Option<[u8; 32]>,
}

/// A store of accounts in memory, served by this runtime and a thread.
///
/// # Errors
/// The operating system gives no thread or no file descriptor.
pub fn memory_store() -> anyhow::Result<StoreHandle> {
    let (handle, asks) = StoreHandle::new();
    let (reports, reported) = mpsc::unbounded_channel();
    let (index, to_index) = crossbeam_channel::unbounded();
    std::thread::Builder::new().name("accounts".to_owned()).spawn(move || {
        let mut accounts = MemoryAccounts::default();
        while let Ok(asked) = to_index.recv() {
            for report in accounts.carry_out(asked) {
                // The keeper has ended, and this ends with it.
                let _ = reports.send(report);
            }
        }
    })?;
    let wake = Arc::new(Wake::new()?);
    let (lanes, cores) = service_lanes(&[wake]);
    tokio::spawn(async move {
        // No core asks this store; it would end without one.
        let _cores = cores;
        let (inlets, outlets) = (Inlets { reports: reported, asks }, Outlets { log: None, index });
        run(Keeper::new(false, 0), lanes, inlets, outlets, Arc::new(StoreFigures::default())).await;
    });
    Ok(handle)
}

impl MemoryAccounts {
    fn carry_out(&mut self, asked: ToIndex) -> Vec<Report> {
        match asked {
            ToIndex::Read(Read::Ask { token, ask, .. }) => vec![Report::Answer(token, self.answer(&ask))],
            ToIndex::Apply(commit) => {
                let answers = commit.group.entries.iter().filter_map(|entry| match (&entry.change, &entry.ack) {
                    (Change::Ask(ask), Ack::Ask { token, .. }) => Some(Report::Answer(*token, self.answer(ask))),
                    _ => None,
                });
                let mut reports: Vec<_> = answers.collect();
                reports.push(Report::Applied);
                reports
            }
            ToIndex::Read(_) => Vec::new(),
        }
    }

    fn answer(&mut self, ask: &KeptAsk) -> KeptAnswer {
        match ask {
            KeptAsk::Account(ask) => KeptAnswer::Account(self.account(ask)),
            _ => KeptAnswer::Unavailable { retry_after_ms: crate::base::limits::STORE_RETRY_MS },
        }
    }

    fn account(&mut self, ask: &AccountAsk) -> AccountDone {
        match ask {
            AccountAsk::Add(account) if self.accounts.contains_key(&*account.user) => AccountDone::Exists,
            AccountAsk::Add(account) => {
                self.accounts.insert((*account.user).into(), account.clone());
                AccountDone::Done
            }
            AccountAsk::Find(user) => AccountDone::Found(self.accounts.get(&**user).cloned()),
            AccountAsk::SetPassword(user, hash) => self.change(user, |account| account.password_hash.clone_from(hash)),
            AccountAsk::SetLocked(user, is_locked) => self.change(user, |account| account.is_locked = *is_locked),
            AccountAsk::List { after, limit } => {
                let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                let page = self.accounts.range::<str, _>((from, Bound::Unbounded)).take(*limit as usize);
                AccountDone::Listed(page.map(|(_, account)| account.clone()).collect())
            }
            AccountAsk::SigningKey(offered) => AccountDone::SigningKey(*self.key.get_or_insert(*offered)),
        }
    }

    fn change(&mut self, user: &str, change: impl FnOnce(&mut KeptAccount)) -> AccountDone {
        match self.accounts.get_mut(user) {
            Some(account) => {
                change(account);
                AccountDone::Done
            }
            None => AccountDone::Unknown,
        }
    }
}
