//! How an upgrade is refused: by an HTTP answer, or, where its client asked for that (`refuse=close`), by a WebSocket that
//! opens only to close. Such a socket is never a connection: it has no user and no rooms, is counted among those that are
//! no WebSocket, and its slot goes the way of every other refusal.

use bytes::BytesMut;

use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::limits::WS_PATH;
use crate::engine::home::{Home, HomeEffects};
use crate::engine::session::Phase;
use crate::wire::encode::encode_push;
use crate::wire::frame::close_frame;
use crate::wire::handshake::{Refusal, Upgrade, accept_response};
use crate::wire::protocol::{Push, ReconnectReason};

/// Reconnects are spread over at least and at most so long.
const SPREAD_MS: std::ops::RangeInclusive<u64> = 1_000..=10_000;

impl Home {
    /// A well-formed upgrade is refused.
    pub(super) fn refuse_upgrade(
        &mut self,
        slot: u32,
        upgrade: &Upgrade,
        refusal: &Refusal,
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

    /// The close code that stands for a refusal, and when a reconnect is to be told, why. `None`: none does.
    fn close_code(&self, refusal: &Refusal) -> Option<(CloseCode, Option<ReconnectReason>)> {
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

    /// Writes the frames that end a WebSocket which was never let in.
    fn write_close(
        &mut self,
        answer: &mut BytesMut,
        upgrade: &Upgrade,
        refusal: &Refusal,
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
