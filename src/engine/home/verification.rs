//! Judges tokens by the keys that are here, and again when other keys have come where a key that fits may yet be fetched.
//! Weighs signature checks, bounds the waits, and keeps them apart: a token is tried on each key once, and each turn tries a
//! few. Never fetches keys.

use super::state::verification::KeyWait;
use super::{Home, HomeEffects};
use crate::base::limits::WAITED_CHECKS_PER_TURN_MAX;
use crate::engine::access::{Access, Candidates, Cause, Denied, Keys, Token};
use crate::engine::hop::ToLimiter;
use crate::engine::limiter::core_of_address;

/// Tokens that have waited for keys judged in one turn; the rest follow in the next turn.
const WAITED_TOKENS_PER_TURN_MAX: u32 = 64;

/// Error text while there are no keys.
pub(super) const NO_KEYS: &str = "the keys that verify tokens have not been fetched yet";
/// When to retry then.
pub(super) const NO_KEYS_RETRY_S: u32 = 2;

/// The judgment of a token.
pub(super) struct Judged {
    pub(super) result: Result<Box<Access>, Denied>,
    /// The most signature checks that it can have taken.
    pub(super) checks: u32,
    /// It was refused, and a key that is yet to come may verify it.
    pub(super) may_come: bool,
}

/// Judges a token by its candidates; one that has waited, by those that it has not been tried on.
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
        Some(wait) if checks == 0 => Err(wait.denied().clone()),
        _ => keys.verify_by(candidates, token, unix_ms).map(Box::new),
    };
    let no_key_fits = matches!(&result, Err(denied) if matches!(denied.cause, Cause::UnknownKey | Cause::Signature));
    Judged { result, checks, may_come: no_key_fits && keys.may_come_to_fit(token, unix_ms) }
}

impl Home {
    /// Ends the waits whose time is over: they are answered in this turn or the next ones.
    pub(super) fn expire_waits(&mut self, now_ms: u64) {
        if let Some(tokens) = &mut self.tokens {
            tokens.verification.expire(now_ms);
        }
    }

    /// Judges some of the tokens that have waited for keys. Returns whether more are due: then another turn must follow.
    pub fn judge_waited(&mut self, effects: &mut HomeEffects<'_>) -> bool {
        let checked = effects.counters.auth_checks.get();
        for _ in 0..WAITED_TOKENS_PER_TURN_MAX {
            let Some(tokens) = &mut self.tokens else { return false };
            let verification = &mut tokens.verification;
            let Some(slot) = verification.next_due() else { return false };
            if let Some(wait) = verification.take_due_upgrade(slot) {
                self.authenticate(slot, Some(wait), effects);
            } else if let Some(wait) = verification.take_due_refresh(slot) {
                self.answer_refreshes(slot, wait, effects);
            }
            if effects.counters.auth_checks.get() - checked >= u64::from(WAITED_CHECKS_PER_TURN_MAX) {
                break;
            }
        }
        self.tokens.as_ref().is_some_and(|tokens| tokens.verification.has_due())
    }

    /// Counts signature checks of a refused token as upgrades for the connection rate limit of the client's address.
    pub(super) fn charge_address(&self, slot: u32, checks: u32, effects: &mut HomeEffects<'_>) {
        if checks > 0 && self.settings.limits.connect_rate_per_ip.is_some() {
            let address = self.slots.address(slot);
            let core = core_of_address(address, self.settings.cores);
            effects.outbound.post_to_limiter(core, ToLimiter::ChargeAddress { address, upgrades: checks });
        }
    }
}
