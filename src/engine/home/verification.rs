//! Whether a token is good: judged by the keys that are here and, where a key that fits may yet be fetched, again when
//! others have come. Weighs the signature checks that this takes, bounds what waits, and lets nobody's wait cost the
//! others more than their own tokens: a token is tried on each key once, and each turn tries a few.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::tokens::Tokens;
use super::{Home, HomeEffects};
use crate::base::codes::ErrorCode;
use crate::base::limits::{
    KEYS_ASK_AGAIN_MS, KEYS_WAIT_MS, KEYS_WAITING_MAX, KEYS_WAITING_PER_ADDRESS_MAX, REFRESH_WAITING_BYTES,
    REFRESHES_WAITING_MAX, TOKEN_LOG_AGAIN_MS, WAITED_CHECKS_PER_TURN_MAX, WAITED_TOKENS_PER_TURN_MAX,
};
use crate::engine::access::{Access, Candidates, Cause, Denied, Keys, Renewal, Token, Which};
use crate::engine::budget::Budget;
use crate::engine::hop::ToLimiter;
use crate::engine::limiter::{core_of_address, network};
use crate::engine::output::TokenRefused;
use crate::engine::session::Phase;
use crate::wire::handshake::{Refusal, Upgrade};
use crate::wire::protocol::{Reply, ReplyTo};

/// What is said where there are no keys, and when to try again.
const NO_KEYS: &str = "the keys that verify tokens have not been obtained yet";
const NO_KEYS_RETRY_S: u32 = 2;

/// What verifies tokens, and the tokens that wait for more of it.
#[derive(Debug)]
pub(super) struct Verification {
    keys: Arc<Keys>,
    /// Upgrades that wait for keys, by slot.
    upgrades: BTreeMap<u32, Wait>,
    /// Open connections with a refresh that does, by slot.
    refreshes: BTreeMap<u32, Refreshes>,
    /// Slots of those that are to be judged again.
    due: VecDeque<u32>,
    /// Keys were asked for then, monotonic milliseconds, and the answer has not come.
    asked_ms: Option<u64>,
    refusals: [Refusals; Cause::COUNT],
}

/// A token that may be good by a key that is yet to come.
#[derive(Debug)]
struct Wait {
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

/// The refreshes of one connection, in the order in which they came.
#[derive(Debug)]
struct Refreshes {
    /// How the first one waits. The others have not been judged.
    first: Wait,
    queue: VecDeque<Refresh>,
}

#[derive(Debug)]
struct Refresh {
    token: Box<str>,
    reply: ReplyTo,
}

/// Refusals for one cause, for the log.
#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    told_ms: Option<u64>,
    held_back: u64,
}

/// How an upgrade stands.
#[derive(Debug)]
pub(super) enum Identity {
    /// Whoever it says it is.
    Open,
    /// Whom the token names.
    Token(Box<Access>),
    /// The token may be good by a key that is being fetched: to be asked again when it is there.
    Wait,
}

/// What came of judging a token.
struct Judged {
    result: Result<Box<Access>, Denied>,
    /// Signature checks that it took at most.
    checks: u32,
    /// It was refused, and may be good by a key that is yet to come.
    may_come: bool,
}

impl Verification {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            upgrades: BTreeMap::new(),
            refreshes: BTreeMap::new(),
            due: VecDeque::new(),
            asked_ms: None,
            refusals: [Refusals::default(); Cause::COUNT],
        }
    }

    fn waits(&mut self) -> impl Iterator<Item = (u32, &mut Wait)> {
        let refreshes = self.refreshes.iter_mut().map(|(slot, refreshes)| (*slot, &mut refreshes.first));
        self.upgrades.iter_mut().map(|(slot, wait)| (*slot, wait)).chain(refreshes)
    }

    /// Has those judged again for which `due` gives how, first come first.
    fn summon(&mut self, due: impl Fn(&Wait) -> Option<Due>) {
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
    fn replace_keys(&mut self, keys: Arc<Keys>) {
        let added = keys.added_to(&self.keys);
        for (_, wait) in self.waits() {
            wait.untried = if wait.untried == Which::NONE { added } else { Which::ALL };
        }
        // Whoever came while the keys were being read may wait for the next ones.
        let as_of_ms = keys.as_of_ms();
        let is_answered = |wait: &Wait| as_of_ms >= wait.until_ms.saturating_sub(KEYS_WAIT_MS);
        self.summon(|wait| Some(if is_answered(wait) { Due::Last } else { Due::Again }));
        self.keys = keys;
        self.asked_ms = None;
    }

    /// Whether no token can be verified until keys have come.
    pub(super) fn lacks_keys(&self) -> bool {
        self.keys.count() == 0
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Forgets what waits in a slot.
    pub(super) fn forget(&mut self, slot: u32, budget: &mut Budget) {
        self.upgrades.remove(&slot);
        if let Some(refreshes) = self.refreshes.remove(&slot) {
            budget.release(refreshes.queue.iter().map(Refresh::bytes).sum());
        }
    }
}

impl Wait {
    fn new(denied: Denied, now_ms: u64) -> Self {
        Self { until_ms: now_ms + KEYS_WAIT_MS, untried: Which::NONE, denied, due: None }
    }

    /// Goes on, tried on all keys there are.
    fn on(self) -> Self {
        Self { untried: Which::NONE, due: None, ..self }
    }
}

impl Refresh {
    fn bytes(&self) -> usize {
        self.token.len() + REFRESH_WAITING_BYTES
    }
}

/// Judges a token; one that has waited, by the keys that it has not been tried on.
fn judge(
    keys: &Keys,
    token: &Token<'_>,
    candidates: &Candidates,
    waited: Option<&Wait>,
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

fn untried(waited: Option<&Wait>) -> Which {
    waited.map_or(Which::ALL, |wait| wait.untried)
}

impl Home {
    /// Verification keys: from here on each upgrade needs a token that they verify. Connections that are there stay.
    pub fn set_keys(&mut self, keys: Arc<Keys>) {
        match &mut self.tokens {
            None => self.tokens = Some(Box::new(Tokens::new(keys))),
            Some(tokens) => tokens.verification.replace_keys(keys),
        }
    }

    /// Who asks for an upgrade.
    ///
    /// # Errors
    /// 401: the token is missing or refused. 503: there are no keys yet that could tell.
    pub(super) fn identify(
        &mut self,
        slot: u32,
        upgrade: &Upgrade,
        effects: &mut HomeEffects<'_>,
    ) -> Result<Identity, Refusal> {
        let Some(tokens) = &mut self.tokens else { return Ok(Identity::Open) };
        let waited = tokens.verification.upgrades.remove(&slot);
        let keys = tokens.verification.keys.clone();
        let token = upgrade.token.as_deref().ok_or_else(|| {
            let ways = "as `token` in the query, as `Authorization: Bearer`, or as subprotocol `bearer.<token>`";
            Denied::new(Cause::Missing, format!("a token is needed: {ways}"))
        });
        let judged = match token.and_then(Token::read) {
            Ok(token) => {
                let candidates = keys.candidates(&token, untried(waited.as_ref()));
                judge(&keys, &token, &candidates, waited.as_ref(), effects)
            }
            Err(denied) => Judged { result: Err(denied), checks: 0, may_come: false },
        };
        let denied = match judged.result {
            Ok(access) => return Ok(Identity::Token(access)),
            Err(denied) => denied,
        };
        // The first check is paid for by the upgrade itself.
        self.charge_address(slot, judged.checks.saturating_sub(u32::from(waited.is_none())), effects);
        if judged.may_come {
            let may_wait = match &waited {
                Some(wait) => wait.due != Some(Due::Last),
                None => self.has_place(slot),
            };
            if may_wait {
                let wait = waited.map_or_else(|| Wait::new(denied, effects.now.mono_ms()), Wait::on);
                self.want_keys(effects, |verification| drop(verification.upgrades.insert(slot, wait)));
                return Ok(Identity::Wait);
            }
            if keys.renewal() == Renewal::Awaited {
                self.note_refused(denied.cause, effects);
                let code = ErrorCode::Unavailable.as_str();
                return Err(Refusal { retry_after_s: Some(NO_KEYS_RETRY_S), ..Refusal::new(503, code, NO_KEYS) });
            }
        }
        self.note_refused(denied.cause, effects);
        Err(Refusal::new(401, denied.code().as_str(), denied.message))
    }

    /// Whether another upgrade of a client may wait for keys.
    fn has_place(&self, slot: u32) -> bool {
        let Some(tokens) = &self.tokens else { return false };
        let upgrades = &tokens.verification.upgrades;
        let own = network(self.peers.get(slot));
        let of_client = || upgrades.keys().filter(|other| network(self.peers.get(**other)) == own).count();
        upgrades.len() < KEYS_WAITING_MAX && of_client() < KEYS_WAITING_PER_ADDRESS_MAX
    }

    /// The command `refresh`: a new token takes the place of the one before. A refused one changes nothing. Answered in
    /// order, later where a token waits for keys.
    pub(super) fn refresh(&mut self, slot: u32, token: &str, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        let Some(tokens) = &mut self.tokens else {
            let words = "this server takes no tokens: its auth.mode is open";
            return self.refuse(slot, ErrorCode::InvalidToken, words, reply, effects);
        };
        if let Some(refreshes) = tokens.verification.refreshes.get_mut(&slot)
            && refreshes.queue.len() >= REFRESHES_WAITING_MAX
        {
            refreshes.first.due = Some(Due::Last);
            self.answer_refreshes(slot, effects);
        }
        if self.sessions.at(slot).phase != Phase::Open {
            return;
        }
        let refresh = || Refresh { token: token.into(), reply };
        if let Some(tokens) = &mut self.tokens
            && let Some(refreshes) = tokens.verification.refreshes.get_mut(&slot)
        {
            let refresh = refresh();
            effects.budget.charge(refresh.bytes());
            refreshes.queue.push_back(refresh);
        } else if let Some(first) = self.answer_refresh(slot, token, reply, None, effects) {
            self.keep_refreshes(slot, Refreshes { first, queue: VecDeque::from([refresh()]) }, effects);
        }
    }

    fn keep_refreshes(&mut self, slot: u32, refreshes: Refreshes, effects: &mut HomeEffects<'_>) {
        effects.budget.charge(refreshes.queue.iter().map(Refresh::bytes).sum());
        self.want_keys(effects, |verification| drop(verification.refreshes.insert(slot, refreshes)));
    }

    /// Judges the first refresh of a connection again, and those behind it that no longer wait then.
    fn answer_refreshes(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let Some(tokens) = &mut self.tokens else { return };
        let Some(Refreshes { first, mut queue }) = tokens.verification.refreshes.remove(&slot) else { return };
        effects.budget.release(queue.iter().map(Refresh::bytes).sum());
        let mut waited = Some(first);
        while let Some(refresh) = queue.pop_front() {
            // An answer may have ended the connection.
            if self.sessions.at(slot).phase != Phase::Open {
                return;
            }
            if let Some(first) = self.answer_refresh(slot, &refresh.token, refresh.reply, waited.take(), effects) {
                queue.push_front(refresh);
                return self.keep_refreshes(slot, Refreshes { first, queue }, effects);
            }
        }
    }

    /// Judges a refresh and answers it, or gives back how it waits.
    fn answer_refresh(
        &mut self,
        slot: u32,
        token: &str,
        reply: ReplyTo,
        waited: Option<Wait>,
        effects: &mut HomeEffects<'_>,
    ) -> Option<Wait> {
        let (keys, has_place) = self.tokens.as_ref().map(|tokens| {
            let verification = &tokens.verification;
            (verification.keys.clone(), verification.refreshes.len() < KEYS_WAITING_MAX)
        })?;
        let token = match Token::read(token) {
            Ok(token) => token,
            Err(denied) => {
                self.deny_refresh(slot, &denied, 0, reply, effects);
                return None;
            }
        };
        let candidates = keys.candidates(&token, untried(waited.as_ref()));
        if waited.is_none()
            && let Err(retry_after_ms) = self.try_take_checks(slot, candidates.count().max(1), effects.now)
        {
            let words = "this connection refreshes its token too often";
            self.refuse_until(slot, (ErrorCode::RateLimited, words), Some(retry_after_ms), reply, effects);
            return None;
        }
        let judged = judge(&keys, &token, &candidates, waited.as_ref(), effects);
        let denied = match judged.result {
            Ok(access) if self.sessions.at(slot).user.as_ref() == Some(&access.user) => {
                let expires_at = access.expires_at;
                self.replace_token(slot, *access, effects);
                self.reply(slot, &Reply::Refreshed { expires_at }, reply, effects);
                self.leave_forbidden(slot, effects);
                return None;
            }
            Ok(_) => Denied::new(Cause::OtherUser, "the token's claim `sub` is not this connection's user"),
            Err(denied) => denied,
        };
        if judged.may_come {
            if waited.as_ref().map_or(has_place, |wait| wait.due != Some(Due::Last)) {
                self.charge_address(slot, judged.checks, effects);
                return Some(waited.map_or_else(|| Wait::new(denied, effects.now.mono_ms()), Wait::on));
            }
            if keys.renewal() == Renewal::Awaited {
                self.note_refused(denied.cause, effects);
                let retry_after_ms = u64::from(NO_KEYS_RETRY_S) * 1_000;
                self.refuse_until(slot, (ErrorCode::Unavailable, NO_KEYS), Some(retry_after_ms), reply, effects);
                return None;
            }
        }
        self.deny_refresh(slot, &denied, judged.checks, reply, effects);
        None
    }

    fn deny_refresh(&mut self, slot: u32, denied: &Denied, checks: u32, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        self.charge_address(slot, checks, effects);
        self.note_refused(denied.cause, effects);
        self.refuse(slot, denied.code(), &denied.message, reply, effects);
        self.note_token_refused(slot, effects);
    }

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
            let Some(slot) = tokens.verification.due.pop_front() else { return false };
            let verification = &mut tokens.verification;
            let is_due = |wait: &Wait| wait.due.is_some();
            // What was due in a slot may be gone, and what is there now may not be.
            if verification.upgrades.get(&slot).is_some_and(is_due) {
                self.authenticate(slot, effects);
            } else if verification.refreshes.get(&slot).is_some_and(|refreshes| is_due(&refreshes.first)) {
                self.answer_refreshes(slot, effects);
            }
            if effects.counters.auth_checks.get() - checked >= u64::from(WAITED_CHECKS_PER_TURN_MAX) {
                break;
            }
        }
        self.tokens.as_ref().is_some_and(|tokens| tokens.verification.has_due())
    }

    /// Something waits for keys: whoever fetches them is to look for more.
    fn want_keys(&mut self, effects: &mut HomeEffects<'_>, keep: impl FnOnce(&mut Verification)) {
        let Some(tokens) = &mut self.tokens else { return };
        let verification = &mut tokens.verification;
        keep(verification);
        let now_ms = effects.now.mono_ms();
        if verification.asked_ms.is_none_or(|asked_ms| now_ms >= asked_ms + KEYS_ASK_AGAIN_MS) {
            verification.asked_ms = Some(now_ms);
            effects.output.keys_wanted = true;
        }
    }

    /// Signature checks of a token that was not good take as many upgrades from the rate of its client's address.
    fn charge_address(&self, slot: u32, checks: u32, effects: &mut HomeEffects<'_>) {
        if checks > 0 && self.settings.limits.connect_rate_per_ip.is_some() {
            let address = self.peers.get(slot);
            let core = core_of_address(address, self.settings.cores);
            effects.outbound.post_to_limiter(core, ToLimiter::ChargeAddress { address, upgrades: checks });
        }
    }

    /// Counts a refusal, and lets the log tell of it now and then.
    fn note_refused(&mut self, cause: Cause, effects: &mut HomeEffects<'_>) {
        effects.counters.auth_refused.add(1);
        let Some(tokens) = &mut self.tokens else { return };
        let refusals = &mut tokens.verification.refusals[cause as usize];
        let now_ms = effects.now.mono_ms();
        if refusals.told_ms.is_some_and(|told_ms| now_ms < told_ms + TOKEN_LOG_AGAIN_MS) {
            refusals.held_back += 1;
            return;
        }
        refusals.told_ms = Some(now_ms);
        let held_back = std::mem::take(&mut refusals.held_back);
        effects.output.tokens_refused.push(TokenRefused { cause: cause.as_str(), held_back });
    }
}
