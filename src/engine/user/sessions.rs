//! Sessions: each open connection has one, whose id `welcome` shows. If there is a store, it keeps them after the
//! connection has ended, and any core can look one up. Never resumes one.
//!
//! A session is written when its connection opens. If the store is far behind, it is not written: a client that returns
//! with its id is new.

use std::collections::HashMap;
use std::sync::Arc;

use super::effects::UserEffects;
use crate::base::codes::ErrorCode;
use crate::base::ids::{CoreId, UserName};
use crate::base::limits::{ASK_TIMEOUT_MS, OVERLOADED_RETRY_MS, SESSION_BYTES, SESSIONS_UNWRITTEN_MAX};
use crate::base::time::Now;
use crate::engine::asks::Asks;
use crate::engine::budget::Budget;
use crate::engine::call::CallAnswer;
use crate::engine::kept::{KeptAnswer, KeptAsk, KeptSession, SessionId};
use crate::engine::random::{NameHashing, Random, TableKeys};
use crate::engine::settings::Settings;
use crate::engine::store_port::StoreRequest;
use crate::engine::table;
use crate::engine::tokens::TokenPart;
use crate::wire::protocol::Refusal;

const OVERLOADED: Refusal = Refusal {
    retry_after_ms: Some(OVERLOADED_RETRY_MS),
    ..Refusal::new(ErrorCode::Overloaded, "too many sessions are being looked up")
};

fn unavailable(retry_after_ms: u64) -> Refusal {
    Refusal {
        retry_after_ms: Some(retry_after_ms),
        ..Refusal::new(ErrorCode::Unavailable, "the store does not answer")
    }
}

/// Who asks for a session.
#[derive(Clone, Copy, Debug)]
struct SessionAsker {
    /// The token of a call.
    call: u64,
}

/// The sessions of one core. Without a store nothing is remembered.
#[derive(Debug)]
pub struct Sessions {
    random: Random,
    /// Whether there is a store.
    are_kept: bool,
    node: Arc<str>,
    /// Of open connections.
    by_id: HashMap<SessionId, KeptSession, NameHashing>,
    by_slot: HashMap<u32, SessionId, NameHashing>,
    asks: Asks<SessionAsker>,
}

impl Sessions {
    /// No sessions.
    pub(super) fn new(settings: &Settings, core: CoreId, random: Random, tables: &mut TableKeys) -> Self {
        Self {
            random,
            are_kept: settings.has_store(),
            node: settings.node.as_str().into(),
            by_id: HashMap::with_hasher(tables.hashing()),
            by_slot: HashMap::with_hasher(tables.hashing()),
            asks: Asks::new(core, TokenPart::User),
        }
    }

    /// A connection of this core has opened: begins its session.
    pub fn open(
        &mut self,
        slot: u32,
        user: &UserName,
        now: Now,
        budget: &mut Budget,
        store: &mut Vec<StoreRequest>,
    ) -> SessionId {
        let session = SessionId::new(&mut self.random);
        if !self.are_kept {
            return session;
        }
        let kept = KeptSession { user: user.clone(), node: self.node.clone(), opened_at: now.unix_ms };
        if store.len() < SESSIONS_UNWRITTEN_MAX {
            let token = self.asks.token_of_unanswered();
            store.push(StoreRequest::Ask { token, ask: KeptAsk::SaveSession { session, kept: kept.clone() } });
        }
        budget.charge_standing(SESSION_BYTES);
        let earlier = self.by_slot.insert(slot, session);
        debug_assert!(earlier.is_none(), "a slot has one connection at a time");
        self.by_id.insert(session, kept);
        session
    }

    /// Ends the session of a connection; a no-op if none is remembered.
    pub fn close(&mut self, slot: u32, budget: &mut Budget) {
        let Some(id) = self.by_slot.remove(&slot) else { return };
        self.by_id.remove(&id);
        table::shrink(&mut self.by_slot);
        table::shrink(&mut self.by_id);
        budget.release_standing(SESSION_BYTES);
    }

    /// Looks a session up: among those that are open on this core, else in the store. The call is answered when the store
    /// has answered, or `unavailable` after [`ASK_TIMEOUT_MS`].
    pub fn find(&mut self, session: SessionId, call: u64, effects: &mut UserEffects<'_>) {
        let answer = match self.by_id.get(&session) {
            Some(kept) => Ok(Some(kept.clone())),
            None if !self.are_kept => Ok(None),
            None if self.asks.is_full() || effects.budget.is_tight() => Err(OVERLOADED),
            None => {
                let token = self.asks.add(SessionAsker { call }, effects.now.mono_us, effects.budget);
                effects
                    .store
                    .push(StoreRequest::Ask { token, ask: KeptAsk::FindSession { session, at: effects.now.unix_ms } });
                return;
            }
        };
        effects.answers.push((call, CallAnswer::Session(answer)));
    }

    /// Handles an answer of the store; a no-op if nobody waits for it.
    pub fn handle_answered(&mut self, token: u64, answer: KeptAnswer, effects: &mut UserEffects<'_>) {
        let Some(SessionAsker { call }) = self.asks.take(token, effects.budget) else { return };
        let answer = match answer {
            KeptAnswer::Session(kept) => Ok(kept),
            KeptAnswer::Unavailable { retry_after_ms } => Err(unavailable(retry_after_ms)),
            _ => Err(unavailable(ASK_TIMEOUT_MS)),
        };
        effects.answers.push((call, CallAnswer::Session(answer)));
    }

    /// Refuses asks that have waited too long.
    pub(super) fn tick(&mut self, effects: &mut UserEffects<'_>) {
        while let Some(SessionAsker { call }) = self.asks.take_expired(effects.now.mono_us, effects.budget) {
            effects.answers.push((call, CallAnswer::Session(Err(unavailable(ASK_TIMEOUT_MS)))));
        }
    }

    /// When the first ask expires, monotonic microseconds.
    pub(super) fn next_tick_us(&self) -> Option<u64> {
        self.asks.due_us()
    }

    /// Whether nothing waits for the store.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.asks.is_empty()
    }
}
