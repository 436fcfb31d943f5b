//! How an upgrade is refused: by an HTTP answer, or, where its client asked for that (`refuse=close`), by a WebSocket that
//! opens only to close. Such a socket is never a connection: it has no user and no rooms, is counted among those that are
//! no WebSocket, and its slot goes the way of every other refusal.

use bytes::{Bytes, BytesMut};

use super::{Home, HomeEffects};
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::limits::WS_PATH;
use crate::wire::encode::encode_push;
use crate::wire::form::Form;
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
        match self.close_instead(upgrade, refusal) {
            Some(answer) => {
                self.note_refusal(slot, refusal.status, refusal.error, effects);
                self.answer_head(slot, answer, effects);
            }
            None => self.refuse_head(slot, refusal, effects),
        }
    }

    /// The answer to an upgrade that opens it and closes it at once. `None`: not asked for, or no close code stands for the
    /// refusal.
    fn close_instead(&mut self, upgrade: &Upgrade, refusal: &Refusal) -> Option<Bytes> {
        if !upgrade.refuse_as_close {
            return None;
        }
        let (code, reason) = match refusal.status {
            401 => (CloseCode::Token, None),
            403 => (CloseCode::Forbidden, None),
            status => {
                let reason = match status {
                    429 if refusal.error == ErrorCode::RateLimited.as_str() => ReconnectReason::RateLimited,
                    429 => ReconnectReason::LimitExceeded,
                    503 if self.draining => ReconnectReason::Draining,
                    503 => ReconnectReason::Overloaded,
                    _ => return None,
                };
                (reason.close_code(), Some(reason))
            }
        };
        let mut answer = BytesMut::from(&accept_response(upgrade)[..]);
        if let Some(reason) = reason.filter(|_| upgrade.path == WS_PATH) {
            let wait_ms = u64::from(refusal.retry_after_s.unwrap_or(1)) * 1_000;
            let after_ms = wait_ms + self.random.below(wait_ms.clamp(*SPREAD_MS.start(), *SPREAD_MS.end()));
            let form = upgrade.subprotocol.unwrap_or(Form::Json);
            answer.extend_from_slice(&encode_push(&Push::Reconnect { after_ms, reason }, form));
        }
        answer.extend_from_slice(&close_frame(code.number(), &refusal.message));
        Some(answer.freeze())
    }
}
