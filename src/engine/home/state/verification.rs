//! The keys that verify tokens, and the waits of tokens that a key which is yet to come may verify. Never judges a token.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::limits::{KEYS_WAIT_MS, KEYS_WAITING_MAX, TOKEN_LOG_AGAIN_MS};
use crate::engine::access::{Cause, Denied, Keys, Which};
use crate::engine::home::HomeEffects;
use crate::engine::output::TokenRefused;

/// A core that has asked for keys and got no answer asks again after this.
const KEYS_ASK_AGAIN_MS: u64 = 500;

/// The keys, and the tokens that wait for further ones.
#[derive(Debug)]
pub struct Verification {
    keys: Arc<Keys>,
    /// Upgrades that wait for keys, by slot.
    upgrades: BTreeMap<u32, KeyWait>,
    /// Open connections whose first unanswered `refresh` waits for keys, by slot.
    refreshes: BTreeMap<u32, KeyWait>,
    /// Slots whose tokens are to be judged again.
    due: VecDeque<u32>,
    /// When keys were last asked for, monotonic milliseconds; `None`: they have come.
    asked_ms: Option<u64>,
    refusals: [RefusalLog; Cause::COUNT],
}

/// The wait of a token that a key which is yet to come may verify.
#[derive(Debug)]
pub struct KeyWait {
    /// When it ends, monotonic milliseconds.
    until_ms: u64,
    /// Keys that the token has not been tried on.
    untried: Which,
    /// Why the token was refused by the other keys.
    denied: Denied,
    due: Option<Due>,
}

/// How a token that has waited is judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// It may go on waiting.
    Again,
    /// It is answered.
    Last,
}

/// When refusals for one cause are logged.
#[derive(Clone, Copy, Debug, Default)]
struct RefusalLog {
    told_ms: Option<u64>,
    held_back: u64,
}

impl Verification {
    pub fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            upgrades: BTreeMap::new(),
            refreshes: BTreeMap::new(),
            due: VecDeque::new(),
            asked_ms: None,
            refusals: [RefusalLog::default(); Cause::COUNT],
        }
    }

    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    fn waits(&mut self) -> impl Iterator<Item = (u32, &mut KeyWait)> {
        let refreshes = self.refreshes.iter_mut();
        self.upgrades.iter_mut().chain(refreshes).map(|(slot, wait)| (*slot, wait))
    }

    /// Has the tokens judged again for which `due` returns how, first come first.
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

    /// Takes over other keys, and has waiting tokens judged by them.
    pub fn replace_keys(&mut self, keys: Arc<Keys>) {
        let added = keys.added_to(&self.keys);
        for (_, wait) in self.waits() {
            wait.untried = if wait.untried == Which::NONE { added } else { Which::ALL };
        }
        // A token that came while the keys were being read may wait for the next ones.
        let as_of_ms = keys.as_of_ms();
        let is_answered = |wait: &KeyWait| as_of_ms >= wait.until_ms.saturating_sub(KEYS_WAIT_MS);
        self.summon(|wait| Some(if is_answered(wait) { Due::Last } else { Due::Again }));
        self.keys = keys;
        self.asked_ms = None;
    }

    /// Whether no token can be verified until keys have come.
    pub fn lacks_keys(&self) -> bool {
        self.keys.count() == 0
    }

    /// The slots whose upgrades wait.
    pub fn waiting_upgrades(&self) -> impl ExactSizeIterator<Item = u32> {
        self.upgrades.keys().copied()
    }

    /// Whether a refresh of another connection may wait.
    pub fn has_place_for_refresh(&self) -> bool {
        self.refreshes.len() < KEYS_WAITING_MAX
    }

    /// Lets an upgrade wait for keys.
    pub fn keep_upgrade(&mut self, slot: u32, wait: KeyWait, effects: &mut HomeEffects<'_>) {
        self.upgrades.insert(slot, wait);
        self.ask_for_keys(effects);
    }

    /// Lets a refresh wait for keys.
    pub fn keep_refresh(&mut self, slot: u32, wait: KeyWait, effects: &mut HomeEffects<'_>) {
        self.refreshes.insert(slot, wait);
        self.ask_for_keys(effects);
    }

    /// Takes the wait of a refresh out.
    pub fn take_refresh(&mut self, slot: u32) -> Option<KeyWait> {
        self.refreshes.remove(&slot)
    }

    /// Asks the service thread to fetch keys, now and then.
    fn ask_for_keys(&mut self, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        if self.asked_ms.is_none_or(|asked_ms| now_ms >= asked_ms + KEYS_ASK_AGAIN_MS) {
            self.asked_ms = Some(now_ms);
            effects.output.keys_wanted = true;
        }
    }

    /// Counts a refusal, and logs it now and then.
    pub fn note_refused(&mut self, cause: Cause, effects: &mut HomeEffects<'_>) {
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

    /// Ends the waits whose time is over: their tokens are judged for the last time.
    pub fn expire(&mut self, now_ms: u64) {
        self.summon(|wait| (wait.until_ms <= now_ms).then_some(Due::Last));
    }

    /// Whether tokens are to be judged again.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes the first slot whose token is to be judged again.
    pub fn next_due(&mut self) -> Option<u32> {
        self.due.pop_front()
    }

    /// Takes the wait of an upgrade out, if it is due. The wait that was due may be gone, and another one in its slot may
    /// not be due.
    pub fn take_due_upgrade(&mut self, slot: u32) -> Option<KeyWait> {
        take_due(&mut self.upgrades, slot)
    }

    /// Takes the wait of a refresh out, if it is due.
    pub fn take_due_refresh(&mut self, slot: u32) -> Option<KeyWait> {
        take_due(&mut self.refreshes, slot)
    }

    /// Forgets the waits of a slot.
    pub fn forget(&mut self, slot: u32) {
        self.upgrades.remove(&slot);
        self.refreshes.remove(&slot);
    }
}

impl KeyWait {
    /// The wait of a token that was tried on all keys: a new one, or `waited` continued.
    pub fn go_on(waited: Option<Self>, denied: Denied, now_ms: u64) -> Self {
        let fresh = || Self { until_ms: now_ms + KEYS_WAIT_MS, untried: Which::NONE, denied, due: None };
        waited.map_or_else(fresh, |waited| Self { untried: Which::NONE, due: None, ..waited })
    }

    /// Makes the next judgment the last.
    pub fn at_last(self) -> Self {
        Self { due: Some(Due::Last), ..self }
    }

    /// Why the token was refused by the keys that it has been tried on.
    pub fn denied(&self) -> &Denied {
        &self.denied
    }

    /// Whether the next judgment is the last.
    pub fn is_over(&self) -> bool {
        self.due == Some(Due::Last)
    }

    /// The keys to try a token on.
    pub fn untried(waited: Option<&Self>) -> Which {
        waited.map_or(Which::ALL, |wait| wait.untried)
    }
}

fn take_due(waits: &mut BTreeMap<u32, KeyWait>, slot: u32) -> Option<KeyWait> {
    let is_due = waits.get(&slot).is_some_and(|wait| wait.due.is_some());
    if is_due { waits.remove(&slot) } else { None }
}
