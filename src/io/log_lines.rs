//! Owns the log lines of one core: ended connections, refused requests, a used-up memory budget, full lanes. Writes at
//! most one line a minute per cause and connection or address, and a bounded number per cause. Counts held-back lines
//! by cause, and reports the count with the next line of that cause or within a minute. Never closes anything.

use std::net::IpAddr;

use crate::base::causes::End;
use crate::base::codes::CloseCode;
use crate::base::counters::CoreCounters;
use crate::base::ids::{ConnId, CoreId};
use crate::base::log_gate::{LOG_AGAIN_MS, LogGate};
use crate::base::time::Now;
use crate::engine::output::{Ended, Refused, TokenRefused};

/// The log lines of one core.
#[derive(Debug)]
pub struct LogLines {
    core: CoreId,
    closed: LogGate<ConnId>,
    refused: LogGate<IpAddr>,
    /// When to report held-back lines; `None` without any.
    due_ms: Option<u64>,
    memory: BudgetState,
    lanes: LaneLosses,
}

/// What the log says about the core's memory budget.
#[derive(Debug, Default)]
struct BudgetState {
    is_over: bool,
    is_told: bool,
    /// How often the budget was used up since the last line.
    times: u64,
    again_ms: u64,
}

/// Counters of full lanes at the last line.
#[derive(Debug, Default)]
struct LaneLosses {
    put_off: u64,
    gaps: u64,
    pushes: u64,
    again_ms: u64,
}

impl LogLines {
    /// Starts with nothing logged.
    #[must_use]
    pub fn new(core: CoreId) -> Self {
        Self {
            core,
            closed: LogGate::default(),
            refused: LogGate::default(),
            due_ms: None,
            memory: BudgetState::default(),
            lanes: LaneLosses::default(),
        }
    }

    /// Logs ended connections. A close by the client or a planned stop is a debug line; a close that the server had to
    /// make is an info line.
    pub fn write(&mut self, now: Now, ended: &mut Vec<Ended>) {
        for end in ended.drain(..) {
            match end.code {
                None | Some(CloseCode::Normal | CloseCode::Restart) => debug(&end),
                Some(_) if !tracing::enabled!(tracing::Level::INFO) => {}
                Some(code) => match self.closed.admit(now.mono_ms(), end.conn, End::Closed(code).cause()) {
                    Some(held_back) => info(&end, code, held_back),
                    None => self.expect(now),
                },
            }
        }
    }

    /// Logs refused requests with their addresses.
    pub fn write_refused(&mut self, now: Now, refused: &mut Vec<Refused>) {
        for Refused { peer, status, cause } in refused.drain(..) {
            if !tracing::enabled!(tracing::Level::INFO) {
                continue;
            }
            match self.refused.admit(now.mono_ms(), peer, cause) {
                Some(held_back) => tracing::info!(address = %peer, status, cause, held_back, "request refused"),
                None => self.expect(now),
            }
        }
    }

    /// Logs changes of the core's own state, and counts of lines held back for a minute.
    pub fn write_state(&mut self, now: Now, counters: &CoreCounters) {
        self.memory.write(now, self.core, counters);
        self.lanes.write(now, self.core, counters);
        if self.due_ms.is_some_and(|due_ms| due_ms <= now.mono_ms()) {
            self.finish();
        }
    }

    /// When to call [`LogLines::write_state`] next at the latest, in monotonic microseconds.
    #[must_use]
    pub fn next_due_us(&self) -> Option<u64> {
        self.due_ms.map(|due_ms| due_ms * 1_000)
    }

    /// Reports held-back lines now.
    pub fn finish(&mut self) {
        self.due_ms = None;
        let core = self.core.0;
        for (cause, lines) in self.closed.take_held_back() {
            tracing::info!(core, cause, lines, "lines about closed connections held back");
        }
        for (cause, lines) in self.refused.take_held_back() {
            tracing::info!(core, cause, lines, "lines about refused requests held back");
        }
    }

    fn expect(&mut self, now: Now) {
        self.due_ms.get_or_insert(now.mono_ms() + LOG_AGAIN_MS);
    }
}

impl BudgetState {
    fn write(&mut self, now: Now, core: CoreId, counters: &CoreCounters) {
        let (charged, budget) = (counters.memory_charged.get(), counters.memory_budget_bytes.get());
        let is_over = charged > budget;
        let was_over = std::mem::replace(&mut self.is_over, is_over);
        self.times += u64::from(is_over && !was_over);
        if is_over && !self.is_told && now.mono_ms() >= self.again_ms {
            self.is_told = true;
            self.again_ms = now.mono_ms() + LOG_AGAIN_MS;
            let times = std::mem::take(&mut self.times);
            tracing::warn!(core = core.0, charged, budget, times, "memory budget used up: refusing upgrades");
        } else if !is_over && self.is_told {
            self.is_told = false;
            tracing::info!(core = core.0, charged, budget, "memory budget has room again");
        }
    }
}

impl LaneLosses {
    fn write(&mut self, now: Now, core: CoreId, counters: &CoreCounters) {
        let (put_off, gaps, pushes) =
            (counters.dropped_lane.get(), counters.dropped_gap.get(), counters.dropped_push.get());
        let is_same = (self.put_off, self.gaps, self.pushes) == (put_off, gaps, pushes);
        if is_same || now.mono_ms() < self.again_ms {
            return;
        }
        tracing::warn!(
            core = core.0,
            deliveries_put_off = put_off - self.put_off,
            lost_to_gaps = gaps - self.gaps,
            pushes_dropped = pushes - self.pushes,
            "lanes to other cores were full"
        );
        *self = Self { put_off, gaps, pushes, again_ms: now.mono_ms() + LOG_AGAIN_MS };
    }
}

fn debug(end: &Ended) {
    tracing::debug!(
        connection = %end.conn,
        address = %end.peer,
        user = %end.user,
        why = end.cause,
        round_trip_us = end.round_trip_us,
        messages_received = end.stats.messages_received,
        messages_sent = end.stats.messages_sent,
        bytes_received = end.stats.bytes_received,
        bytes_sent = end.stats.bytes_sent,
        "connection ended"
    );
}

fn info(end: &Ended, code: CloseCode, held_back: u64) {
    tracing::info!(
        connection = %end.conn,
        address = %end.peer,
        user = %end.user,
        room = end.room.as_deref(),
        code = code.number(),
        cause = End::Closed(code).cause(),
        why = end.cause,
        held_back,
        round_trip_us = end.round_trip_us,
        messages_received = end.stats.messages_received,
        messages_sent = end.stats.messages_sent,
        bytes_received = end.stats.bytes_received,
        bytes_sent = end.stats.bytes_sent,
        "connection closed"
    );
}

/// Logs refused tokens. The engine already limits their number.
pub fn write_tokens_refused(refused: &mut Vec<TokenRefused>) {
    for TokenRefused { cause, held_back } in refused.drain(..) {
        tracing::info!(cause, held_back, "token refused");
    }
}

#[cfg(test)]
mod tests;
