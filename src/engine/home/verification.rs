//! Whether a token is good: judged by the keys that are here and, where a key that fits may yet be fetched, again when
//! others have come. Weighs the signature checks that this takes, bounds what waits, and lets nobody's wait cost the
//! others more than their own tokens: a token is tried on each key once, and each turn tries a few.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Home, HomeEffects};
use crate::base::limits::{KEYS_WAIT_MS, KEYS_WAITING_MAX, TOKEN_LOG_AGAIN_MS, WAITED_CHECKS_PER_TURN_MAX};
use crate::engine::access::{Access, Candidates, Cause, Denied, Keys, Token, Which};
use crate::engine::hop::ToLimiter;
use crate::engine::limiter::core_of_address;
use crate::engine::output::TokenRefused;

/// A core that has asked for keys and got no answer asks again after this.
const KEYS_ASK_AGAIN_MS: u64 = 500;

/// Tokens that have waited for keys judged in one turn; the rest follow in the next turn.
const WAITED_TOKENS_PER_TURN_MAX: u32 = 64;

/// What is said where there are no keys, and when to try again.
pub(super) const NO_KEYS: &str = "the keys that verify tokens have not been obtained yet";
pub(super) const NO_KEYS_RETRY_S: u32 = 2;

/// What verifies tokens, and the tokens that wait for more of it.
#[derive(Debug)]
pub(super) struct Verification {
    keys: Arc<Keys>,
    /// Upgrades that wait for keys, by slot.
    upgrades: BTreeMap<u32, KeyWait>,
    /// Open connections whose first unanswered `refresh` does, by slot.
    refreshes: BTreeMap<u32, KeyWait>,
    /// Slots of those that are to be judged again.
    due: VecDeque<u32>,
    /// Keys were asked for then, monotonic milliseconds, and the answer has not come.
    asked_ms: Option<u64>,
    refusals: [RefusalLog; Cause::COUNT],
}

/// A token that may be good by a key that is yet to come.
#[derive(Debug)]
pub(super) struct KeyWait {
    /// When its patience ends, monotonic milliseconds.
    until_ms: u64,
    /// Keys of the set that it has not been tried on.
    untried: Which,
    /// Why it was not taken so far.
    denied: Denied,
    due: Option<Due>,
}

/// How a token that has waited is judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// It may wait on.
    Again,
    /// It gets its answer.
    Last,
}

/// Refusals for one cause, for the log.
#[derive(Clone, Copy, Debug, Default)]
struct RefusalLog {
    told_ms: Option<u64>,
    held_back: u64,
}

/// What came of judging a token.
pub(super) struct Judged {
    pub(super) result: Result<Box<Access>, Denied>,
    /// Signature checks that it took at most.
    pub(super) checks: u32,
    /// It was refused, and may be good by a key that is yet to come.
    pub(super) may_come: bool,
}

impl Verification {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            upgrades: BTreeMap::new(),
            refreshes: BTreeMap::new(),
            due: VecDeque::new(),
            asked_ms: None,
            refusals: [RefusalLog::default(); Cause::COUNT],
        }
    }

    pub(super) fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    fn waits(&mut self) -> impl Iterator<Item = (u32, &mut KeyWait)> {
        let refreshes = self.refreshes.iter_mut();
        self.upgrades.iter_mut().chain(refreshes).map(|(slot, wait)| (*slot, wait))
    }

    /// Has those judged again for which `due` gives how, first come first.
    fn summon(&mut self, due: impl Fn(&KeyWait) -> Option<Due>) {
        let mut summoned = Vec::new();
        for (slot, wait) in self.waits() {
            let Some(due) = due(wait) else { continue };
            let before = wait.due.replace(wait.due.map_or(due, |before| before.max(due)));
            if before.is_none() {
                summoned.push((wait.until_ms, slot));
            }
        }
        summoned.sort_unstable();
        self.due.extend(summoned.into_iter().map(|(_, slot)| slot));
    }

    /// Other keys hold from now on.
    pub(super) fn replace_keys(&mut self, keys: Arc<Keys>) {
        let added = keys.added_to(&self.keys);
        for (_, wait) in self.waits() {
            wait.untried = if wait.untried == Which::NONE { added } else { Which::ALL };
        }
        // Whoever came while the keys were being read may wait for the next ones.
        let as_of_ms = keys.as_of_ms();
        let is_answered = |wait: &KeyWait| as_of_ms >= wait.until_ms.saturating_sub(KEYS_WAIT_MS);
        self.summon(|wait| Some(if is_answered(wait) { Due::Last } else { Due::Again }));
        self.keys = keys;
        self.asked_ms = None;
    }

    /// Whether no token can be verified until keys have come.
    pub(super) fn lacks_keys(&self) -> bool {
        self.keys.count() == 0
    }

    /// The slots of the upgrades that wait.
    pub(super) fn waiting_upgrades(&self) -> impl ExactSizeIterator<Item = u32> {
        self.upgrades.keys().copied()
    }

    /// Whether the refreshes of another connection may wait.
    pub(super) fn has_place_for_refresh(&self) -> bool {
        self.refreshes.len() < KEYS_WAITING_MAX
    }

    /// An upgrade waits for keys.
    pub(super) fn keep_upgrade(&mut self, slot: u32, wait: KeyWait, effects: &mut HomeEffects<'_>) {
        self.upgrades.insert(slot, wait);
        self.ask_for_keys(effects);
    }

    /// A refresh waits for keys.
    pub(super) fn keep_refresh(&mut self, slot: u32, wait: KeyWait, effects: &mut HomeEffects<'_>) {
        self.refreshes.insert(slot, wait);
        self.ask_for_keys(effects);
    }

    /// A refresh waits no longer.
    pub(super) fn take_refresh(&mut self, slot: u32) -> Option<KeyWait> {
        self.refreshes.remove(&slot)
    }

    /// Something waits for keys: whoever fetches them is to look for more.
    fn ask_for_keys(&mut self, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        if self.asked_ms.is_none_or(|asked_ms| now_ms >= asked_ms + KEYS_ASK_AGAIN_MS) {
            self.asked_ms = Some(now_ms);
            effects.output.keys_wanted = true;
        }
    }

    /// Counts a refusal, and lets the log tell of it now and then.
    pub(super) fn note_refused(&mut self, cause: Cause, effects: &mut HomeEffects<'_>) {
        effects.counters.auth_refused.add(1);
        let refusals = &mut self.refusals[cause as usize];
        let now_ms = effects.now.mono_ms();
        if refusals.told_ms.is_some_and(|told_ms| now_ms < told_ms + TOKEN_LOG_AGAIN_MS) {
            refusals.held_back += 1;
            return;
        }
        refusals.told_ms = Some(now_ms);
        let held_back = std::mem::take(&mut refusals.held_back);
        effects.output.tokens_refused.push(TokenRefused { cause: cause.as_str(), held_back });
    }

    /// Forgets what waits in a slot.
    pub(super) fn forget(&mut self, slot: u32) {
        self.upgrades.remove(&slot);
        self.refreshes.remove(&slot);
    }
}

impl KeyWait {
    /// Begins with the first denial, or goes on where a token has waited; it has been tried on all keys there are.
    pub(super) fn go_on(waited: Option<Self>, denied: Denied, now_ms: u64) -> Self {
        let fresh = || Self { until_ms: now_ms + KEYS_WAIT_MS, untried: Which::NONE, denied, due: None };
        waited.map_or_else(fresh, |waited| Self { untried: Which::NONE, due: None, ..waited })
    }

    /// Ends the wait: the next judgment is the answer.
    pub(super) fn at_last(self) -> Self {
        Self { due: Some(Due::Last), ..self }
    }

    /// Whether it gets its answer now.
    pub(super) fn is_over(&self) -> bool {
        self.due == Some(Due::Last)
    }

    /// The keys to try a token on.
    pub(super) fn untried(waited: Option<&Self>) -> Which {
        waited.map_or(Which::ALL, |wait| wait.untried)
    }
}

/// Judges a token; one that has waited, by the keys that it has not been tried on.
pub(super) fn judge(
    keys: &Keys,
    token: &Token<'_>,
    candidates: &Candidates,
    waited: Option<&KeyWait>,
    effects: &HomeEffects<'_>,
) -> Judged {
    let (checks, unix_ms) = (candidates.count(), effects.now.unix_ms);
    effects.counters.auth_checks.add(u64::from(checks));
    let result = match waited {
        Some(wait) if checks == 0 => Err(wait.denied.clone()),
        _ => keys.verify_by(candidates, token, unix_ms).map(Box::new),
    };
    let no_key_fits = matches!(&result, Err(denied) if matches!(denied.cause, Cause::UnknownKey | Cause::Signature));
    Judged { result, checks, may_come: no_key_fits && keys.may_come_to_fit(token, unix_ms) }
}

impl Home {
    /// Those whose patience is over get their answer in this turn or the next ones.
    pub(super) fn expire_waits(&mut self, now_ms: u64) {
        if let Some(tokens) = &mut self.tokens {
            tokens.verification.summon(|wait| (wait.until_ms <= now_ms).then_some(Due::Last));
        }
    }

    /// Judges some of those that have waited for keys. Whether more are to be judged: then another turn must follow.
    pub fn judge_waited(&mut self, effects: &mut HomeEffects<'_>) -> bool {
        let checked = effects.counters.auth_checks.get();
        for _ in 0..WAITED_TOKENS_PER_TURN_MAX {
            let Some(tokens) = &mut self.tokens else { return false };
            let Verification { upgrades, refreshes, due, .. } = &mut tokens.verification;
            let Some(slot) = due.pop_front() else { return false };
            // What was due in a slot may be gone, and what is there now may not be.
            let take_due = |waits: &mut BTreeMap<u32, KeyWait>| {
                let is_due = waits.get(&slot).is_some_and(|wait| wait.due.is_some());
                if is_due { waits.remove(&slot) } else { None }
            };
            if let Some(wait) = take_due(upgrades) {
                self.authenticate(slot, Some(wait), effects);
            } else if let Some(wait) = take_due(refreshes) {
                self.answer_refreshes(slot, wait, effects);
            }
            if effects.counters.auth_checks.get() - checked >= u64::from(WAITED_CHECKS_PER_TURN_MAX) {
                break;
            }
        }
        self.tokens.as_ref().is_some_and(|tokens| !tokens.verification.due.is_empty())
    }

    /// Signature checks of a token that was not good take as many upgrades from the rate of its client's address.
    pub(super) fn charge_address(&self, slot: u32, checks: u32, effects: &mut HomeEffects<'_>) {
        if checks > 0 && self.settings.limits.connect_rate_per_ip.is_some() {
            let address = self.slots.address(slot);
            let core = core_of_address(address, self.settings.cores);
            effects.outbound.post_to_limiter(core, ToLimiter::ChargeAddress { address, upgrades: checks });
        }
    }
}
