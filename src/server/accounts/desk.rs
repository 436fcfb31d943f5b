//! Answers requests about accounts: looks them up in the store, has passwords hashed, counts wrong ones, and signs tokens. An
//! unknown user and a wrong password take the same work and get the same answer. Never waits longer than its time limit, and
//! never logs a password or a hash.

use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::failures::{Begun, Failures, Verdict};
use super::figures::AccountFigures;
use super::hasher::{HashError, Hasher};
use super::settings::AccountSettings;
use super::signer::{Signed, Signer};
use crate::base::ids::{CoreId, UserName};
use crate::base::limits::{ACCOUNT_RETRY_MS, ACCOUNT_TIMEOUT_MS, STORE_RETRY_MS};
use crate::engine::access::Keys;
use crate::engine::account_port::{AccountAnswer, AccountEvent, AccountRequest, AccountWork};
use crate::engine::kept::{AccountAsk, AccountDone, KeptAccount, KeptAnswer, KeptAsk};
use crate::engine::limiter::network;
use crate::io::clock;
use crate::io::service_lane::ServiceEnd;
use crate::store::keeper_thread::StoreHandle;
use crate::wire::account_body::Password;

/// How long the store's key is waited for before it is asked for again.
const KEY_AGAIN: Duration = Duration::from_millis(STORE_RETRY_MS);

/// The lanes to the cores.
pub type AccountLanes = ServiceEnd<AccountRequest, AccountEvent>;

/// The accounts of this server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: StoreHandle,
    hasher: Hasher,
    failures: Mutex<Failures>,
    settings: RwLock<AccountSettings>,
    signer: RwLock<Option<Signer>>,
    figures: Arc<AccountFigures>,
}

/// An attempt with a user's password, which is taken back unless it is judged.
struct Attempt<'a> {
    accounts: &'a Accounts,
    user: &'a UserName,
    address: Ipv6Addr,
    begun: Begun,
    verdict: Verdict,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let now_us = clock::now().mono_us;
        self.accounts.failures(|failures| failures.end(self.user, self.address, self.begun, self.verdict, now_us));
    }
}

impl Accounts {
    /// Starts the thread that hashes.
    ///
    /// # Errors
    /// The operating system gives no thread or no random numbers.
    pub fn start(settings: AccountSettings, store: StoreHandle) -> anyhow::Result<Self> {
        let figures = Arc::new(AccountFigures::default());
        let (failures, settings) = (Mutex::default(), RwLock::new(settings));
        let hasher = Hasher::start(figures.clone())?;
        Ok(Self(Arc::new(Shared { store, hasher, failures, settings, signer: RwLock::default(), figures })))
    }

    /// The figures, for the control address.
    #[must_use]
    pub fn figures(&self) -> Arc<AccountFigures> {
        self.0.figures.clone()
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> AccountSettings {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the settings.
    pub fn set_settings(&self, settings: AccountSettings) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// The keys that verify tokens by these settings; `None` until the store has given the key that signs them.
    #[must_use]
    pub fn keys(&self) -> Option<Keys> {
        self.signer().map(|signer| signer.keys(&self.settings()))
    }

    fn signer(&self) -> Option<Signer> {
        self.0.signer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failures<T>(&self, act: impl FnOnce(&mut Failures) -> T) -> T {
        act(&mut self.0.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the store for the key that signs tokens until it gives one. The first server of a store chooses the key.
    pub async fn obtain_key(&self) {
        let mut is_logged = false;
        loop {
            let mut offered = [0; 32];
            let asked = match getrandom::fill(&mut offered) {
                Ok(()) => self.ask(AccountAsk::SigningKey(offered)).await,
                Err(_) => None,
            };
            if let Some(AccountDone::SigningKey(key)) = asked {
                *self.0.signer.write().unwrap_or_else(PoisonError::into_inner) = Some(Signer::new(&key));
                return self.0.figures.note_key();
            }
            if !std::mem::replace(&mut is_logged, true) {
                tracing::warn!("the store does not give the key that signs tokens; asking again until it does");
            }
            sleep(KEY_AGAIN).await;
        }
    }

    /// Answers the cores until all have ended.
    pub async fn serve(self, mut lanes: AccountLanes) {
        let (answered, mut answers) = mpsc::unbounded_channel::<(CoreId, AccountEvent)>();
        loop {
            tokio::select! {
                requests = lanes.recv() => {
                    let Some(batch) = requests else { return };
                    // Each core asks a bounded number of questions at a time.
                    for request in batch.requests {
                        let (accounts, answered, core) = (self.clone(), answered.clone(), batch.core);
                        tokio::spawn(async move {
                            let answer = accounts.answer(network(request.address), request.work).await;
                            // The cores have ended.
                            let _ = answered.send((core, AccountEvent { conn: request.conn, answer }));
                        });
                    }
                }
                Some((core, event)) = answers.recv() => lanes.tell(core, [event]),
            }
        }
    }

    /// Answers a request from this network within the time limit.
    pub(super) async fn answer(&self, address: Ipv6Addr, work: AccountWork) -> AccountAnswer {
        let limit = Duration::from_millis(ACCOUNT_TIMEOUT_MS);
        let done = timeout(limit, self.carry_out(address, work)).await.unwrap_or_else(|_| Err(unavailable()));
        let answer = done.unwrap_or_else(|refused| refused);
        self.0.figures.count(&answer);
        answer
    }

    async fn carry_out(&self, address: Ipv6Addr, work: AccountWork) -> Result<AccountAnswer, AccountAnswer> {
        match work {
            AccountWork::Register { user, password, name } => {
                // Before the hash, which would be in vain. That the user exists is no secret here.
                if self.find(&user).await?.is_some() {
                    return Err(AccountAnswer::UserExists);
                }
                match self.add(user.clone(), password, name.clone()).await? {
                    AccountDone::Done => self.token(&user, name.as_deref(), true),
                    AccountDone::Exists => Err(AccountAnswer::UserExists),
                    _ => Err(unavailable()),
                }
            }
            AccountWork::SignIn { user, password } => {
                let account = self.authenticate(address, &user, password).await?;
                self.token(&user, account.name.as_deref(), false)
            }
            AccountWork::ChangePassword { user, password, new_password } => {
                self.authenticate(address, &user, password).await?;
                match self.set_password(user, new_password).await? {
                    AccountDone::Done => Ok(AccountAnswer::PasswordChanged),
                    // The account is gone meanwhile.
                    AccountDone::Unknown => Err(AccountAnswer::InvalidCredentials),
                    _ => Err(unavailable()),
                }
            }
        }
    }

    /// The account of a user, if the password is right and the account is not locked. Only who knows the password hears that
    /// it is locked.
    async fn authenticate(
        &self,
        address: Ipv6Addr,
        user: &UserName,
        password: Password,
    ) -> Result<KeptAccount, AccountAnswer> {
        let now_us = clock::now().mono_us;
        let begun = self.failures(|failures| failures.begin(user, address, now_us));
        let begun = begun.map_err(|retry_after_ms| AccountAnswer::TooManyFailures { retry_after_ms })?;
        let mut attempt = Attempt { accounts: self, user, address, begun, verdict: Verdict::Unknown };
        let account = self.find(user).await?;
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let is_right = self.0.hasher.verify(password, hash).await.map_err(unhashed)?;
        match account.filter(|_| is_right) {
            None => {
                attempt.verdict = Verdict::Wrong;
                Err(AccountAnswer::InvalidCredentials)
            }
            Some(account) => {
                attempt.verdict = Verdict::Right;
                if account.is_locked { Err(AccountAnswer::Locked) } else { Ok(account) }
            }
        }
    }

    fn token(&self, user: &UserName, name: Option<&str>, is_new: bool) -> Result<AccountAnswer, AccountAnswer> {
        let signer = self.signer().ok_or_else(unavailable)?;
        let signed = signer.sign(user, name, &self.settings(), clock::now().unix_ms);
        let Signed { token, expires_at } = signed.ok_or_else(unavailable)?;
        Ok(AccountAnswer::Token { token, expires_at, is_new })
    }

    /// Keeps a new account.
    pub(super) async fn add(
        &self,
        user: UserName,
        password: Password,
        name: Option<Box<str>>,
    ) -> Result<AccountDone, AccountAnswer> {
        let password_hash = self.0.hasher.hash(password).await.map_err(unhashed)?;
        let created_at = clock::now().unix_ms;
        let account = KeptAccount { user, name, password_hash, created_at, is_locked: false };
        self.ask(AccountAsk::Add(account)).await.ok_or_else(unavailable)
    }

    /// Replaces a password.
    pub(super) async fn set_password(&self, user: UserName, password: Password) -> Result<AccountDone, AccountAnswer> {
        let hash = self.0.hasher.hash(password).await.map_err(unhashed)?;
        self.ask(AccountAsk::SetPassword(user, hash)).await.ok_or_else(unavailable)
    }

    async fn find(&self, user: &UserName) -> Result<Option<KeptAccount>, AccountAnswer> {
        match self.ask(AccountAsk::Find(user.clone())).await {
            Some(AccountDone::Found(account)) => Ok(account),
            _ => Err(unavailable()),
        }
    }

    /// Asks the store; `None` if it cannot answer.
    pub(super) async fn ask(&self, ask: AccountAsk) -> Option<AccountDone> {
        match self.0.store.ask(KeptAsk::Account(ask)).await {
            KeptAnswer::Account(done) => Some(done),
            _ => None,
        }
    }
}

pub(super) fn unavailable() -> AccountAnswer {
    AccountAnswer::Unavailable { retry_after_ms: STORE_RETRY_MS }
}

fn unhashed(error: HashError) -> AccountAnswer {
    match error {
        HashError::Full => AccountAnswer::Overloaded { retry_after_ms: ACCOUNT_RETRY_MS },
        HashError::Late => unavailable(),
    }
}
