//! The log lines of connections that have ended and of requests that were refused, at most one a minute for each
//! connection or address and cause. Decides no close.

use std::net::IpAddr;

use crate::base::codes::CloseCode;
use crate::base::ids::ConnId;
use crate::base::log_gate::LogGate;
use crate::base::time::Now;
use crate::engine::output::{Ended, Refused, TokenRefused};

/// Lines that were held back are told at most this often.
const HELD_BACK_MS: u64 = 60_000;

/// One core's journal.
#[derive(Debug, Default)]
pub struct Journal {
    gate: LogGate<ConnId>,
    refusals: LogGate<IpAddr>,
    held_back_due_ms: u64,
}

impl Journal {
    /// Writes what has ended. What the client did, or a planned stop, is for debugging; what the server had to end is
    /// for the operator.
    pub fn write(&mut self, now: Now, ended: &mut Vec<Ended>) {
        for end in ended.drain(..) {
            match end.code {
                None | Some(CloseCode::Normal | CloseCode::Restart) => debug(&end),
                Some(_) if !tracing::enabled!(tracing::Level::INFO) => {}
                Some(code) => {
                    // The low byte tells all close codes apart.
                    if self.gate.admit(now.mono_ms(), end.conn, code.number() as u8) {
                        info(&end, code);
                    }
                }
            }
        }
        if now.mono_ms() >= self.held_back_due_ms {
            self.held_back_due_ms = now.mono_ms() + HELD_BACK_MS;
            let lines = self.gate.take_held_back();
            if lines > 0 {
                tracing::info!(lines, "held back lines about connections that were closed");
            }
            let lines = self.refusals.take_held_back();
            if lines > 0 {
                tracing::info!(lines, "held back lines about requests that were refused");
            }
        }
    }

    /// Writes which requests were refused, and whose.
    pub fn write_refused(&mut self, now: Now, refused: &mut Vec<Refused>) {
        for refusal in refused.drain(..) {
            let Refused { peer, status, cause } = refusal;
            // The low byte tells the statuses that are used apart.
            if tracing::enabled!(tracing::Level::INFO) && self.refusals.admit(now.mono_ms(), peer, status as u8) {
                tracing::info!(address = %peer, status, cause, "request refused");
            }
        }
    }
}

/// Writes which tokens were refused: the engine tells few of them.
pub fn write_refused(refused: &mut Vec<TokenRefused>) {
    for TokenRefused { cause, held_back } in refused.drain(..) {
        tracing::info!(cause, held_back, "token refused");
    }
}

fn debug(end: &Ended) {
    tracing::debug!(
        connection = %end.conn,
        address = %end.peer,
        user = %end.user,
        cause = end.cause,
        round_trip_us = end.round_trip_us,
        messages_received = end.stats.messages_received,
        messages_sent = end.stats.messages_sent,
        bytes_received = end.stats.bytes_received,
        bytes_sent = end.stats.bytes_sent,
        "connection ended"
    );
}

fn info(end: &Ended, code: CloseCode) {
    tracing::info!(
        connection = %end.conn,
        address = %end.peer,
        user = %end.user,
        code = code.number(),
        cause = end.cause,
        round_trip_us = end.round_trip_us,
        messages_received = end.stats.messages_received,
        messages_sent = end.stats.messages_sent,
        bytes_received = end.stats.bytes_received,
        bytes_sent = end.stats.bytes_sent,
        "connection closed"
    );
}
