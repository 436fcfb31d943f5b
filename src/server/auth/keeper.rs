//! Keeps the cores' token keys current: reads the key set by schedule and when a core asks for it, and everything on
//! SIGHUP. A failed read leaves the keys unchanged, but keys of a source that is no longer configured are dropped at once.
//! Never verifies a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::fetch;
use super::schedule::Schedule;
use super::settings::{AuthMistake, AuthSettings};
use crate::base::breaker::BreakerState;
use crate::control::{Observed, Readiness};
use crate::engine::access::{Keys, Material, PassedOver, Renewal};
use crate::io::clock;
use crate::io::core::CoreHandle;
use crate::io::services::{CallForKeys, Control};

/// A persistent failure is logged once in this time.
const LOG_INTERVAL_MS: u64 = 60_000;

/// Pause before the keys are sent again to a core whose channel is full.
const SEND_AGAIN: Duration = Duration::from_millis(20);

/// Attempts to send keys to one core. A core that does not empty its channel in that time has worse problems than old keys.
const SENDS_MAX: usize = 250;

/// Delay of the response to a call that leads to no read, so that cores do not repeat it at once.
const RESPONSE_DELAY: Duration = Duration::from_millis(100);

/// The state of the key set, for the control address.
#[derive(Debug, Default)]
pub struct KeySetState {
    obtained: AtomicBool,
    breaker: AtomicU8,
}

impl KeySetState {
    /// Whether the key set has been read, or none is configured.
    fn is_obtained(&self) -> bool {
        self.obtained.load(Ordering::Relaxed)
    }

    /// The breaker around reads.
    fn breaker(&self) -> BreakerState {
        match self.breaker.load(Ordering::Relaxed) {
            2 => BreakerState::Open,
            1 => BreakerState::HalfOpen,
            _ => BreakerState::Closed,
        }
    }
}

impl Observed for KeySetState {
    fn readiness(&self) -> Option<Readiness> {
        let fault = (!self.is_obtained()).then(|| "the key set of auth.jwks has not been read yet".to_owned());
        Some(Readiness { part: "keys", fault })
    }

    fn breakers(&self) -> Vec<(&'static str, BreakerState)> {
        vec![("jwks", self.breaker())]
    }
}

/// Sends changed settings to the keeper.
#[derive(Debug)]
pub struct Reloads(watch::Sender<AuthSettings>);

impl Reloads {
    /// Replaces the settings, which have been checked.
    pub fn reload(&self, settings: AuthSettings) {
        // Without a receiver the process is ending.
        let _ = self.0.send(settings);
    }
}

/// Owns the keys, and sends them to the cores.
#[derive(Debug)]
pub struct Keeper {
    settings: AuthSettings,
    fixed: Material,
    /// The keys of the key set, once it has been read.
    renewed: Option<Material>,
    schedule: Schedule,
    state: Arc<KeySetState>,
    calls: Arc<Notify>,
    reloads: watch::Receiver<AuthSettings>,
    /// A core waits for keys.
    is_called: bool,
    logged_ms: Option<u64>,
    /// The unusable keys of the set that have been logged.
    unusable: Vec<PassedOver>,
}

impl Keeper {
    /// Reads the keys that are configured directly or in a PEM file.
    ///
    /// # Errors
    /// The mistake in the file.
    pub fn new(settings: AuthSettings) -> Result<(Self, Reloads), AuthMistake> {
        let (sender, reloads) = watch::channel(settings.clone());
        let keeper = Self {
            fixed: settings.read_fixed()?,
            renewed: None,
            schedule: Schedule::new(),
            state: Arc::default(),
            calls: Arc::default(),
            reloads,
            is_called: false,
            logged_ms: None,
            unusable: Vec::new(),
            settings,
        };
        keeper.show();
        Ok((keeper, Reloads(sender)))
    }

    /// The state of the key set.
    pub fn state(&self) -> Arc<KeySetState> {
        self.state.clone()
    }

    /// How cores ask for keys.
    pub fn call(&self) -> CallForKeys {
        let calls = self.calls.clone();
        CallForKeys(Arc::new(move || calls.notify_one()))
    }

    /// The current keys.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::new(self.make_keys())
    }

    fn make_keys(&self) -> Keys {
        let (expected, fixed) = (self.settings.expected.clone(), self.fixed.clone());
        let (material, renewal) = match &self.renewed {
            _ if self.settings.jwks.is_empty() => (fixed, Renewal::None),
            None => (fixed, Renewal::Awaited),
            // Both fitted when the set was read, but the PEM file may have grown since.
            Some(renewed) => (fixed.clone().and(renewed.clone()).unwrap_or(fixed), Renewal::Renewed),
        };
        Keys::new(material, expected, renewal)
    }

    /// Reads the key set for the first time, so that a ready server has its keys if they are available.
    pub async fn begin(&mut self, cores: &[CoreHandle]) {
        if !self.settings.jwks.is_empty() {
            self.read(cores).await;
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self, cores: Arc<[CoreHandle]>) {
        loop {
            let has_set = !self.settings.jwks.is_empty();
            let wait_ms = self.schedule.due_ms().saturating_sub(clock::now().mono_ms());
            tokio::select! {
                changed = self.reloads.changed() => match changed {
                    Ok(()) => self.reload(&cores).await,
                    Err(_) => return,
                },
                () = self.calls.notified() => self.answer_call(&cores).await,
                () = sleep(Duration::from_millis(wait_ms)), if has_set => self.read(&cores).await,
            }
        }
    }

    async fn answer_call(&mut self, cores: &[CoreHandle]) {
        if !self.settings.jwks.is_empty() && self.schedule.call(clock::now().mono_ms()) {
            self.is_called = true;
        } else {
            // No read follows: the cores must not wait, but must not ask again at once either.
            sleep(RESPONSE_DELAY).await;
            send_keys(cores, &self.keys()).await;
        }
    }

    async fn read(&mut self, cores: &[CoreHandle]) {
        let mut has_news = false;
        let began_ms = clock::now().mono_ms();
        if self.schedule.try_begin(began_ms) {
            self.show();
            let read = tokio::select! {
                read = fetch::fetch(&self.settings.jwks) => read,
                // A reload may name another source: abandon the read in flight.
                Ok(()) = self.reloads.changed() => return self.reload(cores).await,
            };
            let read = read.and_then(|set| {
                // Both together must not exceed the maximum number of keys.
                self.fixed.clone().and(set.clone()).map(|_| set).map_err(|error| format!("the set {error}"))
            });
            let now_ms = clock::now().mono_ms();
            self.schedule.ended(now_ms, read.is_ok());
            match read {
                Ok(set) => {
                    if self.renewed.is_none() || self.logged_ms.is_some() {
                        tracing::info!(keys = set.count(), "key set of auth.jwks read");
                    }
                    self.logged_ms = None;
                    self.log_unusable(&set);
                    self.renewed = Some(set);
                    has_news = true;
                }
                Err(why) => self.log_failure(now_ms, &why),
            }
        }
        self.show();
        if has_news || std::mem::take(&mut self.is_called) {
            self.is_called = false;
            send_keys(cores, &Arc::new(self.make_keys().as_of(began_ms))).await;
        }
    }

    async fn reload(&mut self, cores: &[CoreHandle]) {
        let settings = self.reloads.borrow_and_update().clone();
        self.schedule.restart(clock::now().mono_ms());
        match settings.read_fixed() {
            Ok(fixed) => self.fixed = fixed,
            Err(AuthMistake { key, text }) => {
                return tracing::error!(key = format!("auth.{key}"), %text, "keeping the previous token keys");
            }
        }
        settings.warn();
        if settings.jwks != self.settings.jwks {
            let dropped = self.renewed.take().map_or(0, |set| set.count());
            self.logged_ms = None;
            if !settings.jwks.is_empty() {
                let message = "auth.jwks names another key set: the keys of the previous one are dropped, and the server is \
                             not ready until it has read the new one";
                tracing::warn!(dropped, "{message}");
            }
        }
        self.settings = settings;
        self.show();
        // Connections that wait for keys wait for the coming read of the set, if there is one.
        let as_of_ms = if self.settings.jwks.is_empty() { u64::MAX } else { 0 };
        let keys = Arc::new(self.make_keys().as_of(as_of_ms));
        tracing::info!(keys = keys.count(), "token keys reloaded");
        send_keys(cores, &keys).await;
    }

    fn show(&self) {
        let obtained = self.settings.jwks.is_empty() || self.renewed.is_some();
        self.state.obtained.store(obtained, Ordering::Relaxed);
        self.state.breaker.store(self.schedule.breaker() as u8, Ordering::Relaxed);
    }

    fn log_failure(&mut self, now_ms: u64, why: &str) {
        if self.logged_ms.is_none_or(|logged_ms| now_ms >= logged_ms + LOG_INTERVAL_MS) {
            self.logged_ms = Some(now_ms);
            match &self.renewed {
                Some(set) => {
                    let kept = set.count();
                    tracing::warn!(why, kept, "the key set of auth.jwks cannot be read; keeping the previous keys");
                }
                None => {
                    let others = self.fixed.count();
                    tracing::warn!(why, others, "the key set of auth.jwks cannot be read, so the server is not ready");
                }
            }
        }
    }

    /// Logs the unusable keys of a set once.
    fn log_unusable(&mut self, set: &Material) {
        if self.unusable != set.passed_over() {
            self.unusable = set.passed_over().to_vec();
            for PassedOver { key, why } in &self.unusable {
                tracing::warn!(key, why, "a key of auth.jwks cannot be used");
            }
        }
    }
}

/// Sends the keys to every core, behind the messages that its channel holds already.
pub async fn send_keys(cores: &[CoreHandle], keys: &Arc<Keys>) {
    for (core, handle) in cores.iter().enumerate() {
        let mut sends = 0;
        while handle.try_tell(Control::Keys(keys.clone())).is_err() {
            sends += 1;
            if sends == SENDS_MAX {
                tracing::warn!(core, "cannot send the new token keys to the core: its channel is full");
                break;
            }
            sleep(SEND_AGAIN).await;
        }
    }
}
