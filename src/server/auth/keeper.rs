//! Keeps the cores' keys as they should be: reads the key set when the schedule says so, and everything again on SIGHUP.
//! What cannot be read leaves the keys as they were, unless they came from somewhere else: the keys of a source that is
//! no longer configured are dropped at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::schedule::Schedule;
use super::{Settings, Wrong, fetch};
use crate::base::breaker::BreakerState;
use crate::engine::access::{Keys, Material, PassedOver, Renewal};
use crate::io::clock;
use crate::io::core::CoreHandle;
use crate::io::services::{CallForKeys, Control};

/// A failure that goes on is logged at most this often.
const LOG_AGAIN_MS: u64 = 60_000;

/// A core whose channel is full is told again after this.
const TELL_AGAIN: Duration = Duration::from_millis(20);

/// How often that is tried. A core that has not emptied its channel by then has more trouble than old keys.
const TELLS_MAX: usize = 250;

/// A call that nothing comes of is answered after this.
const ANSWER_AFTER: Duration = Duration::from_millis(100);

/// How the key set stands, for the control address.
#[derive(Debug, Default)]
pub struct KeySetState {
    obtained: AtomicBool,
    breaker: AtomicU8,
}

impl KeySetState {
    /// Whether there is nothing to wait for: the set has been read, or none is configured.
    #[must_use]
    pub fn is_obtained(&self) -> bool {
        self.obtained.load(Ordering::Relaxed)
    }

    /// The breaker around the reads.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        match self.breaker.load(Ordering::Relaxed) {
            2 => BreakerState::Open,
            1 => BreakerState::HalfOpen,
            _ => BreakerState::Closed,
        }
    }
}

/// Tells the keeper to read everything again.
#[derive(Debug)]
pub struct Reloads(watch::Sender<Settings>);

impl Reloads {
    /// With these settings, which have been checked.
    pub fn reload(&self, settings: Settings) {
        // Without a keeper the process is ending.
        let _ = self.0.send(settings);
    }
}

/// What there is to verify with, and how it is renewed.
#[derive(Debug)]
pub struct Keeper {
    settings: Settings,
    fixed: Material,
    /// The key set's keys, once it has been read.
    renewed: Option<Material>,
    schedule: Schedule,
    state: Arc<KeySetState>,
    calls: Arc<Notify>,
    reloads: watch::Receiver<Settings>,
    /// Somebody waits for keys.
    is_called: bool,
    logged_ms: Option<u64>,
    /// Keys of the set that cannot be used, as the log has them.
    passed_over: Vec<PassedOver>,
}

impl Keeper {
    /// Reads what is in files of this host.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn new(settings: Settings) -> Result<(Self, Reloads), Wrong> {
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
            passed_over: Vec::new(),
            settings,
        };
        keeper.show();
        Ok((keeper, Reloads(sender)))
    }

    /// How the key set stands.
    pub fn state(&self) -> Arc<KeySetState> {
        self.state.clone()
    }

    /// What cores call by.
    pub fn call(&self) -> CallForKeys {
        let calls = self.calls.clone();
        CallForKeys(Arc::new(move || calls.notify_one()))
    }

    /// The keys of now.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::new(self.make_keys())
    }

    fn make_keys(&self) -> Keys {
        let (expected, fixed) = (self.settings.expected.clone(), self.fixed.clone());
        let (material, renewal) = match &self.renewed {
            _ if self.settings.jwks.is_empty() => (fixed, Renewal::None),
            None => (fixed, Renewal::Awaited),
            // The bound was met when the set was read; the PEM file read since may have more.
            Some(renewed) => (fixed.clone().and(renewed.clone()).unwrap_or(fixed), Renewal::Renewed),
        };
        Keys::new(material, expected, renewal)
    }

    /// Reads the key set for the first time, so that a server that says it is ready knows its keys if they can be had.
    pub async fn begin(&mut self, cores: &[CoreHandle]) {
        if !self.settings.jwks.is_empty() {
            self.read(cores).await;
        }
    }

    /// Goes on until it is dropped.
    pub async fn run(mut self, cores: Vec<CoreHandle>) {
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
            // Nobody is to wait for what does not come; nor is one to ask again as fast as that can be said.
            sleep(ANSWER_AFTER).await;
            tell(cores, &self.keys()).await;
        }
    }

    async fn read(&mut self, cores: &[CoreHandle]) {
        let mut has_news = false;
        let began_ms = clock::now().mono_ms();
        if self.schedule.try_begin(began_ms) {
            self.show();
            let read = tokio::select! {
                read = fetch::fetch(&self.settings.jwks) => read,
                // Told to read from somewhere else, perhaps: what is under way is no longer wanted.
                Ok(()) = self.reloads.changed() => return self.reload(cores).await,
            };
            let read = read.and_then(|set| {
                // Both together must be within the bound.
                self.fixed.clone().and(set.clone()).map(|_| set).map_err(|error| format!("the set {error}"))
            });
            let now_ms = clock::now().mono_ms();
            self.schedule.ended(now_ms, read.is_ok());
            match read {
                Ok(set) => {
                    if self.renewed.is_none() || self.logged_ms.is_some() {
                        tracing::info!(keys = set.count(), "the key set of auth.jwks has been read");
                    }
                    self.logged_ms = None;
                    self.tell_passed_over(&set);
                    self.renewed = Some(set);
                    has_news = true;
                }
                Err(why) => self.complain(now_ms, &why),
            }
        }
        self.show();
        if has_news || std::mem::take(&mut self.is_called) {
            self.is_called = false;
            tell(cores, &Arc::new(self.make_keys().as_of(began_ms))).await;
        }
    }

    async fn reload(&mut self, cores: &[CoreHandle]) {
        let settings = self.reloads.borrow_and_update().clone();
        self.schedule.restart(clock::now().mono_ms());
        match settings.read_fixed() {
            Ok(fixed) => self.fixed = fixed,
            Err(Wrong { key, text }) => {
                return tracing::error!(key = format!("auth.{key}"), %text, "the keys are kept as they were");
            }
        }
        settings.warn();
        if settings.jwks != self.settings.jwks {
            let dropped = self.renewed.take().map_or(0, |set| set.count());
            self.logged_ms = None;
            if !settings.jwks.is_empty() {
                let words = "auth.jwks names another key set: the keys of the former one no longer count, and the server is \
                             not ready until the new one has been read";
                tracing::warn!(dropped, "{words}");
            }
        }
        self.settings = settings;
        self.show();
        // Whoever waits for keys waits on where a set is about to be read.
        let as_of_ms = if self.settings.jwks.is_empty() { u64::MAX } else { 0 };
        let keys = Arc::new(self.make_keys().as_of(as_of_ms));
        tracing::info!(keys = keys.count(), "the keys of tokens have been read again");
        tell(cores, &keys).await;
    }

    fn show(&self) {
        let obtained = self.settings.jwks.is_empty() || self.renewed.is_some();
        self.state.obtained.store(obtained, Ordering::Relaxed);
        self.state.breaker.store(self.schedule.breaker() as u8, Ordering::Relaxed);
    }

    fn complain(&mut self, now_ms: u64, why: &str) {
        if self.logged_ms.is_none_or(|logged_ms| now_ms >= logged_ms + LOG_AGAIN_MS) {
            self.logged_ms = Some(now_ms);
            match &self.renewed {
                Some(set) => {
                    let kept = set.count();
                    tracing::warn!(why, kept, "the key set of auth.jwks cannot be read; the keys of before are kept");
                }
                None => {
                    let others = self.fixed.count();
                    tracing::warn!(why, others, "the key set of auth.jwks cannot be read, and never was: not ready");
                }
            }
        }
    }

    /// Names the keys of a set that cannot be used, once.
    fn tell_passed_over(&mut self, set: &Material) {
        if self.passed_over != set.passed_over() {
            self.passed_over = set.passed_over().to_vec();
            for PassedOver { key, why } in &self.passed_over {
                tracing::warn!(key, why, "a key of auth.jwks cannot be used");
            }
        }
    }
}

/// Gives the keys to every core. What is already on its way to one comes before them.
async fn tell(cores: &[CoreHandle], keys: &Arc<Keys>) {
    for (core, handle) in cores.iter().enumerate() {
        let mut tells = 0;
        while handle.try_tell(Control::Keys(keys.clone())).is_err() {
            tells += 1;
            if tells == TELLS_MAX {
                tracing::warn!(core, "the core did not take the new keys");
                break;
            }
            sleep(TELL_AGAIN).await;
        }
    }
}
