//! The sessions that a model of a store or a database keeps.

use std::collections::BTreeMap;

use roomring::engine::kept::{KeptAnswer, KeptAsk, KeptSession, SessionId};

/// Sessions by their ids.
#[derive(Default)]
pub struct Sessions(BTreeMap<u128, KeptSession>);

impl Sessions {
    /// Carries out what is asked; the answer, where there is one.
    pub fn answer(&mut self, ask: KeptAsk, fails: bool) -> Option<KeptAnswer> {
        match ask {
            KeptAsk::SaveSession { session, kept } => {
                self.0.insert(session.0, kept);
                None
            }
            _ if fails && ask.is_answered() => Some(KeptAnswer::Unavailable { retry_after_ms: 50 }),
            KeptAsk::FindSession { session, .. } => Some(KeptAnswer::Session(self.0.get(&session.0).cloned())),
            // The model keeps nothing else yet.
            ask => ask.is_answered().then_some(KeptAnswer::Unavailable { retry_after_ms: 50 }),
        }
    }

    /// One of them.
    pub fn pick(&self, pick: u64) -> Option<SessionId> {
        let kept = self.0.keys().nth(pick as usize % self.0.len().max(1))?;
        Some(SessionId(*kept))
    }
}
