//! Refuses upgrades: by an HTTP answer, or by a close frame where the client asked for that (`refuse=close`) or its upgrade is
//! accepted already. A socket that is refused this way never is a connection: it has no user and no rooms, and counts among
//! those that are not WebSockets. Never decides who is refused.

use bytes::BytesMut;

use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::limits::WS_PATH;
use crate::engine::home::{Home, HomeEffects};
use crate::engine::session::Phase;
use crate::wire::encode::encode_push;
use crate::wire::frame::close_frame;
use crate::wire::handshake::{HttpRefusal, Upgrade, accept_response};
use crate::wire::protocol::{Push, ReconnectReason};

/// Reconnects are spread over at least and at most this long.
const SPREAD_MS: std::ops::RangeInclusive<u64> = 1_000..=10_000;

impl Home {
    /// Refuses a well-formed upgrade.
    pub(super) fn refuse_upgrade(
        &mut self,
        slot: u32,
        upgrade: &Upgrade,
        refusal: &HttpRefusal,
        effects: &mut HomeEffects<'_>,
    ) {
        let is_accepted = self.sessions.at(slot).phase == Phase::Greeting;
        let code = match self.close_code(refusal) {
            Some(code) if is_accepted || upgrade.refuse_as_close => code,
            None if is_accepted => (CloseCode::Protocol, None),
            _ => return self.refuse_head(slot, refusal, effects),
        };
        let mut answer = BytesMut::new();
        if !is_accepted {
            answer.extend_from_slice(&accept_response(upgrade));
        }
        self.write_close(&mut answer, upgrade, refusal, code);
        self.note_refusal(slot, refusal.status, refusal.error, effects);
        self.answer_head(slot, answer.freeze(), effects);
    }

    /// The close code of a refusal, and the reason of the `reconnect` before it, if there is one. `None`: no close code
    /// stands for it.
    fn close_code(&self, refusal: &HttpRefusal) -> Option<(CloseCode, Option<ReconnectReason>)> {
        let reason = match refusal.status {
            401 => return Some((CloseCode::Token, None)),
            403 => return Some((CloseCode::Forbidden, None)),
            429 if refusal.error == ErrorCode::RateLimited.as_str() => ReconnectReason::RateLimited,
            429 => ReconnectReason::LimitExceeded,
            503 if self.is_draining() => ReconnectReason::Draining,
            503 => ReconnectReason::Overloaded,
            _ => return None,
        };
        Some((reason.close_code(), Some(reason)))
    }

    /// Writes the frames of a refusal by close code.
    fn write_close(
        &mut self,
        answer: &mut BytesMut,
        upgrade: &Upgrade,
        refusal: &HttpRefusal,
        (code, reason): (CloseCode, Option<ReconnectReason>),
    ) {
        if let Some(reason) = reason.filter(|_| upgrade.path == WS_PATH) {
            let wait_ms = u64::from(refusal.retry_after_s.unwrap_or(1)) * 1_000;
            let after_ms = wait_ms + self.random.below(wait_ms.clamp(*SPREAD_MS.start(), *SPREAD_MS.end()));
            let form = self.dialect_of(upgrade).form;
            answer.extend_from_slice(&encode_push(&Push::Reconnect { after_ms, reason }, form));
        }
        answer.extend_from_slice(&close_frame(code.number(), &refusal.message));
    }
}
