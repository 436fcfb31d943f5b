//! Finds out who asks for an upgrade: any user in mode `open`, otherwise the user of the token. A token that no key verifies
//! yet may wait for the next keys. Never verifies a signature itself.

use crate::base::codes::ErrorCode;
use crate::base::limits::{KEYS_WAITING_MAX, KEYS_WAITING_PER_ADDRESS_MAX};
use crate::engine::access::{Access, Cause, Denied, Token};
use crate::engine::home::state::verification::KeyWait;
use crate::engine::home::verification::{Judged, NO_KEYS, NO_KEYS_RETRY_S, judge};
use crate::engine::home::{Home, HomeEffects};
use crate::engine::limiter::network;
use crate::wire::dialect::Identifies;
use crate::wire::handshake::{HttpRefusal, Upgrade};

/// The client that asks for an upgrade, as far as it is known.
#[derive(Debug)]
pub(super) enum Applicant {
    /// No token is required: any user.
    Anyone,
    /// The holder of a token.
    TokenHolder(Box<Access>),
    /// Unknown until further keys have come.
    Undecided,
}

impl Home {
    /// Finds out who asks for an upgrade. `waited`: its token has waited for keys.
    ///
    /// # Errors
    /// 401: the token is missing or refused. 503: there are no keys yet to verify it with.
    pub(super) fn identify(
        &mut self,
        slot: u32,
        upgrade: &Upgrade,
        waited: Option<KeyWait>,
        effects: &mut HomeEffects<'_>,
    ) -> Result<Applicant, HttpRefusal> {
        let Some(tokens) = &self.tokens else { return Ok(Applicant::Anyone) };
        let keys = tokens.verification.keys().clone();
        let by_upgrade = self.dialect_of(upgrade).identifies == Identifies::ByUpgrade;
        let token = upgrade.token.as_deref().ok_or_else(|| {
            let ways =
                ": pass it as `token` in the query, as `Authorization: Bearer`, or as subprotocol `bearer.<token>`";
            Denied::new(Cause::Missing, format!("a token is required{}", if by_upgrade { ways } else { "" }))
        });
        let judged = match token.and_then(Token::read) {
            Ok(token) => {
                let candidates = keys.candidates(&token, KeyWait::untried(waited.as_ref()));
                judge(&keys, &token, &candidates, waited.as_ref(), effects)
            }
            Err(denied) => Judged { result: Err(denied), checks: 0, may_come: false },
        };
        let denied = match judged.result {
            Ok(access) => return Ok(Applicant::TokenHolder(access)),
            Err(denied) => denied,
        };
        // The upgrade itself pays for the first check.
        self.charge_address(slot, judged.checks.saturating_sub(u32::from(waited.is_none())), effects);
        let may_wait = judged.may_come && waited.as_ref().map_or_else(|| self.has_place(slot), |wait| !wait.is_over());
        let Some(tokens) = &mut self.tokens else { return Ok(Applicant::Anyone) };
        if may_wait {
            let wait = KeyWait::go_on(waited, denied, effects.now.mono_ms());
            tokens.verification.keep_upgrade(slot, wait, effects);
            return Ok(Applicant::Undecided);
        }
        tokens.verification.note_refused(denied.cause, effects);
        if judged.may_come && keys.renewal().is_awaited() {
            let code = ErrorCode::Unavailable.as_str();
            return Err(HttpRefusal { retry_after_s: Some(NO_KEYS_RETRY_S), ..HttpRefusal::new(503, code, NO_KEYS) });
        }
        Err(HttpRefusal::new(401, denied.code().as_str(), denied.message))
    }

    /// Whether another upgrade from this client may wait for keys.
    fn has_place(&self, slot: u32) -> bool {
        let Some(tokens) = &self.tokens else { return false };
        let upgrades = tokens.verification.waiting_upgrades();
        if upgrades.len() >= KEYS_WAITING_MAX {
            return false;
        }
        let own = network(self.slots.address(slot));
        upgrades.filter(|other| network(self.slots.address(*other)) == own).count() < KEYS_WAITING_PER_ADDRESS_MAX
    }
}
